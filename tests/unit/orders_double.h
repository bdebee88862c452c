/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders_double.h - a small host for the processor `orders`, and frames of ITCH messages for it:
 * the real decoder writes the rows, frames are cut where the caller wants them, rows that the
 * processor emits are kept. One in a program. For tests and for perf/bench_orders.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/rows.h"
#include "dataplane/decoder.h"
#include "control/rtp/builtin/orders.h"
#include "control/rtp/builtin/orders_tables.h"

#define OD_SYMBOLS 32768u
#define OD_DAY     9820 /* 2026-11-20 */
#define OD_KEEP    (1u << 20)

struct od_frame {
    uint8_t *records;
    uint32_t bytes;
    int32_t day;
};
struct od_table {
    struct schema schema;
    struct pst_table_column column[SCHEMA_COLUMNS_MAX];
    struct pst_table table;
    uint8_t empty[256]; /* a record of nulls */
};
struct pst_rtp {
    int unused;
};

static struct od {
    /* in */
    const struct decoder_ops *ops;
    void *state;
    struct decode_env env;
    struct rows rows;
    uint8_t *staging;
    struct od_table in[DECODER_TABLES], out[ORDERS_TABLES];
    const struct pst_table *table[PST_TABLES];
    struct {
        char text[16];
        uint32_t len;
    } symbol[OD_SYMBOLS];
    uint32_t symbols, hash[2 * OD_SYMBOLS];
    struct od_frame *frame;
    uint32_t frames, frame_room;
    /* out */
    uint8_t *emitted;
    size_t emitted_bytes, emitted_room;
    uint64_t emits;
    bool wrap; /* keep only the last OD_KEEP bytes */
    const struct pst_processor *processor;
    const struct pst_api *api;
    char error[200];
    const char *orders; /* option */
    struct pst_value shown[8][16];
    uint32_t nshown;
    struct pst_rtp r;
} od;

static inline uint32_t od_symbol(const char *text, uint32_t len)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    for (h %= 2 * OD_SYMBOLS; od.hash[h]; h = (h + 1) % (2 * OD_SYMBOLS))
        if (od.symbol[od.hash[h] - 1].len == len &&
            !memcmp(od.symbol[od.hash[h] - 1].text, text, len))
            return od.hash[h] - 1;
    pst_must(len < sizeof od.symbol->text && od.symbols < OD_SYMBOLS);
    memcpy(od.symbol[od.symbols].text, text, len);
    od.symbol[od.symbols].len = len;
    od.hash[h] = ++od.symbols;
    return od.symbols - 1;
}

/* ---- rows in ---- */

static inline void od_stage(void)
{
    od.rows.base = od.rows.at = od.staging + FRAME_HEADER;
    od.rows.limit = od.rows.base + ROWS_FRAME_TARGET;
    od.rows.records = 0;
    od.rows.head = NULL;
}
static void od_flush(struct rows *r)
{
    rows_close_run(r);
    if (r->records) {
        if (od.frames == od.frame_room) {
            od.frame_room = od.frame_room ? 2 * od.frame_room : 1024;
            od.frame = realloc(od.frame, od.frame_room * sizeof *od.frame);
            pst_must(od.frame);
        }
        struct od_frame *f = &od.frame[od.frames++];
        f->bytes = (uint32_t)(r->at - r->base);
        f->day = r->frame_day;
        f->records = malloc(f->bytes);
        pst_must(f->records);
        memcpy(f->records, r->base, f->bytes);
    }
    od_stage();
}
static uint32_t od_intern(struct rows *r, const char *text, uint32_t len)
{
    (void)r;
    return od_symbol(text, len);
}
static const struct rows_ops od_rows_ops = {.flush = od_flush, .intern = od_intern};

static inline void od_table_set(struct od_table *t)
{
    for (unsigned i = 0; i < t->schema.ncols; i++)
        t->column[i] = (struct pst_table_column){t->schema.col[i].name, t->schema.col[i].type,
                                                 t->schema.col[i].offset, t->schema.col[i].packet};
    t->table = (struct pst_table){t->schema.name, t->schema.id, t->schema.feed, t->schema.ncols,
                                  t->column};
}

static inline void od_open(int64_t midnight)
{
    struct err err;
    memset(&od, 0, sizeof od);
    od.ops = decoder_find("itch50");
    od.state = malloc(od.ops->state_bytes);
    od.staging = aligned_alloc(4096, FRAME_MAX);
    pst_must(od.state && od.staging);
    od.ops->init(od.state);
    od.env.midnight = midnight;
    uint16_t id = TABLE_FIRST;
    for (unsigned i = 0; i < od.ops->ntables; i++) {
        const struct decoder_table *t = &od.ops->tables[i];
        pst_must(schema_make(&od.in[i].schema, id++, t->name, true, t->cols, t->ncols, &err));
        od.env.table[i] = &od.in[i].schema;
        od_table_set(&od.in[i]);
        if (!strcmp(t->name, "itch_order") || !strcmp(t->name, "itch_trade"))
            od.table[od.in[i].table.id] = &od.in[i].table;
    }
    for (unsigned i = 0; i < ORDERS_TABLES; i++) {
        const struct pst_derived *d = &orders_derived[i];
        struct column_def def[32];
        for (unsigned k = 0; k < d->ncolumns; k++)
            def[k] = (struct column_def){d->columns[k].name, (uint8_t)d->columns[k].type};
        struct od_table *t = &od.out[i];
        pst_must(schema_make(&t->schema, id++, d->name, false, def, d->ncolumns, &err));
        od_table_set(t);
        *(struct record *)t->empty =
            (struct record){t->schema.id, t->schema.fixed, PST_NULL_SYMBOL, PST_NULL_TIMESTAMP};
        for (unsigned k = 2; k < t->schema.ncols; k++)
            type_put_null(t->empty + t->schema.col[k].offset, t->schema.col[k].type);
    }
    pst_must(decoder_bind(od.ops, od.env.table, &err));
    od.rows.ops = &od_rows_ops;
    od_stage();
}

