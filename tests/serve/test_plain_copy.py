"""A plain copy of `db.sqlite3` has the data: after the start, when the gateway is idle, and after its end."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.engine import body_of
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

ASKED = 3
IDLE_WITHIN_S = 60.0


def in_a_copy(gateway: GatewayProcess, query: str) -> int:
    """A count, from a copy of the one file. -1: it is no database that can be read, or not the whole of one."""
    copy = shutil.copy(gateway.state_dir / "db.sqlite3", gateway.state_dir.parent / "copy.sqlite3")
    with closing(sqlite3.connect(copy)) as database:
        try:
            return int(database.execute(query).fetchone()[0])
        except sqlite3.DatabaseError:
            return -1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_holds_the_data_in_the_one_file(processes: str, stand_in: StandInProcess, tmp_path: Path) -> None:
    env = {"CLAUDE_PROXY_PROCESSES": processes, "CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_API_KEY": ""}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        assert in_a_copy(gateway, "SELECT count(*) FROM django_migrations") > 0
        assert in_a_copy(gateway, "SELECT count(*) FROM auth_user") == 1
        assert in_a_copy(gateway, "SELECT count(*) FROM apiproxy_apikey") == 1
        with gateway.http(**{"x-api-key": str(gateway.first_login().api_key)}) as client:
            for _ in range(ASKED):
                assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
        traces = "SELECT count(*) FROM observability_trace WHERE status = 'completed'"
        eventually(lambda: in_a_copy(gateway, traces) == ASKED, within_s=IDLE_WITHIN_S)
        with gateway.http(**{"x-api-key": str(gateway.first_login().api_key)}) as client:
            assert client.post("/v1/messages", json=body_of("[[n=1]]")).status_code == 200
    finally:
        assert gateway.stop() == 0
    assert in_a_copy(gateway, traces) == ASKED + 1
