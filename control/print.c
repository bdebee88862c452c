/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include "print.h"
#include "core/clock.h"
#include "core/civil.h"

static char *scratch(void)
{
    static char buffers[16][64];
    static unsigned next;
    return buffers[next++ % 16];
}

void print_table_begin(struct print_table *t, unsigned ncols, const char *const *head)
{
    pst_must(ncols <= TABLE_COLUMNS);
    memset(t, 0, sizeof *t);
    t->ncols = ncols;
    memcpy(t->head, head, ncols * sizeof *head);
}

static void room_for_row(struct print_table *t)
{
    if (t->nrows == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 32;
        t->cell = realloc(t->cell, (size_t)t->cap * t->ncols * sizeof *t->cell);
        pst_must(t->cell);
    }
}

void print_table_cells(struct print_table *t, const char *const *cell)
{
    room_for_row(t);
    for (unsigned c = 0; c < t->ncols; c++) {
        char *copy = strdup(cell[c]);
        pst_must(copy);
        t->cell[(size_t)t->nrows * t->ncols + c] = copy;
    }
    t->nrows++;
}

void print_table_row(struct print_table *t, ...)
{
    room_for_row(t);
    va_list ap;
    va_start(ap, t);
    for (unsigned c = 0; c < t->ncols; c++) {
        const char *text = va_arg(ap, const char *);
        t->cell[(size_t)t->nrows * t->ncols + c] = strdup(text ? text : "");
    }
    va_end(ap);
    t->nrows++;
}

/* Columns on a screen: UTF-8 continuation bytes take no width. */
static int width(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xC0) != 0x80;
    return n;
}

void print_table_end(struct print_table *t)
{
    int w[TABLE_COLUMNS];
    for (unsigned c = 0; c < t->ncols; c++) {
        w[c] = width(t->head[c]) - (*t->head[c] == '>');
        for (unsigned r = 0; r < t->nrows; r++) {
            int n = width(t->cell[(size_t)r * t->ncols + c]);
            w[c] = n > w[c] ? n : w[c];
        }
    }
    for (unsigned r = 0; r <= t->nrows; r++)
        for (unsigned c = 0; c < t->ncols; c++) {
            bool right = *t->head[c] == '>';
            const char *text = r ? t->cell[(size_t)(r - 1) * t->ncols + c] : t->head[c] + right;
            int pad = w[c] - width(text);
            bool last = c + 1 == t->ncols;
            printf("%*s%s%*s%s", right ? pad : 0, "", text, right || last ? 0 : pad, "",
                   last ? "\n" : "  ");
        }
    print_table_free(t);
}

void print_table_free(struct print_table *t)
{
    for (size_t i = 0; i < (size_t)t->nrows * t->ncols; i++)
        free(t->cell[i]);
    free(t->cell);
}

const char *print_count(int64_t n)
{
    char digits[32], *out = scratch(), *o = out;
    int len = snprintf(digits, sizeof digits, "%" PRId64, n), i = 0;
    if (digits[0] == '-')
        *o++ = digits[i++];
    for (; i < len; i++) {
        *o++ = digits[i];
        if ((len - i - 1) % 3 == 0 && i + 1 < len)
            *o++ = ',';
    }
    *o = 0;
    return out;
}

const char *print_bytes(int64_t n)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *out = scratch();
    double v = (double)n;
    unsigned u = 0;
    while (v >= 1024 && u + 1 < PST_COUNT(unit)) {
        v /= 1024;
        u++;
    }
    snprintf(out, 64, v < 10 && u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}

const char *print_duration(int64_t ns)
{
    char *out = scratch();
    if (ns < 0) {
        snprintf(out, 64, "-%.60s", print_duration(ns == INT64_MIN ? INT64_MAX : -ns));
        return out;
    }
    double v = (double)ns;
    int64_t s = ns / NS_PER_S;
    if (ns < NS_PER_US)
        snprintf(out, 64, "%d ns", (int)ns);
    else if (ns < NS_PER_MS)
        snprintf(out, 64, "%.1f us", v / 1e3);
    else if (ns < NS_PER_S)
        snprintf(out, 64, "%.1f ms", v / 1e6);
    else if (s < 120)
        snprintf(out, 64, "%.*f s", s < 10, v / 1e9);
    else if (s < 7200)
        snprintf(out, 64, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 172800)
        snprintf(out, 64, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(out, 64, "%dd%02dh", (int)(s / 86400), (int)(s / 3600 % 24));
    return out;
}

const char *print_time(int64_t ns)
{
    char *out = scratch();
    if (!ns) {
        strcpy(out, "never");
        return out;
    }
    time_t t = (time_t)(ns / NS_PER_S + CLOCK_EPOCH_S);
    struct tm tm;
    gmtime_r(&t, &tm);
    bool today = clock_day(ns) == clock_day(clock_system());
    strftime(out, 64, today ? "%H:%M:%SZ" : "%Y.%m.%d %H:%M:%SZ", &tm);
    return out;
}

int64_t json_long(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_real(v) ? (int64_t)json_real_value(v) : json_integer_value(v);
}
double json_real_of(json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}
const char *json_text(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}
