/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into messages, tickets and what becomes of them. */
#include <errno.h>
#include "client/client_int.h"
#include "core/schema.h"

#define COLUMNS 256u

/* Rows of one table, format and level that wait for company, column by column. */
struct batch {
    char *table, *format;
    enum pst_level level;
    unsigned ncolumns;
    uint8_t type[COLUMNS];
    size_t rows, bytes;
    struct kdb_out column[COLUMNS]; /* values; symbols with their NUL; strings as objects */
};

static const char *const level_names[] = {"submitted", "written", "durable"};

static int be_publisher(struct pst_client *c)
{
    if (c->role == ROLE_SUBSCRIBER)
        return client_fail(c, -EBUSY, "this client is a subscriber: open another to publish");
    c->role = ROLE_PUBLISHER;
    return 0;
}

static int room(struct pst_client *c, size_t bytes)
{
    if (c->queued + bytes <= c->o.queue_bytes || !c->pending_count)
        return 0;
    int r = link_step(c, 0);
    if (r && r != -EINTR)
        return r;
    return c->queued + bytes <= c->o.queue_bytes || !c->pending_count
               ? 0
               : client_fail(c, -ENOBUFS, "%zu bytes wait to be sent or acknowledged", c->queued);
}

/* (".pst.upd"; `table; data; `level), data not yet. */
static size_t begin(struct kdb_out *o, const char *table, enum pst_level level, unsigned ncolumns)
{
    size_t begun = kdb_frame_begin(o, KDB_SYNC);
    (void)level;
    kdb_out_list(o, 4);
    kdb_out_chars(o, ".pst.upd", 8);
    kdb_out_symbol(o, table, strlen(table));
    if (ncolumns)
        kdb_out_list(o, ncolumns);
    return begun;
}

/* Ends and queues it. */
static int finish(struct pst_client *c, struct kdb_out *o, size_t begun, enum pst_level level,
                  uint64_t *ticket)
{
    kdb_out_symbol(o, level_names[level], strlen(level_names[level]));
    if (!kdb_frame_end(o, begun)) {
        kdb_out_free(o);
        return client_fail(c, -EINVAL, "no memory for the rows, or more than 2 GiB of them");
    }
    int r = link_queue(c, o->data, o->len, c->tickets + 1);
    if (r)
        return r;
    c->tickets++;
    if (ticket)
        *ticket = c->tickets;
    return 0;
}

/* ---- rows ---- */

static void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < b->ncolumns; i++)
        kdb_out_free(&b->column[i]);
    free(b->table);
    free(b->format);
    free(b);
}
void publish_free(struct pst_client *c)
{
    batch_free(c->batch);
    c->batch = NULL;
}

static uint8_t type_of(char letter)
{
    for (unsigned t = 1; t <= PST_STRING; t++)
        if (type_width((uint8_t)t) && type_letter((uint8_t)t) == letter)
            return (uint8_t)t;
    return 0;
}

static void unmade(struct pst_client *c);

static int batch_send(struct pst_client *c)
{
    struct batch *b = c->batch;
    struct kdb_out o = {0};
    if (!b || !b->rows)
        return 0;
    size_t begun = begin(&o, b->table, b->level, b->ncolumns);
    bool failed = false;
    for (unsigned i = 0; i < b->ncolumns; i++) {
        uint8_t type = b->type[i];
        size_t at = kdb_out_open(&o, type == PST_STRING ? KDB_LIST : type, 0);
        kdb_out_bytes(&o, b->column[i].data, b->column[i].len);
        kdb_out_close(&o, at, (uint32_t)b->rows);
        failed |= b->column[i].failed;
        b->column[i].len = 0;
        b->column[i].failed = false;
    }
    b->rows = b->bytes = 0;
    uint64_t promised = c->tickets + 1;
    if (failed)
        o.failed = true;
    int r = finish(c, &o, begun, b->level, NULL);
    if (r) { /* the rows' ticket was given out: it ends here */
        c->tickets = promised;
        link_queue(c, NULL, 0, promised);
        unmade(c);
    }
    return r;
}

static int batch_for(struct pst_client *c, const char *table, enum pst_level level,
                     const char *format)
{
    struct batch *b = c->batch;
    if (b && b->level == level && !strcmp(b->format, format) && !strcmp(b->table, table))
        return 0;
    int r = batch_send(c);
    if (r)
        return r;
    if (!*table || strlen(format) > COLUMNS || !*format || level > PST_DURABLE)
        return client_fail(c, -EINVAL,
                           "a table, a level and a format of 1 to %u letters are wanted", COLUMNS);
    for (const char *f = format; *f; f++)
        if (!type_of(*f))
            return client_fail(c, -EINVAL, "'%c' in format \"%.60s\" is no type", *f, format);
    publish_free(c);
    b = calloc(1, sizeof *b);
    if (b) {
        b->table = strdup(table);
        b->format = strdup(format);
        b->level = level;
        b->ncolumns = (unsigned)strlen(format);
        for (unsigned i = 0; i < b->ncolumns; i++)
            b->type[i] = type_of(format[i]);
    }
    c->batch = b;
    if (b && b->table && b->format)
        return 0;
    publish_free(c);
    return client_fail(c, -ENOMEM, "no memory for rows");
}

