/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as calls: a function and its arguments, whether they came as text or as a list. */
#include "core/nearest.h"
#include "kdb/request_parts.h"

const char *kdb_call_name(enum kdb_call call)
{
    static const char *const names[] = {
        [KDB_CALL_UNKNOWN] = "unknown",
        [KDB_CALL_FLUSH] = "flush",
        [KDB_CALL_SUB] = "sub",
        [KDB_CALL_UPD] = "upd",
        [KDB_CALL_ENDOFDAY] = "endofday",
        [KDB_CALL_POINT] = "point",
        [KDB_CALL_DATE] = "date",
        [KDB_CALL_TABLES] = "tables",
        [KDB_CALL_META] = "meta",
        [KDB_CALL_COLS] = "cols",
        [KDB_CALL_COUNT] = "count",
        [KDB_CALL_SNAP] = "snap",
        [KDB_CALL_SQL] = "sql",
        [KDB_CALL_NAMED] = "named",
        [KDB_CALL_TORQ_TYPE] = "torq-type",
        [KDB_CALL_TORQ_ATTRIBUTES] = "torq-attributes",
        [KDB_CALL_PYKX_CONTEXT] = "pykx-context",
        [KDB_CALL_PYKX_KEYS] = "pykx-keys",
        [KDB_CALL_PST_SUB] = "pst-sub",
        [KDB_CALL_PST_UNSUB] = "pst-unsub",
        [KDB_CALL_PST_UPD] = "pst-upd",
        [KDB_CALL_PST_WATERMARK] = "pst-watermark",
        [KDB_CALL_PST_WAIT] = "pst-wait",
        [KDB_CALL_END] = "end",
        [KDB_CALL_EOI] = "eoi",
        [KDB_CALL_BUFFER_START] = "buffer-start",
        [KDB_CALL_BUFFER_END] = "buffer-end",
        [KDB_CALL_NOTICE] = "notice",
    };
    return call < PST_COUNT(names) ? names[call] : "unknown";
}

enum kdb_call request_unknown(struct kdb_request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->hint, sizeof r->hint, fmt, ap);
    va_end(ap);
    for (char *c = r->hint; *c; c++) /* it may quote the client */
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = '?';
    return r->call = KDB_CALL_UNKNOWN;
}

/* ---- functions ---- */

struct args {
    struct kdb_request *r;
    const struct node *nodes, *arg[ARGS];
    unsigned n; /* may be more than ARGS: those are not in arg[] */
    bool bare;  /* arguments are no objects: a text, or a list that collapsed into symbols */
};

static enum kdb_call done(struct kdb_request *r, enum kdb_call call)
{
    return r->call = call;
}

static enum kdb_call wants(struct args *a, const char *form)
{
    return request_unknown(a->r, "type: send %s", form);
}

static enum kdb_call subscribe(struct args *a, enum kdb_call call, const char *form)
{
    struct kdb_subscription *s = &a->r->sub;
    if (a->n != 2 || !names_of(a->r, a->nodes, a->arg[0], &s->tables) ||
        !names_of(a->r, a->nodes, a->arg[1], &s->syms))
        return wants(a, form);
    return done(a->r, call);
}

static enum kdb_call sub(struct args *a)
{
    return subscribe(a, KDB_CALL_SUB, ".u.sub[`table;`syms], or (\".u.sub\"; `table; `syms)");
}
static enum kdb_call add(struct args *a)
{
    a->r->sub.adds = true;
    return subscribe(a, KDB_CALL_SUB, ".u.add[`table;`syms]");
}
static enum kdb_call subdetails(struct args *a)
{
    a->r->shape = KDB_SHAPE_SEGMENTED;
    return subscribe(a, KDB_CALL_SUB, "(`subdetails; tables; syms)");
}
static bool csv(struct args *a, unsigned i, struct kdb_names *n)
{
    return names_csv(a->arg[i], n) || names_of(a->r, a->nodes, a->arg[i], n);
}
static enum kdb_call subtable(struct args *a)
{
    struct kdb_subscription *s = &a->r->sub;
    if (a->n != 2 || !csv(a, 0, &s->tables) || !csv(a, 1, &s->syms))
        return wants(a, "(\".ps.subtable\"; \"table\"; \"SYM1,SYM2\")");
    return done(a->r, KDB_CALL_SUB);
}
static enum kdb_call subtablefiltered(struct args *a)
{
    struct kdb_subscription *s = &a->r->sub;
    if (a->n != 3 || !csv(a, 0, &s->tables) || !text_of(a->arg[1], &s->where) ||
        !text_of(a->arg[2], &s->columns))
        return wants(a,
                     "(\".ps.subtablefiltered\"; \"table\"; \"price > 10\"; \"time,sym,price\")");
    s->where.text = s->where.len ? s->where.text : NULL;
    s->columns.text = s->columns.len ? s->columns.text : NULL;
    return done(a->r, KDB_CALL_SUB);
}

