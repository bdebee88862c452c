#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# replay-to.sh CASE: the rows of one instance's log in another, running one.
#   equal    the real IEX capture: hashes and partitions equal, also of two instances; again = nothing
#   filters  tables, symbols, positions, times; pace; marks; refusals in one line
#   kill     kill -9 of the daemon and of the program at seeded points: each row once. PST_KILLS
#            times, PST_SEED; levels by turns
. "$(dirname "$0")/lib.sh"
workdir
case=${1:-equal}
shift_so=$BUILD/tests/shift_clock.so loghash=$BUILD/tests/loghash
[ -f "$shift_so" ] || skip "no clock to shift"
ldd "$bin/penstockd" | grep -q lib.san && skip "the shifted clock does not go with a sanitizer"
data=${PST_DATA:-$SOURCE/../shared/data}

yaml() { # NAME FEED [EXTRA LINES]
    case $2 in iex) feed='{name: iex, framing: iex-tp, decoder: iex, zone: America/New_York}' ;;
    *) feed='{name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York}' ;; esac
    mkdir -p "$work/$1"
    cat >"$work/$1.yaml" <<YAML
instance: $1
state_directory: $work/$1/state
log_directory: $work/$1/log
run_directory: $work
log_low_space: 1M
log_preallocate: 4M
log_ballast: 0
ring_size: 32M
symbols_max: 100k
durability: ${LEVEL:-durable}
calendar: {zone: America/New_York}
feeds:
  - $feed
${3:-}
YAML
}

# up NAME DATE: with the wall clock at noon UTC of that date
up() {
    off=$(($(date -u -d "${2//./-}T${3:-16:00:00}" +%s) - $(date +%s)))
    LD_PRELOAD=$shift_so PST_SHIFT_CLOCK=$off "$bin/penstockd" --config "$work/$1.yaml" >>"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 400); do
        "$bin/penstock" --socket "$work/$1.sock" commands >/dev/null 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || die "penstockd did not start"
        sleep 0.02
    done
    die "penstockd does not answer"
}
down() {
    "$bin/penstock" --socket "$work/$1.sock" stop >/dev/null || die "stop $1"
    wait "$daemon"; code=$?; daemon=
    [ $code = 0 ] || die "penstockd of $1 ended with $code"
}
replay() { "$bin/penstock" --socket "$work/x.sock" --json replay "$@"; } # --to NAME lies beside that socket
has() { python3 -c "import json,sys; r=json.load(sys.stdin); sys.exit(not ($1))"; }
balanced() { "$bin/penstock" --socket "$work/$1.sock" ledger >"$work/ledger" || die "$(cat "$work/ledger")"; }
hashes() { "$loghash" "$work/$1/log" log flags >"$work/$1.hash" || die "$1: rows twice or missing"; grep -v ^source "$work/$1.hash"; }

sim_log() { # MESSAGES: $work/src/log, of 2026-11-20
    "$sim" --pcap "$work/src.pcap" --messages "$1" --rate 500000 --quiet || die "simulator"
    "$bin/penstockd" --replay "$work/src.pcap" --feed itch --dir "$work/src" --rows 0 >/dev/null || die "replay of the capture"
    want=$(hashes src)
    [ -n "$want" ] || die "no hashes"
}

