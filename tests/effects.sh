#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# effects.sh: every configuration key has a test of its effect (effects.def), and the test proves it.
#   effects.sh BUILD check          each key of keys.def has its line, the test exists and sets the key
#                                   (a third word, slow: its proof takes longer than the share has, PST_ALL only)
#   effects.sh BUILD [KEY...]       each proof: with PST_KEY_IGNORE=KEY the loader ignores what the file says
#                                   for that key, and its test must fail. Of all keys a share that changes with
#                                   the commit (PST_SEED), as far as PST_EFFECTS_SECONDS (15) go; PST_ALL=1: all.
# A key with the flag REFUSED is refused at load (unit test config) and has no line.
set -u
cd "$(dirname "$0")/.." || exit 1
exec python3 - "$@" <<'PY'
import glob, json, os, re, signal, subprocess, sys, time, zlib

build = os.path.abspath(sys.argv[1])
lines, wrong, slow = {}, [], set()

def complain(text):
    wrong.append(text)
    print(text)

# The keys, in their order; the tests by suite/name with their sources.
table = open("control/keys.def").read().split("*/", 2)[2]
rows = re.findall(r'^KEY\((\w+), (\w+), (\w+), (?:NULL|"[^"]*"), "[^"]*", [^,]+, [^,]+, ([\w |]+), ".*"\)$', table, re.M)
if len(rows) != len(re.findall(r"\bKEY\(", table)):
    complain("control/keys.def: a KEY(...) is not on a line of its own, or not as the others are")
keys = {s + "." + k: flags for s, k, _, flags in rows}
tests = {}
for t in json.load(open(build + "/meson-info/intro-tests.json")):
    for suite in t["suite"]:
        tests[suite.split(":")[-1] + "/" + t["name"]] = t
options = {o["name"]: o["value"] for o in json.load(open(build + "/meson-info/intro-buildoptions.json"))}
whole = options["faults"] and options["perf"] and options["dpdk"] != "disabled"
targets = {f: t for t in json.load(open(build + "/meson-info/intro-targets.json")) for f in t["filename"]}

def text_of(name):
    """The source of a test: program or script, what a script sources, files of tests/ that it names."""
    command = tests[name]["cmd"][0]
    if command in targets:
        files = [f for s in targets[command]["target_sources"] for f in s.get("sources", []) if "/tests/" in f]
    else:
        files = [command]
    text = "".join(open(f).read() for f in files)
    if not command in targets:
        for f in re.findall(r'^\s*\. "\$\(dirname "\$0"\)/([\w./-]+)"', text, re.M):
            text += open(os.path.join(os.path.dirname(command), f)).read()
        for f in re.findall(r'\b[\w-]+\.py\b', text):
            f = os.path.join(os.path.dirname(command), f)
            text += open(f).read() if os.path.exists(f) else ""
    if "tests/data/framings" in text:
        text += "".join(open(f).read() for f in glob.glob("tests/data/framings/*.yaml"))
    return text

for n, line in enumerate(open("tests/effects.def"), 1):
    words = line.split("#")[0].split()
    if not words:
        continue
    at = "tests/effects.def:%d: " % n
    if len(words) == 3 and words[2] == "slow":
        slow.add(words[0])
        words.pop()
    if len(words) != 2:
        complain(at + "a line is: section.key suite/test [slow]")
    elif words[0] not in keys:
        complain(at + "there is no key " + words[0])
    elif words[0] in lines:
        complain(at + words[0] + " stands here twice")
    elif "REFUSED" in keys[words[0]]:
        complain(at + words[0] + " is refused at load: it has no effect yet")
    else:
        lines[words[0]] = words[1]
        if words[1] not in tests:
            if whole: # else the build lacks what the test needs
                complain(at + "there is no test " + words[1])
        elif not re.search(r"(?<![\w-])%s[\"']?\s*:" % words[0].split(".")[1], text_of(words[1])):
            complain(at + "the source of %s never sets %s" % (words[1], words[0].split(".")[1]))
for key, flags in keys.items():
    if key not in lines and "REFUSED" not in flags:
        complain("control/keys.def: %s has no test of its effect: add a line to tests/effects.def" % key)

if sys.argv[2:] == ["check"]:
    print("%d keys, %d refused until they are effective, %d complaints" %
          (len(keys), sum("REFUSED" in f for f in keys.values()), len(wrong)))
    sys.exit(bool(wrong))

def proves(key):
    test = tests[lines[key]]
    env = dict(os.environ, PST_KEY_IGNORE=key, MESON_SOURCE_ROOT=os.getcwd(), **test["env"])
    start = time.monotonic()
    p = subprocess.Popen(test["cmd"], env=env, cwd=test["workdir"] or build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=test["timeout"] or 60)
        code = p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGTERM)
        try:
            out, _ = p.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, _ = p.communicate()
        code = "timeout"
    said = [l for l in out.decode(errors="replace").splitlines() if "FAILED" in l or "[  ERROR" in l or "rror" in l]
    good = code not in (0, 77)
    print("%-7s %-28s %-24s %5.1f s  %s" % ("ok" if good else "SKIPPED" if code == 77 else "PASSES", key, lines[key], time.monotonic() - start,
                                           (said[0] if said else "")[:150]), flush=True)
    return good or code == 77

everything = sys.argv[2:] or os.environ.get("PST_ALL")
chosen = sys.argv[2:] or sorted(k for k in lines if lines[k] in tests and (everything or k not in slow))
end = time.monotonic() + float(os.environ.get("PST_EFFECTS_SECONDS", "15"))
first = zlib.crc32(os.environ.get("PST_SEED", "1").encode()) % len(chosen)
bad = done = 0
for key in chosen[first:] + chosen[:first]:
    if not everything and time.monotonic() > end:
        break
    if lines[key] not in tests:
        print("%-7s %-28s %s" % ("absent", key, lines[key]))
        bad += 1
        continue
    done += 1
    bad += not proves(key)
print("%d of %d keys: %d whose test passes although the key is ignored" % (done, len(chosen), bad))
sys.exit(bool(bad))
PY
