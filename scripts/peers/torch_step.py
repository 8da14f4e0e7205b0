#!/usr/bin/env python3
"""Times `vista bench --device cpu --test resnet18:32,96` in PyTorch on the CPU: `torch_step.py resnet18:32,96 [--channels-last]`

Forward, mean of squares of the pooled features, backward, SGD with momentum. Prints the median of a step's milliseconds, and the most MiB of the process.
"""
import argparse
import resource
import time

import torch
from torch_gpu import resnet


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("test", help="NAME:BATCH,SIZE")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    name, sizes = args.test.split(":")
    batch, size = map(int, sizes.split(","))
    net = resnet(name).to(memory_format=layout)
    x = torch.randn(batch, 3, size, size).to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    times = []
    for _ in range(args.warmup + args.repeats):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        net(x).square().mean().backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{1000 * sorted(times[args.warmup:])[args.repeats // 2]:.2f} {peak:.0f}")


if __name__ == "__main__":
    main()
