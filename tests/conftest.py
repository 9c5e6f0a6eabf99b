"""What all tests have. `tests/settings.py` gives each test process a state folder of its own."""

import shutil

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from apiproxy.catalog import catalog
from apiproxy.keys import keyring

pytest_plugins = ["tests.support.fixtures", "tests.support.engine", "tests.support.postgres"]

# A busy machine must not fail a property: no time limit for an example, nor for making one.
hypothesis_settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("gateway")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that commit empty the database afterwards, so they come last, whatever the order of the others.

    What the migrations put there comes back for each of them. (After the random order, which mixes them.)
    """
    committing = [item for item in items if _commits(item)]
    for item in committing:
        item.add_marker(pytest.mark.django_db(transaction=True, serialized_rollback=True), append=False)
    items.sort(key=_commits)


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return marker is not None and bool(marker.kwargs.get("transaction"))


@pytest.fixture(autouse=True)
def fresh_caches() -> None:
    """What a process remembers of the database is forgotten: a test's rows are gone with it, and no signal says so."""
    catalog.forget()
    keyring.forget()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Removes the process's state folder. (The processes of xdist do not come as far as `pytest_unconfigure`.)"""
    shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
