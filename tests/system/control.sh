#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# control.sh: what an operator may do while traffic flows: pause and resume a feed, switch a line, join
# another group, start the sessions over, publish a table. What it does is shown, its consequence is a
# row, the command itself is a mark, and who may only look is refused.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"
chmod 711 "$work"
config "tables:
  - name: note
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: text, type: string}]"
start
two="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"
steady="--iface out --quiet --rate 10000 --heartbeat-ms 100 --tail-heartbeats 5"

holds() { # COMMAND EXPRESSION: within ten seconds
    for _ in $(seq 200); do
        [ "$(figure "$1" "$2")" = True ] && return
        sleep 0.05
    done
    p $1 --json >&2
    die "does not hold of '$1': $2"
}
now() { figure "feed itch" "$1"; }
operate() { p "$@" >"$work/out" 2>&1 || die "$*: $(cat "$work/out")"; }

# 1. Pause, resume, a line off and on, and rows published, during one session.
# shellcheck disable=SC2086
"$sim" $steady --messages 70000 --session 0000000001 --report "$work/one.json" --truth "$work/one.truth" $two & others=$!
holds "feed itch" 'r["feed"]["messages"] > 5000 and r["feed"]["state"] == "live"'
operate feed itch pause
holds "feed itch" 'r["feed"]["state"] == "paused"'
before=$(now 'r["feed"]["messages"]')
packets=$(now 'r["feed"]["lines"][0]["packets"]')
holds "feed itch" "r['feed']['lines'][0]['packets'] > $packets + 100" # counted, and not journaled
[ "$(now 'r["feed"]["messages"]')" = "$before" ] || die "a paused feed went on"
operate feed itch resume
holds "feed itch" "r['feed']['state'] == 'live' and r['feed']['messages'] > $before + 1000"

operate line itch A off
holds "line itch A" 'r["line"]["state"] == "off"'
holds "line itch B" 'r["line"]["state"] == "live"'
was=$(now 'r["feed"]["lines"][0]["messages"]') before=$(now 'r["feed"]["messages"]')
holds "feed itch" "r['feed']['messages'] > $before + 2000" # B alone carries it
[ "$(now 'r["feed"]["lines"][0]["messages"]')" = "$was" ] || die "a line that is off was taken"
operate line itch A on
holds "line itch A" "r['line']['state'] == 'live' and r['line']['messages'] > $was"

python3 -c "
print('time,sym,text')
for i in range(3000): print('2026.11.20D11:00:00.%09d,NOTE,number %d' % (i, i))" >"$work/note.csv"
kill -0 "$others" 2>/dev/null || die "the simulator ended before the rows were published"
operate publish note "$work/note.csv"
kill -0 "$others" 2>/dev/null || die "the rows were not published during the capture"
wait "$others" || die "the simulator failed"; others=
settle || die "the ledger does not balance after the first session"

# 2. A session on a group that nobody has joined is not taken; joined, it is.
stray="--line A,239.192.1.9:26400"
sessions=$(now 'len(r["feed"]["sessions"])')
# shellcheck disable=SC2086
"$sim" $steady --messages 2000 --session 0000000009 --report "$work/stray.json" $stray || die "the simulator failed"
[ "$(now 'len(r["feed"]["sessions"])')" = "$sessions" ] || die "a group was taken before it was added"
operate group add itch A 239.192.1.9:26400
p group add itch A 239.192.1.9:26400 >"$work/out" 2>&1 && die "a group was added twice"
grep -q "already" "$work/out" || die "group add, again: $(cat "$work/out")"
# shellcheck disable=SC2086
"$sim" $steady --messages 20000 --session 0000000002 --report "$work/added.json" --truth "$work/added.truth" $stray ||
    die "the simulator failed"
settle || die "the ledger does not balance after the added group"

# 3. Every session starts over.
# shellcheck disable=SC2086
"$sim" $steady --messages 40000 --session 0000000003 --report "$work/reset.json" --truth "$work/reset.truth" $two & others=$!
holds "feed itch" 'any(s["session"] == "0000000003" and s["next"] > 5000 for s in r["feed"]["sessions"])'
operate feed itch reset-session
kill -0 "$others" 2>/dev/null || die "the simulator ended before the reset"
wait "$others" || die "the simulator failed"; others=
settle || die "the ledger does not balance after the reset"
holds "feed itch" '[s["epoch"] for s in r["feed"]["sessions"] if s["session"].startswith("0000000003")] == [1, 2]'

