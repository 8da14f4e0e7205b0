#!/usr/bin/env python3
"""Vista's detectors beside PyTorch: `mask_rcnn.py infer | detectron2 | step | bench`

infer CHECKPOINT RESULTS PHOTOS  what both find in a folder of photos, photo by photo, in float64. Vista's part:
                                 vista detect --checkpoint RUN --photos PHOTOS --results RESULTS
detectron2 CHECKPOINT RESULTS PHOTOS PROGRAM
                                 the same beside detectron2 itself, in float32, by the program that `vista export --checkpoint RUN
                                 --format detectron2` prints
step CHECKPOINT STEP             targets, losses and every gradient of one training step, in float64. Vista's part:
                                 cargo run --release --example detector_step -- CHECKPOINT STEP
bench mask_rcnn:BATCH,SHORTEST   milliseconds and the process's peak MiB of a training step of Mask R-CNN R50-FPN from random
bench mask_rcnn_photo:SHORTEST   parameters, proposals and targets included; or of finding a hundred objects in one photo

All but `bench` end with 1 if a figure is beyond its bound: boxes 1e-3 pixels, scores and shares of mask pixels 1e-3, losses 1e-4,
gradients 1e-3 of their norm. Needs torch, torchvision, Pillow and safetensors; the detector is detector.py's.
"""
import argparse
import contextlib
import json
import resource
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from detector import REGION_WEIGHTS, Detector, cropped, encode, mask_side, matched, targets
from PIL import Image, ImageOps
from safetensors import safe_open

# What `bench` times: the preset mask-rcnn-fpn-coco-90k.
PRESET = {
    "model": {
        "kind": "mask-rcnn-fpn", "backbone": "resnet50", "width": 64, "stem": "imagenet", "norm": "batch", "pyramid": 256,
        "convs": 256, "hidden": 1024, "sizes": [32, 64, 128, 256, 512], "ratios": [0.5, 1.0, 2.0], "canonical": 224.0,
    },
    "proposals": {"sampled": 256, "objects": 0.5, "before": [2000, 1000], "after": [1000, 1000], "overlap": 0.7},
    "regions": {"sampled": 512, "objects": 0.25, "score": 0.05, "overlap": 0.5, "most": 100},
}


def opened(checkpoint):
    """The detector of a checkpoint of Vista, in float64, its configuration and classes."""
    path = Path(checkpoint)
    path = path / "checkpoint.safetensors" if path.is_dir() else path
    with safe_open(path, "pt") as file:
        texts = file.metadata()
        config, classes = tomllib.loads(texts["config"]), json.loads(texts["classes"])
        net = Detector(config, len(classes["names"]))
        names = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
        unknown = [name for name in file.keys() if name not in names and not name.startswith("optimizer.")]
        if unknown:
            sys.exit(f"{path} has parameters that the detector has not: {', '.join(unknown)}")
        net.load_state_dict({name: file.get_tensor(name) for name in names}, strict=False)
    return net.double().eval(), config, classes


def scene(photo, config):
    """A photo as the detector sees it, [3, H, W]."""
    scenes, (width, height) = config["scenes"], photo.size
    shortest, longest = config["eval"]["shortest"], scenes["longest"]
    scale = shortest / min(height, width)
    sides = [shortest, scale * width] if height < width else [scale * height, shortest]
    shrunk = min(1.0, longest / max(sides))
    height, width = (max(int(side * shrunk + 0.5), 1) for side in sides)
    pixels = np.asarray(photo.resize((width, height), Image.BILINEAR), np.float64) / 255
    return torch.from_numpy(((pixels - scenes["mean"]) / scenes["std"]).transpose(2, 0, 1).copy())


