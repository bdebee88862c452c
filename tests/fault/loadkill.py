# SPDX-License-Identifier: Apache-2.0
"""loadkill.py: batches for the fault tests of the loader, and a reader who says what it saw.

  loadkill.py make DIR BATCHES           DIR/base.*: what is there before; DIR/b1 ... : batches of four files, two tables,
                                         two dates; DIR/states.json: rows and sums of each table and date behind each
  loadkill.py damage DIR SEED            files below DIR as a power cut may leave them
  loadkill.py read SOCKET DIR ENOUGH     asks over kdb+ IPC until ENOUGH is there, however often penstockd goes: every
                                         answer is one of the states, never an earlier one than before, both dates and
                                         both tables together
"""
import json, os, random, sys, time

DATES = ["2026.11.02", "2026.11.03"]
SIZES = {"1of4.trade": 2400, "2of4.trade": 1200, "3of4.trade": 600, "4of4.quote": 800}


def stamp(r, day):
    s = 15 * 3600 + r.randrange(4 * 3600)
    return "%sD%02d:%02d:%02d.%09d" % (day, s // 3600, s // 60 % 60, s % 60, r.randrange(10**9))


def make(out, batches):
    os.makedirs(out)
    r = random.Random(11)
    state = {t: {d: [0, 0] for d in DATES} for t in ("trade", "quote")}
    states = []

    def write(path, table, rows):
        with open(path, "w") as f:
            f.write("time,sym,price,size,note\n" if table == "trade" else "time,sym,bid,n\n")
            for _ in range(rows):
                day, n = r.choice(DATES), r.randrange(10**6)
                state[table][day][0] += 1
                state[table][day][1] += n
                sym = "" if r.random() < 0.01 else "S%03d" % r.randrange(300)
                if table == "trade":
                    f.write("%s,%s,%.4f,%d,%s\n" % (stamp(r, day), sym, r.randrange(10**6) / 1e4, n, "n" * r.randrange(20)))
                else:
                    f.write("%s,%s,%.2f,%d\n" % (stamp(r, day), sym, r.randrange(10**4) / 100, n))

    for b in ["base"] + ["b%d" % (k + 1) for k in range(int(batches))]:
        os.makedirs(out + "/" + b)
        for name, rows in SIZES.items():
            write("%s/%s/%s.%s.csv" % (out, b, b, name), name[5:], rows)
        states.append({t: [state[t][d] for d in DATES] for t in state})
        states[-1] = json.loads(json.dumps(states[-1]))
    json.dump(states, open(out + "/states.json", "w"))


def read(path, out, enough):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
    from kdbclient import Client, QError
    states = json.load(open(out + "/states.json"))
    known = {t: [s[t] for s in states] for t in states[0]}
    ask = {"trade": "s)select date, count(*) n, sum(size) z from trade group by date order by date",
           "quote": "s)select date, count(*) n, sum(n) z from quote group by date order by date"}
    last, asked, seen, errors = 0, 0, set(), {}
    c = None
    while not os.path.exists(enough):
        for table in ("trade", "quote"):
            try:
                if c is None: c = Client(path=path, timeout=30)
                a = c(ask[table])
            except QError as e: # an answer that cannot be given now is said so
                text = str(e)
                errors[text[:60]] = errors.get(text[:60], 0) + 1
                if not any(w in text for w in ("not loaded", "being rebuilt", "penstock-helper is gone", "stopping", "ended", "stopped", "database is being", "access")):
                    sys.exit("a reader was told: " + text)
                time.sleep(0.01)
                continue
            except OSError:
                c = None
                time.sleep(0.01)
                continue
            except EOFError:
                c = None
                continue
            got = [[int(n), int(z)] for n, z in zip(a["n"], a["z"])]
            if got not in known[table]:
                sys.exit("%s: %s is no state of it: %s" % (table, got, known[table]))
            at = known[table].index(got)
            if at < last:
                sys.exit("%s is at batch %d, but %d had been seen" % (table, at, last))
            last, asked = at, asked + 1
            seen.add(at)
    print("readers: %d answers, states %s, told %s" % (asked, sorted(seen), errors))
    if not asked: sys.exit("no answer at all")


def damage(path, seed):
    """What a power cut leaves of files that were written and not synced."""
    r = random.Random(int(seed))
    done = []
    for top, _, names in os.walk(path):
        for name in sorted(names):
            file = os.path.join(top, name)
            size = os.path.getsize(file)
            how = r.choice(["", "", "", "", "empty", "cut", "zeros"])
            if not how or not size: continue
            with open(file, "r+b") as f:
                if how == "zeros":
                    at = r.randrange(size)
                    f.seek(at)
                    f.write(bytes(min(4096, size - at)))
                else: f.truncate(0 if how == "empty" else r.randrange(size))
            done.append("%s %s" % (how, file[len(path):]))
    print("  damaged: " + (", ".join(done) or "nothing"))


{"make": make, "read": read, "damage": damage}[sys.argv[1]](*sys.argv[2:])
