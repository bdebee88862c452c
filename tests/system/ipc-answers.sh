#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-answers.sh: what kdb+ clients ask and get: SQL, named queries, count, .u.snap, keyed tables' rows, snapshots
# with the stream behind them; the tiers of the three ports; users' rights, limits and cancels; every type both ways.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
[ -z "${PST_USER:-}" ] || skip "plugins belong to root, whom a user namespace does not show"
enter_namespace "$@"
PORTS=" " FEEDS=" "
config "database: $work/hdb
database_low_space: 1M
rdb_memory: 256M
query_memory: 512M
query_timeout: 30s
query_rows: 1M
query_processes: 2
plugins: [$BUILD/tests/answering.so]
ipc: {users: $work/users, connections: 500}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}
  quote: {columns: {time: timestamp, sym: symbol, bid: float}}
  last: {columns: {time: timestamp, sym: symbol, price: float}, key: [sym]}
  every: {columns: {time: timestamp, sym: symbol, b: boolean, g: guid, x: byte, h: short, i: int, j: long, e: real, f: float, c: char, s: symbol, p: timestamp, m: month, d: date, n: timespan, u: minute, v: second, t: time, z: string}}
views:
  cheap: {sql: 'SELECT time, sym, price FROM trade WHERE price < 10'}
  offers: {sql: 'SELECT time, sym, bid FROM quote'}"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
(umask 077; /usr/bin/python3 "$here/ipc-answers.py" users >"$work/users")
start
PYTHONPATH=$here/../support /usr/bin/python3 "$here/ipc-answers.py" "$work" "$bin/penstock" "$BUILD/tests/snapping.so" ||
    die "see above"
stop || die "the daemon's end"
