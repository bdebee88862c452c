/* SPDX-License-Identifier: Apache-2.0 */
/* tzone against the C library, against the standard's examples, and against damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <core/civil.h>
#include <core/tzone.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const char *const zones[] = {"America/New_York",    "Europe/London",     "Asia/Kolkata",
                                    "Australia/Lord_Howe", "America/Sao_Paulo", "UTC",
                                    "Africa/Casablanca",   "Europe/Dublin",     "Pacific/Apia",
                                    "America/Nuuk",        "Asia/Gaza"};

static int64_t seconds(int y, int m, int d, int h, int mi, int s)
{
    return civil_days(y, m, d) * PST_DAY_S + PST_EPOCH_OFFSET_S + h * 3600 + mi * 60 + s;
}

static struct tzone *must_load(const char *name)
{
    struct err e = {0};
    struct tzone *z = tzone_load(name, &e);
    if (!z) {
        fail_msg("%s", e.text);
    }
    return z;
}

static long libc_offset(int64_t t)
{
    time_t tt = (time_t)t;
    struct tm tm;
    assert_non_null(localtime_r(&tt, &tm));
    return tm.tm_gmtoff;
}

static void use_libc_zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

static void test_civil_round_trip(void **state)
{
    (void)state;
    int32_t want = civil_days(1899, 12, 31);
    char text[CIVIL_TEXT];
    for (int y = 1900; y <= 2179; y++) {
        for (int m = 1; m <= 12; m++) {
            for (int d = 1; d <= civil_month_days(y, m); d++) {
                int y2, m2, d2;
                int32_t parsed, days = civil_days(y, m, d);
                assert_int_equal(days, ++want);
                civil_date(days, &y2, &m2, &d2);
                assert_true(y2 == y && m2 == m && d2 == d);
                assert_true(civil_parse(civil_format(days, text), &parsed) && parsed == days);
                assert_true(civil_parse(civil_format_iso(days, text), &parsed) && parsed == days);
            }
        }
    }
    assert_int_equal(civil_days(2000, 1, 1), 0);
    assert_int_equal(civil_days(1970, 1, 1) * PST_DAY_S, -PST_EPOCH_OFFSET_S);
    assert_int_equal(civil_weekday(civil_days(2026, 8, 24)), CIVIL_MON);
    assert_int_equal(civil_weekday(civil_days(1999, 12, 31)), CIVIL_FRI);
    assert_int_equal(civil_day_of(-1), -1);
    char stamp[CIVIL_STAMP_TEXT];
    assert_string_equal(civil_format_stamp(-1, stamp), "1999.12.31D23:59:59.999999999");
}

static void test_civil_parse(void **state)
{
    (void)state;
    static const char *const good[] = {"2026.02.28", "2026-02-28", "2026/02/28", "20260228"};
    static const char *const bad[] = {"",           "2026",        "2026.02.29", "2026.13.01",
                                      "2026.00.01", "2026-02.28",  "2026-2-28",  "2026022",
                                      "202602281",  "2026.02.28 ", "2026.02.00", "x026.02.28"};
    int32_t day, s;
    for (size_t i = 0; i < PST_COUNT(good); i++) {
        assert_true(civil_parse(good[i], &day));
        assert_int_equal(day, civil_days(2026, 2, 28));
    }
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        assert_false(civil_parse(bad[i], &day));
    }
    assert_true(civil_parse_time("09:30", &s) && s == 34200);
    assert_true(civil_parse_time("24:00", &s) && s == 86400);
    assert_true(civil_parse_time("23:59:59", &s) && s == 86399);
    static const char *const bad_times[] = {"9:30", "24:01",  "12:60", "12:00:60",
                                            "12",   "12:00x", ""};
    for (size_t i = 0; i < PST_COUNT(bad_times); i++) {
        assert_false(civil_parse_time(bad_times[i], &s));
    }
}

static void test_twenty_years_like_libc(void **state)
{
    (void)state;
    for (size_t i = 0; i < PST_COUNT(zones); i++) {
        struct tzone *z = must_load(zones[i]);
        int64_t from = seconds(2015, 1, 1, 0, 0, 0), to = seconds(2046, 1, 1, 0, 0, 0);
        use_libc_zone(zones[i]);
        for (int64_t t = from; t < to; t += 5 * 3600 + 17) {
            assert_int_equal(tzone_offset(z, t), libc_offset(t));
        }
        int changes = 0;
        for (int64_t t = tzone_next_change(z, from); t < to; t = tzone_next_change(z, t)) {
            assert_int_equal(tzone_offset(z, t - 1), libc_offset(t - 1));
            assert_int_equal(tzone_offset(z, t), libc_offset(t));
            assert_int_not_equal(tzone_offset(z, t), tzone_offset(z, t - 1));
            changes++;
        }
        if (i < 2) {
            assert_int_equal(changes, 62); /* none is missed: two a year */
        }
        tzone_free(z);
    }
}

