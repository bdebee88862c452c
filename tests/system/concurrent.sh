#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# concurrent.sh: clients ask without pause while a feed is captured and rows are published, through ends of day,
# a rebuild of a written date, a clean restart and a kill. Each answer names the journal position of its cut; at the
# end each is compared with what the log holds below exactly that position (journalat, a walk of its own): no row
# twice, none missing. One reader is held over two ends of day and has the rows of its cut.
# PST_ALL=1: at 300,000 messages a second, and longer; RATE=N: at N, where the machine carries it.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
[ -z "${PST_USER:-}" ] || skip "plugins belong to root, whom a user namespace does not show"
enter_namespace "$@"
rate=${RATE:-100000} rounds=1
[ -n "${PST_ALL:-}" ] && rate=${RATE:-300000} rounds=3
HDB=$work/hdb RING=512M PREALLOCATE=64M
config "database: $HDB
rdb_memory: 4G
query_memory: 512M
query_timeout: 60s
query_processes: 3
database_low_space: 1M
eod_retry: 500ms
plugins: [$BUILD/tests/patient.so]
tables:
  trade: {columns: {time: timestamp, sym: symbol, size: long}}
  last: {columns: {time: timestamp, sym: symbol, price: float}, key: [sym]}"

soon() { # COMMAND...: until it succeeds, thirty seconds at most
    for _ in $(seq 600); do "$@" && return; sleep 0.05; done
    die "not so within thirty seconds: $*: $(tail -2 "$work"/asked.*; p rdb; p eod)"
}
day() { figure eod 'r["calendars"][0]["open"]'; }
answers() { cat "$work"/asked.* | grep -c '"rows"'; }
more() { [ "$(answers)" -ge "$1" ]; }
asked() { soon more $(($(answers) + ${1:-12})); } # each kind of question once more, about
ready() { [ "$(figure queries 'sum(x["state"]=="ready" for x in r["processes"])' 2>/dev/null)" = 3 ]; }
waits() { [ "$(grep -c "patient waits" "$work/daemon.log")" = "$1" ]; }

start
soon ready
"$sim" --iface out --report "$work/sent.json" --quiet --rate "$rate" --messages 4000000000 --symbols 400 \
    --heartbeat-ms 100 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 & others=$!
: >"$work/asked.0"
python3 - "$bin/penstock" "$work" <<'PY' & others="$others $!"
import os, subprocess, sys, time
penstock, d = sys.argv[1:]
n = 0
while not os.path.exists(d + "/enough"):
    for table, name in (("trade", "size"), ("last", "price")):
        t = "sym,%s\n" % name + "".join("P%d,%d\n" % ((n + i) * 7919 % 53, n + i) for i in range(40))
        subprocess.run([penstock, "--socket", d + "/s.sock", "publish", table, "-"], input=t, text=True, capture_output=True)
    n += 40
PY
publisher=$!
for i in 1 2 3; do python3 "$here/asking.py" ask "$work" "$work/s.sock" "$bin/penstock" $i & others="$others $!" clients="${clients:-} $!"; done
ended=$(day)
for round in $(seq $rounds); do
    asked
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    asked 6

    # a reader over two ends of day
    p call patient table=itch_order --timeout 60s --json >"$work/patient" 2>"$work/err" & reader=$! others="$others $reader"
    soon waits "$round"
    pid=$(figure queries '[x["process"] for x in r["queries"] if "patient" in json.dumps(x)][0]')
    kill -STOP "$pid"
    for i in 1 2; do p eod run "$(day)" --yes >"$work/out" || die "eod run with a reader: $(cat "$work/out")"; done
    asked
    kill -CONT "$pid"
    wait "$reader" || die "the held reader: $(cat "$work/err")"
    python3 - "$work/patient" "$work" <<'PY' || die "the held reader's rows"
import json, sys
a = json.load(open(sys.argv[1]))
before, after = ([{k: r[k] for k in ("date", "n", "s", "m")} for r in a["rows"] if r["again"] == i] for i in (0, 1))
assert before == after and before, "the reader saw two things:\n%s\n%s" % (before, after)
with open(sys.argv[2] + "/asked.0", "a") as out:
    out.write(json.dumps({"kind": "dates", "position": a["cut"]["position"], "rebuilding": a["cut"]["rebuilding"],
                          "behind": False, "incomplete": False, "rows": before}) + "\n")
PY
    # a written date again, from the log
    p rebuild "$ended" itch_order --yes >"$work/out" 2>&1 || die "rebuild: $(cat "$work/out")"
    asked 6

    # a clean restart in flow; memory comes back from the log while clients ask and rows arrive
    stop || die "the daemon's exit code"
    start
    soon ready
    asked
    p eod run "$(day)" --yes >"$work/out" || die "eod run after a restart: $(cat "$work/out")"
    asked 6
done
# What is below a cut has to be in the log, which a kill takes from the newest rows: the clients rest.
touch "$work/enough"
wait $clients "$publisher"
rm "$work/enough"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start
soon ready
for i in 4 5; do python3 "$here/asking.py" ask "$work" "$work/s.sock" "$bin/penstock" $i & others="$others $!" clients="$clients $!"; done
: >"$work/asked.4"
asked
p eod run "$(day)" --yes >"$work/out" || die "eod run after a kill: $(cat "$work/out")"
asked
touch "$work/enough"
wait $clients
kill "${others%% *}"; wait "${others%% *}" 2>/dev/null; others=
settle || die "the ledger does not balance"
stop || die "the daemon's exit code"
python3 "$here/asking.py" judge "$work" "$BUILD/tests/journalat" || die "an answer was not its cut's"
