/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of single values: parse, print, defaults. */
#include "config_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>

struct scale {
    const char *suffix;
    int64_t factor;
};
static const struct scale sizes[] = {
    {"T", 1LL << 40}, {"G", 1LL << 30}, {"M", 1LL << 20}, {"k", 1LL << 10}, {"", 1}};
static const struct scale counts[] = {{"G", 1000000000}, {"M", 1000000}, {"k", 1000}, {"", 1}};
static const struct scale durations[] = {{"h", 3600 * PST_SECOND_NS},
                                         {"m", 60 * PST_SECOND_NS},
                                         {"s", PST_SECOND_NS},
                                         {"ms", 1000000},
                                         {"us", 1000},
                                         {"ns", 1}};

/* What a plain number means where the unit is "hours". */
static const struct scale hours[] = {{"", 3600 * PST_SECOND_NS}};

const char *config_kind_name(int kind)
{
    static const char *const names[] = {
        "true or false", "number",  "count",    "size", "duration", "time",    "date",
        "bits",          "choice",  "text",     "path", "name",     "zone",    "hours",
        "address:port",  "address", "weekdays", "list", "dates",    "mapping", "list"};
    _Static_assert(PST_COUNT(names) == KIND_LIST + 1, "one name a kind");
    return names[kind];
}

const char *config_choice(const struct config_key *k, int i, char buf[64])
{
    const char *p = k->unit;
    while (i-- > 0) {
        p = strchr(p, '|');
        if (!p) {
            return NULL;
        }
        p++;
    }
    snprintf(buf, 64, "%.*s", (int)strcspn(p, "|"), p);
    return buf;
}

/* ---- parsing ----------------------------------------------------------------------------------
 */

#define WHY(...) (snprintf(why, why_size, __VA_ARGS__), false)

/*
 * Digits, with _ between them where the number is plain, then at most 9 decimals, then a suffix.
 * Exact: no floating point, and an overflow is an error.
 */
static bool parse_scaled(const char *text, const struct scale *scales, size_t n, int64_t *out)
{
    const char *p = text;
    __int128 whole = 0, fraction = 0, denominator = 1;
    int digits = 0;
    bool negative = *p == '-';
    p += negative;
    for (; isdigit((unsigned char)*p) || (*p == '_' && digits && isdigit((unsigned char)p[1]));
         p++) {
        if (*p != '_') {
            whole = whole * 10 + (*p - '0');
            if (++digits > 19) {
                return false;
            }
        }
    }
    if (digits == 0) {
        return false;
    }
    if (*p == '.') {
        int decimals = 0;
        for (p++; isdigit((unsigned char)*p); p++) {
            if (++decimals > 9) {
                return false;
            }
            fraction = fraction * 10 + (*p - '0');
            denominator *= 10;
        }
        if (decimals == 0) {
            return false;
        }
    }
    while (*p == ' ') {
        p++;
    }
    for (size_t i = 0; i < n; i++) {
        const char *s = scales[i].suffix;
        bool same = strcmp(p, s) == 0 || (*s == 'k' && strcmp(p, "K") == 0);
        if (same) {
            __int128 v = whole * scales[i].factor;
            if (fraction * scales[i].factor % denominator != 0) {
                return false;
            }
            v += fraction * scales[i].factor / denominator;
            v = negative ? -v : v;
            if (v > INT64_MAX || v < -INT64_MAX) {
                return false;
            }
            *out = (int64_t)v;
            return true;
        }
    }
    return false;
}

static bool parse_number(const struct config_key *k, const char *text, int64_t *out, char *why,
                         size_t why_size)
{
    static const struct scale plain[] = {{"", 1}};
    static const struct scale megabytes[] = {{"", 1 << 20}};
    int32_t part;
    bool ok;
    switch (k->kind) {
    case KIND_COUNT:
        if (!parse_scaled(text, counts, PST_COUNT(counts), out)) {
            return WHY("\"%.40s\" is not a count; write a number such as 5000, 64k or 1.5M", text);
        }
        break;
    case KIND_SIZE:
        if (!strcmp(k->unit, "MB") && parse_scaled(text, megabytes, PST_COUNT(megabytes), out)) {
            break;
        }
        if (!parse_scaled(text, sizes, PST_COUNT(sizes), out)) {
            return WHY("\"%.40s\" is not a size; write bytes, or 64k, 512M, 4G (powers of 1024)",
                       text);
        }
        break;
    case KIND_DURATION:
        ok = strcmp(text, "0") == 0;
        *out = 0;
        if (strcmp(k->unit, "hours") == 0 && parse_scaled(text, hours, 1, out)) {
            break;
        }
        if (!ok && !parse_scaled(text, durations, PST_COUNT(durations), out)) {
            return WHY("\"%.40s\" is not a duration; write a number and us, ms, s, m or h, such as "
                       "1.5s",
                       text);
        }
        break;
    case KIND_TIME:
        ok = *text == '-' && k->min < 0;
        if (!civil_parse_time(text + ok, &part)) {
            return WHY("\"%.40s\" is not a time of day; write %sHH:MM or HH:MM:SS", text,
                       k->min < 0 ? "[-]" : "");
        }
        *out = ok ? -part : part;
        break;
    case KIND_DATE:
        if (!civil_parse(text, &part)) {
            return WHY("\"%.40s\" is not a date; write YYYY-MM-DD", text);
        }
        *out = part;
        break;
    default:
        if (!parse_scaled(text, plain, 1, out)) {
            return WHY("\"%.40s\" is not a whole number", text);
        }
    }
    if (*out < k->min || *out > k->max) {
        char range[160];
        return WHY("%.40s is out of range; %s is allowed", text, config_range_text(k, range));
    }
    return true;
}

