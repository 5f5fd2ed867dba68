# SPDX-License-Identifier: BSD-3-Clause
"""The draft's chip: the images of ports/mc1322x in the emulator. Memory, instructions, and what is on the air for a join."""
import os
import re
import struct

import frame

NAME = "chip"
ORDER = 60
TITLE = "On the draft's chip, in an emulator"
SUMMARY = "the MC1322x's images: memory, instructions of joins and messages, frames and bytes on the air"
TARGETS = []

# The draft's prototype, on a bench of the same chips (its Table 1 and Table 2): KB, and bytes of 12 messages.
DRAFT_ROM, DRAFT_RAM, DRAFT_MESSAGES, DRAFT_BYTES = 16.15, 3.9, 12, 1231
SPARE = 30 * 1024
CHECKS = {
    "chip-memory.csv": frame.Check(["image", "what"], {"bytes": ("less", 0.01, 64)}, ["chip-tools.csv"]),
    "chip-cost.csv": frame.Check(["what", "node"], {"instructions": ("less", 0.05, 0)}, ["chip-tools.csv"]),
}
# Where each of the two joins and the message begins and ends in the story: title, who, the line that begins it, and that ends it.
PHASES = [("A join, directly", "lamp", "joining", "joined"), ("A join, over a hop", "other", "joining", "joined"),
          ("A message", "lamp", "sent", None)]


def story():
    """Lines of the scenario `figures`: (seconds, node or "", text); and the capture beside it: (seconds, frame)."""
    capture = os.path.join(frame.BUILD, "chip.pcap")
    os.makedirs(frame.BUILD, exist_ok=True)
    lines = []
    for line in frame.run(os.path.join(frame.ROOT, "scripts", "emulate"), "--pcap", capture, "figures").splitlines():
        match = re.match(r"\[ *([0-9.]+)\] (\S*) +(.*)", line)
        if match:
            lines.append((float(match.group(1)), match.group(2), match.group(3)))
    with open(capture, "rb") as file:
        data = file.read()
    nano = struct.unpack_from("<I", data)[0] == 0xA1B23C4D
    frames, at = [], 24
    while at < len(data):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", data, at)
        frames.append((seconds + fraction / (1e9 if nano else 1e6), data[at + 16:at + 16 + length]))
        at += 16 + length
    return lines, frames


def on_the_air(frames, begin, end):
    """Data frames, their bytes, acknowledgements and theirs, milliseconds on the air; bytes are the MAC's, with check sequence."""
    inside = [psdu for when, psdu in frames if begin <= when <= end]
    data = [len(psdu) for psdu in inside if psdu[0] & 7 == 1]
    acks = [len(psdu) for psdu in inside if psdu[0] & 7 == 2]
    return len(data), sum(data), len(acks), sum(acks), sum(6 + size for size in data + acks) * 0.032


def measure(quick):
    lines, frames = story()
    cost, air, memory = [], [], []
    for title, who, first, last in PHASES:
        start = next(i for i, line in enumerate(lines) if line[2] == "---- " + title)
        counters = [i for i in range(start, len(lines)) if " instructions, " in lines[i][2]]
        stop = counters[0]
        while stop + 1 < len(lines) and " instructions, " in lines[stop + 1][2]:
            stop += 1
        for _, node, text in lines[counters[0]:stop + 1]:
            cost.append([title, node, int(re.search(r": (\d+) instructions", text).group(1))])
        # The radio begins before the line is out, and the last acknowledgement comes behind the event.
        begin = next(line[0] for line in lines[start:] if line[1] == who and line[2].startswith("| " + first)) - 0.03
        end = lines[stop][0] if last is None else next(
            line[0] for line in lines[start:] if line[1] == who and line[2].startswith("| " + last)) + 0.04
        air.append([title, "%.0f" % (1000 * (end - begin - 0.07)) if last else "", *on_the_air(frames, begin, end)])
        air[-1][-1] = "%.1f" % air[-1][-1]
    for image in ("device", "manager"):
        with open(os.path.join(frame.ROOT, "build", "firmware", "iotsec-%s.sizes" % image)) as file:
            for line in file.read().splitlines()[1:]:
                match = re.match(r"(.*?)\s{2,}(-?\d+)(?:\s+(-?\d+))?$", line)
                memory.append([image, match.group(1), match.group(2)])
                if int(match.group(3) or 0) != 0:
                    memory.append([image, match.group(1) + ", zeroed", match.group(3)])
    for _, node, text in lines:
        match = re.match(r"\| stats of=stack unused=(\d+)", text)
        if match:
            memory.append(["device" if node == "lamp" else node, "main stack, never used", match.group(1)])
    with open(os.path.join(frame.ROOT, "build", "mbedtls36", "tree-complete")) as file:
        version = file.read().strip()
    return {"chip-tools.csv": (["name", "value"], [["compiler", frame.first_line("arm-none-eabi-gcc", "--version")], ["mbedtls", version]]),
            "chip-memory.csv": (["image", "what", "bytes"], memory),
            "chip-cost.csv": (["what", "node", "instructions"], cost),
            "chip-air.csv": (["what", "ms", "frames", "bytes", "acks", "ack_bytes", "air_ms"], air)}


