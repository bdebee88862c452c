/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffering events in the appender: random frames and masks against a naive split, the exact cut,
 * limits, sequences and room.
 */
#include <pthread.h>
#include "journal_kit.h"
#include "divert.h"

static uint64_t seed = 1;
static uint32_t dice(uint32_t n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 33) % n;
}

/* ---- masks ---- */

/* Takes rows whose time has this residue. */
struct residue {
    int64_t of, is;
    uint32_t asked;
};
static struct residue residues[DIVERT_EVENTS];

static void residue_mask(const void *state, const struct pst_batch *b, uint64_t *bits)
{
    struct residue *r = &residues[(uintptr_t)state];
    r->asked++;
    for (uint32_t i = 0; i < b->rows; i++)
        if (pst_row_time(&b->row[i]) % r->of == r->is)
            bits[i / 64] |= 1ull << i % 64;
    if (b->rows % 64) /* what stands behind the last row must not matter */
        bits[b->rows / 64] |= ~0ull << b->rows % 64;
}

static struct divert_event *offer(struct divert *d, int64_t id, int64_t of, int64_t is)
{
    struct divert_event *e = divert_take(d);
    assert_non_null(e);
    uintptr_t slot = (uintptr_t)(e - d->event);
    residues[slot] = (struct residue){of, is, 0};
    e->id = id;
    e->stream = (uint8_t)(STREAM_BUFFER - slot);
    e->mask = residue_mask;
    e->mask_state = (const void *)slot;
    e->text_len = (uint32_t)snprintf(e->text, sizeof e->text, "{\"id\":%lld,\"stream\":%u",
                                     (long long)id, e->stream);
    e->end_len = (uint32_t)snprintf(e->end, sizeof e->end, "{\"id\":%lld", (long long)id);
    store_release(&e->state, DIVERT_OFFERED);
    return e;
}

/* ---- pure: frames by hand ---- */

struct out_row {
    uint8_t bytes[64];
    uint32_t n;
    uint8_t stream;
    int64_t seq;
    bool packet;
    struct packet_record facts;
};
struct outs {
    struct out_row *row;
    uint32_t n;
    uint64_t seqs; /* that the packet records count */
    uint32_t frames, marks;
    struct divert *d;
};

static void collect(void *arg, struct frame *f, uint32_t diverted)
{
    struct outs *o = arg;
    struct record_walk w;
    const struct record *r;
    const struct packet_record *last = NULL;
    record_walk_start(&w, f);
    uint32_t records = 0, rows = 0, in_run = 0;
    assert_true(f->length <= FRAME_MAX && f->length % 8 == 0);
    assert_int_equal(f->day, 4711);
    assert_int_equal(f->source, 3);
    while ((r = record_walk_next(&w))) {
        if (w.packet != last) {
            if (last)
                assert_int_equal(in_run, last->rows);
            last = w.packet;
            records++;
            in_run = 0;
            o->seqs += last->seqs;
        }
        struct out_row *x = &o->row[o->n++];
        memcpy(x->bytes, r, r->bytes);
        x->n = r->bytes;
        x->stream = f->stream;
        x->seq = record_walk_seq(&w);
        x->packet = w.packet != NULL;
        if (w.packet)
            x->facts = *w.packet;
        records++, rows++, in_run++;
    }
    if (last)
        assert_int_equal(in_run, last->rows);
    assert_false(w.bad);
    assert_true(rows > 0);
    assert_int_equal(f->count, records);
    assert_int_equal(diverted, stream_is_buffer(f->stream) ? rows : 0);
    o->frames++;
    memset(f, 0xEE, f->length); /* its bytes are free: nothing may be read from them again */
}

static void no_mark(void *arg, struct divert_event *e, enum mark_type type, const char *status)
{
    (void)e, (void)type, (void)status;
    ((struct outs *)arg)->marks++;
}

