#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# load-kill.sh [RUN...]: kill -9 of penstockd, its helper and the loader's workers at 200 seeded points, one in each batch
# that is loaded; a run is five batches into the same two dates. It ends with the content that the same batches
# have without a kill, readers see whole batches only and never an earlier one again, every file is done with once, and
# nothing is left beside. Some kills are power cuts: another boot, and temporaries that were not synced are damaged.
# All with PST_ALL=1, else a tenth, rotating by PST_SEED.
fault=$(cd "$(dirname "$0")" && pwd)
if [ -z "${PST_MOUNTS:-}" ] && unshare -m true 2>/dev/null; then # mounts of its own: another boot's id
    export PST_MOUNTS=1
    exec unshare -m "$0" "$@"
fi
. "$fault/../system/lib.sh"
workdir
. "$fault/loadlib.sh"
all=200 each=5
if [ $# -gt 0 ]; then runs=$*
elif [ -n "${SANITIZED:-}" ]; then runs=$((seed % 40)) # in a build with a sanitizer: a report makes the daemon end with 66
elif [ -n "${PST_ALL:-}" ]; then runs=$(seq 0 $((all / each - 1)))
else runs=$(seq $((seed % 10)) 10 $((all / each - 1))); fi

# points of penstockd, each with the visits within a batch that may be meant
points=(load.manifest:12 load.synced:12 load.interned:1 load.move:1 load.staged:1 load.intent:1 load.date:2 load.table:4
    load.renamed:2 load.moved:1 sym.append:1 sym.appended:1 sym.synced:1 publish.renamed:2 log.after_durable:6)

choose() { # N: who is killed, when; from the point's own number, the same in every run of the suite
    RANDOM=$((1 + $1 * 7919))
    RANDOM=$((RANDOM + $1))
    at= who=daemon cut= after=$((RANDOM % (took + 50)))
    local kind=$((RANDOM % 20)) n
    if [ $kind -lt 8 ]; then
        n=${points[$((RANDOM % ${#points[@]}))]}
        at=${n%:*}:$((1 + RANDOM % ${n#*:}))
        [ $kind -lt 3 ] && [ -n "${PST_MOUNTS:-}" ] && cut=1
    elif [ $kind -lt 11 ]; then who=daemon
    elif [ $kind -lt 14 ]; then who=power
    elif [ $kind -lt 17 ]; then who=worker
    elif [ $kind -lt 18 ]; then who=workers
    elif [ $kind -lt 19 ]; then who=stuck
    else who=helper; fi
    if [ $who = power ] && [ -z "${PST_MOUNTS:-}" ]; then who=daemon; fi
}
helper() { pgrep -P "$daemon" -x penstock-helper; }
workers() { pgrep -P "$(helper)" -x penstock-load; }
milliseconds() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }
power_cut() { # everything of the machine has ended
    another_boot
    /usr/bin/python3 "$fault/loadkill.py" damage "$IN/.penstock" "$after" >>"$work/told"
}
strike() { # WHO
    case $1 in
    daemon) kill -9 "$daemon" ;;
    power) # all at once; unsynced bytes are gone, or were never written
        # shellcheck disable=SC2046
        kill -9 "$daemon" $(helper) $(workers) 2>/dev/null
        power_cut
        ;;
    helper) kill -9 "$(helper)" 2>/dev/null ;;
    worker) kill -9 "$(workers | sort -R --random-source=<(yes "$after") | head -1)" 2>/dev/null ;;
    workers) for w in $(workers); do kill -9 "$w" 2>/dev/null; done ;;
    stuck) for w in $(workers | head -1); do kill -STOP "$w" 2>/dev/null; done ;;
    esac
}

boot=/proc/sys/kernel/random/boot_id
another_boot() { cat /proc/sys/kernel/random/uuid >"$work/boot"; }
if [ -n "${PST_MOUNTS:-}" ]; then
    cat $boot >"$work/boot"
    mount --bind "$work/boot" $boot || die "no other boot can be played"
    trap 'x=$?; umount -l $boot; (exit $x); finish' EXIT
fi

make $each
load_config
launch || die "no start"
drop base
until_complete base
stop || die "stop"
mkdir "$work/template"
cp -a "$HDB" "$work/log" "$work/state" "$IN" "$work/template/"
restore() { rm -rf "$HDB" "$work/log" "$work/state" "$IN"; cp -a "$work/template/." "$work/"; }

# the same without a kill
launch || die "no start"
from=$(date +%s%3N)
for b in $(seq $each); do drop "b$b"; until_complete "b$b"; done
took=$((($(date +%s%3N) - from) / each))
stop || die "stop"
accounted $((each + 1))
hashes >"$work/wanted"
[ "$(wc -l <"$work/wanted")" = 4 ] || die "not two dates of two tables: $(cat "$work/wanted")"
grep -q " 0 " "$work/wanted" && die "no rows: $(cat "$work/wanted")"

struck=0 missed=0
for run in $runs; do
    restore
    ways=(move keep delete)
    FINISHED=${ways[$((run % 3))]}
    load_config
    rm -f "$work/enough"
    /usr/bin/python3 "$fault/loadkill.py" read "$work/test.ipc" "$work/files" "$work/enough" >"$work/read" 2>&1 & reader=$!
    others=$reader
    launch || die "no start"
    for b in $(seq $each); do
        n=$((run * each + b - 1))
        choose $n
        echo "run $run, batch b$b, point $n: $who ${at:-after $after ms}${cut:+, and the power}" >>"$work/told"
        if [ -n "$at" ]; then # a daemon that will end there
            stop || die "stop"
            launch "$at" || { killed; launch || die "no start behind $at"; }
        fi
        beside=$(helper)
        drop "b$b"
        if [ -n "$at" ]; then
            for _ in $(seq 500); do
                kill -0 "$daemon" 2>/dev/null || break
                [ "$(batch_state "b$b")" = complete ] && { milliseconds 50; break; }
                milliseconds 10
            done
            kill -0 "$daemon" 2>/dev/null && { missed=$((missed + 1)); kill -9 "$daemon"; }
            if [ -n "$cut" ]; then
                # shellcheck disable=SC2046
                kill -9 $(pgrep -P "$beside" -x penstock-load) "$beside" 2>/dev/null
                power_cut
            fi
        else
            milliseconds "$after"
            strike $who
        fi
        case $who in daemon | power)
            killed
            launch || die "no start behind point $n"
            ;;
        esac
        if [ $who = helper ]; then # nothing is started without it: an alarm, and a restart
            milliseconds 200
            stop || die "the end without the helper"
            launch || die "no start behind point $n"
        fi
        until_complete "b$b"
        struck=$((struck + 1))
    done
    touch "$work/enough"
    wait "$reader" || die "$(cat "$work/read"); $(tail -$each "$work/told")"
    others=
    cat "$work/read"
    tidied
    stop || die "the end of run $run"
    clean_report
    accounted $((each + 1))
    hashes >"$work/got"
    if [ $FINISHED = keep ]; then # files that stay where they were delivered are not loaded again
        launch || die "no start"
        sleep 0.7
        [ "$(figure counters "[c['value'] for c in r['counters'] if c['name'] == 'load.batches'][0]")" = 0 ] || die "run $run: loaded again: $(p load batches --all)"
        stop || die "the end of run $run"
        hashes >"$work/got"
    fi
    cmp -s "$work/wanted" "$work/got" || die "run $run, files are $FINISHED: $(diff "$work/wanted" "$work/got"); $(tail -$each "$work/told")"
done
echo "load-kill: $struck kills ($missed not at their point), $(echo $runs | wc -w) runs of $each batches, each with the same content; $(grep -oE "(empty|cut|zeros) /" "$work/told" | wc -l) temporaries damaged by power cuts"
