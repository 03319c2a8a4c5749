"""The openai teacher against a real local server: what it sends, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.server import Body, ScriptedServer, images, schema_brain, schema_of, texts
from vtscot.budget import Budget
from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.settings import EndpointSettings
from vtscot.episode import episode_of, observations
from vtscot.errors import FrameError, TeacherError
from vtscot.frames import FolderFrames
from vtscot.grammar import parse_turn, render_turn
from vtscot.ledger import Ledger
from vtscot.masks import Rle
from vtscot.records import Fact, Plan, Query, Selection, Step, Thought
from vtscot.teacher.base import PassTokens, TraceTask
from vtscot.teacher.hints import direction, hints
from vtscot.teacher.openai import OpenAITeacher, with_keyframe
from vtscot.teacher.passes import PASSES, SingleAnswer, checked
from vtscot.tracks import MaskTrack

SIZE = (96, 64)  # width, height
COUNT = 30
BUDGET = Budget(temporal_frames=4, spatial_frames=3, window_frames=3, temporal_pixels=24 * 16, keyframe_pixels=96 * 64)
PLAN = Plan(
    query_id="mevis/train/dog/0",
    num_frames=COUNT,
    difficulty=0.5,
    steps=(
        Step(
            selection=Selection(start=10, end=20, keyframe=14),
            facts=(Fact(kind="enters", start=11, end=11),),
            keyframes=(14, 12),
        ),
        Step(selection=Selection(start=12, end=18, keyframe=15), keyframes=(15, 16)),
    ),
)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FolderFrames:
    """A grey video in which every frame has its own shade."""
    folder = tmp_path_factory.mktemp("frames")
    names = [f"{i:05d}" for i in range(COUNT)]
    for i, name in enumerate(names):
        Image.new("RGB", SIZE, (60 + i, 60 + i, 60 + i)).save(folder / f"{name}.jpg")
    return FolderFrames(folder, names)


def square() -> Rle:
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    mask[20:40, 30:60] = True
    return Rle.from_array(mask)


@pytest.fixture
def task(frames: FolderFrames) -> TraceTask:
    """The target is seen from frame 10 on."""
    target = MaskTrack(SIZE[1], SIZE[0], (None,) * 10 + (square().counts,) * (COUNT - 10))
    return TraceTask(
        query=Query(source="mevis", split="train", video="dog", exp_id="0", expression="the dog that enters"),
        plan=PLAN,
        observations=observations(PLAN, BUDGET),
        frames=frames,
        target=target,
        objects={},
        seed=0,
    )


def settings(url: str, **more: object) -> EndpointSettings:
    values: dict[str, object] = {"model": "m", "base_url": url, "backoff_s": 0.01, "timeout_s": 10, "max_answers": 2}
    return EndpointSettings.model_validate({**values, **more})


def trace(task: TraceTask, ledger: Ledger, url: str, **more: object) -> tuple[Plan, tuple[Thought, ...]]:
    async def run() -> tuple[Plan, tuple[Thought, ...]]:
        teacher = OpenAITeacher(ChatClient(settings(url, **more), ledger))
        try:
            return await teacher.trace(task)
        finally:
            await teacher.close()

    return asyncio.run(run())


def asked(server: ScriptedServer, name: str) -> list[Body]:
    """The requests of one pass, in the order of turns."""
    title = f"{name.title()}Answer"
    return [body for body in server.requests if (schema_of(body) or {}).get("title") == title]


def shown(body: Body) -> list[int]:
    """The frames a request shows, read from its labels; each label is followed by its image."""
    parts = body["messages"][1]["content"]
    labels = [part["text"] for part, after in itertools.pairwise(parts) if after["type"] == "image_url"]
    return [int(label.removeprefix("Frame ").removesuffix(":")) for label in labels]


def pixels(url: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def is_marked(image: np.ndarray) -> bool:  # type: ignore[type-arg]
    """Whether a grey image has a magenta line on it."""
    red, green, blue = (image[..., i].astype(int) for i in range(3))
    return bool(((red - green > 60) & (blue - green > 60)).any())


def changed(name: str, value: object) -> Callable[[Body], str]:
    """The usual brain, but with this value in every answer that has the field."""

    def brain(body: Body) -> str:
        answer = json.loads(schema_brain(body))
        return json.dumps({**answer, **({name: value} if name in answer else {})})

    return brain


def test_a_single_request_per_turn_gives_the_whole_thought(task: TraceTask, ledger: Ledger) -> None:
    async def run(url: str) -> tuple[Plan, tuple[Thought, ...]]:
        teacher = OpenAITeacher(ChatClient(settings(url), ledger), "single", PassTokens(single=777))
        try:
            return await teacher.trace(task)
        finally:
            await teacher.close()

    with ScriptedServer() as server:
        plan, thoughts = asyncio.run(run(server.base_url))
        assert len(server.requests) == len(PLAN.steps)
        for turn, body in enumerate(server.requests):
            observed = observations(plan, BUDGET)[turn]
            assert shown(body) == [frame.index for frame in observed.frames]
            assert body["max_tokens"] == 777
            sharp = [frame.role in ("spatial", "keyframe") for frame in observed.frames]
            marked = [is_marked(pixels(url)) for url in images(body)]
            seen = [task.target is not None and task.target.rle(f.index) is not None for f in observed.frames]
            assert marked == [one and two for one, two in zip(sharp, seen, strict=True)], "only sharp frames are marked"
        assert "temporal" in (schema_of(server.requests[0]) or {})["properties"]
    episode = episode_of(task.query, plan, thoughts, BUDGET)
    assert [parse_turn(render_turn(turn)) for turn in episode.turns] == list(episode.turns)
    assert thoughts[0].temporal in texts(server.requests[1]), "a later turn knows the earlier thought"


@pytest.mark.parametrize(
    ("name", "said", "kept"),
    [
        ("temporal", "Step 1: Temporal Dynamics. The dog runs.", "The dog runs."),
        ("temporal", "**Temporal Dynamics:** The dog runs.", "The dog runs."),
        ("spatial", "Step 2: The dog runs.", "The dog runs."),
        ("spatial", "Spatial details matter.", "Spatial details matter."),
        ("linguistic", "Step 3: Expression Analysis: It says so.", "It says so."),
        ("action", "Action: I look again.", "I look again."),
        ("action", "Action shots are rare.", "Action shots are rare."),
    ],
)
def test_a_parts_own_heading_is_left_to_the_grammar(name: str, said: str, kept: str) -> None:
    texts = dict.fromkeys(("temporal", "spatial", "linguistic", "action"), "It is so.") | {name: said}
    answer = checked(SingleAnswer(keyframe=1, **texts))
    assert getattr(answer.thought, name) == kept


@pytest.mark.parametrize("name", ["temporal", "spatial", "linguistic"])
def test_every_pass_has_its_own_template_schema_and_budget(task: TraceTask, ledger: Ledger, name: str) -> None:
    async def run(url: str) -> None:
        tokens = PassTokens(temporal=101, spatial=102, linguistic=103)
        teacher = OpenAITeacher(ChatClient(settings(url), ledger), tokens=tokens)
        await teacher.trace(task)
        await teacher.close()

    with ScriptedServer() as server:
        asyncio.run(run(server.base_url))
        bodies = asked(server, name)
        assert {body["max_tokens"] for body in bodies} == {{"temporal": 101, "spatial": 102, "linguistic": 103}[name]}
        own = {"temporal": {"temporal", "keyframe"}, "spatial": {"spatial"}, "linguistic": {"linguistic", "action"}}
        assert set((schema_of(bodies[0]) or {})["properties"]) == own[name]


def test_the_temporal_pass_is_told_its_window_in_frames_that_were_shown(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
        hint = re.search(r"window that matters now is frames (\d+) to (\d+)", texts(asked(server, "temporal")[0]))
    assert hint is not None
    assert set(map(int, hint.groups())) <= set(task.observations[0].indices)


def test_variants_are_other_questions_and_a_budget_is_part_of_one(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
        trace(dataclasses.replace(task, variant=1), ledger, server.base_url)
        assert len(server.requests) == 12
        assert len({body["seed"] for body in server.requests}) == 12
        trace(dataclasses.replace(task, variant=1), ledger, server.base_url)
        assert len(server.requests) == 12


def test_every_step_gets_a_thought_fit_for_an_episode(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        plan, thoughts = trace(task, ledger, server.base_url)
    episode = episode_of(task.query, plan, thoughts, BUDGET)
    assert [parse_turn(render_turn(turn)) for turn in episode.turns] == list(episode.turns)
    assert "the dog that enters" in thoughts[0].linguistic
    assert len(server.requests) == len(PASSES) * len(PLAN.steps)


def test_a_second_run_asks_nothing_and_says_the_same(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        first = trace(task, ledger, server.base_url)
        assert trace(task, ledger, server.base_url) == first
        assert len(server.requests) == 6


def test_a_request_shows_only_frames_the_policy_has_seen(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
    assert [shown(body) for body in asked(server, "temporal")] == [[0, 10, 19, 29], [10, 15, 20]]
    assert [shown(body) for body in asked(server, "spatial")] == [[0, 15, 29], [12]]
    assert [images(body) for body in asked(server, "linguistic")] == [[], []]


def test_images_are_the_frames_at_their_budget(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
    low = [pixels(url) for url in images(asked(server, "temporal")[0])]
    assert [image.shape for image in low] == [(16, 24, 3)] * 4
    assert [round(float(image.mean())) for image in low] == pytest.approx([60, 70, 79, 89], abs=1)
    assert pixels(images(asked(server, "spatial")[1])[0]).shape == (SIZE[1], SIZE[0], 3)


def test_only_the_sharp_frames_with_the_target_are_outlined(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
    first = asked(server, "spatial")[0]
    assert [is_marked(pixels(url)) for url in images(first)] == [False, True, True]
    assert "outlined in magenta in frames 15, 29, and cannot be seen in the other frames" in texts(first)
    assert not any(is_marked(pixels(url)) for body in asked(server, "temporal") for url in images(body))


def test_without_a_target_nothing_is_outlined_and_the_teacher_knows(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        trace(dataclasses.replace(task, target=None), ledger, server.base_url)
    for body in asked(server, "spatial"):
        assert not any(is_marked(pixels(url)) for url in images(body))
        assert "nothing in this video matches" in texts(body)


def test_the_teacher_may_choose_another_candidate_and_the_next_look_shows_it(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:  # its brain picks the lowest: 12 of (14, 12), 15 of (15, 16)
        plan, _ = trace(task, ledger, server.base_url)
    assert [step.selection.keyframe for step in plan.steps] == [12, 15]
    assert plan.model_dump(exclude={"steps"}) == PLAN.model_dump(exclude={"steps"})
    assert [(s.selection.start, s.selection.end, s.keyframes) for s in plan.steps] == [
        (s.selection.start, s.selection.end, s.keyframes) for s in PLAN.steps
    ]
    assert shown(asked(server, "spatial")[1]) == [12]
    assert with_keyframe(task.observations[1], 12) == observations(plan, BUDGET)[1]


def test_later_turns_know_the_earlier_thoughts(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer() as server:
        _, thoughts = trace(task, ledger, server.base_url)
    assert thoughts[0].temporal in texts(asked(server, "temporal")[1])
    assert thoughts[0].spatial in texts(asked(server, "spatial")[1])
    assert thoughts[1].spatial in texts(asked(server, "linguistic")[1])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("keyframe", 13, "invented-frame", id="keyframe_inside_the_window_but_no_candidate"),
        pytest.param("keyframe", -1, "invented-frame", id="negative_keyframe"),
        pytest.param("keyframe", "the best", "schema", id="keyframe_in_words"),
        pytest.param("temporal", "See </think> here.", "markup", id="closing_tag"),
        pytest.param("spatial", "The mask is [SEG].", "markup", id="mask_token"),
        pytest.param("action", "Step 1: look.", "markup", id="heading"),
        pytest.param("linguistic", " \n ", "empty", id="empty_part"),
        pytest.param("spatial", None, "schema", id="null_part"),
    ],
)
def test_what_may_not_stand_in_a_thought_fails_the_query(
    task: TraceTask, ledger: Ledger, name: str, value: object, reason: str
) -> None:
    with ScriptedServer(changed(name, value)) as server:
        with pytest.raises(TeacherError, match="mevis/train/dog/0, turn 0") as caught:
            trace(task, ledger, server.base_url)
        assert caught.value.reason == reason
        before = len(server.requests)
        with pytest.raises(TeacherError):
            trace(task, ledger, server.base_url)
        assert len(server.requests) == before, "a bad answer is not paid twice"


def test_paragraphs_are_joined(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer(changed("temporal", "First.\n\n  Second. ")) as server:
        _, thoughts = trace(task, ledger, server.base_url)
    assert thoughts[0].temporal == "First. Second."


def test_the_answer_that_came_beside_a_failed_one_is_kept(task: TraceTask, ledger: Ledger) -> None:
    with ScriptedServer(changed("spatial", None)) as server:
        with pytest.raises(TeacherError):
            trace(task, ledger, server.base_url)
        server.brain = schema_brain
        trace(task, ledger, server.base_url, max_answers=3)
        assert len(asked(server, "temporal")) == 2, "one per turn"


@pytest.mark.parametrize(
    ("change", "paid"),
    [
        pytest.param(lambda task: dataclasses.replace(task, seed=1), 6, id="seed"),
        pytest.param(lambda task: dataclasses.replace(task, objects={"7": task.target}), 0, id="other_objects"),
        pytest.param(
            lambda task: dataclasses.replace(task, query=task.query.model_copy(update={"exp_id": "1"})),
            0,
            id="same_words_under_another_id",
        ),
    ],
)
def test_only_what_is_asked_decides_the_key(
    task: TraceTask, ledger: Ledger, change: Callable[[TraceTask], TraceTask], paid: int
) -> None:
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
        trace(change(task), ledger, server.base_url)
        assert len(server.requests) - 6 == paid


def test_another_outline_is_another_question(task: TraceTask, ledger: Ledger) -> None:
    other = MaskTrack(SIZE[1], SIZE[0], (None,) * 10 + (Rle.from_array(np.eye(64, 96, dtype=bool)).counts,) * 20)
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
        trace(dataclasses.replace(task, target=other), ledger, server.base_url)
        assert [len(asked(server, name)) for name in ("temporal", "spatial")] == [2, 4]


def test_a_changed_frame_pays_for_the_passes_that_show_it(task: TraceTask, ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    for i in range(COUNT):
        shade = 200 if i == 12 else 60 + i
        Image.new("RGB", SIZE, (shade,) * 3).save(folder / f"{i:05d}.jpg")
    changed_task = dataclasses.replace(task, frames=FolderFrames(folder, [f"{i:05d}" for i in range(COUNT)]))
    with ScriptedServer() as server:
        trace(task, ledger, server.base_url)
        trace(changed_task, ledger, server.base_url)
        assert len(server.requests) == 6 + 1, "frame 12 is the keyframe of the spatial pass of turn 1 alone"


def test_the_ledger_keeps_at_most_8_kb_for_8_frames(task: TraceTask, ledger: Ledger, tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"steps": PLAN.steps[:1]})
    budget = BUDGET.model_copy(update={"temporal_frames": 8, "spatial_frames": 8})
    wide = dataclasses.replace(task, plan=plan, observations=observations(plan, budget))
    words = changed("temporal", "The dog walks slowly from the left to the right. " * 20)
    with ScriptedServer(words) as server:
        for i in range(8):
            trace(dataclasses.replace(wide, seed=i), ledger, server.base_url)
    entries = ledger.usage().answers
    ledger.close()
    assert entries == 24
    assert (tmp_path / "ledger.sqlite").stat().st_size / entries <= 8192
    assert b"data:image" not in (tmp_path / "ledger.sqlite").read_bytes()


def test_a_frame_that_cannot_be_read_is_named(task: TraceTask, ledger: Ledger, tmp_path: Path) -> None:
    for i in range(COUNT):
        (tmp_path / f"{i:05d}.jpg").write_bytes(b"no picture")
    broken = dataclasses.replace(task, frames=FolderFrames(tmp_path, [f"{i:05d}" for i in range(COUNT)]))
    with ScriptedServer() as server, pytest.raises(FrameError, match=r"000\d\d\.jpg"):
        trace(broken, ledger, server.base_url)
    assert server.requests == []


def test_hints_speak_of_shown_frames_only() -> None:
    facts = (
        Fact(kind="enters", start=11, end=11),
        Fact(kind="moves", start=11, end=27, value=3.1),
        Fact(kind="enters", start=12, end=12),
    )
    assert hints(facts, {0, 10, 20, 29}) == (
        "the target enters around frame 10",
        "the target moves left from around frame 10 to 29",
    )
    assert hints(facts, ()) == ()


@pytest.mark.parametrize(
    ("radians", "words"),
    [(0, "right"), (1.5708, "down"), (3.1416, "left"), (-1.5708, "up"), (-3.1416, "left"), (2.4, "down and left")],
)
def test_directions_are_those_of_the_picture(radians: float, words: str) -> None:
    assert direction(radians) == words
