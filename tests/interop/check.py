#!/usr/bin/env python3
"""Exports encoders, loads them into the real libraries, and compares features of real photos; then the other way.

    pip install torch torchvision timm onnx onnxruntime safetensors
    python tests/interop/check.py --vista target/release/vista --photos examples/photos/labelled

Both sides see the same normalised views (`vista embed --views`); then each printed program runs as it is printed, in a folder with a
`photo.jpg`. Prints a line for each library and network; exits with 1 where a feature differs by more than 1e-4 (of the printed programs by more than 3e-2: Pillow's resize and Vista's round a byte in six
to other sides, one apart).
detectron2 is checked where it can be imported: its ResNet needs none of its compiled operators.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import timm
import torch
import torchvision

BOUND = 1e-4
failed = []


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return result.stdout


def vista_features(vista, checkpoint, photos, folder):
    """Vista's features [N, C] and the views [N, 3, H, W] that they are of."""
    out = folder / "features.safetensors"
    run(vista, "embed", photos, "--checkpoint", checkpoint, "--out", out, "--views")
    arrays = safetensors.torch.load_file(out)
    return arrays["features"].numpy(), arrays["views"].permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def features(net, views, pooled=True):
    net.eval()
    y = torch.cat([net(batch) for batch in views.split(32)])
    return (y if pooled else y.mean(dim=(2, 3))).numpy()


def compare(what, ours, theirs, bound=BOUND):
    difference, size = np.abs(ours - theirs).max(), np.abs(ours).max()
    good = difference <= bound
    print(f"{'ok    ' if good else 'FAILED'} {what:46} {len(ours)} photos x {ours.shape[1]}: "
          f"at most {difference:.1e}, features up to {size:.2f}", flush=True)
    if not good or len(ours) == 0 or size == 0:
        failed.append(what)


def detectron2_resnet(depth):
    """detectron2's own ResNet, or None where detectron2 is not installed."""
    sys.modules.setdefault("detectron2._C", types.ModuleType("detectron2._C"))  # compiled operators, not used here
    try:
        import detectron2
        # The package around the backbones imports all detectors; the backbones alone are enough.
        package = types.ModuleType("detectron2.modeling")
        package.__path__ = [str(Path(detectron2.__file__).parent / "modeling")]
        sys.modules.setdefault("detectron2.modeling", package)
        from detectron2.config import get_cfg
        from detectron2.layers import ShapeSpec
        from detectron2.modeling.backbone.resnet import build_resnet_backbone
    except ImportError as error:
        print(f"       detectron2 is not checked: {error}")
        return None
    config = get_cfg()
    config.MODEL.RESNETS.DEPTH = depth
    config.MODEL.RESNETS.STRIDE_IN_1X1 = False
    config.MODEL.RESNETS.OUT_FEATURES = ["res5"]
    if depth < 50:
        config.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return build_resnet_backbone(config, ShapeSpec(channels=3))


def check_program(vista, checkpoint, photos, folder, name, export, bound=3e-2):
    """What `vista export` prints, run as it is, on some of the photos."""
    program = run(vista, "export", "--checkpoint", checkpoint, *export, "--out", folder / "program.safetensors")
    here, ours, theirs = Path.cwd(), [], []
    for photo in sorted(Path(photos).rglob("*.jpg"))[::20]:
        work = folder / "one"
        work.mkdir(exist_ok=True)
        (work / "photo.jpg").write_bytes(photo.read_bytes())
        ours.append(vista_features(vista, checkpoint, work, folder)[0])
        os.chdir(work)
        scope = {}
        exec(program, scope)
        os.chdir(here)
        theirs.append(np.asarray(scope["features"]))
    compare(f"printed {' '.join(export[1:])}, {name}", np.concatenate(ours), np.concatenate(theirs), bound)


