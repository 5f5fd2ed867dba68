# SPDX-License-Identifier: BSD-3-Clause
"""docs/evaluation.md and its plots, from the CSVs alone."""
import os
import shutil
import subprocess

import frame

DOC = os.path.join(frame.ROOT, "docs", "evaluation.md")
PLOTS = os.path.join(frame.ROOT, "docs", "evaluation")

HEAD = """<!-- SPDX-License-Identifier: BSD-3-Clause -->
<!-- Written by scripts/bench from bench/results/*.csv; scripts/bench --quick compares. Do not edit: the text is in bench/*.py. -->
# Evaluation

What joining costs and how it behaves under loss, beside the prototype of draft-keoh-lwig-dtls-iot-01 (sections 5.2 to 5.4:
"the draft") and beside today's DTLS libraries from Debian's packages ("peers"). `./scripts/bench` measures everything again and writes this
page, its plots and the [CSVs](../bench/results) behind them.

Counts, bytes, times in virtual time and instructions are the same in every run with the same compiler and libraries. Wall-clock
time appears as ratios within one run, and proves nothing.
"""


def gnuplot(script, path):
    done = subprocess.run(["gnuplot", "-"], input="set output '%s'\n%s" % (path, script), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, cwd=frame.ROOT)
    if done.returncode != 0 or not os.path.exists(path):
        frame.fail("gnuplot: " + done.stdout)


def present(parts, results):
    return [part for part in parts if all(results[name] is not None for name in part.CHECKS)]


def text(parts):
    results = frame.Results()
    parts = present(parts, results)
    out = [HEAD]
    rows = []
    missed = []
    for part in parts:
        for figure in part.figures(results):
            rows.append([figure.what, figure.others, figure.target, figure.ours, "yes" if figure.met else "**no**"])
            if not figure.met and figure.why:
                missed.append("- *%s.* %s" % (figure.what, figure.why))
    out += ["## Figures", ""] + frame.table(["", "draft or best peer", "to be reached", "ours", "met"], rows, left=5) + [""]
    if missed:
        out += ["What is missed, by how much, and where it goes:", ""] + missed + [""]
    for part in parts:
        out += ["## " + part.TITLE, ""] + part.document(results) + [""]
    return "\n".join(out).rstrip("\n") + "\n"


def write(parts):
    os.makedirs(PLOTS, exist_ok=True)
    results = frame.Results()
    wanted = set()
    if shutil.which("gnuplot") is None:
        frame.fail("gnuplot is missing; run scripts/install-deps bench")
    for part in present(parts, results):
        for name, script in part.plots(results).items():
            gnuplot(script, os.path.join(PLOTS, name))
            wanted.add(name)
    for name in os.listdir(PLOTS):
        if name not in wanted:
            os.remove(os.path.join(PLOTS, name))
    with open(DOC, "w") as file:
        file.write(text(parts))


def stale(parts):
    """Why docs/evaluation.md is not what the results say."""
    results = frame.Results()
    try:
        with open(DOC) as file:
            stored = file.read()
    except FileNotFoundError:
        return ["docs/evaluation.md is missing"]
    problems = [] if stored == text(parts) else ["docs/evaluation.md is not what bench/results says; run scripts/bench --render"]
    for part in present(parts, results):
        for name in part.plots(results):
            if not os.path.exists(os.path.join(PLOTS, name)):
                problems.append("docs/evaluation/%s is missing; run scripts/bench --render" % name)
    return problems
