/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writedown_kit.h - for tests of the writedown: a journal of random rows that goes into an RDB,
 * into a log file and into a content hash, and is kept as text besides; a partition is read by the
 * independent reader (support/kdbread.h) and compared with those texts in an order of the test's
 * own making.
 */
#pragma once

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rows_kit.h"
#include "content_hash.h"
#include "core/civil.h"
#include "rdb.h"
#include "support/kdbread.h"
#include "writedown.h"

#define WK_SYMBOLS 300u
#define WK_FIRST   4096u

struct wk_row {
    const struct schema *s;
    uint32_t sym;
    int64_t time;
    uint64_t arrival;
    char **cell; /* by column of its schema */
};

struct wk {
    char dir[64], root[80], logs[80];
    struct io *io;
    struct hdb *hdb;
    struct hdb_sym sym;
    struct rdb *rdb;
    struct schema_set *set;
    struct lk log;
    struct dictionary dict;
    struct content_hash hash;
    struct pk pk;
    uint64_t seed, arrival;
    char text[WK_SYMBOLS][16];
    struct wk_row *row;
    uint32_t rows, room;
    uint8_t quality;
    struct packet_record packet; /* the open run's */
    bool in_run;
    struct writedown *w;
    struct writedown_config cfg;
};

static inline uint64_t wk_next(struct wk *k)
{
    k->seed ^= k->seed << 13;
    k->seed ^= k->seed >> 7;
    return k->seed ^= k->seed << 17;
}

static int wk_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void wk_take(struct wk *k, size_t at) /* a frame of the log */
{
    const struct frame *f = (const struct frame *)(k->log.data + at);
    dictionary_feed(&k->dict, f);
    assert_true(content_hash_frame(&k->hash, &k->dict, f));
    rdb_append(k->rdb, k->set, f);
}

static inline const char *wk_symbol(struct wk *k, uint32_t id)
{
    return id == PST_NULL_SYMBOL ? "" : k->text[id];
}

static inline const char *wk_from_kit(const void *kit, uint32_t id, uint32_t *len)
{
    const struct wk *k = kit;
    *len = (uint32_t)strlen(k->text[id]);
    return k->text[id];
}

static inline void wk_open_writedown(struct wk *k)
{
    struct err err;
    writedown_destroy(k->w);
    k->cfg.io = k->io;
    k->cfg.hdb = k->hdb;
    k->w = writedown_create(&k->cfg, &err);
    assert_non_null(k->w);
}

static inline void wk_open_hdb(struct wk *k)
{
    struct err err;
    k->hdb = hdb_open(k->root, &err);
    if (!k->hdb)
        fail_msg("%s", err.text);
    if (!hdb_sym_open(&k->sym, k->io, k->root, &err))
        fail_msg("%s", err.text);
}

