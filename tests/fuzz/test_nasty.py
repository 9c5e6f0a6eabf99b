"""Known attacks on servers, one by one, over a socket to a real gateway."""

import gzip
import json
import zlib
from collections.abc import Sequence

import psutil
import pytest

from tests.fuzz.exchange import Answer, Request, fault_of, send
from tests.fuzz.inputs import MODEL
from tests.fuzz.target import Target
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

GOOD = json.dumps({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "[[n=1]]"}]}).encode()
LIMIT_BYTES = 32 * 2**20
POSTED = ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions")


def with_field(field: bytes) -> bytes:
    return GOOD[:-1] + b"," + field + b"}"


def asked(target: Target, request: Request, status: int | None = None) -> Answer:
    answer = target.ask(request)
    assert fault_of(request.path, answer, method=request.method.decode()) is None, answer
    assert status is None or answer.status == status, answer
    return answer


def said(target: Target, *pieces: bytes, half_close: bool = False) -> Answer:
    return send(target.gateway.base_url, pieces, half_close=half_close)


def refused(answer: Answer, status: int, *, path: str = "/") -> None:
    """It is an error of this status in JSON, on a connection that ends."""
    assert answer.status == status
    assert fault_of(path, answer) is None, answer
    assert answer.headers["connection"] == "close"


def head(
    *lines: bytes, method: bytes = b"POST", target: bytes = b"/v1/messages", version: bytes = b"HTTP/1.1"
) -> bytes:
    return b"\r\n".join([b"%s %s %s" % (method, target, version), b"host: localhost", *lines, b"", b""])


def keyed(target: Target) -> bytes:
    return b"x-api-key: " + target.keys["fuzz"].encode()


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize(
    "body",
    [
        with_field(b'"deep":' + b"[" * 100_000 + b"]" * 100_000),
        with_field(b'"deep":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        with_field(b'"temperature":1e999'),
        with_field(b'"temperature":' + b"9" * 5_000),
        with_field(b'"temperature":NaN'),
        with_field(b'"temperature":-Infinity'),
        with_field(b'"x":"\\ud800"'),
        with_field(b'"x":"\xff\xfe"'),
        with_field(b'"max_tokens":1,"max_tokens":"two"'),
        GOOD + b"\x00",
        b"\x00" * 1_000,
    ],
    ids=[
        "lists 100,000 deep", "objects 100,000 deep", "1e999", "a number of 5,000 digits", "NaN", "-Infinity",
        "a lone surrogate", "no UTF-8", "a key twice", "a NUL at the end", "NUL alone",
    ],
)  # fmt: skip
def test_reject_body_that_is_not_json(target: Target, path: str, body: bytes) -> None:
    asked(target, Request(b"POST", path.encode(), body=body), 400)


@pytest.mark.parametrize("path", POSTED)
def test_reject_body_nested_beyond_own_limit(target: Target, path: str) -> None:
    deep = with_field(b'"messages":[{"role":"user","content":[' + b'{"a":' * 1_000 + b"1" + b"}" * 1_000 + b"]}]")
    asked(target, Request(b"POST", path.encode(), body=deep), 400)


@pytest.mark.parametrize("kind", ["text/html", "multipart/form-data", "a=b", ""])
def test_ignore_name_of_body(target: Target, kind: str) -> None:
    asked(target, Request(b"POST", b"/v1/messages", headers=((b"content-type", kind.encode()),), body=GOOD), 200)


@pytest.mark.parametrize(
    ("coding", "packed", "status"),
    [
        (b"gzip", gzip.compress(GOOD), 200),
        (b"deflate", zlib.compress(GOOD), 200),
        (b"gzip", gzip.compress(b" " * LIMIT_BYTES), 400),
    ],
    ids=["gzip", "deflate", "spaces up to the limit"],
)
def test_decompress_body_within_limit(target: Target, coding: bytes, packed: bytes, status: int) -> None:
    asked(target, Request(b"POST", b"/v1/messages", headers=((b"content-encoding", coding),), body=packed), status)


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf" + GOOD, GOOD.decode().encode("utf-16")], ids=["UTF-8", "UTF-16"])
def test_accept_byte_order_mark(target: Target, body: bytes) -> None:
    asked(target, Request(b"POST", b"/v1/messages", body=body), 200)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/debug/stats"])
def test_reject_one_byte_over_limit_in_shape_of_its_path(target: Target, path: str) -> None:
    answer = said(target, head(b"content-length: %d" % (LIMIT_BYTES + 1), target=path.encode()))

    assert answer.status == 413
    assert fault_of(path, answer) is None, answer


def test_accept_body_of_exactly_the_limit(target: Target) -> None:
    body = b" " * (LIMIT_BYTES - 2) + b"[]"
    answer = asked(target, Request(b"POST", b"/v1/chat/completions", body=body), 400)

    assert "must be a JSON object" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: -1"],
        [b"content-length: 1e3"],
        [b"content-length: 1", b"content-length: 2"],
        [b"content-length: 1", b"content-length: 1"],
        [b"content-length: 1, 1"],
        [b"content-length: +1"],
        [b"content-length: 0x1"],
        [b"content-length: 1_0"],
        [b"content-length:"],
        [b"content-length: 1", b" 1"],
        [b"content-length : 1"],
        [b"content-length: 0", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"content-length: 1"],
        [b"transfer-encoding: gzip, chunked"],
        [b"transfer-encoding: chunked, identity"],
        [b"transfer-encoding: chunked, chunked"],
        [b"transfer-encoding: chunked", b"transfer-encoding: identity"],
        [b"transfer-encoding: identity", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b"transfer-encoding: chunked"],
        [b"transfer-encoding: chunked", b" , identity"],
        [b"transfer-encoding: identity"],
        [b"transfer-encoding: identity", b"content-length: 1"],
        [b"transfer-encoding: \x0bchunked"],
        [b"transfer-encoding: xchunked"],
        [b"transfer-encoding:"],
        [b"transfer-encoding : chunked"],
        [b"x y: z"],
        [b"no colon"],
        [b"x: a\x00b"],
    ],
    ids=repr,
)
def test_headers_that_contradict_themselves_are_refused(target: Target, lines: Sequence[bytes]) -> None:
    refused(said(target, head(*lines)), 400)
    raw = head(keyed(target), *lines, target=b"/v1/models")
    refused(said(target, raw, b"0\r\n\r\n"), 400, path="/v1/models")


