/* SPDX-License-Identifier: Apache-2.0 */
#include "load_feed.h"

#include <errno.h>
#include "core/rows.h"
#include "core/status.h"
#include "core/tables.h"
#include "dataplane/batch.h"
#include "dataplane/feed.h"
#include "dataplane/packet.h"
#include "dataplane/pcap_read.h"
#include "storage/load/binary.h"

#define POLL_NS (50 * 1000) /* as a replay's: how far packet times move before timers run */

/* What a feed or decoder writes to: one frame, which goes to the blocks when it is full. */
struct load_feed {
    struct load_reader_config c;
    struct load_records *records;
    struct rows rows;
    uint8_t *frame;
    bool failed;
    struct err err;
    const struct decoder_ops *decoder; /* NULL = none */
    const struct schema *gap;
    uint64_t gaps, marks;
    /* itch50 */
    void *state;
    struct decode_env env;
    struct run run;
    uint64_t messages, undecoded;
    uint32_t unknown, length, symbol; /* reasons */
    bool ended;
    uint64_t at; /* bytes of the file's content used so far */
    /* pcap */
    struct status *status;
    struct feed *feed;
    struct framing framing;
    struct pcap_reader *pcap;
    const uint8_t *piece;
    size_t left;
    bool last;
    int64_t polled_at, now;
    uint64_t packets, other;
    char line[FEED_LINES][SCHEMA_NAME_MAX];
    unsigned nlines;
    int32_t fixed;
    struct tzone *zone;
};

/* ---- the sink ---- */

static void reset_frame(struct load_feed *f)
{
    f->rows.base = f->frame + FRAME_HEADER;
    f->rows.at = f->rows.base;
    f->rows.limit = f->rows.base + ROWS_FRAME_TARGET;
    f->rows.head = NULL;
    f->rows.records = 0;
}

static void take(struct load_feed *f, const uint8_t *p, const uint8_t *end, int32_t day)
{
    if (!f->failed && !load_records_take(f->records, p, end, day, &f->err))
        f->failed = true; /* a sink cannot fail: the reader looks after each packet */
}

static void op_flush(struct rows *r)
{
    struct load_feed *f = r->owner;
    rows_close_run(r);
    if (r->records)
        take(f, r->base, r->at, r->frame_day);
    reset_frame(f);
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    return load_records_symbol(((struct load_feed *)r->owner)->records, text, len);
}

static void op_gap(struct rows *r, const struct gap *g)
{
    struct load_feed *f = r->owner;
    pst_aligned(8) uint8_t record[BATCH_GAP_MAX];
    op_flush(r);
    uint32_t reason = op_intern(r, g->reason, (uint32_t)strlen(g->reason));
    take(f, record, record + batch_gap_record(record, f->gap, g, reason), g->day);
    f->gaps++;
}

static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    (void)type, (void)json, (void)len;
    op_flush(r);
    ((struct load_feed *)r->owner)->marks++;
}

static uint64_t op_room(struct rows *r)
{
    (void)r;
    return UINT64_MAX;
}

static const struct rows_ops sink_ops = {op_flush, op_intern, op_gap, op_mark, op_room};

/* ---- both ---- */

static void common_close(void *reader)
{
    struct load_feed *f = reader;
    pcap_read_close(f->pcap);
    feed_close(f->feed);
    status_destroy(f->status);
    load_records_close(f->records);
    tzone_free(f->zone);
    free(f->state);
    free(f->frame);
    free(f);
}

static int64_t midnight_of(void *arg, int32_t day)
{
    return load_midnight(((struct load_feed *)arg)->zone, day);
}

/* The tables of a recipe: the decoder's in its order, then gap, then undecoded. */
static bool bind_tables(struct load_feed *f, const struct schema **tables, struct err *err)
{
    const struct load_recipe *r = f->c.recipe;
    unsigned n = f->decoder ? f->decoder->ntables : 0;
    struct schema gap, undecoded;
    if (strcmp(r->decoder, "none") && !f->decoder)
        return err_set(err, -EINVAL, "load.files: %s: decoder: there is no %s", r->name,
                       r->decoder);
    if (r->ntables != n + 2 || !tables_gap(&gap, err) || !tables_undecoded(&undecoded, err))
        return err_set(err, -EINVAL,
                       "load.files: %s: schemas: not those of decoder %s, gap and undecoded",
                       r->name, r->decoder);
    f->gap = load_records_schema(f->records, n);
    f->rows.undecoded = load_records_schema(f->records, n + 1);
    if (!schema_equal(f->gap, &gap) || !schema_equal(f->rows.undecoded, &undecoded))
        return err_set(err, -EINVAL, "load.files: %s: schemas: gap and undecoded come last",
                       r->name);
    for (unsigned i = 0; i < n; i++)
        tables[i] = load_records_schema(f->records, i);
    return !f->decoder || decoder_bind(f->decoder, tables, err);
}

