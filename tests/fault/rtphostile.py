# SPDX-License-Identifier: Apache-2.0
"""The cases of rtp-hostile.sh."""
import collections, os, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from analytics import Checkpoint, Truth, groups, penstock, pids, running, wait
import numpy as np
from kdbclient import Client, K, QError, Sym, Syms
from streamclient import Streams

UNIX = os.environ["UNIX"]

def rss():
    return next(int(l.split()[1]) << 10 for l in open("/proc/%s/status" % os.environ["DAEMON"]) if l.startswith("RssAnon"))
def alarms(): return {(a["code"], a["subject"]) for a in penstock("alarms")["raised"]}
def ask(sql):
    c = Client(path=UNIX)
    try: return list(zip(*[[x if isinstance(x, str) else x.item() if hasattr(x, "item") else x for x in v] for v in c("s)" + sql).values()]))
    finally: c.close()

class Beside(threading.Thread):
    """What goes on beside: rows are published and acknowledged, a stream of another group gets each of them."""
    def __init__(self, pace=0.004):
        super().__init__(daemon=True)
        self.p, self.s = Client(path=UNIX, timeout=20), Streams(path=UNIX)
        self.sum, self.rows = self.s.sub("prove.sum", group="good"), self.s.sub("prove.rows", group="good")
        self.n, self.over, self.longest, self.error, self.pace = 0, False, 0, None, pace
        self.hold = threading.Event()
        self.hold.set()
    def run(self):
        try:
            while not self.over:
                self.hold.wait()
                began = time.time()
                k = np.arange(self.n, self.n + 3)
                self.p(".u.upd", Sym("trade"), [Syms(["A", "B", "C"]), K(7, k), K(7, k % 100)])
                self.longest = max(self.longest, time.time() - began)
                self.n += 3
                self.s.take()
                time.sleep(self.pace)
        except Exception as e: self.error = e
    def finish(self, loop=8):
        self.over = True
        self.join(20)
        assert self.error is None and not self.is_alive(), self.error
        self.s.until("the last row", lambda: self.sum.state and max(r[2] for r in self.sum.state.values()) == self.n - 1)
        self.s.until("the last row", lambda: self.rows.events and self.rows.events[-1][2] == self.n - 1)
        truth = Truth(os.environ["LOG"])
        assert truth.n == list(range(self.n)), (len(truth.n), self.n)
        for s in (self.sum, self.rows):
            assert s.snaps == 1 and not s.notices, (s.name, s.notices)
            Checkpoint(s).check(truth)
        assert self.longest < loop, "a publisher waited for %.2f s" % self.longest
        g = groups()["good"]
        assert g["restarts"] == 0 and g["why"] == "", g
        # no thread of the daemon stood still
        late = [t for t in penstock("topo")["threads"] if t.get("worst_ns", 0) > loop * 1e9 and t["name"] not in ("log", "errors", "auth") and not t["name"].startswith("disk")]
        assert not late, late

# ---- analytics ----

DEADLY = ["crash", "loop", "leak", "magic", "notable", "wild", "hole", "fork", "exit", "length", "huge", "half", "stack", "close",
          "columns", "ready", "atom", "deep", "rows", "back", "at_once_crash", "snapcrash"] + (["at_once_loop"] if os.environ.get("PST_ALL") else [])
EITHER = ["subscribed", "stranger", "called", "cuts", "logs", "same", "large"] # ended or passed over

