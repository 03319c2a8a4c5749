"""`vtscot init-policy`: checkpoints that were saved apart become one policy; a tiny one from random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the policy needs the extra `train`")
pytest.importorskip("transformers", reason="the policy needs the extra `train`")
pytest.importorskip("peft", reason="the policy needs the extra `train`")

import torch
from transformers import Qwen2Tokenizer, Sam2VideoModel

from tests.cli import vtscot
from tests.policies import pickled
from tests.policy_inputs import TEXTS, inputs
from vtscot.errors import PolicyError
from vtscot.policy.init import init_policy, init_tiny, join
from vtscot.policy.model import Policy
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.settings import TinySettings
from vtscot.policy.tiny import tiny_sam, tiny_vlm
from vtscot.policy.tokenizer import MESSAGE_END, PAD, QWEN_SPECIALS, train_tokenizer

SIZES = TinySettings(sam_size=64)


def write_vlm(folder: Path, spare_rows: int = 0, tie: bool = True) -> int:
    """A Qwen3-VL that knows no [SEG], as Qwen's are stored; returns the id that [SEG] will have."""
    trained = train_tokenizer(TEXTS, 400)
    model = json.loads(trained.backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=model["vocab"], merges=merges, eos_token=MESSAGE_END, pad_token=PAD)
    tokenizer.add_tokens(list(QWEN_SPECIALS), special_tokens=True)
    processor = PolicyProcessor(image_processor(), trained)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(1)
    vlm = tiny_vlm(SIZES, processor)
    for name, token in (("image", "<|image_pad|>"), ("video", "<|video_pad|>")):
        setattr(vlm.config, f"{name}_token_id", ids(token))
    vlm.config.vision_start_token_id, vlm.config.vision_end_token_id = ids("<|vision_start|>"), ids("<|vision_end|>")
    if not tie:
        vlm.config.tie_word_embeddings = vlm.config.text_config.tie_word_embeddings = False
        vlm = type(vlm)(vlm.config)
    vlm.resize_token_embeddings(len(tokenizer) + spare_rows, mean_resizing=False)
    vlm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    return len(tokenizer)


def write_sam(folder: Path) -> Any:
    torch.manual_seed(2)
    sam = tiny_sam(SIZES)
    sam.save_pretrained(folder)
    return sam


@pytest.mark.parametrize("spare_rows", [0, 7], ids=["vocabulary grows", "a spare row is used"])
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_two_checkpoints_become_one_policy(tmp_path: Path, spare_rows: int, tie: bool) -> None:
    seg = write_vlm(tmp_path / "vlm", spare_rows, tie)
    sam = write_sam(tmp_path / "sam")
    made = init_policy(str(tmp_path / "vlm"), str(tmp_path / "sam"), tmp_path / "policy")
    policy = Policy.from_pretrained(tmp_path / "policy")
    processor = PolicyProcessor.from_pretrained(tmp_path / "policy")
    assert policy.config.seg_token_id == processor.seg_id == seg
    rows = policy.get_input_embeddings().weight
    assert len(rows) == seg + max(1, spare_rows)
    torch.testing.assert_close(rows[seg], rows[:seg].mean(0))
    out = policy.get_output_embeddings().weight
    torch.testing.assert_close(out[seg], out[:seg].mean(0))
    assert (out is rows) == tie
    assert all(torch.equal(value, sam.state_dict()[name]) for name, value in policy.sam.state_dict().items())
    batch = inputs(policy, processor)
    assert torch.equal(policy(**batch).mask_logits, made(**batch).mask_logits)


def test_the_language_model_answers_as_before_and_the_seed_draws_the_projector(tmp_path: Path) -> None:
    write_vlm(tmp_path / "vlm")
    write_sam(tmp_path / "sam")
    made = [
        init_policy(str(tmp_path / "vlm"), str(tmp_path / "sam"), tmp_path / str(number), seed=seed)
        for number, seed in enumerate((0, 0, 1))
    ]
    first, same, other = (policy.projector.layers[0].weight for policy in made)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    before = type(made[0].vlm).from_pretrained(tmp_path / "vlm")
    ids = torch.tensor([[5, 9, 40, 41]])
    logits = made[0](ids).logits[..., : made[0].config.seg_token_id]
    torch.testing.assert_close(logits, before(input_ids=ids).logits)


def test_a_policy_joined_again_keeps_its_seg(tmp_path: Path) -> None:
    policy = init_tiny(tmp_path / "tiny", 0, TEXTS, SIZES)
    policy.vlm.save_pretrained(tmp_path / "vlm")
    processor = PolicyProcessor.from_pretrained(tmp_path / "tiny")
    processor.tokenizer.save_pretrained(tmp_path / "vlm")
    processor.image_processor.save_pretrained(tmp_path / "vlm")
    policy.sam.save_pretrained(tmp_path / "sam")
    again = init_policy(str(tmp_path / "vlm"), str(tmp_path / "sam"), tmp_path / "again")
    assert torch.equal(again.get_input_embeddings().weight, policy.get_input_embeddings().weight)


