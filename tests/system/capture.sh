#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# capture.sh CASE: a simulated exchange on a veth pair, captured through a DPDK vdev; rows and gap rows
# must equal what was sent, field by field, and the ledger must balance.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"

rate="--rate 60000 --messages ${MESSAGES:-90000} --heartbeat-ms 200 --tail-heartbeats 3"
two="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"
gaps=exact       # what verify is told
expect=true      # what must hold of `f`, the feed, and `s`, the simulator's report (python)
verify_args=
silent=0         # 1: a line is silent at the end, so the status is degraded

one_feed() { # NAME FRAMING DECODER
    GROUPS_YAML="      - {group: \"239.192.1.1:26400\", feed: $1, line: A}
      - {group: \"239.192.1.2:26400\", feed: $1, line: B}"
    FEEDS="  - {name: $1, framing: $2, decoder: $3, window_time: 20ms}"
    config
}

case $1 in
clean)
    config; args="$rate $two"
    expect='f["gaps"] == 0 and all(l["duplicate"] + l["first"] >= 90000 for l in f["lines"])' ;;
loss-a)
    config; args="$rate --line A,239.192.1.1:26400,loss=2%,burst=5 --line B,239.192.1.2:26400"
    expect='f["lines"][0]["lost"] == s["lines"][0]["dropped_messages"] > 0 == f["lines"][1]["lost"]' ;;
loss-b)
    config; args="$rate --line A,239.192.1.1:26400 --line B,239.192.1.2:26400,loss=2%,burst=5"
    expect='f["lines"][1]["lost"] == s["lines"][1]["dropped_messages"] > 0 == f["lines"][0]["lost"]' ;;
loss-both)
    config; args="$rate $two --lines loss=5%,burst=8"
    expect='f["gap_seqs"] > 0 and all(a["lost"] == b["dropped_messages"] > 0 for a, b in zip(f["lines"], s["lines"]))' ;;
delay)
    config
    args="$rate --line A,239.192.1.1:26400,loss=1%,burst=4 --line B,239.192.1.2:26400,delay=2ms,jitter=200us,loss=1%,burst=4" ;;
reorder)
    config; args="$rate $two --lines reorder=2%,window=6"
    expect='all(l["reordered"] > 0 for l in f["lines"])' ;;
duplicates)
    config; args="$rate $two --lines dup=10%"
    expect='f["gaps"] == 0 and all(l["duplicates"] > 0 for l in s["lines"])' ;;
dead-line)
    config; args="$rate --line A,239.192.1.1:26400,dead=30000- --line B,239.192.1.2:26400,loss=1%,burst=3" ;;
session-change)
    config; args="$rate $two --lines loss=1%,burst=4 --second-session 0000000002@45000"
    expect='len(f["sessions"]) == 2' ;;
session-end)
    config; args="$rate $two --lines loss=1%,burst=4 --end-session"
    expect='f["sessions"][0]["state"] == "ended"' ;;
mid-session) # what came before the first packet is one gap
    config; args="$rate $two --lines loss=1%,burst=4 --first-seq 5001"
    before="1-5000" ;;
divergent)
    config; args="$rate $two --divergent-at 20000:B --divergent-at 30011:A --divergent-at 40000:B"
    verify_args="--divergent 3"
    expect='f["divergent"] == 3' ;;
repack)
    config; args="$rate --line A,239.192.1.1:26400,loss=2%,burst=3 --line B,239.192.1.2:26400,loss=2%,burst=3,repack" ;;
corrupt)
    config; args="$rate $two --lines corrupt=1%"
    expect='all(a["malformed"] == b["corrupt"] > 0 for a, b in zip(f["lines"], s["lines"]))' ;;
malformed)
    config; args="$rate $two --malformed all:50"
    expect='all(l["malformed"] > 0 for l in f["lines"]) and malformed_agrees(f, s, counters)' ;;
vlan)
    config
    args="$rate --max-payload 1400 --line A,239.192.1.1:26400,vlan=100,loss=1% --line B,239.192.1.2:26400,vlan=100.200" ;;
small)
    config
    args="--rate 30000 --messages 60000 --heartbeat-ms 200 --tail-heartbeats 3 $two --lines small,loss=1%,burst=3" ;;
iex-tops | iex-tops15 | iex-deep)
    one_feed iex iex-tp iex
    args="--protocol $1 $rate $two --lines loss=2%,burst=4"
    protocol=iex ;;
iex-restart)
    one_feed iex iex-tp iex
    args="--protocol iex-tops $rate $two --restart-at 30000 --restart-at 40000"
    expect='f["restarts"] == 2'
    protocol=iex ;;
