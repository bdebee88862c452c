/* SPDX-License-Identifier: Apache-2.0 */
#include "view_db.h"

#include <errno.h>

#include "hdb.h"
#include "rdb_layout.h"
#include "rdb_map.h"
#include "view_build.h"

struct table { /* asked for in this cut */
    struct table *next;
    struct view *view;
    const struct hdb_table *hdb; /* NULL: not in the database */
    struct query_table query;
    struct query_column col[VIEW_COLUMNS_MAX];
    uint16_t key[8];
};

struct view_db {
    const struct rdb_map *rdb;
    const struct symbols *journal;
    struct hdb *hdb;
    bool has_cut;
    uint64_t epoch;
    struct rdb_part_view *part; /* those of the cut */
    uint32_t nparts;
    struct table *tables;
    char **names;
    uint32_t nnames;
    /* symbols */
    struct view_syms syms;
    struct view_text *extra;
    uint32_t extra_room;
    struct view_hdb_codes codes;
    uint64_t checked;                     /* sym indices that codes covers */
    bool identity;                        /* so far every index is its text's journal id */
    const struct schema *const *declared; /* view_db_declare */
    unsigned ndeclared;
    struct view_db_limits limits;
    struct view_db_more more;
};

struct view_db *view_db_new(const struct rdb_map *rdb, const struct symbols *journal,
                            struct hdb *hdb, struct err *err)
{
    struct view_db *db = calloc(1, sizeof *db);
    if (!db) {
        err_set(err, -ENOMEM, "no memory for the tables");
        return NULL;
    }
    db->rdb = rdb;
    db->journal = journal;
    db->hdb = hdb;
    db->identity = true;
    db->syms.journal = journal;
    return db;
}

void view_db_declare(struct view_db *db, const struct schema *const *schemas, unsigned n)
{
    db->declared = schemas;
    db->ndeclared = n;
}

void view_db_limit(struct view_db *db, const struct view_db_limits *l)
{
    db->limits = l ? *l : (struct view_db_limits){0};
}

void view_db_add(struct view_db *db, const struct view_db_more *m)
{
    db->more = *m;
}

static bool is_more(const struct view_db *db, const char *name)
{
    for (unsigned i = 0; i < db->more.n; i++)
        if (!strcmp(db->more.names[i], name))
            return true;
    return false;
}

static bool may_read(const struct view_db *db, const char *name)
{
    return !db->limits.may_read || db->limits.may_read(db->limits.arg, name);
}

static const struct schema *declared(const struct view_db *db, const char *name)
{
    const struct schema *newest = NULL;
    for (unsigned i = 0; i < db->ndeclared; i++)
        if (!strcmp(db->declared[i]->name, name) && (!newest || db->declared[i]->id > newest->id))
            newest = db->declared[i];
    return newest;
}

static void free_names(struct view_db *db)
{
    for (uint32_t i = 0; i < db->nnames; i++)
        free(db->names[i]);
    free(db->names);
    db->names = NULL;
    db->nnames = 0;
}

static void drop_cut(struct view_db *db)
{
    while (db->tables) {
        struct table *t = db->tables;
        db->tables = t->next;
        view_free(t->view);
        if (t->hdb)
            hdb_table_put(t->hdb);
        free(t);
    }
    free_names(db);
    free(db->part);
    db->part = NULL;
    db->nparts = 0;
}

void view_db_free(struct view_db *db)
{
    if (!db)
        return;
    drop_cut(db);
    free(db->extra);
    free(db->syms.extra_hash);
    free(db->codes.map);
    free(db);
}

/* ---- symbols: journal ids as they are, what only the database knows behind them ---- */

static bool add_extra(struct view_db *db, const char *p, uint32_t len)
{
    if (db->syms.extra_count == db->extra_room) {
        uint32_t room = db->extra_room ? 2 * db->extra_room : 1024;
        struct view_text *e = realloc(db->extra, room * sizeof *e);
        if (!e)
            return false;
        db->extra = e;
        db->extra_room = room;
    }
    db->extra[db->syms.extra_count++] = (struct view_text){p, len};
    return true;
}

static bool push_code(struct view_db *db, uint64_t index, uint32_t code)
{
    if (db->identity && code == index)
        return true;
    struct view_hdb_codes *c = &db->codes;
    if (db->identity || index >= c->room) {
        uint64_t room = c->room ? c->room : 1024;
        while (room <= index)
            room *= 2;
        uint32_t *m = realloc(c->map, room * sizeof *m);
        if (!m)
            return false;
        if (db->identity)
            for (uint64_t i = 0; i < index; i++)
                m[i] = (uint32_t)i;
        c->map = m;
        c->room = room;
        db->identity = false;
    }
    c->map[index] = code;
    return true;
}

