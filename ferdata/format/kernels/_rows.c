/* Pixels [C, H, W] <-> payload: every pixel against its left neighbour, the one above and the one between them, red
 * and blue against green, all modulo 256; what is left over goes through _rice.c.
 *
 * A payload is undone row by row while its residuals are in the nearest cache: outside the image there are zeros, so
 * every row is the row above plus the running sum of its residuals. Green comes first, since the others need it, and
 * finished rows leave past the cache, a few kilobytes at a time. */
#include "_native.h"

enum { STAGE = 4096, ROW_SLACK = 64 };

static int64_t plane_bytes(const Image *image) { return image->height * image->width; }
static int64_t image_bytes(const Image *image) { return image->channels * plane_bytes(image); }
static int is_coloured(const Image *image) { return image->channels >= 3; }

/* The channel that is stored in place s: green before red. */
static int64_t stored_channel(const Image *image, int64_t s) { return is_coloured(image) && s < 2 ? 1 - s : s; }

/* Whether the plane in place s is stored as its difference to green. */
static int has_base(const Image *image, int64_t s) { return is_coloured(image) && (s == 1 || s == 2); }

static void predict_row(const uint8_t *restrict row, const uint8_t *restrict above, int64_t width,
                        uint8_t *restrict out) {
    out[0] = (uint8_t)(row[0] - above[0]);
    for (int64_t x = 1; x < width; x++) out[x] = (uint8_t)(row[x] - row[x - 1] - above[x] + above[x - 1]);
}

/* Scratch holds a plane and a row. */
static void predict(const Image *image, const uint8_t *pixels, uint8_t *residuals, uint8_t *scratch) {
    const int64_t width = image->width, size = plane_bytes(image);
    uint8_t *const zeros = scratch, *const difference = scratch + width;
    memset(zeros, 0, (size_t)width);
    for (int64_t s = 0; s < image->channels; s++) {
        const uint8_t *plane = pixels + stored_channel(image, s) * size, *green = pixels + size;
        if (has_base(image, s)) {
            for (int64_t i = 0; i < size; i++) difference[i] = (uint8_t)(plane[i] - green[i]);
            plane = difference;
        }
        for (int64_t y = 0; y < image->height; y++, residuals += width)
            predict_row(plane + y * width, y ? plane + (y - 1) * width : zeros, width, residuals);
    }
}

/* row = above + running sum of the residuals, and out = row + base if there is one; may touch 32 bytes behind each. */
static void sum_row_plain(const uint8_t *residuals, const uint8_t *above, const uint8_t *base, uint8_t *row,
                          uint8_t *out, int64_t width) {
    const uint64_t even = 0x00FF00FF00FF00FFull, each = 0x0001000100010001ull;
    uint64_t sum = 0;
    for (int64_t x = 0; x < width; x += 8) { /* pairs of bytes in 16-bit lanes, which one product sums up */
        const uint64_t r = load64(residuals + x), up = load64(above + x), odd = r >> 8 & even;
        const uint64_t pairs = ((r & even) + odd) * each + (sum & 255) * each;
        const uint64_t low = pairs - odd + (up & even), high = pairs + (up >> 8 & even);
        store64(row + x, (low & even) | (high & even) << 8);
        sum = pairs >> 48;
    }
    if (base)
        for (int64_t x = 0; x < width; x++) out[x] = (uint8_t)(row[x] + base[x]);
}

#if FERDATA_X86
TARGET("avx2")
static void sum_row_avx2(const uint8_t *residuals, const uint8_t *above, const uint8_t *base, uint8_t *row,
                         uint8_t *out, int64_t width) {
    const __m256i last = _mm256_set1_epi8(15);
    __m256i carry = _mm256_setzero_si256();
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
        v = _mm256_add_epi8(_mm256_add_epi8(v, carry), up);
        _mm256_storeu_si256((__m256i *)(row + x), v);
        if (base) {
            const __m256i under = _mm256_loadu_si256((const __m256i *)(base + x));
            _mm256_storeu_si256((__m256i *)(out + x), _mm256_add_epi8(v, under));
        }
        carry = _mm256_add_epi8(carry, total);
    }
}
#define sum_row (ferdata_kernel >= KERNEL_AVX2 ? sum_row_avx2 : sum_row_plain)
#else
#define sum_row sum_row_plain
#endif

/* Ask for a line of the next payload: its sections are read side by side, more streams than a processor foresees. */
static inline void fetch(const uint8_t *at) {
#if FERDATA_X86
    _mm_prefetch((const char *)at, _MM_HINT_T1);
#endif
    (void)at;
}

/* The memory that undoing a payload needs beside it. */
typedef struct { uint8_t *payload, *residuals, *green, *stage, *rows[2], *zeros; } Room;

