/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_hostile.c - a real-time plugin that breaks every promise. The analytic `hostile` (how, size)
 * is well until the first row of `trade` comes; the function `hostile.now` (how) does it at once,
 * the processor hostile.rows as the option `how` says, at each row whose n is a multiple of the
 * option `each`. What goes out past the host is written to its socket as bytes.
 */
#include <penstock/analytic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "rtp/rtp_wire.h"

#define H      pst_rtp_host
#define SOCKET 3 /* helper_wire.h */

static struct pst_result *out;
static int64_t uids, position;
static volatile int *volatile nowhere = (volatile int *)8;
static struct {
    int64_t uid;
    char how[32];
    int64_t size;
    uint64_t wire;
} sub[256];
static uint64_t wire, wires; /* its id on the socket: the host numbers its subscriptions */

static void packet_of(uint32_t magic, uint16_t version, uint16_t type, uint64_t id, uint64_t value,
                      const void *body, uint32_t length, uint32_t says)
{
    struct wire_header h = {magic, version, type, 0, says, id, value};
    struct iovec v[2] = {{&h, sizeof h}, {(void *)body, length}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = length ? 2 : 1};
    while (sendmsg(SOCKET, &m, MSG_NOSIGNAL) < 0 && (errno == EAGAIN || errno == EINTR))
        ;
}
static void packet(uint16_t type, uint64_t id, uint64_t value, const void *body, uint32_t length)
{
    packet_of(RTP_WIRE_MAGIC, RTP_WIRE_VERSION, type, id, value, body, length, length);
}
static void part(uint16_t type, uint64_t id, uint64_t value, const void *body, uint32_t length,
                 uint32_t total, uint32_t at, uint32_t rows)
{
    static uint8_t b[WIRE_INLINE];
    struct rtp_part p = {total, at, rows, 0};
    memcpy(b, &p, sizeof p);
    memcpy(b + sizeof p, body, length);
    packet(type, id, value, b, length + (uint32_t)sizeof p);
}

static void row(struct pst_rtp *r, const char *text, uint32_t len)
{
    struct pst_value v[3] = {{.type = PST_SYMBOL, .text = {"bad", 3}},
                             {.type = PST_LONG, .i = 1},
                             {.type = PST_STRING, .text = {text, len}}};
    H->add(r, out, v);
}

