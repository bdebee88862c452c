/* SPDX-License-Identifier: Apache-2.0 */
/* The streaming interface in a program of one's own: include/penstock/standalone.h. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <penstock/standalone.h>
#include "core/clock.h"
#include "csv.h"
#include "host.h"
#include "rtp/rtp_params.h"

#define FRAME_ROOM (FRAME_MAX - 65536u) /* handed out by itself beyond */

struct pst_sa {
    struct host h;
    struct pst_sa_config c;
    pst_sa_closed *before; /* the program's handler */
    bool wrapped;
    uint8_t *frame; /* rows that wait; FRAME_MAX bytes */
    uint32_t bytes, rows;
    char error[500];
};

static struct pst_sa *the_one; /* handlers have no argument for it */

const char *pst_sa_error(const struct pst_sa *s)
{
    return s->error;
}

static int fail(struct pst_sa *s, const struct err *err)
{
    snprintf(s->error, sizeof s->error, "%s", err->text);
    return -1;
}

/* ---- what is said ---- */

static void send(struct pst_sa *s, struct pst_sa_message *m)
{
    m->size = sizeof *m;
    if (s->c.message)
        s->c.message(s->c.arg, m);
}

static void say(struct host *h, unsigned type, uint64_t id, uint64_t value, const void *body,
                size_t n, uint32_t rows)
{
    struct pst_sa *s = h->peer;
    char text[600];
    (void)value;
    if (type == RTP_WIRE_UPDATE) {
        const struct host_sub *sub = host_sub_find(h, id);
        send(s, &(struct pst_sa_message){.kind = PST_SA_UPDATE,
                                         .connection = sub ? sub->connection : -1,
                                         .id = (int64_t)id,
                                         .table = body,
                                         .bytes = n,
                                         .rows = rows});
    } else if (type == RTP_WIRE_LOG || type == RTP_WIRE_DEBUGGED) {
        snprintf(text, sizeof text, "%.*s", (int)n, (const char *)body);
        send(s, &(struct pst_sa_message){.kind = type == RTP_WIRE_LOG ? PST_SA_LOG : PST_SA_DEBUG,
                                         .connection = -1,
                                         .text = text});
    }
}

/* ---- opening ---- */

void pst_sa_disconnect(struct pst_sa *s, int64_t connection)
{
    host_closed(&s->h, connection);
}

static void closed(int64_t connection)
{
    if (the_one->before)
        the_one->before(connection);
    pst_sa_disconnect(the_one, connection);
}

static json_t *options_json(const char *const *o)
{
    json_t *out = json_object();
    for (; o && o[0] && o[1]; o += 2)
        json_object_set_new(out, o[0], json_string(o[1]));
    return out;
}

static bool begin(struct pst_sa *s, struct err *err)
{
    struct host *h = &s->h;
    if (!host_new(h))
        return err_set(err, -ENOMEM, "no memory");
    h->say = say;
    h->peer = s;
    h->standalone = true;
    json_t *log = s->c.journal ? json_pack("{s:[s],s:s}", "directories", s->c.journal, "prefix",
                                           s->c.prefix ? s->c.prefix : "log")
                               : json_object();
    host_configure(h,
                   json_pack("{s:s,s:o,s:o,s:b}", "group", "standalone", "options",
                             options_json(s->c.options), "log", log, "built_in", !s->c.no_builtin));
    if (s->c.journal && access(s->c.journal, R_OK | X_OK))
        return err_set(err, -errno, "journal %.300s: %s", s->c.journal, strerror(errno));
    if (s->c.journal ? !host_journal_open(h, err) : !dictionary_init(&h->cursor.dict, err))
        return false;
    host_tables_learn(h);
    host_load_all(h);
    h->position = h->cursor.position;
    h->started = true;
    s->frame = aligned_alloc(64, FRAME_MAX);
    s->bytes = FRAME_HEADER;
    return s->frame || err_set(err, -ENOMEM, "no memory");
}

