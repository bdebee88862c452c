#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# buffer.sh: buffering events as an operator sees them: the sharding scenario of TP-30, refusals, limits,
# several at once, restarts and kills in every state, replay exactly once, a full disk. [part ...]
if [ -z "${PST_MOUNTS:-}" ] && [ "$(id -u)" = 0 ]; then # for the part with a small filesystem
    export PST_MOUNTS=1
    exec unshare -m "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
workdir
export PENSTOCK_SOCKET=$work/s.sock
p() { "$bin/penstock" "$@"; }
# a zone in which it is between 11:00 and 12:00 now
hour=$(date -u +%H); shift_h=$((11 - 10#$hour)); [ $shift_h -lt -12 ] && shift_h=$((shift_h + 24))
[ $shift_h -ge 0 ] && zone=Etc/GMT-$shift_h || zone=Etc/GMT+${shift_h#-}
cutoff=$(date -u +%Y-%m-%dT%H:00:00Z)
LOGDIR=$work/log

config() { # further keys
    cat >"$work/p.yaml" <<YAML
instance: test
state_directory: $work/state
log_directory: $LOGDIR
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: 1M
log_ballast: 0
ring_size: 16M
rdb_memory: 256M
symbols_max: 10k
query_processes: 1
retry_interval: 100ms
check_interval: 100ms
calendar: {zone: $zone}
tables:
  trade: {columns: {time: timestamp, sym: symbol, size: long}}
${1-buffer_enabled: true}
YAML
}
fresh() { rm -rf "$work/state" "$LOGDIR"; config "$@"; start; }
publish() { python3 "$here/buffer.py" make "$work/$1.csv" "$1" "$2" "$cutoff" && p publish trade "$work/$1.csv" >"$work/out" 2>&1; }
files() { (cd "$LOGDIR" && ls | grep buffer | tr '\n' ' '); }
status() { p --json buffer | python3 -c "import json,sys; r=[e for e in json.load(sys.stdin) if e['id'] == $1]; print(r[-1]['status'] if r else '')"; }
wait_for() { # SECONDS COMMAND...
    local tries=$(($1 * 20)); shift
    for _ in $(seq $tries); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
    return 1
}
refused() { # CODE-WORDS COMMAND...: fails, and says so
    words=$1; shift
    "$@" >"$work/out" 2>&1 && die "was not refused: $*"
    grep -q "$words" "$work/out" || die "$*: $(cat "$work/out")"
}
rows_in() { p --json sql "select count(*) as n from trade" | python3 -c 'import json,sys; r=json.load(sys.stdin); print(r["rows"][0]["n"])'; }
balanced() { p ledger >"$work/ledger" || die "the ledger does not balance: $(cat "$work/ledger")"; }
killed() { kill -9 "$daemon"; wait "$daemon" 2>/dev/null; daemon=; }
complete() { # ID: its files have their names
    wait_for 5 eval "ls $LOGDIR/test.$1.buffer.complete && ! ls $LOGDIR | grep -q 'test.$1.buffer\(\.[0-9]*\)\?\$'" || die "event $1: $(files)"
}
sizes() { python3 -c 'import json,sys
print(*sorted(json.loads(l)["size"] for l in sys.stdin), sep="\n")'; }
replay_is_exact() { # LAST: rows 0 … LAST-1 are in the journal, each once
    "$bin/penstock" log dump "$LOGDIR" trade --json | sizes >"$work/sizes"
    seq 0 $(($1 - 1)) | cmp -s - "$work/sizes" || die "$(wc -l <"$work/sizes") rows for $1: $(seq 0 $(($1 - 1)) | diff - "$work/sizes" | head -5)"
}

# ---- TP-30: a node becomes two shards, late rows wait until the earlier hours have moved ----
sharding() {
    fresh
    # not through p: a kill would end its subshell, not the program
    "$bin/penstock" tail trade -n 1 -f --json >"$work/am.json" 2>/dev/null & am=$!
    "$bin/penstock" tail trade -n 1 -f --json >"$work/nz.json" 2>/dev/null & nz=$!
    others="$am $nz"
    sleep 0.3
    publish 0 300 || die "publish: $(cat "$work/out")" # one node: late rows as well
    p buffer start 10 cutoff="$cutoff" from=test note='A-M "and" N-Z' >"$work/out" || die "start: $(cat "$work/out")"
    publish 300 3000 || die "publish: $(cat "$work/out")"
    publish 3300 3000 || die "publish: $(cat "$work/out")"
    p status >"$work/out"; grep -q "^buffer 10  active  rows 2,000" "$work/out" || die "status does not tell of it: $(cat "$work/out")"
    [ "$(status 10)" = active ] || die "event 10 is $(status 10)"
    seen() { python3 "$here/buffer.py" shards "$work/am.json" "$work/nz.json" "$@" >"$work/shards" 2>&1; }
    # rows 0…299 all, of the others those of this hour
    head_and() { cat "$work/am.json" | wc -l | grep -qx "$1" && cat "$work/nz.json" | wc -l | grep -qx "$1"; }
    wait_for 5 head_and 4300 || die "the cursors saw $(wc -l <"$work/am.json") rows before the migration ended"
    in_buffers() { balanced && grep -q "in buffers $1" "$work/ledger"; } # the RDB may be a moment behind
    wait_for 5 in_buffers 2,000 || die "the ledger does not tell of the buffer: $(cat "$work/ledger")"
    [ "$(p tail trade -n 5000 --buffer 10 --json | wc -l)" = 2000 ] || die "tail --buffer does not show them"
    p buffer end 10 status=moved >"$work/out" || die "end: $(cat "$work/out")"
    complete 10
    publish 6300 30 || die "publish: $(cat "$work/out")" # nothing is diverted any more
    p buffer replay 10 >"$work/out" 2>&1 || die "replay: $(cat "$work/out")"
    grep -q "2,000 rows are durable" "$work/out" || die "replay: $(cat "$work/out")"
    wait_for 5 head_and 6330
    seen all 0 6330 || die "$(cat "$work/shards")"
    [ "$(files)" = "test.10.buffer.replayed " ] || die "after the replay: $(files)"
    [ "$(status 10)" = replayed ] || die "status $(status 10)"
    refused "were replayed" p buffer replay 10
    [ "$(rows_in)" = 6330 ] || die "$(rows_in) rows in memory"
    kill $am $nz; wait $am $nz 2>/dev/null; others=
    balanced
    stop || die "exit code"
    replay_is_exact 6330
    p log verify "$LOGDIR" >"$work/out" || die "log verify: $(cat "$work/out")"
    p log dump "$LOGDIR" --marks --json | python3 -c '
import json, sys
marks = [json.loads(l) for l in sys.stdin if "buffer_" in l]
text = json.dumps(marks)
for want in ("buffer_start", "buffer_end", "A-M \\\"and\\\" N-Z", "started", "moved", "complete", "test.10.buffer.complete"):
    if want not in text.replace("\\\\\\", "\\"): sys.exit(f"no {want} in {text}")' || die "the marks"
    cat "$work/shards"
}

# ---- what is refused, with its reason (GAP-04) ----
refusals() {
    fresh ""
    refused "buffer_enabled" p buffer start 1 age=1h
    stop || die "exit code"
    fresh
    refused "has a number" p buffer start ten age=1h
    refused "has a number" p buffer start 99999999999999999999 age=1h
    refused "is no argument" p buffer start 1 cutoff
    refused "one of them" p buffer start 1
    refused "one of them" p buffer start 1 age=1h cutoff="$cutoff"
    refused "no instant" p buffer start 1 cutoff=yesterday
    refused "no duration" p buffer start 1 age=soon
    refused "two ends" p buffer start 1 age=1h syms=A..
    refused "said by Penstock" p buffer start 1 age=1h started=now
    refused "given twice" p buffer start 1 age=1h age=2h
    refused "its mark is" p buffer start 1 age=1h note="$(printf 'x%.0s' $(seq 7000))"
    refused "no event 1 is active" p buffer end 1
    refused "no event 1;" p buffer replay 1
    refused "No such file" p buffer replay "$work/nothing"
    refused "is no file of" p buffer replay "$work/p.yaml"
    p buffer start -7 age=1h >/dev/null || die "a negative id"
    refused "event -7 is active" p buffer start 1 age=1h
    refused "is active" p buffer start -7 age=1h
    refused "end it first" p buffer replay -7
    p buffer end -7 >/dev/null || die "end"
    complete -7
    refused "no event -7 is active" p buffer end -7
    refused "take another id" p buffer start -7 age=1h
    stop || die "exit code"
    start
    refused "take another id" p buffer start -7 age=1h # also after a restart
    refused "no table trad, did you mean trade?" p buffer start 8 age=1h tables="trade|trad"
    stop || die "exit code"
    echo "refusals name their reasons"
}

# ---- buffer_limit: spill, passthrough, end; several events; another function ----
limits() {
    for policy in spill passthrough end; do
        fresh "buffer_enabled: true
buffer_limit: 1
buffer_limit_policy: $policy"
        p buffer start 5 cutoff="$cutoff" tables=trade >/dev/null || die "start"
        for k in 0 1 2 3; do publish $((k * 15000)) 15000 || die "publish: $(cat "$work/out")"; done # 320 kB of late rows each
        balanced
        kept=$(p --json tail trade --buffer 5 -n 100000 | wc -l)
        case $policy in
        spill) [ "$(files)" = "test.5.buffer test.5.buffer.1 " ] && [ "$kept" = 20000 ] || die "spill: $(files), $kept rows"
            p buffer end 5 >/dev/null || die "end" ;;
        passthrough) [ "$(status 5)" = passthrough ] && [ "$kept" -gt 15000 ] && [ "$kept" -lt 19900 ] || die "passthrough: $(status 5), $kept rows"
            stop || die "exit code"; start # stays so
            [ "$(status 5)" = passthrough ] || die "passthrough after a restart: $(status 5)"
            p buffer end 5 >/dev/null || die "end" ;;
        end) [ "$(status 5)" = complete ] && [ "$kept" -gt 15000 ] && [ "$kept" -lt 19900 ] || die "end: $(status 5), $kept rows"
            refused "no event 5 is active" p buffer end 5 ;;
        esac
        wait_for 3 eval "p alarms --json | grep -q buffer.limit" || [ $policy = passthrough ] || die "$policy: no alarm"
        complete 5
        p buffer replay 5 >"$work/out" 2>&1 || die "$policy, replay: $(cat "$work/out")"
        balanced
        stop || die "exit code"
        replay_is_exact 60000
    done
    cat >"$work/odd.c" <<'C'
#include <penstock/functions.h>
static void odd(const void *state, const struct pst_batch *b, uint64_t *bits)
{
    (void)state;
    for (uint32_t i = 0; i < b->rows; i++) {
        int32_t c = pst_table_find(b->row[i].table, "size");
        if (c >= 0 && pst_row_value(&b->row[i], (uint32_t)c).i % 2)
            bits[i / 64] |= 1ull << i % 64;
    }
}
PST_BUFFER_FUNCTION(odd_sizes, "Odd sizes.", .mask = odd)
C
    mkdir -p -m 755 "$work/lib"
    cc -shared -fPIC -I"$here/../../include" -o "$work/lib/odd.so" "$work/odd.c" || die "the plugin does not compile"
    chmod 755 "$work" "$work/lib/odd.so"
    where=$work/lib/odd.so
    if [ "$(id -u)" = 0 ]; then mkdir -p /opt/penstock-test.$$ && cp "$where" /opt/penstock-test.$$/odd.so && where=/opt/penstock-test.$$/odd.so; fi
    fresh "buffer_enabled: true
buffer_concurrent: true
buffer_function: $where:odd_sizes"
    p buffer start 1 >"$work/out" 2>&1 || { rm -rf /opt/penstock-test.$$; die "a function of a file: $(cat "$work/out")"; }
    p buffer start 2 >/dev/null || die "two at once"
    publish 0 100 || die "publish: $(cat "$work/out")"
    [ "$(p --json tail trade --buffer 1 -n 1000 | wc -l) $(p --json tail trade --buffer 2 -n 1000 | wc -l)" = "50 0" ] || die "the first one takes what both want"
    p buffer end 1 >/dev/null || die "end"
    publish 100 100 || die "publish: $(cat "$work/out")"
    [ "$(p --json tail trade --buffer 1 -n 1000 | wc -l) $(p --json tail trade --buffer 2 -n 1000 | wc -l)" = "50 50" ] || die "then the second"
    p buffer end 2 >/dev/null || die "end"
    complete 1; complete 2
    p buffer replay "$LOGDIR/test.2.buffer.complete" >"$work/out" || die "replay by file: $(cat "$work/out")"
    p buffer replay 1 >"$work/out" || die "replay: $(cat "$work/out")"
    stop || die "exit code"
    rm -rf /opt/penstock-test.$$
    replay_is_exact 200
    echo "limits: rows spill into further files, pass, or end the event; two events, a function of a file"
}

# ---- restarts: clean, killed, killed at the points between ----
restarts() {
    fresh
    p buffer start 3 cutoff="$cutoff" a=b >/dev/null || die "start"
    publish 0 300 || die "publish: $(cat "$work/out")"
    stop || die "exit code"
    start
    [ "$(status 3)" = active ] || die "after a clean stop: $(status 3)"
    p --json buffer | grep -q '"a": "b"' || die "its arguments are gone: $(p --json buffer)"
    publish 300 300 || die "publish: $(cat "$work/out")"
    killed; start
    [ "$(status 3)" = active ] || die "after kill -9: $(status 3)"
    p buffer | grep -q "^ *3 .* 200 " || die "it does not know its rows: $(p buffer)"
    publish 600 300 || die "publish: $(cat "$work/out")"
    p eod run --yes >/dev/null 2>&1 || die "eod run"
    publish 900 300 || die "publish: $(cat "$work/out")"
    killed; start # the next day's file knows it too
    [ "$(status 3)" = active ] || die "after an end of day and kill -9: $(status 3)"
    killed; start; killed
    config "buffer_enabled: true
buffer_function: nonesuch"
    "$bin/penstockd" --config "$work/p.yaml" >"$work/bad" 2>&1 && die "buffer_function: nonesuch was taken"
    grep -q nonesuch "$work/bad" || die "$(cat "$work/bad")"
    config; start
    [ "$(p --json tail trade --buffer 3 -n 10000 | wc -l)" = 400 ] || die "rows of all its files: $(p --json tail trade --buffer 3 -n 10000 | wc -l)"
    p buffer end 3 >/dev/null || die "end"
    complete 3
    n=1200
    # killed between END and the name, and right behind it
    for point in log.complete log.completed; do
        PST_FAULT_AT=; p buffer start $n cutoff="$cutoff" >/dev/null || die "start $n"
        stop || die "exit code"
        PST_FAULT_AT=$point:1 start
        publish $n 300 || die "publish: $(cat "$work/out")"
        p buffer end $n >/dev/null 2>&1
        wait "$daemon" 2>/dev/null; daemon=
        start
        complete $n
        [ "$(status $n)" = complete ] || die "$point: event $n is $(status $n)"
        n=$((n + 300))
    done
    # switched off while one is active: it ends, with the reason
    p buffer start 9 cutoff="$cutoff" >/dev/null || die "start 9"
    publish $n 300 || die "publish: $(cat "$work/out")"
    killed
    config ""; start
    complete 9
    grep -q "event 9 was active and cannot go on: buffer_enabled is false" "$work/daemon.log" || die "not said"
    durable
    p log dump "$LOGDIR" --marks | grep -q abandoned || die "no mark of it"
    # replays, killed at each end
    stop || die "exit code"
    config; start
    PST_FAULT_AT=buffer.appended:1 p buffer replay 3 >/dev/null 2>&1
    ls "$LOGDIR" | grep -q '^test.3.buffer.*complete$' || die "the killed replay renamed: $(files)"
    killed; start
    p buffer replay 3 >"$work/out" || die "replay 3: $(cat "$work/out")"
    grep -q "0 rows are durable" "$work/out" || die "rows came twice: $(cat "$work/out")"
    stop || die "exit code"
    PST_FAULT_AT=buffer.replayed:1 start
    p buffer replay 1200 >/dev/null 2>&1 && die "buffer.replayed was not reached"
    wait "$daemon" 2>/dev/null; daemon=
    start
    p buffer replay 1200 >"$work/out" || die "replay 1200: $(cat "$work/out")"
    p buffer replay 1500 >"$work/out" || die "replay 1500: $(cat "$work/out")"
    p buffer replay 9 >"$work/out" || die "replay 9: $(cat "$work/out")"
    balanced
    stop || die "exit code"
    replay_is_exact $((n + 300))
    echo "restarts and kills: events go on, end once, come back once"
}

# ---- kill -9 of the daemon and of the CLI in the middle of a replay ----
midway() {
    fresh
    p buffer start 1 cutoff="$cutoff" >/dev/null || die "start"
    publish 0 90000 || die "publish: $(cat "$work/out")"
    p buffer end 1 >/dev/null || die "end"
    complete 1
    for t in 0.02 0.05; do
        timeout -s KILL $t "$bin/penstock" buffer replay 1 >/dev/null 2>&1
        p buffer replay 1 >/dev/null 2>&1 & r=$!
        sleep $t; killed; wait $r 2>/dev/null
        start
    done
    [ "$(files)" = "test.1.buffer.replayed " ] || p buffer replay 1 >"$work/out" || die "replay: $(cat "$work/out")"
    balanced
    stop || die "exit code"
    replay_is_exact 90000
    echo "a replay killed midway goes on where it stopped"
}

# ---- killed at any point of an event's life: what was acknowledged is there, everything once ----
points() { # [point:visit ...]
    local seen=0
    for at in $*; do
        fresh "buffer_enabled: true
buffer_limit: 1"
        stop || die "exit code"
        : >"$work/acked"; : >"$work/tried"
        go() { # FROM N: rows that the daemon acknowledged, and those that it may have
            seq "$1" $(($1 + $2 - 1)) >>"$work/tried"
            publish "$1" "$2" && seq "$1" $(($1 + $2 - 1)) >>"$work/acked"
        }
        PST_FAULT_AT=$at start 2>/dev/null
        go 0 300
        p buffer start 1 cutoff="$cutoff" >/dev/null 2>&1; began=$?
        for k in 1 2 3 4; do go $((k * 20000)) 15000; done # enough for a second file
        p buffer end 1 >/dev/null 2>&1; ended=$?
        wait_for 1 test -e "$LOGDIR/test.1.buffer.1.complete"
        kill -0 "$daemon" 2>/dev/null && kill -9 "$daemon" || seen=$((seen + 1))
        wait "$daemon" 2>/dev/null; daemon=
        start
        case $(status 1) in
        active) [ $ended != 0 ] || die "$at: the end was acknowledged, and the event is active"; p buffer end 1 >/dev/null || die "$at: end" ;;
        "") [ $began != 0 ] || die "$at: the start was acknowledged, and there is no event" ;;
        esac
        if [ -n "$(status 1)" ]; then
            complete 1
            p buffer replay 1 >"$work/out" 2>&1 || die "$at: replay: $(cat "$work/out")"
        fi
        balanced
        stop || die "exit code"
        "$bin/penstock" log dump "$LOGDIR" trade --json 2>/dev/null | sizes >"$work/sizes"
        [ -z "$(uniq -d "$work/sizes" | head -1)" ] || die "$at: rows are there twice: $(uniq -d "$work/sizes" | head -3)"
        sort "$work/sizes" >"$work/there"
        [ -z "$(sort "$work/acked" | comm -23 - "$work/there" | head -1)" ] || die "$at: acknowledged rows are missing: $(sort "$work/acked" | comm -23 - "$work/there" | head -3)"
        [ -z "$(sort "$work/tried" | comm -13 - "$work/there" | head -1)" ] || die "$at: rows that nobody sent"
    done
    echo "killed at $seen of $# points of an event's life: acknowledged rows are there, each once"
}
few() {
    RANDOM=$seed
    points appender.after_publish:$((RANDOM % 40000 + 20)) log.after_write:$((RANDOM % 60 + 4)) log.open:3
}
all() {
    RANDOM=$seed
    points appender.before_publish:8 appender.after_publish:8 appender.after_publish:10 log.open:2 log.open:3 log.header:2 log.header:3 \
        log.after_submit:6 log.after_durable:5 log.end:1 log.end:2 log.complete:1 log.complete:2 log.completed:1 log.completed:2 \
        $(for _ in $(seq ${PST_POINTS:-40}); do echo appender.before_publish:$((RANDOM % 45000 + 5)) log.after_submit:$((RANDOM % 80 + 1)) \
            log.after_write:$((RANDOM % 80 + 1)) log.after_durable:$((RANDOM % 80 + 1)); done)
}

