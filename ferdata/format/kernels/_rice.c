/* Sliced Rice code: residuals [n] <-> payload, as FORMAT.md describes it. One pass each way.
 *
 * Every 32 residuals share a number k of low bits, stored as bit planes as they are. What is left above them, the
 * quotient, is written in up to three unary steps, each holding only the residuals that passed the one before, and
 * two bits for those that passed all. Noise is copied and the rest costs close to its entropy, with no Huffman
 * decoder to wait for. */
#include "_native.h"

enum { WORD = 64, HEADER = 12, RAW = 8, CHUNK = RICE_CHUNK / WORD, OVERRUN = CHUNK * 8 + 16 };
#define UNHEARD ((uint64_t)1 << 63) /* marks a nibble above RAW */
enum { SECOND = 0, THIRD = 1, TAIL = 2 }; /* the steps whose lengths in bits stand in the header */

static uint8_t deposit8[256][256]; /* [mask][bits]: pdep of one byte, for processors without it */
static uint64_t taken[256];        /* [byte of two nibbles]: bytes of first steps, << 32, and of low planes */
static uint8_t spread16[9][16];    /* [k]: shuffle that lays two runs of k bytes into two lanes of 8, zeros behind */

/* A group's nibble: 0 all zero, 1..7 Rice with k = nibble - 1, 8 eight planes and no quotients. */
static inline int low_planes(int nibble) { return nibble == RAW ? 8 : nibble ? nibble - 1 : 0; }
static inline int has_quotients(int nibble) { return (unsigned)(nibble - 1) < 7; }

void rice_init(void) {
    for (int mask = 0; mask < 256; mask++)
        for (int bits = 0; bits < 256; bits++) {
            int out = 0, at = 0;
            for (int i = 0; i < 8; i++)
                if (mask >> i & 1) out |= (bits >> at++ & 1) << i;
            deposit8[mask][bits] = (uint8_t)out;
        }
    for (int byte = 0; byte < 256; byte++) {
        const int a = byte & 15, b = byte >> 4;
        const uint64_t first_bytes = 4 * (uint64_t)(has_quotients(a) + has_quotients(b));
        taken[byte] = first_bytes << 32 | 4 * (uint64_t)(low_planes(a) + low_planes(b));
        if (a > RAW || b > RAW) taken[byte] = UNHEARD;
    }
    for (int k = 0; k <= 8; k++)
        for (int i = 0; i < 16; i++) spread16[k][i] = (uint8_t)(i % 8 < k ? i / 8 * k + i % 8 : 0x80);
}

/* 4: the last byte of each step. */
int64_t rice_bytes(int64_t n) { return HEADER + 4 + (n + WORD - 1) / WORD * (WORD + 1); }

typedef struct { uint64_t q[3][CHUNK]; } Quotients; /* their binary digits, one bit a residual */

static inline uint64_t load_bits(const uint8_t *base, uint64_t at) {
    const uint8_t *from = base + (at >> 3);
    const unsigned shift = at & 7;
    return load64(from) >> shift | load64(from + 1) << (8 - shift);
}

