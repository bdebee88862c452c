/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ORDERS_AS_FILE /* built into penstock-rtp (builtin.h), or as a file by itself */
#define PST_RTP_BUILTIN orders
#endif
#include <math.h>
#include <stdlib.h>
#include "orders.h"
#include "orders_stream.h"
#include "orders_tables.h"

PST_RTP_PLUGIN("orders", "1.0", "Trades and best bids and offers from ITCH order events.")

#define ROW_LATE       0x1u /* bits of the column flags, as README gives them */
#define ROW_LATE_DAY   0x2u
#define ROW_BAD_BOOK   0x40u
#define FLAGS          0xFFFFu
#define ROWS           64u /* that are looked at ahead: the three distances below are less */
#define AHEAD_LEVEL    24u /* its slot is in the cache: fetch the level */
#define AHEAD_SIDE     12u /* its level is: fetch the side that it may end in */
#define DEFAULT_ORDERS 65536u

/* ---- where the columns are ---- */

#define SOURCE_COLUMNS(X)                                                                          \
    X(feed, SYMBOL)                                                                                \
    X(session, SYMBOL)                                                                             \
    X(flags, INT)                                                                                  \
    X(type, CHAR)                                                                                  \
    X(side, CHAR)                                                                                  \
    X(ref, LONG)                                                                                   \
    X(newref, LONG) X(shares, LONG) X(price, FLOAT) X(match, LONG) X(printable, CHAR) X(cross, CHAR)

struct place { /* of a column */
    uint16_t at;
    bool packet, there;
};
struct source { /* a version of an input table */
    const struct pst_table *table;
    bool is_order, usable;
#define X(name, TYPE) struct place name;
    SOURCE_COLUMNS(X)
#undef X
};
struct trade_at {
    const struct pst_table *table;
#define X(name, TYPE) uint16_t name;
    ORDERS_TRADE_COLUMNS(X)
};
struct bbo_at {
    const struct pst_table *table;
    ORDERS_BBO_COLUMNS(X)
#undef X
};

struct item { /* a row that is looked at ahead */
    struct pst_row row;
    const struct source *source;
    struct orders_stream *stream; /* NULL: none yet; what follows: of this one */
    uint32_t book, level;         /* 0: unknown */
    bool adds, ask;
};

static struct orders {
    struct orders_stream *stream[ORDERS_STREAMS]; /* in the order of their first rows */
    uint32_t nstreams;
    uint32_t nsources;
    struct source source[32];
    struct trade_at trade;
    struct bbo_at bbo;
    bool tables; /* the two are known: they do not change while a process lives */
    uint32_t exec, hidden, cross, brk; /* symbols */
    uint32_t lost;                     /* ROW_BAD_BOOK once a range of the journal is lost */
    uint64_t room;
    struct origin { /* of rows with the same packet record */
        const uint8_t *packet;
        struct orders_stream *stream;
        uint32_t feed, session, flags;
    } now, ahead; /* of the row that is applied, and of the one looked at first */
    struct item item[ROWS];
} own;

static const char *const inputs[] = {"itch_order", "itch_trade", NULL};

static void place_find(struct place *p, const struct pst_table *t, const char *name, uint32_t type)
{
    int32_t c = pst_table_find(t, name);
    p->there = c >= 0 && t->column[c].type == type;
    if (p->there) {
        p->at = (uint16_t)t->column[c].offset;
        p->packet = t->column[c].packet;
    }
}

/* A version of an input table is seen for the first time. */
static __attribute__((noinline)) const struct source *source_make(struct pst_rtp *r,
                                                                  const struct pst_table *t)
{
    struct source *s = &own.source[own.nsources++];
    memset(s, 0, sizeof *s);
    s->table = t;
    s->is_order = !strcmp(t->name, inputs[0]);
#define X(name, TYPE) place_find(&s->name, t, #name, PST_##TYPE);
    SOURCE_COLUMNS(X)
#undef X
    s->usable = s->type.there && s->ref.there && s->shares.there && s->price.there &&
                s->match.there && s->side.there &&
                (s->is_order ? s->newref.there && s->printable.there : s->cross.there);
    if (!s->usable)
        pst_rtp_host->log(
            r, "orders: table %s has other columns than a feed's; its rows are passed over",
            t->name);
    return s;
}
static inline const struct source *source_of(struct pst_rtp *r, const struct pst_table *t)
{
    for (uint32_t i = 0; i < own.nsources; i++)
        if (own.source[i].table == t)
            return &own.source[i];
    return source_make(r, t);
}

