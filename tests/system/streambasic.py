# SPDX-License-Identifier: Apache-2.0
"""The cases of stream-basic.sh. Rows of trade are numbered (size n, sym S<n % SYMS>); the truth is read from the
log's bytes here, frame by frame, so that what a client has can be held against the journal at every position."""
import glob, json, os, random, re, signal, struct, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import numpy as np
from kdbclient import Client, Dict, K, QError, Sym, Syms, Table, encode

SYMS, PORT = 20, 5010
names = ["S%d" % i for i in range(SYMS)]
random.seed(int(os.environ.get("SEED", "1")))

def penstock(*args):
    r = subprocess.run([os.environ["BIN"] + "/penstock", "--socket", os.environ["SOCK"], *args], capture_output=True, check=False)
    return r.stdout.decode(), r.stderr.decode(), r.returncode
def show(*args): return json.loads(penstock("--json", *args)[0])
def wait(what, condition, seconds=20):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain for " + what
        time.sleep(0.02)
def processes():
    return [g for g in show("rtp", "list")["groups"] for g in g["processes"]]

# ---- the journal ----

def journal():
    """[(position, end, [n…])] of the frames with rows of trade, in order."""
    frames = {}
    for path in sorted(glob.glob(os.environ["LOG"] + "/log[0-9i]*")):
        b = open(path, "rb").read()
        at = 0
        while at + 32 <= len(b):
            length, position = struct.unpack_from("<IQ", b, at + 4)
            kind, stream, source, count = struct.unpack_from("<BBHH", b, at + 24)
            if length < 32 or at + length > len(b) or not kind:
                break
            if kind == 1 and stream != 255 and source >= 32 and source < 40:  # the publish threads' rows
                rows, r = [], at + 32
                while r < at + length:
                    table, size = struct.unpack_from("<HH", b, r)
                    if table > 1 and size == 32:
                        rows.append(struct.unpack_from("<q", b, r + 24)[0])
                    r += size
                frames[position] = (position, position + length, rows)
            at += length + 7 & ~7
    return [frames[p] for p in sorted(frames)]

# ---- publishing ----

class Load(threading.Thread):
    """Numbered rows, in batches of some, until stopped."""
    def __init__(self, pause=0.002, most=8):
        super().__init__(daemon=True)
        self.c, self.n, self.pause, self.most, self.over = Client(port=PORT), 0, pause, most, False
        self.rand = random.Random(7)
    def some(self, n):
        k = np.arange(self.n, self.n + n)
        self.c.send(".u.upd", Sym("trade"), [Syms([names[i % SYMS] for i in k]), K(9, k * 0.5), K(7, k)])
        self.n += n
    def run(self):
        while not self.over:
            self.some(self.rand.randint(1, self.most))
            time.sleep(self.pause)
    def stop(self):
        self.over = True
        self.join()
        self.c(None)
        return self.n

# ---- clients ----

def params(syms=None, **more):
    d = {"table": Sym("trade"), **more}
    if syms is not None:
        d["syms"] = Syms(syms)
    keys = list(d)
    random.shuffle(keys)  # makes no difference
    return Dict((Syms(keys), [d[k] for k in keys]))
def options(**o): return Dict((Syms(o), list(o.values())))
def subscribe(c, name, p, o=None):
    return dict(zip(*(c(".sa.sub", Sym(name), p, o) if o else c(".sa.sub", Sym(name), p))))
def columns(t):
    """Of a table or a keyed one."""
    if isinstance(t, Dict):
        return {**t[0], **t[1]}
    return t

