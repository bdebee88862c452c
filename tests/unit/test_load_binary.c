/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_binary.c - ITCH files and captures through the loader's read task: the same rows and
 * content hashes as `penstockd --replay` has of the same capture; an ITCH file the same as its
 * messages in packets; two lines, gaps, packing, damage. Takes 5 s: three replays.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "control/load_feed.h"
#include "core/tables.h"
#include "dataplane/decoder.h"
#include "dataplane/pcap_read.h"
#include "load_pack.h"
#include "support/data.h"

static char root[] = "/tmp/penstock-test.binary.XXXXXX";
static const struct load_hooks hooks = {.itch50 = &load_reader_itch50, .pcap = &load_reader_pcap};
static unsigned tasks;

static const char *path_of(const char *name)
{
    static char path[4][300];
    static unsigned k;
    char *p = path[k++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void put(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static struct packed get(const char *path)
{
    struct packed p = {0};
    char buf[65536];
    size_t n;
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    while ((n = fread(buf, 1, sizeof buf, f)))
        pack_add(&p, buf, n);
    fclose(f);
    return p;
}

/* ---- the task ---- */

static void add_schema(json_t *list, const struct schema *s)
{
    struct schema copy = *s;
    copy.id = (uint16_t)(10 + json_array_size(list));
    char *text = schema_to_json(&copy);
    assert_non_null(text);
    json_array_append_new(list, json_loads(text, 0, NULL));
    free(text);
}

static json_t *recipe(const char *format, const char *decoder, const char *more)
{
    json_t *schemas = json_array(), *o;
    const struct decoder_ops *d = decoder_find(decoder);
    struct schema s;
    struct err err = {0};
    for (unsigned i = 0; d && i < d->ntables; i++) {
        assert_true(schema_make(&s, 10, d->tables[i].name, true, d->tables[i].cols,
                                d->tables[i].ncols, &err));
        add_schema(schemas, &s);
    }
    assert_true(tables_gap(&s, &err));
    add_schema(schemas, &s);
    assert_true(tables_undecoded(&s, &err));
    add_schema(schemas, &s);
    o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "name", "test", "format", format, "decoder", decoder,
                  "feed", d ? (!strcmp(decoder, "iex") ? "iex" : "itch") : "b3", "feed_zone",
                  "America/New_York", "schemas", schemas);
    json_t *m = json_loads(more, 0, NULL);
    assert_non_null(m);
    json_object_update(o, m);
    json_decref(m);
    return o;
}

/* Runs a read task; NULL and err when it fails. */
static json_t *run(const char *file, json_t *r, struct err *err)
{
    char dir[300];
    json_t *result = NULL;
    snprintf(dir, sizeof dir, "%s/%u", root, tasks++);
    json_t *args = json_pack("{s:s,s:s,s:o}", "file", file, "dir", dir, "recipe", r);
    bool ok = load_read_run(args, &hooks, NULL, &result, err);
    json_decref(args);
    return ok ? result : NULL;
}

static json_t *sound(const char *file, json_t *r)
{
    struct err err = {0};
    json_t *result = run(file, r, &err);
    if (!result)
        fail_msg("%s", err.text);
    return result;
}

static json_t *part(json_t *result, const char *table)
{
    size_t i;
    json_t *e;
    json_array_foreach(
        json_object_get(result, "written"), i,
        e) if (!strcmp(json_string_value(json_object_get(e, "table")), table)) return e;
    return NULL;
}

static long long number(json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static long long rows_of(json_t *result, const char *table)
{
    json_t *p = part(result, table);
    return p ? number(p, "rows") : 0;
}

/* ---- captures as a replay has them ---- */

static json_t *replay(const char *file, const char *feed, const char *date)
{
    char command[PATH_MAX + 500];
    snprintf(command, sizeof command, "%s --replay %s --feed %s%s%s --json", PST_PENSTOCKD, file,
             feed, *date ? " --date " : "", date);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    json_t *o = json_loadf(f, 0, NULL);
    pclose(f); /* 1: a cut capture */
    assert_true(json_is_object(o));
    return o;
}

/* Every table and day of the replay is in the result with its rows and hash, and nothing else. */
static void compare(const char *file, const char *feed, const char *framing, const char *decoder,
                    const char *more)
{
    char how[300];
    size_t i, tables = 0;
    json_t *e;
    snprintf(how, sizeof how, "{\"framing\":\"%s\",\"partial\":true%s}", framing, more);
    json_t *date = json_loads(how, 0, NULL);
    const char *day = json_string_value(json_object_get(date, "date"));
    json_t *result = sound(file, recipe("pcap", decoder, how)),
           *other = replay(file, feed, day ? day : "");
    json_array_foreach(json_object_get(other, "tables"), i, e)
    {
        const char *table = json_string_value(json_object_get(e, "table"));
        json_t *p = part(result, table);
        if (!p)
            fail_msg("%s: no rows of %s", file, table);
        assert_int_equal(number(p, "rows"), number(e, "rows"));
        assert_string_equal(json_string_value(json_object_get(p, "date")),
                            json_string_value(json_object_get(e, "day")));
        if (strcmp(json_string_value(json_object_get(p, "full")),
                   json_string_value(json_object_get(e, "hash"))))
            fail_msg("%s: %s: hash %s, the replay's %s", file, table,
                     json_string_value(json_object_get(p, "full")),
                     json_string_value(json_object_get(e, "hash")));
        tables++;
    }
    assert_int_equal(tables, json_array_size(json_object_get(result, "written")));
    json_decref(date);
    json_decref(result);
    json_decref(other);
}

static void test_captures(void **state)
{
    static const struct {
        const char *file, *feed, *framing, *decoder, *more;
    } all[] = {{"iex/iex_TOPS16.pcapng.gz", "iex", "iex-tp", "iex", ""},
               {"itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0/Multiple.Packets.pcap", "itch",
                "moldudp64", "itch50", ""}, /* begins in mid-session: gap rows */
               {"b3_umdf_sbe/b3_Instrument.pcap.gz", "b3", "b3", "none", ""}};
    (void)state;
    DATA_OR_SKIP("captures of a loader");
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s", data_path(all[i].file));
        compare(path, all[i].feed, all[i].framing, all[i].decoder, all[i].more);
    }
}

/* ---- captures made here ---- */

static void pcap_head(struct packed *p)
{
    uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1}; /* ns */
    pack_add(p, head, sizeof head);
}

/* One datagram to group 239.1.1.`line`. */
static void pcap_packet(struct packed *p, int64_t time, unsigned line, const uint8_t *payload,
                        uint32_t n)
{
    uint8_t b[42] = {1, 0, 0x5e, 1, 1, (uint8_t)line, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
    int64_t s = civil_floor_div(time, PST_SECOND_NS);
    uint32_t head[4] = {(uint32_t)(s + PST_EPOCH_OFFSET_S), (uint32_t)(time - s * PST_SECOND_NS),
                        42 + n, 42 + n};
    b[16] = (uint8_t)((28 + n) >> 8);
    b[17] = (uint8_t)(28 + n);
    b[22] = 8;
    b[23] = 17;
    memcpy(b + 26, (uint8_t[]){10, 0, 0, (uint8_t)line, 239, 1, 1, (uint8_t)line}, 8);
    b[34] = b[36] = 0x67;
    b[35] = b[37] = 0x6d;
    b[38] = (uint8_t)((8 + n) >> 8);
    b[39] = (uint8_t)(8 + n);
    pack_add(p, head, sizeof head);
    pack_add(p, b, sizeof b);
    pack_add(p, payload, n);
}

#define GROUPS                                                                                     \
    ",\"groups\":[{\"group\":\"239.1.1.1:26477\",\"line\":\"A\"},"                                 \
    "{\"group\":\"239.1.1.2:26477\",\"line\":\"B\"}]"

/* A capture of two lines: what one of them lost the other has; what both lost is a gap. */
static void test_lines(void **state)
{
    struct packed out = {0};
    struct pcap_packet k;
    struct err err = {0};
    unsigned n = 0;
    (void)state;
    DATA_OR_SKIP("a capture of two lines");
    struct pcap_reader *in = pcap_read_open(data_path("iex/iex_TOPS16.pcapng.gz"), &err);
    assert_non_null(in);
    pcap_head(&out);
    while (pcap_read_next(in, &k, &err) == 1) {
        const uint8_t *payload = k.data + 42;
        uint32_t len = be16(k.data + 38) - 8u;
        n++;
        bool both = n % 4000 == 0; /* lost on both */
        if (n % 7 && !both)
            pcap_packet(&out, k.time, 1, payload, len);
        if (n % 5 && !both)
            pcap_packet(&out, k.time + 2000, 2, payload, len);
        else if (n % 7 == 0 && !both)
            pcap_packet(&out, k.time + 3000, 2, payload, len);
        if (n % 11 == 0)
            pcap_packet(&out, k.time, 9, payload, len); /* nobody's group */
    }
    pcap_read_close(in);
    put("two.pcap", out.at, out.n);
    json_t *r =
        sound(path_of("two.pcap"), recipe("pcap", "iex", "{\"framing\":\"iex-tp\"" GROUPS "}"));
    long long lost = number(r, "lost");
    assert_true(lost > 0 && number(r, "gaps") > 0 && number(r, "duplicates") > 1000);
    assert_int_equal(number(r, "rows"), 57674 - lost + number(r, "gaps"));
    assert_int_equal(rows_of(r, "gap"), number(r, "gaps"));
    assert_int_equal(number(r, "other"), n / 11);
    json_decref(r);
    /* packed, by every packer, it is the same */
    json_t *plain =
        sound(path_of("two.pcap"), recipe("pcap", "iex", "{\"framing\":\"iex-tp\"" GROUPS "}"));
    static void (*const packs[])(struct packed *, const void *, size_t) = {pack_gzip, pack_zstd,
                                                                           pack_lz4};
    for (unsigned i = 0; i < PST_COUNT(packs); i++) {
        struct packed file = {0};
        packs[i](&file, out.at, out.n);
        put("two.packed", file.at, file.n);
        json_t *o = sound(path_of("two.packed"),
                          recipe("pcap", "iex", "{\"framing\":\"iex-tp\"" GROUPS "}"));
        assert_true(json_equal(json_object_get(o, "written"), json_object_get(plain, "written")));
        assert_int_equal(number(o, "unpacked"), out.n);
        json_decref(o);
        free(file.at);
    }
    json_decref(plain);
    /* cut short: refused; with partial as far as it goes */
    put("cut.pcap", out.at, out.n - 10);
    assert_null(run(path_of("cut.pcap"),
                    recipe("pcap", "iex", "{\"framing\":\"iex-tp\"" GROUPS "}"), &err));
    assert_int_equal(err.code, -ENODATA);
    r = sound(path_of("cut.pcap"),
              recipe("pcap", "iex", "{\"framing\":\"iex-tp\",\"partial\":true" GROUPS "}"));
    json_decref(r);
    /* a record whose length makes no sense */
    memset(out.at + out.n / 2, 0xff, 64);
    put("bad.pcap", out.at, out.n);
    assert_null(run(path_of("bad.pcap"),
                    recipe("pcap", "iex", "{\"framing\":\"iex-tp\",\"partial\":true" GROUPS "}"),
                    &err));
    assert_int_equal(err.code, -EBADMSG);
    put("text.pcap", "time,sym\n1,2\n", 13);
    assert_null(run(path_of("text.pcap"), recipe("pcap", "iex", "{\"framing\":\"iex-tp\"}"), &err));
    assert_non_null(strstr(err.text, "not a capture"));
    free(out.at);
}

/* ---- ITCH files ---- */

static struct packed itch_file(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", data_path("itch50/itch_runk_locate13_10k.bin"));
    return get(path);
}

#define ITCH_DATE "\"date\":\"2020.01.30\""

/* The texts behind a column of codes. */
static struct packed texts(unsigned task, const char *table, const char *column)
{
    char path[400];
    struct packed out = {0};
    snprintf(path, sizeof path, "%s/%u/symbols", root, task);
    struct packed s = get(path);
    snprintf(path, sizeof path, "%s/%u/2020.01.30/%s/%s", root, task, table, column);
    struct packed codes = get(path);
    for (size_t i = 0; i + 4 <= codes.n; i += 4) {
        const char *t = (const char *)s.at;
        uint32_t k = le32(codes.at + i);
        for (uint32_t c = 1; c < k; c++)
            t += strlen(t) + 1;
        pack_add(&out, k ? t : "", k ? strlen(t) + 1 : 1);
    }
    free(s.at);
    free(codes.at);
    return out;
}

/* 10,000 messages from a file, and the same in MoldUDP64 packets of a capture: what is not a fact
 * of the packet is equal, value for value. */
static void test_itch(void **state)
{
    struct packed out = {0}, packet = {0};
    size_t messages = 0, compared = 0;
    (void)state;
    DATA_OR_SKIP("an ITCH file");
    struct packed file = itch_file();
    unsigned a = tasks;
    put("a.itch", file.at, file.n);
    json_t *r =
        sound(path_of("a.itch"), recipe("itch50", "itch50", "{" ITCH_DATE ",\"session\":\"S\"}"));
    assert_int_equal(number(r, "rows"), 10000);
    assert_int_equal(number(r, "messages"), 10000);
    assert_int_equal(number(r, "undecoded"), 0);
    /* P; A D E U X F of the manifest */
    assert_int_equal(rows_of(r, "itch_trade"), 240);
    assert_int_equal(rows_of(r, "itch_order"), 4758 + 4083 + 849 + 7 + 6 + 2);
    pcap_head(&out);
    for (size_t at = 0; at < file.n;) {
        uint64_t first = __builtin_bswap64(messages + 1);
        uint16_t count = 0;
        size_t from = at;
        for (; at < file.n && count < 20; count++)
            at += 2u + be16(file.at + at);
        packet.n = 0;
        pack_add(&packet, "000000000S", 10);
        pack_add(&packet, &first, 8);
        uint16_t be = __builtin_bswap16(count);
        pack_add(&packet, &be, 2);
        pack_add(&packet, file.at + from, at - from);
        pcap_packet(&out, 634000000ll * PST_SECOND_NS + (int64_t)messages * 1000, 1, packet.at,
                    (uint32_t)packet.n);
        messages += count;
    }
    put("a.pcap", out.at, out.n);
    unsigned b = tasks;
    json_t *o = sound(path_of("a.pcap"),
                      recipe("pcap", "itch50", "{\"framing\":\"moldudp64\"," ITCH_DATE "}"));
    assert_int_equal(json_array_size(json_object_get(r, "written")),
                     json_array_size(json_object_get(o, "written")));
    size_t i, c;
    json_t *e, *column;
    json_array_foreach(json_object_get(r, "written"), i, e)
    {
        const char *table = json_string_value(json_object_get(e, "table"));
        assert_int_equal(number(e, "rows"), rows_of(o, table));
        json_array_foreach(json_object_get(e, "columns"), c, column)
        {
            const char *name = json_string_value(json_array_get(column, 0)),
                       *type = json_string_value(json_array_get(column, 1));
            char path[400];
            if (!strcmp(name, "rxtime") || !strcmp(name, "session") || !strcmp(name, "line"))
                continue;
            struct packed x, y;
            if (!strcmp(type, "symbol")) {
                x = texts(a, table, name);
                y = texts(b, table, name);
            } else {
                snprintf(path, sizeof path, "%s/%u/2020.01.30/%s/%s", root, a, table, name);
                x = get(path);
                snprintf(path, sizeof path, "%s/%u/2020.01.30/%s/%s", root, b, table, name);
                y = get(path);
            }
            if (x.n != y.n || memcmp(x.at, y.at, x.n))
                fail_msg("%s.%s differs", table, name);
            compared++;
            free(x.at);
            free(y.at);
        }
    }
    assert_true(compared > 30);
    json_decref(r);
    json_decref(o);
    free(file.at);
    free(out.at);
    free(packet.at);
}

/* Cut in a message: refused, with the message's number. With its end of session: whole, and nothing
 * may follow. Unknown and short messages are rows of undecoded. */
static void test_itch_damage(void **state)
{
    struct err err = {0};
    (void)state;
    DATA_OR_SKIP("a damaged ITCH file");
    struct packed file = itch_file();
    size_t cut[] = {1, 2, 3, 40, 41, 100, file.n - 1, file.n - 36};
    for (unsigned i = 0; i < PST_COUNT(cut); i++) {
        size_t at = 0;
        while (at < cut[i])
            at += 2u + be16(file.at + at);
        put("cut.itch", file.at, cut[i]);
        json_t *r = run(path_of("cut.itch"), recipe("itch50", "itch50", "{" ITCH_DATE "}"), &err);
        assert_true((r != NULL) == (at == cut[i]));
        if (!r) {
            assert_int_equal(err.code, -ENODATA);
            assert_non_null(strstr(err.text, "cut short: message"));
        }
        json_decref(r);
    }
    struct packed odd = {0};
    pack_add(&odd, file.at, 41);    /* a directory message */
    pack_add(&odd, "\0\3~ab", 5);   /* unknown */
    pack_add(&odd, "\0\5A1234", 7); /* short */
    pack_add(&odd, "\0\0", 2);      /* the end */
    put("odd.itch", odd.at, odd.n);
    json_t *r = sound(path_of("odd.itch"), recipe("itch50", "itch50", "{" ITCH_DATE "}"));
    assert_int_equal(number(r, "rows"), 3);
    assert_int_equal(rows_of(r, "undecoded"), 2);
    assert_true(json_is_true(json_object_get(r, "ended")));
    json_decref(r);
    pack_add(&odd, "\0\3~ab", 5);
    put("odd.itch", odd.at, odd.n);
    assert_null(run(path_of("odd.itch"), recipe("itch50", "itch50", "{" ITCH_DATE "}"), &err));
    assert_int_equal(err.code, -EBADMSG);
    /* such a file does not say its date */
    assert_null(run(path_of("odd.itch"), recipe("itch50", "itch50", "{}"), &err));
    assert_non_null(strstr(err.text, "date"));
    put("empty.itch", "", 0);
    r = sound(path_of("empty.itch"), recipe("itch50", "itch50", "{" ITCH_DATE "}"));
    assert_int_equal(number(r, "rows"), 0);
    json_decref(r);
    free(odd.at);
    free(file.at);
}

/* ---- a file that somebody changes while it is read ---- */

static void *changing_open(const struct load_reader_config *c, struct err *err)
{
    (void)err;
    return (void *)(uintptr_t)c->path;
}
static bool changing_feed(void *path, const uint8_t *bytes, size_t n, bool last, size_t *used,
                          struct err *err)
{
    (void)bytes;
    (void)last;
    *used = n;
    if (strstr(path, "cut"))
        assert_int_equal(truncate(path, 3), 0);
    else if (strstr(path, "gone"))
        assert_int_equal(unlink(path), 0);
    return err_set(err, -EILSEQ, "a row is bad");
}
static void changing_close(void *path)
{
    (void)path;
}

/* What is wrong with what was there is not told of what is there now, which is looked at again. */
static void test_changed_meanwhile(void **state)
{
    (void)state;
    static const struct load_reader reader = {
        .name = "itch50", .open = changing_open, .feed = changing_feed, .close = changing_close};
    static const struct load_hooks changing = {.itch50 = &reader};
    static const struct {
        const char *name, *word;
        int code;
    } all[] = {{"same", "a row is bad", -EILSEQ},
               {"cut", "it was changed while it was read (3 bytes now)", -EBUSY},
               {"gone", "it is gone", -ENOENT}};
    for (unsigned i = 0; i < PST_COUNT(all); i++) {
        struct err err = {0};
        json_t *result = NULL;
        put(all[i].name, "0123456789", 10);
        json_t *args =
            json_pack("{s:s,s:s,s:o}", "file", path_of(all[i].name), "dir", path_of("never"),
                      "recipe", recipe("itch50", "itch50", "{" ITCH_DATE "}"));
        assert_false(load_read_run(args, &changing, NULL, &result, &err));
        json_decref(args);
        assert_int_equal(err.code, all[i].code);
        if (!strstr(err.text, all[i].word))
            fail_msg("%s: %s", all[i].name, err.text);
    }
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captures), cmocka_unit_test(test_lines), cmocka_unit_test(test_itch),
        cmocka_unit_test(test_itch_damage), cmocka_unit_test(test_changed_meanwhile)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
