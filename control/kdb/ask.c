/* SPDX-License-Identifier: Apache-2.0 */
#include "kdb/ask.h"

size_t kdb_ask(struct kdb_out *o, const char *function, uint32_t args)
{
    size_t at = kdb_frame_begin(o, KDB_SYNC);
    kdb_out_list(o, 1 + args);
    kdb_ask_text(o, function);
    return at;
}

size_t kdb_ask_sub(struct kdb_out *o, const char *const *keys, uint32_t n)
{
    size_t at = kdb_ask(o, ".pst.sub", 1);
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, n);
    kdb_out_list(o, n);
    return at;
}

void kdb_ask_names(struct kdb_out *o, const char *list)
{
    uint32_t n = 0;
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (const char *p = list; p; n++) {
        while (*p == ' ')
            p++;
        size_t len = strcspn(p, ","), end = len;
        while (end && p[end - 1] == ' ')
            end--;
        kdb_out_bytes(o, p, end);
        kdb_out_bytes(o, "", 1);
        p = p[len] ? p + len + 1 : NULL;
    }
    kdb_out_close(o, at, n);
}

void kdb_ask_word(struct kdb_out *o, const char *word)
{
    kdb_out_symbol(o, word, strlen(word));
}

void kdb_ask_text(struct kdb_out *o, const char *text)
{
    kdb_out_chars(o, text, strlen(text));
}

void kdb_ask_flag(struct kdb_out *o, bool v)
{
    kdb_out_atom(o, PST_BOOLEAN, &(uint8_t){v});
}
