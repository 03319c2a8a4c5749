"""Predictions to be scored or sent: the interchange JSON, a folder of PNGs, or a zip of such a folder.

JSON: `{video: {expression: {"prediction_masks": [RLE or null per frame]}}}`, counts as text or as a list of runs.
PNGs: `<video>/<expression>/<frame>.png`, with or without `Annotations/` before it; what is not 0 is foreground, so 0/1,
0/255 and palette files read alike. A file with several values other than 0 could be soft or hold several objects: it
is refused, as nobody can tell which is meant. DAVIS's own layout, `<video>/<frame>.png` with object numbers as values,
is read where it is asked for. Masks of another size than the ground truth are refused, never resized.

A prediction is found in one process (`find`) and read in another (`read`): what passes between them is a `Place`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from vtscot.errors import DataError, MaskError
from vtscot.sources.names import printable
from vtscot.tracks import MaskTrack

Size = tuple[int, int]  # (height, width)
Place: TypeAlias = tuple[int, int] | str  # bytes of a file, or a folder


@dataclass(frozen=True)
class Asked:
    """One prediction as it has to be: what it is for, the names of the frames, and the size where it is known.

    `counted` are the frames that are scored (None: all); a prediction may have those only, or all.
    `numbers` are the values of the target's pixels where one file holds several objects.
    """

    video: str
    exp_id: str
    frames: tuple[str, ...]
    size: Size | None = None
    counted: tuple[int, ...] | None = None
    numbers: tuple[int, ...] = ()


class Prediction(NamedTuple):
    """The masks of the counted frames, and the pixel value that stood for foreground (RLEs decode to 1)."""

    track: MaskTrack
    value: int = 1


class Predictions(Protocol):
    """A set of predictions. It can be pickled; opening it again reads nothing."""

    path: Path

    def find(self, video: str, exp_id: str) -> Place | None:
        """Where the prediction of an expression is; None where there is none."""

    def find_video(self, video: str) -> Place | None:
        """Where the files of DAVIS's layout are that hold all objects of a video; None where there are none."""

    def others(self, asked: Collection[tuple[str, str]], videos: Collection[str]) -> Iterator[str]:
        """What is here beside those of `asked` (video, expression) and of whole `videos`, as text."""

    def read(self, place: Place, asked: Asked) -> Prediction:
        """One prediction; DataError naming video and expression where it is not what was asked for."""


def refusal(path: Path, asked: Asked, message: object) -> DataError:
    """The error for one prediction."""
    where = f"video {printable(asked.video)}, expression {printable(asked.exp_id)}"
    return DataError(f"{path}: {where}: {message}")


def frames_to_read(given: int, asked: Asked) -> Sequence[int]:
    """Positions in a list of `given` frames of those that count; MaskError where the list fits neither way."""
    counted = asked.counted
    if given == len(asked.frames):
        return range(given) if counted is None else counted
    if counted is not None and given == len(counted):
        return range(given)
    more = "" if counted is None else f" (or the {len(counted)} that count)"
    raise MaskError(f"{given} frames are predicted, the video has {len(asked.frames)}{more}")
