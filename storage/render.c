/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "core/civil.h"
#include "render.h"

#define HOLD_ROWS 1000u

static bool reserve(char **buf, size_t *room, size_t need)
{
    if (need <= *room)
        return true;
    size_t n = *room ? *room : 4096;
    while (n < need)
        n *= 2;
    char *p = realloc(*buf, n);
    if (!p)
        return false;
    *buf = p;
    *room = n;
    return true;
}

static void put(struct render *r, const char *p, size_t n)
{
    if (!reserve(&r->out, &r->room, r->len + n + 1)) {
        r->failed = true;
        return;
    }
    memcpy(r->out + r->len, p, n);
    r->len += n;
    r->out[r->len] = 0;
}
static void puts_(struct render *r, const char *text)
{
    put(r, text, strlen(text));
}
static void cell(struct render *r, const char *p, size_t n) /* text: one cell more */
{
    if (!reserve(&r->cells, &r->cells_room, r->cells_len + n + 1)) {
        r->failed = true;
        return;
    }
    memcpy(r->cells + r->cells_len, p, n);
    r->cells[r->cells_len + n] = 0;
    r->cells_len += n + 1;
}

void render_init(struct render *r, enum render_format format)
{
    memset(r, 0, sizeof *r);
    r->format = format;
    r->header = true;
}

void render_free(struct render *r)
{
    free(r->out);
    free(r->cells);
    memset(r, 0, sizeof *r);
}

/* ---- values ---- */

bool render_is_null(uint8_t type, const uint8_t *p)
{
    switch (type) {
    case PST_SHORT:
        return (int16_t)le16(p) == PST_NULL_SHORT;
    case PST_INT:
    case PST_MONTH:
    case PST_DATE:
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        return (int32_t)le32(p) == PST_NULL_INT;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        return (int64_t)le64(p) == PST_NULL_LONG;
    case PST_REAL:
        return (le32(p) & 0x7FFFFFFFu) > 0x7F800000u;
    case PST_FLOAT:
        return (le64(p) & 0x7FFFFFFFFFFFFFFFull) > 0x7FF0000000000000ull;
    case PST_CHAR:
        return *p == PST_NULL_CHAR;
    case PST_SYMBOL:
        return le32(p) == PST_NULL_SYMBOL;
    case PST_GUID:
        return !le64(p) && !le64(p + 8);
    default:
        return false;
    }
}

static int shortest(double v, int from, int to, bool real, char *out)
{
    if (isinf(v))
        return snprintf(out, RENDER_VALUE, v < 0 ? "-0w" : "0w");
    int n = 0;
    for (int digits = from; digits <= to; digits++) {
        n = snprintf(out, RENDER_VALUE, "%.*g", digits, v);
        if (real ? strtof(out, NULL) == (float)v : strtod(out, NULL) == v)
            break;
    }
    return n;
}

static int clock_text(char *out, int64_t seconds) /* of a magnitude */
{
    return snprintf(out, RENDER_VALUE, "%02lld:%02d:%02d", (long long)(seconds / 3600),
                    (int)(seconds / 60 % 60), (int)(seconds % 60));
}

