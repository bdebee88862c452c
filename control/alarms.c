/* SPDX-License-Identifier: Apache-2.0 */
#include "alarms.h"

#define FOLD_NS (60 * NS_PER_S)

#define WARN SEVERITY_WARN
#define FAIL SEVERITY_FAIL
const struct alarm_info alarm_table[ALARMS] = {
#define X(ID, code, severity, raise, clear, text, remedy)                                          \
    {code, severity, raise, clear, text, remedy},
#include "core/alarms.def"
#undef X
};
#undef WARN
#undef FAIL

void alarms_init(struct alarms *a, struct status *s, alarm_journal *journal, void *arg)
{
    memset(a, 0, sizeof *a);
    a->status = s;
    a->journal = journal;
    a->arg = arg;
}

int alarm_find(const char *code)
{
    for (unsigned i = 0; i < ALARMS; i++)
        if (!strcmp(alarm_table[i].code, code))
            return (int)i;
    return -1;
}

/* The text up to cap bytes: the end is cut off, or the beginning; never within a character. */
static void shortened(char *out, size_t cap, const char *text, bool keep_end)
{
    size_t n = strlen(text);
    if (n < cap) {
        memcpy(out, text, n + 1);
    } else if (keep_end) {
        const char *from = text + n - (cap - 4);
        while ((*from & 0xC0) == 0x80)
            from++;
        snprintf(out, cap, "...%s", from);
    } else {
        n = cap - 4;
        while (n && (text[n] & 0xC0) == 0x80)
            n--;
        snprintf(out, cap, "%.*s...", (int)n, text);
    }
}

static struct alarm_state *find(struct alarms *a, enum alarm code, const char *whole)
{
    char subject[ALARMS_SUBJECT];
    shortened(subject, sizeof subject, whole, true);
    for (unsigned i = 0; i < a->n; i++)
        if (a->raised[i].code == code && !strcmp(a->raised[i].subject, subject))
            return &a->raised[i];
    return NULL;
}

const struct alarm_state *alarm_raised(const struct alarms *a, enum alarm code, const char *subject)
{
    return find((struct alarms *)(uintptr_t)a, code, subject);
}

static void say(struct alarms *a, const struct alarm_state *s, bool raised)
{
    /* A condition that comes and goes would flood the log: raised within a minute of its last
     * clear, neither that nor its end is said again, but counted for the next line that is. */
    for (unsigned i = 0; i < a->n_recent; i++)
        if (a->recent[i].code == s->code && !strcmp(a->recent[i].subject, s->subject) &&
            s->since - a->recent[i].cleared < FOLD_NS) {
            a->folded++;
            return;
        }
    char folded[48] = "";
    if (a->folded)
        snprintf(folded, sizeof folded, " (%llu repeats folded)", (unsigned long long)a->folded);
    a->folded = 0;
    fprintf(stderr, "penstockd: %s %s%s%s: %s%s\n",
            !raised                                          ? "CLEAR"
            : alarm_table[s->code].severity == SEVERITY_FAIL ? "FAIL"
                                                             : "WARN",
            alarm_table[s->code].code, *s->subject ? " " : "", s->subject, s->text, folded);
}

static void show(struct alarms *a, enum alarm code)
{
    int64_t oldest = 0;
    for (unsigned i = 0; i < a->n; i++)
        if (a->raised[i].code == code && (!oldest || a->raised[i].since < oldest))
            oldest = a->raised[i].since;
    store_relaxed(&a->status->alarm_since[code], oldest);
}

static void clear(struct alarms *a, struct alarm_state *s, int64_t now)
{
    enum alarm code = s->code;
    s->cleared = now;
    say(a, s, false);
    if (a->journal)
        a->journal(a->arg, s, false);
    if (a->n_recent == PST_COUNT(a->recent))
        memmove(a->recent, a->recent + 1, --a->n_recent * sizeof a->recent[0]);
    a->recent[a->n_recent++] = *s;
    *s = a->raised[--a->n];
    show(a, code);
}

/* What a code's subjects beyond its room are counted in begins anew with each round of checks. */
static void round_of(struct alarms *a, int64_t now, enum alarm code)
{
    if (a->more[code].at != now)
        a->more[code] = (struct alarms_more){.at = now};
}

void alarm_more(struct alarms *a, int64_t now, enum alarm code)
{
    round_of(a, now, code);
    a->more[code].n++;
    a->refused++;
}

static bool has_room(const struct alarms *a, enum alarm code)
{
    unsigned of_code = 0;
    for (unsigned i = 0; i < a->n; i++)
        of_code += a->raised[i].code == code;
    return !of_code || (of_code < ALARMS_OF_CODE && a->n < ALARMS_RAISED);
}

void alarm_check(struct alarms *a, int64_t now, enum alarm code, const char *subject, bool holds,
                 int64_t hold_ns, const char *fmt, ...)
{
    struct alarm_state *s = find(a, code, subject);
    round_of(a, now, code);
    if (!holds) {
        if (s && now - s->last >= hold_ns)
            clear(a, s, now);
        return;
    }
    bool fresh = !s;
    if (fresh) {
        if (!has_room(a, code)) {
            alarm_more(a, now, code);
            return;
        }
        s = &a->raised[a->n++];
        memset(s, 0, sizeof *s);
        s->code = code;
        shortened(s->subject, sizeof s->subject, subject, true);
        s->since = now;
    }
    s->last = now;
    s->times++;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    shortened(s->text, sizeof s->text, text, false);
    if (fresh) {
        show(a, code);
        say(a, s, true);
        if (a->journal)
            a->journal(a->arg, s, true);
    }
}

bool alarm_ack(struct alarms *a, int64_t now, const char *code)
{
    int c = alarm_find(code);
    bool any = false;
    for (unsigned i = a->n; i-- > 0;)
        if ((int)a->raised[i].code == c) {
            clear(a, &a->raised[i], now);
            any = true;
        }
    return any;
}

unsigned alarms_count(const struct alarms *a, enum severity severity)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->n; i++)
        n += alarm_table[a->raised[i].code].severity == severity;
    return n;
}
