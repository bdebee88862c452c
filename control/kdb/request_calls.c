/* SPDX-License-Identifier: Apache-2.0 */
/* What a function wants: each that clients call by name, and those that they send whole. */
#include "core/nearest.h"
#include "kdb/request_parts.h"

enum kdb_call request_done(struct kdb_request *r, enum kdb_call call)
{
    return r->call = call;
}

enum kdb_call request_wants(struct args *a, const char *form)
{
    return request_unknown(a->r, "type: send %s", form);
}

static enum kdb_call subscribe(struct args *a, enum kdb_call call, const char *form)
{
    struct kdb_subscription *s = &a->r->sub;
    if (a->n != 2 || !names_of(a->r, a->nodes, a->arg[0], &s->tables) ||
        !names_of(a->r, a->nodes, a->arg[1], &s->syms))
        return request_wants(a, form);
    return request_done(a->r, call);
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
        return request_wants(a, "(\".ps.subtable\"; \"table\"; \"SYM1,SYM2\")");
    return request_done(a->r, KDB_CALL_SUB);
}
static enum kdb_call subtablefiltered(struct args *a)
{
    struct kdb_subscription *s = &a->r->sub;
    if (a->n != 3 || !csv(a, 0, &s->tables) || !kdb_request_text(a->arg[1], &s->where) ||
        !kdb_request_text(a->arg[2], &s->columns))
        return request_wants(
            a, "(\".ps.subtablefiltered\"; \"table\"; \"price > 10\"; \"time,sym,price\")");
    s->where.text = s->where.len ? s->where.text : NULL;
    s->columns.text = s->columns.len ? s->columns.text : NULL;
    return request_done(a->r, KDB_CALL_SUB);
}

static enum kdb_call update(struct args *a)
{
    static const char form[] =
        "(\".u.upd\"; `table; data) as a list, data one row, a list of columns or a table";
    if (a->bare || a->n != 2 || !names_of(a->r, a->nodes, a->arg[0], &a->r->tables) ||
        a->r->tables.all || !a->r->tables.count)
        return request_wants(a, form);
    a->r->data = a->arg[1]->object;
    if (a->r->tables.many &&
        (a->r->data.type != KDB_LIST || a->r->data.count != a->r->tables.count))
        return request_wants(a,
                             "(`upd; `t1`t2; (data1; data2)): a list of data for a list of tables");
    return request_done(a->r, KDB_CALL_UPD);
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
        return request_wants(a, ".u.endofday[] or .u.endofday[2024.01.02]");
    return request_done(a->r, KDB_CALL_ENDOFDAY);
}

enum kdb_call request_point(struct kdb_request *r, unsigned parts, bool enlisted)
{
    r->parts = (uint8_t)parts;
    r->enlisted = enlisted;
    return request_done(r, KDB_CALL_POINT);
}

/* .u `i`L and its kin */
static enum kdb_call variables(struct args *a)
{
    struct kdb_names n;
    struct kdb_name i;
    unsigned parts[2] = {0, 0}, at = 0;
    static const char form[] = ".u `i`L, .u.i, .u.L, .u.d or .u.t";
    if (a->n != 1 || !names_of(a->r, a->nodes, a->arg[0], &n) || n.all || n.count > 2)
        return request_wants(a, form);
    for (bool more = kdb_names_first(&n, &i); more; more = kdb_names_next(&i)) {
        char c = i.len == 1 ? *i.text : 0;
        if (n.count == 1 && !n.many && c == 'd')
            return request_done(a->r, KDB_CALL_DATE);
        if (n.count == 1 && !n.many && c == 't')
            return request_done(a->r, KDB_CALL_TABLES);
        parts[at++] = c == 'i' ? KDB_POINT_I : c == 'L' ? KDB_POINT_L : 0;
    }
    if (at == 1 && parts[0])
        return request_point(a->r, parts[0], n.many);
    if (at == 2 && parts[0] == KDB_POINT_I && parts[1] == KDB_POINT_L)
        return request_point(a->r, KDB_POINT_I | KDB_POINT_L, true);
    return request_wants(a, form);
}

