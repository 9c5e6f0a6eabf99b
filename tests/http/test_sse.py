"""Server-sent events: one line of data each, which the official client reads back as it was."""

import json
from typing import Any

import pytest
from anthropic._streaming import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.json_encoding import dumps
from apiproxy.http.sse import encode_event
from tests.support.streams import json_values

objects = st.dictionaries(st.text(), json_values(), max_size=4)


@given(data=objects)
def test_read_event_back_with_official_client(data: dict[str, Any]) -> None:
    stream = encode_event("content_block_delta", data) + encode_event("ping", {})

    first, second = SSEDecoder().iter_bytes(iter([stream]))

    assert (first.event, json.loads(first.data)) == ("content_block_delta", data)
    assert (second.event, second.data) == ("ping", "{}")


@given(data=objects)
def test_encode_event_as_name_data_and_blank_line(data: dict[str, Any]) -> None:
    data["text"] = "a\nb\r\n\u2028"

    name, line, empty, rest = encode_event("x", data).split(b"\n")

    assert (name, line, empty, rest) == (b"event: x", b"data: " + dumps(data), b"", b"")


@pytest.mark.parametrize("value", ["\ud83d", 2**70, "ä\u2028€😀"], ids=["lone surrogate", "huge number", "text"])
def test_json_is_written_of_whatever_an_upstream_said(value: object) -> None:
    assert json.loads(dumps({"value": value})) == {"value": value}
