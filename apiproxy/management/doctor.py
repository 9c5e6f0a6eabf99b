"""Checks of `manage.py doctor`: pure functions from facts to one finding each."""

import stat
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

from apiproxy.conf import Credential, engine_problem
from apiproxy.core.turns import EngineName

TESTED_SDK = "0.2.187"
TESTED_CLI = "2.1.330"
"""Versions of the last contract test run; the engine relies on undocumented behaviour of exactly these."""

WORKER_BYTES = 300 * 1024 * 1024
"""Memory of a worker after a thousand turns: 350 MB resident, of which all workers share the program (about 100 MB)."""

SHORT_SECRET = 20
"""Minimum length in characters; a shorter secret of the operator can be guessed from its digest."""

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
_SHARED_PREFIXES = ("nfs", "cifs", "smb", "9p")
_SHARED = frozenset(
    {
        *(
            "afpfs",
            "afs",
            "beegfs",
            "ceph",
            "drvfs",
            "gfs2",
            "glusterfs",
            "gpfs",
            "grpcfuse",
            "lustre",
            "ncpfs",
            "ocfs2",
        ),
        *("osxfs", "prl_fs", "s3fs", "sshfs", "vboxsf", "virtiofs", "vmhgfs", "vmhgfs-fuse", "webdav", "wslfs"),
    }
)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MEGABYTE = 1024 * 1024


class Check(StrEnum):
    """The checks, in the order in which they run."""

    ENGINES = "engines"
    CLI = "cli"
    JAIL = "jail of agents"
    CREDENTIAL = "credential"
    STATE = "state folder"
    FILE_SYSTEM = "file system"
    LOGS = "log folder"
    DATABASE = "database"
    KEYS = "keys"
    MEMORY = "memory"
    TIMEOUTS = "timeouts"
    PROXY = "reverse proxy"
    LIVE = "live turn"


class Level(StrEnum):
    """Severity. Only with FAIL does the gateway not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. hint: remedy; empty where none is needed."""

    check: Check
    level: Level
    message: str
    hint: str = ""


def check_engines(engines: Collection[EngineName], *, default: EngineName, credential: Credential) -> Finding:
    """Checks that the credential works with the engines in use. default: that of models which name none."""
    others = sorted(set(engines) - {default})
    message = f"{default}, {' and '.join(others)} for single models" if others else default
    problem = next(filter(None, (engine_problem(credential, engine) for engine in sorted(engines))), "")
    if not problem:
        return Finding(check=Check.ENGINES, level=Level.OK, message=message)
    reason, _, hint = problem.partition(". ")
    return Finding(check=Check.ENGINES, level=Level.FAIL, message=f"{message}: {reason}", hint=hint)


def check_cli(*, sdk: str, reported: str | None, problem: str = "") -> Finding:
    """Checks the CLI.

    sdk: version of claude-agent-sdk. reported: version printed by the CLI; None if it failed.
    """
    if reported is None:
        hint = "Install the requirements again, on a platform for which claude-agent-sdk has a wheel with the CLI."
        return Finding(check=Check.CLI, level=Level.FAIL, message=f"does not run: {problem}", hint=hint)
    message = f"claude {reported}, claude-agent-sdk {sdk}"
    if (sdk, reported) == (TESTED_SDK, TESTED_CLI):
        return Finding(check=Check.CLI, level=Level.OK, message=message)
    hint = f"Tested with claude {TESTED_CLI} and claude-agent-sdk {TESTED_SDK}: install requirements.lock."
    return Finding(check=Check.CLI, level=Level.WARN, message=message, hint=hint)


def check_jail(problem: str, hint: str) -> Finding:
    """Checks the jail of agents with tools. problem, hint: of its self-test, empty if it holds."""
    if not problem:
        return Finding(check=Check.JAIL, level=Level.OK, message="holds")
    message = f"agents with built-in tools or stdio servers are rejected: {problem}"
    return Finding(check=Check.JAIL, level=Level.WARN, message=message, hint=hint)


