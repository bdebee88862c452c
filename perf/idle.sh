#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What penstockd costs while nothing happens: CPU time of all its threads over some seconds on a
# silent veth pair, with `wait: adaptive` (the default) and a DPDK af_packet port being polled.
# Beside it the limit: a bare thread that sleeps 200 us at a time, as the rx thread does then.
#   perf/idle.sh [SECONDS] [adaptive|sleep]
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
. perf/lib.sh
inside "$0" "$@"
seconds=${1:-10} wait=${2:-adaptive}
work=$(mktemp -d /tmp/penstock-idle.XXXXXX)
trap 'daemon_stop; rm -rf "$work"' EXIT
veth
daemon "$wait"
sleep 8 # past the start, and past the first seconds of empty polls
threads "$daemon" >"$work/before"
from=$(date +%s%N)
sleep "$seconds"
to=$(date +%s%N)
threads "$daemon" >"$work/after"
nap=$("$build/perf/bench_nap" 3 | sed 's/.*core=\([0-9.]*\).*/\1/')
spent "$work/before" "$work/after" | awk -v ns=$((to - from)) -v nap="$nap" '
    { sum += $2; if ($2 > 0) printf "  %-16s %6.2f %%\n", $1, 100 * $2 / ns }
    END { printf "result percent_of_a_core=%.2f nap_percent=%s\n", 100 * sum / ns, nap }'
