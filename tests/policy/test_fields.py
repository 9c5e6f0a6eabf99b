"""Every place in a Messages body that names a model, a tool or an MCP server, found in the official client's types."""

import types
from collections.abc import Iterator
from functools import cache
from typing import Any, Union

import pytest
import typing_extensions as te
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import beta_tool_union_param
from anthropic.types.beta import message_count_tokens_params as beta_count
from anthropic.types.beta import message_create_params as beta_create
from anthropic.types.tool_union_param import ToolUnionParam

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.keys.allow_lists import (
    CLIENT_TOOLS,
    ECHOED_MODEL_FIELDS,
    MCP_FIELDS,
    MODEL_FIELDS,
    Policy,
    check_body,
    is_server_tool,
    tools_in,
)

BODIES: tuple[Any, ...] = (
    message_create_params.MessageCreateParamsNonStreaming,
    beta_create.MessageCreateParamsNonStreaming,
    message_count_tokens_params.MessageCountTokensParams,
    beta_count.MessageCountTokensParams,
)
TOOLS: tuple[Any, ...] = (*te.get_args(ToolUnionParam), *te.get_args(beta_tool_union_param.BetaToolUnionParam))
SERVER_TOOLS = {
    "web_search",
    "web_fetch",
    "code_execution",
    "tool_search_tool_bm25",
    "tool_search_tool_regex",
    "advisor",
}
MODEL_TOOL_FIELDS = [path for path in MODEL_FIELDS if not path.startswith("fallbacks")]


@cache
def hints(record: Any) -> dict[str, Any]:
    return te.get_type_hints(record)


def is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__annotations__")


def fields(kind: Any, path: str, above: frozenset[Any] = frozenset()) -> Iterator[tuple[str, str, Any, Any]]:
    """Path, name, type and record of every field that a value of this type can hold, cycles left out."""
    if is_record(kind):
        if kind in above:
            return
        for name, inner in hints(kind).items():
            inside = f"{path}.{name}".removeprefix(".")
            yield inside, name, inner, kind
            yield from fields(inner, inside, above | {kind})
        return
    origin = te.get_origin(kind)
    listed = origin is not None and origin is not Union and origin is not types.UnionType and origin is not te.Literal
    inside = f"{path}.*" if listed else path
    for argument in te.get_args(kind) if origin is not te.Literal else ():
        yield from fields(argument, inside, above)


@cache
def every_field() -> tuple[tuple[str, str, Any, Any], ...]:
    return tuple(found for body in BODIES for found in fields(body, ""))


def names_a_model(name: str, kind: Any) -> bool:
    return "model" in name or ("Literal['claude-" in str(kind) and not is_record(kind))


def body_with(path: str, value: object) -> dict[str, Any]:
    """The smallest body that has the value at the path."""
    built = value
    for step in reversed(path.split(".")):
        built = [built] if step == "*" else {step: built}
    assert isinstance(built, dict)
    return built


def test_finds_every_model_field_of_the_official_types() -> None:
    found = {path for path, name, kind, _ in every_field() if names_a_model(name, kind)}
    # What `str` shows of a list of models holds the models' names too.
    found = {path for path in found if not any(other.startswith(f"{path}.") for other in found)}
    assert found == {"model", *MODEL_FIELDS, *ECHOED_MODEL_FIELDS}


@pytest.mark.parametrize("path", MODEL_FIELDS)
def test_collects_the_model_of_every_field(path: str) -> None:
    assert list(check_body(Policy(), body_with(path, "claude-x"))) == ["claude-x"]


def test_visits_every_tool_of_the_official_types() -> None:
    found = {path.rpartition(".")[0] for path, _, _, record in every_field() if record in TOOLS}
    assert found == {path.rpartition(".")[0] for path in MODEL_TOOL_FIELDS}
    for path in found:
        assert [tool for _, tool in tools_in(body_with(path, {"name": "it"}))] == [{"name": "it"}]


def test_classifies_every_tool_type_of_the_official_types() -> None:
    kinds = {kind for tool in TOOLS for kind in type_values(hints(tool).get("type"))} - {"custom", "mcp_toolset"}
    for kind in kinds:
        stem, _, date = kind.rpartition("_")
        name = stem if date.isdigit() else kind
        assert name in CLIENT_TOOLS | SERVER_TOOLS, f"{kind}: who runs it? See apiproxy/keys/allow_lists.py"
        assert is_server_tool(kind) is (name in SERVER_TOOLS), kind


def type_values(kind: Any) -> set[str]:
    if te.get_origin(kind) is te.Literal:
        return set(te.get_args(kind))
    return {value for argument in te.get_args(kind) for value in type_values(argument)}


def test_visits_every_mcp_url_of_the_official_types() -> None:
    found = {path for path, name, _, record in every_field() if name == "url" and "MCP" in record.__name__}
    assert found == set(MCP_FIELDS)
    for path in found:
        with pytest.raises(ProxyError) as refused:
            check_body(Policy(mcp_hosts=[("good.example",)]), body_with(path, "https://evil.example/mcp"))
        assert refused.value.kind is FailureKind.FORBIDDEN
