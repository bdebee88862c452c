/* SPDX-License-Identifier: Apache-2.0 */
/* What the orchestrator asks for besides workers: symbols, moves, hooks, alarms. Hooks only note;
 * loading_step does, behind the tick, a piece at a time, and tells the orchestrator how it went. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>
#include "calendar.h"
#include "core/civil.h"
#include "dataplane/batch.h"
#include "load/save.h"
#include "loading_parts.h"
#include "wiring.h"

#define FILES_A_STEP 64u /* `symbols` files read in one round */

/* ---- interning ---- */

static void intern_end(struct loading *l, int code, bool retryable, const char *text)
{
    PST_FAULT("load.interned");
    struct loading_intern *in = &l->intern;
    uint64_t batch = in->batch;
    for (unsigned i = 0; i < in->n; i++)
        free(in->file[i]);
    free(in->file);
    if (in->have)
        load_symbols_free(&in->symbols);
    *in = (struct loading_intern){0};
    l->news = true;
    loader_interned(l->loader, batch, code, retryable, text);
}

static void note_intern(void *arg, const struct loader_intern *x)
{
    struct loading *l = arg;
    struct loading_intern *in = &l->intern;
    pst_must(in->step == LI_NONE);
    *in = (struct loading_intern){.step = LI_READ, .batch = x->batch, .date = x->date};
    in->file = calloc(x->n + 1u, sizeof *in->file);
    for (unsigned i = 0; in->file && i < x->n; i++) {
        in->file[i] = strdup(x->symbols[i]);
        in->n += in->file[i] != NULL;
        if (!in->file[i])
            break;
    }
    in->read = in->file && in->n == x->n ? 0 : UINT32_MAX; /* no memory: said in the step */
    load_symbols_init(&in->symbols);
    in->have = true;
}

/* All of a batch's texts, and room for those that the instance does not have. */
static int read_symbols(struct loading *l)
{
    struct loading_intern *in = &l->intern;
    struct err err = {0};
    const struct symbols *known = &l->d->symbols;
    char text[600];
    if (in->read == UINT32_MAX) {
        intern_end(l, -ENOMEM, true, "no memory for the names of the batch's files");
        return 1;
    }
    for (unsigned k = 0; k < FILES_A_STEP && in->read < in->n; k++, in->read++)
        if (!load_symbols_file(&in->symbols, in->file[in->read], 0, &err)) {
            bool again = err.code == -ENOMEM || err.code == -EIO;
            snprintf(text, sizeof text, "%s", err.text);
            intern_end(l, err.code, again, text);
            return 1;
        }
    if (in->read < in->n)
        return 1;
    if (!load_symbols_sort(&in->symbols, &err)) {
        intern_end(l, err.code, true, err.text);
        return 1;
    }
    uint64_t fresh = 0;
    for (uint64_t i = 0; i < in->symbols.count; i++) {
        uint32_t len;
        const char *t = load_symbols_text(&in->symbols, i, &len);
        fresh += symbols_find(known, t, len) == PST_NULL_SYMBOL;
    }
    uint64_t room = known->head->max - symbols_count(known);
    if (fresh > room) {
        snprintf(text, sizeof text,
                 "the batch brings %" PRIu64 " new symbols, and the symbol table has room for "
                 "%" PRIu64 " more (symbols_max %u): raise symbols_max and load it again",
                 fresh, room, known->head->max);
        intern_end(l, -E2BIG, false, text);
        return 1;
    }
    in->step = LI_OFFER;
    in->at = 0;
    return 1;
}

