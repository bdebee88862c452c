#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# soak.sh [--minutes N] [--seed HEX] [--rate N]: the daemon at load under one fault after the other, chosen by one
# seed: kill -9 and restart, clean restart, disk full and freed, disk frozen and thawed, a line lost, both lines
# lost for a moment, a slow reader. It prints what it does. At the end nothing is unaccounted for:
# alarms clear, the ledger and `ledger --verify` balance, the history over all incarnations is right, and every
# message that was sent is a row or lies in a gap. 1 minute in the suite.
if [ -z "${PST_MOUNTS:-}" ]; then # mounts of its own
    [ "$(id -u)" = 0 ] || { echo "SKIP: needs root to mount filesystems"; exit 77; }
    export PST_MOUNTS=1
    exec unshare -m "$0" "$@"
fi
export BUILD=${BUILD:-$(cd "$(dirname "$0")/../../build" && pwd)}
. "$(dirname "$0")/../system/lib.sh"
enter_namespace "$@"
. "$(dirname "$0")/../fault/disklib.sh"
minutes=1 seed=${PST_SEED:-1} rate=30000
while [ $# -gt 0 ]; do
    case $1 in
    --minutes) minutes=$2 ;;
    --seed) seed=$2 ;;
    --rate) rate=$2 ;;
    *) die "soak.sh: no option $1" ;;
    esac
    shift 2
done
history=$BUILD/tests/history
RANDOM=$((16#$(printf %s "$seed" | tr -cd 0-9a-f | cut -c1-4)))
echo "seed $seed, $minutes minutes, $rate messages/s"
end=$(($(date +%s) + minutes * 60))
disk_make ext4 $((512 + minutes * 300))
: >"$work/facts"
config "retry_interval: 100ms
alarms: {clear_after: 500ms, disk_full_in: 0}"

up() { # the daemon, and who notes what it announces
    start
    "$history" watch "$work/s.sock" "$work/facts" & watcher=$!
}
"$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate "$rate" --symbols 500 \
    --heartbeat-ms 100 --tail-heartbeats 3 --duration $((minutes * 60 + 600)) $lines & traffic=$!
others=$traffic
up
declare -A done_
wait_balanced() {
    for _ in $(seq 300); do p ledger >"$work/ledger.txt" 2>&1 && return; sleep 0.1; done
    cat "$work/ledger.txt"
    die "the ledger does not balance after: $what"
}
steps=0
while [ "$(date +%s)" -lt $end ]; do
    sleep 0.$((100 + RANDOM % 800))
    kinds=(kill kill restart full freeze freeze-long line-a line-b both slow)
    what=${kinds[$((RANDOM % ${#kinds[@]}))]}
    took=$((1 + RANDOM % 3))
    steps=$((steps + 1))
    done_[$what]=$((${done_[$what]:-0} + 1))
    echo "$(date +%H:%M:%S) $what"
    case $what in
    kill) kill -9 "$daemon"; wait "$daemon" 2>/dev/null; wait "$watcher"; sleep 0.$((RANDOM % 9)); up ;;
    restart) stop || die "the daemon's exit code"; wait "$watcher"; up ;;
    full) fill; sleep $took; unfill ;;
    freeze) freeze; sleep 1; thaw ;;
    freeze-long) freeze; sleep $((2 + took)); thaw ;;
    line-a) p line itch A off >/dev/null || die "line off"; sleep $took; p line itch A on >/dev/null || die "line on" ;;
    line-b) p line itch B off >/dev/null || die "line off"; sleep $took; p line itch B on >/dev/null || die "line on" ;;
    both) ip link set in down; sleep 0.$((100 + RANDOM % 400)); ip link set in up ;;
    slow) # reads a little, stops, and goes away
        "$bin/penstock" --socket "$work/s.sock" tail itch_trade -f >"$work/tail.txt" 2>/dev/null & reader=$!
        sleep 0.3; kill -STOP $reader; sleep $took; kill -CONT $reader; kill $reader; wait $reader 2>/dev/null ;;
    esac
    wait_balanced
done
echo "$steps faults: $(for k in "${!done_[@]}"; do printf '%s %s  ' "$k" "${done_[$k]}"; done)"
back_to_normal
kill -INT "$traffic"; wait "$traffic" || die "the simulator failed"
others=
settle || die "the ledger does not balance: $(p ledger)"
p ledger --verify >"$work/verify.txt" || die "ledger --verify: $(cat "$work/verify.txt")"
stop || die "the daemon's exit code"
wait "$watcher"
up # once more: a file that was given up since the last start keeps its torn tail until the next one
stop || die "the daemon's exit code"
wait "$watcher"
"$bin/penstock" log verify "$LOGDIR" >"$work/verify.txt" 2>&1 || grep -qv DAMAGED "$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"
"$history" check "$LOGDIR" "$work/facts" || die "the history is wrong"
"$bin/penstock" log dump "$LOGDIR" --json >"$work/rows.json" || die "log dump"
"$verify" --report "$work/sent.json" --truth "$work/truth" --date "$(sent_date)" --gaps superset \
    --locates forgotten <"$work/rows.json" || die "what was logged is not what was sent"