static enum kdb_call update(struct args *a)
{
    static const char form[] =
        "(\".u.upd\"; `table; data) as a list, data one row, a list of columns or a table";
    if (a->bare || a->n != 2 || !names_of(a->r, a->nodes, a->arg[0], &a->r->tables) ||
        a->r->tables.all || !a->r->tables.count)
        return wants(a, form);
    a->r->data = a->arg[1]->object;
    if (a->r->tables.many &&
        (a->r->data.type != KDB_LIST || a->r->data.count != a->r->tables.count))
        return wants(a, "(`upd; `t1`t2; (data1; data2)): a list of data for a list of tables");
    return done(a->r, KDB_CALL_UPD);
}

static bool date_of(const struct node *n, int32_t *date)
{
    if (n->kind == NODE_VALUE && n->type == PST_DATE) {
        memcpy(date, n->value, sizeof *date);
        return true;
    }
    if (n->kind != NODE_OBJECT || n->object.type != -PST_DATE)
        return false;
    *date = (int32_t)kdb_object_long(&n->object, 0);
    return true;
}
static bool nothing(const struct node *n)
{
    return n->kind == NODE_NULL || (n->kind == NODE_OBJECT && kdb_object_null(&n->object));
}

static enum kdb_call endofday(struct args *a)
{
    if (a->n > 1 || (a->n == 1 && !nothing(a->arg[0]) && !date_of(a->arg[0], &a->r->date)))
        return wants(a, ".u.endofday[] or .u.endofday[2024.01.02]");
    return done(a->r, KDB_CALL_ENDOFDAY);
}

static enum kdb_call point(struct kdb_request *r, unsigned parts, bool enlisted)
{
    r->parts = (uint8_t)parts;
    r->enlisted = enlisted;
    return done(r, KDB_CALL_POINT);
}

/* .u `i`L and its kin */
static enum kdb_call variables(struct args *a)
{
    struct kdb_names n;
    struct kdb_name i;
    unsigned parts[2] = {0, 0}, at = 0;
    static const char form[] = ".u `i`L, .u.i, .u.L, .u.d or .u.t";
    if (a->n != 1 || !names_of(a->r, a->nodes, a->arg[0], &n) || n.all || n.count > 2)
        return wants(a, form);
    for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i)) {
        char c = i.len == 1 ? *i.text : 0;
        if (n.count == 1 && !n.many && c == 'd')
            return done(a->r, KDB_CALL_DATE);
        if (n.count == 1 && !n.many && c == 't')
            return done(a->r, KDB_CALL_TABLES);
        parts[at++] = c == 'i' ? KDB_POINT_I : c == 'L' ? KDB_POINT_L : 0;
    }
    if (at == 1 && parts[0])
        return point(a->r, parts[0], n.many);
    if (at == 2 && parts[0] == KDB_POINT_I && parts[1] == KDB_POINT_L)
        return point(a->r, KDB_POINT_I | KDB_POINT_L, true);
    return wants(a, form);
}

static enum kdb_call tables(struct args *a)
{
    struct kdb_names n;
    struct kdb_name i;
    if (a->n == 0 || (a->n == 1 && a->arg[0]->kind == NODE_HOLE))
        return done(a->r, KDB_CALL_TABLES);
    if (a->n == 1 && names_of(a->r, a->nodes, a->arg[0], &n) &&
        (n.all || (kdb_names_first(&n, &i) && n.count == 1 && i.len == 1 && *i.text == '.')))
        return done(a->r, KDB_CALL_TABLES);
    return wants(a, "tables[]");
}

