/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a query's result in a sealed memfd: refused, or shown without leaving its bounds. */
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>
#include "query_result.h"
#include "cli/sql_render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *null;
    struct result *r;
    struct err err = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (!null)
        null = fopen("/dev/null", "w");
    pst_must(null && fd >= 0 && write(fd, data, size) == (ssize_t)size);
    pst_must(!fcntl(fd, F_ADD_SEALS, QUERY_RESULT_SEALS));
    if (query_result_open(fd, &r, &err)) {
        json_t *facts = query_result_facts(r);
        if (r->rows < 5000) /* without columns rows are only a number */
            for (int f = SQL_TABLE; f <= SQL_JSON; f++)
                pst_must(sql_render(r, (enum sql_format)f, &(struct sql_style){.iso = f == SQL_CSV},
                                    facts, null));
        json_decref(facts);
        query_result_close(r);
    } else {
        pst_must(*err.text);
    }
    close(fd);
    return 0;
}
