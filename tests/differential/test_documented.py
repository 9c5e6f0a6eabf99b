"""docs/engines.md lists the differences that the tests allow, and no others."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.differential.differences import ANSWERS, BODY, HEADERS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "engines.md"
TABLES: Mapping[str, Iterable[tuple[str, ...]]] = {
    "| Part of the upstream's body | With `sdk` |": ((name, what) for name, (what, _) in BODY.items()),
    "| Header of the upstream's request | Difference |": ((f"`{name}`", what) for name, what in HEADERS.items()),
    "| The upstream's answer | With `sdk` | With `http` |": ((name, it.sdk, it.http) for name, it in ANSWERS.items()),
}


@pytest.mark.parametrize("header", TABLES)
def test_document_each_difference(header: str) -> None:
    expected = ["| " + " | ".join(cells) + " |" for cells in TABLES[header]]
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    begin = lines.index(header) + 2
    assert lines[begin : begin + len(expected) + 1] == [*expected, ""]
