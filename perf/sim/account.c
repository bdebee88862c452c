/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "account.h"
#include "truth.h"

bool account_open(struct account *a, uint32_t streams, uint32_t groups, uint32_t names,
                  const char *truth_path, struct err *e)
{
    *a = (struct account){.groups = groups, .names = names, .stream_n = streams};
    a->streams = calloc(streams, sizeof *a->streams);
    if (!a->streams)
        return err_set(e, -ENOMEM, "no memory for %u streams", streams);
    if (!truth_path)
        return true;
    a->truth = fopen(truth_path, "wbe");
    if (!a->truth)
        return err_set(e, -errno, "cannot create %s: %s", truth_path, strerror(errno));
    setvbuf(a->truth, NULL, _IOFBF, 1 << 20);
    a->truth_failed = fwrite(TRUTH_MAGIC, 1, TRUTH_MAGIC_LEN, a->truth) != TRUTH_MAGIC_LEN;
    return true;
}

void account_session_begin(struct account *a, uint32_t stream, const char *key, uint32_t epoch,
                           uint64_t first)
{
    struct account_session *s = calloc(1, sizeof *s);
    pst_must(s);
    s->names = calloc(a->names + 1, sizeof *s->names);
    a->sessions = realloc(a->sessions, (a->session_n + 1) * sizeof *a->sessions);
    pst_must(s->names && a->sessions);
    s->stream = stream;
    s->epoch = epoch;
    s->first = s->next = first;
    snprintf(s->key, sizeof s->key, "%s", key);
    a->sessions[a->session_n++] = s;
    struct account_stream *t = &a->streams[stream];
    t->session = s;
    t->released = first;
    for (uint32_t g = 0; g < a->groups; g++)
        t->spans[g].head = t->spans[g].n = 0;
    t->pending_len = 0;
}

static uint32_t session_index(const struct account *a, const struct account_session *s)
{
    for (uint32_t i = a->session_n; i-- > 0;)
        if (a->sessions[i] == s)
            return i;
    return 0;
}

static void record(uint8_t *p, uint32_t session, uint64_t seq, const struct flow_msg *m,
                   uint32_t lines, int64_t utc)
{
    put32(p, session);
    put32(p + 4, m->len);
    put64(p + 8, seq);
    put64(p + 16, (uint64_t)utc);
    put32(p + 24, lines);
    put32(p + 28, 0);
}

static void count(struct account *a, struct account_session *s, uint64_t seq,
                  const struct flow_msg *m)
{
    a->messages++;
    s->messages++;
    s->bytes += m->len;
    s->types[m->type]++;
    s->names[m->name]++;
    s->checksum += truth_hash(seq, m->bytes, m->len);
}

void account_message(struct account *a, uint32_t stream, uint64_t seq, const struct flow_msg *m)
{
    struct account_stream *t = &a->streams[stream];
    count(a, t->session, seq, m);
    t->session->next = seq + 1;
    if (pst_likely(!a->truth))
        return;
    size_t need = TRUTH_HEAD + m->len;
    if (t->pending_len + need > t->pending_cap) {
        t->pending_cap = t->pending_cap ? t->pending_cap * 2 : 1 << 16;
        t->pending = realloc(t->pending, t->pending_cap);
        pst_must(t->pending);
    }
    record(t->pending + t->pending_len, session_index(a, t->session), seq, m, 0, 0);
    memcpy(t->pending + t->pending_len + TRUTH_HEAD, m->bytes, m->len);
    t->pending_len += need;
}

void account_message_out(struct account *a, uint32_t stream, uint64_t seq, const struct flow_msg *m,
                         uint32_t lines, int64_t utc)
{
    struct account_session *s = a->streams[stream].session;
    count(a, s, seq, m);
    s->unsequenced++;
    if (a->truth) {
        uint8_t head[TRUTH_HEAD];
        record(head, session_index(a, s), seq, m, lines, utc);
        a->truth_failed |= fwrite(head, 1, sizeof head, a->truth) != sizeof head ||
                           fwrite(m->bytes, 1, m->len, a->truth) != m->len;
    }
}

/* Sequences up to `last` have left on `lines`: their records go out. Returns the bytes taken. */
static size_t release(struct account *a, struct account_stream *t, size_t from,
                      const struct account_span *s)
{
    size_t at = from;
    while (at < t->pending_len) {
        uint8_t *p = t->pending + at;
        if (le64(p + 8) > s->last)
            break;
        put64(p + 16, (uint64_t)s->utc);
        put32(p + 24, s->lines);
        put32(p + 28, s->flags);
        at += TRUTH_HEAD + le32(p + 4);
    }
    size_t n = at - from;
    a->truth_failed |= fwrite(t->pending + from, 1, n, a->truth) != n;
    return n;
}

static void span_push(struct span_list *l, const struct account_span *s)
{
    if (l->head == l->n)
        l->head = l->n = 0;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->s = realloc(l->s, l->cap * sizeof *l->s);
        pst_must(l->s);
    }
    l->s[l->n++] = *s;
}

void account_span(struct account *a, uint32_t stream, uint32_t group, const struct account_span *s)
{
    struct account_stream *t = &a->streams[stream];
    size_t taken = 0;
    span_push(&t->spans[group], s);
    for (;;) {
        struct account_span out = {.first = t->released, .last = UINT64_MAX, .utc = INT64_MAX};
        for (uint32_t g = 0; g < a->groups; g++) {
            struct span_list *l = &t->spans[g];
            if (l->head == l->n)
                goto done; /* this group has not come so far */
            struct account_span *h = &l->s[l->head];
            out.last = h->last < out.last ? h->last : out.last;
            out.utc = h->utc < out.utc ? h->utc : out.utc;
            out.lines |= h->lines;
            out.flags |= h->flags;
        }
        if (a->groups > 1)
            out.flags |= TRUTH_REPACKED;
        if (out.lines == 0)
            ranges_add(&t->session->lost, out.first, out.last);
        if (a->truth)
            taken += release(a, t, taken, &out);
        t->released = out.last + 1;
        for (uint32_t g = 0; g < a->groups; g++) {
            struct span_list *l = &t->spans[g];
            if (l->s[l->head].last <= out.last)
                l->head++;
        }
    }
done:
    if (taken) {
        t->pending_len -= taken;
        memmove(t->pending, t->pending + taken, t->pending_len);
    }
}

bool account_close(struct account *a, struct err *e)
{
    bool ok = true;
    if (a->truth) {
        bool failed = a->truth_failed;
        if (fclose(a->truth) != 0 || failed)
            ok = err_set(e, -EIO, "the truth file is incomplete: %s", strerror(errno));
        a->truth = NULL;
    }
    for (uint32_t i = 0; i < a->session_n; i++) {
        struct account_session *s = a->sessions[i];
        for (uint32_t l = 0; l < SIM_LINES; l++)
            free(s->line[l].dropped.r), free(s->line[l].corrupt.r), free(s->line[l].divergent.r);
        free(s->lost.r), free(s->names), free(s);
    }
    for (uint32_t i = 0; i < a->stream_n; i++) {
        for (uint32_t g = 0; g < SIM_GROUPS; g++)
            free(a->streams[i].spans[g].s);
        free(a->streams[i].pending);
    }
    free(a->sessions), free(a->streams);
    *a = (struct account){0};
    return ok;
}
