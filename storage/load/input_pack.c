/* SPDX-License-Identifier: Apache-2.0 */
/* gzip, zstd and lz4 streams. Sources: RFC 1952, RFC 8878, lz4_Frame_format.md 1.6. */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <lz4frame.h>
#include <zstd.h>
#include <zstd_errors.h>
#include "load/input_parts.h"

struct load_unpack {
    union {
        struct inflate_state gzip;
        ZSTD_DStream *zstd;
        LZ4F_dctx *lz4;
    };
    bool inside; /* a member or frame has begun and not ended */
    bool any;    /* one has been seen */
};

static struct load_unpack *unpack_new(const struct load_raw *raw, struct err *err)
{
    struct load_unpack *u = calloc(1, sizeof *u);
    if (!u)
        err_set(err, -ENOMEM, "no memory to unpack %s", raw->path);
    return u;
}

static int64_t fail(bool always_false)
{
    return always_false ? 0 : -1;
}

/* ---- gzip ---- */

static struct load_unpack *gzip_open(struct load_raw *raw, const struct load_input_config *c,
                                     struct err *err)
{
    (void)c;
    struct load_unpack *u = unpack_new(raw, err);
    if (u) {
        isal_inflate_init(&u->gzip);
        u->gzip.crc_flag = ISAL_GZIP;
    }
    return u;
}

static const char *gzip_reason(int rc)
{
    switch (rc) {
    case ISAL_INVALID_BLOCK:
        return "an invalid deflate block";
    case ISAL_INVALID_SYMBOL:
        return "an invalid deflate code";
    case ISAL_INVALID_LOOKBACK:
        return "a reference before the beginning";
    case ISAL_INVALID_WRAPPER:
        return "it does not begin with a gzip header";
    case ISAL_UNSUPPORTED_METHOD:
        return "its compression method is not deflate";
    case ISAL_INCORRECT_CHECKSUM:
        return "the CRC or the size of what was unpacked is not what the member says";
    default:
        return "it is no deflate stream";
    }
}

/* Behind a member: another one, zeros up to the end (padding), or nothing. 1: another one. */
static int gzip_behind(struct load_raw *raw, struct err *err)
{
    for (;;) {
        if (!raw->avail && !raw->eof && !raw_fill(raw, err))
            return -1;
        if (!raw->avail)
            return 0;
        if (*raw->next == 0x1f)
            return 1;
        if (*raw->next) {
            raw_damaged(raw, err, "bytes follow the end of the gzip data");
            return -1;
        }
        raw->next++;
        raw->avail--;
        while (raw->avail && !*raw->next) {
            raw->next++;
            raw->avail--;
        }
        if (raw->avail) { /* zeros, then something: no padding */
            raw_damaged(raw, err, "bytes follow the end of the gzip data");
            return -1;
        }
    }
}

static int64_t gzip_take(struct load_unpack *u, struct load_raw *raw, uint8_t *out, size_t room,
                         struct err *err)
{
    struct inflate_state *g = &u->gzip;
    for (;;) {
        if (!u->inside) {
            int more = u->any ? gzip_behind(raw, err) : 1;
            if (more <= 0)
                return more;
            if (u->any)
                isal_inflate_reset(g);
            u->inside = u->any = true;
        }
        if (!raw_fill(raw, err))
            return -1;
        g->next_in = raw->next;
        g->avail_in = (uint32_t)raw->avail;
        g->next_out = out;
        g->avail_out = (uint32_t)room;
        int rc = isal_inflate(g);
        raw->next = g->next_in;
        raw->avail = g->avail_in;
        if (rc < 0)
            return fail(raw_damaged(raw, err, "%s", gzip_reason(rc)));
        if (g->block_state == ISAL_BLOCK_FINISH)
            u->inside = false;
        if (g->avail_out < room)
            return (int64_t)(room - g->avail_out);
        if (u->inside && !raw->avail && raw->eof)
            return fail(raw_short(raw, err, "gzip member"));
    }
}

static void gzip_close(struct load_unpack *u)
{
    free(u);
}

/* ---- zstd ---- */

static void zstd_close(struct load_unpack *u)
{
    ZSTD_freeDStream(u->zstd);
    free(u);
}

