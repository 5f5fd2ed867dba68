#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the readable part of the seed corpus: tests/fuzz/make_seeds.py [FOLDER]

One small file for each kind of input that a target knows, named seed-*. The files beside them, named by
their hash, were found by the fuzzer and kept because they reach something that the seeds do not:

    build/fuzz/tests/fuzz/fuzz_NAME -max_total_time=600 build/found
    build/fuzz/tests/fuzz/fuzz_NAME -merge=1 -use_counters=0 tests/fuzz/corpus/NAME build/found
"""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "vectors"))
from cid_records import ccm  # noqa: E402

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")


def write(target, name, data):
    path = folder / target
    path.mkdir(parents=True, exist_ok=True)
    (path / ("seed-" + name)).write_bytes(bytes(data))


def u8(v):
    return bytes([v])


def u16(v):
    return struct.pack(">H", v)


def u24(v):
    return struct.pack(">I", v)[1:]


def u32(v):
    return struct.pack(">I", v)


def counted(data):
    """As script_bytes in script.h reads it."""
    return (u8(len(data)) if len(data) < 255 else u8(255) + u16(len(data))) + data


def record(kind, epoch, sequence, body, version=0xFEFD):
    return u8(kind) + u16(version) + u16(epoch) + sequence.to_bytes(6, "big") + u16(len(body)) + body


def message(kind, seq, body):
    return u8(kind) + u24(len(body)) + u16(seq) + u24(0) + u24(len(body)) + body


def extension(kind, body):
    return u16(kind) + u16(len(body)) + body


RANDOM = bytes(range(32))
EXTENSIONS = (extension(23, b"") + extension(1, b"\1") + extension(0xFF01, b"\0") + extension(0xFF10, b"\0\7"))


def client_hello(cookie=b"", suites=(0xC0A8, 0xC0A4, 0x00FF), extensions=EXTENSIONS, session=b""):
    body = u16(0xFEFD) + RANDOM + u8(len(session)) + session + u8(len(cookie)) + cookie
    body += u16(2 * len(suites)) + b"".join(map(u16, suites)) + b"\1\0"
    return body + (u16(len(extensions)) + extensions if extensions is not None else b"")


def server_hello(extensions=extension(23, b"") + extension(0xFF01, b"\0") + extension(0xFF10, b"")):
    body = u16(0xFEFD) + RANDOM + b"\0" + u16(0xC0A8) + b"\0"
    return body + (u16(len(extensions)) + extensions if extensions else b"")


def sealed(kind, epoch, sequence, content, tag_len=8, cid=None, padding=0):
    """A record under the key of fuzz_record.c; with a Connection ID: RFC 9146, sections 4 and 5.3."""
    head = u8(kind) + u16(0xFEFD) + u16(epoch) + sequence.to_bytes(6, "big")
    nonce = head[3:]
    if cid is None:
        aad = nonce + head[:3] + u16(len(content))
    else:
        content += u8(kind) + bytes(padding)
        head = u8(25) + head[1:] + cid
        aad = b"\xff" * 8 + u8(25) + u8(len(cid)) + head + u16(len(content))
    body = nonce + ccm(bytes(range(1, 17)), b"\1\2\3\4" + nonce, aad, content, tag_len)
    return head + u16(len(body)) + body


def bytes_head(length, size):
    """CBOR's head of a byte string with `size` bytes of length, 0 for none."""
    if size == 0:
        return u8(0x40 + length)
    return u8(0x58 + (1, 2, 4, 8).index(size)) + length.to_bytes(size, "big")


def relayed(header, content, header_size=0, content_size=1):
    return b"\x82" + bytes_head(len(header), header_size) + header + bytes_head(len(content), content_size) + content


# ---- Records: sealed ones were made with the key of fuzz_record.c ----

hello = record(22, 0, 0, message(1, 0, client_hello()))
write("record", "hello", hello)
write("record", "several", hello + record(20, 0, 1, b"\1") + record(21, 0, 2, b"\2\x33") + record(23, 1, 0, bytes(24)))
write("record", "group", record(23, 257, 0x000100000005, bytes(16)))
write("record", "too-long", record(23, 1, 1, bytes(20))[:-1])
write("record", "sealed", sealed(23, 1, 1, b"data") + sealed(23, 1, 2, b"data", 16))
for cid in (b"\xc1", b"\xc1\xc2", bytes(range(8))):
    write("record", "cid-%d" % len(cid), sealed(22, 1, 0, bytes(24), cid=cid) + sealed(29, 1, 1, b"\4\1\0", cid=cid) +
          sealed(23, 1, 2, b"data", 16, cid))
