/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_main.c - runs a fuzz target without a fuzzer: every file of the directories given, then
 * `mutations` deterministic variants of each. Part of the test suite, and most useful there under
 * AddressSanitizer; with -Dfuzz=true and clang the same target is a libFuzzer program.
 *
 *     fuzz_packet [-n mutations] [-s seed] [-f files] FILE|DIRECTORY|data:SUBDIRECTORY...
 *
 * data: stands for the folder of real captures (support/data.h). Directories are read to the
 * bottom, in the order of their names, so a run can be repeated. A folder of real captures that is
 * absent is named and left out; any other that is, fails. The input's memory ends at an unreadable
 * page.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base.h"
#include "support/data.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static struct guard guard;
static uint8_t *mutant;
static uint64_t state;
static unsigned mutations = 200;
static unsigned long files, files_max = ULONG_MAX, runs;
static char where[PATH_MAX + 64];

static uint64_t next(void) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t n)
{
    return n ? next() % n : 0;
}

/* One to eight edits of the kinds that break parsers: bits, extreme integers, cuts, repeats. */
static size_t mutate(uint8_t *d, size_t n)
{
    static const uint64_t extreme[] = {0,      1,      0x7f,       0x80,       0xff,       0x7fff,
                                       0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull};
    for (uint64_t k = 1 + below(8); k; k--) {
        size_t at = below(n);
        switch (below(7)) {
        case 0:
            if (n) {
                d[at] ^= (uint8_t)(1u << below(8));
            }
            break;
        case 1:
            if (n) {
                d[at] = (uint8_t)next();
            }
            break;
        case 2: { /* an extreme value of 1, 2, 4 or 8 bytes, either byte order */
            uint64_t v = extreme[below(PST_COUNT(extreme))];
            size_t w = (size_t)1 << below(4);
            v = below(2) ? v : __builtin_bswap64(v) >> (64 - 8 * w);
            if (at + w <= n) {
                memcpy(d + at, &v, w);
            }
            break;
        }
        case 3: /* a small step of one byte: lengths off by one */
            if (n) {
                d[at] = (uint8_t)(d[at] + (below(2) ? 1 : -1));
            }
            break;
        case 4: /* cut off the end */
            n = at;
            break;
        case 5: { /* take a piece out */
            size_t len = below(n - at < 64 ? n - at : 64);
            memmove(d + at, d + at + len, n - at - len);
            n -= len;
            break;
        }
        default: { /* repeat a piece */
            size_t len = below(n - at < 64 ? n - at : 64);
            if (n + len <= INPUT_MAX) {
                memmove(d + at + len, d + at, n - at);
                n += len;
            }
            break;
        }
        }
    }
    return n;
}

static void run(const uint8_t *d, size_t n)
{
    runs++;
    (void)LLVMFuzzerTestOneInput(guard_copy(&guard, d, n), n);
}

/* Names the input in the log of a crash; async-signal-safe. */
static void crashed(int sig)
{
    static const char text[] = "crashed on: ";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    ignored = write(STDERR_FILENO, where, strlen(where));
    ignored = write(STDERR_FILENO, "\n", 1);
    (void)ignored;
    signal(sig, SIG_DFL);
    raise(sig);
}

static bool one_file(const char *path, uint64_t seed)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    static uint8_t original[INPUT_MAX];
    size_t n = fread(original, 1, sizeof original, f);
    fclose(f);
    if (n == sizeof original) {
        n = 64 << 10; /* of a large capture the start is enough */
    }
    files++;
    snprintf(where, sizeof where, "%s", path);
    run(original, n);
    /* Each file has its own sequence, so that adding a file changes no other's variants. */
    state = seed ^ 0x9e3779b97f4a7c15ull;
    for (const char *c = strrchr(path, '/') ? strrchr(path, '/') : path; *c; c++) {
        state = (state ^ (uint8_t)*c) * 0x100000001b3ull;
    }
    state |= 1;
    unsigned count = n > (64 << 10) ? mutations / 8 + 1 : mutations;
    for (unsigned i = 0; i < count; i++) {
        memcpy(mutant, original, n);
        snprintf(where, sizeof where, "%s, variant %u of seed %llu", path, i,
                 (unsigned long long)seed);
        run(mutant, mutate(mutant, n));
    }
    return true;
}

static int no_dots(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static bool walk(const char *path, uint64_t seed)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        return files >= files_max || one_file(path, seed);
    }
    struct dirent **list;
    int n = scandir(path, &list, no_dots, alphasort);
    bool ok = n >= 0;
    for (int i = 0; i < n; i++) {
        char child[PATH_MAX];
        snprintf(child, sizeof child, "%s/%s", path, list[i]->d_name);
        ok = ok && walk(child, seed);
        free(list[i]);
    }
    if (n >= 0) {
        free(list);
    }
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    for (int c; (c = getopt(argc, argv, "n:s:f:")) != -1;) {
        switch (c) {
        case 'n':
            mutations = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            files_max = strtoul(optarg, NULL, 10);
            break;
        default:
            fprintf(stderr,
                    "usage: %s [-n mutations] [-s seed] [-f files] "
                    "FILE|DIRECTORY|data:SUBDIRECTORY...\n",
                    argv[0]);
            return 2;
        }
    }
    mutant = malloc(INPUT_MAX);
    pst_must(mutant);
    guard_open(&guard, INPUT_MAX);
    signal(SIGSEGV, crashed);
    signal(SIGBUS, crashed);
    signal(SIGABRT, crashed);
    bool ok = true;
    for (int i = optind; i < argc; i++) {
        bool real = strncmp(argv[i], "data:", 5) == 0;
        if (real && !data_present()) {
            printf("left out: %s (no real captures at %s)\n", argv[i] + 5, data_root());
            continue;
        }
        ok = walk(real ? data_path(argv[i] + 5) : argv[i], seed) && ok;
    }
    printf("%lu files, %lu inputs\n", files, runs);
    if (!files) {
        fprintf(stderr, "no input file was found\n");
        ok = false;
    }
    guard_close(&guard);
    free(mutant);
    return ok ? 0 : 1;
}
