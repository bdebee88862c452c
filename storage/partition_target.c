/* SPDX-License-Identifier: Apache-2.0 */
#include "partition.h"

bool wd_converts(uint8_t from, uint8_t to)
{
    if (from == to)
        return true;
    unsigned fw = 0, tw = 0;
    switch (from) {
    case PST_BOOLEAN:
        fw = 1;
        break;
    case PST_BYTE:
        fw = 1;
        break;
    case PST_SHORT:
        fw = 2;
        break;
    case PST_INT:
        fw = 3;
        break;
    case PST_REAL:
        return to == PST_FLOAT;
    default:
        return false;
    }
    tw = to == PST_SHORT ? 2 : to == PST_INT ? 3 : to == PST_LONG ? 4 : 0;
    return tw > fw;
}

static int find(const struct schema *s, const char *name)
{
    for (int i = 0; i < s->ncols; i++)
        if (!strcmp(s->col[i].name, name))
            return i;
    return -1;
}

/* Where values of (name, type) go: the column, or -1. */
static int home(const struct schema *s, const char *name, uint8_t type)
{
    int i = find(s, name);
    if (i >= 0 && wd_converts(type, s->col[i].type))
        return i;
    char other[2 * SCHEMA_NAME_MAX];
    if (i < 0)
        return -1;
    snprintf(other, sizeof other, "%s_%s", name, type_name(type));
    i = find(s, other);
    return i >= 0 && s->col[i].type == type ? i : -1;
}

bool wd_target_add(struct schema *target, const char *const *names, const uint8_t *types,
                   unsigned n, struct err *err)
{
    for (unsigned k = 0; k < n; k++) {
        if (home(target, names[k], types[k]) >= 0)
            continue;
        if (target->ncols == SCHEMA_COLUMNS_MAX)
            return err_set(err, -E2BIG,
                           "table %s has more than %u columns over its versions: column %s cannot "
                           "be added; write this day apart",
                           target->name, SCHEMA_COLUMNS_MAX, names[k]);
        struct column *c = &target->col[target->ncols];
        memset(c, 0, sizeof *c);
        char name[2 * SCHEMA_NAME_MAX];
        snprintf(name, sizeof name, find(target, names[k]) < 0 ? "%s" : "%s_%s", names[k],
                 type_name(types[k]));
        if (strlen(name) >= SCHEMA_NAME_MAX || find(target, name) >= 0)
            return err_set(err, -EEXIST,
                           "table %s: column %s changed its type and its old values cannot be kept "
                           "as column %s; rename the new column",
                           target->name, names[k], name);
        strcpy(c->name, name);
        c->type = types[k];
        target->ncols++;
    }
    return true;
}

void wd_target_bind(const struct schema *target, const char *const *names, const uint8_t *types,
                    unsigned n, int16_t from[SCHEMA_COLUMNS_MAX])
{
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        from[i] = -1;
    for (unsigned k = 0; k < n; k++) {
        int i = home(target, names[k], types[k]);
        if (i >= 0)
            from[i] = (int16_t)k;
    }
}

pst_inline int64_t narrow(uint8_t from, const void *values, uint32_t i)
{
    int32_t n;
    int16_t h;
    switch (from) {
    case PST_SHORT:
        h = ((const int16_t *)values)[i];
        return h == PST_NULL_SHORT ? PST_NULL_LONG : h;
    case PST_INT:
        n = ((const int32_t *)values)[i];
        return n == PST_NULL_INT ? PST_NULL_LONG : n;
    default:
        return ((const uint8_t *)values)[i];
    }
}

void wd_convert(uint8_t from, uint8_t to, const void *values, void *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (to == PST_FLOAT) {
            ((double *)out)[i] = ((const float *)values)[i];
            continue;
        }
        int64_t v = narrow(from, values, i);
        if (to == PST_LONG)
            ((int64_t *)out)[i] = v;
        else if (to == PST_INT)
            ((int32_t *)out)[i] = v == PST_NULL_LONG ? PST_NULL_INT : (int32_t)v;
        else
            ((int16_t *)out)[i] = v == PST_NULL_LONG ? PST_NULL_SHORT : (int16_t)v;
    }
}
