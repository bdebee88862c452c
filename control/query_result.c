/* SPDX-License-Identifier: Apache-2.0 */
#include "query_result.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WARNINGS_MAX 64u

/* ---- writing ---- */

struct out {
    int fd, error;
    uint64_t at;
};

static void put(struct out *o, const void *p, uint64_t n)
{
    for (uint64_t done = 0; done < n && !o->error;) {
        size_t k = n - done < (1u << 30) ? (size_t)(n - done) : 1u << 30;
        ssize_t w = pwrite(o->fd, (const char *)p + done, k, (off_t)(o->at + done));
        if (w <= 0 && errno != EINTR)
            o->error = w < 0 ? errno : EIO;
        done += w > 0 ? (uint64_t)w : 0;
    }
    o->at = pst_align8(o->at + n);
}

static uint64_t string_bytes(const struct result_column *c, uint64_t rows)
{
    return rows ? c->at[rows] - c->at[0] : 0;
}

bool query_result_write(const struct result *r, int fd, uint64_t max_bytes, uint64_t *bytes,
                        struct err *err)
{
    struct query_result_head h = {.magic = QUERY_RESULT_MAGIC,
                                  .version = QUERY_RESULT_VERSION,
                                  .ncols = r->ncols,
                                  .rows = r->rows,
                                  .syms = r->syms.count};
    struct query_result_column *c = calloc(r->ncols + 1, sizeof *c);
    if (!c)
        return err_set(err, -ENOMEM, "no memory for the result");
    uint64_t at = sizeof h + r->ncols * sizeof *c;
    for (uint32_t i = 0; i < r->ncols; i++) {
        const struct result_column *x = &r->col[i];
        memcpy(c[i].name, x->name, sizeof c[i].name);
        c[i].type = x->type;
        c[i].width = result_width(x->type);
        c[i].at = at;
        c[i].bytes = x->type == PST_STRING ? (r->rows + 1) * 8 : r->rows * c[i].width;
        at = pst_align8(at + c[i].bytes);
        c[i].chars_at = at;
        c[i].chars_size = x->type == PST_STRING ? string_bytes(x, r->rows) : 0;
        at = pst_align8(at + c[i].chars_size);
    }
    h.syms_at = at;
    at += h.syms ? (h.syms + 1) * 8 : 0;
    h.syms_chars = at;
    h.syms_bytes = h.syms ? r->syms.at[h.syms] : 0;
    h.bytes = pst_align8(at + h.syms_bytes);
    *bytes = h.bytes;
    if (max_bytes && h.bytes > max_bytes) {
        free(c);
        return err_set(err, -EFBIG,
                       "the result has %llu bytes, more than the %llu allowed: select fewer "
                       "columns or rows, or raise query_memory",
                       (unsigned long long)h.bytes, (unsigned long long)max_bytes);
    }
    struct out o = {.fd = fd};
    static const uint64_t zero[1];
    put(&o, &h, sizeof h);
    put(&o, c, r->ncols * sizeof *c);
    for (uint32_t i = 0; i < r->ncols; i++) {
        const struct result_column *x = &r->col[i];
        bool string = x->type == PST_STRING;
        if (string)
            put(&o, r->rows ? x->at : zero, c[i].bytes);
        else
            put(&o, x->data, c[i].bytes);
        put(&o, x->chars, c[i].chars_size);
    }
    put(&o, r->syms.at, h.syms ? (h.syms + 1) * 8 : 0);
    put(&o, r->syms.chars, h.syms_bytes);
    free(c);
    if (!o.error && ftruncate(fd, (off_t)h.bytes))
        o.error = errno;
    if (!o.error && fcntl(fd, F_ADD_SEALS, QUERY_RESULT_SEALS))
        o.error = errno;
    return !o.error ||
           err_set(err, -o.error, "the result cannot be written: %s%s", strerror(o.error),
                   o.error == EFBIG ? "; it is larger than query_memory" : "");
}

/* ---- reading ---- */

struct mapped {
    struct result result; /* first */
    void *map;
    size_t bytes;
};

static bool within(uint64_t at, uint64_t n, uint64_t size)
{
    return at % 8 == 0 && at <= size && n <= size - at;
}

/* count + 1 offsets that never fall and end within `chars` bytes. */
static bool offsets_ok(const uint64_t *at, uint64_t count, uint64_t chars)
{
    if (at[0] != 0 || at[count] > chars)
        return false;
    bool ok = true;
    for (uint64_t i = 0; i < count; i++)
        ok &= at[i] <= at[i + 1];
    return ok;
}

static bool column_open(struct mapped *m, const struct query_result_head *h, uint32_t i)
{
    const char *base = m->map;
    struct query_result_column c;
    memcpy(&c, base + sizeof *h + i * sizeof c, sizeof c);
    struct result_column *x = &m->result.col[i];
    if (c.type > 255 || !type_width((uint8_t)c.type) || c.width != result_width((uint8_t)c.type) ||
        !memchr(c.name, 0, sizeof c.name) || h->rows > (UINT64_MAX >> 5) ||
        c.bytes != (c.type == PST_STRING ? (h->rows + 1) * 8 : h->rows * c.width) ||
        !within(c.at, c.bytes, h->bytes) || !within(c.chars_at, c.chars_size, h->bytes))
        return false;
    memcpy(x->name, c.name, sizeof x->name);
    x->type = (uint8_t)c.type;
    x->chars = (char *)(uintptr_t)(base + c.chars_at);
    if (c.type != PST_STRING) {
        x->data = (void *)(uintptr_t)(base + c.at);
        return true;
    }
    x->at = (uint64_t *)(uintptr_t)(base + c.at);
    return offsets_ok(x->at, h->rows, c.chars_size);
}

