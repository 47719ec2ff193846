/* Bodies of a mapped shard, a whole job in one call: asked for ahead, compared with their checksums, inflated into rows
 * of a batch. Bodies and rows that are not inside what was given are not touched. */
#define _GNU_SOURCE 1
#include "_native.h"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/uio.h>
#endif

/* The bodies of a shard; see MappedBodies in ferdata/format/container/bodies.py. */
typedef struct {
    const uint8_t *file;
    int64_t file_bytes;
    const int64_t *starts, *stops;
    const uint32_t *checksums; /* NULL where there are none */
    int64_t count;
} Bodies;

static Body body_at(const Bodies *bodies, int64_t position) {
    if (position < 0 || position >= bodies->count) return (Body){NULL, 0};
    const int64_t start = bodies->starts[position], stop = bodies->stops[position];
    if (start < 0 || stop < start || stop > bodies->file_bytes) return (Body){NULL, 0};
    return (Body){bodies->file + start, stop - start};
}

static int is_row(int64_t row, int64_t num_rows) { return 0 <= row && row < num_rows; }

enum { SHORT_BYTES = 1 << 17 };

#if defined(__linux__)
/* Whether a stretch is in memory, as far as its middle byte tells, or its first and last: asking for every page costs a
 * tenth of a copy, and the pages at the ends of a short one also hold its neighbours. */
static int is_resident(int32_t file, int64_t start, int64_t stop) {
#if defined(RWF_NOWAIT)
    uint8_t byte;
    const struct iovec probe = {&byte, 1};
    if (stop - start <= SHORT_BYTES) return preadv2(file, &probe, 1, start + (stop - start) / 2, RWF_NOWAIT) >= 0;
    return preadv2(file, &probe, 1, start, RWF_NOWAIT) >= 0 && preadv2(file, &probe, 1, stop - 1, RWF_NOWAIT) >= 0;
#else
    (void)file, (void)start, (void)stop;
    return 0;
#endif
}
#endif

/* Ask the system to read bodies, neighbours in one go, unless they are in memory already. Looks at every `step`-th, and
 * at all once one is missing. Tells the bytes of all stretches and how many were missing; returns -1, with nothing
 * asked for, where positions do not ascend or are not in the shard. */
FERDATA_API int32_t ferdata_expect(int32_t file, const Bodies *bodies, const int64_t *positions, int64_t count,
                                   int64_t step, int64_t told[2]) {
    told[0] = told[1] = 0;
    for (int64_t i = 0; i < count; i++)
        if (!body_at(bodies, positions[i]).at || (i && positions[i] < positions[i - 1])) return -1;
    for (int is_last = 0; !is_last; step = 1) {
        is_last = 1;
        told[0] = 0;
        for (int64_t i = 0, stretch = 0; i < count; i++, stretch++) {
            const int64_t start = bodies->starts[positions[i]];
            while (i + 1 < count && positions[i + 1] == positions[i] + 1) i++;
            const int64_t stop = bodies->stops[positions[i]];
            told[0] += stop - start;
#if defined(__linux__)
            if (stretch % step || is_resident(file, start, stop)) continue;
            is_last = step == 1;
            if (!is_last) break;
            posix_fadvise(file, start, stop - start, POSIX_FADV_WILLNEED);
            told[1]++;
#endif
        }
    }
    (void)file;
    return 0;
}

static const uint64_t P1 = 0x9E3779B185EBCA87ull, P2 = 0xC2B2AE3D27D4EB4Full, P3 = 0x165667B19E3779F9ull;
static const uint64_t P4 = 0x85EBCA77C2B2AE63ull, P5 = 0x27D4EB2F165667C5ull;

static inline uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }
static inline uint64_t take(uint64_t lane, uint64_t input) { return rotate(lane + input * P2, 31) * P1; }
static inline uint64_t join(uint64_t hash, uint64_t lane) { return (hash ^ take(0, lane)) * P1 + P4; }

/* XXH64 with seed 0. */
static uint64_t xxh64(const uint8_t *at, int64_t bytes) {
    const uint8_t *const end = at + bytes;
    uint64_t hash = P5;
    if (bytes >= 32) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1;
        for (; end - at >= 32; at += 32) {
            a = take(a, load64(at));
            b = take(b, load64(at + 8));
            c = take(c, load64(at + 16));
            d = take(d, load64(at + 24));
        }
        hash = join(join(join(join(rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18), a), b), c), d);
    }
    hash += (uint64_t)bytes;
    for (; end - at >= 8; at += 8) hash = rotate(hash ^ take(0, load64(at)), 27) * P1 + P4;
    for (; end - at >= 4; at += 4) hash = rotate(hash ^ load32(at) * P1, 23) * P2 + P3;
    for (; at < end; at++) hash = rotate(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

static int is_sound(const Bodies *bodies, int64_t position, Body body) {
    return (uint32_t)xxh64(body.at, body.bytes) == bodies->checksums[position];
}

/* Returns how many bodies in a row have their checksum, the low half of an XXH64. */
FERDATA_API int64_t ferdata_check(const Bodies *bodies, const int64_t *positions, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const Body body = body_at(bodies, positions[i]);
        if (!body.at || !is_sound(bodies, positions[i], body)) return i;
    }
    return count;
}