static bool parse_bits(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    bool hex = text[0] == '0' && (text[1] | 32) == 'x';
    errno = 0;
    *out = strtoull(text, &end, hex ? 16 : 10);
    return errno == 0 && *end == 0 && (!hex || isxdigit((unsigned char)text[2]));
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[][2] = {{"true", "false"}, {"yes", "no"}, {"on", "off"}};
    for (size_t i = 0; i < PST_COUNT(words); i++) {
        if (strcasecmp(text, words[i][0]) == 0 || strcasecmp(text, words[i][1]) == 0) {
            *out = strcasecmp(text, words[i][0]) == 0;
            return true;
        }
    }
    return false;
}

static bool parse_choice(const struct config_key *k, const char *text, int *out, char *why,
                         size_t why_size)
{
    char buf[64], list[256] = "";
    for (int i = 0; config_choice(k, i, buf); i++) {
        if (strcmp(buf, text) == 0) {
            *out = i;
            return true;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", buf);
    }
    return WHY("\"%.40s\" is not one of %s", text, list);
}

static bool parse_address(const char *text, uint32_t *out)
{
    struct in_addr in;
    if (inet_pton(AF_INET, text, &in) != 1) {
        return false;
    }
    *out = ntohl(in.s_addr);
    return true;
}

static bool parse_endpoint(const char *text, struct config_endpoint *out)
{
    char address[INET_ADDRSTRLEN];
    if (!strcmp(text, "any")) { /* whatever arrives: a replay of one feed's capture */
        *out = (struct config_endpoint){0};
        return true;
    }
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof address) {
        return false;
    }
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = 0;
    int port = 0, digits = 0;
    for (const char *p = colon + 1; *p; p++) {
        if (!isdigit((unsigned char)*p) || ++digits > 5) {
            return false;
        }
        port = port * 10 + (*p - '0');
    }
    if (port < 1 || port > 65535 || !parse_address(address, &out->address)) {
        return false;
    }
    out->port = (uint16_t)port;
    return true;
}

static bool parse_weekdays(const char *text, int64_t *out)
{
    char word[16];
    *out = 0;
    if (strcasecmp(text, "none") == 0) {
        return true;
    }
    while (*text) {
        size_t n = strcspn(text, ", ");
        if (n >= sizeof word) {
            return false;
        }
        memcpy(word, text, n);
        word[n] = 0;
        uint8_t set = calendar_weekdays(word);
        if (n && !set) {
            return false;
        }
        *out |= set;
        text += n;
        text += strspn(text, ", ");
    }
    return *out != 0 && *out != 0x7F;
}

static bool parse_text(const struct config_key *k, const char *text, char *why, size_t why_size)
{
    size_t n = strlen(text);
    if ((int64_t)n < k->min || (int64_t)n > k->max) {
        return WHY("\"%.40s\" has %zu bytes; %" PRId64 " to %" PRId64 " are allowed", text, n,
                   k->min, k->max);
    }
    if (k->kind == KIND_NAME) {
        for (size_t i = 0; i < n; i++) {
            if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i])) {
                return WHY("\"%.40s\" is not a name; use letters, digits, _ - and .", text);
            }
        }
        if (text[0] == '.' || text[0] == '-') {
            return WHY("\"%.40s\" is not a name; start it with a letter or digit", text);
        }
    }
    if (k->kind == KIND_HOURS) {
        struct hours h;
        char zone[64];
        struct err e;
        if (!hours_parse(text, &h, zone, &e)) {
            return WHY("%s", e.text);
        }
    }
    return true;
}

bool config_value_parse(const struct config_key *k, const char *text, void *at,
                        struct config_arena **arena, char *why, size_t why_size)
{
    switch (k->kind) {
    case KIND_BOOL:
        return parse_bool(text, at) || WHY("\"%.40s\" is neither true nor false", text);
    case KIND_INT:
    case KIND_COUNT:
    case KIND_SIZE:
    case KIND_DURATION:
    case KIND_TIME:
    case KIND_DATE:
        return parse_number(k, text, at, why, why_size);
    case KIND_BITS:
        return parse_bits(text, at) ||
               WHY("\"%.40s\" is not a number of 64 bits; write it in decimal or as 0x...", text);
    case KIND_ENUM:
        return parse_choice(k, text, at, why, why_size);
    case KIND_ENDPOINT:
        return parse_endpoint(text, at) ||
               WHY("\"%.40s\" is not an address and port; write e.g. 239.1.1.1:26400", text);
    case KIND_ADDRESS:
        return parse_address(text, at) ||
               WHY("\"%.40s\" is not an IPv4 address; write e.g. 10.0.0.1", text);
    case KIND_WEEKDAYS:
        return parse_weekdays(text, at) ||
               WHY("\"%.40s\" is not a set of up to six weekdays; write e.g. Sat,Sun or none",
                   text);
    default: {
        if (!parse_text(k, text, why, why_size)) {
            return false;
        }
        const char *copy = config_strdup(arena, text);
        *(const char **)at = copy;
        return copy || WHY("out of memory");
    }
    }
}

