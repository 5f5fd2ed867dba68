# SPDX-License-Identifier: BSD-3-Clause
"""Instructions of a handshake and of a record, ours and the peers'."""
import collections
import os
import re
import shutil

import frame

NAME = "speed"
ORDER = 40
TITLE = "Speed beside peers"
SUMMARY = "instructions of a handshake and of a record, handshakes a second as ratios"
TARGETS = ["peers"]

STACKS = [("iotsec", "ours"), ("mbedtls", "mbedTLS"), ("openssl", "OpenSSL"), ("gnutls", "GnuTLS")]
SIZES = [16, 64, 256, 1024]
WHAT = ["handshake", "handshake-cookie"] + ["record-%d" % size for size in SIZES]
COUNTED = 10  # of each, in bench/peers.c
RATE_SECONDS = 12
# The same compiler and libraries give the same figures but for some hundred instructions: where memory happens to lie.
CHECKS = {"speed-instructions.csv": frame.Check(["stack", "what"], {"instructions": ("less", 0.01, 50)}, ["speed-libraries.csv"]),
          "speed-work.csv": frame.Check(["what"], {"sha256_blocks": ("less", 0, 0), "aes_blocks": ("less", 0, 0), "aes_keys": ("less", 0, 0)}, []),
          "speed-where.csv": frame.Check(["what", "where"], {"instructions": ("less", 0.02, 200)}, ["speed-libraries.csv"])}
AES = re.compile(r"^mbedtls_aes")
SHA = re.compile(r"^mbedtls_(internal_)?sha256")
# Functions of bench/peers.c and bench/stack_iotsec.c, and what these call in the C library.
DRIVER = {"main", "put", "deliver", "shake_hands", "open_link", "close_link", "count_handshakes", "count_records", "bench_random",
          "draw", "bench_now", "now_ms", "open_end", "close_end", "run", "deadline", "send_data", "receive_data", "receive",
          "established", "failed", "find_psk"}
LIBC = re.compile(r"^_*(mem|malloc|calloc|free|_int_|cfree|printf|snprintf)")


def profiles(stack):
    """{what: lines of callgrind's profile}"""
    folder = os.path.join(frame.BUILD, "callgrind", stack)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    frame.run("valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
              "--callgrind-out-file=" + os.path.join(folder, "profile"), frame.program("peers"), "speed", stack)
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            lines = file.read().splitlines()
        for line in lines:
            if line.startswith("desc: Trigger: Client Request: "):
                found[line.split(": ")[3]] = lines
    if sorted(found) != sorted(WHAT):
        frame.fail("callgrind left profiles of %s" % ", ".join(sorted(found)))
    return found


def total(lines):
    return sum(int(line.split()[1]) for line in lines if line.startswith("summary: "))


def where(lines):
    """What a profile's instructions were spent on: AES, SHA-256 and the driver with all that they call; everything else by function."""
    own = collections.Counter()
    group = collections.Counter()
    function, callee, inclusive = "", "", False

    def group_of(name):
        return "AES" if AES.match(name) else "SHA-256" if SHA.match(name) else None

    inside = collections.Counter()  # what these call elsewhere, by function: memcpy, say
    for line in lines:
        if line.startswith("fn="):
            function = line[3:]
        elif line.startswith("cfn="):
            callee = line[4:]
        elif line.startswith("calls="):
            inclusive = True
        elif re.match(r"^[0-9+*-]", line):
            cost = int(line.split()[1])
            if not inclusive:
                own[function] += cost
                if function in DRIVER:
                    group["driver"] += cost
            elif function in DRIVER and LIBC.match(callee):
                group["driver"] += cost
                inside[callee] += cost
            elif group_of(callee) and group_of(callee) != group_of(function):
                group[group_of(callee)] += cost
            elif group_of(function) and not group_of(callee):
                inside[callee] += cost
            inclusive = False
    rest = {name: cost - inside[name] for name, cost in own.items() if not group_of(name) and name not in DRIVER}
    return group, rest


