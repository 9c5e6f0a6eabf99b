"""What a request may use at most, seen from its body."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.catalog import ResolvedModel
from apiproxy.limits.estimate import default_max_tokens, input_tokens, most_used
from apiproxy.limits.values import KeyLimits
from apiproxy.prices import Prices
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
def test_the_estimate_is_not_below_what_the_stand_in_counts(prompt: str, system: str) -> None:
    asked = body([{"type": "text", "text": prompt}], system=system)
    assert input_tokens(asked) >= count_tokens(asked)


def test_an_image_counts_for_the_largest_one_whatever_its_bytes() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    assert 5_000 <= input_tokens(body([{"type": "image", "source": source}])) < 6_000


def test_no_request_has_more_than_the_model_can_read() -> None:
    assert input_tokens(body("x" * 1_000_000), context_window=200_000) == 200_000


def test_the_cost_is_that_of_an_answer_as_long_as_it_may_be_and_of_a_prompt_that_is_cached() -> None:
    asked = body("x" * 1_000)
    tokens, micro_usd = most_used(asked, MODEL)
    assert tokens == input_tokens(asked) + 100
    assert micro_usd == pytest.approx(input_tokens(asked) * 3.75 + 100 * 15, abs=2)


def test_without_a_price_there_is_no_cost() -> None:
    assert most_used(body("hi"), ResolvedModel(id="m", max_output_tokens=1))[1] is None


@pytest.mark.parametrize(("limit", "default"), [(None, 1000), (100_000, 1000), (1000, 500), (1, 1)])
def test_a_request_without_max_tokens_gets_no_more_than_half_of_what_its_key_may_use(
    limit: int | None, default: int
) -> None:
    assert default_max_tokens(KeyLimits(tokens_per_minute=limit), MODEL) == default
