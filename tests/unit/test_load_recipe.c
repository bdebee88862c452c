/* SPDX-License-Identifier: Apache-2.0 */
/* test_load_recipe.c - recipes: what each member does, what is refused and with which words, names
 * of files against patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "load/recipe.h"

#define TRADE                                                                                      \
    "{\"id\":9,\"table\":\"trade\",\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],"          \
    "[\"sym\",\"symbol\"],[\"price\",\"float\"],[\"size\",\"long\"],[\"ex\",\"symbol\"]],"         \
    "\"keys\":[]}"
#define GAP                                                                                        \
    "{\"id\":10,\"table\":\"gap\",\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],"           \
    "[\"sym\",\"symbol\"]],\"keys\":[]}"

static struct load_recipe *parse(const char *members, struct err *err)
{
    char text[4000];
    snprintf(text, sizeof text, "{\"name\":\"r\",\"schemas\":[" TRADE "," GAP "]%s%s}",
             *members ? "," : "", members);
    return load_recipe_parse(text, strlen(text), err);
}

static struct load_recipe *sound(const char *members)
{
    struct err err = {0};
    struct load_recipe *r = parse(members, &err);
    if (!r)
        fail_msg("%s: %s", members, err.text);
    return r;
}

static void test_members(void **state)
{
    (void)state;
    struct load_recipe *r = sound("");
    assert_true(r->format == LOAD_TEXT && r->header == LOAD_HEADER_AUTO && r->quote == '"');
    assert_true(!strcmp(r->separator, ",") && r->date == LOAD_DATE_TIME && !r->nfields);
    assert_true(r->nnulls == 1 && !*r->null[0] && !r->rejects && !r->partial);
    load_recipe_free(r);
    /* YAML gives texts where JSON has numbers and booleans */
    r = sound("\"header\":\"false\",\"skip_lines\":\"2\",\"rejects\":\"10\",\"partial\":\"yes\","
              "\"separator\":\"||\",\"quote\":\"\",\"escape\":\"\\\\\",\"comment\":\"//\","
              "\"decimal\":\",\",\"thousands\":\".\",\"ragged\":\"on\",\"rest\":true,\"trim\":true,"
              "\"nulls\":[\"NA\",\"-\"],\"compression\":\"zstd\"");
    assert_true(r->header == LOAD_HEADER_NO && r->skip_lines == 2 && r->rejects == 10 &&
                r->partial);
    assert_true(r->nseparator == 2 && !r->quote && r->escape == '\\' && r->ncomment == 2);
    assert_true(r->decimal == ',' && r->thousands == '.' && r->ragged && r->rest && r->trim);
    assert_true(r->nnulls == 2 && !strcmp(r->null[1], "-") && r->compression == LOAD_ZSTD);
    load_recipe_free(r);
    r = sound("\"separator\":\"\\\\t\"");
    assert_string_equal(r->separator, "\t");
    load_recipe_free(r);
    r = sound("\"columns\":[\"time\",\"-\",\"sym\",\"day\",\"price\"],\"date\":\"column day\"");
    assert_true(r->nfields == 5 && !r->by_name && r->fields[0].to == 0 && r->fields[1].to == -1);
    assert_true(r->fields[3].date && r->fields[3].to == -1 && r->date == LOAD_DATE_COLUMN);
    load_recipe_free(r);
    r = sound("\"columns\":{\"T\":\"time\",\"D\":\"-\",\"*\":\"-\"},\"date\":\"column D\"");
    assert_true(r->nfields == 2 && r->by_name && r->others && r->fields[1].date);
    load_recipe_free(r);
    r = sound("\"time\":\"epoch_ms\",\"times\":{\"time\":\"%Y%m%d %H:%M:%S\"},"
              "\"zone\":\"America/New_York\",\"date_format\":\"mdy\",\"date\":\"2024-02-29\"");
    assert_true(r->rule[0].time == LOAD_TIME_PATTERN && r->date_format == LOAD_DATE_MDY);
    assert_true(r->date == LOAD_DATE_FIXED && r->day == civil_days(2024, 2, 29));
    assert_string_equal(tzone_name(r->tz), "America/New_York");
    load_recipe_free(r);
    r = sound("\"optional\":[\"*\"],\"constants\":{\"ex\":\"N\",\"size\":7,\"price\":2.5}");
    assert_true(!r->rule[0].optional && !r->rule[1].optional && r->rule[2].optional);
    assert_true(r->rule[4].constant && !strcmp(r->rule[4].value, "N"));
    assert_true(!strcmp(r->rule[3].value, "7") && !strcmp(r->rule[2].value, "2.5"));
    load_recipe_free(r);
    r = sound(
        "\"format\":\"pcap\",\"feed\":\"itch\",\"framing\":\"moldudp64\",\"groups\":[{\"group\":"
        "\"233.54.12.111:26477\",\"source\":\"10.1.2.3\",\"line\":\"A\"},{\"group\":\"any\"}]");
    assert_true(r->ngroups == 2 && r->group[0].group == 0xE9360C6F && r->group[0].port == 26477);
    assert_true(r->group[0].source == 0x0A010203 && !r->group[1].group && !r->group[1].port);
    load_recipe_free(r);
    r = sound("\"format\":\"pcap\",\"feed\":\"f\",\"framing_bytes\":\"00ff10\"");
    assert_true(r->nframing == 3 && r->framing_bytes[1] == 0xff);
    load_recipe_free(r);
}

