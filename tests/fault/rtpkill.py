# SPDX-License-Identifier: Apache-2.0
"""rtpkill.py RUN KILLS: one run of rtp-kill.sh."""
import atexit, collections, os, random, re, signal, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from analytics import BIN, Checkpoint, Truth, SOCK, WORK, penstock, wait
import numpy as np
from kdbclient import Client, K, QError, Sym, Syms
from streamclient import Streams

UNIX = os.environ["UNIX"]
SYMS = ["K%02d" % i for i in range(30)]
run, kills = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(run * 7919 + 1)
log = open(WORK + "/daemon.log", "a")
daemon = None

def launch():
    global daemon
    daemon = subprocess.Popen([BIN + "/penstockd", "--config", WORK + "/p.yaml"], stdout=log, stderr=log)
    def up():
        assert daemon.poll() is None, "penstockd did not start: %s" % daemon.returncode
        return subprocess.run([BIN + "/penstock", "--socket", SOCK, "commands"], capture_output=True).returncode == 0
    wait("penstockd to answer", up, 60)

class Feeder(threading.Thread):
    """Publishes numbered rows, whoever dies; a number is never used again."""
    def __init__(self):
        super().__init__(daemon=True)
        self.n, self.over, self.c, self.rng = 1, False, None, random.Random(run)
        self.acked = 0 # rows below it are in the journal, if penstockd has lived since
    def run(self):
        while not self.over:
            try:
                if self.c is None: self.c = Client(path=UNIX, timeout=20)
                rows = self.rng.choice([1, 1, 5, 40, 40, 300, 5000 if self.rng.random() < 0.1 else 10])
                k = np.arange(self.n, self.n + rows)
                self.n += rows
                self.c(".u.upd", Sym("trade"), [Syms(self.rng.choices(SYMS, k=rows)), K(7, k), K(7, (k * 7919) % 1000)])
                self.acked = self.n
                time.sleep(rows / 10000 + self.rng.choice([0, 0.001, 0.004]))
            except (OSError, EOFError, QError) as e:
                if isinstance(e, QError) and "access" not in str(e) and "stop" not in str(e): raise
                self.c = None
                time.sleep(0.01)

def ask(sql):
    """Rows of an answer; asks again while there is none."""
    end = time.time() + 40
    while True:
        try:
            c = Client(path=UNIX, timeout=20)
            t = c("s)" + sql)
            c.close()
            return list(zip(*[[x if isinstance(x, str) else x.item() if hasattr(x, "item") else x for x in v] for v in t.values()]))
        except (OSError, EOFError, QError) as e:
            assert time.time() < end, "%s: %s" % (sql, e)
            time.sleep(0.02)

def groups(): return {g["group"]: g for g in penstock("rtp", "list")["groups"]}
def pids(*names):
    g = groups()
    return [p["pid"] for n in names for p in g[n]["processes"] if p["pid"]]

class Watchers:
    """Clients of streams. A stream whose process dies says so and goes on; when penstockd dies they come again."""
    want = [("prove.last", {}, {}), ("prove.rows", {}, {}), ("prove.sum", {"syms": SYMS[:5]}, {}), ("prove.timer", {}, {}), ("prove.last", {"mod": 3}, {"mode": "full"})]
    def __init__(self):
        self.points, self.c = [], []
        self.come()
    def come(self):
        def sub(c, w):
            while True:
                try: return c.sub(w[0], w[1], group="streams", **w[2])
                except QError as e: # memory comes from the log first
                    assert time.time() < end and any(x in str(e) for x in ("rebuilt", "behind", "later")), e
                    time.sleep(0.05)
        end = time.time() + 30
        self.c = [Streams(path=UNIX) for _ in range(3)]
        self.s = [(c, sub(c, w)) for i, c in enumerate(self.c) for k, w in enumerate(self.want) if (i + k) % 2 == 0 or i == 0]
        for c, s in self.s: c.until("its state", lambda: s.seen)
    def take(self):
        for c in self.c: c.take()
    def note(self):
        self.points += [Checkpoint(s) for _, s in self.s if s.seen and not s.waits]
    def moved(self, before):
        """Those whose process is no more are told, and get a state."""
        for c, s in self.s:
            if s.id in before:
                c.until("to be told, and a state: %s" % s.notices, lambda: s.snaps > before[s.id] and not s.waits, 40)
                assert any(k == "moved" for k, _ in s.notices), s.notices
    def dead(self):
        def closed():
            for c in self.c: c.take(0.01)
            return all(c.closed for c in self.c)
        wait("the connections to close", closed)
        self.note()

def of_process(watchers):
    """Stream id -> number of its process."""
    return {x["id"]: str(x["process"]) for x in watchers.c[0].table(".sa.streams") if x["group"] == "streams"}

