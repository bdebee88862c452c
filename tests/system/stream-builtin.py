# SPDX-License-Identifier: Apache-2.0
"""What streams of the built-in analytics hold, merged from `penstock --json stream`, against a
computation over all rows of the table.

stream-builtin.py ROWS.csv PRICE SIZE STREAM...
ROWS.csv: seq,time,sym,price,size in the journal's order. STREAM: ANALYTIC,FILE[,OPTION=VALUE...]
Exit 0: each holds what it should; 1: the line printed says which does not (yet)."""
import csv
import json
import sys

KEYS = {"last": ("sym",), "ohlc": ("date", "sym", "bar"), "vwap": ("date", "sym", "bar"),
        "threshold": ("sym", "side"), "rate": ("sym",), "filter": None}


class Different(Exception):
    pass


def number(x):
    return None if x in (None, "") else float(x)


def held(path, key):
    """The state by key; of events (key None) all in order."""
    state, events, before = {}, [], None
    with open(path) as f:
        for text in f:
            if not text.endswith("\n"):
                break
            row = json.loads(text)
            batch = row.pop("kind"), row.pop("position")
            if batch[0] == "state" and batch != before:
                state, events = {}, []
            before = batch
            if row.pop("empty", False):
                continue
            if key:
                state[tuple(row[k] for k in key)] = row
            else:
                events.append(row)
    return state if key else events


def bars(rows, syms, minutes):
    out = {}
    for r in sorted(rows, key=lambda r: r["time"]):  # stable: of equal times as they came
        if r["price"] is None or (syms and r["sym"] not in syms):
            continue
        start = r["time"][:16] + ":00.000000000" if minutes else r["time"][:19] + ".000000000"
        out.setdefault((r["sym"], start), []).append(r)
    return out


def wanted(name, rows, syms, o, price, size):
    if name == "last":
        return {(r["sym"],): {price: r["price"], size: r["size"]} for r in rows
                if not syms or r["sym"] in syms}
    if name == "ohlc":
        return {k: {"open": b[0]["price"], "high": max(r["price"] for r in b),
                    "low": min(r["price"] for r in b), "close": b[-1]["price"],
                    "volume": sum(r["size"] or 0 for r in b), "trades": len(b), "closed": 1}
                for k, b in bars(rows, syms, o.get("minutes")).items()}
    if name == "vwap":
        with_size = [r for r in rows if r["size"] and r["size"] > 0]
        return {k: {"vwap": sum(r["price"] * r["size"] for r in b) / sum(r["size"] for r in b),
                    "volume": sum(r["size"] for r in b), "trades": len(b), "closed": 1}
                for k, b in bars(with_size, syms, o.get("minutes")).items()}
    if name == "rate":  # long after the last row
        return {(r["sym"],): {"messages": 0, "volume": 0} for r in rows}
    assert name == "threshold"
    above, back, active, out = float(o["above"]), float(o["hysteresis"]), {}, {}
    for r in rows:
        p, s = r["price"], r["sym"]
        if p is None:
            continue
        now = p > above - back if active.get(s) else p > above
        if now != active.get(s, False):
            out[s, "above"] = {"time": r["time"], "active": now, "value": p, "limit": above}
        active[s] = now
    return out


def compare(spec, rows, price, size):
    name, path, *options = spec.split(",")
    o = dict(x.split("=") for x in options)
    syms = set(o["syms"].split("/")) if "syms" in o else None
    has = held(path, KEYS[name])
    if name == "filter":
        want = [(r["sym"], r["price"]) for r in rows
                if r["price"] is not None and r["price"] >= float(o["least"])]
        has = [(r["sym"], number(r[price])) for r in has]
        if has != want:
            raise Different("%d rows, not %d, or other ones" % (len(has), len(want)))
        return len(has)
    want = wanted(name, rows, syms, o, price, size)
    if KEYS[name][0] == "date":
        has = {k[1:]: v for k, v in has.items()}
    if "open" in o:  # the last bars may be
        for v in want.values():
            del v["closed"]
    if has.keys() != want.keys():
        raise Different("%d keys, not %d: %s" % (len(has), len(want),
                                                 sorted(has.keys() ^ want.keys())[:3]))
    for k, w in want.items():
        for c, x in w.items():
            y = has[k][c]
            equal = x == y if isinstance(x, str) or x is None or y is None \
                else abs(float(x) - float(y)) <= 1e-9 * abs(float(x))
            if not equal:
                raise Different("%s %s is %s, not %s" % (k, c, y, x))
    return len(want)


def main():
    path, price, size, *specs = sys.argv[1:]
    with open(path) as f:
        rows = [{"time": r["time"], "sym": r["sym"] or None, "price": number(r[price]),
                 "size": number(r[size])} for r in csv.DictReader(f)]
    for spec in specs:
        try:
            n = compare(spec, rows, price, size)
        except Different as e:
            print("%s: %s" % (spec, e))
            return 1
        if not n:
            print("%s: nothing to compare" % spec)
            return 1
        print("%s: %d" % (spec, n))
    return 0


sys.exit(main())