/* The next batch of texts that the instance does not have, from in->at on. False: no room now. */
static bool offer_texts(struct loading *l, bool *more)
{
    struct loading_intern *in = &l->intern;
    const struct symbols *known = &l->d->symbols;
    uint8_t *p = inject_reserve(&l->q, sizeof(struct inject_batch) + BATCH_SYMS_MAX);
    if (!p)
        return false;
    uint8_t *at = p + sizeof(struct inject_batch), *end = at + BATCH_SYMS_MAX - 512;
    uint32_t n = 0;
    for (; in->at < in->symbols.count && n < LOADING_TEXTS; in->at++) {
        uint32_t len;
        const char *t = load_symbols_text(&in->symbols, in->at, &len);
        if (at + 1 + len > end)
            break;
        if (symbols_find(known, t, len) != PST_NULL_SYMBOL)
            continue;
        *at++ = (uint8_t)len;
        memcpy(at, t, len);
        at += len;
        n++;
    }
    *more = in->at < in->symbols.count;
    if (!n)
        return true;
    uint64_t used = (uint64_t)(at - p), bytes = pst_align8(used);
    memset(at, 0, bytes - used);
    struct inject_batch b = {.bytes = (uint32_t)bytes,
                             .kind = FRAME_SYMBOL,
                             .stream = STREAM_EVERY,
                             .new_syms = n,
                             .syms_bytes = (uint32_t)(bytes - sizeof b),
                             .flags = INJECT_RESTART};
    memcpy(p, &b, sizeof b);
    in->fresh += n;
    in->sent[(in->oldest + in->nsent++) % LOADING_IN_FLIGHT] = in->ticket =
        inject_commit(&l->q, b.bytes);
    return true;
}

/* Takes answers. False: a batch was refused. */
static bool answers(struct loading *l)
{
    struct loading_intern *in = &l->intern;
    while (in->nsent) {
        uint64_t ticket = in->sent[in->oldest];
        if (!inject_taken(&l->q, ticket, &in->position))
            break;
        if (inject_verdict(&l->q, ticket))
            return false;
        in->oldest = (in->oldest + 1) % LOADING_IN_FLIGHT;
        in->nsent--;
    }
    return true;
}

static int offer(struct loading *l)
{
    struct loading_intern *in = &l->intern;
    bool more = true;
    int did = 0;
    if (!answers(l)) {
        intern_end(l, -E2BIG, false,
                   "the symbol table became full while the batch's symbols were added: raise "
                   "symbols_max and load it again");
        return 1;
    }
    while (more && in->nsent < LOADING_IN_FLIGHT && offer_texts(l, &more))
        did = 1;
    if (more || in->nsent)
        return did;
    in->step = LI_TAKEN;
    /* what others interned a moment ago is not durable either */
    in->position = ring_tail(&l->d->ring);
    return 1;
}

static int give_sym(struct loading *l)
{
    struct loading_intern *in = &l->intern;
    struct err err = {0};
    if (l->giving)
        return 0;
    struct day_load_request r = {.kind = DAY_LOAD_SYM,
                                 .position = in->position,
                                 .ids = symbols_count(&l->d->symbols),
                                 .date = in->date};
    if (!day_load_give(l->d->days, &r, &err)) {
        intern_end(l, err.code, true, err.text);
        return 1;
    }
    l->giving = true;
    l->given = DAY_LOAD_SYM;
    in->step = LI_SYM;
    if (in->fresh) {
        char text[200];
        snprintf(text, sizeof text,
                 "batch %" PRIu64 ": %" PRIu64 " of its %" PRIu64
                 " symbols are new: they are appended to sym",
                 in->batch, in->fresh, in->symbols.count);
        loading_log(l, text);
    }
    return 1;
}

/* ---- moves ---- */

static void move_end(struct loading *l, enum loader_verdict v, const bool *stale, uint64_t epoch,
                     const char *text)
{
    uint64_t batch = l->move.batch;
    free(l->move.table);
    l->move = (struct loading_move){0};
    l->news = true;
    loader_moved(l->loader, batch, v, stale, epoch, text);
}

static void note_move(void *arg, const struct loader_move *m)
{
    struct loading *l = arg;
    struct loading_move *x = &l->move;
    pst_must(!x->on);
    *x = (struct loading_move){.on = true, .batch = m->batch, .commit = m->commit, .n = m->n};
    snprintf(x->key, sizeof x->key, "%s", m->key);
    x->table = calloc(m->n + 1u, sizeof *x->table);
    for (unsigned i = 0; x->table && i < m->n; i++) {
        const char *base = json_string_value(json_object_get(m->part[i].index, "base"));
        x->table[i].date = m->part[i].date;
        snprintf(x->table[i].table, sizeof x->table[i].table, "%s", m->part[i].table);
        snprintf(x->table[i].base, sizeof x->table[i].base, "%s", base ? base : "?");
    }
}