/* true: it was a known way; most do not come back */
static bool behave(struct pst_rtp *r, const char *how, int64_t uid, int64_t size)
{
    static uint8_t rubbish[40000];
    for (uint32_t i = 0; i < sizeof rubbish; i++)
        rubbish[i] = (uint8_t)(i * 2654435761u >> 13);
    if (!strcmp(how, "well")) {
        row(r, "", 0);
        H->publish(r, uid, out);
    } else if (!strcmp(how, "crash")) {
        *nowhere = 1;
    } else if (!strcmp(how, "abort")) {
        abort();
    } else if (!strcmp(how, "exit")) {
        _exit(0);
    } else if (!strcmp(how, "stack")) {
        volatile char deep[1 << 20];
        memset((void *)deep, 1, sizeof deep);
        behave(r, how, uid + deep[7], size);
    } else if (!strcmp(how, "loop")) {
        for (volatile unsigned i = 0;; i++)
            ;
    } else if (!strcmp(how, "leak")) {
        for (;;) {
            char *p = malloc(1 << 20);
            if (!p)
                return true; /* the limit: the call goes on without it, the memory stays */
            memset(p, 1, 1 << 20);
        }
    } else if (!strcmp(how, "fork")) {
        if (syscall(57) < 0) /* fork */
            _exit(1);
    } else if (!strcmp(how, "close")) {
        close(SOCKET);
        for (volatile unsigned i = 0;; i++)
            ;
    } else if (!strcmp(how, "wild")) { /* over everything that can be written */
        for (uintptr_t p = (uintptr_t)&out;; p += 8)
            *(volatile uint64_t *)p = 0x6666666666666666;
    } else if (!strcmp(how, "magic")) {
        packet_of(0x12345678, 1, RTP_WIRE_UPDATE, wire, 1, rubbish, 100, 100);
    } else if (!strcmp(how, "length")) {
        packet_of(RTP_WIRE_MAGIC, RTP_WIRE_VERSION, RTP_WIRE_UPDATE, wire, 1, rubbish, 100,
                  0x7fffffff);
    } else if (!strcmp(how, "type")) {
        packet(RTP_WIRE_START, 1, 1, rubbish, 8);
    } else if (!strcmp(how, "notable")) { /* bytes that are no table */
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 1000, 1000, 0, 3);
    } else if (!strcmp(how, "atom")) {
        static const uint8_t atom[9] = {0xf9, 1, 0, 0, 0, 0, 0, 0, 0};
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, atom, 9, 9, 0, 1);
    } else if (!strcmp(how, "deep")) { /* lists in lists in lists */
        for (uint32_t i = 0; i + 6 <= sizeof rubbish; i += 6)
            memcpy(rubbish + i, "\0\0\1\0\0\0", 6);
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 36000, 36000, 0, 1);
    } else if (!strcmp(how, "huge")) { /* the first part of more than there may be */
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 1000, 0xfffffff0u, 0, 1);
    } else if (!strcmp(how, "hole")) { /* parts that do not meet */
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 1000, 3000, 0, 1);
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 1000, 3000, 2000, 1);
    } else if (!strcmp(how, "half")) { /* a whole that never ends, and other things in it */
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, rubbish, 1000, 3000, 0, 1);
        packet(RTP_WIRE_BEAT, 1, 1, rubbish, sizeof(struct rtp_beat));
    } else if (!strcmp(how, "back")) { /* positions that go back */
        row(r, "", 0);
        H->publish(r, uid, out);
        static const uint8_t empty[] = {
            98, 0, 99, 11, 0, 3, 0,  0, 0, 's', 'y', 'm', 0,   'n', 0,  't', 'e', 'x', 't', 0,
            0,  0, 3,  0,  0, 0, 11, 0, 1, 0,   0,   0,   'x', 0,   7,  0,   1,   0,   0,   0,
            1,  0, 0,  0,  0, 0, 0,  0, 0, 0,   1,   0,   0,   0,   10, 0,   0,   0,   0,   0};
        part(RTP_WIRE_UPDATE, wire, 1, empty, sizeof empty, sizeof empty, 0, 1);
    } else if (!strcmp(how, "columns")) { /* a table, but not the one that was announced */
        static const uint8_t other[] = {98, 0, 99, 11, 0, 1, 0, 0, 0, 'z', 0, 0, 0, 1, 0, 0,
                                        0,  7, 0,  1,  0, 0, 0, 1, 0, 0,   0, 0, 0, 0, 0};
        part(RTP_WIRE_UPDATE, wire, (uint64_t)position, other, sizeof other, sizeof other, 0, 1);
    } else if (!strcmp(how, "stranger")) { /* for a stream that there is not */
        for (uint64_t i = 0; i < 100; i++)
            part(RTP_WIRE_UPDATE, 1000000 + i, (uint64_t)position, rubbish, 10, 10, 0, 1);
    } else if (!strcmp(how, "ready")) {
        static const char json[] = "{\"plugins\":[{}],\"analytics\":7}";
        part(RTP_WIRE_READY, 0, 0, json, sizeof json - 1, sizeof json - 1, 0, 0);
    } else if (!strcmp(how, "subscribed")) {
        static const char json[] = "{\"columns\":[[\"x\",\"nosuchtype\"]],\"key\":[\"y\"]}";
        packet(RTP_WIRE_SUBSCRIBED, 0x7fffffff, 5, json, sizeof json - 1);
    } else if (!strcmp(how, "called")) {
        part(RTP_WIRE_CALLED, 1ull << 63 | 77, 1, rubbish, 10, 10, 0, 1);
        packet(RTP_WIRE_REFUSED, 3, 0, rubbish, 500);
        packet(RTP_WIRE_PLUGIN_DONE, 9, 0, rubbish, 500);
        packet(RTP_WIRE_CUT_DONE, 0, 0, NULL, 0);
    } else if (!strcmp(how, "cuts")) { /* more cuts than anybody needs */
        for (int i = 0; i < 5000; i++)
            packet(RTP_WIRE_CUT_WANTED, 0, (uint64_t)-1, NULL, 0);
    } else if (!strcmp(how, "rows")) { /* blocks of a group that has no processor */
        packet(RTP_WIRE_ROWS, 0, 1, rubbish, 8000);
    } else if (!strcmp(how, "logs")) {
        for (int i = 0; i < 2000; i++)
            packet(RTP_WIRE_LOG, 0, 0, rubbish, 500);
    } else if (!strcmp(how, "flood")) { /* as much as it can, for ever */
        static char text[20000];
        memset(text, 'x', sizeof text);
        for (int64_t i = 0; i < size; i++) {
            row(r, text, sizeof text);
            H->publish(r, uid, out);
        }
    } else if (!strcmp(how, "large")) { /* one result of `size` bytes */
        static char text[30000];
        memset(text, 'x', sizeof text);
        for (int64_t i = 0; i < size; i += (int64_t)sizeof text)
            row(r, text, sizeof text);
        H->publish(r, uid, out);
    } else {
        return false;
    }
    return true;
}

