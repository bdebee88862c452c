/* SPDX-License-Identifier: Apache-2.0 */
#include "gen.h"

/* The types of expressions: integer, float, boolean, text, timestamp, date, timespan (in DuckDB a
 * BIGINT of ns). */
enum kind { I, F, B, T, P, D, N, KINDS };

struct two {
    char o[1500], d[1500];
};

static uint64_t next(struct gen *g)
{
    uint64_t z = g->seed += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
static unsigned pick(struct gen *g, unsigned n)
{
    return (unsigned)(next(g) % n);
}

/* One format for each language; %1 ... %3 are the parts' texts in that language. */
static void fill(char *out, size_t room, const char *f, const struct two *const *p, bool ours)
{
    size_t n = 0;
    for (; *f && n + 1 < room; f++) {
        if (*f == '$' && f[1] >= '1' && f[1] <= '3') {
            const char *s = ours ? p[f[1] - '1']->o : p[f[1] - '1']->d;
            n += (size_t)snprintf(out + n, room - n, "%s", s);
            n = n < room ? n : room - 1;
            f++;
        } else {
            out[n++] = *f;
        }
    }
    out[n] = 0;
}
static void both(struct two *x, const char *ours, const char *duck, const struct two *a,
                 const struct two *b, const struct two *c)
{
    struct two made;
    const struct two *p[3] = {a, b, c};
    fill(made.o, sizeof made.o, ours, p, true);
    fill(made.d, sizeof made.d, duck ? duck : ours, p, false);
    *x = made;
}
static void word(struct two *x, const char *ours, const char *duck)
{
    snprintf(x->o, sizeof x->o, "%s", ours);
    snprintf(x->d, sizeof x->d, "%s", duck ? duck : ours);
}

static void expr(struct gen *g, enum kind k, int depth, struct two *x);

static void constant(struct gen *g, enum kind k, struct two *x)
{
    static const char *const texts[] = {"'AAA'", "'b'", "'SYM3'", "'xyz'", "'a%'"};
    static const char *const days[] = {"2024-01-02", "2024-01-03", "2024-01-05", "2023-12-31",
                                       "2024-02-29"};
    static const char *const clocks[] = {"09:30:00", "12:00:00.5", "00:00:00", "23:59:59.999999"};
    char o[80], d[120];
    const char *day = days[pick(g, PST_COUNT(days))], *clock = clocks[pick(g, PST_COUNT(clocks))];
    long n = (long)pick(g, 41) - 20;
    switch (k) {
    case I:
        snprintf(o, sizeof o, "%ld", n);
        snprintf(d, sizeof d, "%ld::BIGINT", n);
        if (n < 0) {
            snprintf(o, sizeof o, "(%ld)", n);
            snprintf(d, sizeof d, "(%ld)::BIGINT", n);
        }
        word(x, o, d);
        break;
    case F:
        snprintf(o, sizeof o, "(%ld.%u)", n, pick(g, 4) * 25);
        snprintf(d, sizeof d, "%s::DOUBLE", o);
        word(x, o, d);
        break;
    case B:
        word(x, pick(g, 2) ? "true" : "false", NULL);
        break;
    case T:
        word(x, texts[pick(g, PST_COUNT(texts))], NULL);
        break;
    case P:
        snprintf(o, sizeof o, "timestamp '%s %s'", day, clock);
        word(x, o, NULL);
        break;
    case D:
        snprintf(o, sizeof o, "date '%s'", day);
        word(x, o, NULL);
        break;
    default:
        n = (long)pick(g, 100000) - 20000;
        snprintf(o, sizeof o, "interval '%ld ms'", n);
        snprintf(d, sizeof d, "(%ld)::BIGINT", n * 1000000);
        word(x, o, d);
        break;
    }
}

static void column(struct gen *g, enum kind k, struct two *x)
{
    static const char *const names[KINDS][6] = {[I] = {"i", "h", "j", "id", "x"},
                                                [F] = {"f", "e", "f"},
                                                [B] = {"b"},
                                                [T] = {"sym", "s", "c"},
                                                [P] = {"time", "p"},
                                                [D] = {"date", "d"},
                                                [N] = {"n"}};
    unsigned n = 0;
    while (n < 6 && names[k][n]) {
        n++;
    }
    const char *name = names[k][pick(g, n)];
    char d[64];
    snprintf(d, sizeof d, k == I ? "%s::BIGINT" : k == F ? "%s::DOUBLE" : "%s", name);
    word(x, name, d);
}

static void compare(struct gen *g, int depth, struct two *x)
{
    static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};
    struct two a, b;
    enum kind k = (enum kind)pick(g, KINDS);
    k = k == B ? I : k;
    expr(g, k, depth - 1, &a);
    expr(g, k, depth - 1, &b);
    char f[64];
    snprintf(f, sizeof f, "($1 %s $2)", ops[pick(g, 6)]);
    both(x, f, NULL, &a, &b, NULL);
}

