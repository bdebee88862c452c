/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include "core/atomics.h"
#include "core/record.h"
#include "core/schema.h"

static const struct {
    const char *name;
    uint8_t type, width;
    char letter;
} types[] = {
#define X(ID, name, number, width, letter) {name, number, width, letter},
    PST_TYPES(X)
#undef X
};

static int type_index(uint8_t type)
{
    for (unsigned i = 0; i < PST_COUNT(types); i++)
        if (types[i].type == type)
            return (int)i;
    return -1;
}
unsigned type_width(uint8_t type)
{
    static const uint8_t widths[256] = {
#define X(ID, name, number, width, letter) [number] = width,
        PST_TYPES(X)
#undef X
    };
    return widths[type];
}
void type_put_null(void *at, uint8_t type)
{
    switch (type) {
    case PST_SHORT:
        put16(at, (uint16_t)PST_NULL_SHORT);
        break;
    case PST_INT:
    case PST_MONTH:
    case PST_DATE:
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        put32(at, (uint32_t)PST_NULL_INT);
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        put64(at, (uint64_t)PST_NULL_LONG);
        break;
    case PST_REAL:
        put32(at, PST_NULL_REAL_BITS);
        break;
    case PST_FLOAT:
        put64(at, PST_NULL_FLOAT_BITS);
        break;
    case PST_SYMBOL:
        put32(at, PST_NULL_SYMBOL);
        break;
    case PST_CHAR:
        *(char *)at = PST_NULL_CHAR;
        break;
    default:
        memset(at, 0, type_width(type));
    }
}
const char *type_name(uint8_t type)
{
    int i = type_index(type);
    return i < 0 ? "?" : types[i].name;
}
char type_letter(uint8_t type)
{
    int i = type_index(type);
    return i < 0 ? '?' : types[i].letter;
}
uint8_t type_by_name(const char *name)
{
    for (unsigned i = 0; i < PST_COUNT(types); i++)
        if (!strcmp(types[i].name, name))
            return types[i].type;
    return 0;
}

static const struct {
    struct column_def def;
    uint16_t offset;
    bool packet;
} feed_columns[SCHEMA_FEED_COLUMNS] = {
    {{"time", PST_TIMESTAMP}, offsetof(struct record, time), false},
    {{"sym", PST_SYMBOL}, offsetof(struct record, sym), false},
    {{"rxtime", PST_TIMESTAMP}, offsetof(struct packet_record, rxtime), true},
    {{"feed", PST_SYMBOL}, offsetof(struct packet_record, feed), true},
    {{"session", PST_SYMBOL}, offsetof(struct packet_record, session), true},
    {{"seq", PST_LONG}, offsetof(struct packet_record, seq), true},
    {{"line", PST_SYMBOL}, offsetof(struct packet_record, line), true},
    {{"flags", PST_INT}, offsetof(struct packet_record, flags), true},
};

static bool add_column(struct schema *s, const char *name, uint8_t type, uint16_t offset,
                       bool packet, struct err *err)
{
    if (s->ncols == SCHEMA_COLUMNS_MAX)
        return err_set(err, -E2BIG, "table %s: more than %d columns", s->name, SCHEMA_COLUMNS_MAX);
    if (!*name || strlen(name) >= SCHEMA_NAME_MAX)
        return err_set(err, -EINVAL, "table %s: column name '%.60s' is empty or longer than %d",
                       s->name, name, SCHEMA_NAME_MAX - 1);
    if (!type_width(type))
        return err_set(err, -EINVAL, "table %s: column %s has no known type", s->name, name);
    if (schema_column(s, name) >= 0)
        return err_set(err, -EEXIST, "table %s: column %s stands twice", s->name, name);
    struct column *c = &s->col[s->ncols++];
    memset(c, 0, sizeof *c);
    strcpy(c->name, name);
    c->type = type;
    c->offset = offset;
    c->packet = packet;
    return true;
}