static bool map_symbols(struct view_db *db, struct err *err)
{
    uint32_t journal = db->journal ? symbols_count(db->journal) : 0;
    uint64_t n = db->hdb ? hdb_symbol_count(db->hdb) : 0;
    if (n > UINT32_MAX / 2)
        return err_set(err, -EFBIG, "the sym file has more than 2 billion names");
    if (journal != db->syms.journal_count && db->syms.extra_count) {
        /* codes of extra texts lie behind the journal's: number them anew */
        db->checked = 0;
        db->syms.extra_count = 0;
        db->identity = true;
        free(db->codes.map);
        db->codes = (struct view_hdb_codes){0};
    }
    db->syms.journal_count = journal;
    if (n == db->checked && n)
        return true;
    for (uint64_t i = db->checked; i < n; i++) {
        uint32_t len = 0, jlen = 0, code;
        const char *p = hdb_symbol_text(db->hdb, (int64_t)i, &len);
        const char *j = i < journal ? symbols_text(db->journal, (uint32_t)i, &jlen) : NULL;
        if (!p || len == 0) {
            code = PST_NULL_SYMBOL;
        } else if (j && jlen == len && !memcmp(j, p, len)) {
            code = (uint32_t)i;
        } else {
            code = db->journal ? symbols_find(db->journal, p, len) : PST_NULL_SYMBOL;
            if (code >= journal) {
                code = journal + db->syms.extra_count;
                if (!add_extra(db, p, len))
                    return err_set(err, -ENOMEM, "no memory for the symbols");
            }
        }
        if (!push_code(db, i, code))
            return err_set(err, -ENOMEM, "no memory for the symbols");
    }
    db->checked = n;
    db->codes.count = n;
    if (db->identity) {
        free(db->codes.map);
        db->codes.map = NULL;
        db->codes.room = 0;
    }
    db->syms.extra = db->extra;
    return view_syms_index(&db->syms) || err_set(err, -ENOMEM, "no memory for the symbols");
}

/* ---- the cut ---- */

bool view_db_cut(struct view_db *db, const struct cut *cut, struct err *err)
{
    drop_cut(db);
    db->has_cut = cut != NULL;
    db->epoch = cut ? cut->epoch : UINT64_MAX;
    if (db->hdb && !hdb_refresh(db->hdb, err))
        return false;
    if (cut && db->rdb && cut->nparts) {
        db->part = calloc(cut->nparts, sizeof *db->part);
        if (!db->part)
            return err_set(err, -ENOMEM, "no memory for %u parts", cut->nparts);
        for (uint32_t i = 0; i < cut->nparts; i++) {
            const struct cut_part *c = &cut->part[i];
            if (!rdb_part_open(db->rdb, c->slot, c->table, (uint32_t)c->day, c->rows,
                               &db->part[db->nparts], err))
                return false;
            db->nparts++;
        }
    }
    return map_symbols(db, err);
}

/* ---- names ---- */

static int cmp_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

uint32_t view_db_tables(struct view_db *db, const char *const **names)
{
    char **h = NULL;
    unsigned nh = 0;
    struct err err;
    *names = NULL;
    free_names(db);
    if (db->hdb && !db->limits.memory_only && !hdb_tables(db->hdb, true, &h, &nh, &err))
        nh = 0;
    db->names = calloc(nh + db->nparts + db->ndeclared + db->more.n + 1u, sizeof *db->names);
    if (db->names) {
        uint32_t n = 0;
        for (unsigned i = 0; i < nh; i++)
            n += (db->names[n] = strdup(h[i])) != NULL;
        for (uint32_t i = 0; i < db->nparts; i++)
            n += (db->names[n] = strdup(db->part[i].schema.name)) != NULL;
        for (unsigned i = 0; i < db->ndeclared; i++)
            n += (db->names[n] = strdup(db->declared[i]->name)) != NULL;
        for (unsigned i = 0; i < db->more.n; i++)
            n += (db->names[n] = strdup(db->more.names[i])) != NULL;
        qsort(db->names, n, sizeof *db->names, cmp_name);
        for (uint32_t i = 0; i < n; i++)
            if ((db->nnames && !strcmp(db->names[db->nnames - 1], db->names[i])) ||
                !may_read(db, db->names[i]))
                free(db->names[i]);
            else
                db->names[db->nnames++] = db->names[i];
    }
    if (h)
        hdb_names_free(h, nh);
    *names = (const char *const *)db->names;
    return db->nnames;
}