static void put_text(struct kdb_out *o, uint8_t type, const char *s)
{
    size_t len = s ? strlen(s) : 0;
    if (type == PST_STRING)
        kdb_out_chars(o, s ? s : "", len);
    else
        kdb_out_bytes(o, s ? s : "", len + 1);
}

static void put_value(struct kdb_out *o, uint8_t type, va_list *ap)
{
    union {
        int64_t j;
        double f;
        float e;
        int32_t i;
        int16_t h;
        uint8_t b;
    } v;
    switch (type) {
    case PST_SYMBOL:
    case PST_STRING:
        put_text(o, type, va_arg(*ap, const char *));
        return;
    case PST_GUID:
        kdb_out_bytes(o, va_arg(*ap, const uint8_t *), 16);
        return;
    case PST_FLOAT:
        v.f = va_arg(*ap, double);
        break;
    case PST_REAL:
        v.e = (float)va_arg(*ap, double);
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        v.j = va_arg(*ap, int64_t);
        break;
    case PST_SHORT:
        v.h = (int16_t)va_arg(*ap, int);
        break;
    case PST_BOOLEAN:
        v.b = va_arg(*ap, int) != 0;
        break;
    case PST_BYTE:
    case PST_CHAR:
        v.b = (uint8_t)va_arg(*ap, int);
        break;
    default:
        v.i = va_arg(*ap, int32_t);
        break;
    }
    kdb_out_bytes(o, &v, kdb_object_width(type));
}

int pst_publish_row(pst_client *c, const char *table, enum pst_level level, uint64_t *ticket,
                    const char *format, ...)
{
    int r = be_publisher(c);
    if (!r)
        r = batch_for(c, table, level, format);
    if (!r && !c->batch->rows)
        r = room(c, 1);
    if (r)
        return r;
    struct batch *b = c->batch;
    va_list ap;
    va_start(ap, format);
    size_t bytes = 0;
    for (unsigned i = 0; i < b->ncolumns; i++) {
        put_value(&b->column[i], b->type[i], &ap);
        bytes += b->column[i].len;
    }
    va_end(ap);
    b->rows++;
    b->bytes = bytes;
    if (ticket)
        *ticket = c->tickets + 1;
    return b->rows >= c->o.batch_rows || b->bytes > (8u << 20) ? pst_flush(c) : 0;
}

int pst_flush(pst_client *c)
{
    int r = batch_send(c);
    if (r)
        return r;
    r = link_step(c, 0);
    return r == -EINTR || r == -ENOTCONN ? 0 : r; /* it will be sent when it can be */
}

/* ---- columns ---- */

static void put_column(struct kdb_out *o, const struct pst_column *col, size_t rows)
{
    const char *const *texts = col->data;
    if (col->type != PST_SYMBOL && col->type != PST_STRING) {
        kdb_out_vector(o, col->type, 0, (uint32_t)rows, col->data);
        return;
    }
    size_t at = kdb_out_open(o, col->type == PST_STRING ? KDB_LIST : PST_SYMBOL, 0);
    for (size_t i = 0; i < rows; i++)
        put_text(o, col->type, texts[i]);
    kdb_out_close(o, at, (uint32_t)rows);
}

int pst_publish_columns(pst_client *c, const char *table, enum pst_level level, uint64_t *ticket,
                        const struct pst_column *columns, unsigned ncolumns, size_t rows)
{
    struct kdb_out o = {0};
    const char *names[COLUMNS];
    unsigned named = 0;
    int r = be_publisher(c);
    if (!r)
        r = batch_send(c);
    if (r)
        return r;
    if (!*table || level > PST_DURABLE || !ncolumns || ncolumns > COLUMNS || !rows ||
        rows > INT32_MAX)
        return client_fail(c, -EINVAL, "a table, a level, columns (at most %u) and rows are wanted",
                           COLUMNS);
    for (unsigned i = 0; i < ncolumns; i++) {
        if (!type_width(columns[i].type))
            return client_fail(c, -EINVAL, "column %u: %u is no type", i, columns[i].type);
        names[i] = columns[i].name;
        named += names[i] != NULL;
    }
    if (named && named != ncolumns)
        return client_fail(c, -EINVAL, "either all columns have names or none");
    if ((r = room(c, 1)))
        return r;
    size_t begun = begin(&o, table, level, named ? 0 : ncolumns);
    if (named)
        kdb_out_columns(&o, names, ncolumns);
    for (unsigned i = 0; i < ncolumns; i++)
        put_column(&o, &columns[i], rows);
    if ((r = finish(c, &o, begun, level, ticket)))
        return r;
    r = link_step(c, 0);
    return r == -EINTR || r == -ENOTCONN ? 0 : r;
}