static void test_scales(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t multiply, divide;
    } all[] = {{"0.0001", 1, 10000},   {"\"0.0001\"", 1, 10000},
               {"100", 100, 1},        {"2.50", 25, 10},
               {"1e-8", 1, 100000000}, {"1e3", 1000, 1},
               {"\"1.5e2\"", 150, 1},  {"-0.5", -5, 10},
               {"0.1", 1, 10},         {"0.000001", 1, 1000000},
               {"1.0", 1, 1},          {"\"25e-2\"", 25, 100},
               {"\"100.000\"", 100, 1}};
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        char text[100];
        snprintf(text, sizeof text, "\"scale\":{\"price\":%s}", all[i].text);
        struct load_recipe *r = sound(text);
        if (r->rule[2].multiply != all[i].multiply || r->rule[2].divide != all[i].divide)
            fail_msg("%s is %lld / %lld", all[i].text, (long long)r->rule[2].multiply,
                     (long long)r->rule[2].divide);
        load_recipe_free(r);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *members, *sentence;
    } all[] = {
        {"\"seperator\":\";\"", "seperator: is unknown"},
        {"\"separator\":\"\"", "separator: must be 1 to 8 bytes"},
        {"\"separator\":\"\\n\"", "separator: must be"},
        {"\"quote\":\"ab\"", "quote: must be one ASCII character"},
        {"\"quote\":\",\"", "quote: is the separator"},
        {"\"decimal\":\",\"", "decimal: is the separator"},
        {"\"thousands\":\",\",\"quote\":\"\"", "thousands: is the separator"},
        {"\"decimal\":\"x\"", "decimal: must be . or ,"},
        {"\"header\":\"maybe\"", "header: must be auto, true or false"},
        {"\"skip_lines\":-1", "skip_lines: must be between 0"},
        {"\"skip_lines\":\"two\"", "skip_lines: must be a whole number"},
        {"\"format\":\"xml\"", "format: must be text, itch50"},
        {"\"compression\":\"rar\"", "compression: must be auto"},
        {"\"table\":\"quote\"", "table: quote is not the first schema"},
        {"\"columns\":[\"time\",\"syn\"]", "columns: syn is no column of table trade"},
        {"\"columns\":[\"time\",\"time\"]", "columns: column time is given twice"},
        {"\"columns\":{\"a\":\"time\",\"b\":\"time\"}", "columns: column time is given twice"},
        {"\"columns\":{\"*\":\"time\"}", "\"*\" can only be passed over"},
        {"\"columns\":{\"a\":\"time\"},\"header\":false", "a mapping goes by the header's names"},
        {"\"columns\":[]", "columns: must be a list"},
        {"\"columns\":[\"time\"],\"date\":\"column d\"", "date: column d is not among columns"},
        {"\"date\":\"sometime\"", "date: must be time, file"},
        {"\"date\":\"2024.02.30\"", "date: must be time"},
        {"\"date\":\"file\"", "date: file needs a file_pattern with {date}"},
        {"\"scale\":{\"sym\":2}", "scale: column sym is no number"},
        {"\"scale\":{\"price\":0}", "scale: 0 of column price is no decimal factor"},
        {"\"scale\":{\"price\":\"1/3\"}", "is no decimal factor"},
        {"\"scale\":{\"prise\":2}", "scale: prise is no column"},
        {"\"times\":{\"sym\":\"iso\"}", "times: column sym is no time"},
        {"\"time\":\"fortnights\"", "time: fortnights is no time format"},
        {"\"zone\":\"Mars/Olympus\"", "zone: "},
        {"\"date_format\":\"dym\"", "date_format: must be dmy, mdy or ymd"},
        {"\"constants\":{\"venue\":\"N\"}", "constants: venue is no column"},
        {"\"optional\":[\"time\"]", "optional: time must be there"},
        {"\"optional\":\"size\"", "optional: must list columns"},
        {"\"nulls\":\"NA\"", "nulls: must be a list"},
        {"\"rejects\":-1", "rejects: must be"},
        {"\"partial\":\"perhaps\"", "partial: must be true or false"},
        {"\"options\":{\"a\":1}", "options: a must be a text"},
        {"\"format\":\"plugin\"", "read: format plugin needs"},
        {"\"format\":\"pcap\",\"feed\":\"f\"", "framing: a capture needs"},
        {"\"format\":\"pcap\",\"framing\":\"cme\"", "feed: is missing"},
        {"\"format\":\"itch50\",\"feed\":\"f\"", "such a file does not say its date"},
        {"\"groups\":[{\"group\":\"1.2.3:5\"}]", "groups: group is wrong"},
        {"\"groups\":[{\"group\":\"1.2.3.4:0\"}]", "has no port"},
        {"\"groups\":[{\"line\":\"A\"}]", "an entry has no group"},
        {"\"groups\":[{\"group\":\"any\",\"lines\":\"A\"}]", "groups: lines is wrong"},
        {"\"framing_bytes\":\"0g\"", "framing_bytes: must be hexadecimal"},
        {"\"file_pattern\":\"{venue}.csv\"", "match: {venue} is no column of table trade"},
        {"\"file_pattern\":\"{sym.csv\"", "match: a { has no }"},
        {"\"eod_s\":86400", "eod_s: must be between"},
    };
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        struct err err = {0};
        struct load_recipe *r = parse(all[i].members, &err);
        if (r || !strstr(err.text, all[i].sentence) || strncmp(err.text, "load.files: r: ", 15))
            fail_msg("%s: %s", all[i].members, r ? "taken" : err.text);
    }
    struct err err;
    assert_null(load_recipe_parse("{", 1, &err));
    assert_null(load_recipe_parse("[]", 2, &err));
    assert_null(load_recipe_parse("{\"name\":\"x\"}", 12, &err));
    assert_non_null(strstr(err.text, "table: is missing"));
}

