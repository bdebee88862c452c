/* SPDX-License-Identifier: Apache-2.0 */
/* What the program and the library have in common: a host's beginning and end, its words. */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/trusted.h"
#include "host.h"

void host_die(struct host *h, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!h->say && h->attached) {
        char line[512];
        rtp_printable(line, sizeof line, text, strlen(text));
        host_say_text(h, RTP_WIRE_LOG, 0, line);
        host_out_flush(h);
    }
    fprintf(stderr, "penstock-rtp: %s\n", text);
    _exit(1);
}

static void say_line(struct host *h, unsigned type, const char *format, va_list ap)
{
    char text[500], line[500];
    vsnprintf(text, sizeof text, format, ap);
    rtp_printable(line, sizeof line, text, strlen(text));
    host_say_text(h, type, 0, line);
}

void host_log(struct host *h, const char *format, ...)
{
    static int64_t second;
    static unsigned lines;
    int64_t now = clock_monotonic() / NS_PER_S;
    va_list ap;
    if (now != second) {
        second = now;
        lines = 0;
    }
    if (++lines > 10)
        return;
    va_start(ap, format);
    say_line(h, RTP_WIRE_LOG, format, ap);
    va_end(ap);
}

void host_debug(struct host *h, const char *format, ...)
{
    va_list ap;
    if (!h->debug)
        return;
    va_start(ap, format);
    say_line(h, RTP_WIRE_DEBUGGED, format, ap);
    va_end(ap);
}

bool host_new(struct host *h)
{
    memset(h, 0, sizeof *h);
    h->fd = -1;
    h->failed = json_array();
    h->calendars = json_object();
    h->deferred_end = &h->deferred;
    h->late_end = &h->late;
    h->ncalendars = 1;
    h->calendar_name[0] = "default";
    h->time = INT64_MIN;
    h->busy_began = clock_monotonic();
    return h->failed && h->calendars;
}

bool host_libraries(struct host *h, struct err *err)
{
    const json_t *list = json_object_get(h->config, "libraries");
    const char *alias;
    json_t *v;
    h->library = calloc(json_object_size(list) + 1, sizeof *h->library);
    json_object_foreach((json_t *)(uintptr_t)list, alias, v)
    {
        char real[TRUSTED_PATH];
        const char *file = json_string_value(v);
        if (!file || !h->library)
            return err_set(err, -EINVAL, "library %s names no file", alias);
        if (!trusted_file(file, real, "library", err))
            return false;
        void *handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            return err_set(err, -EINVAL, "library %s: %s cannot be loaded: %s", alias, file,
                           dlerror());
        h->library[h->nlibraries++] = (struct host_library){strdup(alias), handle};
    }
    return true;
}

void host_configure(struct host *h, json_t *config)
{
    h->config = config;
    const char *group = json_string_value(json_object_get(config, "group"));
    snprintf(h->group, sizeof h->group, "%s", group ? group : "?");
    h->instance = (uint32_t)json_integer_value(json_object_get(config, "instance"));
    h->stripe = (uint32_t)json_integer_value(json_object_get(config, "stripe"));
    h->stripes = (uint32_t)json_integer_value(json_object_get(config, "stripes"));
    cpu_set_t cpus;
    unsigned n = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : (unsigned)CPU_COUNT(&cpus);
    unsigned all = (unsigned)json_integer_value(json_object_get(config, "neighbours"));
    h->crowd = all > n ? (all + n - 1) / n : 1;
    h->memory = (uint64_t)json_integer_value(json_object_get(config, "memory"));
    h->debug = json_is_true(json_object_get(config, "debug"));
    json_t *inserts = json_object_get(config, "insert"),
           *calendars = json_object_get(config, "calendars");
    h->inserts = json_object_size(inserts) ? inserts : NULL;
    if (calendars)
        json_object_update(h->calendars, calendars);
}

void host_load_all(struct host *h)
{
    size_t i;
    const json_t *v;
    host_plugins_builtin(h, !json_is_false(json_object_get(h->config, "built_in")));
    json_array_foreach(json_object_get(h->config, "plugins"), i, v)
    {
        struct err err = {0};
        char line[RTP_SENTENCE];
        const char *file = json_string_value(v);
        if (host_plugin_load(h, file ? file : "?", &err))
            continue;
        rtp_printable(line, sizeof line, err.text, sizeof err.text);
        json_array_append_new(h->failed,
                              json_pack("{s:s,s:s}", "file", file ? file : "?", "error", line));
    }
}

void host_free(struct host *h)
{
    while (h->nsubs)
        for (unsigned i = 0; i < HOST_BUCKETS; i++)
            while (h->by_uid[i])
                host_unsubscribe(h, h->by_uid[i]->uid);
    while (h->nplugins)
        host_plugin_forget(h, h->plugin[--h->nplugins]);
    for (unsigned id = 0; id < TABLE_MAX; id++) {
        if (h->table[id])
            free(h->table[id]->null_record);
        free(h->table[id]);
        free(h->copy[id]);
    }
    for (uint32_t i = 0; i < h->nown; i++)
        free(h->own[i].text);
    for (unsigned i = 0; i < h->nlibraries; i++) {
        free(h->library[i].alias);
        dlclose(h->library[i].handle);
    }
    if (h->have_cursor)
        cursor_close(&h->cursor);
    else
        dictionary_free(&h->cursor.dict);
    if (h->io)
        io_destroy(h->io);
    free(h->library);
    free(h->own);
    free(h->own_hash);
    free(h->stripe_of);
    free(h->striped);
    json_decref(h->config);
    json_decref(h->failed);
    json_decref(h->calendars);
}