write("record", "cid-padded", sealed(23, 1, 3, b"data\0", cid=b"\xc1\xc2", padding=20))
write("record", "cid-only-padding", sealed(0, 1, 3, b"\0\0", cid=b"\xc1\xc2", padding=3))
write("record", "cid-and-plain", sealed(23, 1, 4, b"data") + sealed(23, 1, 5, b"data", cid=b"\xc1\xc2"))
write("record", "relayed", relayed(bytes(21), hello))
write("record", "relayed-no-header", relayed(b"", b"\x16", content_size=0))
write("record", "relayed-long-heads", relayed(bytes(32), hello, 8, 4))
write("record", "relayed-content", relayed(bytes(24), bytes(300), 1, 2))
write("record", "relayed-header-too-long", relayed(bytes(33), hello, 1))
write("record", "relayed-indefinite", b"\x82\x5f\x41\xa1\xff\x41\x16")
write("record", "relayed-nested", relayed(bytes(21), relayed(bytes(21), hello)))
write("record", "relayed-trailing", relayed(bytes(21), hello) + b"\0")

# ---- Hellos ----

for policy in range(4):
    write("hello", "client-%d" % policy, u8(policy) + client_hello())
write("hello", "client-plain", u8(0) + client_hello(extensions=None))
write("hello", "client-cookie", u8(1) + client_hello(cookie=bytes(8)))
write("hello", "client-session", u8(0) + client_hello(session=bytes(32)))
write("hello", "client-no-suite", u8(0) + client_hello(suites=(0x1301, 0x00FF)))
write("hello", "server", u8(4) + server_hello())
write("hello", "server-plain", u8(4) + server_hello(b""))
write("hello", "server-fragment", u8(4) + server_hello(extension(1, b"\1") + extension(23, b"")))
write("hello", "verify", u8(8) + u16(0xFEFF) + counted(bytes(20)))
write("hello", "key-exchange", u8(12) + u16(4) + b"hint")

IDENTITIES = {"first": b"lamp-1", "second": b"lamp-2", "nobody": b"nobody"}
for name, identity in IDENTITIES.items():
    for generation, flags in ((1, 0), (2, 0), (2, 1), (0, 0)):
        body = extension(0xFF11, u32(generation) + u8(flags) + identity)
        write("hello", "device-client-%s-%d-%d" % (name, generation, flags),
              u8(64) + client_hello(extensions=extension(23, b"") + body))
        write("hello", "device-server-%s-%d-%d" % (name, generation, flags),
              u8(64 + 4) + server_hello(extension(0xFF01, b"\0") + extension(23, b"") + body))
write("hello", "device-client-none", u8(64) + client_hello(extensions=extension(23, b"")))
write("hello", "device-server-none", u8(64 + 4) + server_hello(extension(0xFF01, b"\0") + extension(23, b"")))
write("hello", "device-client-short", u8(64) + client_hello(extensions=extension(0xFF11, u32(1) + b"\0")))
write("hello", "device-client-long", u8(64) + client_hello(extensions=extension(0xFF11, u32(1) + b"\0" + bytes(129))))
write("hello", "device-verify", u8(64 + 8) + u16(0xFEFF) + counted(bytes(8)))

# ---- Key management ----

