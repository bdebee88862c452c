/* SPDX-License-Identifier: Apache-2.0 */
#include "query_sources.h"

#include <fcntl.h>
#include "daemon.h"
#include "day.h"
#include "storage/rdb.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)

/* Only what nobody can write to or truncate leaves this process. */
static bool add(json_t *names, const char *name, int fd, int *fds, unsigned *n, unsigned max)
{
    int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    if (*n == max || seals < 0 || (seals & SEALS) != SEALS)
        return false;
    json_array_append_new(names, json_string(name));
    fds[(*n)++] = fd;
    return true;
}

unsigned query_sources_segments(struct daemon *d, json_t *names, int *fds, unsigned max)
{
    unsigned n = 0;
    if (!add(names, "symbols", d->symbols.fd, fds, &n, max) ||
        !add(names, "rdb", rdb_fd(day_rdb(d->days)), fds, &n, max)) {
        static bool said;
        if (!said)
            fprintf(stderr, "penstockd: the kernel could not seal the rows in memory, so queries "
                            "do not see them: set hugepages: off\n");
        said = true;
    }
    return n;
}

json_t *query_sources_schemas(struct daemon *d)
{
    json_t *list = json_array();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        char *text = s ? schema_to_json(s) : NULL;
        if (text)
            json_array_append_new(list, json_string(text));
        free(text);
    }
    return list;
}

void query_sources_overdue(struct daemon *d,
                           void (*kill)(void *arg, uint32_t process, const char *why), void *arg)
{
    pins_on_overdue(day_pins(d->days), kill, arg);
}

struct cut *query_sources_cut(struct daemon *d, uint32_t process, struct err *err)
{
    return pins_take(day_pins(d->days), process, err);
}

void query_sources_release(struct daemon *d, uint32_t process)
{
    if (d->days)
        pins_release_all(day_pins(d->days), process);
}
