/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader's orchestrator in a world of its own (loader_kit.h): what becomes of deliveries, in
 * peace, in trouble, and over crashes at every step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader_kit.h"

static void start(struct kit *k)
{
    struct err err = {0};
    if (!kit_start(k, &err))
        fail_msg("%s", err.text);
}

/* Rows first … first + n - 1 are there exactly once, no others but those of the day's end. */
static void assert_rows(struct kit *k, unsigned first, unsigned n)
{
    static struct kit_rows r;
    kit_count(k, &r);
    assert_false(r.differ);
    for (unsigned i = first; i < first + n; i++)
        if (r.count[i] != 1)
            fail_msg("seed %" PRIu64 ": row %u is there %u times", k->seed, i, r.count[i]);
    assert_int_equal(r.rows, n + k->eods);
}

/* n rows from `first` on, over two dates and two tables. */
static char *rows(unsigned first, unsigned n)
{
    struct kit_text t = {0};
    for (unsigned i = first; i < first + n; i++)
        kit_add(&t, "2026.01.0%u %s %u\n", 1 + i % 2, i % 3 ? "trade" : "quote", i);
    return t.p;
}
static void deliver(struct kit *k, const char *name, unsigned first, unsigned n)
{
    char *text = rows(first, n);
    kit_deliver(k, name, text);
    free(text);
}

static json_t *table(struct kit *k, enum loader_table t)
{
    json_t *o = loader_json(k->l, t, true);
    assert_non_null(o);
    return o;
}
/* Value of a column of the first row whose `key` column is `value`. */
static json_t *cell(struct kit *k, enum loader_table t, const char *key, const char *value,
                    const char *column)
{
    json_t *o = table(k, t), *r, *out = NULL;
    const struct loader_column *c = loader_columns(t);
    size_t i, ik = 0, ic = 0, n = 0;
    for (; c[n].name; n++) {
        ik = strcmp(c[n].name, key) ? ik : n;
        ic = strcmp(c[n].name, column) ? ic : n;
    }
    json_array_foreach(json_object_get(o, "rows"), i, r)
    {
        assert_int_equal(json_array_size(r), n);
        const json_t *v = json_array_get(r, ik);
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        if (!out && !strcmp(json_is_string(v) ? json_string_value(v) : text, value))
            out = json_incref(json_array_get(r, ic));
    }
    json_decref(o);
    if (!out)
        fail_msg("no %s %s in %s", key, value, loader_table_name(t));
    return out;
}
static void assert_cell(struct kit *k, enum loader_table t, const char *key, const char *value,
                        const char *column, const char *want)
{
    json_t *v = cell(k, t, key, value, column);
    char text[500];
    snprintf(text, sizeof text, "%s", json_is_string(v) ? json_string_value(v) : "");
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    json_decref(v);
    if (!strstr(text, want))
        fail_msg("%s %s: %s is '%s', not '%s'", key, value, column, text, want);
}
static bool exists(struct kit *k, const char *path)
{
    uint64_t n;
    uint8_t *p = sim_read(k->disk, path, &n);
    free(p);
    return p != NULL;
}
static void assert_file_says(struct kit *k, const char *path, const char *word)
{
    uint64_t n;
    char *p = (char *)sim_read(k->disk, path, &n);
    assert_non_null(p);
    p = realloc(p, n + 1);
    p[n] = 0;
    if (!strstr(p, word))
        fail_msg("%s says: %s", path, p);
    free(p);
}
static void count_name(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
}
static unsigned names_in(struct kit *k, const char *dir)
{
    unsigned n = 0;
    sim_each(k->disk, dir, count_name, &n);
    return n;
}

/* ---- in peace ---- */

/* The white paper's batch: three parts, several dates and tables, published once, under one commit
 * number; workers end with it; nothing is left. */
static void three_parts(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 1);
    start(&k);
    deliver(&k, "trades_1of3.csv", 0, 100);
    deliver(&k, "trades_3of3.csv", 150, 50);
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.reads, 0); /* it waits for the second */
    assert_cell(&k, LOADER_BATCHES, "batch", "trades_#of#.csv", "status", "gathering");
    assert_cell(&k, LOADER_FILES_SEEN, "file", "trades_2of3.csv", "status", "expected");
    deliver(&k, "trades_2of3.csv", 100, 50);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 200);
    assert_int_equal(k.reads, 3);
    assert_int_equal(k.moved, 1);
    assert_int_equal(k.finished, 1);
    /* tasks that were too short for a beat, too, say what they did */
    json_t *o = table(&k, LOADER_TASKS), *r;
    size_t i;
    unsigned reads = 0;
    uint64_t rows_read = 0;
    json_array_foreach(json_object_get(o, "rows"), i, r)
    {
        const struct loader_column *c = loader_columns(LOADER_TASKS);
        json_t *v = json_object();
        for (size_t n = 0; c[n].name; n++)
            json_object_set(v, c[n].name, json_array_get(r, n));
        if (!strcmp(json_string_value(json_object_get(v, "task")), "read")) {
            reads++;
            rows_read += (uint64_t)json_integer_value(json_object_get(v, "rows"));
            assert_true(json_integer_value(json_object_get(v, "bytes")) > 0);
        }
        json_decref(v);
    }
    json_decref(o);
    assert_int_equal(reads, 3);
    assert_int_equal(rows_read, 200);
    assert_non_null(strstr(k.last_facts, "\"rows\":200"));
    assert_non_null(strstr(k.last_facts, "\"dates\":[\"2026.01.01\",\"2026.01.02\"]"));
    assert_non_null(strstr(k.last_facts, "\"commit\":1"));
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "complete");
    assert_cell(&k, LOADER_FILES_SEEN, "file", "trades_2of3.csv", "status", "complete");
    assert_cell(&k, LOADER_TASKS, "task", "merge", "status", "complete");
    kit_run(&k, 2 * NS_PER_S);
    assert_int_equal(names_in(&k, KIT_TMP), 0);
    for (unsigned w = 0; w < 3; w++)
        assert_false(k.worker[w].live); /* recycled (ING-73) */
    kit_end(&k);
}

/* What a batch consists of: each worker is refreshed first, and again when `sym` has grown; reads
 * side by side, each into a directory of its own; one interning behind all of them; an index task a
 * table and date, its columns' merges behind it and beside each other; then the move (ING-18, 19,
 * 37, 42, 51, 54, 57, 58, 65, 69, GAP-13). */
#define STEPS_MORE 4u
static struct steps {
    unsigned generation[KIT_WORKERS], fresh[KIT_WORKERS]; /* 1 + interned batches; 0: not yet */
    unsigned refreshes, reads, read, interned, indexes, merges, merged, moves;
    unsigned beside; /* the most merges of one table that ran at once */
    char running[KIT_WORKERS][200];
    json_t *dirs, *indexed;
    char first[200];
} steps;

static void watch_steps(struct kit *k, const char *what, unsigned w, const json_t *o)
{
    const json_t *args = json_object_get(o, "args");
    const char *task = kit_str(o, "task"), *index = kit_str(args, "index");
    if (!strcmp(what, "intern")) {
        assert_int_equal(steps.read, 3);
        steps.interned++;
    } else if (!strcmp(what, "move")) {
        assert_int_equal(steps.merged, steps.indexes * (1 + STEPS_MORE));
        assert_int_equal(steps.merges, steps.merged);
        steps.moves++;
    } else if (!strcmp(what, "done")) {
        steps.read += !strcmp(task, "read");
        if (!strcmp(task, "merge"))
            steps.merged += (unsigned)json_array_size(json_object_get(args, "columns"));
        *steps.running[w] = 0;
        if (!strcmp(task, "index"))
            json_object_set_new(steps.indexed, index, json_true());
    } else {
        assert_int_equal(json_object_size(o), 3); /* no more than that: not its size */
        assert_true(json_is_object(args) && json_integer_value(json_object_get(o, "taskID")) > 0);
        if (steps.generation[w] != k->worker[w].generation)
            steps.fresh[w] = 0;
        steps.generation[w] = k->worker[w].generation;
        if (!strcmp(task, "refresh")) {
            steps.refreshes++;
            steps.fresh[w] = 1 + steps.interned;
            return;
        }
        assert_int_equal(steps.fresh[w], 1 + steps.interned);
        if (!strcmp(task, "read")) {
            const char *dir = kit_str(args, "dir");
            if (!steps.reads++)
                snprintf(steps.first, sizeof steps.first, "%s", kit_str(args, "file"));
            assert_true(*kit_str(args, "batch") && json_is_object(json_object_get(args, "recipe")));
            assert_int_equal(strncmp(dir, KIT_TMP "/", strlen(KIT_TMP) + 1), 0);
            assert_null(json_object_get(steps.dirs, dir));
            json_object_set_new(steps.dirs, dir, json_true());
            json_object_set_new(steps.dirs, kit_str(args, "file"), json_string(dir));
        } else if (!strcmp(task, "index")) {
            assert_int_equal(steps.interned, 1);
            for (unsigned i = 0; i < 3; i++) { /* in the order of parts, however they were read */
                char file[60];
                snprintf(file, sizeof file, KIT_STAGE "/trades_%uof3.csv", i + 1);
                assert_string_equal(
                    json_string_value(json_array_get(json_object_get(args, "files"), i)),
                    kit_str(steps.dirs, file));
            }
            assert_int_equal(json_array_size(json_object_get(args, "files")), 3);
            steps.indexes++;
        } else {
            unsigned n = 1;
            const json_t *c;
            size_t at;
            assert_string_equal(task, "merge");
            assert_non_null(json_object_get(steps.indexed, index));
            json_array_foreach(json_object_get(args, "columns"), at, c)
            { /* each column of each table once */
                char key[300];
                snprintf(key, sizeof key, "%s %s", index, json_string_value(c));
                assert_null(json_object_get(steps.dirs, key));
                json_object_set_new(steps.dirs, key, json_true());
                steps.merges++;
            }
            for (unsigned i = 0; i < KIT_WORKERS; i++)
                n += !strcmp(steps.running[i], index);
            steps.beside = n > steps.beside ? n : steps.beside;
            snprintf(steps.running[w], sizeof steps.running[w], "%s", index);
        }
    }
}

