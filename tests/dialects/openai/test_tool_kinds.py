"""Tools of every kind as functions of the upstream, the choice among them, and what is left out."""

from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from tests.dialects.openai.support import chat, function, refusal, responses, user

EXEC: dict[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"cmd": {"type": "string"}},
        "required": ["cmd"],
        "additionalProperties": False,
    },
}
ADD: dict[str, Any] = {
    "type": "function",
    "name": "add",
    "description": "adds",
    "strict": False,
    "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
}
CALC: dict[str, Any] = {"type": "namespace", "name": "mcp__calc", "description": "Sums.", "tools": [ADD]}
PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" LF'},
}
SEARCH: dict[str, Any] = {
    "type": "tool_search",
    "execution": "client",
    "description": "d",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
HOSTED: dict[str, Any] = {"type": "file_search", "vector_store_ids": ["vs_1"]}
ONE_STRING = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def refused(body: dict[str, Any], **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        responses(body, **options)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.message.startswith(f"{caught.value.param}: ")
    return caught.value


def test_send_every_kind_of_codex_as_a_function() -> None:
    translated = responses({"tools": [EXEC, PATCH, CALC, SEARCH, HOSTED]})
    tools = translated.body["tools"]
    assert [tool["name"] for tool in tools] == ["exec_command", "apply_patch", "mcp__calc__add", "tool_search"]
    assert tools[1]["input_schema"] == ONE_STRING
    assert tools[1]["description"].startswith("Edits files.")
    assert tools[1]["description"].endswith('(lark):\nstart: "*** Begin Patch" LF')
    assert tools[2]["description"] == "Sums.\n\nadds"
    assert tools[3]["input_schema"] == SEARCH["parameters"]
    assert translated.ignored == ("tools.4 (file_search)",)


def test_reject_left_out_kinds_in_strict_mode() -> None:
    assert refused({"tools": [EXEC, HOSTED]}, strict=True).param == "tools.1"


@pytest.mark.parametrize(
    ("kind", "name", "required"),
    [
        ({"type": "local_shell"}, "local_shell", ["command"]),
        ({"type": "shell"}, "shell", ["commands"]),
        ({"type": "shell", "environment": {"type": "local"}}, "shell", ["commands"]),
        ({"type": "apply_patch"}, "apply_patch", ["type", "path"]),
    ],
)
def test_send_built_in_tools_of_the_client(kind: dict[str, Any], name: str, required: list[str]) -> None:
    (tool,) = responses({"tools": [kind]}).body["tools"]
    assert tool["name"] == name
    assert tool["input_schema"]["required"] == required


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ({"type": "shell", "environment": {"type": "container_auto"}}, "shell: only in a local environment"),
        ({"type": "tool_search"}, "tool_search: all declared tools are offered at once"),
        ({"type": "image_generation"}, "image_generation"),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "code_interpreter"),
        ({"type": "computer_use_preview"}, "computer_use_preview"),
        ({"type": "tool of\r\nthe future"}, "(a field with an unusual name)"),
    ],
)
def test_leave_out_and_report_what_openai_runs(tool: dict[str, Any], said: str) -> None:
    translated = responses({"tools": [EXEC, tool]})
    assert [tool["name"] for tool in translated.body["tools"]] == ["exec_command"]
    assert translated.ignored == (f"tools.1 ({said})",)


def test_offer_deferred_tools_at_once() -> None:
    deferred = {**EXEC, "defer_loading": True}
    assert responses({"tools": [deferred, {**CALC, "tools": [{**ADD, "defer_loading": True}]}]}).body["tools"][1]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "add"}, "mcp__calc__add"),
        ({"type": "function", "name": "add", "namespace": "mcp__calc"}, "mcp__calc__add"),
        ({"type": "tool_search"}, "tool_search"),
        ({"type": "shell"}, "shell"),
    ],
)
def test_force_a_tool_of_any_kind(choice: dict[str, Any], sent: str) -> None:
    body = responses({"tools": [EXEC, PATCH, CALC, SEARCH, {"type": "shell"}], "tool_choice": choice}).body
    assert body["tool_choice"] == {"type": "tool", "name": sent}


