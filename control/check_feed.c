/* SPDX-License-Identifier: Apache-2.0 */
/* check_feed.c - feeds: do their lines come in, and on what. */
#include "check_report.h"
#include "wiring_framing.h"

static const struct config_port *port_of(const struct config *c, const char *feed, const char *line)
{
    for (uint32_t i = 0; i < c->ports.count; i++)
        for (uint32_t j = 0; j < c->ports.at[i].groups.count; j++) {
            const struct config_group *g = &c->ports.at[i].groups.at[j];
            if (!strcmp(g->feed, feed) && (!line || !strcmp(g->line, line)))
                return &c->ports.at[i];
        }
    return NULL;
}

static void check_lines(struct check *k, const struct config_feed *f)
{
    const struct config *c = k->config;
    const struct config_port *first = NULL;
    const char *line = NULL;
    unsigned lines = 0, ports = 0;
    for (uint32_t i = 0; i < f->lines.count; i++)
        if (!port_of(c, f->name, f->lines.at[i].name)) {
            FIND(k, FEED_NO_GROUP, f->name, f->lines.at[i].name);
            return;
        }
    for (uint32_t i = 0; i < c->ports.count; i++) {
        bool here = false;
        for (uint32_t j = 0; j < c->ports.at[i].groups.count; j++) {
            const struct config_group *g = &c->ports.at[i].groups.at[j];
            if (strcmp(g->feed, f->name) != 0)
                continue;
            here = true;
            if (!line || strcmp(line, g->line) != 0)
                lines++;
            line = g->line;
        }
        if (!here)
            continue;
        ports++;
        if (first && first->lcore != c->ports.at[i].lcore)
            FIND(k, FEED_SPLIT, f->name, check_text(k, "%lld", (long long)first->lcore),
                 check_text(k, "%lld", (long long)c->ports.at[i].lcore), first->name,
                 c->ports.at[i].name);
        first = first ? first : &c->ports.at[i];
    }
    if (!lines)
        FIND(k, FEED_NO_GROUP, f->name, "A");
    else if (lines == 1)
        FIND(k, FEED_SINGLE, f->name);
    else if (ports == 1)
        FIND(k, FEED_ONE_PORT, f->name, first->name);
}

void check_feeds(struct check *k)
{
    for (uint32_t i = 0; i < k->config->feeds.count; i++) {
        const struct config_feed *f = &k->config->feeds.at[i];
        if (k->config->ports.count)
            check_lines(k, f);
        const struct config_framing *own = config_framing_named(k->config, f->framing);
        struct framing framing;
        struct err err = {0};
        if (own && !wiring_framing(k->config, own, &framing, &err))
            FIND(k, FEED_FRAMING, f->name, err.text);
        if (f->decoder == CONFIG_DECODE_NONE)
            FIND(k, FEED_RAW, f->name);
    }
}
