/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A day is written down on a simulated disk that crashes before each of its operations: intern,
 * log, sym and partition in every order that a power cut leaves. In every image a table of the date
 * is absent or complete, byte for byte; where it is there, sym has every name that it uses; and the
 * job run again on the image makes the same partition.
 *
 * The writing goes through the simulator; the readers of a database map real files, so an image is
 * exported to the directory of the same name before a process starts on it.
 */
#include <fcntl.h>
#include "unit/writedown_kit.h"
#include "hdb_publish.h"
#include "io_sim.h"

static const struct column_def columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}, {"text", PST_STRING}};
static const char *const names[] = {"one", "two", "empty"};

struct rig {
    struct wk k;
    struct writedown_job job;
    struct writedown_table tables[3];
    struct writedown_part parts[8];
    unsigned nparts;
    char date[200];
    struct sim *crash[4000];
    unsigned crashes, every, op;
};

/* An empty database, durable. */
static struct sim *empty_disk(const char *root, uint64_t seed)
{
    struct sim *d = sim_new(seed);
    char path[200];
    for (const char *p = root + 1; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        const char *end = strchrnul(p, '/');
        snprintf(path, sizeof path, "%.*s", (int)(end - root), root);
        sim_volume(d, 0, path);
    }
    d->real_fds = true;
    return d;
}

static void to_real(struct rig *r, const struct sim *d)
{
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", r->k.root);
    assert_int_equal(system(cmd), 0);
    assert_true(sim_export(d, r->k.root));
}

/* A process starts on the disk and does the job. */
static bool attempt(struct rig *r, struct sim *d, struct err *err)
{
    struct hdb_cleaned done;
    struct io *io = sim_io(d), *column = sim_io(d);
    r->k.hdb = hdb_open(r->k.root, err);
    assert_non_null(r->k.hdb);
    struct writedown_config wc = {.io = io, .column_io = {column}, .hdb = r->k.hdb};
    r->k.w = writedown_create(&wc, err);
    assert_non_null(r->k.w);
    bool ok = hdb_clean(io, r->k.hdb, &done, NULL, NULL, err) &&
              hdb_sym_open(&r->k.sym, io, r->k.root, err);
    if (ok) {
        ok = wk_go(&r->k, &r->job, err) != NULL;
        hdb_sym_close(&r->k.sym);
    }
    writedown_destroy(r->k.w);
    r->k.w = NULL;
    hdb_close(r->k.hdb);
    r->k.hdb = NULL;
    io_destroy(io);
    io_destroy(column);
    return ok;
}

struct listing {
    unsigned n;
    char name[64][120];
};
static void note_name(void *arg, const char *name)
{
    struct listing *l = arg;
    assert_true(l->n < 64);
    snprintf(l->name[l->n++], 120, "%s", name);
}

/* Is everything that `a` has below the path in b too, and the same? meta: its stamp of time too. */
static bool same_below(const struct sim *a, const struct sim *b, const char *path, bool meta)
{
    struct listing l = {0};
    sim_each(a, path, note_name, &l);
    for (unsigned i = 0; i < l.n; i++) {
        char below[400];
        uint64_t na, nb;
        snprintf(below, sizeof below, "%s/%s", path, l.name[i]);
        if (!meta && !strcmp(l.name[i], ".pstmeta"))
            continue;
        uint8_t *pa = sim_read(a, below, &na), *pb = sim_read(b, below, &nb);
        bool same = pa ? pb && na == nb && !memcmp(pa, pb, na) : same_below(a, b, below, meta);
        free(pa);
        free(pb);
        if (!same) {
            print_message("%s differs\n", below);
            return false;
        }
    }
    return true;
}

static bool exists(const struct sim *d, const char *path)
{
    struct listing l = {0};
    sim_each(d, path, note_name, &l);
    return l.n > 0;
}

static void hook(void *arg, struct sim *d, enum sim_op op)
{
    struct rig *r = arg;
    (void)op;
    if (r->op++ % r->every == 0 && r->crashes < PST_COUNT(r->crash))
        r->crash[r->crashes++] = sim_copy(d);
}

