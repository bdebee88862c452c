#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# restart.sh CASE: what a start makes of what it finds.
if [ "$1" = disk-full ] && [ -z "${PST_MOUNTS:-}" ]; then # a small filesystem of its own
    export PST_MOUNTS=1
    if [ "$(id -u)" = 0 ]; then exec unshare -m "$0" "$@"; else exec unshare -Urnm "$0" "$@"; fi
fi
. "$(dirname "$0")/../system/lib.sh"
enter_namespace "$@"
history=$BUILD/tests/history
lines="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"
: >"$work/facts"

flow() { # traffic in the background until `ebb`
    # shellcheck disable=SC2086
    "$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate 30000 --heartbeat-ms 100 \
        --duration 60 $lines &
    traffic=$! others=$!
}
ebb() {
    kill -INT "$traffic"
    wait "$traffic" || die "the simulator failed"
    others=
}
rows_reach() { # until the journal holds N rows
    for _ in $(seq 200); do
        [ "$(figure ledger 'r["rows"]')" -ge "$1" ] && return
        sleep 0.05
    done
    die "no $1 rows"
}
killed() {
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null
    daemon=
}
finish_well() {
    settle || die "the ledger does not balance"
    p ledger --verify >"$work/verify.txt" || { cat "$work/verify.txt"; die "ledger --verify"; }
    stop || die "the daemon's exit code"
}
told() { # history of a log without damage
    "$history" check "$work/log" "$work/facts" >"$work/history.txt" 2>&1 || { cat "$work/history.txt"; die "the history is wrong"; }
    cat "$work/history.txt"
    grep -q "$1" "$work/history.txt" || die "expected: $1"
}
newest() { find "$work/log" -name 'log2*' ! -name '*.torn-*' -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2; }
alarm_raised() {
    for _ in $(seq 60); do
        p alarms >"$work/alarms.txt" 2>&1
        grep -q "$1" "$work/alarms.txt" && return
        sleep 0.1
    done
    cat "$work/alarms.txt"
    die "no alarm $1"
}

config
case $1 in
quiet) # nothing was missed: no gap, positions go on
    start
    send --rate 30000 --messages 30000 --heartbeat-ms 100 --tail-heartbeats 2 $lines
    settle || die "the ledger does not balance"
    end=$(figure ledger 'r["sessions"][0]["journaled"]')
    [ "$end" = 30000 ] || die "$end rows of 30000"
    stop || die "the daemon's exit code"
    start
    "$sim" --iface out --quiet --rate 30000 --messages 5000 --no-directory --first-seq 30001 --heartbeat-ms 100 \
        --tail-heartbeats 2 $lines || die "the simulator failed"
    finish_well
    told " 0 unclean restarts, .* rows 35000, late 0, in gaps 0, 0 down gaps"
    ! grep -q "stand in no file" "$work/history.txt" || die "positions do not go on"
    ;;
missed) # a clean stop while traffic goes on: one down gap; the decoder knows all it knew
    start
    flow
    rows_reach 40000
    stop || die "the daemon's exit code"
    sleep 0.3
    start
    rows_reach 40000
    ebb
    finish_well
    told " 0 unclean restarts, .* 1 down gaps"
    check --gaps superset
    ;;
no-state) # the lease is gone, the log is there: never a position twice
    start
    flow
    rows_reach 30000
    killed
    rm -rf "$work/state"
    start
    rows_reach 20000
    ebb
    finish_well
    "$bin/penstock" log verify "$work/log" || die "log verify"
    ;;
no-log) # the lease still tells which positions were shown to somebody
    start
    flow
    rows_reach 30000
    before=$(figure status 'r["log"]["tail"]')
    killed
    rm -rf "$work/log"/*
    start
    after=$(figure status 'r["log"]["tail"]')
    [ "$after" -gt "$before" ] || die "position $after was used before ($before)"
    rows_reach 20000
    ebb
    finish_well
    check --gaps superset --locates forgotten
    ;;
flipped) # bytes changed where they had been durable: an alarm, a gap, the rest is read
    start
    flow
    rows_reach 60000
    killed
    f=$(newest)
    printf 'damaged here' | dd of="$f" bs=1 seek=2000000 conv=notrunc status=none
    start
    alarm_raised log.damage
    rows_reach 20000
    ebb
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    "$bin/penstock" log verify "$work/log" >"$work/verify.txt"
    [ $? = 1 ] && grep -q DAMAGED "$work/verify.txt" || die "log verify does not say it"
    check --gaps superset --locates forgotten
    ;;
cut) # the file lost its second half
    start
    flow
    rows_reach 60000
    killed
    truncate -s 2000000 "$(newest)"
    start
    rows_reach 20000
    ebb
    finish_well
    check --gaps superset --locates forgotten
    ;;
header) # both copies of the newest file's header are gone
    start
    flow
    rows_reach 20000
    stop || die "the daemon's exit code"
    start
    rows_reach 20000
    before=$(figure status 'r["log"]["tail"]')
    killed
    dd if=/dev/urandom of="$(newest)" bs=4096 count=2 conv=notrunc status=none
    start
    alarm_raised log.damage
    after=$(figure status 'r["log"]["tail"]')
    [ "$after" -gt "$before" ] || die "position $after was used before ($before)"
    rows_reach 20000
    ebb
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    check --gaps superset --locates forgotten
    ;;
disk-full) # no room at the start: capture waits in the ring, and goes on when there is room
    mkdir "$work/disk"
    mount -t tmpfs -o size=64m none "$work/disk" || skip "cannot mount a tmpfs"
    mkdir "$work/disk/log"
    head -c 70000000 /dev/zero >"$work/disk/full" 2>/dev/null
    LOGDIR=$work/disk/log config
    start
    flow
    rows_reach 20000
    alarm_raised log
    rm "$work/disk/full"
    ebb
    finish_well
    "$bin/penstock" log dump "$work/disk/log" --json >"$work/rows.json" || die "log dump"
    "$verify" --report "$work/sent.json" --truth "$work/truth" --date "$(sent_date)" \
        --gaps exact <"$work/rows.json" || die "what was logged is not what was sent"
    umount "$work/disk"
    ;;
*) die "no case $1" ;;
esac
