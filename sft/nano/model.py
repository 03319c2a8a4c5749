"""A policy being warmed up: its language model over packed examples, and heads that only training has.

The heads say what each image token shows, and what the hidden state at `[SEG]` knows of the target; one attention head
is told where to look when a frame's `yes` or `no` is decided. They shape the states that the policy's own parts read,
and are thrown away afterwards.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtscot.demo.palette import COLOURS
from vtscot.demo.shapes import SHAPES
from vtscot.policy.decode import decode, encode_frames
from vtscot.sft.nano.batch import FINE, LOOKS, Batch
from vtscot.sft.nano.packed import Level, Outcome, run
from vtscot.sft.nano.prompts import Prompter, mask_loss, sam_pixels, target_facts

PROBE: Final = -2  # layer whose first head is told where to look


class Warmup(nn.Module):  # type: ignore[misc]
    """`policy` and the extra heads."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy
        hidden = policy.config.hidden_size
        self.shows = nn.Linear(hidden, len(LOOKS))
        self.knows = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 5 + len(LOOKS)))
        self.asks = nn.Linear(hidden, len(LOOKS))
        self.still_shows = nn.Linear(hidden, len(LOOKS))
        self.outlines = nn.Linear(hidden, 2 * FINE * FINE)
        self.probe = PROBE % len(self.text.layers)
        self.prompter = Prompter(policy.config.prompt_size)

    @property
    def text(self) -> Any:
        return self.policy.vlm.model.language_model

    def outcome(self, batch: Batch) -> tuple[Outcome, Tensor]:
        """The packed pass, and the features (T, hidden) of all image tokens in order of the heads' tokens."""
        model = self.policy.vlm.model
        encoded = model.visual(batch.pixels, grid_thw=batch.grids, return_dict=True)
        features = encoded.pooler_output[batch.order]
        deep = [level[batch.order] for level in encoded.deepstack_features]
        embed = self.text.embed_tokens
        visual = batch.heads == self.policy.config.vlm_config.image_token_id
        embeds = embed(batch.heads).masked_scatter(visual[..., None], features)
        levels = []
        if batch.system.shape[1]:
            ids = batch.system
            where = torch.arange(ids.shape[1])[None, None].expand(3, 1, -1)
            levels.append(Level(embed(ids), where, torch.ones_like(ids, dtype=torch.bool), torch.zeros(0)))
        above = torch.zeros(len(batch.heads), dtype=torch.int64)
        levels.append(Level(embeds, batch.head_positions, batch.head_keep, above, visual, deep))
        levels.append(Level(embed(batch.read), batch.tail_positions, batch.tail_keep, batch.parent))
        return run(self.text, levels, self.probe), features

    def forward(self, batch: Batch, masks: bool = False) -> dict[str, Tensor]:
        """The terms of the loss, each a mean over what it is about; with those of the `[SEG]` masks if asked for."""
        outcome, features = self.outcome(batch)
        hidden = outcome.hidden[-1]
        learned = batch.weights[:, 1:] > 0
        logits = self.policy.vlm.lm_head(hidden[:, :-1][learned])
        weights = batch.weights[:, 1:][learned]
        each = functional.cross_entropy(logits, batch.tails[:, 1:][learned], reduction="none")
        seg = hidden[torch.arange(len(hidden)), batch.seg]
        terms = {
            "text": (each * weights).sum() / weights.sum(),
            "shows": shows_loss(self.shows(features), batch.cells),
            "looks": look_loss(outcome, batch),
            "asks": self._asks(outcome, batch),
            "knows": knows_loss(self.knows(seg), batch.seg_facts),
        }
        return {**terms, **self.masks(batch, seg)} if masks else terms

    def reads(self, ids: Tensor, keep: Tensor, learned: Tensor) -> Tensor:
        """Mean cross-entropy of the `learned` tokens of `passages`; all are (R, T)."""
        where = torch.arange(ids.shape[1])[None, None].expand(3, len(ids), -1)
        level = Level(self.text.embed_tokens(ids), where, keep, torch.zeros(0))
        states = run(self.text, [level], self.probe).hidden[0]
        logits = self.policy.vlm.lm_head(states[:, :-1][learned[:, 1:]])
        return functional.cross_entropy(logits, ids[:, 1:][learned[:, 1:]])

    def _asks(self, outcome: Outcome, batch: Batch) -> Tensor:
        """What the probed layer needs on both sides: the looks asked for where it looks, those shown where it finds.

        To learn to match the two is easy once both are there, and hopeless while one of them is missing.
        """
        row, position = batch.looks.T
        asked = self.asks(outcome.before[-1][row, position])
        visual = batch.heads == self.policy.config.vlm_config.image_token_id
        shown = self.still_shows(outcome.before[-2][visual])
        loss = functional.binary_cross_entropy_with_logits(asked, batch.asks)
        return 5 * (loss + functional.binary_cross_entropy_with_logits(shown, batch.cells))

    def pictures(self, pixels: Tensor, grids: Tensor, order: Tensor, cells: Tensor, fine: Tensor) -> dict[str, Tensor]:
        """Of images alone: `shows`, and how well a token's outlines and lightness can be told from its feature."""
        features = self.policy.vlm.model.visual(pixels, grid_thw=grids, return_dict=True).pooler_output[order]
        there, grey = self.outlines(features).view(-1, 2, FINE, FINE).unbind(1)
        found = functional.binary_cross_entropy_with_logits(there, fine[:, 0])
        return {
            "shows": shows_loss(self.shows(features), cells),
            "outlines": 10 * found,
            "grey": functional.mse_loss(grey, fine[:, 1]),
        }

    def masks(self, batch: Batch, seg: Tensor) -> dict[str, Tensor]:
        """`prompt`: how far the projection is from the prompt that SAM 2 understands; and the masks it gives."""
        policy, facts, flags, truth = self.policy, [], [], []
        for example in batch.examples:
            owners = example.clip.array("owners")[example.sharp]
            for answer in example.answers:
                fact, there = target_facts(example.clip, example.sharp, answer.query.targets)
                facts.append(fact)
                flags.append(there)
                targets = [k + 1 for k in answer.query.targets]
                truth.append(np.isin(owners, targets) if there.any() else np.zeros(owners.shape, bool))
        with torch.no_grad():
            wanted = self.prompter(torch.from_numpy(np.stack(facts)), torch.from_numpy(np.stack(flags)))
        prompts = policy.projector(seg)
        pixels = sam_pixels([e.clip.array("sam")[e.sharp] for e in batch.examples])
        decoded = decode(policy.sam, prompts, encode_frames(policy.sam, pixels, len(pixels)), batch.parent)
        masks = torch.from_numpy(np.stack(truth))
        present = masks.flatten(1).any(1)
        found = mask_loss(decoded, masks, present)
        found["said"] = ((decoded.object_scores > 0) == present).float().mean()
        return {"prompt": functional.mse_loss(prompts, wanted) / wanted.var().clamp(min=1e-3), **found}


