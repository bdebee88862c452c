/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sym file's appender: identity and map, a foreign file, other writers, torn tails, a kill at
 * every step, failures, backups.
 */
#include "hdb_kit.h"
#include "hdb_sym.h"
#include "mortal_io.h"
#include "support/data.h"
#include "support/kdbread.h"
#include <sys/stat.h>
#include <sys/wait.h>

static struct err err;

/* ---- a source of texts: id -> "S<id>", some lost ---- */

static const char *text_of(const void *arg, uint32_t id, uint32_t *len)
{
    static char buf[32];
    const int *lost = arg;
    if (lost && (int)id == *lost) {
        *len = 0;
        return NULL;
    }
    *len = (uint32_t)snprintf(buf, sizeof buf, "S%u", id);
    return buf;
}

static void names_are(unsigned n, const char *const *want)
{
    struct kdbread_list l;
    char why[300];
    if (!kdbread_names(hk_path("sym"), &l, why))
        fail_msg("%s", why);
    assert_int_equal(l.n, n);
    for (unsigned i = 0; i < n; i++)
        if (want)
            assert_string_equal(l.text[i], want[i]);
        else {
            char t[32];
            snprintf(t, sizeof t, "S%u", i);
            assert_string_equal(l.text[i], t);
        }
    kdbread_names_free(&l);
}

static void identity(void **state)
{
    (void)state;
    struct hdb_sym s;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    assert_int_equal(s.count, 0);
    names_are(0, NULL);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 10000, &err));
    assert_true(s.identity);
    assert_null(s.map);
    names_are(10000, NULL);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 10000, &err));
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 10003, &err));
    names_are(10003, NULL);
    assert_int_equal(hdb_sym_index(&s, 10002), 10002);
    assert_true(hdb_sym_index(&s, PST_NULL_SYMBOL) == PST_NULL_LONG);
    size_t n;
    uint8_t *b = hk_read(hk_path("sym"), &n);
    assert_int_equal(le32(b + 4), 10003); /* the advisory count is kept true */
    free(b);
    hdb_sym_close(&s);
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err)); /* the next start */
    assert_int_equal(s.count, 10003);
    assert_int_equal(s.cut, 0);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 10005, &err));
    assert_true(s.identity);
    names_are(10005, NULL);
    hdb_sym_close(&s);
}

static void foreign(void **state)
{
    (void)state;
    static const char *const old[] = {"IBM", "S1", "S0", "S1"}; /* S1 twice: the first counts */
    static const char *const want[] = {"IBM", "S1", "S0", "S1", "S2", "S4"};
    int lost = 3;
    struct hdb_sym s;
    HK_OK(kdb_write_symbols(hk_io, hk_path("sym"), old, 4, false, &err));
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    HK_OK(hdb_sym_extend(&s, text_of, &lost, 2, &err));
    assert_false(s.identity);
    assert_int_equal(hdb_sym_index(&s, 0), 2);
    assert_int_equal(hdb_sym_index(&s, 1), 1);
    HK_OK(hdb_sym_extend(&s, text_of, &lost, 5, &err));
    names_are(6, want);
    assert_int_equal(hdb_sym_index(&s, 2), 4);
    assert_true(hdb_sym_index(&s, 3) == PST_NULL_LONG); /* its text was lost */
    assert_int_equal(hdb_sym_index(&s, 4), 5);
    uint32_t len;
    assert_memory_equal(hdb_sym_text(&s, 5, &len), "S4", 2);
    assert_null(hdb_sym_text(&s, 6, &len));
    assert_int_equal(hdb_sym_find(&s, "IBM", 3), 0);
    assert_int_equal(hdb_sym_find(&s, "AMD", 3), -1);
    assert_int_equal(hdb_sym_add(&s, "AMD", 3, &err), 6);
    assert_int_equal(hdb_sym_add(&s, "AMD", 3, &err), 6);
    assert_int_equal(hdb_sym_add(&s, "S0", 2, &err), 2);
    assert_true(hdb_sym_add(&s, "", 0, &err) == PST_NULL_LONG);
    assert_int_equal(hdb_sym_add(&s, "A\0B", 3, &err), -1);
    hdb_sym_close(&s);
}