class Told:
    """What one client was told of one stream: [(kind, position, [n…])]."""
    def __init__(self, name, syms, mode="delta"):
        self.name, self.syms, self.mode, self.id, self.said, self.moved, self.resync = name, syms, mode, None, [], 0, 0
        self.closed = None
    def takes(self, m):
        if m[0] == ".sa.notice":
            self.moved += m[2] == "moved"
            self.resync += m[2] == "resync"
            assert m[2] != "stopped", m
            behind = re.search(r"events behind position (\d+), up to that of the next state", m[3]) if m[2] == "moved" else None
            assert m[2] != "moved" or bool(behind) == (self.name == "filter"), m
            self.said.append((m[2], None, behind and int(behind[1])))
            return
        assert m[0] in (".sa.snap", ".sa.upd"), m
        n = [int(x) for x in np.asarray(columns(m[2])["size"])]
        self.said.append((m[0], int(m[3]), n))
    def check(self, frames):
        """Everything that it had, at every position."""
        ours = set(range(SYMS)) if not self.syms else {int(s[1:]) for s in self.syms}
        have, truth, f, before, since, got = None, {}, 0, 0, None, []
        for kind, position, rows in self.said:
            if position is None:
                if self.name == "filter" and kind == "moved":
                    since, k = None, f
                    assert rows >= before, "the hole begins before what was told"
                    while k < len(frames) and frames[k][1] <= rows:
                        assert not [n for n in frames[k][2] if n % SYMS in ours], "something before the hole was not told"
                        k += 1
                continue
            assert position >= before, (self.id, position, before)
            was, before = before, position
            passed = []
            while f < len(frames) and frames[f][1] <= position:
                passed += [n for n in frames[f][2] if n % SYMS in ours]
                f += 1
            assert f == len(frames) or frames[f][0] >= position, "within a frame"
            for n in passed: truth[n % SYMS] = n
            if self.name == "filter":
                if kind == ".sa.snap": expect = []
                elif since is None: raise AssertionError("an update before a state")
                else: expect = pending + passed
                since, pending = position, []
                if kind == ".sa.snap": assert not rows
                else: assert rows == expect, (self.id, position, rows[:5], expect[:5])
                continue
            if kind == ".sa.snap" or self.mode == "full": have = {}
            for n in rows: have[n % SYMS] = n
            assert have == truth, "stream %s, %s (%s) at %d behind %d: %s; frames %s" % (self.id, kind, self.name, position, was, [(x[0], x[1], x[2]) for x in frames if x[1] > position - 400 and x[0] < position + 400], {k: (have.get(k), truth.get(k)) for k in ours if have.get(k) != truth.get(k)})
        return len(self.said)

class Reader(threading.Thread):
    """One connection with some streams."""
    def __init__(self, many):
        super().__init__(daemon=True)
        self.many, self.all, self.rand, self.error, self.over = many, [], random.Random(many * 31 + id(self) % 7), None, False
    def drain(self, c, live, seconds):
        end = time.time() + seconds
        while time.time() < end:
            m = c.recv(0.05)
            if m is not None: live[m[1]].takes(m)
    def once(self):
        c, live = Client(port=PORT, timeout=40), {}
        for _ in range(self.rand.randint(1, 4)):
            name, mode = self.rand.choice([("last", "delta"), ("last", "delta"), ("last", "full"), ("filter", "events")])
            syms = self.rand.choice([None, [], names[:5], names[3:9], ["S1"]])
            a = subscribe(c, name, params(syms, **({"history": True} if name == "last" else {})), options(mode=Sym("full")) if mode == "full" else None)
            assert a["mode"] == mode and a["name"] == name, a
            if a["id"] not in live:
                t = Told(name, syms, mode)
                t.id = a["id"]
                live[a["id"]] = t
                self.all.append(t)
            self.drain(c, live, self.rand.random() * 0.05)
        self.drain(c, live, self.rand.random() * 0.4)
        for i in list(live):
            if self.rand.random() < 0.5:
                c(".sa.unsub", i)
                while c.waiting:
                    m = c.recv()
                    live[m[1]].takes(m)
                del live[i]
                self.drain(c, live, 0.02)  # nothing of it comes behind the answer
        if self.rand.random() < 0.5: c.close()
        else: c.s.close()
    def run(self):
        try:
            for _ in range(self.many):
                if self.over: break
                self.once()
        except BaseException as e:
            self.error = e
            raise

