/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include "load_wire.h"

static const struct wire_kind kinds[LOAD_WIRE_END] = {
#define X(ID, sender, most, fds) [LOAD_WIRE_##ID] = {sender, most, 0, fds},
    LOAD_WIRE_TYPES(X)
#undef X
};

const struct wire_protocol load_wire = {"penstock-load", LOAD_WIRE_MAGIC, LOAD_WIRE_VERSION,
                                        LOAD_WIRE_END, kinds};

/* ---- bodies ---- */

#define MB 1e6

static json_t *body_object(const char *body, size_t n, struct err *err)
{
    json_error_t je;
    json_t *o = json_loadb(body, n, JSON_REJECT_DUPLICATES, &je);
    if (json_is_object(o))
        return o;
    json_decref(o);
    err_set(err, -EPROTO, "a message whose body is no JSON object");
    return NULL;
}

static bool whole(const json_t *o, const char *name, uint64_t *out, struct err *err)
{
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(err, -EPROTO, "a message whose \"%s\" is no number from 0 on", name);
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool real(const json_t *o, const char *name, double *out, struct err *err)
{
    const json_t *v = json_object_get(o, name);
    *out = json_number_value(v);
    return (json_is_number(v) && isfinite(*out) && *out >= 0 && *out < 1e15) ||
           err_set(err, -EPROTO, "a message whose \"%s\" is no number from 0 on", name);
}

bool load_beat_parse(struct load_beat *b, const char *body, size_t n, struct err *err)
{
    double mb = 0;
    json_t *o = body_object(body, n, err);
    bool ok = o && whole(o, "rows", &b->rows, err) && whole(o, "bytes", &b->bytes, err) &&
              whole(o, "total", &b->total, err) && real(o, "mb", &mb, err);
    b->heap = (uint64_t)(mb * MB);
    json_decref(o);
    return ok;
}

/* One line that a terminal can be given: control bytes become blanks. */
static void printable(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (; *text && n + 1 < room; text++)
        out[n++] = (uint8_t)*text < 0x20 || *text == 0x7f ? ' ' : *text;
    while (n && *text && ((uint8_t)out[n - 1] & 0xC0) == 0x80) /* not half a character */
        n--;
    if (n && *text && (uint8_t)out[n - 1] >= 0xC0)
        n--;
    out[n] = 0;
}

static bool done_parse(struct load_done *d, const json_t *o, struct err *err)
{
    const json_t *success = json_object_get(o, "success"), *result = json_object_get(o, "result"),
                 *error = json_object_get(o, "error"), *code = json_object_get(o, "code"),
                 *again = json_object_get(o, "retryable");
    double mb = 0;
    if (!json_is_boolean(success) || !real(o, "mb", &mb, err) ||
        !real(o, "seconds", &d->seconds, err))
        return err_set(err, -EPROTO, "a result without \"success\", \"mb\" or \"seconds\"");
    d->heap = (uint64_t)(mb * MB);
    d->success = json_is_true(success);
    if (d->success) {
        if (!json_is_object(result) && !json_is_true(json_object_get(o, "in_file")))
            return err_set(err, -EPROTO, "a result without \"result\"");
        if (json_is_object(result))
            d->result = json_incref((json_t *)(uintptr_t)result);
        return true;
    }
    if (!json_is_string(error) || !json_is_integer(code) || !json_is_boolean(again) ||
        json_integer_value(code) >= 0 || json_integer_value(code) < -4095)
        return err_set(err, -EPROTO, "a failure without \"error\", \"code\" or \"retryable\"");
    d->code = (int)json_integer_value(code);
    d->retryable = json_is_true(again);
    printable(d->error, sizeof d->error, json_string_value(error));
    return true;
}

bool load_done_parse(struct load_done *d, const char *body, size_t n, struct err *err)
{
    memset(d, 0, sizeof *d);
    json_t *o = body_object(body, n, err);
    bool ok = o && done_parse(d, o, err);
    json_decref(o);
    return ok;
}

size_t load_beat_print(const struct load_beat *b, char out[512])
{
    return (size_t)snprintf(out, 512, "{\"rows\":%llu,\"bytes\":%llu,\"total\":%llu,\"mb\":%.1f}",
                            (unsigned long long)(b->rows & INT64_MAX),
                            (unsigned long long)(b->bytes & INT64_MAX),
                            (unsigned long long)(b->total & INT64_MAX), (double)b->heap / MB);
}

static char *failure_print(const struct load_done *d, int code, bool retryable, const char *error)
{
    char line[LOAD_WIRE_ERROR];
    printable(line, sizeof line, error);
    json_t *text = json_string(line);
    if (!text) /* not UTF-8: bytes beyond ASCII go */
        for (char *p = line; *p; p++)
            *p = (uint8_t)*p >= 0x80 ? '?' : *p;
    json_t *o = json_pack("{s:b,s:f,s:f,s:o,s:i,s:b}", "success", 0, "mb", (double)d->heap / MB,
                          "seconds", d->seconds, "error", text ? text : json_string(line), "code",
                          code, "retryable", retryable);
    char *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return out;
}

char *load_done_print(const struct load_done *d)
{
    if (!d->success)
        return failure_print(d, d->code < 0 && d->code >= -4095 ? d->code : -EIO, d->retryable,
                             d->error);
    json_t *o =
        json_pack("{s:b,s:f,s:f}", "success", 1, "mb", (double)d->heap / MB, "seconds", d->seconds);
    json_object_set(o, "result", d->result);
    char *out = o && d->result ? json_dumps(o, JSON_COMPACT) : NULL;
    if (o && (!out || strlen(out) > WIRE_INLINE)) {
        free(out);
        json_object_del(o, "result");
        json_object_set_new(o, "in_file", json_true());
        out = json_dumps(o, JSON_COMPACT);
    }
    json_decref(o);
    return out;
}
