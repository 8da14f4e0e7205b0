#!/usr/bin/env python3
"""Vista beside PyTorch on the CPU of this machine, in turns: `compare.py steps` and `compare.py runs PHOTOS`

steps  a training step's milliseconds, and the most MiB of its process: `vista bench --test` and torch_step.py; of a detector, or finding
       objects in a photo (`mask_rcnn:2,256`, `mask_rcnn_photo:256`), mask_rcnn.py; of a segmenter (`pspnet:2,225`, `psanet:2,225`),
       segmenter.py
runs   images a second of whole MoCo-v2 runs on a folder of photos, loader included: `vista pretrain` and torch_moco.py

Each round runs Vista, PyTorch, and PyTorch with channels last, one after the other, all with the same settings and threads.
Prints each round, then medians and how many times as fast Vista is as the better of the two layouts.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PROGRAMS = ("vista", "torch", "torch channels last")
# What runs a test in PyTorch, where it is not torch_step.py.
SCRIPTS = {
    **dict.fromkeys(("mask_rcnn", "mask_rcnn_photo"), ["mask_rcnn.py", "bench"]),
    **dict.fromkeys(("pspnet", "psanet"), ["segmenter.py", "bench"]),
}
# PyTorch's own kernels, and oneDNN's.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


class Failed(Exception):
    """A program that gave no figure."""


def output(command, env):
    """What a program prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def torch(args, env, script, arguments, layout):
    more = ["--threads", str(args.threads)] + ["--channels-last"] * (layout != "torch")
    return [float(word) for word in output([args.python, str(HERE / script), *arguments, *more], env).split()]


def step(args, env, program, test):
    """Median milliseconds of a training step, and the process's peak MiB."""
    times = ["--warmup", str(args.warmup), "--repeats", str(args.steps)]
    if program != "vista":
        script = SCRIPTS.get(test.split(":")[0], ["torch_step.py"])
        return torch(args, env, script[0], [*script[1:], test, *times], program)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.json")
        output([args.vista, "bench", "--device", "cpu", "--test", test, *times, "--json", str(file)], env)
        measured = json.loads(file.read_text())["tests"][0]
        return measured["timing"]["median_ms"], (measured["peak_resident_bytes"] or 0) / 2**20


def run(args, env, program, test):
    """Images a second of a run, from the warm-up's end to the last step's; no memory."""
    backbone, sizes = test.split(":")
    batch, size = sizes.split(",")
    if program != "vista":
        work = ["--backbone", backbone, "--batch", batch, "--size", size, "--queue", str(args.queue)]
        work += ["--workers", str(args.workers), "--warmup", str(args.warmup), "--steps", str(args.steps)]
        return torch(args, env, "torch_moco.py", [args.photos, *work], program)[0], None
    settings = {
        "method.queue": args.queue,
        "train.groups": 1,  # batch norm over the whole batch
        "optimizer.schedule": "constant",
        "data.threads": args.workers,
        "data.cache_mib": 0,  # each photo is decoded each time
        "eval.every_epochs": 0,
        "train.save_minutes": 0,
    }
    steps = args.warmup + args.steps
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [args.vista, "pretrain", "--preset", "moco-v2-coco-r50", "--backbone", backbone, "--batch", batch]
        command += ["--image-size", size, "--steps", str(steps), "--epochs", "1000000", "--data", args.photos]
        command += ["--device", "cpu", "--out", str(out), "--quiet"]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        with open(Path(folder, "said"), "w+") as said, subprocess.Popen(command, env=env, stderr=said) as process:
            # By the clock on the wall, as in PyTorch: the log's own times leave out what is done between steps.
            ends = {}
            while process.poll() is None:
                log = out / "log.jsonl"
                done = log.read_text().count('"kind":"step"') if log.exists() else 0
                for at in (args.warmup, steps):
                    if done >= at:
                        ends.setdefault(at, time.perf_counter())
                time.sleep(0.01)
            if process.returncode != 0 or len(ends) < 2:
                said.seek(0)
                raise Failed(f"{' '.join(command)}: {said.read().strip()}")
        return args.steps * int(batch) / (ends[steps] - ends[args.warmup]), None


