#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# roll.sh: the trading date turns in full flow: a mark, a second file, a certificate; each row stays with
# its session's date or says late_day, and nothing is lost.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"

GROUPS_YAML="      - {group: \"239.192.1.1:26400\", feed: itch, line: A}
      - {group: \"239.192.1.2:26400\", feed: itch, line: B}"
for wait in 5 15 45; do # as long as this machine needs for a start
    rm -rf "$work/log" "$work/state"
    at=$(($(date +%s) + wait)) eod=$(date -u -d "@$(($(date +%s) + wait))" +%T)
    # up to noon it ends yesterday, after noon today (control/calendar.h)
    case $eod in 00* | 01* | 02* | 03* | 04* | 05* | 06* | 07* | 08* | 09* | 10* | 11* | 12:00:00) ends=$((at - 86400)) ;; *) ends=$at ;; esac
    old=$(date -u -d "@$ends" +%Y.%m.%d) new=$(date -u -d "@$((ends + 86400))" +%Y.%m.%d)
    FEEDS="  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 20ms, date: ${old//./-}}"
    config
    sed -i "s/^calendar: .*/calendar: {zone: UTC, eod_time: \"$eod\"}/" "$work/p.yaml"
    start
    [ "$(date +%s)" -lt $((at - 2)) ] && break
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
done
while [ "$(date +%s)" -lt $((at - 4)) ]; do sleep 0.1; done
send --rate 10000 --messages 90000 --symbols 500 --heartbeat-ms 100 --tail-heartbeats 2 --date "${old//./-}" \
    --line A,239.192.1.1:26400,loss=1%,burst=3 --line B,239.192.1.2:26400,loss=1%,burst=3
[ "$(date +%s)" -gt "$at" ] || die "the date did not turn while traffic flowed"
settle || die "the ledger does not balance"
p ledger --verify >"$work/verify.txt" || die "ledger --verify: $(cat "$work/verify.txt")"
for _ in $(seq 50); do [ -s "$work/state/ledger$old.json" ] && break; sleep 0.1; done
head -n -1 "$work/state/ledger$old.json" | python3 -c "
import json, sys
r = json.load(sys.stdin)
assert r['day'] == '$old' and r['instance'] == 'test' and r['balanced'], r" || die "no certificate of $old: $(ls "$work/state")"
stop || die "the daemon's exit code"
for d in "$old" "$new"; do [ -s "$work/log/log$d" ] || die "no file of $d: $(ls "$work/log")"; done
"$bin/penstock" log verify "$work/log" >"$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"
"$bin/penstock" log dump "$work/log" --marks --json >"$work/all.json" || die "log dump"
"$bin/penstock" log dump "$work/log" --json >"$work/rows.json" || die "log dump"
grep -c '"eod"' "$work/all.json" >/dev/null || die "no eod mark: $(grep -v '"table"' "$work/all.json" | tail -3)"
python3 - "$work/all.json" "$work/sent.json" <<'PY' || die "the rows are not those of the dates"
import json, sys
from collections import Counter
sent, n, late, rolled, before = json.load(open(sys.argv[2])), Counter(), Counter(), 0, 0
for line in open(sys.argv[1]):
    if '"eod"' in line and '"calendar"' in line:
        rolled += 1
        continue
    r = json.loads(line)
    if r.get("table", "").startswith("itch") or "seq" in r and "locate" in r:
        f = r["flags"]
        is_late = "late_day" in f if isinstance(f, (str, list)) else bool(f & 2)
        n[rolled] += 1
        late[rolled] += is_late
print("eod marks", rolled, "rows before and after", dict(n), "late_day", dict(late))
assert rolled == 1, rolled
assert n[0] > 0 and n[1] > 0
assert late[0] == 0, late            # before the mark every row is of its own date
assert late[1] == n[1], (late, n)    # after it the session's date is closed
PY
"$verify" --report "$work/sent.json" --truth "$work/truth" --date "${old//./-}" --gaps exact <"$work/rows.json" || die "what was logged is not what was sent"
exit 0