/* Rows of a table as objects. */
static json_t *objects(struct kit *k, enum loader_table t)
{
    json_t *o = table(k, t), *list = json_array(), *r;
    const struct loader_column *c = loader_columns(t);
    size_t i;
    json_array_foreach(json_object_get(o, "rows"), i, r)
    {
        json_t *x = json_object();
        for (size_t n = 0; c[n].name; n++)
            json_object_set(x, c[n].name, json_array_get(r, n));
        json_array_append_new(list, x);
    }
    json_decref(o);
    return list;
}
static const json_t *find(const json_t *list, const char *key, const char *value)
{
    const json_t *r;
    size_t i;
    json_array_foreach(list, i, r)
    {
        char text[32];
        const json_t *v = json_object_get(r, key);
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        if (!strcmp(json_is_string(v) ? json_string_value(v) : text, value))
            return r;
    }
    fail_msg("no %s %s", key, value);
    return NULL;
}
static int64_t number_of(const json_t *r, const char *name)
{
    if (!json_is_integer(json_object_get(r, name)))
        fail_msg("%s is no number", name);
    return json_integer_value(json_object_get(r, name));
}

/* ING-10, 38: a worker that has a task, and its task, say so of each other. */
static void assert_busy(struct kit *k, unsigned *seen)
{
    json_t *w = objects(k, LOADER_WORKERS), *t = objects(k, LOADER_TASKS), *r;
    size_t i;
    json_array_foreach(w, i, r)
    {
        char id[32];
        bool busy = !strcmp(kit_str(r, "status"), "busy");
        assert_int_equal(busy, json_is_integer(json_object_get(r, "taskID")));
        assert_int_equal(busy, k->worker[i].busy);
        if (!busy)
            continue;
        snprintf(id, sizeof id, "%lld", (long long)number_of(r, "taskID"));
        const json_t *task = find(t, "taskID", id);
        assert_string_equal(kit_str(task, "status"), "processing");
        assert_string_equal(kit_str(task, "task"), kit_str(r, "task"));
        assert_string_equal(kit_str(task, "worker"), kit_str(r, "worker"));
        assert_true(number_of(task, "startTime") > 0);
        assert_true(json_is_null(json_object_get(task, "endTime")) &&
                    json_is_null(json_object_get(task, "success")));
        ++*seen;
    }
    json_decref(w);
    json_decref(t);
}

/* Bytes of the rows first … end - 1 that are of a part, as texts. */
static int64_t part_bytes(unsigned end, unsigned date, bool trade, int64_t beside)
{
    int64_t n = 0;
    for (unsigned i = 0; i < end; i++)
        if (1 + i % 2 == date && (i % 3 != 0) == trade)
            n += beside + (i < 10 ? 2 : i < 100 ? 3 : 4);
    return n;
}

static void steps_of_a_batch(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    unsigned busy = 0, etas = 0;
    kit_defaults(&k, 71);
    steps = (struct steps){.dirs = json_object(), .indexed = json_object()};
    k.watch = watch_steps;
    k.scale = 1000000; /* so that sizes in MB are bytes here */
    k.more = STEPS_MORE;
    k.file[0].expansion = 1e6;
    k.file[0].recipe = "{\"format\":\"plugin\",\"read\":\"a.so:r\",\"post_read\":\"a.so:p\","
                       "\"save\":\"a.so:s\"}";
    start(&k);
    deliver(&k, "trades_2of3.csv", 100, 50);
    deliver(&k, "trades_1of3.csv", 0, 100);
    kit_run(&k, NS_PER_S / 10);
    json_t *list = objects(&k, LOADER_FILES_SEEN);
    const json_t *r = find(list, "file", "trades_3of3.csv"); /* ING-12 */
    assert_string_equal(kit_str(r, "status"), "expected");
    assert_string_equal(kit_str(r, "recipe"), "csv");
    assert_string_equal(kit_str(r, "readFunction"), "a.so:r");
    assert_string_equal(kit_str(r, "postRead"), "a.so:p");
    assert_string_equal(kit_str(r, "saveFunction"), "a.so:s");
    assert_string_equal(kit_str(r, "validationKey"),
                        kit_str(find(list, "file", "trades_1of3.csv"), "validationKey"));
    json_decref(list);
    assert_true(loader_pause(k.l, 0, &err));
    deliver(&k, "trades_3of3.csv", 150, 50);
    kit_run(&k, NS_PER_S / 10);
    json_t *p = loader_plan(k.l, NULL, 0, &err); /* the dry run says sizes and workers */
    assert_non_null(p);
    assert_int_equal(json_array_size(json_object_get(p, "files")), 3);
    r = find(json_object_get(p, "files"), "file", KIT_STAGE "/trades_1of3.csv");
    assert_int_equal(number_of(r, "estimate"), number_of(r, "size") * 1000000);
    int64_t size = number_of(r, "size");
    assert_int_equal(number_of(p, "budget"), 4200000000); /* 1.05, as memory is plenty */
    json_decref(p);
    assert_int_equal(k.sent, 0);
    assert_true(loader_resume(k.l, 0, &err));
    struct loader_figures f;
    do {
        kit_step(&k, NS_PER_S);
        assert_busy(&k, &busy);
        list = objects(&k, LOADER_BATCHES);
        r = find(list, "batchID", "1");
        double done = json_real_value(json_object_get(r, "progress"));
        assert_true(done >= 0 && done <= 1);
        etas += json_is_real(json_object_get(r, "eta"));
        json_decref(list);
        loader_figures(k.l, &f);
    } while (f.active && k.now < 100 * NS_PER_S);
    assert_rows(&k, 0, 200);
    assert_true(busy > 10 && etas > 5);
    assert_int_equal(steps.reads, 3);
    assert_string_equal(steps.first, KIT_STAGE "/trades_1of3.csv"); /* largest first */
    assert_int_equal(steps.interned, 1);
    assert_int_equal(steps.indexes, 4);
    assert_int_equal(steps.merges, 4 * (1 + STEPS_MORE));
    assert_int_equal(steps.moves, 1);
    assert_true(steps.refreshes >= 6);
    assert_int_equal(steps.beside, 3);
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.idle_lines, 1);
    /* ING-11, 30, 49, 57, LDR-01: what is left of it to look at */
    list = objects(&k, LOADER_TASKS);
    r = find(list, "args", KIT_STAGE "/trades_1of3.csv");
    assert_string_equal(kit_str(r, "status"), "complete");
    assert_true(json_is_true(json_object_get(r, "success")));
    assert_int_equal(number_of(r, "batchID"), 1);
    assert_int_equal(number_of(r, "taskSize"), size);
    assert_int_equal(number_of(r, "retries"), 0);
    assert_true(number_of(r, "startTime") > 0);
    assert_true(number_of(r, "endTime") > number_of(r, "startTime"));
    assert_string_equal(kit_str(r, "readFunction"), "a.so:r");
    assert_string_equal(kit_str(r, "postRead"), "a.so:p");
    assert_string_equal(kit_str(r, "saveFunction"), "a.so:s");
    assert_int_equal(strncmp(kit_str(r, "result"), KIT_TMP "/", strlen(KIT_TMP) + 1), 0);
    int64_t id = number_of(r, "taskID");
    for (unsigned i = 0; i < 4; i++) {
        char what[60];
        unsigned date = 1 + i / 2;
        const char *name = i % 2 ? "trade" : "quote";
        snprintf(what, sizeof what, "%s 2026.01.0%u", name, date);
        assert_int_equal(number_of(find(list, "args", what), "taskSize"),
                         part_bytes(200, date, i % 2, 8));
        /* a merge's is that of the columns that it holds; all have the same here */
        int64_t column = part_bytes(200, date, i % 2, 0) + (int64_t)strlen("commits 1 2\n");
        json_t *task;
        size_t at;
        unsigned merges = 0;
        json_array_foreach(list, at, task)
        {
            if (strcmp(kit_str(task, "task"), "merge") ||
                strncmp(kit_str(task, "args"), what, strlen(what)))
                continue;
            merges++;
            assert_true(number_of(task, "taskSize") >= column);
            assert_int_equal(number_of(task, "taskSize") % column, 0);
        }
        assert_in_range(merges, 3, 1 + STEPS_MORE);
    }
    json_decref(list);
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)id);
    list = objects(&k, LOADER_MEMORY);
    r = find(list, "taskID", text);
    assert_string_equal(kit_str(r, "task"), "read");
    assert_int_equal(*kit_str(r, "worker"), 'w');
    assert_int_equal(number_of(r, "taskSize"), size);
    assert_true(number_of(r, "end") > number_of(r, "start"));
    assert_true(json_real_value(json_object_get(r, "mb")) == 50);
    json_decref(list);
    list = objects(&k, LOADER_WORKERS);
    int64_t processed = 0;
    json_t *each;
    size_t i;
    json_array_foreach(list, i, each)
    {
        processed += number_of(each, "processed");
        assert_true(number_of(each, "lastTask") > 0);
    }
    assert_int_equal(processed, k.sent);
    json_decref(list);
    /* how long the next one takes is known now */
    deliver(&k, "next_1of2.csv", 200, 50);
    kit_run(&k, NS_PER_S / 10);
    p = loader_plan(k.l, NULL, 0, &err);
    assert_non_null(p);
    assert_true(json_number_value(json_object_get(p, "seconds")) > 0);
    json_decref(p);
    json_decref(steps.dirs);
    json_decref(steps.indexed);
    k.watch = NULL;
    kit_end(&k);
}

