#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# packets.py PACKET...: MoldUDP64 packets by multicast on the loopback interface, in this order. A packet:
#   LINE SESSION SEQ MESSAGE...   LINE: A 239.192.1.1, B 239.192.1.2, C 239.192.1.3, all at port 26400; or GROUP:PORT,
#                                 GROUP:PORT@SOURCE; MESSAGE: hexadecimal, or ok: an ITCH system event; ok*N: N of them;
#                                 ok@HH:MM:SS: at that time of day; none: a heartbeat; end: the end of the session
#   LINE raw HEX                  the payload itself
#   sleep SECONDS
import socket, struct, sys, time

GROUPS = {"A": "239.192.1.1:26400", "B": "239.192.1.2:26400", "C": "239.192.1.3:26400"}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)

def event(at="09:30:00"):
    h, m, sec = map(int, at.split(":"))
    return b"S" + struct.pack(">HH", 0, 0) + (int((h * 3600 + m * 60 + sec) * 1e9)).to_bytes(6, "big") + b"Q"

for packet in sys.argv[1:]:
    words = packet.split()
    if words[0] == "sleep":
        time.sleep(float(words[1]))
        continue
    to, _, source = GROUPS.get(words[0], words[0]).partition("@")
    messages, count = [], None
    for w in words[3:] if words[1] != "raw" else []:
        if w == "none":
            pass
        elif w == "end":
            count = 0xFFFF
        elif w.startswith("ok*"):
            messages += [event()] * int(w[3:])
        elif w.startswith("ok"):
            messages.append(event(*w[3:].split("@") if w[3:] else ()))
        else:
            messages.append(bytes.fromhex(w))
    body = b"".join(struct.pack(">H", len(m)) + m for m in messages)
    head = bytes.fromhex(words[2]) if words[1] == "raw" else words[1].ljust(10).encode()[:10] + struct.pack(">QH", int(words[2]), len(messages) if count is None else count)
    out = s
    if source:
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        out.bind((source, 0))
    group, port = to.split(":")
    out.sendto(head + body, (group, int(port)))
