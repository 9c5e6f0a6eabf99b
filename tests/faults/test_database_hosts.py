"""Several PostgreSQL servers in one address, and PgBouncer in front of one."""

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.deploy.fronts import free_port
from tests.limits.gateways import make_keys, manage
from tests.support.forwarder import Forwarder
from tests.support.gateway import GatewayProcess, sign_in
from tests.support.postgres import empty_database
from tests.support.postgres import postgres_url as postgres_url
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

_SMALL = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_MAX_CONCURRENT": "2"}
_LIMITED = {"limited": {"requests_per_minute": 1_000}}
_BODY = {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": "[[n=1]]"}]}


def ask(gateway: GatewayProcess, key: str) -> int:
    return httpx.post(f"{gateway.base_url}/v1/messages", json=_BODY, headers={"x-api-key": key}, timeout=30).status_code


@contextlib.contextmanager
def roads(url: str) -> Iterator[tuple[Forwarder, Forwarder]]:
    parts = urlsplit(url)
    made = [Forwarder(parts.port or 5432, target_host=parts.hostname or "") for _ in range(2)]
    try:
        yield made[0], made[1]
    finally:
        for road in made:
            road.stop()


def test_go_on_with_the_other_server(stand_in: StandInProcess, postgres_url: str, tmp_path: Path) -> None:
    parts = urlsplit(postgres_url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    with roads(postgres_url) as (first, second):
        second.close()
        hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        url = f"postgres://{login}{hosts}{parts.path}?target_session_attrs=read-write"
        gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env={**_SMALL, "DATABASE_URL": url}).start()
        try:
            key = make_keys(gateway, _LIMITED)["limited"]
            assert ask(gateway, key) == 200
            second.open()
            first.close()
            eventually(lambda: ask(gateway, key) == 200, within_s=20)
            first.open()
            second.close()
            eventually(lambda: ask(gateway, key) == 200, within_s=20)
        finally:
            gateway.stop()


@pytest.fixture
def own_database() -> Iterator[str]:
    """Address of a database that no other test has used, which has no login yet."""
    with empty_database() as url:
        yield url


@pytest.fixture
def bouncer_url(own_database: str, tmp_path: Path) -> Iterator[str]:
    """Address of a PgBouncer in transaction mode with two connections to the server."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            raise FileNotFoundError("pgbouncer")
        pytest.skip("no pgbouncer")
    parts, port = urlsplit(own_database), free_port()
    user = parts.username or getpass.getuser()
    folder = tmp_path / "bouncer"
    folder.mkdir()
    (folder / "users.txt").write_text(f'"{user}" "{parts.password or ""}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port or 5432}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users.txt\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200\n"
    )
    switch = []
    if os.geteuid() == 0:  # it refuses to run as root
        switch = ["-u", "nobody"]
        for path in (tmp_path, *tmp_path.parents, folder):
            if path.is_relative_to("/tmp"):
                path.chmod(path.stat().st_mode | 0o055)
        for path in folder.iterdir():
            path.chmod(0o644)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *switch, str(folder / "pgbouncer.ini")], stdout=log, stderr=log)
    url = f"postgres://{user}@127.0.0.1:{port}{parts.path}"
    try:
        eventually(lambda: _answers(url), within_s=10, why=(folder / "log").read_text())
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


_EXPORT = """
import datetime
from apiproxy.admin.usage import csv_lines
from apiproxy.models import Usage
day = datetime.date(2026, 1, 1)
Usage.objects.bulk_create(Usage(key_id=number, key_label="k", model="m", day=day) for number in range(2_500))
print("lines", [len(list(csv_lines(Usage.objects.filter(model="m")))) for _ in range(5)])
"""


def test_work_behind_pgbouncer(stand_in: StandInProcess, bouncer_url: str, tmp_path: Path) -> None:
    """Migrations, limited keys at the same time, pages, and exports of more rows than a cursor fetches at once."""
    env = {**_SMALL, "DATABASE_URL": bouncer_url}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        key = make_keys(gateway, _LIMITED)["limited"]
        with ThreadPoolExecutor(8) as clients:
            asking = [clients.submit(ask, gateway, key) for _ in range(100)]
            assert f"lines {[2_501] * 5}" in manage(gateway, "shell", "-c", _EXPORT)
            assert [it.result() for it in asking] == [200] * 100
        with httpx.Client(base_url=gateway.base_url, cookies={"sessionid": sign_in(gateway)}, timeout=30) as browser:
            assert browser.get("/dashboard/").status_code == 200
            assert browser.get("/admin/apiproxy/usage/").status_code == 200
        assert "OperationalError" not in gateway.output
        assert "does not exist" not in gateway.output
    finally:
        gateway.stop()
