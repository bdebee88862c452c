/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few expressions of q that clients of a tickerplant send as text, read into nodes. No value is
 * ever computed: what is not one of these kinds does not parse.
 *
 *     expression  term | term expression (application) | call each term
 *     term        `symbols  "string"  number  ::  name  name[e;...]  (e;...)  symbols!expression
 */
#include "kdb/request_parts.h"

#define DEPTH 8u

struct parse {
    const char *at, *end;
    struct node *nodes;
    uint8_t used, depth;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Goes over what both say, blanks apart; NULL: they differ. */
static const char *over(const char *at, const char *end, const char *known)
{
    for (;;) {
        while (at < end && blank(*at))
            at++;
        while (blank(*known))
            known++;
        if (!*known)
            return at;
        if (at == end || *at++ != *known++)
            return NULL;
    }
}
bool text_begins(const char *text, uint32_t len, const char *known)
{
    return over(text, text + len, known) != NULL;
}
bool text_same(const char *text, uint32_t len, const char *known)
{
    return over(text, text + len, known) == text + len;
}

static struct node *node(struct parse *p, enum node_kind kind)
{
    if (p->used == NODES - 1)
        return NULL;
    struct node *n = &p->nodes[++p->used];
    *n = (struct node){.kind = (uint8_t)kind};
    return n;
}
static uint8_t index_of(const struct parse *p, const struct node *n)
{
    return n ? (uint8_t)(n - p->nodes) : 0;
}

static void skip(struct parse *p)
{
    while (p->at < p->end && blank(*p->at))
        p->at++;
}
static bool is(const struct parse *p, char c)
{
    return p->at < p->end && *p->at == c;
}

static bool symbol_char(char c)
{
    return letter(c) || digit(c) || c == '.' || c == '_' || c == ':' || c == '/' || (c & 0x80);
}

static uint8_t symbols(struct parse *p)
{
    struct node *n = node(p, NODE_SYMBOLS);
    if (!n)
        return 0;
    n->text = p->at;
    while (is(p, '`')) {
        p->at++;
        while (p->at < p->end && symbol_char(*p->at))
            p->at++;
    }
    n->len = (uint32_t)(p->at - n->text);
    return index_of(p, n);
}

static uint8_t string(struct parse *p)
{
    struct node *n = node(p, NODE_STRING);
    const char *end = memchr(p->at + 1, '"', (size_t)(p->end - p->at - 1));
    if (!n || !end || memchr(p->at, '\\', (size_t)(end - p->at))) /* escapes: send it as a list */
        return 0;
    n->text = p->at + 1;
    n->len = (uint32_t)(end - n->text);
    p->at = end + 1;
    return index_of(p, n);
}

