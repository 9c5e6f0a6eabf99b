"""The whole gateway as an operator runs it: `manage.py serve` in a process of its own."""

import contextlib
import functools
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anthropic
import httpx
import psutil

from tests.support.processes import ROOT, LoggedProcess, children_of, clean_environment
from tests.support.waiting import eventually

_START_S = 120.0
_STOP_S = 40.0
_MIGRATE_S = 120.0


@dataclass(frozen=True, slots=True)
class FirstLogin:
    """First login of a gateway. api_key: None if its environment had one."""

    name: str
    password: str
    api_key: str | None


class GatewayProcess:
    """A gateway on a port of its own, with a state folder, a database and a key of its own, in front of an upstream.

    `start` returns once /readyz does. process is the supervisor; pid the id of its serve process, or of the first one,
    as they were at the start. env adds to or replaces the gateway's variables; upstream None starts it without
    a credential, in demo mode. manage: what is run instead of manage.py (`tests/support/odd_manage.py`). migrated: it
    finds a migrated SQLite database, which saves 0.5 s; without, it starts from nothing. Default: unless in demo mode.
    """

    def __init__(
        self,
        folder: Path,
        *,
        upstream: str | None,
        env: Mapping[str, str] | None = None,
        manage: Sequence[str] = ("manage.py",),
        stdin: int = subprocess.PIPE,
        migrated: bool | None = None,
    ) -> None:
        self._manage = manage
        self._migrated = (upstream is not None) if migrated is None else migrated
        self._stdin = stdin
        self.api_key = (env or {}).get("CLAUDE_PROXY_API_KEY") or f"sk-test-{secrets.token_urlsafe(24)}"
        self.state_dir = folder / "state"
        self.base_url = ""
        self._log = folder / "gateway.log"
        self._clients = contextlib.ExitStack()  # one that nobody closed is a warning of whatever test comes later
        credential = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": upstream} if upstream else {}
        self._env = clean_environment(
            **{
                "CLAUDE_PROXY_PORT": "0",
                "CLAUDE_PROXY_BREAKER_FAILURES": "0",  # the tests that share one fail on purpose
                "CLAUDE_PROXY_API_KEY": self.api_key,
                "CLAUDE_PROXY_STATE_DIR": str(self.state_dir),
                **credential,
                **(env or {}),
            }
        )

    def start(self) -> "GatewayProcess":
        """Starts it and waits until it is ready; AssertionError with its output where that fails."""
        if self._migrated and "DATABASE_URL" not in self._env:
            self.put_database()
        self.process = LoggedProcess([*self._manage, "serve"], log=self._log, env=self._env, stdin=self._stdin)
        try:
            self.base_url = self.process.wait_for_line("listening on ", within_s=_START_S)
            eventually(self._is_ready, within_s=_START_S, why="/readyz")
            self.pid = self.servers()[0].pid
        except AssertionError as error:
            self.process.stop(within_s=_STOP_S)
            raise AssertionError(f"{error}\n{self.process.output[-8000:]}") from error
        return self

    def put_database(self) -> None:
        """Gives it a migrated SQLite database, unless it has one."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (self.state_dir / "db.sqlite3").open("xb") as database:
            database.write(_migrated_database())

    def stop(self) -> int:
        """Ends it with SIGTERM, as an operator would; the exit code. Its clients are closed."""
        self._clients.close()
        return self.process.stop(within_s=_STOP_S)

    @property
    def output(self) -> str:
        """Console output."""
        return self.process.output

    def first_login(self) -> "FirstLogin":
        """The first administrator and key, from the file that the first start has made where no terminal was."""
        kept = (self.state_dir / "first-login.txt").read_text(encoding="utf-8")
        found = re.search(r"^Administrator: (\S+) / (\S+)$", kept, re.MULTILINE)
        assert found is not None, "no administrator"
        key = re.search(r"^API key: (\S+)$", kept, re.MULTILINE)
        return FirstLogin(found[1], found[2], key[1] if key else None)

    def workers(self) -> list[psutil.Process]:
        """Its CLI processes."""
        return [worker for server in self.servers() for worker in children_of(server.pid)]

    def servers(self) -> list[psutil.Process]:
        """Its serve processes."""
        return children_of(self.process.pid, deep=False)

    def client(self, **options: object) -> anthropic.Anthropic:
        """The official client, with this gateway's key, and without retries of its own. `stop` closes it."""
        settings = {"api_key": self.api_key, "base_url": self.base_url, "max_retries": 0, "timeout": 60, **options}
        client = anthropic.Anthropic(**settings)  # type: ignore[arg-type]  # options are the client's own, by name
        return self._clients.enter_context(client)

    def http(self, **headers: str) -> httpx.Client:
        """A plain HTTP client with the key in `x-api-key`."""
        return httpx.Client(base_url=self.base_url, headers={"x-api-key": self.api_key, **headers}, timeout=60)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@functools.cache
def _migrated_database() -> bytes:
    """A SQLite database that holds what the migrations put into it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        env = clean_environment(CLAUDE_PROXY_STATE_DIR=folder)
        subprocess.run(command, cwd=ROOT, env=env, timeout=_MIGRATE_S, check=True)
        return (Path(folder) / "db.sqlite3").read_bytes()


def sign_in(gateway: GatewayProcess) -> str:
    """The session cookie of the first administrator."""
    login = gateway.first_login()
    with httpx.Client(base_url=gateway.base_url, timeout=30) as client:
        client.get("/admin/login/")
        form = {"username": login.name, "password": login.password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        signed_in = client.post("/admin/login/", data=form, headers={"referer": f"{gateway.base_url}/admin/login/"})
        assert signed_in.status_code == 302, signed_in.text
        return str(client.cookies["sessionid"])