def analytics():
    ways = os.environ["HOW"].split(",") if "HOW" in os.environ else DEADLY + EITHER
    names = ["h%d" % i for i in range(len(ways))]
    for g in names + ["good"]: running(g)
    beside = Beside()
    beside.start()
    wait("rows", lambda: beside.n > 30)
    memory = rss()
    on = [] # in each group one that is well, and one that is not
    for g, how in zip(names, ways):
        c = Streams(path=UNIX, timeout=60)
        well = c.sub("hostile", {"how": "well"}, group=g)
        c.until("its state", lambda: well.seen)
        on.append([g, how, c, well, None])
    def subscribe(x):
        try: x[4] = x[2].sub("hostile", {"how": x[1], "size": 100000}, group=x[0])
        except QError as e: x[4] = str(e)
    threads = [threading.Thread(target=subscribe, args=(x,), daemon=True) for x in on]
    for t in threads: t.start()
    # each does it with the next row; who asked for it leaves as soon as it is told
    todo = {x[0]: x for x in on}
    updates = {}
    end = time.time() + 90
    while todo:
        listed = groups()
        for g, how, c, well, bad in list(todo.values()):
            if bad is None: continue # not answered yet: its thread reads
            c.take()
            if not isinstance(bad, str) and bad.id in c.streams:
                if how in DEADLY and not bad.ended and not any(k == "moved" for k, _ in bad.notices): continue
                c.streams.pop(bad.id) if bad.ended else c.unsub(bad)
            if how in DEADLY and not (listed[g]["restarts"] and listed[g]["why"] and any(k == "moved" for k, _ in well.notices)): continue
            # the stream beside it, in the same process, goes on
            updates.setdefault(g, well.updates)
            if well.updates > updates[g] and not well.waits: todo.pop(g)
        assert time.time() < end, "%s" % [(g, how, listed[g]["why"], bad if isinstance(bad, str) else bad and bad.notices, well.notices[-2:], well.updates) for g, how, c, well, bad in todo.values()]
        time.sleep(0.02)
    raised = alarms()
    more = len(raised) > 30 # the list is bounded
    assert more or all(("rtp.restarts", g) in raised for g, how, *_ in on if how in DEADLY), raised
    done = ["%s: %s%s" % (how, groups()[g]["why"], "; refused: " + bad if isinstance(bad, str) else "") for g, how, c, well, bad in on]
    for x in on: x[2].close()
    for g in names: running(g)
    assert all(isinstance(x[4], str) for x in on if x[1].startswith("at_once") or x[1] == "snapcrash"), done
    # a function that ends the process is an error for who called it
    for g, how in (("h0", "crash"), ("h1", "loop")):
        r = penstock_error("rtp", "call", g, "hostile.now", "how=" + how)
        assert "error" in r, r
    beside.finish()
    assert rss() - memory < 64 << 20, (memory, rss())
    lost = next(c["value"] for c in penstock("counters")["counters"] if c["name"] == "rtp.lost")
    assert lost >= len([x for x in done if x.split(":")[0] in DEADLY]) + 2, lost
    if os.environ.get("PST_ALL"):
        wait("rtp.restarts to clear", lambda: not any(a[0] == "rtp.restarts" for a in alarms()), 150)
    for x in done: print("  " + x)
    print("hostile: %d ways, %d processes ended, %d rows beside them, a publisher waited %.0f ms at most, memory %+.1f MB" % (
        len(done), lost, beside.n, beside.longest * 1e3, (rss() - memory) / 1e6))

def penstock_error(*args):
    import json, subprocess
    r = subprocess.run([os.environ["BIN"] + "/penstock", "--socket", os.environ["SOCK"], "--json", *args], capture_output=True, text=True)
    return {"error": r.stderr or r.stdout} if r.returncode else json.loads(r.stdout)

# ---- processors ----

def processors():
    hows = ["trade", "points", "far", "short", "error", "crash", "loop", "exit", "rows", "begin", "emit"]
    good = ["p_emit"] # knows no such way: is well
    wait("the good one", lambda: groups()["p_emit"]["processes"][0]["state"] == "runs")
    for h in hows:
        if h != "begin": running("p_" + h)
    c = Client(path=UNIX)
    for n in range(1, 150): # one row a frame
        c(".u.upd", Sym("trade"), [Syms(["S%d" % (n % 5)]), K(7, [n]), K(7, [n])])
    begin = time.time()
    wait("the good one to follow", lambda: ask("select count(*) from echo where n = 149")[0][0] == 1)
    for h in hows:
        if h != "emit": wait(lambda: "%s: %s" % (h, groups()["p_" + h]), lambda: groups()["p_" + h]["restarts"] >= 2, 30)
    wait("alarms: %s" % alarms(), lambda: all(("rtp.restarts", "p_" + h) in alarms() or ("rtp.refused", "p_" + h) in alarms() or ("rtp.plugin", "p_" + h) in alarms() for h in hows if h != "emit"))
    refused = {h for h in hows if ("rtp.refused", "p_" + h) in alarms()}
    assert {"trade", "points", "far", "short"} <= refused, refused
    # each row before the bad one gave at most one row in each group, none that follows before one is missing; the bad
    # one and what is behind it gave none but in the good group
    n = len(hows) - 1 # begin never began
    def held():
        got = dict(ask("select n, count(*) c from echo group by n"))
        c = [got.get(k, 0) for k in range(1, 150)]
        return c[:49] == sorted(c[:49], reverse=True) and c[0] <= n and min(c[:49]) >= 1 and c[49:] == [1] * 100 or c
    wait(lambda: "rows: %s" % held(), lambda: held() is True)
    time.sleep(0.5)
    assert held() is True, held()
    assert ask("select count(*) from trade")[0][0] == 149
    for h in hows: print("  %s: %s" % (h, groups()["p_" + h]["why"]))
    # stopped by hand it is quiet, and the others do not care
    for h in hows:
        if h != "emit": penstock("rtp", "stop", "p_" + h)
    penstock("rtp", "restart", "p_emit")
    c(".u.upd", Sym("trade"), [Syms(["S"]), K(7, [150]), K(7, [150])])
    wait("the good one to follow", lambda: ask("select count(*) from echo where n = 150")[0][0] == 1)
    assert ask("select count(*) from echo where n < 50")[0][0] <= 49 * n
    wait("alarms of stopped groups to clear", lambda: not [a for a in alarms() if a[0].startswith("rtp.")])

