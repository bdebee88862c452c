// SPDX-License-Identifier: Apache-2.0
//
// ITCH messages to rows, and on to the journal, beside the limits of the same run: copying and
// checksumming as many bytes as the rows have. items/s = messages/s, bytes/s = bytes of frames.
// Input: 2 M messages (60 MB, from DRAM) of a real day's mix; with PST_DATA set also a real slice.
//
//     build/perf/bench_decode
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <string>

#include "bench_decode.h"

static struct bench_decode *get(int real)
{
    static struct bench_decode *made[2];
    if (!made[real]) {
        const char *data = getenv("PST_DATA");
        std::string file =
            std::string(data ? data : "../shared/data") + "/itch50/itch_runk_locate13_10k.bin";
        made[real] = bench_decode_new(2000000, real ? file.c_str() : nullptr);
        if (made[real])
            bench_decode_journal(made[real]);
    }
    return made[real];
}

static void measure(benchmark::State &state, void (*body)(struct bench_decode *))
{
    struct bench_decode *b = get((int)state.range(0));
    if (!b) {
        state.SkipWithError("no real captures (set PST_DATA)");
        return;
    }
    for (auto _ : state)
        body(b);
    state.SetItemsProcessed(state.iterations() * 2000000);
    state.SetBytesProcessed((int64_t)(state.iterations() * bench_decode_row_bytes(b)));
}

#define BENCH(name)                                                                                \
    BENCHMARK_CAPTURE(measure, name, bench_##name)                                                 \
        ->ArgName("real")                                                                          \
        ->Arg(0)                                                                                   \
        ->Arg(1)                                                                                   \
        ->Unit(benchmark::kMillisecond)

BENCH(decode_only);
BENCH(decode_journal);
BENCH(limit_memcpy);
BENCH(limit_crc);

BENCHMARK_MAIN();
