"""Errors of the upstream with their status and body, and of failed and lost connections."""

import aiohttp
import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.engines.http.errors import error_of_event, error_of_response, lost_connection

ERROR = b'{"type":"error","error":{"type":"new_error","message":"m","details":{"a":1}},"extra":[1.0]}'


@pytest.mark.parametrize("status", [400, 401, 413, 418, 429, 500, 529, 599])
def test_keep_status_and_body(status: int) -> None:
    error = error_of_response(status, ERROR, {"retry-after": "1"})

    assert error.kind is FailureKind.UPSTREAM_ERROR
    assert error.upstream is not None
    assert (error.upstream.status, error.upstream.type, error.upstream.body) == (status, "new_error", ERROR)
    assert (error.message, error.upstream.headers) == ("m", {"retry-after": "1"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error": 7}',
        b'{"error": {"type": 1, "message": "m"}}',
        b'{"error": {"type": "a"}}',
        b"\xff",
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(404, "not_found_error"), (529, "overloaded_error"), (418, "api_error")])
def test_name_error_without_readable_body(body: bytes, status: int, kind: str) -> None:
    upstream = error_of_response(status, body, {}).upstream

    assert upstream is not None
    assert (upstream.status, upstream.type, upstream.body) == (status, kind, b"")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 399])
def test_report_redirect_as_bad_gateway(status: int) -> None:
    upstream = error_of_response(status, ERROR, {}).upstream

    assert upstream is not None
    assert (upstream.status, upstream.body) == (502, b"")


def test_keep_data_of_error_event() -> None:
    data = b'{"type":"error", "error":{"type":"overloaded_error","message":"m"}, "x":1}'

    upstream = error_of_event({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, data).upstream

    assert upstream is not None
    assert (upstream.status, upstream.body) == (529, data)


@pytest.mark.parametrize("event", [{}, {"error": None}, {"error": {"type": [], "message": "m"}}])
def test_name_error_event_that_cannot_be_read(event: dict[str, object]) -> None:
    upstream = error_of_event(event, b"{}").upstream

    assert upstream is not None
    assert (upstream.status, upstream.type) == (500, "api_error")


@pytest.mark.parametrize(
    ("error", "unsent"),
    [
        (aiohttp.ServerDisconnectedError(), False),
        (aiohttp.ClientOSError(104, "reset"), False),
        (aiohttp.ClientPayloadError("cut"), False),
        (TimeoutError(), False),
        (aiohttp.ConnectionTimeoutError(), True),
    ],
)
def test_tell_lost_connection_from_failed_one(error: Exception, *, unsent: bool) -> None:
    lost, is_unsent = lost_connection(error)

    assert (lost.kind, is_unsent) == (FailureKind.CONNECTION_LOST, unsent)
