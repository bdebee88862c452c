#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stream-builtin.sh CASE: the built-in analytics over a live feed: what each subscriber holds in the
# end (its state and all that came after) against a computation over all rows.
#   sim   ITCH of the market simulator, with subscribers from before, from in between and from after
#   moved the same, and the process is killed three times meanwhile: its streams begin again with their state
#   iex   a real capture on the wire
#   mon   .monPublic.sub, lists, sentences, the end of the day
#   window while two dates are open, whoever joins has the bars of both
. "$(dirname "$0")/lib.sh"
name=$1
SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
RING=64M PREALLOCATE=8M
[ "$name" = iex ] && GROUPS_YAML='      - {group: "224.67.0.199:16642", feed: iex, line: A}' FEEDS='  - {name: iex, framing: iex-tp, decoder: iex, zone: America/New_York}'
case $name in mon | window) PORTS=" " FEEDS=" " ;; esac
enter_namespace "$@"

stream() { # FILE NAME KEY=VALUE...: a subscriber that stays
    file=$work/$1.json; shift
    "$bin/penstock" --json --socket "$work/s.sock" stream "$@" >"$file" 2>>"$work/notices" &
    others="$others $!"
}
begun() { # FILE...: each has its state
    for f; do
        for _ in $(seq 200); do [ -s "$work/$f.json" ] && break; sleep 0.05; done
        [ -s "$work/$f.json" ] || die "stream $f has no state: $(cat "$work/notices")"
    done
}
all() { # TABLE PRICE SIZE: its rows
    p sql "SELECT seq, time, sym, $2, $3 FROM $1 ORDER BY seq" --format csv -q >"$work/rows.csv" || die "sql"
}
agree() { # PRICE SIZE STREAM...: until they do
    for _ in $(seq 60); do
        python3 -IS "$SOURCE/tests/system/stream-builtin.py" "$work/rows.csv" "$@" >"$work/agree" && break
        sleep 0.2
        false
    done || die "$(tail -1 "$work/agree"); $(cat "$work/notices")"
    cat "$work/agree"
}
streams() { # PREFIX TABLE PRICE SIZE: one of each
    stream "$1.last" last table="$2" columns="$3,$4"
    stream "$1.ohlc" ohlc table="$2" price="$3" size="$4" interval=0D00:00:01
    stream "$1.vwap" vwap table="$2" price="$3" size="$4" interval=0D00:01:00 every=0D00:00:00.2
    stream "$1.closed" ohlc table="$2" price="$3" size="$4" interval=0D00:00:01 closed=1
    stream "$1.threshold" threshold table="$2" column="$3" above=30 hysteresis=2
}
specs() { # PREFIX: what to compare
    w=$work/$1
    echo "last,$w.last.json ohlc,$w.ohlc.json threshold,$w.threshold.json,above=30,hysteresis=2 ohlc,$w.closed.json" \
        "vwap,$w.vwap.json,minutes=1,open=1"
}

case $name in
sim | moved)
    config
    start
    streams early itch_trade price shares
    stream early.filter filter table=itch_trade columns=sym,price where='price>=20.5'
    stream early.rate rate table=itch_trade size=shares window=0D00:00:02
    begun early.{last,ohlc,vwap,closed,threshold,filter,rate}
    send --rate 40000 --messages 200000 --symbols 300 &
    sending=$!
    if [ "$name" = moved ]; then
        for _ in 1 2 3; do
            sleep 1
            pid=$(p --json rtp list | grep -o '"pid": *[0-9]*' | grep -o '[0-9]*$' | head -1)
            kill -9 "$pid" || die "no process to kill: $(p rtp list)"
        done
    else
        sleep 4
    fi
    streams late itch_trade price shares
    stream some ohlc table=itch_trade size=shares interval=0D00:00:01 full=1
    begun late.{last,ohlc,vwap,closed,threshold}
    wait $sending || die "the simulator failed"
    settle || die "the ledger does not balance"
    streams after itch_trade price shares
    begun after.{last,ohlc,closed,threshold}
    all itch_trade price shares
    # shellcheck disable=SC2046
    agree price shares $(specs early) $(specs late) $(specs after)
    if [ "$name" = moved ]; then
        [ "$(grep -c '^moved' "$work/notices")" -ge 15 ] || die "clients were not told: $(sort "$work/notices" | uniq -c)"
    else # events are not told again; rates are counted from when they are asked for
        agree price shares "filter,$work/early.filter.json,least=20.5" "rate,$work/early.rate.json"
    fi
    # equal subscriptions are computed once: 5 analytics, and the three that only one has
    p --json stream show >"$work/show"
    n=$(grep -c '"analytic"\|"name"' "$work/show")
    [ "$n" = 8 ] || die "$n streams instead of 8: $(cat "$work/show")"
    stop
    ;;
iex)
    data=${PST_DATA:-$SOURCE/../shared/data}
    [ -d "$data" ] || skip "no real captures: $data is absent"
    config
    start
    streams early iex_trade price size
    stream early.filter filter table=iex_trade columns=sym,price where='price>=20.5'
    begun early.{last,ohlc,vwap,closed,threshold,filter}
    "$sim" --replay "$data/iex/iex_TOPS16.pcapng.gz" --iface out --flat-out --quiet || die "the simulator failed"
    settle || die "the ledger does not balance"
    all iex_trade price size
    streams late iex_trade price size
    begun late.{last,ohlc,vwap,closed,threshold}
    # shellcheck disable=SC2046
    agree price size $(specs early) $(specs late) "filter,$work/early.filter.json,least=20.5"
    stop
    ;;
mon)
    config "mon_cpu: 200ms