static void boolean(struct gen *g, int depth, struct two *x)
{
    struct two a, b, c;
    static const char *const patterns[] = {"'%A%'", "'S_M%'", "'%'", "'b'", "'_'", "'%y%z'"};
    char f[128];
    enum kind k = (enum kind)pick(g, KINDS);
    switch (pick(g, 10)) {
    case 0:
    case 1:
        expr(g, B, depth - 1, &a);
        expr(g, B, depth - 1, &b);
        both(x, pick(g, 2) ? "($1 AND $2)" : "($1 OR $2)", NULL, &a, &b, NULL);
        return;
    case 2:
        expr(g, B, depth - 1, &a);
        both(x, "(NOT $1)", NULL, &a, NULL, NULL);
        return;
    case 3:
        expr(g, k, depth - 1, &a);
        both(x, pick(g, 2) ? "($1 IS NULL)" : "($1 IS NOT NULL)", NULL, &a, NULL, NULL);
        return;
    case 4:
        k = k == B ? I : k;
        expr(g, k, depth - 1, &a);
        constant(g, k, &b);
        constant(g, k, &c);
        if (pick(g, 4) == 0) {
            word(&c, "NULL", NULL);
        }
        both(x, pick(g, 2) ? "($1 IN ($2, $3))" : "($1 NOT IN ($2, $3))", NULL, &a, &b, &c);
        return;
    case 5:
        k = k == B ? F : k;
        expr(g, k, depth - 1, &a);
        constant(g, k, &b);
        constant(g, k, &c);
        both(x, pick(g, 2) ? "($1 BETWEEN $2 AND $3)" : "($1 NOT BETWEEN $2 AND $3)", NULL, &a, &b,
             &c);
        return;
    case 6:
        expr(g, T, depth - 1, &a);
        snprintf(f, sizeof f, "($1 %s%s %s)", pick(g, 3) ? "" : "NOT ",
                 pick(g, 3) ? "LIKE" : "ILIKE", patterns[pick(g, 6)]);
        both(x, f, NULL, &a, NULL, NULL);
        return;
    case 7:
        k = k == B ? I : k;
        expr(g, k, depth - 1, &a);
        expr(g, k, depth - 1, &b);
        both(x, pick(g, 2) ? "($1 IS DISTINCT FROM $2)" : "($1 IS NOT DISTINCT FROM $2)", NULL, &a,
             &b, NULL);
        return;
    case 8:
        expr(g, B, depth - 1, &a);
        both(x, pick(g, 2) ? "($1 IS TRUE)" : "($1 IS NOT FALSE)", NULL, &a, NULL, NULL);
        return;
    default:
        compare(g, depth, x);
        return;
    }
}

