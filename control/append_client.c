/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>
#include "append_client.h"
#include "core/civil.h"

#define BLOCK_TARGET                                                                               \
    (64u * 1024)        /* records of a block: a frame of the daemon's, still in its L2            \
                         */
#define SLOTS    65536u /* twice the texts that a block can have, of 2 bytes and more */
#define TEXT_MAX 256u   /* with its length byte */
#define AGAIN_NS 2000000

struct slot {
    uint32_t turn, id, at;
};

struct request {
    uint8_t *bytes;
    uint32_t len, blocks;
    uint64_t rows;
    enum ack_level level;
    struct source_point end;
};

struct append_build {
    struct request request[2];
    unsigned fill; /* the one being filled; the other may be under way */
    bool under_way;
    /* the block under construction */
    uint8_t *records, *texts;
    uint32_t records_len, texts_len, nrecords, ntexts, rows;
    uint16_t day;
    bool feed;
    uint8_t calendar;
    struct slot *slot;
    uint32_t turn;
    struct source_point from;
    /* the run */
    struct append_facts facts;
    uint64_t seq;                   /* of the next row */
    bool begun;                     /* some row of these facts was given */
    struct packet_record *head;     /* open in the block */
    bool mine;                      /* head is of `facts` */
    struct append_facts open_facts; /* of head */
    uint64_t open_next;             /* the sequence that goes on from head's rows */
    /* points */
    struct source_point cur, target;
    bool has_target,
        skipping; /* skipping: rows up to target are there already; else none may pass it */
    struct source_progress have;
    /* the row at hand */
    const struct schema *table;
    uint32_t row_bytes;
};

static const char *const levels[] = {"submitted", "written", "durable"};

/* ---- life ---- */

static bool build_new(struct append_client *a)
{
    struct append_build *b = calloc(1, sizeof *b);
    a->build = b;
    if (!b)
        return false;
    b->request[0].bytes = aligned_alloc(64, APPEND_MAX);
    b->request[1].bytes = aligned_alloc(64, APPEND_MAX);
    b->records = aligned_alloc(64, APPEND_BLOCK_BYTES);
    b->texts = malloc(APPEND_TEXTS_BYTES);
    b->slot = calloc(SLOTS, sizeof *b->slot);
    b->turn = 1;
    return b->request[0].bytes && b->request[1].bytes && b->records && b->texts && b->slot;
}

static struct source_point point_of(json_t *list, size_t i)
{
    return source_point((uint64_t)json_integer_value(json_array_get(list, i)),
                        (uint32_t)json_integer_value(json_array_get(list, i + 1)));
}

/* What is in the way next: an island that rows must not reach into. */
static void next_target(struct append_build *b)
{
    b->skipping = false;
    b->has_target = b->have.islands > 0;
    if (b->has_target)
        b->target = b->have.island[0].from;
}

static bool take_tables(struct append_client *a, json_t *tables, struct err *err)
{
    size_t i;
    json_t *t;
    json_array_foreach(tables, i, t)
    {
        struct schema s;
        json_t *text = json_object_get(t, "schema");
        int32_t day = 0;
        const char *open = json_string_value(json_object_get(t, "open"));
        if (!json_is_string(text) ||
            !schema_from_json(&s, json_string_value(text), json_string_length(text), err) ||
            !schema_set_add(a->schemas, &s, err))
            return false;
        if (!open || !civil_parse(open, &day))
            return err_set(err, -EPROTO, "the daemon's answer to append is not understood");
        a->open_day[s.id] = (uint16_t)day;
        a->calendar[s.id] = (uint8_t)json_integer_value(json_object_get(t, "calendar"));
    }
    return true;
}

/* The reply's result, or NULL with err; steals reply. */
static json_t *result_of(json_t *reply, struct err *err)
{
    json_t *result = json_incref(json_object_get(reply, "result"));
    if (!json_is_true(json_object_get(reply, "ok")) || !result) {
        const char *text = json_string_value(json_object_get(reply, "error"));
        int code = (int)json_integer_value(json_object_get(reply, "code"));
        err_set(err, code ? code : -EPROTO, "%s", text ? text : "no result");
        json_decref(result);
        result = NULL;
    }
    json_decref(reply);
    return result;
}

