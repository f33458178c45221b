"""Predictions as CSV: a row for each image, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

__all__ = ["as_csv"]


def as_csv(predictions: Sequence[dict[str, Any]]) -> bytes:
    """A row for each image: its path, each model's classes with their probabilities, and why it could not be read.

    Columns are image; student, student_probability, student_2, student_2_probability and so on (a model trained alone:
    model), the same of teacher; and error.

    Args:
        predictions: By `stkd.runs.prediction.predict_images`.

    Returns:
        UTF-8, file names with the bytes that they have on disk.
    """
    answered = next(prediction for prediction in predictions if "error" not in prediction)
    models = [name for name in answered if name != "image"]
    header = ["image"]
    for model in models:
        for rank in range(1, len(answered[model]) + 1):
            name = model if rank == 1 else f"{model}_{rank}"
            header += [name, f"{name}_probability"]
    text = io.StringIO()
    rows = csv.DictWriter(text, [*header, "error"], lineterminator="\n")
    rows.writeheader()
    for prediction in predictions:
        cells = [prediction["image"]]
        for model in models:
            for answer in prediction.get(model, ()):
                cells += [answer["class"], f"{answer['probability']:.6g}"]
        rows.writerow({**dict(zip(header, cells, strict=False)), "error": prediction.get("error", "")})
    return text.getvalue().encode("utf-8", "surrogateescape")
