/* SPDX-License-Identifier: Apache-2.0 */
#include "descriptor.h"
#include "framing_code.h"

static void header_generic(const struct framing *f, const uint8_t *p, uint32_t len,
                           struct packet_view *v)
{
    framing_header_inline(f, p, len, v);
}
static bool walk_generic(const struct framing *f, struct packet_view *v, uint16_t *at)
{
    return framing_walk_inline(f, v, at);
}
const struct framing_code framing_code_generic = {header_generic, walk_generic};

enum packet_kind framing_parse(const struct framing *f, const uint8_t *payload, uint32_t len,
                               struct packet_view *out, uint16_t *at)
{
    const struct framing_code *c = framing_code(f);
    c->header(f, payload, len, out);
    if (out->kind == PACKET_DATA || out->kind == PACKET_UNSEQUENCED)
        c->walk(f, out, at);
    return out->kind;
}

uint32_t framing_run(const struct framing *f, const struct packet_view *whole, const uint16_t *at,
                     uint32_t i, struct packet_view *run)
{
    const uint8_t *p = whole->first;
    *run = *whole;
    run->first = p + at[i];
    run->seq = framing_load(run->first + f->seq.offset, f->seq.width, f->little);
    uint64_t want = run->seq;
    uint32_t j = i + 1;
    while (j < whole->count && ++want &&
           framing_load(p + at[j] + f->seq.offset, f->seq.width, f->little) == want)
        j++;
    run->count = run->seqs = j - i;
    run->bytes = (uint32_t)(at[j] - at[i]);
    return j;
}

unsigned framing_key_bytes(const struct framing *f)
{
    unsigned n = 0;
    for (unsigned i = 0; i < f->nkeys; i++)
        n += f->key[i].width;
    return n;
}

static uint32_t put_text(char *text, uint32_t at, uint32_t cap, const uint8_t *p, unsigned width)
{
    while (width && (p[width - 1] == ' ' || p[width - 1] == 0))
        width--;
    while (width && *p == ' ') {
        p++;
        width--;
    }
    for (; width; p++, width--) {
        bool plain = *p > 0x20 && *p < 0x7f && !strchr("%\"\\:#", *p);
        if (at + (plain ? 1 : 3) >= cap)
            break;
        if (plain)
            text[at++] = (char)*p;
        else
            at += (uint32_t)snprintf(text + at, cap - at, "%%%02X", *p);
    }
    return at;
}

static uint32_t key_text(const struct framing *f, const uint64_t *key, char *text, uint32_t cap,
                         bool session_too)
{
    const uint8_t *p = (const uint8_t *)key;
    uint32_t at = 0;
    for (unsigned i = 0; i < f->nkeys; p += f->key[i].width, i++) {
        const struct framing_key *k = &f->key[i];
        if (k->session && !session_too)
            continue;
        char piece[2 * FRAMING_KEY_MAX + 2];
        uint32_t n = 0;
        if (k->kind == KEY_TEXT)
            n = put_text(piece, 0, sizeof piece, p, k->width);
        else if (k->kind == KEY_NUMBER)
            n = (uint32_t)snprintf(piece, sizeof piece, "%llu",
                                   (unsigned long long)framing_load(p, k->width, f->little));
        else
            for (unsigned b = 0; b < k->width; b++)
                n += (uint32_t)snprintf(piece + n, sizeof piece - n, "%02x", p[b]);
        if (at && at + 1 < cap)
            text[at++] = ':';
        uint32_t room = cap - 1 - at;
        n = n < room ? n : room;
        memcpy(text + at, piece, n);
        at += n;
    }
    if (!at && cap > 1)
        text[at++] = '-';
    text[at] = 0;
    return at;
}

uint32_t framing_key_text(const struct framing *f, const uint64_t *key, char *text, uint32_t cap)
{
    return key_text(f, key, text, cap, true);
}

uint32_t framing_channel_text(const struct framing *f, const uint64_t *key, char *text,
                              uint32_t cap)
{
    return key_text(f, key, text, cap, false);
}

static const char *const reason_names[] = {
#define X(ID, name, sentence) name,
    FRAMING_REASONS(X)
#undef X
};
static const char *const reason_sentences[] = {
#define X(ID, name, sentence) sentence,
    FRAMING_REASONS(X)
#undef X
};
const char *framing_reason_name(enum framing_reason r)
{
    return r < FRAMING_REASON_COUNT ? reason_names[r] : "?";
}
const char *framing_reason_sentence(enum framing_reason r)
{
    return r < FRAMING_REASON_COUNT ? reason_sentences[r] : "?";
}

/* ---- framing_check ------------------------------------------------------------------------- */

static bool width_ok(unsigned w)
{
    return w == 1 || w == 2 || w == 3 || w == 4 || w == 6 || w == 8;
}

static bool field_check(const struct framing *f, struct framing_field x, const char *name,
                        bool needed, uint32_t end, struct err *err)
{
    if (!x.width)
        return needed ? err_set(err, -EINVAL, "framing %s: `%s` is missing; give offset and width",
                                f->name, name)
                      : true;
    if (!width_ok(x.width))
        return err_set(err, -EINVAL, "framing %s: `%s` is %u bytes wide; use 1, 2, 3, 4, 6 or 8",
                       f->name, name, x.width);
    if (end && (uint32_t)x.offset + x.width > end)
        return err_set(err, -EINVAL,
                       "framing %s: `%s` at %u:%u lies beyond the %u bytes of the header; correct "
                       "its offset or `header`",
                       f->name, name, x.offset, x.width, end);
    return true;
}

