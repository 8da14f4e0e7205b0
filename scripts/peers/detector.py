"""Vista's detectors in PyTorch, by torchvision's ResNet, RoIAlign and NMS: network, proposals, targets, losses, and what is found.

A configuration is the `config.toml` of a run of `vista detect`, as a dict. torchvision's own Mask R-CNN, with the same parameters, finds other
boxes: its RoIAlign lies half a pixel off and takes two samples a bin, its anchors are rounded, its box losses have a beta of 1/9.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import box_iou, clip_boxes_to_image, nms, roi_align

BACKBONES = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}
# Side and stride of the convolution, whether a pooling follows, and the stride of C2.
STEMS = {"imagenet": (7, 2, True, 4), "small": (3, 1, True, 2), "cifar": (3, 1, False, 1)}
REGION_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class Layer(nn.Conv2d):
    """A convolution of stride 1, with a batch norm or with a bias behind it."""

    def __init__(self, inputs, outputs, kernel, norm):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x):
        return self.norm(super().forward(x))


class Pyramid(nn.Module):
    def __init__(self, channels, width, norm):
        super().__init__()
        for level, inputs in enumerate(channels, 2):
            self.add_module(f"fpn_lateral{level}", Layer(inputs, width, 1, norm))
            self.add_module(f"fpn_output{level}", Layer(width, width, 3, norm))

    def forward(self, maps):
        """P2 to P6 of C2 to C5."""
        pyramid, above = [], 0
        for level in (5, 4, 3, 2):
            above = getattr(self, f"fpn_lateral{level}")(maps[level - 2]) + above
            pyramid.insert(0, getattr(self, f"fpn_output{level}")(above))
            above = F.interpolate(above, scale_factor=2.0, mode="nearest") if level > 2 else None
        return [*pyramid, pyramid[-1][:, :, ::2, ::2]]


class Proposer(nn.Module):
    """The region proposal network's head."""

    def __init__(self, channels, anchors):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, 4 * anchors, 1)
        for layer in self.children():
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        """Logits [N, A] and differences [N, A, 4] of a map's anchors, by row, column, anchor."""
        x = F.relu(self.conv(x))
        flat = lambda y, *each: y.permute(0, 2, 3, 1).reshape(len(y), -1, *each)
        return flat(self.objectness_logits(x)), flat(self.anchor_deltas(x), 4)


class BoxHead(nn.Module):
    def __init__(self, channels, width, outputs, norm):
        super().__init__()
        for i in range(4):
            self.add_module(f"conv{i + 1}", Layer(width if i else channels, width, 3, norm))
        self.fc1 = nn.Conv2d(width, outputs, 7)

    def forward(self, x):
        for i in range(4):
            x = F.relu(getattr(self, f"conv{i + 1}")(x))
        return F.relu(F.linear(x.flatten(1), self.fc1.weight.flatten(1), self.fc1.bias))


class MaskHead(nn.Module):
    def __init__(self, channels, width, classes, convs, norm):
        super().__init__()
        self.convs = convs
        for i in range(convs):
            self.add_module(f"mask_fcn{i + 1}", Layer(width if i else channels, width, 3, norm))
        self.deconv = nn.ConvTranspose2d(width if convs else channels, width, 2, 2)
        self.predictor = nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.predictor.weight, std=0.001)

    def forward(self, x):
        for i in range(self.convs):
            x = F.relu(getattr(self, f"mask_fcn{i + 1}")(x))
        return self.predictor(F.relu(self.deconv(x)))


