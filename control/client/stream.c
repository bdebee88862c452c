/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streaming analytics. The daemon sends each stream's state, then exactly what follows
 * (.sa.snap, .sa.upd); a connection that was lost begins anew with a state, so nothing has to be
 * counted here. Messages that come while a call waits for its answer are kept as copies, and given
 * by pst_stream_next in their order.
 */
#include <errno.h>
#include "client/client_int.h"
#include "kdb/ask.h"
#include "kdb/request.h"

#define RETRY_NS   (1 * NS_PER_S)
#define GIVE_UP_NS (60 * NS_PER_S)
#define KEPT_BYTES (64u << 20) /* of messages while a call waits: beyond it the call fails */

enum stream_state { STREAM_NEW, STREAM_ASKED, STREAM_OPEN, STREAM_OVER, STREAM_CLOSED };

struct pst_stream {
    struct pst_stream *next;
    pst_client *c;
    enum stream_state state;
    bool given; /* the user has it: pst_stream_open returned it */
    int64_t id; /* of this connection */
    /* behind a reconnection it was refused: asked again, until then */
    int64_t retry_at, give_up_at;
    unsigned keys; /* columns of the key */
    char *name, mode[8];
    uint8_t *ask; /* the whole request */
    size_t ask_len;
    int code;
    char error[600];
};

struct asked { /* what the answers that are to come are about, in order */
    struct asked *next;
    struct pst_stream *s; /* NULL: of one that is gone */
};
struct kept {
    struct kept *next;
    size_t len;
    uint8_t bytes[];
};

struct client_streams {
    struct pst_stream *first;
    struct asked *asked, **asked_last;
    struct kept *kept, **kept_last;
    size_t kept_bytes;
    struct kept *shown; /* the one whose rows the user looks at */
    struct pst_rows rows;
    struct kdb_request request;
    bool lost, back;
    char text[600], what[64];
};

/* ---- memory ---- */

static void stream_free(struct pst_stream *s)
{
    free(s->name);
    free(s->ask);
    free(s);
}

static void drop_kept(struct client_streams *f)
{
    while (f->kept) {
        struct kept *next = f->kept->next;
        free(f->kept);
        f->kept = next;
    }
    f->kept_last = &f->kept;
    f->kept_bytes = 0;
}
static void drop_asked(struct client_streams *f)
{
    while (f->asked) {
        struct asked *next = f->asked->next;
        free(f->asked);
        f->asked = next;
    }
    f->asked_last = &f->asked;
}

void streams_free(struct client_streams *f)
{
    if (!f)
        return;
    drop_kept(f);
    drop_asked(f);
    free(f->shown);
    rows_clear(&f->rows);
    while (f->first) {
        struct pst_stream *next = f->first->next;
        stream_free(f->first);
        f->first = next;
    }
    free(f);
}

void streams_lost(struct pst_client *c, const char *why)
{
    struct client_streams *f = c->streams;
    if (!f)
        return;
    drop_kept(f); /* the states that come again hold it */
    drop_asked(f);
    f->lost = true;
    snprintf(f->text, sizeof f->text, "%s", why);
    for (struct pst_stream *s = f->first; s; s = s->next)
        if (s->state == STREAM_ASKED || s->state == STREAM_OPEN) {
            s->state = STREAM_NEW;
            s->id = PST_NULL_LONG;
        }
}

static struct client_streams *streams_of(pst_client *c)
{
    if (c->streams)
        return c->streams;
    if (c->role != ROLE_NONE) {
        client_fail(c, -EBUSY, "this client is a %s already: open another for streams",
                    c->role == ROLE_PUBLISHER ? "publisher" : "subscriber");
        return NULL;
    }
    struct client_streams *f = calloc(1, sizeof *f);
    if (!f) {
        client_fail(c, -ENOMEM, "no memory for streams");
        return NULL;
    }
    f->kept_last = &f->kept;
    f->asked_last = &f->asked;
    c->role = ROLE_SUBSCRIBER;
    return c->streams = f;
}

/* ---- asking ---- */

static int expect(pst_client *c, struct pst_stream *s)
{
    struct asked *a = calloc(1, sizeof *a);
    if (!a)
        return client_fail(c, -ENOMEM, "no memory for a request");
    a->s = s;
    *c->streams->asked_last = a;
    c->streams->asked_last = &a->next;
    return 0;
}

/* Those that this connection does not have yet. */
static int ask(pst_client *c)
{
    for (struct pst_stream *s = c->streams->first; s; s = s->next) {
        if (s->state != STREAM_NEW || (s->retry_at && clock_monotonic() < s->retry_at))
            continue;
        uint8_t *copy = malloc(s->ask_len);
        if (!copy)
            return client_fail(c, -ENOMEM, "no memory for a request");
        memcpy(copy, s->ask, s->ask_len);
        int r = expect(c, s);
        if (r) {
            free(copy);
            return r;
        }
        s->state = STREAM_ASKED;
        r = link_queue(c, copy, s->ask_len, 0);
        if (r)
            return r;
    }
    return 0;
}

