/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: built-in ones, those of the decoders in use, and the declared ones. */
#include <errno.h>
#include "core/tables.h"
#include "dataplane/decoder.h"
#include "initial.h"
#include "rtp/rtp.h"
#include "wiring_parts.h"

static bool intern(struct daemon *d, struct schema *s, struct err *err)
{
    bool fresh;
    const struct schema *live = schema_set_intern(d->schemas, s, &fresh, err);
    if (!live)
        return false;
    struct wiring *w = d->wiring;
    w->live[live->id] = true;
    if (fresh)
        w->fresh[w->n_fresh++] = live; /* its schema frame is written when the journal starts */
    return true;
}

static bool declared(struct daemon *d, const struct config_table *t, struct err *err)
{
    struct column_def cols[SCHEMA_COLUMNS_MAX];
    if (t->columns.count > SCHEMA_COLUMNS_MAX)
        return err_set(err, -E2BIG, "%s:%d: table %s: more than %d columns", d->config->file,
                       t->file_line, t->name, SCHEMA_COLUMNS_MAX);
    for (unsigned i = 0; i < t->columns.count; i++) {
        int type = t->columns.at[i].type;
        cols[i].name = t->columns.at[i].name;
        cols[i].type = type == CONFIG_STRING ? PST_STRING : (uint8_t)config_kdb_type(type);
    }
    struct schema s;
    struct err why;
    if (!schema_make(&s, 0, t->name, false, cols, t->columns.count, &why))
        return err_set(err, why.code, "%s:%d: %s", d->config->file, t->file_line, why.text);
    for (unsigned i = 0; i < t->key.count; i++) {
        int k = schema_column(&s, t->key.at[i]);
        if (k < 0)
            return err_set(err, -EINVAL, "%s:%d: table %s: key %s is no column of it",
                           d->config->file, t->file_line, t->name, t->key.at[i]);
        s.keys[s.nkeys++] = (uint16_t)k;
    }
    for (unsigned i = 0; decoder_at(i); i++)
        for (unsigned k = 0; k < decoder_at(i)->ntables; k++)
            if (!strcmp(decoder_at(i)->tables[k].name, t->name))
                return err_set(err, -EEXIST,
                               "%s:%d: table %s belongs to decoder %s; choose another name",
                               d->config->file, t->file_line, t->name, decoder_at(i)->name);
    return intern(d, &s, err);
}

bool wiring_table_live(const struct daemon *d, unsigned id)
{
    return id < TABLE_MAX && d->wiring->live[id];
}

bool wiring_tables(struct daemon *d, struct err *err)
{
    struct schema s;
    if (!tables_gap(&s, err) || !intern(d, &s, err) || !tables_undecoded(&s, err) ||
        !intern(d, &s, err) || !tables_alarm(&s, err) || !intern(d, &s, err))
        return false;
    for (unsigned i = 0; i < d->config->feeds.count; i++) {
        const struct decoder_ops *o = wiring_decoder(&d->config->feeds.at[i]);
        for (unsigned k = 0; o && k < o->ntables; k++)
            if (!schema_make(&s, 0, o->tables[k].name, true, o->tables[k].cols, o->tables[k].ncols,
                             err) ||
                !intern(d, &s, err))
                return false;
    }
    for (unsigned i = 0; i < d->config->tables.count; i++)
        if (!declared(d, &d->config->tables.at[i], err))
            return false;
    return rtp_tables(d, intern, err) && initial_load(d, err) && initial_declare(d, intern, err);
}

const struct decoder_ops *wiring_decoder(const struct config_feed *f)
{
    switch (f->decoder) {
    case CONFIG_DECODE_ITCH50:
        return decoder_find("itch50");
    case CONFIG_DECODE_IEX:
        return decoder_find("iex");
    default:
        return NULL;
    }
}
