/* Predictors and colour: pixels [C, H, W] <-> residuals, row by row, in arithmetic modulo 256.
 *
 * Outside the image there are zeros; where a predictor would look there, the first row looks left and the first
 * column looks up. Each row is undone in scratch and written once to its final place. */
#include "_native.h"

static const int32_t STORED_FIRST[3] = {1, 0, 2}; /* with COLOUR_GREEN green comes first: the others need it */

static inline uint8_t median(uint8_t left, uint8_t up, uint8_t corner) {
    const uint8_t low = left < up ? left : up, high = left < up ? up : left;
    return corner >= high ? low : corner <= low ? high : (uint8_t)(left + up - corner);
}

/* One loop for each predictor, so that compilers can turn all but the median into vector code. */
static void predict_row(int32_t predictor, const uint8_t *restrict row, const uint8_t *restrict above, int64_t width,
                        uint8_t *restrict out) {
    switch (predictor) {
    case PREDICT_LEFT:
        for (int64_t x = 1; x < width; x++) out[x] = (uint8_t)(row[x] - row[x - 1]);
        break;
    case PREDICT_ROW:
        for (int64_t x = 1; x < width; x++) out[x] = (uint8_t)(row[x] - above[x]);
        break;
    case PREDICT_GRADIENT:
        for (int64_t x = 1; x < width; x++) out[x] = (uint8_t)(row[x] - row[x - 1] - above[x] + above[x - 1]);
        break;
    case PREDICT_MEDIAN:
        for (int64_t x = 1; x < width; x++) out[x] = (uint8_t)(row[x] - median(row[x - 1], above[x], above[x - 1]));
        break;
    default:
        memcpy(out, row, (size_t)width);
    }
    out[0] = (uint8_t)(predictor == PREDICT_NONE ? row[0] : row[0] - above[0]);
}

static void predict_plane(int32_t predictor, const uint8_t *plane, const uint8_t *zeros, int64_t height, int64_t width,
                          uint8_t *out) {
    for (int64_t y = 0; y < height; y++, plane += width, out += width)
        if (y == 0) predict_row(predictor == PREDICT_NONE ? PREDICT_NONE : PREDICT_LEFT, plane, zeros, width, out);
        else predict_row(predictor, plane, plane - width, width, out);
}

static inline uint8_t half(uint8_t x) { return (uint8_t)((x >> 1) | (x & 0x80)); } /* of a signed byte, rounded down */

/* Plane s of the stored order; YCoCg-R by lifting steps, each of which the other direction repeats exactly. */
static void colour_plane(const Filter *filter, const uint8_t *pixels, int64_t s, uint8_t *plane) {
    const int64_t size = filter->height * filter->width;
    const uint8_t *r = pixels, *g = pixels + size, *b = pixels + 2 * size;
    if (filter->colour == COLOUR_NONE || filter->channels < 3 || s > 2) memcpy(plane, pixels + s * size, (size_t)size);
    else if (filter->colour == COLOUR_GREEN && s == 0) memcpy(plane, g, (size_t)size);
    else if (filter->colour == COLOUR_GREEN)
        for (int64_t i = 0; i < size; i++) plane[i] = (uint8_t)(pixels[STORED_FIRST[s] * size + i] - g[i]);
    else
        for (int64_t i = 0; i < size; i++) {
            const uint8_t co = (uint8_t)(r[i] - b[i]), t = (uint8_t)(b[i] + half(co)), cg = (uint8_t)(g[i] - t);
            plane[i] = s == 0 ? (uint8_t)(t + half(cg)) : s == 1 ? co : cg;
        }
}

void predict(const Filter *filter, const uint8_t *pixels, uint8_t *residuals, uint8_t *scratch) {
    const int64_t size = filter->height * filter->width;
    uint8_t *plane = scratch + filter->width;
    memset(scratch, 0, (size_t)filter->width);
    for (int64_t s = 0; s < filter->channels; s++) {
        colour_plane(filter, pixels, s, plane);
        predict_plane(filter->predictor, plane, scratch, filter->height, filter->width, residuals + s * size);
    }
}

/* row = above + start + running sum of the residuals; may touch 32 bytes behind each array. */
static void sum_row_plain(const uint8_t *residuals, const uint8_t *above, uint8_t start, uint8_t *row, int64_t width) {
    const uint64_t even = 0x00FF00FF00FF00FFull, each = 0x0001000100010001ull;
    uint64_t sum = start;
    for (int64_t x = 0; x < width; x += 8) { /* pairs of bytes in 16-bit lanes, which one product sums up */
        const uint64_t r = load64(residuals + x), up = load64(above + x), odd = r >> 8 & even;
        const uint64_t pairs = ((r & even) + odd) * each + (sum & 255) * each;
        const uint64_t low = pairs - odd + (up & even), high = pairs + (up >> 8 & even);
        store64(row + x, (low & even) | (high & even) << 8);
        sum = pairs >> 48;
    }
}

