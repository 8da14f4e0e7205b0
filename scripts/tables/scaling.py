#!/usr/bin/env python3
"""What training in several ranks would gain, by a model: `scaling.py PLAN.json --tflops T --gbytes G`

PLAN.json is what a step asks of one GPU, by `vista bench --plan resnet50 --batch 32 --image-size 224 --json PLAN.json`. Each rank has that batch.

    compute    of each phase the longer of FLOPs / T and moved bytes / G
    gradient   read back and written over PCIe, and twice its bytes (R - 1) / R over the network: a slice to each rank, the sums from each
    keys       with --keys the views of the key encoder are dealt: read back, sent but for 1/R of them, written
    norms      with --norms so many batch norms reach over ranks: a round forward, four backward, each a latency and a read-back

All of that comes after the computation: nothing is overlapped. A step ends when the slowest rank does: each rank's time is drawn from a normal
distribution with --jitter, and the mean of 2,000 steps is taken. Prints the efficiency: the time of a rank alone over that.
"""
import argparse
import json
import random
from statistics import mean

STEPS = 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan")
    parser.add_argument("--tflops", type=float, required=True, help="that the GPU reaches in f32")
    parser.add_argument("--gbytes", type=float, required=True, help="GB/s of its memory")
    parser.add_argument("--parameters", type=float, default=25.6e6, help="of the network: a ResNet-50's 25.6e6")
    parser.add_argument("--keys", action="store_true", help="a method with a queue of keys, such as MLS")
    parser.add_argument("--norms", type=int, default=0, help="batch norms that reach over ranks: 53 of a ResNet-50, as in S2R2")
    parser.add_argument("--gbits", default="1,10,100", help="networks: 1,10,100 Gbit/s")
    parser.add_argument("--ranks", default="2,4,8,16,32,64")
    parser.add_argument("--pcie", type=float, default=12, help="GB/s between GPU and host: 12")
    parser.add_argument("--latency", type=float, default=50, help="microseconds of a message: 50")
    parser.add_argument("--readback", type=float, default=100, help="microseconds until a GPU's small result is on the host: 100")
    parser.add_argument("--jitter", type=float, default=0.03, help="standard deviation of a rank's step: 0.03 of it")
    args = parser.parse_args()
    plan = json.load(open(args.plan))["plan"]
    phases = plan["phases"]
    alone = sum(max(p["flops"] / (1e12 * args.tflops), p["moved_bytes"] / (1e9 * args.gbytes)) for p in phases)
    gradient = 4 * args.parameters
    views = 12 * plan["batch"] * plan["image_size"] ** 2 if args.keys else 0
    staged = 2 * (gradient + views) / (1e9 * args.pcie)
    rounds = 5 * args.norms
    small = 1e-6 * (rounds * args.latency + 3 * args.norms * args.readback)
    print(f"one rank: {1000 * alone:.0f} ms a step; gradient {gradient / 1e6:.0f} MB, views {views / 1e6:.0f} MB, {rounds} small rounds")
    ranks = [int(r) for r in args.ranks.split(",")]
    print("| Gbit/s |" + "".join(f" {r} ranks |" for r in ranks))
    print("|---|" + "---|" * len(ranks))
    draw = random.Random(0)
    for gbits in args.gbits.split(","):
        row = []
        for r in ranks:
            sent = (2 * gradient + views) * (r - 1) / r
            told = sent / (1.25e8 * float(gbits)) + staged + small
            steps = (max(draw.gauss(1, args.jitter) for _ in range(r)) for _ in range(STEPS))
            row.append(f" {alone / (mean(steps) * alone + told):.2f} |")
        print(f"| {gbits} |" + "".join(row))


if __name__ == "__main__":
    main()
