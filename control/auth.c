/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_parts.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "access.h"
#include "topo.h"

#define SHARE    (AUTH_QUEUE / 4)
#define LOOK_NS  NS_PER_S
#define SWEEP_NS (50 * NS_PER_MS)
#define WAKE     UINT32_MAX /* epoll's word for the queue's eventfd */

int64_t auth_now(struct auth *a)
{
    return a->c.now ? a->c.now(a->c.now_arg) : clock_monotonic();
}

static uint16_t class_of(const struct auth *a, const struct address *from)
{
    return address_class(from, a->seed);
}

static void wake(struct auth *a)
{
    uint64_t one = 1;
    if (write(a->wake, &one, sizeof one) != sizeof one)
        return; /* its counter is full: it is awake */
}

/* ---- mailboxes --------------------------------------------------------------------------------
 */

struct auth_mailbox *auth_mailbox(struct auth *a)
{
    struct auth_mailbox *m = a->boxes < AUTH_MAILBOXES ? calloc(1, sizeof *m) : NULL;
    if (!m)
        return NULL;
    m->auth = a;
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd < 0) {
        free(m);
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    a->box[a->boxes++] = m;
    return m;
}

int auth_fd(const struct auth_mailbox *m)
{
    return m->fd;
}

/* There is room: `outstanding` is bounded. */
void auth_answer(struct auth_mailbox *m, const struct auth_result *r)
{
    uint64_t one = 1;
    pthread_mutex_lock(&m->lock);
    m->result[(m->head + m->count++) % RESULTS] = *r;
    pthread_mutex_unlock(&m->lock);
    if (write(m->fd, &one, sizeof one) != sizeof one)
        return; /* its counter is full: it is readable */
}

bool auth_next(struct auth_mailbox *m, struct auth_result *out)
{
    uint64_t n;
    pthread_mutex_lock(&m->lock);
    bool some = m->count != 0;
    if (some) {
        *out = m->result[m->head];
        m->head = (m->head + 1) % RESULTS;
        m->count--;
    } else if (read(m->fd, &n, sizeof n) < 0) {
        n = 0; /* nothing was written since */
    }
    pthread_mutex_unlock(&m->lock);
    if (some) {
        pthread_mutex_lock(&m->auth->lock);
        m->outstanding--;
        pthread_mutex_unlock(&m->auth->lock);
    }
    return some;
}

const char *auth_verdict_text(enum auth_verdict v)
{
    static const char *const names[] = {"accepted", "password", "network",  "timeout",  "tls",
                                        "level",    "stopped",  "external", "validator"};
    return names[v];
}

unsigned auth_waiting(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    unsigned n = a->waiting;
    pthread_mutex_unlock(&a->lock);
    return n;
}

/* ---- the queue; a->lock is held ---------------------------------------------------------------
 */

static struct jobs *list_of(struct auth *a, const struct job *j)
{
    return j->state == JOB_FRESH ? &a->fresh : &a->waits;
}

void auth_link_job(struct auth *a, struct job *j, int state)
{
    uint16_t at = (uint16_t)(j - a->job);
    j->state = state;
    struct jobs *l = list_of(a, j);
    j->next = NONE;
    j->prev = l->last;
    *(l->last == NONE ? &l->first : &a->job[l->last].next) = at;
    l->last = at;
    a->waiting++;
}

void auth_unlink_job(struct auth *a, struct job *j)
{
    struct jobs *l = list_of(a, j);
    *(j->prev == NONE ? &l->first : &a->job[j->prev].next) = j->next;
    *(j->next == NONE ? &l->last : &a->job[j->next].prev) = j->prev;
    a->waiting--;
    j->state = JOB_HANDLED;
}

/* It is on no list. */
void auth_free_job(struct auth *a, struct job *j)
{
    OPENSSL_cleanse(j->password, sizeof j->password);
    a->of_class[j->class]--;
    j->state = JOB_FREE;
    j->next = a->free;
    a->free = (uint16_t)(j - a->job);
}

static struct job *new_job(struct auth_mailbox *m, uint64_t token, const struct address *from)
{
    struct auth *a = m->auth;
    uint16_t class = class_of(a, from);
    if (a->stopped || a->free == NONE || m->outstanding >= RESULTS ||
        (!from->local && a->of_class[class] >= SHARE)) {
        atomic_fetch_add_explicit(&a->overflow, 1, memory_order_relaxed);
        return NULL;
    }
    struct job *j = &a->job[a->free];
    a->free = j->next;
    a->token[j - a->job] = j->token = token;
    j->box = m;
    j->from = *from;
    j->class = class;
    j->cancelled = false;
    a->of_class[class]++;
    m->outstanding++;
    auth_link_job(a, j, JOB_FRESH);
    return j;
}

