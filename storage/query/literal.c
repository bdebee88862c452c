/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <strings.h>
#include "core/civil.h"
#include "core/schema.h"
#include "render.h"
#include "literal.h"

/* A cursor over the text: nothing here needs a terminating NUL. */
struct in {
    const char *p, *end;
};

static bool at_digit(const struct in *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}
static bool eat(struct in *s, char c)
{
    if (s->p < s->end && *s->p == c) {
        s->p++;
        return true;
    }
    return false;
}
static void blanks(struct in *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
}
/* min ... max digits -> *v; false if fewer. */
static bool digits(struct in *s, int min, int max, int64_t *v)
{
    int n = 0;
    *v = 0;
    while (n < max && at_digit(s)) {
        *v = *v * 10 + (*s->p++ - '0');
        n++;
    }
    return n >= min;
}

static bool parse_date(struct in *s, int32_t *days)
{
    int64_t y, m, d;
    if (!digits(s, 4, 4, &y)) {
        return false;
    }
    if (s->p < s->end && (*s->p == '.' || *s->p == '-' || *s->p == '/')) {
        char sep = *s->p++;
        if (!digits(s, 1, 2, &m) || !eat(s, sep) || !digits(s, 1, 2, &d)) {
            return false;
        }
    } else if (!digits(s, 2, 2, &m) || !digits(s, 2, 2, &d)) {
        return false;
    }
    if (m < 1 || m > 12 || d < 1 || d > civil_month_days((int)y, (int)m)) {
        return false;
    }
    *days = civil_days((int)y, (int)m, (int)d);
    return true;
}

/* HH:MM[:SS[.digits]] -> ns, hours any number up to 5 digits. */
static bool parse_clock(struct in *s, int64_t *ns)
{
    int64_t h, m, sec = 0, frac = 0;
    if (!digits(s, 1, 5, &h) || !eat(s, ':') || !digits(s, 2, 2, &m) || m > 59) {
        return false;
    }
    if (eat(s, ':')) {
        if (!digits(s, 2, 2, &sec) || sec > 59) {
            return false;
        }
        if (eat(s, '.')) {
            const char *from = s->p;
            if (!digits(s, 0, 9, &frac)) {
                return false;
            }
            for (ptrdiff_t n = s->p - from; n < 9; n++) {
                frac *= 10;
            }
        }
    }
    *ns = ((h * 60 + m) * 60 + sec) * PST_SECOND_NS + frac;
    return true;
}

static bool parse_stamp(struct in *s, int64_t *ns)
{
    int32_t day;
    if (!parse_date(s, &day)) {
        return false;
    }
    int64_t clock = 0, h, m;
    struct in mark = *s;
    if (eat(s, 'D') || eat(s, 'T') || (blanks(s), s->p > mark.p && at_digit(s))) {
        if (!parse_clock(s, &clock) || clock > PST_DAY_NS) {
            return false;
        }
        blanks(s);
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) {
            int64_t sign = *s->p++ == '-' ? -1 : 1;
            if (!digits(s, 2, 2, &h)) {
                return false;
            }
            m = 0;
            eat(s, ':');
            if (at_digit(s) && !digits(s, 2, 2, &m)) {
                return false;
            }
            clock -= sign * (h * 60 + m) * 60 * PST_SECOND_NS;
        } else {
            eat(s, 'Z');
        }
    }
    /* 1707 ... 2292 is what 64 bits of nanoseconds hold */
    return !__builtin_mul_overflow((int64_t)day, PST_DAY_NS, ns) &&
           !__builtin_add_overflow(*ns, clock, ns) && *ns != INT64_MIN;
}

static const struct unit {
    const char *name; /* and its plural in s */
    int64_t ns, months;
} units[] = {
    {"nanosecond", 1, 0},
    {"ns", 1, 0},
    {"microsecond", 1000, 0},
    {"us", 1000, 0},
    {"millisecond", 1000000, 0},
    {"ms", 1000000, 0},
    {"second", PST_SECOND_NS, 0},
    {"sec", PST_SECOND_NS, 0},
    {"s", PST_SECOND_NS, 0},
    {"minute", 60 * PST_SECOND_NS, 0},
    {"min", 60 * PST_SECOND_NS, 0},
    {"m", 60 * PST_SECOND_NS, 0},
    {"hour", 3600 * PST_SECOND_NS, 0},
    {"h", 3600 * PST_SECOND_NS, 0},
    {"day", PST_DAY_NS, 0},
    {"d", PST_DAY_NS, 0},
    {"week", 7 * PST_DAY_NS, 0},
    {"w", 7 * PST_DAY_NS, 0},
    {"month", 0, 1},
    {"mon", 0, 1},
    {"quarter", 0, 3},
    {"year", 0, 12},
    {"y", 0, 12},
};

