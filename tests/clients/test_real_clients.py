"""A few real clients through all of their features, on both engines; `make clients` runs them all.

The official Python clients are those of the lock, which this environment has. The others are installed from PyPI and
npm; without CI set, they are left out where that fails.
"""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.clients import install
from tests.clients.catalogue import CLIENTS
from tests.clients.client import Client
from tests.clients.install import InstallError
from tests.clients.running import ENGINES, Target, exercise, target

pytestmark = pytest.mark.long

LOCKED = [client for client in CLIENTS if client.requirements == "official"]
INSTALLED = [client for client in CLIENTS if client.in_ci]


@pytest.fixture(scope="module", params=ENGINES)
def at(request: pytest.FixtureRequest) -> Iterator[Target]:
    with target(request.param) as started:
        yield started


@pytest.mark.parametrize("client", LOCKED, ids=lambda it: it.title)
def test_official_client_of_the_lock(client: Client, at: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "interpreter", lambda _: sys.executable)

    assert failures(client, at) == {}


@pytest.mark.parametrize("client", INSTALLED, ids=lambda it: it.title)
def test_client_from_its_registry(client: Client, at: Target) -> None:
    try:
        install.command(client)
    except InstallError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))

    assert failures(client, at) == {}


def failures(client: Client, at: Target) -> dict[str, str]:
    """Details of the features that fail without a reason in the catalogue."""
    outcomes = exercise(client, at)
    assert outcomes.keys() == set(client.features)
    bad = {name: it.detail for name, it in outcomes.items() if not it.ok and not it.skip}
    return {name: detail for name, detail in bad.items() if client.reason(name, at.engine) is None}
