"""What is looked at before the first step: whether a turn fits, and whether the policy has had its cold start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from transformers import Qwen3VLForConditionalGeneration
from trl.import_utils import is_vllm_available

from vtscot.errors import PolicyError, UsageError
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import encode_reply
from vtscot.records import Selection, Thought, Turn

from .queries import Tasks
from .recipe import RlRecipe
from .rolling import Generation, Roller
from .trials import Trialled

PROBED: Final = 4  # queries
SAMPLES: Final = 2  # rollouts of each


def check_length(policy: Any, processor: PolicyProcessor, recipe: RlRecipe) -> None:
    """UsageError where a reply may not have the tokens of the shortest turn, or the model has not so many at all."""
    shortest = Turn(
        thought=Thought(temporal=".", spatial=".", linguistic=".", action="."),
        action="answer",
        selection=Selection(start=0, end=0, keyframe=0),
    )
    needed, given = len(encode_reply(shortest, processor)), recipe.rollout_budget.max_new_tokens
    if given < needed:
        raise UsageError(
            f"a reply may have {given} tokens, but the shortest turn has {needed}; raise it by --set max_new_tokens="
        )
    window = int(policy.config.get_text_config().max_position_embeddings)
    if window <= given:
        raise UsageError(
            f"a reply may have {given} tokens, but the model's window has {window}, prompt and all;"
            " lower it by --set max_new_tokens="
        )


def check_launch() -> None:
    """UsageError under a launcher that shares out the weights: rollouts call parts of a policy, which need theirs."""
    for name, variable in (("FSDP", "ACCELERATE_USE_FSDP"), ("DeepSpeed", "ACCELERATE_USE_DEEPSPEED")):
        if os.environ.get(variable, "false").lower() == "true":
            raise UsageError(f"train rl needs whole weights in every process, which {name} shares out: take ddp.yaml")


def check_generation(policy: Any, recipe: RlRecipe) -> None:
    """UsageError where vLLM is to write but is not installed, or does not know the policy's language model."""
    if recipe.generation == "hf":
        return
    if not is_vllm_available():
        raise UsageError(
            "the recipe says generation: vllm, but vLLM is not installed: docs/training.md says how;"
            " --set generation=hf needs nothing more"
        )
    if not isinstance(policy.vlm, Qwen3VLForConditionalGeneration):
        raise UsageError(f"generation: vllm knows Qwen3-VL, not {type(policy.vlm).__name__}; take --set generation=hf")


def probe(policy: Any, processor: PolicyProcessor, recipe: RlRecipe, tasks: Tasks, name: str) -> Generation:
    """A few rollouts; PolicyError where none of them can be made, or none has a `[SEG]`."""
    count = min(PROBED, len(tasks))
    numbers = [i * len(tasks) // count for i in range(count)]
    found = Roller(policy, processor, recipe, tasks).generation(numbers, "probe", SAMPLES)
    rows = [row for row in found.rows if row is not None]
    if not rows:
        query, reason = found.failures[0]
        raise PolicyError(f"{query}: {reason}; none of {len(found.rows)} rollouts could be made")
    _check_window(rows, recipe)
    if not any(turn.seg_hidden is not None for row in rows for turn in row.rollout.turns):
        raise PolicyError(
            f"{name}: none of {len(rows)} rollouts has a [SEG], so there is no mask to reward: do the cold start first"
            " (vtscot train sft)"
        )
    return found


def _check_window(rows: Sequence[Trialled], recipe: RlRecipe) -> None:
    """UsageError where what vLLM may read has no room for a first look and the longest reply to it."""
    first = max(len(row.rollout.pieces[0].input_ids) for row in rows)
    reply = recipe.rollout_budget.max_new_tokens
    if recipe.generation == "vllm" and first + reply > recipe.vllm.window:
        raise UsageError(
            f"vllm.window {recipe.vllm.window} has no room for a first look of {first} tokens and a reply of {reply};"
            " raise it by --set vllm.window="
        )
