# SPDX-License-Identifier: Apache-2.0
"""The cases of analytics.sh. Rows of trade carry a number n that counts up; what a client merged is compared with what
the rows of the log below its position give."""
import bisect, collections, json, os, random, select, signal, socket, struct, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import numpy as np
from kdbclient import Client, Dict, K, QError, Sym, Syms, encode
from streamclient import Streams, params, table_rows

BIN, SOCK, WORK = os.environ["BIN"], os.environ["SOCK"], os.environ["WORK"]

def penstock(*args):
    r = subprocess.run([BIN + "/penstock", "--socket", SOCK, "--json", *args], capture_output=True, text=True)
    assert r.stdout.strip(), (args, r.stderr)
    return json.loads(r.stdout)
def groups(): return {g["group"]: g for g in penstock("rtp", "list")["groups"]}
def beat(group): # sums over the group's processes
    b = collections.Counter()
    for p in groups()[group]["processes"]: b.update(p["beat"])
    return b
def pids(group): return [p["pid"] for p in groups()[group]["processes"]]
def counts(group="prove", processes=1):
    """What the plugin counted, over all processes."""
    total = collections.Counter()
    for k in range(processes):
        r = penstock("rtp", "call", "%s/%d" % (group, k), "prove.counts")
        total.update({row[0]: row[1] for row in r["rows"]})
    return total
def wait(what, condition, seconds=20):
    end = time.time() + seconds
    while True:
        v = condition()
        if v: return v
        assert time.time() < end, "waited in vain for %s" % (what() if callable(what) else what)
        time.sleep(0.02)
def running(group, n=1):
    of = lambda: groups()[group]
    wait(lambda: "%s to run: %s" % (group, (of()["why"], of()["trouble"], [(p["state"], p["pid"], p["restarts"]) for p in of()["processes"]])),
         lambda: sum(p["state"] == "runs" for p in of()["processes"]) == n, 30)
def error(words, f, *args, **kw):
    try: f(*args, **kw)
    except QError as e:
        assert words in str(e), (words, str(e))
        return
    raise AssertionError("no error: " + words)
def upd(p, table, *columns):
    p(".u.upd", Sym(table), list(columns))

class Trades:
    """Publishes rows of trade, numbered."""
    def __init__(self, c, syms, first=0):
        self.c, self.syms, self.n, self.rng = c, syms, first, random.Random(first + 1)
    def columns(self, rows):
        k = np.arange(self.n, self.n + rows)
        self.n += rows
        return [Syms([self.rng.choice(self.syms) for _ in range(rows)]), K(7, k), K(7, (k * 7919) % 1000)]
    def send(self, rows): self.c.send(".u.upd", Sym("trade"), self.columns(rows))
    def sync(self, rows): self.c(".u.upd", Sym("trade"), self.columns(rows))

# ---- what the rows of the log give ----

class Truth:
    """Rows of trade in the order of the log, and what is below a position."""
    def __init__(self, log):
        c = Client(path=os.environ["UNIX"])
        marks = lambda: dict(zip(*c(".pst.watermark[]")))
        all_ = marks()["committed"]
        wait("the log to have what was published", lambda: marks()["durable"] >= all_, 60)
        c.close()
        p = subprocess.Popen([BIN + "/penstock", "log", "dump", log, "trade", "--json"], stdout=subprocess.PIPE, text=True)
        self.pos, self.n, self.sym, self.size = [], [], [], []
        for line in p.stdout:
            r = json.loads(line)
            if r.get("table") != "trade" or "n" not in r: continue
            self.pos.append(r["position"]); self.n.append(r["n"]); self.sym.append(r["sym"]); self.size.append(r["size"])
        assert p.wait() == 0
        assert self.pos == sorted(self.pos)
        self.made = {}
    def of(self, mod):
        """By symbol: positions, numbers, running sums."""
        if mod not in self.made:
            d = {}
            for pos, n, sym, size in zip(self.pos, self.n, self.sym, self.size):
                if n % mod: continue
                x = d.setdefault(sym, ([], [], [], [0]))
                x[0].append(pos); x[1].append(n); x[2].append(size); x[3].append(x[3][-1] + size)
            self.made[mod] = d
        return self.made[mod]
    def keyed(self, name, asked, position):
        """{(sym,): (n, rows, size)} of prove.* below position."""
        out, syms = {}, asked.get("syms", [])
        for sym, (pos, n, size, total) in self.of(asked.get("mod", 1)).items():
            k = bisect.bisect_left(pos, position)
            if k and (not syms or sym in syms):
                out[(sym,)] = (n[k - 1], k, total[k]) if name in ("prove.sum", "prove.timer") else (n[k - 1], 1, size[k - 1])
        return out
    def events(self, asked, first, position):
        a, b = bisect.bisect_left(self.pos, first), bisect.bisect_left(self.pos, position)
        syms, mod = asked.get("syms", []), asked.get("mod", 1)
        return [(self.sym[i], self.n[i]) for i in range(a, b) if self.n[i] % mod == 0 and (not syms or self.sym[i] in syms)]

