#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job in 20 seconds: a simulated exchange multicasts MoldUDP64/ITCH 5.0 on two lines that each
# lose packets; penstockd captures both through DPDK. Needs nothing but this tree: installs packages,
# builds a release, makes a network namespace, and removes what it made.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-15} rate=${RATE:-100000}

if [ -z "${PENSTOCK_DEMO_INSIDE:-}" ]; then
    tests/packages.sh
    [ -d build ] || meson setup build --buildtype=release -Dtests=false >/dev/null
    ninja -C build control/penstockd control/penstock control/penstock-helper control/penstock-query \
        perf/sim/penstock-sim >build/build.log 2>&1 ||
        { tail -30 build/build.log; exit 1; }
    work=$(mktemp -d /tmp/penstock-demo.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    export PENSTOCK_DEMO_INSIDE=$work
    # af_packet locks its two rings in memory: as many blocks of 1 MiB (512 frames) as the limit allows.
    locked=$(ulimit -l) pair="ip link add exchange type veth peer name capture"
    [ "$(id -u)" = 0 ] || [ "$locked" = unlimited ] || export DEMO_BLOCKS=$((locked / 2048 > 16 ? 16 : locked / 2048 - 1))
    # shellcheck disable=SC2086
    if [ "$(id -u)" = 0 ] && unshare -n $pair 2>/dev/null; then
        echo "chose: root: a network namespace of its own with a veth pair, captured by DPDK's af_packet driver"
        unshare -n "$0" "$@"
    elif [ "${DEMO_BLOCKS:-16}" -gt 0 ] && unshare -Urn $pair 2>/dev/null; then
        echo "chose: no root: a user and network namespace with a veth pair, captured by DPDK's af_packet driver"
        unshare -Urn "$0" "$@"
    else
        echo "chose: no veth pair can be made here: a generated capture read by DPDK's net_pcap driver"
        PENSTOCK_DEMO_PCAP=1 "$0" "$@"
    fi
    exit
fi

work=$PENSTOCK_DEMO_INSIDE
daemon= sim= made=
stop() {
    [ -n "$sim" ] && kill "$sim" 2>/dev/null || true
    [ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" || true
}
trap stop EXIT
lines="--line A,239.192.1.1:26400,loss=2%,burst=8 --line B,239.192.1.2:26400,loss=3%,burst=10,delay=15us,jitter=8us"

if [ -n "${PENSTOCK_DEMO_PCAP:-}" ]; then
    # shellcheck disable=SC2086
    build/perf/sim/penstock-sim --pcap "$work/capture.pcap" --rate "$rate" --duration "$seconds" \
        --date "$(date +%F)" $lines --report "$work/sent.json" --quiet
    device="net_pcap0,rx_pcap=$work/capture.pcap"
else
    ip link set lo up
    ip link add exchange type veth peer name capture
    made="network namespace, "
    for i in exchange capture; do ip link set "$i" up; done
    device="net_af_packet0,iface=capture,blocksz=1048576,framesz=2048,framecnt=$((${DEMO_BLOCKS:-32} * 512))"
fi

cat >"$work/penstock.yaml" <<CONF
instance: demo
state_directory: $work/state
log_directory: $work/log
run_directory: $work
database: $work/hdb
rdb_memory: 512M
control_socket: $work/demo.sock
log_low_space: 64M
log_preallocate: 64M
ring_size: 128M
calendar: {zone: America/New_York}
ports:
  - name: p0
    device: "$device"
    groups:
      - {group: "239.192.1.1:26400", feed: itch, line: A}
      - {group: "239.192.1.2:26400", feed: itch, line: B}
feeds:
  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 5ms}
CONF

export PENSTOCK_SOCKET=$work/demo.sock
p=build/control/penstock
show() { # the command as one would type it, and what it prints
    echo; printf '$ penstock'
    for word; do case $word in *[\ ]*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac; done
    echo; $p "$@"
}
build/control/penstockd --config "$work/penstock.yaml" &
daemon=$!
for _ in $(seq 100); do $p status >/dev/null 2>&1 && break; kill -0 $daemon || exit 1; sleep 0.1; done
if [ -z "${PENSTOCK_DEMO_PCAP:-}" ]; then
    # shellcheck disable=SC2086
    build/perf/sim/penstock-sim --iface exchange --rate "$rate" --duration "$seconds" \
        $lines --report "$work/sent.json" --quiet &
    sim=$!
    for _ in $(seq $((seconds / 3))); do sleep 3; echo; $p status || true; done
    wait "$sim"
    sim=
else
    sleep 3; echo; $p status || true
fi
sleep 1
show tail itch_order -n 5
show sub itch_order --where "type = 'A' and shares >= 5000" --columns "time, sym, side, shares, price" --from begin --count 3
show gaps -n 5
show sql "SELECT sym, count(*) orders, sum(shares) shares, wavg(shares, price) price FROM itch_order
    WHERE type = 'A' GROUP BY sym ORDER BY orders DESC LIMIT 3"
show sql "SELECT time, sym, side, shares, price FROM itch_order WHERE type = 'A' LATEST BY sym ORDER BY time DESC LIMIT 3"
show log ls "$work/log"
show eod run --yes
show sql "SELECT date, count(*) orders, count(DISTINCT sym) syms FROM itch_order GROUP BY date"
show hdb verify --hash
echo; echo "\$ penstock ledger"
code=0; $p ledger || code=$?
echo; echo "the simulator's own account: $(grep -o '"messages": *[0-9]*' "$work/sent.json" | head -1)"
$p stop || true
wait "$daemon" || code=$?
daemon=
echo "removed: $made$work"
exit $code