/* Widest first, the order of declaration within a width. */
static bool lay_out(struct schema *s, unsigned first, struct err *err)
{
    static const unsigned widths[] = {16, 8, 4, 2, 1};
    unsigned at = sizeof(struct record);
    s->nsyms = s->nstrings = 0;
    for (unsigned w = 0; w < PST_COUNT(widths); w++)
        for (unsigned i = first; i < s->ncols; i++) {
            struct column *c = &s->col[i];
            if (type_width(c->type) != widths[w])
                continue;
            c->offset = (uint16_t)at;
            at += widths[w];
            if (c->type == PST_STRING)
                s->nstrings++;
            if (c->type == PST_SYMBOL) {
                if (s->nsyms == PST_COUNT(s->sym_offset))
                    return err_set(err, -E2BIG, "table %s: more than %zu symbol columns", s->name,
                                   PST_COUNT(s->sym_offset));
                s->sym_offset[s->nsyms++] = c->offset;
            }
        }
    s->fixed = (uint16_t)pst_align8(at);
    return true;
}

bool schema_make(struct schema *s, uint16_t id, const char *name, bool feed,
                 const struct column_def *cols, unsigned ncols, struct err *err)
{
    memset(s, 0, sizeof *s);
    if (!*name || strlen(name) >= SCHEMA_NAME_MAX)
        return err_set(err, -EINVAL, "table name '%.60s' is empty or longer than %d", name,
                       SCHEMA_NAME_MAX - 1);
    strcpy(s->name, name);
    s->id = id;
    s->feed = feed;
    unsigned start = 2;
    if (feed) {
        for (unsigned i = 0; i < SCHEMA_FEED_COLUMNS; i++)
            if (!add_column(s, feed_columns[i].def.name, feed_columns[i].def.type,
                            feed_columns[i].offset, feed_columns[i].packet, err))
                return false;
        start = SCHEMA_FEED_COLUMNS;
    } else if (ncols < 2 || strcmp(cols[0].name, "time") || cols[0].type != PST_TIMESTAMP ||
               strcmp(cols[1].name, "sym") || cols[1].type != PST_SYMBOL) {
        return err_set(
            err, -EINVAL,
            "table %s: every table starts with the columns time (timestamp), sym (symbol)", name);
    }
    for (unsigned i = 0; i < ncols; i++)
        if (!add_column(s, cols[i].name, cols[i].type, 0, false, err))
            return false;
    s->col[0].offset = offsetof(struct record, time);
    s->col[1].offset = offsetof(struct record, sym);
    return lay_out(s, start, err);
}

int schema_column(const struct schema *s, const char *name)
{
    for (unsigned i = 0; i < s->ncols; i++)
        if (!strcmp(s->col[i].name, name))
            return (int)i;
    return -1;
}

bool schema_equal(const struct schema *a, const struct schema *b)
{
    if (strcmp(a->name, b->name) || a->feed != b->feed || a->ncols != b->ncols ||
        a->nkeys != b->nkeys || memcmp(a->keys, b->keys, sizeof a->keys[0] * a->nkeys))
        return false;
    for (unsigned i = 0; i < a->ncols; i++)
        if (strcmp(a->col[i].name, b->col[i].name) || a->col[i].type != b->col[i].type)
            return false;
    return true;
}

