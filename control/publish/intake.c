/* SPDX-License-Identifier: Apache-2.0 */
#include "intake.h"

#include <errno.h>
#include <jansson.h>
#include "intake_parts.h"

#define LOGGED_BYTES 1024u /* of a refused message, in the error log */

/* ---- tables ---- */

static uint32_t table_hash(const char *name, uint32_t len)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return (h ^ h >> 15) & (INTAKE_TABLES_HASH - 1);
}

static const struct intake_slot *find_table(const struct intake *in, const char *name, uint32_t len)
{
    for (uint32_t at = table_hash(name, len); in->hash[at]; at = (at + 1) % INTAKE_TABLES_HASH) {
        const struct intake_slot *t = &in->slot[in->hash[at] - 1];
        if (!strncmp(t->schema->name, name, len) && !t->schema->name[len])
            return t;
    }
    return NULL;
}

static bool add_table(struct intake *in, const struct intake_table *t)
{
    const struct schema *s = t->schema;
    struct intake_slot *x = &in->slot[in->nslots++];
    uint32_t at = table_hash(s->name, (uint32_t)strlen(s->name));
    *x = (struct intake_slot){.schema = s, .refused = t->refused};
    x->blank = calloc(1, s->fixed);
    if (!x->blank)
        return false;
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        if (c->packet)
            continue;
        type_put_null(x->blank + c->offset, c->type);
        if (c->type == PST_STRING)
            put32(x->blank + c->offset, s->fixed); /* empty, but inside the record */
    }
    struct record *r = (struct record *)(void *)x->blank;
    r->table = s->id;
    r->bytes = s->fixed;
    while (in->hash[at])
        at = (at + 1) % INTAKE_TABLES_HASH;
    in->hash[at] = (uint16_t)in->nslots;
    return true;
}

const struct intake_slot *intake_table_slot(struct intake *in, const struct schema *s)
{
    const struct intake_table t = {.schema = s};
    const struct intake_slot *x = find_table(in, s->name, (uint32_t)strlen(s->name));
    if (x && x->schema == s)
        return x;
    if (x || in->nslots == TABLE_MAX || !add_table(in, &t))
        return NULL;
    return &in->slot[in->nslots - 1];
}

/* ---- life ---- */

struct intake *intake_open(const struct intake_config *c, struct err *err)
{
    struct intake *in = calloc(1, sizeof *in);
    if (!in || !(in->in = calloc(1, sizeof *in->in))) {
        free(in);
        err_set(err, -ENOMEM, "intake: no memory");
        return NULL;
    }
    in->cfg = *c;
    in->cfg.table = NULL;
    in->staged_from = 1;
    in->w.local.fd = -1;
    bool ok = c->ntables <= TABLE_MAX || err_set(err, -E2BIG, "intake: too many tables");
    ok = ok && inject_rows_init(&in->w, &c->rows, err) &&
         intake_symbols_init(&in->symbols, &in->w, err);
    for (unsigned i = 0; ok && i < c->ntables; i++)
        ok = add_table(in, &c->table[i]) || err_set(err, -ENOMEM, "intake: no memory for tables");
    if (!ok) {
        intake_close(in);
        return NULL;
    }
    return in;
}

void intake_close(struct intake *in)
{
    if (!in)
        return;
    for (unsigned i = 0; i < in->nslots; i++)
        free(in->slot[i].blank);
    intake_symbols_free(&in->symbols);
    inject_rows_fini(&in->w);
    free(in->rec);
    free(in->in);
    free(in);
}

/* ---- refusals ---- */

static const char *user_name(const struct intake *in, const struct user *user)
{
    return user && in->cfg.name ? in->cfg.name(user) : "";
}

static void log_refusal(struct intake *in, const struct user *user, const char *table,
                        uint32_t table_len, const struct kdb_object *data, const struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * LOGGED_BYTES + 1], name[SCHEMA_NAME_MAX + 16], from[80];
    size_t bytes = (size_t)(kdb_object_end(data) - data->at);
    size_t n = bytes < LOGGED_BYTES ? bytes : LOGGED_BYTES;
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[data->at[i] >> 4];
        hex[2 * i + 1] = digits[data->at[i] & 15];
    }
    hex[2 * n] = 0;
    size_t len = 0; /* what is no table's name may be no text at all */
    for (; len < table_len && len < sizeof name - 1; len++)
        name[len] = table[len] > ' ' && table[len] < 127 ? table[len] : '?';
    name[len] = 0;
    snprintf(from, sizeof from, "user %.63s", user_name(in, user));
    json_t *o = json_pack("{s:s,s:I}", "hex", hex, "message_bytes", (json_int_t)bytes);
    in->cfg.log(in->cfg.errors, "publish", from, name, err->text, o);
    json_decref(o);
}

