/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where fields and rows end: 64 bytes a step as masks of bits. Built once an instruction set.
 *
 * Quotes: with q the quotes of a block, the exclusive or of all bits at and below each position
 * says what lies within them: from each opening quote up to its closing one. That holds as long as
 * every quote that seems to open stands where a field begins, or behind one that closes (then the
 * two are a doubled quote); a block in which one does not is read byte by byte. So is one with a
 * comment. (The idea is simdjson's: G. Langdale, D. Lemire, "Parsing gigabytes of JSON per second",
 * 2019; a quote within a plain field is ours.)
 */
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__AVX512VBMI2__) && defined(__AVX512BW__)
#define WIDE 1
#else
#define WIDE 0
#endif
#include "load/text_parts.h"

void TEXT_COLUMN(struct text_batch *b, struct text_column *c); /* text_columns_isa.c */

struct block {
#if WIDE
    __m512i v;
#elif defined(__AVX2__)
    __m256i v[2];
#else
    uint64_t w[8];
#endif
};

#if WIDE
pst_inline void block_load(struct block *b, const char *p)
{
    b->v = _mm512_loadu_si512(p);
}
pst_inline uint64_t block_find(const struct block *b, int c)
{
    return _mm512_cmpeq_epi8_mask(b->v, _mm512_set1_epi8((char)c));
}
#elif defined(__AVX2__)
pst_inline void block_load(struct block *b, const char *p)
{
    b->v[0] = _mm256_loadu_si256((const __m256i *)(const void *)p);
    b->v[1] = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
}
pst_inline uint64_t block_find(const struct block *b, int c)
{
    __m256i k = _mm256_set1_epi8((char)c);
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b->v[0], k));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b->v[1], k));
    return (uint64_t)high << 32 | low;
}
#endif

#if defined(__AVX2__)
pst_inline uint64_t within(uint64_t q)
{
    __m128i all = _mm_set1_epi8((char)0xFF);
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_set_epi64x(0, (int64_t)q), all, 0));
}
#else
pst_inline void block_load(struct block *b, const char *p)
{
    memcpy(b->w, p, 64);
}
pst_inline uint64_t block_find(const struct block *b, int c)
{
    uint64_t k = 0x0101010101010101ull * (uint8_t)c, mask = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t x = b->w[i] ^ k; /* the bytes sought are 0: exactly those get their highest bit */
        x = ~(((x & 0x7F7F7F7F7F7F7F7Full) + 0x7F7F7F7F7F7F7F7Full) | x | 0x7F7F7F7F7F7F7F7Full);
        mask |= ((x >> 7) * 0x0102040810204080ull >> 56) << (8 * i);
    }
    return mask;
}
pst_inline uint64_t within(uint64_t q)
{
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q ^= q << 8;
    q ^= q << 16;
    return q ^ q << 32;
}
#endif

/* Which bytes stand behind an escape that is not itself behind one. */
static pst_noinline uint64_t behind_escapes(uint64_t escapes, bool *carried)
{
    uint64_t behind = *carried;
    escapes &= ~behind;
    *carried = false;
    while (escapes) {
        unsigned i = (unsigned)__builtin_ctzll(escapes);
        escapes &= escapes - 1;
        if (i == 63) {
            *carried = true;
            break;
        }
        behind |= 2ull << i;
        escapes &= ~(2ull << i);
    }
    return behind;
}

pst_inline void list(struct text_index *x, uint64_t marks, uint64_t ends, uint32_t at)
{
    /* How many there are is what a branch would guess wrong: so many are listed in any case. */
    unsigned rows = (unsigned)__builtin_popcountll(ends);
    uint32_t *row = x->row + x->rows;
    for (unsigned i = 0; i < rows; i += 3)
        for (unsigned k = 0; k < 3; k++) {
            uint64_t below = ends ^ (ends - 1); /* up to and with the first */
            row[i + k] = x->marks + (uint32_t)__builtin_popcountll(marks & below);
            ends &= ends - 1;
        }
    x->rows += rows;
    unsigned n = (unsigned)__builtin_popcountll(marks);
    uint32_t *out = x->mark + x->marks;
#if WIDE
    const __m512i places = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41,
        40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18,
        17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    pst_aligned(64) uint8_t set[64];
    __m512i from = _mm512_set1_epi32((int)at), bytes = _mm512_maskz_compress_epi8(marks, places);
    _mm512_storeu_si512(
        out, _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)), from));
    if (pst_unlikely(n > 16)) {
        _mm512_store_si512(set, bytes);
        for (unsigned i = 16; i < n; i++)
            out[i] = at + set[i];
    }
