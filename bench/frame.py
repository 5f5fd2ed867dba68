# SPDX-License-Identifier: BSD-3-Clause
"""What the parts of scripts/bench share: building, running, CSVs, the comparison, tables.

A part is a module part_NAME.py with

    NAME, TITLE, SUMMARY, ORDER   ORDER: its place in the document
    TARGETS                       what is built for it from bench/CMakeLists.txt
    measure(quick)                -> {csv: (header, rows)}; quick: only those that CHECKS names, and only what fits into a minute
    CHECKS                        {csv: Check}: what --quick compares with the committed file
    figures(results)              -> [Figure]: its lines of the table of figures
    document(results)             -> its section, as lines of Markdown without the heading
    plots(results)                -> {file name: gnuplot script}, written to docs/evaluation/

where `results` is a Results: every CSV as a list of dictionaries of text. A part whose CSVs are not there is left out.
"""
import collections
import concurrent.futures
import csv
import glob
import importlib
import io
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "bench")
RESULTS = os.path.join(ROOT, "bench", "results")

# One figure: what; what the draft or the best peer has; what ours is to be; what it is; whether that is met; why not.
Figure = collections.namedtuple("Figure", "what others target ours met why")

# How a CSV is compared. keys: the columns that name a row. columns: {name: (direction, relative, absolute)}, direction
# "less" or "more" being better; a value may be worse by the larger of both tolerances. same: files "NAME=VALUE" of which
# every value has to agree, else nothing is compared (figures that depend on compilers and libraries).
Check = collections.namedtuple("Check", "keys columns same")


def fail(text):
    sys.exit("bench: " + text)


def run(*command, env=None, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, env=env)
    if check and done.returncode != 0:
        sys.stderr.write((done.stdout + done.stderr)[-4000:])
        fail("failed: " + " ".join(command))
    return done.stdout


def parallel(work, jobs):
    """work(job) of every job, as many at once as there are processors; the results in the jobs' order."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(work, jobs))


def load_parts():
    names = [os.path.basename(path)[:-3] for path in glob.glob(os.path.join(ROOT, "bench", "part_*.py"))]
    return sorted((importlib.import_module(name) for name in names), key=lambda part: part.ORDER)


def prepare(targets):
    """Installs what is missing, and builds the programs."""
    run(os.path.join(ROOT, "scripts", "install-deps"), "build", "bench")
    for tool in ("cmake", "gcc", "valgrind", "gnuplot"):
        if shutil.which(tool) is None:
            fail(tool + " is missing; run scripts/install-deps build bench")
    run("cmake", "-S", os.path.join(ROOT, "bench"), "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_COMPILER=gcc")
    if targets:
        run("cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1), "--target", *sorted(targets))


def program(name):
    return os.path.join(BUILD, name)


# ---- CSVs ----

def csv_path(name):
    return os.path.join(RESULTS, name)


def csv_text(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def write_csv(name, header, rows):
    os.makedirs(RESULTS, exist_ok=True)
    with open(csv_path(name), "w") as file:
        file.write(csv_text(header, rows))


def parse_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


class Results:
    """Committed CSVs by name; a missing one is None."""

    def __init__(self):
        self.files = {}

    def __getitem__(self, name):
        if name not in self.files:
            self.files[name] = None
            if os.path.exists(csv_path(name)):
                with open(csv_path(name)) as file:
                    self.files[name] = parse_csv(file.read())
        return self.files[name]

    def find(self, name, **wanted):
        """The one row of a file with these values, or None."""
        for row in self[name] or []:
            if all(row[key] == str(value) for key, value in wanted.items()):
                return row
        return None

    def values(self, name):
        """A file of two columns, name and value."""
        return {row["name"]: row["value"] for row in self[name] or []}


def compare(part, measured):
    """What is worse than the committed results, and remarks."""
    results, worse, notes = Results(), [], []
    fresh = {name: parse_csv(csv_text(*content)) for name, content in measured.items()}
    for name, check in part.CHECKS.items():
        if name not in fresh:
            fail("part %s measured no %s" % (part.NAME, name))
        if results[name] is None:
            worse.append("%s: not committed" % name)
            continue
        different = ["%s: %s now, %s then" % (row["name"], row["value"], results.values(other).get(row["name"]))
                     for other in check.same for row in fresh[other] if results.values(other).get(row["name"]) != row["value"]]
        if different:
            notes.append("%s is not compared: %s" % (name, "; ".join(different)))
            continue
        now = {tuple(row[key] for key in check.keys): row for row in fresh[name]}
        then = {tuple(row[key] for key in check.keys): row for row in results[name]}
        better = 0
        for key, row in then.items():
            label = "%s, %s" % (name, " ".join(key))
            if key not in now:
                worse.append(label + ": no longer there")
                continue
            for column, (direction, relative, absolute) in check.columns.items():
                before, after = row[column], now[key][column]
                if before == after:
                    continue
                if before == "":  # a percentile that was not reached
                    better += 1
                    continue
                if after == "":
                    worse.append("%s: %s is not reached, was %s" % (label, column, before))
                    continue
                change = (float(after) - float(before)) * (1 if direction == "less" else -1)
                if change > max(abs(float(before)) * relative, absolute) + 1e-9:
                    worse.append("%s: %s is %s, was %s" % (label, column, after, before))
                elif change < 0:
                    better += 1
        if better:
            notes.append("%s: %d values are better than the committed ones" % (name, better))
        new = [key for key in now if key not in then]
        if new:
            notes.append("%s: %d new rows" % (name, len(new)))
    return worse, notes


# ---- Surroundings that figures depend on ----

def first_line(*command):
    return run(*command).splitlines()[0]


def libraries():
    """What instruction counts depend on, as rows of name and value."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^flags\s*:(.*)$", file.read(), re.M)
    flags = set(found.group(1).split()) if found else set()
    rows = [["compiler", first_line("gcc", "--version")], ["C library", first_line("ldd", "--version")],
            ["valgrind", first_line("valgrind", "--version")], ["machine", os.uname().machine],
            # valgrind shows programs a processor with these or without, and libraries choose by them
            ["processor", " ".join(flag for flag in ("aes", "pclmulqdq", "ssse3", "sse4_2", "avx", "avx2", "bmi2") if flag in flags)]]
    for line in run(program("peers"), "versions").splitlines():
        name, version = line.split()
        if name != "iotsec":
            rows.append([name, version])
    return ["name", "value"], rows


# ---- Text ----

def thousands(number):
    return "{:,}".format(int(round(float(number)))).replace(",", " ")


def kilo(number):
    """Instructions: 400 k, 7.3 k."""
    value = float(number) / 1000
    return "%.0f k" % value if value >= 100 else "%.1f k" % value


def table(header, rows, left=1):
    """The first `left` columns are text, the others numbers."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join("---" if i < left else "---:" for i in range(len(header))) + "|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
