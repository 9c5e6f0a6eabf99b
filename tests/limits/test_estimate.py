"""Estimates of a request's usage from its body."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.catalog import ResolvedModel
from apiproxy.core.input_estimate import input_estimate
from apiproxy.core.limits import KeyLimits
from apiproxy.core.prices import Prices
from apiproxy.limits.estimate import default_max_tokens, estimated_usage, input_tokens, max_usage
from apiproxy.standin.usage import count_tokens

MODEL = ResolvedModel(
    id="m",
    max_output_tokens=1000,
    prices=Prices(
        input=Decimal(3),
        output=Decimal(15),
        cache_write=Decimal("3.75"),
        cache_read=Decimal("0.3"),
        cache_write_1h=Decimal(6),
    ),
)

LONG = "A" * 100_000
TRAPS = ["type", "source", "content", "input", "data", "text", "image", "document", "tool_result"]


def body(content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 100, **fields}


@given(
    st.recursive(
        st.text() | st.none() | st.integers() | st.booleans(),
        lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids),
        max_leaves=30,
    )
)
def test_any_body_has_an_estimate(content: Any) -> None:
    assert input_tokens(body(content, system=content, tools=content)) > 0


@given(st.text(max_size=500), st.text(max_size=500))
def test_estimate_at_least_the_stand_ins_count(prompt: str, system: str) -> None:
    asked = body([{"type": "text", "text": prompt}], system=system)
    assert input_tokens(asked) >= count_tokens(asked)


ANY_JSON = st.recursive(
    st.text() | st.none() | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.floats(allow_nan=False, width=32),
    lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids) | st.dictionaries(st.sampled_from(TRAPS), kids),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), ANY_JSON), ANY_JSON)
def test_count_every_byte_of_any_field(fields: dict[str, Any], content: Any) -> None:
    asked = body([{"type": "tool_use", "input": content}, {"type": "text", "text": content}], **fields)
    try:
        size = len(orjson.dumps(asked))
    except TypeError:  # lone surrogates
        return
    assert input_tokens(asked) >= min(size, 1_000_000)


@pytest.mark.parametrize(
    "trap",
    [
        {"type": "image", "text": LONG},
        {"type": "image", "source": {"type": "base64", "data": LONG}},
        {"type": "document", "source": {"type": "base64", "data": LONG}},
    ],
)
@pytest.mark.parametrize("field", ["input", "schema", "unknown", "metadata"])
def test_count_what_only_looks_like_an_image(field: str, trap: dict[str, Any]) -> None:
    bodies = {
        "input": body([{"type": "tool_use", "id": "t", "name": "t", "input": trap}]),
        "schema": body("hi", tools=[{"name": "t", "input_schema": {"x": [trap]}}]),
        "unknown": body("hi", later=trap),
        "metadata": body("hi", metadata=trap),
    }
    assert input_tokens(bodies[field]) >= len(LONG)


@pytest.mark.parametrize("place", ["message", "system", "result", "document"])
def test_count_an_image_where_blocks_are_read(place: str) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": LONG}}
    bodies = {
        "message": body([image]),
        "system": body("hi", system=[image]),
        "result": body([{"type": "tool_result", "tool_use_id": "t", "content": [image]}]),
        "document": body([{"type": "document", "source": {"type": "content", "content": [image]}}]),
    }
    assert 5_000 <= input_tokens(bodies[place]) < 6_000


@pytest.mark.parametrize(
    "source", [{"type": "base64", "data": "JVBERi0="}, {"type": "url", "url": "https://a.b"}, {"type": "file"}, {}]
)
def test_count_an_unseen_document_for_the_whole_window(source: dict[str, str]) -> None:
    asked = body([{"type": "document", "source": source}])
    assert input_tokens(asked, context_window=200_000) == 200_000
    assert input_estimate(asked, context_window=200_000).usual < 25_000


@pytest.mark.parametrize(
    "fields",
    [
        {"mcp_servers": [{"url": "https://a.b"}]},
        {"thread": {"type": "continue"}},
        {"container": "c"},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "later_20300101", "name": "later"}]},
    ],
)
def test_count_what_the_upstream_reads_by_itself(fields: dict[str, Any]) -> None:
    assert input_tokens(body("hi", **fields), context_window=200_000) == 200_000


@pytest.mark.parametrize("kind", [None, "custom", "bash_20250124", "text_editor_20250728", "computer_20251124"])
def test_count_a_client_tool_by_its_bytes(kind: str | None) -> None:
    tool = {"name": "t"} | ({} if kind is None else {"type": kind})
    assert input_tokens(body("hi", tools=[tool]), context_window=200_000) < 1_000


@pytest.mark.parametrize("text", ["word " * 2_000, "\U0001f600" * 2_500, "7" * 10_000, "\n" * 10_000, '"' * 10_000])
def test_count_a_token_for_every_byte_of_text(text: str) -> None:
    estimate = input_estimate(body(text))
    assert estimate.most >= len(text.encode())
    assert estimate.most // 2 <= estimate.usual <= estimate.most // 2 + 100


@pytest.mark.parametrize("cached", ["block", "tool", "system", "request"])
def test_charge_an_untold_cached_prompt_as_written(cached: str) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    bodies = {
        "block": body([{"type": "text", "text": "x", **mark}]),
        "tool": body("x", tools=[{"name": "t", **mark}]),
        "system": body("x", system=[{"type": "text", "text": "x", **mark}]),
        "request": body("x", **mark),
    }
    usage = estimated_usage(bodies[cached], MODEL)
    assert usage.input_tokens == 0
    assert usage.cache_creation_input_tokens == input_tokens(bodies[cached])
    assert usage.estimated
    assert estimated_usage(body("x"), None).input_tokens == input_tokens(body("x"))


def test_estimate_largest_image_for_any_bytes() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    assert 5_000 <= input_tokens(body([{"type": "image", "source": source}])) < 6_000


def test_estimate_at_most_what_the_model_reads() -> None:
    assert input_tokens(body("x" * 1_000_000), context_window=200_000) == 200_000


def test_estimate_cost_of_longest_answer_and_cached_prompt() -> None:
    asked = body("x" * 1_000)
    tokens, micro_usd = max_usage(asked, MODEL)
    assert tokens == input_estimate(asked).usual + 100
    assert micro_usd == pytest.approx(input_tokens(asked) * 3.75 + 100 * 15, abs=2)


def test_without_a_price_there_is_no_cost() -> None:
    assert max_usage(body("hi"), ResolvedModel(id="m", max_output_tokens=1))[1] is None


@pytest.mark.parametrize(("limit", "default"), [(None, 1000), (100_000, 1000), (1000, 500), (1, 1)])
def test_cap_default_max_tokens_at_half_of_token_limit(limit: int | None, default: int) -> None:
    assert default_max_tokens(KeyLimits(tokens_per_minute=limit), MODEL) == default


@pytest.mark.parametrize("text", ["é" * 400_000, 'a"😀\n' * 150_000, "\ud800" * 300_000])
def test_count_every_byte_of_a_long_text(text: str) -> None:
    fixed = input_tokens({"x": ""}, context_window=10**7)
    size = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    escapes = 3 * text.count("\ud800")  # six characters in place of three bytes
    assert input_tokens({"x": text}, context_window=10**7) - fixed == size - 2 + escapes
