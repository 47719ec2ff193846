/* Ways to move pixels: many samples in one call, HWC to CHW for decoded images; and sums on the way to a shard. */
#include "_native.h"

/* Streamed bytes must be visible before the acknowledgement that follows. */
void finish_streaming(int streaming) {
#if FERDATA_X86
    if (streaming) _mm_sfence();
#endif
    (void)streaming;
}

#if FERDATA_X86
/* Sixteen pixels from three loads: each colour is picked from all three and joined. Streaming leaves the cache alone,
 * and needs aligned planes. */
TARGET("avx2") static int64_t split_rgb_avx2(const uint8_t *rgb, int64_t pixels, uint8_t *chw, int streaming) {
    __m128i pick[3][3];
    for (int colour = 0; colour < 3; colour++)
        for (int part = 0; part < 3; part++) {
            uint8_t index[16];
            for (int i = 0; i < 16; i++) {
                const int at = 3 * i + colour - 16 * part;
                index[i] = (uint8_t)(at >= 0 && at < 16 ? at : 0x80);
            }
            pick[colour][part] = _mm_loadu_si128((const __m128i *)index);
        }
    int64_t i = 0;
    for (; i + 16 <= pixels; i += 16) {
        const __m128i *from = (const __m128i *)(rgb + 3 * i);
        const __m128i x = _mm_loadu_si128(from), y = _mm_loadu_si128(from + 1), z = _mm_loadu_si128(from + 2);
        for (int colour = 0; colour < 3; colour++) {
            const __m128i *from_each = pick[colour];
            const __m128i xy = _mm_or_si128(_mm_shuffle_epi8(x, from_each[0]), _mm_shuffle_epi8(y, from_each[1]));
            const __m128i joined = _mm_or_si128(xy, _mm_shuffle_epi8(z, from_each[2]));
            __m128i *const to = (__m128i *)(chw + colour * pixels + i);
            if (streaming) _mm_stream_si128(to, joined);
            else _mm_storeu_si128(to, joined);
        }
    }
    return i;
}

/* 32 pixels of four bytes from four loads: bytes of a colour are brought together in each, and then from all four. */
TARGET("avx2") static int64_t split_rgbx_avx2(const uint8_t *rgbx, int64_t pixels, uint8_t *chw) {
    const __m128i every_fourth = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i gather = _mm256_broadcastsi128_si256(every_fourth);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int64_t i = 0;
    for (; i + 32 <= pixels; i += 32) {
        const __m256i *from = (const __m256i *)(rgbx + 4 * i);
        const __m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256(from), gather);
        const __m256i b = _mm256_shuffle_epi8(_mm256_loadu_si256(from + 1), gather);
        const __m256i c = _mm256_shuffle_epi8(_mm256_loadu_si256(from + 2), gather);
        const __m256i d = _mm256_shuffle_epi8(_mm256_loadu_si256(from + 3), gather);
        const __m256i rg = _mm256_unpacklo_epi32(a, b), rg2 = _mm256_unpacklo_epi32(c, d);
        const __m256i bx = _mm256_unpackhi_epi32(a, b), bx2 = _mm256_unpackhi_epi32(c, d);
        const __m256i red = _mm256_unpacklo_epi64(rg, rg2), green = _mm256_unpackhi_epi64(rg, rg2);
        const __m256i colours[3] = {red, green, _mm256_unpacklo_epi64(bx, bx2)};
        for (int colour = 0; colour < 3; colour++) {
            const __m256i plane = _mm256_permutevar8x32_epi32(colours[colour], order);
            _mm256_storeu_si256((__m256i *)(chw + colour * pixels + i), plane);
        }
    }
    return i;
}
#endif

/* Pixels of `step` bytes, 3 or 4, to three planes; a fourth byte means nothing. */
FERDATA_API void ferdata_planes(const uint8_t *packed, int32_t step, int64_t pixels, uint8_t *chw, int32_t streaming) {
    int64_t done = 0;
#if FERDATA_X86
    const int is_aligned = (((uintptr_t)chw | (uintptr_t)pixels) & 15) == 0;
    if (ferdata_kernel >= KERNEL_AVX2)
        done = step == 3 ? split_rgb_avx2(packed, pixels, chw, streaming && is_aligned)
                         : split_rgbx_avx2(packed, pixels, chw);
#endif
    for (; done < pixels; done++)
        for (int colour = 0; colour < 3; colour++) chw[colour * pixels + done] = packed[step * done + colour];
    finish_streaming(streaming);
}

