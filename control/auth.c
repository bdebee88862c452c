/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "access.h"
#include "core/thread.h"
#include "level.h"
#include "scram.h"
#include "topo.h"
#include "validator.h"

#define RESULTS     (AUTH_QUEUE + AUTH_HANDSHAKES)
#define NONE        UINT16_MAX
#define SHARE       (AUTH_QUEUE / 4)
#define LOOK_NS     NS_PER_S
#define SWEEP_NS    (50 * NS_PER_MS)
#define CALL_MS     20 /* a validator whose queue is full is tried again */
#define CACHE_WAYS  4u
#define CACHE_GUESS 3u
#define WAKE        UINT32_MAX /* epoll's word for the queue's eventfd */

struct job {
    struct auth_mailbox *box;
    uint64_t token;
    struct address from;
    int64_t came;
    enum auth_kind kind;
    gid_t gid;
    enum { JOB_FREE, JOB_FRESH, JOB_HANDLED, JOB_WAITS } state;
    bool cancelled; /* while it was being handled */
    uint16_t next, prev, class;
    uint16_t user_len, password_len; /* user_len 0: no user can have that name */
    char user[USER_NAME_MAX + 1], password[SCRAM_PASSWORD_MAX];
};

struct handshake {
    struct auth_mailbox *box;
    uint64_t token;
    struct stream *stream;
    int64_t came;
    uint16_t class;
    enum { HAND_FREE, HAND_NEW, HAND_RUNS } state;
    bool cancelled;
    uint32_t events;
};

struct call { /* of the validator; its job is JOB_HANDLED all the while */
    struct validator_call v;
    struct job *job;
    int64_t deadline;
    uint32_t events; /* in epoll; 0: not yet */
};

struct auth_mailbox {
    struct auth *auth;
    int fd;
    pthread_mutex_t lock;              /* guards head, count, result */
    uint32_t head, count, outstanding; /* outstanding: asked and not yet taken; auth->lock */
    struct auth_result result[RESULTS];
};

struct entry { /* of the cache */
    uint8_t id[16], proof[32];
    int64_t until; /* 0: free */
    unsigned misses;
};

struct auth {
    struct auth_config c;
    struct thread thread;
    int epfd, wake;
    pthread_mutex_t lock; /* guards all to the next blank line */
    struct job job[AUTH_QUEUE];
    uint64_t token[AUTH_QUEUE]; /* of job[i], close together to be searched */
    uint16_t free;              /* a list by next */
    struct jobs {
        uint16_t first, last;
    } fresh, waits;
    unsigned waiting; /* of either list */
    uint16_t of_class[ADDRESS_CLASSES], hand_of_class[ADDRESS_CLASSES];
    uint64_t turn_of_class[ADDRESS_CLASSES], turn; /* when it had a check last */
    struct handshake hand[AUTH_HANDSHAKES];
    unsigned hands;
    bool hand_new, stopped;
    struct config_access access;
    char validator_problem[128];

    struct auth_mailbox *box[AUTH_MAILBOXES];
    unsigned boxes;
    _Atomic int64_t rate, login_timeout;
    _Atomic uint64_t overflow;
    /* the thread's */
    uint8_t secret[32];
    uint32_t seed;
    int64_t next_at, looked_at, swept_at;
    uint64_t overflow_seen, generation_seen;
    char problem_seen[500];
    struct entry cache[AUTH_CACHE];
    struct call call[VALIDATOR_CALLS];
    unsigned calls;
};

static int64_t now_of(struct auth *a)
{
    return a->c.now ? a->c.now(a->c.now_arg) : clock_monotonic();
}

#define COUNT(a, id)                                                                               \
    do {                                                                                           \
        if ((a)->c.status)                                                                         \
            count_add((a)->c.status, id, 1);                                                       \
    } while (0)

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
static void answer(struct auth_mailbox *m, const struct auth_result *r)
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