static void copy(char *to, const struct pst_text *t)
{
    uint32_t n = t->len < 31 ? t->len : 31;
    memcpy(to, t->at, n);
    to[n] = 0;
}

/* ---- the analytic ---- */

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    char how[32];
    (void)data;
    copy(how, &pst_map_get(map, "how")->value[0].text);
    if (!out)
        out = H->result(r, "hostile");
    position = (int64_t)H->position(r);
    for (int i = 0; i < 256; i++)
        if (!sub[i].uid) {
            sub[i].uid = !strcmp(how, "same") ? 4711 : 5000 + ++uids;
            strcpy(sub[i].how, how);
            sub[i].size = pst_map_get(map, "size")->value[0].i;
            if (!strncmp(how, "at_once_", 8))
                behave(r, how + 8, sub[i].uid, sub[i].size);
            sub[i].wire = strcmp(how, "same") ? ++wires : wires;
            return sub[i].uid;
        }
    return H->error(r, "there are 256 already");
}
static void unsubscribe(struct pst_rtp *r, int64_t uid, void *data)
{
    (void)r, (void)data;
    for (int i = 0; i < 256; i++)
        if (sub[i].uid == uid)
            sub[i].uid = 0;
}
static int snapshot(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    struct pst_value v[3] = {{.type = PST_SYMBOL, .text = {"state", 5}},
                             {.type = PST_LONG, .i = uid},
                             {.type = PST_STRING}};
    (void)data;
    for (int i = 0; i < 256; i++)
        if (sub[i].uid == uid && !strcmp(sub[i].how, "snapcrash"))
            behave(r, "crash", uid, 0);
    return H->add(r, to, v);
}
static void rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    (void)data;
    position = (int64_t)f->end;
    for (int i = 0; i < 256; i++)
        if (sub[i].uid && (wire = sub[i].wire))
            behave(r, sub[i].how, sub[i].uid, sub[i].size);
}

/* ---- the function ---- */

static int now(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    char how[32];
    struct pst_value v = {.type = PST_LONG, .i = 1};
    (void)data;
    copy(how, &pst_map_get(map, "how")->value[0].text);
    position = (int64_t)H->position(r);
    if (!out)
        out = H->result(r, "hostile");
    if (!behave(r, how, 1, 1000))
        return H->error(r, "what is %s?", how);
    return H->add(r, to, &v);
}

/* ---- the processor ---- */

static const struct pst_column echo_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"n", PST_LONG}};
static const struct pst_derived derived[] = {{"echo", echo_columns, 3, 0}};
static const struct pst_table *echo;
static uint64_t sent;

static int begin(struct pst_rtp *r, void *data)
{
    const char *how = H->option(r, "how");
    (void)data;
    echo = H->table(r, "echo");
    if (how && !strcmp(how, "begin"))
        return H->error(r, "it does not begin");
    return echo ? 0 : H->error(r, "there is no table echo");
}