def joins():
    load = Load()
    load.start()
    readers = [Reader(12) for _ in range(8)]
    for r in readers: r.start()
    stay = Client(port=PORT)
    kept = Told("last", None)
    kept.id = subscribe(stay, "last", params())["id"]
    for r in readers: r.join(60)
    last = load.stop() - 1
    while (m := stay.recv(0.5)): kept.takes(m)
    assert not any(r.error for r in readers), [r.error for r in readers]
    check([t for r in readers for t in r.all] + [kept], last)

def check(told, last):
    """last: of the rows that were published; the log is written behind."""
    wait("the log", lambda: (f := journal()) and any(last in x[2] for x in f[-50:]), 60)
    frames = journal()
    print("streams", len(told), "messages", sum(t.check(frames) for t in told), "frames", len(frames), "moved", sum(t.moved for t in told))

# ---- a process that dies ----

def kill():
    """Killed under load, time and again: everyone is told, and has a new state and what follows."""
    load = Load()
    load.start()
    c = [Client(port=PORT, timeout=60) for _ in range(6)]
    told = []
    for i, x in enumerate(c):
        name, mode, syms = [("last", "delta", None), ("last", "full", None), ("last", "delta", names[:5]), ("filter", "events", ["S1"]),
                            ("last", "delta", None), ("filter", "events", None)][i]
        t = Told(name, syms, mode)
        t.id = subscribe(x, name, params(syms), options(mode=Sym("full")) if mode == "full" else None)["id"]
        told.append(t)
    assert told[0].id == told[4].id
    def some(seconds):
        end = time.time() + seconds
        while time.time() < end:
            for x, t in zip(c, told):
                while (m := x.recv(0)): t.takes(m)
            time.sleep(0.005)
    for _ in range(3):
        before = [t.moved for t in told]
        some(0.5)
        os.kill(next(p["pid"] for p in processes() if p["pid"]), signal.SIGKILL)
        end = time.time() + 30
        while time.time() < end and not all(t.moved > b and t.said[-1][0] == ".sa.upd" for t, b in zip(told, before)): some(0.05)
        print("killed, back after %.1f s" % (time.time() - end + 30), flush=True)
        assert all(t.moved > b for t, b in zip(told, before)), [(t.moved, b) for t, b in zip(told, before)]
    some(0.3)
    last = load.stop() - 1
    some(0.5)
    check(told, last)
    assert all(t.said[-1][0] == ".sa.upd" for t in told)

# ---- who reads too slowly ----

def slow():
    """Policy resync: it stands still, then has a new state; disconnect: it is closed. The others notice nothing."""
    load = Load(pause=0.001, most=400)
    lazy, strict, quick = (Client(port=PORT, timeout=60) for _ in range(3))
    told = [Told("filter", None, "events"), Told("last", None), Told("last", None)]
    told[0].id = subscribe(lazy, "filter", params(), options(policy=Sym("resync")))["id"]
    told[1].id = subscribe(lazy, "last", params())["id"]
    told[2].id = subscribe(quick, "last", params())["id"]
    subscribe(strict, "filter", params(), options(policy=Sym("disconnect")))
    load.start()
    end = time.time() + 30
    policies = lambda: [l for l in open(os.environ["ACCESS"]) if '"policy"' in l]
    over = threading.Event()
    def fast():
        while not over.is_set() or quick.waiting:
            if (m := quick.recv(0.2)): told[2].takes(m)
    reader = threading.Thread(target=fast, daemon=True)
    reader.start()
    while time.time() < end and not (any("resync:" in l for l in policies()) and any("disconnect:" in l for l in policies())): time.sleep(0.05)
    load.pause = 0.02
    assert any("resync:" in l for l in policies()) and any("disconnect:" in l for l in policies()), policies()
    row = next(x for x in show("clients")["clients"] if x["streams"] == "last filter")
    assert row["peak_bytes"] < 16 << 20, row
    # now it reads
    by_id = {t.id: t for t in told[:2]}
    end = time.time() + 30
    while time.time() < end and not (told[0].resync and told[1].resync and told[0].said[-1][0] == ".sa.upd" and told[1].said[-1][0] == ".sa.upd"):
        m = lazy.recv(0.1)
        if m: by_id[m[1]].takes(m)
    assert told[0].resync and told[1].resync, [t.said[-1][0] for t in told]
    last = load.stop() - 1
    while (m := lazy.recv(0.5)): by_id[m[1]].takes(m)
    time.sleep(0.5)
    over.set()
    reader.join()
    assert not told[2].resync
    check(told, last)
    assert told[1].said[-1][0] == ".sa.upd" and told[2].said[-1][1] == told[1].said[-1][1]
    try:
        for _ in range(10 ** 6): strict.recv(1)
        raise AssertionError("a client with policy disconnect is still there")
    except (EOFError, ConnectionResetError): pass

