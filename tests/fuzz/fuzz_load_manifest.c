/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load.manifest of any bytes: refused with one sentence, or a loader that works: it ticks, shows
 * itself, takes a file, and what it writes back reads as the same. The input's lines get their
 * checksums, so that the hostile content is what counts; the input as it is, too.
 */
#include <fcntl.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/crc.h"
#include "load/orchestrator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static struct io *io;

static void put(const void *p, size_t n)
{
    char path[100];
    snprintf(path, sizeof path, "%s/load.manifest", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pst_must(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
}

static void spawn(void *arg, unsigned worker, uint64_t memory)
{
    (void)memory;
    *(uint64_t *)arg |= 1ull << worker;
}
static void kill_it(void *arg, unsigned worker)
{
    (void)arg;
    (void)worker;
}
static bool send_it(void *arg, unsigned worker, uint64_t task, const char *json, size_t len)
{
    (void)arg;
    (void)worker;
    (void)task;
    pst_must(strlen(json) == len);
    return true;
}
static void intern(void *arg, const struct loader_intern *i)
{
    (void)arg;
    (void)i;
}
static void move(void *arg, const struct loader_move *m)
{
    (void)arg;
    pst_must(m->commit);
}

static char *state_of(struct loader *l)
{
    json_t *a = loader_json(l, LOADER_BATCHES, true);
    char *text = json_dumps(json_object_get(a, "total"), JSON_ENCODE_ANY);
    json_decref(a);
    return text;
}

static void run(void)
{
    static const char *staging[] = {"/staging"};
    static const struct loader_rule rule[] = {
        {.name = "parts", .by = LOAD_BY_COUNT, .match = "*of*"},
        {.name = "each", .by = LOAD_BY_EACH, .match = "*.csv"}};
    static const struct loader_pattern file[] = {{.match = "*", .name = "csv", .recipe = "{}"}};
    uint64_t spawned = 0;
    const struct loader_hooks h = {.arg = &spawned,
                                   .spawn = spawn,
                                   .kill = kill_it,
                                   .send = send_it,
                                   .intern = intern,
                                   .move = move};
    const struct loader_config c = {.io = io,
                                    .instance = 7,
                                    .boot = "b",
                                    .state_directory = dir,
                                    .temporary = dir,
                                    .staging = staging,
                                    .nstaging = 1,
                                    .workers = 2,
                                    .file_size_limit = 1000000,
                                    .retries = 2,
                                    .retry_backoff = NS_PER_S,
                                    .nrules = 2,
                                    .rule = rule,
                                    .nfiles = 1,
                                    .file = file};
    struct err err = {0};
    int64_t now = NS_PER_S;
    char *first = NULL;
    for (unsigned turn = 0; turn < 2; turn++) {
        struct loader *l = loader_create(&c, &h, &err);
        if (!l) {
            pst_must(!turn); /* what we wrote, we read */
            pst_must(err.code < 0 && *err.text && !strchr(err.text, '\n'));
            return;
        }
        loader_moving(l);
        char *text = state_of(l);
        /* a restart does not lose or invent batches; retries and failures may change their state */
        if (turn)
            pst_must(!strcmp(first, text));
        free(first);
        first = text;
        for (unsigned i = 0; i < 4; i++) {
            now += NS_PER_S;
            loader_tick(l, now, now);
            for (unsigned w = 0; w < 2; w++)
                if (spawned >> w & 1)
                    loader_worker_up(l, w, 1);
            spawned = 0;
        }
        for (unsigned t = 0; t < LOADER_TABLES; t++)
            json_decref(loader_json(l, (enum loader_table)t, true));
        json_decref(loader_status(l));
        json_decref(loader_plan(l, NULL, 0, &err));
        free(first);
        first = state_of(l);
        loader_free(l);
    }
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!io) {
        strcpy(dir, "/dev/shm/pstfuzzmanXXXXXX");
        io = io_posix_create(NULL);
        pst_must(io && mkdtemp(dir));
    }
    put(data, size);
    run();
    size_t room = size * 12 + 200, n;
    char *right = malloc(room);
    pst_must(right);
    static const char head[] = "{\"load\":1,\"instance\":\"0000000000000007\"}";
    n = (size_t)sprintf(right, "%08x %s\n", crc32c(0xFFFFFFFFu, head, sizeof head - 1), head);
    for (size_t at = 0; at < size;) {
        const uint8_t *nl = memchr(data + at, '\n', size - at);
        size_t len = nl ? (size_t)(nl - data) - at : size - at;
        n += (size_t)sprintf(right + n, "%08x ", crc32c(0xFFFFFFFFu, data + at, len));
        memcpy(right + n, data + at, len);
        n += len;
        right[n++] = '\n';
        at += len + 1;
    }
    put(right, n);
    run();
    free(right);
    return 0;
}
