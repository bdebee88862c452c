/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb append: what its bytes may not be, and its client against a daemon that crashes: frames
 * of the journal's end are lost in every pattern, the connection dies at any byte, and in the end
 * each row is there once.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "append_check.h"
#include "append_client.h"
#include "core/tables.h"

static struct schema trade, quote, gap;
static struct schema_set *set;
static bool may[TABLE_MAX];
static struct days_owner owners;

static int setup(void **state)
{
    (void)state;
    static const struct column_def t[] = {{"time", PST_TIMESTAMP},
                                          {"sym", PST_SYMBOL},
                                          {"n", PST_LONG},
                                          {"venue", PST_SYMBOL},
                                          {"note", PST_STRING}};
    static const struct column_def q[] = {{"n", PST_LONG}, {"src", PST_SYMBOL}};
    set = schema_set_new();
    assert_true(tables_gap(&gap, NULL));
    gap.id = 2;
    assert_true(schema_make(&trade, 3, "trade", false, t, PST_COUNT(t), NULL));
    assert_true(schema_make(&quote, 4, "quote", true, q, PST_COUNT(q), NULL));
    assert_true(schema_set_add(set, &gap, NULL) && schema_set_add(set, &trade, NULL) &&
                schema_set_add(set, &quote, NULL));
    may[2] = may[3] = may[4] = true;
    owners.n = 1;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    schema_set_free(set);
    return 0;
}

/* ---- bytes ---- */

struct body {
    pst_aligned(8) uint8_t at[8192];
    uint32_t len;
};

static struct append_block *block(struct body *b, const char *texts, uint32_t n)
{
    struct append_block *x = (struct append_block *)(b->at + b->len);
    uint32_t bytes = 0;
    memset(x, 0, sizeof *x);
    uint8_t *p = (uint8_t *)(x + 1);
    for (uint32_t i = 0; i < n; i++, texts++) { /* one letter each */
        p[bytes++] = 1;
        p[bytes++] = (uint8_t)*texts;
    }
    x->texts = n;
    x->texts_bytes = (uint32_t)pst_align8(bytes);
    memset(p + bytes, 0, x->texts_bytes - bytes);
    x->bytes = (uint32_t)sizeof *x + x->texts_bytes;
    b->len += x->bytes;
    return x;
}
static struct record *row(struct body *b, struct append_block *x, const struct schema *s,
                          uint32_t sym)
{
    struct record *r = (struct record *)(b->at + b->len);
    memset(r, 0, s->fixed);
    *r = (struct record){s->id, s->fixed, sym, 7};
    for (unsigned i = 0; i < s->nsyms; i++)
        put32((uint8_t *)r + s->sym_offset[i], PST_NULL_SYMBOL);
    for (unsigned i = 0; i < s->ncols; i++)
        if (s->col[i].type == PST_STRING)
            put32((uint8_t *)r + s->col[i].offset, s->fixed);
    b->len += s->fixed;
    x->bytes += s->fixed;
    x->records++;
    return r;
}
static struct packet_record *run(struct body *b, struct append_block *x)
{
    struct packet_record *p = (struct packet_record *)(b->at + b->len);
    *p = (struct packet_record){.table = TABLE_PACKET,
                                .bytes = sizeof *p,
                                .sym = PST_NULL_SYMBOL,
                                .seq = 9,
                                .feed = 0,
                                .session = 1,
                                .line = PST_NULL_SYMBOL};
    b->len += (uint32_t)sizeof *p;
    x->bytes += (uint32_t)sizeof *p;
    x->records++;
    return p;
}
static struct packet_record *quotes(struct body *b, struct append_block *x, uint32_t n)
{
    struct packet_record *p = run(b, x);
    for (uint32_t i = 0; i < n; i++)
        row(b, x, &quote, 0);
    p->rows = p->seqs = n;
    p->run_bytes = n * quote.fixed;
    return p;
}

static struct append_rules rules(bool admin, bool of_source)
{
    return (struct append_rules){set, &owners, may, admin, of_source};
}
static int check(struct body *b, bool admin, bool of_source, struct append_found *f)
{
    struct err err = {0};
    struct append_rules r = rules(admin, of_source);
    bool ok = append_check(&r, b->at, b->len, f, &err);
    assert_true(ok == !err.code);
    return ok ? 0 : err.code;
}

