/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/status.h"

static const char status_magic[8] = "PSTSTAT1";
static const char *const counter_names[] = {
#define X(ID, name, owner, text) name,
#include "core/counters.def"
#undef X
};
static const char *const alarm_codes[] = {
#define X(ID, code, severity, raise, clear, text, remedy) code,
#include "core/alarms.def"
#undef X
};

const char *counter_name(unsigned i)
{
    return i < COUNTERS ? counter_names[i] : "?";
}
const char *alarm_code(unsigned i)
{
    return i < ALARMS ? alarm_codes[i] : "?";
}

struct status *status_create(const char *instance, struct err *err)
{
    int fd = memfd_create("penstock-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, sizeof(struct status))) {
        err_set(err, -errno, "status: no shared memory: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct status *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (s == MAP_FAILED) {
        err_set(err, -errno, "status: cannot map: %s", strerror(errno));
        close(fd);
        return NULL;
    }
    memcpy(s->magic, status_magic, 8);
    s->bytes = sizeof *s;
    s->pid = (uint32_t)getpid();
    snprintf(s->instance, sizeof s->instance, "%s", instance);
    s->started = clock_system();
    s->fd = fd;
    return s;
}

bool status_seal(struct status *s)
{
    return fcntl(s->fd, F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

const struct status *status_attach(int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size != (off_t)sizeof(struct status)) {
        err_set(err, -EBADMSG, "status: the segment is of another version");
        return NULL;
    }
    const struct status *s = mmap(NULL, sizeof *s, PROT_READ, MAP_SHARED, fd, 0);
    if (s == MAP_FAILED || memcmp(s->magic, status_magic, 8)) {
        err_set(err, -EBADMSG, "status: not a status segment");
        return NULL;
    }
    return s;
}

void status_destroy(struct status *s)
{
    if (!s)
        return;
    int fd = s->fd;
    munmap(s, sizeof *s);
    close(fd);
}

struct status_session *status_session_add(struct status *s, uint32_t feed, const char *text,
                                          int32_t day, uint32_t epoch)
{
    uint32_t i = atomic_fetch_add_explicit(&s->n_sessions, 1, memory_order_relaxed);
    if (i >= STATUS_SESSIONS) {
        store_relaxed(&s->n_sessions, STATUS_SESSIONS);
        return NULL;
    }
    struct status_session *x = &s->sessions[i];
    status_session_name(x, feed, text, day, epoch);
    return x;
}

void status_session_name(struct status_session *x, uint32_t feed, const char *text, int32_t day,
                         uint32_t epoch)
{
    __atomic_store_n(&x->text[0], 0, __ATOMIC_RELEASE); /* readers skip it meanwhile */
    atomic_thread_fence(memory_order_release);
    store_relaxed(&x->state, 0);
    store_relaxed(&x->first, 0);
    store_relaxed(&x->next, 0);
    store_relaxed(&x->high, 0);
    store_relaxed(&x->waiting, 0);
    x->feed = feed;
    x->day = day;
    x->epoch = epoch;
    if (!*text)
        text = "-";
    snprintf(x->text + 1, sizeof x->text - 1, "%s", text + 1);
    __atomic_store_n(&x->text[0], text[0], __ATOMIC_RELEASE); /* T1: pairs with T2 */
}
