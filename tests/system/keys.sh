#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# keys.sh CASE: what configuration keys do, as a user sees it: the daemon runs with another value than the
# default. Each case is short, since tests/effects.sh runs it once for every key that it proves.
. "$(dirname "$0")/lib.sh"
name=$1
RING=${RING:-16M} PREALLOCATE=1M
here=$(dirname "$0")
case $name in
messages | feeds | windows | silence | framing) # feeds, by kernel sockets on the loopback interface (packets.py)
    enter_namespace "$@"
    ip link set lo multicast on; ip route add 239.0.0.0/8 dev lo
    DEVICE=socket:lo ;;
dpdk) # a DPDK port on one end of a veth pair
    enter_namespace "$@"
    DEVICE=net_af_packet0,iface=in ;;
disk) # a small disk of its own
    if [ -z "${PST_MOUNTS:-}" ]; then
        [ "$(id -u)" = 0 ] || { echo "SKIP: needs root to mount a tmpfs"; exit 77; }
        export PST_MOUNTS=1
        exec unshare -m "$0" "$@"
    fi
    workdir; PORTS=" " FEEDS=" "
    trap 'c=$?; umount -l "$work/log" "$work/hdb" 2>/dev/null; (exit $c); finish' EXIT ;;
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
until_raised() { end=$((SECONDS + 6)); while [ $SECONDS -le $end ]; do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.05; done; die "$1 was not raised: $(raised)"; }
counter() { figure counters "[c['value'] for c in r['counters'] if c['name'] == '$1'][0]"; }
until_is() { # WHAT WANTED COMMAND...: within six seconds
    what=$1 wanted=$2 got=; shift 2
    end=$((SECONDS + 6))
    while [ $SECONDS -le $end ]; do got=$("$@" 2>&1); [ "$got" = "$wanted" ] && return; sleep 0.05; done
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
paths) # where things lie, and what they are called
    group=$(id -gn)
    [ "$(id -u)" != 0 ] || group=daemon
    configure "instance: ours
state_directory: $work/state2
log_directory: $work/log2
log_prefix: tp
log_preallocate: 3M
log_ballast: 2M
retry_interval: 50ms
run_directory: $work/run
socket_group: $group
$trade"
    sed -i '/^control_socket/d' "$work/p.yaml"
    "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 & daemon=$!
    for _ in $(seq 60); do [ -S "$work/run/ours.sock" ] && break; sleep 0.05; done
    [ -S "$work/run/ours.sock" ] || die "no control socket in run_directory: $(ls "$work" "$work"/run*)"
    ln -s "$work/run/ours.sock" "$work/s.sock"
    is "status: instance" "$(figure status 'r["instance"]')" ours
    is "mode and group of the socket" "$(stat -c '%a %G' "$work/run/ours.sock")" "660 $group"
    for _ in $(seq 100); do [ -s "$work/state2/catalogue" ] && break; sleep 0.05; done
    [ -s "$work/state2/catalogue" ] || die "no catalogue in state_directory"
    log=$(figure status 'r["log"]["file"]')
    publish 2026.11.20D12:00:00,A,1
    case $log in "$work/log2/tp2"*) ;; *) die "the log is $log" ;; esac
    is "size of a new log file" "$(stat -c %s "$log")" 3145728
    until_is "size of the ballast" 2097152 stat -c %s "$work/log2/tpballast"
    stop || die "the daemon's exit code"
    # what a log's metadata file would say: in all places in order, its tables with their columns, counts
    "$bin/penstock" log ls "$work/log2" --prefix tp --json >"$work/ls.json" || die "log ls"
    "$bin/penstock" log stat "$work/log2" --prefix tp --json >"$work/stat.json" || die "log stat"
    python3 - "$work" "$log" <<'PY' || die "metadata of the log: $(cat "$work/ls.json" "$work/stat.json")"
import json, sys
ls, stat = [json.load(open(sys.argv[1] + "/" + f))[0] for f in ("ls.json", "stat.json")]
assert ls["sequence"] == stat["sequence"] == 1 and ls["file"] == stat["file"] == sys.argv[2], ls
assert ls["start"] < ls["end"] and stat["from"] <= stat["to"] <= ls["end"], (ls, stat)
want = {"time": "timestamp", "sym": "symbol", "price": "float"}
for m in ls, stat:
    assert dict(m["schemas"]["trade"]) == want, m["schemas"]
