# SPDX-License-Identifier: Apache-2.0
"""feeder.py SOCKET FILE RATE: publishes numbered rows of trade and quote to a penstockd, each acknowledged as durable
in batches, and connects again when it is gone; numbers that were not acknowledged are not used again.
feeder.py rows: rows of `log dump --json` on stdin as sorted lines."""
import json, os, sys, time
if sys.argv[1] == "rows":
    rows = [r for r in map(json.loads, sys.stdin) if r["table"] in ("trade", "quote")]
    for r in rows: r.pop("position")
    print("\n".join(sorted(json.dumps(r, sort_keys=True) for r in rows)))
    sys.exit()
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from kdbclient import Client, K, QError, Sym, Syms
n, rate = 0, float(sys.argv[3])
while True:
    try:
        c = Client(path=sys.argv[1])
        while True:
            k = 1 + n % 7
            trade = [Syms(["S%d" % (i % 20) for i in range(n, n + k)]), K(7, range(n, n + k)), K(9, [i / 4 for i in range(n, n + k)])]
            n += k
            c(".u.upd", Sym("trade"), trade)
            c.send(".u.upd", Sym("quote"), [Sym("Q%d" % n), n, "note %d" % n])
            n += 1
            time.sleep(k / rate)
    except (OSError, EOFError, QError) as e:
        print(repr(e), flush=True)
        time.sleep(0.05)
