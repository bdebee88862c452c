/* SPDX-License-Identifier: Apache-2.0 */
/* Parts in the RDB's memory: chunks, row lists and keys through rdb_map.h. */
#include <errno.h>

#include "rdb_map.h"
#include "view_build.h"

struct rdb_source {
    struct rdb_part_view part;
    int16_t of[VIEW_COLUMNS_MAX]; /* view column -> column of the part, -1 none */
    const void **data;            /* chunks * view columns */
};

/* Keys as the view has them, in whatever order? */
static bool same_keys(const struct view *v, const struct rdb_source *s)
{
    const struct schema *own = &s->part.schema;
    if (own->nkeys != v->nkeys)
        return false;
    for (uint32_t i = 0; i < v->nkeys; i++) {
        bool is = false;
        for (unsigned k = 0; k < own->nkeys; k++)
            is |= s->of[v->key[i]] == (int16_t)own->keys[k];
        if (!is)
            return false;
    }
    return true;
}

static bool rdb_open_part(struct view *v, struct view_part *p, const uint16_t *cols, unsigned ncols,
                          struct err *err)
{
    struct rdb_source *s = p->source;
    for (unsigned i = 0; i < ncols; i++) {
        int k = s->of[cols[i]];
        if (k >= 0 && !view_converts(v->col[cols[i]].type, s->part.schema.col[k].type))
            return err_set(err, -ENOTSUP,
                           "%s.%s is of type %s now and was %s earlier that day; "
                           "such a column cannot be read as one",
                           v->name, v->col[cols[i]].name, type_name(v->col[cols[i]].type),
                           type_name(s->part.schema.col[k].type));
    }
    if (p->open)
        return true;
    uint32_t n = s->part.chunks;
    p->chunk = calloc(n + 1, sizeof *p->chunk);
    s->data = calloc((uint64_t)n * v->ncols + 1, sizeof *s->data);
    if (!p->chunk || !s->data || !view_part_columns(v, p))
        return err_set(err, -ENOMEM, "no memory for %u chunks of %s", n, v->name);
    for (uint32_t c = 1; c < v->ncols; c++) {
        if (s->of[c] < 0)
            continue;
        p->stored[c] = s->part.schema.col[s->of[c]].type;
        p->encoding[c] = p->stored[c] == PST_STRING ? VIEW_PACKED : VIEW_RAW;
        p->aux[c] = (const char *)s->part.map->base;
        p->aux_bytes[c] = s->part.map->bytes;
    }
    bool timed = v->time_col >= 0 && v->col[v->time_col].type == PST_TIMESTAMP &&
                 s->of[v->time_col] >= 0 && p->stored[v->time_col] == PST_TIMESTAMP;
    p->ascending = timed;
    for (uint32_t i = 0; i < n; i++) {
        struct rdb_chunk_view k;
        if (!rdb_chunk_open(&s->part, i, &k))
            return err_set(err, -EBADMSG, "rdb: chunk %u of %s is corrupt", i, v->name);
        struct view_chunk *c = &p->chunk[i];
        *c = (struct view_chunk){.first = k.first,
                                 .rows = k.rows,
                                 .time_min = timed ? k.time_min : INT64_MAX,
                                 .time_max = timed ? k.time_max : INT64_MIN,
                                 .ascending = timed && k.ascends,
                                 .data = s->data + (uint64_t)i * v->ncols};
        for (uint32_t x = 1; x < v->ncols; x++)
            if (s->of[x] >= 0)
                s->data[(uint64_t)i * v->ncols + x] = k.col[s->of[x]];
        if (!c->ascending || (i && c->time_min < p->chunk[i - 1].time_max))
            p->ascending = false;
        if (c->time_min < p->time_min)
            p->time_min = c->time_min;
        if (c->time_max > p->time_max)
            p->time_max = c->time_max;
    }
    p->nchunks = n;
    p->first_shift = (uint32_t)__builtin_ctz(RDB_CHUNK_FIRST);
    p->shift = (uint32_t)__builtin_ctz(RDB_CHUNK_ROWS);
    p->lists = v->sym_col >= 0 && s->of[v->sym_col] == 1;
    p->keyed = v->nkeys > 0;
    p->key_index = same_keys(v, s);
    return true;
}

static uint64_t rdb_rows_of(const struct view_part *p, uint32_t code, struct view_list *l)
{
    const struct rdb_source *s = p->source;
    struct rdb_list_view lv;
    if ((code != PST_NULL_SYMBOL && code >= s->part.syms) || !rdb_list_open(&s->part, code, &lv))
        return 0;
    const uint32_t *ids;
    uint32_t n;
    while ((n = rdb_list_next(&lv, &ids)))
        if (!view_list_add(l, ids, n))
            return 0;
    return l->rows;
}

static uint64_t rdb_count(const struct view_part *p, uint32_t code)
{
    const struct rdb_source *s = p->source;
    return code != PST_NULL_SYMBOL && code >= s->part.syms ? 0 : rdb_list_count(&s->part, code);
}

static void rdb_lasts(const struct view_part *p, const uint32_t *code, uint32_t n, uint32_t *row)
{
    const struct rdb_source *s = p->source;
    rdb_list_lasts(&s->part, code, n, row);
}

static int cmp_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool rdb_keyed(const struct view_part *p, uint32_t **rows, uint32_t *n)
{
    const struct rdb_source *s = p->source;
    uint32_t *r = malloc((s->part.keys + 1ull) * sizeof *r), k = 0;
    if (!r)
        return false;
    for (uint32_t i = 0; i < s->part.keys; i++)
        if (rdb_key_last(&s->part, i, &r[k]))
            k++;
    qsort(r, k, sizeof *r, cmp_u32);
    *rows = r;
    *n = k;
    return true;
}

static void rdb_release(struct view_part *p)
{
    struct rdb_source *s = p->source;
    free(s->data);
    free(s);
    view_part_free(p);
}

static const struct view_source rdb_source = {.open = rdb_open_part,
                                              .list = rdb_rows_of,
                                              .lasts = rdb_lasts,
                                              .count = rdb_count,
                                              .keyed = rdb_keyed,
                                              .release = rdb_release};

bool view_add_rdb(struct view *v, const struct rdb_part_view *part)
{
    struct rdb_source *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    s->part = *part;
    for (uint32_t i = 0; i < v->ncols; i++)
        s->of[i] = i ? (int16_t)schema_column(&part->schema, v->col[i].name) : -1;
    v->part[v->nparts++] = (struct view_part){.date = part->part->day,
                                              .tier = VIEW_RDB,
                                              .rows = part->rows,
                                              .time_min = INT64_MAX,
                                              .time_max = INT64_MIN,
                                              .ops = &rdb_source,
                                              .source = s};
    return true;
}
