/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of delivered files against patterns, both of any bytes; the match against a plain one that
 * tries everything. Manifests of any bytes: refused with one sentence, or names that lie beside
 * them.
 */
#include "load/batch.h"
#include "load/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Patterns of * ? and letters only, by definition. */
static bool plain(const char *p, const char *n)
{
    if (!*p)
        return !*n;
    if (*p == '*')
        return plain(p + 1, n) || (*n && plain(p, n + 1));
    return *n && (*p == '?' || *p == *n) && plain(p + 1, n + 1);
}

static void names(const char *pattern, const char *name)
{
    struct load_named named, counted;
    char text[100];
    if (load_pattern_error(pattern))
        return;
    bool match = load_name_match(pattern, name, &named);
    if (!strpbrk(pattern, "[{") && strlen(pattern) < 12 && strlen(name) < 24)
        pst_must(match == plain(pattern, name));
    if (match) {
        pst_must(strlen(named.key) < LOAD_KEY_MAX);
        pst_must(named.part <= LOAD_PARTS_MAX + 1 && named.parts <= LOAD_PARTS_MAX + 1);
        load_part_error(&named, text);
    }
    if (load_name_counted(pattern, name, &counted)) {
        pst_must(match);
        if (!load_part_error(&counted, text))
            pst_must(counted.part >= 1 && counted.part <= counted.parts);
    }
    struct load_named marker;
    if (load_name_marker(pattern, name, &marker) && match)
        load_marker_covers(&marker, name, &named);
    load_name_ignored(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct load_marks m;
    struct err err = {0};
    if (!load_marks_parse(&m, (const char *)data, size, &err))
        pst_must(err.code < 0 && *err.text && !strchr(err.text, '\n'));
    else {
        pst_must(m.n && m.n <= LOAD_MARKED_MAX);
        for (unsigned i = 0; i < m.n; i++) {
            pst_must(*m.file[i].name && !strchr(m.file[i].name, '/'));
            pst_must(strcmp(m.file[i].name, "..") != 0 && !load_name_ignored(m.file[i].name));
            pst_must(!m.file[i].digest || load_digest_valid(m.file[i].digest));
        }
        load_marks_free(&m);
    }
    char *text = malloc(size + 1);
    pst_must(text);
    memcpy(text, data, size);
    text[size] = 0;
    char *name = memchr(text, '\n', size);
    if (name) {
        *name++ = 0;
        names(text, name);
        names("{batch}_{i}of{M}*", name);
        names("*", text);
    }
    free(text);
    return 0;
}