static int give_move(struct loading *l)
{
    struct loading_move *x = &l->move;
    struct err err = {0};
    if (l->giving || x->given)
        return 0;
    if (!x->table) {
        move_end(l, LOADER_RETRY, NULL, 0, "no memory");
        return 1;
    }
    struct day_load_request r = {
        .kind = DAY_LOAD_MOVE,
        .move = {.instance = l->d->instance_id, .commit = x->commit, .table = x->table, .n = x->n}};
    snprintf(r.move.batch, sizeof r.move.batch, "%s", x->key);
    if (!day_load_give(l->d->days, &r, &err)) {
        move_end(l, LOADER_RETRY, NULL, 0, err.text);
        return 1;
    }
    l->giving = x->given = true;
    l->given = DAY_LOAD_MOVE;
    return 1;
}

static void note_hold(void *arg, uint64_t batch, bool hold)
{
    struct loading *l = arg;
    (void)batch;
    day_load_hold(l->d->days, hold);
}

static void note_discard(void *arg, uint64_t batch, const char *key, uint64_t commit)
{
    struct loading *l = arg;
    struct loading_discard *x = calloc(1, sizeof *x), **end = &l->discards;
    (void)batch;
    if (!x)
        return; /* swept at the next start */
    snprintf(x->key, sizeof x->key, "%s", key);
    x->commit = commit;
    while (*end)
        end = &(*end)->next;
    *end = x;
}

static int give_discard(struct loading *l)
{
    struct loading_discard *x = l->discards;
    struct err err;
    if (l->giving)
        return 0;
    struct day_load_request r = {
        .kind = DAY_LOAD_MOVE,
        .move = {.instance = l->d->instance_id, .commit = x->commit, .discard = true}};
    snprintf(r.move.batch, sizeof r.move.batch, "%s", x->key);
    if (!day_load_give(l->d->days, &r, &err))
        return 0;
    l->giving = true;
    l->given = DAY_LOAD_MOVE;
    l->discards = x->next;
    free(x);
    return 1;
}

/* Once: merge directories of batches that nobody claims. */
static int give_sweep(struct loading *l)
{
    static char text[256][LOADER_KEY];
    const char *keep[256];
    uint64_t batch[256];
    char prefix[24];
    struct err err;
    if (l->giving)
        return 0;
    unsigned n = loader_unfinished(l->loader, batch, PST_COUNT(batch));
    if (n == PST_COUNT(batch)) { /* perhaps there are more: not now */
        l->swept = true;
        return 0;
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (loader_in_place(l->loader, batch[i]))
            continue;
        loader_key(l->d->instance_id, batch[i], text[kept]);
        keep[kept] = text[kept];
        kept++;
    }
    snprintf(prefix, sizeof prefix, "%016" PRIx64 "-", l->d->instance_id);
    struct day_load_request r = {
        .kind = DAY_LOAD_SWEEP, .prefix = prefix, .keep = keep, .nkeep = kept};
    if (!day_load_give(l->d->days, &r, &err))
        return 0;
    l->swept = l->giving = true;
    l->given = DAY_LOAD_SWEEP;
    return 1;
}

static void answer_move(struct loading *l, const struct day_load_answer *a)
{
    char text[600];
    if (!l->move.given)
        return; /* of a discard */
    bool again = load_retryable(a->moved.err.code);
    snprintf(text, sizeof text, "%s", a->moved.err.text);
    switch (a->moved.verdict) {
    case LOAD_DONE:
        if (*a->moved.note)
            loading_log(l, a->moved.note);
        move_end(l, LOADER_MOVED, NULL, a->epoch, "");
        break;
    case LOAD_STALE:
        move_end(l, LOADER_STALE, a->moved.stale, 0, text);
        break;
    case LOAD_FAILED:
        move_end(l, again ? LOADER_RETRY : LOADER_REFUSED, NULL, 0, text);
        break;
    }
}

static int take_answer(struct loading *l)
{
    struct day_load_answer a;
    if (!l->giving || !day_load_take(l->d->days, &a))
        return 0;
    l->giving = false;
    if (a.kind == DAY_LOAD_MOVE)
        answer_move(l, &a);
    else if (a.kind == DAY_LOAD_SYM && l->intern.step == LI_SYM) {
        if (!a.err.code && a.fresh) {
            char text[200];
            snprintf(text, sizeof text, "batch %" PRIu64 ": sym has %u names, %u of them new",
                     l->intern.batch, a.symbols, a.fresh);
            loading_log(l, text);
        }
        intern_end(l, a.err.code, load_retryable(a.err.code), a.err.code ? a.err.text : "");
    } else if (a.err.code)
        loading_log(l, a.err.text);
    day_load_answer_free(&a);
    return 1;
}

