/* What native.py calls to choose kernels, and to filter a whole image and undo that. */
#include "_native.h"

int ferdata_kernel = KERNEL_PLAIN;
int ferdata_fast_pdep = 0;

/* Setuptools asks the Windows linker for this name; nothing imports the library as a module. */
FERDATA_API void *PyInit__native(void) { return NULL; }

FERDATA_API int32_t ferdata_abi(void) { return FERDATA_ABI; }

/* Choose the best kernels up to `limit`; returns the choice, plus 16 where pdep is used. Called once, at load. */
FERDATA_API int32_t ferdata_select(int32_t limit) {
    ferdata_kernel = KERNEL_PLAIN;
    ferdata_fast_pdep = 0;
#if FERDATA_X86
    __builtin_cpu_init();
    if (limit >= KERNEL_AVX2 && __builtin_cpu_supports("avx2")) ferdata_kernel = KERNEL_AVX2;
    if (limit >= KERNEL_AVX512 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
        __builtin_cpu_supports("gfni"))
        ferdata_kernel = KERNEL_AVX512;
    /* The first two Zen generations have pdep in microcode, slower than a table. */
    const int slow = __builtin_cpu_is("znver1") || __builtin_cpu_is("znver2");
    const int has_pdep = __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    ferdata_fast_pdep = ferdata_kernel != KERNEL_PLAIN && has_pdep && !slow;
#else
    (void)limit;
#endif
    rice_init();
    return ferdata_kernel + 16 * ferdata_fast_pdep;
}

static int64_t count(const Filter *filter) { return filter->channels * filter->height * filter->width; }

/* Scratch that any call for this filter needs, in bytes. */
FERDATA_API int64_t ferdata_scratch_bytes(const Filter *filter) {
    const int64_t n = count(filter);
    return n + 6 * rice_bytes(n) + 3 * (filter->width + 64) + 2 * SCRATCH_SLACK;
}

/* Returns the size of the payload. */
FERDATA_API int64_t ferdata_encode(const Filter *filter, const uint8_t *pixels, uint8_t *payload, uint8_t *scratch) {
    const int64_t n = count(filter);
    uint8_t *const more = scratch + n + SCRATCH_SLACK;
    predict(filter, pixels, scratch, more);
    return pack(filter->arrangement, scratch, n, payload, more);
}

/* Undo one payload, with `slack` bytes behind it that may be read; returns -1 where it is damaged. */
FERDATA_API int32_t ferdata_decode(const Filter *filter, const uint8_t *payload, int64_t size, int64_t slack,
                                   uint8_t *pixels, uint8_t *scratch) {
    const int64_t n = count(filter);
    uint8_t *const more = scratch + n + SCRATCH_SLACK;
    if (unpack(filter->arrangement, payload, size, slack, n, scratch, more)) return -1;
    restore(filter, scratch, pixels, more);
    return 0;
}
