#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# keys.sh CASE: what configuration keys do, as a user sees it: the daemon runs with another value than the
# default. Each case is short, since tests/effects.sh runs it once for every key that it proves.
. "$(dirname "$0")/lib.sh"
name=$1
case $name in *) workdir ;; esac
PORTS=" " FEEDS=" " RING=${RING:-16M} PREALLOCATE=1M
trade="tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}]"

configure() { # LINES: a tickerplant without ports; a line of ours stands in place of config's own
    config
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
    printf '%s\n' "$1" | sed -n 's/^\([a-z_]*\):.*/\1/p' | while read -r key; do sed -i "/^$key:/d" "$work/p.yaml"; done
    case $1 in *time_zone:*) sed -i '/^calendar:/d' "$work/p.yaml" ;; esac
    printf '%s\n' "$1" >>"$work/p.yaml"
}
publish() { # ROWS...: time,sym,price
    { echo time,sym,price; printf '%s\n' "$@"; } | p publish trade - --level durable >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
}
is() { # WHAT GOT WANTED
    [ "$2" = "$3" ] || die "$1 is $2, not $3"
}

case $name in
shown) # times as the clocks of a zone read, and an hour later; what is stored stays UTC
    configure "time_zone: America/New_York
time_type: local
time_offset: 1.5
$trade"
    start
    publish 2026.11.20D12:00:00,A,1 2026.07.01D12:00:00.000000001,B,2
    want="2026.11.20D08:30:00.000000000 2026.07.01D09:30:00.000000001"
    times() { python3 -c 'import json,sys; print(*[json.loads(l)["time"] for l in sys.stdin])'; }
    is "tail --json" "$(p tail trade --json | times)" "$want"
    p tail trade | grep -q "^2026.11.20D08:30:00.000000000 A" || die "tail: $(p tail trade)"
    is "log dump" "$(p log dump --json | grep '"trade"' | times)" "$want"
    is "log dump of a directory" "$(p log dump "$work/log" --json | grep '"trade"' | times)" "2026.11.20D12:00:00.000000000 2026.07.01D12:00:00.000000001"
    is "log dump --zone" "$(p log dump "$work/log" trade --csv --zone Asia/Tokyo | sed -n '/A,1/s/,.*//p')" "2026.11.20D21:00:00.000000000"
    sql() { p sql "select time from trade where time > '2026-11-20T11:59' -- UTC" --format csv -q "$@" | tail -1; }
    for _ in $(seq 100); do [ -n "$(sql 2>/dev/null | grep D)" ] && break; sleep 0.05; done
    is "sql" "$(sql)" "2026.11.20D08:30:00.000000000"
    is "sql --zone UTC" "$(sql --zone UTC)" "2026.11.20D12:00:00.000000000"
    is "sql --iso" "$(sql --iso)" "2026-11-20T12:00:00.000000000Z"
    p tail trade --zone Nowhere/Land 2>"$work/err"
    is "tail in no zone: exit" "$?" 2
    grep -q "Nowhere/Land" "$work/err" || die "tail in no zone: $(cat "$work/err")"
    ;;
streamer) # another instance's log directories serve this one's log
    mkdir -p "$work/b"
    configure "$trade
log_streamer: other"
    sed 's/^instance:.*/instance: other/; /^log_streamer/d; s,/s.sock,/other.sock,; s,/state$,/b/state,; s,/log$,/b/log,' "$work/p.yaml" >"$work/b.yaml"
    echo "log_prefix: other" >>"$work/b.yaml" # its own files beside ours
    start
    publish 2026.11.20D12:00:00,A,1
    p log dump >"$work/out" 2>"$work/err" || true
    grep -q "log streamer other: .*; reading this instance's own files" "$work/err" || die "a streamer that is not there: $(cat "$work/err")"
    "$bin/penstockd" --config "$work/b.yaml" >>"$work/daemon.log" 2>&1 & others=$!
    for _ in $(seq 100); do "$bin/penstock" --socket "$work/other.sock" commands >/dev/null 2>&1 && break; sleep 0.05; done
    is "rows, with the streamer's empty directory" "$(p log dump --json 2>/dev/null | grep -c '"trade"')" 0
    cp "$work"/log/log* "$work/b/log/" || die "no log"
    is "rows, from the streamer's files" "$(p log dump --json | grep -c '"trade"')" 1
    mv "$work/log" "$work/gone" # nothing of ours is read any more
    is "rows, without our own files" "$(p log dump --json | grep -c '"trade"')" 1
    is "rows by tail" "$(p tail trade --json | grep -c '"trade"')" 1
    mv "$work/gone" "$work/log"
    ;;
*) die "no case $name" ;;
esac
[ -z "$daemon" ] || stop || die "the daemon's exit code"
exit 0