static void integer(struct gen *g, int depth, struct two *x)
{
    struct two a, b;
    switch (pick(g, 11)) {
    case 0:
    case 1:
        expr(g, I, depth - 1, &a);
        expr(g, I, depth - 1, &b);
        both(x, "($1 + $2)", NULL, &a, &b, NULL);
        break;
    case 2:
        expr(g, I, depth - 1, &a);
        expr(g, I, depth - 1, &b);
        both(x, "($1 - $2)", NULL, &a, &b, NULL);
        break;
    case 3:
        column(g, I, &a);
        constant(g, I, &b);
        both(x, "($1 * $2)", NULL, &a, &b, NULL);
        break;
    case 4:
        expr(g, I, depth - 1, &a);
        expr(g, I, depth - 1, &b);
        both(x, "($1 / $2)", "($1 // $2)", &a, &b, NULL);
        break;
    case 5:
        expr(g, I, depth - 1, &a);
        expr(g, I, depth - 1, &b);
        both(x, "($1 % $2)", NULL, &a, &b, NULL);
        break;
    case 6:
        expr(g, I, depth - 1, &a);
        both(x, pick(g, 2) ? "abs($1)" : "(-$1)", NULL, &a, NULL, NULL);
        break;
    case 7:
        expr(g, T, depth - 1, &a);
        both(x, "length($1)", NULL, &a, NULL, NULL);
        break;
    case 8: {
        static const char *const fields[] = {"year", "quarter", "month", "week", "day",
                                             "dow",  "isodow",  "doy",   "hour", "minute"};
        char f[64];
        snprintf(f, sizeof f, "extract(%s FROM $1)", fields[pick(g, PST_COUNT(fields))]);
        expr(g, P, depth - 1, &a);
        both(x, f, NULL, &a, NULL, NULL);
        break;
    }
    case 9:
        column(g, F, &a);
        both(x, "($1)::long", "CAST($1 AS BIGINT)", &a, NULL, NULL);
        break;
    default:
        expr(g, D, depth - 1, &a);
        expr(g, D, depth - 1, &b);
        both(x, "($1 - $2)", NULL, &a, &b, NULL);
        break;
    }
}

static void floating(struct gen *g, int depth, struct two *x)
{
    struct two a, b;
    switch (pick(g, 9)) {
    case 0:
    case 1: {
        static const char *const ops[] = {"+", "-", "*", "/", "%"};
        char o[32], d[40];
        const char *op = ops[pick(g, 5)];
        snprintf(o, sizeof o, "($1 %s $2)", op);
        snprintf(d, sizeof d, "nn($1 %s $2)", op);
        expr(g, F, depth - 1, &a);
        expr(g, F, depth - 1, &b);
        both(x, o, d, &a, &b, NULL);
        break;
    }
    case 2: {
        static const char *const f[] = {"floor($1)", "ceil($1)", "round($1)",
                                        "trunc($1)", "abs($1)",  "(-$1)"};
        expr(g, F, depth - 1, &a);
        both(x, f[pick(g, 6)], NULL, &a, NULL, NULL);
        break;
    }
    case 3:
        column(g, F, &a);
        both(x, "round($1, 1)", NULL, &a, NULL, NULL);
        break;
    case 4:
        expr(g, F, depth - 1, &a);
        both(x, "sqrt(abs($1))", NULL, &a, NULL, NULL);
        break;
    case 5:
        expr(g, F, depth - 1, &a);
        both(x, "ln(abs($1) + 1.0)", NULL, &a, NULL, NULL);
        break;
    case 6:
        expr(g, I, depth - 1, &a);
        both(x, "$1::float", "$1::DOUBLE", &a, NULL, NULL);
        break;
    case 7:
        column(g, F, &a);
        both(x, "power($1, 2.0)", NULL, &a, NULL, NULL);
        break;
    default:
        expr(g, P, depth - 1, &a);
        both(x, "extract(epoch FROM $1)", NULL, &a, NULL, NULL);
        break;
    }
}

