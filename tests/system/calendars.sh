#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# calendars.sh: two calendars in one journal: dates that were missed while nothing ran, late windows with two open
# dates over a SIGKILL, late rows, files that close when both calendars have closed their day.
. "$(dirname "$0")/lib.sh"
workdir
PORTS=" " FEEDS=" "

calendars() { # DEFAULT [TOKYO]: the calendars' YAML
    local further=
    [ -z "${2:-}" ] || further="calendars: {tokyo: {$2, tables: [bond]}}"
    config "$further
tables:
  trade: {columns: {time: timestamp, sym: symbol}}
  bond: {columns: {time: timestamp, sym: symbol}}"
    sed -i "/^ *\$/d; /^feeds:/d; s|^calendar: .*|calendar: {$1}|" "$work/p.yaml"
}
row() { # TABLE SYM [UTC-SECONDS]: publishes one row, its time left out without the third
    if [ -n "${3:-}" ]; then printf 'time,sym\n%s,%s\n' "$(date -u -d "@$3" +%Y.%m.%dD%H:%M:%S.%N)" "$2"; else printf 'sym\n%s\n' "$2"; fi |
        p publish "$1" - >/dev/null || die "publish $1 $2"
}
reaches() { while [ "$(date +%s%N)" -lt "$(($1 * 1000000000))" ]; do sleep 0.02; done; } # waits until UTC-SECONDS
where() { # SYM: the date of the file in which its row stands
    for f in "$work"/log/log2*; do
        "$bin/penstock" log dump "$f" --json 2>/dev/null | grep -q "\"sym\":\"$1\"" && basename "$f" | cut -c4-13
    done | sort -u
}
stands() { [ "$(where "$1")" = "$2" ] || die "row $1 stands in '$(where "$1")', not $2"; }
utc() { date -u -d "@$1" +%Y.%m.%d; }

