/* SPDX-License-Identifier: Apache-2.0 */
#include <core/tzone.h>
#include <core/civil.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CYCLE_YEARS    400
#define CYCLE_S        (146097LL * PST_DAY_S)
#define OFFSET_MAX_S   (26 * 3600 - 1) /* RFC 8536, 3.2: utoff should lie in -25 h ... 26 h */
#define TRANSITION_MAX 8192            /* the largest real file has some 250 */
#define NAME_MAX_BYTES 63

/* off[i] holds from at[i - 1] (included) to at[i] (excluded); off[0] before all, off[count] after.
 */
struct tzone {
    char name[NAME_MAX_BYTES + 1];
    bool cyclic; /* the table's end repeats every 400 years */
    uint32_t count;
    int64_t *at;
    int32_t *off;
};

/* ---- look-up ----------------------------------------------------------------------------------
 */

/* The number of transitions at or before t: the index into off. */
static uint32_t segment(const struct tzone *z, int64_t t)
{
    uint32_t lo = 0, hi = z->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (z->at[mid] <= t) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Moves t back by whole cycles into the table. Returns what was taken off. */
static int64_t into_table(const struct tzone *z, int64_t t)
{
    if (!z->cyclic || z->count == 0) {
        return 0;
    }
    int64_t end = z->at[z->count - 1] - 4 * OFFSET_MAX_S; /* slack: to_utc looks around itself */
    return t <= end ? 0 : ((t - end - 1) / CYCLE_S + 1) * CYCLE_S;
}

int32_t tzone_offset(const struct tzone *z, int64_t utc_s)
{
    return z->off[segment(z, utc_s - into_table(z, utc_s))];
}

int64_t tzone_next_change(const struct tzone *z, int64_t utc_s)
{
    int64_t shift = into_table(z, utc_s);
    uint32_t i = segment(z, utc_s - shift);
    return i < z->count ? z->at[i] + shift : INT64_MAX;
}

int64_t tzone_to_utc(const struct tzone *z, int64_t local_s)
{
    int64_t shift = into_table(z, local_s);
    int64_t local = local_s - shift;
    uint32_t i = segment(z, local - OFFSET_MAX_S);
    for (;; i++) {
        int64_t utc = local - z->off[i];
        if (i == z->count || utc < z->at[i]) { /* before this segment's end */
            if (i > 0 && utc < z->at[i - 1]) { /* and before its start: skipped by the clock */
                utc = local - z->off[i - 1];
            }
            return utc + shift;
        }
    }
}

const char *tzone_name(const struct tzone *z)
{
    return z->name;
}

void tzone_free(struct tzone *z)
{
    if (z) {
        free(z->at);
        free(z->off);
        free(z);
    }
}

/* ---- building ---------------------------------------------------------------------------------
 */

static struct tzone *zone_new(const char *name, uint32_t capacity)
{
    struct tzone *z = calloc(1, sizeof *z);
    if (!z) {
        return NULL;
    }
    snprintf(z->name, sizeof z->name, "%s", name);
    z->at = calloc(capacity + 1, sizeof *z->at);
    z->off = calloc(capacity + 1, sizeof *z->off);
    if (!z->at || !z->off) {
        tzone_free(z);
        return NULL;
    }
    return z;
}

/* Transitions that change nothing (only the name or the DST flag) are not kept. */
static void zone_add(struct tzone *z, int64_t at, int32_t off)
{
    if (z->off[z->count] == off) {
        return;
    }
    if (z->count > 0 && z->at[z->count - 1] == at) { /* two at one instant: the later one counts */
        z->off[z->count] = off;
        if (z->off[z->count - 1] == off) {
            z->count--;
        }
        return;
    }
    z->at[z->count++] = at;
    z->off[z->count] = off;
}

/* ---- the footer: a POSIX TZ rule such as EST5EDT,M3.2.0,M11.1.0 ---------------------------------
 */

struct rule_day {
    char kind; /* M: month, week, weekday; J: 1...365 without leap day; 0: 0...365 with it */
    int month, week, weekday, day;
    int32_t time;
};
struct rule {
    bool dst;
    int32_t std_off, dst_off;
    struct rule_day start, end;
};
struct text {
    const char *p, *end;
};

static bool take(struct text *t, char c)
{
    if (t->p < t->end && *t->p == c) {
        t->p++;
        return true;
    }
    return false;
}

static bool take_number(struct text *t, int max, int *out)
{
    int v = 0, digits = 0;
    while (t->p < t->end && *t->p >= '0' && *t->p <= '9' && digits < 4) {
        v = v * 10 + (*t->p++ - '0');
        digits++;
    }
    *out = v;
    return digits > 0 && v <= max;
}

static bool take_zone_name(struct text *t)
{
    int n = 0;
    if (take(t, '<')) {
        while (t->p < t->end && *t->p != '>') {
            t->p++;
            n++;
        }
        return n > 0 && take(t, '>');
    }
    while (t->p < t->end && ((*t->p | 32) >= 'a' && (*t->p | 32) <= 'z')) {
        t->p++;
        n++;
    }
    return n >= 3;
}

/* [+-]hh[:mm[:ss]]; version 3 allows rule times up to 167 hours either way. */
static bool take_time(struct text *t, int max_hours, int32_t *out)
{
    int h, m = 0, s = 0;
    bool negative = take(t, '-');
    if (!negative) {
        (void)take(t, '+');
    }
    if (!take_number(t, max_hours, &h)) {
        return false;
    }
    if (take(t, ':')) {
        if (!take_number(t, 59, &m)) {
            return false;
        }
        if (take(t, ':') && !take_number(t, 59, &s)) {
            return false;
        }
    }
    *out = (h * 3600 + m * 60 + s) * (negative ? -1 : 1);
    return true;
}

static bool take_rule_day(struct text *t, struct rule_day *d)
{
    if (take(t, 'M')) {
        d->kind = 'M';
        if (!take_number(t, 12, &d->month) || d->month < 1 || !take(t, '.') ||
            !take_number(t, 5, &d->week) || d->week < 1 || !take(t, '.') ||
            !take_number(t, 6, &d->weekday)) {
            return false;
        }
    } else if (take(t, 'J')) {
        d->kind = 'J';
        if (!take_number(t, 365, &d->day) || d->day < 1) {
            return false;
        }
    } else {
        d->kind = '0';
        if (!take_number(t, 365, &d->day)) {
            return false;
        }
    }
    d->time = 7200;
    return !take(t, '/') || take_time(t, 167, &d->time);
}

static bool parse_rule(struct text t, struct rule *r)
{
    int32_t west;
    memset(r, 0, sizeof *r);
    if (!take_zone_name(&t) || !take_time(&t, 24, &west)) {
        return false;
    }
    r->std_off = -west;
    if (t.p == t.end) {
        return true;
    }
    r->dst = true;
    if (!take_zone_name(&t)) {
        return false;
    }
    r->dst_off = r->std_off + 3600;
    if (t.p < t.end && *t.p != ',') {
        if (!take_time(&t, 24, &west)) {
            return false;
        }
        r->dst_off = -west;
    }
    return take(&t, ',') && take_rule_day(&t, &r->start) && take(&t, ',') &&
           take_rule_day(&t, &r->end) && t.p == t.end;
}

/* The instant, in seconds since 1970, at which a rule strikes in a year on a clock with this
 * offset. */
static int64_t rule_instant(const struct rule_day *d, int year, int32_t off)
{
    int32_t days;
    if (d->kind == 'M') {
        days = civil_days(year, d->month, 1);
        int sunday_based = (civil_weekday(days) + 1) % 7;
        days += (d->weekday - sunday_based + 7) % 7 + (d->week - 1) * 7;
        if (days >= civil_days(year, d->month, 1) + civil_month_days(year, d->month)) {
            days -= 7;
        }
    } else {
        days = civil_days(year, 1, 1) + d->day - (d->kind == 'J');
        if (d->kind == 'J' && d->day >= 60 && civil_is_leap(year)) {
            days++;
        }
    }
    return days * PST_DAY_S + PST_EPOCH_OFFSET_S + d->time - off;
}

/* last: the file's last transition, whether or not it changed the offset; INT64_MIN without any. */
static void unroll_rule(struct tzone *z, const struct rule *r, int64_t last)
{
    bool none = last == INT64_MIN;
    int first_year = 1970, month, day;
    if (!r->dst) {
        if (none) {
            z->off[0] = r->std_off;
        }
        return; /* the last type and a fixed rule must agree (RFC 8536, 3.3); the table wins */
    }
    if (!none) {
        int64_t days = civil_floor_div(last - PST_EPOCH_OFFSET_S, PST_DAY_S);
        civil_date((int32_t)days, &first_year, &month, &day);
    }
    for (int y = first_year - 1; y <= first_year + CYCLE_YEARS + 2; y++) {
        int64_t on = rule_instant(&r->start, y, r->std_off);
        int64_t off = rule_instant(&r->end, y, r->dst_off);
        /* An end at the instant of a start comes first: such a zone has summer time all year. */
        for (int i = 0; i < 2; i++) {
            bool start = (off <= on) == (i == 1);
            int64_t at = start ? on : off;
            int64_t newest = z->count ? z->at[z->count - 1] : INT64_MIN;
            if (at > last && at >= newest) {
                zone_add(z, at, start ? r->dst_off : r->std_off);
            }
        }
    }
    /*
     * Events of the last year have no successor to cancel them (summer time all year); drop them. A
     * rule that then reaches less far changes nothing in the long run: its last offset stays.
     */
    int64_t end = civil_days(first_year + CYCLE_YEARS + 2, 1, 1) * PST_DAY_S + PST_EPOCH_OFFSET_S -
                  8 * PST_DAY_S;
    while (z->count > 0 && z->at[z->count - 1] >= end) {
        z->count--;
    }
    z->cyclic = z->count > 0 && z->at[z->count - 1] > end - 366 * PST_DAY_S;
}

/* ---- TZif -------------------------------------------------------------------------------------
 */

struct header {
    uint32_t isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt;
};

static bool read_header(const uint8_t *p, size_t left, struct header *h, int *version)
{
    if (left < 44 || memcmp(p, "TZif", 4) != 0) {
        return false;
    }
    *version = p[4] == 0 ? 1 : p[4] - '0';
    if (p[4] != 0 && p[4] < '2') {
        return false;
    }
    h->isutcnt = be32(p + 20);
    h->isstdcnt = be32(p + 24);
    h->leapcnt = be32(p + 28);
    h->timecnt = be32(p + 32);
    h->typecnt = be32(p + 36);
    h->charcnt = be32(p + 40);
    return true;
}

/* Counts are 32 bits, so the sum cannot overflow 64. */
static uint64_t block_bytes(const struct header *h, unsigned time_size)
{
    return (uint64_t)h->timecnt * (time_size + 1) + (uint64_t)h->typecnt * 6 + h->charcnt +
           (uint64_t)h->leapcnt * (time_size + 4) + h->isstdcnt + h->isutcnt;
}

static bool damaged(struct err *err, const char *name, const char *what)
{
    return err_set(err, -EINVAL, "time zone %s: %s; reinstall tzdata", name, what);
}

static bool read_block(struct tzone *z, const uint8_t *p, const struct header *h,
                       unsigned time_size, int64_t *last, struct err *err)
{
    const uint8_t *types = p + (size_t)h->timecnt * time_size;
    const uint8_t *infos = types + h->timecnt;
    int64_t previous = INT64_MIN;
    for (uint32_t i = 0; i < h->typecnt; i++) {
        int32_t off = (int32_t)be32(infos + 6 * (size_t)i);
        if (off < -OFFSET_MAX_S || off > OFFSET_MAX_S) {
            return damaged(err, z->name, "an offset beyond 26 hours");
        }
    }
    z->off[0] = (int32_t)be32(infos);
    for (uint32_t i = 0; i < h->timecnt; i++) {
        const uint8_t *a = p + (size_t)i * time_size;
        int64_t at = time_size == 8 ? (int64_t)be64(a) : (int32_t)be32(a);
        if (types[i] >= h->typecnt) {
            return damaged(err, z->name, "a transition to a type that is not there");
        }
        if (i > 0 && at <= previous) {
            return damaged(err, z->name, "transitions out of order");
        }
        previous = at;
        /* Far beyond any instant we can name; keeps the arithmetic of look-ups from overflowing. */
        if (at < -(1LL << 59)) {
            at = -(1LL << 59);
        } else if (at > 1LL << 40) {
            return damaged(err, z->name, "a transition in the very far future");
        }
        zone_add(z, at, (int32_t)be32(infos + 6 * (size_t)types[i]));
        *last = at;
    }
    return true;
}

static bool read_file_image(struct tzone *z, const uint8_t *data, size_t size, struct err *err)
{
    struct header h;
    int version;
    const uint8_t *p = data, *end = data + size;
    unsigned time_size = 4;
    int64_t last = INT64_MIN;
    if (!read_header(p, size, &h, &version)) {
        return damaged(err, z->name, "not a zone file (TZif)");
    }
    p += 44;
    if (version >= 2) {
        uint64_t skip = block_bytes(&h, 4);
        if (skip > (uint64_t)(end - p) ||
            !read_header(p + skip, (size_t)((uint64_t)(end - p) - skip), &h, &version)) {
            return damaged(err, z->name, "cut short");
        }
        p += skip + 44;
        time_size = 8;
    }
    if (block_bytes(&h, time_size) > (uint64_t)(end - p)) {
        return damaged(err, z->name, "cut short");
    }
    if (h.typecnt == 0 || h.typecnt > 256 || h.timecnt > TRANSITION_MAX) {
        return damaged(err, z->name, "impossible counts in its header");
    }
    if (h.leapcnt > 0) {
        return err_set(err, -EINVAL,
                       "time zone %s: counts leap seconds; use the name without \"right/\"",
                       z->name);
    }
    if (!read_block(z, p, &h, time_size, &last, err)) {
        return false;
    }
    p += block_bytes(&h, time_size);
    if (version < 2) {
        return true;
    }
    const uint8_t *newline =
        p < end && *p == '\n' ? memchr(p + 1, '\n', (size_t)(end - p - 1)) : NULL;
    if (!newline) {
        return damaged(err, z->name, "its footer is missing");
    }
    if (newline > p + 1) {
        struct rule rule;
        struct text footer = {(const char *)p + 1, (const char *)newline};
        if (!parse_rule(footer, &rule)) {
            return damaged(err, z->name, "its footer rule cannot be read");
        }
        unroll_rule(z, &rule, last);
    }
    return true;
}

/* ---- loading ----------------------------------------------------------------------------------
 */

static bool name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_BYTES) {
        return false;
    }
    for (const char *p = name; *p; p++) {
        bool plain = ((*p | 32) >= 'a' && (*p | 32) <= 'z') || (*p >= '0' && *p <= '9') ||
                     strchr("_+-/", *p);
        if (!plain) { /* no dot either, so no "." and no ".." */
            return false;
        }
        if (*p == '/' && (p == name || p[1] == '/' || p[1] == 0)) {
            return false;
        }
    }
    return true;
}

