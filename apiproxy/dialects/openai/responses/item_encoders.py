"""Events of output items while their content blocks are streamed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.core.message import tool_input
from apiproxy.dialects.openai.responses.call_items import Item, call_item
from apiproxy.dialects.openai.responses.event_writer import EventWriter, delta_head
from apiproxy.dialects.openai.responses.output_items import (
    block_item,
    mark_cut_off,
    message_item,
    reasoning_item,
    summary_part,
    text_part,
)
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.translate.annotations import CitedText
from apiproxy.dialects.openai.translate.answer import arguments
from apiproxy.dialects.openai.translate.free_form import FreeFormDecoder

_TEXT = "response.output_text"
_ARGUMENTS = "response.function_call_arguments"
_INPUT = "response.custom_tool_call_input"
_SUMMARY = "response.reasoning_summary_text"
_DELTAS: Mapping[str, str] = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Content block as it starts, and where its item goes.

    index: of the block in the message. output_index: of the item in the response.
    """

    message_id: str
    index: int
    output_index: int
    content: Mapping[str, Any]
    reply: ResponsesReply


class ItemEncoder:
    """Events of one output item: `start`, then `add` for each delta, then `stop`.

    begun: the item as it starts.
    """

    def __init__(self, place: Place, begun: Item, writer: EventWriter) -> None:
        self.place = place
        self.begun = begun
        self.writer = writer
        self.pieces: list[str] = []
        self.ids: dict[str, Any] = {"item_id": begun["id"], "output_index": place.output_index}
        self.head = self.delta_head()

    @property
    def text(self) -> str:
        """Text of all deltas so far."""
        return "".join(self.pieces)

    def start(self) -> None:
        """Announce the item."""
        self.writer.emit("response.output_item.added", {"output_index": self.place.output_index, "item": self.begun})
        self.announce_parts()
        if text := self.place.content.get("text") or self.place.content.get("thinking"):
            self.send(text)

    def add(self, delta: Mapping[str, Any]) -> None:
        """Send a delta of the block."""
        if (name := _DELTAS.get(delta["type"])) is None:
            self.add_other(delta)
        elif text := delta[name]:
            self.send(text)

    def stop(self, *, cut_off: bool) -> Item:
        """Send the finished item, and return it. cut_off: the answer ends in the middle of it."""
        item = self.finish()
        if cut_off:
            mark_cut_off(item)
        self.writer.emit("response.output_item.done", {"output_index": self.place.output_index, "item": item})
        return item

    def delta_head(self) -> bytes:
        """Encoded delta event up to its text; may extend `ids`."""
        raise NotImplementedError

    def announce_parts(self) -> None:
        """Announce parts of the item, if it has any."""

    def add_other(self, delta: Mapping[str, Any]) -> None:
        """Use a delta that has no text for the client."""

    def send(self, text: str) -> None:
        """Send text of a delta."""
        self.writer.emit_delta(self.head, text)
        self.pieces.append(text)

    def finish(self) -> Item:
        """Send what precedes the complete item, and return the item."""
        raise NotImplementedError

    def call_item(self, text: str) -> Item:
        """Item of a call. text: its arguments as JSON."""
        tool_use = self.place.content
        called = self.place.reply.called.get(tool_use["name"])
        if called is not None and text:
            tool_use = {**tool_use, "input": tool_input(text)}
        return call_item(self.place.message_id, self.place.index, tool_use, called, text)


class TextEncoder(ItemEncoder):
    """Text of a message: text blocks, or the arguments of the tool that carries the answer."""

    def __init__(self, place: Place, begun: Item, writer: EventWriter) -> None:
        super().__init__(place, begun, writer)
        self._cited = CitedText()
        self._cited.begin(place.content)

    def resume(self, content: Mapping[str, Any]) -> None:
        """Go on with another text block."""
        self._cited.begin(content)
        if text := content.get("text"):
            self.send(text)

    def end_block(self) -> None:
        """Annotate the text of the block with the pages that it cites."""
        before = len(self._cited.annotations)
        for index, annotation in enumerate(self._cited.end(), before):
            place = {**self.ids, "annotation_index": index}
            self.writer.emit(f"{_TEXT}.annotation.added", {**place, "annotation": annotation})

    def send(self, text: str) -> None:
        super().send(text)
        self._cited.add_text(text)

    def add_other(self, delta: Mapping[str, Any]) -> None:
        if delta["type"] == "citations_delta":
            self._cited.add_citation(delta["citation"])

    def delta_head(self) -> bytes:
        self.ids["content_index"] = 0
        self.begun = {**self.begun, "status": "in_progress", "content": []}
        return delta_head(f"{_TEXT}.delta", {**self.ids, "logprobs": []})

    def announce_parts(self) -> None:
        self.writer.emit("response.content_part.added", {**self.ids, "part": text_part("")})

    def finish(self) -> Item:
        if self.place.content["type"] == "tool_use" and not self.pieces:
            # The upstream streams nothing for empty arguments, but clients expect JSON.
            self.send(arguments(self.place.content))
        part = text_part(self.text, self._cited.annotations)
        self.writer.emit(f"{_TEXT}.done", {**self.ids, "text": part["text"], "logprobs": []})
        self.writer.emit("response.content_part.done", {**self.ids, "part": part})
        return message_item(self.place.message_id, self.place.index, [part])


