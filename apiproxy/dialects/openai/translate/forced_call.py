"""A single forced call by `output_config.format`, for models that reject forced tools.

The model writes the arguments as its answer's text, which becomes the call for the client.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.core.events import StreamEvent
from apiproxy.core.message import tool_input
from apiproxy.dialects.openai.translate.json_schema import NoStrictFormError, StrictBudget, strict_form

HIDDEN = "hidden_text"
"""Type of text blocks behind the call, of which the client sees nothing: the encoders skip unknown types."""
_ENDED = frozenset({"end_turn", "stop_sequence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedCall:
    """The call. name: upstream name of the tool. schema: strict JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


def answer_schema(name: str, description: str | None, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Strict schema of an answer that holds the arguments of a call; None if there is no strict form."""
    try:
        schema = strict_form(parameters, StrictBudget())
    except NoStrictFormError:
        return None
    parts = (f"Arguments of a call of the function {name}.", description, schema.get("description"))
    return {**schema, "description": "\n\n".join(part for part in parts if part)}


def call_id(message_id: str, index: int) -> str:
    """Id of the call for the block at this index; the same whether streamed or not."""
    return f"toolu_{message_id.removeprefix('msg_')}_{index}"


def with_call(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The message with its first text as a call, and without further text."""
    content: list[dict[str, Any]] = []
    called = False
    for index, block in enumerate(message["content"]):
        if block["type"] != "text":
            content.append(block)
        elif called:
            content.append({"type": HIDDEN})
        else:
            called = True
            content.append(_tool_use(message["id"], index, name) | {"input": _arguments(block.get("text") or "")})
    return {**message, "content": content, "stop_reason": _stop_reason(message.get("stop_reason"), called)}


def call_content(message: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Content of the message with its text as a call, as the client sends it back."""
    return [block for block in with_call(message, name)["content"] if block["type"] != HIDDEN]


class CallEvents:
    """Rewrites the events of a stream as `with_call` does the whole message."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._message_id = ""
        self._call: int | None = None

    def rewrite(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Return the events of a batch for the client."""
        return [changed for event in events for changed in self._rewritten(event)]

    def _rewritten(self, event: StreamEvent) -> Iterator[StreamEvent]:
        match event["type"]:
            case "message_start":
                self._message_id = event["message"]["id"]
            case "content_block_start" if event["content_block"]["type"] == "text":
                yield from self._start(event)
                return
            case "content_block_delta" if event["index"] == self._call:
                if event["delta"]["type"] != "text_delta":
                    return
                event = _json_delta(event["index"], event["delta"]["text"])
            case "message_delta":
                reason = _stop_reason(event["delta"].get("stop_reason"), self._call is not None)
                event = {**event, "delta": {**event["delta"], "stop_reason": reason}}
        yield event

    def _start(self, event: StreamEvent) -> Iterator[StreamEvent]:
        index, text = event["index"], event["content_block"].get("text")
        if self._call is not None:
            yield {**event, "content_block": {"type": HIDDEN}}
            return
        self._call = index
        yield {**event, "content_block": _tool_use(self._message_id, index, self._name)}
        if text:
            yield _json_delta(index, text)


def _tool_use(message_id: str, index: int, name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id(message_id, index), "name": name, "input": {}}


def _json_delta(index: int, text: str) -> StreamEvent:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def _arguments(text: str) -> Any:
    return tool_input(text) if text else {}


def _stop_reason(reason: str | None, called: bool) -> str | None:
    return "tool_use" if called and reason in _ENDED else reason
