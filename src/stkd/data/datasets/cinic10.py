"""CINIC-10, from the published folder tree."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import StkdError
from ..base import DataSet, Part, Request, sources
from ..folder_layout import open_trees
from ..image_tree import list_images
from ..request_checks import fine_only, folder_of

FOLDER = "CINIC-10"
SIZE = 32
SPLITS: dict[Part, str] = {"train": "train", "val": "valid", "test": "test"}


@sources.register("cinic10", "270,000 colour images, 32 x 32, 10 classes", "arXiv 1810.03505")
def cinic10(path: Path | None, request: Request) -> DataSet:
    """The published train, valid and test folders of PNG files.

    Where one folder alone is there, as in a sample, a stratified train and test split is drawn from it; figures on such
    a split are not comparable with published ones. With train and valid alone, valid serves as test split.
    """
    fine_only("cinic10", request)
    root = folder_of("cinic10", path)
    if not _present(root) and (root / FOLDER).is_dir():
        root /= FOLDER
    present = _present(root)
    if not present:
        raise StkdError(f"cinic10: {root} has no train, valid or test folder; give the folder of the unpacked set")
    if "train" not in present:
        if len(present) > 1:
            raise StkdError(f"cinic10: {root} has valid and test but no train; unpack the published archive again")
        present = {"train": next(iter(present.values()))}
    trees = {part: list_images(root, name, skip_bad=request.skip_bad) for part, name in present.items()}
    return open_trees("cinic10", root, trees, request.image_size or SIZE, request)


def _present(root: Path) -> dict[Part, str]:
    return {part: name for part, name in SPLITS.items() if (root / name).is_dir()}
