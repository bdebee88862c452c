/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: every row of the format page's 2.7, as bytes and with the liberties that clients take;
 * near misses get a sentence; the dictionary of .pst.sub. Each answer is shown as one line of text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kdb/request.h"
#include "support/guard.h"

/* ---- what a request is, in a line ---- */

static char shown[2048];
static size_t shown_len;
static struct kdb_request r;

__attribute__((format(printf, 1, 2))) static void put(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    shown_len += (size_t)vsnprintf(shown + shown_len, sizeof shown - shown_len, fmt, ap);
    va_end(ap);
    assert_true(shown_len < sizeof shown);
}

static void names(const char *what, const struct kdb_names *n)
{
    struct kdb_name i;
    uint32_t count = 0;
    put(" %s=", what);
    if (n->all)
        put("*");
    if (n->many)
        put("[");
    for (bool more = kdb_names_first(n, &i); more; more = kdb_names_next(&i))
        put("%s%.*s", count++ ? "," : "", (int)i.len, i.text);
    if (n->many)
        put("]");
    assert_int_equal(count, n->count);
}

static void subscription(const struct kdb_subscription *s)
{
    static const char *const froms[] = {"live", "day", "begin", "at"};
    static const char *const policies[] = {"default", "disconnect", "catchup", "conflate", "skip"};
    names("t", &s->tables);
    names("s", &s->syms);
    if (s->where.text)
        put(" where(%.*s)", (int)s->where.len, s->where.text);
    if (s->columns.text)
        put(" columns(%.*s)", (int)s->columns.len, s->columns.text);
    put("%s%s%s%s", s->adds ? " adds" : "", s->snapshot ? " snapshot" : "",
        s->durable ? " durable" : "", s->conflate ? " conflate" : "");
    if (s->from)
        put(" from=%s", froms[s->from]);
    if (s->from == KDB_FROM_POSITION)
        put(":%llu", (unsigned long long)s->position);
    if (s->policy)
        put(" policy=%s", policies[s->policy]);
    if (s->marks != KDB_MARKS)
        put(" marks=%u", s->marks);
    if (s->format)
        put(" records");
    if (s->stripes != 1)
        put(" stripe=%u/%u", s->stripe, s->stripes);
}

static const char *show(void)
{
    static const char *const shapes[] = {"", " +point", " point+", " torq", " segmented"};
    static const char *const levels[] = {"submitted", "written", "durable"};
    shown_len = 0;
    put("%s", kdb_call_name(r.call));
    switch (r.call) {
    case KDB_CALL_SUB:
    case KDB_CALL_PST_SUB:
        subscription(&r.sub);
        put("%s", shapes[r.shape]);
        break;
    case KDB_CALL_SNAP:
        names("t", &r.sub.tables);
        names("s", &r.sub.syms);
        break;
    case KDB_CALL_UPD:
    case KDB_CALL_PST_UPD:
        put(" %.*s", (int)r.function.len, r.function.text);
        names("t", &r.tables);
        put(" %s %u", kdb_object_type_name(r.data.type), r.data.count);
        if (r.call == KDB_CALL_PST_UPD)
            put(" %s", levels[r.level]);
        break;
    case KDB_CALL_META:
    case KDB_CALL_COLS:
    case KDB_CALL_COUNT:
        names("t", &r.tables);
        break;
    case KDB_CALL_POINT:
        put(" %s%s%s", r.parts & KDB_POINT_I ? "i" : "", r.parts & KDB_POINT_L ? "L" : "",
            r.enlisted ? " list" : "");
        break;
    case KDB_CALL_SQL:
        put(" %.*s", (int)r.text.len, r.text.text);
        break;
    case KDB_CALL_ENDOFDAY:
    case KDB_CALL_END:
        if (r.date != PST_NULL_INT)
            put(" %d", r.date);
        break;
    case KDB_CALL_EOI:
        put(" %lld..%lld", (long long)r.from_time, (long long)r.to_time);
        break;
    case KDB_CALL_SA_SUB: {
        static const char *const modes[] = {"", " delta", " full"};
        static const char *const policies[] = {"", " disconnect", "", "", " resync"};
        struct kdb_items part, v;
        struct kdb_texts k;
        put(" %.*s", (int)r.function.len, r.function.text);
        if (r.args.count && kdb_items(&r.args, &part)) {
            bool key = kdb_texts(&part.item, &k);
            kdb_items_next(&part);
            bool more = part.item.type == KDB_LIST && kdb_items(&part.item, &v);
            for (; key; key = kdb_texts_next(&k), more = more && kdb_items_next(&v))
                put(" %s=%s:%u", k.text, more ? kdb_object_type_name(v.item.type) : "vector",
                    more ? v.item.count : part.item.count);
        }
        put("%s%s%s%.*s", modes[r.stream.mode], policies[r.stream.policy],
            r.stream.texts ? " texts" : "", (int)r.stream.group.len,
            r.stream.group.text ? r.stream.group.text : "");
        if (r.stream.ref != PST_NULL_LONG)
            put(" ref=%lld", (long long)r.stream.ref);
        break;
    }
    case KDB_CALL_SA_UNSUB:
    case KDB_CALL_SA_SNAPSHOT:
        put(" %lld", (long long)r.stream.id);
        break;
    case KDB_CALL_NAMED: {
        struct kdb_items i;
        uint32_t n = 0, len;
        put(" %.*s", (int)r.function.len, r.function.text);
        for (bool more = kdb_items(&r.args, &i); more; more = kdb_items_next(&i), n++) {
            const char *text = kdb_object_text(&i.item, &len);
            put(" %s%s", i.item.type < 0 ? "" : "#", kdb_object_type_name(i.item.type));
            if (text)
                put(":%.*s", (int)len, text);
            else if (i.item.type == -PST_FLOAT)
                put(":%g", kdb_object_double(&i.item, 0));
            else if (i.item.type < 0)
                put(":%lld", (long long)kdb_object_long(&i.item, 0));
        }
        assert_int_equal(n, r.args.count);
        break;
    }
    case KDB_CALL_PST_UNSUB:
    case KDB_CALL_PST_WAIT:
        put(" %lld", (long long)r.position);
        if (r.call == KDB_CALL_PST_WAIT)
            put(" %s", levels[r.level]);
        break;
    case KDB_CALL_BUFFER_START:
    case KDB_CALL_BUFFER_END:
    case KDB_CALL_NOTICE:
        put(" %s %u", kdb_object_type_name(r.data.type), r.data.count);
        break;
    case KDB_CALL_UNKNOWN:
        put(" %s", r.hint);
        break;
    default:
        break;
    }
    return shown;
}