def test_refuse_chunks_in_http_1_0(target: Target) -> None:
    lines = [keyed(target), b"transfer-encoding: chunked"]
    refused(said(target, head(*lines, version=b"HTTP/1.0"), b"0\r\n\r\n"), 400)


@pytest.mark.parametrize(
    ("line", "rest"), [(b"transfer-encoding: chunked", b"zz\r\n"), (b"transfer-encoding: chunked", b"-1\r\n{}\r\n")]
)
def test_chunks_that_are_none_are_refused(target: Target, line: bytes, rest: bytes) -> None:
    refused(said(target, head(keyed(target), line), rest), 400)


@pytest.mark.parametrize("announced", [b"10000000", b"2000001", b"f" * 400])
def test_refuse_a_chunk_that_announces_too_much(target: Target, announced: bytes) -> None:
    refused(said(target, head(keyed(target), b"transfer-encoding: chunked"), announced + b"\r\n"), 413)


def test_refuse_chunks_of_one_byte_each(target: Target) -> None:
    chunks = b"1\r\n \r\n" * 40_000
    refused(said(target, head(keyed(target), b"transfer-encoding: chunked"), chunks), 400)


def test_accept_a_body_in_chunks(target: Target) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, GOOD[at : at + 1]) for at in range(len(GOOD))) + b"0\r\n\r\n"
    lines = [keyed(target), b"transfer-encoding: CHUNKED", b"connection: close"]
    assert said(target, head(*lines), chunks).status == 200


@pytest.mark.parametrize("digits", [16, 20, 5_000, 16_000])
@pytest.mark.parametrize("path", [b"/v1/messages", b"/v1/responses", b"/healthz"])
def test_refuse_a_length_of_many_digits_in_json(target: Target, path: bytes, digits: int) -> None:
    answer = said(target, head(b"content-length: " + b"9" * digits, target=path), b"{}")
    assert answer.status == 413
    assert fault_of(path.decode(), answer) is None, answer
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("digits", "status"), [(30, 200), (5_000, 400)])
def test_bound_a_length_with_leading_zeros(target: Target, digits: int, status: int) -> None:
    length = b"content-length: " + str(len(GOOD)).rjust(digits, "0").encode()
    lines = [keyed(target), length, b"connection: close"]
    assert said(target, head(*lines), GOOD).status == status


@pytest.mark.parametrize(
    ("lines", "address", "status"),
    [
        ([b"x-%d: y" % number for number in range(501)], b"/v1/models", 431),
        ([b"x-%d: %s" % (number, b"y" * 1_000) for number in range(20)], b"/v1/models", 431),
        ([b"x: " + b"y" * 100_000], b"/v1/models", 431),
        ([], b"/v1/" + b"x" * 100_000, 414),
        ([], b"/v1/models?" + b"a=b&" * 20_000, 414),
    ],
    ids=["many headers", "large headers", "one long header", "a long path", "a long query string"],
)
def test_reject_flood_of_headers(target: Target, lines: list[bytes], address: bytes, status: int) -> None:
    refused(said(target, head(*lines, method=b"GET", target=address)), status, path=address.decode())


@pytest.mark.parametrize("path", ["/v1/chat/models", "/v1/models", "/debug/stats"])
def test_reject_too_long_url_in_shape_of_its_path(target: Target, path: str) -> None:
    answer = said(target, head(method=b"GET", target=path.encode() + b"?limit=" + b"9" * 100_000))
    assert answer.status == 414
    assert fault_of(path, answer) is None, answer


@pytest.mark.parametrize(
    "start",
    [
        b"NONSENSE",
        b"GET /healthz",
        b"GET /healthz HTTP/3.7",
        b"\xff\xfe / HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET  HTTP/1.1",
    ],
)
def test_reject_non_http(target: Target, start: bytes) -> None:
    refused(said(target, start + b"\r\nhost: localhost\r\n\r\n"), 400)


