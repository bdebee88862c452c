#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rtp-basic.sh CASE: real-time processes as an operator has them.
#   cpu      mon_cpu: rows of monCPU, each thread and process, so often
#   shop     a plugin's pre- and post-processor, its functions, buffering hooks, verbs, crashes
#   once     each derived row once: its process and the daemon are killed while rows come, dates end
#   full     the log's disk fills while rows are derived: nothing twice, nothing lost, also over kills then
#   derive   a replay takes derived rows as logged; with --derive the processors make them again
. "$(dirname "$0")/lib.sh"
name=$1
RING=16M PREALLOCATE=4M
enter_namespace "$@"
PORTS=" " FEEDS=" "

configure() { # LINES
    config "$1"
    sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
}
rows_of() { p sql "$1" --format csv -q | tail -n +2; }
until_is() { # WHAT COMMAND...: until its output has WHAT
    what=$1; shift
    for _ in $(seq 200); do "$@" 2>/dev/null | grep -q -- "$what" && return; sleep 0.05; done
    die "no '$what' in: $("$@" 2>&1 | head -20)"
}

shop=$BUILD/tests/rtp_shop.so
tables='tables:
  - name: trade
    columns: {time: timestamp, sym: symbol, price: float, size: long}
  - name: quote
    columns: {time: timestamp, sym: symbol, bid: float, ask: float}
  - name: other
    columns: {time: timestamp, sym: symbol, n: long}
  - name: clean
    columns: {time: timestamp, sym: symbol, price: float, size: long}
  - name: aggregate
    columns: {time: timestamp, sym: symbol, volume: long, high: float, low: float, bid: float, ask: float, spread: float}'
