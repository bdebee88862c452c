/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refdecode.h"

/* Columns of each table, kind:name. */
static const char columns[] =
    "itch_order c:type c:side j:ref j:newref j:shares f:price j:match c:printable s:mpid i:locate "
    "i:tracking\n"
    "itch_trade c:type c:side j:ref j:shares f:price j:match c:cross i:locate i:tracking\n"
    "itch_status c:type c:event c:state s:reason c:market s:mpid c:primary c:mode f:level1 "
    "f:level2 f:level3 "
    "c:breach i:release c:qualifier f:price f:upper f:lower i:ext c:flag f:low f:high f:near "
    "p:neartime "
    "f:collar_low f:collar_high i:locate i:tracking\n"
    "itch_imbalance j:paired j:imbalance c:direction f:far f:near f:ref c:cross c:variation "
    "i:locate "
    "i:tracking\n"
    "itch_directory c:category c:status i:roundlot c:roundonly c:class s:subtype c:authenticity "
    "c:threshold "
    "c:ipo c:luld c:etp i:leverage c:inverse i:locate i:tracking\n"
    "iex_quote i:qflags j:bidsize f:bid f:ask j:asksize\n"
    "iex_level c:side i:eflags j:size f:price\n"
    "iex_trade c:type i:sflags j:size f:price j:tradeid\n"
    "iex_status c:type c:state s:reason c:detail\n"
    "iex_auction c:auction j:paired f:ref f:indicative j:imbalance c:side i:ext p:auctime "
    "f:bookclear "
    "f:collarref f:low f:high\n"
    "iex_directory i:dflags i:roundlot f:prevclose i:luld\n";

/*
 * Messages: protocol, type, least length, table, then name=where. Where: offset.width of an
 * unsigned integer or of characters; a suffix /4 or /8 divides by ten to that power, +m is ns since
 * midnight, +s seconds since 1970; 'x is the character x itself. $ = the symbol.
 */
static const char messages[] =
    "itch A 36 itch_order $=24.8 type=0.1 ref=11.8 side=19.1 shares=20.4 price=32.4/4\n"
    "itch F 40 itch_order $=24.8 type=0.1 ref=11.8 side=19.1 shares=20.4 price=32.4/4 mpid=36.4\n"
    "itch E 31 itch_order type=0.1 ref=11.8 shares=19.4 match=23.8 printable='Y\n"
    "itch C 36 itch_order type=0.1 ref=11.8 shares=19.4 match=23.8 printable=31.1 price=32.4/4\n"
    "itch X 23 itch_order type=0.1 ref=11.8 shares=19.4\n"
    "itch D 19 itch_order type=0.1 ref=11.8\n"
    "itch U 35 itch_order type=0.1 ref=11.8 newref=19.8 shares=27.4 price=31.4/4\n"
    "itch P 44 itch_trade $=24.8 type=0.1 ref=11.8 side=19.1 shares=20.4 price=32.4/4 match=36.8\n"
    "itch Q 40 itch_trade $=19.8 type=0.1 shares=11.8 price=27.4/4 match=31.8 cross=39.1\n"
    "itch B 19 itch_trade type=0.1 match=11.8\n"
    "itch S 12 itch_status type=0.1 event=11.1\n"
    "itch H 25 itch_status $=11.8 type=0.1 state=19.1 reason=21.4\n"
    "itch Y 20 itch_status $=11.8 type=0.1 state=19.1\n"
    "itch L 26 itch_status $=15.8 type=0.1 mpid=11.4 primary=23.1 mode=24.1 state=25.1\n"
    "itch V 35 itch_status type=0.1 level1=11.8/8 level2=19.8/8 level3=27.8/8\n"
    "itch W 12 itch_status type=0.1 breach=11.1\n"
    "itch K 28 itch_status $=11.8 type=0.1 release=19.4 qualifier=23.1 price=24.4/4\n"
    "itch J 35 itch_status $=11.8 type=0.1 price=19.4/4 upper=23.4/4 lower=27.4/4 ext=31.4\n"
    "itch h 21 itch_status $=11.8 type=0.1 market=19.1 state=20.1\n"
    "itch N 20 itch_status $=11.8 type=0.1 flag=19.1\n"
    "itch O 48 itch_status $=11.8 type=0.1 flag=19.1 low=20.4/4 high=24.4/4 near=28.4/4 "
    "neartime=32.8+m "
    "collar_low=40.4/4 collar_high=44.4/4\n"
    "itch I 50 itch_imbalance $=28.8 paired=11.8 imbalance=19.8 direction=27.1 far=36.4/4 "
    "near=40.4/4 "
    "ref=44.4/4 cross=48.1 variation=49.1\n"
    "itch R 39 itch_directory $=11.8 category=19.1 status=20.1 roundlot=21.4 roundonly=25.1 "
    "class=26.1 "
    "subtype=27.2 authenticity=29.1 threshold=30.1 ipo=31.1 luld=32.1 etp=33.1 leverage=34.4 "
    "inverse=38.1\n"
    "iex Q 42 iex_quote $=10.8 qflags=1.1 bidsize=18.4 bid=22.8/4 ask=30.8/4 asksize=38.4\n"
    "iex 8 30 iex_level $=10.8 side='B eflags=1.1 size=18.4 price=22.8/4\n"
    "iex 5 30 iex_level $=10.8 side='S eflags=1.1 size=18.4 price=22.8/4\n"
    "iex T 38 iex_trade $=10.8 type=0.1 sflags=1.1 size=18.4 price=22.8/4 tradeid=30.8\n"
    "iex B 38 iex_trade $=10.8 type=0.1 sflags=1.1 size=18.4 price=22.8/4 tradeid=30.8\n"
    "iex X 26 iex_trade $=10.8 type=0.1 sflags=1.1 price=18.8/4\n"
    "iex S 10 iex_status type=0.1 state=1.1\n"
    "iex H 22 iex_status $=10.8 type=0.1 state=1.1 reason=18.4\n"
    "iex I 18 iex_status $=10.8 type=0.1 state=1.1\n"
    "iex O 18 iex_status $=10.8 type=0.1 state=1.1\n"
    "iex P 19 iex_status $=10.8 type=0.1 state=1.1 detail=18.1\n"
    "iex E 18 iex_status $=10.8 type=0.1 state=1.1\n"
    "iex A 80 iex_auction $=10.8 auction=1.1 paired=18.4 ref=22.8/4 indicative=30.8/4 "
    "imbalance=38.4 "
    "side=42.1 ext=43.1 auctime=44.4+s bookclear=48.8/4 collarref=56.8/4 low=64.8/4 high=72.8/4\n"
    "iex D 31 iex_directory $=10.8 dflags=1.1 roundlot=18.4 prevclose=22.8/4 luld=30.1\n";

