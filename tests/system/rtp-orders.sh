#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rtp-orders.sh CASE: the processor orders from the wire to trade and bbo, row by row against tests/system/orders.py.
#   real   the real ITCH slice; the process is killed and the daemon restarted on the way; memory, then the database
#   night  the real slice as one session over three dates, the process and the daemon killed in each
#   sim    the simulator's flow, live; the process is killed again and again
. "$(dirname "$0")/lib.sh"
name=$1
RING=64M PREALLOCATE=8M LEVEL=written
enter_namespace "$@"
orders="python3 $SOURCE/tests/system/orders.py"
slice=${PST_DATA:-$SOURCE/../shared/data}/itch50/itch_runk_locate13_10k.bin
if [ "$name" != sim ] && [ ! -d "${PST_DATA:-$SOURCE/../shared/data}" ]; then skip "no real captures (PST_DATA names another folder)"; fi

config "database: $work/db
rtp:
  - name: orders
    vanilla: false
    processors: [orders]"

ask() { p sql "$1" --format csv -q --max-rows 1000000 || die "sql: $1"; }
columns_trade="time::long, sym, seq, type, price, size, side, match, printable, cross, ref"
columns_bbo="time::long, sym, seq, bid, bsize, ask, asize"
process() { p rtp --json | python3 -IS -c 'import json,sys; print(json.load(sys.stdin)["groups"][0]["processes"][0]["pid"])'; }
derived() { p sql "SELECT count(*) FROM trade" --format csv -q | tail -1; p sql "SELECT count(*) FROM bbo" --format csv -q | tail -1; }
kill_process() { # and wait until another one has taken over
    old=$(process); kill -9 "$old" || die "no process $old"
    for _ in $(seq 200); do new=$(process 2>/dev/null); [ -n "$new" ] && [ "$new" != "$old" ] && [ "$new" != 0 ] && return; sleep 0.05; done
    die "no new process"
}
until_derived() { # TRADES BBOS
    for _ in $(seq 300); do [ "$(derived | tr '\n' ' ')" = "$1 $2 " ] && return; sleep 0.1; done
    p rtp; die "derived rows: $(derived | tr '\n' ' '), not $1 $2"
}
compare() { # DATE [sorted]
    for kind in trade bbo valid; do
        table=$kind columns=$columns_bbo
        [ $kind = bbo ] || columns=$columns_trade
        if [ $kind = valid ]; then table=trade_valid columns=${columns_trade/printable/true}; fi
        ask "SELECT $columns FROM $table WHERE date = '$1'" >"$work/got.$kind"
        $orders same "$work/want.$kind" "$work/got.$kind" ${2:-} || die "$table differs from the reference"
    done
}
want() { # MESSAGES
    for kind in trade bbo valid; do $orders rows "$1" "$today" America/New_York $kind "$work/want.$kind" || die "reference"; done
    trades=$(wc -l <"$work/want.trade") bbos=$(wc -l <"$work/want.bbo")
}
packets() { # FIRST LAST
    $orders pcap "$slice" "$work/part.pcap" "$1" "$2" || die "pcap"
    "$sim" --replay "$work/part.pcap" --iface out --pps 4000 --quiet || die "the simulator failed"
}

today=$(TZ=America/New_York date +%F)
case $name in
real)
    want "$slice"
    start
    packets 1 2500
    kill_process
    packets 2501 5000
    settle || die "the ledger does not settle"
    stop || die "stop"
    start # with a book of open orders, to be made again from the log
    packets 5001 7000
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=
    start
    packets 7001 10000
    until_derived "$trades" "$bbos"
    compare "$today"
    [ "$(ask "SELECT count(*) FROM trade WHERE feed <> 'itch' OR session <> 'slice' OR flags <> 0" | tail -1)" = 0 ] ||
        die "feed, session or flags"
    # the same rows from the database
    p eod run --yes >"$work/eod" 2>&1 || die "end of day: $(cat "$work/eod")"
    for _ in $(seq 100); do [ -d "$work/db/${today//-/.}/bbo" ] && break; sleep 0.1; done
    [ -d "$work/db/${today//-/.}/bbo" ] || die "no partition of bbo"
    compare "$today" sorted
    stop
    ;;
