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
state() { p load batches --all --json | python3 -IS -c "
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
raised() { p alarms --json | python3 -IS -c 'import json,sys; print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))'; }
until_raised() { for _ in $(seq 150); do case " $(raised) " in *" $1 "*) return ;; esac; sleep 0.05; done; die "$1 was not raised: $(raised)"; }
until_cleared() { for _ in $(seq 200); do case " $(raised) " in *" $1 "*) sleep 0.05 ;; *) return ;; esac; done; die "$1 was not cleared"; }
sql() { p sql "$1" --format csv -q 2>"$work/err" | tail -n +2; }
is() { [ "$2" = "$3" ] || die "$1 is $2, not $3"; } # WHAT GOT WANTED
until_is() { # WHAT WANTED COMMAND...
    what=$1 wanted=$2 got=; shift 2
    end=$((SECONDS + 40))
    while [ $SECONDS -le $end ]; do got=$("$@" 2>&1); [ "$got" = "$wanted" ] && return; sleep 0.05; done
    [ -z "${PST_KEEP:-}" ] || { p load; p load batches --all; p load files --all; }
    die "$what is $got, not $wanted"
}
hashes() { # ROOT [TABLE]: date, rows and content hash of each of its partitions, as the markers say
    for t in "$1"/[12]*/"${2:-trade}"; do
        echo "$(basename "$(dirname "$t")") $(head -1 "$t/.pstmeta" | python3 -IS -c 'import json,sys; r=json.load(sys.stdin); print(r["rows"], r["hash"])')"
    done
}
verified() { "$bin/penstock" hdb verify --hash --database "${1:-$HDB}" >"$work/verify" || die "hdb verify: $(cat "$work/verify")"; }
file_of() { p load files --all --json | python3 -IS -c "
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
    [ "$(p load workers --json | python3 -IS -c 'import json,sys; r=json.load(sys.stdin); c=[x[0] for x in r["columns"]]; print(len(r["rows"]))')" = 3 ] || die "not three workers"
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
    # codes are alike only where sym grew alike: an alarm may have added names in between
    codes=; cmp -s "$work/hdb.batch/sym" "$HDB/sym" && codes="ex sym"
    for f in price size note note\# time $codes; do
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
    durable
    "$bin/penstock" log dump "$work/log" --json --kind mark >"$work/dump" || die "log dump"
    python3 - "$work/dump" <<'PY' || die "operator marks"
import json, sys
args = [r["data"]["args"] for r in map(json.loads, open(sys.argv[1])) if r.get("mark") == "operator" and r["data"]["command"] == "load"]
assert ["pause"] in args and ["resume"] in args, args
assert any(a[0] == "add" and "--supersede" in a for a in args), args
PY
    # symbols that are new are appended in one go: what was there is copied first and keeps its codes
    cp "$HDB/sym" "$work/sym"
    printf 'time,sym,price,size,ex,note\n2026.11.05D10:00:00,ZNEW,1,1,N,\n2026.11.05D10:00:01,ANEW,1,1,N,\n' >"$work/new.csv"
    drop "$work/new.csv"; until_file new.csv complete
    cmp "$HDB/pst$/sym.2026.11.05" "$work/sym" || die "the copy of sym is not what it was: $(ls -l "$HDB/pst$")"
    names() { tail -c +9 "$1" | tr '\0' '\n'; }
    names "$HDB/sym" | head -n "$(names "$work/sym" | wc -l)" | cmp - <(names "$work/sym") || die "names of sym have other codes now"
    is "names that sym got" "$(names "$HDB/sym" | tail -n 2 | sort | tr '\n' ' ')" "ANEW ZNEW "
    grep -q "2 of its 3 symbols are new" "$work/daemon.log" && grep -q "sym has .* 2 of them new" "$work/daemon.log" || die "no word of the append: $(grep load: "$work/daemon.log")"
    grep -q "load: nothing to run" "$work/daemon.log" || die "it does not say that nothing is to run: $(grep load: "$work/daemon.log")"
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
    itch: {match: "itch_*.bin", format: itch50, feed: itch, session: S1, date: "2020-01-30"}
    iex: {match: "iex_*.pcapng*", format: pcap, feed: iex}
    kdb: {match: "quote", format: splayed, table: kquote, date: "2021-01-04", sym: '"$work/symbols"'}
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
    cp -r "$DATA/kdb/hdb-2021/2021.01.04/quote" "$work/quote"; cp "$DATA/kdb/hdb-2021/sym" "$work/symbols"; chmod -R u+w "$work/quote"
    p load add "$work/quote" >"$work/out" || die "add of a splayed table: $(cat "$work/out")"
    until_is "files that are loaded" "15 1" complete
    is "SPY" "$(sql 'select date, count(*) from tick group by date' | tr '\n' ' ')" "2013.10.07,250918 2013.10.08,453339 2013.10.09,446784 "
    is "SPY's first" "$(sql "select time, price, size, ex, cond from tick where date = '2013-10-07' limit 1")" "2013.10.07D08:00:00.000000000,167.41,100,P,T"
    is "EURUSD" "$(sql 'select sym, count(*) from fx group by sym')" "eurusd,165526"
    is "raw lines" "$(sql 'select sym, count(*) from raw group by sym' | sort | tr '\n' ' ')" "binance,$((41249 + 74655)) cryptofeed,$((9952 - 6 + 7179 - 4)) " # two lines are empty, eight are rejected
    is "lines that are none" "$(sql "select sum(rejected) from pst_batches")" 8
    is "ITCH" "$(sql "select count(*) from itch_order")" 9705
    is "its session" "$(sql "select feed, session, count(*) from itch_order group by feed, session")" "itch,S1,9705"
    is "the capture" "$(sql "select count(*) from iex_quote") $(sql "select count(*) from iex_trade")" "27217 6393"
    is "kdb+" "$(sql "select count(*), min(time), max(src) from kquote where sym = 'AAPL' and bid = 83.42")" "1,2021.01.04D11:22:23.813584000,BARX"
    is "packed" "$(sql 'select count(*) from trade')" 6000
    verified
    stop || die "the daemon's exit code"
    ;;
outcomes) # what can go wrong with files: each has its state, its sentence and, where people must act, its alarm
    configure "  workers: 2
  retries: 1
  file_size_limit: 2M
  files:
    old: {match: \"old*.csv\", table: trade, optional: [note]}
$CSV" "  other: {columns: {time: timestamp, sym: symbol, n: long}}" "symbols_max: 1100"
    sed -i '0,/^symbols_max: 100k/{/^symbols_max: 100k/d}' "$work/p.yaml"
    # a partition that another program wrote
    mkdir -p "$HDB"
    start
    why() { file_of "$1" why; }
    says() { case "$(why "$1")" in *$2*) ;; *) die "$1: $(why "$1")" ;; esac; } # FILE WORDS
    files rows "$work/a.csv" 2026.11.02 100
    # empty, with a header only, cut short, wrong columns, no text at all, a kind that nobody described, a link
    : >"$work/empty.csv"
    head -1 "$work/a.csv" >"$work/header.csv"
    gzip -k "$work/a.csv"; head -c 600 "$work/a.csv.gz" >"$work/cut.csv.gz"
    echo 'when,what' >"$work/columns.csv"; echo '1,2' >>"$work/columns.csv"
    head -c 5000 /dev/urandom >"$work/noise.csv"
    echo hello >"$work/readme.txt"
    drop "$work"/empty.csv "$work"/header.csv "$work"/cut.csv.gz "$work"/columns.csv "$work"/noise.csv "$work"/readme.txt "$work"/a.csv
    ln -s "$work/a.csv" "$IN/link.csv"
    until_file a.csv complete; until_file header.csv complete; until_file empty.csv complete
    until_file cut.csv.gz quarantined; says cut.csv.gz "cut short"
    until_file columns.csv quarantined; says columns.csv "column"
    until_file noise.csv quarantined
    until_file readme.txt unmatched
    grep -q "cut short" "$IN/cut.csv.gz.reason" || die "no reason beside the file: $(ls -a "$IN")"
    is "rows" "$(sql 'select count(*) from trade')" 100
    until_raised load.quarantined
    p load >"$work/out" && die "load exits 0 with files in quarantine: $(cat "$work/out")"
    grep -q "cut.csv.gz" "$work/out" || die "load does not name them: $(cat "$work/out")"
    # corrected and delivered again
    cp "$work/a.csv.gz" "$work/cut.csv.gz"; files rows "$work/b.csv" 2026.11.02 50 9; gzip -c "$work/b.csv" >"$work/cut.csv.gz"
    drop "$work/cut.csv.gz"
    until_file cut.csv.gz complete
    is "rows with the corrected file" "$(sql 'select count(*) from trade')" 150
    # long names, and more files than alarms are listed of one kind: each is one alarm, others have room, and all end
    long=$(printf 'a_name_as_vendors_love_them_%.0s' 1 2 3 4 5)
    listed() { figure alarms "len([a for a in r['raised'] if a['code'] == 'load.quarantined'])"; }
    more() { figure alarms "r['more'].get('load.quarantined', 0)"; }
    before=$(listed)
    mkdir "$work/bad"
    for i in $(seq 80); do printf 'time,sym,price,size,ex\nx,A,1,1,N\n' >"$work/bad/$long$i.csv"; done
    drop "$work/bad"/*
    until_is "alarms of one kind" 64 listed
    until_is "those not listed" $((before + 16)) more
    sleep 0.5 # some rounds of checks: no file is two alarms
    is "alarms of all kinds" "$(figure alarms "len(set((a['code'], a['subject']) for a in r['raised'])) == len(r['raised'])")" True
    [ "$(p status | grep -c load.quarantined)" -le 6 ] || die "status is no screen: $(p status)"
    p load | grep -q "and more; " || die "load does not say that there are more: $(p load)"
    rm "$IN"/a_name*
    until_is "alarms when the files are gone" "$before" listed
    is "those not listed" "$(more)" 0
    # the same file again, and another one of its name
    drop "$work/a.csv"; until_file a.csv redelivered
    files rows "$work/a.csv" 2026.11.02 70 5
    drop "$work/a.csv"; until_file a.csv refused; says a.csv supersede
    is "rows behind redeliveries" "$(sql 'select count(*) from trade')" 150
    # one that grows: nothing of it before it is closed
    files rows "$work/grows.csv" 2026.11.03 400
    { head -c 9000 "$work/grows.csv"; sleep 1.2; tail -c +9001 "$work/grows.csv"; } >"$IN/grows.csv" & writer=$!
    sleep 0.6
    is "a file that grows" "$(file_of grows.csv status)" growing
    wait $writer
    until_file grows.csv complete
    # larger than all that may be read at once: alone
    files rows "$work/large.csv" 2026.11.04 60000
    [ "$(stat -c %s "$work/large.csv")" -gt $((3 << 20)) ] || die "large.csv is not large"
    drop "$work/large.csv"; until_file large.csv complete
    # a file without a column that may be missing; then the day, which ends, and a file of an ended one
    d=$(figure eod 'r["calendars"][0]["open"]')
    printf 'time,sym,price,size,ex\n%sD15:00:00,OLD,1,1,N\n' "$d" >"$work/old1.csv"; drop "$work/old1.csv"; until_file old1.csv complete
    printf 'time,sym,price,size,ex,note\n%sD15:30:00,PUB,2,2,N,x\n' "$d" | p publish trade - --level durable >/dev/null || die publish
    for _ in $(seq 100); do [ "$(sql "select count(*) from trade where date = '$d'")" = 2 ] && break; sleep 0.05; done
    is "the open day, from memory and files" "$(sql "select sym, note from trade where date = '$d' order by sym" | tr '\n' ' ')" "OLD, PUB,x "
    p eod run "$d" --yes >"$work/out" || die "eod: $(cat "$work/out")"
    is "the ended day" "$(sql "select count(*) from trade where date = '$d'")" 2
    printf 'time,sym,price,size,ex\n%sD16:00:00,OLD,3,3,N\n' "$d" >"$work/old2.csv"; drop "$work/old2.csv"; until_file old2.csv complete
    is "a file behind the end of its day" "$(sql "select count(*) from trade where date = '$d'")" 3
    # more symbols than the table takes: nothing of it
    python3 -c "
print('time,sym,price,size,ex,note')
for i in range(1200): print('2026.11.05D12:00:00,X%d,1,1,N,' % i)" >"$work/many.csv"
    drop "$work/many.csv"
    until_is "a batch with too many symbols" failed sh -c "'$bin/penstock' --socket '$work/s.sock' load files --all --json | python3 -c \"import json,sys; r=json.load(sys.stdin); c=[x[0] for x in r['columns']]; print([dict(zip(c,x))['status'] for x in r['rows'] if 'many.csv' in x][0])\""
    p load batches --all | grep -q "symbols_max" || die "no word of symbols_max: $(p load batches --all)"
    is "rows of it" "$(sql "select count(*) from trade where date = '2026-11-05'")" 0
    until_raised load.failed
    # stopped in the middle, and gone on with
    p load pause >/dev/null
    files rows "$work/later.csv" 2026.11.06 300; drop "$work/later.csv"; until_file later.csv queued
    stop || die "the daemon's exit code"
    start
    until_file later.csv queued
    p load resume >/dev/null || true
    until_file later.csv complete
    is "rows of a batch over a restart" "$(sql "select count(*) from trade where date = '2026-11-06'")" 300
    drop "$work/b.csv"; until_file b.csv complete # the same content under another name is another file
    verified
    stop || die "the daemon's exit code"
    # the database cannot be written to, for a reason that does not pass by itself: the batch waits, it does not fail,
    # since a publication that was begun is finished by whoever comes next
    start
    until_is "the database" 300 sql "select count(*) from trade where date = '2026-11-06'"
    cp "$HDB/pst$/publishing" "$work/publishing" && echo x >"$HDB/pst$/publishing"
    files rows "$work/stuck.csv" 2026.11.06 10 7; drop "$work/stuck.csv"
    until_raised load.space
    is "a batch whose database is stuck" "$(file_of stuck.csv status)" read
    p load | grep -q "TROUBLE.*publishing" || die "load does not say what it waits for: $(p load)"
    cp "$work/publishing" "$HDB/pst$/publishing"
    until_file stuck.csv complete
    is "its rows" "$(sql "select count(*) from trade where date = '2026-11-06'")" 310
    verified
    stop || die "the daemon's exit code"
    # what another program wrote stays, unless existing_partition says otherwise
    rm -f "$HDB/2026.11.06/trade/.pstmeta"
    start
    files rows "$work/more.csv" 2026.11.06 10 3; drop "$work/more.csv"
    until_is "a batch into a partition of others" failed sh -c "'$bin/penstock' --socket '$work/s.sock' load files --all --json | python3 -c \"import json,sys; r=json.load(sys.stdin); c=[x[0] for x in r['columns']]; print([dict(zip(c,x))['status'] for x in r['rows'] if 'more.csv' in x][0])\""
    p load batches --all | grep -q "existing_partition" || die "no word of existing_partition: $(p load batches --all)"
    is "rows of others" "$(sql "select count(*) from trade where date = '2026-11-06'")" 310
    stop || die "the daemon's exit code"
    ;;
many) # thousands of files of a row each are one batch like any other: whole, exact, tidied up. 10,000 with PST_ALL=1
    n=${PST_ALL:+10000}; n=${n:-1000}
    configure "  workers: 2
  finished: move
  finished_directory: $work/done
  batches:
    tiny: {match: \"t_{i}of{M}.csv\"}
  files:
$CSV"
    start
    files tiny "$work/tiny" "$n"
    find "$work/tiny" -name 't_*' -exec mv -t "$IN" {} +
    end=$((SECONDS + 100)) saw=0
    while [ $SECONDS -le $end ]; do
        got=$(sql 'select count(*) from trade')
        [ "$got" = "$n" ] && break
        [ "$got" = 0 ] || die "$got rows of $n are seen"
        saw=$((saw + 1))
        sleep 0.1
    done
    is "rows" "$got" "$n"
    [ $saw -ge 1 ] || die "nobody asked before it was in"
    is "rows and their sums by date" "$(sql 'select date, count(*), sum(size) from trade group by date order by date' | tr '\n' ' ')" \
        "$(seq "$n" | awk '{d = 2 + $1 % 3; c[d]++; s[d] += $1} END {for (d = 2; d < 5; d++) printf "2026.11.%02d,%d,%d ", d, c[d], s[d]}')"
    until_is "the batch" "complete,$n,1" sql "select status, files, commit from pst_batches"
    until_is "files that were moved" "$n" sh -c "find '$work/done' -name '*.csv' | wc -l"
    until_is "what is left of them" 0 sh -c "find '$IN' -mindepth 2 | wc -l"
    until_is "files that are still listed" 0 sql 'select count(*) from pst_files'
    verified
    stop || die "the daemon's exit code"
    ;;
generate) # a database to try things on: the defaults, other numbers, more dates beside them; by the loader's own tasks
    cd "$work" || die cd
    day() { date -u -d "-$1 day" +%Y.%m.%d; }
    "$bin/penstock" hdb generate >"$work/out" || die "generate: $(cat "$work/out")"
    sqldb() { "$bin/penstock" sql --database "$1" "$2" --format csv -q | tail -n +2 | tr '\n' ' '; }
    is "rows by date" "$(sqldb db 'select date, count(*) from option group by date')" "$(day 1),10000 "
    is "sound" "$(sqldb db "select count(*) from option where bid > ask or strike <= 0 or expiry < date or time < '2000-01-01'")" "0 "
    verified "$work/db"
    "$bin/penstock" hdb generate >"$work/out" 2>&1 && die "generated twice: $(cat "$work/out")"
    grep -q "has $(day 1) already" "$work/out" || die "generate: $(cat "$work/out")"
    "$bin/penstock" hdb generate --points 500 --first 9 --days 3 --json >"$work/out" || die "generate: $(cat "$work/out")"
    is "rows by date" "$(sqldb db 'select date, count(*) from option group by date order by date')" "$(day 9),500 $(day 8),500 $(day 7),500 $(day 1),10000 "
    verified "$work/db"
    "$bin/penstock" hdb generate --points 500 --first 9 --days 3 --database again >/dev/null || die "generate"
    for d in 9 8 7; do is "the same rows" "$(hashes again option | grep "^$(day $d)")" "$(hashes db option | grep "^$(day $d)")"; done
    [ -z "$(ls -A 'db/pst$/load' 2>/dev/null)" ] && [ ! -e 'db/pst$/generate' ] || die "something was left: $(find db/pst*)"
    "$bin/penstock" hdb generate --points none 2>/dev/null; is "exit" "$?" 2
    ;;
rights) # the loader's tables are tables: who may not read them does not see them, and they cost nothing unasked
    printf 'users:\n' >"$work/users.yaml"; chmod 600 "$work/users.yaml"
    add() { echo "secret-$1" | "$bin/penstock" user add "$1" --file "$work/users.yaml" --tables "$2" >/dev/null || die "user add"; }
    add some trade; add files trade,pst_files; add every all
    port=$((20000 + $$ % 20000))
    configure "  workers: 1
  files:
$CSV" "" "ipc: {tickerplant: $port, rdb: 0, hdb: 0, users: $work/users.yaml}"
    start
    files rows "$work/a.csv" 2026.11.02 20; drop "$work/a.csv"; until_file a.csv complete
    PYTHONPATH=$here/../support /usr/bin/python3 - "$port" <<'PY' || die "rights"
import sys
from kdbclient import Client, QError
def asks(user, text):
    c = Client(port=int(sys.argv[1]), user=user, password="secret-" + user)
    try: return c(text)
    except QError as e: return "error " + str(e)
    finally: c.close()
def rows(t): return len(next(iter(t.values()))) if isinstance(t, dict) else t
assert rows(asks("every", "s)select * from pst_files")) == 1, asks("every", "s)select * from pst_files")
assert rows(asks("files", "s)select * from pst_files")) == 1
for user, table in (("some", "pst_files"), ("files", "pst_tasks")):
    assert "there is no table" in str(asks(user, "s)select * from " + table)), asks(user, "s)select * from " + table)
assert rows(asks("some", "s)select * from trade")) == 20
PY
    # a second instance on the same staging directory would take the first one's files
    sed "s#$work/state#$work/state2#; s#$work/log#$work/log2#; s#$work/s.sock#$work/s2.sock#; s#^run_directory: .*#run_directory: $work/run2#; s#$HDB#$HDB.2#; s/^instance: .*/instance: second/; /^ipc:/d" "$work/p.yaml" >"$work/p2.yaml"
    mkdir -p "$work/run2" "$HDB.2"
    "$bin/penstockd" --config "$work/p2.yaml" >"$work/second.log" 2>&1 & others=$!
    second() { "$bin/penstock" --socket "$work/s2.sock" load; }
    until_says() { for _ in $(seq 200); do second 2>&1 | grep -q "$1" && return; sleep 0.05; done; die "the second instance: $(second 2>&1)"; }
    until_says "in use by another penstockd"
    kill "$others"; wait "$others"; others=
    stop || die "the daemon's exit code"
    ;;
