"""Validation of JSON columns: lists of names, rates by name, and capabilities."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError

from apiproxy.core.hosts import host_pattern

MAX_RATES = 50
_RATE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_RATE = Decimal(100_000)
_MAX_RATE_CHARS = 20


def validate_names(value: object) -> None:
    """Validate a list of distinct, non-empty, stripped strings."""
    if not isinstance(value, list) or not all(
        isinstance(name, str) and name and name == name.strip() for name in value
    ):
        raise ValidationError("Must be a list of names.", code="names")
    if len(set(value)) != len(value):
        raise ValidationError("Each name may be in the list only once.", code="names")


def read_rates(value: object) -> Mapping[str, Decimal]:
    """Rates of a column, without values that are not numbers from 0 to 100,000."""
    pairs = value.items() if isinstance(value, dict) else ()
    found = ((str(name), _rate(number)) for name, number in pairs)
    return {name: number for name, number in found if number is not None}


def validate_rates(value: object) -> None:
    """Validate at most 50 names with a number from 0 to 100,000 each."""
    if not isinstance(value, dict) or len(value) > MAX_RATES:
        raise ValidationError(f"Must be at most {MAX_RATES} names, each with a number.", code="rates")
    for name, number in value.items():
        if not _RATE_NAME.fullmatch(str(name)):
            raise ValidationError(f"{str(name)[:64]!r} is not a name.", code="rates")
        if _rate(number) is None:
            raise ValidationError(f"{name}: must be a number from 0 to {_MAX_RATE:,}.", code="rates")


def _rate(number: object) -> Decimal | None:
    if isinstance(number, bool) or not isinstance(number, str | int | float) or len(str(number)) > _MAX_RATE_CHARS:
        return None
    try:
        read = Decimal(str(number))
    except InvalidOperation:
        return None
    return read if read.is_finite() and 0 <= read <= _MAX_RATE else None


def validate_capabilities(value: object) -> None:
    """Validate an object of capability objects, as in the Models API."""
    entries = list(value.values()) if isinstance(value, dict) else []
    if not entries or not all(isinstance(entry, dict) and "supported" in entry for entry in entries):
        raise ValidationError('Must be an object such as {"batch": {"supported": true}}.', code="capabilities")


def validate_hosts(value: object) -> None:
    """Validate a list of host names, addresses, `*.example.com`, `*` or `none`."""
    validate_names(value)
    for entry in value if isinstance(value, list) else ():
        try:
            host_pattern(entry)
        except ValueError:
            raise ValidationError(f"{entry!r} is not a host name: no scheme, port or path.", code="hosts") from None
