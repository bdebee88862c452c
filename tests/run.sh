#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds and passes the whole suite on a fresh Debian 12 machine: packages, then
#   build-test   gcc, release with fault points: unit, model, sim, system and fault tests
#   build-asan   clang, ASan + UBSan: units, fuzz corpora, one simulated life,
#                the whole daemon on kernel sockets
#   build-tsan   clang, TSan: what shares memory between threads, the whole daemon on kernel sockets
#   build-clang  clang, everything compiled once with its warnings as errors
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc)
passed=0 failed=0 skipped=0 idle=
export PST_SEED="${PST_SEED:-$(git rev-parse --short=7 HEAD 2>/dev/null || echo 1)}"

tests/packages.sh test || exit 1

# What the tests of suite OF in DIR run and load: their own program, and what they depend on.
programs() { # DIR OF
    { meson introspect "$1" --tests && echo && meson introspect "$1" --targets; } | python3 -c '
import json, os, sys
top = os.path.abspath(sys.argv[1])
text, d = sys.stdin.read(), json.JSONDecoder()
tests, end = d.raw_decode(text)
targets, _ = d.raw_decode(text[end:].lstrip())
files = {t["id"]: t["filename"][0] for t in targets}
mine = [t for t in tests if any(s.split(":")[-1] == sys.argv[2] for s in t["suite"])]
print(*sorted({os.path.relpath(f, top) for t in mine for f in [t["cmd"][0]] + [files[d] for d in t["depends"] if d in files] if f.startswith(top + "/")}))' "$1" "$2"
}

# setup DIR COMPILER OPTIONS...: all of it, or what the suite ${of} needs
setup() {
    dir=$1 comp=$2
    shift 2
    if [ -d "$dir" ]; then
        meson configure "$dir" "$@" >/dev/null || return 1
    else
        CC=$comp CXX=$(echo "$comp" | sed 's/gcc/g++/;s/clang$/clang++/') $idle meson setup "$dir" "$@" >"$dir.log" 2>&1 ||
            { cat "$dir.log"; rm -rf "$dir"; return 1; }
        rm -f "$dir.log"
    fi
    # shellcheck disable=SC2086
    $idle ninja -j"$jobs" -C "$dir" ${of:+$(programs "$dir" "$of")} >"$dir/build.log" 2>&1 || { tail -40 "$dir/build.log"; return 1; }
}

# Names of the tests that did not pass in the last run of DIR.
failures() {
    python3 - "$1/meson-logs/testlog.json" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["result"] in ("FAIL", "TIMEOUT", "ERROR", "INTERRUPT"):
        print(r["name"].split(" / ")[-1])
PY
}

# suite DIR MESON-TEST-ARGUMENTS...: runs and adds up. With retry=1 what failed runs once more, alone: these
# tests have deadlines, and a machine of two cores is sometimes not ours. Both runs are shown.
suite() {
    dir=$1
    shift
    echo "== $dir $*"
    meson test -C "$dir" --no-rebuild -t 3 --print-errorlogs "$@" >"$dir/test.log" 2>&1
    again=$(failures "$dir")
    if [ -n "${retry:-}" ] && [ -n "$again" ] && [ "$(echo "$again" | wc -l)" -le 4 ]; then
        cp "$dir/test.log" "$dir/first.log"
        # shellcheck disable=SC2086
        meson test -C "$dir" --no-rebuild -t 3 --print-errorlogs --num-processes 1 $again >"$dir/again.log" 2>&1
        for t in $again; do
            if failures "$dir" | grep -qx "$t"; then
                echo "FAILED TWICE: $t"
            else
                echo "UNSTEADY: $t failed, then passed alone; the first run:"
                sed -n "/ \/ $t *FAIL/,/^ *[0-9]*\/[0-9]* /p" "$dir/first.log" | head -30
                passed=$((passed + 1)) failed=$((failed - 1))
            fi
        done
    fi
    grep -E '^ *[0-9]+/[0-9]+ ' "$dir/test.log"
    # what was left out, and why
    grep -hE '^ *(SKIP(PED)?|skipped):' "$dir"/meson-logs/testlog*.txt | sort -u
    count() { sed -n "s/^$1: *\([0-9]*\).*/\1/p" "$dir/test.log" | tail -1; }
    p=$(count Ok) f=$(count Fail) t=$(count Timeout) u=$(count "Unexpected Pass") s=$(count Skipped)
    passed=$((passed + ${p:-0})) skipped=$((skipped + ${s:-0}))
    bad=$((${f:-0} + ${t:-0} + ${u:-0}))
    failed=$((failed + bad))
    if [ $((${p:-0} + bad + ${s:-0})) = 0 ]; then
        failed=$((failed + 1))
        tail -20 "$dir/test.log"
    elif [ $bad != 0 ]; then
        sed -n '/=================================/,$p' "$dir/test.log" | head -200
    fi
}

built() { # a build that fails is a failed test
    if setup "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "build failed: $1"; return 1; fi
}

build_asan() { "$1" build-asan clang --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dperf=false; }
build_clang() { "$1" build-clang clang --buildtype=release -Dtests=false; }
# The next builds, with what CPU the system tests leave: SCHED_IDLE gives way to them at once. What fails here
# is built, and said, again.
ahead() {
    idle="chrt --idle 0"
    build_asan setup
    build_clang setup
}

built build-test gcc --buildtype=release -Dfaults=true && {
    suite build-test --suite unit --suite model --suite sim --num-processes "$jobs"
    ahead >/dev/null 2>&1 &
    # each in namespaces of its own; most wait more than they compute
    retry=1 suite build-test --suite system --suite fault --num-processes $((jobs < 4 ? jobs + 1 : 4))
    wait
}
build_asan built && suite build-asan --suite unit --suite fuzz --suite asan --num-processes "$jobs"
of=tsan
built build-tsan clang --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false -Dperf=false &&
    suite build-tsan --suite tsan --num-processes "$jobs"
of=
build_clang built

echo "seed $PST_SEED, $skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
