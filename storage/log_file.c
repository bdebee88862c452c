/* SPDX-License-Identifier: Apache-2.0 */
#include "core/civil.h"
#include "log_file.h"

const char *log_file_type_name(unsigned type)
{
    static const char *const names[] = {"?", "header", "schema", "symbols", "state", "end"};
    return names[type < PST_COUNT(names) ? type : 0];
}

static const char *const event_states[] = {"", ".complete", ".replayed"};

bool log_event_id_ok(const char *id)
{
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n && n < LOG_EVENT_MAX && !id[n];
}

bool log_name_format(char out[LOG_NAME_MAX], const char *prefix, const struct log_name *n)
{
    char date[CIVIL_TEXT], minute[8] = "", suffix[16] = "";
    int len;
    if (n->suffix)
        snprintf(suffix, sizeof suffix, ".%u", n->suffix);
    if (n->event[0]) {
        if (!log_event_id_ok(n->event) || n->state >= PST_COUNT(event_states))
            return false;
        len = snprintf(out, LOG_NAME_MAX, "%s.%s.buffer%s%s", prefix, n->event, suffix,
                       event_states[n->state]);
        return len > 0 && len < (int)LOG_NAME_MAX;
    }
    civil_format(n->day, date);
    if (n->minute != LOG_NO_MINUTE)
        snprintf(minute, sizeof minute, ".%02u%02u", (unsigned)n->minute / 60 % 24,
                 (unsigned)n->minute % 60);
    len = snprintf(out, LOG_NAME_MAX, "%s%s%s%s%s", prefix, n->minute != LOG_NO_MINUTE ? "i." : "",
                   date, minute, suffix);
    return len > 0 && len < (int)LOG_NAME_MAX;
}

/* n decimal digits, or -1 */
static int digits(const char *p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + p[i] - '0';
    }
    return v;
}

/* "" or ".N" at p, up to end */
static bool suffix_parse(struct log_name *n, const char *p, const char *end)
{
    if (p == end)
        return true;
    ptrdiff_t len = end - p - 1;
    if (*p != '.' || len < 1 || len > 9 || p[1] == '0')
        return false;
    int suffix = digits(p + 1, (int)len);
    if (suffix < 1)
        return false;
    n->suffix = (uint32_t)suffix;
    return true;
}

/* <instance>.<event>.buffer[.N][.complete|.replayed] */
static bool event_parse(struct log_name *n, const char *name)
{
    static const char word[] = ".buffer";
    const char *end = name + strlen(name), *at = NULL;
    *n = (struct log_name){.stream = STREAM_BUFFER, .day = -1, .minute = LOG_NO_MINUTE};
    for (unsigned i = 1; i < PST_COUNT(event_states); i++) {
        size_t len = strlen(event_states[i]);
        if ((size_t)(end - name) > len && !strcmp(end - len, event_states[i])) {
            n->state = (uint8_t)i;
            end -= len;
            break;
        }
    }
    for (const char *p = name; (p = strstr(p, word)) && p < end; p++)
        at = p; /* the last one */
    const char *id = at;
    while (id && id > name && id[-1] != '.')
        id--;
    if (!at || id <= name + 1 || at == id || (size_t)(at - id) >= sizeof n->event)
        return false;
    memcpy(n->event, id, (size_t)(at - id));
    return log_event_id_ok(n->event) && suffix_parse(n, at + sizeof word - 1, end);
}