#define GETTER(name, type)                                                                         \
    static inline type name(const struct pst_row *row, struct place p, type null)                  \
    {                                                                                              \
        const uint8_t *base = p.packet ? row->packet : row->record;                                \
        type v = null;                                                                             \
        if (p.there && base)                                                                       \
            memcpy(&v, base + p.at, sizeof v);                                                     \
        return v;                                                                                  \
    }
GETTER(get_char, uint8_t)
GETTER(get_int, uint32_t)
GETTER(get_long, int64_t)
GETTER(get_float, double)
#undef GETTER

/* ---- streams ---- */

static struct orders_stream *stream_find(uint32_t feed, uint32_t session)
{
    for (uint32_t i = own.nstreams; i-- > 0;)
        if (own.stream[i]->feed == feed && own.stream[i]->session == session)
            return own.stream[i];
    return NULL;
}

static void stream_drop(uint32_t i)
{
    orders_stream_free(own.stream[i]);
    own.nstreams--;
    memmove(&own.stream[i], &own.stream[i + 1], (own.nstreams - i) * sizeof *own.stream);
    own.now = own.ahead = (struct origin){0};
    for (uint32_t k = 0; k < ROWS; k++)
        own.item[k].stream = NULL;
}

static int put_bbo(struct pst_rtp *r, const struct item *it, const struct orders_book *k);

/* Another epoch has taken over: the books of this one are empty. */
static int stream_retire(struct pst_rtp *r, struct orders_stream *s, const struct item *it)
{
    s->retired = 1;
    for (uint32_t i = 1; i < s->books.book.used; i++) {
        struct orders_book *k = orders_book(&s->books, i);
        if (!k->told.bsize && !k->told.asize)
            continue;
        k->told = (struct orders_top){NAN, NAN, 0, 0};
        if (put_bbo(r, it, k))
            return -1;
    }
    return 0;
}

static struct orders_stream *stream_make(struct pst_rtp *r, const struct pst_frame *f,
                                         const struct item *it)
{
    bool late_day = own.now.flags & ROW_LATE_DAY;
    struct pst_text text = {"", 0};
    if (own.now.session != PST_NULL_SYMBOL)
        text = pst_rtp_host->symbol(r, own.now.session);
    struct origin now = own.now;
    bool turns = !late_day; /* the feed's next day begins */
    for (uint32_t i = 0; i < own.nstreams; i++)
        turns &= own.stream[i]->feed != now.feed || own.stream[i]->day != f->day;
    for (uint32_t i = 0; i < own.nstreams && !late_day;) {
        struct orders_stream *o = own.stream[i];
        bool before = o->feed == now.feed && o->day < f->day;
        if (before && ((turns && o->idle) || o->session == now.session)) {
            stream_drop(i);
            continue;
        }
        o->idle |= before && turns;
        i++;
    }
    if (own.nstreams == ORDERS_STREAMS) {
        uint32_t i = 0;
        while (i < own.nstreams && !own.stream[i]->retired)
            i++;
        stream_drop(i < own.nstreams ? i : 0);
    }
    own.now = now;
    struct orders_stream *s =
        orders_stream_make(now.feed, now.session, f->day - late_day, text.at, text.len, own.room);
    if (!s) {
        pst_rtp_host->error(r, "orders: no memory for the orders of session %.*s", (int)text.len,
                            text.at);
        return NULL;
    }
    s->late_day = late_day;
    s->bad_book = late_day && it->row.seq > 1 ? ROW_BAD_BOOK : 0;
    for (uint32_t i = 0; i < own.nstreams; i++) {
        struct orders_stream *o = own.stream[i];
        if (orders_stream_older(o, s) && !o->retired && stream_retire(r, o, it)) {
            orders_stream_free(s);
            return NULL;
        }
        s->retired |= orders_stream_older(s, o);
    }
    return own.stream[own.nstreams++] = s;
}

