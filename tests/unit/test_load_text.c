/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_text.c - delimited text: each rule of the syntax, headers, bad rows; every border; and
 * random texts against a reader that goes byte by byte (load_text_ref.h). All builds each time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>
#include "load_text_ref.h"

static const struct column_def trade_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT},
    {"size", PST_LONG},      {"ex", PST_CHAR},    {"cond", PST_STRING},
};
static const struct column_def word_cols[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"a", PST_STRING},
                                              {"b", PST_STRING},
                                              {"c", PST_STRING}};
static struct schema trade, words;

static int setup(void **state)
{
    (void)state;
    struct err err;
    assert_true(schema_make(&trade, 7, "trade", false, trade_cols, PST_COUNT(trade_cols), &err));
    assert_true(schema_make(&words, 8, "words", false, word_cols, PST_COUNT(word_cols), &err));
    return 0;
}

static void expect_n(struct kit *k, const char *text, size_t n, const char *rows,
                     const char *rejects)
{
    static const size_t windows[] = {0, 64, 100};
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++)
        for (unsigned w = 0; w < PST_COUNT(windows); w++) {
            if (!load_text_force(isa))
                continue;
            if (!kit_read(k, text, n, windows[w], 0, 0, NULL))
                fail_msg("%s", k->err.text);
            assert_string_equal(kit_rows(k), rows);
            assert_string_equal(kit_rejects(k), rejects);
        }
}
static void expect(struct kit *k, const char *text, const char *rows, const char *rejects)
{
    expect_n(k, text, strlen(text), rows, rejects);
}
/* One file, one recipe. */
static void once(const struct schema *s, const char *members, const char *text, const char *rows,
                 const char *rejects)
{
    struct kit k;
    kit_open(&k, s, members);
    expect(&k, text, rows, rejects);
    kit_close(&k);
}
/* The file is refused, and the sentence holds this. */
static void refused(const struct schema *s, const char *members, const char *text, size_t n,
                    const char *sentence)
{
    struct kit k;
    kit_open(&k, s, members);
    assert_false(kit_read(&k, text, n, 0, 0, 0, NULL));
    assert_int_equal(k.err.code, -EINVAL);
    if (!strstr(k.err.text, sentence))
        fail_msg("'%s' lacks '%s'", k.err.text, sentence);
    kit_close(&k);
}

/* ---- syntax ---- */

static void test_trades(void **state)
{
    (void)state;
    once(&trade, "",
         "time,sym,price,size,ex,cond\n"
         "2024-08-08T09:30:00.123456789,AAPL,191.25,100,Q,\"@ F\"\n"
         "2024-08-08T09:30:01.5,MSFT,402,1,N,\n"
         "2024-08-08T09:31:00,GOOGLEISLONG,0.1,-5,,\"a,\"\"b\"\"\"\r\n",
         "8986|776424600123456789|<AAPL>|191.25|100|<Q>|<@ F>\n"
         "8986|776424601500000000|<MSFT>|402|1|<N>|.\n"
         "8986|776424660000000000|<GOOGLEISLONG>|0.10000000000000001|-5|.|<a,\"b\">\n",
         "");
}

#define WORDS ",\"header\":false,\"constants\":{\"time\":\"2000-01-02\",\"sym\":\"X\"}"
#define ROW   "1|86400000000000|<X>"

