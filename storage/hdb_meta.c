/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/crc.h"
#include "hdb_meta.h"

void hdb_meta_init(struct hdb_meta *m, const struct schema *s, int32_t date)
{
    memset(m, 0, sizeof *m);
    memcpy(m->table, s->name, sizeof m->table);
    m->date = date;
    m->feed = s->feed;
    m->ncols = s->ncols;
    for (unsigned i = 0; i < s->ncols; i++) {
        memcpy(m->col[i].name, s->col[i].name, SCHEMA_NAME_MAX);
        m->col[i].type = s->col[i].type;
    }
    m->nkeys = s->nkeys;
    memcpy(m->keys, s->keys, sizeof m->keys);
    snprintf(m->producer, sizeof m->producer, "penstock %s", PST_VERSION);
}

/* ---- sources ---- */

bool hdb_source_load(const struct hdb_source *s)
{
    return !strcmp(s->kind, "load");
}

bool hdb_meta_add_source(struct hdb_meta *m, const struct hdb_source *s, struct err *err)
{
    struct hdb_source add = *s;
    if (add.first >= add.end && add.first != add.end)
        return err_set(err, -EINVAL, "%s: a source range ends before it starts", m->table);
    for (unsigned i = 0; i < m->nsources;) {
        struct hdb_source *o = &m->source[i];
        if (o->instance == add.instance && !strcmp(o->kind, add.kind) &&
            (hdb_source_load(o) || (o->first <= add.end && add.first <= o->end))) {
            add.first = o->first < add.first ? o->first : add.first;
            add.end = o->end > add.end ? o->end : add.end;
            *o = m->source[--m->nsources];
        } else {
            i++;
        }
    }
    if (m->nsources == HDB_SOURCES_MAX)
        return err_set(err, -E2BIG,
                       "%s: has been merged from %u sources; rebuild the partition to join them",
                       m->table, HDB_SOURCES_MAX);
    m->source[m->nsources++] = add;
    return true;
}

/* Ranges of different kinds may cover it together: walk on from `first` as far as any reaches. */
bool hdb_meta_covers(const struct hdb_meta *m, uint64_t instance, uint64_t first, uint64_t end)
{
    bool any = false;
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned i = 0; i < m->nsources; i++) {
            const struct hdb_source *s = &m->source[i];
            if (hdb_source_load(s) || s->instance != instance || s->first > first || s->end < first)
                continue;
            any = true;
            if (s->end > first) {
                first = s->end;
                moved = true;
            }
        }
        if (any && first >= end)
            return true;
    }
    return false;
}

/* ---- JSON ---- */

static json_t *columns_json(const struct hdb_meta *m)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < m->ncols; i++)
        json_array_append_new(
            a, json_pack("[s,s]", m->col[i].name,
                         type_name(m->col[i].type) ? type_name(m->col[i].type) : "?"));
    return a;
}

char *hdb_meta_encode(const struct hdb_meta *m, size_t *len)
{
    char date[CIVIL_TEXT], hex[40];
    json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:I,s:o,s:b}", "format", HDB_META_FORMAT, "table",
                          m->table, "date", civil_format(m->date, date), "calendar", m->calendar,
                          "rows", (json_int_t)m->rows, "columns", columns_json(m), "feed", m->feed);
    if (!o)
        return NULL;
    json_t *keys = json_array(), *sources = json_array();
    for (unsigned i = 0; i < m->nkeys; i++)
        json_array_append_new(keys, json_string_nocheck(m->col[m->keys[i]].name));
    for (unsigned i = 0; i < m->nsources; i++) {
        const struct hdb_source *s = &m->source[i];
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)s->instance);
        json_array_append_new(sources,
                              json_pack("{s:s,s:s,s:I,s:I}", "instance", hex, "kind", s->kind,
                                        "first", (json_int_t)s->first, "end", (json_int_t)s->end));
    }
    json_object_set_new(o, "keys", keys);
    if (m->sorted)
        json_object_set_new(o, "sorted", json_string("sym,time"));
    if (m->has_hash) {
        snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)m->hash.hi,
                 (unsigned long long)m->hash.lo);
        json_object_set_new(o, "hash", json_string(hex));
        json_object_set_new(o, "captured", json_boolean(m->captured));
    }
    if (m->has_times) {
        json_object_set_new(o, "time_min", json_integer(m->time_min));
        json_object_set_new(o, "time_max", json_integer(m->time_max));
    }
    json_object_set_new(o, "sources", sources);
    json_object_set_new(o, "epoch", json_integer((json_int_t)m->epoch));
    if (m->symbols)
        json_object_set_new(o, "symbols", json_integer((json_int_t)m->symbols));
    json_object_set_new(o, "written", json_integer(m->written));
    json_object_set_new(o, "producer", json_string_nocheck(m->producer));
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!text)
        return NULL;
    size_t n = strlen(text);
    char *out = malloc(n + 32);
    if (out)
        *len = n + (size_t)sprintf(stpcpy(out, text), "\ncrc32c %08x\n", crc32c(0, text, n));
    free(text);
    return out;
}