/* Ones in each byte. */
static inline uint64_t count_bytes(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555ull;
    x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
    return (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Full;
}

static inline unsigned count_plain(uint64_t x) { return (unsigned)(count_bytes(x) * 0x0101010101010101ull >> 56); }

/* Every byte of the mask takes its bits from behind those of the bytes below it; one product says where. */
static inline uint64_t deposit_plain(uint64_t bits, uint64_t mask) {
    const uint64_t taken_below = count_bytes(mask) * 0x0101010101010100ull;
    uint64_t out = 0;
    for (int i = 0; i < 64; i += 8)
        out |= (uint64_t)deposit8[mask >> i & 255][bits >> (taken_below >> i & 63) & 255] << i;
    return out;
}

/* The quotients of one chunk of words; a macro: the two ways to deposit bits are compiled for different machines. */
#define QUOTIENTS_BODY(DEPOSIT, COUNT)                                                              \
    const uint8_t *first = s->first;                                                                \
    uint64_t second = s->at[SECOND], third = s->at[THIRD], tail = s->at[TAIL];                      \
    for (int64_t w = 0; w < words; w++) {                                                           \
        const int here = has_quotients(s->counts[w] & 15), there = has_quotients(s->counts[w] >> 4); \
        const uint64_t low = load32(first) & (uint64_t)-here;                                       \
        first += 4 * here;                                                                          \
        const uint64_t high = load32(first) & (uint64_t)-there;                                     \
        first += 4 * there;                                                                         \
        const uint64_t one = low | high << 32;                                                      \
        const uint64_t two = DEPOSIT(load_bits(s->base, second), one);                              \
        second += COUNT(one);                                                                       \
        const uint64_t three = DEPOSIT(load_bits(s->base, third), two);                             \
        third += COUNT(two);                                                                        \
        const uint64_t a = DEPOSIT(load_bits(s->base, tail), three);                                \
        const uint64_t b = DEPOSIT(load_bits(s->base, tail + s->tail_bits), three);                 \
        tail += COUNT(three);                                                                       \
        out->q[0][w] = one ^ two ^ three ^ a;                                                       \
        out->q[1][w] = two ^ a ^ b;                                                                 \
        out->q[2][w] = a | b;                                                                       \
    }                                                                                               \
    s->first = first;                                                                               \
    s->at[SECOND] = second;                                                                         \
    s->at[THIRD] = third;                                                                           \
    s->at[TAIL] = tail;

static void quotients_plain(Streams *s, int64_t words, Quotients *out) { QUOTIENTS_BODY(deposit_plain, count_plain) }

/* Short loops over the eight lanes of a word: compilers turn the last one into vector code. */
static const uint8_t *expand_plain(const uint8_t *counts, const uint8_t *low, int64_t words, const Quotients *q,
                                   uint8_t *out) {
    for (int64_t w = 0; w < words; w++) {
        uint64_t lanes[8];
        for (int lane = 0; lane < 8; lane++) {
            const int k = low_planes(counts[w] >> lane / 4 * 4 & 15), at = 8 * lane;
            const uint64_t keep = k == 8 ? ~0ull : ((uint64_t)1 << 8 * k) - 1;
            const uint64_t q0 = q->q[0][w] >> at & 255, q1 = q->q[1][w] >> at & 255, q2 = q->q[2][w] >> at & 255;
            lanes[lane] = (load64(low) & keep) | (q0 | q1 << 8 | q2 << 16) << 8 * (k & 7); /* k = 8: q is zero */
            low += k;
        }
        for (int lane = 0; lane < 8; lane++) {
            uint64_t sign = lanes[lane] & 255;
            sign |= sign << 8;
            sign |= sign << 16;
            sign |= sign << 32;
            lanes[lane] = transpose8((lanes[lane] >> 8) ^ sign);
        }
        memcpy(out + WORD * w, lanes, WORD);
    }
    return low;
}

#if FERDATA_X86
TARGET("bmi2,popcnt") static void quotients_bmi2(Streams *s, int64_t words, Quotients *out) {
    QUOTIENTS_BODY(_pdep_u64, (uint64_t)__builtin_popcountll)
}

TARGET("avx2")
static const uint8_t *expand_avx2(const uint8_t *counts, const uint8_t *low, int64_t words, const Quotients *q,
                                  uint8_t *out) {
    const __m256i first_byte = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0808080808080808ll, 0));
    for (int64_t w = 0; w < words; w++)
        for (int half = 0; half < 2; half++) {
            const int k = low_planes(counts[w] >> 4 * half & 15);
            const __m256i runs = _mm256_loadu2_m128i((const __m128i *)(low + 2 * k), (const __m128i *)low);
            const __m256i spread = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)spread16[k]));
            const __m128i bits = _mm_cvtsi32_si128(8 * k); /* a shift by 64 gives zero, as k = 8 needs */
            const __m256i q0 = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)(q->q[0][w] >> 32 * half)));
            const __m256i q1 = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)(q->q[1][w] >> 32 * half)));
            const __m256i q2 = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)(q->q[2][w] >> 32 * half)));
            const __m256i upper = _mm256_or_si256(_mm256_slli_epi64(q1, 8), _mm256_slli_epi64(q2, 16));
            const __m256i quotient = _mm256_or_si256(q0, upper);
            const __m256i x = _mm256_or_si256(_mm256_shuffle_epi8(runs, spread), _mm256_sll_epi64(quotient, bits));
            const __m256i signed_x = _mm256_xor_si256(_mm256_srli_epi64(x, 8), _mm256_shuffle_epi8(x, first_byte));
            _mm256_storeu_si256((__m256i *)(out + WORD * w + 32 * half), transpose8_avx2(signed_x));
            low += 4 * k;
        }
    return low;
}

