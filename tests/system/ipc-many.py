# SPDX-License-Identifier: Apache-2.0
"""ipc-many.py SIM MULTI: subscribers of every filter, values compared with SQL (ipc-many.sh). One thread reads all
sockets into memory; what came is decoded at the end."""
import os, random, selectors, struct, subprocess, sys, threading, time
import numpy as np
from kdbclient import Client, Dict, K, Sym, Syms, Table, decode, decompress

sim, multi = sys.argv[1], sys.argv[2] == "true"
rng = random.Random(11)
SYMS = ["S%02d" % i for i in range(60)]
ROWS, BLOCKS = 200, int(os.environ.get("BLOCKS", "60"))


class Subscriber:
    """table -> (columns or None, condition of SQL); `last`: conflated."""
    def __init__(self, name, want, how, last=None):
        self.name, self.want, self.how, self.last = name, want, how, last
        self.c = self.stripe = None
        self.early = []
        self.bytes = bytearray()

    def join(self):
        self.c = Client(timeout=60) if len(self.name) % 5 else Client(path=os.environ["WORK"] + "/test.ipc", timeout=60)
        self.how(self.c)
        self.early += self.c.waiting  # came before the answer did
        self.bytes += self.c.buf
        self.c.s.setblocking(False)

    def tables(self):
        """What came, by table: rows as a dict of columns."""
        got, at, b, notices = {}, 0, self.bytes, []
        messages = list(self.early)
        while at < len(b):
            _, kind, packed, _, n = struct.unpack_from("<BBBBi", b, at)
            body = bytes(b[at:at + n])
            messages.append(decode(bytes(decompress(body)) if packed else body[8:])[0])
            at += n
        assert at == len(b), self.name
        for m in messages:
            if m[0] == "upd":
                pairs = zip(m[1], m[2]) if isinstance(m[1], Syms) else [(m[1], m[2])]
                assert multi or not isinstance(m[1], Syms)
                for t, data in pairs:
                    to = got.setdefault(t, {c: [] for c in data})
                    assert list(to) == list(data), (self.name, t, list(data))
                    for c, v in data.items():
                        to[c].append(v)
            elif m[0] == ".pst.notice":
                notices.append(dict(zip(*m[1])))
        return {t: {c: joined(v) for c, v in d.items()} for t, d in got.items()}, notices


def joined(parts):
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], str):
        return "".join(parts)
    return [x for p in parts for x in p]


def same(a, b):
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and len(a) == len(b) and (np.array_equal(a, b) if a.dtype.kind != "f" else np.array_equal(a, b, equal_nan=True))
    return list(a) == list(b)


def dictionary(**kw):
    return Dict((Syms(k.rstrip("_") for k in kw), list(kw.values())))


def names(x): return Sym("") if x is None else Syms(x) if isinstance(x, (list, tuple)) else Sym(x)
def among(x): return None if x is None else "sym in (%s)" % ",".join("'%s'" % s for s in ([x] if isinstance(x, str) else x))


subs = []


def stock(tables, syms):
    want = {t: (None, among(syms)) for t in (tables if isinstance(tables, list) else [tables])}
    subs.append(Subscriber(".u.sub %s %s" % (tables, syms), want, lambda c: c(".u.sub", names(tables), names(syms))))


def torq(table, where, columns):
    subs.append(Subscriber("torq %s %s" % (table, where), {table: (columns or None, where or None)},
                           lambda c: c(".ps.subtablefiltered", table, where, columns)))


def ours(table, syms=None, where=None, columns=None, last=None, **kw):
    d = {"tables": names(table), "syms": names(syms), **kw}
    if where: d["where"] = where
    if columns: d["columns"] = columns
    conditions = " and ".join("(%s)" % x for x in (among(syms), where) if x) or None
    want = {t: (columns, conditions) for t in (table if isinstance(table, list) else [table])}
    s = Subscriber("%s %s %s %s %s" % (table, syms, where, columns, kw), want, lambda c: c(".pst.sub", dictionary(**d)), last)
    s.stripe = [int(x) for x in kw["stripe"]] if "stripe" in kw else None
    subs.append(s)