enum intake_verdict intake_refused(struct intake *in, const struct user *user, const char *table,
                                   uint32_t len, const struct kdb_object *data, struct err *err)
{
    in->used = in->sent = 0;
    count_plus(&in->count_refused, 1);
    for (char *p = err->text; *p; p++) /* names of the sender's stand in it */
        if (*p < ' ' || *p == 127)
            *p = '?';
    if (in->cfg.log)
        log_refusal(in, user, table, len, data, err);
    return INTAKE_REFUSED;
}

/* ---- a message ---- */

/* The numbering begins anew where it must, between two messages. False: batches that use the old
 * one are on their way (their texts may be new ones, which would be counted twice). */
static bool numbering(struct intake *in)
{
    struct inject_rows *w = &in->w;
    uint32_t max = w->local.head->max;
    bool stuck = !w->rows.records && w->syms_bytes > BATCH_SYMS_MAX / 4;
    if (pst_likely(!in->restart && !stuck && symbols_count(&w->local) < max - max / 16))
        return true;
    if (!intake_offer(in) || in->answered < in->offered)
        return false;
    inject_rows_restart(w);
    intake_symbols_forget(&in->symbols);
    in->restart = false;
    return true;
}

static const struct intake_slot *writable(struct intake *in, const struct user *user,
                                          const char *table, uint32_t len, struct err *err)
{
    const struct intake_slot *t = find_table(in, table, len);
    int n = len < 60 ? (int)len : 60;
    if (!t)
        err_set(err, -ENOENT, "there is no table '%.*s'; tables[] names those that are declared", n,
                table);
    else if (in->cfg.may && !in->cfg.may(user, t->schema->name))
        err_set(err, -EACCES, "user %s may not publish to table %s", user_name(in, user),
                t->schema->name);
    else if (t->refused)
        err_set(err, -EACCES, "table %s takes no rows from publishers: it %s", t->schema->name,
                t->refused);
    else
        return t;
    return NULL;
}

/* The symbols that a message brings: is there room for them? */
static bool symbols_fit(struct intake *in, struct err *err)
{
    const struct intake_symbols *s = &in->symbols;
    const struct inject_rows *w = &in->w;
    if (s->failed)
        return err_set(err, -ENOMEM, "no memory for its symbols");
    if (!s->n)
        return true;
    uint32_t left =
        w->cfg.max_new_symbols > w->new_today ? w->cfg.max_new_symbols - w->new_today : 0;
    if (s->unknown > left)
        return err_set(err, -ENOSPC,
                       "it brings %u new symbols, max_new_symbols leaves %u for this publish "
                       "thread today",
                       s->unknown, left);
    const struct symbols *known = w->cfg.known;
    if (known && (uint64_t)symbols_count(known) + w->nsyms + s->unknown > known->head->max)
        return err_set(err, -ENOSPC,
                       "it brings %u new symbols and the symbol table is full "
                       "(symbols_max: %u)",
                       s->unknown, known->head->max);
    if (s->n > w->local.head->max)
        return err_set(err, -E2BIG, "it brings %u symbols at once: send at most %u", s->n,
                       w->local.head->max);
    return true;
}

static void taken(struct intake *in)
{
    if (in->room > INTAKE_KEEP) {
        free(in->rec);
        in->rec = NULL;
        in->room = 0;
        store_relaxed(&in->count_bytes, 0);
    }
    in->used = in->sent = 0;
}

/* All parts are built: the message goes. */
enum intake_verdict intake_go(struct intake *in, uint64_t *ticket, struct err *err)
{
    if (!symbols_fit(in, err))
        return INTAKE_REFUSED;
    const struct symbols *local = &in->w.local;
    if (pst_unlikely(symbols_count(local) + (uint64_t)in->symbols.n > local->head->max)) {
        in->restart = true; /* it fits a numbering that begins anew */
        in->used = 0;
        return INTAKE_BUSY;
    }
    if (!in->used) { /* no rows: it is in the journal when what came before is */
        *ticket = in->message;
        count_plus(&in->count_messages, 1);
        return INTAKE_TAKEN;
    }
    in->message++;
    in->spoilt = false;
    bool all = intake_send(in);
    if (in->spoilt && !in->sent) {
        in->message--;
        err_set(err, -ENOSPC, "the symbol table is full (symbols_max)");
        return INTAKE_REFUSED;
    }
    *ticket = in->message;
    count_plus(&in->count_messages, 1);
    count_plus(&in->count_rows, in->rows);
    store_relaxed(&in->count_bytes, all ? 0 : in->room);
    if (all)
        taken(in);
    return INTAKE_TAKEN;
}

