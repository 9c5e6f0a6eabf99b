"""The programs of the official Python clients with the locked versions; `make clients` runs them all in the newest."""

import sys
from collections.abc import Iterator

import pytest

from tests.clients import install
from tests.clients.client import Client
from tests.clients.entries.python import PYTHON
from tests.clients.running import ENGINES, Target, exercise, target

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=ENGINES)
def at(request: pytest.FixtureRequest) -> Iterator[Target]:
    with target(request.param) as started:
        yield started


@pytest.mark.parametrize("client", PYTHON[:2], ids=lambda it: it.title)
def test_official_client_works(client: Client, at: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "interpreter", lambda _: sys.executable)

    outcomes = exercise(client, at)

    bad = {name: outcome for name, outcome in outcomes.items() if not outcome.ok}
    assert {name: it for name, it in bad.items() if client.reason(name, at.engine) is None} == {}
    assert outcomes.keys() == set(client.features)
