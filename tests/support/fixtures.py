"""Fixtures that own processes; one of each per test process, since starting them is what costs time.

Loaded by tests/conftest.py through `pytest_plugins`.
"""

from collections.abc import Iterator

import pytest

from tests.fuzz.target import Target
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInProcess]:
    """A stand-in upstream that records. Shared: put a text of your own into the prompt to find your exchanges."""
    process = StandInProcess(tmp_path_factory.mktemp("standin"))
    yield process
    process.stop()


@pytest.fixture(scope="session")
def gateway(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway in front of `stand_in`. Shared: a test that stops it, or needs a setting, starts one of its own."""
    process = GatewayProcess(tmp_path_factory.mktemp("gateway"), upstream=stand_in.base_url).start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def target(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway to attack, with keys of several rights, in an unfiltered environment."""
    started = Target(tmp_path_factory.mktemp("target"), upstream=stand_in.base_url)
    yield started
    started.close()


@pytest.fixture(scope="session")
def http_target(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The same with the http engine."""
    started = Target(tmp_path_factory.mktemp("http-target"), upstream=stand_in.base_url, engine="http")
    yield started
    started.close()