assert stat["tables"]["trade"]["rows"] == 1, stat["tables"]
PY
    rm "$work/s.sock"
    echo "control_socket: $work/elsewhere.sock" >>"$work/p.yaml"
    "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 & daemon=$!
    for _ in $(seq 60); do [ -S "$work/elsewhere.sock" ] && break; sleep 0.05; done
    [ -S "$work/elsewhere.sock" ] || die "no control socket where control_socket says"
    ln -s "$work/elsewhere.sock" "$work/s.sock"
    for _ in $(seq 60); do p commands >/dev/null 2>&1 && break; sleep 0.05; done
    ;;
writes) # durability: async syncs each second; log_depth: as many writes as that can be in flight
    configure "durability: async
log_depth: 2
retry_interval: 50ms
$trade"
    start
    publish 2026.11.20D12:00:00,A,1
    from=$(date +%s%N)
    publish 2026.11.20D12:00:00,A,2
    took=$((($(date +%s%N) - from) / 1000000))
    [ $took -gt 400 ] || die "a row was durable after $took ms"
    is "status: level" "$(figure status 'r["log"]["level"]')" async
    uring=$(grep -l SqMask /proc/"$daemon"/fdinfo/* 2>/dev/null | head -1)
    if [ -n "$uring" ]; then is "requests that the log's io_uring holds" "$(awk '/^SqMask/ {print $2}' "$uring")" 0x7; else echo "log_depth: no io_uring here"; fi
    # the log's directory is gone: it is tried again each retry_interval, not each second
    mv "$work/log" "$work/gone"
    ;;
sizes) # what is held in memory
    configure "ring_size: 24M
rdb_memory: 160M
symbols_max: 1024
max_new_symbols: 30
check_interval: 100ms
alarms: {rdb_used: 1, rdb_lag: 300ms}
$trade"
    start
    is "ring" "$(figure status 'r["ring"]["size"]')" $((32 << 20))
    is "rdb" "$(figure rdb 'r["memory"]')" $((160 << 20))
    publish "2026.11.20D12:00:00,A,1"
    until_raised rdb.full
    p rdb pause >/dev/null || die "rdb pause"
    publish "2026.11.20D12:00:00,A,2"
    from=$(date +%s)
    until_raised rdb.lag
    [ $(($(date +%s) - from)) -lt 4 ] || die "rdb.lag was raised late"
    p rdb resume >/dev/null || die "rdb resume"
    python3 -c "
print('time,sym,price')
for i in range(40): print('2026.11.20D11:00:00,N%d,1' % i)" | p publish trade - >"$work/out" 2>&1 && die "more than max_new_symbols were taken"
    grep -q "symbol .N[0-9]*. is refused" "$work/out" || die "the refusal: $(cat "$work/out")"
    stop || die "the daemon's exit code"
    sed -i 's/^max_new_symbols.*/max_new_symbols: 100k/; s/^ring_size.*/peak_rate: 10M/' "$work/p.yaml"
    "$bin/penstockd" --config "$work/p.yaml" --check | grep -q "ring  *2.0 GiB = 2.* at peak_rate, 10,000,000" ||
        die "--check: $("$bin/penstockd" --config "$work/p.yaml" --check | grep ring)"
    sed -i 's/^peak_rate.*/ring_size: 16M/' "$work/p.yaml"
    start
    python3 -c "
print('time,sym,price')
for i in range(1100): print('2026.11.20D11:00:00,M%d,1' % i)" | p publish trade - >"$work/out" 2>&1 && die "more than symbols_max were taken"
    grep -q "symbol .M[0-9]*. is refused\|symbols_max" "$work/out" || die "the refusal: $(cat "$work/out")"
    ;;
interval) # an alarm is only seen at a check
    configure "check_interval: 1h
alarms: {symbols_used: 1}
symbols_max: 1024
$trade"
    start
    sleep 0.3 # past the first check
    publish "$(for i in $(seq 40); do echo "2026.11.20D12:00:00,S$i,1"; done)"
    sleep 1.3
    is "raised alarms" "$(raised)" ""
    ;;
cpus) # the threads' CPUs
    [ "$(nproc)" -gt 1 ] || skip "one CPU: nothing to see"
    configure "database: $work/hdb
