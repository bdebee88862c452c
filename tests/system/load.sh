#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# load.sh CASE: mass ingestion as a user sees it: files in a staging directory become rows of the database, whole
# batches at once, with the bytes and hashes of an end of day. What files hold is made by loadfiles.py, which also
# says what must come out; partitions are read back by SQL and compared by content hash.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
name=$1
workdir
RING=64M PREALLOCATE=1M PORTS=" " FEEDS=" "
HDB=$work/hdb IN=$work/in
TRADE="{columns: {time: timestamp, sym: symbol, price: float, size: long, ex: symbol, note: string}}"

configure() { # LOAD KEYS (two blanks), [TABLES (two blanks)], [KEYS AT THE TOP]
    config "database: ${DATABASE:-$HDB}
rdb_memory: 256M
eod_retry: 500ms
database_low_space: 1M
tables:
  trade: $TRADE
${2:-}
load:
  staging: [$IN]
  stable_after: 200ms
  scan_interval: 500ms
  retry_backoff: 200ms
$1
${3:-}"
    sed -i '/^ *$/d' "$work/p.yaml"
    [ "$FEEDS" != " " ] || sed -i '/^feeds: *$/d' "$work/p.yaml"
    mkdir -p "$IN"
}
files() { python3 "$here/loadfiles.py" "$@" || die "loadfiles.py $*"; }
drop() { for f in "$@"; do cp -r "$f" "$IN/.arriving" && mv "$IN/.arriving" "$IN/$(basename "$f")" || die "drop $f"; done; } # complete when it is seen
state() { p load batches --all --json | python3 -c "
import json, sys
r = json.load(sys.stdin); c = [x[0] for x in r['columns']]
for row in r['rows']:
    o = dict(zip(c, row))
    if sys.argv[1] in (o['batch'], str(o['batchID'])): print(o['status']); break
else: print('none')" "$1"; }
until_state() { # BATCH STATE [SECONDS]
    end=$((SECONDS + ${3:-20})) s=
    while [ $SECONDS -le $end ]; do s=$(state "$1"); [ "$s" = "$2" ] && return; sleep 0.05; done
    p load; p load batches --all; p load files --all; p load tasks --all | tail -20
    die "batch $1 is $s, not $2"
}
loaded() { # N [SECONDS]: so many batches are in the database
    end=$((SECONDS + ${2:-20})) n=
    while [ $SECONDS -le $end ]; do n=$(counter load.loaded); [ "$n" = "$1" ] && return; sleep 0.05; done
    p load; p load batches --all; p load files --all; p load tasks --all | tail -20
    die "$n batches are loaded, not $1"
}
counter() { figure counters "[c['value'] for c in r['counters'] if c['name'] == '$1'][0]"; }
raised() { p alarms --json | python3 -c 'import json,sys; print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))'; }
until_raised() { for _ in $(seq 150); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.05; done; die "$1 was not raised: $(raised)"; }
until_cleared() { for _ in $(seq 200); do case " $(raised) " in *" $1 "*) sleep 0.05 ;; *) return ;; esac; done; die "$1 was not cleared"; }
sql() { p sql "$1" --format csv -q 2>"$work/err" | tail -n +2; }
is() { [ "$2" = "$3" ] || die "$1 is $2, not $3"; } # WHAT GOT WANTED
until_is() { # WHAT WANTED COMMAND...
    what=$1 wanted=$2 got=; shift 2
    end=$((SECONDS + 40))
    while [ $SECONDS -le $end ]; do got=$("$@" 2>&1); [ "$got" = "$wanted" ] && return; sleep 0.05; done
    die "$what is $got, not $wanted"
}
hashes() { # ROOT [TABLE]: date, rows and content hash of each of its partitions, as the markers say
    for t in "$1"/[12]*/"${2:-trade}"; do
        echo "$(basename "$(dirname "$t")") $(head -1 "$t/.pstmeta" | python3 -c 'import json,sys; r=json.load(sys.stdin); print(r["rows"], r["hash"])')"
    done
}
verified() { "$bin/penstock" hdb verify --hash --database "${1:-$HDB}" >"$work/verify" || die "hdb verify: $(cat "$work/verify")"; }
file_of() { p load files --all --json | python3 -c "
import json, sys
r = json.load(sys.stdin); c = [x[0] for x in r['columns']]
for row in r['rows']:
    o = dict(zip(c, row))
    if o['file'] == sys.argv[1]: print(o[sys.argv[2]] if o[sys.argv[2]] is not None else ''); break
else: print('none')" "$1" "$2"; }
until_file() { until_is "$1" "$2" file_of "$1" status; } # NAME STATUS

complete() { figure load 'r["files"].get("complete", 0), sum(1 for _ in [0] if r["batches"].get("complete", 0) > 1)'; }
CSV='    csv: {match: "*.csv*", table: trade}'

case $name in
batches) # the white paper: 1of3 .. 3of3 of unequal size, three workers, existing data, several dates
    configure "  workers: 3
  batches:
    paper: {match: \"trades_{batch}_{i}of{M}.csv\"}
  files:
$CSV"
    # the same rows, published and ended as a day: date D is the open one
    start
    d=$(figure eod 'r["calendars"][0]["open"]')
    files paper "$work/files" "$d" 1800 900 900
    published() { p publish trade "$1" --level durable >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"; }
    drop "$work"/files/existing.csv
    loaded 1
    before=$(sql 'select count(*) from trade')
    is "rows that were there" "$before" "$(cat "$work/files/existing.rows")"
    # readers throughout see old or new, never a part
    python3 "$here/loadfiles.py" watch "$bin/penstock" "$work" "$before" "$(cat "$work/files/all.rows")" 2>"$work/watcher" & watcher=$!
    others=$watcher
    for _ in $(seq 100); do [ -s "$work/asked" ] && break; sleep 0.05; done
    drop "$work"/files/trades_a_2of3.csv "$work"/files/trades_a_1of3.csv
    sleep 0.4
    is "a batch without its third file" "$(state trades_a_#of#)$(state a)" "nonegathering"
    is "rows while it gathers" "$(sql 'select count(*) from trade')" "$before"
    drop "$work"/files/trades_a_3of3.csv
    loaded 2
    touch "$work/enough"; wait "$watcher" || die "readers: $(cat "$work/watcher")"
    others=
    read -r asked old new <"$work/asked"
    { [ "$asked" -ge 3 ] && [ "$old" -ge 1 ] && [ "$new" -ge 1 ]; } || die "readers saw too little: $(cat "$work/asked")"
    verified
    hashes "$HDB" >"$work/batch.hashes"
    is "dates" "$(wc -l <"$work/batch.hashes")" 3
    [ "$(p load workers --json | python3 -c 'import json,sys; r=json.load(sys.stdin); c=[x[0] for x in r["columns"]]; print(len(r["rows"]))')" = 3 ] || die "not three workers"
    stop || die "the daemon's exit code"
    # one sorted load of everything
    sorted() { mv "$HDB" "$work/hdb.$1"; mkdir "$work/old.$1"; mv "$work/state" "$work/log" "$IN" "$work/old.$1"; mkdir -p "$IN"; }
    sorted batch
    start
    drop "$work"/files/sorted.csv
    loaded 1
    hashes "$HDB" >"$work/single.hashes"
    cmp -s "$work/batch.hashes" "$work/single.hashes" || die "batch and single load differ: $(cat "$work/batch.hashes" "$work/single.hashes")"
    stop || die "the daemon's exit code"
    for f in price size ex note note\# time sym; do
        cmp "$work/hdb.batch/$d/trade/$f" "$HDB/$d/trade/$f" || die "column $f of batch and single load differ"
    done
    # the open date's rows published and ended
    sorted single
    start
    published "$work/files/day.csv"
    p eod run "$d" --yes >"$work/out" || die "eod: $(cat "$work/out")"
    hashes "$HDB" >"$work/day.hashes"
    is "the end of day" "$(grep "^$d" "$work/day.hashes")" "$(grep "^$d" "$work/batch.hashes")"
    stop || die "the daemon's exit code"
    # half of the date's rows by an end of day, at the moment at which the batch with the other half arrives
    sorted day
    start
    published "$work/files/half1.csv"
    cp "$work/files/half2.csv" "$IN/.a"; mv "$IN/.a" "$IN/half2.csv" & p eod run "$d" --yes >"$work/out" || die "eod: $(cat "$work/out")"
    wait $!
    loaded 1
    for _ in $(seq 100); do hashes "$HDB" >"$work/both.hashes"; [ "$(grep "^$d" "$work/both.hashes")" = "$(grep "^$d" "$work/batch.hashes")" ] && break; sleep 0.05; done
    is "a load beside the end of day" "$(grep "^$d" "$work/both.hashes")" "$(grep "^$d" "$work/batch.hashes")"
    verified
    stop || die "the daemon's exit code"
    ;;
verbs) # what operators can do, and what is in the journal of it
    configure "  workers: 2
  post_batch_exec: [$work/hook, told]
  batches:
    days: {match: \"d_{i}of{M}.csv\"}
  files:
$CSV"
    printf '#!/bin/sh\n{ echo "$@"; env | grep ^PENSTOCK_ | sort; } >>%s/hooked\n' "$work" >"$work/hook"; chmod 755 "$work/hook"
    start
    p load >"$work/out"; is "idle: exit" "$?" 0
    grep -q "idle" "$work/out" || die "load: $(cat "$work/out")"
    files rows "$work/x.csv" 2026.11.02 1000
    p load pause >/dev/null || die "pause"
    drop "$work/x.csv"
    until_file x.csv queued
    p load plan >"$work/out" || die "plan: $(cat "$work/out")"
    grep -q "x.csv.* csv " "$work/out" || die "plan: $(cat "$work/out")"
    is "paused" "$(counter load.loaded)" 0
    grep -q paused <(p load) || die "load does not say that it is paused: $(p load)"
    p load resume >/dev/null || die "resume"
    loaded 1
    is "rows" "$(sql 'select count(*) from trade')" 1000
    until_is "the hook" 1 sh -c "grep -c '^PENSTOCK_ROWS=1000' $work/hooked"
    grep -q "^told" "$work/hooked" && grep -q "^PENSTOCK_DATES=2026.11.02" "$work/hooked" && grep -q "^PENSTOCK_TABLES=trade" "$work/hooked" || die "hook: $(cat "$work/hooked")"
    # by hand, from outside of the staging directories
    files rows "$work/y.csv" 2026.11.03 500
    (cd "$work" && "$bin/penstock" --socket "$work/s.sock" load add y.csv --batch byhand) >"$work/out" || die "add: $(cat "$work/out")"
    until_state byhand complete
    is "rows" "$(sql 'select count(*) from trade')" 1500
    # again: a no-op; other content of the same name: refused, but with --supersede
    files rows "$work/y.csv" 2026.11.03 700
    p load add "$work/y.csv" --batch again >"$work/out" 2>&1
    sleep 0.3
    is "rows of a file that came again" "$(sql 'select count(*) from trade')" 1500
    p load add "$work/y.csv" --supersede >"$work/out" 2>&1; is "supersede without --yes: exit" "$?" 1
    grep -q -- --yes "$work/out" || die "supersede: $(cat "$work/out")"
    p load add "$work/y.csv" --batch byhand --supersede --yes >"$work/out" 2>&1 || die "supersede: $(cat "$work/out")"
    loaded 3
    is "rows behind a correction" "$(sql 'select count(*) from trade')" 1700
    # half a batch, cancelled
    files rows "$work/d_1of2.csv" 2026.11.04 10
    drop "$work/d_1of2.csv"
    until_is "a batch that gathers" gathering state "d_#of#.csv"
    p load cancel "d_#of#.csv" >"$work/out" 2>&1; is "cancel without --yes: exit" "$?" 1
    p load frobnicate >"$work/out" 2>&1; is "no such verb: exit" "$?" 2
    p load cancel nothing --yes >"$work/out" 2>&1; is "cancel of nothing: exit" "$?" 1
    grep -q "no batch" "$work/out" || die "cancel: $(cat "$work/out")"
    # the tables, in SQL too, of one moment; views may use them; rights are the next case's
    is "batches in SQL" "$(sql "select count(*) from pst_batches where status = 'complete'")" 3
    is "files in SQL" "$(sql "select status from pst_files where file = 'x.csv'")" complete
    is "workers in SQL" "$(sql 'select count(*) from pst_workers')" 2
    sql "select worker, taskid, mb from pst_memory limit 1" | grep -q w || die "pst_memory: $(cat "$work/err")"
    is "tasks that are complete" "$(sql "select count(*) from pst_tasks where status <> 'complete'")" 0
    p sql 'show tables' --format csv -q | grep -q pst_tasks || die "show tables does not list them"
    for t in tasks workers files batches memory; do p load $t >"$work/out" && [ -s "$work/out" ] || die "load $t: $(cat "$work/out")"; done
    p topo | grep -q loader && p topo | grep -q penstock-load || die "topo"
    grep -q "^load " <(p status) || die "status: $(p status)"
    "$bin/penstock" log dump "$work/log" --json --kind mark >"$work/dump" || die "log dump"
    python3 - "$work/dump" <<'PY' || die "operator marks"
import json, sys
args = [r["data"]["args"] for r in map(json.loads, open(sys.argv[1])) if r.get("mark") == "operator" and r["data"]["command"] == "load"]
assert ["pause"] in args and ["resume"] in args, args
assert any(a[0] == "add" and "--supersede" in a for a in args), args
PY
    stop || die "the daemon's exit code"
    ;;
formats) # the real tick files with the row counts of their manifest; ITCH, a capture, a splayed table; packed in every way
    DATA=${PST_DATA:-$here/../../../shared/data}
    [ -d "$DATA/ticks" ] || skip "no real files ($DATA)"
    FEEDS="
  - {name: itch, framing: moldudp64, decoder: itch50, zone: America/New_York}
  - {name: iex, framing: iex-tp, decoder: iex, zone: America/New_York}"
    configure '  workers: 2
  files:
    spy:
      match: "lean_spy_{date}_trade.zip"
      table: tick
      columns: [time, price, size, ex, cond, flag]
      header: no
      times: {time: day_ms}
      scale: {price: 0.0001}
      zone: America/New_York
      date: name
      constants: {sym: SPY}
    eurusd:
      match: "lean_{sym}_*_quote.zip"
      symbol: name
      table: fx
      columns: [time, bid, ask]
      header: no
      times: {time: ymd}
    binance:
      match: "binance_*.gz"
      table: raw
      separator: space
      columns: [time, text]
      header: no
      rest: yes
      quote: none
      times: {time: epoch_ns}
      constants: {sym: binance}
    cryptofeed:
      match: "cryptofeed_*.gz"
      table: raw
      separator: ": "
      columns: [time, text]
      header: no
      rest: yes
      quote: none
      times: {time: epoch_s}
      constants: {sym: cryptofeed}
      max_rejects: 20
    itch: {match: "itch_*.bin", format: itch50, feed: itch, session: "1", date: "2020-01-30"}
    iex: {match: "iex_*.pcapng*", format: pcap, feed: iex}
    kdb: {match: "quote", format: splayed, table: kquote, date: "2021-01-04"}
    packed: {match: "p_*.csv*", table: trade}' '  tick: {columns: {time: timestamp, sym: symbol, price: float, size: long, ex: char, cond: string, flag: int}}
  fx: {columns: {time: timestamp, sym: symbol, bid: float, ask: float}}
  raw: {columns: {time: timestamp, sym: symbol, text: string}}
  kquote: {columns: {time: timestamp, sym: symbol, bid: float, ask: float, bsize: long, asize: long, mode: char, ex: char, src: symbol}}'
    start
    D=$DATA/ticks
    drop "$D"/lean_spy_*.zip "$D"/lean_eurusd_*.zip "$D"/binance_*.gz "$D"/cryptofeed_*.gz "$DATA"/itch50/itch_runk_locate13_10k.bin "$DATA"/iex/iex_TOPS16.pcapng.gz
    files rows "$work/p_plain.csv" 2026.11.02 2000 1
    for k in 2 3 4 5; do files rows "$work/p_$k.csv" 2026.11.02 1000 $k; done
    gzip "$work/p_2.csv" && zstd -q --rm "$work/p_3.csv" && lz4 -q --rm "$work/p_4.csv" "$work/p_4.csv.lz4" || die "packing"
    (cd "$work" && python3 -c 'import zipfile; zipfile.ZipFile("p_5.csv.zip", "w", zipfile.ZIP_DEFLATED).write("p_5.csv")' && rm p_5.csv)
    drop "$work"/p_*.csv*
    p load add "$DATA/kdb/hdb-2021/2021.01.04/quote" >"$work/out" || die "add of a splayed table: $(cat "$work/out")"
    until_is "files that are loaded" "15 1" complete
    is "SPY" "$(sql 'select date, count(*) from tick group by date' | tr '\n' ' ')" "2013.10.07,250918 2013.10.08,453339 2013.10.09,446784 "
    is "SPY's first" "$(sql "select time, price, size, ex, cond from tick where date = '2013-10-07' limit 1")" "2013.10.07D08:00:00.000000000,167.41,100,P,T"
    is "EURUSD" "$(sql 'select sym, count(*) from fx group by sym')" "eurusd,165526"
    is "raw lines" "$(sql 'select sym, count(*) from raw group by sym' | sort | tr '\n' ' ')" "binance,$((41249 + 74655)) cryptofeed,$((9952 - 6 + 7179 - 4)) " # two lines are empty, eight are rejected
    is "lines that are none" "$(sql "select sum(rejected) from pst_batches")" 8
    is "ITCH" "$(sql "select count(*) from itch_order")" 9705
    is "the capture" "$(sql "select count(*) from iex_quote") $(sql "select count(*) from iex_trade")" "27217 6393"
    is "kdb+" "$(sql "select count(*), min(time), max(src) from kquote where sym = 'AAPL' and bid = 83.42")" "1,2021.01.04D11:22:23.813584000,BARX"
    is "packed" "$(sql 'select count(*) from trade')" 6000
    verified
    stop || die "the daemon's exit code"
    ;;
esac
echo "load $name: fine"
