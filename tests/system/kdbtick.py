# SPDX-License-Identifier: Apache-2.0
"""kdbtick.py PORT DIRECTORY MODE RATE [DATE] - a simulated kdb+ tickerplant (tick.q's protocol and log, kdb-formats
section 2 and 3): publishes numbered rows of tables trade and quote until it is told to stop.

MODE zero: each row is logged and published at once; batch: rows are logged at once and published every 50 ms, so
that the log is ahead of .u.i. With `-nolog` behind it there is no log: (0N; `).
Lines on stdin: `end` ends the day (.u.end, new log), `pause`, `go`, `quit`. At the end, and after each line, it
writes DIRECTORY/truth.json: rows by table and date. A log that exists is continued, and so are the numbers;
without a log they start at the time in microseconds."""
import json, os, select, socket, struct, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from kdbclient import K, Sym, Syms, Table, encode, decode, QError
import numpy as np

port, directory, mode, rate = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
log_on = not mode.endswith("-nolog")
batch = mode.startswith("batch")
EPOCH = np.datetime64("2000-01-01")
day = int((np.datetime64(sys.argv[5].replace(".", "-")) - EPOCH).astype(int)) if len(sys.argv) > 5 else \
    int((np.datetime64(time.strftime("%Y-%m-%d", time.gmtime())) - EPOCH).astype(int))
truth_path = directory + "/truth.json"
truth = json.load(open(truth_path)) if os.path.exists(truth_path) else {}
number = sum(n for d in truth.values() for n in d.values())
syms = ["AAPL", "MSFT", "IBM", "O   240119C00150000", "Z"]
log = i = j = None
buffered = {"trade": [], "quote": []}
subscribers, inputs = [], {}

def date(d): return str(EPOCH + np.timedelta64(d, "D")).replace("-", ".")
def path(): return "%s/sym%s" % (directory, date(day))
def open_log():
    global log, i, j
    i = j = 0
    if not log_on: return
    if not os.path.exists(path()): open(path(), "wb").write(b"\xff\x01" + bytes(6))
    b, at = open(path(), "rb").read(), 8
    while at < len(b):
        try: _, end = decode(b, at)
        except Exception: break # a torn tail
        at, i = end, i + 1
    os.truncate(path(), at)
    j = i
    log = open(path(), "ab", buffering=0)
    # what the log holds is what happened
    counts, at = {"trade": 0, "quote": 0}, 8
    while at < len(b) and at < os.path.getsize(path()):
        m, at = decode(b, at)
        counts[m[1]] += 1 if not hasattr(m[2][1], "__len__") or isinstance(m[2][1], str) else len(m[2][1])
    truth[date(day)] = counts
def save():
    open(truth_path + ".new", "w").write(json.dumps(truth))
    os.replace(truth_path + ".new", truth_path)
def frame(kind, x):
    body = encode(x)
    return struct.pack("<BBBBi", 1, kind, 0, 0, len(body) + 8) + body
def post(x):
    m = frame(0, x)
    for s in list(subscribers):
        try: s.sendall(m)
        except OSError: subscribers.remove(s)
def table(name, rows):
    t = Table()
    t["time"] = K(16, [r[0] for r in rows])
    t["sym"] = Syms([r[1] for r in rows])
    t["n"] = K(7, [r[2] for r in rows])
    if name == "trade": t["price"] = K(9, [r[3] for r in rows])
    else: t["note"] = [r[3] for r in rows]
    return t
def schema(name):
    t = table(name, [])
    if name == "quote": t["note"] = []
    return [Sym(name), t]
def publish():
    """One message of a publisher: a row, now and then columns."""
    global number, i, j
    name = "trade" if number % 3 else "quote"
    k = 5 if number % 50 == 0 else 1
    rows = []
    now = int((time.time() % 86400) * 1e9)
    for _ in range(k):
        rows.append((now, syms[number % len(syms)], number, number / 4 if name == "trade" else "note %d" % number))
        number += 1
    if k == 1:
        r = rows[0]
        x = [K(-16, r[0]), Sym(r[1]), int(r[2]), float(r[3]) if name == "trade" else r[3]]
    else: x = list(table(name, rows).values())
    if log_on: log.write(encode([Sym("upd"), Sym(name), x]))
    j += 1
    counts = truth.setdefault(date(day), {"trade": 0, "quote": 0})
    counts[name] += k
    if batch: buffered[name] += rows
    else:
        i = j
        post([Sym("upd"), Sym(name), table(name, rows)])
