/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of the log on its disk, every errno of reliability B5, once and for good, at each
 * level: the n-th operation of a kind fails, for every n that a short life has. Never a crash; the
 * right counter moves; when the trouble ends the log goes on by itself until all is durable; then
 * every byte of the journal is read back, in order and once, and recovery finds a sound log.
 *
 *   sim_errors [--all]    --all: every n of every kind; else a seeded share of the repeats
 */
#include "life.h"
#include <getopt.h>
#include <malloc.h>

static const int errors[] = {ENOSPC,    EDQUOT, EIO,     ENODEV, ETIMEDOUT, EROFS, EINTR,  EAGAIN,
                             ECANCELED, ENOMEM, ENOBUFS, EINVAL, EBADF,     EFBIG, ENOENT, EACCES};
static const enum sim_op kinds[] = {SIM_CREATE, SIM_CLOSE,      SIM_FALLOCATE, SIM_FTRUNCATE,
                                    SIM_FSYNC,  SIM_SYNC_DIR,   SIM_WRITE,     SIM_SYNC,
                                    SIM_SUBMIT, SIM_RENAME,     SIM_STAT,      SIM_FSTAT,
                                    SIM_LIST,   SIM_FREE_SPACE, SIM_DIO_ALIGN};

struct figures {
    unsigned runs, hits, kinds[SIM_OPS];
};

static uint64_t counted(const struct life *l, unsigned c)
{
    return load_relaxed(&l->status->counter[c]);
}

/* Which counter must move when a write or a sync fails so. */
static bool right_counter(struct life *l, enum sim_op op, int error, bool for_good)
{
    uint64_t nospace = counted(l, COUNTER_LOG_NOSPACE), retry = counted(l, COUNTER_LOG_RETRY);
    uint64_t io = counted(l, COUNTER_LOG_IO_ERROR), canceled = counted(l, COUNTER_LOG_CANCELED);
    uint64_t poisoned = counted(l, COUNTER_LOG_POISONED);
    if (op != SIM_WRITE)
        return true;
    switch (log_policy(-error)) {
    case LOG_ACT_AGAIN:
        return retry > 0;
    case LOG_ACT_BACKOFF:
        return retry > 0 && (!for_good || poisoned > 0);
    case LOG_ACT_SKIPPED:
        return canceled > 0;
    case LOG_ACT_FULL:
        return nospace > 0 && poisoned > 0;
    case LOG_ACT_LIMIT:
        return poisoned > 0;
    case LOG_ACT_DEVICE:
    case LOG_ACT_BUG:
        return io > 0 && poisoned > 0;
    }
    return false;
}

/* A life of one incarnation with one fault. Number of the operation's visits in *seen. */
static bool run(struct life *l, enum log_level level, bool buffered, enum sim_op op, uint64_t n,
                int error, bool for_good, uint64_t *seen, struct figures *sum)
{
    struct life_config c = {.seed = 7, .incarnations = 1, .steps = 20, .images = 2};
    life_open(l, &c);
    l->level = level;
    l->buffered = buffered;
    l->disk->no_direct = false;
    l->disk->align = 512;
    l->spill = false;
    l->depth = 3;
    l->preallocate = 1u << 20;
    l->ballast = 1u << 20;
    bool ok = life_start(l) || life_fail(l, "the start fails");
    struct sim_fault *f =
        sim_fault_add(l->disk, &(struct sim_fault){.ops = 1u << op,
                                                   .path = op == SIM_SUBMIT ? NULL : LIFE_LOG,
                                                   .skip = n,
                                                   .times = for_good ? SIM_EVER : 1,
                                                   .kind = SIM_FAIL,
                                                   .error = error});
    for (unsigned i = 0; ok && i < 10; i++) {
        if (i == 5 && !for_good) /* idle: the next file is prepared */
            for (unsigned k = 0; k < 60; k++) {
                life_work(l, 2);
                log_housekeeping(l->log);
                l->disk->now += 6 * NS_PER_MS;
            }
        if (i == 6) { /* over the end of a day */
            clock_set(&l->clock, ((int64_t)LIFE_DAY + 1) * NS_PER_DAY + 2 * NS_PER_S);
        }
        life_rows(l, 5);
        life_work(l, 3);
        log_housekeeping(l->log);
        l->disk->now += 15 * NS_PER_MS;
    }
    if (ok && for_good) /* it lasts */
        life_settle(l, 1300 * NS_PER_MS);
    else if (ok)
        ok =
            life_settle(l, 10 * NS_PER_S) ||
            life_fail(l, "one failure stops the log: durable %llu of %llu, errno %d",
                      (unsigned long long)load_relaxed(&l->ring.head->durable),
                      (unsigned long long)ring_tail(&l->ring), load_relaxed(&l->status->log_errno));
    *seen = f->seen;
    bool hit = f->hit > 0;
    if (ok && hit && !right_counter(l, op, error, for_good))
        ok = life_fail(l, "the counter did not move");
    sim_fault_clear(l->disk);
    life_rows(l, 3);
    if (ok && !life_settle(l, 10 * NS_PER_S))
        ok = life_fail(
            l, "the trouble is over, but the log does not go on: durable %llu of %llu, errno %d",
            (unsigned long long)load_relaxed(&l->ring.head->durable),
            (unsigned long long)ring_tail(&l->ring), load_relaxed(&l->status->log_errno));
    if (ok && load_relaxed(&l->status->log_errno))
        ok = life_fail(l, "all is durable, but the status still says errno %d",
                       load_relaxed(&l->status->log_errno));
    if (ok && !life_end_clean(l, 10 * NS_PER_S))
        ok = life_fail(l, "the log cannot be drained");
    if (ok && (l->disk->misuse || l->disk->unaligned) && error != EBADF)
        ok = life_fail(l, "the log misuses the disk: %s", l->disk->misused);
    life_absorb(l);
    ok = ok && life_check(l, l->disk, true);
    sum->runs++;
    sum->hits += hit;
    sum->kinds[op] += hit;
    if (!ok)
        printf(
            "FAILED: level %d%s, %s number %llu fails with %s%s: %s\nAgain: sim_errors --level %d "
            "--buffered %d --op %s --n %llu --errno %d --good %d\n",
            level, buffered ? " buffered" : "", sim_op_name[op], (unsigned long long)n,
            strerror(error), for_good ? " for good" : "", l->failure, level, buffered,
            sim_op_name[op], (unsigned long long)n, error, for_good);
    life_close(l);
    return ok;
}