/* Where the row's packet says that it came from. */
static inline void origin_read(struct origin *o, const struct item *it)
{
    const struct source *s = it->source;
    o->packet = it->row.packet;
    o->feed = get_int(&it->row, s->feed, PST_NULL_SYMBOL);
    o->session = get_int(&it->row, s->session, PST_NULL_SYMBOL);
    o->flags = get_int(&it->row, s->flags, 0);
    o->stream = stream_find(o->feed, o->session);
}
static inline bool origin_same(const struct origin *o, const struct item *it)
{
    return o->stream && o->packet == it->row.packet && it->source->feed.packet;
}

/* The stream of a row, made if it is the first. NULL with *error 0: none, its day is over. */
static __attribute__((noinline)) struct orders_stream *
stream_of(struct pst_rtp *r, const struct pst_frame *f, const struct item *it, int *error)
{
    struct origin *o = &own.now;
    origin_read(o, it);
    struct orders_stream *s = o->stream;
    if (s && !(o->flags & ROW_LATE_DAY) && f->day != s->day && !s->late_day) {
        if (f->day < s->day) { /* a straggler of the day before, of the same name */
            o->stream = NULL;
            return NULL;
        }
        s = NULL;
    } else if (s && (o->flags & ROW_LATE_DAY) && f->day == s->day && !s->late_day) {
        o->stream = NULL; /* of an earlier session of that name, which has been given up */
        return NULL;
    } else if (s && s->late_day && !(o->flags & ROW_LATE_DAY)) {
        for (uint32_t i = 0; i < own.nstreams; i++)
            if (own.stream[i] == s) {
                struct origin keep = *o;
                stream_drop(i);
                *o = keep;
                break;
            }
        s = NULL;
    }
    if (!s && !(s = stream_make(r, f, it)))
        *error = -1;
    if (s) {
        s->idle = 0;
        o->flags |= s->bad_book;
    }
    o->stream = s;
    return s;
}

/* ---- rows out ---- */

static inline void put8(uint8_t *at, uint8_t v)
{
    *at = v;
}
static inline void put32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, sizeof v);
}
static inline void put64(uint8_t *at, int64_t v)
{
    memcpy(at, &v, sizeof v);
}
static inline void put_float(uint8_t *at, double v)
{
    uint64_t null = PST_NULL_FLOAT_BITS;
    if (v != v)
        memcpy(at, &null, sizeof null);
    else
        memcpy(at, &v, sizeof v);
}
static inline void put_head(uint8_t *out, const struct pst_row *row, uint32_t sym)
{
    put32(out + 4, sym);
    memcpy(out + 8, row->record + 8, 8);
}
static inline uint32_t flags_out(void)
{
    return (own.now.flags & FLAGS) | own.lost;
}

static int put_bbo(struct pst_rtp *r, const struct item *it, const struct orders_book *k)
{
    const struct bbo_at *at = &own.bbo;
    uint8_t *out = pst_rtp_host->emit(r, at->table);
    if (!out)
        return -1;
    put_head(out, &it->row, k->sym);
    put32(out + at->feed, own.now.feed);
    put64(out + at->seq, it->row.seq);
    put_float(out + at->bid, k->told.bid);
    put64(out + at->bsize, k->told.bsize);
    put_float(out + at->ask, k->told.ask);
    put64(out + at->asize, k->told.asize);
    put32(out + at->flags, flags_out());
    return 0;
}

struct print {
    uint32_t sym, type;
    double price;
    int64_t size, match, ref;
    uint8_t side, printable, cross;
};

