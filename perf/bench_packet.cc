// SPDX-License-Identifier: Apache-2.0
//
// The cost of a packet before any feed sees it: parse, then the group look-up. Each figure stands
// beside its limit in the same run, "touch": reading the same header bytes and doing nothing else.
// 512 frames fit the caches as a burst does when it has just arrived; 16,384 do not.
//
//     build/perf/bench_packet
#include <benchmark/benchmark.h>

#include "bench_packet.h"

static void measure(benchmark::State &state, uint64_t (*body)(struct bench_packets *))
{
    auto n = (uint32_t)state.range(0);
    struct bench_packets *b = bench_packets_new(n, (int)state.range(1), (int)state.range(2));
    for (auto _ : state) {
        benchmark::DoNotOptimize(body(b));
    }
    state.SetItemsProcessed(state.iterations() * n);
    state.counters["s/packet"] = benchmark::Counter(
        (double)state.iterations() * n, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    bench_packets_free(b);
}

#define BENCH(name)                                                                                \
    BENCHMARK_CAPTURE(measure, name, bench_##name)                                                 \
        ->ArgNames({"packets", "vlans", "groups"})                                                 \
        ->Args({512, 0, 4})                                                                        \
        ->Args({512, 1, 256})                                                                      \
        ->Args({512, 2, 256})                                                                      \
        ->Args({16384, 0, 256})

BENCH(touch);
BENCH(parse);
BENCH(parse_find);
BENCH(parse_verify);

BENCHMARK_MAIN();