static bool copy_text(char *out, size_t room, json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    if (t && strlen(t) >= room)
        return false;
    snprintf(out, room, "%s", t ? t : "");
    return true;
}

static bool hex64(const char *t, uint64_t *v)
{
    *v = 0;
    for (int i = 0; i < 16; i++) {
        char c = t[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0)
            return false;
        *v = *v << 4 | (uint64_t)d;
    }
    return true;
}

static bool natural(json_t *o, const char *key, uint64_t *v)
{
    json_t *j = json_object_get(o, key);
    *v = (uint64_t)json_integer_value(j);
    return json_is_integer(j) && json_integer_value(j) >= 0;
}

static bool take_columns(struct hdb_meta *m, json_t *o)
{
    json_t *cols = json_object_get(o, "columns"), *keys = json_object_get(o, "keys"), *c;
    size_t i;
    if (!json_is_array(cols) || json_array_size(cols) > SCHEMA_COLUMNS_MAX)
        return false;
    json_array_foreach(cols, i, c)
    {
        const char *name = json_string_value(json_array_get(c, 0));
        const char *type = json_string_value(json_array_get(c, 1));
        uint8_t t = type ? type_by_name(type) : 0;
        if (!name || !t || strlen(name) >= SCHEMA_NAME_MAX)
            return false;
        strcpy(m->col[i].name, name);
        m->col[i].type = t;
        m->ncols++;
    }
    if (json_array_size(keys) > PST_COUNT(m->keys))
        return false;
    json_array_foreach(keys, i, c)
    {
        const char *name = json_string_value(c);
        unsigned k = 0;
        while (name && k < m->ncols && strcmp(m->col[k].name, name) != 0)
            k++;
        if (!name || k == m->ncols)
            return false;
        m->keys[m->nkeys++] = (uint16_t)k;
    }
    return true;
}

static bool take_sources(struct hdb_meta *m, json_t *o)
{
    json_t *sources = json_object_get(o, "sources"), *s;
    size_t i;
    if (json_array_size(sources) > HDB_SOURCES_MAX)
        return false;
    json_array_foreach(sources, i, s)
    {
        struct hdb_source *x = &m->source[m->nsources++];
        const char *hex = json_string_value(json_object_get(s, "instance"));
        if (!hex || strlen(hex) != 16 || !hex64(hex, &x->instance) ||
            !natural(s, "first", &x->first) || !natural(s, "end", &x->end) || x->end < x->first ||
            !copy_text(x->kind, sizeof x->kind, s, "kind"))
            return false;
    }
    return true;
}