/* ---- asking ---- */

static struct guard guard;
static struct kdb_out o;

/* Reads what is in o, inside guarded memory, and empties it. */
static void expect(const char *what)
{
    size_t size;
    const char *why = "";
    struct kdb_object object;
    assert_false(o.failed);
    size_t len = o.len;
    const uint8_t *p = guard_copy(&guard, o.data, len);
    o.len = 0;
    if (kdb_object_check(p, len, KDB_LITTLE, &size, &why) != KDB_OK || size != len)
        fail_msg("%s: %s", what, why);
    kdb_object_view(&object, p, KDB_LITTLE);
    memset(&r, 0xA5, sizeof r); /* nothing may lean on what was there */
    kdb_request_read(&object, &r);
    assert_string_equal(show(), what);
}

static void text(const char *request, const char *what)
{
    kdb_out_chars(&o, request, strlen(request));
    expect(what);
}
static void hex(const char *frame, const char *what)
{
    for (const char *h = frame + 16; *h; h += 2) { /* behind the 8 bytes of the header */
        unsigned v;
        assert_int_equal(sscanf(h, "%2x", &v), 1);
        kdb_out_bytes(&o, &(uint8_t){(uint8_t)v}, 1);
    }
    expect(what);
}

/* A list by letters: c"chars" y`symbol v`vector l lambda; values follow as strings. */
static void list(const char *what, const char *kinds, ...)
{
    va_list ap;
    va_start(ap, kinds);
    kdb_out_list(&o, (uint32_t)strlen(kinds));
    for (; *kinds; kinds++) {
        const char *v = *kinds == ':' || *kinds == 'e' ? "" : va_arg(ap, const char *);
        if (*kinds == 'c') {
            kdb_out_chars(&o, v, strlen(v));
        } else if (*kinds == '1') {
            kdb_out_atom(&o, PST_CHAR, v);
        } else if (*kinds == 'y') {
            kdb_out_symbol(&o, v, strlen(v));
        } else if (*kinds == 'l') {
            kdb_out_lambda(&o, "sub", v);
        } else if (*kinds == ':') {
            kdb_out_null(&o);
        } else if (*kinds == 'e') {
            kdb_out_list(&o, 0);
        } else if (*kinds == 'j') {
            kdb_out_long(&o, atoll(v));
        } else if (*kinds == 'd') {
            kdb_out_atom(&o, PST_DATE, &(int32_t){atoi(v)});
        } else { /* v: symbols, and s: strings; parted by commas */
            char copy[200], *at = copy, *one;
            uint32_t n = 0;
            snprintf(copy, sizeof copy, "%s", v);
            size_t opened = kdb_out_open(&o, *kinds == 'v' ? PST_SYMBOL : KDB_LIST, 0);
            while (*v && (one = strsep(&at, ","))) {
                if (*kinds == 'v')
                    kdb_out_bytes(&o, one, strlen(one) + 1);
                else
                    kdb_out_chars(&o, one, strlen(one));
                n++;
            }
            kdb_out_close(&o, opened, n);
        }
    }
    va_end(ap);
    expect(what);
}

