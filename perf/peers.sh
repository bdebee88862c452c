#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Acknowledged messages against other logs, at equal batching and on the same disk: bench_ack (the
# log, and a bare O_DSYNC loop), then SQLite (WAL, synchronous=FULL), Redis (AOF, appendfsync always)
# and NATS JetStream (file) from Debian's packages, each alone.
#   perf/peers.sh [-s SECONDS] [-d DIRECTORY] [--install]
# --install: apt-get install of what is missing (redis-server nats-server libsqlite3-dev). A peer that
# is not there is said and left out. Servers run on loopback, as the caller, and end with the script.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build} seconds=2 dir=${PERF_DIR:-/tmp} install=
while [ $# -gt 0 ]; do
    case $1 in
    -s) seconds=$2; shift ;;
    -d) dir=$2; shift ;;
    --install) install=1 ;;
    *) sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
. perf/packages.sh
[ -z "$install" ] || peers_install "$build" redis-server nats-server libsqlite3-dev
ninja -C "$build" perf/bench_ack perf/bench_peers >/dev/null || exit 2
work=$(mktemp -d "$dir/peers.XXXXXX") || exit 2
server=
finish() { [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
listening() { for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; return 1; }
down() { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; server=; }

"$build/perf/bench_ack" -s "$seconds" "$work" || exit 1
mkdir "$work/sqlite"
"$build/perf/bench_peers" -s "$seconds" sqlite "$work/sqlite" || echo "skipped: sqlite (libsqlite3-dev)" >&2
rm -rf "$work/sqlite"
if command -v redis-server >/dev/null; then
    port=$(free_port)
    mkdir "$work/redis"
    redis-server --port "$port" --bind 127.0.0.1 --dir "$work/redis" --save '' --appendonly yes \
        --appendfsync always --auto-aof-rewrite-percentage 0 --daemonize no >"$work/redis.log" 2>&1 &
    server=$!
    listening "$port" && "$build/perf/bench_peers" -s "$seconds" redis "$port"
    down
    rm -rf "$work/redis"
else
    echo "skipped: redis (redis-server is not installed)" >&2
fi
if command -v nats-server >/dev/null; then
    port=$(free_port)
    mkdir "$work/nats"
    version=$(nats-server --version | sed 's/.*v//')
    sync="acknowledges what is written, syncs every 2 minutes"
    {
        echo "port: $port"
        echo "host: 127.0.0.1"
        echo "jetstream {"
        echo "  store_dir: \"$work/nats\""
        case $version in
        2.[0-9] | 2.[0-9].*) ;;
        *) echo "  sync_interval: always"; sync="syncs each message" ;;
        esac
        echo "}"
    } >"$work/nats.conf"
    echo "# nats-server $version $sync"
    nats-server -c "$work/nats.conf" >"$work/nats.log" 2>&1 &
    server=$!
    listening "$port" && "$build/perf/bench_peers" -s "$seconds" nats "$port"
    down
else
    echo "skipped: nats (nats-server is not installed)" >&2
fi
