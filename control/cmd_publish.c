/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish TABLE {"header": "a,b", "rows": "1,2\n3,4\n", "level": "durable", "line": 2}: CSV rows
 * into control's inject ring. All rows of a request are checked before any is offered, so a request
 * is taken whole or refused whole; the reply comes when the wanted level is reached and names it.
 */
#include <errno.h>
#include "cmd.h"
#include "core/clock.h"
#include "csv.h"
#include "daemon.h"
#include "error_log.h"
#include "dataplane/inject_rows.h"
#include "wiring_parts.h"

/* How many symbols the numbering may have to take, repeats included. */
struct need {
    const struct inject_rows *w;
    uint32_t symbols;
};

static uint32_t check_symbol(void *arg, const char *text, uint32_t len)
{
    struct need *n = arg;
    n->symbols += symbols_find(&n->w->local, text, len) == PST_NULL_SYMBOL;
    return 0;
}
static uint32_t local_symbol(void *arg, const char *text, uint32_t len)
{
    struct inject_rows *w = arg;
    return rows_symbol(&w->rows, text, len);
}

/* Walks the rows; with w NULL only checks them. The number of rows, or -1. */
static int64_t each_row(const struct csv *c, const char *text, size_t len, int64_t now,
                        struct inject_rows *w, struct need *need, uint64_t *bytes,
                        int64_t first_line, struct err *err)
{
    static pst_aligned(8) uint8_t record[CSV_RECORD_MAX + 8];
    int64_t n = 0;
    for (size_t at = 0; at < len;) {
        size_t next, end = csv_line(text + at, len - at, &next);
        if (end) {
            struct err why;
            uint32_t size = csv_row(c, text + at, end, now, record, w ? local_symbol : check_symbol,
                                    w ? (void *)w : need, &why);
            if (!size) {
                err_set(err, -EINVAL, "line %lld: %s; %s", (long long)(first_line + n), why.text,
                        w && n ? "the lines of this batch before it were taken"
                               : "nothing of this batch was taken");
                return -1;
            }
            *bytes += size;
            if (w) {
                memcpy(inject_rows_plain(w, size, 0), record, size);
                inject_rows_plain_commit(w, size);
            }
        }
        at += next;
        n++;
    }
    return n;
}

static json_t *publish(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *table = cmd_arg(req, 0);
    json_t *o = json_array_get(req->args, 1);
    const char *header = json_string_value(json_object_get(o, "header"));
    const char *rows = json_string_value(json_object_get(o, "rows"));
    const char *level = json_string_value(json_object_get(o, "level"));
    int64_t line = json_integer_value(json_object_get(o, "line"));
    if (!table || !header || !rows) {
        err_set(err, -EINVAL, "publish TABLE {\"header\": …, \"rows\": …}");
        return NULL;
    }
    const struct schema *s = NULL;
    for (unsigned i = 0; i < d->config->tables.count; i++)
        if (!strcmp(d->config->tables.at[i].name, table))
            s = schema_set_find(d->schemas, table);
    if (!s) {
        err_set(err, -EINVAL, "table '%.40s' is not declared in the configuration (tables:)%s",
                table,
                schema_set_find(d->schemas, table) ? "; it takes no rows from publishers" : "");
        return NULL;
    }
    req->ack = !level || !strcmp(level, "durable") ? ACK_DURABLE
               : !strcmp(level, "written")         ? ACK_WRITTEN
                                                   : ACK_SUBMITTED;
    if (level && req->ack == ACK_SUBMITTED && strcmp(level, "submitted")) {
        err_set(err, -EINVAL, "level '%.20s' is not submitted, written or durable", level);
        return NULL;
    }
    struct csv c;
    uint64_t bytes = 0;
    int64_t now = clock_now(&d->clock);
    struct inject_rows *w = wiring_control_rows(d);
    if (!csv_header(&c, s, header, strlen(header), err))
        return NULL;
    struct need need = {.w = w};
    int64_t n = each_row(&c, rows, strlen(rows), now, NULL, &need, &bytes, line ? line : 1, err);
    if (n < 0)
        return NULL;
    if (inject_rows_room(w) < bytes + 65536) {
        err_set(err, -EAGAIN, "the journal is busy; send the batch again");
        return NULL;
    }
    /* Symbols of weeks would fill this producer's numbering, though the instance has room. */
    if (symbols_count(&w->local) + (uint64_t)need.symbols >= w->local.head->max) {
        inject_rows_flush(w);
        inject_rows_restart(w);
    }
    bytes = 0;
    req->before = inject_rows_flush(w);
    req->from = ring_tail(&d->ring);
    if (each_row(&c, rows, strlen(rows), now, w, NULL, &bytes, line ? line : 1, err) < 0) {
        /* Only a symbol can be refused at this point, after the check: the rows before it stand. */
        inject_rows_flush(w);
        return NULL;
    }
    req->ticket = inject_rows_flush(w);
    req->wait = true;
    req->later = json_pack("{s:s,s:I,s:s}", "table", table, "rows", (json_int_t)n, "level",
                           level ? level : "durable");
    req->sent = json_incref(req->args);
    return NULL;
}

/* A refused batch is kept in the error log: its publisher may not keep it. */
void cmd_publish_refused(struct cmd_request *req, json_t *args, const struct err *err)
{
    static const char *const texts[] = {"header", "rows"};
    const char *table = json_string_value(json_array_get(args, 0));
    json_t *o = json_array_get(args, 1), *data = json_object();
    for (unsigned i = 0; i < PST_COUNT(texts); i++)
        if (json_is_string(json_object_get(o, texts[i])))
            json_object_set(data, texts[i], json_object_get(o, texts[i]));
    if (table && json_object_size(data) == PST_COUNT(texts))
        error_log_put(req->daemon->errors, "publish", req->peer->uid, table, err->text, data);
    json_decref(data);
}

json_t *cmd_publish(struct cmd_request *req, struct err *err)
{
    json_t *r = publish(req, err);
    if (!r && !req->wait && err->code != -EAGAIN) /* else it is sent again */
        cmd_publish_refused(req, req->args, err);
    return r;
}