bool auth_login(struct auth_mailbox *m, uint64_t token, const struct address *from, int64_t came,
                const char *user, size_t user_len, const char *password, size_t password_len)
{
    struct auth *a = m->auth;
    pthread_mutex_lock(&a->lock);
    struct job *j = new_job(m, token, from);
    if (j) {
        j->kind = AUTH_LOGIN;
        j->came = came;
        j->user_len = (uint16_t)(user_len <= USER_NAME_MAX ? user_len : 0);
        memcpy(j->user, user, j->user_len);
        j->password_len =
            (uint16_t)(password_len <= SCRAM_PASSWORD_MAX ? password_len : SCRAM_PASSWORD_MAX + 1);
        memcpy(j->password, password,
               password_len <= SCRAM_PASSWORD_MAX ? password_len : SCRAM_PASSWORD_MAX);
    }
    pthread_mutex_unlock(&a->lock);
    if (j)
        wake(a);
    return j;
}

bool auth_peer(struct auth_mailbox *m, uint64_t token, const struct address *from, gid_t gid)
{
    struct auth *a = m->auth;
    pthread_mutex_lock(&a->lock);
    struct job *j = new_job(m, token, from);
    if (j) {
        j->kind = AUTH_PEER;
        j->came = auth_now(a);
        j->gid = gid;
        j->user_len = j->password_len = 0;
    }
    pthread_mutex_unlock(&a->lock);
    if (j)
        wake(a);
    return j;
}

bool auth_handshake(struct auth_mailbox *m, uint64_t token, const struct address *from,
                    int64_t came, struct stream *s)
{
    struct auth *a = m->auth;
    uint16_t class = class_of(a, from);
    struct handshake *h = NULL;
    pthread_mutex_lock(&a->lock);
    if (!a->stopped && a->c.tls && m->outstanding < RESULTS && a->hands < AUTH_HANDSHAKES &&
        (from->local || a->hand_of_class[class] < AUTH_HANDSHAKES / 4))
        for (unsigned i = 0; i < AUTH_HANDSHAKES && !h; i++)
            if (a->hand[i].state == HAND_FREE)
                h = &a->hand[i];
    if (h) {
        *h = (struct handshake){
            .box = m, .token = token, .stream = s, .came = came, .class = class, .state = HAND_NEW};
        a->hands++;
        a->hand_of_class[class]++;
        a->hand_new = true;
        m->outstanding++;
    } else {
        atomic_fetch_add_explicit(&a->overflow, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&a->lock);
    if (h)
        wake(a);
    return h;
}

void auth_cancel(struct auth_mailbox *m, uint64_t token)
{
    struct auth *a = m->auth;
    pthread_mutex_lock(&a->lock);
    for (unsigned i = 0; i < AUTH_QUEUE; i++) {
        struct job *j = &a->job[i];
        if (a->token[i] != token || j->box != m || j->state == JOB_FREE)
            continue;
        j->cancelled = true;
        if (j->state != JOB_HANDLED) {
            auth_unlink_job(a, j);
            auth_free_job(a, j);
            m->outstanding--;
        }
        break;
    }
    for (unsigned i = 0; a->hands && i < AUTH_HANDSHAKES; i++)
        if (a->hand[i].state != HAND_FREE && a->hand[i].token == token && a->hand[i].box == m) {
            a->hand[i].cancelled = true;
            a->hand_new = true;
            wake(a);
        }
    pthread_mutex_unlock(&a->lock);
}

/* ---- handshakes -------------------------------------------------------------------------------
 */

static void end_handshake(struct auth *a, struct handshake *h, enum auth_verdict v,
                          const char *text)
{
    struct auth_result r = {.token = h->token, .kind = AUTH_HANDSHAKE, .verdict = v};
    snprintf(r.text, sizeof r.text, "%s", text);
    if (h->state == HAND_RUNS)
        epoll_ctl(a->epfd, EPOLL_CTL_DEL, h->stream->fd, NULL);
    struct auth_mailbox *m = h->box;
    pthread_mutex_lock(&a->lock);
    h->state = HAND_FREE;
    a->hands--;
    a->hand_of_class[h->class]--;
    pthread_mutex_unlock(&a->lock);
    if (v == AUTH_ACCEPTED)
        COUNT(a, TLS_HANDSHAKES);
    else
        COUNT(a, TLS_FAILED);
    auth_answer(m, &r);
}

static void shake(struct auth *a, struct handshake *h)
{
    char text[128];
    int r = stream_handshake(h->stream, a->c.tls, text);
    if (r != -EAGAIN) {
        end_handshake(a, h, r ? AUTH_TLS : AUTH_ACCEPTED, text);
        return;
    }
    uint32_t events = stream_events(h->stream, false);
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)(h - a->hand)};
    if (h->state == HAND_RUNS && events == h->events)
        return;
    if (epoll_ctl(a->epfd, h->state == HAND_RUNS ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, h->stream->fd,
                  &e)) {
        end_handshake(a, h, AUTH_TLS, strerror(errno));
        return;
    }
    h->state = HAND_RUNS; /* only this thread looks at it beyond FREE or not */
    h->events = events;
}