#if FERDATA_X86
TARGET("avx2")
static void sum_row_avx2(const uint8_t *residuals, const uint8_t *above, uint8_t start, uint8_t *row, int64_t width) {
    const __m256i last = _mm256_set1_epi8(15);
    __m256i carry = _mm256_set1_epi8((char)start);
    for (int64_t x = 0; x < width; x += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(residuals + x));
        v = _mm256_add_epi8(v, _mm256_slli_si256(v, 1));
        v = _mm256_add_epi8(v, _mm256_slli_si256(v, 2));
        v = _mm256_add_epi8(v, _mm256_slli_si256(v, 4));
        v = _mm256_add_epi8(v, _mm256_slli_si256(v, 8));
        const __m256i ends = _mm256_shuffle_epi8(v, last);
        v = _mm256_add_epi8(v, _mm256_permute2x128_si256(ends, ends, 0x08));
        const __m256i total = _mm256_add_epi8(ends, _mm256_permute2x128_si256(ends, ends, 0x01));
        const __m256i up = _mm256_loadu_si256((const __m256i *)(above + x));
        _mm256_storeu_si256((__m256i *)(row + x), _mm256_add_epi8(_mm256_add_epi8(v, carry), up));
        carry = _mm256_add_epi8(carry, total);
    }
}
#define sum_row (ferdata_kernel >= KERNEL_AVX2 ? sum_row_avx2 : sum_row_plain)
#else
#define sum_row sum_row_plain
#endif

static void add_rows(const uint8_t *restrict a, const uint8_t *restrict b, uint8_t *restrict out, int64_t width) {
    for (int64_t x = 0; x < width; x++) out[x] = (uint8_t)(a[x] + b[x]);
}

static void median_row(const uint8_t *residuals, const uint8_t *above, uint8_t *row, int64_t width) {
    row[0] = (uint8_t)(residuals[0] + above[0]);
    for (int64_t x = 1; x < width; x++) row[x] = (uint8_t)(residuals[x] + median(row[x - 1], above[x], above[x - 1]));
}

static void restore_plane(const Filter *filter, const uint8_t *residuals, const uint8_t *green, uint8_t *out,
                          uint8_t *scratch) {
    const int64_t width = filter->width, padded = width + 64;
    uint8_t *row = scratch, *above = scratch + padded, *zeros = scratch + 2 * padded;
    memset(zeros, 0, (size_t)padded);
    for (int64_t y = 0; y < filter->height; y++, residuals += width, out += width) {
        const uint8_t *from = row;
        if (filter->predictor == PREDICT_NONE) from = residuals;
        else if (y == 0 || filter->predictor == PREDICT_LEFT) sum_row(residuals, zeros, y ? above[0] : 0, row, width);
        else if (filter->predictor == PREDICT_GRADIENT) sum_row(residuals, above, 0, row, width);
        else if (filter->predictor == PREDICT_ROW) add_rows(residuals, above, row, width);
        else median_row(residuals, above, row, width);
        if (green) add_rows(from, green + (y * width), out, width);
        else memcpy(out, from, (size_t)width);
        uint8_t *const reused = above;
        above = row;
        row = reused;
    }
}

static void restore_ycocg(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b, int64_t size) {
    for (int64_t i = 0; i < size; i++) {
        const uint8_t y = r[i], co = g[i], cg = b[i], t = (uint8_t)(y - half(cg));
        g[i] = (uint8_t)(cg + t);
        b[i] = (uint8_t)(t - half(co));
        r[i] = (uint8_t)(b[i] + co);
    }
}

void restore(const Filter *filter, const uint8_t *residuals, uint8_t *pixels, uint8_t *scratch) {
    const int64_t size = filter->height * filter->width;
    const int coloured = filter->channels >= 3, green = coloured && filter->colour == COLOUR_GREEN;
    for (int64_t s = 0; s < filter->channels; s++) {
        const int64_t channel = green && s < 3 ? STORED_FIRST[s] : s;
        const uint8_t *base = green && (s == 1 || s == 2) ? pixels + size : NULL;
        restore_plane(filter, residuals + s * size, base, pixels + channel * size, scratch);
    }
    if (coloured && filter->colour == COLOUR_YCOCG) restore_ycocg(pixels, pixels + size, pixels + 2 * size, size);
}