static void test_quotes(void **state)
{
    (void)state;
    once(&words, WORDS,
         "\"a,\"\"1\"\"\",\"\",5\" pipe\n"
         "\"two\nlines\",\"\r\n\",\"\"\"\"\r\n"
         "\"a\"b,c,d\n"
         "a,\"b\n"
         "c\",\"d\",e,\n"
         "x,\"y\"\"z\",\"w\"",
         ROW "|<a,\"1\">|.|<5\" pipe>\n" ROW "|<two\\x0alines>|<\\x0d\\x0a>|<\">\n" ROW
             "|<x>|<y\"z>|<w>\n",
         "5 a: there is text behind the closing quote <\"a\"b,c,d>\n"
         "6 : a quote in it closes on a later line, and that makes no row <a,\"b>\n"
         "7 : the row has 4 fields, and the file 3 columns <c\",\"d\",e,>\n");
    /* a stray quote takes its line, not those up to the next quote */
    once(&words, WORDS, "a,b,c\na,\"b,c\nd,e,f\ng,h,i\n\"j\",k,l\n",
         ROW "|<a>|<b>|<c>\n" ROW "|<d>|<e>|<f>\n" ROW "|<g>|<h>|<i>\n" ROW "|<j>|<k>|<l>\n",
         "2 : a quote in it closes on a later line, and that makes no row <a,\"b,c>\n");
    once(&words, WORDS, "a,\"b,c\nd,e,f\n\"j\",k\n", ROW "|<d>|<e>|<f>\n",
         "1 b: there is text behind the closing quote <a,\"b,c>\n"
         "3 : the row has 2 fields, and the file 3 columns <\"j\",k>\n");
    once(&words, WORDS ",\"quote\":\"'\"", "'a,b',\"c,d\n", ROW "|<a,b>|<\"c>|<d>\n", "");
    once(&words, WORDS ",\"quote\":\"\"", "\"a,b\",c\n", ROW "|<\"a>|<b\">|<c>\n", "");
}

static void test_escapes(void **state)
{
    (void)state;
    once(&words, WORDS ",\"escape\":\"\\\\\"",
         "a\\,b,\"c\\\"d\",\\\"e\n"
         "\\n\\r\\t\\\\,\"x\\\ny\",p\\\nq\n"
         "\\N,N,\\a\n"
         "a,b,c\\",
         ROW "|<a,b>|<c\"d>|<\"e>\n" ROW "|<\\x0a\\x0d\\x09\\>|<x\\x0ay>|<p\\x0aq>\n" ROW
             "|<N>|<N>|<a>\n",
         "6 : the quotes do not close <a,b,c\\>\n");
    once(&words, WORDS ",\"escape\":\"\\\\\",\"nulls\":[\"\\\\N\"]", "\\N,\"\\\\N\",x\n",
         ROW "|.|.|<x>\n", "");
}

static void test_a_quote_that_never_closes(void **state)
{
    (void)state;
    once(&words, WORDS, "a,b,c\nd,\"e,f\ng,h,i\n\nj,k,l",
         ROW "|<a>|<b>|<c>\n" ROW "|<g>|<h>|<i>\n" ROW "|<j>|<k>|<l>\n",
         "2 : the quotes do not close <d,\"e,f>\n");
}

static void test_separators(void **state)
{
    (void)state;
    once(&words, WORDS ",\"separator\":\"\\t\"", "a\t\"b\tc\"\td\n", ROW "|<a>|<b\\x09c>|<d>\n",
         "");
    once(&words, WORDS ",\"separator\":\"||\"", "a||b|||c\n\"x||y\"||||z\n",
         ROW "|<a>|<b>|<|c>\n" ROW "|<x||y>|.|<z>\n", "");
    once(&words, WORDS ",\"separator\":\" \",\"rest\":true", "a b c d e\na  \"c d\"\n",
         ROW "|<a>|<b>|<c d e>\n" ROW "|<a>|.|<c d>\n", "");
    once(&words, WORDS ",\"separator\":\"\\u0001\"",
         "a\x01"
         "b\x01"
         "c\n",
         ROW "|<a>|<b>|<c>\n", "");
}

static void test_lines(void **state)
{
    (void)state;
    once(&words, WORDS ",\"comment\":\"#\",\"skip_lines\":2",
         "\"skipped\nthis too\n#,\"never closed\na,b,c\r\n\n\r\n#\n,,\n#x,y,z\nd,#e,\"#\"\n",
         ROW "|<a>|<b>|<c>\n" ROW "|.|.|.\n" ROW "|<d>|<#e>|<#>\n", "");
    once(&words, WORDS ",\"comment\":\"//\"", "//x\n/,b,c\n/\n", ROW "|</>|<b>|<c>\n",
         "3 : the row has 1 fields, and the file 3 columns </>\n");
    once(&words, WORDS ",\"ragged\":true", "a\na,b\r\n\na,b,c,d\n",
         ROW "|<a>|.|.\n" ROW "|<a>|<b>|.\n",
         "4 : the row has 4 fields, and the file 3 columns <a,b,c,d>\n");
    once(&words, WORDS ",\"trim\":true", "\t a ,\" b \" , c \n", ROW "|<a>|< b >|<c>\n", "");
    once(&words, WORDS, "", "", "");
    once(&words, WORDS, "\n\r\n\n", "", "");
    once(&words, WORDS, "a,b,c", ROW "|<a>|<b>|<c>\n", "");
    once(&words, WORDS, "a,b,c\r", ROW "|<a>|<b>|<c>\n", "");
}