def test_allow_tools_of_any_kind() -> None:
    allowed = [
        {"type": "custom", "name": "apply_patch"},
        {"type": "namespace", "name": "mcp__calc"},
        {"type": "file_search"},
    ]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    translated = responses({"tools": [EXEC, PATCH, CALC, HOSTED], "tool_choice": choice})
    assert [tool["name"] for tool in translated.body["tools"]] == ["apply_patch", "mcp__calc__add"]
    assert translated.body["tool_choice"] == {"type": "any"}
    assert translated.ignored == ("tools.3 (file_search)", "tool_choice.tools.2 (file_search)")


@pytest.mark.parametrize(
    ("param", "tools", "choice"),
    [
        ("tool_choice", [HOSTED], "required"),
        ("tool_choice.type", [EXEC, HOSTED], {"type": "file_search"}),
        ("tool_choice.type", [EXEC], {"type": "web_search_of_tomorrow"}),
        ("tool_choice.type", [EXEC], {"type": 5}),
        ("tool_choice", [EXEC], {"type": "shell"}),
        ("tool_choice", [EXEC], {"type": "custom", "name": "exec_command"}),
        ("tool_choice.name", [EXEC], {"type": "function"}),
        ("tool_choice.tools", [HOSTED], {"type": "allowed_tools", "mode": "required", "tools": [HOSTED]}),
        ("tool_choice.tools.0", [EXEC], {"type": "allowed_tools", "mode": "auto", "tools": [{**ADD, "name": "x"}]}),
        ("tool_choice.mode", [EXEC], {"type": "allowed_tools", "tools": []}),
        ("tools.0.type", [{"name": "f"}], None),
        ("tools.0.type", [{"type": 5}], None),
        ("tools.0.name", [{"type": "custom"}], None),
        ("tools.0.name", [{"type": "custom", "name": "n" * 300}], None),
        ("tools.0.tools", [{"type": "namespace", "name": "n"}], None),
        ("tools.0.tools.0.type", [{"type": "namespace", "name": "n", "tools": [{"type": "shell"}]}], None),
        ("tools.0.tools.0.name", [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}], None),
    ],
)
def test_name_the_field_that_forces_or_declares_wrongly(param: str, tools: list[Any], choice: object) -> None:
    assert refused({"tools": tools, "tool_choice": choice}).param == param


def test_explain_why_a_kind_cannot_be_forced() -> None:
    error = refused({"tools": [EXEC, HOSTED], "tool_choice": {"type": "file_search"}})
    assert "does not support tools of the type file_search" in error.message


def test_send_chat_custom_tools_as_functions() -> None:
    custom = {"type": "custom", "custom": {"name": "apply_patch", "description": "d"}}
    body = chat(
        {"tools": [function("f"), custom], "tool_choice": {"type": "custom", "custom": {"name": "apply_patch"}}}
    )
    assert body.body["tools"][1]["name"] == "apply_patch"
    assert body.body["tools"][1]["input_schema"] == ONE_STRING
    assert body.body["tool_choice"] == {"type": "tool", "name": "apply_patch"}


def test_leave_out_unknown_chat_tools() -> None:
    translated = chat({"tools": [function("f"), {"type": "code_interpreter"}]})
    assert [tool["name"] for tool in translated.body["tools"]] == ["f"]
    assert translated.ignored == ("tools.1 (code_interpreter)",)
    error = refusal({"tools": [{"type": "code_interpreter"}], "tool_choice": "required"})
    assert "code_interpreter" in error.message


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_take_empty_lists_of_tools_for_none(choice: str) -> None:
    body = chat({"tools": [], "functions": [], "tool_choice": choice}).body
    assert "tools" not in body
    assert "tool_choice" not in body
    assert refusal({"tools": [], "functions": [], "tool_choice": "required"}).param == "tool_choice"


def test_tools_beside_empty_functions_are_tools() -> None:
    translated = chat({"tools": [function("f")], "functions": []})
    assert translated.body["tools"][0]["name"] == "f"
    assert not translated.reply.legacy_function


def test_send_calls_of_the_history_under_the_same_names() -> None:
    items: list[Any] = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "a", "namespace": "mcp__calc", "name": "add", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "done"}]},
    ]
    for tools in ([CALC, PATCH], []):
        messages = responses({"input": items, "tools": tools}).body["messages"]
        assert messages[1]["content"] == [
            {"type": "tool_use", "id": "a", "name": "mcp__calc__add", "input": {"a": 1}},
            {"type": "tool_use", "id": "b", "name": "apply_patch", "input": {"input": "*** Begin Patch"}},
        ]
        assert [block["content"] for block in messages[2]["content"]] == ["1", "done"]


