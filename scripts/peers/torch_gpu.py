#!/usr/bin/env python3
"""Times the work of `vista bench --test` in PyTorch on a CUDA device: `torch_gpu.py TEST ..`

One line a test and precision: name, fp32 or tf32, median milliseconds (CUDA events), GFLOP/s, peak MiB. The FLOPs are those
of `vista bench`: 2 for a multiply-add, a training step is three forward passes. Of the two memory layouts the faster counts.
"""
import sys

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """A residual block; `expansion` 1 is ResNet-18's, 4 is ResNet-50's."""

    def __init__(self, channels, width, stride, expansion):
        super().__init__()
        sizes = [(channels, width, 3, stride), (width, width, 3, 1)]
        if expansion == 4:
            sizes = [(channels, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
        layer = lambda i, o, k, s: nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o))
        self.layers = nn.ModuleList(layer(*size) for size in sizes)
        change = stride != 1 or channels != expansion * width
        self.shortcut = layer(channels, expansion * width, 1, stride) if change else nn.Identity()

    def forward(self, x):
        y = x
        for i, layer in enumerate(self.layers):
            y = layer(y)
            if i + 1 < len(self.layers):
                y = F.relu(y)
        return F.relu(y + self.shortcut(x))


def resnet(name):
    counts, expansion = {"resnet18": ((2, 2, 2, 2), 1), "resnet50": ((3, 4, 6, 3), 4)}[name]
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, count in enumerate(counts):
        for i in range(count):
            layers.append(Block(channels, 64 << stage, 2 if stage and not i else 1, expansion))
            channels = (64 << stage) * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def median(run, repeats=11, warmup=4):
    for _ in range(warmup):
        run()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[repeats // 2]


def prepare(name, sizes, layout):
    """What is run, and its multiply-adds."""
    if name == "matmul":
        m, k, n = sizes if len(sizes) == 3 else sizes * 3
        a, b = torch.randn(m, k, device="cuda"), torch.randn(k, n, device="cuda")
        return (lambda: a @ b), m * k * n
    if name in ("conv", "convb", "convw"):
        n, c, h, w, o, kernel, stride, padding = sizes
        x = torch.randn(n, c, h, w, device="cuda").to(memory_format=layout)
        weight = torch.randn(o, c, kernel, kernel, device="cuda").to(memory_format=layout)
        forward = lambda: F.conv2d(x, weight, None, stride, padding)
        y = forward()
        work = y.numel() * c * kernel * kernel
        if name == "conv":
            return forward, work
        x.requires_grad_(name == "convb")
        weight.requires_grad_()
        dy = torch.randn_like(y)
        inputs = [t for t in (x, weight) if t.requires_grad]
        return (lambda: torch.autograd.grad(forward(), inputs, dy)), (1 + len(inputs)) * work
    batch, size = sizes
    net = resnet(name).cuda().to(memory_format=layout)
    x = torch.randn(batch, 3, size, size, device="cuda").to(memory_format=layout)
    work = 0

    def count(layer, _, y):
        nonlocal work
        work += 3 * y.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    net(x)
    [hook.remove() for hook in hooks]
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        net(x).square().mean().backward()
        optimizer.step()

    return step, work


def main():
    torch.backends.cudnn.benchmark = True
    print(f"# torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for test in sys.argv[1:]:
        name, _, sizes = test.partition(":")
        sizes = [int(size) for size in sizes.split(",")]
        for precision in ("fp32", "tf32"):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
            torch.cuda.reset_peak_memory_stats()
            best = float("inf")
            for layout in (torch.contiguous_format, torch.channels_last)[: 1 if name == "matmul" else 2]:
                run, work = prepare(name, sizes, layout)
                best = min(best, median(run))
            peak = torch.cuda.max_memory_allocated() / 2**20
            print(f"{test} {precision} {best:.3f} {2 * work / best / 1e6:.1f} {peak:.0f}", flush=True)


if __name__ == "__main__":
    main()
