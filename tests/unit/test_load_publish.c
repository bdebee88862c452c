/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publication of two tables of two dates that dies before any of its operations on the disk, and
 * one whose disk refuses any of them once: all four are old, or all are new - before the intent
 * nothing, behind it everything once whoever takes the lock next has cleaned up - and doing it
 * again says that it is in.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "batch_kit.h"
#include "core/crc.h"
#include "mortal_io.h"

static const struct column_def columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}, {"text", PST_STRING}};
static const char *const names[] = {"one", "two"};
#define TABLES  4 /* of the batch: both of two dates */
#define DATE(i) (LK_DAY + (i) / 2)
#define NAME(i) (names[(i) % 2])

struct rig {
    struct kit t;
    const struct schema *s[3];
    struct load_move move;
    struct load_move_table table[TABLES];
    char keep[100];
    struct hash128 old[TABLES], new[TABLES];
    bool fresh;       /* the first date is new; the second one always is */
    bool no_exchange; /* the filesystem cannot */
};

static void rows(struct rig *r, unsigned file)
{
    struct wk *k = &r->t.k;
    uint32_t from = k->rows;
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t n = 0; n < 60; n++)
            wk_row(k, r->s[i], (uint32_t)(wk_next(k) % 20), (int64_t)(file * 7 + n) * 1000);
        wk_frame(k, FRAME_DATA, LK_DAY);
    }
    kit_file(&r->t, from, k->rows);
}

static const char *dir_of(struct rig *r, int i)
{
    static char dir[300];
    char day[CIVIL_TEXT];
    snprintf(dir, sizeof dir, "%s/%s/%s", r->t.root, civil_format(DATE(i), day), NAME(i));
    return dir;
}

static bool there(struct rig *r, int32_t date, const char *table)
{
    char path[300], day[CIVIL_TEXT];
    snprintf(path, sizeof path, "%s/%s/%s/.d", r->t.root, civil_format(date, day), table);
    return !access(path, F_OK);
}

/* The file just read has the same rows of the next date, too. */
static void both_dates(struct rig *r)
{
    char a[CIVIL_TEXT], b[CIVIL_TEXT], cmd[1200], path[300];
    const char *dir = r->t.dir[r->t.files - 1];
    snprintf(cmd, sizeof cmd, "cp -r %s/%s %s/%s", dir, civil_format(LK_DAY, a), dir,
             civil_format(LK_DAY + 1, b));
    assert_int_equal(system(cmd), 0);
    snprintf(path, sizeof path, "%s/result.json", dir);
    json_t *o = json_load_file(path, 0, NULL), *w = json_object_get(o, "written");
    for (size_t i = 0, n = json_array_size(w); i < n; i++) {
        json_t *other = json_deep_copy(json_array_get(w, i));
        json_object_set_new(other, "date", json_string(b));
        json_array_append_new(w, other);
    }
    assert_false(json_dump_file(o, path, 0));
    json_decref(o);
}

/* ING-70: no name of the database changes without the lockfile. */
static char root[100], lockfile[120];

static void assert_locked(const char *to)
{
    size_t n = strlen(root);
    if (strncmp(to, root, n) || to[n] != '/' || !strncmp(to + n, "/pst$", 5) || strchr(to, '$'))
        return; /* a stage, the intent */
    if (access(lockfile, F_OK))
        fail_msg("%s is renamed without the lockfile", to);
}
static int locked_rename(struct io *io, const char *from, const char *to)
{
    assert_locked(to);
    return mortal_rename(io, from, to);
}
static int locked_exchange(struct io *io, const char *from, const char *to)
{
    assert_locked(from);
    assert_locked(to);
    return mortal_exchange(io, from, to);
}
static struct io *locked_io(struct mortal_io *m, struct io *real, unsigned die_at)
{
    struct io *io = mortal_make(m, real, die_at);
    m->ops.rename = locked_rename;
    m->ops.exchange = locked_exchange;
    return io;
}

/* A process: database opened, lock taken, cleaned up, published. */
static void attempt(struct rig *r, struct io *io, uint64_t epoch, struct load_moved *out)
{
    struct err err = {0};
    struct hdb_cleaned done;
    bool published;
    struct hdb *h = hdb_open(r->t.root, &err);
    assert_non_null(h);
    *out = (struct load_moved){.verdict = LOAD_FAILED};
    int lock = hdb_lock(io, r->t.root, "test", &err);
    bool clean = lock >= 0 && hdb_clean(io, h, &done, NULL, NULL, &err);
    if (clean) /* as day_write_begin */
        hdb_lockfile_remove(io, lockfile);
    if (clean && hdb_refresh(h, &err))
        load_publish(io, h, &r->move, epoch, "us", r->s, 3, lockfile, &published, out);
    else
        out->err = err;
    if (out->verdict == LOAD_DONE)
        load_publish_tidy(io, h, r->move.batch, &err);
    if (lock >= 0)
        r->t.k.io->ops->close(r->t.k.io, lock); /* the process is gone */
    hdb_close(h);
}

