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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that commit empty the database afterwards; what the migrations put there comes back for the next ones."""
    for item in items:
        marker = item.get_closest_marker("django_db")
        if marker is not None and marker.kwargs.get("transaction"):
            fields = {**marker.kwargs, "serialized_rollback": True}
            item.add_marker(pytest.mark.django_db(*marker.args, **fields), append=False)


@pytest.fixture(autouse=True)
def fresh_caches() -> None:
    """What a process remembers of the database is forgotten: a test's rows are gone with it, and no signal says so."""
    catalog.forget()
    keyring.forget()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Removes the process's state folder. (The processes of xdist do not come as far as `pytest_unconfigure`.)"""
    shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