static const struct unit *unit_find(const char *p, size_t n)
{
    for (unsigned i = 0; i < PST_COUNT(units); i++) {
        size_t len = strlen(units[i].name);
        if ((n == len || (n == len + 1 && len > 2 && (p[len] == 's' || p[len] == 'S'))) &&
            !strncasecmp(p, units[i].name, len)) {
            return &units[i];
        }
    }
    return NULL;
}

/* One "number unit" of an interval in words, added to *ns and *months. */
static bool parse_word(struct in *s, int64_t *ns, int64_t *months)
{
    int64_t sign = 1, whole, frac = 0, scale = 1, v;
    if (eat(s, '-')) {
        sign = -1;
    } else {
        eat(s, '+');
    }
    blanks(s);
    const char *from = s->p;
    if (!digits(s, 0, 18, &whole)) {
        return false;
    }
    if (eat(s, '.')) {
        const char *f = s->p;
        if (!digits(s, 1, 9, &frac)) {
            return false;
        }
        for (ptrdiff_t n = s->p - f; n > 0; n--) {
            scale *= 10;
        }
    }
    if (s->p == from) {
        return false;
    }
    blanks(s);
    const char *w = s->p;
    while (s->p < s->end && ((*s->p | 32) >= 'a' && (*s->p | 32) <= 'z')) {
        s->p++;
    }
    const struct unit *u = unit_find(w, (size_t)(s->p - w));
    if (!u || (u->months && frac)) {
        return false;
    }
    if (u->months) {
        return whole < 100000 && (*months += sign * whole * u->months, true);
    }
    __int128 part = (__int128)frac * u->ns / scale;
    return !__builtin_mul_overflow(whole, u->ns, &v) &&
           !__builtin_add_overflow(v, (int64_t)part, &v) && !__builtin_mul_overflow(v, sign, &v) &&
           !__builtin_add_overflow(*ns, v, ns);
}

bool literal_interval(const char *text, size_t len, int64_t *ns, int64_t *months)
{
    struct in s = {text, text + len};
    *ns = 0;
    *months = 0;
    blanks(&s);
    bool any = false;
    for (; s.p < s.end; any = true) {
        struct in mark = s;
        int64_t sign = 1, d = 0, clock;
        if (eat(&s, '-')) {
            sign = -1;
        } else {
            eat(&s, '+');
        }
        struct in number = s;
        bool day = digits(&s, 1, 6, &d) && eat(&s, 'D') && at_digit(&s);
        if (!day) {
            s = number;
            d = 0;
        }
        struct in before = s;
        if (digits(&s, 1, 5, &clock) && s.p < s.end && *s.p == ':') {
            s = before;
            if (!parse_clock(&s, &clock) || __builtin_mul_overflow(d, PST_DAY_NS, &d) ||
                __builtin_add_overflow(clock, d, &clock) ||
                __builtin_add_overflow(*ns, sign * clock, ns)) {
                return false;
            }
        } else {
            s = mark;
            if (!parse_word(&s, ns, months)) {
                return false;
            }
        }
        blanks(&s);
        if (eat(&s, ',')) {
            blanks(&s);
        }
    }
    return any && *ns != INT64_MIN;
}

static int64_t type_max(uint8_t type)
{
    switch (type) {
    case PST_SHORT:
        return INT16_MAX;
    case PST_BYTE:
    case PST_CHAR:
        return UINT8_MAX;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return INT64_MAX;
    default:
        return INT32_MAX;
    }
}

static bool parse_float(const struct in *s, uint8_t type, double *v)
{
    char buf[400], *end; /* strtod needs a NUL; no sensible number is longer */
    size_t n = (size_t)(s->end - s->p);
    if (n == 0 || n >= sizeof buf) {
        return false;
    }
    memcpy(buf, s->p, n);
    buf[n] = 0;
    const char *word = buf + (buf[0] == '-' || buf[0] == '+');
    double sign = buf[0] == '-' ? -1 : 1;
    if (!strcmp(word, "0w") || !strcasecmp(word, "inf") || !strcasecmp(word, "infinity")) {
        *v = sign * INFINITY;
        return true;
    }
    if (!strcmp(word, "0n") || !strcasecmp(word, "nan")) {
        *v = NAN;
        return true;
    }
    if (strspn(buf, "+-.0123456789eE") != n) {
        return false; /* strtod would take hex and locale forms */
    }
    *v = strtod(buf, &end);
    if (type == PST_REAL) {
        *v = (double)(float)*v;
    }
    return *end == 0 && end != buf;
}

