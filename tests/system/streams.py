#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""streams.py DIR TABLE[,TABLE] FREQ OFFSET ZONE [open]: the log files of both streams, read by a
reader of its own (log_file.h and frame.h, nothing of Penstock's is used).

Checked: names against headers; every interval file is cut where the local clock of ZONE says (FREQ
minutes from midnight of its date + OFFSET); its rows are of the interval tables only, the daily
files' of the others; rows of feeds were received within the interval; the eoi mark is the last frame
of its file, then the END frame, and nothing is left of what was allocated; what every file must
repeat stands in all files that were open; all files together are one journal without a hole.
`open`: files without their end may exist (a kill). Prints the names, and one line of counts.
"""
import collections, datetime, json, os, re, struct, sys, zlib
from zoneinfo import ZoneInfo

DIR, TABLES, FREQ, OFFSET, ZONE = sys.argv[1], set(sys.argv[2].split(",")), int(sys.argv[3]), int(sys.argv[4]), ZoneInfo(sys.argv[5])
live = "open" in sys.argv[6:]
EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
DATA, SYMBOL, SCHEMA, MARK, GAP, PAD, FILE = range(1, 8)
EOD, EOI = 4, 5
HEADER, F_SCHEMA, SYMBOLS, STATE, END = range(1, 6)
table_crc = []
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    table_crc.append(c)


def crc32c(b, c=0xFFFFFFFF):
    for x in b:
        c = table_crc[(c ^ x) & 255] ^ c >> 8
    return c


def date(n):
    return (datetime.date(2000, 1, 1) + datetime.timedelta(n)).strftime("%Y.%m.%d")


def local(ns):
    return (EPOCH + datetime.timedelta(microseconds=ns // 1000)).astimezone(ZONE)


def stamp(text):  # 2026.11.20D14:31:00.000000000 -> ns
    d, ns = text.split(".")[:3], text.split(".")[3]
    t = datetime.datetime.strptime(".".join(d), "%Y.%m.%dD%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return int((t - EPOCH).total_seconds()) * 10**9 + int(ns)


def frames(b):
    at = 0
    while at + 32 <= len(b):
        crc, length, pos, time, kind, stream, source, count, day = struct.unpack_from("<IIQqBBHHH", b, at)
        if length == 0 and crc == 0:
            break
        if length < 32 or length % 8 or at + length > len(b):
            assert live, "torn at %d" % at
            break
        yield at, length, pos, time, kind, stream, count, day, b[at + 32:at + length]
        at += length


class File:
    pass


files, schemas, every = [], {}, {}
name_of = re.compile(r"^log(i\.)?(\d{4}\.\d\d\.\d\d)(?:\.(\d{4}))?(?:\.(\d+))?$")
for name in sorted(os.listdir(DIR)):
    m = name_of.match(name) if not name.startswith("logi.") else re.match(r"^log(i\.)(\d{4}\.\d\d\.\d\d)\.(\d{4})(?:\.(\d+))?$", name)
    if not m:
        assert name in ("lock", "logspare.0", "logspare.1", "logballast") or ".torn-" in name, name
        continue
    f = File()
    f.name, f.b = name, open(os.path.join(DIR, name), "rb").read()
    if not f.b.strip(b"\0"):
        assert live, name
        continue
    h = f.b[40:40 + 512]
    assert h[:8] == b"PSTLOG\r\n" and f.b[:4096] == f.b[4096:8192], name
    f.suffix, f.instance, _, f.first, _, f.day, f.minute, f.stream, f.spilled = struct.unpack_from("<IQQQqiiBB", h, 12)
    seed_bytes = struct.pack("<Q", f.instance)
    assert date(f.day) == m[2] and f.suffix == int(m[4] or 0) and f.stream == (1 if m[1] else 0), name
    assert f.minute == (int(m[3][:2]) * 60 + int(m[3][2:]) if m[1] else -1), name
    f.frames, f.marks, f.end, f.rows, f.known = {}, [], None, 0, {}
    # CRC of a few frames: seed = crc32c of the instance id, both with inverted start
    seed = crc32c(seed_bytes)
    n = 0
    last_pos = 0
    for at, length, pos, time, kind, stream, count, day, body in frames(f.b):
        n += 1
        if n % 97 == 1 and length < 8192:
            whole = crc32c(f.b[at + 4:at + length], seed)
            if whole != struct.unpack_from("<I", f.b, at)[0]:
                raise AssertionError("%s: CRC at %d" % (name, at))
        if kind == FILE:
            t, size = struct.unpack_from("<H2xI", body, 0)
            assert pos == f.first
            if t == F_SCHEMA:
                s = json.loads(body[8:8 + size])
                schemas[s["id"]] = s
            if t == END:
                f.end, f.size = struct.unpack_from("<QQQqB", body, 8), at + length
            continue
        assert pos >= last_pos and pos >= f.first, name
        last_pos = pos + length
        f.frames[pos] = (length, kind, stream, time, zlib.crc32(body), day)
        assert stream in (255, f.stream), (name, stream)
        if stream == 255:
            assert every.setdefault(pos, body) == body
        if kind == SCHEMA:
            s = json.loads(body[8:8 + struct.unpack_from("<I", body, 0)[0]])
            schemas[s["id"]] = s
        if kind == MARK:
            t, size = struct.unpack_from("<H2xI", body, 0)
            f.marks.append((pos, t, json.loads(body[8:8 + size] or b"{}") if t in (EOD, EOI) else None, time))
        if kind == DATA:
            assert day == f.day, (name, date(day))
            p, packet = 0, None
            while p < len(body):
                t, size = struct.unpack_from("<HH", body, p)
                if t == 0:
                    packet = struct.unpack_from("<q", body, p + 8)[0]
                    f.rx = (min(f.rx[0], packet), max(f.rx[1], packet)) if hasattr(f, "rx") else (packet, packet)
                elif t > 1:
                    tab = schemas[t]["table"]
                    assert (tab in TABLES) == (f.stream == 1), "%s holds a row of %s" % (name, tab)
                    f.rows += 1
                p += size
    f.last = last_pos or f.first
    files.append(f)

ends = collections.Counter()
for f in files:
    print(f.name, "first", f.first, "last", f.last, "rows", f.rows, "end", f.end[4] if f.end else None)
    assert f.end or live, f.name + " has no end"
    if f.end:
        assert f.end[0] == f.last and len(f.b) == f.size, "%s: %d bytes, its end at %d" % (f.name, len(f.b), f.size)
    if f.stream != 1:
        continue
    if f.end and f.end[4] == 4:  # its interval ended: the mark is the last frame
        pos, t, mark, time = f.marks[-1]
        assert t == EOI and pos + f.frames[pos][0] == f.last, f.name
        assert mark["day"] == date(f.day), (f.name, mark)
        begin, to = stamp(mark["from"]), stamp(mark["to"])
        assert f.minute == local(begin).hour * 60 + local(begin).minute, (f.name, mark)
        ends[mark["from"]] += 1
        l = local(to)
        midnight = datetime.datetime.combine(datetime.date(2000, 1, 1) + datetime.timedelta(f.day), datetime.time())
        into = (l.replace(tzinfo=None) - midnight).total_seconds() / 60
        later = [x for g in files for x in g.marks if x[0] == pos + f.frames[pos][0] and x[1] == EOD]
        assert (into - OFFSET) % FREQ == 0 or later, (f.name, mark)
        if hasattr(f, "rx"):
            assert begin <= f.rx[0] and f.rx[1] <= to, (f.name, f.rx, begin, to)
    # every stream-255 frame between its first and last frame stands in it
    for pos in every:
        if f.first <= pos < f.last:
            assert pos in f.frames, "%s lacks the frame at %d" % (f.name, pos)
pieces = sorted({(p, v[0], p + v[0]) for f in files for p, v in f.frames.items()})
holes = [(a[2], b[0]) for a, b in zip(pieces, pieces[1:]) if a[2] != b[0]]
jumps = [h for h in holes if h[1] % (1 << 40) and h[1] - h[0] < (1 << 39)]
assert not jumps, "holes: %s" % jumps[:5]
print("files", len(files), "intervals", sum(f.stream for f in files), "rows daily", sum(f.rows for f in files if not f.stream), "interval", sum(f.rows for f in files if f.stream), "restarts", len(holes))
