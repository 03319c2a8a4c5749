"""Replies written by vLLM, inside the training process, through TRL's generation (`generation: vllm`).

TRL starts the engine and hands it the weights before every batch of rollouts. What is ours: every reply has a seed of
its own, and images go in as the features that the policy's vision tower made: a distinct frame is encoded once, and
the engine's own tower (which Qwen3-VL in vLLM must have for DeepStack) is never called. vLLM keeps what prompts have
in common itself.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import Qwen3VLProcessor
from trl.generation import vllm_generation

from vtscot.errors import PolicyError
from vtscot.policy.cache import Counters, ImageFeatures, Slice
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.sampling import Sampling
from vtscot.policy.writing import Reply, barred_tokens, closing_ids

from .recipe import RlRecipe

BARRED: Final = -100.0  # added to the logit of a token that must not be sampled: the most that vLLM takes


class VllmEngine:
    """A vLLM engine with the weights of `policy` as they were at the last `learn()`; see `scribe.Engine`."""

    def __init__(self, policy: Any, processor: PolicyProcessor, recipe: RlRecipe, accelerator: Any) -> None:
        self.processor, self.window, self.device = processor, recipe.vllm.window, policy.device.type
        self.scratch = tempfile.TemporaryDirectory(prefix="vtscot-vllm-")
        write_model(policy, processor, Path(self.scratch.name))
        with _llm_takes(**settings_of(recipe, cpu=self.device == "cpu")):
            self.generation = Colocated(
                policy.vlm,
                accelerator,
                processor,
                place=self.scratch.name,
                gpu_memory_utilization=recipe.vllm.memory,
                max_model_length=self.window,
                max_num_seqs=recipe.group.rolled,
            )
        self.barred = barred_tokens(policy, processor).nonzero().flatten().tolist()
        self.sampling = Sampling()
        self._learned = 0
        self._images: dict[int, tuple[int, ImageFeatures]] = {}  # by their ids, which are theirs while they are kept

    def learn(self, sampling: Sampling) -> None:
        """Take the policy's weights as they are now; replies from now on are drawn as `sampling` says."""
        self.generation.sync_weights()
        self.sampling = sampling
        self._learned += 1
        self._images.clear()

    def close(self) -> None:
        """End the engine while torch's process groups are there. vLLM ends them with it, so nothing may follow."""
        self.generation.llm.llm_engine.engine_core.shutdown()
        self.scratch.cleanup()

    def write(self, prompts: Sequence[Slice], replies: Sequence[Reply], counters: Counters) -> None:
        """Fill the ids of `replies`. A guided reply is closed at its mask, or goes on where it cannot be."""
        open_ones = list(zip(prompts, replies, strict=True))
        while open_ones:
            texts = [self._prompt(prompt, reply) for prompt, reply in open_ones]
            settings = [self._parameters(reply) for _, reply in open_ones]
            with torch.autocast(self.device, enabled=False):  # vLLM has a dtype of its own
                outputs = self.generation.llm.generate(texts, settings, use_tqdm=False)
            for (prompt, reply), output in zip(open_ones, outputs, strict=True):
                self._check(prompt, reply, output)
                before = len(reply.ids)
                self._take(reply, list(output.outputs[0].token_ids))
                counters.generated_tokens += len(reply.ids) - before
                counters.prefilled_tokens += len(output.prompt_token_ids) - (output.num_cached_tokens or 0)
            open_ones = [(prompt, reply) for prompt, reply in open_ones if reply.open]

    def _prompt(self, prompt: Slice, reply: Reply) -> dict[str, Any]:
        """One image token for each image: vLLM makes as many of it as there are features."""
        ids, image = prompt.input_ids, self.processor.image_token_id
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = (ids[1:] != image) | (ids[:-1] != image)
        features = torch.cat([torch.cat([seen.pooled, *seen.deep], -1) for seen in prompt.images])
        images = {"image_embeds": features.cpu(), "image_grid_thw": prompt.image_grid_thw.cpu()}
        return {
            "prompt_token_ids": [*ids[first].tolist(), *reply.ids],
            "multi_modal_data": {"image": images},
            "multi_modal_uuids": {"image": [self._name(seen, place) for place, seen in enumerate(prompt.images)]},
        }

    def _name(self, image: ImageFeatures, place: int) -> str:
        """What vLLM knows an image by: other weights make another of it, and it may not stand twice in one prompt."""
        number, _ = self._images.setdefault(id(image), (len(self._images), image))
        return f"{self._learned}/{number}/{place}"

    def _parameters(self, reply: Reply) -> Any:
        ends = [self.processor.message_end_id, *([self.processor.seg_id] if self.sampling.guided else [])]
        return vllm_generation.SamplingParams(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            seed=reply.seed + len(reply.ids),  # a reply that goes on does not draw the same numbers again
            max_tokens=reply.limit - len(reply.ids),
            stop_token_ids=ends,
            logit_bias=dict.fromkeys(self.barred, BARRED),
            detokenize=False,
        )

    def _check(self, prompt: Slice, reply: Reply, output: Any) -> None:
        """PolicyError unless the engine has read what it was given, token for token, and said something."""
        read = [*prompt.input_ids.tolist(), *reply.ids]
        if output.prompt_token_ids != read:
            raise PolicyError(f"vLLM has read {len(output.prompt_token_ids)} tokens of a prompt of {len(read)}")
        if not output.outputs[0].token_ids:
            raise PolicyError(f"vLLM has ended a reply without a token: {output.outputs[0].finish_reason}")

    def _take(self, reply: Reply, ids: Sequence[int]) -> None:
        reply.ids.extend(ids)
        if self.sampling.guided and ids[-1] == self.processor.seg_id:
            forced = closing_ids(reply.ids, self.processor)[: reply.limit - len(reply.ids)]
            reply.ids.extend(forced)
            reply.forced += len(forced)
        reply.ended = reply.ids[-1] == self.processor.message_end_id