static void test_bytes(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, &words, WORDS);
    expect_n(&k, "a\0b,\xC3\xA9,\xFF\n", 9, ROW "|<a\\x00b>|<\\xc3\\xa9>|<\\xff>\n", "");
    kit_close(&k);
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    struct schema s;
    struct err err;
    assert_true(schema_make(&s, 9, "t", false, cols, 2, &err));
    kit_open(&k, &s, ",\"header\":false");
    expect_n(&k, "2000-01-02,A\0B\n2000-01-02,\n2000-01-02,AB\n", 41,
             "1|86400000000000|.\n1|86400000000000|<AB>\n",
             "1 sym: a symbol holds no NUL <2000-01-02,A\\x00B>\n");
    char text[600], want[700];
    snprintf(text, sizeof text, "2000-01-02,%0256d\n2000-01-02,%0255d\n", 7, 8);
    snprintf(want, sizeof want, "1|86400000000000|<%0255d>\n", 8);
    char bad[700];
    snprintf(bad, sizeof bad, "1 sym: a symbol has at most 255 bytes <2000-01-02,%0256d>\n", 7);
    expect(&k, text, want, bad);
    kit_close(&k);
}

static void test_long_strings(void **state)
{
    (void)state;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"note", PST_STRING}};
    struct schema s;
    struct err err;
    struct kit k;
    assert_true(schema_make(&s, 9, "t", false, cols, 3, &err));
    kit_open(&k, &s, ",\"header\":false");
    k.quiet = true;
    char *line = malloc(LOAD_STRING_BYTES + 100);
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++)
        for (size_t n = LOAD_STRING_BYTES; n <= LOAD_STRING_BYTES + 1 && load_text_force(isa); n++)
            for (int quoted = 0; quoted < 2; quoted++) {
                size_t at = (size_t)sprintf(line, "2000-01-02,A,%s", quoted ? "\"" : "");
                memset(line + at, 'z', n);
                at += n;
                at += (size_t)sprintf(line + at, "%s\n", quoted ? "\"" : "");
                assert_true(kit_read(&k, line, at, 0, 0, 0, NULL));
                assert_int_equal(k.nrows, n == LOAD_STRING_BYTES);
                assert_int_equal(k.nrejects, n != LOAD_STRING_BYTES);
            }
    free(line);
    kit_close(&k);
}

/* What is wrong whatever the file: before there is one. */
static void test_recipes_without_a_file(void **state)
{
    (void)state;
    static const struct {
        const char *members, *sentence;
    } cases[] = {
        {",\"constants\":{\"price\":\"abc\"}",
         "the constant 'abc' of column price: it is no float"},
        {",\"constants\":{\"price\":\"1.5\"}", NULL},
        {",\"constants\":{\"time\":\"09:30\"}", NULL}, /* the date may be in the file's name */
        {",\"time\":\"%Q\"", "the pattern '%Q' of column time"},
        {",\"time\":\"%Y%m%d\"", NULL},
    };
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        struct kit k;
        kit_open(&k, &trade, cases[i].members);
        assert_int_equal(load_text_check(k.recipe, &k.err), !cases[i].sentence);
        if (cases[i].sentence && !strstr(k.err.text, cases[i].sentence))
            fail_msg("'%s' lacks '%s'", k.err.text, cases[i].sentence);
        kit_close(&k);
    }
}

/* ---- headers ---- */

