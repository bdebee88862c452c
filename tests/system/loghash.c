/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loghash - the content hash of each table and day of a log directory, but of table `alarm`:
 *   loghash DIR [PREFIX [flags]]      one line "table day rows hash" each
 * With "flags" also how many records of sources there are, that their points join for each source,
 * and where each ends: "source NAME from P.R to P.R frames N". Exit 1 where they do not join.
 */
#include <stdio.h>
#include "core/civil.h"
#include "core/source.h"
#include "storage/content_hash.h"
#include "storage/cursor.h"

#define SOURCES 64

static struct chain {
    char name[SOURCE_NAME_MAX + 1];
    struct source_point from, to;
    struct source_progress p;
    uint64_t frames, repeats;
} chain[SOURCES];

static int bad;

static void join(const struct dictionary *d, const struct derived_record *r, uint64_t position)
{
    uint32_t len = 0, i = 0;
    const char *name = dictionary_peek(d, r->source, &len);
    if (!name || !len || len > SOURCE_NAME_MAX) {
        fprintf(stderr, "a source without a name at %llu\n", (unsigned long long)position);
        bad = 1;
        return;
    }
    while (i < SOURCES - 1 && *chain[i].name &&
           (strlen(chain[i].name) != len || memcmp(chain[i].name, name, len)))
        i++;
    struct chain *c = &chain[i];
    struct source_point from = source_point(r->after, r->after_row),
                        to = source_point(r->position, r->row);
    if (!*c->name) {
        memcpy(c->name, name, len);
        c->from = from;
        c->p.at = from;
    }
    c->frames++;
    /* each stretch once: it begins where one ended, or beyond all that is known */
    bool twice = source_cmp(from, c->p.at) < 0;
    for (uint32_t k = 0; k < c->p.islands; k++)
        twice |= source_cmp(from, c->p.island[k].to) < 0 && source_cmp(to, c->p.island[k].from) > 0;
    if (twice) {
        fprintf(stderr, "source %s: rows from %llu.%u on stand twice, again at %llu\n", c->name,
                (unsigned long long)from.position, from.row, (unsigned long long)position);
        bad = 1;
    }
    source_found(&c->p, from, to);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct cursor c;
    struct content_hash h;
    struct io *io = io_posix_create(&err);
    struct cursor_config cc = {
        .io = io, .dirs = {argc > 1 ? argv[1] : "."}, .prefix = argc > 2 ? argv[2] : "log"};
    if (!io || !cursor_open(&c, &cc, &err) || !content_hash_init(&h, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    const struct frame *f;
    enum cursor_verdict v;
    while ((v = cursor_next(&c, &f)) != CURSOR_END) {
        if (v == CURSOR_ERROR) {
            fprintf(stderr, "%s\n", c.err.text);
            return 2;
        }
        if (v != CURSOR_FRAME)
            continue;
        if (!content_hash_frame(&h, &c.dict, f))
            bad = 1;
        struct record_walk w;
        record_walk_start(&w, f);
        if (f->kind == FRAME_DATA && w.derived)
            join(&c.dict, w.derived, f->position);
    }
    content_hash_sort(&h);
    for (uint32_t i = 0; i < h.count; i++) {
        char day[CIVIL_TEXT], text[33];
        if (strcmp(h.sums[i].table, "alarm"))
            printf("%s %s %llu %s\n", h.sums[i].table, civil_format(h.sums[i].day, day),
                   (unsigned long long)h.sums[i].rows, content_hash_text(&h.sums[i], text));
    }
    for (struct chain *x = chain; argc > 3 && *x->name; x++) {
        printf("source %s from %llu.%u to %llu.%u frames %llu\n", x->name,
               (unsigned long long)x->from.position, x->from.row,
               (unsigned long long)x->p.at.position, x->p.at.row, (unsigned long long)x->frames);
        if (x->p.islands) {
            fprintf(stderr, "source %s has a hole at %llu.%u\n", x->name,
                    (unsigned long long)x->p.at.position, x->p.at.row);
            bad = 1;
        }
    }
    content_hash_free(&h);
    cursor_close(&c);
    io_destroy(io);
    return bad;
}
