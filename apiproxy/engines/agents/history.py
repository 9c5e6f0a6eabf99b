"""Replay of a client's messages: earlier turns of the CLI's conversation, and the prompt. Pure.

A client's history has whole runs in one assistant message. They become the model's turns and the results again, under
the names that the CLI offers, so that the upstream gets what it got during the run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_encoding import dumps
from apiproxy.engines.agents.names import offered_name

MAX_MESSAGES = 2_000
"""Bound of the time for a replay: 7 ms for each of the user's messages."""
CONTINUE = "Continue."
_NO_RESULT = "The call has no result."
_CALL, _RESULT = "mcp_tool_use", "mcp_tool_result"
_CONTENT_BLOCKS = frozenset({"text", "image", "document", "search_result"})


@dataclass(frozen=True, slots=True)
class ReplayedTurn:
    """A turn of the conversation as the upstream gets it. content: blocks of the Messages API."""

    role: Literal["user", "assistant"]
    content: list[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Replay:
    """Earlier turns, and the content of the user message that starts the run."""

    turns: tuple[ReplayedTurn, ...]
    prompt: list[Any] = field(repr=False)


def replay_of(messages: object, agent: AgentSpec) -> Replay:
    """Replay of a body's `messages`. Raises ProxyError(INVALID_REQUEST).

    After an assistant message, as the one with `pause_turn`, the run goes on: from the results of its last calls, else
    with the text CONTINUE.
    """
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise _invalid("messages", f"agents accept at most {MAX_MESSAGES} messages")
    turns = [turn for at, message in enumerate(messages) for turn in _turns(message, at, agent)]
    if turns and turns[-1].role == "user":
        return Replay(tuple(turns[:-1]), turns[-1].content)
    return Replay(tuple(turns), [{"type": "text", "text": CONTINUE}])


def _turns(message: object, at: int, agent: AgentSpec) -> Iterator[ReplayedTurn]:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or role not in ("user", "assistant"):
        raise _invalid(f"messages.{at}.role", "Input should be 'user' or 'assistant'")
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise _invalid(f"messages.{at}.content", "Input should be a string or a list of content blocks")
    if role == "user":
        yield from _turn("user", [_without_cache_mark(block) for block in blocks])
    else:
        yield from _Rounds(agent, f"messages.{at}.content").split(blocks)


class _Rounds:
    """Splits an assistant message into the model's turns and their results."""

    def __init__(self, agent: AgentSpec, path: str) -> None:
        self._agent = agent
        self._path = path
        self._said: list[Any] = []
        self._waiting: dict[str, None] = {}
        self._results: list[Any] = []

    def split(self, blocks: Sequence[Mapping[str, Any]]) -> Iterator[ReplayedTurn]:
        for at, block in enumerate(blocks):
            kind = block.get("type")
            if kind in (_CALL, _RESULT) and self._agent.show_tool_calls != "all":
                continue  # without its arguments or result it would mislead the model
            if kind == _RESULT:
                self._results.append(self._result(block, at))
                continue
            if self._results:
                yield from self._flush()
            if kind == _CALL:
                self._said.append(self._call(block, at))
            elif _is_kept(block):
                self._said.append(_without_cache_mark(block))
        yield from self._flush()

    def _call(self, block: Mapping[str, Any], at: int) -> dict[str, Any]:
        call_id, name, server = block.get("id"), block.get("name"), block.get("server_name")
        if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(server, str)):
            raise _invalid(f"{self._path}.{at}", "id, name and server_name should be strings")
        arguments = block.get("input")
        self._waiting[call_id] = None
        return {
            "type": "tool_use",
            "id": call_id,
            "name": offered_name(server, name),
            "input": dict(arguments) if isinstance(arguments, Mapping) else {},
        }

    def _result(self, block: Mapping[str, Any], at: int) -> dict[str, Any]:
        call_id = block.get("tool_use_id")
        if not isinstance(call_id, str) or call_id not in self._waiting:
            raise _invalid(f"{self._path}.{at}.tool_use_id", "there is no mcp_tool_use block with this id before it")
        del self._waiting[call_id]
        return _tool_result(call_id, block.get("content"), is_error=block.get("is_error") is True)

    def _flush(self) -> Iterator[ReplayedTurn]:
        """A turn of the model, and the results of its calls."""
        missing = [_tool_result(call_id, _NO_RESULT, is_error=True) for call_id in self._waiting]
        said, results = self._said, self._results + missing
        self._said, self._results = [], []
        self._waiting.clear()
        yield from _turn("assistant", said)
        yield from _turn("user", results)


def _turn(role: Literal["user", "assistant"], content: list[Any]) -> Iterator[ReplayedTurn]:
    if content:
        yield ReplayedTurn(role, content)


def _tool_result(call_id: str, content: object, *, is_error: bool) -> dict[str, Any]:
    if isinstance(content, list):
        content = [block for block in content if isinstance(block, Mapping) and block.get("type") in _CONTENT_BLOCKS]
    shown = content if isinstance(content, str | list) else dumps(content).decode()
    error = {"is_error": True} if is_error else {}
    return {"type": "tool_result", "tool_use_id": call_id, "content": shown, **error}


def _is_kept(block: Mapping[str, Any]) -> bool:
    """False for lists of tools, and for thinking that was cut off: the upstream rejects it without its signature."""
    kind = block.get("type")
    return kind != "mcp_tool_listing" and (kind != "thinking" or bool(block.get("signature")))


def _without_cache_mark(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """The block without `cache_control`: the CLI sets three of the four marks that the upstream accepts."""
    if "cache_control" not in block:
        return block
    return {name: value for name, value in block.items() if name != "cache_control"}


def _invalid(param: str, message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, f"{param}: {message}", param=param)