/* ---- a table ---- */

/* d: as the table is declared now, or NULL. A column of the newest date that cannot be read has the
 * type it is declared with: whoever reads it hears why. */
static bool add_columns(struct view *v, const struct schema *s, const struct hdb_table *h,
                        const struct schema *d)
{
    bool ok = true;
    if (s) {
        for (unsigned i = 0; i < s->ncols; i++)
            ok = ok && view_add_column(v, s->col[i].name, s->col[i].type);
        for (unsigned i = 0; i < s->nkeys; i++)
            v->key[v->nkeys++] = s->keys[i] + 1u;
        return ok;
    }
    for (unsigned i = 0; i < h->ncols; i++) {
        int k = h->col[i].type || !d ? -1 : schema_column(d, h->col[i].name);
        uint8_t type = k < 0 ? h->col[i].type : d->col[k].type;
        if (type) /* else of a kind that is not read: not seen */
            ok = ok && view_add_column(v, h->col[i].name, type);
    }
    for (unsigned i = 0; i < h->nkeys; i++) {
        int k = h->keys[i] < h->ncols ? view_column(v, h->col[h->keys[i]].name) : -1;
        if (k > 0)
            v->key[v->nkeys++] = (uint32_t)k;
    }
    return ok;
}

static int by_arrival(const void *a, const void *b)
{
    const struct rdb_part_view *x = *(const struct rdb_part_view *const *)a,
                               *y = *(const struct rdb_part_view *const *)b;
    if (x->part->day != y->part->day)
        return x->part->day < y->part->day ? -1 : 1;
    uint64_t p = load_relaxed(&x->part->first_position), q = load_relaxed(&y->part->first_position);
    return p != q ? (p < q ? -1 : 1) : x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* What a day that is in memory has on disk, too. A batch may have been loaded into it before it
 * ended: its rows stand beside those in memory - or, once the end of day is merged with them, the
 * partition has all. Partitions without a batch: memory alone is the day until the cut drops it. */
enum disk { DISK_NOT, DISK_BESIDE, DISK_ALL };
static enum disk on_disk(const struct view_db *db, const struct hdb_table *h, int32_t day,
                         const struct rdb_part_view *memory)
{
    struct err err;
    const struct hdb_part *p = hdb_part_get(h, day, &err);
    const struct hdb_meta *m = p ? p->meta : NULL;
    uint64_t instance = ((const struct rdb_head *)(const void *)memory->map->base)->instance;
    uint64_t position = load_relaxed(&memory->part->first_position);
    bool loaded = false;
    for (unsigned i = 0; m && i < m->nsources; i++)
        loaded |= hdb_source_load(&m->source[i]);
    enum disk is = DISK_NOT;
    if (loaded && m->epoch <= db->epoch && hdb_meta_covers(m, instance, position, position + 1))
        is = DISK_ALL;
    else if (loaded)
        is = DISK_BESIDE; /* one behind the cut says so when it is opened */
    if (p)
        hdb_part_put(p);
    return is;
}

static struct view *build(struct view_db *db, const char *name, const struct hdb_table *h,
                          const struct rdb_part_view **r, uint32_t nr)
{
    const int32_t *date = NULL;
    uint32_t ndates = h ? hdb_dates(db->hdb, &date) : 0;
    struct view *v = view_new(name, nr + ndates);
    if (!v)
        return NULL;
    const struct rdb_part_view *newest = NULL;
    for (uint32_t i = 0; i < nr; i++)
        if (!newest || r[i]->schema.id > newest->schema.id)
            newest = r[i];
    v->syms = &db->syms;
    const struct schema *d = declared(db, name);
    bool ok = add_columns(v, newest ? &newest->schema : h ? NULL : d, h, d);
    uint32_t k = 0;
    for (uint32_t i = 0; i <= ndates && ok; i++) {
        int32_t day = i < ndates ? date[i] : INT32_MAX;
        for (; ok && k < nr && r[k]->part->day < day; k++)
            ok = db->limits.database_only || view_add_rdb(v, r[k]);
        bool here = k < nr && r[k]->part->day == day;
        enum disk disk = i == ndates ? DISK_NOT : here ? on_disk(db, h, day, r[k]) : DISK_ALL;
        if (ok && disk != DISK_NOT)
            ok = view_add_hdb(v, h, day, &db->codes, db->epoch, disk == DISK_BESIDE);
        for (; ok && k < nr && r[k]->part->day == day; k++)
            ok = db->limits.database_only || disk == DISK_ALL || view_add_rdb(v, r[k]);
    }
    if (!ok) {
        view_free(v);
        return NULL;
    }
    uint64_t left = db->limits.last ? db->limits.last : UINT64_MAX;
    for (uint32_t i = v->nparts; i--;) {
        struct view_part *p = &v->part[i];
        if (p->tier != VIEW_RDB)
            continue;
        p->from = p->rows > left ? (uint32_t)(p->rows - left) : 0;
        left -= p->rows - p->from;
    }
    return v;
}

/* The table as the binder sees it; takes the view over, and h where there is one. */
static struct table *add_table(struct view_db *db, struct view *v, const struct hdb_table *h)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->view = v;
    t->hdb = h;
    for (uint32_t i = 0; i < v->ncols; i++)
        t->col[i] = (struct query_column){v->col[i].name, v->col[i].type};
    for (uint32_t i = 0; i < v->nkeys; i++)
        t->key[i] = (uint16_t)v->key[i];
    t->query = (struct query_table){.name = v->name,
                                    .ncols = (uint16_t)v->ncols,
                                    .nkeys = (uint16_t)v->nkeys,
                                    .cols = t->col,
                                    .keys = t->key,
                                    .source = v};
    t->next = db->tables;
    db->tables = t;
    return t;
}