# ---- forms ----

def forms():
    """Texts and lists that mean the same are one stream; near misses say what to send."""
    c = Client(port=PORT, timeout=40)
    same = [c(".sa.sub", Sym("last"), Dict((Syms(["table", "syms"]), [Sym("trade"), Syms(["A", "B"])]))),
            c(".sa.sub[`last;`table`syms!(`trade;`A`B)]"),
            c(".sa.sub[`last; `syms`table!(`A`B;`trade); ()!()]"),
            c(Sym(".sa.sub"), Sym("last"), Dict((Syms(["table", "syms", "history"]), ["trade", ["A", Sym("B")], True]))),
            c(".sa.sub", "last", Dict((Syms(["table", "syms"]), ["trade", "A,B"])), options(texts=True))]
    same = [dict(zip(*x)) for x in same]
    assert len({x["id"] for x in same}) == 1, same
    a = same[0]
    assert a["name"] == "last" and a["group"] == "analytics" and a["mode"] == "delta" and a["key"] == ["sym"], a
    assert sorted(a["columns"]) == ["price", "size", "sym", "time"] and len(a["types"]) == 4, a
    streams = c(".sa.streams[]")
    assert list(streams["id"]) == [a["id"]] and list(streams["clients"]) == [1], streams
    assert {"filter", "last", "ohlc", "vwap", "rate", "threshold", ".monPublic.sub"} <= set(c(".sa.list[]")["name"])
    n = 0
    while (m := c.recv(0.3)): n += m[0] == ".sa.snap"
    assert n >= 1, n
    # a state again, as the answer
    i, table, position = c(".sa.snapshot[%d]" % a["id"])
    assert i == a["id"] and position >= a["position"] and isinstance(table, Dict), (i, position)
    # by its own name, as a q process is asked
    cpu = [dict(zip(*x)) for x in (c(".monPublic.sub[]"), c(".monPublic.sub[(enlist `syms)!enlist `control`rtp]"), c(Sym(".monPublic.sub"), Dict((Syms(["syms"]), [Syms(["control", "rtp"])]))))]
    assert cpu[0]["id"] != cpu[1]["id"] == cpu[2]["id"] and cpu[0]["key"] == ["server", "sym"], cpu
    # a name without a dot may be a named query's; it is not
    bars = dict(zip(*c(Sym("ohlc"), Dict((Syms(["syms", "interval"]), [Syms(["A"]), "5s"])))))
    assert bars["name"] == "ohlc" and c("ohlc[`interval`syms!(00:00:05;enlist `A)]")[1][0] == bars["id"], bars
    assert c(".sa.unsub", a["id"]) is None
    for ask, says in [((".sa.unsub[%d]" % a["id"],), "no stream"), ((".sa.snapshot[99]",), "no stream 99"), ((".sa.sub", Sym("lastt"), params()), "perhaps last"),
                      ((".sa.sub[`last;`trade]",), "type: send .sa.sub[`last;`table`syms!(`trade;`A`B)]"), ((".sa.sub[]",), "type: send .sa.sub["),
                      ((".sa.subs[`last]",), "perhaps .sa.sub"), ((".sa.sub[`last;(enlist `tabel)!enlist `trade]",), "no parameter tabel, perhaps table"),
                      ((".sa.sub", Sym("last"), params(), options(mood=Sym("full"))), "perhaps mode"), ((".sa.sub", Sym("last"), params(), options(mode=5)), "`delta or `full"),
                      ((".sa.sub", Sym("last"), params(), options(group=Sym("x"))), "no group x"), ((".sa.sub", Sym("last"), Dict((Syms(["table", "every"]), [Sym("trade"), Sym("often")]))), "parameter every is a timespan such as"),
                      ((".sa.sub", Sym("filter"), params(where="price>1\0,size>1")), "a NUL"),
                      ((".sa.sub", Sym("filter"), params(), options(mode=Sym("full"))), "no full state"), ((".sa.unsub[`x]",), "send .sa.unsub[id]"),
                      ((".sa.sub[`last;`table`syms!(`trade)]",), "as many values as keys"), ((".monPublic.nosuch[]",), "no streaming analytic .monPublic.nosuch; perhaps .monPublic.sub"),
                      (("last[`trade]",), "nyi:"), ((Sym("ohlcs"), Dict((Syms(["syms"]), [Syms(["A"])]))), "perhaps ohlc"), (("ohlc[`A]",), "no named query"), ((".sa.snap[1;2;3]",), "send (`.sa.upd; id; table; position)")]:
        try: raise AssertionError("%s gave %s" % (ask, c(*ask)))
        except QError as e: assert says in str(e), (ask, str(e))
    assert c(".sa.unsub[]") is None and len(c(".sa.streams[]")["id"]) == 0
    while c.recv(0.2): pass
    c.send(".sa.sub", Sym("lastt"), params())  # nobody waits for an answer
    m = c.recv(2)
    assert m[2] == "refused" and len(m) == 4, m
    c.send(".sa.sub", Sym("lastt"), params(), options(ref=7)) # unless it gave the request a number
    m = c.recv(2)
    assert m[2] == "refused" and "perhaps last" in m[3] and m[4] == 7, m
    c.send(".sa.sub", Sym("last"), params(), options(ref=8))
    m = c.recv(2)
    assert m[2] == "subscribed" and m[3] == "last" and m[4] == 8, m
    state = c.recv(2)
    assert state[0] == ".sa.snap" and state[1] == m[1], state
    assert c(".sa.unsub[]") is None
    while c.recv(0.1): pass
    c.send(Sym(".sa.sub"), Sym("last"), params())
    m = c.recv(2)
    assert m[0] == ".sa.snap", m
    c.close()

