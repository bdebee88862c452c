#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stream-basic.sh: streaming analytics as clients have them, over kdb+ IPC and from the command line. What every
# client has is held against the journal at the position of every message (streambasic.py).
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
RING=16M PREALLOCATE=4M LEVEL=async
enter_namespace "$@"
PORTS=" " FEEDS=" "
config "mon_cpu: 500ms
rdb_memory: 256M
query_processes: 1
consumer_disconnect_size: 1M
ipc: {tickerplant: 5010}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}"
sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
export BIN=$bin SOCK=$work/s.sock LOG=$work/log
case_() { t=$SECONDS; /usr/bin/python3 "$here/streambasic.py" "$@" || die "$*"; echo "ok $1, $((SECONDS - t)) s"; }
start
export ACCESS=$work/state/test.access.$(date -u +%Y.%m.%d)
for c in forms cli joins kill slow; do case_ $c; done
! grep -q "AddressSanitizer\|runtime error" "$work/daemon.log" || die "a sanitizer"
stop
