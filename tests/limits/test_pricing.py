"""Maximum cost of a body, and its fields without a price."""

from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest
from anthropic.types.beta import BetaToolUnionParam

from apiproxy.core.prices import Prices, PriceTable
from apiproxy.core.pricing import max_micro_usd, unpriced_fields

FEES = {"web_search_requests": "0.01", "web_fetch_requests": "0", "code_execution_requests": "0.05"}


def prices(read: int, written: int, **more: Any) -> Prices:
    tools = {name: Decimal(fee) for name, fee in FEES.items()}
    return Prices(
        input=Decimal(read),
        output=Decimal(written),
        cache_write=Decimal(read) * Decimal("1.25"),
        cache_write_1h=Decimal(read) * 2,
        cache_read=Decimal(read) / 10,
        tools=tools,
        **more,
    )


OWN = prices(4, 20, speeds={"fast": Decimal(2)}, geos={"us": Decimal("1.1")}, tiers={"batch": Decimal("0.5")})
DEAR = prices(10, 50)
TABLE = PriceTable(of={"dear": DEAR, "own": OWN}.get, all=lambda: [DEAR, OWN])
WRITTEN = 0.05 + 0.02
"""10,000 tokens written to the five-minute cache at 5 USD per million, and 1,000 tokens of output at 20."""
HOUR = {"type": "ephemeral", "ttl": "1h"}


def text(**fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": "x", **fields}


def _literals(hint: Any) -> set[str]:
    """The strings in a type such as `Optional[Literal["custom"]]`."""
    return {hint} if isinstance(hint, str) else {text for part in get_args(hint) for text in _literals(part)}


def tool(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "name": "t", **fields}


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        ({}, WRITTEN),
        ({"cache_control": {"type": "ephemeral"}}, WRITTEN),
        ({"cache_control": HOUR}, 0.08 + 0.02),
        ({"system": [text(cache_control=HOUR)]}, 0.1),
        ({"tools": [tool("custom", cache_control=HOUR)]}, 0.1),
        ({"messages": [{"role": "user", "content": [text(cache_control=HOUR)]}]}, 0.1),
        ({"messages": [{"content": [{"type": "tool_result", "content": [text(cache_control=HOUR)]}]}]}, 0.1),
        ({"speed": "fast"}, 2 * WRITTEN),
        ({"speed": "fast", "inference_geo": "us"}, 2.2 * WRITTEN),
        ({"speed": "unknown"}, WRITTEN),
        ({"service_tier": "batch"}, WRITTEN),
        ({"tools": [tool("web_search_20250305", max_uses=3)]}, WRITTEN + 0.03),
        ({"tools": [tool("web_search_20250305")]}, WRITTEN + 0.1),
        ({"tools": [tool("web_fetch_20250910")]}, WRITTEN),
        ({"tools": [tool("code_execution_20250825")]}, WRITTEN + 0.05),
        ({"tools": [tool("code_execution_20250825"), tool("web_fetch_20260209")]}, WRITTEN),
        ({"fallbacks": [{"model": "dear"}]}, 0.125 + 0.05),
        ({"fallbacks": [{"model": "own", "speed": "fast", "max_tokens": 2_000}]}, 2 * (0.05 + 0.04)),
        ({"fallbacks": "default"}, 0.125 + 0.05),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, 2 * WRITTEN),
        ({"compaction": {"type": "summarize"}}, 2 * WRITTEN),
        # The advisor reads 5,000 tokens and the answer so far, and writes 100.
        (
            {"tools": [tool("advisor_20260301", model="dear", max_uses=2, max_tokens=100)]},
            WRITTEN + 2 * (0.075 + 0.005),
        ),
        ({"tools": [tool("advisor_20260301", model="dear")]}, WRITTEN + 3 * (0.075 + 0.2048)),
    ],
)
def test_reserve_the_dearest_that_a_body_allows(body: dict[str, Any], usd: float) -> None:
    most = max_micro_usd(body, OWN, input_tokens=10_000, advisor_tokens=5_000, output_tokens=1_000, table=TABLE)

    assert most == pytest.approx(usd * 1_000_000, abs=2)


def test_reserve_priority_where_the_tier_is_left_open() -> None:
    dearer = prices(4, 20, tiers={"priority": Decimal(3)})

    def most(body: dict[str, Any]) -> int:
        return max_micro_usd(body, dearer, input_tokens=10_000, advisor_tokens=0, output_tokens=1_000)

    assert most({}) == pytest.approx(3 * WRITTEN * 1_000_000, abs=2)
    assert most({"service_tier": "standard_only"}) == pytest.approx(WRITTEN * 1e6, abs=2)


def test_price_every_tool_of_the_official_types() -> None:
    kinds = {kind for param in get_args(BetaToolUnionParam) for kind in _literals(get_type_hints(param).get("type"))}
    bodies = [{"tools": [tool(kind)]} for kind in sorted(kinds)] + [{"tools": [{"name": "t"}]}]

    assert {"custom", "advisor_20260301", "mcp_toolset"} < kinds
    assert [unpriced_fields(body, OWN, TABLE) for body in bodies] == [[]] * len(bodies)


@pytest.mark.parametrize(
    "body",
    [
        {"speed": None, "inference_geo": None, "service_tier": None, "tools": None, "fallbacks": None},
        {"speed": "standard", "inference_geo": "global", "service_tier": "auto"},
        {"service_tier": "standard_only", "fallbacks": "default"},
        {"tools": "none", "fallbacks": 7, "messages": {}, "system": [1], "context_management": []},
    ],
)
def test_let_bodies_pass_that_have_a_price(body: dict[str, Any]) -> None:
    assert unpriced_fields(body, OWN, TABLE) == []
    assert max_micro_usd(body, OWN, input_tokens=1, advisor_tokens=1, output_tokens=1, table=TABLE) > 0


@pytest.mark.parametrize("value", [5, True, ["fast"], {"a": 1}, "later"])
def test_name_fields_of_any_kind_without_a_price(value: Any) -> None:
    body = {"speed": value, "inference_geo": value, "service_tier": value, "tools": [tool("custom"), {"type": value}]}
    body |= {"fallbacks": [{"model": value}], "cache_control": {"ttl": value}}

    found = unpriced_fields(body, OWN, TABLE)

    assert found == [
        *("speed", "inference_geo", "service_tier", "tools.1.type", "fallbacks.0.model", "cache_control.ttl"),
    ]
    assert max_micro_usd(body, OWN, input_tokens=1, advisor_tokens=1, output_tokens=1, table=TABLE) > 0
