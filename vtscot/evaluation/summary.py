"""Averages of a split, as its benchmark takes them. All values are 0 .. 1; None where there is nothing to average."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from vtscot.evaluation.evaluation import Evaluation, Row
from vtscot.evaluation.scoring import Rules, names

Means: TypeAlias = dict[str, float | None]


@dataclass(frozen=True)
class Summary:
    """The averages over all (or over the halves that count), and those of each group; `counts` are of expressions."""

    means: Means
    groups: dict[str, Means]
    counts: dict[str, int]  # expressions of each group

    def plain(self) -> dict[str, Any]:
        """As JSON objects: the overall means at the top, then each group."""
        groups: dict[str, Any] = {
            name: {"expressions": self.counts[name]} | means for name, means in self.groups.items()
        }
        return {**self.means, **groups}


def summarize(evaluation: Evaluation) -> Summary:
    """Average the rows of an evaluation."""
    rules = evaluation.rules
    rows = evaluation.rows
    if rules.as_released and rules.benchmark.skips_missing:
        rows = [row for row in rows if row.state == "scored"]
    grouped = _grouped(rows, rules)
    groups = {name: average(members, rules) for name, members in grouped.items()}
    counts = {name: len(members) for name, members in grouped.items()}
    halves = rules.benchmark.halves
    if halves:
        means = _middle([groups[name] for name in halves])
        groups["overall"], counts["overall"] = means, sum(counts[name] for name in halves)
    else:
        means = average(rows, rules)
    if rules.benchmark.no_target:
        means |= _no_target(rows, means)
    return Summary(means, groups, counts)


def average(rows: Sequence[Row], rules: Rules) -> Means:
    """Means over expressions, each rounded first where the released script does so."""
    decimals = rules.benchmark.decimals

    def mean(values: Sequence[float]) -> float | None:
        if decimals is not None:
            return _mean([round(100 * value, decimals) for value in values], 100.0)
        return _mean(values)

    j, f = mean([row.scores.J for row in rows]), mean([row.scores.F for row in rows])
    more = {name: mean([row.scores.more[name] for row in rows]) for name in names(rules)}
    return {"J": j, "F": f, "J&F": None if j is None or f is None else (j + f) / 2, **more}


def figures(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """What `--json` prints: the scores, and how many expressions they stand on."""
    return {
        "source": evaluation.source,
        "split": evaluation.split,
        "expressions": len(evaluation.rows),
        "frames": sum(row.frames for row in evaluation.rows),
        "missing": sum(row.state == "missing" for row in evaluation.rows),
        "extra": len(evaluation.extra),
        "unscorable": dict(sorted(Counter(entry.reason for entry in evaluation.unscorable).items())),
        "semi_supervised": evaluation.rules.semi_supervised,
        "as_released": evaluation.rules.as_released,
        **summary.plain(),
    }


def beside_published(evaluation: Evaluation, summary: Summary) -> list[tuple[str, list[str]]]:
    """(method, J&F in per cent per column): these predictions, then published ones; nothing where there are none."""
    benchmark = evaluation.rules.benchmark
    if not benchmark.published:
        return []
    means = [summary.groups.get(column, summary.means)["J&F"] for column in benchmark.columns]
    ours = [None if mean is None else 100 * mean for mean in means]
    rows = [("these predictions", ours), *((name, list(values)) for name, values in benchmark.published.items())]
    return [(name, ["-" if value is None else f"{value:.1f}" for value in values]) for name, values in rows]


def worst(evaluation: Evaluation, count: int) -> list[Row]:
    """The scored rows with the lowest J&F, the worst first; none that is perfect."""
    scored = [row for row in evaluation.rows if row.state == "scored" and row.scores.J + row.scores.F < 2]
    return sorted(scored, key=lambda row: row.scores.J + row.scores.F)[:count]


def _grouped(rows: Sequence[Row], rules: Rules) -> dict[str, list[Row]]:
    """Rows by kind: the benchmark's groups first, then other kinds by name. Nothing for sets without groups."""
    if not rules.benchmark.groups:
        return {}
    grouped: dict[str, list[Row]] = {name: [] for name in rules.benchmark.groups}
    for row in sorted(rows, key=lambda row: row.query.kind or ""):
        grouped.setdefault(row.query.kind or "no kind", []).append(row)
    kept = rules.benchmark.halves
    return {name: members for name, members in grouped.items() if members or name in kept}


def _middle(halves: Sequence[Means]) -> Means:
    """The mean of the groups' means; None where one group has none."""
    found: Means = {}
    for name in halves[0]:
        values = [means[name] for means in halves]
        known = [value for value in values if value is not None]
        found[name] = _mean(known) if len(known) == len(values) else None
    return found


def _no_target(rows: Sequence[Row], means: Means) -> Means:
    """N-acc, T-acc and final of MeViS v2, where some expressions mean nothing in their video."""
    no_target = [row for row in rows if not row.query.anno_ids]
    if not no_target:
        return {}
    target = [row for row in rows if row.query.anno_ids]
    n_acc = _mean([float(row.state == "scored" and row.scores.empty) for row in no_target])
    t_acc = _mean([float(row.state == "scored" and not row.scores.empty) for row in target])
    j_and_f = means["J&F"]
    whole = None if None in (j_and_f, n_acc, t_acc) else _mean([v for v in (j_and_f, n_acc, t_acc) if v is not None])
    return {"N-acc": n_acc, "T-acc": t_acc, "final": whole}


def _mean(values: Sequence[float], scale: float = 1.0) -> float | None:
    mean = math.fsum(values) / len(values) / scale if values else math.nan
    return None if math.isnan(mean) else mean
