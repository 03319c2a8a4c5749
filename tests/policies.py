"""Small policies of the real classes for tests: one with random weights, and one that has learned to speak.

`tiny_policy` writes a policy that knows nothing: what it says never parses. `speaking_policy` overfits one for some
seconds on given episodes, until it repeats their turns word by word. `spoken_episodes` makes such episodes of a demo
tree, all with the same two short turns: a look, then an answer. Folders are made once and not changed by tests.
`pickled` makes a folder one that must be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vtscot.budget import Budget
from vtscot.episode import episode_of, system_text
from vtscot.frames import Frames
from vtscot.policy.settings import TinySettings
from vtscot.records import Episode, Plan, Query, Selection, Step, Thought
from vtscot.sources.registry import open_source

BUDGET: Final = Budget(
    temporal_frames=3,
    spatial_frames=1,
    window_frames=2,
    temporal_pixels=64 * 48,
    spatial_pixels=64 * 48,
    keyframe_pixels=64 * 48,
    max_turns=3,
    max_new_tokens=96,
)
"""The budget that the policies of this module are made for; it is in their config."""

SIZES: Final = TinySettings(sam_size=64)
THOUGHT: Final = Thought(temporal="It is there.", spatial="In the middle.", linguistic="It fits.", action="Go on.")
LOOK, ANSWER = (2, 9, 5), (3, 8, 6)  # start, end, keyframe
MAX_STEPS: Final = 400
TOGETHER: Final = 2  # episodes in a batch

Said = Sequence[tuple[Episode, Frames]]


def spoken_episodes(root: Path, count: int = 24, budget: Budget = BUDGET) -> list[Any]:
    """(episode, frames) of `count` queries of a demo tree, spread over both splits; all turns say the same."""
    found = []
    for split in ("train", "valid_u"):
        source = open_source("demo", root, split)
        videos = {video.name: video for video in source.videos()}
        found += [(query, videos[query.video], source) for query in source.queries()]
    return [
        (_episode(query, len(video.frames), budget), source.frames(video))
        for query, video, source in found[:: max(1, len(found) // count)][:count]
    ]


def pickled(folder: Path) -> None:
    """The weights of a policy's folder are a pickle now."""
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def _episode(query: Query, num_frames: int, budget: Budget) -> Episode:
    chosen = [Selection(start=start, end=end, keyframe=key) for start, end, key in (LOOK, ANSWER)]
    steps = tuple(Step(selection=selection, keyframes=(selection.keyframe,)) for selection in chosen)
    plan = Plan(query_id=query.id, num_frames=num_frames, difficulty=0.5, steps=steps)
    return episode_of(query, plan, [THOUGHT] * len(steps), budget)


def tiny_policy(out: Path, said: Said, *, seed: int = 0, settings: TinySettings = SIZES) -> Path:
    """A policy with random weights whose tokenizer knows the texts of `said`; returns its folder."""
    from vtscot.policy.init import init_tiny
    from vtscot.policy.tokenizer import episode_texts

    policy = init_tiny(out, seed, episode_texts(episode for episode, _ in said), settings, vocab_size=1200)
    policy.config.budget = BUDGET.model_dump(mode="json")
    policy.save_pretrained(out)
    return out


def speaking_policy(out: Path, said: Said, *, seed: int = 0, settings: TinySettings = SIZES) -> Path:
    """A policy that repeats the turns of `said` greedily, with masks that fill about the left half of the frame."""
    import torch

    from vtscot.policy.model import Policy
    from vtscot.policy.processor import PolicyProcessor

    tiny_policy(out, said, seed=seed, settings=settings)
    policy, processor = Policy.from_pretrained(out), PolicyProcessor.from_pretrained(out)
    processor.system = system_text()  # longer than the brief one: what is learned hangs less on the video
    processor.save_pretrained(out)
    batches = [_batch(policy, processor, said[i : i + TOGETHER]) for i in range(0, len(said), TOGETHER)]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-3, weight_decay=0.0)
    learned = 0  # batches in a row without a wrong token
    for step in range(MAX_STEPS):
        loss, wrong = _loss(policy, batches[step % len(batches)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        learned = learned + 1 if wrong == 0 else 0
        if learned == len(batches):
            break
    else:
        raise AssertionError(f"after {MAX_STEPS} steps {wrong} tokens are still wrong")
    policy.save_pretrained(out)
    return out


def _batch(policy: Any, processor: Any, said: Said) -> dict[str, Any]:
    """The episodes as one batch; `frames` (N, 3, S, S) has one for each mask."""
    import torch

    from vtscot.policy.batch import collate, distinct_images
    from vtscot.policy.tokens import encode_episode, shown_images

    encoded = [
        encode_episode(episode, [i for o in episode.observations for i in shown_images(frames, o)], processor)
        for episode, frames in said
    ]
    batch = distinct_images(collate(encoded, processor.pad_id))
    images = [frames.image(observation.decoded) for episode, frames in said for observation in episode.observations]
    with torch.no_grad():
        return batch | {"features": policy.frame_features(policy.sam_frames(images))}


def _loss(policy: Any, batch: dict[str, Any]) -> tuple[Any, int]:
    """Of the next token, the mask and the object score; and how many tokens the policy would get wrong."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw", "image_index")
    labels = batch["labels"][:, 1:]
    at = (labels != -100).nonzero()
    hidden: list[Any] = []
    handle = policy.vlm.lm_head.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    logits = policy(**{name: batch[name] for name in names}).logits
    handle.remove()
    segs = batch["seg_index"]
    masks = policy.decode_masks(hidden[0][segs[:, 0], segs[:, 1]], batch["features"], torch.arange(len(segs)))
    left = torch.zeros_like(masks.logits)
    left[..., : left.shape[-1] // 2] = 1.0
    spoken, wanted = logits[at[:, 0], at[:, 1]], labels[at[:, 0], at[:, 1]]
    shape = binary_cross_entropy_with_logits(masks.logits, left) + softplus(1 - masks.object_scores).mean()
    return cross_entropy(spoken, wanted) + 0.1 * shape, int((spoken.argmax(-1) != wanted).sum())
