"""Recipes of the reinforcement stage as one validated model, read from YAML. Needs no torch.

The defaults are the released settings; vtscot's own choices (the terms that count, p > 0.5 for the masks of the
calibration) are those of the rewards' preset `default` and of `threshold` 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import Field, field_serializer, model_validator

from vtscot.budget import PRESETS, Budget, NamedBudget, PresetName
from vtscot.errors import UsageError
from vtscot.policy.settings import TrainableSettings
from vtscot.records import Frozen
from vtscot.settings import changes, parse_tree, put, recipe_text, shipped_names, validated
from vtscot.training.settings import OptimiserSettings

from .rewards import Preset, terms_of

DEFAULT: Final = "rl_tiny"
PREFIX: Final = "rl_"  # of the names of shipped recipes
BUDGET: Final = "rl_rollout"  # where a recipe names none


class RewardSettings(Frozen):
    """Which values the terms have, and their weights; a term that is not named weighs 1."""

    preset: Preset = "default"
    weights: dict[str, float] = {}  # noqa: RUF012

    @model_validator(mode="after")
    def _known_terms(self) -> RewardSettings:
        terms = terms_of(self.preset)
        unknown = sorted(set(self.weights) - set(terms))
        if unknown:
            raise ValueError(f"weights: {self.preset} has no term {unknown[0]!r}; it has {', '.join(terms)}")
        if not any(self.weights.get(name, 1.0) for name in terms):
            raise ValueError("weights: all terms weigh 0, so nothing would be rewarded")
        return self

    def total(self, terms: Mapping[str, float]) -> float:
        """The reward of an episode: the weighted sum of its terms."""
        return sum(self.weights.get(name, 1.0) * value for name, value in terms.items())


class CalibrationSettings(Frozen):
    """SEG-aware logit calibration; see `calibration`. Weight 0 is plain GRPO."""

    weight: float = Field(default=1.0, ge=0)
    size: int = Field(default=32, ge=1)
    threshold: float = 0.0


class GroupSettings(Frozen):
    """Prompts per step over all processes, rollouts per prompt, and how many rollouts a process scores at once."""

    prompts: int = Field(default=16, ge=1)
    size: int = Field(default=4, ge=2)
    per_device: int = Field(default=1, ge=1)
    rolled: int = Field(default=16, ge=1)  # rollouts that go on together


class VllmSettings(Frozen):
    """Of the engine that writes with `generation: vllm`: share of the GPU's memory that it may have, weights and cache,
    and most tokens of an episode, prompts and replies."""

    memory: float = Field(default=0.3, gt=0, le=1)
    window: int = Field(default=8192, ge=1)


class RlRecipe(Frozen):
    """A resolved recipe: one reinforcement stage, said completely."""

    trainable: TrainableSettings = TrainableSettings(language_model="full", vision_tower=True, prompt_encoder=True)
    rewards: RewardSettings = RewardSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    group: GroupSettings = GroupSettings()
    optimiser: OptimiserSettings = OptimiserSettings(lr=3e-6, weight_decay=0.0, warmup=0.0, schedule="constant")
    advantage: Literal["trajectory", "turn"] = "trajectory"
    iterations: int = Field(default=1, ge=1)  # steps per batch of rollouts
    beta: float = Field(default=0.04, ge=0)  # of the KL term
    clip: float = Field(default=0.2, gt=0)  # of the ratio, both ways
    mask_loss: float = Field(default=0.2, ge=0)
    points: int = Field(default=12544, ge=1)  # per mask of that loss
    budget: NamedBudget = PRESETS[BUDGET]
    max_turns: int | None = Field(default=None, ge=1)  # instead of the budget's
    max_new_tokens: int | None = Field(default=None, ge=1)  # instead of the budget's
    temperature: float = Field(default=0.9, gt=0)
    top_p: float = Field(default=0.9, gt=0, le=1)
    guided: bool = False  # turns end with the tags that they opened, which are not drawn and have no advantage
    closing_loss: float = Field(default=0.1, ge=0)  # weight of the cross-entropy of such tags
    generation: Literal["hf", "vllm"] = "hf"  # who writes the replies: the policy with its own cache, or vLLM
    vllm: VllmSettings = VllmSettings()
    max_steps: int = Field(default=1000, ge=1)
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = True
    budget_at_use: PresetName = "evaluation"  # the budget that the trained policy names in its config
    seed: int = Field(default=0, ge=0)
    save_every: int = Field(default=50, ge=1)  # steps
    keep: int = Field(default=1, ge=1)  # checkpoints
    log_every: int = Field(default=1, ge=1)  # steps
    page_every: int = Field(default=50, ge=0)  # steps; 0: no pages of rollouts
    report_to: tuple[Literal["wandb", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> RlRecipe:
        if self.save_every % self.iterations:
            raise ValueError(
                f"save_every {self.save_every} is no multiple of iterations {self.iterations}: rollouts are not saved,"
                " so a checkpoint stands between two batches of them"
            )
        return self

    @field_serializer("budget")
    def _by_name(self, budget: Budget) -> str | dict[str, int]:
        """A preset is written by its name."""
        return next((name for name, figures in PRESETS.items() if figures == budget), budget.model_dump())

    @property
    def rollout_budget(self) -> Budget:
        """The budget that rollouts are made with."""
        given = {"max_turns": self.max_turns, "max_new_tokens": self.max_new_tokens}
        return self.budget.model_copy(update={key: value for key, value in given.items() if value is not None})


def accumulation(recipe: RlRecipe, processes: int = 1) -> int:
    """Batches that each process scores per step; UsageError where groups cannot be shared out whole and evenly."""
    group = recipe.group
    if group.prompts % processes:
        raise UsageError(
            f"group.prompts {group.prompts} is no multiple of {processes} processes: every process rolls out whole"
            " groups; change it with --set group.prompts="
        )
    share = group.prompts // processes * group.size
    if share % group.per_device:
        raise UsageError(
            f"group.per_device {group.per_device} does not divide the {share} rollouts of a process"
            f" (group.prompts {group.prompts} x group.size {group.size} / {processes}); change one with --set"
        )
    return share // group.per_device


def shipped() -> tuple[str, ...]:
    """Names of the recipes of this stage that come with vtscot."""
    return shipped_names(PREFIX)


def load_rl_recipe(
    name: str | None = None, assignments: Iterable[str] = (), flags: Mapping[str, object] | None = None
) -> RlRecipe:
    """The recipe of a shipped name or a file; UsageError names the file and the key of whatever it does not know."""
    text, where = recipe_text(name or DEFAULT, shipped())
    tree = {"budget": BUDGET} | parse_tree(text, where)  # named, so that one figure of it can be set
    for key, value in changes(assignments, flags):
        put(tree, key, value)
    return validated(RlRecipe, tree, where)
