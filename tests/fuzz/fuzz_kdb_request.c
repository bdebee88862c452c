/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a request: as an object, and as the text of one. Every name can be walked, every
 * view lies inside the message or the request, an unknown one carries a sentence, and it is
 * answered.
 */
#include "kdb/reply.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;
static const uint8_t *low, *high;
static const struct kdb_request *request;

static void inside(const void *p, size_t n)
{
    const uint8_t *b = p, *made = request->made;
    pst_must((b >= low && b + n <= high) || (b >= made && b + n <= made + sizeof request->made));
    for (size_t i = 0; i < n; i++)
        sink += b[i];
}

static void names(const struct kdb_names *n)
{
    struct kdb_name i;
    uint32_t count = 0;
    pst_must(!n->all || !n->count);
    for (bool more = kdb_names_first(n, &i); more; more = kdb_names_next(&i), count++)
        inside(i.text, i.len);
    pst_must(count == n->count);
}
static void text(const struct kdb_text *t)
{
    if (t->text)
        inside(t->text, t->len);
}

static void one(const struct kdb_object *o)
{
    struct kdb_request r;
    struct kdb_items i;
    struct kdb_out out = {0};
    static const struct kdb_facts none;
    memset(&r, 0xA5, sizeof r);
    request = &r;
    pst_must(kdb_request_read(o, &r) == r.call);
    pst_must(*kdb_call_name(r.call));
    names(&r.sub.tables);
    names(&r.sub.syms);
    names(&r.tables);
    text(&r.sub.where);
    text(&r.sub.columns);
    text(&r.text);
    text(&r.function);
    text(&r.stream.group);
    if (r.call == KDB_CALL_SA_STATE || r.call == KDB_CALL_SA_UPDATE)
        inside(r.data.at, (size_t)(kdb_object_end(&r.data) - r.data.at));
    if (r.call == KDB_CALL_SA_SUB && r.args.at)
        inside(r.args.at, (size_t)(kdb_object_end(&r.args) - r.args.at));
    for (bool more = kdb_items(&r.args, &i); more; more = kdb_items_next(&i))
        inside(i.item.at, (size_t)(kdb_object_end(&i.item) - i.item.at));
    if (r.call == KDB_CALL_UPD || r.call == KDB_CALL_PST_UPD || r.call == KDB_CALL_NOTICE)
        inside(r.data.at, (size_t)(kdb_object_end(&r.data) - r.data.at));
    if (r.call == KDB_CALL_UNKNOWN)
        pst_must(*r.hint && strlen(r.hint) < sizeof r.hint && !strpbrk(r.hint, "\n\r\t"));
    pst_must(r.sub.stripes && r.sub.stripe < r.sub.stripes);
    pst_must(kdb_answer(&out, &r, &none) && out.len > 8);
    kdb_out_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guard g;
    static bool open;
    static uint8_t copy[65536 + 6];
    struct kdb_object o;
    size_t n;
    if (!open) {
        guard_open(&g, 1 << 17);
        open = true;
    }
    if (size > 65536)
        return 0;
    for (enum kdb_order order = KDB_BIG; order <= KDB_LITTLE; order++) {
        low = guard_copy(&g, data, size);
        high = low + size;
        if (kdb_object_check(low, size, order, &n, NULL) == KDB_OK) {
            kdb_object_view(&o, low, order);
            one(&o);
        }
    }
    copy[0] = PST_CHAR;
    copy[1] = 0;
    put32(copy + 2, (uint32_t)size);
    memcpy(copy + 6, data, size);
    low = guard_copy(&g, copy, size + 6);
    high = low + size + 6;
    kdb_object_view(&o, low, KDB_LITTLE);
    one(&o);
    return 0;
}
