/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <float.h>
#include <math.h>
#include "core/civil.h"
#include "core/clock.h"
#include "csv.h"

#define FIELD_MAX 65536u

size_t csv_line(const char *text, size_t len, size_t *next)
{
    /* As field() reads it: a quote opens only where a field begins; 5" is a plain text. */
    bool quoted = false, begins = true;
    size_t i = len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
    for (; i < len; i++) {
        if (quoted) {
            if (text[i] == '"' && i + 1 < len && text[i + 1] == '"')
                i++;
            else if (text[i] == '"')
                quoted = false;
        } else if (text[i] == '\n') {
            *next = i + 1;
            return i && text[i - 1] == '\r' ? i - 1 : i;
        } else {
            quoted = begins && text[i] == '"';
            begins = text[i] == ',';
        }
    }
    *next = len;
    return len && text[len - 1] == '\r' ? len - 1 : len;
}

/* The next field: unquoted into buf when it was quoted, else pointing into the line. False: broken
 * quoting. *at moves behind the separator; *more says whether another field follows. */
static bool field(const char *line, size_t len, size_t *at, char *buf, const char **out,
                  uint32_t *out_len, bool *more)
{
    size_t i = *at, n = 0;
    if (i < len && line[i] == '"') {
        for (i++; i < len; i++) {
            if (line[i] == '"') {
                if (i + 1 < len && line[i + 1] == '"')
                    i++;
                else
                    break;
            }
            if (n == FIELD_MAX)
                return false;
            buf[n++] = line[i];
        }
        if (i == len)
            return false; /* no closing quote */
        i++;
        if (i < len && line[i] != ',')
            return false;
        *out = buf;
    } else {
        *out = line + i;
        while (i < len && line[i] != ',')
            i++;
        n = i - *at;
    }
    *out_len = (uint32_t)n;
    *more = i < len;
    *at = i + 1;
    return n <= FIELD_MAX;
}

bool csv_header(struct csv *c, const struct schema *s, const char *line, size_t len,
                struct err *err)
{
    static _Thread_local char buf[FIELD_MAX];
    c->schema = s;
    c->nfields = 0;
    size_t at = 0;
    bool more = true;
    if (len >= 3 && !memcmp(line, "\xEF\xBB\xBF", 3)) {
        line += 3;
        len -= 3;
    }
    while (more) {
        const char *f;
        uint32_t n;
        if (!field(line, len, &at, buf, &f, &n, &more))
            return err_set(err, -EINVAL, "header: the quotes of field %u do not close",
                           c->nfields + 1);
        char name[SCHEMA_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : 0, f);
        int col = schema_column(s, name);
        if (col < 0)
            return err_set(err, -EINVAL, "header: table %s has no column '%.*s'", s->name,
                           n < 60 ? (int)n : 60, f);
        for (unsigned i = 0; i < c->nfields; i++)
            if (c->column[i] == col)
                return err_set(err, -EINVAL, "header: column %s stands twice", name);
        c->column[c->nfields++] = (int16_t)col;
    }
    return true;
}

/* A whole number of at most 18 digits at p; how many characters it took. */
static unsigned digits(const char *p, const char *end, int64_t *v)
{
    const char *s = p;
    for (*v = 0; p < end && isdigit((unsigned char)*p) && p - s < 18; p++)
        *v = *v * 10 + (*p - '0');
    return (unsigned)(p - s);
}

/* HH:MM[:SS[.fraction]] -> ns; parts says how many of hours, minutes, seconds, fraction stood
 * there. */
static bool clock_text(const char *p, const char *end, int64_t *ns, int *parts)
{
    int64_t h, m, s = 0, f = 0;
    unsigned n = digits(p, end, &h);
    *parts = 2;
    if (!n || n > 4 || (p += n) == end || *p++ != ':' || digits(p, end, &m) != 2 || m > 59)
        return false;
    p += 2;
    if (p < end) {
        if (*p++ != ':' || digits(p, end, &s) != 2 || s > 59)
            return false;
        p += 2;
        *parts = 3;
    }
    if (p < end) {
        if (*p++ != '.' || !(n = digits(p, end, &f)) || n > 9)
            return false;
        for (unsigned i = n; i < 9; i++)
            f *= 10;
        p += n;
        *parts = 4;
    }
    *ns = ((h * 60 + m) * 60 + s) * NS_PER_S + f;
    return p == end;
}

static bool date_text(const char *p, size_t n, int32_t *day)
{
    char t[16];
    if (n > 10)
        return false;
    memcpy(t, p, n);
    t[n] = 0;
    return civil_parse(t, day);
}