# ---- the command line ----

def cli():
    load = Load(pause=0.01)
    load.start()
    text = [penstock("stream", "last", "table=trade", "syms=S1,S2", "--count", "9")[0], penstock("--json", "stream", "last", "table=trade", "syms=S1", "--count", "5")[0],
            penstock("stream", "filter", "table=trade", "syms=S3", "--csv", "--count", "4")[0], penstock("--json", "stream", "last", "table=trade", "--full", "--count", "45")[0]]
    load.stop()
    lines = text[0].splitlines()
    assert lines[0] == "# last  kind position sym time price size" and len(lines) == 10 and lines[1].startswith("state  "), text[0]
    rows = [json.loads(l) for l in text[1].splitlines()]
    assert len(rows) == 5 and all(r["sym"] == "S1" and r["size"] % SYMS == 1 and r["price"] == r["size"] * 0.5 for r in rows), rows
    assert rows[0]["kind"] == "state" and rows[-1]["kind"] == "update" and rows[-1]["position"] > rows[0]["position"], rows
    lines = text[2].splitlines()
    assert lines[0] == "kind,position,time,sym,price,size" and len(lines) == 5 and all(",S3," in l and l.startswith("update,") for l in lines[1:]), text[2]
    rows = [json.loads(l) for l in text[3].splitlines()]
    assert len({r["position"] for r in rows}) < len(rows) // 10, "each update is the whole state"
    out, err, code = penstock("stream", "lastt", "table=trade")
    assert code == 1 and "perhaps last" in err, (err, code)
    assert penstock("stream")[2] == 2 and penstock("stream", "last", "trade")[2] == 2
    assert "table symbol, syms symbol list = none" in penstock("stream", "list")[0]
    # rows and bytes of each stream stand in the access log
    lines = [json.loads(l) for l in open(os.environ["ACCESS"])]
    ends = [l for l in lines if l["event"] == "unsubscribe" and l["text"].startswith("stream last") and l.get("rows", 0) >= 9 and l["bytes"] > 300]
    assert ends and any(l["event"] == "subscribe" and l["text"] == ends[0]["text"] for l in lines), lines[-5:]

