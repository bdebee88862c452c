/* SPDX-License-Identifier: Apache-2.0 */
#include "shown.h"

json_t *shown_json(const struct config *c)
{
    bool local = c->time_type == CONFIG_LOCAL;
    if (!local && !c->time_offset)
        return NULL;
    return json_pack("{s:s,s:I}", "zone", local ? c->calendar.zone : "UTC", "offset_ns",
                     (json_int_t)c->time_offset);
}

bool shown_zone(struct time_shown *s, const char *zone, struct err *err)
{
    shown_free(s);
    struct tzone *z = tzone_load(zone, err);
    s->zone = z;
    return z;
}

bool shown_from(struct time_shown *s, const json_t *shown, struct err *err)
{
    const char *zone = json_string_value(json_object_get(shown, "zone"));
    shown_free(s);
    s->offset = json_integer_value(json_object_get(shown, "offset_ns"));
    return !zone || (s->zone = tzone_load(zone, err));
}

void shown_free(struct time_shown *s)
{
    tzone_free((struct tzone *)s->zone);
    *s = (struct time_shown){0};
}