struct pst_sa *pst_sa_open(const struct pst_sa_config *c, char *error, uint32_t room)
{
    struct err err = {0};
    struct pst_sa *s = the_one ? NULL : calloc(1, sizeof *s);
    if (the_one)
        err_set(&err, -EBUSY, "a process has one pst_sa");
    else if (!s)
        err_set(&err, -ENOMEM, "no memory");
    else {
        memcpy(&s->c, c, c->size < sizeof s->c ? c->size : sizeof s->c);
        if (begin(s, &err)) {
            the_one = s;
            s->wrapped = s->c.closed && !s->c.zpc;
            if (s->wrapped) {
                s->before = *s->c.closed;
                *s->c.closed = closed;
            }
            return s;
        }
    }
    snprintf(error, room, "%s", err.text);
    if (s) {
        host_free(&s->h);
        free(s->frame);
        free(s);
    }
    return NULL;
}

void pst_sa_close(struct pst_sa *s)
{
    pst_sa_flush(s);
    host_plugins_end(&s->h);
    if (s->wrapped && *s->c.closed == closed)
        *s->c.closed = s->before;
    host_free(&s->h);
    free(s->frame);
    the_one = NULL;
    free(s);
}

int pst_sa_load(struct pst_sa *s, const char *file)
{
    struct err err = {0};
    return host_plugin_load(&s->h, file, &err) ? 0 : fail(s, &err);
}

/* ---- rows ---- */

int pst_sa_table(struct pst_sa *s, const char *name, const struct pst_column *c, uint32_t n)
{
    struct err err = {0};
    struct column_def def[SCHEMA_COLUMNS_MAX];
    struct schema made;
    bool fresh;
    if (n > SCHEMA_COLUMNS_MAX)
        return err_set(&err, -E2BIG, "%s has too many columns", name), fail(s, &err);
    for (uint32_t i = 0; i < n; i++)
        def[i] = (struct column_def){c[i].name, (uint8_t)c[i].type};
    if (!schema_make(&made, 0, name, false, def, n, &err) ||
        !schema_set_intern(s->h.cursor.dict.schemas, &made, &fresh, &err))
        return fail(s, &err);
    host_tables_learn(&s->h);
    return 0;
}

void pst_sa_flush(struct pst_sa *s)
{
    if (!s->rows)
        return;
    int64_t now = clock_system();
    struct frame *f = (struct frame *)s->frame;
    *f = (struct frame){.length = s->bytes,
                        .position = s->h.position,
                        .time = now > s->h.time ? now : s->h.time,
                        .kind = FRAME_DATA,
                        .count = (uint16_t)s->rows,
                        .day = (uint16_t)(now / NS_PER_DAY)};
    s->bytes = FRAME_HEADER;
    s->rows = 0;
    host_frame(&s->h, f);
}

static const struct host_table *table_of(struct pst_sa *s, const char *name, struct err *err)
{
    const struct host_table *t = host_table_newest(&s->h, name);
    if (!t)
        err_set(err, -ENOENT, "there is no table %.64s", name);
    else if (t->schema->feed && err_set(err, -EINVAL, "%.64s is a feed's table", name))
        t = NULL;
    return t;
}

static uint8_t *room_for(struct pst_sa *s, uint32_t bytes)
{
    if (s->bytes + bytes > FRAME_ROOM)
        pst_sa_flush(s);
    return s->frame + s->bytes;
}

static void took(struct pst_sa *s, uint32_t bytes)
{
    s->bytes += bytes;
    s->rows++;
}

int pst_sa_row(struct pst_sa *s, const char *name, const struct pst_value *row)
{
    struct err err = {0};
    const struct host_table *t = table_of(s, name, &err);
    uint32_t bytes = t ? host_record_bytes(t, row, &err) : 0;
    if (!bytes)
        return fail(s, &err);
    host_record(&s->h, t, row, bytes, room_for(s, bytes));
    took(s, bytes);
    return 0;
}

static uint32_t symbol(void *arg, const char *text, uint32_t len)
{
    return host_symbol_own(arg, text, len);
}

int64_t pst_sa_csv(struct pst_sa *s, const char *name, const char *text, uint64_t len)
{
    struct err err = {0};
    struct csv csv;
    const struct host_table *t = table_of(s, name, &err);
    size_t next = 0, n = csv_line(text, len, &next);
    int64_t rows = 0;
    if (!t || !csv_header(&csv, t->schema, text, n, &err))
        return fail(s, &err);
    for (uint64_t at = next; at < len; at += next, rows++) {
        n = csv_line(text + at, len - at, &next);
        if (!n) {
            rows--;
            continue;
        }
        uint8_t *to = room_for(s, CSV_RECORD_MAX);
        uint32_t bytes = csv_row(&csv, text + at, n, clock_system(), to, symbol, &s->h, &err);
        if (!bytes)
            return fail(s, &err);
        took(s, bytes);
    }
    return rows;
}