# ---- kill -9, and the file's head is overwritten: one event still, its sound rows come back ----
beheaded() {
    fresh
    p buffer start 10 cutoff="$cutoff" >/dev/null || die "start"
    publish 0 3000 || die "publish: $(cat "$work/out")"
    killed
    head -c 20000 /dev/urandom | dd of="$LOGDIR/test.10.buffer" conv=notrunc status=none
    start
    grep -q "nothing is lost" "$work/daemon.log" && die "rows are lost: $(grep "nothing is lost" "$work/daemon.log")"
    p buffer end 10 >/dev/null || die "end"
    complete 10
    [ "$(p --json buffer | grep -c '"id": 10')" = 1 ] || die "two events 10: $(p buffer)"
    sound=$(p --json tail trade --buffer 10 -n 10000 2>/dev/null | wc -l)
    [ "$sound" -gt 300 ] && [ "$sound" -lt 1000 ] || die "$sound sound rows of 1000"
    p buffer replay "$LOGDIR/test.10.buffer.complete" >"$work/out" 2>&1 || die "replay: $(cat "$work/out")"
    grep -q "^event 10: $sound rows are durable" "$work/out" || die "$sound sound rows: $(cat "$work/out")"
    refused "event 10 of .* were replayed" p buffer replay 10
    refused "event 10 of .* were replayed" p buffer replay "$LOGDIR/test.10.buffer.replayed"
    files | grep -q complete && die "not replayed: $(files)"
    # a file in which no frame was durable is no event: its id is free
    p buffer start 11 cutoff="$cutoff" >/dev/null || die "start 11"
    p buffer end 11 >/dev/null || die "end 11"
    complete 11
    stop || die "exit code"
    truncate -s 8192 "$LOGDIR/test.11.buffer.complete"
    start
    grep -q "test.11.buffer.complete: no frame was ever durable in it: removed" "$work/daemon.log" || die "not said: $(tail -5 "$work/daemon.log")"
    [ -z "$(status 11)" ] && ! files | grep -q 11 || die "event 11 is $(status 11): $(files)"
    p buffer start 11 cutoff="$cutoff" >/dev/null || die "its id is not free"
    [ "$(status 11)" = active ] && files | grep -q 11.buffer || die "event 11 is $(status 11): $(files)"
    : >"$work/daemon.log"
    stop || die "exit code"
    start
    grep "11.buffer.complete" "$work/daemon.log" && die "the removed file is missed"
    stop || die "exit code"
    echo "a file without its head: one event, $sound rows of 1000 come back once; an empty file is none"
}

