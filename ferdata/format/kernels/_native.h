/* Shared by the kernels; ferdata/format/kernels/native.py is the only caller, through ctypes.
 *
 * No Python.h: the library is plain C behind ctypes, which releases the GIL and needs no headers of the
 * interpreter to build. Every multi-byte value is little-endian; native.py refuses other machines. */
#ifndef FERDATA_NATIVE_H
#define FERDATA_NATIVE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define FERDATA_API __declspec(dllexport)
#else
#define FERDATA_API __attribute__((visibility("default")))
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define FERDATA_X86 1
#include <immintrin.h>
#define TARGET(features) __attribute__((target(features)))
#else
#define FERDATA_X86 0
#endif

enum { FERDATA_ABI = 10 }; /* native.py says the same number, or does not call */

/* What a machine can run; chosen once when the library is loaded, lowered by tests. */
enum { KERNEL_PLAIN = 0, KERNEL_AVX2 = 1, KERNEL_AVX512 = 2 };
/* Bytes a kernel may read or write behind the end of a scratch array, never of the caller's. */
enum { SCRATCH_SLACK = 1024 };

extern int ferdata_kernel;    /* one of KERNEL_* */
extern int ferdata_fast_pdep; /* the processor has BMI2 and does not run it in microcode */

typedef struct { int64_t channels, height, width; } Image;

static inline uint64_t load64(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return v; }
static inline uint32_t load32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return v; }
static inline void store64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }
static inline void store32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }

/* Swap the roles of byte and bit: bit i of byte p becomes bit p of byte i. Its own inverse. */
static inline uint64_t transpose8(uint64_t x) {
    uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ (t << 28);
}

#if FERDATA_X86
TARGET("avx2") static inline __m256i transpose8_avx2(__m256i x) {
    const __m256i seven = _mm256_set1_epi64x(0x00AA00AA00AA00AAll), fourteen = _mm256_set1_epi64x(0x0000CCCC0000CCCCll);
    __m256i t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 7)), seven);
    x = _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 7)));
    t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 14)), fourteen);
    x = _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 14)));
    t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 28)), _mm256_set1_epi64x(0x00000000F0F0F0F0ll));
    return _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 28)));
}
#endif

/* Residuals are stored folded, 0 -1 1 -2 2 ... -> 0 1 2 3 4 ..., so that small ones have their high bits clear. */
static inline uint8_t fold(uint8_t r) { return (uint8_t)((r << 1) ^ (0 - (r >> 7))); }
static inline uint8_t unfold(uint8_t z) { return (uint8_t)((z >> 1) ^ (0 - (z & 1))); }

/* _rice.c: residuals [n] <-> payload of at most rice_bytes(). Packing returns its size and needs scratch of six times
 * that. Unpacking goes by chunks; `residuals` has room for one, and scratch for a payload. */
enum { RICE_CHUNK = 4096, STEPS = 3 };
typedef struct {
    const uint8_t *counts, *first; /* a byte of two nibbles per word; 4 bytes for each group that has quotients */
    const uint8_t *low;            /* the low planes */
    const uint8_t *base;           /* the steps are addressed by bit from here */
    uint64_t tail_bits;            /* from the first to the second bit plane of the tail */
    uint64_t at[STEPS], end[STEPS];
    int64_t words; /* still to come */
} Streams;

int64_t rice_bytes(int64_t n);
int64_t rice_pack(const uint8_t *residuals, int64_t n, uint8_t *payload, uint8_t *scratch);
int rice_begin(Streams *s, const uint8_t *payload, int64_t size, int64_t slack, int64_t n, uint8_t *scratch);
int64_t rice_next(Streams *s, uint8_t *residuals);
int rice_is_done(const Streams *s);
void rice_init(void);
/* _copy.c: bytes, past the cache if that is worth it; and the end of a call that did so. */
void copy_row(const uint8_t *from, uint8_t *to, int64_t bytes, int streaming);
void finish_streaming(int streaming);
/* _rows.c: payload -> pixels; -1 where it is damaged. `slack` bytes behind it may be read, whatever they hold; `next`
 * is what will be decoded after it. */
typedef struct { const uint8_t *at; int64_t bytes; } Body; /* `at` is NULL where it is not in the file */
int decode(const Image *image, const uint8_t *payload, int64_t size, int64_t slack, uint8_t *pixels, uint8_t *scratch,
           int streaming, Body next);
#endif
