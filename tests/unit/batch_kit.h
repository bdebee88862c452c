/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_kit.h - for tests of index, merge and publishing: rows of the writedown's kit (which go
 * into an RDB and are kept as texts) as the column files of read tasks (load/save.h), so that a
 * batch can be compared with an end of day of the same rows and with the texts.
 */
#pragma once

#include <jansson.h>
#include "writedown_kit.h"
#include "load/index.h"
#include "load/merge.h"
#include "load/publish.h"
#include "load/symbols.h"

#define KIT_INSTANCE 0x1122334455667788ull
#define KIT_FILES    64u

struct kit {
    struct wk k;
    char root[100], tmp[100]; /* the database that is loaded into; temporaries */
    struct hdb *hdb;
    struct hdb_sym sym;
    unsigned tasks, batches;
    char dir[KIT_FILES][140]; /* of read tasks */
    unsigned files;
    uint64_t memory;
    int threads;
    const char *existing;
    bool supersede;
    int32_t day; /* of args and moves */
};

static inline void kit_open(struct kit *t)
{
    struct err err = {0};
    memset(t, 0, sizeof *t);
    wk_open(&t->k);
    t->day = LK_DAY;
    snprintf(t->root, sizeof t->root, "%s/loaded", t->k.dir);
    snprintf(t->tmp, sizeof t->tmp, "%s/tmp", t->k.dir);
    assert_true(!mkdir(t->root, 0755) && !mkdir(t->tmp, 0755));
    t->hdb = hdb_open(t->root, &err);
    assert_non_null(t->hdb);
    assert_true(hdb_sym_open(&t->sym, t->k.io, t->root, &err));
    assert_true(hdb_sym_extend(&t->sym, wk_from_kit, &t->k, WK_SYMBOLS, &err));
}
static inline void kit_close(struct kit *t)
{
    hdb_sym_close(&t->sym);
    hdb_close(t->hdb);
    wk_close(&t->k);
}

/* ---- the files of a read task ---- */

static inline void kit_put(FILE *f, uint8_t type, const char *cell)
{
    uint8_t v[16] = {0};
    bool null = !strcmp(cell, "0N");
    double d = null ? (double)NAN : strtod(cell, NULL);
    float r = (float)d;
    int64_t n = strtoll(cell, NULL, 10);
    unsigned w = type_width(type);
    if (type == PST_FLOAT) {
        memcpy(v, &d, 8);
    } else if (type == PST_REAL) {
        memcpy(v, &r, 4);
    } else if (type == PST_CHAR) {
        v[0] = (uint8_t)*cell;
    } else if (type == PST_GUID) {
        for (int i = 0; i < 16; i++) {
            unsigned x;
            sscanf(cell + 2 * i, "%2x", &x);
            v[i] = (uint8_t)x;
        }
    } else if (null) {
        type_put_null(v, type);
    } else {
        memcpy(v, &n, 8);
    }
    assert_int_equal(fwrite(v, 1, w, f), w);
}

struct kit_dict { /* texts of one file, in the order of first use */
    const char *text[WK_SYMBOLS];
    unsigned n;
};
static inline uint32_t kit_code(struct kit_dict *d, const char *text)
{
    if (!*text)
        return 0;
    for (unsigned i = 0; i < d->n; i++)
        if (!strcmp(d->text[i], text))
            return i + 1;
    d->text[d->n++] = text;
    return d->n;
}
static inline const char *kit_text(void *arg, uint64_t id, uint32_t *len)
{
    const struct kit_dict *d = arg;
    const char *t = id ? d->text[id - 1] : "";
    *len = (uint32_t)strlen(t);
    return t;
}

