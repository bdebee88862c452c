#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# eod.sh CASE: ends of day as a user sees them. What lies in the database is read by hdbread.py, a
# reader of its own, and compared with the log's text row for row.
case $1 in full)
    if [ -z "${PST_MOUNTS:-}" ]; then # a small filesystem of its own
        [ "$(id -u)" = 0 ] || { echo "SKIP: needs root to mount a tmpfs"; exit 77; }
        export PST_MOUNTS=1
        exec unshare -m "$0" "$@"
    fi ;;
esac
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
name=$1
case $name in flow | pause) enter_namespace "$@" ;; *) workdir ;; esac

HDB=$work/hdb
[ "$name" = pause ] && [ -n "${PST_ALL:-}" ] && RDB=12G
KEYS="rdb_memory: ${RDB:-256M}
eod_retry: 500ms
database_low_space: 1M
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long, note: string}}
  last: {columns: {time: timestamp, sym: symbol, price: float}, key: [sym]}"
[ "$name" = flow ] || [ "$name" = pause ] || { PORTS=" "; FEEDS=" "; RING=64M; }
configure() { # [EXTRA LINES]
    config "${DATABASE-database: $HDB
}$KEYS
${1:-}"
    sed -i '/^ *$/d' "$work/p.yaml"
    grep -q '^ports:' "$work/p.yaml" || sed -i '/^feeds:/d' "$work/p.yaml"
}
day() { figure eod 'r["calendars"][0]["open"]'; }
step() { figure eod "[d['step'] for d in r['days'] if d['day'] == '$1'][0] if [d for d in r['days'] if d['day'] == '$1'] else 'none'"; }
until_step() { # DATE STEP
    for _ in $(seq 200); do case $(step "$1") in $2*) return ;; esac; sleep 0.05; done
    die "$1 is $(step "$1"), not $2: $(p eod; true)"
}
raised() { p alarms --json | python3 -c 'import json,sys; print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))'; }
until_raised() { for _ in $(seq 150); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.1; done; die "$1 was not raised: $(raised)"; }
until_cleared() { for _ in $(seq 150); do case " $(raised) " in *" $1 "*) sleep 0.1 ;; *) return ;; esac; done; die "$1 was not cleared"; }
memory() { figure rdb 'r["rows"]'; }
until_left() { for _ in $(seq 200); do [ "$(memory)" -lt 100 ] && return; sleep 0.05; done; die "$(memory) rows are still in memory: $(p rdb)"; } # alarms have rows too
until_rows() { for _ in $(seq 200); do n=$(memory); [ "$n" -ge "$1" ] && [ "$n" -le $(($1 + 60)) ] && return; sleep 0.05; done; die "$(memory) rows in memory, not $1: $(p rdb)"; }

# publish N SYMBOLS: rows of both tables
rows=0
publish() {
    python3 - "$1" "$2" "$rows" "$work" <<'PY'
import sys
n, syms, first, d = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(d + "/trade.csv", "w") as t, open(d + "/last.csv", "w") as l:
    t.write("sym,price,size,note\n"); l.write("sym,price\n")
    for i in range(first, first + n):
        sym = "" if i % 97 == 0 else "S%d" % (i * 7919 % syms)
        t.write("%s,%s,%s,%s\n" % (sym, "" if i % 31 == 0 else i / 8, i, "x" * (i % 40)))
        l.write("%s,%d\n" % (sym, i))
PY
    p publish trade "$work/trade.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    p publish last "$work/last.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
    rows=$((rows + $1))
}