/* Only what a start does: it does not know of the batch. */
static uint64_t start(struct rig *r)
{
    struct err err = {0};
    struct hdb_cleaned done;
    struct hdb *h = hdb_open(r->t.root, &err);
    int lock = hdb_lock(r->t.k.io, r->t.root, "test", &err);
    assert_true(h && lock >= 0);
    struct mortal_io m;
    if (!hdb_clean(locked_io(&m, r->t.k.io, 0), h, &done, NULL, NULL, &err))
        fail_msg("%s", err.text);
    unlink(lockfile);
    hdb_unlock(r->t.k.io, lock);
    hdb_close(h);
    return done.loading;
}

/* 0: all old, 1: all new. */
static int state_of(struct rig *r)
{
    int new = 0;
    for (int i = 0; i < TABLES; i++) {
        bool fresh = r->fresh || DATE(i) != LK_DAY;
        if (!there(r, DATE(i), NAME(i))) {
            assert_true(fresh);
            continue;
        }
        struct hash128 b = wk_bytes_of(dir_of(r, i));
        if (!wk_same(b, r->new[i]) && (fresh || !wk_same(b, r->old[i])))
            fail_msg("table %d is neither old nor new", i);
        new += wk_same(b, r->new[i]);
    }
    if (new &&new != TABLES)
        fail_msg("%d tables are new, the others are old", new);
    return new == TABLES;
}

static void put_back(struct rig *r)
{
    char cmd[400];
    snprintf(cmd, sizeof cmd, "rm -rf %s && cp -r %s %s", r->t.root, r->keep, r->t.root);
    assert_int_equal(system(cmd), 0);
    unlink(lockfile);
    /* copies are other directories: the batch stands on them */
    for (int i = 0; i < TABLES; i++) {
        struct err err;
        assert_true(load_base(dir_of(r, i), r->table[i].base, &err));
    }
}

static void make(struct rig *r, bool fresh)
{
    char cmd[400];
    struct err err = {0};
    memset(r, 0, sizeof *r);
    kit_open(&r->t);
    r->fresh = fresh;
    for (uint16_t i = 0; i < 3; i++)
        r->s[i] = wk_schema(&r->t.k, (uint16_t)(2 + i), i < 2 ? names[i] : "empty", false, columns,
                            PST_COUNT(columns));
    if (!fresh) {
        rows(r, 0);
        kit_load(&r->t, r->s, 2);
        for (int i = 0; i < 2; i++)
            r->old[i] = wk_bytes_of(dir_of(r, i));
    }
    rows(r, 1);
    both_dates(r);
    r->move = (struct load_move){
        .batch = "late", .instance = KIT_INSTANCE, .commit = 7, .table = r->table, .n = TABLES};
    for (int i = 0; i < TABLES; i++) {
        r->t.day = DATE(i);
        json_t *result = kit_merge(&r->t, r->s[i % 2], "late", 7, &err);
        if (!result)
            fail_msg("%s", err.text);
        kit_move_table(&r->t, &r->table[i], r->s[i % 2], result);
        json_decref(result);
    }
    snprintf(root, sizeof root, "%s", r->t.root);
    snprintf(lockfile, sizeof lockfile, "%s/hdb.lock", r->t.k.dir);
    snprintf(r->keep, sizeof r->keep, "%s/keep", r->t.k.dir);
    snprintf(cmd, sizeof cmd, "cp -r %s %s", r->t.root, r->keep);
    assert_int_equal(system(cmd), 0);
    struct load_moved done;
    put_back(r);
    attempt(r, r->t.k.io, 9, &done);
    if (done.verdict != LOAD_DONE)
        fail_msg("%s", done.err.text);
    assert_true(!done.already && done.tables == TABLES);
    for (int i = 0; i < TABLES; i++)
        r->new[i] = wk_bytes_of(dir_of(r, i));
    kit_check(&r->t, "one", 0, r->t.k.rows, -1);
    assert_int_equal(there(r, LK_DAY, "empty"), fresh);
    assert_true(there(r, LK_DAY + 1, "empty"));
    assert_int_equal(kit_meta(&r->t, r->t.root, "two")->epoch, 9);
}

