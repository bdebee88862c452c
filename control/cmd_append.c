/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append: rows in binary into control's inject ring (append_wire.h). All of a request is checked
 * before any of it is offered; of a source the appender decides alone whether the rows come next.
 */
#include <errno.h>
#include "append_check.h"
#include "cmd.h"
#include "core/civil.h"
#include "core/clock.h"
#include "daemon.h"
#include "rtp/rtp.h"
#include "dataplane/batch.h"
#include "dataplane/inject_rows.h"
#include "wiring_parts.h"

#define TEXTS_MAX (APPEND_TEXTS_BYTES / 2)

/* Tables that this peer may write, newest versions only. */
static void allowed(struct daemon *d, enum level level, bool may[TABLE_MAX])
{
    memset(may, 0, TABLE_MAX * sizeof *may);
    for (unsigned id = TABLE_FIRST; level >= LEVEL_ADMIN && id < TABLE_MAX; id++) {
        may[id] = wiring_table_live(d, id);
    }
    for (unsigned i = 0; i < d->config->tables.count; i++) {
        const struct schema *s = schema_set_find(d->schemas, d->config->tables.at[i].name);
        if (s)
            may[s->id] = true;
    }
}

static void where(struct daemon *d, const char *source, struct source_progress *out)
{
    uint32_t id = symbols_find(&d->symbols, source, (uint32_t)strlen(source));
    *out = (struct source_progress){0};
    if (id != PST_NULL_SYMBOL)
        sources_where(d->wiring->appender.sources, id, out);
}

/* ---- opening ---- */

json_t *append_opened(struct daemon *d, enum level level, const char *source)
{
    static bool may[TABLE_MAX];
    struct source_progress p;
    where(d, source, &p);
    allowed(d, level, may);
    json_t *have = json_array(), *tables = json_array();
    for (uint32_t i = 0; i < p.islands; i++) {
        const struct source_range *x = &p.island[i];
        json_array_append_new(have, json_pack("[I,I,I,I]", (json_int_t)x->from.position,
                                              (json_int_t)x->from.row, (json_int_t)x->to.position,
                                              (json_int_t)x->to.row));
    }
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = may[id] ? schema_set_get(d->schemas, id) : NULL;
        char *text = s ? schema_to_json(s) : NULL;
        if (!text)
            continue;
        struct wiring_calendar c;
        char day[CIVIL_TEXT];
        unsigned calendar = wiring_calendar_of_id(d, s->id);
        wiring_calendar(d, calendar, &c);
        civil_format(c.open, day);
        json_array_append_new(tables, json_pack("{s:s,s:i,s:s}", "schema", text, "calendar",
                                                (int)calendar, "open", day));
        free(text);
    }
    char instance[24];
    snprintf(instance, sizeof instance, "%016llx", (unsigned long long)d->instance_id);
    return json_pack("{s:I,s:I,s:o,s:o,s:b,s:s,s:o}", "position", (json_int_t)p.at.position, "row",
                     (json_int_t)p.at.row, "have", have, "tables", tables, "dates",
                     level >= LEVEL_ADMIN, "instance", instance, "derived", rtp_writes(d));
}

/* ---- rows ---- */

static bool level_of(struct cmd_request *req, const char *level, struct err *err)
{
    req->ack = !level || !strcmp(level, "durable") ? ACK_DURABLE
               : !strcmp(level, "written")         ? ACK_WRITTEN
                                                   : ACK_SUBMITTED;
    return !level || req->ack != ACK_SUBMITTED || !strcmp(level, "submitted") ||
           err_set(err, -EINVAL, "level '%.20s' is not submitted, written or durable", level);
}

/* The texts of a block in control's own numbering. False: some was refused. */
static bool number(struct inject_rows *w, const struct append_block *b, uint32_t *map)
{
    const uint8_t *p = append_texts(b);
    for (uint32_t i = 0; i < b->texts; p += 1 + *p, i++) {
        map[i] = rows_symbol(&w->rows, (const char *)p + 1, *p);
        if (map[i] == SYMBOL_REFUSED)
            return false;
    }
    return true;
}

static uint64_t late_rows(struct daemon *d, const struct append_block *b, const uint16_t *open)
{
    if (!b->day || !b->records)
        return 0;
    const uint8_t *at = append_records(b), *end = at + append_record_bytes(b);
    const struct record *r = (const struct record *)at;
    uint64_t rows = b->records;
    bool bad = false;
    if (r->table == TABLE_PACKET) {
        r = (const struct record *)(at + sizeof(struct packet_record));
        while (packet_hop(&at, end, &bad))
            rows--;
    }
    return b->day < open[d->wiring->owners.calendar[r->table]] ? rows : 0;
}