# same DATE [TABLE=ROWS]: the database's rows of that date are the log's
same() {
    date=$1; shift
    : >"$work/dump.json"
    for f in "$work/log/log$date"*; do
        "$bin/penstock" log dump "$f" --json >>"$work/dump.json" || die "log dump of $f"
    done
    python3 - "$work/dump.json" <<'PY' # a keyed table's partition has the last row of each key
import json, sys
keep, last = [], {}
for l in open(sys.argv[1]):
    r = json.loads(l)
    if r["table"] == "last": last[r["sym"]] = l
    else: keep.append(l)
open(sys.argv[1], "w").writelines(keep + list(last.values()))
PY
    python3 "$here/hdbread.py" "$HDB" "$date" "$work/dump.json" "$@" || die "$date: the database is not what the log holds"
}
hashes() { # DATE: what the markers say
    for t in "$HDB/$1"/*; do echo "$(basename "$t") $(head -1 "$t/.pstmeta" | python3 -c 'import json,sys; r=json.load(sys.stdin); print(r["rows"], r["hash"])')"; done | grep -v '^alarm'
}

# Asks for the rows of all dates, again and again, until $work/enough is there: through ends of day,
# publications and rebuilds a row is never seen twice and never missed, so the number never falls.
ask() { # TABLE
    python3 - "$bin/penstock" "$work" "$1" <<'PY'
import json, os, subprocess, sys
penstock, d, table = sys.argv[1:]
last, n, errors = 0, 0, []
while not os.path.exists(d + "/enough") or n < 5:
    r = subprocess.run([penstock, "--socket", d + "/s.sock", "sql", "--json", "-q",
                        "select count(*) as n, count(distinct seq) as s from " + table], capture_output=True, text=True)
    if r.returncode:
        errors.append(r.stderr.strip())
        continue
    a = json.loads(r.stdout)
    rows, seqs = a["rows"][0]["n"], a["rows"][0]["s"]
    assert rows >= last, "%d rows behind %d: %s" % (rows, last, a)
    assert rows == seqs, "%d rows of %d sequences: %s" % (rows, seqs, a)
    last, n = rows, n + 1
open(d + "/asked", "w").write("%d %d %d %s\n" % (n, last, len(errors), errors[:1]))
PY
}

case $name in
flow) # three ends of day in full flow; then each date again from the log; a restart finds nothing to do
    configure
    start
    (send --rate 7000 --messages 60000 --symbols 500 --heartbeat-ms 100 --tail-heartbeats 2 \
        --line A,239.192.1.1:26400 --line B,239.192.1.2:26400) & traffic=$! others=$traffic
    first=$(day)
    ask itch_order 2>"$work/asker" & asker=$! others="$traffic $asker"
    for _ in $(seq 200); do [ "$(memory)" -gt 8000 ] && break; sleep 0.05; done
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    grep -q "written" "$work/out" || die "eod run does not wait for the partition: $(cat "$work/out")"
    second=$(day)
    p eod run "$second" --yes --no-wait >"$work/out" || die "second eod run: $(cat "$work/out")"
    wait "$traffic" || die "the simulator failed"
    others=$asker
    until_step "$second" written
    third=$(day)
    settle || die "the ledger does not balance"
    p eod run "$(day)" --yes >"$work/out" || die "third eod run: $(cat "$work/out")"
    # without a name only a date that has begun ends, however often it is said
    p eod run --yes >"$work/out" || die "eod run once more: $(cat "$work/out")"
    grep -q "^$first was ended before; $(day) has not begun" "$work/out" && grep -q "written" "$work/out" || die "eod run once more: $(cat "$work/out")"
    # a date that ended before answers with what came of it
    p eod run "$first" --json >"$work/again.json" || die "eod run of a written date"
    python3 -c "
import json; r = json.load(open('$work/again.json'))
assert r['state'] == 'written' and r['rows'] > 0 and r['database'], r" || die "eod run again: $(cat "$work/again.json")"
    for _ in $(seq 100); do [ "$(p sql 'select count(*) from itch_order' --format csv -q 2>/dev/null | tail -1)" -gt 0 ] && break; sleep 0.1; done
    for d in "$first" "$second" "$third"; do same "$d"; hashes "$d" >"$work/eod-$d"; done
    for d in "$second" "$third"; do grep -q "^itch_order [1-9]" "$work/eod-$d" || die "no end of day in full flow: $(cat "$work"/eod-*)"; done
    [ "$(cut -d' ' -f2 "$work"/eod-* | paste -sd+ | bc)" = 60000 ] || die "the dates do not add up: $(cat "$work"/eod-*)"
    for d in "$first" "$second"; do
        p rebuild "$d" >"$work/out" 2>&1 && die "rebuild without --yes"
        p rebuild "$d" --dry-run >"$work/out" || die "rebuild --dry-run: $(cat "$work/out")"
        grep -q "nothing was changed" "$work/out" || die "dry run: $(cat "$work/out")"
        p rebuild "$d" --yes >"$work/out" 2>&1 || die "rebuild: $(cat "$work/out")"
        same "$d"
        hashes "$d" | cmp -s - "$work/eod-$d" || die "rebuild has other content: $(hashes "$d") $(cat "$work/eod-$d")"
    done
    touch "$work/enough"
    wait "$asker" || die "a query saw something else than all rows once: $(cat "$work/asker")"
    others=
    read -r n last errors rest <"$work/asked"
    echo "$n queries, $errors errors $rest"
    [ "$errors" = 0 ] && [ "$last" = "$(awk '$1=="itch_order"{n+=$2} END{print n}' "$work"/eod-*)" ] || die "$n queries, the last one $last rows: $(cat "$work/asked")"
    until_left
    settle || die "the ledger does not balance"
    p ledger | grep -q "^rdb .* = 0" || die "no rdb line in the ledger: $(p ledger)"
    stop || die "the daemon's exit code"
    start
    [ "$(step "$first")" = written ] || die "after a restart $first is $(step "$first")"
    p eod run "$second" --json | grep -q '"written"' || die "a written date after a restart"
    grep -q "rebuilt from the log" "$work/daemon.log" && [ "$(memory)" -gt 1000 ] && die "written days were read again"
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    ;;
states) # a restart in each state, clean and killed
    configure
    start
    publish 3000 50
    until_rows 6000
    d=$(day)
    stop || die "the daemon's exit code"
    start # open: the rows are read again from the log
    until_rows 6000
    publish 1000 50
    until_rows 8000
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
    start
    until_rows 8000
    settle || die "the ledger does not balance"
    # closed, and not written: a verb of another process has the database's lock
    python3 -c "
import fcntl, os, sys, time
f = open('$HDB/pst\$/lock', 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); time.sleep(60)" >"$work/locker" & others=$!
    for _ in $(seq 50); do [ -s "$work/locker" ] && break; sleep 0.05; done
    p eod run "$(day)" --yes --no-wait >"$work/out" || die "eod run: $(cat "$work/out")"
    until_step "$d" closed
    [ -d "$HDB/$d" ] && die "written through a lock"
    publish 500 50
    stop || die "the daemon's exit code, with a day closed"
    kill -9 $others; wait "$others" 2>/dev/null; others=
    start
    until_step "$d" written
    same "$d" trade=4000
    p eod cancel "$d" >/dev/null 2>&1 && die "cancel of a written day"
    next=$(day)
    until_rows 1000
    # cancelled while it waits; a restart tries again
    mv "$HDB" "$work/away"; echo "no directory" >"$HDB"
    p eod run "$(day)" --yes --no-wait >/dev/null || die "eod run"
    until_step "$next" failed
    p eod cancel "$next" >/dev/null || die "eod cancel"
    until_step "$next" cancelled
    until_raised eod.cancelled
    rm "$HDB"; mv "$work/away" "$HDB"
    sleep 1.2
    [ "$(step "$next")" = cancelled ] || die "a cancelled day is $(step "$next")"
    p eod retry "$next" >/dev/null || die "eod retry"
    until_step "$next" written
    until_cleared eod.cancelled
    same "$next" trade=500
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null
    start # written: nothing is read again, nothing is written again
    until_left
    [ "$(step "$next")" = written ] || die "after a kill $next is $(step "$next")"
    same "$d"; same "$next"
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    # the catalogue is lost: the partitions say themselves what is in them
    rm "$work/state/catalogue"
    start
    until_step "$d" written; until_step "$next" written
    same "$d" trade=4000; same "$next" trade=500
    publish 100 50
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    stop || die "the daemon's exit code"
    ;;
full) # the database's volume is full, then freed
    mkdir "$work/disk"
    mount -t tmpfs -o size=24m none "$work/disk" || skip "cannot mount a tmpfs"
    HDB=$work/disk/hdb
    configure
    start
    publish 60000 200
    until_rows 120000
    d=$(day)
    dd if=/dev/zero of="$work/disk/full" bs=64k status=none 2>/dev/null
    until_raised hdb.space
    p eod run "$(day)" --yes >"$work/out" && die "written to a full disk: $(cat "$work/out")"
    grep -q "make room\|No space" "$work/out" || die "eod run does not say why: $(cat "$work/out")"
    until_raised writedown.failed
    p eod >"$work/out" && die "eod status exits 0 while a day is not written"
    [ "$(memory)" -ge 120000 ] || die "the day left memory without being written"
    [ -d "$HDB/$d" ] && die "a partition on a full disk"
    publish 1000 200 # capture does not care
    rm "$work/disk/full"
    p eod retry "$d" >/dev/null || die "eod retry"
    until_step "$d" written
    until_cleared writedown.failed; until_cleared hdb.space
    same "$d" trade=60000
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    umount "$work/disk"
    ;;
none) # no database: memory is freed, the log stays, one line says so
    DATABASE=
    configure
    start
    publish 2000 50
    until_rows 4000
    d=$(day)
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    grep -q "in the log only" "$work/out" || die "eod run: $(cat "$work/out")"
    until_left
    [ "$(grep -c "no database is configured" "$work/daemon.log")" = 1 ] || die "not one line about the missing database"
    "$bin/penstock" log dump "$work/log/log$d" trade --json | wc -l | grep -qx 2000 || die "the log lost the day"
    stop || die "the daemon's exit code"
    start
    until_left
    [ "$(grep -c "rebuilt from the log" "$work/daemon.log")" = 0 ] || [ "$(memory)" -lt 100 ] || die "a given-up day came back"
    # a database later: the day comes from the log
    stop || die "the daemon's exit code"
    DATABASE="database: $HDB
"
    configure
    start
    p rebuild "$d" --yes >"$work/out" 2>&1 || die "rebuild: $(cat "$work/out")"
    same "$d" trade=2000
    stop || die "the daemon's exit code"
    ;;
unloaded) # what cannot be a database is not loaded; capture goes on; it is tried again
    echo "not a directory" >"$HDB"
    configure
    start
    until_raised hdb.not_loaded
    publish 1000 20
    d=$(day)
    p eod run "$(day)" --yes >"$work/out" && die "written nowhere: $(cat "$work/out")"
    grep -q "waits for the database" "$work/out" || die "eod run: $(cat "$work/out")"
    rm "$HDB"
    until_step "$d" written
    until_cleared hdb.not_loaded
    same "$d" trade=1000
    stop || die "the daemon's exit code"
    # a symbol file that is none
    printf 'garbage, not symbols' >"$HDB/sym"
    start
    until_raised hdb.not_loaded
    publish 10 20
    # an answer without the database's dates says so
    for _ in $(seq 100); do p sql 'select count(*) n from trade' --json -q >"$work/out" 2>"$work/err" && break; sleep 0.1; done
    python3 -c "
import json; a = json.load(open('$work/out'))
assert a['cut']['incomplete'] and any('not loaded' in w['text'] for w in a['warnings']), a" || die "an answer without the database: $(cat "$work/out" "$work/err")"
    stop || die "the daemon's exit code"
    ;;
existing) # what is there and is not ours: refuse, then merge or supersede; the lockfile; preloaded symbols
    configure "hdb_lockfile: $work/lock/hdb.lock
post_save_exec: [/bin/sh, -c, 'env >>$work/hook; echo \"\$PENSTOCK_DATE \$PENSTOCK_ROWS \$PENSTOCK_TABLES\" >>$work/saved']"
    start
    publish 2000 30
    d=$(day)
    p eod run "$(day)" --yes >"$work/out" && die "published although the lockfile could not be made: $(cat "$work/out")"
    grep -q "hdb.lock" "$work/out" || die "the lockfile is not named: $(cat "$work/out")"
    mkdir "$work/lock"
    p eod retry "$d" >/dev/null || die "eod retry"
    until_step "$d" written
    [ -e "$work/lock/hdb.lock" ] && die "the lockfile is still there"
    for _ in $(seq 100); do p eod | grep -q "post_save_exec: done" && break; sleep 0.05; done
    [ "$(wc -l <"$work/saved")" = 1 ] && grep -q "^$d [0-9]* .*trade" "$work/saved" || die "post_save_exec: $(cat "$work/saved" "$work/hook"; p eod)"
    p ledger | grep -q "^hdb $d default .* = 0" || die "no hdb line in the ledger: $(p ledger)"
    same "$d" trade=2000
    stop || die "the daemon's exit code"
    cp -a "$HDB" "$work/copy"
    # another instance meets it: its symbols come first, its partition is foreign
    for policy in refuse merge supersede; do
        rm -rf "$work/state" "$work/log" "$HDB"; cp -a "$work/copy" "$HDB"
        rm -f "$HDB/$d"/*/.pstmeta
        configure "existing_partition: $policy"
        start
        grep -q "symbols of .* are the first of the journal" "$work/daemon.log" || die "sym was not preloaded"
        rows=2000
        publish 700 30
        p eod run "$(day)" --yes >"$work/out"; code=$?
        case $policy in
        refuse) [ $code = 1 ] || die "a foreign partition was changed: $(cat "$work/out")"; want=2000 ;;
        merge) [ $code = 0 ] || die "merge: $(cat "$work/out")"; want=2700 ;;
        supersede) [ $code = 0 ] || die "supersede: $(cat "$work/out")"; want=700 ;;
        esac
        got=$(python3 "$here/hdbread.py" "$HDB" "$d" --counts | python3 -c 'import json,sys; print(json.load(sys.stdin)["trade"])')
        [ "$got" = $want ] || die "$policy: $got rows of trade, not $want"
        [ $policy = refuse ] && { until_raised writedown.failed; [ "$(memory)" -ge 1400 ] || die "refused rows left memory"; }
        stop || die "the daemon's exit code"
    done
    ;;
