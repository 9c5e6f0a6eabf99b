"""Questions to the contestants: each for the Messages API, and flattened into a prompt for `query()`. Pure.

The stand-in's directives (`tests/upstream/directives.py`) say what the answer is, so every answer can be checked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.sse import BadAnswerError
from bench.stats import first_difference

MODEL = "claude-sonnet-4-5-20250929"
SYSTEM = "You are a helpful assistant. Answer briefly."
WEATHER_TOOL: Mapping[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_PLACE = {"city": "Paris"}
_SPEAKERS = {"user": "Human", "assistant": "Assistant"}
_SHORT_DELTAS = 20
_FILLER = "The quick brown fox jumps over the lazy dog. " * 10

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and its answer. flat: the prompt for `query()`, tools: described in its system prompt.

    expected: the text to the character, or the arguments of the tool call.
    """

    messages: Sequence[Message]
    flat: str
    expected: str | Mapping[str, Any]
    stream: bool = True
    tools: Sequence[Mapping[str, Any]] = ()

    def body(self) -> bytes:
        """The Messages API's request body."""
        tools = {"tools": self.tools} if self.tools else {}
        body = {"model": MODEL, "max_tokens": 32_000, "system": SYSTEM, "messages": self.messages, **tools}
        return json.dumps({**body, "stream": self.stream}).encode()

    def system(self) -> str:
        """The system prompt for `query()`."""
        if not self.tools:
            return SYSTEM
        return f"{SYSTEM}\n\nYou can call these tools by answering with JSON alone:\n{json.dumps(self.tools)}"

    def check(self, text: str) -> None:
        """Raises BadAnswerError where that is not the answer."""
        if isinstance(self.expected, str):
            at = first_difference(text, self.expected)
            if at is not None:
                near = f"{text[at : at + 40]!r} instead of {self.expected[at : at + 40]!r}"
                raise BadAnswerError(f"{len(text)} characters, at {at} {near}")
        elif json.loads(text) != self.expected:
            raise BadAnswerError(f"{text[:200]!r} are not the arguments {self.expected}")


def flatten(messages: Sequence[Message]) -> str:
    """The conversation as one prompt, as gateways over `query()` write it; a lone question stays as it is."""
    if len(messages) == 1 and isinstance(messages[0]["content"], str):
        return str(messages[0]["content"])
    return "\n\n".join(f"{_SPEAKERS[message['role']]}: {_flat_content(message['content'])}" for message in messages)


def counted(deltas: int) -> str:
    """The text that `[[n=…]]` is answered with."""
    return "".join([f"tok{number} " for number in range(deltas)])


def short(*, stream: bool = True, deltas: int = _SHORT_DELTAS, extra: str = "") -> Question:
    """A lone question with an answer of so many deltas. extra: more directives, or a word to know it by."""
    messages = [_said("user", f"Say a few words. {extra}[[n={deltas}]]")]
    return Question(messages=messages, flat=flatten(messages), expected=counted(deltas), stream=stream)


def with_history(turns: int) -> Question:
    """A question after so many earlier turns, each a question and an answer of half a kilobyte."""
    messages = [
        message
        for number in range(turns)
        for message in (_said("user", f"{number}: {_FILLER}"), _said("assistant", f"{number}. {_FILLER}"))
    ]
    messages.append(_said("user", f"Say a few words. [[n={_SHORT_DELTAS}]]"))
    return Question(messages=messages, flat=flatten(messages), expected=counted(_SHORT_DELTAS))


def tool_call() -> Question:
    """A question that is answered with a tool call; `query()` writes it as text, which its gateways then parse."""
    arguments = json.dumps(_PLACE)
    return Question(
        messages=[_said("user", f"The weather in Paris? [[tool=get_weather:{arguments}]]")],
        flat=f"The weather in Paris? [[say={arguments}]]",
        expected=_PLACE,
        tools=[WEATHER_TOOL],
    )


def tool_result() -> Question:
    """Follow-up of `tool_call`: the tool's result, answered with text."""
    call = {"type": "tool_use", "id": "toolu_bench", "name": "get_weather", "input": _PLACE}
    result = {"type": "tool_result", "tool_use_id": "toolu_bench", "content": f"18 degrees. [[n={_SHORT_DELTAS}]]"}
    messages = [_said("user", "The weather in Paris?"), _said("assistant", [call]), _said("user", [result])]
    return Question(messages=messages, flat=flatten(messages), expected=counted(_SHORT_DELTAS), tools=[WEATHER_TOOL])


def _said(role: str, content: object) -> Message:
    return {"role": role, "content": content}


def _flat_content(content: object) -> str:
    if isinstance(content, str):
        return content
    assert isinstance(content, list)
    return "\n".join(str(block.get("content") or json.dumps(block.get("input"))) for block in content)
