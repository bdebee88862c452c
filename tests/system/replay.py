#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""replay.py PENSTOCKD FRAMINGS DATA: every real capture that a built-in or a configured framing covers,
through `penstockd --replay`, against the figures of its manifest. A capture of this list that is missing
is a failure; a folder with more captures than the manifest counts too."""
import concurrent.futures, glob, json, os, struct, subprocess, sys, tempfile

penstockd, framings, data = sys.argv[1:4]
work = tempfile.mkdtemp(prefix="penstock-replay-test.")
failed = []
ran = 0
pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
ahead = {}  # runs under way

def config(framing, decoder):
    """A configuration with one feed on every group; a framing that is not built in comes from its file."""
    name = os.path.join(work, "%s-%s.yaml" % (framing, decoder))
    if not os.path.exists(name):
        extra = ""
        for f in glob.glob(framings + "/*.yaml"):
            text = open(f).read()
            if "\n  %s:\n" % framing in text:
                extra = text
        open(name, "w").write("""instance: replay
ring_size: 16M
symbols_max: 20k
log_preallocate: 0
log_ballast: 0
calendar: {zone: America/New_York}
ports: [{name: capture, device: none, mtu: 9000, groups: [{group: any, feed: x}]}]
feeds: [{name: x, framing: %s, decoder: %s, zone: America/New_York}]
%s""" % (framing, decoder, extra))
    return name

def run(path, framing, decoder="none", date=None):
    args = [penstockd, "--replay", os.path.join(data, path), "--config", config(framing, decoder), "--json"]
    if date:
        args += ["--date", date]
    r = subprocess.run(args, capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout, r.stderr

def check(path, framing, decoder="none", date=None, sequenced=True, **want):
    """want: figures by name: packets, messages, heartbeats, sessions, next, gaps, or a table's rows."""
    global ran
    ran += 1
    early = ahead.pop((path, framing, decoder, date), None)
    code, out, err = early.result() if early else run(path, framing, decoder, date)
    try:
        r = json.loads(out)
    except ValueError:
        failed.append("%s: exit %d, %s" % (path, code, err.strip()))
        return None
    f = r["feeds"][0]
    l = f["lines"][0]
    rows = {t["table"]: t["rows"] for t in r["tables"]}
    dropped = {c["name"]: c["value"] for c in r["counters"] if c["name"].startswith("drop.") and c["value"]}
    have = {"packets": l["packets"], "messages": l["messages"], "heartbeats": l["heartbeats"], "next": f["next"],
            "sessions": len(f["sessions"]), "gaps": f["gaps"], "malformed": l["malformed"], "duplicate": l["duplicate"],
            "decoded": f["decoded"], "unknown": f["undecoded_unknown"], "length": f["undecoded_length"],
            "dropped": sum(dropped.values()), "days": sorted({t["day"] for t in r["tables"]})}
    have.update(rows)
    wrong = ["%s is %s, expected %s" % (k, have.get(k, 0), v) for k, v in want.items() if have.get(k, 0) != v]
    if path == "iex/iex_example1.pcap":  # its last packet is cut: said in one line, exit 1
        if code != 1 or "ends within a record" not in err:
            wrong.append("exit %d, %s" % (code, err.strip()))
    elif code or err.strip():
        wrong.append("exit %d %s" % (code, err.strip()))
    if not r["ledger"]["balanced"]:
        wrong.append("the ledger does not balance")
    if l["malformed"] and "malformed" not in want:
        wrong.append("%d packets are malformed" % l["malformed"])
    pieces = path.endswith("Multiple.Packets.pcap")  # two packets of one session, far apart
    if sequenced and f["gaps"] > len(f["sessions"]) + pieces:
        wrong.append("%d gaps in %d sessions" % (f["gaps"], len(f["sessions"])))
    if wrong:
        failed.append("%s: %s %s" % (path, "; ".join(wrong), dropped or ""))
    return have