keys-text) # how files are read, a kind of file for each key; each has its symbol by `constants`
    TRADE="{columns: {time: timestamp, sym: symbol, px: float, n: long, s: symbol, note: string}}"
    cp "$BUILD/tests/load_trades.so" "$work/f.so"; chmod 755 "$work" "$work/f.so"
    kinds= want=
    kind() { # NAME KEYS ROWS-WANTED [NAME OF THE FILE]; the file's text is on stdin
        cat >"$work/${4:-$1.txt}"
        case $2 in *constants:*) ;; *) set -- "$1" "${2:+$2, }constants: {sym: $1}" "$3" "${4:-}" ;; esac
        kinds="$kinds
    $1: {match: \"${5:-${4:-$1.txt}}\", table: trade, optional: [\"*\"], $2}"
        want="$want$3
"
    }
    T=2026.11.02D10:00:00
    kind separator 'separator: ";"' "separator,$T,1.5,," <<<"time;px
$T;1.5"
    kind quote 'quote: single' "quote,$T,2,,a,b" <<<"time,px,note
$T,2,'a,b'"
    kind escape 'escape: backslash' "escape,$T,3,,a\"b" <<<"time,px,note
$T,3,\"a\\\"b\""
    kind header 'header: no, columns: [time, s]' "header,$T,,,s=s" <<<"$T,s"
    kind skip_lines 'skip_lines: 2' "skip_lines,$T,4,," <<<"made by
