"""Connections of clients: addresses, key headers, encodings of bodies, scripts of other origins."""

import codecs
import gzip
import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import brotli  # type: ignore[import-untyped]  # has none
import httpx
import psutil
import pytest
from backports import zstd

from tests.fuzz.exchange import Answer, send
from tests.limits.gateways import make_keys
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

MEGABYTE = 2**20
SITE = "https://app.example.org"
ORIGINS = [SITE, "null", "tauri://localhost", "app://obsidian.md", "vscode-webview://1a2b3c4d", "https://x.team.test"]
ALLOWED = f"{SITE},null,tauri://localhost,app://obsidian.md,vscode-webview://*,https://*.team.test"
PATHS = [
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/models",
    "/sessions",
]


@pytest.fixture(scope="module", params=["sdk", "http"])
def gateway(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    env = {
        "CLAUDE_PROXY_BODY_MEMORY_MB": "64",
        "CLAUDE_PROXY_CORS_ORIGINS": ALLOWED,
        "CLAUDE_PROXY_ENGINE": request.param,
        "CLAUDE_PROXY_MAX_CONCURRENT": "2",
        "CLAUDE_PROXY_WARM_WORKERS": "1",
        # As a pod gets them where the Service has such a name.
        "CLAUDE_PROXY_SERVICE_HOST": "10.0.0.1",
        "CLAUDE_PROXY_SERVICE_PORT": "3456",
        "CLAUDE_PROXY_PORT_3456_TCP": "tcp://10.0.0.1:3456",
    }
    process = GatewayProcess(tmp_path_factory.mktemp(request.param), upstream=stand_in.base_url, env=env).start()
    yield process
    process.stop()


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "haiku", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **fields}


def post(gateway: GatewayProcess, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
    return httpx.post(f"{gateway.base_url}{path}", content=content, headers={**headers}, timeout=30)


def key(gateway: GatewayProcess) -> dict[str, str]:
    return {"x-api-key": gateway.api_key}


# Addresses.


@pytest.mark.parametrize("path", ["/v1/v1/messages", "//v1/messages", "/v1/messages/", "/v1//messages", "/messages/"])
def test_answer_messages_at_careless_address(gateway: GatewayProcess, stand_in: StandInProcess, path: str) -> None:
    said = mark()
    answer = post(gateway, path, json.dumps(asked(f"{said} [[say=yes]]")).encode(), key(gateway))
    assert answer.status_code == 200, answer.text
    assert answer.json()["content"][0]["text"] == "yes"
    stand_in.only(said)


@pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "//chat/completions", "/v1//chat/completions/"])
def test_answer_chat_at_careless_address(gateway: GatewayProcess, path: str) -> None:
    answer = post(gateway, path, json.dumps(asked("[[say=yes]]")).encode(), {"api-key": gateway.api_key})
    assert answer.json()["choices"][0]["message"]["content"] == "yes"
    refused = post(gateway, path, b"{}", key(gateway))
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "param" in refused.json()["error"], "OpenAI's shape"


def test_refuse_a_large_body_at_careless_address(gateway: GatewayProcess) -> None:
    for path in ("/v1/v1/messages", "//v1//chat/completions/"):
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {31 * MEGABYTE}\r\n\r\n".encode()
        assert send(gateway.base_url, [head]).status == 401


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/healthz", "/readyz", "/api/hello", "/v1/models", "/v1/models/haiku"]
)
def test_answer_head_like_get(gateway: GatewayProcess, path: str) -> None:
    answers = [httpx.request(method, f"{gateway.base_url}{path}", headers=key(gateway)) for method in ("GET", "HEAD")]
    assert [it.status_code for it in answers] == [200, 200]
    assert answers[1].content == b""
    assert answers[0].headers["content-length"] == answers[1].headers["content-length"]


def test_refuse_head_where_get_is_refused(gateway: GatewayProcess) -> None:
    assert httpx.head(f"{gateway.base_url}/v1/messages", headers=key(gateway)).status_code == 405
    assert httpx.head(f"{gateway.base_url}/v1/models").status_code == 401
    assert httpx.head(f"{gateway.base_url}/nowhere").status_code == 404


def test_listen_on_both_loopback_addresses(gateway: GatewayProcess) -> None:
    port = urlsplit(gateway.base_url).port
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert httpx.get(f"http://{host}:{port}/v1/models", headers=key(gateway)).status_code == 200
    addresses = [it.laddr.ip for it in psutil.Process(gateway.pid).net_connections() if it.status == psutil.CONN_LISTEN]
    assert sorted(addresses) == ["127.0.0.1", "::1"]


def test_name_ignored_variables_of_a_service(gateway: GatewayProcess) -> None:
    assert "Ignored, as set by Kubernetes for a Service: CLAUDE_PROXY_PORT_3456_TCP, " in gateway.output


