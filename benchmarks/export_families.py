"""Exported students of six families against PyTorch: the largest difference of a logit, and equal classes.

    python benchmarks/export_families.py --data folder:DIR --result results/export_families.json
    python benchmarks/export_families.py --data folder:DIR --to executorch litert --result results/export_families.json

Each student is trained for an epoch on few images, so that its batch normalisation has the statistics of real ones, and
shown up to 300 images of the test split by each format. Results of other formats and families in the file stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import read_result, write_result

import stkd
from stkd.core.plugins import load_plugin
from stkd.export import export_run
from stkd.runs.environment import environment

PLUGIN = """
from torch import nn

from stkd.models.registry import register


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Hardsigmoid())

    def forward(self, images):
        return images * self.gate(images)


@register("gated_cnn", "strided convolutions with group normalisation, gates over channels and hard-swish")
def gated_cnn(num_classes, in_channels):
    layers, width = [], in_channels
    for out in (16, 32, 64):
        layers += [nn.Conv2d(width, out, 3, 2, 1), nn.GroupNorm(4, out), nn.Hardswish(), Gate(out)]
        width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
"""

FAMILIES = {
    "CIFAR zoo": "resnet20",
    "timm CNN": "timm/mobilenetv3_small_050",
    "timm ViT": "timm/vit_tiny_patch16_224",
    "torchvision": "torchvision/shufflenet_v2_x0_5",
    "plug-in": "gated_cnn",
    "EfficientNet-Lite": "timm/efficientnet_lite0",
}
"""Names of families, and of their students."""

TRAINING = {"epochs": 1, "train_images": 100, "precision": "32", "accelerator": "cpu", "preflight": "off"}


def main() -> None:
    """Train, export, and write what was found after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="data set of photos, such as folder:DIR")
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--to", nargs="+", default=["onnx", "openvino", "torch-export"], help="formats")
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="[all]")
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    result = read_result(args.result) or {"families": {}}
    result |= {
        "size": args.size,
        "environment": {k: v for k, v in environment().items() if k not in ("command", "gpu")},
        "threads": torch.get_num_threads(),
    }
    with TemporaryDirectory() as folder:
        plugin = Path(folder) / "gated_cnn.py"
        plugin.write_text(PLUGIN)
        load_plugin(plugin)
        for family in args.family:
            model = FAMILIES[family]
            out = Path(folder) / family
            trained = stkd.train(model, args.data, out=out, image_size=args.size, batch_size=32, **TRAINING)
            found: dict[str, Any] = result["families"].setdefault(family, {"model": model, "formats": {}})
            for to in args.to:
                record = export_run(trained.out, to).record
                kept = ("runtime", "bytes", "images", "data", "agreement")
                found["formats"][to] = {name: record[name] for name in kept}
                difference, equal = (record["agreement"][name] for name in ("largest_difference", "equal_top1"))
                print(f"{family}: {to} differs by {difference:.1e}, {equal:.2%} have the same class", flush=True)
                write_result(args.result, result)


if __name__ == "__main__":
    main()
