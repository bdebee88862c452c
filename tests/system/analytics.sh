#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# analytics.sh CASE: streaming analytics from outside, with a plugin whose work can be counted and computed again
# (support/rtp_prove.c) and clients of the tests' own (analytics.py).
#   textbook  three servers' CPU, the example of the framework
#   joins     a thousand random joins and leaves under load (PST_ALL=1; else two hundred)
#   modes     groups of several processes
#   rights    users, shared and refused streams
. "$(dirname "$0")/lib.sh"
case_=$1
enter_namespace "$@"
# In a build with a sanitizer (suites tsan, asan) a report makes the daemon end with 66.
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$(dirname "$0")/../fault/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"
PORTS=" " FEEDS=" " RING=64M
here=$(cd "$(dirname "$0")" && pwd)
plugins=$BUILD/tests
export BIN=$bin SOCK=$work/s.sock WORK=$work UNIX=$work/test.ipc LOG=$work/log

configure() { # [LINES] of groups, [LINES] of ipc
    config "rdb_memory: 256M
query_processes: 1
query_threads: 1
ipc: {threads: 2, ${2:-heartbeat: 5s}}
tables:
  trade: {columns: {time: timestamp, sym: symbol, n: long, size: long}}
  cpu: {columns: {time: timestamp, sym: symbol, load: float}}
  other: {columns: {time: timestamp, sym: symbol, x: long}}
rtp:
$1"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
}
py() { /usr/bin/python3 "$here/analytics.py" "$@" || die "analytics.py $*: $(cat "$work"/report* 2>/dev/null | head -60)"; }
ended() {
    stop || die "exit code: $(cat "$work"/report* 2>/dev/null | head -60)"
    ! ls "$work"/report* >/dev/null 2>&1 || die "the sanitizer has something to say: $(head -60 "$work"/report*)"
}
user() { # NAME [OPTIONS]
    name=$1; shift
    echo "secret-$name" | "$bin/penstock" user add "$name" --file "$work/users.yaml" "$@" >/dev/null || die "user add $name"
}

case $case_ in
textbook)
    configure "  - {name: cpu, plugins: [$plugins/cpu_stream.so]}
  - {name: prove, plugins: [$plugins/rtp_prove.so]}"
    start
    py textbook
    ended
    ;;
joins)
    for u in ann bob; do user $u --tables all --publish all; done
    user carl --tables trade
    configure "  - {name: prove, plugins: [$plugins/rtp_prove.so], processes: 2, mode: round_robin}" \
        "users: $work/users.yaml, auth_rate: 1000, connections: 400"
    start
    py joins "$seed" "${JOINS:-$([ -n "${PST_ALL:-}" ] && echo 1000 || echo 200)}"
    settle || die "the ledger does not balance"
    ended
    ;;
modes)
    configure "$(for m in single round_robin least_loaded broadcast; do echo "  - {name: $m, mode: $m, processes: 3, plugins: [$plugins/rtp_prove.so]}"; done)"
    start
    py modes
    ended
    ;;
rights)
    user ann --tables all --publish all
    user bob --tables trade
    user carl --tables cpu
    user dora --tables all
    user eve --tables all
    sed -i '/"dora":/a\    calls: [prove.sum]' "$work/users.yaml"
    sed -i '/"eve":/a\    durable_only: true' "$work/users.yaml"
    configure "  - {name: prove, plugins: [$plugins/rtp_prove.so]}" "users: $work/users.yaml, auth_rate: 1000"
    start
    py rights
    ended
    ;;
*) die "no case $case_" ;;
esac