/* Every zone that is installed, from 1970 far past the last transition of any file. */
static int zones_seen;
static size_t root_length;
static int compare_zone(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    const char *name = path + root_length;
    char magic[4] = {0};
    if (type != FTW_F || strncmp(name, "right/", 6) == 0 || strncmp(name, "posix/", 6) == 0 ||
        strchr(name, '.')) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof magic);
    close(fd);
    if (n != 4 || memcmp(magic, "TZif", 4) != 0) {
        return 0;
    }
    struct tzone *z = must_load(name);
    use_libc_zone(name);
    for (int64_t t = 86400; t < seconds(2150, 1, 1, 0, 0, 0); t += 19 * 86400 + 4567) {
        if (tzone_offset(z, t) != libc_offset(t)) {
            fail_msg("%s at %lld: %d, the C library says %ld", name, (long long)t,
                     tzone_offset(z, t), libc_offset(t));
        }
    }
    tzone_free(z);
    zones_seen++;
    return 0;
}

static void test_every_zone_like_libc(void **state)
{
    (void)state;
    const char *root = "/usr/share/zoneinfo/";
    root_length = strlen(root);
    char base[64];
    snprintf(base, sizeof base, "%.*s", (int)root_length - 1, root);
    assert_int_equal(nftw(base, compare_zone, 16, FTW_PHYS), 0);
    assert_true(zones_seen > 200);
}

static void test_beyond_the_table(void **state)
{
    (void)state;
    struct tzone *z = must_load("America/New_York");
    use_libc_zone("America/New_York");
    for (int y = 2380; y < 2920; y += 1) {
        for (int m = 1; m <= 12; m++) {
            int64_t t = seconds(y, m, 15, 3, 0, 0);
            assert_int_equal(tzone_offset(z, t), libc_offset(t));
            assert_int_equal(tzone_to_utc(z, t + tzone_offset(z, t)), t);
        }
    }
    tzone_free(z);
}

static void test_to_utc(void **state)
{
    (void)state;
    struct tzone *z = must_load("America/New_York");
    /* 2026-03-08 02:30 is skipped: it means 03:30 EDT. 2026-11-01 01:30 occurs twice: the first. */
    assert_int_equal(tzone_to_utc(z, seconds(2026, 3, 8, 2, 30, 0)), seconds(2026, 3, 8, 7, 30, 0));
    assert_int_equal(tzone_to_utc(z, seconds(2026, 3, 8, 1, 59, 59)),
                     seconds(2026, 3, 8, 6, 59, 59));
    assert_int_equal(tzone_to_utc(z, seconds(2026, 3, 8, 3, 0, 0)), seconds(2026, 3, 8, 7, 0, 0));
    assert_int_equal(tzone_to_utc(z, seconds(2026, 11, 1, 1, 30, 0)),
                     seconds(2026, 11, 1, 5, 30, 0));
    assert_int_equal(tzone_to_utc(z, seconds(2026, 11, 1, 2, 0, 0)), seconds(2026, 11, 1, 7, 0, 0));
    tzone_free(z);
    for (size_t i = 0; i < PST_COUNT(zones); i++) {
        z = must_load(zones[i]);
        for (int64_t t = seconds(2010, 1, 1, 0, 0, 0); t < seconds(2040, 1, 1, 0, 0, 0);
             t += 1801) {
            int32_t off = tzone_offset(z, t);
            int64_t back = tzone_to_utc(z, t + off);
            /* The same instant, or an earlier one with the same reading. */
            assert_true(back <= t);
            assert_int_equal(back + tzone_offset(z, back), t + off);
        }
        tzone_free(z);
    }
}

