/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file of a delivered splayed table: the first byte says which one (.d, time, sym,
 * price, or the domain); the others are as they should be. The table is taken, every value within
 * bounds, or refused with a sentence. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kdb_file.h"
#include "load/splayed.h"

static char dir[] = "/tmp/penstock-fuzz.splayed.XXXXXX";
static const char *const names[] = {"t/.d", "t/time", "t/sym",  "t/price",
                                    "sym",  "t/text", "t/text#"};
static uint8_t *good[PST_COUNT(names)];
static size_t ngood[PST_COUNT(names)];
static struct load_recipe *recipe;
static uint64_t rows;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(unsigned k, const uint8_t *bytes, size_t n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, names[k]);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pst_must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void column(struct io *io, const char *name, uint8_t type, const void *values)
{
    struct kdb_writer w;
    struct err err;
    char path[200];
    snprintf(path, sizeof path, "%s/t/%s", dir, name);
    pst_must(kdb_write_open(&w, io, path, type, &err) && kdb_write_at(&w, 0, values, 3, &err));
    if (type == PST_STRING)
        pst_must(kdb_write_bytes(&w, 0, "abc", 3, &err));
    pst_must(kdb_write_close(&w, 3, 0, false, &err));
}

static void clean(void)
{
    char path[200];
    for (unsigned k = 0; k < PST_COUNT(names); k++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[k]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/t", dir);
    rmdir(path);
    rmdir(dir);
}

static void prepare(void)
{
    static const char text[] =
        "{\"name\":\"f\",\"format\":\"splayed\",\"rejects\":100,\"schemas\":[{\"id\":9,\"table\":"
        "\"t\",\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],"
        "[\"price\",\"float\"],[\"text\",\"string\"]],\"keys\":[]}],\"date\":\"2024.01.02\","
        "\"optional\":[\"*\"],\"columns\":{\"*\":\"-\"}}";
    static const char *const d[] = {"time", "sym", "price", "text"}, *const s[] = {"A", "B", "C"};
    struct err err = {0};
    char path[200];
    struct io *io = io_posix_create(&err);
    pst_must(io && mkdtemp(dir));
    atexit(clean);
    snprintf(path, sizeof path, "%s/t", dir);
    pst_must(!mkdir(path, 0700));
    snprintf(path, sizeof path, "%s/t/.d", dir);
    pst_must(kdb_write_symbols(io, path, d, 4, false, &err));
    snprintf(path, sizeof path, "%s/sym", dir);
    pst_must(kdb_write_symbols(io, path, s, 3, false, &err));
    column(io, "time", PST_TIMESTAMP, (int64_t[]){1, 2, 3});
    column(io, "sym", PST_SYMBOL, (int64_t[]){0, 1, 2});
    column(io, "price", PST_FLOAT, (double[]){1, 2, 3});
    column(io, "text", PST_STRING, (int64_t[]){1, 2, 3});
    for (unsigned k = 0; k < PST_COUNT(names); k++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[k]);
        FILE *f = fopen(path, "r");
        good[k] = malloc(1 << 16);
        pst_must(f && good[k]);
        ngood[k] = fread(good[k], 1, 1 << 16, f);
        fclose(f);
    }
    io_destroy(io);
    recipe = load_recipe_parse(text, strlen(text), &err);
    pst_must(recipe);
}

static bool take(void *arg, struct load_block *b, struct err *err)
{
    const struct load_dict *d = arg;
    (void)err;
    pst_must(b->rows <= b->room && b->run_rows == b->rows);
    for (uint32_t i = 0; i < b->rows; i++) {
        uint32_t len;
        pst_must(((uint32_t *)b->col[1])[i] <= d->count);
        load_dict_text(d, ((uint32_t *)b->col[1])[i], &len);
        pst_must(len <= LOAD_SYMBOL_BYTES);
        struct load_string t = ((struct load_string *)b->col[3])[i];
        pst_must((uint64_t)t.at + t.len <= b->heap_bytes);
    }
    rows += b->rows;
    return true;
}

static bool reject(void *arg, const struct load_reject *r, struct err *err)
{
    (void)arg;
    pst_must(r->reason[0]);
    return ++rows < 10000 || err_set(err, -EILSEQ, "too many");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct load_dict d;
    struct err err = {0};
    size_t used;
    if (!recipe)
        prepare();
    if (!size || size > 1u << 16)
        return 0;
    unsigned k = data[0] % PST_COUNT(names);
    char path[200];
    snprintf(path, sizeof path, "%s/t", dir);
    put(k, data + 1, size - 1);
    pst_must(load_dict_init(&d, &err));
    const struct load_reader_config c = {
        .recipe = recipe, .dict = &d, .sink = {take, &d}, .rejects = {reject, NULL}, .path = path};
    void *r = load_reader_splayed.open(&c, &err);
    pst_must(r);
    rows = 0;
    if (!load_reader_splayed.feed(r, NULL, 0, true, &used, &err))
        pst_must(err.code < 0 && err.text[0]);
    load_reader_splayed.close(r);
    load_dict_free(&d);
    put(k, good[k], ngood[k]);
    return 0;
}
