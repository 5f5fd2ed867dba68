# SPDX-License-Identifier: BSD-3-Clause
"""Table 1 of the draft: ROM and RAM on the draft's chip, by its rows, with the stack that every entry point may need."""
import collections
import glob
import importlib.machinery
import importlib.util
import os
import re
import shutil

import frame

NAME = "memory"
ORDER = 10
TITLE = "Memory (the draft's Table 1)"
SUMMARY = "ROM, RAM and stack on ARM7TDMI-S, from sections, the call graph and a painted stack under qemu-arm"
TARGETS = []

WORK = os.path.join(frame.BUILD, "memory")
ARM = ["arm-none-eabi-gcc", "-mcpu=arm7tdmi-s", "-mthumb"]


def load_size():
    """scripts/size, which knows how to compile for the chip."""
    loader = importlib.machinery.SourceFileLoader("size_script", os.path.join(frame.ROOT, "scripts", "size"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.WORK = WORK
    module.CFLAGS = module.CFLAGS + ["-fcallgraph-info=su"]
    return module


size = load_size()
SMALL, ONE_LINK = size.SMALL, size.ONE_LINK
BOTH = dict(SMALL, **ONE_LINK, ROLE_MANAGER=1, DTLS_SERVER=1)
DEVICE = dict(SMALL, **ONE_LINK)
# As small as config.h lets the tables of a device be that is named with 32 bytes at most and whose manager sends no more than ours.
TIGHT = {"IDENTITY_MAX": 32, "PSK_MAX": 16, "FLIGHT_BYTES": 160, "REASSEMBLY_BYTES": 160, "REASSEMBLY_MESSAGES": 2,
         "HELD_RECORD_BYTES": 61, "GROUPS_PER_HELLO": 2, "HANDSHAKE_SCRATCH_BYTES": 6}
SOFTWARE = {"AES_CONTEXT_BYTES": 288}
# Always measured: name, features.
BUILDS = [("device", DEVICE), ("device and manager", BOTH), ("device, tight", dict(DEVICE, **TIGHT)),
          ("device, software AES", dict(DEVICE, **SOFTWARE)), ("device and manager, software AES", dict(BOTH, **SOFTWARE))]
# From "device and manager" to everything, one by one.
STEPS = [("Connection IDs", {"CONNECTION_ID": 1}), ("access parameters, and the move", {"ACCESS": 1}),
         ("the relay, and datagrams of relays", {"ROLE_RELAY": 1, "RELAYED": 1}), ("pairwise keys", {"PAIRWISE": 1}),
         ("CCM with 16-byte tags, max_fragment_length, key log, persistence",
          {"SUITE_CCM": 1, "MAX_FRAGMENT_LENGTH": 1, "KEYLOG": 1, "PERSIST": 1})]
ROWS = [(name, rom, ram) for name, _, rom, ram in size.ROWS]
LIBC = "C library and compiler's"
SENDERS, TX = 8, 256  # of the device whose RAM is counted; one group
ROM_TARGET = {"device": 10 * 1024, "device and manager": 15 * 1024}
RAM_TARGET = 2 * 1024
CONFIG = """#define MBEDTLS_AES_C
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_AES_ONLY_128_BIT_KEY_LENGTH
#define MBEDTLS_BLOCK_CIPHER_NO_DECRYPT
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER
"""
MBEDTLS = ["sha256", "platform_util", "constant_time", "aes"]
# What a repair costs is no reason to stop it; size.md is compared to the byte.
CHECKS = {
    "memory-rom.csv": frame.Check(["build", "crypto", "row"], {"bytes": ("less", 0.005, 32)}, ["memory-tools.csv"]),
    "memory-ram.csv": frame.Check(["build", "what"], {"bytes": ("less", 0, 0)}, ["memory-tools.csv"]),
    "memory-stack.csv": frame.Check(["build", "entry"], {"bytes": ("less", 0, 16)}, ["memory-tools.csv"]),
    "memory-painted.csv": frame.Check(["entry"], {"painted": ("less", 0, 64)}, ["memory-tools.csv"]),
}

# What members of the library's tables of functions stand for, by the folder of the caller. Nothing else is called through a
# pointer; what is not listed ends the measurement. "": the platform's or the application's, whose stack is their own.
CRYPTO = {name: "crypto_mbedtls.c:" + name for name in ("aes_start", "aes_encrypt", "aes_done", "sha256_start", "sha256_update",
                                                        "sha256_clone", "sha256_finish", "sha256_abort")}
CRYPTO["ccm_step"] = ""  # the provider has none
CRYPTO["memset_func"] = "memset"  # mbedTLS's way to keep the compiler from leaving a wipe out
HAL = ["random", "now_ms", "send", "multicast_join", "multicast_leave", "l2_key_install", "l2_key_use", "l2_key_remove", "nvm_read",
       "nvm_write"]
REGISTRY = ["psk", "authorised", "group_allowed", "group_at", "member_at", "begin", "put_group", "delete_group", "put_member",
            "delete_member", "put_evicted", "commit", "abort", "put_access", "poly", "put_poly", "put_coefficients",
            "coefficients", "point"]
APPLICATION = ["event", "receive", "group_receive", "keylog", "access", "send_up", "send_down"]
ENGINE = {
    "device": {"psk": ["iotsec_dev_pair_psk"], "client_psk": ["iotsec_dev_pair_client_psk"], "doubted": ["iotsec_dev_pair_doubted"],
               "established": ["device_join.c:take_session"], "failed": ["device_join.c:take_failure"],
               "closed": ["device_join.c:take_close"], "receive": ["device_join.c:take_content"],
               "forgeries": ["device_join.c:take_forgeries"], "keylog": ["device_join.c:log_key"],
               "write": ["device_join.c:write_request", "iotsec_dev_write_identity"],
               "parse": ["device_join.c:parse_answer", "iotsec_dev_parse_identity"]},
    "manager": {"psk": ["manager.c:on_psk"], "client_psk": [], "doubted": [], "established": ["manager.c:on_established"],
                "failed": ["manager.c:on_failed"], "closed": ["manager.c:on_closed"], "receive": ["manager.c:on_receive"],
                "forgeries": ["manager.c:on_forgeries"], "keylog": ["manager.c:on_keylog"],
                "write": ["manager.c:write_group_request"], "parse": ["manager.c:parse_group_request"]},
}
# And what they stand for in bench/stack.c and bench/registry.c, which are painted.
PAINTED = {
    "": {"random": "draw", "now_ms": "now_ms", "send": "put", "multicast_join": "listen_to", "multicast_leave": "listen_no_more",
         "l2_key_install": "install_l2", "l2_key_use": "use_l2", "l2_key_remove": "remove_l2"},
    "device": {"event": "lamp_event", "receive": "lamp_receive", "group_receive": "lamp_group_receive"},
    "manager": {"event": "boss_event"},
}
REGISTRY_NAMES = {"psk": "find_psk", "commit": "begin", "abort": "give_back", "access": "get_access", "poly": "get_poly",
                  "coefficients": "get_coefficients", "point": "get_point"}
ENTRIES = {
    "device": ["iotsec_device_init", "iotsec_join", "iotsec_input", "iotsec_poll", "iotsec_group_send", "iotsec_group_join",
               "iotsec_group_leave", "iotsec_send", "iotsec_leave"],
    "manager": ["iotsec_manager_init", "iotsec_manager_input", "iotsec_manager_poll", "iotsec_manager_group_add",
                "iotsec_manager_group_renew", "iotsec_manager_evict", "iotsec_manager_access_set", "iotsec_manager_poly_renew"],
}


# ---- Building ----

def fetch_mbedtls():
    """Its source, unpacked once."""
    frame.run(os.path.join(frame.ROOT, "scripts", "mbedtls36"))
    package = glob.glob(os.path.join(frame.ROOT, "build", "mbedtls36", "source", "mbedtls_*.dsc"))
    if len(package) != 1:
        frame.fail("scripts/mbedtls36 left no source package")
    version = os.path.basename(package[0])[len("mbedtls_"):-len(".dsc")]
    tree = os.path.join(WORK, "mbedtls-" + version)
    if not os.path.exists(tree):
        shutil.rmtree(tree + ".new", ignore_errors=True)
        frame.run("dpkg-source", "--no-check", "-x", package[0], tree + ".new")
        os.rename(tree + ".new", tree)
    return tree, version


def flags(tree):
    return ["-std=c99", "-Os", "-ffunction-sections", "-fdata-sections", "-fcallgraph-info=su",
            '-DMBEDTLS_CONFIG_FILE="%s"' % os.path.join(WORK, "config.h"), "-I" + os.path.join(tree, "include")]


def own_flags(values):
    return ["-DIOTSEC_%s=%d" % pair for pair in values.items()] + [
        "-DIOTSEC_WITH_MBEDTLS=1", "-I" + os.path.join(frame.ROOT, "include"), "-I" + os.path.join(frame.ROOT, "src")]


def compile_crypto(tree):
    """mbedTLS for the chip: {name: object}."""
    with open(os.path.join(WORK, "config.h"), "w") as file:
        file.write(CONFIG)
    folder = os.path.join(WORK, "crypto")
    os.makedirs(folder, exist_ok=True)
    objects = {name: os.path.join(folder, name + ".o") for name in MBEDTLS}
    for name, target in objects.items():
        frame.run(*ARM, *flags(tree), "-c", os.path.join(tree, "library", name + ".c"), "-o", target)
    return objects


Build = collections.namedtuple("Build", "name folder objects ram graph rooms files functions libc elf entries")


def build(name, values, tree, crypto):
    """Compiles the library, links it as a program would that uses all of it, and measures what is left."""
    short = re.sub(r"\W+", "-", name)
    _, _, ram = size.compile_variant(short, values)
    folder = os.path.join(WORK, short)
    software = "AES_CONTEXT_BYTES" in values
    provider = os.path.join(folder, "hal", "crypto_mbedtls.o")
    frame.run(*ARM, *flags(tree), *own_flags(dict({"AES_CONTEXT_BYTES": 288}, **values)), "-c",
              os.path.join(frame.ROOT, "src", "hal", "crypto_mbedtls.c"), "-o", provider)
    objects = sorted(glob.glob(os.path.join(folder, "*", "*.o"))) + [crypto[one] for one in MBEDTLS if software or one != "aes"]
    entries = ["iotsec_crypto_mbedtls"]
    for line in frame.run("arm-none-eabi-nm", "-g", "--defined-only", *objects, check=False).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] == "T" and size.ENTRY.match(fields[2]):
            entries.append(fields[2])
    elf, mapping = os.path.join(folder, "all.elf"), os.path.join(folder, "all.map")
    # Without AES in software its functions stay open: the chip's driver would stand in their place.
    frame.run(*ARM, "-nostartfiles", "-Wl,--gc-sections,-e,%s" % entries[1], *["-Wl,--undefined=" + entry for entry in entries],
              "-Wl,--unresolved-symbols=ignore-all", "-Wl,-Map=" + mapping, "-o", elf, *objects)
    with open(mapping) as file:
        text = file.read()
    text = text[text.index("Linker script and memory map"):]
    rooms, files = collections.Counter(), collections.Counter()
    for bytes_, path in re.findall(r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$", text, re.M):
        short = os.path.relpath(path, folder) if path.startswith(folder) else os.path.relpath(path, WORK) if path.startswith(WORK) else LIBC
        room = LIBC if short == LIBC else "hal" if short.startswith("crypto/") else size.room_of(short)
        rooms[room] += int(bytes_, 16)
        files[short.replace("crypto/", "mbedTLS ")[:-2] + ".c" if short != LIBC else LIBC] += int(bytes_, 16)
    functions = []
    for line in frame.run("arm-none-eabi-nm", "-S", elf).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTrR":
            functions.append((fields[3], int(fields[1], 16)))
    graph = read_graph([path[:-2] + ".ci" for path in objects], elf)
    return Build(name, folder, objects, ram, graph, rooms, files, functions, rooms[LIBC], elf, entries)


def text_bytes(elf):
    return int(frame.run("arm-none-eabi-size", elf).splitlines()[1].split()[0])


def whole_program(one, values, tree):
    """Bytes of the same program where the compiler sees all of the library at once (-flto)."""
    folder = one.folder + "-flto"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    own = [path for path in one.objects if path.startswith(one.folder + os.sep)]
    sources = [os.path.join(frame.ROOT, "src", os.path.relpath(path, one.folder))[:-2] + ".c" for path in own]
    optimise = [flag for flag in flags(tree) if not flag.startswith("-fcallgraph")] + ["-flto"]
    defines = own_flags(dict({"AES_CONTEXT_BYTES": 16}, **values))
    objects = [os.path.join(folder, "%d.o" % number) for number in range(len(sources))]
    for source, target in zip(sources, objects):
        # the provider's context is mbedTLS's, as in the other build
        more = ["-UIOTSEC_AES_CONTEXT_BYTES", "-DIOTSEC_AES_CONTEXT_BYTES=288"] if source.endswith("crypto_mbedtls.c") else []
        frame.run(*ARM, *optimise, *defines, *more, "-c", source, "-o", target)
    elf = os.path.join(folder, "all.elf")
    frame.run(*ARM, "-Os", "-flto", "-nostartfiles", "-Wl,--gc-sections,-e,%s" % one.entries[1],
              *["-Wl,--undefined=" + entry for entry in one.entries], "-Wl,--unresolved-symbols=ignore-all", "-w", "-o", elf,
              *objects, *[path for path in one.objects if path not in own])
    return sum(one.rooms.values()) - one.libc - (text_bytes(one.elf) - text_bytes(elf))


def row_of(build_, row):
    return sum(build_.rooms[room] for name, rooms, _, _ in size.ROWS if name == row for room in rooms)


# ---- The call graph ----

Graph = collections.namedtuple("Graph", "frames calls")  # bytes by function; {function: {callee or (folder, member)}}


def caller_folder(place):
    return os.path.basename(os.path.dirname(place))


def read_graph(files, elf):
    frames, calls, sources = {}, collections.defaultdict(set), {}
    for path in files:
        with open(path) as file:
            text = file.read()
        for title, label in re.findall(r'^node: \{ title: "([^"]+)" label: "([^"]+)"', text, re.M):
            found = re.search(r"\\n(\d+) bytes \((\w+)", label)
            if found:
                if found.group(2) != "static":
                    frame.fail("%s has a frame of variable size" % title)
                frames[title] = int(found.group(1))
        for source, target, rest in re.findall(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(.*)\}', text, re.M):
            if target == "__indirect_call":
                place, line, column = re.search(r'label: "([^"]+):(\d+):(\d+)"', rest).groups()
                if place not in sources:
                    with open(place) as file:
                        sources[place] = file.read().split("\n")
                at = sources[place][int(line) - 1][int(column) - 1:]
                # a call inside an argument is put down at the beginning of the outer one
                member = re.match(r"[\w.\[\]]+->(?:\w+->)*(\w+)\(", at) or re.search(r"->(\w+)\(", at) or re.match(r"(\w+)\(", at)
                if member is None:
                    frame.fail("%s:%s: what is called there?" % (place, line))
                calls[source].add((caller_folder(place), member.group(1)))
            else:
                calls[source].add(target)
    add_library(frames, calls, elf)
    return Graph(frames, calls)


def add_library(frames, calls, elf):
    """What the C library and the compiler's own functions need: read from their code. And who calls them."""
    names = collections.defaultdict(list)
    for title in frames:
        names[title.rsplit(":", 1)[-1]].append(title)
    function = ""
    for line in frame.run("arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf).splitlines():
        begin = re.match(r"[0-9a-f]+ <([^>]+)>:$", line)
        if begin:
            function = begin.group(1)
            if function not in names:
                frames.setdefault(function, 0)
            continue
        branch = re.search(r"\tbl?x?\t[0-9a-f]+ <([^>+]+)>", line)
        if branch and branch.group(1) not in names and branch.group(1) != function:
            for title in names.get(function, [function]):
                calls[title].add(branch.group(1))
        if function in names:
            continue
        push = re.search(r"\t(?:push|stmdb|stmfd)\t(?:sp!, )?\{([^}]*)\}", line)
        lower = re.search(r"\tsub\tsp, (?:sp, )?#(\d+)", line)
        if push:
            for part in push.group(1).split(", "):
                first, _, last = part.partition("-")
                frames[function] += 4 * (int(last[1:]) - int(first[1:]) + 1 if last else 1)
        if lower:
            frames[function] += int(lower.group(1))


def targets(graph, role, painted, folder, member):
    """What a call through a pointer reaches."""
    def named(names):
        found = [title for title in graph.frames for name in names if title == name or title.endswith("/" + name)]
        return found

    if member in CRYPTO:
        return named([CRYPTO[member]])
    if folder == "handshake" and member in ENGINE[role]:
        return named(ENGINE[role][member])
    if member in HAL:
        return named(["stack.c:" + PAINTED[""].get(member, "")]) if painted else []
    if role == "manager" and (member in REGISTRY or member == "access"):
        return named(["registry.c:" + REGISTRY_NAMES.get(member, member)]) if painted else []
    if member in APPLICATION:
        return named(["stack.c:" + PAINTED[role].get(member, "")]) if painted else []
    return frame.fail("%s: what does %s stand for?" % (folder, member))


def deepest(graph, role, entry, painted=False):
    """The worst case of an entry point, and the way there. Ends where a function calls itself."""
    known, open_ = {}, []

    def visit(title):
        if title in known:
            return known[title]
        if title in open_:
            frame.fail("recursion: " + " -> ".join(open_[open_.index(title):] + [title]))
        open_.append(title)
        best = (0, ())
        for callee in sorted(graph.calls.get(title, ()), key=str):
            for one in targets(graph, role, painted, *callee) if isinstance(callee, tuple) else [callee]:
                if one != "abort":
                    best = max(best, visit(one))
        open_.pop()
        known[title] = (best[0] + graph.frames.get(title, 0), (title,) + best[1])
        return known[title]

    for title in (entry, entry + "_checked"):
        if title in graph.frames:
            return visit(title)
    return None


def way(titles, graph):
    """The frames that matter: function and bytes."""
    return " > ".join("%s %d" % (title.rsplit(":", 1)[-1], graph.frames.get(title, 0)) for title in titles if graph.frames.get(title, 0))


# ---- Painting ----

def paint(tree, crypto):
    """Runs bench/stack.c with everything and AES in software: what it found, and what the call graph says."""
    folder = os.path.join(WORK, "painted")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    sources = [path for path in sorted(glob.glob(os.path.join(frame.ROOT, "src", "*", "*.c"))) if not path.endswith("/crypto_psa.c")]
    sources += [os.path.join(frame.ROOT, "bench", name) for name in ("stack.c", "registry.c")]

    def compile_one(path):
        target = os.path.join(folder, os.path.relpath(path, frame.ROOT).replace(os.sep, "_")[:-2] + ".o")
        frame.run(*ARM, *flags(tree), *own_flags(SOFTWARE), "-c", path, "-o", target)
        return target

    objects = frame.parallel(compile_one, sources) + [crypto[name] for name in MBEDTLS]
    elf = os.path.join(folder, "stack")
    frame.run(*ARM, "--specs=rdimon.specs", "-Wl,--gc-sections", *objects, "-o", elf)
    graph = read_graph([path[:-2] + ".ci" for path in objects], elf)
    found = dict(line.split() for line in frame.run("qemu-arm", "-cpu", "ti925t", elf).splitlines())
    rows = []
    for role, entries in ENTRIES.items():
        for entry in entries:
            computed = deepest(graph, role, entry, painted=True)[0]
            if int(found[entry]) > computed:
                frame.fail("%s used %s bytes of stack, and the call graph allows %d" % (entry, found[entry], computed))
            rows.append([entry, found[entry], computed])
    return rows


# ---- Measuring ----

def ram_rows(ram):
    rows = [("device: context", "context"), ("device: a session", "session"), ("device: a handshake", "handshake"),
            ("device: a group", "group"), ("of it keys", "csb"), ("device: a sender of a group", "sender"), ("device: a pair", "pair"),
            ("manager: context", "manager"), ("manager: a group", "manager_group"), ("manager: a device with a session", "contact"),
            ("manager: a membership", "member"), ("manager: a message under way", "delivery"), ("relay: context", "relay"),
            ("relay: a bucket", "bucket"), ("relay: an entry of a stateful one", "entry")]
    return [(what, ram[key]) for what, key in rows if key in ram]


def measure(quick):
    frame.run(os.path.join(frame.ROOT, "scripts", "install-deps"), "arm", "bench")
    os.makedirs(WORK, exist_ok=True)
    tree, version = fetch_mbedtls()
    crypto = compile_crypto(tree)
    builds = frame.parallel(lambda job: build(job[0], job[1], tree, crypto), BUILDS)
    rom, ram, stack = [], [], []
    for one in builds:
        if "tight" not in one.name:
            crypto_name = "software" if "software" in one.name else "AES in hardware"
            name = one.name.replace(", software AES", "")
            rom += [[name, crypto_name, row, row_of(one, row)] for row, _, _ in ROWS] + [[name, crypto_name, LIBC, one.libc]]
        ram += [[one.name, what, bytes_] for what, bytes_ in ram_rows(one.ram)]
        for role, entries in ENTRIES.items():
            for entry in entries:
                found = deepest(one.graph, role, entry)
                if found is not None:
                    stack.append([one.name, entry, found[0], way(found[1], one.graph)])
    wholes = frame.parallel(lambda job: whole_program(job[0], job[1][1], tree), list(zip(builds[:2], BUILDS)))
    rom += [[one.name, "AES in hardware, -flto", "total", total] for one, total in zip(builds, wholes)]
    out = {"memory-tools.csv": (["name", "value"], [["compiler", frame.first_line("arm-none-eabi-gcc", "--version")], ["mbedtls", version]]),
           "memory-rom.csv": (["build", "crypto", "row", "bytes"], rom), "memory-ram.csv": (["build", "what", "bytes"], ram),
           "memory-stack.csv": (["build", "entry", "bytes", "way"], stack),
           "memory-painted.csv": (["entry", "painted", "computed"], paint(tree, crypto))}
    if quick:
        return out
    files, functions = [], []
    for one in builds[:2]:
        files += [[one.name, name, count] for name, count in sorted(one.files.items(), key=lambda item: (-item[1], item[0]))]
        functions += [[one.name, name, count] for name, count in sorted(one.functions, key=lambda item: (-item[1], item[0]))[:10]]
    steps, values = [], dict(BOTH)
    jobs = []
    for number, (_, more) in enumerate(STEPS, 1):
        values = dict(values, **more)
        jobs.append(("step %d" % number, values))
    last, last_ram = sum(builds[1].rooms.values()) - builds[1].libc, builds[1].ram
    for (name, _), one in zip(STEPS, frame.parallel(lambda job: build(job[0], job[1], tree, crypto), jobs)):
        total = sum(one.rooms.values()) - one.libc
        steps.append([name, total - last, device_ram(one.ram) - device_ram(last_ram)])
        last, last_ram = total, one.ram
    out["memory-ram-everything.csv"] = (["what", "bytes"], ram_rows(last_ram))
    out["memory-files.csv"] = (["build", "file", "bytes"], files)
    out["memory-functions.csv"] = (["build", "function", "bytes"], functions)
    out["memory-steps.csv"] = (["what", "rom", "ram"], steps)
    return out


def device_ram(ram):
    """Of a device in one group with SENDERS senders."""
    return ram["context"] + ram["session"] + ram["handshake"] + ram["group"] + SENDERS * ram["sender"] + TX


# ---- The document ----

# Measured once elsewhere, with the same compiler's settings (arm7tdmi Thumb, -Os, smallest build with PSK alone, client and
# server): ROM; of it AES and CCM, and hashes; static, heap at its peak and stack of a client.
PEERS = [("tinydtls (Contiki-NG's)", 17406, 7756, 2174, 2262, 0, 1469), ("tinydtls", 20086, 7840, 1996, 188, 707, 1725),
         ("mbedTLS 3.6", 23455, 5236, 2317, 368, 2424, 1021), ("wolfSSL 5.5", 37865, 3362, 2394, 28, 5392, 725)]
DRAFT_ROM, DRAFT_RAM = 16.15, 3.9


def rom(results, build_, row, crypto="AES in hardware"):
    return int(results.find("memory-rom.csv", build=build_, crypto=crypto, row=row)["bytes"])


def rom_total(results, build_, crypto="AES in hardware"):
    return sum(rom(results, build_, row, crypto) for row, _, _ in ROWS)


def ram(results, build_, what):
    return int(results.find("memory-ram.csv", build=build_, what=what)["bytes"])


def contexts(results, build_):
    """By the draft's rows, without the stack: bytes of a device in one group."""
    return {"state machine": ram(results, build_, "device: context") + ram(results, build_, "device: a session") +
                             ram(results, build_, "device: a handshake") +
                             ram(results, build_, "device: a group") - ram(results, build_, "of it keys"),
            "cryptography": 0, "key management": ram(results, build_, "of it keys"),
            "DTLS record layer": SENDERS * ram(results, build_, "device: a sender of a group") + TX}


def worst(results, build_, role="device"):
    rows = [row for row in results["memory-stack.csv"] if row["build"] == build_ and row["entry"] in ENTRIES[role]]
    return max(rows, key=lambda row: int(row["bytes"]))


def kb(count):
    return "%.2f" % (count / 1024)


def parts_of(results, build_):
    """Bytes of what lies below the protocol, of the handshake's engine, and of the roles."""
    out = [0, 0, 0]
    for row in results["memory-files.csv"] or []:
        if row["build"] == build_ and row["file"] != LIBC:
            folder = row["file"].split("/")[0]
            out[1 if folder == "handshake" else 2 if folder == "access" else 0] += int(row["bytes"])
    return out


def figures(results):
    out = []
    for name in ("device and manager", "device"):
        total = rom_total(results, name)
        largest = [row for row in results["memory-files.csv"] or [] if row["build"] == name and row["file"] != LIBC][:4]
        floor, engine, role = parts_of(results, name)
        why = ("%s bytes too many, of %s (with `-flto` %s). %s; the largest files are %s. The floor: ciphers, hash, records, key derivation and the "
               "helpers below them are %s, whatever stands on them. The handshake and its sessions are %s, the role%s %s. Contiki-NG's "
               "tinydtls, client and server, takes %s beside its ciphers and hashes, and loses a fifth of all joins for good where a tenth of the datagrams "
               "is lost. What ours has more is flights that are repeated on a measured clock, the last one on demand, messages in pieces and out of order, "
               "records that come before their keys, a new try behind a forged message, sessions that outlive a restart of either end, transactions, "
               "pauses, a name for every way to fail. It is not to be had for less by flags; it would have to be left out." % (
                   frame.thousands(total - ROM_TARGET[name]), frame.thousands(total), frame.thousands(rom(results, name, "total", "AES in hardware, -flto")),
                   ", ".join("%s %s" % (row, frame.thousands(rom(results, name, row))) for row, _, _ in ROWS),
                   ", ".join("%s %s" % (row["file"], frame.thousands(row["bytes"])) for row in largest),
                   frame.thousands(floor), frame.thousands(engine), "s" if " " in name else "", frame.thousands(role),
                   frame.thousands(PEERS[0][1] - PEERS[0][2] - PEERS[0][3])))
        out.append(frame.Figure("ROM, ARM Thumb, AES in hardware, SHA-256 included; without relay, pairwise keys and Connection IDs; %s" %
                                (name if " " in name else "device only"), "draft %.2f KB" % DRAFT_ROM, "%d KB" % (ROM_TARGET[name] // 1024),
                                kb(total) + " KB", total <= ROM_TARGET[name], why))
    held = sum(contexts(results, "device").values())
    deep = worst(results, "device")
    total = held + int(deep["bytes"])
    tight = sum(contexts(results, "device, tight").values()) + int(worst(results, "device, tight")["bytes"])
    out.append(frame.Figure(
        "RAM of a device in one group with %d senders: contexts and worst stack" % SENDERS, "draft %.1f KB" % DRAFT_RAM,
        "%d KB" % (RAM_TARGET // 1024), kb(total) + " KB", total <= RAM_TARGET,
        "%s bytes too many: contexts %s, of it the handshake %s, which the device does not need once it has joined; stack %s, in %s. With the "
        "tables of config.h as small as they may be, %s in all. The deepest way is listed below: of it some 400 bytes are mbedTLS's SHA-256." %
        (frame.thousands(total - RAM_TARGET), frame.thousands(held), frame.thousands(ram(results, "device", "device: a handshake")),
         frame.thousands(deep["bytes"]), deep["entry"], frame.thousands(tight))))
    return out


def plots(results):
    names = [("draft", None), ("device only", "device"), ("device and manager", "device and manager")]
    lines = ["$d << EOD"]
    for label, name in names:
        values = [draft for _, draft, _ in ROWS] if name is None else [rom(results, name, row) / 1024 for row, _, _ in ROWS]
        lines.append('"%s" %s' % (label, " ".join("%.3f" % value for value in values)))
    lines += ['"%s" 0 %.3f 0 %.3f' % (name, (aes + sha) / 1024, (total - aes - sha) / 1024) for name, total, aes, sha, _, _, _ in PEERS]
    lines += ["EOD"]
    colours = ["#c44e52", "#4c72b0", "#dd8452", "#8c8c8c"]
    titles = [row for row, _, _ in ROWS[:3]] + ["record layer (peers: everything else)"]
    curves = ", ".join('$d using %d%s title "%s" lc rgb "%s"' % (i + 2, ":xtic(1)" if i == 0 else "", titles[i], colours[i]) for i in range(4))
    return {"memory-rom.svg": "\n".join(lines) + """
set terminal svg size 760,420 font "sans,12" background "white"
set title "ROM on ARM7TDMI-S (Thumb)"
set ylabel "KB"
set yrange [0:*]
set style data histograms
set style histogram rowstacked
set style fill solid 0.9 noborder
set boxwidth 0.7
set grid ytics
set xtics rotate by -25
set key outside top center horizontal
plot %s
""" % curves}


def document(results):
    tools = results.values("memory-tools.csv")
    names = ["device", "device and manager"]
    held = contexts(results, "device")
    stack = int(worst(results, "device")["bytes"])
    out = ["ARM7TDMI-S, Thumb, `-Os`, %s. What a program keeps that uses a role's whole interface: linked, the" % tools["compiler"],
           "unused dropped. One suite (CCM_8), no relay, no pairwise keys, no Connection IDs, no access parameters, no max_fragment_length,",
           "no key log, no persistence: what the draft's prototype had. Cryptography is ours over the platform's AES and SHA-256; SHA-256 is",
           "mbedTLS's (%s, the smaller variant), and so is AES where the chip has none; the driver of a chip's AES is not counted." %
           tools["mbedtls"], "The library has no writable data of its own. [size.md](size.md) has the library alone, room by room.", "",
           "### ROM, KB", ""]
    rows = []
    for row, draft, _ in ROWS:
        rows.append([row, "%.2f" % draft] + [kb(rom(results, name, row, crypto)) for name in names for crypto in ("AES in hardware", "software")])
    rows.append(["total", "%.2f" % DRAFT_ROM] + [kb(rom_total(results, name, crypto)) for name in names for crypto in ("AES in hardware", "software")])
    rows.append(["total, with `-flto`", ""] + [cell for name in names
                                              for cell in (kb(rom(results, name, "total", "AES in hardware, -flto")), "")])
    rows.append(["C library and compiler's, beside it", ""] + [kb(rom(results, name, LIBC, crypto)) for name in names
                                                              for crypto in ("AES in hardware", "software")])
    out += frame.table(["", "draft", "device only", "AES in software", "device and manager", "AES in software"], rows)
    steps = results["memory-steps.csv"] or []
    out += ["", "What the draft's prototype did not have, on top of device and manager, one after the other (ROM; and RAM of the device's tables",
            "alone, for the same numbers of sessions, handshakes and groups):", ""]
    out += frame.table(["", "ROM, bytes", "RAM, bytes"], [[row["what"], row["rom"], row["ram"]] for row in steps])
    out += ["", "![ROM](evaluation/memory-rom.svg)", "", "### RAM, bytes", "",
            "Of a device in one group with %d senders: what the caller passes, one session, one handshake and one datagram of %d bytes, and the"
            % (SENDERS, TX), "deepest stack of all entry points. \"Tight\": the tables of config.h as small as they may be (%s)." %
            ", ".join("%s %d" % (name, value) for name, value in TIGHT.items()), ""]
    tight = contexts(results, "device, tight")
    tight_stack = int(worst(results, "device, tight")["bytes"])
    rows = [[row, "%.0f" % (draft * 1024), held[row], tight[row]] for row, _, draft in ROWS]
    rows += [["stack", "not told", stack, tight_stack],
             ["total", "%.0f" % (DRAFT_RAM * 1024), sum(held.values()) + stack, sum(tight.values()) + tight_stack]]
    out += frame.table(["", "draft", "device only", "device only, tight"], rows)
    everything = {row["what"]: row["bytes"] for row in results["memory-ram-everything.csv"] or []}
    whats = list(everything) or sorted({row["what"] for row in results["memory-ram.csv"]})
    out += ["", "Each structure, bytes; \"everything\" has the features above:", ""]
    columns = ["device", "device, tight", "device and manager"]
    found = [[results.find("memory-ram.csv", build=name, what=what) for name in columns] for what in whats]
    out += frame.table(["", "device only", "tight", "device and manager", "everything"],
                       [[what] + [row["bytes"] if row else "" for row in line] + [everything.get(what, "")]
                        for what, line in zip(whats, found)])
    out += ["", "A manager's session and handshake are the same structures as a device's. For each device that stays in contact and is in one",
            "group it keeps a session, a contact and a membership.", "", "### Stack", "",
            "The worst case over the call graph that the compiler writes (`-fcallgraph-info`), with calls through pointers resolved by a list in",
            "bench/part_memory.py; the platform's functions and the application's callbacks add their own. There is no frame of variable",
            "size, and no function calls itself, on whatever way. With AES in hardware:", ""]
    entries = [(role, entry) for role in ENTRIES for entry in ENTRIES[role]]
    rows = []
    for role, entry in entries:
        line = [results.find("memory-stack.csv", build=name, entry=entry) for name in ("device", "device and manager", "device and manager, software AES")]
        painted = results.find("memory-painted.csv", entry=entry)
        if any(line) or painted:
            rows.append(["`%s`" % entry] + [row["bytes"] if row else "" for row in line] + [painted["computed"], painted["painted"]])
    out += frame.table(["", "device only", "device and manager", "with AES in software", "everything, AES in software", "of it used, painted"], rows)
    out += ["", "The last column is bench/stack.c under qemu-arm: it paints the stack before each call and looks afterwards how far the paint is",
            "gone. Two devices join, with shares and access parameters, talk, leave and are evicted; it does not reach every worst case, but",
            "never more than what is computed.", "", "The deepest ways, function and frame:", ""]
    for build_, role in (("device", "device"), ("device and manager", "manager")):
        row = worst(results, build_, role)
        out.append("- %s, `%s`, %s bytes: %s" % (build_ if " " in build_ else "device only", row["entry"], row["bytes"], row["way"]))
    out += ["", "### Beside peers", "",
            "Measured elsewhere once, on the same architecture with the same compiler settings: client and server in the smallest build that has",
            "PSK alone, AES in software. They are plain DTLS: no group, no keys, no manager. Bytes.", ""]
    crypto = rom(results, "device and manager", "cryptography", "software")
    out += frame.table(["", "ROM", "of it AES, CCM, hashes", "static + heap + stack of a client"],
                       [[name, total, aes + sha, "%d + %d + %d" % (static, heap, deep)] for name, total, aes, sha, static, heap, deep in PEERS] +
                       [["ours, device only", rom_total(results, "device", "software"), rom(results, "device", "cryptography", "software"),
                         "%d + 0 + %d" % (sum(held.values()), int(worst(results, "device, software AES")["bytes"]))],
                        ["ours, device and manager", rom_total(results, "device and manager", "software"), crypto, ""]])
    out += ["", "### Where the bytes go", "", "Files of device and manager, and of the device alone, bytes:", ""]
    rows = []
    for row in results["memory-files.csv"] or []:
        if row["build"] == "device and manager":
            alone = results.find("memory-files.csv", build="device", file=row["file"])
            rows.append([row["file"], row["bytes"], alone["bytes"] if alone else ""])
    out += frame.table(["", "device and manager", "device only"], rows)
    out += ["", "The ten largest functions, bytes:", ""]
    largest = [[(row["function"], row["bytes"]) for row in results["memory-functions.csv"] or [] if row["build"] == name] for name in names]
    out += frame.table(["device only", "bytes", "device and manager", "bytes "],
                       [["`%s`" % a[0], a[1], "`%s`" % b[0], b[1]] for a, b in zip(*largest)])
    return out