cpus: {control: 0, log: 1, ledger: 0, rdb: 1, writedown: 0}
$trade"
    start
    for t in penstockd:0 log:1 ledger:0 rdb:1 writedown:0; do
        until_is "CPUs of ${t%:*}" "${t#*:}" sh -c "for d in /proc/$daemon/task/*; do [ \"\$(cat \$d/comm)\" != ${t%:*} ] || sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' \$d/status; done"
    done
    ;;
access) # who may do what: three users, each on one list
    [ "$(id -u)" = 0 ] && [ -z "${PST_USER:-}" ] || skip "needs root to be other users"
    chmod 711 "$work"
    configure "access: {view: [bin], operate: [daemon], admin: [nobody]}
socket_group: users
$trade"
    start
    as() { # USER COMMAND...
        user=$1; shift
        setpriv --reuid "$user" --regid users --clear-groups "$bin/penstock" --socket "$work/s.sock" "$@" >"$work/out" 2>&1
    }
    as bin tables || die "access.view: $(cat "$work/out")"
    as sys tables && die "everyone may view, though access.view names one"
    as daemon ack dates.missed; grep -q "needs level" "$work/out" && die "access.operate: $(cat "$work/out")"
    as bin ack dates.missed && die "who may view operates"
    grep -q "needs level operate" "$work/out" || die "who may view operates: $(cat "$work/out")"
    as nobody config reload || die "access.admin: $(cat "$work/out")"
    as daemon config reload && die "who may operate administers"
    ;;
queries) # processes, threads, limits, plugins
    [ -z "${PST_USER:-}" ] || skip "plugins belong to root, whom a user namespace does not show"
    configure "query_processes: 1
query_threads: 3
query_memory: 100M
query_timeout: 3s
query_rows: 5
query_queue: 1
plugins: [$BUILD/tests/misbehave.so]
views: {dear: {sql: 'SELECT time, sym FROM trade WHERE price > 1'}}
$trade"
    start
    until_is "processes that are ready" "[True]" figure queries '[x["state"] == "ready" for x in r["processes"]]'
    is "echo of the plugin" "$(p call echo text=hi --format csv -q 2>&1 | tail -1)" "hi 7 0.5"
    python3 -c "
print('time,sym,price')
for i in range(250000): print('2026.11.20D12:00:00,S%d,%d' % (i % 7, i))" | p publish trade - --level submitted >"$work/out" || die "publish"
    for _ in $(seq 100); do [ "$(p sql 'select count(*) from trade' --format csv -q 2>/dev/null | tail -1)" = 250000 ] && break; sleep 0.05; done
    p sql "select * from trade" >"$work/out" 2>&1 && die "more than query_rows"
    grep -q "5 rows" "$work/out" || die "query_rows: $(cat "$work/out")"
    p sql "select max(price) from trade" >"$work/out" 2>&1 || die "max: $(cat "$work/out")"
    is "rows of a view" "$(p sql 'select count(*) from dear' --format csv -q | tail -1)" 249998
    p sql "select price from dear" >"$work/out" 2>&1 && die "a column that the view does not name"
    pid=$(figure queries 'r["processes"][0]["pid"]')
    is "threads of the process" "$(cat /proc/"$pid"/task/*/comm | grep -c .)" 4 # its own, and three that run queries
    p call hog >"$work/out" 2>&1 && die "a query had all memory"
    hogged=$(sed -n 's/.* after \([0-9]*\) MiB.*/\1/p' "$work/out")
    [ "${hogged:-0}" -gt 10 ] && [ "$hogged" -lt 600 ] || die "query_memory: $(cat "$work/out")"
    until_is "processes that are ready" "[True]" figure queries '[x["state"] == "ready" for x in r["processes"]]'
    from=$(date +%s%N)
    p call polite --timeout 9s >"$work/polite" 2>&1 & one=$!
    until_is "queries" 1 figure queries 'len(r["queries"])'
    p call polite --timeout 9s >"$work/two" 2>&1 & two=$!
    until_is "queries" 2 figure queries 'len(r["queries"])'
    p call echo text=hi >"$work/out" 2>&1 && die "a third query was taken"
    grep -q query_queue "$work/out" || die "query_queue: $(cat "$work/out")"
    wait "$one" && die "polite ended well"
    [ $((($(date +%s%N) - from) / 1000000)) -lt 7000 ] || die "query_timeout: it ran for long"
    wait "$two"
    ;;