static void textual(struct gen *g, int depth, struct two *x)
{
    struct two a, b;
    char f[64];
    switch (pick(g, 6)) {
    case 0:
        expr(g, T, depth - 1, &a);
        if (pick(g, 2)) { /* ASCII letters only */
            both(x, "lower($1)", "lo($1)", &a, NULL, NULL);
        } else {
            both(x, "upper($1)", "up($1)", &a, NULL, NULL);
        }
        break;
    case 1:
        expr(g, T, depth - 1, &a);
        snprintf(f, sizeof f, "substr($1, %u, %u)", 1 + pick(g, 3), 1 + pick(g, 3));
        char d[80];
        snprintf(d, sizeof d, "nullif(%s, '')", f);
        both(x, f, d, &a, NULL, NULL);
        break;
    case 2:
        expr(g, T, depth - 1, &a);
        expr(g, T, depth - 1, &b);
        both(x, "($1 || $2)", NULL, &a, &b, NULL);
        break;
    case 3:
        expr(g, I, depth - 1, &a);
        both(x, "($1 + 0)::text", "($1)::VARCHAR", &a, NULL, NULL); /* a byte is printed 0x2a */
        break;
    case 4:
        expr(g, B, depth - 1, &a);
        both(x, "$1::text", "$1::VARCHAR", &a, NULL, NULL);
        break;
    default:
        expr(g, T, depth - 1, &a);
        both(x, "trim($1)", "nullif(trim($1), '')", &a, NULL, NULL);
        break;
    }
}

static void stamp(struct gen *g, int depth, struct two *x)
{
    static const char *const units[] = {"second", "minute", "hour",    "day",
                                        "week",   "month",  "quarter", "year"};
    static const char *const widths[] = {"1 second", "250 ms",   "5 minutes", "7 minutes",
                                         "1 hour",   "1 day",    "3 days",    "7 days",
                                         "1 month",  "3 months", "1 year"};
    struct two a, b;
    char f[100], d[120];
    expr(g, P, depth - 1, &a);
    switch (pick(g, 5)) {
    case 0:
        snprintf(f, sizeof f, "date_trunc('%s', $1)", units[pick(g, 8)]);
        snprintf(d, sizeof d, "%s::TIMESTAMP", f);
        both(x, f, d, &a, NULL, NULL);
        break;
    case 1:
        snprintf(f, sizeof f, "time_bucket(interval '%s', $1)", widths[pick(g, PST_COUNT(widths))]);
        both(x, f, NULL, &a, NULL, NULL);
        break;
    case 2:
        constant(g, N, &b);
        both(x, "($1 + $2)", "($1 + to_microseconds(($2) // 1000))", &a, &b, NULL);
        break;
    case 3:
        expr(g, D, depth - 1, &a);
        both(x, "$1::timestamp", "$1::TIMESTAMP", &a, NULL, NULL);
        break;
    default:
        snprintf(f, sizeof f, "($1 + interval '%d months')", (int)pick(g, 30) - 15);
        both(x, f, NULL, &a, NULL, NULL);
        break;
    }
}

static void choice(struct gen *g, enum kind k, int depth, struct two *x)
{
    struct two a, b, c;
    expr(g, k, depth - 1, &a);
    expr(g, k, depth - 1, &b);
    bool order = k != B;
    switch (pick(g, order ? 4 : 2)) {
    case 0:
        expr(g, B, depth - 1, &c);
        both(x, "CASE WHEN $3 THEN $1 ELSE $2 END", NULL, &a, &b, &c);
        break;
    case 1:
        both(x, "coalesce($1, $2)", NULL, &a, &b, NULL);
        break;
    case 2:
        both(x, "nullif($1, $2)", NULL, &a, &b, NULL);
        break;
    default:
        both(x, pick(g, 2) ? "greatest($1, $2)" : "least($1, $2)", NULL, &a, &b, NULL);
        break;
    }
}

