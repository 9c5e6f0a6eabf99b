"""Allow-lists of models, server tools, MCP hosts and betas. Pure.

Every walk is linear in the body and reads only the fields that the API reads; a test derives them from the official
client's types. An empty list allows everything. The entry `none` matches nothing, so a list of only `none` allows
nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.hosts import host_of, matches_host
from apiproxy.core.name_patterns import matches_pattern

Names = tuple[str, ...]

MODEL_FIELDS = (
    "fallbacks.*.model",
    "tools.*.model",
    "messages.*.content.*.tool.definition.model",
    "messages.*.content.*.tool_changes.*.tool.definition.model",
)
"""Fields in addition to `model` that name a model to run. `*` stands for an index."""
ECHOED_MODEL_FIELDS = ("messages.*.content.*.from.model", "messages.*.content.*.to.model")
"""Fields of a `fallback` block, which the upstream neither validates nor runs. Source: `BetaFallbackBlockParam`."""
MCP_FIELDS = ("mcp_servers.*.url",)

CLIENT_TOOLS = frozenset(
    {"bash", "text_editor", "computer", "memory", "computer_toolset", "browser_toolset"},
)
"""Types, without date, of tools run by the client. `custom` tools are the client's, too."""
MCP_TOOLSET = "mcp_toolset"
"""Tool type that runs on an MCP server; governed by the list of MCP hosts."""

MAX_MODELS = 64
"""Maximum distinct models in a body."""
MAX_MODEL_CHARS = 256
MAX_MCP_SERVERS = 100
"""Maximum MCP servers in a body if their hosts are restricted."""
_SHOWN_CHARS = 200
_DATE_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Lists in force. A name is allowed if every non-empty list of its kind has it."""

    server_tools: Sequence[Names] = ()
    mcp_hosts: Sequence[Names] = ()
    betas: Sequence[Names] = ()
    models: bool = False
    """True if models are restricted; `authentication.require_model` has the list."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model named in a body: path of its first field, and objects with it."""

    path: str
    holders: list[dict[str, Any]] = field(repr=False)


def matches_name(pattern: str, name: str) -> bool:
    """Match an entry of a list, which may have `*`. `none` matches nothing.

    Brackets are literal: they occur in ids (`claude-opus-5[1m]`).
    """
    return pattern != "none" and matches_pattern(pattern, name)


def check_betas(policy: Policy, betas: Sequence[str]) -> None:
    """Raise ProxyError (FORBIDDEN) for the first beta that is not allowed."""
    for beta in betas:
        if not allows_beta(policy, beta):
            raise _forbidden(f"the beta `{_shown(beta)}`", "anthropic-beta")


def allows_server_tool(policy: Policy, kind: str) -> bool:
    """True if requests may have tools of this type."""
    return _listed(policy.server_tools, kind)


def check_mcp_url(lists: Sequence[Names], url: object, param: str) -> None:
    """Raise ProxyError (FORBIDDEN), with this field's path, if not every list allows the MCP server's host."""
    if not any(lists):
        return
    host = host_of(url) if isinstance(url, str) else None
    if host is None:
        raise _forbidden("an MCP server whose `url` is not a plain http(s) address with an ASCII host name", param)
    if not all(any(matches_host(entry, host) for entry in names) for names in lists if names):
        raise _forbidden(f"the MCP host `{_shown(host)}`", param)


def allows_beta(policy: Policy, beta: str) -> bool:
    """True if requests may name the beta."""
    return _listed(policy.betas, beta)


