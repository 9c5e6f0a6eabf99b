"""Which models there are, what a name means and what a run costs."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types.model_param import ModelParam
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from pytest_django import DjangoAssertNumQueries, Settings

from apiproxy.catalog import CACHE_TTL_S, DEFAULT_MAX_OUTPUT_TOKENS, Catalog, ResolvedModel, stored_engines
from apiproxy.core.events import Usage
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard
from apiproxy.models import Model
from tests.support.clock import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalog(clock: Clock) -> Catalog:
    return Catalog(QueryGuard(monotonic=clock), monotonic=clock)


def resolve(catalog: Catalog, name: str) -> ResolvedModel:
    return async_to_sync(catalog.resolve)(name)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("opus", "claude-opus-5-5"),
        ("sonnet", "claude-sonnet-5-5"),
        ("haiku", "claude-haiku-5-5"),
        ("fable", "claude-fable-5-2"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-opus-4-8", "claude-opus-4-8"),
    ],
)
def test_resolve_family_name_to_newest_model(catalog: Catalog, name: str, model_id: str) -> None:
    assert resolve(catalog, name).id == model_id


def test_resolve_own_engine_of_model(catalog: Catalog, settings: Settings) -> None:
    Model.objects.filter(pk="claude-opus-5-5").update(engine="http")
    assert resolve(catalog, "opus").engine == "http"
    assert resolve(catalog, "sonnet").engine == "sdk"
    assert resolve(catalog, "claude-unknown").engine == "sdk"
    settings.GATEWAY = replace(settings.GATEWAY, engine="http")
    catalog.forget()
    assert {resolve(catalog, name).engine for name in ("opus", "sonnet", "claude-unknown")} == {"http"}


def test_name_engines_of_enabled_models(catalog: Catalog) -> None:
    Model.objects.filter(pk="claude-opus-5-5").update(engine="http", enabled=False)
    assert async_to_sync(catalog.engines)() == stored_engines() == {"sdk"}
    Model.objects.filter(pk="claude-opus-5-5").update(enabled=True)
    catalog.forget()
    assert async_to_sync(catalog.engines)() == stored_engines() == {"sdk", "http"}


def test_list_every_model_of_official_client_not_retired(catalog: Catalog) -> None:
    literal, _ = get_args(ModelParam)
    retired = set(DEPRECATED_MODELS) - {"claude-sonnet-4-5", "claude-sonnet-4-5-20250929"}
    known = {name for model in async_to_sync(catalog.models)() for name in model.names}
    assert set(get_args(literal)) - retired <= known


def test_list_models_newest_first_and_undated_before(catalog: Catalog) -> None:
    dates = [model.created_at for model in async_to_sync(catalog.models)()]
    unknown = [date for date in dates if date is None]
    known = [date for date in dates if date is not None]
    assert dates == unknown + sorted(known, reverse=True)


def test_pass_unknown_id_through(catalog: Catalog) -> None:
    model = resolve(catalog, "claude-opus-9[1m]")
    assert model.id == "claude-opus-9[1m]"
    assert model.max_output_tokens == DEFAULT_MAX_OUTPUT_TOKENS
    assert model.prices is None
    assert model.names == {"claude-opus-9[1m]"}
    assert model.enabled


def test_prefer_operators_aliases(catalog: Catalog, settings: Settings) -> None:
    aliases = {"opus": "claude-opus-4-8", "fast": "haiku", "lab": "claude-lab-1"}
    settings.GATEWAY = replace(settings.GATEWAY, model_aliases=aliases)
    assert resolve(catalog, "opus").id == "claude-opus-4-8"
    assert resolve(catalog, "fast").id == "claude-haiku-5-5"
    assert resolve(catalog, "lab").id == "claude-lab-1"
    assert "fast" in resolve(catalog, "claude-haiku-5-5").names
    assert resolve(catalog, "lab").names == {"lab", "claude-lab-1"}


def test_resolve_known_name_without_query(catalog: Catalog, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):  # models and agents
        resolve(catalog, "opus")
    with django_assert_num_queries(0):
        resolve(catalog, "sonnet")
        resolve(catalog, "claude-unknown")


def test_apply_change_at_once(catalog: Catalog) -> None:
    row = Model.objects.get(pk=resolve(catalog, "opus").id)
    row.enabled = False
    row.save()
    assert resolve(catalog, "opus").enabled is False
    row.delete()
    assert resolve(catalog, "opus").id == "opus"


def test_see_change_of_another_process_after_cache_expiry(catalog: Catalog, clock: Clock) -> None:
    resolve(catalog, "opus")
    Model.objects.filter(pk="claude-opus-5-5").update(enabled=False)  # sends no signal
    clock.advance(CACHE_TTL_S - 0.1)
    assert resolve(catalog, "opus").enabled
    clock.advance(0.2)
    assert not resolve(catalog, "opus").enabled


def test_give_each_name_one_meaning() -> None:
    row = Model(pk="claude-lab-1", display_name="Lab", max_output_tokens=1, aliases=["opus"])
    with pytest.raises(ValidationError, match="opus"):
        row.full_clean()
    row.aliases = ["claude-opus-5"]
    with pytest.raises(ValidationError, match="claude-opus-5"):
        row.full_clean()
    row.aliases = ["lab"]
    row.full_clean()


USAGE = Usage(
    input_tokens=1_000, output_tokens=2_000, cache_creation_input_tokens=30_000, cache_read_input_tokens=40_000
)


def cost(catalog: Catalog, model: str, usage: Usage) -> float | None:
    return catalog.priced(model, usage).cost_usd


def test_sum_cost_over_kinds_of_tokens(catalog: Catalog) -> None:
    resolve(catalog, "opus")
    # Opus 5.5: 4, 20, 5 and 0.20 USD per million.
    expected = (1_000 * 4 + 2_000 * 20 + 30_000 * 5 + 40_000 * 0.2) / 1_000_000
    assert cost(catalog, "claude-opus-5-5", USAGE) == pytest.approx(expected)


def test_charge_more_for_long_prompt_of_some_models(catalog: Catalog) -> None:
    resolve(catalog, "haiku")
    short = Usage(input_tokens=60_000, cache_read_input_tokens=40_000)
    long = Usage(input_tokens=60_000, cache_read_input_tokens=40_001)
    cheap = (60_000 * 0.1 + 40_000 * 0.01) / 1_000_000
    dear = (60_000 * 0.5 + 40_001 * 0.05) / 1_000_000
    assert cost(catalog, "claude-haiku-5-5", short) == pytest.approx(cheap)
    assert cost(catalog, "claude-haiku-5-5", long) == pytest.approx(dear)


def test_give_model_without_prices_no_cost(catalog: Catalog, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    resolve(catalog, "opus")
    Model.objects.create(pk="claude-lab-1", display_name="Lab", max_output_tokens=1)
    assert resolve(catalog, "claude-lab-1").prices is None
    with django_assert_num_queries(0):
        assert cost(catalog, "claude-lab-1", USAGE) is None
        assert cost(catalog, "claude-unknown", USAGE) is None


def test_know_cost_while_table_is_reloaded(catalog: Catalog) -> None:
    resolve(catalog, "opus")
    catalog.forget()
    assert cost(catalog, "claude-opus-5-5", USAGE) is not None


def test_derive_missing_cache_prices_from_input_price(catalog: Catalog) -> None:
    Model.objects.create(
        pk="claude-lab-1", display_name="Lab", max_output_tokens=1, input_price=Decimal(2), output_price=Decimal(4)
    )
    prices = resolve(catalog, "claude-lab-1").prices
    assert prices is not None
    assert (prices.cache_write, prices.cache_write_1h) == (Decimal("2.5"), Decimal(4))
    assert prices.cache_read == Decimal("0.2")


def test_keep_last_model_table_without_database(catalog: Catalog, clock: Clock) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError("gone")

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseUnavailableError):
        resolve(catalog, "opus")
    clock.advance(CACHE_TTL_S)
    resolve(catalog, "opus")
    clock.advance(CACHE_TTL_S)
    with connection.execute_wrapper(refuse):
        assert resolve(catalog, "opus").id == "claude-opus-5-5"