/* One column of the rows: its file, and its part of their hashes. */
static inline void kit_column(struct kit *t, const char *dir, const struct wk_row **r, uint32_t n,
                              const struct schema *s, unsigned col, struct kit_dict *dict)
{
    char path[400];
    (void)t;
    snprintf(path, sizeof path, "%s/%s", dir, s->col[col].name);
    FILE *f = fopen(path, "w"), *more = NULL;
    if (s->col[col].type == PST_STRING) {
        strcat(path, "#");
        more = fopen(path, "w");
    }
    int64_t end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *cell = r[i]->cell[col];
        if (s->col[col].type == PST_SYMBOL) {
            uint32_t code = kit_code(dict, cell);
            fwrite(&code, 4, 1, f);
        } else if (more) {
            end += (int64_t)strlen(cell);
            fwrite(&end, 8, 1, f);
            fwrite(cell, 1, strlen(cell), more);
        } else {
            kit_put(f, s->col[col].type, cell);
        }
    }
    assert_false(fclose(f));
    if (more)
        assert_false(fclose(more));
}

static inline void *kit_slurp(const char *dir, const char *name, const char *more)
{
    char path[400];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s%s", dir, name, more);
    FILE *f = fopen(path, "r");
    assert_true(f && !fstat(fileno(f), &st));
    void *b = malloc((size_t)st.st_size + 1);
    assert_int_equal(fread(b, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    return b;
}

/* The sums that the read task makes while the rows are in the cache. */
static inline void kit_sums(const char *dir, const struct schema *s, uint32_t n,
                            struct kit_dict *dict, struct content_sum *out)
{
    struct content_columns c;
    struct content_symbols symbols;
    struct err err;
    content_columns_init(&c, s);
    assert_true(content_symbols_init(&symbols, dict->n + 1u, kit_text, dict, &err));
    memset(out, 0, sizeof *out);
    out->rows = out->captured = n;
    for (int captured = 0; captured < 2; captured++) {
        hash_acc *acc = calloc(n, sizeof *acc);
        int64_t *rx = c.rxtime < 0 ? NULL : kit_slurp(dir, s->col[c.rxtime].name, "");
        for (unsigned i = 0; i < s->ncols; i++) {
            void *v = kit_slurp(dir, s->col[i].name, "");
            if (s->col[i].type == PST_SYMBOL) {
                content_columns_ids(&c, i, acc, v, n, &symbols);
            } else if (s->col[i].type == PST_STRING) {
                char *text = kit_slurp(dir, s->col[i].name, "#");
                const int64_t *end = v;
                for (uint32_t k = 0; k < n; k++) {
                    int64_t from = k ? end[k - 1] : 0;
                    if (end[k] > from)
                        content_columns_string(&c, i, &acc[k], text + from,
                                               (uint32_t)(end[k] - from));
                }
                free(text);
            } else {
                content_columns_add(&c, i, acc, v, rx, n, captured);
            }
            free(v);
        }
        content_columns_end(&c, acc, NULL, n, captured ? &out->full : &out->sum);
        free(acc);
        free(rx);
    }
    content_symbols_free(&symbols);
}

/* Rows from … to - 1 of the kit, of the tables named: one delivered file that was read. */
static inline void kit_file(struct kit *t, uint32_t from, uint32_t to)
{
    char dir[200], day[CIVIL_TEXT], path[300], a[33], b[33];
    struct kit_dict dict = {0};
    json_t *written = json_array();
    snprintf(t->dir[t->files], sizeof t->dir[0], "%s/r%u", t->tmp, t->tasks++);
    snprintf(dir, sizeof dir, "%s/%s", t->dir[t->files], civil_format(LK_DAY, day));
    assert_true(!mkdir(t->dir[t->files], 0755) && !mkdir(dir, 0755));
    const struct wk_row **r = calloc(to - from + 1, sizeof *r);
    bool *done = calloc(to - from + 1, sizeof *done);
    for (uint32_t i = from; i < to; i++) {
        const struct schema *s = t->k.row[i].s;
        uint32_t n = 0;
        if (done[i - from])
            continue;
        for (uint32_t j = i; j < to; j++)
            if (!strcmp(t->k.row[j].s->name, s->name)) {
                assert_ptr_equal(t->k.row[j].s, s); /* one version a file */
                r[n++] = &t->k.row[j];
                done[j - from] = true;
            }
        snprintf(path, sizeof path, "%s/%s", dir, s->name);
        assert_false(mkdir(path, 0755));
        json_t *columns = json_array();
        for (unsigned c = 0; c < s->ncols; c++) {
            kit_column(t, path, r, n, s, c, &dict);
            json_array_append_new(columns,
                                  json_pack("[s,s]", s->col[c].name, type_name(s->col[c].type)));
        }
        struct content_sum sum;
        kit_sums(path, s, n, &dict, &sum);
        json_array_append_new(written,
                              json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:o}", "date", day, "table",
                                        s->name, "rows", (json_int_t)n, "captured", (json_int_t)n,
                                        "sum", hash128_text(sum.sum, a), "full",
                                        hash128_text(sum.full, b), "columns", columns));
    }
    free(r);
    free(done);
    snprintf(path, sizeof path, "%s/symbols", t->dir[t->files]);
    FILE *f = fopen(path, "w");
    for (unsigned i = 0; i < dict.n; i++)
        fwrite(dict.text[i], 1, strlen(dict.text[i]) + 1, f);
    assert_false(fclose(f));
    json_t *o = json_pack("{s:i,s:o}", "format", 1, "written", written);
    snprintf(path, sizeof path, "%s/result.json", t->dir[t->files]);
    assert_false(json_dump_file(o, path, 0));
    json_decref(o);
    t->files++;
}

