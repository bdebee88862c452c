# SPDX-License-Identifier: Apache-2.0
"""A second reader of kdb+ logs, for tests: plain Python from the format page, sharing nothing with
the product.   python3 kdbobj.py LOG [count|rows|hash]

count  one JSON object: messages, good length, rows by table, other functions
rows   one JSON line a row: {"message":i,"table":t,"columns":[..] or {name:value}}; integers and
       times as their number, null as null, floats as repr, guid as hex, symbols and texts as they are
"""
import json, struct, sys

FIXED = {1: "?", 4: "B", 5: "h", 6: "i", 7: "q", 8: "f", 9: "d", 12: "q", 13: "i", 14: "i", 15: "d",
         16: "q", 17: "i", 18: "i", 19: "i"}
NULLS = {5: -2**15, 6: -2**31, 7: -2**63, 12: -2**63, 13: -2**31, 14: -2**31, 16: -2**63, 17: -2**31,
         18: -2**31, 19: -2**31}


class Short(Exception):
    pass


class Sym(str):
    pass


class Table(dict):
    pass


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Short("%d bytes wanted at %d" % (n, self.at))
        self.at += n
        return self.data[self.at - n:self.at]

    def text(self):
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise Short("text at %d" % self.at)
        t = self.data[self.at:end]
        self.at = end + 1
        return Sym(t.decode("latin-1"))

    def count(self, attribute=True):
        if attribute and self.take(1)[0] > 4:
            raise Short("attribute")
        n, = struct.unpack("<i", self.take(4))
        if n < 0:
            raise Short("count")
        return n

    def values(self, kind, n):
        if kind == 11:
            return [self.text() for _ in range(n)]
        if kind == 10:
            return self.take(n).decode("latin-1")
        if kind == 2:
            return [self.take(16).hex() for _ in range(n)]
        width = struct.calcsize("<" + FIXED[kind])
        got = list(struct.unpack("<%d%s" % (n, FIXED[kind]), self.take(width * n)))
        if kind in (8, 9, 15):
            return [None if v != v else repr(v) for v in got]
        return [None if v == NULLS.get(kind) else v for v in got]

    def object(self):
        """(type, value)"""
        kind, = struct.unpack("b", self.take(1))
        if -19 <= kind < 0 and kind != -3:
            return kind, self.values(-kind, 1)[0]
        if 0 < kind <= 19 and kind != 3:
            return kind, self.values(kind, self.count())
        if kind == 0:
            return kind, [self.object() for _ in range(self.count())]
        if kind == 98:
            self.take(1)
            sub, (names, columns) = self.object()
            if sub != 99:
                raise Short("table")
            return kind, Table(zip(names[1], columns[1]))
        if kind in (99, 127):
            return kind, (self.object(), self.object())
        if kind == 100:
            return kind, (self.text(), self.object())
        if kind in (101, 102, 103):
            return kind, self.take(1)[0]
        if kind in (104, 105):
            return kind, [self.object() for _ in range(self.count(False))]
        if 106 <= kind <= 111:
            return kind, self.object()
        if kind == -128:
            return kind, self.text()
        raise Short("type %d" % kind)


def messages(data):
    """Yields (offset, message) and at last (good length, None)."""
    if data[:3] != b"\xff\x01\x00":
        raise SystemExit("no log")
    r = Reader(data, 8)
    while r.at < len(data):
        at = r.at
        try:
            m = r.object()
        except Short:
            yield at, None
            return
        yield at, m
    yield r.at, None


def cells(kind, value, n):
    """A column as n cells."""
    if kind < 0:
        return [value] * n
    if kind == 0:
        return [v for k, v in value]
    return list(value)


def rows(kind, value):
    """Rows of an update's data: lists, or dicts when columns are named."""
    if kind == 98:
        names = list(value)
        n = len(cells(*value[names[0]], None)) if names else 0
        for row in zip(*(cells(*value[c], n) for c in names)):
            yield dict(zip(names, row))
    elif kind == 0 and value and value[0][0] >= 0:
        n = len(value[0][1])
        for row in zip(*(cells(k, v, n) for k, v in value)):
            yield list(row)
    elif kind == 0:
        if value:
            yield [v for k, v in value]
    else:
        yield list(value)


def main():
    data = open(sys.argv[1], "rb").read()
    if data[:2] == b"\x1f\x8b":
        import gzip
        data = gzip.decompress(data)
    what = sys.argv[2] if len(sys.argv) > 2 else "count"
    n, total, other, length = 0, {}, {}, 8
    for at, m in messages(data):
        if m is None:
            length = at
            break
        kind, v = m
        head = v[0][1] if kind == 0 and v and v[0][0] in (-11, 10) else "?"
        if head in ("upd", ".u.upd") and len(v) == 3:
            for row in rows(*v[2]):
                total[v[1][1]] = total.get(v[1][1], 0) + 1
                if what == "rows":
                    print(json.dumps({"message": n, "table": v[1][1], "row": row}))
        else:
            other[head] = other.get(head, 0) + 1
        n += 1
    if what == "count":
        print(json.dumps({"messages": n, "good": length, "size": len(data), "rows": total,
                          "other": other}))


if __name__ == "__main__":
    main()
