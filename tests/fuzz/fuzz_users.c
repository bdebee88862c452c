/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A users file of any bytes: either one clean line of error, or users whose rules answer every
 * question; and the place of each verifier is in the text.
 */
#include "users.h"
#include "scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct users_load *l;
    struct err e = {0};
    char why[160], word[128];
    struct scram s;
    struct address a = {.ip = {[10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = 1}};
    if (!users_parse("fuzz.yaml", (const char *)data, size, &l, &e)) {
        pst_must(l == NULL && e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    size_t n = size < sizeof word - 1 ? size : sizeof word - 1;
    memcpy(word, data, n);
    word[n] = 0;
    for (unsigned i = 0; i < users_load_count(l); i++) {
        const struct user *u = users_load_at(l, i);
        size_t line, column, end_line, end_column;
        pst_must(u->name[0] && strlen(u->name) <= USER_NAME_MAX && !strchr(u->name, ':'));
        pst_must(i == 0 || strcmp(users_load_at(l, i - 1)->name, u->name) < 0);
        pst_must(scram_parse(u->scram, &s, why, sizeof why));
        pst_must(u->policy >= USER_POLICY_UNSET && u->policy <= USER_SKIP);
        pst_must(u->rows >= 0 && u->timeout >= 0 && u->bytes > 0 && u->bytes <= INT32_MAX);
        pst_must(users_load_scram_at(l, u->name, &line, &column, &end_line, &end_column));
        pst_must(line <= size && end_line >= line);
        user_may_read(u, word);
        user_may_publish(u, word);
        user_may_call(u, word);
        user_may_come(u, &a);
        for (uint32_t k = 0; k < u->tables.count; k++)
            pst_must(user_may_read(u, u->tables.at[k]));
    }
    users_load_free(l);
    return 0;
}
