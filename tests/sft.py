"""What the tests of training share: a small run of the demo and a tiny policy that fits it."""

from __future__ import annotations

from pathlib import Path

BUDGET = {
    "temporal_frames": 4,
    "spatial_frames": 1,
    "window_frames": 2,
    "temporal_pixels": 1536,
    "spatial_pixels": 3072,
    "keyframe_pixels": 3072,
}
SMALL = {
    "max_steps": 6,
    "batch": {"effective": 4, "per_device": 2, "sorted_steps": 2},
    "losses": {"points": 64},
    "max_tokens": 4096,
    "precision": "fp32",
    "gradient_checkpointing": False,
    "optimiser": {"lr": 1e-3, "warmup": 0.2},
    "save_every": 2,
    "trainable": {"language_model": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.1}, "image_encoder": True},
}
"""A recipe whose every step is a fraction of a second; with dropout, so that a resume has a state to restore."""


def make_run(directory: Path) -> Path:
    """A run of two demo videos with few and small frames per observation."""
    from vtscot.build import build
    from vtscot.recipe import load_recipe

    flags = {"source.videos": 2, "verify.segmenter": "box", "workers": 1, "limit": 16, "budget": BUDGET}
    build(load_recipe("demo", None, (), flags), directory)
    return directory


def make_third_party(directory: Path) -> Path:
    """`tree`, a MeViS tree of two videos of the demo world, and `run`, made of it: its licence keeps frames at home."""
    from vtscot.build import build
    from vtscot.demo import write_demo
    from vtscot.recipe import load_recipe

    write_demo(directory / "tree", videos=3, seed=0, workers=1)
    flags = {"source.root": str(directory / "tree"), "verify.segmenter": "box", "workers": 1, "limit": 16}
    build(load_recipe("mevis", None, (), flags | {"budget": BUDGET}), directory / "run")
    return directory


def make_policy(directory: Path, run: Path) -> Path:
    """A tiny policy with random weights and a tokenizer of the run's texts."""
    from vtscot.policy.init import init_tiny
    from vtscot.policy.settings import TinySettings
    from vtscot.policy.texts import texts_of

    init_tiny(directory, 0, texts_of(run), TinySettings(hidden=32, layers=1, heads=2, sam_size=64, patch=8))
    return directory