tables:
  px: {columns: {time: timestamp, sym: symbol, price: float, size: long}}"
    sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
    start
    # the textbook: by server, by thread, everything, nobody's
    stream threads .monPublic.sub syms=log,rdb
    stream server .monPublic.sub syms=test
    begun threads server
    sleep 1
    stream late .monPublic.sub
    begun late
    stream nobody .monPublic.sub syms=elsewhere
    sleep 1
    python3 -IS - "$work" <<'PY' || die "cpu streams"
import json, sys
def read(name):
    return [json.loads(x) for x in open("%s/%s.json" % (sys.argv[1], name)) if x.endswith("\n")]
def names(rows, kind):
    return {(r["server"], r["sym"]) for r in rows if r["kind"] == kind}
threads, server, late, nobody = (read(n) for n in ("threads", "server", "late", "nobody"))
mine = {("test", "log"), ("test", "rdb")}
assert names(threads, "update") == mine, names(threads, "update")
assert names(server, "update") > mine and names(late, "state") == names(late, "update")
assert names(late, "state") == names(server, "update"), "a late joiner has every thread at once"
state = [r for r in late if r["kind"] == "state"]
assert len(state) == len(names(late, "state")), "one row a key"
assert all(r.get("empty") for r in nobody), "nobody's rows"
for rows in threads, server, late: # each row once, in order
    for key in names(rows, "update"):
        times = [r["time"] for r in rows if (r.get("server"), r.get("sym")) == key]
        assert times == sorted(set(times)), times
assert len([r for r in threads if r["kind"] == "update"]) >= 2 * 6, len(threads)
PY
    # sentences
    refused() { # SENTENCE STREAM...
        what=$1; shift
        timeout 20 "$bin/penstock" --socket "$work/s.sock" stream "$@" >"$work/out" 2>&1 && die "$* is not refused"
        grep -q -- "$what" "$work/out" || die "$*: $(cat "$work/out")"
    }
    refused "no table nosuch" ohlc table=nosuch
    refused "prize is no condition\|prize>1 is no condition" filter table=px 'where=prize>1'
    refused "Give a limit" threshold table=px column=price
    refused "no column sizes" vwap table=px size=sizes
    p stream list >"$work/out"
    for a in filter last ohlc vwap rate threshold .monPublic.sub; do
        grep -q "^$a " "$work/out" || die "$a is not listed"
    done
    # the end of the day: every bar is told to be closed, the next day begins with nothing
    day=$(figure eod 'r["calendars"][0]["open"]')
    next=$(date -ud "${day//./-} + 1 day" +%F)
    rows() { printf 'time,sym,price,size\n'; printf "$1T%s,%s,%s,%s\n" 10:00:00 A 10 1 10:00:01 B 20 2 10:00:02 "" 5 1 10:00:03 A 11 3; }
    rows "${day//./-}" >"$work/px.csv"
    p publish px "$work/px.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    stream day ohlc table=px interval=0D00:00:00
    stream last last table=px
    begun day last
    p eod run "$day" --yes >"$work/out" 2>&1 || die "eod run: $(cat "$work/out")"
    for _ in $(seq 100); do [ "$(grep -c '"closed":\(1\|true\)' "$work/day.json")" = 3 ] && break; sleep 0.1; done
    [ "$(grep -c '"closed":\(1\|true\)' "$work/day.json")" = 3 ] || die "bars of a day that is over: $(cat "$work/day.json")"
    rows "$next" | sed 2q >"$work/px.csv"
    p publish px "$work/px.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    for _ in $(seq 100); do grep "update" "$work/day.json" | grep -q "$next\|${next//-/.}" && break; sleep 0.1; done
    grep "update" "$work/day.json" | grep -q "$next\|${next//-/.}" || die "the new day's bar: $(cat "$work/day.json")"
    timeout 20 "$bin/penstock" --json --socket "$work/s.sock" stream ohlc table=px interval=0D00:00:00 --count 1 >"$work/new" || die "stream"
    grep -q '"trades":1,' "$work/new" && grep -q "$next\|${next//-/.}" "$work/new" || die "a new day's bar: $(cat "$work/new")"
    stop
    ;;
window)
    for ahead in 4 12 40; do # it must be up before the date ends
        config "tables:
  px: {columns: {time: timestamp, sym: symbol, price: float, size: long}}"
        ends=$(($(date +%s) + ahead))
        sed -i "/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC, eod_time: \"$(date -ud "@$ends" +%T)\", late_window: 30m}/" "$work/p.yaml"
        start
        [ "$(date +%s)" -lt "$ends" ] && break
        stop
        rm -rf "$work/state" "$work/log"
    done
    sleep "$((ends - $(date +%s)))"
    for _ in $(seq 200); do p eod | grep -q ' and ' && break; sleep 0.1; done
    p eod | grep -q ' and ' || die "no two dates are open: $(p eod)"
    before=$(date -ud "@$((ends - 20))" +%FT%T) after=$(date -ud "@$ends" +%FT%T.5)
    printf "time,sym,price,size\n$before,A,10,1\n$after,A,20,1\n$before,A,11,1\n" >"$work/px.csv"
    p publish px "$work/px.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    stream day ohlc table=px interval=0D00:00:00
    begun day
    [ "$(grep -c '"state"' "$work/day.json")" = 2 ] || die "bars of two dates: $(cat "$work/day.json")"
    printf "time,sym,price,size\n$before,A,12,1\n" >"$work/px.csv"
    p publish px "$work/px.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    for _ in $(seq 100); do grep -q '"update"' "$work/day.json" && break; sleep 0.1; done
    grep '"update"' "$work/day.json" | grep -q '"open":10,"high":12,"low":10,"close":12,"volume":3,"trades":3' ||
        die "a late row of the older date: $(cat "$work/day.json")"
    stop
    ;;
esac
echo "ok $name"
