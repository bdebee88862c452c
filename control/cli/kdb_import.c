/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "core/crc.h"
#include "core/rows.h"
#include "kdb_import.h"

/* ---- tables ---- */

static struct import_table *table_of(struct kdb_import *m, const char *name, size_t len)
{
    for (unsigned i = 0; i < m->tables; i++)
        if (strlen(m->table[i].guess.table) == len && !memcmp(m->table[i].guess.table, name, len))
            return &m->table[i];
    if (m->tables == IMPORT_TABLES || !len || len >= SCHEMA_NAME_MAX)
        return NULL;
    struct import_table *t = &m->table[m->tables++];
    memset(t, 0, sizeof *t);
    memcpy(t->guess.table, name, len);
    return t;
}

bool kdb_import_columns(struct kdb_import *m, const char *text, struct err *err)
{
    size_t n = strcspn(text, "=");
    struct kdb_guess g;
    if (!text[n])
        return err_set(err, -EINVAL, "--schema %s: write TABLE=time,sym,...", text);
    if (!kdb_guess_parse(&g, text, n, text + n + 1, err))
        return false;
    struct import_table *t = table_of(m, text, n);
    if (!t)
        return err_set(err, -E2BIG, "--schema %s: too many tables", text);
    t->guess = g;
    return true;
}

bool kdb_import_schema(struct kdb_import *m, const struct schema *s, struct err *err)
{
    struct import_table *t = table_of(m, s->name, strlen(s->name));
    if (!t)
        return err_set(err, -E2BIG, "%s: too many tables", s->name);
    t->schema = *s;
    t->known = true;
    return true;
}

static void left_out(struct kdb_import *m, struct import_table *t, const struct import_file *f,
                     uint64_t message, uint64_t rows, const char *why)
{
    if (!t->why_file) {
        snprintf(t->why, sizeof t->why, "%.299s", why);
        t->why_message = message;
        t->why_file = f->path;
    }
    t->left_out += rows;
    m->left_out += rows;
}

static void note_call(struct kdb_import *m, const struct kdb_message *msg)
{
    char name[48] = "(no name)";
    unsigned i = 0;
    if (msg->function)
        snprintf(name, sizeof name, "%.*s", (int)(msg->function_len < 47 ? msg->function_len : 47),
                 msg->function);
    while (i < m->calls && strcmp(m->call[i].name, name))
        i++;
    if (i == IMPORT_CALLS)
        i--;
    else if (i == m->calls)
        memcpy(m->call[m->calls++].name, name, sizeof name);
    m->call[i].count++;
}

/* Where columns without names go: named by --schema or by other updates, if the table has them. */
static void place(struct import_table *t)
{
    const struct schema *s = t->target.schema;
    const struct kdb_guess *g = &t->guess;
    t->target.ordered = false;
    if (g->ncols != s->ncols || !*g->col[0].name)
        return;
    for (unsigned i = 0; i < g->ncols; i++) {
        int to = schema_column(s, g->col[i].name);
        if (to < 0)
            return;
        t->target.position[i] = (uint16_t)to;
    }
    t->target.ordered = true;
}

/* Makes the target of a table that has rows. False: it can have none. */
static bool ready(struct kdb_import *m, struct import_table *t)
{
    struct err err;
    const struct schema *old = t->target.schema;
    if (t->refused)
        return false;
    t->target.zone = m->want.zone;
    t->target.quality = m->captured ? CLOCK_CAPTURE : CLOCK_TSC;
    t->schema.id = 0;
    if (m->append) {
        t->target.schema = append_table(m->append, t->guess.table);
        if (t->target.schema) {
            if (t->target.schema != old)
                place(t);
            return true;
        }
        err_set(&err, -ENOENT, "the instance has no table %s that takes rows from here",
                t->guess.table);
    } else if (old) {
        return true;
    } else if (t->known || (t->known = kdb_guess_schema(&t->guess, &t->schema, &t->target, &err))) {
        t->target.schema = log_make_table(m->make, &t->schema, &err);
        if (t->target.schema) {
            place(t);
            return true;
        }
    }
    snprintf(t->why, sizeof t->why, "%.299s", err.text);
    return !(t->refused = true);
}

/* ---- rows ---- */

static uint32_t append_text(void *arg, const char *text, uint32_t len)
{
    return append_symbol(arg, text, len);
}

