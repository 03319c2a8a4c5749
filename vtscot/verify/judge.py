"""A second judge, who sees no picture: does the thought speak of what the expression means, and come to what it says?

It is optional (`verify.judge`). It reads one turn's expression and thought; its answers are in the ledger as all are.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from vtscot.endpoint.client import ChatClient
from vtscot.endpoint.faults import brief
from vtscot.endpoint.request import Request
from vtscot.errors import UsageError
from vtscot.prompts import render_prompt
from vtscot.records import Check, Episode, Frozen, Thought


class EntailAnswer(Frozen):
    """Whether the thought supports that the expression means what it describes."""

    entailed: bool = Field(description="true where the thought supports the choice, false where it does not")
    reason: str = Field(description="the word or claim that decides it, in one sentence")


class Judge(Protocol):
    """A back end; `name` is what recipes call it."""

    @property
    def name(self) -> str: ...

    async def judge(self, expression: str, thought: Thought) -> EntailAnswer:
        """The judgement on one turn."""
        ...


class OpenAIJudge:
    """Asks the endpoint. The client belongs to whoever made it."""

    def __init__(self, client: ChatClient, *, seed: int = 0) -> None:
        self._client = client
        self._seed = seed

    @property
    def name(self) -> str:
        return f"openai:{self._client.settings.model}"

    async def judge(self, expression: str, thought: Thought) -> EntailAnswer:
        """The judgement on one turn; raises TeacherError and EndpointError."""
        return await self._client.ask(entail_request(expression, thought, self._seed), EntailAnswer, lambda it: it)


def open_judge(name: str, client: ChatClient | None, seed: int = 0) -> Judge | None:
    """The judge of that name; None for `none`."""
    if name == "none":
        return None
    if name == "openai" and client is not None:
        return OpenAIJudge(client, seed=seed)
    raise UsageError(f"no judge {name!r} here; there are none and openai, which needs an endpoint")


def entail_request(expression: str, thought: Thought, seed: int) -> Request:
    """The question about one thought."""
    return Request(
        label=f"{brief(expression, 80)!r}, second judge",
        system=render_prompt("verifier/judge.j2"),
        content=(render_prompt("verifier/entail.j2", expression=expression, thought=thought),),
        schema_name="entail_answer",
        schema=EntailAnswer.model_json_schema(),
        seed=seed,
    )


async def check_entailment(episode: Episode, judge: Judge | None) -> Check:
    """Every thought supports that the expression means what it describes."""
    if judge is None:
        return Check(name="entailment", passed=True, detail="no second judge")
    for number, turn in enumerate(episode.turns):
        answer = await judge.judge(episode.expression, turn.thought)
        if not answer.entailed:
            detail = f"turn {number}: {brief(answer.reason, 200)}"
            return Check(name="entailment", passed=False, detail=detail)
    return Check(name="entailment", passed=True)