/* Every bit of a sound request is turned: what is taken then is still sound, and never more. */
static void test_every_bit(void **state)
{
    (void)state;
    static struct body b, c;
    struct append_found f;
    b.len = 0;
    struct append_block *x = block(&b, "ab", 2);
    *x = (struct append_block){
        .bytes = x->bytes, .texts = 2, .texts_bytes = x->texts_bytes, .position = 10, .day = 9000};
    quotes(&b, x, 3);
    x = block(&b, "c", 1);
    x->after = 10, x->position = 10, x->row = 2;
    put32((uint8_t *)row(&b, x, &trade, 0) + trade.sym_offset[0], 0);
    row(&b, x, &gap, PST_NULL_SYMBOL);
    assert_int_equal(check(&b, true, true, &f), 0);
    assert_int_equal(f.blocks, 2);
    assert_int_equal(f.rows, 5);
    uint64_t taken = 0;
    for (uint32_t bit = 0; bit < b.len * 8; bit++) {
        memcpy(&c, &b, sizeof c);
        c.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (check(&c, true, true, &f))
            continue;
        taken++;
        uint32_t bytes = 0;
        for (unsigned i = 0; i < f.blocks; i++) {
            assert_ptr_equal(f.block[i], c.at + bytes);
            bytes += f.block[i]->bytes;
            const uint8_t *at = append_records(f.block[i]),
                          *end = at + append_record_bytes(f.block[i]);
            for (; at < end; at += le16(at + 2)) {
                const struct schema *s = schema_set_get(set, le16(at));
                if (!s)
                    assert_true(le32(at + offsetof(struct packet_record, flags)) & RUN_REPLAYED);
                else
                    assert_true(le32(at + 4) < f.block[i]->texts ||
                                le32(at + 4) == PST_NULL_SYMBOL);
            }
            assert_ptr_equal(at, end);
        }
        assert_int_equal(bytes, c.len);
    }
    assert_true(taken > 500);              /* values, times, sequences */
    for (uint32_t n = 0; n < b.len; n++) { /* and every truncation */
        memcpy(&c, &b, sizeof c);
        c.len = n;
        int code = check(&c, true, true, &f);
        assert_true(n == b.len || code == -EBADMSG || n == ((struct append_block *)c.at)->bytes);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static struct body b;
    struct append_found f;
    struct append_block *x;
#define FRESH(texts, n) (b.len = 0, x = block(&b, texts, n))
    FRESH("a", 1), row(&b, x, &trade, 0);
    assert_int_equal(check(&b, false, false, &f), 0);
    FRESH("a", 1), row(&b, x, &trade, 1);
    assert_int_equal(check(&b, false, false, &f), -EBADMSG); /* no such text */
    FRESH("a", 1), row(&b, x, &trade, 0), x->day = 9000;
    assert_int_equal(check(&b, false, false, &f), -EACCES); /* a date is admin's */
    assert_int_equal(check(&b, true, false, &f), 0);
    may[3] = false;
    assert_int_equal(check(&b, true, false, &f), -EACCES);
    may[3] = true;
    FRESH("a", 1), row(&b, x, &trade, 0), x->position = 1;
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* points without a source */
    FRESH("a", 1), row(&b, x, &trade, 0);
    assert_int_equal(check(&b, true, true, &f), -EBADMSG); /* a source that stays */
    FRESH("a", 1), row(&b, x, &trade, 0), x->position = (uint64_t)INT64_MAX + 1;
    assert_int_equal(check(&b, true, true, &f), -EBADMSG);
    FRESH("a", 1), row(&b, x, &trade, 0), x->row = 1;
    x = block(&b, "a", 1), row(&b, x, &trade, 0), x->after_row = 2, x->row = 3;
    assert_int_equal(check(&b, true, true, &f), -EBADMSG); /* a step between blocks */
    x->after_row = 1;
    assert_int_equal(check(&b, true, true, &f), 0);
    FRESH("ab", 2), quotes(&b, x, 2);
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* runs without a date */
    x->day = 9000;
    assert_int_equal(check(&b, true, false, &f), 0);
    FRESH("ab", 2), x->day = 9000, quotes(&b, x, 2)->flags = 0x100000;
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* a flag that no run has */
    FRESH("ab", 2), x->day = 9000, quotes(&b, x, 2), row(&b, x, &trade, 0);
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* runs and plain rows */
    FRESH("a", 1), row(&b, x, &gap, 0);
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* gap rows have a source */
    FRESH("", 0);
    assert_int_equal(check(&b, true, false, &f), -EBADMSG); /* no rows */
    x->position = 1;
    assert_int_equal(check(&b, true, true, &f), 0); /* a source that only moves */
    b.len = 0;
    assert_int_equal(check(&b, true, true, &f), -EBADMSG);
    b.len = 0;
    for (uint32_t i = 0; i <= APPEND_BLOCKS; i++) {
        x = block(&b, "", 0);
        x->after_row = i, x->row = i + 1;
        assert_int_equal(check(&b, true, true, &f), i < APPEND_BLOCKS ? 0 : -EBADMSG);
    }
}

/* ---- a daemon that crashes ---- */

struct held { /* a frame of its journal */
    struct source_point from, to;
    uint32_t rows;
    int64_t *value;
};
struct world {
    int listen;
    pthread_t thread;
    uint64_t seed;
    struct held *frame;
    uint32_t n, cap, durable; /* frames; those below `durable` were acknowledged as such */
    unsigned crashes, islands, again;
    bool stop;
    char path[64];
};

static uint32_t roll(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33) % n;
}

