#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# streams.sh: the interval log as a user sees it: a capture replayed on its own clock with and without
# interval tables, and a daemon on a shifted clock: restart and kill in an interval, the next interval, the
# end of the day. The files are read by streams.py, a reader of its own.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
workdir

# ---- a replay: five minutes in which the date ends ----
"$sim" --pcap "$work/a.pcap" --start 09:29:30 --duration 300 --rate 200 --symbols 300 --quiet || die "simulator"
PORTS="ports:
  - {name: c, device: none, groups: [{group: \"239.192.1.1:26400\", feed: itch, line: A}, {group: \"239.192.1.2:26400\", feed: itch, line: B}]}"
replay() { # NAME [KEYS]
    config "${2:-}"
    sed 's|^calendar: .*|calendar: {zone: America/New_York, eod_time: "-14:26:30"}|' "$work/p.yaml" >"$work/$1.yaml" # 09:33:30
    "$bin/penstockd" --replay "$work/a.pcap" --config "$work/$1.yaml" --dir "$work/$1" --database "$work/$1.hdb" --eod --json \
        >"$work/$1.json" 2>"$work/$1.err" || die "replay $1: $(tail -3 "$work/$1.err")" &
}
names() { for f in "$work/$1/log"/log*; do basename "$f"; done | grep '^logi' | tr '\n' ' '; }
replay plain
replay twos "intraday_freq: 2
intraday_tables: [itch_order, itch_trade]
eoi_offset: -3"
replay ones "intraday_freq: 1
intraday_tables: [itch_order]"
for j in $(jobs -p); do wait "$j" || die "a replay failed"; done
[ -z "$(names plain)" ] || die "interval files without intervals: $(names plain)"
got=$(names ones)
[ "$got" = "logi.2026.11.20.0929 logi.2026.11.20.0930 logi.2026.11.20.0931 logi.2026.11.20.0932 logi.2026.11.20.0933 logi.2026.11.21.0933 logi.2026.11.21.0934 " ] || die "intraday_freq 1: $got"
got=$(names twos) # aligned to odd minutes, by eoi_offset
[ "$got" = "logi.2026.11.20.0929 logi.2026.11.20.0931 logi.2026.11.20.0933 logi.2026.11.21.0933 " ] || die "intraday_freq 2, eoi_offset -3: $got"
python3 "$here/streams.py" "$work/ones/log" itch_order 1 0 America/New_York >"$work/ones.txt" || die "files of one minute: $(cat "$work/ones.txt")"
python3 "$here/streams.py" "$work/twos/log" itch_order,itch_trade 2 -3 America/New_York >"$work/twos.txt" || die "files of two minutes: $(cat "$work/twos.txt")"
tail -1 "$work/ones.txt"
# the same rows, the same database to the byte
python3 - "$work" <<'PY' || die "the replays differ"
import json, sys
def tables(n):
    r = json.load(open(f"{sys.argv[1]}/{n}.json"))
    assert r["ledger"]["balanced"], n
    return sorted((t["table"], t["day"], t["rows"], t["hash"]) for t in r["tables"] if t["table"] != "alarm")
a = tables("plain")
assert a == tables("ones") == tables("twos") and sum(t[2] for t in a) > 50000, a
PY
for n in ones twos; do
    diff -rq -x .pstmeta -x alarm -x lock "$work/plain.hdb" "$work/$n.hdb" >"$work/diff.txt" || die "the databases differ: $(head -3 "$work/diff.txt")"
done
"$bin/penstock" log dump "$work/ones/log/logi.2026.11.20.0931" --marks --json | tail -1 >"$work/last.json"
grep -q '"mark":"eoi".*"to":"2026.11.20D14:32:00.000000000","next":"2026.11.20.0932"' "$work/last.json" || die "the last frame: $(cat "$work/last.json")"
grep -q '"file":"logi.2026.11.20.0931".*"stream":1.*"state":"closed"' "$work/ones/state/catalogue" || die "the catalogue: $(cat "$work/ones/state/catalogue")"
"$bin/penstock" log verify "$work/ones/log" >"$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"

# ---- a daemon, its clock moved ----
shift=$BUILD/tests/shift_clock.so
[ -f "$shift" ] && ! ldd "$bin/penstockd" | grep -q lib.san || exit 0
PORTS=" " FEEDS=" " RING=32M
config "intraday_freq: 1
intraday_tables: [trade]
database: $work/hdb
rdb_memory: 256M
tables:
  trade: {columns: {time: timestamp, sym: symbol, size: long}}
  bond: {columns: {time: timestamp, sym: symbol, size: long}}"
sed -i "/^ *\$/d; /^feeds:/d; s|^calendar: .*|calendar: {zone: America/New_York, eod_time: \"10:02\"}|" "$work/p.yaml"
today=$(date -d "yesterday" +%F)
at() { # HH:MM:SS [DATE]: the daemon starts at that time in New York
    export PST_SHIFT_CLOCK=$(($(TZ=America/New_York date -d "${2:-$today} $1" +%s) - $(date +%s)))
    LD_PRELOAD=$shift start
}
rows=0
row() { # N rows of each table
    for t in trade bond; do
        for i in $(seq "$1"); do echo "S$((i % 7)),$((rows + i))"; done | sed '1i sym,size' | p publish $t - >/dev/null || die "publish $t"
    done
    rows=$((rows + $1))
}
at 10:00:03; row 10; stop || die "the first stop"             # 2026.11.20: its 10:00 file …
at 10:00:20; row 20; kill -9 "$daemon"; wait "$daemon" 2>/dev/null # … is continued by .1 after a restart
at 10:00:40; row 30                                            # and by .2 after a kill
for _ in $(seq 50); do p ledger >/dev/null && break; sleep 0.1; done
stop || die "the third stop"
at 10:01:10; row 40; stop || die "the fourth stop"            # the next interval: its mark comes at the start
at 10:01:58; row 5                                             # the date ends while it runs; .1, or the next date where that took long
for _ in $(seq 100); do
    [ "$(figure eod 'r["calendars"][0]["open"]')" = "$(date -d "$today" +%Y.%m.%d)" ] && break
    sleep 0.1
done
row 50
count() { p sql "select count(*) from trade" --format csv -q 2>/dev/null | tail -1; }
for _ in $(seq 100); do [ "$(count)" = $rows ] && break; sleep 0.1; done
[ "$(count)" = $rows ] || die "$(count) rows of $rows are seen"
stop || die "the last stop"
old=$(date -d "$today - 1 day" +%Y.%m.%d) new=$(date -d "$today" +%Y.%m.%d)
got=$(for f in "$work/log"/logi*; do basename "$f"; done | tr '\n' ' ')
want="logi.$old.1000 logi.$old.1000.1 logi.$old.1000.2 logi.$old.1001 logi.$new.1002 "
[ "$got" = "$want" ] || [ "$got" = "${want/.1001 /.1001 logi.$old.1001.1 }" ] || die "files: $got"
python3 "$here/streams.py" "$work/log" trade 1 0 America/New_York open >"$work/live.txt" || die "files of the daemon: $(cat "$work/live.txt")"
grep -q "rows daily .* interval $rows " "$work/live.txt" || die "rows of $rows: $(cat "$work/live.txt")"
tail -1 "$work/live.txt"
for f in "$work/log"/log*"$old"*; do "$bin/penstock" log dump "$f" --json || die "log dump"; done >"$work/rows.json"
python3 "$here/hdbread.py" "$work/hdb" "$old" "$work/rows.json" >"$work/out" 2>&1 || die "the database: $(cat "$work/out")"
"$bin/penstock" log verify "$work/log" >"$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"

# ---- log_keep: four days later the first date's log goes, once its partitions are read back; a damaged one stays ----
left() { for f in "$work/log"/log*"$1"*; do [ -e "$f" ] && basename "$f"; done | wc -l; }
later=$(date -d "$today + 4 days" +%F)
before=$(left "$old")
at 11:00:00 "$later" # log_keep is 0: nothing goes
for _ in $(seq 100); do grep -q "end of day $new (default)" "$work/daemon.log" && break; sleep 0.1; done
sleep 1.2
[ "$(left "$old")" = "$before" ] && [ "$(figure counters "[c['value'] for c in r['counters'] if c['name'] == 'log.expired'][0]")" = 0 ] || die "log_keep 0: $before files of $old became $(left "$old")"
stop || die "the stop before log_keep"
sed -i "s/^intraday_freq/log_keep: 2\nintraday_freq/" "$work/p.yaml"
cp "$work/hdb/$old/trade/size" "$work/size"
printf '\377' | dd of="$work/hdb/$old/trade/size" bs=1 seek=40 conv=notrunc status=none
at 11:00:00 "$later"
for _ in $(seq 150); do grep -q "the log of $old stays" "$work/daemon.log" && break; sleep 0.1; done
grep -q "the log of $old stays: $old in the database has 1 damages" "$work/daemon.log" || die "damage was not found"
[ "$(left "$old")" = "$before" ] || die "the log of a damaged date went"
stop || die "the stop with damage"
cp "$work/size" "$work/hdb/$old/trade/size"
at 11:00:00 "$later"
for _ in $(seq 150); do [ "$(left "$old")" = 0 ] && break; sleep 0.1; done
[ "$(left "$old")" = 0 ] || die "log_keep: $(left "$old") files of $old are left"
said() { grep -c "^penstockd: log file .*is in the database, verified" "$work/daemon.log"; }
for _ in $(seq 100); do [ "$(said)" -ge "$before" ] && break; sleep 0.1; done
[ "$(said)" -ge "$before" ] || die "nothing was said"
row 3
count() { p sql "select count(*) from trade" --format csv -q 2>/dev/null | tail -1; }
for _ in $(seq 100); do [ "$(count)" = $rows ] && break; sleep 0.1; done
[ "$(count)" = $rows ] || die "$(count) rows of $rows are seen without the first logs"
stop || die "the stop after log_keep"
grep '"removed"' "$work/state/catalogue" | grep -q "logi.$old.1000" || die "the catalogue does not say that the file is gone"
"$bin/penstock" log verify "$work/log" >"$work/verify.txt" || die "log verify: $(cat "$work/verify.txt")"
exit 0
