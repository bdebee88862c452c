/* SPDX-License-Identifier: Apache-2.0 */
/* What a named query gave, as a table for the executor: SELECT … FROM name(args). */
#include "plugin_parts.h"

#include "result.h"
#include "view.h"
#include "view_build.h"

struct source {
    struct result *result;
    struct view_syms syms;
    struct view_text *texts;
    uint64_t *packed[PST_COLUMNS_MAX];
    const void *data[PST_COLUMNS_MAX]; /* the view keeps it */
    char *chars;                       /* of all string columns, one behind the other */
};

static void source_free(struct source *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < PST_COUNT(s->packed); i++)
        free(s->packed[i]);
    free(s->chars);
    free(s->texts);
    free(s->syms.extra_hash);
    result_free(s->result);
    free(s);
}

/* String columns as the executor reads them: offset << 16 | length over one run of chars. */
static bool pack(struct source *s, uint64_t *bytes)
{
    const struct result *r = s->result;
    *bytes = 0;
    for (uint32_t c = 0; c < r->ncols; c++)
        if (r->col[c].type == PST_STRING)
            *bytes += r->rows ? r->col[c].at[r->rows] : 0;
    s->chars = malloc(*bytes + 1);
    if (!s->chars)
        return false;
    uint64_t from = 0;
    for (uint32_t c = 0; c < r->ncols; c++) {
        const struct result_column *x = &r->col[c];
        if (x->type != PST_STRING)
            continue;
        s->packed[c] = malloc((r->rows + 1) * sizeof(uint64_t));
        if (!s->packed[c])
            return false;
        for (uint64_t i = 0; i < r->rows; i++)
            s->packed[c][i] = (from + x->at[i]) << 16 | (x->at[i + 1] - x->at[i]);
        if (r->rows && x->at[r->rows])
            memcpy(s->chars + from, x->chars, x->at[r->rows]);
        from += r->rows ? x->at[r->rows] : 0;
    }
    return true;
}

static bool texts(struct source *s)
{
    const struct result_syms *d = &s->result->syms;
    s->texts = calloc(d->count + 1, sizeof *s->texts);
    if (!s->texts)
        return false;
    for (uint32_t i = 0; i < d->count; i++)
        s->texts[i] = (struct view_text){d->chars + d->at[i], (uint32_t)(d->at[i + 1] - d->at[i])};
    s->syms.extra = s->texts;
    s->syms.extra_count = d->count;
    return view_syms_index(&s->syms);
}

void *plugin_source(const struct named *n, struct result *r, int32_t date, struct query_error *e)
{
    struct source *s = calloc(1, sizeof *s);
    struct err err = {.text = "no memory"};
    struct view *v = NULL;
    uint64_t bytes;
    if (!s)
        result_free(r);
    else
        s->result = r;
    if (s && pack(s, &bytes) && texts(s)) {
        struct column_def cols[PST_COLUMNS_MAX];
        for (uint32_t i = 0; i < n->ncolumns; i++) {
            cols[i] = (struct column_def){n->column[i].name, (uint8_t)n->column[i].type};
            s->data[i] = s->packed[i] ? (const void *)s->packed[i] : r->col[i].data;
        }
        struct view_memory_part part = {.date = date,
                                        .rows = r->rows,
                                        .data = s->data,
                                        .chars = s->chars,
                                        .chars_bytes = bytes};
        v = view_from_memory(n->name, cols, n->ncolumns, &s->syms, &part, 1, &err);
    }
    if (!v) {
        source_free(s);
        query_error_set(e, QUERY_LIMIT, -1, "%s: %s", n->name, err.text);
        return NULL;
    }
    v->owner = s;
    return v;
}

void plugin_source_free(void *source)
{
    struct view *v = source;
    struct source *s = v->owner;
    v->owner = NULL;
    view_free(v);
    source_free(s);
}
