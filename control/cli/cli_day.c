/* SPDX-License-Identifier: Apache-2.0 */
/* eod, rdb, rebuild: trading dates on one screen; what takes a while is waited for. */
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "core/clock.h"

#define WAIT_POLL_US 20000

static const char *text(json_t *o, const char *key)
{
    return json_text(o, key);
}
static const char *count(json_t *o, const char *key)
{
    return print_count(json_long(o, key));
}

void cli_day_rdb_line(json_t *rdb)
{
    printf("rdb  rows %s  memory %s of %s", count(rdb, "rows"), print_bytes(json_long(rdb, "used")),
           print_bytes(json_long(rdb, "memory")));
    if (json_long(rdb, "behind"))
        printf("  lag %s (%s)", print_duration(json_long(rdb, "lag_ns")),
               print_bytes(json_long(rdb, "behind")));
    else
        printf("  lag 0");
    if (json_long(rdb, "refused"))
        printf("  in the log only %s", count(rdb, "refused"));
    printf("%s%s\n", json_long(rdb, "rebuild_to") ? "  being rebuilt from the log" : "",
           json_is_true(json_object_get(rdb, "paused")) ? "  PAUSED" : "");
    if (*text(rdb, "error"))
        printf("WARN rdb: %s\n", text(rdb, "error"));
}

void cli_day_database_line(json_t *db)
{
    if (!json_is_object(db))
        printf("hdb  none: ended days stay in the log only\n");
    else if (json_is_true(json_object_get(db, "loaded")))
        printf("hdb  %s  publications %s  free %s\n", text(db, "root"), count(db, "epoch"),
               print_bytes(json_long(db, "free")));
    else
        printf("hdb  NOT LOADED: %s%s\n", text(db, "error"),
               *text(db, "error") ? "" : "it is being opened");
}

/* What is to be said beside a date: progress, why not, what it became. */
static const char *remark(json_t *e, char *buf, size_t cap)
{
    json_t *p = json_object_get(e, "progress"), *r = json_object_get(e, "result");
    if (p)
        snprintf(buf, cap, "%s %s, table %s of %s, %s of %s rows", text(p, "step"),
                 text(p, "table"), count(p, "tables_done"), count(p, "tables"),
                 count(p, "rows_done"), count(p, "rows"));
    else if (*text(e, "error"))
        snprintf(buf, cap, "%s; attempt %s, next in %s", text(e, "error"), count(e, "attempts"),
                 print_duration(json_long(e, "retry_in_ns")));
    else if (r)
        snprintf(buf, cap, "%zu tables, %s in %.2f s%s%s",
                 json_array_size(json_object_get(r, "tables")), print_bytes(json_long(r, "bytes")),
                 json_real_of(r, "seconds"), *text(r, "note") ? "; " : "", text(r, "note"));
    else
        snprintf(buf, cap, "%s",
                 json_is_true(json_object_get(e, "incomplete")) ? "rows are missing in memory; the "
                                                                  "log has them"
                 : strcmp(text(e, "state"), "written")          ? ""
                 : !json_long(e, "rows")                        ? "no rows, no partition"
                 : json_is_true(json_object_get(e, "database")) ? ""
                                                                : "no database: in the log only");
    if (*text(e, "post_save"))
        snprintf(buf + strlen(buf), cap - strlen(buf), "; post_save_exec: %s",
                 text(e, "post_save"));
    return buf;
}

void cli_day_table(json_t *days)
{
    static const char *const head[] = {"day", "calendar", "state", ">rows", "what"};
    struct print_table t;
    size_t i;
    json_t *e;
    if (!json_array_size(days))
        return;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(days, i, e)
    {
        char buf[700];
        print_table_row(&t, text(e, "day"), text(e, "calendar"), text(e, "step"), count(e, "rows"),
                        remark(e, buf, sizeof buf));
    }
    print_table_end(&t);
}

static int troubled(json_t *r)
{
    size_t i;
    json_t *e, *db = json_object_get(r, "database");
    json_array_foreach(json_object_get(r, "days"), i, e)
    {
        if (*text(e, "error") || !strcmp(text(e, "step"), "cancelled"))
            return EXIT_DEGRADED;
    }
    return json_is_object(db) && !json_is_true(json_object_get(db, "loaded")) ? EXIT_DEGRADED
                                                                              : EXIT_HEALTHY;
}

static int view_eod(json_t *r)
{
    static const char *const head[] = {"calendar", "open", "ends", "in"};
    struct print_table t;
    size_t i;
    json_t *c;
    int64_t now = json_long(r, "now");
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(json_object_get(r, "calendars"), i, c)
    {
        char open[64];
        bool both = strcmp(text(c, "open"), text(c, "newest")) != 0;
        snprintf(open, sizeof open, "%s%s%s", text(c, "open"), both ? " and " : "",
                 both ? text(c, "newest") : "");
        print_table_row(&t, text(c, "calendar"), open, print_time(json_long(c, "closes")),
                        print_duration(json_long(c, "closes") - now));
    }
    print_table_end(&t);
    printf("\n");
    if (json_array_size(json_object_get(r, "days"))) {
        cli_day_table(json_object_get(r, "days"));
        printf("\n");
    }
    cli_day_rdb_line(json_object_get(r, "rdb"));
    cli_day_database_line(json_object_get(r, "database"));
    return troubled(r);
}

static void dump(json_t *r)
{
    json_dumpf(r, stdout, JSON_INDENT(1));
    printf("\n");
}

