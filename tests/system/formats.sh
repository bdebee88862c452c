#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# formats.sh: one small set of files of every format version, kept for ever (tests/data/formats/VERSION/SET:
# state, log, and dump.json, what `log dump --json --marks` printed when they were made). Each must read the
# same with today's programs, and a daemon must start on it, keep every row, and go on.
. "$(dirname "$0")/lib.sh"
workdir
sets=$(dirname "$0")/../data/formats n=0
p() { "$bin/penstock" "$@"; }

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
done
[ $n -ge 2 ] || die "no sets in $sets"
echo "$n sets read as they did when they were made"
