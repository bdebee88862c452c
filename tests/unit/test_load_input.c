/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_input.c - delivered files as bytes: every format whole, in reads of every size, cut at
 * every byte, with every byte changed, with bytes behind; files that change, grow and are none.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/sanitized.h"
#include "load/input.h"
#include "load_pack.h"

/* Sanitizers make each of some 30,000 openings dear: they see every fifth. */
#define STEP (PST_SANITIZED ? 5 : 1)

static char root[] = "/tmp/penstock-test.input.XXXXXX";
static struct packed text; /* what is packed: lines, some 3 kB */

static const char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

/* Reads it all, keeping what is behind the last line end each time, as a text reader does. 0, or
 * the error's code. */
static int take(const void *bytes, size_t n, const struct load_input_config *how,
                struct packed *out, struct err *err)
{
    struct load_input_config c = *how;
    c.memory = bytes;
    c.memory_bytes = n;
    struct load_input *in = load_input_open("file", &c, err);
    const uint8_t *p;
    size_t got, keep = 0;
    bool last = false, ok = in != NULL;
    out->n = 0;
    while (ok && !last) {
        ok = load_input_next(in, keep, &p, &got, &last, err);
        if (!ok)
            break;
        for (size_t i = 0; i < LOAD_PAD; i++)
            assert_int_equal(p[got + i], 0);
        assert_true(got >= keep);
        const uint8_t *nl = memrchr(p, '\n', got);
        size_t used = last ? got : nl ? (size_t)(nl - p) + 1 : 0;
        pack_add(out, p, used);
        keep = got - used;
    }
    load_input_close(in);
    return ok ? 0 : err->code;
}

static void expect(const struct packed *file, const struct load_input_config *how)
{
    struct packed out = {0};
    struct err err = {0};
    if (take(file->at, file->n, how, &out, &err))
        fail_msg("%s", err.text);
    assert_int_equal(out.n, text.n);
    assert_memory_equal(out.at, text.at, text.n);
    free(out.at);
}

/* Each format once, and with several members. sound: lengths at which a cut file is whole again. */
struct sample {
    const char *name;
    struct packed file;
    enum load_compression is;
    size_t sound[2];
};
static struct sample samples[16];
static unsigned nsamples;

static void half(struct packed *p, void (*pack)(struct packed *, const void *, size_t), size_t *at)
{
    size_t k = text.n / 3;
    pack(p, text.at, k);
    *at = p->n;
    pack(p, text.at + k, text.n - k);
}

static void zip(const char *name, struct zip_how how)
{
    struct sample *s = &samples[nsamples++];
    s->name = name;
    s->is = LOAD_ZIP;
    pack_zip(&s->file, text.at, text.n, &how);
}

static int make_samples(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    char line[100];
    for (int i = 0; i < 70; i++) {
        snprintf(line, sizeof line, "2024-08-05T09:30:%02d,S%03d,%d.%02d,%d\n", i % 60, i * 7 % 50,
                 100 + i, i % 100, i * i % 977);
        pack_add(&text, line, strlen(line));
    }
    static const struct {
        const char *name;
        void (*pack)(struct packed *, const void *, size_t);
        enum load_compression is;
    } streams[] = {{"gzip", pack_gzip, LOAD_GZIP},
                   {"zstd", pack_zstd, LOAD_ZSTD},
                   {"lz4", pack_lz4, LOAD_LZ4}};
    for (unsigned i = 0; i < PST_COUNT(streams); i++) {
        struct sample *s = &samples[nsamples++];
        s->name = streams[i].name;
        s->is = streams[i].is;
        streams[i].pack(&s->file, text.at, text.n);
        s = &samples[nsamples++];
        s->name = "two members";
        s->is = streams[i].is;
        half(&s->file, streams[i].pack, &s->sound[0]);
    }
    /* a skippable frame in front of a zstd one */
    struct sample *s = &samples[nsamples++];
    s->name = "skippable";
    s->is = LOAD_ZSTD;
    pack_add(&s->file, "\x50\x2a\x4d\x18\x05\0\0\0hello", 13);
    pack_zstd(&s->file, text.at, text.n);
    s->sound[0] = 13; /* a frame that says nothing, and no text */
    zip("zip", (struct zip_how){0});
    zip("zip stored", (struct zip_how){.stored = true});
    zip("zip descriptor", (struct zip_how){.descriptor = true});
    zip("zip64", (struct zip_how){.zip64 = true, .comment = "a comment"});
    zip("zip64 descriptor", (struct zip_how){.zip64 = true, .descriptor = true});
    return 0;
}