static void expr(struct gen *g, enum kind k, int depth, struct two *x)
{
    struct two a, b;
    unsigned r = pick(g, 10);
    if (depth <= 0 || r < 3) {
        if (r == 0 && k != B) {
            constant(g, k, x);
        } else {
            column(g, k, x);
        }
        return;
    }
    if (r == 3) {
        choice(g, k, depth, x);
        return;
    }
    switch (k) {
    case I:
        integer(g, depth, x);
        break;
    case F:
        floating(g, depth, x);
        break;
    case B:
        boolean(g, depth, x);
        break;
    case T:
        textual(g, depth, x);
        break;
    case P:
        stamp(g, depth, x);
        break;
    case D:
        expr(g, P, depth - 1, &a);
        constant(g, I, &b);
        if (pick(g, 2)) {
            both(x, "$1::date", "$1::DATE", &a, NULL, NULL);
        } else {
            column(g, D, &a);
            both(x, "($1 + $2)", "($1 + ($2)::INTEGER)", &a, &b, NULL);
        }
        break;
    default:
        if (pick(g, 3)) {
            expr(g, P, depth - 1, &a);
            expr(g, P, depth - 1, &b);
            both(x, "($1 - $2)", "((epoch_us($1) - epoch_us($2)) * 1000)", &a, &b, NULL);
        } else {
            expr(g, P, depth - 1, &a);
            both(x, "$1::timespan", "(epoch_us($1) - epoch_us(date_trunc('day', $1))) * 1000", &a,
                 NULL, NULL);
        }
        break;
    }
}

/* ---- aggregates ---- */

static void aggregate(struct gen *g, struct two *x)
{
    struct two a, b;
    char filter_o[1600] = "", filter_d[1600] = "";
    struct two f;
    switch (pick(g, 16)) {
    case 0:
        word(x, "count(*)", NULL);
        break;
    case 1:
        expr(g, (enum kind)pick(g, KINDS), 2, &a);
        both(x, "count($1)", NULL, &a, NULL, NULL);
        break;
    case 2:
        expr(g, (enum kind)pick(g, KINDS), 1, &a);
        both(x, "count(distinct $1)", NULL, &a, NULL, NULL);
        break;
    case 3:
        expr(g, I, 2, &a);
        both(x, "sum($1)", NULL, &a, NULL, NULL);
        break;
    case 4:
        column(g, F, &a);
        both(x, "sum($1)", "nn(sum($1))", &a, NULL, NULL);
        break;
    case 5:
        expr(g, I, 1, &a);
        both(x, "avg($1)", NULL, &a, NULL, NULL);
        break;
    case 6:
        column(g, F, &a);
        both(x, "avg($1)", NULL, &a, NULL, NULL);
        break;
    case 7:
    case 8: {
        enum kind k = (enum kind)pick(g, KINDS);
        expr(g, k == B ? T : k, 2, &a);
        both(x, pick(g, 2) ? "min($1)" : "max($1)", NULL, &a, NULL, NULL);
        break;
    }
    case 9:
    case 10: {
        bool first = pick(g, 2);
        expr(g, (enum kind)pick(g, KINDS), 1, &a);
        both(x, first ? "first($1)" : "last($1)", first ? "arg_min($1, ord)" : "arg_max($1, ord)",
             &a, NULL, NULL);
        break;
    }
    case 11: {
        static const char *const names[] = {"stddev($1)", "stddev_pop($1)", "variance($1)",
                                            "var_pop($1)"};
        column(g, F, &a);
        both(x, names[pick(g, 4)], NULL, &a, NULL, NULL);
        break;
    }
    case 12:
        column(g, F, &a);
        both(x, "median($1)", NULL, &a, NULL, NULL);
        break;
    case 13:
        expr(g, I, 1, &a);
        both(x, "quantile($1, 0.9)", "quantile_cont(($1)::DOUBLE, 0.9)", &a, NULL, NULL);
        break;
    case 14:
        column(g, F, &a);
        word(&b, "i", "i::DOUBLE");
        both(x, "vwap($1, $2)", "(sum($1 * $2) / nullif(sum($2) FILTER (WHERE $1 IS NOT NULL), 0))",
             &a, &b, NULL);
        return;
    default:
        column(g, F, &a);
        word(&b, "j", "j::DOUBLE");
        both(x, "wavg($2, $1)", "(sum($1 * $2) / nullif(sum($2) FILTER (WHERE $1 IS NOT NULL), 0))",
             &a, &b, NULL);
        return;
    }
    if (pick(g, 5) == 0 && strncmp(x->d, "nn(", 3) != 0) {
        expr(g, B, 1, &f);
        snprintf(filter_o, sizeof filter_o, " FILTER (WHERE %s)", f.o);
        snprintf(filter_d, sizeof filter_d, " FILTER (WHERE %s)", f.d);
        if (strlen(x->o) + strlen(filter_o) < sizeof x->o &&
            strlen(x->d) + strlen(filter_d) < sizeof x->d) {
            strcat(x->o, filter_o);
            strcat(x->d, filter_d);
        }
    }
}

