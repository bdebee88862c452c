/* SPDX-License-Identifier: Apache-2.0 */
/* From the keys of `load:` to recipes (load/recipe.h) and to the orchestrator's configuration. */
#include <arpa/inet.h>
#include <errno.h>
#include "core/tables.h"
#include "dataplane/decoder.h"
#include "load/recipe.h"
#include "load/text.h"
#include "loading_parts.h"
#include "wiring_framing.h"

struct loading_plan {
    const struct config *c;
    char temporary[1100], done[1100];
    struct loader_rule rule[LOADER_RULES];
    struct loader_pattern file[LOADER_FILES];
    char *text[LOADER_FILES]; /* recipes */
    char *marker[LOADER_RULES];
};

/* ---- schemas ---- */

static bool from_declared(const struct config_table *t, struct schema *s, struct err *err)
{
    struct column_def cols[SCHEMA_COLUMNS_MAX];
    if (t->columns.count > SCHEMA_COLUMNS_MAX)
        return err_set(err, -E2BIG, "table %s: more than %d columns", t->name, SCHEMA_COLUMNS_MAX);
    for (unsigned i = 0; i < t->columns.count; i++) {
        int type = t->columns.at[i].type;
        cols[i].name = t->columns.at[i].name;
        cols[i].type = type == CONFIG_STRING ? PST_STRING : (uint8_t)config_kdb_type(type);
    }
    if (!schema_make(s, TABLE_FIRST, t->name, false, cols, t->columns.count, err))
        return false;
    for (unsigned i = 0; i < t->key.count; i++) {
        int k = schema_column(s, t->key.at[i]);
        if (k < 0)
            return err_set(err, -EINVAL, "table %s: key %s is no column", t->name, t->key.at[i]);
        s->keys[s->nkeys++] = (uint16_t)k;
    }
    return true;
}

static bool from_decoder(const struct decoder_ops *o, unsigned k, struct schema *s, struct err *err)
{
    return schema_make(s, TABLE_FIRST, o->tables[k].name, true, o->tables[k].cols,
                       o->tables[k].ncols, err);
}

bool loading_schema(const struct config *c, const char *table, struct schema *out, struct err *err)
{
    for (uint32_t i = 0; i < c->tables.count; i++)
        if (!strcmp(c->tables.at[i].name, table))
            return from_declared(&c->tables.at[i], out, err);
    for (unsigned i = 0; decoder_at(i); i++)
        for (unsigned k = 0; k < decoder_at(i)->ntables; k++)
            if (!strcmp(decoder_at(i)->tables[k].name, table))
                return from_decoder(decoder_at(i), k, out, err);
    if (!strcmp(table, "gap"))
        return tables_gap(out, err);
    if (!strcmp(table, "undecoded"))
        return tables_undecoded(out, err);
    return err_set(err, -ENOENT, "there is no table %.40s", table);
}

static bool add_schema(json_t *list, const struct config *c, const char *table, struct err *err)
{
    struct schema s;
    if (!loading_schema(c, table, &s, err))
        return false;
    s.id = s.id ? s.id : TABLE_FIRST;
    char *text = schema_to_json(&s);
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return (o && !json_array_append_new(list, o)) || err_set(err, -ENOMEM, "no memory");
}

/* ---- a recipe ---- */

static void put(json_t *o, const char *key, const char *text)
{
    if (text)
        json_object_set_new(o, key, json_string(text));
}

static json_t *names_json(const struct config_names *n)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < n->count; i++)
        json_array_append_new(a, json_string(n->at[i]));
    return a;
}

/* {sym} and {date} set a column only where the keys say so. */
static void file_pattern(const struct config_load_file *f, char *out, size_t cap)
{
    size_t n = 0;
    for (const char *p = f->match; *p && n + 1 < cap;) {
        bool sym = !strncmp(p, "{sym}", 5), date = !strncmp(p, "{date}", 6);
        if ((sym && f->symbol != CONFIG_SYMBOL_NAME) || (date && strcmp(f->date, "name"))) {
            out[n++] = '*';
            p += sym ? 5 : 6;
        } else {
            out[n++] = *p++;
        }
    }
    out[n] = 0;
}