/* A random frame; fills `want` with the naive split. */
static void make(struct frame *f, struct outs *want, const struct divert *d, unsigned events)
{
    uint8_t *p = (uint8_t *)f + FRAME_HEADER;
    bool runs = dice(2);
    uint32_t left = 1 + dice(dice(4) ? 40 : 600), records = 0;
    uint64_t seq = 1000;
    static int64_t stamp;
    want->n = 0;
    want->seqs = 0;
    while (left) {
        struct packet_record *k = NULL;
        uint32_t rows = left;
        if (runs) {
            k = (struct packet_record *)p;
            rows = 1 + dice(left < 9 ? left : 9);
            uint32_t shape = dice(3), flags = shape == 1   ? RUN_PACKET_SEQ
                                              : shape == 2 ? RUN_UNSEQUENCED
                                                           : 0;
            uint32_t seqs = shape == 1 ? dice(3) : shape == 2 ? 0 : rows;
            memset(k, 0, sizeof *k);
            *k = (struct packet_record){.table = TABLE_PACKET,
                                        .bytes = sizeof *k,
                                        .sym = PST_NULL_SYMBOL,
                                        .rxtime = (int64_t)dice(1000),
                                        .seq = shape == 2 ? (uint64_t)PST_NULL_LONG : seq,
                                        .feed = 1,
                                        .session = 2,
                                        .line = dice(2),
                                        .flags = flags,
                                        .rows = rows,
                                        .seqs = seqs};
            want->seqs += seqs;
            p += sizeof *k;
            records++;
        }
        const uint8_t *body = p;
        for (uint32_t i = 0; i < rows; i++) {
            struct out_row *x = &want->row[want->n++];
            uint32_t bytes = 16 + 8 * dice(5);
            struct record *r = (struct record *)p;
            for (uint32_t b = 0; b < bytes; b++)
                p[b] = (uint8_t)dice(256);
            *r = (struct record){(uint16_t)(TABLE_FIRST + dice(9)), (uint16_t)bytes, dice(100),
                                 dice(3) ? stamp++ : stamp};
            memcpy(x->bytes, p, bytes);
            x->n = bytes;
            x->packet = k != NULL;
            x->seq = !k || k->flags & RUN_UNSEQUENCED ? PST_NULL_LONG
                     : k->flags & RUN_PACKET_SEQ      ? (int64_t)seq
                                                      : (int64_t)(seq + i);
            x->stream = STREAM_DAILY;
            for (unsigned e = events; e-- > 0;)
                if (r->time % residues[d->active[e]].of == residues[d->active[e]].is)
                    x->stream = d->event[d->active[e]].stream;
            if (k)
                x->facts = *k;
            p += bytes;
            records++;
        }
        if (k)
            k->run_bytes = (uint32_t)(p - body);
        seq += rows;
        left -= rows;
    }
    *f = (struct frame){.length = (uint32_t)(p - (uint8_t *)f),
                        .kind = FRAME_DATA,
                        .source = 3,
                        .count = (uint16_t)records,
                        .day = 4711};
}

static void random_splits(void **state)
{
    (void)state;
    struct kit *k = kit_new(1024, 1000);
    struct err err;
    uint32_t asked = 0;
    struct outs want = {.row = calloc(20000, sizeof(struct out_row))};
    struct outs got = {.row = calloc(20000, sizeof(struct out_row))};
    uint8_t *memory = aligned_alloc(64, 2 * FRAME_MAX);
    const struct divert_sink sink = {&got, collect, no_mark};
    for (unsigned plan = 0; plan < 2000; plan++) {
        seed = plan * 77 + 5;
        struct divert *d = divert_create(&k->symbols, k->schemas, &err);
        assert_non_null(d);
        unsigned events = 1 + dice(3);
        for (unsigned e = 0; e < events; e++) {
            int64_t of = 1 + dice(dice(3) ? 4 : 200);
            divert_start(d, offer(d, e, of, dice((uint32_t)of)), 1);
        }
        memset(memory, 0xAA, 2 * FRAME_MAX);
        struct frame *f = (struct frame *)(memory + 4096);
        make(f, &want, d, events);
        got.n = got.frames = 0;
        got.seqs = 0;
        divert_frame(d, f, &sink);
        for (unsigned i = 0; i < 4096; i++)
            assert_int_equal(memory[i], 0xAA);
        assert_int_equal(got.n, want.n);
        assert_int_equal(got.seqs, want.seqs);
        assert_int_equal(got.marks, 0);
        uint64_t diverted = 0;
        for (uint32_t i = 0; i < got.n; i++) {
            struct out_row *a = &got.row[i], *b = &want.row[i];
            assert_int_equal(a->n, b->n);
            assert_memory_equal(a->bytes, b->bytes, b->n);
            assert_int_equal(a->stream, b->stream);
            assert_true(a->seq == b->seq);
            assert_int_equal(a->packet, b->packet);
            if (a->packet) { /* but for what is the part's own */
                a->facts.rows = b->facts.rows, a->facts.run_bytes = b->facts.run_bytes;
                a->facts.seqs = b->facts.seqs, a->facts.seq = b->facts.seq;
                assert_memory_equal(&a->facts, &b->facts, sizeof a->facts);
            }
            diverted += stream_is_buffer(a->stream);
        }
        for (unsigned e = 0; e < DIVERT_EVENTS; e++)
            diverted -= load_relaxed(&d->event[e].rows);
        assert_int_equal(diverted, 0);
        asked += residues[0].asked;
        divert_free(d);
    }
    assert_true(asked > 1000);
    free(want.row);
    free(got.row);
    free(memory);
    kit_free(k);
}