static struct load_unpack *zstd_open(struct load_raw *raw, const struct load_input_config *c,
                                     struct err *err)
{
    struct load_unpack *u = unpack_new(raw, err);
    if (!u)
        return NULL;
    int log = 10;
    uint64_t most = c->window_max ? c->window_max : 128u << 20;
    while (log < 31 && 1ull << (log + 1) <= most)
        log++;
    u->zstd = ZSTD_createDStream();
    if (u->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, log)))
        return u;
    err_set(err, -ENOMEM, "no memory to unpack %s", raw->path);
    zstd_close(u);
    return NULL;
}

static int64_t zstd_take(struct load_unpack *u, struct load_raw *raw, uint8_t *out, size_t room,
                         struct err *err)
{
    ZSTD_outBuffer o = {out, room, 0};
    for (;;) {
        if (!raw_fill(raw, err))
            return -1;
        ZSTD_inBuffer i = {raw->next, raw->avail, 0};
        if (!raw->avail && !u->inside)
            return u->any ? 0 : fail(raw_short(raw, err, "zstd frame"));
        size_t rc = ZSTD_decompressStream(u->zstd, &o, &i);
        if (ZSTD_isError(rc)) {
            ZSTD_ErrorCode e = ZSTD_getErrorCode(rc);
            if (e == ZSTD_error_frameParameter_windowTooLarge)
                return fail(err_set(err, -EFBIG,
                                    "%s: its zstd window is larger than allowed: pack it without "
                                    "--long",
                                    raw->path));
            if (e == ZSTD_error_memory_allocation)
                return fail(err_set(err, -ENOMEM, "no memory to unpack %s", raw->path));
            if (e == ZSTD_error_prefix_unknown && u->any && !u->inside)
                return fail(raw_damaged(raw, err, "bytes follow the end of the zstd data"));
            return fail(raw_damaged(raw, err, "%s", ZSTD_getErrorName(rc)));
        }
        raw->next += i.pos;
        raw->avail -= i.pos;
        u->any = true;
        u->inside = rc != 0;
        if (o.pos)
            return (int64_t)o.pos;
        if (u->inside && !raw->avail && raw->eof)
            return fail(raw_short(raw, err, "zstd frame"));
    }
}

/* ---- lz4 ---- */

static void lz4_close(struct load_unpack *u)
{
    LZ4F_freeDecompressionContext(u->lz4);
    free(u);
}

static struct load_unpack *lz4_open(struct load_raw *raw, const struct load_input_config *c,
                                    struct err *err)
{
    (void)c;
    struct load_unpack *u = unpack_new(raw, err);
    if (u && !LZ4F_isError(LZ4F_createDecompressionContext(&u->lz4, LZ4F_VERSION)))
        return u;
    free(u);
    err_set(err, -ENOMEM, "no memory to unpack %s", raw->path);
    return NULL;
}

static int64_t lz4_take(struct load_unpack *u, struct load_raw *raw, uint8_t *out, size_t room,
                        struct err *err)
{
    for (;;) {
        if (!raw_fill(raw, err))
            return -1;
        if (!raw->avail && !u->inside)
            return u->any ? 0 : fail(raw_short(raw, err, "lz4 frame"));
        size_t n = room, used = raw->avail;
        size_t rc = LZ4F_decompress(u->lz4, out, &n, raw->next, &used, NULL);
        if (LZ4F_isError(rc)) {
            const char *why = LZ4F_getErrorName(rc);
            if (u->any && !u->inside && strstr(why, "frameType"))
                why = "bytes follow the end of the lz4 data";
            return fail(raw_damaged(raw, err, "%s", why));
        }
        raw->next += used;
        raw->avail -= used;
        u->any = true;
        u->inside = rc != 0;
        if (n)
            return (int64_t)n;
        if (u->inside && !raw->avail && raw->eof)
            return fail(raw_short(raw, err, "lz4 frame"));
    }
}

const struct unpack_ops unpack_gzip = {gzip_open, gzip_take, gzip_close},
                        unpack_zstd = {zstd_open, zstd_take, zstd_close},
                        unpack_lz4 = {lz4_open, lz4_take, lz4_close};