/* A block of one row of the table `id`, for the points given. */
static void block(uint64_t number, uint16_t id, uint16_t bytes, uint64_t after, uint32_t after_row,
                  uint64_t to, uint32_t to_row)
{
    struct {
        struct {
            uint32_t bytes, records, texts, texts_bytes;
            uint64_t after, position;
            uint32_t after_row, row;
            uint16_t day, zero[3];
        } head;
        uint8_t record[24];
    } b = {{sizeof b, 1, 0, 0, after, to, after_row, to_row, 0, {0}}, {0}};
    uint32_t none = 0xffffffffu;
    memcpy(b.record, &id, 2);
    memcpy(b.record + 2, &bytes, 2);
    memcpy(b.record + 4, &none, 4);
    packet(RTP_WIRE_ROWS, 0, number, &b, sizeof b);
    sent = number;
}

static int frame(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_row x;
    const char *how = H->option(r, "how"), *each = H->option(r, "each");
    int64_t every = each ? atoll(each) : 1;
    (void)data;
    position = (int64_t)f->end;
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &x);) {
        int64_t n = pst_row_value(&x, (uint32_t)pst_table_find(x.table, "n")).i,
                time = pst_row_time(&x);
        uint32_t sym = pst_row_sym(&x);
        bool due = how && !f->replay && n % every == 0;
        if (due && !strcmp(how, "trade")) /* a table that it may not write */
            block(1 + sent, x.table->id, 24, 0, 0, f->end, 0);
        else if (due && !strcmp(how, "points")) /* a point that goes back */
            block(1 + sent, echo->id, 24, 1, 0, 8, 0);
        else if (due && !strcmp(how, "far")) /* a point that jumps */
            block(1 + sent, echo->id, 24, f->position, 0, UINT64_MAX - 7, 0);
        else if (due && !strcmp(how, "short")) /* a record that is too short */
            block(1 + sent, echo->id, 8, 0, 0, f->end, 0);
        else if (due && !strcmp(how, "error"))
            return H->error(r, "this row is not liked");
        else if (due && behave(r, how, 1, 100))
            continue;
        uint8_t *p = H->emit(r, echo);
        if (!p)
            return -1;
        memcpy(p + 4, &sym, 4);
        memcpy(p + 8, &time, 8);
        memcpy(p + echo->column[pst_table_find(echo, "n")].offset, &n, 8);
    }
    return 0;
}

static const char *const trade[] = {"trade", NULL};
static const struct pst_column columns[] = {
    {"sym", PST_SYMBOL}, {"n", PST_LONG}, {"text", PST_STRING}};
static const struct pst_column one[] = {{"done", PST_LONG}};
static const struct pst_parameter parameters[] = {{"how", PST_SYMBOL, "well", "what it does"},
                                                  {"size", PST_LONG, "0", "how much"}};
static const struct pst_analytic analytic = {.name = "hostile",
                                             .about = "Breaks promises.",
                                             .parameters = parameters,
                                             .nparameters = 2,
                                             .columns = columns,
                                             .ncolumns = 3,
                                             .tables = trade,
                                             .subscribe = subscribe,
                                             .unsubscribe = unsubscribe,
                                             .snapshot = snapshot};
static const struct pst_api api = {"hostile.now", "Breaks a promise.", parameters, 2, one, 1, now,
                                   NULL};
static const struct pst_processor processor = {.name = "hostile.rows",
                                               .about = "Breaks promises.",
                                               .tables = trade,
                                               .derived = derived,
                                               .nderived = 1,
                                               .begin = begin,
                                               .frame = frame};
static const struct pst_hooks hooks = {.size = sizeof hooks, .tables = trade, .rows = rows};

PST_RTP_PLUGIN("hostile", "1.0", "Breaks promises.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    return H->analytic(g, &analytic) || H->api(g, &api) || H->processor(g, &processor) ||
           H->hooks(g, &hooks);
}