#define EPOCH_2000 INT64_C(946684800000000000)

bool refdecode_open(struct refdecode *d, int64_t midnight)
{
    d->midnight = midnight;
    d->locate = calloc(65536, sizeof *d->locate);
    return d->locate != NULL;
}

void refdecode_close(struct refdecode *d)
{
    free(d->locate);
    d->locate = NULL;
}

/* The line that starts with `key` (up to a space at its end), without its newline. */
static bool find_line(const char *text, const char *key, char *out, size_t size)
{
    size_t n = strlen(key);
    for (const char *p = text; *p;) {
        const char *end = strchr(p, '\n');
        if (strncmp(p, key, n) == 0) {
            snprintf(out, size, "%.*s", (int)(end - p), p);
            return true;
        }
        p = end + 1;
    }
    return false;
}

static uint64_t integer(const uint8_t *p, unsigned width, bool big)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v |= (uint64_t)p[i] << 8 * (big ? width - 1 - i : i);
    return v;
}

static void trimmed(char *out, const uint8_t *p, unsigned width)
{
    memcpy(out, p, width);
    out[width] = 0;
    while (width && (out[width - 1] == ' ' || out[width - 1] == 0))
        out[--width] = 0;
}

static void table_row(struct ref_row *row, const char *table)
{
    char key[32], line[640], *save = NULL;
    snprintf(key, sizeof key, "%s ", table);
    memcpy(row->table, table, strnlen(table, sizeof row->table - 1));
    if (!find_line(columns, key, line, sizeof line))
        abort();
    char *t = strtok_r(line, " ", &save);
    while ((t = strtok_r(NULL, " ", &save))) {
        struct ref_value *v = &row->v[row->n++];
        *v = (struct ref_value){.kind = t[0], .null = true, .f = NAN};
        snprintf(v->name, sizeof v->name, "%s", t + 2);
        v->i = t[0] == 'c' ? ' ' : t[0] == 'i' ? INT32_MIN : INT64_MIN;
    }
}

static void put(struct refdecode *d, struct ref_value *v, const char *where, const uint8_t *b,
                bool big)
{
    if (where[0] == '\'') {
        v->i = (unsigned char)where[1];
        v->null = false;
        return;
    }
    unsigned offset, width;
    int used = 0;
    if (sscanf(where, "%u.%u%n", &offset, &width, &used) != 2)
        abort();
    const char *how = where + used;
    uint64_t raw = integer(b + offset, width > 8 ? 8 : width, big);
    switch (v->kind) {
    case 's':
        trimmed(v->s, b + offset, width);
        v->null = v->s[0] == 0;
        return;
    case 'f': {
        bool negative = !big && width == 8 && raw >> 63; /* IEX prices are signed */
        double whole = negative ? -(double)(~raw + 1) : (double)raw;
        v->f = whole / (how[1] == '8' ? 1e8 : 1e4);
        break;
    }
    case 'p':
        v->i = how[1] == 'm' ? d->midnight + (int64_t)raw : (int64_t)raw * 1000000000 - EPOCH_2000;
        break;
    case 'i': /* 32 bits; a value with the top bit set is as negative as kdb+ shows it */
        v->i = width == 4 ? (int64_t)(int32_t)(uint32_t)raw : (int64_t)raw;
        v->null = v->i == INT32_MIN;
        return;
    case 'j':
        v->i = (int64_t)raw;
        v->null = v->i == INT64_MIN;
        return;
    default:
        v->i = (int64_t)raw;
        v->null = v->i == ' ';
        return;
    }
    v->null = false;
}

