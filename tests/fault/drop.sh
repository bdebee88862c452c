#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# drop.sh HOP: loses one thing at one hop (wire, rx, feed, decoder, appender, log, rdb) of a running daemon; the
# ledger must name exactly that hop and exit 1. A packet that the wire lost on both lines is no fault of
# ours: a gap row of those sequences, and the ledger balances.
. "$(dirname "$0")/../system/lib.sh"
enter_namespace "$@"
case $1 in
wire) point=rx.drop_packet:40 ;;
rx) point=rx.lose_packet:200 ;;
feed) point=feed.drop_run:500 ;;
decoder) point=feed.drop_message:5000 ;;
appender) point=appender.drop_frame:300 ;;
log) point=log.drop_frame:300 ;;
rdb) point=rdb.row:300 ;;
*) die "no hop $1" ;;
esac

config
export PST_FAULT_DROP=$point
start
unset PST_FAULT_DROP
send --rate 40000 --messages 40000 --heartbeat-ms 200 --tail-heartbeats 3 \
    --line A,239.192.1.1:26400 --line B,239.192.1.2:26400

# until all that was sent is accounted for and lies still
for _ in $(seq 100); do
    p ledger --json >"$work/ledger.json" 2>/dev/null
    code=$?
    python3 - "$work/ledger.json" <<'PY' && break
import json, sys
r = json.load(open(sys.argv[1]))
s = r["sessions"]
sys.exit(not (r["caught_up"] and s and all(x["wire"] == 40000 and x["flying"] == 0 and x["waiting"] == 0 for x in s)))
PY
    sleep 0.1
done
p ledger >"$work/ledger.txt"
code=$?
cat "$work/ledger.txt"
hop=$(python3 -c "import json,sys; print(json.load(open(sys.argv[1]))['hop'] or '')" "$work/ledger.json")
if [ "$1" = wire ]; then
    [ $code = 0 ] || die "exit code $code for a loss that a gap row tells"
    [ -z "$hop" ] || die "the ledger names $hop"
    p gaps | tee "$work/gaps.txt"
    grep -q lost "$work/gaps.txt" || die "no gap row of the lost packet"
    stop || die "the daemon's exit code"
    check --gaps superset
else
    [ $code = 1 ] || die "exit code $code, a message is missing in the $1"
    [ "$hop" = "$1" ] || die "the ledger names '$hop'"
    grep -q "lost in the $1" "$work/ledger.txt" || die "the ledger does not name the $1 for people"
    stop
fi