static struct load_feed *common_open(const struct load_reader_config *c,
                                     const struct schema **tables, struct err *err)
{
    const struct load_recipe *r = c->recipe;
    struct load_feed *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(err, -ENOMEM, "no memory to read %s", c->path);
        return NULL;
    }
    f->c = *c;
    f->decoder = decoder_find(r->decoder);
    f->fixed = r->date == LOAD_DATE_FIXED || r->date == LOAD_DATE_FILE ? r->day : -1;
    f->frame = aligned_alloc(64, FRAME_MAX);
    f->rows.ops = &sink_ops;
    f->rows.owner = f;
    bool ok = f->frame || err_set(err, -ENOMEM, "no memory to read %s", c->path);
    ok = ok && (f->zone = tzone_load(r->feed_zone, err)) &&
         (f->records = load_records_open(c, err)) && bind_tables(f, tables, err);
    if (!ok) {
        common_close(f);
        return NULL;
    }
    reset_frame(f);
    return f;
}

static uint32_t intern(struct load_feed *f, const char *text)
{
    return load_records_symbol(f->records, text, (uint32_t)strlen(text));
}

static bool sink_failed(const struct load_feed *f, struct err *err)
{
    if (f->failed)
        *err = f->err;
    return f->failed;
}

/* ---- ITCH files ---- */

static void *itch_open(const struct load_reader_config *c, struct err *err)
{
    const struct load_recipe *r = c->recipe;
    const struct schema *tables[LOAD_TABLES] = {0};
    struct load_feed *f = common_open(c, tables, err);
    if (!f)
        return NULL;
    if (f->fixed < 0 || !f->decoder) {
        err_set(err, -EINVAL, "load.files: %s: %s", r->name,
                f->decoder ? "date: such a file does not say its date" : "decoder: is missing");
        common_close(f);
        return NULL;
    }
    f->state = calloc(1, f->decoder->state_bytes + 1);
    if (!f->state) {
        err_set(err, -ENOMEM, "no memory to read %s", c->path);
        common_close(f);
        return NULL;
    }
    if (f->decoder->init)
        f->decoder->init(f->state);
    for (unsigned i = 0; i < f->decoder->ntables; i++)
        f->env.table[i] = tables[i];
    f->env.midnight = midnight_of(f, f->fixed);
    f->unknown = intern(f, "unknown");
    f->length = intern(f, "length");
    f->symbol = intern(f, "symbol");
    f->run = (struct run){.seq = 1,
                          .rxtime = PST_NULL_TIMESTAMP,
                          .feed = intern(f, r->feed),
                          .session = intern(f, r->session),
                          .line = r->ngroups ? intern(f, r->group[0].line) : PST_NULL_SYMBOL,
                          .day = (uint16_t)f->fixed,
                          .quality = CLOCK_CAPTURE};
    rows_run(&f->rows, &f->run);
    return f;
}

static void one_message(struct load_feed *f, const uint8_t *msg, uint32_t len)
{
    enum decode d = f->decoder->decode(f->state, &f->env, msg, len, &f->rows);
    f->messages++;
    if (pst_likely(d == DECODE_ROW))
        return;
    f->undecoded++;
    rows_undecoded(&f->rows, f->decoder->type ? f->decoder->type(msg, len) : PST_NULL_INT,
                   d == DECODE_UNKNOWN  ? f->unknown
                   : d == DECODE_LENGTH ? f->length
                                        : f->symbol,
                   msg, len);
}

