# SPDX-License-Identifier: BSD-3-Clause
"""A manager of ten thousand devices: memory and instructions for each, groups up to 1000, and a storm of joins."""
import os
import shutil

import frame
import part_messages

NAME = "scale"
ORDER = 50
TITLE = "Scale of the manager"
SUMMARY = "10 000 devices: memory, instructions of a join, large groups, and all at once on a slow link"
TARGETS = ["scale", "peers"]  # peers says which libraries these are

JOINED = [100, 1000, 10000]
GROUP_SIZES = [100, 10]  # 10 000 devices in so large groups
MEMBERS = [10, 100, 1000]
DELIVERIES = [16, 64]
LOSSES = [0, 200]
SEEDS = 5
STORM_LOSS = 100
# Devices; how long at most whoever has failed waits before he begins anew, ms; within what time the power is back, ms.
AT_ONCE = 1000
APPLICATIONS = [0, 60000, 600000]
STORMS = [(devices, 0, AT_ONCE) for devices in (100, 300, 1000, 2000, 3000)] + [(10000, wait, AT_ONCE) for wait in APPLICATIONS] + [
    (10000, 0, spread) for spread in (200000, 400000, 600000)]
STORM_CHECK = [300, 1000]
HORIZON = 1800  # seconds, in bench/scale.c
SHARES = [50, 90, 99, 100]
MEMORY_TARGET = 256
CHECKS = {
    "scale-memory.csv": frame.Check(["name"], {"value": ("less", 0, 0)}, []),
    "scale-cost.csv": frame.Check(["group_size", "joined", "what"], {"instructions": ("less", 0.02, 100)}, ["scale-libraries.csv"]),
    "scale-group.csv": frame.Check(["what", "members", "loss", "deliveries"],
                                   {"ms": ("less", 0.25, 500), "datagrams": ("less", 0.10, 3), "current": ("more", 0.05, 2)}, []),
    "scale-storm-check.csv": frame.Check(["devices"], {"joined": ("more", 0, 0), "seconds": ("less", 0.25, 5), "datagrams": ("less", 0.15, 50)}, []),
}


def scale(*what):
    return frame.run(frame.program("scale"), *[str(one) for one in what]).splitlines()


def check_air():
    """The program's times on the air are those of part_messages."""
    for size, line in enumerate(scale("air"), 1):
        expected = part_messages.frames(size)
        air = sum((part_messages.PREAMBLE + one) * part_messages.MICROSECONDS for one in expected)
        if line.split() != [str(len(expected)), str(air)]:
            frame.fail("a datagram of %d bytes: %s, not %d frames and %d us" % (size, line, len(expected), air))


def cost(group_size):
    folder = os.path.join(frame.BUILD, "callgrind", "scale-%d" % group_size)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    samples = int(frame.run("valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
                            "--toggle-collect=manager_input", "--toggle-collect=manager_poll",
                            "--callgrind-out-file=" + os.path.join(folder, "profile"), frame.program("scale"), "cost",
                            str(group_size)).split()[1])
    found = {}
    for name in os.listdir(folder):
        trigger = None
        with open(os.path.join(folder, name)) as file:
            for line in file:
                if line.startswith("desc: Trigger: Client Request: "):
                    trigger = line.split(": ")[3].strip()
                elif line.startswith("summary: ") and trigger:
                    found[trigger] = int(line.split()[1]) // samples
    rows = [[group_size, joined, what, found.get("%s %d" % (what, joined), 0)] for joined in JOINED for what in ("join", "record")]
    if any(row[3] == 0 for row in rows):
        frame.fail("callgrind left profiles of %s" % ", ".join(sorted(found)))
    return rows


def group(job):
    """The mean of several seeds: one join and one eviction."""
    members, loss, deliveries = job
    seeds = SEEDS if loss else 1
    sums = {}
    for seed in range(1, seeds + 1):
        for line in scale("group", members, loss, seed, deliveries):
            what, *values = line.split()
            # members, loss, ms, datagrams, bytes, air, current, dropped
            if values[2] == "-1":
                frame.fail("a group of %d at %d, seed %d: no end of the %s" % (members, loss, seed, what))
            sums.setdefault(what, []).append([int(value) for value in values[2:]])
    mean = {what: [sum(column) / len(column) for column in zip(*rows)] for what, rows in sums.items()}
    # how many follow is looked at a while after the join
    mean["join"][4] = mean.pop("follow")[4]
    return [[what, members, loss, deliveries, seeds] + ["%.0f" % value for value in mean[what]] for what in ("join", "eviction")]