def measure(quick):
    instructions, spent, functions = [], [], []
    for (stack, _), found in zip(STACKS, frame.parallel(lambda job: profiles(job[0]), STACKS)):
        for what in WHAT:
            count = total(found[what])
            instructions.append([stack, what, count // COUNTED])
            if stack == "iotsec" and what in ("handshake", "record-64"):
                group, rest = where(found[what])
                for name in ("SHA-256", "AES", "driver"):
                    spent.append([what, name, group[name] // COUNTED])
                spent.append([what, "everything else", (count - sum(group.values())) // COUNTED])
                for name, cost in sorted(rest.items(), key=lambda item: (-item[1], item[0]))[:12]:
                    functions.append([what, re.sub(r"^\?\?\?:|'.*$|@.*$", "", name), cost // COUNTED])
    work = [line.split() for line in frame.run(frame.program("peers"), "work").splitlines()]
    out = {"speed-libraries.csv": frame.libraries(),
           "speed-instructions.csv": (["stack", "what", "instructions"], instructions),
           "speed-work.csv": (["what", "sha256_blocks", "aes_blocks", "aes_keys"], work),
           "speed-where.csv": (["what", "where", "instructions"], spent)}
    if not quick:
        # functions come and go with the compiler's inlining: only the sums are compared
        out["speed-functions.csv"] = (["what", "function", "instructions"], functions)
        rates = [line.split() for line in frame.run(frame.program("peers"), "rate", str(RATE_SECONDS)).splitlines()]
        first = [float(value) for value in rates[0][1:]]
        out["speed-rate.csv"] = (["stack", "handshake", "handshake_cookie"],
                                 [[row[0]] + ["%.2f" % (float(value) / one) for value, one in zip(row[1:], first)] for row in rates])
    return out


def count(results, stack, what):
    return int(results.find("speed-instructions.csv", stack=stack, what=what)["instructions"])


def spent(results, what, where):
    return int(results.find("speed-where.csv", what=what, where=where)["instructions"])


def figures(results):
    others = ["%s %s" % (name, frame.kilo(count(results, stack, "handshake"))) for stack, name in STACKS[1:]]
    handshake = count(results, "iotsec", "handshake")
    blocks = int(results.find("speed-work.csv", what="handshake")["sha256_blocks"])
    rest = spent(results, "handshake", "everything else")
    sha = spent(results, "handshake", "SHA-256")
    record = count(results, "iotsec", "record-64")
    missed = []
    if handshake > 400000:
        missed.append("%s instructions too many: SHA-256 %s for %d blocks (%s each), AES %s, everything else %s, the driver %s." %
                      (frame.thousands(handshake - 400000), frame.kilo(sha), blocks, frame.kilo(sha / blocks),
                       frame.kilo(spent(results, "handshake", "AES")), frame.kilo(rest),
                       frame.kilo(spent(results, "handshake", "driver"))))
    if rest > 40000:
        missed.append("Outside AES and SHA-256 %s too many; the functions are listed below." % frame.thousands(rest - 40000))
    if blocks > 82:
        missed.append("%d SHA-256 blocks too many." % (blocks - 82))
    aes = spent(results, "record-64", "AES")
    return [frame.Figure("instructions, one handshake, both sides, no cookie, x86-64", ", ".join(others),
                         "400 k, of it at most 40 k outside AES and SHA-256; 82 SHA-256 blocks",
                         "%s, %s, %d blocks" % (frame.kilo(handshake), frame.kilo(rest), blocks), not missed, " ".join(missed)),
            frame.Figure("instructions, protect and unprotect 64 bytes, AES-NI",
                         ", ".join("%s %s" % (name, frame.kilo(count(results, stack, "record-64"))) for stack, name in STACKS[1:]),
                         "4 k", frame.kilo(record), record <= 4000,
                         "%s too many. mbedTLS's AES takes %s: two key expansions and 22 blocks one by one, each with its own call. "
                         "Everything else of ours is %s, the driver %s." %
                         (frame.thousands(record - 4000), frame.kilo(aes), frame.kilo(spent(results, "record-64", "everything else")),
                          frame.kilo(spent(results, "record-64", "driver"))))]


def plots(results):
    lines = ["$data << EOD"]
    for stack, name in STACKS:
        lines.append('"%s" %s' % (name, " ".join("%.1f" % (count(results, stack, what) / 1000) for what in WHAT)))
    lines += ["EOD"]
    common = "\n".join(lines) + """
set terminal svg size 720,360 font "sans,12" background "white"
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set grid ytics
set yrange [0:*]
set ylabel "thousand instructions"
"""
    return {"speed-handshake.svg": common + 'set key outside right top Left reverse\nplot $data using 2:xtic(1) title "no cookie" lc rgb "#4c72b0", '
                                            '"" using 3 title "cookie" lc rgb "#a1b5d8"\n',
            "speed-record.svg": common + 'set key outside right top Left reverse\nplot ' + ", ".join(
                '%s using %d%s title "%d bytes"' % ("$data" if i == 0 else '""', 4 + i, ":xtic(1)" if i == 0 else "", size)
                for i, size in enumerate(SIZES)) + "\n"}


def document(results):
    libraries = results.values("speed-libraries.csv")
    out = ["TLS_PSK_WITH_AES_128_CCM_8 with extended master secret; client and server in one process, datagrams handed over in memory,",
           "one driver for all ([bench/peers.c](../bench/peers.c)). A handshake is two new endpoints, the handshake, and both wiped or",
           "freed; keys and contexts that outlive a connection are made once. A record is protected and unprotected again. Counted by",
           "callgrind over %d of each, after some that do not count. Crypto under ours is the same mbedTLS that is beside it." % COUNTED, "",
           "On %s with %s: mbedTLS %s, OpenSSL %s, GnuTLS %s; %s, %s." %
           tuple(libraries.get(name, "?") for name in ("machine", "processor", "mbedtls", "openssl", "gnutls", "compiler", "valgrind")), "",
           "### Instructions", ""]
    out += frame.table(["", "handshake", "with cookie"] + ["record of %d" % size for size in SIZES],
                       [[name] + [frame.kilo(count(results, stack, what)) for what in WHAT] for stack, name in STACKS])
    out += ["", "![Instructions of a handshake](evaluation/speed-handshake.svg)", "",
            "![Instructions of a record](evaluation/speed-record.svg)", "", "### Where ours go", ""]
    work = results.find("speed-work.csv", what="handshake")
    cookie = results.find("speed-work.csv", what="handshake-cookie")
    out += ["A handshake hashes %s SHA-256 blocks, both sides together (with a cookie %s), encrypts %s AES blocks under %s expanded keys." %
            (work["sha256_blocks"], cookie["sha256_blocks"], work["aes_blocks"], work["aes_keys"]), ""]
    for what, title in (("handshake", "a handshake, no cookie"), ("record-64", "a record of 64 bytes")):
        out += frame.table(["", "instructions, " + title],
                           [[row["where"], frame.thousands(row["instructions"])] for row in results["speed-where.csv"]
                            if row["what"] == what] +
                           [["of it " + row["function"], frame.thousands(row["instructions"])]
                            for row in results["speed-functions.csv"] or [] if row["what"] == what])
        out += [""]
    rates = results["speed-rate.csv"]
    if rates:
        names = dict(STACKS)
        out += ["### Handshakes a second", "",
                "As a ratio to ours, measured in turns within one run. It is the machine's and the moment's, and only informs. A processor",
                "may have instructions for SHA-256, which callgrind's has not and mbedTLS 2.28 does not use: the others gain by that.", ""]
        out += frame.table(["", "no cookie", "cookie"], [[names[row["stack"]], row["handshake"], row["handshake_cookie"]] for row in rates])
    return out
