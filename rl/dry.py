"""`vtscot train rl --dry-run`: what a step would be made of, what memory it would need, and one rollout as text."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accelerate import PartialState

from vtscot.policy.load import choose_device
from vtscot.progress import Progress

from .order import Order
from .pages import earned
from .recipe import RlRecipe, accumulation
from .scoring import batch_of, completion
from .train import Data, Work, prepare, told
from .trials import Trialled

ADAM: Final = 2  # numbers that the optimiser keeps per trained parameter
FLOAT: Final = 4  # bytes: weights, gradients and moments are float32


@dataclass(frozen=True)
class Rehearsal:
    """What was found; `rollout` is its text, turn by turn."""

    shapes: dict[str, list[int]]
    bytes: dict[str, int]
    counts: dict[str, Any]
    rollout: tuple[str, ...]
    earned: str

    def json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "shapes": self.shapes,
            "bytes": self.bytes,
            **self.counts,
            "rollout": list(self.rollout),
            "earned": self.earned,
        }

    def lines(self) -> list[str]:
        """As lines of text."""
        shapes = [f"{name:<20}{' x '.join(map(str, shape))}" for name, shape in self.shapes.items()]
        memory = [f"{name:<20}{size / 2**20:,.0f} MiB" for name, size in self.bytes.items()]
        turns = [f"turn {i}: {text}" for i, text in enumerate(self.rollout)]
        return ["", "queries " + str(self.counts["queries"]), "", *shapes, "", *memory, "", *turns, self.earned]


def rehearse(data: Data, model: str | None, recipe: RlRecipe, *, device: str, progress: Progress) -> Rehearsal:
    """Load everything, make a few rollouts and measure them; writes nothing. Raises what a training would raise."""
    state = PartialState(cpu=choose_device(device).type == "cpu")
    accumulate = accumulation(recipe, state.num_processes)
    with tempfile.TemporaryDirectory(prefix="vtscot-") as scratch:
        work = prepare(data, model, recipe, Path(scratch), progress)
        Order(work.tasks.ids, recipe, accumulate)
        rows = [row for row in work.probed.rows if row is not None]
        longest = max(rows, key=lambda row: len(row.rollout.encoded(work.processor)))
        return Rehearsal(
            shapes(work, recipe, longest, accumulate),
            memory(work, recipe, longest),
            told(work.tasks, work.parts),
            tuple(turn.text for turn in longest.rollout.turns),
            earned(longest),
        )


def shapes(work: Work, recipe: RlRecipe, longest: Trialled, accumulate: int) -> dict[str, list[int]]:
    """Sizes of a step: its parts, and its longest rollout among those made."""
    batch = batch_of([longest], work.processor, spatial=recipe.mask_loss > 0)
    encoded = longest.rollout.encoded(work.processor)
    group = recipe.group
    return {
        "step": [group.prompts, group.size],
        "batches per process": [accumulate, group.per_device],
        "tokens": [group.per_device, len(encoded)],
        "completion": [group.per_device, len(completion(encoded, longest.rollout.turns)[0])],
        "sampled": [group.per_device * len(batch.tokens)],
        "image patches": list(batch.inputs["pixel_values"].shape),
        "distinct images": [len(batch.inputs["image_grid_thw"])],
        "masks": [group.per_device * len(batch.seg_index), *batch.rolled.shape[1:]],
    }


def memory(work: Work, recipe: RlRecipe, longest: Trialled) -> dict[str, int]:
    """Bytes on each device, estimated: what is kept all the time, and the largest tensors of one batch.

    Activations count the inputs of every layer, which is all that stays with gradient checkpointing; without, they are
    some ten times as large. Logits are counted with their gradient.
    """
    text = work.policy.config.get_text_config()
    batch = batch_of([longest], work.processor, spatial=recipe.mask_loss > 0)
    rows, tokens = recipe.group.per_device, batch.inputs["input_ids"].shape[1]
    trained = sum(part.trained for part in work.parts.values())
    kept = sum(part.total for part in work.parts.values())
    width = 2 if recipe.precision == "bf16" else FLOAT
    layers = rows * tokens * text.hidden_size * text.num_hidden_layers * width
    reference = 0 if work.reference is None else sum(p.numel() for p in work.reference.parameters())
    found = {
        "weights": kept * FLOAT,
        "reference": reference * FLOAT,
        "gradients": trained * FLOAT,
        "optimiser": trained * ADAM * FLOAT,
        "activations": layers * (1 if recipe.gradient_checkpointing else 10),
        "logits": 2 * rows * len(batch.tokens) * text.vocab_size * FLOAT,
        "masks": 2 * rows * len(batch.seg_index) * work.policy.config.image_size**2 // 16 * FLOAT,
    }
    return found | {"in all": sum(found.values())}