static int forget(void **state)
{
    char command[256];
    (void)state;
    for (unsigned i = 0; i < nsamples; i++)
        free(samples[i].file.at);
    free(text.at);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* ---- whole ---- */

static void test_whole(void **state)
{
    static const uint32_t chunks[] = {0, 1, 2, 3, 7, 19, 64, 1000, 4096};
    (void)state;
    for (unsigned i = 0; i < nsamples; i++)
        for (unsigned c = 0; c < PST_COUNT(chunks); c++)
            for (int threads = 0; threads < 2; threads++) {
                struct load_input_config how = {.threads = threads, .chunk = chunks[c]};
                expect(&samples[i].file, &how); /* known by its first bytes */
                how.compression = samples[i].is;
                expect(&samples[i].file, &how);
            }
    struct load_input_config plain = {.chunk = 5};
    expect(&text, &plain);
}

/* A file of several pieces, rows across their ends; hashes do not depend on how it is read. */
static void test_large(void **state)
{
    struct packed big = {0}, out = {0}, file = {0};
    struct err err = {0};
    (void)state;
    while (big.n < 5 * (LOAD_PIECE / 2) + 12345)
        pack_add(&big, text.at, text.n);
    struct packed was = text;
    text = big;
    for (int threads = 0; threads < 2; threads++) {
        const struct load_input_config how = {.threads = threads};
        expect(&big, &how);
        file.n = 0;
        pack_gzip(&file, big.at, big.n);
        expect(&file, &how);
        file.n = 0;
        pack_zstd(&file, big.at, big.n);
        expect(&file, &how);
        file.n = 0;
        pack_lz4(&file, big.at, big.n);
        expect(&file, &how);
    }
    text = was;
    uint64_t size;
    struct hash128 a, b;
    put("big", big.at, big.n);
    assert_true(load_file_hash(path_of("big"), &size, &a, &err));
    assert_int_equal(size, big.n);
    struct load_input_config how = {.memory = big.at, .memory_bytes = big.n, .chunk = 999};
    struct load_input *in = load_input_open("x", &how, &err);
    const uint8_t *p;
    size_t n;
    for (bool last = false; !last;)
        assert_true(load_input_next(in, 0, &p, &n, &last, &err));
    b = load_input_hash(in);
    assert_memory_equal(&a, &b, sizeof a);
    load_input_close(in);
    big.at[big.n / 2] ^= 1;
    put("big", big.at, big.n);
    assert_true(load_file_hash(path_of("big"), &size, &b, &err));
    assert_memory_not_equal(&a, &b, sizeof a);
    /* a row longer than a piece and what is kept */
    memset(big.at, 'x', big.n);
    assert_int_equal(take(big.at, big.n, &(struct load_input_config){0}, &out, &err), -E2BIG);
    free(big.at);
    free(file.at);
    free(out.at);
}

/* Closing in the middle, at every moment: no thread is left, no memory. */
static void test_early(void **state)
{
    struct packed big = {0};
    struct err err = {0};
    (void)state;
    while (big.n < 4 * LOAD_PIECE)
        pack_add(&big, text.at, text.n);
    for (unsigned pieces = 0; pieces < 4; pieces++) {
        struct load_input_config how = {.threads = true, .memory = big.at, .memory_bytes = big.n};
        struct load_input *in = load_input_open("x", &how, &err);
        const uint8_t *p;
        size_t n;
        bool last;
        assert_non_null(in);
        for (unsigned i = 0; i < pieces; i++)
            assert_true(load_input_next(in, 0, &p, &n, &last, &err));
        load_input_close(in);
    }
    free(big.at);
}

/* ---- damaged ---- */

static void test_cut(void **state)
{
    struct packed out = {0};
    (void)state;
    for (unsigned i = 0; i < nsamples; i++) {
        const struct sample *s = &samples[i];
        struct load_input_config how = {.compression = s->is};
        for (size_t n = 0; n < s->file.n; n += STEP) {
            struct err err = {0};
            uint8_t *exact = malloc(n ? n : 1); /* sanitizers see a byte too many */
            assert_non_null(exact);
            memcpy(exact, s->file.at, n);
            how.chunk = n % 3 ? 0 : 13;
            int code = take(exact, n, &how, &out, &err);
            free(exact);
            if (n && n == s->sound[0]) {
                assert_int_equal(code, 0);
                continue;
            }
            if (code != -ENODATA && code != -EBADMSG)
                fail_msg("%s cut at %zu of %zu: %d %s", s->name, n, s->file.n, code, err.text);
            assert_non_null(strstr(err.text, "file: "));
            assert_non_null(strstr(err.text, "deliver it again"));
        }
    }
    free(out.at);
}

/* What comes out of a changed file is either refused or what was packed: nothing is silently
 * something else. */
static void test_changed(void **state)
{
    struct packed out = {0};
    (void)state;
    for (unsigned i = 0; i < nsamples; i++) {
        const struct sample *s = &samples[i];
        struct load_input_config how = {.compression = s->is};
        for (size_t n = 0; n < s->file.n * 2; n += STEP) {
            struct err err = {0};
            s->file.at[n / 2] ^= n & 1 ? 0xff : 1;
            int code = take(s->file.at, s->file.n, &how, &out, &err);
            s->file.at[n / 2] ^= n & 1 ? 0xff : 1;
            if (!code && (out.n != text.n || memcmp(out.at, text.at, text.n)))
                fail_msg("%s with byte %zu changed: other text", s->name, n / 2);
            assert_true(!code || err.text[0]);
        }
    }
    free(out.at);
}

static void test_behind(void **state)
{
    struct packed out = {0};
    static const uint8_t zeros[3000];
    (void)state;
    for (unsigned i = 0; i < nsamples; i++) {
        const struct sample *s = &samples[i];
        struct load_input_config how = {.compression = s->is};
        struct packed file = {0};
        struct err err = {0};
        pack_add(&file, s->file.at, s->file.n);
        pack_add(&file, "garbage", 7);
        int code = take(file.at, file.n, &how, &out, &err);
        if (!code || (code != -EBADMSG && s->is != LOAD_ZIP))
            fail_msg("%s with bytes behind it: %d %s", s->name, code, err.text);
        file.n = s->file.n;
        pack_add(&file, zeros, sizeof zeros);
        for (unsigned c = 0; c < 3; c++) {
            how.chunk = c * 17;
            code = take(file.at, file.n, &how, &out, &err);
            assert_int_equal(code == 0, s->is == LOAD_GZIP); /* tapes pad with zeros */
        }
        pack_add(&file, "x", 1);
        assert_int_not_equal(take(file.at, file.n, &how, &out, &err), 0);
        free(file.at);
    }
    free(out.at);
}

static void test_zips(void **state)
{
    struct packed file = {0}, out = {0};
    struct err err = {0};
    struct load_input_config how = {0};
    (void)state;
    pack_zip(&file, text.at, text.n, &(struct zip_how){.files = 2});
    assert_int_equal(take(file.at, file.n, &how, &out, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "several files"));
    how.first_only = true;
    expect(&file, &how);
    file.at[file.n - 22 + 10] = 0; /* no entries */
    file.at[file.n - 22 + 8] = 0;
    assert_int_equal(take(file.at, file.n, &how, &out, &err), -ENODATA);
    file.n = 0;
    pack_zip(&file, text.at, text.n, &(struct zip_how){0});
    uint8_t *central = memmem(file.at, file.n, "\x50\x4b\x01\x02", 4);
    central[8] |= 1;
    assert_int_equal(take(file.at, file.n, &how, &out, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "encrypted"));
    central[8] &= (uint8_t)~1;
    central[10] = 12; /* bzip2 */
    assert_int_equal(take(file.at, file.n, &how, &out, &err), -ENOTSUP);
    free(file.at);
    free(out.at);
}

/* ---- limits and files ---- */

static void test_limits(void **state)
{
    struct packed out = {0}, file = {0};
    struct err err = {0};
    (void)state;
    struct load_input_config how = {.limit = text.n - 1};
    for (unsigned i = 0; i < nsamples; i++)
        assert_int_equal(take(samples[i].file.at, samples[i].file.n, &how, &out, &err), -EFBIG);
    how.limit = text.n;
    expect(&samples[0].file, &how);
    /* a window larger than allowed is refused before it is allocated */
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t n = 9u << 20;
    uint8_t *big = calloc(1, n), *packed = malloc(ZSTD_compressBound(n));
    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 24);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    ZSTD_inBuffer i = {big, n, 0};
    ZSTD_outBuffer o = {packed, ZSTD_compressBound(n), 0};
    assert_true(!ZSTD_compressStream2(c, &o, &i, ZSTD_e_end));
    how = (struct load_input_config){.window_max = 8u << 20};
    assert_int_equal(take(packed, o.pos, &how, &out, &err), -EFBIG);
    assert_non_null(strstr(err.text, "window"));
    ZSTD_freeCCtx(c);
    free(big);
    free(packed);
    free(file.at);
    free(out.at);
}

