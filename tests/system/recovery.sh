#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# recovery.sh: what a start does about a damaged log, as log_recovery_function says; rows before the
# first packet, as initial_state_function says; --hard-reset and --no-replay; the tools that repair.
. "$(dirname "$0")/lib.sh"
workdir
PORTS=" " FEEDS=" " PREALLOCATE=0 RING=16M
conf() { # [EXTRA LINES]: the log goes on, its keys change
    config "database: $work/hdb
tables:
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}, {name: size, type: long}]
  - name: ref
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: lot, type: long}]
${1:-}"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
}
publish() { # FROM TO: one batch a row
    for i in $(seq "$1" "$2"); do printf 'time,sym,price,size\n,A%d,1.5,%d\n' "$i" "$i" | p publish trade - >/dev/null || die "publish $i"; done
}
rows() { p sql "select $1 from trade" --json 2>/dev/null | python3 -c 'import json,sys; print(*json.load(sys.stdin)["rows"][0].values())'; }
counted() { # WANT-COUNT WANT-SUM, once memory has caught up
    for _ in $(seq 100); do [ "$(rows 'count(*), sum(size)')" = "$1 $2" ] && return; sleep 0.05; done
    die "trade has $(rows 'count(*), sum(size)') rows and sum, not $1 $2"
}
kill9() { sleep 0.3; kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=; }  # behind a tick, which notes what is durable
says() { grep -q -- "$1" "$work/daemon.log" || die "the daemon does not say: $1"; }
spoil() { # FILE N: one bit of the frame whose row has size N
    python3 - "$1" "$2" <<'PY' || die "spoil"
import struct, sys
b = bytearray(open(sys.argv[1], "rb").read())
at = b.rfind(struct.pack("<dq", 1.5, int(sys.argv[2])))
assert at > 8192
b[at] ^= 4
open(sys.argv[1], "wb").write(b)
PY
}
functions=$work/functions; mkdir -m 700 "$functions"
cp "$BUILD/tests/from_copy.so" "$BUILD/tests/misbehaving.so" "$functions" || die "functions"
newest() { ls -t "$work"/log/log2* | grep -v 'cut\|reset\|damaged\|header\|torn' | head -1; }

# ---- salvage, the default: all other rows, gap in positions, copy, alarm, restart mark; once
conf; start; publish 1 10; kill9
file=$(newest); cp "$file" "$work/whole"
spoil "$file" 4
head -c 300 /dev/urandom >>"$file"
start
says "are damaged, copied to $work/state/quarantine/"
says "are a torn tail (a write was under way): saved as"
counted 9 51
[ "$(ls "$work/state/quarantine" | wc -l)" = 2 ] || die "quarantine: $(ls "$work/state/quarantine")"
for _ in $(seq 50); do p alarms | grep -q log.damage && break; sleep 0.1; done
p alarms | grep -q log.damage || die "no alarm"
"$bin/penstock" log dump "$work/log" --kind mark 2>/dev/null | grep ' restart ' | grep -q '"reason":"unclean","damaged":2}' || die "the restart mark does not say it"
stop; : >"$work/daemon.log"
sums() { (cd "$work/log" && sha256sum "$(basename "$file")" && ls "$work/state/quarantine"); }
sums >"$work/before"; start; counted 9 51; stop
sums | cmp - "$work/before" || die "a second start changed something"
grep -q "damaged\|torn" "$work/daemon.log" && die "a second start tells the old damage again"

