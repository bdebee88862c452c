#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# load-memory.sh: workers that want more memory than they may have, that crash and that hang: it costs their file, after
# the retries, and nothing else: other files are loaded by the same workers, capture goes on. A file larger than a
# worker's memory is loaded within it.
fault=$(cd "$(dirname "$0")" && pwd)
. "$fault/../system/lib.sh"
workdir
. "$fault/loadlib.sh"
unset MALLOC_PERTURB_ # it would touch what is only reserved
bad=$BUILD/tests/load_misbehave.so:misbehave
kinds="memory crash loop"
load_config "$(for k in $kinds; do
    echo "    $k: {match: \"$k*.csv\", table: trade, post_read_function: \"$bad\", options: {how: $k}}"
done)
    plain: {match: \"plain*.csv\", table: trade}"
sed -i "s/^  finished: move/  finished: keep/; s/^  retries: .*/  retries: 2\n  worker_memory: 96M\n  quarantine_directory: ${work//\//\\/}\/quarantine/" "$work/p.yaml"
raised() { p alarms --json | python3 -IS -c 'import json,sys; print(*[a["code"] for a in json.load(sys.stdin)["raised"]])'; }
column() { p load "$1" --all --json | python3 -IS -c "
import json, sys
r = json.load(sys.stdin); c = [x[0] for x in r['columns']]
for row in r['rows']:
    o = dict(zip(c, row))
    if sys.argv[1] in (o.get('file'), o.get('batch'), o.get('worker')): print(o[sys.argv[2]])" "$2" "$3"; }
until_file() { # NAME STATUS
    end=$((SECONDS + 60)) s=
    while [ $SECONDS -le $end ]; do s=$(column files "$1" status); [ "$s" = "$2" ] && return; sleep 0.05; done
    p load; p load files --all; p load tasks --all | tail
    die "$1 is $s, not $2"
}
counter() { figure counters "[c['value'] for c in r['counters'] if c['name'] == '$1'][0]"; }
rows() { # FILE N
    /usr/bin/python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "w") as f:
    f.write("time,sym,price,size,note\n")
    note = "n" * 120
    for i in range(int(sys.argv[2])):
        f.write("2026.11.02D15:%02d:%02d.%09d,S%d,%d.25,%d,%s\n" % (i // 60 % 60, i % 60, i, i * 7919 % 200, i % 1000, i, note))
PY
}
put() { cp "$1" "$IN/.arriving" && mv "$IN/.arriving" "$IN/${1##*/}" || die "put $1"; }
launch || die "no start"
rows "$work/plain0.csv" 1000
for k in $kinds; do rows "$work/$k.csv" 1000; done
put "$work/plain0.csv"
until_file plain0.csv complete
pid=$daemon
loaded=1000
for k in $kinds; do
    lost=$(counter load.workers_lost)
    put "$work/$k.csv"
    rows "$work/plain.$k.csv" 2000
    put "$work/plain.$k.csv"
    until_file "plain.$k.csv" complete
    loaded=$((loaded + 2000))
    printf 'time,sym,price,size,note\n,X,1.5,1,n\n' | timeout 20 "$bin/penstock" --socket "$work/s.sock" publish trade - --level durable >"$work/out" 2>&1 ||
        die "capture beside $k: $(cat "$work/out")"
    for _ in $(seq 600); do [ -s "$work/quarantine/$k.csv.reason" ] && break; sleep 0.05; done
    [ -f "$work/quarantine/$k.csv" ] && [ -s "$work/quarantine/$k.csv.reason" ] || die "$k: no file with its reason: $(ls "$work/quarantine")"
    case " $(raised) " in *" load.quarantined "*) ;; *) die "$k: no alarm: $(raised)" ;; esac
    echo "$k: $(cat "$work/quarantine/$k.csv.reason" | head -2 | tr '\n' ' '), workers lost $(($(counter load.workers_lost) - lost))"
done
[ "$daemon" = "$pid" ] && kill -0 "$daemon" || die "penstockd did not survive"
# 300 MB through workers that may have 96 MB
rows "$work/plainbig.csv" 1800000
size=$(stat -c %s "$work/plainbig.csv")
mv "$work/plainbig.csv" "$IN/"
for _ in $(seq 1200); do [ "$(column files plainbig.csv status)" = complete ] && break; [ ! -e "$work/quarantine/plainbig.csv.reason" ] || die "$(cat "$work/quarantine/plainbig.csv.reason")"; sleep 0.1; done
until_file plainbig.csv complete
most=$(p load memory --all --json | python3 -IS -c "
import json, sys
r = json.load(sys.stdin); c = [x[0] for x in r['columns']]
print(int(max(dict(zip(c, row))['mb'] or 0 for row in r['rows'])))")
[ "$most" -le 100 ] || die "a worker held $most MB, not 96 MiB at most"
[ "$(p sql -q --format csv "select count(*) from trade where date = '2026-11-02'" | tail -1)" = $((loaded + 1800000)) ] || die "rows: $(p sql "select count(*) from trade where date = '2026-11-02'")"
stop || die "the end"
"$bin/penstock" hdb verify --hash --database "$HDB" >"$work/verify" 2>&1 || die "hdb verify: $(cat "$work/verify")"
echo "load-memory: $((size >> 20)) MiB in at most $most MB a worker; $kinds cost their files"
