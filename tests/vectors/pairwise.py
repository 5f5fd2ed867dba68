#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the known answers for pairwise keys, computed with nothing but Python's integers, hashlib and hmac. Run it in its
folder; the output is kept, so that the tests need no Python.

pairwise_steps.csv   a * point + c at the ends of the field's range
pairwise_points.csv  identities and their points
pairwise_keys.csv    two devices each: digests of their shares, their value, PSK and TGK. The polynomial of degree t has
                     a[i][j] = a[j][i] = SHA-256("iotsec test polynomial" || t || i || j), i <= j, one byte each,
                     its first 127 bits behind a zero bit.
"""

import csv
import hashlib
import hmac
import struct

P = 2**127 - 1
# The last two have every limb of 13 bits full, and every second one.
EXTREMES = [0, 1, 2, P - 1, P - 2, 2**126, 2**117 - 1, P - 2**117, 0x2000 ** 9 - 0x1FFF,
            sum(0x1FFF << 26 * i for i in range(5)) % P]
IDENTITIES = [
    b"a", b"\0", b"\xff", b"lamp", b"lamp1", b"lamp2", b"switch.kitchen1", bytes(range(16)), b"\0\xff\n,\"\x80" * 3,
    "Lämpchen".encode(), b"0123456789abcdef" * 7 + b"0123456789abcde", b"x" * 128, bytes(range(128, 256)),
]
PAIRS = [
    (1, 1, b"lamp", b"switch"),
    (1, 0xFFFFFFFF, b"b", b"a"),
    (2, 1, b"lamp", b"lamp1"),  # one is the beginning of the other
    (2, 2, b"lamp1", b"lamp"),
    (15, 1, b"\0", b"\0\0"),
    (15, 0x01020304, b"\x7f", b"\x80"),  # bytes are compared without sign
    (31, 1, b"lamp1", b"lamp2"),
    (31, 2, b"lamp1", b"lamp2"),
    (31, 256, b"x" * 127 + b"b", b"x" * 127 + b"a"),
    (31, 1, b"x" * 128, b"y"),  # a long one is not a large one
    (31, 1, b"y" * 128, b"x"),
    (63, 3, b"door", bytes(range(128, 256))),
    (127, 7, "Lämpchen".encode(), b"Schalter"),
    (255, 1, b"lamp", b"switch"),
    (255, 0x80000000, b"\xff" * 128, b"\xfe" * 128),
]


def element(number):
    assert 0 <= number < P
    return number.to_bytes(16, "big")


def point(identity):
    x = int.from_bytes(hashlib.sha256(b"iotsec point" + identity).digest(), "big") % P
    assert x != 0
    return x


def polynomial(t):
    rows = [[0] * (t + 1) for _ in range(t + 1)]
    for i in range(t + 1):
        for j in range(i, t + 1):
            digest = hashlib.sha256(b"iotsec test polynomial" + bytes([t, i, j])).digest()
            rows[i][j] = rows[j][i] = int.from_bytes(digest[:16], "big") >> 1
            assert rows[i][j] != P
    return rows


def evaluate(coefficients, x):
    return sum(a * pow(x, i, P) for i, a in enumerate(coefficients)) % P


def share_of(rows, identity):
    powers = [pow(point(identity), i, P) for i in range(len(rows))]
    return [sum(rows[i][j] * powers[i] for i in range(len(rows))) % P for j in range(len(rows))]


def derive(value, label, generation, *identities):
    text = label + struct.pack(">I", generation)
    for identity in sorted(identities):  # Python's order of bytes is the protocol's
        text += bytes([len(identity)]) + identity
    return hmac.new(element(value), text, hashlib.sha256).digest()


def main():
    with open("pairwise_steps.csv", "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["point", "a", "c", "a_point_c"])
        for x in EXTREMES:
            for a in EXTREMES:
                for c in (0, P - 1):
                    out.writerow(element(number).hex() for number in (x, a, c, (a * x + c) % P))

    with open("pairwise_points.csv", "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["identity", "point"])
        for identity in IDENTITIES:
            out.writerow([identity.hex(), element(point(identity)).hex()])

    with open("pairwise_keys.csv", "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["degree", "generation", "identity1", "identity2", "share1", "share2", "value", "psk", "tgk"])
        for t, generation, one, two in PAIRS:
            rows = polynomial(t)
            share1, share2 = share_of(rows, one), share_of(rows, two)
            value = evaluate(share1, point(two))
            assert value == evaluate(share2, point(one))
            digests = [hashlib.sha256(b"".join(map(element, share))).hexdigest() for share in (share1, share2)]
            psk = derive(value, b"iotsec pair psk", generation, one, two)
            tgk = derive(value, b"iotsec pair tgk", generation, one, two)[:16]
            out.writerow([t, generation, one.hex(), two.hex(), *digests, element(value).hex(), psk.hex(), tgk.hex()])


if __name__ == "__main__":
    main()
