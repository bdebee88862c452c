/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include "duck.h"

struct duck {
    void *lib, *db, *con;
    int (*open)(const char *, void **);
    void (*close)(void **);
    int (*connect)(void *, void **);
    void (*disconnect)(void **);
    int (*query)(void *, const char *, void *);
    void (*destroy)(void *);
    const char *(*error)(void *);
    uint64_t (*rows)(void *), (*cols)(void *);
    bool (*is_null)(void *, uint64_t, uint64_t);
    int64_t (*int64)(void *, uint64_t, uint64_t);
    double (*dbl)(void *, uint64_t, uint64_t);
    char *(*varchar)(void *, uint64_t, uint64_t);
    void (*free)(void *);
};

struct duck *duck_open(const char *library, char *why, size_t room)
{
    struct duck *d = calloc(1, sizeof *d);
    pst_must(d);
    d->lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!d->lib) {
        snprintf(why, room, "%s", dlerror());
        free(d);
        return NULL;
    }
    const struct {
        const char *name;
        void *at;
    } f[] = {{"duckdb_open", &d->open},
             {"duckdb_close", &d->close},
             {"duckdb_connect", &d->connect},
             {"duckdb_disconnect", &d->disconnect},
             {"duckdb_query", &d->query},
             {"duckdb_destroy_result", &d->destroy},
             {"duckdb_result_error", &d->error},
             {"duckdb_row_count", &d->rows},
             {"duckdb_column_count", &d->cols},
             {"duckdb_value_is_null", &d->is_null},
             {"duckdb_value_int64", &d->int64},
             {"duckdb_value_double", &d->dbl},
             {"duckdb_value_varchar", &d->varchar},
             {"duckdb_free", &d->free}};
    for (unsigned i = 0; i < PST_COUNT(f); i++) {
        void *p = dlsym(d->lib, f[i].name);
        if (!p) {
            snprintf(why, room, "%s has no %s", library, f[i].name);
            dlclose(d->lib);
            free(d);
            return NULL;
        }
        memcpy(f[i].at, &p, sizeof p);
    }
    if (d->open(NULL, &d->db) || d->connect(d->db, &d->con)) {
        snprintf(why, room, "%s: no database in memory", library);
        dlclose(d->lib);
        free(d);
        return NULL;
    }
    return d;
}

void duck_close(struct duck *d)
{
    d->disconnect(&d->con);
    d->close(&d->db);
    free(d); /* the library stays: its threads' destructors run at exit */
}

bool duck_query(struct duck *d, const char *sql, struct duck_rows *out)
{
    memset(out, 0, sizeof *out);
    out->duck = d;
    if (d->query(d->con, sql, out->result)) {
        const char *e = d->error(out->result);
        snprintf(out->error, sizeof out->error, "%s", e && *e ? e : "an error without a text");
        d->destroy(out->result);
        return false;
    }
    out->rows = d->rows(out->result);
    out->cols = d->cols(out->result);
    return true;
}

void duck_free(struct duck_rows *r)
{
    r->duck->destroy(r->result);
}
bool duck_null(struct duck_rows *r, uint64_t col, uint64_t row)
{
    return r->duck->is_null(r->result, col, row);
}
int64_t duck_int(struct duck_rows *r, uint64_t col, uint64_t row)
{
    return r->duck->int64(r->result, col, row);
}
double duck_double(struct duck_rows *r, uint64_t col, uint64_t row)
{
    return r->duck->dbl(r->result, col, row);
}
char *duck_text(struct duck_rows *r, uint64_t col, uint64_t row)
{
    char *t = r->duck->varchar(r->result, col, row);
    char *copy = strdup(t ? t : "");
    pst_must(copy);
    r->duck->free(t);
    return copy;
}

void duck_must(struct duck *d, const char *sql)
{
    struct duck_rows r;
    if (!duck_query(d, sql, &r)) {
        fprintf(stderr, "duckdb: %s\n  %.2000s\n", r.error, sql);
        exit(1);
    }
    duck_free(&r);
}