/* No symbols: nothing is appended (ING-54). */
static void no_symbols(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 72);
    start(&k);
    kit_deliver(&k, "i_1of1.csv", "");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "complete");
    assert_int_equal(k.interns, 0);
    deliver(&k, "j_1of1.csv", 0, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_int_equal(k.interns, 1);
    kit_end(&k);
}

/* The same with a second batch read meanwhile: publications in turn. */
static void two_batches(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 2);
    start(&k);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned p = 1; p <= 3; p++) {
            char name[40];
            snprintf(name, sizeof name, "b%u_%uof3.csv", i, p);
            deliver(&k, name, i * 300 + (p - 1) * 100, 100);
        }
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 600);
    assert_int_equal(k.moved, 2);
    assert_int_equal(loader_commits(k.l), 2);
    kit_end(&k);
}

/* A file for itself; files at the same time together; delivered again: nothing. */
static void each_and_again(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 3);
    start(&k);
    char name[40];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "each%u.csv", i);
        deliver(&k, name, i * 10, 10);
    }
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 500);
    assert_int_equal(k.moved, 1);
    struct loader_figures f;
    deliver(&k, "each7.csv", 70, 10); /* same content, new mtime: a hash decides */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 500);
    loader_figures(k.l, &f);
    assert_int_equal(f.redelivered, 1);
    assert_int_equal(k.reads, 50);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each7.csv", "status", "redelivered");
    deliver(&k, "each8.csv", 700, 9); /* other content: refused, with a reason */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 500);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each8.csv", "status", "refused");
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each8.csv", "why", "supersede");
    assert_file_says(&k, KIT_STAGE "/each8.csv.reason", "other content");
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 1);
    /* over a restart: all are known by size and mtime, none is read */
    kit_stop(&k);
    start(&k);
    kit_scan(&k);
    uint64_t sent = k.sent;
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 500);
    assert_int_equal(k.sent, sent);
    kit_end(&k);
}

/* A correction replaces the tables of its dates; not if others loaded into them. */
static void correction(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 4);
    k.rule[0].supersede = true;
    start(&k);
    deliver(&k, "c_1of2.csv", 0, 20);
    deliver(&k, "c_2of2.csv", 20, 20);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 40);
    deliver(&k, "c_2of2.csv", 20, 30); /* the first is there and unchanged: both are loaded */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 50);
    assert_int_equal(k.moved, 2);
    deliver(&k, "d_1of1.csv", 100, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_int_equal(k.moved, 2); /* d supersedes too, by its rule: c's rows would go */
    assert_cell(&k, LOADER_BATCHES, "batchID", "3", "status", "failed");
    assert_cell(&k, LOADER_BATCHES, "batchID", "3", "why", "another batch");
    assert_rows(&k, 0, 50);
    kit_end(&k);
}

static void trigger_and_manifest(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 5);
    k.rule[0] = (struct loader_rule){
        .name = "t", .by = LOAD_BY_TRIGGER, .match = "t_*.csv", .marker = ".done"};
    k.rule[1] = (struct loader_rule){
        .name = "m", .by = LOAD_BY_MANIFEST, .match = "m*.csv", .marker = "m_{batch}.md5"};
    start(&k);
    deliver(&k, "t_1.a.csv", 0, 10);
    deliver(&k, "t_1.b.csv", 10, 10);
    deliver(&k, "t_2.csv", 20, 10);
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.reads, 0);
    kit_deliver(&k, "t_1.done", "");
    assert_true(kit_idle(&k, 3 * NS_PER_S) || k.moved == 1);
    assert_rows(&k, 0, 20);
    /* a manifest: before its files, with checksums; one is wrong at first */
    char *a = rows(100, 10), *b = rows(110, 10), text[300];
    snprintf(text, sizeof text, "%032x  m1.csv\n%032x *m2.csv\n", crc32c(0, a, strlen(a)),
             crc32c(0, b, strlen(b)));
    kit_deliver(&k, "m_x.md5", text);
    kit_deliver(&k, "m1.csv", a);
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.moved, 1);
    kit_deliver(&k, "m2.csv", a);
    kit_run(&k, 10 * NS_PER_S);
    assert_cell(&k, LOADER_BATCHES, "batchID", "2", "status", "failed");
    assert_cell(&k, LOADER_BATCHES, "batchID", "2", "why", "md5");
    assert_file_says(&k, KIT_STAGE "/m2.csv.reason", "md5");
    assert_rows(&k, 0, 20);
    kit_deliver(&k, "m2.csv", b); /* the right one: the batch gathers again */
    kit_run(&k, 10 * NS_PER_S);
    assert_int_equal(k.moved, 2);
    static struct kit_rows r;
    kit_count(&k, &r);
    assert_int_equal(r.rows, 40);
    assert_false(exists(&k, KIT_STAGE "/m2.csv.reason"));
    /* the manifest itself is wrong: the right one brings the quarantined file back */
    char *c = rows(120, 10), *d = rows(130, 10);
    kit_deliver(&k, "m3.csv", c);
    kit_deliver(&k, "m4.csv", d);
    snprintf(text, sizeof text, "%032x  m3.csv\n%032x  m4.csv\n%032x  m5.csv\n",
             crc32c(0, c, strlen(c)), crc32c(0, c, strlen(c)), crc32c(0, b, strlen(b)));
    kit_deliver(&k, "m_y.md5", text);
    kit_run(&k, 2 * NS_PER_S);
    assert_cell(&k, LOADER_BATCHES, "batch", "y", "why", "2 of 3 files");
    assert_cell(&k, LOADER_BATCHES, "batch", "y", "why", "m5.csv is not there");
    *strstr(text, "m5.csv") = 0;
    text[strlen(text) - 34] = 0;
    kit_deliver(&k, "m_y.md5", text);
    kit_run(&k, 10 * NS_PER_S);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "m4.csv", "status", "quarantined");
    snprintf(text, sizeof text, "%032x  m3.csv\n%032x  m4.csv\n", crc32c(0, c, strlen(c)),
             crc32c(0, d, strlen(d)));
    kit_deliver(&k, "m_y.md5", text);
    kit_run(&k, 10 * NS_PER_S);
    assert_int_equal(k.moved, 3);
    kit_count(&k, &r);
    assert_int_equal(r.rows, 60);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "m4.csv", "rows", "10");
    free(a);
    free(b);
    free(c);
    free(d);
    kit_end(&k);
}