static bool captured(json_t *o, const struct config *c, const struct config_load_file *f,
                     json_t *schemas, struct err *err)
{
    const struct config_feed *feed = config_feed_named(c, f->feed);
    const struct decoder_ops *ops =
        feed->decoder == CONFIG_DECODE_ITCH50 ? decoder_find("itch50") : decoder_find("iex");
    for (unsigned k = 0; ops && k < ops->ntables; k++)
        if (!add_schema(schemas, c, ops->tables[k].name, err))
            return false;
    if (!add_schema(schemas, c, "gap", err) || !add_schema(schemas, c, "undecoded", err))
        return false;
    put(o, "feed", feed->name);
    put(o, "session", f->session);
    put(o, "decoder", ops ? ops->name : "none");
    put(o, "feed_zone", feed->zone ? feed->zone : c->calendar.zone);
    if (f->format != CONFIG_LOAD_PCAP)
        return true;
    const struct config_framing *own = config_framing_named(c, feed->framing);
    if (own) {
        struct framing made;
        if (!wiring_framing(c, own, &made, err))
            return false;
        char *hex = malloc(2 * sizeof made + 1);
        if (!hex)
            return err_set(err, -ENOMEM, "no memory");
        for (size_t i = 0; i < sizeof made; i++)
            snprintf(hex + 2 * i, 3, "%02x", ((const uint8_t *)&made)[i]);
        put(o, "framing_bytes", hex);
        free(hex);
    } else {
        put(o, "framing", feed->framing);
    }
    json_t *groups = json_array();
    for (uint32_t i = 0; i < c->ports.count; i++)
        for (uint32_t k = 0; k < c->ports.at[i].groups.count; k++) {
            const struct config_group *g = &c->ports.at[i].groups.at[k];
            if (strcmp(g->feed, feed->name))
                continue;
            uint32_t a = g->group.address;
            char text[40];
            snprintf(text, sizeof text, "%u.%u.%u.%u:%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
                     a & 255, g->group.port);
            json_t *x = json_pack("{s:s,s:s}", "group", a ? text : "any", "line", g->line);
            if (g->source) {
                snprintf(text, sizeof text, "%u.%u.%u.%u", g->source >> 24, g->source >> 16 & 255,
                         g->source >> 8 & 255, g->source & 255);
                put(x, "source", text);
            }
            json_array_append_new(groups, x);
        }
    if (!json_array_size(groups))
        json_array_append_new(groups, json_pack("{s:s,s:s}", "group", "any", "line", "A"));
    json_object_set_new(o, "groups", groups);
    return true;
}

static void text_members(json_t *o, const struct config_load_file *f)
{
    static const char *const headers[] = {"auto", "yes", "no"},
                             *const dates[] = {NULL, "dmy", "mdy", "ymd"},
                             *const quotes[] = {"\"", "'", ""};
    bool tab = !strcmp(f->separator, "tab"), space = !strcmp(f->separator, "space");
    put(o, "separator", tab ? "\t" : space ? " " : f->separator);
    put(o, "quote", quotes[f->quote]);
    if (f->escape == CONFIG_ESCAPE_BACKSLASH)
        put(o, "escape", "\\");
    json_object_set_new(o, "header",
                        f->header ? json_boolean(f->header == CONFIG_HEADER_YES)
                                  : json_string(headers[0]));
    json_object_set_new(o, "skip_lines", json_integer(f->skip_lines));
    put(o, "comment", f->comment);
    if (f->columns.count)
        json_object_set_new(o, "columns", names_json(&f->columns));
    if (f->map.count) {
        json_t *map = json_object();
        for (uint32_t i = 0; i < f->map.count; i++)
            put(map, f->map.at[i].name, f->map.at[i].column);
        json_object_set_new(o, "columns", map);
    }
    if (f->nulls.count)
        json_object_set_new(o, "nulls", names_json(&f->nulls));
    put(o, "decimal", f->decimal == CONFIG_DECIMAL_COMMA ? "," : ".");
    put(o, "thousands", f->thousands);
    json_object_set_new(o, "ragged", json_boolean(f->ragged));
    json_object_set_new(o, "rest", json_boolean(f->rest));
    json_object_set_new(o, "trim", json_boolean(f->trim));
    json_t *scale = json_object(), *times = json_object();
    for (uint32_t i = 0; i < f->scale.count; i++)
        put(scale, f->scale.at[i].name, f->scale.at[i].factor);
    for (uint32_t i = 0; i < f->times.count; i++)
        put(times, f->times.at[i].name, f->times.at[i].format);
    if (f->scale.count)
        json_object_set(o, "scale", scale);
    if (f->times.count)
        json_object_set(o, "times", times);
    json_decref(scale);
    json_decref(times);
    put(o, "time", f->time_format);
    put(o, "date_format", dates[f->date_format]);
}

