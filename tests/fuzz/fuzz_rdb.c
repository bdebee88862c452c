/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the records of a frame: the RDB takes exactly the rows that the readers' walk finds
 * sound, in order, with their values, and lists them; nothing else, and never outside the frame.
 */
#include "core/tables.h"
#include "rdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SYMBOLS 1000u
#define DAY     9823

static struct schema_set *set;
static struct rdb *r;
static uint64_t position = 4096;

static void add(const char *name, bool feed, bool keyed, const struct column_def *cols, unsigned n)
{
    struct schema s;
    bool fresh;
    pst_must(schema_make(&s, 0, name, feed, cols, n, NULL));
    if (keyed)
        s.nkeys = 2, s.keys[0] = 4, s.keys[1] = 2;
    pst_must(schema_set_intern(set, &s, &fresh, NULL));
}

static void make(void)
{
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"a", PST_FLOAT}, {"b", PST_GUID},
        {"c", PST_STRING},       {"d", PST_CHAR},     {"e", PST_SHORT}, {"f", PST_STRING}};
    struct err err;
    pst_must(set = schema_set_new());
    add("plain", false, false, cols, PST_COUNT(cols));       /* 2 */
    add("feed", true, false, cols + 2, PST_COUNT(cols) - 2); /* 3 */
    add("keyed", false, true, cols, 6);                      /* 4 */
    add("narrow", false, false, cols, 3);                    /* 5 */
    struct rdb_config c = {.bytes = 8 << 20, .extent_bytes = 2 << 20, .symbols_max = SYMBOLS};
    pst_must(r = rdb_create(&c, &err));
}

static bool sound(const struct record *x)
{
    const struct schema *s = schema_set_get(set, x->table);
    if (!s || x->bytes < s->fixed || (x->sym >= SYMBOLS && x->sym != PST_NULL_SYMBOL))
        return false;
    for (unsigned i = 0; i < s->ncols; i++) {
        uint32_t len;
        if (s->col[i].type == PST_STRING && !record_string(x, s->col[i].offset, &len))
            return false;
    }
    return true;
}

static uint32_t rows_of(unsigned table, struct rdb_part_view *v)
{
    static struct rdb_cut cut;
    struct rdb_part_name name;
    pst_must(rdb_cut_read(rdb_map_of(r), &cut));
    for (uint32_t i = 0; i < cut.nparts; i++)
        if (rdb_part_name(rdb_map_of(r), i, cut.part[i].generation, &name) && name.table == table) {
            pst_must(rdb_part_open(rdb_map_of(r), i, table, DAY, cut.part[i].rows, v, NULL));
            return v->rows;
        }
    return 0;
}

static void check(const struct frame *f, const uint32_t *before)
{
    struct record_walk w;
    const struct record *x;
    uint32_t at[6];
    memcpy(at, before, sizeof at);
    record_walk_start(&w, f);
    struct rdb_part_view v[6];
    uint32_t rows[6] = {0};
    for (unsigned t = 2; t < 6; t++)
        rows[t] = rows_of(t, &v[t]);
    while ((x = record_walk_next(&w))) {
        if (!sound(x))
            continue;
        const struct schema *s = schema_set_get(set, x->table);
        uint32_t row = at[x->table]++, last;
        const struct rdb_part_view *p = &v[x->table];
        pst_must(row < rows[x->table]);
        pst_must(!memcmp(rdb_value(p, row, 0), &x->time, 8));
        pst_must(!memcmp(rdb_value(p, row, 1), &x->sym, 4));
        for (unsigned c = 2; c < s->ncols; c++) {
            const uint8_t *got = rdb_value(p, row, c);
            uint32_t len = p->width[c], n;
            if (s->col[c].packet) {
                if (c == 5)
                    pst_must((int64_t)le64(got) == record_walk_seq(&w));
                continue;
            }
            const uint8_t *want = (const uint8_t *)x + s->col[c].offset;
            if (s->col[c].type == PST_STRING) {
                want = (const uint8_t *)record_string(x, s->col[c].offset, &len);
                got = (const uint8_t *)rdb_string(p->map, le64(got), &n);
                pst_must(got && n == len);
            }
            pst_must(!memcmp(got, want, len));
        }
        pst_must(rdb_list_last(p, x->sym, &last) && last >= row);
    }
    for (unsigned t = 2; t < 6; t++)
        pst_must(at[t] == rows[t]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!r)
        make();
    size &= ~(size_t)7;
    if (size > FRAME_MAX - FRAME_HEADER)
        return 0;
    struct frame *f = malloc(FRAME_HEADER + size); /* so that a sanitizer sees its end */
    pst_must(f);
    *f = (struct frame){.length = (uint32_t)(FRAME_HEADER + size),
                        .position = position,
                        .kind = FRAME_DATA,
                        .day = DAY};
    if (size)
        memcpy((uint8_t *)f + FRAME_HEADER, data, size);
    position += f->length;
    struct rdb_part_view v;
    uint32_t before[6] = {0};
    for (unsigned t = 2; t < 6; t++)
        before[t] = rows_of(t, &v);
    rdb_append(r, set, f);
    rdb_publish(r);
    static struct rdb_day_info d[RDB_DAYS];
    unsigned days = rdb_days(r, d);
    if (!days || !d[0].refused)
        check(f, before);
    free(f);
    if (days && (d[0].refused || d[0].bytes > 5u << 20)) { /* full: a new one */
        uint64_t mark[8];
        pst_must(frame_build_mark(mark, MARK_EOD, "{}", 2));
        struct frame *m = (struct frame *)mark;
        m->position = position;
        m->day = DAY;
        position += m->length;
        rdb_append(r, set, m);
        rdb_days(r, d);
        pst_must(rdb_release_day(r, d[0].slot, d[0].generation));
        pst_must(rdb_idle(r) && rdb_days(r, d) == 0);
    }
    return 0;
}