/* ---- in the appender ---- */

struct desk {
    struct kit *k;
    struct divert *d;
    struct inject q;
    struct inject_rows w;
};

static struct desk *desk_with(const char *interval)
{
    static uint8_t stream_of[TABLE_MAX];
    struct err err = {0};
    struct desk *x = calloc(1, sizeof *x);
    x->k = kit_new(1024, 1000);
    x->d = divert_create(&x->k->symbols, x->k->schemas, &err);
    assert_non_null(x->d);
    struct appender_config ac = x->k->app.cfg;
    appender_fini(&x->k->app);
    ac.divert = x->d;
    memset(stream_of, 0, sizeof stream_of);
    if (interval)
        stream_of[schema_set_find(x->k->schemas, interval)->id] = STREAM_INTERVAL;
    ac.stream_of = interval ? stream_of : NULL;
    assert_true(appender_init(&x->k->app, &ac, &err));
    appender_begin(&x->k->app, clock_now(&x->k->clock));
    struct inject_options o = {
        .max_new_symbols = 1000, .symbols = 1024, .ends_days = true, .lossless = true};
    struct inject_rows_config c = {.q = &x->q,
                                   .schemas = x->k->schemas,
                                   .symbols = 1024,
                                   .max_new_symbols = 1000,
                                   .open_day = KIT_DAY};
    assert_true(inject_create(&x->q, 4 << 20, &err));
    assert_true(appender_add_inject(&x->k->app, &x->q, 1, &o, &err));
    assert_true(inject_rows_init(&x->w, &c, &err));
    return x;
}

static struct desk *desk_new(void)
{
    return desk_with(NULL);
}

static void desk_free(struct desk *x)
{
    inject_rows_fini(&x->w);
    inject_destroy(&x->q);
    divert_free(x->d);
    kit_free(x->k);
    free(x);
}

static enum inject_refusal command(struct desk *x, const struct divert_event *e,
                                   enum mark_type type)
{
    char json[DIVERT_TEXT + 2];
    bool start = type == MARK_BUFFER_START;
    int n = snprintf(json, sizeof json, "%.*s}", (int)(start ? e->text_len : e->end_len),
                     start ? e->text : e->end);
    assert_true(inject_rows_event(&x->w, type, json, (uint32_t)n, (unsigned)(e - x->d->event)));
    uint64_t ticket = inject_rows_flush(&x->w);
    appender_take(&x->k->app, 100);
    return inject_verdict(&x->q, ticket);
}

static void quote(struct desk *x, int64_t time)
{
    struct rows *r = &x->k->app.rows;
    kit_quote_row(x->k, r, "A", 1);
    ((struct record *)(r->at - x->k->quote->fixed))->time = time;
}

static void trade(struct desk *x, int64_t time)
{
    const struct schema *s = x->k->trade;
    uint32_t sym = rows_symbol(&x->w.rows, "T", 1);
    uint8_t *p = inject_rows_plain(&x->w, s->fixed, 0);
    memset(p, 0, s->fixed);
    *(struct record *)p = (struct record){s->id, s->fixed, sym, time};
    put32(p + s->col[4].offset, PST_NULL_SYMBOL);
    put32(p + s->col[5].offset, s->fixed);
    inject_rows_plain_commit(&x->w, s->fixed);
}