static void fact(const struct kdb_in *in, const uint32_t *place, char text[256], uint32_t *len)
{
    const char *t = kdb_in_text(in, place, len);
    memcpy(text, t, *len);
    text[*len] = 0;
}

/* A feed's row: a run of its own, which the client joins to the one before where it goes on. */
static void run_of(struct kdb_import *m)
{
    const struct packet_record *p = &m->in.packet;
    struct append_facts *f = &m->facts;
    bool again = m->facts_hold && !(p->flags & RUN_UNSEQUENCED) && f->seq == p->seq;
    struct append_facts old = again ? *f : (struct append_facts){0};
    fact(&m->in, &p->feed, f->feed.text, &f->feed.len);
    fact(&m->in, &p->session, f->session.text, &f->session.len);
    fact(&m->in, &p->line, f->line.text, &f->line.len);
    again =
        again && !strcmp(old.feed.text, f->feed.text) && !strcmp(old.session.text, f->session.text);
    f->rxtime = p->rxtime;
    f->seq = p->seq;
    f->flags = p->flags | (again ? RUN_PACKET_SEQ : 0u); /* a further row of one packet */
    f->seqs = again ? 0 : 1;
    f->quality = p->quality;
    m->facts_hold = true;
    append_run(m->append, f);
}

static bool send(struct kdb_import *m, const struct import_table *t)
{
    struct append_client *a = m->append;
    const struct record *r = (const struct record *)(const void *)m->in.record;
    bool feed = t->target.schema->feed;
    if (feed)
        run_of(m);
    return append_begin(a, t->target.schema, r->bytes, m->in.nsymbols,
                        feed ? (uint16_t)m->in.day : 0) &&
           kdb_in_symbols(&m->in, false, append_text, a) && append_row(a, r);
}

static bool give(struct kdb_import *m, struct import_table *t, struct import_file *f,
                 uint64_t number, struct err *err)
{
    struct kdb_in *in = &m->in;
    const struct record *r = (const struct record *)(const void *)in->record;
    const struct packet_record *p = in->has_packet ? &in->packet : NULL;
    if (m->make && !kdb_in_symbols(in, true, log_make_symbol, m->make)) {
        left_out(m, t, f, number, 1, "a symbol could not be taken");
        return true;
    }
    if (m->make ? !log_make_row(m->make, t->target.schema, in->day, r, p, err) : !send(m, t)) {
        if (m->append)
            *err = m->append->err;
        return false;
    }
    t->rows++;
    f->rows++;
    m->rows++;
    return true;
}

static bool wanted(const struct kdb_import *m)
{
    const struct record *r = (const struct record *)(const void *)m->in.record;
    uint32_t len;
    const char *sym = kdb_in_sym(&m->in, &len);
    return cli_rows_time(&m->want, r->time) && cli_names_has(&m->want.syms, sym, len);
}

static bool update(struct kdb_import *m, struct import_file *f, const struct kdb_message *msg,
                   int32_t date, struct err *err)
{
    struct err why;
    struct import_table *t = table_of(m, msg->table, msg->table_len);
    if (!t || !cli_names_has(&m->want.tables, msg->table, msg->table_len))
        return true;
    if (!kdb_update_view(&m->update, &msg->data, &why)) {
        left_out(m, t, f, msg->number, 1, why.text);
        return true;
    }
    if (!m->update.rows)
        return true;
    if (!ready(m, t)) {
        memcpy(why.text, t->why, sizeof t->why);
        left_out(m, t, f, msg->number, m->update.rows, why.text);
        return true;
    }
    t->target.date = date;
    if (!kdb_in_begin(&m->in, &t->target, &m->update, &why)) {
        left_out(m, t, f, msg->number, m->update.rows, why.text);
        return true;
    }
    for (int r; (r = kdb_in_next(&m->in, &why));) {
        if (r < 0) {
            left_out(m, t, f, msg->number, 1, why.text);
        } else if (!wanted(m)) {
            continue;
        } else if (!give(m, t, f, msg->number, err)) {
            return false;
        }
    }
    return true;
}

/* ---- files ---- */

/* The next message in range: 1, 0 at the end of it, -1 on an error. Salvages if told to; the first
 * time (learn) it notes what it finds. */
