# SPDX-License-Identifier: Apache-2.0
"""The cases of ipc.sh. Rows carry a number (trade.size, quote.n) that counts up, so that every consumer
can say which rows it got, in which order, how often."""
import json, os, random, signal, socket, struct, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import numpy as np
from kdbclient import Client, Dict, K, QError, Sym, Syms, Table, decode, encode

def penstock(*args):
    return json.loads(subprocess.run([os.environ["BIN"] + "/penstock", "--socket", os.environ["SOCK"], "--json", *args],
                                     capture_output=True, check=False).stdout)
def clients(): return penstock("clients")["clients"]
def counter(name): return next(c["value"] for c in penstock("counters")["counters"] if c["name"] == name)
def wait(what, condition, seconds=20):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain for " + what
        time.sleep(0.02)
def rss():
    """The daemon's own memory: the ring and the day's rows are shared, and grow with what is published."""
    return next(int(l.split()[1]) << 10 for l in open("/proc/%s/status" % os.environ["DAEMON"]) if l.startswith("RssAnon"))

SYMS = ["S%03d" % i for i in range(100)]
def upd(base, n, table="trade"):
    """The bytes of one async update of n rows, numbered from base."""
    k = np.arange(base, base + n)
    cols = [Syms([SYMS[i % 100] for i in k]), K(9, k * 0.5), K(7, k)]
    body = encode([".u.upd", Sym(table), cols])
    return struct.pack("<BBBBi", 1, 0, 0, 0, len(body) + 8) + body

class Publisher:
    """Sends updates as bytes; the symbols are made once and only the numbers change."""
    def __init__(self, rows=1000, port=5010, **at):
        self.c, self.rows, self.next = Client(port=port, **at), rows, 0
        self.proto = bytearray(upd(0, rows))
        tail = self.rows * 8 + 6
        self.at_size, self.at_price = len(self.proto) - self.rows * 8, len(self.proto) - tail - self.rows * 8
    def send(self, n=1):
        for _ in range(n):
            k = np.arange(self.next, self.next + self.rows)
            self.proto[self.at_size:] = k.astype("<i8").tobytes()
            self.proto[self.at_price:self.at_price + self.rows * 8] = (k * 0.5).astype("<f8").tobytes()
            self.c.s.sendall(self.proto)
            self.next += self.rows
    def run(self, seconds, rate=None):
        end, start = time.time() + seconds, time.time()
        while time.time() < end:
            if rate and (self.next / rate) > time.time() - start: time.sleep(0.001)
            else: self.send(5)
    def finish(self):
        self.c(None)  # all of it is in the inject ring
        return self.next

def sub(c, **kw):
    d = {"tables": Sym("trade"), **kw}
    return dict(zip(*c(".pst.sub", Dict((Syms(d), list(d.values()))))))

class Reader(threading.Thread):
    """Reads until it has seen `until` (the last row's number), an error, or its end."""
    def __init__(self, c, name, number="size"):
        super().__init__(daemon=True)
        self.c, self.name_, self.number = c, name, number
        self.got, self.notices, self.marks, self.last, self.error, self.rows, self.until = [], [], [], {}, None, 0, None
        self.c.s.settimeout(0.2)
    def take(self, m):
        if m[0] == "upd":
            t = m[2]
            k = np.asarray(t[self.number])
            self.got.append(k)
            self.rows += len(k)
            self.last.update(zip(t["sym"], k))
            self.end = int(k[-1])
        elif m[0] == ".pst.notice": self.notices.append(dict(zip(*m[1])))
        else: self.marks.append(m)
    def run(self):
        self.end = -1
        try:
            while self.until is None or self.end < self.until - 1:
                try: m = self.c.recv(0.2)
                except (TimeoutError, socket.timeout): continue
                if m is not None: self.take(m)
        except Exception as e: self.error = e
    def numbers(self): return np.concatenate(self.got) if self.got else np.array([], int)
    def whole(self, first, end):
        self.until = end
        self.join(60)
        k = self.numbers()
        assert not self.is_alive() and self.error is None, (self.name_, self.error, len(k), self.end, end)
        want = np.arange(first, end)
        assert len(k) == len(want) and (k == want).all(), "%s: %d rows, not %d; first %s last %s; %s" % (
            self.name_, len(k), len(want), k[:3], k[-3:], self.notices[-3:])

