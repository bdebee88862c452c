#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ipc-rdb.py DIR PENSTOCK ROUNDS SEED: simulated r.q processes, restarted at random times under load; each
subscribes and asks for .u.i and .u.L in one string as r.q does, replays the first i messages of L from the
file itself, then takes live updates. Its tables must be each row of the day once, in order, and in the end
exactly what SQL says. In between: kill -9 of the daemon, clean restarts, ends of day, a log directory that
goes away. Feeds number their rows in `size`."""
import json, os, random, signal, subprocess, sys, threading, time
import numpy as np
from kdbclient import Client, K, Sym, Syms, Table, decode

work, penstock, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
CONNECTION = "(.u.sub[`;`];`.u `i`L)"
daemon = [int(open(work + "/daemon.pid").read())]


def p(*args):
    r = subprocess.run([penstock, "--socket", work + "/s.sock", *args], capture_output=True, text=True)
    return json.loads(r.stdout) if "--json" in args and r.returncode in (0, 1) else r.stdout


def until(what, fn, seconds=30):
    end = time.time() + seconds
    while True:
        try:
            got = fn()
        except (OSError, EOFError):
            got = None
        if got:
            return got
        assert time.time() < end, what() if callable(what) else what
        time.sleep(0.02)


def connect():
    return until("connect", lambda: Client(port=5010, timeout=20))


# ---- r.q ----

class Rdb:
    def __init__(self):
        self.q = connect()
        self.tables, self.ended, self.first = {}, [], dict(first)
        subscribed, (self.i, self.log) = self.q(CONNECTION)
        for name, schema in subscribed:
            self.tables[name] = {c: [] for c in schema}
        self.replayed = 0
        if self.i != -2**63:
            self.replay()

    def upd(self, name, data):
        columns = data.values() if isinstance(data, Table) else data
        table = self.tables[name]
        assert len(columns) == len(table), (name, len(columns), list(table))
        for c, v in zip(table, columns):
            table[c] += list(v)

    def replay(self):
        assert self.log.startswith(":" + work + "/kdb/sym") and self.log[-10:].count(".") == 2, self.log  # r.q cuts the date off
        b = open(self.log[1:], "rb").read()
        assert b[:8] == b"\xff\x01\0\0\0\0\0\0"
        at = 8
        for _ in range(self.i):
            m, at = decode(b, at)
            assert m[0] == "upd" and isinstance(m[2], list) and not isinstance(m[2], Table), m
            self.upd(m[1], m[2])
            self.replayed += 1

    def take(self, seconds):
        """Live messages for so long."""
        end = time.time() + seconds
        while time.time() < end:
            m = self.q.recv(max(0.01, end - time.time()))
            if m is None:
                return
            if m[0] == "upd":
                assert isinstance(m[2], Table), m
                self.upd(m[1], m[2])
            elif m[0] == ".u.end":
                self.ended.append(int(m[1]))
                self.first = dict(first)
                for t in self.tables.values():
                    for c in t:
                        t[c] = []

    def check(self, what):
        for name in ("trade", "quote"):
            n = [int(x) for x in self.tables[name]["size"]]
            if n:
                assert n == list(range(n[0], n[0] + len(n))), (
                    what, name, len(n), "i=%d" % self.i, [(a, b) for a, b in zip(n, n[1:]) if b != a + 1][:4])
                assert n[0] == self.first[name], (what, name, n[0], self.first[name])


# ---- feeds: one a table, sync, numbering; each goes on behind what the journal holds ----

stop, pause, paused = threading.Event(), threading.Event(), {}
first = {"trade": 0, "quote": 0}  # number of the first row of the open day


def feed(table):
    r, n, c = random.Random(table), 0, None
    while not stop.is_set():
        if pause.is_set():
            paused[table] = n
            time.sleep(0.005)
            continue
        paused.pop(table, None)
        try:
            if not c:
                c = connect()
                if p("rdb", "--json")["rebuild_to"]:  # SQL does not know all rows yet
                    c = None
                    time.sleep(0.02)
                    continue
                t = c("s)select max(size) m from %s" % table)["m"]
                n = 0 if int(t[0]) == -2**63 else int(t[0]) + 1
            k = r.choice((1, 1, 1, 2, 10, 200))
            now = int((time.time() - 946684800) * 10**9)
            c.send(".u.upd", Sym(table), [K(12, now + np.arange(k)), Syms(r.choice(("AAPL", "IBM", "MSFT")) for _ in range(k)),
                                          K(9, [r.random() for _ in range(k)]), K(7, range(n, n + k))])
            n += k
            if r.random() < 0.02:
                c("")
                time.sleep(r.random() * 0.02)
        except Exception:  # the daemon went: what it took is asked for at the next start
            c = None
            time.sleep(0.02)


def settle():
    """All rows that were sent are in the journal and in memory: their numbers."""
    pause.set()
    until("feeds pause", lambda: len(paused) == 2)
    for t in ("trade", "quote"):
        until(lambda: "rows of %s" % t, lambda: paused.get(t) == 0 or Client(port=5010)("s)select max(size) m from " + t)["m"][0] == paused[t] - 1)


def equal(what):
    """A fresh r.q and SQL, row for row."""
    settle()
    day = p("eod", "--json")["calendars"][0]["open"]
    r, q = Rdb(), connect()
    for name in ("trade", "quote"):
        want = q("s)select time, sym, price, size from %s where date = '%s' order by size" % (name, day))
        end = time.time() + 10
        while len(r.tables[name]["size"]) < len(want["size"]) and time.time() < end:
            r.take(0.05)
        r.check(what)
        for c in ("time", "sym", "price", "size"):
            assert list(r.tables[name][c]) == list(want[c]), (what, name, c, len(want[c]), len(r.tables[name][c]))
    r.q.close()
    q.close()
    pause.clear()
    return r


def ends_day(day, said):
    r = subprocess.run([penstock, "--socket", work + "/s.sock", "eod", "run", day, "--yes"], capture_output=True, text=True)
    said[0] = r.stdout + r.stderr
    return r.returncode == 0


def start():
    log = open(work + "/daemon.log", "a")
    d = subprocess.Popen([os.path.dirname(penstock) + "/penstockd", "--config", work + "/p.yaml"], stdout=log, stderr=log)
    daemon[0] = d.pid
    open(work + "/daemon.pid", "w").write(str(d.pid))
    return d


threads = [threading.Thread(target=feed, args=(t,), daemon=True) for t in ("trade", "quote")]
for t in threads:
    t.start()
child = None
live = []
replays = 0
try:
    for n in range(rounds):
        time.sleep(rng.random() * 0.15)
        r = Rdb()
        replays += r.replayed
        r.take(rng.random() * 0.2)
        r.check("round %d" % n)
        live.append(r)
        if len(live) > 3:  # some stay for a while
            old = live.pop(rng.randrange(3))
            old.take(0.05)
            old.check("round %d, an older one" % n)
            old.q.close()
        if n % 10 == 4:
            equal("round %d" % n)
        if n % 10 == 6:  # the crash, and the clean restart
            for x in live:
                x.q.close()
            live = []
            if n % 20 == 6:
                os.kill(daemon[0], signal.SIGKILL)
            else:
                p("stop")
            if child:
                child.wait()
            else:
                until("the end of the daemon", lambda: subprocess.run(["kill", "-0", str(daemon[0])], stderr=subprocess.DEVNULL).returncode or
                      open("/proc/%d/stat" % daemon[0]).read().split()[2] == "Z")
            child = start()
            until("the daemon", lambda: p("status", "--json"))
        if n % 10 == 8:  # an end of day under load: who stays is told, who comes begins with the new day
            settle()
            staying = live[-1]
            staying.take(0.1)
            for t in first:
                first[t] = paused[t]
            said, day = [""], p("eod", "--json")["calendars"][0]["open"]
            until(lambda: "eod run: " + said[0], lambda: ends_day(day, said))
            until("the end of day at the subscriber", lambda: staying.take(0.1) or staying.ended)
            assert not staying.tables["trade"]["size"]
            pause.clear()
            staying.take(0.1)
            staying.check("behind the end of day")
            for x in live[:-1]:
                x.take(0.05)
            equal("behind the end of day")
    # the directory goes away: an alarm, capture and subscribers go on; it comes back
    last = equal("at the end")
    os.rename(work + "/kdb", work + "/away")
    until("the alarm", lambda: any(a["code"] == "kdb_log.stopped" for a in p("alarms", "--json")["raised"]))
    r = connect()
    assert r(".u `i`L")[0] == -2**63
    os.rename(work + "/away", work + "/kdb")
    until("the alarm's end", lambda: not any(a["code"] == "kdb_log.stopped" for a in p("alarms", "--json")["raised"]))
    equal("with the directory back")
finally:
    stop.set()
    pause.clear()
print("r.q: %d restarts, %d messages replayed, %d rows in the end" % (rounds, replays, sum(len(t["size"]) for t in last.tables.values() if "size" in t)))
