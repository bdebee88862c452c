#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Does loading files hurt capture? One daemon captures a steady flow over a veth pair (as interference.sh, the rx
# thread pinned to the highest CPU); in turns it is left alone, and loads ten files of trades (load_data) with two
# workers into a partition of its own. Each window is measured by the rx thread's own account of its loops: loops over
# 100 us a second, and the 99.99 % quantile of the loops that found work. Medians, and the ratio to the idle windows
# (an idle rate below one loop in a window counts as one: less a window cannot tell).
#   perf/load_interference.sh [-n RUNS] [-m MILLION ROWS] [-r PACKETS/S] [-w WAIT] [-s IDLE SECONDS] [-f]
# -f: the rx thread gets SCHED_FIFO, on a machine that is not quiet (not with -w spin).
# Exit: 0 both within 2 x, 1 not, 77 cannot run here.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
[ -x "$build/perf/loop_times" ] && [ -x "$build/perf/load_data" ] || { echo "load_interference.sh: $build/perf is not built: ninja -C $build" >&2; exit 2; }
. perf/lib.sh
inside "$0" "$@"
runs=5 million=10 rate=50000 wait=adaptive seconds=4 thread=rx0 fifo=
while getopts n:m:r:w:s:f o; do
    case $o in
    n) runs=$OPTARG ;; m) million=$OPTARG ;; r) rate=$OPTARG ;; w) wait=$OPTARG ;; s) seconds=$OPTARG ;; f) fifo=1 ;;
    *) sed -n 's/^#   perf/perf/p' "$0" >&2; exit 2 ;;
    esac
done
work=$(mktemp -d "${PERF_DIR:-/tmp}/penstock-load-interfere.XXXXXX")
p=$build/control/penstock
flow='' top=$(($(nproc) - 1))
cleanup() { [ -n "$flow" ] && kill "$flow" 2>/dev/null && wait "$flow" 2>/dev/null; daemon_stop; rm -rf "$work"; }
trap cleanup EXIT
veth
mkdir "$work/in" "$work/new" "$work/hdb"
daemon "$wait" "$top" "rdb_memory: 2G
database: $work/hdb
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: int, exchange: symbol, conditions: symbol}}
load:
  staging: [$work/in]
  finished: delete
  batches:
    day: {match: \"trades_{batch}.{i}of{M}.csv\"}
  files:
    trades: {match: \"trades_{date}.*.csv\", table: trade, time_format: clock, date: name}"
[ -z "$fifo" ] || chrt -f -p 10 "$(basename "$(dirname "$(grep -lx "$thread" /proc/"$daemon"/task/*/comm)")")" || exit 1
[ "$top" -lt 1 ] || taskset -pc "0-$((top - 1))" $$ >/dev/null # the exchange and this script stay off its CPU

shot() { { date +%s%N; $p --json topo; } >"$1"; }
window() { # KIND COMMAND…
    local kind=$1
    shift
    shot "$work/a"
    "$@" >"$work/window.out" 2>&1 || { echo "$kind: $* failed:" >&2; tail -3 "$work/window.out" "$work/daemon.out" >&2; exit 1; }
    shot "$work/b"
    echo "$kind $("$build/perf/loop_times" "$thread" "$work/a" "$work/b")" | tee -a "$work/windows"
}
loaded() { # DATE: drops its files and waits for the batch
    mv "$work"/new/* "$work/in/" || return 1
    for _ in $(seq 3000); do
        $p --json load batches --all >"$work/batches"
        grep -q '"failed"' "$work/batches" && { cat "$work/batches"; return 1; }
        [ -d "$work/hdb/$1/trade" ] && return
        sleep 0.1
    done
    echo "the batch did not end"
    return 1
}

"$build/perf/sim/penstock-sim" --iface exchange --line A,239.192.1.1:26400 --pps "$rate" --smooth \
    --duration 7200 --report-symbols 0 --quiet --report "$work/sent.json" &
flow=$!
sleep 2
for ((run = 1; run <= runs; run++)); do
    day=2024.01.$(printf %02d "$run")
    "$build/perf/load_data" -n $((million * 1000000 + run * 10)) "$work/new" >/dev/null || exit 1
    for f in "$work"/new/trades.*; do mv "$f" "${f%/*}/trades_$day.${f##*/trades.}"; done
    sleep 1
    window idle sleep "$seconds"
    window load loaded "$day"
done
sleep 1
window idle sleep "$seconds"

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
of() { grep "^$1 " "$work/windows" | tr ' ' '\n' | sed -n "s/^$2=//p" | median; }
awk -v over="$(of load over_s)" -v tail="$(of load p9999_us)" -v none_over="$(of idle over_s)" -v none_tail="$(of idle p9999_us)" \
    -v s="$seconds" -v took="$(of load seconds)" -v rows="$((million * 1000000))" 'BEGIN {
    least = 1 / s
    ro = over / (none_over > least ? none_over : least)
    rt = none_tail > 0 ? tail / none_tail : 999
    ok = ro <= 2 && rt <= 2
    printf "result rows_s=%.0f over_s=%.2f idle_over_s=%.2f over_ratio=%.2f p9999_us=%.2f idle_p9999_us=%.2f p9999_ratio=%.2f %s\n",
        rows / took, over, none_over, ro, tail, none_tail, rt, ok ? "PASS" : "FAIL"
    exit !ok
}'
