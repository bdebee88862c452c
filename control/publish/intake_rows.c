/* SPDX-License-Identifier: Apache-2.0 */
/* Values to records, whatever shape and type they came in (storage/kdb_rows.h converts). */
#include <errno.h>
#include "intake_parts.h"

uint8_t *intake_room(struct intake *in, size_t n)
{
    if (pst_likely(n <= in->room - in->used))
        return in->rec + in->used;
    size_t room = in->room ? in->room : 65536;
    while (room - in->used < n && room <= INTAKE_MESSAGE_MAX)
        room *= 2;
    uint8_t *p = room <= INTAKE_MESSAGE_MAX ? realloc(in->rec, room) : NULL;
    if (!p)
        return NULL;
    in->rec = p;
    in->room = room;
    return p + in->used;
}

/* ---- times of day ---- */

static int64_t begin_of(const struct calendar *k, int32_t day)
{
    return calendar_eod(k, day - 1);
}

bool intake_of_day_slow(struct intake *in, unsigned c, int64_t offset, int64_t *utc)
{
    const struct calendar *k = in->cfg.calendar[c];
    const struct days_open *days = in->cfg.rows.days;
    if (!k || !days) {
        int64_t midnight = in->cfg.rows.open_day * PST_DAY_NS;
        return !__builtin_add_overflow(midnight, offset, utc);
    }
    int32_t open = load_relaxed(&days->open[c]), newest = load_relaxed(&days->newest[c]);
    bool found = false;
    if (offset >= 0 && offset < PST_DAY_NS) {
        for (int32_t day = open; day <= newest; day++)
            for (int32_t near = day - 1; near <= day + 1; near++) {
                int64_t base = calendar_midnight(k, near), t = base + offset;
                int64_t begin = begin_of(k, day), end = calendar_eod(k, day);
                if (t < begin || t >= end || (found && llabs(t - in->now) >= llabs(*utc - in->now)))
                    continue;
                found = true;
                *utc = t;
                if (open == newest)
                    in->span[c] = (struct intake_span){.base = base,
                                                       .lo = begin > base ? begin - base : 0,
                                                       .hi = end - base < PST_DAY_NS ? end - base
                                                                                     : PST_DAY_NS};
            }
    }
    return found || !__builtin_add_overflow(calendar_midnight(k, newest), offset, utc);
}

/* ---- any shape ---- */

struct of_day {
    struct intake *in;
    unsigned calendar;
};
static bool of_day(void *arg, int64_t offset, int64_t *utc)
{
    const struct of_day *o = arg;
    return intake_of_day(o->in, o->calendar, offset, utc);
}

static uint32_t symbol(void *arg, const char *text, uint32_t len)
{
    return intake_symbol(arg, text, len);
}

/* Column time of rows that come without it: an atom for all of them. */
static bool with_time(struct intake *in, const struct schema *s, uint8_t atom[9], struct err *err)
{
    struct kdb_update *u = &in->update;
    struct kdb_cells *c = u->col;
    if (!u->rows)
        return true;
    if (u->named) {
        for (uint32_t i = 0; i < u->ncols; i++)
            if (c[i].name_len == strlen(s->col[0].name) &&
                !memcmp(c[i].name, s->col[0].name, c[i].name_len))
                return true;
    } else {
        int type = c[0].o.type < 0 ? -c[0].o.type : c[0].o.type;
        if (u->ncols + 1 != s->ncols || type == PST_TIMESTAMP ||
            (type >= KDB_DATETIME && type <= PST_TIME))
            return true;
    }
    if (u->ncols == SCHEMA_COLUMNS_MAX)
        return err_set(err, -E2BIG, "more than %d columns", SCHEMA_COLUMNS_MAX);
    memmove(c + 1, c, u->ncols * sizeof *c);
    atom[0] = (uint8_t)-PST_TIMESTAMP;
    put64(atom + 1, (uint64_t)in->now);
    c[0] = (struct kdb_cells){.form = KDB_FORM_ATOM, .name = s->col[0].name};
    c[0].name_len = (uint32_t)strlen(s->col[0].name);
    kdb_object_view(&c[0].o, atom, KDB_LITTLE);
    u->ncols++;
    return true;
}

/* "time sym price (time may be left out)" */
static bool wrong_columns(const struct schema *s, const struct kdb_update *u, struct err *err)
{
    char names[INTAKE_COLUMNS_TEXT] = "";
    size_t at = 0;
    for (unsigned i = 0; i < s->ncols && at < sizeof names - SCHEMA_NAME_MAX - 8; i++) {
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? " " : "", s->col[i].name);
        if (i + 1 < s->ncols && at >= sizeof names - SCHEMA_NAME_MAX - 8)
            snprintf(names + at, sizeof names - at, " ...");
    }
    return err_set(err, -EINVAL, "%u column%s came, send %u: %s (time may be left out)", u->ncols,
                   u->ncols == 1 ? "" : "s", s->ncols, names);
}

static bool convert(struct intake *in, const struct schema *s, struct err *err)
{
    struct of_day day = {in, in->cfg.rows.owners ? in->cfg.rows.owners->calendar[s->id] : 0};
    struct kdb_target t = {.schema = s, .of_day = of_day, .of_day_arg = &day};
    if (!kdb_in_begin(in->in, &t, &in->update, err))
        return false;
    int v;
    while ((v = kdb_in_next(in->in, err)) > 0) {
        const struct record *r = (const struct record *)(const void *)in->in->record;
        kdb_in_symbols(in->in, false, symbol, &in->symbols);
        uint8_t *to = intake_room(in, r->bytes);
        if (!to)
            return err_set(err, -E2BIG, "row %u is beyond what one message may hold: send fewer",
                           in->in->row - 1);
        memcpy(to, r, r->bytes);
        in->used += r->bytes;
        in->rows++;
    }
    return v == 0;
}

bool intake_rows(struct intake *in, const struct intake_slot *t, const struct kdb_object *data,
                 struct err *err)
{
    const struct schema *s = t->schema;
    uint8_t atom[9];
    enum intake_fast v = intake_fast_row(in, t, data, err);
    if (v == INTAKE_OTHER)
        v = intake_fast_columns(in, t, data, err);
    if (v != INTAKE_OTHER)
        return v == INTAKE_FAST;
    if (!kdb_update_view(&in->update, data, err) || !with_time(in, s, atom, err))
        return false;
    if (in->update.rows && !in->update.named && in->update.ncols != s->ncols)
        return wrong_columns(s, &in->update, err);
    return convert(in, s, err);
}
