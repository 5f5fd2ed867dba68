#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes csb_steps.csv: groups' TGKs and TEKs over the steps of a generation, and keys of other crypto sessions (key
number 0), computed with nothing but Python's
hashlib and hmac. Run it in its folder; the output is kept, so that the tests need no Python."""

import csv
import hashlib
import hmac
import struct

TEK, RATCHET = 0x2AD01C64, 0x197A9E97


def p_sha256(key, label, length):
    out, a = b"", label
    while len(out) < length:
        a = hmac.new(key, a, hashlib.sha256).digest()
        out += hmac.new(key, a + label, hashlib.sha256).digest()
    return out[:length]


def prf(inkey, label, length):
    """RFC 3830, section 4.1.2: 256-bit blocks of inkey, their P outputs XORed."""
    out = bytes(length)
    for i in range(0, len(inkey), 32):
        out = bytes(x ^ y for x, y in zip(out, p_sha256(inkey[i:i + 32], label, length)))
    return out


def label(constant, csb_id, rand, k=None, cs_id=1):
    return struct.pack(">IBI", constant, cs_id, csb_id) + rand + (struct.pack(">I", k) if k is not None else b"")


def check_against_rfc_rows():
    with open("mikey_prf.csv") as f:
        for row in csv.DictReader(line for line in f if not line.startswith("#")):
            if row["prf"] == "1":
                out = bytes.fromhex(row["out"])
                text = struct.pack(">IBI", int(row["constant"], 16), int(row["cs_id"], 16), int(row["csb_id"], 16))
                assert prf(bytes.fromhex(row["tgk"]), text + bytes.fromhex(row["rand"]), len(out)) == out


def main():
    check_against_rfc_rows()
    with open("csb_steps.csv", "w") as f:
        print("cs_id,csb_id,rand,key_number,tgk,key", file=f)
        for group, first, last in [(1, 0x100, 0x112), (0xFFFF, 0x1FFF0, 0x1FFFF), (7, 0xFFFFFF00, 0xFFFFFF01)]:
            tgk = hashlib.sha256(b"tgk %d" % group).digest()[:16]
            rand = hashlib.sha256(b"rand %d" % group).digest()[:16]
            for k in range(first, last + 1):
                if k != first:
                    tgk = prf(tgk, label(RATCHET, group, rand, k), 16)
                print(f"1,{group},{rand.hex()},{k},{tgk.hex()},{prf(tgk, label(TEK, group, rand), 16).hex()}", file=f)
        for cs_id, csb_id in [(1, 0xFFFF), (1, 0x10000), (2, 1), (2, 0x80000001), (255, 0), (255, 0xFF00FF00), (128, 0xFFFFFFFF)]:
            tgk = hashlib.sha256(b"tgk of %d %d" % (cs_id, csb_id)).digest()[:16]
            rand = hashlib.sha256(b"rand of %d %d" % (cs_id, csb_id)).digest()[:16]
            key = prf(tgk, label(TEK, csb_id, rand, cs_id=cs_id), 16)
            print(f"{cs_id},{csb_id},{rand.hex()},0,{tgk.hex()},{key.hex()}", file=f)


if __name__ == "__main__":
    main()
