"""Which runs a comparison makes, and which it takes over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stkd.core.config import DistillConfig
from stkd.core.errors import StkdError
from stkd.core.recipes import find_recipe, read_recipe, recipes
from stkd.studies.compare.grid import grid_of
from stkd.studies.compare.recipe import Comparison
from stkd.studies.compare.study import compare
from stkd.training.choice import SharedChoice


def configs(recipe: dict[str, Any], out: Path) -> dict[str, DistillConfig]:
    """Relative directory to config, of the students' runs."""
    found = grid_of(Comparison.of(recipe), out)
    runs = [t.config for cell in found.cells for t in cell.runs.values()]
    return {c.out.relative_to(out).as_posix(): c for c in runs if isinstance(c, DistillConfig)}


def test_layout_and_options(tiny: dict[str, Any], tmp_path: Path) -> None:
    found = configs({**tiny, "students": ["cnn2", "timm/resnet18"]}, tmp_path)
    assert sorted(found) == sorted(
        f"digits/{student}/{label}/seed-{seed}"
        for student in ("cnn2", "timm-resnet18")
        for label in ("ce", "kd", "stkd")
        for seed in (0, 1)
    )
    one = found["digits/timm-resnet18/stkd/seed-1"]
    assert (one.student, one.method, one.alpha, one.seed, one.epochs) == ("timm/resnet18", "stkd", 0.5, 1, 2)
    assert one.teacher_weights == tmp_path / "digits" / "teacher"
    assert found["digits/cnn2/ce/seed-0"].teacher_weights is None, "a method without a teacher has none to wait for"


def test_all_runs_of_a_student_share_their_engines(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Also where one method looks at features: then torch runs the teacher of all."""
    for methods, features in (("kd,stkd,ce", False), ("kd,at", True)):
        found = grid_of(Comparison.of({**tiny, "methods": methods, "students": ["cnn2", "cnn4"]}), tmp_path)
        for student in ("cnn2", "cnn4"):
            (shared,) = {t.engines for cell in found.cells if cell.student == student for t in cell.runs.values()}
            assert shared == SharedChoice(tmp_path / "digits" / student / "engines.json", features)
        assert found.teachers["digits"].engines is None


def test_teacher_keeps_off_the_validation_images(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["options"] |= {"val_fraction": 0.2, "split_seed": 3}
    config = grid_of(Comparison.of(tiny), tmp_path).teachers["digits"].config
    assert (config.val_fraction, config.split_seed, config.train_images) == (0.2, 3, None)


def test_a_comparison_of_an_earlier_version_keeps_its_batches(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Runs that are still to be made see them as those that are finished did."""
    begun = tmp_path / "digits" / "cnn2" / "kd" / "seed-0"
    begun.mkdir(parents=True)
    (begun / "config.yaml").write_text("epochs: 2\n")
    found = grid_of(Comparison.of(tiny), tmp_path)
    assert {task.config.drop_last for task in found.tasks()} == {True}
    assert {task.config.drop_last for task in grid_of(Comparison.of(tiny), tmp_path / "new").tasks()} == {False}
    tiny["options"] |= {"drop_last": False}
    assert configs(tiny, tmp_path)["digits/cnn2/kd/seed-1"].drop_last is False, "what was asked for stays"
    (begun / "config.yaml").write_text("[")
    assert grid_of(Comparison.of(tiny), tmp_path).cells


def test_students_that_start_trained_have_one_optimizer(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Whatever learning rate one method has, and that of an earlier version where it began the comparison."""
    tiny["options"] |= {"student_pretrained": True}
    tiny["methods"] = {"kd": "kd", "stkd": {"method": "stkd", "lr": 0.001}}
    found = configs({**tiny, "baseline": "kd"}, tmp_path)
    assert {(c.optimizer, c.weight_decay) for c in found.values()} == {("adamw", 0.05)}
    assert {c.lr for c in found.values()} == {0.0005, 0.001}
    begun = tmp_path / "digits" / "cnn2" / "kd" / "seed-0"
    begun.mkdir(parents=True)
    (begun / "config.yaml").write_text("epochs: 2\n")
    found = configs({**tiny, "baseline": "kd"}, tmp_path)
    assert {(c.optimizer, c.weight_decay) for c in found.values()} == {("sgd", 5e-4)}
    assert {c.lr for c in found.values()} == {None, 0.001}


def test_teachers_come_first_then_seed_by_seed(tiny: dict[str, Any], tmp_path: Path) -> None:
    tasks = list(grid_of(Comparison.of(tiny), tmp_path).tasks())
    assert tasks[0].config.out == tmp_path / "digits" / "teacher"
    assert [t.config.seed for t in tasks[1:]] == [0, 0, 0, 1, 1, 1]
    assert [t.after for t in tasks[1:4]] == [None, tasks[0].config.out, tasks[0].config.out]


def test_no_teacher_is_trained_where_none_is_needed(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert grid_of(Comparison.of({**tiny, "methods": ["ce", "mixup"], "baseline": "ce"}), tmp_path).teachers == {}


def test_mistakes_are_found_before_anything_runs(tiny: dict[str, Any], tmp_path: Path) -> None:
    for change, said in [
        ({"methods": ["kdd"], "baseline": "kdd"}, "unknown method 'kdd'"),
        ({"methods": {"kd": {"method": "kd", "alpha": 0.5}}}, "alpha set, but there are no virtual samples"),
        ({"options": {"epochs": 0}}, "epochs must be at least 1"),
        ({"teacher": None}, "method 'kd' needs a teacher; give --teacher-weights RUN, or in the recipe teacher:"),
    ]:
        with pytest.raises(StkdError, match=said):
            grid_of(Comparison.of({**tiny, **change}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", recipes("compare"))
def test_every_shipped_recipe_builds_valid_runs(name: str, tmp_path: Path) -> None:
    file = find_recipe(name, "compare")
    recipe = {"data": "cifar100:somewhere", **read_recipe(file)}
    found = grid_of(Comparison.of(recipe), tmp_path)
    assert len(list(found.tasks())) == 1 + len(found.cells) * len(found.comparison.seeds)
    assert file.read_text().startswith("# ")


def test_finished_runs_are_taken_over_even_if_they_were_moved(tiny: dict[str, Any], tmp_path: Path) -> None:
    compare(Comparison.of(tiny), tmp_path / "here", jobs=1)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert all(task.done for task in grid_of(Comparison.of(tiny), tmp_path / "there").tasks())


def test_finished_run_with_other_options_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny |= {"methods": {"alone": "ce"}, "baseline": "alone", "seeds": 1}
    compare(Comparison.of(tiny), tmp_path, jobs=1)
    tiny["methods"]["alone"] = "mixup"
    with pytest.raises(StkdError, match=r"seed-0 was started with method=ce, now method=mixup; .*another label"):
        grid_of(Comparison.of(tiny), tmp_path)
    (tmp_path / "digits" / "cnn2" / "alone" / "seed-0" / "config.yaml").unlink()
    with pytest.raises(StkdError, match=r"config\.yaml is missing;"):
        grid_of(Comparison.of(tiny), tmp_path)