static void symbols(const char *what, unsigned n, const char *const *texts)
{
    kdb_out_symbols(&o, texts, n);
    expect(what);
}

/* ---- 2.7, row by row ---- */

#define PAIR "sub t=* s=* +point"

static void rows_of_text(void **state)
{
    (void)state;
    /* 1: r.q, as a q client sent it */
    hex("01010000240000000a0016000000282e752e7375625b603b605d3b602e75206069604c29", PAIR);
    text("(.u.sub[`;`];`.u `i`L)", PAIR);
    text("  ( .u.sub[ ` ; ` ] ; `.u  `i`L )\n", PAIR);
    /* 2 */
    hex("01000000190000000a000b0000002e752e7375625b603b605d", "sub t=* s=*");
    text(".u.sub[`;`]", "sub t=* s=*");
    text(".u.sub[`;`];", "sub t=* s=*");
    /* 3 */
    text(".u.sub[`trade;`]", "sub t=trade s=*");
    text(".u.sub[`trade;`MSFT.O`IBM.N]", "sub t=trade s=[MSFT.O,IBM.N]");
    text(".u.sub [`trade; `A]", "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, "
                                "s)select ... or a query's name");
    text("\t.u.sub[ `trade ; `A ] ", "sub t=trade s=A");
    text(".u.sub[`trade`quote;`]", "sub t=[trade,quote] s=*");
    text(".u.sub[(`trade;`quote);`]", "sub t=[trade,quote] s=*");
    text(".u.sub[\"trade\";\"\"]", "sub t=trade s=*");
    text(".u.sub[enlist `trade;`]", "sub t=[trade] s=*");
    text(".u.sub[`trade;enlist`]", "sub t=trade s=[]"); /* one symbol, the null one */
    text(".u.sub[`trade;()]", "sub t=trade s=[]");
    text(".u.sub[::;`A`B]", "sub t=* s=[A,B]");
    text(".u.sub[`:a/b_c.d;`]", "sub t=:a/b_c.d s=*");
    text(".u.add[`trade;`A]", "sub t=trade s=A adds");
    text(".u.sub[;`] each `trade`quote", "sub t=[trade,quote] s=*");
    text("(.u.sub[;`A]each`trade`quote;.u `i`L)", "sub t=[trade,quote] s=A +point");
    /* 4 */
    text("(.u.sub[`trade;`A];.u `i`L)", "sub t=trade s=A +point");
    text("(.u.sub[`trade;`];(.u.i;.u.L))", "sub t=trade s=* +point");
    text("(.u.i;.u.L;.u.sub[`trade;`])", "sub t=trade s=* point+");
    /* 5 */
    text(".u `i`L", "point iL list");
    text(".u`i`L", "point iL list");
    text(".u[`i`L]", "point iL list");
    text("(`.u `i`L)", "point iL list");
    text("(.u.i;.u.L)", "point iL list");
    text("( .u.i ; .u.L )", "point iL list");
    text(".u.i", "point i");
    text(" .u.L ", "point L");
    text(".u `i", "point i");
    text(".u.d", "date");
    text(".u.t", "tables");
    text("tables[]", "tables");
    text("tables`.", "tables");
    text("tables `", "tables");
    text("tables[`.]", "tables");
    /* 6 */
    text("(.u.sub[`;`];$[`m in key`.u;(.u `m)\"`.u `i`L\";`.u `i`L])", PAIR);
    text("(.u.sub[`;`]; $[`m in key `.u; (.u `m) \"`.u `i`L\"; `.u `i`L])", PAIR);
    /* 7 */
    text("(.u.sub[`aggregate;`])", "sub t=aggregate s=*");
    text("((.u.sub[`aggregate;`]))", "sub t=aggregate s=*");
    /* 8 */
    text("", "flush");
    text("  ", "flush");
    text("::", "flush");
    text("()", "flush");
    kdb_out_null(&o);
    expect("flush");
    kdb_out_list(&o, 0);
    expect("flush");
    kdb_out_atom(&o, PST_CHAR, " ");
    expect("flush");
}

