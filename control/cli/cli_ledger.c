/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock ledger --verify: the daemon's figures against the log files, recounted from the first
 * byte, row by row, in this process: the daemon does not even notice.
 */
#include "cli_journal.h"
#include "print.h"
#include "storage/ledger_count.h"

int cli_ledger(struct cli *c, int argc, char **argv)
{
    if (argc > 1 || (argc == 1 && strcmp(argv[0], "--verify"))) {
        cli_help("ledger");
        return EXIT_USAGE;
    }
    if (argc == 0)
        return cli_view(c, "ledger", argc, argv);
    struct cli_journal j;
    int code;
    json_t *r = cli_call(c, "ledger", json_array(), &code);
    if (!r)
        return code;
    if (!cli_journal_attach(c, &j, &code)) {
        json_decref(r);
        return code;
    }
    struct ledger_count count;
    struct err err;
    if (!ledger_init(&count, true, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        return EXIT_DEGRADED;
    }
    /* The files only, up to where the daemon's own durable count stood. */
    uint64_t end = (uint64_t)json_long(r, "durable_position");
    struct cli_journal files;
    if (!cli_journal_files_of(&files, &j, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        return EXIT_DEGRADED;
    }
    const struct frame *f;
    enum cursor_verdict v;
    uint64_t lost = 0;
    while (files.cursor.position < end && ((v = cursor_next(&files.cursor, &f)) == CURSOR_FRAME ||
                                           v == CURSOR_LOST || v == CURSOR_REWOUND)) {
        lost += v == CURSOR_LOST;
        if (v == CURSOR_FRAME && f->position < end)
            ledger_frame(&count, &files.cursor.dict, f);
    }
    bool ok = !count.inconsistent;
    json_t *recount = json_array();
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(r, "sessions"), i, x)
    {
        uint64_t files_say = 0;
        for (uint32_t k = 0; k < count.count; k++) {
            uint32_t fl = 0, sl = 0;
            const char *ft = dictionary_peek(&files.cursor.dict, count.session[k].feed, &fl);
            const char *st = dictionary_peek(&files.cursor.dict, count.session[k].session, &sl);
            const char *feed = json_text(x, "feed"), *session = json_text(x, "session");
            if (ft && st && strlen(feed) == fl && !memcmp(ft, feed, fl) && strlen(session) == sl &&
                !memcmp(st, session, sl))
                files_say +=
                    count.session[k].on_time + count.session[k].late + count.session[k].gap_seqs;
        }
        int64_t daemon_says = json_long(x, "at_durable");
        int64_t diff = (int64_t)files_say - daemon_says;
        ok &= !diff;
        json_array_append_new(
            recount, json_pack("{s:s,s:s,s:I,s:I,s:I}", "feed", json_text(x, "feed"), "session",
                               json_text(x, "session"), "files", (json_int_t)files_say, "daemon",
                               (json_int_t)daemon_says, "difference", (json_int_t)diff));
        if (c->json)
            continue;
        printf("%s %s  files %s - daemon %s = %s\n", json_text(x, "feed"), json_text(x, "session"),
               print_count((int64_t)files_say), print_count(daemon_says), print_count(diff));
    }
    bool balanced = json_is_true(json_object_get(r, "balanced"));
    if (c->json) {
        json_t *o = json_pack("{s:b,s:b,s:I,s:I,s:I,s:s,s:I,s:O}", "agree", ok, "balanced",
                              balanced, "frames", (json_int_t)count.frames, "rows",
                              (json_int_t)(count.plain_rows + count.replayed_rows), "inconsistent",
                              (json_int_t)count.inconsistent, "fault",
                              count.inconsistent ? count.first_fault : "", "lost_ranges",
                              (json_int_t)lost, "sessions", recount);
        json_dumpf(o, stdout, JSON_INDENT(1));
        printf("\n");
        json_decref(o);
    }
    if (count.inconsistent && !c->json)
        printf("%s frames contradict themselves: %s\n", print_count((int64_t)count.inconsistent),
               count.first_fault);
    if (lost && !c->json)
        printf("%s ranges of positions stand in no file\n", print_count((int64_t)lost));
    if (!c->json)
        printf("%s frames, %s rows recounted: %s\n", print_count((int64_t)count.frames),
               print_count((int64_t)(count.plain_rows + count.replayed_rows)),
               ok ? "files and ledger agree" : "THEY DIFFER");
    ok &= balanced;
    json_decref(recount);
    json_decref(r);
    ledger_free(&count);
    cli_journal_close(&files);
    cli_journal_close(&j);
    return ok ? EXIT_HEALTHY : EXIT_DEGRADED;
}
