"""Builder of `system` and `messages` from messages in OpenAI's order.

Ensures rules that the upstream enforces and OpenAI does not: system text comes first, tool results directly follow
their calls in one user message, tool ids are unique and use a limited alphabet, no message is empty, the first one is
the user's. A history that breaks OpenAI's own rules (answers that were cut off, results given twice) is repaired, and
the repair reported: a client sends its history in every later turn, so an error would block the conversation for good.
"""

import hashlib
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiproxy.core.json_encoding import dumps
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.translate.answer import THINKING_TYPES
from apiproxy.dialects.openai.translate.content import Block
from apiproxy.dialects.openai.translate.ignored import IgnoredFields, invalid_field

CONTINUE = "Continue."
"""User's turn where the conversation ends with the assistant's and the model would not answer it."""
_OPENING = "(The conversation begins with a message of the assistant.)"
_NO_RESULT = "No result of this call was recorded."

_VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_VALID_SERVER_ID = re.compile(r"[a-zA-Z0-9_]{1,128}")
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
        self._pending: dict[str, deque[_PendingCall]] = {}
        self._answered: dict[str, Block] = {}
        self._ids: set[str] = set()
        self._results: list[Block] | None = None
        self._answer_tool = ""
        self._blank_field = ""

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
            for call in calls:
                self._pending[call["id"]] = deque([_PendingCall(call["id"], results, field, stored=call)])

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
        """Add a user message; a blank one is dropped. field: path of the content."""
        if not blocks:
            self._blank_field = field
            return
        self._close_turn()
        self._messages.append(_shorten({"role": "user", "content": blocks}))

    def add_assistant(self, blocks: list[Block]) -> None:
        """Add an assistant message.

        Empty ones are dropped, consecutive ones are merged, as the upstream does.
        """
        if not blocks:
            return
        self._blank_field = ""
        if self._messages and self._messages[-1]["role"] == "assistant":
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": "assistant", "content": list(blocks)})

    def mark_answer(self, mark: Mapping[str, Any]) -> None:
        """Add fields (a cache breakpoint) to the last block of the assistant's message that was added last."""
        if mark and self._messages and self._messages[-1]["role"] == "assistant":
            block = self._messages[-1]["content"][-1]
            if block["type"] not in THINKING_TYPES:
                block.update(mark)

    def add_call(self, call_id: str, name: str, arguments: dict[str, Any], field: str) -> None:
        """Add a tool call of the assistant. field: path of its id.

        Calls with the same id get their results in their own order.
        """
        if self._results is None:
            self._results = []
        pending = _PendingCall(id=self._unique_id(call_id), results=self._results, field=field)
        self._pending.setdefault(call_id, deque()).append(pending)
        self.add_assistant([{"type": "tool_use", "id": pending.id, "name": sanitized_name(name), "input": arguments}])

    def add_result(self, call_id: str, blocks: list[Block], field: str, *, failed: bool = False) -> None:
        """Add a tool result to the message that follows the call. field: path of its id.

        Of several results of a call the last one counts; one without a call is dropped.
        """
        content: Block = {"content": blocks[0]["text"] if _is_plain_text(blocks) else blocks} if blocks else {}
        if failed:
            content["is_error"] = True
        if waiting := self._pending.get(call_id):
            self._close_turn()
            pending = waiting.popleft()
            result: Block = {"type": "tool_result", "tool_use_id": pending.id, **content}
            pending.results.append(result)
            self._answered[call_id] = result
        elif (earlier := self._answered.get(call_id)) is not None:
            self._ignored.add(field, "given twice: the last result is used")
            for name in ("content", "is_error"):
                earlier.pop(name, None)
            earlier.update(content)
        else:
            self._ignored.add(field, "no call has this id: the result is dropped")

    @property
    def begun(self) -> bool:
        """True once there is a message."""
        return bool(self._messages)

    def claim_id(self, call_id: str) -> bool:
        """Use this id for a call; False if it is in use."""
        taken = call_id in self._ids
        self._ids.add(call_id)
        return not taken

    def server_call_id(self, call_id: str, *, prefix: str) -> str:
        """Id for a call of a server tool. call_id: the client's, without the prefix."""
        name = prefix + call_id
        if _VALID_SERVER_ID.fullmatch(name) and self.claim_id(name):
            return name
        digest = hashlib.sha256(f"{len(self._ids)}:{call_id}".encode(errors="surrogatepass")).hexdigest()
        self._ids.add(digest)
        return f"{prefix}{digest[:24]}"

    def finish(self, field: str) -> tuple[list[Block], list[dict[str, Any]]]:
        """Return system blocks and messages. field: path of the message list, for errors."""
        self._close_turn()
        for pending in (call for calls in self._pending.values() for call in calls):
            self._add_missing_result(pending)
        self._messages = [message for message in self._messages if message["content"]]
        if not self._messages:
            self._promote_system(field)
        if self._messages[0]["role"] == "assistant":
            self._ignored.add(field, "a user's turn was put before the first message")
            self._messages.insert(0, {"role": "user", "content": _OPENING})
        self._end_with_an_answerable_turn(field)
        system = [block for _, blocks in self._system for block in blocks]
        return system, [_shorten(message) for message in self._messages]

    def _add_missing_result(self, call: _PendingCall) -> None:
        """Give a call an error as its result: the answer was cut off, or its tools were cancelled."""
        if call.stored is not None and call.stored["name"].startswith(self._answer_tool):
            _convert_to_text(call.stored)
            return
        self._ignored.add(call.field, "no result follows this call: an error is sent as its result")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": _NO_RESULT, "is_error": True}
        call.results.append(result)

    def _close_turn(self) -> None:
        """End the assistant's turn; its tool results get their message here."""
        if self._results is not None:
            self._messages.append({"role": "user", "content": self._results})
            self._results = None

    def _promote_system(self, field: str) -> None:
        """Send the last instructions as the user's turn, as the upstream requires one."""
        if self._blank_field:
            raise invalid_field(self._blank_field, "must not be blank: there is no other message")
        if not self._system:
            raise invalid_field(field, "must contain a message that is not blank")
        where, blocks = self._system.pop()
        self._ignored.add(f"{where}.role", "sent as the user's turn")
        self._messages.append({"role": "user", "content": blocks})

    def _end_with_an_answerable_turn(self, field: str) -> None:
        """Strip a final assistant message, as the upstream rejects trailing white space; or add a user's turn.

        The latter if the user has said something blank since, or if the message ends with thinking, which is rejected.
        """
        last = self._messages[-1]
        if last["role"] != "assistant":
            return
        if self._blank_field or last["content"][-1]["type"] != "text":
            add_user_turn(self._messages, field, self._ignored)
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


def add_user_turn(messages: list[dict[str, Any]], field: str, ignored: IgnoredFields) -> None:
    """Let a conversation that ends with the assistant's message go on. field: path of the message list."""
    ignored.add(field, "a user's turn was added after the last message")
    messages.append({"role": "user", "content": CONTINUE})


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