static void link_job(struct auth *a, struct job *j, int state)
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

static void unlink_job(struct auth *a, struct job *j)
{
    struct jobs *l = list_of(a, j);
    *(j->prev == NONE ? &l->first : &a->job[j->prev].next) = j->next;
    *(j->next == NONE ? &l->last : &a->job[j->next].prev) = j->prev;
    a->waiting--;
    j->state = JOB_HANDLED;
}

/* It is on no list. */
static void free_job(struct auth *a, struct job *j)
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
    link_job(a, j, JOB_FRESH);
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
        j->came = now_of(a);
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
            unlink_job(a, j);
            free_job(a, j);
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

/* ---- the cache --------------------------------------------------------------------------------
 */

static void proof(struct auth *a, const struct job *j, uint64_t generation, bool whole,
                  uint8_t out[32])
{
    uint8_t text[1 + 8 + 2 + USER_NAME_MAX + 16 + SCRAM_PASSWORD_MAX];
    size_t n = 0;
    unsigned len = 32;
    text[n++] = whole;
    put64(text + n, whole ? generation : 0);
    put16(text + n + 8, j->user_len);
    n += 10;
    memcpy(text + n, j->user, j->user_len);
    n += j->user_len;
    memcpy(text + n, j->from.ip, 16);
    n += 16;
    if (whole) {
        memcpy(text + n, j->password, j->password_len);
        n += j->password_len;
    }
    if (!HMAC(EVP_sha256(), a->secret, sizeof a->secret, text, n, out, &len))
        RAND_bytes(out, 32); /* no HMAC: nothing is found */
    OPENSSL_cleanse(text, sizeof text);
}

static struct entry *ways(struct auth *a, const uint8_t id[32])
{
    return &a->cache[(le32(id) % (AUTH_CACHE / CACHE_WAYS)) * CACHE_WAYS];
}

static bool cacheable(const struct job *j)
{
    return j->user_len && j->password_len && j->password_len <= SCRAM_PASSWORD_MAX;
}

static bool cached(struct auth *a, const struct job *j, uint64_t generation, int64_t now)
{
    uint8_t id[32], p[32];
    if (!cacheable(j))
        return false;
    proof(a, j, 0, false, id);
    struct entry *e = ways(a, id);
    for (unsigned i = 0; i < CACHE_WAYS; i++, e++) {
        if (e->until <= now || memcmp(e->id, id, sizeof e->id))
            continue;
        proof(a, j, generation, true, p);
        if (!CRYPTO_memcmp(e->proof, p, sizeof p)) {
            e->misses = 0;
            return true;
        }
        if (++e->misses >= CACHE_GUESS)
            memset(e, 0, sizeof *e);
        return false;
    }
    return false;
}

static void remember(struct auth *a, const struct job *j, uint64_t generation, int64_t now)
{
    uint8_t id[32];
    if (!cacheable(j))
        return;
    proof(a, j, 0, false, id);
    struct entry *e = ways(a, id), *to = e;
    for (unsigned i = 0; i < CACHE_WAYS; i++) {
        if (!memcmp(e[i].id, id, sizeof e->id) && e[i].until) {
            to = &e[i];
            break;
        }
        to = e[i].until < to->until ? &e[i] : to;
    }
    memcpy(to->id, id, sizeof to->id);
    proof(a, j, generation, true, to->proof);
    to->until = now + AUTH_CACHE_NS;
    to->misses = 0;
}

/* ---- logins -----------------------------------------------------------------------------------
 */