uint32_t render_value(uint8_t type, const uint8_t *p, char out[RENDER_VALUE])
{
    char date[CIVIL_TEXT], stamp[CIVIL_STAMP_TEXT], hms[RENDER_VALUE];
    int n = 0;
    *out = 0;
    if (render_is_null(type, p))
        return 0;
    switch (type) {
    case PST_BOOLEAN:
        n = snprintf(out, RENDER_VALUE, "%d", *p != 0);
        break;
    case PST_BYTE:
        n = snprintf(out, RENDER_VALUE, "0x%02x", *p);
        break;
    case PST_SHORT:
        n = snprintf(out, RENDER_VALUE, "%d", (int16_t)le16(p));
        break;
    case PST_INT:
        n = snprintf(out, RENDER_VALUE, "%d", (int32_t)le32(p));
        break;
    case PST_LONG:
        n = snprintf(out, RENDER_VALUE, "%lld", (long long)le64(p));
        break;
    case PST_REAL: {
        float v;
        memcpy(&v, p, sizeof v);
        n = shortest((double)v, 6, 9, true, out);
        break;
    }
    case PST_FLOAT: {
        double v;
        memcpy(&v, p, sizeof v);
        n = shortest(v, 15, 17, false, out);
        break;
    }
    case PST_CHAR:
        out[0] = (char)*p;
        out[1] = 0;
        n = 1;
        break;
    case PST_GUID:
        n = snprintf(out, RENDER_VALUE,
                     "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", p[0],
                     p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12],
                     p[13], p[14], p[15]);
        break;
    case PST_TIMESTAMP:
        n = snprintf(out, RENDER_VALUE, "%s", civil_format_stamp((int64_t)le64(p), stamp));
        break;
    case PST_MONTH: {
        int32_t m = (int32_t)le32(p);
        int64_t y = 2000 + civil_floor_div(m, 12);
        n = snprintf(out, RENDER_VALUE, "%04lld.%02d", (long long)y,
                     (int)civil_floor_mod(m, 12) + 1);
        break;
    }
    case PST_DATE:
        n = snprintf(out, RENDER_VALUE, "%s", civil_format((int32_t)le32(p), date));
        break;
    case PST_TIMESPAN: {
        int64_t v = (int64_t)le64(p);
        uint64_t a = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        clock_text(hms, (int64_t)(a % PST_DAY_NS / PST_SECOND_NS));
        n = snprintf(out, RENDER_VALUE, "%s%lluD%.8s.%09llu", v < 0 ? "-" : "",
                     (unsigned long long)(a / PST_DAY_NS), hms,
                     (unsigned long long)(a % PST_SECOND_NS));
        break;
    }
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME: {
        int64_t v = (int32_t)le32(p);
        const char *sign = v < 0 ? "-" : "";
        v = v < 0 ? -v : v;
        if (type == PST_MINUTE) {
            n = snprintf(out, RENDER_VALUE, "%s%02d:%02d", sign, (int)(v / 60), (int)(v % 60));
        } else {
            clock_text(hms, type == PST_TIME ? v / 1000 : v);
            n = type == PST_TIME
                    ? snprintf(out, RENDER_VALUE, "%s%.16s.%03d", sign, hms, (int)(v % 1000))
                    : snprintf(out, RENDER_VALUE, "%s%.16s", sign, hms);
        }
        break;
    }
    default:
        break;
    }
    return (uint32_t)n;
}

/* ---- texts ---- */