/* Rows by stream, and marks, in the order of the journal: "a" passes, "B" diverted (slot 0), "C"
 * (slot 1), "<" buffer_start, ">" buffer_end. */
static void story(struct desk *x, char *out)
{
    const struct frame *f;
    while ((f = kit_next(x->k))) {
        unsigned type = 0;
        uint32_t len = 0;
        if (f->kind == FRAME_MARK && frame_mark(f, &type, &len) &&
            (type == MARK_BUFFER_START || type == MARK_BUFFER_END))
            *out++ = type == MARK_BUFFER_START ? '<' : '>';
        struct record_walk w;
        record_walk_start(&w, f);
        while (f->kind == FRAME_DATA && record_walk_next(&w))
            *out++ = stream_is_buffer(f->stream) ? (char)('B' + STREAM_BUFFER - f->stream) : 'a';
    }
    *out = 0;
}

static void exact_cut(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    char text[256];
    kit_run(&x->k->app.rows, 1, 0, KIT_DAY);
    struct divert_event *e = offer(x->d, 10, 2, 0);
    for (int i = 0; i < 4; i++)
        quote(x, i);
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_ACCEPTED);
    assert_int_equal(divert_state(e), DIVERT_ACTIVE);
    for (int i = 0; i < 5; i++)
        quote(x, i);
    appender_flush(&x->k->app);
    trade(x, KIT_DAY * NS_PER_DAY + 1);
    trade(x, KIT_DAY * NS_PER_DAY + 2);
    inject_rows_flush(&x->w);
    appender_take(&x->k->app, 10);
    quote(x, 8);
    assert_int_equal(command(x, e, MARK_BUFFER_END), INJECT_ACCEPTED);
    assert_int_equal(divert_state(e), DIVERT_ENDED);
    quote(x, 8);
    appender_flush(&x->k->app);
    story(x, text);
    assert_string_equal(text, "aaaa<BaBaBaBB>a");
    assert_int_equal(load_relaxed(&e->rows), 5);
    assert_int_equal(load_relaxed(&x->k->status->counter[COUNTER_APPEND_DIVERTED]), 5);
    assert_int_equal(load_relaxed(&x->k->status->counter[COUNTER_APPEND_ROWS]), 13);
    /* ended is ended; a slot that was never offered is no event */
    assert_int_equal(command(x, e, MARK_BUFFER_END), INJECT_EVENT_OVER);
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_EVENT_OVER);
    divert_release(e);
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_EVENT_OVER);
    assert_int_equal(kit_find(x->k, FRAME_MARK), NULL);
    desk_free(x);
}

static void who_may_start(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    struct divert_event *e = offer(x->d, 1, 1, 0);
    x->k->app.src[0].ends_days = false;
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_MALFORMED);
    assert_int_equal(divert_state(e), DIVERT_OFFERED);
    x->k->app.src[0].ends_days = true;
    x->k->app.cfg.divert = NULL;
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_MALFORMED);
    desk_free(x);
}

static void several(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    char text[256];
    kit_run(&x->k->app.rows, 1, 0, KIT_DAY);
    struct divert_event *two = offer(x->d, 2, 2, 0), *three = offer(x->d, 3, 3, 0);
    /* whose mask was started first takes what both want, whatever its slot */
    three->order = 1, two->order = 2;
    assert_int_equal(command(x, two, MARK_BUFFER_START), INJECT_ACCEPTED);
    assert_int_equal(command(x, three, MARK_BUFFER_START), INJECT_ACCEPTED);
    for (int i = 1; i <= 7; i++)
        quote(x, i);
    assert_int_equal(command(x, three, MARK_BUFFER_END), INJECT_ACCEPTED);
    for (int i = 1; i <= 6; i++)
        quote(x, i);
    assert_int_equal(command(x, two, MARK_BUFFER_END), INJECT_ACCEPTED);
    story(x, text);
    assert_string_equal(text, "<<aBCBaCa>aBaBaB>");
    assert_false(x->k->app.diverting);
    desk_free(x);
}