static size_t image(uint8_t *out, int version, const char *footer)
{
    /* Two types (0 and 3600), one transition at 1000; v1 block empty but for one type. */
    size_t n = 0;
    for (int block = 0; block < (version >= 2 ? 2 : 1); block++) {
        bool real = block == (version >= 2);
        unsigned width = block ? 8 : 4;
        memset(out + n, 0, 44);
        memcpy(out + n, "TZif", 4);
        out[n + 4] = version >= 2 ? (uint8_t)('0' + version) : 0;
        out[n + 35] = real;
        out[n + 39] = real ? 2 : 1;
        out[n + 43] = 4;
        n += 44;
        if (real) {
            memset(out + n, 0, width);
            put16(out + n + width - 2, __builtin_bswap16(1000));
            n += width;
            out[n++] = 1;
        }
        memset(out + n, 0, 16);
        n += 6;
        if (real) {
            put16(out + n + 2, __builtin_bswap16(3600));
            n += 6;
        }
        memcpy(out + n, "ABC", 4);
        n += 4;
    }
    if (version >= 2) {
        n += (size_t)sprintf((char *)out + n, "\n%s\n", footer);
    }
    return n;
}

static void test_versions_and_footers(void **state)
{
    (void)state;
    uint8_t data[512];
    struct err e;
    for (int version = 1; version <= 4; version++) {
        size_t n = image(data, version, "ABC-1");
        struct tzone *z = tzone_parse("test", data, n, &e);
        assert_non_null(z);
        assert_int_equal(tzone_offset(z, 999), 0);
        assert_int_equal(tzone_offset(z, 1000), 3600);
        assert_int_equal(tzone_offset(z, 1LL << 40), 3600);
        tzone_free(z);
    }
    /* Summer time all year (RFC 8536's example), rules by day of the year, negative rule times. */
    static const struct {
        const char *footer;
        int month, day, hour; /* of 2030, UTC */
        int32_t off;
    } cases[] = {{"XXX3EDT4,0/0,J365/23", 7, 1, 0, -4 * 3600},
                 {"XXX3EDT4,0/0,J365/23", 1, 1, 4, -4 * 3600},
                 {"XXX3EDT4,0/0,J365/23", 12, 31, 23, -4 * 3600},
                 {"AAA0BBB,J60/0,J61/0", 3, 1, 12, 3600}, /* J60 is 1 March, leap year or not */
                 {"AAA0BBB,J60/0,J61/0", 2, 28, 12, 0},
                 {"AAA0BBB,59/0,60/0", 3, 1, 12, 3600}, /* 59 counts from 0 */
                 {"<+02>-2<+03>,M3.4.4/50,M10.4.4/50", 3, 29, 23, 2 * 3600},
                 {"<+02>-2<+03>,M3.4.4/50,M10.4.4/50", 3, 30, 1, 3 * 3600},
                 {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 3, 31, 0, -2 * 3600},
                 {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 3, 31, 2, -3600}};
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        size_t n = image(data, 3, cases[i].footer);
        struct tzone *z = tzone_parse("test", data, n, &e);
        assert_non_null(z);
        for (int cycle = 0; cycle <= 800; cycle += 400) { /* leap years repeat every 400 years */
            int64_t t = seconds(2030 + cycle, cases[i].month, cases[i].day, cases[i].hour, 0, 0);
            if (tzone_offset(z, t) != cases[i].off) {
                fail_msg("%s: case %zu, year %d: %d", cases[i].footer, i, 2030 + cycle,
                         tzone_offset(z, t));
            }
        }
        tzone_free(z);
    }
    static const char *const bad[] = {"A1",
                                      "AB",
                                      "ABC",
                                      "ABC25",
                                      "ABC1DEF",
                                      "ABC1DEF,M3",
                                      "ABC1DEF,M13.1.0,M1.1.0",
                                      "ABC1DEF,366,1",
                                      "<AB",
                                      "ABC1DEF,M3.2.0,M11.1.0x",
                                      "ABC1DEF,M3.2.0/168,M11.1.0"};
    for (size_t i = 0; i < PST_COUNT(bad); i++) {
        size_t n = image(data, 2, bad[i]);
        assert_null(tzone_parse("test", data, n, &e));
        assert_non_null(strstr(e.text, "footer"));
    }
}