def requests():
    q, p = Client(), Client()
    assert q("tables[]") == ["alarm", "gap", "last", "quote", "trade", "undecoded"], q("tables[]")
    name, schema = q(".u.sub", Sym("trade"), Sym(""))
    assert name == "trade" and list(schema) == ["time", "sym", "price", "size"], (name, schema)
    assert [t[0] for t in q(".u.sub[`;`]")] == q("tables[]")
    # an update: sync is answered by ::, async by nothing; a row, columns
    assert p(".u.upd", Sym("trade"), [Syms(["A", "B"]), K(9, [1.5, 2.5]), K(7, [10, 20])]) is None
    p.send(".u.upd", Sym("trade"), [Sym("C"), 3.5, 30])
    got = []
    while sum(map(len, got)) < 3:
        m = q.recv(5)
        assert m[:2] == ["upd", "trade"], m
        got.append(list(m[2]["size"]))
    assert sum(got, []) == [10, 20, 30]
    # requests behind each other without waiting: one answer each, in order
    names = ["tables[]", ".u.d", "1+1", "cols trade", ".nope.x[]", ".u.i"]
    for i in range(200): p.post(1, (names[i % 6],))
    for i in range(200): p.post(1, (".pst.upd", Sym("trade"), [Sym("D"), 1.0, 100 + i], Sym("durable")))
    p.post(1, ("tables[]",))
    last = 0
    for i in range(401):
        kind, body = p.message()
        assert kind == 2
        try: v = decode(body)[0]
        except QError as e:
            assert i < 200 and i % 6 in (2, 4), (i, e)
            continue
        if 200 <= i < 400:
            assert isinstance(v, int) and v > 0 and v >= last, (i, v, last)
            last = v
        elif i % 6 in (0, 400 % 6): assert i == 400 or "trade" in v
    # what it wrote is there at durable
    w = dict(zip(*p(".pst.watermark[]")))
    assert w["durable"] >= last and w["committed"] >= w["submitted"] >= w["durable"], w
    assert p(".pst.wait", last, Sym("durable")) is not False
    assert int(p("s)select count(*) as n from trade")["n"][0]) == 203
    # errors say what to send; the connection stays
    for bad in ([".u.upd", Sym("nosuch"), [Sym("A")]], [".u.upd", Sym("trade"), [Sym("A"), "x", 1]], [".u.upd", Sym("gap"), [1]],
                [".u.sub", Sym("nosuch"), Sym("")], ["select from trade"]):
        try: p(*bad)
        except QError as e: assert len(str(e)) > 3, e
        else: raise AssertionError(bad)
    # the same on the unix socket
    u = Client(path=os.environ["UNIX"])
    r = sub(u, tables=Sym("trade"), **{"from": Sym("begin")})
    n = 0
    while n < 203:
        m = u.recv(5)
        n += len(m[2]["size"]) if m[0] == "upd" else 0
    assert n == 203 and r["id"] >= 1, r
    rows = clients()
    assert {r["port"] for r in rows} == {"tickerplant", "unix"} and any("trade" in r["tables"] for r in rows), rows
    # rdb and hdb: queries of their tier, no publishing
    for port in (5011, 5012):
        c = Client(port=port)
        try: c(".u.upd", Sym("trade"), [Sym("A"), 1.0, 1])
        except QError as e: assert "tickerplant" in str(e), e
        else: raise AssertionError("published at %d" % port)
        assert int(c("s)select count(*) as n from trade")["n"][0]) == (203 if port == 5011 else 0)
        c.close()
    # whoever asks and reads no answers is not listened to any more; when it reads, it has them all
    f = Client()
    f("tables[]")
    body, answer = encode("tables[]"), encode(f("tables[]"))
    m = (struct.pack("<BBBBi", 1, 1, 0, 0, len(body) + 8) + body) * 1000
    f.s.settimeout(0.5)
    asked = 0
    try:
        for _ in range(50000): asked += f.s.send(m[asked % len(m):])
    except TimeoutError: pass
    assert asked < len(m) * 5000, asked
    assert penstock("status")["subscribers"]["memory"] < 8 << 20
    f.s.settimeout(10)
    left = asked // (len(body) + 8) * (len(answer) + 8)
    while left > 0:
        b = f.s.recv(1 << 20)
        assert b
        left -= len(b)
    assert left == 0
    f.close()
    # hostile bytes close that connection and nothing else
    before = penstock("status")["subscribers"]["connections"]
    rng = random.Random(7)
    hostile = [b"\x05" * 64, bytes(2000), struct.pack("<BBBBi", 1, 1, 0, 0, 7), struct.pack("<BBBBi", 1, 1, 0, 0, 1 << 30),
               struct.pack("<BBBBi", 1, 1, 0, 0, 14) + struct.pack("<bBi", 7, 0, 1 << 30),
               struct.pack("<BBBBi", 1, 9, 0, 0, 10) + b"\x65\0", struct.pack("<BBBBi", 1, 1, 1, 0, 20) + bytes(12)]
    hostile += [struct.pack("<BBBBi", 1, 1, 0, 0, 58) + rng.randbytes(50) for _ in range(50)]
    for h in hostile:
        s = socket.create_connection(("127.0.0.1", 5010))
        s.sendall(b":\3\0")
        assert s.recv(1) == b"\3"
        s.settimeout(3)
        try:
            s.sendall(h)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096): pass
        except ConnectionError: pass
        s.close()
    assert p("tables[]") and u(None) is None
    # kick
    victim = Client()
    sub(victim)
    wait("the victim", lambda: sum(r["state"] == "live" for r in clients()) >= 2)
    me = max(r["id"] for r in clients())
    penstock("kick", str(me))
    victim.s.settimeout(5)
    try:
        while victim.s.recv(4096): pass
    except ConnectionError: pass
    wait("the kick", lambda: all(r["id"] != me for r in clients()))
    # end of day reaches subscribers behind their rows
    p.send(".u.upd", Sym("trade"), [Sym("Z"), 1.0, 999])
    assert p(".u.endofday[]") is None
    seen = []
    while True:
        m = q.recv(5)
        seen.append(m)
        if m[0] == ".u.end": break
    assert any(m[:2] == ["upd", "trade"] and 999 in list(m[2]["size"]) for m in seen[:-1]), seen
    for c in (q, p, u, victim): c.close()
    wait("connections to end", lambda: not clients())