GROUP = u16(7)
KEY = bytes(range(16))
SHORT = b"\x15\0\0\1\1" + u16(5683)
LONG = b"\xff\x15" + bytes(12) + b"\1\1" + u16(5683)
PREFIX = b"\x20\1\x0d\xb8\0\1\0\2"
messages = {
    "master-key": (28, b"\1\1" + GROUP + u32(0x102) + u16(3) + KEY),
    "parameters": (29, b"\2\1" + GROUP + u32(0x102) + KEY + SHORT),
    "parameters-long": (29, b"\2\1" + GROUP + u32(0x102) + KEY + LONG),
    "eviction": (29, b"\3\1" + GROUP + u32(0x200) + KEY + SHORT),
    "ack": (29, b"\4\1\0"),
    "ack-conflict": (29, b"\4\0\2"),
    "ack-not-member": (29, b"\4\1\4"),
    "status": (29, b"\5\1" + GROUP + u32(0x102) + u16(2) + b"\0"),
    "status-ahead": (29, b"\5\1" + GROUP + u32(0x500) + u16(2) + b"\1"),
    "status-new-sender": (29, b"\5\1" + GROUP + u32(0x102) + u16(2) + b"\2"),
    "group-request": (29, b"\6\1" + GROUP),
    "group-leave": (29, b"\7\1" + GROUP),
    "domain-leave": (29, b"\x08\1"),
    "refused": (29, b"\x09\1" + GROUP + b"\2"),
    "refused-domain": (29, b"\x09\1\0\0\1"),
    "evicted": (29, b"\x0a\1"),
    "removed": (29, b"\x0b\1" + GROUP),
    "access": (28, b"\x0c\1" + u32(1) + KEY + b"\xca\xfe\xff\xfe" + PREFIX + bytes(7) + b"\1" + u16(5684) + b"\1"),
    "access-next": (28, b"\x0c\2" + u32(2) + KEY[::-1] + b"\xca\xfe\xff\xfe" + PREFIX + bytes(7) + b"\1" + u16(5684) + b"\0"),
    "access-long": (28, b"\x0c\1" + u32(1) + KEY + b"\xca\xfe\0\2" + PREFIX + b"\xfd" + bytes(14) + b"\1" + u16(5684) + b"\1"),
    "access-no-prefix": (28, b"\x0c\1" + u32(1) + KEY + b"\xca\xfe\0\2" + bytes(8) + PREFIX + bytes(7) + b"\1" + u16(5684) + b"\1"),
    "path-check": (29, b"\x0d\1"),
    "moved": (29, b"\x0e\1"),
    "share-status": (29, b"\x0f\1" + u32(1) + u32(2) + u16(3) + b"\4"),
    "share-status-none": (29, b"\x0f\1" + u32(0) + u32(0) + u16(0) + b"\0"),
    "share": (28, b"\x10\1" + u32(1) + b"\3\0\1\1" + KEY + KEY),
    "share-rest": (28, b"\x10\2" + u32(1) + b"\3\2\1\0" + KEY + KEY),
    "share-end": (28, b"\x10\1" + u32(1) + b"\xff\xff\0\0" + KEY),
    "revoked": (29, b"\x11\1" + u32(1) + b"\0\1" + KEY[:8]),
    "revoked-more": (29, b"\x11\1" + u32(1) + b"\x1d\x20" + KEY + KEY[:8]),
}
for name, (kind, body) in messages.items():
    write("keymgmt", name, body)

# ---- The bundle and the reassembly: steps as the targets read them ----

pair = b"\0\x11\1" + u16(3) + b"\1\x22\1\xff\0"
write("csb", "pair", pair)
write("csb", "pair-reversed", b"\1\x22\1\xff\0" + b"\0\x11\1" + u16(3))
write("csb", "steps", pair + b"\2\2\1" + b"\5\x13\x88" + b"\2\3\1" + b"\6\6\6")
write("csb", "generation", pair + b"\0\x33\6" + u16(3) + b"\1\x44\6\xff\1" + b"\2\6\1")


def piece(seq, kind, total, offset, data):
    return u8(0) + u8(seq) + u8(kind) + u16(total) + u16(offset) + counted(data)


write("reassembly", "in-order", piece(0, 0, 20, 0, bytes(10)) + piece(0, 0, 20, 10, bytes(10)))
write("reassembly", "overlap", piece(1, 1, 30, 20, bytes(10)) + piece(1, 1, 30, 0, bytes(25)) + piece(0, 0, 5, 0, bytes(5)))
write("reassembly", "crowded", b"".join(piece(seq, 0, 200, 0, bytes(100)) for seq in (5, 4, 3, 2, 1, 0)))

# ---- Endpoints, devices and managers: every state, and every kind of step in it ----

for state in range(9):
    for target in (0, 4):
        head = u8(target + (state & 3)) + u8(state)
        deliver = b"\xc0" * 6
        write("dtls", "deliver-%d-%d" % (state, target), head + deliver + b"\xd8\x02\x00" + deliver)
        write("dtls", "plain-%d-%d" % (state, target), head + b"\0" + counted(hello) + b"\1" + counted(hello) +
              b"\0" + counted(record(21, 0, 9, b"\2\x33")) + b"\0" + counted(record(20, 0, 10, b"\1")))
        write("dtls", "sealed-%d-%d" % (state, target), head + b"\x63" + counted(b"data") + b"\x62" +
              counted(message(20, 3, bytes(12))) + b"\x61" + counted(b"\1\0") + deliver)
