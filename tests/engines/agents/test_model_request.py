"""Requests that the relay passes on, and those that it refuses."""

from typing import Any

import pytest

from apiproxy.engines.agents.model_request import CallRefusedError, named_sources
from tests.engines.agents.support import MODEL, body, request_of

IMAGE_URL = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
FILE = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}


def asking(*blocks: dict[str, Any]) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(blocks)}])


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (body(model="claude-other"), "model"),
        (body(model=[MODEL]), "model"),
        (body(fallbacks=[{"model": "claude-other"}]), "request"),
        (body(mcp_servers=[{"type": "url", "url": "https://evil.example"}]), "request"),
        (body(container="container_1"), "request"),
        (body(context_management={"edits": [{"type": "compact_20260112"}]}), "request"),
        (body(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]), "request"),
        (body(tools=[{"type": "code_execution_20250825", "name": "code_execution"}]), "request"),
        (body(tools=["x"]), "request"),
        (body(tools={"type": "web_search_20250305"}), "request"),
        (body(max_tokens=0), "request"),
        (body(max_tokens=True), "request"),
        (asking(IMAGE_URL), "request"),
        (asking(FILE), "request"),
        (asking({"type": "container_upload", "file_id": "file_1"}), "request"),
        (asking({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE_URL]}), "request"),
        (asking({"type": "document", "source": {"type": "content", "content": [IMAGE_URL]}}), "request"),
        (body(system=[IMAGE_URL]), "request"),
    ],
)
def test_refuse_request(given: dict[str, Any], kind: str) -> None:
    with pytest.raises(CallRefusedError) as refused:
        request_of(given)
    assert refused.value.kind == kind


def test_allow_sources_that_the_client_named() -> None:
    given = asking(IMAGE_URL, FILE)
    request_of(given, sources=named_sources(given))


def test_allow_what_the_cli_sends() -> None:
    tool = {"name": "Bash", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    given = asking(result, image) | {
        "tools": [tool],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "metadata": {"user_id": "u"},
        "temperature": 1,
        "output_config": {"effort": "high"},
    }
    assert request_of(given).stream


def test_measure_highest_cost() -> None:
    request = request_of(body("x" * 1_000, max_tokens=1_000))

    assert request.base_micro_usd is not None
    assert request.most_micro_usd is not None
    assert request.base_micro_usd > 1_000 * 3
    assert request.most_micro_usd - request.base_micro_usd == pytest.approx(15_000, abs=2)


def test_count_tokens_needs_no_max_tokens() -> None:
    given = body()
    del given["max_tokens"]
    request_of(given, counting=True)
    with pytest.raises(CallRefusedError):
        request_of(given)


def test_name_field_without_price() -> None:
    assert request_of(body(speed="fast")).unpriced == "speed"
