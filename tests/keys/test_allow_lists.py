"""Allow-lists applied to bodies and betas."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.dialects.anthropic.parse import MAX_BETA_CHARS, MAX_BETAS, beta_names
from apiproxy.keys.allow_lists import MAX_MODELS, Policy, check_betas, check_body, matches_name

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def refusal(call: Callable[[], object]) -> ProxyError:
    with pytest.raises(ProxyError) as refused:
        call()
    return refused.value


def added(tool: dict[str, Any]) -> dict[str, Any]:
    block = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": [block]}]}


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        *[("web_search_20250305", True), ("web_search_20991231", True), ("code_execution_20250825", False)],
        *[("advisor_20260301", False), ("brand_new_20270101", False), ("bash_20250124_x", False), (7, False)],
        *[(None, True), ("custom", True), ("bash_20250124", True), ("memory_20250818", True), ("mcp_toolset", True)],
        *[("computer_toolset_20260801", True), ("text_editor_20250728", True), ("bash_code_execution_20250101", False)],
    ],
)
def test_allows_server_tools_of_the_list_alone(kind: object, allowed: bool) -> None:
    body = {"tools": [{"name": "it", "type": kind}]}
    policy = Policy(server_tools=[("web_search*",)])
    if allowed:
        check_body(policy, body)
        return
    refused = refusal(lambda: check_body(policy, body))
    assert (refused.kind, refused.param) == (FailureKind.FORBIDDEN, "tools.0.type")
    assert str(kind if isinstance(kind, str) else "int") in refused.message


def test_narrows_the_global_list_by_the_list_of_the_key() -> None:
    policy = Policy(server_tools=[("web_search*",), ("web_fetch*", "*_20250305")], betas=[(), ("a-*",)])
    check_body(policy, {"tools": [SEARCH]})
    for kind in ("web_search_20260209", "web_fetch_20250910"):
        refused = refusal(partial(check_body, policy, {"tools": [{"type": kind}]}))
        assert refused.kind is FailureKind.FORBIDDEN
    check_betas(policy, ["a-1"])
    assert "`b-1`" in refusal(lambda: check_betas(policy, ["a-1", "b-1"])).message


def test_allows_nothing_where_the_list_is_none() -> None:
    policy = Policy(server_tools=[("none",)], betas=[("none",)], mcp_hosts=[("none",)])
    check_body(policy, {"tools": [{"name": "mine", "input_schema": {}}]})
    bodies: list[dict[str, Any]] = [{"tools": [SEARCH]}, {"tools": [{"type": "none"}]}]
    for body in (*bodies, {"mcp_servers": [{"url": "https://none/"}]}):
        assert refusal(partial(check_body, policy, body)).kind is FailureKind.FORBIDDEN
    assert refusal(lambda: check_betas(policy, ["none"])).kind is FailureKind.FORBIDDEN


def test_checks_tools_that_a_message_adds() -> None:
    refused = refusal(lambda: check_body(Policy(server_tools=[("none",)]), added(SEARCH)))
    assert refused.param == "messages.1.content.0.tool.definition.type"


def test_refuses_models_of_the_upstreams_choice_where_restricted() -> None:
    assert check_body(Policy(), {"fallbacks": "default"}) == {}
    refused = refusal(lambda: check_body(Policy(models=True), {"fallbacks": "default"}))
    assert (refused.kind, refused.param) == (FailureKind.FORBIDDEN, "fallbacks")


@pytest.mark.parametrize("model", [7, "", ["m"], "m" * 257])
def test_refuses_a_model_that_is_no_name(model: object) -> None:
    refused = refusal(lambda: check_body(Policy(), {"tools": [{"model": model}]}))
    assert (refused.kind, refused.param) == (FailureKind.INVALID_REQUEST, "tools.0.model")


def test_refuses_more_different_models_than_the_limit() -> None:
    fallbacks = [{"model": f"m{number}"} for number in range(MAX_MODELS + 1)]
    assert len(check_body(Policy(), {"fallbacks": fallbacks[:-1] * 2})) == MAX_MODELS
    assert refusal(lambda: check_body(Policy(), {"fallbacks": fallbacks})).kind is FailureKind.INVALID_REQUEST


@pytest.mark.parametrize(
    "servers",
    [
        *["text", {"url": "https://good.example"}, [None], [{}], [{"url": 7}], [{"url": "https://good.example.org"}]],
        *[[{"url": "https://good.example"}, {"url": "https://bad.example"}]],
    ],
)
def test_refuses_mcp_servers_that_no_list_covers(servers: object) -> None:
    policy = Policy(mcp_hosts=[("good.example",)])
    check_body(policy, {"mcp_servers": [{"url": "https://GOOD.example:8443/mcp"}]})
    assert refusal(lambda: check_body(policy, {"mcp_servers": servers})).kind is FailureKind.FORBIDDEN


def test_shows_no_more_of_a_name_than_fits_into_an_error() -> None:
    body = {"tools": [{"type": "x" * 10_000_000}]}
    assert len(refusal(lambda: check_body(Policy(server_tools=[("none",)]), body)).message) < 300


@pytest.mark.parametrize("body", [{}, {"tools": 7, "messages": "x"}, {"messages": [7, {"content": [7, {"tool": 7}]}]}])
def test_leaves_what_is_no_body_to_others(body: dict[str, Any]) -> None:
    policy = Policy(server_tools=[("none",)], mcp_hosts=[("none",)], models=True)
    assert check_body(policy, body) == {}


WIDE: dict[str, Callable[[int], dict[str, Any]]] = {
    "tools": lambda n: {"tools": [{"type": "web_search_1", "model": "m"}] * n},
    "fallbacks": lambda n: {"fallbacks": [{"model": "m"}] * n},
    "servers": lambda n: {"mcp_servers": [{"url": "https://a.example"}] * n},
    "blocks": lambda n: {"messages": [{"role": "user", "content": [{"type": "text"}] * n}]},
    "messages": lambda n: {"messages": [{"role": "user", "content": [{"tool": {"definition": {"model": "m"}}}]}] * n},
    "changes": lambda n: {
        "messages": [{"content": [{"tool_changes": [{"tool": {"definition": {"model": "m"}}}] * n}]}]
    },
    "long names": lambda n: {"tools": [{"type": "web" + "_web" * n}], "mcp_servers": [{"url": "https://a" * n}]},
}


@pytest.mark.parametrize("shape", WIDE)
def test_checks_wide_bodies_in_linear_time(shape: str) -> None:
    policy = Policy(server_tools=[("web*_web*1", "web*")], mcp_hosts=[("*.b.example", "a.example")], models=True)

    def seconds(size: int) -> float:
        body = WIDE[shape](size)
        started = time.process_time()
        try:
            check_body(policy, body)
        except ProxyError as error:
            assert error.kind is FailureKind.FORBIDDEN  # noqa: PT017 — a refusal is an answer here, too
        return time.process_time() - started

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(3)) < 20 * small + 0.05


def test_matches_names_with_stars() -> None:
    assert matches_name("web_search*", "web_search_20250305")
    assert matches_name("*", "")
    assert not matches_name("web_search", "web_search_20250305")
    assert not matches_name("a*b*c", "a" * 100_000 + "b" * 100_000)


@pytest.mark.parametrize(
    "given", ["a\x01b", "a\x7f", "caf\xe9", "a\x85b", "a b", "x" * (MAX_BETA_CHARS + 1), "," * 8_000]
)
def test_refuses_betas_that_are_no_names(given: str) -> None:
    refused = refusal(lambda: beta_names(given))
    assert (refused.kind, refused.param) == (FailureKind.INVALID_REQUEST, "anthropic-beta")


def test_reads_betas_up_to_their_limits() -> None:
    assert beta_names(None) == ()
    assert beta_names(" a-1 ,,\tb-2") == ("a-1", "b-2")
    assert len(beta_names(",".join(["b"] * MAX_BETAS))) == MAX_BETAS
    assert refusal(lambda: beta_names(",".join(["b"] * (MAX_BETAS + 1)))).kind is FailureKind.INVALID_REQUEST