static bool parse_integer(struct in *s, uint8_t type, int64_t *v)
{
    bool neg = eat(s, '-');
    if (!neg) {
        eat(s, '+');
    }
    if (s->end - s->p == 2 && s->p[0] == '0' && s->p[1] == 'W' && type != PST_BYTE) {
        *v = neg ? -type_max(type) : type_max(type);
        return true;
    }
    if (type == PST_BYTE && s->end - s->p > 2 && s->end - s->p <= 4 && s->p[0] == '0' &&
        s->p[1] == 'x') {
        *v = 0;
        for (s->p += 2; s->p < s->end; s->p++) {
            int c = *s->p | 32, d = c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
            if (d < 0 || d > 15) {
                return false;
            }
            *v = *v * 16 + d;
        }
        return !neg;
    }
    if (!at_digit(s)) {
        return false;
    }
    *v = 0;
    while (at_digit(s)) {
        if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *s->p - '0', v)) {
            return false;
        }
        s->p++;
    }
    *v = neg ? -*v : *v;
    return s->p == s->end && *v <= type_max(type) && *v >= (type == PST_BYTE ? 0 : -type_max(type));
}

static bool parse_guid(struct in *s, uint8_t out[16])
{
    unsigned n = 0;
    for (; s->p < s->end; s->p++) {
        if (*s->p == '-' && n % 2 == 0) {
            continue;
        }
        int c = *s->p | 32, d = *s->p >= '0' && *s->p <= '9' ? *s->p - '0' : c - 'a' + 10;
        if (n == 32 || d < 0 || d > 15 || (d > 9 && (c < 'a' || c > 'f'))) {
            return false;
        }
        out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] | d : d << 4);
        n++;
    }
    return n == 32;
}

static bool parse_boolean(const struct in *s, int64_t *v)
{
    static const char *const words[2][8] = {{"false", "f", "no", "n", "off", "0", "0b"},
                                            {"true", "t", "yes", "y", "on", "1", "1b"}};
    size_t n = (size_t)(s->end - s->p);
    for (int b = 0; b < 2; b++) {
        for (const char *const *w = words[b]; *w; w++) {
            if (strlen(*w) == n && !strncasecmp(*w, s->p, n)) {
                *v = b;
                return true;
            }
        }
    }
    return false;
}

static bool guid_null(const uint8_t g[16])
{
    static const uint8_t zero[16];
    return !memcmp(g, zero, 16);
}

/* A clock time as minute, second or time: rounded down. */
static bool parse_offset(struct in *s, uint8_t type, int64_t *v)
{
    bool neg = eat(s, '-');
    if (!neg && s->end - s->p == 2 && !memcmp(s->p, "0W", 2)) {
        *v = type_max(type);
        s->p = s->end;
        return true;
    }
    int64_t ns, unit = type == PST_MINUTE   ? 60 * PST_SECOND_NS
                       : type == PST_SECOND ? PST_SECOND_NS
                                            : PST_SECOND_NS / 1000;
    if (!parse_clock(s, &ns)) {
        return false;
    }
    *v = civil_floor_div(neg ? -ns : ns, unit);
    return *v <= INT32_MAX && *v >= -INT32_MAX;
}