static bool left(struct rig *r)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s/late", r->t.root, LOAD_SIDE_DIR);
    return !access(path, F_OK);
}

/* Every operation from some before the intent on, and each fifth before (PST_ALL=1: each). */
static void every_operation(struct rig *r, bool die)
{
    struct mortal_io mortal;
    struct load_moved out;
    unsigned n, old = 0, forward = 0, stayed = 0, stride = getenv("PST_ALL") ? 1 : 5;
    put_back(r);
    attempt(r, mortal_make(&mortal, r->t.k.io, 0), 9, &out);
    unsigned late = mortal.changes > 60 ? mortal.changes - 60 : 1;
    for (n = 1;; n += n < late ? stride : 1) {
        put_back(r);
        struct io *io = locked_io(&mortal, r->t.k.io, n);
        mortal.fail_once = !die;
        mortal.fail_code = -ENOSPC;
        if (r->no_exchange)
            mortal.ops.exchange = NULL;
        attempt(r, io, 9, &out);
        bool reached = mortal.changes >= n;
        if (out.verdict != LOAD_DONE)
            assert_true(strlen(out.err.text) > 10);
        bool shut = !access(lockfile, F_OK), done = out.verdict == LOAD_DONE;
        uint64_t epoch = start(r);
        int is = state_of(r);
        /* who is shut out is so because something is left to be done; or its own removal failed */
        if (!die && shut && !done)
            assert_int_equal(is, 1);
        stayed += !die && shut && done;
        assert_int_equal(epoch, is ? 9 : r->fresh ? 0 : 1);
        assert_true(is || out.verdict != LOAD_DONE);
        old += !is;
        forward += is && out.verdict != LOAD_DONE;
        if (is)
            assert_int_equal(kit_meta(&r->t, r->t.root, "one")->epoch, 9);
        attempt(r, r->t.k.io, 10, &out);
        if (out.verdict != LOAD_DONE)
            fail_msg("operation %u: %s", n, out.err.text);
        assert_int_equal(out.already, is);
        assert_int_equal(state_of(r), 1);
        assert_false(left(r));
        kit_check(&r->t, "two", 0, r->t.k.rows, -1);
        if (!reached)
            break;
    }
    assert_true(n > 60 && old > 10 && forward >= 2);
    assert_true(stayed <= 2);
    print_message("%u operations, %u left the old, %u were finished by the next start\n", n, old,
                  forward);
}

static void a_date_that_is_new(void **state)
{
    struct rig r;
    make(&r, true);
    every_operation(&r, *(bool *)*state);
    kit_close(&r.t);
}

static void tables_that_exist(void **state)
{
    struct rig r;
    make(&r, false);
    every_operation(&r, *(bool *)*state);
    r.no_exchange = true;
    every_operation(&r, *(bool *)*state);
    kit_close(&r.t);
}

/* Where the lockfile cannot be made nothing is published, and the batch is asked for again. */
static void no_lockfile(void **state)
{
    (void)state;
    struct rig r;
    struct load_moved out;
    make(&r, false);
    put_back(&r);
    snprintf(lockfile, sizeof lockfile, "%s/none/hdb.lock", r.t.k.dir);
    attempt(&r, r.t.k.io, 9, &out);
    assert_int_equal(out.verdict, LOAD_FAILED);
    assert_int_equal(out.err.code, -EIO);
    assert_non_null(strstr(out.err.text, "none/hdb.lock"));
    assert_int_equal(start(&r), 1); /* no intent of it either */
    assert_int_equal(state_of(&r), 0);
    char dir[120];
    snprintf(dir, sizeof dir, "%s/none", r.t.k.dir);
    assert_false(mkdir(dir, 0755));
    attempt(&r, r.t.k.io, 10, &out);
    assert_int_equal(out.verdict, LOAD_DONE);
    assert_int_equal(state_of(&r), 1);
    assert_int_not_equal(access(lockfile, F_OK), 0);
    kit_close(&r.t);
}

/* What was synced, by inode. */
static struct synced {
    uint64_t ino;
    unsigned times, soon;
} synced[512];

static struct synced *synced_of(struct io *io, int fd)
{
    struct io_stat st;
    unsigned i = 0;
    assert_true(mortal_of(io)->real->ops->fstat(mortal_of(io)->real, fd, &st) >= 0);
    while (synced[i].ino && synced[i].ino != st.ino)
        assert_true(++i < PST_COUNT(synced));
    synced[i].ino = st.ino;
    return &synced[i];
}
static int note_fsync(struct io *io, int fd)
{
    synced_of(io, fd)->times++;
    return mortal_of(io)->real->ops->fsync(mortal_of(io)->real, fd);
}
static void note_soon(struct io *io, int fd)
{
    synced_of(io, fd)->soon++;
    mortal_of(io)->real->ops->fsync_soon(mortal_of(io)->real, fd);
}

