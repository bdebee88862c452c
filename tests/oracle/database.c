/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include "storage/hdb.h"
#include "storage/query/literal.h"
#include "storage/query/view_db.h"
#include "database.h"

static struct scalar value_of(const struct result *r, uint32_t c, uint64_t i)
{
    struct scalar v = {.type = r->col[c].type, .null = result_is_null(r, c, i)};
    char buf[64];
    switch (v.type) {
    case PST_SYMBOL:
    case PST_STRING:
        v.text.p = result_text(r, c, i, &v.text.len);
        return v;
    case PST_FLOAT:
    case PST_REAL:
        v.f = result_float(r, c, i);
        return v;
    case PST_GUID:
        if (!v.null) {
            kit_cell(r, c, i, buf, sizeof buf);
            pst_must(literal_parse(PST_GUID, buf, 36, &v));
        }
        return v;
    default:
        v.i = result_int(r, c, i);
        return v;
    }
}

static void give_result(struct duck *d, const char *name, const struct result *r)
{
    char *sql = NULL, made[300];
    size_t len = 0;
    FILE *f = open_memstream(&sql, &len);
    pst_must(f);
    fprintf(f, "CREATE TABLE raw_%s (", name);
    for (uint32_t c = 0; c < r->ncols; c++) {
        fprintf(f, "\"%s\" %s, ", r->col[c].name, duck_type(r->col[c].type));
    }
    fprintf(f, "pos BIGINT)");
    fflush(f);
    duck_must(d, sql);
    for (uint64_t from = 0; from < r->rows; from += 1000) {
        fseek(f, 0, SEEK_SET);
        fprintf(f, "INSERT INTO raw_%s VALUES ", name);
        for (uint64_t i = from; i < r->rows && i < from + 1000; i++) {
            fputs(i > from ? ",(" : "(", f);
            for (uint32_t c = 0; c < r->ncols; c++) {
                struct scalar v = value_of(r, c, i);
                put_value(f, &v);
                fputs(", ", f);
            }
            fprintf(f, "%" PRIu64 ")", i);
        }
        fputc(0, f);
        fflush(f);
        duck_must(d, sql);
    }
    fclose(f);
    free(sql);
    snprintf(
        made, sizeof made,
        "CREATE TABLE %s AS SELECT * EXCLUDE (pos), row_number() OVER (ORDER BY date, time NULLS "
        "FIRST, pos) AS ord FROM raw_%s",
        name, name);
    duck_must(d, made);
}

int run_database(struct duck *d, const char *root, const char *queries)
{
    struct err err;
    struct hdb *h = hdb_open(root, &err);
    struct view_db *db = h ? view_db_new(NULL, NULL, h, &err) : NULL;
    if (!db || !view_db_cut(db, NULL, &err)) {
        fprintf(stderr, "oracle: %s\n", err.text);
        return 1;
    }
    struct kit *k = kit_new();
    struct tally tally = {{0}};
    uint64_t rows = 0;
    raw_times = true;
    k->env.tables = view_db_catalogue(db);
    duck_must(d, "CREATE MACRO ts(x) AS (epoch_us(x::TIMESTAMP) - 946684800000000) * 1000");
    duck_must(d, "CREATE MACRO bucket(w, t) AS t - ((t - 172800000000000) % w + w) % w");
    duck_must(d, "CREATE MACRO day_of(t) AS DATE '2000-01-01' + (t // 86400000000000)::INTEGER");
    const struct query_table *t;
    for (unsigned i = 0; (t = k->env.tables.at(k->env.tables.ctx, i)) != NULL; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "SELECT * FROM %s", t->name);
        struct result *r = kit_query(k, sql, NULL);
        rows += r->rows;
        give_result(d, t->name, r);
        result_free(r);
    }
    run_file(k, d, queries, &tally);
    unsigned all = tally.count[0] + tally.count[1] + tally.count[2];
    printf("oracle: %" PRIu64 " rows of %s, %u queries: %u equal, %u fail in both, %u differ\n",
           rows, root, all, tally.count[0], tally.count[1], tally.count[2]);
    kit_free(k);
    view_db_free(db);
    hdb_close(h);
    return rows && all && tally.count[0] == all ? 0 : 1;
}
