# SPDX-License-Identifier: Apache-2.0
# What idle.sh and veth.sh share: a network namespace with a veth pair, a penstockd on it, CPU time.
# Callers set: work (a directory of their own), and call `inside "$0" "$@"` first.

# Goes on in a network namespace of our own; 77 = cannot (no root and no user namespaces).
inside() {
    [ -n "${PENSTOCK_PERF_INSIDE:-}" ] && return
    export PENSTOCK_PERF_INSIDE=1
    if [ "$(id -u)" = 0 ]; then exec unshare -n "$@"; fi
    if unshare -Urn true 2>/dev/null; then exec unshare -Urn "$@"; fi
    echo "skipped: needs root or user namespaces" >&2
    exit 77
}

veth() {
    ip link set lo up
    ip link add exchange type veth peer name capture
    # no traffic of the host's own on an idle wire
    for i in exchange capture; do
        sysctl -qw "net.ipv6.conf.$i.disable_ipv6=1" 2>/dev/null || true
        ip link set "$i" up
    done
}

# daemon WAIT [LCORE [MORE LINES OF CONFIGURATION]]: starts penstockd; sets daemon (pid) and
# PENSTOCK_SOCKET.
daemon() {
    cat >"$work/penstock.yaml" <<CONF
instance: perf
state_directory: $work/state
log_directory: $work/log
run_directory: $work
control_socket: $work/perf.sock
log_low_space: 64M
log_preallocate: 256M
ring_size: 256M
wait: $1
calendar: {zone: America/New_York}
${3:-}
ports:
  - name: p0
    lcore: ${2:--1}
    device: "net_af_packet0,iface=capture,blocksz=1048576,framesz=2048,framecnt=65536"
    groups:
      - {group: "239.192.1.1:26400", feed: itch, line: A}
      - {group: "239.192.1.2:26400", feed: itch, line: B}
feeds:
  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 5ms}
CONF
    rm -rf "$work/state" "$work/log"
    export PENSTOCK_SOCKET=$work/perf.sock
    "$build/control/penstockd" --config "$work/penstock.yaml" >"$work/daemon.out" 2>&1 &
    daemon=$!
    for _ in $(seq 150); do
        "$build/control/penstock" status >/dev/null 2>&1
        [ $? -le 1 ] && return
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    echo "penstockd did not start:" >&2
    tail -5 "$work/daemon.out" >&2
    exit 1
}

daemon_stop() {
    [ -n "${daemon:-}" ] || return 0
    kill "$daemon" 2>/dev/null && wait "$daemon"
    daemon=
}

# threads PID: "tid name nanoseconds" of each thread: on the CPU since it started.
threads() {
    local t
    for t in /proc/"$1"/task/*; do
        [ -r "$t/schedstat" ] &&
            echo "${t##*/} $(tr ' ' _ <"$t/comm") $(cut -d' ' -f1 "$t/schedstat")"
    done
}

# spent BEFORE AFTER (files of `threads`): "name nanoseconds" of what was spent between.
spent() {
    awk 'NR == FNR { was[$1] = $3; next } { print $2, $3 - was[$1] }' "$1" "$2"
}
