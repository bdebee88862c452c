/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journalat - what the log holds below each of some journal positions: the truth that answers are
 * compared with. A walk of its own over the files' bytes (frame.h, record.h give the layout); it
 * shares no code with the RDB, the writedown or the log's readers.
 *
 *   journalat DIR PREFIX < positions      ascending, one a line
 *
 * One line of JSON a position, and one for the end ("position": null):
 *   {"position":P, "boundary":true|false,
 *    "days":{TABLE:{DATE:[rows, sum, highest, symbols]}},    sum and highest of `seq`; of a table
 *                                                            without it of its first value column
 *    "syms":{TABLE:[symbols, sum of rows squared, sum of highest, sum of last]}}
 * boundary: P is where a frame begins or the last one ends.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/frame.h"
#include "core/record.h"

#define TABLES 128u
#define DAYS   64u
#define SYMS   65536u

struct total {
    uint64_t rows, sum, highest, symbols;
    uint8_t *seen; /* a bit a symbol */
};
struct of_sym {
    uint64_t rows, highest, last;
};
struct table {
    char name[64];
    unsigned same; /* lowest id with this name: later versions count there */
    struct total day[DAYS];
    struct of_sym *sym;
};
struct file {
    const uint8_t *p;
    size_t size;
    uint64_t first, instance;
};

static struct table table[TABLES];
static struct file file[256];
static unsigned nfiles;
static int first_day = -1;

static int by_first(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || nfiles == PST_COUNT(file))
        exit(2);
    if (st.st_size >= 8192) {
        struct file *f = &file[nfiles];
        f->size = (size_t)st.st_size;
        f->p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (f->p == MAP_FAILED)
            exit(2);
        f->first = le64(f->p + 8);
        f->instance = le64(f->p + FRAME_HEADER + 8 + 16); /* log_file_header.instance */
        nfiles++;
    }
    close(fd);
}

static void schema(const struct frame *f, const uint8_t *body, size_t len)
{
    char text[8192], *at;
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)body);
    unsigned id = (at = strstr(text, "\"id\":")) ? (unsigned)strtoul(at + 5, NULL, 10) : TABLES;
    (void)f;
    if (id >= TABLES || table[id].name[0] || !(at = strstr(text, "\"table\":\"")))
        return;
    sscanf(at + 9, "%63[^\"]", table[id].name);
    table[id].same = id;
    for (unsigned i = 0; i < TABLES; i++)
        if (!strcmp(table[i].name, table[id].name)) {
            table[id].same = i;
            break;
        }
    table[table[id].same].sym = calloc(SYMS, sizeof(struct of_sym));
}

static void row(const struct frame *f, const struct record *r, uint64_t seq)
{
    if (r->table >= TABLES || !table[r->table].name[0] ||
        (r->sym >= SYMS - 1 && r->sym != PST_NULL_SYMBOL))
        exit(3);
    const uint32_t sym = r->sym == PST_NULL_SYMBOL ? SYMS - 1 : r->sym;
    if (first_day < 0)
        first_day = f->day;
    unsigned d = (unsigned)(f->day - first_day);
    if (d >= DAYS)
        exit(3);
    struct table *t = &table[table[r->table].same];
    struct total *a = &t->day[d];
    if (!a->seen)
        a->seen = calloc(SYMS, 1);
    a->rows++;
    a->sum += seq;
    a->highest = seq > a->highest ? seq : a->highest;
    a->symbols += !a->seen[sym];
    a->seen[sym] = 1;
    struct of_sym *s = &t->sym[sym];
    s->rows++;
    s->highest = seq > s->highest ? seq : s->highest;
    s->last = seq;
}