static bool itch_feed(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                      struct err *err)
{
    struct load_feed *f = reader;
    size_t at = 0;
    while (n - at >= 2 && !f->ended) {
        uint32_t len = be16(bytes + at);
        if (!len) {
            f->ended = true; /* the end of the session; nothing may follow */
            at += 2;
            break;
        }
        if (n - at - 2 < len)
            break;
        one_message(f, bytes + at + 2, len);
        at += 2 + len;
        if (pst_unlikely(f->failed))
            return !sink_failed(f, err);
    }
    f->at += at;
    *used = at;
    if (f->ended && at < n)
        return err_set(err, -EBADMSG,
                       "%s: bytes follow the end of the session at byte %llu of its content",
                       f->c.path, (unsigned long long)f->at);
    if (!last)
        return true;
    if (at < n)
        return err_set(
            err, -ENODATA,
            "%s: cut short: message %llu at byte %llu of its content ends early; deliver "
            "it again",
            f->c.path, (unsigned long long)f->messages + 1, (unsigned long long)f->at);
    op_flush(&f->rows);
    return !sink_failed(f, err) && load_records_flush(f->records, err);
}

static json_t *itch_facts(void *reader)
{
    const struct load_feed *f = reader;
    return json_pack("{s:I,s:I,s:b}", "messages", (json_int_t)f->messages, "undecoded",
                     (json_int_t)f->undecoded, "ended", f->ended);
}

const struct load_reader load_reader_itch50 = {.name = "itch50",
                                               .open = itch_open,
                                               .feed = itch_feed,
                                               .close = common_close,
                                               .facts = itch_facts};

/* ---- captures ---- */

static int32_t day_of(void *arg, int64_t utc)
{
    const struct load_feed *f = arg;
    int64_t s = civil_floor_div(utc, PST_SECOND_NS);
    int64_t local = s + tzone_offset(f->zone, s + PST_EPOCH_OFFSET_S);
    return (int32_t)civil_floor_div(local, PST_DAY_S);
}

static bool framing_of(struct load_feed *f, struct err *err)
{
    const struct load_recipe *r = f->c.recipe;
    if (r->nframing) { /* as control made it; checked all the same */
        if (r->nframing != sizeof f->framing)
            return err_set(err, -EINVAL, "load.files: %s: framing_bytes: of another build",
                           r->name);
        memcpy(&f->framing, r->framing_bytes, sizeof f->framing);
        f->framing.name[sizeof f->framing.name - 1] = 0;
        return framing_check(&f->framing, err);
    }
    const struct framing *builtin = framing_find(r->framing);
    if (!builtin)
        return err_set(err, -EINVAL, "load.files: %s: framing: there is no %s", r->name,
                       r->framing);
    f->framing = *builtin;
    return true;
}

static bool lines_of(struct load_feed *f, struct err *err)
{
    const struct load_recipe *r = f->c.recipe;
    for (unsigned i = 0; i < r->ngroups || !i; i++) {
        const char *name = r->ngroups && *r->group[i].line ? r->group[i].line : "A";
        unsigned k = 0;
        while (k < f->nlines && strcmp(f->line[k], name))
            k++;
        if (k < f->nlines)
            continue;
        if (k == FEED_LINES)
            return err_set(err, -E2BIG, "load.files: %s: groups: more than %d lines", r->name,
                           FEED_LINES);
        snprintf(f->line[f->nlines++], SCHEMA_NAME_MAX, "%s", name);
    }
    return true;
}

static void *pcap_open_reader(const struct load_reader_config *c, struct err *err)
{
    const struct schema *tables[LOAD_TABLES] = {0};
    struct load_feed *f = common_open(c, tables, err);
    if (!f)
        return NULL;
    struct feed_config fc = {.name = c->recipe->feed,
                             .framing = &f->framing,
                             .decoder = f->decoder,
                             .reorder_ns = -1,
                             .max_sessions = 64,
                             .fixed_date = f->fixed,
                             .day_of = day_of,
                             .midnight_of = midnight_of,
                             .arg = f};
    bool ok = framing_of(f, err) && lines_of(f, err) && (f->status = status_create("load", err));
    for (unsigned i = 0; ok && i < f->nlines; i++)
        fc.line[fc.nlines++].name = f->line[i];
    for (unsigned i = 0; ok && f->decoder && i < f->decoder->ntables; i++)
        fc.tables[i] = tables[i];
    if (ok && (f->feed = feed_open(&fc, f->status, 0, err)))
        return f;
    common_close(f);
    return NULL;
}

/* The next bytes of the unpacked capture. */
static int64_t more(void *arg, uint8_t *to, size_t n)
{
    struct load_feed *f = arg;
    while (!f->left && !f->last)
        if (!load_input_next(f->c.input, 0, &f->piece, &f->left, &f->last, &f->err)) {
            f->failed = true;
            return f->err.code < 0 ? f->err.code : -EIO;
        }
    size_t k = f->left < n ? f->left : n;
    memcpy(to, f->piece, k);
    f->piece += k;
    f->left -= k;
    return (int64_t)k;
}