/* False: more islands than can be remembered. */
static bool progress(const struct world *w, struct source_progress *p)
{
    bool ok = true;
    *p = (struct source_progress){0};
    for (uint32_t i = 0; i < w->n; i++)
        ok &= source_found(p, w->frame[i].from, w->frame[i].to);
    return ok;
}

/* Of what was not durable any frames are lost. */
static void crash(struct world *w)
{
    uint32_t kept = w->durable;
    for (uint32_t i = w->durable; i < w->n; i++) {
        if (roll(&w->seed, 3) == 0) {
            free(w->frame[i].value);
        } else {
            w->frame[kept++] = w->frame[i];
        }
    }
    w->n = kept;
    w->crashes++;
    struct source_progress p;
    while (!progress(w, &p))
        free(w->frame[--w->n].value);
    w->islands += p.islands;
}

static void hold(struct world *w, const struct append_block *b, struct source_point from,
                 struct source_point to, uint32_t skip, uint32_t rows)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        pst_must(w->frame = realloc(w->frame, w->cap * sizeof *w->frame));
    }
    struct held *h = &w->frame[w->n++];
    *h = (struct held){from, to, rows, calloc(rows + 1, sizeof(int64_t))};
    const uint8_t *at = append_records(b), *end = at + append_record_bytes(b);
    uint32_t i = 0;
    for (; at < end; at += le16(at + 2)) {
        const struct schema *s = schema_set_get(set, le16(at));
        if (!s)
            continue;
        if (i >= skip && i < skip + rows)
            h->value[i - skip] = (int64_t)le64(at + s->col[schema_column(s, "n")].offset);
        i++;
    }
}

/* As the appender does, a block at times in two frames. */
static bool take(struct world *w, const struct append_block *b, uint32_t rows)
{
    struct source_progress p;
    struct source_point from = source_point(b->after, b->after_row),
                        to = source_point(b->position, b->row);
    progress(w, &p);
    if (!source_fits(&p, from, to))
        return false;
    uint32_t first = rows > 1 && roll(&w->seed, 2) ? 1 + roll(&w->seed, rows - 1) : rows;
    struct source_point middle = source_point(from.position, from.row + first);
    hold(w, b, from, first < rows ? middle : to, 0, first);
    if (first < rows)
        hold(w, b, middle, to, first, rows - first);
    return true;
}

static uint32_t rows_of(const struct append_block *b)
{
    uint32_t n = 0;
    const uint8_t *at = append_records(b), *end = at + append_record_bytes(b);
    for (; at < end; at += le16(at + 2))
        n += le16(at) != TABLE_PACKET;
    return n;
}

static bool say(int fd, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    size_t n = strlen(text);
    text[n] = '\n';
    bool ok = send(fd, text, n + 1, MSG_NOSIGNAL) == (ssize_t)n + 1;
    free(text);
    return ok;
}

static void opened(const struct world *w, int fd)
{
    struct source_progress p;
    progress(w, &p);
    json_t *have = json_array(), *tables = json_array();
    for (uint32_t i = 0; i < p.islands; i++)
        json_array_append_new(have, json_pack("[I,I,I,I]", (json_int_t)p.island[i].from.position,
                                              (json_int_t)p.island[i].from.row,
                                              (json_int_t)p.island[i].to.position,
                                              (json_int_t)p.island[i].to.row));
    for (unsigned id = 2; id < 5; id++) {
        char *text = schema_to_json(schema_set_get(set, id));
        json_array_append_new(tables, json_pack("{s:s,s:i,s:s}", "schema", text, "calendar", 0,
                                                "open", "2026.11.20"));
        free(text);
    }
    say(fd, json_pack("{s:b,s:{s:I,s:I,s:o,s:o,s:b,s:s}}", "ok", 1, "result", "position",
                      (json_int_t)p.at.position, "row", (json_int_t)p.at.row, "have", have,
                      "tables", tables, "dates", 1, "instance", "1"));
}