class Checkpoint:
    """What a client had at a position."""
    def __init__(self, s):
        self.name, self.asked, self.mode, self.position, self.first = s.name, s.asked, s.mode, s.position, s.snap_position
        self.state = {k: (r[2], r[3], r[4]) for k, r in s.state.items()}
        self.events = [(r[0], r[2]) for r in s.events]
        self.said = "%s %s %s at %s (snapshot at %s; %d states, %d updates, %s)" % (s.name, s.asked, s.mode, s.position, s.snap_position, s.snaps, s.updates, s.notices)
    def check(self, truth):
        if self.mode == "events": want, got = truth.events(self.asked, self.first, self.position), self.events
        else: want, got = truth.keyed(self.name, self.asked, self.position), self.state
        if want == got: return
        if self.mode == "events": d = (len(want), len(got), sorted(set(want) - set(got))[:5], sorted(set(got) - set(want))[:5])
        else: d = [(k, "want", want.get(k), "got", got.get(k)) for k in sorted(set(want) | set(got)) if want.get(k) != got.get(k)][:5]
        raise AssertionError("%s: %s" % (self.said, d))

# ---- the textbook ----

def textbook():
    running("cpu"); running("prove")
    p = Client(path=os.environ["UNIX"])
    upd(p, "cpu", Syms(["alpha", "beta", "gamma"]), K(9, [10, 20, 30]))
    loads = lambda s: {k[0]: r[s.columns.index("load")] for k, r in s.state.items()}
    a, b = Streams(path=os.environ["UNIX"]), Streams()
    assert any(x["name"] == ".cpu.sub" and x["group"] == "cpu" and x["key"] == "sym" for x in a.table(".sa.list")), a.table(".sa.list")
    sa = a.sub(".cpu.sub")
    sb = b.sub(".cpu.sub", {"syms": ["alpha"]}, direct=True) # as a q process calls it
    assert sa.mode == sb.mode == "delta" and sa.key == ["sym"] and sa.id != sb.id
    # the first thing is the snapshot: three servers, and one
    a.until("the snapshot", lambda: sa.snaps); b.until("the snapshot", lambda: sb.snaps)
    assert loads(sa) == {"alpha": 10, "beta": 20, "gamma": 30} and loads(sb) == {"alpha": 10}, (sa.state, sb.state)
    # one update: what changed to whom it concerns, nothing to the other
    upd(p, "cpu", Syms(["beta"]), K(9, [25]))
    a.until("the update", lambda: sa.updates)
    assert sa.rows == 4 and loads(sa) == {"alpha": 10, "beta": 25, "gamma": 30}, sa.state
    # a late joiner of the same stream: the state first, also of servers that do not change any more; nobody else is asked again
    c = Streams()
    sc = c.sub(".cpu.sub", {"syms": []}, direct=True)
    assert sc.id == sa.id
    c.until("the snapshot", lambda: sc.snaps)
    assert loads(sc) == {"alpha": 10, "beta": 25, "gamma": 30} and sc.updates == 0
    assert [x["clients"] for x in a.table(".sa.streams") if x["id"] == sa.id] == [2], a.table(".sa.streams")
    # full state, both ways: the analytic's own parameter, and the query manager's
    d, e = Streams(), Streams()
    sd, se = d.sub(".cpu.sub", {"full": True}), e.sub(".cpu.sub", mode="full")
    assert sd.mode == se.mode == "full" and sd.id != sa.id != se.id
    d.until("the snapshot", lambda: sd.snaps); e.until("the snapshot", lambda: se.snaps)
    upd(p, "cpu", Syms(["gamma", "alpha"]), K(9, [35, 15]))
    want = {"alpha": 15, "beta": 25, "gamma": 35}
    for on, s, rows in ((a, sa, 2), (c, sc, 2), (d, sd, 3), (e, se, 3)):
        before = s.rows
        on.until("the second update", lambda: loads(s) == want)
        assert s.rows - before == rows, (s.asked, s.mode, s.rows, before)
    b.until("its own server's", lambda: loads(sb) == {"alpha": 15})
    assert sb.updates == 1 and sb.rows == 2, "an empty result was sent: %d updates" % sb.updates
    assert sa.snaps == 1
    # the snapshot again, by its id, as an answer
    again = a.c(".sa.snapshot", sa.id)
    assert again[0] == sa.id and {r[0]: r[2] for r in table_rows(again[1])[1]} == want, again
    # unsubscribed: nothing more comes; the others go on
    c.unsub(sc)
    upd(p, "cpu", Syms(["alpha"]), K(9, [16]))
    a.until("the third update", lambda: loads(sa)["alpha"] == 16)
    c.c("tables[]"); c.take(0.1)
    assert not c.others and sc.updates == 1, c.others
    error("there is no stream", c.c, ".sa.unsub", sc.id)
    # disconnected without a word: killed
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "listen"], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "listening\n"
    assert len([1 for x in a.table(".sa.streams") if "syms=gamma" in x["parameters"]]) == 1, a.table(".sa.streams")
    child.kill(); child.wait()
    wait("the killed client's stream to end", lambda: not [1 for x in a.table(".sa.streams") if "syms=gamma" in x["parameters"]])
    for x in (a, b, d, e): x.close()
    q = Streams()
    wait("all streams to end", lambda: not q.table(".sa.streams"))
    wait("the process to know", lambda: beat("cpu")["subscriptions"] == 0)
    error("no parameter", q.sub, ".cpu.sub", {"server": ["alpha"]})
    error("no streaming analytic", q.sub, ".cpu.subs")

    # no subscriber, no work: counted by the plugin
    t = Trades(p, ["A", "B", "C"])
    t.sync(1000)
    wait("the process to come by", lambda: beat("prove")["position"] > 0)
    assert counts()["rows"] == counts()["computed"] == counts()["frames"] == 0, counts()
    x, y = Streams(), Streams()
    s1, s2 = x.sub("prove.last"), y.sub("prove.last")
    assert s1.id == s2.id
    assert counts()["subscribed"] == 1, counts()
    for on, s in ((x, s1), (y, s2)): on.until("the snapshot", lambda: s.snaps)
    had = counts()
    t.sync(500)
    for on, s in ((x, s1), (y, s2)): on.until("all rows", lambda: max(r[2] for r in s.state.values()) == 1499)
    now = counts()
    assert now["rows"] - had["rows"] == now["computed"] - had["computed"] == 500, (had, now) # once, for two clients
    # rows that no subscription wants: computed, not sent
    z = Streams()
    sz = z.sub("prove.last", {"syms": ["nobody"]})
    z.until("the snapshot", lambda: sz.snaps)
    now = counts()
    t.sync(100)
    x.until("all rows", lambda: max(r[2] for r in s1.state.values()) == 1599)
    assert counts()["computed"] == now["computed"] + 200
    z.take(0.1)
    assert sz.updates == 0 and sz.state == {}
    for on in (x, y, z): on.close()
    wait("the streams to end", lambda: not q.table(".sa.streams"))
    wait("the plugin to be told", lambda: counts()["live"] == 0)
    had = counts()
    t.sync(1000)
    w = penstock("status")
    wait("the process to come by", lambda: beat("prove")["position"] >= max(beat("cpu")["position"], 1))
    assert counts() == had, (had, counts())
    assert had["subscribed"] == had["unsubscribed"] == 2
    # switched on, debugging is in the daemon's log
    for on in ("on", "off"): assert "done" in penstock("rtp", "debug", "prove", on)
    print("textbook")