static void rows_of_lists(void **state)
{
    (void)state;
    /* 9: qPython's bytes, then the forms of others */
    hex("01010000230000000000030000000a00060000002e752e737562f5747261646500f500",
        "sub t=trade s=*");
    list("sub t=trade s=A", "cyy", ".u.sub", "trade", "A");
    list("sub t=trade s=[A,B]", "cyv", ".u.sub", "trade", "A,B");
    list("sub t=trade s=[]", "cyv", ".u.sub", "trade", "");
    list("sub t=trade s=[]", "cye", ".u.sub", "trade");
    list("sub t=trade s=*", "ccc", ".u.sub", "trade", "");
    list("sub t=* s=*", "c11", ".u.sub", "`", "`");
    list("sub t=* s=*", "c11", ".u.sub", " ", "`");
    list("sub t=x s=A", "c11", ".u.sub", "x", "A");
    list("sub t=trade s=[A,B]", "ccc", ".u.sub", "`trade", "`A`B");
    list("sub t=[trade,quote] s=[A,B]", "css", ".u.sub", "trade,quote", "A,B");
    list("sub t=* s=*", "c::", ".u.sub");
    list("sub t=trade s=A adds", "cyy", ".u.add", "trade", "A");
    /* 10: symbol heads; symbols alone collapse into a vector */
    list("sub t=[trade,quote] s=*", "yvy", ".u.sub", "trade,quote", "");
    symbols("sub t=trade s=*", 3, (const char *const[]){".u.sub", "trade", ""});
    symbols("sub t=* s=*", 3, (const char *const[]){".u.sub", "", ""});
    symbols("sub t=trade s=A", 3, (const char *const[]){".u.sub", "trade", "A"});
    /* 11 */
    list("sub t=trade s=*", "cyy", "{.u.sub[x;y]}", "trade", "");
    list("sub t=trade s=[A,B]", "lyv", "{ .u.sub[x; y] }", "trade", "A,B");
    /* 12 */
    list("sub t=* s=* +point", "cy", "{(.u.sub[;`]each x;`.u `i`L)}", "");
    list("sub t=trade s=* +point", "cy", "{(.u.sub[;`]each x;`.u `i`L)}", "trade");
    list("sub t=[trade,quote] s=* +point", "cv", "{(.u.sub[;`] each x;`.u `i`L)}", "trade,quote");
    /* 13 */
    list("sub t=[trade,quote] s=* point+", "lv", "{(.u.i;.u.L;.u.sub[;`] each x)}", "trade,quote");
    list("sub t=[trade] s=* point+", "lv", "{(.u.i;.u.L;.u.sub[;`]each x)}", "trade");
    /* 14: TorQ */
    list("torq-type", "ly", "{@[value;`tptype;`standard]}", "");
    list("tables", "ly", "{key `.u.w}", "");
    symbols("tables", 2, (const char *const[]){"tablelist", ""});
    list("sub t=[trade,quote] s=* torq", "lvy",
         "{`schemalist`logfilelist`rowcounts`date!(.u.sub\\:[x;y];enlist(.u`i`L);(.u "
         "`icounts);(.u `d))}",
         "trade,quote", "");
    list("sub t=[trade,quote] s=* segmented", "yvy", "subdetails", "trade,quote", "");
    symbols("sub t=trade s=* segmented", 3, (const char *const[]){"subdetails", "trade", ""});
    list("sub t=trade s=[A,B] segmented", "yyv", "subdetails", "trade", "A,B");
    /* 15 */
    list("torq-attributes", "l:", "{.proc.getattributes[]}");
    list("torq-attributes", "ly",
         "{$[`getdetails in key`.servers;.servers.getdetails[];(.z.f;.z.h;system\"p\")]}", "");
    /* 17 */
    list("endofday", "c:", ".u.endofday");
    list("endofday 9000", "cd", ".u.endofday", "9000");
    text(".u.endofday[]", "endofday");
    text(".u.endofday[2024.08.22]", "endofday 9000");
    text(".u.endofday[2000.01.01]", "endofday 0");
    text(".u.endofday[2023.02.29]", "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, "
                                    "s)select ... or a query's name");
    /* 18: PyKX */
    list("pykx-context", "cy",
         "k){x:. x;$[99h<@x;:`$\"_pykx_fn_marker\";99h~@x;if[` in!x;if[(::)~x`;:`$\"_pykx_ctx_"
         "marker\"]]]x}",
         ".q");
    list("pykx-keys", "cy", "key", ".q");
    list("unknown nyi: PyKX contexts; connect with no_ctx=True", "cy",
         "k){x:. x;$[99h<@x;:`$\"_pykx_fn_marker\"]}", ".foo.bar");
    /* 19 */
    list("sub t=trade s=[A,B]", "ccc", ".ps.subtable", "trade", "A,B");
    list("sub t=trade s=[A,B C]", "ccc", ".ps.subtable", "trade", " A , B C ");
    list("sub t=[trade,quote] s=*", "ccc", ".ps.subtable", "trade,quote", "");
    list("sub t=trade s=A", "ccc", ".ps.subtable", "trade", "A");
    text(".ps.subtable[\"trade\";\"A,B\"]", "sub t=trade s=[A,B]");
    text(".ps.subtable[(`a;`b);`]", "sub t=[a,b] s=*");
    list("sub t=trade s=* where(price > 10) columns(time,sym)", "cccc", ".ps.subtablefiltered",
         "trade", "price > 10", "time,sym");
    list("sub t=trade s=*", "cccc", ".ps.subtablefiltered", "trade", "", "");
}

