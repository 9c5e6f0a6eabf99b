"""Builder of `system` and `messages` from messages in OpenAI's order.

Ensures rules that the upstream enforces and OpenAI does not: system text comes first, tool results directly follow
their calls in one user message, tool ids are unique and use a limited alphabet, no message is empty.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.translate.content import Block
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

_VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(slots=True)
class _PendingCall:
    """Tool call without a result yet.

    id: id sent to the upstream. results: content of the message for its result. field: path of the call in the request.
    stored: block of the call, if it is from a stored conversation.
    """

    id: str
    results: list[Block]
    field: str
    stored: Block | None = None


class Conversation:
    """Collects OpenAI messages; `finish` returns them in the upstream's format.

    values: budget of JSON values in all JSON texts of the messages.
    """

    def __init__(self, ignored: IgnoredFields) -> None:
        self.values = ValueBudget()
        self._ignored = ignored
        self._system: list[tuple[str, list[Block]]] = []
        self._messages: list[dict[str, Any]] = []
        self._pending: dict[str, _PendingCall] = {}
        self._ids: set[str] = set()
        self._results: list[Block] | None = None
        self._answer_tool = ""

    def resume(self, messages: Sequence[dict[str, Any]], *, answer_tool: str, field: str) -> None:
        """Start with a stored conversation, which ends with an answer.

        Tool calls of that answer need results, except calls of a tool whose name starts with answer_tool: these were
        answers in JSON. field: request field to name in errors about missing results.
        """
        self._messages = [dict(message) for message in messages]
        self._answer_tool = answer_tool
        for message in self._messages:
            if isinstance(message["content"], str):
                message["content"] = [{"type": "text", "text": message["content"]}]
            self._ids |= {block["id"] for block in message["content"] if block["type"] == "tool_use"}
        calls = [block for block in self._messages[-1]["content"] if block["type"] == "tool_use"]
        if calls:
            results: list[Block] = []
            self._results = results
            self._pending = {call["id"]: _PendingCall(call["id"], results, field, stored=call) for call in calls}

    def add_system(self, blocks: list[Block], field: str) -> None:
        """Add instructions.

        Later ones move to the start of the conversation, and are reported as ignored.
        """
        if blocks and self._messages:
            self._ignored.add(f"{field}.role", "moved to the start of the conversation")
        if blocks:
            self._system.append((field, blocks))

    def system_blocks(self, field: str) -> list[Block]:
        """Instructions that were added under a field within this one."""
        return [
            it for where, blocks in self._system if where == field or where.startswith(f"{field}.") for it in blocks
        ]

    def add_user(self, blocks: list[Block], field: str) -> None:
        """Add a user message.

        field: path of the content. Raises ProxyError if there are no blocks.
        """
        if not blocks:
            raise invalid_field(field, "must not be blank")
        self._close_turn()
        self._messages.append(_shorten({"role": "user", "content": blocks}))

    def add_assistant(self, blocks: list[Block]) -> None:
        """Add an assistant message.

        Empty ones are dropped, consecutive ones are merged, as the upstream does.
        """
        if not blocks:
            return
        if self._messages and self._messages[-1]["role"] == "assistant":
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": "assistant", "content": list(blocks)})

    def add_call(self, call_id: str, name: str, arguments: dict[str, Any], field: str) -> None:
        """Add a tool call of the assistant. field: path of its id."""
        if call_id in self._pending:
            raise invalid_field(field, "duplicate id of a call that has no result yet")
        if self._results is None:
            self._results = []
        pending = _PendingCall(id=self._unique_id(call_id), results=self._results, field=field)
        self._pending[call_id] = pending
        self.add_assistant([{"type": "tool_use", "id": pending.id, "name": sanitized_name(name), "input": arguments}])

    def add_result(self, call_id: str, blocks: list[Block], field: str, *, failed: bool = False) -> None:
        """Add a tool result to the message that follows the call. field: path of its id."""
        pending = self._pending.pop(call_id, None)
        if pending is None:
            raise invalid_field(field, "no call without a result has this id")
        self._close_turn()
        result: Block = {"type": "tool_result", "tool_use_id": pending.id}
        if blocks:
            result["content"] = blocks[0]["text"] if _is_plain_text(blocks) else blocks
        if failed:
            result["is_error"] = True
        pending.results.append(result)

    def finish(self, field: str) -> tuple[list[Block], list[dict[str, Any]]]:
        """Return system blocks and messages. field: path of the message list, for errors."""
        self._close_turn()
        for pending in self._pending.values():
            if pending.stored is None or not pending.stored["name"].startswith(self._answer_tool):
                raise invalid_field(pending.field, "call without a result: a result must follow it")
            _convert_to_text(pending.stored)
        self._messages = [message for message in self._messages if message["content"]]
        if not self._messages:
            self._promote_system(field)
        self._trim_last_assistant()
        system = [block for _, blocks in self._system for block in blocks]
        return system, [_shorten(message) for message in self._messages]

    def _close_turn(self) -> None:
        """End the assistant's turn; its tool results get their message here."""
        if self._results is not None:
            self._messages.append({"role": "user", "content": self._results})
            self._results = None

    def _promote_system(self, field: str) -> None:
        """Send the last instructions as the user's turn, as the upstream requires one."""
        if not self._system:
            raise invalid_field(field, "must contain a message that is not blank")
        where, blocks = self._system.pop()
        self._ignored.add(f"{where}.role", "sent as the user's turn")
        self._messages.append({"role": "user", "content": blocks})

    def _trim_last_assistant(self) -> None:
        """Strip a final assistant message: the upstream rejects trailing white space."""
        last = self._messages[-1]
        if last["role"] != "assistant" or last["content"][-1]["type"] != "text":
            return
        last["content"][-1] = {**last["content"][-1], "text": last["content"][-1]["text"].rstrip()}

    def _unique_id(self, call_id: str) -> str:
        """The client's id if valid and unused, else a deterministic replacement."""
        if _VALID_NAME.fullmatch(call_id) and call_id not in self._ids:
            self._ids.add(call_id)
            return call_id
        digest = hashlib.sha256(f"{len(self._ids)}:{call_id}".encode()).hexdigest()
        self._ids.add(digest)
        return f"toolu_{digest[:24]}"


def _convert_to_text(tool_use: Block) -> None:
    """Replace a call that carried an answer with its text."""
    text = dumps(tool_use["input"]).decode()
    tool_use.clear()
    tool_use.update({"type": "text", "text": text})


def sanitized_name(name: str) -> str:
    """Valid form of a tool name, else one bad name blocks the conversation."""
    return name if _VALID_NAME.fullmatch(name) else _INVALID_CHARACTER.sub("_", name[:128]) or "_"


def _is_plain_text(blocks: Sequence[Block]) -> bool:
    return len(blocks) == 1 and blocks[0].keys() == {"type", "text"}


def _shorten(message: dict[str, Any]) -> dict[str, Any]:
    """Use the string form for a single plain text, as most clients send it."""
    content = message["content"]
    if isinstance(content, list) and _is_plain_text(content):
        message["content"] = content[0]["text"]
    return message