class FunctionCallEncoder(ItemEncoder):
    """Arguments of a function call."""

    def delta_head(self) -> bytes:
        self.begun = {**self.begun, "status": "in_progress", "arguments": ""}
        return delta_head(f"{_ARGUMENTS}.delta", self.ids)

    def finish(self) -> Item:
        if not self.pieces:
            self.send(arguments(self.place.content))  # as for text
        item = self.call_item(self.text)
        self.writer.emit(f"{_ARGUMENTS}.done", {**self.ids, "name": item["name"], "arguments": item["arguments"]})
        return item


class FreeFormCallEncoder(ItemEncoder):
    """Input of a free-form call, decoded from the JSON of the function's arguments."""

    def __init__(self, place: Place, begun: Item, writer: EventWriter) -> None:
        super().__init__(place, begun, writer)
        self._decoder = FreeFormDecoder()

    def delta_head(self) -> bytes:
        self.begun = {**self.begun, "status": "in_progress", "input": ""}
        return delta_head(f"{_INPUT}.delta", self.ids)

    def send(self, text: str) -> None:
        self._send_decoded(self._decoder.decode(text))

    def finish(self) -> Item:
        self._send_decoded(self._decoder.finish())
        text = self.text
        self.writer.emit(f"{_INPUT}.done", {**self.ids, "input": text})
        return {**self.call_item(""), "input": text}

    def _send_decoded(self, text: str) -> None:
        if text:
            super().send(text)


class WholeCallEncoder(ItemEncoder):
    """Call whose item has no form for an unfinished input: announced when it is complete."""

    def delta_head(self) -> bytes:
        return b""

    def start(self) -> None:
        """Announce nothing yet."""

    def send(self, text: str) -> None:
        self.pieces.append(text)

    def finish(self) -> Item:
        item = self.call_item(self.text)
        begun = {**item, "status": "in_progress"}
        self.writer.emit("response.output_item.added", {"output_index": self.place.output_index, "item": begun})
        return item


class ReasoningEncoder(ItemEncoder):
    """Summary of a thinking block, if it was requested."""

    def __init__(self, place: Place, begun: Item, writer: EventWriter) -> None:
        super().__init__(place, begun, writer)
        self._signature: list[str] = []

    def delta_head(self) -> bytes:
        self.ids["summary_index"] = 0
        hidden = {"encrypted_content": ""} if self.place.reply.encrypted else {}
        self.begun = {**self.begun, "summary": [], **hidden}
        return delta_head(f"{_SUMMARY}.delta", self.ids)

    def add_other(self, delta: Mapping[str, Any]) -> None:
        if delta["type"] == "signature_delta":
            self._signature.append(delta["signature"])

    def send(self, text: str) -> None:
        if not self.place.reply.reasoning:
            self.pieces.append(text)
            return
        if not self.pieces:
            self.writer.emit("response.reasoning_summary_part.added", {**self.ids, "part": summary_part("")})
        super().send(text)

    def finish(self) -> Item:
        block = dict(self.place.content)
        if block["type"] == "thinking":
            block |= {"thinking": self.text, "signature": "".join(self._signature)}
        if self.place.reply.reasoning and self.pieces:
            self.writer.emit(f"{_SUMMARY}.done", {**self.ids, "text": self.text})
            part = summary_part(self.text)
            self.writer.emit("response.reasoning_summary_part.done", {**self.ids, "part": part})
        return reasoning_item(self.place.message_id, self.place.index, block, self.place.reply)


def item_encoder(place: Place, writer: EventWriter) -> ItemEncoder | None:
    """Encoder for a content block; None if hidden from the client."""
    begun = block_item(place.message_id, place.index, {**place.content, "input": None}, place.reply)
    return _ENCODERS[begun["type"]](place, begun, writer) if begun is not None else None


_ENCODERS: Mapping[str, type[ItemEncoder]] = {
    "message": TextEncoder,
    "function_call": FunctionCallEncoder,
    "custom_tool_call": FreeFormCallEncoder,
    "tool_search_call": WholeCallEncoder,
    "local_shell_call": WholeCallEncoder,
    "shell_call": WholeCallEncoder,
    "apply_patch_call": WholeCallEncoder,
    "reasoning": ReasoningEncoder,
}
"""By type of the output item."""