/* Bytes of one printable UTF-8 character at p, 0 when there is none. */
static unsigned utf8(const uint8_t *p, size_t n)
{
    if (*p < 0x80)
        return *p >= 0x20 && *p != 0x7F;
    unsigned len = *p >= 0xF0 ? 4 : *p >= 0xE0 ? 3 : 2;
    if (*p < 0xC2 || *p > 0xF4 || len > n)
        return 0;
    for (unsigned i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((*p == 0xC2 && p[1] < 0xA0) || /* C1 controls */
        (*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F) || (*p == 0xF0 && p[1] < 0x90) ||
        (*p == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

static void json_text(struct render *r, const char *text, size_t len, bool bytes)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + len;
    char esc[8];
    for (const uint8_t *q = p; q < end && !bytes;) { /* half a text would be read two ways */
        unsigned n = *q < 0x80 ? 1 : utf8(q, (size_t)(end - q));
        bytes = n == 0;
        q += n;
    }
    put(r, "\"", 1);
    while (p < end) {
        unsigned n = bytes && *p >= 0x80 ? 0 : utf8(p, (size_t)(end - p));
        if (n == 1 && (*p == '"' || *p == '\\')) {
            put(r, "\\", 1);
            put(r, (const char *)p, 1);
        } else if (n) {
            put(r, (const char *)p, n);
        } else {
            n = 1;
            put(r, esc, (size_t)snprintf(esc, sizeof esc, "\\u%04x", *p));
        }
        p += n;
    }
    put(r, "\"", 1);
}

/* Escapes into the cells buffer (also CSV's scratch) as one cell. */
static void plain_cell(struct render *r, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + len;
    bool clean = true;
    for (size_t i = 0; clean && i < len;) {
        unsigned n = utf8(p + i, len - i);
        clean = n;
        i += n;
    }
    if (clean) {
        cell(r, text, len);
        return;
    }
    if (!reserve(&r->cells, &r->cells_room, r->cells_len + 4 * len + 1)) {
        r->failed = true;
        return;
    }
    char *at = r->cells + r->cells_len;
    while (p < end) {
        unsigned n = utf8(p, (size_t)(end - p));
        if (n == 1 && *p == '\\') {
            memcpy(at, "\\\\", 2);
            at += 2;
        } else if (n) {
            memcpy(at, p, n);
            at += n;
        } else {
            static const char hex[] = "0123456789abcdef";
            *at++ = '\\';
            *at++ = 'x';
            *at++ = hex[*p >> 4];
            *at++ = hex[*p & 15];
            n = 1;
        }
        p += n;
    }
    *at++ = 0;
    r->cells_len = (size_t)(at - r->cells);
}

static void csv_text(struct render *r, const char *text, size_t len)
{
    if (!memchr(text, ',', len) && !memchr(text, '"', len) && !memchr(text, '\n', len)) {
        put(r, text, len);
        return;
    }
    put(r, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            put(r, "\"", 1);
        put(r, text + i, 1);
    }
    put(r, "\"", 1);
}

/* ---- rows ---- */

static size_t columns_of(const char *text) /* terminal cells: code points, near enough */
{
    size_t n = 0;
    for (; *text; text++)
        n += (*text & 0xC0) != 0x80;
    return n;
}

static bool right_aligned(uint8_t type)
{
    return type == PST_SHORT || type == PST_INT || type == PST_LONG || type == PST_REAL ||
           type == PST_FLOAT;
}

static void aligned(struct render *r, unsigned col, const char *text, bool right)
{
    size_t n = columns_of(text), pad = r->width[col] > n ? r->width[col] - n : 0;
    bool last = col + 1u == r->table->ncols;
    for (size_t i = 0; right && i < pad; i++)
        put(r, " ", 1);
    puts_(r, text);
    for (size_t i = 0; !right && !last && i < pad; i++)
        put(r, " ", 1);
    puts_(r, last ? "\n" : " ");
}

static void write_held(struct render *r, bool header)
{
    const struct schema *s = r->table;
    const char *at = r->cells;
    for (uint32_t row = 0; row < r->held; row++)
        for (unsigned c = 0; c < s->ncols; c++) {
            uint32_t n = (uint32_t)columns_of(at);
            if (n > r->width[c])
                r->width[c] = n;
            at += strlen(at) + 1;
        }
    /* a long string does not push everything else off the screen: it stands last or overflows */
    for (unsigned c = 0; c < s->ncols; c++)
        if (r->width[c] > 48)
            r->width[c] = 48;
    if (r->width[0] < strlen(s->col[0].name))
        r->width[0] = (uint32_t)strlen(s->col[0].name);
    if (header && r->header)
        for (unsigned c = 0; c < s->ncols; c++)
            aligned(r, c, s->col[c].name, right_aligned(s->col[c].type));
    at = r->cells;
    for (uint32_t row = 0; row < r->held; row++)
        for (unsigned c = 0; c < s->ncols; c++) {
            bool number =
                right_aligned(s->col[c].type) && (*at == '-' || (*at >= '0' && *at <= '9'));
            aligned(r, c, at, number);
            at += strlen(at) + 1;
        }
    r->held = 0;
    r->cells_len = 0;
}

void render_flush(struct render *r)
{
    if (r->format == RENDER_TEXT && r->table && r->held && !r->failed)
        write_held(r, !r->width[0]);
}

static void change_table(struct render *r, const struct schema *s)
{
    if (r->table == s)
        return;
    render_flush(r);
    bool first = !r->table;
    r->table = s;
    memset(r->width, 0, sizeof r->width);
    if (r->format == RENDER_TEXT) {
        for (unsigned c = 1; c < s->ncols; c++)
            r->width[c] = (uint32_t)strlen(s->col[c].name);
        if (r->header) {
            puts_(r, first ? "" : "\n");
            puts_(r, s->name);
            puts_(r, "\n");
        }
    } else if (r->format == RENDER_CSV && r->header) {
        puts_(r, first ? "" : "\n");
        for (unsigned c = 0; c < s->ncols; c++) {
            puts_(r, s->col[c].name);
            puts_(r, c + 1u < s->ncols ? "," : "\n");
        }
    }
}

static void flag_names(uint32_t flags, char out[160])
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
#define X(ID, bit, name, sentence) {bit, name},
        ROW_FLAGS(X)
#undef X
    };
    *out = 0;
    for (unsigned i = 0; i < PST_COUNT(names); i++)
        if (flags & names[i].bit) {
            if (*out)
                strcat(out, "|");
            strcat(out, names[i].name);
        }
}

struct value {
    const char *text; /* NULL = null */
    uint32_t len;
    bool is_text; /* symbol, string, char: needs escaping and JSON quotes */
    char buf[160];
};

static void value_of(struct value *v, struct dictionary *d, const struct schema *s, unsigned col,
                     const struct record *row, const struct packet_record *p, int64_t seq,
                     bool names, const struct time_shown *shown)
{
    const struct column *c = &s->col[col];
    v->text = NULL;
    v->len = 0;
    v->is_text = c->type == PST_SYMBOL || c->type == PST_STRING || c->type == PST_CHAR;
    if (c->packet && !p)
        return;
    const uint8_t *from = (c->packet ? (const uint8_t *)p : (const uint8_t *)row) + c->offset;
    uint8_t word[8];
    if (c->packet && c->offset == offsetof(struct packet_record, seq)) {
        put64(word, (uint64_t)seq);
        from = word;
    } else if (c->packet && c->offset == offsetof(struct packet_record, flags)) {
        put32(word, p->flags & ROW_FLAG_MASK);
        from = word;
        if (names) {
            flag_names(p->flags, v->buf);
            v->text = v->buf;
            v->len = (uint32_t)strlen(v->buf);
            return;
        }
    }
    if (c->type == PST_TIMESTAMP && shown) {
        put64(word, (uint64_t)time_shown(shown, (int64_t)le64(from)));
        from = word;
    }
    if (c->type == PST_STRING) {
        v->text = record_string(row, c->offset, &v->len);
        v->len = v->text ? v->len : 0; /* it points outside the record */
    } else if (c->type == PST_SYMBOL) {
        v->text = le32(from) == PST_NULL_SYMBOL ? NULL : dictionary_text(d, le32(from), &v->len);
    } else {
        v->len = render_value(c->type, from, v->buf);
        v->text = v->len ? v->buf : NULL;
    }
}

static void json_value(struct render *r, uint8_t type, const struct value *v, bool bytes)
{
    if (!v->text)
        puts_(r, "null");
    else if (v->is_text)
        json_text(r, v->text, v->len, bytes);
    else if (type == PST_BOOLEAN)
        puts_(r, *v->text == '1' ? "true" : "false");
    else if ((type == PST_REAL || type == PST_FLOAT) && v->text[v->len - 1] != 'w')
        put(r, v->text, v->len);
    else if (type == PST_SHORT || type == PST_INT || type == PST_LONG)
        put(r, v->text, v->len);
    else
        json_text(r, v->text, v->len, false);
}

void render_row(struct render *r, struct dictionary *d, const struct schema *s,
                const struct frame *f, const struct record *row, const struct packet_record *packet,
                int64_t seq)
{
    if (row->bytes < s->fixed)
        return;
    struct value v;
    if (r->format == RENDER_JSON) {
        char head[96];
        bool whole = !strcmp(s->name, "undecoded"); /* messages as they came: bytes, never text */
        puts_(r, "{\"table\":");
        json_text(r, s->name, strlen(s->name), false);
        put(r, head,
            (size_t)snprintf(head, sizeof head, ",\"position\":%llu",
                             (unsigned long long)f->position));
        for (unsigned c = 0; c < s->ncols; c++) {
            puts_(r, ",");
            json_text(r, s->col[c].name, strlen(s->col[c].name), false);
            puts_(r, ":");
            value_of(&v, d, s, c, row, packet, seq, false, r->shown);
            json_value(r, s->col[c].type, &v, whole && s->col[c].type == PST_STRING);
        }
        puts_(r, "}\n");
        return;
    }
    change_table(r, s);
    for (unsigned c = 0; c < s->ncols; c++) {
        value_of(&v, d, s, c, row, packet, seq, r->format == RENDER_TEXT, r->shown);
        if (r->format == RENDER_TEXT) {
            plain_cell(r, v.text ? v.text : "", v.len);
            continue;
        }
        if (v.text && v.is_text) {
            r->cells_len = 0;
            plain_cell(r, v.text, v.len);
            csv_text(r, r->cells, r->cells_len ? r->cells_len - 1 : 0);
            r->cells_len = 0;
        } else if (v.text) {
            put(r, v.text, v.len);
        }
        puts_(r, c + 1u < s->ncols ? "," : "\n");
    }
    if (r->format == RENDER_TEXT && ++r->held == HOLD_ROWS)
        render_flush(r);
}

void render_mark(struct render *r, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *json = frame_mark(f, &type, &len);
    if (!json)
        return;
    char stamp[CIVIL_STAMP_TEXT], head[160];
    civil_format_stamp(time_shown(r->shown, f->time), stamp);
    render_flush(r);
    if (r->format == RENDER_JSON) {
        put(r, head,
            (size_t)snprintf(head, sizeof head,
                             "{\"mark\":\"%s\",\"position\":%llu,\"time\":\"%s\",\"data\":",
                             mark_name(type), (unsigned long long)f->position, stamp));
        /* the payload is JSON that this instance wrote; an empty one still makes a whole line */
        if (len)
            put(r, json, len);
        else
            puts_(r, "null");
        puts_(r, "}\n");
        return;
    }
    put(r, head,
        (size_t)snprintf(head, sizeof head, "# mark %s position %llu time %s ", mark_name(type),
                         (unsigned long long)f->position, stamp));
    r->cells_len = 0;
    plain_cell(r, json, len);
    put(r, r->cells, r->cells_len ? r->cells_len - 1 : 0);
    r->cells_len = 0;
    puts_(r, "\n");
}

uint64_t render_frame(struct render *r, struct dictionary *d, const struct frame *f,
                      const char *table, uint32_t sym)
{
    if (f->kind == FRAME_MARK) {
        if (table || sym != PST_NULL_SYMBOL)
            return 0;
        render_mark(r, f);
        return 1;
    }
    if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
        return 0;
    struct record_walk w;
    const struct record *row;
    uint64_t n = 0;
    record_walk_start(&w, f);
    while ((row = record_walk_next(&w))) {
        const struct schema *s = dictionary_schema(d, row->table);
        if (!s || (table && strcmp(table, s->name)) || (sym != PST_NULL_SYMBOL && row->sym != sym))
            continue;
        render_row(r, d, s, f, row, w.packet, record_walk_seq(&w));
        n++;
    }
    return n;
}

const char *render_take(struct render *r, size_t *len)
{
    *len = r->len;
    r->len = 0;
    return r->out ? r->out : "";
}
