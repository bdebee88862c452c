/* SPDX-License-Identifier: Apache-2.0 */
/* test_users.c - the users file: every rule, every error with its line; passwords; networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "scram.h"
#include "users.h"

#define V                                                                                          \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static struct users_load *load;
static struct err err;

static bool parse(const char *text)
{
    users_load_free(load);
    load = NULL;
    memset(&err, 0, sizeof err);
    return users_parse("u.yaml", text, strlen(text), &load, &err);
}
#define load_free()                                                                                \
    do {                                                                                           \
        users_load_free(load);                                                                     \
        load = NULL;                                                                               \
    } while (0)

static const struct user *user(const char *name)
{
    for (unsigned i = 0; i < users_load_count(load); i++)
        if (!strcmp(users_load_at(load, i)->name, name))
            return users_load_at(load, i);
    return NULL;
}

/* ---- passwords --------------------------------------------------------------------------------
 */

static void hmac(const uint8_t *key, const char *text, uint8_t out[32])
{
    unsigned n;
    assert_non_null(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), out, &n));
}

/* RFC 7677, section 3: user "user", password "pencil". Its proof and its server signature are made
 * from the keys that our verifier holds. */
static void test_rfc_7677(void **state)
{
    static const char message[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    uint8_t salt[32], proof[64], signature[32], client[32], key[32], text[64];
    char out[SCRAM_TEXT], why[200];
    struct scram s;
    unsigned n;
    (void)state;
    assert_int_equal(EVP_DecodeBlock(salt, (const uint8_t *)"W22ZaJ0SNY7soEsUEjb6gQ==", 24), 18);
    assert_true(scram_make_salted("pencil", 6, salt, 16, 4096, out, &err));
    assert_string_equal(out, V);
    assert_true(scram_parse(out, &s, why, sizeof why));
    hmac(s.server, message, signature);
    EVP_EncodeBlock(text, signature, 32);
    assert_string_equal((char *)text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_int_equal(
        EVP_DecodeBlock(proof, (const uint8_t *)"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", 44),
        33);
    hmac(s.stored, message, signature);
    for (int i = 0; i < 32; i++)
        client[i] = proof[i] ^ signature[i];
    assert_int_equal(EVP_Digest(client, 32, key, &n, EVP_sha256(), NULL), 1);
    assert_memory_equal(key, s.stored, 32);
}

static void test_check(void **state)
{
    struct scram s;
    char why[200], long_one[SCRAM_PASSWORD_MAX + 2];
    (void)state;
    assert_true(scram_parse(V, &s, why, sizeof why));
    assert_true(scram_check(&s, "pencil", 6, 4096));
    assert_true(scram_check(&s, "pencil", 6, 8192));
    assert_false(scram_check(&s, "pencil", 5, 4096));
    assert_false(scram_check(&s, "Pencil", 6, 4096));
    assert_false(scram_check(&s, "", 0, 4096));
    assert_false(scram_check(&s, "pencil\0", 7, 4096));
    assert_false(scram_check(NULL, "pencil", 6, 4096));
    assert_false(scram_check(NULL, "", 0, 0));
    memset(long_one, 'x', sizeof long_one);
    assert_false(scram_check(&s, long_one, sizeof long_one, 4096));
    /* what is longer than any password is not cut to one */
    char out[SCRAM_TEXT];
    assert_true(scram_make(long_one, SCRAM_PASSWORD_MAX, 4096, out, &err));
    assert_true(scram_parse(out, &s, why, sizeof why));
    assert_true(scram_check(&s, long_one, SCRAM_PASSWORD_MAX, 4096));
    assert_false(scram_check(&s, long_one, SCRAM_PASSWORD_MAX + 1, 4096));
    assert_false(scram_make(long_one, SCRAM_PASSWORD_MAX + 1, 4096, out, &err));
    assert_false(scram_make("", 0, 4096, out, &err));
    /* two of the same password differ: the salt is new */
    char again[SCRAM_TEXT];
    assert_true(scram_make("pencil", 6, 4096, out, &err));
    assert_true(scram_make("pencil", 6, 4096, again, &err));
    assert_string_not_equal(out, again);
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Unknown users and cheaper verifiers cost what the dearest one costs. */
static void test_cost(void **state)
{
    struct scram s;
    char why[200];
    int64_t known = INT64_MAX, unknown = INT64_MAX, dear = INT64_MAX;
    (void)state;
    assert_true(scram_parse(V, &s, why, sizeof why));
    for (int i = 0; i < 7; i++) { /* the least of seven: what nothing disturbed */
        int64_t a = cpu_ns();
        scram_check(&s, "pencil", 6, 40960);
        int64_t b = cpu_ns();
        scram_check(NULL, "pencil", 6, 40960);
        int64_t c = cpu_ns();
        scram_check(&s, "pencil", 6, 4096);
        int64_t d = cpu_ns();
        known = b - a < known ? b - a : known;
        unknown = c - b < unknown ? c - b : unknown;
        dear = d - c < dear ? d - c : dear;
    }
    assert_true(known > unknown / 2 && known < unknown * 2);
    assert_true(known > dear * 4);
}

static void test_verifiers(void **state)
{
    static const char *const bad[] = {
        "",
        "md5abcdef",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
        "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4000000000:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4q=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        V "=",
        V ":",
        "SCRAM-SHA-256$4096:AAA=$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    };
    struct scram s;
    char why[200];
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        why[0] = 0;
        if (scram_parse(bad[i], &s, why, sizeof why) || !*why)
            fail_msg("%u: %s", i, bad[i]);
    }
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static struct address at(const char *ip)
{
    struct network n;
    struct address a = {.port = 1};
    assert_true(network_parse(ip, &n));
    memcpy(a.ip, n.ip, 16);
    return a;
}

static void test_networks(void **state)
{
    static const struct {
        const char *network, *address;
        bool in;
    } cases[] = {
        {"10.1.0.0/16", "10.1.255.255", true},
        {"10.1.0.0/16", "10.2.0.0", false},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.2", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "1.2.3.4", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.1.2.128/25", "10.1.2.127", false},
        {"10.1.2.128/25", "10.1.2.129", true},
    };
    static const char *const bad[] = {
        "",          "10.1.2.3/16", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/-1",  "10.1.0.0/016",
        "300.1.1.1", "localhost",   "10.1",        "::1/129",   "10.1.0.0/16 ", "10.1.0.0/1x"};
    struct network n;
    char text[ADDRESS_TEXT];
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        struct address a = at(cases[i].address);
        assert_true(network_parse(cases[i].network, &n));
        if (network_has(&n, &a) != cases[i].in)
            fail_msg("%s in %s", cases[i].address, cases[i].network);
    }
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        if (network_parse(bad[i], &n))
            fail_msg("%s was taken", bad[i]);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5010)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(5010)};
    struct address a;
    in.sin_addr.s_addr = htonl(0x7F000001);
    assert_true(address_from(&a, (struct sockaddr *)&in) && address_loopback(&a));
    assert_string_equal(address_text(&a, text), "127.0.0.1:5010");
    in6.sin6_addr.s6_addr[15] = 1;
    assert_true(address_from(&a, (struct sockaddr *)&in6) && address_loopback(&a));
    assert_string_equal(address_text(&a, text), "[::1]:5010");
    in6.sin6_addr.s6_addr[0] = 0x20;
    assert_true(address_from(&a, (struct sockaddr *)&in6) && !address_loopback(&a));
    in.sin_addr.s_addr = htonl(0x0A000001);
    assert_true(address_from(&a, (struct sockaddr *)&in) && !address_loopback(&a));
    address_local(&a, 1000, 77);
    assert_true(address_loopback(&a));
    assert_string_equal(address_text(&a, text), "uid 1000 pid 77");
    assert_true(network_parse("::/0", &n) &&
                !network_has(&n, &a)); /* the unix socket is no network */
    assert_string_equal(network_text(&n, text), "::/0");
    assert_true(network_parse("10.1.0.0/16", &n));
    assert_string_equal(network_text(&n, text), "10.1.0.0/16");
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static void test_rules(void **state)
{
    (void)state;
    if (!parse("groups:\n"
               "  readers: {tables: [trade, quote], rows: 1M, timeout: 10s, marks: {eoi: false}}\n"
               "  books: {tables: [book, quote], timeout: 20s, networks: [10.0.0.0/8]}\n"
               "  desk:\n"
               "    groups: [readers, books]\n"
               "    publish: orders\n"
               "    policy: catchup\n"
               "users:\n"
               "  alice: {scram: \"" V "\", groups: [desk], calls: none, marks: {eod: false}}\n"
               "  bob:\n"
               "    scram: " V "\n"
               "    tables: all\n"
               "    publish: [a, b, a]\n"
               "    rows: 10\n"
               "    bytes: 1M\n"
               "    timeout: 1s\n"
               "    policy: skip\n"
               "    durable_only: true\n"
               "    partial: true\n"
               "    streams: 5\n"
               "    sql: false\n"
               "    groups: desk\n"
               "    networks: 127.0.0.1\n"
               "  carol: {scram: " V "}\n"))
        fail_msg("%s", err.text);
    assert_int_equal(users_load_count(load), 3);
    const struct user *a = user("alice"), *b = user("bob"), *c = user("carol");
    assert_true(user_may_read(a, "trade") && user_may_read(a, "quote") && user_may_read(a, "book"));
    assert_false(user_may_read(a, "orders") || user_may_read(a, "trad") || user_may_read(a, ""));
    assert_int_equal(a->tables.count, 3);
    assert_true(user_may_publish(a, "orders") && !user_may_publish(a, "trade"));
    assert_false(user_may_call(a, "vwap"));
    assert_int_equal(a->rows, 1000000);
    assert_int_equal(a->timeout, 10000000000ll); /* the first group that says */
    assert_int_equal(a->policy, USER_CATCHUP);
    assert_true(!a->marks_eod && !a->marks_eoi && a->marks_buffer);
    assert_int_equal(a->n_networks, 1);
    struct address near = at("127.0.0.1"), far = at("10.9.9.9");
    assert_true(user_may_come(a, &far) && !user_may_come(a, &near));
    assert_true(user_may_come(b, &near) && !user_may_come(b, &far));
    assert_true(b->tables.all && user_may_read(b, "anything"));
    assert_true(user_may_publish(b, "a") && user_may_publish(b, "b") &&
                user_may_publish(b, "orders"));
    assert_int_equal(b->publish.count, 3);
    assert_true(b->rows == 10 && b->bytes == 1 << 20 && b->timeout == 1000000000);
    assert_true(b->policy == USER_SKIP && b->durable_only && b->partial && !b->sql &&
                b->streams == 5);
    assert_false(user_may_read(c, "trade") || user_may_publish(c, "trade"));
    assert_true(user_may_call(c, "vwap") && c->sql && !c->partial && c->streams == USER_STREAMS &&
                c->policy == USER_POLICY_UNSET);
    assert_true(user_may_come(c, &far) && c->rows == 0 && c->timeout == 0);
    size_t l1, c1, l2, c2;
    assert_true(users_load_scram_at(load, "bob", &l1, &c1, &l2, &c2));
    assert_true(l1 == 10 && c1 == 11 && l2 == 10 && c2 == 11 + strlen(V));
    assert_false(users_load_scram_at(load, "bo", &l1, &c1, &l2, &c2));
    assert_true(parse("") && users_load_count(load) == 0);
    assert_true(parse("users:\ngroups:\n") && users_load_count(load) == 0);
    load_free();
}

/* No verifier, but another program's word. */
static void test_external(void **state)
{
    (void)state;
    assert_true(parse("users:\n  a: {scram: external, tables: [t]}\n  b: {scram: \"" V "\"}\n"));
    assert_true(user("a")->external && !user("b")->external);
    assert_true(user_may_read(user("a"), "t"));
    assert_false(parse("users: {a: {scram: External}}\n"));
    load_free();
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"user: {}\n", "u.yaml:1: user: unknown key; users and groups are known here"},
        {"- a\n", "u.yaml:1: write `users:` and, if wanted, `groups:`"},
        {"users: {a: {scram: " V "}}\nusers: {}\n", "u.yaml:2: users: is given twice; remove one"},
        {"users:\n  a: {scram: " V "}\n  b: {scram: " V "}\n  a: {scram: " V "}\n",
         "u.yaml:4: users: a is already there in line 2; remove one"},
        {"users:\n  a: {tables: all}\n",
         "u.yaml:2: users.a: scram is missing; penstock user passwd a makes one"},
        {"users:\n  a: x\n", "u.yaml:2: users.a: write its keys, one a line, as `key: value`"},
        {"users:\n  a:\n    scram: " V "\n    table: all\n",
         "u.yaml:4: users.a.table: unknown key; did you mean tables?"},
        {"users:\n  a:\n    scram: " V "\n    zzzzzz: all\n",
         "u.yaml:4: users.a.zzzzzz: unknown key; remove it, or see penstock user help"},
        {"users:\n  a: {scram: plain}\n", "u.yaml:2: users.a.scram: is no SCRAM-SHA-256 verifier; "
                                          "make one with: penstock user passwd a"},
        {"groups:\n  g: {scram: " V "}\n",
         "u.yaml:2: groups.g.scram: a group has no password; give one to each user"},
        {"users:\n  a: {scram: " V ", rows: 0}\n",
         "u.yaml:2: users.a.rows: 0 is out of range; 1 ... 1G is allowed"},
        {"users:\n  a: {scram: " V ", timeout: 5}\n",
         "u.yaml:2: users.a.timeout: \"5\" is not a duration; write a number and us, ms, s, m or "
         "h, such as 1.5s"},
        {"users:\n  a: {scram: " V ", policy: drop}\n",
         "u.yaml:2: users.a.policy: \"drop\" is not one of disconnect, catchup, conflate, skip"},
        {"users:\n  a: {scram: " V ", tables: [all]}\n",
         "u.yaml:2: users.a.tables: all stands alone: write all, without [ ]"},
        {"users:\n  a: {scram: " V ", tables: {x: y}}\n",
         "u.yaml:2: users.a.tables: is a mapping; write all, none or a list such as [a, b]"},
        {"users:\n  a: {scram: " V ", tables: }\n",
         "u.yaml:2: users.a.tables: has no value; write all, none or a list such as [a, b]"},
        {"users:\n  a: {scram: " V ", networks: [10.1.2.3/16]}\n",
         "u.yaml:2: users.a.networks: \"10.1.2.3/16\" is no network; write e.g. 10.1.0.0/16, "
         "10.1.2.3 or 2001:db8::/32, with no bits set beyond the length"},
        {"users:\n  a: {scram: " V ", networks: []}\n",
         "u.yaml:2: users.a.networks: write a list of 1 to 256 networks such as [10.1.0.0/16]"},
        {"users:\n  a: {scram: " V ", marks: {eof: true}}\n",
         "u.yaml:2: users.a.marks: there is no mark \"eof\"; eod, eoi and buffer are known"},
        {"users:\n  a: {scram: " V ", marks: {eod: perhaps}}\n",
         "u.yaml:2: users.a.marks: eod: \"perhaps\" is neither true nor false"},
        {"users:\n  a: {scram: " V ", groups: [readrs]}\ngroups:\n  readers: {}\n",
         "u.yaml:2: users.a.groups: there is no group readrs; did you mean readers?"},
        {"groups:\n  a: {groups: b}\n  b: {groups: c}\n  c: {groups: a}\n",
         "u.yaml:2: groups: a contains itself, through its groups; break the circle"},
        {"users:\n  'a:b': {scram: " V "}\n", "u.yaml:2: the name \"a:b\" has a colon, or a blank "
                                              "at its end; clients send name:password"},
        {"users:\n  \"a\\nb\": {scram: " V "}\n",
         "u.yaml:2: users: has a control character or line break; remove it"},
        {"users:\n  a: &x {scram: " V "}\n",
         "u.yaml:2: an anchor (&name) is not supported; write the value itself"},
        {"users: [\n", NULL},
        {"users:\n  a: {scram: " V ", sql: true, sql: true}\n",
         "u.yaml:2: users.a.sql: is given twice; remove one"},
    };
    (void)state;
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        if (parse(cases[i].text))
            fail_msg("taken: %s", cases[i].text);
        if (cases[i].error && strcmp(err.text, cases[i].error))
            fail_msg("%s\nis\n%s", cases[i].error, err.text);
        assert_null(strchr(err.text, '\n'));
    }
}