/* New ones begin, cancelled and late ones end. */
static int sweep(struct auth *a, int64_t now)
{
    int64_t limit = load_relaxed(&a->login_timeout);
    int did = 0;
    pthread_mutex_lock(&a->lock);
    bool any = a->hand_new, some = a->hands;
    a->hand_new = false;
    pthread_mutex_unlock(&a->lock);
    if (!some || (!any && now - a->swept_at < SWEEP_NS))
        return 0;
    a->swept_at = now;
    for (unsigned i = 0; i < AUTH_HANDSHAKES; i++) {
        struct handshake *h = &a->hand[i];
        pthread_mutex_lock(&a->lock);
        int state = h->state;
        bool cancelled = h->cancelled;
        pthread_mutex_unlock(&a->lock);
        if (state == HAND_FREE)
            continue;
        did++;
        if (cancelled)
            end_handshake(a, h, AUTH_STOPPED, "the connection was given up");
        else if (now - h->came >= limit)
            end_handshake(a, h, AUTH_TIMEOUT, "the TLS handshake took longer than login_timeout");
        else if (state == HAND_NEW)
            shake(a, h);
        else
            did--;
    }
    return did;
}

/* ---- the thread -------------------------------------------------------------------------------
 */

static void look(struct auth *a, int64_t now)
{
    char problem[500];
    if (now - a->looked_at < LOOK_NS)
        return;
    a->looked_at = now;
    if (a->c.tls)
        tls_look(a->c.tls);
    users_look(a->c.users);
    uint64_t generation = users_generation(a->c.users);
    users_problem(a->c.users, problem);
    if (generation != a->generation_seen) {
        char text[80];
        a->generation_seen = generation;
        snprintf(text, sizeof text, "%u users", users_count(a->c.users));
        access_log(a->c.access, &ACCESS_ENTRY(.event = ACCESS_RELOAD, .text = text));
        COUNT(a, USERS_LOADED);
    } else if (*problem && strcmp(problem, a->problem_seen)) {
        access_log(a->c.access, &ACCESS_ENTRY(.event = ACCESS_RELOAD, .reason = problem));
    }
    memcpy(a->problem_seen, problem, sizeof problem);
}

int auth_work(void *arg)
{
    struct auth *a = arg;
    struct epoll_event e[64];
    int did = 0, n = epoll_wait(a->epfd, e, PST_COUNT(e), 0);
    uint64_t v;
    for (int i = 0; i < n; i++) {
        if (e[i].data.u32 == WAKE) {
            if (read(a->wake, &v, sizeof v) < 0)
                v = 0; /* nothing was written since */
        } else if (e[i].data.u32 >= AUTH_HANDSHAKES) {
            struct call *k = &a->call[e[i].data.u32 - AUTH_HANDSHAKES];
            if (k->v.live)
                auth_step_call(a, k);
        } else if (a->hand[e[i].data.u32].state == HAND_RUNS) {
            shake(a, &a->hand[e[i].data.u32]);
        }
        did++;
    }
    int64_t now = auth_now(a);
    did += sweep(a, now);
    did += auth_calls(a, now);
    did += auth_logins(a);
    look(a, now);
    uint64_t overflow = load_relaxed(&a->overflow);
    if (overflow != a->overflow_seen && a->c.status)
        count_add(a->c.status, AUTH_OVERFLOW, overflow - a->overflow_seen);
    a->overflow_seen = overflow;
    return did;
}

