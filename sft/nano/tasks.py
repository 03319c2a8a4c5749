"""From a video to a packed example: one observation, several expressions, a reply to each.

An observation is that of a dialogue's first turn (a strip over the whole video and its middle frame, sharp) or of a
later one (a strip of a window and a keyframe), each as a message of its own: nano knows no dialogue. What follows the
images is different for every expression: the rest of the message, and the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vtscot.budget import Budget
from vtscot.episode import first_observation, look_observation
from vtscot.policy.tokenizer import IMAGE, MESSAGE_END, MESSAGE_START, VISION_END
from vtscot.policy.tokens import _shown_text
from vtscot.records import Observation, Selection
from vtscot.sft.nano.fragments import Said, draw_fragments, draw_said
from vtscot.sft.nano.vocabulary import NUMBERS
from vtscot.sft.nano.wording import PLAIN, Reply, Span, Spot, add_place, add_seg, add_table, lead, span_of
from vtscot.sft.nano.world import Clip, Query

INTERRUPTED: Final = 0.5  # share of the joints of a reply that other text stands before
FRAGMENTS: Final = 0.8  # share of these that are fragments of markup; the others are tokens by chance
MISPLACED: Final = 0.6  # share of the replies whose place and size are words by chance, which are not learned
FILLER: Final = 24  # at most so many of these
MISLED: Final = 0.5  # share of the replies in training that read another table than they are to say
COPIED: Final = 1.0  # weight of a number in a fragment
Rng = np.random.Generator
Tables = tuple[list[bool], list[bool]]
"""Whether the target is seen in the frames of the strip, and what an answer reads of it."""


@dataclass
class Answer:
    """One expression about an observation, as numbers.

    `ids` are the tokens after the images, `read` the same as they are read: in some replies with other decisions in
    the table. `weights` of each token in the loss (0 for what is only read). `looks` are
    (position of the token that decides, number of the image to look at); `names` the decision of each token.
    """

    ids: list[int]
    read: list[int]
    weights: list[float]
    names: list[str]
    looks: list[tuple[int, int]]
    seg: int
    query: Query
    text: str
    cells: list[npt.NDArray[np.bool_]]  # per image, row by row: tokens that show the target
    seen: list[bool]  # per strip frame
    present: bool  # on the sharp frame


@dataclass(frozen=True)
class View:
    """What is shown of a video in one turn, and where its keyframe lies among the sharp frames."""

    clip: Clip
    turn: int
    observation: Observation
    sharp: int
    told: Span | None  # the window that an earlier reply said

    @property
    def frames(self) -> list[int]:
        """Of the strip, and the sharp one last."""
        return list(self.observation.indices)


@dataclass
class Example:
    """A video's observation and the answers about it. Images are uint8 (H, W, 3), strip first, the sharp one last."""

    clip: Clip
    head: list[int]  # tokens up to the last image
    system: list[int]
    images: list[npt.NDArray[np.uint8]]
    frames: list[int]
    sharp: int  # number of the sharp frame in the clip's arrays
    answers: list[Answer]


