#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes handshake_keys.csv: the key schedule of RFC 5246, RFC 4279 and RFC 7627 and what RFC 5705 exports from it for
a crypto session bundle, computed with nothing but Python's hashlib and hmac. Run it in its folder; the output is kept, so that the tests need no Python."""

import hashlib
import hmac
import struct


def p_sha256(secret, seed, length):
    out, a = b"", seed
    while len(out) < length:
        a = hmac.new(secret, a, hashlib.sha256).digest()
        out += hmac.new(secret, a + seed, hashlib.sha256).digest()
    return out[:length]


def prf(secret, label, seed, length):
    return p_sha256(secret, label.encode() + seed, length)


def numbers(label, length):
    """Bytes without pattern, the same in every run."""
    out, i = b"", 0
    while len(out) < length:
        out += hashlib.sha256(f"{label} {i}".encode()).digest()
        i += 1
    return out[:length]


def finished(seq, verify_data):
    return bytes([20]) + struct.pack(">I", 12)[1:] + struct.pack(">H", seq) + bytes(3) + struct.pack(">I", 12)[1:] + verify_data


def main():
    rows = []
    for i, (ems, psk_len, transcript_len) in enumerate(
        [(1, 16, 174), (0, 16, 174), (1, 17, 1), (1, 32, 55), (0, 32, 56), (1, 63, 64), (1, 64, 119), (0, 64, 300)]
    ):
        psk = numbers(f"psk {i}", psk_len)
        client_random = numbers(f"client {i}", 32)
        server_random = numbers(f"server {i}", 32)
        transcript = numbers(f"transcript {i}", transcript_len)
        seq = 2 + i % 3
        session_hash = hashlib.sha256(transcript).digest()
        premaster = struct.pack(">H", psk_len) + bytes(psk_len) + struct.pack(">H", psk_len) + psk
        if ems:
            master = prf(premaster, "extended master secret", session_hash, 48)
        else:
            master = prf(premaster, "master secret", client_random + server_random, 48)
        block = prf(master, "key expansion", server_random + client_random, 40)
        client = prf(master, "client finished", session_hash, 12)
        server = prf(master, "server finished", hashlib.sha256(transcript + finished(seq, client)).digest(), 12)
        exported = prf(master, "EXPORTER-iotsec-csb", client_random + server_random, 20)
        rows.append([ems, seq, psk, client_random, server_random, transcript, master, block, client, server, exported])
    with open("handshake_keys.csv", "w", encoding="ascii") as out:
        out.write("ems,finished_seq,psk,client_random,server_random,transcript,master,key_block,client_finished,server_finished,exported\n")
        for row in rows:
            out.write(",".join(v.hex() if isinstance(v, bytes) else str(v) for v in row) + "\n")


main()
