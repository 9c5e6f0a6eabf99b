"""Bodies of the OpenAI dialect with tools of every kind, of any size."""

from collections.abc import Callable
from typing import Any

import orjson

Body = dict[str, Any]
Shape = Callable[[int], Body]


def _many(size: int, each: Callable[[int], Any]) -> list[Any]:
    return [each(number) for number in range(max(1, size // len(orjson.dumps(each(0)) + b",")))]


def _asked(*items: Body, **fields: Any) -> Body:
    return {"model": "m", "input": [{"role": "user", "content": "a"}, *items], **fields}


def _function(number: int) -> Body:
    return {"type": "function", "name": f"t{number}"}


def _custom(number: int) -> Body:
    return {"type": "custom", "name": f"é{number}", "format": {"syntax": "lark", "definition": f"start: {number}"}}


def _namespace(number: int) -> Body:
    return {"type": "namespace", "name": f"n{number}", "description": "d", "tools": [_function(0), _custom(0)]}


def _allowed(tools: list[Body], **fields: Any) -> Body:
    return {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": tools}, **fields}


def _built_in(number: int) -> list[Body]:
    return [
        {"type": "local_shell_call", "id": f"l{number}", "call_id": f"a{number}", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "id": f"l{number}", "output": "o"},
        {"type": "shell_call", "call_id": f"b{number}", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": f"b{number}", "output": [{"stdout": "o"}]},
        {"type": "apply_patch_call", "call_id": f"c{number}", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": f"c{number}", "status": "failed"},
        {"type": "tool_search_call", "call_id": f"d{number}", "arguments": '{"a":1}'},
        {"type": "tool_search_output", "call_id": f"d{number}", "tools": [_function(number), _namespace(number)]},
        {"type": "custom_tool_call", "call_id": f"e{number}", "name": "é", "input": "i"},
        {"type": "custom_tool_call_output", "call_id": f"e{number}", "output": "o"},
        {"type": "additional_tools", "tools": [_custom(number)]},
        {"type": "image_generation_call", "result": "aGk="},
    ]


_BUILT_IN = ("shell", "local_shell", "apply_patch", "tool_search", "shell ")
_SPECIAL: list[Body] = [
    {"type": "tool_search", "execution": "client"},
    {"type": "shell", "environment": {"type": "container_auto"}},
]

RESPONSES_TOOLS: dict[str, Shape] = {
    "many free-form tools": lambda size: _asked(tools=_many(size, _custom)),
    "many namespaces": lambda size: _asked(tools=_many(size, _namespace)),
    "one namespace": lambda size: _asked(
        tools=[
            {**_namespace(0), "name": "n" * 256, "description": "d" * (size // 2), "tools": _many(size // 2, _custom)}
        ]
    ),
    "tools with one name": lambda size: _asked(
        tools=_many(size // 2, lambda n: {**_namespace(n), "tools": [_function(0)]}),
        **_allowed(_many(size // 2, lambda n: {"type": "function", "name": "t0", "namespace": "n0"})),
    ),
    "names that are alike": lambda size: _asked(
        tools=_many(size, lambda n: {"type": "namespace", "name": "n" * 64, "tools": [{**_custom(0), "name": f"{n}"}]})
    ),
    "many unknown tools": lambda size: _asked(tools=_many(size, lambda n: {"type": f"kind{n}"})),
    "built-in tools": lambda size: _asked(
        tools=[*_many(size, lambda n: {"type": _BUILT_IN[n % len(_BUILT_IN)]}), *_SPECIAL],
    ),
    "many allowed tools": lambda size: _asked(
        tools=[_namespace(0), _custom(0), {"type": "file_search"}],
        **_allowed(
            _many(size, lambda n: ({"type": "namespace", "name": "n0"}, {"type": "file_search"}, _custom(0))[n % 3])
        ),
    ),
    "required tool": lambda size: _asked(
        tools=[{**_function(0), "parameters": {"type": "object", "properties": {"a": {"enum": _many(size, str)}}}}],
        tool_choice="required",
    ),
    "items of built-in tools": lambda size: _asked(
        *(item for number in range(max(1, size // 1_100)) for item in _built_in(number))
    ),
    "one search": lambda size: _asked(
        {"type": "tool_search_call", "call_id": "d", "execution": "client", "arguments": {}},
        {"type": "tool_search_output", "call_id": "d", "tools": _many(size, _namespace)},
    ),
}

CHAT_TOOLS: dict[str, Shape] = {
    "many free-form tools": lambda size: {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "tools": _many(size, lambda n: {"type": "custom", "custom": {"name": f"é{n}"}}),
        "tool_choice": {"type": "custom", "custom": {"name": "é0"}},
    },
    "many unknown tools": lambda size: {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "tools": _many(size, lambda n: {"type": f"kind{n}"}),
    },
}
