"""A failed start ends the process with its error, and leaves no secret behind."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

ENDS_WITHIN_S = 30.0
ODD_MANAGE = "tests/support/odd_manage.py"

STAGES = (
    "django.core.management.commands.migrate:Command.handle",
    "apiproxy.keys.bootstrap:store_env_key",
    "apiproxy.server.daphne:GatewayServer.listen",
    "apiproxy.standin:start:OSError",
    "proxy_site.operations:Observability.__init__",
    "proxy_site.operations:Observability.start",
    "proxy_site.operations:Observability.start:KeyboardInterrupt",
    "apiproxy.limits.accounting:UsageAccounting.start",
    "apiproxy.engines.sdk.pool:Pool.warm:SystemExit",
    "observability.logs.handler:LineBuffer.emit:TypeError",  # what no lock did on Python 3.13
    "apiproxy.models:ApiKey.save",
    "apiproxy.management.commands.serve:banner_lines",
    "apiproxy.management.commands.serve:write_first_login:OSError",
)
BEFORE_THE_DATABASE = STAGES[:1]
IN_A_CHILD = ("proxy_site.operations:Observability.start", "apiproxy.engines.sdk.pool:Pool.warm:SystemExit")
IN_THE_SUPERVISOR = ("apiproxy.management.commands.serve:banner_lines", "apiproxy.models:ApiKey.save")


def made(state_dir: Path) -> list[tuple[str]]:
    """Administrators and keys in the database; none where there is no database yet."""
    with closing(sqlite3.connect(state_dir / "db.sqlite3")) as database:
        try:
            query = "SELECT username FROM auth_user UNION SELECT name FROM apiproxy_apikey"
            return list(database.execute(query))
        except sqlite3.OperationalError:  # nothing is migrated
            return []


def failed_start(folder: Path, fails: str, **env: str) -> GatewayProcess:
    """A demo gateway that was started and has ended by itself."""
    gateway = GatewayProcess(
        folder,
        upstream=None,
        env={"ODD_FAILS": fails, "CLAUDE_PROXY_API_KEY": "", "CLAUDE_PROXY_WARM_WORKERS": "1", **env},
        manage=(ODD_MANAGE,),
        migrated=fails not in BEFORE_THE_DATABASE,
    )
    with pytest.raises(AssertionError):
        gateway.start()
    return gateway


@pytest.mark.parametrize("fails", STAGES)
def test_ends_with_an_error_where_a_stage_of_the_start_fails(fails: str, tmp_path: Path) -> None:
    gateway = failed_start(tmp_path, fails)

    assert gateway.process.wait(within_s=ENDS_WITHIN_S) not in (0, -15)
    assert "injected" in gateway.output
    assert made(gateway.state_dir) == []
    assert not list(gateway.state_dir.glob("first-login*"))


@pytest.mark.parametrize("fails", [*IN_A_CHILD, *IN_THE_SUPERVISOR])
def test_ends_several_processes_where_one_cannot_start(fails: str, tmp_path: Path) -> None:
    gateway = failed_start(tmp_path, fails, CLAUDE_PROXY_PROCESSES="2")

    assert gateway.process.wait(within_s=ENDS_WITHIN_S) == 1
    assert "could not start" in gateway.output
    assert "injected" in gateway.output
    assert made(gateway.state_dir) == []


def test_shows_the_first_login_after_a_start_that_failed(stand_in: StandInProcess, tmp_path: Path) -> None:
    failed_start(tmp_path, "proxy_site.operations:Observability.start")

    good = GatewayProcess(tmp_path, upstream=stand_in.base_url, env={"CLAUDE_PROXY_API_KEY": ""}).start()
    try:
        login = good.first_login()
        assert login.api_key is not None
        with good.http(**{"x-api-key": login.api_key}) as client:
            assert client.get("/v1/models").status_code == 200
    finally:
        assert good.stop() == 0
