/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include "cli_kdb.h"
#include "core/civil.h"
#include "storage/kdb_rows.h"

bool cli_names_parse(struct cli_names *n, const char *text)
{
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, ",");
        if (n->n == CLI_NAMES_MAX)
            return false;
        n->at[n->n] = p;
        n->len[n->n++] = (uint32_t)len;
        p += len;
        p += *p == ',';
    }
    return true;
}

bool cli_names_has(const struct cli_names *n, const char *text, size_t len)
{
    for (unsigned i = 0; i < n->n; i++)
        if (n->len[i] == len && !memcmp(n->at[i], text, len))
            return true;
    return !n->n;
}

void cli_rows_init(struct cli_rows *r)
{
    memset(r, 0, sizeof *r);
    r->date = KDB_NO_DATE;
    r->from = INT64_MIN;
    r->to = INT64_MAX;
}

int cli_rows_option(struct cli_rows *r, int argc, char **argv, int *i)
{
    static const char *const names[] = {"--tables", "--sym", "--date", "--from", "--until", "--to"};
    unsigned o = 0;
    while (o < PST_COUNT(names) && strcmp(argv[*i], names[o]))
        o++;
    if (o == PST_COUNT(names) || (o == 5 && r->to_is_place))
        return 0;
    if (*i + 1 >= argc) {
        fprintf(stderr, "penstock: %s needs a value\n", names[o]);
        return -1;
    }
    const char *v = argv[++*i];
    if (o < 2 && !cli_names_parse(o ? &r->syms : &r->tables, v)) {
        fprintf(stderr, "penstock: %s: more than %u names\n", names[o], CLI_NAMES_MAX);
        return -1;
    }
    if (o == 2 && !civil_parse(v, &r->date)) {
        fprintf(stderr, "penstock: --date: '%s' is no date; write 2026.11.23\n", v);
        return -1;
    }
    if (o == 3)
        r->from_text = v;
    if (o >= 4)
        r->to_text = v;
    return 1;
}

/* [YYYY.MM.DD][D HH:MM[:SS[.n]]][Z] -> UTC ns */
static bool instant(const struct cli_rows *r, const char *text, int64_t *ns)
{
    char date[16] = "", clock[12] = "";
    int32_t day = r->date, seconds = 0;
    int64_t fraction = 0;
    const char *p = text;
    size_t digits = strspn(p, "0123456789");
    if (digits == 8 || (digits == 4 && (p[4] == '.' || p[4] == '-' || p[4] == '/'))) {
        memcpy(date, p, digits == 8 ? 8 : strnlen(p, 10));
        if (!civil_parse(date, &day))
            return false;
        p += strlen(date);
        if (*p && !strchr("DT ", *p))
            return false;
        p += *p != 0;
    }
    size_t n = strcspn(p, ".Z");
    if (day == KDB_NO_DATE || n >= sizeof clock)
        return false;
    memcpy(clock, p, n);
    if (n && !civil_parse_time(clock, &seconds))
        return false;
    p += n;
    if (*p == '.') {
        int64_t unit = 100000000;
        for (p++; isdigit((unsigned char)*p) && unit; p++, unit /= 10)
            fraction += (*p - '0') * unit;
    }
    bool utc = *p == 'Z';
    int64_t s = day * PST_DAY_S + seconds;
    if (r->zone && !utc)
        s = tzone_to_utc(r->zone, s + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S;
    *ns = s * PST_SECOND_NS + fraction;
    return !p[utc];
}

bool cli_rows_times(struct cli_rows *r)
{
    const char *bad = r->from_text && !instant(r, r->from_text, &r->from) ? r->from_text
                      : r->to_text && !instant(r, r->to_text, &r->to)     ? r->to_text
                                                                          : NULL;
    if (bad)
        fprintf(stderr,
                "penstock: '%s' is no time; write 2026.11.23D09:30:00.5, or 09:30 with --date\n",
                bad);
    return !bad;
}

bool cli_rows_time(const struct cli_rows *r, int64_t time)
{
    if (r->from == INT64_MIN && r->to == INT64_MAX)
        return true;
    return time != PST_NULL_TIMESTAMP && time >= r->from && time < r->to;
}

bool cli_kdb_zone(struct cli *c, struct tzone **zone)
{
    struct err err;
    *zone = NULL;
    if (!c->zone || !strcmp(c->zone, "UTC"))
        return true;
    *zone = tzone_load(c->zone, &err);
    if (!*zone)
        fprintf(stderr, "penstock: %s\n", err.text);
    return *zone != NULL;
}

void cli_kdb_help(void)
{
    printf(
        "\npenstock log export [FILE|DIR ...] -o DIR|DIR/NAME [--format kdb|jsonl|csv]\n"
        "  One file a trading date, NAME2026.11.23 (NAME sym); without FILE or DIR the daemon's "
        "log.\n"
        "  --columns lists|tables     updates as column lists, as a tickerplant logs them, or as\n"
        "                             tables; else as include_columns of the daemon or --config "
        "FILE\n"
        "  --time timestamp|timespan  column time as it is, or as the offset from its midnight\n"
        "  --no-feed-columns          without rxtime, feed, session, seq, line, flags\n"
        "  --schema FILE              also writes the empty tables in q\n"
        "  --resume                   goes on where an export broke off, after comparing what is "
        "there\n"
        "\npenstock log import FILE ... --out DIR | --to INSTANCE | --count | --repair-to FILE\n"
        "  kdb+ logs (also .gz) into log files, or into a running instance; --count only reads "
        "them\n"
        "  and says what -11!(-2;FILE) says; --repair-to writes the whole messages to a new kdb+ "
        "log.\n"
        "  --schema TABLE=time,sym,price:float,...   names and types of columns; else from\n"
        "  --schema-from DIR (a log of ours), --config FILE (tables:), the names in the updates, "
        "or\n"
        "                     time, sym, c3, c4, ... with types that hold every value\n"
        "  --salvage          looks for whole updates behind damage\n"
        "  --messages N|A..B  the first N messages, or from A up to before B\n"
        "  --capture-clock    receive times are a capture's, not a clock's of this house\n"
        "  --source NAME      into an instance: what a second run goes on from; else made of the\n"
        "                     file's name, first message and the options; none: not remembered\n"
        "\nBoth: --tables A,B  --sym A,B  --date D  --from T  --until T  --prefix P  --zone Z (of "
        "the\n"
        "  times in kdb+; else UTC). T: 2026.11.23D09:30:00.5, or 09:30 with --date.\n");
}