static void test_files(void **state)
{
    (void)state;
    struct err err = {0};
    const char *with = "\"file_pattern\":\"trades_{sym}_{date}_{i}of{M}.csv*\",\"date\":\"file\"";
    struct load_recipe *r = sound(with);
    assert_true(load_recipe_file(r, "trades_BRK_B_20240805_1of3.csv.gz", &err));
    assert_string_equal(r->rule[1].value, "BRK_B"); /* a date is a date */
    assert_int_equal(r->day, civil_days(2024, 8, 5));
    load_recipe_free(r);
    r = sound("\"file_pattern\":\"{sym}-{date}.csv\",\"date\":\"file\"");
    assert_true(load_recipe_file(r, "IBM-2024-08-05.csv", &err));
    assert_true(r->rule[1].constant && !strcmp(r->rule[1].value, "IBM"));
    assert_int_equal(r->day, civil_days(2024, 8, 5));
    assert_true(load_recipe_file(r, "MSFT-20240806.csv", &err)); /* another file, the same recipe */
    assert_string_equal(r->rule[1].value, "MSFT");
    assert_false(load_recipe_file(r, "IBM.csv", &err));
    assert_non_null(strstr(err.text, "IBM.csv does not match"));
    assert_false(load_recipe_file(r, "IBM-20240230.csv", &err));
    assert_non_null(strstr(err.text, "does not match"));
    load_recipe_free(r);
    r = sound("\"file_pattern\":\"t_{batch}_{sym}.csv\"");
    assert_true(load_recipe_file(r, "t_20240805_IBM.csv", &err));
    assert_string_equal(r->rule[1].value, "IBM");
    load_recipe_free(r);
    static const struct {
        const char *pattern, *name;
        bool matches;
    } all[] = {{"*", "", true},
               {"*", "a", true},
               {"a*b*c", "aXXbYYc", true},
               {"a*b*c", "aXXbYY", false},
               {"?.csv", "a.csv", true},
               {"?.csv", ".csv", false},
               {"a", "a", true},
               {"a", "ab", false},
               {"", "", true},
               {"{x}", "", false},
               {"{x}", "y", true},
               {"{x", "x", false},
               {"*.csv", "a.csv.gz", false},
               {"a{i}of{M}", "a1of3", true}};
    for (unsigned i = 0; i < PST_COUNT(all); i++)
        if (load_pattern_match(all[i].pattern, all[i].name, NULL, NULL) != all[i].matches)
            fail_msg("%s %s", all[i].pattern, all[i].name);
    /* hostile names end soon */
    char name[255];
    memset(name, 'a', sizeof name - 1);
    name[254] = 0;
    assert_false(load_pattern_match("*a*a*a*a*a*a*a*a*a*b", name, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members), cmocka_unit_test(test_scales),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