@pytest.mark.parametrize("query", [b"a=b&" * 2_000, b"limit=" + b"9" * 5_000, b"limit=%00", b"limit=\xd9\xa3"])
@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/usage"])
def test_reject_or_ignore_invalid_query_string(target: Target, path: bytes, query: bytes) -> None:
    query = query.replace(b"limit", b"days") if path == b"/v1/usage" else query
    asked(target, Request(b"GET", path + b"?" + query), 400)


@pytest.mark.parametrize("method", [b"TRACE", b"PROPFIND", b"OPTIONS", b"HEAD", b"X", b"get", b"PUT"])
def test_answer_405_to_unknown_method(target: Target, method: bytes) -> None:
    asked(target, Request(method, b"/v1/messages"), 405)


@pytest.mark.parametrize(
    "path",
    ["/static/%2e%2e/%2e%2e/etc/passwd", "/static/..%2f..%2fetc%2fpasswd", "/static/../proxy_site/settings.py",
     "/static/..%5c..%5cetc", "/v1/../debug/stats", "/v1/models/..%2f..%2f..%2fetc%2fpasswd"],
)  # fmt: skip
def test_keep_paths_within_site(target: Target, path: str) -> None:
    answer = asked(target, Request(b"GET", path.encode()), 404)

    assert b"root:" not in answer.body
    assert b"INSTALLED_APPS" not in answer.body


def test_http_1_0_is_answered_whole(target: Target) -> None:
    key = b"x-api-key: " + target.keys["fuzz"].encode()
    answer = said(target, head(key, b"content-length: %d" % len(GOOD), version=b"HTTP/1.0"), GOOD)

    assert answer.status == 200
    assert answer.json()["type"] == "message"


def test_send_100_continue_to_waiting_client(target: Target) -> None:
    key = b"x-api-key: " + target.keys["fuzz"].encode()
    waits = head(key, b"expect: 100-continue", b"content-length: %d" % len(GOOD), b"connection: close")

    assert said(target, waits, GOOD).status == 200


def test_pipelined_requests_are_answered_in_their_order(target: Target) -> None:
    key = b"x-api-key: " + target.keys["fuzz"].encode()
    first = head(key, b"content-length: %d" % len(GOOD), b"x-request-id: first") + GOOD
    second = head(b"x-request-id: second", b"connection: close", method=b"GET", target=b"/healthz")

    assert said(target, first + second).headers["x-request-id"] == "first"


@pytest.mark.parametrize("good", ["first", "second", "both"])
def test_of_two_keys_none_counts(target: Target, good: str) -> None:
    """A proxy in front could check the one and we the other."""
    key = target.keys["fuzz"].encode()
    pair = {"first": (key, b"sk-x"), "second": (b"sk-x", key), "both": (key, key)}[good]
    lines = [b"x-api-key: " + each for each in pair]
    answer = said(target, head(*lines, b"connection: close", method=b"GET", target=b"/v1/models"))

    assert answer.status == 401


@pytest.mark.parametrize("given", [b"\xff\xfe", b"a\r\n b", b"x" * 200, b"<script>", b"a\x0bb"])
def test_never_echo_harmful_id(target: Target, given: bytes) -> None:
    for wrong in (b"x: a\x0cb", b"content-length: -1", b"x: y"):
        lines = [b"x-request-id: " + given, wrong, b"connection: close"]
        answer = said(target, head(*lines, method=b"GET", target=b"/healthz"))
        assert answer.headers["x-request-id"] == answer.headers["request-id"]


@pytest.mark.parametrize("path", [b"/v1/messages", b"/debug/stats", b"/", b"/dashboard/livestock"])
def test_there_are_no_sockets_but_the_dashboards(target: Target, path: bytes) -> None:
    upgrade = [b"upgrade: websocket", b"connection: upgrade, close", b"sec-websocket-version: 13"]
    lines = [*upgrade, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", b"origin: http://localhost"]
    data = [*lines, b"x-api-key: " + target.keys["fuzz"].encode()]
    answer = send(target.gateway.base_url, [head(*data, method=b"GET", target=path)], half_close=True)

    assert answer.status not in (101, 500)


def test_keep_client_from_changing_links_of_page(target: Target) -> None:
    answer = target.ask(Request(b"GET", b"/dashboard/", headers=((b"daphne-root-path", b"/evil"),)))

    assert answer.status == 302
    assert answer.headers["location"].startswith("/admin/login/")


def test_endless_body_takes_no_slot_and_no_worker(target: Target) -> None:
    for _ in range(20):
        cut = head(b"x-api-key: " + target.keys["fuzz"].encode(), b"content-length: 1000")
        assert said(target, cut, b'{"model":', half_close=True).status == 0
    target.still_well()


def test_refuse_without_closing_connection(target: Target) -> None:
    server = psutil.Process(target.gateway.pid)
    for _ in range(50):
        said(target, b"NONSENSE\r\n\r\n")
    eventually(lambda: len(server.net_connections("tcp")) < 40, within_s=10, why="closed connections")
