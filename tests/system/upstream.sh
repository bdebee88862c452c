#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# upstream.sh CASE: rows of another tickerplant (subscription_channel), each once whoever is killed.
#   zero, batch   a kdb+ tickerplant (kdbtick.py) with its log on this host
#   nolog         one without: gap rows say what may be missing
#   tables        tables that differ, that are declared, taken over, and left out
#   penstock      another penstockd; both are killed at random times
#   lost          another penstockd, whose log loses what we have not read and what we have
#   channels      messaging_server and publish_channel
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
name=$1
RING=16M PREALLOCATE=4M
enter_namespace "$@"
PORTS=" " FEEDS=" "
mkdir "$work/tp"
kills="1 2"; [ -n "${PST_ALL:-}" ] && kills="1 2 3 4"

configure() { # LINES
    config "retry_interval: 50ms
$1"
    sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
}
tick() { # MODE RATE: the simulated tickerplant
    mkfifo "$work/in" 2>/dev/null
    /usr/bin/python3 "$here/kdbtick.py" 5010 "$work/tp" "$1" "$2" <>"$work/in" >"$work/tick.out" 2>>"$work/tick.err" &
    tick=$! others="$others $!"
    for _ in $(seq 200); do grep -q ready "$work/tick.out" && return; sleep 0.02; done
    die "no tickerplant: $(cat "$work/tick.err")"
}
tell() { # LINE: to the tickerplant, and until it did
    n=$(grep -c "did $1" "$work/tick.out")
    echo "$1" >"$work/in"
    for _ in $(seq 200); do [ "$(grep -c "did $1" "$work/tick.out")" -gt "$n" ] && return; sleep 0.02; done
    die "the tickerplant did not $1: $(cat "$work/tick.err")"
}
upstream() { figure status "r['upstream']['$1']"; }
until_up() { # STATE
    for _ in $(seq 200); do [ "$(upstream state 2>/dev/null)" = "$1" ] && return; sleep 0.05; done
    die "the upstream is not $1: $(p status)"
}
crash() { kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=; }
check_rows() { # until the log holds what the tickerplant published, each row once; `days`: of its dates
    for _ in $(seq 100); do
        "$bin/penstock" log dump "$work/log" --json 2>/dev/null >"$work/rows"
        if [ -n "${1:-}" ]; then p sql -q --format csv "select date, count(*) from trade group by date order by date" >"$work/days" 2>&1; fi
        /usr/bin/python3 - "$work/tp/truth.json" "$work/rows" "$work/days" "$@" >"$work/diff" 2>&1 <<'PY' && return
import json, sys
truth, seen = json.load(open(sys.argv[1])), {}
for line in open(sys.argv[2]):
    r = json.loads(line)
    if r["table"] not in ("trade", "quote"): continue
    n = r["n"]
    assert n not in seen, "row %d is there twice" % n
    seen[n] = r
    if r["table"] == "trade": assert r["price"] == n / 4, r
    else: assert r["note"] == "note %d" % n, r
    assert r["sym"] == ["AAPL", "MSFT", "IBM", "O   240119C00150000", "Z"][n % 5], r
wanted = sum(sum(d.values()) for d in truth.values())
assert len(seen) == wanted, "%d rows of %d" % (len(seen), wanted)
if "days" in sys.argv:
    got = [l.strip() for l in open(sys.argv[3])][1:]
    want = ["%s,%d" % (d.replace(".", "-") if "-" in got[0] else d, c["trade"]) for d, c in sorted(truth.items()) if c["trade"]]
    assert got == want, (got, want)
PY
        sleep 0.1
    done
    die "$(tail -1 "$work/diff")"
}
pair() { # $work: the chained one; $work/up: the other, which has the publishers
    mkdir "$work/up"
    configure "database: $work/hdb
subscription_channel: $work/up/other.ipc"
    sed "s|$work|$work/up|g; s|^instance:.*|instance: other|; /^subscription_channel/d; /^database/d" "$work/p.yaml" >"$work/up/p.yaml"
    cat >>"$work/up/p.yaml" <<YAML
tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: n, type: long}, {name: price, type: float}]
  - name: quote
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: n, type: long}, {name: note, type: string}]
YAML
    start_up
    start
    until_up penstock
}
up() { "$bin/penstock" --socket "$work/up/s.sock" "$@"; }
start_up() {
    "$bin/penstockd" --config "$work/up/p.yaml" >>"$work/up/daemon.log" 2>&1 &
    other=$! others="$others $!"
    for _ in $(seq 300); do up commands >/dev/null 2>&1 && return; sleep 0.05; done
    die "the other does not answer: $(cat "$work/up/daemon.log")"
}
raised() { p alarms --json | python3 -c 'import json,sys; print(*[a["code"] for a in json.load(sys.stdin)["raised"]])'; }
until_raised() { for _ in $(seq 100); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.05; done; die "$1 was not raised: $(raised)"; }
until_cleared() { for _ in $(seq 100); do case " $(raised) " in *" $1 "*) sleep 0.05 ;; *) return ;; esac; done; die "$1 stays: $(p alarms)"; }

