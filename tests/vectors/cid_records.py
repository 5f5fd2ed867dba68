#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes cid_records.csv: records with a Connection ID (RFC 9146, sections 4 and 5.3) under AES-128-CCM (RFC 6655),
computed with nothing but Python; AES by FIPS 197, CCM by RFC 3610, both checked against ccm.csv first. Run it in its
folder; the output is kept, so that the tests need no Python. Only whole rows of type 0 are no valid records: their
plaintext is nothing but padding."""

import csv
import hashlib
import struct


def times2(x):
    return (x << 1 ^ (0x11B if x & 0x80 else 0)) & 0xFF


def times(x, y):
    out = 0
    while y:
        out ^= x if y & 1 else 0
        x, y = times2(x), y >> 1
    return out


def make_sbox():
    out = [0x63]
    for x in range(1, 256):
        inverse = next(y for y in range(1, 256) if times(x, y) == 1)
        twice = inverse << 8 | inverse
        out.append(0x63 ^ inverse ^ (twice >> 4 ^ twice >> 5 ^ twice >> 6 ^ twice >> 7) & 0xFF)
    return out


SBOX = make_sbox()


def round_keys(key):
    words, rcon = [key[i:i + 4] for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = bytes([SBOX[word[1]] ^ rcon, SBOX[word[2]], SBOX[word[3]], SBOX[word[0]]])
            rcon = times2(rcon)
        words.append(bytes(a ^ b for a, b in zip(words[i - 4], word)))
    return [b"".join(words[i:i + 4]) for i in range(0, 44, 4)]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def aes(key, block):
    keys = round_keys(key)
    state = xor(block, keys[0])
    for i in range(1, 11):
        state = bytes(SBOX[state[(5 * at) % 16]] for at in range(16))  # SubBytes and ShiftRows
        if i != 10:
            columns = [state[c:c + 4] for c in range(0, 16, 4)]
            state = bytes(times2(c[r]) ^ times2(c[(r + 1) % 4]) ^ c[(r + 1) % 4] ^ c[(r + 2) % 4] ^ c[(r + 3) % 4]
                          for c in columns for r in range(4))
        state = xor(state, keys[i])
    return state


def padded(data):
    return data + bytes(-len(data) % 16)


def ccm(key, nonce, aad, text, tag_len):
    flags = (0x40 if aad else 0) | (tag_len - 2) // 2 << 3 | 2
    mac_input = bytes([flags]) + nonce + struct.pack(">I", len(text))[1:]
    if aad:
        mac_input += padded(struct.pack(">H", len(aad)) + aad)
    mac_input += padded(text)
    mac = bytes(16)
    for i in range(0, len(mac_input), 16):
        mac = aes(key, xor(mac, mac_input[i:i + 16]))
    stream = b"".join(aes(key, b"\2" + nonce + struct.pack(">I", i)[1:]) for i in range(1 + (len(text) + 15) // 16))
    return xor(text, stream[16:]) + xor(mac, stream)[:tag_len]


def check_against_known_rows():
    count = 0
    with open("ccm.csv", encoding="ascii") as f:
        for row in csv.DictReader(line for line in f if not line.startswith("#")):
            value = {name: bytes.fromhex(row[name]) for name in row if name != "id"}
            out = ccm(value["key"], value["nonce"], value["aad"], value["plaintext"], len(value["tag"]))
            assert out == value["ciphertext"] + value["tag"], row["id"]
            count += 1
    assert count > 10


def numbers(label, length):
    """Bytes without pattern, the same in every run."""
    out, i = b"", 0
    while len(out) < length:
        out += hashlib.sha256(f"{label} {i}".encode()).digest()
        i += 1
    return out[:length]


def main():
    check_against_known_rows()
    rows = []
    for i, (tag_len, cid_len, epoch, sequence, kind, content, padding, own_nonce) in enumerate([
        (8, 2, 1, 0, 22, numbers("finished", 24), 0, False),
        (8, 2, 1, 1, 29, b"\4\1\0", 0, False),
        (8, 1, 1, 2, 23, b"", 0, False),
        (8, 8, 1, 0xFFFFFFFFFFFF, 23, numbers("text", 100), 0, False),
        (16, 2, 1, 0x0102030405, 23, b"hello", 0, False),
        (16, 8, 65535, 7, 21, b"\1\0", 0, False),
        (8, 4, 1, 9, 28, numbers("aad of two blocks", 15), 0, False),
        (8, 5, 1, 9, 28, numbers("aad of two blocks", 16), 0, False),
        (8, 6, 1, 9, 28, numbers("aad of two blocks", 17), 0, False),
        (8, 2, 1, 10, 23, bytes(7), 0, False),
        (8, 2, 1, 11, 23, b"padded", 1, False),
        (16, 3, 1, 12, 23, b"padded", 100, False),
        (8, 2, 1, 13, 23, b"", 31, False),
        (8, 2, 1, 14, 23, b"zeros\0\0", 2, False),
        (8, 2, 1, 15, 23, b"a nonce of the peer's own", 0, True),
        (8, 2, 1, 16, 0, b"", 0, False),
        (8, 2, 1, 17, 0, bytes(20), 11, False),
    ]):
        key, salt, cid = numbers(f"key {i}", 16), numbers(f"salt {i}", 4), numbers(f"cid {i}", cid_len)
        head = struct.pack(">BHH", 25, 0xFEFD, epoch) + sequence.to_bytes(6, "big")
        plain = content + bytes([kind]) + bytes(padding)
        nonce = numbers(f"nonce {i}", 8) if own_nonce else head[3:11]
        aad = b"\xff" * 8 + bytes([25, cid_len, 25]) + head[1:] + cid + struct.pack(">H", len(plain))
        body = nonce + ccm(key, salt + nonce, aad, plain, tag_len)
        record = head + cid + struct.pack(">H", len(body)) + body
        rows.append([tag_len, key, salt, cid, epoch, sequence, kind, content, int(padding != 0 or own_nonce), record])
    with open("cid_records.csv", "w", encoding="ascii") as out:
        out.write("tag_len,key,salt,cid,epoch,sequence,type,content,only_opens,record\n")
        for row in rows:
            out.write(",".join(v.hex() if isinstance(v, bytes) else str(v) for v in row) + "\n")


if __name__ == "__main__":
    main()
