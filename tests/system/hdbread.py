#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hdbread.py: a database on disk against the log, row for row. A reader of its own, from the format
page: `sym`, `.d`, raw vectors, 64-bit enumerations, strings; nothing of Penstock's is used but the
text of `penstock log dump --json`.

  hdbread.py ROOT DATE DUMP.json [TABLE=ROWS ...]   every table of the date equals the dump's rows of it
  hdbread.py ROOT DATE --counts                      {"table": rows}

Checked for each table: the rows as a multiset, the order (text of the symbol, null first; then time;
then arrival), that `.d` names exactly the columns there are, that every column has as many rows.
"""
import json, os, struct, sys
from collections import Counter

NULL = {5: -2**15, 6: -2**31, 7: -2**63, 12: -2**63, 13: -2**31, 14: -2**31, 16: -2**63, 17: -2**31, 18: -2**31, 19: -2**31}
CODE = {1: "b", 4: "B", 5: "h", 6: "i", 7: "q", 8: "f", 9: "d", 10: "c", 12: "q", 13: "i", 14: "i", 16: "q", 17: "i", 18: "i", 19: "i"}


def symbols(path):
    b = open(path, "rb").read()
    assert b[:2] == b"\xff\x01" and b[2] == 11, path
    return [x.decode("utf-8", "replace") for x in b[8:].split(b"\0")[:-1]]


def days(n):  # 2000-01-01 + n, without datetime
    import datetime
    return (datetime.date(2000, 1, 1) + datetime.timedelta(n)).strftime("%Y.%m.%d")


def stamp(v):
    d, ns = divmod(v, 86400 * 10**9)
    s, ns = divmod(ns, 10**9)
    return "%sD%02d:%02d:%02d.%09d" % (days(d), s // 3600, s // 60 % 60, s % 60, ns)


def column(path, sym):
    b = open(path, "rb").read()
    if b[:2] == b"\xfd\x20":
        n = len(b[4096:]) // 8
        return [None if i == NULL[7] else sym[i] for i in struct.unpack("<%dq" % n, b[4096:4096 + 8 * n])]
    if b[:2] == b"\xff\x01":  # an empty nested column
        return []
    assert b[:2] == b"\xfe\x20", path
    t, n = b[2], struct.unpack_from("<q", b, 8)[0]
    if t == 87:
        ends = struct.unpack_from("<%dq" % n, b, 16)
        text = open(path + "#", "rb").read()
        text = text[16:] if text[:2] == b"\xfe\x20" else text
        return [text[(ends[i - 1] if i else 0):ends[i]].decode("utf-8", "replace") for i in range(n)]
    if t == 2:
        return [b[16 + 16 * i:32 + 16 * i].hex() for i in range(n)]
    v = struct.unpack_from("<%d%s" % (n, CODE[t]), b, 16)
    if t in (8, 9):
        return [None if x != x else x for x in v]
    if t == 10:
        return [None if x == b" " else x.decode("latin-1") for x in v]
    if t == 1:
        return [bool(x) for x in v]
    if t == 12:
        return [None if x == NULL[12] else stamp(x) for x in v]
    return [None if x == NULL.get(t) else x for x in v]


def table(path, sym):
    names = symbols(os.path.join(path, ".d"))
    have = {f for f in os.listdir(path) if not f.startswith(".") and not f.endswith("#")}
    assert set(names) == have, (path, names, have)
    cols = {n: column(os.path.join(path, n), sym) for n in names}
    rows = {len(c) for c in cols.values()}
    assert len(rows) == 1, (path, {n: len(c) for n, c in cols.items()})
    return names, cols, rows.pop()


def date_dir(root, date):
    disks = [root]
    if os.path.exists(root + "/par.txt"):
        disks = [os.path.join(root, x.strip()) for x in open(root + "/par.txt") if x.strip()]
    for d in disks:
        if os.path.isdir(d + "/" + date):
            return d + "/" + date
    return None


def order(names, cols, n):
    key = [((cols["sym"][i] is not None, (cols["sym"][i] or "").encode()), cols["time"][i] or "") for i in range(n)]
    return all(key[i] <= key[i + 1] for i in range(n - 1))


def value(name, v):
    return round(v, 9) if isinstance(v, float) else v


def main():
    root, date = sys.argv[1], sys.argv[2]
    where = date_dir(root, date)
    if where is None:
        print("{}" if "--counts" in sys.argv else "no such date")
        return 0 if "--counts" in sys.argv else 1
    left = [f for f in os.listdir(os.path.dirname(where)) if f.endswith("$") and f != "pst$"]
    assert not left or "--dirty" in sys.argv, ("leftovers", left)
    sym = symbols(root + "/sym")
    got = {}
    for t in sorted(os.listdir(where)):
        got[t] = table(where + "/" + t, sym)
    if "--counts" in sys.argv:
        print(json.dumps({t: n for t, (_, _, n) in got.items()}))
        return 0
    want = {}
    for line in open(sys.argv[3]):
        r = json.loads(line)
        want.setdefault(r["table"], []).append(r)
    bad = 0
    for t in sorted(set(got) | set(want)):
        names, cols, n = got.get(t, ([], {}, 0))
        rows = want.get(t, [])
        if t == "alarm":  # an alarm that is raised while a test looks is nobody's business
            continue
        if n != len(rows):
            print("%s: %d rows on disk, %d in the log" % (t, n, len(rows)))
            bad += 1
            continue
        if not n:
            continue
        if not order(names, cols, n):
            print("%s: not in the order of sym and time" % t)
            bad += 1
        a = Counter(tuple(value(c, cols[c][i]) for c in names) for i in range(n))
        b = Counter(tuple(value(c, r[c]) for c in names) for r in rows)
        if a != b:
            x = [dict(zip(names, k)) for k in list((a - b))[:1]], [dict(zip(names, k)) for k in list((b - a))[:1]]
            print("%s: other rows: on disk %s, in the log %s" % (t, *x))
            bad += 1
    for want_rows in sys.argv[4:]:
        if "=" in want_rows:
            t, n = want_rows.split("=")
            if got.get(t, (0, 0, 0))[2] != int(n):
                print("%s: %s rows on disk, %s wanted" % (t, got.get(t, (0, 0, 0))[2], n))
                bad += 1
    print("%s: %s" % (date, ", ".join("%s %d" % (t, n) for t, (_, _, n) in got.items() if n)))
    return 1 if bad else 0


sys.exit(main())
