#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# formats.sh: one small set of files of every format version, kept for ever (tests/data/formats/VERSION/SET:
# state, log, and dump.json, what `log dump --json --marks` printed when they were made; perhaps hdb and
# answers.csv, its tables as `sql` gave them). Each must read the same with today's programs, and a daemon must
# start on it, keep every row, and go on.
. "$(dirname "$0")/lib.sh"
workdir
sets=$(dirname "$0")/../data/formats n=0 day=2026.11.22
p() { "$bin/penstock" "$@"; }
kept() { # the copied database is sound and answers as it did
    p hdb verify --hash --database "$work/d/hdb" >"$work/verify" || { cat "$work/verify"; return 1; }
    for t in $(sed -n 's/^# //p' "$set/answers.csv"); do
        echo "# $t"
        p sql --format csv --database "$work/d/hdb" "select * from $t where date <= $day" 2>"$work/err" || cat "$work/err"
    done | diff "$set/answers.csv" -
}

for set in "$sets"/*/*/; do
    set=${set%/} name=${set#"$sets"/}
    n=$((n + 1))
    p log verify "$set/log" >"$work/verify" || die "$name: does not verify: $(cat "$work/verify")"
    p --json log dump --marks "$set/log" >"$work/dump" || die "$name: cannot be dumped"
    cmp -s "$work/dump" "$set/dump.json" ||
        die "$name: reads differently: $(diff "$set/dump.json" "$work/dump" | head -4)"

    rm -rf "$work/d"
    mkdir "$work/d"
    cp -r "$set/state" "$set/log" "$work/d"
    database=
    if [ -d "$set/hdb" ]; then
        cp -r "$set/hdb" "$work/d"
        database="database: $work/d/hdb"
        kept || die "$name"
    fi
    cat >"$work/p.yaml" <<YAML
instance: formats
state_directory: $work/d/state
log_directory: $work/d/log
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: 1M
log_ballast: 0
ring_size: 16M
$database
tables:
  after: {columns: {time: timestamp, sym: symbol, size: long}}
YAML
    "$bin/penstockd" --config "$work/p.yaml" >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do
        PENSTOCK_SOCKET=$work/s.sock p commands >/dev/null 2>&1 && break
        kill -0 $daemon 2>/dev/null || die "$name: penstockd does not start on it"
        sleep 0.05
    done
    if [ -n "$database" ]; then # its dates are written, and stay as they are
        PENSTOCK_SOCKET=$work/s.sock p sql --format csv "select count(*) from every where date = $day" 2>/dev/null |
            grep -qx 3 || die "$name: the daemon does not find the rows of its database"
    fi
    grep -q 'recovered .* clean end' "$work/daemon.log" || die "$name: recovery did not find its clean end"
    printf 'sym,size\nNEW,7\n' | PENSTOCK_SOCKET=$work/s.sock p publish after - >/dev/null ||
        die "$name: takes no rows after recovery"
    PENSTOCK_SOCKET=$work/s.sock p stop >/dev/null || die "$name: does not stop"
    wait $daemon || die "$name: penstockd ended with $?"
    daemon=
    p --json log dump "$work/d/log" >"$work/after" || die "$name: cannot be dumped after the restart"
    grep '"table"' "$set/dump.json" | cmp -s - <(grep -v '"table":"after"\|"table":"alarm"' "$work/after") ||
        die "$name: rows are not the same after a restart"
    [ "$(grep -c '"table":"after"' "$work/after")" = 1 ] || die "$name: the new row is not there once"
    [ -z "$database" ] || kept || die "$name: after a daemon has run on it"
done
[ $n -ge 4 ] || die "no sets in $sets"
echo "$n sets read as they did when they were made"