/* Takes its reference of u (NULL: refused). */
static void decide_because(struct auth *a, const struct job *j, const struct user *u,
                           enum auth_verdict verdict, enum level level, const char *why)
{
    struct auth_result r = {.token = j->token, .kind = j->kind, .verdict = verdict, .level = level};
    char from[ADDRESS_TEXT];
    snprintf(r.text, sizeof r.text, "%s", why);
    if (u && verdict == AUTH_ACCEPTED && !user_may_come(u, &j->from)) {
        r.verdict = AUTH_NETWORK;
        snprintf(r.text, sizeof r.text, "user may not come from %s", address_text(&j->from, from));
    }
    if (r.verdict == AUTH_PASSWORD)
        snprintf(r.text, sizeof r.text, "no such user, or another password");
    if (r.verdict == AUTH_TIMEOUT)
        snprintf(r.text, sizeof r.text, "waited longer than login_timeout for its password check");
    if (r.verdict == AUTH_LEVEL)
        snprintf(r.text, sizeof r.text, "uid %u has no right to view (access)",
                 (unsigned)j->from.uid);
    if (r.verdict == AUTH_ACCEPTED)
        r.user = u;
    else
        user_release(u);
    if (r.verdict == AUTH_ACCEPTED)
        COUNT(a, AUTH_ACCEPTED);
    else if (r.verdict == AUTH_TIMEOUT)
        COUNT(a, AUTH_TIMEOUT);
    else
        COUNT(a, AUTH_REFUSED);
    answer(j->box, &r);
}

static void decide(struct auth *a, const struct job *j, const struct user *u,
                   enum auth_verdict verdict, enum level level)
{
    decide_because(a, j, u, verdict, level, "");
}

/* ---- the validator ----------------------------------------------------------------------------
 */

void auth_problem(struct auth *a, char out[500])
{
    pthread_mutex_lock(&a->lock);
    snprintf(out, 500, "%s", a->validator_problem);
    pthread_mutex_unlock(&a->lock);
}

static void validated(struct auth *a, const struct job *j, enum validator_state s, const char *why)
{
    bool failed = s == VALIDATOR_FAILED;
    pthread_mutex_lock(&a->lock);
    snprintf(a->validator_problem, sizeof a->validator_problem, "%s", failed ? why : "");
    pthread_mutex_unlock(&a->lock);
    if (failed)
        COUNT(a, AUTH_VALIDATOR_FAILED);
    else
        COUNT(a, AUTH_VALIDATED);
    /* The file may have changed since: what it says now holds. */
    const struct user *u = users_find(a->c.users, j->user, j->user_len);
    if (s == VALIDATOR_YES && !(u && u->external))
        decide(a, j, u, AUTH_PASSWORD, LEVEL_NONE);
    else
        decide_because(a, j, u,
                       s == VALIDATOR_YES  ? AUTH_ACCEPTED
                       : s == VALIDATOR_NO ? AUTH_EXTERNAL
                                           : AUTH_VALIDATOR,
                       LEVEL_NONE, s == VALIDATOR_YES ? "" : why);
}

static void done(struct auth *a, struct job *j);

static void end_call(struct auth *a, struct call *k, enum validator_state s, const char *why)
{
    validator_end(&k->v);
    a->calls--;
    validated(a, k->job, s, why);
    done(a, k->job);
}

/* After begin or step said that it waits. False: it cannot be waited for. */
static bool watch_call(struct auth *a, struct call *k)
{
    uint32_t events = validator_events(&k->v);
    struct epoll_event e = {.events = events,
                            .data.u32 = AUTH_HANDSHAKES + (uint32_t)(k - a->call)};
    if (k->v.fd < 0 || events == k->events)
        return true;
    int op = k->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    k->events = events;
    return !epoll_ctl(a->epfd, op, k->v.fd, &e);
}

static void step_call(struct auth *a, struct call *k)
{
    char why[128] = "";
    enum validator_state s = validator_step(&k->v, why);
    if (s == VALIDATOR_WAITS && watch_call(a, k))
        return;
    end_call(a, k, s == VALIDATOR_WAITS ? VALIDATOR_FAILED : s, *why ? why : strerror(errno));
}