int refdecode(struct refdecode *d, const char *protocol, const uint8_t *b, unsigned len,
              struct ref_row *row)
{
    char key[24], line[640], table[24], *save = NULL;
    unsigned least;
    bool itch = strcmp(protocol, "itch") == 0;
    memset(row, 0, sizeof *row);
    if (len == 0)
        return 0;
    row->type = (char)b[0];
    snprintf(key, sizeof key, "%s %c ", protocol, b[0] > ' ' && b[0] < 127 ? b[0] : '?');
    if (!find_line(messages, key, line, sizeof line))
        return 0;
    if (sscanf(line, "%*s %*s %u %20s", &least, table) != 2)
        abort();
    if (len < least)
        return -1;
    table_row(row, table);
    for (char *t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(t, '=');
        unsigned offset, width;
        if (!eq)
            continue;
        *eq = 0;
        if (t[0] == '$' && sscanf(eq + 1, "%u.%u", &offset, &width) == 2) {
            trimmed(row->sym, b + offset, width);
            continue;
        }
        struct ref_value *v = (struct ref_value *)ref_field(row, t);
        if (!v)
            abort();
        put(d, v, eq + 1, b, itch);
    }
    if (!itch) {
        row->time = (int64_t)integer(b + 2, 8, false) - EPOCH_2000;
        return 1;
    }
    unsigned locate = (unsigned)integer(b + 1, 2, true);
    row->time = d->midnight + (int64_t)integer(b + 5, 6, true);
    put(d, (struct ref_value *)ref_field(row, "locate"), "1.2", b, true);
    put(d, (struct ref_value *)ref_field(row, "tracking"), "3.2", b, true);
    if (row->sym[0] && locate) /* any message that spells its stock teaches: R may lie in a gap */
        memcpy(d->locate[locate], row->sym, sizeof row->sym);
    memcpy(row->by_locate, d->locate[locate], sizeof row->by_locate);
    if (row->sym[0] == 0)
        memcpy(row->sym, row->by_locate, sizeof row->sym);
    return 1;
}

const struct ref_value *ref_field(const struct ref_row *row, const char *name)
{
    for (unsigned i = 0; i < row->n; i++)
        if (strcmp(row->v[i].name, name) == 0)
            return &row->v[i];
    return NULL;
}

void ref_text(const struct ref_row *row, char *out, unsigned size)
{
    unsigned n = (unsigned)snprintf(out, size, "%s|%s|%" PRId64, row->table, row->sym, row->time);
    for (unsigned i = 0; i < row->n && n < size; i++) {
        const struct ref_value *v = &row->v[i];
        n += (unsigned)snprintf(out + n, size - n, "|%s=", v->name);
        if (v->null || n >= size)
            continue;
        if (v->kind == 'f')
            n += (unsigned)snprintf(out + n, size - n, "%.17g", v->f);
        else if (v->kind == 's')
            n += (unsigned)snprintf(out + n, size - n, "%s", v->s);
        else if (v->kind == 'c')
            n += (unsigned)snprintf(out + n, size - n, "%c", (char)v->i);
        else
            n += (unsigned)snprintf(out + n, size - n, "%" PRId64, v->i);
    }
}

/* Day by day from Saturday 2000-01-01, counting Sundays: slow, and nothing to get wrong. */
int64_t ref_midnight(int year, int month, int day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t days = 0;
    bool summer = false; /* at the midnight of the day that is being counted */
    for (int y = 2000; y <= year; y++) {
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        for (int m = 1; m <= 12; m++) {
            int sundays = 0, n = lengths[m - 1] + (leap && m == 2);
            for (int k = 1; k <= n; k++, days++) {
                if (y == year && m == month && k == day)
                    return (days * 24 + (summer ? 4 : 5)) * INT64_C(3600000000000);
                if (days % 7 != 1) /* 2000-01-02 was a Sunday */
                    continue;
                sundays++;
                if (m == 3 && sundays == 2)
                    summer =
                        true; /* from 02:00 of this Sunday: the next midnight is in summer time */
                if (m == 11 && sundays == 1)
                    summer = false;
            }
        }
    }
    return 0;
}
