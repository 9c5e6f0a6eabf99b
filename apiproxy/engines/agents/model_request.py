"""Request of an agent's CLI at the relay: allowed parts and highest cost. Pure.

Programs in the jail can send requests of their own to the relay. Whatever makes the upstream fetch, store or run
something would be a way out of the jail, and whatever has no price a way around the budget.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from apiproxy.core.events import Usage
from apiproxy.core.input_estimate import estimated_input, input_estimate
from apiproxy.core.prices import PriceTable
from apiproxy.core.pricing import max_micro_usd, unpriced_fields

RefusedKind = Literal["calls", "budget", "model", "request", "over"]

_FIELDS = frozenset(
    {
        *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "stream", "metadata", "thinking"),
        *("temperature", "top_p", "top_k", "stop_sequences", "output_config", "output_format", "cache_control"),
        *("service_tier", "speed", "inference_geo"),
    }
)
_FETCHED = frozenset({"url", "file"})
"""Types of a source that the upstream reads by itself."""
_MESSAGE_BLOCKS = frozenset(
    {
        *("text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result"),
        *("mcp_tool_use", "mcp_tool_result", "tool_reference"),
    }
)
"""Known blocks, none of which makes the upstream act, except by their sources."""
_SERVER_BLOCKS = frozenset(
    {
        *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result"),
        *("bash_code_execution_tool_result", "text_editor_code_execution_tool_result"),
    }
)
"""Calls of the upstream's own tools and their results, in a client's history. Their contents are the upstream's."""
_MAX_NAME_CHARS = 80


class CallRefusedError(Exception):
    """A call that the relay does not pass on.

    kind: calls or budget of the run are exhausted; another model; a request that is not allowed; the run is over.
    """

    def __init__(self, kind: RefusedKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A checked request.

    input: upper bound of its input tokens. base_micro_usd: highest cost without output; most_micro_usd: with all of
    max_tokens; both None without prices. unpriced: its first field without a price.
    """

    body: dict[str, Any] = field(repr=False)
    stream: bool
    max_tokens: int
    input: Usage
    base_micro_usd: int | None
    most_micro_usd: int | None
    unpriced: str = ""


def checked_request(
    body: dict[str, Any],
    *,
    model: str,
    prices: PriceTable,
    sources: Collection[str] = (),
    context_window: int | None = None,
    counting: bool = False,
) -> ModelRequest:
    """Check and measure a request. sources: URLs and file ids that it may name. counting: for count_tokens.

    Raises CallRefusedError (model, request).
    """
    if body.get("model") != model:
        raise CallRefusedError("model", f"This run may use the model {model} only.")
    if extra := sorted(body.keys() - _FIELDS):
        raise CallRefusedError("request", f"{extra[0][:_MAX_NAME_CHARS]}: agents may not use this field.")
    _check_tools(body.get("tools"))
    _check_content(body, frozenset(sources))
    max_tokens = body.get("max_tokens", 0)
    if type(max_tokens) is not int or max_tokens < (0 if counting else 1):
        raise CallRefusedError("request", "max_tokens: Input should be a positive integer")
    own = prices.of(model)
    base = most = None
    if own is not None:
        estimate = input_estimate(body, context_window=context_window)
        base, most = (
            max_micro_usd(
                body,
                own,
                input_tokens=estimate.most,
                advisor_tokens=0,
                output_tokens=output,
                table=prices,
            )
            for output in (0, max_tokens)
        )
    return ModelRequest(
        body=body,
        stream=body.get("stream") is True,
        max_tokens=max_tokens,
        input=estimated_input(body, context_window=context_window),
        base_micro_usd=base,
        most_micro_usd=most,
        unpriced=next(iter(unpriced_fields(body, own, prices)), ""),
    )


def named_sources(body: Mapping[str, Any]) -> frozenset[str]:
    """URLs and file ids in a client's messages, which its run may name again."""
    return frozenset(value for kind, value in _sources(body) if kind in _FETCHED and value)


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, list | None):
        raise CallRefusedError("request", "tools: Input should be a valid list")
    for number, tool in enumerate(tools or ()):
        if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
            raise CallRefusedError("request", f"tools.{number}: agents may not use tools that run at the upstream.")


def _check_content(body: Mapping[str, Any], allowed: frozenset[str]) -> None:
    for kind, value in _sources(body):
        if kind in _FETCHED and value not in allowed:
            raise CallRefusedError("request", f"A {kind} that the client did not name may not be sent to the model.")


def _sources(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Type and address of every source in messages and system. Raises CallRefusedError for blocks of unknown types."""
    found: list[tuple[str, str]] = []
    messages = body.get("messages")
    waiting: list[Any] = [body.get("system")]
    if isinstance(messages, list):
        waiting += [message.get("content") for message in messages if isinstance(message, dict)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(_inside(part, found))
    return found


def _inside(block: dict[str, Any], found: list[tuple[str, str]]) -> list[Any]:
    """Parts of a block that may hold further blocks; adds its own source."""
    kind = block.get("type")
    if isinstance(kind, str) and kind in _SERVER_BLOCKS:
        return []
    if not isinstance(kind, str) or kind not in _MESSAGE_BLOCKS:
        raise CallRefusedError("request", f"{str(kind)[:_MAX_NAME_CHARS]}: agents may not send blocks of this type.")
    source = block.get("source")
    if not isinstance(source, dict):
        return [block.get("content")]
    address = source.get("url") or source.get("file_id")
    found.append((str(source.get("type")), address if isinstance(address, str) else ""))
    return [block.get("content"), source.get("content")]
