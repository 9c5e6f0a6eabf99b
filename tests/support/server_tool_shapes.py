"""Responses bodies with web searches and MCP servers, of any size."""

from collections.abc import Callable
from typing import Any

import orjson

from apiproxy.dialects.openai.responses.sealed_search import seal_search

Body = dict[str, Any]
Shape = Callable[[int], Body]

_SEARCH = {"type": "web_search"}


def _many(size: int, each: Callable[[int], Any]) -> list[Any]:
    return [each(number) for number in range(max(1, size // len(orjson.dumps(each(0)) + b",")))]


def _asked(*items: Body, **fields: Any) -> Body:
    question, more = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
    return {"model": "m", "input": [question, *items, more], **fields}


def _server(number: int, **fields: Any) -> Body:
    place = {"server_label": f"s{number}", "server_url": "https://a.example/mcp"}
    return {"type": "mcp", **place, "require_approval": "never", **fields}


def _call(number: int, **fields: Any) -> Body:
    call = {"type": "mcp_call", "id": f"mcp_{number}", "server_label": "s0", "name": "f", "arguments": '{"a":1}'}
    return {**call, "output": "o", **fields}


def _sealed(number: int) -> Body:
    call_id = f"srvtoolu_{number}"
    call = {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {"query": "q"}}
    result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": [{"url": "u"}]}
    return {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": seal_search(call, result)}


def _function(name: str) -> Body:
    return {"type": "function", "name": name, "parameters": {}}


def _names(size: int) -> list[str]:
    return _many(size, lambda number: f"tool{number}")


SERVER_TOOLS: dict[str, Shape] = {
    "many searches": lambda size: _asked(tools=_many(size, lambda _: _SEARCH), max_tool_calls=2),
    "many domains": lambda size: _asked(
        tools=[{**_SEARCH, "filters": {"allowed_domains": _names(size)}, "user_location": {"country": "IT"}}]
    ),
    "many servers": lambda size: _asked(
        tools=_many(size, lambda n: _server(n, authorization="t", headers={"authorization": "Bearer t"})),
        max_tool_calls=2,
    ),
    "many headers": lambda size: _asked(
        tools=[_server(0, headers=dict.fromkeys(_many(size, lambda n: f"{n}"), "Bearer t"))]
    ),
    "many tools of a server": lambda size: _asked(
        tools=[
            _server(
                0,
                allowed_tools={"tool_names": _names(size // 3)},
                require_approval={
                    "never": {"tool_names": _names(size // 3)},
                    "always": {"tool_names": _names(size // 3)},
                },
            )
        ],
        tool_choice={"type": "mcp", "server_label": "s0"},
    ),
    "one tool of many": lambda size: _asked(
        tools=[_server(0, allowed_tools=_names(size))],
        tool_choice={"type": "mcp", "server_label": "s0", "name": "tool0"},
    ),
    "many allowed servers": lambda size: _asked(
        tools=[*_many(size // 2, _server), _SEARCH],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [*_many(size // 2, _server), _SEARCH]},
    ),
    "many calls of a server": lambda size: _asked(
        *_many(
            size, lambda n: _call(n, id=("mcp_1", f"mcp_{n}", "é")[n % 3], output=None if n % 5 else "o", error="e")
        ),
        tools=[_server(0)],
    ),
    "long arguments": lambda size: _asked(
        _call(0, arguments=orjson.dumps(_names(size // 2)).decode()),
        _call(1, error={"content": _many(size // 2, lambda n: {"text": f"{n}"})}),
        tools=[_server(0)],
    ),
    "many listings": lambda size: _asked(
        *_many(size, lambda n: {"type": "mcp_list_tools", "server_label": f"s{n % 2}", "tools": [{"name": "f"}]}),
        {
            "type": "mcp_list_tools",
            "server_label": "s0",
            "tools": _many(size, lambda n: {"name": f"t{n}", "input_schema": {}, "description": "d"}),
        },
        tools=[_server(0)],
    ),
    "many results of searches": lambda size: _asked(
        *_many(size, _sealed),
        {"type": "web_search_call", "status": "completed"},
        {"type": "reasoning", "summary": [], "encrypted_content": "search-1.%"},
        tools=[_SEARCH],
        tool_choice={"type": "web_search"},
    ),
    "calls beside a forced function": lambda size: _asked(
        *_many(size // 2, _call),
        *_many(size // 2, _sealed),
        tools=[_server(0), _SEARCH, _function("f")],
        tool_choice={"type": "function", "name": "f"},
    ),
    "a function named like the search": lambda size: _asked(
        tools=[
            *_many(size, lambda n: {"type": "function", "name": f"f{n}"}),
            {"type": "function", "name": "web_search"},
            _SEARCH,
        ]
    ),
}

CHAT_SEARCHES: dict[str, Shape] = {
    "many searches": lambda size: {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "c" * (size // 2)}}},
        "tools": _many(size // 2, lambda _: _SEARCH),
    },
}
