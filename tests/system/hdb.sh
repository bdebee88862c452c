#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hdb.sh: `penstock hdb` as an operator uses it: on a database of real kdb+ (where it is present),
# without a daemon, and on the database of a daemon that is running.
. "$(dirname "$0")/lib.sh"
workdir
export PENSTOCK_SOCKET=$work/s.sock
p() { "$bin/penstock" "$@"; }
# want CODE TEXT VERB...: exit code, and a text in what it printed
want() {
    code=$1 text=$2
    shift 2
    p "$@" >"$work/out" 2>&1 && got=0 || got=$?
    [ "$got" = "$code" ] || die "penstock $*: exit code $got, not $code: $(cat "$work/out")"
    grep -q -- "$text" "$work/out" || die "penstock $*: no '$text' in: $(cat "$work/out")"
}

want 2 'penstock hdb verify' hdb
want 0 'penstock hdb verify' hdb help
want 2 'did you mean verify' hdb verfy
want 2 "what is '--hash'" hdb ls --hash
want 3 'name the database' hdb ls
want 1 'No such file' hdb ls "$work/none"

real=${PST_DATA:-$(dirname "$0")/../../../shared/data}/kdb/hdb-2021
if [ -d "$real" ]; then
    want 0 '1 dates, 10 rows' hdb ls "$real"
    want 0 'another program' hdb ls "$real" 2021.01.04
    want 0 '16 symbols, 1 disk' hdb stat --database "$real"
    want 0 'mode *char' hdb stat quote --database "$real"
    want 0 'no damage; p# ready 1 of 1' hdb verify --hash --database "$real"
    db=$work/copy
    cp -r "$real" "$db" && chmod -R u+w "$db"
    cp -r "$db/2021.01.04" "$db/2021.01.05"
    mkdir "$db/2021.01.05/trade" && cp "$db"/2021.01.04/quote/{.d,*} "$db/2021.01.05/trade"
    want 0 'has no table trade' hdb verify --database "$db"
    want 0 'nothing was changed' hdb fill --database "$db" --dry-run
    [ -e "$db/2021.01.04/trade" ] && die "a dry run wrote"
    want 0 '1 dates filled' hdb fill --database "$db"
    want 2 "'1.5x' is no float" hdb add-column quote px float 1.5x --database "$db"
    want 2 'is no type' hdb add-column quote px decimal --database "$db"
    want 0 'would add column venue' hdb add-column quote venue symbol XNAS --database "$db" --dry-run
    want 0 '2 dates changed' hdb add-column quote venue symbol XNAS --database "$db"
    want 0 '0 dates changed, 2 were so already' hdb add-column quote venue symbol XNAS --database "$db"
    want 1 'is of type symbol' hdb add-column quote venue long --database "$db"
    want 0 '17 symbols' hdb stat --database "$db"
    want 0 'no damage' hdb verify --database "$db"
    printf '\5' | dd of="$db/2021.01.05/quote/bid" bs=1 seek=2 conv=notrunc status=none
    want 1 'DAMAGE length\|DAMAGE file\|1 damages' hdb verify --database "$db"
    p --json hdb verify --database "$db" | python3 -c "
import json, sys; r = json.load(sys.stdin)
assert not r['healthy'] and r['damages'] >= 1, r
assert any(f['column'] == 'bid' and f['date'] == '2021.01.05' for f in r['findings']), r" || die "verify --json"
    want 2 'deletes 1 of 2 dates' hdb drop-before 2021.01.05 --database "$db"
    want 0 'nothing was changed' hdb drop-before 2021.01.05 --database "$db" --dry-run
    want 0 '1 dates deleted' hdb drop-before 2021.01.05 --database "$db" --yes
    [ -e "$db/2021.01.04" ] && die "the date is still there"
    ls "$db" | grep -q '2021.*\$' && die "something is left: $(ls "$db")"
    exec 9>"$db/pst\$/lock" && flock -n 9 && echo "an end of day" >&9
    want 1 'is being changed by an end of day' hdb add-column quote more long --database "$db"
    exec 9>&-
else
    echo "left out: a database of real kdb+ (no $real)"
fi

# the database of a running daemon
cat >"$work/p.yaml" <<YAML
instance: hdb
state_directory: $work/state
log_directory: $work/log
run_directory: $work
control_socket: $work/s.sock
log_low_space: 1M
log_preallocate: 1M
log_ballast: 0
ring_size: 64M
rdb_memory: 256M
database: $work/hdb
database_low_space: 1M
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: long, note: string}}
YAML
"$bin/penstockd" --config "$work/p.yaml" >"$work/daemon.log" 2>&1 &
daemon=$!
for _ in $(seq 200); do p commands >/dev/null 2>&1 && break; sleep 0.05; done
{ echo sym,price,size,note; for i in $(seq 3000); do echo "S$((i % 50)),$i.5,$i,note $i"; done; } >"$work/rows.csv"
p publish trade "$work/rows.csv" >"$work/out" 2>&1 || die "publish: $(cat "$work/out")"
p eod run --yes >"$work/out" 2>&1 || die "eod run: $(cat "$work/out")"
want 0 '3,000' hdb ls
want 0 'penstock' hdb ls "$(p --json hdb ls | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["date"])')"
want 0 'no damage; p# ready' hdb verify --hash
p --json hdb verify --hash | python3 -c "
import json, sys; r = json.load(sys.stdin)
t = [x for x in r['tables'] if x['table'] == 'trade'][0]
assert r['healthy'] and t['rows'] == 3000 and t['ours'] and t['ordered'] and t['p_ready'], t
assert t['hash_is'] == 'right', t" || die "the partition of an end of day: $(p hdb verify --hash)"
want 0 'column venue to 3000 rows' hdb add-column trade venue symbol XNAS
want 0 'venue *symbol' hdb stat trade
want 0 'no damage' hdb verify --hash
want 0 'XNAS' sql --database "$work/hdb" "select sym, venue, sum(size) from trade where note like 'note 1%' group by sym, venue limit 1"
p stop >/dev/null
wait $daemon || die "penstockd ended with $?: $(tail -5 "$work/daemon.log")"
daemon=
echo "penstock hdb: looked at, checked and changed databases of kdb+ and its own"
