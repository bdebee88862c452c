/* SPDX-License-Identifier: Apache-2.0 */
#include "config_keys.h"
#include "core/nearest.h"

#include <errno.h>

#define US       1000LL
#define MS       (1000 * US)
#define MINUTE   (60 * PST_SECOND_NS)
#define HOUR     (60 * MINUTE)
#define MILLION  1000000LL
#define MIB      (1LL << 20)
#define LIVE     CONFIG_LIVE
#define REQUIRED CONFIG_REQUIRED
#define REFUSED  CONFIG_REFUSED

typedef bool type_BOOL;
typedef int64_t type_INT, type_COUNT, type_SIZE, type_DURATION, type_TIME, type_DATE, type_WEEKDAYS;
typedef uint64_t type_BITS;
typedef int type_ENUM;
typedef const char *type_TEXT, *type_PATH, *type_NAME, *type_ZONE, *type_HOURS;
typedef struct config_endpoint type_ENDPOINT;
typedef uint32_t type_ADDRESS;
typedef struct config_names type_NAMES;
typedef struct config_dates type_DATES;

/* The section `top` is struct config itself. */
#define config_top                config
#define MEMBER_TYPE(section, key) __typeof__(((struct config_##section *)0)->key)

/* Every key has a member of its kind's type. */
#define SECTION(section, sentence)                                                                 \
    _Static_assert(offsetof(struct config_##section, file_line) == 0, #section);
#define KEY(section, key, kind, def, unit, min, max, flags, sentence)                              \
    _Static_assert(__builtin_types_compatible_p(MEMBER_TYPE(section, key), type_##kind),           \
                   #section "." #key);
#define SUB(section, key, child, sentence)                                                         \
    _Static_assert(__builtin_types_compatible_p(MEMBER_TYPE(section, key), struct config_##child), \
                   #section "." #key);
#define LIST(section, key, child, max, sentence)                                                   \
    _Static_assert(                                                                                \
        __builtin_types_compatible_p(MEMBER_TYPE(section, key), struct config_##child##_list) &&   \
            sizeof(struct config_##child##_list) == sizeof(struct config_any_list) &&              \
            offsetof(struct config_##child##_list, count) ==                                       \
                offsetof(struct config_any_list, count),                                           \
        #section "." #key);
#include "keys.def"
#undef SECTION
#undef KEY
#undef SUB
#undef LIST

const struct config_section config_sections[SECTION_COUNT] = {
#define SECTION(section, sentence) {#section, sentence, sizeof(struct config_##section)},
#define KEY(...)
#define SUB(...)
#define LIST(...)
#include "keys.def"
#undef SECTION
#undef KEY
#undef SUB
#undef LIST
};

const struct config_key config_keys[] = {
#define SECTION(section, sentence)
#define KEY(section, key, kind, def, unit, min, max, flags, sentence)                              \
    {SECTION_##section,                                                                            \
     KIND_##kind,                                                                                  \
     -1,                                                                                           \
     #key,                                                                                         \
     def,                                                                                          \
     unit,                                                                                         \
     min,                                                                                          \
     max,                                                                                          \
     flags,                                                                                        \
     sentence,                                                                                     \
     offsetof(struct config_##section, key),                                                       \
     sizeof(MEMBER_TYPE(section, key))},
#define SUB(section, key, child, sentence)                                                         \
    {SECTION_##section,                                                                            \
     KIND_SUB,                                                                                     \
     SECTION_##child,                                                                              \
     #key,                                                                                         \
     NULL,                                                                                         \
     "",                                                                                           \
     0,                                                                                            \
     0,                                                                                            \
     0,                                                                                            \
     sentence,                                                                                     \
     offsetof(struct config_##section, key),                                                       \
     sizeof(MEMBER_TYPE(section, key))},
#define LIST(section, key, child, max, sentence)                                                   \
    {SECTION_##section,                                                                            \
     KIND_LIST,                                                                                    \
     SECTION_##child,                                                                              \
     #key,                                                                                         \
     NULL,                                                                                         \
     "",                                                                                           \
     0,                                                                                            \
     max,                                                                                          \
     0,                                                                                            \
     sentence,                                                                                     \
     offsetof(struct config_##section, key),                                                       \
     sizeof(MEMBER_TYPE(section, key))},
#include "keys.def"
};
const uint32_t config_key_count = PST_COUNT(config_keys);
#undef SECTION
#undef KEY
#undef SUB
#undef LIST

#define SECTION(...)
#define KEY(...)
#define SUB(...)
#define LIST(...)
#define ALIAS(alias, section, key) {#alias, SECTION_##section, #key},
const struct config_alias config_aliases[] = {
#include "keys.def"
};
const uint32_t config_alias_count = PST_COUNT(config_aliases);
#define TEMPLATE(parameter, key, note) {#parameter, #key, note},
const struct config_template config_templates[] = {
#include "keys.def"
};
const uint32_t config_template_count = PST_COUNT(config_templates);

const struct config_alias *config_find_alias(const char *name)
{
    for (uint32_t i = 0; i < config_alias_count; i++) {
        if (strcmp(config_aliases[i].name, name) == 0) {
            return &config_aliases[i];
        }
    }
    return NULL;
}

void *config_alias_object(const struct config_alias *a, struct config *c)
{
    for (const struct config_key *k = NULL; (k = config_next_key(SECTION_top, k));) {
        if (k->kind == KIND_SUB && k->child == a->section) {
            return (char *)c + k->offset;
        }
    }
    return c;
}

const struct config_key *config_next_key(int section, const struct config_key *k)
{
    for (k = k ? k + 1 : config_keys; k < config_keys + config_key_count; k++) {
        if (k->section == section) {
            return k;
        }
    }
    return NULL;
}

const struct config_key *config_find_key(int section, const char *name)
{
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        if (strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

/* ---- the nearest name -------------------------------------------------------------------------
 */

void config_nearest_try(struct config_nearest *n, const char *candidate)
{
    size_t na = strlen(n->wanted), nb = strlen(candidate);
    if (na == 0 || na > NEAREST_MAX || nb > NEAREST_MAX) {
        return;
    }
    unsigned d = nearest_edits(n->wanted, candidate);
    unsigned limit = (unsigned)(na > nb ? na : nb) / 3 + 1;
    if (d <= limit && d < nb && (!n->best || d < n->distance)) {
        n->best = candidate;
        n->distance = d;
    }
}

/* ---- memory -----------------------------------------------------------------------------------
 */

#define BLOCK_BYTES 16384

struct config_arena {
    struct config_arena *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

void *config_alloc(struct config_arena **a, size_t size)
{
    size = pst_align_up(size ? size : 1, 16);
    if (!*a || (*a)->size - (*a)->used < size) {
        size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct config_arena *block = calloc(1, sizeof *block + bytes);
        if (!block) {
            return NULL;
        }
        block->size = bytes;
        block->next = *a;
        *a = block;
    }
    void *p = (*a)->bytes + (*a)->used;
    (*a)->used += size;
    return p;
}

char *config_strdup(struct config_arena **a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = config_alloc(a, n);
    if (copy) {
        memcpy(copy, s, n);
    }
    return copy;
}

void config_arena_free(struct config_arena *a)
{
    while (a) {
        struct config_arena *next = a->next;
        free(a);
        a = next;
    }
}

static void zone_free_all(struct config *c)
{
    for (uint32_t i = 0; i < c->feeds.count; i++) {
        struct config_feed *f = &c->feeds.at[i];
        if (f->open_hours.zone != f->tz) {
            tzone_free((struct tzone *)f->open_hours.zone);
        }
        if (f->tz != config_calendar(c, f->calendar)->zone) {
            tzone_free((struct tzone *)f->tz);
        }
    }
    for (uint32_t i = 1; i < config_calendars(c); i++) {
        if (config_calendar(c, i)->zone != c->main_calendar.zone) {
            tzone_free((struct tzone *)config_calendar(c, i)->zone);
        }
    }
    tzone_free((struct tzone *)c->main_calendar.zone);
}

void config_free(struct config *c)
{
    if (!c) {
        return;
    }
    zone_free_all(c);
    config_arena_free(c->arena); /* the configuration itself lies in it */
}
