/* SPDX-License-Identifier: Apache-2.0 */
/* penstock clients, and their line of the status screen. */
#include "cli.h"
#include "print.h"

static const char *count(json_t *o, const char *key)
{
    return print_count(json_long(o, key));
}

void cli_clients_line(json_t *s)
{
    if (!s)
        return;
    printf("ipc  connections %s  subscribers %s", count(s, "connections"), count(s, "consumers"));
    if (json_long(s, "consumers"))
        printf(" (slowest %s", print_bytes(json_long(s, "slowest_bytes")));
    if (json_long(s, "slowest_bytes"))
        printf(", connection %s, %s", count(s, "slowest_id"),
               print_duration(json_long(s, "slowest_ns")));
    if (json_long(s, "consumers"))
        printf(")");
    if (json_long(s, "behind"))
        printf("  catching up %s", count(s, "behind"));
    if (json_long(s, "stream_clients"))
        printf("  streams %s (%s clients)", count(s, "streams"), count(s, "stream_clients"));
    printf("  memory %s  kdb+ log %s", print_bytes(json_long(s, "memory")),
           json_text(s, "kdb_log"));
    if (json_long(s, "kdb_log_messages"))
        printf(" (%s messages)", count(s, "kdb_log_messages"));
    printf("\n");
}

int view_clients(json_t *r)
{
    static const char *const head[] = {">id",   "user",   "address", "port",  "since",
                                       "state", "tables", ">lag",    ">msgs", ">sent",
                                       ">rows", "policy", "stream"};
    struct print_table t;
    size_t i;
    json_t *c;
    bool slow = false;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(json_object_get(r, "clients"), i, c)
    {
        bool is = json_is_true(json_object_get(c, "slow"));
        char state[32], tables[360];
        const char *streams = json_text(c, "streams");
        snprintf(tables, sizeof tables, "%s%s%s", json_text(c, "tables"),
                 *json_text(c, "tables") && *streams ? "; " : "", streams);
        snprintf(state, sizeof state, "%s%s", json_text(c, "state"), is ? " SLOW" : "");
        slow |= is;
        print_table_row(&t, count(c, "id"), json_text(c, "user"), json_text(c, "address"),
                        json_text(c, "port"), print_time(json_long(c, "since")), state, tables,
                        print_bytes(json_long(c, "lag_bytes")), count(c, "lag_messages"),
                        print_bytes(json_long(c, "sent_bytes")), count(c, "sent_rows"),
                        json_text(c, "policy"), json_text(c, "stream"));
    }
    if (i)
        print_table_end(&t);
    else
        print_table_free(&t);
    if (!i)
        printf("nobody is connected\n");
    return slow ? EXIT_DEGRADED : EXIT_HEALTHY;
}