bool loading_busy(const struct loading *l)
{
    return l->giving || l->move.on || l->intern.step != LI_NONE || l->discards;
}

int loading_step(struct loading *l)
{
    int did = take_answer(l);
    switch (l->intern.step) {
    case LI_READ:
        did += read_symbols(l);
        break;
    case LI_OFFER:
        did += offer(l);
        break;
    case LI_TAKEN:
        did += give_sym(l);
        break;
    default:
        break;
    }
    if (l->move.on)
        did += give_move(l);
    else if (l->discards)
        did += give_discard(l);
    if (!l->swept)
        did += give_sweep(l);
    return did;
}

void loading_batch_close(struct loading *l)
{
    struct loading_intern *in = &l->intern;
    for (unsigned i = 0; i < in->n; i++)
        free(in->file[i]);
    free(in->file);
    if (in->have)
        load_symbols_free(&in->symbols);
    free(l->move.table);
    while (l->discards) {
        struct loading_discard *x = l->discards;
        l->discards = x->next;
        free(x);
    }
}

/* ---- hooks ---- */

static void spawn(void *arg, unsigned w, uint64_t memory)
{
    workers_spawn(arg, w, memory);
}

static void kill_worker(void *arg, unsigned w)
{
    workers_kill(arg, w, "it was ended by the loader");
}

static bool send(void *arg, unsigned w, uint64_t task, const char *json, size_t len)
{
    return workers_send(arg, w, task, json, len);
}

static json_t *part_args(void *arg, const char *table, struct err *err)
{
    static const char *const existing[] = {"refuse", "merge", "supersede"};
    struct loading *l = arg;
    const struct config *c = l->d->config;
    struct schema s;
    char instance[20];
    if (!loading_schema(c, table, &s, err))
        return NULL;
    const struct schema *live = schema_set_find(l->d->schemas, table);
    char *text = schema_to_json(live ? live : &s);
    json_t *schema = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    snprintf(instance, sizeof instance, "%016" PRIx64, l->d->instance_id);
    json_t *o = json_pack("{s:s,s:o*,s:s,s:s,s:s,s:I}", "database", c->database, "table", schema,
                          "calendar", config_calendar(c, config_calendar_of(c, table))->name,
                          "instance", instance, "existing", existing[c->existing_partition],
                          "memory", (json_int_t)(c->load.worker_memory / 2));
    if (!o || !schema) {
        json_decref(o);
        err_set(err, -ENOMEM, "no memory");
        return NULL;
    }
    return o;
}

static void put_env(json_t *env, const char *name, const json_t *v)
{
    char text[600], item[700];
    size_t n = 0, i;
    json_t *x;
    text[0] = 0;
    if (json_is_array(v)) {
        json_array_foreach(v, i, x)
        {
            if (json_is_string(x) && n < sizeof text)
                n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "",
                                      json_string_value(x));
        }
    } else if (json_is_string(v)) {
        snprintf(text, sizeof text, "%s", json_string_value(v));
    } else if (json_is_integer(v)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else if (json_is_real(v)) {
        snprintf(text, sizeof text, "%.3f", json_real_value(v));
    } else if (json_is_boolean(v)) {
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "yes" : "no");
    } else {
        return;
    }
    snprintf(item, sizeof item, "%s=%s", name, text);
    json_array_append_new(env, json_string(item));
}

static void finished(void *arg, uint64_t batch, const json_t *facts)
{
    static const struct {
        const char *fact, *name;
    } facts_names[] = {{"name", "PENSTOCK_BATCH"},         {"rule", "PENSTOCK_RULE"},
                       {"state", "PENSTOCK_STATE"},        {"dates", "PENSTOCK_DATES"},
                       {"tables", "PENSTOCK_TABLES"},      {"rows", "PENSTOCK_ROWS"},
                       {"rejected", "PENSTOCK_REJECTED"},  {"files", "PENSTOCK_FILES"},
                       {"bytes", "PENSTOCK_BYTES"},        {"seconds", "PENSTOCK_SECONDS"},
                       {"epoch", "PENSTOCK_EPOCH"},        {"commit", "PENSTOCK_COMMIT"},
                       {"supersede", "PENSTOCK_SUPERSEDE"}};
    struct loading *l = arg;
    char text[1200];
    const char *name = json_string_value(json_object_get(facts, "name"));
    count_add(l->d->status, LOAD_LOADED, 1);
    struct loading_request *r = calloc(1, sizeof *r);
    if (!r)
        return;
    *r = (struct loading_request){.kind = LR_RUN, .id = batch, .env = json_array()};
    snprintf(r->batch, sizeof r->batch, "%s", name ? name : "?");
    for (unsigned i = 0; i < PST_COUNT(facts_names); i++)
        put_env(r->env, facts_names[i].name, json_object_get(facts, facts_names[i].fact));
    snprintf(text, sizeof text, "PENSTOCK_INSTANCE=%s", l->d->config->instance);
    json_array_append_new(r->env, json_string(text));
    snprintf(text, sizeof text, "PENSTOCK_DATABASE=%s", l->d->config->database);
    json_array_append_new(r->env, json_string(text));
    loading_request(l, r);
}