static inline void wk_open(struct wk *k)
{
    struct err err;
    memset(k, 0, sizeof *k);
    k->seed = 88172645463325252ull;
    k->quality = CLOCK_TSC;
    const char *tmp = getenv("PST_TEST_DIR");
    snprintf(k->dir, sizeof k->dir, "%.40s/wk.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(k->dir));
    snprintf(k->root, sizeof k->root, "%s/hdb", k->dir);
    snprintf(k->logs, sizeof k->logs, "%s/log", k->dir);
    assert_true(!mkdir(k->root, 0755) && !mkdir(k->logs, 0755));
    k->io = io_posix_create(&err);
    wk_open_hdb(k);
    struct rdb_config rc = {.bytes = 96ull << 20,
                            .extent_bytes = 4ull << 20,
                            .symbols_max = WK_SYMBOLS,
                            .instance = LK_INSTANCE};
    k->rdb = rdb_create(&rc, &err);
    if (!k->rdb)
        fail_msg("%s", err.text);
    k->set = schema_set_new();
    assert_true(dictionary_init(&k->dict, &err) && content_hash_init(&k->hash, &err));
    lk_start(&k->log, WK_FIRST, LK_DAY, 0);
    const char *texts[WK_SYMBOLS];
    for (uint32_t i = 0; i < WK_SYMBOLS; i++) { /* neither in order nor of one length */
        snprintf(k->text[i], sizeof k->text[i], i % 3 ? "%c%u" : "%c%u.long", 'A' + (i * 7) % 26,
                 i);
        texts[i] = k->text[i];
    }
    strcpy(k->text[5], "\xC3\xA4"); /* bytes, not signed chars, give the order */
    wk_take(k, lk_symbol(&k->log, 0, texts, WK_SYMBOLS));
    wk_open_writedown(k);
}

static inline void wk_close(struct wk *k)
{
    writedown_destroy(k->w);
    rdb_close(k->rdb);
    hdb_sym_close(&k->sym);
    hdb_close(k->hdb);
    dictionary_free(&k->dict);
    content_hash_free(&k->hash);
    lk_free(&k->log);
    for (uint32_t i = 0; i < k->rows; i++) {
        for (unsigned c = 0; c < k->row[i].s->ncols; c++)
            free(k->row[i].cell[c]);
        free(k->row[i].cell);
    }
    free(k->row);
    schema_set_free(k->set); /* the rows point into it */
    io_destroy(k->io);
    nftw(k->dir, wk_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const struct schema *wk_schema_keys(struct wk *k, uint16_t id, const char *name,
                                                  bool feed, const struct column_def *cols,
                                                  unsigned n, uint16_t key)
{
    struct schema s;
    struct err err;
    if (!schema_make(&s, id, name, feed, cols, n, &err))
        fail_msg("%s", err.text);
    if (key) {
        s.nkeys = 1;
        s.keys[0] = key;
    }
    if (!schema_set_add(k->set, &s, &err))
        fail_msg("%s", err.text);
    wk_take(k, lk_schema(&k->log, &s));
    return schema_set_get(k->set, id);
}
static inline const struct schema *wk_schema(struct wk *k, uint16_t id, const char *name, bool feed,
                                             const struct column_def *cols, unsigned n)
{
    return wk_schema_keys(k, id, name, feed, cols, n, 0);
}

/* ---- rows ---- */

static inline char *wk_printf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    assert_true(vasprintf(&out, fmt, ap) >= 0);
    va_end(ap);
    return out;
}

static inline char *wk_integer(int64_t v, bool null)
{
    return null ? wk_printf("0N") : wk_printf("%lld", (long long)v);
}

/* A random value of column c at `at`, in the record; its text. tail: where strings may go. */
static inline char *wk_value(struct wk *k, uint8_t type, uint8_t *at, uint8_t *row, uint32_t tail)
{
    uint64_t x = wk_next(k);
    bool null = x % 5 == 0, odd = x % 11 == 0;
    x >>= 16;
    double d = (double)(int64_t)(x % 2000001) / 128 - 1000;
    static const uint64_t nans[] = {0x7FF8000000000000ull, 0xFFF8000000000000ull,
                                    0x7FF0000000000001ull};
    char hex[33];
    switch (type) {
    case PST_BOOLEAN:
        *at = x & 1;
        return wk_integer(*at, false);
    case PST_BYTE:
        *at = (uint8_t)x;
        return wk_integer(*at, false);
    case PST_CHAR:
        *at = null ? ' ' : (uint8_t)('a' + x % 26);
        return wk_printf("%c", *at);
    case PST_SHORT:
        put16(at, null ? 0x8000 : odd ? 0x7FFF : (uint16_t)x);
        return wk_integer((int16_t)le16(at), le16(at) == 0x8000);
    case PST_GUID:
        for (int i = 0; i < 16; i++) {
            at[i] = null ? 0 : (uint8_t)(x >> i);
            sprintf(hex + 2 * i, "%02x", at[i]);
        }
        return wk_printf("%s", hex);
    case PST_REAL: {
        float f = odd ? INFINITY : (float)d;
        memcpy(at, &f, 4);
        if (null)
            put32(at, x % 2 ? 0x7FC00000u : 0xFFC00001u);
        return null ? wk_printf("0N") : wk_printf("%.17g", (double)f);
    }
    case PST_FLOAT:
        d = odd ? -INFINITY : d;
        memcpy(at, &d, 8);
        if (null)
            put64(at, nans[x % 3]);
        return null ? wk_printf("0N") : wk_printf("%.17g", d);
    case PST_SYMBOL: {
        uint32_t id = null ? PST_NULL_SYMBOL : (uint32_t)(x % WK_SYMBOLS);
        put32(at, id);
        return wk_printf("%s", wk_symbol(k, id));
    }
    case PST_STRING: {
        uint32_t len = null ? 0 : (uint32_t)(x % 40);
        for (uint32_t i = 0; i < len; i++)
            row[tail + i] = (uint8_t)('!' + (x + i * 7) % 90);
        put32(at, tail);
        put32(at + 4, len);
        return wk_printf("%.*s", (int)len, row + tail);
    }
    default:
        if (type_width(type) == 8) {
            put64(at, null ? 1ull << 63 : odd ? INT64_MAX : x);
            return wk_integer((int64_t)le64(at), le64(at) == 1ull << 63);
        }
        put32(at, null ? 1u << 31 : odd ? INT32_MAX : (uint32_t)x);
        return wk_integer((int32_t)le32(at), le32(at) == 1u << 31);
    }
}

static inline struct wk_row *wk_new_row(struct wk *k)
{
    if (k->rows == k->room) {
        k->room = k->room ? 2 * k->room : 1024;
        k->row = realloc(k->row, k->room * sizeof *k->row);
        assert_non_null(k->row);
    }
    return &k->row[k->rows++];
}

static inline void wk_run(struct wk *k, uint64_t seq, uint32_t flags, int64_t rxtime)
{
    struct packet_record *p =
        pk_run(&k->pk, 1, 2, wk_next(k) % 2 ? 3 : PST_NULL_SYMBOL, seq, flags);
    p->quality = k->quality;
    p->rxtime = rxtime;
    k->packet = *p;
    k->in_run = true;
}

/* One row into the payload and into the texts. */
static inline void wk_row(struct wk *k, const struct schema *s, uint32_t sym, int64_t time)
{
    uint8_t *row = pk_row(&k->pk, s->id, sym, time, (uint16_t)(s->fixed + 40 * s->nstrings));
    struct wk_row *r = wk_new_row(k);
    uint32_t tail = s->fixed, nth = 0;
    if (k->in_run)
        nth = ((struct packet_record *)(k->pk.data + k->pk.run - 1))->rows - 1;
    *r = (struct wk_row){s, sym, time, k->arrival++, calloc(s->ncols, sizeof(char *))};
    for (unsigned c = 0; c < s->ncols; c++) {
        const struct column *col = &s->col[c];
        const struct packet_record *p = &k->packet;
        if (c == 0) {
            r->cell[c] = wk_integer(time, time == INT64_MIN);
        } else if (c == 1) {
            r->cell[c] = wk_printf("%s", wk_symbol(k, sym));
        } else if (!col->packet) {
            r->cell[c] = wk_value(k, col->type, row + col->offset, row, tail);
            tail += col->type == PST_STRING ? 40 : 0;
        } else if (!strcmp(col->name, "rxtime")) {
            r->cell[c] = wk_integer(p->rxtime, !k->in_run || p->rxtime == INT64_MIN);
        } else if (!strcmp(col->name, "seq")) {
            uint64_t seq = p->flags & RUN_PACKET_SEQ ? p->seq : p->seq + nth;
            r->cell[c] = wk_integer((int64_t)seq, !k->in_run || p->flags & RUN_UNSEQUENCED);
        } else if (!strcmp(col->name, "flags")) {
            r->cell[c] = wk_integer(p->flags & 0xFFFF, !k->in_run);
        } else {
            uint32_t id = col->name[0] == 'f' ? p->feed : *col->name == 's' ? p->session : p->line;
            r->cell[c] = wk_printf("%s", wk_symbol(k, k->in_run ? id : PST_NULL_SYMBOL));
        }
    }
}

/* What was put becomes a frame of the journal. */
static inline void wk_frame(struct wk *k, uint8_t kind, uint16_t day)
{
    uint16_t was = k->log.day;
    k->log.day = day;
    wk_take(k, lk_frame(&k->log, kind, 0, k->pk.count, k->pk.data, k->pk.len));
    k->log.day = was;
    pk_clear(&k->pk);
    k->in_run = false;
}

/* n random rows of s: skewed symbols; times ascend but for some, by symbol and at all. */
static inline void wk_rows(struct wk *k, const struct schema *s, uint32_t n, uint16_t day)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = wk_next(k);
        uint32_t sym = x % 13 == 0  ? PST_NULL_SYMBOL
                       : x % 3 == 0 ? (uint32_t)(x >> 20) % WK_SYMBOLS
                                    : (uint32_t)(x >> 20) % 4;
        int64_t time = (int64_t)(k->arrival / 3 * 1000); /* ties */
        if (x % 50 == 0)
            time -= 40000;
        if (x % 401 == 0)
            time = INT64_MIN;
        if (s->feed && (i == 0 || x % 7 == 0))
            wk_run(k, x % 100000, x % 5 ? x % 4 ? 0 : ROW_LATE | ROW_BAD_TIME : RUN_PACKET_SEQ,
                   x % 3 ? time : 77);
        wk_row(k, s, sym, time);
        if (k->pk.len > 60000 || i + 1 == n)
            wk_frame(k, FRAME_DATA, day);
    }
}

