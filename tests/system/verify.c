/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify - is what penstock logged exactly what the simulator sent? Field by field, against the
 * second decoder, which shares no code or table with the product.
 *
 *   penstock log dump DIR --json | verify --report R.json --truth T [--protocol itch|iex|raw]
 *       [--feed NAME] [--date YYYY-MM-DD] [--gaps exact|superset] [--first SEQ] [--divergent N]
 *       [--locates forgotten] [--interval TABLE]
 *
 * Checks, for every (session, epoch) of the truth:
 *   - every sequence is a row exactly once, or lies in a gap row that no late row took back
 *   - rows without `late` come in strictly rising sequence (--interval TABLE: those of that table,
 *     which is in the interval stream, and those of all others each by themselves)
 *   - each row's fields, time, sym and table equal the second decoder's reading of the sent bytes
 *     (raw: the bytes of `undecoded` equal the sent message)
 *   - exact: the gaps are exactly the sequences that no line carried intact; superset: at least
 *     these
 *   - nothing was journaled that was not sent, and no gap names what was never numbered
 *     (before_start gaps excepted)
 *   - rows of `undecoded` with reason divergent are copies of messages that some line carried with
 *     other bytes (--divergent N: exactly N, default 0)
 * A row's sym may be null only where no message that names the stock of its locate was a row before
 * it; else it is what the directory (lost or not) says.
 * Prints one line of figures; exit 0 = all holds, 1 = not (the first 20 differences are named).
 */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "refdecode.h"
#include "truth.h"

#define UNIX_2000 946684800ll
#define SHOW      20

enum fate { FATE_NONE, FATE_ROW, FATE_GAP, FATE_LATE };

struct message {
    uint64_t seq;
    uint32_t lines, len, flags;
    uint8_t *bytes;
    uint8_t fate;
    uint8_t gapped;
    uint8_t other; /* its divergent copy is a row */
};
struct session {
    char text[80];
    struct message *m;
    size_t n, cap;
    size_t at;        /* raw: next message to match within a packet */
    uint64_t last[2]; /* of on-time rows, by stream */
    struct refdecode ref;
    bool known[65536]; /* locates whose stock some row has named */
};

static struct session *sessions;
static size_t nsessions;
static uint64_t faults, rows, late, gap_rows, gap_seqs, unsequenced, divergent;
static int64_t divergent_want;
static const char *protocol = "itch", *feed_name, *interval;
static bool exact = true, forgets; /* forgets: a locate may be unknown again after a kill */

__attribute__((format(printf, 1, 2))) static void fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (faults++ < SHOW) {
        fprintf(stderr, "verify: ");
        vfprintf(stderr, fmt, ap);
        fprintf(stderr, "\n");
    }
    va_end(ap);
}

