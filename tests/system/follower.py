# SPDX-License-Identifier: Apache-2.0
"""follower.py SOCKET SECONDS ROWS: subscribes to everything at a penstockd as a stock client does, prints `ready`, then
what comes that is no row: function and arguments, a line each; and at the end `rows N`: half a second after a `.u.end`
and so many rows, or when the seconds are over."""
import os, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from kdbclient import Client, Sym
c, rows, until, ended = Client(path=sys.argv[1]), 0, time.time() + float(sys.argv[2]), False
c(".u.sub", Sym(""), Sym(""))
print("ready", flush=True)
while time.time() < until:
    m = c.recv(0.1)
    if m is None: continue
    if m[0] == "upd": rows += len(m[2]["time"])
    else: print(m[0], str(m[1:]).replace("\n", " "), flush=True)
    if m[0] == ".u.end": ended = True
    if ended and rows > int(sys.argv[3]): until, ended = min(until, time.time() + 0.5), False # what comes twice would come now
print("rows", rows)