/* ---- answers ---- */

static void opened(struct pst_stream *s, const struct kdb_object *o)
{
    struct kdb_object v;
    uint32_t len;
    int64_t now = clock_monotonic();
    if (o->type == KDB_ERROR && s->given && (!s->retry_at || now < s->give_up_at)) {
        if (!s->retry_at)
            s->give_up_at = now + GIVE_UP_NS;
        s->retry_at = now + RETRY_NS;
        s->state = STREAM_NEW;
        return;
    }
    s->retry_at = 0;
    if (o->type == KDB_ERROR) {
        s->state = STREAM_OVER;
        s->code = -EREMOTEIO;
        snprintf(s->error, sizeof s->error, "%.590s", kdb_object_text(o, &len));
        return;
    }
    if (!kdb_dict_value(o, "id", &v) || v.type != -PST_LONG) {
        s->state = STREAM_OVER;
        s->code = -EPROTO;
        snprintf(s->error, sizeof s->error, "the answer of .sa.sub has no id");
        return;
    }
    s->id = kdb_object_long(&v, 0);
    s->state = STREAM_OPEN;
    if (kdb_dict_value(o, "key", &v) && v.type == PST_SYMBOL)
        s->keys = v.count;
    const char *mode = kdb_dict_value(o, "mode", &v) ? kdb_object_text(&v, &len) : NULL;
    if (mode)
        snprintf(s->mode, sizeof s->mode, "%.*s", len < 7 ? (int)len : 7, mode);
}