# ---- a replay on the packets' clock: the feed's tables have a calendar of their own ----
"$sim" --pcap "$work/a.pcap" --duration 3 --rate 10000 --lines loss=10%,burst=6 --quiet || die "simulator"
back=$(printf -- '-%02d:%02d:%02d' 14 29 59) # 09:30:01 New York of the day before: 2026.11.20 ends within the capture
PORTS="ports:
  - {name: c, device: none, groups: [{group: \"239.192.1.1:26400\", feed: itch, line: A}, {group: \"239.192.1.2:26400\", feed: itch, line: B}]}" FEEDS=
replay() { # WINDOW TABLES DIR
    config "calendars:
  nasdaq: {eod_time: \"$back\", late_window: $1, tables: [$2]}"
    sed -i "s|^calendar: .*|calendar: {zone: America/New_York, eod_time: \"$back\"}|" "$work/p.yaml"
    "$bin/penstockd" --replay "$work/a.pcap" --config "$work/p.yaml" --dir "$3" --json >"$3.json" || die "replay: $(tail -2 "$3.json")"
}
itch="itch_order, itch_trade, itch_status, itch_imbalance, itch_directory"
for n in 1 2; do
    mkdir "$work/w$n"
    replay 1s "$itch" "$work/w$n"
done
mkdir "$work/w3"
replay 0 "$itch" "$work/w3"
python3 - "$work" "$bin/penstock" <<'PY' || die "the replay's dates"
import json, subprocess, sys
work, penstock = sys.argv[1:]
def tables(n):
    r = json.load(open(f"{work}/w{n}.json"))
    assert r["ledger"]["balanced"]
    late = [c["value"] for c in r["counters"] if c["name"] == "append.late_day"][0]
    # alarms are control's, on the wall clock: how many gaps a check has seen is not in the packets
    return sorted((t["table"], t["day"], t["rows"], t["hash"]) for t in r["tables"] if t["table"] != "alarm"), late, sum(t["rows"] for t in r["tables"] if t["table"] == "alarm")
def rows(n):
    out = subprocess.run([penstock, "log", "dump", f"{work}/w{n}/log", "--marks", "--json"], capture_output=True, text=True, check=True).stdout
    return [json.loads(l) for l in out.splitlines()]
assert tables(1)[0] == tables(2)[0], "two replays differ"
for n, closed in ((1, "14:30:02"), (3, "14:30:01")):
    lines, seen, flagged, kept, gaps = rows(n), [], 0, 0, 0
    for l in lines:
        if l.get("mark") == "eod":
            seen.append((l["data"]["calendar"], l["time"][11:]))
        elif "rxtime" in l:
            f = l["flags"]
            late = "late_day" in f if isinstance(f, (str, list)) else bool(f & 2)
            assert late == (l["rxtime"][11:19] >= closed), l   # a feed's rows: until the window is over
            flagged, kept = flagged + late, kept + (not late)
        gaps += l.get("table") == "gap" and l["time"][11:19] >= "14:30:01"
    print(n, seen, "late", flagged, "in time", kept, "gaps behind the default calendar's end", gaps)
    assert sorted(seen) == [("default", "14:30:01.000000000"), ("nasdaq", closed + ".000000000")], seen
    got, late, alarms = tables(n)
    assert flagged > 5000 and kept > 5000 and gaps > 0 and 0 <= late - flagged - gaps <= alarms, (late, flagged, gaps, alarms)
    assert sum(t[2] for t in got if t[:2] == ("gap", "2026.11.21")) == gaps, (gaps, got)
    for days, rows_of in (("2026.11.20", kept), ("2026.11.21", flagged)):
        assert sum(t[2] for t in got if t[1] == days and t[0].startswith("itch")) == rows_of, (days, got)
PY
PORTS=" " FEEDS=" "

# ---- missed dates: the zone moves by days between two runs ----
now=$(date +%s)
calendars 'zone: Etc/GMT+12, eod_time: "12:00"'
start
row trade FIRST
row bond ZEROTH
stop || die "the first stop"
case $(where FIRST) in "$(utc $((now - 86400)))" | "$(utc $(($(date +%s) - 86400)))") ;; *) die "FIRST is of $(where FIRST)" ;; esac
calendars 'zone: Etc/GMT-14, eod_time: "-23:59:59"' 'zone: UTC'
start
row trade SECOND
row bond THIRD
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start
row trade FOURTH
stop || die "the second stop"
"$bin/penstock" log dump "$work/log" --marks --json >"$work/all.json" || die "log dump"
python3 - "$work/all.json" "$(where FIRST)" "$(where SECOND)" "$(where THIRD)" <<'PY' || die "missed dates: $(grep '"eod"' "$work/all.json")"
import datetime, json, sys
day = lambda s: datetime.date(*map(int, s.split(".")))
first, second, third = map(day, sys.argv[2:])
lines = [json.loads(l) for l in open(sys.argv[1])]
eods = [(i, l) for i, l in enumerate(lines) if l.get("mark") == "eod"]
got = {}
for i, l in eods:
    got.setdefault(l["data"]["calendar"], []).append(day(l["data"]["day"]))
    assert "ends" in l["data"], l
want = [first + datetime.timedelta(n) for n in range((second - first).days)]
print("missed", [str(d) for d in want], "tokyo", got.get("tokyo"))
assert len(want) >= 2 and got["default"][:len(want)] == want, (got, want)
# a calendar that is new begins where the default one stood: it owns rows of that date, and ends it
assert got["tokyo"][:(third - first).days] == [first + datetime.timedelta(n) for n in range((third - first).days)], (got, third)
sym = [next(i for i, l in enumerate(lines) if l.get("sym") == s) for s in ("FIRST", "SECOND")]
assert all(sym[0] < i < sym[1] for i, l in eods if l["data"]["calendar"] == "default" and day(l["data"]["day"]) < second)
PY
stands FOURTH "$(where SECOND)"
calendars 'zone: Etc/GMT-14, eod_time: "-23:59:59"'
start
grep -q "calendar tokyo is no longer configured, and $(where THIRD) to" "$work/daemon.log" || die "no word about the calendar that is gone"
stop || die "the third stop"
rm -rf "$work/log" "$work/state"

# ---- a year off: the marks come at once, in one file, and only business days are worth an alarm ----
shift=$BUILD/tests/shift_clock.so
if [ -f "$shift" ] && ! ldd "$bin/penstockd" | grep -q lib.san; then
    off=$(python3 -c "import time; print(', '.join(time.strftime('%Y-%m-%d', time.gmtime(time.time() - i * 86400)) for i in range(402)))")
    calendars 'zone: UTC' "zone: UTC, late_window: 1h, holidays: [$off]"
    LD_PRELOAD=$shift PST_SHIFT_CLOCK=-34560000 start # 400 days ago
    row trade YEAR
    stop || die "last year's stop"
    start
    row trade TODAY # durable: the marks before it are too
    p alarms >"$work/alarms.txt"
    grep -q "dates.missed.*default" "$work/alarms.txt" || die "no alarm: $(cat "$work/alarms.txt")"
    grep -q "dates.missed.*tokyo" "$work/alarms.txt" && die "an alarm for days off: $(cat "$work/alarms.txt")"
    p ack dates.missed >/dev/null || die "ack"
    stop || die "today's stop"
    "$bin/penstock" log dump "$work/log" --marks --json | python3 -c "
import datetime, json, sys
days = {}
for l in map(json.loads, sys.stdin):
    if l.get('mark') == 'eod':
        days.setdefault(l['data']['calendar'], []).append(datetime.date(*map(int, l['data']['day'].split('.'))))
for name, got in days.items():
    assert got == [got[0] + datetime.timedelta(n) for n in range(len(got))] and len(got) >= 399, (name, len(got))
assert len(days) == 2" || die "the ends of a year"
    [ "$(ls "$work/log" | grep -c '^log2')" -le 3 ] || die "files of a year: $(ls "$work/log" | wc -l)"
    rm -rf "$work/log" "$work/state"
fi

# ---- the late window: instants of the wall clock, further apart where the machine is too slow for them ----
of() { printf -- '-%02d:%02d:%02d' $(($1 / 3600)) $(($1 / 60 % 60)) $(($1 % 60)); }
before() { [ "$(date +%s)" -lt "$1" ]; }
closed() { # the file that this daemon wrote of the date that both have ended; what a SIGKILL left stays without its end
    "$bin/penstock" log ls "$work/log" --json >"$work/ls.json" && python3 - "$work/ls.json" "$old" "$told" <<'PY'
import json, sys
files, ended = json.load(open(sys.argv[1])), min(sys.argv[2:])
last = max((f for f in files if f["day"] <= ended), key=lambda f: f["first"])
sys.exit(last["state"] != "closed" or not any(f["day"] > ended and f["state"] == "open" for f in files))
PY
}
window() { # SCALE: returns 1 when a row came after the instant that it had to be before
    rm -rf "$work/log" "$work/state"
    turn=$(($(date +%s) + 3 * $1))
    [ $((turn % 86400)) -gt 5 ] && [ $((turn % 86400)) -lt 86300 ] || turn=$((turn + 110)) # midnight is another test's
    tokyo=$((turn + 4 * $1)) over=$((turn + 9 * $1))
    old=$(utc $turn) new=$(utc $((turn + 86400)))
    told=$(utc $((tokyo + 32400))) tnew=$(utc $((tokyo + 32400 + 86400)))
    calendars "zone: UTC, late_window: $((over - turn))s, eod_time: \"$(of $((86400 - turn % 86400)))\"" \
        "zone: Asia/Tokyo, eod_time: \"$(of $((86400 - (tokyo + 32400) % 86400)))\""
    start
    row trade A1 $((turn - 1))
    row bond A2 $((turn - 1))
    reaches $turn
    row trade B1 $((turn - 1)) # the date that has ended is still open,
    row trade B2 $turn         # and so is the next one
    row trade B3
    row bond B4 $turn
    before $tokyo || return 1
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
    start
    reaches $tokyo
    row trade C1 $((turn - 1))
    row trade C2 $((turn + 1))
    row bond C3 $((tokyo + 1))
    before $over || return 1
    reaches $over
    row trade D1 $((turn - 1)) # too late
    row trade D2
}
for scale in 1 3 9; do
    window $scale && break
    [ $scale -lt 9 ] || die "too slow for instants $scale times as far apart"
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
done
late=$(p counters --json | grep -A1 '"append.late_day"' | tr -dc '0-9')
[ "$late" = 1 ] || die "append.late_day is $late"
for _ in $(seq 100); do closed && break; sleep 0.1; done
closed || die "a closed day's file is open: $(cat "$work/ls.json")"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start # neither date ends again
row trade E1
row bond E2
stop || die "the last stop"
for s in A1 B1 C1; do stands $s "$old"; done
for s in B2 B3 C2 D1 D2 E1; do stands $s "$new"; done
for s in A2 B4; do stands $s "$told"; done
for s in C3 E2; do stands $s "$tnew"; done
"$bin/penstock" log verify "$work/log" >"$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"
"$bin/penstock" log dump "$work/log" --marks --json | python3 -c "
import json, sys
eods = [(l['data']['calendar'], l['data']['day']) for l in map(json.loads, sys.stdin) if l.get('mark') == 'eod']
print(eods)
assert eods == [('tokyo', '$told'), ('default', '$old')], eods" || die "the ends are not those of the calendars"
exit 0
