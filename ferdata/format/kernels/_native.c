/* What native.py calls to choose kernels. */
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