char *schema_to_json(const struct schema *s)
{
    json_t *cols = json_array(), *keys = json_array();
    for (unsigned i = s->feed ? SCHEMA_FEED_COLUMNS : 0; i < s->ncols; i++)
        json_array_append_new(cols, json_pack("[ss]", s->col[i].name, type_name(s->col[i].type)));
    for (unsigned i = 0; i < s->nkeys; i++)
        json_array_append_new(keys, json_string(s->col[s->keys[i]].name));
    json_t *o = json_pack("{s:i,s:s,s:b,s:o,s:o}", "id", s->id, "table", s->name, "feed", s->feed,
                          "columns", cols, "keys", keys);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

bool schema_from_json(struct schema *s, const char *json, size_t len, struct err *err)
{
    json_error_t je;
    json_t *o = json_loadb(json, len, 0, &je);
    int id, feed;
    const char *name;
    json_t *cols, *keys;
    if (!o ||
        json_unpack(o, "{s:i,s:s,s:b,s:o,s:o}", "id", &id, "table", &name, "feed", &feed, "columns",
                    &cols, "keys", &keys) ||
        id < (int)TABLE_FIRST || id >= (int)TABLE_MAX) {
        json_decref(o);
        return err_set(err, -EBADMSG, "schema frame is not a schema");
    }
    struct column_def def[SCHEMA_COLUMNS_MAX];
    unsigned n = 0;
    size_t i;
    json_t *c;
    bool ok = true;
    json_array_foreach(cols, i, c)
    {
        const char *cn, *ct;
        if (n == SCHEMA_COLUMNS_MAX || json_unpack(c, "[ss]", &cn, &ct) || !type_by_name(ct)) {
            ok = err_set(err, -EBADMSG, "schema frame of table %s: column %zu is malformed", name,
                         i);
            break;
        }
        def[n++] = (struct column_def){cn, type_by_name(ct)};
    }
    ok = ok && schema_make(s, (uint16_t)id, name, feed, def, n, err);
    if (ok)
        json_array_foreach(keys, i, c)
        {
            int k = json_is_string(c) ? schema_column(s, json_string_value(c)) : -1;
            if (k < 0 || s->nkeys == PST_COUNT(s->keys)) {
                ok = err_set(err, -EBADMSG, "schema frame of table %s: key %zu is no column", name,
                             i);
                break;
            }
            s->keys[s->nkeys++] = (uint16_t)k;
        }
    json_decref(o);
    return ok;
}

struct schema_set *schema_set_new(void)
{
    struct schema_set *s = calloc(1, sizeof *s);
    if (s)
        s->count = TABLE_FIRST;
    return s;
}

void schema_set_free(struct schema_set *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < TABLE_MAX; i++)
        free(load_relaxed(&s->by_id[i]));
    free(s);
}

bool schema_set_add(struct schema_set *set, const struct schema *s, struct err *err)
{
    if (s->id < TABLE_FIRST || s->id >= TABLE_MAX)
        return err_set(err, -ERANGE, "table %s: id %u is out of range", s->name, s->id);
    const struct schema *old = schema_set_get(set, s->id);
    if (old)
        return schema_equal(old, s) ||
               err_set(err, -EEXIST, "table id %u names both %s and %s", s->id, old->name, s->name);
    struct schema *copy = malloc(sizeof *copy);
    if (!copy)
        return err_set(err, -ENOMEM, "no memory for the schema of table %s", s->name);
    *copy = *s;
    store_release(&set->by_id[s->id], copy); /* S1: pairs with S2 in schema_set_get */
    if (s->id >= set->count)
        set->count = s->id + 1u;
    return true;
}

const struct schema *schema_set_get(const struct schema_set *set, unsigned id)
{
    return id < TABLE_MAX ? load_acquire(&set->by_id[id]) : NULL; /* S2: pairs with S1 */
}

const struct schema *schema_set_find(const struct schema_set *set, const char *name)
{
    for (unsigned i = TABLE_MAX; i-- > TABLE_FIRST;) {
        const struct schema *s = schema_set_get(set, i);
        if (s && !strcmp(s->name, name))
            return s;
    }
    return NULL;
}

const struct schema *schema_set_intern(struct schema_set *set, struct schema *s, bool *fresh,
                                       struct err *err)
{
    const struct schema *live = schema_set_find(set, s->name);
    *fresh = !live || !schema_equal(live, s);
    if (!*fresh)
        return live;
    s->id = (uint16_t)set->count;
    return schema_set_add(set, s, err) ? schema_set_get(set, s->id) : NULL;
}
