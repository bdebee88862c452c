#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-many.sh [PUB_FREQ MULTI_PUBLISH]: more than a hundred subscribers of every kind of filter over a simulated
# exchange on two lines with loss and over publishers' tables, under load; what each has got is, row for row, what
# SQL says of the same filter.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
enter_namespace "$@"
if [ $# = 0 ]; then if [ $((seed % 2)) = 0 ]; then set -- 0 false; else set -- 30ms true; fi; fi
RING=64M
config "rdb_memory: 512M
query_processes: 1
ipc: {threads: 2, memory: 256M}
pub_freq: $1
multi_publish: $2
consumer_disconnect_size: 32M
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}
  quote: {columns: {time: timestamp, sym: symbol, bid: float, ask: float, n: long, note: string, flag: boolean, venue: symbol}}
  last: {columns: {time: timestamp, sym: symbol, px: float, n: long}, key: [sym]}"
start
export PYTHONPATH=$here/../support WORK=$work
timeout 150 /usr/bin/python3 "$here/ipc-many.py" "$sim" "$2" || die "see above"
settle || die "the ledger does not balance"
p clients >"$work/out"
grep -q "nobody is connected" "$work/out" || die "connections stay: $(cat "$work/out")"
stop || die "the daemon's end"
