/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader_kit.h - a world around the loader's orchestrator: a simulated disk, workers that are
 * functions, a database of text files, deliveries and trouble, all from one seed and one clock.
 *
 * A delivered file has lines `DATE TABLE ROW`. A table of a date is two files, its columns, in the
 * database: a line `commits FIRST END` (one range, as .pstmeta has it), then its rows. So "every
 * row exactly once" is counted.
 *
 * The database's writer does what storage/load/publish.h promises: it compares bases, writes an
 * intent, renames, forgets the intent; what a crash left undone it finishes first.
 */
#pragma once

#include <fcntl.h>
#include <inttypes.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/crc.h"
#include "io_sim.h"
#include "load/orchestrator.h"

#define KIT_WORKERS 8u
#define KIT_EVENTS  4096u
#define KIT_STAGE   "/stage"
#define KIT_TMP     "/tmp"
#define KIT_HDB     "/hdb"
#define KIT_SIDE    "/side"

enum kit_kind {
    KIT_UP,
    KIT_DOWN,
    KIT_DONE,
    KIT_BEAT,
    KIT_INTERNED,
    KIT_MOVE, /* the writer begins now */
    KIT_DELIVER,
    KIT_EOD /* rows from elsewhere get into a partition */
};
struct kit_event {
    int64_t at;
    enum kit_kind kind;
    unsigned worker, generation;
    uint64_t id; /* task, batch */
    char *json, *name, *bytes;
    json_t *move;
};
struct kit_worker {
    bool live, busy, reads;
    bool full; /* of what an earlier task left */
    unsigned generation;
};
struct kit_trouble { /* of 1000 */
    unsigned crash, stuck, retry, space, bloat, no_start, no_send, stale, move_retry, intern_fails;
    bool hog; /* who reads a file of that name has no memory left from then on */
    bool bad; /* lines `BAD` make a file's read fail for good */
};
struct kit {
    uint64_t seed, rng;
    struct sim *disk;
    struct io *io;       /* the loader's */
    struct io *other_io; /* of workers and the writer */
    struct loader *l;
    struct loader_config c;
    struct loader_rule rule[8];
    struct loader_pattern file[8];
    const char *staging[2];
    char boot[40];
    unsigned boots, starts;
    int64_t now;
    struct kit_event event[KIT_EVENTS];
    unsigned nevents;
    struct kit_worker worker[KIT_WORKERS];
    struct kit_trouble trouble;
    unsigned running, most_running;
    uint64_t free_memory;
    uint64_t scale; /* of the bytes that workers say they wrote */
    unsigned more;  /* columns beside price that are merged, and are nothing in the database */
    /* What happens, in its order: "send" and "done" of a task, "intern", "move". */
    void (*watch)(struct kit *k, const char *what, unsigned worker, const json_t *o);
    /* figures */
    uint64_t spawned, sent, finished, moved, reads, rejected, alarms[LOADER_ALARMS], logs, ticks;
    uint64_t raised[LOADER_ALARMS];
    unsigned hold;
    int64_t slow_intern;
    int64_t (*deadline)(void *arg, unsigned rule, int64_t begun);
    unsigned interns, idle_lines;
    bool dead;      /* between a crash and the next start */
    uint64_t eods;  /* rows that came from elsewhere */
    uint64_t trace; /* of all that went out: two runs of a seed are equal */
    char last_facts[2000];
};

static uint64_t kit_random(struct kit *k, uint64_t n)
{
    k->rng = k->rng * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t x = k->rng >> 33;
    return n ? x % n : x;
}
static bool kit_chance(struct kit *k, unsigned of_1000)
{
    return of_1000 && kit_random(k, 1000) < of_1000;
}
static void kit_trace(struct kit *k, const char *what, uint64_t n)
{
    k->trace = (k->trace ^ crc32c(0, what, strlen(what)) ^ n) * 0x100000001b3ull;
    if (getenv("KIT_TRACE"))
        fprintf(stderr, "%9.3f %s %" PRIu64 "\n", (double)k->now / 1e9, what, n);
}

static struct kit_event *kit_event(struct kit *k, int64_t after, enum kit_kind kind)
{
    pst_must(k->nevents < KIT_EVENTS);
    struct kit_event *e = &k->event[k->nevents++];
    *e = (struct kit_event){.at = k->now + after, .kind = kind};
    return e;
}
static void kit_event_free(struct kit_event *e)
{
    free(e->json);
    free(e->name);
    free(e->bytes);
    json_decref(e->move);
}

/* ---- files ---- */

static void kit_mkdirs(struct io *io, const char *path)
{
    char p[1400];
    snprintf(p, sizeof p, "%s", path);
    for (char *s = p + 1; (s = strchr(s, '/')) != NULL; s++) {
        *s = 0;
        io->ops->mkdir(io, p, 0700);
        *s = '/';
    }
    io->ops->mkdir(io, p, 0700);
}

