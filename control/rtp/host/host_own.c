/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that every process has, whatever plugins it carries: `.sa.` as the framework's users
 * know it. */
#define PST_RTP_BUILTIN sa
#include "host.h"

static struct pst_value text_of(uint32_t type, const char *text)
{
    struct pst_value v = {.type = type};
    v.text = (struct pst_text){text ? text : "", text ? (uint32_t)strlen(text) : 0};
    return v;
}

static int set_debug(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out,
                     void *data)
{
    struct pst_value was = {.type = PST_BOOLEAN, .i = pst_rtp_host->debugging(r)};
    (void)data;
    pst_rtp_host->set_debug(r, pst_map_get(map, "on")->value[0].i != 0);
    return pst_rtp_host->add(r, out, &was);
}

/* Id -> parameters, of all plugins of the process. */
static int subscriptions(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out,
                         void *data)
{
    (void)map, (void)data;
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (const struct host_sub *s = r->host->by_uid[i]; s; s = s->next_uid) {
            struct pst_value v[] = {{.type = PST_LONG, .i = (int64_t)s->uid},
                                    text_of(PST_SYMBOL, s->plugin->name),
                                    text_of(PST_SYMBOL, s->a->name),
                                    text_of(PST_STRING, s->params),
                                    {.type = PST_LONG, .i = s->own}};
            if (pst_rtp_host->add(r, out, v))
                return -1;
        }
    return 0;
}

static const struct pst_parameter on[] = {
    {"on", PST_BOOLEAN, NULL, "1: debug lines are written; 0: none"}};
static const struct pst_column was[] = {{"was", PST_BOOLEAN}};
static const struct pst_column of[] = {{"id", PST_LONG},
                                       {"plugin", PST_SYMBOL},
                                       {"analytic", PST_SYMBOL},
                                       {"parameters", PST_STRING},
                                       {"uid", PST_LONG}};
static const struct pst_api functions[] = {
    {".sa.log.setDebug", "Switches debug lines; says how it was.", on, 1, was, 1, set_debug, NULL},
    {".sa.subscriptions", "What this process computes, for whom it does not matter.", NULL, 0, of,
     5, subscriptions, NULL}};

PST_RTP_PLUGIN("sa", PST_VERSION, "The interface itself.")
int pst_rtp_register(struct pst_rtp_registry *g)
{
    return pst_rtp_host->api(g, &functions[0]) || pst_rtp_host->api(g, &functions[1]);
}
