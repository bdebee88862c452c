# SPDX-License-Identifier: Apache-2.0
"""A client of streaming analytics for tests, over kdbclient: what a user's program does. Each Stream merges what it gets
(delta: by key; full: replaced; events: appended) and knows the position that its state is of; it fails at once when
messages break what is promised: an update before the state, a position that goes back, columns that change, no rows."""
import os, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kdbclient import Client, Dict, QError, Sym, Syms, Table

def table_rows(t):
    """Rows of a table or keyed table as tuples."""
    cols = {}
    for part in ([t] if isinstance(t, Table) else t): cols.update(part)
    return list(cols), list(zip(*[[x if isinstance(x, str) else x.item() if hasattr(x, "item") else x for x in c] for c in cols.values()]))

def params(d):
    """A dictionary as .sa.sub takes it. Lists of texts become symbol lists, texts symbols."""
    v = [Syms(x) if isinstance(x, (list, tuple)) else Sym(x) if type(x) is str else x for x in d.values()]
    return Dict((Syms(list(d)), list(v)))

class Stream:
    def __init__(self, on, answer, asked):
        a = dict(zip(*answer))
        self.on, self.asked = on, asked
        self.id, self.name, self.group, self.mode = a["id"], str(a["name"]), str(a["group"]), str(a["mode"])
        self.key, self.columns, self.position = [str(k) for k in a["key"]], [str(c) for c in a["columns"]], a["position"]
        self.at = [self.columns.index(k) for k in self.key]
        self.state, self.events, self.seen = {}, [], False
        self.waits, self.ended = True, None
        self.united = False # of several processes (broadcast): each says its own positions
        self.snaps = self.updates = self.rows = 0
        self.notices, self.snap_position = [], None
    def take(self, rows, position, whole):
        columns, rows = rows
        assert columns == self.columns, (self.name, columns, self.columns)
        assert self.united or self.position is None or position >= self.position, "%s: position %d behind %d" % (self.name, position, self.position)
        if whole:
            self.snaps += 1
            self.waits, self.seen, self.snap_position = False, True, position
            self.state, self.events = {}, [] # events before a new state are no longer whole
        else:
            assert self.seen and not self.waits, "%s: an update before the state" % self.name
            assert rows, "%s: an empty update" % self.name
            self.updates += 1
            if self.mode == "full": self.state = {}
        self.rows += len(rows)
        self.position = position
        if self.mode == "events": self.events += rows
        else:
            for r in rows: self.state[tuple(r[i] for i in self.at) if self.at else len(self.state)] = r

class Streams:
    """A connection. take(): everything that is there now, or the next thing within `timeout`."""
    def __init__(self, **at):
        self.c = Client(**at)
        self.streams, self.others, self.closed = {}, [], False
    def sub(self, name, d={}, direct=False, **options):
        o = params(options)
        answer = self.c(name, params(d), o) if direct else self.c(".sa.sub", Sym(name), params(d), o)
        s = Stream(self, answer, dict(d))
        if s.id in self.streams: return self.streams[s.id] # joined twice: it is one
        self.streams[s.id] = s
        return s
    def unsub(self, s):
        self.c(".sa.unsub", s.id)
        self.streams.pop(s.id)
        self.others = [m for m in self.others if not (m[0] in (".sa.snap", ".sa.upd") and m[1] == s.id)]
        s.left = True
    def handle(self, m):
        s = self.streams.get(m[1]) if m[0] in (".sa.snap", ".sa.upd", ".sa.notice") else None
        if s is None:
            self.others.append(m)
        elif m[0] == ".sa.notice":
            s.notices.append((str(m[2]), m[3]))
            kind = str(m[2])
            if kind in ("moved", "lost", "resync"): s.waits = True
            if kind in ("stopped", "ended"): s.ended = m[3]
        else:
            assert s.ended is None, "%s: a message behind its end" % s.name
            s.take(table_rows(m[2]), m[3], m[0] == ".sa.snap")
    def take(self, timeout=0):
        n = 0
        while not self.closed:
            try: m = self.c.recv(timeout if not n else 0)
            except (EOFError, ConnectionError): self.closed = True; break
            if m is None: break
            self.handle(m)
            n += 1
        return n
    def until(self, what, condition, seconds=20):
        end = time.time() + seconds
        while not condition():
            assert not self.closed, "closed, waiting for " + what
            assert time.time() < end, "waited in vain for %s: %s" % (what, [(s.name, s.asked, s.snaps, s.updates, s.position, s.notices[-3:]) for s in self.streams.values()][:5])
            self.take(0.05)
    def table(self, what): # .sa.list, .sa.streams
        columns, rows = table_rows(self.c(what + "[]"))
        return [dict(zip(columns, r)) for r in rows]
    def close(self):
        self.c.close()
        self.closed = True