/* Copy bodies of `row_bytes` to rows of `out`, after comparing the checksums of all (`chosen` is NULL) or of the chosen
 * ones, if there are any: what was just hashed is still in the cache. Returns how many are done: the next is damaged,
 * of another size, or nowhere. */
FERDATA_API int64_t ferdata_copy(const Bodies *bodies, const int64_t *positions, int64_t count, uint8_t *out,
                                 int64_t row_bytes, int64_t num_rows, const int64_t *rows, const uint8_t *chosen,
                                 int32_t streaming) {
    int64_t i = 0;
    for (; i < count; i++) {
        const Body body = body_at(bodies, positions[i]);
        if (!body.at || body.bytes != row_bytes || !is_row(rows[i], num_rows)) break;
        if (bodies->checksums && (!chosen || chosen[i]) && !is_sound(bodies, positions[i], body)) break;
        copy_row(body.at, out + rows[i] * row_bytes, row_bytes, streaming);
    }
    finish_streaming(streaming);
    return i;
}

/* Of a JPEG: SOF0 to SOF15, between which DHT, JPG and DAC stand. */
static int begins_frame(int marker) {
    return marker >= 0xC0 && marker < 0xD0 && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/* Whether a JPEG is of that size, grey or of three colours, as far as can be told without reading anything unusual. */
static int is_plain_jpeg(const uint8_t *at, const uint8_t *end, int64_t height, int64_t width) {
    if (end - at < 2 || at[0] != 0xFF || at[1] != 0xD8) return 0;
    for (at += 2; end - at > 9 && at[0] == 0xFF; at += 2 + (at[2] << 8 | at[3])) {
        if (begins_frame(at[1]))
            return (at[5] << 8 | at[6]) == height && (at[7] << 8 | at[8]) == width && (at[9] == 1 || at[9] == 3);
        if (at[1] < 0xC0 || at[1] == 0xFF || (at[1] >= 0xD0 && at[1] <= 0xDA)) return 0;
    }
    return 0;
}

/* Returns how many bodies in a row are plain JPEGs of that size. */
FERDATA_API int64_t ferdata_plain_jpegs(const Bodies *bodies, const int64_t *positions, int64_t count, int64_t height,
                                        int64_t width) {
    for (int64_t i = 0; i < count; i++) {
        const Body body = body_at(bodies, positions[i]);
        if (!body.at || !is_plain_jpeg(body.at, body.at + body.bytes, height, width)) return i;
    }
    return count;
}

#define ZSTD_MAGIC 0xFD2FB528u
enum { BLOCK_HEAD = 3, CHECKSUM = 4, CHECKED_WITHOUT_DICTIONARY = 4, REPEATED_BYTE = 1 };

/* Returns the bytes that a zstd frame holds; -1 where it is not exactly one frame, as the writer of shards makes them:
 * with its size and its checksum, no dictionary, and nothing behind it, of which libzstd would say nothing. */
static int64_t frame_content(const uint8_t *frame, int64_t bytes) {
    if (bytes < 6 || load32(frame) != ZSTD_MAGIC || (frame[4] & 0x1F) != CHECKED_WITHOUT_DICTIONARY) return -1;
    const int is_single = frame[4] >> 5 & 1, field = frame[4] >> 6, width = field ? 1 << field : is_single;
    int64_t at = 6 - is_single;
    if (!width || bytes - at < width) return -1;
    uint64_t content = width == 2 ? 256 : 0;
    for (int i = 0; i < width; i++) content += (uint64_t)frame[at++] << 8 * i;
    for (int is_last = 0; !is_last;) {
        if (bytes - at < BLOCK_HEAD + CHECKSUM) return -1;
        const uint32_t block = frame[at] | (uint32_t)frame[at + 1] << 8 | (uint32_t)frame[at + 2] << 16;
        is_last = block & 1;
        at += BLOCK_HEAD + ((block >> 1 & 3) == REPEATED_BYTE ? 1 : block >> 3);
    }
    return at + CHECKSUM == bytes && content <= INT64_MAX ? (int64_t)content : -1;
}

/* libzstd's ZSTD_decompressDCtx: never writes beyond `capacity`, and compares the checksum. */
typedef size_t (*Decompress)(void *context, void *to, size_t capacity, const void *frame, size_t bytes);

/* Inflate frames to rows of `out`, which hold `row_bytes`. Returns how many are done: the next is no sound frame of the
 * right size, or needs another judge. */
FERDATA_API int64_t ferdata_inflate(Decompress decompress, void *context, const Bodies *bodies,
                                    const int64_t *positions, int64_t count, uint8_t *out, int64_t row_bytes,
                                    int64_t num_rows, const int64_t *rows) {
    for (int64_t i = 0; i < count; i++) {
        const Body frame = body_at(bodies, positions[i]);
        if (!frame.at || !is_row(rows[i], num_rows) || frame_content(frame.at, frame.bytes) != row_bytes) return i;
        if (decompress(context, out + rows[i] * row_bytes, (size_t)row_bytes, frame.at, (size_t)frame.bytes) !=
            (size_t)row_bytes)
            return i;
    }
    return count;
}

enum { FRAME_HEAD = 9, STORED_CHECKED = 0xA4, BLOCK_BYTES = 1 << 17 };

/* Finds the payload of a stored frame: its content in blocks as they are, all but the last of BLOCK_BYTES. One block is
 * taken where it stands, several are joined in `room`. Returns NULL if it is no such frame of at most `most` bytes. */
static const uint8_t *stored_payload(Body frame, uint8_t *room, int64_t most, int64_t *size) {
    if (frame.bytes < FRAME_HEAD || load32(frame.at) != ZSTD_MAGIC || frame.at[4] != STORED_CHECKED) return NULL;
    const int64_t content = load32(frame.at + 5), blocks = (content + BLOCK_BYTES - 1) / BLOCK_BYTES;
    if (!content || content > most || frame.bytes != FRAME_HEAD + content + blocks * BLOCK_HEAD + CHECKSUM) return NULL;
    const uint8_t *at = frame.at + FRAME_HEAD;
    *size = content;
    for (int64_t done = 0; done < content; done += BLOCK_BYTES, at += BLOCK_HEAD + BLOCK_BYTES) {
        const int64_t bytes = content - done < BLOCK_BYTES ? content - done : BLOCK_BYTES;
        const uint32_t head = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
        if (head != ((uint32_t)bytes << 3 | (done + bytes == content))) return NULL;
        if (blocks > 1) memcpy(room + done, at + BLOCK_HEAD, (size_t)bytes);
    }
    return blocks > 1 ? room : frame.at + FRAME_HEAD + BLOCK_HEAD;
}

/* Decode payloads from stored frames to rows of `out`, after comparing the checksums of all (`chosen` is NULL) or of
 * the chosen ones. `room` holds `most` bytes and SCRATCH_SLACK. Returns how many are done: the next is damaged. */
FERDATA_API int64_t ferdata_decode_bodies(const Bodies *bodies, const int64_t *positions, int64_t count, uint8_t *out,
                                          int64_t row_bytes, int64_t num_rows, const int64_t *rows,
                                          const uint8_t *chosen, const Image *image, uint8_t *room, int64_t most,
                                          uint8_t *scratch, int32_t streaming) {
    int64_t i = 0, size = 0;
    for (; i < count; i++) {
        const Body frame = body_at(bodies, positions[i]);
        if (!frame.at || !is_row(rows[i], num_rows)) break;
        const uint8_t *payload = stored_payload(frame, room, most, &size);
        if (!payload) break;
        const uint32_t checksum = load32(frame.at + frame.bytes - CHECKSUM);
        if ((!chosen || chosen[i]) && (uint32_t)xxh64(payload, size) != checksum) break;
        const int64_t slack = payload == room ? SCRATCH_SLACK : bodies->file + bodies->file_bytes - (payload + size);
        const Body next = i + 1 < count ? body_at(bodies, positions[i + 1]) : (Body){NULL, 0};
        if (decode(image, payload, size, slack, out + rows[i] * row_bytes, scratch, streaming, next)) break;
    }
    finish_streaming(streaming);
    return i;
}

/* Copy payloads from stored frames to `out`, each from its start on, after comparing the checksums of all (`chosen` is
 * NULL) or of the chosen ones. Returns how many are done: the next is damaged, or has no room. */
FERDATA_API int64_t ferdata_copy_payloads(const Bodies *bodies, const int64_t *positions, int64_t count, uint8_t *out,
                                          int64_t out_bytes, const int64_t *starts, const int64_t *sizes,
                                          const uint8_t *chosen) {
    for (int64_t i = 0; i < count; i++) {
        const Body frame = body_at(bodies, positions[i]);
        const int64_t start = starts[i];
        int64_t size = 0;
        if (!frame.at || start < 0 || sizes[i] < 0 || sizes[i] > out_bytes || start > out_bytes - sizes[i]) return i;
        const uint8_t *payload = stored_payload(frame, out + start, sizes[i], &size);
        if (!payload || size != sizes[i]) return i;
        const uint32_t checksum = load32(frame.at + frame.bytes - CHECKSUM);
        if ((!chosen || chosen[i]) && (uint32_t)xxh64(payload, size) != checksum) return i;
        if (payload != out + start) memcpy(out + start, payload, (size_t)size);
    }
    return count;
}
