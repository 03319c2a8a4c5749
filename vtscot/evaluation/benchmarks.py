"""How each set is scored: which frames count, how expressions are averaged, what is reported beside J and F.

One row per source; a source without a row is scored over all frames and all expressions alike. Published scores (J&F in
per cent) stand beside ours in tables and pages, for orientation: they were reached on the sets' usual evaluation split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

Published = Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Benchmark:
    """The protocol of one set.

    `groups` are kinds of expressions in the order in which they are reported; where `halves` is set, the overall score
    is the mean of those groups and every other expression stays out of it. `decimals` rounds the scores of each
    expression, in per cent, before they are averaged.
    """

    split: str = "valid"  # that is scored where none is named
    sampled: int | None = None  # so many evenly spaced frames count; None: all of them
    groups: tuple[str, ...] = ()
    halves: tuple[str, ...] = ()
    decimals: int | None = None
    pixels: bool = False  # A and R
    temporal: bool = False  # tIoU and vIoU
    no_target: bool = False  # N-acc, T-acc and final, where some expressions mean nothing in their video
    skips_missing: bool = False  # the released script leaves out what was not predicted
    columns: tuple[str, ...] = ("J&F",)  # what the published figures are
    published: Published = field(default_factory=dict)  # plain, since workers are sent this


BENCHMARKS: Final[Mapping[str, Benchmark]] = MappingProxyType(
    {
        "demo": Benchmark(split="valid_u", no_target=True),
        "mevis": Benchmark(
            split="valid_u",
            no_target=True,
            published={
                "VideoSEG-O3-4B": (60.0,),
                "VideoSEG-O3-2B": (55.6,),
                "AgentRVOS": (73.1,),
                "Veason-R1-7B": (52.2,),
            },
        ),
        "ref-youtube-vos": Benchmark(
            published={"VideoSEG-O3-4B": (74.1,), "VideoSEG-O3-2B": (70.5,), "VIRST-7B": (74.2,)}
        ),
        "ref-davis17": Benchmark(published={"VideoSEG-O3-4B": (79.4,), "VideoSEG-O3-2B": (80.0,), "VIRST-7B": (79.5,)}),
        "ref-sav": Benchmark(published={"VideoSEG-O3-4B": (65.5,), "VideoSEG-O3-2B": (62.9,)}),
        "long-rvos": Benchmark(
            groups=("static", "dynamic", "hybrid"),
            temporal=True,
            published={"VideoSEG-O3-4B": (57.4,), "VideoSEG-O3-2B": (54.8,)},
        ),
        "revos": Benchmark(
            groups=("referring", "reasoning", "non-existent"),
            halves=("referring", "reasoning"),
            decimals=2,
            pixels=True,
            columns=("referring", "reasoning", "overall"),
            published={
                "VideoSEG-O3-4B": (70.3, 65.1, 67.7),
                "VideoSEG-O3-2B": (67.5, 62.0, 64.8),
                "VIRST-7B": (70.8, 66.1, 68.4),
                "AgentRVOS": (None, None, 66.3),
                "Veason-R1-7B": (63.6, 59.0, 61.3),
            },
        ),
        "reasonvos": Benchmark(
            published={
                "VideoSEG-O3-4B": (62.9,),
                "VideoSEG-O3-2B": (60.2,),
                "AgentRVOS": (75.5,),
                "Veason-R1-7B": (59.9,),
            }
        ),
        "groundmore": Benchmark(
            split="test",
            sampled=20,
            groups=("Causal", "Sequential", "Counterfactual", "Descriptive"),
            skips_missing=True,
            published={"VideoSEG-O3-4B": (31.9,), "VideoSEG-O3-2B": (29.1,)},
        ),
    }
)


def benchmark_of(source: str) -> Benchmark:
    """The protocol of a source."""
    return BENCHMARKS.get(source, Benchmark())


def counted_frames(benchmark: Benchmark, frames: int) -> tuple[int, ...] | None:
    """Indices of the frames that count, or None for all; short videos count some of their frames twice."""
    if benchmark.sampled is None:
        return None
    step = (frames - 1) / (benchmark.sampled - 1)
    return tuple(int(i * step) if i < benchmark.sampled - 1 else frames - 1 for i in range(benchmark.sampled))