/* Until something comes or is due. */
static void auth_wait(void *arg)
{
    struct auth *a = arg;
    struct epoll_event e;
    int64_t ms = LOOK_NS / NS_PER_MS;
    pthread_mutex_lock(&a->lock);
    bool waiting = a->waits.first != NONE, hands = a->hands;
    pthread_mutex_unlock(&a->lock);
    if (waiting) {
        ms = (a->next_at - auth_now(a) + NS_PER_MS - 1) / NS_PER_MS;
        ms = ms < 1 ? 1 : ms > 100 ? 100 : ms; /* late ones are seen soon */
    } else if (hands) {
        ms = SWEEP_NS / NS_PER_MS;
    }
    if (a->calls && ms > CALL_MS)
        ms = CALL_MS;
    epoll_wait(a->epfd, &e, 1, (int)ms);
}

/* Whoever still waits is told. */
static void auth_fini(void *arg)
{
    struct auth *a = arg;
    pthread_mutex_lock(&a->lock);
    a->stopped = true;
    pthread_mutex_unlock(&a->lock);
    auth_refuse_all(a);
    for (unsigned i = 0; i < AUTH_HANDSHAKES; i++)
        if (a->hand[i].state != HAND_FREE)
            end_handshake(a, &a->hand[i], AUTH_STOPPED, "penstockd stops");
}

static const struct thread_ops ops = {.work = auth_work, .wait = auth_wait, .fini = auth_fini};

/* ---- life -------------------------------------------------------------------------------------
 */

struct auth *auth_open(const struct auth_config *c, struct err *err)
{
    struct auth *a = calloc(1, sizeof *a);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = WAKE};
    if (!a) {
        err_set(err, -ENOMEM, "auth: no memory");
        return NULL;
    }
    a->c = *c;
    a->epfd = epoll_create1(EPOLL_CLOEXEC);
    a->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&a->lock, NULL);
    if (a->epfd < 0 || a->wake < 0 || epoll_ctl(a->epfd, EPOLL_CTL_ADD, a->wake, &e) ||
        RAND_bytes(a->secret, sizeof a->secret) != 1 ||
        RAND_bytes((uint8_t *)&a->seed, sizeof a->seed) != 1) {
        err_set(err, -EIO, "auth: %s", errno ? strerror(errno) : "no random bytes");
        auth_close(a);
        return NULL;
    }
    a->fresh = a->waits = (struct jobs){NONE, NONE};
    for (unsigned i = 0; i < AUTH_QUEUE; i++)
        a->job[i].next = i + 1 < AUTH_QUEUE ? (uint16_t)(i + 1) : NONE;
    a->generation_seen = users_generation(c->users);
    auth_limits(a, c->rate, c->login_timeout);
    return a;
}

bool auth_start(struct auth *a, struct err *err)
{
    const struct topo_thread *t = topo_thread("auth");
    thread_define(&a->thread, a->c.status, t->name, &ops, a, a->c.clock, WAIT_DOZE, t->nice, -1);
    return thread_start(&a->thread, err);
}

void auth_stop(struct auth *a)
{
    if (!a || !a->thread.running)
        return;
    store_release(&a->thread.stop, true);
    wake(a);
    thread_stop(&a->thread);
}

void auth_close(struct auth *a)
{
    if (!a)
        return;
    auth_stop(a);
    for (unsigned i = 0; i < a->boxes; i++) {
        struct auth_mailbox *m = a->box[i];
        for (; m->count; m->count--, m->head = (m->head + 1) % RESULTS)
            user_release(m->result[m->head].user);
        close(m->fd);
        pthread_mutex_destroy(&m->lock);
        free(m);
    }
    for (unsigned i = 0; i < VALIDATOR_CALLS; i++) /* a thread that never ran: tests */
        if (a->call[i].v.live)
            validator_end(&a->call[i].v);
    if (a->epfd >= 0)
        close(a->epfd);
    if (a->wake >= 0)
        close(a->wake);
    pthread_mutex_destroy(&a->lock);
    OPENSSL_cleanse(a, sizeof *a);
    free(a);
}

void auth_access(struct auth *a, const struct config_access *access)
{
    pthread_mutex_lock(&a->lock);
    a->access = *access;
    pthread_mutex_unlock(&a->lock);
}

void auth_limits(struct auth *a, int64_t rate, int64_t login_timeout)
{
    store_relaxed(&a->rate, rate > 0 ? rate : 1);
    store_relaxed(&a->login_timeout, login_timeout);
}