static int put_trade(struct pst_rtp *r, const struct item *it, const struct print *p)
{
    const struct trade_at *at = &own.trade;
    uint8_t *out = pst_rtp_host->emit(r, at->table);
    if (!out)
        return -1;
    put_head(out, &it->row, p->sym);
    put32(out + at->feed, own.now.feed);
    put32(out + at->session, own.now.session);
    put64(out + at->seq, it->row.seq);
    put32(out + at->type, p->type);
    put_float(out + at->price, p->price);
    put64(out + at->size, p->size);
    put8(out + at->side, p->side);
    put64(out + at->match, p->match);
    put8(out + at->printable, p->printable);
    put8(out + at->cross, p->cross);
    put64(out + at->ref, p->ref);
    put32(out + at->flags, flags_out());
    return 0;
}

static inline int tell(struct pst_rtp *r, struct orders_stream *s, const struct item *it,
                       uint32_t book)
{
    struct orders_book *k = orders_book(&s->books, book);
    if (s->retired || !orders_book_changed(&s->books, k))
        return 0;
    return put_bbo(r, it, k);
}

/* ---- messages ---- */

/* A or F, or the new half of U. 0: taken; 1: not to be; -1: error. */
static inline int rest(struct pst_rtp *r, struct orders_stream *s, int64_t ref, uint32_t book,
                       uint32_t ask, double price, int64_t shares, struct orders_hit *hit)
{
    if (shares <= 0 || shares > UINT32_MAX || !(fabs(price) < INFINITY)) {
        s->counts.odd++;
        return 1;
    }
    if (orders_add(s, ref, book, ask, price, (uint32_t)shares, hit))
        return 0;
    return pst_rtp_host->error(r, "orders: no memory for the order map");
}

static inline uint32_t book_of(struct orders_stream *s, uint32_t sym)
{
    uint32_t book = orders_book_find(&s->books, sym);
    return book ? book : orders_book_make(&s->books, sym);
}

static int on_add(struct pst_rtp *r, struct orders_stream *s, const struct item *it, int64_t ref)
{
    const struct pst_row *row = &it->row;
    uint8_t side = get_char(row, it->source->side, ' ');
    struct orders_slot *old = orders_map_find(&s->map, ref);
    struct orders_hit hit = {0};
    if (own.now.flags & ROW_LATE || s->retired) {
        s->counts.late++;
        return 0;
    }
    if (side != 'B' && side != 'S') {
        s->counts.odd++;
        return 0;
    }
    uint32_t was = 0;
    if (__builtin_expect(old != NULL, 0)) { /* the newer one counts */
        s->counts.odd++;
        was = orders_look(s, old).book;
        orders_take(s, old, old->shares);
    }
    uint32_t book = book_of(s, pst_row_sym(row));
    if (!book)
        return pst_rtp_host->error(r, "orders: no memory for a book");
    int rc = rest(r, s, ref, book, side == 'S', get_float(row, it->source->price, NAN),
                  get_long(row, it->source->shares, 0), &hit);
    if (rc < 0 || (was && was != book && tell(r, s, it, was)))
        return -1;
    return hit.best || was ? tell(r, s, it, book) : 0;
}

static int on_replace(struct pst_rtp *r, struct orders_stream *s, const struct item *it,
                      struct orders_slot *slot)
{
    const struct pst_row *row = &it->row;
    struct orders_hit was = orders_look(s, slot), hit = {0};
    was.best = orders_take(s, slot, slot->shares);
    int64_t ref = get_long(row, it->source->newref, 0);
    uint32_t other = 0;
    if (own.now.flags & ROW_LATE || s->retired) {
        s->counts.late++;
    } else {
        struct orders_slot *twice = orders_map_find(&s->map, ref);
        if (__builtin_expect(twice != NULL, 0)) {
            s->counts.odd++;
            other = orders_look(s, twice).book;
            orders_take(s, twice, twice->shares);
        }
        if (rest(r, s, ref, was.book, was.ask, get_float(row, it->source->price, NAN),
                 get_long(row, it->source->shares, 0), &hit) < 0)
            return -1;
    }
    if (other && other != was.book && tell(r, s, it, other))
        return -1;
    return was.best || hit.best || other ? tell(r, s, it, was.book) : 0;
}