feeds) # names, times, dates, sessions; a spinning lcore
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: x, line: P}
      - {group: "239.192.1.4:26400", feed: x, line: P, source: 127.0.0.5}
      - {group: "239.192.1.2:26400", feed: y}'
    FEEDS='  - {name: x, decoder: itch50, zone: Asia/Tokyo}
  - {name: y, decoder: itch50, date: 2026-01-05, max_sessions: 2}' configure "wait: spin
check_interval: 100ms"
    sed -i 's/name: p0/name: left/' "$work/p.yaml"
    start
    packets "A S1 1 ok" "B S1 1 ok" "B S2 1 ok" "B S3 1 ok" "B S1 2 ok" "239.192.1.4:26400 S1 2 ok" "239.192.1.4:26400@127.0.0.5 S1 3 ok" "sleep 0.2"
    until_is "rows of x" 2 figure "feed x" 'r["feed"]["decoded"]'
    until_is "rows of y" 3 figure "feed y" 'r["feed"]["decoded"]'
    is "port" "$(figure topo 'r["ports"][0]["name"]')" left
    is "lines of x and y" "$(figure feeds '[l["name"] for f in r["feeds"] for l in f["lines"]]')" "['P', 'A']"
    is "sessions of y" "$(figure "feed y" '[s["session"] for s in r["feed"]["sessions"]]')" "['S1', 'S2']"
    durable
    p log dump --json | python3 -c '
import datetime, json, sys
rows = [r for r in map(json.loads, sys.stdin) if r["table"].startswith("itch_")]
x, y = [[r for r in rows if r["feed"] == f] for f in "xy"]
assert [r["seq"] for r in x] == [1, 3] and [r["line"] for r in x] == ["P", "P"], rows
assert all(r["time"].endswith("D00:30:00.000000000") for r in x), x # 09:30 in Tokyo
tokyo = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=9))).strftime("%Y.%m.%d")
assert all(r["time"].startswith(tokyo) for r in x), x
assert [r["seq"] for r in y] == [1, 1, 2] and all(r["time"] == "2026.01.05D14:30:00.000000000" for r in y), y
' || die "the rows: $(p log dump --json | grep itch_)"
    rx=$(figure topo '[t["tid"] for t in r["threads"] if t["name"].startswith("rx")][0]')
    slept() { sed -n 's/^voluntary_ctxt_switches:[[:space:]]*//p' /proc/"$daemon"/task/"$rx"/status; }
    before=$(slept); sleep 0.5 # a thread that spins never gives up its CPU by itself
    [ $(($(slept) - before)) -le 20 ] || die "the lcore slept $(($(slept) - before)) times in half a second, though it spins"
    ;;
windows) # how much waits for a missing packet, and how long
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: count}
      - {group: "239.192.1.2:26400", feed: bytes}
      - {group: "239.192.1.3:26400", feed: time}'
    FEEDS='  - {name: count, decoder: itch50, window_count: 2, window_time: 1m}
  - {name: bytes, decoder: itch50, window_bytes: 4096, window_time: 1m}
  - {name: time, decoder: itch50, window_time: 2s}' configure "check_interval: 100ms"
    start
    packets "A S1 1 ok" "B S1 1 ok" "C S1 1 ok" "C S1 3 ok" "sleep 0.3" "C S1 2 ok" \
        "A S1 3 ok" "A S1 4 ok" "A S1 5 ok" "A S1 6 ok" "B S1 3 ok*90" "B S1 93 ok*90" "B S1 183 ok*90" "B S1 273 ok*90" "B S1 363 ok*90"
    until_is "gaps by feed" "{'count': 1, 'bytes': 1, 'time': 0}" figure feeds '{f["name"]: f["gaps"] for f in r["feeds"]}'
    until_is "rows of time" 3 figure "feed time" 'r["feed"]["decoded"]'
    ;;
