#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""asking.py: a client that asks without pause and notes each answer with the cut that it reports; and
the judge of all answers, against what the log holds below each cut.

  asking.py ask DIR SOCKET PENSTOCK N      asks until DIR/enough exists; notes in DIR/asked.N
  asking.py judge DIR JOURNALAT            every noted answer equals the log at its position
"""
import glob, itertools, json, os, subprocess, sys

ORDERS = "itch_order"
KINDS = {  # name: (table, sql)
    "total": (ORDERS, "select count(*) n, sum(seq) s, max(seq) m from itch_order"),
    "dates": (ORDERS, "select date, count(*) n, sum(seq) s, max(seq) m from itch_order group by date"),
    "syms": (ORDERS, "select sym, count(*) n, max(seq) m from itch_order group by sym"),
    "latest": (ORDERS, "select sym, seq from itch_order latest by sym"),
    "asof": ("itch_trade", "select count(*) n, sum(t.seq) s, max(t.seq) m from itch_trade t asof join itch_order o using (sym, time)"),
    "explain": (ORDERS, "explain select count(*) from itch_order where sym = 'A'"),
    "orders": (ORDERS, "select count(*) n, sum(seq) s, max(seq) m from itch_order where sym is not null or sym is null"),
    "trades": ("trade", "select date, count(*) n, sum(size) s, max(size) m from trade group by date"),
    "last": ("last", "select date, count(*) n from last group by date"),
    "gaps": ("gap", "select count(*) n from gap"),
}


def ask(d, socket, penstock, n):
    kinds = list(KINDS)
    with open("%s/asked.%s" % (d, n), "w", buffering=1) as out:
        i = int(n) * 3
        while not os.path.exists(d + "/enough"):
            kind = kinds[i % len(kinds)]
            i += 1
            r = subprocess.run([penstock, "--socket", socket, "sql", "--json", "-q", KINDS[kind][1]],
                               capture_output=True, text=True)
            if r.returncode:
                out.write(json.dumps({"kind": kind, "error": r.stderr.strip()[:300]}) + "\n")
                continue
            a = json.loads(r.stdout)
            note = {"kind": kind, "position": a["cut"]["position"], "rebuilding": a["cut"]["rebuilding"],
                    "behind": a["cut"]["behind"], "incomplete": a["cut"]["incomplete"]}
            rows = a["rows"]
            if kind == "syms":
                rows = [len(rows), sum(x["n"] ** 2 for x in rows), sum(x["m"] for x in rows)]
            elif kind == "latest":
                rows = [len(rows), sum(x["seq"] for x in rows)]
            elif kind == "explain":
                rows = len(rows) > 0
            note["rows"] = rows
            out.write(json.dumps(note) + "\n")


def total(days):
    return [sum(x[0] for x in days), sum(x[1] for x in days), max([x[2] for x in days] or [0])]


def judge(d, journalat):
    notes, errors = [], []
    for f in sorted(glob.glob(d + "/asked.*")):
        for l in open(f):
            try:
                a = json.loads(l)
            except ValueError:
                continue  # the line being written when its client was ended
            (errors if "error" in a else notes).append(a)
    places = sorted({a["position"] for a in notes})
    out = subprocess.run([journalat, d + "/log", "log"], input="".join("%d\n" % p for p in places), text=True,
                         capture_output=True)
    assert out.returncode == 0, "journalat: %d %s" % (out.returncode, out.stderr)
    truth = {t["position"]: t for t in map(json.loads, out.stdout.splitlines())}
    whole, wrong, tally = truth[None], [], {}
    for a in notes:
        t, kind, table = truth[a["position"]], a["kind"], KINDS[a["kind"]][0]
        below, all_days = t["days"].get(table, {}), whole["days"].get(table, {})
        # While memory is being rebuilt, a date that the database holds is there whole.
        choices = [below]
        if a["rebuilding"]:
            choices = [{x: (all_days if whole_ else below).get(x, [0, 0, 0, 0]) for x, whole_ in zip(all_days, bits)}
                       for bits in itertools.product((False, True), repeat=len(all_days))]
        rows, ok = a["rows"], False
        for c in choices:
            if kind in ("total", "orders", "asof"):
                ok |= [rows[0]["n"], rows[0]["s"] or 0, rows[0]["m"] or 0] == total(c.values())
            elif kind in ("dates", "trades"):
                ok |= {r["date"]: [r["n"], r["s"], r["m"]] for r in rows} == {x: v[:3] for x, v in c.items() if v[0]}
            elif kind == "last":
                ok |= {r["date"]: r["n"] for r in rows} == {x: v[3] for x, v in c.items() if v[0]}
            elif kind == "gaps":
                ok |= rows[0]["n"] == total(c.values())[0]
            elif kind == "syms":
                ok |= a["rebuilding"] or rows == t["syms"].get(table, [0, 0, 0, 0])[:3]
            elif kind == "latest":
                s = t["syms"].get(table, [0, 0, 0, 0])
                ok |= a["rebuilding"] or rows == [s[0], s[3]]
            elif kind == "explain":
                ok |= rows
        ok &= not a["incomplete"]
        if not ok or not t["boundary"]:
            wrong.append((a, below, t["syms"].get(table), t["boundary"]))
        tally[kind] = tally.get(kind, 0) + 1
    for a, below, syms, boundary in wrong[:5]:
        print("WRONG: %s\n  the log: %s %s%s" % (json.dumps(a), json.dumps(below), syms, "" if boundary else " (not a frame's end)"))
    reasons = {}
    for e in errors:
        reasons[e["error"]] = reasons.get(e["error"], 0) + 1
    print("%d answers at %d cuts (%d while rebuilding): %d wrong; %s" %
          (len(notes), len(places), sum(a["rebuilding"] for a in notes), len(wrong), tally))
    for e, n in sorted(reasons.items(), key=lambda x: -x[1])[:8]:
        print("  %d x error: %s" % (n, e))
    missing = [k for k in KINDS if not tally.get(k)]
    assert not missing, "never answered: %s" % missing
    assert total(whole["days"][ORDERS].values())[0] > 0
    # Only a daemon that is away may refuse.
    bad = [e for e in reasons if not any(w in e for w in ("no penstockd answers", "closed the connection"))]
    assert not bad, bad
    assert not wrong, "%d answers are not what the log holds" % len(wrong)


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        ask(*sys.argv[2:6])
    else:
        judge(*sys.argv[2:4])
