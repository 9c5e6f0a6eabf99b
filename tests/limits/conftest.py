"""Gateways of the limit tests: one process on SQLite, two on one PostgreSQL database."""

from collections.abc import Iterator, Mapping

import pytest

from tests.limits.gateways import Site, make_keys
from tests.support.gateway import GatewayProcess
from tests.support.postgres import empty_database
from tests.support.stand_in import StandInProcess

COST_USD = 0.0002
"""Cost of an answer to `costing`: 100 input tokens at 1 USD per million, 20 output tokens at 5 USD."""

KEYS: Mapping[str, Mapping[str, object]] = {
    "requests": {"requests_per_minute": 20},
    "runs": {"concurrent_runs": 3},
    "tokens": {"tokens_per_minute": 2000},
    "budget": {"budget_total_usd": f"{100 * COST_USD:.4f}"},
    "all": {
        "requests_per_minute": 20,
        "tokens_per_minute": 2000,
        "concurrent_runs": 3,
        "budget_day_usd": f"{10 * COST_USD:.4f}",
    },
    "none": {},
    "heavy": {"priority": 0},
    "light": {"priority": 0},
    "storing": {"store_bodies": True},
    "other": {"store_bodies": True},
}
_SMALL = {
    "CLAUDE_PROXY_WARM_WORKERS": "0",
    "CLAUDE_PROXY_MAX_CONCURRENT": "4",
    "CLAUDE_PROXY_QUEUE_MAX": "500",
    "CLAUDE_PROXY_STORE_SESSIONS": "1",
}


@pytest.fixture(scope="session")
def one_process(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    started = GatewayProcess(tmp_path_factory.mktemp("one"), upstream=stand_in.base_url, env=_SMALL).start()
    yield Site([started], make_keys(started, KEYS))
    started.stop()


@pytest.fixture(scope="session")
def two_processes(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both with the same key in the environment, on a database of their own."""
    with empty_database() as url:
        yield from _two_on(url, stand_in, tmp_path_factory)


def _two_on(url: str, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {**_SMALL, "DATABASE_URL": url}
    first = GatewayProcess(tmp_path_factory.mktemp("first"), upstream=stand_in.base_url, env=env).start()
    env["CLAUDE_PROXY_API_KEY"] = first.api_key
    second = GatewayProcess(tmp_path_factory.mktemp("second"), upstream=stand_in.base_url, env=env)
    try:
        second.start()
        second.api_key = first.api_key
        yield Site([first, second], make_keys(first, KEYS))
        second.stop()
    finally:
        first.stop()


@pytest.fixture(params=["one_process", "two_processes"])
def site(request: pytest.FixtureRequest) -> Site:
    """One process on SQLite, then two on PostgreSQL."""
    found: Site = request.getfixturevalue(request.param)
    return found
