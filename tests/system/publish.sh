#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# publish.sh: publishers bring more symbols than one numbering holds (262,144), and more than symbols_max.
. "$(dirname "$0")/lib.sh"
workdir
export PENSTOCK_SOCKET=$work/s.sock
p() { "$bin/penstock" "$@"; }

tickerplant() { # symbols_max
    rm -rf "$work/state" "$work/log"
    cat >"$work/p.yaml" <<YAML
instance: publish
state_directory: $work/state
log_directory: $work/log
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: 1M
log_ballast: 0
ring_size: 64M
symbols_max: $1
max_new_symbols: 1M
tables:
  trade: {columns: {time: timestamp, sym: symbol, size: long}}
YAML
    "$bin/penstockd" --config "$work/p.yaml" >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do p commands >/dev/null 2>&1 && return; sleep 0.05; done
    die "penstockd does not answer"
}
end() {
    p ledger >"$work/ledger" || die "the ledger does not balance: $(cat "$work/ledger")"
    p stop >/dev/null
    wait $daemon || die "penstockd ended with $?"
    daemon=
}
rows() { p --json log dump "$work/log" trade | grep -c '"trade"'; }
names() { echo sym,size; seq "$1" | awk '{print "S" $1 "," $1}'; }

tickerplant 1M
names 300000 >"$work/many.csv"
p publish trade "$work/many.csv" >"$work/out" 2>&1 || die "300,000 symbols: $(cat "$work/out")"
printf 'sym,size\nS1,1\nANOTHER,2\n' | p publish trade - >"$work/out" 2>&1 || die "after them: $(cat "$work/out")"
end
[ "$(rows)" = 300002 ] || die "published 300,002 rows, $(rows) are in the log"
p --json log dump "$work/log" trade | sed -n 's/.*"sym":"S\([0-9]*\)","size":\([0-9]*\).*/\1 \2/p' |
    awk '$1 != $2 {exit 1}' || die "rows have other rows' symbols"

tickerplant 5000
names 6000 >"$work/many.csv"
p publish trade "$work/many.csv" >"$work/out" 2>&1 && die "6,000 symbols were taken where 5,000 fit"
grep -q 'before it were taken\|not all of them' "$work/out" || die "does not say what became of the batch: $(cat "$work/out")"
line=$(sed -n 's/.*line \([0-9]*\): .*/\1/p' "$work/out")
end
[ -z "$line" ] || [ "$(rows)" = $((line - 2)) ] || die "refused at line $line, but $(rows) rows are in the log"
echo "symbols beyond a numbering are taken; beyond symbols_max refused by name"