def check_credential(credential: Credential, *, demo_refusal: str = "") -> Finding:
    """Checks the credential. An invalid one has already stopped the start.

    demo_refusal: why the demo is not allowed; empty where it is.
    """
    if credential.kind == "demo" and demo_refusal:
        message, _, hint = demo_refusal.partition(". ")
        return Finding(check=Check.CREDENTIAL, level=Level.FAIL, message=message, hint=hint)
    if credential.kind == "demo":
        message = "none: demo mode, a built-in stand-in answers"
        hint = "Set ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, or CLAUDE_CODE_USE_BEDROCK, _VERTEX or _FOUNDRY."
        return Finding(check=Check.CREDENTIAL, level=Level.WARN, message=message, hint=hint)
    where = f" at {credential.base_url}" if credential.base_url else ""
    return Finding(check=Check.CREDENTIAL, level=Level.OK, message=f"{credential.kind}{where}")


def check_folder(check: Check, path: Path) -> Finding:
    """Checks the permissions of the folder, or of its first existing parent.

    It must be writable, and other users must not be able to read it.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            mode = existing.stat().st_mode
    except OSError as error:
        hint = f"Let the gateway's user write to {existing}, or set another folder."
        return Finding(check=check, level=Level.FAIL, message=f"{path}: {error.strerror}", hint=hint)
    if existing != path:
        return Finding(check=check, level=Level.OK, message=f"{path} will be created")
    shown = f"{path}, mode {stat.S_IMODE(mode):04o}"
    if mode & _OTHERS:
        hint = f"Other users of this machine can read it: chmod 700 {path}"
        return Finding(check=check, level=Level.WARN, message=shown, hint=hint)
    return Finding(check=check, level=Level.OK, message=shown)


def check_file_system(kind: str, *, vendor: str) -> Finding:
    """Checks that SQLite's file is on a local file system.

    kind: file system of the state folder. vendor: type of the database.
    """
    if vendor == "sqlite" and is_shared(kind):
        hint = "SQLite's write-ahead log does not work there: set DATABASE_URL, or move the folder to a local disk."
        return Finding(check=Check.FILE_SYSTEM, level=Level.WARN, message=f"{kind}, shared with others", hint=hint)
    return Finding(check=Check.FILE_SYSTEM, level=Level.OK, message=kind or "of unknown kind")


def is_shared(kind: str) -> bool:
    """True for a network file system, and for one of a virtual machine's host."""
    name = kind.lower()
    return name.startswith(_SHARED_PREFIXES) or name.removeprefix("fuse.") in _SHARED