case $case in
equal)
    [ -d "$data/iex" ] || skip "no real captures"
    "$bin/penstockd" --replay "$data/iex/iex_TOPS16.pcapng.gz" --feed iex --dir "$work/src" --rows 0 \
        --database "$work/src/hdb" --eod >/dev/null || die "replay of the capture"
    want=$(hashes src)
    echo "$want" | grep -q '^iex_quote 2017.07.10 27217 ' || die "not the capture's rows: $want"
    for n in one two; do
        yaml $n iex "database: $work/$n/hdb"
        up $n 2017.07.10
        replay "$work/src/log" --to $n --marks >"$work/$n.json" || die "replay to $n"
        has 'r["rows"] == 57674 and r["late"] == 0 and r["complete"] and r["ended_days"] == 1' <"$work/$n.json" || die "$(cat "$work/$n.json")"
        replay "$work/src/log" --to $n --marks >"$work/again.json" || die "again to $n"
        has 'r["rows"] == 0 and r["complete"]' <"$work/again.json" || die "again: $(cat "$work/again.json")"
        balanced $n
        for _ in $(seq 200); do
            [ -d "$work/$n/hdb/2017.07.10/iex_quote" ] && break
            sleep 0.05
        done
        down $n
        [ "$(hashes $n)" = "$want" ] || die "$n: other hashes: $(diff "$work/src.hash" "$work/$n.hash")"
        "$bin/penstock" hdb verify --hash --database "$work/$n/hdb" >"$work/verify" || die "$(cat "$work/verify")"
    done
    # partitions, by their own hashes
    for n in src one two; do
        for t in "$work/$n"/hdb/2017.07.10/*; do
            echo "$(basename "$t") $(grep -oE '"rows":[0-9]+|"hash":"[0-9a-f]{32}"' "$t/.pstmeta" | tr '\n' ' ')"
        done | grep -v ^alarm >"$work/$n.parts"
    done
    [ "$(wc -l <"$work/src.parts")" -ge 8 ] || die "partitions of the source: $(cat "$work/src.parts")"
    cmp "$work/src.parts" "$work/one.parts" && cmp "$work/src.parts" "$work/two.parts" || die "the partitions differ"
    # and byte for byte, of two fresh instances
    (cd "$work/one/hdb" && find 2017.07.10 sym -type f ! -name '.pst*' ! -path '*/alarm/*') | while read -r f; do
        cmp "$work/one/hdb/$f" "$work/two/hdb/$f" || exit 1
    done || die "two replays, other bytes"
    ;;

filters)
    sim_log 120000
    rows=$(echo "$want" | awk '{n += $3} END {print n}')
    orders=$(echo "$want" | awk '$1 == "itch_order" {print $3}')
    yaml dst itch
    up dst 2026.11.20
    replay "$work/src/log" --to dst --tables itch_trade,itch_statu >"$work/o" 2>&1; [ $? = 2 ] && grep -q "no table itch_statu, did you mean itch_status?" "$work/o" || die "a mistyped table: $(cat "$work/o")"
    replay "$work/src/log" --to nosuch >"$work/o" 2>&1 && die "replayed to nobody"
    grep -q "instance named nosuch is looked for in $work" "$work/o" || die "no hint: $(cat "$work/o")"
    replay "$work/src/log" --to dst --tables itch_trade,itch_status >"$work/o" || die "tables"
    n=$(echo "$want" | awk '$1 == "itch_trade" || $1 == "itch_status" {n += $3} END {print n}')
    has "r['rows'] == $n and r['filtered'] == $rows - $n" <"$work/o" || die "tables: $(cat "$work/o")"
    sym=$("$bin/penstock" --json log dump "$work/src/log" itch_order | python3 -c '
import collections, json, sys
n = collections.Counter(json.loads(x)["sym"] for x in sys.stdin)
print(*n.most_common(1)[0])')
    replay "$work/src/log" --to dst --tables itch_order --sym "${sym% *}" >"$work/o" || die "sym"
    has "r['rows'] == ${sym#* }" <"$work/o" || die "sym $sym: $(cat "$work/o")"
    # two halves by position, and by time, are the whole
    middle=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["position"] * 3 // 4)' "$work/o")
    time=$("$bin/penstock" --json log dump "$work/src/log" itch_order | python3 -c '
import json, sys
r = [json.loads(x) for x in sys.stdin]
print(r[len(r) // 2]["rxtime"])')
    replay "$work/src/log" --to dst --tables itch_order --source a --until "$middle" >"$work/o1" || die "until: $(cat "$work/o1")"
    replay "$work/src/log" --to dst --tables itch_order --source b --from "$middle" >"$work/o2" || die "from"
    python3 -c 'import json,sys; a,b=(json.load(open(x))["rows"] for x in sys.argv[2:]); sys.exit(not (a and b and a + b == int(sys.argv[1])))' \
        "$orders" "$work/o1" "$work/o2" || die "halves by position: $(cat "$work/o1" "$work/o2") of $orders"
    replay "$work/src/log" --to dst --tables itch_order --source c --until "$time" >"$work/o1" || die "until $time"
    replay "$work/src/log" --to dst --tables itch_order --source d --from "$time" >"$work/o2" || die "from $time"
    python3 -c 'import json,sys; a,b=(json.load(open(x))["rows"] for x in sys.argv[2:]); sys.exit(not (a and b and a + b == int(sys.argv[1])))' \
        "$orders" "$work/o1" "$work/o2" || die "halves by time: $(cat "$work/o1" "$work/o2") of $orders"
    # the same source goes on where it was told to stop
    replay "$work/src/log" --to dst --source e --until 100000 >"$work/o1" || die "part"
    replay "$work/src/log" --to dst --source e >"$work/o2" || die "rest"
    python3 -c 'import json,sys; a,b=(json.load(open(x))["rows"] for x in sys.argv[2:]); sys.exit(not (a and b and a + b == int(sys.argv[1])))' \
        "$rows" "$work/o1" "$work/o2" || die "a source in two parts: $(cat "$work/o1" "$work/o2") of $rows"
    # pace: the capture lasts 0.24 s; at 0.3 of its speed it takes 0.8 s
    replay "$work/src/log" --to dst --source f --speed 0.3 >"$work/o" || die "pace"
    has "r['rows'] == $rows and r['seconds'] > 0.7" <"$work/o" || die "pace: $(cat "$work/o")"
    balanced dst
    # refused in one line: no such file, no such table there, other types, a live daemon's own log
    refused() { # WORDS COMMAND...
        words=$1; shift
        "$@" >"$work/out" 2>"$work/err" && die "$* is taken"
        [ "$(grep -c . "$work/err")" -le 2 ] && grep -q -- "$words" "$work/err" || die "$*: $(cat "$work/err")"
    }
    refused "No such file" replay "$work/nothing" --to dst
    refused "no penstockd answers" replay "$work/src/log" --to nobody
    refused "own: its rows would be there twice" replay "$work/dst/log" --to dst
    refused "holds no log file" replay "$work/src/state" --to dst
    refused "is max or a positive number" replay "$work/src/log" --to dst --speed fast
    refused "a position or a UTC time" replay "$work/src/log" --to dst --from noon
    down dst
    yaml iexonly iex
    up iexonly 2026.11.20
    refused "no table itch_" replay "$work/src/log" --to iexonly
    down iexonly
    # late rows: the day after, the rows' date is closed, they are taken as late and said
    yaml later itch
    up later 2026.11.24
    replay "$work/src/log" --to later >"$work/o" || die "late"
    has "r['rows'] == $rows and r['late'] == $rows" <"$work/o" || die "late: $(cat "$work/o")"
    "$bin/penstock" --json log dump "$work/later/log" itch_trade | head -1 | has 'r["flags"] & 2' || die "no late_day flag"
    down later
    ;;

kill)
    RANDOM=$seed
    sim_log 1200000
    rows=$(echo "$want" | awk '{n += $3} END {print n}')
    for level in durable async; do
        LEVEL=$level yaml k$level itch
        up k$level 2026.11.20
        kills=0
        for _ in $(seq 200); do
            # no function: what is killed must be the program itself
            "$bin/penstock" --socket "$work/x.sock" --json replay "$work/src/log" --to k$level >"$work/o" 2>"$work/e" &
            cli=$!
            if [ $kills -lt "${PST_KILLS:-5}" ]; then
                sleep "0.$(printf %03d $((RANDOM % 160)))"
                victim=$daemon
                [ $((RANDOM % 3)) = 0 ] && victim=$cli
                [ "$victim" = "$daemon" ] || kill -0 $cli 2>/dev/null || victim=$daemon
                kill -9 "$victim" 2>/dev/null
                kills=$((kills + 1))
                wait $cli 2>/dev/null
                if [ "$victim" = "$daemon" ]; then
                    wait "$daemon" 2>/dev/null
                    up k$level 2026.11.20
                fi
                continue
            fi
            wait $cli && break
            die "replay: $(cat "$work/e")"
        done
        has 'r["complete"]' <"$work/o" || die "$(cat "$work/o")"
        balanced k$level
        down k$level
        [ "$(hashes k$level)" = "$want" ] || die "$level, seed $seed: $(diff "$work/src.hash" "$work/k$level.hash")"
        grep ^source "$work/k$level.hash"
    done
    ;;
*) die "no case $case" ;;
esac
echo "$case: ok"
