"""State folder, signing key and database of the gateway."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy_site.env import SettingError

_UMASK = 0o077
_POSTGRES_PORT = "5432"
_SECRET_KEY_BYTES = 48
_SQLITE_BUSY_S = 5
_POSTGRES = {"connect_timeout": "5", "tcp_user_timeout": "10000"}
"""connect_timeout in seconds, tcp_user_timeout (broken connections) in milliseconds."""
_POOL = {"timeout": 3.0, "reconnect_timeout": 5.0}
"""Seconds. Psycopg's defaults are 30, and minutes between attempts to reconnect after a long outage."""
_SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"


def prepare_state_dir(state_dir: Path) -> None:
    """Creates the directory if missing. From now on, new files are accessible to this user only.

    Raises SettingError.
    """
    os.umask(_UMASK)  # SQLite creates the database and its journal, without a mode of its own
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"CLAUDE_PROXY_STATE_DIR: {str(state_dir)!r} cannot be created ({error.strerror}); "
            "it must be a directory that the gateway can write to."
        ) from error


def kept_secret_key(state_dir: Path) -> str:
    """The signing key in the state directory, generated at the first start; readable by this user only."""
    path = state_dir / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(_SECRET_KEY_BYTES))
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingError(f"The signing key {str(path)!r} cannot be stored ({error.strerror}).") from error
    if not key:
        raise SettingError(f"The signing key {str(path)!r} is empty; delete it to generate a new one.")
    return key


def _write_once(path: Path, text: str) -> None:
    """Writes the file atomically; of several processes starting at once, one wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        draft.write_text(text, encoding="ascii")
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first: its key is used
    finally:
        draft.unlink()


def parse_database_url(url: str) -> dict[str, Any]:
    """Django configuration of the database at the URL. Raises ValueError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if len(path) < 2:
        raise ValueError
    if parts.scheme == "sqlite" and not parts.netloc:
        return sqlite_database(Path(path[1:]).absolute())
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError
    hosts, ports = _postgres_hosts(parts.netloc)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": hosts,
        "PORT": ports,
        "CONN_HEALTH_CHECKS": True,  # the pool detects connections closed by the server
        # Under ASGI every request has its own thread, so a pool keeps the connections.
        "OPTIONS": {"pool": dict(_POOL)} | _POSTGRES | dict(parse_qsl(parts.query)),
    }


def _postgres_hosts(netloc: str) -> tuple[str, str]:
    """Hosts and ports as libpq accepts them, separated by commas.

    libpq tries them in order. Raises ValueError.
    """
    hosts, ports = [], []
    for entry in netloc.rpartition("@")[2].split(","):
        parts = urlsplit(f"//{entry}")
        host, port = unquote(parts.hostname or ""), parts.port
        if port == 0 or (entry and not host):
            raise ValueError
        hosts.append(host)
        ports.append(str(port) if port else "")
    if len(hosts) > 1:
        if not all(hosts):
            raise ValueError
        ports = [port or _POSTGRES_PORT for port in ports]
    return ",".join(hosts), ",".join(ports)


def sqlite_database(path: Path) -> dict[str, Any]:
    """Django configuration of the SQLite database in the file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": _SQLITE_BUSY_S,
            "transaction_mode": "IMMEDIATE",
            "init_command": _SQLITE_PRAGMAS,
        },
        # A file: the busy timeout of an in-memory database does not work across threads.
        "TEST": {"NAME": str(path.with_name(f"test_{path.name}"))},
    }
