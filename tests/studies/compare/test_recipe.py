"""Recipes of comparisons: short forms, the equal budget, one line for each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from stkd.core.errors import StkdError
from stkd.core.recipes import find_recipe, read_recipe
from stkd.studies.compare.recipe import Comparison, items


def test_long_and_short_forms_say_the_same(tiny: dict[str, Any]) -> None:
    long = Comparison.of({**tiny, "methods": {"kd": {"method": "kd"}, "stkd-beta=2": {"method": "stkd:beta=2"}}})
    for short in ({"kd": "kd", "stkd-beta=2": "stkd:beta=2"}, ["kd", "stkd:beta=2"], "kd,stkd:beta=2"):
        assert Comparison.of({**tiny, "methods": short}) == long
    assert Comparison.of({**tiny, "seeds": 2}) == Comparison.of(tiny)
    assert Comparison.of({**tiny, "students": "cnn2"}) == Comparison.of(tiny)


def test_commas_of_options_stay_with_their_method() -> None:
    assert items("kd,stkd:beta=2,weight=0.5,ce", "methods") == ["kd", "stkd:beta=2,weight=0.5", "ce"]


def test_baseline_is_kd_or_else_the_first_method(tiny: dict[str, Any]) -> None:
    del tiny["baseline"]
    assert Comparison.of(tiny).baseline == "kd"
    assert Comparison.of({**tiny, "methods": ["mixup", "stkd"]}).baseline == "mixup"


def test_data_sets_have_short_names(tiny: dict[str, Any]) -> None:
    named = Comparison.of({**tiny, "data": ["cifar100:/somewhere", "folder:/pictures/flowers", "digits"]}).data
    assert named == {"cifar100": "cifar100:/somewhere", "flowers": "folder:/pictures/flowers", "digits": "digits"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *[
            ({"methods": {"kd": {"method": "kd", option: value}}}, f"method 'kd' sets {option}; the budget is the same")
            for option, value in [
                ("epochs", 3),
                ("augment", "none"),
                ("schedule", "constant"),
                ("batch_size", 8),
                ("teacher_weights", "run"),
                ("train_images", 10),
            ]
        ],
        ({"methods": {"kd": {"method": "kd", "seed": 3}}}, "unknown option of method 'kd' 'seed'"),
        ({"methods": {"kd": {"weight": 1}}}, "method 'kd' has no method; write kd: {method: NAME}"),
        ({"methods": {"kd": {"method": "kd", "alpha": "much"}}}, "--alpha must be a number"),
        ({"methods": {"kd": 3}}, "method 'kd' must be lines of 'option: value', got 3"),
        ({"methods": 3}, "methods must be lines of 'label: {method: NAME}', or a list of names, got 3"),
        ({"methods": ["kd", "kd"]}, "methods: kd is given twice"),
        ({"methods": {"../kd": "kd"}, "baseline": "../kd"}, "'../kd' cannot be the name of a directory"),
        ({"methods": None}, "nothing to compare: give --methods, or methods in the recipe"),
        ({"options": {"alpha": 1.0}}, "options: alpha belongs to a method"),
        ({"options": {"seed": 1}}, "options: seed cannot be given here; a comparison sets it for each run"),
        ({"options": {"devices": 2}}, "options: devices cannot be given here"),
        ({"options": {"epochs": "many"}}, "--epochs must be a whole number, got many"),
        ({"options": {"epoch": 3}}, "unknown option 'epoch'"),
        ({"options": {"teacher_weights": "run"}}, "the recipe trains a teacher, and teacher_weights names another"),
        ({"teacher": {"epochs": 3}}, "the teacher of the recipe has no model"),
        ({"teacher": {"model": "cnn4", "out": "there"}}, "teacher: out cannot be given here"),
        ({"baseline": "kdd"}, "unknown baseline 'kdd'; did you mean"),
        ({"seeds": []}, "seeds must be how many, or a list such as"),
        ({"seeds": [0, 0]}, "seeds must differ, got"),
        ({"seeds": [0, "x"]}, "seeds must be how many"),
        ({"seeds": 10**9}, "seeds must be at most 1000, got 1,000,000,000"),
        ({"seeds": [2**63]}, "each of the seeds must be at most"),
        ({"students": [".."]}, "'..' is no name of a model"),
        ({"students": ["../x"]}, "'../x' is no name of a model"),
        ({"students": ["n" * 4000]}, "is no name of a model, and cannot be that of a directory"),
        ({"data": ["n" * 4000]}, "cannot be the name of a directory"),
        ({"students": ["teacher"]}, "a student cannot be called 'teacher'"),
        ({"data": ["digits", "digits:there"]}, "digits and digits:there would both be called digits"),
        ({"epochs": 3}, "epochs is an option of every run; put it under options"),
        ({"alpha": 3}, "alpha belongs to a method; put it into the method's entry"),
        ({"student": "cnn2"}, "unknown key 'student'; did you mean students?"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(change: dict[str, Any], said: str, tiny: dict[str, Any]) -> None:
    with pytest.raises(StkdError) as told:
        Comparison.of({**tiny, **change})
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def shipped(name: str) -> Comparison:
    return Comparison.of({"data": "cifar100:somewhere", **read_recipe(find_recipe(name, "compare"))})


def test_ablations_are_in_the_setting_of_the_demo() -> None:
    from stkd.studies import demo

    ablations, shown = shipped("ablations"), Comparison.of(demo._RECIPE)
    own = {"eval_every": 300, "checkpoint_epochs": 300}
    assert ablations.options == {**shown.options, **own}
    assert (ablations.teacher, ablations.students, ablations.baseline) == (shown.teacher, shown.students, "stkd")
    assert len({str(options) for options in ablations.methods.values()}) == len(ablations.methods)


def test_digits_recipe_has_the_setting_of_the_demo() -> None:
    from stkd.studies import demo

    digits, shown = shipped("digits"), Comparison.of(demo._RECIPE)
    assert digits.options == shown.options
    assert digits.teacher == shown.teacher
    assert (len(digits.methods), len(digits.students), len(digits.seeds)) == (5, 2, 5)
    assert set(shown.students) <= set(digits.students)
