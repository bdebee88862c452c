# SPDX-License-Identifier: Apache-2.0
# loadlib.sh - what the fault tests of the loader share. Sourced behind system/lib.sh.
# shellcheck disable=SC2154
PORTS=" " FEEDS=" " RING=16M PREALLOCATE=1M
HDB=${HDB:-$work/hdb} IN=${IN:-$work/in} TEMPORARY=${TEMPORARY:-}

# In a build with a sanitizer (suites tsan, asan) a report makes a process end with 66.
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 log_path=$work/report suppressions=$fault/tsan.supp"
export ASAN_OPTIONS="detect_leaks=1 exitcode=66 log_path=$work/report" UBSAN_OPTIONS="print_stacktrace=1 halt_on_error=1 exitcode=66"

load_config() { # [KEYS OF load (two blanks)] [KEYS AT THE TOP]
    config "database: $HDB
rdb_memory: 128M
database_low_space: 1M
query_processes: 1
retry_interval: 100ms
ipc: {tickerplant: 0, rdb: 0, hdb: 0}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long, note: string}}
  quote: {columns: {time: timestamp, sym: symbol, bid: float, n: long}}
load:
  staging: [$IN]
${TEMPORARY:+  temporary: $TEMPORARY}
  workers: 2
  stable_after: 100ms
  scan_interval: 200ms
  retries: 5
  retry_backoff: 50ms
  stuck_after: 1s
  finished: ${FINISHED:-move}
  batches:
    kill: {match: \"{batch}.{i}of{M}.*.csv\"}
  files:
    trade: {match: \"*.trade.csv\", table: trade}
    quote: {match: \"*.quote.csv\", table: quote}
${1:-}
${2:-}"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
    mkdir -p "$IN"
}
make() { /usr/bin/python3 "$fault/loadkill.py" make "$work/files" "$1" || die "loadkill.py make"; }
drop() { # BATCH: its files, complete when they are seen
    for f in "$work/files/$1"/*; do
        cp "$f" "$IN/.arriving" && mv "$IN/.arriving" "$IN/${f##*/}" || die "drop $f"
    done
}
launch() { # [FAULT]: a daemon; false: it ended before it answered
    PST_FAULT_AT=${1:-} "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 500); do
        [ -S "$work/s.sock" ] && p commands >/dev/null 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || return 1
        sleep 0.02
    done
    die "penstockd does not answer"
}
killed() { # the daemon has ended by signal 9
    wait "$daemon" 2>/dev/null; code=$?
    daemon=
    [ $code = 137 ] || die "exit code $code, not a kill"
}
batch_state() { p load batches --all --json 2>/dev/null | python3 -IS -c "
import json, sys
try: r = json.load(sys.stdin)
except ValueError: sys.exit(print('gone'))
c = [x[0] for x in r['columns']]
print(next((o['status'] for o in (dict(zip(c, row)) for row in r['rows']) if o['batch'] == sys.argv[1]), 'none'))" "$1"; }
until_complete() { # BATCH [SECONDS]
    local end=$((SECONDS + ${2:-90})) s=
    while [ $SECONDS -le $end ]; do
        s=$(batch_state "$1")
        [ "$s" = complete ] && return
        sleep 0.02
    done
    p load; p load batches --all; p load files --all; p load tasks --all | tail -20
    die "batch $1 is $s, not complete"
}
hashes() { # what the markers of all partitions say: table, date, rows, content hash
    for t in "$HDB"/[12]*/{trade,quote}; do
        echo "$(basename "$(dirname "$t")") $(basename "$t") $(head -1 "$t/.pstmeta" | python3 -IS -c 'import json,sys; r=json.load(sys.stdin); print(r["rows"], r["hash"])')"
    done
}
clean_report() { if ls "$work"/report* >/dev/null 2>&1; then die "the sanitizer has something to say: $(head -60 "$work"/report*)"; fi; }
tidied() { # nothing is left beside: temporaries, merged tables, stages
    local left
    for _ in $(seq 100); do
        left=$(find "${TEMPORARY:-$IN/.penstock}" -mindepth 1 2>/dev/null; find "$HDB" -name '*$' -not -name 'pst$'; find "$HDB/pst\$/load" -mindepth 1 2>/dev/null)
        [ -z "$left" ] && return
        sleep 0.1
    done
    die "left over: $left"
}
accounted() { # N: the files of so many batches are done with, each once; nothing is left beside
    local left gone=0
    [ "${FINISHED:-move}" = delete ] && gone=$((4 * $1 - 4)) # those of the base were moved
    [ "$(find "$IN/.done" "$IN" -maxdepth 1 -name '*.csv' 2>/dev/null | sort -u | wc -l)" = $((4 * $1 - gone)) ] || die "files: $(ls -A "$IN" "$IN/.done")"
    left=$(find "$IN" -mindepth 1 -maxdepth 1 -not -name '.*')
    [ -z "$left" ] || [ "${FINISHED:-}" = keep ] || die "left in the staging directory: $left"
    tidied
    "$bin/penstock" hdb verify --hash --database "$HDB" >"$work/verify" 2>&1 || die "hdb verify: $(cat "$work/verify")"
}