static bool kit_put(struct io *io, const char *path, const char *text, size_t n, bool sync)
{
    int fd = io->ops->open(io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    bool ok = fd >= 0 && (!n || io_pwrite_all(io, fd, text, n, 0) == 0) &&
              (!sync || io->ops->fsync(io, fd) == 0);
    if (fd >= 0)
        io->ops->close(io, fd);
    return ok;
}

/* malloc'd with a NUL; NULL: cannot be read */
static char *kit_get(struct io *io, const char *path)
{
    struct io_stat st;
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    if (fd < 0)
        return NULL;
    char *p = io->ops->fstat(io, fd, &st) == 0 ? malloc(st.size + 1) : NULL;
    if (p && io_pread_all(io, fd, p, st.size, 0) == 0)
        p[st.size] = 0;
    else {
        free(p);
        p = NULL;
    }
    io->ops->close(io, fd);
    return p;
}

struct kit_text {
    char *p;
    size_t n;
};
static void kit_add(struct kit_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void kit_add(struct kit_text *t, const char *fmt, ...)
{
    char line[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    t->p = realloc(t->p, t->n + (size_t)n + 1);
    pst_must(t->p);
    memcpy(t->p + t->n, line, (size_t)n + 1);
    t->n += (size_t)n;
}

/* ---- what workers do ---- */

static const char *kit_str(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

/* Files `<date>.<table>`, and result.json with their sizes and CRCs. */
static int kit_read(struct kit *k, const json_t *args, const char **why)
{
    struct io *io = k->other_io;
    const char *path = kit_str(args, "file"), *dir = kit_str(args, "dir");
    char *text = kit_get(io, path), name[1400];
    k->reads++;
    if (!text) {
        *why = "cannot be opened";
        return -ENOENT;
    }
    if (json_object_get(args, "checksum")) {
        char sum[40];
        snprintf(sum, sizeof sum, "md5:%032x", crc32c(0, text, strlen(text)));
        if (strcmp(sum, kit_str(args, "checksum")) != 0) {
            free(text);
            *why = "its md5 is not what the manifest says";
            return -EBADMSG;
        }
    }
    if (k->trouble.bad && strstr(text, "BAD")) {
        free(text);
        *why = "line 1: BAD is no date";
        return -EILSEQ;
    }
    kit_mkdirs(io, dir);
    struct {
        char key[40];
        struct kit_text t;
        unsigned rows;
    } out[16];
    unsigned n = 0, rejected = 0;
    uint64_t rows = 0;
    if (strstr(text, "REJECT")) {
        snprintf(name, sizeof name, "%s/rejects", dir);
        rejected = kit_put(io, name, "1\tsym\tbad\n", 10, false);
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char date[16], table[16];
        unsigned long long row;
        if (sscanf(line, "%15s %15s %llu", date, table, &row) != 3)
            continue;
        snprintf(name, sizeof name, "%s.%s", date, table);
        unsigned i = 0;
        while (i < n && strcmp(out[i].key, name) != 0)
            i++;
        if (i == n) {
            pst_must(n < PST_COUNT(out));
            memset(&out[n], 0, sizeof out[n]);
            snprintf(out[n++].key, sizeof out[0].key, "%.39s", name);
        }
        kit_add(&out[i].t, "%llu\n", row);
        out[i].rows++;
        rows++;
    }
    free(text);
    json_t *written = json_array();
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        char date[11];
        memcpy(date, out[i].key, 10);
        date[10] = 0;
        snprintf(name, sizeof name, "%s/%s", dir, out[i].key);
        ok = ok && kit_put(io, name, out[i].t.p, out[i].t.n, false);
        json_array_append_new(
            written, json_pack("{s:s,s:s,s:s,s:i,s:s,s:s,s:[[s,s,I,i],[s,s,I,i],[s,s,I,i]]}",
                               "date", date, "table", out[i].key + 11, "path", out[i].key, "rows",
                               (int)out[i].rows, "symCol", "sym", "sortCol", "time", "columns",
                               "sym", "symbol", (json_int_t)(out[i].t.n * k->scale),
                               crc32c(0, out[i].t.p, out[i].t.n) & 0x7FFFFFFF, "time", "timestamp",
                               (json_int_t)(8 * out[i].rows * k->scale), 0, "price", "float",
                               (json_int_t)(out[i].t.n * k->scale), 0));
        free(out[i].t.p);
    }
    char *whole = kit_get(io, path);
    char hash[33];
    json_int_t bytes = whole ? (json_int_t)strlen(whole) : 0;
    snprintf(hash, sizeof hash, "%032x", whole ? crc32c(0, whole, strlen(whole)) : 0);
    free(whole);
    json_t *result = json_pack("{s:s,s:I,s:I,s:i,s:{s:i},s:o}", "hash", hash, "rows",
                               (json_int_t)rows, "bytes", bytes, "rejected", (int)rejected,
                               "symbols", "count", rows ? 1 : 0, "written", written);
    char *json = json_dumps(result, JSON_COMPACT), to[1400];
    snprintf(name, sizeof name, "%s/result.json.new", dir);
    snprintf(to, sizeof to, "%s/result.json", dir);
    ok = ok && kit_put(io, name, json, strlen(json), false) && io->ops->rename(io, name, to) == 0;
    free(json);
    json_decref(result);
    *why = "the disk does not take it";
    return ok ? 0 : -EIO;
}

/* load_result_check: sizes, and CRCs when asked. */
static bool kit_check(struct kit *k, const char *dir, bool contents, json_t **result,
                      struct err *err)
{
    char name[1400];
    snprintf(name, sizeof name, "%s/result.json", dir);
    char *text = kit_get(k->other_io, name);
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (!o)
        return err_set(err, -ENOENT, "no result in %s", dir);
    size_t i;
    json_t *w;
    bool ok = true;
    json_array_foreach(json_object_get(o, "written"), i, w)
    {
        const json_t *c = json_array_get(json_object_get(w, "columns"), 0);
        snprintf(name, sizeof name, "%s/%s", dir, kit_str(w, "path"));
        char *p = kit_get(k->other_io, name);
        ok = ok && p && strlen(p) * k->scale == (size_t)json_integer_value(json_array_get(c, 2));
        if (ok && contents)
            ok = (crc32c(0, p, strlen(p)) & 0x7FFFFFFF) == json_integer_value(json_array_get(c, 3));
        free(p);
    }
    if (!ok) {
        json_decref(o);
        return err_set(err, -EBADMSG, "a file of %s is damaged", dir);
    }
    *result = o;
    return true;
}

static void kit_base(struct kit *k, const char *part, char out[40])
{
    char name[400];
    snprintf(name, sizeof name, KIT_HDB "/%s.sym", part);
    char *p = kit_get(k->other_io, name);
    if (p)
        snprintf(out, 40, "%08x", crc32c(0, p, strlen(p)));
    else
        snprintf(out, 40, "absent");
    free(p);
}

/* The rows of a column as it will be: the existing ones, then the files'. */
static char *kit_merged(struct kit *k, const char *part, const json_t *files, uint64_t commit,
                        bool supersede, const char **why)
{
    char name[1400];
    struct kit_text out = {0};
    snprintf(name, sizeof name, KIT_HDB "/%s.sym", part);
    char *old = kit_get(k->other_io, name);
    char *nl = old ? strchr(old, '\n') : NULL;
    unsigned long long first = commit, end = commit + 1, from, to;
    if (nl && !supersede && sscanf(old, "commits %llu %llu", &from, &to) == 2) { /* one range */
        first = from < first ? from : first;
        end = to > end ? to : end;
    }
    kit_add(&out, "commits %llu %llu\n", first, end);
    for (char *line = nl && !supersede ? strtok(nl + 1, "\n") : NULL; line;
         line = strtok(NULL, "\n"))
        kit_add(&out, "%s\n", line);
    free(old);
    size_t i;
    json_t *f;
    json_array_foreach(files, i, f)
    {
        snprintf(name, sizeof name, "%s/%s", json_string_value(f), part);
        char *p = kit_get(k->other_io, name);
        if (!p) {
            free(out.p);
            *why = "a read result is missing";
            return NULL;
        }
        for (char *line = strtok(p, "\n"); line; line = strtok(NULL, "\n"))
            kit_add(&out, "%s\n", line);
        free(p);
    }
    return out.p;
}

static int kit_index(struct kit *k, const json_t *args, json_t **result, const char **why)
{
    struct io *io = k->other_io;
    char part[64], base[40], name[1400];
    const char *dir = kit_str(args, "index"), *batch = kit_str(args, "batch");
    snprintf(part, sizeof part, "%s.%s", kit_str(args, "date"), kit_str(args, "table"));
    uint64_t commit = (uint64_t)json_integer_value(json_object_get(args, "commit"));
    bool supersede = json_is_true(json_object_get(args, "supersede"));
    kit_base(k, part, base);
    char *text = kit_merged(k, part, json_object_get(args, "files"), commit, supersede, why);
    if (!text)
        return -ENOENT;
    kit_mkdirs(io, dir);
    snprintf(name, sizeof name, KIT_SIDE "/%s", batch);
    kit_mkdirs(io, name);
    snprintf(name, sizeof name, KIT_SIDE "/%s/%s.price", batch, part);
    io->ops->unlink(io, name); /* what an earlier run left */
    snprintf(name, sizeof name, "%s/place", dir);
    bool ok = kit_put(io, name, text, strlen(text), false);
    snprintf(name, sizeof name, "%s/to", dir);
    struct kit_text to = {0};
    kit_add(&to, KIT_SIDE "/%s/%s", batch, part);
    ok = ok && kit_put(io, name, to.p, to.n, false);
    free(to.p);
    snprintf(name, sizeof name, KIT_SIDE "/%s/%s.sym", batch, part);
    ok = ok && kit_put(io, name, text, strlen(text), true);
    snprintf(name, sizeof name, KIT_SIDE "/%s", batch);
    io->ops->sync_dir(io, name);
    io->ops->sync_dir(io, KIT_SIDE);
    json_int_t bytes = (json_int_t)(strlen(text) * k->scale);
    *result = json_pack("{s:i,s:s,s:[[s,s,I]]}", "rows", 1, "base", base, "columns", "price",
                        "float", bytes);
    for (unsigned i = 0; i < k->more; i++) {
        snprintf(name, sizeof name, "c%u", i);
        json_array_append_new(json_object_get(*result, "columns"),
                              json_pack("[s,s,I]", name, "float", bytes));
    }
    free(text);
    return ok ? 0 : -EIO;
}

static int kit_merge(struct kit *k, const json_t *args, const char **why)
{
    struct io *io = k->other_io;
    char name[1400];
    const char *dir = kit_str(args, "index");
    snprintf(name, sizeof name, "%s/place", dir);
    char *text = kit_get(io, name);
    snprintf(name, sizeof name, "%s/to", dir);
    char *to = kit_get(io, name);
    bool ok = text && to;
    *why = "there is no index";
    if (ok &&
        !strcmp(json_string_value(json_array_get(json_object_get(args, "columns"), 0)), "price")) {
        snprintf(name, sizeof name, "%s.price", to);
        ok = kit_put(io, name, text, strlen(text), true);
        char *slash = strrchr(name, '/');
        *slash = 0;
        io->ops->sync_dir(io, name);
    }
    free(text);
    free(to);
    return ok ? 0 : -ENOENT;
}

/* ---- the database's writer ---- */

/* Renames what the intent names; done twice, it changes nothing. */
static void kit_finish_intent(struct kit *k)
{
    struct io *io = k->other_io;
    char *text = kit_get(io, KIT_SIDE "/intent");
    json_t *o = text ? json_loads(text, 0, NULL) : NULL, *p;
    size_t i;
    free(text);
    json_array_foreach(json_object_get(o, "parts"), i, p)
    {
        for (unsigned c = 0; c < 2; c++) {
            char from[400], to[400];
            snprintf(from, sizeof from, KIT_SIDE "/%s/%s.%s", kit_str(o, "key"),
                     json_string_value(p), c ? "price" : "sym");
            snprintf(to, sizeof to, KIT_HDB "/%s.%s", json_string_value(p), c ? "price" : "sym");
            io->ops->rename(io, from, to);
        }
    }
    if (o) {
        io->ops->sync_dir(io, KIT_HDB);
        io->ops->unlink(io, KIT_SIDE "/intent");
        io->ops->sync_dir(io, KIT_SIDE);
    }
    json_decref(o);
}

static bool kit_has_commit(struct kit *k, const char *part, uint64_t commit)
{
    char name[400];
    snprintf(name, sizeof name, KIT_HDB "/%s.sym", part);
    char *p = kit_get(k->other_io, name);
    unsigned long long first, end;
    bool found =
        p && sscanf(p, "commits %llu %llu", &first, &end) == 2 && first <= commit && commit < end;
    free(p);
    return found;
}

static void kit_move(struct kit *k, const json_t *m)
{
    struct io *io = k->other_io;
    uint64_t batch = (uint64_t)json_integer_value(json_object_get(m, "batch")),
             commit = (uint64_t)json_integer_value(json_object_get(m, "commit"));
    const json_t *parts = json_object_get(m, "parts");
    size_t n = json_array_size(parts), in = 0;
    bool stale[64] = {0}, any = false;
    pst_must(n <= 64);
    kit_finish_intent(k);
    for (size_t i = 0; i < n; i++)
        in += kit_has_commit(k, kit_str(json_array_get(parts, i), "part"), commit);
    pst_must(in == 0 || in == n); /* all of a batch, or nothing */
    if (in == n) {
        loader_moved(k->l, batch, LOADER_MOVED, NULL, commit + 100, "");
        return;
    }
    if (kit_chance(k, k->trouble.move_retry)) {
        loader_moved(k->l, batch, LOADER_RETRY, NULL, 0, "no space left on device");
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(parts, i);
        char base[40], name[400];
        kit_base(k, kit_str(p, "part"), base);
        stale[i] = strcmp(base, kit_str(p, "base")) != 0;
        any |= stale[i];
        json_array_append_new(list, json_string(kit_str(p, "part")));
        for (unsigned c = 0; c < 2 && !stale[i]; c++) {
            snprintf(name, sizeof name, KIT_SIDE "/%s/%s.%s", kit_str(m, "key"), kit_str(p, "part"),
                     c ? "price" : "sym");
            char *text = kit_get(io, name);
            char want[40];
            snprintf(want, sizeof want, " %" PRIu64 "\n", commit + 1);
            pst_must(text && strstr(text, want)); /* it was merged, for this commit */
            free(text);
        }
    }
    if (any) {
        json_decref(list);
        loader_moved(k->l, batch, LOADER_STALE, stale, 0, "another writer was faster");
        return;
    }
    json_t *o = json_pack("{s:s,s:o}", "key", kit_str(m, "key"), "parts", list);
    char *text = json_dumps(o, JSON_COMPACT);
    bool ok = kit_put(io, KIT_SIDE "/intent.new", text, strlen(text), true) &&
              io->ops->rename(io, KIT_SIDE "/intent.new", KIT_SIDE "/intent") == 0 &&
              io->ops->sync_dir(io, KIT_SIDE) == 0;
    free(text);
    json_decref(o);
    pst_must(ok);
    kit_finish_intent(k);
    k->moved++;
    loader_moved(k->l, batch, LOADER_MOVED, NULL, commit + 100, "");
}

/* ---- hooks ---- */

static void kit_spawn(void *arg, unsigned w, uint64_t memory)
{
    struct kit *k = arg;
    (void)memory;
    k->spawned++;
    kit_trace(k, "spawn", w);
    pst_must(!k->worker[w].live);
    k->worker[w].generation++;
    struct kit_event *e = kit_event(k, NS_PER_MS * (1 + (int64_t)kit_random(k, 20)),
                                    kit_chance(k, k->trouble.no_start) ? KIT_DOWN : KIT_UP);
    e->worker = w;
    e->generation = k->worker[w].generation;
}
static void kit_kill(void *arg, unsigned w)
{
    struct kit *k = arg;
    kit_trace(k, "kill", w);
    k->worker[w].generation++; /* what it was about to do does not happen */
    struct kit_event *e = kit_event(k, NS_PER_MS, KIT_DOWN);
    e->worker = w;
    e->generation = k->worker[w].generation;
}
static void kit_busy(struct kit *k, unsigned w, bool busy)
{
    k->running += busy - k->worker[w].busy;
    k->worker[w].busy = busy;
}
static bool kit_send(void *arg, unsigned w, uint64_t task, const char *json, size_t len)
{
    struct kit *k = arg;
    (void)len;
    kit_trace(k, "send", task ^ crc32c(0, json, strlen(json)));
    if (getenv("KIT_TRACE"))
        fprintf(stderr, "          w%u %.150s\n", w, json);
    pst_must(k->worker[w].live);
    pst_must(!k->worker[w].busy);
    if (k->watch) {
        json_t *o = json_loads(json, 0, NULL);
        k->watch(k, "send", w, o);
        json_decref(o);
    }
    k->sent++;
    k->worker[w].reads = strstr(json, "\"task\":\"read\"") != NULL;
    kit_busy(k, w, true);
    if (k->running > k->most_running)
        k->most_running = k->running;
    if (kit_chance(k, k->trouble.no_send)) {
        k->worker[w].live = false;
        kit_busy(k, w, false);
        return false;
    }
    if (kit_chance(k, k->trouble.stuck))
        return true; /* never answers */
    bool crash = kit_chance(k, k->trouble.crash), bloat = kit_chance(k, k->trouble.bloat);
    struct kit_event *e = kit_event(k, NS_PER_MS * (1 + (int64_t)kit_random(k, 50)),
                                    bloat   ? KIT_BEAT
                                    : crash ? KIT_DOWN
                                            : KIT_DONE);
    e->worker = w;
    e->generation = k->worker[w].generation;
    e->id = task;
    e->json = strdup(json);
    return true;
}
static void kit_intern(void *arg, const struct loader_intern *i)
{
    struct kit *k = arg;
    kit_trace(k, "intern", i->batch + i->n);
    k->interns++;
    if (k->watch)
        k->watch(k, "intern", 0, NULL);
    for (unsigned n = 0; n < k->nevents; n++) /* one at a time */
        pst_must(k->event[n].kind != KIT_INTERNED && k->event[n].kind != KIT_MOVE);
    struct kit_event *e = kit_event(k, NS_PER_MS + k->slow_intern, KIT_INTERNED);
    e->id = i->batch;
}
static void kit_move_hook(void *arg, const struct loader_move *m)
{
    struct kit *k = arg;
    kit_trace(k, "move", m->batch ^ m->commit << 32);
    if (k->watch)
        k->watch(k, "move", 0, NULL);
    json_t *parts = json_array();
    for (unsigned n = 0; n < k->nevents; n++)
        pst_must(k->event[n].kind != KIT_INTERNED && k->event[n].kind != KIT_MOVE);
    for (unsigned i = 0; i < m->n; i++) {
        char part[64], date[CIVIL_TEXT];
        civil_format(m->part[i].date, date);
        snprintf(part, sizeof part, "%s.%s", date, m->part[i].table);
        pst_must(m->part[i].index);
        json_array_append_new(
            parts, json_pack("{s:s,s:s}", "part", part, "base", kit_str(m->part[i].index, "base")));
    }
    struct kit_event *e = kit_event(k, 2 * NS_PER_MS, KIT_MOVE);
    e->move = json_pack("{s:I,s:I,s:s,s:o}", "batch", (json_int_t)m->batch, "commit",
                        (json_int_t)m->commit, "key", m->key, "parts", parts);
}
static void kit_hold(void *arg, uint64_t batch, bool hold)
{
    struct kit *k = arg;
    kit_trace(k, hold ? "hold" : "release", batch);
    k->hold = hold;
}
static void kit_discard(void *arg, uint64_t batch, const char *key, uint64_t commit)
{
    struct kit *k = arg;
    (void)key;
    (void)commit;
    kit_trace(k, "discard", batch);
}
static void kit_finished(void *arg, uint64_t batch, const json_t *facts)
{
    struct kit *k = arg;
    char *text = json_dumps(facts, JSON_COMPACT);
    snprintf(k->last_facts, sizeof k->last_facts, "%s", text);
    free(text);
    kit_trace(k, "finished", batch);
    k->finished++;
}
static void kit_alarm(void *arg, enum loader_alarm code, const char *subject, bool raised,
                      const char *text)
{
    struct kit *k = arg;
    if (getenv("KIT_TRACE"))
        fprintf(stderr, "          alarm %d %s %d %s\n", code, subject, raised, text);
    kit_trace(k, raised ? "alarm" : "clear", code);
    if (raised) {
        k->alarms[code]++;
        k->raised[code]++;
    } else {
        pst_must(k->alarms[code]);
        k->alarms[code]--;
    }
}
static void kit_log(void *arg, const char *text)
{
    struct kit *k = arg;
    k->logs++;
    k->idle_lines += strstr(text, "nothing to run") != NULL;
    if (getenv("KIT_TRACE"))
        fprintf(stderr, "          log %s\n", text);
}
static bool kit_result(void *arg, const char *dir, json_t **result, struct err *err)
{
    return kit_check(arg, dir, false, result, err);
}
static json_t *kit_part_args(void *arg, const char *table, struct err *err)
{
    (void)arg;
    (void)err;
    return json_pack("{s:s}", "table", table);
}

/* ---- life ---- */

static bool kit_start(struct kit *k, struct err *err)
{
    const struct loader_hooks h = {.arg = k,
                                   .spawn = kit_spawn,
                                   .kill = kit_kill,
                                   .send = kit_send,
                                   .intern = kit_intern,
                                   .move = kit_move_hook,
                                   .hold = kit_hold,
                                   .discard = kit_discard,
                                   .part_args = kit_part_args,
                                   .finished = kit_finished,
                                   .alarm = kit_alarm,
                                   .log = kit_log,
                                   .result = kit_result,
                                   .deadline = k->deadline};
    k->io = sim_io(k->disk);
    k->other_io = sim_io(k->disk);
    k->c.io = k->io;
    snprintf(k->boot, sizeof k->boot, "boot-%u", k->boots);
    k->starts++;
    k->dead = false;
    memset(k->alarms, 0, sizeof k->alarms);
    k->l = loader_create(&k->c, &h, err);
    if (k->l)
        loader_memory(k->l, k->free_memory);
    return k->l != NULL;
}

/* The process is gone: its workers, what was in flight; not the deliveries. */
static void kit_stop(struct kit *k)
{
    loader_free(k->l);
    k->l = NULL;
    io_destroy(k->io);
    io_destroy(k->other_io);
    unsigned n = 0;
    for (unsigned i = 0; i < k->nevents; i++)
        if (k->event[i].kind == KIT_DELIVER || k->event[i].kind == KIT_EOD)
            k->event[n++] = k->event[i];
        else
            kit_event_free(&k->event[i]);
    k->nevents = n;
    for (unsigned w = 0; w < KIT_WORKERS; w++)
        k->worker[w] = (struct kit_worker){.generation = k->worker[w].generation + 1};
    k->running = 0;
    k->hold = 0;
}

static void kit_defaults(struct kit *k, uint64_t seed)
{
    *k = (struct kit){.seed = seed, .rng = seed * 2654435761u + 12345, .now = 10 * NS_PER_S};
    k->disk = sim_new(seed);
    k->disk->tick = 1000;
    struct io *io = sim_io(k->disk);
    static const char *const dirs[] = {"/state", KIT_STAGE, KIT_TMP,      KIT_HDB,
                                       KIT_SIDE, "/moved",  "/quarantine"};
    for (unsigned i = 0; i < PST_COUNT(dirs); i++) {
        io->ops->mkdir(io, dirs[i], 0700);
        io->ops->sync_dir(io, dirs[i]);
    }
    io->ops->sync_dir(io, "/");
    io_destroy(io);
    k->staging[0] = KIT_STAGE;
    k->free_memory = 8000000000ull;
    k->scale = 1;
    k->rule[0] = (struct loader_rule){.name = "parts", .by = LOAD_BY_COUNT, .match = "*of*.csv"};
    k->rule[1] = (struct loader_rule){.name = "single", .by = LOAD_BY_EACH, .match = "each*.csv"};
    k->file[0] =
        (struct loader_pattern){.match = "*.csv", .name = "csv", .recipe = "{\"format\":\"text\"}"};
    k->c = (struct loader_config){.instance = 0x1234,
                                  .boot = k->boot,
                                  .state_directory = "/state",
                                  .temporary = KIT_TMP,
                                  .staging = k->staging,
                                  .nstaging = 1,
                                  .workers = 3,
                                  .worker_memory = 1000000000,
                                  .file_size_limit = 4000000000ull,
                                  .memory_buffer = 1000000000,
                                  .retries = 3,
                                  .retry_backoff = 5 * NS_PER_S,
                                  .stuck_after = 60 * NS_PER_S,
                                  .nrules = 2,
                                  .rule = k->rule,
                                  .nfiles = 1,
                                  .file = k->file};
}

static void kit_end(struct kit *k)
{
    if (k->l)
        kit_stop(k);
    for (unsigned i = 0; i < k->nevents; i++)
        kit_event_free(&k->event[i]);
    k->nevents = 0;
    sim_free(k->disk);
}

/* ---- deliveries ---- */

static void kit_tell(struct kit *k, const char *name, enum load_watch_kind kind, bool old)
{
    char path[400];
    struct io_stat st = {0};
    snprintf(path, sizeof path, KIT_STAGE "/%s", name);
    if (kind != LOAD_GONE && k->other_io->ops->stat(k->other_io, path, &st) < 0)
        return;
    const struct load_watch_event e = {.kind = kind,
                                       .name = name,
                                       .size = st.size,
                                       .dev = st.dev,
                                       .ino = st.ino,
                                       .mtime = st.modified,
                                       .old = old};
    loader_file(k->l, &e);
}

/* Written, and durable: who delivers keeps it until then. */
static void kit_write(struct kit *k, const char *name, const char *text)
{
    char path[400], new[420];
    struct io *io = sim_io(k->disk);
    k->disk->now = k->now > k->disk->now ? k->now : k->disk->now + 1; /* mtime */
    snprintf(path, sizeof path, KIT_STAGE "/%s", name);
    snprintf(new, sizeof new, KIT_STAGE "/%s.tmp", name);
    pst_must(kit_put(io, new, text, strlen(text), true));
    io->ops->rename(io, new, path);
    io->ops->sync_dir(io, KIT_STAGE);
    io_destroy(io);
}
static void kit_deliver(struct kit *k, const char *name, const char *text)
{
    kit_write(k, name, text);
    kit_tell(k, name, LOAD_COMPLETE, false);
}
static void kit_deliver_at(struct kit *k, int64_t after, const char *name, const char *text)
{
    struct kit_event *e = kit_event(k, after, KIT_DELIVER);
    e->name = strdup(name);
    e->bytes = strdup(text);
}

static void kit_scan_one(void *arg, const char *name)
{
    kit_tell(arg, name, LOAD_COMPLETE, true);
}
static void kit_scan(struct kit *k)
{
    sim_each(k->disk, KIT_STAGE, kit_scan_one, k);
}

/* ---- time ---- */

static void kit_done(struct kit *k, const struct kit_event *e)
{
    json_t *o = json_loads(e->json, 0, NULL), *result = NULL;
    const char *task = kit_str(o, "task"), *why = "trouble";
    const json_t *args = json_object_get(o, "args");
    struct err err = {0};
    int code = 0;
    bool retryable = true;
    if (!strcmp(task, "read"))
        code = kit_read(k, args, &why);
    else if (!strcmp(task, "hash")) {
        char *p = kit_get(k->other_io, kit_str(args, "file")), hash[33];
        snprintf(hash, sizeof hash, "%032x", p ? crc32c(0, p, strlen(p)) : 0);
        code = p ? 0 : -ENOENT;
        result = json_pack("{s:s}", "hash", hash);
        free(p);
    } else if (!strcmp(task, "verify")) {
        code = kit_check(k, kit_str(args, "dir"), true, &result, &err) ? 0 : err.code;
        retryable = false;
    } else if (!strcmp(task, "index"))
        code = kit_index(k, args, &result, &why);
    else if (!strcmp(task, "merge"))
        code = kit_merge(k, args, &why);
    if (code == -EILSEQ || code == -EBADMSG)
        retryable = false;
    if (!code && strcmp(task, "refresh") != 0) {
        if (kit_chance(k, k->trouble.retry))
            code = -EIO, why = "input/output error";
        else if (kit_chance(k, k->trouble.space))
            code = -ENOSPC, why = "no space left on device";
        else if (!strcmp(task, "index") && kit_chance(k, k->trouble.stale))
            code = -ESTALE, why = "the partition was replaced";
    }
    if (k->trouble.hog && strstr(e->json, "hog"))
        k->worker[e->worker].full = true;
    if (k->worker[e->worker].full)
        code = -ENOMEM, why = "no memory", retryable = true;
    kit_busy(k, e->worker, false);
    if (k->watch)
        k->watch(k, "done", e->worker, o);
    loader_worker_done(k->l, e->worker, e->id, code, retryable, result, why, 50000000);
    json_decref(result);
    json_decref(o);
}

static void kit_happen(struct kit *k, struct kit_event *e)
{
    struct kit_worker *w = &k->worker[e->worker];
    bool mine = e->generation == w->generation;
    switch (e->kind) {
    case KIT_UP:
        if (mine) {
            w->live = true;
            w->full = false;
            loader_worker_up(k->l, e->worker, 1000 + (int)w->generation);
        }
        break;
    case KIT_DOWN:
        if (mine) {
            if (e->json && kit_random(k, 2)) { /* it had done part of its work, or all */
                json_t *o = json_loads(e->json, 0, NULL), *result = NULL;
                const char *why, *task = kit_str(o, "task");
                if (!strcmp(task, "read"))
                    kit_read(k, json_object_get(o, "args"), &why);
                else if (!strcmp(task, "index"))
                    kit_index(k, json_object_get(o, "args"), &result, &why);
                else if (!strcmp(task, "merge"))
                    kit_merge(k, json_object_get(o, "args"), &why);
                json_decref(result);
                json_decref(o);
            }
            w->live = false;
            kit_busy(k, e->worker, false);
            loader_worker_down(k->l, e->worker, "signal 9");
        }
        break;
    case KIT_BEAT:
        if (mine)
            loader_worker_beat(k->l, e->worker, e->id, 1, 1, 5000000000ull);
        break;
    case KIT_DONE:
        if (mine)
            kit_done(k, e);
        break;
    case KIT_INTERNED: {
        bool fails = kit_chance(k, k->trouble.intern_fails);
        loader_interned(k->l, e->id, fails ? -EIO : 0, true, "the ring is full");
        break;
    }
    case KIT_MOVE:
        kit_move(k, e->move);
        break;
    case KIT_DELIVER:
        kit_deliver(k, e->name, e->bytes);
        break;
    case KIT_EOD: { /* q's way of adding rows: the table is another one afterwards */
        char *text = kit_get(k->other_io, KIT_HDB "/2026.01.02.trade.sym");
        struct kit_text t = {0};
        if (k->hold) {
            free(text);
            break;
        }
        t.n = text ? strlen(text) : 0;
        t.p = text ? strdup(text) : NULL;
        kit_add(&t, "%s%" PRIu64 "\n", text ? "" : "commits -\n", 900000 + k->eods++);
        for (unsigned c = 0; c < 2; c++) {
            kit_put(k->other_io, KIT_HDB "/eod.new", t.p, t.n, true);
            k->other_io->ops->rename(k->other_io, KIT_HDB "/eod.new",
                                     c ? KIT_HDB "/2026.01.02.trade.price"
                                       : KIT_HDB "/2026.01.02.trade.sym");
        }
        k->other_io->ops->sync_dir(k->other_io, KIT_HDB);
        free(text);
        free(t.p);
        break;
    }
    }
}

/* One step: what is due, a tick, then on to the next instant. False: nothing is to come for `rest`.
 */
static bool kit_step(struct kit *k, int64_t rest)
{
    for (unsigned i = 0; i < k->nevents && !k->dead;) {
        if (k->event[i].at > k->now) {
            i++;
            continue;
        }
        struct kit_event e = k->event[i];
        memmove(&k->event[i], &k->event[i + 1], (--k->nevents - i) * sizeof e);
        kit_happen(k, &e);
        kit_event_free(&e);
    }
    if (k->dead)
        return true;
    int64_t next = loader_tick(k->l, k->now, 9500 * NS_PER_DAY + k->now);
    k->ticks++;
    for (unsigned i = 0; i < k->nevents; i++)
        next = k->event[i].at < next ? k->event[i].at : next;
    bool more = k->nevents != 0 || next <= k->now + rest;
    k->now = next > k->now ? next : k->now + 1000;
    return more;
}

/* Runs for that long. */
static void kit_run(struct kit *k, int64_t ns)
{
    int64_t end = k->now + ns;
    while (k->now < end && !k->dead)
        kit_step(k, NS_PER_S);
}

/* Until no batch is open and nothing gathers that could go on; false: it takes too long. */
static bool kit_idle(struct kit *k, int64_t most)
{
    int64_t end = k->now + most;
    struct loader_figures f;
    while (k->now < end && !k->dead) {
        kit_step(k, NS_PER_S);
        loader_figures(k->l, &f);
        bool coming = false;
        for (unsigned i = 0; i < k->nevents; i++)
            coming |= k->event[i].kind == KIT_DELIVER || k->event[i].kind == KIT_EOD;
        if (getenv("KIT_IDLE"))
            json_dumpf(loader_json(k->l, LOADER_BATCHES, true), stderr, 0),
                fprintf(stderr,
                        "idle? active %lu gathering %lu coming %d queued %lu processing %lu\n",
                        f.active, f.gathering, coming, f.queued, f.processing);
        if (!f.active && !f.gathering && !coming && !f.queued && !f.processing)
            return true;
    }
    return k->dead;
}

/* ---- what came of it ---- */

struct kit_rows {
    unsigned count[4000]; /* of each row, in both columns */
    uint64_t rows;
    struct kit *k;
    bool differ;
};
static void kit_count_one(void *arg, const char *name)
{
    struct kit_rows *r = arg;
    char path[400];
    size_t n = strlen(name);
    if (n < 4 || strcmp(name + n - 4, ".sym") != 0)
        return;
    uint64_t size = 0, other = 0;
    snprintf(path, sizeof path, KIT_HDB "/%s", name);
    char *p = (char *)sim_read(r->k->disk, path, &size);
    snprintf(path, sizeof path, KIT_HDB "/%.*s.price", (int)(n - 4), name);
    char *q = (char *)sim_read(r->k->disk, path, &other);
    r->differ |= !q || size != other || memcmp(p, q, size) != 0;
    p = realloc(p, size + 1);
    p[size] = 0;
    char *nl = strchr(p, '\n');
    for (char *line = nl ? strtok(nl + 1, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        unsigned long long row = strtoull(line, NULL, 10);
        if (row < PST_COUNT(r->count))
            r->count[row]++;
        r->rows++;
    }
    free(p);
    free(q);
}
static void kit_count(struct kit *k, struct kit_rows *r)
{
    memset(r, 0, sizeof *r);
    r->k = k;
    sim_each(k->disk, KIT_HDB, kit_count_one, r);
}