def policies():
    """One publisher at full rate; one consumer that reads, one of each policy that does not."""
    good = Reader(Client(), "good")  # python may fall behind too: what counts is that it loses nothing
    sub(good.c, policy=Sym("catchup"))
    good.start()
    stuck = {}
    for policy in ("disconnect", "catchup", "conflate", "skip"):
        c = Client()
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sub(c, policy=Sym(policy))
        stuck[policy] = c
    vanishing = [Client() for _ in range(20)]
    for v in vanishing: sub(v)
    p = Publisher()
    base = rss()
    p.send(500)
    for v in vanishing[::2]: v.close()
    wait("an alarm", lambda: any(a["code"] == "consumer.slow" for a in penstock("alarms")["raised"]) if p.send(100) is None else 0)
    mine = {c.s.getsockname()[1]: k for k, c in stuck.items()}
    states = lambda: {mine.get(int(r["address"].rsplit(":", 1)[1])): r["state"] for r in clients()}
    p.send(500)
    p.finish()
    wait("policies", lambda: states().get("catchup") == "catchup" and states().get("skip") == "skipping"
         and states().get("conflate") == "conflating")
    top = rss()
    total = p.next
    good.whole(0, total)
    # disconnected: what it was sent is a beginning, then its end
    d = Reader(stuck["disconnect"], "disconnect")
    d.start()
    d.join(20)
    assert isinstance(d.error, (EOFError, ConnectionError)), d.error
    k = d.numbers()
    assert (k == np.arange(len(k))).all() and len(k) < total
    wait("the alarm", lambda: any(a["code"] == "consumer.disconnected" for a in penstock("alarms")["raised"]))
    # catchup: each row once, told
    c = Reader(stuck["catchup"], "catchup")
    c.start()
    c.whole(0, total)
    kinds = [n["kind"] for n in c.notices]
    assert "behind" in kinds, kinds
    # conflate: less than all, the last row of each symbol
    f = Reader(stuck["conflate"], "conflate")
    f.start()
    f.until = total
    f.join(30)
    assert f.error is None and not f.is_alive(), (f.error, f.end, total, f.notices)
    k = f.numbers()
    assert len(k) < total and (np.diff(k) > 0).all(), len(k)
    assert f.last == {SYMS[i % 100]: i for i in range(total - 100, total)}
    # skip: what it got and what it is told about is all
    s = Reader(stuck["skip"], "skip")
    s.start()
    wait("the notice", lambda: any(n["kind"] == "skipped" for n in s.notices))
    p.send(3)
    end = p.finish()
    s.until = end
    s.join(30)
    skipped = sum(n["rows"] for n in s.notices if n["kind"] == "skipped")
    assert s.rows + skipped == end and skipped > 0 and (np.diff(s.numbers()) > 0).all(), (s.rows, skipped, end)
    # all are live again, the alarm is gone, memory did not grow with what was not read
    wait("live", lambda: all(r["state"] == "live" for r in clients() if r["tables"]))
    wait("no alarm", lambda: not any(a["code"] == "consumer.slow" for a in penstock("alarms")["raised"]))
    assert os.environ.get("SANITIZED") or top - base < 400 << 20, (base >> 20, top >> 20)
    print("policies: %d rows, memory %d MiB to %d MiB" % (total, base >> 20, top >> 20))