write("dtls", "messages", u8(0) + u8(1) + b"\xa3\1\0" + counted(u16(0xFEFF) + counted(bytes(8))) +
      b"\xa2\0\1" + counted(server_hello()) + b"\xa5\0\2" + counted(b""))
write("dtls", "application", u8(4) + u8(8) + b"\xf5\xf8\xc0\xc0\xf1\xc0\xfb\xc0\xc0\xc0\xc0\xf2\0\xc0")
write("dtls", "pending", u8(4) + u8(5) + b"\xf4\0\xc0\xc0")

for state in range(11):
    head = u8(state & 3) + u8(state)
    deliver = b"\xa0" * 10
    write("device", "deliver-%02d" % state, head + deliver + b"\xc0\x02\x00" + deliver + b"\xc0\x40\x00" + deliver)
    write("device", "plain-%02d" % state, head + b"\0" + counted(hello) + b"\4" + counted(hello) +
          b"\5" + counted(record(23, 257, 0x000200000001, bytes(20))) + b"\0" + counted(record(23, 1, 1, bytes(24))))
    write("manager", "deliver-%02d" % state, head + deliver + b"\xc0\x02\x00" + deliver + b"\xc0\x40\x00" + deliver)
    write("manager", "plain-%02d" % state, head + b"\0" + counted(hello) + b"\2" + counted(hello) +
          b"\1" + counted(record(23, 1, 1, bytes(24))))
for name, (kind, body) in messages.items():
    step = b"\x40" if kind == 28 else b"\x41"
    write("device", "sealed-" + name, u8(0) + u8(7) + step + counted(body) + b"\xa0\xa0")
    write("manager", "sealed-" + name, u8(0) + u8(7) + step + counted(body) + b"\xa0\xa0\xc0\x10\x00\xa0\xa0")
write("device", "records", u8(0) + u8(7) + b"".join(u8(128 + ahead) + b"\1" + u16(5 + ahead) + counted(b"light on")
                                                    for ahead in (0, 0, 1, 3, 2, 0)))
write("device", "calls", u8(0) + u8(7) + b"".join(u8(224 + step) + u8(step) for step in range(16)))
write("manager", "calls", u8(0) + u8(7) + b"".join(u8(224 + step) + u8(step * 17) + b"\xa0\xa0" for step in range(16)))
write("manager", "failing", u8(0) + u8(0) + b"\xe6\x11" + b"\xec\0" + b"\xa0" * 8 + b"\xc0\x08\x00" + b"\xa0" * 8)

# ---- Pairs: the same states with a polynomial, and the ones that only such devices know ----

identity = extension(0xFF11, u32(1) + b"\0lamp-2")
peer_hello = record(22, 0, 0, message(1, 0, client_hello(extensions=extension(23, b"") + identity)))
peer_answer = record(22, 0, 0, message(2, 0, server_hello(extension(0xFF01, b"\0") + extension(23, b"") + identity)))
for state in range(16):
    head = u8(4 + (state & 3)) + u8(state)
    deliver = b"\xa0" * 12
    write("device", "pairs-%02d" % state, head + deliver + b"\xc0\x02\x00" + deliver + b"\xee\0" + deliver + b"\xee\2" + deliver)
    write("manager", "pairs-%02d" % state, head + deliver + b"\xef\x05" + deliver + b"\xc0\x02\x00" + deliver)
    write("device", "pairs-hello-%02d" % state, head + b"\2" + counted(peer_hello) + b"\2" + counted(peer_answer) + deliver)
for name, (kind, body) in messages.items():
    if name.startswith(("share", "revoked")):
        step = b"\x40" if kind == 28 else b"\x41"
        for generation in (1, 2, 3):
            # `generation` stands first in all of them
            changed = body[:2] + u32(generation) + body[6:]
            write("device", "pairs-%s-%d" % (name, generation), u8(4) + u8(11) + step + counted(changed) + b"\xa0\xa0")
            write("manager", "pairs-%s-%d" % (name, generation), u8(4) + u8(7) + step + counted(changed) + b"\xa0\xa0\xc0\x10\x00\xa0\xa0")
        write("device", "pairs-of-a-peer-" + name, u8(4) + u8(15) + u8(step[0] + 32) + counted(body) + b"\xa0\xa0")
