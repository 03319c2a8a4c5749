"""From records to batches: a run and its dataset give the same samples; order, sharing and bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("transformers", reason="training needs the extra `train`")

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tests.hub import TOKEN, Repo, serve_hub
from vtscot.errors import DataError, UsageError
from vtscot.policy.batch import collate, distinct_images
from vtscot.policy.load import load_policy
from vtscot.policy.pixels import sam_frame
from vtscot.policy.processor import PolicyProcessor
from vtscot.policy.tokens import IGNORED, encode_episode, shown_images
from vtscot.publish.reading import find_shards
from vtscot.sft.batching import Batches, Collator, Samples, schedule
from vtscot.sft.encoding import Encoder
from vtscot.sft.examples import open_examples
from vtscot.sft.recipe import BatchSettings, SftRecipe

SIDE = 64


@pytest.fixture(scope="module")
def processor(sft_policy: Path) -> PolicyProcessor:
    return PolicyProcessor.from_pretrained(sft_policy)


@pytest.fixture(scope="module")
def encoder(sft_run: Path, processor: PolicyProcessor) -> Encoder:
    return Encoder(open_examples(str(sft_run)), processor, SIDE, 64)


def test_a_run_and_its_dataset_are_the_same_episodes_and_masks(sft_run: Path) -> None:
    run, dataset = open_examples(str(sft_run)), open_examples(str(sft_run / "dataset"))
    assert list(run.ids) == list(dataset.ids)
    for i in range(len(run)):
        assert run[i].episode == dataset[i].episode
        assert run[i].masks == dataset[i].masks
        assert run[i].video == dataset[i].video


def test_a_sample_is_what_encoding_the_episode_gives(encoder: Encoder, processor: PolicyProcessor) -> None:
    for i in range(len(encoder)):
        example = encoder.examples[i]
        images = [image for shown in example.episode.observations for image in shown_images(example.frames, shown)]
        plain = encode_episode(example.episode, images, processor)
        sample = encoder.sample(i)
        assert torch.equal(sample.encoded.input_ids, plain.input_ids)
        assert torch.equal(sample.encoded.labels, plain.labels)
        assert encoder.tokens(i) == len(plain)
        pixels = torch.cat([encoder.pixels(encoder.image(key, i)) for key in sample.images])
        torch.testing.assert_close(pixels, plain.pixel_values, atol=1e-6, rtol=0)


def test_masks_and_frames_of_a_sample_are_those_of_its_decoded_frames(encoder: Encoder) -> None:
    for i in range(len(encoder)):
        example, sample = encoder.examples[i], encoder.sample(i)
        assert sample.masks.shape == (len(example.episode.turns), SIDE, SIDE)
        for rle, mask, key in zip(example.masks, sample.masks, sample.frames, strict=True):
            assert bool(mask.any()) == (rle is not None)
            assert key == (example.video, key[1], None)
        assert [key[1] for key in sample.frames] == [shown.decoded for shown in example.episode.observations]


def test_a_batch_holds_every_image_and_frame_once(encoder: Encoder, processor: PolicyProcessor) -> None:
    items = [(0, i, encoder.sample(i)) for i in range(4)]
    batch = Collator(encoder)(items)
    whole = []
    for i in range(4):
        example = encoder.examples[i]
        images = [image for shown in example.episode.observations for image in shown_images(example.frames, shown)]
        whole.append(encode_episode(example.episode, images, processor))
    plain = distinct_images(collate(whole, processor.pad_id))
    assert batch["tokens"] == [len(one) for one in whole]
    for row, one in enumerate(whole):
        for name in ("input_ids", "labels", "mm_token_type_ids"):
            assert torch.equal(batch[name][row, : len(one)], getattr(one, name)), name
        assert (batch["labels"][row, len(one) :] == IGNORED).all()
    per_place = batch["image_grid_thw"][batch["image_index"]]
    assert torch.equal(per_place, plain["image_grid_thw"][plain["image_index"]])
    assert len(batch["image_grid_thw"]) < len(batch["image_index"])  # the expressions of a video share frames
    assert len(batch["frames"]) <= len(batch["seg_frame"]) == len(batch["masks"]) == len(batch["mask_ids"])
    for place, (example, key) in zip(
        batch["seg_frame"].tolist(),
        [(encoder.examples[i], key) for _, i, sample in items for key in sample.frames],
        strict=True,
    ):
        torch.testing.assert_close(batch["frames"][place], sam_frame(example.frames.image(key[1]), SIDE))


def test_padding_on_the_right_without_a_mask_gives_what_a_mask_gives(encoder: Encoder, sft_policy: Path) -> None:
    """The policy's own batches are padded on the left and masked."""
    policy, _ = load_policy(sft_policy, "cpu", "float32")
    lengths = [encoder.tokens(i) for i in range(len(encoder))]
    numbers = [lengths.index(min(lengths)), lengths.index(max(lengths))]
    batch = Collator(encoder)([(0, i, encoder.sample(i)) for i in numbers])
    names = ("input_ids", "mm_token_type_ids", "pixel_values", "image_grid_thw", "image_index")
    masks = ("seg_index", "frames", "seg_frame")
    with torch.no_grad():
        ours = policy(**{name: batch[name] for name in (*names, *masks)})
        shift = [max(lengths) - lengths[i] for i in numbers]
        moved = {name: batch[name] for name in (*names, *masks)}
        for name in ("input_ids", "mm_token_type_ids"):
            moved[name] = torch.stack([row.roll(by) for row, by in zip(batch[name], shift, strict=True)])
        moved["seg_index"] = batch["seg_index"] + torch.tensor([[0, shift[row]] for row, _ in batch["seg_index"]])
        keep = torch.stack([torch.arange(max(lengths)) >= by for by in shift]).long()
        masked = policy(**moved, attention_mask=keep)
    for row, by in enumerate(shift):
        end = max(lengths) - by
        torch.testing.assert_close(ours.logits[row, :end], masked.logits[row, by:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.mask_logits, masked.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.object_scores, masked.object_scores, atol=1e-4, rtol=1e-4)


def order(ids: list[str], lengths: list[int], recipe: SftRecipe, processes: int = 1) -> list[list[list[Any]]]:
    """Batches of every process."""
    plan = schedule(recipe, len(ids), processes)
    return [
        list(Batches(ids, lengths, plan, recipe.seed, recipe.batch.sorted_steps, process))
        for process in range(processes)
    ]


IDS = [f"demo/train/v/{i}" for i in range(10)]
LENGTHS = [100 + (37 * i) % 90 for i in range(10)]


def recipe(**changes: Any) -> SftRecipe:
    batch = BatchSettings(effective=4, per_device=2, sorted_steps=1)
    return SftRecipe.model_validate({"batch": batch, "epochs": 2, **changes})


def test_every_epoch_shows_every_record_once() -> None:
    (batches,) = order(IDS, LENGTHS, recipe())
    items = [item for batch in batches for item in batch]
    assert len(items) == 20
    assert sorted(items) == [(epoch, i) for epoch in range(2) for i in range(10)]
    assert [i for epoch, i in items if epoch == 0] != [i for epoch, i in items if epoch == 1]


def test_the_last_step_is_filled_up_from_the_next_epoch() -> None:
    (batches,) = order(IDS, LENGTHS, recipe(epochs=1))
    items = [item for batch in batches for item in batch]
    assert len(items) == 12
    assert sorted(i for epoch, i in items if epoch == 0) == list(range(10))


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_share_the_steps_of_one(processes: int) -> None:
    alone = order(IDS, LENGTHS, recipe())[0]
    steps = [sorted(alone[i] + alone[i + 1]) for i in range(0, len(alone), 2)]
    shared = order(IDS, LENGTHS, recipe(), processes)
    per_step = 2 // processes
    for number, step in enumerate(steps):
        part = [batch for mine in shared for batch in mine[number * per_step : (number + 1) * per_step]]
        assert sorted(item for batch in part for item in batch) == step


def test_records_of_a_batch_are_of_like_length() -> None:
    ids = [str(i) for i in range(64)]
    lengths = [(i * 7919) % 1000 for i in range(64)]
    sizes = {"effective": 8, "per_device": 2}

    def padding(sorted_steps: int) -> float:
        made = recipe(epochs=1, batch={**sizes, "sorted_steps": sorted_steps})
        (batches,) = order(ids, lengths, made)
        return sum(max(lengths[i] for _, i in b) * len(b) - sum(lengths[i] for _, i in b) for b in batches)

    assert padding(8) < padding(1) / 3
    (batches,) = order(ids, lengths, recipe(epochs=1, batch={**sizes, "sorted_steps": 8}))
    longest = [max(lengths[i] for _, i in batch) for batch in batches]
    assert longest != sorted(longest)  # no curriculum from short to long


def test_the_order_is_that_of_seed_and_ids() -> None:
    first = order(IDS, LENGTHS, recipe())
    assert first == order(IDS, LENGTHS, recipe())
    assert first != order(IDS, LENGTHS, recipe(seed=1))


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(UsageError, match=r"batch.effective 4 is no multiple of batch.per_device 2 x 3 processes"):
        schedule(recipe(), 10, 3)


def test_samples_come_by_epoch_and_number(encoder: Encoder) -> None:
    samples = Samples(encoder, [3, 5])
    epoch, number, sample = samples[(7, 1)]
    assert (epoch, number, len(samples)) == (7, 5, 2)
    assert sample.encoded.query_id == encoder.examples.ids[5]


@pytest.fixture
def dataset(sft_run: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the dataset that may be broken."""
    shutil.copytree(sft_run / "dataset", tmp_path / "set")
    yield tmp_path / "set"


def test_a_dataset_that_is_not_hydrated_says_the_way_out(dataset: Path) -> None:
    (shard,) = find_shards(dataset)
    table = pq.read_table(shard)
    for name in ("images", "decoded_masks", "track", "mask_height", "mask_width"):
        place = table.schema.get_field_index(name)
        field = table.schema.field(name)
        table = table.set_column(place, field, pa.nulls(len(table), field.type))
    pq.write_table(table, shard)
    with pytest.raises(DataError, match=rf"{len(table)} of {len(table)} rows hold no images.*vtscot hydrate"):
        open_examples(str(dataset))


def test_only_training_splits_are_trained_on(dataset: Path) -> None:
    (shard,) = find_shards(dataset)
    table = pq.read_table(shard)
    pq.write_table(table.slice(0, 3), shard)
    pq.write_table(table.slice(3), shard.with_name("valid_u-00000-of-00001.parquet"))
    examples = open_examples(str(dataset))
    assert len(examples) == 3
    assert dict(examples.left_out) == {"of other splits": len(table) - 3}


READ = "import sys; from vtscot.sft.examples import open_examples; print(*open_examples(sys.argv[1]).ids)"


def test_a_dataset_of_the_hub_is_fetched_once_and_then_read_offline(sft_run: Path, tmp_path: Path) -> None:
    folder = sft_run / "dataset"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with serve_hub(repos={"someone/demo": Repo(private=True, files=files)}) as hub:
        env = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}

        def read(name: str, **more: str) -> subprocess.CompletedProcess[str]:
            words = [sys.executable, "-c", READ, name]
            return subprocess.run(
                words, capture_output=True, text=True, env=os.environ | env | more, timeout=120, check=False
            )

        first = read("someone/demo")
        assert first.stdout.split() == list(open_examples(str(sft_run)).ids), first.stderr
        asked = len(hub.requests)
        assert read("someone/demo", HF_HUB_OFFLINE="1").stdout == first.stdout
        assert len(hub.requests) == asked
        missing = read("someone/nothing")
        assert "someone/nothing: no folder here, and the Hub does not give such a dataset" in missing.stderr


def test_names_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run, no dataset's folder and no id of the Hub"):
        open_examples(str(tmp_path / "nothing" / "here" / "at all"))
    with pytest.raises(DataError, match="holds no parquet files"):
        open_examples(str(tmp_path))
