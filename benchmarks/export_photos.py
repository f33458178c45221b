"""A run and its exports on 50 photos as phones and tools write them: equal classes, and the largest difference.

    python benchmarks/export_photos.py --run RUN --photos DIR --result results/export_photos.json

The photos are made of those in DIR: up to 12 megapixels with grain, JPEGs in all eight orientations of EXIF,
progressive, grey and CMYK ones, PNGs with transparency, with a palette and with 16 bits, WebP and TIFF. Each is decoded
from its file. The exports are those in RUN/exports, and one more that takes whole pictures.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import write_result
from PIL import Image

from stkd.export import export_run, is_exported, predict_exported
from stkd.runs.environment import environment
from stkd.runs.exports import exports_folder
from stkd.runs.prediction import predict_images

COUNT = 50
SIZES = ((4032, 3024), (3000, 2000), (1600, 1200), (800, 600))


def make_photos(sources: Path, folder: Path) -> dict[str, str]:
    """Write the photos; for each its kind."""
    rng = np.random.default_rng(0)
    found = sorted(file for file in sources.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    kinds = {}
    for i, place in enumerate(np.linspace(0, len(found) - 1, COUNT).astype(int)):
        with Image.open(found[place]) as image:
            large = np.asarray(image.convert("RGB").resize(SIZES[i // 8 % 4], Image.Resampling.BICUBIC)).astype(
                np.int16
            )
        grain = rng.integers(-10, 11, large.shape, dtype=np.int16)
        photo = Image.fromarray((large + grain).clip(0, 255).astype(np.uint8))
        kind, file = _save(photo, folder / f"{i:02}", i)
        kinds[str(file)] = kind
    return kinds


def _save(photo: Image.Image, stem: Path, i: int) -> tuple[str, Path]:
    if i < 24:
        exif = Image.Exif()
        exif[0x0112] = i % 8 + 1
        photo.save(file := stem.with_suffix(".jpg"), quality=90, exif=exif)
        return f"JPEG, orientation {i % 8 + 1}", file
    jpeg, png = stem.with_suffix(".jpg"), stem.with_suffix(".png")
    match i % 8:
        case 0:
            photo.save(jpeg, quality=95, progressive=True, subsampling=0)
            return "JPEG, progressive, 4:4:4", jpeg
        case 1:
            photo.convert("L").save(jpeg, quality=90)
            return "JPEG, grey", jpeg
        case 2:
            photo.convert("CMYK").save(jpeg, quality=90)
            return "JPEG, CMYK", jpeg
        case 3:
            photo.putalpha(Image.linear_gradient("L").resize(photo.size))
            photo.save(png, compress_level=1)
            return "PNG, transparent", png
        case 4:
            photo.quantize(64).save(png)
            return "PNG, palette", png
        case 5:
            Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(png, compress_level=1)
            return "PNG, 16 bits, grey", png
        case 6:
            photo.save(file := stem.with_suffix(".webp"), quality=90)
            return "WebP", file
        case _:
            photo.save(file := stem.with_suffix(".tif"))
            return "TIFF", file


def main() -> None:
    """Make photos, let all answer, write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run directory")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        (photos := Path(folder) / "photos").mkdir()
        kinds = make_photos(args.photos, photos)
        rows = predict_images(args.run, kinds, top=1)
        role = next(name for name in ("student", "model") if name in rows[0])
        expected = [row[role][0] for row in rows]
        exports = {file.name: file for file in sorted(exports_folder(args.run).iterdir()) if is_exported(file)}
        copy = Path(shutil.copytree(args.run, Path(folder) / "run"))  # whose record of its ONNX file is overwritten
        whole = Path(folder) / "whole.onnx"
        exports["whole pictures"] = export_run(copy, "onnx", out=whole, whole_pictures=True).file
        found: dict[str, Any] = {}
        for name, file in exports.items():
            answers = [row["model"][0] for row in predict_exported(file, kinds, top=1)]
            pairs = list(zip(expected, answers, strict=True))
            equal = [one["class"] == other["class"] for one, other in pairs]
            off = [abs(one["probability"] - other["probability"]) for one, other in pairs]
            found[name] = {"equal_top1": sum(equal) / len(equal), "largest_difference_of_a_probability": max(off)}
            print(f"{name}: {sum(equal)} of {len(equal)} have the same class, the largest difference is {max(off):.1e}")
    kept = {name: value for name, value in environment().items() if name not in ("command", "gpu")}
    result = {"photos": len(kinds), "kinds": sorted(set(kinds.values())), "exports": found, "environment": kept}
    write_result(args.result, result)


if __name__ == "__main__":
    main()