def listen():
    s = Streams()
    x = s.sub(".cpu.sub", {"syms": ["gamma"]})
    s.until("the snapshot", lambda: x.snaps)
    print("listening", flush=True)
    while True: s.take(1)

# ---- joins ----

SYMS = ["S%02d" % i for i in range(12)]

def feed(seed, user, password):
    """Publishes until its input is closed; bursts and pauses."""
    rng = random.Random(int(seed))
    t = Trades(Client(user=user, password=password), SYMS)
    said = False
    while not select.select([sys.stdin], [], [], rng.choice([0, 0.002, 0.005, 0.01]))[0]:
        # who subscribes reads the day so far: on a slow machine that must not grow for ever
        t.send(rng.choice([1, 3, 20, 100, 700]) if t.n < 300000 else 1)
        if not said and t.n > 2000:
            print("on", flush=True)
            said = True
        if t.n % 7 == 0: t.c.send(".u.upd", Sym("other"), [Syms(["X"] * 50), K(7, np.arange(50))])
    t.c(None)
    print(t.n)

def choice(rng):
    name = rng.choice(["prove.last", "prove.sum", "prove.timer", "prove.rows", "prove.mine"])
    d = {}
    k = rng.randrange(6)
    if k == 1: d["syms"] = SYMS[:2]
    if k == 2: d["syms"] = [SYMS[3]]
    if k == 3: d["mod"] = 7
    if k == 4: d = {"mod": 1, "syms": []} # the same as none
    if name != "prove.rows" and rng.random() < 0.15: d["full"] = True
    return name, d

