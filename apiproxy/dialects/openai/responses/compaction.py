"""Compaction: answers that are a summary of the conversation, as an item that later requests take.

Of POST /v1/responses/compact, and of requests that end in the input item `compaction_trigger`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.message import updated
from apiproxy.dialects.openai.responses.call_items import Item, item_id_for
from apiproxy.dialects.openai.responses.input_items import message_items
from apiproxy.dialects.openai.responses.parse import read_responses
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.response import (
    finished_response,
    initial_response,
    usage_object,
)
from apiproxy.dialects.openai.responses.schemas import ResponsesRequest
from apiproxy.dialects.openai.responses.stream import ResponsesStream
from apiproxy.dialects.openai.responses.summary import TRIGGER, encode_summary, is_summary

_COMPLETE = ("end_turn", "stop_sequence")


def read_compact(body: object) -> ResponsesRequest:
    """Validate a decoded JSON body of POST /v1/responses/compact.

    It is a response that ends in a `compaction_trigger`.
    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    if not isinstance(body, dict):
        return read_responses(body)
    given = body.get("input")
    items = [] if given is None else [{"role": "user", "content": given}] if isinstance(given, str) else given
    if isinstance(items, list):
        items = [*items, {"type": TRIGGER}]
    return read_responses({**body, "input": items, "stream": False})


def retained_items(messages: Sequence[Mapping[str, Any]], request_id: str) -> list[Item]:
    """User messages of a translated request that are kept with the summary.

    Messages that are a summary are not.
    """
    found = message_items(messages, request_id.removeprefix("req_"), role="user")
    return [item for item in found if not any(is_summary(part.get("text", "")) for part in item["content"])]


def compaction_item(message_id: str, summary: str) -> Item:
    """Output item with a summary."""
    return {
        "id": item_id_for("cmp", message_id, 0),
        "type": "compaction",
        "encrypted_content": encode_summary(summary) if summary else "",
    }


def compacted_response(message: Mapping[str, Any], user_items: Sequence[Item], *, created: int) -> dict[str, Any]:
    """`CompactedResponse` of the `openai` package: the user's messages and the summary.

    created: Unix time in seconds. Raises ProxyError (UPSTREAM_ERROR) if the answer is not a complete summary.
    """
    summary = _summary_of(message)
    return {
        "id": "resp_" + message["id"].removeprefix("msg_"),
        "object": "response.compaction",
        "created_at": created,
        "model": message["model"],
        "output": [*user_items, compaction_item(message["id"], summary)],
        "usage": usage_object(message.get("usage") or {}),
    }


def compacted_answer(message: Mapping[str, Any], reply: ResponsesReply, *, created: int) -> dict[str, Any]:
    """Responses object of a request that ended in a `compaction_trigger`; raises as `compacted_response`."""
    summary = _summary_of(message)
    shell = initial_response(message, reply, created=created)
    item = compaction_item(message["id"], summary)
    return finished_response(shell, [item], stop_reason="end_turn", usage=message.get("usage") or {})


class CompactionStream(ResponsesStream):
    """`http.response.StreamEncoder` of a summary, which is sent as one item when it is complete.

    Codex requires exactly one output item, of the type `compaction`, and `response.completed`.
    """

    def __init__(self, reply: ResponsesReply, *, created: int) -> None:
        super().__init__(reply, created=created)
        self._summary: list[str] = []

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        for event in events:
            match event["type"]:
                case "content_block_delta" if event["delta"]["type"] == "text_delta":
                    self._summary.append(event["delta"]["text"])
                case "content_block_start" if event["content_block"]["type"] == "text":
                    self._summary.append(event["content_block"]["text"])
                case "message_start":
                    self._on_message_start(event["message"])
                    self._items.append(compaction_item(self._message["id"], ""))
                    self._writer.emit("response.output_item.added", {"output_index": 0, "item": self._items[0]})
                    place = {"item_id": self._items[0]["id"], "output_index": 0}
                    self._writer.emit("response.compaction.compacting", place)
                case "message_delta":
                    self._usage = updated(self._usage, event.get("usage") or {})
                    self._end = event["delta"]
        return self._writer.take()

    def finish(self) -> bytes:
        """The item and the complete Responses object, or a failed one."""
        summary = "".join(self._summary).strip()
        try:
            _check(summary, self._end.get("stop_reason"))
        except ProxyError as error:
            self._items.clear()
            return self.failure(error)
        self._items[0] = compaction_item(self._message["id"], summary)
        self._writer.emit("response.output_item.done", {"output_index": 0, "item": self._items[0]})
        whole = finished_response(self._response, self._items, stop_reason="end_turn", usage=self._usage)
        self._writer.emit("response.completed", {"response": whole})
        return self._writer.take()


def _summary_of(message: Mapping[str, Any]) -> str:
    summary = "".join(block["text"] for block in message["content"] if block["type"] == "text").strip()
    _check(summary, message.get("stop_reason"))
    return summary


def _check(summary: str, stop_reason: str | None) -> None:
    """Raise ProxyError (UPSTREAM_ERROR) unless the summary is complete.

    Half a summary would silently lose the rest.
    """
    if summary and stop_reason in _COMPLETE:
        return
    reason = f"it was cut off ({stop_reason})" if summary else f"the answer has no text ({stop_reason})"
    raise ProxyError(FailureKind.UPSTREAM_ERROR, f"The model wrote no complete summary: {reason}.")
