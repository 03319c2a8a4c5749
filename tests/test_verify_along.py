"""Along the window, and the second judge: what a tracker and a reader add to a verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.server import Body, ScriptedServer, schema_brain, texts
from vtscot.budget import preset
from vtscot.build import build, rebuild
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.settings import EndpointSettings
from vtscot.errors import UsageError
from vtscot.index import build_index
from vtscot.ledger import Ledger
from vtscot.recipe import load_recipe
from vtscot.records import Selection, Thought
from vtscot.segmenter.base import Image, Images, Mask, Tracker
from vtscot.segmenter.grabcut import GrabCutSegmenter
from vtscot.selftest import cases
from vtscot.selftest.planting import PLANTERS, Case
from vtscot.sources.registry import open_source
from vtscot.verify import open_grounder, open_judge, verify
from vtscot.verify.along import spread
from vtscot.verify.base import VerifySettings


class Matching(GrabCutSegmenter):
    """A tracker of the classical kind: the mask moves to where the patch around it is found again."""

    name = "matching"

    def track(self, images: Images, start: int, masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
        yield start, np.asarray(np.any(masks, axis=0))
        for order in (range(start + 1, len(images)), range(start - 1, -1, -1)):
            before, known = images[start], list(masks)
            for index in order:
                known = [moved(before, images[index], mask) for mask in known]
                before = images[index]
                yield index, np.asarray(np.any(known, axis=0))


class Lost(Matching):
    """A tracker that loses everything."""

    name = "lost"

    def track(self, images: Images, start: int, masks: Sequence[Mask]) -> Iterator[tuple[int, Mask]]:
        return ((index, np.zeros_like(masks[0])) for index in range(len(images)))


def moved(before: Image, after: Image, mask: Mask) -> Mask:
    import cv2

    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return mask
    patch = before[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(after, patch, cv2.TM_CCOEFF_NORMED))
    return np.roll(mask, (y - ys[0], x - xs[0]), axis=(0, 1))


@pytest.fixture(scope="module")
def made(demo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    source = open_source("demo", demo_root, "valid_u")
    index = build_index(source, tmp_path_factory.mktemp("index"))
    return [case for case in cases(source, index, preset("cold_start"), seed=0) if case.task.target is not None][:6]


def verdict(case: Case, segmenter: GrabCutSegmenter, **more: object):  # type: ignore[no-untyped-def]
    settings = VerifySettings.model_validate(more)
    grounder = open_grounder("words", None)
    made = verify(case.episode, case.plan, case.task.target, case.task.frames, grounder, segmenter, settings)
    return asyncio.run(made)


def along(one):  # type: ignore[no-untyped-def]
    return next(check for check in one.checks if check.name == "along-window")


def test_what_can_follow_is_followed(made: list[Case]) -> None:
    assert isinstance(Matching(), Tracker)
    assert not isinstance(GrabCutSegmenter(), Tracker)
    for case in made:
        one = verdict(case, Matching())
        last = one.groundings[-1]
        assert last.window_iou is not None
        assert 0 < last.window_ceiling <= 1
        assert [g.window_iou for g in one.groundings[:-1]] == [None] * (len(one.groundings) - 1)
        assert along(one).value == pytest.approx(last.window_iou / last.window_ceiling) or along(one).value is None
    reached = [verdict(case, Matching()).groundings[-1].window_iou for case in made]
    assert np.mean(reached) > 0.4


def test_what_cannot_is_not_held_to_it(made: list[Case]) -> None:
    one = verdict(made[0], GrabCutSegmenter())
    assert along(one).passed
    assert one.groundings[-1].window_iou is None
    assert verdict(made[0], Matching(), window_frames=0).groundings[-1].window_iou is None


def test_a_tracker_that_loses_its_object_is_no_wrong_thought(made: list[Case]) -> None:
    one = verdict(made[0], Lost())
    assert along(one).passed
    assert "itself" in along(one).detail


def test_what_is_something_else_on_the_keyframe_is_something_else_along_the_window(made: list[Case]) -> None:
    """Thoughts that point beside the target, where nothing but the window is looked at."""
    lax = {"min_iou": 0, "min_ratio": 0, "min_part": 0, "min_earlier_ratio": 0}
    wrong = [PLANTERS["pointed-elsewhere"](case, made, np.random.default_rng(0)) for case in made]
    verdicts = [verdict(case, Matching(), **lax) for case in wrong if case is not None]
    held = [one for one in verdicts if one.groundings[-1].boxes and one.groundings[-1].window_ceiling >= 0.35]
    assert held
    for one in held:
        assert not along(one).passed
        assert one.reason in ("along-window", "contradiction")
    assert "along-window" in {one.reason for one in held}


def test_frames_are_spread_over_the_window() -> None:
    assert spread(Selection(start=3, end=5, keyframe=3), 12) == [3, 4, 5]
    assert spread(Selection(start=0, end=100, keyframe=3), 3) == [0, 50, 100]
    assert spread(Selection(start=7, end=7, keyframe=7), 3) == [7]


THOUGHT = Thought(temporal="It enters.", spatial="A dog is left.", linguistic="Only the dog barks.", action="Sure.")


def brain(body: Body) -> str:
    """Every thought follows, unless it speaks of a cat."""
    if "entailed" not in json.dumps(body):
        return schema_brain(body)
    return json.dumps({"entailed": "cat" not in texts(body), "reason": "It is no cat."})


def test_the_judge_reads_words_alone_and_is_asked_once(ledger: Ledger) -> None:
    async def ask(url: str) -> list[bool]:
        client = ChatClient(EndpointSettings(model="m", base_url=url), ledger)
        judge = open_judge("openai", client)
        assert judge is not None
        answers = [await judge.judge(expression, THOUGHT) for expression in ("the dog", "the cat", "the dog")]
        await client.close()
        return [answer.entailed for answer in answers]

    with ScriptedServer(brain) as server:
        assert asyncio.run(ask(server.base_url)) == [True, False, True]
        assert len(server.requests) == 2
    assert "Only the dog barks." in texts(server.requests[0])
    assert "image" not in json.dumps(server.requests[0]["messages"])


def test_a_recipe_may_have_a_judge(demo_root: Path, tmp_path: Path) -> None:
    with ScriptedServer(brain) as server:
        flags = {"source.root": str(demo_root), "limit": 3, "workers": 1, "teacher.base_url": server.base_url}
        recipe = load_recipe("mevis", None, ["verify.judge=openai", "teacher.model=m"], flags)
        summary = build(recipe, tmp_path / "run")
        asked = len(server.requests)
        server.brain = lambda body: json.dumps({"entailed": False, "reason": "A word too few."})
        assert asked == sum(turns * count for turns, count in summary.figures.turns.items()) > 0
        other = build(recipe, tmp_path / "strict")
        assert other.figures.reasons["rejected"] == {"entailment": 3}
        sent = len(server.requests)
        assert rebuild(tmp_path / "strict", ["verify.judge=none"]).figures.states["kept"] == 3
        assert len(server.requests) == sent


def test_judges_are_known_by_name() -> None:
    assert open_judge("none", None) is None
    with pytest.raises(UsageError, match="needs an endpoint"):
        open_judge("openai", None)
