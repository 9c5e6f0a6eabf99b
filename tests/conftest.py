"""Shared by all tests. `tests/settings.py` gives each test process a state folder of its own."""

import shutil
from collections.abc import Generator

import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import blocking_manager_key

from apiproxy.gateway import install

pytest_plugins = [
    "tests.support.fixtures",
    "tests.support.clock",
    "tests.support.engine",
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.matrix",
    "tests.support.long",
]

# A busy machine must not fail a property: no time limit for an example, nor for making one.
hypothesis_settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("gateway")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that commit get what the migrations put into the database, which the last of them has emptied.

    The files with long tests come first, then those with processes of their own, in random order: the last to run are
    short, so that the test processes end together.
    """
    for item in filter(_commits, items):
        item.add_marker(pytest.mark.django_db(transaction=True, serialized_rollback=True), append=False)
    items.sort(
        key=lambda it: (it.get_closest_marker("long") is None, "stand_in" not in getattr(it, "fixturenames", ()))
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """The same for tests that do not commit and run after one that did, in any order."""
    yield
    if nextitem is not None and _commits(item) and not _commits(nextitem):
        with item.config.stash[blocking_manager_key].unblock():
            contents = connection._test_serialized_contents  # type: ignore[attr-defined]  # as TransactionTestCase has it
            connection.creation.deserialize_db_from_string(contents)


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return marker is not None and bool(marker.kwargs.get("transaction"))


@pytest.fixture(autouse=True)
def no_gateway() -> None:
    """Each test gets a gateway of its own, made where a view asks for one."""
    install(None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Removes the process's state folder. (The processes of xdist do not come as far as `pytest_unconfigure`.)"""
    shutil.rmtree(settings.GATEWAY.state_dir, ignore_errors=True)
