/* SPDX-License-Identifier: Apache-2.0 */
#include "query_wire.h"

static const struct wire_kind kinds[WIRE_TYPE_END] = {
#define X(ID, sender, most, fewest_fds, most_fds)                                                  \
    [WIRE_##ID] = {sender, most, fewest_fds, most_fds},
    WIRE_TYPES(X)
#undef X
};

const struct wire_protocol query_wire = {"penstock-query", WIRE_MAGIC, WIRE_VERSION, WIRE_TYPE_END,
                                         kinds};
