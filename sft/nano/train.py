"""The training of nano: worlds, tokenizer, level A on SAM 2, the levels of `pipelines/nano.yaml`, SAM 2's memory.

With several processes (`share.py`) every one of them draws such a step, and the steps are averaged.

Folder: `worlds/` (shards), `tokenizer/`, `sam.safetensors` (after level A), `state.safetensors` (where it stands,
written every `save_every` steps), `tracking.safetensors` (SAM 2 with its memory), `metrics.jsonl` (every 50 steps, and
measured on held-out videos), `curves.svg`, and `nano/`, the policy. Whatever is there already is used: a run that was
stopped goes on where its state was saved. Every draw comes from (seed, level, step, process), so a run that was stopped
makes the same policy as one that was not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vtscot.budget import PRESETS
from vtscot.episode import system_text
from vtscot.policy.init import join
from vtscot.policy.processor import PolicyProcessor, image_processor
from vtscot.policy.tiny import tiny_sam, tiny_vlm
from vtscot.processes import processes
from vtscot.sft.nano.batch import collate, pictures
from vtscot.sft.nano.curves import write_curves
from vtscot.sft.nano.measure import measure
from vtscot.sft.nano.model import Warmup
from vtscot.sft.nano.prompts import draw_masks, prompt_step
from vtscot.sft.nano.queries import KINDS, draw
from vtscot.sft.nano.reading import passages
from vtscot.sft.nano.settings import SHARD, Alone, Level, NanoSettings
from vtscot.sft.nano.share import Share
from vtscot.sft.nano.state import load_state, save_state
from vtscot.sft.nano.tasks import MISLED, Example, Tasks
from vtscot.sft.nano.tracking import awaken, draw_tracks, memory_parts, track_step
from vtscot.sft.nano.vocabulary import nano_tokenizer
from vtscot.sft.nano.world import Clip, read_shards, write_shard

BUDGET: Final = PRESETS["tiny"]
WEIGHTS: Final = {
    "text": 1.0,
    "reads": 0.7,
    "looks": 1.0,
    "asks": 1.0,
    "shows": 0.7,
    "outlines": 0.5,
    "grey": 3.0,
    "knows": 0.3,
    "prompt": 0.3,
    "mask": 1.0,
    "object": 0.5,
    "iou": 0.2,
}
WEIGHTS_SAM: Final = {"mask": 1.0, "object": 0.5, "iou": 0.5}
LOG_EVERY: Final = 50
STRIPS: Final = 3  # low-resolution frames of a video of which only images are shown
WORDS_FROM: Final = 300  # videos whose expressions the tokenizer is trained on
WHOLE: Final = Share()
Say = Callable[[str], None]


def train(settings: NanoSettings, out: Path, say: Say, workers: int = 1, share: Share = WHOLE) -> Path:
    """Train nano in `out`; returns the folder of the finished policy. Every process of a training calls it."""
    clips, processor = prepare(settings, out, say, workers, share)
    held, clips = clips[: settings.held], clips[settings.held :]
    warm = _fresh(settings, processor)
    log = _Log(out / "metrics.jsonl" if share.first else None, say)
    sam = _Sam(warm, settings, clips, held, out, log, share)
    sam.prompts()
    Run(warm, processor, settings, clips, held, out, log, share).go()
    sam.memory()
    folder = out / "nano"
    if share.first:
        save_nano(warm.policy, processor, folder)
        write_curves(out / "metrics.jsonl", out / "curves.svg")
    return folder


def prepare(settings: NanoSettings, out: Path, say: Say, workers: int, share: Share) -> tuple[list[Clip], Any]:
    """The videos and the processor, made by the first process where they are missing."""
    if share.first:
        out.mkdir(parents=True, exist_ok=True)
        clips = make_worlds(settings, out / "worlds", say, workers)
        _processor(settings, clips[settings.held :], out / "tokenizer")
    share.wait()
    clips = make_worlds(settings, out / "worlds", say)
    return clips, _processor(settings, clips[settings.held :], out / "tokenizer")


def make_worlds(settings: NanoSettings, folder: Path, say: Say, workers: int = 1) -> list[Clip]:
    """The videos, made where they are missing."""
    folder.mkdir(exist_ok=True)
    token, sam, total = 2 * settings.sizes.patch, settings.sizes.sam_size, settings.held + settings.videos
    missing = [
        (folder / f"{start // SHARD:04d}.bin", range(start, min(start + SHARD, total)), BUDGET, token, sam)
        for start in range(0, total, SHARD)
        if not (folder / f"{start // SHARD:04d}.json").exists()
    ]
    if missing:
        say(f"{len(missing)} shards of {SHARD} videos to make")
    if workers == 1:
        for job in missing:
            write_shard(*job)
    elif missing:
        with processes(workers) as pool:
            for future in [pool.submit(write_shard, path, numbers, *rest) for path, numbers, *rest in missing]:
                future.result()
    return list(read_shards(folder))[:total]


def _processor(settings: NanoSettings, clips: Sequence[Clip], folder: Path) -> PolicyProcessor:
    if not (folder / "tokenizer.json").is_file():
        images, tokenizer = image_processor(patch_size=settings.sizes.patch), nano_tokenizer(clips[:WORDS_FROM])
        PolicyProcessor(images, tokenizer, system=system_text(brief=True)).save_pretrained(folder)
    return PolicyProcessor.from_pretrained(folder)


def _fresh(settings: NanoSettings, processor: PolicyProcessor) -> Warmup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        parts = tiny_vlm(settings.sizes, processor), tiny_sam(settings.sizes)
        return Warmup(join(*parts, processor.seg_id, settings.seed))


class _Sam:
    """The levels of SAM 2 without the language model: the first and the last of all."""

    def __init__(
        self, warm: Warmup, settings: NanoSettings, clips: Any, held: Any, out: Path, log: _Log, share: Share
    ) -> None:
        self.warm, self.settings, self.clips, self.held = warm, settings, clips, held
        self.out, self.log, self.share = out, log, share

    def prompts(self) -> None:
        """Level A: masks of prompts made from facts."""
        warm, level = self.warm, self.settings.sam
        parts = torch.nn.ModuleDict({"sam": warm.policy.sam, "prompter": warm.prompter})

        def terms(clips: Any, rng: np.random.Generator, more: int = 1) -> Any:
            return prompt_step(warm.policy, warm.prompter, draw_masks(clips, rng, more * level.frames, level.prompts))

        self._train("sam", level, parts, list(parts.parameters()), terms)

    def memory(self) -> None:
        """Following a mask. What decodes a `[SEG]` has learned all it will, and stays as it is."""
        sam, level = self.warm.policy.sam.eval(), self.settings.tracking

        def terms(clips: Any, rng: np.random.Generator, more: int = 1) -> Any:
            return track_step(sam, draw_tracks(clips, rng, more * level.sequences, level.length))

        awaken(sam, torch.Generator().manual_seed(self.settings.seed))
        with memory_parts(sam) as parts:
            self._train("tracking", level, sam, parts, terms)

    def _train(self, name: str, level: Alone, whole: torch.nn.Module, parts: list[Any], terms: Any) -> None:
        """Train `parts` of a `whole`, or take what an earlier run made of it."""
        path = self.out / f"{name}.safetensors"
        if path.exists():
            load_state(path, whole, None, [])
            return
        optimizer = torch.optim.AdamW(parts, betas=(0.9, 0.98), weight_decay=0.01)
        for step in range(level.steps):
            found = terms(self.clips, _rng(self.settings.seed, name, step, self.share.rank))
            loss = sum(WEIGHTS_SAM[term] * found[term] for term in WEIGHTS_SAM)
            _descend(optimizer, level.rate(step), loss, self.share)
            self.log.add(name, step, found)
        with torch.no_grad():
            found = terms(self.held, _rng(self.settings.seed, f"{name} held", 0), 3)
        self.log.write({"level": name, "step": level.steps, "measured": {k: float(v) for k, v in found.items()}})
        if self.share.first:
            save_state(path, whole, None, [], {})


def _rng(seed: int, level: str, step: int, rank: int = 0) -> np.random.Generator:
    return np.random.default_rng((seed, *level.encode(), step, *([rank] if rank else [])))


def _descend(optimizer: Any, rate: float, loss: Any, share: Share) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    share.average([p for group in optimizer.param_groups for p in group["params"]])
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()


class Run:
    """The levels after level A, from where they stand."""

    def __init__(
        self,
        warm: Warmup,
        processor: Any,
        settings: NanoSettings,
        clips: Sequence[Clip],
        held: Any,
        out: Path,
        log: _Log,
        share: Share,
    ) -> None:
        self.warm, self.processor, self.settings, self.clips, self.share = warm, processor, settings, clips, share
        self.tasks = Tasks(processor, BUDGET)
        rng = _rng(settings.seed, "held", 0)
        self.held = [self.tasks.example(clip, rng, draw(clip, rng, 6, KINDS), False) for clip in held]
        self.state, self.log = out / "state.safetensors", log
        named = [(n, p) for n, p in warm.named_parameters() if not n.startswith("prompter.")]
        late = ("policy.sam.", "policy.projector.")
        groups = [[(n, p) for n, p in named if n.startswith(late) == last] for last in (False, True)]
        self.names = [name for group in groups for name, _ in group]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for _, p in group], "share": share}
                for group, share in zip(groups, (1.0, settings.sam_lr), strict=True)
            ],
            betas=(0.9, 0.98),
            weight_decay=0.01,
        )

    def go(self) -> None:
        """Train what is left."""
        where = load_state(self.state, self.warm, self.optimizer, self.names) if self.state.exists() else {}
        for number, level in enumerate(self.settings.levels):
            if number < where.get("level", 0):
                continue
            begin = where.get("step", 0) if number == where.get("level") else 0
            for step in range(begin, level.steps):
                self._step(level, step)
                if not self.share.first:
                    continue
                if (step + 1) % self.settings.save_every == 0 or step + 1 == level.steps:
                    save_state(self.state, self.warm, self.optimizer, self.names, {"level": number, "step": step + 1})
                if (step + 1) % self.settings.measure_every == 0 or step + 1 == level.steps:
                    self._measure(level, step)

    def _step(self, level: Level, step: int) -> None:
        rng = _rng(self.settings.seed, level.name, step, self.share.rank)
        terms = self._about_queries(level, rng) if level.videos else {}
        if level.pictures:
            shown = [self.tasks.pictures(self._any(rng), rng, STRIPS) for _ in range(level.pictures)]
            more = self.warm.pictures(*pictures(shown, self.processor.token_side))
            if "shows" in terms:
                more["shows"] = 0.6 * more["shows"] + 0.4 * terms["shows"]
            terms |= more
        if level.passages:
            terms["reads"] = self.warm.reads(*passages(rng, self.tasks, level.passages))
        loss = sum(WEIGHTS[name] * term for name, term in terms.items() if name in WEIGHTS)
        _descend(self.optimizer, level.rate(step), loss, self.share)
        self.log.add(level.name, step, terms)

    def _about_queries(self, level: Level, rng: np.random.Generator) -> dict[str, Any]:
        look = bool(rng.random() < level.look)
        system = not look and bool(rng.random() < level.system)
        examples = list(self._examples(level, rng, look))
        terms: dict[str, Any] = self.warm(collate(examples, self.processor, system), level.masks)
        return terms

    def _examples(self, level: Level, rng: np.random.Generator, look: bool) -> Iterator[Example]:
        for _ in range(level.videos):
            clip = self._any(rng)
            queries = draw(clip, rng, level.queries, level.kinds, level.mixed)
            yield self.tasks.example(clip, rng, queries, look, level.interrupted, MISLED)

    def _any(self, rng: np.random.Generator) -> Clip:
        return self.clips[int(rng.integers(len(self.clips)))]

    def _measure(self, level: Level, step: int) -> None:
        found = measure(self.warm, self.held, self.processor)
        self.log.write({"level": level.name, "step": step + 1, "measured": found})


class _Log:
    """Means of the terms every `LOG_EVERY` steps, and whatever is measured, one JSON object per line.

    `path` None: nothing is written or said, as in all processes but the first.
    """

    def __init__(self, path: Path | None, say: Say) -> None:
        self.path, self.say = path, say
        self.sums: dict[str, float] = {}
        self.count, self.start = 0, time.monotonic()

    def add(self, level: str, step: int, terms: dict[str, Any]) -> None:
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term.detach())
        self.count += 1
        if (step + 1) % LOG_EVERY == 0:
            means = {name: total / self.count for name, total in self.sums.items()}
            self.write({"level": level, "step": step + 1, **means})
            self.sums, self.count = {}, 0

    def write(self, row: dict[str, Any]) -> None:
        if self.path is None:
            return
        row["seconds"] = time.monotonic() - self.start
        line = json.dumps({key: _short(value) for key, value in row.items()})
        with self.path.open("a") as file:
            file.write(line + "\n")
        self.say(line)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def save_nano(policy: Any, processor: Any, folder: Path) -> None:
    """The policy in float16, with its budget; the processor beside it."""
    policy.config.budget = BUDGET.model_dump(mode="json")
    whole = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.half().save_pretrained(folder)
    policy.float().load_state_dict(whole)
    policy.config.dtype = torch.float32
    processor.save_pretrained(folder)
