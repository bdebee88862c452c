#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Do subscribers that get nothing cost capture anything? One daemon captures a steady flow over a
# veth pair (as interference.sh); in turns it has no subscribers, and 1,000 over TCP that want a
# symbol which never trades of the very table that the flow fills. Each window is measured by the rx
# thread's own account of its loops: loops over 100 us a second, and the 99.99 % quantile of the
# loops that found work. Medians, and the ratio to the windows without subscribers (an idle rate
# below one loop in a window counts as one: less a window cannot tell).
#   perf/idle_subscribers.sh [-n RUNS] [-c SUBSCRIBERS] [-r PACKETS/S] [-s SECONDS] [-w WAIT] [-f]
# -f: the rx thread gets SCHED_FIFO, on a machine that is not quiet.
# Exit: 0 both within 2 x, 1 not, 77 cannot run here.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build}
[ -x "$build/perf/loop_times" ] || { echo "idle_subscribers.sh: $build/perf/loop_times is not there: ninja -C $build" >&2; exit 2; }
. perf/lib.sh
inside "$0" "$@"
runs=5 clients=1000 rate=50000 seconds=4 wait=adaptive fifo=
while getopts n:c:r:s:w:f o; do
    case $o in
    n) runs=$OPTARG ;; c) clients=$OPTARG ;; r) rate=$OPTARG ;; s) seconds=$OPTARG ;;
    w) wait=$OPTARG ;; f) fifo=1 ;;
    *) sed -n 's/^#   perf/perf/p' "$0" >&2; exit 2 ;;
    esac
done
work=$(mktemp -d "${PERF_DIR:-/tmp}/penstock-subscribers.XXXXXX")
p=$build/control/penstock
flow='' subscribers='' thread=rx0 port=15010
top=$(($(nproc) - 1))
stop() { [ -n "$1" ] && kill "$1" 2>/dev/null && wait "$1" 2>/dev/null; }
cleanup() { stop "$subscribers"; stop "$flow"; daemon_stop; rm -rf "$work"; }
trap cleanup EXIT
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)"
veth
daemon "$wait" "$top" "rdb_memory: 4G
ipc: {tickerplant: $port, rdb: 0, hdb: 0, connections: 4096}"
[ -z "$fifo" ] || chrt -f -p 10 "$(basename "$(dirname "$(grep -lx "$thread" /proc/"$daemon"/task/*/comm)")")" || exit 1
[ "$top" -lt 1 ] || taskset -pc "0-$((top - 1))" $$ >/dev/null # clients and exchange stay off its CPU

cat >"$work/subscribe.py" <<'PY'
import socket, struct, sys, time
n, port, ready = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
sym = lambda s: b"\xf5" + s + b"\0"
body = b"\0\0" + struct.pack("<i", 3) + sym(b".u.sub") + sym(b"itch_order") + sym(b"NOSUCH")
ask = struct.pack("<BBBBi", 1, 1, 0, 0, 8 + len(body)) + body
socks = []
for _ in range(n):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"idle:\3\0")
    assert s.recv(1) == b"\3", "login"
    s.sendall(ask)
    socks.append(s)
for s in socks:
    head = s.recv(8, socket.MSG_WAITALL)
    rest = s.recv(struct.unpack("<i", head[4:])[0] - 8, socket.MSG_WAITALL)
    assert rest[0] != 128, rest
open(ready, "w").close()
time.sleep(1e6)
PY
subscribe() {
    rm -f "$work/ready"
    /usr/bin/python3 "$work/subscribe.py" "$clients" "$port" "$work/ready" 2>"$work/subscribe.err" &
    subscribers=$!
    for _ in $(seq 300); do
        [ -e "$work/ready" ] && break
        kill -0 "$subscribers" 2>/dev/null || { cat "$work/subscribe.err" >&2; exit 1; }
        sleep 0.1
    done
    [ -e "$work/ready" ] || { echo "the subscribers do not get in" >&2; exit 1; }
    sleep 1
}
leave() { stop "$subscribers"; subscribers=; sleep 1; }

shot() { { date +%s%N; $p --json topo; } >"$1"; }
window() { # KIND
    shot "$work/a"
    sleep "$seconds"
    shot "$work/b"
    echo "$1 $("$build/perf/loop_times" "$thread" "$work/a" "$work/b")" | tee -a "$work/windows"
}

"$build/perf/sim/penstock-sim" --iface exchange --line A,239.192.1.1:26400 --pps "$rate" --smooth \
    --duration 3600 --report-symbols 0 --quiet --report "$work/sent.json" &
flow=$!
sleep 2
for ((run = 0; run < runs; run++)); do
    window none
    subscribe
    window idle
    leave
done
window none

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
of() { grep "^$1 " "$work/windows" | tr ' ' '\n' | sed -n "s/^$2=//p" | median; }
awk -v over="$(of idle over_s)" -v tail="$(of idle p9999_us)" -v none_over="$(of none over_s)" \
    -v none_tail="$(of none p9999_us)" -v s="$seconds" -v n="$clients" 'BEGIN {
    least = 1 / s
    ro = over / (none_over > least ? none_over : least)
    rt = none_tail > 0 ? tail / none_tail : 999
    ok = ro <= 2 && rt <= 2
    printf "result subscribers=%d over_s=%.2f none_over_s=%.2f over_ratio=%.2f p9999_us=%.2f none_p9999_us=%.2f p9999_ratio=%.2f %s\n",
        n, over, none_over, ro, tail, none_tail, rt, ok ? "PASS" : "FAIL"
    exit !ok
}'
