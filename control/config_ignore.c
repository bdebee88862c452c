/* SPDX-License-Identifier: Apache-2.0 */
/* Builds with fault points only: a key that is read as if the file said something else. */
#include "config_keys.h"

#ifdef PST_FAULTS

#include <stdlib.h>

/* A name or path beside the one that was given. */
static bool beside(const char **text, const char *what, struct config_arena **arena)
{
    size_t size = strlen(*text) + strlen(what) + 1;
    char *other = config_alloc(arena, size);
    if (other) {
        snprintf(other, size, "%s%s", *text, what);
        *text = other;
    }
    return other;
}

bool config_ignored(const struct config_key *k)
{
    const char *wanted = getenv("PST_KEY_IGNORE"), *section = config_sections[k->section].name;
    size_t n = strlen(section);
    return wanted && strncmp(wanted, section, n) == 0 && wanted[n] == '.' &&
           strcmp(wanted + n + 1, k->name) == 0;
}

/* What cannot be left at its default: a required key has none, and a path's lies outside a test. */
bool config_other_value(const struct config_key *k, void *at, struct config_arena **arena)
{
    switch (k->kind) {
    case KIND_PATH:
        return beside(at, ".ignored", arena);
    case KIND_TEXT:
    case KIND_NAME:
        return beside(at, "_", arena);
    case KIND_ENUM:
        *(int *)at = *(int *)at ? *(int *)at - 1 : 1;
        return true;
    case KIND_BITS:
        *(uint64_t *)at ^= 1;
        return true;
    case KIND_ENDPOINT:
        ((struct config_endpoint *)at)->port ^= 1;
        return true;
    case KIND_NAMES:
        ((struct config_names *)at)->count -= ((struct config_names *)at)->count > 0;
        return true;
    default:
        *(int64_t *)at ^= 1;
        return true;
    }
}

#endif
