#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libpenstock against a real daemon: the two examples as a user runs them, publishing and subscribing
# over the socket, TCP and shared memory, over restarts and a crash; a reader that the ring has lapped.
# shellcheck disable=SC1091,SC2154
here=$(dirname "$0")
. "$here/lib.sh"
client=$bin/client
workdir
port=$((20000 + $$ % 20000))
cat >"$work/p.yaml" <<YAML
instance: test
state_directory: $work/state
log_directory: $work/log
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: 16M
log_ballast: 0
ring_size: 16M
rdb_memory: 256M
symbols_max: 100k
consumer_policy: catchup
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long}}
ipc: {tickerplant: $port, rdb: 0, hdb: 0, heartbeat: 200ms}
YAML
ipc=$work/test.ipc tcp=127.0.0.1:$port
probe() { "$BUILD/tests/client_probe" "$@"; }
ln -s "$work/s.sock" "$work/test.sock" # shared memory looks for it beside the *.ipc

subscribed() { # waits until subscriber's output $1 says that it stands
    for _ in $(seq 600); do grep -q subscribed "$1" 2>/dev/null && return; sleep 0.05; done
    die "no subscription: $(cat "$1")"
}

# ---- as it is installed: headers, pkg-config, manual, and nothing but pst_* leaves it ----
DESTDIR=$work/root meson install -C "$BUILD" --no-rebuild --quiet --tags devel,man >/dev/null || die "meson install"
pc=$(find "$work/root" -name penstock.pc) lib=$(find "$work/root" -name libpenstock.so)
cp -P "$client"/libpenstock.so.?.?.? "$client"/libpenstock.so.0 "${lib%/*}/"
flags=$(PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work/root pkg-config --cflags --libs penstock) || die "pkg-config"
for e in publish_trades last_values; do # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror "$here/../../control/etc/examples/$e.c" -o "$work/$e" $flags -lm || die "cc $e"
done
find "$work/root" -name penstock-client.3 | grep -q . || die "no manual"
nm -D --defined-only "$lib" | awk '$3 !~ /^(pst_|PENSTOCK_)/ {print; bad = 1} END {exit bad}' || die "other names leave the library"
export LD_LIBRARY_PATH=${lib%/*}

# ---- the examples ----
start
out=$("$work/publish_trades" "$ipc" 5000) || die "publish_trades: $out"
case $out in *"5000 rows, durable below position "*) ;; *) die "publish_trades says $out" ;; esac
for a in "$ipc shared.memory" "$tcp network"; do
    timeout 60 "$work/last_values" "${a% *}" 5000 >"$work/last" 2>"$work/by" || die "last_values: $(cat "$work/by")"
    grep -q "by ${a#* }" "$work/by" || die "last_values went $(cat "$work/by"), not by ${a#* }"
    awk '{n += $3} END {exit n != 5000 || NR != 6}' "$work/last" || die "last_values: $(cat "$work/last")"
    # the last price that SQL knows
    while read -r sym price _; do
        want=$(p --json sql "select price from trade where sym = '$sym' order by time desc limit 1" |
            python3 -c 'import json,sys; print("%.2f" % json.load(sys.stdin)["rows"][0]["price"])')
        [ "$want" = "$price" ] || die "$sym: last_values has $price, SQL $want"
    done <"$work/last"
done
[ "$(probe query "$tcp" 'select count(*) as n from trade')" = 5000 ] || die "query"
[ "$(probe watermark "$ipc")" = 1 ] || die "watermark"
stop || die "stop"
rm -rf "$work/log" "$work/state"

# ---- rows each once: four ways at once, over a clean restart and kill -9 ----
start
probe publish "$ipc" 0 1000 >/dev/null || die "publish"
ways="network/begin shared/begin place/begin network/begin/odd network/begin/slow/catchup"
pids=
for w in $ways; do
    f=$work/sub.${w//\//.}
    n=6000; case $w in *odd*) n=3000 ;; esac
    probe subscribe "$tcp,$ipc" x 0 >/dev/null 2>&1 || : # a client that comes and goes
    case $w in shared* | place*) a=$ipc ;; *) a=$tcp ;; esac
    probe subscribe "$a" "$w" $n 150 >"$f" 2>"$f.err" &
    pids="$pids $!"
done
others=$pids
for w in $ways; do subscribed "$work/sub.${w//\//.}.err"; done
probe publish "$ipc" 1000 2500 >/dev/null || die "publish"
stop || die "stop"
start
probe publish "$tcp" 2500 4000 resend >/dev/null || die "publish after the restart"
for w in $ways; do # each has seen this life, too
    for _ in $(seq 600); do grep -q "connected again" "$work/sub.${w//\//.}.err" && continue 2; sleep 0.05; done
    die "$w has not come back: $(cat "$work/sub.${w//\//.}.err")"
done
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
start
probe publish "$ipc" 4000 6000 >/dev/null || die "publish after the crash"
i=0
for w in $ways; do
    i=$((i + 1))
    f=$work/sub.${w//\//.}
    wait "$(echo "$pids" | xargs | cut -d' ' -f$i)" || die "$w: $(cat "$f" "$f.err")"
    case $w in *odd*) want="rows=3000 first=1 last=5999" ;; *) want="rows=6000 first=0 last=5999" ;; esac
    grep -q "^$want holes=0 repeats=0 lost=0 rewound=0 ends=2 " "$f" || die "$w: $(cat "$f" "$f.err")"
done
others=

# ---- readers that sleep while the ring goes round: on from the log, each row once ----
others=
for w in place shared; do # at the end of what there is when they fall asleep
    probe subscribe "$ipc" $w/begin/tell6000 600000 120 >"$work/lapped.$w" 2>"$work/lapped.$w.err" &
    others="$others $!"
done
for w in place shared; do
    for _ in $(seq 600); do grep -q "rows 6000" "$work/lapped.$w.err" && break; sleep 0.05; done
    grep -q "rows 6000" "$work/lapped.$w.err" || die "$w does not read: $(cat "$work/lapped.$w.err")"
done
kill -STOP $others
before=$(probe publish "$ipc" 6000 6001) || die "publish"
after=$(probe publish "$ipc" 6001 600000) || die "publish"
[ $((${after#* } - ${before#* })) -gt $((16 << 20)) ] || die "the ring did not go round: $before, $after"
kill -CONT $others
i=0
for w in place shared; do
    i=$((i + 1))
    wait "$(echo "$others" | xargs | cut -d' ' -f$i)" || die "$w, lapped: $(cat "$work/lapped.$w" "$work/lapped.$w.err")"
    grep -q "^rows=600000 first=0 last=599999 holes=0 repeats=0 lost=0 rewound=0 " "$work/lapped.$w" || die "$w, lapped: $(cat "$work/lapped.$w")"
done
others=
stop || die "stop"

# ---- TLS, users: the certificate must be right, the password too ----
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost' -keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null || die "openssl"
chmod 600 "$work/tls.key"
for u in "anna --tables all" "feed --tables none --publish all"; do # shellcheck disable=SC2086
    echo secret-1 | "$bin/penstock" user add $u --file "$work/users.yaml" >/dev/null || die "user add $u"
done
sed -i "s|^ipc: .*|ipc: {tickerplant: $port, rdb: 0, hdb: 0, users: $work/users.yaml, certificate: $work/tls.pem, key: $work/tls.key, tls: required}|" "$work/p.yaml"
start
tls=tls:localhost:$port
export PROBE_USER=anna PROBE_PASSWORD=secret-1 PROBE_CA=$work/tls.pem
[ "$(probe query "$tls" 'select count(*) as n from trade')" = 600000 ] || die "query over TLS"
refuses() { # WORDS COMMAND...: client_probe fails with these
    words=$1; shift
    "$@" >"$work/out" 2>&1 && die "not refused: $*"
    grep -q -- "$words" "$work/out" || die "$*: $(cat "$work/out")"
}
refuses "the daemon" probe query "$tcp" 'select 1' # plain
refuses "mismatch" probe query "tls:127.0.0.1:$port" 'select 1' # another name than the certificate's
PROBE_CA='' refuses "self-signed" probe query "$tls" 'select 1'
PROBE_PASSWORD=wrong refuses 'refused user "anna"' probe query "$tls" 'select 1'
refuses "publish" probe publish "$tls" 600000 600010
PROBE_USER=feed probe publish "$tls" 600000 600500 >/dev/null || die "publish over TLS"
PROBE_USER=feed refuses "trade" probe subscribe "$tls" network 1 5
probe subscribe "$tls" network/day 600500 100 >"$work/out" 2>&1 || die "subscribe over TLS: $(cat "$work/out")"
stop || die "stop"
echo "examples; 5 subscribers over a restart and a crash; 600,000 rows through the ring and the log; TLS and users"