atexit.register(lambda: daemon and daemon.kill())
launch()
feeder = Feeder()
feeder.start()
wait("rows", lambda: feeder.acked > 100)
watchers = Watchers()
kinds = collections.Counter()
eod_at = rng.randrange(kills)
days = 0
for step in range(kills):
    mark = feeder.acked
    end = time.time() + rng.random() * 0.4
    while time.time() < end:
        watchers.take()
        time.sleep(0.01)
    who = rng.choice(["derive"] * 6 + ["derive-stop", "streams", "streams", "rtp", "daemon", "daemon", "helper", "restart"])
    eod = None
    if step == eod_at:
        delay = rng.random() * 0.15 - 0.03
        eod = subprocess.Popen([BIN + "/penstock", "--socket", SOCK, "eod", "run", "--yes", "--no-wait"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if delay > 0: time.sleep(delay)
        days += 1
    kinds[who] += 1
    said = "run %d kill %d: %s%s, n %d" % (run, step, who, " around an end of day" if eod else "", feeder.n)
    print("  " + said, file=log, flush=True)
    watchers.take()
    watchers.note()
    hit = {}
    if who in ("daemon", "helper"):
        if who == "helper": # nothing starts a process without it; penstockd says so and is started again
            h = subprocess.run(["pgrep", "-P", str(daemon.pid), "-x", "penstock-helper"], capture_output=True, text=True).stdout.split()
            for p in h: os.kill(int(p), signal.SIGKILL)
            time.sleep(0.1)
        daemon.send_signal(signal.SIGKILL)
        assert daemon.wait() == -9
        watchers.dead()
        launch()
        watchers.come()
    else:
        if who in ("streams", "rtp"): where = of_process(watchers)
        victims = pids("derive", "streams") if who == "rtp" else pids("streams")[:1] if who == "streams" else pids("derive")
        if who == "restart": penstock("rtp", "restart", "derive")
        if who in ("streams", "rtp"):
            hit = {s.id: s.snaps for _, s in watchers.s if who == "rtp" or where.get(s.id) == "0"}
        for p in victims:
            try:
                if who == "derive-stop": # first it stands still, with much under way
                    os.kill(p, signal.SIGSTOP)
                    time.sleep(0.05)
                if who != "restart": os.kill(p, signal.SIGKILL)
            except ProcessLookupError: pass
        watchers.moved(hit)
    if eod: eod.wait()
    # it has come as far as what was published after the kill
    mark = feeder.n
    wait("rows behind the kill", lambda: feeder.acked > mark)
    mark = feeder.acked
    def derived():
        watchers.take()
        return (ask("select max(n) m from total")[0][0] or 0) >= mark - 1
    wait(lambda: "derived rows up to %d after: %s; they are at %s; %s" % (mark, said, ask("select max(n) m, count(*) c from total"), groups()["derive"]), derived, 60)

feeder.over = True
feeder.join(30)
assert not feeder.is_alive()
last = ask("select max(n) m from trade")[0][0]
wait("the last derived row", lambda: (ask("select max(n) m from total")[0][0] or 0) >= last, 30)
for c, s in watchers.s:
    if not s.asked and s.mode == "delta": c.until("the last row", lambda: max(r[2] for r in s.state.values()) == last)
watchers.take()
watchers.note()

# ---- the derived rows, by SQL over memory and database ----

trade = sorted(ask("select n, sym, size, date from trade"))
total = sorted(ask("select n, sym, total, number, date from total"))
tens = sorted(ask("select n, sym, note from tens"))
assert len({r[0] for r in trade}) == len(trade)
sums, number, want = collections.Counter(), collections.Counter(), []
for n, sym, size, date in trade:
    sums[date, sym] += size
    number[date] += 1
    want.append((n, sym, sums[date, sym], number[date]))
got = [r[:4] for r in total]
if got != want:
    a, b = collections.Counter(r[0] for r in got), {r[0]: r for r in want}
    twice, missing = [n for n, k in a.items() if k > 1], [n for n in b if n not in a]
    wrong = [(r, b.get(r[0])) for r in got if b.get(r[0]) != r]
    print("run %d: %d rows, %d of them twice (%s), %d missing (%s), %d wrong (%s)" % (run, len(got), len(twice), twice[:5], len(missing), missing[:5], len(wrong), wrong[:3]))
    sys.exit(1)
assert tens == [(n, sym, str(n)[::-1]) for n, sym, _, _ in trade if n % 10 == 0], (len(tens), tens[:3])
dates = {r[3] for r in trade}
assert len(dates) == days + 1, dates

# ---- streams ----

truth = Truth(os.environ["LOG"])
assert truth.n == [r[0] for r in trade]
# Streams are made of what is committed. What a kill of penstockd took from the log its clients had seen: the position
# says so, it lies between the recovered end and where the journal goes on.
log.flush()
lost = [tuple(map(int, m)) for m in re.findall(r"unclean end at (\d+), going on at (\d+)", open(WORK + "/daemon.log").read())]
compared = 0
for p in watchers.points:
    end = next((a for a, b in lost if a < p.position <= b), None)
    if p.mode == "events": # what is there is right; the rest was lost
        p.position = end or p.position
        if end: p.events = [e for e in p.events if e[1] <= max([n for pos, n in zip(truth.pos, truth.n) if pos < end])]
        p.check(truth)
    elif end: continue
    elif p.name == "prove.last": # history is of the open day; a process that has lived longer knows more
        want = truth.keyed(p.name, p.asked, p.position)
        wrong = [(k, p.state[k], want.get(k)) for k in p.state if want.get(k) != p.state[k]]
        assert not wrong, (p.said, wrong[:3])
        assert days or want == p.state, p.said
    elif not days: p.check(truth)
    else: continue
    compared += 1
r = subprocess.run([BIN + "/penstock", "--socket", SOCK, "ledger"], capture_output=True, text=True)
assert r.returncode == 0, r.stdout
refused = groups()["derive"]["refused"]
subprocess.run([BIN + "/penstock", "--socket", SOCK, "stop"], capture_output=True)
assert daemon.wait(60) == 0, daemon.returncode
print("rtp-kill %d: %s; %d rows of %d dates each derived once, %d states compared%s" % (
    run, ", ".join("%s %d" % k for k in sorted(kinds.items())), len(trade), len(dates), compared, "; %d packets refused" % refused if refused else ""))
