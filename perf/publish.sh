#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Messages from a publisher to many subscribers over TCP on loopback: penstockd (rows by .u.upd, logged
# on the way, to .u.sub subscribers), ZeroMQ, NATS and Redis pub/sub from Debian's packages, one after
# the other, RUNS times in turn; then a row's latency beside a bare ping-pong, with publish_first and
# as by default: there a subscriber sees what was handed to the disk, and the write before it has to
# come back first. Medians and ratios.
#   perf/publish.sh [-s SECONDS] [-r RUNS] [-n "1 10 100 1000"] [-d DIRECTORY] [--install]
# --install: apt-get install of what is missing (nats-server redis-server libzmq3-dev). A peer that is
# not there is said and left out. Servers run on loopback, as the caller, and end with the script.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build} seconds=2 runs=3 counts="1 10 100 1000" dir=${PERF_DIR:-/tmp} install=
while [ $# -gt 0 ]; do
    case $1 in
    -s) seconds=$2; shift ;;
    -r) runs=$2; shift ;;
    -n) counts=$2; shift ;;
    -d) dir=$2; shift ;;
    --install) install=1 ;;
    *) sed -n '3,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
. perf/packages.sh
[ -z "$install" ] || peers_install "$build" redis-server nats-server libzmq3-dev
ninja -C "$build" perf/bench_consumers control/penstockd control/penstock control/penstock-helper >/dev/null || exit 2
work=$(mktemp -d "$dir/publish.XXXXXX") || exit 2
servers=
finish() {
    # shellcheck disable=SC2086
    [ -n "$servers" ] && kill $servers 2>/dev/null && wait $servers 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
listening() { for _ in $(seq 200); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; return 1; }
ulimit -n 16384 2>/dev/null

# start NAME PORT [LINE OF CONFIGURATION]: a penstockd; sets pid
start() {
    cat >"$work/$1.yaml" <<CONF
instance: $1
state_directory: $work/$1/state
log_directory: $work/$1/log
run_directory: $work
control_socket: $work/$1.sock
log_low_space: 64M
log_preallocate: 64M
ring_size: 512M
durability: ${DURABILITY:-async}
rdb_memory: 1G
${3:-}
ipc: {tickerplant: $2, rdb: 0, hdb: 0}
tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}, {name: size, type: long}, {name: side, type: char}, {name: venue, type: symbol}]
CONF
    "$build/control/penstockd" --config "$work/$1.yaml" >"$work/$1.out" 2>&1 &
    pid=$!
    servers="$servers $pid"
    listening "$2" || { cat "$work/$1.out" >&2; exit 1; }
}
tick=$(free_port)
start perf "$tick"
pid_penstock=$pid
tick_first=$(free_port)
start first "$tick_first" "publish_first: true"
systems="penstock:$tick"
zmq=$(free_port)
"$build/perf/bench_consumers" zeromq 1 -s 0 >/dev/null 2>&1
[ $? = 77 ] && echo "skipped: zeromq (libzmq3-dev)" >&2 || systems="$systems zeromq:$zmq"
if command -v nats-server >/dev/null; then
    nats=$(free_port)
    printf 'port: %s\nhost: 127.0.0.1\nmax_pending: 1GB\nwrite_deadline: "60s"\n' "$nats" >"$work/nats.conf"
    nats-server -c "$work/nats.conf" >"$work/nats.log" 2>&1 &
    servers="$servers $!" pid_nats=$!
    listening "$nats" && systems="$systems nats:$nats"
else
    echo "skipped: nats (nats-server)" >&2
fi
if command -v redis-server >/dev/null; then
    redis=$(free_port)
    redis-server --port "$redis" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no \
        --client-output-buffer-limit pubsub 0 0 0 --daemonize no >"$work/redis.log" 2>&1 &
    servers="$servers $!" pid_redis=$!
    listening "$redis" && systems="$systems redis:$redis"
else
    echo "skipped: redis (redis-server)" >&2
fi

for n in $counts; do
    for _ in $(seq "$runs"); do
        for s in $systems; do
            pid=pid_${s%:*}
            timeout 120 "$build/perf/bench_consumers" -s "$seconds" -n "$n" -b 1000 -p "${!pid:-0}" "${s%:*}" "${s#*:}" || echo "${s%:*} failed" >&2
        done
        timeout 120 "$build/perf/bench_consumers" -s "$seconds" -n "$n" -b 1 -p "$pid_penstock" penstock "$tick" | sed 's/^penstock /penstock1/'
    done
done | tee "$work/rates"
for _ in $(seq "$runs"); do
    timeout 120 "$build/perf/bench_consumers" -s "$seconds" -l 100000 ping
    timeout 120 "$build/perf/bench_consumers" -s "$seconds" -l 100000 penstock "$tick"
    timeout 120 "$build/perf/bench_consumers" -s "$seconds" -l 100000 penstock "$tick_first" | sed 's/^penstock /first    /'
done | tee "$work/latency"
python3 - "$work/rates" "$work/latency" <<'PY'
import re, statistics, sys
from collections import defaultdict
rates, lat = defaultdict(list), defaultdict(list)
for l in open(sys.argv[1]):
    m = re.match(r"(\w+)\s+(\d+) subscribers.*?([\d.]+) M/s delivered", l)
    if m: rates[int(m[2]), m[1]].append(float(m[3]))
for l in open(sys.argv[2]):
    m = re.match(r"(\w+)\s+latency .* p50 ([\d.]+) us  p99 ([\d.]+)", l)
    if m: lat[m[1]].append((float(m[2]), float(m[3])))
print("medians, M messages/s delivered (penstock: updates of 1,000 rows; penstock1: of one row)")
for n in sorted({k[0] for k in rates}):
    row = {s: statistics.median(v) for (k, s), v in rates.items() if k == n}
    peers = [v for s, v in row.items() if not s.startswith("penstock")]
    best = max(peers) if peers else 0
    print(f"{n:5d} subscribers: " + "  ".join(f"{s} {v:.3f}" for s, v in row.items()) +
          (f"  penstock/best {row.get('penstock', 0) / best:.2f}  penstock1/best {row.get('penstock1', 0) / best:.2f}" if best else ""))
for k, how in ("first", "publish_first"), ("penstock", "handed to the disk before"):
    if "ping" in lat and k in lat:
        p, q = (statistics.median(x[0] for x in lat[w]) for w in ("ping", k))
        print(f"p50 of a row at 100,000/s, {how}: {q:.1f} us, of a bare ping-pong {p:.1f} us, ratio {q / p:.2f}")
PY
