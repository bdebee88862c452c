#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-rdb.sh: a stock q RDB that restarts at any time gets its morning from the live kdb+ log, then goes on live:
# ipc-rdb.py plays r.q, under load, through kills, restarts and ends of day. Times are local ones: the same in the
# replayed file, in what comes live and in SQL.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
enter_namespace "$@"
PORTS=" " FEEDS=" "
config "database: $work/hdb
database_low_space: 1M
rdb_memory: 512M
retry_interval: 200ms
time_type: local
kdb_log_directory: $work/kdb
kdb_log_name: sym
ipc: {connections: 200}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}
  quote: {columns: {time: timestamp, sym: symbol, price: float, size: long}}"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
start
echo "$daemon" >"$work/daemon.pid"
PYTHONPATH=$here/../support timeout $([ -n "${PST_ALL:-}" ] && echo 900 || echo 120) /usr/bin/python3 "$here/ipc-rdb.py" "$work" "$bin/penstock" "${ROUNDS:-$([ -n "${PST_ALL:-}" ] && echo 100 || echo 12)}" $((seed % 1000))
code=$?
daemon=$(cat "$work/daemon.pid")
[ $code = 0 ] || die "see above"
kill "$daemon" 2>/dev/null
for _ in $(seq 200); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.05; done
exit 0
