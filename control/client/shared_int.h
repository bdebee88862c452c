/* SPDX-License-Identifier: Apache-2.0 */
/* shared_int.h - what shared.c and shared_attach.c share. */
#pragma once

#include "client/client_int.h"
#include "core/record.h"
#include "core/ring.h"
#include "core/schema.h"
#include "core/symbols.h"
#include "cursor.h"

struct wanted { /* symbols by id: two bits each, as they are met */
    uint8_t *known;
    uint32_t room;
};

struct shared {
    struct pst_subscription s;
    char *path, *tables, *syms;
    bool attached;
    struct ring ring;
    struct symbols symbols;
    struct io *io;
    struct cursor cursor;
    char dir[2][CURSOR_PATH], prefix[64];
    struct table *table[TABLE_MAX]; /* by id; of tables that are not wanted: NULL and `asked` */
    uint8_t asked[TABLE_MAX / 8];
    struct wanted wanted;
    struct pst_rows rows;
    bool told_live;
    /* in place */
    uint64_t place_at; /* of the frame given; UINT64_MAX: none */
    uint64_t resume;   /* behind it */
    int64_t looked;
    char text[600];
};

/* Maps the ring and symbols, opens the cursor (which stands anywhere). */
bool shared_attach(struct shared *s, struct err *err);
void shared_detach(struct shared *s);