bool append_open(struct append_client *a, const char *socket, const char *source, struct err *err)
{
    memset(a, 0, sizeof *a);
    a->conn.fd = -1;
    if (source && !source_name(source, strlen(source)))
        return err_set(err, -EINVAL, "a source's name has 1 to %u letters, digits and . _ - : / @",
                       SOURCE_NAME_MAX);
    snprintf(a->source, sizeof a->source, "%s", source ? source : "");
    a->schemas = schema_set_new();
    if (!a->schemas || !build_new(a)) {
        append_close(a);
        return err_set(err, -ENOMEM, "append: no memory");
    }
    json_t *reply = NULL, *r = NULL;
    if (client_open(&a->conn, socket, err)) {
        client_patience(&a->conn, 0);
        json_t *o = json_object();
        if (source)
            json_object_set_new(o, "source", json_string(source));
        reply = client_call(&a->conn, "append", json_pack("[o]", o), err);
    }
    if (reply)
        r = result_of(reply, err);
    if (!r || !take_tables(a, json_object_get(r, "tables"), err)) {
        json_decref(r);
        append_close(a);
        return false;
    }
    struct append_build *b = a->build;
    size_t i;
    json_t *x;
    a->at = source_point((uint64_t)json_integer_value(json_object_get(r, "position")),
                         (uint32_t)json_integer_value(json_object_get(r, "row")));
    const char *instance = json_string_value(json_object_get(r, "instance"));
    snprintf(a->instance, sizeof a->instance, "%s", instance ? instance : "");
    a->dates = json_is_true(json_object_get(r, "dates"));
    json_array_foreach(json_object_get(r, "derived"), i, x)
    {
        const char *name = json_string_value(x);
        const struct schema *s = name ? schema_set_find(a->schemas, name) : NULL;
        a->derives |= s != NULL;
        if (s)
            a->derived[s->id] = true;
    }
    json_array_foreach(json_object_get(r, "have"), i, x) if (i < SOURCE_ISLANDS)
    {
        b->have.island[b->have.islands++] = (struct source_range){point_of(x, 0), point_of(x, 2)};
    }
    json_decref(r);
    b->from = b->cur = source_point(a->at.position, 0);
    next_target(b);
    if (a->at.row) {
        b->target = b->from = a->at;
        b->has_target = b->skipping = true;
    }
    return true;
}

void append_close(struct append_client *a)
{
    struct append_build *b = a->build;
    client_close_conn(&a->conn);
    schema_set_free(a->schemas);
    a->schemas = NULL;
    if (!b)
        return;
    free(b->request[0].bytes);
    free(b->request[1].bytes);
    free(b->records);
    free(b->texts);
    free(b->slot);
    free(b);
    a->build = NULL;
}

const struct schema *append_table(const struct append_client *a, const char *name)
{
    return schema_set_find(a->schemas, name);
}

/* ---- requests ---- */

static bool post(struct append_client *a, struct request *q)
{
    json_t *o = json_pack("{s:i,s:s}", "bytes", (int)q->len, "level", levels[q->level]);
    if (*a->source)
        json_object_set_new(o, "source", json_string(a->source));
    struct err why;
    if (client_send(&a->conn, "append", json_pack("[o]", o), q->bytes, q->len, &why))
        return true;
    /* It may have said why before it closed the connection. */
    json_t *reply = client_receive(&a->conn, "append", &a->err);
    if (reply)
        json_decref(result_of(reply, &a->err));
    return false;
}

/* The answer to the request that is under way. */
static bool settle(struct append_client *a)
{
    struct append_build *b = a->build;
    struct request *q = &b->request[!b->fill];
    while (b->under_way) {
        json_t *reply = client_receive(&a->conn, "append", &a->err);
        json_t *r = reply ? result_of(reply, &a->err) : NULL;
        if (!r && a->err.code == -EAGAIN) {
            nanosleep(&(struct timespec){0, AGAIN_NS}, NULL);
            a->err.code = 0;
            if (!post(a, q))
                return false;
            continue;
        }
        if (!r)
            return false;
        a->rows += q->rows;
        a->requests++;
        a->bytes += q->len;
        a->late += (uint64_t)json_integer_value(json_object_get(r, "late"));
        a->position = (uint64_t)json_integer_value(json_object_get(r, "position"));
        json_decref(r);
        if (*a->source)
            a->at = q->end;
        q->len = q->blocks = 0;
        q->rows = 0;
        b->under_way = false;
    }
    return true;
}