static enum kdb_call key(struct args *a)
{
    struct kdb_text t;
    if (a->n == 1 && text_of(a->arg[0], &t)) {
        if (t.len == 4 && !memcmp(t.text, ".u.w", 4))
            return done(a->r, KDB_CALL_TABLES);
        if (t.len == 2 && *t.text == '.')
            return done(a->r, KDB_CALL_PYKX_KEYS);
    }
    return wants(a, "key `.u.w, or tables[]");
}

static enum kdb_call one_table(struct args *a, enum kdb_call call, const char *form)
{
    if (a->n != 1 || !names_of(a->r, a->nodes, a->arg[0], &a->r->tables) || a->r->tables.count != 1)
        return wants(a, form);
    return done(a->r, call);
}
static enum kdb_call meta(struct args *a)
{
    return one_table(a, KDB_CALL_META, "meta `table");
}
static enum kdb_call cols(struct args *a)
{
    return one_table(a, KDB_CALL_COLS, "cols `table");
}
static enum kdb_call count(struct args *a)
{
    return one_table(a, KDB_CALL_COUNT, "count table; for rows that match: s)select count(*) ...");
}

static enum kdb_call snap(struct args *a)
{
    struct kdb_subscription *s = &a->r->sub;
    struct node item = {.kind = NODE_OBJECT};
    struct kdb_items i;
    s->syms.all = true;
    if (a->n == 1 && a->arg[0]->kind == NODE_OBJECT && a->arg[0]->object.type == KDB_LIST &&
        a->arg[0]->object.count == 2) { /* one argument (table; syms) */
        kdb_items(&a->arg[0]->object, &i);
        item.object = i.item;
        bool ok = names_of(a->r, NULL, &item, &s->tables);
        kdb_items_next(&i);
        item.object = i.item;
        if (ok && names_of(a->r, NULL, &item, &s->syms) && s->tables.count == 1)
            return done(a->r, KDB_CALL_SNAP);
    } else if ((a->n == 1 || a->n == 2) && names_of(a->r, a->nodes, a->arg[0], &s->tables) &&
               s->tables.count == 1 &&
               (a->n == 1 || names_of(a->r, a->nodes, a->arg[1], &s->syms))) {
        return done(a->r, KDB_CALL_SNAP);
    }
    return wants(a, ".u.snap[`table], or (\".u.snap\"; `table; `syms)");
}

static enum kdb_call sql_text(struct kdb_request *r, const char *text, uint32_t len)
{
    while (len && strchr(" \t\r\n", *text)) {
        text++;
        len--;
    }
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    if (!len)
        return request_unknown(r, "type: send s)select ..., or (\".s.e\"; \"select ...\")");
    r->text = (struct kdb_text){.text = text, .len = len};
    return done(r, KDB_CALL_SQL);
}
static enum kdb_call sql(struct args *a)
{
    struct kdb_text t;
    if (a->n != 1 || !text_of(a->arg[0], &t))
        return wants(a, "(\".s.e\"; \"select ...\"), or s)select ...");
    return sql_text(a->r, t.text, t.len);
}

static enum kdb_call attributes(struct args *a)
{
    return done(a->r, KDB_CALL_TORQ_ATTRIBUTES);
}

static enum kdb_call pst_sub(struct args *a)
{
    struct kdb_request *r = a->r;
    if (a->n == 2) /* `tables; `syms, for hands at a console */
        return subscribe(a, KDB_CALL_PST_SUB, ".pst.sub[`table;`syms]");
    if (a->n != 1 || a->arg[0]->kind != NODE_OBJECT)
        return wants(a, "(\".pst.sub\"; dictionary), e.g. `tables`syms!(`trade;`)");
    return subscription_read(r, &a->arg[0]->object) ? done(r, KDB_CALL_PST_SUB) : r->call;
}

static bool long_of(const struct node *n, int64_t *v)
{
    if (n->kind == NODE_VALUE && n->type == PST_LONG) {
        memcpy(v, n->value, sizeof *v);
        return true;
    }
    if (n->kind != NODE_OBJECT || n->object.type != -PST_LONG)
        return false;
    *v = kdb_object_long(&n->object, 0);
    return true;
}
static bool level_of(const struct node *n, uint8_t *level)
{
    static const char *const words[] = {"submitted", "written", "durable"};
    struct kdb_text t;
    if (!text_of(n, &t))
        return false;
    for (unsigned i = 0; i < PST_COUNT(words); i++)
        if (strlen(words[i]) == t.len && !memcmp(words[i], t.text, t.len)) {
            *level = (uint8_t)i;
            return true;
        }
    return false;
}