small) # less memory than rows: the day is incomplete in memory, complete on disk
    RDB=128M
    KEYS="rdb_memory: 128M
eod_retry: 500ms
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long, note: string}}
  last: {columns: {time: timestamp, sym: symbol, price: float}, key: [sym]}"
    configure
    start
    d=$(day)
    publish 10 10
    # strings of 20,000 bytes fill it
    python3 -c "
print('sym,price,size,note')
for i in range(7000): print('L%d,%d,%d,%s' % (i % 7, i, i, chr(97 + i % 26) * 20000))" >"$work/long.csv"
    p publish trade "$work/long.csv" >"$work/out" || die "publish: $(cat "$work/out")"
    until_raised rdb.full
    for _ in $(seq 100); do [ "$(figure rdb 'r["refused"]')" -gt 0 ] && break; sleep 0.1; done
    [ "$(figure rdb 'r["refused"]')" -gt 0 ] || die "nothing was refused: $(p rdb)"
    settle || die "the ledger does not balance: $(p ledger)"
    p ledger --json | python3 -c 'import json,sys; r=json.load(sys.stdin)["rdb"]; assert r["refused"] > 0 and r["diff"] == 0, r' || die "the ledger's rdb line"
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    same "$d" trade=7010
    until_cleared rdb.full
    until_left
    stop || die "the daemon's exit code"
    ;;
