"""`vtscot init-policy`: join two checkpoints into a policy, or build a small one with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from vtscot.cli.progress import progress
from vtscot.errors import UsageError


def init_policy_command(
    vlm: str | None, sam2: str | None, out: Path, data: Path | None, dtype: str, seed: int, *, tiny: bool, as_json: bool
) -> None:
    """Make the policy in `out` and print what it consists of."""
    _check_options(vlm, sam2, out, data, dtype, tiny=tiny)
    need_extra()
    from transformers.utils import logging

    from vtscot.policy.trainable import counts

    logging.disable_progress_bar()
    with progress() as say:
        policy = _tiny(out, data, seed, say) if tiny else _joined(str(vlm), str(sam2), out, dtype, seed, say)
    parts = {name: count.total for name, count in counts(policy).items()}
    figures = {
        "policy": str(out),
        "parameters": sum(parts.values()),
        "parts": parts,
        "dtype": str(policy.dtype).removeprefix("torch."),
        "seg_token_id": policy.config.seg_token_id,
        "image_size": policy.config.image_size,
    }
    typer.echo(json.dumps(figures) if as_json else "\n".join(_table(figures, parts)))


def _tiny(out: Path, data: Path | None, seed: int, say: Any) -> Any:
    from vtscot.policy.init import init_tiny
    from vtscot.policy.texts import texts_of

    say.stage("texts")
    texts = texts_of(data)
    say.stage("policy")
    return init_tiny(out, seed, texts)


def _joined(vlm: str, sam2: str, out: Path, dtype: str, seed: int, say: Any) -> Any:
    from vtscot.policy.init import init_policy

    say.stage("policy")
    return init_policy(vlm, sam2, out, dtype=dtype, seed=seed)


def _table(figures: dict[str, Any], parts: dict[str, int]) -> list[str]:
    return [
        f"{'parameters':<20}{figures['parameters']:>15,}",
        *(f"  {name:<18}{count:>15,}" for name, count in parts.items()),
        f"[SEG] is token {figures['seg_token_id']}; SAM 2 sees {figures['image_size']} px; {figures['dtype']}",
        f"policy  {figures['policy']}",
    ]


def _check_options(vlm: str | None, sam2: str | None, out: Path, data: Path | None, dtype: str, *, tiny: bool) -> None:
    if tiny and (vlm or sam2):
        raise UsageError("--tiny builds its own models: leave out --vlm and --sam2")
    if not tiny and not (vlm and sam2):
        raise UsageError("give both --vlm and --sam2, or --tiny")
    if data is not None and not tiny:
        raise UsageError("--data trains the tokenizer of a --tiny policy; a joined one keeps that of --vlm")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data} is no folder; give a run or the root of a dataset")
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UsageError(f"--dtype {dtype} is none of auto, float32, bfloat16, float16")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty; choose another --out")


def need_extra() -> None:
    """UsageError where the extra `train` is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{missing[0]} is not installed; a policy needs the extra: pip install 'vtscot[train]'")
