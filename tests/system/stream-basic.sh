#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stream-basic.sh clients|library|rights|groups: streaming analytics as clients have them, over kdb+ IPC and from the command line. What every
# client has is held against the journal at the position of every message (streambasic.py).
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0") part=$1
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
case $part in
clients)
    for c in ${PST_CASES:-forms cli joins kill slow many}; do case_ $c; done
    ;;
library)
    # merged the same as changes and as full states, over a process that dies and a restart of the daemon
    base=$(($(date +%s) % 1000 * 100000))
    "$BUILD/tests/stream_probe" "$work/test.ipc" $((base + 3999)) >"$work/probe" 2>"$work/probe.err" & probe=$! others="$others $!"
    for _ in $(seq 400); do grep -q open "$work/probe" && break; kill -0 $probe || die "$(cat "$work/probe.err")"; sleep 0.05; done
    case_ publish $base $((base + 2000)) kill
    stop
    start
    case_ publish $((base + 2000)) $((base + 4000))
    wait $probe || die "stream_probe: $(cat "$work/probe.err" "$work/probe")"
    for k in $(seq 0 19); do
        grep -q "^S$k $((base + 3980 + k))$" "$work/probe" || die "S$k: $(cat "$work/probe")"
    done
    grep -q "^lost 1 back 1 moved [1-9].* third 5$" "$work/probe" || die "$(cat "$work/probe")"
    echo "ok library: $(tail -1 "$work/probe")"
    ;;
rights)
    stop
    user() { echo "pw-$1" | p user add "$1" --file "$work/users.yaml" "${@:2}" >/dev/null || die "user add $1"; }
    user sam --tables all; user bob; user carol; user dora; user edna; user pub --publish all
    sed -i '/"bob":/a\    tables: [trade] # bob
        /"carol":/a\    tables: [quote]
        /"dora":/a\    tables: [trade]\n    durable_only: true
        /"edna":/a\    tables: [trade]\n    calls: [filter]' "$work/users.yaml"
    chmod 600 "$work/users.yaml"
    sed -i "s|^ipc:.*|ipc: {tickerplant: 5010, users: $work/users.yaml}|; s|^tables:|tables:\n  quote: {columns: {time: timestamp, sym: symbol, bid: float}}|" "$work/p.yaml"
    export USERS=$work/users.yaml
    start
    case_ rights
    ;;
groups)
    stop
    cat >>"$work/p.yaml" <<YAML
rtp:
  - {name: wide, processes: 3, mode: broadcast}
  - {name: turns, processes: 2, mode: round_robin}
  - {name: least, processes: 1, mode: least_loaded}
YAML
    start
    case_ modes
    ;;
esac
! grep -q "AddressSanitizer\|runtime error" "$work/daemon.log" || die "a sanitizer"
stop