static int next(const struct kdb_import *m, struct kdb_log *l, struct kdb_message *msg,
                struct import_file *f, bool learn, struct err *err)
{
    while (l->messages < m->last_message) {
        enum kdb_log_verdict v = kdb_log_next(l, msg);
        if (v == KDB_LOG_ERROR)
            return err_set(err, l->error, "%s: %s", f->path, strerror(-l->error)) - 1;
        if (learn && v == KDB_LOG_BAD && f->sound) {
            f->sound = false;
            f->good_messages = l->messages;
            f->good_bytes = l->at;
            snprintf(f->why, sizeof f->why, "%s", l->why);
        }
        if (v == KDB_LOG_BAD && m->salvage && kdb_log_salvage(l)) {
            f->ranges += learn;
            f->bytes += learn ? l->bad_to - l->bad_from : 0;
            continue;
        }
        f->gave_up |= l->gave_up;
        if (v != KDB_LOG_MESSAGE)
            break;
        if (msg->number >= m->first_message)
            return 1;
    }
    return 0;
}

bool kdb_import_declare(struct kdb_import *m, struct err *err)
{
    for (unsigned i = 0; i < m->tables; i++) {
        struct import_table *t = &m->table[i];
        if (!t->known || !cli_names_has(&m->want.tables, t->guess.table, strlen(t->guess.table)))
            continue;
        t->schema.id = 0;
        t->target.schema = log_make_table(m->make, &t->schema, err);
        if (!t->target.schema)
            return false;
        place(t);
    }
    return true;
}

bool kdb_import_learn(struct kdb_import *m, struct import_file *f, struct err *err)
{
    struct kdb_log l;
    struct kdb_message msg;
    struct err why;
    int r;
    if (!kdb_log_open(&l, m->io, f->path, err))
        return false;
    f->sound = true;
    while ((r = next(m, &l, &msg, f, true, err)) > 0) {
        if (!f->messages++)
            f->first_crc = crc32c(0, msg.whole.at, msg.bytes);
        if (!msg.update) {
            note_call(m, &msg);
            continue;
        }
        struct import_table *t = table_of(m, msg.table, msg.table_len);
        bool sound = t && kdb_update_view(&m->update, &msg.data, &why);
        if (sound)
            kdb_guess_add(&t->guess, &m->update);
        if (sound && !m->make && !m->append) { /* nothing else is wanted: counts */
            t->rows += m->update.rows;
            f->rows += m->update.rows;
            m->rows += m->update.rows;
        }
    }
    if (f->sound) {
        f->good_messages = l.messages;
        f->good_bytes = l.at;
    }
    kdb_log_close(&l);
    return !r;
}

bool kdb_import_rows(struct kdb_import *m, struct import_file *f, struct err *err)
{
    struct kdb_log l;
    struct kdb_message msg;
    int32_t date = m->want.date;
    int r;
    if (date == KDB_NO_DATE && !kdb_log_date(f->path, &date))
        date = KDB_NO_DATE;
    if (!kdb_log_open(&l, m->io, f->path, err))
        return false;
    bool ok = true;
    uint64_t start = m->append ? m->append->at.position : 0; /* of its source: messages taken */
    while (ok && (r = next(m, &l, &msg, f, false, err)) > 0) {
        if (msg.number < start) {
            m->passed_over++;
            continue;
        }
        ok = !msg.update || update(m, f, &msg, date, err);
        if (ok && m->append && !append_point(m->append, msg.number + 1)) {
            *err = m->append->err;
            ok = false;
        }
    }
    kdb_log_close(&l);
    return ok && !r;
}

bool kdb_import_repair(struct kdb_import *m, struct import_file *f, const char *to, struct err *err)
{
    struct kdb_log l;
    struct kdb_log_writer w;
    struct kdb_message msg;
    int r = -1;
    if (!kdb_log_open(&l, m->io, f->path, err))
        return false;
    if (kdb_log_create(&w, m->io, to, err)) {
        while ((r = next(m, &l, &msg, f, false, err)) > 0)
            if (!kdb_log_write(&w, msg.whole.at, msg.bytes, err)) {
                r = -1;
                break;
            }
        if (!kdb_log_finish(&w, true, r ? NULL : err))
            r = -1;
    }
    kdb_log_close(&l);
    return !r;
}
