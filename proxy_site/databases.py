"""Where the gateway keeps things: the state folder, the signing key in it, the database."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from proxy_site.env import SettingError

_UMASK = 0o077
_SECRET_KEY_BYTES = 48
_SQLITE_BUSY_S = 5
_POSTGRES = {"connect_timeout": "5", "tcp_user_timeout": "10000"}
"""Seconds until a server that does not answer is given up, and milliseconds until a connection that broke is."""
_POOL = {"timeout": 3.0, "reconnect_timeout": 5.0}
"""Seconds. Psycopg's own: 30, and minutes between the attempts to reach a server that was gone for long."""
_SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"


def prepare_state_dir(state_dir: Path) -> None:
    """Makes the folder, for this user only, if it does not exist; files too are made for this user only from now on.

    Raises SettingError.
    """
    os.umask(_UMASK)  # the database and its journal are SQLite's to make, and it asks for no mode
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"CLAUDE_PROXY_STATE_DIR: {str(state_dir)!r} cannot be made ({error.strerror}); "
            "it must be a folder that the gateway may write to."
        ) from error


def kept_secret_key(state_dir: Path) -> str:
    """The signing key in the state folder, made at the first start; only this user can read it."""
    path = state_dir / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(_SECRET_KEY_BYTES))
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingError(f"The signing key {str(path)!r} cannot be kept ({error.strerror}).") from error
    if not key:
        raise SettingError(f"The signing key {str(path)!r} is empty; delete it, and a new one is made.")
    return key


def _write_once(path: Path, text: str) -> None:
    """Writes the file whole or not at all; of several processes that start together, one wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600, exist_ok=False)
    try:
        draft.write_text(text, encoding="ascii")
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first: its key counts
    finally:
        draft.unlink()


def parse_database_url(url: str) -> dict[str, Any]:
    """Django's description of the database at the URL. Raises ValueError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if len(path) < 2:
        raise ValueError
    if parts.scheme == "sqlite" and not parts.netloc:
        return sqlite_database(Path(path[1:]).absolute())
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,  # one that the server has closed is noticed by the pool and not by a request
        # Under ASGI every request has a thread of its own, so connections are kept by a pool and not by the thread.
        "OPTIONS": {"pool": dict(_POOL)} | _POSTGRES | dict(parse_qsl(parts.query)),
    }


def sqlite_database(path: Path) -> dict[str, Any]:
    """Django's description of the SQLite database in the file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": _SQLITE_BUSY_S,
            "transaction_mode": "IMMEDIATE",
            "init_command": _SQLITE_PRAGMAS,
        },
        # A file: with an in-memory database the busy timeout does not hold between threads.
        "TEST": {"NAME": str(path.with_name(f"test_{path.name}"))},
    }
