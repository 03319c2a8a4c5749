"""What a policy says next when all words before are true: its accuracy by kind of decision, and the IoU of its masks.

Beside what it does when it writes by itself (`vtscot eval --model`) this tells what it does not know from what it loses
on its way. The second figure of the masks is with the words of place and size replaced by others, by chance: how much
of a mask is looked for, and how much is read off these words. Of brief episodes (`vtscot build --recipe speedrun`).

    python bench/forced.py [--quick] [--json] [--run RUN] [--policy DIR] [--records N]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch

from vtscot.build import build
from vtscot.policy.load import load_policy
from vtscot.recipe import load_recipe
from vtscot.sft.batching import Collator, Samples
from vtscot.sft.encoding import Encoder
from vtscot.sft.examples import open_examples
from vtscot.sft.trainer import INPUTS
from vtscot.training.losses import mask_ious
from vtscot.words.places import PLACES, SIZES

RECIPE: Final = Path(__file__).resolve().parents[1] / "pipelines" / "speedrun.yaml"
PLACE: Final = r"target is(?: \w+)?,( [\w ]+?) across,( [\w ]+?) down,( [\w ]+?) as wide and( [\w ]+?) as tall"
DECISIONS: Final = {
    "yes or no": r" (?:yes|no)(?=[,.])",
    "colour": r"(?<=target is)( \w+),",
    "place and size": PLACE,
    "window: start": r'"start": (\d+)',
    "window: end": r'"end": (\d+)',
    "keyframe": r'"keyframe": (\d+)',
    "select or answer": r"</think><(select|answer)",
    "the closing tag": r"</RefSeg></(select|answer)",
}
"""Where the decisions stand in a reply; all tokens of a group have to be right."""
TURNS: Final = ("first", "later")


def spans(text: str, pattern: str) -> Iterator[tuple[int, int]]:
    """Characters of what is decided: the groups of every match, or the match."""
    for match in re.finditer(pattern, text):
        yield from (match.span(group) for group in range(1 if match.groups() else 0, len(match.groups()) + 1))


def tokens_of(pieces: Sequence[str], start: int, end: int) -> list[int]:
    """Numbers of the pieces of a text that hold some of its characters `start` to `end`."""
    found, offset = [], 0
    for number, piece in enumerate(pieces):
        if offset < end and offset + len(piece) > start:
            found.append(number)
        offset += len(piece)
    return found


class Forced:
    """A policy before the records of a run; everything is counted by name and turn."""

    def __init__(self, run: Path, policy: str, records: int) -> None:
        self.policy, self.processor = load_policy(policy, "cpu", "float32")
        self.policy.eval()
        encoder = Encoder(open_examples(str(run)), self.processor, self.policy.config.image_size, 256)
        chosen = range(0, len(encoder), max(1, len(encoder) // records))[:records]
        samples, collate = Samples(encoder, list(chosen)), Collator(encoder)
        self.batches = [collate([samples[0, i]]) for i in range(len(chosen))]
        self.turns = [samples[0, i][2].encoded.turn_spans for i in range(len(chosen))]
        encode = self.processor.tokenizer.encode
        words = {word for phrase in (*PLACES, *SIZES) for word in phrase.split()} - {"a", "an", "of", "the", "way"}
        coded = [encode(f" {word}", add_special_tokens=False) for word in sorted(words)]
        self.places = torch.tensor([ids[0] for ids in coded if len(ids) == 1])

    def figures(self) -> dict[str, dict[str, float]]:
        """Per decision and kind of mask, the mean of the first and of the later turns."""
        right: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number, (batch, turns) in enumerate(zip(self.batches, self.turns, strict=True)):
            said = self._run(batch)
            for name, turn, value in (*self._decided(batch, turns, said), *_masked("mask IoU", batch, said)):
                right[name][turn].append(value)
            changed = self._run(batch | {"input_ids": self._misplaced(batch["input_ids"], turns, number)})
            for name, turn, value in _masked("mask IoU, places by chance", batch, changed):
                right[name][turn].append(value)
        return {name: {turn: fmean(values) for turn, values in found.items()} for name, found in right.items()}

    @torch.no_grad()
    def _run(self, batch: dict[str, Any]) -> Any:
        return self.policy(**{name: batch[name] for name in INPUTS})

    def _pieces(self, ids: torch.Tensor) -> list[str]:
        return [self.processor.tokenizer.decode([token]) for token in ids.tolist()]

    def _decided(self, batch: dict[str, Any], turns: Any, said: Any) -> Iterator[tuple[str, str, float]]:
        ids, best = batch["input_ids"][0], said.logits[0].argmax(-1)
        for number, (first, last) in enumerate(turns):
            pieces = self._pieces(ids[first:last])
            for name, pattern in DECISIONS.items():
                for start, end in spans("".join(pieces), pattern):
                    places = [first + i for i in tokens_of(pieces, start, end)]
                    yield name, TURNS[number > 0], float(all(best[i - 1] == ids[i] for i in places))

    def _misplaced(self, ids: torch.Tensor, turns: Any, seed: int) -> torch.Tensor:
        changed, draw = ids.clone(), torch.Generator().manual_seed(seed)
        for first, last in turns:
            pieces = self._pieces(ids[0, first:last])
            for start, end in spans("".join(pieces), PLACE):
                for i in tokens_of(pieces, start, end):
                    if ids[0, first + i] in self.places:
                        changed[0, first + i] = self.places[torch.randint(len(self.places), (), generator=draw)]
        return changed


def _masked(name: str, batch: dict[str, Any], said: Any) -> Iterator[tuple[str, str, float]]:
    ious, visible = mask_ious(said.mask_logits, batch["masks"])
    for (_, turn, _), iou, there in zip(batch["mask_ids"], ious.tolist(), visible.tolist(), strict=True):
        if there:
            yield name, TURNS[turn > 0], iou


def table(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The figures as lines of text; - where a turn has none."""
    yield f"{'':28}" + "".join(f"{turn + ' turn':>14}" for turn in TURNS)
    for name, row in found.items():
        yield f"{name:28}" + "".join(f"{row[turn]:14.3f}" if turn in row else f"{'-':>14}" for turn in TURNS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 records of 2 videos")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", type=Path, help="whose records [default: 8 videos in a folder that is removed again]")
    parser.add_argument("--policy", default="nano")
    parser.add_argument("--records", type=int, default=80, help="at most, evenly over the run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = nullcontext(None) if options.run else tempfile.TemporaryDirectory(prefix="vtscot-forced-")
    with where as folder:
        run = options.run or Path(folder) / "run"
        if folder is not None:
            build(load_recipe(None, RECIPE, (), {"source.videos": 2 if options.quick else 8}), run)
        found = Forced(run, options.policy, 3 if options.quick else options.records).figures()
    print(json.dumps(found) if options.json else "\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
