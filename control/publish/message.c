/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "publish/message.h"
#include "storage/kdb_object.h"

static _Atomic uint64_t held;

struct message *message_new(size_t len)
{
    struct message *m = len > UINT32_MAX ? NULL : malloc(sizeof *m + len);
    if (!m)
        return NULL;
    *m = (struct message){.len = (uint32_t)len};
    atomic_init(&m->references, 1);
    atomic_fetch_add_explicit(&held, sizeof *m + len, memory_order_relaxed);
    return m;
}

struct message *message_copy(const void *data, size_t len, enum message_kind kind)
{
    struct message *m = message_new(len);
    if (m) {
        m->kind = (uint8_t)kind;
        memcpy(m->data, data, len);
    }
    return m;
}

struct message *message_made(struct kdb_out *o, bool made, enum message_kind kind)
{
    struct message *m = made ? message_copy(o->data, o->len, kind) : NULL;
    kdb_out_free(o);
    return m;
}

void message_release(struct message *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) /* M1 */
        return;
    atomic_fetch_sub_explicit(&held, sizeof *m + m->len, memory_order_relaxed);
    free(m);
}

uint64_t message_bytes(void)
{
    return load_relaxed(&held);
}