silence) # lines that may be silent, and feeds outside their hours
    day() { date -u -d "$1" +%F; }
    other=$(LC_ALL=C date -u -d "3 days" +%a)
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: x, line: P}
      - {group: "239.192.1.2:26400", feed: x, line: Q}
      - {group: "239.192.1.3:26400", feed: shut}
      - {group: "239.192.1.5:26400", feed: away}
      - {group: "239.192.1.6:26400", feed: slow}'
    FEEDS="  - {name: x, silence: 300ms, lines: [P, {name: Q, role: retransmission}]}
  - {name: shut, silence: 300ms, hours: $other 00:00-23:59 UTC}
  - {name: away, silence: 300ms, hours: Mon-Sun 00:00-24:00 UTC, holidays: [$(day yesterday), $(day today), $(day tomorrow)]}
  - {name: slow, silence: 1h}" configure "check_interval: 100ms
alarms: {clear_after: 0}"
    start
    packets "A S1 1 none" "239.192.1.3:26400 S1 1 none" "239.192.1.5:26400 S1 1 none" "239.192.1.6:26400 S1 1 none" \
        "sleep 0.2" "A S1 1 none" "sleep 0.2" "A S1 1 none" "sleep 0.2" "A S1 1 none" "sleep 0.2" "A S1 1 none" "sleep 0.2" "A S1 1 none" "sleep 0.2" "A S1 1 none"
    is "alarms while only P of x speaks" "$(raised)" ""
    until_raised feed.silent
    sleep 0.3
    is "silent feeds" "$(figure alarms '[a["subject"] for a in r["raised"] if a["code"] == "feed.silent"]')" "['x']"
    ;;
framing) # a framing of one's own: another first number, messages with a header of their own, a send time
    FEEDS='  - {name: itch, framing: own, decoder: itch50, zone: Asia/Tokyo}' configure "framings:
  own:
    header: 24
    stream_key: [{at: 0, width: 10, session: true}]
    seq: {at: 10, width: 8}
    count: {at: 18, width: 2}
    first_seq: 5
    message: {length: {at: 1, width: 2, add: 1}, body: 4}
    unsequenced: [{at: 0, width: 1, value: 0x55, in: message}]
    send_time: {at: 20, width: 4, unit: s, epoch: midnight}"
    start
    packets "$(python3 -c '
event = b"S" + bytes(4) + int(34200e9).to_bytes(6, "big") + b"Q"
def packet(seq, tag, n):
    message = bytes([tag]) + len(event).to_bytes(2, "big") + b"\0" + event
    return b"S1        " + seq.to_bytes(8, "big") + n.to_bytes(2, "big") + (34201).to_bytes(4, "big") + n * message
print("A raw " + packet(7, 1, 2).hex())')" "$(python3 -c '
event = b"S" + bytes(4) + int(34200e9).to_bytes(6, "big") + b"Q"
print("A raw " + (b"S1        " + (500).to_bytes(8, "big") + (1).to_bytes(2, "big") + (34202).to_bytes(4, "big") + b"\x55" + len(event).to_bytes(2, "big") + b"\0" + event).hex())')"
    until_is "rows" 3 figure "feed itch" 'r["feed"]["decoded"]'
    durable
    is "gap before the first number" "$(p log dump --json | python3 -c '
import json, sys
print([(r["first"], r["last"], r["reason"]) for r in map(json.loads, sys.stdin) if r["table"] == "gap"])')" "[(5, 6, 'before_start')]"
    is "next number" "$(figure "feed itch" 'r["feed"]["sessions"][0]["next"]')" 9
    is "rows outside the numbering" "$(figure "feed itch" 'r["feed"]["lines"][0]["unsequenced"]')" 1
    is "sent" "$(figure "line itch A" '(r["line"]["sent"] // 10**9 + 9 * 3600) % 86400')" 34201
    [ "$(figure "line itch A" 'abs(r["line"]["sent_before_ns"]) <= 13 * 3600 * 10**9')" = True ] || die "sent_before_ns: $(p line itch A)"
    ;;