/* The log so far, as a file. */
static inline void wk_save_log(struct wk *k)
{
    char path[200], day[CIVIL_TEXT];
    snprintf(path, sizeof path, "%s/log%s", k->logs, civil_format(LK_DAY, day));
    FILE *f = fopen(path, "w");
    assert_true(f && fwrite(k->log.data, 1, k->log.len, f) == k->log.len && !fclose(f));
}

/* ---- jobs ---- */

static inline void wk_job(struct wk *k, struct writedown_job *j, struct writedown_table *tables,
                          const char *const *names, unsigned n, struct writedown_part *parts,
                          unsigned *nparts)
{
    static struct rdb_cut cut;
    for (unsigned i = 0; i < n; i++)
        tables[i] = (struct writedown_table){.schema = schema_set_find(k->set, names[i])};
    *j = (struct writedown_job){.calendar = "us",
                                .day = LK_DAY,
                                .instance = LK_INSTANCE,
                                .first = WK_FIRST,
                                .end = k->log.position,
                                .kind = "eod",
                                .epoch = 1,
                                .tables = tables,
                                .ntables = n,
                                .sym = &k->sym,
                                .text = wk_from_kit,
                                .text_arg = k};
    rdb_publish(k->rdb);
    j->map = rdb_map_of(k->rdb);
    assert_true(rdb_cut_read(j->map, &cut));
    *nparts = 0;
    for (uint32_t s = 0; s < cut.nparts; s++) {
        struct rdb_part_name name;
        if (cut.part[s].generation && rdb_part_name(j->map, s, cut.part[s].generation, &name) &&
            name.day == LK_DAY)
            parts[(*nparts)++] = (struct writedown_part){s, cut.part[s].rows, name.table};
    }
    j->parts = parts;
    j->nparts = *nparts;
}

