/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: equal ones are one, constants are folded, logic is kept flat. */
#include "bind.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15ull;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
    const uint8_t *c = p;
    for (size_t i = 0; i < n; i++) {
        h = mix(h, c[i]);
    }
    return mix(h, n);
}

static bool text_value(const struct plan_expr *x)
{
    return x->type == PST_SYMBOL || x->type == PST_STRING || x->type == BIND_UNTYPED;
}

static uint64_t node_hash(const struct plan_expr *x)
{
    uint64_t h = mix(mix(x->op, x->type), (uint64_t)x->side << 8 | x->field);
    h = mix(h, (uint64_t)x->column << 1 | x->is_null);
    h = mix(h, (uintptr_t)x->zone);
    for (unsigned i = 0; i < x->nargs; i++) {
        h = mix(h, x->arg[i]->id);
    }
    if (x->op == PLAN_CONST && !x->is_null) {
        h = text_value(x) ? hash_bytes(h, x->value.text.p, x->value.text.len)
                          : hash_bytes(h, &x->value, 16);
    }
    return h;
}

static bool node_equal(const struct plan_expr *x, const struct plan_expr *y)
{
    if (x->op != y->op || x->type != y->type || x->side != y->side || x->field != y->field ||
        x->column != y->column || x->is_null != y->is_null || x->zone != y->zone ||
        x->nargs != y->nargs) {
        return false;
    }
    for (unsigned i = 0; i < x->nargs; i++) {
        if (x->arg[i] != y->arg[i]) {
            return false;
        }
    }
    if (x->op != PLAN_CONST || x->is_null) {
        return true;
    }
    return text_value(x) ? x->value.text.len == y->value.text.len &&
                               !memcmp(x->value.text.p, y->value.text.p, x->value.text.len)
                         : !memcmp(&x->value, &y->value, 16);
}

/* The node that is equal to *x: an older one, or a copy of *x. */
static struct plan_expr *intern(struct binder *b, const struct plan_expr *x)
{
    if (b->nodes_used * 2 >= b->nodes_room) {
        uint32_t room = b->nodes_room ? b->nodes_room * 2 : 256;
        struct plan_expr **slot = arena_alloc(b->a, room * sizeof *slot);
        if (b->a->failed || b->nodes_used > BIND_NODES_MAX) {
            return bind_error(b, QUERY_LIMIT, x->pos, "the query is too large to plan");
        }
        for (uint32_t i = 0; i < b->nodes_room; i++) {
            if (b->nodes[i]) {
                uint64_t h = node_hash(b->nodes[i]);
                while (slot[h & (room - 1)]) {
                    h++;
                }
                slot[h & (room - 1)] = b->nodes[i];
            }
        }
        b->nodes = slot;
        b->nodes_room = room;
    }
    uint64_t h = node_hash(x);
    for (;; h++) {
        struct plan_expr *old = b->nodes[h & (b->nodes_room - 1)];
        if (!old) {
            break;
        }
        if (node_equal(old, x)) {
            old->pos = x->pos; /* the place that is looked at now: errors come from there */
            return old;
        }
    }
    struct plan_expr *made = arena_alloc(b->a, sizeof *made);
    struct plan_expr **arg = x->nargs ? arena_alloc(b->a, x->nargs * sizeof *arg) : NULL;
    if (b->a->failed) {
        return bind_error(b, QUERY_LIMIT, x->pos, "no memory for the plan");
    }
    *made = *x;
    if (arg) {
        memcpy(arg, x->arg, x->nargs * sizeof *arg);
    }
    made->arg = arg;
    made->id = b->plan->nexprs++;
    b->nodes[h & (b->nodes_room - 1)] = made;
    b->nodes_used++;
    return made;
}

struct scalar bind_value(const struct plan_expr *c)
{
    struct scalar v = {.type = c->type, .null = c->is_null};
    memcpy(&v.i, &c->value, 16);
    return v;
}

