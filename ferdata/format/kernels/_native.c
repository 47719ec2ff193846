/* What native.py calls: whole images and whole frames of them, and two ways of moving bytes to a batch row. */
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

/* Undo `samples` payloads that start `stride` apart in a buffer, sample i to row rows[i] of `out`; a negative row is
 * skipped. Returns -1, or the number of the first sample whose payload is damaged. */
FERDATA_API int64_t ferdata_decode(const Filter *filter, const uint8_t *buffer, int64_t buffer_bytes, int64_t stride,
                                   int64_t samples, const int64_t *sizes, uint8_t *out, const int64_t *rows,
                                   uint8_t *scratch) {
    const int64_t n = count(filter);
    uint8_t *const more = scratch + n + SCRATCH_SLACK;
    for (int64_t i = 0; i < samples; i++) {
        if (rows[i] < 0) continue;
        const int64_t slack = buffer_bytes - i * stride - sizes[i];
        if (unpack(filter->arrangement, buffer + i * stride, sizes[i], slack, n, scratch, more)) return i;
        restore(filter, scratch, out + rows[i] * n, more);
    }
    return -1;
}
