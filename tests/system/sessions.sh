#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sessions.sh: weeks of sessions, more than the status segment has slots for. The newest must be accounted
# for from the wire on, like the first.
. "$(dirname "$0")/lib.sh"
workdir
python3 - "$work/weeks.pcap" <<'PY'
import struct, sys
n = 1100
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    for k in range(n):
        for part in range(2):
            msg = b"S" + struct.pack(">HH", 0, 0) + (34200 * 10**9 + k).to_bytes(6, "big") + b"O"
            mold = b"%010d" % k + struct.pack(">QHH", 1 + part, 1, len(msg)) + msg
            udp = struct.pack(">HHHH", 1, 26400, 8 + len(mold), 0) + mold
            ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0,
                                       bytes([10, 0, 0, 1]), bytes([239, 192, 1, 1])))
            s = sum(struct.unpack(">10H", ip))
            s = (s & 0xffff) + (s >> 16)
            ip[10:12] = struct.pack(">H", ~(s + (s >> 16)) & 0xffff)
            p = bytes.fromhex("01005e400101020000000001" "0800") + bytes(ip) + udp
            f.write(struct.pack("<IIII", 1795400000 + 70 * k + part, 0, len(p), len(p)) + p)
PY
"$bin/penstockd" --replay "$work/weeks.pcap" --feed itch --rows 0 >"$work/out" 2>&1 ||
    die "the replay ended with $?: $(tail -5 "$work/out")"
grep -q '^ledger balances' "$work/out" || die "the ledger does not balance"
[ "$(grep -c 'wire 2 - journaled 2 ' "$work/out")" -lt 1100 ] || die "every session had a slot: nothing was tested"
grep -q '^itch 0000001099 .*wire 2 - journaled 2 ' "$work/out" ||
    die "the newest session is not accounted for: $(grep 1099 "$work/out")"
echo "1100 sessions: the newest is accounted for from the wire on"
