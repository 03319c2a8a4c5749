"""What rollouts cost with one key-value cache per batch, against the released way: everything anew at every turn.

A policy of the nano's size with random weights looks twice and answers, G = 4 samples per query, about a demo video.
What it writes is planted (a policy with random weights writes nonsense), the work is the same. The released way reads
the whole dialogue and encodes all its images for every episode and turn; within a turn it has a cache, too. Both ways
run the samples of a query in one batch, on one core. Then: tokens per second by batch size. Exit code 1 where fewer
than 4 times the tokens or images are saved.

    python bench/rollout.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

SAMPLES = 4
LEAST = 4.0  # times fewer tokens and images
WINDOWS = ((4, 26, 15), (9, 21, 16), (12, 18, 15))


def episode() -> Any:
    """Two looks and an answer, in words as short as the nano's."""
    from vtscot.budget import preset
    from vtscot.episode import episode_of
    from vtscot.records import Plan, Query, Selection, Step, Thought

    query = Query(source="demo", split="train", video="v", exp_id="0", expression="the red circle that leaves first")
    steps = tuple(Step(selection=Selection(start=s, end=e, keyframe=k), keyframes=(k,)) for s, e, k in WINDOWS)
    plan = Plan(query_id=query.id, num_frames=32, difficulty=0.5, steps=steps)
    thought = Thought(
        temporal="Seen in frames 12, 15, 18. The window is 12 to 18.",
        spatial="In the sharp frame the target is in the upper left and small.",
        linguistic="The words that count are red circle, first.",
        action="Look closer.",
    )
    return episode_of(query, plan, [thought] * len(steps), preset("rl_rollout"))


class Scripted:
    """Stands for sampling: the tokens of the planted replies, one after the other, in every row."""

    def __init__(self, replies: Sequence[Any]) -> None:
        self.tokens = [int(token) for reply in replies for token in reply]
        self.calls = 0

    def __call__(self, logits: Any, *_: Any) -> Any:
        token = self.tokens[self.calls % len(self.tokens)]
        self.calls += 1
        return logits.argmax(-1) * 0 + token, logits[:, 0]


