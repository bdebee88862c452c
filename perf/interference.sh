#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Does work on the data hurt capture? One daemon captures a steady flow (50,000 packets a second) over a veth pair (DPDK's
# af_packet driver, rx pinned to the highest CPU); in turns it is left alone and loaded:
#   extents    the rdb thread, held back before, takes a day's rows into memory that is faulted
#              meanwhile (what it appends per second is far above the flow)
#   queries    two clients ask at full tilt: group-bys over all rows, ASOF of all rows, one symbol
#   writedown  that day ends: its rows become a partition, synced and published, its extents return
#   all        queries; more rows into memory; a second end of day; the first day rebuilt from the log
# Each window is measured by the rx thread's own account of its loops (penstock topo --json): loops
# over 100 us a second, and the 99.99 % quantile of the loops that found work. Every run has a daemon
# of its own, so that memory is cold again. Medians, and the ratio to the idle windows of the same
# runs (an idle rate below one loop in a window counts as one: less a window cannot tell). waited_percent is the kernel's word on how long the rx thread could have run and something else
# had its CPU: penstockd keeps its own threads and processes off it, so that is the machine's other work.
#   perf/interference.sh [-n RUNS] [-m MILLION ROWS] [-r PACKETS/S] [-w WAIT] [-s IDLE SECONDS] [-t THREAD] [-f]
# -f: the rx thread gets SCHED_FIFO, on a machine that is not quiet: what is left is interference
# through memory, caches, interrupts and locks (not with -w spin: the kernel halts such a thread).
# Exit: 0 all within 2 x, 1 not, 77 cannot run here.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
[ -x "$build/perf/loop_times" ] || { echo "interference.sh: $build/perf/loop_times is not there: ninja -C $build" >&2; exit 2; }
. perf/lib.sh
inside "$0" "$@"
runs=5 million=10 rate=50000 wait=adaptive seconds=4 thread=rx0
fifo=
while getopts n:m:r:w:s:t:f o; do
    case $o in
    n) runs=$OPTARG ;; m) million=$OPTARG ;; r) rate=$OPTARG ;; w) wait=$OPTARG ;;
    s) seconds=$OPTARG ;; t) thread=$OPTARG ;;
    f) fifo=1 ;;
    *) sed -n 's/^#   perf/perf/p' "$0" >&2; exit 2 ;;
    esac
