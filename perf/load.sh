#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A day of trades in ten files of delimited text (load_data: 50 M rows, 1.8 GB, 8,000 symbols) to columns
# sorted by symbol and time and parted, three ways in turn:
#   penstock   a daemon with 2 and with 1 workers, from the drop of the last file to the batch in the database,
#              published, synced, with a content hash, its way back after any crash
#   limit      load_limit, a C program that knows these files byte by byte and checks nothing; synced
#   duckdb     read, sort and write of one Parquet file in one statement (load_duck); not synced
# 2 threads each. Files lie in the page cache for all of them. Medians of RUNS, ratios; memory of a worker at
# its most beside what it may use, and of all processes together while the batch ran.
# The memory that each will use is touched before it (touch_memory.c: why).
#   perf/load.sh [-n ROWS] [-r RUNS] [-d DIRECTORY] [-q]
# DIRECTORY (default /tmp): a disk with 12 GB free. -q: without DuckDB. Exit: 0 all targets met, 1 not, 2 usage.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build} rows=50000000 runs=3 dir=${PERF_DIR:-/tmp} duck=1
while [ $# -gt 0 ]; do
    case $1 in
    -n) rows=$2; shift ;;
    -r) runs=$2; shift ;;
    -d) dir=$2; shift ;;
    -q) duck= ;;
    *) sed -n '3,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
ninja -C "$build" perf/load_data perf/load_limit perf/load_duck perf/touch_memory control/penstockd control/penstock control/penstock-helper \
    control/penstock-load control/penstock-query >/dev/null || exit 2
work=$(mktemp -d "$dir/penstock-perf-load.XXXXXX") || exit 2
daemon=
stop() { [ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; daemon=; }
trap 'stop; rm -rf "$work"' EXIT
mkdir "$work/data" "$work/out"
"$build/perf/load_data" -n "$rows" "$work/data" >&2 || exit 1
sync "$work"/data/*.csv # else the kernel writes them out while the first batch writes its columns
lib=
[ -z "$duck" ] || lib=$(tests/oracle/install.sh "$build/duckdb") || { echo "skipped: duckdb" >&2; lib=; }

penstock() { # WORKERS
    local w=$work/p
    rm -rf "$w"
    mkdir -p "$w/in" "$w/new" "$w/hdb"
    cat >"$w/p.yaml" <<CONF
instance: load
state_directory: $w/state
log_directory: $w/log
run_directory: $w
control_socket: $w/load.sock
log_low_space: 64M
log_preallocate: 16M
ring_size: 64M
rdb_memory: 64M
database: $w/hdb
calendar: {zone: UTC}
tables:
  trade: {columns: {time: timestamp, sym: symbol, price: float, size: int, exchange: symbol, conditions: symbol}}
load:
  staging: [$w/in]
  workers: $1
  worker_memory: ${WORKER_MEMORY:-2G}
  batches:
    day: {match: "trades.{i}of{M}.csv"}
  files:
    trades: {match: "trades.*.csv", table: trade, time_format: clock, date: "2024.01.02"}
CONF
    "$build/control/penstockd" --config "$w/p.yaml" >"$w/out" 2>&1 &
    daemon=$!
    MEMORY=$memory python3 - "$build/control/penstock" "$w" "$work/data" "$daemon" "$1" "$rows" <<'PY'
import glob, json, os, re, subprocess, sys, threading, time
cli, w, data, daemon, workers, rows = sys.argv[1:4] + [int(x) for x in sys.argv[4:7]]
def ask(*args):
    r = subprocess.run([cli, "--socket", w + "/load.sock", "--json", *args], capture_output=True, text=True)
    try: return json.loads(r.stdout)
    except ValueError: return None
def table(name):
    r = ask("load", name, "--all")
    return [dict(zip([c[0] for c in r["columns"]], x)) for x in r["rows"]] if r else []
for _ in range(200):
    if ask("load"): break
    time.sleep(0.1)
else:
    sys.exit("penstockd did not start: " + open(w + "/out").read()[-500:])
def status(pid, key):
    try: return int(re.search(key + r":\s+(\d+)", open(f"/proc/{pid}/status").read())[1])
    except (OSError, TypeError): return 0
def family(pid):
    out, todo = [], [pid]
    while todo:
        p = todo.pop(); out.append(p)
        for t in glob.glob(f"/proc/{p}/task/*/children"):
            try: todo += [int(x) for x in open(t).read().split()]
            except OSError: pass
    return out
def cpu(pid):
    try: f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError: return 0
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
helper = family(daemon)
peak = {"worker": 0, "all": 0}
spent = {}
over = threading.Event()
def watch():
    while not over.wait(0.3): # what looks on takes from those who work
        now = [p for p in family(daemon) if "penstock-load" in (open(f"/proc/{p}/comm").read() if os.path.exists(f"/proc/{p}/comm") else "")]
        peak["worker"] = max([peak["worker"]] + [status(p, "RssAnon") for p in now])
        peak["all"] = max(peak["all"], sum(status(p, "RssAnon") for p in now))
        for p in now: spent[p] = max(spent.get(p, 0), cpu(p))
files = sorted(glob.glob(data + "/*.csv"))
for f in files: os.link(f, w + "/new/" + os.path.basename(f))
subprocess.run([os.path.dirname(cli) + "/../perf/touch_memory", os.environ["MEMORY"]], check=True, stdout=sys.stderr)
before = cpu(daemon)
threading.Thread(target=watch).start()
for f in files:
    begun = time.time_ns()
    os.rename(w + "/new/" + os.path.basename(f), w + "/in/" + os.path.basename(f))
deadline = time.time() + 600
try:
    while True:
        while not os.path.exists(w + "/hdb/2024.01.02/trade/.d") and time.time() < deadline and time.time() % 5 > 0.05:
            time.sleep(0.05)
        b = [x for x in table("batches") if x["status"] in ("complete", "partial", "failed")]
        if b: break
        if time.time() > deadline: sys.exit("the batch did not end")
        time.sleep(0.1)
finally:
    over.set()
b = b[0]
if b["status"] != "complete" or b["rows"] != rows: sys.exit(f"batch {b['status']}, {b['rows']} rows: {b['why']}")
end = b["endTime"]
if isinstance(end, str):
    import datetime
    m = re.match(r"(\d+).(\d+).(\d+)[ DT](\d+):(\d+):(\d+)(?:\.(\d+))?", end)
    end = int(datetime.datetime(*[int(x) for x in m.groups()[:6]], tzinfo=datetime.timezone.utc).timestamp()) * 10**9 + int((m[7] or "0").ljust(9, "0"))
else:
    end += 946684800 * 10**9
took = (end - begun) / 1e9
kinds = {}
for t in table("tasks"):
    if t.get("startTime") and t.get("endTime"):
        kinds.setdefault(t["task"], []).append((t["startTime"], t["endTime"]))
if os.environ.get("TASKS"): # what ran when, in seconds from the drop
    at = lambda t: (t + 946684800 * 10**9 - begun) / 1e9
    for t in sorted(table("tasks"), key=lambda t: t.get("startTime") or 0):
        if t.get("startTime") and t.get("endTime"):
            print(f"  {at(t['startTime']):7.3f} to {at(t['endTime']):7.3f}  {t['worker']}  {t['task']} {os.path.basename(t['args'] or '')}", file=sys.stderr)
limits = max([t["mb"] or 0 for t in table("memory")] + [0])
print(f"penstock workers={workers} rows={rows} seconds={took:.3f} loader={b['seconds']:.3f} worker_peak_mb={peak['worker'] >> 10} "
      f"workers_peak_mb={peak['all'] >> 10} said_mb={limits:.0f} workers_cpu={sum(spent.values()):.2f} daemon_cpu={cpu(daemon) - before:.2f}")
PY
    local code=$?
    [ $code = 0 ] || { tail -5 "$w/out" >&2; "$build/control/penstock" --socket "$w/load.sock" load tasks --all >&2; }
    stop
    [ -n "${KEEP:-}" ] || rm -rf "$w"
    return $code
}

