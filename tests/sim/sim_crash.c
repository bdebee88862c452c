/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded lives of the journal on a simulated disk that crashes: see life.h for what is checked.
 *
 *   sim_crash                      10,000 images, old lives, and every canary found
 *   sim_crash --images-total N     goes on until so many images were checked
 *   sim_crash --no-canary          seeded lives alone
 *   sim_crash --seed S --lives 1 … one life again, as a failure printed it
 */
#include "life.h"
#include <getopt.h>
#include <malloc.h>
#include <time.h>

static void add(struct life_figures *to, const struct life_figures *f)
{
    uint64_t *a = (uint64_t *)to;
    const uint64_t *b = (const uint64_t *)f;
    for (size_t i = 0; i < sizeof *to / 8; i++)
        a[i] += b[i];
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The alarm works: a life with a planted bug is found out, soon. */
static bool canary_found(const struct life_config *base, enum life_canary canary)
{
    static struct life l;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct life_config c = *base;
        c.seed = seed;
        c.canary = canary;
        life_open(&l, &c);
        bool ok = life_live(&l);
        if (!ok)
            printf("canary %s: found in life %llu: %s\n", life_canary_name[canary],
                   (unsigned long long)seed, l.failure);
        life_close(&l);
        if (!ok)
            return true;
    }
    printf("FAILED: the planted bug %s is not found: the alarm does not work\n",
           life_canary_name[canary]);
    return false;
}

/* Lives that found something once, and are quick. */
static bool old_lives(const struct life_config *base, struct life_figures *sum, const char *program)
{
    static const struct {
        uint64_t seed;
        bool faults, silent, sym, streams;
    } old[] = {
        {105, true, false, false},
        {2014, false, true, false},  /* a bit of a write under way flipped, and was whole again */
        {30040, true, false, false}, /* the head of the newest file torn, no tick before it */
        {40008, true, false, true},
        {40007, true, false, false},      /* gap rows lost with the head of their file */
        {10000158, false, true, false},   /* a gap row pays a part of what is owed */
        {1015, false, true, false, true}, /* the last write stands a block before its place */
    };
    static struct life l;
    bool ok = true;
    for (unsigned i = 0; i < PST_COUNT(old) && ok; i++) {
        struct life_config c = *base;
        c.seed = old[i].seed;
        c.faults = old[i].faults;
        c.silent = old[i].silent;
        c.sym = old[i].sym;
        c.streams = old[i].streams;
        life_open(&l, &c);
        ok = life_live(&l);
        if (!ok)
            life_report(&l, program);
        add(sum, &l.figures);
        life_close(&l);
    }
    return ok;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", 1, NULL, 's'},    {"lives", 1, NULL, 'l'},   {"incarnations", 1, NULL, 'i'},
        {"steps", 1, NULL, 'p'},   {"images", 1, NULL, 'm'},  {"images-total", 1, NULL, 't'},
        {"crashes", 1, NULL, 'c'}, {"faults", 0, NULL, 'f'},  {"silent", 0, NULL, 'q'},
        {"canary", 1, NULL, 'y'},  {"verbose", 0, NULL, 'v'}, {"no-canary", 0, NULL, 'n'},
        {"seconds", 1, NULL, 'x'}, {"sym", 0, NULL, 'S'},     {"small", 0, NULL, 'k'},
        {"streams", 0, NULL, 'w'}, {NULL, 0, NULL, 0}};
    /* buffers of recovery and cursors are reused, not mapped anew for each image */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *env = getenv("PST_SIM_SEED"); /* CI always lives the same lives */
    struct life_config base = {.incarnations = 6, .steps = 40, .images = 60, .crashes = 8};
    uint64_t seed = env ? strtoull(env, NULL, 10) : 1, lives = 0, total = 0;
    bool fixed = false, canaries = true;
    double limit = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (o) {
        case 's':
            seed = n;
            break;
        case 'l':
            lives = n;
            break;
        case 'i':
            base.incarnations = (unsigned)n;
            break;
        case 'p':
            base.steps = (unsigned)n;
            break;
        case 'm':
            base.images = (unsigned)n;
            break;
        case 't':
            total = n;
            break;
        case 'c':
            base.crashes = (unsigned)n;
            break;
        case 'f':
            base.faults = fixed = true;
            break;
        case 'q':
            base.silent = fixed = true;
            break;
        case 'S':
            base.sym = fixed = true;
            break;
        case 'k':
            base.small = fixed = true;
            break;
        case 'w':
            base.streams = fixed = true;
            break;
        case 'v':
            base.verbose = true;
            break;
        case 'n':
            canaries = false;
            break;
        case 'x':
            limit = strtod(optarg, NULL);
            break;
        case 'y':
            for (unsigned k = 0; k < CANARIES; k++)
                if (!strcmp(optarg, life_canary_name[k]))
                    base.canary = (enum life_canary)k;
            break;
        default:
            return 2;
        }
    }
    if (lives)
        fixed = true; /* one life, just as it is described */
    else if (!total)
        total = 10000;
    static struct life l;
    struct life_figures sum = {0};
    double t0 = seconds();
    uint64_t done = 0;
    if (!fixed && canaries && !old_lives(&base, &sum, argv[0]))
        return 1;
    for (; lives ? done < lives : sum.images < total; done++) {
        struct life_config c = base;
        c.seed = seed + done;
        if (!fixed) {
            c.faults = done % 2;
            c.silent = done % 8 == 6;
            c.sym = done % 4 == 0;
            c.small = done % 16 < 12;
            c.streams = done % 3 == 2;
        }
        life_open(&l, &c);
        bool ok = life_live(&l);
        if (!ok)
            life_report(&l, argv[0]);
        add(&sum, &l.figures);
        uint64_t hash = ok && l.disk ? sim_hash(l.disk) : 0;
        if (base.verbose && ok)
            printf("life %llu ends with disk %016llx\n", (unsigned long long)c.seed,
                   (unsigned long long)hash);
        life_close(&l);
        if (!ok)
            return 1;
        if (limit > 0 && seconds() - t0 > limit && sum.images < total) {
            printf("stopped after %.0f s\n", limit);
            break;
        }
    }
    printf("seeds %llu to %llu: %llu lives, %llu incarnations, %llu crashes (%llu with all their "
           "images), %llu images, %llu recoveries, %llu frames read; torn tails %llu, holes %llu, "
           "clean %llu, lost ranges %llu, entries of sym %llu, faults %llu, files poisoned %llu, "
           "spilled %llu, reads refused %llu; %.1f s\n",
           (unsigned long long)seed, (unsigned long long)(seed + done - 1),
           (unsigned long long)done, (unsigned long long)sum.incarnations,
           (unsigned long long)sum.crashes, (unsigned long long)sum.exhaustive,
           (unsigned long long)sum.images, (unsigned long long)sum.recoveries,
           (unsigned long long)sum.frames, (unsigned long long)sum.torn,
           (unsigned long long)sum.damage, (unsigned long long)sum.clean,
           (unsigned long long)sum.lost_ranges, (unsigned long long)sum.syms,
           (unsigned long long)sum.faults, (unsigned long long)sum.poisoned,
           (unsigned long long)sum.spilled, (unsigned long long)sum.refused, seconds() - t0);
    for (unsigned k = 1; k < CANARIES && canaries && !lives; k++)
        if (!canary_found(&base, (enum life_canary)k))
            return 1;
    return 0;
}