static const char *text(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* 2026.11.23D09:30:00.123456789 -> UTC ns since 2000 */
static int64_t stamp(const char *s)
{
    int y, mo, d, h, mi, sec;
    long long ns;
    if (sscanf(s, "%d.%d.%dD%d:%d:%d.%lld", &y, &mo, &d, &h, &mi, &sec, &ns) != 7)
        return INT64_MIN;
    struct tm tm = {.tm_year = y - 1900,
                    .tm_mon = mo - 1,
                    .tm_mday = d,
                    .tm_hour = h,
                    .tm_min = mi,
                    .tm_sec = sec};
    return ((int64_t)timegm(&tm) - UNIX_2000) * 1000000000ll + ns;
}

static struct session *session_of(const char *name)
{
    for (size_t i = 0; i < nsessions; i++)
        if (!strcmp(sessions[i].text, name))
            return &sessions[i];
    if (*name == '-') { /* no stream key at all (CME): "-", "-#2" */
        char plain[96];
        snprintf(plain, sizeof plain, "%s%s", sessions[0].text, name + 1);
        for (size_t i = 0; i < nsessions; i++)
            if (!strcmp(sessions[i].text, plain))
                return &sessions[i];
    }
    /* the product may put stream pieces before the session: "32771:1:1161625600" */
    for (size_t i = 0; i < nsessions; i++) {
        size_t a = strlen(name), b = strlen(sessions[i].text);
        if (a > b && name[a - b - 1] == ':' && !strcmp(name + a - b, sessions[i].text))
            return &sessions[i];
    }
    return NULL;
}

/* First message with this sequence. */
static size_t find(const struct session *s, uint64_t seq)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->m[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void same_field(json_t *row, const struct ref_value *v, const char *where)
{
    json_t *j = json_object_get(row, v->name);
    char got[64] = "";
    bool ok;
    if (!j) {
        fault("%s: column %s is missing", where, v->name);
        return;
    }
    if (v->null || (v->kind == 's' && !*v->s)) {
        ok = json_is_null(j) || (json_is_string(j) && !strcmp(json_string_value(j), " "));
        if (v->kind == 'c' && json_is_string(j) && !*json_string_value(j))
            ok = true;
    } else if (v->kind == 'f') {
        ok = json_is_number(j) && json_number_value(j) == v->f;
    } else if (v->kind == 's') {
        ok = json_is_string(j) && !strcmp(json_string_value(j), v->s);
    } else if (v->kind == 'c') {
        const char *s = json_string_value(j);
        ok =
            s && json_string_length(j) == 1 && (uint8_t)*s == (uint8_t)v->i && (uint8_t)v->i < 0x80;
    } else if (v->kind == 'p') {
        ok = json_is_string(j) && stamp(json_string_value(j)) == v->i;
    } else {
        ok = json_is_integer(j) && json_integer_value(j) == v->i;
    }
    if (!ok) {
        char *t = json_dumps(j, JSON_ENCODE_ANY);
        snprintf(got, sizeof got, "%s", t ? t : "?");
        free(t);
        fault("%s: column %s is %s, sent %" PRId64 " %.17g '%s'%s", where, v->name, got, v->i, v->f,
              v->kind == 's' ? v->s : "", v->null ? " (null)" : "");
    }
}

/* Latin-1 text of JSON (one code point a byte) back to bytes. */
static size_t latin1(json_t *j, uint8_t *out, size_t cap)
{
    const uint8_t *s = (const uint8_t *)json_string_value(j);
    size_t n = s ? json_string_length(j) : 0, k = 0;
    for (size_t i = 0; i < n && k < cap; i++)
        if (s[i] >= 0xC0 && i + 1 < n) {
            out[k++] = (uint8_t)((s[i] & 3) << 6 | (s[i + 1] & 0x3F));
            i++;
        } else {
            out[k++] = s[i];
        }
    return k;
}

/* Messages that carry their stock's text beside its locate. */
static bool names_stock(const struct message *m)
{
    return m->len > 2 && (m->bytes[1] || m->bytes[2]) && strchr("RHYLJhKNOAFPQI", m->bytes[0]);
}

/* A divergent copy has no number: it must be, but for a few bytes, a message that had one. */
static void one_divergent(struct session *s, json_t *row)
{
    uint8_t got[4096];
    size_t n = latin1(json_object_get(row, "bytes"), got, sizeof got);
    divergent++;
    for (size_t i = 0; s && i < s->n; i++) {
        struct message *m = &s->m[i];
        unsigned differ = 0;
        if (!(m->flags & 1) || m->other || m->len != n)
            continue;
        for (size_t k = 0; k < n; k++)
            differ += got[k] != m->bytes[k];
        if (differ <= 8 && differ < n) {
            m->other = 1;
            return;
        }
    }
    fault("a divergent copy of %zu bytes is like no message that was sent twice", n);
}

static void one_row(json_t *row)
{
    const char *table = text(row, "table");
    if (feed_name && strcmp(text(row, "feed"), feed_name)) {
        return;
    }
    struct session *s = session_of(text(row, "session"));
    json_t *jseq = json_object_get(row, "seq");
    int64_t flags = json_integer_value(json_object_get(row, "flags"));
    if (!json_is_integer(jseq)) {
        if (!strcmp(text(row, "reason"), "divergent"))
            one_divergent(s, row);
        else
            unsequenced++;
        return;
    }
    if (!s) {
        fault("row of session '%s', which was never sent", text(row, "session"));
        return;
    }
    uint64_t seq = (uint64_t)json_integer_value(jseq);
    size_t at = find(s, seq);
    char where[160];
    snprintf(where, sizeof where, "%s %s seq %" PRIu64, table, s->text, seq);
    if (at == s->n || s->m[at].seq != seq) {
        fault("%s: no such message was sent", where);
        return;
    }
    bool raw = !strcmp(protocol, "raw");
    /* several messages of one packet number: take them in order */
    while (raw && at + 1 < s->n && s->m[at].fate == FATE_ROW && s->m[at + 1].seq == seq)
        at++;
    struct message *m = &s->m[at];
    if (m->fate == FATE_ROW || m->fate == FATE_LATE)
        fault("%s: journaled twice", where);
    if (flags & 1) {
        late++;
        if (m->fate != FATE_GAP)
            fault("%s: late, but lies in no gap before it", where);
        m->fate = FATE_LATE;
    } else {
        rows++;
        if (m->fate == FATE_GAP)
            fault("%s: on time, but declared a gap", where);
        m->fate = FATE_ROW;
        uint64_t *last = &s->last[interval && !strcmp(table, interval)];
        if (raw ? seq < *last : seq <= *last)
            fault("%s: comes after %" PRIu64, where, *last);
        *last = seq;
    }
    if (raw) {
        uint8_t got[4096];
        size_t n = latin1(json_object_get(row, "bytes"), got, sizeof got);
        if (n != m->len || memcmp(got, m->bytes, n))
            fault("%s: bytes differ from what was sent (%zu, %u)", where, n, m->len);
        return;
    }
    struct ref_row want;
    int k = refdecode(&s->ref, protocol, m->bytes, m->len, &want);
    if (k != 1) {
        if (strcmp(table, "undecoded"))
            fault("%s: the second decoder cannot read it", where);
        return;
    }
    if (strcmp(table, want.table)) {
        fault("%s: stands in table %s, belongs to %s", where, table, want.table);
        return;
    }
    if (stamp(text(row, "time")) != want.time)
        fault("%s: time %s, sent %" PRId64, where, text(row, "time"), want.time);
    if (!strcmp(protocol, "itch")) {
        unsigned locate = m->bytes[1] << 8 | m->bytes[2];
        bool names = names_stock(m);
        s->known[locate] |= names;
        /* its stock, said by itself or by the directory; null while nothing that came named it */
        bool must = s->known[locate] && (names || !forgets);
        const char *sym = must || *text(row, "sym") ? want.sym : "";
        if (strcmp(text(row, "sym"), sym))
            fault("%s: sym '%s', sent '%s'", where, text(row, "sym"), sym);
    } else if (strcmp(text(row, "sym"), want.sym)) {
        fault("%s: sym '%s', sent '%s'", where, text(row, "sym"), want.sym);
    }
    if (m->flags & 1) /* which of the divergent copies won is not for us to say */
        return;
    for (unsigned i = 0; i < want.n; i++)
        same_field(row, &want.v[i], where);
}

static void one_gap(json_t *row)
{
    if (feed_name && strcmp(text(row, "feed"), feed_name))
        return;
    struct session *s = session_of(text(row, "session"));
    uint64_t first = (uint64_t)json_integer_value(json_object_get(row, "first"));
    uint64_t last = (uint64_t)json_integer_value(json_object_get(row, "last"));
    gap_rows++;
    if (!s) {
        fault("gap of session '%s', which was never sent", text(row, "session"));
        return;
    }
    bool before = !strcmp(text(row, "reason"), "before_start");
    uint64_t end = s->n ? s->m[s->n - 1].seq : 0;
    if (last < first || last > end || (!before && s->n && first < s->m[0].seq))
        fault("%s: gap %" PRIu64 "-%" PRIu64 " (%s) names what was never sent", s->text, first,
              last, text(row, "reason"));
    for (size_t at = find(s, first); at < s->n && s->m[at].seq <= last; at++) {
        struct message *m = &s->m[at];
        if (m->gapped)
            fault("%s seq %" PRIu64 ": declared a gap twice", s->text, m->seq);
        if (m->fate == FATE_ROW)
            fault("%s seq %" PRIu64 ": a row before, now in a gap", s->text, m->seq);
        m->gapped = 1;
        m->fate = FATE_GAP;
        gap_seqs++;
    }
}

static bool load(const char *report, const char *truth, int64_t midnight)
{
    json_error_t je;
    json_t *r = json_load_file(report, 0, &je);
    json_t *list = json_object_get(r, "sessions");
    nsessions = json_array_size(list);
    sessions = calloc(nsessions ? nsessions : 1, sizeof *sessions);
    for (size_t i = 0; i < nsessions; i++) {
        json_t *o = json_array_get(list, i);
        /* the n-th session of the same key is a restart: KEY#n; pieces of a key are joined by ':'
         */
        unsigned nth = 1;
        for (size_t k = 0; k < i; k++)
            nth += !strcmp(text(json_array_get(list, k), "key"), text(o, "key"));
        snprintf(sessions[i].text, sizeof sessions[i].text, nth > 1 ? "%s#%u" : "%s",
                 text(o, "key"), nth);
        char *slash = strchr(sessions[i].text, '/'), version[40];
        if (slash && !strcmp(protocol, "raw")) { /* B3: version/channel, which we show turned */
            snprintf(version, sizeof version, ":%.*s", (int)(slash - sessions[i].text),
                     sessions[i].text);
            memmove(sessions[i].text, slash + 1, strlen(slash));
            strcat(sessions[i].text, version);
        } else if (slash) {
            *slash = ':';
        }
        if (!refdecode_open(&sessions[i].ref, midnight))
            return false;
    }
    struct truth_reader t;
    struct truth_record x;
    if (!nsessions || !truth_reader_open(&t, truth))
        return false;
    int k;
    while ((k = truth_reader_next(&t, &x)) == 1) {
        if (x.session >= nsessions)
            return false;
        struct session *s = &sessions[x.session];
        if (!x.seq)
            continue; /* unsequenced */
        if (s->n == s->cap) {
            s->cap = s->cap ? 2 * s->cap : 4096;
            s->m = realloc(s->m, s->cap * sizeof *s->m);
        }
        uint8_t *copy = malloc(x.len ? x.len : 1);
        memcpy(copy, x.bytes, x.len);
        s->m[s->n++] = (struct message){x.seq, x.lines, x.len, x.flags, copy, 0, 0, 0};
        struct ref_row learn; /* the whole directory, whether it arrived or not */
        if (strcmp(protocol, "raw") && x.len && x.bytes[0] == 'R')
            refdecode(&s->ref, protocol, copy, x.len, &learn);
    }
    truth_reader_close(&t);
    json_decref(r);
    return k == 0;
}

int main(int argc, char **argv)
{
    const char *report = NULL, *truth = NULL;
    int y = 2026, mo = 11, d = 20;
    uint64_t first = 0;
    for (int i = 1; i < argc; i += 2) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--report"))
            report = v;
        else if (!strcmp(argv[i], "--truth"))
            truth = v;
        else if (!strcmp(argv[i], "--protocol"))
            protocol = v;
        else if (!strcmp(argv[i], "--feed"))
            feed_name = v;
        else if (!strcmp(argv[i], "--gaps"))
            exact = strcmp(v, "superset") != 0;
        else if (!strcmp(argv[i], "--locates"))
            forgets = !strcmp(v, "forgotten");
        else if (!strcmp(argv[i], "--interval"))
            interval = v;
        else if (!strcmp(argv[i], "--first"))
            first = strtoull(v, NULL, 10);
        else if (!strcmp(argv[i], "--divergent"))
            divergent_want = atoll(v);
        else if (!strcmp(argv[i], "--date") && sscanf(v, "%d-%d-%d", &y, &mo, &d) != 3)
            return 2;
    }
    if (!report || !truth || !load(report, truth, ref_midnight(y, mo, d))) {
        fprintf(stderr, "verify: cannot read the report or the truth\n");
        return 2;
    }
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t je;
        json_t *o = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &je);
        if (!o)
            fault("not JSON: %.80s", line);
        else if (!strcmp(text(o, "table"), "gap"))
            one_gap(o);
        else if (json_object_get(o, "feed"))
            one_row(o);
        json_decref(o);
    }
    uint64_t sent = 0, missing = 0, lost = 0;
    for (size_t i = 0; i < nsessions; i++)
        for (size_t k = 0; k < sessions[i].n; k++) {
            struct message *m = &sessions[i].m[k];
            if (m->seq < first)
                continue;
            sent++;
            lost += !m->lines;
            bool gone = m->fate == FATE_GAP;
            missing += gone;
            if (m->fate == FATE_NONE)
                fault("%s seq %" PRIu64 ": neither row nor gap", sessions[i].text, m->seq);
            if (exact && gone && m->lines)
                fault("%s seq %" PRIu64 ": in a gap, but a line carried it", sessions[i].text,
                      m->seq);
            if (!gone && !m->lines && m->fate != FATE_NONE)
                fault("%s seq %" PRIu64 ": a row, but no line carried it", sessions[i].text,
                      m->seq);
        }
    if (divergent_want >= 0 && divergent != (uint64_t)divergent_want)
        fault("%" PRIu64 " divergent copies are rows, expected %" PRId64, divergent,
              divergent_want);
    printf("verify: sent %" PRIu64 " = rows %" PRIu64 " + late %" PRIu64 " + missing %" PRIu64
           " (no line carried %" PRIu64 "; %" PRIu64 " gap rows of %" PRIu64 "), divergent %" PRIu64
           ", unsequenced %" PRIu64 ": %s\n",
           sent, rows, late, missing, lost, gap_rows, gap_seqs, divergent, unsequenced,
           faults ? "DIFFERENT" : "equal");
    if (faults > SHOW)
        fprintf(stderr, "verify: %" PRIu64 " differences in all\n", faults);
    return faults != 0;
}