static void refuse(int fd, int code)
{
    say(fd, json_pack("{s:b,s:s,s:i}", "ok", 0, "error", "refused", "code", code));
}

/* One request with its bytes; false: the connection is over. */
static bool serve(struct world *w, int fd)
{
    static char line[4096];
    static pst_aligned(64) uint8_t tail[APPEND_MAX];
    size_t n = 0;
    while (n < sizeof line - 1 && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
        n++;
    if (!n || line[n] != '\n')
        return false;
    json_t *q = json_loadb(line, n, 0, NULL), *o = json_array_get(json_object_get(q, "args"), 0);
    uint32_t bytes = (uint32_t)json_integer_value(json_object_get(o, "bytes"));
    const char *level = json_string_value(json_object_get(o, "level"));
    bool durable = level && !strcmp(level, "durable");
    json_decref(q);
    if (!bytes) {
        opened(w, fd);
        return true;
    }
    uint32_t most = roll(&w->seed, 12) ? bytes : roll(&w->seed, bytes);
    for (uint32_t at = 0; at < most;) {
        ssize_t k = recv(fd, tail + at, most - at, 0);
        if (k <= 0)
            return false;
        at += (uint32_t)k;
    }
    if (most < bytes) { /* killed while it reads */
        crash(w);
        return false;
    }
    if (roll(&w->seed, 8) == 0) {
        w->again++;
        refuse(fd, -EAGAIN);
        return true;
    }
    struct append_found f;
    struct append_rules r = rules(true, true);
    struct err err = {0};
    if (!append_check(&r, tail, bytes, &f, &err)) {
        refuse(fd, err.code);
        return true;
    }
    unsigned until = roll(&w->seed, 10) ? f.blocks : roll(&w->seed, f.blocks);
    for (unsigned i = 0; i < until; i++)
        if (!take(w, f.block[i], rows_of(f.block[i]))) {
            refuse(fd, -ESTALE);
            return true;
        }
    if (until < f.blocks || roll(&w->seed, 6) == 0) { /* killed before it answers */
        crash(w);
        return false;
    }
    if (durable)
        w->durable = w->n;
    say(fd, json_pack("{s:b,s:{s:i,s:i,s:i}}", "ok", 1, "result", "rows", (int)f.rows, "late", 0,
                      "position", 1));
    return true;
}

static void *daemon_main(void *arg)
{
    struct world *w = arg;
    for (int fd; (fd = accept(w->listen, NULL, NULL)) >= 0 && !w->stop; close(fd))
        while (serve(w, fd))
            ;
    return NULL;
}

static void world_new(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = seed * 0x9E3779B97F4A7C15ull + 1;
    snprintf(w->path, sizeof w->path, "/tmp/test_append.%d", (int)getpid());
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, w->path);
    unlink(w->path);
    w->listen = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(w->listen, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(w->listen, 4), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, daemon_main, w), 0);
}
static void world_free(struct world *w)
{
    struct client_conn c;
    struct err err;
    w->stop = true;
    if (client_open(&c, w->path, &err)) /* wakes it */
        client_close_conn(&c);
    pthread_join(w->thread, NULL);
    close(w->listen);
    unlink(w->path);
    for (uint32_t i = 0; i < w->n; i++)
        free(w->frame[i].value);
    free(w->frame);
}

/* Inputs 1 … INPUTS, each with rows that depend on its number alone; position = 10 * number. */
#define INPUTS 400

static uint32_t rows_in(uint32_t input)
{
    uint64_t s = input * 977ull;
    return roll(&s, 5) ? roll(&s, 40) : roll(&s, 900);
}

