"""Server tools that a key may use, by allow-lists, platform, model and prices."""

from decimal import Decimal
from typing import Any

import pytest

from apiproxy.catalog import ResolvedModel
from apiproxy.conf import CredentialKind
from apiproxy.core.limits import KeyLimits, Period
from apiproxy.core.prices import WEB_SEARCH, Prices
from apiproxy.dialects.openai.server_tool_offer import server_tool_offer
from apiproxy.dialects.openai.translate.server_tools import ServerToolOffer
from apiproxy.keys.allow_lists import Policy

ONE = Decimal(1)
UNPRICED = Prices(input=ONE, output=ONE, cache_write=ONE, cache_read=ONE, cache_write_1h=ONE)
PRICED = Prices(input=ONE, output=ONE, cache_write=ONE, cache_read=ONE, cache_write_1h=ONE, tools={WEB_SEARCH: ONE})
BUDGET = KeyLimits(budgets={Period.DAY: 1})


def offer(
    policy: Policy | None = None,
    *,
    platform: CredentialKind = "api_key",
    prices: Prices | None = PRICED,
    limits: KeyLimits | None = None,
    allow_unpriced: bool = False,
) -> ServerToolOffer:
    return server_tool_offer(
        policy or Policy(),
        platform=platform,
        model=ResolvedModel(id="m", max_output_tokens=1, prices=prices),
        limits=limits or KeyLimits(),
        allow_unpriced=allow_unpriced,
    )


def test_offer_everything_by_default() -> None:
    assert offer() == ServerToolOffer()


@pytest.mark.parametrize(
    ("lists", "search", "available"),
    [
        ([("web_search*",)], "web_search_20250305", True),
        ([("web_search_20260209",)], "web_search_20260209", True),
        ([(), ("web_search_20260318", "web_fetch*")], "web_search_20260318", True),
        ([("web_fetch*",)], "web_search_20250305", False),
        ([("none",)], "web_search_20250305", False),
        ([("web_search_20250305",), ("web_search_20260209",)], "web_search_20250305", False),
    ],
)
def test_search_within_the_allow_lists(lists: Any, search: str, available: bool) -> None:
    found = offer(Policy(server_tools=lists))
    assert (found.search, not found.no_search) == (search, available)


@pytest.mark.parametrize(
    ("betas", "chosen"),
    [
        ((), "mcp-client-2026-09-15"),
        (("mcp-client-2025-11-20",), "mcp-client-2025-11-20"),
        (("mcp-client-*",), "mcp-client-2026-09-15"),
        (("none",), "mcp-client-2026-09-15"),
    ],
)
def test_choose_the_newest_allowed_beta(betas: tuple[str, ...], chosen: str) -> None:
    assert offer(Policy(betas=[betas])).mcp_beta == chosen


def test_follow_what_the_platform_has() -> None:
    bedrock, vertex, foundry = offer(platform="bedrock"), offer(platform="vertex"), offer(platform="foundry")
    assert bedrock.no_search
    assert bedrock.no_mcp
    assert (vertex.no_search, vertex.search_betas) == ("", ("web-search-2025-03-05",))
    assert vertex.no_mcp
    assert (foundry.no_search, foundry.no_mcp, foundry.mcp_beta) == ("", "", "mcp-client-2025-11-20")
    newest = Policy(server_tools=[("web_search_20260318",)])
    assert offer(newest, platform="vertex").no_search
    assert offer(Policy(betas=[("none",)]), platform="vertex").no_search


@pytest.mark.parametrize(
    ("prices", "limits", "allow_unpriced", "available"),
    [
        (UNPRICED, KeyLimits(), False, True),
        (UNPRICED, BUDGET, False, False),
        (UNPRICED, BUDGET, True, True),
        (PRICED, BUDGET, False, True),
        (None, BUDGET, False, True),  # such a request is rejected for its model
    ],
)
def test_leave_out_a_search_that_the_budget_rejects(
    prices: Prices | None, limits: KeyLimits, allow_unpriced: bool, available: bool
) -> None:
    assert (not offer(prices=prices, limits=limits, allow_unpriced=allow_unpriced).no_search) is available