/* May a message be looked at? */
bool intake_begin(struct intake *in, int64_t now)
{
    if (pst_unlikely(in->sent < in->used))
        intake_step(in);
    if (pst_unlikely(in->sent < in->used || !numbering(in))) {
        count_plus(&in->count_busy, 1);
        return false;
    }
    in->now = now;
    in->rows = 0;
    intake_symbols_begin(&in->symbols);
    return true;
}

bool intake_add(struct intake *in, const struct user *user, const char *table, uint32_t len,
                const struct kdb_object *data, struct err *err)
{
    struct err why;
    const struct intake_slot *t = writable(in, user, table, len, err);
    if (!t)
        return false;
    return pst_likely(intake_rows(in, t, data, &why)) ||
           err_set(err, why.code, "table %s: %s", t->schema->name, why.text);
}

enum intake_verdict intake_update(struct intake *in, const struct user *user, const char *table,
                                  uint32_t len, const struct kdb_object *data, int64_t now,
                                  uint64_t *ticket, struct err *err)
{
    if (!intake_begin(in, now))
        return INTAKE_BUSY;
    if (!intake_add(in, user, table, len, data, err) ||
        intake_go(in, ticket, err) == INTAKE_REFUSED)
        return intake_refused(in, user, table, len, data, err);
    return INTAKE_TAKEN;
}

/* ---- turns ---- */

void intake_flush(struct intake *in)
{
    in->flush = !intake_offer(in);
}

static void follow_days(struct intake *in)
{
    const struct days_open *days = in->cfg.rows.days;
    uint32_t version = days ? load_relaxed(&days->version) : 0;
    if (pst_likely(version == in->days) || !intake_offer(in))
        return;
    in->days = version;
    inject_rows_days(&in->w, days);
    memset(in->span, 0, sizeof in->span);
}

static void take_answers(struct intake *in)
{
    struct inject *q = in->cfg.rows.q;
    for (; in->answered < in->offered; in->answered++) {
        const struct intake_flight *f = &in->flight[in->answered % INTAKE_BATCHES];
        uint64_t position;
        if (!inject_taken(q, f->ticket, &position))
            break;
        if (pst_unlikely(inject_verdict(q, f->ticket) != INJECT_ACCEPTED)) {
            in->lost[in->nlost++ % INJECT_REFUSALS] = (struct intake_lost){f->from, f->to};
            count_plus(&in->count_refused, f->to - f->from + 1);
            in->restart = true;
        }
        in->done = f->complete;
        in->position = position;
    }
}

bool intake_step(struct intake *in)
{
    take_answers(in);
    follow_days(in);
    if (pst_unlikely(in->sent < in->used) && intake_send(in)) {
        if (in->spoilt) { /* what stands of it stands; it is answered as refused */
            in->lost[in->nlost++ % INJECT_REFUSALS] =
                (struct intake_lost){in->message, in->message};
            count_plus(&in->count_refused, 1);
        }
        taken(in);
        store_relaxed(&in->count_bytes, 0);
    }
    if (pst_unlikely(in->flush))
        intake_flush(in);
    return in->answered < in->offered || in->sent < in->used || in->flush;
}

bool intake_ready(struct intake *in)
{
    return in->sent == in->used && (!in->restart || in->answered == in->offered);
}

enum intake_answer intake_answer(struct intake *in, uint64_t ticket, uint64_t *position,
                                 struct err *err)
{
    if (ticket > in->done)
        return INTAKE_PENDING;
    *position = in->position;
    for (uint64_t i = in->nlost > INJECT_REFUSALS ? in->nlost - INJECT_REFUSALS : 0; i < in->nlost;
         i++) {
        const struct intake_lost *l = &in->lost[i % INJECT_REFUSALS];
        if (ticket >= l->from && ticket <= l->to) {
            err_set(err, -ENOSPC,
                    "the symbol table ran full under this message (symbols_max, "
                    "max_new_symbols): it was not taken");
            return INTAKE_FAILED;
        }
    }
    return INTAKE_DONE;
}

uint64_t intake_level(const struct intake *in, enum kdb_level level)
{
    const struct ring_head *h = in->cfg.head;
    return level == KDB_DURABLE   ? load_acquire(&h->durable)
           : level == KDB_WRITTEN ? load_acquire(&h->written)
                                  : load_acquire(&h->submitted);
}

void intake_counts(const struct intake *in, struct intake_counts *out)
{
    *out = (struct intake_counts){.messages = load_relaxed(&in->count_messages),
                                  .rows = load_relaxed(&in->count_rows),
                                  .refused = load_relaxed(&in->count_refused),
                                  .busy = load_relaxed(&in->count_busy),
                                  .bytes = load_relaxed(&in->count_bytes)};
}