static bool check(struct mapped *m)
{
    struct query_result_head h;
    const char *base = m->map;
    memcpy(&h, base, sizeof h);
    if (h.magic != QUERY_RESULT_MAGIC || h.version != QUERY_RESULT_VERSION || h.bytes != m->bytes ||
        h.ncols > QUERY_RESULT_COLUMNS ||
        !within(sizeof h, h.ncols * sizeof(struct query_result_column), h.bytes))
        return false;
    struct result *r = &m->result;
    r->col = calloc(h.ncols + 1, sizeof *r->col);
    if (!r->col)
        return false;
    r->rows = h.rows;
    r->ncols = h.ncols;
    for (uint32_t i = 0; i < h.ncols; i++)
        if (!column_open(m, &h, i))
            return false;
    if (!h.syms)
        return true;
    if (h.syms >= PST_NULL_SYMBOL || !within(h.syms_at, (h.syms + 1) * 8, h.bytes) ||
        !within(h.syms_chars, h.syms_bytes, h.bytes))
        return false;
    r->syms.count = (uint32_t)h.syms;
    r->syms.at = (uint64_t *)(uintptr_t)(base + h.syms_at);
    r->syms.chars = (char *)(uintptr_t)(base + h.syms_chars);
    return offsets_ok(r->syms.at, h.syms, h.syms_bytes); /* a code beyond them reads as null */
}

bool query_result_open(int fd, struct result **out, struct err *err)
{
    struct stat st;
    *out = NULL;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & QUERY_RESULT_SEALS) != QUERY_RESULT_SEALS || fstat(fd, &st) ||
        st.st_size < (off_t)sizeof(struct query_result_head))
        return err_set(err, -EPROTO, "the result is no sealed memfd");
    struct mapped *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, -ENOMEM, "no memory for the result");
    m->bytes = (size_t)st.st_size;
    m->map = mmap(NULL, m->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (m->map == MAP_FAILED) {
        int e = errno;
        free(m);
        return err_set(err, -e, "the result cannot be mapped: %s", strerror(e));
    }
    if (!check(m)) {
        query_result_close(&m->result);
        return err_set(err, -EPROTO, "the result is malformed: the query process wrote garbage");
    }
    *out = &m->result;
    return true;
}

void query_result_close(struct result *r)
{
    struct mapped *m = (struct mapped *)(void *)r;
    if (!m)
        return;
    munmap(m->map, m->bytes);
    free(r->col);
    free(m);
}

/* ---- beside it ---- */

static json_t *text(const char *s)
{
    json_t *t = json_string(s);
    if (t)
        return t;
    char plain[512]; /* no UTF-8: a column or symbol of the user's own bytes */
    snprintf(plain, sizeof plain, "%s", s);
    for (char *p = plain; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(plain);
}

json_t *query_result_facts(const struct result *r)
{
    static const char *const kinds[] = {[RESULT_NOTE_GAP] = "gap",
                                        [RESULT_NOTE_BEHIND] = "behind",
                                        [RESULT_NOTE_INCOMPLETE] = "incomplete",
                                        [RESULT_NOTE_LATE] = "late",
                                        [RESULT_NOTE_OTHER] = "note"};
    json_t *columns = json_array(), *warnings = json_array(), *facts = json_object();
    for (uint32_t i = 0; i < r->ncols && i < 96; i++)
        json_array_append_new(columns, json_pack("{s:o,s:s}", "name", text(r->col[i].name), "type",
                                                 type_name(r->col[i].type)));
    for (uint32_t i = 0; i < r->nnotes && i < WARNINGS_MAX; i++) {
        char line[300];
        snprintf(line, sizeof line, "%s", r->note[i].text);
        unsigned kind = r->note[i].kind;
        json_array_append_new(warnings, json_pack("{s:s,s:o}", "kind",
                                                  kind < PST_COUNT(kinds) ? kinds[kind] : "note",
                                                  "text", text(line)));
    }
    if (r->nnotes > WARNINGS_MAX) {
        char line[64];
        snprintf(line, sizeof line, "and %u more of these", r->nnotes - WARNINGS_MAX);
        json_array_append_new(warnings, json_pack("{s:s,s:s}", "kind", "note", "text", line));
    }
    for (uint32_t i = 0; i < r->nfacts && i < 64; i++) {
        double v = r->fact[i].value;
        bool whole = isfinite(v) && v == floor(v) && fabs(v) < 9e15;
        json_object_set_new(facts, r->fact[i].name,
                            whole         ? json_integer((json_int_t)v)
                            : isfinite(v) ? json_real(v)
                                          : json_null());
    }
    return json_pack("{s:I,s:o,s:o,s:o}", "rows", (json_int_t)r->rows, "columns", columns,
                     "warnings", warnings, "facts", facts);
}
