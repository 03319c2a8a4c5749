"""The language model over a tree of token rows: what many samples share is computed once, with gradient.

A level's rows continue rows of the level before: level 0 the system message, level 1 a video's images, level 2 an
expression and its reply. Every row attends to its ancestors and itself, at the positions it would have in a sequence
of its own, so the numbers are those of `Policy.forward` on the samples one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb


@dataclass
class Level:
    """R rows of T tokens, padded on the right.

    embeds (R, T, D); positions (3, R, T) of the rotary embedding; keep (R, T) true at tokens; parent (R,) rows of the
    level before; `deep` the additions to the first layers at tokens `visual` (R, T), None where there are no images.
    """

    embeds: Tensor
    positions: Tensor
    keep: Tensor
    parent: Tensor
    visual: Tensor | None = None
    deep: list[Tensor] | None = None


@dataclass
class Outcome:
    """Last hidden states (R, T, D) per level; of layer `probe`: queries (R, H, T, d) of the last level, all its keys

    (R, H, T', d) from the first ancestor on, the mask (R, 1, T, T') added to their products, and the states (R, T, D)
    per level that it reads.
    """

    hidden: list[Tensor]
    query: Tensor
    keys: Tensor
    mask: Tensor
    before: list[Tensor]


def run(model: Any, levels: list[Level], probe: int) -> Outcome:
    """`model` is the Qwen3-VL text model."""
    states = [level.embeds for level in levels]
    rotary = [model.rotary_emb(level.embeds, level.positions) for level in levels]
    masks = _masks(levels)
    query = keys = states[0]
    before: list[Tensor] = []
    for number, layer in enumerate(model.layers):
        if number == probe:
            before = list(states)
        past: tuple[Tensor, Tensor] | None = None
        for i, level in enumerate(levels):
            q, k, v = _project(layer, states[i], rotary[i])
            if past is not None:
                k, v = (
                    torch.cat([old.index_select(0, level.parent), new], 2)
                    for old, new in zip(past, (k, v), strict=True)
                )
            past = (k, v)
            if number == probe and i == len(levels) - 1:
                query, keys = q, k
            mixed = functional.scaled_dot_product_attention(q, k, v, masks[i], scale=layer.self_attn.scaling)
            state = states[i] + layer.self_attn.o_proj(mixed.transpose(1, 2).flatten(2))
            state = state + layer.mlp(layer.post_attention_layernorm(state))
            if level.deep is not None and level.visual is not None and number < len(level.deep):
                state = state.masked_scatter(level.visual[..., None], state[level.visual] + level.deep[number])
            states[i] = state
    return Outcome([model.norm(state) for state in states], query, keys, masks[-1], before)


def _project(layer: Any, state: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    attention = layer.self_attn
    normed = layer.input_layernorm(state)
    shape = (*state.shape[:-1], -1, attention.head_dim)
    q = attention.q_norm(attention.q_proj(normed).view(shape)).transpose(1, 2)
    k = attention.k_norm(attention.k_proj(normed).view(shape)).transpose(1, 2)
    v = attention.v_proj(normed).view(shape).transpose(1, 2)
    q, k = apply_rotary_pos_emb(q, k, *rotary)
    return q, k, v


def _masks(levels: list[Level]) -> list[Tensor]:
    """Per level (R, 1, T, T'): 0 where a token may look, -inf-like elsewhere."""
    masks: list[Tensor] = []
    kept: Tensor | None = None
    for level in levels:
        rows, length = level.keep.shape
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        own = causal[None] & level.keep[:, None]
        if kept is not None:
            kept = kept.index_select(0, level.parent)
            own = torch.cat([kept[:, None].expand(rows, length, -1), own], -1)
            kept = torch.cat([kept, level.keep], -1)
        else:
            kept = level.keep
        own = own | torch.eye(length, own.shape[-1], dtype=torch.bool).roll(own.shape[-1] - length, 1)[None]
        masks.append(torch.zeros(own.shape).masked_fill(~own, -1e9)[:, None])
    return masks