group() { # LINES behind it
    echo "rtp:
  - name: shop
    plugins: [$shop]
    vanilla: false
    processors: [shop]
    insert: {trade: clean}
    options: {depth: 7}
$1"; }
trades() { # FROM TO: a CSV of trades, every tenth without a price
    echo sym,price,size
    seq "$1" "$2" | awk '{ printf "S%d,%d,%d\n", $1 % 7, $1 % 10 ? 1 + $1 % 97 : 0, $1 }'
}
state() { p rtp --json | python3 -c 'import json,sys
print(*[x["state"] for g in json.load(sys.stdin)["groups"] for x in g["processes"]])'; }
pid_of() { p rtp --json | python3 -c 'import json,sys
print(json.load(sys.stdin)["groups"][0]["processes"][0]["pid"])'; }
until_another() { # PID: until another process than that one runs
    for _ in $(seq 200); do
        now=$(pid_of 2>/dev/null) && [ "$now" != 0 ] && [ "$now" != "$1" ] && until_is runs state && return
        sleep 0.05
    done
    die "no process took over from $1"
}
fact() { p rtp call shop facts --json | python3 -c "import json,sys
r = json.load(sys.stdin); print(r['rows'][0][[c[0] for c in r['columns']].index('$1')])"; }
until_rows() { # TABLE N
    for _ in $(seq 400); do [ "$(rows_of "SELECT count(*) FROM $1")" = "$2" ] && return; sleep 0.05; done
    die "$1 has $(rows_of "SELECT count(*) FROM $1") rows, not $2: $(p rtp)"
}
# Is each row there once? Of n trades: those with a price in clean, and one aggregate each, whose
# volume has grown by the trade's size.
each_once() { # TRADES
    passed=$(trades 1 "$1" | awk -F, 'NR > 1 && $2 > 0' | wc -l)
    until_rows clean "$passed"
    until_rows aggregate "$passed"
    [ "$(rows_of 'SELECT count(*) FROM trade')" = "$1" ] || die "$(rows_of 'SELECT count(*) FROM trade') trades"
    rows_of 'SELECT size FROM clean ORDER BY size' >"$work/have"
    trades 1 "$1" | awk -F, 'NR > 1 && $2 > 0 { print $3 }' | sort -n | diff -q - "$work/have" >/dev/null ||
        die "clean does not hold each row once"
}

case $name in
cpu)
    configure "mon_cpu: 200ms"
    start
    until_is '[1-9]' rows_of 'SELECT count(*) FROM "monCPU" WHERE sym = '"'rtp'"
    sleep 2
    # so often: no fewer than one a thread each 200 ms, and no more
    n=$(rows_of "SELECT count(*) FROM \"monCPU\" WHERE sym = 'control'")
    [ "$n" -ge 7 ] && [ "$n" -le 40 ] || die "$n rows of control in about two seconds"
    [ "$(rows_of "SELECT count(*) FROM \"monCPU\" WHERE cpu < 0 OR cpu > 110 OR server <> 'test'")" = 0 ] ||
        die "shares beyond a CPU, or another server"
    # a thread that works shows: the RDB and the log have rows of this table to write
    p topo --json >"$work/topo.json"
    for t in $(python3 -c 'import json,sys; print(*[t["name"] for t in json.load(open(sys.argv[1]))["threads"]])' "$work/topo.json"); do
        until_is '[1-9]' rows_of "SELECT count(*) FROM \"monCPU\" WHERE sym = '$t'"
    done
    p topo | grep -q inject.rtp || die "no ring inject.rtp in topo"
    p ledger >/dev/null || die "the ledger does not balance: $(p ledger)"
    stop
    ;;
shop)
    configure "$tables
$(group "    subscriptions: [trade, quote, other]
    libraries: {math: /opt/libm.so}
    buffer_start: began
    buffer_end: over
    start: manual
    stuck: 2s
    memory: 200M")
buffer_enabled: true"
    cp "$(ldconfig -p | awk '/libm.so.6.*x86-64/ { print $NF; exit }')" "$work/libm.so"
    sed -i "s|libraries: .*|libraries: {math: $work/libm.so}|" "$work/p.yaml"
    chmod 755 "$work"
    start
    until_is ready state
    # CTL-03: it is there and can be called, and reads nothing
    [ "$(fact depth)" = 7 ] && [ "$(fact library)" = 1 ] || die "option or library: $(p rtp call shop facts)"
    trades 1 40 >"$work/t.csv"
    p publish trade "$work/t.csv" >/dev/null || die publish
    printf 'sym,n\nA,1\n' | p publish other - >/dev/null || die publish
    sleep 0.3
    [ "$(fact rows)" = 0 ] || die "it reads before it was started"
    p rtp start shop >/dev/null || die "rtp start"
    until_is runs state
    until_rows clean 36
    until_rows aggregate 36
    printf 'sym,bid,ask\nS1,9.5,12\nS1,9,11\n' | p publish quote - >/dev/null || die publish
    until_rows aggregate 38
    [ "$(rows_of "SELECT volume, high, low, bid, ask, spread FROM aggregate WHERE sym = 'S1' ORDER BY time DESC, bid DESC, ask LIMIT 1")" = "$(rows_of "SELECT sum(size), max(price), min(price), 9.5, 11.0, 1.5 FROM trade WHERE sym = 'S1' AND price > 0")" ] ||
        die "aggregate: $(p sql "SELECT * FROM aggregate WHERE sym = 'S1'")"
    [ "$(p rtp call shop volume syms=S1 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["rows"][0][1])')" = "$(rows_of "SELECT sum(size) FROM trade WHERE sym = 'S1' AND price > 0")" ] || die "rtp call volume"
    # derived rows are rows like others: tail, kdb+ subscribers, ledger
    p tail clean --count 1 2>/dev/null | grep -q . || die "tail"
    p ledger >/dev/null || die "the ledger does not balance: $(p ledger)"
    # what is wrong is one line
    p rtp call shop volume sims=A 2>&1 | grep -q 'no parameter sims' || die "a wrong parameter"
    p rtp call shop nothing 2>&1 | grep -q "no function 'nothing'" || die "a wrong function"
    p rtp call shop refuse 2>&1 | grep -q 'the shop is closed' || die "a refusal"
    p rtp start shop 2>&1 | grep -q 'runs already' || die "started twice"
    p rtp stop shops 2>&1 | grep -q "no group 'shops'" || die "a wrong group"
    p rtp list shop | grep -q 'writes *aggregate: time timestamp' || die "rtp list: $(p rtp list shop)"
    # BUF-10, BUF-11
    p buffer start 7 age=30m >/dev/null || die "buffer start"
    until_is 1 fact started
    p buffer end 7 >/dev/null || die "buffer end"
    until_is 1 fact ended
    # a memory hog hears no, or is ended; a crash, an endless loop: started again, alarm
    p rtp call shop eat 2>&1 | grep -q 'its process ended\|no memory beyond' || die "rtp call eat"
    until_is runs state
    for f in die spin; do
        was=$(pid_of)
        p rtp call shop $f >"$work/out" 2>&1; grep -q "its process ended" "$work/out" || die "rtp call $f: $(cat "$work/out")"
        until_is rtp.restarts p alarms
        until_another "$was"
    done
    p rtp | grep -q 'ended last: it was stuck' || die "why: $(p rtp)"
    trades 41 80 >"$work/t.csv"
    p publish trade "$work/t.csv" >/dev/null || die publish
    until_rows clean 72
    until_rows aggregate 74
    # RTA-10, stop, debug, plugins while it runs
    was=$(pid_of)
    p rtp restart shop >/dev/null || die "rtp restart"
    until_another "$was"
    p rtp debug shop on >/dev/null && p rtp debug shop off >/dev/null || die "rtp debug"
    p rtp stop shop >/dev/null || die "rtp stop"
    until_is stopped state
    p rtp call shop facts 2>&1 | grep -q 'does not run' || die "called while stopped"
    trades 81 100 >"$work/t.csv"
    p publish trade "$work/t.csv" >/dev/null || die publish
    p rtp start shop >/dev/null || die "rtp start"
    until_rows clean 90
    until_rows aggregate 92
    p rtp load shop "$BUILD/tests/cpu_stream.so" | grep -q . || die "rtp load"
    p rtp list shop | grep -q 'analytic .cpu.sub' || die "the plugin's analytic: $(p rtp list shop)"
    p rtp unload shop "$BUILD/tests/cpu_stream.so" | grep -q . || die "rtp unload"
    p rtp list shop | grep -q 'analytic .cpu.sub' && die "it is still there"
    cp "$BUILD/tests/cpu_stream.so" "$work/bad.so" && chmod 777 "$work/bad.so"
    p rtp load shop "$work/bad.so" 2>&1 | grep -q 'plugin' || die "code that anybody may write was loaded"
    # GAP-20: a processor hears of the end of a date, and begins anew
    p eod run --yes >/dev/null || die "eod"
    until_is 1 fact days
    [ "$(p rtp call shop volume --json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["rows"]))')" = 0 ] ||
        die "it goes on with yesterday's state"
    until_is 'rtp.rows *182' p counters
    until_is 'rtp   processes 1 of 1 .* derived rows 182' p status
    p topo | grep -q penstock-rtp || die topo
    p rtp bogus 2>/dev/null; [ $? = 2 ] || die "a wrong verb is no usage error"
    stop
    # a processor that no plugin has: said, and nothing else suffers
    sed -i 's/processors: \[shop\]/processors: [shops]/; s/start: manual/start: auto/' "$work/p.yaml"
    start
    until_is 'rtp.plugin  *shop: group shop: no plugin brings a processor shops' p alarms
    until_is 'no plugin brings a processor shops' p rtp
    p explain rtp.plugin | grep -q 'penstock rtp restart' || die "explain rtp.plugin"
    trades 101 110 | p publish trade - >/dev/null || die "publish beside a group that does not start"
    stop
    ;;
once)
    configure "$tables
$(group "    subscriptions: [trade]")
database: $work/hdb"
    start
    until_is runs state
    kills=12; [ -n "${PST_ALL:-}" ] && kills=60
    n=0 RANDOM=$seed
    for k in $(seq $kills); do
        for _ in 1 2 3; do
            more=$((n + 100 + RANDOM % 400))
            trades $((n + 1)) $more | p publish trade - >/dev/null || die publish
            n=$more
        done
        case $((k % 4)) in
        0) kill -9 "$daemon"; wait "$daemon" 2>/dev/null; start ;;
        *) pid=$(pid_of 2>/dev/null); [ "${pid:-0}" != 0 ] && kill -9 "$pid" ;;
        esac
        sleep 0.0$((RANDOM % 10))
    done
    each_once $n
    # an end of the date, with rows before and behind it: none is lost or doubled, the state is by date
    day=$(p status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["day"].replace(".", "-"))')
    trades $((n + 1)) $((n + 500)) | p publish trade - >/dev/null || die publish
    pid=$(pid_of); kill -9 "$pid"
    p eod run "$day" --yes >/dev/null || die "eod"
    n=$((n + 500))
    each_once $n
    pid=$(pid_of); [ "${pid:-0}" != 0 ] && kill -9 "$pid"
    trades $((n + 1)) $((n + 200)) | p publish trade - >/dev/null || die publish
    n=$((n + 200))
    each_once $n
    p ledger >/dev/null || die "the ledger does not balance: $(p ledger)"
    stop
    ;;
