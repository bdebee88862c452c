#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# capture.sh CASE: a simulated exchange on a veth pair, captured through a DPDK vdev; rows and gap rows
# must equal what was sent, field by field, and the ledger must balance.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"

rate="--rate 60000 --messages ${MESSAGES:-120000} --heartbeat-ms 200 --tail-heartbeats 3"
two="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"
gaps=exact

case $1 in
clean) config; args="$rate $two" ;;
loss-a) config; args="$rate --line A,239.192.1.1:26400,loss=2%,burst=5 --line B,239.192.1.2:26400" ;;
loss-b) config; args="$rate --line A,239.192.1.1:26400 --line B,239.192.1.2:26400,loss=2%,burst=5" ;;
loss-both) config; args="$rate $two --lines loss=5%,burst=8" ;;
delay) config; args="$rate --line A,239.192.1.1:26400,loss=1%,burst=4 --line B,239.192.1.2:26400,delay=2ms,jitter=200us,loss=1%,burst=4" ;;
reorder) config; args="$rate $two --lines reorder=2%,window=6" ;;
duplicates) config; args="$rate $two --lines dup=10%" ;;
dead-line) config; args="$rate --line A,239.192.1.1:26400,dead=30000- --line B,239.192.1.2:26400,loss=1%,burst=3" ;;
session-change) config; args="$rate $two --lines loss=1%,burst=4 --second-session 0000000002@60000" ;;
repack) config; args="$rate --line A,239.192.1.1:26400,loss=2%,burst=3 --line B,239.192.1.2:26400,loss=2%,burst=3,repack" ;;
corrupt) config; args="$rate $two --lines corrupt=1%" ;;
malformed) config; args="$rate $two --malformed all:50" ;;
vlan) config; args="$rate --line A,239.192.1.1:26400,vlan=100,loss=1% --line B,239.192.1.2:26400,vlan=100.200" ;;
small) config; args="--rate 30000 --messages 60000 --heartbeat-ms 200 --tail-heartbeats 3 $two --lines small,loss=1%,burst=3" ;;
iex-tops | iex-deep)
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: iex, line: A}
      - {group: "239.192.1.2:26400", feed: iex, line: B}'
    FEEDS='  - {name: iex, framing: iex-tp, decoder: iex, window_time: 20ms}'
    config
    args="--protocol $1 $rate $two --lines loss=2%,burst=4"
    protocol=iex ;;
iex-restart)
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: iex, line: A}
      - {group: "239.192.1.2:26400", feed: iex, line: B}'
    FEEDS='  - {name: iex, framing: iex-tp, decoder: iex, window_time: 20ms}'
    config
    args="--protocol iex-tops $rate $two --restart-at 30000 --restart-at 40000"
    protocol=iex ;;
cboe | cme | b3)
    GROUPS_YAML='      - {group: "239.192.1.1:26400", feed: x, line: A}
      - {group: "239.192.1.2:26400", feed: x, line: B}'
    FEEDS="  - {name: x, framing: $1, decoder: none, window_time: 20ms}"
    config
    args="--protocol $1 $rate $two --lines loss=2%,burst=4"
    protocol=raw ;;
overload) # a ring far too small for a log that is slower than the wire: losses are rows, the ledger balances
    RING=16M config
    args="--flat-out --rate 1000000 --messages 600000 --heartbeat-ms 200 --tail-heartbeats 5 $two"
    gaps=superset ;;
*) die "no case $1" ;;
esac

start
# shellcheck disable=SC2086
send $args
settle || die "the ledger does not balance"
p status >"$work/status.txt"; [ $? -le 1 ] || die "status"
stop || die "the daemon's exit code"
check --protocol "${protocol:-itch}" --gaps $gaps
"$bin/penstock" log verify "$work/log" || die "log verify"