struct plan_expr *bind_const(struct binder *b, const struct scalar *v, int64_t pos)
{
    struct plan_expr x = {.op = PLAN_CONST, .type = v->type, .is_null = v->null};
    x.pos = pos < 0 ? 0 : (uint32_t)pos;
    if (!v->null) {
        if (text_value(&x)) {
            x.value.text.p = arena_text(b->a, v->text.p, v->text.len);
            x.value.text.len = b->a->failed ? 0 : v->text.len;
        } else if (v->type == PST_GUID) {
            memcpy(x.value.guid, v->guid, 16);
        } else if (v->type == PST_FLOAT || v->type == PST_REAL) {
            x.value.f = v->f;
        } else {
            x.value.i = v->i;
        }
    }
    return intern(b, &x);
}

struct plan_expr *bind_long(struct binder *b, int64_t v, int64_t pos)
{
    return bind_const(b, &(struct scalar){.type = PST_LONG, .i = v}, pos);
}

struct plan_expr *bind_null(struct binder *b, uint8_t type, int64_t pos)
{
    return bind_const(b, &(struct scalar){.type = type, .null = true}, pos);
}

struct plan_expr *bind_leaf(struct binder *b, unsigned op, uint8_t type, unsigned side,
                            unsigned column, int64_t pos)
{
    struct plan_expr x = {.op = (uint8_t)op,
                          .type = type,
                          .side = (uint8_t)side,
                          .column = (uint16_t)column,
                          .sides = op == PLAN_COLUMN ? (uint8_t)(1u << side) : 0,
                          .aggregate = op == PLAN_AGG,
                          .pos = pos < 0 ? 0 : (uint32_t)pos};
    return intern(b, &x);
}

static bool widens(uint8_t from, uint8_t to) /* a cast that cannot fail */
{
    static const uint8_t order[] = {PST_BOOLEAN, PST_BYTE, PST_SHORT, PST_INT, PST_LONG};
    if (to == PST_STRING || to == PST_SYMBOL || to == PST_FLOAT || to == PST_REAL) {
        return !(bind_is_text(from) && (to == PST_FLOAT || to == PST_REAL));
    }
    if (bind_is_text(from)) {
        return to == PST_CHAR;
    }
    if (from == PST_TIMESTAMP || to == PST_BOOLEAN ||
        (bind_is_offset(from) && to == PST_TIMESPAN)) {
        return true;
    }
    int f = -1, t = -1;
    for (unsigned i = 0; i < PST_COUNT(order); i++) {
        f = order[i] == from ? (int)i : f;
        t = order[i] == to ? (int)i : t;
    }
    return (f >= 0 && t >= f) || to == PST_LONG; /* all temporal types fit a long */
}

static bool op_can_fail(const struct plan_expr *x)
{
    switch (x->op) {
    case PLAN_ADD:
    case PLAN_SUB:
    case PLAN_MUL:
        return x->type != PST_FLOAT;
    case PLAN_CAST:
        return !widens(x->arg[0]->type, x->type) ||
               (bind_is_integer(x->type) &&
                (x->arg[0]->type == PST_FLOAT || x->arg[0]->type == PST_REAL));
    case PLAN_BUCKET:
    case PLAN_MONTH_BUCKET:
    case PLAN_ADD_MONTHS:
    case PLAN_TO_LOCAL:
    case PLAN_TO_UTC:
        return true;
    default:
        return false;
    }
}

/* NULL in, NULL out? */
static bool op_strict(unsigned op)
{
    switch (op) {
    case PLAN_AND:
    case PLAN_OR:
    case PLAN_IS_NULL:
    case PLAN_IS_TRUE:
    case PLAN_IS_FALSE:
    case PLAN_DISTINCT_FROM:
    case PLAN_CASE:
    case PLAN_COALESCE:
    case PLAN_GREATEST:
    case PLAN_LEAST:
    case PLAN_LIKE: /* their third argument, the escape, may be empty */
    case PLAN_ILIKE:
        return false;
    default:
        return true;
    }
}