uint32_t pst_sa_read(struct pst_sa *s)
{
    return s->h.have_cursor ? host_journal_step(&s->h, UINT64_MAX) : 0;
}

/* ---- clients ---- */

/* The canonical parameters of an analytic or function, in `out`. */
static bool params_of(struct pst_sa *s, const char *list, const char *name,
                      const char *const *params, struct kdb_out *out, struct err *err)
{
    json_t *ready = host_ready(&s->h), *given = options_json(params), *o, *declared = NULL;
    size_t i;
    json_array_foreach(json_object_get(ready, list), i, o)
    {
        if (!strcmp(json_string_value(json_object_get(o, "name")), name))
            declared = json_object_get(o, "parameters");
    }
    bool ok = declared ? rtp_params_texts(name, declared, given, out, err)
                       : err_set(err, -ENOENT, "there is no %.64s", name);
    json_decref(given);
    json_decref(ready);
    return ok;
}

static bool ask_of(const char *name, const struct kdb_out *params, struct rtp_asked *q)
{
    memset(q, 0, sizeof *q);
    snprintf(q->name, sizeof q->name, "%s", name);
    q->params = params->data;
    q->nparams = (uint32_t)params->len;
    return true;
}

int64_t pst_sa_subscribe(struct pst_sa *s, int64_t connection, const char *name,
                         const char *const *params)
{
    struct err err = {0};
    struct kdb_out p = {0};
    struct rtp_asked q;
    struct pst_result *shape;
    uint64_t id = 0;
    pst_sa_flush(s); /* what came before it is no update */
    if (params_of(s, "analytics", name, params, &p, &err) && ask_of(name, &p, &q))
        id = host_subscribe(&s->h, &q, connection, &shape, &err);
    kdb_out_free(&p);
    return id ? (int64_t)id : fail(s, &err);
}

static int send_table(struct pst_sa *s, struct pst_result *t, uint32_t kind, int64_t connection,
                      int64_t id, struct err *err)
{
    struct kdb_out out = {0};
    bool ok = t && (host_result_encode(t, &out) || err_set(err, -E2BIG, "the result is too large"));
    if (ok)
        send(s, &(struct pst_sa_message){.kind = kind,
                                         .connection = connection,
                                         .id = id,
                                         .table = out.data,
                                         .bytes = out.len,
                                         .rows = t->rows});
    kdb_out_free(&out);
    host_result_free(t);
    return ok ? 0 : fail(s, err);
}

int pst_sa_snapshot(struct pst_sa *s, int64_t id)
{
    struct err err = {0};
    const struct host_sub *sub = host_sub_find(&s->h, (uint64_t)id);
    int64_t connection = sub ? sub->connection : -1;
    pst_sa_flush(s);
    return send_table(s, host_snapshot(&s->h, (uint64_t)id, &err), PST_SA_STATE, connection, id,
                      &err);
}

int pst_sa_unsubscribe(struct pst_sa *s, int64_t id)
{
    struct err err = {0};
    return host_unsubscribe(&s->h, (uint64_t)id)
               ? 0
               : (err_set(&err, -ENOENT, "there is no subscription %lld", (long long)id),
                  fail(s, &err));
}

int pst_sa_call(struct pst_sa *s, int64_t connection, const char *name, const char *const *params)
{
    struct err err = {0};
    struct kdb_out p = {0};
    struct rtp_asked q;
    struct pst_result *t = NULL;
    pst_sa_flush(s);
    if (params_of(s, "functions", name, params, &p, &err) && ask_of(name, &p, &q))
        t = host_call(&s->h, &q, &err);
    kdb_out_free(&p);
    return send_table(s, t, PST_SA_RESULT, connection, 0, &err);
}

int64_t pst_sa_timers(struct pst_sa *s)
{
    return host_timers_wall(&s->h, clock_monotonic());
}

void pst_sa_debug(struct pst_sa *s, int on)
{
    s->h.debug = on != 0;
}

char *pst_sa_list(struct pst_sa *s)
{
    json_t *o = host_ready(&s->h);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}
