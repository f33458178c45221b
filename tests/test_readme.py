"""What README and docs claim is what the committed files say."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from stkd.cli.commands import commands
from stkd.core.options import Parser
from stkd.methods import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]


@pytest.fixture(autouse=True)
def _scripts_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do when one of them is run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def script(name: str) -> Any:
    """A file of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_result_files() -> None:
    tables = script("tables")
    found = set()
    for document in tables.DOCUMENTS:
        text = document.read_text()
        found |= set(tables.BLOCK.findall(text))
        assert tables.rendered(text) == text, document
    assert found


def test_intervals_are_those_of_the_values_in_the_result_files() -> None:
    """To the last digits but one, which depend on the machine; every file with an interval is looked at."""
    rules = script("intervals").RULES
    for file in (ROOT / "results").glob("*.json"):
        result = json.loads(file.read_text())
        assert (file.stem in rules) == ('"low"' in file.read_text()), file
        if file.stem in rules:
            now, before = flat(rules[file.stem](result)), flat(result)
            assert now.keys() == before.keys(), file
            for place, value in before.items():
                same = pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
                assert now[place] == same, (file, place)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested JSON as one level, so that numbers can be compared approximately."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, entry in entries for key, leaf in flat(entry, f"{path}/{name}").items()}
    return {path: value}


def test_speeds_of_peers_in_the_readme_are_those_of_the_file() -> None:
    beside = json.loads((ROOT / "results" / "peers.json").read_text())["stkd_to"]
    ours = {name: f"{found['median']:.1f} times" for name, found in beside.items()}
    said = f"{ours['torchdistill']} the images/s of torchdistill and {ours['RepDistiller']} those of RepDistiller"
    assert said in " ".join(README.split())


def test_picture_of_the_ablations_is_that_of_the_result_files() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    drawn = (ROOT / "docs" / "ablations.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in drawn:
        pytest.skip("drawn by another version of matplotlib")
    assert script("ablations").draw() == drawn, "run python benchmarks/ablations.py"


def test_picture_of_the_study_is_that_of_its_result_file() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    drawn = (ROOT / "docs" / "study.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in drawn:
        pytest.skip("drawn by another version of matplotlib")
    assert script("study_picture").draw() == drawn, "run python benchmarks/study_picture.py"


def test_results_say_which_files_were_made_from_uncommitted_changes() -> None:
    _, _, listed = (ROOT / "results" / "README.md").read_text().partition("## Made from uncommitted changes")
    dirty = {file.name for file in (ROOT / "results").glob("*.json") if '-dirty"' in file.read_text()}
    assert set(re.findall(r"`(\w+\.json)`", listed)) == dirty


def test_results_name_every_file() -> None:
    named = re.findall(r"^\| `([\w*]+\.json)`", (ROOT / "results" / "README.md").read_text(), re.MULTILINE)
    files = {file.name for pattern in named for file in (ROOT / "results").glob(pattern)}
    assert files == {file.name for file in (ROOT / "results").glob("*.json")}


def anchors(page: Path) -> set[str]:
    """What links into a page may name: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands_in(text: str) -> list[list[str]]:
    """Every line of a document's code that begins with `stkd`, its words; comments are left out."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("stkd ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_of_commands_exist(page: Path) -> None:
    for _, name, *words in commands_in(page.read_text()):
        parser = Parser()
        commands()[name].add_arguments(parser)
        known = {flag for action in parser._actions for flag in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known, (name, words)


def test_commands_are_found_in_documents() -> None:
    assert sum(len(commands_in(page.read_text())) for page in PAGES) > 20


def test_methods_named_exist() -> None:
    for spec in re.findall(r"^\| `([\w:=,.]+)` \|", README, re.MULTILINE):
        parse(spec)


def test_own_loop_runs() -> None:
    """The three lines for a loop of one's own, as the README has them."""
    code = re.search(r"## In your own training loop\n\n```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    import torch
    from torch.nn import functional as F

    import stkd

    names = {
        "stkd": stkd,
        "F": F,
        "images": torch.rand(8, 3, 16, 16),
        "labels": torch.randint(100, (8,)),
        "teacher": stkd.models.create("resnet8", num_classes=100),
        "student": stkd.models.create("resnet8", num_classes=100),
    }
    exec(code[1], names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    loss.backward()
