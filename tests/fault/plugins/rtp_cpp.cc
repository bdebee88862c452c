/* SPDX-License-Identifier: Apache-2.0 */
/* Installed headers of real-time plugins as C++ reads them: without a warning, and with hidden
 * symbols the three that every plugin exports are still there. */
#include <penstock/bars.h>
#include <penstock/streams.h>

static int run(struct pst_rtp *r, const struct pst_map *, struct pst_result *out, void *)
{
    struct pst_value v = pst_int_value(PST_LONG, (int64_t)pst_rtp_host->position(r));
    return pst_rtp_host->add(r, out, &v);
}
static const struct pst_column columns[] = {{"n", PST_LONG}};
static const struct pst_api api = {"cpp",  "A function of C++.", nullptr, 0, columns, 1, run,
                                   nullptr};

PST_RTP_PLUGIN("cpp", "1", "C++")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    return pst_rtp_host->api(g, &api);
}
