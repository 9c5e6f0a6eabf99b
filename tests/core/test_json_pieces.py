"""A JSON text parsed in pieces is what it is parsed as a whole, and refused where that is."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core import json_pieces
from apiproxy.core.json_pieces import PiecesError, parse
from apiproxy.core.json_values import exact_values

_TEXTS = st.text() | st.sampled_from(["\\" * 40, '"' * 30, 'a\\",[{', "é" * 40, "😀" * 30, "\n" * 30])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXTS,
    lambda kids: st.lists(kids) | st.dictionaries(st.text(max_size=5), kids),
    max_leaves=30,
)
_SPACING = st.sampled_from([(",", ":"), (" , ", " : "), (",\n", ":\t")])


@pytest.fixture(params=[13, 30, 64], autouse=True, scope="module")
def small_pieces(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_PIECE_BYTES", request.param)
        yield


def whole(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ValueError


def pieced(raw: bytes) -> Any:
    try:
        return parse(raw)
    except ValueError as error:
        if "key" in str(error):
            return None
        return ValueError


def text_of(value: object, spacing: tuple[str, str], *, plain: bool) -> bytes:
    return json.dumps(value, separators=spacing, ensure_ascii=plain).encode("utf-8", "replace")


@given(_VALUES, _SPACING, st.booleans())
def test_value_is_that_of_the_whole(value: object, spacing: tuple[str, str], plain: bool) -> None:
    raw = text_of(value, spacing, plain=plain)

    assert (found := pieced(raw)) == whole(raw) or found is None


@given(_VALUES, _SPACING, st.integers(0, 10_000), st.sampled_from(b'[]{},:"\\ 1u'), st.sampled_from("+-="))
def test_broken_text_is_refused_as_the_whole(
    value: object, spacing: tuple[str, str], place: int, byte: int, change: str
) -> None:
    raw = bytearray(text_of(value, spacing, plain=True))
    at = place % len(raw)
    raw[at : at + (change != "+")] = b"" if change == "-" else bytes([byte])

    assert (found := pieced(bytes(raw))) == whole(bytes(raw)) or found is None


@given(_VALUES)
def test_count_is_no_less_than_the_values(value: object) -> None:
    def values(part: object) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(map(values, inner))

    assert exact_values(orjson.dumps(value, default=str)) + 1 >= values(value)


@pytest.mark.parametrize("raw", [b"[" * 2_000, b'{"' + b"k" * 500 + b'":1}'], ids=["too deep", "long key"])
def test_odd_text_is_refused(raw: bytes) -> None:
    with pytest.raises(PiecesError):
        parse(raw)
