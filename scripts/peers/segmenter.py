#!/usr/bin/env python3
"""Vista's segmenters in plain PyTorch: `segmenter.py step CASE..` and `segmenter.py bench pspnet:BATCH,SIZE`

step CASE..                losses and gradients of golden steps (tests/conformance/ps[pa]*_step__*.safetensors), which Vista's tests run too,
                           in float64; ends with 1 where one is off by more than the case allows
bench pspnet:BATCH,SIZE    milliseconds and the process's peak MiB of a training step from random parameters: ResNet-50 with layer3 and
bench psanet:BATCH,SIZE    layer4 dilated, 19 classes, auxiliary loss, dropout, SGD with momentum

Needs torch, torchvision, numpy and safetensors (bench: only the first two).
"""
import argparse
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

AUXILIARY = 0.4


def layer(channels, width, kernel=1):
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class Backbone(nn.Module):
    """torchvision's ResNet-50 up to C4 and C5, of any width. In a dilated stage every 3x3 is dilated, its first block's too, where
    torchvision's `replace_stride_with_dilation` gives that one the dilation of the stage before."""

    def __init__(self, width):
        super().__init__()
        make = torchvision.models.ResNet
        net = make(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], replace_stride_with_dilation=[False, True, True])
        if width != 64:
            net = narrowed(net, width)
        for stage, dilation in ((net.layer3, 2), (net.layer4, 4)):
            for block in stage:
                block.conv2.dilation = block.conv2.padding = (dilation, dilation)
        del net.avgpool, net.fc
        self.net = net

    def forward(self, x):
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        c4 = net.layer3(net.layer2(net.layer1(x)))
        return c4, net.layer4(c4)


def narrowed(net, width):
    """The same network with `width` channels in place of 64, and so on."""
    shrink = lambda channels: channels if channels == 3 else channels * width // 64
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                more = dict(stride=child.stride, padding=child.padding, dilation=child.dilation, bias=False)
                conv = nn.Conv2d(shrink(child.in_channels), shrink(child.out_channels), child.kernel_size, **more)
                setattr(module, name, conv)
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.BatchNorm2d(shrink(child.num_features)))
    return net


