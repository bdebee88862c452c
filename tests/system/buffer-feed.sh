#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# buffer-feed.sh: a buffering event under a feed: its rows of the first moments go aside, every sequence is in
# the journal once, the ledger balances while it runs, after it, and when the rows came back.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"
config "buffer_enabled: true
buffer_limit: 1
database: $work/hdb
rdb_memory: 512M"
start
export PENSTOCK_SOCKET=$work/s.sock
send --rate 20000 --messages 20000 --symbols 300 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 & sim_pid=$!
others=$sim_pid
sleep 0.3
# what is sent within the next half second is older than that moment
p buffer start 1 cutoff="$(date -u -d '+0.5 seconds' +%Y-%m-%dT%H:%M:%S.%NZ)" >"$work/out" 2>&1 || die "start: $(cat "$work/out")"
for _ in 1 2 3 4; do sleep 0.05; p ledger >"$work/ledger" || die "the ledger does not balance while the event runs: $(cat "$work/ledger")"; done
wait $sim_pid || die "the simulator failed"
others=
settle || die "the ledger does not balance"
p ledger | grep -q "in buffers" || die "nothing was buffered: $(p ledger)"
p buffer end 1 >/dev/null || die "end"
for _ in $(seq 100); do ls "$work/log" | grep -q 'test.1.buffer.complete' && break; sleep 0.05; done
kept=$(p tail --buffer 1 -n 100000 --json | wc -l)
[ "$kept" -gt 1000 ] && [ "$kept" -lt 19000 ] || die "$kept rows were buffered"
passed=$("$bin/penstock" log dump "$work/log" --json | grep -c '"feed"')
p buffer replay 1 >"$work/out" 2>&1 || die "replay: $(cat "$work/out")"
settle || die "the ledger does not balance after the replay: $(p ledger)"
p ledger --verify >"$work/verify.txt" || die "ledger --verify: $(cat "$work/verify.txt")"
"$bin/penstock" log dump "$work/log" --json >"$work/all.json" || die "log dump"
python3 - "$work/all.json" "$work/sent.json" $kept $passed <<'PY' || die "the sequences"
import collections, json, sys
rows = [json.loads(l) for l in open(sys.argv[1])]
seqs = collections.Counter(r["seq"] for r in rows if r.get("feed") == "itch" and r["table"] != "gap")
sent = json.load(open(sys.argv[2]))["sessions"][0]
missing = [s for s in range(sent["first"], sent["last"] + 1) if s not in seqs]
twice = [s for s, n in seqs.items() if n > 1]
if missing or twice: sys.exit(f"missing {missing[:5]} ({len(missing)}), twice {twice[:5]} ({len(twice)})")
print(f"{len(seqs)} sequences, each once; {sys.argv[3]} of them went aside and came back")
PY
# the day in the database: all of them; made again from the log: the same
p eod run --yes >"$work/out" 2>&1 || die "eod: $(cat "$work/out")"
day=$(TZ=America/New_York date +%Y.%m.%d)
p hdb verify >"$work/out" 2>&1 || die "hdb verify: $(cat "$work/out")"
p hdb rebuild "$day" --dry-run >"$work/rebuild" 2>&1 || die "hdb rebuild: $(cat "$work/rebuild")"
p ledger >"$work/ledger" || die "the ledger does not balance after the end of day: $(cat "$work/ledger")"
n=$(python3 -c 'import json,sys; print(sum(json.loads(l).get("feed") == "itch" for l in open(sys.argv[1])))' "$work/all.json")
db=0
for t in $(ls "$work/hdb/$day" | grep itch); do db=$((db + $(p --json sql "select count(*) as n from $t where date = DATE '${day//./-}'" | python3 -c 'import json,sys; print(json.load(sys.stdin)["rows"][0]["n"])'))); done
[ "$db" = "$n" ] || die "$db rows are in the partition, $n in the journal"
stop || die "exit code"