static struct table *make_more(struct view_db *db, const char *name, struct err *err)
{
    struct view *v = db->more.make(db->more.arg, name, &db->syms, err);
    struct table *t = v ? add_table(db, v, NULL) : NULL;
    if (v && !t) {
        view_free(v);
        err_set(err, -ENOMEM, "no memory for the table %s", name);
    }
    return t;
}

static struct table *find_table(struct view_db *db, const char *name, struct err *err)
{
    for (struct table *t = db->tables; t; t = t->next)
        if (!strcmp(t->view->name, name))
            return t;
    struct err why = {0};
    if (!may_read(db, name)) {
        err_set(err, -ENOENT, "there is no table %s", name);
        return NULL;
    }
    if (is_more(db, name))
        return make_more(db, name, err);
    bool database = db->hdb && !db->limits.memory_only;
    const struct hdb_table *h = database ? hdb_table_get(db->hdb, name, &why) : NULL;
    if (!h && database && why.code != -ENOENT) {
        err_set(err, why.code, "%s", why.text);
        return NULL;
    }
    const struct rdb_part_view **r = calloc(db->nparts + 1u, sizeof(struct rdb_part_view *));
    uint32_t nr = 0;
    for (uint32_t i = 0; r && i < db->nparts; i++)
        if (!strcmp(db->part[i].schema.name, name))
            r[nr++] = &db->part[i];
    struct table *t = NULL;
    if (r && !h && !nr && !declared(db, name)) {
        err_set(err, -ENOENT, "there is no table %s", name);
    } else {
        if (r)
            qsort(r, nr, sizeof(struct rdb_part_view *), by_arrival);
        struct view *v = r ? build(db, name, h, r, nr) : NULL;
        t = v ? add_table(db, v, h) : NULL;
        if (v && !t)
            view_free(v);
        if (!t)
            err_set(err, -ENOMEM, "no memory for the table %s", name);
    }
    free(r);
    if (!t && h)
        hdb_table_put(h);
    return t;
}

struct view *view_db_view(struct view_db *db, const char *name, struct err *err)
{
    struct table *t = find_table(db, name, err);
    return t ? t->view : NULL;
}

static const struct query_table *catalogue_find(void *ctx, const char *name)
{
    struct err err;
    struct table *t = find_table(ctx, name, &err);
    return t ? &t->query : NULL;
}

static const struct query_table *catalogue_at(void *ctx, unsigned i)
{
    struct view_db *db = ctx;
    const char *const *names;
    if (!db->names)
        view_db_tables(db, &names);
    return i < db->nnames ? catalogue_find(db, db->names[i]) : NULL;
}

struct query_catalogue view_db_catalogue(struct view_db *db)
{
    return (struct query_catalogue){.ctx = db, .find = catalogue_find, .at = catalogue_at};
}
