/* SPDX-License-Identifier: Apache-2.0 */
#include "users_load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config_keys.h"
#include "core/trusted.h"
#include "file_mark.h"
#include "scram.h"

struct users {
    pthread_mutex_t lock; /* guards load, problem: for a look-up only */
    struct users_load *load;
    char problem[sizeof((struct err *)0)->text];
    _Atomic uint64_t generation;
    char *path;              /* NULL: no users file */
    pthread_mutex_t loading; /* one load at a time; guards seen */
    struct file_mark seen;
};

/* ---- loads ------------------------------------------------------------------------------------
 */

void users_load_free(struct users_load *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) {
        config_arena_free(l->arena);
        free(l);
    }
}

unsigned users_load_count(const struct users_load *l)
{
    return l->count;
}

const struct user *users_load_at(const struct users_load *l, unsigned i)
{
    return &l->user[i];
}

struct wanted {
    const char *name;
    size_t len;
};
static int by_name(const void *wanted, const void *user)
{
    const struct wanted *w = wanted;
    const char *at = ((const struct user *)user)->name;
    int c = strncmp(w->name, at, w->len);
    return c ? c : at[w->len] ? -1 : 0;
}

static const struct user *named(const struct users_load *l, const char *name, size_t len)
{
    return l->count
               ? bsearch(&(struct wanted){name, len}, l->user, l->count, sizeof *l->user, by_name)
               : NULL;
}

bool users_load_scram_at(const struct users_load *l, const char *name, size_t *line, size_t *column,
                         size_t *end_line, size_t *end_column)
{
    const struct user *u = named(l, name, strlen(name));
    if (!u)
        return false;
    const struct users_place *p = &l->at[u - l->user];
    *line = p->line;
    *column = p->column;
    *end_line = p->end_line;
    *end_column = p->end_column;
    return true;
}

/* A load of one user with no password. */
static struct users_load *load_of_one(const char *name, bool publishes)
{
    struct users_load *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    store_relaxed(&l->refs, 1);
    l->user = config_alloc(&l->arena, sizeof *l->user);
    char *copy = config_strdup(&l->arena, name);
    if (!l->user || !copy) {
        users_load_free(l);
        return NULL;
    }
    *l->user = (struct user){.name = copy,
                             .tables.all = true,
                             .publish.all = publishes,
                             .calls.all = true,
                             .sql = true,
                             .marks_eod = true,
                             .marks_eoi = true,
                             .marks_buffer = true,
                             .bytes = INT32_MAX,
                             .policy = USER_POLICY_UNSET,
                             .load = l};
    l->count = 1;
    return l;
}

const struct user *user_local(uid_t uid, bool may_publish)
{
    char name[32];
    snprintf(name, sizeof name, "uid %u", (unsigned)uid);
    struct users_load *l = load_of_one(name, may_publish);
    return l ? l->user : NULL; /* its one reference is the caller's */
}

const struct user *user_hold(const struct user *u)
{
    atomic_fetch_add_explicit(&u->load->refs, 1, memory_order_relaxed);
    return u;
}

void user_release(const struct user *u)
{
    if (u)
        users_load_free(u->load);
}

/* ---- rights -----------------------------------------------------------------------------------
 */

static int by_text(const void *name, const void *at)
{
    return strcmp(name, *(const char *const *)at);
}

static bool in(const struct user_names *s, const char *name)
{
    return s->all || (s->count && bsearch(name, s->at, s->count, sizeof *s->at, by_text));
}

bool user_may_read(const struct user *u, const char *table)
{
    return in(&u->tables, table);
}

bool user_may_publish(const struct user *u, const char *table)
{
    return in(&u->publish, table);
}

bool user_may_call(const struct user *u, const char *named_query)
{
    return in(&u->calls, named_query);
}

bool user_may_come(const struct user *u, const struct address *from)
{
    for (uint32_t i = 0; i < u->n_networks; i++)
        if (network_has(&u->networks[i], from))
            return true;
    return !u->n_networks;
}

/* ---- the file ---------------------------------------------------------------------------------
 */

