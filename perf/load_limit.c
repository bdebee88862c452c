/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_limit - what the loading of one known kind of file could cost at best: a program that knows
 * the files of load_data byte by byte (time,sym,price,size,exchange,conditions), reads nothing
 * else, checks nothing, and survives no crash.
 *   build/perf/load_limit [-t THREADS] [-u] DIRECTORY OUT
 * Reads DIRECTORY/trades.*.csv, in order of their numbers, and writes into OUT the columns that
 * Penstock's partition has, in its order (symbol's text, time, arrival) and widths, `sym`, and
 * where each symbol begins. Synced at the end; -u: not.
 *
 * 1  each file by one thread: eight bytes at a time to records of 16 bytes, scattered by symbol
 * 2  symbols shared out: the runs of all files merged by time without branches, columns filled into
 *    1 MiB chunks, which threads that only wait write with O_DIRECT meanwhile
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES   256u
#define SLOTS   65536u /* of the table of symbols */
#define SYMBOLS 32768u
#define CHUNK   (1u << 20)
#define BUFFERS 96u
#define WRITERS 4u
#define THREADS 16u
#define ROW_MIN 24u                  /* bytes of the shortest row */
#define DAY0    757468800000000000ll /* 2024-01-02, ns since 2000 */
#define ONES    0x0101010101010101ull

struct rec {
    uint64_t at;    /* microseconds << 13 | exchange << 8 | condition */
    uint32_t cents; /* price */
    uint32_t size;
};
#define TIME_OF(r) ((r)->at >> 13)

struct file {
    char path[512];
    uint64_t number, rows;
    struct rec *sorted;
    uint32_t *start; /* by symbol code, SYMBOLS + 1 */
};
static struct file file[FILES];
static unsigned files, threads = 2;
static bool unsynced;