static bool take(struct hdb_meta *m, json_t *o)
{
    const char *date = json_string_value(json_object_get(o, "date"));
    json_t *hash = json_object_get(o, "hash"), *sorted = json_object_get(o, "sorted");
    json_t *min = json_object_get(o, "time_min"), *max = json_object_get(o, "time_max");
    if (!copy_text(m->table, sizeof m->table, o, "table") || !*m->table || !date ||
        !civil_parse(date, &m->date) || !natural(o, "rows", &m->rows) ||
        !copy_text(m->calendar, sizeof m->calendar, o, "calendar") ||
        !copy_text(m->producer, sizeof m->producer, o, "producer") || !take_columns(m, o) ||
        !take_sources(m, o))
        return false;
    m->feed = json_is_true(json_object_get(o, "feed"));
    m->sorted = json_is_string(sorted) && !strcmp(json_string_value(sorted), "sym,time");
    if (hash) {
        const char *t = json_string_value(hash);
        if (!t || strlen(t) != 32 || !hex64(t, &m->hash.hi) || !hex64(t + 16, &m->hash.lo))
            return false;
        m->has_hash = true;
        m->captured = json_is_true(json_object_get(o, "captured"));
    }
    if (json_is_integer(min) && json_is_integer(max)) {
        m->has_times = true;
        m->time_min = json_integer_value(min);
        m->time_max = json_integer_value(max);
    }
    m->epoch = (uint64_t)json_integer_value(json_object_get(o, "epoch"));
    m->symbols = (uint64_t)json_integer_value(json_object_get(o, "symbols"));
    m->written = json_integer_value(json_object_get(o, "written"));
    return true;
}

bool hdb_meta_decode(struct hdb_meta *m, const void *text, size_t len, const char *path,
                     struct err *err)
{
    const char *nl = memchr(text, '\n', len);
    char crc[32];
    memset(m, 0, sizeof *m);
    size_t n = nl ? (size_t)(nl - (const char *)text) : 0;
    snprintf(crc, sizeof crc, "\ncrc32c %08x\n", crc32c(0, text, n));
    if (!nl || len - n != strlen(crc) || memcmp(nl, crc, len - n) != 0)
        return err_set(err, -EBADMSG, "%s: its checksum is wrong", path);
    json_error_t je;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    json_int_t format = json_integer_value(json_object_get(o, "format"));
    bool ok;
    if (o && format > HDB_META_FORMAT)
        ok = err_set(err, -ENOTSUP,
                     "%s: is of format %lld, this program reads up to %d; use a newer one", path,
                     (long long)format, HDB_META_FORMAT);
    else
        ok = (o && format == HDB_META_FORMAT && take(m, o)) ||
             err_set(err, -EBADMSG, "%s: does not say what it must", path);
    json_decref(o);
    return ok;
}

/* A side file as a whole. */
static void *slurp(int dir, const char *name, const char *path, size_t max, size_t *len,
                   struct err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        err_set(err, -e, "%s: %s", path, strerror(e));
        return NULL;
    }
    uint8_t *b = NULL;
    size_t n = 0;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
        err_set(err, -EBADMSG, "%s: is not of a size it can have", path);
    } else if (!(b = malloc((size_t)st.st_size + 8))) {
        err_set(err, -ENOMEM, "%s: no memory", path);
    } else {
        while (n < (size_t)st.st_size) {
            ssize_t r = pread(fd, b + n, (size_t)st.st_size - n, (off_t)n);
            if (r < 0 && errno == EINTR)
                continue;
            if (r <= 0)
                break;
            n += (size_t)r;
        }
        if (n < (size_t)st.st_size) {
            err_set(err, -EIO, "%s: cannot be read to its end", path);
            free(b);
            b = NULL;
        }
    }
    close(fd);
    *len = n;
    return b;
}

bool hdb_meta_read(struct hdb_meta *m, int dir, const char *path, struct err *err)
{
    size_t len;
    void *text = slurp(dir, HDB_META_NAME, path, HDB_META_BYTES, &len, err);
    bool ok = text && hdb_meta_decode(m, text, len, path, err);
    free(text);
    return ok;
}

/* A small file, whole. `replace`: through a new name, so that readers see the old or the new one.
 */