def catchup():
    """Several consumers stop reading while far more than the ring passes, then read on."""
    readers = []
    p = Publisher()
    good = Reader(Client(), "good")
    sub(good.c)
    good.start()
    stopped = []
    for i in range(4):
        c = Client()
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        if i == 3: c(".u.sub", Sym("trade"), Sym(""))  # a stock client: no notices
        else: sub(c, syms=Syms(SYMS[:50]) if i == 1 else Sym(""), durable=i == 2)
        stopped.append(c)
    p.send(200)
    base = rss()
    while p.next < int(os.environ.get("ROWS", "1500000")): p.send(50)
    p.finish()
    top = rss()
    wait("catching up", lambda: sum(r["state"] == "catchup" for r in clients()) == 4)
    for i, c in enumerate(stopped):
        r = Reader(c, "stopped%d" % i)
        r.start()
        readers.append(r)
    # while they catch up, more comes
    p.run(1, rate=p.next + 200000)
    total = p.finish()
    good.whole(0, total)
    for i, r in enumerate(readers):
        if i == 1:
            r.until = total - 50
            r.join(60)
            k = r.numbers()
            n = np.arange(total)
            want = n[n % 100 < 50]
            assert len(k) == len(want) and (k == want).all(), ("half", len(k), len(want), r.error)
        else: r.whole(0, total)
    wait("live", lambda: all(r["state"] == "live" for r in clients() if r["tables"]))
    for r in readers[:3]:
        while (m := r.c.recv(0.5)) is not None: r.take(m)
        kinds = [n["kind"] for n in r.notices]
        assert kinds.count("behind") == kinds.count("replayed") >= 1, kinds
    assert not readers[3].notices
    assert os.environ.get("SANITIZED") or top - base < 200 << 20, (base >> 20, top >> 20)
    print("catchup: %d rows, memory %d MiB to %d MiB" % (total, base >> 20, top >> 20))

def joins(seed):
    """Consumers come at any moment under load: with a snapshot, from a position, from the day's start."""
    rng = random.Random(int(seed))
    p = Publisher(rows=20)
    stop = threading.Event()
    def publish():
        while not stop.is_set():
            p.send(1)
            time.sleep(0.0005)
    t = threading.Thread(target=publish, daemon=True)
    p.send(50)
    t.start()
    n, readers = int(os.environ.get("JOINS", "1000" if os.environ.get("PST_ALL") else "60")), []
    for i in range(n):
        c = Client(path=os.environ["UNIX"]) if i % 5 == 0 else Client()
        how = rng.choice(os.environ["HOW"].split(",") if "HOW" in os.environ else ("snapshot", "position", "begin", "day", "live"))
        r = Reader(c, "%s %d" % (how, i))
        if how == "snapshot": r.reply = sub(c, snapshot=True)
        elif how == "position":
            at = dict(zip(*c(".pst.watermark[]")))["committed"]
            time.sleep(rng.random() * 0.02)
            r.reply = sub(c, **{"from": at})
        elif how == "live": r.reply = sub(c)
        else: r.reply = sub(c, **{"from": Sym(how)})
        r.how = how
        r.start()
        readers.append(r)
        if len(readers) > 30:  # those that have joined leave again
            old = readers.pop(0)
            check_join(old)
    stop.set()
    t.join()
    total = p.finish()
    for r in readers:
        r.until = total
        r.join(30)
        assert not r.is_alive(), (r.name_, r.end, total, r.error)
        check_join(r)
    print("joins: %d, %d rows" % (n, total))

def check_join(r):
    r.until = r.until or r.end
    if r.until is not None and r.is_alive():
        r.until = 0  # it has read enough
        r.join(10)
    r.c.close()
    k = r.numbers()
    assert r.error is None and len(k), (r.name_, r.error)
    at = np.nonzero(np.diff(k) != 1)[0][:3]
    assert not len(at), (r.name_, [(int(k[i]), int(k[i + 1])) for i in at], len(k), r.reply, r.notices[:5], [len(g) for g in r.got[:8]])
    if r.how in ("snapshot", "begin", "day"): assert k[0] == 0, (r.name_, k[:3])