/* AND, OR: arguments that are themselves ANDs (ORs) are opened, constants decide or go. */
static struct plan_expr *make_logic(struct binder *b, struct plan_expr *x)
{
    int64_t stop = x->op == PLAN_OR;
    unsigned room = 0, n = 0;
    for (unsigned i = 0; i < x->nargs; i++) {
        room += x->arg[i]->op == x->op ? x->arg[i]->nargs : 1;
    }
    if (room > PLAN_ARGS_MAX) {
        return bind_error(b, QUERY_UNSUPPORTED, x->pos, "more than %u conditions joined by %s",
                          PLAN_ARGS_MAX, plan_op_name(x->op));
    }
    struct plan_expr **arg = arena_alloc(b->a, (room ? room : 1) * sizeof *arg);
    if (b->a->failed) {
        return bind_error(b, QUERY_LIMIT, x->pos, "no memory for the plan");
    }
    for (unsigned i = 0; i < x->nargs; i++) {
        struct plan_expr *one = x->arg[i];
        unsigned k = one->op == x->op ? one->nargs : 1;
        struct plan_expr **from = one->op == x->op ? one->arg : &x->arg[i];
        for (unsigned j = 0; j < k; j++) {
            bool repeated = false;
            for (unsigned m = 0; m < n && m < 16; m++) {
                repeated |= arg[m] == from[j];
            }
            if (from[j]->op == PLAN_CONST && !from[j]->is_null) {
                if (from[j]->value.i == stop) {
                    return from[j];
                }
            } else if (!repeated) {
                arg[n++] = from[j];
            }
        }
    }
    if (n == 0) {
        return bind_const(b, &(struct scalar){.type = PST_BOOLEAN, .i = !stop}, x->pos);
    }
    if (n == 1) {
        return arg[0];
    }
    x->arg = arg;
    x->nargs = (uint16_t)n;
    x->can_fail = false;
    x->sides = 0;
    for (unsigned i = 0; i < n; i++) {
        x->can_fail |= arg[i]->can_fail;
        x->sides |= arg[i]->sides;
    }
    return intern(b, x);
}

struct plan_expr *bind_make(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                            struct plan_expr *const *arg, unsigned nargs,
                            const struct plan_expr *like)
{
    struct plan_expr x = like ? *like : (struct plan_expr){0};
    struct scalar value[8], *v = value;
    bool constant = nargs > 0, null = false;
    x.op = (uint8_t)op;
    x.type = type;
    x.pos = pos < 0 ? 0 : (uint32_t)pos;
    x.nargs = (uint16_t)nargs;
    x.is_null = false;
    x.can_fail = false;
    x.sides = 0;
    x.aggregate = false;
    memset(&x.value, 0, sizeof x.value);
    for (unsigned i = 0; i < nargs; i++) {
        if (!arg[i]) {
            return NULL;
        }
        constant &= arg[i]->op == PLAN_CONST;
        null |= arg[i]->op == PLAN_CONST && arg[i]->is_null;
        x.can_fail |= arg[i]->can_fail;
        x.sides |= arg[i]->sides;
        x.aggregate |= arg[i]->aggregate;
    }
    x.arg = (struct plan_expr **)arg; /* intern copies it */
    x.can_fail |= op_can_fail(&x);
    if (null && op_strict(op)) {
        return bind_null(b, type, pos);
    }
    if (constant) {
        struct scalar out;
        if (nargs > PST_COUNT(value)) {
            v = arena_alloc(b->a, nargs * sizeof *v);
            if (b->a->failed || nargs > PLAN_ARGS_MAX + 1) {
                return bind_error(b, QUERY_LIMIT, pos, "no memory for the plan");
            }
        }
        for (unsigned i = 0; i < nargs; i++) {
            v[i] = bind_value(arg[i]);
        }
        if (!scalar_apply(&x, v, b->a, &out, b->e)) {
            return NULL;
        }
        return bind_const(b, &out, pos);
    }
    if (op == PLAN_AND || op == PLAN_OR) {
        return make_logic(b, &x);
    }
    return intern(b, &x);
}

struct plan_expr *bind_make1(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                             struct plan_expr *x)
{
    return bind_make(b, op, type, pos, &x, 1, NULL);
}

struct plan_expr *bind_make2(struct binder *b, unsigned op, uint8_t type, int64_t pos,
                             struct plan_expr *x, struct plan_expr *y)
{
    return bind_make(b, op, type, pos, (struct plan_expr *[]){x, y}, 2, NULL);
}
