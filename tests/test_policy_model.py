"""The policy with real classes and small random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the policy needs the extra `train`")
pytest.importorskip("transformers", reason="the policy needs the extra `train`")
pytest.importorskip("peft", reason="the policy needs the extra `train`")

import torch
from PIL import Image

from tests.policy_inputs import TEXTS, images, inputs
from vtscot.errors import PolicyError, UsageError
from vtscot.policy.init import init_tiny
from vtscot.policy.model import Policy
from vtscot.policy.pixels import MEAN, STD, BlockFrames, sam_frames
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.propagate import BoundedSession, propagate
from vtscot.policy.settings import LoraSettings, TinySettings, TrainableSettings
from vtscot.policy.trainable import counts, trainable

SIDE = 128
LORA = TrainableSettings(lora=LoraSettings(r=4, alpha=8))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("policy")
    init_tiny(out, 0, TEXTS, TinySettings(sam_size=SIDE))
    return out


@pytest.fixture
def policy(folder: Path) -> Any:
    return Policy.from_pretrained(folder)


@pytest.fixture(scope="module")
def processor(folder: Path) -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(folder)


def test_forward_has_the_promised_shapes(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor)
    out = policy(**batch)
    rows, length = batch["input_ids"].shape
    assert out.logits.shape == (rows, length, len(processor.tokenizer))
    assert out.seg_hidden.shape == (4, 64)
    assert out.mask_logits.shape == (4, SIDE // 4, SIDE // 4)
    assert out.iou_scores.shape == out.object_scores.shape == (4,)


def test_logits_at_chosen_positions_are_those_of_the_whole(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor)
    index = torch.tensor([[0, 9], [1, 12]])
    whole, some = policy(**batch).logits, policy(**batch, logits_index=index).logits
    torch.testing.assert_close(some, whole[[0, 1], [9, 12]])


def test_repeated_images_go_through_the_vision_tower_once(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor)
    patches = len(batch["pixel_values"]) // 2
    same = batch | {"pixel_values": batch["pixel_values"][:patches].repeat(2, 1)}
    once = batch | {"pixel_values": batch["pixel_values"][:patches], "image_grid_thw": batch["image_grid_thw"][:1]}
    seen = list(counted(policy.vlm.model.visual, policy, once | {"image_index": torch.tensor([0, 0])}))
    assert seen == [patches]
    repeated = policy(**once, image_index=torch.tensor([0, 0]))
    torch.testing.assert_close(repeated.logits, policy(**same).logits)


def counted(module: Any, policy: Any, batch: dict[str, Any]) -> Iterator[int]:
    """Rows of every input that `module` gets in one forward pass."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    policy(**batch)
    handle.remove()
    yield from seen


def test_only_frames_with_a_seg_are_encoded_and_each_once(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor, segs=3)
    assert sum(counted(policy.sam.vision_encoder, policy, batch)) == 2  # of three frames, for six masks
    batch["seg_frame"] = torch.full((6,), 1)
    assert sum(counted(policy.sam.vision_encoder, policy, batch)) == 1


def test_a_mask_depends_on_its_own_frame_and_its_own_hidden_state(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor)
    together = policy(**batch)
    features = policy.frame_features(batch["frames"])
    alone = policy.decode_masks(together.seg_hidden[1:2], features, torch.tensor([2]))
    torch.testing.assert_close(alone.logits[0], together.mask_logits[1], atol=1e-4, rtol=1e-4)
    other = policy.decode_masks(together.seg_hidden[1:2], features, torch.tensor([1]))
    assert not torch.allclose(other.logits, alone.logits)
    assert not torch.allclose(together.mask_logits[0], together.mask_logits[2])  # one frame, two [SEG]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "gradient checkpointing"])