/* Parts that contradict each other, are there twice, or never come. */
static void bad_batches(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 6);
    k.rule[0].match = "{batch}_{i}of{M}*.csv";
    k.rule[0].gather_timeout = 600 * NS_PER_S;
    start(&k);
    deliver(&k, "x_1of3.csv", 0, 10);
    deliver(&k, "x_2of4.csv", 10, 10);
    deliver(&k, "y_1of2.csv", 20, 10);
    deliver(&k, "y_1of2b.csv", 30, 10);
    deliver(&k, "z_2of2.csv", 40, 10);
    deliver(&k, "w_5of2.csv", 50, 10);
    kit_run(&k, 2 * NS_PER_S);
    assert_cell(&k, LOADER_BATCHES, "batch", "x", "why", "disagree");
    assert_cell(&k, LOADER_BATCHES, "batch", "y", "why", "twice");
    assert_cell(&k, LOADER_FILES_SEEN, "file", "w_5of2.csv", "why", "part 5 of 2");
    assert_int_equal(k.alarms[LOADER_ALARM_GATHER], 2);
    kit_run(&k, 700 * NS_PER_S);
    assert_int_equal(k.reads, 0);
    assert_cell(&k, LOADER_BATCHES, "batch", "z", "status", "failed");
    assert_cell(&k, LOADER_BATCHES, "batch", "z", "why", "missing 1");
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 3);
    deliver(&k, "z_1of2.csv", 60, 10); /* the late part */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    static struct kit_rows r;
    kit_count(&k, &r);
    assert_int_equal(r.rows, 20);
    kit_end(&k);
}

/* ---- in trouble ---- */

/* A bad file: retried never, quarantined with its reason; the batch fails whole, or goes on. */
static void bad_file(void **state)
{
    (void)state;
    for (unsigned partial = 0; partial < 2; partial++) {
        struct kit k;
        kit_defaults(&k, 7);
        k.trouble.bad = true;
        k.rule[0].partial = partial;
        start(&k);
        deliver(&k, "p_1of3.csv", 0, 10);
        kit_deliver(&k, "p_2of3.csv", "BAD\n");
        deliver(&k, "p_3of3.csv", 20, 10);
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", partial ? "partial" : "failed");
        assert_cell(&k, LOADER_FILES_SEEN, "file", "p_2of3.csv", "status", "quarantined");
        assert_file_says(&k, KIT_STAGE "/p_2of3.csv.reason", "BAD is no date");
        assert_true(exists(&k, KIT_STAGE "/p_1of3.csv"));
        static struct kit_rows r;
        kit_count(&k, &r);
        assert_int_equal(r.rows, partial ? 20 : 0);
        kit_run(&k, 2 * NS_PER_S);
        assert_int_equal(names_in(&k, KIT_TMP), 0);
        /* over a restart it stays as it is */
        kit_stop(&k);
        start(&k);
        kit_scan(&k);
        uint64_t reads = k.reads;
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_int_equal(k.reads, reads);
        assert_cell(&k, LOADER_FILES_SEEN, "file", "p_2of3.csv", "status", "quarantined");
        /* the verb: in vain, the file is what it is */
        struct err err = {0};
        assert_true(loader_retry(k.l, "p_2of3.csv", &err));
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_int_equal(k.reads > reads, true);
        /* the corrected file: the rest of the batch is there */
        deliver(&k, "p_2of3.csv", 10, 10);
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_rows(&k, 0, 30);
        assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 0);
        kit_end(&k);
    }
}

/* A failed batch whose files nobody has: cancel gives it up, also over a restart. */
static void given_up(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 8);
    k.trouble.bad = true;
    start(&k);
    kit_deliver(&k, "q_1of1.csv", "BAD\n");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "failed");
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 1);
    kit_tell(&k, "q_1of1.csv", LOAD_GONE, false);
    kit_run(&k, NS_PER_S);
    assert_false(loader_retry(k.l, "1", &err));
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 1);
    assert_true(loader_cancel(k.l, 1, &err));
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 0);
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 0);
    kit_stop(&k);
    start(&k);
    kit_run(&k, NS_PER_S);
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "cancelled");
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "why", "it had failed: ");
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 0);
    assert_false(loader_cancel(k.l, 1, &err));
    /* files that a batch went on without, and that are gone: the same */
    k.rule[0].partial = true;
    deliver(&k, "r_1of2.csv", 0, 10);
    kit_deliver(&k, "r_2of2.csv", "BAD\n");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batchID", "2", "status", "partial");
    assert_false(loader_cancel(k.l, 2, &err)); /* it is in staging: it is that, or goes */
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 1);
    kit_end(&k);
}

/* Files that stand for themselves: what one of them did is no news about another; the batch is
 * named after them; a name that JSON cannot hold is told as such. */
static void each_for_itself(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 21);
    k.c.nrules = 0;
    k.trouble.bad = true;
    start(&k);
    kit_deliver(&k, "one.csv", "BAD\n");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batch", "one.csv", "status", "failed");
    assert_true(k.raised[LOADER_ALARM_BATCH]);
    uint64_t raised = k.alarms[LOADER_ALARM_BATCH];
    deliver(&k, "two.csv", 0, 10);
    deliver(&k, "bad\xff.csv", 20, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batch", "two.csv", "status", "complete");
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], raised); /* two is no news about one */
    assert_cell(&k, LOADER_FILES_SEEN, "status", "unmatched", "why", "not UTF-8");
    deliver(&k, "one.csv", 10, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_int_equal(k.alarms[LOADER_ALARM_BATCH], 0);
    assert_rows(&k, 0, 20);
    kit_end(&k);
}

/* Errors that pass: doubled waits, then it is done; errors that do not: quarantine after `retries`.
 */
static void retries(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 8);
    k.trouble.retry = 1000;
    start(&k);
    deliver(&k, "r_1of1.csv", 0, 10);
    int64_t from = k.now;
    while (!k.raised[LOADER_ALARM_QUARANTINE] && k.now < from + 1000 * NS_PER_S)
        kit_step(&k, NS_PER_S);
    assert_int_equal(k.reads, 4);
    assert_in_range(k.now - from, 35 * NS_PER_S, 38 * NS_PER_S); /* 5 + 10 + 20 */
    assert_cell(&k, LOADER_TASKS, "task", "read", "status", "quarantined");
    assert_cell(&k, LOADER_TASKS, "task", "read", "retries", "3");
    kit_end(&k);
}

/* A full disk waits for people, costs no attempt, and nothing new begins meanwhile. */
static void full_disk(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 9);
    k.trouble.space = 1000;
    start(&k);
    deliver(&k, "s_1of1.csv", 0, 10);
    kit_run(&k, 600 * NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_SPACE], 1);
    assert_in_range(k.reads, 10, 20);
    json_t *s = loader_status(k.l);
    assert_string_equal(json_string_value(json_object_get(s, "state")), "waiting");
    json_decref(s);
    k.trouble.space = 0;
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_int_equal(k.alarms[LOADER_ALARM_SPACE], 0);
    kit_end(&k);
}

/* Stuck and swollen workers are killed; it costs a retry and nothing else. */
static void bad_workers(void **state)
{
    (void)state;
    struct kit k;
    for (unsigned kind = 0; kind < 3; kind++) {
        kit_defaults(&k, 10 + kind);
        *(kind == 0 ? &k.trouble.stuck : kind == 1 ? &k.trouble.bloat : &k.trouble.crash) = 1000;
        start(&k);
        deliver(&k, "q_1of1.csv", 0, 10);
        while (k.spawned < 3 && k.now < 1000 * NS_PER_S)
            kit_step(&k, NS_PER_S);
        k.trouble = (struct kit_trouble){0};
        assert_true(kit_idle(&k, 1000 * NS_PER_S));
        assert_rows(&k, 0, 10);
        struct loader_figures f;
        loader_figures(k.l, &f);
        assert_true(f.workers_lost >= 2);
        kit_end(&k);
    }
    /* workers that do not start: tried ever more rarely, with an alarm */
    kit_defaults(&k, 20);
    k.trouble.no_start = 1000;
    start(&k);
    deliver(&k, "q_1of1.csv", 0, 10);
    kit_run(&k, 600 * NS_PER_S);
    assert_true(k.alarms[LOADER_ALARM_WORKER] > 0);
    assert_in_range(k.spawned, 10, 60);
    k.trouble.no_start = 0;
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    kit_run(&k, 2 * NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_WORKER], 0);
    kit_end(&k);
}

/* A process that has run out of memory is not asked again: the file that filled it is quarantined,
 * and nothing else is lost. */
static void full_workers(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 29);
    k.trouble.hog = true;
    k.c.workers = 1;
    start(&k);
    deliver(&k, "each_1.csv", 0, 30);
    deliver(&k, "each_hog.csv", 30, 30);
    assert_true(kit_idle(&k, 1000 * NS_PER_S));
    assert_rows(&k, 0, 30);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each_hog.csv", "status", "quarantined");
    kit_end(&k);
}

/* Somebody else writes the partition again and again: the writer is held, then it gets in. */
static void stale(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 30);
    start(&k);
    for (unsigned i = 0; i < 4000; i++)
        kit_event(&k, NS_PER_MS * 20 * (int64_t)i, KIT_EOD);
    deliver(&k, "e_1of1.csv", 0, 30);
    kit_run(&k, 100 * NS_PER_S);
    assert_int_equal(k.moved, 1);
    assert_false(k.hold);
    struct loader_figures f;
    loader_figures(k.l, &f);
    assert_in_range(f.stale, 1, 6);
    assert_rows(&k, 0, 30);
    kit_end(&k);
}