def storm():
    """Thousands of connects as fast as they go, floods, half-open peers and logins that never end; a subscriber at rate
    loses nothing meanwhile."""
    good = Reader(Client(), "good")
    sub(good.c, policy=Sym("catchup"))
    good.start()
    p = Publisher()
    stop = threading.Event()
    def publish():
        while not stop.is_set():
            p.send(5)
            time.sleep(0.05)
    t = threading.Thread(target=publish, daemon=True)
    t.start()
    base = rss()
    # half-open: an address that is gone
    gone = socket.socket()
    gone.bind(("10.9.9.9", 0))
    gone.connect(("127.0.0.1", 5010))
    gone.sendall(b":\3\0")
    assert gone.recv(1) == b"\3"
    body = encode([".pst.sub", Dict((Syms(["tables", "policy"]), [Sym("trade"), Sym("catchup")]))])
    gone.sendall(struct.pack("<BBBBi", 1, 1, 0, 0, len(body) + 8) + body)
    assert gone.recv(64)
    subprocess.run(["ip", "addr", "del", "10.9.9.9/32", "dev", "lo"], check=True)
    # those that do not log in
    mute = [socket.create_connection(("127.0.0.1", 5010)) for _ in range(50)]
    slow = socket.create_connection(("127.0.0.1", 5010))
    slow.sendall(b"user:pass")
    # a flood of requests whose answers nobody reads
    flood = Client()
    flood.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    def flooding():
        body = encode("tables[]")
        m = (struct.pack("<BBBBi", 1, 1, 0, 0, len(body) + 8) + body) * 1000
        try:
            flood.s.settimeout(3)
            for _ in range(3000): flood.s.sendall(m)
        except OSError: pass
    f = threading.Thread(target=flooding, daemon=True)
    f.start()
    # connects
    start, n = time.time(), 0
    while n < 3000:
        batch = []
        for _ in range(50):
            s = socket.socket()
            s.connect(("127.0.0.1", 5010))
            s.sendall(b"u:p\3\0")
            batch.append(s)
        for i, s in enumerate(batch):
            if i % 2: assert s.recv(1) == b"\3"
            if i % 3 == 0: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        n += 50
    rate = n / (time.time() - start)
    f.join(30)
    top = rss()
    wait("mute ones to be closed", lambda: len(clients()) <= 4, 10)
    for s in mute + [slow]:
        s.settimeout(2)
        assert s.recv(1) == b"", "no byte to who did not log in"
        s.close()
    wait("the half-open one to be closed", lambda: not any("10.9.9.9" in r["address"] for r in clients()), 30)
    stop.set()
    t.join()
    good.whole(0, p.finish())
    # the limit of connections
    many = []
    try:
        for _ in range(1600):
            s = socket.create_connection(("127.0.0.1", 5010))
            many.append(s)
    except OSError: pass
    wait("1500", lambda: penstock("status")["subscribers"]["connections"] <= 1500)
    for s in many: s.close()
    wait("their end", lambda: penstock("status")["subscribers"]["connections"] <= 4)
    flood.close()
    assert top - base < 200 << 20, (base >> 20, top >> 20)
    print("storm: %d connects/s, %d rows, memory %d MiB to %d MiB" % (rate, p.next, base >> 20, top >> 20))

def ahead(path):
    """The log stands still; the consumer sees what is only committed, and notes where it is."""
    c, p = Client(), Publisher(rows=10)
    sub(c)
    p.send(10)
    p.finish()
    n = 0
    while n < 100: n += len(c.recv(5)[2]["size"])
    w = dict(zip(*p.c(".pst.watermark[]")))
    p.c(".pst.wait", int(w["committed"]), Sym("durable"))
    open(os.environ["STALL"], "w").close()
    time.sleep(0.3)
    p.send(10)
    p.finish()
    while n < 200: n += len(c.recv(5)[2]["size"])
    w = dict(zip(*p.c(".pst.watermark[]")))
    assert w["durable"] < w["committed"], w
    json.dump({"at": int(w["committed"]), "durable": int(w["durable"])}, open(path, "w"))

def rewound(path):
    """After the crash: told that it was ahead, then what is written under new positions; a fresh reader
    has only what survived."""
    at = json.load(open(path))
    c = Client()
    sub(c, **{"from": at["at"]})
    kinds = []
    while "rewound" not in kinds:
        m = c.recv(10)
        assert m is not None, kinds
        if m[0] == ".pst.notice":
            n = dict(zip(*m[1]))
            kinds.append(n["kind"])
            if n["kind"] == "rewound": assert n["from"] < at["at"] < n["to"], (n, at)
        else: assert m[0] != "upd", "rows before the notice"
    p = Client()
    p(".u.upd", Sym("trade"), [Sym("N"), 1.0, 5000])
    while True:
        m = c.recv(5)
        if m[0] == "upd": break
    assert list(m[2]["size"]) == [5000], m
    f = Client()
    sub(f, **{"from": Sym("begin")})
    got = []
    while 5000 not in got:
        m = f.recv(5)
        if m[0] == "upd": got += [int(x) for x in m[2]["size"]]
    assert got == list(range(100)) + [5000], (len(got), got[-3:])

