/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords: who was right before, users and their verifiers, the validator. */
#include "auth_parts.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/epoll.h>
#include "access.h"

#define CACHE_WAYS  4u
#define CACHE_GUESS 3u

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
    auth_answer(j->box, &r);
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

void auth_step_call(struct auth *a, struct call *k)
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
    int64_t asked = auth_now(a) + VALIDATOR_NS, late = j->came + load_relaxed(&a->login_timeout);
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

int auth_calls(struct auth *a, int64_t now)
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
            auth_step_call(a, k);
        }
    }
    return did;
}

/* False: another program is asked, and answers later. */
static bool check(struct auth *a, struct job *j)
{
    int64_t now = auth_now(a);
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
        auth_unlink_job(a, j);
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
        auth_unlink_job(a, best);
    }
    pthread_mutex_unlock(&a->lock);
    return best;
}

static void done(struct auth *a, struct job *j)
{
    pthread_mutex_lock(&a->lock);
    auth_free_job(a, j);
    pthread_mutex_unlock(&a->lock);
}

int auth_logins(struct auth *a)
{
    int64_t now = auth_now(a);
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
            auth_free_job(a, j);
        } else {
            auth_link_job(a, j, JOB_WAITS);
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

void auth_refuse_all(struct auth *a)
{
    struct job *j;
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
}