static void die(const char *what)
{
    fprintf(stderr, "load_limit: %s: %s\n", what, strerror(errno));
    exit(1);
}
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static void *room(size_t bytes)
{
    bytes = (bytes + (2u << 20)) & ~(size_t)((2u << 20) - 1);
    void *p = mmap(NULL, bytes + (2u << 20), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        die("memory");
    p = (void *)(((uintptr_t)p + (2u << 20) - 1) & ~(uintptr_t)((2u << 20) - 1));
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* ---- symbols: texts of up to 8 bytes as words ---- */

static struct slot {
    _Atomic uint64_t key;
    _Atomic uint32_t code; /* + 1 */
} slot[SLOTS];
static uint64_t text_of[SYMBOLS];
static _Atomic uint32_t symbols;

static uint32_t symbol_slow(struct slot *s, uint64_t key)
{
    for (;; s = s + 1 == slot + SLOTS ? slot : s + 1) {
        uint64_t was = 0;
        if (atomic_compare_exchange_strong(&s->key, &was, key)) {
            uint32_t code = atomic_fetch_add(&symbols, 1);
            if (code >= SYMBOLS) {
                fprintf(stderr, "load_limit: more than %u symbols\n", SYMBOLS);
                exit(1);
            }
            text_of[code] = key;
            atomic_store(&s->code, code + 1);
            return code;
        }
        if (was == key) {
            uint32_t code;
            while (!(code = atomic_load(&s->code)))
                ;
            return code - 1;
        }
    }
}
static inline uint32_t symbol(uint64_t key)
{
    struct slot *s = &slot[key * 0x9E3779B97F4A7C15ull >> 48];
    uint32_t code = atomic_load_explicit(&s->code, memory_order_acquire);
    if (__builtin_expect(code && atomic_load_explicit(&s->key, memory_order_relaxed) == key, 1))
        return code - 1;
    return symbol_slow(s, key);
}

static _Atomic uint32_t condition[32]; /* the texts, up to 3 bytes */
static inline uint32_t condition_of(uint32_t key)
{
    for (uint32_t i = key * 0x9E3779B1u >> 27;; i = (i + 1) & 31) {
        uint32_t was = atomic_load_explicit(&condition[i], memory_order_relaxed);
        if (was == key)
            return i;
        if (!was && (atomic_compare_exchange_strong(&condition[i], &was, key) || was == key))
            return i;
    }
}

/* ---- 1: a file ---- */

static inline uint64_t word(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
/* Bytes before the first `c`, which is among eight. */
static inline unsigned until(uint64_t v, uint8_t c)
{
    uint64_t x = v ^ ONES * c;
    return (unsigned)__builtin_ctzll((x - ONES) & ~x & ONES << 7) >> 3;
}
/* Eight digits, the first in the lowest byte; bytes of 0 are digits, too. */
static inline uint32_t eight(uint64_t v)
{
    v &= 0x0F0F0F0F0F0F0F0Full;
    v = v * 10 + (v >> 8);
    return (uint32_t)(((v & 0x000000FF000000FFull) * 0x000F424000000064ull +
                       (v >> 16 & 0x000000FF000000FFull) * 0x0000271000000001ull) >>
                      32);
}
static inline uint32_t digits(uint64_t v, unsigned n)
{
    return eight(v << (64 - 8 * n));
}

static const char *row(const char *p, struct rec *r, uint32_t *code)
{
    uint32_t clock = eight((word(p) & 0xFFFF00FFFF00FFFFull) | 0x0000300000300000ull);
    uint32_t us = digits(word(p + 9) & 0xFFFFFFFFFFFFull, 6);
    uint32_t s = clock / 1000000 * 3600 + clock / 1000 % 100 * 60 + clock % 100;
    uint64_t v = word(p += 16);
    unsigned n = until(v, ',');
    *code = symbol(v & ((1ull << 8 * n) - 1));
    v = word(p += n + 1);
    n = until(v, '.');
    uint64_t left = v & ((1ull << 8 * n) - 1), right = v >> 8 * (n + 1) & 0xFFFF;
    r->cents = digits(left | right << 8 * n, n + 2);
    v = word(p += n + 4);
    n = until(v, ',');
    r->size = digits(v & ((1ull << 8 * n) - 1), n);
    v = word(p += n + 1);
    uint64_t exchange = (uint8_t)v & 31;
    v >>= 16;
    n = until(v, '\n');
    r->at = ((uint64_t)s * 1000000 + us) << 13 | exchange << 8 |
            condition_of((uint32_t)(v & ((1u << 8 * n) - 1)));
    return p + n + 3;
}

struct scratch {
    struct rec *rec;
    uint16_t *code;
    size_t bytes;
};

static uint64_t rows_of(const char *p, const char *end, struct scratch *x, uint32_t *count,
                        uint64_t n)
{
    while (p < end) {
        uint32_t code;
        p = row(p, &x->rec[n], &code);
        x->code[n++] = (uint16_t)code;
        count[code]++;
    }
    return n;
}

static void read_file(struct file *f, struct scratch *x)
{
    int fd = open(f->path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        die(f->path);
    size_t bytes = (size_t)st.st_size;
    const char *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (p == MAP_FAILED)
        die(f->path);
    if (x->bytes < bytes) {
        x->bytes = bytes + bytes / 8;
        x->rec = room(x->bytes / ROW_MIN * sizeof *x->rec);
        x->code = room(x->bytes / ROW_MIN * sizeof *x->code);
    }
    static __thread uint32_t count[SYMBOLS];
    memset(count, 0, sizeof count);
    const char *begin = memchr(p, '\n', bytes), *end = p + bytes, *last = end;
    begin++;
    /* words are read beyond the last rows: those are read from a copy */
    if (end - begin > 256)
        for (last = end - 256; last[-1] != '\n';)
            last--;
    else
        last = begin;
    uint64_t n = rows_of(begin, last, x, count, 0);
    char tail[1024] = "";
    memcpy(tail, last, (size_t)(end - last));
    n = rows_of(tail, tail + (end - last), x, count, n);
    munmap((void *)(uintptr_t)p, bytes);
    close(fd);

    f->rows = n;
    f->start = malloc((SYMBOLS + 1) * sizeof *f->start);
    f->sorted = room(n * sizeof *f->sorted);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        f->start[i] = sum;
        sum += count[i];
        count[i] = f->start[i];
    }
    f->start[SYMBOLS] = sum;
    for (uint64_t i = 0; i < n; i++)
        f->sorted[count[x->code[i]]++] = x->rec[i];
}

static _Atomic unsigned next_file;
static void *reads(void *arg)
{
    struct scratch x = {0};
    (void)arg;
    for (unsigned i; (i = atomic_fetch_add(&next_file, 1)) < files;)
        read_file(&file[i], &x);
    return NULL;
}

/* ---- writing ---- */

enum { TIME, SYM, PRICE, SIZE, EXCHANGE, CONDITIONS, COLUMNS };
static const char *const column[] = {"time", "sym", "price", "size", "exchange", "conditions"};
static const unsigned width[] = {8, 8, 8, 4, 8, 8};
static int column_fd[COLUMNS];

static struct job {
    int fd;
    uint8_t *data;
    uint64_t offset;
    uint32_t bytes;
} queue[BUFFERS];
static unsigned queued, taken, nfree;
static uint8_t *spare[BUFFERS];
static bool over;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, freed = PTHREAD_COND_INITIALIZER;

static uint8_t *buffer(void)
{
    pthread_mutex_lock(&lock);
    while (!nfree)
        pthread_cond_wait(&freed, &lock);
    uint8_t *p = spare[--nfree];
    pthread_mutex_unlock(&lock);
    return p;
}
static void give(int fd, uint8_t *data, uint64_t offset, uint32_t bytes)
{
    pthread_mutex_lock(&lock);
    queue[queued++ % BUFFERS] = (struct job){fd, data, offset, bytes};
    pthread_cond_signal(&work);
    pthread_mutex_unlock(&lock);
}
static void *writes(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (taken == queued && !over)
            pthread_cond_wait(&work, &lock);
        if (taken == queued)
            break;
        struct job j = queue[taken++ % BUFFERS];
        pthread_mutex_unlock(&lock);
        if (pwrite(j.fd, j.data, (j.bytes + 4095) & ~4095u, (off_t)j.offset) < 0)
            die("write");
        pthread_mutex_lock(&lock);
        spare[nfree++] = j.data;
        pthread_cond_signal(&freed);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* ---- 2: symbols ---- */

static uint32_t *order;  /* codes by text */
static uint64_t *begins; /* by place in `order`, and the end */
static uint64_t enum_exchange[32], enum_condition[32], total;

/* A thread's place in a column; the chunk in which two threads meet belongs to both. */
struct out {
    uint8_t *data;
    uint64_t chunk, used; /* used: bytes of the chunk up to here */
    bool shared;
};
static struct meeting {
    uint8_t *data;
    uint64_t chunk;
    _Atomic uint64_t filled;
} meeting[THREADS][COLUMNS]; /* before thread i */

static uint32_t chunk_bytes(unsigned c, uint64_t chunk)
{
    uint64_t all = total * width[c], from = chunk * CHUNK;
    return all - from < CHUNK ? (uint32_t)(all - from) : CHUNK;
}
static struct meeting *meeting_of(unsigned c, uint64_t chunk)
{
    for (unsigned i = 1; i < threads; i++)
        if (meeting[i][c].data && meeting[i][c].chunk == chunk)
            return &meeting[i][c];
    return NULL;
}
static void begin(struct out *o, unsigned c)
{
    struct meeting *m = meeting_of(c, o->chunk);
    o->shared = m;
    o->data = m ? m->data : buffer();
}
static void finish(struct out *o, unsigned c, uint64_t from)
{
    struct meeting *m = o->shared ? meeting_of(c, o->chunk) : NULL;
    uint64_t all = chunk_bytes(c, o->chunk);
    if (!m || atomic_fetch_add(&m->filled, o->used - from) + o->used - from == all)
        give(column_fd[c], o->data, o->chunk * CHUNK, (uint32_t)all);
    o->data = NULL;
}

static struct rec *merge2(const struct rec *a, const struct rec *ae, const struct rec *b,
                          const struct rec *be, struct rec *o)
{
    while (a < ae && b < be) {
        bool second = TIME_OF(b) < TIME_OF(a);
        const struct rec *x = second ? b : a;
        *o++ = *x;
        b += second;
        a += !second;
    }
    memcpy(o, a, (size_t)((const char *)ae - (const char *)a));
    o += ae - a;
    memcpy(o, b, (size_t)((const char *)be - (const char *)b));
    return o + (be - b);
}

struct sorter {
    struct rec *side[2];
    uint64_t room;
    struct out out[COLUMNS];
    uint64_t from[COLUMNS]; /* where in its first chunk the thread began */
};

static const struct rec *merged(struct sorter *s, uint32_t code, uint64_t n)
{
    const struct rec *run[FILES + 1], *end[FILES + 1];
    unsigned k = 0, to = 0;
    for (unsigned f = 0; f < files; f++) {
        run[k] = file[f].sorted + file[f].start[code];
        end[k] = file[f].sorted + file[f].start[code + 1];
        k += end[k] > run[k];
    }
    if (n > s->room) {
        s->room = n + n / 2;
        s->side[0] = room(s->room * sizeof(struct rec));
        s->side[1] = room(s->room * sizeof(struct rec));
    }
    while (k > 1) {
        struct rec *o = s->side[to];
        unsigned left = 0;
        for (unsigned i = 0; i < k; i += 2, left++) {
            struct rec *from = o;
            if (i + 1 < k)
                o = merge2(run[i], end[i], run[i + 1], end[i + 1], o);
            else
                o = (struct rec *)mempcpy(o, run[i],
                                          (size_t)((const char *)end[i] - (const char *)run[i]));
            run[left] = from;
            end[left] = o;
        }
        k = left;
        to ^= 1;
    }
    return run[0];
}

static void fill(unsigned c, uint8_t *to, const struct rec *r, uint32_t n, uint64_t place)
{
    uint64_t *w = (uint64_t *)(void *)to;
    switch (c) {
    case TIME:
        for (uint32_t i = 0; i < n; i++)
            w[i] = (uint64_t)DAY0 + TIME_OF(&r[i]) * 1000;
        break;
    case SYM:
        for (uint32_t i = 0; i < n; i++)
            w[i] = place;
        break;
    case PRICE:
        for (uint32_t i = 0; i < n; i++)
            ((double *)(void *)to)[i] = r[i].cents / 100.0;
        break;
    case SIZE:
        for (uint32_t i = 0; i < n; i++)
            ((uint32_t *)(void *)to)[i] = r[i].size;
        break;
    case EXCHANGE:
        for (uint32_t i = 0; i < n; i++)
            w[i] = enum_exchange[r[i].at >> 8 & 31];
        break;
    default:
        for (uint32_t i = 0; i < n; i++)
            w[i] = enum_condition[r[i].at & 31];
    }
}

static void columns(struct sorter *s, const struct rec *r, uint64_t n, uint64_t place)
{
    enum { BLOCK = 4096 }; /* records that stay in the nearest cache */
    for (uint64_t at = 0, m; at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        for (unsigned c = 0; c < COLUMNS; c++) {
            struct out *o = &s->out[c];
            for (uint64_t i = 0, k; i < m; i += k) {
                if (!o->data)
                    begin(o, c);
                uint64_t free = (CHUNK - o->used) / width[c];
                k = m - i < free ? m - i : free;
                fill(c, o->data + o->used, r + at + i, (uint32_t)k, place);
                o->used += k * width[c];
                if (o->used == CHUNK) {
                    finish(o, c, s->from[c]);
                    o->chunk++;
                    o->used = s->from[c] = 0;
                }
            }
        }
    }
}

struct share {
    unsigned number;
    uint32_t from, to; /* places */
};

static void *sorts(void *arg)
{
    const struct share *x = arg;
    struct sorter s = {0};
    for (unsigned c = 0; c < COLUMNS; c++) {
        uint64_t at = begins[x->from] * width[c];
        s.out[c].chunk = at / CHUNK;
        s.out[c].used = s.from[c] = at % CHUNK;
    }
    for (uint32_t i = x->from; i < x->to; i++) {
        uint64_t n = begins[i + 1] - begins[i];
        columns(&s, merged(&s, order[i], n), n, i);
    }
    for (unsigned c = 0; c < COLUMNS; c++)
        if (s.out[c].data)
            finish(&s.out[c], c, s.from[c]);
    return NULL;
}

/* ---- the whole ---- */

static int by_text(const void *a, const void *b)
{
    uint64_t x = __builtin_bswap64(text_of[*(const uint32_t *)a]);
    uint64_t y = __builtin_bswap64(text_of[*(const uint32_t *)b]);
    return (x > y) - (x < y);
}
static int by_number(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static void find(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        die(dir);
    for (struct dirent *e; (e = readdir(d));) {
        unsigned long long i, m;
        int end = 0;
        if (sscanf(e->d_name, "trades.%lluof%llu.csv%n", &i, &m, &end) != 2 || !end ||
            files == FILES)
            continue;
        file[files].number = i;
        snprintf(file[files++].path, sizeof file->path, "%.250s/%.200s", dir, e->d_name);
    }
    closedir(d);
    qsort(file, files, sizeof *file, by_number);
    if (!files) {
        fprintf(stderr, "load_limit: no trades.1of… in %s\n", dir);
        exit(1);
    }
}

static void texts(const char *out)
{
    char path[600];
    uint32_t n = symbols, at = n;
    snprintf(path, sizeof path, "%.500s/sym.texts", out);
    FILE *f = fopen(path, "w");
    for (uint32_t i = 0; f && i < n; i++)
        fwrite(&text_of[order[i]], 1, strnlen((char *)&text_of[order[i]], 8) + 1, f);
    for (uint32_t i = 0; f && i < 32; i++, at++)
        fprintf(f, "%c%c", (int)('@' + i), 0), enum_exchange[i] = at;
    for (uint32_t i = 0; f && i < 32; i++, at++) {
        uint32_t key = condition[i];
        fprintf(f, "%.3s%c", (const char *)&key, 0);
        enum_condition[i] = at;
    }
    if (!f || fflush(f) || (!unsynced && fsync(fileno(f))) || fclose(f))
        die(path);
    snprintf(path, sizeof path, "%.500s/begins", out);
    f = fopen(path, "w");
    if (!f || fwrite(begins, 8, n + 1, f) != n + 1 || fflush(f) ||
        (!unsynced && fsync(fileno(f))) || fclose(f))
        die(path);
}

static void each(void *(*fn)(void *), struct share *s)
{
    pthread_t t[THREADS];
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&t[i], NULL, fn, s ? &s[i] : NULL);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
}

static void meet(struct share *s)
{
    for (unsigned i = 1; i < threads; i++)
        for (unsigned c = 0; c < COLUMNS; c++) {
            uint64_t at = begins[s[i].from] * width[c];
            if (at % CHUNK && !meeting_of(c, at / CHUNK))
                meeting[i][c].chunk = at / CHUNK, meeting[i][c].data = buffer();
        }
}

int main(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "t:u")) != -1) {
        if (o == 't')
            threads = (unsigned)atoi(optarg);
        else if (o == 'u')
            unsynced = true;
        else
            return 2;
    }
    if (optind + 2 != argc || !threads || threads > THREADS) {
        fprintf(stderr, "load_limit [-t THREADS] [-u] DIRECTORY OUT\n");
        return 2;
    }
    find(argv[optind]);
    const char *out = argv[optind + 1];
    for (unsigned c = 0; c < COLUMNS; c++) {
        char path[600];
        snprintf(path, sizeof path, "%.500s/%s", out, column[c]);
        column_fd[c] = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0644);
        if (column_fd[c] < 0)
            column_fd[c] = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (column_fd[c] < 0)
            die(path);
    }
    double t0 = seconds();
    each(reads, NULL);
    double t1 = seconds();

    uint32_t n = symbols;
    order = malloc(n * sizeof *order);
    begins = malloc((n + 1) * sizeof *begins);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    qsort(order, n, sizeof *order, by_text);
    for (uint32_t i = 0; i < n; i++) {
        begins[i] = total;
        for (unsigned f = 0; f < files; f++)
            total += file[f].start[order[i] + 1] - file[f].start[order[i]];
    }
    begins[n] = total;
    uint8_t *all = room((size_t)BUFFERS * CHUNK);
    for (unsigned i = 0; i < BUFFERS; i++)
        spare[nfree++] = all + (size_t)i * CHUNK;
    texts(out);
    struct share share[THREADS];
    for (unsigned i = 0; i < threads; i++) {
        share[i] = (struct share){.number = i, .from = i ? share[i - 1].to : 0};
        share[i].to = share[i].from;
        while (share[i].to < n &&
               (i + 1 == threads || begins[share[i].to] < total / threads * (i + 1)))
            share[i].to++;
    }
    meet(share);
    pthread_t writer[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_create(&writer[i], NULL, writes, NULL);
    each(sorts, share);
    double t2 = seconds();
    pthread_mutex_lock(&lock);
    over = true;
    pthread_cond_broadcast(&work);
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writer[i], NULL);
    for (unsigned c = 0; c < COLUMNS; c++)
        if (ftruncate(column_fd[c], (off_t)(total * width[c])) ||
            (!unsynced && fdatasync(column_fd[c])) || close(column_fd[c]))
            die(column[c]);
    double t3 = seconds();
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("limit threads=%u rows=%llu seconds=%.3f read=%.3f sort=%.3f write=%.3f peak_mb=%ld "
           "cpu=%.3f\n",
           threads, (unsigned long long)total, t3 - t0, t1 - t0, t2 - t1, t3 - t2,
           r.ru_maxrss >> 10,
           (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
               (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6);
    return 0;
}
