/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_text: delimited text to columns in memory, one core, as a worker's read task does it short
 * of the disk.
 *   build/perf/bench_text [-m MEGABYTES] [-n RUNS] [SHAPE...]     (default: 128 MB, 3 runs, all)
 *
 * The text stands in memory and is fed in pieces of 1 MiB; blocks are counted and cleared. Shapes:
 *   trade   2024-08-08T09:30:00.123456789,AAPL,191.25,100,Q,"@ F"   in the order of time
 *   symbol  the same in the order of symbol, then time: no two rows share a minute
 *   lean    34200123,1674100,100,P,T,0        milliseconds of the day, prices * 0.0001
 *   quoted  "2024-08-08 09:30:00.123456","AAPL","191.25","100","Q","@ F"
 *   epoch   1723109400123456789,AAPL,191.2512,0.00012345
 *   json    2024-08-08T09:30:00.123456789,AAPL,"{""price"":191.25,""size"":100,""ex"":""Q""}"
 * 8,000 symbols, drawn as orders are (Zipf, 0.9). Time is the thread's own on the processor; the
 * best of the runs counts. Beside it, over the same bytes: a sum of all words (what memory gives),
 * and a plain loop that looks at each byte for separators, quotes and line ends and does nothing
 * else.
 *   "text shape=trade build=avx2 gb_s=1.20 rows_s=21000000 ns_row=47.6 of_memory=0.08 of_bytes=1.9"
 */
#include <math.h>
#include <time.h>
#include <unistd.h>
#include "load/text.h"

#define SYMBOLS 8000u
#define PIECE   (1u << 20)

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char name[SYMBOLS][8];
static double upto[SYMBOLS];
static unsigned price[SYMBOLS];

