/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of an event's mark (core/event.h): nothing is read outside it, and what is understood is
 * understood again when the appender repeats it. */
#include "core/event.h"
#include "dataplane/divert.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct event_mark m, again;
    static struct divert_event e;
    static char out[1 << 17];
    if (n > 60000)
        return 0;
    static struct guard g;
    if (!g.map)
        guard_open(&g, 65536);
    const char *text = (const char *)guard_copy(&g, data, n);
    if (event_json(&m, text, (uint32_t)n, 99)) {
        pst_must(m.facts < n && stream_is_buffer(m.stream));
        e.since = m.since ? m.since : 1;
        uint32_t len = divert_mark(&e, m.json, m.facts, "active", out, sizeof out);
        pst_must(len && event_json(&again, out, len, 0));
        pst_must(again.id == m.id && again.stream == m.stream && again.since == e.since &&
                 again.status == EVENT_ACTIVE);
    }
    return 0;
}