static enum kdb_call pst_unsub(struct args *a)
{
    int64_t id;
    a->r->position = UINT64_MAX;
    if (a->n > 1)
        return wants(a, ".pst.unsub[id]");
    if (a->n == 1 && a->arg[0]->kind != NODE_HOLE && !nothing(a->arg[0])) {
        if (!long_of(a->arg[0], &id))
            return wants(a, ".pst.unsub[id]");
        a->r->position = (uint64_t)id;
    }
    return done(a->r, KDB_CALL_PST_UNSUB);
}
static enum kdb_call pst_upd(struct args *a)
{
    static const char form[] =
        "(\".pst.upd\"; `table; data; `submitted, `written or `durable) as a list";
    struct kdb_request *r = a->r;
    if (a->bare || a->n < 2 || a->n > 3 || !names_of(r, a->nodes, a->arg[0], &r->tables) ||
        r->tables.count != 1 || r->tables.many || (a->n == 3 && !level_of(a->arg[2], &r->level)))
        return wants(a, form);
    r->data = a->arg[1]->object;
    return done(r, KDB_CALL_PST_UPD);
}
static enum kdb_call pst_watermark(struct args *a)
{
    return done(a->r, KDB_CALL_PST_WATERMARK);
}
static enum kdb_call pst_wait(struct args *a)
{
    int64_t at;
    if (a->n < 1 || a->n > 2 || !long_of(a->arg[0], &at) || at < 0 ||
        (a->n == 2 && !level_of(a->arg[1], &a->r->level)))
        return wants(a, "(\".pst.wait\"; position; `submitted, `written or `durable)");
    a->r->position = (uint64_t)at;
    return done(a->r, KDB_CALL_PST_WAIT);
}

/* ---- what a tickerplant sends ---- */

static enum kdb_call end(struct args *a)
{
    if (a->n < 1 || !date_of(a->arg[0], &a->r->date))
        return wants(a, "(`.u.end; date)");
    return done(a->r, KDB_CALL_END);
}
static bool time_of(const struct kdb_object *o, uint32_t i, int64_t *t)
{
    if (o->type != PST_TIMESTAMP && o->type != -PST_TIMESTAMP)
        return false;
    *t = kdb_object_long(o, i);
    return true;
}
static enum kdb_call eoi(struct args *a)
{
    struct kdb_request *r = a->r;
    const struct kdb_object *o = a->n && a->arg[0]->kind == NODE_OBJECT ? &a->arg[0]->object : NULL;
    struct kdb_items i;
    bool ok = false;
    if (o && a->n == 1 && o->type == PST_TIMESTAMP && o->count == 2) {
        ok = time_of(o, 0, &r->from_time) && time_of(o, 1, &r->to_time);
    } else if (o && a->n == 1 && o->type == KDB_LIST && o->count == 2) {
        kdb_items(o, &i);
        ok = i.item.type < 0 && time_of(&i.item, 0, &r->from_time);
        kdb_items_next(&i);
        ok = ok && i.item.type < 0 && time_of(&i.item, 0, &r->to_time);
    } else if (o && a->n >= 2 && a->arg[1]->kind == NODE_OBJECT) {
        const struct kdb_object *to = &a->arg[1]->object;
        ok = o->type < 0 && to->type < 0 && time_of(o, 0, &r->from_time) &&
             time_of(to, 0, &r->to_time);
    }
    return ok ? done(r, KDB_CALL_EOI) : wants(a, "(`.u.eoi; (from; to)), two timestamps");
}
static enum kdb_call with_data(struct args *a, enum kdb_call call, const char *form)
{
    if (a->bare || a->n != 1)
        return wants(a, form);
    a->r->data = a->arg[0]->object;
    return done(a->r, call);
}
static enum kdb_call buffer_start(struct args *a)
{
    return with_data(a, KDB_CALL_BUFFER_START, "(`.dm.buff.start; (id; path; args))");
}
static enum kdb_call buffer_end(struct args *a)
{
    return with_data(a, KDB_CALL_BUFFER_END, "(`.dm.buff.end; (id; path; args))");
}
static enum kdb_call notice(struct args *a)
{
    return with_data(a, KDB_CALL_NOTICE, "(`.pst.notice; dictionary)");
}