static void universe(void)
{
    double sum = 0;
    for (unsigned i = 0; i < SYMBOLS; i++) {
        unsigned n = 1 + (unsigned)(rnd() % 4) + (i > 200);
        for (unsigned k = 0; k < n; k++)
            name[i][k] = (char)('A' + rnd() % 26);
        sum += pow(i + 1, -0.9);
        upto[i] = sum;
        price[i] = 100 + (unsigned)(rnd() % 50000);
    }
    for (unsigned i = 0; i < SYMBOLS; i++)
        upto[i] /= sum;
}
static unsigned draw(void)
{
    double x = (double)(rnd() >> 11) * 0x1p-53;
    unsigned lo = 0, hi = SYMBOLS - 1;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (upto[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- the shapes ---- */

static const char *const conditions[] = {"@", "@ F", "@ TI", "@F I", " ", "@  X", "@", "@   "};

static int trade(char *out, unsigned s, uint64_t ns, bool quoted)
{
    price[s] += (unsigned)(rnd() % 5) - 2;
    unsigned p = price[s] % 1000000, size = rnd() % 4 ? 100 : 1 + (unsigned)(rnd() % 3000);
    unsigned sec = (unsigned)(ns / 1000000000ull);
    const char *c = conditions[rnd() % 8];
    if (quoted)
        return sprintf(out,
                       "\"2024-08-08 %02u:%02u:%02u.%06u\",\"%s\",\"%u.%02u\",\"%u\",\"%c\","
                       "\"%s\"\n",
                       sec / 3600, sec / 60 % 60, sec % 60, (unsigned)(ns / 1000 % 1000000),
                       name[s], p / 100, p % 100, size, "QNPZ"[rnd() % 4], c);
    return sprintf(out, "2024-08-08T%02u:%02u:%02u.%09u,%s,%u.%02u,%u,%c,\"%s\"\n", sec / 3600,
                   sec / 60 % 60, sec % 60, (unsigned)(ns % 1000000000ull), name[s], p / 100,
                   p % 100, size, "QNPZ"[rnd() % 4], c);
}

static size_t make(const char *shape, char *text, size_t room)
{
    const uint64_t open = 34200000000000ull, length = 23400000000000ull;
    size_t n = 0, rows = room / 50;
    for (size_t i = 0; n + 200 < room; i++) {
        uint64_t ns =
            open + (uint64_t)((double)length * (double)(i % rows) / (double)rows) + rnd() % 1000;
        unsigned s = draw();
        if (!strcmp(shape, "symbol")) {
            uint64_t each = rows / SYMBOLS + 1;
            s = (unsigned)(i / each % SYMBOLS);
            n += (size_t)trade(text + n, s, open + length / each * (i % each) + rnd() % 1000000000,
                               false);
        } else if (!strcmp(shape, "lean")) {
            price[s] += (unsigned)(rnd() % 5) - 2;
            n += (size_t)sprintf(text + n, "%llu,%u00,%u,P,T,0\n",
                                 (unsigned long long)(ns / 1000000), price[s] % 1000000,
                                 rnd() % 4 ? 100 : 1 + (unsigned)(rnd() % 3000));
        } else if (!strcmp(shape, "epoch")) {
            n += (size_t)sprintf(text + n, "%llu,%s,%u.%04u,0.%08u\n",
                                 (unsigned long long)(1723075200000000000ull + ns), name[s],
                                 price[s] / 100, (unsigned)(rnd() % 10000),
                                 (unsigned)(rnd() % 100000000));
        } else if (!strcmp(shape, "json")) {
            unsigned sec = (unsigned)(ns / 1000000000ull);
            n += (size_t)sprintf(text + n,
                                 "2024-08-08T%02u:%02u:%02u.%09u,%s,\"{\"\"price\"\":%u.%02u,"
                                 "\"\"size\"\":%u,\"\"ex\"\":\"\"%c\"\"}\"\n",
                                 sec / 3600, sec / 60 % 60, sec % 60,
                                 (unsigned)(ns % 1000000000ull), name[s], price[s] / 100,
                                 price[s] % 100, 1 + (unsigned)(rnd() % 3000), "QNPZ"[rnd() % 4]);
        } else {
            n += (size_t)trade(text + n, s, ns, !strcmp(shape, "quoted"));
        }
    }
    return n;
}

static struct load_recipe *recipe(const char *shape)
{
    static const struct {
        const char *name;
        struct column_def col[8];
        unsigned n;
    } tables[] = {
        {"lean",
         {{"time", PST_TIMESTAMP},
          {"sym", PST_SYMBOL},
          {"price", PST_FLOAT},
          {"size", PST_LONG},
          {"ex", PST_CHAR},
          {"cond", PST_CHAR},
          {"odd", PST_BOOLEAN}},
         7},
        {"epoch",
         {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_FLOAT}},
         4},
        {"json", {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"text", PST_STRING}}, 3},
        {"", /* the others */
         {{"time", PST_TIMESTAMP},
          {"sym", PST_SYMBOL},
          {"price", PST_FLOAT},
          {"size", PST_LONG},
          {"ex", PST_CHAR},
          {"cond", PST_STRING}},
         6}};
    unsigned i = 0;
    while (tables[i].name[0] && strcmp(tables[i].name, shape))
        i++;
    bool is_lean = !strcmp(shape, "lean");
    struct schema s;
    struct err err;
    pst_must(schema_make(&s, 7, "trade", false, tables[i].col, tables[i].n, &err));
    char *schema = schema_to_json(&s), recipe_json[4096];
    snprintf(recipe_json, sizeof recipe_json,
             "{\"name\":\"bench\",\"table\":\"trade\",\"schemas\":[%s],\"header\":false%s}", schema,
             is_lean ? ",\"date\":\"2013.10.07\",\"constants\":{\"sym\":\"SPY\"},"
                       "\"times\":{\"time\":\"day_ms\"},\"scale\":{\"price\":0.0001},"
                       "\"zone\":\"America/New_York\""
                     : "");
    struct load_recipe *r = load_recipe_parse(recipe_json, strlen(recipe_json), &err);
    if (!r) {
        fprintf(stderr, "bench_text: %s\n", err.text);
        exit(1);
    }
    free(schema);
    return r;
}

/* ---- measuring ---- */

static uint64_t rows_seen, bad_seen;

static bool take(void *arg, struct load_block *b, struct err *err)
{
    (void)arg;
    (void)err;
    rows_seen += b->rows;
    return true;
}
static bool refuse(void *arg, const struct load_reject *r, struct err *err)
{
    (void)arg;
    (void)err;
    if (!bad_seen++)
        fprintf(stderr, "bench_text: line %llu, %s: %s\n", (unsigned long long)r->line, r->column,
                r->reason);
    return true;
}

static double parse(const struct load_recipe *r, const char *text, size_t n)
{
    struct err err;
    struct load_dict dict;
    pst_must(load_dict_init(&dict, &err));
    struct load_reader_config c = {
        .recipe = r, .dict = &dict, .sink = {take, NULL}, .rejects = {refuse, NULL}};
    rows_seen = 0;
    double from = cpu_s();
    struct load_text *t = load_text_open(&c, 0, &err);
    pst_must(t);
    for (size_t at = 0; at < n; at += PIECE)
        if (!load_text_feed(t, text + at, n - at < PIECE ? n - at : PIECE, at + PIECE >= n, &err)) {
            fprintf(stderr, "bench_text: %s\n", err.text);
            exit(1);
        }
    load_text_close(t);
    double s = cpu_s() - from;
    load_dict_free(&dict);
    return s;
}

static double words(const char *text, size_t n)
{
    double from = cpu_s();
    uint64_t sum[4] = {0};
    for (size_t i = 0; i + 32 <= n; i += 32)
        for (unsigned k = 0; k < 4; k++)
            sum[k] += le64(text + i + 8 * k);
    volatile uint64_t keep = sum[0] + sum[1] + sum[2] + sum[3];
    (void)keep;
    return cpu_s() - from;
}

static double bytes(const char *text, size_t n)
{
    double from = cpu_s();
    uint64_t fields = 0, rows = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && text[i] == ',')
            fields++;
        else if (!quoted && text[i] == '\n')
            rows++;
    }
    volatile uint64_t keep = fields + rows;
    (void)keep;
    return cpu_s() - from;
}