full)
    . "$(dirname "$0")/../fault/disklib.sh"
    disk_make tmpfs 32
    configure "$tables
$(group "    subscriptions: [trade]")
retry_interval: 100ms
alarms: {clear_after: 500ms, disk_full_in: 0}"
    start
    until_is runs state
    trades 1 2000 | p publish trade - >/dev/null || die publish
    n=2000 acknowledged=82000
    for k in 1 2 3; do
        fill
        trades $((n + 1)) $((n + 40000)) | p publish trade - >"$work/published" 2>&1 & others=$!
        n=$((n + 40000))
        alarms_come log.stalled
        case $k in
        2) was=$(pid_of); kill -9 "$was"; until_another "$was" ;;
        3) kill -9 "$daemon"; wait "$daemon" 2>/dev/null
            wait "$others" && acknowledged=$n # what was preallocated took them
            others= ;;
        esac
        unfill
        [ -z "$others" ] || wait "$others" || die "publish: $(cat "$work/published")"
        others=
    done
    # of the third batch those that were logged: they are in order
    start
    until_is runs state
    n=$(rows_of 'SELECT count(*) FROM trade')
    [ "$n" -ge $acknowledged ] || die "$n trades, acknowledged were $acknowledged"
    each_once "$n"
    trades $((n + 1)) $((n + 1000)) | p publish trade - >/dev/null || die publish
    each_once $((n + 1000))
    p ledger >/dev/null || die "the ledger does not balance: $(p ledger)"
    stop
    ;;
derive)
    configure "$tables
$(group "    subscriptions: [trade]")"
    start
    until_is runs state
    trades 1 500 | p publish trade - >/dev/null || die publish
    each_once 500
    stop
    mv "$work/log" "$work/old"
    rm -rf "$work/state"
    # as logged: the rows that were derived then, and none again
    start
    until_is runs state
    p replay "$work/old" --to "$work/s.sock" >/dev/null || die "replay"
    sleep 0.5
    each_once 500
    stop
    rm -rf "$work/state" "$work/log"
    # derived again: those of the log are left out
    start
    until_is runs state
    sleep 0.1
    p replay "$work/old" --to "$work/s.sock" --derive >/dev/null || die "replay --derive"
    each_once 500
    until_is 'rtp.rows *900' p counters # made again, not taken
    stop
    rm -rf "$work/state" "$work/log"
    # nobody is there who would
    sed -i '/^rtp:/,$d' "$work/p.yaml"
    start
    p replay "$work/old" --to "$work/s.sock" --derive 2>&1 | grep -q 'no processor runs there' ||
        die "replay --derive without processors"
    stop
    ;;
esac
echo "ok $name"
