"""Which parameters of a policy are trained, as the recipe declares it, and how many there are."""

from __future__ import annotations

from typing import Any, Final

from vtscot.errors import UsageError
from vtscot.policy.lora import inject_lora, merge_lora
from vtscot.policy.settings import PartCount, TrainableSettings

PARTS: Final = (  # (part, prefixes of its parameters' names); the first that fits
    ("embeddings", ("vlm.model.language_model.embed_tokens.",)),
    ("lm_head", ("vlm.lm_head.",)),
    ("vision_tower", ("vlm.model.visual.",)),
    ("language_model", ("vlm.",)),
    ("projector", ("projector.",)),
    ("mask_decoder", ("sam.mask_decoder.",)),
    ("prompt_encoder", ("sam.prompt_encoder.",)),
    ("image_encoder", ("sam.vision_encoder.",)),
    ("memory", ("sam.",)),
)


def part_of(name: str) -> str:
    """The part of the policy that the parameter `name` belongs to."""
    return next(part for part, prefixes in PARTS if name.startswith(prefixes))


def trainable(policy: Any, settings: TrainableSettings, *, seed: int = 0) -> dict[str, PartCount]:
    """Set `requires_grad` of every parameter as `settings` say; adds or keeps adapters; returns the counts per part.

    A policy that already has the same adapters keeps them (that is how training goes on); other adapters are merged
    first. Adapters count as the language model's; tied embeddings count once, as embeddings. Raises UsageError where
    embeddings and lm_head are one tensor and the settings tell them apart.
    """
    _check_tied(policy, settings)
    _adapters(policy, settings, seed)
    for name, parameter in policy.named_parameters():
        part = part_of(name)
        wanted = getattr(settings, part)
        parameter.requires_grad_("lora_" in name if wanted == "lora" else wanted not in (False, "frozen"))
    return counts(policy)


def counts(policy: Any) -> dict[str, PartCount]:
    """Parameters per part, in the order of `PARTS`; parts without parameters are left out."""
    total: dict[str, int] = {}
    trained: dict[str, int] = {}
    for name, parameter in policy.named_parameters():
        part = part_of(name)
        total[part] = total.get(part, 0) + parameter.numel()
        trained[part] = trained.get(part, 0) + parameter.numel() * int(parameter.requires_grad)
    return {part: PartCount(total=total[part], trained=trained[part]) for part, _ in PARTS if part in total}


def _check_tied(policy: Any, settings: TrainableSettings) -> None:
    tied = policy.get_input_embeddings().weight is policy.get_output_embeddings().weight
    if tied and settings.embeddings != settings.lm_head:
        raise UsageError("embeddings and lm_head are one tensor in this policy: train both or neither")


def _adapters(policy: Any, settings: TrainableSettings, seed: int) -> None:
    wanted = settings.lora.model_dump(mode="json") if settings.language_model == "lora" else None
    if policy.config.lora == wanted:
        return
    merge_lora(policy)
    if wanted is not None:
        inject_lora(policy.vlm, wanted, seed)
        policy.config.lora = wanted