somebody
time,px
$T,4"
    kind comment 'comment: "%"' "comment,$T,5,," <<<"time,px
% nothing
$T,5"
    kind columns 'header: no, columns: [n, "-", time]' "columns,$T,,6," <<<"6,x,$T"
    kind map 'map: {When: time, Price: {column: px}, "*": "-"}' "map,$T,7,," <<<"Price,When,Other
7,$T,x"
    kind nulls 'nulls: [none]' "nulls,$T,,," <<<"time,px
$T,none"
    kind decimal 'decimal: comma, separator: ";"' "decimal,$T,8.5,," <<<"time;px
$T;8,5"
    kind thousands "thousands: \"'\"" "thousands,$T,1234.5,," <<<"time,px
$T,1'234.5"
    kind ragged 'ragged: yes' "ragged,$T,9,," <<<"time,px,n,note
$T,9"
    kind rest 'rest: yes, header: no, columns: [time, note]' "rest,$T,,,x,y,z" <<<"$T,x,y,z"
    kind trim 'trim: yes' "trim,$T,10,," <<<"time,px
 $T , 10 "
    kind scale 'scale: {px: {factor: 0.25}}' "scale,$T,11,," <<<"time,px
$T,44"
    kind time_format 'time_format: "%d-%m-%y %H.%M"' "time_format,$T,12,," <<<"time,px