/* Runs to the end. NULL: it failed, *err says why. */
static inline const struct writedown_result *wk_go(struct wk *k, const struct writedown_job *j,
                                                   struct err *err)
{
    if (!writedown_start(k->w, j, err))
        return NULL;
    enum writedown_verdict v;
    while ((v = writedown_step(k->w)) == WRITEDOWN_MORE)
        ;
    if (v == WRITEDOWN_FAILED) {
        *err = *writedown_error(k->w);
        return NULL;
    }
    if (v == WRITEDOWN_STAGED && !writedown_publish(k->w, err))
        return NULL;
    assert_true(hdb_refresh(k->hdb, err));
    return writedown_result(k->w);
}

static inline const struct writedown_result *wk_run_job(struct wk *k, const struct writedown_job *j)
{
    struct err err = {0};
    const struct writedown_result *r = wk_go(k, j, &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static inline const struct writedown_table_result *wk_result(const struct writedown_result *r,
                                                             const char *name)
{
    for (unsigned i = 0; i < r->ntables; i++)
        if (!strcmp(r->table[i].name, name))
            return &r->table[i];
    fail_msg("no table %s in the result", name);
    return NULL;
}

/* ---- comparing ---- */

static struct wk *wk_sorting;

static int wk_order(const void *a, const void *b)
{
    const struct wk_row *x = *(const struct wk_row *const *)a,
                        *y = *(const struct wk_row *const *)b;
    int c = strcmp(wk_symbol(wk_sorting, x->sym), wk_symbol(wk_sorting, y->sym));
    if (!c)
        c = x->time < y->time ? -1 : x->time > y->time;
    return c ? c : x->arrival < y->arrival ? -1 : 1;
}

static inline const char *wk_null(uint8_t type)
{
    switch (type) {
    case PST_BOOLEAN:
    case PST_BYTE:
        return "0";
    case PST_CHAR:
        return " ";
    case PST_SYMBOL:
    case PST_STRING:
        return "";
    case PST_GUID:
        return "00000000000000000000000000000000";
    default:
        return "0N";
    }
}

static inline void wk_table_dir(const struct wk *k, const char *table, char out[200])
{
    char day[CIVIL_TEXT];
    snprintf(out, 200, "%s/%s/%s", k->root, civil_format(LK_DAY, day), table);
}

/* The partition of `table` holds exactly the rows of that table from..to-1 of the kit (keyed by
 * column `key` of the target, -1 = none: the last of each), in order. Returns how many. */
static inline uint32_t wk_check(struct wk *k, const char *table, uint32_t from, uint32_t to,
                                int key)
{
    char dir[200], why[300], cell[400];
    struct kdbread_table t;
    wk_table_dir(k, table, dir);
    if (!kdbread_table(k->root, dir, &t, why))
        fail_msg("%s: %s", dir, why);
    const struct wk_row **r = calloc(to - from + 1, sizeof *r);
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++)
        if (!strcmp(k->row[i].s->name, table))
            r[n++] = &k->row[i];
    if (key >= 0) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool later = false;
            for (uint32_t j = i + 1; j < n && !later; j++)
                later = !strcmp(r[i]->cell[key], r[j]->cell[key]);
            if (!later)
                r[kept++] = r[i];
        }
        n = kept;
    }
    wk_sorting = k;
    qsort(r, n, sizeof *r, wk_order);
    if (t.rows != n)
        fail_msg("%s: %zu rows, not %u", table, t.rows, n);
    for (uint32_t i = 0; i < n; i++)
        for (size_t c = 0; c < t.ncols; c++) {
            const char *want = NULL;
            for (unsigned j = 0; j < r[i]->s->ncols && !want; j++)
                if (!strcmp(r[i]->s->col[j].name, t.col[c].name))
                    want = r[i]->cell[j];
            if (!want)
                want = wk_null((uint8_t)t.col[c].kind);
            kdbread_cell(&t, c, i, cell, sizeof cell);
            if (strcmp(cell, want) != 0)
                fail_msg("%s row %u column %s: '%s', not '%s'", table, i, t.col[c].name, cell,
                         want);
        }
    free(r);
    kdbread_table_free(&t);
    return n;
}

/* Bytes of all files of a table's directory but the marker, in one hash. */
static inline struct hash128 wk_bytes_of(const char *dir)
{
    char path[500], names[100][100];
    unsigned n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, ".pstmeta") != 0)
            snprintf(names[n++], sizeof names[0], "%.99s", e->d_name);
    closedir(d);
    struct hash128 sum = {n, 0};
    for (unsigned i = 0; i < n; i++) {
        struct hash128 h;
        struct stat st;
        snprintf(path, sizeof path, "%s/%.99s", dir, names[i]);
        FILE *f = fopen(path, "r");
        assert_true(f && !fstat(fileno(f), &st));
        size_t head = strlen(names[i]) + 1, len = (size_t)st.st_size;
        char *b = malloc(head + len + 1);
        memcpy(b, names[i], head);
        assert_true(fread(b + head, 1, len, f) == len);
        fclose(f);
        hash128_of(b, head + len, &h);
        sum.lo += h.lo;
        sum.hi += h.hi;
        free(b);
    }
    return sum;
}

static inline struct hash128 wk_bytes(const struct wk *k, const char *table)
{
    char dir[200];
    wk_table_dir(k, table, dir);
    return wk_bytes_of(dir);
}

static inline bool wk_same(struct hash128 a, struct hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}
