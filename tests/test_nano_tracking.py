"""SAM 2's memory: its training tracks as `propagate` does, leaves the rest alone, and nano follows a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="policies need the extra `train`")
pytest.importorskip("transformers", reason="policies need the extra `train`")

import torch

from vtscot.budget import PRESETS
from vtscot.policy.load import NANO_FOLDER, load_policy
from vtscot.policy.propagate import propagate
from vtscot.sft.nano.tracking import awaken, draw_tracks, follow, memory_parts, track, track_step
from vtscot.sft.nano.world import Clip, read_shards, write_shard


@pytest.fixture(scope="module")
def sam() -> Any:
    policy, _ = load_policy(NANO_FOLDER, "cpu")
    return policy.sam.eval()


@pytest.fixture(scope="module")
def clips(sam: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("tracking")
    write_shard(folder / "0000.bin", range(3), PRESETS["tiny"], 16, sam.image_size)
    return list(read_shards(folder))


def test_a_batch_of_sequences_is_tracked_as_propagate_does(sam: Any, clips: list[Clip]) -> None:
    batch = draw_tracks(clips, np.random.default_rng(0), 3, 5)
    with torch.no_grad():
        found = track(sam, batch["pixels"], batch["masks"][:, 0])
    assert len(found) == 4
    for row, (pixels, first) in enumerate(zip(batch["pixels"], batch["masks"][:, 0], strict=True)):
        usual = dict(propagate(sam, pixels, 0, first))
        for frame, decoded in enumerate(found, 1):
            there = bool(decoded.object_scores[row] > 0)
            mask = decoded.logits[row] if there else torch.full_like(decoded.logits[row], -1024.0)
            torch.testing.assert_close(mask, usual[frame], atol=2e-2, rtol=1e-2)  # memories are bfloat16


def test_sequences_begin_with_a_mask_and_go_one_way(clips: list[Clip]) -> None:
    batch = draw_tracks(clips, np.random.default_rng(1), 12, 6)
    assert batch["pixels"].shape[:2] == batch["masks"].shape[:2] == (12, 6)
    assert batch["masks"][:, 0].flatten(1).any(1).all()
    again = draw_tracks(clips, np.random.default_rng(1), 12, 6)
    assert torch.equal(batch["masks"], again["masks"]) and torch.equal(batch["pixels"], again["pixels"])
    moved = (batch["pixels"][:, 1:] != batch["pixels"][:, :-1]).flatten(2).any(-1)
    assert moved.any() and not moved.all()


def test_only_the_memory_learns_to_track(clips: list[Clip]) -> None:
    policy, _ = load_policy(NANO_FOLDER, "cpu")
    sam = policy.sam.eval()
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    awaken(sam, torch.Generator().manual_seed(0))
    with memory_parts(sam) as parts:
        optimizer = torch.optim.AdamW(parts, lr=1e-2)
        terms = track_step(sam, draw_tracks(clips, np.random.default_rng(2), 2, 3))
        sum(terms[name] for name in ("mask", "object", "iou")).backward()
        optimizer.step()
    assert all(parameter.requires_grad for parameter in sam.parameters())
    changed = {name for name, value in sam.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("memory_attention.") for name in changed)
    assert any(name.startswith("memory_encoder.") for name in changed)
    decodes = (
        "vision_encoder.",
        "mask_decoder.",
        "no_memory_embedding",
        "prompt_encoder.no_mask_embed.",
        "shared_image",
    )
    assert not [name for name in changed if name.startswith(decodes)]


def test_the_shipped_nano_follows_a_mask_through_a_video(sam: Any, clips: list[Clip]) -> None:
    found = follow(sam, clips)
    assert found["follow_masks"] > 50
    assert found["follow_iou"] > max(0.5, 1.5 * found["follow_constant"]), found
