"""Operations and pages while another session holds a lock on the table that they read: an error, not a hang."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from tests.faults.support import KEYS, Watched
from tests.limits.gateways import make_keys
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess, sign_in
from tests.support.postgres import empty_database
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

REFUSED = (*("/debug/traces", "/debug/errors", "/debug/traces/req_x", "/debug/errors/req_x", "/dashboard/requests"),)
ANSWERED = ("/dashboard/", "/debug/health", "/debug/active", "/metrics", "/readyz", "/healthz")
"""None of them needs a trace that is stored; the overview goes without its figures. Asked two at a time: the pool has
four connections, and those who find none free for 3 s get a 503 too."""


@pytest.fixture(scope="module")
def own_database() -> Iterator[str]:
    """A gateway with its own database, because a used one has no first login."""
    with empty_database() as url:
        yield url


@pytest.fixture(scope="module")
def watched(stand_in: StandInProcess, own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    env = {"DATABASE_URL": own_database, "CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
    process = GatewayProcess(tmp_path_factory.mktemp("locked"), upstream=stand_in.base_url, env=env).start()
    yield Watched(process, make_keys(process, KEYS))
    process.stop()


@pytest.mark.fault(
    "The database",
    "(PostgreSQL) has a lock on the table of traces",
    plain="200; 503 for pages that read traces",
    streamed="200",
)
def test_answers_operations_with_a_503_when_traces_are_locked(watched: Watched, own_database: str) -> None:
    cookie = {"sessionid": sign_in(watched.process)}
    watched.ask("[[n=1]]", key="operator")
    key = {"x-api-key": watched.keys["operator"]}

    def status(path: str) -> int:
        by = {"cookies": cookie} if path.startswith("/dashboard") else {"headers": key}
        with httpx.Client(base_url=watched.process.base_url, timeout=30, **by) as client:  # type: ignore[arg-type]
            return client.get(path).status_code

    session = psycopg.connect(own_database.replace("postgres://", "postgresql://", 1))
    with session as other, ThreadPoolExecutor(2) as pool:
        other.execute("LOCK TABLE observability_trace IN ACCESS EXCLUSIVE MODE")
        found = dict(zip(REFUSED + ANSWERED, pool.map(status, REFUSED + ANSWERED), strict=True))
        answered = {str(watched.ask("[[n=1]]", key=name, stream=True)) for name in ("operator", "limited")}
    assert found == dict.fromkeys(REFUSED, 503) | dict.fromkeys(ANSWERED, 200)
    assert answered == {"200"}
    eventually(lambda: status("/debug/traces") == 200, within_s=30)


def test_answers_operations_with_a_503_when_the_network_hangs(
    stand_in: StandInProcess, postgres_url: str, tmp_path: Path
) -> None:
    parts = urlsplit(postgres_url)
    road = Forwarder(parts.port or 5432, target_host=parts.hostname or "127.0.0.1")
    login = parts.netloc.rpartition("@")[0]
    through = urlunsplit(parts._replace(netloc=f"{login}{'@' if login else ''}127.0.0.1:{road.port}"))
    env = {"DATABASE_URL": through, "CLAUDE_PROXY_WARM_WORKERS": "1", "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
    process = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        ((_, key),) = make_keys(process, {"watcher": {"scopes": ["api", "admin"]}}).items()
        with httpx.Client(base_url=process.base_url, timeout=30, headers={"x-api-key": key}) as client:
            assert client.get("/debug/traces").status_code == 200
            road.freeze()
            try:
                assert client.get("/debug/traces").status_code == 503
            finally:
                road.thaw()
            eventually(lambda: client.get("/debug/traces").status_code == 200, within_s=30)
    finally:
        process.stop()
        road.stop()
