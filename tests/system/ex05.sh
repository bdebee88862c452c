#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ex05.sh: a primary with trade and quote, a real-time processor that joins them into `aggregate`, and a chained
# tickerplant on another port: what the processor makes is in the RDB, at subscribers, on the chained one, and after the
# end of the day in both databases.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
enter_namespace "$@"
PORTS=" " FEEDS=" " RING=32M PREALLOCATE=4M
mkdir "$work/up"
config "retry_interval: 50ms
database: $work/hdb
database_low_space: 1M
rdb_memory: 128M
query_processes: 1
subscription_channel: 127.0.0.1:5010
ipc: {tickerplant: 5013, rdb: 5014, hdb: 5015}"
sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
sed "s|$work|$work/up|g; s|^instance:.*|instance: primary|; /^subscription_channel/d; /^ipc/d" "$work/p.yaml" >"$work/up/p.yaml"
cat >>"$work/up/p.yaml" <<YAML
ipc: {tickerplant: 5010, rdb: 5011, hdb: 5012}
tables:
  trade: {columns: {time: timestamp, sym: symbol, n: long, price: float, size: long}}
  quote: {columns: {time: timestamp, sym: symbol, n: long, bid: float, ask: float}}
  noise: {columns: {time: timestamp, sym: symbol, n: long}}
  clean: {columns: {time: timestamp, sym: symbol, n: long, price: float}}
  aggregate: {columns: {time: timestamp, sym: symbol, n: long, volume: long, high: float, low: float, bid: float, ask: float, spread: float}}
rtp:
  - {name: rte, plugins: [$BUILD/tests/aggregate.so], vanilla: false, processors: [aggregate], subscriptions: [trade, quote, noise], insert: {trade: clean}}
YAML
# the guard: a processor on a group that only reads is an error
sed 's/vanilla: false/vanilla: true/' "$work/up/p.yaml" >"$work/up/guard.yaml"
"$bin/penstockd" --config "$work/up/guard.yaml" --check >"$work/out" 2>&1 && die "a processor on a vanilla group was accepted"
grep -q "vanilla" "$work/out" || die "the guard says: $(cat "$work/out")"
"$bin/penstockd" --config "$work/up/p.yaml" >>"$work/up/daemon.log" 2>&1 &
others=$!
for _ in $(seq 300); do "$bin/penstock" --socket "$work/up/s.sock" commands >/dev/null 2>&1 && break; sleep 0.05; done
start
BIN=$bin SOCK=$work/up/s.sock CHAINED=$work/s.sock /usr/bin/python3 "$here/ex05.py" "$others" || die "ex05.py: $(tail -20 "$work/up/daemon.log")"
stop || die "the chained one's exit code"
"$bin/penstock" --socket "$work/up/s.sock" stop >/dev/null
wait "$others" || die "the primary's exit code"
others=