static void test_headers(void **state)
{
    (void)state;
    const char *row = "1|86400000000000|<A>|1.5|7|<Q>|.\n";
    once(&trade, "", "\xEF\xBB\xBFsize,Time, SYM ,\"price\",cond,ex\r\n7,2000-01-02,A,1.5,,Q\r\n",
         row, "");
    once(&trade, ",\"columns\":[\"size\",\"time\",\"-\",\"sym\",\"price\",\"ex\",\"cond\"]",
         "7,2000-01-02,zzz,A,1.5,Q,\n", row, "");
    once(&trade, ",\"columns\":[\"size\",\"time\",\"-\",\"sym\",\"price\",\"ex\",\"cond\"]",
         "SIZE,time,x,y,z,ex,cond\n7,2000-01-02,zzz,A,1.5,Q,\n", row, "");
    once(&trade,
         ",\"columns\":{\"Trade Time\":\"time\",\"*\":\"-\",\"Ticker\":\"sym\"},"
         "\"optional\":[\"*\"]",
         "x,Trade Time,y,Ticker,\n1,2000-01-02,2,A,\n", "1|86400000000000|<A>|.|.|.|.\n", "");
    /* what the map does not list goes by the table's names; neither what it takes from elsewhere
     * nor a constant does */
    once(&trade, ",\"columns\":{\"px\":\"price\"},\"optional\":[\"cond\",\"ex\"]",
         "time,Sym,px,size\n2000-01-02,A,1.5,7\n", "1|86400000000000|<A>|1.5|7|.|.\n", "");
    once(&trade,
         ",\"columns\":{\"px\":\"price\",\"*\":\"-\"},\"optional\":[\"cond\"],"
         "\"constants\":{\"ex\":\"Q\"}",
         "time,Sym,price,px,size,ex,x\n2000-01-02,A,9,1.5,7,Z,x\n",
         "1|86400000000000|<A>|1.5|7|<Q>|.\n", "");
    once(
        &trade, "", "when,who,what\n2000-01-02,A,1.5,7,Q,\n", "1|86400000000000|<A>|1.5|7|<Q>|.\n",
        "1 : the first row names no column of table trade, so it is no header, and it has 3 fields "
        "instead of 6 <when,who,what>\n");
    once(&trade, ",\"header\":false,\"constants\":{\"ex\":\"Q\",\"cond\":\"@ T\"}",
         "2000-01-02,A,1.5,7\n2000-01-02,B,1,\n",
         "1|86400000000000|<A>|1.5|7|<Q>|<@ T>\n1|86400000000000|<B>|1|.|<Q>|<@ T>\n", "");
    once(&trade, ",\"header\":true,\"optional\":[\"cond\",\"ex\"]", "\n\"sym\",time,size,price\n",
         "", "");
}

static void test_refused_files(void **state)
{
    (void)state;
#define T(x) x, sizeof(x) - 1
    refused(&trade, "", T("\xFF\xFEt\0i\0"), "UTF-16");
    refused(&trade, "", T("time,sym,price,size,ex,cond,oops\n"), "names a column 'oops'");
    refused(&trade, "", T("time,sym,price,size,ex\n"), "column cond of table trade is not in the");
    refused(&trade, "", T("time,sym,price,size,ex,cond,size\n"), "two columns of the file are");
    refused(&trade, ",\"columns\":{\"t\":\"time\",\"s\":\"sym\"},\"optional\":[\"*\"]",
            T("2000-01-02,A\n"), "the first row names no column");
    refused(&trade, ",\"date\":\"column day\"", T("time,sym,price,size,ex,cond\n"),
            "no column of the file is 'day'");
    refused(&trade, ",\"time\":\"clock\"", T("time,sym,price,size,ex,cond\n"),
            "times of day belong to no date");
    refused(&trade, ",\"time\":\"%Y-%q\"", T("time,sym,price,size,ex,cond\n"), "'%Y-%q'");
    refused(&trade, ",\"time\":\"%Y[-%m\"", T("time,sym,price,size,ex,cond\n"), "'%Y[-%m'");
    refused(&trade, ",\"time\":\"%Y%\"", T("time,sym,price,size,ex,cond\n"), "'%Y%'");
    refused(&trade, ",\"header\":false,\"constants\":{\"size\":\"x\"}", T("2000-01-02,A,1,Q,\n"),
            "the constant 'x' of column size: it is no long");
}

/* ---- nulls, dates, bad rows ---- */

