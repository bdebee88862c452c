/* SPDX-License-Identifier: Apache-2.0 */
/*
 * itch.c - Nasdaq TotalView-ITCH 5.0 (also BX and PSX), every message type.
 * Source of the layouts: protocols.md §4 (the public specification and real packets).
 *
 * Common part, big endian: type @0:1, locate @1:2, tracking @3:2, ns since local midnight @5:6.
 * Offsets below are from the start of the message. A message longer than its layout is accepted.
 *
 * Locate codes: each message carries one; some also carry the stock. The session's state maps
 * locate -> symbol, learnt from every message that has both; a message without stock uses the map,
 * an unknown locate has a null sym. Locate 0 means "not about one stock" and is never learnt: a
 * feed that leaves all locates 0 still gets the symbols that its messages spell out. A blank stock
 * is a null sym and changes nothing.
 *
 * 32-bit fields that the venue bounds far below 2^31 (round lot, leverage, seconds, extensions) are
 * int columns; a value beyond keeps its bits.
 */
#include <jansson.h>
#include "feeds.h"
#include "symcache.h"

#define ITCH_LOCATES    65536u
#define ITCH_CACHE_BITS 10 /* MPIDs, halt reasons, sub-types, stocks of locate 0 */

struct itch_state {
    uint64_t text[ITCH_LOCATES]; /* blank = unknown */
    uint32_t id[ITCH_LOCATES];   /* null = unknown */
    bool dirty;
    struct symcache names;
};

enum { T_ORDER, T_TRADE, T_STATUS, T_IMBALANCE, T_DIRECTORY };

/* ---- tables and their records ---- */

#define ITCH_ORDER(X)                                                                              \
    X(type, CHAR)                                                                                  \
    X(side, CHAR) X(ref, LONG) X(newref, LONG) X(shares, LONG) X(price, FLOAT) X(match, LONG)      \
        X(printable, CHAR) X(mpid, SYMBOL) X(locate, INT) X(tracking, INT)

struct itch_order {
    struct record head;
    int64_t ref, newref, shares;
    double price;
    int64_t match;
    uint32_t mpid;
    int32_t locate, tracking;
    char type, side, printable, pad;
};
_Static_assert(sizeof(struct itch_order) == 72, "itch_order record");

#define ITCH_TRADE(X)                                                                              \
    X(type, CHAR)                                                                                  \
    X(side, CHAR) X(ref, LONG) X(shares, LONG) X(price, FLOAT) X(match, LONG) X(cross, CHAR)       \
        X(locate, INT) X(tracking, INT)

struct itch_trade {
    struct record head;
    int64_t ref, shares;
    double price;
    int64_t match;
    int32_t locate, tracking;
    char type, side, cross, pad[5];
};
_Static_assert(sizeof(struct itch_trade) == 64, "itch_trade record");

#define ITCH_STATUS(X)                                                                             \
    X(type, CHAR)                                                                                  \
    X(event, CHAR) X(state, CHAR) X(reason, SYMBOL) X(market, CHAR) X(mpid, SYMBOL)                \
        X(primary, CHAR) X(mode, CHAR) X(level1, FLOAT) X(level2, FLOAT) X(level3, FLOAT)          \
            X(breach, CHAR) X(release, INT) X(qualifier, CHAR) X(price, FLOAT) X(upper, FLOAT)     \
                X(lower, FLOAT) X(ext, INT) X(flag, CHAR) X(low, FLOAT) X(high, FLOAT)             \
                    X(near, FLOAT) X(neartime, TIMESTAMP) X(collar_low, FLOAT)                     \
                        X(collar_high, FLOAT) X(locate, INT) X(tracking, INT)

struct itch_status {
    struct record head;
    double level1, level2, level3, price, upper, lower, low, high, near;
    int64_t neartime;
    double collar_low, collar_high;
    uint32_t reason, mpid;
    int32_t release, ext, locate, tracking;
    char type, event, state, market, primary, mode, breach, qualifier, flag, pad[7];
};
_Static_assert(sizeof(struct itch_status) == 152, "itch_status record");

#define ITCH_IMBALANCE(X)                                                                          \
    X(paired, LONG)                                                                                \
    X(imbalance, LONG) X(direction, CHAR) X(far, FLOAT) X(near, FLOAT) X(ref, FLOAT)               \
        X(cross, CHAR) X(variation, CHAR) X(locate, INT) X(tracking, INT)

