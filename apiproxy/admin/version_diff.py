"""Differences between two definitions of an agent, as lines. Pure."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

MAX_LINES = 2_000
"""Of one field, on each side: the comparison takes time with their product."""
_CONTEXT_LINES = 2


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference."""

    kind: Literal["field", "added", "removed", "same", "gap"]
    text: str


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the fields that differ."""
    return [name for name, value in after.items() if value != before.get(name)]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Changed fields with their changed lines."""
    lines: list[Line] = []
    for name in changed_fields(before, after):
        lines.append(Line("field", name))
        lines.extend(_changed_lines(as_lines(before.get(name)), as_lines(after[name])))
    return lines


def as_lines(value: object) -> list[str]:
    """A field's value as text; nothing for an empty one."""
    if value is None or value in ("", []):
        return []
    if isinstance(value, dict):
        return json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return str(value).splitlines()


def _changed_lines(before: list[str], after: list[str]) -> Iterator[Line]:
    if max(len(before), len(after)) > MAX_LINES:
        yield Line("gap", f"{len(before):,} lines before, {len(after):,} after: too many to compare.")
        return
    first = True
    for group in difflib.SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(_CONTEXT_LINES):
        if not first:
            yield Line("gap", "…")
        first = False
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                yield from (Line("same", text) for text in before[start:end])
                continue
            yield from (Line("removed", text) for text in before[start:end])
            yield from (Line("added", text) for text in after[new_start:new_end])