TARGET("avx512f,avx512bw,avx512vbmi2,gfni")
static const uint8_t *expand_avx512(const uint8_t *counts, const uint8_t *low, int64_t words, const Quotients *q,
                                    uint8_t *out) {
    const __m512i first_byte = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0808080808080808ll, 0));
    const __m512i reverse = _mm512_broadcast_i32x4(_mm_set_epi64x(0x08090A0B0C0D0E0Fll, 0x0001020304050607ll));
    /* The matrix product with unit vectors transposes. */
    const __m512i unit = _mm512_set1_epi64((long long)0x8040201008040201ull);
    for (int64_t w = 0; w < words; w++) {
        const unsigned k = (unsigned)low_planes(counts[w] & 15), l = (unsigned)low_planes(counts[w] >> 4);
        const uint64_t filled = (uint64_t)0x01010101 * ((1u << k) - 1) | (uint64_t)0x01010101 * ((1u << l) - 1) << 32;
        const __m512i lanes = _mm512_maskz_expand_epi8(filled, _mm512_loadu_si512(low));
        const __m512i bits = _mm512_inserti64x4(_mm512_set1_epi64(8 * k), _mm256_set1_epi64x(8 * l), 1);
        const __m512i q0 = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128((int64_t)q->q[0][w]));
        const __m512i q1 = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128((int64_t)q->q[1][w]));
        const __m512i q2 = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128((int64_t)q->q[2][w]));
        const __m512i upper = _mm512_or_si512(_mm512_slli_epi64(q1, 8), _mm512_slli_epi64(q2, 16));
        const __m512i quotient = _mm512_or_si512(q0, upper);
        const __m512i x = _mm512_or_si512(lanes, _mm512_sllv_epi64(quotient, bits));
        const __m512i signed_x = _mm512_xor_si512(_mm512_srli_epi64(x, 8), _mm512_shuffle_epi8(x, first_byte));
        const __m512i reversed = _mm512_shuffle_epi8(signed_x, reverse);
        _mm512_storeu_si512(out + WORD * w, _mm512_gf2p8affine_epi64_epi8(unit, reversed, 0));
        low += 4 * (k + l);
    }
    return low;
}
#endif

/* Find the sections of a payload; -1 where its numbers contradict each other or its size. */
static int open_streams(const uint8_t *payload, int64_t size, int64_t words, Streams *s) {
    if (size < HEADER + words) return -1;
    const uint8_t *counts = payload + HEADER;
    uint64_t both = 0, any = 0; /* what the groups take of the two sections that follow, one sum in each half */
    for (int64_t w = 0; w < words; w++) {
        both += taken[counts[w]];
        any |= taken[counts[w]];
    }
    if (any & UNHEARD) return -1;
    uint64_t at = (uint64_t)(HEADER + words) + (both >> 32) + (both & 0xFFFFFFFFu);
    for (int step = 0; step < STEPS; step++) {
        const uint64_t bits = load32(payload + 4 * step), bytes = (bits + 7) / 8;
        s->at[step] = 8 * at;
        s->end[step] = 8 * at + bits;
        s->tail_bits = 8 * bytes;
        at += step == TAIL ? 2 * bytes : bytes;
    }
    s->base = payload;
    s->counts = counts;
    s->first = counts + words;
    s->low = s->first + (both >> 32);
    return at == (uint64_t)size ? 0 : -1;
}

/* Begin to unpack a payload of n residuals, which has `slack` bytes behind it that may be read. */
int rice_begin(Streams *s, const uint8_t *payload, int64_t size, int64_t slack, int64_t n, uint8_t *scratch) {
    const int64_t words = (n + WORD - 1) / WORD;
    if (size > rice_bytes(n)) return -1;
    if (slack < OVERRUN) {
        memcpy(scratch, payload, (size_t)size);
        payload = scratch;
    }
    s->words = words;
    return open_streams(payload, size, words, s);
}

/* Unpack the next residuals, at most RICE_CHUNK; returns how many, zeros behind the last one included, or -1. */
int64_t rice_next(Streams *s, uint8_t *residuals) {
    const int64_t some = s->words < CHUNK ? s->words : CHUNK;
    Quotients q;
#if FERDATA_X86
    (ferdata_fast_pdep ? quotients_bmi2 : quotients_plain)(s, some, &q);
    s->low = ferdata_kernel == KERNEL_AVX512 ? expand_avx512(s->counts, s->low, some, &q, residuals)
             : ferdata_kernel == KERNEL_AVX2 ? expand_avx2(s->counts, s->low, some, &q, residuals)
                                             : expand_plain(s->counts, s->low, some, &q, residuals);
#else
    quotients_plain(s, some, &q);
    s->low = expand_plain(s->counts, s->low, some, &q, residuals);
#endif
    s->counts += some;
    s->words -= some;
    for (int step = 0; step < STEPS; step++)
        if (s->at[step] > s->end[step]) return -1;
    return some * WORD;
}

/* Whether the payload ended with its last residual. */
int rice_is_done(const Streams *s) {
    for (int step = 0; step < STEPS; step++)
        if (s->at[step] != s->end[step]) return 0;
    return !s->words;
}

typedef struct { uint32_t one, two, three, a, b; } Steps; /* the quotients of one group, as they are written */