def processor():
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        import platform

        return platform.processor() or platform.machine()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    steps, runs = kinds.add_parser("steps"), kinds.add_parser("runs")
    runs.add_argument("photos", help="folder of JPEGs")
    for kind, tests, warmup, count, counted in (
        (steps, ["resnet18:32,96", "resnet50:8,160"], 2, 9, "steps that are timed"),
        (runs, ["resnet18:32,96", "resnet50:16,224"], 5, 40, "steps that are timed; no more than an epoch's"),
    ):
        kind.add_argument("--tests", nargs="+", default=tests, metavar="NAME:BATCH,SIZE", help=" ".join(tests))
        kind.add_argument("--rounds", type=int, default=5)
        kind.add_argument("--warmup", type=int, default=warmup, help=f"steps before: {warmup}")
        kind.add_argument("--steps", type=int, default=count, help=f"{counted}: {count}")
        kind.add_argument("--threads", type=int, default=min(2, os.cpu_count()), help="threads of computation")
        kind.add_argument("--vista", default=str(HERE.parents[1] / "target/release/vista"), help="the program")
        kind.add_argument("--python", default=sys.executable, help="one that has torch and torchvision")
        kind.add_argument("--csv", help="write every figure there, as in benchmarks/record")
        kind.add_argument("--avx2", action="store_true", help="hold PyTorch to AVX2; Vista's program must be built so")
    runs.add_argument("--workers", type=int, default=2, help="workers of the loader")
    runs.add_argument("--queue", type=int, default=4096)
    return parser.parse_args()


def main():
    args = parse()
    args.vista = str(Path(args.vista).resolve())
    if not Path(args.vista).exists():
        sys.exit(f"no program at {args.vista}: cargo build --release, or give --vista")
    measure, unit = (step, "ms") if args.kind == "steps" else (run, "images/s")
    env = {**os.environ, "RAYON_NUM_THREADS": str(args.threads), **(AVX2 if args.avx2 else {})}
    try:
        version = output([args.python, "-c", "import torch; print(torch.__version__)"], env).strip()
        rows = []
        for test in args.tests:
            for count in range(args.rounds):
                for program in PROGRAMS:
                    value, memory = measure(args, env, program, test)
                    rows.append((test, program, count + 1, value, memory))
                    held = f", {memory:.0f} MiB" if memory else ""
                    print(f"{test} round {count + 1} {program}: {value:.2f} {unit}{held}", flush=True)
    except Failed as why:
        sys.exit(str(why))
    print(f"\n{processor()}, {args.threads} threads{', AVX2' * args.avx2}; PyTorch {version}; medians, {unit}")
    print(f"{'':20}" + "".join(f"{name:>22}" for name in (*PROGRAMS, "times as fast")))
    for test in args.tests:
        mine = [row for row in rows if row[0] == test]
        of = {name: median(value for _, n, _, value, _ in mine if n == name) for name in PROGRAMS}
        peers = (of[name] for name in PROGRAMS[1:])
        ratio = min(peers) / of["vista"] if unit == "ms" else of["vista"] / max(peers)
        print(f"{test:20}" + "".join(f"{value:22.2f}" for value in (*of.values(), ratio)))
        if all(row[4] for row in mine):
            held = [median(memory for _, n, _, _, memory in mine if n == name) for name in PROGRAMS]
            print(f"{'  MiB, share':20}" + "".join(f"{value:22.0f}" for value in held) + f"{held[0] / min(held[1:]):22.2f}")
    if args.csv:
        with open(args.csv, "x", newline="") as file:
            table = csv.writer(file)
            table.writerow(["processor", "threads", "avx2", "torch", "kind", "test", "program", "round", "value", "unit", "MiB"])
            for test, program, count, value, memory in rows:
                same = [processor(), args.threads, args.avx2, version, args.kind]
                table.writerow([*same, test, program, count, f"{value:.2f}", unit, f"{memory:.0f}" if memory else ""])


if __name__ == "__main__":
    main()