/* Short writes of every length in block steps, at every write. */
static bool short_writes(struct life *l, struct figures *sum)
{
    for (unsigned level = 0; level < 3; level++)
        for (uint64_t blocks = 0; blocks < 10; blocks++)
            for (uint64_t n = 0; n < 12; n++) {
                struct life_config c = {.seed = 11, .incarnations = 1, .steps = 20, .images = 2};
                life_open(l, &c);
                l->level = (enum log_level)level;
                l->buffered = l->disk->no_direct = false;
                l->disk->align = 512;
                l->depth = 2;
                bool ok = life_start(l);
                sim_fault_add(l->disk, &(struct sim_fault){.ops = 1u << SIM_WRITE,
                                                           .path = LIFE_LOG,
                                                           .skip = n,
                                                           .times = 1 + n % 3,
                                                           .kind = SIM_SHORT,
                                                           .arg = blocks * SIM_SECTOR});
                for (unsigned i = 0; ok && i < 6; i++) {
                    life_rows(l, 6);
                    life_work(l, 3);
                }
                ok = ok && life_settle(l, 5 * NS_PER_S) && life_end_clean(l, 5 * NS_PER_S);
                life_absorb(l);
                ok = ok && life_check(l, l->disk, true);
                sum->runs++;
                if (!ok)
                    printf("FAILED: level %u, write %llu is short, %llu sectors: %s\n", level,
                           (unsigned long long)n, (unsigned long long)blocks, l->failure);
                life_close(l);
                if (!ok)
                    return false;
            }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"all", 0, NULL, 'a'},      {"share", 1, NULL, 's'}, {"level", 1, NULL, 'l'},
        {"buffered", 1, NULL, 'b'}, {"op", 1, NULL, 'o'},    {"n", 1, NULL, 'n'},
        {"errno", 1, NULL, 'e'},    {"good", 1, NULL, 'g'},  {NULL, 0, NULL, 0}};
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    setvbuf(stdout, NULL, _IOLBF, 0);
    static struct life l;
    struct figures sum = {0};
    bool all = false, one = false, good = false;
    unsigned share = 1; /* one in so many */
    int level = 2, buffered = 0, error = EIO;
    uint64_t n = 0, seen;
    enum sim_op op = SIM_WRITE;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'a':
            all = true;
            break;
        case 's':
            share = (unsigned)atoi(optarg);
            break;
        case 'l':
            level = atoi(optarg);
            break;
        case 'b':
            buffered = atoi(optarg);
            break;
        case 'n':
            n = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            error = atoi(optarg);
            one = true;
            break;
        case 'g':
            good = atoi(optarg);
            break;
        case 'o':
            for (unsigned k = 0; k < SIM_OPS; k++)
                if (!strcmp(optarg, sim_op_name[k]))
                    op = (enum sim_op)k;
            break;
        default:
            return 2;
        }
    if (one)
        return !run(&l, (enum log_level)level, buffered, op, n, error, good, &seen, &sum);
    /* the share of CI: each level with each errno at each operation, the place and the way to write
     * in turns */
    unsigned turn = 0;
    for (level = LOG_ASYNC; level <= LOG_DURABLE; level++)
        for (unsigned k = 0; k < PST_COUNT(kinds); k++)
            for (unsigned e = 0; e < PST_COUNT(errors); e++)
                for (int g = 0; g < 2; g++)
                    for (buffered = 0; buffered < 2; buffered++) {
                        if (!all && buffered != (int)(turn++ / 3 % 2))
                            continue;
                        if (turn % share)
                            continue;
                        seen = 5;
                        for (n = all ? 0 : turn % 5; n < seen; n += all ? 1 : 5)
                            if (!run(&l, (enum log_level)level, buffered, kinds[k], n, errors[e], g,
                                     &seen, &sum))
                                return 1;
                            else if (!all)
                                break;
                    }
    if (!short_writes(&l, &sum))
        return 1;
    printf("%u runs, %u faults hit:", sum.runs, sum.hits);
    for (unsigned k = 0; k < SIM_OPS; k++)
        if (sum.kinds[k])
            printf(" %s %u", sim_op_name[k], sum.kinds[k]);
    printf("\n");
    for (unsigned k = 0; k < PST_COUNT(kinds) && share == 1; k++)
        if (!sum.kinds[kinds[k]]) {
            printf("FAILED: no fault hit %s\n", sim_op_name[kinds[k]]);
            return 1;
        }
    return 0;
}
