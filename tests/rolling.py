"""A tiny policy that has learned one episode by heart, so that rollouts have something to say; and short videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from vtscot.budget import Budget
from vtscot.episode import episode_of, system_text
from vtscot.frames import Frames, open_frames
from vtscot.policy.batch import collate
from vtscot.policy.init import init_tiny
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.settings import TinySettings
from vtscot.policy.tokenizer import episode_texts
from vtscot.policy.tokens import encode_episode, shown_images
from vtscot.records import Episode, Plan, Query, Selection, Step, Thought

BUDGET = Budget(
    temporal_frames=5,
    spatial_frames=3,
    window_frames=2,
    temporal_pixels=32 * 32,
    spatial_pixels=32 * 32,
    keyframe_pixels=48 * 48,
    max_new_tokens=90,
)
FRAMES = 24  # of the video that the episode is about
EXPRESSION = "the red circle"


def write_video(folder: Path, frames: int = FRAMES, seed: int = 0) -> Frames:
    """Frames of noise, 64 x 64."""
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{i:05d}.png")
    return open_frames(folder)


def learned() -> Episode:
    """Two looks and an answer; the last windows end at the video's end."""
    query = Query(source="demo", split="train", video="v", exp_id="0", expression=EXPRESSION)
    windows = ((4, 20, 11), (9, 23, 18), (12, 23, 20))
    steps = tuple(Step(selection=Selection(start=s, end=e, keyframe=k), keyframes=(k,)) for s, e, k in windows)
    plan = Plan(query_id=query.id, num_frames=FRAMES, difficulty=0.5, steps=steps)
    words = (("seen late", "left"), ("é moves", "top"), ("stays", "low"))
    thoughts = [Thought(temporal=t, spatial=s, linguistic="circle", action="look") for t, s in words]
    return episode_of(query, plan, thoughts, BUDGET)


def learned_policy(folder: Path, frames: Frames, steps: int = 90) -> tuple[Any, PolicyProcessor]:
    """A tiny policy that writes `learned()` about any video of that kind; its tokenizer has no token for "é"."""
    torch.set_num_threads(1)
    episode = learned()
    texts = [text.replace("é", "") for text in episode_texts([episode])]
    policy = init_tiny(folder, 0, texts, TinySettings(sam_size=64, patch=8), vocab_size=1200)
    processor = PolicyProcessor.from_pretrained(folder)
    processor.system = system_text()  # longer than the brief one: what is learned hangs less on the video
    encoded = encode_episode(episode, _images(frames, episode), processor)
    batch = collate([encoded], processor.pad_id)
    language = policy.vlm.model
    with torch.no_grad():
        policy.get_input_embeddings().weight *= 4  # larger steps of the logits from the first
        images = language.get_image_features(batch["pixel_values"], batch["image_grid_thw"], return_dict=True)
    ids, types = batch["input_ids"], batch["mm_token_type_ids"]
    positions = language.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=batch["image_grid_thw"])[0]
    written = (batch["labels"][0, 1:] != -100).nonzero().flatten()
    language.visual.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in policy.vlm.parameters() if p.requires_grad], betas=(0.9, 0.95))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (step + 1) / 5) * (1 - step / steps)
        hidden = language(input_ids=ids, position_ids=positions, mm_encoder_outputs={"image": images})[0]
        loss = cross_entropy(policy.vlm.lm_head(hidden[0, written]), ids[0, written + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.requires_grad_(True)
    return policy, processor


def _images(frames: Frames, episode: Episode) -> Sequence[Image.Image]:
    return [image for observation in episode.observations for image in shown_images(frames, observation)]