static void mark_says(struct desk *x, enum mark_type type, const char *status)
{
    const struct frame *f;
    char want[64];
    snprintf(want, sizeof want, "\"status\":\"%s\"", status);
    for (;;) {
        unsigned t = 0;
        uint32_t len = 0;
        f = kit_find(x->k, FRAME_MARK);
        assert_non_null(f);
        const char *json = frame_mark(f, &t, &len);
        if (t != type)
            continue;
        assert_non_null(memmem(json, len, want, strlen(want)));
        return;
    }
}

static void limits(void **state)
{
    (void)state;
    static const char *const stories[] = {[DIVERT_SPILL] = "<BBBB<BBBB<BB>",
                                          [DIVERT_PASS] = "<BBBB<aaaaaa>",
                                          [DIVERT_END] = "<BBBB>aaaaaa"};
    for (int policy = DIVERT_SPILL; policy <= DIVERT_END; policy++) {
        struct desk *x = desk_new();
        char text[256];
        kit_run(&x->k->app.rows, 1, 0, KIT_DAY);
        struct divert_event *e = offer(x->d, 5, 1, 0);
        e->policy = (enum divert_policy)policy;
        uint32_t frame = FRAME_HEADER + 64 + x->k->quote->fixed;
        e->limit = 4 * frame;
        assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_ACCEPTED);
        for (int i = 0; i < 10; i++) {
            quote(x, i);
            appender_flush(&x->k->app);
        }
        assert_int_equal(divert_state(e), policy == DIVERT_SPILL  ? DIVERT_ACTIVE
                                          : policy == DIVERT_PASS ? DIVERT_PASSING
                                                                  : DIVERT_ENDED);
        assert_int_equal(command(x, e, MARK_BUFFER_END),
                         policy == DIVERT_END ? INJECT_EVENT_OVER : INJECT_ACCEPTED);
        assert_true(load_relaxed(&x->k->status->alarm_signal[ALARM_BUFFER_LIMIT]) > 0);
        assert_int_equal(load_relaxed(&e->files), policy == DIVERT_SPILL ? 3 : 1);
        uint64_t from = x->k->read;
        story(x, text);
        assert_string_equal(text, stories[policy]);
        x->k->read = from, x->k->read_time = INT64_MIN, x->k->read_symbols = 0;
        mark_says(x, MARK_BUFFER_START, "started");
        if (policy == DIVERT_SPILL)
            mark_says(x, MARK_BUFFER_START, "spilled");
        if (policy == DIVERT_PASS)
            mark_says(x, MARK_BUFFER_START, "passthrough");
        mark_says(x, MARK_BUFFER_END, policy == DIVERT_END ? "limit" : "complete");
        desk_free(x);
    }
}

/* Rows of a source: each part says how far it leads, and they join; what was buffered once passes.
 */
static void sources(void **state)
{
    (void)state;
    static pst_aligned(8) uint8_t rec[8192];
    for (int again = 0; again < 2; again++) {
        struct desk *x = desk_new();
        struct divert_event *e = offer(x->d, 1, 3, 0);
        const struct schema *t = x->k->trade;
        char text[64];
        x->k->app.src[0].sources = true;
        assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_ACCEPTED);
        struct derived_record d = {
            .table = TABLE_DERIVED,
            .bytes = sizeof d,
            .source = rows_symbol(&x->w.rows, again ? "buffer:1" : "pump", again ? 8 : 4),
            .position = 50,
            .row = 2};
        uint32_t bytes = 0;
        for (uint32_t i = 0; i < 20; i++, bytes += t->fixed) {
            memset(rec + bytes, 0, t->fixed);
            *(struct record *)(rec + bytes) = (struct record){t->id, t->fixed, PST_NULL_SYMBOL, i};
            put32(rec + bytes + t->col[4].offset, PST_NULL_SYMBOL);
            put32(rec + bytes + t->col[5].offset, t->fixed);
        }
        assert_true(inject_rows_block(&x->w, rec, bytes, 20, KIT_DAY, &d));
        uint64_t ticket = x->w.ticket, from = x->k->read;
        while (appender_take(&x->k->app, 4))
            ;
        assert_int_equal(inject_verdict(&x->q, ticket), INJECT_ACCEPTED);
        story(x, text);
        assert_string_equal(text, again ? "<aaaaaaaaaaaaaaaaaaaa" : "<BaaBaaBaaBaaBaaBaaBa");
        x->k->read = from, x->k->read_time = INT64_MIN, x->k->read_symbols = 0;
        struct source_point at = {0, 0};
        const struct frame *f;
        while ((f = kit_find(x->k, FRAME_DATA))) {
            struct record_walk w;
            record_walk_start(&w, f);
            assert_non_null(w.derived);
            assert_int_equal(source_cmp(source_point(w.derived->after, w.derived->after_row), at),
                             0);
            at = source_point(w.derived->position, w.derived->row);
        }
        assert_int_equal(source_cmp(at, source_point(50, 2)), 0);
        desk_free(x);
    }
}

