/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include "publish/fanout_int.h"
#include "publish/stripe.h"

uint64_t spec_hash(const void *p, size_t n)
{
    return stripe_hash(p, n);
}

uint32_t fanout_stripe_of(const char *text, uint32_t len, uint32_t n)
{
    return stripe_of(text, len, n);
}

/* ---- texts ---- */

static int text_order(const void *a, const void *b)
{
    const struct fanout_text *x = a, *y = b;
    uint32_t n = x->len < y->len ? x->len : y->len;
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

bool names_has(const struct names *s, const char *p, size_t len)
{
    struct fanout_text t = {p, (uint32_t)len};
    bool there = s->n && bsearch(&t, s->text, s->n, sizeof t, text_order) != NULL;
    return there != s->but;
}

static uint32_t unique(struct fanout_text *t, uint32_t n)
{
    uint32_t k = 0;
    if (n > 1)
        qsort(t, n, sizeof *t, text_order);
    for (uint32_t i = 0; i < n; i++)
        if (!k || text_order(&t[i], &t[k - 1]))
            t[k++] = t[i];
    return k;
}

/* ---- sets, their members pointing into those they are made of ---- */

/* Those of a that are (want) or are not among b, appended to `to`. */
static void pick(struct names *to, const struct names *a, const struct names *b, bool want)
{
    struct names plain = {.n = b->n, .text = b->text};
    for (uint32_t i = 0; i < a->n; i++)
        if (names_has(&plain, a->text[i].p, a->text[i].len) == want)
            to->text[to->n++] = a->text[i];
}

static void take_all(struct names *to, const struct names *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        to->text[to->n++] = a->text[i];
}

/* to->text: room for both. */
static void intersect(struct names *to, const struct names *a, const struct names *b)
{
    to->n = 0;
    to->but = a->but && b->but;
    if (to->but) {
        take_all(to, a);
        take_all(to, b);
    } else if (a->but) {
        pick(to, b, a, false);
    } else {
        pick(to, a, b, !b->but);
    }
    to->n = unique(to->text, to->n);
}

static void subtract(struct names *to, const struct names *a, const struct names *b)
{
    struct names not_b = *b;
    not_b.but = !b->but;
    intersect(to, a, &not_b);
}

static void unite(struct names *to, const struct names *a, const struct names *b)
{
    /* symbols: all, or some; never all but some */
    to->n = 0;
    to->but = a->but || b->but;
    if (to->but)
        return;
    take_all(to, a);
    take_all(to, b);
    to->n = unique(to->text, to->n);
}

/* ---- one block ---- */

static size_t names_size(const struct names *s)
{
    size_t size = s->n * sizeof *s->text;
    for (uint32_t i = 0; i < s->n; i++)
        size += s->text[i].len;
    return size;
}

static void names_copy(struct names *to, const struct names *from, struct fanout_text **text,
                       char **at)
{
    to->but = from->but;
    to->n = from->n;
    to->text = *text;
    for (uint32_t i = 0; i < from->n; i++) {
        to->text[i] = (struct fanout_text){*at, from->text[i].len};
        memcpy(*at, from->text[i].p, from->text[i].len);
        *at += from->text[i].len;
    }
    *text += from->n;
}

static void text_copy(struct fanout_text *to, const struct fanout_text *from, char **at)
{
    *to = (struct fanout_text){*at, from->len};
    if (from->len)
        memcpy(*at, from->p, from->len);
    *at += from->len;
}

static void put(char **at, const void *p, size_t n)
{
    if (n)
        memcpy(*at, p, n);
    *at += n;
}

static void put_text(char **at, const struct fanout_text *t)
{
    put(at, &t->len, sizeof t->len);
    put(at, t->p, t->len);
}

static void put_names(char **at, const struct names *s)
{
    put(at, &s->but, 1);
    put(at, &s->n, sizeof s->n);
    for (uint32_t i = 0; i < s->n; i++)
        put_text(at, &s->text[i]);
}

/* All that makes two subscriptions one. What a user may read counts only where the tables are not
 * named: named ones were checked before. */
static void make_key(struct spec *s, char *at)
{
    char *from = at;
    uint8_t flags = (uint8_t)(s->columns_form | s->timespan << 1 | s->conflate << 2 | s->hold << 3);
    uint64_t rights = s->tables.but ? s->rights.id : 0;
    put_names(&at, &s->tables);
    put_names(&at, &s->syms);
    put_text(&at, &s->where);
    put_text(&at, &s->columns);
    put(&at, &rights, sizeof rights);
    put(&at, &s->stripe, sizeof s->stripe);
    put(&at, &s->stripes, sizeof s->stripes);
    put(&at, &flags, 1);
    put(&at, &s->every, sizeof s->every);
    put(&at, &s->owner, sizeof s->owner);
    s->key = (struct fanout_text){from, (uint32_t)(at - from)};
}

/* A copy of `from` in one block, with other tables and symbols. */
static struct spec *spec_copy(const struct spec *from, const struct names *tables,
                              const struct names *syms)
{
    size_t texts = names_size(tables) + names_size(syms) + from->where.len + from->columns.len;
    size_t key = texts + 4u * (tables->n + syms->n) + 128;
    struct spec *s = malloc(sizeof *s + texts + key);
    if (!s)
        return NULL;
    *s = *from;
    struct fanout_text *text = (struct fanout_text *)(s + 1);
    char *at = (char *)(text + tables->n + syms->n);
    names_copy(&s->tables, tables, &text, &at);
    names_copy(&s->syms, syms, &text, &at);
    text_copy(&s->where, &from->where, &at);
    text_copy(&s->columns, &from->columns, &at);
    make_key(s, at);
    return s;
}

static struct fanout_text trimmed(struct fanout_text t)
{
    while (t.len && isspace((uint8_t)t.p[0]))
        t.p++, t.len--;
    while (t.len && isspace((uint8_t)t.p[t.len - 1]))
        t.len--;
    return t;
}

struct spec *spec_make(const struct fanout_spec *from, const struct fanout_config *cfg,
                       void *consumer, struct err *err)
{
    struct names tables = {.but = from->tables.all, .n = from->tables.all ? 0 : from->tables.n};
    struct names syms = {.but = from->syms.all, .n = from->syms.all ? 0 : from->syms.n};
    if (from->stripes > FANOUT_STRIPES_MAX ||
        (from->stripes > 1 && from->stripe >= from->stripes)) {
        err_set(err, -EINVAL, "stripe %u of %u: the first is 0, and there are at most %u",
                from->stripe, from->stripes, FANOUT_STRIPES_MAX);
        return NULL;
    }
    if (from->where.len > FANOUT_TEXT_MAX || from->columns.len > FANOUT_TEXT_MAX) {
        err_set(err, -EINVAL, "a where clause or column list of more than %u bytes",
                FANOUT_TEXT_MAX);
        return NULL;
    }
    struct fanout_text *room = malloc((tables.n + syms.n + 1u) * sizeof *room);
    struct spec *s = NULL,
                own = {
                    .where = trimmed(from->where),
                    .columns = trimmed(from->columns),
                    .rights = from->rights,
                    .stripe = from->stripes > 1 ? from->stripe : 0,
                    .stripes = from->stripes > 1 ? from->stripes : 1,
                    .columns_form = from->form == FANOUT_COLUMNS,
                    .timespan = from->time == FANOUT_AS_CONFIGURED ? cfg->timespan
                                                                   : from->time == FANOUT_TIMESPAN,
                    .conflate = from->conflate || from->hold,
                    .hold = from->hold,
                    .every = from->hold        ? INT64_MAX
                             : from->every < 0 ? cfg->every
                                               : from->every,
                    .owner = from->hold ? consumer : NULL,
                };
    if (room) {
        tables.text = room;
        syms.text = room + tables.n;
        if (tables.n)
            memcpy(tables.text, from->tables.text, tables.n * sizeof *room);
        if (syms.n)
            memcpy(syms.text, from->syms.text, syms.n * sizeof *room);
        tables.n = unique(tables.text, tables.n);
        syms.n = unique(syms.text, syms.n);
        s = spec_copy(&own, &tables, &syms);
    }
    free(room);
    if (!s)
        err_set(err, -ENOMEM, "no memory for the subscription");
    return s;
}

struct spec *spec_cut(const struct spec *a, const struct spec *b, bool inside, bool both)
{
    struct names tables, syms = a->syms;
    size_t n = a->tables.n + b->tables.n + (both ? a->syms.n + b->syms.n : 0);
    struct fanout_text *room = malloc((n + 1) * sizeof *room);
    if (!room)
        return NULL;
    tables.text = room;
    if (inside)
        intersect(&tables, &a->tables, &b->tables);
    else
        subtract(&tables, &a->tables, &b->tables);
    if (both) {
        syms.text = room + a->tables.n + b->tables.n;
        unite(&syms, &a->syms, &b->syms);
    }
    struct spec *s = spec_copy(a, &tables, &syms);
    free(room);
    return s;
}

bool spec_empty(const struct spec *s)
{
    return !s->tables.but && s->tables.n == 0;
}

bool spec_overlap(const struct spec *a, const struct spec *b)
{
    if (a->tables.but && b->tables.but)
        return true;
    const struct names *few = a->tables.but ? &b->tables : &a->tables;
    const struct names *other = few == &a->tables ? &b->tables : &a->tables;
    for (uint32_t i = 0; i < few->n; i++)
        if (names_has(other, few->text[i].p, few->text[i].len))
            return true;
    return false;
}

static bool same_text(const struct fanout_text *a, const struct fanout_text *b)
{
    return a->len == b->len && (a->len == 0 || !memcmp(a->p, b->p, a->len));
}

bool spec_akin(const struct spec *a, const struct spec *b)
{
    return same_text(&a->where, &b->where) && same_text(&a->columns, &b->columns) &&
           a->stripe == b->stripe && a->stripes == b->stripes &&
           a->columns_form == b->columns_form && a->timespan == b->timespan &&
           a->conflate == b->conflate && a->hold == b->hold && a->every == b->every;
}

bool spec_wants(const struct spec *s, const char *table)
{
    return names_has(&s->tables, table, strlen(table)) &&
           (!s->tables.but || s->rights.id == 0 || !s->rights.may_read ||
            s->rights.may_read(s->rights.user, table));
}

/* ---- from strings ---- */

bool fanout_parse_names(const char *text, size_t len, struct fanout_text *array, uint32_t room,
                        struct fanout_texts *out)
{
    struct fanout_text t = trimmed((struct fanout_text){text, (uint32_t)len});
    *out = (struct fanout_texts){.text = array};
    if (t.len == 0 || (t.len == 1 && t.p[0] == '`')) {
        out->all = true;
        return true;
    }
    for (uint32_t i = 0; i < t.len;) {
        uint32_t from = i;
        while (i < t.len && t.p[i] != ',' && t.p[i] != '`')
            i++;
        struct fanout_text one = trimmed((struct fanout_text){t.p + from, i - from});
        if (one.len) {
            if (out->n == room)
                return false;
            array[out->n++] = one;
        }
        i++;
    }
    return true;
}