static const struct {
    const char *name;
    enum kdb_call (*read)(struct args *);
} functions[] = {
    {"upd", update},
    {".u.upd", update},
    {"insert", update},
    {".u.sub", sub},
    {".u.add", add},
    {".u", variables},
    {".u.endofday", endofday},
    {".u.snap", snap},
    {"tables", tables},
    {"tablelist", tables},
    {"meta", meta},
    {"cols", cols},
    {"count", count},
    {"key", key},
    {".s.e", sql},
    {"subdetails", subdetails},
    {".ps.subtable", subtable},
    {".ps.subtablefiltered", subtablefiltered},
    {".proc.getattributes", attributes},
    {".servers.getdetails", attributes},
    {".pst.sub", pst_sub},
    {".pst.unsub", pst_unsub},
    {".pst.upd", pst_upd},
    {".pst.watermark", pst_watermark},
    {".pst.wait", pst_wait},
    {".pst.notice", notice},
    {".u.end", end},
    {"endofday", end},
    {".u.eoi", eoi},
    {"endofperiod", eoi},
    {".dm.buff.start", buffer_start},
    {".dm.buff.end", buffer_end},
};

void kdb_request_nearest(const char *name, uint32_t len, char *hint, size_t size)
{
    const char *names[PST_COUNT(functions)];
    char word[NEAREST_MAX];
    int shown = len < 40 ? (int)len : 40;
    snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), name);
    for (unsigned i = 0; i < PST_COUNT(functions); i++)
        names[i] = functions[i].name;
    const char *near = nearest_word(word, names, PST_COUNT(names));
    if (near)
        snprintf(hint, size, "nyi: no function or named query %.*s; perhaps %s", shown, name, near);
    else
        snprintf(hint, size,
                 "nyi: no function or named query %.*s; q is not evaluated here: send .u.sub, "
                 ".u.upd, s)select ... or a query's name",
                 shown, name);
    for (char *c = hint; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = '?';
}

static bool is_word(const char *name, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(i && (c == '_' || (c >= '0' && c <= '9'))))
            return false;
    }
    return len > 0;
}

/* What q itself has under such names is no named query of ours. */
static bool of_q(const char *name, uint32_t len)
{
    static const char *const words[] = {"value",  "eval",   "select", "exec",  "update", "delete",
                                        "system", "set",    "get",    "hopen", "exit",   "first",
                                        "last",   "til",    "string", "show",  "parse",  "reval",
                                        "upsert", "enlist", "each",   "type",  "flip"};
    for (unsigned i = 0; i < PST_COUNT(words); i++)
        if (strlen(words[i]) == len && !memcmp(words[i], name, len))
            return true;
    return false;
}

/* A function by its name. Leaves `args` of a named query to the caller: NAMED says it is one. */
static enum kdb_call call(struct args *a, const char *name, uint32_t len)
{
    struct kdb_request *r = a->r;
    r->function = (struct kdb_text){.text = name, .len = len};
    for (unsigned i = 0; i < PST_COUNT(functions); i++)
        if (strlen(functions[i].name) == len && !memcmp(functions[i].name, name, len))
            return a->n > ARGS
                       ? request_unknown(r, "rank: too many arguments for %s", functions[i].name)
                       : functions[i].read(a);
    if (is_word(name, len) && !of_q(name, len))
        return done(r, KDB_CALL_NAMED);
    kdb_request_nearest(name, len, r->hint, sizeof r->hint);
    return r->call = KDB_CALL_UNKNOWN;
}

/* ---- functions that clients send whole ---- */

