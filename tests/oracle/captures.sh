#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real captures, replayed into a database by `penstockd --replay`, asked by Penstock and by DuckDB:
# captures.sh BUILD ORACLE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 oracle=$2
data=${PST_DATA:-$here/../../../shared/data}
if [ ! -d "$data" ]; then
    echo "SKIPPED: oracle-captures: no real captures: $data is absent (PST_DATA names another folder)" >&2
    exit 77
fi
lib=$("$here/install.sh" "$build/duckdb") || {
    echo "SKIPPED: oracle-captures: DuckDB could not be installed, NO query was compared" >&2
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# ITCH messages without packets: 20 to a MoldUDP64 packet
python3 - "$data/itch50/itch_runk_locate13_10k.bin" "$work/itch.pcap" <<'PY'
import struct, sys
b = open(sys.argv[1], "rb").read()
out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
at, seq, n, block = 0, 1, 0, b""
while at < len(b):
    size = 2 + struct.unpack_from(">H", b, at)[0]
    block += b[at:at + size]
    at += size
    n += 1
    if n == 20 or at >= len(b):
        mold = b"slice     " + struct.pack(">QH", seq, n) + block
        udp = struct.pack(">HHHH", 1000, 26400, 8 + len(mold), 0) + mold
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0, b"\xc0\0\2\1", b"\xef\xc0\1\1")
        eth = b"\1\0\x5e\x40\1\1\2\0\0\0\0\1\x08\0" + ip + udp
        out.append(struct.pack("<IIII", 1580371200 + seq // 1000, seq, len(eth), len(eth)) + eth)
        seq, n, block = seq + n, 0, b""
open(sys.argv[2], "wb").write(b"".join(out))
PY
for feed in iex itch; do
    capture=$data/iex/iex_TOPS16.pcapng.gz
    [ $feed = itch ] && capture=$work/itch.pcap
    mkdir "$work/$feed"
    "$build/control/penstockd" --replay "$capture" --feed $feed --database "$work/$feed" --eod --rows 0 >"$work/out" 2>&1 ||
        { cat "$work/out"; echo "captures.sh: the replay of $capture failed"; exit 1; }
    "$oracle" "$lib" "$here/$feed.txt" --database "$work/$feed"
done