static bool give(struct append_client *a, uint32_t input, int64_t *value)
{
    bool feed = input % 7 < 3;
    const struct schema *s = append_table(a, feed ? "quote" : "trade");
    struct append_facts facts = {.seq = (uint64_t)*value, .rxtime = input, .seqs = 1};
    facts.feed.len = facts.session.len = 2;
    memcpy(facts.feed.text, "fd", 2);
    memcpy(facts.session.text, "se", 2);
    if (feed)
        append_run(a, &facts);
    for (uint32_t i = 0; i < rows_in(input); i++) {
        pst_aligned(8) uint8_t rec[256] = {0};
        char sym[16];
        int n = snprintf(sym, sizeof sym, "S%d", (int)(*value % 300));
        if (!append_begin(a, s, s->fixed + (feed ? 0 : 8), s->nsyms + 1u, 9000))
            return false;
        *(struct record *)rec =
            (struct record){s->id, s->fixed, append_symbol(a, sym, (uint32_t)n), *value};
        put64(rec + s->col[schema_column(s, "n")].offset, (uint64_t)*value);
        put32(rec + s->sym_offset[0], append_symbol(a, "x", 1));
        if (!feed)
            put32(rec + s->col[schema_column(s, "note")].offset, s->fixed);
        ++*value;
        if (!append_row(a, (struct record *)rec))
            return false;
    }
    return append_point(a, input * 10ull) && (input % 97 || append_flush(a, ACK_DURABLE));
}

static void one_life(uint64_t seed, unsigned total[3])
{
    struct world w;
    struct append_client a;
    struct err err = {0};
    world_new(&w, seed);
    int64_t all = 0;
    bool done = false;
    for (uint32_t i = 1; i <= INPUTS; i++)
        all += rows_in(i);
    for (unsigned tries = 0; !done; tries++) {
        assert_true(tries < 500);
        if (!append_open(&a, w.path, "test:1", &err))
            continue;
        int64_t value = 0;
        done = true;
        for (uint32_t i = 1; done && i <= INPUTS; i++) {
            if (i * 10ull <= a.at.position && i * 10ull <= a.at.position) {
                value += rows_in(i);
                continue;
            }
            done = give(&a, i, &value);
        }
        done = done && append_flush(&a, ACK_DURABLE);
        if (!done && a.err.code != -EPIPE)
            fail_msg("seed %llu: %s", (unsigned long long)seed, a.err.text);
        append_close(&a);
    }
    /* each row once; of one stretch in order */
    uint8_t *seen = calloc((size_t)all, 1);
    int64_t n = 0;
    for (uint32_t i = 0; i < w.n; i++)
        for (uint32_t k = 0; k < w.frame[i].rows; k++, n++) {
            int64_t v = w.frame[i].value[k];
            assert_true(v >= 0 && v < all);
            if (seen[v]++)
                fail_msg("seed %llu: row %lld stands twice", (unsigned long long)seed,
                         (long long)v);
            if (k)
                assert_int_equal(v, w.frame[i].value[k - 1] + 1);
        }
    if (n != all)
        fail_msg("seed %llu: %lld rows of %lld", (unsigned long long)seed, (long long)n,
                 (long long)all);
    free(seen);
    total[0] += w.crashes, total[1] += w.islands, total[2] += w.again;
    world_free(&w);
}

static void test_each_row_once(void **state)
{
    (void)state;
    unsigned total[3] = {0};
    const char *only = getenv("PST_SEED");
    for (uint64_t seed = 1; seed <= 30; seed++)
        if (!only || seed == strtoull(only, NULL, 10))
            one_life(seed, total);
    if (!only) /* it was no fair weather */
        assert_true(total[0] > 30 && total[1] > 10 && total[2] > 10);
}

/* A source whose input changed is told so, not guessed at. */
static void test_other_input(void **state)
{
    (void)state;
    struct append_client a;
    struct err err;
    struct world w;
    for (uint64_t seed = 1;; seed++) { /* a world whose daemon does not die at once */
        world_new(&w, seed);
        w.frame = calloc(4, sizeof *w.frame);
        w.cap = 4, w.n = w.durable = 2;
        w.frame[0] = (struct held){source_point(0, 0), source_point(50, 0), 0, calloc(1, 8)};
        w.frame[1] = (struct held){source_point(75, 3), source_point(90, 0), 0, calloc(1, 8)};
        assert_true(append_open(&a, w.path, "test:1", &err));
        assert_int_equal(a.at.position, 50);
        assert_true(append_point(&a, 60));
        assert_false(append_point(&a, 80)); /* 75 was a point once */
        assert_int_equal(a.err.code, -ESTALE);
        append_close(&a);
        world_free(&w);
        break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_each_row_once),
        cmocka_unit_test(test_other_input),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