/* Of /dir/file.so:NAME; the files are what workers load. */
static void put_function(json_t *o, const char *key, const char *text)
{
    put(o, key, text ? strrchr(text, ':') + 1 : NULL);
}

static json_t *recipe_json(const struct config *c, const struct config_load_file *f,
                           struct err *err)
{
    static const char *const formats[] = {"text", "itch50", "pcap", "splayed", "plugin"};
    char pattern[600];
    json_t *schemas = json_array(), *o = json_object();
    uint32_t k = f->table  ? config_calendar_of(c, f->table)
                 : f->feed ? config_feed_named(c, f->feed)->calendar
                           : 0;
    const struct calendar *cal = config_calendar(c, k);
    put(o, "name", f->name);
    put(o, "format", formats[f->format]);
    put(o, "table", f->table);
    json_object_set(o, "schemas", schemas);
    bool ok = f->table ? add_schema(schemas, c, f->table, err) : captured(o, c, f, schemas, err);
    json_decref(schemas);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    if (f->format == CONFIG_LOAD_TEXT)
        text_members(o, f);
    put(o, "zone", f->zone ? f->zone : "UTC");
    put(o, "date", strcmp(f->date, "name") ? f->date : "file");
    file_pattern(f, pattern, sizeof pattern);
    if (strchr(pattern, '{')) /* {sym}, {date}, another column's name */
        put(o, "file_pattern", pattern);
    if (f->constants.count) {
        json_t *x = json_object();
        for (uint32_t i = 0; i < f->constants.count; i++)
            put(x, f->constants.at[i].name, f->constants.at[i].value);
        json_object_set_new(o, "constants", x);
    }
    if (f->optional.count)
        json_object_set_new(o, "optional", names_json(&f->optional));
    json_object_set_new(o, "rejects", json_integer(f->max_rejects));
    json_object_set_new(o, "partial", json_boolean(f->partial));
    put_function(o, "read", f->read_function);
    put_function(o, "post_read", f->post_read_function);
    put_function(o, "save", f->save_function);
    if (f->options.count) {
        json_t *x = json_object();
        for (uint32_t i = 0; i < f->options.count; i++)
            put(x, f->options.at[i].name, f->options.at[i].value);
        json_object_set_new(o, "options", x);
    }
    put(o, "sym", f->sym);
    put(o, "calendar", cal->name);
    put(o, "calendar_zone", tzone_name(cal->zone));
    json_object_set_new(o, "eod_s", json_integer(cal->eod_s));
    return o;
}

/* ---- the whole ---- */

static bool make_file(struct loading_plan *p, uint32_t i, struct err *err)
{
    const struct config_load_file *f = &p->c->load.files.at[i];
    struct err why = {0};
    json_t *o = recipe_json(p->c, f, &why);
    struct load_recipe *r = o ? load_recipe_decode(o, &why) : NULL;
    if (r && r->format == LOAD_TEXT && !load_text_check(r, &why)) {
        load_recipe_free(r);
        r = NULL;
    }
    p->text[i] = r ? json_dumps(o, JSON_COMPACT) : NULL;
    load_recipe_free(r);
    json_decref(o);
    if (!p->text[i]) {
        char named[100]; /* a recipe's sentences begin with it too */
        int n = snprintf(named, sizeof named, "load.files: %s: ", f->name);
        bool twice = !strncmp(why.text, named, (size_t)n);
        return err_set(err, why.code ? why.code : -ENOMEM, "%s:%d: load.files.%s: %s", p->c->file,
                       f->file_line, f->name, why.code ? why.text + (twice ? n : 0) : "no memory");
    }
    const char *wrong = load_pattern_error(f->match);
    if (wrong)
        return err_set(err, -EINVAL, "%s:%d: load.files.%s.match: %s", p->c->file, f->file_line,
                       f->name, wrong);
    p->file[i] =
        (struct loader_pattern){.match = f->match,
                                .name = f->name,
                                .recipe = p->text[i],
                                .expansion = strcmp(f->expansion, "auto") ? atof(f->expansion) : 0};
    return true;
}

