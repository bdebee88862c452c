# SPDX-License-Identifier: Apache-2.0
# lib.sh - what the system tests share. Sourced, after BUILD (the build directory) is set.
# A test runs inside its own network namespace (enter_namespace) and its own directory ($work), starts
# penstockd and penstock-sim as any user would, and asks only what a user can ask.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # the system's python3 and not a version manager's script: it runs hundreds of times

bin=$BUILD/control sim=$BUILD/perf/sim/penstock-sim verify=$BUILD/tests/verify
work= daemon= others=

# PST_SEED, a commit or a number, as a number: what rotates by commit asks it.
seed=$((16#$(printf %s "${PST_SEED:-1}" | tr -cd 0-9a-f | cut -c1-7)))

skip() { echo "SKIP: $*"; exit 77; }
die() { echo "FAILED: $*" >&2; [ -f "$work/daemon.log" ] && tail -${PST_LINES:-30} "$work/daemon.log" >&2; exit 1; }

enter_namespace() { # re-runs the script inside a namespace with a veth pair: out (simulator), in (us)
    if [ -z "${PST_INSIDE:-}" ]; then
        export PST_INSIDE=1
        if [ "$(id -u)" = 0 ]; then exec unshare -n "$0" "$@"
        elif unshare -Urn true 2>/dev/null; then export PST_USER=1; exec unshare -Urn "$0" "$@"
        else skip "needs root or user namespaces for a veth pair"; fi
    fi
    ip link set lo up
    ip link add out type veth peer name in || skip "no veth"
    ip link set out up; ip link set in up
    workdir
}

workdir() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-test.XXXXXX")
    trap finish EXIT
    trap 'exit 1' INT TERM
}

finish() {
    code=$?
    for p in $others $daemon; do kill -9 "$p" 2>/dev/null; done
    wait 2>/dev/null
    if [ $code != 0 ] && [ $code != 77 ] && [ -n "${PST_KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    exit $code
}

# af_packet locks its two rings in memory: as large as the limit of an unprivileged user allows
locked=$(ulimit -l) frames=32768
if [ "$locked" != unlimited ] && [ "$locked" -lt 262144 ] && [ -n "${PST_USER:-}" ]; then frames=$(((locked / 2048 - 1) * 512)); fi
DEVICE=${DEVICE:-net_af_packet0,iface=in,blocksz=1048576,framesz=2048,framecnt=$frames}
# config [EXTRA YAML LINES]: writes $work/p.yaml. FEEDS and GROUPS may be set before.
config() {
    cat >"$work/p.yaml" <<YAML
instance: test
state_directory: $work/state
log_directory: ${LOGDIR:-$work/log}
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: ${PREALLOCATE:-16M}
log_ballast: 0
ring_size: ${RING:-256M}
symbols_max: 100k
check_interval: 200ms
durability: ${LEVEL:-durable}
calendar: {zone: America/New_York}
${PORTS-ports:
  - name: p0
    device: "$DEVICE"
    groups:
${GROUPS_YAML:-      - {group: \"239.192.1.1:26400\", feed: itch, line: A\}
      - {group: \"239.192.1.2:26400\", feed: itch, line: B\}}}
feeds:
${FEEDS:-  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 20ms\}}
${1:-}
YAML
}

p() { "$bin/penstock" --socket "$work/s.sock" "$@"; }

start() { # starts the daemon and waits until it answers
    "$bin/penstockd" --config "$work/p.yaml" >>"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 750); do
        [ -S "$work/s.sock" ] && p commands >/dev/null 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || die "penstockd did not start"
        sleep 0.02
    done
    die "penstockd does not answer"
}

stop() { # a clean stop; $? of the daemon
    p stop >/dev/null || die "stop"
    wait "$daemon"; code=$?; daemon=
    return $code
}

# field JSON-COMMAND EXPRESSION(python): for figures; python3 reads the JSON as `r`
figure() { cmd=$1; shift; p $cmd --json | python3 -IS -c "import json,sys; r=json.load(sys.stdin); print($*)"; }

durable() { # until what stands in the journal by now stands on the disk: a dump of a live log reads files one by one
    local tail until=$(($(date +%s) + 20))
    tail=$(figure status 'r["log"]["tail"]')
    until [ "$(figure status 'r["log"]["durable"]')" -ge "$tail" ]; do
        [ "$(date +%s)" -lt $until ] || die "not durable within 20 s: position $tail"
        sleep 0.02
    done
}

settle() { # until the ledger has caught up with everything, balanced; else fails after a deadline
    for _ in $(seq 200); do
        if p ledger --json >"$work/ledger.json" 2>/dev/null &&
            python3 -IS - "$work/ledger.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
ok = r["balanced"] and all(s["flying"] == 0 and s["waiting"] == 0 for s in r["sessions"])
sys.exit(not ok)
PY
        then return 0; fi
        sleep 0.1
    done
    p ledger
    return 1
}

send() { # simulator onto the wire, with report and truth; further arguments are its own
    "$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet "$@" || die "the simulator failed"
}

# The trading date of what the simulator sent: of when it began, and not of now, should midnight lie between.
sent_date() { # [TRUTH]
    local at
    at=$(stat -c %W "${1:-$work/truth}")
    [ "$at" -gt 0 ] || at=$(stat -c %Y "${1:-$work/truth}")
    TZ=America/New_York date -d "@$at" +%F
}

check() { # the journal against the truth; arguments for verify
    "$bin/penstock" log dump "$work/log" --json >"$work/rows.json" || die "log dump"
    "$verify" --report "$work/sent.json" --truth "$work/truth" --date "$(sent_date)" "$@" <"$work/rows.json" ||
        die "what was logged is not what was sent"
}