static bool stamp_text(const char *p, const char *end, int64_t *t)
{
    const char *sep = p;
    while (sep < end && *sep != 'T' && *sep != 'D' && *sep != ' ')
        sep++;
    int32_t day;
    int64_t ns = 0;
    int parts;
    if (!date_text(p, (size_t)(sep - p), &day))
        return false;
    if (day >= INT64_MAX / NS_PER_DAY || day <= -(INT64_MAX / NS_PER_DAY))
        return false; /* 1707 to 2292 is what 64 bits of ns hold */
    if (sep < end) {
        if (end[-1] == 'Z')
            end--;
        if (!clock_text(sep + 1, end, &ns, &parts) || ns >= NS_PER_DAY)
            return false;
    }
    *t = day * NS_PER_DAY + ns;
    return true;
}

bool csv_timestamp(const char *text, size_t len, int64_t *ns)
{
    return len && stamp_text(text, text + len, ns);
}

static bool span_text(const char *p, const char *end, int64_t *t)
{
    bool minus = p < end && *p == '-';
    p += minus;
    int64_t days = 0, ns;
    int parts;
    const char *d = memchr(p, 'D', (size_t)(end - p));
    if (d) {
        unsigned n = digits(p, d, &days);
        if (!n || p + n != d || days > 100000)
            return false;
        p = d + 1;
    }
    if (!clock_text(p, end, &ns, &parts))
        return false;
    *t = (days * NS_PER_DAY + ns) * (minus ? -1 : 1);
    return true;
}

static bool whole(const char *p, const char *end, int64_t low, int64_t high, int64_t *v)
{
    char t[32];
    size_t n = (size_t)(end - p);
    if (!n || n >= sizeof t || (!isdigit((unsigned char)*p) && *p != '-' && *p != '+'))
        return false;
    memcpy(t, p, n);
    t[n] = 0;
    char *stop;
    errno = 0;
    long long x = strtoll(t, &stop, 10);
    *v = x;
    return !errno && stop == t + n && x >= low && x <= high;
}

static bool number(const char *p, const char *end, double *v)
{
    char t[64];
    size_t n = (size_t)(end - p);
    if (!n || n >= sizeof t || isspace((unsigned char)*p))
        return false;
    memcpy(t, p, n);
    t[n] = 0;
    char *stop;
    errno = 0;
    *v = strtod(t, &stop);
    return stop == t + n && !(errno == ERANGE && isinf(*v));
}

static bool guid_text(const char *p, const char *end, uint8_t out[16])
{
    unsigned n = 0;
    for (; p < end; p++) {
        if (*p == '-')
            continue;
        if (!isxdigit((unsigned char)*p) || n == 32)
            return false;
        unsigned v = (unsigned)(isdigit((unsigned char)*p) ? *p - '0' : (*p | 32) - 'a' + 10);
        out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] | v : v << 4);
        n++;
    }
    return n == 32;
}

