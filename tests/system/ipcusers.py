# SPDX-License-Identifier: Apache-2.0
"""The clients of ipc-users.sh: passwords, rights, TLS, floods. ipcusers.py CASE ARGUMENTS, inside its namespace."""
import json, os, select, socket, ssl, struct, subprocess, sys, threading, time
from kdbclient import Client, K, QError, Sym, Syms, Table

work = os.environ["work"]
BIN = os.environ["BUILD"] + "/control/penstock"

def penstock(*args):
    out = subprocess.run([BIN, "--socket", work + "/s.sock", *args], capture_output=True, text=True)
    return out.stdout

def counters():
    r = json.loads(penstock("counters", "--json"))
    return {c["name"]: c["value"] for c in r["counters"]} if isinstance(r.get("counters"), list) else r["counters"]

def refused(**how):
    """The server closes without a byte."""
    try:
        Client(**how).close()
    except (QError, ConnectionError, ssl.SSLError, EOFError):
        return True
    return False

def until(what, condition, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        if condition(): return
        time.sleep(0.05)
    raise AssertionError(what)

def error(f, *words):
    try:
        f()
    except QError as e:
        assert all(w in str(e) for w in words), (str(e), words)
        return
    raise AssertionError("no error: " + " ".join(words))

def tls(ca):
    c = ssl.create_default_context(cafile=ca)
    c.check_hostname = True
    return c

NOW = 0x0A00000000000000

def trades(n, sym="A"):
    return Table(time=K(12, [NOW] * n), sym=Syms([sym] * n), price=K(9, [1.5] * n), size=K(7, range(n)))

def closed():
    assert refused(user="alice", password="secret-1")
    try:
        tls(work + "/server.pem").wrap_socket(socket.create_connection(("127.0.0.1", 5010), 5), server_hostname="localhost")
        raise AssertionError("a handshake without a key")
    except (OSError, ssl.SSLError):
        pass

def opens():
    def ok():
        try:
            Client(user="alice", password="secret-1", tls=tls(work + "/server.pem")).close()
            return True
        except (OSError, QError, ssl.SSLError):
            return False
    until("sound files are not taken", ok)

def rights():
    who = dict(alice="secret-1", bob="se:cret 2", nosql="secret-4")
    for user, password in (("alice", "secret-2"), ("alice", ""), ("", ""), ("mallory", "secret-1"), ("alice", "secret-1 "),
                           ("ALICE", "secret-1"), ("far", "secret-3"), ("x" * 600, "y"), ('a"}\n{"event":"login', "z")):
        assert refused(user=user, password=password), (user, password)
    bob, alice, nosql = (Client(user=u, password=who[u]) for u in ("bob", "alice", "nosql"))
    # publishing: bob may, to two of three; alice may not at all
    bob(".u.upd", Sym("trade"), trades(20))
    error(lambda: bob(".u.upd", Sym("orders"), Table(time=K(12, [NOW]), sym=Syms(["A"]), id=K(7, [1]))), "orders")
    error(lambda: alice(".u.upd", Sym("trade"), trades(1)), "trade")
    alice.send(".u.upd", Sym("trade"), trades(1))          # async: no answer, no row
    # reading: what alice may not read is not there
    assert sorted(bob("tables[]")) == sorted(set(bob("tables[]"))) and {"trade", "quote", "orders"} <= set(bob("tables[]"))
    assert list(alice("tables[]")) == ["trade"], alice("tables[]")
    for f in (lambda: alice(".u.sub", Sym("quote"), Sym("")), lambda: alice("meta", Sym("quote")), lambda: alice("cols", Sym("quote")),
              lambda: alice("s)select * from quote"), lambda: alice("count", Sym("quote"))):
        error(f, "quote")
    until("bob's rows", lambda: bob("count", Sym("trade")) == 20)
    assert len(alice("s)select * from trade limit 5")["sym"]) == 5
    error(lambda: alice("s)select * from trade"), "rows")  # the row limit of her group
    assert len(bob("s)select * from trade")["sym"]) == 20
    error(lambda: nosql("s)select * from trade"), "SQL")
    assert nosql("count", Sym("trade")) == 20              # rights of tables are another matter
    # streams: all of what she may read, live
    everything = alice(".u.sub", Sym(""), Sym(""))
    assert [t[0] for t in everything] == ["trade"], everything
    bob(".u.sub", Sym("quote"), Sym(""))
    bob(".u.upd", Sym("quote"), Table(time=K(12, [NOW]), sym=Syms(["Q"]), bid=K(9, [2.0])))
    bob(".u.upd", Sym("trade"), trades(1, "LIVE"))
    syms = []
    while "LIVE" not in syms:                               # rows of before may not have been submitted to the log yet
        m = alice.recv(20)
        assert m and m[:2] == ["upd", "trade"], m           # never a quote
        syms += m[2]["sym"]
    assert bob.recv(20)[1] == "quote"
    # text that would forge a line of the log, and one that is long
    error(lambda: bob('s)select "x\n{""event"":""login""}" from nowhere'))
    error(lambda: bob("s)select '" + "y" * 20000 + "' from nowhere"))
    # hot reload: rights of open connections change, removed users go, others stay
    text = open(work + "/users.yaml").read()
    def write(t):
        open(work + "/users.new", "w").write(t)
        os.chmod(work + "/users.new", 0o600)
        os.rename(work + "/users.new", work + "/users.yaml")
    loaded = counters()["users.loaded"]
    write(text.replace("tables: [trade], rows: 5", "tables: [trade, quote], rows: 50").replace('sql: false', 'sql: true'))
    until("reload by itself", lambda: counters()["users.loaded"] > loaded)
    until("alice's new table", lambda: sorted(alice("tables[]")) == ["quote", "trade"])
    assert len(alice("s)select * from trade")["sym"]) == 21
    assert len(nosql("s)select * from trade")["sym"]) == 21
    assert alice.recv(0.2) is None
    good = open(work + "/users.yaml").read()
    write("users: {alice: {}}\n")                           # not sound: the rules of before, and an alarm
    until("alarm ipc.users", lambda: "ipc.users" in penstock("alarms", "--json"))
    assert len(alice("s)select * from trade")["sym"]) == 21
    assert "scram is missing" in penstock("alarms", "--json") 
    out = subprocess.run([BIN, "--socket", work + "/s.sock", "config", "reload"], capture_output=True, text=True)
    assert "scram is missing" in out.stdout + out.stderr, (out.stdout, out.stderr)
    write(good)
    subprocess.run([BIN, "user", "passwd", "alice", "--file", work + "/users.yaml"], input="changed-1\n", text=True, check=True,
                   stdout=subprocess.DEVNULL)
    assert "a comment that stays" in open(work + "/users.yaml").read()
    penstock("config", "reload")                            # at once
    def gone(c):
        try:
            while c.recv(0.05) is not None: pass
            return False
        except (EOFError, ConnectionError):
            return True
    until("alice has another password", lambda: gone(alice))
    assert refused(user="alice", password="secret-1")
    Client(user="alice", password="changed-1").close()
    t = open(work + "/users.yaml").read()
    at = t.index('  "bob":')
    end = t.find('\n  "', at + 5)
    write(t[:at] + (t[end + 1:] if end >= 0 else ""))
    penstock("config", "reload")
    until("bob was removed", lambda: gone(bob))
    assert refused(user="bob", password="se:cret 2")
    assert nosql("count", Sym("trade")) == 21               # who was not touched goes on
    # the access log is bounded (access_log_size)
    for i in range(40):
        error(lambda: nosql("s)select '" + "z" * 1000 + "' from nowhere"))
    until("access.lost", lambda: counters()["access.lost"] > 0)

def log():
    files = [f for f in os.listdir(work + "/state") if ".access." in f]
    assert len(files) == 1, files
    path = work + "/state/" + files[0]
    assert os.stat(path).st_size <= 40 * 1024 and os.stat(path).st_mode & 0o777 == 0o640
    lines = [json.loads(l) for l in open(path)]             # every line is one object, whatever was sent
    events = {}
    for l in lines: events.setdefault(l["event"], []).append(l)
    logins = {l["user"] for l in events["login"]}
    assert {"alice", "bob", "nosql"} <= logins and not logins & {"mallory", "far", "ALICE"}, logins
    assert all(":" in l["from"] for l in events["login"] if l["user"] == "bob")
    assert {"mallory", "far", "ALICE"} <= {l.get("user") for l in events["refuse"]}, events["refuse"]
    assert any("may not come from" in l.get("reason", "") for l in events["refuse"])
    asked = [l for l in events["query"] if "select * from trade" in l["text"]]
    answers = {l["id"]: l for l in events["answer"]}
    done = [answers[q["id"]] for q in asked if q["id"] in answers]
    assert any(a["rows"] == 20 and a["bytes"] > 100 and a["ms"] >= 0 and a["user"] == "bob" for a in done), done
    assert any("quote" in l.get("reason", "") for l in events["error"])
    assert {("alice", "publish"), ("bob", "publish"), ("nosql", "sql")} <= {(l["user"], l["reason"]) for l in events["deny"]}, events["deny"]
    assert any(l["user"] == "alice" for l in events["subscribe"])
    assert any("removed" in l.get("reason", "") for l in events["close"])
    assert any(l.get("cut") for l in lines)

def handshaken(address, ca, server_name=None, **login):
    return Client(host=address, tls=tls(ca), **login)

def tls_case():
    ca = sys.argv[3]
    assert refused(user="alice", password="secret-1")       # tls: required, not a byte for a password in the clear
    assert refused(host="10.9.9.9", user="alice", password="secret-1")
    for host in ("127.0.0.1", "10.9.9.9"):
        c = Client(host=host, tls=tls(ca), user="alice", password="secret-1")
        assert c.s.version() in ("TLSv1.2", "TLSv1.3")
        c(".u.upd", Sym("trade"), trades(3))
        c.close()
        assert refused(host=host, tls=tls(ca), user="alice", password="wrong")
    c = Client(tls=tls(ca), user="alice", password="secret-1")
    s = Client(tls=tls(ca), user="alice", password="secret-1")
    s(".u.sub", Sym("trade"), Sym(""))
    n = 300_000
    c(".u.upd", Sym("trade"), trades(n))                    # 10 MB each way, in many records
    got = 0
    while got < n:
        m = s.recv(30)
        assert m is not None, got
        got += len(m[2]["sym"])
    assert got == n
    # half a handshake, an old protocol, no handshake at all: they end, others go on
    half = socket.create_connection(("127.0.0.1", 5010))
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    junk = socket.create_connection(("127.0.0.1", 5010))
    junk.sendall(b"\x16" * 400)
    junk.settimeout(5)
    try:
        while junk.recv(4096): pass
    except ConnectionError:
        pass
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.minimum_version = ssl.TLSVersion.TLSv1
    try:
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.wrap_socket(socket.create_connection(("127.0.0.1", 5010), 5))
        raise AssertionError("TLS 1.1 was taken")
    except (ssl.SSLError, ConnectionError):
        pass
    c(".u.upd", Sym("trade"), trades(1))
    assert len(s.recv(20)[2]["sym"]) == 1

def renewed():
    ca, old = sys.argv[3:5]
    def ok():
        try:
            Client(tls=tls(ca), user="alice", password="secret-1").close()
            return True
        except (ssl.SSLError, OSError):
            return False
    until("the new certificate", ok)
    try:
        Client(tls=tls(old), user="alice", password="secret-1")
        raise AssertionError("the old certificate is still used")
    except ssl.SSLError:
        pass
    until("alarm ipc.certificate", lambda: "ipc.certificate" in penstock("alarms", "--json"))

def validator():
    """A program of 20 lines beside it; what it says, or does not, is what happens to logins with scram: external."""
    path, asked = work + "/validator.sock", []
    alarmed = lambda: any(a["code"] == "ipc.validator" for a in json.loads(penstock("alarms", "--json"))["raised"])
    assert refused(user="ext", password="right")            # nobody there: refused, said, counted
    until("alarm ipc.validator", alarmed)
    assert counters()["auth.validator_failed"] == 1
    Client(user="alice", password="secret-1").close()       # its own entry has a verifier: it is not asked
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    def answer(c):
        q = json.loads(c.makefile("rb").readline())
        asked.append(q)
        if q["password"] == "slow": return time.sleep(6)
        if q["password"] == "junk": return c.sendall(b"OK\n")
        ok = q["password"] == 'r"ight \u00e4'
        c.sendall(json.dumps({"ok": ok, "reason": "not so"}).encode() + b"\n")
    def serve():
        while True:
            c, _ = listener.accept()
            threading.Thread(target=lambda: (answer(c), c.close()), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    c = Client(user="ext", password='r"ight \u00e4')
    port = c.s.getsockname()[1]
    assert asked == [{"user": "ext", "password": 'r"ight \u00e4', "address": "127.0.0.1", "port": port}], asked
    until("the alarm ends", lambda: not alarmed())
    c(".u.upd", Sym("trade"), trades(7))                    # its rights are those of the file
    assert list(c("tables[]")) == ["trade"]
    until("rows", lambda: c("count", Sym("trade")) == 7)
    assert len(c("s)select * from trade")["sym"]) == 7
    Client(user="ext", password='r"ight \u00e4').close()    # each login asks
    assert len(asked) == 2
    assert refused(user="ext", password="wrong") and refused(user="ext", password="junk") and len(asked) == 4
    assert refused(user="far", password='r"ight \u00e4') and refused(user="mallory", password='r"ight \u00e4')
    assert len(asked) == 4                                  # not of them
    slow = [threading.Thread(target=refused, kwargs=dict(user="ext", password="slow")) for _ in range(5)]
    start = time.time()
    for t in slow: t.start()
    until("five are asked", lambda: len(asked) == 9)
    at = time.time()
    Client(user="alice", password="secret-1").close()       # nobody waits behind them
    Client(user="ext", password='r"ight \u00e4').close()
    beside = time.time() - at
    for t in slow: t.join()
    took = time.time() - start
    assert took < 5.5 and (beside < 1.5 or os.getloadavg()[0] > 6), (took, beside)   # it would have answered after six
    n = counters()
    assert (n["auth.validated"], n["auth.validator_failed"]) == (4, 7), n
    print(f"five slow ones were refused after {took:.1f} s; two others beside them were in after {beside:.2f} s")

def costs():
    files = [f for f in os.listdir(work + "/state") if ".access." in f]
    text = open(work + "/state/" + files[0]).read()
    assert 'ight \u00e4' not in text and "secret-1" not in text    # no password is logged
    lines = [json.loads(l) for l in text.splitlines()]
    reasons = [l.get("reason", "") for l in lines if l["event"] == "refuse" and l.get("user") == "ext"]
    for words in ("No such file", "not so", "no object with ok", "in time"):
        assert any(words in r for r in reasons), (words, reasons)
    ended = [l for l in lines if l["event"] in ("answer", "error")]
    assert ended and all({"ms", "rows", "bytes", "memory"} <= set(l) for l in ended), ended
    local = [l for l in lines if "connection" not in l and l["event"] in ("query", "answer", "error")]
    assert [l["event"] for l in local] == ["query", "answer", "query", "error"], local
    asked, answered, wrong, failed = local
    who = "uid %d" % os.getuid()
    assert all(l["user"] == who and l["from"].startswith(who + " pid ") for l in local), local
    assert asked["text"].startswith("select sym, sum(size)") and asked["id"] == answered["id"] != failed["id"] == wrong["id"]
    assert answered["rows"] == 1 and answered["bytes"] > 0 and answered["ms"] > 0 and answered["memory"] > 0, answered
    assert "nowhere" in failed["reason"] and wrong["text"] == "select * from nowhere"
    remote = [l for l in ended if "connection" in l and l["rows"] == 7]
    assert remote and all(l["user"] == "ext" and l["memory"] > 7 * 8 for l in remote), ended

def flood():
    alice, bob = Client(user="alice", password="secret-1"), Client(user="bob", password="secret-2")
    alice(".u.sub", Sym("trade"), Sym(""))
    stop, sent, worst, tried, answered = threading.Event(), [0], [0.0], [0], [0]
    # In another process, so that it is not this one that is slow.
    child = os.fork()
    if not child:
        end, n, open_ = time.time() + 1.5, 0, []
        while time.time() < end:
            s = socket.socket()
            s.bind(("10.9.9.8", 0))
            s.setblocking(False)
            s.connect_ex(("10.9.9.9", 5010))
            open_.append(s)
            if len(open_) > 20:
                o = open_[-20]
                try: o.send(b"mallory:%d\3\0" % n)
                except OSError: pass
            if len(open_) > 800: open_.pop(0).close()
            n += 1
            time.sleep(max(0, (n / 1000) - (time.time() - (end - 1.5))))
        open(work + "/tried", "w").write(str(n))
        os._exit(0)
    before, start, got, late = counters(), time.time(), 0, 0.0
    while time.time() - start < 1.5:
        t = time.time()
        bob(".u.upd", Sym("trade"), trades(10))
        sent[0] += 10
        while got < sent[0]:
            m = alice.recv(30)
            assert m is not None, "the stream stopped"
            got += len(m[2]["sym"])
        late = max(late, time.time() - t)
        time.sleep(0.01)
    assert os.waitpid(child, 0)[1] == 0
    # one who has not logged in before comes in too, from another address, while the queue is full
    t = time.time()
    Client(user="carol", password="secret-3", timeout=5).close()
    waited = time.time() - t
    after = counters()
    seconds = time.time() - start
    d = {k: after[k] - before[k] for k in after if k.startswith("auth.")}
    tried = int(open(work + "/tried").read())
    print(f"{tried} logins in 1.5 s: {d}; the stream's slowest row {late * 1e3:.0f} ms of {got}, carol waited {waited:.2f} s")
    assert 0 < d["auth.checks"] <= 20 * seconds + 1, d
    busy = tried < 1200 or os.getloadavg()[0] > 6           # others have this machine: what is timed says nothing
    assert tried > 100 and (busy or d["auth.overflow"] + d["auth.timeout"] > 300), d
    assert busy or (late < 1.0 and waited < 1.5), (late, waited)

def strangers():
    """A host that opens connections and says nothing has a quarter of them; and what one user sends costs the others little."""
    watch, pub = Client(user="alice", password="secret-1"), Client(user="bob", password="secret-2")
    watch(".u.sub", Sym("trade"), Sym(""))
    def rss():
        return sum(int(l.split()[1]) for l in open("/proc/%s/status" % sys.argv[2]) if l.startswith("RssAnon")) // 1024
    before, mute = rss(), []
    for i in range(1400):                                   # of 4,096 (ipc.connections) a quarter is one address's
        s = socket.socket()
        s.bind(("10.9.9.8", 0))
        s.connect(("10.9.9.9", 5010))
        mute.append(s)
    time.sleep(0.3)
    shut = 0
    for s in mute:
        s.setblocking(False)
        try: shut += s.recv(1) == b""
        except BlockingIOError: pass
        except ConnectionError: shut += 1
    assert shut >= 1400 - 1024, shut
    Client(user="carol", password="secret-3").close()       # from elsewhere there is room
    # a message that unpacks to 50 MB, 20 times; headers that claim 64 MB; counts that lie
    n = 0x03030303
    total, bomb = 14 + n, bytearray(struct.pack("<BBBBII", 1, 1, 1, 0, 0, 14 + n) + b"\0\x0a\0" + struct.pack("<i", n) + b"\0\0")
    left = total - 16
    while left:
        items = min(8, -(-left // 257))
        bomb.append((1 << items) - 1)
        for _ in range(items):
            run = min(257, left if left <= 257 or left >= 259 else left - 2)
            bomb += bytes((0, run - 2))
            left -= run
    struct.pack_into("<I", bomb, 4, len(bomb))
    evil = [Client(user="carol", password="secret-3") for _ in range(45)]
    for c in evil[:20]: c.s.sendall(bomb)
    for c in evil[20:40]: c.s.sendall(struct.pack("<BBBBI", 1, 1, 0, 0, 64 << 20) + b"\0" * 9)
    for c, body in zip(evil[40:], (b"\x0b\0\xff\xff\xff\x7f", b"\0\0\xff\xff\xff\x7f", b"\x0a\0\xff\xff\xff\xff", b"\0\0\1\0\0\0" * 100000 + b"\x65\0",
                                   b"\x07\0\0\0\0\x80")):
        c.s.sendall(struct.pack("<BBBBI", 1, 1, 0, 0, len(body) + 8) + body)
    pub(".u.upd", Sym("trade"), trades(1))
    assert watch.recv(30) is not None
    evil[0].s.settimeout(30)
    assert b"nyi" in evil[0].message()[1]                   # it was a text of zeros: read, and no request
    for c in evil[40:]:
        c.s.settimeout(20)
        assert not c.s.recv(100), "hostile bytes were answered"
    error(lambda: pub(".u.sub", Sym("trade"), Syms("s%d" % i for i in range(100001))), "100000")
    grown = rss() - before
    assert grown < 250, grown
    for c in evil + mute: (c.s if hasattr(c, "s") else c).close()
    print(f"{len(bomb)} bytes unpack to {total}; the daemon grew by {grown} MB")

dict(strangers=strangers, closed=closed, opens=opens, rights=rights, log=log, tls=tls_case, renewed=renewed, flood=flood, validator=validator, costs=costs)[sys.argv[1]]()
