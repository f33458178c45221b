"""Numbers about a model: accuracy, calibration, cost, robustness, similarity to its teacher; nothing reads a run."""

from __future__ import annotations

from .calibration import ReliabilityBin, calibration_error, fit_temperature, reliability, scale_by_halves
from .confusion import (
    class_accuracy,
    class_change,
    class_intervals,
    confusion_matrix,
    most_mistaken,
    share_interval,
)
from .corruptions import CORRUPTIONS, corrupt
from .cost import costs, latencies, latency, macs, parameters, peak_memory
from .ood import foreign_logits, ood_scores
from .predictions import logits_of, score, scores
from .robustness import robustness
from .similarity import class_similarity, correlation, most_similar_pairs, similarity_correlation
from .summary import evaluate
from .virtual import AlongLambda, along_lambda, draw_pairs

__all__ = [
    "CORRUPTIONS",
    "AlongLambda",
    "ReliabilityBin",
    "along_lambda",
    "calibration_error",
    "class_accuracy",
    "class_change",
    "class_intervals",
    "class_similarity",
    "confusion_matrix",
    "correlation",
    "corrupt",
    "costs",
    "draw_pairs",
    "evaluate",
    "fit_temperature",
    "foreign_logits",
    "latencies",
    "latency",
    "logits_of",
    "macs",
    "most_mistaken",
    "most_similar_pairs",
    "ood_scores",
    "parameters",
    "peak_memory",
    "reliability",
    "robustness",
    "scale_by_halves",
    "score",
    "scores",
    "share_interval",
    "similarity_correlation",
]