def memory_of(results, image, what):
    return int(results.find("chip-memory.csv", image=image, what=what)["bytes"])


def figures(results):
    return []


def plots(results):
    return {}


def document(results):
    images = ("device", "manager")
    out = ["`./scripts/emulate figures`: the images that `./scripts/firmware` builds, in the emulator of [mc1322x.md](mc1322x.md). Everything is in",
           "them: drivers, 6LoWPAN with link-layer security, the relay, access parameters, Connection IDs, a console. The draft's prototype took",
           "%.2f KB of ROM and %.1f KB of RAM for its DTLS, key management and cryptography, without the network below." % (DRAFT_ROM, DRAFT_RAM),
           "", "### Memory, bytes of 96 KB", ""]
    whats = []
    for row in results["chip-memory.csv"]:
        if row["what"] not in whats:
            whats.append(row["what"])
    rows = []
    for what in whats:
        found = [results.find("chip-memory.csv", image=image, what=what) for image in images]
        rows.append([what] + [row["bytes"] if row else "" for row in found])
    out += frame.table(["", "device that relays", "manager of 32 devices"], rows)
    spare = [memory_of(results, image, "free") for image in images]
    out += ["", "30 KB are to be left to a vendor's application: the device's image leaves %s bytes%s; the manager's leaves %s, because it keeps a session" %
            (frame.thousands(spare[0]), "" if spare[0] >= SPARE else ", %s short" % frame.thousands(SPARE - spare[0]), frame.thousands(spare[1])),
            "for each of 32 devices and the manager's code beside the network's.", "", "### A join, and a message", "",
            "Instructions from the command to the event, everything included that the node does meanwhile: looking for a neighbour, the link layer's",
            "security, the console, waiting. A lamp joins the manager directly, another one over it; then the first one says \"on\".", ""]
    rows = {}
    for row in results["chip-cost.csv"]:
        rows.setdefault(row["what"], {})[row["node"]] = row["instructions"]
    nodes = ("manager", "lamp", "other")
    out += frame.table(["instructions", "manager", "lamp", "other lamp"],
                       [[what] + [frame.thousands(int(rows[what][node])) if rows[what].get(node, "0") != "0" else "" for node in nodes] for what in rows])
    out += ["", "On the air, from the capture: IEEE 802.15.4 data frames with their headers and check sequences, and acknowledgements. A join has, beside",
            "the draft's messages, the access parameters, an announcement and the move to an address of its own; over a hop all of it is relayed.", ""]
    rows = [["the draft's prototype, a join, its headers", "", DRAFT_MESSAGES, DRAFT_BYTES, "", "", ""]]
    rows += [[row["what"], row["ms"], row["frames"], row["bytes"], row["acks"], row["ack_bytes"], row["air_ms"]] for row in results["chip-air.csv"]]
    out += frame.table(["", "ms, virtual", "frames", "bytes", "acknowledgements", "their bytes", "on the air, ms"], rows)
    return out