/* ---- queries ---- */

static void put(struct gen *g, const char *o, const char *d)
{
    size_t n = strlen(g->ours), m = strlen(g->duck);
    snprintf(g->ours + n, sizeof g->ours - n, "%s", o);
    snprintf(g->duck + m, sizeof g->duck - m, "%s", d ? d : o);
}

static void where(struct gen *g)
{
    struct two x;
    static const char *const prune[] = {
        " AND date = '2024-01-03'",
        " AND sym = 'AAA'",
        " AND sym IN ('SYM3', 'b', 'nosuch')",
        " AND date BETWEEN '2024-01-03' AND '2024-01-04' AND sym = 'SYM2'",
        " AND time >= '2024-01-03 10:00:00' AND time < '2024-01-04 12:30:00'",
        " AND date IN ('2024-01-02', '2024-01-05')",
        " AND time < '2024-01-02 11:00:00' AND sym <> 'AAA'",
    };
    if (pick(g, 4) == 0) {
        return;
    }
    expr(g, B, 3, &x);
    put(g, " WHERE ", NULL);
    put(g, x.o, x.d);
    if (pick(g, 2)) {
        put(g, prune[pick(g, PST_COUNT(prune))], NULL);
    }
}

static void plain(struct gen *g)
{
    struct two x;
    unsigned n = 1 + pick(g, 5);
    put(g, "SELECT id", NULL);
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        expr(g, (enum kind)pick(g, KINDS), 3, &x);
        put(g, ", ", NULL);
        put(g, x.o, x.d);
        snprintf(name, sizeof name, " AS c%u", i);
        put(g, name, NULL);
    }
    put(g, " FROM t", NULL);
    where(g);
    g->ordered = pick(g, 2);
    if (g->ordered) {
        static const char *const keys[] = {
            "id",        "c0, id",  "c0 DESC, id DESC", "sym NULLS FIRST, f DESC NULLS LAST, id",
            "2 DESC, 1", "time, id"};
        put(g, " ORDER BY ", NULL);
        put(g, keys[pick(g, PST_COUNT(keys))], NULL);
        if (pick(g, 2)) {
            char l[48];
            snprintf(l, sizeof l, " LIMIT %u OFFSET %u", pick(g, 60), pick(g, 20));
            put(g, l, NULL);
        }
    }
}

static void grouped(struct gen *g)
{
    struct two key[3], x;
    unsigned nkeys = pick(g, 4), n = 1 + pick(g, 4);
    bool any = false;
    put(g, "SELECT ", NULL);
    for (unsigned i = 0; i < nkeys; i++) {
        static const char *const plain_keys[] = {"sym", "c", "date", "b", "h", "x", "d"};
        if (pick(g, 2)) {
            word(&key[i], plain_keys[pick(g, PST_COUNT(plain_keys))], NULL);
        } else {
            expr(g, (enum kind)pick(g, KINDS), 2, &key[i]);
        }
        char name[16];
        snprintf(name, sizeof name, " AS k%u", i);
        put(g, any ? ", " : "", NULL);
        put(g, key[i].o, key[i].d);
        put(g, name, NULL);
        any = true;
    }
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        aggregate(g, &x);
        snprintf(name, sizeof name, " AS a%u", i);
        put(g, any ? ", " : "", NULL);
        put(g, x.o, x.d);
        put(g, name, NULL);
        any = true;
    }
    put(g, " FROM t", NULL);
    where(g);
    for (unsigned i = 0; i < nkeys; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%u", i ? ", " : " GROUP BY ", i + 1);
        put(g, name, NULL);
    }
    if (pick(g, 3) == 0) {
        put(g, pick(g, 2) ? " HAVING count(*) > 3" : " HAVING max(id) % 2 = 0 OR min(f) < 0.0",
            NULL);
    }
    if (nkeys && pick(g, 3) == 0) {
        static const char *const orders[] = {" ORDER BY 1", " ORDER BY 1 DESC, 2",
                                             " ORDER BY 1 NULLS FIRST"};
        g->ordered = nkeys == 1;
        put(g, g->ordered ? orders[pick(g, 2) * 2] : " ORDER BY 1, 2", NULL);
        if (g->ordered && pick(g, 2)) {
            put(g, " LIMIT 5", NULL);
        }
    }
}