def check_body(policy: Policy, body: Mapping[str, Any]) -> dict[str, NamedModel]:
    """Check server tools and MCP servers; return the models in further fields.

    Raises ProxyError: FORBIDDEN if a list does not allow it, INVALID_REQUEST for an invalid model name.
    """
    named: dict[str, NamedModel] = {}
    passed: set[str] = set()
    for where, tool in tools_in(body):
        if any(policy.server_tools):
            _check_tool(policy.server_tools, where, tool.get("type"), passed)
        if tool.get("model") is not None:
            _collect(named, where, tool)
    fallbacks = body.get("fallbacks")
    if policy.models and fallbacks is not None and not isinstance(fallbacks, list):
        raise _forbidden("fallback models chosen by the upstream (`fallbacks` must list them)", "fallbacks")
    for where, fallback in _objects(fallbacks, "fallbacks"):
        _collect(named, where, fallback)
    if any(policy.mcp_hosts):
        _check_mcp_servers(policy.mcp_hosts, body.get("mcp_servers"))
    return named


def tools_in(body: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Tool definitions with their paths, in `tools` and in content blocks."""
    yield from _objects(body.get("tools"), "tools")
    messages = body.get("messages")
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from _tools_in_blocks(content, at)


def is_server_tool(kind: object) -> bool:
    """True if the upstream runs tools of this type; True for unknown types."""
    if kind is None or kind in ("custom", MCP_TOOLSET):
        return False
    stem, _, date = kind.rpartition("_") if isinstance(kind, str) else ("", "", "")
    return not (stem in CLIENT_TOOLS and len(date) == _DATE_DIGITS and date.isascii() and date.isdigit())


def _tools_in_blocks(blocks: list[Any], message: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, block in enumerate(blocks):
        if not isinstance(block, dict):
            continue
        if "tool" in block:
            yield from _definition(block["tool"], f"messages.{message}.content.{at}.tool")
        if "tool_changes" in block:
            for where, change in _objects(block["tool_changes"], f"messages.{message}.content.{at}.tool_changes"):
                yield from _definition(change.get("tool"), f"{where}.tool")


def _definition(tool: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    definition = tool.get("definition") if isinstance(tool, dict) else None
    if isinstance(definition, dict):
        yield f"{where}.definition", definition


def _objects(value: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield f"{where}.{at}", item


def _collect(named: dict[str, NamedModel], where: str, holder: dict[str, Any]) -> None:
    name, path = holder.get("model"), f"{where}.model"
    if not isinstance(name, str) or not 0 < len(name) <= MAX_MODEL_CHARS:
        raise ProxyError(FailureKind.INVALID_REQUEST, f"{path}: Input should be a model id", param=path)
    if name not in named:
        if len(named) == MAX_MODELS:
            message = f"{path}: a request may name {MAX_MODELS} different models"
            raise ProxyError(FailureKind.INVALID_REQUEST, message, param=path)
        named[name] = NamedModel(path, [])
    named[name].holders.append(holder)


def _check_tool(lists: Sequence[Names], where: str, kind: object, passed: set[str]) -> None:
    """passed: types already checked in this body."""
    if isinstance(kind, str) and kind in passed:
        return
    if is_server_tool(kind) and not (isinstance(kind, str) and _listed(lists, kind)):
        raise _forbidden(f"the server tool `{_shown(kind)}`", f"{where}.type")
    if isinstance(kind, str):
        passed.add(kind)


def _check_mcp_servers(lists: Sequence[Names], servers: object) -> None:
    if servers is not None and not isinstance(servers, list):
        raise _forbidden("MCP servers that are not in a list", "mcp_servers")
    if servers is not None and len(servers) > MAX_MCP_SERVERS:
        raise _forbidden(f"more than {MAX_MCP_SERVERS} MCP servers at once", "mcp_servers")
    for at, server in enumerate(servers or ()):
        check_mcp_url(lists, server.get("url") if isinstance(server, dict) else None, f"mcp_servers.{at}.url")


def _listed(lists: Sequence[Names], name: str) -> bool:
    return all(any(matches_name(pattern, name) for pattern in names) for names in lists if names)


def _forbidden(what: str, param: str) -> ProxyError:
    return ProxyError(FailureKind.FORBIDDEN, f"{param}: this API key may not use {what}.", param=param)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