case $name in
zero | batch)
    configure "database: $work/hdb
subscription_channel: \"127.0.0.1:5010\""
    tick "$name" 3000
    start
    until_up kdb+
    for k in $kills; do
        sleep "0.$((seed * k % 7 + 1))"
        crash
        start
        sleep "0.$((seed * k % 5 + 1))"
    done
    until_up kdb+
    kill -9 "$tick"; wait "$tick" 2>/dev/null # its log may end in a torn message
    until_up down
    tick "$name" 3000
    until_up kdb+
    sleep 0.3
    tell end # the day ends while we are there
    sleep 0.3
    crash
    tell end # and while we are not
    sleep 0.2
    start
    until_up kdb+
    sleep 0.3
    tell pause
    check_rows days
    [ "$(figure status "r['day']")" = "$(/usr/bin/python3 -c "import json; print(max(json.load(open('$work/tp/truth.json'))))")" ] ||
        die "the open date is $(figure status "r['day']")"
    stop || die "stop"
    check_rows
    ;;
nolog)
    configure "subscription_channel: \"127.0.0.1:5010\""
    tick zero-nolog 1000
    start
    until_up kdb+
    sleep 0.3
    kill -9 "$tick"; wait "$tick" 2>/dev/null
    until_raised upstream.down
    tick zero-nolog 1000
    until_up kdb+
    sleep 0.3
    tell pause
    until_cleared upstream.down
    case " $(raised) " in *imbalance*) die "$(p ledger)" ;; esac
    stop || die "stop"
    "$bin/penstock" log dump "$work/log" --json >"$work/rows"
    [ "$(grep -c upstream_unknown "$work/rows")" = 2 ] || die "gap rows: $(grep '"gap"' "$work/rows")"
    [ "$(grep -c '"table":"trade"' "$work/rows")" -gt 100 ] || die "rows are missing"
    /usr/bin/python3 - "$work/rows" <<'PY' || die "a row is there twice"
import json, sys
n = [r["n"] for r in map(json.loads, open(sys.argv[1])) if r["table"] in ("trade", "quote")]
assert len(n) == len(set(n)) and len(n) > 200, (len(n), len(set(n)))
PY
    ;;
tables)
    configure "subscription_channel: \"127.0.0.1:5010\"
subscription_table_list: [trade]
tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: n, type: long}, {name: price, type: float}]
  - name: quote
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: n, type: int}, {name: note, type: string}]"
    tick zero 500
    start
    until_up kdb+
    sleep 0.3
    [ "$(upstream left_out)" = "" ] || die "quote was not asked for: $(p status)"
    p sql -q --format csv "select count(*) from quote" | tail -1 | grep -qx 0 || die "quote was not asked for"
    crash
    sed -i '/^subscription_table_list/d' "$work/p.yaml"
    start
    until_up kdb+
    sleep 0.3
    p status | grep -q "left out: quote: column 3 is n long there and n int here" || die "$(p status)"
    until_raised upstream.table
    crash
    sed -i 's/name: n, type: int/name: n, type: long/' "$work/p.yaml"
    start
    until_up kdb+
    tell pause
    check_rows
    [ "$(upstream left_out)" = "" ] || die "$(p status)"
    stop || die "stop"
    ;;