/* What is filled goes; the other buffer becomes the one to fill. */
static bool dispatch(struct append_client *a, enum ack_level level)
{
    struct append_build *b = a->build;
    if (!settle(a))
        return false;
    struct request *q = &b->request[b->fill];
    if (!q->len)
        return true;
    q->level = level;
    if (!post(a, q))
        return false;
    b->under_way = true;
    b->fill = !b->fill;
    return true;
}

/* ---- the block ---- */

static void close_run(struct append_build *b)
{
    struct packet_record *h = b->head;
    if (!h)
        return;
    h->run_bytes = (uint32_t)(b->records + b->records_len - (uint8_t *)(h + 1));
    if (h->flags & RUN_UNSEQUENCED)
        h->seqs = 0;
    else if (!(h->flags & RUN_PACKET_SEQ))
        h->seqs = h->rows;
    b->head = NULL;
    b->mine = false;
}

static bool seal(struct append_client *a)
{
    struct append_build *b = a->build;
    bool moved = *a->source && source_cmp(b->cur, b->from) > 0 && !b->skipping;
    close_run(b);
    if (!b->rows && !moved)
        return true;
    uint32_t texts = b->nrecords ? (uint32_t)pst_align8(b->texts_len) : 0;
    uint32_t bytes = (uint32_t)sizeof(struct append_block) + texts + b->records_len;
    struct request *q = &b->request[b->fill];
    if (q->len + bytes > APPEND_MAX || q->blocks == APPEND_BLOCKS) {
        if (!dispatch(a, a->level))
            return false;
        q = &b->request[b->fill];
    }
    struct append_block head = {.bytes = bytes,
                                .records = b->nrecords,
                                .texts = texts ? b->ntexts : 0,
                                .texts_bytes = texts,
                                .day = a->dates ? b->day : 0};
    if (*a->source) {
        head.flags = a->as_logged ? APPEND_AS_LOGGED : 0;
        head.after = b->from.position;
        head.after_row = b->from.row;
        head.position = b->cur.position;
        head.row = b->cur.row;
    }
    uint8_t *p = q->bytes + q->len;
    memset(b->texts + b->texts_len, 0, pst_align8(b->texts_len) - b->texts_len);
    memcpy(p, &head, sizeof head);
    memcpy(p + sizeof head, b->texts, texts);
    memcpy(p + sizeof head + texts, b->records, b->records_len);
    q->len += bytes;
    q->blocks++;
    q->rows += b->rows;
    q->end = b->from = b->cur;
    b->records_len = b->texts_len = b->nrecords = b->ntexts = b->rows = 0;
    b->turn++;
    return true;
}

bool append_begin(struct append_client *a, const struct schema *table, uint32_t bytes,
                  uint32_t symbols, uint16_t day)
{
    struct append_build *b = a->build;
    if (a->err.code)
        return false;
    pst_must(bytes <= RECORD_MAX);
    b->table = table;
    b->row_bytes = bytes;
    if (b->skipping)
        return true;
    uint32_t need = bytes + (uint32_t)sizeof(struct packet_record);
    uint32_t texts = (symbols + 3) * TEXT_MAX;
    uint8_t calendar = a->calendar[table->id];
    if (b->rows &&
        (b->day != day || b->feed != table->feed || b->calendar != calendar ||
         b->records_len + need > BLOCK_TARGET || b->texts_len + texts > APPEND_TEXTS_BYTES - 8) &&
        !seal(a))
        return false;
    if (!b->rows && b->texts_len + texts > APPEND_TEXTS_BYTES - 8) { /* of rows that never came */
        b->texts_len = b->ntexts = 0;
        b->turn++;
    }
    b->day = day;
    b->feed = table->feed;
    b->calendar = calendar;
    return true;
}

uint32_t append_symbol(struct append_client *a, const char *text, uint32_t len)
{
    struct append_build *b = a->build;
    if (!len || b->skipping)
        return PST_NULL_SYMBOL;
    pst_must(len < TEXT_MAX);
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    for (uint32_t i = h ^ h >> 15;; i++) {
        struct slot *s = &b->slot[i % SLOTS];
        if (s->turn != b->turn) {
            pst_must(b->texts_len + 1 + len <= APPEND_TEXTS_BYTES - 8);
            *s = (struct slot){b->turn, b->ntexts++, b->texts_len};
            b->texts[b->texts_len] = (uint8_t)len;
            memcpy(b->texts + b->texts_len + 1, text, len);
            b->texts_len += 1 + len;
            return s->id;
        }
        if (b->texts[s->at] == len && !memcmp(b->texts + s->at + 1, text, len))
            return s->id;
    }
}