# 4. Bad words are usage errors, and change nothing. Who may look may not operate.
for bad in "feed itch stop" "line itch A pause" "line itch C off" "feed nosuch pause" "group add itch C 239.1.1.1:1"; do
    # shellcheck disable=SC2086
    p $bad >"$work/out" 2>&1; code=$?
    [ $code = 2 ] || die "$bad: exit $code: $(cat "$work/out")"
done
if [ -z "${PST_USER:-}" ] && [ "$(id -u)" = 0 ]; then
    foreign() { setpriv --reuid 65534 --keep-groups "$bin/penstock" --socket "$work/s.sock" "$@"; }
    foreign feed itch --json >"$work/out" 2>&1 || die "who may look cannot: $(cat "$work/out")"
    for verb in "feed itch pause" "line itch A off" "group add itch A 239.192.1.10:26400" "publish note $work/note.csv" "stop"; do
        # shellcheck disable=SC2086
        foreign $verb >"$work/out" 2>&1 && die "$verb: done for a user who may only look"
        grep -q "needs level" "$work/out" || die "$verb: $(cat "$work/out")"
    done
    [ "$(now 'r["feed"]["state"]')" != paused ] || die "a refused command was done"
else
    echo "refusals by user: not tried, no other user to be"
fi
p ledger --verify >"$work/ledger.txt" || die "ledger --verify: $(cat "$work/ledger.txt")"
stop || die "the daemon's exit code"

# The journal: each session is what was sent, all else is told by its reason.
"$bin/penstock" log verify "$work/log" || die "log verify"
"$bin/penstock" log dump "$work/log" --marks --json >"$work/rows.json" || die "log dump"
journaled() { # SESSION NAME GAPS
    grep "\"session\":\"$1\"" "$work/rows.json" >"$work/these.json"
    "$verify" --report "$work/$2.json" --truth "$work/$2.truth" --date "$(sent_date "$work/$2.truth")" --gaps "$3" <"$work/these.json" ||
        die "session $1 is not what was sent"
}
journaled 0000000001 one superset # and the gap of the pause
journaled 0000000002 added exact
python3 - "$work" <<'PY' || die "the journal does not tell what was done"
import json, sys
work = sys.argv[1]
rows = [json.loads(l) for l in open(work + "/rows.json")]
gaps = [r for r in rows if r.get("table") == "gap"]
one = [g for g in gaps if g["session"] == "0000000001"]
assert [g["reason"] for g in one] == ["paused"] and one[0]["last"] - one[0]["first"] > 100, one
# the sequence goes on over a reset: both epochs together are the session, each number once
reset = [r for r in rows if (r.get("session") or "").startswith("0000000003") and "seq" in r and r["seq"] is not None]
names = sorted({r["session"] for r in reset})
assert len(names) == 2 and names[1].endswith("#2"), names
assert [r["seq"] for r in reset] == list(range(1, 40001)), "a reset lost or repeated something"
assert not [g for g in gaps if g["session"].startswith("0000000003")], gaps
note = [r for r in rows if r.get("table") == "note"]
assert [r["text"] for r in note] == ["number %d" % i for i in range(3000)]
at = rows.index(note[0])
assert any(r.get("session") == one[0]["session"] and r.get("seq") for r in rows[at:]), "published after the capture"
marks = [m["data"] for m in rows if m.get("mark") == "operator"]
got = [(m["command"], *m["args"]) for m in marks]
assert got == [("feed", "itch", "pause"), ("feed", "itch", "resume"), ("line", "itch", "A", "off"), ("line", "itch", "A", "on"),
               ("group", "add", "itch", "A", "239.192.1.9:26400"), ("feed", "itch", "reset-session"), ("stop",)], got
where = {m["data"]["args"][-1]: i for i, m in enumerate(rows) if m.get("mark") == "operator" and m["data"]["args"]}
# a mark lies where its command took effect, as near as two threads can: before the pause's gap, before the new epoch
assert where["pause"] < rows.index(one[0]) and where["pause"] < where["resume"]
PY
exit 0
