#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Loss accounting on a veth pair at 0.5 Mpps, and the CPU time a packet costs, beside tcpdump -w on
# the same traffic. The simulator sends packets of one message; penstockd captures them through
# DPDK's af_packet driver and decodes, journals and makes durable every message; tcpdump writes
# them to a file on the same disk. A veth pair is for counting: its sender pays for the receive
# path too, so the highest rate is the sender's.
#   perf/veth.sh [SECONDS [PACKETS A SECOND]]
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
. perf/lib.sh
inside "$0" "$@"
seconds=${1:-6} pps=${2:-500000}
work=$(mktemp -d "${PERF_DIR:-/tmp}/penstock-veth.XXXXXX")
tcpdump=
cleanup() {
    [ -n "$tcpdump" ] && kill "$tcpdump" 2>/dev/null
    daemon_stop
    rm -rf "$work"
}
trap cleanup EXIT
veth

send() {
    "$build/perf/sim/penstock-sim" --iface exchange --line A,239.192.1.1:26400 --pps "$pps" \
        --duration "$seconds" --no-directory --heartbeat-ms 0 --tail-heartbeats 1 \
        --report "$work/sent.json" --report-symbols 0 --quiet
    sent=$(grep -o '"messages": *[0-9]*' "$work/sent.json" | head -1 | tr -dc 0-9)
    wall=$(grep -o '"wall_seconds": *[0-9.]*' "$work/sent.json" | tr -dc 0-9.)
}

capture() { # WAIT
    daemon "$1"
    sleep 1.5
    threads "$daemon" >"$work/before"
    send
    sleep 0.3
    threads "$daemon" >"$work/after"
    "$build/control/penstock" ledger >"$work/ledger"
    local balances=$?
    daemon_stop
    cat "$work/ledger"
    spent "$work/before" "$work/after" |
        awk -v wait="$1" -v sent="$sent" -v wall="$wall" -v ok=$((balances == 0)) \
            -v lost="$(lost "$work/ledger")" '
        { sum += $2; if ($1 ~ /^rx/) rx += $2; if ($1 == "log") log_ += $2 }
        END { printf "result wait=%s packets=%d packets_s=%.0f nic_lost=%s balances=%d us_a_packet=%.3f rx_us=%.3f log_us=%.3f\n",
              wait, sent, sent / wall, lost, ok, sum / sent / 1e3, rx / sent / 1e3, log_ / sent / 1e3 }'
}

# Packets that the simulator sent and that did not reach the journal.
lost() {
    local have
    have=$(sed -n 's/.*journaled \([0-9,]*\) .*/\1/p' "$1" | head -1 | tr -d ,)
    echo $((sent - ${have:-0}))
}

beside() {
    command -v tcpdump >/dev/null || { echo "skipped: tcpdump is not installed"; return; }
    tcpdump -i capture -B 65536 -s 0 -w "$work/tcpdump.pcap" udp 2>"$work/tcpdump.out" &
    tcpdump=$!
    sleep 1
    threads "$tcpdump" >"$work/before"
    send
    sleep 0.5
    threads "$tcpdump" >"$work/after"
    kill -INT "$tcpdump"
    wait "$tcpdump"
    tcpdump=
    local have
    have=$(sed -n 's/ packets captured//p' "$work/tcpdump.out")
    spent "$work/before" "$work/after" | awk -v sent="$sent" -v wall="$wall" -v have="${have:-0}" '
        { sum += $2 }
        END { printf "result tcpdump packets=%d packets_s=%.0f captured=%d us_a_packet=%.3f\n",
              sent, sent / wall, have, sum / sent / 1e3 }'
    rm -f "$work/tcpdump.pcap"
}

beside
capture sleep
capture adaptive