/* ---- a batch ---- */

static inline json_t *kit_args(struct kit *t, const struct schema *s, const char *batch,
                               uint64_t commit)
{
    char day[CIVIL_TEXT], hex[20], index[300];
    json_t *files = json_array();
    for (unsigned i = 0; i < t->files; i++)
        json_array_append_new(files, json_string(t->dir[i]));
    char *text = schema_to_json(s);
    json_t *schema = json_loads(text, 0, NULL);
    free(text);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)KIT_INSTANCE);
    snprintf(index, sizeof index, "%s/i.%s.%s.%d", t->tmp, batch, s->name, (int)t->day);
    return json_pack("{s:s,s:s,s:o,s:s,s:s,s:s,s:I,s:o,s:s,s:s,s:b,s:I,s:i}", "database", t->root,
                     "date", civil_format(t->day, day), "table", schema, "calendar", "us",
                     "instance", hex, "batch", batch, "commit", (json_int_t)commit, "files", files,
                     "index", index, "existing", t->existing ? t->existing : "refuse", "supersede",
                     t->supersede, "memory", (json_int_t)t->memory, "threads", t->threads);
}

/* Index and all merges of one table; the index's result, NULL: err. */
static inline json_t *kit_merge(struct kit *t, const struct schema *s, const char *batch,
                                uint64_t commit, struct err *err)
{
    json_t *args = kit_args(t, s, batch, commit), *result, *merged, *c;
    size_t i;
    bool ok = load_index_run(args, NULL, &result, err);
    if (ok) {
        json_array_foreach(json_object_get(result, "columns"), i, c)
        {
            json_t *m = json_pack("{s:O,s:[O],s:I}", "index", json_object_get(args, "index"),
                                  "columns", json_array_get(c, 0), "memory", (json_int_t)t->memory);
            ok = ok && load_merge_run(m, NULL, &merged, err);
            if (ok) {
                assert_int_equal(json_integer_value(json_object_get(merged, "rows")),
                                 json_integer_value(json_object_get(result, "rows")));
                json_decref(merged);
            }
            json_decref(m);
        }
        if (!ok)
            json_decref(result);
    }
    json_decref(args);
    return ok ? result : NULL;
}

static inline void kit_move_table(const struct kit *t, struct load_move_table *m,
                                  const struct schema *s, const json_t *result)
{
    memset(m, 0, sizeof *m);
    m->date = t->day;
    strcpy(m->table, s->name);
    snprintf(m->base, sizeof m->base, "%s", json_string_value(json_object_get(result, "base")));
}