warm() { cat "$work"/data/*.csv >/dev/null; } # what others did meanwhile may have pushed them out
memory=3072 # MiB: more than any of them uses
touched() { "$build/perf/touch_memory" $memory >&2 || exit 1; }
for _ in $(seq "$runs"); do
    warm
    penstock 2 || exit 1
    warm; touched
    "$build/perf/load_limit" "$work/data" "$work/out" || exit 1
    warm
    penstock 1 || exit 1
    warm; touched
    "$build/perf/load_limit" -t 1 "$work/data" "$work/out" || exit 1
    rm -rf "$work/out" && mkdir "$work/out"
    if [ -n "$lib" ]; then
        warm; touched
        "$build/perf/load_duck" "$lib" "$work/data" "$work/out" || exit 1
        rm -rf "$work/out" && mkdir "$work/out"
    fi
done | tee "$work/results"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
python3 - "$work/results" "${WORKER_MEMORY:-2G}" <<'PY'
import re, statistics, sys
from collections import defaultdict
took, peak = defaultdict(list), 0
for l in open(sys.argv[1]):
    f = dict(re.findall(r"(\w+)=([\d.]+)", l))
    took[l.split()[0], f.get("workers") or f.get("threads")].append(float(f["seconds"]))
    peak = max(peak, int(f.get("worker_peak_mb", 0)))
m = {k: statistics.median(v) for k, v in took.items()}
missed = 0
def say(what, value, target, ok):
    global missed
    missed += not ok
    print(f"{what}: {value} (target {target}) {'met' if ok else 'MISSED'}")
p, one, limit = m["penstock", "2"], m["penstock", "1"], m["limit", "2"]
print("medians, s: " + "  ".join(f"{k[0]} {k[1]}: {v:.2f}" for k, v in sorted(m.items())))
if ("duckdb", "2") in m:
    r = m["duckdb", "2"] / p
    say("rows/s against DuckDB", f"{r:.2f} x", ">= 3", r >= 3)
say("time against the limit", f"{p / limit:.2f} x", "<= 1.6", p <= 1.6 * limit)
say("1 -> 2 workers", f"{one / p:.2f} x", ">= 1.7", one >= 1.7 * p)
unit = {"M": 1, "G": 1024}[sys.argv[2][-1]]
budget = int(sys.argv[2][:-1]) * unit
say("memory of a worker at its most", f"{peak} MB", f"<= {budget} MB", peak <= budget)
sys.exit(missed > 0)
PY