def canonical(name, d, user):
    return (name, tuple(d.get("syms", [])), d.get("mod", 1), bool(d.get("full")), user if name == "prove.mine" else "")

def joins(seed, total):
    total, rng = int(total), random.Random(int(seed))
    running("prove", 2)
    feeder = subprocess.Popen([sys.executable, os.path.abspath(__file__), "feed", str(seed), "ann", "secret-ann"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert feeder.stdout.readline() == "on\n"
    users = ["ann", "bob", "carl"]
    admin = Streams(user="ann", password="secret-ann")
    connect = lambda u: Streams(user=u, password="secret-" + u)
    on = [[u, connect(u)] for u in users for _ in range(3)]
    live = collections.Counter() # canonical -> clients
    computations = joined = left = dropped = most = 0
    points, keys = [], {}
    def leave(s, key):
        live[key] -= 1
        if not live[key]: del live[key]
    while joined + left < total:
        i = rng.randrange(len(on))
        user, c = on[i]
        for _, x in on: x.take()
        mine = list(c.streams.values())
        r = rng.random()
        if r < 0.02 and mine: # the connection goes, without a word
            for s in mine:
                if s.seen: points.append(Checkpoint(s))
                leave(s, keys.pop((i, s.id)))
                left += 1
            if rng.random() < 0.5: c.c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) # a reset
            c.close()
            dropped += 1
            wait(lambda: "its clients to be gone: %s" % live, lambda: sum(x["clients"] for x in admin.table(".sa.streams")) == sum(live.values()))
            on[i][1] = connect(user)
        elif r < 0.5 and mine:
            s = rng.choice(mine)
            if rng.random() < 0.5: c.until("its state", lambda: s.seen)
            if s.seen: points.append(Checkpoint(s))
            c.unsub(s)
            leave(s, keys.pop((i, s.id)))
            left += 1
        elif len(mine) < 8:
            name, d = choice(rng)
            mode = {"mode": "full"} if name != "prove.rows" and not d.get("full") and rng.random() < 0.1 else {}
            before = set(c.streams)
            s = c.sub(name, d, direct=rng.random() < 0.3, **mode)
            joined += 1
            if s.id in before: continue # it has it already
            key = canonical(name, d, user)
            keys[(i, s.id)] = key
            computations += not live[key]
            live[key] += 1
            most = max(most, len(live))
    for _, x in on:
        x.take()
        for s in x.streams.values():
            x.until("its state", lambda: s.seen)
    feeder.stdin.close()
    n = int(feeder.stdout.read())
    assert feeder.wait() == 0 and n > 2000
    # all is there: the last position of those that get every row
    last = [s for _, x in on for s in x.streams.values()]
    admin_s = admin.sub("prove.last")
    admin.until("the last row", lambda: admin_s.state and max(r[2] for r in admin_s.state.values()) == n - 1)
    for _, x in on:
        for s in x.streams.values():
            if not s.asked.get("syms") and s.asked.get("mod", 1) == 1 and s.mode != "events":
                x.until("the last row", lambda: max(r[2] for r in s.state.values()) == n - 1)
        x.take(0.05)
        points.extend(Checkpoint(s) for s in x.streams.values())
    computations += not live[canonical("prove.last", {}, "")]
    c = counts("prove", 2)
    assert c["subscribed"] == computations, "%d computations for %d: %s" % (c["subscribed"], computations, c)
    assert c["live"] == len(live) + (not live[canonical("prove.last", {}, "")]), (c, len(live))
    notices = [s.notices for s in last if s.notices]
    assert not notices, notices
    truth = Truth(os.environ["LOG"])
    assert truth.n == list(range(n)), (len(truth.n), n)
    for x in points: x.check(truth)
    assert any(x.mode == "full" for x in points) and any(x.mode == "events" and x.events for x in points)
    print("joins: %d joins, %d leaves, %d connections dropped, %d states compared; %d computations (%d at once at most) for %d rows" % (
        joined, left, dropped, len(points), computations, most, n))
    for _, x in on: x.close()
    admin.close()
    q = Streams(user="ann", password="secret-ann")
    wait("the streams to end", lambda: not q.table(".sa.streams"))
    wait(lambda: "the plugin to be told: %s" % counts("prove", 2), lambda: counts("prove", 2)["live"] == 0)
    c = counts("prove", 2)
    assert c["subscribed"] == c["unsubscribed"] == computations, c

# ---- modes ----

def modes():
    names = ["single", "round_robin", "least_loaded", "broadcast"]
    for m in names: running(m, 3)
    p = Client()
    t = Trades(p, ["T%02d" % i for i in range(40)])
    t.sync(500)
    c = Streams()
    streams = {m: [c.sub("prove.sum", {"mod": k}, group=m) for k in range(1, 7)] for m in names}
    for s in streams["broadcast"]: s.united = True
    for m in names:
        for s in streams[m]: c.until("the snapshot of " + m, lambda: s.snaps)
    where = lambda m: collections.Counter(str(x["process"]) for x in c.table(".sa.streams") if x["group"] == m)
    assert where("single") == {"0": 6}, where("single")
    assert where("round_robin") == {"0": 2, "1": 2, "2": 2}, where("round_robin")
    assert where("least_loaded") == {"0": 2, "1": 2, "2": 2}, where("least_loaded")
    assert where("broadcast") == {"all 3": 6}, where("broadcast")
    error("no", c.sub, "prove.sum", {}, group="nosuch")
    had = {m: counts(m, 3) for m in names}
    each = [counts("broadcast/%d" % k)["computed"] if 0 else penstock("rtp", "call", "broadcast/%d" % k, "prove.counts") for k in range(3)]
    for _ in range(20): t.sync(100)
    def whole(m):
        truth = Truth(os.environ["LOG"])
        for s in streams[m]:
            want = truth.keyed(s.name, s.asked, 1 << 62)
            try: c.until(m, lambda: {k: (r[2], r[3], r[4]) for k, r in s.state.items()} == want, 10)
            except AssertionError: Checkpoint(s).check(truth); raise
    for m in names:
        whole(m)
        now = counts(m, 3)
        assert now["computed"] - had[m]["computed"] == 6 * 2000, (m, had[m], now) # each row once for each stream, wherever
    parts = [{r[0]: r[1] for r in penstock("rtp", "call", "broadcast/%d" % k, "prove.counts")["rows"]}["computed"] - {r[0]: r[1] for r in each[k]["rows"]}["computed"] for k in range(3)]
    assert all(0 < x < 12000 for x in parts), parts # its stripe of the symbols, each
    # a process dies: its streams go to another one, or wait for it; clients are told and get a state
    for m in names:
        before = {s.id: s.snaps for s in streams[m]}
        of = {x["id"]: str(x["process"]) for x in c.table(".sa.streams")}
        os.kill(pids(m)[0], signal.SIGKILL)
        hit = [s for s in streams[m] if of[s.id] in ("0", "all 3")]
        for s in hit:
            c.until("moved (%s)" % m, lambda: any(k == "moved" for k, _ in s.notices) and s.snaps == before[s.id] + 1)
        assert all(not s.notices for s in streams[m] if s not in hit), m
        t.sync(100)
        whole(m)
        if m in ("single", "round_robin", "least_loaded"): assert "0" not in where(m) or m != "single", where(m)
        running(m, 3)
    assert not c.closed
    # what comes next goes to the one that has least
    s = c.sub("prove.last", group="least_loaded")
    assert where("least_loaded")["0"] == 1, where("least_loaded")
    # none is left: clients wait, and go on when one is there again
    for m in ("single", "broadcast"):
        before = {s.id: s.snaps for s in streams[m]}
        for pid in pids(m): os.kill(pid, signal.SIGKILL)
        t.sync(50)
        for s in streams[m]: c.until("all of %s are back" % m, lambda: s.snaps > before[s.id], 30)
        whole(m)
    c.close()
    print("modes: broadcast %s" % parts)

# ---- rights ----

def rights():
    running("prove")
    connect = lambda u: Streams(user=u, password="secret-" + u)
    ann, bob, carl, dora, eve = [connect(u) for u in ("ann", "bob", "carl", "dora", "eve")]
    t = Trades(ann.c, ["A", "B"])
    t.sync(100)
    # who may not read the table, or not call it, or sees only what is durable, is refused; .sa.list shows what may be called
    error("access", carl.sub, "prove.last")
    error("access", dora.sub, "prove.last")
    error("durable", eve.sub, "prove.last")
    assert {x["name"] for x in dora.table(".sa.list")} == {"prove.sum"}, dora.table(".sa.list")
    # equal rights, one computation
    a, b = ann.sub("prove.last"), bob.sub("prove.last")
    assert a.id == b.id
    assert counts()["subscribed"] == 1, counts()
    for c, s in ((ann, a), (bob, b)): c.until("the snapshot", lambda: s.snaps)
    # of what depends on the user there are two
    am, bm = ann.sub("prove.mine"), bob.sub("prove.mine")
    assert am.id != bm.id
    assert counts()["subscribed"] == 3, counts()
    d = dora.sub("prove.sum")
    for c, s in ((ann, am), (bob, bm), (dora, d)): c.until("the snapshot", lambda: s.snaps)
    t.sync(50)
    for c, s in ((ann, a), (bob, b), (bob, bm), (dora, d)): c.until("the rows", lambda: s.state and max(r[2] for r in s.state.values()) == 149)
    # streams of others are theirs; who may read all sees all
    assert len(ann.table(".sa.streams")) == 4 and len(bob.table(".sa.streams")) == 2, bob.table(".sa.streams")
    error("there is no stream", carl.c, ".sa.unsub", a.id)
    error("there is no stream", carl.c, ".sa.snapshot", a.id)
    # rights are taken away while it runs: nothing more comes, and the others do not notice
    path = WORK + "/users.yaml"
    text = open(path).read()
    i = text.index('"bob":')
    with open(path + ".new", "w") as f: f.write(text[:i] + text[i:].replace("tables: [trade]", "tables: [cpu]", 1))
    assert open(path + ".new").read() != text, text
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)
    penstock("config", "reload")
    end = time.time() + 10
    while not bob.closed and not (b.ended and bm.ended):
        assert time.time() < end, "bob still has his streams: %s" % ann.table(".sa.streams")
        bob.take(0.05)
    wait("his streams to end", lambda: sum(x["clients"] for x in ann.table(".sa.streams")) == 3)
    t.sync(50)
    ann.until("the rows", lambda: max(r[2] for r in a.state.values()) == 199)
    bob.take(0.1)
    assert max(r[2] for r in b.state.values()) == 149
    again = connect("bob")
    error("access", again.sub, "prove.last")
    wait("his own computation to end", lambda: counts()["live"] == 3)
    rows = {"ann": a.rows, "bob": b.rows}
    ann.unsub(a)
    ann.c(None)
    for c in (ann, carl, dora, eve, again): c.close()
    # what each of them got stands in the access log
    def log():
        out = []
        for f in os.listdir(WORK + "/state"):
            if ".access." in f: out += [json.loads(l) for l in open(WORK + "/state/" + f)]
        return out
    of = lambda user, event, words: [x for x in log() if x.get("user") == user and x["event"] == event and words in x.get("text", "") + x.get("reason", "")]
    for user in ("ann", "bob"):
        wait("subscribe of " + user, lambda: of(user, "subscribe", "stream prove.last"))
        x = wait("unsubscribe of " + user, lambda: of(user, "unsubscribe", "stream prove.last"))
        assert x[0].get("rows") == rows[user] and x[0].get("bytes", 0) > 0, (x, rows)
    for user in ("carl", "dora", "bob"): wait("deny of " + user, lambda: of(user, "deny", "prove.last"))
    print("rights")

if __name__ == "__main__":
    {"textbook": textbook, "listen": listen, "joins": joins, "feed": feed, "modes": modes, "rights": rights}[sys.argv[1]](*sys.argv[2:])
