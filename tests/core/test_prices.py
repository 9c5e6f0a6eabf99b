"""Usage shapes and their cost, calculated by hand from the official price list (docs/prices.md has the same table).

Prices: https://platform.claude.com/docs/en/about-claude/pricing and
https://platform.claude.com/docs/en/build-with-claude/fast-mode, read on 2026-11-27. Shapes: `beta_usage.py` and
`beta_iterations_usage.py` of the types of `anthropic` 2.12.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from apiproxy.catalog import Catalog
from apiproxy.core.events import Usage
from apiproxy.core.prices import Prices
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.engines.stream.usage import UsageFold

pytestmark = pytest.mark.django_db

MILLION = 1_000_000
NEW_SEARCH = {"tools": [{"type": "web_search_20260318", "name": "web_search"}]}


def hour(tokens: int) -> dict[str, Any]:
    parts = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": tokens}
    return {"cache_creation_input_tokens": tokens, "cache_creation": parts}


def entry(kind: str, read: int, written: int, **more: Any) -> dict[str, Any]:
    counts = {"input_tokens": read, "output_tokens": written}
    return {"type": kind, **counts, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, **more}


# Label, model, usage, USD, and the sum as docs/prices.md shows it.
PRICED: list[tuple[str, str, dict[str, Any], float, str]] = [
    (
        "tokens",
        "claude-opus-5-5",
        {"input_tokens": 10_000, "output_tokens": 2_000},
        0.08,
        "10,000 × 4 + 2,000 × 20",
    ),
    (
        "five-minute cache",
        "claude-sonnet-4-5",
        {"cache_creation_input_tokens": MILLION, "cache_read_input_tokens": MILLION, "output_tokens": 0},
        4.05,
        "1 M × 3.75 + 1 M × 0.30",
    ),
    (
        "one-hour cache",
        "claude-opus-5-5",
        {"input_tokens": 10, "output_tokens": 10, **hour(MILLION)},
        8.00024,
        "1 M × 8 + 10 × 4 + 10 × 20",
    ),
    (
        "both caches",
        "claude-sonnet-5-5",
        {
            "cache_creation_input_tokens": 300_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 100_000, "ephemeral_1h_input_tokens": 200_000},
        },
        1.05,
        "100,000 × 2.50 + 200,000 × 4",
    ),
    (
        "fast mode",
        "claude-opus-5-5",
        {"input_tokens": 100_000, "output_tokens": 1_000, "speed": "fast"},
        0.84,
        "2 × (100,000 × 4 + 1,000 × 20)",
    ),
    (
        "fast mode with a cache of an hour",
        "claude-fable-5-2",
        {"input_tokens": 0, "output_tokens": 0, "speed": "fast", **hour(100_000)},
        3.2,
        "2 × 100,000 × 16",
    ),
    (
        "inference in the US",
        "claude-opus-4-6",
        {"input_tokens": 100_000, "output_tokens": 10_000, "inference_geo": "us"},
        0.825,
        "1.1 × (100,000 × 5 + 10,000 × 25)",
    ),
    (
        "fast mode in the US",
        "claude-opus-5",
        {"input_tokens": 100_000, "output_tokens": 0, "speed": "fast", "inference_geo": "us"},
        1.1,
        "2 × 1.1 × 100,000 × 5",
    ),
    (
        "batch",
        "claude-haiku-4-5",
        {"input_tokens": 100_000, "output_tokens": 10_000, "service_tier": "batch"},
        0.075,
        "0.5 × (100,000 × 1 + 10,000 × 5)",
    ),
    (
        "standard words",
        "claude-haiku-4-5",
        {"input_tokens": 100_000, "speed": "standard", "inference_geo": "not_available", "service_tier": "standard"},
        0.1,
        "100,000 × 1",
    ),
    (
        "prompt above 100,000 tokens",
        "claude-haiku-5-5",
        {"input_tokens": 60_000, "cache_read_input_tokens": 40_001, "output_tokens": 1_000},
        0.03450005,
        "60,000 × 0.50 + 40,001 × 0.05 + 1,000 × 2.50",
    ),
    (
        "web search and fetch",
        "claude-sonnet-5-5",
        {
            "input_tokens": 5_000,
            "output_tokens": 0,
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9},
        },
        0.04,
        "5,000 × 2 + 3 × 0.01 + 9 × 0",
    ),
    (
        "compaction",
        "claude-opus-5-5",
        {
            "input_tokens": 23_000,
            "output_tokens": 1_000,
            "iterations": [entry("compaction", 180_000, 3_500), entry("message", 23_000, 1_000)],
        },
        0.902,
        "180,000 × 4 + 3,500 × 20 + 23,000 × 4 + 1,000 × 20",
    ),
    (
        "advisor",
        "claude-haiku-5-5",
        {
            "input_tokens": 1_000,
            "output_tokens": 500,
            "iterations": [
                entry("message", 1_000, 200),
                entry("advisor_message", 2_000, 1_600, model="claude-opus-5-5"),
                entry("message", 0, 300),
            ],
        },
        0.04035,
        "1,000 × 0.10 + 500 × 0.50 (Haiku) + 2,000 × 4 + 1,600 × 20 (Opus)",
    ),
    (
        "fallback",
        "claude-fable-5-2",
        {
            "input_tokens": 10_000,
            "output_tokens": 500,
            "iterations": [
                entry("message", 10_000, 0, model="claude-fable-5-2"),
                entry("fallback_message", 10_000, 500, model="claude-opus-4-8"),
            ],
        },
        0.1425,
        "10,000 × 8 (Fable 5.2) + 10,000 × 5 + 500 × 25 (Opus 4.8)",
    ),
    (
        "totals above the entries",
        "claude-opus-5-5",
        {"input_tokens": 5_000, "output_tokens": 1_000, "iterations": [entry("message", 1_000, 1_000)]},
        0.04,
        "1,000 × 4 + 1,000 × 20 + the other 4,000 × 4",
    ),
]


@pytest.fixture
def catalog() -> Catalog:
    catalog = Catalog(QueryGuard())
    async_to_sync(catalog.resolve)("opus")
    return catalog


def told(usage: object) -> Usage:
    fold = UsageFold()
    fold.add(usage)
    return fold.usage()


@pytest.mark.parametrize(("model", "usage", "usd"), [case[1:4] for case in PRICED], ids=[case[0] for case in PRICED])
def test_price_usage_shape(catalog: Catalog, model: str, usage: dict[str, Any], usd: float) -> None:
    priced = catalog.priced(model, told(usage))

    assert priced.cost_usd == pytest.approx(usd, abs=1e-12)
    assert priced.unpriced == ()


def test_show_every_calculation_in_the_docs() -> None:
    lines = (Path(__file__).resolve().parents[2] / "docs" / "prices.md").read_text(encoding="utf-8").splitlines()

    for label, model, _, usd, calculation in PRICED:
        shown = f"{usd:.8f}".rstrip("0")
        assert f"| {label} | `{model}` | {calculation} | {shown} |" in lines


@pytest.mark.parametrize(
    ("model", "usage", "usd", "unpriced"),
    [
        ("claude-opus-4-6", {"input_tokens": 100_000, "speed": "fast"}, 0.5, ("speed=fast",)),
        ("claude-opus-5-5", {"input_tokens": 100_000, "speed": "turbo"}, 0.4, ("speed=turbo",)),
        ("claude-opus-5-5", {"input_tokens": 100_000, "inference_geo": "eu"}, 0.4, ("inference_geo=eu",)),
        ("claude-haiku-4-5", {"input_tokens": 100_000, "inference_geo": "us"}, 0.1, ("inference_geo=us",)),
        ("claude-opus-5-5", {"input_tokens": 100_000, "service_tier": "priority"}, 0.4, ("service_tier=priority",)),
        (
            "claude-opus-5-5",
            {"input_tokens": 100_000, "server_tool_use": {"web_search_requests": 1, "video_requests": 2}},
            0.41,
            ("server_tool_use.video_requests",),
        ),
        (
            "claude-opus-5-5",
            {"input_tokens": 100_000, "iterations": [entry("advisor_message", 1, 1, model="claude-next")]},
            0.4,
            ("model=claude-next",),
        ),
        (
            "claude-opus-5-5",
            {"input_tokens": 100_000, "iterations": [entry("message", 100_000, 0), entry("planning", 100_000, 0)]},
            0.8,
            ("iterations.planning",),
        ),
        ("claude-opus-5-5", {"input_tokens": 100_000, "audio_input_tokens": 7}, 0.4, ("audio_input_tokens",)),
        ("claude-opus-5-5", {"input_tokens": 100_000, "storage": {"bytes": 7}}, 0.4, ("storage",)),
        (
            "claude-opus-5-5",
            {"cache_creation_input_tokens": 9_000, "cache_creation": {"ephemeral_24h_input_tokens": 9_000}},
            0.072,
            ("cache_creation.ephemeral_24h_input_tokens",),
        ),
    ],
)
def test_mark_usage_that_has_no_price(
    catalog: Catalog, model: str, usage: dict[str, Any], usd: float, unpriced: tuple[str, ...]
) -> None:
    priced = catalog.priced(model, told(usage))

    assert priced.cost_usd == pytest.approx(usd)
    assert priced.unpriced == unpriced
    assert priced.partly_unpriced


def test_mark_usage_of_a_model_without_prices(catalog: Catalog) -> None:
    priced = catalog.priced("claude-next", told({"input_tokens": 5}))

    assert (priced.cost_usd, priced.unpriced, priced.partly_unpriced) == (None, ("model=claude-next",), False)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"audio_input_tokens": 0},
        {"output_tokens_details": {"thinking_tokens": 5}},
        {"fallback_credit": {"status": {"type": "redeemed", "shifted_tokens": 5}}},
        {"iterations": None, "server_tool_use": None, "cache_creation": None, "speed": None, "later": True},
        {"later": "a word"},
    ],
)
def test_leave_usage_priced_without_billed_counts(catalog: Catalog, more: dict[str, Any]) -> None:
    priced = catalog.priced("claude-opus-5-5", told({"input_tokens": 100_000, "output_tokens": 5, **more}))

    assert priced.cost_usd == pytest.approx(0.4001)
    assert priced.unpriced == ()


@pytest.mark.parametrize("block", ["code_execution", "bash_code_execution", "text_editor_code_execution"])
def test_charge_executed_code_by_the_container_hour(catalog: Catalog, block: str) -> None:
    fold = UsageFold()
    fold.add({"input_tokens": 100_000, "output_tokens": 0})
    fold.block({"type": "server_tool_use", "name": block, "id": "srvtoolu_1", "input": {}})
    used = fold.usage()

    assert catalog.priced("claude-opus-5-5", used).cost_usd == pytest.approx(0.45)
    assert catalog.priced("claude-opus-5-5", used, body=NEW_SEARCH).cost_usd == pytest.approx(0.4)


def test_price_a_long_prompts_output_by_its_own_factor() -> None:
    prices = Prices(
        input=Decimal(3),
        output=Decimal(15),
        cache_write=Decimal("3.75"),
        cache_write_1h=Decimal(6),
        cache_read=Decimal("0.3"),
        long_prompt_above=200_000,
        long_prompt_factor=Decimal(2),
        long_prompt_output_factor=Decimal("1.5"),
    )

    assert prices.cost(Usage(input_tokens=200_000, output_tokens=1_000)) == pytest.approx(0.615)
    assert prices.cost(Usage(input_tokens=200_001, output_tokens=1_000)) == pytest.approx(1.222506)


def test_later_figures_replace_earlier_ones(catalog: Catalog) -> None:
    fold = UsageFold()
    fold.add({"input_tokens": 5, "output_tokens": 1, "speed": "fast", **hour(100)})
    fold.add({"output_tokens": 7, "input_tokens": None, "cache_creation_input_tokens": 150})
    used = fold.usage()

    assert (used.input_tokens, used.output_tokens, used.speed) == (5, 7, "fast")
    assert (used.cache_creation_input_tokens, used.cache_creation_1h_input_tokens) == (150, 150)
