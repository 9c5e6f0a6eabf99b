"""Members of an object are found where its text has them."""

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.json_members import outermost_members

SPACE = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda kids: st.lists(kids, max_size=3) | st.dictionaries(st.text(max_size=4), kids, max_size=3),
    max_leaves=6,
)
NAMES = st.text(max_size=5) | st.sampled_from(["model", '"', "\\", "{", ",", "a:b"])


@given(members=st.dictionaries(NAMES, VALUES, max_size=5), space=st.lists(SPACE, min_size=4, max_size=4))
def test_find_values_in_text(members: dict[str, object], space: list[str]) -> None:
    before, after, outer, inner = space
    parts = [f"{before}{json.dumps(name)}{after}:{inner}{json.dumps(value)}{outer}" for name, value in members.items()]
    text = f"{outer}{{{','.join(parts) or inner}}}{before}".encode("utf-8", "replace")

    found = {name: text[start:end] for name, (start, end) in outermost_members(text).items()}

    assert found == {name: json.dumps(value).encode() for name, value in members.items()}


def test_find_name_written_with_escapes() -> None:
    assert list(outermost_members(b'{"\\u006dodel":1}')) == ["model"]


def test_find_values_around_long_strings() -> None:
    text = orjson.dumps({"a": "x" * 600_000, "b": [1, "y" * 300_000], "c": 3})

    found = {name: orjson.loads(text[start:end]) for name, (start, end) in outermost_members(text).items()}

    assert found == orjson.loads(text)