# ---- the disk fills up while an event is active ----
full() {
    [ "$(id -u)" = 0 ] || { echo "full: skipped, needs root"; return; }
    mkdir -p "$work/disk"
    mount -t tmpfs -o size=24m none "$work/disk" || { echo "full: skipped, no tmpfs"; return; }
    LOGDIR=$work/disk/log
    fresh
    p buffer start 1 cutoff="$cutoff" >/dev/null || die "start"
    publish 0 3000 || die "publish: $(cat "$work/out")"
    dd if=/dev/zero of="$work/disk/full" bs=64k status=none 2>/dev/null
    python3 "$here/buffer.py" make "$work/more.csv" 3000 60000 "$cutoff"
    p publish trade "$work/more.csv" >"$work/out" 2>&1 & others=$!
    wait_for 5 eval "p alarms --json | grep -q log.stalled" || die "log.stalled was not raised"
    rm "$work/disk/full"
    wait "$others" || die "publish: $(cat "$work/out")"
    others=
    p buffer end 1 >"$work/out" || die "end: $(cat "$work/out")"
    complete 1
    balanced
    killed; start
    p buffer replay 1 >"$work/out" 2>&1 || die "replay: $(cat "$work/out")"
    balanced
    stop || die "exit code"
    replay_is_exact 63000
    umount "$work/disk"
    LOGDIR=$work/log
    echo "a full disk: nothing lost, each row once"
}

for part in ${*:-sharding refusals limits restarts beheaded midway few full}; do $part; done