/* Cancelled: nothing in the database, no temporaries, its files where they were; then again. */
static void cancel_pause(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 31);
    start(&k);
    assert_true(loader_pause(k.l, 0, &err));
    deliver(&k, "k_1of2.csv", 0, 10);
    deliver(&k, "k_2of2.csv", 10, 10);
    kit_run(&k, 10 * NS_PER_S);
    assert_int_equal(k.reads, 0);
    kit_stop(&k); /* paused it stays */
    start(&k);
    kit_scan(&k);
    kit_run(&k, 10 * NS_PER_S);
    assert_int_equal(k.reads, 0);
    assert_true(loader_resume(k.l, 0, &err));
    while (k.reads < 1)
        kit_step(&k, NS_PER_S);
    assert_true(loader_cancel(k.l, 1, &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    kit_run(&k, 2 * NS_PER_S);
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "cancelled");
    assert_int_equal(names_in(&k, KIT_TMP), 0);
    assert_int_equal(names_in(&k, KIT_HDB), 0);
    assert_int_equal(names_in(&k, KIT_STAGE), 2);
    assert_false(loader_cancel(k.l, 1, &err));
    assert_true(loader_retry(k.l, "1", &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 20);
    kit_end(&k);
}

/* By hand, from elsewhere; the same file again is known by its content. */
static void by_hand(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    uint64_t id = 0;
    kit_defaults(&k, 32);
    start(&k);
    char *text = rows(0, 10);
    kit_put(k.other_io, "/moved/a.csv", text, strlen(text), true);
    kit_put(k.other_io, "/quarantine/a.csv", text, strlen(text), true);
    free(text);
    const char *a[] = {"/moved/a.csv"}, *b[] = {"/quarantine/a.csv"}, *c[] = {"/moved/none.csv"};
    assert_false(loader_add(k.l, &(struct loader_add){.n = 1, .path = c}, &id, &err));
    assert_true(
        loader_add(k.l, &(struct loader_add){.n = 1, .path = a, .name = "mine"}, &id, &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_true(loader_add(k.l, &(struct loader_add){.n = 1, .path = b}, &id, &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_int_equal(loader_find(k.l, "mine"), 1);
    kit_end(&k);
}

static void finished_files(void **state)
{
    (void)state;
    struct kit k;
    for (unsigned del = 0; del < 2; del++) {
        kit_defaults(&k, 33);
        k.c.finished = del ? LOADER_DELETE : LOADER_MOVE;
        k.c.finished_directory = "/moved";
        start(&k);
        deliver(&k, "f_1of2.csv", 0, 10);
        deliver(&k, "f_2of2.csv", 10, 10);
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_int_equal(names_in(&k, KIT_STAGE), 0);
        assert_int_equal(names_in(&k, "/moved"), del ? 0 : 2);
        kit_tell(&k, "f_1of2.csv", LOAD_GONE, false);
        kit_tell(&k, "f_2of2.csv", LOAD_GONE, false);
        deliver(&k, "f_2of2.csv", 10, 10); /* again: no-op, and it goes as well */
        assert_true(kit_idle(&k, 100 * NS_PER_S));
        assert_rows(&k, 0, 20);
        assert_int_equal(names_in(&k, KIT_STAGE), 0);
        /* cannot go: an alarm, and it is tried again */
        deliver(&k, "h_3of3.csv", 20, 10);
        deliver(&k, "h_1of3.csv", 30, 10);
        deliver(&k, "h_2of3.csv", 40, 10);
        sim_fault_add(k.disk, &(struct sim_fault){.ops = 1u << (del ? SIM_UNLINK : SIM_RENAME),
                                                  .path = KIT_STAGE "/h_3",
                                                  .times = SIM_EVER,
                                                  .kind = SIM_FAIL,
                                                  .error = EROFS});
        kit_run(&k, 60 * NS_PER_S);
        assert_rows(&k, 0, 50);
        assert_int_equal(names_in(&k, KIT_STAGE), 1);
        assert_int_equal(k.alarms[LOADER_ALARM_FINISH], 1);
        sim_fault_clear(k.disk);
        kit_run(&k, 30 * NS_PER_S);
        assert_int_equal(names_in(&k, KIT_STAGE), 0);
        assert_int_equal(k.alarms[LOADER_ALARM_FINISH], 0);
        kit_end(&k);
    }
}

/* The manifest cannot be written: no hook is called, an alarm; then it goes on. */
static void manifest_fails(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 34);
    start(&k);
    kit_run(&k, NS_PER_S);
    sim_fault_add(k.disk, &(struct sim_fault){.ops = SIM_ANY_SYNC | SIM_ANY_WRITE,
                                              .path = "/state",
                                              .times = SIM_EVER,
                                              .kind = SIM_FAIL,
                                              .error = ENOSPC});
    deliver(&k, "n_1of1.csv", 0, 10);
    kit_run(&k, 30 * NS_PER_S);
    assert_int_equal(k.spawned, 0);
    assert_int_equal(k.alarms[LOADER_ALARM_MANIFEST], 1);
    sim_fault_clear(k.disk);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_int_equal(k.alarms[LOADER_ALARM_MANIFEST], 0);
    kit_end(&k);
}

/* ---- who comes first, and how many at once ---- */

static int64_t deadline_of(void *arg, unsigned rule, int64_t begun)
{
    (void)arg;
    return rule == 2 ? begun + 3600 * NS_PER_S : 0;
}

/* Commit numbers of the batches by name: a of no priority, b of a higher one, c with a deadline. */
static void priority_and_deadline(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 60);
    k.c.nrules = 3;
    k.rule[0] = (struct loader_rule){.name = "a", .by = LOAD_BY_COUNT, .match = "a*of*.csv"};
    k.rule[1] =
        (struct loader_rule){.name = "b", .by = LOAD_BY_COUNT, .match = "b*of*.csv", .priority = 5};
    k.rule[2] = (struct loader_rule){.name = "c", .by = LOAD_BY_COUNT, .match = "c*of*.csv"};
    k.deadline = deadline_of;
    start(&k);
    assert_true(loader_pause(k.l, 0, &err));
    deliver(&k, "a_1of1.csv", 0, 10);
    kit_run(&k, NS_PER_S / 10);
    deliver(&k, "c_1of1.csv", 10, 10);
    kit_run(&k, NS_PER_S / 10);
    deliver(&k, "b_1of1.csv", 20, 10);
    kit_run(&k, NS_PER_S / 10);
    assert_true(loader_resume(k.l, 0, &err));
    /* all are read before the first goes on: then the order is that of urgency */
    k.slow_intern = NS_PER_S;
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 30);
    json_t *a = cell(&k, LOADER_BATCHES, "batch", "a_#of#.csv", "commit"),
           *b = cell(&k, LOADER_BATCHES, "batch", "b_#of#.csv", "commit"),
           *c = cell(&k, LOADER_BATCHES, "batch", "c_#of#.csv", "commit");
    assert_true(json_integer_value(b) < json_integer_value(a) ||
                json_integer_value(c) < json_integer_value(a));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    /* what cannot be in time is said before, and what was late after */
    assert_true(loader_pause(k.l, 0, &err));
    deliver(&k, "c2_1of1.csv", 30, 10);
    kit_run(&k, 1800 * NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_DEADLINE], 0);
    kit_run(&k, 1900 * NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_DEADLINE], 1);
    assert_true(loader_resume(k.l, 0, &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_int_equal(k.alarms[LOADER_ALARM_DEADLINE], 1);
    kit_run(&k, 4000 * NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_DEADLINE], 0);
    kit_end(&k);
}

/* One worker: the order is exact. Priority, then the nearer deadline, then who came first. */
static void urgency(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    static const char *const names[] = {"a_1of1.csv", "d_1of1.csv", "c_1of1.csv", "b_1of1.csv"};
    kit_defaults(&k, 73);
    k.c.workers = 1;
    k.c.nrules = 4;
    for (unsigned i = 0; i < 4; i++) {
        static const char *const match[] = {"a*of*.csv", "b*of*.csv", "c*of*.csv", "d*of*.csv"};
        k.rule[i] = (struct loader_rule){.name = match[i], .by = LOAD_BY_COUNT, .match = match[i]};
    }
    k.rule[1].priority = 5;
    k.deadline = deadline_of;
    start(&k);
    assert_true(loader_pause(k.l, 0, &err));
    for (unsigned i = 0; i < 4; i++) {
        deliver(&k, names[i], i * 10, 10);
        kit_run(&k, NS_PER_S / 10);
    }
    assert_true(loader_resume(k.l, 0, &err));
    k.slow_intern = NS_PER_S;
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 40);
    assert_cell(&k, LOADER_BATCHES, "batch", "b_#of#.csv", "commit", "1");
    assert_cell(&k, LOADER_BATCHES, "batch", "c_#of#.csv", "commit", "2");
    assert_cell(&k, LOADER_BATCHES, "batch", "a_#of#.csv", "commit", "3");
    assert_cell(&k, LOADER_BATCHES, "batch", "d_#of#.csv", "commit", "4");
    kit_end(&k);
}

