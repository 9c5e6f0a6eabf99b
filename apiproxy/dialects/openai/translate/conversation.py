"""Builds the Messages API's `system` and `messages` from what a client lists in OpenAI's order.

The rules that the upstream enforces and OpenAI does not are kept here: system text stands before everything, tool
results follow the calls at once and in one user message, tool ids are unique and plain, no message is empty.
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
    """A call that waits for its result: the id it got, the message its result belongs to, where the call stands.

    stored: its block, if it comes from a stored conversation.
    """

    id: str
    results: list[Block]
    field: str
    stored: Block | None = None


class Conversation:
    """Takes messages in the client's order; `finish` gives them in the upstream's shape.

    values: how many the JSON texts within the messages may have together.
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
        """Begins with a stored conversation in the upstream's shape, which ends with an answer.

        The answer's calls wait for their results; calls of a tool whose name begins with answer_tool, and that get no
        result, were answers in JSON. field: what named the conversation.
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
        """Instructions. Such that come later in the conversation are moved to its start, and that is said."""
        if blocks and self._messages:
            self._ignored.add(f"{field}.role", "moved to the start of the conversation")
        if blocks:
            self._system.append((field, blocks))

    def add_user(self, blocks: list[Block], field: str) -> None:
        """What the user says or shows; it must be something. field: the content's path."""
        if not blocks:
            raise invalid_field(field, "must hold something that is not blank")
        self._close_turn()
        self._messages.append(_shorten({"role": "user", "content": blocks}))

    def add_assistant(self, blocks: list[Block]) -> None:
        """What the assistant said; an empty message is left out, consecutive ones are joined (the upstream does so)."""
        if not blocks:
            return
        if self._messages and self._messages[-1]["role"] == "assistant":
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": "assistant", "content": list(blocks)})

    def add_call(self, call_id: str, name: str, arguments: dict[str, Any], field: str) -> None:
        """A tool call of the assistant's. field: the path of its id."""
        if call_id in self._pending:
            raise invalid_field(field, "another call has this id and no result yet")
        if self._results is None:
            self._results = []
        pending = _PendingCall(id=self._unique_id(call_id), results=self._results, field=field)
        self._pending[call_id] = pending
        self.add_assistant([{"type": "tool_use", "id": pending.id, "name": sanitized_name(name), "input": arguments}])

    def add_result(self, call_id: str, blocks: list[Block], field: str) -> None:
        """A tool's result; it goes to the message right after the call's. field: the path of its id."""
        pending = self._pending.pop(call_id, None)
        if pending is None:
            raise invalid_field(field, "no call without a result has this id")
        self._close_turn()
        result: Block = {"type": "tool_result", "tool_use_id": pending.id}
        if blocks:
            result["content"] = blocks[0]["text"] if _is_plain_text(blocks) else blocks
        pending.results.append(result)

    def finish(self, field: str) -> tuple[list[Block], list[dict[str, Any]]]:
        """The system blocks and the messages. field: the name of the whole list, for a conversation without a turn."""
        self._close_turn()
        for pending in self._pending.values():
            if pending.stored is None or not pending.stored["name"].startswith(self._answer_tool):
                raise invalid_field(pending.field, "a call has no result: one must follow it")
            _convert_to_text(pending.stored)
        self._messages = [message for message in self._messages if message["content"]]
        if not self._messages:
            self._promote_system(field)
        self._trim_last_assistant()
        system = [block for _, blocks in self._system for block in blocks]
        return system, [_shorten(message) for message in self._messages]

    def _close_turn(self) -> None:
        """Ends the assistant's turn: results of its calls get their message here, whenever they come."""
        if self._results is not None:
            self._messages.append({"role": "user", "content": self._results})
            self._results = None

    def _promote_system(self, field: str) -> None:
        """With nothing but instructions the last of them is the user's turn: the upstream needs one."""
        if not self._system:
            raise invalid_field(field, "must hold a message that is not blank")
        where, blocks = self._system.pop()
        self._ignored.add(f"{where}.role", "sent as the user's turn")
        self._messages.append({"role": "user", "content": blocks})

    def _trim_last_assistant(self) -> None:
        """A last assistant message is continued by the model, and must not end in white space."""
        last = self._messages[-1]
        if last["role"] != "assistant" or last["content"][-1]["type"] != "text":
            return
        last["content"][-1] = {**last["content"][-1], "text": last["content"][-1]["text"].rstrip()}

    def _unique_id(self, call_id: str) -> str:
        """The client's id if it is plain and new; else one that is the same whenever the conversation is sent."""
        if _VALID_NAME.fullmatch(call_id) and call_id not in self._ids:
            self._ids.add(call_id)
            return call_id
        digest = hashlib.sha256(f"{len(self._ids)}:{call_id}".encode()).hexdigest()
        self._ids.add(digest)
        return f"toolu_{digest[:24]}"


def _convert_to_text(tool_use: Block) -> None:
    """Turns the call that carried an answer into that answer."""
    text = dumps(tool_use["input"]).decode()
    tool_use.clear()
    tool_use.update({"type": "text", "text": text})


def sanitized_name(name: str) -> str:
    """A tool name of the history in the upstream's alphabet: a model's slip must not block a conversation for good."""
    return name if _VALID_NAME.fullmatch(name) else _INVALID_CHARACTER.sub("_", name[:128]) or "_"


def _is_plain_text(blocks: Sequence[Block]) -> bool:
    return len(blocks) == 1 and blocks[0].keys() == {"type", "text"}


def _shorten(message: dict[str, Any]) -> dict[str, Any]:
    """The message, of one plain text in its short form, which is how the client most often wrote it."""
    content = message["content"]
    if isinstance(content, list) and _is_plain_text(content):
        message["content"] = content[0]["text"]
    return message
