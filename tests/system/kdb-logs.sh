#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kdb-logs.sh: captured and published rows as kdb+ logs, read by a second reader and imported again: into
# log files whose content hashes are equal, and into a running instance whose answers are. Real kdb+ logs,
# cut and damaged ones.
. "$(dirname "$0")/lib.sh"
workdir
here=$(dirname "$0")
l() { "$bin/penstock" log "$@"; }
reader() { python3 "$here/kdblogs.py" "$@" >"$work/reader" 2>&1 || die "the second reader: $(tail -2 "$work/reader")"; cat "$work/reader"; }

# ---- a capture ----
PORTS="ports:
  - {name: c, device: none, groups: [{group: \"239.192.1.1:26400\", feed: itch, line: A}, {group: \"239.192.1.2:26400\", feed: itch, line: B}]}"
config
"$sim" --pcap "$work/a.pcap" --messages 30000 --rate 60000 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 --lines loss=5%,burst=8 --quiet || die "simulator"
"$bin/penstockd" --replay "$work/a.pcap" --config "$work/p.yaml" --dir "$work" --json >"$work/replay.json" || die "replay"
l dump "$work/log" --json >"$work/dump.json"
l export "$work/log" --format kdb -o "$work/tick" >"$work/out" || die "export: $(cat "$work/out")"
[ -f "$work/tick2026.11.20" ] || die "no file named as tick.q does: $(ls "$work")"
reader "$work/dump.json" "$work/tick2026.11.20"
# once more, resumed: from whole, from cut at any place, never over something else
cp "$work/tick2026.11.20" "$work/whole"
size=$(stat -c %s "$work/whole")
for cut in 8 9 $((size / 3)) $((size - 1)) "$size"; do
    head -c "$cut" "$work/whole" >"$work/tick2026.11.20"
    l export "$work/log" -o "$work/tick" --resume >"$work/out" 2>&1 || die "resume at $cut: $(cat "$work/out")"
    cmp "$work/whole" "$work/tick2026.11.20" || die "resumed at $cut: other bytes"
done
l export "$work/log" -o "$work/tick" --resume --no-feed-columns >"$work/out" 2>&1 && die "resumed over other messages"
cmp "$work/whole" "$work/tick2026.11.20" || die "a refused resume changed the file"
grep -q resumed "$work/out" && die "a refused resume tells success too: $(cat "$work/out")"
cat "$work/whole" <(tail -c +9 "$work/whole") >"$work/tick2026.11.20" # more messages than are made
l export "$work/log" -o "$work/tick" --resume >"$work/out" 2>&1 && die "resumed over more messages"
grep -q "nothing was added" "$work/out" && ! grep -q resumed "$work/out" || die "$(cat "$work/out")"
cp "$work/whole" "$work/tick2026.11.20"
l export "$work/log" -o "$work/tick" >"$work/out" 2>&1 && die "an existing file was written"

# back: columns named by the log it came from, and by the updates themselves
hashes() { # DIR: content hash of each table of the capture's date
    mkdir -p "$work/hdb.$1"
    "$bin/penstock" hdb rebuild 2026.11.20 --database "$work/hdb.$1" --from "$work/$1" --yes | awk '$1 != "table" && NF >= 4 {print $1, $(NF-1), $NF}' | sort
}
hashes log >"$work/h1"
grep -q "^itch_order [1-9]" "$work/h1" && grep -q "^gap [1-9]" "$work/h1" || die "no hashes: $(cat "$work/h1")"
l import "$work/tick2026.11.20" --out "$work/again" --schema-from "$work/log" --capture-clock >"$work/out" || die "import: $(cat "$work/out")"
l verify "$work/again" >"$work/out" || die "verify: $(cat "$work/out")"
hashes again | diff - "$work/h1" || die "the import has other rows"
l export "$work/log" --columns tables -o "$work/named" >/dev/null || die "export of tables"
reader "$work/dump.json" "$work/named2026.11.20" --names
gzip "$work/named2026.11.20"
l import "$work/named2026.11.20.gz" --out "$work/third" --capture-clock >"$work/out" || die "import of tables: $(cat "$work/out")"
hashes third | grep -v ' 0 ' | diff - <(grep -v ' 0 ' "$work/h1") || die "the import of tables has other rows"
# re-imported, exported again: the same bytes
l export "$work/again" -o "$work/second" >/dev/null && python3 - "$work/whole" "$work/second2026.11.20" "$here" <<'PY' || die "export of the import differs"
import sys
sys.path.insert(0, sys.argv[3] + "/../support")
import kdbobj
def rows(path):
    got = {}
    for _, m in kdbobj.messages(open(path, "rb").read()):
        if m:
            got.setdefault(m[1][1][1], []).extend(map(tuple, kdbobj.rows(*m[1][2])))
    return got
a, b = rows(sys.argv[1]), rows(sys.argv[2])
assert a == b and sum(map(len, a.values())) > 15000
PY
# less of it
l export "$work/log" --format jsonl --tables gap -o "$work/gaps" >/dev/null || die "jsonl"
[ "$(wc -l <"$work/gaps2026.11.20.jsonl")" = "$(grep -c '"table":"gap"' "$work/dump.json")" ] || die "jsonl: other gaps"
"$bin/penstock" --zone America/New_York log export "$work/log" --format csv --tables itch_order --no-feed-columns -o "$work/part" \
    --date 2026.11.20 --from 09:30:00.51 --until 2026.11.20D14:30:00.525Z >"$work/out" || die "csv: $(cat "$work/out")"
python3 - "$work/dump.json" "$work/part2026.11.20.itch_order.csv" <<'PY' || die "--from, --until: other rows: $(head -2 "$work/part2026.11.20.itch_order.csv")"
import json, sys
want = [r["time"] for r in map(json.loads, open(sys.argv[1])) if r.get("table") == "itch_order"
        and "2026.11.20D14:30:00.51" <= r["time"] < "2026.11.20D14:30:00.525"]
got = open(sys.argv[2]).read().splitlines()
assert 100 < len(want) == len(got) - 1, (len(want), len(got))
assert got[0].startswith("time,sym,") and got[1].startswith("2026.11.20D"), got[:2]
PY

# ---- published rows of every type, through a running instance ----
rm -rf "$work/state" "$work/log"
instance() { # NAME KEYS: its own directories, tables of every type
    cat >"$work/$1.yaml" <<YAML
instance: $1
state_directory: $work/$1.state
log_directory: $work/$1.log
run_directory: $work
control_socket: $work/$1.sock
log_low_space: 1M
log_preallocate: 1M
log_ballast: 0
ring_size: 64M
symbols_max: 10k
rdb_memory: 256M
$2
tables:
  every: {columns: {time: timestamp, sym: symbol, b: boolean, g: guid, x: byte, h: short, i: int, j: long, e: real, f: float, c: char, s: symbol, p: timestamp, m: month, d: date, n: timespan, u: minute, v: second, t: time, z: string}}
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: int, stop: boolean, cond: char, ex: char, side: symbol}}
  quote: {columns: {time: timestamp, sym: symbol, bid: float, ask: float, bsize: int, asize: int, mode: char, ex: char, src: symbol}}
YAML
    "$bin/penstockd" --config "$work/$1.yaml" >>"$work/daemon.log" 2>&1 &
    others="$others $!"
    for _ in $(seq 300); do "$bin/penstock" --socket "$work/$1.sock" commands >/dev/null 2>&1 && return; sleep 0.05; done
    die "$1 does not answer"
}
at() { name=$1; shift; "$bin/penstock" --socket "$work/$name.sock" "$@"; }
answers() { # INSTANCE ROWS: its rows, once the RDB has them all
    for _ in $(seq 400); do
        have=0
        for t in every trade quote; do have=$((have + $(at "$1" sql --format csv -q "select count(*) from $t" | tail -1))); done
        [ $have = "$2" ] && break
        sleep 0.05
    done
    for t in every trade quote; do at "$1" sql --format csv -q "select * from $t" | sort; done
}
instance one "include_columns: true"
python3 - >"$work/every.csv" <<'PY'
import random
random.seed(4)
print("time,sym,b,g,x,h,i,j,e,f,c,s,p,m,d,n,u,v,t,z")
for n in range(400):
    maybe = lambda v: "" if random.random() < 0.2 else str(v)
    r = random.randrange
    print(",".join([
        "2026.11.20D%02d:%02d:00.%09d" % (r(24), r(60), r(10**9)), maybe("S%d" % r(20)), maybe(r(2)),
        maybe("%08x-0000-4000-8000-%012x" % (r(2**32), r(2**48))), maybe("0x%02x" % r(256)), maybe(r(-32766, 32767)),
        maybe(r(-2**31 + 2, 2**31 - 1)), maybe(r(-2**63 + 2, 2**63 - 1)), maybe(random.choice([0.5, -1.25, "inf", 3e10])),
        maybe(random.choice([0.1, 1e300, "-inf", random.random()])), maybe(random.choice("abcXYZ#")), maybe("XNAS"),
        maybe("20%02d.0%d.1%dD01:02:03.%09d" % (r(90), r(1, 9), r(9), r(10**9))), maybe("2026.0%d" % r(1, 9)),
        maybe("2026.11.1%d" % r(10)), maybe("%dD01:02:03.%09d" % (r(3), r(10**9))), maybe("%02d:%02d" % (r(24), r(60))),
        maybe("%02d:%02d:01" % (r(24), r(60))), maybe("01:%02d:01.%03d" % (r(60), r(1000))),
        maybe('"a, ""b"" \u00fc\u4f60 %d"' % r(1000))]))
PY
at one publish every "$work/every.csv" >/dev/null || die "publish"
at one log export -o "$work/pub" >"$work/out" || die "export of a running instance: $(cat "$work/out")"
today=$(ls "$work" | sed -n 's/^pub\(20..\...\...\)$/\1/p')
l dump "$work/one.log" --json >"$work/dump.json"
reader "$work/dump.json" "$work/pub$today" --names # include_columns
at one log export -o "$work/lists" --columns lists >/dev/null || die "export of lists"
reader "$work/dump.json" "$work/lists$today"
instance two ""
at two log export -o "$work/two" --config "$work/one.yaml" >"$work/out" 2>&1 || die "export of an empty log: $(cat "$work/out")"
l import "$work/lists$today" --to "$work/two.sock" --json >"$work/import.json" || die "import into an instance: $(cat "$work/import.json")"
answers one 400 >"$work/a1"
answers two 400 >"$work/a2"
[ "$(wc -l <"$work/a1")" = 403 ] && cmp "$work/a1" "$work/a2" || die "the instances answer differently: $(diff "$work/a1" "$work/a2" | head -3)"
# again: nothing twice
"$bin/penstock" --socket "$work/any.sock" log import "$work/lists$today" --to two >"$work/out" || die "import by name: $(cat "$work/out")"
l import "$work/lists$today" --to "$work/two.sock" >"$work/out" || die "import again: $(cat "$work/out")"
grep -q "4 messages and 0 rows were there already" "$work/out" || die "import again: $(cat "$work/out")"
answers two 400 | cmp - "$work/a2" || die "an import again changed the answers"
l import "$work/lists$today" --to "$work/none.sock" >"$work/out" 2>&1 && die "imported into nowhere"

# ---- what cannot be taken is named and counted, the rest is taken; nothing is run ----
python3 - "$work/odd2026.11.20" <<'PY'
import struct, sys
sym = lambda s: s.encode() + b"\0"
atom = lambda k, b: struct.pack("b", -k) + b
vec = lambda k, n, b: bytes([k, 0]) + struct.pack("<i", n) + b
lst = lambda items: b"\0\0" + struct.pack("<i", len(items)) + b"".join(items)
upd = lambda t, d, f="upd": lst([atom(11, sym(f)), atom(11, sym(t)), d])
q = lambda *v: struct.pack("<%dq" % len(v), *v)
good = lambda *n: lst([vec(16, len(n), q(*n)), vec(11, len(n), sym("A") * len(n)), vec(7, len(n), q(*n))])
out = b"\xff\1\0\0\0\0\0\0" + upd("trade", good(1, 2, 3))
out += upd("trade", lst([vec(16, 2, q(5, 6)), vec(11, 2, sym("A") * 2), lst([vec(7, 2, q(1, 2)), atom(7, q(9))])]))
out += upd("trade", lst([vec(16, 2, q(5, 6)), vec(11, 1, sym("A")), vec(7, 2, q(5, 6))]))
out += lst([atom(11, sym(".u.end")), atom(14, struct.pack("<i", 9000))]) + vec(10, 6, b"exit 0")
out += upd("nosym", lst([vec(16, 1, q(5)), vec(7, 1, q(5))])) + upd("trade", good(7, 8), ".u.upd")
open(sys.argv[1], "wb").write(out)
PY
l import "$work/odd2026.11.20" --out "$work/odd" >"$work/out" && die "odd updates: all is said to be well"
for words in "trade: 6 rows; LEFT OUT 2, first in message 1 .*column c3 (long) is a list of its own" "nosym: 0 rows; LEFT OUT 1" \
    "1 messages call .u.end: not run" "6 rows in 1 files of 1 dates"; do
    grep -q "$words" "$work/out" || die "odd updates: not said: $words; $(cat "$work/out")"
done
l dump "$work/odd" trade --csv | grep -q '^2026.11.20D00:00:00.000000006,A,9$' || die "odd updates: the sound row beside a list"

# ---- real kdb+ logs: the counts in their bytes ----
data=${PST_DATA:-$SOURCE/../shared/data}
if [ -d "$data" ]; then
    for f in "$data"/kdb/tplogs/*; do
        l import --count --json "$f" >"$work/ours.json" || die "$f: $(cat "$work/ours.json")"
        python3 "$here/../support/kdbobj.py" "$f" >"$work/theirs.json"
        python3 - "$work/ours.json" "$work/theirs.json" <<'PY' || die "$f: other counts"
import json, sys
a, b = (json.load(open(p)) for p in sys.argv[1:])
f = a["files"][0]
assert f["sound"] and f["good_messages"] == b["messages"] and f["good_bytes"] == b["good"] == b["size"], (f, b)
assert {t["table"]: t["rows"] for t in a["tables"]} == b["rows"], (a["tables"], b["rows"])
PY
    done
    stp=$data/kdb/tplogs/stp1_trade20220616122504
    l import "$data"/kdb/tplogs/* --to "$work/two.sock" >"$work/out" || die "real logs into an instance: $(cat "$work/out")"
    answers two 2829 >"$work/a3" # 400, and 2,429 real ones
    [ "$(grep -c GOOG "$work/a3")" = "$(for f in "$data"/kdb/tplogs/*; do python3 "$here/../support/kdbobj.py" "$f" rows; done | grep -c '"GOOG"')" ] ||
        die "real logs: other rows"
    for cut in 99434 50000 1000 9; do # cut anywhere: (messages; bytes) as the second reader counts them
        head -c $cut "$stp" >"$work/cut"
        l import --count --json "$work/cut" >"$work/ours.json" && die "cut at $cut: taken as sound"
        python3 "$here/../support/kdbobj.py" "$work/cut" >"$work/theirs.json"
        python3 -c 'import json,sys; a,b=(json.load(open(p)) for p in sys.argv[1:]); f=a["files"][0]
assert not f["sound"] and (f["good_messages"],f["good_bytes"])==(b["messages"],b["good"]),(f,b)' "$work/ours.json" "$work/theirs.json" || die "cut at $cut"
    done
    python3 "$here/../support/kdbobj.py" "$data/kdb/tplogs/trade20201006204520" rows >"$work/trade.rows"
    # into files, and those into the instance
    l import "$stp" --schema trade=time,sym,price,size,stop,cond,ex,side --out "$work/old" >"$work/out" || die "import: $(cat "$work/out")"
    "$bin/penstock" replay "$work/old" --to "$work/two.sock" >"$work/out" 2>&1 || die "replay of an import: $(cat "$work/out")"
    answers two 5238 >"$work/a4"
    [ "$(at two sql --format csv -q "select sum(size), max(price) from trade where ex = 'N'" | tail -1)" = "$(python3 "$here/../support/kdbobj.py" "$stp" rows | python3 -c '
import json, sys
rows = [json.loads(l)["row"] for l in sys.stdin] * 2
t = [json.loads(l)["row"] for l in open("'"$work"'/trade.rows")]
n = [r for r in rows + t if r[6] == "N"]
print("%d,%s" % (sum(r[3] for r in n), max(float(r[2]) for r in n)))')" ] || die "replayed rows have other values"
    # damaged in the middle: all but the damaged message
    python3 - "$stp" "$work/damaged" <<'PY'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
at = b.index(b"\0\0\3\0\0\0\xf5upd\0", 40000)
b[at:at + 3] = b"\3\3\3"
open(sys.argv[2], "wb").write(b)
PY
    l import --count "$work/damaged" >"$work/out" && die "damage was not seen"
    l import --repair-to "$work/good" --salvage "$work/damaged" >"$work/out" 2>&1
    python3 "$here/../support/kdbobj.py" "$work/good" | grep -q '"messages": 305,' || die "repair: $(cat "$work/out")"
else
    echo "real kdb+ logs were left out: $data is absent"
fi
for i in one two; do at $i stop >/dev/null; done
wait
others=
echo "kdb+ logs: out, in, equal"
