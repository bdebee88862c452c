#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-node.sh: npm's node-q (tests/node, pinned) publishes, subscribes, asks and gets errors. Without node, or a
# registry to get it from, it says so and skips.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
[ -z "${PST_USER:-}" ] || skip "plugins belong to root, whom a user namespace does not show"
modules=$BUILD/node-clients
if [ -z "${PST_INSIDE:-}" ]; then # outside of the namespace, which has no way to a registry
    command -v node >/dev/null && command -v npm >/dev/null || skip "node or npm is missing: NO node-q was tried"
    if ! cmp -s "$here/../node/package-lock.json" "$modules/package-lock.json" || [ ! -e "$modules/done" ]; then
        rm -rf "$modules" && mkdir -p "$modules" && cp "$here"/../node/package*.json "$modules/"
        (cd "$modules" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) ||
            skip "npm cannot get node-q: NO node-q was tried: $(tail -1 "$modules/npm.log")"
        touch "$modules/done"
    fi
fi
enter_namespace "$@"
PORTS=" " FEEDS=" "
config "plugins: [$BUILD/tests/answering.so]
query_processes: 2
rdb_memory: 128M
ipc: {users: $work/users}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}
  every: {columns: {time: timestamp, sym: symbol, b: boolean, g: guid, x: byte, h: short, i: int, j: long, e: real, f: float, c: char, s: symbol, p: timestamp, m: month, d: date, n: timespan, u: minute, v: second, t: time, z: string}}"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
(umask 077; /usr/bin/python3 "$here/ipc-answers.py" users >"$work/users")
start
timeout 60 node "$here/../node/clients.js" "$modules" 5010 || die "node-q: see above"
stop || die "the daemon's end"