static void in_every_order(void **state)
{
    static struct rig r;
    struct err err = {0};
    bool ordered = *(bool *)*state;
    memset(&r, 0, sizeof r);
    wk_open(&r.k);
    const struct schema *one = wk_schema(&r.k, 2, "one", false, columns, PST_COUNT(columns));
    const struct schema *two = wk_schema(&r.k, 3, "two", true, columns + 2, 2);
    wk_schema(&r.k, 4, "empty", false, columns, PST_COUNT(columns));
    wk_rows(&r.k, one, 400, LK_DAY);
    wk_rows(&r.k, two, 300, LK_DAY);
    hdb_sym_close(&r.k.sym);
    writedown_destroy(r.k.w);
    r.k.w = NULL;
    hdb_close(r.k.hdb);
    r.k.hdb = NULL;
    wk_job(&r.k, &r.job, r.tables, names, 3, r.parts, &r.nparts);
    char day[CIVIL_TEXT];
    snprintf(r.date, sizeof r.date, "%s/%s", r.k.root, civil_format(LK_DAY, day));

    struct sim *d = empty_disk(r.k.root, 5);
    d->ordered = ordered;
    to_real(&r, d);
    d->hook = hook;
    d->hook_arg = &r;
    r.every = 1;
    if (!attempt(&r, d, &err))
        fail_msg("%s", err.text);
    d->hook = NULL;
    assert_int_equal(d->misuse, 0);
    assert_true(exists(d, r.date));
    /* what was published is durable: nothing that is still pending matters */
    uint8_t choice[SIM_PENDING] = {0};
    struct sim *copy = sim_copy(d), *after = sim_power_cut(copy, choice, 1);
    assert_true(exists(after, r.date) && same_below(d, after, r.date, true));
    sim_free(copy);
    sim_free(after);

    unsigned images = 0, again = 0, published = 0;
    for (unsigned i = 0; i < r.crashes; i++) {
        struct sim *at = r.crash[i];
        uint64_t all = sim_images(at), n = all < 24 ? all : 24;
        for (uint64_t m = 0; m < n; m++) {
            if (n == all)
                sim_image_choice(at, m, choice);
            else
                for (uint32_t k = 0; k < at->npending; k++)
                    choice[k] = (uint8_t)(m < 2 ? m : sim_random(d, sim_choices(at, k)));
            struct sim *image = sim_power_cut(at, choice, m + 1);
            images++;
            if (exists(image, r.date)) {
                char sym[200];
                uint64_t na, nb;
                published++;
                assert_true(same_below(d, image, r.date, true)); /* all of it, or nothing */
                snprintf(sym, sizeof sym, "%s/sym", r.k.root);
                uint8_t *a = sim_read(d, sym, &na), *b = sim_read(image, sym, &nb);
                assert_true(a && b && na == nb && !memcmp(a + 16, b + 16, na - 16));
                free(a);
                free(b);
            }
            if ((images * 7 + i) % 37 == 0) { /* the next start does it again */
                to_real(&r, image);
                image->real_fds = true;
                if (!attempt(&r, image, &err))
                    fail_msg("crash %u, image %u: %s", i, images, err.text);
                assert_true(same_below(d, image, r.date, false));
                again++;
            }
            sim_free(image);
        }
        sim_free(at);
    }
    print_message("%u operations, %u images, %u with the partition, %u done again\n", r.crashes,
                  images, published, again);
    assert_true(r.crashes > 60 && published > 4 && again > 10);
    sim_free(d);
    r.k.sym.fd = -1;
    char cmd[300];
    snprintf(cmd, sizeof cmd, "mkdir -p '%s'", r.k.root);
    assert_int_equal(system(cmd), 0);
    wk_open_hdb(&r.k); /* wk_close closes them */
    wk_close(&r.k);
}

int main(void)
{
    static bool ordered = true, loose = false;
    setenv("PST_TEST_DIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(in_every_order, &ordered),
        cmocka_unit_test_prestate(in_every_order, &loose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
