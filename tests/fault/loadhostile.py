#!/usr/bin/python3 -IS
# SPDX-License-Identifier: Apache-2.0
"""loadhostile.py: stands where penstock-load does and is worth no trust: what it does to penstockd is in the file
`mode` beside it; "real" becomes penstock-load.real. load-hostile.sh uses it."""
import array, json, os, socket, struct, sys, time

here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/mode") as f:
    mode = f.read().strip()
if mode == "real":
    os.execv(here + "/penstock-load.real", sys.argv)
with open(here + "/seen", "a") as f:
    f.write(mode + "\n")
HELLO, READY, BEAT, DONE, LOG, ATTACH, RUN, STOP = range(1, 9)
s = socket.socket(fileno=3)


def packet(kind, number, body, magic=0x4C545350, version=1, length=None):
    body = body.encode()
    return struct.pack("<IHHIIQQ", magic, version, kind, 0, len(body) if length is None else length, number, 0) + body


def say(*a, **k):
    try:
        s.send(packet(*a, **k))
    except OSError:
        sys.exit(0)


def hear():
    b, anc, _, _ = s.recvmsg(1 << 18, 4096)
    if not b:
        sys.exit(0)
    head = struct.unpack("<IHHIIQQ", b[:32])
    body = b[32:]
    if not body and anc:
        fds = array.array("i")
        fds.frombytes(anc[0][2][:4])
        body = os.pread(fds[0], head[4], 0)
    return head, body


if mode == "exit":
    sys.exit(3)
if mode == "noise":
    while True:
        try:
            s.send(os.urandom(700))
        except OSError:
            sys.exit(0)
say(HELLO, 0, "x")
hear()
say(READY, 0, '{"plugins":[]}')
if mode == "ready_again":  # it is taken for lost while a task is sent to it
    while True:
        say(READY, 0, '{"plugins":[]}')
if mode == "descriptors":
    while True:
        try:
            s.sendmsg([packet(BEAT, 1, "{}")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))])
        except OSError:
            sys.exit(0)
if mode == "log":
    while True:
        say(LOG, 0, "\x1b[31m\n" + "x" * 480)
while True:
    head, body = hear()
    if head[2] != RUN:
        continue
    ask = json.loads(body)
    args, number = ask["args"], head[5]

    def done(result, **more):
        say(DONE, number, json.dumps(dict(success=True, mb=1, seconds=0.1, result=result, **more)))

    if ask["task"] == "refresh":
        done({})
        continue
    where = args.get("dir", "")
    if where:
        os.makedirs(where, exist_ok=True)
    fake = {"format": 1, "file": "x", "bytes": 9, "unpacked": 9, "compression": "plain", "hash": "0" * 32, "modified": 0,
            "boot": "0" * 36, "recipe": "trade", "rows": 9, "rejected": 0, "seconds": 0.1, "reader": "text",
            "symbols": {"count": 1, "bytes": 2, "crc": 0},
            "written": [{"date": "2024.01.02", "table": "trade", "typ": "active", "path": "2024.01.02/trade", "rows": 9,
                         "sum": "0" * 32, "full": "0" * 32, "captured": 9, "time_min": 0, "time_max": 1, "time_sorted": True,
                         "first": 0, "symCol": "sym", "sortCol": "time", "symbolCols": ["sym"],
                         "columns": [["time", "timestamp", 72, 0]]}]}
    if mode == "deep":
        say(DONE, number, '{"success":true,"mb":1,"seconds":1,"result":' + "[" * 20000 + "]" * 20000 + "}")
    elif mode == "numbers":
        say(DONE, number, '{"success":true,"mb":1e308,"seconds":-1,"result":{"rows":-5,"bytes":1e300}}')
    elif mode == "path":
        fake["written"][0].update(date="../../..", table="../../x", path="../../../../etc")
        done(fake)
    elif mode == "counts":
        fake["symbols"] = {"count": 1 << 62, "bytes": 1 << 62, "crc": 0}
        fake["rows"] = fake["written"][0]["rows"] = 1 << 62
        done(fake)
    elif mode == "pipe":
        os.mkfifo(where + "/symbols")
        done(fake)
    elif mode == "link":  # bad rows that are another file's lines
        os.symlink(here + "/secret", where + "/rejects")
        say(DONE, number, json.dumps(dict(success=False, mb=1, seconds=0.1, error="bad rows", code=84, retryable=False)))
    else:
        sys.exit("what is mode " + mode + "?")
