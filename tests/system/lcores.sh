#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lcores.sh CASE: two ports and two feeds under two simulators at once, each feed on its own lcore (the
# second one's rows come through its inject ring) or both on one; each feed's rows and gaps must be
# those that were sent to it, and the one ledger must balance.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"
ip link add out2 type veth peer name in2 || skip "no second veth"
ip link set out2 up; ip link set in2 up

case $1 in # the lcores of the two ports; what the second feed is
pinned) one=0 two=1 protocol=itch framing=moldudp64 decoder=itch50 ;;
iex) one=0 two=1 protocol=iex-tops framing=iex-tp decoder=iex ;;
unpinned) one=-1 two=1 protocol=itch framing=moldudp64 decoder=itch50 ;;
shared) one=0 two=0 protocol=itch framing=moldudp64 decoder=itch50 ;;
*) die "no case $1" ;;
esac
for cpu in $one $two; do
    [ "$cpu" = -1 ] || taskset -c "$cpu" true 2>/dev/null || skip "CPU $cpu is not ours"
done

# Of the locked memory that one port may have, each takes a half.
ring="blocksz=1048576,framesz=2048,framecnt=$((frames / 1024 * 512))"
PORTS="ports:
  - name: p0
    device: \"net_af_packet0,iface=in,$ring\"
    lcore: $one
    groups:
      - {group: \"239.192.1.1:26400\", feed: first, line: A}
      - {group: \"239.192.1.2:26400\", feed: first, line: B}
  - name: p1
    device: \"net_af_packet1,iface=in2,$ring\"
    lcore: $two
    groups:
      - {group: \"239.192.2.1:26400\", feed: second, line: A}
      - {group: \"239.192.2.2:26400\", feed: second, line: B}"
FEEDS="  - {name: first, framing: moldudp64, decoder: itch50, zone: America/New_York, window_time: 20ms}
  - {name: second, framing: $framing, decoder: $decoder, zone: America/New_York, window_time: 20ms}"
config
start

common="--quiet --rate 20000 --messages 60000 --heartbeat-ms 200 --tail-heartbeats 3 --lines loss=12%,burst=5"
# shellcheck disable=SC2086
"$sim" --iface out --report "$work/first.json" --truth "$work/first.truth" --seed 1 $common \
    --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 & s1=$!
# shellcheck disable=SC2086
"$sim" --iface out2 --report "$work/second.json" --truth "$work/second.truth" --seed 2 $common \
    --protocol $protocol --line A,239.192.2.1:26400 --line B,239.192.2.2:26400 & s2=$!
others="$s1 $s2"
wait $s1 || die "the first simulator failed"
wait $s2 || die "the second simulator failed"
others=
settle || die "the ledger does not balance"
p ledger --verify >"$work/ledger.txt" || die "ledger --verify: $(cat "$work/ledger.txt")"
for v in feeds topo counters; do p $v --json >"$work/$v.json"; done
stop || die "the daemon's exit code"

"$bin/penstock" log verify "$work/log" || die "log verify"
"$bin/penstock" log dump "$work/log" --json >"$work/rows.json" || die "log dump"
"$verify" --feed first --report "$work/first.json" --truth "$work/first.truth" --date "$(sent_date "$work/first.truth")" \
    --gaps exact <"$work/rows.json" || die "the first feed's rows are not what was sent"
"$verify" --feed second --report "$work/second.json" --truth "$work/second.truth" --date "$(sent_date "$work/second.truth")" \
    --gaps exact --protocol "${protocol%%-*}" <"$work/rows.json" ||
    die "the second feed's rows are not what was sent"
python3 - "$work" "$one" "$two" <<'PY' || die "the figures are not those of the simulators' reports"
import json, sys
work, *lcores = sys.argv[1:]
load = lambda n: json.load(open(work + "/" + n + ".json"))
feeds = {f["name"]: f for f in load("feeds")["feeds"]}
for port, lcore in zip(load("topo")["ports"], lcores):
    assert port["lcore"] == int(lcore) and port["taken"] > 0 == port["missed"], port
rx = {f["lcore"] for f in feeds.values()}
assert len(rx) == len(set(lcores)), ("the lcores of the feeds", rx)
for name, f in feeds.items():
    sent = load(name)["lines"]
    assert f["gap_seqs"] > 0, (name, "no sequence was lost on both lines: nothing was tried")
    for got, line in zip(f["lines"], sent):
        assert got["lost"] == line["dropped_messages"] > 0, (name, got, line)
rows = [json.loads(l) for l in open(work + "/rows.json")]
of = {n: [i for i, r in enumerate(rows) if r.get("feed") == n] for n in feeds}
# at once, indeed: each feed's rows begin before the other's end
assert of["first"][0] < of["second"][-1] and of["second"][0] < of["first"][-1]
PY
exit 0