/* 16, 2.5 */
static void publishing(void **state)
{
    (void)state;
    hex("01000000480000000000030000000a00060000002e752e757064f5747261646500000004000000f000f0d9ce1a"
        "1f0000f54141504c00f7000000000000f83ff90a00000000000000",
        "upd .u.upd t=trade list 4"); /* javakdb */
    hex("010000003f0000000000030000000a00060000002e752e757064f5747261646500000003000000f54141504c00"
        "f7000000000000f83ff90a00000000000000",
        "upd .u.upd t=trade list 3"); /* qPython, no time */
    hex("010000005d0000000000030000000a00060000002e752e757064f57472616465000000030000000b0002000000"
        "41004200090002000000000000000000f03f000000000000004007000200000003000000000000000400000000"
        "00"
        "0000",
        "upd .u.upd t=trade list 3"); /* javakdb, columns */
    hex("010000009c000000000003000000f575706400f57472616465006200630b000500000074696d650073796d0070"
        "726963650073697a6500736964650000000500000010000200000000f0d9ce1a1f000001f0d9ce1a1f00000b00"
        "020000004141504c004d534654000900020000000000000000105940000000000000f87f0700020000006400"
        "00000000000000000000000000800a00020000004253",
        "upd upd t=trade table 1");                                       /* a table; symbol head */
    list("upd .u.upd t=trade symbol 2", "yyv", ".u.upd", "trade", "A,B"); /* a row that collapsed */
    list("upd upd t=trade symbol 2", "ccv", "upd", "trade", "A,B");
    list("upd insert t=trade symbol 2", "ccv", "insert", "`trade", "A,B");
    list("upd upd t=[t1,t2] list 2", "yvs", "upd", "t1,t2", "x,y"); /* several tables */
    list("upd upd t=[t1] list 1", "yvs", "upd", "t1", "x");
    list("unknown type: send (`upd; `t1`t2; (data1; data2)): a list of data for a list of tables",
         "yvs", "upd", "t1,t2", "x,y,z");
    list("unknown type: send (\".u.upd\"; `table; data) as a list, data one row, a list of columns "
         "or a table",
         "cy", ".u.upd", "trade");
    list("unknown type: send (\".u.upd\"; `table; data) as a list, data one row, a list of columns "
         "or a table",
         "cyv", ".u.upd", "", "A,B");
    text(".u.upd[`trade;(`A;1.5;10)]",
         "unknown type: send (\".u.upd\"; `table; data) as a list, not as text");
    symbols("unknown type: send (\".u.upd\"; `table; data) as a list, data one row, a list of "
            "columns or a table",
            3, (const char *const[]){".u.upd", "trade", "A"});
}

static void asking(void **state)
{
    (void)state;
    text("meta trade", "meta t=trade");
    text("meta `trade", "meta t=trade");
    text("meta[`trade]", "meta t=trade");
    text("meta[trade]", "meta t=trade");
    list("meta t=trade", "cy", "meta", "trade");
    symbols("meta t=trade", 2, (const char *const[]){"meta", "trade"});
    text("cols trade", "cols t=trade");
    text("cols`trade", "cols t=trade");
    list("cols t=trade", "cc", "cols", "trade");
    text("count trade", "count t=trade");
    text("count `trade", "count t=trade");
    list("count t=trade", "cy", "count", "trade");
    text("count select from trade", "unknown type: send count table; for rows that match: s)select "
                                    "count(*) ...");
    text("s)select * from trade", "sql select * from trade");
    text(" s) select 1; ", "sql select 1");
    text(".s.e \"select 1\"", "sql select 1");
    text(".s.e[\"select 1\"]", "sql select 1");
    list("sql select * from trade where sym='A'", "cc", ".s.e",
         "select * from trade where sym='A'");
    list("sql select 1", "yc", ".s.e", " select 1 ");
    text("s)  ", "unknown type: send s)select ..., or (\".s.e\"; \"select ...\")");
    text(".u.snap[`trade]", "snap t=trade s=*");
    text(".u.snap[`trade;`A`B]", "snap t=trade s=[A,B]");
    list("snap t=trade s=*", "cy", ".u.snap", "trade");
    list("snap t=trade s=[A]", "cyv", ".u.snap", "trade", "A");
    list("named vwap symbol:trade long:5", "cyj", "vwap", "trade", "5");
    list("named vwap", "c", "vwap");
    text("vwap[]", "named vwap");
    text("vwap[`A;5;2.5;1b;2000.01.03;\"text\";09:30;`A`B]",
         "named vwap symbol:A long:5 float:2.5 boolean:1 date:2 #char:text minute:570 #symbol");
    text("vwap[0N;-3;7i;09:30:01;09:30:00.250;::]",
         "named vwap long:-9223372036854775808 long:-3 int:7 second:34201 time:34200250 #function");
    text("my_query1 `A", "named my_query1 symbol:A");
    symbols("named vwap symbol:A symbol:", 3, (const char *const[]){"vwap", "A", ""});
}

