# SPDX-License-Identifier: Apache-2.0
"""The clients of ex05.sh: publisher and subscribers of a primary (5010…) and of the tickerplant chained to it (5013…)."""
import json, math, os, random, signal, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import numpy as np
from kdbclient import Client, K, QError, Sym, Syms

def penstock(*args, sock=os.environ["SOCK"]):
    r = subprocess.run([os.environ["BIN"] + "/penstock", "--socket", sock, "--json", *args], capture_output=True, text=True)
    assert r.stdout.strip(), (args, r.stderr)
    return json.loads(r.stdout)
def wait(what, condition, seconds=30):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain for %s" % (what() if callable(what) else what)
        time.sleep(0.03)
def values(t): return list(zip(*[[x if isinstance(x, str) else None if isinstance(x, float) and math.isnan(x) else x for x in (v.tolist() if hasattr(v, "tolist") else v)] for v in t.values()]))
def ask(port, sql):
    c = Client(port=port, timeout=20)
    try: return values(c("s)" + sql))
    finally: c.close()
COLUMNS = "sym, n, volume, high, low, bid, ask, spread"
def rows(port):
    try: return sorted(ask(port, "select %s from aggregate" % COLUMNS), key=lambda r: r[1])
    except QError as e:
        if "no table" in str(e) or "rebuil" in str(e): return []
        raise

class Market:
    """What is published, and what is to come of it."""
    def __init__(self):
        self.p, self.rng, self.n, self.want, self.clean = Client(), random.Random(5), 0, [], []
        self.open_day()
    def open_day(self): self.of = {}
    def publish(self, batches):
        for _ in range(batches):
            kind, k = self.rng.choice(["trade", "quote", "noise"]), self.rng.randrange(1, 30)
            syms = [self.rng.choice(["AAPL", "MSFT", "IBM", "F"]) if kind != "trade" else self.rng.choice(["AAPL", "MSFT", "IBM", "NOQUOTE"]) for _ in range(k)]
            n = list(range(self.n, self.n + k))
            self.n += k
            a = [self.rng.randrange(1000, 2000) / 8 for _ in range(k)]
            b = [x + self.rng.randrange(8) / 8 for x in a] if kind == "quote" else [self.rng.randrange(0, 5) for _ in range(k)]
            columns = {"trade": [K(9, a), K(7, b)], "quote": [K(9, a), K(9, b)], "noise": []}[kind]
            self.p(".u.upd", Sym(kind), [Syms(syms), K(7, n)] + columns)
            for sym, i, x, y in zip(syms, n, a, b):
                s = self.of.setdefault(sym, {"v": 0, "p": [], "b": None, "a": None})
                if kind == "noise" or kind == "trade" and y == 0: continue
                if kind == "trade":
                    s["v"] += y
                    s["p"].append(x)
                    self.clean.append((sym, i, x))
                else:
                    s["b"], s["a"] = max(x, s["b"] or x), min(y, s["a"] or y)
                if s["p"]: self.want.append((sym, i, s["v"], max(s["p"]), min(s["p"]), s["b"], s["a"], s["b"] and s["a"] - s["b"]))

def differs(got, want):
    return next(((g, w) for g, w in zip(got, want) if g != w), None) or "%d rows, not %d" % (len(got), len(want))

class Subscriber:
    """Of what is to come: where `before` rows were made already, its publisher may still have had the last of them to tell."""
    def __init__(self, port, before=0):
        self.c, self.got, self.before = Client(port=port), [], before
        self.c(".u.sub", Sym("aggregate"), Sym(""))
    def has(self, want):
        while True:
            m = self.c.recv(0)
            if m is None: break
            if m[0] == "upd" and m[1] == "aggregate": self.got += [r[1:] for r in values(m[2])]
        first = want.index(self.got[0]) if self.got and self.got[0] in want else self.before
        return first <= self.before and self.got == want[first:]

m = Market()
wait("the processor to run", lambda: penstock("rtp", "list")["groups"][0]["processes"][0]["state"] == "runs")
wait("the chained one", lambda: penstock("status", sock=os.environ["CHAINED"])["upstream"]["state"] == "penstock")
primary = Subscriber(5010)
m.publish(20) # the chained one takes tables over with their first rows
wait(lambda: "rows at the chained one: %s" % differs(rows(5014), m.want), lambda: m.want and rows(5014) == m.want)
chained = Subscriber(5013, len(m.want))

def all_there(note):
    for port in (5011, 5014): # both RDBs
        wait(lambda: "%s: rows at %d: %s" % (note, port, differs(rows(port), today)), lambda: rows(port) == today)
    for s, name in ((primary, "the primary"), (chained, "the chained one")):
        wait(lambda: "%s: a subscriber of %s: %s" % (note, name, differs(s.got, m.want[-len(s.got):])), lambda: s.has(m.want))

m.publish(80)
today = m.want
all_there("first rows")
assert any(r[5] is None for r in today) and any(r[5] is not None for r in today)
assert sorted(ask(5011, "select sym, n, price from clean"), key=lambda r: r[1]) == m.clean
assert {r[0] for r in today} == {"AAPL", "MSFT", "IBM", "NOQUOTE"}
# the process is killed, and started again by hand: it goes on where it was
os.kill(penstock("rtp", "list")["groups"][0]["processes"][0]["pid"], signal.SIGKILL)
m.publish(40)
all_there("a kill")
penstock("rtp", "restart", "rte")
m.publish(40)
all_there("a restart")
# the day ends on the primary, and with it on the chained one
day = penstock("status")["day"]
penstock("eod", "run", "--yes")
for port in (5012, 5015): # both HDBs
    wait(lambda: "rows in the database at %d: %s" % (port, differs(rows(port), today)), lambda: rows(port) == today, 60)
    assert {str(d[0]) for d in ask(port, "select distinct date from aggregate")} == {str(d[0]) for d in ask(port, "select distinct date from trade")}
wait("memory to be free of it", lambda: not rows(5011) and not rows(5014))
# the next day begins anew
m.open_day()
before = len(m.want)
m.publish(20)
today = m.want[before:]
all_there("the next day")
for port in (5012, 5015): assert len(rows(port)) == before, port
print("ex05: %d aggregates of %d rows; in memory, at subscribers, chained, in both databases" % (len(m.want), m.n))
