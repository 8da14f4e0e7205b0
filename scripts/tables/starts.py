#!/usr/bin/env python3
"""A table of detectors or segmenters by what they start from: `starts.py CSV --start NAME=ENCODER .. -- detect|segment ARGUMENTS`

Each cell is one training: a start, a setting and a seed. What it logged of its judging is appended to CSV, a row for each time; a cell whose rows
are there is not trained again, and one that was stopped goes on where it was. `--start random` starts from random parameters, as narrow
as `--random KEY=VALUE` says. `--vary KEY=VALUE,VALUE` makes cells of each value, to choose one on photos that no table reports.

    python scripts/tables/starts.py benchmarks/tables/penn-fudan.csv --work runs --seeds 3 \\
        --start random --random model.width=32 --start mls=benchmarks/encoders/mls.safetensors \\
        -- detect --data photos/train --annotations train.json --test test.json --test-photos photos/test --steps 1000

`--jobs N` trains so many at a time, each on its part of the processors: two at a time with one each are done sooner than one after
the other with both.

Prints of each start the mean over seeds of the last judging and its standard deviation, and how much it differs from the first start:
the mean difference of cells of one seed, and the standard error of that.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev

# Of each command the kind of the lines in which it logs its judging, and their figures, which are shares.
COMMANDS = {
    "detect": ("ap", ("ap", "ap50", "ap75", "mask_ap", "mask_ap50", "mask_ap75")),
    "segment": ("miou", ("miou", "macc", "aacc")),
}


def rows_of(file):
    if not file.exists():
        return []
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def train(args, start, setting, seed, processors):
    """Trains a cell on some processors, or goes on with it; what it logged of its judging."""
    name, _, encoder = start.partition("=")
    table = [part for part in args.csv.with_suffix("").parts if part not in (args.csv.anchor, "..")]
    run = args.work / "-".join(filter(None, (*table, name, setting.replace("/", "_"), str(seed))))
    command = [args.vista, *args.rest, "--out", str(run), "--quiet", "--set", f"seed={seed}"]
    keys = [setting] * bool(setting) + (args.random if not encoder else [])
    command += [part for key in keys for part in ("--set", key)] + (["--init", encoder] if encoder else [])
    if (run / "checkpoint.safetensors").exists():
        command.append("--resume")
    elif run.exists():
        command.append("--overwrite")  # it was stopped before anything was saved
    threads = {"RAYON_NUM_THREADS": str(len(processors))}
    only = (lambda: os.sched_setaffinity(0, processors)) if hasattr(os, "sched_setaffinity") else None
    done = subprocess.run(command, env={**os.environ, **threads}, preexec_fn=only)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}; the table goes on there when it is called again")
    records = [json.loads(line) for line in open(run / "log.jsonl")]
    judged = {record["step"]: record for record in records if record["kind"] == COMMANDS[args.rest[0]][0]}
    if not judged:
        sys.exit(f"{run} was not judged: give photos to be judged on")
    return [judged[step] for step in sorted(judged)]


def table(rows, starts, settings, figures):
    """The last judging of each cell, over seeds."""
    last = {}
    for row in rows:
        key = row["start"], row["setting"], row["seed"]
        if key not in last or int(row["step"]) >= int(last[key]["step"]):
            last[key] = row
    figures = [figure for figure in figures if any(row[figure] for row in last.values())]
    print("| start | seeds |" + "".join(f" {figure} |" for figure in figures))
    print("|---|---|" + "---|" * len(figures))
    for setting in settings:
        cells = {start: {k[2]: row for k, row in last.items() if k[:2] == (start, setting)} for start in starts}
        for start in starts:
            words = []
            for figure in figures:
                values = {seed: 100 * float(row[figure]) for seed, row in cells[start].items() if row[figure]}
                spread = f" ± {stdev(values.values()):.1f}" if len(values) > 1 else ""
                words.append(f"{mean(values.values()):.1f}{spread}" if values else "-")
                first = {seed: 100 * float(row[figure]) for seed, row in cells[starts[0]].items() if row[figure]}
                more = [values[seed] - first[seed] for seed in values if seed in first]
                if start != starts[0] and len(more) > 1:
                    words[-1] += f" ({mean(more):+.1f} ± {stdev(more) / len(more) ** 0.5:.1f})"
            print(f"| {' '.join(filter(None, (start, setting)))} | {len(cells[start])} | " + " | ".join(words) + " |")


def main():
    own, rest = sys.argv[1:], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--start", action="append", required=True, metavar="NAME[=ENCODER]")
    parser.add_argument("--random", action="append", default=[], metavar="KEY=VALUE", help="of starts without an encoder")
    parser.add_argument("--vary", default="", metavar="KEY=VALUE,VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at", type=int, metavar="STEP", help="print figures of this step, not the last")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time: 1")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where runs are kept: runs")
    parser.add_argument("--vista", default="vista", help="the program")
    args = parser.parse_args(own)
    args.rest = rest
    if not rest or rest[0] not in COMMANDS:
        parser.error("say -- and detect or segment with its arguments behind it")
    figures = COMMANDS[rest[0]][1]
    key, _, values = args.vary.partition("=")
    settings = [f"{key}={value}" for value in values.split(",")] if key else [""]
    starts = [start.partition("=")[0] for start in args.start]
    if len(set(starts)) < len(starts) or any("=" in start and start.endswith("=") for start in args.start):
        sys.exit("starts have different names, and an encoder behind each =")
    args.work.mkdir(parents=True, exist_ok=True)
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not 1 <= args.jobs <= len(free):
        parser.error(f"--jobs must be from 1 to {len(free)}, the number of processors")
    parts = [free[job :: args.jobs] for job in range(args.jobs)]
    lock = threading.Lock()

    def finish(cell):
        start, setting, seed = cell
        name = start.partition("=")[0]
        with lock:
            print(f"{' '.join(filter(None, (name, setting)))}, seed {seed}", file=sys.stderr, flush=True)
            processors = parts.pop()
        judged = train(args, start, setting, seed, processors)
        with lock:
            parts.append(processors)
            args.csv.parent.mkdir(parents=True, exist_ok=True)
            is_new = not args.csv.exists() or args.csv.stat().st_size == 0
            with open(args.csv, "a", newline="") as file:
                columns = ("start", "setting", "seed", "step", "seconds", *figures)
                lines = csv.DictWriter(file, columns, extrasaction="ignore")
                if is_new:
                    lines.writeheader()
                for record in judged:
                    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in record.items()}
                    lines.writerow({**rounded, "start": name, "setting": setting, "seed": seed})

    there = {(row["start"], row["setting"], row["seed"]) for row in rows_of(args.csv)}
    # By seed first: a table that is not finished compares the same seeds.
    cells = [(start, setting, seed) for seed in range(args.seeds) for setting in settings for start in args.start]
    left = [cell for cell in cells if (cell[0].partition("=")[0], cell[1], str(cell[2])) not in there]
    with ThreadPoolExecutor(args.jobs) as jobs:
        for done in [jobs.submit(finish, cell) for cell in left]:
            if failed := done.exception():
                jobs.shutdown(cancel_futures=True)
                sys.exit(str(failed))
    if args.csv.exists():
        rows = [row for row in rows_of(args.csv) if args.at in (None, int(row["step"]))]
        table(rows, starts, settings, figures)


if __name__ == "__main__":
    main()
