"""Cases from users of such gateways as data: requests, streams and upstream errors, with the right outcome.

A case has an id, a title, its input, and `expect`. In the files `{mark}` stands for a text that no other request has.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Case = dict[str, Any]

ABSENT = "(absent)"
"""Expected value of a field that must not be there."""


def read(name: str) -> list[Case]:
    """The cases of a file next to this module."""
    lines = Path(__file__).with_name(f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


STREAMS = read("streams")


def title_of(case: Case) -> str:
    return f"{case['id']} {case['title']}"


def at(value: Any, path: str) -> Any:
    """The value at a dotted path; `#` counts what is there, and ABSENT stands for nothing."""
    here = value
    for step in path.split(".") if path else ():
        if step == "#":
            here = len(here)
        elif isinstance(here, list) and re.fullmatch(r"-?\d+", step):
            here = here[int(step)] if -len(here) <= int(step) < len(here) else ABSENT
        elif isinstance(here, dict):
            here = here.get(step, ABSENT)
        else:
            return ABSENT
    return here


def differences(value: Any, expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Paths whose value is another than expected: both values.

    An expected `{"matches": PATTERN}` is a regular expression. A text is compared as JSON with a value that is none.
    """
    return {
        path: (wanted, found)
        for path, wanted in expected.items()
        if not _is(found := at(value, path), wanted)
    }  # fmt: skip


def _is(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and wanted.keys() == {"matches"}:
        return isinstance(found, str) and re.search(wanted["matches"], found, re.DOTALL) is not None
    if isinstance(found, str) and not isinstance(wanted, str):
        try:
            return bool(json.loads(found) == wanted)
        except ValueError:
            return False
    return bool(found == wanted)
