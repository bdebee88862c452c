#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# eod.sh: kill -9 at each step of an end of day and of a rebuild, then a restart: the date is there as
# the log has it, once, with the same content hash, and nothing is left beside it. All points with
# PST_ALL=1, else some of them, rotating by PST_SEED.
. "$(dirname "$0")/../system/lib.sh"
here=$(dirname "$0")/../system
workdir
HDB=$work/hdb
PORTS=" " FEEDS=" " RING=32M
eod=(day.before_closed day.closed day.step:1 day.step:5 day.step:20 day.staged day.published day.before_written day.written
    day.release stage.marked sym.append sym.appended sym.synced writedown.stage writedown.sym writedown.table writedown.hashed
    writedown.column:3 writedown.synced publish.synced publish.renamed publish.durable)
rebuild=(day.step:3 day.staged day.published writedown.column:2 publish.table:1 publish.table:2 publish.aside publish.durable)
some() { # every tenth of the points of list $1, at least two
    local -n list=$1
    local n=${#list[@]} i
    if [ -n "${PST_ALL:-}" ]; then printf '%s\n' "${list[@]}"; return; fi
    for i in $(seq 0 $(((n + 9) / 10))); do printf '%s\n' "${list[$(((seed + i * 7) % n))]}"; done
}
config "database: $HDB
rdb_memory: 128M
eod_retry: 200ms
database_low_space: 1M
query_processes: 0
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long, note: string}}
  quote: {columns: {time: timestamp, sym: symbol, bid: float, ask: float}}"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
python3 -c "
print('sym,price,size,note')
for i in range(4000): print('S%d,%s,%d,%s' % (i * 7919 % 300, i / 8, i, 'x' * (i % 30)))" >"$work/trade.csv"
python3 -c "
print('sym,bid,ask')
for i in range(1000): print('Q%d,%s,%s' % (i * 31 % 200, i / 4, i / 4 + 1))" >"$work/quote.csv"

launch() { PST_FAULT_AT=$1 "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 & daemon=$!; }
answers() { for _ in $(seq 200); do p commands >/dev/null 2>&1 && return; kill -0 "$daemon" 2>/dev/null || return 1; sleep 0.02; done; die "penstockd does not answer"; }
killed() { # POINT: it was reached
    for _ in $(seq 300); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.02; done
    kill -0 "$daemon" 2>/dev/null && die "$1 was not reached"
    wait "$daemon" 2>/dev/null; code=$?; daemon=
    [ $code = 137 ] || die "$1: exit code $code, not a kill"
}
step() { figure eod "[d['step'] for d in r['days'] if d['day'] == '$1'] and [d['step'] for d in r['days'] if d['day'] == '$1'][0]"; }
until_written() { for _ in $(seq 200); do case $(step "$1") in written*) return ;; esac; sleep 0.05; done; die "$1 is $(step "$1"): $(p eod)"; }
hash() { for t in trade quote; do head -1 "$HDB/$1/$t/.pstmeta" | python3 -c 'import json,sys; r=json.load(sys.stdin); print(r["table"], r["rows"], r["hash"])'; done; }
whole() { # DATE WHEN: as the log has it, nothing beside it
    "$bin/penstock" log dump "$work/log" --json >"$work/dump.json" || die "log dump"
    grep -h '"table":"\(trade\|quote\)"' "$work/dump.json" >"$work/rows.json"
    python3 "$here/hdbread.py" "$HDB" "$1" "$work/rows.json" trade=4000 quote=1000 >"$work/out" || die "$2: $(cat "$work/out")"
    [ -z "$(find "$HDB" -name '*$' -not -name 'pst$')" ] || die "$2: left over: $(find "$HDB" -name '*$')"
}

tried=0
for point in $(some eod); do
    rm -rf "$work/log" "$work/state" "$HDB"
    case $point in *:*) at=$point ;; *) at=$point:1 ;; esac
    launch "$at"
    answers || die "$point: no start"
    p publish trade "$work/trade.csv" >/dev/null && p publish quote "$work/quote.csv" >/dev/null || die "$point: publish"
    d=$(figure eod 'r["calendars"][0]["open"]')
    p eod run --yes --no-wait >/dev/null 2>&1
    killed "$point"
    if [ -d "$HDB/$d" ]; then # whole or not at all, also before anything is repaired
        "$bin/penstock" log dump "$work/log" --json | grep '"table":"\(trade\|quote\)"' >"$work/rows.json"
        python3 "$here/hdbread.py" "$HDB" "$d" "$work/rows.json" trade=4000 quote=1000 --dirty >"$work/out" || die "$point: half a date: $(cat "$work/out")"
    fi
    start
    # a kill before the mark was durable: the date is still open
    [ "$(figure eod 'r["calendars"][0]["open"]')" = "$d" ] && { p eod run --yes --no-wait >/dev/null || die "$point: eod run"; }
    until_written "$d"
    settle || die "$point: the ledger does not balance"
    p ledger --json | python3 -c 'import json,sys; assert json.load(sys.stdin)["rdb"]["diff"] == 0' || die "$point: rdb"
    stop || die "$point: the daemon's exit code"
    whole "$d" "$point"
    tried=$((tried + 1))
done

# a rebuild: old or new, never between
rm -rf "$work/log" "$work/state" "$HDB"
start
p publish trade "$work/trade.csv" >/dev/null && p publish quote "$work/quote.csv" >/dev/null || die "publish"
d=$(figure eod 'r["calendars"][0]["open"]')
p eod run --yes >/dev/null || die "eod run"
want=$(hash "$d")
stop || die "the daemon's exit code"
for point in $(some rebuild); do
    case $point in *:*) at=$point ;; *) at=$point:1 ;; esac
    launch "$at"
    answers || die "$point: no start"
    for _ in $(seq 100); do [ "$(figure eod 'int(r["database"]["loaded"])')" = 1 ] && break; sleep 0.02; done
    p rebuild "$d" --yes >"$work/out" 2>&1
    case $point in publish.aside) # only where directories cannot be exchanged
        if kill -0 "$daemon" 2>/dev/null; then stop || die "$point"; whole "$d" "$point"; continue; fi ;;
    esac
    killed "rebuild $point"
    python3 "$here/hdbread.py" "$HDB" "$d" "$work/rows.json" --counts --dirty >"$work/counts" || die "$point: half a date"
    [ "$(hash "$d")" = "$want" ] || die "rebuild $point: $(hash "$d"), not $want"
    start
    for _ in $(seq 100); do [ "$(figure eod 'int(r["database"]["loaded"])')" = 1 ] && break; sleep 0.02; done
    p rebuild "$d" --yes >"$work/out" 2>&1 || die "rebuild after $point: $(cat "$work/out")"
    stop || die "$point: the daemon's exit code"
    whole "$d" "rebuild $point"
    [ "$(hash "$d")" = "$want" ] || die "rebuild after $point: other content"
    tried=$((tried + 1))
done
echo "$tried points"
exit 0
