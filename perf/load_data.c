/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_data - a day of trades as delimited text, always the same for the same arguments:
 *   build/perf/load_data [-n ROWS] [-f FILES] [-s SYMBOLS] DIRECTORY
 * DIRECTORY/trades.1of10.csv and so on, each from open to close and in order of time, rows shared
 * evenly; a header; time,sym,price,size,exchange,conditions; symbols as frequent as 1/rank.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER (4u << 20)
#define ROW    128u
#define OPEN   34200000000ull /* 09:30, microseconds */
#define LENGTH 23400000000ull

static uint64_t seed;
static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

/* Walker's alias method: a rank by two random numbers. */
static struct symbol {
    double keep;
    uint32_t other, cents;
    char name[8];
    uint32_t len;
} * symbol;
static uint32_t symbols = 8000;

static void make_symbols(void)
{
    double sum = 0, *p = malloc(symbols * sizeof *p);
    uint32_t *low = malloc(symbols * sizeof *low), *high = malloc(symbols * sizeof *high);
    uint32_t nlow = 0, nhigh = 0;
    symbol = calloc(symbols, sizeof *symbol);
    for (uint32_t i = 0; i < symbols; i++)
        sum += 1.0 / (i + 1);
    for (uint32_t i = 0; i < symbols; i++) {
        p[i] = symbols / sum / (i + 1);
        if (p[i] < 1)
            low[nlow++] = i;
        else
            high[nhigh++] = i;
        struct symbol *s = &symbol[i];
        s->len = i < 500 ? 3 : 4;
        uint32_t v = i < 500 ? i * 4801u % 17576u : (uint32_t)((uint64_t)i * 48271u % 456976u);
        for (uint32_t k = s->len; k-- > 0; v /= 26)
            s->name[k] = (char)('A' + v % 26);
        s->cents = 500 + (uint32_t)(next() % 50000);
    }
    while (nlow && nhigh) {
        uint32_t a = low[--nlow], b = high[nhigh - 1];
        symbol[a].keep = p[a];
        symbol[a].other = b;
        p[b] -= 1 - p[a];
        if (p[b] < 1) {
            nhigh--;
            low[nlow++] = b;
        }
    }
    while (nlow)
        symbol[low[--nlow]].keep = 1;
    while (nhigh)
        symbol[high[--nhigh]].keep = 1;
    free(p);
    free(low);
    free(high);
}

static char *digits(char *at, uint64_t v, unsigned n)
{
    for (unsigned i = n; i-- > 0; v /= 10)
        at[i] = (char)('0' + v % 10);
    return at + n;
}
static char *number(char *at, uint64_t v)
{
    unsigned n = 1;
    for (uint64_t x = v; x >= 10; x /= 10)
        n++;
    return digits(at, v, n);
}

static char *row(char *at, uint64_t us)
{
    static const char exchange[] = "ABCDHIJKMNPQQQUVXYZZ", *const condition[] = {
                                                               "@",  "@",   "@",  "@F",
                                                               "@F", "@I",  "@I", "@FI",
                                                               "@T", "@TI", "@4", "@6"};
    static const uint16_t size[] = {100, 100, 100, 200, 300, 50, 10, 1, 5, 25, 500, 1000};
    uint64_t r = next();
    uint32_t k = (uint32_t)((r & 0xFFFFFFFF) * symbols >> 32);
    if ((double)(r >> 32) / 4294967296.0 >= symbol[k].keep)
        k = symbol[k].other;
    struct symbol *s = &symbol[k];
    r = next();
    s->cents += (uint32_t)(r % 5) - 2;
    if (s->cents < 100 || s->cents > 90000)
        s->cents = 5000;
    r >>= 8;
    uint64_t sec = us / 1000000;
    at = digits(at, sec / 3600, 2);
    *at++ = ':';
    at = digits(at, sec / 60 % 60, 2);
    *at++ = ':';
    at = digits(at, sec % 60, 2);
    *at++ = '.';
    at = digits(at, us % 1000000, 6);
    *at++ = ',';
    memcpy(at, s->name, 4);
    at += s->len;
    *at++ = ',';
    at = number(at, s->cents / 100);
    *at++ = '.';
    at = digits(at, s->cents % 100, 2);
    *at++ = ',';
    uint32_t z = size[r % 12];
    at = number(at, r >> 8 & 1 ? z : z + (r >> 9) % 97);
    *at++ = ',';
    *at++ = exchange[(r >> 20) % 20];
    *at++ = ',';
    const char *c = condition[(r >> 32) % 12];
    size_t n = strlen(c);
    memcpy(at, c, n);
    at += n;
    *at++ = '\n';
    return at;
}

static void put(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k <= 0) {
            fprintf(stderr, "load_data: write: %s\n", strerror(errno));
            exit(1);
        }
        p += k;
        n -= (size_t)k;
    }
}

int main(int argc, char **argv)
{
    uint64_t rows = 50000000, files = 10;
    int o;
    while ((o = getopt(argc, argv, "n:f:s:")) != -1) {
        if (o == 'n')
            rows = strtoull(optarg, NULL, 10);
        else if (o == 'f')
            files = strtoull(optarg, NULL, 10);
        else if (o == 's')
            symbols = (uint32_t)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (optind + 1 != argc || !files || rows < files || !symbols || symbols > 17000) {
        fprintf(stderr, "load_data [-n ROWS] [-f FILES] [-s SYMBOLS] DIRECTORY\n");
        return 2;
    }
    char *buffer = malloc(BUFFER + ROW), path[4096];
    make_symbols();
    uint64_t bytes = 0;
    for (uint64_t f = 0; f < files; f++) {
        snprintf(path, sizeof path,
                 "%s/trades.%llu"
                 "of%llu.csv",
                 argv[optind], (unsigned long long)f + 1, (unsigned long long)files);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd < 0) {
            fprintf(stderr, "load_data: %s: %s\n", path, strerror(errno));
            return 1;
        }
        uint64_t n = rows / files + (f < rows % files), us = 0;
        char *at = stpcpy(buffer, "time,sym,price,size,exchange,conditions\n");
        for (uint64_t i = 0; i < n; i++) {
            uint64_t step = 2 * (LENGTH - us) / (n - i + 1);
            us += step ? next() % step : 0;
            at = row(at, OPEN + us);
            if (at >= buffer + BUFFER) {
                put(fd, buffer, (size_t)(at - buffer));
                bytes += (uint64_t)(at - buffer);
                at = buffer;
            }
        }
        put(fd, buffer, (size_t)(at - buffer));
        bytes += (uint64_t)(at - buffer);
        close(fd);
    }
    printf("rows=%llu files=%llu bytes=%llu\n", (unsigned long long)rows, (unsigned long long)files,
           (unsigned long long)bytes);
    return 0;
}