#else
    for (unsigned i = 0; i < n; i += 8)
        for (unsigned k = 0; k < 8; k++) {
            out[i + k] = at + (uint32_t)__builtin_ctzll(marks | 1ull << 63);
            marks &= marks - 1;
        }
#endif
    x->marks += n;
}

/* Which of some bytes are the '\r' of a "\r\n"; the last of a block is never known to be one. */
pst_inline uint64_t line_ends(const struct block *b, uint64_t some)
{
    return some ? block_find(b, '\r') & block_find(b, '\n') >> 1 : 0;
}

static void TEXT_INDEX(const struct text_syntax *s, const char *p, uint32_t n, struct text_index *x)
{
    struct text_at at = {TEXT_ROW, false};
    x->marks = x->rows = x->lines = 0;
    x->careful = x->behind = x->nul = false;
    if (s->nseparator > 1) {
        text_index_bytes(s, p, n, 0, n, &at, x);
        return;
    }
    uint64_t nul = 0;
    for (uint32_t i = 0; i < n; i += 64) {
        struct block b;
        block_load(&b, p + i);
        uint64_t valid = n - i < 64 ? (1ull << (n - i)) - 1 : ~0ull;
        uint64_t ends = block_find(&b, '\n') & valid;
        uint64_t marks = (block_find(&b, s->separator[0]) & valid) | ends;
        uint64_t quotes = s->quote < 0 ? 0 : block_find(&b, s->quote) & valid;
        struct text_at before = at;
        bool careful = false;
        unsigned lines = (unsigned)__builtin_popcountll(ends);
        nul |= block_find(&b, 0) & valid;
        if (s->escape >= 0) {
            uint64_t escapes = block_find(&b, s->escape) & valid;
            if (escapes || at.escaped) {
                uint64_t behind = behind_escapes(escapes, &at.escaped);
                ends &= ~behind;
                marks &= ~behind;
                quotes &= ~behind;
                careful = true;
            }
        }
        bool odd = at.state == TEXT_COMMENT;
        if (at.state == TEXT_CLOSED && !quotes)
            x->behind |= !((marks | line_ends(&b, 1)) & 1);
        uint64_t closes = 0, in = 0;
        if (quotes || at.state == TEXT_QUOTED) {
            in = within(quotes) ^ (at.state == TEXT_QUOTED ? ~0ull : 0);
            marks &= ~in;
            ends &= ~in;
            uint64_t opens = quotes & in;
            closes = quotes & ~in;
            uint64_t begins = marks << 1 | (at.state == TEXT_ROW || at.state == TEXT_FIELD);
            uint64_t doubled = closes << 1 | (at.state == TEXT_CLOSED);
            odd |= (opens & ~(begins | doubled)) != 0;
            careful |= (opens & doubled) != 0;
            uint64_t behind = doubled & ~(marks | quotes) & valid;
            x->behind |= (behind & ~line_ends(&b, behind)) != 0;
        }
        if (s->ncomment)
            odd |=
                (block_find(&b, s->comment[0]) & valid & (ends << 1 | (at.state == TEXT_ROW))) != 0;
        if (pst_unlikely(odd)) {
            at = before;
            text_index_bytes(s, p, n, i, n - i < 64 ? n : i + 64, &at, x);
            continue;
        }
        x->careful |= careful;
        x->lines += lines;
        list(x, marks, ends, i);
        at.state = in >> 63       ? TEXT_QUOTED
                   : ends >> 63   ? TEXT_ROW
                   : marks >> 63  ? TEXT_FIELD
                   : closes >> 63 ? TEXT_CLOSED
                                  : TEXT_PLAIN;
    }
    x->nul |= nul != 0;
}

const struct text_kernels TEXT_KERNELS = {.index = TEXT_INDEX, .column = TEXT_COLUMN};