/* DIF-14, GAP-22: urgent batches for ever, more than can be published: the other one gets in when
 * it has waited as long as its lower priority is worth, not before. */
static void patience(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 68);
    k.c.nrules = 2;
    k.rule[0] = (struct loader_rule){.name = "a", .by = LOAD_BY_COUNT, .match = "a*of*.csv"};
    k.rule[1] =
        (struct loader_rule){.name = "b", .by = LOAD_BY_COUNT, .match = "b*of*.csv", .priority = 1};
    k.slow_intern = 30 * NS_PER_S;
    start(&k);
    char name[40];
    unsigned n = 0;
    deliver(&k, "b_first_1of1.csv", 0, 2);
    deliver(&k, "b_second_1of1.csv", 2, 2);
    deliver(&k, "a_1of1.csv", 10, 2);
    int64_t from = k.now, at = 0;
    while (!at && k.now < from + 2000 * NS_PER_S) {
        snprintf(name, sizeof name, "b%u_1of1.csv", n);
        deliver(&k, name, 100 + 2 * n++, 2);
        kit_run(&k, 20 * NS_PER_S);
        json_t *s = cell(&k, LOADER_BATCHES, "batch", "a_#of#.csv", "status");
        if (!strcmp(json_string_value(s), "complete"))
            at = k.now - from;
        json_decref(s);
    }
    assert_in_range(at, 590 * NS_PER_S, 720 * NS_PER_S);
    kit_end(&k);
}

/* ING-29, ING-31: too little memory: nothing; little: what fits; a file beyond it: alone. */
static void memory_limits(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 61);
    k.c.throttle = 1000000;
    k.c.memory_buffer = 1000000;
    k.c.file_size_limit = 700; /* bytes: a part below has about 500 */
    k.free_memory = 500000;
    start(&k);
    for (unsigned i = 1; i <= 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "m_%uof4.csv", i);
        deliver(&k, name, i * 30, i == 4 ? 90 : 25);
    }
    kit_run(&k, 30 * NS_PER_S);
    assert_int_equal(k.sent, 0);
    assert_int_equal(k.alarms[LOADER_ALARM_THROTTLE], 1);
    k.free_memory = 1500000;
    loader_memory(k.l, k.free_memory);
    int64_t end = k.now + 100 * NS_PER_S;
    unsigned most = 0;
    while (k.reads < 4 && k.now < end) {
        kit_step(&k, NS_PER_S);
        unsigned reading = 0;
        for (unsigned w = 0; w < 3; w++)
            reading += k.worker[w].busy && k.worker[w].reads;
        most = reading > most ? reading : most;
    }
    assert_int_equal(k.reads, 4);
    assert_int_equal(most, 1); /* two do not fit */
    assert_int_equal(k.alarms[LOADER_ALARM_THROTTLE], 0);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    kit_end(&k);
}

/* ING-23: neighbours to the same worker, however busy it is. */
static void fixed_workers(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 62);
    k.c.fixed = true;
    k.c.workers = 2;
    start(&k);
    for (unsigned i = 1; i <= 6; i++) {
        char name[40];
        snprintf(name, sizeof name, "s_%uof6.csv", i);
        deliver(&k, name, i * 10, 10);
    }
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 10, 60);
    for (unsigned i = 1; i <= 6; i++) {
        char name[60];
        snprintf(name, sizeof name, KIT_STAGE "/s_%uof6.csv", i);
        assert_cell(&k, LOADER_TASKS, "args", name, "worker", i <= 3 ? "w0" : "w1");
    }
    kit_end(&k);
}

/* A paused batch lets others pass, and comes when it may. */
static void paused_turn(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 63);
    start(&k);
    deliver(&k, "a_1of1.csv", 0, 20);
    while (loader_commits(k.l) < 1)
        kit_step(&k, NS_PER_S);
    kit_run(&k, 20 * NS_PER_MS);
    assert_true(loader_pause(k.l, 1, &err));
    deliver(&k, "b_1of1.csv", 20, 20);
    kit_run(&k, 30 * NS_PER_S);
    assert_int_equal(k.moved, 1);
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "status", "paused");
    assert_cell(&k, LOADER_BATCHES, "batchID", "2", "status", "complete");
    assert_true(loader_resume(k.l, 1, &err));
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 40);
    assert_cell(&k, LOADER_BATCHES, "batchID", "1", "commit", "3");
    kit_end(&k);
}

static void new_files_only(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 64);
    k.c.newly_only = true;
    char *text = rows(0, 10);
    kit_write(&k, "each_old.csv", text);
    free(text);
    start(&k);
    kit_scan(&k);
    deliver(&k, "each_new.csv", 10, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 10, 10);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each_old.csv", "status", "ignored");
    assert_true(loader_retry(k.l, "each_old.csv", &err)); /* when asked for */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 20);
    kit_end(&k);
}

static void quarantine_directory(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 65);
    k.trouble.bad = true;
    k.c.quarantine_directory = "/quarantine";
    start(&k);
    kit_deliver(&k, "each_bad.csv", "BAD\n");
    deliver(&k, "each_good.csv", 0, 10); /* at the same time: it goes in */
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_false(exists(&k, KIT_STAGE "/each_bad.csv"));
    assert_true(exists(&k, "/quarantine/each_bad.csv"));
    assert_file_says(&k, "/quarantine/each_bad.csv.reason", "BAD is no date");
    kit_tell(&k, "each_bad.csv", LOAD_GONE, false);
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 1);
    /* what is in no staging directory is told too; nobody will deliver it: given up */
    struct err err = {0};
    json_t *status = loader_status(k.l);
    const json_t *list = json_object_get(status, "trouble");
    assert_int_equal(json_array_size(list), 1);
    assert_non_null(strstr(json_string_value(json_array_get(list, 0)), "each_bad.csv: batch 1: "));
    json_decref(status);
    assert_true(loader_cancel(k.l, 1, &err));
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 0);
    assert_false(loader_cancel(k.l, 1, &err));
    deliver(&k, "each_bad.csv", 10, 10);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 20);
    kit_run(&k, NS_PER_S);
    assert_int_equal(k.alarms[LOADER_ALARM_QUARANTINE], 0);
    kit_end(&k);
}

/* Files that grow, links, names that nothing matches, files that go. */
static void odd_files(void **state)
{
    (void)state;
    struct kit k;
    kit_defaults(&k, 66);
    start(&k);
    char *text = rows(0, 10);
    kit_write(&k, "g_1of1.csv", text);
    kit_tell(&k, "g_1of1.csv", LOAD_SEEN, false);
    kit_run(&k, 10 * NS_PER_S);
    assert_int_equal(k.reads, 0);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "g_1of1.csv", "status", "growing");
    kit_tell(&k, "g_1of1.csv", LOAD_COMPLETE, false);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    kit_deliver(&k, "readme.txt", "hello");
    kit_deliver(&k, "nobody.csv", "hello");
    kit_run(&k, NS_PER_S);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "readme.txt", "why", "load.batches");
    const struct load_watch_event link = {
        .kind = LOAD_REFUSED, .name = "each.csv", .why = "a link"};
    loader_file(k.l, &link);
    assert_cell(&k, LOADER_FILES_SEEN, "file", "each.csv", "why", "a link");
    /* it goes before it is read */
    struct err err = {0};
    loader_pause(k.l, 0, &err);
    deliver(&k, "h_1of1.csv", 10, 10);
    kit_run(&k, NS_PER_S);
    k.other_io->ops->unlink(k.other_io, KIT_STAGE "/h_1of1.csv");
    kit_tell(&k, "h_1of1.csv", LOAD_GONE, false);
    loader_resume(k.l, 0, &err);
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 10);
    assert_cell(&k, LOADER_BATCHES, "batchID", "2", "status", "failed");
    /* an empty one is a batch without rows, and no commit */
    kit_deliver(&k, "i_1of1.csv", "");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_cell(&k, LOADER_BATCHES, "batchID", "3", "status", "complete");
    assert_int_equal(loader_commits(k.l), 1);
    /* rows that were put aside lie beside the file */
    kit_deliver(&k, "j_1of1.csv", "2026.01.01 trade 10\nREJECT\n");
    assert_true(kit_idle(&k, 100 * NS_PER_S));
    assert_rows(&k, 0, 11);
    assert_file_says(&k, KIT_STAGE "/j_1of1.csv.rejects", "bad");
    assert_non_null(strstr(k.last_facts, "\"rejected\":1"));
    free(text);
    kit_end(&k);
}

