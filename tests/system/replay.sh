#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# replay.sh: captures made by the simulator through `penstockd --replay`: equal twice, refused in one
# line where they are not what they should be, the trading date, a capture that crosses the day's end.
. "$(dirname "$0")/lib.sh"
workdir
pd=$bin/penstockd

hashes() { python3 -c 'import json,sys; r=json.load(sys.stdin); assert r["ledger"]["balanced"]; print(sorted((t["table"],t["day"],t["rows"],t["hash"]) for t in r["tables"]))'; }
refused() { # WORDS COMMAND...: exit 2 and one line on stderr that holds WORDS
    words=$1; shift
    "$@" >"$work/out" 2>"$work/err"; code=$?
    [ $code = 2 ] || die "$* exits $code, not 2: $(cat "$work/err")"
    [ "$(wc -l <"$work/err")" = 1 ] && grep -q -- "$words" "$work/err" || die "$*: $(cat "$work/err")"
}

"$sim" --pcap "$work/a.pcap" --messages 60000 --rate 60000 --lines loss=2%,burst=4 --report "$work/sent.json" \
    --truth "$work/truth" --quiet || die "simulator"

# --feed maps every group to one line: both lines' packets arrive as one that repeats itself
"$pd" --replay "$work/a.pcap" --feed itch --json >"$work/1.json" || die "replay"
"$pd" --replay "$work/a.pcap" --feed itch --json >"$work/2.json" || die "replay again"
one=$(hashes <"$work/1.json"); two=$(hashes <"$work/2.json")
[ -n "$one" ] && [ "$one" = "$two" ] || die "two replays differ: $one $two"
echo "$one" | grep -q "'2026.11.20'" || die "not the capture's date: $one"

# the same packets in gz; another date; another seed differs
gzip -k "$work/a.pcap"
[ "$("$pd" --replay "$work/a.pcap.gz" --feed itch --json | hashes)" = "$one" ] || die "gz differs"
"$pd" --replay "$work/a.pcap" --feed itch --date 2020-02-03 --json | hashes | grep -q "'2020.02.03'" || die "--date"
"$sim" --pcap "$work/b.pcap" --messages 60000 --rate 60000 --seed 2 --quiet || die "simulator"
[ "$("$pd" --replay "$work/b.pcap" --feed itch --json | hashes)" != "$one" ] || die "other packets, equal hashes"

