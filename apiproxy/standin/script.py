"""Scripted responses, and the steps of a stream. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import orjson

from apiproxy.standin.answer import Answer
from apiproxy.standin.blocks import Block
from apiproxy.standin.prompt import Body
from apiproxy.standin.responder import Responder, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedError:
    """An API error in place of an answer."""

    status: int
    message: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Response to one request: content blocks or an error.

    stall_after: number of deltas after which nothing more is sent until the client disconnects.
    """

    blocks: Sequence[Block] = ()
    error: ScriptedError | None = None
    stall_after: int | None = None


ChooseScript: TypeAlias = Callable[[Body], Script]


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Encode a server-sent event, named after its type."""
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))


def stream_steps(answer: Answer, *, delta_pause_s: float = 0.0, stall_after: int | None = None) -> Iterator[Step]:
    """Steps of an answer's event stream. delta_pause_s: seconds after each delta."""
    deltas = 0
    for event in answer.events():
        yield encode_event(event)
        if event["type"] == "content_block_delta":
            deltas += 1
            if deltas == stall_after:
                yield Responder.hang
            if delta_pause_s > 0:
                yield partial(Responder.pause, seconds=delta_pause_s)