def everything():
    stock(["trade", "quote", "last"], None)
    stock("trade", None)
    stock("quote", "S07")
    for i in range(0, 60, 3): stock("trade", SYMS[i])
    for i in range(10): stock(["trade", "quote"], rng.sample(SYMS, 1 + i))
    stock(["itch_order", "trade"], ["AAPL", "S01", "MSFT", "INTC"])
    stock("trade", ["NEVER"])
    for w in ("price > 100", "price > 50 and size >= 3000", "price between 10 and 20", "price < 0", "sym = 'S05' or sym = 'S06'",
              "sym <> 'S05' and price > 120", "size % 7 = 3", "not (price > 5)", "price is null"):
        torq("trade", w, "")
        torq("trade", w, "sym,size")
        ours("trade", where=w, columns="size, price * 2 as double, price > 60 as big")
    for w in ("note like 'x%'", "note is null", "bid > ask", "ask - bid < 1.5", "flag", "not flag", "venue = 'V3'", "venue in ('V1', 'V9')",
              "bid is null", "coalesce(bid, 0) = 0", "length(note) > 3", "flag and venue = sym"):
        ours("quote", where=w)
        ours("quote", syms=SYMS[:20], where=w, columns="n, note, venue, flag")
    for n in (2, 3, 7):
        for k in range(n): ours("trade", stripe=K(7, [k, n]))
    for policy in ("catchup", "disconnect", "conflate", "skip"):
        ours("trade", syms=SYMS[10:20], policy=Sym(policy))
        ours(["quote", "trade"], columns="time, sym", policy=Sym(policy))
    for durable in (True, False):
        ours("trade", syms=SYMS[3], durable=durable)
        ours("itch_order", where="price > 100 and shares >= 100", columns="seq, sym, price, shares", durable=durable)
        ours("trade", columns="size", durable=durable)
    for t, where, columns in (("itch_order", "type = 'A'", "seq, sym"), ("itch_order", "side = 'B'", "seq, price, side"),
                              ("itch_order", None, "seq, time, rxtime, type"), ("itch_trade", None, None), ("itch_directory", None, None),
                              ("itch_order", "sym like 'A%'", None), ("itch_status", None, "seq, sym, type"), ("gap", None, None)):
        ours(t, where=where, columns=columns)
    ours("trade", conflate=True, last="size")
    ours("last", conflate=True, last="n")
    ours("trade", syms=SYMS[:9], conflate=True, last="size")


def late():
    """They come while rows come."""
    i = 0
    for from_ in ("begin", "day"):
        for syms, where in ((None, "size % 10 = 0"), (SYMS[2], None), (SYMS[30:50], "price > 40")):
            for policy in ("catchup", "disconnect"):
                ours("trade", syms=syms, where=where, from_=Sym(from_), policy=Sym(policy), columns="size, sym" if i % 2 else None)
                i += 1
    ours("trade", syms=SYMS[:4], snapshot=True)
    ours("quote", where="flag", snapshot=True)
    ours("itch_order", where="shares > 300", columns="seq, shares", from_=Sym("begin"))
    ours("trade", stripe=K(7, [1, 4]), from_=Sym("begin"))


