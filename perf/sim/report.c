/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "report.h"

static void put_ranges(FILE *f, const char *name, const struct ranges *r)
{
    fprintf(f, "\"%s\": [", name);
    for (uint32_t i = 0; i < r->n; i++)
        fprintf(f, "%s[%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", r->r[i].lo, r->r[i].hi);
    fputc(']', f);
}

static void put_lines(FILE *f, const struct report *r)
{
    fputs("  \"lines\": [", f);
    for (uint32_t i = 0; i < r->o->line_n; i++) {
        const struct line *l = &r->lines[i];
        const struct line_stats *s = &l->stats;
        uint32_t g = l->o.group;
        fprintf(f,
                "%s\n    {\"name\": \"%s\", \"group\": \"%u.%u.%u.%u\", \"port\": %u, \"packets\": "
                "%" PRIu64 ", \"messages\": %" PRIu64 ", \"bytes\": %" PRIu64
                ", \"heartbeats\": %" PRIu64 ", \"end_of_session\": %" PRIu64
                ", \"unsequenced\": %" PRIu64 ",\n     \"dropped_packets\": %" PRIu64
                ", \"dropped_messages\": %" PRIu64 ", \"dropped_heartbeats\": %" PRIu64
                ", \"duplicates\": %" PRIu64 ", \"reordered\": %" PRIu64 ", \"corrupt\": %" PRIu64
                ", \"divergent\": %" PRIu64 ",\n     \"malformed\": {",
                i ? "," : "", l->o.name, g >> 24, g >> 16 & 255, g >> 8 & 255, g & 255, l->o.port,
                s->packets, s->messages, s->bytes, s->idle, s->end, s->unsequenced,
                s->dropped_packets, s->dropped_messages, s->dropped_idle, s->duplicates,
                s->reordered, s->corrupt, s->divergent);
        const char *comma = "";
        for (uint32_t k = 0; k < MALFORMED_KINDS; k++) {
            if (l->malformed[k]) {
                fprintf(f, "%s\"%s\": %" PRIu64, comma, malformed_names[k], l->malformed[k]);
                comma = ", ";
            }
        }
        fputs("}}", f);
    }
    fputs("],\n", f);
}

static const uint64_t *sort_counts;

static int by_count(const void *a, const void *b)
{
    uint64_t x = sort_counts[*(const uint32_t *)a], y = sort_counts[*(const uint32_t *)b];
    return (x < y) - (x > y);
}

static bool put_symbols(FILE *f, const struct report *r, const struct account_session *s)
{
    uint32_t n = r->flow->names.count, most = r->o->report_symbols;
    uint32_t *order = malloc((n + 1) * sizeof *order), have = 0;
    if (!order)
        return false;
    for (uint32_t i = 1; i <= n; i++)
        if (s->names[i])
            order[have++] = i;
    sort_counts = s->names;
    if (most < have)
        qsort(order, have, sizeof *order, by_count);
    fputs("\"symbols\": {", f);
    for (uint32_t i = 0; i < have && i < most; i++) {
        const char *t = r->flow->names.text[order[i] - 1];
        int len = 8;
        while (len && t[len - 1] == ' ')
            len--;
        fprintf(f, "%s\"%.*s\": %" PRIu64, i ? ", " : "", len, t, s->names[order[i]]);
    }
    fputc('}', f);
    free(order);
    return true;
}

static void put_types(FILE *f, const struct account_session *s, bool text)
{
    const char *comma = "";
    fputs("\"types\": {", f);
    for (int t = 0; t < 256; t++) {
        if (!s->types[t])
            continue;
        if (text && isalnum(t))
            fprintf(f, "%s\"%c\": %" PRIu64, comma, t, s->types[t]);
        else
            fprintf(f, "%s\"0x%02x\": %" PRIu64, comma, t, s->types[t]);
        comma = ", ";
    }
    fputs("}", f);
}

static void put_json_text(FILE *f, const char *t)
{
    for (; *t; t++) {
        if (*t == '"' || *t == '\\')
            fputc('\\', f);
        if ((unsigned char)*t >= 32)
            fputc(*t, f);
    }
}

static bool put_session(FILE *f, const struct report *r, const struct account_session *s)
{
    fputs("\n    {\"key\": \"", f);
    put_json_text(f, s->key);
    fprintf(f,
            "\", \"stream\": %u, \"epoch\": %u, \"first\": %" PRIu64 ", \"last\": %" PRIu64
            ", \"next\": %" PRIu64 ", \"messages\": %" PRIu64 ", \"bytes\": %" PRIu64
            ", \"unsequenced\": %" PRIu64 ", \"checksum\": \"%016" PRIx64 "\",\n     ",
            s->stream, s->epoch, s->first, s->next - 1, s->next, s->messages, s->bytes,
            s->unsequenced, s->checksum);
    put_types(f, s, r->o->pub.protocol < SIM_CBOE);
    fputs(",\n     ", f);
    put_ranges(f, "lost", &s->lost);
    fputs(",\n     \"lines\": [", f);
    for (uint32_t i = 0; i < r->o->line_n; i++) {
        fprintf(f, "%s{\"name\": \"%s\", ", i ? ",\n       " : "", r->o->lines[i].name);
        put_ranges(f, "dropped", &s->line[i].dropped);
        fputs(", ", f);
        put_ranges(f, "corrupt", &s->line[i].corrupt);
        fputs(", ", f);
        put_ranges(f, "divergent", &s->line[i].divergent);
        fputc('}', f);
    }
    fputs("],\n     ", f);
    bool ok = put_symbols(f, r, s);
    fputc('}', f);
    return ok;
}

bool report_write(const struct report *r, const char *path, struct err *e)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "we") : stdout;
    if (!f)
        return err_set(e, -errno, "cannot create %s: %s", path, strerror(errno));
    const struct opts *o = r->o;
    fprintf(f,
            "{\"program\": \"penstock-sim\", \"version\": \"%s\", \"protocol\": \"%s\", \"seed\": "
            "%" PRIu64 ", \"date\": \"%04d-%02d-%02d\", \"complete\": %s,\n"
            "  \"messages\": %" PRIu64 ", \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64
            ", \"wall_seconds\": %.6f, \"market_first_ns\": %" PRId64
            ", \"market_last_ns\": %" PRId64 ", \"late_max_ns\": %" PRId64 ", \"stalls\": %" PRIu64
            ", \"unsent\": %" PRIu64 ",\n",
            PST_VERSION, wire_name(o->pub.protocol), o->seed, o->year, o->month, o->day,
            r->complete ? "true" : "false", r->a->messages, r->out->packets, r->out->bytes, r->wall,
            r->first, r->last, r->out->late_max, r->out->stalls, r->out->unsent);
    put_lines(f, r);
    fputs("  \"sessions\": [", f);
    bool ok = true;
    for (uint32_t i = 0; i < r->a->session_n; i++) {
        if (i)
            fputc(',', f);
        ok &= put_session(f, r, r->a->sessions[i]);
    }
    fputs("]}\n", f);
    bool failed = ferror(f) || !ok;
    if ((f == stdout ? fflush(f) : fclose(f)) != 0 || failed)
        return err_set(e, -EIO, "cannot write the report %s", path);
    return true;
}
