/* SPDX-License-Identifier: Apache-2.0 */
#include "wiring_framing.h"

#include <inttypes.h>

struct map {
    const struct config *c;
    const struct config_framing *f;
    struct framing *out;
    struct err *err;
    unsigned matches;
};

#define REFUSE(m, line, fmt, ...)                                                                  \
    return err_set((m)->err, -EINVAL, "%s:%d: framings.%s" fmt, (m)->c->file,                      \
                   (line) ? (line) : (m)->f->file_line, (m)->f->name, ##__VA_ARGS__)

static uint16_t body_of(const struct config_framing *f)
{
    return (uint16_t)(f->body < 0 ? f->header : f->body);
}

static bool number_width(int64_t w)
{
    return w == 1 || w == 2 || w == 3 || w == 4 || w == 6 || w == 8;
}

/* A field of the packet's header. */
static bool map_field(const struct map *m, const struct config_field *x, const char *key,
                      struct framing_field *out)
{
    if (x->in == CONFIG_IN_MESSAGE)
        REFUSE(m, x->file_line, ".%s: lies in the message; only seq, stream_key and conditions may",
               key);
    if (x->width && !number_width(x->width))
        REFUSE(m, x->file_line, ".%s: width %" PRId64 "; numbers have 1, 2, 3, 4, 6 or 8 bytes",
               key, x->width);
    *out = (struct framing_field){(uint16_t)x->at, (uint8_t)x->width};
    return true;
}

static bool map_fields(const struct map *m)
{
    const struct config_framing *f = m->f;
    struct framing *o = m->out;
    struct config_field seq = f->seq;
    o->per_message_seq = seq.in == CONFIG_IN_MESSAGE;
    seq.in = CONFIG_IN_PACKET; /* relative to the message, then */
    const struct config_field length = {f->length.file_line, f->length.at, f->length.width, 0};
    const struct config_field stamp = {f->send_time.file_line, f->send_time.at, f->send_time.width,
                                       0};
    if (!map_field(m, &seq, "seq", &o->seq) || !map_field(m, &f->count, "count", &o->count) ||
        !map_field(m, &length, "length", &o->length) ||
        !map_field(m, &stamp, "send_time", &o->send_time) ||
        !map_field(m, &f->offset, "offset", &o->offset))
        return false;
    if (f->length.includes == CONFIG_INCLUDES_PAYLOAD)
        o->length_adds = (int16_t)f->header;
    if (f->send_time.fraction_at >= 0 && f->send_time.width)
        o->send_fraction = (struct framing_field){(uint16_t)f->send_time.fraction_at, 4};
    o->counts_packets = f->counts == CONFIG_COUNTS_PACKETS;
    o->first_seq = (uint64_t)f->first_seq;
    return true;
}

static bool map_keys(const struct map *m)
{
    struct framing *o = m->out;
    if (m->f->stream_key.count > FRAMING_KEYS)
        REFUSE(m, m->f->stream_key.at[FRAMING_KEYS].file_line,
               ".stream_key: more than %u fields; leave some out", FRAMING_KEYS);
    for (uint32_t i = 0; i < m->f->stream_key.count; i++) {
        const struct config_stream_key *k = &m->f->stream_key.at[i];
        bool number = k->as == CONFIG_AS_NUMBER || (k->as == CONFIG_AS_AUTO && k->width <= 8);
        if (k->in == CONFIG_IN_MESSAGE && m->f->header)
            REFUSE(m, k->file_line,
                   ".stream_key: a field in the message needs a framing with header: 0");
        if (number && !number_width(k->width))
            REFUSE(m, k->file_line,
                   ".stream_key: a number of %" PRId64
                   " bytes; numbers have 1, 2, 3, 4, 6 or 8: give as: text or as: hex",
                   k->width);
        o->key[o->nkeys++] = (struct framing_key){.offset = (uint16_t)k->at,
                                                  .width = (uint8_t)k->width,
                                                  .kind = number                   ? KEY_NUMBER
                                                          : k->as == CONFIG_AS_HEX ? KEY_HEX
                                                                                   : KEY_TEXT,
                                                  .session = k->session};
    }
    return true;
}

static bool map_messages(const struct map *m)
{
    const struct config_message *x = &m->f->message;
    const struct config_message_length *l = &x->length;
    struct framing *o = m->out;
    if (!l->width) {
        o->messages = MESSAGES_OPAQUE;
        if (o->per_message_seq)
            REFUSE(m, x->file_line, ".message.length: is needed for a seq in the message");
        return true;
    }
    if (!number_width(l->width))
        REFUSE(m, l->file_line, ".message.length: width %" PRId64 "; give 1, 2, 3 or 4", l->width);
    o->messages = MESSAGES_LENGTH;
    o->mlen = (struct framing_field){(uint16_t)l->at, (uint8_t)l->width};
    o->mlen_adds = (int16_t)(l->add + (l->includes_self ? 0 : l->at + l->width));
    o->mlen_swapped = l->order != CONFIG_ORDER_SAME &&
                      (l->order == CONFIG_ORDER_LE) != (m->f->order == CONFIG_LE);
    o->skip = (uint16_t)(x->body >= 0 ? x->body : l->includes_self ? 0 : l->at + l->width);
    o->shortest = (uint16_t)x->header;
    o->tail = (uint8_t)m->f->padding;
    return true;
}

static uint64_t all_bits(int64_t width)
{
    return width >= 8 ? UINT64_MAX : (1ull << (8 * width)) - 1;
}

/* One list of conditions: alternatives of conditions that must all hold. */
static bool map_list(struct map *m, const struct config_match_list *list, const char *key,
                     enum framing_action action)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct config_match *x = &list->at[i];
        const struct config_framing *f = m->f;
        if (m->matches == FRAMING_MATCHES)
            REFUSE(m, x->file_line, ".%s: more than %u conditions in all; leave some out", key,
                   FRAMING_MATCHES);
        if (!number_width(x->width))
            REFUSE(m, x->file_line, ".%s: width %" PRId64 "; numbers have 1, 2, 3, 4, 6 or 8 bytes",
                   key, x->width);
        struct framing_match *t = &m->out->match[m->matches++];
        *t = (struct framing_match){.action = (uint8_t)action,
                                    .test = TEST_FIELD,
                                    .width = (uint8_t)x->width,
                                    .negate = x->negate,
                                    .offset = (uint16_t)x->at,
                                    .mask = x->mask & all_bits(x->width),
                                    .value = x->value};
        bool whole = t->mask == all_bits(x->width) && x->in == CONFIG_IN_PACKET;
        if (x->in == CONFIG_IN_MESSAGE)
            t->offset = (uint16_t)(t->offset + body_of(f));
        /* A count behind the header of idle packets reads as 0 there, but is no count. */
        else if (whole && f->count.width == x->width && f->count.at == x->at &&
                 x->at + x->width <= f->header)
            t->test = TEST_COUNT;
        else if (whole && f->seq.width == x->width && f->seq.at == x->at &&
                 f->seq.in == CONFIG_IN_PACKET)
            t->test = TEST_SEQ;
        t->more = i + 1 < list->count && !list->at[i + 1].or_else;
    }
    return true;
}

