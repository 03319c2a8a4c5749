"""Predictions in the interchange JSON. The file is read once for the places; each prediction is decoded alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from vtscot.errors import DataError, MaskError
from vtscot.evaluation.predictions import Asked, Place, Prediction, frames_to_read, refusal
from vtscot.evaluation.spans import find_spans
from vtscot.sources.names import printable
from vtscot.tracks import MaskTrack

_REPR = re.compile(r"""b(['"]).*\1""", re.DOTALL)  # what Python prints for bytes


class JsonPredictions:
    """`{video: {expression: {"prediction_masks": [...]}}}`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, dict[str, tuple[int, int]]] = {}
        for span in find_spans(path):
            of_video = self._places.setdefault(span.video, {})
            if span.exp_id in of_video:
                where = f"video {printable(span.video)}, expression {printable(span.exp_id)}"
                raise DataError(f"{path}: {where}: predicted twice; which one is meant?")
            of_video[span.exp_id] = span.start, span.end

    def find(self, video: str, exp_id: str) -> Place | None:
        return self._places.get(video, {}).get(exp_id)

    def find_video(self, video: str) -> Place | None:
        return None

    def others(self, asked: Collection[tuple[str, str]], videos: Collection[str]) -> Iterator[str]:
        for video, places in self._places.items():
            yield from (f"{printable(video)}/{printable(e)}" for e in places if (video, e) not in asked)

    def read(self, place: Place, asked: Asked) -> Prediction:
        try:
            entries = self._entries(*place)
            chosen = [entries[i] for i in frames_to_read(len(entries), asked)]
            return Prediction(_track(chosen, asked))
        except MaskError as error:
            raise refusal(self.path, asked, error) from None

    def _entries(self, start: int, end: int) -> list[Any]:
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                text = file.read(end - start)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        try:
            value = msgspec.json.decode(text)
        except RecursionError:
            raise MaskError("nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            inner = re.search(r"byte (\d+)", str(error))
            at = start + (int(inner[1]) if inner else 0)
            nan = "; NaN is not JSON" if b"NaN" in text else ""
            raise MaskError(f"not JSON at byte {at}{nan}") from None
        entries = value.get("prediction_masks") if isinstance(value, dict) else None
        if not isinstance(entries, list):
            raise MaskError("no list under prediction_masks")
        return entries

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_places": {}}  # other processes are told the places


def _track(entries: list[Any], asked: Asked) -> MaskTrack:
    """The masks as one track; where neither the ground truth nor a mask tells the size, all are empty."""
    for frame, entry in enumerate(entries):
        counts = entry.get("counts") if isinstance(entry, dict) else None
        if isinstance(counts, str) and _REPR.fullmatch(counts):
            hint = 'they are Python\'s b"..." as text; decode the bytes before writing'
            raise MaskError(f"frame {frame}: its counts cannot be read: {hint}")
    sizeless = asked.size is None and all(entry in (None, []) for entry in entries)
    try:
        return MaskTrack.from_coco(entries, size=(1, 1) if sizeless else asked.size)
    except MaskError as error:
        hint = "; predictions are never resized" if "in a frame of" in str(error) else ""
        raise MaskError(f"{error}{hint}") from None