bool literal_parse(uint8_t type, const char *text, size_t len, struct scalar *out)
{
    *out = (struct scalar){.type = type};
    if (type == PST_STRING || type == PST_SYMBOL) {
        out->null = len == 0;
        out->text = (struct plan_text){text, (uint32_t)len};
        return len <= (type == PST_SYMBOL ? 255u : UINT32_MAX) && !memchr(text, 0, len);
    }
    if (type == PST_CHAR) {
        out->null = len == 0 || *text == ' ';
        out->i = len ? (uint8_t)*text : ' ';
        return len <= 1;
    }
    struct in s = {text, text + len};
    blanks(&s);
    while (s.end > s.p && (s.end[-1] == ' ' || s.end[-1] == '\n' || s.end[-1] == '\t')) {
        s.end--;
    }
    if (s.p == s.end || (s.end - s.p == 2 && (!memcmp(s.p, "0N", 2) || !memcmp(s.p, "0n", 2)))) {
        out->null = true;
        return true;
    }
    bool ok;
    int64_t months;
    int32_t day;
    int64_t y, m;
    bool inf = s.end - s.p <= 3 && s.end - s.p >= 2 && !memcmp(s.end - 2, "0W", 2) &&
               (s.end - s.p == 2 || *s.p == '-');
    switch (type) {
    case PST_BOOLEAN:
        return parse_boolean(&s, &out->i);
    case PST_GUID:
        ok = parse_guid(&s, out->guid);
        out->null = ok && guid_null(out->guid);
        return ok;
    case PST_REAL:
    case PST_FLOAT:
        ok = parse_float(&s, type, &out->f);
        out->null = ok && isnan(out->f);
        return ok;
    case PST_BYTE:
    case PST_SHORT:
    case PST_INT:
    case PST_LONG:
        return parse_integer(&s, type, &out->i);
    default:
        break;
    }
    if (inf) {
        out->i = *s.p == '-' ? -type_max(type) : type_max(type);
        return true;
    }
    switch (type) {
    case PST_DATE:
        ok = parse_date(&s, &day) && s.p == s.end;
        out->i = ok ? day : 0;
        return ok;
    case PST_MONTH:
        ok = digits(&s, 4, 4, &y) && (eat(&s, '.') || eat(&s, '-') || eat(&s, '/')) &&
             digits(&s, 1, 2, &m) && m >= 1 && m <= 12 && (eat(&s, 'm'), s.p == s.end);
        out->i = ok ? (y - 2000) * 12 + m - 1 : 0;
        return ok;
    case PST_TIMESTAMP:
        return parse_stamp(&s, &out->i) && s.p == s.end;
    case PST_TIMESPAN:
        return literal_interval(s.p, (size_t)(s.end - s.p), &out->i, &months) && months == 0;
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        return parse_offset(&s, type, &out->i) && s.p == s.end;
    default:
        return false;
    }
}

uint32_t literal_text(const struct scalar *v, char out[LITERAL_TEXT])
{
    _Static_assert(LITERAL_TEXT >= RENDER_VALUE, "render_value writes here");
    uint8_t raw[16] = {0};
    *out = 0;
    if (v->null) {
        return 0;
    }
    if (v->type == PST_BOOLEAN) {
        return (uint32_t)snprintf(out, LITERAL_TEXT, "%s", v->i ? "true" : "false");
    }
    if (v->type == PST_REAL) {
        float f = (float)v->f;
        memcpy(raw, &f, sizeof f);
    } else if (v->type == PST_GUID) {
        memcpy(raw, v->guid, 16);
    } else {
        memcpy(raw, &v->i, 8); /* little endian: the narrow types are its first bytes */
    }
    return render_value(v->type, raw, out);
}

const char *literal_example(uint8_t type)
{
    switch (type) {
    case PST_BOOLEAN:
        return "true";
    case PST_GUID:
        return "8c680a01-5a49-5aab-5a65-d4bfddb6a661";
    case PST_BYTE:
        return "0x2a";
    case PST_REAL:
    case PST_FLOAT:
        return "1.5";
    case PST_CHAR:
        return "one character";
    case PST_TIMESTAMP:
        return "2024.01.02D09:30:00";
    case PST_MONTH:
        return "2024.01";
    case PST_DATE:
        return "2024.01.02";
    case PST_TIMESPAN:
        return "0D09:30:00 or 5 minutes";
    case PST_MINUTE:
        return "09:30";
    case PST_SECOND:
        return "09:30:00";
    case PST_TIME:
        return "09:30:00.000";
    default:
        return "42";
    }
}

uint8_t literal_type(const char *name)
{
    static const struct {
        const char *name;
        uint8_t type;
    } others[] = {
        {"bool", PST_BOOLEAN},
        {"uuid", PST_GUID},
        {"tinyint", PST_BYTE},
        {"smallint", PST_SHORT},
        {"int2", PST_SHORT},
        {"integer", PST_INT},
        {"int4", PST_INT},
        {"bigint", PST_LONG},
        {"int8", PST_LONG},
        {"float4", PST_REAL},
        {"double", PST_FLOAT},
        {"float8", PST_FLOAT},
        {"numeric", PST_FLOAT},
        {"decimal", PST_FLOAT},
        {"bpchar", PST_CHAR},
        {"sym", PST_SYMBOL},
        {"text", PST_STRING},
        {"varchar", PST_STRING},
        {"timestamptz", PST_TIMESTAMP},
        {"interval", PST_TIMESPAN},
        {"timetz", PST_TIME},
    };
    uint8_t t = type_by_name(name);
    for (unsigned i = 0; !t && i < PST_COUNT(others); i++) {
        if (!strcmp(others[i].name, name)) {
            t = others[i].type;
        }
    }
    return t;
}