# ---- a function of a file: repairs from a copy; one that has nothing is salvage
mkdir "$work/backup"; conf "log_recovery_function: \"$functions/from_copy.so:from_copy(directory=$work/backup)\""
start; publish 11 20; kill9
file=$(newest); cp "$file" "$work/backup/"
spoil "$file" 14
start
says "bytes taken from $work/backup/"
says "were repaired by the recovery function"
counted 19 206
cmp "$file" "$work/backup/$(basename "$file")" || die "the repair is not what the copy holds"
kill9; rm "$work"/backup/*; spoil "$file" 15; start
says "has nothing sound for byte"
counted 18 191
stop

# ---- refuse: exit code 3, one sentence, nothing touched
conf "log_recovery_function: refuse"; start; publish 21 25; kill9
file=$(newest); cp "$file" "$work/good"; spoil "$file" 22
(cd "$work/log" && sha256sum log2*) >"$work/before"
"$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1; code=$?
[ $code = 3 ] || die "refuse: exit $code"
[ "$(grep -c 'refuses to start' "$work/out")" = 1 ] || die "refuse says: $(cat "$work/out")"
(cd "$work/log" && sha256sum log2*) | cmp - "$work/before" || die "refuse changed a file"

# ---- truncate: what follows is thrown away, and said
conf "log_recovery_function: truncate"; start
says "frames with 3 records"
says "are thrown away"
says "the log ends at position"
counted 19 212 # 18 of before, 21; not 22 to 25
stop
# a function that crashes takes the daemon with it, at the start, before anything is written
spoil "$file" 21; conf "log_recovery_function: $functions/misbehaving.so:aborting"
(cd "$work/log" && sha256sum log2*) >"$work/before"
"$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1; code=$?
[ $code -ge 128 ] || die "an aborting function: exit $code"
(cd "$work/log" && sha256sum log2*) | cmp - "$work/before" || die "a crash at the start changed a file"
conf "log_recovery_function: $functions/misbehaving.so:strange"; start; counted 18 191; stop # no answer is salvage
for wrong in nosuch "salvage(x=1)" "/nowhere/x.so"; do
    conf "log_recovery_function: \"$wrong\""
    "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1; code=$?
    [ $code = 2 ] && grep -q "log_recovery_function:" "$work/out" || die "$wrong: exit $code: $(cat "$work/out")"
done
chmod 666 "$functions/from_copy.so"; conf "log_recovery_function: $functions/from_copy.so:from_copy"
"$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1 && die "a function that others can write is run"
grep -q "can be changed by others" "$work/out" || die "$(cat "$work/out")"; for key in buffer_function initial_state_function log_recovery_function; do
    conf "$key: $functions/from_copy.so:x"
    "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1 && die "$key: starts with a file that others can write"
    grep -q "$key: .*can be changed by others" "$work/out" || die "$key: $(cat "$work/out")"
    "$bin/penstockd" --config "$work/p.yaml" --check >"$work/out" 2>&1 && die "$key: --check passes"
    grep -q "$key: .*can be changed by others" "$work/out" || die "$key --check: $(cat "$work/out")"
done
chmod 644 "$functions/from_copy.so"

# ---- rows before the first packet: csv, once for each line of a date, across kill -9
mkdir "$work/state/initial"
python3 -c "
print('time,sym,lot')
for i in range(20000): print(',S%d,%d' % (i % 100, i))" >"$work/state/initial/ref.csv"
ref() { p sql "select count(*), sum(lot) from ref" --json 2>/dev/null | python3 -c 'import json,sys; print(*json.load(sys.stdin)["rows"][0].values())'; }
ref_is() { for _ in $(seq 100); do [ "$(ref)" = "$1" ] && return; sleep 0.05; done; die "ref has $(ref), not $1"; }
conf "initial_state_function: csv"; start; ref_is "20000 199990000"; kill9
echo ',NEW,7' >>"$work/state/initial/ref.csv"; start; ref_is "20001 199990007"; stop
start; ref_is "20001 199990007"; stop
echo ',BAD,x' >>"$work/state/initial/ref.csv"
"$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1 && die "a bad row starts"
grep -q "ref.csv: line 20003: column lot: 'x' is no long" "$work/out" || die "$(cat "$work/out")"
conf "initial_state_function: \"$functions/from_copy.so:reference(text=from the vendor)\""
for _ in 1 2; do
    start
    for _ in $(seq 100); do p sql "select text from reference" --json 2>/dev/null | grep -q vendor && break; sleep 0.05; done
    p sql "select sym, text from reference" --json >"$work/out" 2>/dev/null
    python3 -c "import json; r=json.load(open('$work/out')); assert r['rows'] == [{'sym': 'test', 'text': 'from the vendor'}], r" || die "$(cat "$work/out")"
    kill9
done
for wrong in failing:"the vendor's file is 3 days old" mistyped:"column time is a timestamp, given is a long"; do
    conf "initial_state_function: $functions/misbehaving.so:${wrong%%:*}"
    "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1; code=$?
    [ $code = 1 ] && grep -q "${wrong#*:}" "$work/out" || die "$wrong: exit $code: $(cat "$work/out")"
done
conf "initial_state_function: $functions/misbehaving.so:crashing"
"$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1; code=$?
[ $code -ge 128 ] || die "a crashing function: exit $code"

# ---- --no-replay: nothing in memory of before, all of it in the partition
conf; start; publish 31 40; stop
"$bin/penstockd" --config "$work/p.yaml" --no-replay >"$work/out" 2>&1; [ $? = 2 ] && grep -q "say --yes" "$work/out" || die "--no-replay without --yes: $(cat "$work/out")"
daemon() { "$bin/penstockd" --config "$work/p.yaml" "$@" >>"$work/daemon.log" 2>&1 & daemon=$!; for _ in $(seq 200); do p commands >/dev/null 2>&1 && return; sleep 0.05; done; die "$* does not answer"; }
daemon --no-replay --yes; publish 41 43
counted 3 126
p sql "select count(*) from trade" 2>&1 | grep -q "what came before this start is in the log only" || die "the answer does not say what it lacks"
"$bin/penstock" log dump "$work/log" --kind mark 2>/dev/null | grep ' restart ' | tail -1 | grep -q '"acts":"no_replay"' || die "the restart mark does not say no_replay"
p eod run --yes >"$work/out" 2>&1 || die "eod: $(cat "$work/out")"
for _ in $(seq 100); do [ "$(rows 'count(*), sum(size)')" = "31 672" ] && break; sleep 0.1; done
counted 31 672 # 18 of before with 191, 31 to 40, 41 to 43
p ledger >"$work/out" || die "$(cat "$work/out")"
stop

# ---- --hard-reset: the open date's files are set aside; positions, symbols and earlier dates stay
start; publish 51 55; stop
last() { "$bin/penstock" log ls "$work/log" --json | python3 -c 'import json,sys; print(max(f["last"] for f in json.load(sys.stdin)))'; }
before=$(last)
"$bin/penstockd" --config "$work/p.yaml" --hard-reset >"$work/out" 2>&1; [ $? = 2 ] && grep -q "throws away what the log of the open date holds" "$work/out" || die "--hard-reset: $(cat "$work/out")"
ls "$work"/log/*.reset >/dev/null 2>&1 && die "--hard-reset without --yes did something"
: >"$work/daemon.log"; daemon --hard-reset --yes
says "files set aside"
ls "$work"/log/*.reset >/dev/null 2>&1 || die "nothing was set aside"
counted 31 672
sleep 1 # the rest of the log is read behind the start
grep -q "stand in no file" "$work/daemon.log" && die "what was set aside is told as damage"
p alarms | grep log.damage && die "what was set aside raises an alarm"
publish 61 62; counted 33 795
"$bin/penstock" log dump "$work/log" --kind mark 2>/dev/null | grep ' restart ' | tail -1 | grep -q '"acts":"hard_reset"' || die "the restart mark does not say hard_reset"
stop
first=$("$bin/penstock" log dump "$work/log" --kind mark --json 2>/dev/null | python3 -c '
import json, sys
marks = [json.loads(l) for l in sys.stdin]
print([m["data"]["start"] for m in marks if m.get("mark") == "restart"][-1])')
[ "$first" -gt "$before" ] || die "positions were used again: $first, below $before"

# ---- tools: verify, repair, stat
cp -r "$work/log" "$work/tools"; file=$work/tools/$(basename "$(newest)"); rm -f "$work/tools/lock"
spoil "$file" 61; python3 - "$file" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[0:4096] = b"\x55" * 4096
open(sys.argv[1], "wb").write(b)
PY
t() { "$bin/penstock" log "$@"; }
t verify "$work/tools" >"$work/out"; [ $? = 1 ] && grep -q DAMAGED "$work/out" && grep -q "one copy of its header" "$work/out" || die "verify: $(cat "$work/out")"
t verify "$work/tools" --json | python3 -c '
import json, sys
r = json.load(sys.stdin)
bad = [f for f in r["files"] if f["header"] == "one copy"]
assert not r["sound"] and len(bad) == 1 and bad[0]["damage"], r' || die "verify --json"
t repair "$work/tools" >"$work/out" 2>&1; [ $? = 2 ] && grep -q "say --yes" "$work/out" || die "repair: $(cat "$work/out")"
t repair "$work/tools" --yes >"$work/out" 2>&1 && grep -q "1 damaged ranges" "$work/out" || die "repair --yes: $(cat "$work/out")"
[ -f "$file.damaged" ] && [ -f "$file.header" ] || die "what was there is gone"
t repair "$work/tools" --yes | grep -q "nothing to repair" || die "a second repair"
t verify "$file" >"$work/out" || die "the repaired file: $(cat "$work/out")"
t stat "$work/log" --json | python3 -c '
import json, sys
r = json.load(sys.stdin)
trade = sum(f["tables"].get("trade", {"rows": 0})["rows"] for f in r)
assert trade >= 2 and all(f["end"] for f in r) and sum(f["marks"].get("tick", 0) for f in r), r' || die "stat"
[ "$(t dump "$work/log" trade --from "$first" --csv 2>/dev/null | grep -c ',A6[12],')" = 2 ] || die "dump --from"
[ "$(t dump "$work/log" trade --to "$before" --csv 2>/dev/null | grep -c ',A6[12],')" = 0 ] || die "dump --to"
t dump "$work/log" --kind schema --json 2>/dev/null | grep -q '"frame":"schema"' || die "dump --kind"
start; t repair "$work/log" --yes >"$work/out" 2>&1; [ $? = 2 ] && grep -q "a daemon runs" "$work/out" || die "repair beside a daemon"
stop

# ---- what strangers put between the files; the first file of the log is gone, and only the catalogue knows it
rm -rf "$work/log" "$work/state"; : >"$work/daemon.log"
conf; start; publish 1 5; stop
mkfifo "$work/log/log2000.01.01"; ln -s /dev/zero "$work/log/log2000.01.02"; mkdir "$work/log/log2000.01.03"
head -c 20000 /dev/urandom >"$work/log/test.7.buffer"
start; counted 5 15; says "log2000.01.01: cannot be read"
[ -f "$work/log/test.7.buffer" ] || die "a file that nobody can read got another name: $(ls "$work/log")"
timeout 10 "$bin/penstock" log verify "$work/log" >/dev/null 2>&1; [ $? != 124 ] || die "log verify waits for a pipe"
stop; rm -r "$work"/log/log2000* "$work/log/test.7.buffer"
rm -rf "$work/log" "$work/state"
conf "intraday_freq: 5
intraday_tables: [ref]"
start; publish 1 5; printf 'time,sym,lot\n,A,1\n' | p publish ref - >/dev/null || die "publish ref"
stop; file=$(ls "$work"/log/log2*); mv "$file" "$work/aside"
start; says "$(basename "$file") is gone from $work/log: it held the log from position"
for _ in $(seq 50); do p alarms | grep -q log.damage && break; sleep 0.1; done
p alarms | grep -q log.damage || die "no alarm for a file that is gone"
stop; : >"$work/daemon.log"; start; stop
! grep -q "is gone from" "$work/daemon.log" || die "told twice"