# with a configuration, two lines: rows and gaps equal the simulator's truth
PORTS="ports:
  - {name: c, device: none, groups: [{group: \"239.192.1.1:26400\", feed: itch, line: A}, {group: \"239.192.1.2:26400\", feed: itch, line: B}]}"
config
"$pd" --replay "$work/a.pcap" --config "$work/p.yaml" --dir "$work" --json >"$work/3.json" || die "replay with --config"
"$bin/penstock" log dump "$work/log" --json >"$work/rows.json" || die "log dump"
"$verify" --report "$work/sent.json" --truth "$work/truth" --date 2026-11-20 <"$work/rows.json" || die "replay is not what was sent"
"$bin/penstock" log verify "$work/log" || die "log verify"

# text output: rows, tables, the ledger
"$pd" --replay "$work/a.pcap" --feed itch --rows 3 >"$work/text" || die "text"
grep -q "ledger balances" "$work/text" && grep -q itch_order "$work/text" || die "text: $(cat "$work/text")"

# pcapng, and a clock before 2000
python3 - "$work/a.pcap" "$work" <<'PY'
import struct, sys
b = open(sys.argv[1], "rb").read(); d = sys.argv[2]
pad = lambda x: x + b"\0" * (-len(x) % 4)
block = lambda t, x: struct.pack("<II", t, len(x) + 12) + x + struct.pack("<I", len(x) + 12)
out = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), block(1, struct.pack("<HHI", 1, 0, 65535) + struct.pack("<HHBxxxHH", 9, 1, 9, 0, 0))]
old = bytearray(b)
at = 24
while at < len(b):
    s, ns, n, whole = struct.unpack_from("<IIII", b, at)
    t = s * 10**9 + ns
    out.append(block(6, struct.pack("<IIIII", 0, t >> 32, t & 0xFFFFFFFF, n, whole) + pad(b[at + 16:at + 16 + n])))
    struct.pack_into("<I", old, at, s - 1763000000)
    at += 16 + n
open(d + "/a.pcapng", "wb").write(b"".join(out))
open(d + "/old.pcap", "wb").write(old)
open(d + "/cut.pcap", "wb").write(b[:len(b) // 2 + 7])
open(d + "/empty.pcap", "wb").write(b"")
open(d + "/head.pcap", "wb").write(b[:24])
open(d + "/garbage.pcap", "wb").write(bytes(range(256)) * 40)
PY
[ "$("$pd" --replay "$work/a.pcapng" --feed itch --json | hashes)" = "$one" ] || die "pcapng differs"
printf 'instance: r\nfeeds: [{name: itch, framing: moldudp64, decoder: itch50}]\n' >"$work/portless.yaml"
refused "has no port" "$pd" --replay "$work/a.pcap" --config "$work/portless.yaml"
refused "before 2000: give the trading date with --date" "$pd" --replay "$work/old.pcap" --feed itch
"$pd" --replay "$work/old.pcap" --feed itch --date 2026-11-20 --json | hashes | grep -q "'2026.11.20'" || die "--date on an old clock"

# what is no capture, or not a whole one
refused "empty.pcap" "$pd" --replay "$work/empty.pcap" --feed itch
refused "holds no packet" "$pd" --replay "$work/head.pcap" --feed itch
refused "garbage.pcap" "$pd" --replay "$work/garbage.pcap" --feed itch
refused "none.pcap" "$pd" --replay "$work/none.pcap" --feed itch
refused "is no date" "$pd" --replay "$work/a.pcap" --feed itch --date yesterday
refused "framing" "$pd" --replay "$work/a.pcap" --feed nosuch
refused "needs --config" "$pd" --replay "$work/a.pcap"
"$pd" --replay "$work/cut.pcap" --feed itch --json >"$work/cut.json" 2>"$work/err"; code=$?
[ $code = 1 ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -q "cut.pcap" "$work/err" || die "a capture that is cut short: exit $code, $(cat "$work/err")"
hashes <"$work/cut.json" | grep -q itch_order || die "what came before the cut is not there"

# across the end of the day: 16:59:58 to 17:00:02 with eod_time 17:00
"$sim" --pcap "$work/eod.pcap" --messages 40000 --rate 10000 --start 16:59:58 --no-directory --heartbeat-ms 100 --quiet || die "simulator"
rm -rf "$work/log" "$work/state"
config
sed -i 's/^calendar: .*/calendar: {zone: America\/New_York, eod_time: "17:00"}/' "$work/p.yaml"
"$pd" --replay "$work/eod.pcap" --config "$work/p.yaml" --dir "$work" --json >"$work/eod.json" || die "replay across the end of day"
hashes <"$work/eod.json" >/dev/null || die "the ledger does not balance over the end of day"
"$bin/penstock" log dump "$work/log" --marks >"$work/marks" || die "marks"
[ "$(grep -c '^# mark eod ' "$work/marks")" = 1 ] || die "eod marks: $(grep eod "$work/marks")"
grep '^# mark eod ' "$work/marks" | grep -q '2026.11.20' || die "$(grep eod "$work/marks")"
"$bin/penstock" log ls "$work/log" --json >"$work/ls.json" || die "log ls"
ls "$work/log"
[ -f "$work/log/log2026.11.20" ] && [ -f "$work/log/log2026.11.21" -o -f "$work/log/log2026.11.23" ] || die "no file of the new day: $(ls "$work/log")"
"$bin/penstock" log verify "$work/log" || die "log verify after the end of day"
python3 - "$work/eod.json" <<'PY' || die "rows over the end of day"
import json, sys
r = json.load(open(sys.argv[1]))
print([(t["table"], t["day"], t["rows"]) for t in r["tables"]])
# rows after the end of their session's day go to the open one; nothing is lost
assert {t["day"] for t in r["tables"]} == {"2026.11.20", "2026.11.21"}
assert sum(t["rows"] for t in r["tables"] if t["table"].startswith("itch")) == 40000
assert r["ledger"]["balanced"] and r["ledger"]["diff_rows"] == 0
PY
exit 0
