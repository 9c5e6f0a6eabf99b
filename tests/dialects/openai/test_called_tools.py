"""Upstream names of tools: unique, valid, and the same in every turn."""

import re
from dataclasses import asdict
from typing import Any

import hypothesis
from hypothesis import strategies as st

from apiproxy.core.json_encoding import dumps
from apiproxy.core.json_values import ValueBudget
from apiproxy.dialects.openai.translate.called_tools import CalledTool, ToolKind, ToolNames, from_stored, plain_function

VALID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
WORDS = st.text("ab_é. ", max_size=6) | st.sampled_from(["a" * 60, "a" * 61, "apply_patch", "shell"])
TOOLS = st.builds(
    lambda kind, name, namespace: CalledTool(kind=kind, name=name, namespace=namespace),
    st.sampled_from(ToolKind),
    WORDS,
    st.none() | WORDS,
)


def named(namespace: str, name: str) -> CalledTool:
    return CalledTool(kind=ToolKind.FUNCTION, name=name, namespace=namespace)


@hypothesis.given(st.lists(TOOLS, max_size=12, unique=True))
def test_give_each_tool_a_valid_name_of_its_own(tools: list[CalledTool]) -> None:
    names = ToolNames(tool.name for tool in tools if tool.plain)
    given_names = [names.add(tool) for tool in tools]
    assert len(set(given_names)) == len(tools)
    for tool, name in zip(tools, given_names, strict=True):
        assert name == tool.name if tool.plain else VALID.fullmatch(name)
        assert names.add(tool) == names.of_call(tool) == name
    assert names.called == {name: tool for tool, name in zip(tools, given_names, strict=True) if not tool.plain}
    stored: Any = ValueBudget().loads(dumps({name: asdict(tool) for name, tool in names.called.items()}))
    assert from_stored(stored) == names.called


def test_flatten_a_namespace_into_the_name() -> None:
    names = ToolNames()
    assert names.add(named("mcp__calc", "add")) == "mcp__calc__add"
    assert names.add(named("mcp calc", "add")) == "mcp_calc__add"
    assert names.add(named("a", "b__c")) == "a__b__c"
    assert re.fullmatch(r"a__b__c_[0-9a-f]{8}", names.add(named("a__b", "c")))


def test_shorten_long_names_by_a_digest() -> None:
    names = ToolNames()
    first, second = names.add(named("n" * 50, "x" * 40)), names.add(named("n" * 50, "x" * 41))
    assert len(first) == len(second) == 64
    assert first != second
    assert ToolNames().add(named("n" * 50, "x" * 41)) == second


def test_leave_plain_functions_their_names() -> None:
    names = ToolNames(["a__b"])
    assert names.add(named("a", "b")) != "a__b"
    assert names.add(plain_function("a__b")) == "a__b"
    assert names.of_call(plain_function("my tool")) == "my tool"


def test_find_a_tool_by_its_name_alone_if_unambiguous() -> None:
    names = ToolNames()
    for tool in (named("a", "x"), named("a", "y"), named("b", "y")):
        names.add(tool)
    kind = ToolKind.FUNCTION
    assert names.named("x", kind=kind, namespace=None) == "a__x"
    assert names.named("y", kind=kind, namespace=None) is None
    assert names.named("y", kind=kind, namespace="b") == "b__y"
    assert names.named("x", kind=kind, namespace="b") is None
    assert names.named("x", kind=ToolKind.CUSTOM, namespace=None) is None
    assert list(names.within("a")) == ["a__x", "a__y"]