static void rows(const struct frame *f)
{
    const uint8_t *p = frame_payload(f), *end = p + frame_payload_bytes(f);
    uint64_t seq = 0, left = 0;
    while (p + sizeof(struct record) <= end) {
        const struct record *r = (const struct record *)(const void *)p;
        if (r->bytes < sizeof *r || r->bytes > end - p)
            exit(3);
        if (r->table == 0) {
            const struct packet_record *k = (const void *)r;
            seq = k->seq;
            left = k->rows;
        } else if (left) {
            left--;
            row(f, r, seq++);
        } else if (r->table != 1) {
            row(f, r, r->bytes >= 24 ? le64(p + 16) : 0);
        }
        p += r->bytes;
    }
}

static void say(const char *position, bool boundary)
{
    printf("{\"position\":%s,\"boundary\":%s,\"days\":{", position, boundary ? "true" : "false");
    const char *comma = "";
    for (unsigned i = 0; i < TABLES; i++) {
        if (!table[i].name[0] || table[i].same != i)
            continue;
        printf("%s\"%s\":{", comma, table[i].name);
        comma = "";
        for (unsigned d = 0; d < DAYS; d++) {
            const struct total *a = &table[i].day[d];
            char date[CIVIL_TEXT];
            if (!a->rows)
                continue;
            printf("%s\"%s\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", comma,
                   civil_format(first_day + (int)d, date), a->rows, a->sum, a->highest, a->symbols);
            comma = ",";
        }
        printf("}");
        comma = ",";
    }
    printf("},\"syms\":{");
    comma = "";
    for (unsigned i = 0; i < TABLES; i++) {
        uint64_t n = 0, squares = 0, highest = 0, last = 0;
        if (!table[i].name[0] || table[i].same != i)
            continue;
        for (unsigned s = 0; s < SYMS; s++) {
            const struct of_sym *o = &table[i].sym[s];
            n += o->rows > 0;
            squares += o->rows * o->rows;
            highest += o->highest;
            last += o->last;
        }
        printf("%s\"%s\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", comma, table[i].name,
               n, squares, highest, last);
        comma = ",";
    }
    printf("}}\n");
}

static char want[32];
static bool next_position(uint64_t *p)
{
    if (!fgets(want, sizeof want, stdin))
        return false;
    want[strcspn(want, "\n")] = 0;
    *p = strtoull(want, NULL, 10);
    return true;
}

int main(int argc, char **argv)
{
    DIR *d = argc == 3 ? opendir(argv[1]) : NULL;
    char path[4096];
    uint64_t at = 0, p = 0;
    if (!d) {
        fprintf(stderr, "journalat DIR PREFIX < positions\n");
        return 2;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (!strncmp(e->d_name, argv[2], strlen(argv[2])) && !strstr(e->d_name, "spare")) {
            snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
            open_file(path);
        }
    closedir(d);
    qsort(file, nfiles, sizeof *file, by_first);
    bool more = next_position(&p);
    for (unsigned i = 0; i < nfiles; i++) {
        const struct file *l = &file[i];
        const uint32_t seed = frame_seed(l->instance);
        const struct frame *f;
        for (size_t o = 0; o + FRAME_HEADER <= l->size; o += f->length) {
            f = (const void *)(l->p + o);
            if (frame_check(f, l->size - o, seed) != FRAME_OK)
                break;
            if (f->kind == FRAME_FILE) {
                const uint8_t *b = frame_payload(f);
                if (f->position != l->first)
                    break;
                if (le16(b) == 2) /* schema, as a schema frame's text */
                    schema(f, b + 8, le32(b + 4));
                continue;
            }
            if (f->position < l->first)
                break; /* stale, of a recycled file */
            if (f->position < at)
                continue; /* stands in two files */
            for (; more && p <= f->position; more = next_position(&p))
                say(want, p == f->position || p == at);
            at = f->position + f->length;
            if (f->kind == FRAME_SCHEMA)
                schema(f, frame_payload(f) + 8, le32(frame_payload(f)));
            else if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
                rows(f);
        }
    }
    for (; more; more = next_position(&p))
        say(want, p == at);
    say("null", true);
    return 0;
}