# ---- slow ----

def slow():
    running("flood"); running("two", 2); running("good")
    beside = Beside(0.02)
    beside.start()
    wait("rows", lambda: beside.n > 30)
    memory = rss()
    # a process that stands still is ended; its streams go to the other one at once, or when it is back
    c = Streams(path=UNIX)
    s = c.sub("prove.sum", group="two")
    c.until("its state", lambda: s.seen)
    os.kill(pids("two")[0], signal.SIGSTOP)
    began = time.time()
    c.until("moved: %s" % s.notices, lambda: any(k == "moved" for k, _ in s.notices) and s.snaps == 2, 20)
    took = time.time() - began
    assert "stuck" in groups()["two"]["why"], groups()["two"]
    # clients that do not read: one that is to be closed, one that is to get a new state, beside one that reads
    fast, deaf, late = Streams(path=UNIX), Streams(path=UNIX), Streams(path=UNIX)
    f = fast.sub("hostile", {"how": "flood", "size": 20}, group="flood")
    fast.until("its state", lambda: f.seen)
    d = deaf.sub("hostile", {"how": "flood", "size": 20}, group="flood", policy="disconnect")
    l = late.sub("hostile", {"how": "flood", "size": 20}, group="flood", policy="resync")
    l2 = late.sub("prove.sum", group="good", policy="resync")
    late.until("its states", lambda: l.seen and l2.seen)
    highest = 0
    def clients(): return penstock("clients")["clients"]
    end = time.time() + 30
    while not any("disconnect" in str(x) for x in [penstock("counters")]) or time.time() < end:
        fast.take(0.01)
        highest = max(highest, rss())
        if f.updates > 2000: break
    assert f.updates > 2000, "the one that reads got %d updates" % f.updates
    # the deaf one is closed
    def closed():
        fast.take()
        try:
            while deaf.c.recv(0.1) is not None: pass
        except (EOFError, ConnectionError): return True
    wait("the deaf one to be closed", closed)
    # the late one reads again: a notice, a new state, and then what follows
    late.until("resync: %s %s" % (l.notices, l2.notices), lambda: (fast.take(), any(k == "resync" for k, _ in l.notices))[1], 30)
    late.until("its state", lambda: (fast.take(), not l.waits and l.snaps > 1 and not l2.waits)[1], 30)
    updates = l.updates
    late.until("what follows", lambda: (fast.take(), l.updates > updates)[1], 30)
    beside.over = True
    beside.join(20)
    for x in (fast, late): x.unsub(next(y for y in x.streams.values() if y.name == "hostile"))
    late.until("the last row", lambda: max(r[2] for r in l2.state.values()) == beside.n - 1, 30)
    c.until("the last row", lambda: max(r[2] for r in s.state.values()) == beside.n - 1, 30)
    beside.finish()
    truth = Truth(os.environ["LOG"])
    for x in (l2, s): Checkpoint(x).check(truth)
    assert highest - memory < 200 << 20, "memory %+.1f MB" % ((highest - memory) / 1e6)
    wait("memory to come back: %+.1f MB" % ((rss() - memory) / 1e6), lambda: rss() - memory < 100 << 20, 20)
    print("slow: moved after %.2f s; %d updates of 20 KB for who reads, memory %+.1f MB at most" % (took, f.updates, (highest - memory) / 1e6))

{"analytics": analytics, "processors": processors, "slow": slow}[sys.argv[1]]()
