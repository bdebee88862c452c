# SPDX-License-Identifier: Apache-2.0
"""A kdb+ client for tests, from the format page alone: handshake, sync and async, every type both
ways, decompression. Shares nothing with the product. Run it with /usr/bin/python3: numpy is Debian's.

    q = Client(port=5010, user="joe", password="x")      Client(path="/run/…/nyc1.ipc")
    q(".u.sub", Sym("trade"), Sym(""))                   sync: the answer, or QError
    q.send(".u.upd", Sym("trade"), [Syms(["A"]), K(9, [1.5])])          async
    q.recv(timeout)                                      next message not answered yet, or None

Values: None ::, bool int float -> boolean long float atoms, Sym, str char vector, Char one char, bytes,
K(t, x) a numpy array of kdb+ type t (negative: an atom), Syms a symbol vector, list a general list,
Table (a dict of columns), Dict((keys, values)), Lambda, Raw (functions, as they came).
One argument is sent as it is; several as a list whose head is the function."""
import select, socket, struct, sys
from collections import deque
import numpy as np

DTYPE = {1: "u1", 2: "V16", 4: "u1", 5: "<i2", 6: "<i4", 7: "<i8", 8: "<f4", 9: "<f8", 12: "<i8", 13: "<i4",
         14: "<i4", 15: "<f8", 16: "<i8", 17: "<i4", 18: "<i4", 19: "<i4"}
class QError(Exception): pass
class Sym(str): pass
class Char(str): pass
class Raw(bytes): pass
class Lambda(str): context = ""
class Syms(list): pass
class Table(dict): pass
class Dict(tuple): pass
class Array(np.ndarray): t = a = 0

def K(t, values, a=0):
    k = np.asarray(values, dtype=DTYPE[abs(t)]).view(Array)
    k.t, k.a = t, a
    return k

def vector(t, n, body, a=0): return struct.pack("<bBi", t, a, n) + body
def name(s): return s.encode("utf-8", "surrogateescape") + b"\0"

def encode(x):
    if x is None: return b"\x65\0"
    if isinstance(x, Raw): return bytes(x)
    if isinstance(x, (bool, np.bool_)): return struct.pack("<bB", -1, x)
    if isinstance(x, Array):
        return struct.pack("b", x.t) + x.tobytes() if x.t < 0 else vector(x.t, len(x), x.tobytes(), x.a)
    if isinstance(x, np.ndarray): return encode(K({v: k for k, v in DTYPE.items() if k < 10 and k != 1}[x.dtype.str.replace("|", "")], x))
    if isinstance(x, (int, np.integer)): return struct.pack("<bq", -7, x)
    if isinstance(x, (float, np.floating)): return struct.pack("<bd", -9, x)
    if isinstance(x, Sym): return b"\xf5" + name(x)
    if isinstance(x, Char): return b"\xf6" + x.encode("latin1")
    if isinstance(x, Lambda): return b"\x64" + name(x.context) + encode(str(x))
    if isinstance(x, str): return vector(10, len(x.encode("utf-8", "surrogateescape")), name(x)[:-1])
    if isinstance(x, bytes): return vector(4, len(x), x)
    if isinstance(x, Syms): return vector(11, len(x), b"".join(map(name, x)), getattr(x, "a", 0))
    if isinstance(x, Table): return b"\x62" + bytes([getattr(x, "a", 0)]) + b"\x63" + encode(Syms(x)) + encode(list(x.values()))
    if isinstance(x, Dict): return (b"\x7f" if getattr(x, "sorted", 0) else b"\x63") + encode(x[0]) + encode(x[1])
    if isinstance(x, list): return vector(0, len(x), b"".join(map(encode, x)))
    raise TypeError(type(x))

