#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rtp-hostile.sh CASE: real-time plugins that break every promise (plugins/rtp_hostile.c), clients that do not read. What
# is next to them goes on: each message is in the journal, other groups' streams lack nothing.
#   analytics   crashes, loops, leaks, garbage on the socket
#   processors  rows that may not be written, points that go back
#   slow        processes that stand still, floods, clients that do not read
fault=$(cd "$(dirname "$0")" && pwd)
. "$fault/../system/lib.sh"
case_=$1
enter_namespace "$@"
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$fault/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"
PORTS=" " FEEDS=" " RING=64M
export BIN=$bin SOCK=$work/s.sock WORK=$work UNIX=$work/test.ipc LOG=$work/log
hostile=$BUILD/tests/rtp_hostile.so prove=$BUILD/tests/rtp_prove.so
configure() { # [GROUPS] [LINES]
    config "rdb_memory: 256M
query_processes: 1
ipc: {tickerplant: 0, rdb: 0, hdb: 0, memory: 256M}
tables:
  trade: {columns: {time: timestamp, sym: symbol, n: long, size: long}}
  echo: {columns: {time: timestamp, sym: symbol, n: long}}
${2:-}
rtp:
  - {name: good, plugins: [$prove]}
$1"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
}
py() { DAEMON=$daemon /usr/bin/python3 "$fault/rtphostile.py" "$@" || die "rtphostile.py $*: $(cat "$work"/report* 2>/dev/null | head -40)"; }

case $case_ in
analytics)
    configure "$(for i in $(seq 0 29); do echo "  - {name: h$i, plugins: [$hostile], memory: 64M, stuck: 2s}"; done)"
    ;;
processors)
    configure "$(for how in trade points far short error crash loop exit rows begin emit; do
        echo "  - {name: p_$how, plugins: [$hostile], vanilla: false, processors: [hostile.rows], stuck: 2s, options: {how: $how, each: 50}}"
    done)"
    ;;
slow)
    configure "  - {name: flood, plugins: [$hostile], stuck: 2s}
  - {name: two, plugins: [$prove], processes: 2, stuck: 2s}" "consumer_alert_size: 1M
consumer_disconnect_size: 8M"
    ;;
*) die "no case $case_" ;;
esac
start
py "$case_"
settle || die "the ledger does not balance"
stop || die "exit code: $(cat "$work"/report* 2>/dev/null | head -40)"
! ls "$work"/report* >/dev/null 2>&1 || die "the sanitizer has something to say: $(head -60 "$work"/report*)"
