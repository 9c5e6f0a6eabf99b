"""A recent answer as it is kept, its names, and its form as bytes. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.core.json_encoding import dump_pieces
from apiproxy.core.json_values import ValueBudget
from apiproxy.core.turns import Asked, Keeping

MAX_CALLS = 256
"""Tool calls of one answer that can be found by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer that the client may refer to.

    message: the upstream's complete message. model: id of the model that was asked for. form, asked, before: as in
    `Keeping`.
    """

    message: Mapping[str, Any] = field(repr=False)
    model: str
    form: Mapping[str, Any] | None = field(default=None, repr=False)
    asked: Asked | None = field(default=None, repr=False)
    before: tuple[str, ...] = ()

    @property
    def content(self) -> Sequence[Mapping[str, Any]]:
        """Blocks of the message."""
        blocks: Sequence[Mapping[str, Any]] = self.message["content"]
        return blocks


@dataclass(frozen=True, slots=True)
class Recalled:
    """Answers found for a request.

    answers: by identifier. too_large: identifiers of answers that exceeded the room. size_bytes: of all found.
    """

    answers: Mapping[str, KeptAnswer] = field(default_factory=dict)
    too_large: frozenset[str] = frozenset()
    size_bytes: int = 0

    def by_call(self) -> dict[str, KeptAnswer]:
        """The answers by the ids of their tool calls."""
        found = {id(answer): answer for answer in self.answers.values()}.values()
        return {block["id"]: answer for answer in found for block in answer.content if block["type"] == "tool_use"}


NOTHING = Recalled()


def answer_identifier(answer_id: str) -> str:
    """Identifier of an answer, from its id with or without `msg_` or `resp_`."""
    return "answer " + answer_id.removeprefix("msg_").removeprefix("resp_")


def call_identifier(call_id: str) -> str:
    """Identifier of a tool call in an answer."""
    return "call " + call_id


def identifiers_of(message: Mapping[str, Any]) -> Iterator[str]:
    """Identifiers of an upstream message: its own, then those of its tool calls."""
    yield answer_identifier(message["id"])
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    for block in calls[:MAX_CALLS]:
        yield call_identifier(block["id"])


def encode(message: Mapping[str, Any], *, model: str, keeping: Keeping) -> bytes:
    """Encode an answer as JSON."""
    asked = keeping.asked
    return b"".join(
        dump_pieces(
            {
                "model": model,
                "message": message,
                "form": keeping.form,
                "asked": None if asked is None else {"messages": list(asked.messages), "system": list(asked.system)},
                "before": list(keeping.before),
            }
        )
    )


def decode(data: bytes, values: ValueBudget) -> KeptAnswer:
    """Decode an answer.

    values: budget of all answers of a request. Raises ProxyError (INVALID_REQUEST) over the budget; ValueError,
    KeyError, TypeError for data that `encode` did not make.
    """
    found: Any = values.loads(data)
    asked = found["asked"]
    return KeptAnswer(
        message=found["message"],
        model=found["model"],
        form=found["form"],
        asked=None if asked is None else Asked(asked["messages"], asked["system"]),
        before=tuple(found["before"]),
    )
