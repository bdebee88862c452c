/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the parameters of a streaming analytic: the first says which analytic and whether
 * char vectors are texts, the rest is an object. What is refused carries a sentence; what is taken
 * becomes a sound dictionary, which as parameters gives the same bytes again.
 */
#include "control/rtp/rtp_params.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define P(name, type, list, def)                                                                   \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"list\":" list ",\"default\":" def              \
    ",\"about\":\"\"}"

static json_t *declared(unsigned i)
{
    static const char *const text[] = {
        "[]",
        "[" P("table", "symbol", "false", "null") "," P("syms", "symbol", "true", "\"\"") "]",
        "[" P("b", "boolean", "false", "\"1\"") "," P("g", "guid", "true", "\"\"") "," P(
            "x", "byte", "true", "\"\"") "," P("h", "short", "false", "\"3\"") "]",
        "[" P("i", "int", "true", "\"1,2\"") "," P("j", "long", "false", "\"0\"") "," P(
            "e", "real", "true", "\"\"") "," P("f", "float", "false",
                                               "\"0.5\"") "," P("c", "char", "true", "\"abc\"") "]",
        "[" P("p", "timestamp", "true", "\"\"") "," P("m", "month", "false", "\"2024.01\"") "," P(
            "d", "date", "true", "\"\"") "," P("n", "timespan", "false", "\"0D00:01\"") "]",
        "[" P("u", "minute", "false", "\"09:30\"") "," P("v", "second", "true", "\"\"") "," P(
            "t", "time", "false", "\"\"") "," P("s", "string", "false",
                                                "\"a\"") "," P("l", "string", "true",
                                                               "\"a,b\"") "]"};
    return json_loads(text[i % PST_COUNT(text)], 0, NULL);
}

static void sound(const struct kdb_out *out)
{
    size_t n;
    const char *why;
    pst_must(kdb_object_check(out->data, out->len, KDB_LITTLE, &n, &why) == KDB_OK);
    pst_must(n == out->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guard g;
    static bool open;
    size_t n;
    const char *why;
    struct kdb_object o;
    struct kdb_out out = {0}, again = {0};
    struct err err = {0};
    char text[200];
    if (size < 2 || size > 65536)
        return 0;
    enum kdb_order order = data[0] & 0x40 ? KDB_BIG : KDB_LITTLE;
    if (!open)
        guard_open(&g, 1 << 17);
    open = true;
    const uint8_t *p = guard_copy(&g, data + 1, size - 1);
    if (kdb_object_check(p, size - 1, order, &n, &why) == KDB_OK) {
        json_t *d = declared(data[0] & 0x3F);
        kdb_object_view(&o, p, order);
        if (rtp_params_make("it", d, &o, data[0] & 0x80 ? RTP_PARAMS_TEXTS : 0, &out, &err)) {
            sound(&out);
            kdb_object_view(&o, out.data, KDB_LITTLE);
            pst_must(rtp_params_make("it", d, &o, 0, &again, &err));
            pst_must(again.len == out.len && !memcmp(again.data, out.data, out.len));
            pst_must(strlen(rtp_params_text(out.data, out.len, text, sizeof text)) < sizeof text);
        } else {
            pst_must(*err.text);
        }
        json_decref(d);
    }
    kdb_out_free(&out);
    kdb_out_free(&again);
    return 0;
}
