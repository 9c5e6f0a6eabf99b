"""Amounts reserved for runs of agents."""

from dataclasses import replace
from decimal import Decimal

import pytest

from apiproxy.catalog import CatalogModel
from apiproxy.core.agents import AgentSpec
from apiproxy.core.limits import KeyLimits
from apiproxy.core.prices import Prices
from apiproxy.limits.agent_estimate import max_agent_usage
from tests.support.agents import agent_spec

PRICES = Prices(
    input=Decimal(3),
    output=Decimal(15),
    cache_write=Decimal("3.75"),
    cache_write_1h=Decimal(6),
    cache_read=Decimal("0.3"),
)
MODEL = CatalogModel(
    id="m",
    max_output_tokens=10_000,
    prices=PRICES,
    display_name="M",
    family="sonnet",
    lifecycle="active",
    created_at=None,
    retires_at=None,
    context_window=200_000,
)
BODY = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1_000}
UNLIMITED = KeyLimits()


def reserved(
    agent: AgentSpec, model: CatalogModel | None = MODEL, limits: KeyLimits = UNLIMITED
) -> tuple[int, int | None]:
    return max_agent_usage(agent, BODY, model, limits)


def test_reserve_budget_of_agent() -> None:
    _, micro_usd = reserved(agent_spec(budget_usd=Decimal("0.031")))

    assert micro_usd == 31_000


def test_reserve_full_windows_without_budget() -> None:
    _, micro_usd = reserved(agent_spec(budget_usd=None, max_calls=4))

    each = 200_000 * Decimal(6) + 10_000 * Decimal(15)  # in micro-USD: prices are per million
    assert micro_usd is not None
    assert 4 * each <= micro_usd <= 4 * each + 4


@pytest.mark.parametrize("model", [None, replace(MODEL, prices=None)])
def test_know_no_cost_without_price(model: CatalogModel | None) -> None:
    assert reserved(agent_spec(), model)[1] is None


def test_reserve_tokens_of_every_call() -> None:
    tokens, _ = reserved(agent_spec(max_calls=5, system="s" * 4_000))

    assert 5 * (1_000 + 2_000) <= tokens <= 5 * (1_000 + 2_200)


def test_reserve_at_most_half_of_tokens_per_minute() -> None:
    assert reserved(agent_spec(max_calls=50), limits=KeyLimits(tokens_per_minute=20_000))[0] == 10_000


def test_reserve_tokens_of_one_call_at_least() -> None:
    tokens, _ = reserved(agent_spec(max_calls=50), limits=KeyLimits(tokens_per_minute=100))

    assert 1_000 < tokens < 1_200
