/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - what the names of delivered files say: which are ignored, which rule they fall under,
 * which batch and which part of it they are; and what the files say that complete a batch.
 * Pure functions over text; any thread.
 *
 * PATTERNS (load.batches match, load.files match). The whole name must match.
 *     *        any characters, also none          ?      one character
 *     [a-z0]   one of these; [!…] none of these   {i}    a decimal number: the part
 *     {M}      a decimal number: how many parts   {batch} one or more characters: the batch's key
 *     {ANY}    one or more characters (recipes use such groups: here they only match)
 * {batch} may stand several times; the pieces are joined with a space. Numbers take all digits that
 * stand there, * and {batch} as few characters as possible. Letters compare exactly.
 *
 * THE KEY OF A BATCH, in its directory and under its rule:
 *     count     the pieces of {batch}; without one, the name with its <i>of<M> replaced by
 *               `#of#`, so that parts differ in nothing else. A pattern without {i} and {M}: the
 *               last <digits>of<digits> of the name (`of` in any case).
 *     trigger   the pieces of {batch} in the trigger's own pattern, else the trigger's name without
 *     manifest  its suffix: files whose {batch} is the same; where `match` has no {batch}: files
 *               of that name, or whose name goes on with . _ or - behind it. An empty stem (a file
 *               named like the suffix): all files of the rule.
 *     each      one batch of all files that are complete at the same time; each stands for itself
 *
 * MANIFESTS, at most LOAD_MARKER_BYTES:
 *     sha256sum, md5sum, sha1sum, sha512sum     `HEX  name` or `HEX *name`, one a line; # comments
 *     their --tag form                          `SHA256 (name) = HEX`
 *     JSON   {"files":[{"name":"a.csv","sha256":"HEX","size":123}, …]}: md5 sha1 sha256 sha512;
 *            both optional; or {"name":"HEX", …}
 * Names are those of files beside the manifest (a leading ./ is cut off): others are refused, so
 * that a manifest cannot make us read elsewhere. A name twice is refused.
 */
#pragma once

#include <errno.h>
#include "core/base.h"

#define LOAD_NAME_MAX     256u
#define LOAD_KEY_MAX      512u
#define LOAD_PARTS_MAX    1000000u
#define LOAD_MARKER_BYTES (16u << 20)
#define LOAD_MARKED_MAX   100000u /* files in a manifest */

enum load_by { LOAD_BY_EACH, LOAD_BY_COUNT, LOAD_BY_TRIGGER, LOAD_BY_MANIFEST };
const char *load_by_name(enum load_by);

struct load_named {
    uint32_t part, parts; /* {i}, {M}; 0 = none said */
    char key[LOAD_KEY_MAX];
    bool has_key; /* {batch} was in the pattern */
};

/* Names that are never looked at: empty, beginning with a dot, ending in .tmp .part .partial
 * .filepart .crdownload .swp .reason .rejects or ~. */
bool load_name_ignored(const char *name);
/* named may be NULL. A part number that is not in 1…parts still matches: see load_part_error. */
bool load_name_match(const char *pattern, const char *name, struct load_named *named);
/* NULL, or what is wrong with a pattern (unclosed bracket or group, two {i} …). */
const char *load_pattern_error(const char *pattern);
/* Is this a file of a batch that is counted? Fills part, parts and the key. */
bool load_name_counted(const char *pattern, const char *name, struct load_named *named);
/* NULL, or "part 4 of 3" … */
const char *load_part_error(const struct load_named *named, char text[100]);

/* Is it the file that completes batches of such a rule? marker: a pattern, or a suffix (it begins
 * with a dot and has no * ? [ {). Fills the key; has_key = false: key is the stem. */
/* Of a marker named by a suffix: `named` holds its stem. Where the files' pattern has {batch}, the
 * stem is that, or what the files' names have in common up to its end: with t_{batch}_*.csv both
 * nov.done and t_nov.done belong to t_nov_1.csv. False: the pattern has no {batch}. */
bool load_marker_key(const char *match, struct load_named *named);
bool load_name_marker(const char *marker, const char *name, struct load_named *named);
/* Does a data file belong to that marker? file: by load_name_match of the rule's pattern. */
bool load_marker_covers(const struct load_named *marker, const char *name,
                        const struct load_named *file);

struct load_marked {
    char *name;
    char *digest;  /* "sha256:hex" in small letters; NULL = none given */
    uint64_t size; /* UINT64_MAX = not said */
};
struct load_marks {
    unsigned n;
    struct load_marked *file;
};
/* False: err names the line or member. */
bool load_marks_parse(struct load_marks *m, const char *text, size_t n, struct err *err);
void load_marks_free(struct load_marks *m);
