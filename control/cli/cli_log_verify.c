/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log verify: every byte of every file, and whether they are all there. */
#include "cli_journal.h"
#include "cli_log.h"
#include "print.h"

static const char *end_text(enum logscan_verdict v)
{
    return v == LOGSCAN_CLEAN  ? "clean end"
           : v == LOGSCAN_END  ? "open end (live, or stopped without a clean end)"
           : v == LOGSCAN_TORN ? "torn tail (a write was under way)"
                               : "cannot be read to its end";
}

static void damage(struct cli *c, json_t *list, const char *path, const struct logscan *s)
{
    json_array_append_new(list, json_pack("{s:I,s:I,s:b,s:I}", "from", (json_int_t)s->bad_from,
                                          "to", (json_int_t)s->bad_to, "hole", s->hole, "before",
                                          (json_int_t)s->before));
    if (!c->json)
        printf("%s: bytes %s to %s are %s; positions from %s on are missing until the next frame\n",
               log_base(path), print_count((int64_t)s->bad_from), print_count((int64_t)s->bad_to),
               s->hole ? "a hole (never written)" : "damaged", print_count((int64_t)s->before));
}

/* One file. A torn tail of a live or crashed file is told, not counted as damage. */
static json_t *verify_file(struct cli *c, struct logscan *s, const char *path, enum log_opened o,
                           bool *sound)
{
    json_t *list = json_array();
    const struct frame *f;
    enum logscan_verdict v;
    uint64_t torn = 0;
    while ((v = logscan_step(s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
        if (v == LOGSCAN_DAMAGE)
            damage(c, list, path, s);
    if (v == LOGSCAN_TORN)
        torn = s->bad_to - s->bad_from;
    bool bad = json_array_size(list) || v == LOGSCAN_ERROR || o == LOG_IS_HEALED;
    *sound &= !bad;
    if (!c->json) {
        printf("%s: %s frames, %s, %s%s%s%s\n", log_base(path), print_count((int64_t)s->frames),
               print_bytes((int64_t)s->bytes), end_text(v),
               o == LOG_IS_HEALED ? ", one copy of its header is damaged" : "",
               bad ? "  DAMAGED" : "", s->gave_up ? "  (search cut short)" : "");
        if (s->unreadable_bytes)
            printf("%s: %s bytes cannot be read from the disk\n", log_base(path),
                   print_count((int64_t)s->unreadable_bytes));
    }
    json_t *x = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:b,s:o}", "file", path,
                          "header", log_opened_name(o), "first", (json_int_t)s->header.first,
                          "last", (json_int_t)s->position, "frames", (json_int_t)s->frames,
                          "records", (json_int_t)s->records, "bytes", (json_int_t)s->bytes, "end",
                          logscan_verdict_name(v), "torn", (json_int_t)torn, "unreadable",
                          (json_int_t)s->unreadable_bytes, "gave_up", s->gave_up, "damage", list);
    return x;
}

/* Positions that stand in no file: what a reader of all of them meets. Below a restart mark they
 * are accounted for: the start that wrote it saw them, and its gap rows say what they cost. */
static json_t *missing(struct cli *c, const struct log_where *w, bool *sound)
{
    struct cli_journal j;
    struct err err = {0};
    const struct frame *f;
    json_t *list = json_array(), *x;
    uint64_t restart = 0, old_end, start;
    enum cursor_verdict v;
    size_t i;
    if (!cli_journal_files(&j, w->path[0], w->prefix, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        *sound = false;
        return list;
    }
    while ((v = cursor_next(&j.cursor, &f)) == CURSOR_FRAME || v == CURSOR_LOST ||
           v == CURSOR_REWOUND) {
        if (v == CURSOR_LOST)
            json_array_append_new(list,
                                  json_pack("{s:I,s:I}", "from", (json_int_t)j.cursor.lost_from,
                                            "to", (json_int_t)j.cursor.lost_to));
        else if (v == CURSOR_FRAME && cursor_restart_mark(f, &old_end, &start))
            restart = f->position;
    }
    if (v == CURSOR_ERROR) {
        fprintf(stderr, "penstock: %s\n", j.cursor.err.text);
        *sound = false;
    }
    cli_journal_close(&j);
    json_array_foreach(list, i, x)
    {
        bool told = (uint64_t)json_long(x, "from") < restart;
        json_object_set_new(x, "accounted", json_boolean(told));
        *sound &= told;
        if (!c->json)
            printf("positions %s to %s stand in no file%s\n", print_count(json_long(x, "from")),
                   print_count(json_long(x, "to")),
                   told ? "; a later start has accounted for them" : "");
    }
    return list;
}

struct span {
    uint64_t first, last;
};
static int by_first(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Do the files leave no room between them? Then nothing can be missing. A restart's jump looks like
 * room: the slow look tells. */
static bool contiguous(const struct span *span, unsigned n)
{
    uint64_t end = n ? span[0].first : 0;
    for (unsigned i = 0; i < n; i++) {
        if (span[i].first > end)
            return false;
        end = span[i].last > end ? span[i].last : end;
    }
    return true;
}

int log_verify(struct cli *c, const struct log_files *fs, const struct log_where *w, struct io *io)
{
    json_t *files = json_array(), *lost = NULL;
    struct span *span = calloc(fs->n + 1, sizeof *span);
    unsigned n = 0;
    bool sound = true;
    pst_must(span);
    for (unsigned i = 0; i < fs->n; i++) {
        struct logscan s;
        struct err err;
        enum log_opened o = log_file_open(&s, io, fs, fs->path[i], &err);
        if (o == LOG_IS_FRESH)
            continue;
        if (o > LOG_IS_FRESH) {
            fprintf(stderr, "penstock: %s\n", err.text);
            json_array_append_new(files, json_pack("{s:s,s:s,s:s}", "file", fs->path[i], "header",
                                                   log_opened_name(o), "error", err.text));
            sound = false;
            continue;
        }
        json_array_append_new(files, verify_file(c, &s, fs->path[i], o, &sound));
        if (o != LOG_IS_FOREIGN)
            span[n++] = (struct span){s.header.first, s.position};
        logscan_close(&s);
    }
    qsort(span, n, sizeof *span, by_first);
    if (w->directory && (!sound || !contiguous(span, n)))
        lost = missing(c, w, &sound);
    free(span);
    json_t *all = json_pack("{s:b,s:o,s:o}", "sound", sound, "files", files, "missing",
                            lost ? lost : json_array());
    if (c->json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    }
    json_decref(all);
    return sound ? EXIT_HEALTHY : EXIT_DEGRADED;
}
