#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc.sh CASE: the kdb+ IPC server from outside, with a client of the tests' own (ipc.py).
. "$(dirname "$0")/lib.sh"
case_=$1
enter_namespace "$@"
# In a build with a sanitizer (suites tsan, asan) a report makes the daemon end with 66.
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$(dirname "$0")/../fault/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"
PORTS=" " FEEDS=" "
here=$(cd "$(dirname "$0")" && pwd)
tables="tables:
  - {name: trade, columns: {time: timestamp, sym: symbol, price: float, size: long}}
  - {name: quote, columns: {time: timestamp, sym: symbol, bid: float, n: long}}
  - {name: last, columns: {time: timestamp, sym: symbol, px: float}, key: [sym]}
rdb_memory: 256M
query_processes: 1
query_threads: 1"

plain() { config "$tables
$1"; sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"; }
ended() { stop || die "exit code: $(cat "$work"/report* 2>/dev/null | head -60)"; }
py() { /usr/bin/python3 "$here/ipc.py" "$@" || die "ipc.py $*"; }
export BIN=$bin SOCK=$work/s.sock WORK=$work UNIX=$work/test.ipc

case $case_ in
requests)
    plain "ipc: {heartbeat: 1s}"
    start
    py requests
    p clients >"$work/out" || die "clients: $(cat "$work/out")"
    grep -q "nobody is connected" "$work/out" || die "connections stay: $(cat "$work/out")"
    ended
    ;;
stop)
    plain "ipc: {heartbeat: 1s}"
    start
    py stop
    wait "$daemon"; code=$?; daemon=
    [ $code = 0 ] || die "exit code $code"
    if [ -e "$work/test.ipc" ]; then die "the unix socket stays"; fi
    ;;
policies)
    RING=64M
    plain "ipc: {memory: 256M}
consumer_alert_size: 2M
consumer_disconnect_size: 8M
alarms: {clear_after: 0}"
    start
    DAEMON=$daemon py policies
    ended
    ;;
catchup) # stopped long enough for the ring to lap it several times; memory stays constant
    RING=32M
    plain "ipc: {memory: 256M}
consumer_disconnect_size: 4M
consumer_policy: catchup"
    start
    DAEMON=$daemon py catchup
    ended
    ;;
joins)
    plain "ipc: {threads: 2}"
    start
    py joins "$seed"
    ended
    ;;
storm)
    plain "ipc: {heartbeat: 1s, login_timeout: 2s, connections: 1500}
consumer_disconnect_size: 4M"
    start
    ip addr add 10.9.9.9/32 dev lo
    DAEMON=$daemon py storm
    ended
    ;;
hostile)
    plain "ipc: {memory: 96M, login_timeout: 5s, connections: 300}"
    start
    DAEMON=$daemon py hostile
    stop || die "exit code"
    ;;
full) # of the live kdb+ log, and the end of a day
    mkdir "$work/kdb"
    mount -t tmpfs -o size=24m none "$work/kdb" 2>/dev/null || skip "no tmpfs can be mounted here"
    trap 'x=$?; umount -l "$work/kdb"; (exit $x); finish' EXIT
    plain "ipc: {memory: 256M}
retry_interval: 200ms
database: $work/hdb
database_low_space: 1M
consumer_disconnect_size: 1M
kdb_log_directory: $work/kdb
kdb_log_name: sym"
    start
    py full
    settle || die "the ledger does not balance"
    stop || die "exit code"
    ;;
rewound) # consumers saw what the log did not get: after the crash they are told
    plain "ipc: {heartbeat: 1s}
publish_first: true"
    export PST_FAULT_STALL="log.work:$work/stall"
    start
    STALL=$work/stall py ahead "$work/at"
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
    rm "$work/stall"; unset PST_FAULT_STALL
    start
    py rewound "$work/at"
    ended
    ;;
rebuilding) # while memory comes from the log, an answer over IPC is an error and not short
    plain "ipc: {}"
    start
    py rows_in
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
    touch "$work/stall"
    export PST_FAULT_STALL="rdb.work:$work/stall"
    start
    STALL=$work/stall py rebuilding
    ended
    ;;
partial) # a day that does not fit in memory: an answer that it is part of is an error, but for users who said so
    tables=$(sed 's/  - {name: last/  - {name: note, columns: {time: timestamp, sym: symbol, n: long, text: string}}\n&/; s/^rdb_memory.*/rdb_memory: 64M/' <<<"$tables")
    for u in strict lenient; do
        echo secret | "$bin/penstock" user add $u --file "$work/users.yaml" --tables all --publish all >/dev/null || die "user add $u"
    done
    sed -i '/lenient/,/scram:/ s/^\( *\)scram:/\1partial: true\n&/' "$work/users.yaml"
    plain "ipc: {users: $work/users.yaml}
database: $work/hdb
database_low_space: 1M"
    start
    py partial
    ended
    ;;
keys)
    ip addr add 127.0.0.9/8 dev lo 2>/dev/null
    plain "ipc: {address: 127.0.0.9, tickerplant: 6010, rdb: 6011, hdb: 6012, threads: 2, connections: 20, login_timeout: 1s, heartbeat: 500ms, message_max: 64K}
pub_freq: 300ms
multi_publish: true
consumer_alert_size: 100k
consumer_disconnect_size: 1M
consumer_policy: skip"
    start
    py keys
    ended
    rm -rf "$work/state" "$work/log"
    plain "ipc: {memory: 16M}"
    start
    py memory
    ended
    ;;
*) die "no case $case_" ;;
esac