symbols) # the sym file loses names: no answer rather than nulls; an older one is put back: the end of day completes it
    configure
    start
    publish 40000 50
    d=$(day)
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    for _ in $(seq 100); do p sql 'select count(*) n from trade' -q >/dev/null 2>&1 && break; sleep 0.1; done
    by_sym() { p sql "select sym, count(*) n, sum(size) s from trade where date = '$d' group by sym order by sym" --format csv -q; }
    by_sym >"$work/before" || die "group by sym"
    cp "$HDB/sym" "$work/sym"
    python3 -c "
b = open('$HDB/sym', 'rb').read(); at = 8
for _ in range(20): at = b.index(0, at) + 1
open('$HDB/sym', 'r+b').truncate(at)"
    for q in "select sym, count(*) from trade group by sym" "select count(*) from trade where sym is null" "select sym from trade where size = 999"; do
        p sql "$q" >"$work/out" 2>&1 && die "answered without the names: $q: $(cat "$work/out")"
        grep -q "lost\|no name" "$work/out" || die "$q: $(cat "$work/out")"
    done
    [ "$(p sql 'select count(*) from trade' --format csv -q | tail -1)" = 40000 ] || die "what needs no symbol is answered"
    mv "$work/sym" "$HDB/sym"
    by_sym | cmp -s - "$work/before" || die "after the names are back"
    # a column is cut short under its map: that query ends, the next says why, and put back it is read again
    column=$HDB/$d/trade/size
    cp "$column" "$work/size"
    truncate -s 4096 "$column"
    for _ in 1 2 3; do
        by_sym >"$work/out" 2>&1 && die "rows of a column that was cut: $(cat "$work/out")"
        grep -q "cut short\|has bytes for" "$work/out" || die "a column that was cut: $(cat "$work/out")"
    done
    cat "$work/size" >"$column"
    for _ in $(seq 20); do by_sym 2>/dev/null | cmp -s - "$work/before" && break; sleep 0.1; done
    for _ in 1 2 3; do by_sym | cmp -s - "$work/before" || die "after the column is back"; done
    cp "$HDB/sym" "$work/sym"
    publish 1000 900
    next=$(day)
    mv "$work/sym" "$HDB/sym" # another file of the name, under the daemon
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    by_sym | cmp -s - "$work/before" || die "the first date, after the second"
    same "$d" trade=40000; same "$next" trade=1000
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    ;;
reader) # a query holds its days over two ends of day, then one holds them for too long
    configure "plugins: [$BUILD/tests/misbehave.so]
