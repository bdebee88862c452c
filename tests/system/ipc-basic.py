#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ipc-basic.py: the scenario's clients, each a process of its own.

  ipc-basic.py feed TABLE PORT      random rows of six symbols until SIGTERM; prints a line at the first
  ipc-basic.py count TABLES PORT    a subscriber that counts; prints "TABLE ROWS" at each end of day, at SIGTERM
  ipc-basic.py check PORT SQL       the answer's first row, as text
  ipc-basic.py aggregate PORT       one row of `aggregate` from what the RDB holds, as an engine would
"""
import random, signal, sys, time
import numpy as np
from kdbclient import Client, K, QError, Sym, Syms, Table

SYMBOLS = ["AAPL", "GOOG", "IBM", "MSFT", "ORCL", "TSLA"]
what, stop = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *a: stop.append(1))

if what == "feed":
    table, q, r, n = sys.argv[2], Client(port=int(sys.argv[3])), random.Random(sys.argv[2]), 0
    columns = {"trade": (7, 9), "quote": (9, 9, 7, 7)}[table]  # behind time, sym, exchange
    sent = 0
    while not stop:
        k = r.choice((1, 1, 5, 100))
        q.send(".u.upd", Sym(table), [Syms(r.choice(SYMBOLS) for _ in range(k)), Syms(r.choice("NQP") for _ in range(k))] +
               [K(t, [10 * r.random() if t == 9 else r.randrange(1000) for _ in range(k)]) for t in columns])  # without time
        if not sent:
            print("the first rows of %s are on their way" % table, flush=True)
        sent += k
        if r.random() < 0.1:
            time.sleep(0.002)
    q("")  # everything before it was taken
    print(sent, flush=True)
elif what == "count":
    tables, q = sys.argv[2].split(","), Client(port=int(sys.argv[3]))
    seen = {}
    for t in tables:
        name, schema = q(".u.sub", Sym(t), Sym(""))
        assert name == t and schema["sym"].a == 4, (name, schema)
        seen[t] = 0
    print("subscribed", flush=True)
    while not stop:
        m = q.recv(0.2)
        if m and m[0] == "upd":
            assert isinstance(m[2], Table) and list(m[2])[:3] == ["time", "sym", "trdvol" if m[1] == "aggregate" else "exchange"], m
            assert m[2]["time"].t == 12
            seen[m[1]] += len(m[2]["sym"])
        elif m and m[0] == ".u.end":
            print("end", int(m[1]), *("%s %d" % x for x in seen.items()), flush=True)
    print(*("%s %d" % x for x in seen.items()), flush=True)
elif what == "check":
    t = Client(port=int(sys.argv[2]))("s)" + sys.argv[3])
    print(*(v[0] if len(v) else "none" for v in t.values()))
elif what == "aggregate":
    q = Client(port=int(sys.argv[2]))
    q(".u.upd", Sym("aggregate"), [Sym("AAPL"), 100, 9.5, 1.5, 9.25, 1.25, 0.25])
    try:
        q(".u.upd", Sym("aggregate"), [Sym("AAPL"), 100])
        sys.exit("a row of too few columns was taken")
    except QError as e:
        print(e)
