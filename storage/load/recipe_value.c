/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a recipe: YAML gives texts where JSON has numbers and booleans. */
#include <errno.h>
#include "load/recipe_parts.h"

bool recipe_wrong(struct recipe_reading *x, const char *member, const char *format, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return err_set(x->err, -EINVAL, "load.files: %s%s%s: %s",
                   x->r->name[0] ? x->r->name : "(unnamed)", *member ? ": " : "", member, text);
}

bool recipe_no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "no memory for a recipe");
}

const char *load_time_name(enum load_time t)
{
    static const char *const names[LOAD_TIME_END] = {
#define X(ID, name, sentence) name,
        LOAD_TIMES(X)
#undef X
    };
    return t < LOAD_TIME_END ? names[t] : "?";
}

bool recipe_is_bool(const json_t *v, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    if (json_is_boolean(v)) {
        *out = json_is_true(v);
        return true;
    }
    const char *s = json_string_value(v);
    for (unsigned i = 0; s && i < PST_COUNT(yes); i++)
        if (!strcmp(s, yes[i]) || !strcmp(s, no[i])) {
            *out = !strcmp(s, yes[i]);
            return true;
        }
    return false;
}

bool recipe_bool(struct recipe_reading *x, const char *name, const json_t *v, bool *out)
{
    return recipe_is_bool(v, out) || recipe_wrong(x, name, "must be true or false");
}

bool recipe_integer(struct recipe_reading *x, const char *name, const json_t *v, int64_t least,
                    int64_t most, int64_t *out)
{
    const char *s = json_string_value(v);
    char *end;
    errno = 0;
    if (json_is_integer(v))
        *out = json_integer_value(v);
    else if (s && *s && (*out = strtoll(s, &end, 10), !*end && !errno))
        ;
    else
        return recipe_wrong(x, name, "must be a whole number");
    return (*out >= least && *out <= most) || recipe_wrong(x, name, "must be between %lld and %lld",
                                                           (long long)least, (long long)most);
}

bool recipe_text(struct recipe_reading *x, const char *name, const json_t *v, char *out,
                 size_t room)
{
    const char *s = json_string_value(v);
    if (!s)
        return recipe_wrong(x, name, "must be a text");
    if (json_string_length(v) != strlen(s))
        return recipe_wrong(x, name, "holds a NUL byte");
    if (strlen(s) >= room)
        return recipe_wrong(x, name, "is longer than %zu bytes", room - 1);
    memcpy(out, s, strlen(s) + 1);
    return true;
}

bool recipe_copy(struct recipe_reading *x, const char *name, const json_t *v, char **out)
{
    const char *s = json_string_value(v);
    if (!s || !*s || json_string_length(v) != strlen(s))
        return recipe_wrong(x, name, "must be a text");
    free(*out);
    *out = strdup(s);
    return *out || recipe_no_memory(x->err);
}

bool recipe_byte(struct recipe_reading *x, const char *name, const json_t *v, char *out)
{
    char text[8];
    if (!recipe_text(x, name, v, text, sizeof text))
        return false;
    if (strlen(text) > 1 || (*text && ((uint8_t)*text >= 0x80 || *text == '\n' || *text == '\r')))
        return recipe_wrong(x, name, "must be one ASCII character, or \"\" for none");
    *out = *text;
    return true;
}