query_timeout: 60s"
    start
    for _ in $(seq 100); do [ "$(p sql 'select count(*) from trade' --format csv -q 2>/dev/null | tail -1)" = 0 ] && break; sleep 0.1; done
    pins() { figure rdb 'r["pins"]'; }
    in_memory() { figure rdb "' '.join(sorted(d['day'] + ':' + ('published' if d['published'] else d['state']) for d in r['days']))"; }
    publish 1000 20
    until_rows 2000
    d=$(day)
    "$bin/penstock" --socket "$work/s.sock" call polite --timeout 40s >"$work/polite" 2>&1 & reader=$! others=$reader
    for _ in $(seq 100); do [ "$(pins)" = 1 ] && break; sleep 0.05; done
    [ "$(pins)" = 1 ] || die "the query holds nothing"
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    publish 500 20
    next=$(day)
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    for _ in $(seq 100); do case $(in_memory) in *"$next"*) sleep 0.05 ;; *) break ;; esac; done
    case $(in_memory) in *"$d:published"*) ;; *) die "a day left memory under its reader: $(in_memory)" ;; esac
    case $(in_memory) in *"$next"*) die "a day that nobody reads is still in memory: $(in_memory)" ;; esac
    [ "$(p sql 'select count(*) from trade' --format csv -q | tail -1)" = 1500 ] || die "not every row once"
    kill "$reader"; wait "$reader" 2>/dev/null; others= # its client goes away: the query is cancelled
    for _ in $(seq 100); do case $(in_memory) in *"$d"*) sleep 0.05 ;; *) break ;; esac; done
    case $(in_memory) in *"$d"*) die "memory was not given back: $(in_memory)" ;; esac
    same "$d" trade=1000; same "$next" trade=500
    settle || die "the ledger does not balance"
    stop || die "the daemon's exit code"
    configure "plugins: [$BUILD/tests/misbehave.so]
