"""Streamed answers as Responses API events.

Format: https://platform.openai.com/docs/api-reference/responses-streaming, and how the `openai` package folds it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from apiproxy.core.errors import ProxyError
from apiproxy.core.events import StreamEvent
from apiproxy.core.message import CUT_OFF, updated
from apiproxy.dialects.openai.errors import error_object, failure
from apiproxy.dialects.openai.responses.call_items import Item, item_id_for
from apiproxy.dialects.openai.responses.event_writer import EventWriter
from apiproxy.dialects.openai.responses.item_encoders import ItemEncoder, Place, TextEncoder
from apiproxy.dialects.openai.responses.output_items import message_item, refusal_part
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.response import finished_response, initial_response
from apiproxy.dialects.openai.responses.server_encoders import ServerCallEncoder, ServerCalls, encoder_for
from apiproxy.dialects.openai.responses.server_items import RESULTS, is_search, sealed_item
from apiproxy.dialects.openai.translate.answer import refusal_text
from apiproxy.dialects.openai.translate.forced_call import CallEvents
from apiproxy.dialects.openai.translate.property_keys import KeyRestorer

_PING = b": ping\n\n"
_FAILURE_CODES: Mapping[int, str] = {400: "invalid_prompt", 413: "invalid_prompt", 429: "rate_limit_exceeded"}


class ResponsesStream:
    """`http.response.StreamEncoder` for one Responses object.

    created: Unix time in seconds.
    """

    def __init__(self, reply: ResponsesReply, *, created: int) -> None:
        self._reply = reply
        self._created = created
        self._message: Mapping[str, Any] = {}
        self._response: dict[str, Any] = {}
        self._items: list[Item] = []
        self._open: dict[int, ItemEncoder] = {}
        self._text: TextEncoder | None = None
        self._calls = ServerCalls()
        self._ended: ItemEncoder | None = None
        self._ends_with_text = False
        self._block_count = 0
        self._keys = KeyRestorer(reply.renamed)
        self._usage: dict[str, Any] = {}
        self._end: Mapping[str, Any] = {}
        self._writer = EventWriter()
        self._call_events = CallEvents(reply.forced_call) if reply.forced_call is not None else None

    def encode(self, events: Sequence[StreamEvent]) -> bytes:
        if self._call_events is not None:
            events = self._call_events.rewrite(events)
        for event in self._keys.feed(events):
            match event["type"]:
                case "content_block_delta":
                    if (item := self._open.get(event["index"])) is not None:
                        item.add(event["delta"])
                case "message_start":
                    self._on_message_start(event["message"])
                case "content_block_start":
                    self._finish_item()
                    self._ends_with_text = False
                    self._block_count += 1
                    self._on_block_start(event["index"], event["content_block"])
                case "content_block_stop":
                    self._on_block_stop(self._open.pop(event["index"], None))
                case "message_delta":
                    self._usage = updated(self._usage, event.get("usage") or {})
                    self._end = updated(self._end, event["delta"])
                case "message_stop":
                    self._finish_item(cut_off=self._end.get("stop_reason") in CUT_OFF)
        return self._writer.take()

    def finish(self) -> bytes:
        """Final events: a refusal, if any, and the complete Responses object."""
        stop_reason = self._end.get("stop_reason")
        cut_off = stop_reason in CUT_OFF
        self._finish_item(cut_off=cut_off)
        self._close_text(cut_off=cut_off and self._ends_with_text)
        for call in self._calls.take_all():
            self._items[call.place.output_index] = call.complete(None)
        if stop_reason == "refusal":
            self._emit_refusal(refusal_text(self._end.get("stop_details")))
        whole = finished_response(self._response, self._items, stop_reason=stop_reason, usage=self._usage)
        self._writer.emit(f"response.{whole['status']}", {"response": whole})
        return self._writer.take()

    def failure(self, error: ProxyError) -> bytes:
        """Failed Responses object, if started, and the error."""
        seen = error_object(error)["error"]
        self._finish_item()
        if self._text not in self._open.values():
            self._close_text()
        if self._response:
            code = _FAILURE_CODES.get(failure(error).status, "server_error")
            failed = {**self._response, "status": "failed", "error": {"code": code, "message": seen["message"]}}
            self._writer.emit("response.failed", {"response": {**failed, "output": self._items}})
        plain = {name: seen[name] for name in ("code", "message", "param")}
        # The `openai` package raises on this event.
        self._writer.emit("error", {**plain, "error": seen})
        return self._writer.take()

    def ping(self) -> bytes:
        return _PING

    def _on_message_start(self, message: Mapping[str, Any]) -> None:
        self._message = message
        self._usage = dict(message.get("usage") or {})
        self._response = initial_response(message, self._reply, created=self._created)
        self._writer.emit("response.created", {"response": self._response})
        self._writer.emit("response.in_progress", {"response": self._response})

    def _on_block_start(self, index: int, content: Mapping[str, Any]) -> None:
        if content["type"] in RESULTS:
            self._on_result(index, content)
        elif content["type"] == "text" and self._text is not None:
            self._open[index] = self._text
            self._text.resume(content)
        elif (item := encoder_for(self._place(index, content), self._writer)) is not None:
            self._close_text()
            self._open[index] = item
            self._items.append(item.begun)
            item.start()
            if isinstance(item, ServerCallEncoder):
                self._calls.add(item)
            elif isinstance(item, TextEncoder) and content["type"] == "text":
                self._text = item

    def _on_result(self, index: int, result: Mapping[str, Any]) -> None:
        if (call := self._calls.take(result)) is None:
            return
        self._items[call.place.output_index] = call.complete(result)
        if is_search(call.place.content) and self._reply.encrypted:
            self._close_text()
            item = sealed_item(self._message["id"], index, call.call, result)
            place = {"output_index": len(self._items), "item": item}
            self._items.append(item)
            self._writer.emit("response.output_item.added", place)
            self._writer.emit("response.output_item.done", place)

    def _on_block_stop(self, item: ItemEncoder | None) -> None:
        if item is None:
            return
        if item is self._text:
            self._text.end_block()  # the next block may go on with the message
            self._ends_with_text = True
        elif isinstance(item, ServerCallEncoder):
            self._items[item.place.output_index] = item.stop(cut_off=False)
        else:
            self._ended = item

    def _finish_item(self, *, cut_off: bool = False) -> None:
        """Send the end of an item. The last one waits for the stop reason, which tells whether it is complete."""
        if (ended := self._ended) is not None:
            self._ended = None
            self._items[ended.place.output_index] = ended.stop(cut_off=cut_off)

    def _close_text(self, *, cut_off: bool = False) -> None:
        """End the message of the text blocks so far: an item follows it, or the response ends."""
        if self._text is not None:
            self._items[self._text.place.output_index] = self._text.stop(cut_off=cut_off)
            self._text = None

    def _place(self, index: int, content: Mapping[str, Any]) -> Place:
        return Place(
            message_id=self._message["id"],
            index=index,
            output_index=len(self._items),
            content=content,
            reply=self._reply,
        )

    def _emit_refusal(self, text: str) -> None:
        index, position = self._block_count, len(self._items)
        place = {
            "item_id": item_id_for("msg", self._message["id"], index),
            "output_index": position,
            "content_index": 0,
        }
        begun = message_item(self._message["id"], index, [], "in_progress")
        item = message_item(self._message["id"], index, [refusal_part(text)])
        self._items.append(item)
        self._writer.emit("response.output_item.added", {"output_index": position, "item": begun})
        self._writer.emit("response.content_part.added", {**place, "part": refusal_part("")})
        self._writer.emit("response.refusal.delta", {**place, "delta": text})
        self._writer.emit("response.refusal.done", {**place, "refusal": text})
        self._writer.emit("response.content_part.done", {**place, "part": refusal_part(text)})
        self._writer.emit("response.output_item.done", {"output_index": position, "item": item})