/* A new date has a few small files of every table: each is waited for once, when all are on their
 * way. */
static void small_files_once(void **state)
{
    (void)state;
    struct rig r;
    struct mortal_io mortal;
    struct load_moved out;
    unsigned files = 0;
    make(&r, true);
    put_back(&r);
    mortal_make(&mortal, r.t.k.io, 0);
    mortal.ops.fsync = note_fsync;
    mortal.ops.fsync_soon = note_soon;
    attempt(&r, &mortal.io, 9, &out);
    assert_int_equal(out.verdict, LOAD_DONE);
    for (int day = 0; day < 2; day++) {
        char dir[300], text[CIVIL_TEXT], path[600];
        snprintf(dir, sizeof dir, "%s/%s/empty", r.t.root, civil_format(LK_DAY + day, text));
        DIR *d = opendir(dir);
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));) {
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            assert_false(stat(path, &st));
            if (!S_ISREG(st.st_mode))
                continue;
            unsigned i = 0;
            while (i < PST_COUNT(synced) && synced[i].ino != st.st_ino)
                i++;
            assert_true(i < PST_COUNT(synced));
            assert_int_equal(synced[i].times, 1);
            assert_true(synced[i].soon >= 1);
            files++;
        }
        closedir(d);
    }
    assert_int_equal(files, 2 * 7); /* four columns and the texts of one, .d, .pstmeta */
    kit_close(&r.t);
}

/* Directories of batches that nobody claims go, those of others and of the newest intent stay. */
static void swept(void **state)
{
    (void)state;
    struct kit t;
    struct err err = {0};
    unsigned deleted;
    char path[1200];
    static const char *const all[] = {"a-1", "a-2", "b-1"}, *const keep[] = {"a-2"};
    kit_open(&t);
    for (int i = 0; i < 3; i++) {
        assert_true(load_merge_dir(t.root, all[i], 0, NULL, path));
        char cmd[3000];
        snprintf(cmd, sizeof cmd, "mkdir -p %s/2026.11.23/t && echo x >%s/2026.11.23/t/c", path,
                 path);
        assert_int_equal(system(cmd), 0);
    }
    assert_true(load_publish_sweep(t.k.io, t.hdb, "a-", keep, 1, &deleted, &err));
    assert_int_equal(deleted, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(load_merge_dir(t.root, all[i], 0, NULL, path));
        assert_int_equal(!access(path, F_OK), i > 0);
    }
    kit_close(&t);
}

/* An intent that cannot be read is said, and one of a later program is refused by name. */
static void intents(void **state)
{
    (void)state;
    struct kit t;
    struct err err = {0};
    struct hdb_cleaned done;
    char path[300];
    uint64_t epoch;
    kit_open(&t);
    assert_true(load_publish_finish(t.k.io, t.hdb, true, &epoch, NULL, NULL, &err) && !epoch);
    snprintf(path, sizeof path, "%s/pst$", t.root);
    mkdir(path, 0755);
    strcat(path, "/publishing");
    static const char later[] = "{\"format\":2}";
    char text[100];
    snprintf(text, sizeof text, "%s\ncrc32c %08x\n", later, crc32c(0, later, strlen(later)));
    const char *const bad[] = {"", "nonsense\n", "{\"format\":1}\ncrc32c 00000000\n", text};
    for (unsigned i = 0; i < PST_COUNT(bad); i++) {
        FILE *f = fopen(path, "w");
        fputs(bad[i], f);
        fclose(f);
        assert_false(hdb_clean(t.k.io, t.hdb, &done, NULL, NULL, &err));
        assert_int_equal(err.code, i == 3 ? -ENOTSUP : -EBADMSG);
        assert_non_null(strstr(err.text, "pst$/publishing"));
    }
    kit_close(&t);
}

int main(void)
{
    static bool die = true, refuse = false;
    setenv("PST_TEST_DIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a_date_that_is_new, &die),
        cmocka_unit_test_prestate(a_date_that_is_new, &refuse),
        cmocka_unit_test_prestate(tables_that_exist, &die),
        cmocka_unit_test_prestate(tables_that_exist, &refuse),
        cmocka_unit_test(no_lockfile),
        cmocka_unit_test(small_files_once),
        cmocka_unit_test(swept),
        cmocka_unit_test(intents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