struct itch_imbalance {
    struct record head;
    int64_t paired, imbalance;
    double far, near, ref;
    int32_t locate, tracking;
    char direction, cross, variation, pad[5];
};
_Static_assert(sizeof(struct itch_imbalance) == 72, "itch_imbalance record");

#define ITCH_DIRECTORY(X)                                                                          \
    X(category, CHAR)                                                                              \
    X(status, CHAR) X(roundlot, INT) X(roundonly, CHAR) X(class, CHAR) X(subtype, SYMBOL)          \
        X(authenticity, CHAR) X(threshold, CHAR) X(ipo, CHAR) X(luld, CHAR) X(etp, CHAR)           \
            X(leverage, INT) X(inverse, CHAR) X(locate, INT) X(tracking, INT)

struct itch_directory {
    struct record head;
    int32_t roundlot;
    uint32_t subtype;
    int32_t leverage, locate, tracking;
    char category, status, roundonly, class, authenticity, threshold, ipo, luld, etp, inverse;
    char pad[2];
};
_Static_assert(sizeof(struct itch_directory) == 48, "itch_directory record");

/* clang-format off */
#define FEEDS_RECORD itch_order
static const struct column_def order_cols[] = {ITCH_ORDER(FEEDS_DEF)};
static const uint16_t order_at[] = {ITCH_ORDER(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD itch_trade
static const struct column_def trade_cols[] = {ITCH_TRADE(FEEDS_DEF)};
static const uint16_t trade_at[] = {ITCH_TRADE(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD itch_status
static const struct column_def status_cols[] = {ITCH_STATUS(FEEDS_DEF)};
static const uint16_t status_at[] = {ITCH_STATUS(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD itch_imbalance
static const struct column_def imbalance_cols[] = {ITCH_IMBALANCE(FEEDS_DEF)};
static const uint16_t imbalance_at[] = {ITCH_IMBALANCE(FEEDS_OFFSET)};
#undef FEEDS_RECORD
#define FEEDS_RECORD itch_directory
static const struct column_def directory_cols[] = {ITCH_DIRECTORY(FEEDS_DEF)};
static const uint16_t directory_at[] = {ITCH_DIRECTORY(FEEDS_OFFSET)};
#undef FEEDS_RECORD
/* clang-format on */

static const struct decoder_table itch_tables[] = {
    [T_ORDER] = {"itch_order", order_cols, PST_COUNT(order_cols), order_at,
                 sizeof(struct itch_order)},
    [T_TRADE] = {"itch_trade", trade_cols, PST_COUNT(trade_cols), trade_at,
                 sizeof(struct itch_trade)},
    [T_STATUS] = {"itch_status", status_cols, PST_COUNT(status_cols), status_at,
                  sizeof(struct itch_status)},
    [T_IMBALANCE] = {"itch_imbalance", imbalance_cols, PST_COUNT(imbalance_cols), imbalance_at,
                     sizeof(struct itch_imbalance)},
    [T_DIRECTORY] = {"itch_directory", directory_cols, PST_COUNT(directory_cols), directory_at,
                     sizeof(struct itch_directory)},
};

/* ---- the session's state ---- */

static void itch_init(void *state)
{
    struct itch_state *st = state;
    for (uint32_t i = 0; i < ITCH_LOCATES; i++)
        st->text[i] = SYMCACHE_BLANK;
    memset(st->id, 0xFF, sizeof st->id);
    st->dirty = false;
    symcache_init(&st->names, ITCH_CACHE_BITS);
}

/* A stock text that the map does not hold for this locate. */
static pst_noinline bool itch_learn(struct itch_state *st, uint32_t locate, uint64_t text,
                                    struct rows *out, uint32_t *sym)
{
    if (!locate || text == SYMCACHE_BLANK)
        return symcache_id(&st->names, text, out, sym);
    if (!symcache_intern(text, out, sym))
        return false;
    st->text[locate] = text;
    st->id[locate] = *sym;
    st->dirty = true;
    return true;
}

/* The symbol of a message with stock text; false = refused, the map is as it was. A message's last
 * symbol, so that nothing can fail once the map has changed. An unknown locate compares as blank,
 * whose id is null: right as it is. */
pst_inline bool itch_stock(struct itch_state *st, uint32_t locate, const uint8_t *stock,
                           struct rows *out, uint32_t *sym)
{
    uint64_t text = symcache_text8(stock);
    if (pst_unlikely(st->text[locate] != text))
        return itch_learn(st, locate, text, out, sym);
    *sym = st->id[locate];
    return true;
}

/* ---- messages ---- */

pst_inline uint32_t locate_of(const uint8_t *m)
{
    return be16(m + 1);
}
pst_inline int64_t itch_time(const struct decode_env *env, uint64_t ns)
{
    return (int64_t)((uint64_t)env->midnight + ns);
}

pst_inline void itch_head(struct record *r, const struct decode_env *env, unsigned table,
                          uint16_t bytes, uint32_t sym, const uint8_t *m)
{
    feeds_head((uint8_t *)r, env->table[table], bytes, sym, itch_time(env, be48(m + 5)));
}

/* Every order event; the type-dependent arguments are constants or loads where it is inlined. */
pst_inline enum decode put_order(const struct decode_env *env, const uint8_t *m, struct rows *out,
                                 uint32_t sym, char type, char side, int64_t newref, int64_t shares,
                                 double price, int64_t match, char printable, uint32_t mpid)
{
    struct itch_order *r = (struct itch_order *)rows_reserve(out, sizeof *r);
    itch_head(&r->head, env, T_ORDER, sizeof *r, sym, m);
    r->ref = (int64_t)be64(m + 11);
    r->newref = newref;
    r->shares = shares;
    r->price = price;
    r->match = match;
    put64(&r->mpid, mpid | (uint64_t)locate_of(m) << 32);
    put64(&r->tracking, be16(m + 3) | (uint64_t)(uint8_t)type << 32 |
                            (uint64_t)(uint8_t)side << 40 | (uint64_t)(uint8_t)printable << 48);
    rows_commit(out, sizeof *r);
    return DECODE_ROW;
}

pst_inline enum decode put_trade(const struct decode_env *env, const uint8_t *m, struct rows *out,
                                 uint32_t sym, char type, char side, int64_t ref, int64_t shares,
                                 double price, int64_t match, char cross)
{
    struct itch_trade *r = (struct itch_trade *)rows_reserve(out, sizeof *r);
    itch_head(&r->head, env, T_TRADE, sizeof *r, sym, m);
    r->ref = ref;
    r->shares = shares;
    r->price = price;
    r->match = match;
    r->locate = (int32_t)locate_of(m);
    r->tracking = be16(m + 3);
    memset(&r->type, 0, 8);
    r->type = type;
    r->side = side;
    r->cross = cross;
    rows_commit_other(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_imbalance(const struct decode_env *env, const uint8_t *m, struct rows *out,
                                 uint32_t sym)
{
    struct itch_imbalance *r = (struct itch_imbalance *)rows_reserve(out, sizeof *r);
    itch_head(&r->head, env, T_IMBALANCE, sizeof *r, sym, m);
    r->paired = (int64_t)be64(m + 11);
    r->imbalance = (int64_t)be64(m + 19);
    r->far = feeds_price32(be32(m + 36));
    r->near = feeds_price32(be32(m + 40));
    r->ref = feeds_price32(be32(m + 44));
    r->locate = (int32_t)locate_of(m);
    r->tracking = be16(m + 3);
    memset(&r->direction, 0, 8);
    r->direction = (char)m[27];
    r->cross = (char)m[48];
    r->variation = (char)m[49];
    rows_commit_other(out, sizeof *r);
    return DECODE_ROW;
}

static enum decode put_directory(const struct decode_env *env, const uint8_t *m, struct rows *out,
                                 uint32_t sym, uint32_t subtype)
{
    struct itch_directory *r = (struct itch_directory *)rows_reserve(out, sizeof *r);
    itch_head(&r->head, env, T_DIRECTORY, sizeof *r, sym, m);
    r->roundlot = (int32_t)be32(m + 21);
    r->subtype = subtype;
    r->leverage = (int32_t)be32(m + 34);
    r->locate = (int32_t)locate_of(m);
    r->tracking = be16(m + 3);
    r->category = (char)m[19];
    r->status = (char)m[20];
    r->roundonly = (char)m[25];
    r->class = (char)m[26];
    r->authenticity = (char)m[29];
    r->threshold = (char)m[30];
    r->ipo = (char)m[31];
    r->luld = (char)m[32];
    r->etp = (char)m[33];
    r->inverse = (char)m[38];
    r->pad[0] = r->pad[1] = 0;
    rows_commit_other(out, sizeof *r);
    return DECODE_ROW;
}

/* The wide table: a record of nulls, then what the type has. Lengths are checked, symbols done. */
static enum decode put_status(const struct decode_env *env, const uint8_t *m, struct rows *out,
                              uint32_t sym, uint32_t reason, uint32_t mpid)
{
    const double nf = feeds_null_float();
    struct itch_status *r = (struct itch_status *)rows_reserve(out, sizeof *r);
    itch_head(&r->head, env, T_STATUS, sizeof *r, sym, m);
    r->level1 = r->level2 = r->level3 = r->price = r->upper = r->lower = nf;
    r->low = r->high = r->near = r->collar_low = r->collar_high = nf;
    r->neartime = PST_NULL_TIMESTAMP;
    r->reason = reason;
    r->mpid = mpid;
    r->release = r->ext = PST_NULL_INT;
    r->locate = (int32_t)locate_of(m);
    r->tracking = be16(m + 3);
    r->type = (char)m[0];
    r->event = r->state = r->market = r->primary = r->mode = PST_NULL_CHAR;
    r->breach = r->qualifier = r->flag = PST_NULL_CHAR;
    memset(r->pad, 0, sizeof r->pad);
    switch (m[0]) {
    case 'S':
        r->event = (char)m[11];
        break;
    case 'H':
    case 'Y':
        r->state = (char)m[19];
        break;
    case 'L':
        r->primary = (char)m[23];
        r->mode = (char)m[24];
        r->state = (char)m[25];
        break;
    case 'V':
        r->level1 = feeds_price(be64(m + 11), 100000000);
        r->level2 = feeds_price(be64(m + 19), 100000000);
        r->level3 = feeds_price(be64(m + 27), 100000000);
        break;
    case 'W':
        r->breach = (char)m[11];
        break;
    case 'K':
        r->release = (int32_t)be32(m + 19);
        r->qualifier = (char)m[23];
        r->price = feeds_price32(be32(m + 24));
        break;
    case 'J':
        r->price = feeds_price32(be32(m + 19));
        r->upper = feeds_price32(be32(m + 23));
        r->lower = feeds_price32(be32(m + 27));
        r->ext = (int32_t)be32(m + 31);
        break;
    case 'h':
        r->market = (char)m[19];
        r->state = (char)m[20];
        break;
    case 'N':
        r->flag = (char)m[19];
        break;
    case 'O':
        r->flag = (char)m[19];
        r->low = feeds_price32(be32(m + 20));
        r->high = feeds_price32(be32(m + 24));
        r->near = feeds_price32(be32(m + 28));
        r->neartime = itch_time(env, be64(m + 32));
        r->collar_low = feeds_price32(be32(m + 40));
        r->collar_high = feeds_price32(be32(m + 44));
        break;
    }
    rows_commit_other(out, sizeof *r);
    return DECODE_ROW;
}

#define NEED(n)                                                                                    \
    do {                                                                                           \
        if (pst_unlikely(len < (n)))                                                               \
            return DECODE_LENGTH;                                                                  \
    } while (0)
#define TRY(x)                                                                                     \
    do {                                                                                           \
        if (pst_unlikely(!(x)))                                                                    \
            return DECODE_SYMBOL;                                                                  \
    } while (0)

/* The types that are rare on a real day (load.md: 0.6 % together with P and L). */
static pst_noinline enum decode decode_rare(struct itch_state *st, const struct decode_env *env,
                                            const uint8_t *m, uint32_t len, struct rows *out)
{
    uint32_t locate, sym, other = PST_NULL_SYMBOL;
    switch (m[0]) {
    case 'S':
    case 'W':
        NEED(12);
        return put_status(env, m, out, st->id[locate_of(m)], PST_NULL_SYMBOL, PST_NULL_SYMBOL);
    case 'V':
        NEED(35);
        return put_status(env, m, out, st->id[locate_of(m)], PST_NULL_SYMBOL, PST_NULL_SYMBOL);
    case 'R':
        NEED(39);
        locate = locate_of(m);
        TRY(symcache_id(&st->names, symcache_text2(m + 27), out, &other));
        TRY(itch_stock(st, locate, m + 11, out, &sym));
        return put_directory(env, m, out, sym, other);
    case 'H':
        NEED(25);
        locate = locate_of(m);
        TRY(symcache_id(&st->names, symcache_text4(m + 21), out, &other));
        TRY(itch_stock(st, locate, m + 11, out, &sym));
        return put_status(env, m, out, sym, other, PST_NULL_SYMBOL);
    case 'L':
        NEED(26);
        locate = locate_of(m);
        TRY(symcache_id(&st->names, symcache_text4(m + 11), out, &other));
        TRY(itch_stock(st, locate, m + 15, out, &sym));
        return put_status(env, m, out, sym, PST_NULL_SYMBOL, other);
    case 'Y':
    case 'N':
        NEED(20);
        break;
    case 'K':
        NEED(28);
        break;
    case 'J':
        NEED(35);
        break;
    case 'h':
        NEED(21);
        break;
    case 'O':
        NEED(48);
        break;
    case 'Q':
        NEED(40);
        TRY(itch_stock(st, locate_of(m), m + 19, out, &sym));
        return put_trade(env, m, out, sym, 'Q', ' ', PST_NULL_LONG, (int64_t)be64(m + 11),
                         feeds_price32(be32(m + 27)), (int64_t)be64(m + 31), (char)m[39]);
    case 'B':
        NEED(19);
        return put_trade(env, m, out, st->id[locate_of(m)], 'B', ' ', PST_NULL_LONG, PST_NULL_LONG,
                         feeds_null_float(), (int64_t)be64(m + 11), ' ');
    default:
        return DECODE_UNKNOWN;
    }
    TRY(itch_stock(st, locate_of(m), m + 11, out, &sym)); /* Y N K J h O */
    return put_status(env, m, out, sym, PST_NULL_SYMBOL, PST_NULL_SYMBOL);
}

static enum decode itch_decode(void *state, const struct decode_env *env, const uint8_t *m,
                               uint32_t len, struct rows *out)
{
    struct itch_state *st = state;
    const double nf = feeds_null_float();
    uint32_t sym, mpid;
    NEED(1);
    switch (m[0]) {
    case 'A':
        NEED(36);
        TRY(itch_stock(st, locate_of(m), m + 24, out, &sym));
        return put_order(env, m, out, sym, 'A', (char)m[19], PST_NULL_LONG, be32(m + 20),
                         feeds_price32(be32(m + 32)), PST_NULL_LONG, ' ', PST_NULL_SYMBOL);
    case 'D':
        NEED(19);
        return put_order(env, m, out, st->id[locate_of(m)], 'D', ' ', PST_NULL_LONG, PST_NULL_LONG,
                         nf, PST_NULL_LONG, ' ', PST_NULL_SYMBOL);
    case 'U':
        NEED(35);
        return put_order(env, m, out, st->id[locate_of(m)], 'U', ' ', (int64_t)be64(m + 19),
                         be32(m + 27), feeds_price32(be32(m + 31)), PST_NULL_LONG, ' ',
                         PST_NULL_SYMBOL);
    case 'E':
        NEED(31);
        return put_order(env, m, out, st->id[locate_of(m)], 'E', ' ', PST_NULL_LONG, be32(m + 19),
                         nf, (int64_t)be64(m + 23), 'Y', PST_NULL_SYMBOL);
    case 'X':
        NEED(23);
        return put_order(env, m, out, st->id[locate_of(m)], 'X', ' ', PST_NULL_LONG, be32(m + 19),
                         nf, PST_NULL_LONG, ' ', PST_NULL_SYMBOL);
    case 'F':
        NEED(40);
        TRY(symcache_id(&st->names, symcache_text4(m + 36), out, &mpid));
        TRY(itch_stock(st, locate_of(m), m + 24, out, &sym));
        return put_order(env, m, out, sym, 'F', (char)m[19], PST_NULL_LONG, be32(m + 20),
                         feeds_price32(be32(m + 32)), PST_NULL_LONG, ' ', mpid);
    case 'C':
        NEED(36);
        return put_order(env, m, out, st->id[locate_of(m)], 'C', ' ', PST_NULL_LONG, be32(m + 19),
                         feeds_price32(be32(m + 32)), (int64_t)be64(m + 23), (char)m[31],
                         PST_NULL_SYMBOL);
    case 'P':
        NEED(44);
        TRY(itch_stock(st, locate_of(m), m + 24, out, &sym));
        return put_trade(env, m, out, sym, 'P', (char)m[19], (int64_t)be64(m + 11), be32(m + 20),
                         feeds_price32(be32(m + 32)), (int64_t)be64(m + 36), ' ');
    case 'I':
        NEED(50);
        TRY(itch_stock(st, locate_of(m), m + 28, out, &sym));
        return put_imbalance(env, m, out, sym);
    default:
        return decode_rare(st, env, m, len, out);
    }
}

static int32_t itch_type(const uint8_t *m, uint32_t len)
{
    return len ? m[0] : PST_NULL_INT;
}

/* ---- state marks: {"13":"AAPL",…} ---- */

/* Bytes that JSON cannot carry as they are become \u00XX, which load turns back into one byte. */
static char *put_text(char *at, uint64_t text)
{
    uint32_t n = symcache_len(text);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)(text >> 8 * i);
        if (c < 0x20 || c >= 0x7F || c == '"' || c == '\\')
            at += sprintf(at, "\\u%04x", c);
        else
            *at++ = (char)c;
    }
    return at;
}

#define SAVE_ENTRY_MAX 64 /* ,"65535":"8 escapes of 6" and the closing brace */

static uint32_t itch_save(const void *state, uint32_t *from, char *buf, uint32_t cap,
                          const char *(*text)(void *arg, uint32_t id, uint32_t *len), void *arg)
{
    (void)text; /* the map itself holds the texts */
    (void)arg;
    const struct itch_state *st = state;
    char *at = buf;
    uint32_t i = *from;
    for (; i < ITCH_LOCATES; i++) {
        if (st->text[i] == SYMCACHE_BLANK)
            continue;
        if ((size_t)(buf + cap - at) < SAVE_ENTRY_MAX)
            break;
        at += sprintf(at, "%c\"%u\":\"", at == buf ? '{' : ',', i);
        at = put_text(at, st->text[i]);
        *at++ = '"';
    }
    *from = i < ITCH_LOCATES ? i : 0;
    if (at == buf)
        return 0;
    *at++ = '}';
    return (uint32_t)(at - buf);
}

/* One character of UTF-8 up to U+00FF, as json gives it -> its byte; false = beyond. */
static bool text_from_json(const json_t *v, uint64_t *text, uint32_t *len)
{
    const uint8_t *s = (const uint8_t *)json_string_value(v);
    if (!s)
        return false;
    uint8_t raw[8];
    memset(raw, ' ', sizeof raw);
    uint32_t n = 0;
    for (; *s; s++) {
        uint8_t c = *s;
        if (c >= 0x80) {
            if (c > 0xC3)
                return false;
            c = (uint8_t)(c << 6 | (*++s & 0x3F));
        }
        if (n == sizeof raw)
            return false;
        raw[n++] = c;
    }
    *text = le64(raw);
    *len = symcache_len(*text);
    return *len > 0;
}

static bool locate_from_json(const char *key, uint32_t *locate)
{
    char *end;
    unsigned long v = strtoul(key, &end, 10);
    *locate = (uint32_t)v;
    return *key >= '1' && *key <= '9' && !*end && v < ITCH_LOCATES;
}

static bool itch_load(void *state, const char *json, size_t len,
                      uint32_t (*symbol)(void *arg, const char *text, uint32_t len), void *arg)
{
    struct itch_state *st = state;
    json_t *map = json_loadb(json, len, 0, NULL), *v;
    const char *key;
    uint64_t text;
    uint32_t locate, n;
    bool ok = json_is_object(map);
    json_object_foreach(map, key, v) ok =
        ok && locate_from_json(key, &locate) && text_from_json(v, &text, &n);
    if (ok)
        json_object_foreach(map, key, v)
        {
            locate_from_json(key, &locate);
            text_from_json(v, &text, &n);
            char raw[8];
            memcpy(raw, &text, sizeof raw);
            uint32_t id = symbol(arg, raw, n);
            if (id == SYMBOL_REFUSED || id == PST_NULL_SYMBOL)
                continue; /* learnt again from the next message that spells it out */
            st->text[locate] = text;
            st->id[locate] = id;
        }
    json_decref(map);
    return ok;
}

static bool itch_dirty(void *state, bool clear)
{
    struct itch_state *st = state;
    bool was = st->dirty;
    if (clear)
        st->dirty = false;
    return was;
}

const struct decoder_ops itch50_decoder = {
    .name = "itch50",
    .tables = itch_tables,
    .ntables = PST_COUNT(itch_tables),
    .frequent = T_ORDER + 1,
    .state_bytes = sizeof(struct itch_state) + SYMCACHE_BYTES(ITCH_CACHE_BITS),
    .init = itch_init,
    .decode = itch_decode,
    .type = itch_type,
    .save = itch_save,
    .load = itch_load,
    .dirty = itch_dirty,
};