/* True: the job is answered. */
static bool ask_validator(struct auth *a, struct job *j, const struct user *u)
{
    struct call *k = a->call;
    char why[128] = "";
    if (!user_may_come(u, &j->from)) {
        decide(a, j, u, AUTH_ACCEPTED, LEVEL_NONE); /* which says so, and refuses */
        return true;
    }
    bool fits = j->password_len <= SCRAM_PASSWORD_MAX;
    if (!fits || !a->c.validator) {
        decide_because(a, j, u, fits ? AUTH_VALIDATOR : AUTH_PASSWORD, LEVEL_NONE,
                       "the user is external, and there is no ipc.validator");
        return true;
    }
    user_release(u);
    while (k < a->call + VALIDATOR_CALLS && k->v.live)
        k++;
    if (k == a->call + VALIDATOR_CALLS) {
        validated(a, j, VALIDATOR_FAILED, "ipc.validator has too many questions unanswered");
        return true;
    }
    enum validator_state s = validator_begin(&k->v, a->c.validator, j->user, j->user_len,
                                             j->password, j->password_len, &j->from, why);
    if (s == VALIDATOR_UNFIT) {
        decide_because(a, j, NULL, AUTH_EXTERNAL, LEVEL_NONE, why);
        return true;
    }
    if (s != VALIDATOR_WAITS) {
        validated(a, j, s, why);
        return true;
    }
    int64_t asked = now_of(a) + VALIDATOR_NS, late = j->came + load_relaxed(&a->login_timeout);
    k->job = j;
    k->events = 0;
    k->deadline = asked < late ? asked : late;
    a->calls++;
    OPENSSL_cleanse(j->password, sizeof j->password); /* the call has its own */
    if (!watch_call(a, k)) {
        validator_end(&k->v);
        a->calls--;
        validated(a, j, VALIDATOR_FAILED, strerror(errno));
        return true;
    }
    return false;
}

static int calls(struct auth *a, int64_t now)
{
    int did = 0;
    for (unsigned i = 0; a->calls && i < VALIDATOR_CALLS; i++) {
        struct call *k = &a->call[i];
        if (!k->v.live)
            continue;
        if (now >= k->deadline) {
            end_call(a, k, VALIDATOR_FAILED, "ipc.validator did not answer in time");
            did++;
        } else if (k->v.fd < 0) {
            step_call(a, k);
        }
    }
    return did;
}

/* False: another program is asked, and answers later. */
static bool check(struct auth *a, struct job *j)
{
    int64_t now = now_of(a);
    uint64_t generation = users_generation(a->c.users);
    const struct user *u = users_find(a->c.users, j->user, j->user_len);
    struct scram s;
    char why[100];
    bool known = u && u->scram && scram_parse(u->scram, &s, why, sizeof why);
    COUNT(a, AUTH_CHECKS);
    if (u && u->external)
        return ask_validator(a, j, u);
    bool ok =
        scram_check(known ? &s : NULL, j->password, j->password_len, users_iterations(a->c.users));
    if (ok)
        remember(a, j, generation, now);
    decide(a, j, u, ok ? AUTH_ACCEPTED : AUTH_PASSWORD, LEVEL_NONE);
    return true;
}

/* What needs no turn: unix peers, an open house, what the cache knows. */
static bool at_once(struct auth *a, struct job *j, int64_t now)
{
    if (j->kind == AUTH_PEER) {
        pthread_mutex_lock(&a->lock);
        struct config_access lists = a->access;
        pthread_mutex_unlock(&a->lock);
        enum level level = level_of(&lists, a->c.uid, j->from.uid, j->gid);
        const struct user *u =
            level >= LEVEL_VIEW ? user_local(j->from.uid, level >= LEVEL_OPERATE) : NULL;
        decide(a, j, u, u ? AUTH_ACCEPTED : AUTH_LEVEL, level);
        return true;
    }
    if (users_open_to_all(a->c.users)) {
        decide(a, j, users_find(a->c.users, "", 0), AUTH_ACCEPTED, LEVEL_NONE);
        return true;
    }
    uint64_t generation = users_generation(a->c.users);
    if (!cached(a, j, generation, now))
        return false;
    const struct user *u = users_find(a->c.users, j->user, j->user_len);
    if (!u || users_generation(a->c.users) != generation) {
        user_release(u);
        return false;
    }
    COUNT(a, AUTH_CACHED);
    decide(a, j, u, AUTH_ACCEPTED, LEVEL_NONE);
    return true;
}