night)
    # one session over three dates, its day ended twice under it: what rests stays known through deaths
    want "$slice"
    start
    packets 1 3000
    settle || die "the ledger does not settle"
    p eod run --yes >"$work/eod" 2>&1 || die "end of day: $(cat "$work/eod")"
    packets 3001 5000
    settle || die "the ledger does not settle"
    kill_process # its source stands in the second date; the adds are in the first
    packets 5001 6000
    settle || die "the ledger does not settle"
    p eod run "$(date -d "$today + 1 day" +%Y.%m.%d)" --yes >"$work/eod" 2>&1 || die "end of day: $(cat "$work/eod")"
    stop || die "stop"
    start # nothing of the third date is there yet
    packets 6001 8000
    settle || die "the ledger does not settle"
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=
    start
    packets 8001 10000
    until_derived "$trades" "$bbos"
    for kind in trade bbo; do
        columns=$columns_bbo
        [ $kind = bbo ] || columns=$columns_trade
        ask "SELECT $columns FROM $kind ORDER BY seq" >"$work/got.$kind"
        $orders same "$work/want.$kind" "$work/got.$kind" || die "$kind differs from the reference"
    done
    [ "$(ask "SELECT count(distinct date) FROM bbo" | tail -1)" = 3 ] || die "not three dates"
    [ "$(ask "SELECT count(*) FROM bbo WHERE flags > 2" | tail -1)" = 0 ] || die "flags"
    ! grep -q "holds nothing before" "$work/daemon.log" || die "said of a log that is whole"
    # a group that is new makes rows of the open date only, from books that know what rests since the first
    third=$(date -d "$today + 2 days" +%F)
    trades2=$(ask "SELECT count(*) FROM trade WHERE date = '$third'" | tail -1) bbos2=$(ask "SELECT count(*) FROM bbo WHERE date = '$third'" | tail -1)
    [ "$trades2" -gt 0 ] && [ "$bbos2" -gt 0 ] || die "no rows of $third"
    stop || die "stop"
    sed -i 's/- name: orders$/- name: second/' "$work/p.yaml"
    start
    trades=$((trades + trades2)) bbos=$((bbos + bbos2))
    until_derived "$trades" "$bbos"
    for kind in trade bbo; do
        columns=$columns_bbo twice=$bbos2
        [ $kind = bbo ] || columns=$columns_trade twice=$trades2
        [ "$(ask "SELECT $columns FROM $kind WHERE date = '$third'" | tail -n +2 | sort | uniq -d | wc -l)" = "$twice" ] ||
            die "a new group makes other rows of $kind"
    done
    # the first date's log is away: said once, and it goes on
    mkdir "$work/away"; mv "$work"/log/*"${today//-/.}"* "$work/away/" || die "which file is $today's? $(ls "$work/log")"
    kill_process
    for _ in $(seq 100); do [ "$(p rtp call second orders --csv 2>/dev/null | wc -l)" -gt 1 ] && break; sleep 0.1; done
    [ "$(grep -c "holds nothing before" "$work/daemon.log")" = 1 ] || die "the missing start is not said once"
    until_derived "$trades" "$bbos"
    stop
    ;;
sim)
    start
    send --messages 100000 --rate 30000 --symbols 150 --resting 3000 &
    sender=$!
    kills=0
    while kill -0 "$sender" 2>/dev/null; do
        sleep 0.$((2 + seed % 7))
        seed=$((seed * 31 + 7)) kills=$((kills + 1))
        kill_process
    done
    wait "$sender" || die "the simulator failed"
    [ $kills -ge 2 ] || die "only $kills kills: the flow was too short"
    settle || die "the ledger does not settle"
    want "$work/truth"
    until_derived "$trades" "$bbos"
    compare "$today"
    broken=$(ask "SELECT count(*) FROM trade WHERE type = 'break'" | tail -1)
    [ "$broken" -gt 0 ] || die "the flow had no break"
    echo "$kills kills, $broken breaks"
    stop
    ;;
esac
echo "ok $name"
