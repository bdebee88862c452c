#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""buffer.py make DIR FROM N HOUR: CSV of rows of table trade whose size is their number, FROM to FROM + N - 1; every
third one is older than HOUR:00 of today (UTC), the others not. buffer.py shards A.json B.json late|all N...: what two
cursors saw, each its shard: every row of the ranges exactly once, in its shard; without or with the late ones."""
import csv, datetime, json, sys

def rows(first, n, cutoff):
    for i in range(first, first + n):
        late = i % 3 == 0
        t = cutoff + datetime.timedelta(seconds=(-1 - i % 3600) if late else i % 3600)
        yield {"time": t.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "sym": chr(65 + i % 26) + str(i % 7), "size": i}

def cutoff_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")

if sys.argv[1] == "make":
    w = csv.DictWriter(open(sys.argv[2], "w"), ["time", "sym", "size"], lineterminator="\n")
    w.writeheader()
    for r in rows(int(sys.argv[3]), int(sys.argv[4]), cutoff_of(sys.argv[5])):
        w.writerow(r)
elif sys.argv[1] == "shards":
    late = sys.argv[4] == "all"
    want = set()
    spans = [int(x) for x in sys.argv[5:]]
    for first, n in zip(spans[::2], spans[1::2]):
        want |= {i for i in range(first, first + n) if late or i % 3}
    bad = []
    for path, low, high in ((sys.argv[2], "A", "M"), (sys.argv[3], "N", "Z")):
        mine = [i for i in want if low <= chr(65 + i % 26) <= high]
        seen = []
        for line in open(path):
            r = json.loads(line)
            if low <= r["sym"][0] <= high: # a shard takes its own
                seen.append(int(r["size"]))
                if r["sym"] != chr(65 + r["size"] % 26) + str(r["size"] % 7):
                    bad.append(f"row {r['size']} has symbol {r['sym']}")
        if sorted(seen) != sorted(mine):
            more = [i for i in set(seen) if seen.count(i) > 1 or i not in mine][:5] if len(seen) < 10000 else []
            bad.append(f"shard {low}-{high}: {len(seen)} rows, {len(mine)} expected; missing {sorted(set(mine) - set(seen))[:5]}, too many {more}")
    print("\n".join(bad) or f"{len(want)} rows, each once, in its shard")
    sys.exit(bool(bad))
