"""The page of a comparison."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import StkdError
from ..core.files import write_atomic
from ..runs.description import joined, percent
from ..runs.directory import read_metrics
from ..runs.evaluation import current_evaluation, read_evaluation
from . import predictions, robustness
from .comparison_record import RECORD, Panel, panels_of, read_record
from .comparison_table import comparison_tables
from .costs import tradeoffs
from .page import Figure, Section, render
from .plots.curves import curves, dots
from .predictions import Evaluation, Evaluations, Values
from .styles import styles

__all__ = ["RECORD", "write_comparison"]

log = logging.getLogger(__name__)


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
    """The record of a comparison and the evaluations of its runs."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record
        self.panels = panels_of(record)
        self.styles = styles(self._methods())
        self.notes: list[str] = []
        self.evaluations = [self._evaluate(panel) for panel in self.panels]

    def _methods(self) -> list[str]:
        """Methods in one order for the whole page; the student alone first, in grey."""
        alone = [p.alone.name for p in self.panels if p.alone is not None]
        return list(dict.fromkeys([*alone, self.record["baseline"], *(r.name for p in self.panels for r in p.rows)]))

    def _evaluate(self, panel: Panel) -> Evaluations:
        """The few methods whose predictions are shown, by their first seed."""
        evaluations = {}
        for row in panel.evaluated():
            try:
                evaluations[row.name] = current_evaluation(
                    self.path / row.runs[0]["path"], teacher=self._teacher_weights(panel)
                )
            except StkdError as error:
                log.warning("the page shows no predictions of %s, %s: %s", row.name, panel.name, error)
                self.notes.append(f"No predictions of {row.name}, {panel.name}: {error}.")
        return evaluations

    def _teacher_weights(self, panel: Panel) -> Path | None:
        teacher = self.record["teachers"].get(panel.data)
        return self.path / teacher["path"] if teacher else None

    def html(self, title: str | None, story: str, again: str) -> str:
        students, data = self._all("student"), self._all("data")
        title = title or f"Comparison on {joined(data)}: {joined(students)}"
        lead = [f"{story} {self._story()}".strip(), *(self._outcome(panel) for panel in self.panels)]
        costs = tradeoffs(self.record, self.panels, self.evaluations, self.styles)
        sections = [
            Section("table", "Table", {0: {"tables": comparison_tables(self.record, self.panels, self.styles)}}),
            self._section("seeds", "Every seed", self._seeds),
            self._section("curves", "Curves", self._curves),
            Section("cost", "Accuracy against cost", {0: {"figures": costs} if costs else None}),
            self._section(
                "reliability",
                "Reliability",
                lambda panel, evaluations: predictions.calibration(evaluations, self.styles),
            ),
            self._section(
                "similarity",
                "Similarity of classes",
                lambda panel, evaluations: predictions.similarity(evaluations),
            ),
            self._section("classes", "Class by class", _classes),
            self._section("disagreement", "Where they disagree", _of_main(predictions.disagreement)),
            self._section("virtual", "Virtual samples", _of_main(predictions.virtual)),
            self._section("lambda", "Along lambda", self._transfer),
            self._section(
                "robustness",
                "Corrupted images",
                lambda panel, evaluations: robustness.robustness(self._all_evaluations(panel), self.styles),
            ),
            self._section(
                "foreign",
                "Foreign images",
                lambda panel, evaluations: robustness.foreign(self._all_evaluations(panel), self.styles),
            ),
            Section("again", "Again", {0: self._again(again)}),
        ]
        return render(title, lead, sections, self.notes, [panel.name for panel in self.panels])

    def _section(self, name: str, heading: str, make: Callable[[Panel, Evaluations], Values | None]) -> Section:
        """A section with a panel for each finished part of the comparison."""
        pairs = enumerate(zip(self.panels, self.evaluations, strict=True))
        return Section(name, heading, {i: make(panel, known) for i, (panel, known) in pairs if panel.finished})

    def _all(self, what: str) -> list[str]:
        return list(dict.fromkeys(getattr(p, what) for p in self.panels))

    def _story(self) -> str:
        options = self.record["protocol"].get("options", {})
        runs = sum(len(row.runs) for p in self.panels for row in p.rows)
        failed = sum(len(row.cell["failed"]) for p in self.panels for row in p.rows)
        budget = [f"{options['epochs']} epochs"] if "epochs" in options else []
        budget += [f"batches of {options['batch_size']}"] if "batch_size" in options else []
        budget += [f"{options['train_images']:,} training images"] if options.get("train_images") else []
        limits = f" ({', '.join(budget)})" if budget else ""
        students, data = joined(self._all("student")), joined(self._all("data"))
        return (
            f"{len(self.styles)} methods were compared on {students} ({data}), in {runs} runs"
            f"{f'; {failed} failed' if failed else ''}. All had the same budget"
            f"{limits}, the same augmentation, schedule and teacher, and start from "
            "the same weights for each seed; they differ in what they learn from. Scores are of the last epoch on the "
            "test images, mean ± standard deviation over seeds."
        )

    def _outcome(self, panel: Panel) -> str:
        """The result in one sentence."""
        first = panel.best()
        if first is None:
            return f"{panel.name}: no run is finished."
        shown = any(
            (b["data"], b["student"], b["method"]) == (panel.data, panel.student, first.name)
            for b in self.record["best"]
        )
        seeds = len(first.runs)
        outcome = (
            f"{panel.name}: {first.name} {'is best' if shown else 'has the highest mean accuracy'}, "
            f"{percent(first.top1)} of test images right over {seeds} seed{'s' if seeds > 1 else ''}"
        )
        paired = (first.cell["paired"] or {}).get("top1")
        if paired is not None:
            outcome += (
                f", {100 * paired['difference']:+.2f} points from {panel.baseline} (95 % interval "
                f"{100 * paired['low']:+.2f} to {100 * paired['high']:+.2f} by Student's t, n = {paired['pairs']}; "
                f"p = {paired['p_corrected']:.2g} after correction for the number of comparisons)"
            )
        unsure = "" if shown or len(panel.rows) == 1 else "; it is not shown to be better than every other method"
        return f"{outcome}{unsure}."

    def _teacher_top1(self, panel: Panel) -> float | None:
        teacher = self.record["teachers"].get(panel.data)
        return float(teacher["test"]["top1"]) if teacher and teacher.get("test") else None

    def _seeds(self, panel: Panel, _: Evaluations) -> Values:
        values = {row.name: row.accuracies() for row in panel.finished}
        caption = f"Test accuracy of every seed, {panel.name}; diamonds are means, lines standard deviations."
        return {"figure": Figure(dots(values, "test accuracy", self.styles, self._teacher_top1(panel)), caption)}

    def _curves(self, panel: Panel, _: Evaluations) -> Values:
        rows = panel.drawn()
        metrics = {row.name: [read_metrics(self.path / run["path"]) for run in row.runs] for row in rows}
        few = f" {len(rows)} of {len(panel.finished)} methods." if len(rows) < len(panel.finished) else ""
        figures = [
            Figure(
                curves(metrics, metric, label, self.styles, level),
                f"{label[0].upper()}{label[1:]} by epoch, {panel.name}; bands span the seeds.{few}",
            )
            for metric, label, level in (
                ("test_top1", "test accuracy", self._teacher_top1(panel)),
                ("test_nll", "test NLL (nats)", None),
                ("train_loss", "training loss", None),
            )
        ]
        return {"figures": figures, "methods_differ": True}

    def _transfer(self, panel: Panel, evaluations: Evaluations) -> Values | None:
        main = panel.main()
        return predictions.transfer(evaluations, self.styles, "" if main is None else main.name)

    def _all_evaluations(self, panel: Panel) -> Evaluations:
        """Of every method, of the first seed with robustness or foreign images."""
        evaluations = {}
        for row in panel.finished:
            for run in row.runs:
                try:
                    evaluation = read_evaluation(self.path / run["path"], teacher=self._teacher_weights(panel))
                except StkdError:
                    continue  # `_evaluate` has said why
                if {"robustness", "ood"} & evaluation.keys():
                    evaluations[row.name] = evaluation
                    break
        return evaluations

    def _again(self, again: str) -> Values:
        environment = self.record["environment"]
        protocol = yaml.safe_dump(self.record["protocol"], sort_keys=False, allow_unicode=True)
        flat = {**{k: v for k, v in environment.items() if k != "versions"}, **environment.get("versions", {})}
        return {
            "text": "The command; finished runs are not made again.",
            "command": again or environment.get("command", "stkd compare"),
            "files": {"Protocol": protocol},
            "where": "Where it ran",
            "environment": {k: str(v) for k, v in flat.items() if v is not None},
            "runs_have_more": True,
        }


def _classes(panel: Panel, evaluations: Evaluations) -> Values | None:
    before = panel.alone or next((row for row in panel.finished if row.name == panel.baseline), None)
    others: list[tuple[str, Evaluation]] = []
    if before is not None and before.name in evaluations:
        others = [(name, evaluation) for name, evaluation in evaluations.items() if name != before.name]
    main = panel.main() or panel.best()
    of_main = None if main is None else evaluations.get(main.name)
    compared = None if before is None else evaluations.get(before.name)
    return predictions.classes(of_main, main.name if main else "", others, compared, before.name if before else "")


def _of_main(
    make: Callable[[Evaluation, str], Values | None],
) -> Callable[[Panel, Evaluations], Values | None]:
    def of_panel(panel: Panel, evaluations: Evaluations) -> Values | None:
        row = panel.main()
        return make(evaluations[row.name], row.name) if row is not None and row.name in evaluations else None

    return of_panel
