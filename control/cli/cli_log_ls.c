/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log ls: one line a file, from its header and tail. */
#include "cli_log.h"
#include "print.h"
#include "core/civil.h"

int log_ls(struct cli *c, const struct log_files *fs, struct io *io)
{
    static const char *const head[] = {"file",  "day",   "stream", ">first",
                                       ">last", ">size", "state",  "written"};
    struct print_table t;
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    print_table_begin(&t, PST_COUNT(head), head);
    for (unsigned i = 0; i < fs->n; i++) {
        struct logscan s;
        struct err err;
        enum log_opened o = log_file_open(&s, io, fs, fs->path[i], &err);
        if (o == LOG_IS_FRESH)
            continue;
        if (o > LOG_IS_FRESH) {
            fprintf(stderr, "penstock: %s\n", err.text);
            code = EXIT_DEGRADED;
            continue;
        }
        char day[CIVIL_TEXT], stamp[CIVIL_STAMP_TEXT];
        int64_t last = s.header.created;
        logscan_tail(&s);
        enum logscan_verdict v = logscan_to_end(&s, &last);
        const char *state = v == LOGSCAN_CLEAN ? "closed"
                            : v == LOGSCAN_END ? "open"
                                               : logscan_verdict_name(v);
        civil_format(s.header.day, day);
        civil_format_stamp(time_shown(&c->shown, last), stamp);
        json_array_append_new(
            all, json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:s,s:s,s:b}", "file", fs->path[i], "day", day,
                           "stream", (int)s.header.stream, "first", (json_int_t)s.header.first,
                           "last", (json_int_t)s.position, "size", (json_int_t)s.size, "state",
                           state, "written", stamp, "spilled", s.header.spilled));
        if (c->json) { /* as a log's metadata file would say it; counts: log stat */
            json_t *x = json_array_get(all, json_array_size(all) - 1);
            json_object_set_new(x, "sequence", json_integer((json_int_t)json_array_size(all)));
            civil_format_stamp(time_shown(&c->shown, s.header.created), stamp);
            json_object_set_new(x, "start", json_string(stamp));
            civil_format_stamp(time_shown(&c->shown, last), stamp);
            json_object_set_new(x, "end", v == LOGSCAN_CLEAN ? json_string(stamp) : json_null());
            json_object_set_new(x, "schemas", log_head_schemas(fs, fs->path[i], io));
        }
        char stream[8];
        snprintf(stream, sizeof stream, "%u", s.header.stream);
        print_table_row(&t, log_base(fs->path[i]), day, stream,
                        print_count((int64_t)s.header.first), print_count((int64_t)s.position),
                        print_bytes((int64_t)s.size), state, stamp);
        logscan_close(&s);
    }
    if (c->json) {
        print_table_free(&t);
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    } else {
        print_table_end(&t);
    }
    json_decref(all);
    return code;
}