def test_send_built_in_calls_of_the_history() -> None:
    run: dict[str, Any] = {"type": "exec", "command": ["ls"], "env": {}, "user": None}
    shown = [{"stdout": "a\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    edit = {"type": "delete_file", "path": "a"}
    items: list[Any] = [
        {"role": "user", "content": "hi"},
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "a", "status": "completed", "action": run},
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "{}"},
        {"type": "shell_call", "call_id": "b", "action": {"commands": ["ls"], "timeout_ms": None}},
        {"type": "shell_call_output", "call_id": "b", "output": shown},
        {"type": "apply_patch_call", "call_id": "c", "operation": edit, "status": "completed"},
        {"type": "apply_patch_call_output", "call_id": "c", "status": "failed", "output": "no such file"},
    ]
    messages = responses({"input": items}).body["messages"]
    calls = [message["content"][0] for message in messages[1::2]]
    assert [(call["name"], call["input"]) for call in calls] == [
        ("local_shell", {"command": ["ls"], "env": {}}),
        ("shell", {"commands": ["ls"]}),
        ("apply_patch", edit),
    ]
    results = [message["content"][0] for message in messages[2::2]]
    assert results[1]["content"] == '[{"stdout":"a\\n","stderr":"","outcome":{"type":"exit","exit_code":0}}]'
    assert results[2] == {
        "type": "tool_result",
        "tool_use_id": "c",
        "content": "no such file",
        "is_error": True,
    }


def test_offer_tools_that_a_search_has_found() -> None:
    found = [{**EXEC, "name": "late", "defer_loading": True}, CALC]
    items: list[Any] = [
        user("hi"),
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "sums"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "status": "completed", "tools": found},
        {"type": "tool_search_call", "call_id": "t", "execution": "client", "arguments": '{"query": "more"}'},
        {"type": "tool_search_output", "call_id": "t", "execution": "client", "tools": found},
        {"type": "additional_tools", "role": "developer", "tools": [PATCH]},
    ]
    body = responses({"input": items, "tools": [SEARCH]}).body
    assert [tool["name"] for tool in body["tools"]] == ["tool_search", "late", "mcp__calc__add", "apply_patch"]
    assert body["messages"][1]["content"][0]["input"] == {"query": "sums"}
    assert body["messages"][2]["content"][0]["content"] == "These tools can be called now: late, mcp__calc__add"


def test_leave_out_searches_that_openai_made() -> None:
    items: list[Any] = [
        user("hi"),
        {"type": "tool_search_call", "call_id": None, "execution": "server", "arguments": {"paths": ["x"]}},
        {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [CALC]},
        user("go on"),
    ]
    body = responses({"input": items}).body
    assert [message["role"] for message in body["messages"]] == ["user", "user"]
    assert body["tools"][0]["name"] == "mcp__calc__add"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "status": "completed"},
        {"type": "program", "id": "p", "call_id": "p", "code": "", "fingerprint": ""},
    ],
)
def test_leave_out_and_report_items_of_hosted_tools(item: dict[str, Any]) -> None:
    translated = responses({"input": [user("hi"), item, user("go on")]})
    assert len(translated.body["messages"]) == 2
    assert translated.ignored == (f"input.1 ({item['type']})",)


@pytest.mark.parametrize(
    ("param", "item"),
    [
        ("input.1.type", {"type": "mesage", "role": "user", "content": "x"}),
        ("input.1.call_id", {"type": "local_shell_call", "status": "completed", "action": {"command": ["ls"]}}),
        ("input.1.call_id", {"type": "local_shell_call_output", "output": "x"}),
        ("input.1.arguments", {"type": "tool_search_call", "call_id": "c", "arguments": [1]}),
        ("input.1.tools.0.type", {"type": "additional_tools", "tools": [{}]}),
    ],
)
def test_name_the_field_of_an_item_at_fault(param: str, item: dict[str, Any]) -> None:
    assert refused({"input": [user("hi"), item]}).param == param