struct tzone *tzone_parse(const char *name, const void *data, size_t size, struct err *err)
{
    struct tzone *z = zone_new(name, TRANSITION_MAX + 2 * (CYCLE_YEARS + 4));
    if (!z) {
        err_set(err, -ENOMEM, "time zone %.63s: out of memory", name);
        return NULL;
    }
    if (!read_file_image(z, data, size, err)) {
        tzone_free(z);
        return NULL;
    }
    /* Give back what the worst case reserved; a failure to shrink leaves the larger block. */
    int64_t *at = realloc(z->at, (z->count + 1) * sizeof *at);
    int32_t *off = realloc(z->off, (z->count + 1) * sizeof *off);
    z->at = at ? at : z->at;
    z->off = off ? off : z->off;
    return z;
}

static void *slurp(const char *name, const char *path, size_t *size, struct err *err)
{
    struct stat st;
    uint8_t *buf = NULL;
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            err_set(err, -ENOENT,
                    "time zone %s: no file %.300s; correct the name or install tzdata", name, path);
        } else {
            err_set(err, -errno, "time zone %s: cannot open %.300s: %s", name, path,
                    strerror(errno));
        }
        return NULL;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > TZONE_FILE_MAX) {
        err_set(err, -EINVAL, "time zone %s: %.300s is not a zone file; correct the name", name,
                path);
        goto fail;
    }
    buf = malloc((size_t)st.st_size + 1);
    if (!buf) {
        err_set(err, -ENOMEM, "time zone %s: out of memory", name);
        goto fail;
    }
    while (have < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + have, (size_t)st.st_size - have);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            err_set(err, n < 0 ? -errno : -EIO, "time zone %s: cannot read %.300s: %s", name, path,
                    n < 0 ? strerror(errno) : "it became shorter");
            goto fail;
        }
        have += (size_t)n;
    }
    close(fd);
    *size = have;
    return buf;