def flush():
    global i
    for name, rows in buffered.items():
        if rows: post([Sym("upd"), Sym(name), table(name, rows)])
        buffered[name] = []
    i = j
def end_of_day():
    global day
    flush()
    post([Sym(".u.end"), K(-14, day)])
    day += 1
    open_log()
    save()
def answer(s, x):
    point = [int(i), Sym(":" + path())] if log_on else [K(-7, -2**63), Sym("")]
    if x == "(.u.sub[`;`];.u `i`L)":
        subscribers.append(s)
        return [[schema("trade"), schema("quote")], point]
    if isinstance(x, list) and x and x[0] == "{(.u.sub[;`]each x;`.u `i`L)}":
        subscribers.append(s)
        return [[schema(t) for t in x[1]], point]
    if x == "": return None
    if isinstance(x, list) and str(x[0]).startswith(".pst"): return QError(str(x[0]))
    return QError("nyi")
def readable(s):
    b = inputs[s][1]
    got = s.recv(65536)
    if not got: raise OSError
    b += got
    if not inputs[s][0]: # login
        if 0 not in b: return
        del b[:b.index(0) + 1]
        inputs[s][0] = True
        s.sendall(b"\x03")
    while len(b) >= 8 and len(b) >= struct.unpack_from("<i", b, 4)[0]:
        n = struct.unpack_from("<i", b, 4)[0]
        kind, x = b[1], decode(bytes(b[8:n]))[0]
        del b[:n]
        if batch and log_on: pass
        r = answer(s, x)
        if kind == 1:
            if isinstance(r, QError):
                text = b"\x80" + str(r).encode() + b"\0"
                s.sendall(struct.pack("<BBBBi", 1, 2, 0, 0, len(text) + 8) + text)
            else: s.sendall(frame(2, r))

open_log()
number = max(number, sum(n for d in truth.values() for n in d.values()))
if not log_on: number = int(time.time() * 1e6) # nothing tells what a killed one had published
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(8)
print("ready", flush=True)
going, start, sent, flushed = True, time.time(), 0, time.time()
stdin = b""
while True:
    r, _, _ = select.select([listener, sys.stdin.fileno()] + list(inputs), [], [], 0.002)
    for s in r:
        if s is listener:
            c, _ = listener.accept()
            c.settimeout(10)
            inputs[c] = [False, bytearray()]
        elif s == sys.stdin.fileno():
            got = os.read(s, 4096)
            if not got:
                save()
                sys.exit(0)
            stdin += got
            while b"\n" in stdin:
                line, stdin = stdin.split(b"\n", 1)
                if line == b"end": end_of_day()
                elif line == b"marks": # end of interval, buffering event
                    flush()
                    post([Sym(".u.eoi"), K(12, [86400 * 10**9 * day, 86400 * 10**9 * day + 60 * 10**9])])
                    post([Sym(".dm.buff.start"), [Sym("7"), Sym(":/data/b7"), None]])
                    post([Sym(".dm.buff.end"), [Sym("7"), Sym(":/data/b7"), None]])
                elif line == b"pause": going = False
                elif line == b"go": going, start, sent = True, time.time(), 0
                elif line == b"quit":
                    flush()
                    save()
                    sys.exit(0)
                flush()
                save()
                print("did " + line.decode(), flush=True)
        else:
            try: readable(s)
            except OSError:
                inputs.pop(s, None)
                if s in subscribers: subscribers.remove(s)
    if going:
        due = int((time.time() - start) * rate) - sent
        for _ in range(min(due, 2000)):
            publish()
            sent += 1
    if batch and time.time() - flushed > 0.05:
        flush()
        flushed = time.time()
