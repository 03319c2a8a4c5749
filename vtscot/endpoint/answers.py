"""From the raw body of a response to a checked answer. Everything in it is untrusted.

`envelope_fault` tells whether the body is a chat completion at all (an error page is not, and was not paid);
`read_answer` digs out the JSON object that the schema asked for. What is wrong with a completion is a `BadAnswer`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vtscot.endpoint.faults import Fault, brief

M = TypeVar("M", bound=BaseModel)
_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*(\{.*?\})\s*```", re.DOTALL)
_UNENDED: Final = re.compile(r"\A\s*<think>")
_MUSING: Final = re.compile(r"\A.*</think>", re.DOTALL)


class BadAnswer(Exception):
    """A completion that cannot be used; `again` tells whether another one may be better."""

    def __init__(self, reason: str, detail: str, *, again: bool = True) -> None:
        super().__init__(detail)
        self.reason = reason
        self.again = again


def envelope_fault(raw: bytes) -> Fault | None:
    """What is wrong with a body that is not a chat completion; None for one that is."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        start = brief(raw[:200].decode("utf-8", "replace"), 80)
        return Fault("not-json", f"the server sent no JSON but {start!r}", again=True)
    if isinstance(body, dict) and isinstance(body.get("choices"), list):
        return None
    error = body.get("error") if isinstance(body, dict) else None
    if error:
        return Fault("server-error", f"the server sent an error: {brief(json.dumps(error))}", again=True)
    return Fault("not-json", "the server sent JSON that is not a chat completion", again=True)


def usage_of(raw: bytes) -> tuple[int, int]:
    """(prompt, completion) tokens of a chat completion as the server counted them, else zeros."""
    usage = json.loads(raw).get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) else 0 for count in counts)
    return prompt, completion


def content_of(raw: bytes) -> str:
    """The text of a chat completion; raises BadAnswer where it was cut off, refused or is missing."""
    choices = json.loads(raw)["choices"]
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadAnswer("empty", "the completion holds no choices")
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        why = brief(str(message.get("refusal") or "content filter"))
        raise BadAnswer("refused", f"the model refused: {why}", again=False)
    if choice.get("finish_reason") == "length":
        raise BadAnswer("cut-off", "the answer was cut off: raise max_output_tokens")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise BadAnswer("empty", "the completion holds no text")
    return content


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`: after the model's musings, if it has any; all of it, in a code fence, or in words.

    Musings that never end are no answer, whatever stands in them.
    """
    said = _MUSING.sub("", text)
    if said == text and _UNENDED.match(text):
        raise BadAnswer("not-json", "the answer is nothing but the model's musings: raise max_output_tokens")
    fenced = _FENCED.search(said)
    start = said.find("{")
    for candidate in (said, fenced[1] if fenced else "", said[start:] if start >= 0 else "", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    raise BadAnswer("not-json", f"the answer is not a JSON object: {brief(text, 80)!r}")


def read_answer(raw: bytes, model: type[M]) -> M:
    """A chat completion's answer as `model`; raises BadAnswer."""
    value = json_object(content_of(raw))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the object"
        raise BadAnswer("schema", f"the answer breaks the schema: {brief(where, 80)}: {first['msg']}") from None
