"""Frames of an event stream are the same however its bytes are split."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.engines.http.frames import (
    MAX_FRAME_BYTES,
    FrameSplitter,
    FrameTooLargeError,
    data_of,
    frames_in,
    parse_json,
)

ENDS = ("\n", "\r", "\r\n")


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """An event stream with any line endings, and the data of its events."""
    text, expected = "", []
    for _ in range(draw(st.integers(0, 5))):
        values = draw(st.lists(st.text("ab: {}é", max_size=6).filter(lambda it: not it.startswith(" ")), max_size=3))
        lines = [draw(st.sampled_from(("data:", "data: "))) + value for value in values]
        for extra in draw(st.lists(st.sampled_from((": comment", ":", "event: x", "id", "retry: 1", "xdata: y")))):
            lines.insert(draw(st.integers(0, len(lines))), extra)
        if lines:
            text += "".join(line + draw(st.sampled_from(ENDS)) for line in lines)
            text += draw(st.sampled_from(ENDS)) if not text.endswith("\r") else draw(st.sampled_from(("\r", "\r\n")))
            expected.append("\n".join(values).encode())
    return text.encode(), [data for data in expected if data]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def received(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """The bytes and the data that come out of a stream in these pieces."""
    splitter = FrameSplitter()
    complete = [splitter.feed(piece) for piece in pieces]
    found = [data for part in complete for frame in frames_in(part) if (data := data_of(frame))]
    return b"".join(complete) + splitter.rest, found


@given(stream=streams(), at=st.lists(st.integers(0, 200)))
def test_find_same_frames_however_split(stream: tuple[bytes, list[bytes]], at: list[int]) -> None:
    data, expected = stream

    assert received(cut(data, at)) == (data, expected)


@given(stream=streams())
def test_find_same_frames_byte_by_byte(stream: tuple[bytes, list[bytes]]) -> None:
    data, expected = stream

    assert received([bytes([byte]) for byte in data]) == (data, expected)


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b'event: a\ndata: {"a": 1}', b'{"a": 1}'),
        (b'event: a\ndata:{"a": 1}', b'{"a": 1}'),
        (b'data: {"a":\ndata: 1}', b'{"a":\n1}'),
        (b'data:{"a":\ndata: 1}', b'{"a":\n1}'),
        (b'data: {"a":\r\ndata:1}\r\nid: 3', b'{"a":\n1}'),
        (b'event: data: x\ndata: {"a": 1}', b'{"a": 1}'),
        (b": data: nothing", b""),
        (b'data: {"a": "data: x"}', b'{"a": "data: x"}'),
        (b"data", b""),
    ],
)
def test_read_data_of_frame(frame: bytes, data: bytes) -> None:
    assert data_of(frame) == data


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: xxxxxxxxxx\n" * 4_096, b"\r\ndata: x" * 4_096])
def test_reject_frame_above_limit(piece: bytes) -> None:
    splitter = FrameSplitter()

    for _ in range(MAX_FRAME_BYTES // len(piece)):
        splitter.feed(piece)
    with pytest.raises(FrameTooLargeError):
        splitter.feed(piece)

    assert len(splitter.rest) <= MAX_FRAME_BYTES + len(piece)


@pytest.mark.parametrize("piece", [b"x", b"ab\n", b"data: x\r\n", b"xxxx\ny"])
def test_take_linear_time_for_frame_in_small_pieces(piece: bytes) -> None:
    def seconds(size: int) -> float:
        splitter = FrameSplitter()
        begin = time.perf_counter()
        for _ in range(size // len(piece)):
            splitter.feed(piece)
        assert len(splitter.rest) > size // 2
        return time.perf_counter() - begin

    small = min(seconds(50_000) for _ in range(3))
    assert min(seconds(400_000) for _ in range(2)) < 24 * small


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 18446744073709551615}', {"a": 2**64 - 1}),
        (b'"\\ud83d"', "\ud83d"),
        (b"\xff", None),
        (b"", None),
        (b"[" * 100_000, None),
        (b"1" * 5_000, None),
    ],
    ids=["large integer", "lone surrogate", "no UTF-8", "empty", "deep", "5000 digits"],
)
def test_parse_json_of_any_upstream(data: bytes, value: object) -> None:
    assert parse_json(data) == value