write("device", "pairs-said", u8(4) + u8(15) + 2 * (b"\x65" + counted(b"light on")) + b"\x66" + counted(b"\1\0"))
write("device", "pairs-calls", u8(4) + u8(15) + b"".join(b"\xee" + u8(choice) + b"\xa0\xa0\xa0\xa0" for choice in range(0, 256, 9)))
write("device", "pairs-calls-back", u8(4) + u8(12) + b"\xe6\0" + b"\xa0" * 12 + b"\xee\x04" + b"\xa0" * 12)
write("device", "pairs-evicted-peer", u8(4) + u8(15) + b"\xe9\0" + b"\xa0" * 8 + b"\xee\0\xee\2" + b"\xa0" * 8)
write("manager", "pairs-renewals", u8(4) + u8(7) + 4 * (b"\xef\x07\xa0\xa0\xef\x87\xa0") + b"\xa0" * 8)
write("manager", "pairs-evicted", u8(4) + u8(7) + b"\xe3\x10" + b"\xa0" * 8)
write("manager", "pairs-failing", u8(4) + u8(7) + b"\xe6\x25\xef\x07" + b"\xa0" * 4 + b"\xeb\0" + b"\xef\x07" + b"\xa0" * 8)


def share(generation, degree, first, count, revoked=0, gentle=0):
    return u8(generation - 2 | revoked << 3 | gentle << 5) + u8((degree - 1) | first << 2 | (count - 1) << 4)


def revoked(generation, first, count):
    return u8(128 + (generation - 2 | (count - 1) << 3)) + u8(first)


write("share", "whole", share(2, 3, 0, 4))
write("share", "pieces", share(2, 3, 0, 2) + share(2, 3, 2, 2, gentle=1))
write("share", "twice", share(2, 3, 0, 2) + share(2, 3, 0, 2) + share(2, 3, 1, 3))
write("share", "missing", share(2, 3, 0, 1) + share(2, 3, 2, 2) + b"\xc0\xff" + share(2, 3, 1, 3))
write("share", "two-polynomials", share(2, 3, 0, 2) + share(3, 3, 2, 2) + share(3, 3, 0, 2) + share(2, 3, 2, 2) + share(3, 3, 2, 2))
write("share", "two-degrees", share(2, 3, 0, 2) + share(2, 2, 2, 1))
write("share", "too-large", share(2, 4, 0, 5) + share(3, 3, 0, 4))
write("share", "overlap", share(2, 2, 0, 3, gentle=1) + revoked(2, 0, 3) + share(3, 2, 0, 3, 2, 1) + revoked(3, 0, 2) + b"\xc0\xff")
write("share", "waits-for-marks", share(2, 2, 0, 3, 2) + revoked(2, 0, 1) + revoked(2, 0, 2))
write("share", "many-marks", share(2, 1, 0, 2) + b"".join(revoked(2, first, 8) for first in (0, 8, 16, 23)) + revoked(2, 31, 1) +
      share(3, 1, 0, 2, gentle=1) + revoked(3, 0, 4))
write("share", "sessions", share(2, 3, 0, 2) + b"\xd0" + b"\xe0" * 4 + share(2, 3, 2, 2) + b"\xd0")
write("share", "no-element", u8(64) + u8(0xC0 | 2) + share(2, 3, 0, 4))

for flags in (0, 4, 8, 12, 16):
    write("nvm", "flags-%02d" % flags, u8(flags) + counted(bytes(69)) + counted(b"\1" * 69) + counted(b""))

# ---- Relays: mode and NVM, then steps ----

RELAY_OPEN, RELAY_HELLO = b"\5\0", b"\0\1" + counted(hello)
for mode, name in ((0, "stateless"), (1, "stateful"), (2, "kept"), (8, "clock-wraps")):
    write("relay", name, u8(mode) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"\3\0\0" + b"\4\x84" + RELAY_HELLO + b"\6\0" + RELAY_HELLO)