# A. whole captures: the manifest's figures
iex = "iex/iex_TOPS16.pcapng.gz"
check(iex, "iex-tp", "iex", packets=13022, messages=57674, heartbeats=237, next=57675, gaps=0, duplicate=0, sessions=1,
      iex_quote=27217, iex_status=7803 + 7802 + 7801 + 6, iex_trade=6390 + 3, iex_auction=642, iex_directory=10,
      decoded=57674, unknown=0, length=0, days=["2017.07.10"])
check(iex, "iex-tp", packets=13022, messages=57674, heartbeats=237, next=57675, gaps=0, undecoded=57674)
check("iex/iex_example1.pcap", "iex-tp", "iex", packets=2, heartbeats=1, dropped=1, gaps=0, days=["2018.01.03"])
check("b3_umdf_sbe/b3_Instrument.pcap.gz", "b3", packets=629, messages=2515, next=630, gaps=0, sessions=1, undecoded=2515)
check("b3_umdf_sbe/b3_Snapshot.pcap.gz", "b3", packets=549, messages=13461, next=550, gaps=0, sessions=1, undecoded=13461)
check("deribit_sbe/deribit_sample_v1_6.pcapng", "deribit", packets=5066, messages=5066, sessions=29, undecoded=5066)

# B. ITCH message streams without packets: wrapped into MoldUDP64 here
def wrapped(path, name):
    """A nanosecond pcap of one MoldUDP64 packet for each 20 messages of a file of length-prefixed ones."""
    b = open(os.path.join(data, path), "rb").read()
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    at, seq, n, block = 0, 1, 0, b""
    while at < len(b):
        size = 2 + struct.unpack_from(">H", b, at)[0]
        block += b[at:at + size]
        at += size
        n += 1
        if n == 20 or at >= len(b):
            mold = b"slice     " + struct.pack(">QH", seq, n) + block
            udp = struct.pack(">HHHH", 1000, 26400, 8 + len(mold), 0) + mold
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9, 17, 0, b"\xc0\0\2\1", b"\xef\xc0\1\1")
            eth = b"\1\0\x5e\x40\1\1\2\0\0\0\0\1\x08\0" + ip + udp
            out.append(struct.pack("<IIII", 1580371200 + seq // 1000, seq, len(eth), len(eth)) + eth)
            seq, n, block = seq + n, 0, b""
    name = os.path.join(work, name)
    open(name, "wb").write(b"".join(out))
    return name

check(wrapped("itch50/itch_runk_locate13_10k.bin", "runk.pcap"), "moldudp64", "itch50", messages=10000, next=10001, gaps=0,
      decoded=10000, unknown=0, length=0, itch_order=4758 + 4083 + 849 + 7 + 6 + 2, itch_trade=240, itch_status=52 + 1 + 1,
      itch_directory=1, days=["2020.01.30"])
check(wrapped("itch50/itch_bbekele.itch", "bbekele.pcap"), "moldudp64", "itch50", messages=1000, decoded=1000, unknown=0,
      length=0, itch_directory=993, itch_status=3 + 3 + 1)

# C. captures of single messages, a folder at a time: (folder, files, framing, decoder, date, sequenced)
folders = [
    ("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0", 8, "moldudp64", "itch50", None, True),
    ("itch50/omi/Nasdaq.Equities.TotalView.Itch.v5.0.20230822", 15, "moldudp64", "itch50", None, False),
    ("itch50/omi/Nasdaq.Equities.NlsPlus.Itch.4.0.20241105", 5, "moldudp64", "none", None, False),
    ("itch_other/asx", 14, "moldudp64", "none", None, True),
    ("itch_other/jnx/JnxEquities.Pts.Itch.v1.6", 5, "moldudp64", "none", None, True),
    ("utp", 2, "moldudp64", "none", None, True),
    ("iex/omi/Deep.IexTp.v1.0", 3, "iex-tp", "iex", None, True),
    ("iex/omi/Tops.IexTp.v1.5", 8, "iex-tp", "iex", None, True),
    ("cboe_pitch/omi/Byx.Equities.DepthOfBook.Pitch.v2.41", 1, "cboe", "none", None, True),
    ("cboe_pitch/omi/Futures.DepthOfBook.Pitch.v1.1.6", 7, "cboe", "none", None, True),
    ("cboe_pitch/omi/Options.ComplexDepthOfBook.Pitch.v2.1.18", 9, "cboe", "none", None, True),
    ("cme_mdp3/Mdp3.Sbe.v1.5", 5, "cme", "none", "2016-02-28", True),
    ("nyse_xdp/IntegratedFeed.Xdp.v2.1", 8, "nyse-xdp", "none", None, True),
    ("nyse_xdp/Bbo.Xdp.v2.3a", 3, "nyse-xdp", "none", None, True),
    ("nyse_xdp/ImbalancesFeed.Xdp.v2.1.f", 2, "nyse-xdp", "none", None, True),
    ("nyse_xdp/Arca.Options.TopFeed.Pillar.1.2.c", 3, "nyse-xdp", "none", None, True),
    ("memx", 5, "memoir", "none", None, True),
    ("siac/Cts.Cta.v2.11.b", 19, "cta", "none", None, True),
    ("siac/Cts.Cta.v1.91", 5, "cta", "none", None, True),
    ("siac/Cqs.Cta.v1.91", 1, "cta", "none", None, True),
    ("siac/opra", 2, "opra", "none", None, True),
    ("b3_umdf_sbe/BinaryUmdf.v1.5", 5, "b3", "none", None, True),
    ("b3_umdf_sbe/BinaryUmdf.v1.8", 2, "b3", "none", None, True),
    ("other_exchanges/Eobi.T7.v6.0", 9, "eobi", "none", None, True),
    ("other_exchanges/Mdf.iMpact.v1.1.33", 10, "ice-impact", "none", None, True),
    ("other_exchanges/OnyxFutures.ToM.v1.0", 4, "miax-mach", "none", None, True),
]
for folder, files, framing, decoder, date, sequenced in folders:
    config(framing, decoder)
    for f in sorted(glob.glob("%s/%s/*.pcap*" % (data, folder))):
        a = os.path.relpath(f, data), framing, decoder, date
        ahead[a] = pool.submit(run, *a)
totals = {}
for folder, files, framing, decoder, date, sequenced in folders:
    found = sorted(glob.glob("%s/%s/*.pcap*" % (data, folder)))
    if len(found) != files:
        failed.append("%s: %d captures, the manifest counts %d" % (folder, len(found), files))
    for f in found:
        have = check(os.path.relpath(f, data), framing, decoder, date, sequenced)
        if not have:
            continue
        t = totals.setdefault(folder, {"packets": 0, "messages": 0, "heartbeats": 0})
        for k in t:
            t[k] += have[k]
        if not have["packets"]:
            failed.append("%s: no packet reached the feed" % f)
        if decoder != "none" and have["unknown"] + have["length"]:
            failed.append("%s: %d messages were not decoded" % (f, have["unknown"] + have["length"]))
nasdaq = [totals.get(f[0], {"packets": 0, "messages": 0}) for f in folders[:3]]
figures = sum(t["packets"] for t in nasdaq), sum(t["messages"] for t in nasdaq)
if figures != (102, 139):
    failed.append("Nasdaq: %d packets and %d messages, the manifest says 102 and 139" % figures)
heartbeat = totals.get("memx", {}).get("heartbeats")
if heartbeat != 1:
    failed.append("memx: %s heartbeats, the manifest says 1" % heartbeat)

subprocess.run(["rm", "-rf", work])
for f in failed:
    print("FAILED:", f, file=sys.stderr)
print("%d captures replayed, %d disagree with the manifest" % (ran, len(failed)))
sys.exit(bool(failed))
