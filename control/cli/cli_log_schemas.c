/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that a log file declares, for `log ls --json` and `log stat --json`. */
#include "cli_log.h"
#include "storage/dictionary.h"

json_t *log_schemas(const struct dictionary *d)
{
    json_t *all = json_object();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(d, id);
        char *text = s ? schema_to_json(s) : NULL;
        json_t *o = text ? json_loads(text, 0, NULL) : NULL;
        json_t *columns = json_object_get(o, "columns");
        if (columns) /* a later version of the table stands for it */
            json_object_set(all, s->name, columns);
        json_decref(o);
        free(text);
    }
    return all;
}

/* The schemas stand before the symbols and everything else. */
json_t *log_head_schemas(const struct log_files *fs, const char *path, struct io *io)
{
    struct logscan s;
    struct dictionary d;
    struct err err;
    const struct frame *f;
    if (!dictionary_init(&d, &err))
        return json_object();
    if (log_file_open(&s, io, fs, path, &err) <= LOG_IS_HEALED) {
        while (logscan_step(&s, &f, UINT64_MAX) == LOGSCAN_FRAME && f->kind == FRAME_FILE &&
               dictionary_feed(&d, f) && !d.known)
            ;
        logscan_close(&s);
    }
    json_t *all = log_schemas(&d);
    dictionary_free(&d);
    return all;
}
