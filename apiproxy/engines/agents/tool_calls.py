"""Tool calls of a run: their blocks for the client, and their steps for traces. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from apiproxy.core.agents import AgentSpec
from apiproxy.core.events import Step, StepKind
from apiproxy.engines.agents.names import split_name

_MAX_ID_CHARS = 200
_MAX_ERROR_CHARS = 1_000


@dataclass(slots=True)
class _Call:
    server: str
    tool: str
    json: list[str]
    step: Step | None = None


class ToolCalls:
    """Calls in the order of their blocks; results may come in any order, and before the message ends."""

    def __init__(self, agent: AgentSpec, *, on_step: Callable[[Step], None]) -> None:
        self._servers = [server.name for server in agent.mcp_servers]
        self._display = agent.show_tool_calls
        self._on_step = on_step
        self._calls: dict[str, _Call] = {}

    @property
    def running(self) -> bool:
        """True if a call has no result yet."""
        return bool(self._calls)

    @property
    def shown(self) -> bool:
        """True if clients see calls at all."""
        return self._display != "none"

    @property
    def shows_content(self) -> bool:
        """True if clients see arguments and results."""
        return self._display == "all"

    def begin(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """Note a `tool_use` block as it starts; returns it as clients see it."""
        server, tool = split_name(block["name"], self._servers)
        self._calls[block["id"]] = _Call(server, tool, [])
        return {"type": "mcp_tool_use", "id": block["id"], "name": tool, "server_name": server, "input": {}}

    def add_input(self, call_id: str, part: object) -> None:
        """Add a part of the arguments' JSON."""
        if (call := self._calls.get(call_id)) is not None and isinstance(part, str):
            call.json.append(part)

    def start(self, call_id: str, *, number: int, at: float) -> None:
        """The block is complete, so the CLI runs the tool. number: of the model call."""
        if (call := self._calls.get(call_id)) is None:
            return
        call.step = Step(
            id=call_id[:_MAX_ID_CHARS],
            kind=StepKind.TOOL_CALL,
            name=f"{call.server}/{call.tool}",
            number=number,
            started_at=at,
            arguments=_arguments("".join(call.json)),
        )
        self._on_step(call.step)

    def finish(self, result: Mapping[str, Any], *, denied: bool, at: float) -> dict[str, Any] | None:
        """Note a `tool_result`; returns its block as clients see it, None for a call that is not running."""
        call_id = result.get("tool_use_id")
        call = self._calls.pop(call_id, None) if isinstance(call_id, str) else None
        if call is None:
            return None
        failed = bool(result.get("is_error"))
        content = _content(result.get("content"))
        if call.step is not None:
            kind = StepKind.DENIED if denied else StepKind.TOOL_CALL
            error = _first_text(content) if failed else ""
            self._on_step(replace(call.step, kind=kind, ended_at=at, failed=failed, error=error, result=content))
        shown = content if self.shows_content else []
        return {"type": "mcp_tool_result", "tool_use_id": call_id, "is_error": failed, "content": shown}

    def abandon(self, reason: str, *, at: float) -> list[dict[str, Any]]:
        """End all calls without a result; returns their error results."""
        results = [{"tool_use_id": call_id, "is_error": True, "content": reason} for call_id in self._calls]
        blocks = [self.finish(result, denied=False, at=at) for result in results]
        return [block for block in blocks if block is not None]


def denied_calls(message: Mapping[str, Any]) -> set[str]:
    """Ids of the calls in this `user` message that the CLI's permission rules rejected."""
    entries = message.get("tool_result_meta")
    return {
        str(entry.get("id"))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and _rejected(entry.get("permission_decision"))
    }


def results_in(message: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The `tool_result` blocks of a `user` message of the CLI."""
    inner = message.get("message")
    content = inner.get("content") if isinstance(inner, Mapping) else None
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and block.get("type") == "tool_result":
            yield block


def _rejected(decision: object) -> bool:
    return isinstance(decision, Mapping) and decision.get("decision") == "reject"


def _content(content: object) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _first_text(content: list[Any]) -> str:
    for block in content:
        if isinstance(block, Mapping) and isinstance(block.get("text"), str):
            return str(block["text"])[:_MAX_ERROR_CHARS]
    return ""


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return text
