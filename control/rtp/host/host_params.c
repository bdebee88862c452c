/* SPDX-License-Identifier: Apache-2.0 */
/* A canonical dictionary of parameters (rtp_params.h) as what a plugin sees. */
#include <errno.h>
#include "host.h"

void host_params_free(struct host_params *p)
{
    free(p->value);
    free(p->text);
}

static struct pst_value one(const struct kdb_object *o, uint8_t type, uint32_t i)
{
    struct pst_value v = {.type = type};
    if (type == PST_GUID)
        kdb_object_copy(o, i, 1, v.guid);
    else if (type == PST_REAL || type == PST_FLOAT)
        v.f = kdb_object_double(o, i);
    else
        v.i = kdb_object_long(o, i);
    return v;
}

/* Texts lie in the ask's body, which stays while the plugin looks at them. */
static struct pst_value text(uint8_t type, const char *at, uint32_t len)
{
    struct pst_value v = {.type = type};
    v.text = (struct pst_text){len ? at : "", len};
    return v;
}

/* How many values; -1: it is not of the declared type. */
static int64_t count_of(const struct kdb_object *o, const struct pst_parameter *d)
{
    int type = (int)(d->type & ~PST_LIST);
    bool list = d->type & PST_LIST;
    if (type == PST_STRING)
        return list ? (o->type == KDB_LIST ? (int64_t)o->count : -1)
                    : (o->type == PST_CHAR ? 1 : -1);
    if (list)
        return o->type == type ? (int64_t)o->count : -1;
    return o->type == -type ? 1 : -1;
}

static bool strings(const struct kdb_object *o, struct pst_value *to)
{
    struct kdb_items i;
    for (bool more = kdb_items(o, &i); more; more = kdb_items_next(&i)) {
        uint32_t len;
        const char *t = kdb_object_text(&i.item, &len);
        if (!t || i.item.type != PST_CHAR)
            return false;
        *to++ = text(PST_STRING, t, len);
    }
    return true;
}

static bool fill(const struct kdb_object *o, const struct pst_parameter *d, struct pst_value *to)
{
    uint8_t type = (uint8_t)(d->type & ~PST_LIST);
    uint32_t len;
    if (type == PST_STRING && d->type & PST_LIST)
        return strings(o, to);
    if (type == PST_STRING || (type == PST_SYMBOL && !(d->type & PST_LIST))) {
        const char *t = kdb_object_text(o, &len);
        *to = text(type, t, t ? len : 0);
        return t != NULL;
    }
    if (type == PST_SYMBOL) {
        struct kdb_texts t;
        for (bool more = kdb_texts(o, &t); more; more = kdb_texts_next(&t))
            *to++ = text(type, t.text, t.len);
        return true;
    }
    for (uint32_t i = 0; i < (kdb_is_vector(o) ? o->count : 1); i++)
        *to++ = one(o, type, i);
    return true;
}

bool host_params_read(struct host_params *p, const struct pst_parameter *declared, uint32_t n,
                      const void *dict, size_t bytes, const char *user, struct err *err)
{
    struct kdb_object all, o[PST_PARAMETERS_MAX];
    const char *why = "";
    size_t size;
    uint64_t values = 0;
    memset(p, 0, sizeof *p);
    if (kdb_object_check(dict, bytes, KDB_LITTLE, &size, &why) != KDB_OK)
        return err_set(err, -EINVAL, "its parameters are no kdb+ object: %s", why);
    kdb_object_view(&all, dict, KDB_LITTLE);
    for (uint32_t i = 0; i < n; i++) {
        int64_t k;
        if (!kdb_dict_value(&all, declared[i].name, &o[i]) ||
            (k = count_of(&o[i], &declared[i])) < 0)
            return err_set(err, -EINVAL, "its parameter %s is not a %s%s", declared[i].name,
                           type_name((uint8_t)(declared[i].type & ~PST_LIST)),
                           declared[i].type & PST_LIST ? " list" : "");
        values += (uint64_t)k;
    }
    p->value = calloc(values + 1, sizeof *p->value);
    if (!p->value)
        return err_set(err, -ENOMEM, "no memory for its parameters");
    struct pst_value *at = p->value;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)count_of(&o[i], &declared[i]);
        p->list[i] = (struct pst_list){declared[i].name, declared[i].type & ~PST_LIST, k, 1, 0, at};
        if (!fill(&o[i], &declared[i], at)) {
            host_params_free(p);
            return err_set(err, -EINVAL, "its parameter %s has a value of another type",
                           declared[i].name);
        }
        at += k;
    }
    p->map = (struct pst_map){n, 0, p->list, user};
    return true;
}