def shows_loss(said: Tensor, cells: Tensor) -> Tensor:
    """Every look by itself, and, where a token shows one object, its shape and its texture among all of them."""
    loss = 10 * functional.binary_cross_entropy_with_logits(said, cells)
    for start, end in ((len(COLOURS), len(COLOURS) + len(SHAPES)), (len(COLOURS) + len(SHAPES), len(LOOKS))):
        one = cells[:, start:end].sum(1) == 1
        if one.any():
            loss = loss + functional.cross_entropy(said[one, start:end], cells[one, start:end].argmax(1))
    return loss


def look_loss(outcome: Outcome, batch: Batch) -> Tensor:
    """Mean of -log of the attention of the probed layer's first head that goes where it should."""
    row, position = batch.looks.T
    query = outcome.query[row, 0, position]
    keys = outcome.keys[:, 0]
    scores = torch.einsum("nd,ntd->nt", query, keys[row]) * query.shape[-1] ** -0.5
    scores = scores + outcome.mask[row, 0, position]
    start = batch.system.shape[1]
    inside = scores[:, start : start + batch.look_at.shape[1]].masked_fill(~batch.look_at, -1e9)
    return (scores.logsumexp(-1) - inside.logsumexp(-1)).mean()


def knows_loss(said: Tensor, facts: Tensor) -> Tensor:
    """Presence; place and looks where the target is present."""
    there = facts[:, 0] > 0
    present = functional.binary_cross_entropy_with_logits(said[:, 0], facts[:, 0])
    if not there.any():
        return present
    place = functional.smooth_l1_loss(said[there, 1:5], facts[there, 1:5], beta=0.1)
    looks = functional.binary_cross_entropy_with_logits(said[there, 5:], facts[there, 5:])
    return present + 5 * place + looks
