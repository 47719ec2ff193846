/* The arrangements without a code of their own: folded residuals as bytes, nibbles or bit planes, for zstd. */
#include "_native.h"

int64_t packed_bytes(int32_t arrangement, int64_t n) {
    switch (arrangement) {
    case ARRANGE_NIBBLES: return (n + 1) / 2 * 2;
    case ARRANGE_PLANES: return (n + 7) / 8 * 8;
    case ARRANGE_RICE: return rice_bytes(n);
    default: return n;
    }
}

/* Even positions take the low half of a byte; the high nibbles come first, then the low ones. */
static void nibbles_pack(const uint8_t *r, int64_t n, uint8_t *payload) {
    const int64_t half = (n + 1) / 2;
    for (int64_t i = 0; i < half; i++) {
        const uint8_t a = fold(r[2 * i]), b = 2 * i + 1 < n ? fold(r[2 * i + 1]) : 0;
        payload[i] = (uint8_t)(a >> 4 | (b & 0xF0));
        payload[half + i] = (uint8_t)((a & 15) | b << 4);
    }
}

static void nibbles_unpack(const uint8_t *payload, int64_t n, uint8_t *r) {
    const int64_t half = (n + 1) / 2;
    for (int64_t i = 0; i < half; i++) {
        const uint8_t high = payload[i], low = payload[half + i];
        r[2 * i] = unfold((uint8_t)(high << 4 | (low & 15)));
        r[2 * i + 1] = unfold((uint8_t)((high & 0xF0) | low >> 4));
    }
}

/* Plane 7 first; residual i is bit i % 8 of byte i / 8 of each plane. */
static void planes_pack(const uint8_t *r, int64_t n, uint8_t *payload) {
    const int64_t bytes = (n + 7) / 8;
    for (int64_t i = 0; i < bytes; i++) {
        uint8_t z[8] = {0};
        for (int64_t j = 0; j < 8 && 8 * i + j < n; j++) z[j] = fold(r[8 * i + j]);
        const uint64_t planes = transpose8(load64(z));
        for (int p = 0; p < 8; p++) payload[(7 - p) * bytes + i] = (uint8_t)(planes >> 8 * p);
    }
}

static void planes_unpack_plain(const uint8_t *payload, int64_t bytes, int64_t from, uint8_t *r) {
    for (int64_t i = from; i < bytes; i++) {
        uint64_t x = 0;
        for (int p = 0; p < 8; p++) x |= (uint64_t)payload[(7 - p) * bytes + i] << 8 * p;
        store64(r + 8 * i, transpose8((x >> 8) ^ (x & 255) * 0x0101010101010101ull));
    }
}

#if FERDATA_X86
TARGET("avx2") static inline void planes_store(__m128i low, __m128i high, uint8_t *r) {
    const __m256i first_byte = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0808080808080808ll, 0));
    const __m256i x = _mm256_set_m128i(high, low);
    const __m256i signed_x = _mm256_xor_si256(_mm256_srli_epi64(x, 8), _mm256_shuffle_epi8(x, first_byte));
    _mm256_storeu_si256((__m256i *)r, transpose8_avx2(signed_x));
}

/* 64 residuals at a time: byte i of every plane side by side, then bits; returns how many bytes of a plane are done. */
TARGET("avx2") static int64_t planes_unpack_avx2(const uint8_t *payload, int64_t bytes, uint8_t *r) {
    int64_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        __m128i x[8];
        for (int p = 0; p < 8; p++) x[p] = _mm_loadl_epi64((const __m128i *)(payload + (7 - p) * bytes + i));
        const __m128i a = _mm_unpacklo_epi8(x[0], x[1]), b = _mm_unpacklo_epi8(x[2], x[3]);
        const __m128i c = _mm_unpacklo_epi8(x[4], x[5]), d = _mm_unpacklo_epi8(x[6], x[7]);
        const __m128i ab = _mm_unpacklo_epi16(a, b), cd = _mm_unpacklo_epi16(c, d);
        const __m128i ab_high = _mm_unpackhi_epi16(a, b), cd_high = _mm_unpackhi_epi16(c, d);
        planes_store(_mm_unpacklo_epi32(ab, cd), _mm_unpackhi_epi32(ab, cd), r + 8 * i);
        planes_store(_mm_unpacklo_epi32(ab_high, cd_high), _mm_unpackhi_epi32(ab_high, cd_high), r + 8 * i + 32);
    }
    return i;
}
#endif

static void planes_unpack(const uint8_t *payload, int64_t n, uint8_t *r) {
    const int64_t bytes = (n + 7) / 8;
    int64_t done = 0;
#if FERDATA_X86
    if (ferdata_kernel >= KERNEL_AVX2) done = planes_unpack_avx2(payload, bytes, r);
#endif
    planes_unpack_plain(payload, bytes, done, r);
}

int64_t pack(int32_t arrangement, const uint8_t *residuals, int64_t n, uint8_t *payload, uint8_t *scratch) {
    if (arrangement == ARRANGE_RICE) return rice_pack(residuals, n, payload, scratch);
    if (arrangement == ARRANGE_PLANES) planes_pack(residuals, n, payload);
    else if (arrangement == ARRANGE_NIBBLES) nibbles_pack(residuals, n, payload);
    else
        for (int64_t i = 0; i < n; i++) payload[i] = fold(residuals[i]);
    return packed_bytes(arrangement, n);
}

int unpack(int32_t arrangement, const uint8_t *payload, int64_t size, int64_t slack, int64_t n, uint8_t *residuals,
           uint8_t *scratch) {
    if (arrangement == ARRANGE_RICE) return rice_unpack(payload, size, slack, n, residuals, scratch);
    if (size != packed_bytes(arrangement, n)) return -1;
    if (arrangement == ARRANGE_PLANES) planes_unpack(payload, n, residuals);
    else if (arrangement == ARRANGE_NIBBLES) nibbles_unpack(payload, n, residuals);
    else
        for (int64_t i = 0; i < n; i++) residuals[i] = unfold(payload[i]);
    return 0;
}