def check_export(vista, checkpoint, photos, folder, name):
    ours, views = vista_features(vista, checkpoint, photos, folder)
    file = folder / "export"
    size = f"{name}, {views.shape[-1]} px"

    run(vista, "export", "--checkpoint", checkpoint, "--format", "onnx", "--out", file)
    onnx.checker.check_model(str(file), full_check=True)
    net = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    theirs = [net.run(["features", "map"], {"images": batch.numpy()}) for batch in views.split(32)]
    compare(f"export onnx, {size}", ours, np.concatenate([f for f, _ in theirs]))
    compare(f"export onnx, {size}, mean of map", ours, np.concatenate([m.mean(axis=(2, 3)) for _, m in theirs]))
    check_program(vista, checkpoint, photos, folder, size, ["--format", "onnx"])
    check_program(vista, checkpoint, photos, folder, size, ["--format", "onnx", "--with-transform"])
    if name not in ("resnet18", "resnet34", "resnet50"):
        return
    for format in ["torchvision", "timm"]:
        check_program(vista, checkpoint, photos, folder, size, ["--format", format])

    run(vista, "export", "--checkpoint", checkpoint, "--format", "torchvision", "--out", file)
    net = torchvision.models.get_model(name)
    net.fc = torch.nn.Identity()
    net.load_state_dict(safetensors.torch.load_file(file))
    compare(f"export torchvision, {size}", ours, features(net, views))

    file = folder / "export.safetensors"
    run(vista, "export", "--checkpoint", checkpoint, "--format", "timm", "--out", file)
    net = timm.create_model(name, num_classes=0, checkpoint_path=str(file))
    compare(f"export timm, {size}", ours, features(net, views))

    run(vista, "export", "--checkpoint", checkpoint, "--format", "detectron2", "--out", file)
    net = detectron2_resnet(int(name.removeprefix("resnet")))
    if net is not None:
        net.load_state_dict(safetensors.torch.load_file(file))
        compare(f"export detectron2, {size}", ours, features(res5(net), views, pooled=False))
        check_program(vista, checkpoint, photos, folder, size, ["--format", "detectron2"])


def res5(net):
    """The last map of a backbone of detectron2."""
    net.eval()
    wrapped = torch.nn.Module()
    wrapped.forward = lambda x: net(x)["res5"]
    return wrapped


def check_import(vista, photos, folder, name, convention):
    """A ResNet of torchvision, its statistics taken from real photos, through `vista import`."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name)
    if convention == "moco":
        width = net.fc.in_features
        net.fc = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 128))
    with torch.no_grad():
        net.train()(views_of(vista, photos, folder)[:64])
    state = dict(net.state_dict())
    if convention == "moco":
        other = torchvision.models.get_model(name).state_dict()
        state = {f"module.encoder_q.{k}": v for k, v in state.items()}
        state |= {f"module.encoder_k.{k}": v for k, v in other.items() if not k.startswith("fc")}
        state["module.queue"] = torch.randn(128, 256)
    if convention == "densecl":
        state = {f"backbone.{k}": v for k, v in state.items() if not k.startswith("fc")}
    file, checkpoint = folder / "theirs.safetensors", folder / "imported.safetensors"
    safetensors.torch.save_file(state, file)
    run(vista, "import", file, "--out", checkpoint, "--image-size", "96")
    ours, views = vista_features(vista, checkpoint, photos, folder)
    net.fc = torch.nn.Identity()
    compare(f"import {name}, {convention}'s names, 96 px", ours, features(net, views))


def views_of(vista, photos, folder):
    """Normalised views of 96 px, by any encoder."""
    return vista_features(vista, folder / "small.safetensors", photos, folder)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vista", default="target/release/vista")
    parser.add_argument("--photos", default="examples/photos/labelled")
    parser.add_argument("--checkpoint", action="append", default=[], help="also this one, as onnx")
    args = parser.parse_args()
    args.vista, args.photos = Path(args.vista).resolve(), Path(args.photos).resolve()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, "
          f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for checkpoint in args.checkpoint:
            check_export(args.vista, checkpoint, args.photos, folder, "another")
        for name, steps in [("resnet18", 40), ("resnet34", 2), ("resnet50", 10)]:
            run(args.vista, "pretrain", "--backbone", name, "--set", "model.width=64", "--set", "model.stem=imagenet",
                "--image-size", "96", "--batch", "8", "--views", "4", "--steps", steps, "--set", "eval.every_minutes=0",
                "--out", folder / name)
            checkpoint = folder / name / "checkpoint.safetensors"
            if name == "resnet18":
                (folder / "small.safetensors").write_bytes(checkpoint.read_bytes())
            check_export(args.vista, checkpoint, args.photos, folder, name)
        for name in ["resnet18", "resnet50"]:
            for convention in ["torchvision", "moco", "densecl"]:
                check_import(args.vista, args.photos, folder, name, convention)
    if failed:
        sys.exit(f"{len(failed)} comparisons failed")
    print("all agree")


if __name__ == "__main__":
    main()
