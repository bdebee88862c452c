#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# load-full.sh [CASE...]: the file system of the loader's temporaries, of the database, of the staging directory and of
# the state directory is full when a batch comes, from nothing free to room for part of what it writes. Capture goes on,
# readers see what was there, the alarm says it, and when there is room again the batch is loaded as if nothing had been.
fault=$(cd "$(dirname "$0")" && pwd)
. "$fault/../system/lib.sh"
enter_namespace "$@"
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=12m none "$disk" 2>/dev/null || skip "no tmpfs can be mounted here"
trap 'x=$?; umount -l "$disk"; (exit $x); finish' EXIT
rooms="0 $((40 + seed * 37 % 400))" # KiB that are free
if [ -n "${PST_ALL:-}" ]; then rooms="0 16 40 80 120 160 200 240 280 320 360 400 500 600 800 1000 1300"; fi
if [ $# -gt 0 ]; then cases=$*; else cases="temporary database staging state"; fi

raised() { p alarms --json | python3 -IS -c 'import json,sys; print(*[a["code"] for a in json.load(sys.stdin)["raised"]])'; }
is_raised() { case " $(raised) " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
fill() { # KiB that stay free
    dd if=/dev/zero of="$disk/filler" bs=4k >/dev/null 2>&1
    truncate -s $(($(stat -c %s "$disk/filler") - $1 * 1024)) "$disk/filler"
}
count() { p sql -q --format csv "select count(*) from $1 where date < '2026-11-10'" 2>/dev/null | tail -1; }
captured=0
capture() { # a row goes through the journal, durable, whatever the loader's disks are like
    captured=$((captured + 1))
    printf 'time,sym,price,size,note\n,X%d,1.5,1,n\n' "$captured" | timeout 20 "$bin/penstock" --socket "$work/s.sock" publish trade - --level durable >"$work/out" 2>&1 ||
        die "capture: $(cat "$work/out")"
}

. "$fault/loadlib.sh"
make 1
one() { # CASE ROOM [kill]
    HDB=$work/hdb IN=$work/in TEMPORARY=$work/temporary STATE=$work/state
    rm -rf "$work/hdb" "$work/in" "$work/temporary" "$work/state" "$work/log" "$disk"/*
    mkdir -p "$TEMPORARY" "$STATE"
    case $1 in
    temporary) TEMPORARY=$disk/temporary ;;
    database) HDB=$disk/hdb ;;
    staging) IN=$disk/in ;;
    state) STATE=$disk/state ;;
    esac
    load_config
    sed -i "s|^state_directory:.*|state_directory: $STATE|" "$work/p.yaml"
    launch || die "no start"
    drop base
    until_complete base
    before=$(count trade)
    if [ "$1" = staging ]; then # nothing is written there but the files themselves
        for f in "$work"/files/b1/*; do cp "$f" "$IN/.${f##*/}" || die "drop"; done
        fill "$2"
        for f in "$IN"/.b1*; do mv "$f" "$IN/${f##*/.}" || die "rename on a full disk"; done
    else
        fill "$2"
        drop b1
    fi
    alarm=load.space
    [ "$1" = state ] && alarm=load.manifest
    told=
    for _ in $(seq 400); do
        is_raised $alarm && { told=1; break; }
        [ "$(batch_state b1)" = complete ] && break
        sleep 0.02
    done
    capture
    if [ "$1" = staging ]; then
        [ -z "$told" ] || die "staging: $alarm, though nothing is written there"
    elif [ "$1" != none ] && [ -z "$told" ] && { [ "$2" = 0 ] || [ "$(batch_state b1)" != complete ]; }; then
        p load; p load tasks --all | tail; die "$1, $2 KiB free: $alarm was not raised: $(raised)"
    fi
    if [ -n "$told" ]; then
        [ "$(count trade)" = "$before" ] || die "$1, $2 KiB free: readers see $(count trade) rows, not $before"
        waited=$((waited + 1))
        if [ "${3:-}" = kill ]; then
            kill -9 "$daemon"; killed
            [ "$1" = state ] && rm -f "$disk/filler" # it starts from there
            launch || die "no start with a full disk"
            capture
        fi
    fi
    rm -f "$disk/filler"
    until_complete b1 90
    for _ in $(seq 100); do is_raised $alarm || break; sleep 0.05; done
    if is_raised $alarm; then die "$alarm stays: $(p alarms)"; fi
    capture
    stop || die "the end"
    accounted 2
    hashes | grep "^2026.11.0[23]" >"$work/got"
}
waited=0
one none 0
mv "$work/got" "$work/wanted"
[ "$(wc -l <"$work/wanted")" = 4 ] || die "not two dates of two tables: $(cat "$work/wanted")"
tried=0
for c in $cases; do
    for room in $rooms; do
        for how in "" kill; do
            [ "$c" = staging ] && [ -n "$how" ] && continue
            # of the two rooms one with a kill, the other without
            [ -n "${PST_ALL:-}" ] || [ "$c" = staging ] || [ $(((room > 0) ^ (seed & 1))) = $((${#how} / 4)) ] || continue
            one "$c" "$room" $how
            cmp -s "$work/wanted" "$work/got" || die "$c, $room KiB free: $(diff "$work/wanted" "$work/got")"
            tried=$((tried + 1))
        done
    done
done
[ $waited -ge 2 ] || [ $# -gt 0 ] || die "only $waited full disks were noticed"
echo "load-full: $tried full disks ($waited noticed), capture went on, each batch loaded behind them"
