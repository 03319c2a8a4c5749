"""Helpers of the tests of scores: predictions written, and scored by the rules of any set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vtscot.evaluation import Evaluation, Rules, evaluate, figures, open_predictions, read_truth, summarize
from vtscot.sources.base import Source
from vtscot.sources.mevis import MevisSource


def scores_of(
    root: Path, predictions: Path, rules: Rules, source: Source | None = None, workers: int = 1
) -> tuple[Evaluation, dict[str, Any]]:
    """Score predictions of a MeViS tree by any set's rules."""
    truth = read_truth(source or MevisSource(root, "train"), predictions.parent / "index")
    found = evaluate(truth, open_predictions(predictions), rules, predictions.parent, workers=workers)
    return found, figures(found, summarize(found))


def write_predictions(path: Path, predictions: Any) -> Path:
    text = {v: {e: {"prediction_masks": m} for e, m in of.items()} for v, of in predictions.items()}
    path.write_text(json.dumps(text))
    return path