static void test_nulls(void **state)
{
    (void)state;
    once(
        &trade, ",\"header\":false,\"nulls\":[\"NA\",\"-1\",\"N/A\"],\"date\":\"2000.01.02\"",
        "NA,NA,NA,-1,NA,\"NA\"\n,,,,,\n\"\",\"\",\"\",\"\",\"\",\"\"\n2000-01-02,A,-1,-1.0,N,N/A\n",
        "1|.|.|.|.|.|.\n1|.|.|.|.|.|.\n1|.|.|.|.|.|.\n1|86400000000000|<A>|.|-1|<N>|.\n", "");
    once(&trade, ",\"header\":false", ",A,1,1,N,\n2000-01-02,A,1,1,N,\n",
         "1|86400000000000|<A>|1|1|<N>|.\n",
         "1 time: a row without a time belongs to no date <,A,1,1,N,>\n");
}

static void test_dates_of_rows(void **state)
{
    (void)state;
    once(&trade, ",\"header\":false",
         "2000-01-02,A,1,1,N,\n2000-01-03,A,1,1,N,\n1999-12-31,A,1,1,N,\n2000-01-03T23:59:59,A,1,1,"
         "N,\n2179-06-07,A,1,1,N,\n",
         "1|86400000000000|<A>|1|1|<N>|.\n2|172800000000000|<A>|1|1|<N>|.\n2|259199000000000|<A>|1|"
         "1|<N>|.\n",
         "3 time: its date lies outside 2000.01.01 ... 2179.06.06 <1999-12-31,A,1,1,N,>\n"
         "5 time: its date lies outside 2000.01.01 ... 2179.06.06 <2179-06-07,A,1,1,N,>\n");
    /* a date column, that is no column of the table; times of day are of it */
    once(&trade,
         ",\"date\":\"column day\",\"time\":\"clock\",\"columns\":{\"day\":\"-\",\"t\":\"time\","
         "\"s\":\"sym\"},\"optional\":[\"*\"]",
         "s,day,t\nA,2000.01.02,00:00:01\nA,20000103,00:00:01.5\nA,2000-01-03,00:00:02\nA,,"
         "00:00:01\nA,x,00:00:01\nA,2000.01.02,24:00:00\nA,2000.01.02,00:00:03\n",
         "1|86401000000000|<A>|.|.|.|.\n2|172801500000000|<A>|.|.|.|.\n2|172802000000000|<A>|.|.|."
         "|.\n1|86403000000000|<A>|.|.|.|.\n",
         "5 day: a row without a time belongs to no date <A,,00:00:01>\n"
         "6 day: it is no date <A,x,00:00:01>\n"
         "7 t: there is no such time of day <A,2000.01.02,24:00:00>\n");
    /* the calendar's trading date: from 17:00 on it is the next */
    once(&trade,
         ",\"header\":false,\"calendar\":\"cme\",\"calendar_zone\":\"America/Chicago\",\"eod_s\":"
         "61200,\"zone\":\"America/Chicago\"",
         "2024-08-08T16:59:59,A,1,1,N,\n2024-08-08T17:00:00,A,1,1,N,\n",
         "8986|776469599000000000|<A>|1|1|<N>|.\n8987|776469600000000000|<A>|1|1|<N>|.\n", "");
}