channels)
    # a name that is in the file later, and at another address later still; our own line beside those of others
    printf '# ours\nother 10.0.0.1:5010\n' >"$work/channels"
    configure "messaging_server: $work/channels
publish_channel: mine
subscription_channel: tp"
    tick zero 200
    start
    for _ in $(seq 100); do [ "$(upstream problem)" = "" ] || break; sleep 0.05; done
    upstream problem | grep -q "channel tp has no line in $work/channels" || die "$(p status)"
    for _ in $(seq 100); do grep -qx "mine $work/test.ipc" "$work/channels" && break; sleep 0.05; done
    grep -qx "mine $work/test.ipc" "$work/channels" || die "no line of ours: $(cat "$work/channels")"
    grep -qx "other 10.0.0.1:5010" "$work/channels" && grep -qx "# ours" "$work/channels" || die "$(cat "$work/channels")"
    echo "tp 127.0.0.1:5999" >>"$work/channels"
    for _ in $(seq 100); do upstream problem | grep -q refused && break; sleep 0.05; done
    upstream problem | grep -q refused || die "$(p status)"
    sed -i 's/:5999/:5010/' "$work/channels"
    until_up kdb+
    # who follows us hears what our upstream says
    /usr/bin/python3 "$here/follower.py" "$work/test.ipc" 10 100 >"$work/heard" 2>&1 &
    follower=$! others="$others $!"
    for _ in $(seq 100); do grep -q ready "$work/heard" && break; sleep 0.05; done
    tell marks
    tell end
    wait "$follower"
    for m in .u.eoi .dm.buff.start .dm.buff.end .u.end; do
        [ "$(grep -c "^$m " "$work/heard")" = 1 ] || die "$m did not come once: $(cat "$work/heard")"
    done
    [ "$(tail -1 "$work/heard" | tr -dc 0-9)" -gt 100 ] || die "few rows: $(cat "$work/heard")"
    p status | grep -q "publishes on channel mine" && p status | grep -q "upstream tp  kdb+ at 127.0.0.1:5010" || die "$(p status)"
    tell pause
    check_rows
    rm -f "$work/channels"; mkdir "$work/channels"
    crash
    start
    until_raised channel.unregistered
    stop || die "stop"
    ;;
penstock)
    pair
    /usr/bin/python3 "$here/feeder.py" "$work/up/other.ipc" "$work/tp/truth.json" 2000 >"$work/feeder" 2>&1 &
    feeder=$! others="$others $!"
    for k in $kills; do
        sleep "0.$((seed * k % 7 + 2))"
        crash
        start
    done
    until_up penstock
    kill -9 "$other"; wait "$other" 2>/dev/null
    until_down=$(until_up down)
    start_up
    until_up penstock
    sleep 0.3
    up eod run --yes >"$work/out" 2>&1 || die "eod: $(cat "$work/out")"
    sleep 0.3
    kill -9 "$other"; wait "$other" 2>/dev/null
    crash
    start_up
    up eod run --yes >"$work/out" 2>&1 || die "the second eod: $(cat "$work/out")"
    start
    until_up penstock
    sleep 0.3
    kill "$feeder"; wait "$feeder" 2>/dev/null
    same() { # the chained one's rows are the other's, by date
        for _ in $(seq 100); do
            up sql -q --format csv "select n, sym, price, time from trade order by n, time" >"$work/a" 2>&1
            "$bin/penstock" log dump "$work/up/log" --json 2>/dev/null | /usr/bin/python3 "$here/feeder.py" rows >"$work/a"
            "$bin/penstock" log dump "$work/log" --json 2>/dev/null | /usr/bin/python3 "$here/feeder.py" rows >"$work/b"
            cmp -s "$work/a" "$work/b" && return
            sleep 0.1
        done
        diff "$work/a" "$work/b" | head -5
        die "the rows differ: $(wc -l <"$work/a") there, $(wc -l <"$work/b") here"
    }
    same
    [ "$(wc -l <"$work/a")" -gt 1000 ] || die "few rows: $(wc -l <"$work/a"); $(cat "$work/feeder")"
    [ "$(figure status "r['day']")" = "$(up status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["day"])')" ] || die "open dates differ: $(p status) $(up status)"
    stop || die "stop"
    ;;