/* The line whose group a packet came for; -1: none of ours. */
static int line_of(const struct load_feed *f, const struct udp_view *u)
{
    const struct load_recipe *r = f->c.recipe;
    if (!r->ngroups)
        return 0;
    for (unsigned i = 0; i < r->ngroups; i++) {
        const struct load_group *g = &r->group[i];
        if ((g->group && g->group != u->dst_ip) || (g->port && g->port != u->dst_port) ||
            (g->source && g->source != u->src_ip))
            continue;
        const char *name = *g->line ? g->line : "A";
        for (unsigned k = 0; k < f->nlines; k++)
            if (!strcmp(f->line[k], name))
                return (int)k;
    }
    return -1;
}

static void one_packet(struct load_feed *f, const struct pcap_packet *p)
{
    struct pkt k = {.data = p->data,
                    .len = p->len,
                    .wire_len = p->wire_len,
                    .rxtime = p->time,
                    .quality = CLOCK_CAPTURE};
    struct udp_view u;
    int line;
    if (p->time > f->now || !f->packets)
        f->now = p->time; /* the clock of a replay does not go back */
    if (f->now - f->polled_at >= POLL_NS) {
        f->polled_at = f->now;
        feed_poll(f->feed, f->now, &f->rows);
    }
    f->packets++;
    if (packet_parse(&k, &u) != DROP_none || (line = line_of(f, &u)) < 0) {
        f->other++;
        return;
    }
    feed_packet(f->feed, (unsigned)line, u.payload, u.payload_len, p->time, CLOCK_CAPTURE,
                &f->rows);
}

static bool pcap_feed(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                      struct err *err)
{
    struct load_feed *f = reader;
    struct pcap_packet p;
    int k;
    (void)bytes, (void)last;
    *used = n;
    f->pcap = pcap_read_stream(more, f, f->c.path, err);
    if (!f->pcap) {
        sink_failed(f, err); /* the input's sentence is the better one */
        return false;
    }
    while ((k = pcap_read_next(f->pcap, &p, err)) == 1) {
        one_packet(f, &p);
        if (pst_unlikely(f->failed))
            break;
        if (!(f->packets & 1023)) {
            if (f->c.progress)
                store_relaxed(&f->c.progress->bytes, load_input_consumed(f->c.input));
            if (load_progress_stopped(f->c.progress))
                return err_set(err, -ECANCELED, "%s: stopped", f->c.path);
        }
    }
    if (sink_failed(f, err))
        return false;
    if (k < 0) {
        err->code = -EBADMSG;
        return false;
    }
    if (pcap_read_counts(f->pcap)->cut && !f->c.recipe->partial)
        return err_set(err, -ENODATA, "%s: cut short: %s", f->c.path, pcap_read_note(f->pcap));
    while (!feed_flush(f->feed, f->now, &f->rows))
        op_flush(&f->rows);
    op_flush(&f->rows);
    return !sink_failed(f, err) && load_records_flush(f->records, err);
}

static json_t *pcap_facts(void *reader)
{
    struct load_feed *f = reader;
    const struct status_feed *s = &f->status->feeds[0];
    uint64_t duplicates = 0, malformed = 0;
    for (unsigned i = 0; i < s->nlines; i++) {
        duplicates += load_relaxed(&s->line[i].duplicate);
        malformed += load_relaxed(&s->line[i].malformed);
    }
    const struct pcap_counts *c = pcap_read_counts(f->pcap);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "packets", (json_int_t)f->packets,
                     "other", (json_int_t)f->other, "snapped", (json_int_t)c->snapped, "messages",
                     (json_int_t)load_relaxed(&s->messages), "gaps", (json_int_t)f->gaps, "lost",
                     (json_int_t)(load_relaxed(&s->gap_seqs) - load_relaxed(&s->late_seqs)),
                     "duplicates", (json_int_t)duplicates, "malformed", (json_int_t)malformed,
                     "note", pcap_read_note(f->pcap));
}

const struct load_reader load_reader_pcap = {.name = "pcap",
                                             .pull = true,
                                             .open = pcap_open_reader,
                                             .feed = pcap_feed,
                                             .close = common_close,
                                             .facts = pcap_facts};
