/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <jansson.h>
#include "batch.h"
#include "digest.h"

#define PATTERN_MAX 512u

const char *load_by_name(enum load_by by)
{
    static const char *const names[] = {"each", "count", "trigger", "manifest"};
    return names[by];
}

bool load_name_ignored(const char *name)
{
    static const char *const ends[] = {".tmp", ".part",   ".partial", ".filepart", ".crdownload",
                                       ".swp", ".reason", ".rejects", "~"};
    size_t n = strlen(name);
    if (!n || *name == '.' || n >= LOAD_NAME_MAX)
        return true;
    for (unsigned i = 0; i < PST_COUNT(ends); i++) {
        size_t e = strlen(ends[i]);
        if (n >= e && !strcmp(name + n - e, ends[i]))
            return true;
    }
    return false;
}

/* ---- patterns ---- */

struct span {
    unsigned at, len;
};
struct matcher {
    const char *pattern, *name;
    unsigned np, nn;
    struct span part, parts, batch[16];
    unsigned nbatch;
    bool has_part, has_parts;
    /* (place in the pattern, place in the name) that cannot match: each is tried once */
    uint64_t failed[PATTERN_MAX][(LOAD_NAME_MAX + 63) / 64];
};

/* Length of the {group} or [set] at p; 0 = not closed. */
static unsigned closed(const char *p, char end)
{
    const char *e =
        p[1] ? strchr(p + (end == ']' && (p[1] == ']' || p[1] == '!') ? 2 : 1), end) : NULL;
    return e ? (unsigned)(e - p) + 1 : 0;
}

static bool in_set(const char *set, unsigned len, char c)
{
    unsigned i = 1;
    bool not = set[i] == '!', found = false;
    i += not ;
    for (; i < len - 1; i++)
        if (i + 2 < len - 1 && set[i + 1] == '-') {
            found |= (unsigned char)c >= (unsigned char)set[i] &&
                     (unsigned char)c <= (unsigned char)set[i + 2];
            i += 2;
        } else
            found |= c == set[i];
    return found != not ;
}

static bool match(struct matcher *m, unsigned p, unsigned n);

static bool fail(struct matcher *m, unsigned p, unsigned n)
{
    m->failed[p][n / 64] |= 1ull << n % 64;
    return false;
}

/* All the digits that stand here; they must not begin in the middle of a number. */
static bool number(struct matcher *m, unsigned p, unsigned len, unsigned n, bool parts)
{
    unsigned k = n;
    while (k < m->nn && isdigit((unsigned char)m->name[k]))
        k++;
    if (k == n || (n && isdigit((unsigned char)m->name[n - 1])) || !match(m, p + len, k))
        return false;
    *(parts ? &m->parts : &m->part) = (struct span){n, k - n};
    *(parts ? &m->has_parts : &m->has_part) = true;
    return true;
}

static bool match(struct matcher *m, unsigned p, unsigned n)
{
    if (p == m->np)
        return n == m->nn;
    if (m->failed[p][n / 64] >> n % 64 & 1)
        return false;
    const char *at = m->pattern + p;
    unsigned len = *at == '{' ? closed(at, '}') : *at == '[' ? closed(at, ']') : 0;
    if (*at == '*') {
        for (unsigned k = n; k <= m->nn; k++)
            if (match(m, p + 1, k))
                return true;
    } else if (*at == '{' && len) {
        if (len == 3 && (at[1] == 'i' || at[1] == 'M'))
            return number(m, p, len, n, at[1] == 'M') || fail(m, p, n);
        bool batch = len == 7 && !memcmp(at, "{batch}", 7);
        for (unsigned k = n + 1; k <= m->nn; k++)
            if (match(m, p + len, k)) {
                if (batch && m->nbatch < PST_COUNT(m->batch)) /* found last to first */
                    m->batch[m->nbatch++] = (struct span){n, k - n};
                return true;
            }
    } else if (n < m->nn) {
        bool one = *at == '?' || (len ? in_set(at, len, m->name[n]) : *at == m->name[n]);
        if (one && match(m, p + (len ? len : 1), n + 1))
            return true;
    }
    return fail(m, p, n);
}

static uint32_t decimal(const char *p, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n && v <= LOAD_PARTS_MAX; i++)
        v = v * 10 + (uint32_t)(p[i] - '0');
    return v > LOAD_PARTS_MAX ? LOAD_PARTS_MAX + 1 : v;
}

