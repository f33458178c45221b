"""Photos of flowers: is STKD ahead of KD where a student is small, photos are few and the training is long?

    python benchmarks/study_photos.py --photos FOLDER --teacher hf/LITE2 --work runs/study_photos \\
                                      --result results/study_photos.json

Cell 2 of docs/protocol.md, with its claim. FOLDER has the photos, one folder a class; exact copies are left out. LITE2
is a folder with EfficientNet-Lite 2 and its ImageNet weights, as timm saves models for the hub. About twelve hours on
two cores; the same command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from common import by_seed, read_result, with_differences, write_result
from study import Unit, arguments, arm, compared, environment_entry, make, teacher_entry

import stkd
from stkd.evaluation import CORRUPTIONS, robustness
from stkd.runs.finished_run import open_run

STUDENT = "timm/mobilenetv3_small_050"
IMAGES: dict[str, Any] = {"image_size": 64, "val_fraction": 0.5}
TEACHER: dict[str, Any] = {"image_size": 64, "val_fraction": 0.1}
OPTIONS: dict[str, Any] = {
    **IMAGES,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "teacher_engine": "openvino",
    "compile": "all",  # as exact, in three quarters of the time
}
RATES = (0.001, 0.002, 0.004)
STRONG = "stkd-strong"
CLAIM = ("1000-300", STRONG)
SETTINGS = {  # photos, epochs, warm-up, seeds, arms
    "1000-300": (1000, 300, 5.0, range(5), ("kd", STRONG, "stkd", "stkd-cutmix", "kd-T8", "ce", "fm")),
    "250-1200": (250, 1200, 20.0, range(3), ("kd", STRONG, "stkd")),
    "1000-1000": (1000, 1000, 5.0, range(3), ("kd", STRONG)),
}
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    f"alpha{alpha:g}-until{until:g}-T{t}-{labels}": (
        f"stkd:temperature={t},labels={labels}",
        {"alpha": alpha, "mix_until": until},
    )
    for alpha, until, t, labels in product((1.0, 0.2), (1.0, 0.8), (4, 8), ("all", "real"))
    if (until, labels) != (1.0, "real")
}
"""Name of each candidate for stkd-strong: method and mixing."""
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "stkd-cutmix": ("stkd", {"mix": "cutmix"}),
    "kd-T8": ("kd:temperature=8", {}),
}
"""The same for other arms that are more than the name of a method."""


def without_copies(photos: Path, out: Path) -> Path:
    """A tree of the photos without exact copies; of copies in several classes none is taken."""
    copies: dict[str, list[Path]] = {}
    for file in sorted(photos.glob("*/*.jpg")):
        copies.setdefault(hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest(), []).append(file)
    for files in copies.values():
        copy = out / files[0].relative_to(photos)
        if len({file.parent for file in files}) == 1 and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[0], copy)
    return out


class Study:
    """The units of the cell; those of a stage need what the stages before have shown.

    Attributes:
        data: As `--data` takes it.
        units: Of the result file.
    """

    def __init__(self, data: str, units: Mapping[str, Any]) -> None:
        self.data, self.units = data, units

    def rates(self) -> list[Unit]:
        """KD at the learning rates, on validation photos."""
        students = {f"lr{rate:g}": {"student": STUDENT, "method": "kd", "lr": rate} for rate in RATES}
        return [self._unit("choose-kd-100", students, "1000-300", 100, {}, split="val")]

    def candidates(self, seed: int, names: Iterable[str]) -> list[Unit]:
        """Candidates for stkd-strong, those with the same virtual samples in one pass."""
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        mixes = {}
        for name in names:
            method, mix = CANDIDATES[name]
            group = f"choose-alpha{mix['alpha']:g}-until{mix['mix_until']:g}-{seed}"
            mixes[group] = mix
            groups.setdefault(group, {})[name] = {"student": STUDENT, "method": method, "lr": self.rate}
        return [self._unit(n, students, "1000-300", seed, mixes[n], split="val") for n, students in groups.items()]

    def arms(self, setting: str, names: Sequence[str] = ()) -> list[Unit]:
        """Units of the arms with these names, or of all arms of a setting: each arm with all seeds."""
        *_, seeds, arms = SETTINGS[setting]
        units = []
        for name in names or arms:
            method, mix = CANDIDATES[self.chosen] if name == STRONG else OTHERS.get(name, (name, {}))
            students = {name: {"student": STUDENT, "method": method, "lr": self.rate}}
            keep = setting == CLAIM[0] and name in ("kd", STRONG)
            units += [self._unit(f"{setting}-{name}-{seed}", students, setting, seed, mix, keep=keep) for seed in seeds]
        return units

    @property
    def rate(self) -> float:
        """The learning rate of all arms."""
        scores = self.units["choose-kd-100"]["students"]
        return max(RATES, key=lambda rate: scores[f"lr{rate:g}"]["top1"])

    @property
    def best_three(self) -> list[str]:
        """The candidates that are run with a second seed."""
        return sorted(CANDIDATES, key=lambda name: -self._of(name, "top1", (100,)))[:3]

    @property
    def chosen(self) -> str:
        """The candidate that stkd-strong is."""
        three, seeds = self.best_three, (100, 101)
        best = max(self._of(name, "top1", seeds) for name in three)
        near = [name for name in three if self._of(name, "top1", seeds) >= best - 0.005]
        return min(near, key=lambda name: self._of(name, "nll", seeds))

    def _of(self, name: str, score: str, seeds: tuple[int, ...]) -> float:
        mix = CANDIDATES[name][1]
        units = [self.units[f"choose-alpha{mix['alpha']:g}-until{mix['mix_until']:g}-{seed}"] for seed in seeds]
        return float(mean(unit["students"][name][score] for unit in units))

    def _unit(
        self,
        name: str,
        students: Any,
        setting: str,
        seed: int,
        mix: Mapping[str, Any],
        split: str = "test",
        keep: bool = False,
    ) -> Unit:
        photos, epochs, warmup, *_ = SETTINGS[setting]
        options = {"train_images": photos, "epochs": epochs, "warmup_epochs": warmup, "seed": seed}
        return Unit(name, students, self.data, {**OPTIONS, **options, **mix}, split, keep)


def cells(units: Mapping[str, Any]) -> dict[str, Any]:
    """The arms of each setting, compared with `kd`."""
    found = {}
    for setting, (*_, seeds, arms) in SETTINGS.items():
        keys = {name: [(seed, f"{setting}-{name}-{seed}", name) for seed in seeds] for name in arms}
        found[setting] = {name: scored for name in arms if (scored := arm(units, keys[name]))}
    return compared({name: arms for name, arms in found.items() if arms}, claim=CLAIM)


def corrupted(work: Path) -> dict[str, Any]:
    """The claim's arms on corrupted test photos: mean accuracy over corruptions and severities, and of each corruption.

    Args:
        work: Folder with their runs.
    """
    setting, arms = CLAIM[0], ("kd", STRONG)
    seeds = SETTINGS[setting][3]
    runs = {(name, seed): open_run(work / f"{setting}-{name}-{seed}" / name) for name in arms for seed in seeds}
    data = next(iter(runs.values())).data
    assert data.test is not None  # the data set always has one
    models = {f"{name} {seed}": run.model for (name, seed), run in runs.items()}
    found = robustness(models, data.test, data, device=torch.device("cpu"))
    entries = {}
    for name in arms:
        of_seeds = [found[f"{name} {seed}"] for seed in seeds]
        scores = {"mean_top1": [one["mean_top1"] for one in of_seeds]}
        scores |= {kind: [mean(one["top1"][kind]) for one in of_seeds] for kind in CORRUPTIONS}
        entries[name] = by_seed(list(seeds), scores)
    return with_differences(entries, "kd")


def main() -> None:
    """Fit the teacher's head, choose, run the arms, and compare them."""
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photos, one folder a class")
    parser.add_argument("--teacher", required=True, help="hf/FOLDER with EfficientNet-Lite 2 and its ImageNet weights")
    args = parser.parse_args()
    teacher, data = args.work / "teacher", f"folder:{without_copies(args.photos, args.work / 'photos').resolve()}"
    if not teacher.exists():
        stkd.probe(args.teacher, data, out=teacher, teacher_pretrained=True, teacher_size=64, **TEACHER)
    of_file = read_result(args.result)
    result: dict[str, Any] = {
        "what": "scores after the last epoch on 811 test photos; of units named 'choose' on 1,621 validation photos",
        "command": "python benchmarks/study_photos.py --photos FOLDER --teacher hf/LITE2 --work runs/study_photos"
        " --result results/study_photos.json",
        "protocol": {"student": STUDENT, "options": OPTIONS, "teacher": TEACHER, "candidates": list(CANDIDATES)},
        "environment": environment_entry(),
        "teacher": teacher_entry(teacher, data, **TEACHER),
        **{name: of_file[name] for name in ("units", "corrupted") if name in of_file},
    }
    result.setdefault("units", {})
    study = Study(data, result["units"])

    def stage(units: list[Unit]) -> None:
        study.units = make(units, teacher, args, {k: v for k, v in result.items() if k != "units"})["units"]
        result["units"], result["cells"] = study.units, cells(study.units)
        write_result(args.result, result)

    stage(study.rates())
    stage(study.candidates(100, CANDIDATES) + study.arms(CLAIM[0], ["kd"]))  # kd does not wait for the choice
    stage(study.candidates(101, study.best_three))
    result["protocol"] |= {"lr": study.rate, STRONG: study.chosen}
    stage(study.arms(CLAIM[0], [STRONG]))
    if "corrupted" not in result:
        result["corrupted"] = corrupted(args.work)
        write_result(args.result, result)
    for setting in SETTINGS:
        stage(study.arms(setting))


if __name__ == "__main__":
    main()
