#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# query.sh: queries and plugins that crash, loop, hoard, fork, write, lie and hang up, a hundred at once, killed
# from outside and inside, while a feed is captured. Each gets its error with the reason, the processes come
# back, and capture and ledger never notice: at the end the journal is exactly what was sent.
. "$(dirname "$0")/../system/lib.sh"
[ -z "${PST_USER:-}" ] || skip "plugins belong to root, whom a user namespace does not show"
enter_namespace "$@"
plugin=$BUILD/tests/misbehave.so
rm -f /tmp/penstock-misbehaved
cat >"$work/paged" <<SH
#!/bin/sh
echo "\$1 \$PENSTOCK_STATE \$PENSTOCK_ALARM \$PENSTOCK_SEVERITY \$PENSTOCK_TEXT" >>$work/pages
SH
chmod 755 "$work/paged"
config "query_memory: 256M
query_timeout: 30s
query_queue: 200
rdb_memory: 1G
plugins: [$plugin]
views: {adds: {sql: \"SELECT date, time, sym, shares, price FROM itch_order WHERE type = 'A'\"}}
alarm_exec: [$work/paged, \"a b\"]"
start

soon() { # COMMAND...: until it succeeds, ten seconds at most
    for _ in $(seq 200); do "$@" && return; sleep 0.05; done
    p queries; die "not so within ten seconds: $*"
}
ready() { [ "$(figure queries 'sum(x["state"]=="ready" for x in r["processes"])')" = 2 ]; }
idle() { [ "$(figure queries 'len(r["queries"])')" = 0 ]; }
running() { [ "$(figure queries 'sum(x["state"]=="running" for x in r["queries"])')" -ge "${1:-1}" ]; }
alarm() { p alarms | grep -q "$1"; }
fails() { # EXIT PATTERN VERB...
    want=$1 words=$2; shift 2
    p "$@" >"$work/out" 2>"$work/err"; code=$?
    [ $code = "$want" ] && grep -qE -- "$words" "$work/err" ||
        die "$*: exit $code, not $want: $(cat "$work/out" "$work/err")"
}
works() { # a plain query, and a plugin's
    n=$(p sql 'SELECT count(*) AS n FROM itch_order' --format csv -q 2>"$work/err" | tail -1)
    [ "$n" -ge 0 ] || die "no count: $(cat "$work/err")"
    [ "$(p call echo text=hi f=2 --format csv -q 2>"$work/err" | tail -1)" = "hi 7 2" ] || die "$(cat "$work/err")"
}
processes() { figure queries '" ".join(str(x["pid"]) for x in r["processes"] if x["pid"])'; }

soon ready
"$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate 4000 --duration 250 \
    --heartbeat-ms 200 --tail-heartbeats 3 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 & others=$!
more() { # the journal grows
    now=$(figure status 'r["log"]["tail"]')
    [ "$now" -gt "$((${tail:-0}))" ] || return 1
    tail=$now
}
soon more
works
n=$(p sql "SELECT count(*) FROM adds WHERE shares > 0" --format csv -q | tail -1)
soon [ "$(p sql "SELECT count(*) FROM itch_order WHERE type = 'A'" --format csv -q | tail -1)" -ge "$n" ]
p topo | grep -q 'penstock-query .*in a sandbox' || die "topo lacks the query processes"

# 1. What a plugin can do to its own process.
fails 1 'query process died: signal 11' call crash
fails 1 'query process died: signal 6' call aborts
fails 1 'query process died: exit code 0' call exits
fails 1 'ran longer than 0.3 s and did not stop when it was told to: its process was killed' call spin --timeout 300ms
fails 1 'ran longer than 0.3 s and was stopped' call polite --timeout 300ms
fails 1 'Cannot allocate memory after (2|3|4)[0-9]+ MiB' call hog
fails 1 'more than 1000 rows' call endless_rows --max-rows 1000
fails 1 'column said of row 0 is no string' call wrong_type
fails 1 'fails: as it was told to' call fails
soon ready
for _ in $(seq 12); do # 64 MiB each: sooner or later there are none left
    p call leak >/dev/null 2>&1 || leaked=1
done
[ -n "${leaked:-}" ] || die "a process leaked 768 MiB"
works
p call scribble >/dev/null 2>&1
works
soon more

# 2. What it can do to others: nothing.
for bad in forks runs_shell dials kills; do fails 1 'query process died: signal 31' call $bad; done
fails 1 'open: Operation not permitted' call writes
[ ! -e /tmp/penstock-misbehaved ] || die "a plugin wrote a file"
fails 1 'query process died: it sent a packet without the magic number' call talks
fails 1 'query process died: it floods its socket' call floods
fails 1 'did not stop when it was told to|process died: exit code 0' call hangs_up --timeout 300ms
before=$(grep -c 'line [0-9]' "$work/daemon.log")
p call logs >/dev/null || die "logs"
lines=$(($(grep -c 'line [0-9]' "$work/daemon.log") - before))
[ "$lines" -gt 0 ] && [ "$lines" -le 40 ] || die "10,000 lines of a plugin made $lines"
grep -q $'\x1b' "$work/daemon.log" && die "control characters in the log"
works
soon more

# 3. Killed, stopped, cancelled, left alone.
p call polite >"$work/out" 2>"$work/err" & client=$!
soon running
kill -9 "$(figure queries '[x["process"] for x in r["queries"]][0]')"
wait $client && die "a killed query succeeded"
grep -q 'query process died: signal 9 (Killed); it was restarted' "$work/err" || die "$(cat "$work/err")"
p call polite >"$work/out" 2>"$work/err" & client=$!
soon running
p query-kill "$(figure queries 'r["queries"][0]["id"]')" >/dev/null || die "query-kill"
wait $client && die "a stopped query succeeded"
grep -q 'stopped by an operator' "$work/err" || die "$(cat "$work/err")"
# not through p, here and below: a kill would end its subshell, not the client
"$bin/penstock" --socket "$work/s.sock" call polite >"$work/out" 2>"$work/err" & client=$!
soon running
kill -9 $client; wait $client 2>/dev/null
soon idle
for q in polite spin; do # stopped altogether: it hears nothing
    soon ready
    p call $q --timeout 4s >"$work/out" 2>"$work/err" & client=$!
    soon running
    kill -STOP "$(figure queries '[x["process"] for x in r["queries"]][0]')"
    wait $client && die "a stopped process answered"
    grep -q 'was killed' "$work/err" || die "$(cat "$work/err")"
done
soon ready
alarm query.restarts || die "no alarm"
soon grep -q '^a b raised query.restarts warn .* query processes died' "$work/pages"

# 4. A hundred at once; a queue that is full.
for i in $(seq 100); do
    p sql "SELECT count(*), max(seq) FROM itch_order WHERE sym <> 'X$i'" -q >"$work/q.$i" 2>&1 && echo ok >>"$work/oks" &
    clients="${clients:-} $!"
done
wait $clients
[ "$(wc -l <"$work/oks")" = 100 ] || die "$(wc -l <"$work/oks") of 100 queries: $(cat "$work"/q.*)"
sed -i 's/^query_queue: .*/query_queue: 3/' "$work/p.yaml"
p config reload >/dev/null || die "reload"
clients=
for i in 1 2 3 4 5; do "$bin/penstock" --socket "$work/s.sock" call polite --timeout 8s >/dev/null 2>&1 & clients="$clients $!"; done
soon running 2
waiting() { [ "$(figure queries 'sum(x["state"]=="queued" for x in r["queries"])')" = 3 ]; }
soon waiting
fails 1 '3 queries are waiting already' sql 'SELECT 1 AS one FROM gap'
kill -9 $clients; wait $clients 2>/dev/null
soon idle
works
soon more

# 5. Results larger than allowed, and large.
fails 1 'more than 10 rows|10 rows' sql 'SELECT * FROM itch_order' --max-rows 10
p sql 'SELECT * FROM itch_order' --format csv -q >"$work/big.csv" || die "a large result"
n=$(p sql 'SELECT count(*) FROM itch_order' --format csv -q | tail -1)
lines=$(wc -l <"$work/big.csv")
[ "$lines" -gt 10000 ] && [ "$lines" -le $((n + 1)) ] || die "$lines lines of $n rows"

printf 'SELECT count(*) AS n FROM itch_order\0 WHERE seq < 0' >"$work/nul.sql"
fails 2 'holds a byte 0' sql -f "$work/nul.sql"

# 6. The spawning process dies: everything comes back.
spawner=$(ps -o pid= --ppid "$(ps -o pid= --ppid "$daemon" | tr -d ' ')" | tr -d ' ')
kill -9 "$spawner"
soon alarm 'penstock-helper died'
soon ready
works
soon more

# 7. Capture and ledger never noticed.
kill -INT $others; wait $others || die "the simulator failed"
others=
settle || die "the ledger does not balance"
p counters --json >"$work/counters.json"
works
[ "$(p sql 'SELECT count(*) FROM gap' --format csv -q | tail -1)" = 0 ] || die "there are gaps: $(p gaps)"

# 8. The launcher dies: queries are refused with a sentence, nothing else.
children=$(processes)
kill -9 "$(ps -o pid= --ppid "$daemon" | tr -d ' ')"
soon alarm helper.gone
fails 1 'penstock-helper is gone' sql 'SELECT count(*) FROM itch_order'
gone() { for x in "$@"; do [ ! -e "/proc/$x" ] || grep -q '^State:.Z' "/proc/$x/status" || return 1; done; }
soon gone $children
p ledger >/dev/null || die "the ledger, without a helper"
stop || die "the daemon's exit code"
check

# 9. A daemon that is killed leaves nobody behind.
start
soon ready
p call polite >/dev/null 2>&1 & others=$!
p call spin >/dev/null 2>&1 & others="$others $!"
soon running 2
tree="$(processes) $(ps -o pid= --ppid "$daemon")"
for x in $(ps -o pid= --ppid "$daemon"); do tree="$tree $(ps -o pid= --ppid "$x")"; done
kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=
soon gone $tree
wait $others; others=