def file_system_of(path: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """Kind of the file system of a path; empty if unknown.

    mounts: folders and their kinds; the last one counts.
    """
    best, kind = -1, ""
    for folder, name in mounts:
        parts = len(Path(folder).parts)
        if path.is_relative_to(folder) and parts >= best:
            best, kind = parts, name
    return kind


def check_timeouts(*, first_byte_ms: int, queue_timeout_ms: int) -> Finding:
    """Checks that a queue timeout is answered with 529.

    If the first-byte timeout is shorter, the client gets a stream with an error in it.
    """
    if first_byte_ms and first_byte_ms <= queue_timeout_ms:
        message = (
            f"CLAUDE_PROXY_FIRST_BYTE_MS ({first_byte_ms}) is not above CLAUDE_PROXY_QUEUE_TIMEOUT_MS "
            f"({queue_timeout_ms})"
        )
        hint = "A stream that waits too long in the queue then ends with an error event instead of a 529."
        return Finding(check=Check.TIMEOUTS, level=Level.WARN, message=message, hint=hint)
    shown = (
        f"first byte of a stream within {first_byte_ms / 1000:g} s"
        if first_byte_ms
        else "no limit for the first byte of a stream"
    )
    return Finding(check=Check.TIMEOUTS, level=Level.OK, message=shown)


def check_database(vendor: str, *, pending: Sequence[str] | None, problem: str = "") -> Finding:
    """Checks the migrations. pending: those not applied; None where the database is unavailable."""
    if pending is None:
        hint = "Check DATABASE_URL, and check that the database runs."
        return Finding(check=Check.DATABASE, level=Level.FAIL, message=f"{vendor}: {problem}", hint=hint)
    if pending:
        hint = "`manage.py serve` migrates when it starts; or run `manage.py migrate`."
        message = f"{vendor}, {len(pending)} migrations to apply"
        return Finding(check=Check.DATABASE, level=Level.WARN, message=message, hint=hint)
    return Finding(check=Check.DATABASE, level=Level.OK, message=f"{vendor}, migrated")


def check_keys(*, usable: int | None, env_secret: str | None) -> Finding:
    """Checks the API keys. usable: number of valid ones; None where the database is unavailable."""
    if env_secret is not None and len(env_secret) < SHORT_SECRET:
        message = f"the secret in CLAUDE_PROXY_API_KEY has {len(env_secret)} characters"
        hint = f"Use a random secret of {SHORT_SECRET} characters or more, as from `openssl rand -hex 24`."
        return Finding(check=Check.KEYS, level=Level.WARN, message=message, hint=hint)
    if usable:
        return Finding(check=Check.KEYS, level=Level.OK, message=f"{usable} in use")
    if env_secret is not None:
        return Finding(check=Check.KEYS, level=Level.OK, message="the one in CLAUDE_PROXY_API_KEY, at the next start")
    message = "none in use: only /, /healthz and /readyz are served" if usable == 0 else "none yet"
    hint = "`manage.py serve` creates one at its first start; or run `manage.py createapikey NAME`."
    return Finding(check=Check.KEYS, level=Level.WARN, message=message, hint=hint)


def check_memory(*, available_bytes: int, workers: int) -> Finding:
    """Checks the memory. workers: maximum number, spares included; 0 without the sdk engine."""
    if not workers:
        message = f"{available_bytes // _MEGABYTE} MB free; the http engine has no workers"
        return Finding(check=Check.MEMORY, level=Level.OK, message=message)
    needed = workers * WORKER_BYTES
    message = f"{available_bytes // _MEGABYTE} MB free, up to {needed // _MEGABYTE} MB for {workers} workers"
    if available_bytes >= needed:
        return Finding(check=Check.MEMORY, level=Level.OK, message=message)
    level = Level.WARN if available_bytes >= WORKER_BYTES else Level.FAIL
    hint = "Lower CLAUDE_PROXY_MAX_CONCURRENT or CLAUDE_PROXY_WARM_WORKERS, or give the machine more memory."
    return Finding(check=Check.MEMORY, level=level, message=message, hint=hint)


def check_proxy(*, host: str, https: bool, trusted: Sequence[str], allowed_hosts: Sequence[str]) -> Finding:
    """Checks that the reverse proxy settings are consistent.

    host: listen address. https: clients use HTTPS, so a proxy. trusted: networks of the proxies. allowed_hosts: host
    names that browsers may use.
    """
    if any(ip_network(entry).prefixlen == 0 for entry in trusted):
        message = "CLAUDE_PROXY_TRUSTED_PROXIES trusts every address"
        hint = "Set the proxy's own address: now any client can claim any address."
        return Finding(check=Check.PROXY, level=Level.WARN, message=message, hint=hint)
    if https and not trusted:
        message = "CLAUDE_PROXY_HTTPS is on and CLAUDE_PROXY_TRUSTED_PROXIES is empty"
        hint = "Add the proxy's address: now the records show it as the address of every client."
        return Finding(check=Check.PROXY, level=Level.WARN, message=message, hint=hint)
    in_front = bool(https or trusted or host in {"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
    if in_front and not set(allowed_hosts) - _OWN_NAMES - {host}:
        message = "no host name for browsers is set"
        hint = "Set CLAUDE_PROXY_ALLOWED_HOSTS: now the dashboard and the admin answer other machines with 400."
        return Finding(check=Check.PROXY, level=Level.WARN, message=message, hint=hint)
    if trusted and not https:
        message = f"at {', '.join(trusted)}, but cookies are not marked secure"
        hint = "Set CLAUDE_PROXY_HTTPS=1 if clients use HTTPS."
        return Finding(check=Check.PROXY, level=Level.WARN, message=message, hint=hint)
    return Finding(check=Check.PROXY, level=Level.OK, message=f"at {', '.join(trusted)}" if trusted else "none")


def check_live(*, answer: str | None, seconds: float, problem: str = "") -> Finding:
    """Checks the live turn. answer: the model's text; None where the turn failed. seconds: its duration."""
    if answer is None:
        hint = "Check the credential, the connection to the upstream, and the model's name."
        return Finding(check=Check.LIVE, level=Level.FAIL, message=problem, hint=hint)
    return Finding(check=Check.LIVE, level=Level.OK, message=f"answered in {seconds:.1f} s: {answer[:60]!r}")
