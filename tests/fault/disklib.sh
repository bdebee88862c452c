# SPDX-License-Identifier: Apache-2.0
# disklib.sh - what tests of disk trouble share; sourced behind system/lib.sh.
loop= mounted= disk=$work/disk lines="--line A,239.192.1.1:26400 --line B,239.192.1.2:26400"

release() { # whatever a test left behind; PST_KEEP keeps the log too
    [ -z "${PST_KEEP:-}" ] || [ "$LOGDIR" = "$work/log" ] || cp -a "$LOGDIR" "$work/kept"
    for m in $mounted; do fsfreeze -u "$m" 2>/dev/null; done
    for q in $others $daemon; do kill -9 "$q" 2>/dev/null; done
    wait 2>/dev/null
    for m in $mounted; do umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null; done
    [ -z "$loop" ] || losetup -d "$loop" 2>/dev/null
}
trap 'code=$?; release; (exit $code); finish' EXIT

disk_make() { # tmpfs|ext4|xfs|sparse MIB [MIB that really exist]: mounted at $disk; the log goes there
    mkdir -p "$disk"
    if [ "$1" = tmpfs ]; then
        mount -t tmpfs -o size="$2"m none "$disk" || skip "cannot mount a tmpfs"
        mounted=$disk
    else
        mkdir -p "$work/under"
        if [ "$1" = sparse ]; then
            mount -t tmpfs -o size="$3"m none "$work/under" || skip "cannot mount a tmpfs"
            mounted=$work/under
        fi
        size=$2
        [ "$1" != xfs ] || [ "$size" -ge 300 ] || size=300 # the least that mkfs.xfs makes
        truncate -s "$size"M "$work/under/image"
        if [ "$1" = xfs ]; then
            command -v mkfs.xfs >/dev/null || skip "no mkfs.xfs"
            mkfs.xfs -q "$work/under/image" || die "mkfs.xfs"
        else
            mkfs.ext4 -q -F -m 0 "$work/under/image" || die "mkfs.ext4"
        fi
        loop=$(losetup -f --show "$work/under/image") || { loop=; skip "no loop devices"; }
        mount "$loop" "$disk" || { losetup -d "$loop"; loop=; skip "cannot mount an image"; }
        mounted="$disk $mounted"
    fi
    LOGDIR=$disk/log
    PREALLOCATE=1M
}

journal_fill() { # all of ext4's journal written once: then what is short of room is what the log writes
    python3 - "$disk/j" <<'PY'
import os, sys
for i in range(1500):
    fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
    os.fsync(fd)
    os.close(fd)
    os.unlink(sys.argv[1])
PY
}

begin() { # daemon, and traffic in the background until `ebb`; further lines for the configuration
    config "$(printf 'retry_interval: 100ms\nalarms: {clear_after: 500ms, disk_full_in: 0}\n%s' "${1:-}")"
    start
    pid=$daemon
    # shellcheck disable=SC2086
    "$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate "${RATE:-20000}" --symbols 500 \
        --heartbeat-ms 100 --tail-heartbeats 3 --duration 60 $lines & others=$!
    ask & asker=$!
    others="$others $asker"
    traffic=${others%% *}
}

ask() { # a client that wants to know all the time: the slowest answer, in ms
    worst=0
    while :; do
        from=$(date +%s%N)
        p status --json >"$work/asked.json" 2>/dev/null
        code=$?
        took=$((($(date +%s%N) - from) / 1000000))
        [ $code -le 1 ] || echo "status: exit code $code" >>"$work/refused"
        [ $took -le $worst ] || { worst=$took; echo "$worst" >"$work/worst"; }
        sleep 0.1
    done
}

ebb() { kill -INT "$traffic"; wait "$traffic" || die "the simulator failed"; others=$asker; }

rows_reach() { # until the journal holds N rows
    for _ in $(seq 200); do [ "$(figure ledger 'r["rows"]')" -ge "$1" ] && return; sleep 0.05; done
    die "no $1 rows"
}
codes() { p alarms --json 2>/dev/null | python3 -c 'import json,sys
try: print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))
except ValueError: print("unanswered")'; }
alarms_come() { # each of these alarms is raised at some time
    missing=$*
    for _ in $(seq 300); do
        seen=" $(codes) " left=
        for a in $missing; do case $seen in *" $a "*) ;; *) left="$left $a" ;; esac; done
        missing=$left
        [ -n "$missing" ] || return
        sleep 0.05
    done
    die "not raised:$missing; now:$seen"
}
status_says() { p status >"$work/status.txt"; grep -q "$1" "$work/status.txt" || die "status does not say '$1': $(cat "$work/status.txt")"; }
status_comes() {
    for _ in $(seq 200); do p status >"$work/status.txt"; grep -q "$1" "$work/status.txt" && return; sleep 0.05; done
    die "status does not say '$1': $(cat "$work/status.txt")"
}
fill() { dd if=/dev/zero of="$disk/filler" bs=64k status=none 2>/dev/null; }
unfill() { rm "$disk/filler"; }
freeze() { fsfreeze -f "$disk" || skip "cannot freeze it"; }
thaw() { fsfreeze -u "$disk"; }