/* Every prefix and every single-byte change of a real file, ending at a page that faults. */
static void test_damage_never_reads_past_the_end(void **state)
{
    (void)state;
    long page = sysconf(_SC_PAGESIZE);
    uint8_t file[8192];
    FILE *f = fopen("/usr/share/zoneinfo/America/New_York", "rb");
    assert_non_null(f);
    size_t n = fread(file, 1, sizeof file, f);
    fclose(f);
    assert_true(n > 200 && n < sizeof file);
    uint8_t *map =
        mmap(NULL, (size_t)page * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map + 3 * page, (size_t)page, PROT_NONE), 0);
    struct err e;
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *p = map + 3 * page - cut;
        memcpy(p, file, cut);
        assert_null(tzone_parse("cut", p, cut, &e));
    }
    uint32_t seed = 1;
    for (int i = 0; i < 4000; i++) {
        uint8_t *p = map + 3 * page - n;
        memcpy(p, file, n);
        for (int k = 0; k < 1 + i % 3; k++) {
            seed = seed * 1664525 + 1013904223;
            p[(seed >> 8) % (i % 2 ? n : 120)] = (uint8_t)(seed >> 24);
        }
        struct tzone *z = tzone_parse("bits", p, n, &e);
        if (z) {
            (void)tzone_to_utc(z, 1700000000);
            tzone_free(z);
        }
    }
    munmap(map, (size_t)page * 4);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } cases[] = {{"", "not a zone name"},
                 {"../../etc/passwd", "not a zone name"},
                 {"/etc/passwd", "not a zone name"},
                 {"Europe//London", "not a zone name"},
                 {"Europe/", "not a zone name"},
                 {"./UTC", "not a zone name"},
                 {"Europe/Lodnon", "install tzdata"},
                 {"Europe", "not a zone file"},
                 {"Europe/London/x", "install tzdata"}};
    struct err e;
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        e.text[0] = 0;
        assert_null(tzone_load(cases[i].name, &e));
        assert_non_null(strstr(e.text, cases[i].says));
        assert_null(strchr(e.text, '\n'));
    }
    setenv("TZDIR", "/nonexistent", 1);
    assert_null(tzone_load("Europe/London", &e));
    assert_non_null(strstr(e.text, "install tzdata"));
    struct tzone *utc = tzone_load("UTC", &e); /* needs no file */
    assert_non_null(utc);
    assert_int_equal(tzone_offset(utc, 1700000000), 0);
    assert_string_equal(tzone_name(utc), "UTC");
    tzone_free(utc);
    unsetenv("TZDIR");
}

/* Nanoseconds since 2000 as clocks show them; infinities stay. */
static void test_shown(void **state)
{
    (void)state;
    struct err e;
    struct tzone *z = tzone_load("America/New_York", &e);
    assert_non_null(z);
    struct time_shown s = {.zone = z, .offset = 1800 * PST_SECOND_NS}, plain = {0};
    const int64_t noon = 9820 * PST_DAY_NS + 43200 * PST_SECOND_NS; /* 2026.11.20D12:00 */
    assert_int_equal(time_shown(&s, noon), noon - 4 * 3600 * PST_SECOND_NS - 1800 * PST_SECOND_NS);
    const int64_t july = 9678 * PST_DAY_NS + 1; /* 2026.07.01 */
    assert_int_equal(time_shown(&s, july), july - 3 * 3600 * PST_SECOND_NS - 1800 * PST_SECOND_NS);
    assert_int_equal(time_shown(&s, -1), -1 - 4 * 3600 * PST_SECOND_NS - 1800 * PST_SECOND_NS);
    const int64_t ends[] = {INT64_MIN, INT64_MAX, -INT64_MAX, INT64_MAX - 1, INT64_MIN + 2};
    for (unsigned i = 0; i < PST_COUNT(ends); i++) {
        struct time_shown far = {.offset = i & 1 ? INT64_MAX : INT64_MIN + 1};
        (void)time_shown(&far, ends[i]);
        assert_int_equal(time_shown(&plain, ends[i]), ends[i]);
        assert_int_equal(time_shown(NULL, ends[i]), ends[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(time_shown(&s, ends[i]), ends[i]);
    tzone_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_civil_round_trip),
        cmocka_unit_test(test_civil_parse),
        cmocka_unit_test(test_twenty_years_like_libc),
        cmocka_unit_test(test_every_zone_like_libc),
        cmocka_unit_test(test_beyond_the_table),
        cmocka_unit_test(test_to_utc),
        cmocka_unit_test(test_versions_and_footers),
        cmocka_unit_test(test_damage_never_reads_past_the_end),
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