/* Streaming analytics. */
static void streams(void **state)
{
    (void)state;
    text(".sa.sub[`last;`table`syms!(`trade;`A`B)]", "sa-sub last table=symbol:1 syms=symbol:2");
    text(".sa.sub[\"last\"; `table`syms!(`trade;`A`B); `mode`group!`full`agg]",
         "sa-sub last table=symbol:1 syms=symbol:2 fullagg");
    text(".sa.sub[`cpu;(enlist `syms)!enlist `a`b;(enlist `policy)!enlist `resync]",
         "sa-sub cpu syms=symbol:2 resync");
    text(".sa.sub[`cpu;()!();(enlist `ref)!enlist 7]", "sa-sub cpu ref=7");
    text(".sa.sub[`cpu]", "sa-sub cpu");
    text(".sa.sub[`cpu;()!();::]", "sa-sub cpu");
    text(".sa.sub[`ohlc;`a`b`c!(1;2.5;\"x y\")]", "sa-sub ohlc a=long:1 b=float:1 c=char:3");
    symbols("sa-sub last", 2, (const char *const[]){".sa.sub", "last"});
    text(".monPublic.sub[`syms`n!(`a`b;5)]", "sa-sub .monPublic.sub syms=symbol:2 n=long:1");
    text(".monPublic.sub[]", "sa-sub .monPublic.sub");
    text("last[`table`syms!`trade`A]", "sa-sub last table=symbol:1 syms=symbol:1");
    text(".sa.unsub[7]", "sa-unsub 7");
    list("sa-unsub 7", "cj", ".sa.unsub", "7");
    text(".sa.snapshot[7]", "sa-snapshot 7");
    text(".sa.list[]", "sa-list");
    text(".sa.streams[]", "sa-streams");
    text(".sa.sub[`last;`trade]",
         "unknown type: send .sa.sub[`last;`table`syms!(`trade;`A`B)], or (\".sa.sub\"; `last; "
         "params; options)");
    text(".sa.sub[`last;`a`b!(1;2;3)]",
         "unknown type: send the parameters in a list: (\".sa.sub\"; `name; "
         "`key1`key2!(value1; value2)), as many values as keys");
    text(".sa.sub[`last;()!();(enlist `mod)!enlist `full]",
         "unknown domain: .sa.sub has no option mod, perhaps mode; it has mode, group, policy, "
         "texts and ref");
    text(".sa.unsub[`a]",
         "unknown type: send .sa.unsub[id], id from .sa.sub's answer; of all: .sa.unsub[]");
    text(".u.nosuch[]", "unknown nyi: no function or named query .u.nosuch; q is not evaluated "
                        "here: send .u.sub, .u.upd, s)select ... or a query's name");
}

