#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# disk.sh CASE: trouble with the log's disk under traffic, on real filesystems. Clients ask meanwhile and are
# answered; then the trouble ends, and without a restart everything is as before: alarms gone, the ledger
# balances, files verify, and every message that was sent is a row or lies in a gap.
#   tmpfs ext4 xfs     the filesystem fills up and is freed
#   readonly           the filesystem aborts and is read-only, until it is mounted again
#   moved removed      the log directory is renamed away, or deleted, and comes back
#   unwritable         no file can be made in the log directory when one is needed
#   stalled-ext4 stalled-xfs   the device does not answer for five seconds: the ring absorbs it
#   full-ext4 full-xfs until the ring is full: the gap is exact
#   fsize              RLIMIT_FSIZE
#   lying-direct lying-buffered   reliability.md B3.1: a sparse image without room behind it, written past the
#                      page cache and through it. The loop driver confirms a write of which only the first part is
#                      there (test_log_disk proves it), so rows that counted as durable may be lost. Never silently:
#                      ledger --verify says so at once, and after a restart each message is a row or in a gap row
# A group of these is `disk.sh any CASE...`: with PST_ALL=1 all of them, else one, rotating by PST_SEED.
. "$(dirname "$0")/../system/lib.sh"
if [ "$1" = any ]; then
    shift
    if [ -n "${PST_ALL:-}" ]; then cases=$*; else
        all=("$@")
        cases=${all[$((seed % $#))]}
    fi
    for c in $cases; do
        echo "== $c"
        "$0" "$c" || exit $?
    done
    exit 0
fi
case $1 in
moved | removed | fsize) ;;
*) if [ -z "${PST_MOUNTS:-}" ]; then # mounts of its own
       [ "$(id -u)" = 0 ] || { echo "SKIP: needs root to mount filesystems"; exit 77; }
       export PST_MOUNTS=1
       exec unshare -m "$0" "$@"
   fi ;;
esac
enter_namespace "$@"
. "$(dirname "$0")/disklib.sh"
want=exact # gaps: exactly those that the simulator made (none)

case $1 in
tmpfs | ext4 | xfs)
    disk_make "$1" 96
    begin
    rows_reach 20000
    fill
    alarms_come log.space log.stalled
    status_says "No space left"
    sleep 0.5
    unfill
    if [ "$1" = tmpfs ]; then # and told beforehand, with the time; a live key
        sed -i 's/disk_full_in: 0/disk_full_in: 1h/' "$work/p.yaml"
        p config reload >"$work/reload.txt" || die "reload: $(cat "$work/reload.txt")"
        alarms_come disk.filling
        p alarms | grep "disk.filling\|disk of log is full in 0.0 hours" | grep -q "MB/s" || die "no time, no rate: $(p alarms)"
        p status | grep -q "disk log  free .* full in" || die "status does not say it: $(p status)"
        sed -i 's/disk_full_in: 1h/disk_full_in: 0/' "$work/p.yaml"
        p config reload >"$work/reload.txt" || die "reload: $(cat "$work/reload.txt")"
    fi
    ;;
readonly)
    disk_make ext4 96
    begin
    rows_reach 20000
    mount -o remount,abort "$disk" || skip "cannot abort the filesystem"
    alarms_come log.stalled
    status_says "Read-only file system\|Input/output error\|Structure needs cleaning"
    for _ in $(seq 50); do umount "$disk" 2>/dev/null && gone=1 && break; sleep 0.1; done
    [ -n "${gone:-}" ] || die "the daemon keeps files of the dead filesystem open: $(ls -l /proc/$daemon/fd | grep "$disk")"
    e2fsck -fy "$loop" >"$work/fsck.txt" 2>&1
    mount "$loop" "$disk" || die "cannot mount it again"
    ;;
moved)
    LOGDIR=$work/log
    begin
    rows_reach 20000
    mv "$work/log" "$work/away"
    status_comes "No such file"
    sleep 0.5
    mv "$work/away" "$work/log"
    ;;
removed) # what was in the files went with them: from some sequence on all is there
    LOGDIR=$work/log
    begin
    rows_reach 20000
    rm -rf "$work/log"
    alarms_come log.stalled
    mkdir "$work/log"
    want=tail
    ;;
unwritable)
    disk_make ext4 96
    begin
    rows_reach 20000
    chattr +i "$disk/log" || skip "no immutable directories here"
    prlimit --pid "$daemon" --fsize=4000000:unlimited || skip "no prlimit" # a further file is needed
    alarms_come log.stalled
    status_says "not permitted"
    chattr -i "$disk/log"
    prlimit --pid "$daemon" --fsize=unlimited:unlimited
    ;;
stalled-*) # five seconds: the ring has room
    disk_make "${1#*-}" 96
    begin
    rows_reach 20000
    freeze
    alarms_come log.stalled disk.hung
    sleep 2
    thaw
    ;;
full-*) # until the ring is full
    disk_make "${1#*-}" 256
    RING=16M RATE=60000 DEVICE=net_af_packet0,iface=in,blocksz=65536,framesz=2048,framecnt=512 begin
    rows_reach 20000
    freeze
    alarms_come log.stalled ring.full port.drops
    thaw
    want=superset
    ;;
dropped) # the disk stays full until the ring is: the oldest data is given up, exactly
    disk_make tmpfs 256
    RING=16M RATE=60000 begin 'log_full: drop_oldest'
    rows_reach 20000
    fill
    alarms_come log.stalled log.gave_up
    sleep 2
    unfill
    want=superset dropped=1
    ;;
gave-up-*) # and where the disk does not answer
    disk_make "${1##*-}" 256
    RING=16M RATE=60000 begin "log_full: drop_oldest
log_timeout: 500ms"
    rows_reach 20000
    freeze
    alarms_come log.stalled disk.hung log.gave_up
    sleep 1
    thaw
    want=superset dropped=1
    ;;
failover-*) # or moves to the other disk in time
    disk_make "${1##*-}" 256
    mkdir "$work/spill"
    RING=16M RATE=60000 begin "log_full: failover
log_timeout: 500ms
spill_directory: $work/spill"
    rows_reach 20000
    freeze
    since=$(date +%s)
    alarms_come log.spill
    [ $(($(date +%s) - since)) -lt 4 ] || die "log_timeout is 500 ms, the move took longer than 4 s"
    rows=$(figure ledger 'r["rows"]')
    rows_reach $((rows + 100000)) # goes on
    thaw
    ;;
lying-*) # the last write that finds room is confirmed, and a part of it is not there
    disk_make sparse 64 12
    mkdir "$work/spill"
    [ "$1" = lying-direct ] || export PST_LOG_BUFFERED=1
    journal_fill
    RATE=60000 begin "spill_directory: $work/spill"
    alarms_come log.spill
    echo 3 >/proc/sys/vm/drop_caches
    rows=$(figure ledger 'r["rows"]')
    rows_reach $((rows + 50000)) # goes on
    want=told
    ;;
fsize)
    LOGDIR=$work/log PREALLOCATE=0
    begin
    rows_reach 10000
    prlimit --pid "$daemon" --fsize=3000000:unlimited || skip "no prlimit"
    sleep 3
    prlimit --pid "$daemon" --fsize=unlimited:unlimited
    [ "$(find "$LOGDIR" -name 'log2*' | wc -l)" -ge 3 ] || die "no further files: $(ls -l "$LOGDIR")"
    ;;
*) die "no case $1" ;;
esac
back_to_normal
finish_disk