/* Days of a date since 2000-01-01; false: no such day. */
static bool days_of(unsigned y, unsigned m, unsigned d, int32_t *days)
{
    static const uint8_t of[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (y < 1 || m < 1 || m > 12 || d < 1 || d > of[m - 1] + (m == 2 && leap ? 1u : 0u))
        return false;
    unsigned a = (14 - m) / 12, yy = y + 4800 - a, mm = m + 12 * a - 3;
    *days = (int32_t)(d + (153 * mm + 2) / 5 + 365 * yy + yy / 4 - yy / 100 + yy / 400 - 32045) -
            2451545;
    return true;
}

/* long, int i, short h, float, boolean, date, time of day, null long. */
static uint8_t number(struct parse *p)
{
    char text[40], *rest;
    unsigned len = 0, y, m, d, ms = 0;
    int used = 0, day = 0, clock = 0;
    struct node *n = node(p, NODE_VALUE);
    while (p->at < p->end && len < sizeof text - 1 &&
           (letter(*p->at) || digit(*p->at) || *p->at == '.' || *p->at == ':' ||
            (*p->at == '-' && !len)))
        text[len++] = *p->at++;
    text[len] = 0;
    if (!n || !len || len == sizeof text - 1)
        return 0;
    if (*text != '-' && sscanf(text, "%4u.%2u.%2u%n", &y, &m, &d, &day) == 3) {
        int32_t days;
        if ((unsigned)day != len || !days_of(y, m, d, &days))
            return 0;
        n->type = PST_DATE;
        memcpy(n->value, &days, sizeof days);
        return index_of(p, n);
    }
    if (strchr(text, ':')) {
        int got = sscanf(text, "%2u:%2u%n:%2u%n.%3u%n", &y, &m, &used, &d, &clock, &ms, &day);
        int32_t v;
        if (got < 2 || *text == '-' || m > 59 || (got > 2 && d > 59))
            return 0;
        n->type = got == 2 ? PST_MINUTE : got == 3 ? PST_SECOND : PST_TIME;
        if ((unsigned)(got == 2   ? used
                       : got == 3 ? clock
                                  : day) != len ||
            (got == 4 && day - clock != 4))
            return 0;
        v = (int32_t)(got == 2   ? y * 60 + m
                      : got == 3 ? y * 3600 + m * 60 + d
                                 : (y * 3600 + m * 60 + d) * 1000 + ms);
        memcpy(n->value, &v, sizeof v);
        return index_of(p, n);
    }
    if (!strcmp(text, "0b") || !strcmp(text, "1b")) {
        n->type = PST_BOOLEAN;
        n->value[0] = *text == '1';
        return index_of(p, n);
    }
    if (!strcmp(text, "0N") || !strcmp(text, "0Nj")) {
        int64_t null = PST_NULL_LONG;
        n->type = PST_LONG;
        memcpy(n->value, &null, sizeof null);
        return index_of(p, n);
    }
    if (strpbrk(text, ".eEf") && !strpbrk(text, "xX")) {
        double v = strtod(text, &rest);
        if (rest == text || (*rest && strcmp(rest, "f") != 0))
            return 0;
        n->type = PST_FLOAT;
        memcpy(n->value, &v, sizeof v);
        return index_of(p, n);
    }
    long long v = strtoll(text, &rest, 10);
    if (rest == text || (*rest && rest[1]))
        return 0;
    if (!*rest || *rest == 'j')
        n->type = PST_LONG;
    else if (*rest == 'i' && v == (int32_t)v)
        n->type = PST_INT;
    else if (*rest == 'h' && v == (int16_t)v)
        n->type = PST_SHORT;
    else
        return 0;
    memcpy(n->value, &v, sizeof v); /* little endian: the narrow ones are its first bytes */
    return index_of(p, n);
}

static uint8_t expression(struct parse *p);

/* e;e;...closing, as children of n; an empty place is a hole. */
static bool children(struct parse *p, struct node *n, char closing)
{
    uint8_t last = 0;
    skip(p);
    if (is(p, closing)) {
        p->at++;
        return true;
    }
    for (;;) {
        skip(p);
        uint8_t c = is(p, ';') || is(p, closing) ? index_of(p, node(p, NODE_HOLE)) : expression(p);
        if (!c)
            return false;
        if (last)
            p->nodes[last].next = c;
        else
            n->first = c;
        last = c;
        n->count++;
        skip(p);
        if (is(p, closing)) {
            p->at++;
            return true;
        }
        if (!is(p, ';'))
            return false;
        p->at++;
    }
}

static uint8_t term(struct parse *p)
{
    struct node *n;
    if (is(p, '`'))
        return symbols(p);
    if (is(p, '"'))
        return string(p);
    if (is(p, '(')) {
        p->at++;
        n = node(p, NODE_LIST);
        if (!n || !children(p, n, ')'))
            return 0;
        return n->count == 1 ? n->first : index_of(p, n); /* (e) is e */
    }
    if (p->end - p->at >= 2 && p->at[0] == ':' && p->at[1] == ':') {
        p->at += 2;
        return index_of(p, node(p, NODE_NULL));
    }
    if (p->at < p->end && (digit(*p->at) || *p->at == '-'))
        return number(p);
    const char *from = p->at;
    while (p->at < p->end &&
           (letter(*p->at) || *p->at == '.' || (p->at > from && (digit(*p->at) || *p->at == '_'))))
        p->at++;
    if (p->at == from || !(n = node(p, NODE_NAME)))
        return 0;
    n->text = from;
    n->len = (uint32_t)(p->at - from);
    if (is(p, '[')) {
        p->at++;
        n->kind = NODE_CALL;
        if (!children(p, n, ']'))
            return 0;
    }
    return index_of(p, n);
}

static bool named(const struct node *n, const char *name)
{
    return n->kind == NODE_NAME && n->len == strlen(name) && !memcmp(n->text, name, n->len);
}
static bool ends(const struct parse *p)
{
    return p->at == p->end || *p->at == ';' || *p->at == ')' || *p->at == ']';
}

/* What `f x` is. */
static uint8_t applied(struct parse *p, uint8_t f, uint8_t x)
{
    struct node *n = &p->nodes[f], *r = &p->nodes[x];
    if (named(n, "enlist")) {
        r->enlisted = true;
        return x;
    }
    if (n->kind == NODE_SYMBOLS && n->len > 2 && n->text[1] == '.') { /* `.u `i is .u `i */
        n->text++;
        n->len--;
        n->kind = NODE_NAME;
    }
    if (n->kind == NODE_NAME) {
        n->kind = NODE_CALL;
        n->first = x;
        n->count = 1;
        return f;
    }
    if (n->kind == NODE_CALL && r->kind == NODE_CALL && r->len == 4 && r->count == 1 &&
        !memcmp(r->text, "each", 4)) { /* f[;y] each x: `each x` was read as each applied to x */
        r->kind = NODE_EACH;
        n->next = r->first;
        r->first = f;
        r->count = 2;
        return x;
    }
    return 0;
}

/* keys!values */
static uint8_t dictionary(struct parse *p, uint8_t keys)
{
    const struct node *k = &p->nodes[keys];
    p->at++;
    struct node *n = node(p, NODE_DICT);
    if (!n || (k->kind != NODE_SYMBOLS && (k->kind != NODE_LIST || k->count)))
        return 0;
    uint8_t values = expression(p);
    if (!values)
        return 0;
    n->first = keys;
    n->count = 2;
    p->nodes[keys].next = values;
    return index_of(p, n);
}

static uint8_t expression(struct parse *p)
{
    /* a chained tickerplant's question whether its upstream counts messages */
    const char *behind = over(p->at, p->end, "$[`m in key`.u;(.u `m)\"`.u `i`L\";`.u `i`L]");
    if (behind) {
        p->at = behind;
        return index_of(p, node(p, NODE_PAIR));
    }
    if (p->depth == DEPTH)
        return 0;
    p->depth++;
    uint8_t t = term(p);
    skip(p);
    if (t && is(p, '!')) {
        t = dictionary(p, t);
    } else if (t && !ends(p)) {
        uint8_t rest = expression(p);
        t = rest ? applied(p, t, rest) : 0;
    }
    p->depth--;
    return t;
}

bool text_parse(const char *text, uint32_t len, struct node nodes[NODES], uint8_t *root)
{
    struct parse p = {.at = text, .end = text + len, .nodes = nodes};
    skip(&p);
    *root = expression(&p);
    skip(&p);
    return *root && p.at == p.end;
}