static void test_bad_rows_stand_in_order(void **state)
{
    (void)state;
    once(&trade, "",
         "time,sym,price,size,ex,cond\n"
         "2000-01-02,A,x,1,N,\n"
         "2000-01-02,A,1,1.5,N,\n"
         "2000-01-02,A,1\n"
         "2000-01-02,A,1,1,N,ok\n"
         "2000-02-30,A,x,1,N,\n"
         "2000-01-02,A,1,9223372036854775808,N,\n"
         "2000-01-02,A,1,1,NY,\n"
         "01/02/2000,A,1,1,N,\n"
         "2000-01-02,B,2,2,N,\"ok\n2\"\n"
         "2000-01-02,A,1e999,1,N,\n",
         "1|86400000000000|<A>|1|1|<N>|<ok>\n1|86400000000000|<B>|2|2|<N>|<ok\\x0a2>\n",
         "2 price: it is no float <2000-01-02,A,x,1,N,>\n"
         "3 size: it is not a whole number, which long wants <2000-01-02,A,1,1.5,N,>\n"
         "4 : the row has 3 fields, and the file 6 columns <2000-01-02,A,1>\n"
         "6 time: there is no such date <2000-02-30,A,x,1,N,>\n"
         "7 size: it lies outside the range of long <2000-01-02,A,1,9223372036854775808,N,>\n"
         "8 ex: it is no char <2000-01-02,A,1,1,NY,>\n"
         "9 time: day and month could stand either way round: set date_format "
         "<01/02/2000,A,1,1,N,>\n"
         "12 price: it lies outside the range of float <2000-01-02,A,1e999,1,N,>\n");
    struct kit k;
    kit_open(&k, &trade, ",\"header\":false");
    k.most = 1;
    const char *two = "x,A,1,1,N,\n2000-01-02,A,1,1,N,\nx,A,1,1,N,\n";
    assert_false(kit_read(&k, two, strlen(two), 0, 0, 0, NULL)); /* the sink said so */
    assert_int_equal(k.err.code, -EILSEQ);
    kit_close(&k);
}

static void test_a_row_without_end(void **state)
{
    (void)state;
    size_t n = TEXT_ROW_MAX + 1000;
    char *text = malloc(n + 100);
    memset(text, 'x', n);
    memcpy(text, "a,b,c\n", 6);
    strcpy(text + n, "\nd,e,f\n");
    struct kit k;
    kit_open(&k, &words, WORDS);
    k.quiet = true;
    struct load_text_facts f;
    assert_true(kit_read(&k, text, strlen(text), 0, 0, 0, &f));
    assert_int_equal(k.nrows, 2);
    assert_int_equal(k.nrejects, 1);
    assert_int_equal(f.lines, 3);
    /* a quote without end: one line of it is bad, the others are read */
    for (size_t i = 6; i + 6 <= n; i += 6)
        memcpy(text + i, "d,e,f\n", 6);
    memcpy(text + 6, "d,\"ef\n", 6);
    text[n - n % 6] = 0;
    assert_true(kit_read(&k, text, strlen(text), 0, 0, 0, &f));
    assert_int_equal(k.nrejects, 1);
    assert_int_equal(k.nrows, strlen(text) / 6 - 1);
    assert_int_equal(f.lines, strlen(text) / 6);
    kit_close(&k);
    free(text);
}

/* Files whose every line has a quote too many cost some times as much as good ones, not thousands
 * of times: each is looked at a few times, not the rest of the file behind it. */
static void test_files_of_stray_quotes(void **state)
{
    static const char *const line[] = {"d,\"x,f\n", "\"d,e,\"\"f\n", "d,\"\"\"x\"\"\",f\n",
                                       "d,\"\"\"e,f\n"};
    enum { BYTES = 2 << 20 };
    char *text = malloc(BYTES + 100);
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(line); i++) {
        struct kit k;
        struct load_text_facts f;
        struct timespec from, to;
        size_t n = 6;
        memcpy(text, "a,b,c\n", 6);
        for (; n < BYTES; n += strlen(line[i]))
            strcpy(text + n, line[i]);
        uint64_t lines = (n - 6) / strlen(line[i]);
        kit_open(&k, &words, WORDS ",\"partial\":true");
        k.quiet = true;
        k.most = UINT64_MAX;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_true(kit_read(&k, text, n, 0, 0, 0, &f));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        assert_int_equal(k.nrows + k.nrejects, lines + 1);
        assert_int_equal(f.lines, lines + 1);
        assert_true(to.tv_sec - from.tv_sec < 3);
        kit_close(&k);
    }
    free(text);
}

/* ---- borders ---- */

