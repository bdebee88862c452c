/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.h - the read task: a delivered file becomes column files in the task's private directory.
 *
 *   <dir>/result.json                         written last, by rename: without it the task is
 *                                             undone
 *   <dir>/symbols                             the file's distinct symbols: texts with their NUL,
 *                                             the k-th (from 1) is code k; 0 is null (dict.h)
 *   <dir>/rejects                             bad rows, tab separated: line, column, reason, text
 *   <dir>/<YYYY.MM.DD>/<table>/<column>       raw values, no header, in the order of the file
 *
 * Column files hold load_width(type) bytes a row in the layout of a load_block: types.h's values;
 * PST_SYMBOL as uint32_t codes of `symbols`; PST_STRING as int64_t ends, cumulative, in
 * `<column>#` (the texts one after the other). There is no column `date`.
 *
 * WHY CODES, NOT TEXTS. So no worker touches the enumeration.
 * Codes of the file's own dictionary keep that property: nothing is shared, `sym` is not opened.
 * But the index and merge tasks then translate a code once a distinct text and not once a row, the
 * files are a third as large, and the distinct symbols are there without a second pass.
 *
 * RESULT, also the task's answer:
 *   {"format":1, "file":"name", "bytes":n, "unpacked":n, "compression":"gzip", "hash":"32 hex",
 *    "modified":ns, "boot":"uuid", "recipe":"name",
 *    "rows":n, "rejected":n, "seconds":x, "reader":"text",
 *    "symbols":{"count":n,"bytes":n,"crc":n},
 *    "written":[{"date":"2024.01.02","table":"trade","typ":"active","path":"2024.01.02/trade",
 *                "rows":n,"sum":"32 hex","full":"32 hex","captured":n,
 *                "time_min":ns,"time_max":ns,"time_sorted":b,"first":row,
 *                "symCol":"sym","sortCol":"time","symbolCols":[…],
 *                "columns":[["name","type",bytes,crc],
 *                           ["text","string",bytes,crc,bytes#,crc#], …]}]}
 * crc: CRC-32C, seed 0. `sum` and `full` as content_sum (content_hash.h): both as hash128_text,
 * rows summed in the read task while they are in the cache; all loaded rows count as captured:
 * receive times in a file are data. `first`: rows of that table in the file before the first one of
 * this date (for people). written is in ascending (table, date). Empty files give rows 0, written
 * []. load_result_check compares a directory with it: sizes in the same boot, CRCs in another one.
 *
 * KEYED TABLES: `sum` is that of all rows; the partition keeps the last of each key, so its hash is
 * computed again from the merged columns (merge.h).
 *
 * MEMORY does not depend on the file: one block, one write buffer a column for at most
 * a few (date, table) pairs (SAVE_BUFFERS bytes) at a time; beyond, the one used least
 * recently is flushed and closed, and opened again to append. Plus the dictionary.
 *
 * DISK. Not synced (a crash makes the task run again). A full disk is -ENOSPC: retryable.
 *
 * One thread.
 */
#pragma once

#include <jansson.h>
#include "load/dict.h"
#include "load/recipe.h"
#include "load/task.h"

#define SAVE_FORMAT      1
#define SAVE_BUFFERS     (24u << 20)  /* bytes of all write buffers together, about */
#define SAVE_BUFFER      (256u << 10) /* of one column, at most */
#define SAVE_DATES       4096u /* (date, table) pairs in a file; more is a mistake in its dates */
#define SAVE_REJECTS     1000u /* lines in `rejects`, or the recipe's limit if that is more */
#define SAVE_REJECT_TEXT 1000u /* bytes of a bad row that are shown */

struct load_save;

/* dir is created, what an earlier run left in it removed. The recipe and the dictionary stay. */
struct load_save *load_save_open(const char *dir, const struct load_recipe *r,
                                 struct load_dict *dict, struct err *err);
struct load_sink load_save_sink(struct load_save *s);
struct load_rejects load_save_rejects(struct load_save *s);
/* Writes `symbols`, result.json; *result is the caller's. facts: members to put into the result
 * ("file", "bytes" …), borrowed. False: too many rejects (-EILSEQ; result.json is not written), or
 * the disk. */
bool load_save_finish(struct load_save *s, json_t *facts, json_t **result, struct err *err);
void load_save_close(struct load_save *s); /* NULL is allowed; leaves what is on disk */
uint64_t load_save_rows(const struct load_save *s);

/*
 * ---- readers ----
 *
 * A reader turns bytes into blocks. `feed` is given pieces (input.h) and says how many bytes of
 * each it has used: the rest is seen again in front of the next piece; with `last` it uses all.
 * `whole` readers (splayed: a directory) get no bytes and do everything in one call of feed; so do
 * those that `pull` (pcap), which take them from c->input themselves.
 * All functions: false = err.
 */
struct load_reader_config {
    const struct load_recipe *recipe;
    struct load_dict *dict;
    struct load_sink sink;
    struct load_rejects rejects;
    struct load_progress *progress; /* may be NULL; rows are the reader's to add, bytes are not */
    const char *path;               /* of the delivered file, for sentences */
    struct load_input *input;       /* for readers that pull; NULL for others */
};
struct load_reader {
    const char *name; /* "text" "itch50" "pcap" "splayed" "plugin" */
    bool whole, pull;
    void *(*open)(const struct load_reader_config *c, struct err *err);
    bool (*feed)(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                 struct err *err);
    void (*close)(void *reader);
    /* Members for the result, e.g. {"gaps":2}; may be NULL. The caller's. */
    json_t *(*facts)(void *reader);
};
extern const struct load_reader load_reader_text;    /* text.c */
extern const struct load_reader load_reader_splayed; /* splayed.c */

/* What control hands over: readers that need the data plane, and plugin functions. */
struct load_hooks {
    const struct load_reader *itch50, *pcap; /* NULL: such files are refused with a sentence */
    /* By name; NULL: no such function is loaded. plugin_sink puts post_read and save before *next.
     */
    const struct load_reader *(*plugin_reader)(void *arg, const char *name);
    bool (*plugin_sink)(void *arg, const struct load_reader_config *c, const char *post_read,
                        const char *save, const char *dir, struct load_sink *next, void **state,
                        struct err *err);
    /* With ok: what they still hold goes on first. Frees the state in any case. */
    bool (*plugin_sink_end)(void *arg, void *state, bool ok, struct err *err);
    void *arg;
};

/*
 * The task `read`:
 *   {"file":"/staging/trades_1of3.csv", "dir":"<tmp>/<batch>/<k>", "recipe":{…},
 *    "size":n, "mtime":ns (since 2000; -EBUSY when the file has others), "checksum":"sha256:…" (it
 *    must have; digest.h), "threads":true, "limit":bytes (decompressed; 0 = none),
 *    "rows":n (a trial, for plan)}
 * `rows` makes it a trial: nothing is written, and the result has "preview":
 * {"table","columns":[names],"rows":[[texts]…],"rejects":["line 3, column price: …"]}.
 */
bool load_read_run(const json_t *args, const struct load_hooks *hooks,
                   struct load_progress *progress, json_t **result, struct err *err);

/* Does `dir` hold what result.json says? Sizes in the boot that wrote it; CRCs in another one, or
 * with `whole`. *result (may be NULL) is the caller's. -ENOENT: no result: run the task; -EBADMSG:
 * a file is missing, short or damaged: run it again. */
bool load_result_check(const char *dir, bool whole, json_t **result, struct err *err);
bool load_result_read(const char *dir, json_t **result, struct err *err); /* whole: false */

/* The task `hash`: {"file":path} -> {"bytes","hash"}, as a read task's result has them. A splayed
 * table's: of its files in order of their names. */
bool load_hash_run(const json_t *args, struct load_progress *progress, json_t **result,
                   struct err *err);
/* The task `verify`: {"dir":…} -> its result, when every CRC is right. */
bool load_verify_run(const json_t *args, struct load_progress *progress, json_t **result,
                     struct err *err);
