/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iex.c - IEX TOPS 1.5 and 1.6, DEEP 1.0, every message type.
 * Source of the layouts: protocols.md §6 (the public specifications and real packets).
 *
 * Common part, little endian: type @0:1, flags or state @1:1, ns since 1970 UTC @2:8 and, in all
 * but the system event, symbol @10:8. Prices are i64 in 1e-4. A message longer than its layout is
 * accepted. The state is only a cache of names: nothing to save.
 *
 * Row flags: a price level update (8, 5) whose flags have bit 0 completes its event, so its row is
 * flagged end_of_event. Every message sets or clears that flag, also one that gives no row, so it
 * never stays on for the next.
 *
 * 32-bit fields in int columns (round lot) keep their bits.
 */
#include "feeds.h"
#include "symcache.h"
#include "core/clock.h"

#define IEX_CACHE_BITS 15 /* all US symbols fit below three quarters */

struct iex_state {
    struct symcache names;
};

enum { T_QUOTE, T_LEVEL, T_TRADE, T_STATUS, T_AUCTION, T_DIRECTORY };

/* ---- tables and their records ---- */

#define IEX_QUOTE(X) X(qflags, INT) X(bidsize, LONG) X(bid, FLOAT) X(ask, FLOAT) X(asksize, LONG)

struct iex_quote {
    struct record head;
    int64_t bidsize;
    double bid, ask;
    int64_t asksize;
    int32_t qflags, pad;
};
_Static_assert(sizeof(struct iex_quote) == 56, "iex_quote record");

#define IEX_LEVEL(X) X(side, CHAR) X(eflags, INT) X(size, LONG) X(price, FLOAT)

struct iex_level {
    struct record head;
    int64_t size;
    double price;
    int32_t eflags;
    char side, pad[3];
};
_Static_assert(sizeof(struct iex_level) == 40, "iex_level record");

#define IEX_TRADE(X) X(type, CHAR) X(sflags, INT) X(size, LONG) X(price, FLOAT) X(tradeid, LONG)

struct iex_trade {
    struct record head;
    int64_t size;
    double price;
    int64_t tradeid;
    int32_t sflags;
    char type, pad[3];
};
_Static_assert(sizeof(struct iex_trade) == 48, "iex_trade record");

#define IEX_STATUS(X) X(type, CHAR) X(state, CHAR) X(reason, SYMBOL) X(detail, CHAR)

struct iex_status {
    struct record head;
    uint32_t reason;
    char type, state, detail, pad;
};
_Static_assert(sizeof(struct iex_status) == 24, "iex_status record");

#define IEX_AUCTION(X)                                                                             \
    X(auction, CHAR)                                                                               \
    X(paired, LONG) X(ref, FLOAT) X(indicative, FLOAT) X(imbalance, LONG) X(side, CHAR)            \
        X(ext, INT) X(auctime, TIMESTAMP) X(bookclear, FLOAT) X(collarref, FLOAT) X(low, FLOAT)    \
            X(high, FLOAT)

struct iex_auction {
    struct record head;
    int64_t paired;
    double ref, indicative;
    int64_t imbalance, auctime;
    double bookclear, collarref, low, high;
    int32_t ext;
    char auction, side, pad[2];
};
_Static_assert(sizeof(struct iex_auction) == 96, "iex_auction record");

#define IEX_DIRECTORY(X) X(dflags, INT) X(roundlot, INT) X(prevclose, FLOAT) X(luld, INT)

struct iex_directory {
    struct record head;
    double prevclose;
    int32_t dflags, roundlot, luld, pad;
};
_Static_assert(sizeof(struct iex_directory) == 40, "iex_directory record");