/* Takes the first of a list in hand; NULL: none, or it is not `late`. */
static struct job *take(struct auth *a, struct jobs *l, bool late, int64_t now)
{
    struct job *j = NULL;
    pthread_mutex_lock(&a->lock);
    if (l->first != NONE &&
        (!late || now - a->job[l->first].came >= load_relaxed(&a->login_timeout))) {
        j = &a->job[l->first];
        unlink_job(a, j);
    }
    pthread_mutex_unlock(&a->lock);
    return j;
}

/* Addresses take turns, each in its own order: who floods waits for itself. */
static struct job *take_turn(struct auth *a)
{
    struct job *best = NULL;
    pthread_mutex_lock(&a->lock);
    for (uint16_t i = a->waits.first; i != NONE; i = a->job[i].next)
        if (!best || a->turn_of_class[a->job[i].class] < a->turn_of_class[best->class])
            best = &a->job[i];
    if (best) {
        a->turn_of_class[best->class] = ++a->turn;
        unlink_job(a, best);
    }
    pthread_mutex_unlock(&a->lock);
    return best;
}

static void done(struct auth *a, struct job *j)
{
    pthread_mutex_lock(&a->lock);
    free_job(a, j);
    pthread_mutex_unlock(&a->lock);
}

static int logins(struct auth *a)
{
    int64_t now = now_of(a);
    struct job *j;
    int did = 0;
    for (; did < 256 && (j = take(a, &a->fresh, false, now)); did++) {
        if (at_once(a, j, now)) {
            done(a, j);
            continue;
        }
        pthread_mutex_lock(&a->lock);
        if (j->cancelled) {
            j->box->outstanding--;
            free_job(a, j);
        } else {
            link_job(a, j, JOB_WAITS);
        }
        pthread_mutex_unlock(&a->lock);
    }
    for (; (j = take(a, &a->waits, true, now)); did++) {
        decide(a, j, NULL, AUTH_TIMEOUT, LEVEL_NONE);
        done(a, j);
    }
    /* Evenly spaced, and what was not used is not kept: no second has more than `rate`. */
    if (now >= a->next_at && (j = take_turn(a))) {
        a->next_at = now + NS_PER_S / load_relaxed(&a->rate);
        if (check(a, j))
            done(a, j);
        did++;
    }
    return did;
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
    answer(m, &r);
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
                step_call(a, k);
        } else if (a->hand[e[i].data.u32].state == HAND_RUNS) {
            shake(a, &a->hand[e[i].data.u32]);
        }
        did++;
    }
    int64_t now = now_of(a);
    did += sweep(a, now);
    did += calls(a, now);
    did += logins(a);
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
        ms = (a->next_at - now_of(a) + NS_PER_MS - 1) / NS_PER_MS;
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
    struct job *j;
    pthread_mutex_lock(&a->lock);
    a->stopped = true;
    pthread_mutex_unlock(&a->lock);
    while ((j = take(a, &a->fresh, false, 0)) || (j = take(a, &a->waits, false, 0))) {
        decide(a, j, NULL, AUTH_STOPPED, LEVEL_NONE);
        done(a, j);
    }
    for (unsigned i = 0; i < VALIDATOR_CALLS; i++)
        if (a->call[i].v.live) {
            validator_end(&a->call[i].v);
            a->calls--;
            decide(a, a->call[i].job, NULL, AUTH_STOPPED, LEVEL_NONE);
            done(a, a->call[i].job);
        }
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