static int64_t lay_out(const Image *image, uint8_t *at, Room *room) {
    const int64_t width = image->width, padded = width + ROW_SLACK;
    uint8_t **const parts[7] = {&room->payload, &room->residuals, &room->green, &room->stage,
                                &room->rows[0], &room->rows[1],   &room->zeros};
    const int64_t bytes[7] = {rice_bytes(image_bytes(image)) + SCRATCH_SLACK,
                              width + RICE_CHUNK + SCRATCH_SLACK,
                              plane_bytes(image) + ROW_SLACK,
                              STAGE + 2 * padded,
                              padded,
                              padded,
                              padded};
    int64_t total = 0;
    for (int part = 0; part < 7; part++) {
        *parts[part] = at + total;
        total += bytes[part];
    }
    return total;
}

/* Write a plane's finished bytes out, whole lines of memory unless they are the last; returns how many are left. */
static int64_t put(const uint8_t *from, int64_t bytes, uint8_t **to, int streaming, int is_last) {
    const int64_t over = is_last ? 0 : (int64_t)((uintptr_t)(*to + bytes) & 127);
    copy_row(from, *to, bytes - over, streaming);
    *to += bytes - over;
    return over;
}

int decode(const Image *image, const uint8_t *payload, int64_t size, int64_t slack, uint8_t *pixels, uint8_t *scratch,
           int streaming, Body next) {
    const int64_t width = image->width, height = image->height, plane = plane_bytes(image);
    Room room;
    Streams streams;
    lay_out(image, scratch, &room);
    if (rice_begin(&streams, payload, size, slack, image_bytes(image), room.payload)) return -1;
    memset(room.zeros, 0, (size_t)width);
    const int64_t ahead = (next.bytes / (height * image->channels) + 63) / 64 * 64;
    int64_t held = 0;                          /* residuals that are unpacked and not used yet */
    const uint8_t *residuals = room.residuals; /* the first of them */
    for (int64_t s = 0; s < image->channels; s++) {
        const int is_green = is_coloured(image) && s == 0, with_base = has_base(image, s);
        uint8_t *to = pixels + stored_channel(image, s) * plane, *staged = is_green ? room.green : room.stage;
        const uint8_t *above = room.zeros;
        int64_t bytes = 0;
        for (int64_t y = 0; y < height; y++) {
            if (held < width) {
                memmove(room.residuals, residuals, (size_t)held);
                residuals = room.residuals;
                while (held < width) {
                    const int64_t more = rice_next(&streams, room.residuals + held);
                    if (more < 0) return -1;
                    held += more;
                }
            }
            uint8_t *const row = is_green ? staged + bytes : room.rows[y & 1];
            sum_row(residuals, above, with_base ? room.green + y * width : NULL, row, staged + bytes, width);
            if (!is_green && !with_base) memcpy(staged + bytes, row, (size_t)width);
            for (int64_t line = 0; line < ahead && next.bytes > 0; line += 64, next.at += 64, next.bytes -= 64)
                fetch(next.at);
            residuals += width;
            held -= width;
            above = row;
            bytes += width;
            const int is_last = y + 1 == height;
            if (bytes < STAGE && !is_last) continue;
            const int64_t over = put(staged, bytes, &to, streaming, is_last);
            if (is_green) staged += bytes - over;
            else memmove(staged, staged + bytes - over, (size_t)over);
            bytes = over;
        }
    }
    return rice_is_done(&streams) ? 0 : -1;
}

FERDATA_API int64_t ferdata_scratch_bytes(const Image *image) {
    const int64_t n = image_bytes(image), encoding = n + 6 * rice_bytes(n) + plane_bytes(image) + image->width;
    Room room;
    const int64_t decoding = lay_out(image, NULL, &room);
    return (encoding > decoding ? encoding : decoding) + 2 * SCRATCH_SLACK;
}

/* Returns the size of the payload. */
FERDATA_API int64_t ferdata_encode(const Image *image, const uint8_t *pixels, uint8_t *payload, uint8_t *scratch) {
    const int64_t n = image_bytes(image);
    uint8_t *const more = scratch + n + SCRATCH_SLACK;
    predict(image, pixels, scratch, more);
    return rice_pack(scratch, n, payload, more);
}

/* Undo one payload, with `slack` bytes behind it that may be read; returns -1 where it is damaged. */
FERDATA_API int32_t ferdata_decode(const Image *image, const uint8_t *payload, int64_t size, int64_t slack,
                                   uint8_t *pixels, uint8_t *scratch) {
    return decode(image, payload, size, slack, pixels, scratch, 0, (Body){NULL, 0});
}