/* A feed's rows of the other stream, put aside as they are made, are shown to masks too. */
static void two_streams(void **state)
{
    (void)state;
    for (int64_t of = 1; of <= 3; of++) { /* every row, every second, every third goes */
        struct desk *x = desk_with("quote");
        struct rows *r = &x->k->app.rows;
        const uint8_t *stream_of = x->k->app.cfg.stream_of;
        struct divert_event *e = offer(x->d, 1, of, 1 % of);
        assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_ACCEPTED);
        struct run n = {.seq = 1,
                        .rxtime = 60,
                        .feed = rows_symbol(r, "f", 1),
                        .session = rows_symbol(r, "s", 1),
                        .line = rows_symbol(r, "A", 1),
                        .day = KIT_DAY,
                        .home = STREAM_INTERVAL + 1};
        rows_run(r, &n);
        for (int i = 0; i < 30; i++)
            if (i % 5)
                quote(x, i);
            else
                rows_undecoded(r, 'x', PST_NULL_SYMBOL, (const uint8_t *)"abc", 3);
        appender_flush(&x->k->app);
        uint32_t rows[256] = {0}, diverted = 0;
        uint64_t seqs = 0;
        const struct frame *f;
        while ((f = kit_find(x->k, FRAME_DATA))) {
            struct record_walk w;
            const struct record *row;
            record_walk_start(&w, f);
            while ((row = record_walk_next(&w))) {
                rows[f->stream]++;
                diverted += stream_is_buffer(f->stream);
                seqs += (uint64_t)record_walk_seq(&w);
                assert_int_equal(stream_is_buffer(f->stream), row->time % of == 1 % of);
                assert_true(stream_is_buffer(f->stream) || f->stream == stream_of[row->table]);
            }
        }
        assert_int_equal(rows[STREAM_DAILY] + rows[STREAM_INTERVAL] + diverted, 30);
        assert_int_equal(seqs, 30 * 31 / 2);
        assert_int_equal(diverted, load_relaxed(&e->rows));
        assert_true(of != 1 || diverted == 30);
        desk_free(x);
    }
}

/* Active events stand in the state marks of every roll; a resumed one begins with its mark. */
static void states_and_resume(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    struct divert_event *e = offer(x->d, 77, 1, 0);
    e->since = 4242;
    assert_true(appender_resume_event(&x->k->app, e));
    assert_int_equal(divert_state(e), DIVERT_ACTIVE);
    appender_want_states(&x->k->app);
    appender_states(&x->k->app);
    const struct frame *f = kit_find(x->k, FRAME_MARK);
    unsigned type = 0;
    uint32_t len = 0;
    const char *json = frame_mark(f, &type, &len);
    assert_int_equal(type, MARK_BUFFER_START);
    assert_non_null(memmem(json, len, "\"resumed\",\"since\":4242", 22));
    json = frame_mark(f = kit_find(x->k, FRAME_MARK), &type, &len);
    assert_int_equal(type, MARK_STATE);
    assert_memory_equal(json, "{\"buffer\":{\"id\":77,", 19);
    assert_non_null(memmem(json, len, "\"status\":\"active\",\"since\":4242", 30));
    assert_int_equal(json[len - 1], '}');
    desk_free(x);
}

static void count_on(struct desk *x, uint64_t n[2])
{
    const struct frame *f;
    while ((f = kit_next(x->k))) {
        struct record_walk w;
        record_walk_start(&w, f);
        while (f->kind == FRAME_DATA && record_walk_next(&w))
            n[stream_is_buffer(f->stream)]++;
    }
}