static void test_every_cut_gives_the_same(void **state)
{
    (void)state;
    const char *text = "\xEF\xBB\xBF# a comment, \"\n"
                       "time,sym,price,size,ex,cond\r\n"
                       "2024-08-08T09:30:00.123456789,AAPL,191.25,100,Q,\"@ F\"\r\n"
                       "2024-08-08T09:30:00.5Z,\"MS\"\"FT\",402.000000001,-1,N,\"a\r\n\"\"b\"\"\"\n"
                       "bad\n"
                       "\n"
                       "\"2024-08-08 09:30:00\",,\"0.1\",,\"N\",plain \"text\"\n"
                       "2024-08-08T09:30:00,LONGERTHANEIGHT,x,1,N,\n"
                       "1723109400123456789,A,1e3,1e3,\",\",\",\"\n"
                       "2024-08-09T09:30:00,Z,1,1,Z,last";
    size_t n = strlen(text);
    struct kit k, m;
    kit_open(&k, &trade, ",\"comment\":\"#\"");
    kit_open(&m, &trade, ",\"comment\":\"#\"");
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
        if (!load_text_force(isa))
            continue;
        struct load_text_facts want, got;
        assert_true(kit_read(&m, text, n, 0, 0, 0, &want));
        assert_int_equal(m.nrows, 5);
        assert_int_equal(m.nrejects, 2);
        for (size_t cut = 0; cut <= n; cut++)
            for (size_t window = 64; window < 64 + n + 40; window += cut % 7 ? 61 : 7) {
                assert_true(kit_read(&k, text, n, window, cut, 0, &got));
                assert_string_equal(kit_rows(&k), kit_rows(&m));
                assert_string_equal(kit_rejects(&k), kit_rejects(&m));
                assert_memory_equal(&got, &want, sizeof got);
            }
        for (size_t step = 1; step < 70; step++) {
            assert_true(kit_read(&k, text, n, 64, 0, step, &got));
            assert_string_equal(kit_rows(&k), kit_rows(&m));
            assert_string_equal(kit_rejects(&k), kit_rejects(&m));
        }
    }
    kit_close(&k);
    kit_close(&m);
}

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Many blocks: bad rows among good ones, dates that change, texts and constants in each block. */
static void test_many_rows(void **state)
{
    (void)state;
    struct kit k;
    struct kit_text file = {0}, rows = {0}, rejects = {0};
    kit_open(&k, &trade, ",\"constants\":{\"cond\":\"a constant\"},\"nulls\":[\"NA\"]");
    kit_add(&file, "sym,size,time,price,ex\n");
    unsigned line = 1;
    for (unsigned i = 0; i < 40000; i++) {
        char sym[16], size[24];
        int day = (int)(i / 5000 + (rnd() % 50 == 0)), n = (int)(rnd() % 12);
        unsigned what = rnd() % 40, second = rnd() % 86400;
        long long value = (long long)(rnd() >> (8 + rnd() % 56));
        snprintf(sym, sizeof sym, "%.*s%u", n, "ABCDEFGHIJKL", (unsigned)(rnd() % 50));
        snprintf(size, sizeof size, "%lld", value);
        line++;
        kit_add(&file, "%s%s%s,%s,2000-01-%02dT%02u:%02u:%02u%s,%u.5,%s\n", what == 1 ? "\"" : "",
                sym, what == 1 ? "\"" : "", what == 2 ? "NA" : size, day + 1, second / 3600,
                second / 60 % 60, second % 60, what == 3 ? "x" : "", i,
                what == 4   ? "Q,extra"
                : what == 5 ? "\"Q\"q"
                            : "\"Q\"");
        if (what == 3) {
            kit_add(&rejects, "%u time: it is no timestamp <", line);
        } else if (what == 4) {
            kit_add(&rejects, "%u : the row has 6 fields, and the file 5 columns <", line);
        } else if (what == 5) {
            kit_add(&rejects, "%u ex: there is text behind the closing quote <", line);
        } else {
            kit_add(&rows, "%d|%lld|<%s>|%u.5|%s|<Q>|<a constant>\n", day,
                    (day * 86400ll + second) * 1000000000, sym, i, what == 2 ? "." : size);
            continue;
        }
        const char *at = file.p + file.n - 1; /* the line itself */
        while (at[-1] != '\n')
            at--;
        kit_add(&rejects, "%.*s>\n", (int)strcspn(at, "\n"), at);
    }
    for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
        if (!load_text_force(isa))
            continue;
        assert_true(kit_read(&k, file.p, file.n, isa ? 0 : 1000, 0, 70000, NULL));
        assert_string_equal(kit_rows(&k), rows.p);
        assert_string_equal(kit_rejects(&k), rejects.p);
        assert_true(k.blocks > 4);
    }
    free(file.p);
    free(rows.p);
    free(rejects.p);
    kit_close(&k);
}