/* The name with both numbers replaced by '#'. */
static void key_of_counted(const char *name, struct span a, struct span b, char key[LOAD_KEY_MAX])
{
    if (a.at > b.at) {
        struct span t = a;
        a = b;
        b = t;
    }
    snprintf(key, LOAD_KEY_MAX, "%.*s#%.*s#%s", (int)a.at, name, (int)(b.at - a.at - a.len),
             name + a.at + a.len, name + b.at + b.len);
}

static bool run(struct matcher *m, const char *pattern, const char *name)
{
    size_t np = strlen(pattern), nn = strlen(name);
    if (np >= PATTERN_MAX || nn >= LOAD_NAME_MAX)
        return false;
    *m = (struct matcher){.pattern = pattern, .name = name, .np = (unsigned)np, .nn = (unsigned)nn};
    return match(m, 0, 0);
}

bool load_name_match(const char *pattern, const char *name, struct load_named *named)
{
    struct matcher m;
    if (!run(&m, pattern, name))
        return false;
    if (!named)
        return true;
    memset(named, 0, sizeof *named);
    if (m.has_part)
        named->part = decimal(name + m.part.at, m.part.len);
    if (m.has_parts)
        named->parts = decimal(name + m.parts.at, m.parts.len);
    named->has_key = m.nbatch != 0;
    for (unsigned i = m.nbatch, at = 0; i--;)
        at += (unsigned)snprintf(named->key + at, LOAD_KEY_MAX - at, "%s%.*s", at ? " " : "",
                                 (int)m.batch[i].len, name + m.batch[i].at);
    if (!m.nbatch && m.has_part && m.has_parts)
        key_of_counted(name, m.part, m.parts, named->key);
    return true;
}

const char *load_pattern_error(const char *pattern)
{
    unsigned i = 0, M = 0, batch = 0;
    if (!*pattern)
        return "is empty";
    if (strlen(pattern) >= PATTERN_MAX)
        return "is longer than 511 bytes";
    if (strchr(pattern, '/'))
        return "names a directory: patterns are for names of files";
    for (const char *p = pattern; *p;) {
        unsigned len = *p == '{' ? closed(p, '}') : *p == '[' ? closed(p, ']') : 1;
        if (!len)
            return *p == '{' ? "has a { without a }" : "has a [ without a ]";
        if (len == 2)
            return "has an empty {}";
        i += len == 3 && !memcmp(p, "{i}", 3);
        M += len == 3 && !memcmp(p, "{M}", 3);
        batch += len == 7 && !memcmp(p, "{batch}", 7);
        p += len;
    }
    if (i > 1 || M > 1)
        return "has {i} or {M} twice";
    if (batch > 16)
        return "has {batch} more than 16 times";
    return NULL;
}

bool load_name_counted(const char *pattern, const char *name, struct load_named *named)
{
    if (!load_name_match(pattern, name, named))
        return false;
    if (strstr(pattern, "{i}") || strstr(pattern, "{M}"))
        return strstr(pattern, "{i}") && strstr(pattern, "{M}");
    struct span a, b;
    for (size_t at = strlen(name); at-- > 1;) { /* the last <digits>of<digits> */
        if (tolower((unsigned char)name[at]) != 'o' ||
            tolower((unsigned char)name[at + 1]) != 'f' || !isdigit((unsigned char)name[at - 1]) ||
            !isdigit((unsigned char)name[at + 2]))
            continue;
        a.at = (unsigned)at;
        while (a.at && isdigit((unsigned char)name[a.at - 1]))
            a.at--;
        a.len = (unsigned)at - a.at;
        b = (struct span){(unsigned)at + 2, 0};
        while (isdigit((unsigned char)name[b.at + b.len]))
            b.len++;
        named->part = decimal(name + a.at, a.len);
        named->parts = decimal(name + b.at, b.len);
        if (!named->has_key)
            key_of_counted(name, a, b, named->key);
        return true;
    }
    return false;
}

const char *load_part_error(const struct load_named *named, char text[100])
{
    if (named->parts > LOAD_PARTS_MAX)
        snprintf(text, 100, "it says that there are more than %u parts", LOAD_PARTS_MAX);
    else if (named->part == 0 || named->part > named->parts)
        snprintf(text, 100, "it says that it is part %u of %u", named->part, named->parts);
    else
        return NULL;
    return text;
}

/* ---- markers ---- */

bool load_name_marker(const char *marker, const char *name, struct load_named *named)
{
    if (*marker != '.' || strpbrk(marker, "*?[{"))
        return load_name_match(marker, name, named);
    size_t n = strlen(name), e = strlen(marker);
    if (n < e || n >= LOAD_NAME_MAX || strcmp(name + n - e, marker) != 0)
        return false;
    memset(named, 0, sizeof *named);
    memcpy(named->key, name, n - e);
    return true;
}