static void distinct(struct gen *g)
{
    struct two a, b;
    expr(g, (enum kind)pick(g, KINDS), 1, &a);
    expr(g, (enum kind)pick(g, KINDS), 2, &b);
    put(g, "SELECT DISTINCT ", NULL);
    put(g, a.o, a.d);
    put(g, " AS k, ", NULL);
    put(g, b.o, b.d);
    put(g, " AS l FROM t", NULL);
    where(g);
}

static void latest(struct gen *g)
{
    static const char *const keys[] = {"sym", "c", "sym, c", "b, h", "date, sym"};
    const char *key = keys[pick(g, PST_COUNT(keys))];
    struct two x;
    char tail[200];
    expr(g, (enum kind)pick(g, KINDS), 2, &x);
    put(g, "SELECT id, sym, time, ", NULL);
    put(g, x.o, x.d);
    put(g, " AS v FROM t", NULL);
    where(g);
    snprintf(tail, sizeof tail, " LATEST BY %s", key);
    size_t n = strlen(g->ours);
    snprintf(g->ours + n, sizeof g->ours - n, "%s", tail);
    snprintf(tail, sizeof tail,
             " QUALIFY row_number() OVER (PARTITION BY %s ORDER BY ord DESC) = 1", key);
    n = strlen(g->duck);
    snprintf(g->duck + n, sizeof g->duck - n, "%s", tail);
}

/* DuckDB's ASOF JOIN takes the last row by time alone; the row order decides ties. */
static void asof(struct gen *g)
{
    static const char *const using[] = {"sym, time", "sym, c, time"};
    unsigned k = pick(g, 2);
    char text[700];
    const char *right = pick(g, 2) ? "q" : "qv";
    snprintf(text, sizeof text,
             "SELECT a.id, a.sym, a.time, a.f, z.id AS qid, z.bid, z.ask, z.time AS qtime FROM t a "
             "ASOF JOIN "
             "%s z USING (%s)",
             right, using[k]);
    size_t from = strlen(g->duck);
    put(g, text, NULL);
    g->duck[from] = 0;
    snprintf(text, sizeof text,
             "SELECT a.id, a.sym, a.time, a.f, z.id AS qid, z.bid, z.ask, z.time AS qtime FROM t a "
             "LEFT JOIN "
             "LATERAL (SELECT * FROM %s y WHERE y.date = a.date AND y.sym = a.sym%s AND y.time <= "
             "a.time "
             "ORDER BY y.ord DESC LIMIT 1) z ON true",
             right, k ? " AND y.c = a.c" : "");
    snprintf(g->duck + from, sizeof g->duck - from, "%s", text);
    if (pick(g, 2)) {
        put(g,
            pick(g, 2) ? " WHERE a.f > 10 AND a.id < 500"
                       : " WHERE z.bid > 100 AND a.date = '2024-01-03'",
            NULL);
    } else {
        put(g, " WHERE a.sym IN ('AAA', 'SYM3') OR z.bid IS NULL", NULL);
    }
}

void gen_query(struct gen *g)
{
    g->ours[0] = g->duck[0] = 0;
    g->ordered = false;
    unsigned r = pick(g, 100);
    if (r < 40) {
        plain(g);
    } else if (r < 78) {
        grouped(g);
    } else if (r < 87) {
        distinct(g);
    } else if (r < 95) {
        latest(g);
    } else {
        asof(g);
    }
}