#if FERDATA_X86
/* A copy that leaves the cache alone; the whole cost of fetching the destination first is saved. */
TARGET("avx2") static void stream_row(const uint8_t *from, uint8_t *to, int64_t bytes) {
    int64_t i = (int64_t)(-(uintptr_t)to & 31);
    memcpy(to, from, (size_t)i);
    for (; i + 128 <= bytes; i += 128) {
        const __m256i *source = (const __m256i *)(from + i);
        __m256i *target = (__m256i *)(to + i);
        const __m256i a = _mm256_loadu_si256(source), b = _mm256_loadu_si256(source + 1);
        const __m256i c = _mm256_loadu_si256(source + 2), d = _mm256_loadu_si256(source + 3);
        _mm256_stream_si256(target, a);
        _mm256_stream_si256(target + 1, b);
        _mm256_stream_si256(target + 2, c);
        _mm256_stream_si256(target + 3, d);
    }
    memcpy(to + i, from + i, (size_t)(bytes - i));
}
#endif

void copy_row(const uint8_t *from, uint8_t *to, int64_t bytes, int streaming) {
#if FERDATA_X86
    if (streaming && ferdata_kernel >= KERNEL_AVX2 && bytes >= 256) {
        stream_row(from, to, bytes);
        return;
    }
#endif
    (void)streaming;
    memcpy(to, from, (size_t)bytes);
}

/* Copy sample i to row rows[i]; samples lie `stride` bytes apart; a negative row is skipped. */
FERDATA_API void ferdata_scatter(const uint8_t *samples, int64_t stride, int64_t count, uint8_t *out,
                                 int64_t row_bytes, const int64_t *rows, int32_t streaming) {
    for (int64_t i = 0; i < count; i++)
        if (rows[i] >= 0) copy_row(samples + i * stride, out + rows[i] * row_bytes, row_bytes, streaming);
    finish_streaming(streaming);
}

/* Sum and sum of squares of bytes, exact. */
static void add_moments(const uint8_t *values, int64_t count, int64_t *moments) {
    for (int64_t i = 0; i < count; i++) {
        moments[0] += values[i];
        moments[1] += (int64_t)values[i] * values[i];
    }
}

#if FERDATA_X86
/* Eight sums of squares of 32 bits, emptied long before 2^31: a step of 32 bytes adds at most 4 x 255^2 to each. */
TARGET("avx2") static int64_t add_moments_avx2(const uint8_t *values, int64_t count, int64_t *moments) {
    const __m256i zero = _mm256_setzero_si256();
    int64_t i = 0;
    while (i + 32 <= count) {
        __m256i sums = zero, squares = zero;
        for (int step = 0; step < 4096 && i + 32 <= count; step++, i += 32) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(values + i));
            const __m256i low = _mm256_unpacklo_epi8(v, zero), high = _mm256_unpackhi_epi8(v, zero);
            sums = _mm256_add_epi64(sums, _mm256_sad_epu8(v, zero));
            squares = _mm256_add_epi32(squares, _mm256_madd_epi16(low, low));
            squares = _mm256_add_epi32(squares, _mm256_madd_epi16(high, high));
        }
        uint64_t four[4];
        uint32_t eight[8];
        memcpy(four, &sums, sizeof four);
        memcpy(eight, &squares, sizeof eight);
        for (int lane = 0; lane < 4; lane++) moments[0] += (int64_t)four[lane];
        for (int lane = 0; lane < 8; lane++) moments[1] += (int64_t)eight[lane];
    }
    return i;
}
#endif

/* moments[2c] and moments[2c + 1]: sum and sum of squares of channel c, `count` bytes each. */
FERDATA_API void ferdata_moments(const uint8_t *values, int64_t channels, int64_t count, int64_t *moments) {
    for (int64_t c = 0; c < channels; c++) {
        int64_t done = 0;
        moments[2 * c] = moments[2 * c + 1] = 0;
#if FERDATA_X86
        if (ferdata_kernel >= KERNEL_AVX2) done = add_moments_avx2(values + c * count, count, moments + 2 * c);
#endif
        add_moments(values + c * count + done, count - done, moments + 2 * c);
    }
}