/* E, C, X, D. */
static int on_less(struct pst_rtp *r, struct orders_stream *s, const struct item *it,
                   struct orders_slot *slot, uint8_t type)
{
    const struct pst_row *row = &it->row;
    struct orders_hit was = orders_look(s, slot);
    int64_t shares = get_long(row, it->source->shares, 0);
    uint32_t n = slot->shares;
    if (type != 'D') {
        if (shares < 0 || shares > n)
            s->counts.odd++;
        if (shares < n)
            n = shares < 0 ? 0 : (uint32_t)shares;
    }
    if (type == 'E' || type == 'C') {
        struct print p = {
            .sym = orders_book(&s->books, was.book)->sym,
            .type = own.exec,
            .price = type == 'E' ? was.price : get_float(row, it->source->price, NAN),
            .size = get_long(row, it->source->shares, PST_NULL_LONG),
            .match = get_long(row, it->source->match, PST_NULL_LONG),
            .ref = slot->ref,
            .side = was.ask ? 'S' : 'B',
            .printable = type == 'E' || get_char(row, it->source->printable, ' ') != 'N',
            .cross = ' ',
        };
        if (put_trade(r, it, &p))
            return -1;
    }
    return n && orders_take(s, slot, n) ? tell(r, s, it, was.book) : 0;
}

/* About an order that is not known: an execution is a print all the same. */
static __attribute__((noinline)) int on_unknown(struct pst_rtp *r, struct orders_stream *s,
                                                const struct item *it, int64_t ref, uint8_t type)
{
    const struct pst_row *row = &it->row;
    if (s)
        s->counts.unknown++;
    if (type != 'E' && type != 'C')
        return 0;
    struct print p = {
        .sym = pst_row_sym(row),
        .type = own.exec,
        .price = type == 'C' ? get_float(row, it->source->price, NAN) : NAN,
        .size = get_long(row, it->source->shares, PST_NULL_LONG),
        .match = get_long(row, it->source->match, PST_NULL_LONG),
        .ref = ref,
        .side = ' ',
        .printable = type == 'E' || get_char(row, it->source->printable, ' ') != 'N',
        .cross = ' ',
    };
    return put_trade(r, it, &p);
}

static int on_order(struct pst_rtp *r, struct orders_stream *s, const struct item *it)
{
    uint8_t type = get_char(&it->row, it->source->type, ' ');
    int64_t ref = get_long(&it->row, it->source->ref, PST_NULL_LONG);
    if (type == 'A' || type == 'F')
        return s ? on_add(r, s, it, ref) : 0;
    struct orders_slot *slot = s ? orders_map_find(&s->map, ref) : NULL;
    if (__builtin_expect(!slot, 0))
        return on_unknown(r, s, it, ref, type);
    switch (type) {
    case 'U':
        return on_replace(r, s, it, slot);
    case 'D':
    case 'E':
    case 'X':
    case 'C':
        return on_less(r, s, it, slot, type);
    default:
        s->counts.odd++;
        return 0;
    }
}

static __attribute__((noinline)) int on_trade(struct pst_rtp *r, struct orders_stream *s,
                                              const struct item *it)
{
    const struct pst_row *row = &it->row;
    uint8_t type = get_char(row, it->source->type, ' ');
    struct print p = {
        .sym = pst_row_sym(row),
        .price = get_float(row, it->source->price, NAN),
        .size = get_long(row, it->source->shares, PST_NULL_LONG),
        .match = get_long(row, it->source->match, PST_NULL_LONG),
        .ref = get_long(row, it->source->ref, PST_NULL_LONG),
        .side = get_char(row, it->source->side, ' '),
        .printable = 1,
        .cross = get_char(row, it->source->cross, ' '),
    };
    switch (type) {
    case 'P':
        p.type = own.hidden;
        break;
    case 'Q':
        p.type = own.cross;
        break;
    case 'B':
        p.type = own.brk;
        p.printable = 0;
        break;
    default:
        if (s)
            s->counts.odd++;
        return 0;
    }
    return put_trade(r, it, &p);
}

/* ---- looking ahead: nothing of it changes anything ---- */