/* A real q file, its count stale (F5): 10 declared, 16 there. */
static void real_file(void **state)
{
    (void)state;
    DATA_OR_SKIP("a sym file written by kdb+");
    size_t n;
    uint8_t *b = hk_read(data_path("kdb/hdb-2021/sym"), &n);
    hk_write(hk_path("sym"), b, n);
    free(b);
    struct hdb_sym s;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    assert_int_equal(s.count, 16);
    assert_int_equal(hdb_sym_find(&s, "GETGO", 5), 12);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 3, &err));
    assert_int_equal(hdb_sym_index(&s, 0), 16);
    hdb_sym_close(&s);
}

/* q appends while we have the file open: its names keep their place, ours follow. */
static void other_writer(void **state)
{
    (void)state;
    static const char *const want[] = {"S0", "S1", "Q", "S3", "S2"};
    struct hdb_sym s;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 2, &err));
    FILE *f = fopen(hk_path("sym"), "ab");
    fwrite("Q\0S3\0", 1, 5, f);
    fclose(f);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 4, &err));
    names_are(5, want);
    assert_int_equal(hdb_sym_index(&s, 2), 4);
    assert_int_equal(hdb_sym_index(&s, 3), 3);
    hdb_sym_close(&s);
}

/* q's lock is respected: we wait, then give up with a sentence; and go on when it is released. */
/* The file is replaced under its appender: by an older one, by none, by a stranger, and cut. */
static void replaced(void **state)
{
    (void)state;
    struct hdb_sym s;
    char old[400];
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 100, &err));
    snprintf(old, sizeof old, "cp %s %s.old", hk_path("sym"), hk_path("sym"));
    assert_int_equal(system(old), 0);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 200, &err));
    snprintf(old, sizeof old, "mv %s.old %s", hk_path("sym"), hk_path("sym"));
    assert_int_equal(system(old), 0);
    names_are(100, NULL);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 200, &err)); /* nothing new, and still */
    names_are(200, NULL);
    assert_int_equal(unlink(hk_path("sym")), 0);
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 210, &err));
    names_are(210, NULL);
    assert_int_equal(s.count, 210);
    /* cut in place: an index that stands in partitions would become another name's */
    struct stat st;
    assert_int_equal(stat(hk_path("sym"), &st), 0);
    assert_int_equal(truncate(hk_path("sym"), st.st_size - 4), 0);
    assert_false(hdb_sym_extend(&s, text_of, NULL, 210, &err));
    assert_non_null(strstr(err.text, "has lost names"));
    assert_int_equal(unlink(hk_path("sym")), 0);
    struct hdb_sym other;
    HK_OK(hdb_sym_open(&other, hk_io, hk_dir, &err));
    assert_true(hdb_sym_add(&other, "STRANGER", 8, &err) == 0);
    hdb_sym_close(&other);
    assert_false(hdb_sym_extend(&s, text_of, NULL, 211, &err));
    assert_non_null(strstr(err.text, "other names"));
    const char *one[] = {"STRANGER"};
    names_are(1, one);
    hdb_sym_close(&s);
}

static void locked(void **state)
{
    (void)state;
    struct hdb_sym s;
    int ready[2], go[2];
    char c = 0;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t pid = fork();
    if (!pid) {
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(hk_path("sym"), O_RDWR);
        if (fcntl(fd, F_SETLK, &l) || write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    s.lock_ns = 50 * 1000000;
    assert_false(hdb_sym_extend(&s, text_of, NULL, 2, &err));
    assert_int_equal(err.code, -EWOULDBLOCK);
    char want[40];
    snprintf(want, sizeof want, "locked by process %d", (int)pid);
    assert_non_null(strstr(err.text, want));
    assert_int_equal(s.mapped, 0);
    assert_int_equal(write(go[1], "x", 1), 1);
    s.lock_ns = HDB_SYM_LOCK_NS;
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 2, &err));
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    hdb_sym_close(&s);
    close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
}

