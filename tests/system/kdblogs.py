# SPDX-License-Identifier: Apache-2.0
"""kdblogs.py DUMP.json LOG... [--names]: the rows of kdb+ logs, read by tests/support/kdbobj.py, are
those of `penstock log dump --json`, table by table, value by value, in order. --names: every update is a
table whose columns have the schema's names."""
import json, os, struct, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import kdbobj
from datetime import date, timedelta

EPOCH = date(2000, 1, 1)
INF = {12: 2**63 - 1, 16: 2**63 - 1}


def day(n):
    return (EPOCH + timedelta(days=n)).strftime("%Y.%m.%d")


def clock(n, unit, digits):
    s, rest = divmod(n, unit)
    t = "%02d:%02d:%02d" % (s // 3600, s // 60 % 60, s % 60)
    return t + (".%0*d" % (digits, rest) if digits else "")


def shown(kind, v):
    """As `log dump --json` shows it."""
    if v is None:
        return None
    if kind == 1:
        return bool(v)
    if kind == 2:
        return None if not int(v, 16) else "-".join((v[:8], v[8:12], v[12:16], v[16:20], v[20:]))
    if kind == 4:
        return "0x%02x" % v
    if kind in (8, 9):
        f = float(v)
        return "0w" if f == float("inf") else "-0w" if f == -float("inf") else f
    if kind == 12:
        return day(v // 86400000000000) + "D" + clock(v % 86400000000000, 10**9, 9)
    if kind == 13:
        return "%04d.%02d" % (2000 + v // 12, v % 12 + 1)
    if kind == 14:
        return day(v)
    if kind == 16:
        return ("-" if v < 0 else "") + "%dD" % (abs(v) // 86400000000000) + clock(abs(v) % 86400000000000, 10**9, 9)
    if kind == 17:
        return "%02d:%02d" % (v // 60, v % 60)
    if kind == 18:
        return clock(v, 1, 0)
    if kind == 19:
        return clock(v, 1000, 3)
    if kind == 11:
        return v or None
    return v


def equal(kind, got, want):
    if kind == 8 and isinstance(want, (int, float)):
        return struct.pack("f", got) == struct.pack("f", want)
    if isinstance(got, str) and isinstance(want, str) and got != want:
        return got.encode("latin-1") == want.encode("utf-8")
    if kind == 10 and got == " ":
        return want is None or want == " "
    return got == want


def columns(kind, value, n):
    if kind == 0:
        return [(k, v) for k, v in value]
    return [(abs(kind), v) for v in (value if kind > 0 else [value] * n)]


def main():
    names = "--names" in sys.argv
    want, at = {}, {}
    for line in open(sys.argv[1], encoding="utf-8"):
        r = json.loads(line)
        if "table" in r:
            want.setdefault(r["table"], []).append(r)
    total = messages = 0
    for path in sys.argv[2:]:
        if path.startswith("--"):
            continue
        data = open(path, "rb").read()
        for where, m in kdbobj.messages(data):
            if m is None:
                assert where == len(data), "%s: bad tail at %d" % (path, where)
                break
            messages += 1
            kind, (head, (_, table), (k, v)) = m
            assert head == (-11, "upd"), head
            if k == 98:
                assert names, "a table where columns were wanted"
                cols = list(v.values())
            else:
                assert k == 0 and not names, "columns where a table was wanted"
                cols = v
            n = len(cols[0][1])
            cells = [columns(c, x, n) for c, x in cols]
            for i in range(n):
                row = want[table][at.get(table, 0)]
                at[table] = at.get(table, 0) + 1
                keys = [c for c in row if c not in ("table", "position")]
                assert not names or keys == list(v), (keys, list(v))
                assert len(keys) == len(cols), (table, keys, len(cols))
                for key, c in zip(keys, cells):
                    ck, cv = c[i]
                    got = shown(ck, cv)
                    assert equal(ck, got, row[key]), (path, where, table, i, key, got, row[key])
                total += 1
    assert at == {t: len(r) for t, r in want.items()}, (at, {t: len(r) for t, r in want.items()})
    print("%d rows of %d tables in %d messages are equal" % (total, len(at), messages))


main()