# ---- others publish ----

def publish(first, last, kill=""):
    load = Load(pause=0.001)
    load.n = int(first)
    while load.n < int(last):
        load.some(min(4, int(last) - load.n))
        time.sleep(0.001)
        if kill and load.n * 2 > int(first) + int(last):
            os.kill(next(p["pid"] for p in processes() if p["pid"]), signal.SIGKILL)
            kill = ""
    load.c(None)

# ---- rights ----

def rights():
    """Below the sharing: who may read what a stream reads has it, whoever came first; a reload takes it away."""
    def come(name): return Client(port=PORT, user=name, password="pw-" + name, timeout=40)
    sam, bob, carol, dora, edna = (come(n) for n in ("sam", "bob", "carol", "dora", "edna"))
    def no(c, says, *ask):
        try: raise AssertionError("%s gave %s" % (ask, c(*ask)))
        except QError as e: assert says in str(e), (ask, str(e))
    a, b = subscribe(sam, "last", params()), subscribe(bob, "last", params())
    assert a["id"] == b["id"], "entitled to the same: computed once"
    assert list(sam(".sa.streams[]")["clients"]) == [2] and list(bob(".sa.streams[]")["id"]) == [b["id"]]
    assert len(carol(".sa.streams[]")["id"]) == 0, "others' parameters are theirs"
    no(carol, "access: last reads trade, and the user carol may not", ".sa.sub", Sym("last"), params())
    no(bob, "access: .monPublic.sub reads monCPU, and the user bob may not", ".monPublic.sub[]")
    no(dora, "durable_only", ".sa.sub", Sym("last"), params())
    no(edna, "access: the user edna may not call last", ".sa.sub", Sym("last"), params())
    assert list(edna(".sa.list[]")["name"]) == ["filter"]
    assert subscribe(edna, "filter", params())["mode"] == "events"
    wait("lines of the access log", lambda: sum('"deny"' in l and '"stream"' in l for l in open(os.environ["ACCESS"])) >= 4)
    # taken away: the connection ends, the other's stream goes on
    path = os.environ["USERS"]
    text = open(path).read()
    open(path, "w").write(text.replace('"bob":', '"bob":\n    tables: [quote]').replace("    tables: [trade] # bob\n", ""))
    penstock("config", "reload")
    try:
        while bob.recv(10) is not None: pass
        raise AssertionError("bob still has it")
    except (EOFError, ConnectionResetError): pass
    publisher = come("pub")
    publisher(".u.upd", Sym("trade"), [Syms(["A"]), K(9, [1.0]), K(7, [1])])
    end = time.time() + 10
    while time.time() < end:
        m = sam.recv(1)
        if m and m[0] == ".sa.upd": break
    assert m and m[0] == ".sa.upd", m
    t = sam(".sa.streams[]")
    assert dict(zip(map(int, t["id"]), map(int, t["clients"])))[a["id"]] == 1, t

# ---- groups of several processes ----

def placed(c): return {int(i): (str(g), str(p)) for i, g, p in zip(*[c(".sa.streams[]")[x] for x in ("id", "group", "process")])}

