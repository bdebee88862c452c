/* SPDX-License-Identifier: Apache-2.0 */
/* --hard-reset: the open date's log files are set aside, behind recovery and before the journal. */
#include <errno.h>
#include "wiring_parts.h"

static int set_aside(struct wiring *w, const char *path, char to[CURSOR_PATH + 32])
{
    struct io *io = w->io;
    struct io_stat st;
    for (unsigned i = 0;; i++) {
        char tail[24] = "";
        if (i)
            snprintf(tail, sizeof tail, ".%u", i);
        snprintf(to, CURSOR_PATH + 32, "%s.reset%s", path, tail);
        if (io->ops->stat(io, to, &st) < 0)
            break;
    }
    return io->ops->rename(io, path, to);
}

/* What the files held of each session is declared lost: all of its numbers, since all rows of a
 * session stand in the files of its date. */
static void declare(struct recovery *r, int32_t day)
{
    struct recovery_gap *gap = calloc(r->gaps + r->sessions + 1, sizeof *gap);
    uint32_t n = 0;
    pst_must(gap);
    for (uint32_t i = 0; i < r->gaps; i++) {
        bool told = false;
        for (uint32_t k = 0; k < r->sessions && !told; k++)
            told = r->session[k].day >= day && !strcmp(r->session[k].feed, r->gap[i].feed) &&
                   !strcmp(r->session[k].session, r->gap[i].session);
        if (!told)
            gap[n++] = r->gap[i];
    }
    for (uint32_t i = 0; i < r->sessions; i++) {
        const struct recovery_session *s = &r->session[i];
        if (s->day < day || s->next <= s->first)
            continue;
        struct recovery_gap *g = &gap[n++];
        *g = (struct recovery_gap){.first = s->first,
                                   .last = s->next - 1,
                                   .day = (uint16_t)s->day,
                                   .reason = "hard_reset"};
        snprintf(g->feed, sizeof g->feed, "%s", s->feed);
        snprintf(g->session, sizeof g->session, "%s", s->session);
    }
    free(r->gap);
    r->gap = gap;
    r->gaps = n;
}

bool wiring_hard_reset(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    struct recovery *r = w->recovery;
    char to[CURSOR_PATH + 32];
    unsigned n = 0;
    if (r->empty)
        return true;
    for (uint32_t i = r->cursor.files; i-- > 0;) {
        const struct cursor_file *f = r->cursor.file[i];
        if (f->header.day < d->day)
            continue;
        int rc = set_aside(w, f->path, to);
        if (rc < 0)
            return err_set(err, rc, "%s: cannot be renamed: %s", f->path, strerror(-rc));
        const char *slash = strrchr(f->path, '/');
        catalogue_remove_file(&w->catalogue, slash ? slash + 1 : f->path);
        fprintf(stderr, "penstockd: --hard-reset: %s is now %s\n", f->path, to);
        n++;
    }
    for (unsigned i = 0; n && i < CURSOR_DIRS && r->cfg.dirs[i]; i++)
        w->io->ops->sync_dir(w->io, r->cfg.dirs[i]);
    declare(r, d->day);
    if (n)
        recovery_set_aside(r, d->day);
    /* The journal goes on at the lease's end, as behind a crash. */
    w->restarted = true;
    w->clean = false;
    if (w->start == r->old_end) {
        uint64_t lease = lease_end(&w->lease);
        w->start = lease > r->old_end ? lease : pst_align_up(r->old_end + 1, RECOVERY_LEASE);
    }
    fprintf(stderr,
            "penstockd: --hard-reset: %u files set aside; what they held is declared lost\n", n);
    return true;
}
