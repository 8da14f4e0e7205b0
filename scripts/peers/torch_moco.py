#!/usr/bin/env python3
"""MoCo-v2 in plain PyTorch, as people write it: `torch_moco.py PHOTOS [--backbone resnet50 --size 224 ..]`

The work of `vista pretrain --preset moco-v2-coco-r50` with the settings of `compare.py runs`: two views of each photo by
torchvision's transforms on Pillow's images, made by the loader's workers; an encoder, its moving average for the keys, a queue;
SGD. Batch norm sees the whole batch, so the keys need no shuffle. Prints images (not views) a second from the end of the
warm-up's last step to the end of the last step. Needs torch and torchvision.
"""
import argparse
import copy
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image, ImageFilter
from torch import nn
from torchvision import transforms

TAU, MOMENTUM = 0.2, 0.999


def blur(image):
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class Pairs(torch.utils.data.Dataset):
    """Two views of each photo."""

    def __init__(self, folder, size):
        endings = {".jpg", ".jpeg", ".png"}
        self.files = sorted(file for file in Path(folder).rglob("*") if file.suffix.lower() in endings)
        self.view = transforms.Compose([
            transforms.RandomResizedCrop(size, (0.2, 1.0)),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.Lambda(blur)], 0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with Image.open(self.files[i]) as file:
            photo = file.convert("RGB")
        return self.view(photo), self.view(photo)


def encoder(backbone):
    """A ResNet whose last layer is MoCo-v2's projector."""
    net = getattr(torchvision.models, backbone)()
    width = net.fc.in_features
    net.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128))
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--queue", type=int, default=4096)
    parser.add_argument("--warmup", type=int, default=5, help="steps before the clock starts")
    parser.add_argument("--steps", type=int, default=40, help="steps by the clock")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    query = encoder(args.backbone).to(memory_format=layout)
    key = copy.deepcopy(query).requires_grad_(False)
    queue = F.normalize(torch.randn(args.queue, 128), dim=1)
    optimizer = torch.optim.SGD(query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    loader = torch.utils.data.DataLoader(
        Pairs(args.photos, args.size), args.batch, shuffle=True, drop_last=True, num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )

    def endless():
        while len(loader) > 0:
            yield from loader
        raise SystemExit(f"{args.photos} has fewer than {args.batch} photos")

    place, started = 0, None
    for step, (first, second) in enumerate(endless(), 1):
        with torch.no_grad():
            for k, q in zip(key.parameters(), query.parameters()):
                k.mul_(MOMENTUM).add_(q, alpha=1 - MOMENTUM)
            keys = F.normalize(key(second.contiguous(memory_format=layout)), dim=1)
        z = F.normalize(query(first.contiguous(memory_format=layout)), dim=1)
        logits = torch.cat([(z * keys).sum(1, keepdim=True), z @ queue.T], 1) / TAU
        loss = F.cross_entropy(logits, torch.zeros(len(z), dtype=torch.long))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        slots = torch.arange(place, place + len(keys)) % args.queue
        queue[slots] = keys
        place = (place + len(keys)) % args.queue
        loss.item()  # a log wants it
        if step == args.warmup:
            started = time.perf_counter()
        if step == args.warmup + args.steps:
            break
    print(f"{args.steps * args.batch / (time.perf_counter() - started):.2f}")


if __name__ == "__main__":
    main()