/* With an event active whatever appender_room allowed fits, in the worst of all splits. */
static void room(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    kit_run(&x->k->app.rows, 1, 0, KIT_DAY);
    struct divert_event *e = offer(x->d, 1, 2, 0);
    assert_int_equal(command(x, e, MARK_BUFFER_START), INJECT_ACCEPTED);
    uint32_t each = x->k->quote->fixed;
    uint64_t rows = 0;
    while (appender_room(&x->k->app) >= 8192) {
        for (uint32_t used = 0; used + each + 64 <= 8192; used += each, rows++)
            quote(x, (int64_t)rows);
        if (rows % 3 == 0)
            appender_flush(&x->k->app);
    }
    appender_flush(&x->k->app);
    assert_true(rows > 50000);
    /* and the inject ring's batches wait rather than overrun */
    for (int i = 0; i < 3000; i++)
        trade(x, KIT_DAY * NS_PER_DAY + i);
    inject_rows_flush(&x->w);
    assert_int_equal(appender_take(&x->k->app, 10), 0);
    uint64_t n[2] = {0, 0};
    count_on(x, n);
    kit_drain(x->k);
    while (appender_take(&x->k->app, 1)) {
        count_on(x, n);
        kit_drain(x->k);
    }
    count_on(x, n);
    assert_int_equal(n[0] + n[1], rows + 3000);
    assert_true(n[1] > rows / 3);
    desk_free(x);
}

/* Control starts and ends events and reads their figures while the appender runs. */
static _Atomic bool enough;
static void *appends(void *arg)
{
    struct desk *x = arg;
    struct appender *a = &x->k->app;
    int64_t i = 0;
    while (!load_relaxed(&enough)) {
        for (int k = 0; k < 50; k++)
            quote(x, i++);
        appender_flush(a);
        appender_take(a, 8);
        kit_drain(x->k);
    }
    appender_take(a, 8);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    struct desk *x = desk_new();
    struct divert_event *on[3] = {0};
    pthread_t t;
    uint64_t started = 0, rows = 0;
    kit_run(&x->k->app.rows, 1, 0, KIT_DAY);
    store_relaxed(&enough, false);
    assert_int_equal(pthread_create(&t, NULL, appends, x), 0);
    for (int64_t until = clock_monotonic() + NS_PER_S / 2, n = 0; clock_monotonic() < until; n++) {
        struct divert_event **e = &on[n % 3];
        char json[64];
        if (*e) {
            int len = snprintf(json, sizeof json, "{\"id\":%lld}", (long long)(*e)->id);
            assert_true(inject_rows_event(&x->w, MARK_BUFFER_END, json, (uint32_t)len,
                                          (unsigned)(*e - x->d->event)));
            inject_rows_flush(&x->w);
            while (divert_state(*e) != DIVERT_ENDED)
                cpu_relax();
            assert_true(load_relaxed(&(*e)->end_at) > load_relaxed(&(*e)->start));
            rows += load_relaxed(&(*e)->rows);
            divert_release(*e);
        }
        *e = offer(x->d, n, 3, n % 3);
        int len = snprintf(json, sizeof json, "%.*s}", (int)(*e)->text_len, (*e)->text);
        assert_true(inject_rows_event(&x->w, MARK_BUFFER_START, json, (uint32_t)len,
                                      (unsigned)(*e - x->d->event)));
        inject_rows_flush(&x->w);
        while (divert_state(*e) != DIVERT_ACTIVE)
            cpu_relax();
        started++;
    }
    store_relaxed(&enough, true);
    pthread_join(t, NULL);
    for (unsigned i = 0; i < 3; i++)
        rows += on[i] ? load_relaxed(&on[i]->rows) : 0;
    assert_true(started > 3);
    assert_int_equal(rows, load_relaxed(&x->k->status->counter[COUNTER_APPEND_DIVERTED]));
    desk_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_splits), cmocka_unit_test(exact_cut),
        cmocka_unit_test(who_may_start), cmocka_unit_test(several),
        cmocka_unit_test(limits),        cmocka_unit_test(sources),
        cmocka_unit_test(two_streams),   cmocka_unit_test(states_and_resume),
        cmocka_unit_test(room),          cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
