"""Tools as clients know them, and the names under which the upstream gets them.

The upstream knows functions only, in one flat list: free-form tools, tools in namespaces and tools that the client runs
itself are sent as functions, and their calls are translated back.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_NAME_CHARS = 64

_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARS = 8


class ToolKind(StrEnum):
    """Kinds of tools that the client executes; the values are OpenAI's types."""

    FUNCTION = "function"
    CUSTOM = "custom"
    TOOL_SEARCH = "tool_search"
    LOCAL_SHELL = "local_shell"
    SHELL = "shell"
    APPLY_PATCH = "apply_patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledTool:
    """Tool as the client names it. namespace: None outside of namespaces."""

    kind: ToolKind
    name: str
    namespace: str | None = None

    @property
    def plain(self) -> bool:
        """True for a function outside of namespaces, which keeps its name."""
        return self.kind is ToolKind.FUNCTION and self.namespace is None


def plain_function(name: str) -> CalledTool:
    """Function outside of namespaces."""
    return CalledTool(kind=ToolKind.FUNCTION, name=name)


class ToolNames:
    """Upstream names of a request's tools: unique, and valid except for those of plain functions.

    reserved: names of the plain functions. A name depends on the tool and on the reserved names, so that it stays the
    same in later turns and the upstream's prompt cache holds.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)
        self._names: dict[CalledTool, str] = {}
        self._namesakes: dict[tuple[ToolKind, str], set[str]] = {}
        self._namespaces: dict[str, list[str]] = {}

    def add(self, tool: CalledTool) -> str:
        """Name for a declared tool."""
        if tool in self._names:
            return self._names[tool]
        name = tool.name if tool.plain else self._unique(tool)
        self._taken.add(name)
        self._names[tool] = name
        self._namesakes.setdefault((tool.kind, tool.name), set()).add(name)
        if tool.namespace is not None:
            self._namespaces.setdefault(tool.namespace, []).append(name)
        return name

    def __contains__(self, tool: CalledTool) -> bool:
        return tool in self._names

    def of_call(self, tool: CalledTool) -> str:
        """Name for an earlier call, whose tool may be undeclared."""
        return self._names.get(tool) or (tool.name if tool.plain else _flat_name(tool))

    def named(self, name: str, *, kind: ToolKind, namespace: str | None) -> str | None:
        """Name of a declared tool that the request refers to; None if there is none.

        A reference without a namespace may mean a tool in one, if no other tool has its name.
        """
        exact = CalledTool(kind=kind, name=name, namespace=namespace)
        if exact in self._names or namespace is not None:
            return self._names.get(exact)
        found = self._namesakes.get((kind, name), set())
        return next(iter(found)) if len(found) == 1 else None

    def within(self, namespace: str) -> Sequence[str]:
        """Names of the declared tools in a namespace."""
        return self._namespaces.get(namespace, ())

    @property
    def called(self) -> dict[str, CalledTool]:
        """Tools by upstream name, without plain functions."""
        return {name: tool for tool, name in self._names.items() if not tool.plain}

    def _unique(self, tool: CalledTool) -> str:
        name = _flat_name(tool)
        attempt = 0
        while name in self._taken:
            attempt += 1
            name = _shortened(_flat_name(tool), f"{tool.kind}\n{tool.namespace}\n{tool.name}\n{attempt}")
        return name


def from_stored(tools: Mapping[str, Mapping[str, str | None]]) -> dict[str, CalledTool]:
    """`CalledTool` by upstream name, of JSON data."""
    return {
        name: CalledTool(kind=ToolKind(str(tool["kind"])), name=str(tool["name"]), namespace=tool.get("namespace"))
        for name, tool in tools.items()
    }


def _flat_name(tool: CalledTool) -> str:
    whole = tool.name if tool.namespace is None else f"{tool.namespace}__{tool.name}"
    name = _INVALID_CHARACTER.sub("_", whole[: MAX_NAME_CHARS + 1]) or "_"
    return name if len(name) <= MAX_NAME_CHARS else _shortened(name, whole)


def _shortened(name: str, distinction: str) -> str:
    digest = hashlib.sha256(distinction.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{name[: MAX_NAME_CHARS - _DIGEST_CHARS - 1]}_{digest}"
