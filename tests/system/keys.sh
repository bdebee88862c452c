#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# keys.sh CASE: what configuration keys do, as a user sees it: the daemon runs with another value than the
# default. Each case is short, since tests/effects.sh runs it once for every key that it proves.
. "$(dirname "$0")/lib.sh"
name=$1
RING=${RING:-16M} PREALLOCATE=1M
here=$(dirname "$0")
case $name in
messages) # feeds, by kernel sockets on the loopback interface (packets.py)
    enter_namespace "$@"
    ip link set lo multicast on; ip route add 239.0.0.0/8 dev lo
    DEVICE=socket:lo ;;
*) workdir; PORTS=" " FEEDS=" " ;;
esac
packets() { python3 "$here/packets.py" "$@" || die "packets"; }
trade="tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}]"

configure() { # LINES: config; a line of ours stands in place of its own
    config
    sed -i '/^ *$/d' "$work/p.yaml"
    grep -q '^ports:' "$work/p.yaml" || sed -i '/^feeds:/d' "$work/p.yaml"
    printf '%s\n' "$1" | sed -n 's/^\([a-z_]*\):.*/\1/p' | while read -r key; do sed -i "/^$key:/d" "$work/p.yaml"; done
    case $1 in *time_zone:*) sed -i '/^calendar:/d' "$work/p.yaml" ;; esac
    printf '%s\n' "$1" >>"$work/p.yaml"
}
publish() { # ROWS...: time,sym,price
    { echo time,sym,price; printf '%s\n' "$@"; } | p publish trade - --level durable >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
}
raised() { p alarms --json | python3 -c 'import json,sys; print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))'; }
until_raised() { for _ in $(seq 100); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.05; done; die "$1 was not raised: $(raised)"; }
counter() { figure counters "[c['value'] for c in r['counters'] if c['name'] == '$1'][0]"; }
until_is() { # WHAT WANTED COMMAND...: within five seconds
    what=$1 wanted=$2 got=; shift 2
    for _ in $(seq 100); do got=$("$@" 2>&1); [ "$got" = "$wanted" ] && return; sleep 0.05; done
    die "$what is $got, not $wanted"
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
errors) # what could not be taken is kept with its reason, and told
    configure "log_update_error: true
error_log_size: 3000
check_interval: 100ms
$trade"
    start
    for i in $(seq 20); do
        printf 'time,sym,price\n2026.11.20D10:00:00,GOOD,1\n2026.11.20D10:00:00,BAD%s,abc\n' "$i" | p publish trade - >"$work/out" 2>&1 && die "a bad batch was taken"
    done
    all() { echo $(($(counter errors.logged) + $(counter errors.lost))); }
    until_is "errors.logged and errors.lost" 20 all
    until_raised update.error
    error=$(ls "$work"/state/test.error.*) || die "no error log"
    python3 - "$error" "$(counter errors.logged)" <<'PY' || die "the error log: $(cat "$error")"
import json, os, sys
rows = [json.loads(l) for l in open(sys.argv[1])]
assert 5 < len(rows) == int(sys.argv[2]) < 20 and os.stat(sys.argv[1]).st_size <= 3000, len(rows)
for i, r in enumerate(rows, 1):
    assert r["kind"] == "publish" and r["table"] == "trade" and r["from"] == "uid %d" % os.getuid(), r
    assert r["reason"].startswith("line 3: ") and r["header"] == "time,sym,price", r
    assert r["rows"] == "2026.11.20D10:00:00,GOOD,1\n2026.11.20D10:00:00,BAD%d,abc\n" % i, r
PY
    is "mode of the error log" "$(stat -c %a "$error")" 640
    grep -q "$error" <(p alarms --json) || die "the alarm does not name the file: $(p alarms --json)"
    told=$(grep -c 'update error: {.*BAD' "$work/daemon.log")
    is "errors.told" "$(counter errors.told)" "$told"
    [ "$told" -ge 10 ] && [ "$told" -le 20 ] || die "$told lines in the daemon's own log"
    ;;
messages) # what a decoder cannot place stands in the error log too
    FEEDS='  - {name: itch, decoder: itch50, zone: America/New_York}' configure "check_interval: 100ms"
    start
    packets "A S1 1 ok 7a010203 5300 ok" "B S1 1 ok 7a010203 5300 ok"
    until_is "errors.logged" 2 counter errors.logged
    until_raised update.error
    python3 - "$(ls "$work"/state/test.error.*)" <<'PY' || die "the error log: $(cat "$work"/state/test.error.*)"
import json, sys
got = [json.loads(l) for l in open(sys.argv[1])]
assert [(r["kind"], r["from"], r["table"], r["reason"], r["seq"], r["bytes"], r["hex"]) for r in got] == [
    ("message", "itch S1", "undecoded", "unknown", 2, 4, "7a010203"), ("message", "itch S1", "undecoded", "length", 3, 2, "5300")], got
PY
    is "errors told, without log_update_error" "$(grep -c "update error" "$work/daemon.log")" 0
    ;;
*) die "no case $name" ;;
esac
[ -z "$daemon" ] || stop || die "the daemon's exit code"
exit 0
