#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-basic.sh: the first scenario (EX-02 to EX-04): tables trade, quote and aggregate, the three ports given, a log
# and a database; feeds for trade and quote; subscribers that count, one of them killed, another stopped: the rest
# lose nothing. The end of day reaches everybody, and the rows stand in the database.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
enter_namespace "$@"
PORTS=" " FEEDS=" "
config "database: $work/hdb
database_low_space: 1M
rdb_memory: 256M
query_processes: 1
consumer_disconnect_size: 1M
ipc: {tickerplant: 5010, rdb: 5012, hdb: 5011}
tables:
  trade: {columns: {time: timestamp, sym: symbol, exchange: symbol, sz: long, px: float}}
  quote: {columns: {time: timestamp, sym: symbol, exchange: symbol, bid: float, ask: float, bidsz: long, asksz: long}}
  aggregate: {columns: {time: timestamp, sym: symbol, trdvol: long, maxpx: float, minpx: float, maxbpx: float, minapx: float, baspread: float}}"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
export PYTHONPATH=$here/../support
client="/usr/bin/python3 $here/ipc-basic.py"
soon() { # COMMAND...: until it succeeds, twenty seconds at most
    for _ in $(seq 400); do "$@" && return; sleep 0.05; done
    die "not so within twenty seconds: $*"
}
says() { grep -q "$2" "$work/$1"; }
ask() { $client check "$1" "$2" 2>/dev/null; }
answers() { [ "$(ask "$1" "$2")" = "$3" ]; }

start
$client count trade,quote,aggregate 5010 >"$work/all" & all=$! others="$others $!"
$client count trade 5010 >"$work/victim" & victim=$! others="$others $!"
$client count quote 5010 >"$work/stuck" & stuck=$! others="$others $!"
for s in all victim stuck; do soon says $s subscribed; done
$client feed trade 5010 >"$work/trade" & trade=$! others="$others $!"
$client feed quote 5010 >"$work/quote" & quote=$! others="$others $!"
soon says trade "first rows"
soon says quote "first rows"
sleep 0.5
kill -9 "$victim"
kill -STOP "$stuck"
sleep 1.5
$client aggregate 5010 >"$work/refused" || die "aggregate: $(cat "$work/refused")"
kill "$trade" "$quote"
wait "$trade" || die "the trade feed"
wait "$quote" || die "the quote feed"
trades=$(tail -1 "$work/trade") quotes=$(tail -1 "$work/quote")
soon answers 5012 "select count(*) n from trade" "$trades"
soon answers 5012 "select count(*) n from quote" "$quotes"
soon answers 5012 "select trdvol, maxpx, baspread from aggregate" "100 9.5 0.25"
answers 5011 "select count(*) n from trade" 0 || die "the HDB's port has rows of memory"
p eod run --yes >/dev/null || die "eod run"
soon says all "^end"
grep -q "trade $trades quote $quotes aggregate 1$" "$work/all" || die "counted $(cat "$work/all"), not trade $trades quote $quotes"
soon answers 5011 "select count(*) n from trade" "$trades"
soon answers 5011 "select count(*) n, count(distinct sym) s from quote" "$quotes 6"
soon answers 5012 "select count(*) n from trade" 0
answers 5010 "select count(*) n from quote" "$quotes" || die "the tickerplant's port shows both as one"

# the same from the shell
p sub trade --from begin --count 5 --json >"$work/out" 2>"$work/err" || die "sub: $(cat "$work/err")"
[ "$(grep -c '"table":"trade"' "$work/out")" = 5 ] || die "sub: $(cat "$work/out")"
if grep schema "$work/err"; then die "sub tells of schemas that nobody asked about"; fi
p sub trade --from begin --count 1 --marks >"$work/out" 2>"$work/err" || die "sub --marks: $(cat "$work/err")"
grep -q "^kind schema.*table quote" "$work/err" || die "sub --marks: $(cat "$work/err")"
p sub nothing --count 1 >"$work/out" 2>"$work/err"; code=$?
if [ $code != 1 ] || ! grep -q nothing "$work/err"; then die "sub of no table: $code, $(cat "$work/err")"; fi
kill -CONT "$stuck"
kill "$stuck" "$all" 2>/dev/null
wait "$all" || die "the counter: $(cat "$work/all")"
settle || die "the ledger does not balance"
stop || die "the daemon's end"
echo "basic: $trades trades, $quotes quotes"