static enum kdb_call source(struct args *a, const char *text, uint32_t len)
{
    struct kdb_request *r = a->r;
    if (text_begins(text, len, "k){x:. x;$[99h<@x;")) {
        struct kdb_text t;
        if (a->n == 1 && text_of(a->arg[0], &t) && t.len == 2 && *t.text == '.')
            return done(r, KDB_CALL_PYKX_CONTEXT);
        return request_unknown(r, "nyi: PyKX contexts; connect with no_ctx=True");
    }
    if (text_same(text, len, "{.u.sub[x;y]}"))
        return sub(a);
    if (text_same(text, len, "{(.u.sub[;`]each x;`.u `i`L)}") ||
        text_same(text, len, "{(.u.sub[;`]each x;.u `i`L)}") ||
        text_same(text, len, "{(.u.i;.u.L;.u.sub[;`] each x)}")) {
        r->shape = memchr(text, 'L', len) < memchr(text, 'x', len) ? KDB_SHAPE_POINT_FIRST
                                                                   : KDB_SHAPE_POINT_AFTER;
        r->sub.syms.all = true;
        if (a->n != 1 || !names_of(r, a->nodes, a->arg[0], &r->sub.tables))
            return wants(a, "one argument, a table or a list of tables");
        return done(r, KDB_CALL_SUB);
    }
    if (text_same(text, len, "{@[value;`tptype;`standard]}"))
        return done(r, KDB_CALL_TORQ_TYPE);
    if (text_same(text, len, "{key `.u.w}"))
        return done(r, KDB_CALL_TABLES);
    if (text_begins(text, len, "{`schemalist`logfilelist`rowcounts`date!(.u.sub\\:[x;y];")) {
        r->shape = KDB_SHAPE_TORQ;
        return subscribe(a, KDB_CALL_SUB, "the function of TorQ's subscribe with tables and syms");
    }
    if (text_same(text, len, "{.proc.getattributes[]}") ||
        text_begins(text, len, "{$[`getdetails in key`.servers;"))
        return done(r, KDB_CALL_TORQ_ATTRIBUTES);
    return request_unknown(r, "nyi: functions are not evaluated here; send a name, e.g. "
                              "(\".u.sub\"; `trade; `), or s)select ...");
}

static bool is_source(const char *text, uint32_t len)
{
    return len && (*text == '{' || (len > 1 && text[1] == ')' && *text == 'k'));
}

/* ---- texts ---- */

static enum kdb_call tree(struct args *a, const struct node *n);

static bool is_point(struct kdb_request *r, const struct node *nodes, const struct node *n,
                     unsigned parts)
{
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    if (n->kind == NODE_PAIR)
        return parts == (KDB_POINT_I | KDB_POINT_L);
    return tree(&a, n) == KDB_CALL_POINT && r->parts == parts && r->enlisted == (parts == 3);
}

/* (subscription; pair), (i; L), (i; L; subscription) */
static enum kdb_call list(struct args *a, const struct node *n)
{
    struct kdb_request *r = a->r;
    const struct node *item[3];
    unsigned k = 0;
    for (unsigned c = n->first; c && k < 3; c = a->nodes[c].next)
        item[k++] = &a->nodes[c];
    if (n->count == 0)
        return done(r, KDB_CALL_FLUSH);
    if (n->count == 2 && is_point(r, a->nodes, item[0], KDB_POINT_I) &&
        is_point(r, a->nodes, item[1], KDB_POINT_L))
        return point(r, KDB_POINT_I | KDB_POINT_L, true);
    if (n->count == 2 && is_point(r, a->nodes, item[1], KDB_POINT_I | KDB_POINT_L) &&
        tree(a, item[0]) == KDB_CALL_SUB && r->shape == KDB_SHAPE_PLAIN) {
        r->shape = KDB_SHAPE_POINT_AFTER;
        return r->call;
    }
    if (n->count == 3 && is_point(r, a->nodes, item[0], KDB_POINT_I) &&
        is_point(r, a->nodes, item[1], KDB_POINT_L) && tree(a, item[2]) == KDB_CALL_SUB &&
        r->shape == KDB_SHAPE_PLAIN) {
        r->shape = KDB_SHAPE_POINT_FIRST;
        return r->call;
    }
    return request_unknown(r, "nyi: lists of expressions are not evaluated here, but for "
                              "(.u.sub[`;`];.u `i`L) and (.u.i;.u.L)");
}

/* .u.sub[;syms] each tables */
static enum kdb_call over_each(struct args *a, const struct node *n)
{
    const struct node *f = &a->nodes[n->first], *x = &a->nodes[f->next];
    const struct node *hole = f->first ? &a->nodes[f->first] : NULL;
    struct kdb_request *r = a->r;
    if (f->count != 2 || hole->kind != NODE_HOLE || f->len != 6 || memcmp(f->text, ".u.sub", 6) ||
        !names_of(r, a->nodes, x, &r->sub.tables) ||
        !names_of(r, a->nodes, &a->nodes[hole->next], &r->sub.syms))
        return request_unknown(r, "nyi: each is read only in .u.sub[;`] each `trade`quote");
    r->function = (struct kdb_text){.text = f->text, .len = f->len};
    return done(r, KDB_CALL_SUB);
}

