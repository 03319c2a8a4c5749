"""Joins a vision-language model and a SAM 2 into a policy, and builds a small one with random weights.

Both take safetensors only. Everything drawn is drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoTokenizer, PreTrainedConfig, Sam2VideoModel

from vtscot.episode import system_text
from vtscot.errors import PolicyError
from vtscot.grammar import SEG
from vtscot.policy.checkpoint import CONFIG, check_weights
from vtscot.policy.config import PolicyConfig
from vtscot.policy.model import Policy
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.projector import SegProjector
from vtscot.policy.settings import TinySettings
from vtscot.policy.tiny import tiny_sam, tiny_vlm
from vtscot.policy.tokenizer import train_tokenizer

LANGUAGE_MODELS: Final = ("qwen3_vl", "qwen2_5_vl")
SEGMENTERS: Final = ("sam2_video",)


def init_policy(vlm: str, sam2: str, out: Path, *, dtype: str = "auto", seed: int = 0) -> Policy:
    """Join two checkpoints (folders or ids of the Hub) and save the policy with its processor in `out`.

    `[SEG]` joins the tokenizer, with the mean of all embeddings, unless it is known already; the projector is drawn
    from `seed`. All weights get the `dtype` (`float32`, `bfloat16`, ...), by default the language model's. Raises
    PolicyError for a checkpoint of another kind, incomplete, or with pickle weights.
    """
    _check_kind(vlm, LANGUAGE_MODELS, "--vlm takes a Qwen-VL checkpoint")
    _check_kind(sam2, SEGMENTERS, "--sam2 takes a SAM 2 checkpoint for video, as transformers stores it")
    processor = PolicyProcessor.from_vlm(vlm)
    known = SEG in AutoTokenizer.from_pretrained(vlm).get_vocab()
    language = _load(AutoModelForImageTextToText, vlm, dtype)
    segmenter = _load(Sam2VideoModel, sam2, language.dtype)
    if not known:
        _add_row(language, processor.seg_id)
    return _save(join(language, segmenter, processor.seg_id, seed), processor, out)


def init_tiny(
    out: Path, seed: int, texts: Iterable[str], settings: TinySettings | None = None, vocab_size: int = 1024
) -> Policy:
    """Build a policy of `settings` with random weights and a tokenizer trained on `texts`, and save it in `out`.

    Its system message is the brief one: too small to read instructions, it would only pay for their tokens.
    """
    settings = settings or TinySettings()
    tokenizer = train_tokenizer(texts, vocab_size)
    processor = PolicyProcessor(image_processor(patch_size=settings.patch), tokenizer, system=system_text(brief=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        language, segmenter = tiny_vlm(settings, processor), tiny_sam(settings)
    return _save(join(language, segmenter, processor.seg_id, seed), processor, out)


def join(vlm: Any, sam: Any, seg_token_id: int, seed: int = 0) -> Policy:
    """A policy around two models as they are (not copied), and a projector drawn from `seed`."""
    config = PolicyConfig(vlm_config=vlm.config, sam_config=sam.config, seg_token_id=seg_token_id)
    config.tie_word_embeddings = bool(vlm.config.tie_word_embeddings)
    with torch.device("meta"):
        policy = Policy(config)
    policy.vlm, policy.sam = vlm, sam
    policy.sam.mask_decoder.dynamic_multimask_via_stability = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector = SegProjector(config.hidden_size, config.projector_hidden or config.hidden_size, config.prompt_size)
    policy.projector = projector.to(vlm.dtype)
    policy.config.dtype = vlm.dtype
    policy.eval()
    return policy


def _save(policy: Policy, processor: PolicyProcessor, out: Path) -> Policy:
    policy.save_pretrained(out)
    processor.save_pretrained(out)
    return policy


def _check_kind(name: str, kinds: tuple[str, ...], way_out: str) -> None:
    folder = Path(name)
    if folder.is_dir() and not (folder / CONFIG).is_file():
        raise PolicyError(f"{name}: no checkpoint there ({CONFIG} is missing); {way_out}")
    try:
        found, _ = PreTrainedConfig.get_config_dict(name)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PolicyError(f"{name}: no checkpoint can be read there ({reason})") from error
    if found.get("model_type") not in kinds:
        raise PolicyError(f"{name} has model type {found.get('model_type')!r}; {way_out} ({', '.join(kinds)})")
    if folder.is_dir():
        check_weights(folder)


def _load(kind: Any, name: str, dtype: Any) -> Any:
    try:
        model, info = kind.from_pretrained(name, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise PolicyError(f"{name}: the weights cannot be loaded ({reason})") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise PolicyError(f"{name}: {len(missing)} tensors are missing, {missing[0]} among them")
    return model


def _add_row(vlm: Any, token: int) -> None:
    """Give `token` the mean of the embeddings before it; the matrix grows where it has no row left."""
    if token >= vlm.get_input_embeddings().weight.shape[0]:
        vlm.resize_token_embeddings(token + 1, mean_resizing=False)
    for layer in (vlm.get_input_embeddings(), vlm.get_output_embeddings()):
        weight = layer.weight.data
        weight[token] = weight[:token].float().mean(0).to(weight.dtype)