class Reading(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.selector, self.lock, self.done, self.quiet, self.closed = selectors.DefaultSelector(), threading.Lock(), False, time.time(), []

    def add(self, s): self.selector.register(s.c.s, selectors.EVENT_READ, s)

    def run(self):
        while not self.done:
            for key, _ in self.selector.select(0.05):
                try: b = key.fileobj.recv(1 << 20)
                except BlockingIOError: continue
                except OSError as e: b = b""
                if not b:
                    self.closed.append(key.data.name)
                    self.selector.unregister(key.fileobj)
                key.data.bytes += b
                self.quiet = time.time()


def publish(which):
    c, r, n = Client(timeout=60), random.Random(which), 0
    for _ in range(BLOCKS):
        syms = Syms(r.choice(SYMS) for _ in range(ROWS))
        if which == "trade":
            c.send(".u.upd", Sym("trade"), [syms, K(9, [r.choice((float("nan"), r.random() * 150)) if i % 50 == 0 else r.random() * 150 for i in range(ROWS)]),
                                           K(7, range(n, n + ROWS))])
        else:
            bid = [float("nan") if i % 40 == 0 else r.random() * 10 for i in range(ROWS)]
            c.send(".u.upd", Sym("quote"), [syms, K(9, bid), K(9, [b + r.random() * 3 - 0.5 for b in bid]), K(7, range(n, n + ROWS)),
                                           [r.choice(("", "x", "xyz", "längere", "abc")) for _ in range(ROWS)],
                                           K(1, [r.random() < 0.3 for _ in range(ROWS)]), Syms(r.choice(("V1", "V2", "V3", "S01", "")) for _ in range(ROWS))])
            for i in range(5): c.send(".u.upd", Sym("last"), [Sym(r.choice(SYMS)), r.random(), n + i])
        n += ROWS
        if not n % 1000: c(None)
    assert c(None) is None
    c.close()


def fnv(s):
    h = 0xcbf29ce484222325
    for b in s.encode(): h = (h ^ b) * 0x100000001b3 & (1 << 64) - 1
    return h


reading = Reading()
reading.start()
everything()
first = list(subs)
del subs[:]
late()
second = subs
for s in first:
    s.join()
    reading.add(s)
threads = [threading.Thread(target=publish, args=(t,)) for t in ("trade", "quote")]
exchange = subprocess.Popen([sim, "--iface", "out", "--quiet", "--symbols", "300", "--rate", "8000", "--messages", "16000", "--heartbeat-ms", "100", "--tail-heartbeats", "3",
                             "--line", "A,239.192.1.1:26400,loss=2%,burst=3", "--line", "B,239.192.1.2:26400,loss=2%,burst=3"])
for t in threads: t.start()
for s in second:
    time.sleep(0.05)
    s.join()
    reading.add(s)
for t in threads: t.join()
assert exchange.wait() == 0
ask = Client(timeout=60)
w = dict(zip(*ask(".pst.watermark[]")))
assert ask(".pst.wait", w["committed"], Sym("durable")) is not False
end = time.time() + 60
while time.time() - reading.quiet < 1 and time.time() < end: time.sleep(0.05)
reading.done = True
reading.join()
assert not reading.closed, reading.closed
answers, rows, kinds = {}, 0, 0
for s in first + second:
    got, notices = s.tables()
    assert not [n for n in notices if n["kind"] in ("skipped", "lost", "rewound")], (s.name, notices)
    unasked = set(got) - set(s.want)
    assert not unasked, (s.name, unasked)
    for table, (columns, where) in s.want.items():
        key = (table, columns, where)
        if key not in answers:
            answers[key] = ask("s)select %s from %s%s" % (columns or "*", table, " where " + where if where else ""))
        want = dict(answers[key])
        want.pop("date", None) if not columns else None
        have = got.get(table)
        n = len(next(iter(want.values()))) if want else 0
        if s.stripe:
            k, of = s.stripe
            keep = [i for i, x in enumerate(want["sym"]) if fnv(x) % of == k]
            want = {c: v[keep] if isinstance(v, np.ndarray) else [v[i] for i in keep] for c, v in want.items()}
            n = len(keep)
        if have is None:
            assert n == 0, "%s: nothing of %s, SQL has %d rows" % (s.name, table, n)
            continue
        rows += len(next(iter(have.values())))
        if s.last or table == "last":  # what comes for a symbol last
            number = np.asarray(have[s.last or "n"])
            last = {}
            for i, x in enumerate(have["sym"]): last[x] = int(number[i])
            full = {x: int(v) for x, v in zip(want["sym"], want[s.last or "n"])}
            assert last == full, (s.name, len(last), len(full))
            continue
        assert list(have) == list(want), (s.name, table, list(have), list(want))
        for c in want:
            if not same(have[c], want[c]):
                a, b = list(have[c]), list(want[c])
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y and (x == x or y == y)), min(len(a), len(b)))
                raise AssertionError("%s: %s.%s: %d rows, SQL has %d; first difference at %d: %r, SQL %r" % (
                    s.name, table, c, len(a), len(b), at, a[at:at + 3], b[at:at + 3]))
    kinds += 1
for s in first + second: s.c.close()
ask.close()
print("many: %d subscribers, %d rows as SQL has them" % (kinds, rows))