def pixels(rle):
    """The mask [H, W] of a compressed run-length code of COCO."""
    runs, value, shift = [], 0, 0
    for byte in rle["counts"].encode():
        value |= (byte - 48 & 31) << shift
        shift += 5
        if not byte - 48 & 32:
            value -= (byte - 48 & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    height, width = rle["size"]
    return np.repeat(np.arange(len(runs)) % 2, runs).reshape(width, height).T.astype(bool)


def infer(args):
    net, config, classes = opened(args.checkpoint)
    return compared(args, classes["ids"], lambda _, photo: net.find(scene(photo, config), photo.size[::-1]))


def by_detectron2(args):
    """The printed program runs as it is, on the first photo; then its `find` on all."""
    _, _, classes = opened(args.checkpoint)
    text, scope, photo = Path(args.program).read_text(), {}, photos_in(args.photos)[0]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copy(photo, "photo.jpg")
        exec(text, scope)

    def find(file, _):
        found = scope["find"](str(file))
        masks = [mask for mask in found.pred_masks] if found.has("pred_masks") else None
        return found.pred_boxes.tensor, found.pred_classes, found.scores, masks

    return compared(args, classes["ids"], find)


def photos_in(folder):
    endings = {".jpg", ".jpeg", ".png"}
    return sorted(file.absolute() for file in Path(folder).rglob("*") if file.suffix.lower() in endings)


def compared(args, ids, find):
    """What `find` finds in a file and its photo beside Vista's results."""
    results = {}
    for found in json.loads(Path(args.results).read_text()):
        results.setdefault(str(found["image_id"]), []).append(found)
    files = photos_in(args.photos)
    counts, worst = [0, 0, 0], {"boxes": 0.0, "scores": 0.0, "mask pixels": 0.0}
    for file in files:
        with Image.open(file) as photo:
            photo = ImageOps.exif_transpose(photo).convert("RGB")
        boxes, labels, scores, masks = find(file, photo)
        name = file.relative_to(Path(args.photos).absolute()).as_posix()
        theirs = results.get(name, results.get(name.rsplit(".", 1)[0], []))
        free, alone = set(range(len(boxes))), 0
        for found in theirs:
            x, y, w, h = found["bbox"]
            box = boxes.new_tensor([x, y, x + w, y + h])
            far = lambda i: (boxes[i] - box).abs().max().item()
            mine = [i for i in free if ids[labels[i]] == found["category_id"]]
            best = min(mine, key=far, default=None)
            if best is None or far(best) > 1.0:
                print(f"{name}: only Vista finds {found['category_id']} {found['score']:.6f} at {box.tolist()}")
                alone += 1
                continue
            free.remove(best)
            worst["boxes"] = max(worst["boxes"], far(best))
            worst["scores"] = max(worst["scores"], abs(scores[best].item() - found["score"]))
            if masks:
                both = np.stack([masks[best].numpy(), pixels(found["segmentation"])])
                share = (both[0] != both[1]).sum() / max(both.any(0).sum(), 1)
                worst["mask pixels"] = max(worst["mask pixels"], share)
        for i in free:
            print(f"{name}: only PyTorch finds {ids[labels[i]]} {scores[i]:.6f} at {boxes[i].tolist()}")
        counts = [a + b for a, b in zip(counts, (len(theirs) - alone, alone, len(free)))]
    print(f"{len(files)} photos: {counts[0]} objects by both, {counts[1]} by Vista alone, {counts[2]} by PyTorch alone")
    print("largest differences: " + ", ".join(f"{name} {value:.2e}" for name, value in worst.items()))
    return not counts[0] or any(counts[1:]) or any(value > 1e-3 for value in worst.values())


def step(args):
    net, _, _ = opened(args.checkpoint)
    net.training_mode()
    with safe_open(args.step, "pt") as file:
        batch = {name: file.get_tensor(name).double() for name in file.keys()}
    for name in ("regions.classes", "regions.masked", "objects.classes"):
        batch[name] = batch[name].long()
    maps = net.maps(batch["images"].permute(0, 3, 1, 2))
    said = [net.proposal_generator["rpn_head"](map) for map in maps]
    failed = not all_fit(net, batch, net.anchors(maps), said)
    losses = net.losses(maps, said, batch)
    sum(losses.values()).backward()
    print(f"{'loss':10}{'Vista':>14}{'PyTorch':>14}{'difference':>12}")
    for name in ("rpn_class", "rpn_box", "class", "box", "mask"):
        own, peer = batch[f"loss.{name}"].item(), losses[name].item() if name in losses else 0.0
        failed |= not abs(own - peer) <= 1e-4 * max(1.0, abs(peer))
        print(f"{name:10}{own:14.8f}{peer:14.8f}{abs(own - peer):12.1e}")
    differ = []
    whole = sum(param.grad.square().sum() for param in net.parameters() if param.grad is not None).sqrt().item()
    for name, param in net.named_parameters():
        own, peer = (torch.zeros_like(param) if grad is None else grad for grad in (batch.get(f"gradient.{name}"), param.grad))
        own = own.permute(0, 3, 1, 2) if own.dim() == 4 and f"gradient.{name}" in batch else own
        # A bias before a batch norm, say, has no gradient but rounding.
        differ.append(((own - peer).norm().item() / max(peer.norm().item(), 1e-5 * whole), peer.norm().item(), name))
    differ.sort(reverse=True)
    failed |= not differ[0][0] <= 1e-3
    print(f"gradients of {len(differ)} parameters, of norm {whole:.6f}: largest differences relative to their norms")
    for share, norm, name in differ[:5]:
        print(f"  {share:.1e}  norm {norm:9.2e}  {name}")
    return failed


@torch.no_grad()
def all_fit(net, batch, anchors, said):
    """Whether Vista's targets are those that its objects ask for, and its regions among the proposals."""
    proposals = net.proposals(anchors, said, batch["sizes"].long().tolist(), True)
    anchors = torch.cat(anchors)
    wrong = dict.fromkeys(("anchors", "proposals", "classes", "mask pixels"), 0)
    far = dict.fromkeys(("anchors' deltas", "regions", "regions' deltas"), 0.0)
    regions, classes = batch["regions"], batch["regions.classes"]
    for image, proposed in enumerate(proposals):
        own = torch.nonzero(batch["objects"][:, 0] == image)[:, 0]
        objects = batch["objects"][own, 1:]
        of, stands = matched(anchors.float(), objects, 0.3, 0.7, True)
        drawn = batch["anchors.sampled"][image] == 1
        wrong["anchors"] += (stands != batch["anchors.objects"][image])[drawn].sum().item()
        positive = torch.nonzero(batch["anchors.objects"][image] == 1)[:, 0]
        deltas = batch["anchors.deltas"].view(len(proposals), -1, 4)[image, positive]
        if len(positive):
            off = (deltas - encode(anchors[positive], objects[of[positive]])).abs().max().item()
            far["anchors' deltas"] = max(far["anchors' deltas"], off)
        rows = torch.nonzero(regions[:, 0] == image)[:, 0]
        boxes = regions[rows, 1:]
        off = torch.cdist(boxes, torch.cat([proposed, objects]), p=torch.inf).min(1).values
        wrong["proposals"] += (off > 0.1).sum().item()
        far["regions"] = max(far["regions"], off[off <= 0.1].max().item())
        of, stands = matched(boxes, objects, 0.5, 0.5, False)
        shows = batch["objects.classes"][own][of] if len(own) else of
        asked = torch.where(stands == 1, shows, net.classes)
        wrong["classes"] += (asked != classes[rows]).sum().item()
        positive = torch.nonzero(asked < net.classes)[:, 0]
        if len(positive):
            deltas = batch["regions.deltas"].view(len(regions), -1, 4)[rows[positive], asked[positive]]
            off = (deltas - encode(boxes[positive], objects[of[positive]], REGION_WEIGHTS)).abs().max().item()
            far["regions' deltas"] = max(far["regions' deltas"], off)
        if net.has_masks and len(positive):
            masks = cropped(batch["objects.masks"], own[of[positive]], boxes[positive], mask_side(net))
            theirs = batch["regions.masks"].view(-1, *masks.shape[1:])[torch.isin(batch["regions.masked"], rows)]
            wrong["mask pixels"] += (masks != theirs).sum().item() if masks.shape == theirs.shape else masks.numel()
    of = {"anchors": int(batch["anchors.sampled"].sum()), "proposals": len(regions), "classes": len(regions)}
    of["mask pixels"] = batch["regions.masks"].numel()
    print("targets that differ: " + ", ".join(f"{name} {count} of {of[name]}" for name, count in wrong.items()))
    print("largest differences: " + ", ".join(f"{name} {value:.1e}" for name, value in far.items()))
    return not any(wrong.values()) and all(value <= 1e-3 for value in far.values())


def bench(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    kind, sizes = args.test.split(":")
    batch, shortest = map(int, sizes.split(",")) if kind == "mask_rcnn" else (1, int(sizes))
    height, width = shortest, shortest * 4 // 3
    net = Detector(PRESET, args.classes).to(memory_format=layout)
    images = torch.randn(batch, 3, height, width)
    if kind == "mask_rcnn_photo":
        net.eval()
        # As in Vista's: four classes are likelier, so that a hundred objects are found and have their masks made.
        with torch.no_grad():
            net.roi_heads["box_predictor"]["cls_score"].bias[:4] = 4.0
        run = lambda: net.find(images[0], (2 * height, 2 * width))
    else:
        images = F.pad(images, (0, -width % 32, 0, -height % 32)).to(memory_format=layout)
        objects = torch.cat([photo_of_objects(i, args.objects, height, width) for i in range(batch)])
        masks = torch.zeros(len(objects), height, width)
        for mask, (_, x0, y0, x1, y1) in zip(masks, objects.int().tolist()):
            mask[y0:y1, x0:x1] = 1.0
        classes = torch.randint(args.classes, (len(objects),))
        given = {"objects": objects, "objects.classes": classes, "objects.masks": masks}
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)
        net.training_mode()

        def run():
            optimizer.zero_grad(set_to_none=True)
            maps = net.maps(images)
            said = [net.proposal_generator["rpn_head"](map) for map in maps]
            anchors = net.anchors(maps)
            proposals = net.proposals(anchors, said, [(height, width)] * batch, True)
            sum(net.losses(maps, said, targets(net, anchors, proposals, given)).values()).backward()
            optimizer.step()

    times = []
    for _ in range(args.warmup + args.repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    median = 1000 * sorted(times[args.warmup :])[args.repeats // 2]
    print(f"{median:.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


def photo_of_objects(image, count, height, width):
    """Boxes [count, 5] of an image, of a fifth to three fifths of its sides."""
    size = (0.2 + 0.4 * torch.rand(count, 2)) * torch.tensor([width, height])
    corner = torch.rand(count, 2) * (torch.tensor([width, height]) - size)
    return torch.cat([torch.full((count, 1), float(image)), corner, corner + size], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, rest in (("infer", ("results", "photos")), ("detectron2", ("results", "photos", "program")), ("step", ("step",))):
        kind = kinds.add_parser(name)
        kind.add_argument("checkpoint", help="a run of `vista detect`, or a checkpoint in it")
        [kind.add_argument(argument) for argument in rest]
    kind = kinds.add_parser("bench")
    kind.add_argument("test", help="mask_rcnn:BATCH,SHORTEST or mask_rcnn_photo:SHORTEST")
    kind.add_argument("--classes", type=int, default=80)
    kind.add_argument("--objects", type=int, default=8, help="of a photo: 8")
    kind.add_argument("--warmup", type=int, default=2)
    kind.add_argument("--repeats", type=int, default=9)
    kind.add_argument("--threads", type=int, default=2)
    kind.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    if args.kind == "bench":
        return bench(args)
    sys.exit({"infer": infer, "detectron2": by_detectron2, "step": step}[args.kind](args))


if __name__ == "__main__":
    main()
