/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a recipe that describe a feed: files that its decoders read. */
#include <ctype.h>
#include "load/recipe_parts.h"

bool recipe_take_feed(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->feed, sizeof x->r->feed);
}

bool recipe_take_session(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->session, sizeof x->r->session);
}

bool recipe_take_decoder(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->decoder, sizeof x->r->decoder);
}

bool recipe_take_framing(struct recipe_reading *x, const char *name, const json_t *v)
{
    return recipe_text(x, name, v, x->r->framing, sizeof x->r->framing);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool recipe_take_framing_bytes(struct recipe_reading *x, const char *name, const json_t *v)
{
    const char *s = json_string_value(v);
    size_t n = s ? strlen(s) : 0;
    if (!n || n % 2 || n > 1u << 16)
        return recipe_wrong(x, name, "must be an even number of hexadecimal digits");
    free(x->r->framing_bytes);
    x->r->framing_bytes = malloc(n / 2);
    if (!x->r->framing_bytes)
        return recipe_no_memory(x->err);
    x->r->nframing = n / 2;
    for (size_t i = 0; i < n / 2; i++) {
        int a = hex(s[2 * i]), b = hex(s[2 * i + 1]);
        if (a < 0 || b < 0)
            return recipe_wrong(x, name, "must be hexadecimal digits");
        x->r->framing_bytes[i] = (uint8_t)(a << 4 | b);
    }
    return true;
}

static bool address(const char *s, size_t n, uint32_t *out)
{
    uint32_t v = 0;
    unsigned part = 0, digits = 0, number = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && s[i] >= '0' && s[i] <= '9' && digits < 3) {
            number = number * 10 + (unsigned)(s[i] - '0');
            digits++;
        } else if ((i == n || s[i] == '.') && digits && number < 256 && part < 4) {
            v = v << 8 | number;
            part++;
            digits = number = 0;
        } else
            return false;
    }
    *out = v;
    return part == 4;
}

static bool one_group(struct recipe_reading *x, const char *name, const json_t *v,
                      struct load_group *g)
{
    const char *key;
    json_t *e;
    bool has_group = false;
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        const char *s = json_string_value(e), *colon = s ? strrchr(s, ':') : NULL;
        if (!strcmp(key, "group") && s && !strcmp(s, "any"))
            has_group = true;
        else if (!strcmp(key, "group") && colon && address(s, (size_t)(colon - s), &g->group)) {
            char *end;
            unsigned long port = strtoul(colon + 1, &end, 10);
            if (!port || port > 65535 || *end || !isdigit((unsigned char)colon[1]))
                return recipe_wrong(x, name, "%s has no port of 1 to 65535", s);
            g->port = (uint16_t)port;
            has_group = true;
        } else if (!strcmp(key, "source") && s && address(s, strlen(s), &g->source))
            ;
        else if (!strcmp(key, "line")) {
            if (!recipe_text(x, name, e, g->line, sizeof g->line))
                return false;
        } else
            return recipe_wrong(
                x, name,
                "%s is wrong; an entry is {group: ADDRESS:PORT or any, source: ADDRESS, "
                "line: NAME}",
                key);
    }
    return has_group || recipe_wrong(x, name, "an entry has no group");
}

bool recipe_take_groups(struct recipe_reading *x, const char *name, const json_t *v)
{
    size_t i;
    json_t *e;
    if (!json_array_size(v) || json_array_size(v) > LOAD_GROUPS)
        return recipe_wrong(x, name, "must list 1 to %u groups", LOAD_GROUPS);
    x->r->group = calloc(json_array_size(v), sizeof *x->r->group);
    if (!x->r->group)
        return recipe_no_memory(x->err);
    json_array_foreach(v, i, e)
    {
        if (!json_is_object(e))
            return recipe_wrong(x, name, "each must be a mapping");
        if (!one_group(x, name, e, &x->r->group[i]))
            return false;
        x->r->ngroups++;
    }
    return true;
}