calendar) # when dates end, and which of them passed while nothing ran
    shift_clock=$BUILD/tests/shift_clock.so
    [ -f "$shift_clock" ] && ! ldd "$bin/penstockd" | grep -q lib.san || skip "the clock cannot be shifted here"
    calendars() { # KEYS-OF-DEFAULT KEYS-OF-FAR
        configure "calendar: {zone: America/New_York, eod_time: -03:30, late_window: 1h${1:-}}
calendars:
  - {name: far, zone: Asia/Tokyo, eod_time: '09:10', late_window: 45m, tables: [trade]${2:-}}
$trade"
    }
    calendars
    LD_PRELOAD=$shift_clock PST_SHIFT_CLOCK=-691200 start # eight days ago
    opens=$(figure eod '" ".join(c["open"].replace(".", "-") for c in r["calendars"])')
    stop || die "the daemon's exit code"
    day() { LC_ALL=C date -u -d "${opens% *} $1 days" +"$2"; }
    off() { echo ", weekend: [$(day 1 %a), $(day 2 %a), $(day 3 %a)], holidays: [$(day 7 %F)]"; }
    default=$(off) missed=$(day 4 %Y.%m.%d)" to "$(day 6 %Y.%m.%d)
    opens=${opens#* }
    calendars "$default" "$(off)"
    start
    missed() { figure alarms '[a["text"][:24] for a in r["raised"] if a["code"] == "dates.missed" and a["subject"] == "'"$1"'"]'; }
    until_is "dates missed" "['$missed']" missed default
    until_is "dates missed of far" "['$(day 4 %Y.%m.%d) to $(day 6 %Y.%m.%d)']" missed far
    is "calendars" "$(figure eod '[c["calendar"] for c in r["calendars"]]')" "['default', 'far']"
    is "late windows in minutes" "$(figure eod '[(c["closes"] - c["ends"]) // 60 // 10**9 for c in r["calendars"]]')" "[60, 45]"
    is "ends" "$(p eod --json | python3 -c '
import datetime, json, sys, zoneinfo
for c, zone in zip(json.load(sys.stdin)["calendars"], ("America/New_York", "Asia/Tokyo")):
    t = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=c["ends"] // 1000)
    print(t.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%H:%M"), end=" ")')" "20:30 09:10 "
    publish ,A,1
    until_is "the row's calendar" "[('far', 1)]" figure rdb '[(d["calendar"], d["rows"]) for d in r["days"] if d["calendar"] != "default" and d["rows"]]'
    ;;
database) # an ended date: where it goes, what stands in its way, who is told
    cat >"$work/tell" <<SH
#!/bin/sh
echo "\$1 \$PENSTOCK_ALARM \$PENSTOCK_DATE" >>$work/told
SH
    chmod 755 "$work/tell"
    configure "database: $work/hdb
existing_partition: supersede
hdb_lockfile: $work/locks/hdb.lock
eod_retry: 200ms
check_interval: 100ms
alarm_exec: [$work/tell, alarm]
post_save_exec: [$work/tell, saved]
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float}}
  last: {columns: {time: timestamp, sym: symbol, price: float}, key: [sym]}"
    rows() { p sql "select count(*) from $1" --format csv -q 2>&1 | tail -1; }
    for round in 1 2; do # the second instance finds a partition that is not its own
        start
        day=$(figure eod 'r["calendars"][0]["open"]')
        { echo sym,price; for i in $(seq "$round"); do echo "A,$i"; done; } >"$work/rows.csv"
        for t in trade last; do p publish $t "$work/rows.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"; done
        rm -rf "$work/locks"
        p eod run --yes >"$work/out" && die "published without its lockfile: $(cat "$work/out")"
        grep -q "hdb.lock" "$work/out" || die "the lockfile is not named: $(cat "$work/out")"
        mkdir "$work/locks"
        step() { figure eod "[d['step'] for d in r['days'] if d['day'] == '$day'][0]"; }
        until_is "step of $day" written step
        [ -d "$work/hdb/$day/trade" ] || die "no partition in database: $(ls "$work"/hdb*)"
        until_is "rows of trade in round $round" "$round" rows trade
        is "rows of last, whose key is sym" "$(rows last)" 1
        grep -q "^alarm writedown.failed " "$work/told" || die "alarm_exec: $(cat "$work/told")"
        until_is "lines of post_save_exec" "$round" grep -c "^saved .*$day" "$work/told"
        stop || die "the daemon's exit code"
        rm -rf "$work/state" "$work/log"
    done
    ;;