static enum kdb_call tables(struct args *a)
{
    struct kdb_names n;
    struct kdb_name i;
    if (a->n == 0 || (a->n == 1 && a->arg[0]->kind == NODE_HOLE))
        return request_done(a->r, KDB_CALL_TABLES);
    if (a->n == 1 && names_of(a->r, a->nodes, a->arg[0], &n) &&
        (n.all || (kdb_names_first(&n, &i) && n.count == 1 && i.len == 1 && *i.text == '.')))
        return request_done(a->r, KDB_CALL_TABLES);
    return request_wants(a, "tables[]");
}

static enum kdb_call key(struct args *a)
{
    struct kdb_text t;
    if (a->n == 1 && kdb_request_text(a->arg[0], &t)) {
        if (t.len == 4 && !memcmp(t.text, ".u.w", 4))
            return request_done(a->r, KDB_CALL_TABLES);
        if (t.len == 2 && *t.text == '.')
            return request_done(a->r, KDB_CALL_PYKX_KEYS);
    }
    return request_wants(a, "key `.u.w, or tables[]");
}

static enum kdb_call one_table(struct args *a, enum kdb_call call, const char *form)
{
    if (a->n != 1 || !names_of(a->r, a->nodes, a->arg[0], &a->r->tables) || a->r->tables.count != 1)
        return request_wants(a, form);
    return request_done(a->r, call);
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
            return request_done(a->r, KDB_CALL_SNAP);
    } else if ((a->n == 1 || a->n == 2) && names_of(a->r, a->nodes, a->arg[0], &s->tables) &&
               s->tables.count == 1 &&
               (a->n == 1 || names_of(a->r, a->nodes, a->arg[1], &s->syms))) {
        return request_done(a->r, KDB_CALL_SNAP);
    }
    return request_wants(a, ".u.snap[`table], or (\".u.snap\"; `table; `syms)");
}

enum kdb_call request_sql(struct kdb_request *r, const char *text, uint32_t len)
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
    return request_done(r, KDB_CALL_SQL);
}
static enum kdb_call sql(struct args *a)
{
    struct kdb_text t;
    if (a->n != 1 || !kdb_request_text(a->arg[0], &t))
        return request_wants(a, "(\".s.e\"; \"select ...\"), or s)select ...");
    return request_sql(a->r, t.text, t.len);
}

static enum kdb_call attributes(struct args *a)
{
    return request_done(a->r, KDB_CALL_TORQ_ATTRIBUTES);
}

static enum kdb_call pst_sub(struct args *a)
{
    struct kdb_request *r = a->r;
    if (a->n == 2) /* `tables; `syms, for hands at a console */
        return subscribe(a, KDB_CALL_PST_SUB, ".pst.sub[`table;`syms]");
    if (a->n != 1 || a->arg[0]->kind != NODE_OBJECT)
        return request_wants(a, "(\".pst.sub\"; dictionary), e.g. `tables`syms!(`trade;`)");
    return subscription_read(r, &a->arg[0]->object) ? request_done(r, KDB_CALL_PST_SUB) : r->call;
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
    if (!kdb_request_text(n, &t))
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
        return request_wants(a, ".pst.unsub[id]");
    if (a->n == 1 && a->arg[0]->kind != NODE_HOLE && !nothing(a->arg[0])) {
        if (!long_of(a->arg[0], &id))
            return request_wants(a, ".pst.unsub[id]");
        a->r->position = (uint64_t)id;
    }
    return request_done(a->r, KDB_CALL_PST_UNSUB);
}
static enum kdb_call pst_upd(struct args *a)
{
    static const char form[] =
        "(\".pst.upd\"; `table; data; `submitted, `written or `durable) as a list";
    struct kdb_request *r = a->r;
    if (a->bare || a->n < 2 || a->n > 3 || !names_of(r, a->nodes, a->arg[0], &r->tables) ||
        r->tables.count != 1 || r->tables.many || (a->n == 3 && !level_of(a->arg[2], &r->level)))
        return request_wants(a, form);
    r->data = a->arg[1]->object;
    return request_done(r, KDB_CALL_PST_UPD);
}
static enum kdb_call pst_watermark(struct args *a)
{
    return request_done(a->r, KDB_CALL_PST_WATERMARK);
}
static enum kdb_call pst_wait(struct args *a)
{
    int64_t at;
    if (a->n < 1 || a->n > 2 || !long_of(a->arg[0], &at) || at < 0 ||
        (a->n == 2 && !level_of(a->arg[1], &a->r->level)))
        return request_wants(a, "(\".pst.wait\"; position; `submitted, `written or `durable)");
    a->r->position = (uint64_t)at;
    return request_done(a->r, KDB_CALL_PST_WAIT);
}