char *users_read(const char *path, size_t *size, struct err *err)
{
    char real[TRUSTED_PATH];
    struct stat st;
    char *text = NULL;
    size_t have = 0;
    if (!trusted_file(path, real, "users file", err))
        return NULL;
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st)) {
        err_set(err, -errno, "users file %s: %s", real, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        err_set(err, -EINVAL, "users file %s is no regular file", real);
    } else if (st.st_mode & 007) {
        err_set(err, -EPERM,
                "users file %s is open to everyone (mode %03o): it holds verifiers of "
                "passwords; chmod 0640 it",
                real, (unsigned)st.st_mode & 0777);
    } else if (st.st_size > (off_t)USERS_FILE_MAX) {
        err_set(err, -EFBIG, "users file %s: larger than 4 MiB; this cannot be a users file", real);
    } else if (!(text = malloc((size_t)st.st_size + 1))) {
        err_set(err, -ENOMEM, "users file %s: out of memory", real);
    }
    while (text && have < (size_t)st.st_size) {
        ssize_t n = read(fd, text + have, (size_t)st.st_size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_set(err, -errno, "users file %s: %s", real, strerror(errno));
            free(text);
            text = NULL;
        }
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (text)
        text[have] = 0;
    *size = have;
    return text;
}

bool users_reload(struct users *u, struct err *err)
{
    struct users_load *fresh = NULL;
    struct err e = {0};
    size_t size = 0;
    if (!u->path)
        return true;
    pthread_mutex_lock(&u->loading);
    u->seen = file_mark(u->path);
    char *text = users_read(u->path, &size, &e);
    bool ok = text && users_parse(u->path, text, size, &fresh, &e);
    free(text);
    pthread_mutex_lock(&u->lock);
    struct users_load *old = u->load;
    if (ok)
        u->load = fresh;
    memcpy(u->problem, e.text, sizeof u->problem); /* empty when it is sound */
    pthread_mutex_unlock(&u->lock);
    if (ok) {
        atomic_fetch_add_explicit(&u->generation, 1, memory_order_release);
        users_load_free(old);
    }
    pthread_mutex_unlock(&u->loading);
    if (!ok && err)
        *err = e;
    return ok;
}

void users_look(struct users *u)
{
    if (!u->path)
        return;
    struct file_mark now = file_mark(u->path);
    pthread_mutex_lock(&u->loading);
    bool same = file_mark_same(&now, &u->seen);
    pthread_mutex_unlock(&u->loading);
    if (!same)
        users_reload(u, NULL);
}

/* ---- the holder -------------------------------------------------------------------------------
 */

struct users *users_open(const char *path, struct err *err)
{
    struct users *u = calloc(1, sizeof *u);
    if (u) {
        u->path = path ? strdup(path) : NULL;
        u->load = path ? calloc(1, sizeof *u->load) : load_of_one("", true);
    }
    if (!u || !u->load || (path && !u->path)) {
        if (u) {
            free(u->path);
            users_load_free(u->load);
        }
        free(u);
        err_set(err, -ENOMEM, "users: no memory");
        return NULL;
    }
    if (path)
        store_relaxed(&u->load->refs, 1); /* nobody, until the file is sound */
    pthread_mutex_init(&u->lock, NULL);
    pthread_mutex_init(&u->loading, NULL);
    users_reload(u, NULL);
    return u;
}

void users_close(struct users *u)
{
    if (!u)
        return;
    users_load_free(u->load);
    pthread_mutex_destroy(&u->lock);
    pthread_mutex_destroy(&u->loading);
    free(u->path);
    free(u);
}

const struct user *users_find(struct users *u, const char *name, size_t len)
{
    pthread_mutex_lock(&u->lock);
    const struct user *x = !u->path               ? u->load->user
                           : memchr(name, 0, len) ? NULL
                                                  : named(u->load, name, len);
    if (x)
        user_hold(x);
    pthread_mutex_unlock(&u->lock);
    return x;
}

bool users_open_to_all(const struct users *u)
{
    return !u->path;
}

uint64_t users_generation(const struct users *u)
{
    return load_relaxed(&u->generation);
}

unsigned users_count(struct users *u)
{
    pthread_mutex_lock(&u->lock);
    unsigned n = u->load->count;
    pthread_mutex_unlock(&u->lock);
    return n;
}

uint32_t users_iterations(struct users *u)
{
    pthread_mutex_lock(&u->lock);
    uint32_t n = u->load->cost;
    pthread_mutex_unlock(&u->lock);
    return n ? n : SCRAM_ITERATIONS;
}

void users_problem(struct users *u, char out[500])
{
    pthread_mutex_lock(&u->lock);
    memcpy(out, u->problem, sizeof u->problem);
    pthread_mutex_unlock(&u->lock);
}

static bool same_names(const struct user_names *a, const struct user_names *b)
{
    if (a->all != b->all || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (strcmp(a->at[i], b->at[i]))
            return false;
    return true;
}

static bool same(const struct user *a, const struct user *b)
{
    return !strcmp(a->scram, b->scram) && same_names(&a->tables, &b->tables) &&
           same_names(&a->publish, &b->publish) && same_names(&a->calls, &b->calls) &&
           a->sql == b->sql && a->durable_only == b->durable_only && a->partial == b->partial &&
           a->marks_eod == b->marks_eod && a->marks_eoi == b->marks_eoi &&
           a->marks_buffer == b->marks_buffer && a->rows == b->rows && a->bytes == b->bytes &&
           a->timeout == b->timeout && a->streams == b->streams && a->policy == b->policy &&
           a->n_networks == b->n_networks &&
           (!a->n_networks ||
            !memcmp(a->networks, b->networks, a->n_networks * sizeof *a->networks));
}

bool user_reads_all_of(const struct user *u, const struct user *other)
{
    if (u->tables.all)
        return true;
    for (uint32_t i = 0; i < other->tables.count; i++)
        if (!in(&u->tables, other->tables.at[i]))
            return false;
    return !other->tables.all;
}

const struct user *users_again(struct users *u, const struct user *held, const struct address *from,
                               char why[160])
{
    char text[ADDRESS_TEXT];
    if (!held->scram || !u->path)
        return held;
    const struct user *x = users_find(u, held->name, strlen(held->name));
    *why = 0;
    if (!x)
        snprintf(why, 160, "the user was removed");
    else if (strcmp(x->scram, held->scram))
        snprintf(why, 160, "the user has another password now");
    else if (!user_may_come(x, from))
        snprintf(why, 160, "the user may no longer come from %s", address_text(from, text));
    else if (same(x, held)) { /* another user's line changed: this one's streams need not know */
        user_release(x);
        return held;
    }
    user_release(*why ? x : held);
    return *why ? NULL : x;
}