class Pyramid(nn.Module):
    """PSPNet's."""

    def __init__(self, channels, bins=(1, 2, 3, 6)):
        super().__init__()
        self.bins = bins
        self.layers = nn.ModuleList(layer(channels, channels // len(bins)) for _ in bins)

    def forward(self, x):
        size = x.shape[2:]
        levels = [resized(layer(F.adaptive_avg_pool2d(x, bins)), size) for bins, layer in zip(self.bins, self.layers)]
        return torch.cat([x, *levels], 1)


class Branch(nn.Module):
    """A direction of PSANet's attention over `mask` offsets."""

    def __init__(self, channels, width, mask, collect):
        super().__init__()
        self.mask, self.collect = mask, collect
        self.reduce, self.hidden = layer(channels, width), layer(width, width)
        self.offsets = nn.Conv2d(width, mask[0] * mask[1], 1, bias=False)

    def weights(self, x):
        """[N, h w, h w]: rows are positions that get something, columns where it comes from; 0 outside of the mask."""
        n, _, h, w = x.shape
        rows, columns = (torch.arange(size, device=x.device) for size in (h, w))
        down = rows[None] - rows[:, None] + (self.mask[0] - 1) // 2  # [h, h]: of p's and q's rows
        across = columns[None] - columns[:, None] + (self.mask[1] - 1) // 2
        channel = down[:, None, :, None] * self.mask[1] + across[None, :, None, :]  # [h, w, h, w]: p, q
        inside = ((down >= 0) & (down < self.mask[0]))[:, None, :, None] & ((across >= 0) & (across < self.mask[1]))[None, :, None, :]
        given = x.flatten(2).transpose(1, 2)  # [N, h w, mask]
        index = torch.where(inside, channel, 0).view(1, h * w, h * w).expand(n, -1, -1)
        y = given.gather(2, index) * inside.view(1, h * w, h * w)
        return y if self.collect else y.transpose(1, 2)

    def forward(self, x, size):
        y = resized(self.reduce(x), size)
        weights = self.weights(self.offsets(self.hidden(y))).softmax(2)
        return weights @ y.flatten(2).transpose(1, 2)  # [N, h w, C]


class Attention(nn.Module):
    """PSANet's, at a size `shrink` times as small."""

    def __init__(self, channels, width, mask, shrink):
        super().__init__()
        self.shrink = shrink
        self.branches = nn.ModuleList(Branch(channels, width, mask, collect) for collect in (True, False))
        self.proj = layer(2 * width, channels)

    def forward(self, x):
        size = [(side - 1) // self.shrink + 1 for side in x.shape[2:]]
        both = torch.cat([branch(x, size) for branch in self.branches], 2).transpose(1, 2)
        y = self.proj(both.reshape(len(x), -1, *size))
        return torch.cat([x, resized(y, x.shape[2:])], 1)


class Classifier(nn.Module):
    def __init__(self, channels, width, classes, dropout):
        super().__init__()
        self.hidden, self.dropout = layer(channels, width, 3), nn.Dropout2d(dropout)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return self.out(self.dropout(self.hidden(x)))


class Segmenter(nn.Module):
    def __init__(self, context, classes, width=64, dropout=0.1):
        super().__init__()
        self.backbone, self.context = Backbone(width), context
        self.cls = Classifier(64 * width, 8 * width, classes, dropout)
        self.aux = Classifier(16 * width, 4 * width, classes, dropout)

    def losses(self, images, labels):
        """Of the classes, and of those said from layer3."""
        c4, c5 = self.backbone(images)
        loss = lambda cells: F.cross_entropy(resized(cells, images.shape[2:]), labels, ignore_index=255)
        return loss(self.cls(self.context(c5))), loss(self.aux(c4))


def parameters(listed):
    """A golden case's, by their formula (tests/conformance/README.md)."""
    import numpy as np

    with np.errstate(over="ignore"):
        for number, (_, shape, offset, scale) in enumerate(listed):
            golden, mix, last = (np.uint64(key) for key in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
            x = np.uint64(number + 1) * golden + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * mix
            x = (x ^ (x >> np.uint64(30))) * mix
            x = (x ^ (x >> np.uint64(27))) * last
            x = x ^ (x >> np.uint64(31))
            u = 2.0 * ((x >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1.0
            yield torch.from_numpy((offset + scale * u).astype(np.float32)).double().view(shape)


def step(args):
    failed = False
    for case in args.cases:
        failed |= not golden_step(case)
    return failed


def golden_step(case):
    from safetensors import safe_open

    with safe_open(case, "pt") as file:
        attrs, tolerances = (json.loads(file.metadata()[key]) for key in ("attrs", "tol"))
        golden = {name: file.get_tensor(name) for name in file.keys()}
    width = attrs["width"]
    if attrs["head"] == "psa":
        context = Attention(32 * width, 8 * width, [attrs["mask_h"], attrs["mask_w"]], attrs["shrink"])
    else:
        context = Pyramid(32 * width)
    net = Segmenter(context, attrs["classes"], width, attrs["dropout"]).double()
    # The cases list parameters in the order of these modules.
    own = list(net.parameters())
    for (name, *_), param, value in zip(attrs["parameters"], own, parameters(attrs["parameters"]), strict=True):
        assert param.shape == value.shape, f"{name} is {list(value.shape)}, here {list(param.shape)}"
        param.data.copy_(value)
    main, aux = net.losses(golden["in.x"].double(), golden["in.labels"].long())
    (main + AUXILIARY * aux).backward()
    found = {"out.loss_main": main, "out.loss_aux": aux, "out.loss": main + AUXILIARY * aux}
    found["out.grad_norms"] = torch.stack([param.grad.norm() for param in own])
    passed = True
    for name, value in found.items():
        relative, absolute = tolerances[name]
        over = ((value - golden[name]).abs() - absolute - relative * golden[name].abs()).max().item()
        largest = ((value - golden[name]).abs() / golden[name].abs().clamp_min(1e-12)).max().item()
        print(f"{case.rsplit('/', 1)[-1]} {name}: largest relative difference {largest:.1e}")
        passed &= over <= 0
    return passed


def bench(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    kind, sizes = args.test.split(":")
    batch, side = map(int, sizes.split(","))
    cells = ((side - 1) // 8 + 1 - 1) // 2 + 1
    context = Pyramid(2048) if kind == "pspnet" else Attention(2048, 512, [2 * cells - 1] * 2, 2)
    net = Segmenter(context, args.classes).to(memory_format=layout)
    images = torch.randn(batch, 3, side, side).to(memory_format=layout)
    labels = torch.randint(args.classes, (batch, side, side))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    times = []
    for _ in range(args.warmup + args.repeats):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        main, aux = net.losses(images, labels)
        (main + AUXILIARY * aux).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    median = 1000 * sorted(times[args.warmup :])[args.repeats // 2]
    print(f"{median:.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("step").add_argument("cases", nargs="+")
    kind = kinds.add_parser("bench")
    kind.add_argument("test", help="pspnet:BATCH,SIZE or psanet:BATCH,SIZE")
    kind.add_argument("--classes", type=int, default=19)
    kind.add_argument("--warmup", type=int, default=2)
    kind.add_argument("--repeats", type=int, default=9)
    kind.add_argument("--threads", type=int, default=2)
    kind.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    if args.kind == "bench":
        return bench(args)
    sys.exit(step(args))


if __name__ == "__main__":
    main()