ORDERS_AHEAD void look_row(struct pst_rtp *r, struct item *it)
{
    it->source = source_of(r, it->row.table);
    if (!it->source->is_order || !it->source->usable) {
        it->stream = NULL;
        return;
    }
    if (!origin_same(&own.ahead, it))
        origin_read(&own.ahead, it);
    it->stream = own.ahead.stream;
    if (!it->stream)
        return;
    const struct orders_stream *s = it->stream;
    orders_map_prefetch(&s->map, get_long(&it->row, it->source->ref, 0));
    uint8_t type = get_char(&it->row, it->source->type, ' ');
    if (type == 'U')
        orders_map_prefetch(&s->map, get_long(&it->row, it->source->newref, 0));
    it->adds = type == 'A' || type == 'F';
    it->ask = get_char(&it->row, it->source->side, ' ') == 'S';
    it->book = orders_book_find(&s->books, pst_row_sym(&it->row));
    __builtin_prefetch(orders_book(&s->books, it->book), 1);
}

ORDERS_AHEAD void look_level(struct item *it)
{
    const struct orders_stream *s = it->stream;
    if (!s)
        return;
    if (it->adds) {
        orders_side_prefetch(&s->books, it->book, it->ask);
        return;
    }
    const struct orders_slot *slot =
        orders_map_find(&s->map, get_long(&it->row, it->source->ref, 0));
    it->level = slot ? slot->level : 0;
    __builtin_prefetch(orders_level(&s->books, it->level), 1);
}

ORDERS_AHEAD void look_side(struct item *it)
{
    const struct orders_stream *s = it->stream;
    if (!s)
        return;
    if (it->adds) {
        orders_price_prefetch(&s->books, it->book, it->ask,
                              get_float(&it->row, it->source->price, 0));
        return;
    }
    uint32_t side = orders_level(&s->books, it->level)->side;
    orders_side_prefetch(&s->books, side >> 1, side & 1);
}

/* ---- the processor ---- */

