"""The page of a comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import StkdError
from ..core.files import write_atomic
from ..runs.description import joined, percent
from ..runs.evaluation import kept_evaluation
from . import sections, stress
from .comparison_table import scores_table
from .evidence import Evidence, evidence_of
from .looks import Look, looks
from .page import Section, page
from .parts import code, details, facts, figure, grid, panel, paragraph
from .plots import curves, dots
from .record import RECORD, Panel, Row, panels_of, read_record
from .run import read_metrics
from .tradeoffs import tradeoffs

__all__ = ["RECORD", "write_comparison"]


def write_comparison(path: Path, title: str | None = None, story: str = "", again: str = "") -> Path:
    """Write the page of a comparison, `report.html` in its directory.

    Args:
        path: Directory that holds comparison.json and the runs.
        title: Of the page; None makes one from the record.
        story: What to say first, before what the record says.
        again: The command that repeats it; empty takes the record's.

    Returns:
        The page.

    Raises:
        StkdError: The record is missing or damaged, or nothing is finished in it.
    """
    target = path / "report.html"
    write_atomic(target, _Page(path, read_record(path)).html(title, story, again))
    return target


class _Page:
    """The record of a comparison and what was found in its runs."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record
        self.panels = panels_of(record)
        self.looks = looks(self._names())
        self.notes: list[str] = []
        self.found = [self._look(p) for p in self.panels]

    def _names(self) -> list[str]:
        """Methods in one order for the whole page; the student alone first, in grey."""
        alone = [p.alone.name for p in self.panels if p.alone is not None]
        return list(dict.fromkeys([*alone, self.record["baseline"], *(r.name for p in self.panels for r in p.rows)]))

    def _look(self, of: Panel) -> dict[str, Evidence]:
        found = {}
        teacher = self.record["teachers"].get(of.data)
        for row in of.looked_at():
            try:
                weights = self.path / teacher["path"] if teacher else None
                evidence = evidence_of(self.path / row.runs[0]["path"], weights)
            except StkdError as error:
                warnings.warn(f"the page shows no predictions of {row.name}, {of.name}: {error}", stacklevel=2)
                self.notes.append(f"No predictions of {row.name}, {of.name}: {error}.")
                continue
            if evidence is not None:
                found[row.name] = evidence
        return found

    def html(self, title: str | None, story: str, again: str) -> str:
        students, data = self._all("student"), self._all("data")
        title = title or f"Comparison on {joined(data)}: {joined(students)}"
        lead = paragraph(f"{story} {self._story()}".strip()) + "".join(paragraph(self._outcome(p)) for p in self.panels)
        lead += "".join(paragraph(note, soft=True) for note in self.notes)
        shown = [
            Section("table", "Table", [scores_table(self.record, self.panels, self.looks)]),
            Section("seeds", "Every seed", self._paneled(self._seeds)),
            Section("curves", "Curves", self._paneled(self._curves)),
            Section("cost", "Accuracy against cost", tradeoffs(self.record, self.panels, self.found, self.looks)),
            Section(
                "reliability", "Reliability", self._paneled(lambda i: sections.calibration(self.found[i], self.looks))
            ),
            Section("similarity", "Similarity of classes", self._paneled(lambda i: sections.similarity(self.found[i]))),
            Section("classes", "Class by class", self._paneled(self._changes)),
            Section("disagreement", "Where they disagree", self._paneled(self._examples(sections.disagreement))),
            Section("virtual", "Virtual samples", self._paneled(self._examples(sections.virtual))),
            Section("lambda", "Along lambda", self._paneled(self._along)),
            Section("robustness", "Corrupted images", self._paneled(self._stressed(stress.robustness))),
            Section("foreign", "Foreign images", self._paneled(self._stressed(stress.foreign))),
            Section("again", "Again", self._again(again)),
        ]
        return page(title, lead, shown, [p.name for p in self.panels])

    def _all(self, what: str) -> list[str]:
        return list(dict.fromkeys(getattr(p, what) for p in self.panels))

    def _paneled(self, make: Callable[[int], list[str]]) -> list[str]:
        parts = {i: make(i) for i in range(len(self.panels)) if self.panels[i].finished}
        if len(self.panels) == 1:
            return parts.get(0, [])
        return (
            [panel(i, *(p or [paragraph("Nothing to show here.")])) for i, p in parts.items()]
            if any(parts.values())
            else []
        )

    def _story(self) -> str:
        options = self.record["protocol"].get("options", {})
        runs = sum(len(row.runs) for p in self.panels for row in p.rows)
        failed = sum(len(row.cell["failed"]) for p in self.panels for row in p.rows)
        budget = [f"{options['epochs']} epochs"] if "epochs" in options else []
        budget += [f"batches of {options['batch_size']}"] if "batch_size" in options else []
        budget += [f"{options['train_images']:,} training images"] if options.get("train_images") else []
        same = f" All had the same budget ({', '.join(budget)})" if budget else " All had the same budget"
        return (
            f"{len(self.looks)} methods were compared on {joined(self._all('student'))} ({joined(self._all('data'))}), "
            f"in {runs} runs{f'; {failed} failed' if failed else ''}.{same}, the same augmentation, schedule and "
            "teacher, and start from the same weights for each seed; they differ in what they learn from. "
            "Scores are of the last epoch on the test images, mean ± standard deviation over seeds."
        )

    def _outcome(self, of: Panel) -> str:
        """The result in one sentence."""
        first = of.best()
        if first is None:
            return f"{of.name}: no run is finished."
        shown = any(
            (b["data"], b["student"], b["method"]) == (of.data, of.student, first.name) for b in self.record["best"]
        )
        said = (
            f"{of.name}: {first.name} {'is best' if shown else 'has the highest mean accuracy'}, {percent(first.top1)}"
        )
        seeds = len(first.runs)
        said += f" of test images right over {seeds} seed{'s' if seeds > 1 else ''}"
        paired = (first.cell["paired"] or {}).get("top1")
        if paired is not None:
            said += (
                f", {100 * paired['difference']:+.2f} points from {of.baseline} (95 % interval "
                f"{100 * paired['low']:+.2f} to {100 * paired['high']:+.2f} by Student's t, n = {paired['pairs']}; "
                f"p = {paired['p_corrected']:.2g} after correction for the number of comparisons)"
            )
        unsure = "" if shown or len(of.rows) == 1 else "; it is not shown to be better than every other method"
        return f"{said}{unsure}."

    def _top(self, of: Panel) -> float | None:
        teacher = self.record["teachers"].get(of.data)
        return float(teacher["test"]["top1"]) if teacher and teacher.get("test") else None

    def _seeds(self, i: int) -> list[str]:
        of = self.panels[i]
        values = {row.name: row.accuracies() for row in of.finished}
        caption = f"Test accuracy of every seed, {of.name}; diamonds are means, lines standard deviations."
        return [figure(dots(values, "test accuracy", self.looks, self._top(of)), caption)]

    def _curves(self, i: int) -> list[str]:
        of = self.panels[i]
        rows = of.drawn()
        metrics = {row.name: [read_metrics(self.path / run["path"]) for run in row.runs] for row in rows}
        few = f" {len(rows)} of {len(of.finished)} methods." if len(rows) < len(of.finished) else ""
        shown = (
            ("test_top1", "test accuracy", self._top(of)),
            ("test_nll", "test NLL (nats)", None),
            ("train_loss", "training loss", None),
        )
        parts = []
        for metric, label, top in shown:
            caption = f"{label[0].upper()}{label[1:]} by epoch, {of.name}; bands span the seeds.{few}"
            parts.append(figure(curves(metrics, metric, label, self.looks, top), caption))
        return [
            grid(*parts),
            paragraph(
                "Training losses are sums of different terms for different methods, so only their course compares.",
                soft=True,
            ),
        ]

    def _changes(self, i: int) -> list[str]:
        of, found = self.panels[i], self.found[i]
        before = of.alone or next((row for row in of.finished if row.name == of.baseline), None)
        if before is None or before.name not in found:
            return []
        parts = []
        for name, evidence in found.items():
            if name != before.name:
                parts += sections.changes(
                    evidence.classes, evidence.student, found[before.name].student, name, before.name
                )
        return [grid(*parts)] if parts else []

    def _examples(self, make: Callable[[Evidence, str], list[str]]) -> Callable[[int], list[str]]:
        def of_panel(i: int) -> list[str]:
            row = self.panels[i].main()
            return make(self.found[i][row.name], row.name) if row is not None and row.name in self.found[i] else []

        return of_panel

    def _along(self, i: int) -> list[str]:
        main = self.panels[i].main()
        return stress.along_lambda(self.found[i], self.looks, "" if main is None else main.name)

    def _stressed(self, make: Callable[[stress.Kept, Mapping[str, Look]], list[str]]) -> Callable[[int], list[str]]:
        def of_panel(i: int) -> list[str]:
            kept = {row.name: self._evaluation(row) for row in self.panels[i].finished}
            return make({name: found for name, found in kept.items() if found is not None}, self.looks)

        return of_panel

    def _evaluation(self, of: Row) -> dict[str, Any] | None:
        """Of the first seed that was evaluated."""
        found = (kept_evaluation(self.path / run["path"]) for run in of.runs)
        return next((kept for kept in found if kept is not None), None)

    def _again(self, again: str) -> list[str]:
        environment = self.record["environment"]
        protocol = yaml.safe_dump(self.record["protocol"], sort_keys=False, allow_unicode=True)
        flat = {**{k: v for k, v in environment.items() if k != "versions"}, **environment.get("versions", {})}
        return [
            paragraph("The command; finished runs are not made again."),
            code(again or environment.get("command", "stkd compare")),
            details("Protocol", code(protocol)),
            details(
                "Where it ran", facts("Versions and hardware.", {k: str(v) for k, v in flat.items() if v is not None})
            ),
            paragraph(
                "Each run's exact options are in its config.yaml, its versions and hardware in env.json.", soft=True
            ),
        ]