def modes():
    """Where streams go; of a broadcast group, what its processes have together; one of them dies."""
    c = Client(port=PORT, timeout=60)
    wait("six processes", lambda: sum(bool(p["pid"]) for p in processes()) == 6)
    wait("their analytics", lambda: len([n for n in c(".sa.list[]")["name"] if n == "last"]) == 3)
    by = {g: [subscribe(c, "last", params(names[i:i + 3]), options(group=Sym(g)))["id"] for i in range(4)] for g in ("wide", "turns", "least")}
    at = placed(c)
    assert [at[i][1] for i in by["wide"]] == ["all 3"] * 4, at
    assert [at[i][1] for i in by["turns"]] == ["0", "1", "0", "1"], at
    assert at[by["least"][0]] == ("least", "0"), at
    for l in by.values():
        for i in l: c(".sa.unsub", i)
    x = Client(port=PORT, timeout=60)
    told = {}
    for name, syms, mode in (("last", None, "delta"), ("last", None, "full"), ("last", names[:7], "delta")):
        i = subscribe(x, name, params(syms), options(group=Sym("wide"), mode=Sym("full" if mode == "full" else "")))["id"]
        told[i] = {"have": {}, "full": mode == "full", "syms": syms or names, "moved": 0, "states": 0}
    load = Load(pause=0.002)
    load.start()
    def some(seconds):
        end = time.time() + seconds
        while time.time() < end:
            m = x.recv(0.05)
            if m is None: continue
            t = told[m[1]]
            if m[0] == ".sa.notice": t["moved"] += 1; continue
            if m[0] == ".sa.snap" or t["full"]: t["have"] = {}
            t["states"] += m[0] == ".sa.snap"
            cols = columns(m[2])
            for s, n in zip(cols["sym"], np.asarray(cols["size"])):
                assert s in t["syms"] and int(n) > t["have"].get(s, -1) - (m[0] != ".sa.upd"), (s, n)
                t["have"][s] = int(n)
    some(1)
    os.kill(next(g["processes"][1]["pid"] for g in show("rtp", "list")["groups"] if g["group"] == "wide"), signal.SIGKILL)
    some(3)
    n = load.stop()
    some(1)
    for t in told.values():
        assert t["moved"] == 1 and t["states"] == 2, t
        assert t["have"] == {s: n - 1 - (n - 1 - int(s[1:])) % SYMS for s in t["syms"]}, (n, t)

# ---- many ----

def many():
    """10,000 subscriptions over 100 distinct: 100 computations; each client has what the journal says."""
    begun = time.time()
    clients = [Client(port=PORT, timeout=60) for _ in range(100)]
    ids = {}
    for i in range(100):
        p = params([names[i % SYMS]], every=K(-16, i // SYMS * 10 ** 6))  # every is a parameter that makes them distinct
        for c in clients: ids.setdefault(i, set()).add(subscribe(c, "last", p)["id"])
    took = time.time() - begun
    assert all(len(x) == 1 for x in ids.values()) and len(set.union(*ids.values())) == 100
    brief = show("clients")["subscribers"]
    assert brief["streams"] == 100 and brief["stream_clients"] == 10000, brief
    g = show("rtp", "list")["groups"][0]
    assert g["streams"] == 100 and g["clients"] == 10000, g
    load = Load(pause=0.02, most=20)
    load.start()
    time.sleep(1)
    n = load.stop()
    end = {names[k]: n - 1 - (n - 1 - k) % SYMS for k in range(SYMS)}
    got = 0
    for c in random.sample(clients, 5):
        have = {}
        while (m := c.recv(0.5)):
            cols = columns(m[2])
            got += len(cols["sym"])
            for s, v in zip(cols["sym"], np.asarray(cols["size"])): have[(m[1], s)] = int(v)
        assert len(have) == 100 and all(v == end[s] for (_, s), v in have.items()), have
    print("10,000 joined in %.1f s; %d rows published, %d rows to each client" % (took, n, got // 5))

{"joins": joins, "kill": kill, "slow": slow, "forms": forms, "cli": cli, "publish": publish, "modes": modes, "rights": rights, "many": many}[sys.argv[1]](*sys.argv[2:])
