"""A lint for regular expressions: what in a pattern lets its time grow faster than its text.

Two repetitions without a bound are a fault where one is within the other, or where both can match the same characters
and nothing that stands between them must match what one of the two cannot: then each division of a text among the two
is tried. Characters are those of a sample, which has all of ASCII.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

# The parse tree of `re` itself has no public name.
names: Any = import_module("re._constants")
_parser: Any = import_module("re._parser")

UNBOUNDED = 1_000
"""A repetition that may match so often counts as one without a bound."""
_SAMPLE = frozenset([*map(chr, range(128)), "é", "Ω", "\u2028", "😀"])
_MAX_PATHS = 5_000


@dataclass(frozen=True, slots=True)
class _Item:
    """A part of a pattern: the characters that it may match, whether it must match one, and whether it has a bound."""

    chars: frozenset[str]
    needed: bool
    unbounded: bool = False
    nested: bool = False


def faults(pattern: re.Pattern[str] | re.Pattern[bytes]) -> list[str]:
    """Faults of the pattern; empty if it is safe for any text."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = _parser.parse(text, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    found = set()
    for path in itertools.islice(_paths(list(tree), pattern.flags), _MAX_PATHS):
        found |= {"a repetition without a bound within another" for item in path if item.nested}
        found |= set(_ambiguous(path))
    return sorted(found)


def _ambiguous(path: list[_Item]) -> Iterator[str]:
    for at, one in enumerate(path):
        if not one.unbounded:
            continue
        between: list[_Item] = []
        for other in path[at + 1 :]:
            needed = [item.chars for item in between if item.needed]
            if any(not chars & one.chars for chars in needed):
                break
            shared = one.chars & other.chars
            if other.unbounded and shared and not any(not chars & other.chars for chars in needed):
                yield f"two repetitions without a bound that both match {min(shared)!r}"
            between.append(other)


def _paths(items: list[Any], flags: int) -> Iterator[list[_Item]]:
    """Each way through the alternatives of a sequence, as what it matches one after the other."""
    if not items:
        yield []
        return
    for first in _alternatives(items[0], flags):
        for rest in _paths(items[1:], flags):
            yield first + rest


def _alternatives(item: Any, flags: int) -> Iterator[list[_Item]]:
    kind, value = item
    if kind in (names.MAX_REPEAT, names.MIN_REPEAT, names.POSSESSIVE_REPEAT):
        least, most, body = value
        inner = [part for path in _paths(list(body), flags) for part in path]
        unbounded = int(most) >= UNBOUNDED
        nested = unbounded and any(part.unbounded for part in inner)
        if int(most) <= 1:
            yield from _paths(list(body), flags)
            if not least:
                yield []
        else:
            yield [_Item(_union(part.chars for part in inner), bool(least), unbounded, nested)]
    elif kind is names.SUBPATTERN:
        yield from _paths(list(value[-1]), (flags | value[1]) & ~value[2])
    elif kind is names.ATOMIC_GROUP:
        yield from _paths(list(value), flags)
    elif kind is names.BRANCH:
        for branch in value[1]:
            yield from _paths(list(branch), flags)
    elif kind in (names.AT, names.ASSERT, names.ASSERT_NOT):
        yield []
    else:
        yield [_Item(_chars(item, flags), needed=True)]


def _chars(item: Any, flags: int) -> frozenset[str]:
    """The characters of the sample that a part of one character matches: `re` itself is asked."""
    kind, value = item
    if kind is names.ANY:
        return _SAMPLE if flags & re.DOTALL else _SAMPLE - {"\n"}
    if kind is names.LITERAL:
        return _cased({chr(value)}, flags)
    if kind is names.NOT_LITERAL:
        return _SAMPLE - _cased({chr(value)}, flags)
    if kind is names.IN:
        negated = value[0][0] is names.NEGATE
        chars = _union(_of_set(part, flags) for part in value if part[0] is not names.NEGATE)
        return _SAMPLE - chars if negated else chars
    raise NotImplementedError(f"{kind} in a pattern: teach this lint about it")


def _of_set(part: Any, flags: int) -> frozenset[str]:
    kind, value = part
    if kind is names.RANGE:
        return _cased({char for char in _SAMPLE if value[0] <= ord(char) <= value[1]}, flags)
    if kind is names.CATEGORY:
        letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[str(value).rpartition("_")[2]]
        wanted = f"\\{letter.upper() if '_NOT_' in str(value) else letter}"
        return frozenset(char for char in _SAMPLE if re.fullmatch(wanted, char, flags & re.ASCII))
    return _chars(part, flags)


def _cased(chars: set[str], flags: int) -> frozenset[str]:
    if not flags & re.IGNORECASE:
        return frozenset(chars)
    return frozenset({form for char in chars for form in (char, char.lower(), char.upper())})


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