def decode(b, at=0):
    """(value, where it ends)"""
    t = struct.unpack_from("b", b, at)[0]
    text = lambda i: (b[i:b.index(0, i)].decode("utf-8", "surrogateescape"), b.index(0, i) + 1)
    if t == -128: raise QError(text(at + 1)[0])
    if t == -11: return Sym(text(at + 1)[0]), text(at + 1)[1]
    if t == -10: return Char(chr(b[at + 1])), at + 2
    if t in (98,):
        d, end = decode(b, at + 2)
        table = Table(zip(d[0], d[1]))
        table.a = b[at + 1]
        return table, end
    if t in (99, 127):
        k, i = decode(b, at + 1)
        v, i = decode(b, i)
        d = Dict((k, v))
        d.sorted = t == 127
        return d, i
    if t == 100:
        context, i = text(at + 1)
        s, i = decode(b, i)
        f = Lambda(s)
        f.context = context
        return f, i
    if t == 101 and b[at + 1] == 0: return None, at + 2
    if 101 <= t <= 103: return Raw(b[at:at + 2]), at + 2
    if 104 <= t <= 111:
        end = at + 5 if t < 106 else at + 1
        for _ in range(struct.unpack_from("<i", b, at + 1)[0] if t < 106 else 1): end = decode(b, end)[1]
        return Raw(b[at:end]), end
    if t < 0:
        width = np.dtype(DTYPE[-t]).itemsize
        v = K(t, np.frombuffer(b, DTYPE[-t], 1, at + 1)[0])
        return bool(v) if t == -1 else int(v) if t == -7 else float(v) if t == -9 else v, at + 1 + width
    a, n = struct.unpack_from("<Bi", b, at + 1)
    at += 6
    if t == 0 or t == 11:
        out = Syms() if t else []
        for _ in range(n):
            v, at = text(at) if t else decode(b, at)
            out.append(Sym(v) if t else v)
        if t: out.a = a
        return out, at
    if t == 10: return b[at:at + n].decode("utf-8", "surrogateescape"), at + n
    if t == 4: return bytes(b[at:at + n]), at + n
    v = K(t, np.frombuffer(b, DTYPE[t], n, at), a)
    return v, at + v.nbytes

def decompress(b):
    out, tab, s, p, d, i = bytearray(struct.unpack_from("<i", b, 8)[0]), [0] * 256, 8, 8, 12, 0
    while s < len(out):
        if not i: flags, d, i = b[d], d + 1, 1
        n = 0
        if flags & i:
            r, n = tab[b[d]], b[d + 1]
            for k in range(n + 2): out[s + k] = out[r + k]
            s, d = s + 2, d + 2
        else: out[s], s, d = b[d], s + 1, d + 1
        while p < s - 1: tab[out[p] ^ out[p + 1]], p = p, p + 1
        if flags & i: s = p = s + n
        i = i * 2 & 255
    return out[8:]

class Client:
    def __init__(self, host="127.0.0.1", port=5010, path=None, user="", password="", capability=3, timeout=10, tls=None):
        self.s = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.s.settimeout(timeout)
        self.s.connect(path or (host, port))
        if not path: self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls: self.s = tls.wrap_socket(self.s, server_hostname=host)
        login = user + (":" + password if password else "")
        self.s.sendall(login.encode() + (bytes([capability]) if capability is not None else b"") + b"\0")
        self.timeout, self.waiting, self.buf = timeout, deque(), bytearray()
        ack = self.s.recv(1)
        if not ack: raise QError("access")
        self.capability = ack[0]
    def post(self, kind, args):
        body = encode(args[0] if len(args) == 1 else list(args))
        self.s.sendall(struct.pack("<BBBBi", 1, kind, 0, 0, len(body) + 8) + body)
    def send(self, *args): self.post(0, args)
    def more(self, n):
        while len(self.buf) < n:
            b = self.s.recv(max(65536, n - len(self.buf)))
            if not b: raise EOFError("closed")
            self.buf += b
    def message(self):
        """(kind, bytes of the object)"""
        self.more(8)
        _, kind, packed, _, n = struct.unpack_from("<BBBBi", self.buf)
        self.more(n)
        b, self.buf = bytes(self.buf[:n]), self.buf[n:]
        return kind, bytes(decompress(b)) if packed else b[8:]
    def __call__(self, *args):
        self.post(1, args)
        self.s.settimeout(self.timeout)
        while True:
            kind, body = self.message()
            if kind == 2: return decode(body)[0]
            self.waiting.append(decode(body)[0])
    def recv(self, timeout=10):
        if self.waiting: return self.waiting.popleft()
        if len(self.buf) < 8 and not getattr(self.s, "pending", int)() and not select.select([self.s], [], [], timeout)[0]: return None
        self.s.settimeout(max(timeout, 1))
        return decode(self.message()[1])[0]
    def close(self): self.s.close()

if __name__ == "__main__":  # golden vectors, both ways: kdbclient.py kdb_golden.h
    import re
    seen = 0
    for frame, hexes in re.findall(r'", (\d),\s*((?:"[0-9a-f]+"\s*)+)\}', open(sys.argv[1]).read()):
        b = bytes.fromhex("".join(re.findall(r'"([0-9a-f]+)"', hexes)))
        body = b[8:] if frame == "1" else b
        if frame == "1" and b[2]: body = bytes(decompress(b))
        seen += 1
        try:
            v, end = decode(body)
        except QError as e:
            assert body == b"\x80" + name(str(e))
            continue
        assert end == len(body), (end, len(body), body.hex())
        assert encode(v) == body, (v, encode(v).hex(), body.hex())
    assert seen >= 108, seen
    print(seen, "golden vectors")
