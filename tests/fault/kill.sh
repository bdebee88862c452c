#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill.sh [RUN...]: kill -9 in full flow at seeded points, again and again on the same directories while
# traffic goes on; then everything that was announced must be there, once, and every outage must be
# exactly one `down` gap. 200 points with PST_ALL=1, else a tenth of them, rotating by PST_SEED. A run is
# five kills; the runs go through levels (durable, written, async) and streams (one, or the orders in files
# by the minute).
. "$(dirname "$0")/../system/lib.sh"
enter_namespace "$@"
history=$BUILD/tests/history
all=200 each=5 # points; kills in a run
if [ $# -gt 0 ]; then runs=$*
elif [ -n "${PST_ALL:-}" ]; then runs=$(seq 0 $((all / each - 1)))
else runs=$(seq $((seed % 10)) 10 $((all / each - 1))); fi
levels=(durable written async)

points=(log.after_submit:200 log.after_write:200 log.after_durable:200 appender.before_publish:3000
    appender.after_publish:3000 log.open:1 log.header:1 lease.rename:1 log.end:1)

# a kill for this run's step, from the point's own number: the same in every run of the suite
choose() {
    RANDOM=$((1 + $1 * 7919 + ${#LEVEL}))
    at= after=
    if [ $((RANDOM % 5)) -lt 2 ]; then
        after=0.$(printf %03d $((RANDOM % 900)))
    else
        p=${points[$((RANDOM % ${#points[@]}))]}
        at=${p%:*}:$((1 + RANDOM % ${p#*:}))
    fi
}

launch() {
    PST_FAULT_AT=$1 "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 &
    daemon=$!
    up=
    for _ in $(seq 300); do
        if p commands >/dev/null 2>&1; then
            up=1
            "$history" watch "$work/s.sock" "$work/facts" &
            watcher=$!
            return
        fi
        kill -0 "$daemon" 2>/dev/null || return
        sleep 0.02
    done
    die "penstockd does not answer"
}

gone() { # waits for the end by signal 9; kills it should the point never come
    for _ in $(seq 150); do
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.02
    done
    kill -0 "$daemon" 2>/dev/null && { missed=$((missed + 1)); kill -9 "$daemon"; }
    wait "$daemon" 2>/dev/null
    code=$?
    daemon=
    [ $code = 137 ] || die "killed, but the exit code is $code"
    [ -z "$up" ] || wait "$watcher" || die "the watcher"
}

twice() { # recovery gives the same bytes, however often
    rm -rf "$work/one" "$work/two"
    cp -a "$work/log" "$work/one"
    cp -a "$work/log" "$work/two"
    "$history" recover "$work/one" >"$work/r1" && "$history" recover "$work/two" >"$work/r2" || die "recovery of a copy"
    cmp -s "$work/r1" "$work/r2" || die "two recoveries of the same bytes say different things"
    "$history" recover "$work/two" >"$work/r2" || die "second recovery"
    cmp -s "$work/r1" "$work/r2" || die "the second recovery says something else: $(cat "$work/r1" "$work/r2")"
    diff -rq "$work/one" "$work/two" || die "the second recovery changed bytes"
}

balanced() {
    for _ in $(seq 40); do
        p ledger >"$work/ledger.txt" 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || return 0
        sleep 0.05
    done
    cat "$work/ledger.txt"
    die "the ledger does not balance after a restart"
}

killed=0 missed=0
for run in $runs; do
    rm -rf "$work/log" "$work/state" "$work/facts"
    LEVEL=${levels[$((run % 3))]} streams=one
    [ $((run / 3 % 2)) = 0 ] || streams=two
    if [ $streams = two ]; then
        config "intraday_freq: 1
intraday_tables: [itch_order]"
    else config; fi
    : >"$work/facts"
    # shellcheck disable=SC2046
    "$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate 30000 --heartbeat-ms 100 \
        --duration 1200 --line A,239.192.1.1:26400,loss=1%,burst=4 --line B,239.192.1.2:26400,loss=1%,burst=4 &
    traffic=$!
    others=$traffic
    for step in $(seq $each); do
        choose $((run * each + step))
        echo "run $run kill $step: $LEVEL, $streams: ${at:-after ${after}s}"
        launch "$at"
        if [ -n "$after" ]; then
            balanced
            sleep "$after"
            kill -9 "$daemon"
        elif [ "$at" = log.end:1 ]; then
            sleep 0.3
            p stop >/dev/null 2>&1
        fi
        gone
        killed=$((killed + 1))
        twice
    done
    launch ""
    [ -n "$up" ] || die "no start after the last kill"
    balanced
    sleep 0.3
    kill -INT "$traffic"
    wait "$traffic" || die "the simulator failed"
    others=
    settle || die "the ledger does not balance"
    p ledger --verify >"$work/verify.txt" || { cat "$work/verify.txt"; die "ledger --verify"; }
    stop || die "the daemon's exit code"
    wait "$watcher"
    "$history" check "$work/log" "$work/facts" || die "run $run: the history is wrong"
    order=
    [ $streams = one ] || order="--interval itch_order"
    # shellcheck disable=SC2086
    check --gaps superset --locates forgotten $order
done
echo "$killed kills, $missed points were not reached within 3 s"