class Tasks:
    """Builds examples; `token` is an image token's side in pixels."""

    def __init__(self, processor: Any, budget: Budget) -> None:
        self.processor, self.tokenizer, self.budget = processor, processor.tokenizer, budget
        self.token = processor.token_side
        self.words = min(self.tokenizer.all_special_ids)  # special tokens follow the words
        self.decisions = tuple(self.encode(word)[0] for word in (" no", " yes"))
        self.numbers = frozenset(self.tokenizer.convert_tokens_to_ids(f" {n}") for n in range(NUMBERS))

    def example(
        self,
        clip: Clip,
        rng: Rng,
        queries: Sequence[tuple[Query, str]],
        look: bool,
        interrupted: bool = False,
        misled: float = 0.0,
    ) -> Example:
        """The answers to `queries` about a first observation, or about a random window.

        `interrupted`: with other text between the parts of the answers, and a table by chance before a window.
        `misled` is the share of the answers that read a table by chance: each decision has to be looked for all the
        same, but the window is the one that the table says. Who reads true tables alone learns to repeat the last
        decision, and then repeats its first mistake to the end.
        """
        observation = self._window(clip, rng, queries) if look else first_observation(clip.num_frames, self.budget)
        earlier, told = self._earlier(clip, rng) if interrupted and look else ("", None)
        view = View(clip, int(look), observation, clip.sharp_at.index(observation.decoded), told)
        frames = view.frames
        images = [clip.array("strip")[t] for t in frames[:-1]] + [clip.array("sharp")[view.sharp]]
        text = _shown_text(view.turn, observation, "?", clip.num_frames, self.processor)
        text = text[: text.rindex(VISION_END) + len(VISION_END)]
        start = text.rindex(f"{MESSAGE_START}user")
        tokens = [self._tokens(image) for image in images]
        parts = text[start:].split(IMAGE)
        expanded = parts[0] + "".join(IMAGE * n + part for n, part in zip(tokens, parts[1:], strict=True))
        system = "" if look else text[:start]
        example = Example(clip, self.encode(earlier + expanded), self.encode(system), images, frames, view.sharp, [])
        for query, said in queries:
            seen = self._seen(clip, query, frames[:-1])
            heard = chance_table(rng, len(seen)) if rng.random() < misled else seen
            more = rng if interrupted else None
            example.answers.append(self._answer(view, query, said, (seen, heard), more))
        return example

    def _earlier(self, clip: Clip, rng: Rng) -> tuple[str, Span | None]:
        """A reply about other frames, by chance, and its window, which is to be said again.

        What is shown after it has to be looked at all the same: its table does not tell.
        """
        strip = first_observation(clip.num_frames, self.budget).indices[:-1]
        seen = dict(zip(strip, chance_table(rng, len(strip)), strict=True))
        reply = Reply()
        window = span_of(seen)
        add_table(reply, "The target:", seen, window, plural=False)
        return f"{MESSAGE_START}assistant\n{reply.text}{MESSAGE_END}\n", window

    def pictures(self, clip: Clip, rng: Rng, strips: int) -> Example:
        """Frames at random and one sharp image, with nothing asked: what is in them is known all the same."""
        frames = sorted(int(t) for t in rng.permutation(clip.sharp_at)[:strips])
        sharp = int(rng.integers(len(clip.sharp_at)))
        images = [clip.array("strip")[t] for t in frames] + [clip.array("sharp")[sharp]]
        return Example(clip, [], [], images, [*frames, clip.sharp_at[sharp]], sharp, [])

    def _window(self, clip: Clip, rng: Rng, queries: Sequence[tuple[Query, str]]) -> Observation:
        """A window around a kept sharp frame, where the first query's target is seen if it can be."""
        targets = list(queries[0][0].targets)
        seen = clip.array("seen")[targets].any(0) if targets else np.ones(clip.num_frames, bool)
        frames = [t for t in clip.sharp_at if seen[t]]
        if not frames or rng.random() < 0.15:
            frames = clip.sharp_at
        key = int(frames[rng.integers(len(frames))])
        half = int(rng.integers(3, max(4, clip.num_frames // 3)))
        start, end = (
            max(0, key - int(rng.integers(1, half))),
            min(clip.num_frames - 1, key + int(rng.integers(1, half))),
        )
        return look_observation(Selection(start=start, end=end, keyframe=key), clip.num_frames, self.budget)

    def _tokens(self, image: Any) -> int:
        return int(image.shape[0] // self.token) * int(image.shape[1] // self.token)

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _seen(self, clip: Clip, query: Query, frames: Sequence[int]) -> list[bool]:
        targets = list(query.targets)
        return [bool((clip.array("seen")[targets, frame] > 0).any()) for frame in frames]

    def _answer(self, view: View, query: Query, said: str, tables: Tables, rng: Rng | None) -> Answer:
        frames = view.frames
        seen, heard = tables
        reply = self._reply(view, query, said, tables, rng)
        text = _shown_text(view.turn, view.observation, said, view.clip.num_frames, self.processor)
        text = text[text.rindex(VISION_END) + len(VISION_END) :]
        coded = self.tokenizer(text + reply.text + MESSAGE_END, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], coded["offset_mapping"]
        shift = len(text)
        weights = [0.0 if end <= shift else PLAIN for _, end in offsets]
        names = [""] * len(ids)
        looks: list[tuple[int, int]] = []
        for mark in reply.marks:
            inside = [i for i, (s, e) in enumerate(offsets) if s < mark.end + shift and e > mark.start + shift]
            for i in inside:
                weights[i], names[i] = mark.weight, mark.name
            if mark.frame is not None:
                image = len(frames) - 1 if mark.sharp else frames.index(mark.frame)
                looks.append((inside[0] if mark.name == "seg" else inside[0] - 1, image))
        cells = self._cells(view, query)
        seg = next(i for i, name in enumerate(names) if name == "seg")
        read = self._as_heard(ids, names, heard)
        present = self._seen(view.clip, query, frames[-1:])[0]
        answer = Answer(list(ids), read, weights, names, looks, seg, query, said, cells, seen, present)
        place = _after(names, "window") + 1  # the full stop still belongs to the table
        joints = [next(i for i, weight in enumerate(weights) if weight), place, seg, seg + 1]
        if rng is None:
            return answer
        return self._interrupted(answer, joints, draw_said(rng, frames[:-1], heard), rng)

    def _as_heard(self, ids: Sequence[int], names: Sequence[str], heard: Sequence[bool]) -> list[int]:
        read, decided = list(ids), [i for i, name in enumerate(names) if name == "seen"]
        for at, there in zip(decided, heard, strict=True):
            read[at] = self.decisions[there]
        return read

    def _spaced(self, token: int) -> int:
        return self.encode(f" {self.tokenizer.decode([token])}")[0]

    def _interrupted(self, answer: Answer, joints: list[int], said: Said, rng: Rng) -> Answer:
        """The answer with other text before some of the tokens `joints`: nothing in it may depend on distances.

        What a dialogue writes between the parts is not known here; who has only ever seen one part right after the
        other finds nothing any more once something stands between them. So words by chance, or fragments of markup.
        """
        for joint in sorted(joints, reverse=True):
            if rng.random() >= INTERRUPTED:
                continue
            words, weights = self._between(said if joint > joints[0] else None, rng)
            answer.ids[joint:joint] = words
            answer.read[joint:joint] = words
            answer.weights[joint:joint] = weights
            answer.weights[joint + len(words)] = 0.0  # that they end here cannot be known
            answer.names[joint:joint] = [""] * len(words)
            answer.looks = [(at + len(words) * (at >= joint), image) for at, image in answer.looks]
            answer.seg += len(words) * (answer.seg >= joint)
            if joint == joints[0]:  # the reply's first word, which follows a space now
                first = self._spaced(answer.ids[joint + len(words)])
                answer.ids[joint + len(words)] = answer.read[joint + len(words)] = first
        return answer

    def _between(self, said: Said | None, rng: Rng) -> tuple[list[int], list[float]]:
        """Tokens that stand between two parts, and their weights: which fragment comes next cannot be known."""
        if rng.random() >= FRAGMENTS:
            words = rng.integers(self.words, size=int(rng.integers(1, FILLER + 1))).tolist()
            return words, [0.0] * len(words)
        ids: list[int] = []
        weights: list[float] = []
        for fragment in draw_fragments(rng, said):
            tokens = self.encode(fragment)
            ids += tokens
            weights += [0.0] + [COPIED if token in self.numbers else PLAIN for token in tokens[1:]]
        return ids, weights

    def _reply(self, view: View, query: Query, said: str, tables: Tables, rng: Rng | None) -> Reply:
        clip, frames, targets = view.clip, view.frames, list(query.targets)
        plural = len(targets) > 1
        colours = [set(clip.looks[k]["colours"]) for k in targets]
        reply = Reply()
        seen, heard = (dict(zip(frames[:-1], table, strict=True)) for table in tables)
        add_table(reply, lead(said, colours), seen, view.told or span_of(heard), plural)
        key = frames[-1]
        spots = self._spots(view, targets)
        if rng is not None and spots and rng.random() < MISPLACED:
            add_place(reply, key, [_anywhere(spots[0], rng)], plural, learned=False)
        else:
            add_place(reply, key, spots, plural)
        add_seg(reply, key)
        return reply

    def _spots(self, view: View, targets: list[int]) -> list[Spot]:
        clip, key = view.clip, view.frames[-1]
        spots = []
        for k in targets:
            y, x = np.nonzero(clip.array("owners")[view.sharp] == k + 1)
            if clip.array("seen")[k, key] and len(x):
                side = clip.array("owners").shape[-1]
                box = (x.min() / side, y.min() / side, (x.max() + 1) / side, (y.max() + 1) / side)
                cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                spots.append(Spot(clip.looks[k]["colours"][key], cx, cy, box[2] - box[0], box[3] - box[1]))
        return spots

    def _cells(self, view: View, query: Query) -> list[npt.NDArray[np.bool_]]:
        clip, frames, targets = view.clip, view.frames, list(query.targets)
        covered = clip.array("cells")[targets].astype(np.int32).sum(0) if targets else None
        cells = []
        for t in frames[:-1]:
            cells.append(_marked(covered[t]) if covered is not None else np.zeros(clip.array("cells").shape[2:], bool))
        owners = clip.array("owners")[view.sharp]
        rows, columns = (side // self.token for side in clip.array("sharp").shape[1:3])
        import cv2

        mask = np.isin(owners, [k + 1 for k in targets]).astype(np.float32) * 255
        cells.append(_marked(cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)))
        return [cell.reshape(-1) for cell in cells]


def chance_table(rng: Rng, frames: int) -> list[bool]:
    """Yes and no by chance: of every frame for itself, or as one run of yes."""
    if rng.random() < 0.4:
        return [bool(there) for there in rng.random(frames) < 0.5]
    first, last = sorted(int(at) for at in rng.integers(frames, size=2))
    return [first <= at <= last for at in range(frames)]


def _anywhere(spot: Spot, rng: Rng) -> Spot:
    """The spot at a place and of a size by chance: what follows has to look instead of believing the words."""
    x, y, width, height = rng.random(4)
    return Spot(spot.colour, float(x), float(y), float(width) / 2, float(height) / 2)


def _after(names: Sequence[str], name: str) -> int:
    """Number of the token after the last one of that name."""
    return max(i for i, given in enumerate(names) if given == name) + 1


def _marked(share: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Cells that show the target: those with at least half of what the fullest has."""
    most = share.max()
    return np.asarray(share >= max(1, 0.5 * most)) if most > 0 else np.zeros(share.shape, bool)
