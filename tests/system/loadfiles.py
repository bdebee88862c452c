#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""loadfiles.py: files for the loader, and what must come of them.

  loadfiles.py rows FILE DATE N [SEED]       a CSV file of N trades of that date
  loadfiles.py tiny DIR N                    N files of a row, over three dates, parts of one batch
  loadfiles.py paper DIR DATE N1 N2 N3       the white paper's batch: three parts of N x 10 rows, rows that are there
                                             before, and all of it as one sorted file
  loadfiles.py watch PENSTOCK WORK OLD NEW   asks for the rows again and again until WORK/enough is there: each answer
                                             is OLD or NEW, and once NEW never OLD again
"""
import datetime, json, os, random, subprocess, sys

HEADER = "time,sym,price,size,ex,note\n"


def stamp(day, ns):
    s, n = divmod(ns, 10**9)
    return "%sD%02d:%02d:%02d.%09d" % (day, s // 3600, s // 60 % 60, s % 60, n)


def next_day(day, n):
    d = datetime.date(*map(int, day.split("."))) + datetime.timedelta(n)
    return d.strftime("%Y.%m.%d")


def row(r, day, symbols=200):
    """Times are within the session of New York, so that the date is the same in UTC and there."""
    ns = (15 * 3600 + r.randrange(4 * 3600)) * 10**9 + r.randrange(10**6) * 1000
    sym = "" if r.random() < 0.01 else "S%03d" % r.randrange(symbols)
    price = "" if r.random() < 0.02 else "%.4f" % (r.randrange(10**6) / 10**4)
    note = "" if r.random() < 0.3 else "n" * r.randrange(30)
    return (ns, sym, "%s,%s,%s,%d,%s,%s\n" % (stamp(day, ns), sym, price, r.randrange(10**6), r.choice("NPQTZ"), note))


def write(path, rows):
    with open(path, "w") as f:
        f.write(HEADER)
        f.writelines(x[2] if isinstance(x, tuple) else x for x in rows)


def rows(path, day, n, seed=1):
    r = random.Random(int(seed))
    write(path, [row(r, day) for _ in range(int(n))])


def tiny(out, n):
    os.makedirs(out)
    for i in range(1, int(n) + 1):
        with open("%s/t_%dof%s.csv" % (out, i, n), "w") as f:
            f.write(HEADER + "%s,S%d,%d,%d,N,\n" % (stamp("2026.11.0%d" % (2 + i % 3), 15 * 3600 * 10**9 + i), i % 50, i, i))


def paper(out, day, *sizes):
    os.makedirs(out)
    r = random.Random(7)
    days = [day, next_day(day, -1), next_day(day, -7)]
    existing = [(d, row(r, d)) for d in days[:2] for _ in range(1500)]
    parts = [[(r.choice(days), None) for _ in range(int(n) * 10)] for n in sizes]
    parts = [[(d, row(r, d)) for d, _ in p] for p in parts]
    write(out + "/existing.csv", [x for _, x in existing])
    for i, p in enumerate(parts, 1):
        write("%s/trades_a_%dof%d.csv" % (out, i, len(parts)), [x for _, x in p])
    everything = existing + [x for p in parts for x in p]
    # the order of a partition: symbol's text (null first), time, arrival
    write(out + "/sorted.csv", [x for _, x in sorted(everything, key=lambda e: (e[0], e[1][1], e[1][0]))])
    today = [x for d, x in everything if d == day]
    write(out + "/day.csv", today)
    write(out + "/half1.csv", today[::2])
    write(out + "/half2.csv", today[1::2])
    for name, n in (("existing", len(existing)), ("all", len(everything))):
        open("%s/%s.rows" % (out, name), "w").write("%d\n" % n)


def watch(penstock, work, old, new):
    asked, seen = 0, {old: 0, new: 0}
    while not os.path.exists(work + "/enough") or not seen[new]:
        # several dates: all of a batch or nothing of it
        r = subprocess.run([penstock, "--socket", work + "/s.sock", "sql", "--json", "-q", "select count(*) as n from trade"],
                           capture_output=True, text=True)
        if r.returncode:
            sys.exit("a query failed: " + r.stderr)
        n = str(json.loads(r.stdout)["rows"][0]["n"])
        if n not in seen:
            sys.exit("%s rows: neither %s nor %s" % (n, old, new))
        if n == old and seen[new]:
            sys.exit("%s rows, but %s were there before" % (n, new))
        asked, seen[n] = asked + 1, seen[n] + 1
        open(work + "/asked", "w").write("%d %d %d\n" % (asked, seen[old], seen[new]))


if __name__ == "__main__":
    {"rows": rows, "tiny": tiny, "paper": paper, "watch": watch}[sys.argv[1]](*sys.argv[2:])
