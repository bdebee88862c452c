/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include "house.h"
#include "start.h"
#include "wiring.h"

struct part {
    bool (*run)(struct daemon *d, struct err *err);
    struct daemon *d;
    pthread_t thread;
    bool started, ok;
    struct err err;
};

static void *run(void *arg)
{
    struct part *p = arg;
    p->ok = p->run(p->d, &p->err);
    return NULL;
}

static bool on_caller(struct daemon *d, struct err *err)
{
    return wiring_lcores(d, err) && wiring_eal(d, err);
}

bool start_parts(struct daemon *d, struct err *err)
{
    struct part part[] = {{.run = wiring_recover}, {.run = wiring_ring}, {.run = on_caller}};
    const unsigned n = PST_COUNT(part);
    house_leave(); /* nothing receives yet: the lcores' CPUs help */
    for (unsigned i = 0; i < n; i++) {
        part[i].d = d;
        part[i].started = i < n - 1 && pthread_create(&part[i].thread, NULL, run, &part[i]) == 0;
    }
    if (!d->replay)
        house_enter(d->config);
    for (unsigned i = n; i-- > 0;)
        if (!part[i].started) /* the caller's own, and where no thread was to be had */
            run(&part[i]);
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        if (part[i].started)
            pthread_join(part[i].thread, NULL);
        if (ok && !part[i].ok) {
            *err = part[i].err;
            ok = false;
        }
    }
    if (!ok)
        wiring_eal_stop();
    return ok;
}