static void remove_stream(struct client_streams *f, struct pst_stream *s)
{
    for (struct pst_stream **p = &f->first; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    for (struct asked *a = f->asked; a; a = a->next)
        if (a->s == s)
            a->s = NULL;
    stream_free(s);
}

static int answered(pst_client *c, const struct kdb_object *o)
{
    struct client_streams *f = c->streams;
    struct asked *a = f->asked;
    if (!c->pending_count || !a) {
        link_down(c, -EPROTO, "an answer that nobody asked for");
        return -EPROTO;
    }
    struct pending *p = link_pending(c, 0);
    c->queued -= p->len;
    free(p->bytes);
    c->pending_head = (c->pending_head + 1) & (c->pending_room - 1);
    c->pending_count--;
    c->sent -= c->sent > 0;
    f->asked = a->next;
    if (!f->asked)
        f->asked_last = &f->asked;
    if (a->s && a->s->state == STREAM_ASKED)
        opened(a->s, o);
    else if (a->s && a->s->state == STREAM_CLOSED)
        a->s->code = 0;
    free(a);
    return 0;
}

/* ---- messages ---- */

static struct pst_stream *by_id(const struct client_streams *f, int64_t id)
{
    struct pst_stream *s = f->first;
    while (s && (s->state != STREAM_OPEN || s->id != id))
        s = s->next;
    return s;
}

static void put_text(char *to, size_t room, const struct kdb_text *t)
{
    snprintf(to, room, "%.*s", (int)(t->len < room ? t->len : room - 1), t->text ? t->text : "");
}

/* 1: an event. 0: nothing of ours. */
static int message(pst_client *c, const struct kdb_object *o, struct pst_stream_event *e)
{
    struct client_streams *f = c->streams;
    struct kdb_request *r = &f->request;
    struct err err = {0};
    enum kdb_call call = kdb_request_read(o, r);
    struct pst_stream *s = by_id(f, r->stream.id);
    if (call != KDB_CALL_SA_STATE && call != KDB_CALL_SA_UPDATE && call != KDB_CALL_SA_NOTICE)
        return 0;
    if (!s)
        return 0; /* of one that was closed meanwhile */
    e->stream = s;
    e->position = r->position;
    if (call == KDB_CALL_SA_NOTICE) {
        put_text(f->what, sizeof f->what, &r->function);
        put_text(f->text, sizeof f->text, &r->text);
        e->kind = !strcmp(f->what, "stopped") ? PST_STREAM_ENDED : PST_STREAM_NOTICE;
        e->what = f->what;
        e->text = f->text;
        if (e->kind == PST_STREAM_ENDED)
            s->state = STREAM_OVER;
        return 1;
    }
    if (!rows_of_table(&f->rows, &c->tables, s->name, (uint32_t)strlen(s->name), &r->data, &err)) {
        link_down(c, -EPROTO, err.text);
        return -EPROTO;
    }
    e->kind = call == KDB_CALL_SA_STATE  ? PST_STREAM_STATE
              : !strcmp(s->mode, "full") ? PST_STREAM_STATE
                                         : PST_STREAM_UPDATE;
    e->rows = &f->rows;
    c->position = r->position;
    return 1;
}

static int keep(pst_client *c, const struct kdb_object *o)
{
    struct client_streams *f = c->streams;
    size_t len = (size_t)(kdb_object_end(o) - o->at);
    if (f->kept_bytes + len > KEPT_BYTES)
        return client_fail(c, -ENOBUFS,
                           "%u bytes of messages came before the answer: take them "
                           "with pst_stream_next",
                           KEPT_BYTES);
    struct kept *k = malloc(sizeof *k + len);
    if (!k)
        return client_fail(c, -ENOMEM, "no memory for a message");
    k->next = NULL;
    k->len = len;
    memcpy(k->bytes, o->at, len);
    *f->kept_last = k;
    f->kept_last = &k->next;
    f->kept_bytes += len;
    return 0;
}

/* A stream that ended without a notice: its subscription was refused behind a reconnection. */
static bool over(struct client_streams *f, struct pst_stream_event *e)
{
    for (struct pst_stream *s = f->first; s; s = s->next)
        if (s->given && s->state == STREAM_OVER && s->code) {
            s->code = 0;
            e->kind = PST_STREAM_ENDED;
            e->stream = s;
            e->what = "refused";
            snprintf(f->text, sizeof f->text, "%s", s->error);
            e->text = f->text;
            return true;
        }
    return false;
}

/* e NULL: only answers are of interest, the rest is kept. 1: an event. 0: nothing is here. */
static int produce(pst_client *c, struct pst_stream_event *e)
{
    struct client_streams *f = c->streams;
    struct kdb_event m;
    int r = 0;
    if (e && f->lost) {
        f->lost = false;
        f->back = true;
        e->kind = PST_STREAM_DISCONNECTED;
        e->text = f->text;
        return 1;
    }
    if (e && f->back && c->state == LINK_UP) {
        f->back = false;
        e->kind = PST_STREAM_CONNECTED;
        return 1;
    }
    if (e && over(f, e))
        return 1;
    while (e && f->kept && !r) {
        struct kdb_object o;
        free(f->shown);
        f->shown = f->kept;
        f->kept = f->shown->next;
        if (!f->kept)
            f->kept_last = &f->kept;
        f->kept_bytes -= f->shown->len;
        kdb_object_view(&o, f->shown->bytes, KDB_LITTLE);
        r = message(c, &o, e);
    }
    while (!r && c->state == LINK_UP && !(e && f->lost)) {
        if ((r = ask(c)))
            return r;
        switch (kdb_session_next(&c->session, &m)) {
        case KDB_EVENT_MESSAGE:
            r = m.message.kind == KDB_RESPONSE ? answered(c, &m.message.object)
                : e                            ? message(c, &m.message.object, e)
                                               : keep(c, &m.message.object);
            if (!r && e && over(f, e))
                r = 1;
            if (!e && m.message.kind == KDB_RESPONSE)
                return r;
            break;
        case KDB_EVENT_HOSTILE:
            link_down(c, -EPROTO, m.why);
            break;
        default:
            return 0;
        }
    }
    return r;
}

/* ---- requests as bytes ---- */

static void put_params(struct kdb_out *o, const char *const *params, unsigned n)
{
    kdb_out_dict(o, false);
    size_t opened = kdb_out_open(o, PST_SYMBOL, 0);
    for (unsigned i = 0; i < n; i++) {
        kdb_out_bytes(o, params[i], strcspn(params[i], "="));
        kdb_out_bytes(o, "", 1);
    }
    kdb_out_close(o, opened, n);
    kdb_out_list(o, n);
    for (unsigned i = 0; i < n; i++)
        kdb_ask_text(o, strchr(params[i], '=') + 1);
}

static void put_options(struct kdb_out *o, const struct pst_stream_options *s)
{
    static const char *const policies[] = {"default", "disconnect", "resync", "resync", "resync"};
    static const char *const keys[] = {"texts", "policy", "mode", "group"};
    uint32_t n = 2 + (s->full || s->group) + (s->group != NULL);
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, n);
    kdb_out_list(o, n);
    kdb_ask_flag(o, true);
    kdb_ask_word(o, policies[s->policy]);
    if (n > 2)
        kdb_ask_word(o, s->full ? "full" : "");
    if (n > 3)
        kdb_ask_word(o, s->group);
}