lost) # what the other lost while we were away, and what it took back though we have it, are gap rows
    pair
    publish() { # FROM TO: rows of the other, durable there
        python3 -c "print('time,sym,n,price')
for n in range($1, $2 + 1): print('%s,S%d,%d,%d' % ('', n % 3, n, n))" | up publish trade - >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    }
    has() { "$bin/penstock" log dump "$work/log" trade --json 2>/dev/null >"$work/rows"; grep -q "\"n\":$1,"  "$work/rows"; }
    until_has() { for _ in $(seq 200); do has "$1" && return; sleep 0.05; done; die "row $1 did not come: $(p status; tail -3 "$work/rows")"; }
    gap() { "$bin/penstock" log dump "$work/log" gap --json 2>/dev/null | grep "\"upstream_$1\""; }
    until_gap() { for _ in $(seq 200); do [ "$(gap "$1" | wc -l)" = 1 ] && return; sleep 0.05; done; die "gaps $1: $(gap "$1")"; }
    publish 1 5
    until_has 5
    crash
    publish 6 10
    up eod run --yes >"$work/out" 2>&1 || die "eod: $(cat "$work/out")"
    publish 11 15
    kill "$other"; wait "$other" 2>/dev/null
    rm "$(ls "$work"/up/log/log2* | head -1)" # the date that has 6 to 10
    start_up
    start
    until_has 15
    if has 6 || has 10; then die "rows of a log that is gone"; fi
    until_gap lost
    publish 16 20
    until_has 20
    from=$("$bin/penstock" log dump "$work/up/log" trade --json | python3 -c 'import json,sys
print(next(r["position"] for r in map(json.loads, sys.stdin) if r["n"] == 16))')
    kill -9 "$other"; wait "$other" 2>/dev/null
    # its device forgets what it had said to be durable: everything from that frame on
    /usr/bin/python3 - "$(ls -t "$work"/up/log/log2* | head -1)" "$from" <<'PY' || die "no frame at $from"
import struct, sys
with open(sys.argv[1], "r+b") as f:
    b, at = f.read(), 0
    want = struct.pack("<Q", int(sys.argv[2]))
    at = b.index(want)
    while at % 8 or b[at - 8 + 24] != 1: at = b.index(want, at + 1) # position is 8 bytes into a data frame
    f.seek(at - 8)
    f.write(bytes(len(b) - at + 8))
PY
    start_up
    until_gap rewound
    publish 21 25
    until_has 25
    /usr/bin/python3 - "$work/rows" "$from" "$(gap lost)" "$(gap rewound)" <<'PY' || die "rows or gaps: $(cut -c1-200 "$work/rows"; gap lost; gap rewound)"
import json, sys
rows = sorted(json.loads(l)["n"] for l in open(sys.argv[1]))
assert rows == [1, 2, 3, 4, 5] + list(range(11, 26)), rows
lost, rewound = json.loads(sys.argv[3]), json.loads(sys.argv[4])
assert lost["first"] <= lost["last"] < int(sys.argv[2]), lost
assert rewound["first"] <= int(sys.argv[2]) <= rewound["last"], (rewound, sys.argv[2])
PY
    until_cleared upstream.down
    stop || die "stop"
    ;;
*) die "no case $name" ;;
esac
