"""Typed readers of environment variables: pure functions of a mapping.

A `Variable` says what a setting is called, what it may be and what it means; docs/configuration.md is compared with
it. A value that is not allowed stops the start with a `SettingError`, which names the variable, the value (never
a secret's) and what is allowed. A variable that is empty counts as not set.
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", covariant=True)
Env = Mapping[str, str]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class SettingError(ImproperlyConfigured):
    """A variable is wrong: the message is meant for the operator, who needs no traceback with it."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a value may be. allowed completes "must be …"; parse raises ValueError for anything else."""

    allowed: str
    parse: Callable[[str], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Generic[T]):
    """One environment variable.

    default_note replaces the default in the documentation where that is worked out at the start. A secret can also come
    from a file, named by the same variable with `_FILE` at its end, and is not shown in errors.
    """

    name: str
    kind: Kind[T]
    default: T
    meaning: str
    default_note: str = ""
    secret: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The variable's name, and that of its `_FILE` form if it has one."""
        return (self.name, f"{self.name}_FILE") if self.secret else (self.name,)

    def read(self, env: Env) -> T:
        """The value, or the default where the variable is not set. Raises SettingError."""
        raw = read_secret(env, self.name) if self.secret else env.get(self.name, "").strip()
        if not raw:
            return self.default
        try:
            return self.kind.parse(raw)
        except ValueError:
            shown = "its value" if self.secret else repr(raw)
            message = f"{self.name}: {shown} is not allowed; it must be {self.kind.allowed}."
        # Outside the except, so that the ValueError, which quotes the value, is not part of the traceback.
        raise SettingError(message)


def read_secret(env: Env, name: str) -> str:
    """The secret in `name`, or in the file that `name_FILE` names; empty where neither is set."""
    value, path = env.get(name, "").strip(), env.get(f"{name}_FILE", "").strip()
    if value and path:
        raise SettingError(f"{name} and {name}_FILE are both set; set one of them.")
    if not path:
        return value
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingError(f"{name}_FILE: {path!r} cannot be read ({reason}).") from error
    if not content:
        raise SettingError(f"{name}_FILE: {path!r} is empty; it must hold the secret.")
    return content


def refuse_unknown(env: Env, *, prefix: str, known: Collection[str]) -> None:
    """Raises SettingError for a variable with that prefix that nothing reads: it is misspelt."""
    for name in sorted(env):
        if name.startswith(prefix) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else "."
            raise SettingError(f"{name} is not a setting of this gateway{hint}")


def string(allowed: str = "text") -> Kind[str]:
    """Any text on one line."""

    def parse(raw: str) -> str:
        if not raw.isprintable():
            raise ValueError
        return raw

    return Kind(allowed, parse)


def integer(minimum: int, maximum: int, *, unit: str = "") -> Kind[int]:
    """A whole number within bounds, both included."""

    def parse(raw: str) -> int:
        number = int(raw)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    counted = f"a whole number of {unit}" if unit else "a whole number"
    return Kind(f"{counted} from {minimum} to {maximum}", parse)


def boolean() -> Kind[bool]:
    """On or off, in the usual spellings."""

    def parse(raw: str) -> bool:
        word = raw.lower()
        if word not in _TRUE | _FALSE:
            raise ValueError
        return word in _TRUE

    return Kind("1, true, yes or on, or 0, false, no or off", parse)


def choice(options: Iterable[str]) -> Kind[str]:
    """One of the options, in upper or lower case."""
    by_folded = {option.casefold(): option for option in options}

    def parse(raw: str) -> str:
        if raw.casefold() not in by_folded:
            raise ValueError
        return by_folded[raw.casefold()]

    return Kind("one of " + ", ".join(by_folded.values()), parse)


def path() -> Kind[Path]:
    """A path, made absolute; `~` is the home folder."""

    def parse(raw: str) -> Path:
        try:
            return Path(raw).expanduser().absolute()
        except RuntimeError as error:  # a home folder that cannot be found
            raise ValueError from error

    return Kind("a path", parse)


def url(*schemes: str) -> Kind[str]:
    """An address with one of the schemes and a host, without a slash at its end."""

    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0 or " " in raw:
            raise ValueError
        return raw.rstrip("/")

    return Kind("an address such as " + " or ".join(f"{scheme}://host" for scheme in schemes), parse)


def csv(item: Kind[T], *, allowed: str) -> Kind[tuple[T, ...]]:
    """Values separated by commas; spaces around them and empty ones do not count."""

    def parse(raw: str) -> tuple[T, ...]:
        return tuple(item.parse(part.strip()) for part in raw.split(",") if part.strip())

    return Kind(allowed, parse)


def mapping(*, allowed: str) -> Kind[dict[str, str]]:
    """`name=value` pairs separated by commas; a name stands once."""

    def parse(raw: str) -> dict[str, str]:
        pairs = [part.strip().partition("=") for part in raw.split(",") if part.strip()]
        values = {name.strip(): value.strip() for name, _, value in pairs}
        if len(values) != len(pairs) or not all(values) or not all(values.values()):
            raise ValueError
        return values

    return Kind(allowed, parse)


def origin() -> Kind[str]:
    """A web origin: scheme, host and, if it is not the usual one, port."""

    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in ("http", "https") or not parts.hostname or raw != f"{parts.scheme}://{parts.netloc}":
            raise ValueError
        _ = parts.port  # raises ValueError when it is not a port
        return raw

    return Kind("an origin such as https://example.org", parse)


def network() -> Kind[str]:
    """An IP address or network."""

    def parse(raw: str) -> str:
        return str(ip_network(raw, strict=False))

    return Kind("an IP address or network", parse)
