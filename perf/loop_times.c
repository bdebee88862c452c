/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_times THREAD BEFORE AFTER: what a thread's loops took between two `penstock topo --json`,
 * each in a file behind a line with its time (ns): loops a second, those over 100 us, and the
 * quantiles of the loops that found work or took over 100 us.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EDGES 4096

struct shot {
    double at, over, loops, busy;
    json_t *buckets;
};

static int load(const char *path, const char *name, struct shot *s)
{
    FILE *f = fopen(path, "r");
    char line[64];
    json_error_t e;
    if (!f || !fgets(line, sizeof line, f)) {
        fprintf(stderr, "loop_times: cannot read %s\n", path);
        return 0;
    }
    s->at = atof(line);
    json_t *topo = json_loadf(f, JSON_DISABLE_EOF_CHECK, &e), *t;
    fclose(f);
    if (!topo) {
        fprintf(stderr, "loop_times: %s: %s\n", path, e.text);
        return 0;
    }
    size_t i;
    json_array_foreach(json_object_get(topo, "threads"), i, t)
    {
        if (strcmp(json_string_value(json_object_get(t, "name")), name))
            continue;
        s->over = (double)json_integer_value(json_object_get(t, "over_100us"));
        s->loops = (double)json_integer_value(json_object_get(t, "loops"));
        s->busy = (double)json_integer_value(json_object_get(t, "busy"));
        s->buckets = json_object_get(json_object_get(t, "loop_ns"), "buckets");
        return s->buckets != NULL;
    }
    fprintf(stderr, "loop_times: %s knows no thread %s\n", path, name);
    return 0;
}

static double count_at(json_t *buckets, json_int_t edge)
{
    size_t i;
    json_t *b;
    json_array_foreach(buckets, i, b) if (json_integer_value(json_array_get(b, 0)) == edge) return (
        double)json_integer_value(json_array_get(b, 1));
    return 0;
}

int main(int argc, char **argv)
{
    struct shot a, b;
    if (argc != 4) {
        fprintf(stderr, "usage: loop_times THREAD BEFORE AFTER\n");
        return 2;
    }
    if (!load(argv[2], argv[1], &a) || !load(argv[3], argv[1], &b))
        return 1;
    static double edge[EDGES], n[EDGES];
    size_t k = 0, i;
    double sum = 0, seconds = (b.at - a.at) / 1e9;
    json_t *x;
    json_array_foreach(b.buckets, i, x)
    {
        json_int_t e = json_integer_value(json_array_get(x, 0));
        double d = (double)json_integer_value(json_array_get(x, 1)) - count_at(a.buckets, e);
        if (d <= 0 || k == EDGES)
            continue;
        edge[k] = (double)e;
        n[k++] = d;
        sum += d;
    }
    if (!(sum > 0) || !(seconds > 0)) {
        fprintf(stderr, "loop_times: no loop of %s found work\n", argv[1]);
        return 1;
    }
    static const double q[] = {0.5, 0.99, 0.9999, 1};
    static const char *const name[] = {"p50", "p99", "p9999", "max"};
    printf("seconds=%.3f loops_s=%.0f busy_s=%.0f over_s=%.2f", seconds,
           (b.loops - a.loops) / seconds, (b.busy - a.busy) / seconds, (b.over - a.over) / seconds);
    for (unsigned j = 0; j < sizeof q / sizeof *q; j++) {
        double seen = 0;
        for (i = 0; i < k && (seen += n[i]) < q[j] * sum; i++)
            ;
        printf(" %s_us=%.2f", name[j], edge[i < k ? i : k - 1] / 1e3);
    }
    printf("\n");
    return 0;
}