def released(policy: Any, processor: Any, rollout: Any, replies: Sequence[Any], counters: Any) -> None:
    """Write the planted replies again, with everything read and encoded anew for every episode and turn."""
    import torch

    from vtscot.policy.cache import Context, Slice
    from vtscot.policy.features import FeatureStore
    from vtscot.policy.sampling import Sampling
    from vtscot.policy.tokens import assemble
    from vtscot.policy.writing import Writer

    frames, nothing = rollout.ask.frames, torch.zeros(0, dtype=torch.int64)
    writer = Writer(policy, processor, Sampling())
    for turn, reply in enumerate(replies):
        shown = [rolled.observation for rolled in rollout.turns[: turn + 1]]
        slices, stores = [], [FeatureStore(policy, processor, counters, kept_bytes=0) for _ in range(SAMPLES)]
        for store in stores:
            so_far = [*replies[:turn], nothing]
            whole = assemble("q", rollout.pieces[: turn + 1], so_far, [o.decoded for o in shown], processor)
            images = [image for o in shown for image in store.images([store.show(frames, o, "q")])[0]]
            slices.append(Slice(whole.input_ids, whole.mm_token_type_ids, whole.image_grid_thw, tuple(images)))
        context = Context(policy, processor.pad_id, SAMPLES, counters)
        hidden = context.extend(slices)
        for token in reply.tolist()[:-1]:
            writer._logits(hidden).argmax(-1)
            hidden = context.step(torch.full((SAMPLES,), token), [True] * SAMPLES)
        for store in stores:
            store.masks([(frames, shown[-1].decoded)], hidden[:1])
        counters.generated_tokens += SAMPLES * len(reply)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def measure(work: Path, quick: bool) -> dict[str, Any]:
    import torch

    from vtscot.budget import Budget, preset
    from vtscot.demo import write_demo
    from vtscot.frames import open_frames
    from vtscot.policy import writing
    from vtscot.policy.cache import Counters
    from vtscot.policy.init import init_tiny
    from vtscot.policy.processor import PolicyProcessor
    from vtscot.policy.rollout import Ask, roll
    from vtscot.policy.settings import TinySettings
    from vtscot.policy.tokenizer import episode_texts
    from vtscot.policy.tokens import encode_reply

    torch.set_num_threads(1)
    write_demo(work / "demo", videos=2, seed=0, workers=1)
    frames = open_frames(min((work / "demo" / "train" / "JPEGImages").iterdir()))
    shape = TinySettings(hidden=128, layers=3, vision_hidden=64, patch=8)
    policy = init_tiny(work / "policy", 0, episode_texts([episode()]), shape)
    processor = PolicyProcessor.from_pretrained(work / "policy")
    replies = [encode_reply(turn, processor) for turn in episode().turns]
    queries, batches = (1, (2,)) if quick else (4, (1, 8, 16))
    small = Budget(temporal_frames=5, spatial_frames=1, window_frames=2, temporal_pixels=1024, spatial_pixels=2048)
    budget = small.model_copy(update={"keyframe_pixels": 2048}) if quick else preset("rl_rollout")

    def run(count: int, samples: int, batch: int, counters: Counters) -> list[Any]:
        asks = [Ask(f"q/{i}", "the red circle that leaves first", frames) for i in range(count)]
        with mock.patch.object(writing, "next_tokens", Scripted(replies)):
            return list(roll(policy, processor, asks, budget, samples=samples, batch_size=batch, counters=counters))

    run(1, 1, 1, Counters())  # the first call of anything is slower
    ours, theirs = Counters(), Counters()
    seconds, rollouts = timed(lambda: [run(1, SAMPLES, SAMPLES, ours) for _ in range(queries)])
    if not all(r.end == "answered" and len(r.turns) == len(WINDOWS) for some in rollouts for r in some):
        raise SystemExit("the planted episode was not rolled out")
    with torch.no_grad():
        again, _ = timed(lambda: [released(policy, processor, rollouts[0][0], replies, theirs) for _ in range(queries)])
    speed = {}
    for batch in batches:
        counters = Counters()
        took, _ = timed(lambda: run(batch, 1, batch, counters))  # noqa: B023
        speed[str(batch)] = round(counters.generated_tokens / took)
    return {
        "cached": {**asdict(ours), "cpu_seconds": round(seconds, 2)},
        "released": {**asdict(theirs), "cpu_seconds": round(again, 2)},
        "times_fewer_tokens": round(theirs.prefilled_tokens / ours.prefilled_tokens, 2),
        "times_fewer_images": round(theirs.encoded_images / ours.encoded_images, 2),
        "times_fewer_sam_frames": round(theirs.sam_frames / ours.sam_frames, 2),
        "times_faster": round(again / seconds, 2),
        "tokens_per_second": speed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one query, one batch size, small frames")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vtscot-bench-") as scratch:
        found = measure(Path(scratch), options.quick)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{'way':<10}{'prefilled':>11}{'generated':>11}{'images':>8}{'patches':>9}{'SAM':>6}{'CPU s':>8}")
        for way in ("cached", "released"):
            row = found[way]
            print(
                f"{way:<10}{row['prefilled_tokens']:>11}{row['generated_tokens']:>11}{row['encoded_images']:>8}"
                f"{row['vision_patches']:>9}{row['sam_frames']:>6}{row['cpu_seconds']:>8.2f}"
            )
        print(
            f"{found['times_fewer_tokens']} times fewer tokens, {found['times_fewer_images']} times fewer images, "
            f"{found['times_faster']} times faster (G = {SAMPLES}, {len(WINDOWS)} turns)"
        )
        print("tokens/s by batch size: " + ", ".join(f"{b}: {s}" for b, s in found["tokens_per_second"].items()))
    return int(min(found["times_fewer_tokens"], found["times_fewer_images"]) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
