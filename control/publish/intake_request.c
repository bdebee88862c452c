/* SPDX-License-Identifier: Apache-2.0 */
/* An update as the codec reads it: of one table, or of several at once. */
#include <errno.h>
#include "intake_parts.h"

static bool add_each(struct intake *in, const struct user *user, const struct kdb_request *r,
                     struct err *err)
{
    struct kdb_name name;
    struct kdb_items item;
    bool more = kdb_names_first(&r->tables, &name);
    if (r->data.type != KDB_LIST || r->data.count != r->tables.count)
        return err_set(err, -EINVAL, "%u tables are named: send a list of %u updates",
                       r->tables.count, r->tables.count);
    for (bool also = kdb_items(&r->data, &item); more && also;
         more = kdb_names_next(&name), also = kdb_items_next(&item))
        if (!intake_add(in, user, name.text, name.len, &item.item, err))
            return false;
    return true;
}

enum intake_verdict intake_request(struct intake *in, const struct user *user,
                                   const struct kdb_request *r, int64_t now, uint64_t *ticket,
                                   struct err *err)
{
    struct kdb_name name = {.text = ""};
    if (!kdb_names_first(&r->tables, &name) || !r->tables.many)
        return intake_update(in, user, name.text, name.len, &r->data, now, ticket, err);
    if (!intake_begin(in, now))
        return INTAKE_BUSY;
    enum intake_verdict v =
        add_each(in, user, r, err) ? intake_go(in, ticket, err) : INTAKE_REFUSED;
    return v == INTAKE_REFUSED ? intake_refused(in, user, name.text, name.len, &r->data, err) : v;
}
