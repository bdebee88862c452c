#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alarms.sh: a silent line, a link that goes, a gap: raised, told, cleared, journaled; and no silence
# outside a feed's hours.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"

raised() { p alarms --json | python3 -c '
import json, sys
print(" ".join(sorted(a["code"] + ":" + a["subject"] for a in json.load(sys.stdin)["raised"])))'; }
until_raised() {
    for _ in $(seq 150); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.1; done
    die "$1 was not raised: $(raised)"
}
until_cleared() {
    for _ in $(seq 150); do case " $(raised) " in *" $1 "*) sleep 0.1 ;; *) return ;; esac; done
    die "$1 was not cleared: $(raised)"
}

closed=$(date -u -d '+2 days' +%a) # a weekday that is neither today nor tomorrow
GROUPS_YAML="      - {group: \"239.192.1.1:26400\", feed: itch, line: A}
      - {group: \"239.192.1.2:26400\", feed: itch, line: B}
      - {group: \"239.192.1.3:26400\", feed: shut, line: A}
      - {group: \"239.192.1.4:26400\", feed: shut, line: B}"
FEEDS="  - {name: itch, framing: moldudp64, decoder: itch50, window_time: 20ms, silence: 500ms}
  - {name: shut, framing: moldudp64, decoder: itch50, window_time: 20ms, silence: 500ms, hours: \"$closed 10:00-10:01 UTC\"}"
config
start

# line B is dead for four seconds; in `shut`, outside its hours, it is dead as long
flow="--rate 2000 --messages 16000 --symbols 100 --heartbeat-ms 100 --tail-heartbeats 40 --quiet --iface out"
# shellcheck disable=SC2086
"$sim" $flow --line A,239.192.1.3:26400 --line B,239.192.1.4:26400,dead=2000-12000 2>"$work/sim.log" & others=$!
# shellcheck disable=SC2086
"$sim" $flow --line A,239.192.1.1:26400 --line B,239.192.1.2:26400,dead=2000-12000 2>>"$work/sim.log" & traffic=$! others="$others $!"
until_raised "line.silent:itch B"
p status >"$work/status.txt"; code=$?
[ $code = 1 ] || die "status exits $code while an alarm is raised"
grep -q "line.silent" "$work/status.txt" || die "status does not tell it"
p alarms >"$work/out" || [ $? = 1 ] || die "alarms"
grep -q "line.silent.*itch B" "$work/out" || die "alarms does not list it"
p explain line.silent | grep -q "switch port" || die "explain"
state=$(figure "line shut B" 'r["line"]["state"]')
[ "$state" = waiting ] || die "line B of shut, silent outside its hours, is $state"
[ "$(raised)" = "line.silent:itch B" ] || die "raised is: $(raised)"
until_cleared "line.silent:itch B"
kill -0 "$traffic" || die "it cleared only when all was over"

# the link
ip link set out down
until_raised "port.link:p0"
ip link set out up
until_cleared "port.link:p0"
for t in $others; do kill -INT "$t" 2>/dev/null; wait "$t"; done # they may have failed with the interface
others=

# a gap
"$sim" --iface out --quiet --rate 5000 --messages 5000 --session 0000000009 --symbols 100 --heartbeat-ms 100 \
    --tail-heartbeats 2 --line A,239.192.1.1:26400,drop=4000-4010 --line B,239.192.1.2:26400,drop=4000-4010 || die "the simulator failed"
until_raised "feed.gap:itch"
p gaps itch >"$work/out" && grep -q 4010 "$work/out" || die "gaps: $(cat "$work/out")"
p status >"$work/status.txt"; [ $? = 1 ] || die "status exits 0 with feed.gap raised"
settle || die "the ledger does not balance"
stop || die "the daemon's exit code"

"$bin/penstock" log dump "$work/log" alarm --json >"$work/alarm.json" || die "log dump"
python3 - "$work/alarm.json" <<'PY' || die "table alarm: $(cat "$work/alarm.json")"
import json, sys
rows = [(r["code"], r["sym"] or "", r["state"]) for r in map(json.loads, open(sys.argv[1]))]
for want in [("line.silent", "itch B"), ("port.link", "p0")]:
    states = [s for c, n, s in rows if (c, n) == want]
    assert states[:2] == ["raised", "cleared"], (want, states)
assert ("feed.gap", "itch", "raised") in rows
assert not [r for r in rows if r[0].endswith(".silent") and r[1].startswith("shut")]
PY
exit 0
