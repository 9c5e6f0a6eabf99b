"""A part of a lock: packages with what they need, each pinned and with its hashes."""

import re
from collections.abc import Iterable

_START = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_VIA = re.compile(r"^    #(?: via)? +([A-Za-z0-9._-]+)", re.MULTILINE)


def part(lock: str, packages: Iterable[str]) -> str:
    """The blocks of the packages, and of all that stands there because of them (`# via`)."""
    blocks = {_name(block): block for block in _START.split(lock) if block[:1].isalnum()}
    wanted = set(packages)
    while more := {name for name, block in blocks.items() if name not in wanted and wanted & _parents(block)}:
        wanted |= more
    return "".join(block for name, block in blocks.items() if name in wanted)


def _name(block: str) -> str:
    found = _NAME.match(block)
    return found[0] if found else ""


def _parents(block: str) -> set[str]:
    return set(_VIA.findall(block))
