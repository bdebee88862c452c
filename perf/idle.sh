#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What penstockd costs while nothing happens: CPU time of all its threads over some seconds on a
# silent veth pair, with `wait: adaptive` (the default) and a DPDK af_packet port being polled.
#   perf/idle.sh [SECONDS] [adaptive|sleep]        prints: result percent_of_a_core=…
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
. perf/lib.sh
inside "$0" "$@"
seconds=${1:-10} wait=${2:-adaptive}
work=$(mktemp -d /tmp/penstock-idle.XXXXXX)
trap 'daemon_stop; rm -rf "$work"' EXIT
veth
daemon "$wait"
sleep 3 # past the start, and past the first second of empty polls
threads "$daemon" >"$work/before"
from=$(date +%s%N)
sleep "$seconds"
to=$(date +%s%N)
threads "$daemon" >"$work/after"
paste -d' ' "$work/before" "$work/after" | awk -v ns=$((to - from)) '
    { d = $4 - $2; sum += d; if (d > 0) printf "  %-16s %6.2f %%\n", $1, 100 * d / ns }
    END { printf "result percent_of_a_core=%.2f\n", 100 * sum / ns }'