static void test_random_texts_against_the_reference(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        struct ref_syntax s;
        const char *letters; /* what random texts are made of */
    } cases[] = {
        {WORDS, {",", '"', 0, NULL, 3, false, false}, ",,,\"\"\"\n\nab\r "},
        {WORDS, {",", '"', 0, NULL, 3, false, false}, ",,\n\nabcdefghijkl\""},
        {WORDS ",\"escape\":\"\\\\\"",
         {",", '"', '\\', NULL, 3, false, false},
         ",,,\"\"\\\n\nanrt0\r"},
        {WORDS ",\"comment\":\"#\"", {",", '"', 0, "#", 3, false, false}, ",,,\"##\n\nab\r"},
        {WORDS ",\"comment\":\"#\",\"escape\":\"\\\\\"",
         {",", '"', '\\', "#", 3, false, false},
         ",,,\"#\\\n\na\r"},
        {WORDS ",\"ragged\":true,\"rest\":true",
         {",", '"', 0, NULL, 3, true, true},
         ",,,\"\"\n\nab\r"},
        {WORDS ",\"separator\":\"||\"", {"||", '"', 0, NULL, 3, false, false}, "||||\"\n\nab\r"},
        {WORDS ",\"separator\":\"|\",\"quote\":\"'\"",
         {"|", '\'', 0, NULL, 3, false, false},
         "|||''\n\nab\r\""},
        {WORDS ",\"quote\":\"\"", {",", 0, 0, NULL, 3, true, false}, ",,,\"\n\nab\r"},
    };
    for (unsigned c = 0; c < PST_COUNT(cases); c++) {
        struct kit k;
        kit_open(&k, &words, cases[c].members);
        if (cases[c].s.ragged && !cases[c].s.rest)
            k.recipe->ragged = true;
        for (unsigned i = 0; i < 1500; i++) {
            char text[600];
            size_t letters = strlen(cases[c].letters), n = rnd() % (i % 10 ? 100 : sizeof text);
            for (size_t j = 0; j < n; j++) /* mostly runs, so that rows become whole */
                text[j] = cases[c].letters[rnd() % letters];
            if (i % 3 == 0) /* and well-formed stretches */
                for (size_t j = 0; j + 12 < n; j += 12 + rnd() % 9) {
                    char row[13];
                    snprintf(row, sizeof row, "\n\"a\"%s1%sz\n   ", cases[c].s.separator,
                             cases[c].s.separator);
                    memcpy(text + j, row, strcspn(row + 1, "\n") + 2);
                }
            struct ref want;
            ref_read(&want, &cases[c].s, ROW, text, n);
            for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
                if (!load_text_force(isa))
                    continue;
                size_t window = rnd() % 3 ? 64 + rnd() % 300 : 0, step = rnd() % 2 ? rnd() % 80 : 0;
                if (!kit_read(&k, text, n, window, 0, step, NULL))
                    fail_msg("%s", k.err.text);
                const char *rows = want.rows.p ? want.rows.p : "";
                const char *rejects = want.rejects.p ? want.rejects.p : "";
                if (strcmp(kit_rows(&k), rows) || strcmp(kit_rejects(&k), rejects)) {
                    struct kit_text t = {0};
                    kit_bytes(&t, text, n);
                    fail_msg("case %u text %s\nwant:\n%s%s\ngot:\n%s%s", c, t.p, rows, rejects,
                             kit_rows(&k), kit_rejects(&k));
                }
            }
            ref_close(&want);
        }
        kit_close(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trades),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_a_quote_that_never_closes),
        cmocka_unit_test(test_separators),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_recipes_without_a_file),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_dates_of_rows),
        cmocka_unit_test(test_bad_rows_stand_in_order),
        cmocka_unit_test(test_files_of_stray_quotes),
        cmocka_unit_test(test_a_row_without_end),
        cmocka_unit_test(test_every_cut_gives_the_same),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_random_texts_against_the_reference),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