static double best(double a, double b)
{
    return a < b ? a : b;
}

int main(int argc, char **argv)
{
    static const char *const builds[TEXT_ISAS] = {"portable", "avx2", "avx512"};
    static const char *const all[] = {"trade", "symbol", "lean", "quoted", "epoch", "json"};
    size_t megabytes = 128;
    unsigned runs = 3;
    for (int o; (o = getopt(argc, argv, "m:n:")) != -1;)
        if (o == 'm')
            megabytes = strtoul(optarg, NULL, 10);
        else if (o == 'n')
            runs = (unsigned)strtoul(optarg, NULL, 10);
        else
            return 2;
    size_t room = megabytes * 1000000;
    char *text = malloc(room + 64);
    pst_must(text && room > 1000);
    universe();
    unsigned shapes = optind < argc ? (unsigned)(argc - optind) : PST_COUNT(all);
    for (unsigned i = 0; i < shapes; i++) {
        const char *shape = optind < argc ? argv[optind + (int)i] : all[i];
        size_t n = make(shape, text, room);
        struct load_recipe *r = recipe(shape);
        double memory = 1e9, plain = 1e9;
        for (unsigned k = 0; k < runs; k++) {
            memory = best(memory, words(text, n));
            plain = best(plain, bytes(text, n));
        }
        for (enum text_isa isa = TEXT_PORTABLE; isa < TEXT_ISAS; isa++) {
            if (!load_text_force(isa))
                continue;
            double s = 1e9;
            for (unsigned k = 0; k < runs; k++)
                s = best(s, parse(r, text, n));
            printf("text shape=%s build=%s gb_s=%.2f rows_s=%.0f ns_row=%.1f of_memory=%.3f "
                   "of_bytes=%.2f bad=%llu\n",
                   shape, builds[isa], (double)n / s / 1e9, (double)rows_seen / s,
                   s * 1e9 / (double)rows_seen, memory / s, plain / s,
                   (unsigned long long)bad_seen);
        }
        load_recipe_free(r);
    }
    free(text);
    return bad_seen != 0;
}