def rows_in():
    q = Client()
    at = q(".pst.upd", Sym("trade"), [Syms(["A"] * 500), K(9, range(500)), K(7, range(500))], Sym("durable"))
    assert at > 0

def rebuilding():
    """The rdb thread stands still behind the restart: what it has not read is not left out silently."""
    q = Client()
    for ask in (["s)select count(*) n from trade"], ["count trade"], [".u.snap", Sym("trade")]):
        try: short = q(*ask)
        except QError as e: assert "being rebuilt" in str(e), (ask, e)
        else: raise AssertionError((ask, short))
    os.remove(os.environ["STALL"])
    def whole():
        try: return q("count trade") == 500
        except QError as e: assert "being rebuilt" in str(e), e
    wait("memory", whole)
    assert list(q("s)select count(*) n from trade")["n"]) == [500]

def partial():
    strict, lenient = Client(user="strict", password="secret"), Client(user="lenient", password="secret")
    local = Client(path=os.environ["UNIX"])
    first = 0
    while not penstock("rdb")["refused"]:
        assert first < 20000, "memory does not fill"
        for _ in range(10):
            strict(".u.upd", Sym("note"), [Syms(["A"] * 20), K(7, range(first, first + 20)), ["x" * 20000] * 20])
            first += 20
    total = first
    today = penstock("status")["day"]
    whole = ["s)select n from note where date < '%s'" % today.replace(".", "-")], ["s)select 1 as one"]
    short = ["s)select count(*) n from note"], ["s)select n from note where date = '%s'" % today.replace(".", "-")], ["count note"], [".u.snap", Sym("note")]
    for c in strict, local:
        for ask in whole: c(*ask)
        for ask in short:
            try: r = c(*ask)
            except QError as e:
                e = str(e)
                assert today in e and "from journal position" in e and "partial: true" in e, (ask, e)
            else: raise AssertionError((ask, r))
    for ask in whole + short: lenient(*ask)
    n = lenient("count note")
    assert 0 < n < total, (n, total)
    # the end of the day takes them from the log: nothing is missing, for anybody
    subprocess.run([os.environ["BIN"] + "/penstock", "--socket", os.environ["SOCK"], "eod", "run", today, "--yes"], check=True, capture_output=True)
    def complete():
        try: return strict("count note") == total
        except QError as e: assert "incomplete" in str(e), e
    wait("the partition", complete)
    assert local("count note") == total

def keys():
    """Each key of `ipc` and of publishing, with another value than its default."""
    at = dict(host="127.0.0.9")
    q, p = Client(port=6010, **at), Client(port=6010, **at)
    try: Client(port=6010)
    except ConnectionRefusedError: pass
    else: raise AssertionError("address")
    for port in (6011, 6012): Client(port=port, **at).close()
    threads = [t["name"] for t in penstock("topo")["threads"]]
    assert "publish1" in threads and "publish2" not in threads, threads
    # pub_freq, multi_publish: rows of 100 ms come in few messages, both tables in one
    q(".u.sub", Sym(""), Sym(""))
    for i in range(8):
        p(".u.upd", Sym("trade"), [Sym("A"), 1.0, i])
        p(".u.upd", Sym("quote"), [Sym("A"), 1.0, i])
        time.sleep(0.01)
    got, messages, several = [], 0, False
    while len(got) < 8:
        m = q.recv(5)
        assert m is not None, got
        if m[0] != "upd": continue
        messages += 1
        for table, data in zip(m[1], m[2]) if not isinstance(m[1], Sym) else [(m[1], m[2])]:
            several |= not isinstance(m[1], Sym)
            if table == "trade": got += list(data["size"])
    assert messages <= 4 and several, (messages, several)
    # heartbeat, long before the default's 10 s
    h, start = Client(port=6010, **at), time.time()
    sub(h)
    while (m := h.recv(8))[0] != ".pst.notice" or dict(zip(*m[1]))["kind"] != "heartbeat": pass
    assert time.time() - start < 8
    # login_timeout
    mute, start = socket.create_connection(("127.0.0.9", 6010)), time.time()
    mute.settimeout(8)
    assert mute.recv(1) == b"" and time.time() - start < 8
    # message_max
    big = Client(port=6010, **at)
    big.s.settimeout(5)
    try: assert big("x" * 100000) is None and False
    except (EOFError, ConnectionError): pass
    # connections
    many = []
    for _ in range(30):
        try: many.append(Client(port=6010, **at))
        except (QError, ConnectionError): pass
    assert 10 <= len(many) <= 17, len(many)  # 20, and q, p and h are there
    for s in many: s.close()
    wait("their end", lambda: penstock("status")["subscribers"]["connections"] <= 4)
    # consumer_alert_size, consumer_disconnect_size, consumer_policy
    stuck = Client(port=6011, **at)
    stuck.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    stuck(".u.sub", Sym("trade"), Sym(""))
    block = Publisher(rows=500, port=6010, **at)
    def slow(): return any(a["code"] == "consumer.slow" for a in penstock("alarms")["raised"])
    wait("the alarm", lambda: slow() if block.send(20) is None else 0)
    wait("the policy", lambda: any(r["state"] == "skipping" for r in clients()) if block.send(20) is None else 0)