bool load_marker_key(const char *match, struct load_named *named)
{
    static const char group[] = "{batch}";
    const char *last = NULL;
    for (const char *p = match; (p = strstr(p, group)) != NULL; p++)
        last = p;
    if (!last)
        return false;
    char head[PATTERN_MAX];
    struct load_named of_head;
    snprintf(head, sizeof head, "%.*s", (int)(last - match + (ptrdiff_t)strlen(group)), match);
    if (load_name_match(head, named->key, &of_head))
        memcpy(named->key, of_head.key, sizeof named->key);
    return true;
}

bool load_marker_covers(const struct load_named *marker, const char *name,
                        const struct load_named *file)
{
    if (file->has_key)
        return !strcmp(marker->key, file->key);
    size_t n = strlen(marker->key);
    if (strncmp(name, marker->key, n) != 0)
        return false;
    return !n || !name[n] || strchr("._-", name[n]);
}

/* ---- manifests ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct load_marked *const *)a)->name,
                  (*(const struct load_marked *const *)b)->name);
}

static bool twice(const struct load_marks *m, struct err *err)
{
    const struct load_marked **order = malloc((m->n + 1) * sizeof *order);
    pst_must(order);
    for (unsigned i = 0; i < m->n; i++)
        order[i] = &m->file[i];
    qsort(order, m->n, sizeof *order, by_name);
    const char *name = NULL;
    for (unsigned i = 1; i < m->n && !name; i++)
        if (!strcmp(order[i - 1]->name, order[i]->name))
            name = order[i]->name;
    free(order);
    return name && !err_set(err, -EINVAL, "it names %s twice", name);
}

/* Takes nothing; where: "line 3" or "files[2]". */
static bool mark(struct load_marks *m, const char *where, const char *name, size_t len,
                 const char *algorithm, const char *hex, size_t hexlen, int64_t size,
                 struct err *err)
{
    while (len > 2 && name[0] == '.' && name[1] == '/') {
        name += 2;
        len -= 2;
    }
    char text[LOAD_NAME_MAX], digest[LOAD_DIGEST_TEXT] = "";
    if (!len || len >= LOAD_NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len))
        return err_set(err, -EINVAL, "%s: '%.*s' is not the name of a file beside it", where,
                       (int)(len < 80 ? len : 80), name);
    memcpy(text, name, len);
    text[len] = 0;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 32 || text[i] == 127)
            return err_set(err, -EINVAL, "%s: a name with control characters", where);
    if (load_name_ignored(text))
        return err_set(err, -EINVAL, "%s: '%.80s' is a name that is never loaded", where, text);
    if (m->n >= LOAD_MARKED_MAX)
        return err_set(err, -E2BIG, "it names more than %u files", LOAD_MARKED_MAX);
    if (hex) {
        if (!algorithm)
            algorithm = hexlen == 32    ? "md5"
                        : hexlen == 40  ? "sha1"
                        : hexlen == 64  ? "sha256"
                        : hexlen == 128 ? "sha512"
                                        : "?";
        if (hexlen <= 128 && strlen(algorithm) < 8)
            snprintf(digest, sizeof digest, "%s:%.*s", algorithm, (int)hexlen, hex);
        for (char *p = digest; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        if (!load_digest_valid(digest))
            return err_set(err, -EINVAL, "%s: not a checksum of md5, sha1, sha256 or sha512",
                           where);
    }
    struct load_marked *more = m->file;
    if (!(m->n & (m->n - 1))) /* grows at each power of two */
        more = realloc(m->file, (m->n ? m->n * 2 : 1) * sizeof *more);
    pst_must(more);
    m->file = more;
    m->file[m->n++] = (struct load_marked){.name = strdup(text),
                                           .digest = hex ? strdup(digest) : NULL,
                                           .size = size < 0 ? UINT64_MAX : (uint64_t)size};
    return true;
}

