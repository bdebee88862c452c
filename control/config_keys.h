/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_keys.h - keys.def as tables, and the texts of values. Private to config*.c and its tests;
 * users.c reads its file with the same words.
 */
#pragma once

#include "config.h"

enum config_kind {
    KIND_BOOL,
    KIND_INT,
    KIND_COUNT,
    KIND_SIZE,
    KIND_DURATION,
    KIND_TIME,
    KIND_DATE,
    KIND_BITS,
    KIND_ENUM,
    KIND_TEXT,
    KIND_PATH,
    KIND_NAME,
    KIND_ZONE,
    KIND_HOURS,
    KIND_ENDPOINT,
    KIND_ADDRESS,
    KIND_WEEKDAYS,
    KIND_NAMES,
    KIND_DATES,
    KIND_SUB,
    KIND_LIST
};

enum { CONFIG_LIVE = 1, CONFIG_REQUIRED = 2, CONFIG_REFUSED = 4 };

enum config_section_id {
#define SECTION(section, sentence) SECTION_##section,
#define KEY(...)
#define SUB(...)
#define LIST(...)
#include "keys.def"
#undef SECTION
#undef KEY
#undef SUB
#undef LIST
    SECTION_COUNT
};

struct config_section {
    const char *name, *sentence;
    size_t size;
};
struct config_key {
    int section, kind, child; /* child: a section, for KIND_SUB and KIND_LIST */
    const char *name, *def, *unit;
    int64_t min, max;
    int flags;
    const char *sentence;
    size_t offset, size;
};

extern const struct config_section config_sections[SECTION_COUNT];
extern const struct config_key config_keys[];
extern const uint32_t config_key_count;

/* The layout that every CONFIG_LIST shares. */
struct config_any_list {
    void *at;
    uint32_t count;
};

/* Next key of a section after `k` (NULL: the first); NULL at the end. */
const struct config_key *config_next_key(int section, const struct config_key *k);
const struct config_key *config_find_key(int section, const char *name);

/* Other names at the top of the file, and the tickerplant template's names for our keys. */
struct config_alias {
    const char *name;
    int section; /* the top's, or that of a SUB there */
    const char *key;
};
struct config_template {
    const char *parameter, *key, *note;
};
extern const struct config_alias config_aliases[];
extern const struct config_template config_templates[];
extern const uint32_t config_alias_count, config_template_count;
const struct config_alias *config_find_alias(const char *name);
/* Where the members of an alias's key are, in the configuration. */
void *config_alias_object(const struct config_alias *a, struct config *c);

/* The nearest of the names that `next` yields (until NULL), NULL if nothing is near. */
struct config_nearest {
    const char *wanted, *best;
    unsigned distance;
};
void config_nearest_try(struct config_nearest *n, const char *candidate);

void *config_alloc(struct config_arena **a, size_t size); /* zeroed; NULL: out of memory */
char *config_strdup(struct config_arena **a, const char *s);
void config_arena_free(struct config_arena *a);

/* Is the text YAML of one document, without aliases, anchors and tags, nested to at most
 * CONFIG_DEPTH_MAX? */
bool config_scan(const char *file, const char *text, size_t size, struct err *err);

/*
 * One scalar text into the member at `at`. false: `why` says what is wrong and what to do, without
 * the key's name. Not for KIND_NAMES, KIND_DATES, KIND_SUB and KIND_LIST.
 */
bool config_value_parse(const struct config_key *k, const char *text, void *at,
                        struct config_arena **arena, char *why, size_t why_size);

/*
 * A proof by mutation that a key has an effect (tests/effects.sh). In a build with -Dfaults=true,
 * PST_KEY_IGNORE=section.key makes the loader ignore what the file says for that key: its default
 * stays, and a key that is required or a path with a default gets another value than the one given.
 */
#ifdef PST_FAULTS
bool config_ignored(const struct config_key *k);
bool config_other_value(const struct config_key *k, void *at, struct config_arena **arena);
#endif

/* The reverse; NULL when the member is unset. The text lies in buf or in the configuration. */
const char *config_value_text(const struct config_key *k, const void *at, char buf[64]);

/* Sets every member of a section's struct to its default; lists are empty. */
bool config_defaults(int section, void *object, struct config_arena **arena, struct err *err);

/* The i-th choice of an ENUM's unit text into buf; NULL past the last. */
const char *config_choice(const struct config_key *k, int i, char buf[64]);

/* "10ms ... 1h", or "" where there is no range. */
const char *config_range_text(const struct config_key *k, char buf[160]);
const char *config_kind_name(int kind);
