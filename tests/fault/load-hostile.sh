#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# load-hostile.sh: a worker that lies (loadhostile.py stands where penstock-load does): penstockd goes on, takes rows
# meanwhile, reads and writes nothing that it should not, says what the worker did, and loads the file with a real one.
fault=$(cd "$(dirname "$0")" && pwd)
. "$fault/../system/lib.sh"
workdir
. "$fault/loadlib.sh"
modes="exit noise ready_again descriptors log deep numbers path counts pipe link"
mkdir -p "$work/bin"
cp "$bin"/penstock{,d,-helper,-query} "$work/bin/"
cp "$bin/penstock-load" "$work/bin/penstock-load.real"
cp "$fault/loadhostile.py" "$work/bin/penstock-load"
echo "a secret" >"$work/bin/secret"
bin=$work/bin
load_config
sed -i 's/^  retries: .*/  retries: 1/; s/^  workers: .*/  workers: 1/; s/^  finished: .*/  finished: keep/' "$work/p.yaml"
column() { p load "$1" --all --json | python3 -IS -c "
import json, sys
r = json.load(sys.stdin); c = [x[0] for x in r['columns']]
for row in r['rows']:
    o = dict(zip(c, row))
    if sys.argv[1] in (o.get('file'), o.get('worker')): print(o[sys.argv[2]])" "$2" "$3"; }
n=0
for m in $modes; do
    echo "$m" >"$work/bin/mode"
    : >"$work/bin/seen"
    [ -n "$daemon" ] || launch || die "no start"
    printf 'time,sym,price,size,note\n2026.11.02D15:00:00.%09d,S,1.5,1,n\n' "$n" >"$IN/.a"
    mv "$IN/.a" "$IN/f$n.trade.csv"
    for _ in $(seq 400); do
        case $(column files "f$n.trade.csv" status) in quarantined | failed) break ;; esac
        [ "$(wc -l <"$work/bin/seen")" -ge 3 ] && break # it does not get as far as the file
        sleep 0.05
    done
    [ -s "$work/bin/seen" ] || die "$m: no worker was started"
    kill -0 "$daemon" || die "$m: penstockd has ended"
    printf 'time,sym,price,size,note\n,X,1.5,1,n\n' | timeout 20 "$bin/penstock" --socket "$work/s.sock" publish trade - --level durable >"$work/out" 2>&1 ||
        die "capture beside $m: $(cat "$work/out")"
    if grep -rqs "a secret" "$IN"; then die "$m: the worker made penstockd copy a file: $(grep -rl "a secret" "$IN")"; fi
    if [ "$m" = exit ]; then case $(column workers w0 why) in *"exit code 3"*) ;; *) die "exit: $(column workers w0 why)" ;; esac; fi
    echo real >"$work/bin/mode"
    [ "$(column files "f$n.trade.csv" status)" = complete ] || p load retry "f$n.trade.csv" >"$work/out" 2>&1 # not yet given up: in vain
    for _ in $(seq 600); do
        [ "$(column files "f$n.trade.csv" status)" = complete ] && break
        [ "$(column workers w0 status)" = free ] && p load retry "f$n.trade.csv" >"$work/out" 2>&1
        sleep 0.05
    done
    [ "$(column files "f$n.trade.csv" status)" = complete ] || { p load; p load files; p load workers; die "$m: the file is not loaded after it"; }
    n=$((n + 1))
done
for _ in $(seq 100); do
    rows=$(p sql "select count(*) from trade where date = '2026.11.02'" --format csv -q | tail -n +2)
    [ "$rows" = "$n" ] && break
    sleep 0.05
done
[ "$rows" = "$n" ] || die "$rows rows of $n files"
stop || die "the daemon's exit code"
clean_report
echo "load-hostile: $n ways to lie, penstockd went on, each file loaded behind it"