static bool offer(struct daemon *d, struct inject_rows *w, const struct append_block *b,
                  const char *source, struct err *err)
{
    static uint32_t map[TEXTS_MAX];
    /* Symbols of weeks, or texts that never got a row, would fill this producer's numbering. */
    if (symbols_count(&w->local) + (uint64_t)b->texts + 1 >= w->local.head->max ||
        w->syms_bytes > BATCH_SYMS_MAX / 4) {
        inject_rows_flush(w);
        inject_rows_restart(w);
    }
    inject_rows_flush(w);
    uint32_t name = source ? rows_symbol(&w->rows, source, (uint32_t)strlen(source)) : 0;
    if (name == SYMBOL_REFUSED || !number(w, b, map))
        return err_set(err, -ENOSPC,
                       "append: the symbol table (symbols_max) or max_new_symbols is "
                       "full; the rows from this block on were not taken");
    struct batch_rows rows = {.schemas = d->schemas,
                              .gaps = source != NULL,
                              .at = append_records(b),
                              .bytes = append_record_bytes(b),
                              .records = b->records,
                              .locals = b->texts,
                              .map = map,
                              .owners = &d->wiring->owners};
    pst_must(!rows.bytes || !batch_rows_check(&rows)); /* it was sound a moment ago */
    struct derived_record head = {.table = TABLE_DERIVED,
                                  .bytes = sizeof head,
                                  .source = name,
                                  .after = b->after,
                                  .position = b->position,
                                  .after_row = b->after_row,
                                  .row = b->row,
                                  .flags = b->flags & APPEND_AS_LOGGED ? DERIVED_AS_LOGGED : 0};
    pst_must(inject_rows_block(w, rows.at, rows.bytes, b->records, b->day, source ? &head : NULL));
    return true;
}

static json_t *rows(struct cmd_request *req, json_t *o, const char *source, struct err *err)
{
    static bool may[TABLE_MAX];
    struct daemon *d = req->daemon;
    const char *level = json_string_value(json_object_get(o, "level"));
    if (!level_of(req, level, err))
        return NULL;
    allowed(d, req->peer->level, may);
    struct append_rules rules = {.schemas = d->schemas,
                                 .owners = &d->wiring->owners,
                                 .may = may,
                                 .admin = req->peer->level >= LEVEL_ADMIN,
                                 .of_source = source != NULL};
    struct append_found found;
    if (!append_check(&rules, req->tail, req->tail_bytes, &found, err))
        return NULL;
    struct source_progress p = {0};
    const struct append_block *first = found.block[0], *last = found.block[found.blocks - 1];
    if (source)
        where(d, source, &p);
    if (source && (source_cmp(p.at, source_point(first->after, first->after_row)) ||
                   (p.islands &&
                    source_cmp(source_point(last->position, last->row), p.island[0].from) > 0))) {
        err_set(err, -ESTALE,
                "append: source %s stands at %llu.%u, not at %llu.%u: open it anew; nothing was "
                "taken",
                source, (unsigned long long)p.at.position, p.at.row,
                (unsigned long long)first->after, first->after_row);
        return NULL;
    }
    struct inject_rows *w = wiring_control_rows(d);
    if (inject_rows_room(w) < req->tail_bytes + found.blocks * 1024ull + BATCH_SYMS_MAX) {
        err_set(err, -EAGAIN, "the journal is busy; send the request again");
        return NULL;
    }
    uint16_t open[DAYS_CALENDARS];
    uint64_t late = 0;
    for (unsigned c = 0; c < DAYS_CALENDARS; c++)
        open[c] = load_relaxed(&d->wiring->appender.days.open[c]);
    req->before = inject_rows_flush(w);
    req->from = ring_tail(&d->ring);
    for (unsigned i = 0; i < found.blocks; i++) {
        if (!offer(d, w, found.block[i], source, err))
            return NULL;
        late += late_rows(d, found.block[i], open);
    }
    req->ticket = w->ticket;
    req->wait = true;
    req->later = json_pack("{s:I,s:I,s:s}", "rows", (json_int_t)found.rows, "late",
                           (json_int_t)late, "level", level ? level : "durable");
    return NULL;
}

json_t *cmd_append(struct cmd_request *req, struct err *err)
{
    json_t *o = json_array_get(req->args, 0);
    json_t *name = json_object_get(o, "source");
    const char *source = json_string_value(name);
    if (!json_is_object(o) || (name && !source)) {
        err_set(err, -EINVAL, "append is for programs: see append_wire.h");
        return NULL;
    }
    if (source && !source_name(source, json_string_length(name))) {
        err_set(err, -EINVAL, "append: a source's name has 1 to %u letters, digits and . _ - : / @",
                SOURCE_NAME_MAX);
        return NULL;
    }
    if (req->tail)
        return rows(req, o, source, err);
    /* What was sent before, perhaps on a connection that died, is taken first. */
    req->opening = true;
    req->wait = true;
    req->ticket = inject_rows_flush(wiring_control_rows(req->daemon));
    snprintf(req->source, sizeof req->source, "%s", source ? source : "");
    return NULL;
}
