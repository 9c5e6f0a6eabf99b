"""Compressed request bodies, and those that must not expand."""

import contextlib
import gzip
import os
import time
import tracemalloc
import zlib

import brotli  # type: ignore[import-untyped]  # has none
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.http.body import MAX_BODY_BYTES
from apiproxy.http.content_coding import FREE_BYTES, decompressed_pieces

MEGABYTE = 2**20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstd.compress,
}
ALL = [*PACKERS.items(), ("deflate", raw_deflate)]


def unpacked(raw: bytes, coding: str, *, limit: int = MAX_BODY_BYTES) -> bytes:
    return b"".join(decompressed_pieces(raw, coding, limit=limit))


def refused(raw: bytes, coding: str, *, limit: int = MAX_BODY_BYTES) -> ProxyError:
    with pytest.raises(ProxyError) as error:
        unpacked(raw, coding, limit=limit)
    return error.value


@pytest.mark.parametrize(("coding", "pack"), ALL)
@given(data=st.binary(max_size=2_000), times=st.sampled_from([1, 50]))
@settings(max_examples=30)
def test_unpack_what_was_packed(coding: str, pack: object, data: bytes, times: int) -> None:
    assert callable(pack)
    assert unpacked(pack(data * times), coding) == data * times


@pytest.mark.parametrize(("coding", "pack"), ALL)
def test_unpack_a_large_body(coding: str, pack: object) -> None:
    assert callable(pack)
    data = os.urandom(3 * MEGABYTE) + b"x" * MEGABYTE
    assert unpacked(pack(data), coding) == data


@pytest.mark.parametrize(("coding", "pack"), ALL)
def test_refuse_broken_and_further_bytes(coding: str, pack: object) -> None:
    assert callable(pack)
    packed = pack(b'{"a": 1}' * 2_000)
    assert "too early" in refused(packed[:-3], coding).message
    for broken in (packed + b"x", packed + b"x" * 100_000, b"\xff" * 20 + packed):
        error = refused(broken, coding)
        assert error.kind is FailureKind.INVALID_REQUEST
        assert coding in error.message


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "aws-chunked", "x" * 5_000])
def test_name_the_codings_that_are_supported(coding: str) -> None:
    message = refused(b"x", coding).message
    assert "gzip, deflate, br, zstd" in message
    assert len(message) < 200


@pytest.mark.parametrize(("coding", "pack"), ALL)
def test_stop_a_bomb_soon(coding: str, pack: object) -> None:
    assert callable(pack)
    bomb = pack(b" " * (200 * MEGABYTE))
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(ProxyError) as error:
        sum(map(len, decompressed_pieces(bomb, coding, limit=MAX_BODY_BYTES)))
    took_s = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert error.value.kind in (FailureKind.TOO_LARGE, FailureKind.INVALID_REQUEST)
    assert peak < max(4 * MEGABYTE, 2 * len(bomb)), "the pieces are not kept"
    assert took_s < 5


@pytest.mark.parametrize(("coding", "pack"), ALL)
def test_refuse_a_body_over_the_limit(coding: str, pack: object) -> None:
    assert callable(pack)
    data = os.urandom(64 * 1024) + b"x" * (2 * MEGABYTE)
    assert refused(pack(data), coding, limit=len(data) - 1).kind is FailureKind.TOO_LARGE
    assert unpacked(pack(data), coding, limit=len(data)) == data


def test_let_small_bodies_expand_as_they_like() -> None:
    assert len(unpacked(gzip.compress(b" " * FREE_BYTES), "gzip")) == FREE_BYTES
    assert "100 times" in refused(gzip.compress(b" " * (2 * FREE_BYTES)), "gzip").message


@given(st.binary(max_size=500), st.sampled_from(list(PACKERS)))
def test_survive_any_bytes(raw: bytes, coding: str) -> None:
    with contextlib.suppress(ProxyError):
        unpacked(raw, coding)


@pytest.mark.parametrize(("coding", "pack"), ALL)
def test_hold_no_call_for_long(coding: str, pack: object) -> None:
    """Each step is a call into C, which holds the GIL."""
    assert callable(pack)
    packed = pack(b"".join(os.urandom(700) + b"x" * 31_000 for _ in range(600)))
    longest = 0.0
    pieces = decompressed_pieces(packed, coding, limit=MAX_BODY_BYTES)
    while True:
        began = time.thread_time()
        if next(pieces, None) is None:
            break
        longest = max(longest, time.thread_time() - began)
    assert longest < 0.05
