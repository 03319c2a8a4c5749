"""The demo world in the exact format of every dataset that has a reader: small trees, masks known to the pixel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vtscot.masks import Rle, decode

Mask = npt.NDArray[np.bool_]
Entry = dict[str, Any] | None

# DAVIS draws its first objects so; any palette does, for only indices count.
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128]


@dataclass(frozen=True)
class Said:
    """One expression: its text and the numbers (from 1) of the objects it means."""

    text: str
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Clip:
    """One video of the world: image files, and an RLE or nothing per frame for each object."""

    name: str
    images: list[Path]
    tracks: dict[int, list[Entry]]
    said: list[Said]
    size: tuple[int, int]  # (height, width)

    def mask(self, number: int, frame: int) -> Mask:
        entry = self.tracks[number][frame]
        return decode(Rle.from_coco(entry)) if entry else np.zeros(self.size, bool)

    def labels(self, frame: int) -> npt.NDArray[np.uint8]:
        """(H, W): the number of the object at each pixel, 0 for none."""
        image = np.zeros(self.size, np.uint8)
        for number in self.tracks:
            image[self.mask(number, frame)] = number
        return image


@dataclass(frozen=True)
class World:
    """Two videos of the demo."""

    clips: list[Clip] = field(default_factory=list)


def load_world(demo_root: Path, step: int = 4, most: int = 4) -> World:
    """Two videos of a demo tree, every `step`-th frame, at most so many expressions each: single targets, and none."""
    folder = demo_root / "train"
    videos = json.loads((folder / "meta_expressions.json").read_bytes())["videos"]
    masks = json.loads((folder / "mask_dict.json").read_bytes())
    clips = []
    for name in list(videos)[:2]:
        entry = videos[name]
        images = [folder / "JPEGImages" / name / f"{frame}.jpg" for frame in entry["frames"]][::step]
        first = entry["vid_id"] * 10
        tracks = {int(key) - first + 1: masks[key][::step] for key in masks if int(key) // 10 == entry["vid_id"]}
        spoken = [Said(e["exp"], tuple(o + 1 for o in e["obj_id"])) for e in entry["expressions"].values()]
        seen = {number for number, track in tracks.items() if any(track)}
        single = [said for said in spoken if len(said.objects) == 1 and seen.issuperset(said.objects)]
        size = next(tuple(mask["size"]) for track in tracks.values() for mask in track if mask)
        clips.append(Clip(name, images, tracks, single[:most] + [s for s in spoken if not s.objects][:1], size))
    return World(clips)


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _images(folder: Path, clip: Clip, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for path, name in zip(clip.images, names, strict=True):
        shutil.copy(path, folder / f"{name}.jpg")


def write_labels(path: Path, labels: npt.NDArray[np.uint8]) -> None:
    """A palette PNG whose pixels are the numbers of objects."""
    image = Image.fromarray(labels, "P")
    image.putpalette(PALETTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _label_folder(folder: Path, clip: Clip, names: list[str]) -> None:
    for i, name in enumerate(names):
        write_labels(folder / f"{name}.png", clip.labels(i))


def _binary_folder(folder: Path, clip: Clip, number: int, names: list[str], *, empty_too: bool) -> None:
    """0/255 images of one object; frames without it have an empty one or none."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        mask = clip.mask(number, i)
        if mask.any() or empty_too:
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}.png")


def _numbered(clip: Clip, start: int = 0, stride: int = 1, digits: int = 5) -> list[str]:
    return [f"{start + i * stride:0{digits}d}" for i in range(len(clip.images))]


def _with_targets(clip: Clip) -> list[Said]:
    return [said for said in clip.said if said.objects]


def write_ref_youtube_vos(world: World, root: Path, *, split: str = "train", stride: int = 5) -> None:
    """Palette PNGs beside the frames, obj_id as text, no ids of tracks."""
    videos, meta = {}, {}
    for clip in world.clips:
        names = _numbered(clip, stride=stride)
        _images(root / split / "JPEGImages" / clip.name, clip, names)
        _label_folder(root / split / "Annotations" / clip.name, clip, names)
        said = {str(i): {"exp": s.text, "obj_id": str(s.objects[0])} for i, s in enumerate(_with_targets(clip))}
        videos[clip.name] = {"frames": names, "expressions": said}
        seen = {str(n): [x for x, e in zip(names, t, strict=True) if e] for n, t in clip.tracks.items()}
        meta[clip.name] = {"objects": {n: {"category": "shape", "frames": frames} for n, frames in seen.items()}}
    _json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
    _json(root / split / "meta.json", {"videos": meta})


def write_ref_davis17(world: World, root: Path) -> None:
    """The same with every frame."""
    write_ref_youtube_vos(world, root, stride=1)


def write_revos(world: World, root: Path) -> None:
    """Keys with slashes, type_id, one file of masks for both splits, and the union of all objects."""
    masks: dict[str, list[Entry]] = {}
    foreground, splits = {}, {}
    for v, (clip, split) in enumerate(zip(world.clips, ("train", "valid"), strict=True)):
        key, names = f"DEMO/all/{clip.name}", _numbered(clip)
        _images(root / "JPEGImages" / key, clip, names)
        masks |= {str(100 * v + n): track for n, track in clip.tracks.items()}
        union = [clip.labels(i) > 0 for i in range(len(names))]
        rles = [Rle.from_array(mask).coco() for mask in union]
        foreground[key] = {"masks_rle": rles, "foreground_ratio": [float(mask.mean()) for mask in union]}
        said = {}
        for i, s in enumerate(clip.said):
            targets = {"obj_id": [n - 1 for n in s.objects], "anno_id": [100 * v + n for n in s.objects]}
            said[str(i)] = {"exp": s.text, **targets, "type_id": i % 2 if s.objects else 2}
        body = {"vid_id": v, "height": clip.size[0], "width": clip.size[1], "frames": names, "expressions": said}
        splits[split] = {key: body}
    for split, videos in splits.items():
        _json(root / f"meta_expressions_{split}_.json", {"videos": videos})
    _json(root / "mask_dict.json", masks)
    _json(root / "mask_dict_foreground.json", foreground)