static void near_misses(void **state)
{
    (void)state;
    text(".u.sub[`trade]",
         "unknown type: send .u.sub[`table;`syms], or (\".u.sub\"; `table; `syms)");
    list("unknown type: send .u.sub[`table;`syms], or (\".u.sub\"; `table; `syms)", "cyj", ".u.sub",
         "trade", "5");
    text(".u.subs[`trade;`]", "unknown nyi: no function or named query .u.subs; perhaps .u.sub");
    list("unknown nyi: no function or named query .u.udp; perhaps .u.upd", "cyv", ".u.udp", "t",
         "A,B");
    text("select from trade", "unknown nyi: q-sql is not evaluated here; send SQL: s)select * from "
                              "trade where sym = 'AAPL'");
    text("delete from `trade", "unknown nyi: tables are changed by publishing: send (\".u.upd\"; "
                               "`table; data) as a list");
    text("trade", "unknown nyi: variables have no value here; for a table's rows send s)select * "
                  "from trade");
    text("1+1", "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, s)select ... or a "
                "query's name");
    text("system\"rm -rf /\"", "unknown nyi: no function or named query system; q is not evaluated "
                               "here: send .u.sub, .u.upd, s)select ... or a query's name");
    list("unknown nyi: no function or named query value; q is not evaluated here: send .u.sub, "
         ".u.upd, s)select ... or a query's name",
         "cc", "value", "1+1");
    list(
        "unknown nyi: functions are not evaluated here; send a name, e.g. (\".u.sub\"; `trade; `), "
        "or s)select ...",
        "l:", "{exit 0}");
    text("{exit 0}[]", "unknown nyi: functions are not evaluated here; send a name, e.g. "
                       "(\".u.sub\"; `trade; `), or s)select ...");
    list("unknown type: a list request begins with a function's name, not a long", "jj", "1", "2");
    kdb_out_long(&o, 5);
    expect("unknown type: a request is a text or a list, not a long");
    text("\x01\x02[]",
         "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, s)select ... or a "
         "query's name");
    list("unknown nyi: no function or named query .a??b; q is not evaluated here: send .u.sub, "
         ".u.upd, s)select ... or a query's name",
         "cy",
         ".a\x01\x7f"
         "b",
         "x");
    list("unknown rank: too many arguments for .u.sub", "cyyyyyyyyy", ".u.sub", "a", "a", "a", "a",
         "a", "a", "a", "a", "a");
}

static void depth_and_length(void **state)
{
    (void)state;
    static char deep[20000];
    memset(deep, '(', 9999);
    memset(deep + 9999, ')', 9999);
    text(deep, "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, s)select ... or a "
               "query's name");
    memset(deep, '`', 9999);
    deep[9999] = 0;
    text(deep, "unknown nyi: q is not evaluated here; send .u.sub, .u.upd, s)select ... or a "
               "query's name");
    /* a subscription to many symbols by text is as long as it likes */
    char *many = malloc(200000), *at = stpcpy(many, ".u.sub[`trade;");
    for (unsigned i = 0; i < 20000; i++)
        at += sprintf(at, "`S%u", i);
    strcpy(at, "]");
    kdb_out_chars(&o, many, strlen(many));
    struct kdb_object object;
    struct kdb_name i;
    kdb_object_view(&object, o.data, KDB_LITTLE);
    assert_int_equal(kdb_request_read(&object, &r), KDB_CALL_SUB);
    assert_int_equal(r.sub.syms.count, 20000);
    uint32_t n = 0;
    for (bool more = kdb_names_first(&r.sub.syms, &i); more; more = kdb_names_next(&i)) {
        char name[16];
        assert_int_equal(i.len, sprintf(name, "S%u", n++));
        assert_memory_equal(i.text, name, i.len);
    }
    assert_int_equal(n, 20000);
    o.len = 0;
    free(many);
}

/* ---- ours ---- */

static void pst_forms(void **state)
{
    (void)state;
    list("pst-upd .pst.upd t=trade symbol 2 durable", "cyvy", ".pst.upd", "trade", "A,B",
         "durable");
    list("pst-upd .pst.upd t=trade symbol 2 submitted", "cyv", ".pst.upd", "trade", "A,B");
    list("pst-upd .pst.upd t=trade symbol 2 written", "cyvc", ".pst.upd", "trade", "A,B",
         "written");
    list("unknown type: send (\".pst.upd\"; `table; data; `submitted, `written or `durable) as a "
         "list",
         "cyvy", ".pst.upd", "trade", "A,B", "safe");
    text(".pst.watermark[]", "pst-watermark");
    list("pst-watermark", "c:", ".pst.watermark");
    list("pst-wait 77 durable", "cjy", ".pst.wait", "77", "durable");
    text(".pst.wait[77;`written]", "pst-wait 77 written");
    text(".pst.wait[77]", "pst-wait 77 submitted");
    text(".pst.wait[-1]",
         "unknown type: send (\".pst.wait\"; position; `submitted, `written or `durable)");
    text(".pst.unsub[]", "pst-unsub -1");
    list("pst-unsub -1", "c:", ".pst.unsub");
    list("pst-unsub 7", "cj", ".pst.unsub", "7");
    text(".pst.sub[`trade;`]", "pst-sub t=trade s=*");
}