fail:
    free(buf);
    close(fd);
    return NULL;
}

struct tzone *tzone_load(const char *name, struct err *err)
{
    char path[512];
    const char *dir = getenv("TZDIR");
    size_t size = 0;
    if (!name_ok(name)) {
        err_set(err, -EINVAL,
                "time zone \"%.63s\": not a zone name; give one such as America/New_York", name);
        return NULL;
    }
    if (strcmp(name, "UTC") == 0) {
        struct tzone *utc = zone_new(name, 1);
        if (!utc) {
            err_set(err, -ENOMEM, "time zone UTC: out of memory");
        }
        return utc;
    }
    if (!dir || !*dir) {
        dir = "/usr/share/zoneinfo";
    }
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path) {
        err_set(err, -ENAMETOOLONG, "time zone %s: TZDIR is too long a path; shorten it", name);
        return NULL;
    }
    void *data = slurp(name, path, &size, err);
    if (!data) {
        return NULL;
    }
    struct tzone *z = tzone_parse(name, data, size, err);
    free(data);
    return z;
}

int64_t time_shown(const struct time_shown *s, int64_t utc_ns)
{
    int64_t shown = utc_ns;
    if (!s || utc_ns == INT64_MIN || utc_ns == INT64_MAX || utc_ns == -INT64_MAX) {
        return utc_ns;
    }
    if (s->zone) {
        int64_t utc_s = civil_floor_div(utc_ns, PST_SECOND_NS) + PST_EPOCH_OFFSET_S;
        if (__builtin_add_overflow(utc_ns, tzone_offset(s->zone, utc_s) * PST_SECOND_NS, &shown)) {
            return utc_ns;
        }
    }
    return __builtin_add_overflow(shown, s->offset, &shown) ? utc_ns : shown;
}
