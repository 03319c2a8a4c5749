"""GroundMoRe: questions about an action; outside of the action there is no ground truth.

```
<root>/<split>_v2.json   (or groundmore_<split>.json)     splits: trainval, test
<root>/annotations/<video>/{images/frame_000000.jpg, masks/frame_000000.png}   (or groundmore_videos/<video>/..)
```
The file names no frames: they are those of the folder, which must be numbered 0, 1, 2, ... without a gap.
`action_start` and `action_end` are times ("MM:SS" or "HH:MM:SS") of the video that the clip was cut from; the clip's
own times end its name (`.._0010_0030` is second 10 to 30), and frames are 6 per second. The action is the frames from
6 * (start - clip start) up to, not including, 6 * (end - clip start), as far as the clip has them.
A track belongs to an object and an action: `<video>/<object>@<first>-<last>`, or `<video>/<object>` for the whole clip.
Masks are palette PNGs. A frame of the action without a file has no mask (the released scorer reads it so); how many
there are is noted. `q_type` becomes the kind of the query; `answer` is not read.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vtscot.files import inside
from vtscot.records import Query, Video
from vtscot.sources.base import Fault, Licence
from vtscot.sources.documents import JsonObject
from vtscot.sources.folders import SUFFIXES, find_meta, first_folder
from vtscot.sources.names import printable
from vtscot.sources.png_masks import PngTrack
from vtscot.sources.png_tree import PngSource
from vtscot.sources.videos import bodies, entry_objects

FPS = 6
_CLIP = re.compile(r"(\d\d)(\d\d)_\d{4}$", re.ASCII)  # MMSS of its start and end
_TIME = re.compile(r"(?:(\d{1,2}):)?(\d{1,3}):(\d{1,2})", re.ASCII)
_SPAN = re.compile(r"@(\d+)-(\d+)$", re.ASCII)
_FRAME = re.compile(r"(?:.*\D)?(\d{1,9})", re.ASCII)


class GroundMoReSource(PngSource):
    """One split of a GroundMoRe tree."""

    name: ClassVar[str] = "groundmore"
    licence: ClassVar[Licence] = Licence("other", "terms of GroundMoRe (not verified)", None, False)
    absent_ok: ClassVar[bool] = True

    def _open(self) -> None:
        self.meta = find_meta(self.root, self.split, "{split}_v2.json", "groundmore_{split}.json")
        self.images = self.annotations = first_folder(self.root, "annotations", "groundmore_videos")

    def action(self, query: Query) -> tuple[int, int] | None:
        """First and last frame of the action a question is about; None where it is the whole clip."""
        found = _SPAN.search(query.anno_ids[0]) if query.anno_ids else None
        return (int(found[1]), int(found[2])) if found else None

    def _document(self) -> JsonObject:
        document = super()._document()
        for key, body in bodies(document):
            body["expressions"] = body.get("questions")
            for entry in entry_objects(body["expressions"]):
                entry["exp"], entry["type"] = entry.get("question"), entry.get("q_type")
            if "frames" not in body:
                body["frames"] = self._listed(key)
        return document

    def _listed(self, video: str) -> list[str]:
        """The frames of a clip by number; a fault for the video where one is missing."""
        try:
            files = [path for path in inside(self.images, video, "images").iterdir() if path.suffix.lower() in SUFFIXES]
        except (OSError, ValueError):
            return []
        numbered = sorted((int(found[1]), path.stem) for path in files if (found := _FRAME.fullmatch(path.stem)))
        if [number for number, _ in numbered] != list(range(len(files))):
            detail = f"its {len(files)} frames are not numbered 0 to {len(files) - 1}: frames are missing or too many"
            self._document_faults.append(Fault("frame-missing", detail, video=video))
        return [name for _, name in numbered]

    def _anno_id(self, video: Video, object_id: str, entry: dict[str, Any]) -> str:
        first, last = _action(video, entry)
        whole = (first, last) == (0, len(video.frames) - 1)
        return f"{video.name}/{object_id}" if whole else f"{video.name}/{object_id}@{first}-{last}"

    def _frame_folder(self, video: Video) -> str:
        return f"{video.name}/images"

    def _mask_folder(self, video: Video, object_id: str) -> str:
        return f"{video.name}/masks"

    def _mask_frames(self, video: Video, anno_id: str) -> range:
        found = _SPAN.search(anno_id)
        return range(int(found[1]), int(found[2]) + 1) if found else super()._mask_frames(video, anno_id)

    def _notes(self, video: Video, track: PngTrack) -> list[Fault]:
        if not track.absent:
            return []
        detail = f"{len(track.absent)} of the {len(track.frames)} frames of its action have no file of masks"
        return [Fault("mask-missing", detail, video.name, None, track.anno_id, track.absent[0], fatal=False)]


def _action(video: Video, entry: dict[str, Any]) -> tuple[int, int]:
    """First and last frame of the action of a question; ValueError where they cannot be known."""
    clip = _CLIP.search(video.name)
    if clip is None:
        raise ValueError(f"the name of the clip, {printable(video.name)!r}, does not end with its times (_MMSS_MMSS)")
    begin = int(clip[1]) * 60 + int(clip[2])
    first = (_seconds(entry, "action_start") - begin) * FPS
    last = (_seconds(entry, "action_end") - begin) * FPS - 1
    if last < first or last < 0 or first >= len(video.frames):
        raise ValueError(f"its action, frames {first} to {last}, is not within the {len(video.frames)} of the clip")
    return max(first, 0), min(last, len(video.frames) - 1)


def _seconds(entry: dict[str, Any], key: str) -> int:
    text = entry.get(key)
    found = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{key} is {printable(repr(text))}, not a time (MM:SS or HH:MM:SS)")
    return int(found[1] or 0) * 3600 + int(found[2]) * 60 + int(found[3])


SOURCE = GroundMoReSource