cboe | cme | b3)
    one_feed x "$1" none
    args="--protocol $1 $rate $two --lines loss=8%,burst=8"
    expect='f["gaps"] > 0'
    protocol=raw ;;
b3-restart | cme-reset) # a new version of the sequence; a reset message
    one_feed x "${1%-*}" none
    args="--protocol ${1%-*} $rate $two --restart-at 2000"
    expect='len(f["sessions"]) == 2'
    protocol=raw ;;
cboe-units)
    one_feed x cboe none
    args="--protocol cboe --units 4 $rate $two --lines loss=5%,burst=6"
    expect='len(f["sessions"]) == 4'
    protocol=raw ;;
unsequenced) # kept whole beside the numbered ones, and no sequence of anything
    one_feed x cboe none
    args="--protocol cboe --unsequenced 50 $rate $two"
    expect='[l["unsequenced"] for l in f["lines"]] == [l["unsequenced"] for l in s["lines"]] != [0, 0]'
    protocol=raw ;;
overload) # a NIC ring far smaller than the flow, a daemon that is stopped meanwhile: losses are rows
    DEVICE="net_af_packet0,iface=in,blocksz=65536,framesz=2048,framecnt=1024"
    RING=16M config
    args="--flat-out --rate 1000000 --messages 400000 --heartbeat-ms 200 --tail-heartbeats 20 $two --lines small"
    gaps=superset
    expect='f["gap_seqs"] > 0 and sum(p["missed"] for p in ports) > 0' ;;
*) die "no case $1" ;;
esac

start
if [ "$1" = overload ]; then
    # shellcheck disable=SC2086
    "$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet $args & others=$!
    for _ in $(seq 200); do
        [ "$(figure feeds 'r["feeds"][0]["messages"]')" -gt 20000 ] && break
        sleep 0.02
    done
    kill -STOP "$daemon"; sleep 0.3; kill -CONT "$daemon"
    wait "$others" || die "the simulator failed"
    others=
else
    # shellcheck disable=SC2086
    send $args
fi
settle || die "the ledger does not balance"
p status >"$work/status.txt"; [ $? -le 1 ] || die "status"
for v in feeds counters topo; do p $v --json >"$work/$v.json"; done
p ledger --verify >"$work/ledger.txt" || die "ledger --verify: $(cat "$work/ledger.txt")"
stop || die "the daemon's exit code"
# shellcheck disable=SC2086
check --protocol "${protocol:-itch}" --gaps $gaps $verify_args
"$bin/penstock" log verify "$work/log" || die "log verify"
python3 - "$work" "$expect" "${before:-}" <<'PY' || die "the figures are not those of the simulator's report"
import json, sys
work, expect, before = sys.argv[1:]
load = lambda n: json.load(open(work + "/" + n))
feeds, s, ports = load("feeds.json"), load("sent.json"), load("topo.json")["ports"]
f = (feeds["feeds"] if isinstance(feeds, dict) else feeds)[0]
counters = {c["name"]: c["value"] for c in load("counters.json")["counters"]}
rows = [json.loads(l) for l in open(work + "/rows.json")]
gap = [(g["reason"], "%d-%d" % (g["first"], g["last"])) for g in rows if g.get("table") == "gap"]
starts = [r for why, r in gap if why == "before_start"]

def malformed_agrees(f, s, counters):
    """Each kind of broken packet is counted where it was found: by the packet check, or the framing."""
    sent = {}
    for l in s["lines"]:
        for k, n in l["malformed"].items():
            sent[k] = sent.get(k, 0) + n
    dropped = {k: v for k, v in counters.items() if k.startswith("drop.") and v}
    found = sum(l["malformed"] for l in f["lines"])
    print("malformed sent", sent, "dropped", dropped, "framing", found)
    dropped.pop("drop.ipv6", 0)  # the kernel's own
    # fragments: the kernel reassembles them before its packet sockets, or waits for ever
    return (sum(dropped.values()) + found == sum(sent.values()) - sent["fragment"] + dropped.get("drop.fragment", 0)
            and len(dropped) >= 7 and found >= 48)

if starts != ([before] if before else []):
    sys.exit("before_start gaps: %s, expected %s" % (starts, before))
if expect != "true" and not eval(expect):
    print(json.dumps(f, indent=1), json.dumps(s["lines"], indent=1), json.dumps(ports), file=sys.stderr)
    sys.exit("does not hold: " + expect)
PY
exit 0
