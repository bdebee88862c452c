/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log stat: what each file holds. Reads all of it. */
#include "cli_log.h"
#include "print.h"
#include "core/civil.h"
#include "core/record.h"
#include "core/tables.h"
#include "storage/dictionary.h"

struct tally {
    uint64_t frames[8]; /* by kind */
    uint64_t rows[TABLE_MAX], bytes[TABLE_MAX];
    uint64_t marks[16], symbols, gaps, gap_messages, payload;
    int64_t since, until;
};

static void gap(struct tally *t, const struct dictionary *d, const struct record *r)
{
    const struct schema *s = dictionary_schema(d, r->table);
    if (!s || strcmp(s->name, "gap") || s->ncols <= GAP_LINES || r->bytes < s->fixed)
        return;
    const uint8_t *b = (const uint8_t *)r;
    t->gaps++;
    t->gap_messages += le64(b + s->col[GAP_LAST].offset) - le64(b + s->col[GAP_FIRST].offset) + 1;
}

static void count(struct tally *t, struct dictionary *d, const struct frame *f)
{
    struct record_walk w;
    const struct record *r;
    unsigned type;
    uint32_t len;
    if (f->kind == FRAME_FILE)
        return;
    t->frames[f->kind]++;
    t->payload += f->length;
    if (t->since == INT64_MAX)
        t->since = f->time;
    t->until = f->time;
    if (f->kind == FRAME_MARK && frame_mark(f, &type, &len))
        t->marks[type < PST_COUNT(t->marks) ? type : 0]++;
    if (f->kind == FRAME_SYMBOL)
        t->symbols += le32(frame_payload(f) + 4);
    if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
        return;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        t->rows[r->table % TABLE_MAX]++;
        t->bytes[r->table % TABLE_MAX] += r->bytes;
        if (f->kind == FRAME_GAP)
            gap(t, d, r);
    }
}

static json_t *marks_of(const struct tally *t)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < PST_COUNT(t->marks); i++)
        if (t->marks[i])
            json_object_set_new(o, mark_name(i), json_integer((json_int_t)t->marks[i]));
    return o;
}

static json_t *report(struct cli *c, const struct tally *t, const struct dictionary *d,
                      const struct logscan *s, const char *path, enum logscan_verdict end)
{
    static const char *const kinds[] = {NULL, "data", "symbol", "schema", "mark", "gap", "pad"};
    char since[CIVIL_STAMP_TEXT] = "", until[CIVIL_STAMP_TEXT] = "", day[CIVIL_TEXT];
    json_t *frames = json_object(), *tables = json_object();
    if (t->since != INT64_MAX) {
        civil_format_stamp(time_shown(&c->shown, t->since), since);
        civil_format_stamp(time_shown(&c->shown, t->until), until);
    }
    for (unsigned k = 1; k < PST_COUNT(kinds); k++)
        json_object_set_new(frames, kinds[k], json_integer((json_int_t)t->frames[k]));
    for (unsigned id = 0; id < TABLE_MAX; id++) {
        const struct schema *x = t->rows[id] ? dictionary_schema(d, id) : NULL;
        char name[SCHEMA_NAME_MAX + 16];
        if (!t->rows[id])
            continue;
        if (x)
            snprintf(name, sizeof name, "%s", x->name);
        else
            snprintf(name, sizeof name, "table %u", id);
        json_t *o = json_object_get(tables, name); /* several versions of a table */
        json_object_set_new(tables, name,
                            json_pack("{s:I,s:I}", "rows",
                                      json_long(o, "rows") + (json_int_t)t->rows[id], "bytes",
                                      json_long(o, "bytes") + (json_int_t)t->bytes[id]));
    }
    civil_format(s->header.day, day);
    return json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:s}",
                     "file", path, "day", day, "stream", (int)s->header.stream, "first",
                     (json_int_t)s->header.first, "last", (json_int_t)s->position, "size",
                     (json_int_t)s->size, "bytes", (json_int_t)t->payload, "from", since, "to",
                     until, "frames", frames, "tables", tables, "schemas", log_schemas(d), "marks",
                     marks_of(t), "symbols", (json_int_t)t->symbols, "gaps", (json_int_t)t->gaps,
                     "gap_messages", (json_int_t)t->gap_messages, "damaged",
                     (json_int_t)s->damaged_ranges, "end", logscan_verdict_name(end));
}

static void print(json_t *o)
{
    const char *name;
    json_t *x;
    uint64_t frames = 0;
    json_object_foreach(json_object_get(o, "frames"), name, x) frames +=
        (uint64_t)json_integer_value(x);
    printf("%s: %s frames, %s, positions %s to %s, %s to %s, %s%s\n",
           log_base(json_text(o, "file")), print_count((int64_t)frames),
           print_bytes(json_long(o, "bytes")), print_count(json_long(o, "first")),
           print_count(json_long(o, "last")), json_text(o, "from"), json_text(o, "to"),
           json_text(o, "end"), json_long(o, "damaged") ? "  DAMAGED" : "");
    json_object_foreach(json_object_get(o, "tables"), name, x)
        printf("  %-16s %15s rows %12s\n", name, print_count(json_long(x, "rows")),
               print_bytes(json_long(x, "bytes")));
    if (json_long(o, "gaps"))
        printf("  gaps: %s, %s messages\n", print_count(json_long(o, "gaps")),
               print_count(json_long(o, "gap_messages")));
    printf("  marks:");
    json_object_foreach(json_object_get(o, "marks"), name, x)
        printf(" %s %s", name, print_count(json_integer_value(x)));
    printf("; new symbols %s\n", print_count(json_long(o, "symbols")));
}

int log_stat(struct cli *c, const struct log_files *fs, struct io *io)
{
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    struct tally *t = malloc(sizeof *t);
    pst_must(t);
    for (unsigned i = 0; i < fs->n; i++) {
        struct logscan s;
        struct dictionary d;
        struct err err;
        const struct frame *f;
        enum logscan_verdict v;
        enum log_opened o = log_file_open(&s, io, fs, fs->path[i], &err);
        if (o == LOG_IS_FRESH)
            continue;
        if (o > LOG_IS_FRESH) {
            fprintf(stderr, "penstock: %s\n", err.text);
            code = EXIT_DEGRADED;
            continue;
        }
        memset(t, 0, sizeof *t);
        t->since = INT64_MAX;
        if (!dictionary_init(&d, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            logscan_close(&s);
            code = EXIT_DEGRADED;
            break;
        }
        while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE) {
            if (v != LOGSCAN_FRAME)
                continue;
            dictionary_feed(&d, f);
            count(t, &d, f);
        }
        json_t *x = report(c, t, &d, &s, fs->path[i], v);
        if (s.damaged_ranges || v == LOGSCAN_ERROR)
            code = EXIT_DEGRADED;
        if (!c->json)
            print(x);
        json_array_append_new(all, x);
        json_object_set_new(x, "sequence", json_integer((json_int_t)json_array_size(all)));
        dictionary_free(&d);
        logscan_close(&s);
    }
    free(t);
    if (c->json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    }
    json_decref(all);
    return code;
}