bool config_defaults(int section, void *object, struct config_arena **arena, struct err *err)
{
    for (const struct config_key *k = NULL; (k = config_next_key(section, k));) {
        void *at = (char *)object + k->offset;
        char why[300];
        if (k->kind == KIND_SUB) {
            if (!config_defaults(k->child, at, arena, err)) {
                return false;
            }
        } else if (k->def) {
            if (!config_value_parse(k, k->def, at, arena, why, sizeof why)) {
                return err_set(err, -EINVAL, "default of %s.%s: %s", config_sections[section].name,
                               k->name, why);
            }
        } else if (k->kind == KIND_DATE || k->kind == KIND_TIME) {
            *(int64_t *)at = CONFIG_UNSET;
        }
    }
    return true;
}

/* ---- printing ---------------------------------------------------------------------------------
 */

static const char *scaled_text(int64_t v, const struct scale *scales, size_t n, char buf[64])
{
    for (size_t i = 0; i < n; i++) {
        if (v % scales[i].factor == 0 && v != 0) {
            snprintf(buf, 64, "%" PRId64 "%s", v / scales[i].factor, scales[i].suffix);
            return buf;
        }
    }
    return strcpy(buf, "0");
}

static const char *number_text(int kind, int64_t v, char buf[64])
{
    char date[CIVIL_TEXT];
    switch (kind) {
    case KIND_COUNT:
        return scaled_text(v, counts, PST_COUNT(counts), buf);
    case KIND_SIZE:
        return scaled_text(v, sizes, PST_COUNT(sizes), buf);
    case KIND_DURATION:
        return scaled_text(v, durations, PST_COUNT(durations), buf);
    case KIND_TIME:
        if (v == CONFIG_UNSET)
            return NULL;
        snprintf(buf, 64, v % 60 ? "%s%02d:%02d:%02d" : "%s%02d:%02d", v < 0 ? "-" : "",
                 abs((int)(v / 3600)), abs((int)(v / 60 % 60)), abs((int)(v % 60)));
        return buf;
    case KIND_DATE:
        return v == CONFIG_UNSET ? NULL : strcpy(buf, civil_format_iso((int32_t)v, date));
    default:
        snprintf(buf, 64, "%" PRId64, v);
        return buf;
    }
}

static const char *weekdays_text(int64_t set, char buf[64])
{
    static const char *const names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    buf[0] = 0;
    for (int i = 0; i < 7; i++) {
        if (set >> i & 1) {
            size_t n = strlen(buf);
            snprintf(buf + n, 64 - n, "%s%s", n ? "," : "", names[i]);
        }
    }
    return set ? buf : "none";
}

const char *config_value_text(const struct config_key *k, const void *at, char buf[64])
{
    switch (k->kind) {
    case KIND_BOOL:
        return *(const bool *)at ? "true" : "false";
    case KIND_ENUM:
        return config_choice(k, *(const int *)at, buf);
    case KIND_BITS:
        snprintf(buf, 64, "0x%" PRIx64, *(const uint64_t *)at);
        return buf;
    case KIND_ENDPOINT: {
        const struct config_endpoint *e = at;
        uint32_t a = e->address;
        if (!a) {
            return "any";
        }
        snprintf(buf, 64, "%u.%u.%u.%u:%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, e->port);
        return buf;
    }
    case KIND_ADDRESS: {
        uint32_t a = *(const uint32_t *)at;
        snprintf(buf, 64, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
        return a ? buf : NULL;
    }
    case KIND_WEEKDAYS:
        return weekdays_text(*(const int64_t *)at, buf);
    case KIND_INT:
    case KIND_COUNT:
    case KIND_SIZE:
    case KIND_DURATION:
    case KIND_TIME:
    case KIND_DATE:
        return number_text(k->kind, *(const int64_t *)at, buf);
    default:
        return *(const char *const *)at;
    }
}

const char *config_range_text(const struct config_key *k, char buf[160])
{
    char lo[64], hi[64];
    buf[0] = 0;
    if (k->kind >= KIND_INT && k->kind <= KIND_DATE) {
        snprintf(buf, 160, "%s ... %s", number_text(k->kind, k->min, lo),
                 number_text(k->kind, k->max, hi));
    } else if (k->kind == KIND_LIST || k->kind == KIND_NAMES || k->kind == KIND_DATES) {
        snprintf(buf, 160, "at most %" PRId64, k->max);
    }
    return buf;
}