/* The first that fits decides: content outside the numbering before an idle packet, what is idle or
 * the end before what merely has messages. */
static bool map_matches(struct map *m)
{
    static const enum framing_action idle[] = {[CONFIG_HB_NEXT] = MATCH_HEARTBEAT,
                                               [CONFIG_HB_LAST] = MATCH_HEARTBEAT,
                                               [CONFIG_HB_OWN] = MATCH_IDLE,
                                               [CONFIG_HB_NONE] = MATCH_UNSEQUENCED};
    const struct config_framing *f = m->f;
    m->out->heartbeat = f->heartbeat_seq == CONFIG_HB_LAST ? HEARTBEAT_LAST : HEARTBEAT_NEXT;
    return map_list(m, &f->unsequenced, "unsequenced", MATCH_UNSEQUENCED) &&
           map_list(m, &f->heartbeat, "heartbeat", idle[f->heartbeat_seq]) &&
           map_list(m, &f->end_of_session, "end_of_session", MATCH_END) &&
           map_list(m, &f->reset, "reset", MATCH_RESET) &&
           map_list(m, &f->retransmitted, "retransmitted", MATCH_RETRANSMITTED) &&
           map_list(m, &f->data, "data", MATCH_DATA);
}

bool wiring_framing(const struct config *c, const struct config_framing *f, struct framing *out,
                    struct err *err)
{
    struct map m = {.c = c, .f = f, .out = out, .err = err};
    *out = (struct framing){.header = (uint16_t)f->header,
                            .messages_at = f->body < 0 ? 0 : (uint16_t)f->body,
                            .little = f->order == CONFIG_LE};
    snprintf(out->name, sizeof out->name, "%s", f->name);
    if (!map_fields(&m) || !map_keys(&m) || !map_messages(&m) || !map_matches(&m))
        return false;
    struct err why = {0};
    if (!framing_check(out, &why))
        return err_set(err, -EINVAL, "%s:%d: framings.%s: %s", c->file, f->file_line, f->name,
                       why.text);
    return true;
}
