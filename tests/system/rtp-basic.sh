#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rtp-basic.sh CASE: real-time processes as an operator has them.
#   cpu    mon_cpu: rows of monCPU, each thread and process, so often
. "$(dirname "$0")/lib.sh"
name=$1
RING=16M PREALLOCATE=4M
enter_namespace "$@"
PORTS=" " FEEDS=" "

configure() { # LINES
    config "$1"
    sed -i '/^ *$/d; /^feeds:/d; s/^calendar:.*/calendar: {zone: UTC}/' "$work/p.yaml"
}
ask() { p sql "$1" --format csv -q | tail -n +2; }
until_is() { # WHAT COMMAND...: until its output has WHAT
    what=$1; shift
    for _ in $(seq 200); do "$@" 2>/dev/null | grep -q -- "$what" && return; sleep 0.05; done
    die "no '$what' in: $("$@" 2>&1 | head -20)"
}

case $name in
cpu)
    configure "mon_cpu: 200ms"
    start
    until_is '[1-9]' ask 'SELECT count(*) FROM "monCPU" WHERE sym = '"'rtp'"
    sleep 2
    # so often: no fewer than one a thread each 200 ms, and no more
    n=$(ask "SELECT count(*) FROM \"monCPU\" WHERE sym = 'control'")
    [ "$n" -ge 7 ] && [ "$n" -le 40 ] || die "$n rows of control in about two seconds"
    [ "$(ask "SELECT count(*) FROM \"monCPU\" WHERE cpu < 0 OR cpu > 110 OR server <> 'test'")" = 0 ] ||
        die "shares beyond a CPU, or another server"
    # a thread that works shows: the RDB and the log have rows of this table to write
    p topo --json >"$work/topo.json"
    for t in $(python3 -c 'import json,sys; print(*[t["name"] for t in json.load(open(sys.argv[1]))["threads"]])' "$work/topo.json"); do
        until_is '[1-9]' ask "SELECT count(*) FROM \"monCPU\" WHERE sym = '$t'"
    done
    p topo | grep -q inject.rtp || die "no ring inject.rtp in topo"
    p ledger >/dev/null || die "the ledger does not balance: $(p ledger)"
    stop
    ;;
esac
echo "ok $name"