/* At the first frame: by then the daemon has declared them. */
static bool tables_find(struct pst_rtp *r)
{
    const struct pst_table *trade = pst_rtp_host->table(r, "trade");
    const struct pst_table *bbo = pst_rtp_host->table(r, "bbo");
    if (!trade || !bbo)
        return pst_rtp_host->error(r,
                                   "orders: there is no table %s; is it configured as a "
                                   "processor of this group?",
                                   trade ? "bbo" : "trade"),
               false;
    struct place p = {0};
    bool all = true;
#define X(column, TYPE)                                                                            \
    place_find(&p, t, #column, PST_##TYPE);                                                        \
    all &= p.there;                                                                                \
    at->column = p.at;
    {
        struct trade_at *at = &own.trade;
        const struct pst_table *t = at->table = trade;
        ORDERS_TRADE_COLUMNS(X)
    }
    {
        struct bbo_at *at = &own.bbo;
        const struct pst_table *t = at->table = bbo;
        ORDERS_BBO_COLUMNS(X)
    }
#undef X
    if (!all)
        pst_rtp_host->error(r, "orders: trade or bbo have other columns than this program's");
    return all;
}

static int begin(struct pst_rtp *r, void *data)
{
    (void)data;
    while (own.nstreams)
        stream_drop(own.nstreams - 1);
    own.nsources = own.lost = 0;
    own.tables = false;
    const char *room = pst_rtp_host->option(r, "orders");
    char *end = NULL;
    own.room = room ? strtoull(room, &end, 10) : DEFAULT_ORDERS;
    if ((room && (end == room || *end)) || !own.room || own.room > 1u << 30)
        return pst_rtp_host->error(r, "option orders wants a number from 1 to 1073741824, not %s",
                                   room);
    own.exec = pst_rtp_host->intern(r, "exec", 4);
    own.hidden = pst_rtp_host->intern(r, "hidden", 6);
    own.cross = pst_rtp_host->intern(r, "cross", 5);
    own.brk = pst_rtp_host->intern(r, "break", 5);
    return 0;
}

static inline int apply(struct pst_rtp *r, const struct pst_frame *f, const struct item *it)
{
    if (!it->source->usable)
        return 0;
    struct orders_stream *s = own.now.stream;
    int error = 0;
    if (!origin_same(&own.now, it))
        s = stream_of(r, f, it, &error);
    if (error)
        return -1;
    if (s)
        s->counts.rows++;
    return it->source->is_order ? on_order(r, s, it) : on_trade(r, s, it);
}

static int frame(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    (void)data;
    if (!own.tables && !(own.tables = tables_find(r)))
        return -1;
    own.now = own.ahead = (struct origin){0};
    if (own.nsources > sizeof own.source / sizeof *own.source - 8)
        own.nsources = 0;
    struct pst_walk w = pst_walk(f);
    uint64_t seen = 0, level = 0, side = 0;
    bool more = true;
    for (uint64_t at = 0;; at++) {
        while (more && seen - at < ROWS) {
            struct item *it = &own.item[seen % ROWS];
            if (!(more = pst_next(&w, &it->row)))
                break;
            look_row(r, it);
            seen++;
        }
        if (at == seen)
            return 0;
        for (; level < seen && level <= at + AHEAD_LEVEL; level++)
            look_level(&own.item[level % ROWS]);
        for (; side < seen && side <= at + AHEAD_SIDE; side++)
            look_side(&own.item[side % ROWS]);
        if (apply(r, f, &own.item[at % ROWS]))
            return -1;
    }
}

static int mark(struct pst_rtp *r, const struct pst_mark_facts *m, void *data)
{
    (void)r;
    (void)data;
    if (m->mark == PST_MARK_LOST)
        own.lost = ROW_BAD_BOOK;
    return 0;
}

/* ---- the function orders() ---- */

static const struct pst_column shown[] = {
    {"feed", PST_SYMBOL}, {"session", PST_SYMBOL}, {"day", PST_DATE},   {"retired", PST_BOOLEAN},
    {"orders", PST_LONG}, {"levels", PST_LONG},    {"books", PST_LONG}, {"bytes", PST_LONG},
    {"rows", PST_LONG},   {"unknown", PST_LONG},   {"odd", PST_LONG},   {"late", PST_LONG}};

static int show(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)map;
    (void)data;
    for (uint32_t i = 0; i < own.nstreams; i++) {
        const struct orders_stream *s = own.stream[i];
        struct pst_value v[sizeof shown / sizeof *shown];
        memset(v, 0, sizeof v);
        for (uint32_t k = 0; k < sizeof v / sizeof *v; k++)
            v[k].type = shown[k].type;
        if (s->feed != PST_NULL_SYMBOL)
            v[0].text = pst_rtp_host->symbol(r, s->feed);
        if (s->session != PST_NULL_SYMBOL)
            v[1].text = pst_rtp_host->symbol(r, s->session);
        v[2].i = s->day;
        v[3].i = s->retired;
        v[4].i = (int64_t)s->map.used;
        v[5].i = orders_books_levels(&s->books);
        v[6].i = s->books.book.used - 1;
        v[7].i = (int64_t)orders_stream_bytes(s);
        v[8].i = (int64_t)s->counts.rows;
        v[9].i = (int64_t)s->counts.unknown;
        v[10].i = (int64_t)s->counts.odd;
        v[11].i = (int64_t)s->counts.late;
        if (pst_rtp_host->add(r, out, v))
            return -1;
    }
    return 0;
}

static const struct pst_processor processor = {
    .name = "orders",
    .about = "ITCH order events to trade (prints) and bbo (best bid and offer)",
    .tables = inputs,
    .derived = orders_derived,
    .nderived = ORDERS_TABLES,
    .flags = PST_SESSIONS,
    .begin = begin,
    .frame = frame,
    .mark = mark,
};
static const struct pst_api api = {
    .name = "orders",
    .about = "What the processor orders holds: a row for each session",
    .columns = shown,
    .ncolumns = sizeof shown / sizeof *shown,
    .run = show,
};

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->processor(registry, &processor) || pst_rtp_host->api(registry, &api) ? -1
                                                                                              : 0;
}
