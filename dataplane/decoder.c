/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"
#include "feeds/feeds.h"

static const struct decoder_ops *const decoders[] = {&itch50_decoder, &iex_decoder};

const struct decoder_ops *decoder_at(unsigned i)
{
    return i < PST_COUNT(decoders) ? decoders[i] : NULL;
}

const struct decoder_ops *decoder_find(const char *name)
{
    for (unsigned i = 0; i < PST_COUNT(decoders); i++)
        if (!strcmp(decoders[i]->name, name))
            return decoders[i];
    return NULL;
}

static bool bind_table(const struct decoder_ops *ops, const struct decoder_table *t,
                       const struct schema *s, struct err *err)
{
    if (!s || strcmp(s->name, t->name) || !s->feed || s->ncols != SCHEMA_FEED_COLUMNS + t->ncols)
        return err_set(err, -EINVAL, "decoder %s: the schema given for table %s is another table's",
                       ops->name, t->name);
    if (s->fixed != t->bytes || s->nstrings)
        return err_set(err, -EINVAL,
                       "decoder %s: records of table %s have %u bytes, the decoder writes %u",
                       ops->name, t->name, s->fixed, t->bytes);
    for (unsigned i = 0; i < t->ncols; i++) {
        const struct column *c = &s->col[SCHEMA_FEED_COLUMNS + i];
        if (strcmp(c->name, t->cols[i].name) || c->type != t->cols[i].type || c->packet ||
            c->offset != t->offsets[i])
            return err_set(err, -EINVAL,
                           "decoder %s: column %s.%s (%s at %u) is not what the decoder writes "
                           "(%s %s at %u)",
                           ops->name, t->name, c->name, type_name(c->type), c->offset,
                           t->cols[i].name, type_name(t->cols[i].type), t->offsets[i]);
    }
    return true;
}

bool decoder_bind(const struct decoder_ops *ops, const struct schema *const *tables,
                  struct err *err)
{
    for (unsigned i = 0; i < ops->ntables; i++)
        if (!bind_table(ops, &ops->tables[i], tables[i], err))
            return false;
    return true;
}
