#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A start behind a large log: penstockd is killed with GB gigabytes of one date's rows behind it, the
# page cache is dropped, and it is started again while packets keep coming.
#   first     from exec to the first packet in the journal
#   verify    every byte of it checked, as the start does behind capture (penstock log verify)
#   rebuild   all of the log read again and its rows in memory: bytes a second, from exec, beside what
#             fio reads of the same files (1 MiB, direct, depth 8, cold)
#   perf/recovery.sh [GB (10)] [DIRECTORY]        root (drop_caches, veth); RAM for the rows: see rdb
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
. perf/lib.sh
inside "$0" "$@"
gb=${1:-10} dir=${2:-${PERF_DIR:-/tmp}}
work=$(mktemp -d "$dir/penstock-recovery.XXXXXX")
sim=
cleanup() {
    [ -n "$sim" ] && kill "$sim" 2>/dev/null
    daemon_stop
    rm -rf "$work"
}
trap cleanup EXIT
veth
p() { "$build/control/penstock" "$@"; }
now() { date +%s.%N; }
drop() { sync; echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || echo "# page cache not dropped: not root" >&2; }

"$build/perf/sim/penstock-sim" --pcap "$work/src.pcap" --messages 3000000 --rate 500000 --quiet || exit 1
"$build/control/penstockd" --replay "$work/src.pcap" --feed itch --dir "$work/src" --rows 0 >/dev/null 2>&1 || exit 1
rm -f "$work/src.pcap"
daemon adaptive
for ((i = 1; $(du -sb "$work/log" | cut -f1) < gb * 1000000000; i++)); do
    p replay "$work/src/log" --to "$PENSTOCK_SOCKET" --source "fill:$i" --quiet >/dev/null || exit 1
done
rows=$(p rdb --json | grep -o '"rows": *[0-9]*' | head -1 | tr -dc 0-9)
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon=
rm -rf "$work/src"
bytes=$(du -sb "$work/log" | cut -f1)

if command -v fio >/dev/null; then
    drop
    largest=$(find "$work/log" -name 'log*.*.*' -printf '%s %p\n' | sort -rn | head -1 | cut -d' ' -f2)
    size=$(stat -c %s "$largest")
    size=$((size < 4000000000 ? size : 4000000000))
    disk=$(fio --name=r --filename="$largest" --rw=read --bs=1M --iodepth=8 --direct=1 --ioengine=io_uring \
        --size=$((size / 1048576 * 1048576)) --readonly --output-format=terse --terse-version=3 2>/dev/null | cut -d';' -f7)
    disk=$((${disk:-0} * 1024))
fi
drop
t0=$(now)
p log verify "$work/log" >/dev/null
verify=$(awk -v b="$bytes" -v t0="$t0" -v t="$(now)" 'BEGIN { printf "%.0f", b / (t - t0) }')

drop
"$build/perf/sim/penstock-sim" --iface exchange --line A,239.192.1.1:26400 --pps 2000 --duration 600 \
    --no-directory --report "$work/sent.json" --report-symbols 0 --quiet &
sim=$!
sleep 1
t0=$(now)
"$build/control/penstockd" --config "$work/penstock.yaml" >"$work/again.out" 2>&1 &
daemon=$!
first= done=
for _ in $(seq 60000); do
    kill -0 "$daemon" 2>/dev/null || { tail -5 "$work/again.out" >&2; exit 1; }
    if [ -z "$first" ] && p feeds --json 2>/dev/null | grep -q '"messages": *[1-9]'; then first=$(now); fi
    if [ -n "$first" ]; then
        at=$(p rdb --json)
        position=$(echo "$at" | grep -o '"position": *[0-9]*' | head -1 | tr -dc 0-9)
        to=$(echo "$at" | grep -o '"rebuild_to": *[0-9]*' | head -1 | tr -dc 0-9)
        have=$(echo "$at" | grep -o '"rows": *[0-9]*' | head -1 | tr -dc 0-9)
        refused=$(echo "$at" | grep -o '"refused": *[0-9]*' | head -1 | tr -dc 0-9)
        [ "${position:-0}" -ge "${to:-1}" ] && { done=$(now); break; }
    fi
    sleep 0.02
done
grep 'recovered' "$work/again.out"
end=$(sed -n 's/.*recovered .* end at \([0-9]*\),.*/\1/p' "$work/again.out" | head -1)
# positions begin near 0: what was preallocated is not read
[ -n "$end" ] && verify=$((verify * (end / 1000) / (bytes / 1000))) bytes=$end
awk -v verify="$verify" -v b="$bytes" -v t0="$t0" -v f="$first" -v d="$done" -v disk="${disk:-0}" -v rows="$rows" -v have="$have" -v refused="${refused:-0}" 'BEGIN {
    printf "result recovery bytes=%d rows=%d in_memory=%d refused=%d first_s=%.2f rebuild_s=%.2f rebuild_bytes_s=%.0f verify_bytes_s=%.0f disk_bytes_s=%.0f of_disk=%.2f verify_of_disk=%.2f\n",
        b, rows, have, refused, f - t0, d - t0, b / (d - t0), verify, disk, disk ? b / (d - t0) / disk : 0, disk ? verify / disk : 0 }'
[ -n "$done" ]