def stop():
    """A stop: who reads gets all that was taken, then the end; who does not is not waited for."""
    good, p, stuck = Reader(Client(), "good"), Publisher(), Client()
    sub(good.c, policy=Sym("catchup"))
    stuck.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sub(stuck)
    p.send(300)
    total = p.finish()
    good.start()
    start = time.time()
    penstock("stop")
    good.join(30)
    assert isinstance(good.error, (EOFError, ConnectionError)), good.error
    k = good.numbers()
    assert len(k) == total and (k == np.arange(total)).all(), (len(k), total)
    assert time.time() - start < 30

def hostile():
    """What a stranger may try: only its own connection suffers, and memory has its bound."""
    rng = random.Random(5)
    good = Reader(Client(), "good")
    sub(good.c, syms=Sym("S001"), policy=Sym("catchup"))
    good.start()
    p = Publisher(rows=10000)
    p.send(60)
    end = p.finish()
    base = rss()
    # sessions with bytes changed, cut and added
    requests = ([".u.sub", Sym("quote"), Syms(["A", "B"])], ".u.sub[`;`]", "meta trade", ".pst.watermark[]", [".pst.unsub", 1],
                [".pst.sub", Dict((Syms(["tables", "where", "columns", "stripe"]), [Sym("trade"), "price > 10", "time, price * size as x", K(7, [1, 3])]))],
                [".u.upd", Sym("quote"), [Syms(["A", "B"]), K(9, [1., 2.]), K(7, [1, 2])]], "s)select * from quote limit 3",
                [".pst.upd", Sym("quote"), [Sym("A"), 1.0, 1], Sym("durable")], [".pst.wait", 1 << 60, Sym("durable")], [".u.snap", Sym("quote"), Sym("")])
    wrap = lambda x: struct.pack("<BBBBi", 1, 1, 0, 0, len(encode(x)) + 8) + encode(x)
    over = time.time() + 1.5
    while time.time() < over:
        b = bytearray().join(wrap(rng.choice(requests)) for _ in range(rng.randrange(1, 4)))
        for _ in range(rng.choice((1, 2, 8))):
            i, how = rng.randrange(len(b)), rng.random()
            if how < .6: b[i] = rng.choice((0, 1, 255, 98, 99, 100, 104, rng.randrange(256)))
            elif how < .8: del b[i:i + rng.randrange(1, 9)]
            else: b[i:i] = rng.randbytes(rng.randrange(1, 9))
        s = socket.create_connection(("127.0.0.1", 5010))
        try:
            s.sendall(b":\3\0" + b)
            s.shutdown(socket.SHUT_WR)
            s.settimeout(0.02)
            while s.recv(65536): pass
        except OSError: pass
        s.close()
    wait("all to be gone, also who waits for what never comes", lambda: len(clients()) == 2)
    # claims of much, and little that unpacks to much
    claims = [socket.create_connection(("127.0.0.1", 5010)) for _ in range(60)]
    for i, s in enumerate(claims):
        s.sendall(b":\3\0" + struct.pack("<BBBBi", 1, 1, 0, 0, (1 << 26) - i) + b"\0\0\xff\xff\xff\0" + bytes(1000))
    small = bytes([0]) + bytes([10, 0]) + struct.pack("<i", 60 << 20) + b"aa" + (b"\xff" + b"\0\xff" * 8) * ((60 << 20) // 2056) + b"\xff" + b"\0\xff" * 8
    for _ in range(10):
        s = socket.create_connection(("127.0.0.1", 5010))
        s.settimeout(5)
        claims.append(s)
        try: s.sendall(b":\3\0" + struct.pack("<BBBBii", 1, 1, 1, 0, len(small) + 12, (60 << 20) + 14) + small)
        except OSError: pass
    # subscriptions to more symbols than there is memory for
    c = Client(timeout=30)
    try:
        for _ in range(1000): sub(c, syms=Syms("X%06d" % i for i in range(30000)), where="size > %d" % rng.randrange(1 << 30))
        raise AssertionError("as many subscriptions as it likes")
    except QError as e: assert "wsfull" in str(e), e
    assert c("tables[]")
    # logins that never come: whoever logs in finds a place
    mute = [socket.create_connection(("127.0.0.1", 5010)) for _ in range(400)]
    for _ in range(20): Client().close()
    for s in mute + claims + [c.s]: s.close()
    # answers that nobody reads
    greedy = []
    for _ in range(14):
        g = Client()
        g.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        g.post(1, ("s)select * from trade",))
        greedy.append(g)
    wait("some of the greedy to be closed", lambda: len(clients()) < 16, 60)
    wait("memory below its bound", lambda: penstock("status")["subscribers"]["memory"] < 96 << 20, 60)
    q = Client()
    def answered():
        try: return int(q("s)select count(*) n from trade")["n"][0]) == end
        except QError as e: assert "wsfull" in str(e), e
    wait("an answer", answered)
    for g in greedy: g.close()
    top = rss()
    p.send(1)
    total = p.finish()
    good.until = total - 100 + 2  # the last of its symbol
    good.join(30)
    want = np.arange(1, total, 100)
    assert good.error is None and len(good.numbers()) == len(want) and (good.numbers() == want).all(), (good.error, len(good.numbers()))
    assert top - base < 200 << 20, (base >> 20, top >> 20)
    print("hostile: memory %d MiB to %d MiB" % (base >> 20, top >> 20))

def full():
    """The live kdb+ log's file system is full for a while: consumers lose nothing, the log is whole afterwards. The
    end of the day comes behind the day's rows, also to one that is catching up."""
    kdb = os.environ["WORK"] + "/kdb"
    readers = []
    for i in range(16):
        r = Reader(Client() if i % 3 else Client(path=os.environ["UNIX"]), "reader %d" % i)
        if i % 2: r.c(".u.sub", Sym("trade"), Sym(SYMS[i]))
        else: sub(r.c, policy=Sym("catchup"))
        r.start()
        readers.append(r)
    slow = Reader(Client(), "slow")
    slow.c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sub(slow.c, policy=Sym("catchup"))
    p, q = Publisher(rows=500), Client()
    p.send(20)
    raised = lambda: any(a["code"] == "kdb_log.stopped" for a in penstock("alarms")["raised"])
    with open(kdb + "/filler", "wb", buffering=0) as f:
        try:
            while True: f.write(bytes(4096))
        except OSError: pass
        wait("the alarm", lambda: raised() or p.send(1))
        i, log = q(".u `i`L")
        os.unlink(kdb + "/filler")
    wait("its end", lambda: not raised())
    first = p.finish()
    def logged():
        b, at, rows = open(log[1:], "rb").read(), 8, []
        while at < len(b):
            m, at = decode(b, at)
            rows.append(np.asarray(m[2][3] if m[1] == "trade" else [], int))
        return rows
    wait("its messages", lambda: sum(map(len, logged())) == first)
    rows = logged()
    assert (np.concatenate(rows) == np.arange(first)).all() and q(".u `i`L")[0] >= len(rows) >= i
    wait("one to catch up", lambda: any(r["state"] == "catchup" for r in clients()) if p.send(20) is None else 0)
    day = p.finish()
    subprocess.run([os.environ["BIN"] + "/penstock", "--socket", os.environ["SOCK"], "eod", "run", "--yes"], check=True, stdout=subprocess.DEVNULL)
    p.send(20)
    total = p.finish()
    for r in readers + [slow]:
        take = r.take
        def counted(m, r=r, take=take):
            take(m)
            if m[0] == ".u.end": r.at_end = r.rows
        r.take = counted
    slow.start()
    for i, r in enumerate(readers):
        n = int(r.name_[7:])
        if n % 2 == 0: r.whole(0, total)
        else:
            r.until = total - 100 + n + 1
            r.join(30)
            assert (r.numbers() == np.arange(n, total, 100)).all() and r.error is None, (r.name_, r.error)
        assert sum(m[0] == ".u.end" for m in r.marks) == 1, (r.name_, r.marks)
    slow.whole(0, total)
    assert slow.at_end == day and [m[0] for m in slow.marks] == [".u.end"], (getattr(slow, "at_end", None), day, slow.marks)
    assert int(q("s)select count(*) n from trade")["n"][0]) == total
    print("full: %d rows, %d of the day" % (total, day))

def memory():
    """ipc.memory: a consumer that does not read is dealt with long before consumer_disconnect_size."""
    c, p = Client(), Publisher()
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    c(".u.sub", Sym("trade"), Sym(""))
    def gone():
        p.send(50)
        return p.next > 4000000 or not any(r["tables"] for r in clients())
    wait("its end", gone)
    assert p.next <= 4000000, p.next

if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