static struct pst_stream *stream_new(pst_client *c, const struct pst_stream_options *o)
{
    struct kdb_out out = {0};
    struct pst_stream *s = calloc(1, sizeof *s);
    size_t begun = kdb_ask(&out, ".sa.sub", 3);
    kdb_ask_word(&out, o->name);
    put_params(&out, o->params, o->nparams);
    put_options(&out, o);
    bool made = kdb_frame_end(&out, begun);
    if (s)
        *s = (struct pst_stream){.c = c,
                                 .name = strdup(o->name),
                                 .id = PST_NULL_LONG,
                                 .ask = out.data,
                                 .ask_len = out.len};
    if (!s || !made || !s->name) {
        if (s)
            stream_free(s);
        else
            kdb_out_free(&out);
        client_fail(c, -ENOMEM, "no memory for a stream");
        return NULL;
    }
    return s;
}

/* ---- pst_ ---- */

/* Until an answer has changed its state. */
static int wait_for(pst_client *c, const struct pst_stream *s, enum stream_state while_in,
                    int64_t until)
{
    for (bool last = false;;) {
        int r = produce(c, NULL);
        if (r < 0)
            return r;
        if (s->state != while_in && s->state != STREAM_NEW)
            return 0;
        if (last)
            return client_fail(c, -ETIMEDOUT, "no answer in time");
        r = link_step(c, until);
        if (r)
            return r;
        last = clock_monotonic() >= until;
    }
}

int pst_stream_open(pst_client *c, const struct pst_stream_options *given, pst_stream **out,
                    int timeout_ms)
{
    struct pst_stream_options o = {0};
    int64_t until = deadline_of(timeout_ms);
    *out = NULL;
    if (given->size < offsetof(struct pst_stream_options, group))
        return client_fail(c, -EINVAL, "size is not set: begin with PST_STREAM_OPTIONS_INIT");
    memcpy(&o, given, given->size < sizeof o ? given->size : sizeof o);
    if (!o.name || !*o.name || o.policy > PST_POLICY_SKIP)
        return client_fail(c, -EINVAL,
                           "name is missing, or policy has a value that it does not take");
    for (unsigned i = 0; i < o.nparams; i++)
        if (!o.params[i] || !strchr(o.params[i], '='))
            return client_fail(c, -EINVAL, "a parameter is written key=value, not %s",
                               o.params[i] ? o.params[i] : "NULL");
    struct client_streams *f = streams_of(c);
    struct pst_stream *s = f ? stream_new(c, &o) : NULL;
    if (!s)
        return f ? -ENOMEM : -EBUSY;
    struct pst_stream **end = &f->first;
    while (*end)
        end = &(*end)->next;
    *end = s;
    int r = wait_for(c, s, STREAM_ASKED, until);
    if (!r && s->state == STREAM_OVER)
        r = client_fail(c, s->code ? s->code : -EREMOTEIO, "%s", s->error);
    if (r) {
        if (s->state == STREAM_ASKED && c->state == LINK_UP)
            link_down(c, r, c->error); /* what it would answer later belongs to nobody */
        remove_stream(f, s);
        return r;
    }
    s->given = true;
    *out = s;
    return 0;
}

/* When a stream is asked for again. */
static int64_t retry_before(const struct client_streams *f, int64_t until)
{
    for (const struct pst_stream *s = f->first; s; s = s->next)
        if (s->state == STREAM_NEW && s->retry_at && s->retry_at < until)
            until = s->retry_at;
    return until;
}

int pst_stream_next(pst_client *c, struct pst_stream_event *e, int timeout_ms)
{
    int64_t until = deadline_of(timeout_ms);
    if (!c->streams)
        return client_fail(c, -EBUSY, "pst_stream_open first");
    for (bool last = false;;) {
        memset(e, 0, sizeof *e);
        e->text = e->what = "";
        int r = produce(c, e);
        if (r || last)
            return r;
        r = link_step(c, retry_before(c->streams, until));
        if (r)
            return r;
        last = clock_monotonic() >= until;
    }
}

int pst_stream_close(pst_stream *s)
{
    pst_client *c = s->c;
    struct client_streams *f = c->streams;
    struct kdb_out o = {0};
    int r = 0;
    if (s->state == STREAM_OPEN && c->state == LINK_UP) {
        size_t begun = kdb_ask(&o, ".sa.unsub", 1);
        kdb_out_long(&o, s->id);
        if (!kdb_frame_end(&o, begun))
            kdb_out_free(&o);
        else if (!(r = expect(c, NULL)))
            r = link_queue(c, o.data, o.len, 0);
    } else if (s->state == STREAM_ASKED && c->state == LINK_UP) {
        link_down(c, -ECONNABORTED, "a stream was closed before it was open");
    }
    remove_stream(f, s);
    return r;
}

const char *pst_stream_name(const pst_stream *s)
{
    return s->name;
}
unsigned pst_stream_keys(const pst_stream *s)
{
    return s->keys;
}
const char *pst_stream_mode(const pst_stream *s)
{
    return s->mode;
}
