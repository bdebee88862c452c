#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# operators.sh: what an operator meets: every verb and its JSON, exit codes, a second daemon, mistakes in
# the configuration, --check, reload, the socket's mode, and what SIGTERM leaves behind.
. "$(dirname "$0")/lib.sh"
enter_namespace "$@"

says() { # EXIT WORDS COMMAND...: what it prints, on either output
    want=$1 words=$2; shift 2
    "$@" >"$work/out" 2>&1; code=$?
    [ $code = "$want" ] || die "$*: exit $code, not $want: $(cat "$work/out")"
    grep -qE -- "$words" "$work/out" || die "$*: says nothing of '$words': $(cat "$work/out")"
}
parses() { # VERB...: with --json, one document, or one a line
    p "$@" --json >"$work/out" 2>"$work/err"; code=$?
    [ $code = 0 ] || die "$* --json: exit $code: $(cat "$work/err")"
    case "$*" in
    tail* | gaps* | log\ dump*)
        python3 -c 'import json,sys; assert [json.loads(l) for l in sys.stdin]' <"$work/out" || die "$* --json: a line is no JSON" ;;
    *) python3 -m json.tool <"$work/out" >"$work/err" 2>&1 && grep -q ':' "$work/err" || die "$* --json is no JSON" ;;
    esac
}

PREALLOCATE=4M RING=64M
config
says 3 "no |connect|socket" p status
says 3 "." "$bin/penstock" --socket "$work/absent.sock" feeds --json
start
mode=$(stat -c %a "$work/s.sock")
[ "$mode" = 660 ] || die "the control socket has mode $mode"
send --rate 20000 --messages 20000 --symbols 500 --heartbeat-ms 100 --tail-heartbeats 2 \
    --line A,239.192.1.1:26400,drop=15000-15010 --line B,239.192.1.2:26400,drop=15000-15010
settle || die "the ledger does not balance"
says 1 "feed.gap" p status # the gap is an alarm

while read -r verb; do
    # shellcheck disable=SC2086
    set -- $verb
    case $1 in status | feeds | alarms) says 1 . p "$@"; p "$@" --json | python3 -m json.tool >"$work/out" || die "$* --json" ;;
    *) says 0 . p "$@"; parses "$@" ;; esac
done <<'VERBS'
status
feeds
feed itch
line itch A
gaps
gaps itch -n 1
tables
schema gap
tail gap -n 5
alarms
explain feed.gap
ledger
ledger --verify
topo
counters
latency
config
config show --effective
commands
log ls
log verify
log dump
VERBS

# mistakes: exit 2, with a word about what is wrong
says 2 "no verb 'statsu', did you mean status" p statsu
says 2 "takes no arguments" p topo everything
says 2 "." p line itch
says 2 "nosuch" p feed nosuch
says 2 "nosuch" p explain nosuch
says 2 "nosuch" p schema nosuch
says 2 "." p log nosuch
says 2 "unknown option" "$bin/penstock" --nosuch status
says 2 "config" "$bin/penstockd"

# a second daemon on the same directories
sed "s|^control_socket:.*|control_socket: $work/other.sock|; /^ports:/,/^feeds:/{/^feeds:/!d}; /^feeds:/,\$d" "$work/p.yaml" >"$work/other.yaml"
says 1 "in use by penstockd pid $daemon " timeout 20 "$bin/penstockd" --config "$work/other.yaml"
p topo >"$work/out" || die "the first daemon did not live on"

# mistakes in the configuration: FILE:LINE, exit 2
printf 'instance: x\nring_sise: 64M\n' >"$work/bad.yaml"
says 2 "bad.yaml:2.*ring_size" "$bin/penstockd" --config "$work/bad.yaml"
printf 'instance: x\n\nring_size: lots\n' >"$work/bad.yaml"
says 2 "bad.yaml:3.*ring_size" "$bin/penstockd" --config "$work/bad.yaml" --check
printf 'instance: [x\n' >"$work/bad.yaml"
says 2 "bad.yaml:[0-9]+" "$bin/penstockd" --config "$work/bad.yaml"
says 2 "absent.yaml" "$bin/penstockd" --config "$work/absent.yaml"

# reload: a live key applies, another is named
sed -i 's/^log_low_space: .*/log_low_space: 2M/; s/^ring_size: .*/ring_size: 128M/' "$work/p.yaml"
p config reload --json >"$work/out" || die "config reload"
python3 - "$work/out" <<'PY' || die "config reload: $(cat "$work/out")"
import json, sys
r = json.load(open(sys.argv[1]))
assert r["applied"] == ["log_low_space"] and r["needs_restart"] == ["ring_size"], r
PY
p config | grep -qE 'log_low_space: *"?(2M|2097152)' || die "log_low_space did not change: $(p config | grep low_space)"
sed -i 's/^ring_size: .*/ring_sise: 128M/' "$work/p.yaml"
says 2 "p.yaml:[0-9]+.*ring_size" p config reload
p commands >"$work/out" || die "a bad reload took the daemon away"

# SIGTERM drains
says 0 "open" p log ls
kill -TERM "$daemon"
wait "$daemon"; code=$?; daemon=
[ $code = 0 ] || die "SIGTERM: exit $code"
says 0 "closed" "$bin/penstock" log ls "$work/log"
! grep -q open "$work/out" || die "a file is still open: $(cat "$work/out")"
"$bin/penstock" log dump "$work/log" --marks --json | grep '"mark"\|"type"' | tail -1 | grep -q '"end"' || die "no end mark: $("$bin/penstock" log dump "$work/log" --marks --json | tail -1)"
"$bin/penstock" log dump "$work/log" --marks --json | grep -q operator || die "the reload left no operator mark"
says 3 "." p status

# a healthy daemon says so
rm -rf "$work/log" "$work/state"
config
# --check: 0 nothing found, 1 warnings; of directories that nobody uses
sed "s|$work/log|$work/log2|; s|$work/state|$work/state2|" "$work/other.yaml" >"$work/check.yaml" # without its port: /sys is the host's
mkdir "$work/log2" "$work/state2"
timeout 60 "$bin/penstockd" --config "$work/check.yaml" --check >"$work/check" 2>&1; code=$?
[ $code -le 1 ] || die "--check: exit $code: $(cat "$work/check")"
[ -s "$work/check" ] || die "--check says nothing"

start
send --rate 20000 --messages 2000 --symbols 100 --heartbeat-ms 100 --tail-heartbeats 1 --line A,239.192.1.1:26400 --line B,239.192.1.2:26400
settle || die "the ledger does not balance"
says 0 "HEALTHY" p status
stop || die "the daemon's exit code"
exit 0