def storm(job):
    devices, wait, spread, seed = job
    seconds, summary, kinds = [], None, []
    for line in scale("storm", devices, STORM_LOSS, seed, wait, spread):
        fields = line.split()
        if fields[0] == "second":
            seconds.append([int(value) for value in fields[1:]])
        elif fields[0] == "storm":
            summary = [int(value) for value in fields[1:]]
        else:
            kinds.append([devices, wait, spread, " ".join(fields[3:]), fields[1], fields[2]])
    times = [next((second[0] for second in seconds if second[1] * 100 >= devices * share), "") for share in SHARES]
    # joined, datagrams, bytes, ms on the air, dropped by the queue, joins that failed, key changes
    return [devices, wait, spread, summary[2]] + times + summary[4:], seconds, kinds


def storm_check(devices):
    rows = [storm((devices, 0, AT_ONCE, seed))[0] for seed in range(1, SEEDS + 1)]
    done = [row[7] if row[7] != "" else HORIZON for row in rows]
    return [devices, min(row[3] for row in rows), "%.1f" % (sum(done) / SEEDS), "%.0f" % (sum(row[8] for row in rows) / SEEDS)]


def measure(quick):
    check_air()
    sizes = [line.split() for line in scale("sizes")]
    values = dict(sizes)
    sizes.append(["a device with a session and one membership", sum(int(values[name]) for name in ("session", "contact", "member"))])
    costs = frame.parallel(cost, GROUP_SIZES)
    groups = frame.parallel(group, [(members, loss, deliveries) for deliveries in DELIVERIES for loss in LOSSES for members in MEMBERS])
    out = {"scale-libraries.csv": frame.libraries(),
           "scale-memory.csv": (["name", "value"], sizes),
           "scale-cost.csv": (["group_size", "joined", "what", "instructions"], [row for rows in costs for row in rows]),
           "scale-group.csv": (["what", "members", "loss", "deliveries", "seeds", "ms", "datagrams", "bytes", "air_ms", "current", "dropped"],
                               [row for rows in groups for row in rows]),
           "scale-storm-check.csv": (["devices", "joined", "seconds", "datagrams"], frame.parallel(storm_check, STORM_CHECK))}
    if quick:
        return out
    found = frame.parallel(storm, [one + (1,) for one in STORMS])
    curve, kinds = [], []
    for one, (_, seconds, what) in zip(STORMS, found):
        step = max(1, len(seconds) // 100)
        curve += [list(one) + second[:2] for second in seconds[::step] + seconds[-1:]]
        kinds += what
    out["scale-storm.csv"] = (["devices", "wait", "spread", "joined"] + ["s%d" % share for share in SHARES] +
                              ["datagrams", "bytes", "air_ms", "dropped", "failed", "changes"], [row for row, _, _ in found])
    out["scale-storm-time.csv"] = (["devices", "wait", "spread", "second", "joined"], curve)
    out["scale-storm-kinds.csv"] = (["devices", "wait", "spread", "kind", "datagrams", "air_ms"], kinds)
    return out


# ---- The document ----

def air(results, what):
    """Seconds that one join is on the air."""
    row = results.find("messages.csv", what=what)
    return int(row["air_us"]) / 1e6 if row else 0.03


def storm_row(results, devices, wait=0, spread=AT_ONCE):
    return results.find("scale-storm.csv", devices=devices, wait=wait, spread=spread)


def instructions(results, size, joined, what="join"):
    return int(results.find("scale-cost.csv", group_size=size, joined=joined, what=what)["instructions"])


def share_of(results, devices, kind, wait=0):
    rows = [row for row in results["scale-storm-kinds.csv"] or []
            if (row["devices"], row["wait"], row["spread"]) == (str(devices), str(wait), str(AT_ONCE))]
    total = sum(int(row["air_ms"]) for row in rows)
    return 100 * sum(int(row["air_ms"]) for row in rows if row["kind"] == kind) / total if total else 0


def figures(results):
    each = int(results.values("scale-memory.csv")["a device with a session and one membership"])
    out = [frame.Figure("memory in the manager's tables for each joined device, 64-bit, every feature", "-", "%d B" % MEMORY_TARGET,
                        "%d B" % each, each <= MEMORY_TARGET, "%d bytes too many." % (each - MEMORY_TARGET)),
           frame.Figure("instructions of a join in the manager with 100 / 1000 / 10 000 joined, x86-64", "-", "flat",
                        " / ".join(frame.kilo(instructions(results, 100, joined)) for joined in JOINED),
                        instructions(results, 100, 10000) < 1.05 * instructions(results, 100, 100), "It grows with the devices.")]
    rows = [storm_row(results, 10000, wait) for wait in APPLICATIONS]
    if all(row is not None for row in rows):
        limit = 10000 * air(results, "join, cookie")
        done = all(row["s100"] != "" for row in rows)
        worst = min(rows, key=lambda row: int(row["joined"]))
        why = ("After %d s %s of 10 000 are in where applications wait for up to %d s before they join again. Of what was sent, %.0f %% "
               "found no room in the queue; of what was on the air, %.0f %% was ClientHellos." %
               (HORIZON, frame.thousands(worst["joined"]), int(worst["wait"]) // 1000,
                100 * int(worst["dropped"]) / (int(worst["dropped"]) + int(worst["datagrams"])),
                share_of(results, 10000, "ClientHello", int(worst["wait"]))))
        out.append(frame.Figure("10 000 devices back after a power cut, 250 kbit/s shared, 10 % loss, until all are in; applications join "
                                "again at once / within 60 / 600 s", "-", "all in; the link's own limit is %.0f s" % limit,
                                " / ".join(row["s100"] or "%s in" % frame.thousands(row["joined"]) for row in rows) + " s", done, why))
    return out


COLOURS = ["#55a868", "#4c72b0", "#dd8452", "#8172b2", "#937860", "#c44e52"]


def plots(results):
    rows = results["scale-storm-time.csv"]
    if rows is None:
        return {}
    data, curves = [], []
    for i, devices in enumerate(devices for devices, wait, spread in STORMS if (wait, spread) == (0, AT_ONCE)):
        points = [row for row in rows if (row["devices"], row["wait"], row["spread"]) == (str(devices), "0", str(AT_ONCE))]
        data += ["$d%d << EOD" % i, "1 0"] + ["%s %.2f" % (row["second"], 100 * int(row["joined"]) / devices) for row in points] + ["EOD"]
        curves.append('$d%d with lines lw 2 lc rgb "%s" title "%s"' % (i, COLOURS[i % len(COLOURS)], frame.thousands(devices)))
    return {"scale-storm.svg": "\n".join(data) + """
set terminal svg size 760,420 font "sans,12" background "white"
set title "All devices come back at once: 250 kbit/s shared, 10 %% loss"
set xlabel "seconds"
set ylabel "percent that are in"
set logscale x
set xrange [1:%d]
set yrange [0:105]
set grid
set key outside right top Left reverse samplen 2
plot %s
""" % (HORIZON, ", ".join(curves))}


def document(results):
    memory = results.values("scale-memory.csv")
    out = ["Every device is one of ours and real, and so is the manager ([bench/scale.c](../bench/scale.c)); its registry is in memory and takes",
           "no time. The link is one of 250 kbit/s that all share: a datagram is on the air for as long as its 6LoWPAN frames take, what is sent",
           "meanwhile waits in one queue of 256 datagrams, and is dropped when that is full. Acknowledgements of the link layer, gaps and its",
           "back-off are left out, so a real link carries less.", "", "### For each device", "",
           "Bytes in the manager's tables, 64-bit, every feature compiled in: a session %s, a contact %s, a membership %s, together %s (target: %d)."
           % (memory["session"], memory["contact"], memory["member"], memory["a device with a session and one membership"], MEMORY_TARGET),
           "On 32-bit see Table 1. Beside that, for all of them together: %s a half-open handshake, %s a message under way." %
           (memory["handshake"], memory["delivery"]), "",
           "Instructions that the manager spends on x86-64, in `iotsec_manager_input` and `iotsec_manager_poll`: for a complete join with the keys",
           "of one group, cryptography included; and for a record of one of those who are there, which it has taken before and drops as a",
           "replay: what finding the session costs.", ""]
    body = []
    for size in GROUP_SIZES:
        for what, name in (("join", "a join"), ("record", "a record that is dropped")):
            body.append(["%s, %s groups of %d" % (name, frame.thousands(10000 / size), size)] +
                        [frame.thousands(instructions(results, size, joined, what)) for joined in JOINED])
    out += frame.table(["joined already"] + [frame.thousands(joined) for joined in JOINED], body)
    first, second = (instructions(results, size, 1000) for size in GROUP_SIZES)
    more = 10000 / GROUP_SIZES[1] - 10000 / GROUP_SIZES[0]
    each = (second - first) / more
    if each < 3:
        out += ["", "Neither the number of devices costs anything nor that of groups: both are found by a hash, and only groups that have something to",
                "do are looked at."]
    else:
        out += ["", "The number of devices costs nothing. The number of groups does: each group of the domain adds %.0f instructions to every join." % each]
    out += ["", "### Large groups", "",
            "One more device joins, until it has its keys and the manager knows; \"follow\": members that hold the new key 10 s later. Then it is",
            "evicted, until every member has acknowledged the new generation. On the shared link; the manager has at most so many",
            "messages under way at once (`delivery_count`). Mean of %d runs where something is lost." % SEEDS, ""]
    body = []
    for what in ("join", "eviction"):
        for row in results["scale-group.csv"]:
            if row["what"] == what and (what == "eviction" or row["deliveries"] == str(DELIVERIES[-1])):
                body.append([what, row["members"], "%d %%" % (int(row["loss"]) // 10), row["deliveries"] if what == "eviction" else "",
                             row["datagrams"], frame.thousands(row["bytes"]), "%.2f" % (int(row["ms"]) / 1000),
                             "%.2f" % (int(row["air_ms"]) / 1000), row["current"] if what == "join" else ""])
    out += frame.table(["", "members", "loss", "under way", "datagrams", "bytes", "seconds", "of it on the air", "follow"], body)
    few, many = (results.find("scale-group.csv", what="eviction", members=1000, loss=0, deliveries=count) for count in DELIVERIES)
    if int(many["datagrams"]) > 1.2 * int(few["datagrams"]):
        out += ["", "With %d under way, keys wait in the queue for longer than their first interval of 400 ms, and are repeated although nothing was" %
                DELIVERIES[-1], "lost: %s datagrams instead of %s." %
                (many["datagrams"], few["datagrams"])]
    rows = results["scale-storm.csv"]
    if rows is None:
        return out
    out += ["", "### All at once", "",
            "The power comes back for the devices and for the manager, whose registry knows them all; groups of 100; 10 % of the datagrams",
            "are lost. \"Within\": so long it takes until all have power. A join that fails is begun anew by its application after a random time,",
            "\"waits\" being its longest; the device may pause for longer than that, and then sends two ClientHellos instead of two dozen",
            "([protocol.md](protocol.md), section 8). The manager begins few handshakes while it owes keys to many, and answers no hello",
            "meanwhile. The link's limit is what so many joins with a cookie need on the air if nothing is lost or sent twice.", ""]
    body = []
    for row in rows:
        devices = int(row["devices"])
        body.append([frame.thousands(devices), "%d s" % (int(row["spread"]) // 1000), "%d s" % (int(row["wait"]) // 1000), "%.0f" % (devices * air(results, "join, cookie"))] +
                    [row["s%d" % share] or "" for share in SHARES] +
                    ["%.1f %%" % (100 * int(row["joined"]) / devices), "%.1f" % (int(row["datagrams"]) / devices),
                     "%.0f %%" % (100 * int(row["dropped"]) / max(1, int(row["dropped"]) + int(row["datagrams"]))), frame.thousands(row["failed"])])
    out += frame.table(["devices", "within", "waits", "link's limit, s"] + ["%d %% in, s" % share for share in SHARES] +
                       ["in after %d s" % HORIZON, "datagrams a device", "no room in the queue", "failed joins"], body)
    calm = storm_row(results, 10000, 0, 600000)
    if calm is not None and calm["s100"] != "":
        out += ["", "An operator who knows how many devices hang on one switch can spread them (`join_delay_ms`): when the same 10 000 come back",
                "within 600 s, all are in after %s s, with %.1f datagrams each." % (calm["s100"], int(calm["datagrams"]) / 10000)]
    out += ["", "![Storm](evaluation/scale-storm.svg)", "", "What was on the air, percent of its time:", ""]
    kinds = []
    for row in results["scale-storm-kinds.csv"]:
        if row["kind"] not in kinds:
            kinds.append(row["kind"])
    shown = [300, 1000, 3000, 10000]
    out += frame.table(["devices"] + [frame.thousands(devices) for devices in shown],
                       [[kind] + ["%.1f" % share_of(results, devices, kind) for devices in shown] for kind in kinds])
    return out