query_timeout: 60s
pin_grace: 500ms"
    start
    publish 100 20
    d=$(day)
    for _ in $(seq 100); do "$bin/penstock" --socket "$work/s.sock" call polite --timeout 40s >"$work/polite" 2>&1 & reader=$!; others=$reader
        for _ in $(seq 20); do [ "$(pins)" = 1 ] && break; sleep 0.05; done
        [ "$(pins)" = 1 ] && break
        wait "$reader"
    done
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    until_raised pin.overdue
    wait "$reader" && die "an overdue query ended well"
    others=
    grep -q "pin_grace" "$work/polite" || die "the query does not say why: $(cat "$work/polite")"
    for _ in $(seq 100); do case $(in_memory) in *"$d"*) sleep 0.05 ;; *) break ;; esac; done
    case $(in_memory) in *"$d"*) die "memory was not given back: $(in_memory)" ;; esac
    stop || die "the daemon's exit code"
    ;;
pause) # the rdb stands still in full flow, the ring laps it: nothing is lost, exact rows after
    RING=32M
    seconds=4 rate=200000
    [ -n "${PST_ALL:-}" ] && seconds=${PAUSE_S:-60} rate=1000000 RING=512M
    configure "alarms: {rdb_lag: 500ms, clear_after: 500ms}"
    start
    publish 100 10
    until_rows 200
    p rdb pause >/dev/null || die "rdb pause"
    send --rate "$rate" --messages $((seconds * rate)) --symbols 2000 --heartbeat-ms 100 --tail-heartbeats 2 \
        --line A,239.192.1.1:26400 --line B,239.192.1.2:26400
    until_raised rdb.lag
    [ "$(memory)" -le 260 ] || die "a paused rdb took rows"
    figure status 'r["ring"]["used"]' >"$work/used"
    [ "$(cat "$work/used")" -lt $((${RING%M} << 19)) ] || die "the rdb holds the ring: $(cat "$work/used")"
    p rdb resume >/dev/null || die "rdb resume"
    settle || die "the ledger does not balance"
    for _ in $(seq 600); do [ "$(figure rdb 'r["behind"]')" -lt 100000 ] && break; sleep 0.1; done
    until_cleared rdb.lag
    [ "$(figure counters '[c["value"] for c in r["counters"] if c["name"] == "rdb.lapped"][0]')" -gt 0 ] ||
        [ $((seconds * rate)) -lt 700000 ] || die "the ring did not lap the rdb: the test shows nothing"
    settle || die "the ledger does not balance"
    p ledger --json | python3 -c "