static uint64_t hash_of(enum loader_alarm kind, const char *subject)
{
    uint64_t h = 0xcbf29ce484222325ull + (uint64_t)kind;
    for (; *subject; subject++)
        h = (h ^ (unsigned char)*subject) * 0x100000001b3ull;
    return h;
}

static struct loading_alarm *alarm_place(struct loading *l, enum loader_alarm kind)
{
    if (l->nalarms >= LOADING_ALARMS && kind == LOADER_ALARM_QUARANTINE)
        return NULL;
    if (l->nalarms == l->alarm_room) {
        l->alarm_room = l->alarm_room ? l->alarm_room * 2 : 16;
        l->alarm = realloc(l->alarm, l->alarm_room * sizeof *l->alarm);
        pst_must(l->alarm);
    }
    l->alarm[l->nalarms] = (struct loading_alarm){.told = true};
    return &l->alarm[l->nalarms++];
}

static void note_alarm(void *arg, enum loader_alarm kind, const char *subject, bool raised,
                       const char *text)
{
    struct loading *l = arg;
    struct loading_alarm *free_one = NULL, *at = NULL;
    char about[LOADING_SUBJECT], says[ALARMS_TEXT];
    loading_plain(about, sizeof about, subject);
    loading_plain(says, sizeof says, text);
    uint64_t hash = hash_of(kind, about);
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->nalarms && !at; i++) {
        struct loading_alarm *x = &l->alarm[i];
        if (!x->raised && x->told)
            free_one = x;
        else if (x->hash == hash && x->kind == kind && !strcmp(x->subject, about))
            at = x;
    }
    if (!at && raised) {
        at = free_one ? free_one : alarm_place(l, kind);
        if (at) {
            free(at->subject);
            at->subject = strdup(about);
            pst_must(at->subject);
            at->kind = kind;
            at->hash = hash;
            at->listed = false;
        }
    }
    if (at) {
        at->raised = raised;
        at->told = false;
        if (raised) {
            free(at->text);
            at->text = strdup(says);
            pst_must(at->text);
        }
    }
    pthread_mutex_unlock(&l->lock);
}

static void log_text(void *arg, const char *text)
{
    loading_log(arg, text);
}

static bool result(void *arg, const char *dir, json_t **out, struct err *err)
{
    (void)arg;
    return load_result_read(dir, out, err);
}

static int64_t deadline(void *arg, unsigned rule, int64_t begun)
{
    struct loading *l = arg;
    const struct config_load_batch_list *rules = &l->d->config->load.batches;
    const struct config_load_batch *b = &rules->at[rule];
    const struct tzone *zone = l->d->config->main_calendar.zone;
    if (rule >= rules->count || b->deadline == CONFIG_UNSET)
        return 0;
    int32_t day = calendar_local_day(zone, begun);
    int64_t at = calendar_local_instant(zone, day, (int32_t)b->deadline);
    return at > begun ? at : calendar_local_instant(zone, day + 1, (int32_t)b->deadline);
}

bool loading_hooks(struct loading *l, struct loader_hooks *h)
{
    *h = (struct loader_hooks){.arg = l,
                               .spawn = spawn,
                               .kill = kill_worker,
                               .send = send,
                               .intern = note_intern,
                               .move = note_move,
                               .hold = note_hold,
                               .discard = note_discard,
                               .part_args = part_args,
                               .finished = finished,
                               .alarm = note_alarm,
                               .log = log_text,
                               .result = result,
                               .deadline = deadline};
    return true;
}
