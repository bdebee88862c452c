/* SPDX-License-Identifier: Apache-2.0 */
/* A log file of a newer format is refused, by readers and by recovery, in one line with both
 * versions; the file is left as it is. (That old files read for ever: system/formats.sh.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/io.h"
#include "core/schema.h"
#include "core/symbols.h"
#include "log_file.h"
#include "logscan.h"
#include "recovery.h"

#define SET  PST_FORMATS "/1/replay/log/log2026.11.20"
#define NAME "log2026.11.20"

static uint8_t file[1 << 20];
static size_t bytes;
static struct log_file_header header;
static char dir[] = "/tmp/penstock-formats.XXXXXX", path[256];

/* The kept file, with `format` in both copies of its header. */
static void write_file(uint32_t format)
{
    FILE *f = fopen(SET, "r");
    assert_non_null(f);
    bytes = fread(file, 1, sizeof file, f);
    fclose(f);
    assert_true(bytes > LOG_PREAMBLE && bytes < sizeof file);
    assert_int_equal(log_file_header_find(&header, file, bytes, 0), LOG_HEADER_OK);
    assert_int_equal(header.format, 1);
    const struct frame *old = (const struct frame *)file;
    uint8_t *head = aligned_alloc(8, LOG_BLOCK);
    assert_non_null(head);
    header.format = format;
    assert_int_equal(
        log_file_frame(head, &header, LOG_FILE_HEADER, &header, sizeof header, old->time),
        LOG_BLOCK);
    memcpy(file, head, LOG_BLOCK);
    memcpy(file + LOG_BLOCK, head, LOG_BLOCK);
    free(head);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void assert_names_both(const char *text, uint32_t format)
{
    char newer[32], mine[32];
    snprintf(newer, sizeof newer, "log format %u", format);
    snprintf(mine, sizeof mine, "up to %u", LOG_FORMAT);
    if (!strstr(text, newer) || !strstr(text, mine) || !strstr(text, NAME) || strchr(text, '\n'))
        fail_msg("does not name the file and both versions in a line: %s", text);
}

static bool recover(struct io *io, struct err *err)
{
    struct symbols symbols;
    struct schema_set *schemas = schema_set_new();
    struct recovery *r = calloc(1, sizeof *r);
    assert_non_null(schemas);
    assert_non_null(r);
    assert_true(symbols_create(&symbols, 1000, err));
    struct recovery_config c = {.io = io,
                                .dirs = {dir},
                                .prefix = "log",
                                .instance = header.instance,
                                .symbols = &symbols,
                                .schemas = schemas};
    *err = (struct err){0};
    bool ok = recovery_run(r, &c, err);
    recovery_free(r);
    free(r);
    schema_set_free(schemas);
    symbols_close(&symbols);
    return ok;
}

static void newer_is_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct io *io = io_posix_create(&err);
    assert_non_null(io);
    struct logscan s;
    write_file(LOG_FORMAT); /* as it is: both take it */
    assert_true(logscan_open(&s, io, path, header.instance, &err));
    logscan_close(&s);
    if (!recover(io, &err))
        fail_msg("%s", err.text);
    for (uint32_t format = LOG_FORMAT + 1; format < LOG_FORMAT + 3; format++) {
        write_file(format);
        assert_false(logscan_open(&s, io, path, 0, &err));
        assert_names_both(err.text, format);
        assert_false(recover(io, &err));
        assert_names_both(err.text, format);
        static uint8_t after[sizeof file];
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fread(after, 1, sizeof after, f), bytes);
        fclose(f);
        assert_memory_equal(after, file, bytes);
    }
    io_destroy(io);
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/%s", dir, NAME);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(newer_is_refused)};
    return cmocka_run_group_tests_name("formats", tests, begin, finish);
}
