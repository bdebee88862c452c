#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tickerplant.sh: a plain tickerplant: no port, declared tables, CSV in, rows out.
. "$(dirname "$0")/lib.sh"
workdir
PORTS=" " FEEDS=" "
config "tables:
  - name: every
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: b, type: boolean}, {name: g, type: guid}, {name: x, type: byte}, {name: h, type: short}, {name: i, type: int}, {name: j, type: long}, {name: e, type: real}, {name: f, type: float}, {name: c, type: char}, {name: s, type: symbol}, {name: p, type: timestamp}, {name: m, type: month}, {name: d, type: date}, {name: n, type: timespan}, {name: u, type: minute}, {name: v, type: second}, {name: t, type: time}, {name: z, type: string}]
  - name: trade
    columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}, {name: size, type: long}]"
sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
start

refused() { # EXIT WORDS COMMAND...
    want=$1 words=$2; shift 2
    "$@" >"$work/out" 2>"$work/err"; code=$?
    [ $code = "$want" ] && grep -q -- "$words" "$work/err" || die "$*: exit $code, not $want: $(cat "$work/err")"
}

cat >"$work/every.csv" <<CSV
time,sym,b,g,x,h,i,j,e,f,c,s,p,m,d,n,u,v,t,z
2026.11.20D09:30:00.123456789,AAPL,1,00112233-4455-6677-8899-aabbccddeeff,0x1f,-32767,2147483647,-9223372036854775807,1.5,0.1,Q,XNAS,2000.01.01D00:00:00.000000001,2026.11,2026.11.20,1D02:03:04.000000005,09:30,09:30:01,09:30:01.002,"a, ""quoted"" text"
2026.11.20D09:30:01.000000000,,,,,,,,,,,,,,,,,,,
CSV
p publish every "$work/every.csv" >"$work/out" || die "publish: $(cat "$work/out")"
p tail every -n 2 --json >"$work/rows" || die "tail"
python3 - "$work/rows" <<'PY' || die "the row is not what was published: $(cat "$work/rows")"
import json, sys
full, null = [json.loads(l) for l in open(sys.argv[1])]
want = {"time": "2026.11.20D09:30:00.123456789", "sym": "AAPL", "b": True, "g": "00112233-4455-6677-8899-aabbccddeeff", "x": "0x1f",
        "h": -32767, "i": 2147483647, "j": -9223372036854775807, "e": 1.5, "f": 0.1, "c": "Q", "s": "XNAS",
        "p": "2000.01.01D00:00:00.000000001", "m": "2026.11", "d": "2026.11.20", "n": "1D02:03:04.000000005", "u": "09:30",
        "v": "09:30:01", "t": "09:30:01.002", "z": 'a, "quoted" text'}
for k, v in want.items():
    assert full[k] == v, (k, full[k], v)
for k in want:  # a boolean and a byte have no null, a string's is empty
    assert k == "time" or null[k] in (None, False, "0x00", "", " "), (k, null[k])
assert null["sym"] is None and null["j"] is None and null["f"] is None
PY

# from stdin, each level; the new row is there
for level in submitted written durable; do
    printf 'time,sym,price,size\n2026.11.20D10:00:00,%s,1.25,100\n' "$level" | p publish trade - --level $level >"$work/out" || die "level $level"
    grep -q "$level" "$work/out" || die "level $level: $(cat "$work/out")"
    [ "$(p tail trade -n 1 --sym $level --json | grep -c "\"sym\":\"$level\"")" = 1 ] || die "tail --sym $level"
done

# bad rows: the batch is refused whole, with its line
printf 'time,sym,price,size\n2026.11.20D10:00:00,GOOD,1,1\n2026.11.20D10:00:00,BAD,abc,1\n' >"$work/bad.csv"
refused 2 "line 3" p publish trade "$work/bad.csv"
p tail trade -n 100 --json | grep -q '"GOOD"' && die "a refused batch left a row"
printf 'time,sym,nosuch\n2026.11.20D10:00:00,A,1\n' >"$work/column.csv"
refused 2 "nosuch" p publish trade "$work/column.csv"
refused 2 "not declared" p publish nosuch "$work/bad.csv"
refused 2 "level" p publish trade "$work/every.csv" --level soon
refused 2 "No such file" p publish trade "$work/absent.csv"
: >"$work/empty.csv"
refused 2 "empty" p publish trade "$work/empty.csv"
refused 2 "no table" p tail nosuch

# two at once, while a third reads on: nothing lost, each one's order kept
"$bin/penstock" --socket "$work/s.sock" tail trade -n 1 -f --json >"$work/follow" & others=$!
for _ in $(seq 100); do [ -s "$work/follow" ] && break; sleep 0.05; done
for who in ANNE BERT; do
    python3 -c "
print('time,sym,price,size')
for i in range(20000): print('2026.11.20D11:00:00.%09d,$who,%d.5,%d' % (i, i, i))" >"$work/$who.csv"
    p publish trade "$work/$who.csv" --level submitted >"$work/$who.out" 2>&1 & eval "$who=\$!"
done
wait "$ANNE" || die "ANNE: $(cat "$work/ANNE.out")"
wait "$BERT" || die "BERT: $(cat "$work/BERT.out")"
settle || die "the ledger does not balance"
for _ in $(seq 100); do
    [ "$(grep -c '"\(ANNE\|BERT\)"' "$work/follow")" = 40000 ] && break
    sleep 0.1
done
kill "$others"; wait "$others" 2>/dev/null; others=
for who in ANNE BERT; do
    python3 - "$work/follow" $who <<'PY' || die "tail -f did not show all of $who in order"
import json, sys
rows = [json.loads(l) for l in open(sys.argv[1])]
assert [r["size"] for r in rows if r["sym"] == sys.argv[2]] == list(range(20000))
PY
done

p schema trade | grep -q price || die "schema"
p schema trade --json | python3 -c 'import json,sys; r=json.load(sys.stdin); assert [c["c"] for c in r["columns"]] == ["time","sym","price","size"], r' || die "schema --json"
p tables | grep -q every || die "tables"
stop || die "the daemon's exit code"
"$bin/penstock" log verify "$work/log" || die "log verify"
[ "$("$bin/penstock" log dump "$work/log" trade --json | grep -c '"\(ANNE\|BERT\)"')" = 40000 ] || die "the log does not hold what was published"
exit 0