static enum kdb_call tree(struct args *a, const struct node *n)
{
    static const char *const prefix = ".u.";
    struct kdb_request *r = a->r;
    if (n->kind == NODE_LIST)
        return list(a, n);
    if (n->kind == NODE_EACH)
        return over_each(a, n);
    if (n->kind == NODE_NULL || (n->kind == NODE_STRING && !n->len))
        return done(r, KDB_CALL_FLUSH);
    if (n->kind == NODE_PAIR)
        return point(r, KDB_POINT_I | KDB_POINT_L, true);
    if (n->kind == NODE_NAME && n->len == 4 && !memcmp(n->text, prefix, 3)) {
        r->function = (struct kdb_text){.text = n->text, .len = n->len};
        switch (n->text[3]) {
        case 'i':
            return point(r, KDB_POINT_I, false);
        case 'L':
            return point(r, KDB_POINT_L, false);
        case 'd':
            return done(r, KDB_CALL_DATE);
        case 't':
            return done(r, KDB_CALL_TABLES);
        default:
            break;
        }
    }
    if (n->kind == NODE_NAME)
        return request_unknown(r,
                               "nyi: variables have no value here; for a table's rows send "
                               "s)select * from %.*s",
                               n->len < 40 ? (int)n->len : 40, n->text);
    if (n->kind != NODE_CALL)
        return request_unknown(r, "nyi: q is not evaluated here; send .u.sub, .u.upd, s)select "
                                  "... or a query's name");
    a->n = 0;
    for (unsigned c = n->first; c; c = a->nodes[c].next) {
        if (a->n < ARGS)
            a->arg[a->n] = &a->nodes[c];
        a->n++;
    }
    if (call(a, n->text, n->len) == KDB_CALL_NAMED) {
        struct node whole = {.kind = NODE_LIST, .first = n->first, .count = n->count};
        uint32_t at = r->made_len;
        if (!object_of(r, a->nodes, &whole))
            return request_unknown(r, "type: send %.*s's arguments as a list: (`%.*s; ...)",
                                   n->len < 40 ? (int)n->len : 40, n->text,
                                   n->len < 40 ? (int)n->len : 40, n->text);
        kdb_object_view(&r->args, r->made + at, KDB_LITTLE);
    }
    return r->call;
}

static bool begins_with_word(const char *text, uint32_t len, const char *word)
{
    size_t n = strlen(word);
    return len > n && !strncasecmp(text, word, n) && strchr(" \t\r\n", text[n]);
}

static enum kdb_call text_request(struct kdb_request *r, const char *text, uint32_t len)
{
    struct node nodes[NODES];
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    uint8_t root;
    while (len && memchr(" \t\r\n;", text[len - 1], 5))
        len--;
    while (len && memchr(" \t\r\n", *text, 4)) {
        text++;
        len--;
    }
    if (!len)
        return done(r, KDB_CALL_FLUSH);
    if (len >= 2 && text[0] == 's' && text[1] == ')')
        return sql_text(r, text + 2, len - 2);
    if (is_source(text, len))
        return source(&a, text, len);
    if (begins_with_word(text, len, "select") || begins_with_word(text, len, "exec") ||
        begins_with_word(text, len, "with"))
        return request_unknown(r, "nyi: q-sql is not evaluated here; send SQL: s)select * from "
                                  "trade where sym = 'AAPL'");
    if (begins_with_word(text, len, "update") || begins_with_word(text, len, "delete") ||
        begins_with_word(text, len, "insert"))
        return request_unknown(r, "nyi: tables are changed by publishing: send (\".u.upd\"; "
                                  "`table; data) as a list");
    if (text_begins(text, len, ".u.upd[") || text_begins(text, len, "upd["))
        return request_unknown(r, "type: send (\".u.upd\"; `table; data) as a list, not as text");
    if (!text_parse(text, len, nodes, &root))
        return request_unknown(r, "nyi: q is not evaluated here; send .u.sub, .u.upd, s)select "
                                  "... or a query's name");
    return tree(&a, &nodes[root]);
}

