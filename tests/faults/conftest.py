"""Fixtures of the fault tests."""

import pytest

from apiproxy.core.turns import EngineName
from tests.faults.support import KEYS, Prepared
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A database for every gateway of these tests."""
    never_started = GatewayProcess(tmp_path_factory.mktemp("prepared"), upstream=None)
    never_started.put_database()
    return Prepared(never_started.state_dir / "db.sqlite3", make_keys(never_started, KEYS))


@pytest.fixture(scope="module", params=["sdk", "http"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Engine of the module's gateway. A test whose mark says nothing of `http` runs with `sdk` only."""
    engine: EngineName = request.param
    return engine