02-11-26 10.00,12"
    kind times 'times: {time: kdb_ns}' "times,2026.11.22D00:00:00,13,," <<<"time,px
848620800000000000,13"
    kind zone 'zone: America/New_York' "zone,2026.11.02D15:00:00,14,," <<<"time,px
$T,14"
    kind date_format 'date_format: dmy' "date_format,2026.11.02D00:00:00,15,," <<<"time,px
02/11/2026,15"
    kind date 'date: "2026-11-05", times: {time: clock}' "date,2026.11.05D10:00:00,16,," <<<"time,px
10:00:00,16"
    kind max_rejects 'max_rejects: 1' "max_rejects,$T,17,," <<<"time,px
$T,x
$T,17"
    kind partial 'partial: yes' "partial,$T,18,," <<<"time,px
$T,x
$T,18"
    printf 'time,px\n%s,19\n' "$T" >"$work/by-NAMED.txt"
    kinds="$kinds
    symbol: {match: \"by-{sym}.txt\", table: trade, optional: [\"*\"], symbol: name}"
    want="${want}NAMED,$T,19,,
"
    printf 't=1793613600000000000 s=PLUG p=20 q=2\nt=1793613600000000000 s=ZZ p=1 q=1\n' >"$work/x.kv"
    kinds="$kinds
    plugin: {match: \"x.kv\", table: value, format: plugin, read_function: $work/f.so:key_value, post_read_function: $work/f.so:with_value, save_function: $work/f.so:volumes, options: {skip: ZZ}, optional: [value]}
    unsaved: {match: \"y.kv\", table: value, format: plugin, read_function: $work/f.so:key_value, save_function: $work/f.so:nothing, optional: [value]}"
    cp "$work/x.kv" "$work/y.kv"
    configure "  workers: 1
  files:$kinds" "  value: {columns: {time: timestamp, sym: symbol, price: float, size: long, value: float}}"
    p() { "$bin/penstock" --socket "$work/s.sock" "$@"; }
    start
    drop "$work"/*.txt "$work"/*.kv
    files=$(find "$work" -maxdepth 1 -name '*.txt' -o -maxdepth 1 -name '*.kv' | wc -l)
    until_is "files" "$files" figure load 'sum(r["files"].get(s, 0) for s in ("complete", "quarantined", "failed", "refused"))'
    p sql "select sym, time, px, n, s, note from trade order by px, sym" --json -q >"$work/out" || die "sql: $(cat "$work/out")"
    printf %s "$want" >"$work/want"
    python3 - "$work/out" "$work/want" <<'PY' || die "rows"
import json, sys
def line(r):
    n = "" if r["n"] is None else str(r["n"])
    px = "" if r["px"] is None else "%g" % r["px"]
    return "%s,%s,%s,%s,%s%s" % (r["sym"], r["time"].replace(".000000000", ""), px, n, "s=" + r["s"] if r["s"] else "", r["note"])
got = sorted(map(line, json.load(open(sys.argv[1]))["rows"]))
want = sorted(open(sys.argv[2]).read().splitlines())
for x in want: assert x in got, "not there: %s\n%s" % (x, "\n".join(got))
assert got == want, set(got) ^ set(want)
PY
    is "a file whose save_function is not there" "$(file_of y.kv status)" quarantined
    is "the kind of a file" "$(sql "select recipe from pst_files where file = 'trim.txt'")" trim
    is "what a plugin read" "$(sql "select sym, price, size, value from value")" "PLUG,20,2,40"
    [ "$(counter load.rejected)" = 2 ] || die "$(counter load.rejected) rows are rejected, not 2"
    is "a reject's file" "$(cut -f 1,2 "$IN/max_rejects.txt.rejects" 2>/dev/null | tail -1 || cat "$IN"/*.rejects)" "2	px"
    stop || die "the daemon's exit code"
    ;;
keys-places) # where files come from and go to, and what is run behind a batch
    mkdir -p "$IN" "$work/other"
    files rows "$IN/before.csv" 2026.11.02 10
    ln -s "$work/other" "$work/link"
    configure "  temporary: $work/tmp
  finished: move
  finished_directory: $work/done
  quarantine_directory: $work/bad
  rejects_directory: $work/rejects
  newly_only: yes
  post_batch_exec: [$work/hook]
  post_batch_timeout: 300ms
  files:
    some: {match: \"r_*.csv\", table: trade, max_rejects: 5}
$CSV"
    sed -i "s|staging: .*|staging: [$IN, $work/link]|" "$work/p.yaml"
    printf '#!/bin/sh\necho slept; exec sleep 30\n' >"$work/hook"; chmod 755 "$work/hook"
    start
    files rows "$work/good.csv" 2026.11.02 20
    files rows "$work/linked.csv" 2026.11.03 30
    printf 'time,sym,price\n2026.11.02D10:00:00,A,x\n' >"$work/broken.csv"
    printf 'time,sym,price,size,ex,note\n2026.11.02D10:00:00,A,x,1,,\n2026.11.02D10:00:00,A,1,1,,\n' >"$work/r_1.csv"
    drop "$work/good.csv" "$work/broken.csv" "$work/r_1.csv"
    until_is "the finished file" there sh -c "[ -e $work/done/good.csv ] && [ ! -e $IN/good.csv ] && echo there"
    until_is "the bad file" there sh -c "[ -s $work/bad/broken.csv.reason ] && [ -e $work/bad/broken.csv ] && echo there"
    until_is "the rejects" 1 sh -c "cat $work/rejects/r_1.csv*.rejects | grep -c price"
    [ -d "$work/tmp" ] && [ ! -e "$IN/.penstock" ] || die "temporary files are elsewhere"
    is "a file from before" "$(sql 'select count(*) from trade')" 21
    [ -e "$IN/before.csv" ] || die "a file from before is gone"
    until_raised load.hook
    p alarms | grep -q "stopped at post_batch_timeout" || die "the hook was not stopped: $(p alarms)"
    # a link is neither closed nor renamed: it counts when it has not changed for stable_after
    files rows "$work/hard.csv" 2026.11.04 5; ln "$work/hard.csv" "$IN/hard.csv"
    taken() { [ -e "$work/done/hard.csv" ] || case $(file_of hard.csv status) in growing | checking | none) return 1 ;; esac; }
    from=$(date +%s%N)
    until taken; do [ $(($(date +%s%N) - from)) -lt 4000000000 ] || die "a link is $(file_of hard.csv status)"; sleep 0.05; done
    # the directories are listed now and then, whatever the kernel says of them: that is their time of access
    listed() { stat -c %x "$IN"; }
    before=$(listed); sleep 0.01; touch "$IN/.x"; ls "$IN" >/dev/null
    if [ "$(listed)" != "$before" ]; then # not on a file system that notes none
        touch "$IN/.y"; before=$(listed)
        for _ in $(seq 80); do [ "$(listed)" != "$before" ] && break; sleep 0.05; done
        [ "$(listed)" != "$before" ] || die "the staging directory was not listed"
    fi
    # a directory that is another one now
    mkdir "$work/new"; ln -sfn "$work/new" "$work/link"; mv "$work/linked.csv" "$work/new/linked.csv"
    for _ in $(seq 200); do [ "$(sql 'select count(*) from trade')" = 56 ] && break; sleep 0.1; done
    is "rows with those of a directory that was replaced" "$(sql 'select count(*) from trade')" 56
    stop || die "the daemon's exit code"
    ;;
keys-batches) # what makes a batch, which comes first, and when one is given up
    after=$(($(date +%s) + 5)) late=$(TZ=America/New_York date -d '+5 sec' +%H:%M:%S)
    configure "  workers: 2
  retries: 0
  batches:
    triggered: {match: \"t_{batch}_*.csv\", by: trigger, suffix: .go}
    listed: {match: \"m_*.csv\", by: manifest}
    first: {match: \"f_{i}of{M}.csv\", priority: 5}
    last: {match: \"l_{i}of{M}.csv\", priority: -5}
    late: {match: \"d_{i}of{M}.csv\", deadline: \"$late\"}
    some: {match: \"p_{i}of{M}.csv\", partial: yes}
    again: {match: \"s_{i}of{M}.csv\", supersede: yes}
    never: {match: \"n_{i}of{M}.csv\", gather_timeout: 700ms}
  files:
$CSV"
    as() { cp "$work/a.csv" "$work/$1"; drop "$work/$1"; } # NAME
    files rows "$work/a.csv" 2026.11.02 10 1; as d_1of2.csv
    start
    p load pause >/dev/null || die "pause"
    files rows "$work/a.csv" 2026.11.02 10 2; as l_1of1.csv
    files rows "$work/a.csv" 2026.11.02 10 3; as f_1of1.csv
    files rows "$work/a.csv" 2026.11.02 10 4; as t_x_1.csv
    files rows "$work/a.csv" 2026.11.02 10 5; as t_x_2.csv
    files rows "$work/a.csv" 2026.11.02 10 6; as m_1.csv
    files rows "$work/a.csv" 2026.11.03 10 7; as s_1of1.csv
    files rows "$work/a.csv" 2026.11.02 10 8; as p_1of2.csv
    printf 'time,sym,price,size,ex,note\n2026.11.02D10:00:00,A,x,1,,\n' >"$work/a.csv"; as p_2of2.csv
    files rows "$work/a.csv" 2026.11.02 10 9; as n_1of2.csv
    (cd "$work" && sha256sum m_1.csv) >"$work/m_1.csv.manifest"; drop "$work/m_1.csv.manifest"
    until_file t_x_2.csv ready
    touch "$work/x.go"; drop "$work/x.go"
    until_file t_x_2.csv queued; until_file f_1of1.csv queued; until_file l_1of1.csv queued
    p load resume >/dev/null || die "resume"
    loaded 6 40
    rows() { sql "select rule, files from pst_batches where commit > 0 order by commit" | tr '\n' ' '; }
    case "$(rows)" in *"first,1 "*"last,1 "*) ;; *) die "the order of batches: $(rows)" ;; esac
    case "$(rows)" in *"triggered,2 "*) ;; *) die "batches: $(rows)" ;; esac
    case "$(rows)" in *"listed,1 "*) ;; *) die "batches: $(rows)" ;; esac
    is "a batch without a file" "$(sql "select status, quarantined from pst_batches where rule = 'some'")" "partial,1"
    until_is "a batch that waited for too long" failed sql "select status from pst_batches where rule = 'never'"
    files rows "$work/a.csv" 2026.11.03 25 10; as s_1of1.csv
    loaded 7
    while [ "$(date +%s)" -le $after ]; do sleep 0.1; done
    until_raised load.late # it waits for a file
    files rows "$work/a.csv" 2026.11.02 10 11; as d_2of2.csv
    loaded 8
    until_is "what the alarm says" 1 sh -c "'$bin/penstock' --socket '$work/s.sock' alarms | grep -c 'was loaded .* late'"
    is "rows of a batch that came again" "$(sql "select count(*) from trade where date = '2026-11-03'")" 25
    stop || die "the daemon's exit code"
    ;;
keys-limits) # workers and memory
    configure "  workers: 3
  large_worker: yes
  worker_memory: 300M
  large_worker_memory: 400M
  file_size_limit: 100M
  memory_buffer: 1M
  compounding: yes
  limit_max: 102M
  memory: cgroup
  batches:
    counted: {match: \"c_{i}of{M}.csv\"}
  files:
    big: {match: \"big*.csv\", table: trade, expansion: \"10\"}
$CSV"
    start
    of_plan() { p load plan "$@" --json | python3 -c "import json,sys; r=json.load(sys.stdin); print($shown)"; }
    for i in 1 2 3; do files rows "$work/w$i.csv" 2026.11.02 10 $i; drop "$work/w$i.csv"; loaded $i; done
    is "workers" "$(sql "select memory, count(*) from pst_workers group by memory order by memory" | tr '\n' ' ')" "$((300 << 20)),2 $((400 << 20)),1 "
    is "large ones" "$(sql "select count(*) from pst_workers where large")" 1
    shown='r["limit"], r["buffer"]'
    is "the limit that grew, and the buffer" "$(of_plan)" "$((102 << 20)) $((1 << 20))"
    grep -q "load.memory: cgroup, but no control group" "$work/daemon.log" || [ -n "$(cat /sys/fs/cgroup/memory.max 2>/dev/null | grep -v max)" ] || die "not a word about the control group"
    stop || die "the daemon's exit code"
    sed -i 's/limit_max: .*/limit_min: 98M/; s/memory_buffer: .*/memory_buffer: 4T/; s/  large_worker.*//' "$work/p.yaml"
    start
    p load pause >/dev/null || die "pause"
    files rows "$work/big1.csv" 2026.11.02 1000; drop "$work/big1.csv"
    until_file big1.csv queued
    shown='r["files"][0]["estimate"] // r["files"][0]["size"]'
    is "an estimate" "$(of_plan big1.csv)" 10
    p load resume >/dev/null || die "resume"
    for i in 4 5; do files rows "$work/w$i.csv" 2026.11.02 10 $i; drop "$work/w$i.csv"; until_file w$i.csv complete; done
    shown='r["limit"]'
    is "the limit that fell" "$(of_plan)" "$((98 << 20))"
    stop || die "the daemon's exit code"
    sed -i 's/memory_buffer: .*/memory_buffer: 1M\n  throttle: 2T/' "$work/p.yaml"
    start
    files rows "$work/w6.csv" 2026.11.02 10 6; drop "$work/w6.csv"
    until_raised load.memory
    is "a file that waits" "$(file_of w6.csv status)" queued
    stop || die "the daemon's exit code"
    # each worker has its files: the one that hangs keeps its own
    sed -i 's/throttle: .*/throttle: 0\n  allocation: static/' "$work/p.yaml"
    start
    until_file w6.csv complete
    p load pause >/dev/null || die "pause"
    for i in 1 2 3 4 5 6; do files rows "$work/c_${i}of6.csv" 2026.11.02 $((i * 10 - 9)) $i; drop "$work/c_${i}of6.csv"; done
    until_file c_6of6.csv queued
    p load resume >/dev/null || die "resume"
    until_file c_6of6.csv complete
    pairs() { sql "select args, worker from pst_tasks where task = 'read' and args like '%of6.csv'" | sed 's/.*c_\(.\)of6.csv,/\1 /' | sort | awk '{w[$1] = $2} END {print (w[1] == w[2]) (w[3] == w[4]) (w[5] == w[6]) (w[1] != w[3])}'; }
    is "that each worker has its files" "$(pairs)" 1111
    stop || die "the daemon's exit code"
    ;;
keys-trouble) # retries, and workers that hang
    cp "$BUILD/tests/load_misbehave.so" "$work/f.so"; chmod 755 "$work" "$work/f.so"
    configure "  workers: 1
  retries: 1
  stuck_after: 700ms
  files:
    hangs: {match: \"hangs*.csv\", table: trade, post_read_function: $work/f.so:misbehave, options: {how: loop}}
    crashes: {match: \"crashes*.csv\", table: trade, post_read_function: $work/f.so:misbehave, options: {how: crash}}
$CSV"
    start
    files rows "$work/crashes.csv" 2026.11.02 10
    drop "$work/crashes.csv"
    from=$(date +%s%N)
    until_file crashes.csv quarantined
    [ $(($(date +%s%N) - from)) -lt 4500000000 ] || die "two attempts took $((($(date +%s%N) - from) / 1000000)) ms"
    is "workers that were lost" "$(counter load.workers_lost)" 2
    until_raised load.quarantined
    files rows "$work/hangs.csv" 2026.11.02 10
    drop "$work/hangs.csv"
    until_file hangs.csv quarantined
    grep -q "hang\|silent\|progress" "$IN/hangs.csv.reason" || die "reason: $(cat "$IN/hangs.csv.reason")"
    files rows "$work/good.csv" 2026.11.02 10
    drop "$work/good.csv"
    loaded 1
    stop || die "the daemon's exit code"
    ;;
esac
echo "load $name: fine"