/* ---- runs ---- */

void append_run(struct append_client *a, const struct append_facts *facts)
{
    a->build->facts = *facts;
    a->build->seq = facts->seq;
    a->build->begun = a->build->mine = false;
}

static bool goes_on(const struct append_build *b)
{
    const struct append_facts *x = &b->open_facts, *y = &b->facts;
    if (b->head && b->mine)
        return true;
    if (!b->head || x->flags != y->flags || x->rxtime != y->rxtime || x->quality != y->quality ||
        x->feed.len != y->feed.len || x->session.len != y->session.len ||
        x->line.len != y->line.len || memcmp(x->feed.text, y->feed.text, y->feed.len) ||
        memcmp(x->session.text, y->session.text, y->session.len) ||
        memcmp(x->line.text, y->line.text, y->line.len))
        return false;
    return !(y->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)) && b->open_next == b->seq;
}

static void open_run(struct append_client *a)
{
    struct append_build *b = a->build;
    const struct append_facts *f = &b->facts;
    close_run(b);
    struct packet_record *h = (struct packet_record *)(b->records + b->records_len);
    *h =
        (struct packet_record){.table = TABLE_PACKET,
                               .bytes = sizeof *h,
                               .sym = PST_NULL_SYMBOL,
                               .rxtime = f->rxtime,
                               .seq = f->flags & RUN_UNSEQUENCED ? (uint64_t)PST_NULL_LONG : b->seq,
                               .feed = append_symbol(a, f->feed.text, f->feed.len),
                               .session = append_symbol(a, f->session.text, f->session.len),
                               .line = append_symbol(a, f->line.text, f->line.len),
                               .flags = f->flags,
                               .seqs = b->begun ? 0 : f->seqs, /* of a packet: its first part */
                               .quality = f->quality};
    b->records_len += (uint32_t)sizeof *h;
    b->nrecords++;
    b->head = h;
    b->open_facts = *f;
    b->mine = true;
}

/* A row of the run was given, to be sent or passed over. */
static void run_went_on(struct append_build *b)
{
    b->seq += !(b->facts.flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED));
    b->begun = true;
}

/* ---- points ---- */

/* cur has moved: has it come to what is in the way? */
static bool arrived(struct append_client *a)
{
    struct append_build *b = a->build;
    while (b->has_target && source_cmp(b->cur, b->target) >= 0) {
        if (b->skipping) {
            if (b->have.islands && !source_cmp(b->target, b->have.island[0].to)) {
                b->have.islands--;
                memmove(b->have.island, b->have.island + 1,
                        b->have.islands * sizeof b->have.island[0]);
            }
            b->from = b->target;
            next_target(b);
        } else { /* what follows the island is another request's */
            if (!seal(a) || !dispatch(a, a->level))
                return false;
            b->skipping = true;
            b->target = b->have.island[0].to;
        }
    }
    return true;
}

bool append_row(struct append_client *a, const struct record *record)
{
    struct append_build *b = a->build;
    if (a->err.code)
        return false;
    bool feed = b->table->feed;
    if (b->skipping) {
        a->passed_over++;
    } else {
        pst_must(record->bytes <= b->row_bytes && record->bytes % 8 == 0);
        if (feed && !goes_on(b))
            open_run(a);
        b->mine = feed;
        memcpy(b->records + b->records_len, record, record->bytes);
        b->records_len += record->bytes;
        b->nrecords++;
        b->rows++;
        if (feed)
            b->head->rows++;
    }
    if (feed)
        run_went_on(b);
    b->open_next = b->seq;
    b->cur.row++;
    return arrived(a);
}

bool append_point(struct append_client *a, uint64_t position)
{
    struct append_build *b = a->build;
    if (a->err.code)
        return false;
    if (!*a->source || position <= b->cur.position)
        return true;
    /* On the way to a point within this input rows are counted from its beginning. */
    if (b->has_target && b->cur.position == b->target.position && b->cur.row < b->target.row)
        return true;
    if (b->has_target && b->cur.position < b->target.position && position > b->target.position)
        return err_set(&a->err, -ESTALE,
                       "source %s had a point at position %llu that it does not come to now: its "
                       "input or filters have changed",
                       a->source, (unsigned long long)b->target.position);
    b->cur = source_point(position, 0);
    return arrived(a);
}

bool append_flush(struct append_client *a, enum ack_level level)
{
    return !a->err.code && seal(a) && dispatch(a, level) && settle(a);
}