/* Seventeen levels, and a net in which every group names every later one. */
static void test_nesting(void **state)
{
    char text[200000];
    size_t n = (size_t)sprintf(text, "groups:\n");
    (void)state;
    for (int i = 0; i < USERS_DEPTH; i++) {
        n += (size_t)sprintf(text + n, "  g%02d: {tables: [t%d], groups: [", i, i);
        for (int k = i + 1; k < USERS_DEPTH; k++)
            n += (size_t)sprintf(text + n, "%sg%02d", k > i + 1 ? "," : "", k);
        n += (size_t)sprintf(text + n, "]}\n");
    }
    sprintf(text + n, "users: {a: {scram: " V ", groups: g00}}\n");
    if (!parse(text))
        fail_msg("%s", err.text);
    assert_int_equal(user("a")->tables.count, USERS_DEPTH);
    sprintf(text + n, "  top: {groups: g00}\n");
    assert_false(parse(text));
    assert_non_null(strstr(err.text, "top has more than 16 levels"));
    load_free();
}

/* ---- the holder -------------------------------------------------------------------------------
 */

static char path[100];

static void write_file(const char *text, mode_t mode)
{
    char tmp[120];
    snprintf(tmp, sizeof tmp, "%s.new", path);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(tmp, mode), 0);
    assert_int_equal(rename(tmp, path), 0);
}