static bool spill(struct io *io, const char *dir, const char *name, const void *p, size_t n,
                  bool replace, bool sync, struct err *err)
{
    char path[1400], temporary[1410];
    snprintf(path, sizeof path, "%.1200s/%s", dir, name);
    snprintf(temporary, sizeof temporary, "%s%s", path, replace ? ".new" : "");
    int fd = io->ops->open(io, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return err_set(err, fd, "%s: cannot be created: %s", temporary, strerror(-fd));
    int r = io_pwrite_all(io, fd, p, n, 0);
    if (!r && sync)
        r = io->ops->fsync(io, fd);
    int closed = io->ops->close(io, fd);
    r = r < 0 ? r : closed;
    if (r >= 0 && replace)
        r = io->ops->rename(io, temporary, path);
    if (r >= 0 && replace && sync)
        r = io->ops->sync_dir(io, dir);
    return r >= 0 || err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
}

bool hdb_meta_write(const struct hdb_meta *m, struct io *io, const char *table_dir, bool replace,
                    bool sync, struct err *err)
{
    size_t len = 0;
    char *text = hdb_meta_encode(m, &len);
    if (!text)
        return err_set(err, -ENOMEM, "%s/%s: no memory", table_dir, HDB_META_NAME);
    bool ok = spill(io, table_dir, HDB_META_NAME, text, len, replace, sync, err);
    free(text);
    return ok;
}

/* ---- parted index ---- */

struct index_head {
    char magic[8];
    uint64_t groups, rows;
    uint32_t flags, crc;
};
_Static_assert(sizeof(struct index_head) == 32, "head of a parted index");
#define INDEX_TIME_SORTED 1u
#define INDEX_BYTES       (4ull << 30)

static const char index_magic[8] = {'P', 'S', 'T', 'P', 'A', 'R', 'T', '1'};

struct by_sym {
    int64_t sym;
    uint32_t group;
};
static int by_sym_order(const void *a, const void *b)
{
    const struct by_sym *x = a, *y = b;
    return (x->sym > y->sym) - (x->sym < y->sym);
}

static uint64_t index_bytes(uint64_t groups)
{
    return sizeof(struct index_head) + groups * sizeof(struct hdb_group) + pst_align8(4 * groups);
}

/* Room for an index in the layout of the file; the groups are filled in by the caller. */
static struct index_head *index_new(uint64_t groups)
{
    struct index_head *h = groups < INDEX_BYTES / 32 ? calloc(1, index_bytes(groups)) : NULL;
    if (h) {
        memcpy(h->magic, index_magic, 8);
        h->groups = groups;
    }
    return h;
}

/* by_sym from the groups. False: no memory (-ENOMEM), or a symbol twice (-EINVAL). */
static int index_order(struct index_head *h)
{
    const struct hdb_group *g = (const struct hdb_group *)(h + 1);
    uint32_t *out = (uint32_t *)(uintptr_t)(g + h->groups);
    struct by_sym *s = malloc(h->groups * sizeof *s + 1);
    if (!s)
        return -ENOMEM;
    for (uint32_t i = 0; i < h->groups; i++)
        s[i] = (struct by_sym){g[i].sym, i};
    qsort(s, h->groups, sizeof *s, by_sym_order);
    int r = 0;
    for (uint32_t i = 0; i < h->groups; i++) {
        out[i] = s[i].group;
        if (i && s[i].sym == s[i - 1].sym)
            r = -EINVAL;
    }
    free(s);
    return r;
}

static void index_point(struct hdb_index *x, struct index_head *h)
{
    x->group = (const struct hdb_group *)(h + 1);
    x->ngroups = h->groups;
    x->rows = h->rows;
    x->by_sym = (const uint32_t *)(x->group + h->groups);
    x->time_sorted = h->flags & INDEX_TIME_SORTED;
    x->memory = h;
}

void hdb_index_free(struct hdb_index *x)
{
    free(x->memory);
    memset(x, 0, sizeof *x);
}

static uint32_t index_crc(const struct index_head *h)
{
    struct index_head zero = *h;
    zero.crc = 0;
    return crc32c(crc32c(0, &zero, sizeof zero), h + 1, index_bytes(h->groups) - sizeof zero);
}

bool hdb_index_write(struct io *io, const char *table_dir, const struct hdb_group *groups,
                     uint64_t ngroups, uint64_t rows, bool time_sorted, bool sync, struct err *err)
{
    struct index_head *h = index_new(ngroups);
    if (!h)
        return err_set(err, -ENOMEM, "%s: no memory for a parted index of %llu symbols", table_dir,
                       (unsigned long long)ngroups);
    h->rows = rows;
    h->flags = time_sorted ? INDEX_TIME_SORTED : 0;
    if (ngroups)
        memcpy(h + 1, groups, ngroups * sizeof *groups);
    int r = index_order(h);
    h->crc = index_crc(h);
    bool ok =
        r == 0 ||
        err_set(err, r, "%s: the rows of a symbol are not together, so it has no parted index",
                table_dir);
    ok = ok && spill(io, table_dir, HDB_PART_NAME, h, index_bytes(ngroups), false, sync, err);
    free(h);
    return ok;
}

static bool index_check(const struct index_head *h)
{
    const struct hdb_group *g = (const struct hdb_group *)(h + 1);
    const uint32_t *by = (const uint32_t *)(g + h->groups);
    uint64_t at = 0;
    for (uint64_t i = 0; i < h->groups; i++) {
        if (g[i].first != at || !g[i].rows || g[i].rows > h->rows - at)
            return false;
        at += g[i].rows;
        if (by[i] >= h->groups || (i && g[by[i]].sym <= g[by[i - 1]].sym))
            return false;
    }
    return at == h->rows;
}

bool hdb_index_decode(struct hdb_index *x, const void *bytes, size_t len, const char *path,
                      struct err *err)
{
    struct index_head head, *h;
    memset(x, 0, sizeof *x);
    if (len >= sizeof head)
        memcpy(&head, bytes, sizeof head);
    if (len < sizeof head || memcmp(head.magic, index_magic, 7) != 0)
        return err_set(err, -EBADMSG, "%s: is not a parted index", path);
    if (head.magic[7] != '1')
        return err_set(err, -ENOTSUP, "%s: is a parted index of a newer format", path);
    if (head.groups > len / sizeof(struct hdb_group) || index_bytes(head.groups) != len)
        return err_set(err, -EBADMSG, "%s: its length is not that of its groups", path);
    h = malloc(len);
    if (!h)
        return err_set(err, -ENOMEM, "%s: no memory", path);
    memcpy(h, bytes, len);
    if (h->crc != index_crc(h) || !index_check(h)) {
        free(h);
        return err_set(err, -EBADMSG, "%s: its checksum or its groups are wrong", path);
    }
    index_point(x, h);
    return true;
}

bool hdb_index_read(struct hdb_index *x, int dir, const char *path, struct err *err)
{
    size_t len;
    memset(x, 0, sizeof *x);
    const char *name = dir == AT_FDCWD ? path : HDB_PART_NAME;
    void *b = slurp(dir, name, path, INDEX_BYTES, &len, err);
    bool ok = b && hdb_index_decode(x, b, len, path, err);
    free(b);
    return ok;
}

bool hdb_index_compute(struct hdb_index *x, const int64_t *sym, const int64_t *time, uint64_t rows,
                       struct err *err)
{
    uint64_t groups = rows != 0;
    bool sorted = time != NULL;
    memset(x, 0, sizeof *x);
    for (uint64_t i = 1; i < rows; i++) {
        groups += sym[i] != sym[i - 1];
        sorted &= !time || sym[i] != sym[i - 1] || time[i] >= time[i - 1];
    }
    struct index_head *h = index_new(groups);
    if (!h)
        return err_set(err, -ENOMEM, "no memory for a parted index of %llu groups",
                       (unsigned long long)groups);
    struct hdb_group *g = (struct hdb_group *)(h + 1);
    h->rows = rows;
    h->flags = sorted ? INDEX_TIME_SORTED : 0;
    for (uint64_t i = 0, n = 0; i < rows; i++) {
        if (!i || sym[i] != sym[i - 1])
            g[n++] = (struct hdb_group){sym[i], i, 0};
        g[n - 1].rows++;
    }
    int r = index_order(h);
    if (r) {
        free(h);
        return err_set(err, r,
                       r == -EINVAL ? "the rows of a symbol are not together" : "no memory");
    }
    index_point(x, h);
    return true;
}

const struct hdb_group *hdb_index_find(const struct hdb_index *x, int64_t sym)
{
    uint64_t lo = 0, hi = x->ngroups;
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        int64_t v = x->group[x->by_sym[mid]].sym;
        if (v == sym)
            return &x->group[x->by_sym[mid]];
        if (v < sym)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}
