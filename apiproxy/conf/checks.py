"""Checks of settings: what a value may be, and how to parse it. Pure functions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from apiproxy.core.origins import is_origin_pattern

T = TypeVar("T", covariant=True)
S = TypeVar("S", bound=str)

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MAX_USD = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """Parser of one type of value.

    allowed completes the sentence "it must be …"; parse raises ValueError for any other value.
    """

    allowed: str
    parse: Callable[[str], T]


def string(allowed: str = "text") -> Check[str]:
    """Any text on one line."""

    def parse(raw: str) -> str:
        if not raw.isprintable():
            raise ValueError
        return raw

    return Check(allowed, parse)


def integer(minimum: int, maximum: int, *, unit: str = "") -> Check[int]:
    """Whole number within inclusive bounds."""

    def parse(raw: str) -> int:
        number = int(raw)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    counted = f"a whole number of {unit}" if unit else "a whole number"
    return Check(f"{counted} from {minimum} to {maximum}", parse)


def id_range() -> Check[tuple[int, int]]:
    """Range of user ids, without root."""

    def parse(raw: str) -> tuple[int, int]:
        first, _, last = raw.partition("-")
        found = int(first), int(last)
        if not 0 < found[0] <= found[1] < 2**31:
            raise ValueError
        return found

    return Check("two numbers such as 65000-65499", parse)


def boolean() -> Check[bool]:
    """On or off, in the usual spellings."""

    def parse(raw: str) -> bool:
        word = raw.lower()
        if word not in _TRUE | _FALSE:
            raise ValueError
        return word in _TRUE

    return Check("1, true, yes or on, or 0, false, no or off", parse)


def choice(options: Iterable[S]) -> Check[S]:
    """One of the options, case-insensitive."""
    by_folded = {option.casefold(): option for option in options}

    def parse(raw: str) -> S:
        if raw.casefold() not in by_folded:
            raise ValueError
        return by_folded[raw.casefold()]

    return Check("one of " + ", ".join(by_folded.values()), parse)


def path() -> Check[Path]:
    """Path, made absolute; `~` is the home directory."""

    def parse(raw: str) -> Path:
        try:
            return Path(raw).expanduser().absolute()
        except RuntimeError as error:  # home directory unknown
            raise ValueError from error

    return Check("a path", parse)


def url(*schemes: str) -> Check[str]:
    """URL with one of the schemes and a host; trailing slashes are removed."""

    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0 or " " in raw:
            raise ValueError
        return raw.rstrip("/")

    return Check("an address such as " + " or ".join(f"{scheme}://host" for scheme in schemes), parse)


def csv(item: Check[T], *, allowed: str) -> Check[tuple[T, ...]]:
    """Comma-separated values; surrounding spaces and empty values are ignored."""

    def parse(raw: str) -> tuple[T, ...]:
        return tuple(item.parse(part.strip()) for part in raw.split(",") if part.strip())

    return Check(allowed, parse)


def mapping(*, allowed: str) -> Check[dict[str, str]]:
    """Comma-separated `name=value` pairs with unique names."""

    def parse(raw: str) -> dict[str, str]:
        pairs = [part.strip().partition("=") for part in raw.split(",") if part.strip()]
        values = {name.strip(): value.strip() for name, _, value in pairs}
        if len(values) != len(pairs) or not all(values) or not all(values.values()):
            raise ValueError
        return values

    return Check(allowed, parse)


def origin() -> Check[str]:
    """Origin of a web site: scheme, host and optional port."""

    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in ("http", "https") or not parts.hostname or raw != f"{parts.scheme}://{parts.netloc}":
            raise ValueError
        _ = parts.port  # raises ValueError for an invalid port
        return raw

    return Check("an origin such as https://example.org", parse)


def script_origin() -> Check[str]:
    """Origin of scripts (`core.origins`).

    The origin of a web site, desktop application or extension, `null`, or a pattern with `*`.
    """

    def parse(raw: str) -> str:
        if not is_origin_pattern(raw):
            raise ValueError
        return raw

    return Check("an origin such as https://example.org or tauri://localhost", parse)


def network() -> Check[str]:
    """IP address or network."""

    def parse(raw: str) -> str:
        return str(ip_network(raw, strict=False))

    return Check("an IP address or network", parse)


def usd() -> Check[Decimal]:
    """Amount in USD with at most 4 decimals."""

    def parse(raw: str) -> Decimal:
        try:
            amount = Decimal(raw)
        except InvalidOperation:
            raise ValueError from None
        if not Decimal(0) <= amount <= _MAX_USD or amount != round(amount, 4):
            raise ValueError
        return amount

    return Check(f"an amount in USD from 0 to {_MAX_USD}, with at most 4 decimals", parse)