class Colocated(vllm_generation.VLLMGeneration):  # type: ignore[misc]
    """TRL's engine inside the process, for the language model inside a policy; `place` is a folder with its config."""

    def __init__(self, vlm: Any, accelerator: Any, processor: PolicyProcessor, *, place: str, **kwargs: Any) -> None:
        named, vlm.name_or_path = vlm.name_or_path, place
        try:
            super().__init__(vlm, accelerator, processor, mode="colocate", **kwargs)
        finally:
            vlm.name_or_path = named

    def sync_weights(self) -> None:
        """By vLLM's own way, which knows of weights that it keeps in another form than it was given them."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": self._iter_named_params()})
        if self.accelerator.device.type == "cpu":
            self.llm.apply_model(_pack_head)
        self.llm.reset_prefix_cache()

    def _iter_named_params(self) -> Iterator[tuple[str, Tensor]]:
        """The language model's weights, adapters added; the vision tower's stay here."""
        for name, weight in merged(self.model, super()._iter_named_params()):
            if not name.startswith("model.visual."):
                yield name, weight.detach()


def _pack_head(model: Any) -> None:
    """On a CPU vLLM keeps a packed copy of the head's weights; where they are the embeddings', it is not made anew."""
    head = model.language_model.lm_head
    head.quant_method.process_weights_after_loading(head)


def merged(model: Any, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The named weights of a model with adapters as they were without: what an adapter adds is added, to a copy."""
    adapted = {f"{name}.base_layer.weight": one for name, one in model.named_modules() if isinstance(one, LoraLayer)}
    for name, weight in weights:
        if ".lora_" in name:
            continue
        layer = adapted.get(name)
        yield name.replace(".base_layer.", "."), weight if layer is None else _added(weight, layer)


def _added(weight: Tensor, layer: LoraLayer) -> Tensor:
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):  # in the numbers that it is trained in
        return sum((layer.get_delta_weight(adapter) for adapter in layer.active_adapters), weight)


def settings_of(recipe: RlRecipe, *, cpu: bool) -> dict[str, Any]:
    """What vLLM is told beside what TRL tells it."""
    budget = recipe.rollout_budget
    images = budget.temporal_frames + budget.spatial_frames + (budget.max_turns - 1) * (budget.window_frames + 1)
    found: dict[str, Any] = {
        "dtype": "bfloat16" if recipe.precision == "bf16" else "float32",
        "load_format": "dummy",  # weights come from the policy
        "enable_mm_embeds": True,
        "skip_mm_profiling": True,  # what it would measure is the vision tower, which is never called
        "limit_mm_per_prompt": {"image": images, "video": 0},
    }
    if cpu:  # nothing to gain from compiling; and there a seed cannot wait until the rest of a prompt was read
        found |= {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": recipe.vllm.window}
    return found


def write_model(policy: Any, processor: PolicyProcessor, place: Path) -> None:
    """Config, tokenizer and processor of the policy's language model, as vLLM reads them; no weights."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLVideoProcessor

    config = copy.deepcopy(policy.vlm.config)
    config.architectures = [type(policy.vlm).__name__]  # a policy's config does not say it
    config.save_pretrained(place)
    images = processor.image_processor
    shape = {name: getattr(images, name) for name in ("patch_size", "merge_size", "temporal_patch_size")}
    parts = {
        "image_processor": Qwen2VLImageProcessor(**shape, size=dict(images.size)),
        "video_processor": Qwen3VLVideoProcessor(**shape),
    }
    whole = Qwen3VLProcessor(tokenizer=processor.tokenizer, chat_template=processor.chat_template, **parts)
    whole.save_pretrained(place)


@contextmanager
def _llm_takes(**settings: Any) -> Iterator[None]:
    """Inside the block TRL's engine is made with these settings, which TRL does not hand on."""
    whole = vllm_generation.LLM
    vllm_generation.LLM = lambda **given: whole(**(given | settings))
    try:
        yield
    finally:
        vllm_generation.LLM = whole