dpdk) # what the port is set to
    port() { # MTU ARGUMENT
        PORTS="ports:
  - name: p0
    device: $DEVICE
    mtu: $1
    promiscuous: true
    checksum: drop
    rx_descriptors: 2048
    groups: [{group: '239.192.1.1:26400', feed: itch}]" configure "dpdk_memory: 96M
dpdk_arguments: [--no-telemetry, $2]"
    }
    port 1500 --no-such-thing
    timeout 4 "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1 && die "an argument that the EAL does not know"
    grep -q "no-such-thing" "$work/out" || die "dpdk_arguments: $(cat "$work/out")"
    port 2000 --no-shconf # packets longer than its frames: the driver says so, at the start
    timeout 4 "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1 && die "an mtu beyond the frames of af_packet"
    grep -q "mtu 2000" "$work/out" || die "mtu: $(cat "$work/out")"
    port 1500 --no-shconf
    start
    ip -o link show in | grep -q PROMISC || die "the interface is not promiscuous"
    p topo --json | grep -q '"eal".* 96 MiB\|-m 96' || die "EAL: $(figure topo 'r["eal"]')"
    is "the port's two rings, in MiB" "$(python3 -c "
import re
print(sum(int(m[2], 16) - int(m[1], 16) for m in (re.match('(\w+)-(\w+) .*socket:', l) for l in open('/proc/$daemon/maps')) if m) >> 20)")" 8
    python3 - <<'PY' || die "raw packets"
import socket, struct
def checksum(b):
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    s = (s & 0xFFFF) + (s >> 16)
    return ~((s & 0xFFFF) + (s >> 16)) & 0xFFFF
def packet(seq, bad):
    event = b"S" + bytes(4) + int(34200e9).to_bytes(6, "big") + b"Q"
    payload = b"S1".ljust(10) + struct.pack(">QHH", seq, 1, len(event)) + event
    src, dst = socket.inet_aton("192.0.2.1"), socket.inet_aton("239.192.1.1")
    udp = struct.pack(">HHHH", 5000, 26400, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0) + src + dst
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    pseudo = src + dst + struct.pack(">BBH", 0, 17, len(udp)) + udp
    sum_ = checksum(pseudo + b"\0" * (len(pseudo) % 2)) ^ bad
    return bytes.fromhex("01005e400101020000000001") + b"\x08\0" + ip + udp[:6] + struct.pack(">H", sum_) + udp[8:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("out", 0))
for seq, bad in ((1, 0), (2, 0x5555), (2, 0)):
    s.send(packet(seq, bad))
PY
    until_is "rows" 2 figure "feed itch" 'r["feed"]["decoded"]'
    is "duplicates: the packet with the wrong checksum was not taken" "$(figure "feed itch" 'r["feed"]["lines"][0]["duplicate"]')" 0
    ;;
disk) # a full disk: how often the log is tried, and which alarms are raised before
    mkdir -p "$work/log" && mount -t tmpfs -o size=12m keys "$work/log" || skip "no tmpfs"
    mkdir -p "$work/hdb" && mount -t tmpfs -o size=12m keys "$work/hdb" || skip "no tmpfs"
    configure "database: $work/hdb
retry_interval: 20ms
log_low_space: 64k
database_low_space: 64k
log_preallocate: 0
check_interval: 100ms
$trade"
    start
    sleep 0.5
    case " $(raised) " in *" hdb.space "*) die "hdb.space, with 12 MiB free and database_low_space at 64 KiB" ;; esac
    head -c 13000000 /dev/zero >"$work/log/fill" 2>/dev/null
    head -c 13000000 /dev/zero >"$work/hdb/fill" 2>/dev/null
    until_raised hdb.space
    { echo time,sym,price; echo 2026.11.20D12:00:00,A,1; } | p publish trade - --level submitted >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    until_raised log.stalled
    tries() { figure counters "sum(c['value'] for c in r['counters'] if c['name'] in ('log.retry', 'log.nospace'))"; }
    before=$(tries)
    sleep 1
    now=$(tries)
    [ $((now - before)) -ge 6 ] || die "the log was tried $((now - before)) times in a second"
    rm "$work/log/fill" "$work/hdb/fill"
    until_is "errors of the log" "" figure status 'r["log"]["error"]'
    is "rows" "$(p tail trade --json | grep -c '"trade"')" 1
    ;;
*) die "no case $name" ;;
esac
[ -z "$daemon" ] || stop || die "the daemon's exit code"
exit 0
