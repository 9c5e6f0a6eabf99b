"""Output items of a complete message; `ResponsesStream` ends with the same ones."""

from collections.abc import Mapping
from typing import Any

from apiproxy.core.message import CUT_OFF
from apiproxy.dialects.openai.responses.call_items import Item
from apiproxy.dialects.openai.responses.output_items import block_item, mark_cut_off, message_item, text_part
from apiproxy.dialects.openai.responses.reply import ResponsesReply
from apiproxy.dialects.openai.responses.server_items import (
    RESULTS,
    call_id,
    is_search,
    mcp_item,
    sealed_item,
    search_item,
    server_item,
)
from apiproxy.dialects.openai.translate.annotations import cited_text
from apiproxy.dialects.openai.translate.answer import arguments

Block = Mapping[str, Any]


def output_items(message: Mapping[str, Any], reply: ResponsesReply) -> list[Item]:
    """Items of the message's blocks.

    Text blocks without another item between them are one message, as the upstream starts a block at every citation.
    """
    found = _Items(message["id"], reply)
    for index, block in enumerate(message["content"]):
        found.add(index, block)
    return found.complete(cut_off=message.get("stop_reason") in CUT_OFF)


class _Items:
    def __init__(self, message_id: str, reply: ResponsesReply) -> None:
        self._message_id = message_id
        self._reply = reply
        self._items: list[Item] = []
        self._texts: list[Block] = []
        self._text_index = 0
        self._calls: dict[str, tuple[int, int, Block]] = {}
        self._ends_with_item = False

    def add(self, index: int, block: Block) -> None:
        if block["type"] == "text" and self._reply.answer_tool is None:
            self._text_index = self._text_index if self._texts else index
            self._texts.append(block)
            self._ends_with_item = True
        elif block["type"] in RESULTS:
            self._add_result(index, block)
            self._ends_with_item = False
        else:
            item = server_item(self._message_id, index, block, self._reply)
            if item is not None and block["type"] in RESULTS.values():
                self._close_text()
                self._calls[call_id(block)] = (len(self._items), index, block)
            own = block_item(self._message_id, index, block, self._reply) if item is None else None
            self._ends_with_item = own is not None
            self._append(item or own)

    def complete(self, *, cut_off: bool) -> list[Item]:
        """The items. cut_off: the answer ends in the middle of its last block."""
        self._close_text()
        if cut_off and self._ends_with_item:
            mark_cut_off(self._items[-1])
        return self._items

    def _add_result(self, index: int, result: Block) -> None:
        waiting = self._calls.pop(call_id(result), None)
        if waiting is None:  # the call is in an earlier answer
            return
        position, call_index, call = waiting
        if is_search(call):
            self._items[position] = search_item(self._message_id, call_index, call, result, self._reply)
        else:
            self._items[position] = mcp_item(self._message_id, call_index, call, arguments(call), result)
        if is_search(call) and self._reply.encrypted:
            self._append(sealed_item(self._message_id, index, call, result))

    def _append(self, item: Item | None) -> None:
        if item is not None:
            self._close_text()
            self._items.append(item)

    def _close_text(self) -> None:
        if not self._texts:
            return
        text = "".join(block.get("text") or "" for block in self._texts)
        part = text_part(text, cited_text(self._texts).annotations)
        self._items.append(message_item(self._message_id, self._text_index, [part]))
        self._texts = []