def test_the_mask_loss_reaches_language_model_projector_and_decoder(
    policy: Any, processor: PolicyProcessor, checkpointing: bool
) -> None:
    trainable(policy, LORA)
    if checkpointing:
        policy.activation_checkpointing_enable()
    policy.train()
    policy(**inputs(policy, processor)).mask_logits.square().mean().backward()
    reached = {name for name, p in policy.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert any("lora_B" in name for name in reached)
    assert "projector.layers.0.weight" in reached
    assert "sam.mask_decoder.mask_tokens.weight" in reached
    assert "sam.mask_decoder.conv_s0.weight" in reached
    assert not any(
        name.startswith(("sam.vision_encoder", "sam.prompt_encoder", "vlm.model.visual")) for name in reached
    )


def test_masks_in_training_are_those_of_evaluation(policy: Any, processor: PolicyProcessor) -> None:
    batch = inputs(policy, processor)
    evaluated = policy.eval()(**batch).mask_logits
    assert not policy.train().sam.training
    torch.testing.assert_close(policy(**batch).mask_logits, evaluated)


def test_training_goes_on_after_propagation(policy: Any, processor: PolicyProcessor) -> None:
    list(policy.propagate(policy.sam_frames(images(3)), 1, block()))
    trainable(policy, TrainableSettings(language_model="full", image_encoder=True))
    policy(**inputs(policy, processor)).mask_logits.mean().backward()
    assert policy.sam.vision_encoder.neck.convs[0].weight.grad.any()


def test_settings_say_what_is_trained(policy: Any) -> None:
    before = counts(policy)
    after = trainable(policy, LORA)
    adapters = after["language_model"].total - before["language_model"].total
    assert after["language_model"].trained == adapters > 0
    trained = {part for part, count in after.items() if count.trained}
    assert trained == {"embeddings", "language_model", "projector", "mask_decoder"}
    assert all(count.trained in (0, count.total) for part, count in after.items() if part != "language_model")
    total = sum(p.numel() for p in policy.parameters())
    assert sum(count.total for count in after.values()) == total


def test_the_reinforcement_stage_trains_the_whole_language_model(policy: Any) -> None:
    settings = TrainableSettings(language_model="full", vision_tower=True, prompt_encoder=True)
    frozen = {part for part, count in trainable(policy, settings).items() if not count.trained}
    assert frozen == {"image_encoder", "memory"}


def test_tied_embeddings_cannot_be_told_apart(policy: Any) -> None:
    with pytest.raises(UsageError, match="one tensor"):
        trainable(policy, TrainableSettings(lm_head=False))


def test_adapters_on_layers_that_are_not_there_are_refused(policy: Any) -> None:
    with pytest.raises(PolicyError, match="nothing_proj"):
        trainable(policy, TrainableSettings(lora=LoraSettings(targets=("nothing_proj",))))


def test_sam_frames_are_square_and_normalised() -> None:
    red = Image.new("RGB", (50, 20), (255, 0, 0))
    frames = sam_frames([red, images(1)[0]], 64)
    assert frames.shape == (2, 3, 64, 64)
    assert frames.dtype == torch.float32
    expected = (torch.tensor([1.0, 0.0, 0.0]) - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(frames[0, :, 10, 10], expected)
    assert sam_frames([], 64).shape == (0, 3, 64, 64)


class Clip:
    """Frames in memory that say which were asked for."""

    def __init__(self, count: int) -> None:
        self.shown = images(count)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.shown)

    def image(self, index: int) -> Image.Image:
        self.asked.append(index)
        return self.shown[index]


def block() -> Any:
    mask = torch.zeros(64, 96, dtype=torch.bool)
    mask[20:40, 30:60] = True
    return mask


@pytest.mark.parametrize("keyframe", [0, 2, 4], ids=["first", "middle", "last"])
def test_propagation_gives_every_frame_one_mask(policy: Any, keyframe: int) -> None:
    clip = Clip(5)
    masks = dict(policy.propagate(BlockFrames(clip, SIDE), keyframe, block()))
    assert sorted(masks) == sorted(clip.asked) == [0, 1, 2, 3, 4]
    assert all(mask.shape == (SIDE // 4, SIDE // 4) for mask in masks.values())
    share = float((masks[keyframe] > 0).float().mean())
    assert share == pytest.approx(float(block().float().mean()), abs=0.02)


def test_a_bounded_session_gives_the_masks_of_an_unbounded_one(policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = policy.sam_frames(images(24))
    policy.sam.config.max_object_pointers_in_encoder = 3  # so that much is out of reach in a short clip
    policy.sam.config.num_maskmem = 3
    policy.sam.num_maskmem = 3
    bounded = dict(propagate(policy.sam, frames, 11, block()))
    forgotten: list[int] = []
    monkeypatch.setattr(BoundedSession, "forget", lambda self, frame, keyframe, step: forgotten.append(frame))
    unbounded = dict(propagate(policy.sam, frames, 11, block()))
    assert len(forgotten) == 23
    assert all(torch.equal(bounded[frame], unbounded[frame]) for frame in range(24))


def test_the_state_of_propagation_does_not_grow_with_the_video(policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    forget = BoundedSession.forget

    def spy(self: Any, frame: int, keyframe: int, step: int) -> None:
        forget(self, frame, keyframe, step)
        held.append(len(self.output_dict_per_obj[0]["non_cond_frame_outputs"]))

    monkeypatch.setattr(BoundedSession, "forget", spy)
    list(policy.propagate(policy.sam_frames(images(100)), 50, block()))
    assert max(held) <= 4 * 16 + 1


def test_an_empty_mask_is_followed_without_reading_a_frame(policy: Any) -> None:
    clip = Clip(4)
    masks = dict(policy.propagate(BlockFrames(clip, SIDE), 1, torch.zeros(8, 8)))
    assert sorted(masks) == [0, 1, 2, 3]
    assert not any(bool((mask > 0).any()) for mask in masks.values())
    assert clip.asked == []


def test_a_keyframe_outside_the_video_is_refused(policy: Any) -> None:
    with pytest.raises(PolicyError, match="keyframe 4 is outside the video of 4 frames"):
        list(policy.propagate(policy.sam_frames(images(4)), 4, block()))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"seg_frame": torch.tensor([0])}, "4 .SEG. tokens"), ({"seg_frame": torch.tensor([0, 1, 2, 3])}, "frame 3")],
    ids=["too few frames", "a frame that is not there"],
)
def test_masks_without_their_frames_are_refused(
    policy: Any, processor: PolicyProcessor, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(PolicyError, match=said):
        policy(**inputs(policy, processor) | change)