/* The entry of that date in `eod status`; NULL while there is none. */
static json_t *entry_of(json_t *status, const char *day, const char *calendar)
{
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(status, "days"), i, e)
    {
        if (!strcmp(text(e, "day"), day) && !strcmp(text(e, "calendar"), calendar))
            return e;
    }
    return NULL;
}

/* Until the date is written, failed or cancelled. */
static int wait_written(struct cli *c, const char *day, const char *calendar)
{
    for (;;) {
        int code;
        json_t *r = cli_call(c, "eod", json_array(), &code);
        if (!r)
            return code;
        json_t *e = entry_of(r, day, calendar);
        const char *step = e ? text(e, "step") : "";
        bool done = !strncmp(step, "written", 7), bad = e && *text(e, "error");
        /* a database that is still being opened has no error */
        bool unloaded = !strcmp(step, "waits for the database") &&
                        *text(json_object_get(r, "database"), "error");
        bool stuck = bad || unloaded || !strcmp(step, "cancelled");
        if (done || stuck) {
            char buf[700];
            if (c->json)
                dump(e);
            else
                printf("%s (%s): %s, %s rows; %s\n", day, calendar, step, count(e, "rows"),
                       remark(e, buf, sizeof buf));
            json_decref(r);
            return done ? EXIT_HEALTHY : EXIT_DEGRADED;
        }
        json_decref(r);
        usleep(WAIT_POLL_US);
    }
}

int cli_eod(struct cli *c, int argc, char **argv)
{
    int code, n = 0;
    bool wait = true;
    char *args[16];
    for (int i = 0; i < argc && n < 16; i++) {
        if (!strcmp(argv[i], "--no-wait"))
            wait = false;
        else
            args[n++] = argv[i];
    }
    json_t *r = cli_call(c, "eod", cli_args(n, args), &code);
    if (!r)
        return code;
    bool status = json_object_get(r, "calendars") != NULL, run = n && !strcmp(args[0], "run");
    if (status) {
        if (c->json)
            dump(r);
        code = c->json ? troubled(r) : view_eod(r);
    } else if (run && wait) {
        char day[16], calendar[32];
        snprintf(day, sizeof day, "%s", text(r, "day"));
        snprintf(calendar, sizeof calendar, "%s", text(r, "calendar"));
        if (!c->json)
            printf("%s\n", text(r, "done"));
        code = strcmp(text(r, "state"), "written") ? wait_written(c, day, calendar) : EXIT_HEALTHY;
        if (!strcmp(text(r, "state"), "written")) {
            char buf[700];
            if (c->json)
                dump(r);
            else
                printf("%s (%s): %s, %s rows; %s\n", day, calendar, text(r, "step"),
                       count(r, "rows"), remark(r, buf, sizeof buf));
        }
    } else {
        if (c->json)
            dump(r);
        else
            printf("%s\n", text(r, "done"));
        code = EXIT_HEALTHY;
    }
    json_decref(r);
    return code;
}

int cli_rdb(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *r = cli_call(c, "rdb", cli_args(argc, argv), &code), *d;
    if (!r)
        return code;
    if (c->json) {
        dump(r);
    } else if (*text(r, "done")) {
        printf("%s\n", text(r, "done"));
    } else {
        static const char *const head[] = {"day",   "calendar", "state",
                                           ">rows", ">memory",  ">in the log only"};
        struct print_table t;
        size_t i;
        cli_day_rdb_line(r);
        print_table_begin(&t, PST_COUNT(head), head);
        json_array_foreach(json_object_get(r, "days"), i, d) print_table_row(
            &t, text(d, "day"), text(d, "calendar"),
            json_is_true(json_object_get(d, "published")) ? "published" : text(d, "state"),
            count(d, "rows"), print_bytes(json_long(d, "bytes")), count(d, "refused"));
        print_table_end(&t);
    }
    json_decref(r);
    return EXIT_HEALTHY;
}

static void print_rebuilt(json_t *parts)
{
    static const char *const head[] = {"table", "calendar", ">rows before", ">rows now",
                                       "content hash"};
    struct print_table t;
    size_t i, k;
    json_t *p, *x;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(parts, i, p)
    {
        json_array_foreach(json_object_get(p, "tables"), k, x)
            print_table_row(&t, text(x, "table"), text(p, "calendar"),
                            json_object_get(x, "before") ? count(x, "before") : "none",
                            count(x, "rows"), text(x, "hash"));
    }
    print_table_end(&t);
}

/* rebuild DATE …: asks for the job, then for what came of it. */
int cli_rebuild(struct cli *c, int argc, char **argv)
{
    int code;
    bool dry = false;
    for (int i = 0; i < argc; i++) {
        dry |= !strcmp(argv[i], "--dry-run");
        if (!strcmp(argv[i], "--database"))
            return cli_rebuild_offline(c, argc, argv);
    }
    json_t *r = cli_call(c, "rebuild", cli_args(argc, argv), &code);
    if (!r)
        return code;
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)json_long(r, "job"));
    while (json_object_get(r, "job") || json_is_true(json_object_get(r, "running"))) {
        json_decref(r);
        usleep(WAIT_POLL_US);
        r = cli_call(c, "rebuild", json_pack("[s,s]", "--job", id), &code);
        if (!r)
            return code;
    }
    const char *error = text(r, "error");
    if (c->json)
        dump(r);
    else if (json_array_size(json_object_get(r, "parts")))
        print_rebuilt(json_object_get(r, "parts"));
    if (*error)
        fprintf(stderr, "penstock: %s\n", error);
    else if (!c->json)
        printf("%s\n", dry ? "nothing was changed (--dry-run)" : "swapped in");
    code = *error ? EXIT_DEGRADED : EXIT_HEALTHY;
    json_decref(r);
    return code;
}