static int read_file(const char *name, struct err *err)
{
    struct load_input_config how = {.threads = true};
    struct load_input *in = load_input_open(path_of(name), &how, err);
    const uint8_t *p;
    size_t n;
    bool last = false, ok = in != NULL;
    while (ok && !last)
        ok = load_input_next(in, 0, &p, &n, &last, err);
    load_input_close(in);
    return ok ? 0 : err->code;
}

static void test_files(void **state)
{
    struct err err = {0};
    const uint8_t *p;
    size_t n;
    bool last;
    (void)state;
    assert_int_equal(read_file("none", &err), -ENOENT);
    assert_int_equal(mkdir(path_of("dir"), 0700), 0);
    assert_int_equal(read_file("dir", &err), -EISDIR);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0); /* does not hang */
    assert_int_equal(read_file("fifo", &err), -EINVAL);
    put("other", "secret\n", 7);
    assert_int_equal(symlink("other", path_of("link")), 0);
    assert_int_equal(read_file("link", &err), -ELOOP);
    assert_non_null(strstr(err.text, "link: it is a symbolic link"));
    put("empty", "", 0);
    assert_int_equal(read_file("empty", &err), 0);
    put("text", text.at, text.n);
    assert_int_equal(read_file("text", &err), 0);
    for (int how = 0; how < 3; how++) { /* it grows, shrinks, is replaced while it is read */
        struct load_input_config c = {.chunk = 100};
        put("text", text.at, text.n);
        struct load_input *in = load_input_open(path_of("text"), &c, &err);
        assert_non_null(in);
        if (how == 0) {
            int fd = open(path_of("text"), O_WRONLY | O_APPEND);
            assert_int_equal(write(fd, "more\n", 5), 5);
            close(fd);
        } else if (how == 1)
            assert_int_equal(truncate(path_of("text"), 10), 0);
        else {
            char from[200];
            put("new", text.at, text.n);
            strcpy(from, path_of("new"));
            assert_int_equal(rename(from, path_of("text")), 0);
        }
        bool ok = true;
        for (last = false; ok && !last;)
            ok = load_input_next(in, 0, &p, &n, &last, &err);
        assert_false(ok);
        assert_int_equal(err.code, -EBUSY);
        assert_non_null(strstr(err.text, "it changed while it was read"));
        load_input_close(in);
    }
}

static void test_estimates(void **state)
{
    struct err err = {0};
    uint64_t bytes;
    (void)state;
    put("text", text.at, text.n);
    assert_true(load_input_estimate(path_of("text"), 5, &bytes, &err));
    assert_int_equal(bytes, text.n);
    for (unsigned i = 0; i < nsamples; i++) {
        if (samples[i].sound[0])
            continue; /* several members: only the last one's size is known */
        put("packed", samples[i].file.at, samples[i].file.n);
        assert_true(load_input_estimate(path_of("packed"), 5, &bytes, &err));
        assert_int_equal(bytes, text.n);
    }
    assert_false(load_input_estimate(path_of("none"), 5, &bytes, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_early),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_changed), cmocka_unit_test(test_behind),
        cmocka_unit_test(test_zips),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_files),   cmocka_unit_test(test_estimates)};
    return cmocka_run_group_tests(tests, make_samples, forget);
}