def write_long_rvos(world: World, root: Path) -> None:
    """A folder per object; where an object is not seen there is no file."""
    videos = {}
    for clip in world.clips:
        names = _numbered(clip, stride=4)
        _images(root / "train" / "JPEGImages" / clip.name, clip, names)
        for n in clip.tracks:
            _binary_folder(root / "train" / "Annotations" / clip.name / str(n), clip, n, names, empty_too=False)
        kinds = ("static", "dynamic", "hybrid")
        said = {
            str(i): {"exp": s.text, "obj_id": s.objects[0] if i % 2 else str(s.objects[0]), "type": kinds[i % 3]}
            for i, s in enumerate(_with_targets(clip))
        }
        videos[clip.name] = {"frames": names, "expressions": said}
    _json(root / "train" / "meta_expressions.json", {"videos": videos})


def write_reasonvos(world: World, root: Path) -> None:
    """Expressions as a list; in the second video an exp_id comes twice."""
    videos = {}
    for v, clip in enumerate(world.clips):
        names = _numbered(clip)
        _images(root / "JPEGImages" / clip.name, clip, names)
        for n in clip.tracks:
            _binary_folder(root / "Annotations" / f"vipseg_{clip.name}_{n}", clip, n, names, empty_too=True)
        said = [
            {"obj_id": str(s.objects[0]), "exp_id": i if v == 0 else i // 2, "exp_text": s.text, "is_sent": i % 2}
            for i, s in enumerate(_with_targets(clip))
        ]
        videos[clip.name] = {"source": "VIPSeg", "is_sent": 0, "frames": names, "expressions": said}
    _json(root / "meta_expressions.json", {"videos": videos})


GROUNDMORE_CLIP = 70  # second of the whole video at which the clips begin
GROUNDMORE_KINDS = ("Causal", "Sequential", "Counterfactual", "Descriptive")


def groundmore_action(clip: Clip, position: int) -> tuple[int, int]:
    """Seconds of the clip that a question is about: the whole clip for the first, then its first two seconds."""
    whole = -(-len(clip.images) // 6)
    return (0, whole) if position == 0 else (0, 2)


def write_groundmore(world: World, root: Path) -> None:
    """Questions; times of the whole video; masks only where some question asks; two objects in one of them."""
    videos = {}
    for clip in world.clips:
        key, names = f"{clip.name}_0110_0115", [f"frame_{i:06d}" for i in range(len(clip.images))]
        _images(root / "annotations" / key / "images", clip, names)
        _label_folder(root / "annotations" / key / "masks", clip, names)
        questions = {}
        for i, s in enumerate(_with_targets(clip)):
            first, last = (GROUNDMORE_CLIP + second for second in groundmore_action(clip, i))
            questions[str(i + 1)] = {
                "question": s.text,
                "answer": "a shape",
                "obj_id": str(s.objects[0]),
                "q_type": GROUNDMORE_KINDS[i % 4],
                "action_start": f"{first // 60}:{first % 60:02d}",
                "action_end": f"00:{last // 60:02d}:{last % 60:02d}",
            }
        videos[key] = {"questions": questions}
    both = sorted(n for n, track in world.clips[0].tracks.items() if any(track[:6]))[:2]
    extra = {
        "question": "which two are here?",
        "answer": "two",
        "obj_id": ", ".join(map(str, both)),
        "q_type": "Causal",
    }
    first_key = next(iter(videos))
    videos[first_key]["questions"]["9"] = {**extra, "action_start": "01:10", "action_end": "01:11"}
    _json(root / "trainval_v2.json", {"videos": videos})


def write_ref_sav(world: World, root: Path) -> None:
    """Expressions keyed by object, frames 100000, 100004, .., ids of tracks from 10000."""
    videos: dict[str, Any] = {}
    masks: dict[str, list[Entry]] = {}
    for v, clip in enumerate(world.clips):
        names = _numbered(clip, start=100000, stride=4)
        _images(root / "valid" / "videos" / clip.name, clip, names)
        masks |= {str(10000 + 100 * v + n): track for n, track in clip.tracks.items()}
        by_object = {s.objects[0]: s for s in reversed(_with_targets(clip))}
        said = {str(n): {"exp": s.text, "obj_id": [n], "anno_id": [10000 + 100 * v + n]} for n, s in by_object.items()}
        size = {"height": clip.size[0], "width": clip.size[1]}
        videos[clip.name] = {"vid_id": v, **size, "frames": names, "expressions": said}
    _json(root / "valid" / "meta_expressions_valid.json", {"videos": videos})
    _json(root / "valid" / "mask_dict.json", masks)


@dataclass(frozen=True)
class Format:
    """A source, the split that its writer makes, and the writer."""

    source: str
    split: str
    write: Callable[[World, Path], None]


FORMATS = [
    Format("ref-youtube-vos", "train", write_ref_youtube_vos),
    Format("revos", "valid", write_revos),
    Format("ref-davis17", "train", write_ref_davis17),
    Format("long-rvos", "train", write_long_rvos),
    Format("reasonvos", "valid", write_reasonvos),
    Format("groundmore", "trainval", write_groundmore),
    Format("ref-sav", "valid", write_ref_sav),
]
