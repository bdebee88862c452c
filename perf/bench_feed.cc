// SPDX-License-Identifier: Apache-2.0
//
// Framing, two-line arbitration and (optionally) decoding, on one core, from prepared MoldUDP64
// packets in memory; both lines interleaved, every copy compared. Each figure stands beside its
// limit in the same run, "touch": copying line A's bytes and comparing line B's, nothing else.
// decoder: 0 null (24-byte record a message), 1 itch50, 2 none (kept whole).
//
//     build/perf/bench_feed
//
// items_per_second = packets of all lines; msg/s = messages of all lines.
#include <benchmark/benchmark.h>

#include "bench_feed.h"

static void measure(benchmark::State &state, void (*body)(struct bench_feed *), bool check)
{
    struct bench_feed *b = bench_feed_new((int)state.range(0), (int)state.range(1),
                                          (int)state.range(2), (int)state.range(3));
    for (auto _ : state)
        body(b);
    if (check)
        bench_feed_check(b);
    auto n = (double)state.iterations();
    state.SetItemsProcessed((int64_t)(n * (double)bench_feed_packets(b)));
    state.SetBytesProcessed((int64_t)(n * (double)bench_feed_bytes(b)));
    state.counters["msg/s"] =
        benchmark::Counter(n * (double)bench_feed_messages(b), benchmark::Counter::kIsRate);
    bench_feed_free(b);
}

#define SHAPES                                                                                     \
    ->ArgNames({"msgs", "lines", "decoder", "lossy"})                                              \
        ->Args({1, 1, 0, 0})                                                                       \
        ->Args({1, 2, 0, 0})                                                                       \
        ->Args({1, 2, 0, 1})                                                                       \
        ->Args({4, 2, 0, 0})                                                                       \
        ->Args({38, 1, 0, 0})                                                                      \
        ->Args({38, 2, 0, 0})                                                                      \
        ->Args({38, 2, 0, 1})                                                                      \
        ->Args({1, 2, 1, 0})                                                                       \
        ->Args({25, 2, 1, 0})                                                                      \
        ->Args({38, 2, 1, 0})                                                                      \
        ->Args({38, 2, 2, 0})

BENCHMARK_CAPTURE(measure, touch, bench_feed_touch, false)
    ->ArgNames({"msgs", "lines", "decoder", "lossy"})
    ->Args({1, 2, 0, 0})
    ->Args({38, 2, 0, 0});
BENCHMARK_CAPTURE(measure, feed, bench_feed_round, true) SHAPES;

BENCHMARK_MAIN();
