/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of any bytes: either one clean line of error, or a configuration that prints
 * itself, and whose print means the same.
 */
#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c, *again;
    struct err e = {0};
    if (!config_parse("fuzz.yaml", (const char *)data, size, &c, &e)) {
        pst_must(c == NULL && e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    pst_must(f != NULL);
    pst_must(config_show_yaml(c, f));
    fclose(f);
    if (n <= CONFIG_FILE_MAX) {
        pst_must(config_parse("again.yaml", text, n, &again, &e));
        pst_must(config_diff(c, again, NULL, 0) == 0);
        config_free(again);
    }
    free(text);
    config_free(c);
    return 0;
}