/* ---- what a tickerplant sends ---- */

static enum kdb_call end(struct args *a)
{
    if (a->n < 1 || !date_of(a->arg[0], &a->r->date))
        return request_wants(a, "(`.u.end; date)");
    return request_done(a->r, KDB_CALL_END);
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
    return ok ? request_done(r, KDB_CALL_EOI)
              : request_wants(a, "(`.u.eoi; (from; to)), two timestamps");
}
static enum kdb_call with_data(struct args *a, enum kdb_call call, const char *form)
{
    if (a->bare || a->n != 1)
        return request_wants(a, form);
    a->r->data = a->arg[0]->object;
    return request_done(a->r, call);
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
    {".sa.sub", stream_sub},
    {".sa.unsub", stream_unsub},
    {".sa.snapshot", stream_snapshot},
    {".sa.list", stream_list},
    {".sa.streams", stream_streams},
    {".sa.snap", stream_state},
    {".sa.upd", stream_update},
    {".sa.notice", stream_notice},
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
enum kdb_call request_call(struct args *a, const char *name, uint32_t len)
{
    struct kdb_request *r = a->r;
    r->function = (struct kdb_text){.text = name, .len = len};
    for (unsigned i = 0; i < PST_COUNT(functions); i++)
        if (strlen(functions[i].name) == len && !memcmp(functions[i].name, name, len))
            return a->n > ARGS
                       ? request_unknown(r, "rank: too many arguments for %s", functions[i].name)
                       : functions[i].read(a);
    bool word = is_word(name, len);
    if (word && !of_q(name, len))
        return request_done(r, KDB_CALL_NAMED);
    if (stream_direct(a, name, len, word))
        return stream_call(a, name, len);
    kdb_request_nearest(name, len, r->hint, sizeof r->hint);
    return r->call = KDB_CALL_UNKNOWN;
}

/* ---- functions that clients send whole ---- */

enum kdb_call request_source(struct args *a, const char *text, uint32_t len)
{
    struct kdb_request *r = a->r;
    if (text_begins(text, len, "k){x:. x;$[99h<@x;")) {
        struct kdb_text t;
        if (a->n == 1 && kdb_request_text(a->arg[0], &t) && t.len == 2 && *t.text == '.')
            return request_done(r, KDB_CALL_PYKX_CONTEXT);
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
            return request_wants(a, "one argument, a table or a list of tables");
        return request_done(r, KDB_CALL_SUB);
    }
    if (text_same(text, len, "{@[value;`tptype;`standard]}"))
        return request_done(r, KDB_CALL_TORQ_TYPE);
    if (text_same(text, len, "{key `.u.w}"))
        return request_done(r, KDB_CALL_TABLES);
    if (text_begins(text, len, "{`schemalist`logfilelist`rowcounts`date!(.u.sub\\:[x;y];")) {
        r->shape = KDB_SHAPE_TORQ;
        return subscribe(a, KDB_CALL_SUB, "the function of TorQ's subscribe with tables and syms");
    }
    if (text_same(text, len, "{.proc.getattributes[]}") ||
        text_begins(text, len, "{$[`getdetails in key`.servers;"))
        return request_done(r, KDB_CALL_TORQ_ATTRIBUTES);
    return request_unknown(r, "nyi: functions are not evaluated here; send a name, e.g. "
                              "(\".u.sub\"; `trade; `), or s)select ...");
}

bool request_is_source(const char *text, uint32_t len)
{
    return len && (*text == '{' || (len > 1 && text[1] == ')' && *text == 'k'));
}
