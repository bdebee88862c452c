#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sanitized.sh: the whole daemon, built with a sanitizer, on real traffic through kernel sockets (DPDK and
# the sanitizers do not go together), while the command line asks for everything; not one report.
. "$(dirname "$0")/../system/lib.sh"
enter_namespace "$@"
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$(dirname "$0")/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"
ip addr add 192.0.2.1/24 dev out
ip addr add 192.0.2.2/24 dev in
ip link set lo multicast on
ip route add 239.0.0.0/8 dev lo

DEVICE=socket:lo
FEEDS='  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 100ms}'
RING=64M config "database: $work/hdb
rdb_memory: 512M
tables:
  - name: note
    columns: {time: timestamp, sym: symbol, n: long}"
start
lines="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"
half() {
    # shellcheck disable=SC2086
    "$sim" --udp=lo --report "$work/sent.json" --truth "$work/truth" --quiet --rate 15000 --messages "$1" --heartbeat-ms 100 \
        --tail-heartbeats 3 $lines --lines loss=1%,burst=3 &
    others=$!
    while kill -0 "$others" 2>/dev/null; do
        for c in status feeds "feed itch" "line itch A" "gaps" tables "schema itch_order" "tail -n 5" "tail itch_order -n 3" \
            alarms eod rdb "rdb pause" "rdb resume" "sql 'select count(*) from itch_order'" ledger "ledger --verify" counters latency topo "log ls" "config" "explain log.space"; do
            # shellcheck disable=SC2086
            eval "p $c" >/dev/null 2>>"$work/cli.txt"
            code=$?
            [ $code -le 2 ] || die "penstock $c: exit code $code"
            kill -0 "$others" 2>/dev/null || break
        done
        # under ASan the query processes too (what their threads share, the engine's own tests run under TSan)
        grep -q __tsan_init "$bin/penstock-query" ||
            for q in "SELECT sym, count(*) FROM itch_order GROUP BY sym LIMIT 5" "SELECT * FROM itch_order WHERE sym = 'AAPL' LIMIT 10"; do
                p sql "$q" --format json >/dev/null 2>>"$work/cli.txt" || die "sql: $(tail -3 "$work/cli.txt"; cat "$work"/report* 2>/dev/null)"
            done
        printf 'time,sym,n\n,A,1\n,B,2\n' | p publish note - >/dev/null 2>>"$work/cli.txt"
    done
    wait "$others" || die "the simulator failed"
    others=
}
half 60000
settle || die "the ledger does not balance"
p rdb resume >/dev/null
# rows of the date are in the database, and come from the log again, while the sanitizer looks on
day=$(figure eod 'r["calendars"][0]["open"]')
p eod run --yes >>"$work/cli.txt" 2>&1 || die "eod run: $(tail -3 "$work/cli.txt")"
p rebuild "$day" --yes >>"$work/cli.txt" 2>&1 || die "rebuild: $(tail -3 "$work/cli.txt")"
p hdb verify --hash >>"$work/cli.txt" 2>&1 || die "hdb verify: $(tail -3 "$work/cli.txt")"
settle || die "the ledger does not balance"
# the checker is a test: what it leaks at its end is of no interest
printf '#!/bin/sh\nASAN_OPTIONS=detect_leaks=0 exec "%s" "$@"\n' "$verify" >"$work/verify"
chmod +x "$work/verify"
verify=$work/verify
check --gaps superset
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
start # from what is there
p status >/dev/null
sleep 0.3
stop
code=$?
cat "$work"/report* 2>/dev/null | head -150
ls "$work"/report* >/dev/null 2>&1 && die "the sanitizer has something to say"
grep -E "runtime error|Sanitizer" "$work/daemon.log" "$work/cli.txt" | head -20
! grep -qE "runtime error|Sanitizer" "$work/daemon.log" "$work/cli.txt" || die "the sanitizer has something to say"
[ $code = 0 ] || die "exit code $code"