/* Facts of the messages that follow. A session's decoder state is not changed: od.ops->init. */
static inline void od_run(const char *feed, const char *session, uint64_t seq, uint32_t flags,
                          int32_t day)
{
    rows_run(&od.rows, &(struct run){.seq = seq,
                                     .rxtime = (int64_t)seq,
                                     .feed = od_symbol(feed, (uint32_t)strlen(feed)),
                                     .session = od_symbol(session, (uint32_t)strlen(session)),
                                     .line = PST_NULL_SYMBOL,
                                     .flags = flags,
                                     .day = (uint16_t)day});
}
static inline void od_message(const uint8_t *m, uint32_t len)
{
    pst_must(od.ops->decode(od.state, &od.env, m, len, &od.rows) == DECODE_ROW);
}
static inline void od_frames_clear(void)
{
    for (uint32_t i = 0; i < od.frames; i++)
        free(od.frame[i].records);
    od.frames = 0;
}

/* ---- the host ---- */

static int od_processor(struct pst_rtp_registry *g, const struct pst_processor *p)
{
    (void)g;
    od.processor = p;
    return 0;
}
static int od_api(struct pst_rtp_registry *g, const struct pst_api *a)
{
    (void)g;
    od.api = a;
    return 0;
}
static const struct pst_table *od_host_table(struct pst_rtp *r, const char *name)
{
    (void)r;
    for (unsigned i = 0; i < ORDERS_TABLES; i++)
        if (!strcmp(od.out[i].table.name, name))
            return &od.out[i].table;
    return NULL;
}
static struct pst_text od_host_symbol(struct pst_rtp *r, uint32_t id)
{
    (void)r;
    pst_must(id < od.symbols);
    return (struct pst_text){od.symbol[id].text, od.symbol[id].len};
}
static uint32_t od_host_intern(struct pst_rtp *r, const char *text, uint32_t len)
{
    (void)r;
    return od_symbol(text, len);
}
static uint8_t *od_emit(struct pst_rtp *r, const struct pst_table *t)
{
    (void)r;
    const struct od_table *o = &od.out[t == &od.out[1].table];
    uint32_t n = o->schema.fixed;
    if (pst_unlikely(od.emitted_bytes + n > od.emitted_room)) {
        if (od.wrap && od.emitted_room) {
            od.emitted_bytes = 0;
        } else {
            od.emitted_room = od.wrap ? OD_KEEP : od.emitted_room ? 2 * od.emitted_room : 1u << 20;
            od.emitted = realloc(od.emitted, od.emitted_room);
            pst_must(od.emitted);
        }
    }
    uint8_t *at = od.emitted + od.emitted_bytes;
    memcpy(at, o->empty, n);
    od.emitted_bytes += n;
    od.emits++;
    return at;
}
static int od_error(struct pst_rtp *r, const char *format, ...)
{
    (void)r;
    va_list ap;
    va_start(ap, format);
    vsnprintf(od.error, sizeof od.error, format, ap);
    va_end(ap);
    return -1;
}
static void od_log(struct pst_rtp *r, const char *format, ...)
{
    (void)r;
    va_list ap;
    va_start(ap, format);
    vsnprintf(od.error, sizeof od.error, format, ap);
    va_end(ap);
}
static const char *od_option(struct pst_rtp *r, const char *name)
{
    (void)r;
    return strcmp(name, "orders") ? NULL : od.orders;
}
static int od_add(struct pst_rtp *r, struct pst_result *out, const struct pst_value *v)
{
    (void)r;
    (void)out;
    pst_must(od.nshown < PST_COUNT(od.shown));
    memcpy(od.shown[od.nshown++], v, od.api->ncolumns * sizeof *v);
    return 0;
}
static const struct pst_rtp_host od_host = {
    .abi = PST_RTP_ABI,
    .size = sizeof(struct pst_rtp_host),
    .processor = od_processor,
    .api = od_api,
    .table = od_host_table,
    .symbol = od_host_symbol,
    .intern = od_host_intern,
    .emit = od_emit,
    .error = od_error,
    .log = od_log,
    .option = od_option,
    .add = od_add,
};
const struct pst_rtp_host *pst_rtp_host = &od_host;

/* The processor with empty state, and nothing emitted. */
static inline void od_begin(void)
{
    pst_must(orders_register(NULL) == 0 && od.processor);
    od.emitted_bytes = 0;
    od.emits = 0;
    if (od.processor->begin(&od.r, NULL))
        fprintf(stderr, "%s\n", od.error);
}
static inline int od_give(const struct od_frame *o)
{
    struct pst_frame f = {.day = o->day,
                          .records = o->records,
                          .records_end = o->records + o->bytes,
                          .table = od.table};
    return od.processor->frame(&od.r, &f, NULL);
}
static inline void od_give_all(void)
{
    for (uint32_t i = 0; i < od.frames; i++)
        if (od_give(&od.frame[i])) {
            fprintf(stderr, "%s\n", od.error);
            abort();
        }
}
static inline const struct pst_value *od_counts(void) /* of the first stream */
{
    od.nshown = 0;
    pst_must(od.api->run(&od.r, NULL, NULL, NULL) == 0);
    return od.shown[0];
}

static inline void od_close(void)
{
    if (od.processor)
        od.processor->begin(&od.r, NULL); /* frees the streams */
    od_frames_clear();
    free(od.frame);
    free(od.state);
    free(od.staging);
    free(od.emitted);
    memset(&od, 0, sizeof od);
}