static bool make_rule(struct loading_plan *p, uint32_t i, struct err *err)
{
    static const enum load_by by[] = {LOAD_BY_COUNT, LOAD_BY_TRIGGER, LOAD_BY_MANIFEST,
                                      LOAD_BY_EACH};
    const struct config_load_batch *b = &p->c->load.batches.at[i];
    const char *wrong = load_pattern_error(b->match);
    if (wrong)
        return err_set(err, -EINVAL, "%s:%d: load.batches.%s.match: %s", p->c->file, b->file_line,
                       b->name, wrong);
    p->rule[i] = (struct loader_rule){.name = b->name,
                                      .by = by[b->by],
                                      .match = b->match,
                                      .marker = b->suffix                     ? b->suffix
                                                : b->by == CONFIG_BY_TRIGGER  ? ".trigger"
                                                : b->by == CONFIG_BY_MANIFEST ? ".manifest"
                                                                              : NULL,
                                      .priority = (int)b->priority,
                                      .partial = b->partial,
                                      .supersede = b->supersede,
                                      .gather_timeout = b->gather_timeout};
    return true;
}

struct loading_plan *loading_plan_new(const struct config *c, struct err *err)
{
    const struct config_load *l = &c->load;
    struct loading_plan *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, -ENOMEM, "no memory");
        return NULL;
    }
    p->c = c;
    if (l->temporary)
        snprintf(p->temporary, sizeof p->temporary, "%s", l->temporary);
    else
        snprintf(p->temporary, sizeof p->temporary, "%s/.penstock", l->staging.at[0]);
    if (l->finished_directory)
        snprintf(p->done, sizeof p->done, "%s", l->finished_directory);
    else
        snprintf(p->done, sizeof p->done, "%s/.done", l->staging.at[0]);
    bool ok = true;
    for (uint32_t i = 0; i < l->files.count && ok; i++)
        ok = make_file(p, i, err);
    for (uint32_t i = 0; i < l->batches.count && ok; i++)
        ok = make_rule(p, i, err);
    /* what belongs to no batch stands for itself; without rules the orchestrator does the same */
    if (l->batches.count)
        p->rule[l->batches.count] =
            (struct loader_rule){.name = "each", .by = LOAD_BY_EACH, .match = "*"};
    if (!ok) {
        loading_plan_free(p);
        return NULL;
    }
    return p;
}

void loading_plan_free(struct loading_plan *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < LOADER_FILES; i++)
        free(p->text[i]);
    free(p);
}

void loading_plan_config(const struct loading_plan *p, struct loader_config *out)
{
    const struct config_load *l = &p->c->load;
    static const enum loader_finished finished[] = {LOADER_KEEP, LOADER_MOVE, LOADER_DELETE};
    uint64_t limit = (uint64_t)l->file_size_limit;
    out->state_directory = p->c->state_directory;
    out->temporary = p->temporary;
    out->staging = l->staging.at;
    out->nstaging = l->staging.count;
    out->finished = finished[l->finished];
    out->finished_directory = l->finished == CONFIG_FINISHED_MOVE ? p->done : NULL;
    out->quarantine_directory = l->quarantine_directory;
    out->rejects_directory = l->rejects_directory;
    out->workers = (unsigned)l->workers;
    out->fixed = l->allocation == CONFIG_LOAD_STATIC;
    out->large_worker = l->large_worker;
    out->worker_memory = (uint64_t)l->worker_memory;
    out->large_worker_memory =
        (uint64_t)(l->large_worker_memory ? l->large_worker_memory : l->worker_memory);
    out->file_size_limit = limit;
    out->memory_buffer =
        l->memory_buffer ? (uint64_t)l->memory_buffer : loading_total_memory() / 10;
    out->throttle = (uint64_t)l->throttle;
    out->compounding = l->compounding;
    out->limit_min = l->limit_min ? (uint64_t)l->limit_min : limit / 4;
    out->limit_max = l->limit_max ? (uint64_t)l->limit_max : limit * 4;
    out->retries = (unsigned)l->retries;
    out->retry_backoff = l->retry_backoff;
    out->stuck_after = l->stuck_after;
    out->newly_only = l->newly_only;
    out->nrules = l->batches.count ? l->batches.count + 1 : 0;
    out->rule = p->rule;
    out->nfiles = l->files.count;
    out->file = p->file;
}

const char *loading_plan_done(const struct loading_plan *p)
{
    return p->done;
}

const char *loading_plan_temporary(const struct loading_plan *p)
{
    return p->temporary;
}

bool loading_check(const struct config *c, struct err *err)
{
    if (!c->load.file_line)
        return true;
    struct loading_plan *p = loading_plan_new(c, err);
    loading_plan_free(p);
    return p != NULL;
}
