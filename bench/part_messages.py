# SPDX-License-Identifier: BSD-3-Clause
"""Table 2 of the draft: messages, round trips and bytes by layer when nothing is lost."""
import frame

NAME = "messages"
ORDER = 20
TITLE = "Messages and bytes (the draft's Table 2)"
SUMMARY = "messages, round trips and bytes by layer, without loss"
TARGETS = ["join", "peers"]

# The draft counts these for every datagram.
MAC, NETWORK, UDP = 14, 40, 8
# IEEE 802.15.4 with 64-bit addresses, link-local IPv6 compressed by IPHC, 16-bit ports: bytes.
FRAME_MAX = 127         # of the MAC: header, payload, check sequence
FRAME_HEADER = 21 + 2   # MAC header with both addresses and one PAN ID; check sequence
COMPRESSED = 2 + 7      # IPv6 from the link's addresses; UDP with both ports and checksum
FIRST, LATER = 4, 5     # fragment headers
UNFRAGMENTED = FRAME_MAX - FRAME_HEADER - COMPRESSED
PREAMBLE, MICROSECONDS = 6, 32  # before each frame, in bytes; a byte's time at 250 kbit/s

JOINS = [
    ("join", "direct", []),
    ("join, cookie", "direct", ["cookie"]),
    ("join, 95-byte link", "direct", ["narrow"]),
    ("join, 95-byte link, cookie", "direct", ["narrow", "cookie"]),
    ("join, access parameters", "direct", ["access"]),
    ("join, access parameters, Connection ID, cookie", "direct", ["access", "cid", "cookie"]),
]
STACKS = [("iotsec", "ours"), ("mbedtls", "mbedTLS"), ("openssl", "OpenSSL"), ("gnutls", "GnuTLS")]
HEADER = ["what", "datagrams", "round_trips", "udp_bytes", "draft_bytes", "frames", "sixlowpan_bytes", "air_us"]
CHECKS = {"messages.csv": frame.Check(["what"], {column: ("less", 0, 0) for column in HEADER[1:]}, []),
          "messages-join.csv": frame.Check(["what", "number"], {"bytes": ("less", 0, 0)}, [])}
RECORDS = {"22.1": "ClientHello", "22.2": "ServerHello", "22.3": "HelloVerifyRequest", "22.14": "ServerHelloDone",
           "22.16": "ClientKeyExchange", "20": "ChangeCipherSpec", "22": "Finished", "28": "master key", "29": "security parameters",
           "25": "with Connection ID"}


def frames(payload):
    """MAC frames that carry a datagram of so many bytes of UDP payload."""
    if payload <= UNFRAGMENTED:
        return [FRAME_HEADER + COMPRESSED + payload]
    # Offsets count the uncompressed datagram in units of 8, and its 48 bytes of IPv6 and UDP are a multiple of that.
    first = (FRAME_MAX - FRAME_HEADER - FIRST - COMPRESSED) // 8 * 8
    later = (FRAME_MAX - FRAME_HEADER - LATER) // 8 * 8
    sizes = [FRAME_HEADER + FIRST + COMPRESSED + first]
    left = payload - first
    while left > 0:
        sizes.append(FRAME_HEADER + LATER + min(left, later))
        left -= later
    return sizes


def summary(what, lines):
    """lines: who sent, bytes."""
    turns = 1 + sum(a[0] != b[0] for a, b in zip(lines, lines[1:]))
    payload = sum(size for _, size in lines)
    sent = [size for _, size in lines for size in frames(size)]
    return [what, len(lines), (turns + 1) // 2, payload, payload + len(lines) * (MAC + NETWORK + UDP), len(sent), sum(sent),
            sum(PREAMBLE + size for size in sent) * MICROSECONDS]


def measure(quick):
    rows, steps = [], []
    for what, shape, options in JOINS:
        lines = [line.split() for line in frame.run(frame.program("join"), "trace", shape, *options).splitlines()]
        rows.append(summary(what, [(line[1], int(line[2])) for line in lines]))
        steps += [[what, number, line[1], line[2], " ".join(line[3:])] for number, line in enumerate(lines, 1)]
    peers = []
    for stack, _ in STACKS:
        for cookie in (0, 1):
            lines = [line.split() for line in frame.run(frame.program("peers"), "plain", stack, str(cookie)).splitlines()]
            (rows if stack == "iotsec" else peers).append(summary("%s handshake%s" % (stack, ", cookie" if cookie else ""),
                                                                  [(line[1], int(line[2])) for line in lines]))
    out = {"messages.csv": (HEADER, rows), "messages-join.csv": (["what", "number", "from", "bytes", "records"], steps)}
    if not quick:
        out["messages-peers.csv"] = (HEADER, peers)  # theirs may change with every update of the system
    return out