/* Quotients 0..6 from their binary digits: unary up to three, then two bits that count on from three. */
static Steps steps_of(const uint32_t planes[11], int k) {
    const uint32_t q0 = planes[k], q1 = planes[k + 1], q2 = planes[k + 2];
    return (Steps){q0 | q1 | q2, q1 | q2, q2 | (q1 & q0), q2 & ~q0, q2 & (q1 | q0)};
}

/* Cheapest nibble for a group; the smallest k wins a tie, as in the NumPy encoder. */
static int choose(const uint32_t planes[11]) {
    uint32_t any = 0, above = 0;
    for (int p = 0; p < 8; p++) any |= planes[p];
    if (!any) return 0;
    unsigned best = 32 * 8;
    int nibble = RAW;
    for (int k = 6; k >= 0; k--) {
        above |= planes[k + 3];
        if (above || (planes[k] & planes[k + 1] & planes[k + 2])) continue; /* a quotient of 7 or more */
        const Steps s = steps_of(planes, k);
        const unsigned steps = count_plain(s.one) + count_plain(s.two) + 2 * count_plain(s.three);
        const unsigned cost = 32 * ((unsigned)k + 1) + steps;
        if (cost <= best) best = cost, nibble = k + 1;
    }
    return nibble;
}

typedef struct { uint8_t *start; uint64_t bits; } BitWriter;

/* Append the bits of `value` that stand where `mask` has ones. */
static inline void append(BitWriter *to, uint32_t value, uint32_t mask) {
    uint8_t *at = to->start + to->bits / 8;
    uint64_t out = 0;
    unsigned bits = to->bits % 8;
    to->bits -= bits;
    for (; mask; mask &= mask - 1) out |= (uint64_t)((value & mask & (0 - mask)) != 0) << bits++;
    store64(at, load64(at) | out);
    to->bits += bits;
}

static uint8_t *put_steps(uint8_t *to, const BitWriter *from) {
    const size_t bytes = (size_t)((from->bits + 7) / 8);
    memcpy(to, from->start, bytes);
    return to + bytes;
}

/* The folded residuals of group g as four lanes of eight bit planes; zeros behind the last residual. */
static inline void load_group(const uint8_t *residuals, int64_t n, int64_t g, uint64_t lanes[4]) {
    uint8_t z[32] = {0};
    const uint8_t *from = residuals + 32 * g;
    if (32 * g + 32 <= n)
        for (int i = 0; i < 32; i++) z[i] = fold(from[i]);
    else
        for (int64_t i = 0; 32 * g + i < n; i++) z[i] = fold(from[i]);
    for (int lane = 0; lane < 4; lane++) lanes[lane] = transpose8(load64(z + 8 * lane));
}

/* Pack n residuals and return the bytes used; scratch holds 6 * rice_bytes(n). */
int64_t rice_pack(const uint8_t *residuals, int64_t n, uint8_t *payload, uint8_t *scratch) {
    const int64_t words = (n + WORD - 1) / WORD, size = rice_bytes(n) + 8;
    uint8_t *low = scratch, *counts = payload + HEADER, *first = counts + words;
    BitWriter second = {scratch + size, 0}, third = {scratch + 2 * size, 0};
    BitWriter a = {scratch + 3 * size, 0}, b = {scratch + 4 * size, 0};
    memset(scratch + size, 0, (size_t)(4 * size));
    memset(counts, 0, (size_t)words);
    for (int64_t g = 0; g < 2 * words; g++) {
        uint64_t lanes[4];
        uint32_t planes[11] = {0};
        load_group(residuals, n, g, lanes);
        for (int p = 0; p < 8; p++)
            for (int lane = 0; lane < 4; lane++) planes[p] |= (uint32_t)(lanes[lane] >> 8 * p & 255) << 8 * lane;
        const int nibble = choose(planes), k = low_planes(nibble);
        counts[g / 2] |= (uint8_t)(nibble << 4 * (g & 1));
        for (int lane = 0; lane < 4; lane++, low += k) store64(low, lanes[lane]); /* the next covers what is too much */
        if (!has_quotients(nibble)) continue;
        const Steps s = steps_of(planes, k);
        store32(first, s.one);
        first += 4;
        append(&second, s.two, s.one);
        append(&third, s.three, s.two);
        append(&a, s.a, s.three);
        append(&b, s.b, s.three);
    }
    memcpy(first, scratch, (size_t)(low - scratch));
    uint8_t *end = put_steps(put_steps(put_steps(put_steps(first + (low - scratch), &second), &third), &a), &b);
    store32(payload, (uint32_t)second.bits);
    store32(payload + 4, (uint32_t)third.bits);
    store32(payload + 8, (uint32_t)a.bits);
    return end - payload;
}