/* Every table's rows have the columns that it says, with their types; the dry run. */
static void shown(void **state)
{
    (void)state;
    struct kit k;
    struct err err = {0};
    kit_defaults(&k, 67);
    k.trouble = (struct kit_trouble){.crash = 100, .retry = 100, .bad = true};
    start(&k);
    deliver(&k, "a_1of2.csv", 0, 10);
    deliver(&k, "b_1of1.csv", 10, 10);
    kit_deliver(&k, "each.csv", "BAD\n");
    for (unsigned turn = 0; turn < 300; turn++) {
        for (unsigned t = 0; t < LOADER_TABLES; t++) {
            const struct loader_column *c = loader_columns((enum loader_table)t);
            json_t *o = loader_json(k.l, (enum loader_table)t, turn % 2), *r, *v;
            size_t i, n;
            json_array_foreach(json_object_get(o, "rows"), i, r)
            {
                json_array_foreach(r, n, v)
                {
                    assert_non_null(c[n].name);
                    bool fits = json_is_null(v) || (strchr("jp", c[n].type)   ? json_is_integer(v)
                                                    : strchr("sC", c[n].type) ? json_is_string(v)
                                                    : c[n].type == 'b'        ? json_is_boolean(v)
                                                                              : json_is_real(v));
                    if (!fits)
                        fail_msg("%s %s", loader_table_name((enum loader_table)t), c[n].name);
                }
                assert_null(c[n].name);
            }
            json_decref(o);
        }
        json_t *s = loader_status(k.l);
        assert_non_null(s);
        json_decref(s);
        kit_step(&k, NS_PER_S);
    }
    const char *what[] = {"a_1of2.csv", "1"};
    json_t *p = loader_plan(k.l, what, 2, &err);
    assert_non_null(p);
    assert_int_equal(json_array_size(json_object_get(p, "files")), 2);
    assert_string_equal(kit_str(json_array_get(json_object_get(p, "files"), 0), "recipe"), "csv");
    json_decref(p);
    const char *none[] = {"nothing"};
    assert_null(loader_plan(k.l, none, 1, &err));
    kit_end(&k);
}

/* ---- crashes ---- */

struct crash {
    uint64_t at, seen;
    struct sim *copy;
    bool armed;
};
static void crash_hook(void *arg, struct sim *d, enum sim_op op)
{
    struct crash *c = arg;
    (void)op;
    if (c->seen++ == c->at && c->armed)
        c->copy = sim_copy(d);
}

/* The machine (power: its disk keeps only what it must, the boot is another one) or the process. */
static void crash_now(struct kit *k, struct sim *copy, bool power)
{
    uint8_t *choice = calloc(copy->npending + 1, 1);
    for (uint32_t i = 0; i < copy->npending; i++)
        choice[i] = (uint8_t)kit_random(k, power ? sim_choices(copy, i) : 2);
    struct sim *disk =
        power ? sim_power_cut(copy, choice, kit_random(k, 0)) : sim_kill(copy, choice);
    free(choice);
    kit_stop(k);
    sim_free(k->disk);
    sim_free(copy);
    k->disk = disk;
    k->boots += power;
}

/* What the operator's machine does at a start. */
static void restart(struct kit *k)
{
    start(k);
    kit_finish_intent(k);
    kit_scan(k);
}

/* What batches that are in say that they brought. */
static uint64_t rows_shown(struct kit *k)
{
    json_t *o = table(k, LOADER_BATCHES), *r;
    const struct loader_column *c = loader_columns(LOADER_BATCHES);
    size_t i, status = 0, rows = 0;
    uint64_t sum = 0;
    for (size_t n = 0; c[n].name; n++) {
        status = strcmp(c[n].name, "status") ? status : n;
        rows = strcmp(c[n].name, "rows") ? rows : n;
    }
    json_array_foreach(json_object_get(o, "rows"), i, r)
    {
        const char *is = json_string_value(json_array_get(r, status));
        if (is && (!strcmp(is, "complete") || !strcmp(is, "partial")))
            sum += (uint64_t)json_integer_value(json_array_get(r, rows));
    }
    json_decref(o);
    return sum;
}

/* A history with a crash before its n-th change of a disk; then without. Returns whether there were
 * so many. */
static bool crash_at(uint64_t n, uint64_t seed, bool power, bool trouble)
{
    struct kit k;
    struct crash c = {.at = n, .armed = true};
    kit_defaults(&k, seed);
    k.rule[0].match = "{batch}_{i}of{M}.csv";
    if (trouble)
        k.trouble = (struct kit_trouble){.crash = 60, .retry = 40, .stale = 60, .move_retry = 60};
    start(&k);
    kit_run(&k, NS_PER_S / 10);
    k.disk->hook = crash_hook;
    k.disk->hook_arg = &c;
    const char *const names[] = {"a_1of2.csv", "a_2of2.csv", "each1.csv", "each2.csv"};
    for (unsigned i = 0; i < 4; i++) {
        char *text = rows(i * 10, 10);
        kit_deliver_at(&k, (int64_t)i * NS_PER_MS, names[i], text);
        free(text);
    }
    int64_t end = k.now + 1000 * NS_PER_S;
    struct loader_figures f;
    do {
        kit_step(&k, NS_PER_S);
        loader_figures(k.l, &f);
    } while (!c.copy && k.now < end && (f.batches < 2 || f.active || k.nevents));
    k.disk->hook = NULL;
    bool crashed = c.copy != NULL;
    if (crashed) {
        k.disk->hook = NULL;
        crash_now(&k, c.copy, power);
        k.disk->hook = NULL;
        k.trouble = (struct kit_trouble){0};
        restart(&k);
        /* who delivers does it again when the machine lost it */
        for (unsigned i = 0; i < 4; i++) {
            char path[100];
            snprintf(path, sizeof path, KIT_STAGE "/%.40s", names[i]);
            bool coming = false;
            for (unsigned e = 0; e < k.nevents; e++)
                coming |= k.event[e].kind == KIT_DELIVER && !strcmp(k.event[e].name, names[i]);
            if (!coming && !exists(&k, path)) {
                char *text = rows(i * 10, 10);
                kit_deliver_at(&k, NS_PER_MS, names[i], text);
                free(text);
            }
        }
    }
    if (!kit_idle(&k, 2000 * NS_PER_S))
        fail_msg("seed %" PRIu64 " crash %" PRIu64 ": it does not end", seed, n);
    static struct kit_rows r;
    kit_count(&k, &r);
    for (unsigned i = 0; i < 40; i++)
        if (r.count[i] != 1)
            fail_msg("seed %" PRIu64 " crash %" PRIu64 " power %d: row %u is there %u times", seed,
                     n, power, i, r.count[i]);
    assert_int_equal(r.rows, 40);
    assert_false(r.differ);
    if (rows_shown(&k) != 40)
        fail_msg("seed %" PRIu64 " crash %" PRIu64 " power %d: batches say %" PRIu64 " rows", seed,
                 n, power, rows_shown(&k));
    kit_run(&k, 5 * NS_PER_S);
    assert_int_equal(names_in(&k, KIT_TMP), 0);
    kit_end(&k);
    return crashed;
}

static void every_step_killed(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (crash_at(n, 100, false, false))
        n++;
    assert_true(n > 60);
    print_message("%" PRIu64 " places\n", n);
}
static void every_step_power(void **state)
{
    (void)state;
    for (uint64_t n = 0; crash_at(n, 101, true, false); n++)
        ;
}
static void every_step_in_trouble(void **state)
{
    (void)state;
    for (uint64_t n = 0; crash_at(n, 102, n % 2, true); n++)
        ;
}

static void retry_all(struct kit *k)
{
    struct err err;
    char text[24];
    for (uint64_t id = 1; id < 200; id++) {
        snprintf(text, sizeof text, "%" PRIu64, id);
        loader_retry(k->l, text, &err);
    }
}

/* People who pause, cancel and try again. */
static void people(struct kit *k)
{
    struct err err;
    uint64_t list[32];
    if (k->dead || kit_random(k, 150))
        return;
    unsigned n = loader_unfinished(k->l, list, 32);
    if (n)
        switch (kit_random(k, 4)) {
        case 0:
            loader_cancel(k->l, list[kit_random(k, n)], &err);
            break;
        case 1:
            loader_pause(k->l, kit_random(k, 2) ? 0 : list[kit_random(k, n)], &err);
            break;
        default:
            loader_resume(k->l, 0, &err);
            for (unsigned i = 0; i < n; i++)
                loader_resume(k->l, list[i], &err);
        }
    if (!kit_random(k, 2))
        retry_all(k);
}

/* Every single write and sync of the manifest fails once, by an error or by a lie; then the machine
 * loses its power: nothing is loaded twice, nothing is forgotten. */
