#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rtp-kill.sh [RUN...]: kill -9 of penstock-rtp processes, of their helper and of penstockd at seeded moments while rows
# come in, some around an end of day; a run is five kills on the same directories. Each row of `trade` has given its rows
# of the derived tables exactly once, with the values that a recomputation gives, over memory and database; clients of
# streams are told, get a new state, and have what the log has at their position. 200 kills with PST_ALL=1, else a tenth
# of them, rotating by PST_SEED.
fault=$(cd "$(dirname "$0")" && pwd)
. "$fault/../system/lib.sh"
enter_namespace "$@"
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$fault/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"
PORTS=" " FEEDS=" " RING=32M
all=200 each=5
if [ $# -gt 0 ]; then runs=$*
elif [ -n "${SANITIZED:-}" ]; then runs=$((seed % 40))
elif [ -n "${PST_ALL:-}" ]; then runs=$(seq 0 $((all / each - 1)))
else runs=$(seq $((seed % 10)) 10 $((all / each - 1))); fi
export BIN=$bin SOCK=$work/s.sock WORK=$work UNIX=$work/test.ipc LOG=$work/log
levels=(durable written async)
for run in $runs; do
    rm -rf "$work/log" "$work/state" "$work/hdb"
    LEVEL=${levels[$((run % 3))]}
    config "database: $work/hdb
database_low_space: 1M
rdb_memory: 256M
query_processes: 1
eod_retry: 200ms
ipc: {tickerplant: 0, rdb: 0, hdb: 0}
tables:
  trade: {columns: {time: timestamp, sym: symbol, n: long, size: long}}
  total: {columns: {time: timestamp, sym: symbol, n: long, total: long, number: long}}
  tens: {columns: {time: timestamp, sym: symbol, n: long, note: string}}
rtp:
  - {name: derive, plugins: [$BUILD/tests/rtp_prove.so], vanilla: false, processors: [prove.total]}
  - {name: streams, plugins: [$BUILD/tests/rtp_prove.so], processes: 2, mode: round_robin}"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
    : >"$work/daemon.log"
    /usr/bin/python3 "$fault/rtpkill.py" "$run" $each || die "run $run ($LEVEL): $(cat "$work"/report* 2>/dev/null | head -40)"
    ! ls "$work"/report* >/dev/null 2>&1 || die "the sanitizer has something to say: $(head -60 "$work"/report*)"
done
