/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "csv.h"
#include "load/text_value.h"

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

bool csv_timestamp(const char *text, size_t len, int64_t *ns)
{
    struct text_how how;
    text_how_init(&how, PST_TIMESTAMP);
    return len && text_value(&how, text, len, TEXT_NO_DAY, ns) == TEXT_OK;
}

uint32_t csv_row(const struct csv *c, const char *line, size_t len, int64_t now, uint8_t *out,
                 csv_symbol *symbol, void *arg, struct err *err)
{
    static _Thread_local char buf[FIELD_MAX];
    const struct schema *s = c->schema;
    memset(out, 0, s->fixed);
    for (unsigned i = 0; i < s->ncols; i++)
        if (!s->col[i].packet) {
            type_put_null(out + s->col[i].offset, s->col[i].type);
            if (s->col[i].type == PST_STRING) /* an empty one lies behind the fixed part, too */
                put32(out + s->col[i].offset, s->fixed);
        }
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
        int reason = TEXT_OK;
        if (col->type == PST_STRING) {
            reason = end + n <= CSV_RECORD_MAX - 8 ? TEXT_OK : TEXT_LONG_ROW;
            if (!reason) {
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
            struct text_how how;
            text_how_init(&how, col->type);
            reason = text_value(&how, f, n, TEXT_NO_DAY, to);
        }
        if (reason) {
            char sentence[160];
            const char *why = text_sentence(reason, col->type, sentence);
            bool no = reason == TEXT_NOT; /* "it is no ..." */
            err_set(err, -EINVAL, "column %s: '%.*s'%s %s", col->name, n < 60 ? (int)n : 60, f,
                    no ? "" : ":", no ? why + 3 : why);
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