done
work=$(mktemp -d "${PERF_DIR:-/tmp}/penstock-interfere.XXXXXX")
p=$build/control/penstock
flow='' clients=()
cpus=$(nproc) top=$(($(nproc) - 1))
# What is not the daemon (the exchange, the clients, this script) stays off the rx thread's CPU.
beside() { [ "$cpus" -lt 2 ] || taskset -pc "0-$((top - $1))" $$ >/dev/null; }
flow_stop() {
    [ -n "$flow" ] && kill "$flow" 2>/dev/null && wait "$flow" 2>/dev/null
    flow=
}
clients_stop() {
    touch "$work/enough"
    [ ${#clients[@]} -gt 0 ] && wait "${clients[@]}" 2>/dev/null
    clients=()
    rm -f "$work/enough"
}
cleanup() { clients_stop; flow_stop; daemon_stop; rm -rf "$work"; }
trap cleanup EXIT
veth
if [ "$(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -lt $((2 + million * 2 / 5)) ]; then
    echo "skipped: $million M rows in memory, on disk and in the page cache need $((2 + million * 2 / 5)) GiB" >&2
    exit 77
fi

sim() { # "PACE" SECONDS SESSION: in a subshell, so that its pid is the simulator's
    # shellcheck disable=SC2086
    exec "$build/perf/sim/penstock-sim" --iface exchange --line A,239.192.1.1:26400 $1 \
        --smooth --duration "$2" --session "$3" --tail-heartbeats 1 --report-symbols 0 --quiet \
        --report "$work/sent.json"
}
shot() { { date +%s%N; $p --json topo; } >"$1"; waited >"$1.waited"; }

# Nanoseconds that the rx thread could have run and did not: something else had its CPU.
waited() { cut -d' ' -f2 "$(grep -lx "$thread" /proc/"$daemon"/task/*/comm | sed 's/comm$/schedstat/')"; }

steady() { # a number for the session
    sim "--pps $rate" 600 "$1" &
    flow=$!
    sleep 0.7
}

# A day's rows into the journal, not into memory.
fill() { # MILLION SESSION
    flow_stop
    $p rdb pause >/dev/null || exit 1
    (sim "--rate 2000000" "$(awk -v m="$1" 'BEGIN { print m / 2 }')" "$2")
    steady "$2"1
    sleep 1.5 # the log writes what it has
}

client() { # SQL…, in turns until enough
    local n=0 me=$BASHPID code
    while [ ! -e "$work/enough" ]; do
        for q; do
            [ -e "$work/enough" ] && break
            $p --json sql "$q" >"$work/answer.$me" 2>"$work/error.$me"
            code=$?
            if [ $code -le 1 ] && grep -q '"rows"' "$work/answer.$me"; then
                n=$((n + 1))
            else
                echo "$q: exit $code: $(cat "$work/error.$me" "$work/answer.$me")" >"$work/refused"
            fi
        done
    done
    echo "$n" >>"$work/answers"
}
queries() {
    client "SELECT sym, type, count(*) n, sum(shares) s, avg(price) p FROM itch_order GROUP BY sym, type ORDER BY n DESC LIMIT 5" \
        "SELECT sym, time_bucket(INTERVAL '1 second', time) t, max(price), min(price), sum(shares) FROM itch_order GROUP BY sym, t ORDER BY t LIMIT 5" &
    clients+=($!)
    client "SELECT count(*), sum(a.shares), avg(b.price) FROM itch_order a ASOF JOIN itch_order b USING (sym, time)" \
        "SELECT time, price, shares FROM itch_order WHERE sym = 'ABC' ORDER BY time DESC LIMIT 5" &
    clients+=($!)
}

# window KIND COMMAND…: what the rx thread saw while it ran; a line into $work/windows
window() {
    local kind=$1
    shift
    shot "$work/a"
    "$@" >"$work/window.out" 2>&1 || { echo "$kind: $* failed:" >&2; tail -3 "$work/window.out" >&2; exit 1; }
    shot "$work/b"
    local loops seconds
    loops=$("$build/perf/loop_times" "$thread" "$work/a" "$work/b") || exit 1
    seconds=${loops%% *}
    echo "$kind $loops waited_percent=$(awk -v a="$(cat "$work/a.waited")" -v b="$(cat "$work/b.waited")" \
        -v s="${seconds#*=}" 'BEGIN { printf "%.3f", (b - a) / s / 1e7 }')" | tee -a "$work/windows"
}
idle() { sleep 1; window idle sleep "$seconds"; }
extents() {
    $p rdb resume
    until $p --json rdb | grep -q '"behind": *[0-9]\{1,6\}[,}]'; do sleep 0.1; done
}
answered() { queries; sleep "$seconds"; clients_stop; }
written() { $p eod run --yes && sleep 0.3; }
everything() {
    queries
    $p rdb resume && $p eod run --yes && $p hdb rebuild "$first_day" --yes
    local code=$?
    clients_stop
    return $code
}

one() { # RUN
    rm -rf "$work/hdb"
    beside 0
    daemon "$wait" "$top" "database: $work/hdb
rdb_memory: $((million * 400))M
query_memory: 1G"
    [ -z "$fifo" ] || chrt -f -p 10 "$(basename "$(dirname "$(grep -lx "$thread" /proc/"$daemon"/task/*/comm)")")" || exit 1
    beside 1
    fill "$million" "${1}1"
    idle
    window extents extents
    window queries answered
    idle
    first_day=$($p --json eod status | tr ',' '\n' | sed -n 's/.*"day": *"\([0-9.]*\)".*/\1/p' | head -1)
    window writedown written
    fill "$((million / 2))" "${1}2"
    idle
    window all everything
    idle
    flow_stop
    $p ledger >"$work/ledger" || { echo "the ledger does not balance" >&2; tail -5 "$work/ledger" >&2; }
    daemon_stop
}

for ((run = 1; run <= runs; run++)); do one "$run"; done

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
of() { grep "^$1 " "$work/windows" | tr ' ' '\n' | sed -n "s/^$2=//p" | median; }

[ -s "$work/refused" ] && { echo "a query failed: $(head -2 "$work/refused")" >&2; exit 2; }
echo "answers of the clients: $(tr '\n' ' ' <"$work/answers")" >&2
awk -v w="$(of idle waited_percent)" 'BEGIN { if (w > 0.5) printf "the machine is not quiet: left alone, the rx thread waited %.1f %% of the time for its CPU; nothing of Penstock runs there, so the ratios say little\n", w }' >&2
code=0
base_over=$(of idle over_s) base_tail=$(of idle p9999_us)
for kind in idle extents queries writedown all; do
    awk -v kind=$kind -v over="$(of $kind over_s)" -v tail="$(of $kind p9999_us)" -v p50="$(of $kind p50_us)" \
        -v max="$(of $kind max_us)" -v waited="$(of $kind waited_percent)" -v least="$(awk -v s="$seconds" 'BEGIN { print 1 / s }')" -v idle_over="$base_over" -v idle_tail="$base_tail" '
        BEGIN {
            ro = over / (idle_over > least ? idle_over : least)
            rt = idle_tail > 0 ? tail / idle_tail : 999
            ok = ro <= 2 && rt <= 2
            printf "result kind=%s over_s=%.2f over_ratio=%.2f p9999_us=%.2f p9999_ratio=%.2f p50_us=%.2f max_us=%.0f waited_percent=%.3f %s\n",
                kind, over, ro, tail, rt, p50, max, waited, ok ? "PASS" : "FAIL"
            exit !ok
        }' || code=1
done
exit $code