static bool manifest_fault_at(uint64_t n, enum sim_fault_kind kind)
{
    struct kit k;
    kit_defaults(&k, 103);
    k.rule[0].match = "{batch}_{i}of{M}.csv";
    start(&k);
    struct sim_fault *f =
        sim_fault_add(k.disk, &(struct sim_fault){.ops = SIM_ANY_SYNC | SIM_ANY_WRITE |
                                                         1u << SIM_RENAME | 1u << SIM_SYNC_DIR,
                                                  .path = "/state",
                                                  .skip = n,
                                                  .times = 1,
                                                  .kind = kind,
                                                  .error = EIO});
    deliver(&k, "a_1of2.csv", 0, 10);
    deliver(&k, "a_2of2.csv", 10, 10);
    deliver(&k, "each1.csv", 20, 10);
    assert_true(kit_idle(&k, 1000 * NS_PER_S));
    assert_rows(&k, 0, 30);
    bool hit = f->hit != 0;
    sim_fault_clear(k.disk);
    uint64_t reads = k.reads;
    crash_now(&k, sim_copy(k.disk), true);
    restart(&k);
    assert_true(kit_idle(&k, 1000 * NS_PER_S));
    assert_rows(&k, 0, 30);
    assert_int_equal(k.reads, reads);
    kit_end(&k);
    return hit;
}
static void every_manifest_fault(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (manifest_fault_at(n, SIM_FAIL))
        n++;
    assert_true(n > 10);
    for (n = 0; manifest_fault_at(n, SIM_LIE); n++)
        ;
}

/* Random deliveries, trouble of all kinds, crashes of both kinds. */
static void life(uint64_t seed, uint64_t *trace)
{
    struct kit k;
    struct crash c = {0};
    kit_defaults(&k, seed);
    k.c.workers = 1 + (unsigned)kit_random(&k, 4);
    k.c.large_worker = kit_random(&k, 2);
    k.c.fixed = !kit_random(&k, 4);
    k.c.retries = 1000; /* no file is at fault here */
    k.c.retry_backoff = NS_PER_S / 10;
    k.rule[0].match = "{batch}_{i}of{M}.csv";
    start(&k);
    unsigned next = 0, batch = 0;
    struct {
        char name[40];
        unsigned first, n;
    } sent[200];
    unsigned nsent = 0;
    for (unsigned round = 0; round < 4; round++) {
        k.trouble = (struct kit_trouble){.crash = 30,
                                         .stuck = 5,
                                         .retry = 40,
                                         .space = 10,
                                         .bloat = 10,
                                         .no_start = 30,
                                         .no_send = 10,
                                         .stale = 30,
                                         .move_retry = 50,
                                         .intern_fails = 100};
        for (unsigned i = 0; i < 3; i++) {
            unsigned parts = 1 + (unsigned)kit_random(&k, 4);
            for (unsigned p = 1; p <= parts; p++) {
                unsigned n = (unsigned)kit_random(&k, 20);
                if (kit_random(&k, 2))
                    snprintf(sent[nsent].name, 40, "b%u_%uof%u.csv", batch, p, parts);
                else
                    snprintf(sent[nsent].name, 40, "b%u_%uof%u.csv", batch, p, parts);
                sent[nsent].first = next;
                sent[nsent].n = n;
                char *text = rows(next, n);
                kit_deliver_at(&k, (int64_t)kit_random(&k, 3000) * NS_PER_MS, sent[nsent].name,
                               text ? text : "");
                free(text);
                next += n;
                nsent++;
            }
            batch++;
        }
        kit_event(&k, (int64_t)kit_random(&k, 3000) * NS_PER_MS, KIT_EOD);
        c = (struct crash){.at = kit_random(&k, 400), .armed = true};
        k.disk->hook = crash_hook;
        k.disk->hook_arg = &c;
        int64_t end = k.now + 20 * NS_PER_S;
        while (!c.copy && k.now < end) {
            kit_step(&k, NS_PER_S);
            people(&k);
        }
        k.disk->hook = NULL;
        if (c.copy) {
            crash_now(&k, c.copy, kit_random(&k, 2));
            restart(&k);
            for (unsigned i = 0; i < nsent; i++) {
                char path[100];
                snprintf(path, sizeof path, KIT_STAGE "/%.39s", sent[i].name);
                bool coming = false;
                for (unsigned e = 0; e < k.nevents; e++)
                    coming |=
                        k.event[e].kind == KIT_DELIVER && !strcmp(k.event[e].name, sent[i].name);
                if (!coming && !exists(&k, path)) {
                    char *text = rows(sent[i].first, sent[i].n);
                    kit_deliver_at(&k, NS_PER_MS, sent[i].name, text ? text : "");
                    free(text);
                }
            }
        }
    }
    k.trouble = (struct kit_trouble){0};
    struct err err;
    uint64_t list[32];
    loader_resume(k.l, 0, &err);
    for (unsigned n = loader_unfinished(k.l, list, 32); n--;)
        loader_resume(k.l, list[n], &err);
    for (unsigned i = 0; i < 3; i++) { /* what was cancelled, too */
        if (!kit_idle(&k, 4000 * NS_PER_S))
            fail_msg("seed %" PRIu64 ": it does not end", seed);
        retry_all(&k);
    }
    if (!kit_idle(&k, 4000 * NS_PER_S))
        fail_msg("seed %" PRIu64 ": it does not end", seed);
    static struct kit_rows r;
    kit_count(&k, &r);
    for (unsigned i = 0; i < next; i++)
        if (r.count[i] != 1)
            fail_msg("seed %" PRIu64 ": row %u of %u is there %u times", seed, i, next, r.count[i]);
    assert_false(r.differ);
    *trace = k.trace;
    kit_end(&k);
}

static void random_lives(void **state)
{
    (void)state;
    const char *one = getenv("KIT_SEED");
    uint64_t trace, again;
    for (uint64_t seed = 1000; seed < (one ? 1000u : 1040u); seed++)
        life(seed, &trace);
    if (one)
        life(strtoull(one, NULL, 10), &trace);
    else {
        life(1001, &trace);
        life(1001, &again);
        assert_int_equal(trace, again); /* the same seed, the same decisions */
    }
}

/* ---- cost ---- */

/* 10,000 files: reads and their outcome cost each file some operations, and nothing grows with the
 * number of files that only lie there. */
static void many_files(void **state)
{
    (void)state;
    static struct kit k;
    kit_defaults(&k, 50);
    k.c.workers = 4;
    start(&k);
    char name[40];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "each%05u.csv", i);
        deliver(&k, name, i, 1);
    }
    struct loader_figures f;
    assert_true(kit_idle(&k, 4000 * NS_PER_S));
    assert_rows(&k, 0, 1000);
    loader_figures(k.l, &f);
    assert_true(f.io_calls < 1000 * 12);
    assert_true(f.manifest_syncs < 400); /* not one a file */
    kit_run(&k, 10 * NS_PER_S);          /* temporaries go */
    loader_figures(k.l, &f);
    uint64_t calls = f.io_calls;
    for (unsigned i = 0; i < 1000; i++)
        kit_step(&k, NS_PER_S);
    loader_figures(k.l, &f);
    assert_int_equal(f.io_calls, calls);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(three_parts),
                                       cmocka_unit_test(steps_of_a_batch),
                                       cmocka_unit_test(no_symbols),
                                       cmocka_unit_test(two_batches),
                                       cmocka_unit_test(each_and_again),
                                       cmocka_unit_test(correction),
                                       cmocka_unit_test(trigger_and_manifest),
                                       cmocka_unit_test(each_for_itself),
                                       cmocka_unit_test(bad_batches),
                                       cmocka_unit_test(bad_file),
                                       cmocka_unit_test(retries),
                                       cmocka_unit_test(full_disk),
                                       cmocka_unit_test(bad_workers),
                                       cmocka_unit_test(full_workers),
                                       cmocka_unit_test(stale),
                                       cmocka_unit_test(given_up),
                                       cmocka_unit_test(cancel_pause),
                                       cmocka_unit_test(by_hand),
                                       cmocka_unit_test(finished_files),
                                       cmocka_unit_test(manifest_fails),
                                       cmocka_unit_test(priority_and_deadline),
                                       cmocka_unit_test(urgency),
                                       cmocka_unit_test(patience),
                                       cmocka_unit_test(memory_limits),
                                       cmocka_unit_test(fixed_workers),
                                       cmocka_unit_test(paused_turn),
                                       cmocka_unit_test(new_files_only),
                                       cmocka_unit_test(quarantine_directory),
                                       cmocka_unit_test(odd_files),
                                       cmocka_unit_test(shown),
                                       cmocka_unit_test(every_step_killed),
                                       cmocka_unit_test(every_step_power),
                                       cmocka_unit_test(every_step_in_trouble),
                                       cmocka_unit_test(every_manifest_fault),
                                       cmocka_unit_test(random_lives),
                                       cmocka_unit_test(many_files)};
    if (getenv("KIT_TEST"))
        cmocka_set_test_filter(getenv("KIT_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