/* All tables of the batch: indexed, merged, published. Its files are gone from the kit then. */
static inline void kit_load(struct kit *t, const struct schema *const *tables, unsigned n)
{
    struct load_move_table m[8];
    struct load_moved moved = {0};
    struct err err = {0};
    char batch[40];
    bool published;
    snprintf(batch, sizeof batch, "kit-%u", ++t->batches);
    for (unsigned i = 0; i < n; i++) {
        json_t *r = kit_merge(t, tables[i], batch, t->batches, &err);
        if (!r)
            fail_msg("%s", err.text);
        kit_move_table(t, &m[i], tables[i], r);
        json_decref(r);
    }
    const struct load_move move = {
        .instance = KIT_INSTANCE, .commit = t->batches, .table = m, .n = n};
    struct load_move named = move;
    strcpy(named.batch, batch);
    int lock = hdb_lock(t->k.io, t->root, "kit", &err);
    assert_true(lock >= 0 && hdb_refresh(t->hdb, &err));
    load_publish(t->k.io, t->hdb, &named, t->batches, "us", tables, n, NULL, &published, &moved);
    if (moved.verdict != LOAD_DONE)
        fail_msg("%s", moved.err.text);
    assert_true(load_publish_tidy(t->k.io, t->hdb, batch, &err));
    hdb_unlock(t->k.io, lock);
    assert_true(hdb_refresh(t->hdb, &err));
    t->files = 0;
}

/* The table as the end of day wrote it and as it was loaded: bytes and content hash. */
static inline struct hdb_meta *kit_meta(struct kit *t, const char *root, const char *table)
{
    static struct hdb_meta m[2];
    static unsigned which;
    char dir[300], day[CIVIL_TEXT];
    struct err err;
    (void)t;
    snprintf(dir, sizeof dir, "%s/%s/%s", root, civil_format(LK_DAY, day), table);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    which ^= 1;
    if (!hdb_meta_read(&m[which], fd, dir, &err))
        fail_msg("%s", err.text);
    close(fd);
    return &m[which];
}

static inline struct hash128 kit_bytes(struct kit *t, const char *table)
{
    char was[sizeof t->k.root];
    memcpy(was, t->k.root, sizeof was);
    snprintf(t->k.root, sizeof t->k.root, "%.79s", t->root);
    struct hash128 h = wk_bytes(&t->k, table);
    memcpy(t->k.root, was, sizeof was);
    return h;
}
static inline uint32_t kit_check(struct kit *t, const char *table, uint32_t from, uint32_t to,
                                 int key)
{
    char was[sizeof t->k.root];
    memcpy(was, t->k.root, sizeof was);
    snprintf(t->k.root, sizeof t->k.root, "%.79s", t->root);
    uint32_t n = wk_check(&t->k, table, from, to, key);
    memcpy(t->k.root, was, sizeof was);
    return n;
}

/* An end of day of all rows of the kit into its other database. */
static inline void kit_eod(struct kit *t, const char *const *names, unsigned n)
{
    struct writedown_job j;
    struct writedown_table tables[8];
    struct writedown_part parts[64];
    unsigned nparts;
    wk_job(&t->k, &j, tables, names, n, parts, &nparts);
    wk_run_job(&t->k, &j);
}

static inline void kit_same(struct kit *t, const char *table, int key)
{
    kit_check(t, table, 0, t->k.rows, key);
    const struct hdb_meta *a = kit_meta(t, t->k.root, table), *b = kit_meta(t, t->root, table);
    assert_int_equal(a->rows, b->rows);
    assert_true(wk_same(a->hash, b->hash));
    assert_int_equal(a->captured, b->captured);
    assert_int_equal(a->time_min, b->time_min);
    assert_int_equal(a->time_max, b->time_max);
    if (!wk_same(wk_bytes(&t->k, table), kit_bytes(t, table)))
        fail_msg("%s: other bytes than an end of day writes", table);
}