/* ---- lists ---- */

static enum kdb_call headed(struct kdb_request *r, struct args *a, const struct kdb_object *head)
{
    uint32_t len;
    const char *text;
    if (head->type == KDB_LAMBDA) {
        struct kdb_object body;
        kdb_object_view(&body, head->data + strlen((const char *)head->data) + 1, head->order);
        text = kdb_object_text(&body, &len);
        return source(a, text, len);
    }
    text = head->type == KDB_ERROR ? NULL : kdb_object_text(head, &len);
    if (!text)
        return request_unknown(r, "type: a list request begins with a function's name, not a %s",
                               kdb_object_type_name(head->type));
    if (head->type != -PST_SYMBOL && is_source(text, len))
        return source(a, text, len);
    return call(a, text, len);
}

static enum kdb_call list_request(struct kdb_request *r, const struct kdb_object *o)
{
    struct node nodes[ARGS];
    struct args a = {.r = r, .nodes = nodes};
    struct kdb_items i;
    kdb_items(o, &i);
    struct kdb_object head = i.item, rest = {.type = KDB_LIST, .order = o->order};
    rest.count = o->count - 1;
    for (a.n = 0; a.n < rest.count && a.n < ARGS; a.n++) {
        kdb_items_next(&i);
        if (!a.n)
            rest.data = i.item.at;
        nodes[a.n].kind = NODE_OBJECT;
        nodes[a.n].object = i.item;
        a.arg[a.n] = &nodes[a.n];
    }
    a.n = rest.count;
    if (headed(r, &a, &head) == KDB_CALL_NAMED)
        r->args = rest;
    return r->call;
}

/* A list of symbols only arrives as a vector of them. */
static enum kdb_call symbols_request(struct kdb_request *r, const struct kdb_object *o)
{
    struct node nodes[ARGS];
    struct args a = {.r = r, .nodes = nodes, .bare = true};
    struct kdb_texts t;
    kdb_texts(o, &t);
    const char *name = t.text;
    uint32_t len = t.len;
    while (kdb_texts_next(&t)) {
        if (a.n < ARGS) {
            nodes[a.n].kind = NODE_OBJECT;
            nodes[a.n].object = (struct kdb_object){.data = (const uint8_t *)t.text,
                                                    .count = 1,
                                                    .type = -PST_SYMBOL,
                                                    .order = o->order};
            a.arg[a.n] = &nodes[a.n];
        }
        a.n++;
    }
    if (call(&a, name, len) == KDB_CALL_NAMED) {
        uint8_t *p = r->made;
        const char *text = name + len + 1;
        if (kdb_object_end(o) - (const uint8_t *)text + a.n + 6 > (ptrdiff_t)sizeof r->made)
            return request_unknown(r, "type: too many symbols for a named query");
        memset(p, 0, 6);
        put32(p + 2, a.n);
        p += 6;
        for (unsigned k = 0; k < a.n; k++, text += strlen(text) + 1) {
            *p++ = (uint8_t)-PST_SYMBOL;
            p = (uint8_t *)stpcpy((char *)p, text) + 1;
        }
        r->made_len = (uint32_t)(p - r->made);
        kdb_object_view(&r->args, r->made, KDB_LITTLE);
    }
    return r->call;
}

enum kdb_call kdb_request_read(const struct kdb_object *o, struct kdb_request *r)
{
    uint32_t len;
    const char *text;
    memset(r, 0, offsetof(struct kdb_request, hint));
    r->hint[0] = 0;
    r->made_len = 0;
    r->date = PST_NULL_INT;
    r->sub.marks = KDB_MARKS;
    r->sub.stripes = 1;
    r->sub.tables.all = r->sub.syms.all = true;
    if (kdb_object_null(o) || (o->type == KDB_LIST && !o->count))
        return done(r, KDB_CALL_FLUSH);
    if (o->type == KDB_LIST)
        return list_request(r, o);
    if (o->type == PST_SYMBOL && o->count)
        return symbols_request(r, o);
    if (o->type == KDB_ERROR || !(text = kdb_object_text(o, &len)))
        return request_unknown(r, "type: a request is a text or a list, not a %s",
                               kdb_object_type_name(o->type));
    return text_request(r, text, len);
}