class Detector(ResNet):
    """A detector of a configuration of Vista, its parameters named as in Vista's checkpoints: the backbone's stand in front."""

    def __init__(self, config, classes):
        model = config["model"]
        block, depths = BACKBONES[model["backbone"]]
        super().__init__(block, depths)
        del self.fc
        # Of any width, with any stem.
        self.inplanes = width = model["width"]
        kernel, stride, pool, first = STEMS[model["stem"]]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        for stage, depth in enumerate(depths):
            layer = self._make_layer(block, width << stage, depth, stride=2 if stage else 1)
            setattr(self, f"layer{stage + 1}", layer)
        self.config, self.classes = config, classes
        self.norms = model["norm"] == "batch"
        self.has_pyramid, self.has_masks = model["kind"].endswith("fpn"), model["kind"].startswith("mask")
        channels = [(width << stage) * block.expansion for stage in range(4)]
        pyramid, convs, hidden = (model[key] for key in ("pyramid", "convs", "hidden"))
        per_cell = len(model["ratios"]) * (1 if self.has_pyramid else len(model["sizes"]))
        read = pyramid if self.has_pyramid else channels[2]
        self.proposal_generator = nn.ModuleDict({"rpn_head": Proposer(read, per_cell)})
        heads = {}
        if self.has_pyramid:
            self.backbone = Pyramid(channels, pyramid, self.norms)
            heads["box_head"] = BoxHead(pyramid, convs, hidden, self.norms)
        elif self.norms:
            heads["res5"] = nn.ModuleDict({"norm": nn.BatchNorm2d(channels[3])})
        features = hidden if self.has_pyramid else channels[3]
        predictor = {"cls_score": nn.Linear(features, classes + 1), "bbox_pred": nn.Linear(features, 4 * classes)}
        for layer, std in zip(predictor.values(), (0.01, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        heads["box_predictor"] = nn.ModuleDict(predictor)
        if self.has_masks:
            inputs, layers = (pyramid, 4) if self.has_pyramid else (channels[3], 0)
            heads["mask_head"] = MaskHead(inputs, convs, classes, layers, self.norms and self.has_pyramid)
        self.roi_heads = nn.ModuleDict(heads)
        # Sizes of the anchors of each map, by its stride.
        sizes = model["sizes"]
        self.cells = [(first << i, [size]) for i, size in enumerate(sizes)] if self.has_pyramid else [(4 * first, sizes)]
        self.stride = (8 if self.has_pyramid else 4) * first

    def training_mode(self):
        """Batch norm by the batch's statistics, unless it is frozen."""
        return self.train(self.norms)

    def maps(self, images):
        x, maps = self.maxpool(F.relu(self.bn1(self.conv1(images)))), []
        for stage in (self.layer1, self.layer2, self.layer3) + (self.layer4,) * self.has_pyramid:
            x = stage(x)
            maps.append(x)
        return self.backbone(maps) if self.has_pyramid else [x]

    def anchors(self, maps):
        """Of each map its anchors [A, 4], centred at multiples of the stride, not rounded."""
        ratios, of_maps = torch.tensor(self.config["model"]["ratios"], dtype=torch.float64), []
        for (stride, sizes), map in zip(self.cells, maps):
            sizes = torch.tensor(sizes, dtype=torch.float64)[:, None]
            half = torch.stack([sizes / ratios.sqrt() / 2, sizes * ratios.sqrt() / 2], -1).reshape(-1, 2)
            y, x = (torch.arange(side, dtype=torch.float64) * stride for side in map.shape[2:])
            centres = torch.cartesian_prod(y, x).flip(1)[:, None]
            of_maps.append(torch.cat([centres - half, centres + half], -1).reshape(-1, 4).to(map.dtype))
        return of_maps

    def proposals(self, anchors, said, sizes, training):
        """Of each image the boxes worth a look, best first."""
        chosen = self.config["proposals"]
        before, after = (chosen[key][not training] for key in ("before", "after"))
        of_images = []
        for image, size in enumerate(sizes):
            boxes, scores = [], []
            for of_map, (logits, deltas) in zip(anchors, said):
                best = logits[image].detach().topk(min(before, len(of_map)))
                moved = clip_boxes_to_image(decode(of_map[best.indices], deltas[image][best.indices].detach()), size)
                large = (moved[:, 2:] > moved[:, :2]).all(1)
                moved, logit = moved[large], best.values[large]
                kept = nms(moved, logit, chosen["overlap"])
                boxes.append(moved[kept])
                scores.append(logit[kept])
            order = torch.cat(scores).sort(descending=True, stable=True).indices[:after]
            of_images.append(torch.cat(boxes)[order])
        return of_images

    def regions(self, maps, regions, bins):
        """[R, C, bins, bins] of regions [R, 5], each from the map of its size."""
        align = lambda i, rois: roi_align(maps[i], rois, bins, 1 / self.cells[i][0], 0, True)
        if not self.has_pyramid:
            return align(0, regions)
        sides = (regions[:, 3:] - regions[:, 1:3]).double().clamp(min=0)
        level = torch.floor(4 + torch.log2(sides.prod(1).sqrt() / self.config["model"]["canonical"] + 1e-8))
        level = level.clamp(2, 5).long() - 2
        out = maps[0].new_zeros(len(regions), maps[0].shape[1], bins, bins)
        for i in range(4):
            rows = torch.nonzero(level == i)[:, 0]
            out = out.index_put((rows,), align(i, regions[rows]))
        return out

    def boxes(self, maps, regions):
        """Logits [R, classes + 1], differences [R, classes, 4], and without a pyramid what masks are made of."""
        if self.has_pyramid:
            features, x = self.roi_heads["box_head"](self.regions(maps, regions, 7)), None
        else:
            x = self.res5(maps, regions)
            features = x.mean((2, 3))
        predictor = self.roi_heads["box_predictor"]
        return predictor["cls_score"](features), predictor["bbox_pred"](features).unflatten(1, (-1, 4)), x

    def res5(self, maps, regions):
        x = self.layer4(self.regions(maps, regions, 14))
        return self.roi_heads["res5"]["norm"](x) if self.norms else x

    def losses(self, maps, said, batch):
        """The five losses of a batch, of what targets there are."""
        logits = torch.cat([logits for logits, _ in said], 1)
        deltas = torch.cat([deltas for _, deltas in said], 1)
        divisor = len(logits) * self.config["proposals"]["sampled"]
        distance = lambda x, kind: ((x - batch[f"{kind}.deltas"].view_as(x)).abs() * batch[f"{kind}.counts"].view_as(x)).sum()
        rpn_class = F.binary_cross_entropy_with_logits(
            logits, batch["anchors.objects"], batch["anchors.sampled"], reduction="sum"
        )
        scores, moves, x = self.boxes(maps, batch["regions"])
        losses = {
            "rpn_class": rpn_class / divisor,
            "rpn_box": distance(deltas, "anchors") / divisor,
            "class": F.cross_entropy(scores, batch["regions.classes"]),
            "box": distance(moves, "regions") / len(scores),
        }
        masked = batch["regions.masked"]
        if self.has_masks and len(masked):
            x = self.regions(maps, batch["regions"][masked], 14) if x is None else x[masked]
            masks = self.roi_heads["mask_head"](x)[torch.arange(len(masked)), batch["regions.classes"][masked]]
            losses["mask"] = F.binary_cross_entropy_with_logits(masks, batch["regions.masks"].view_as(masks))
        return losses

    @torch.no_grad()
    def find(self, image, own):
        """Boxes, classes, scores and masks of the objects in an image [3, H, W], in the pixels of a photo of a height and a width."""
        size, chosen = image.shape[1:], self.config["regions"]
        padding = [(-side) % self.stride for side in size]
        maps = self.maps(F.pad(image, (0, padding[1], 0, padding[0]))[None])
        said = [self.proposal_generator["rpn_head"](map) for map in maps]
        proposals = self.proposals(self.anchors(maps), said, [size], False)[0]
        logits, deltas, _ = self.boxes(maps, F.pad(proposals, (1, 0)))
        scores = logits.softmax(1)[:, :-1]
        rows, classes = torch.nonzero(scores > chosen["score"], as_tuple=True)
        boxes = decode(proposals[rows], deltas[rows, classes], REGION_WEIGHTS)
        boxes, scores = clip_boxes_to_image(boxes, size), scores[rows, classes]
        kept = [torch.nonzero(classes == c)[:, 0] for c in classes.unique()]
        kept = torch.cat([of[nms(boxes[of], scores[of], chosen["overlap"])] for of in kept] or [rows])
        kept = kept[scores[kept].sort(descending=True, stable=True).indices[: chosen["most"]]]
        boxes, classes, scores = boxes[kept], classes[kept], scores[kept]
        masks = None
        scale = boxes.new_tensor([own[1] / size[1], own[0] / size[0]] * 2)
        if self.has_masks and len(kept):
            rois = F.pad(boxes, (1, 0))
            x = self.regions(maps, rois, 14) if self.has_pyramid else self.res5(maps, rois)
            masks = self.roi_heads["mask_head"](x)[torch.arange(len(kept)), classes].sigmoid()
            masks = [pasted(mask, box, own) for mask, box in zip(masks, boxes * scale)]
        return boxes * scale, classes, scores, masks


def encode(boxes, targets, weights=(1.0,) * 4):
    """How targets differ from boxes."""
    size, target = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centre = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    return torch.cat([centre / size, (target / size).log()], 1) * boxes.new_tensor(weights)


def decode(boxes, deltas, weights=(1.0,) * 4):
    deltas = deltas / boxes.new_tensor(weights)
    size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    centre = centre + deltas[:, :2] * size
    half = deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp() * size / 2
    return torch.cat([centre - half, centre + half], 1)


def pasted(mask, box, own):
    """Where in a photo of a height and a width a mask [m, m] over a box says that its object is."""
    (height, width), (x0, y0, x1, y1) = own, box.tolist()
    y = ((torch.arange(height, dtype=mask.dtype) + 0.5 - y0) / (y1 - y0)) * 2 - 1
    x = ((torch.arange(width, dtype=mask.dtype) + 0.5 - x0) / (x1 - x0)) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= 0.5


def matched(boxes, objects, low, high, closest):
    """Of each box the object that it overlaps with the most, and 1 if it stands for it, 0 for background, -1 if it is ignored."""
    if not len(objects):
        return torch.zeros(len(boxes), dtype=torch.long), torch.zeros(len(boxes))
    overlaps = box_iou(boxes.double(), objects.double())
    most, of = overlaps.max(1)
    stands = torch.where(most >= high, 1.0, torch.where(most < low, 0.0, -1.0))
    if closest:
        stands[(overlaps == overlaps.max(0).values).any(1)] = 1.0
    return of, stands


def cropped(masks, of, boxes, side):
    """Masks [F, side, side] of the objects `of` in their boxes."""
    rois = torch.cat([of[:, None].to(boxes.dtype), boxes], 1)
    return (roi_align(masks[:, None], rois, side, 1.0, 0, True)[:, 0] >= 0.5).to(boxes.dtype)


def mask_side(net):
    return 28 if net.has_pyramid else 14


def sampled(stands, count, share):
    """A balanced sample: rows that stand for an object, rows that don't."""
    draw = lambda rows, most: rows[torch.randperm(len(rows))[:most]]
    objects = draw(torch.nonzero(stands == 1)[:, 0], int(count * share))
    return objects, draw(torch.nonzero(stands == 0)[:, 0], count - len(objects))


@torch.no_grad()
def targets(net, anchors, proposals, batch):
    """What anchors and a sample of the proposals of a batch should say."""
    anchors, count = torch.cat(anchors), len(proposals)
    new = lambda *shape: anchors.new_zeros(count, len(anchors), *shape)
    out = {"anchors.objects": new(), "anchors.sampled": new(), "anchors.deltas": new(4), "anchors.counts": new(4)}
    regions, classes, deltas, counts, masks = [], [], [], [], []
    for image, proposed in enumerate(proposals):
        own = torch.nonzero(batch["objects"][:, 0] == image)[:, 0]
        objects = batch["objects"][own, 1:]
        of, stands = matched(anchors, objects, 0.3, 0.7, True)
        positive, negative = sampled(stands, *(net.config["proposals"][key] for key in ("sampled", "objects")))
        out["anchors.objects"][image, positive] = 1.0
        out["anchors.sampled"][image, torch.cat([positive, negative])] = 1.0
        out["anchors.deltas"][image, positive] = encode(anchors[positive], objects[of[positive]])
        out["anchors.counts"][image, positive] = 1.0
        proposed = torch.cat([proposed, objects])
        of, stands = matched(proposed, objects, 0.5, 0.5, False)
        positive, negative = sampled(stands, *(net.config["regions"][key] for key in ("sampled", "objects")))
        rows = torch.cat([positive, negative])
        regions.append(torch.cat([anchors.new_full((len(rows), 1), image), proposed[rows]], 1))
        class_of = batch["objects.classes"][own]
        classes.append(torch.cat([class_of[of[positive]], torch.full((len(negative),), net.classes)]))
        moves = anchors.new_zeros(len(rows), net.classes, 4)
        known = moves.clone()
        true = (torch.arange(len(positive)), class_of[of[positive]])
        moves[true] = encode(proposed[positive], objects[of[positive]], REGION_WEIGHTS)
        known[true] = 1.0
        deltas.append(moves)
        counts.append(known)
        masks.append(cropped(batch["objects.masks"], own[of[positive]], proposed[positive], mask_side(net)))
    names = ("regions", "regions.classes", "regions.deltas", "regions.counts", "regions.masks")
    out.update((name, torch.cat(parts)) for name, parts in zip(names, (regions, classes, deltas, counts, masks)))
    out["regions.masked"] = torch.nonzero(out["regions.classes"] < net.classes)[:, 0]
    return out
