#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# diskfull.sh: the log's disk fills up under traffic and is freed again: an alarm that comes and goes,
# nothing lost, no restart.
if [ -z "${PST_MOUNTS:-}" ]; then # a small filesystem of its own
    [ "$(id -u)" = 0 ] || { echo "SKIP: needs root to mount a tmpfs"; exit 77; }
    export PST_MOUNTS=1
    exec unshare -m "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"
mkdir "$work/disk"
mount -t tmpfs -o size=96m none "$work/disk" || skip "cannot mount a tmpfs"
LOGDIR=$work/disk/log
PREALLOCATE=1M
config
start
pid=$daemon
codes() { p alarms --json | python3 -c 'import json,sys; print(" ".join(a["code"] for a in json.load(sys.stdin)["raised"]))'; }
rows() { figure ledger 'r["rows"]'; }

"$sim" --iface out --report "$work/sent.json" --truth "$work/truth" --quiet --rate 20000 --messages 240000 --symbols 500 \
    --heartbeat-ms 100 --tail-heartbeats 3 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400 & others=$!
for _ in $(seq 200); do [ "$(rows)" -gt 20000 ] && break; sleep 0.05; done
dd if=/dev/zero of="$work/disk/full" bs=64k status=none 2>/dev/null
for _ in $(seq 150); do seen=$(codes); case " $seen " in *" log.space "*) case " $seen " in *" log.stalled "*) break ;; esac ;; esac; sleep 0.05; done
case " $seen " in *" log.stalled "*) ;; *) die "the log stands and log.stalled was not raised: $seen" ;; esac
case " $seen " in *" log.space "*) ;; *) die "log.space was not raised: $seen" ;; esac
p status >"$work/status.txt"; code=$?
[ $code = 1 ] && grep -q "No space left" "$work/status.txt" || die "status (exit $code) does not say what is wrong: $(cat "$work/status.txt")"
rm "$work/disk/full"
for _ in $(seq 150); do case " $(codes) " in *" log.stalled "* | *" log.space "*) sleep 0.1 ;; *) break ;; esac; done
case " $(codes) " in *" log.stalled "* | *" log.space "*) die "still raised: $(codes)" ;; esac
wait "$others" || die "the simulator failed"
others=
settle || die "the ledger does not balance"
p ledger --verify >"$work/verify.txt" || die "ledger --verify: $(cat "$work/verify.txt")"
[ "$(figure topo 'r["pid"]')" = "$pid" ] || die "the daemon is another one"
stop || die "the daemon's exit code"
"$bin/penstock" log verify "$LOGDIR" || die "log verify"
"$bin/penstock" log dump "$LOGDIR" --json >"$work/rows.json" || die "log dump"
"$verify" --report "$work/sent.json" --truth "$work/truth" --date "$(TZ=America/New_York date +%F)" --gaps exact \
    <"$work/rows.json" || die "what was logged is not what was sent"
umount "$work/disk"
exit 0
