"""Body and headers of the upstream request, and the headers of the response that the client gets."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from apiproxy.engines.http.payload import request_body, request_headers, response_headers
from tests.support.http_engine import http_request


def encoded(**fields: Any) -> Any:
    request = http_request(**fields)
    return orjson.loads(b"".join(request_body(replace(request, raw_body=None, model="claude-other"))))


def test_send_received_body() -> None:
    request = http_request()

    assert request_body(replace(request, raw_body=b' {"a": 1.0}')) == [b' {"a": 1.0}']


@pytest.mark.parametrize("size", [10, 300_000, 3_000_000])
def test_cut_large_body(size: int) -> None:
    raw = b"x" * size

    pieces = request_body(replace(http_request(), raw_body=raw))

    assert b"".join(pieces) == raw
    assert max(map(len, pieces)) <= 256 * 1024


@pytest.mark.parametrize("stream", [True, False])
def test_encode_translated_body(*, stream: bool) -> None:
    body = encoded(stream=stream)

    assert (body["model"], body["stream"]) == ("claude-other", stream)


def test_encode_large_translated_body_in_pieces() -> None:
    body = {"messages": [{"role": "user", "content": "\ud83d" + "x" * 4_000_000}], "n": 2**70}
    request = replace(http_request(), raw_body=None, body=body, body_bytes=4_000_000)

    pieces = request_body(request)

    assert b"2" not in pieces[0][:1]
    assert b"1180591620717411303424" in b"".join(pieces)
    assert max(map(len, pieces)) < 3 * 2**20


def test_keep_version_and_betas_of_client() -> None:
    headers = {"anthropic-beta": " b , a,,a", "anthropic-version": "other"}
    request = replace(http_request(), headers=headers, betas=("b", "a"), api_version="2023-01-01")

    sent = request_headers(request, size_bytes=7)

    assert sent["anthropic-beta"] == " b , a,,a"
    assert sent["anthropic-version"] == "2023-01-01"
    assert sent["content-length"] == "7"


def test_pass_listed_response_headers_only() -> None:
    received = {
        "Request-Id": "req_1",
        "Retry-After": "3",
        "x-should-retry": "true",
        "Anthropic-RateLimit-Tokens-Remaining": "5",
        "anthropic-organization-id": "org",
        "set-cookie": "a=b",
        "server": "x",
        "content-length": "3",
        "x-upstream-request-id": "forged",
    }

    assert response_headers(received) == {
        "x-upstream-request-id": "req_1",
        "retry-after": "3",
        "x-should-retry": "true",
        "anthropic-ratelimit-tokens-remaining": "5",
    }


def test_bound_response_headers() -> None:
    flood = {f"anthropic-ratelimit-{number}": "1" for number in range(1_000)}
    odd = {"anthropic-ratelimit-a": "a\r\nb", "retry-after": "x" * 5_000, "request-id": "a\x00"}

    assert len(response_headers(flood)) == 64
    assert response_headers(odd) == {}