# Keys.


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key", "authorization"])
def test_take_the_key_from_any_header(gateway: GatewayProcess, name: str) -> None:
    value = f"Bearer {gateway.api_key}" if name == "authorization" else gateway.api_key
    assert httpx.get(f"{gateway.base_url}/v1/models", headers={name: value}).status_code == 200


def test_count_no_stale_key_beside_a_good_one(gateway: GatewayProcess) -> None:
    """50 wrong keys from an address would shut out keys that are new there."""
    new = make_keys(gateway, {"new": {}})["new"]
    good = f"Bearer {gateway.api_key}"
    for stale in ("x-api-key", "api-key"):
        for number in range(30):
            headers = {stale: f"sk-ant-stale-{number}", "authorization": good}
            assert httpx.get(f"{gateway.base_url}/v1/models", headers=headers).status_code == 200
            assert post(gateway, "/v1/messages", b"[]", headers).status_code == 400, "the check before the body too"
    assert httpx.get(f"{gateway.base_url}/v1/models", headers={"x-api-key": new}).status_code == 200


# Encodings of bodies.

PACKERS = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress, "GZIP": gzip.compress}


@pytest.mark.parametrize("coding", PACKERS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_read_compressed_bodies(gateway: GatewayProcess, stand_in: StandInProcess, coding: str, path: str) -> None:
    said = mark()
    packed = PACKERS[coding](json.dumps(asked(f"{said} Büro")).encode())
    answer = post(gateway, path, packed, {**key(gateway), "content-encoding": coding})
    assert answer.status_code == 200, answer.text
    assert "Büro" in json.dumps(stand_in.only(said).body, ensure_ascii=False)


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8-sig", "application/json"),
        ("utf-16", "application/json"),
        ("utf-16-le", "application/json; charset=utf-16"),
        ("utf-32", ""),
        ("latin-1", "application/json; charset=iso-8859-1"),
        ("utf-8", "text/plain"),
        ("utf-8", "application/x-www-form-urlencoded"),
        ("utf-8", ""),
    ],
)
def test_read_bodies_in_other_encodings(
    gateway: GatewayProcess, stand_in: StandInProcess, encoding: str, content_type: str
) -> None:
    said = mark()
    content = json.dumps(asked(f"{said} Büro"), ensure_ascii=False).encode(encoding)
    headers = {"content-type": content_type} if content_type else {}
    answer = post(gateway, "/v1/messages", content, {**key(gateway), **headers})
    assert answer.status_code == 200, answer.text
    assert "Büro" in json.dumps(stand_in.only(said).body, ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "headers", "words"),
    [
        (b"\x1f\x8b", {"content-encoding": "gzip"}, "gzip"),
        (b"{}", {"content-encoding": "lz4"}, "content-encoding"),
        (gzip.compress(b" " * 2 * MEGABYTE), {"content-encoding": "gzip"}, "100 times"),
        ('{"a": "Büro"}'.encode("latin-1"), {}, "UTF-8"),
        (codecs.BOM_UTF16_LE + b"{", {}, "UTF-8"),
        (b'{"a": 1E400}', {}, "64-bit float"),
        (b'{"a": -1e999}', {}, "64-bit float"),
        (b'{"a": NaN}', {}, "not valid JSON"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/messages/count_tokens"])
def test_say_what_is_wrong_with_the_bytes(
    gateway: GatewayProcess, content: bytes, headers: dict[str, str], words: str, path: str
) -> None:
    answer = post(gateway, path, content, {**key(gateway), **headers})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert words in answer.json()["error"]["message"]


def packed_body(size: int, said: str = "") -> bytes:
    """A body of that size, a sixtieth of it when packed."""
    text = "".join(f"{number:08x}{'x' * 300}" for number in range(size // 308))
    return gzip.compress(json.dumps(asked(f"{said} [[silent]] {text}")).encode(), compresslevel=6)


def test_bound_what_compressed_bodies_expand_to(gateway: GatewayProcess) -> None:
    packed = packed_body(33 * MEGABYTE)
    assert len(packed) < MEGABYTE
    began = time.monotonic()
    answer = post(gateway, "/v1/messages", packed, {**key(gateway), "content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large"), answer.text
    assert time.monotonic() - began < 10


def test_count_expanded_bodies_against_the_share(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    """A key may hold half of 64 MB: of two bodies of 20 MB, each sent as 400 KB, the second is refused."""
    said = mark()
    packed = packed_body(20 * MEGABYTE, said)
    lines = (f"x-api-key: {gateway.api_key}", "content-encoding: gzip", f"content-length: {len(packed)}")
    address = urlsplit(gateway.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as first:
        first.sendall(request("POST", "/v1/messages", *lines, body=packed))
        eventually(lambda: stand_in.recorded(containing=said), within_s=60)
        answer = post(gateway, "/v1/messages", packed, {**key(gateway), "content-encoding": "gzip"})
        assert answer.status_code == 429
        assert "large requests" in answer.json()["error"]["message"]
    eventually(lambda: _is_read(gateway, packed_body(30 * MEGABYTE)[:-9]), within_s=20)


def _is_read(gateway: GatewayProcess, packed: bytes) -> bool:
    """All of the memory is free again: a body that expands to 30 MB is read to its end, which is missing."""
    answer = post(gateway, "/v1/messages", packed, {**key(gateway), "content-encoding": "gzip"})
    return answer.status_code == 400 and "too early" in answer.json()["error"]["message"]


# Scripts of other origins.


@pytest.mark.parametrize("path", [*PATHS, "/v1/nothing", "/healthz", "/v1/v1/messages", "/v1/files"])
def test_answer_every_preflight_without_a_key(gateway: GatewayProcess, path: str) -> None:
    wanted = "x-api-key, anthropic-version, content-type, authorization, x-stainless-os"
    headers = {"origin": SITE, "access-control-request-method": "POST", "access-control-request-headers": wanted}
    answer = httpx.options(f"{gateway.base_url}{path}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["access-control-allow-headers"] == wanted
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert "origin" in answer.headers["vary"].lower()


def test_let_pages_reach_the_private_network(gateway: GatewayProcess) -> None:
    headers = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    allowed = [
        httpx.options(f"{gateway.base_url}/v1/messages", headers={"origin": origin, **headers}).headers.get(
            "access-control-allow-private-network"
        )
        for origin in (SITE, "https://else.example")
    ]
    assert allowed == ["true", None]


@pytest.mark.parametrize("origin", ORIGINS)
def test_allow_origins_of_desktop_apps(gateway: GatewayProcess, origin: str) -> None:
    answer = httpx.get(f"{gateway.base_url}/v1/models", headers={**key(gateway), "origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin", ["https://else.org", "https://app.example.org.evil.test", "tauri://other", "file://"]
)
def test_allow_no_other_origin(gateway: GatewayProcess, origin: str) -> None:
    answer = httpx.get(f"{gateway.base_url}/v1/models", headers={**key(gateway), "origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    assert "origin" in answer.headers["vary"].lower(), "a cache must not give this answer to an allowed one"


def request(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", f"origin: {SITE}", *lines, "", ""]).encode() + body


REFUSED = {
    "no key": (401, request("POST", "/v1/messages", "content-length: 2", body=b"{}")),
    "no key, large": (401, request("POST", "/v1/chat/completions", f"content-length: {31 * MEGABYTE}")),
    "no such path": (404, request("GET", "/v1/nothing", "x-api-key: KEY")),
    "no such page": (404, request("GET", "/nowhere")),
    "no such method": (405, request("GET", "/v1/messages", "x-api-key: KEY")),
    "no JSON": (400, request("POST", "/v1/messages", "x-api-key: KEY", "content-length: 1", body=b"x")),
    "too large": (413, request("POST", "/v1/messages", f"content-length: {33 * MEGABYTE}")),
    "two lengths": (400, request("POST", "/v1/messages", "content-length: 1", "content-length: 2")),
    "large head": (431, request("GET", "/v1/models", "x-a: " + "a" * 17_000)),
    "many headers": (431, request("GET", "/v1/models", *["a: b"] * 600)),
    "bad header": (400, request("GET", "/v1/models", "nonsense")),
    "bad path": (400, request("GET", "/v1/models\u00e9", "x-api-key: KEY")),
}


UNREAD = ("bad path", "large head")
"""Refused before the `origin` is read: any site may read the refusal."""


@pytest.mark.parametrize("name", REFUSED)
def test_let_scripts_read_every_refusal(gateway: GatewayProcess, name: str) -> None:
    status, raw = REFUSED[name]
    answer = answered(gateway, raw)
    assert answer.status == status
    allowed = answer.headers["access-control-allow-origin"]
    if name not in UNREAD:
        assert allowed == SITE
        assert "origin" in answer.headers["vary"].lower()
    assert allowed in (SITE, "*")
    assert "request-id" in answer.headers["access-control-expose-headers"]
    json.loads(answer.body)


def test_let_scripts_read_what_came_before_their_origin(gateway: GatewayProcess) -> None:
    long = f"GET /{'a' * 20_000} HTTP/1.1\r\n".encode()
    answer = send(gateway.base_url, [long])
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (414, "*")


@pytest.mark.parametrize("status", [400, 429, 500, 529])
def test_let_scripts_read_upstream_errors(gateway: GatewayProcess, status: int) -> None:
    content = json.dumps(asked(f"[[status={status}]]")).encode()
    for path in ("/v1/messages", "/v1/chat/completions"):
        answer = post(gateway, path, content, {**key(gateway), "origin": SITE})
        assert answer.status_code >= 400
        assert answer.headers["access-control-allow-origin"] == SITE
        assert "retry-after" in answer.headers["access-control-expose-headers"]


def answered(gateway: GatewayProcess, raw: bytes) -> Answer:
    return send(gateway.base_url, [raw.replace(b"KEY", gateway.api_key.encode())], half_close=True)