static void test_holder(void **state)
{
    struct users *u;
    char problem[500], why[160];
    struct address from = at("10.1.1.1");
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_users.%d", (int)getpid());
    write_file("users: {a: {scram: " V ", tables: [x]}, b: {scram: " V "}}\n", 0600);
    assert_non_null(u = users_open(path, &err));
    users_problem(u, problem);
    assert_string_equal(problem, "");
    assert_int_equal(users_count(u), 2);
    uint64_t generation = users_generation(u);
    const struct user *a = users_find(u, "a", 1), *b = users_find(u, "b", 1);
    assert_true(a && b && user_may_read(a, "x"));
    assert_null(users_find(u, "c", 1));
    assert_null(users_find(u, "a\0b", 3));
    assert_null(users_find(u, "", 0));
    users_look(u); /* nothing has changed */
    assert_ptr_equal(users_again(u, a, &from, why), a);
    write_file("users: {a: {scram: " V ", tables: [x]}, b: {scram: " V "}, c: {scram: " V "}}\n",
               0600);
    users_look(u);
    assert_int_equal(users_generation(u), ++generation);
    assert_ptr_equal(users_again(u, a, &from, why), a); /* somebody else is new */
    assert_int_equal(users_generation(u), generation);

    write_file("users: {a: {scram: " V ", tables: [y]}}\n", 0640);
    users_look(u);
    assert_int_equal(users_generation(u), generation + 1);
    assert_true(user_may_read(a, "x")); /* held ones are what they were */
    a = users_again(u, a, &from, why);
    assert_true(a && user_may_read(a, "y") && !user_may_read(a, "x"));
    assert_null(users_again(u, b, &from, why));
    user_release(b);
    assert_string_equal(why, "the user was removed");

    /* what is not sound changes nothing, and is said; so is who may read the file */
    static const struct {
        const char *text;
        mode_t mode;
        const char *why;
    } bad[] = {{"users: {a: {}}\n", 0600, "scram is missing"},
               {"users: {}\n", 0644, "is open to everyone (mode 644)"},
               {"users: {}\n", 0620, "can be changed by others"}};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        write_file(bad[i].text, bad[i].mode);
        users_look(u);
        users_problem(u, problem);
        if (!strstr(problem, bad[i].why))
            fail_msg("%s: %s", bad[i].why, problem);
        assert_false(users_reload(u, &err));
        assert_int_equal(users_generation(u), generation + 1);
        assert_int_equal(users_count(u), 1);
    }
    unlink(path);
    users_look(u);
    users_problem(u, problem);
    assert_non_null(strstr(problem, "No such file"));
    assert_int_equal(users_count(u), 1);

    char other[SCRAM_TEXT], text[600];
    assert_true(scram_make("brush", 5, 4096, other, &err));
    snprintf(text, sizeof text, "users: {a: {scram: \"%s\"}}\n", other);
    write_file(text, 0600);
    users_look(u);
    users_problem(u, problem);
    assert_string_equal(problem, "");
    assert_null(users_again(u, a, &from, why));
    assert_string_equal(why, "the user has another password now");
    user_release(a);
    a = users_find(u, "a", 1);
    snprintf(text, sizeof text, "users: {a: {scram: \"%s\", networks: 127.0.0.1}}\n", other);
    write_file(text, 0600);
    assert_true(users_reload(u, &err));
    assert_null(users_again(u, a, &from, why));
    user_release(a);
    assert_string_equal(why, "the user may no longer come from 10.1.1.1:1");
    users_close(u);
    unlink(path);

    /* a start with a bad file lets nobody in */
    assert_non_null(u = users_open("/nowhere/users.yaml", &err));
    users_problem(u, problem);
    assert_non_null(strstr(problem, "/nowhere/users.yaml"));
    assert_null(users_find(u, "", 0));
    assert_false(users_open_to_all(u));
    users_close(u);
    /* without a file everyone is the same user, with every right */
    assert_non_null(u = users_open(NULL, &err));
    assert_true(users_open_to_all(u));
    a = users_find(u, "whoever", 7);
    assert_true(a && user_may_publish(a, "t") && user_may_read(a, "t") && !*a->name);
    assert_ptr_equal(users_again(u, a, &from, why), a);
    users_close(u);
    assert_true(user_may_read(a, "t")); /* held beyond its holder */
    user_release(a);
    const struct user *l = user_local(1000, false);
    assert_true(user_may_read(l, "t") && !user_may_publish(l, "t"));
    assert_string_equal(l->name, "uid 1000");
    user_release(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_7677), cmocka_unit_test(test_check),
        cmocka_unit_test(test_cost),     cmocka_unit_test(test_verifiers),
        cmocka_unit_test(test_networks), cmocka_unit_test(test_rules),
        cmocka_unit_test(test_external), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_nesting),  cmocka_unit_test(test_holder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