static bool json_member(struct load_marks *m, const char *where, const char *name, const json_t *v,
                        struct err *err)
{
    static const char *const algorithms[] = {"sha512", "sha256", "sha1", "md5"};
    if (json_is_string(v))
        return mark(m, where, name, strlen(name), NULL, json_string_value(v), json_string_length(v),
                    -1, err);
    const json_t *hex = NULL, *size = json_object_get(v, "size");
    const char *algorithm = NULL;
    for (unsigned i = 0; i < PST_COUNT(algorithms) && !hex; i++)
        if ((hex = json_object_get(v, algorithms[i])) != NULL)
            algorithm = algorithms[i];
    if ((hex && !json_is_string(hex)) ||
        (size && (!json_is_integer(size) || json_integer_value(size) < 0)))
        return err_set(err, -EINVAL, "%s: checksum or size is of the wrong type", where);
    return mark(m, where, name, strlen(name), algorithm, json_string_value(hex),
                json_string_length(hex), size ? json_integer_value(size) : -1, err);
}

static bool parse_json(struct load_marks *m, const char *text, size_t n, struct err *err)
{
    json_error_t e;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e), *v;
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(err, -EINVAL, "line %d: not JSON: %.100s", e.line, e.text);
    }
    const json_t *files = json_object_get(o, "files");
    char where[300];
    bool ok = true;
    if (files) {
        size_t i;
        ok = json_is_array(files) || err_set(err, -EINVAL, "'files' is not an array");
        json_array_foreach(files, i, v)
        {
            const char *name = json_string_value(json_object_get(v, "name"));
            snprintf(where, sizeof where, "files[%zu]", i);
            ok = ok && (name || err_set(err, -EINVAL, "%s has no name", where)) &&
                 json_member(m, where, name, v, err);
        }
    } else {
        const char *name;
        json_object_foreach(o, name, v)
        {
            snprintf(where, sizeof where, "'%.80s'", name);
            ok = ok &&
                 (json_is_string(v) || json_is_object(v) ||
                  err_set(err, -EINVAL, "%s is neither a checksum nor an object", where)) &&
                 json_member(m, where, name, v, err);
        }
    }
    json_decref(o);
    return ok;
}

static bool parse_line(struct load_marks *m, const char *where, const char *p, size_t n,
                       struct err *err)
{
    static const char *const tags[] = {"MD5", "SHA1", "SHA256", "SHA512"};
    for (unsigned i = 0; i < PST_COUNT(tags); i++) {
        size_t t = strlen(tags[i]);
        if (n < t + 6 || memcmp(p, tags[i], t) != 0 || memcmp(p + t, " (", 2) != 0)
            continue;
        size_t close = n - 1;
        while (close > t && memcmp(p + close, ") = ", close + 4 <= n ? 4 : 1) != 0)
            close--;
        if (close <= t || close + 4 > n)
            break;
        char small[8];
        for (size_t k = 0; k <= t; k++)
            small[k] = (char)tolower((unsigned char)tags[i][k]);
        return mark(m, where, p + t + 2, close - t - 2, small, p + close + 4, n - close - 4, -1,
                    err);
    }
    size_t hex = 0;
    while (hex < n && isxdigit((unsigned char)p[hex]))
        hex++;
    if (!hex || hex + 2 >= n || p[hex] != ' ' || (p[hex + 1] != ' ' && p[hex + 1] != '*'))
        return err_set(err, -EINVAL, "%s is not 'CHECKSUM  NAME'", where);
    return mark(m, where, p + hex + 2, n - hex - 2, NULL, p, hex, -1, err);
}

bool load_marks_parse(struct load_marks *m, const char *text, size_t n, struct err *err)
{
    *m = (struct load_marks){0};
    if (n > LOAD_MARKER_BYTES)
        return err_set(err, -EFBIG, "it is larger than %u MB", LOAD_MARKER_BYTES >> 20);
    size_t at = n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < n && isspace((unsigned char)text[at]))
        at++;
    bool ok = true;
    if (at < n && text[at] == '{')
        ok = parse_json(m, text + at, n - at, err);
    else {
        char where[30];
        for (unsigned line = 1; ok && at < n; line++) {
            const char *nl = memchr(text + at, '\n', n - at);
            size_t len = nl ? (size_t)(nl - text) - at : n - at;
            const char *p = text + at;
            at += len + 1;
            if (len && p[len - 1] == '\r')
                len--;
            if (!len || *p == '#')
                continue;
            snprintf(where, sizeof where, "line %u", line);
            ok = parse_line(m, where, p, len, err);
        }
    }
    if (ok && !m->n)
        ok = err_set(err, -EINVAL, "it names no file");
    if (ok && twice(m, err))
        ok = false;
    if (!ok)
        load_marks_free(m);
    return ok;
}

void load_marks_free(struct load_marks *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        free(m->file[i].name);
        free(m->file[i].digest);
    }
    free(m->file);
    *m = (struct load_marks){0};
}
