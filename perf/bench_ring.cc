// SPDX-License-Identifier: Apache-2.0
// bench_ring: the journal's append beside its limits, the hand-over to a reader, inject rings.
//   build/perf/bench_ring
#include <benchmark/benchmark.h>

#include "bench_ring.h"

template <uint64_t (*Fn)(uint32_t)> static void PerFrame(benchmark::State &state)
{
    bench_ring_setup();
    uint64_t bytes = 0;
    for (auto _ : state)
        bytes += Fn(static_cast<uint32_t>(state.range(0)));
    state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(PerFrame<bench_ring_append>)->Name("append")->Arg(512)->Arg(4096)->Arg(65536);
BENCHMARK(PerFrame<bench_ring_memcpy>)->Name("limit/memcpy")->Arg(512)->Arg(4096)->Arg(65536);
BENCHMARK(PerFrame<bench_ring_crc>)->Name("limit/crc32c")->Arg(512)->Arg(4096)->Arg(65536);

static void Show(benchmark::State &state, const bench_handover &h)
{
    state.counters["p50_ns"] = h.p50;
    state.counters["p99_ns"] = h.p99;
}
static void WordHandover(benchmark::State &state)
{
    for (auto _ : state)
        Show(state, bench_word_handover(200000));
}
BENCHMARK(WordHandover)->Name("limit/word_handover")->Iterations(1)->Unit(benchmark::kMillisecond);
static void FrameHandover(benchmark::State &state)
{
    for (auto _ : state)
        Show(state, bench_frame_handover(200000, static_cast<uint32_t>(state.range(0))));
}
BENCHMARK(FrameHandover)
    ->Name("frame_handover")
    ->Arg(128)
    ->Arg(1024)
    ->Arg(4096)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

static void Inject(benchmark::State &state)
{
    for (auto _ : state) {
        bench_inject r = bench_inject_handover(200000, static_cast<unsigned>(state.range(0)));
        state.counters["batches/s"] = r.batches_s;
        state.counters["rows/s"] = r.rows_s;
        state.counters["bytes/s"] = r.bytes_s;
    }
}
BENCHMARK(Inject)->Name("inject")->Arg(1)->Arg(30)->Arg(500)->Iterations(1)->Unit(
    benchmark::kMillisecond);

BENCHMARK_MAIN();
