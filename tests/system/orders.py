#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What trade and bbo must hold, made slowly and apart from all that Penstock does.

orders.py pcap SLICE OUT [FROM TO]   messages FROM up to TO (from 1) of a BinaryFILE as MoldUDP64 packets
orders.py rows SLICE|TRUTH DATE ZONE KIND OUT   the expected rows of KIND trade, bbo, valid as CSV
orders.py same EXPECTED GOT [sorted] exit 1 and the first difference; sorted: of a partition, by sym and time

A book is a plain list of orders for each locate; after every message the best prices are found by looking
at all of them.
"""
import csv, datetime, struct, sys, zoneinfo

EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)


def slice_messages(path):
    data = open(path, "rb").read()
    at = seq = 0
    while at + 2 <= len(data):
        size = struct.unpack_from(">H", data, at)[0]
        if not size:
            return
        seq += 1
        yield seq, "slice", data[at + 2:at + 2 + size]
        at += 2 + size


def truth_messages(path):  # perf/sim/truth.h
    data = open(path, "rb").read()
    assert data[:9] == b"PSTTRUTH1", path
    at = 9
    while at < len(data):
        session, size, seq, sent, lines, flags = struct.unpack_from("<IIQqII", data, at)
        assert session == 0, "one session"
        yield seq, None, data[at + 32:at + 32 + size]
        at += 32 + size


def messages(path):
    with open(path, "rb") as f:
        return truth_messages(path) if f.read(9) == b"PSTTRUTH1" else slice_messages(path)


def pcap(path, out, first=1, last=1 << 60):
    chosen = [(s, m) for s, _, m in messages(path) if first <= s <= last]
    with open(out, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for i in range(0, len(chosen), 20):
            part = chosen[i:i + 20]
            mold = b"slice     " + struct.pack(">QH", part[0][0], len(part))
            mold += b"".join(struct.pack(">H", len(m)) + m for _, m in part)
            udp = struct.pack(">HHHH", 1000, 26400, 8 + len(mold), 0) + mold
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0, b"\xc0\0\2\1", b"\xef\xc0\1\1")
            total = 0
            for (w,) in struct.iter_unpack(">H", ip):
                total += w
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            ip = ip[:10] + struct.pack(">H", total ^ 0xFFFF) + ip[12:]
            eth = b"\1\0\x5e\x40\1\1\2\0\0\0\0\1\x08\0" + ip + udp
            f.write(struct.pack("<IIII", 1580371200 + i // 1000, i % 1000, len(eth), len(eth)) + eth)


def be(b, at, n):
    return int.from_bytes(b[at:at + n], "big")


def price(v):
    return repr(v / 10000)


def rows(path, midnight):
    """(kind, row) in order; a row's values as text, None for null."""
    orders, stock, told = {}, {}, {}  # orders: locate -> list of [ref, side, shares, price]
    for seq, session, m in messages(path):
        t, locate = chr(m[0]), be(m, 1, 2)
        time = midnight + be(m, 5, 6)
        where = {"A": 24, "F": 24, "P": 24, "Q": 19, "I": 28, "L": 15}.get(t, 11 if t in "RHYKJhNO" else None)
        if where and locate:
            stock[locate] = m[where:where + 8].decode().rstrip()
        sym = stock.get(locate)
        book = orders.setdefault(locate, [])

        def trade(kind, p, size, side, match, printable, cross, ref):
            return "trade", [str(time), sym, str(seq), kind, p, size, side, str(match), printable, cross, ref]

        if t in "AF":
            book.append([be(m, 11, 8), chr(m[19]), be(m, 20, 4), be(m, 32, 4)])
        elif t in "ECXDU":
            ref = be(m, 11, 8)
            o = next((x for x in book if x[0] == ref), None)
            if t in "EC":
                p = price(be(m, 32, 4)) if t == "C" else price(o[3]) if o else None
                printable = "false" if t == "C" and m[31:32] == b"N" else "true"
                yield trade("exec", p, str(be(m, 19, 4)), o[1] if o else None, be(m, 23, 8), printable, None, str(ref))
            if not o:
                continue
            o[2] -= o[2] if t in "DU" else min(o[2], be(m, 19, 4))
            if not o[2]:
                book.remove(o)
            if t == "U":
                book.append([be(m, 19, 8), o[1], be(m, 27, 4), be(m, 31, 4)])
        elif t == "P":
            yield trade("hidden", price(be(m, 32, 4)), str(be(m, 20, 4)), chr(m[19]), be(m, 36, 8), "true", None,
                        str(be(m, 11, 8)))
        elif t == "Q":
            yield trade("cross", price(be(m, 27, 4)), str(be(m, 11, 8)), None, be(m, 31, 8), "true", chr(m[39]), None)
        elif t == "B":
            yield trade("break", None, None, None, be(m, 11, 8), "false", None, None)
        if t not in "AFECXDU":
            continue
        bid = max((x[3] for x in book if x[1] == "B"), default=None)
        ask = min((x[3] for x in book if x[1] == "S"), default=None)
        now = [bid, sum(x[2] for x in book if x[1] == "B" and x[3] == bid),
               ask, sum(x[2] for x in book if x[1] == "S" and x[3] == ask)]
        if now != told.get(locate, [None, 0, None, 0]):
            told[locate] = now
            yield "bbo", [str(time), sym, str(seq), None if bid is None else price(bid), str(now[1]),
                          None if ask is None else price(ask), str(now[3])]


def expected(path, date, zone, kind, out):
    midnight = datetime.datetime.combine(datetime.date.fromisoformat(date), datetime.time(), zoneinfo.ZoneInfo(zone))
    ns = int((midnight.astimezone(datetime.timezone.utc) - EPOCH).total_seconds()) * 10**9
    all_rows = list(rows(path, ns))
    broken = {r[7] for k, r in all_rows if k == "trade" and r[3] == "break"}
    with open(out, "w", newline="") as f:
        w = csv.writer(f)
        for k, r in all_rows:
            if k == kind or (kind == "valid" and k == "trade" and r[8] == "true" and r[7] not in broken):
                w.writerow("" if v is None else v for v in r)


def number(v):
    try:
        return float(v) if "." in v or "e" in v else int(v)
    except ValueError:
        return v


def same(expected_path, got_path, order=None):
    def load(p, skip):
        with open(p, newline="") as f:
            return [[number(v) for v in r] for r in list(csv.reader(f))[skip:]]
    want, got = load(expected_path, 0), load(got_path, 1)
    if order:
        key = lambda r: (str(r[1]), r[0], r[2])
        want.sort(key=key)
        got.sort(key=key)
    for i, (a, b) in enumerate(zip(want, got)):
        if [float(x) if isinstance(x, int) else x for x in a] != [float(x) if isinstance(x, int) else x for x in b]:
            sys.exit(f"row {i}: wanted {a}\n{' ' * len(f'row {i}: ')}   got {b}")
    if len(want) != len(got) or not want:
        sys.exit(f"{len(want)} rows wanted, {len(got)} there")
    print(f"{len(want)} rows")


if __name__ == "__main__":
    what, args = sys.argv[1], sys.argv[2:]
    if what == "pcap":
        pcap(args[0], args[1], *map(int, args[2:]))
    elif what == "rows":
        expected(*args)
    else:
        same(*args)