write("relay", "restart", u8(2) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"\x08\0" + RELAY_OPEN + b"\3\0\0")
write("relay", "rotate", u8(2) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"\6\0\4\x80\7\0" + RELAY_OPEN + b"\3\0\0" + RELAY_HELLO)
write("relay", "rotate-nvm-fails", u8(2) + b"\0" + b"\4\x80\7\1" + RELAY_OPEN + RELAY_HELLO + b"\3\0\0")
write("relay", "slot", u8(2 | 16) + counted(b"\1\xff\1" + bytes(36)) + RELAY_OPEN + RELAY_HELLO + b"\3\0\0")
write("relay", "spoiled", u8(0) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"\3\0" + counted(bytes(14) + b"\1"))
write("relay", "strangers", u8(1) + b"\0" + RELAY_OPEN + b"\1\3" + counted(hello) + b"\2\0" + counted(hello))
write("relay", "loop", u8(0) + b"\0" + RELAY_OPEN + b"\0\1" + counted(relayed(bytes(21), hello)) + b"\2\0" + counted(relayed(bytes(21), hello)))
write("relay", "flood", u8(1) + b"\0" + RELAY_OPEN + 30 * b"\0\2\1\x16" + b"\0\3\1\x16")
write("relay", "table-full", u8(1) + b"\0" + RELAY_OPEN + b"".join(u8(0) + u8(n) + b"\1\x16" for n in range(5)) + b"\4\x83" + b"\0\5\1\x16")
write("relay", "closed-reply", u8(0) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"\6\0\3\0\0")
write("relay", "ports-of-nobody", u8(1) + b"\0" + RELAY_OPEN + RELAY_HELLO + b"".join(b"\2" + u8(n) + b"\1\x16" for n in (1, 3, 4, 90, 255)))

# ---- The MC1322x's network layer: flags, then steps. UDP from port 5683 to 5683, or to the join port; no checksum where secured ----

NET_LOCAL, NET_DOWN, NET_GROUP = (bytes.fromhex(text) for text in ("7e33f416331633", "7e760103f416331633", "7e6a010205000042f416331633"))
NET_JOIN = bytes.fromhex("7e33f0163316348c61")


def net_secured(payload, how=0):
    return b"\2" + u8(how) + counted(payload)


def net_plain(payload, how=0):
    return b"\1" + u8(how) + counted(payload)


def net_pieces(give, payload, how=0, tag=1, head=b""):
    """120 bytes of UDP payload in three fragments."""
    parts = [u16(0xC000 | 168) + u16(tag) + payload + bytes(40), u16(0xE000 | 168) + u16(tag) + u8(11) + bytes(40),
             u16(0xE000 | 168) + u16(tag) + u8(16) + bytes(40)]
    return b"".join(give(head + part, how) for part in parts)


write("net_frame", "local", u8(0) + net_secured(NET_LOCAL + b"\1") + b"\3\4\x0a")
write("net_frame", "down", u8(0) + net_secured(NET_DOWN + b"data") + b"\4\x0a")
write("net_frame", "group", u8(0) + net_secured(b"\x50\7" + NET_GROUP + b"on", 0x10) + b"\4\x28\4\x28" +
      net_secured(b"\x50\7" + NET_GROUP + b"on", 0x11))
write("net_frame", "pieces", u8(0) + net_pieces(net_secured, NET_LOCAL) + b"\3" + net_pieces(net_secured, NET_DOWN, tag=2))
write("net_frame", "pieces-of-group", u8(0) + b"\x08\3" + net_pieces(net_secured, NET_GROUP, 0x10, head=b"\x50\1") + 4 * b"\4\x28")
write("net_frame", "joiner", u8(4) + b"\6\x08" + net_plain(NET_JOIN + b"\1") + net_pieces(net_plain, NET_JOIN))
write("net_frame", "joining", u8(4) + b"\6\x20" + b"\5\4\3abc" + b"\6\xe0" + b"\5\x26\3abc" + net_plain(bytes.fromhex("7e33f0163416338c61")))
write("net_frame", "keys", u8(1) + b"\7\x1d" + net_secured(NET_LOCAL, 0x20) + net_secured(NET_LOCAL) + b"\7\1" + b"\7\0\5\0\0")
write("net_frame", "radio-full", u8(0) + b"\6\1" + 5 * b"\5\0\x40" + bytes(64) + b"\6\0\4\1")
write("net_frame", "store-fails", u8(2) + b"\6\2" + b"\5\0\1a\6\0" + 20 * b"\5\0\1a" + b"\x09" + b"\5\0\1a")
write("net_frame", "send", u8(0) + b"".join(b"\5" + u8(how) + b"\3abc\4\x20" for how in range(0, 128, 7)) + b"\5\1\xc8" + bytes(200))
write("net_frame", "uncompressed", u8(0) + net_secured(bytes.fromhex("416000000000081140fe80000000000000020000000000000100fe80000000000000"
                                                                  "020000000000008016331633000801ff")))
write("net_frame", "echo", u8(0) + net_secured(bytes.fromhex("7a333a8000f00d12340001")) + b"\x09" + b"\4\1")
write("net_frame", "raw", u8(0) + b"\0" + counted(bytes.fromhex("69dc00efbe800000000000000001000000000000000d0000000001") + bytes(20)))