static bool keys_check(const struct framing *f, struct err *err)
{
    if (f->nkeys > FRAMING_KEYS)
        return err_set(err, -EINVAL, "framing %s: more than %u pieces of the stream key", f->name,
                       FRAMING_KEYS);
    for (unsigned i = 0; i < f->nkeys; i++) {
        const struct framing_key *k = &f->key[i];
        if (k->width == 0 || (k->kind == KEY_NUMBER && !width_ok(k->width)) || k->kind > KEY_HEX)
            return err_set(err, -EINVAL,
                           "framing %s: stream key piece %u has a width or kind that cannot be; "
                           "numbers are 1, 2, 3, 4, 6 or 8 bytes wide",
                           f->name, i + 1);
        if (f->header && (uint32_t)k->offset + k->width > f->header)
            return err_set(err, -EINVAL,
                           "framing %s: stream key piece %u lies beyond the header of %u bytes",
                           f->name, i + 1, f->header);
    }
    if (framing_key_bytes(f) > FRAMING_KEY_MAX)
        return err_set(err, -EINVAL, "framing %s: the stream key is longer than %u bytes", f->name,
                       FRAMING_KEY_MAX);
    return true;
}

static bool matches_check(const struct framing *f, struct err *err)
{
    for (unsigned i = 0; i < FRAMING_MATCHES && f->match[i].action; i++) {
        const struct framing_match *m = &f->match[i];
        if (m->action > MATCH_DATA || m->test > TEST_SEQ)
            return err_set(err, -EINVAL, "framing %s: matcher %u is of no known kind", f->name,
                           i + 1);
        if (m->test == TEST_FIELD && !width_ok(m->width))
            return err_set(err, -EINVAL,
                           "framing %s: matcher %u looks at %u bytes; use 1, 2, 3, 4, 6 or 8",
                           f->name, i + 1, m->width);
        if (m->test == TEST_FIELD && (m->value & ~m->mask))
            return err_set(err, -EINVAL,
                           "framing %s: matcher %u can never match: its value has bits outside "
                           "its mask",
                           f->name, i + 1);
        if (m->more && (i + 1 == FRAMING_MATCHES || m[1].action != m->action))
            return err_set(err, -EINVAL,
                           "framing %s: matcher %u wants another of its kind behind it", f->name,
                           i + 1);
        if (m->test == TEST_COUNT && !f->count.width)
            return err_set(err, -EINVAL,
                           "framing %s: matcher %u tests the count, but the header has none",
                           f->name, i + 1);
    }
    return true;
}

bool framing_check(const struct framing *f, struct err *err)
{
    if (!f->name[0] || !memchr(f->name, 0, sizeof f->name))
        return err_set(err, -EINVAL, "framing: it needs a name of 1 to %zu letters",
                       sizeof f->name - 1);
    if (!f->header && !f->per_message_seq)
        return err_set(err, -EINVAL, "framing %s: `header` is 0; give the packet header's bytes",
                       f->name);
    uint32_t body = framing_body(f);
    if (body < f->header)
        return err_set(err, -EINVAL, "framing %s: messages start within the header", f->name);
    uint32_t end = f->header ? f->header : 0;
    if (!field_check(f, f->seq, "sequence", true, f->per_message_seq ? 0 : end, err) ||
        !field_check(f, f->count, "count", false, f->header ? body : 0, err) ||
        !field_check(f, f->length, "length", false, end, err) ||
        !field_check(f, f->send_time, "send_time", false, end, err) ||
        !field_check(f, f->send_fraction, "send_time fraction", false, end, err) ||
        !field_check(f, f->offset, "offset", false, end, err) ||
        !field_check(f, f->mlen, "message length", f->messages == MESSAGES_LENGTH, 0, err))
        return false;
    if (!f->header && (f->count.width || f->length.width || f->send_time.width || f->offset.width))
        return err_set(err, -EINVAL,
                       "framing %s: there is no packet header, so count, length, send_time and "
                       "offset cannot lie in it",
                       f->name);
    if (f->send_fraction.width > 4)
        return err_set(err, -EINVAL, "framing %s: a send_time fraction of more than 4 bytes",
                       f->name);
    if (f->messages > MESSAGES_OPAQUE || f->heartbeat > HEARTBEAT_NONE)
        return err_set(err, -EINVAL, "framing %s: unknown kind of message framing or heartbeat",
                       f->name);
    if (f->per_message_seq && (f->messages != MESSAGES_LENGTH || f->counts_packets))
        return err_set(err, -EINVAL,
                       "framing %s: a sequence in each message needs a message length and counts "
                       "messages",
                       f->name);
    if (f->seq.width < 8 && f->first_seq >> (8 * f->seq.width))
        return err_set(err, -EINVAL,
                       "framing %s: the first sequence does not fit the sequence's %u bytes",
                       f->name, f->seq.width);
    if (f->mlen.offset > 256 || f->skip > 256)
        return err_set(err, -EINVAL, "framing %s: a message prefix of more than 256 bytes",
                       f->name);
    if (!f->counts_packets && f->messages == MESSAGES_OPAQUE && !f->count.width)
        return err_set(err, -EINVAL,
                       "framing %s: messages without lengths are counted by nobody; give `count`, "
                       "or say that the sequence counts packets",
                       f->name);
    if (f->tail && !f->count.width)
        return err_set(
            err, -EINVAL,
            "framing %s: bytes behind the last message need a `count` that tells which is "
            "the last",
            f->name);
    return keys_check(f, err) && matches_check(f, err);
}
