"""A fine-tuned model that ends below a probe of the features that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.config import DistillConfig, TrainConfig
from ..runs.description import percent
from ..runs.probe import is_probe, probe_command

__all__ = ["below_probe"]


def below_probe(
    config: TrainConfig | DistillConfig, probe: Mapping[str, Any] | None, row: Mapping[str, Any]
) -> str | None:
    """A line for a model that was right more often before it was trained, with a head fitted on its features.

    Args:
        config: Options of the run.
        probe: What the preflight found of the probe: split, images, top1; None where there was none.
        row: Metrics of the last epoch.

    Returns:
        How much was lost and what to do; None where nothing was.
    """
    if probe is None or isinstance(config, DistillConfig) or row[f"{probe['split']}_top1"] >= probe["top1"]:
        return None
    words = {"val": "validation", "test": "test"}[probe["split"]]
    before = f"the probe that it began as is right on {percent(probe['top1'], 1)}, and is the better teacher"
    mend = "a smaller --lr or --freeze 1 keeps more of it"
    if config.weights is None or not is_probe(config.weights):
        before = f"a head fitted on the features that it began with is right on {percent(probe['top1'], 1)}"
        mend = f"{probe_command(config)} makes that teacher, and a start for this one (--weights DIR)"
    return (
        f"the fine-tuned model is right on {percent(row[probe['split'] + '_top1'], 1)} of {probe['images']:,} {words} "
        f"images, {before}; {mend}"
    )