static void begin_sub(const char *const *keys, uint32_t n)
{
    kdb_out_list(&o, 2);
    kdb_out_chars(&o, ".pst.sub", 8);
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, keys, n);
}
#define KEYS(...)                                                                                  \
    begin_sub((const char *const[]){__VA_ARGS__},                                                  \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void pst_sub(void **state)
{
    (void)state;
    uint8_t yes = 1;
    KEYS("tables", "syms"); /* values that collapsed */
    kdb_out_symbols(&o, (const char *const[]){"trade", "A"}, 2);
    expect("pst-sub t=trade s=A");

    KEYS("tables", "syms", "where", "columns", "from", "snapshot", "policy", "durable", "conflate",
         "stripe", "marks", "format");
    kdb_out_list(&o, 12);
    kdb_out_symbols(&o, (const char *const[]){"trade", "quote"}, 2);
    kdb_out_symbol(&o, "", 0);
    kdb_out_chars(&o, "price > 10", 10);
    kdb_out_chars(&o, "time, sym", 9);
    kdb_out_long(&o, 4096);
    kdb_out_atom(&o, PST_BOOLEAN, &yes);
    kdb_out_symbol(&o, "catchup", 7);
    kdb_out_atom(&o, PST_BOOLEAN, &yes);
    kdb_out_atom(&o, PST_BOOLEAN, &yes);
    kdb_out_vector(&o, PST_LONG, 0, 2, (int64_t[]){1, 4});
    kdb_out_symbols(&o, (const char *const[]){"end", "gap"}, 2);
    kdb_out_symbol(&o, "records", 7);
    expect("pst-sub t=[trade,quote] s=* where(price > 10) columns(time, sym) snapshot durable "
           "conflate from=at:4096 policy=catchup marks=9 records stripe=1/4");

    KEYS("snapshot", "durable", "marks");
    kdb_out_vector(&o, PST_BOOLEAN, 0, 3, (uint8_t[]){1, 0, 0});
    expect("pst-sub t=* s=* snapshot marks=0");

    KEYS("columns", "from");
    kdb_out_list(&o, 2);
    kdb_out_symbols(&o, (const char *const[]){"time", "sym", "price"}, 3);
    kdb_out_symbol(&o, "day", 3);
    expect("pst-sub t=* s=* columns(time,sym,price) from=day");

    KEYS("tables", "symbols");
    kdb_out_symbols(&o, (const char *const[]){"trade", "A"}, 2);
    expect("unknown domain: .pst.sub has no field symbols");
    KEYS("tables", "polcy");
    kdb_out_symbols(&o, (const char *const[]){"trade", "A"}, 2);
    expect("unknown domain: .pst.sub has no field polcy, perhaps policy");
    KEYS("tables", "policy");
    kdb_out_symbols(&o, (const char *const[]){"trade", "wait"}, 2);
    expect("unknown type: .pst.sub's policy is `disconnect, `catchup, `conflate or `skip");
    KEYS("stripe");
    kdb_out_list(&o, 1);
    kdb_out_vector(&o, PST_LONG, 0, 2, (int64_t[]){4, 4});
    expect("unknown type: .pst.sub's stripe is two longs: which, from 0, of how many");
    KEYS("from");
    kdb_out_vector(&o, PST_LONG, 0, 1, (int64_t[]){-1});
    expect("unknown type: .pst.sub's from is a position, `live, `day or `begin");
    KEYS("tables", "syms");
    kdb_out_symbols(&o, (const char *const[]){"trade"}, 1);
    expect("unknown type: .pst.sub wants a dictionary, e.g. `tables`syms!(`trade;`)");
}

/* ---- what comes from upstream ---- */

static void from_upstream(void **state)
{
    (void)state;
    hex("010000001b000000000002000000f52e752e656e6400f228230000", "end 9000");
    list("end 9000", "ydy", "endofday", "9000", "x");
    kdb_out_list(&o, 2);
    kdb_out_symbol(&o, ".u.eoi", 6);
    kdb_out_vector(&o, PST_TIMESTAMP, 0, 2, (int64_t[]){5, 9});
    expect("eoi 5..9");
    kdb_out_list(&o, 4);
    kdb_out_symbol(&o, "endofperiod", 11);
    kdb_out_atom(&o, PST_TIMESTAMP, &(int64_t){5});
    kdb_out_atom(&o, PST_TIMESTAMP, &(int64_t){9});
    kdb_out_null(&o);
    expect("eoi 5..9");
    list("buffer-start list 0", "ye", ".dm.buff.start");
    list("buffer-end list 0", "ye", ".dm.buff.end");
    kdb_out_list(&o, 2);
    kdb_out_symbol(&o, ".pst.notice", 11);
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, (const char *const[]){"kind"}, 1);
    kdb_out_symbols(&o, (const char *const[]){"gap"}, 1);
    expect("notice dictionary 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_text),     cmocka_unit_test(rows_of_lists),
        cmocka_unit_test(publishing),       cmocka_unit_test(asking),
        cmocka_unit_test(streams),          cmocka_unit_test(near_misses),
        cmocka_unit_test(depth_and_length), cmocka_unit_test(pst_forms),
        cmocka_unit_test(pst_sub),          cmocka_unit_test(from_upstream),
    };
    guard_open(&guard, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_close(&guard);
    kdb_out_free(&o);
    return failed;
}