def test_weights_get_one_dtype(tmp_path: Path) -> None:
    write_vlm(tmp_path / "vlm")
    write_sam(tmp_path / "sam")
    init_policy(str(tmp_path / "vlm"), str(tmp_path / "sam"), tmp_path / "policy", dtype="bfloat16")
    policy = Policy.from_pretrained(tmp_path / "policy")
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.bfloat16}
    out = policy(**inputs(policy, PolicyProcessor.from_pretrained(tmp_path / "policy")))
    assert out.mask_logits.dtype == torch.bfloat16
    assert bool(out.mask_logits.isfinite().all())


def test_qwen_2_5_vl_can_be_joined() -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    processor = PolicyProcessor(image_processor(patch_size=14), train_tokenizer(TEXTS, 400))
    ids = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 14,
            "window_size": 56,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    policy = join(Qwen2_5_VLForConditionalGeneration(config), tiny_sam(SIZES), processor.seg_id)
    batch = inputs(policy, processor)
    out = policy(**batch)
    assert out.mask_logits.shape == (4, 16, 16)
    repeated = policy(**batch, image_index=torch.tensor([0, 1]))
    torch.testing.assert_close(repeated.logits, out.logits)
    out.mask_logits.mean().backward()
    assert policy.vlm.model.visual.blocks[0].attn.qkv.weight.grad.any()


def no_memory(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "sam2"}))


@pytest.mark.parametrize(
    ("spoiled", "spoil", "said"),
    [
        ("vlm", pickled, "pickle"),
        ("sam", pickled, "pickle"),
        ("vlm", lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        ("vlm", lambda folder: (folder / "config.json").unlink(), "no checkpoint"),
        ("vlm", lambda folder: (folder / "tokenizer.json").unlink(), "processor|tokenizer"),
        ("sam", no_memory, "'sam2'; --sam2 takes"),
        ("vlm", no_memory, "'sam2'; --vlm takes"),
    ],
    ids=["pickled vlm", "pickled sam", "no weights", "no config", "no tokenizer", "sam for images", "not a vlm"],
)
def test_checkpoints_that_cannot_be_joined_are_refused(
    tmp_path: Path, spoiled: str, spoil: Callable[[Path], None], said: str
) -> None:
    write_vlm(tmp_path / "vlm")
    write_sam(tmp_path / "sam")
    spoil(tmp_path / spoiled)
    with pytest.raises(PolicyError, match=said) as caught:
        init_policy(str(tmp_path / "vlm"), str(tmp_path / "sam"), tmp_path / "policy")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "policy").exists()


def test_a_tiny_policy_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(name) * seed)  # the state that others left does not matter
        init_tiny(tmp_path / name, seed, TEXTS, SIZES)
    first, same, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b", "c")
    )
    assert first == same
    assert first["model.safetensors"] != other["model.safetensors"]
    assert first["tokenizer.json"] == other["tokenizer.json"]


def test_the_command_builds_a_tiny_policy_from_a_run_and_joins_its_parts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--limit", "4", "--set", "source.videos=2", "--set", "verify.segmenter=box", "--set", "workers=1")
    assert vtscot("build", "--run", run, *options).code == 0
    made = vtscot("init-policy", "--tiny", "--data", run, "--out", tmp_path / "tiny", "--json", OMP_NUM_THREADS="1")
    assert made.code == 0, made.err
    policy = Policy.from_pretrained(tmp_path / "tiny")
    assert made.json()["parameters"] == sum(p.numel() for p in policy.parameters())
    processor = PolicyProcessor.from_pretrained(tmp_path / "tiny")
    assert len(processor.tokenizer.tokenize("Step 1: ")) < 8  # the run's words are tokens
    again = vtscot("init-policy", "--tiny", "--out", tmp_path / "tiny")
    assert (again.code, "not empty" in again.complaint) == (2, True)
    write_vlm(tmp_path / "vlm")
    Sam2VideoModel.save_pretrained(policy.sam, tmp_path / "sam")
    joined = vtscot("init-policy", "--vlm", tmp_path / "vlm", "--sam2", tmp_path / "sam", "--out", tmp_path / "joined")
    assert joined.code == 0, joined.err
    assert "[SEG] is token" in joined.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--tiny"),
        (["--vlm", "x"], "both --vlm and --sam2"),
        (["--tiny", "--sam2", "x"], "leave out"),
        (["--vlm", "x", "--sam2", "y", "--data", "z"], "--data"),
        (["--tiny", "--data", "nowhere"], "nowhere"),
        (["--tiny", "--dtype", "int4"], "int4"),
    ],
    ids=["nothing", "half", "too much", "data without tiny", "no such data", "dtype"],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    ended = vtscot("init-policy", "--out", tmp_path / "out", *options)
    assert ended.code == 2
    assert said in ended.complaint