bool log_name_parse(struct log_name *n, const char *prefix, const char *name)
{
    size_t plen = strlen(prefix);
    if (event_parse(n, name))
        return true;
    if (strncmp(name, prefix, plen) != 0)
        return false;
    const char *p = name + plen;
    bool interval = p[0] == 'i' && p[1] == '.';
    p += interval ? 2 : 0;
    if (strlen(p) < 10 || p[4] != '.' || p[7] != '.')
        return false;
    int y = digits(p, 4), m = digits(p + 5, 2), d = digits(p + 8, 2);
    if (y < 2000 || m < 1 || m > 12 || d < 1 || d > civil_month_days(y, m))
        return false;
    p += 10;
    *n = (struct log_name){.stream = interval ? STREAM_INTERVAL : STREAM_DAILY,
                           .day = civil_days(y, m, d),
                           .minute = LOG_NO_MINUTE};
    if (interval) {
        if (*p != '.' || strlen(p) < 5)
            return false;
        int h = digits(p + 1, 2), min = digits(p + 3, 2);
        if (h < 0 || h > 23 || min < 0 || min > 59)
            return false;
        n->minute = h * 60 + min;
        p += 5;
    }
    return suffix_parse(n, p, p + strlen(p));
}

uint32_t log_file_frame(void *buf, const struct log_file_header *h, enum log_file_type type,
                        const void *body, uint32_t len, int64_t time)
{
    uint64_t total = type == LOG_FILE_HEADER ? LOG_BLOCK : pst_align8(FRAME_HEADER + 8ull + len);
    if (total > FRAME_MAX || FRAME_HEADER + 8ull + len > total)
        return 0;
    struct frame *f = buf;
    *f = (struct frame){.length = (uint32_t)total,
                        .position = h->first,
                        .time = time,
                        .kind = FRAME_FILE,
                        .stream = h->stream,
                        .day = (uint16_t)h->day};
    uint8_t *p = (uint8_t *)buf + FRAME_HEADER;
    put16(p, (uint16_t)type);
    put16(p + 2, 0);
    put32(p + 4, len);
    if (len)
        memcpy(p + 8, body, len);
    memset(p + 8 + len, 0, total - FRAME_HEADER - 8 - len);
    frame_seal(f, frame_seed(h->instance));
    return f->length;
}

static bool header_at(struct log_file_header *h, const uint8_t *p, size_t n, uint64_t instance)
{
    uint32_t len, at = FRAME_HEADER + 8;
    unsigned type;
    if (n < LOG_BLOCK)
        return false;
    const struct frame *f = (const struct frame *)p;
    if (f->length != LOG_BLOCK || f->kind != FRAME_FILE || memcmp(p + at, LOG_MAGIC, 8) != 0)
        return false;
    uint64_t id = le64(p + at + offsetof(struct log_file_header, instance));
    if ((instance && id != instance) || frame_check(p, LOG_BLOCK, frame_seed(id)) != FRAME_OK)
        return false;
    const uint8_t *body = log_file_body(f, &type, &len);
    if (!body || type != LOG_FILE_HEADER || len < offsetof(struct log_file_header, name))
        return false;
    memset(h, 0, sizeof *h);
    memcpy(h, body, len < sizeof *h ? len : sizeof *h);
    h->name[sizeof h->name - 1] = 0;
    h->previous[sizeof h->previous - 1] = 0;
    h->writer[sizeof h->writer - 1] = 0;
    h->event[sizeof h->event - 1] = 0;
    return h->first == f->position;
}

enum log_header_verdict log_file_header_find(struct log_file_header *h, const void *p, size_t n,
                                             uint64_t instance)
{
    struct log_file_header other;
    const uint8_t *second = (const uint8_t *)p + LOG_BLOCK;
    bool a = header_at(h, p, n, instance);
    bool b = n >= LOG_PREAMBLE && header_at(&other, second, n - LOG_BLOCK, instance);
    if (!a && b)
        *h = other;
    if (!a && !b)
        return LOG_HEADER_NONE;
    if (h->format > LOG_FORMAT)
        return LOG_HEADER_FORMAT;
    return a && b ? LOG_HEADER_OK : LOG_HEADER_ONE_COPY;
}

bool log_file_end_read(struct log_file_end *e, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const uint8_t *body = log_file_body(f, &type, &len);
    if (f->kind != FRAME_FILE || !body || type != LOG_FILE_END ||
        len < offsetof(struct log_file_end, closed))
        return false;
    memset(e, 0, sizeof *e);
    memcpy(e, body, len < sizeof *e ? len : sizeof *e);
    return true;
}