/* ---- what becomes of them ---- */

static void ended(struct pst_client *c, uint64_t ticket, int code, uint64_t position,
                  const char *text)
{
    c->ended = ticket;
    if (code) {
        struct failure *f = &c->failure[c->failures++ % FAILURES];
        f->ticket = ticket;
        f->code = code;
        snprintf(f->text, sizeof f->text, "%s", text);
    } else if (position > c->position) {
        c->position = position;
    }
    if (c->o.on_ack)
        c->o.on_ack(c->o.arg, ticket, code, position, text);
}

static void drop_first(struct pst_client *c)
{
    struct pending *p = link_pending(c, 0);
    c->queued -= p->len;
    free(p->bytes);
    c->pending_head = (c->pending_head + 1) & (c->pending_room - 1);
    c->pending_count--;
    c->sent -= c->sent > 0;
}

static void call_ended(struct pst_client *c, const struct kdb_object *o, int code)
{
    c->call.done = true;
    c->call.code = o ? c->call.take(c, c->call.arg, o) : code;
}

/* Messages that could not be made (no bytes) end in their turn. */
static void unmade(struct pst_client *c)
{
    while (c->pending_count && !link_pending(c, 0)->bytes) {
        uint64_t ticket = link_pending(c, 0)->ticket;
        drop_first(c);
        ended(c, ticket, -ENOMEM, 0, "no memory for the rows, or more than 2 GiB of them");
    }
}

void publish_response(struct pst_client *c, const struct kdb_object *o)
{
    uint32_t len;
    unmade(c);
    if (!c->pending_count || !c->sent) {
        link_down(c, -EPROTO, "an answer that nobody asked for");
        return;
    }
    uint64_t ticket = link_pending(c, 0)->ticket;
    drop_first(c);
    if (!ticket)
        call_ended(c, o, 0);
    else if (o->type == KDB_ERROR)
        ended(c, ticket, -EREMOTEIO, 0, kdb_object_text(o, &len));
    else if (o->type == -PST_LONG)
        ended(c, ticket, 0, (uint64_t)kdb_object_long(o, 0), "");
    else
        ended(c, ticket, 0, 0, "");
    unmade(c);
}

void publish_lost(struct pst_client *c, const char *why)
{
    uint32_t begun = c->sent + (c->sent_part > 0);
    c->sent = 0;
    c->sent_part = 0;
    /* calls are never repeated; rows only if asked to */
    for (uint32_t i = 0, n = c->pending_count; i < n; i++) {
        struct pending p = *link_pending(c, 0);
        c->pending_head = (c->pending_head + 1) & (c->pending_room - 1);
        c->pending_count--;
        if (!p.ticket) {
            c->queued -= p.len;
            free(p.bytes);
            call_ended(c, NULL, -ECONNABORTED);
        } else if (i < begun && !c->o.resend) {
            c->queued -= p.len;
            free(p.bytes);
            ended(c, p.ticket, -ECONNABORTED, 0, why);
        } else { /* to the end of the ring: once around all are in order again */
            *link_pending(c, c->pending_count++) = p;
        }
    }
    unmade(c);
}

uint64_t pst_ended(const pst_client *c)
{
    return c->ended;
}

int pst_wait(pst_client *c, uint64_t ticket, int timeout_ms)
{
    int64_t until = deadline_of(timeout_ms);
    int r = be_publisher(c);
    if (!r && ticket > c->tickets + (c->batch && c->batch->rows))
        r = client_fail(c, -EINVAL, "ticket %llu was not given out", (unsigned long long)ticket);
    if (!r)
        r = batch_send(c);
    if (r)
        return r;
    while (c->ended < ticket) {
        r = link_step(c, until);
        if (r)
            return r;
        if (c->ended < ticket && clock_monotonic() >= until)
            return client_fail(c, -ETIMEDOUT, "not acknowledged in time");
    }
    uint64_t n = c->failures, spoken = c->spoken;
    for (uint64_t i = n > FAILURES ? n - FAILURES : 0; i < n; i++) {
        const struct failure *f = &c->failure[i % FAILURES];
        if (f->ticket > spoken && f->ticket <= ticket) {
            c->spoken = ticket;
            return client_fail(c, f->code, "%s", f->text);
        }
    }
    if (ticket > c->spoken)
        c->spoken = ticket;
    return 0;
}
