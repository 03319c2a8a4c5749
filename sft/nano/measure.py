"""What a policy in training can already do on videos it is not trained on: the table, greedily, and what follows.

The decisions of the table are made one after the other, each on what was decided before; the text between them is
given. So the figures are those of a policy that writes the form without a slip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vtscot.sft.nano.batch import Batch, collate
from vtscot.sft.nano.model import Warmup
from vtscot.sft.nano.tasks import Example


@torch.no_grad()  # type: ignore[untyped-decorator]
def measure(warm: Warmup, examples: Sequence[Example], processor: Any, chunk: int = 6) -> dict[str, float]:
    """Figures over all answers of the examples (first observations)."""
    yes, no = (processor.tokenizer.encode(word)[0] for word in (" yes", " no"))
    rows: list[dict[str, Any]] = []
    warm.eval()
    for start in range(0, len(examples), chunk):
        batch = collate(examples[start : start + chunk], processor, False)
        rows += _rows(warm, batch, yes, no)
    warm.train()
    return summary(rows)


def _rows(warm: Warmup, batch: Batch, yes: int, no: int) -> list[dict[str, Any]]:
    answers = [a for e in batch.examples for a in e.answers]
    frames = [e.frames[:-1] for e in batch.examples for _ in e.answers]
    places = [[i for i, name in enumerate(names) if name == "seen"] for names in batch.names]
    full = batch.tails
    logits = _logits(warm, batch)
    rows = [
        {
            "kind": a.query.kind,
            "truth": a.seen,
            "frames": f,
            "scores": [],
            "length": e.clip.num_frames,
            "visible": _visible(e, a),
        }
        for (a, f), e in zip(
            zip(answers, frames, strict=True), [e for e in batch.examples for _ in e.answers], strict=True
        )
    ]
    for r, names in enumerate(batch.names):
        for name in ("here", "across", "down", "window", "lead"):
            at = [i for i, n in enumerate(names) if n == name]
            rows[r][name] = [int(logits[r, i - 1].argmax()) == int(full[r, i]) for i in at]
    cut = max(max(p) for p in places) + 1
    batch.tails = batch.read = full[:, :cut].clone()
    batch.tail_keep, batch.tail_positions = batch.tail_keep[:, :cut], batch.tail_positions[:, :, :cut]
    for step in range(max(map(len, places))):
        logits = _logits(warm, batch)
        for r, place in enumerate(places):
            if step < len(place):
                i = place[step]
                score = float(logits[r, i - 1, yes] - logits[r, i - 1, no])
                rows[r]["scores"].append(score)
                batch.tails[r, i] = yes if score > 0 else no
    return rows


def _visible(example: Example, answer: Any) -> np.ndarray[Any, Any]:
    targets = list(answer.query.targets)
    seen = example.clip.array("seen")
    return (seen[targets] > 0).any(0) if targets else np.zeros(seen.shape[1], bool)


def _logits(warm: Warmup, batch: Batch) -> torch.Tensor:
    outcome, _ = warm.outcome(batch)
    logits: torch.Tensor = warm.policy.vlm.lm_head(outcome.hidden[-1])
    return logits


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Per-frame accuracy and F1 by kind, keyframes and windows beside the best constants, exact words."""
    found: dict[str, float] = {}
    by_kind: dict[str, list[float]] = defaultdict(list)
    hit, iou, short, constant = [], [], [], []
    tp = fp = fn = 0
    for row in rows:
        said, truth = np.array(row["scores"]) > 0, np.array(row["truth"])
        by_kind[row["kind"]].append(float((said == truth).mean()))
        tp, fp, fn = tp + int((said & truth).sum()), fp + int((said & ~truth).sum()), fn + int((~said & truth).sum())
        visible = row["visible"]
        if not visible.any():
            continue
        key = keyframe(row["frames"], row["scores"])
        iou.append(_tiou(row["frames"], said, visible))
        if visible.mean() < 0.5:
            short.append(bool(visible[key]))
            constant.append([bool(visible[round(s * (len(visible) - 1))]) for s in np.linspace(0, 1, 21)])
        hit.append(bool(visible[key]))
    found["f1"] = 2 * tp / max(1, 2 * tp + fp + fn)
    for kind, values in sorted(by_kind.items()):
        found[f"acc/{kind}"] = _mean(values)
    none = [not (np.array(row["scores"]) > 0).any() for row in rows if row["kind"] == "none"]
    some = [bool((np.array(row["scores"]) > 0).any()) for row in rows if row["kind"] != "none"]
    found |= {"none_empty": _mean(none), "some_seen": _mean(some)}
    found |= {"hit": _mean(hit), "short_hit": _mean(short), "short": len(short)}
    found["short_constant"] = float(np.mean(constant, axis=0).max()) if constant else 0.0
    found["window_iou"] = _mean(iou)
    windows = [(a, b) for a in np.linspace(0, 0.5, 6) for b in np.linspace(0.5, 1, 6)]
    truths = [row["visible"] for row in rows if row["visible"].any()]
    found["window_constant"] = max(_mean([_cut(v, a, b) for v in truths]) for a, b in windows)
    for name in ("lead", "here", "across", "down", "window"):
        values = [v for row in rows for v in row[name]]
        found[f"exact/{name}"] = _mean(values)
    return found


def _mean(values: Sequence[float]) -> float:
    """0 where there is nothing to say."""
    return float(np.mean(values)) if len(values) else 0.0


def keyframe(frames: Sequence[int], scores: Sequence[float]) -> int:
    """The shown frame in the middle of the longest run of `yes`; the likeliest one where there is none."""
    best = [int(np.argmax(scores))]
    run: list[int] = []
    runs: list[list[int]] = []
    for i, score in enumerate(scores):
        run = [*run, i] if score > 0 else []
        runs.append(run)
    longest = max(runs, key=len)
    best = longest or best
    return int(frames[best[len(best) // 2]])


def _tiou(frames: Sequence[int], said: Any, visible: Any) -> float:
    if not said.any():
        return 0.0
    at = np.flatnonzero(said)
    inside = np.zeros(len(visible), bool)
    inside[frames[at[0]] : frames[at[-1]] + 1] = True
    return float((inside & visible).sum() / (inside | visible).sum())


def _cut(visible: Any, start: float, end: float) -> float:
    inside = np.zeros(len(visible), bool)
    inside[round(start * (len(visible) - 1)) : round(end * (len(visible) - 1)) + 1] = True
    return float((inside & visible).sum() / (inside | visible).sum())