/* One fixed-width value (symbols and strings are the caller's). */
static bool put_value(uint8_t *at, uint8_t type, const char *p, uint32_t n)
{
    const char *end = p + n;
    int64_t v = 0, ns;
    int32_t day;
    double f;
    int parts;
    switch (type) {
    case PST_BOOLEAN:
        *at = n == 1 ? *p == '1' || *p == 't' : n == 4;
        return (n == 1 && memchr("01tf", *p, 4)) || (n == 4 && !memcmp(p, "true", 4)) ||
               (n == 5 && !memcmp(p, "false", 5));
    case PST_GUID:
        return guid_text(p, end, at);
    case PST_BYTE:
        if (n == 4 && p[0] == '0' && p[1] == 'x' && isxdigit((unsigned char)p[2]) &&
            isxdigit((unsigned char)p[3])) {
            char hex[3] = {p[2], p[3], 0};
            *at = (uint8_t)strtoul(hex, NULL, 16);
            return true;
        }
        *at = (uint8_t)v;
        if (!whole(p, end, 0, 255, &v))
            return false;
        *at = (uint8_t)v;
        return true;
    case PST_CHAR:
        *at = (uint8_t)*p;
        return n == 1;
    case PST_SHORT:
        if (!whole(p, end, INT16_MIN + 1, INT16_MAX, &v))
            return false;
        put16(at, (uint16_t)v);
        return true;
    case PST_INT:
        if (!whole(p, end, INT32_MIN + 1ll, INT32_MAX, &v))
            return false;
        put32(at, (uint32_t)v);
        return true;
    case PST_LONG:
        if (!whole(p, end, INT64_MIN + 1, INT64_MAX, &v))
            return false;
        put64(at, (uint64_t)v);
        return true;
    case PST_FLOAT:
        if (!number(p, end, &f))
            return false;
        if (isnan(f))
            put64(at, PST_NULL_FLOAT_BITS);
        else
            memcpy(at, &f, 8);
        return true;
    case PST_REAL: {
        if (!number(p, end, &f))
            return false;
        if (isfinite(f) && fabs(f) > (double)FLT_MAX)
            return false;
        float r = (float)f;
        if (isnan(f))
            put32(at, PST_NULL_REAL_BITS);
        else
            memcpy(at, &r, 4);
        return true;
    }
    case PST_TIMESTAMP:
        if (!stamp_text(p, end, &v))
            return false;
        put64(at, (uint64_t)v);
        return true;
    case PST_TIMESPAN:
        if (!span_text(p, end, &v))
            return false;
        put64(at, (uint64_t)v);
        return true;
    case PST_DATE:
        if (!date_text(p, n, &day))
            return false;
        put32(at, (uint32_t)day);
        return true;
    case PST_MONTH: {
        int64_t year, month;
        if (n != 7 || digits(p, p + 4, &year) != 4 || (p[4] != '-' && p[4] != '.') ||
            digits(p + 5, end, &month) != 2 || month < 1 || month > 12)
            return false;
        put32(at, (uint32_t)((year - 2000) * 12 + month - 1));
        return true;
    }
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME: {
        bool minus = *p == '-';
        if (!clock_text(p + minus, end, &ns, &parts))
            return false;
        int64_t unit = type == PST_MINUTE   ? 60 * NS_PER_S
                       : type == PST_SECOND ? NS_PER_S
                                            : NS_PER_MS;
        if (ns % unit || ns / unit > INT32_MAX)
            return false;
        put32(at, (uint32_t)(ns / unit * (minus ? -1 : 1)));
        return true;
    }
    default:
        return false;
    }
}

uint32_t csv_row(const struct csv *c, const char *line, size_t len, int64_t now, uint8_t *out,
                 csv_symbol *symbol, void *arg, struct err *err)
{
    static _Thread_local char buf[FIELD_MAX];
    const struct schema *s = c->schema;
    memset(out, 0, s->fixed);
    for (unsigned i = 0; i < s->ncols; i++)
        if (!s->col[i].packet)
            type_put_null(out + s->col[i].offset, s->col[i].type);
    uint32_t end = s->fixed;
    size_t at = 0;
    bool more = true;
    unsigned i = 0;
    for (; more; i++) {
        const char *f;
        uint32_t n;
        if (!field(line, len, &at, buf, &f, &n, &more)) {
            err_set(err, -EINVAL, "the quotes of field %u do not close", i + 1);
            return 0;
        }
        if (i >= c->nfields) {
            i++; /* one too many */
            break;
        }
        const struct column *col = &s->col[c->column[i]];
        uint8_t *to = out + col->offset;
        bool ok = true;
        if (col->type == PST_STRING) {
            ok = end + n <= CSV_RECORD_MAX - 8;
            if (ok) {
                memcpy(out + end, f, n);
                put32(to, end);
                put32(to + 4, n);
                end += n;
            }
        } else if (n && col->type == PST_SYMBOL) {
            uint32_t id = n <= 255 && !memchr(f, 0, n) ? symbol(arg, f, n) : 0xFFFFFFFEu;
            if (id == 0xFFFFFFFEu) {
                err_set(err, -EINVAL,
                        "column %s: symbol '%.*s' is refused (longer than 255 bytes, or the symbol "
                        "table is full)",
                        col->name, n < 60 ? (int)n : 60, f);
                return 0;
            }
            put32(to, id);
        } else if (n) {
            ok = put_value(to, col->type, f, n);
        }
        if (!ok) {
            err_set(err, -EINVAL, "column %s: '%.*s' is no %s", col->name, n < 60 ? (int)n : 60, f,
                    type_name(col->type));
            return 0;
        }
    }
    if (i != c->nfields) {
        err_set(err, -EINVAL, "%s fields than the header's %u", i < c->nfields ? "fewer" : "more",
                c->nfields);
        return 0;
    }
    struct record r;
    memcpy(&r, out, sizeof r);
    r.table = s->id;
    r.bytes = (uint16_t)pst_align8(end);
    if (r.time == PST_NULL_TIMESTAMP)
        r.time = now;
    memcpy(out, &r, sizeof r);
    memset(out + end, 0, r.bytes - end);
    return r.bytes;
}