def figures(results):
    row = results.find("messages.csv", what="join")
    values = [int(row[column]) for column in ("datagrams", "round_trips", "udp_bytes", "draft_bytes")]
    met = all(value <= limit for value, limit in zip(values, (5, 3, 510, 820)))
    return [frame.Figure("join with multicast keys, nothing lost: 15-byte identity, one group",
                         "draft 12 messages, 4 round trips, 487 B, with its headers 1231 B",
                         "5 datagrams, 3 round trips, 510 B, with the draft's headers 820 B",
                         "%d datagrams, %d round trips, %d B, %d B" % tuple(values), met,
                         "See the datagrams below.")]


def records(row):
    out = []
    for record in row["records"].split():
        kind, size = record.split(":")
        name = "acknowledgement" if row["from"] == "device" and kind in ("28", "29") else RECORDS.get(kind, kind)
        out.append("%s %s" % (name, size))
    return ", ".join(out)


def plots(results):
    return {}


def document(results):
    rows = results["messages.csv"]
    draft = ["the draft's prototype", 12, 4, 487, 1231, "", "", ""]

    def line(row, name=None):
        return [name or row["what"], row["datagrams"], row["round_trips"], row["udp_bytes"], row["draft_bytes"], row["frames"],
                row["sixlowpan_bytes"], "%.1f" % (int(row["air_us"]) / 1000)]

    header = ["", "datagrams", "round trips", "UDP payload", "with 14 + 40 + 8", "frames", "6LoWPAN, bytes", "on the air, ms"]
    out = ["Network access and the keys of one multicast group: DTLS-PSK handshake, master key, security parameters, acknowledgement; an",
           "identity of 15 bytes, extended master secret, renegotiation signalling. The draft counts 14 + 40 + 8 bytes of headers for every",
           "message (802.15.4, IPv6, UDP). Really an 802.15.4 frame between 64-bit addresses has 23 bytes around its content, and",
           "6LoWPAN leaves 9 of 48 bytes of IPv6 and UDP between link-local addresses; %d bytes of UDP payload fit one frame, longer" %
           UNFRAGMENTED,
           "datagrams are cut. \"95-byte link\": our records are packed to fit such frames (`link_payload`).", ""]
    columns = [row for row in rows if row["what"] in ("join", "join, cookie", "join, 95-byte link")]
    out += frame.table(["", "draft"] + [row["what"] for row in columns],
                       [["messages (datagrams)", 12] + [row["datagrams"] for row in columns],
                        ["round trips", 4] + [row["round_trips"] for row in columns]] +
                       [["%s headers, %d a datagram" % (name, size), 12 * size] + [size * int(row["datagrams"]) for row in columns]
                        for name, size in (("802.15.4", MAC), ("6LoWPAN", NETWORK), ("UDP", UDP))] +
                       [["application", 487] + [row["udp_bytes"] for row in columns],
                        ["total", 1231] + [row["draft_bytes"] for row in columns]])
    out += ["", "And as it is on the link:", ""]
    out += frame.table(header, [draft] + [line(row) for row in rows if row["what"].startswith("join")])
    out += ["", "A device announces itself to its new group with one further datagram of 21 bytes, a multicast, which is not counted.", "",
            "The datagrams of the first line, with the bytes of each record:", ""]
    out += frame.table(["", "from", "bytes", "records"],
                       [[row["number"], row["from"], row["bytes"], records(row)]
                        for row in results["messages-join.csv"] if row["what"] == "join"], left=4)
    out += ["", "### The plain handshake beside peers", "",
            "Without anything of ours: TLS_PSK_WITH_AES_128_CCM_8, both ends of the same library, to the client's last datagram in.", ""]
    body = []
    for cookie in ("", ", cookie"):
        for stack, name in STACKS:
            row = results.find("messages.csv" if stack == "iotsec" else "messages-peers.csv", what="%s handshake%s" % (stack, cookie))
            if row is not None:
                body.append(line(row, name + cookie))
    return out + frame.table(header, body)
