"""Events of tools that the upstream runs, while their content blocks are streamed."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.message import tool_input
from apiproxy.dialects.openai.responses.call_items import Item
from apiproxy.dialects.openai.responses.event_writer import EventWriter, delta_head
from apiproxy.dialects.openai.responses.item_encoders import ItemEncoder, Place, item_encoder
from apiproxy.dialects.openai.responses.output_items import Block
from apiproxy.dialects.openai.responses.server_items import call_id, is_search, mcp_item, search_item, server_item
from apiproxy.dialects.openai.translate.answer import arguments

_SEARCH = "response.web_search_call"
_MCP = "response.mcp_call"
_MCP_ARGUMENTS = "response.mcp_call_arguments"
_LISTING = "response.mcp_list_tools"


class ServerCallEncoder(ItemEncoder):
    """Call of a server tool: its block ends with `stop`, its item with `complete`."""

    started = ""
    """Event that follows the announcement of the item."""

    def announce_parts(self) -> None:
        self.writer.emit(self.started, self.ids)

    def stop(self, *, cut_off: bool) -> Item:
        """Send the known part of the call; the item remains in progress."""
        self.end_arguments()
        return self.begun

    def complete(self, result: Block | None) -> Item:
        """Send the complete item, and return it. result: None if the call did not run."""
        item = self.finished(result)
        if (event := self.ending(item)) is not None:
            self.writer.emit(event, self.ids)
        self.writer.emit("response.output_item.done", {"output_index": self.place.output_index, "item": item})
        return item

    def end_arguments(self) -> None:
        """Send what follows the last delta."""
        raise NotImplementedError

    def finished(self, result: Block | None) -> Item:
        """The complete item."""
        raise NotImplementedError

    def ending(self, item: Item) -> str | None:
        """Event that precedes the complete item; None if there is none."""
        raise NotImplementedError

    @property
    def call(self) -> dict[str, Any]:
        """Complete block of the call."""
        return {**self.place.content, "input": tool_input(self.text)} if self.pieces else dict(self.place.content)


class SearchEncoder(ServerCallEncoder):
    """Web search; OpenAI's API has no deltas for its query."""

    started = f"{_SEARCH}.in_progress"

    def delta_head(self) -> bytes:
        self.begun = {**self.begun, "status": "in_progress"}
        return b""

    def send(self, text: str) -> None:
        self.pieces.append(text)

    def end_arguments(self) -> None:
        self.writer.emit(f"{_SEARCH}.searching", self.ids)

    def finished(self, result: Block | None) -> Item:
        return search_item(self.place.message_id, self.place.index, self.call, result, self.place.reply)

    def ending(self, item: Item) -> str | None:
        return f"{_SEARCH}.completed" if item["status"] == "completed" else None


class McpCallEncoder(ServerCallEncoder):
    """MCP call with its arguments."""

    started = f"{_MCP}.in_progress"

    def delta_head(self) -> bytes:
        self.begun = {**self.begun, "status": "in_progress", "arguments": ""}
        return delta_head(f"{_MCP_ARGUMENTS}.delta", self.ids)

    def end_arguments(self) -> None:
        if not self.pieces:
            self.send(arguments(self.place.content))  # the upstream streams nothing for empty arguments
        self.writer.emit(f"{_MCP_ARGUMENTS}.done", {**self.ids, "arguments": self.text})

    def finished(self, result: Block | None) -> Item:
        text = self.text or arguments(self.place.content)
        return mcp_item(self.place.message_id, self.place.index, self.place.content, text, result)

    def ending(self, item: Item) -> str | None:
        return f"{_MCP}.{item['status']}" if item["status"] in ("completed", "failed") else None


class ListingEncoder(ItemEncoder):
    """Tools of an MCP server, complete from the start."""

    def delta_head(self) -> bytes:
        return b""

    def announce_parts(self) -> None:
        self.writer.emit(f"{_LISTING}.in_progress", self.ids)

    def send(self, text: str) -> None:
        """Ignore text: a listing has none."""

    def finish(self) -> Item:
        self.writer.emit(f"{_LISTING}.completed", self.ids)
        return self.begun


class ServerCalls:
    """Calls of server tools that wait for their results."""

    def __init__(self) -> None:
        self._waiting: dict[str, ServerCallEncoder] = {}
        self._replaced: list[ServerCallEncoder] = []

    def add(self, call: ServerCallEncoder) -> None:
        """Note a call whose block has started; one before it with the same id gets no result."""
        name = call_id(call.place.content)
        if name in self._waiting:
            self._replaced.append(self._waiting[name])
        self._waiting[name] = call

    def take(self, result: Block) -> ServerCallEncoder | None:
        """Call of this result; None if it is in an earlier answer."""
        return self._waiting.pop(call_id(result), None)

    def take_all(self) -> list[ServerCallEncoder]:
        """Calls without a result at the end of the answer."""
        calls = [*self._replaced, *self._waiting.values()]
        self._waiting, self._replaced = {}, []
        return calls


def encoder_for(place: Place, writer: EventWriter) -> ItemEncoder | None:
    """Encoder for any content block; None if hidden from the client."""
    begun = server_item(place.message_id, place.index, place.content, place.reply)
    if begun is None:
        return item_encoder(place, writer)
    if is_search(place.content):
        return SearchEncoder(place, begun, writer)
    return _ENCODERS[begun["type"]](place, begun, writer)


_ENCODERS: Mapping[str, type[ItemEncoder]] = {"mcp_call": McpCallEncoder, "mcp_list_tools": ListingEncoder}
"""By type of the output item."""