# Alarms that stand for a minute after the last time are acknowledged here: they must not come back.
back_to_normal() {
    quiet=0
    for _ in $(seq 200); do
        now=$(codes)
        for a in log.poisoned log.spill log.gave_up ring.full feed.gap feed.gaps port.drops line.imbalance; do
            case " $now " in *" $a "*) p ack "$a" >/dev/null 2>&1 ;; esac
        done
        if [ -z "$now" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        [ $quiet -lt 3 ] || break
        sleep 0.1
    done
    [ $quiet -ge 3 ] || die "still raised: $now; $(p status)"
    before=$(figure status 'r["log"]["durable"]')
    for _ in $(seq 50); do [ "$(figure status 'r["log"]["durable"]')" -gt "$before" ] && break; sleep 0.1; done
    [ "$(figure status 'r["log"]["durable"]')" -gt "$before" ] || die "the log does not go on"
}

# Another start, with room and nothing cached. $1: what the files were found before, complete or lacking. What is
# missing now must be told by an alarm, and by gap rows; without it nothing may be missing.
restart_cold() {
    umount "$disk" || die "the daemon is gone, its disk is still in use"
    echo 3 >/proc/sys/vm/drop_caches
    mount -o remount,size=200m "$work/under" || die "cannot enlarge it"
    mount "$loop" "$disk" || die "cannot mount it again"
    start
    settle || die "after a restart the ledger does not balance: $(p ledger)"
    now=" $(codes) "
    echo "files before the restart: $1; alarms behind it:$now"
    case $now in
    *" log.damage "*) want=superset ;;
    *) [ "$1" = complete ] || die "what was lacking is told by nobody: $(p alarms)"; want=exact ;;
    esac
    stop || die "the daemon's exit code"
}

finish_disk() {
    ebb
    settle || die "the ledger does not balance: $(p ledger)"
    kill "$asker"; wait "$asker" 2>/dev/null; others=
    [ ! -s "$work/refused" ] || die "a client was refused: $(head -3 "$work/refused")"
    echo "slowest answer $(cat "$work/worst") ms"
    [ "$(cat "$work/worst")" -lt 2000 ] || die "control did not answer for $(cat "$work/worst") ms"
    files=complete
    p ledger --verify >"$work/verify.txt" || files=lacking
    [ $files = complete ] || [ "$want" = tail ] || [ "$want" = told ] || die "ledger --verify: $(cat "$work/verify.txt")"
    [ "$(figure topo 'r["pid"]')" = "$pid" ] || die "the daemon is another one"
    if [ -n "${dropped:-}" ]; then
        given=$(figure counters '[c["value"] for c in r["counters"] if c["name"] == "log.given_up_rows"][0]')
        [ "${given:-0}" -gt 0 ] || die "nothing was given up"
        echo "given up: $given rows"
        [ "$(figure ledger 'r["rdb"]["diff"]')" = 0 ] || die "memory lacks rows: $(p ledger)"
    fi
    stop || die "the daemon's exit code"
    [ "$want" != told ] || restart_cold $files
    dirs=$LOGDIR
    if [ -d "$work/spill" ]; then # both together, not in the log's place: that one may be read-only
        dirs=$work/all
        mkdir "$dirs"
        for f in "$LOGDIR"/log2* "$work"/spill/log2*; do
            [ -e "$f" ] || continue
            [ ! -e "$dirs/${f##*/}" ] || die "the name ${f##*/} stands in both directories"
            cp "$f" "$dirs/" || die "cannot read $f"
        done
    fi
    "$bin/penstock" log verify "$dirs" >"$work/verify.txt" 2>&1 || die "log verify: $(cat "$work/verify.txt")"
    "$bin/penstock" log dump "$dirs" --json >"$work/rows.json" 2>"$work/dump.txt" || die "log dump"
    if [ "$want" = tail ]; then
        python3 - "$work/rows.json" "$work/sent.json" <<'PY' || die "the log has holes behind its first row"
import json, sys
seqs = sorted(r["seq"] for r in map(json.loads, open(sys.argv[1])) if r.get("seq") is not None)
sent = json.load(open(sys.argv[2]))["messages"]
print(f"rows {seqs[0]} to {seqs[-1]} of {sent}")
sys.exit(seqs != list(range(seqs[0], sent + 1)))
PY
        return
    fi
    "$verify" --report "$work/sent.json" --truth "$work/truth" --date "$(sent_date)" --gaps $want \
        <"$work/rows.json" || die "what was logged is not what was sent"
}
