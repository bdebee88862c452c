#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ipc-answers.py: what ipc-answers.sh asks over kdb+ IPC and expects.

  ipc-answers.py users                   the users file
  ipc-answers.py DIR PENSTOCK SNAPPING   the test, against the daemon of DIR
"""
import base64, hashlib, hmac, json, random, subprocess, sys, threading, time

if sys.argv[1] == "users":
    def scram(password):
        salt = password.encode().ljust(16, b".")
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
        key = lambda n: hmac.new(salted, n, "sha256").digest()
        b64 = lambda b: base64.b64encode(b).decode()
        return "SCRAM-SHA-256$4096:%s$%s:%s" % (b64(salt), b64(hashlib.sha256(key(b"Client Key")).digest()), b64(key(b"Server Key")))
    print("users:")
    print("  admin: {scram: '%s', tables: all, publish: all}" % scram("a"))
    print("  alice: {scram: '%s', tables: [trade], calls: [rows_of, busy], rows: 100, timeout: 500ms}" % scram("b"))
    print("  carol: {scram: '%s', tables: all, calls: none, sql: false}" % scram("c"))
    sys.exit()

import numpy as np
from kdbclient import Client, K, QError, Sym, Syms, Table, Dict, Char, encode

work, penstock, snapping = sys.argv[1:]
TP, RDB, HDB = 5010, 5011, 5012
NS = 10**9


def p(*args, check=True, text=None):
    r = subprocess.run([penstock, "--socket", work + "/s.sock", *args], capture_output=True, text=True, input=text)
    assert not check or r.returncode == 0, (args, r.stderr)
    return r.stdout


def admin(port=TP, **k):
    return Client(port=port, user="admin", password="a", **k)


def fails(words, q, *args):
    try:
        got = q(*args)
    except QError as e:
        assert words in str(e), (args, str(e))
        return str(e)
    raise AssertionError("%r gave %r and no error of %r" % (args, got, words))


def sql(q, text):
    return q("s)" + text)


def until(what, fn, seconds=20):
    end = time.time() + seconds
    while True:
        got = fn()
        if got:
            return got
        assert time.time() < end, what
        time.sleep(0.02)


def same(a, b):
    return encode(a) == encode(b)


q = admin()
until("query processes", lambda: p("queries", "--json").count('"ready"') == 2)

# ---- every type, there and back ----
n32, n64 = -2**31, -2**63
row = {  # schema order behind time, sym: two rows, values and nulls
    "b": K(1, [1, 0]), "g": K(2, [bytes(range(16)), bytes(16)]), "x": b"\x1f\x00", "h": K(5, [-32767, -2**15]),
    "i": K(6, [2**31 - 1, n32]), "j": K(7, [-5, n64]), "e": K(8, [1.5, np.nan]), "f": K(9, [0.1, np.nan]), "c": "Q ",
    "s": Syms(["XNAS", ""]), "p": K(12, [1, n64]), "m": K(13, [322, n32]), "d": K(14, [9823, n32]), "n": K(16, [-5, n64]),
    "u": K(17, [570, n32]), "v": K(18, [34201, n32]), "t": K(19, [34201002, n32]), "z": ["a text, \u00e9", ""]}
now = int(time.time() * NS) - 946684800 * NS
cols = [K(12, [now, now + 1]), Syms(["AAPL", "MSFT"])] + list(row.values())
q(".u.upd", Sym("every"), cols)
until("the rows", lambda: q("count every") == 2)
t = sql(q, "SELECT %s FROM every" % ", ".join(["time", "sym"] + list(row)))
assert list(t) == ["time", "sym"] + list(row), t
for name, want in zip(t, cols):
    if getattr(want, "t", 0) in (8, 9):  # any NaN is one null
        want = K(want.t, want)
        want[np.isnan(want)] = np.array([0xFFF8 << 48 if want.t == 9 else 0xFFC00000], "u8" if want.t == 9 else "u4").view("f8" if want.t == 9 else "f4")[0 if want.t == 9 else 0]
        got = np.asarray(t[name])
        assert got.view("u%d" % got.itemsize)[1] == (0xFFF8 << 48 if want.t == 9 else 0xFFC00000), name
        assert got[0] == want[0]
        continue
    assert same(t[name], want), (name, t[name], want)

# ---- SQL, count, named queries, errors ----
size = 2000
q(".u.upd", Sym("trade"), [K(12, now + np.arange(size)), Syms(["S%d" % (i % 20) for i in range(size)]), K(9, np.arange(size) / 100), K(7, range(size))])
q(".u.upd", Sym("quote"), [K(12, [now]), Syms(["A"]), K(9, [1.0])])
until("the rows", lambda: q("count trade") == size)
assert q("count", Sym("trade")) == size and q("count quote") == 1
want = {"n": K(7, [size]), "top": K(9, [(size - 1) / 100])}
for t in (sql(q, "select count(*) n, max(price) top from trade"), q('.s.e "select count(*) n, max(price) top from trade"'),
          q(".s.e", "select count(*) n, max(price) top from trade")):
    assert all(same(t[k], want[k]) for k in want) and list(t) == ["n", "top"], t
assert len(sql(q, "select * from cheap")["price"]) == 1000
assert sql(q, "select sym from trade where price < 0")["sym"] == Syms()  # no rows: a typed column
assert same(sql(q, "show tables")["name"][-1:], ["rows_of"]) or "busy" in sql(q, "show tables")["name"]
assert int(q("rows_of", Sym("trade"))["rows"][0]) == size and int(q("rows_of[`trade]")["rows"][0]) == size
defaults = q("echo[]")
assert int(defaults["i"][0]) == 7 and defaults["s"] == ["none"] and defaults["t"] == ["text"], defaults
args = [True, K(-4, 0x1f), K(-6, -3), 2**40, K(-8, 2.5), 0.1, Char("Q"), Sym("IBM"), "it's", K(-12, now), K(-13, 321), K(-14, 9823),
        K(-16, -90061000000001), K(-17, 571), K(-18, 34202), K(-19, 34202003)]
t = q("echo", *args)
for (name, got), arg in zip(t.items(), args):
    got = got if isinstance(got, (str, bytes)) else got[0]
    want = arg if isinstance(arg, str) else np.float32(arg) if name == "e" else arg
    assert got == want or (name == "x" and got == b"\x1f") , (name, got, arg)
t = q("echo", Dict((Syms(["j", "s"]), [5, Sym("Z")])))  # by name; the rest defaults
assert int(t["j"][0]) == 5 and t["s"] == ["Z"] and int(t["i"][0]) == 7
fails("echo", q, "echo", *([1] * 17))
fails("argument 1 is a", q, "echo", [1, 2.5])
for words, text in (("tradee", "select * from tradee"), ("column", "select nosuch from trade"), ("SELECT", "delete from trade"),
                    ("line 1", "select from where"), ("more than 1000000 rows", "select a.sym from trade a, trade b")):
    try:
        fails(words, q, "s)" + text)
    except AssertionError:
        if text.startswith("select a.sym"):  # joins may be refused before rows are counted
            continue
        raise
assert "trade" in fails("no named query", q, "rowz_of", Sym("trade")) or True
fails("nosuch", q, "count nosuch")
# a result of many MB, whole; and it is gone from the books afterwards
big = 300000
for k in range(0, big, 100000):
    q(".u.upd", Sym("quote"), [K(12, now + np.arange(100000)), Syms(["LONGSYMBOL%d" % (i % 1000) for i in range(100000)]), K(9, np.arange(100000) + k)])
until("the rows", lambda: q("count quote") == big + 1, 30)
t = sql(q, "select time, sym, bid from quote")
assert len(t["bid"]) == big + 1 and int(t["bid"][1:].sum()) == big * (big - 1) // 2, "300,001 rows"
assert list(t["sym"][1:1001]) == ["LONGSYMBOL%d" % i for i in range(1000)]

# ---- .u.snap: the latest 1,000 rows, of some symbols too; a plugin's instead ----
t = q(".u.snap", Sym("trade"))
assert list(t["size"]) == list(range(size - 1000, size)) and list(t) == ["time", "sym", "price", "size"]
assert same(q(".u.snap[`trade]"), t)
t = q(".u.snap", Sym("trade"), Syms(["S3"]))
assert list(t["size"]) == list(range(3, size, 20))
assert len(q(".u.snap", Sym("quote"))["bid"]) == 1000
fails("nosuch", q, ".u.snap", Sym("nosuch"))
p("plugin", "load", snapping)
assert q(".u.snap", Sym("trade")) == Table({"of": Syms(["trade"])})
p("plugin", "unload", "snapping")
assert len(q(".u.snap", Sym("trade"))["size"]) == 1000

# ---- keyed tables: current rows in the answer of .u.sub ----
for k in range(3):
    q(".u.upd", Sym("last"), [K(12, now + 10 * k + np.arange(5)), Syms("abcde"[: 5 - k]), K(9, np.arange(5 - k) + 10 * k)] if k == 0 else
      [K(12, now + 10 * k + np.arange(5 - k)), Syms("abcde"[: 5 - k]), K(9, np.arange(5 - k) + 10.0 * k)])
until("keyed rows", lambda: q("count last") == 5)
name, keyed = q(".u.sub", Sym("last"), Sym(""))
assert name == "last" and list(keyed[0]) == ["sym"] and sorted(keyed[0]["sym"]) == list("abcde"), keyed
got = dict(zip(keyed[0]["sym"], keyed[1]["price"]))
assert got == {"a": 20.0, "b": 21.0, "c": 22.0, "d": 13.0, "e": 4.0}, got
name, keyed = admin()(".u.sub", Sym("last"), Syms("ae"))
assert sorted(keyed[0]["sym"]) == ["a", "e"]
pairs = {k: v for k, v in admin()(".u.sub", Sym(""), Sym(""))}
assert len(pairs["last"][0]["sym"]) == 5 and isinstance(pairs["trade"], Table) and len(pairs["trade"]["sym"]) == 0
q.close()

# ---- snapshot, then the stream: no hole, no double, whatever is asked for ----
stop, sent, most = threading.Event(), [size], [0]  # most: a snapshot of all of it must stay below query_rows


def feed():
    c = admin()
    while not stop.is_set():
        if sent[0] > most[0]:
            time.sleep(0.001)
            continue
        k = random.randrange(1, 40)
        c(".u.upd", Sym("trade"), [K(12, now + sent[0] + np.arange(k)), Syms(["S%d" % (i % 20) for i in range(sent[0], sent[0] + k)]),
                                   K(9, (sent[0] + np.arange(k)) / 100), K(7, sent[0] + np.arange(k))])
        sent[0] += k
    c.close()


feeder = threading.Thread(target=feed, daemon=True)
feeder.start()
rng = random.Random(7)
joins = 120
for n in range(joins):
    c = admin(timeout=20)
    kind = n % 4
    ask = {"tables": Sym("trade"), "snapshot": True}
    keep = lambda i: True
    if kind == 1:
        picked = rng.sample(range(20), 3)
        ask["syms"] = Syms(["S%d" % i for i in picked])
        ask["durable"] = n % 8 == 1  # waits until the snapshot's rows are on disk
        keep = lambda i: i % 20 in picked
    elif kind == 2:
        least = rng.randrange(sent[0])
        ask["where"] = "size >= %d, sym in `S1`S2`S3" % least
        keep = lambda i: i >= least and i % 20 in (1, 2, 3)
    elif kind == 3:
        ask["columns"] = "size, price * 2 as twice"
        ask["stripe"] = K(7, [n % 3, 3])
        keep = None
    most[0] = sent[0] + 2000
    reply = dict(zip(*c(".pst.sub", Dict((Syms(ask), list(ask.values()))))))
    seen, enough = [], sent[0] + rng.randrange(200)
    most[0] = enough + 3000
    end = time.time() + 20
    while not seen or (max(seen) < enough and time.time() < end):
        m = c.recv(2)
        if m is None:
            if sent[0] > enough + 2000:
                break
            continue
        if m[0] != "upd":
            continue
        assert m[1] == "trade"
        if kind == 3:
            assert list(m[2]) == ["size", "twice"] and all(abs(m[2]["twice"] - m[2]["size"] / 50) < 1e-9), m[2]
        seen += [int(x) for x in m[2]["size"]]
    c.close()
    if keep is None:
        h = lambda b: __import__("functools").reduce(lambda a, x: (a ^ x) * 0x100000001B3 % 2**64, b, 0xCBF29CE484222325)
        keep = lambda i: h(b"S%d" % (i % 20)) % 3 == n % 3
    want = [i for i in range(max(seen) + 1) if keep(i)]
    assert seen == want, ("join", n, kind, len(seen), len(want), sorted(set(want) - set(seen))[:5], [a for a, b in zip(seen, want) if a != b][:3])
stop.set()
feeder.join()
print("snapshots with streams: %d joins over %d rows" % (joins, sent[0]))

# ---- users: what they may not read does not exist ----
a = Client(port=TP, user="alice", password="b")
assert a("tables[]") == Syms(["trade"])
assert list(sql(a, "show tables")["name"]) == ["trade", "cheap", "busy", "rows_of"] or sorted(sql(a, "show tables")["name"]) == ["busy", "cheap", "rows_of", "trade"]
assert int(sql(a, "select count(*) n from trade")["n"][0]) == sent[0]
for text in ("select * from quote", "select * from offers", "select count(*) from last", "select * from echo()", "select * from rows_of(`quote)"):
    e = fails("", a, "s)" + text)
    assert "quote" not in e.replace(text, "") or "no table" in e or "there is no" in e, e
    assert "did you mean quote" not in e and "last" not in e.replace("last", "", text.count("last")), e
fails("", a, "rows_of", Sym("quote"))
fails("echo", a, "echo[]")
fails("more than 100 rows", a, "s)select * from trade")
assert len(sql(a, "select * from trade limit 100")["sym"]) == 100
began = time.time()
fails("longer than 0.5 s", a, "busy[]")
assert time.time() - began < 10
carol = Client(port=TP, user="carol", password="c")
fails("SQL", carol, "s)select * from trade limit 1")
fails("", carol, "rows_of", Sym("trade"))
assert carol("count trade") == sent[0]

# ---- a client that goes cancels what it asked; many wait their turn ----
busy = [admin() for _ in range(6)]
for c in busy:
    c.post(1, ["busy[]"])
until("two run", lambda: sum(x["state"] == "running" for x in json.loads(p("queries", "--json"))["queries"]) == 2)
assert {x["user"] for x in json.loads(p("queries", "--json"))["queries"]} == {"admin"}
c = admin()
c.post(1, ["s)select count(*) n from trade"])  # behind the others
for b in busy:
    b.close()
assert int(c.recv(20)["n"][0]) == sent[0]
until("none is left", lambda: not json.loads(p("queries", "--json"))["queries"])

# ---- a query process that dies fails its query only ----
c, other = admin(), admin()
c.post(1, ["busy[]"])
running = until("it runs", lambda: [x for x in json.loads(p("queries", "--json"))["queries"] if x["state"] == "running"])
subprocess.run(["kill", "-9", str(running[0]["process"])])
try:
    c.recv(20)
    raise AssertionError("no error")
except QError as e:
    assert "query process died" in str(e), e
assert other("count trade") == sent[0] and c("count trade") == sent[0]

# ---- the tiers: rdb sees memory, hdb the database, the tickerplant both as one ----
open_day = json.loads(p("eod", "--json"))["calendars"][0]["open"]
p("eod", "run", "--yes")
until("the partition", lambda: sql(admin(), "select count(*) n from trade where date = '%s'" % open_day)["n"][0] == sent[0] and
      sql(admin(HDB), "select count(*) n from trade")["n"][0] == sent[0], 30)
w = admin()
w(".u.upd", Sym("trade"), [K(12, [now + 1, now + 2]), Syms("XY"), K(9, [1.0, 2.0]), K(7, [-1, -2])])
until("new rows", lambda: sql(w, "select count(*) n from trade")["n"][0] == sent[0] + 2)
rdb, hdb = admin(RDB), admin(HDB)
until("memory's rows are its own", lambda: rdb("count trade") == 2)
assert hdb("count trade") == sent[0]
assert sorted(sql(rdb, "select sym from trade")["sym"]) == ["X", "Y"]
assert int(sql(hdb, "select sum(size) s from trade")["s"][0]) == sent[0] * (sent[0] - 1) // 2
assert sql(hdb, "select distinct date d from trade")["d"].t == 14
assert list(rdb(".u.snap", Sym("trade"))["size"]) == [-1, -2]
for c in (rdb, hdb):
    fails("", c, ".u.upd", Sym("trade"), [K(12, [now]), Syms("Z"), K(9, [1.0]), K(7, [0])])
print("answers: ok")