/* clang-format off */
#define FEEDS_RECORD iex_quote
static const struct column_def quote_cols[] = {IEX_QUOTE(FEEDS_DEF)};
static const uint16_t quote_at[] = {IEX_QUOTE(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD iex_level
static const struct column_def level_cols[] = {IEX_LEVEL(FEEDS_DEF)};
static const uint16_t level_at[] = {IEX_LEVEL(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD iex_trade
static const struct column_def trade_cols[] = {IEX_TRADE(FEEDS_DEF)};
static const uint16_t trade_at[] = {IEX_TRADE(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD iex_status
static const struct column_def status_cols[] = {IEX_STATUS(FEEDS_DEF)};
static const uint16_t status_at[] = {IEX_STATUS(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD iex_auction
static const struct column_def auction_cols[] = {IEX_AUCTION(FEEDS_DEF)};
static const uint16_t auction_at[] = {IEX_AUCTION(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD iex_directory
static const struct column_def directory_cols[] = {IEX_DIRECTORY(FEEDS_DEF)};
static const uint16_t directory_at[] = {IEX_DIRECTORY(FEEDS_OFFSET)};
#undef FEEDS_RECORD
/* clang-format on */

static const struct decoder_table iex_tables[] = {
    [T_QUOTE] = {"iex_quote", quote_cols, PST_COUNT(quote_cols), quote_at,
                 sizeof(struct iex_quote)},
    [T_LEVEL] = {"iex_level", level_cols, PST_COUNT(level_cols), level_at,
                 sizeof(struct iex_level)},
    [T_TRADE] = {"iex_trade", trade_cols, PST_COUNT(trade_cols), trade_at,
                 sizeof(struct iex_trade)},
    [T_STATUS] = {"iex_status", status_cols, PST_COUNT(status_cols), status_at,
                  sizeof(struct iex_status)},
    [T_AUCTION] = {"iex_auction", auction_cols, PST_COUNT(auction_cols), auction_at,
                   sizeof(struct iex_auction)},
    [T_DIRECTORY] = {"iex_directory", directory_cols, PST_COUNT(directory_cols), directory_at,
                     sizeof(struct iex_directory)},
};

static void iex_init(void *state)
{
    struct iex_state *st = state;
    symcache_init(&st->names, IEX_CACHE_BITS);
}

/* ---- messages ---- */

pst_inline double price_at(const uint8_t *p)
{
    return feeds_price_signed((int64_t)le64(p), 10000);
}

/* Unix ns -> UTC ns since 2000; wraps rather than overflows on nonsense. */
pst_inline int64_t unix_time(uint64_t ns)
{
    return (int64_t)(ns - (uint64_t)CLOCK_EPOCH_S * NS_PER_S);
}

pst_inline void iex_head(struct record *r, const struct decode_env *env, unsigned table,
                         uint16_t bytes, uint32_t sym, const uint8_t *m)
{
    feeds_head((uint8_t *)r, env->table[table], bytes, sym, unix_time(le64(m + 2)));
}

static enum decode put_quote(const struct decode_env *env, const uint8_t *m, struct rows *out,
                             uint32_t sym)
{
    struct iex_quote *r = (struct iex_quote *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_QUOTE, sizeof *r, sym, m);
    r->bidsize = le32(m + 18);
    r->bid = price_at(m + 22);
    r->ask = price_at(m + 30);
    r->asksize = le32(m + 38);
    r->qflags = m[1];
    r->pad = 0;
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_level(const struct decode_env *env, const uint8_t *m, struct rows *out,
                             uint32_t sym)
{
    struct iex_level *r = (struct iex_level *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_LEVEL, sizeof *r, sym, m);
    r->size = le32(m + 18);
    r->price = price_at(m + 22);
    r->eflags = m[1];
    r->side = m[0] == '8' ? 'B' : 'S';
    memset(r->pad, 0, sizeof r->pad);
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_trade(const struct decode_env *env, const uint8_t *m, struct rows *out,
                             uint32_t sym)
{
    bool official = m[0] == 'X'; /* a price only */
    struct iex_trade *r = (struct iex_trade *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_TRADE, sizeof *r, sym, m);
    r->size = official ? PST_NULL_LONG : le32(m + 18);
    r->price = price_at(m + (official ? 18 : 22));
    r->tradeid = official ? PST_NULL_LONG : (int64_t)le64(m + 30);
    r->sflags = m[1];
    r->type = (char)m[0];
    memset(r->pad, 0, sizeof r->pad);
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_status(const struct decode_env *env, const uint8_t *m, struct rows *out,
                              uint32_t sym, uint32_t reason)
{
    struct iex_status *r = (struct iex_status *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_STATUS, sizeof *r, sym, m);
    r->reason = reason;
    r->type = (char)m[0];
    r->state = (char)m[1];
    r->detail = m[0] == 'P' ? (char)m[18] : PST_NULL_CHAR;
    r->pad = 0;
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_auction(const struct decode_env *env, const uint8_t *m, struct rows *out,
                               uint32_t sym)
{
    uint32_t at = le32(m + 44);
    struct iex_auction *r = (struct iex_auction *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_AUCTION, sizeof *r, sym, m);
    r->paired = le32(m + 18);
    r->ref = price_at(m + 22);
    r->indicative = price_at(m + 30);
    r->imbalance = le32(m + 38);
    r->auctime = at ? unix_time((uint64_t)at * NS_PER_S) : PST_NULL_TIMESTAMP;
    r->bookclear = price_at(m + 48);
    r->collarref = price_at(m + 56);
    r->low = price_at(m + 64);
    r->high = price_at(m + 72);
    r->ext = m[43];
    r->auction = (char)m[1];
    r->side = (char)m[42];
    memset(r->pad, 0, sizeof r->pad);
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_directory(const struct decode_env *env, const uint8_t *m, struct rows *out,
                                 uint32_t sym)
{
    struct iex_directory *r = (struct iex_directory *)rows_reserve(out, sizeof *r);
    iex_head(&r->head, env, T_DIRECTORY, sizeof *r, sym, m);
    r->prevclose = price_at(m + 22);
    r->dflags = m[1];
    r->roundlot = (int32_t)le32(m + 18);
    r->luld = m[30];
    r->pad = 0;
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

/* Bytes of each type's layout; 0 = no such type. */
pst_inline uint32_t iex_length(uint8_t type)
{
    switch (type) {
    case 'Q':
        return 42;
    case '8':
    case '5':
        return 30;
    case 'T':
    case 'B':
        return 38;
    case 'X':
        return 26;
    case 'S':
        return 10;
    case 'H':
        return 22;
    case 'P':
        return 19;
    case 'O':
    case 'E':
    case 'I':
        return 18;
    case 'A':
        return 80;
    case 'D':
        return 31;
    default:
        return 0;
    }
}

/* Length and symbols: everything that can go wrong with a message. */
pst_inline enum decode iex_check(struct iex_state *st, const uint8_t *m, uint32_t len,
                                 struct rows *out, uint32_t *sym, uint32_t *reason)
{
    uint32_t need = len ? iex_length(m[0]) : 1;
    if (pst_unlikely(!need))
        return DECODE_UNKNOWN;
    if (pst_unlikely(len < need))
        return DECODE_LENGTH;
    *reason = *sym = PST_NULL_SYMBOL;
    if (m[0] == 'H' && pst_unlikely(!symcache_id(&st->names, symcache_text4(m + 18), out, reason)))
        return DECODE_SYMBOL;
    if (m[0] != 'S' && pst_unlikely(!symcache_id(&st->names, symcache_text8(m + 10), out, sym)))
        return DECODE_SYMBOL;
    return DECODE_ROW;
}

static enum decode iex_decode(void *state, const struct decode_env *env, const uint8_t *m,
                              uint32_t len, struct rows *out)
{
    uint32_t sym, reason;
    uint32_t flags = out->run.flags & ~(uint32_t)ROW_END_OF_EVENT;
    enum decode got = iex_check(state, m, len, out, &sym, &reason);
    if (pst_likely(got == DECODE_ROW) && (m[0] == '8' || m[0] == '5') && m[1] & 1)
        flags |= ROW_END_OF_EVENT;
    rows_flags(out, flags);
    if (pst_unlikely(got != DECODE_ROW))
        return got;
    switch (m[0]) {
    case 'Q':
        return put_quote(env, m, out, sym);
    case '8':
    case '5':
        return put_level(env, m, out, sym);
    case 'T':
    case 'B':
    case 'X':
        return put_trade(env, m, out, sym);
    case 'A':
        return put_auction(env, m, out, sym);
    case 'D':
        return put_directory(env, m, out, sym);
    default: /* S H I O P E */
        return put_status(env, m, out, sym, reason);
    }
}

static int32_t iex_type(const uint8_t *m, uint32_t len)
{
    return len ? m[0] : PST_NULL_INT;
}

const struct decoder_ops iex_decoder = {
    .name = "iex",
    .tables = iex_tables,
    .ntables = PST_COUNT(iex_tables),
    .frequent = PST_COUNT(iex_tables), /* TOPS and DEEP differ in what they are full of */
    .state_bytes = sizeof(struct iex_state) + SYMCACHE_BYTES(IEX_CACHE_BITS),
    .init = iex_init,
    .decode = iex_decode,
    .type = iex_type,
};