static void torn_tails(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        size_t n, keeps, cut;
    } t[] = {
        {"S2", 2, 2, 2},           /* a name without its end */
        {"S2\0S", 4, 3, 1},        /* one whole, one not */
        {"\0\0\0\0\0\0", 6, 2, 6}, /* grown, never written */
        {"S2\0\0\0\0", 6, 3, 3},   /* the same, later */
        {"S2\0\0\0\0x", 7, 3, 4},  /* and a name without its end behind it */
        {"S2\0", 3, 3, 0},         /* whole */
        {"S2\0\0", 4, 4, 0},       /* one empty name: a null that q enumerated */
    };
    for (unsigned i = 0; i < PST_COUNT(t); i++) {
        static const char *const two[] = {"S0", "S1"};
        struct hdb_sym s;
        HK_OK(kdb_write_symbols(hk_io, hk_path("sym"), two, 2, false, &err));
        FILE *f = fopen(hk_path("sym"), "ab");
        fwrite(t[i].tail, 1, t[i].n, f);
        fclose(f);
        HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
        assert_int_equal(s.count, t[i].keeps);
        assert_int_equal(s.cut, t[i].cut);
        HK_OK(hdb_sym_extend(&s, text_of, NULL, 4, &err));
        assert_int_equal(hdb_sym_find(&s, "S3", 2), s.count - 1);
        hdb_sym_close(&s);
        HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
        assert_int_equal(s.cut, 0);
        assert_true(hdb_sym_find(&s, "S2", 2) >= 0);
        hdb_sym_close(&s);
    }
    hk_write(hk_path("sym"), "\xff\x01\x0b", 3); /* killed while it was created */
    struct hdb_sym s;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 3, &err));
    names_are(3, NULL);
    hdb_sym_close(&s);
    hk_write(hk_path("sym"), "no symbols at all", 17);
    assert_false(hdb_sym_open(&s, hk_io, hk_dir, &err));
    assert_int_equal(err.code, -EBADMSG);
}

/* Killed before each operation: the next start finds whole names only, and goes on. */
static void killed(void **state)
{
    (void)state;
    bool finished = false;
    for (unsigned n = 1; !finished; n++) {
        struct hdb_sym s;
        struct mortal_io m;
        struct io *io = mortal_make(&m, hk_io, 0);
        unlink(hk_path("sym"));
        HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
        HK_OK(hdb_sym_extend(&s, text_of, NULL, 5, &err));
        hdb_sym_close(&s);
        m.die_at = n;
        finished = hdb_sym_open(&s, io, hk_dir, &err) &&
                   hdb_sym_extend(&s, text_of, NULL, 9, &err) && hdb_sym_backup(&s, 9823, &err);
        hdb_sym_close(&s);
        HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
        assert_true(s.count == 5 || s.count == 9);
        HK_OK(hdb_sym_extend(&s, text_of, NULL, 12, &err));
        assert_true(s.identity);
        names_are(12, NULL);
        hdb_sym_close(&s);
        assert_true(n < 40);
    }
}

/* One failing operation (disk full, I/O error) is an error, not damage: the same object goes on. */
static void failing(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 8; n++) {
        struct hdb_sym s;
        struct mortal_io m;
        struct io *io = mortal_make(&m, hk_io, 0);
        unlink(hk_path("sym"));
        HK_OK(hdb_sym_open(&s, io, hk_dir, &err));
        HK_OK(hdb_sym_extend(&s, text_of, NULL, 5, &err));
        m = (struct mortal_io){m.io, m.real, 0, n, true, -ENOSPC, m.ops};
        if (!hdb_sym_extend(&s, text_of, NULL, 9, &err)) {
            assert_int_equal(err.code, -ENOSPC);
            assert_int_equal(s.mapped, 5);
            assert_int_equal(s.count, 5);
        }
        HK_OK(hdb_sym_extend(&s, text_of, NULL, 9, &err));
        assert_true(s.identity);
        names_are(9, NULL);
        hdb_sym_close(&s);
    }
}

static void backups(void **state)
{
    (void)state;
    struct hdb_sym s;
    HK_OK(hdb_sym_open(&s, hk_io, hk_dir, &err));
    HK_OK(hdb_sym_extend(&s, text_of, NULL, 5, &err));
    for (int i = 0; i < (int)HDB_SYM_BACKUPS + 5; i++)
        HK_OK(hdb_sym_backup(&s, 9823 + i, &err));
    assert_false(hk_there(hk_path("pst$/sym.2026.11.27")));
    assert_true(hk_there(hk_path("pst$/sym.2026.11.28")));
    size_t a, b;
    uint8_t *x = hk_read(hk_path("sym"), &a), *y = hk_read(hk_path("pst$/sym.2026.11.28"), &b);
    assert_int_equal(a, b);
    assert_memory_equal(x, y, a);
    free(x);
    free(y);
    hdb_sym_close(&s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, hk_setup, hk_teardown)
    const struct CMUnitTest tests[] = {
        T(identity), T(foreign),    T(real_file), T(other_writer), T(replaced),
        T(locked),   T(torn_tails), T(killed),    T(failing),      T(backups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