import json, sys
r = json.load(sys.stdin)
assert r['balanced'] and r['rdb']['diff'] == 0 and r['rdb']['counted'] >= 100 + sum(s['journaled'] for s in r['sessions']), r['rdb']
assert sum(s['gaps'] for s in r['sessions']) == 0, 'packets were lost'" || die "after the pause: $(p ledger)"
    p eod run "$(day)" --yes >"$work/out" || die "eod run: $(cat "$work/out")"
    stop || die "the daemon's exit code"
    ;;
captures) # the same rows by end of day, from the log, and by another replay: equal content hashes
    data=${PST_DATA:-$SOURCE/../shared/data}
    [ -d "$data" ] || skip "no real captures: $data is absent (PST_DATA names another folder)"
    "$sim" --pcap "$work/itch.pcap" --messages 40000 --rate 40000 --lines loss=2%,burst=4 --quiet || die "simulator"
    sorted() { python3 -c "
import json, sys
r = json.load(sys.stdin)
log = sorted((t['table'], t['day'], t['rows'], t['hash']) for t in r['tables'])
hdb = sorted((t['table'], d['day'], t['rows'], t['hash']) for d in r['days'] for t in (d.get('result') or {}).get('tables', []) if t['rows'])
assert r['ledger']['balanced'] and log == hdb, (log, hdb)
for x in hdb: print(*x)"; }
    tried=0
    while read -r file feed date; do
        [ -f "$file" ] || die "$file is missing"
        rm -rf "$work/one" "$work/two" "$work/again"
        "$bin/penstockd" --replay "$file" --feed "$feed" ${date:+--date "$date"} --json --rows 0 --dir "$work/one" --database "$work/one/hdb" --eod >"$work/1.json" 2>"$work/err"
        sorted <"$work/1.json" >"$work/1" || die "$file: the partitions are not what the log holds: $(cat "$work/err")"
        [ -s "$work/1" ] || die "$file: no rows"
        "$bin/penstockd" --replay "$file" --feed "$feed" ${date:+--date "$date"} --json --rows 0 --dir "$work/two" --database "$work/two/hdb" --eod >"$work/2.json" 2>"$work/err"
        sorted <"$work/2.json" >"$work/2" || die "$file: second replay: $(cat "$work/err")"
        cmp -s "$work/1" "$work/2" || die "$file: two replays differ: $(diff "$work/1" "$work/2")"
        mkdir "$work/again"
        for d in $(cut -d' ' -f2 "$work/1" | sort -u); do
            "$bin/penstock" hdb rebuild "$d" --database "$work/again" --from "$work/one/log" --yes --json >"$work/3.json" || die "$file: rebuild of $d"
            python3 -c "
import json
for t in json.load(open('$work/3.json')):
    if t['rows']: print(t['table'], '$d', t['rows'], t['hash'])" >>"$work/3"
            # and over the partition that the end of day made
            "$bin/penstock" hdb rebuild "$d" --database "$work/one/hdb" --from "$work/one/log" --yes >"$work/out" || die "$file: rebuild over $d"
        done
        sort "$work/3" | cmp -s - "$work/1" || die "$file: the rebuild differs: $(sort "$work/3" | diff - "$work/1")"
        rm "$work/3"
        "$bin/penstock" hdb verify --hash --database "$work/one/hdb" >"$work/out" || die "$file: hdb verify: $(cat "$work/out")"
        tried=$((tried + 1))
    done <<LIST
$work/itch.pcap itch
$data/iex/iex_TOPS16.pcapng.gz iex
$data/iex/iex_example1.pcap iex
$data/iex/omi/Tops.IexTp.v1.5/AuctionInformationMessage.pcap iex
$data/iex/omi/Deep.IexTp.v1.0/PriceLevelBuyUpdateMessage.pcap iex
LIST
    [ $tried = 5 ] || die "only $tried captures"
    echo "$tried captures"
    ;;
*) die "no such case: $name" ;;
esac
exit 0
