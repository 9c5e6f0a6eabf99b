"""The dialect over HTTP: keys, headers, limits, and JSON for every error."""

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.engine import body_of, mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

LIMIT_BYTES = 32 * 2**20


def post(gateway: GatewayProcess, prompt: str, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    with gateway.http(**headers) as client:
        return client.post(path, json=body_of(prompt))


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error object, after a check that it is JSON with the request's id."""
    assert response.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = response.json()
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    assert response.headers["request-id"].startswith("req_")
    error: dict[str, Any] = body["error"]
    return error


def said_over(gateway: GatewayProcess, head: str, *chunks: bytes) -> bytes:
    """The response that a plain socket gets, body included."""
    address = urlsplit(gateway.base_url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        try:
            for chunk in chunks:
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        with connection.makefile("rb") as response:
            head_back = b"".join(iter(response.readline, b"\r\n"))
            length = re.search(rb"content-length: (\d+)", head_back, re.IGNORECASE)
            return head_back + b"\r\n" + response.read(int(length[1]) if length else 0)


class TestKeys:
    @pytest.mark.parametrize("form", ["x-api-key", "bearer", "beta"])
    def test_accept_key_in_every_form(self, gateway: GatewayProcess, form: str) -> None:
        headers = {"authorization": f"Bearer {gateway.api_key}"} if form == "bearer" else {"x-api-key": gateway.api_key}
        path = "/v1/messages?beta=true" if form == "beta" else "/v1/messages"

        response = httpx.post(gateway.base_url + path, json=body_of("[[n=1]]"), headers=headers, timeout=60)

        assert response.status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [{}, {"x-api-key": "sk-wrong"}, {"authorization": "Bearer sk-wrong"}, {"authorization": "Basic eDp5"}],
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/messages"),
            ("POST", "/messages"),
            ("POST", "/v1/messages/count_tokens"),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/claude-opus-5"),
            ("GET", "/v1/messages/batches"),
        ],
    )
    def test_without_a_key_that_works_nothing_is_served(
        self, gateway: GatewayProcess, method: str, path: str, headers: dict[str, str]
    ) -> None:
        response = httpx.request(method, gateway.base_url + path, headers=headers, timeout=60)

        assert response.status_code == 401
        assert error_of(response)["type"] == "authentication_error"

    @pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
    def test_three_paths_are_open_and_say_nothing_of_the_traffic(self, gateway: GatewayProcess, path: str) -> None:
        response = httpx.get(gateway.base_url + path, timeout=60)

        assert response.status_code == 200
        assert not {"queue", "logDir"} & response.json().keys()

    def test_with_a_key_the_index_tells_of_the_queue(self, gateway: GatewayProcess) -> None:
        with gateway.http() as client:
            queue = client.get("/").json()["queue"]
        assert queue.keys() == {"active", "waiting", "max", "byEngine"}
        assert queue["byEngine"] == {"sdk": {name: queue[name] for name in ("active", "waiting", "max")}}


class TestHeaders:
    @pytest.mark.parametrize("prompt", ["[[n=1]]", "[[status=400]]"])
    def test_add_ids_and_version_to_every_answer(self, gateway: GatewayProcess, prompt: str) -> None:
        response = post(gateway, prompt)

        assert response.headers["request-id"].startswith("req_")
        assert response.headers["x-request-id"] == response.headers["request-id"]
        assert response.headers["anthropic-version"] == "2023-06-01"

    @pytest.mark.parametrize("path", ["/v1/messages", "/v1/nothing", "/healthz"])
    def test_keep_clients_own_request_id(self, gateway: GatewayProcess, path: str) -> None:
        response = post(gateway, "[[n=1]]", path, **{"x-request-id": "trace.1:2-3_4"})

        assert response.headers["x-request-id"] == "trace.1:2-3_4"
        assert response.headers["request-id"] != "trace.1:2-3_4"

    @pytest.mark.parametrize("given", ["a b", "x" * 129, "ä", "<script>"])
    def test_replace_harmful_request_id(self, gateway: GatewayProcess, given: str) -> None:
        with gateway.http() as client:
            response = client.get("/healthz", headers={b"x-request-id": given.encode()})

        assert response.headers["x-request-id"] == response.headers["request-id"]

    def test_report_times_in_answer(self, gateway: GatewayProcess) -> None:
        parts = post(gateway, "[[n=1]]").headers["server-timing"].split(", ")

        assert [part.partition(";")[0] for part in parts] == ["queue", "worker", "first"]
        assert all(float(part.partition("dur=")[2]) >= 0 for part in parts)

    def test_forbid_caching_buffering_and_compressing_stream(self, gateway: GatewayProcess) -> None:
        with (
            gateway.http(**{"accept-encoding": "gzip, br"}) as client,
            client.stream("POST", "/v1/messages", json=body_of("[[n=1]]", stream=True)) as response,
        ):
            text = response.read().decode()

        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        assert text.startswith("event: message_start\ndata: {")
        assert text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')


class TestPaths:
    def test_serve_paths_without_v1(self, gateway: GatewayProcess) -> None:
        assert post(gateway, "[[n=1]]", "/messages").json()["content"] == [{"type": "text", "text": "tok0 "}]

    @pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/models/no-such-model"])
    def test_answer_404_in_json(self, gateway: GatewayProcess, path: str) -> None:
        with gateway.http() as client:
            response = client.get(path)

        assert response.status_code == 404
        assert error_of(response)["type"] == "not_found_error"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/messages"),
            ("PUT", "/v1/messages"),
            ("POST", "/v1/models"),
            ("GET", "/v1/messages/count_tokens"),
        ],
    )
    def test_answer_405_in_json_to_unknown_method(self, gateway: GatewayProcess, method: str, path: str) -> None:
        with gateway.http() as client:
            response = client.request(method, path)

        assert response.status_code == 405
        assert error_of(response)["type"] == "invalid_request_error"


class TestBodies:
    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff", b'{"a":' * 2000], ids=repr)
    def test_reject_other_than_json_object(self, gateway: GatewayProcess, content: bytes) -> None:
        with gateway.http() as client:
            response = client.post("/v1/messages", content=content)

        assert response.status_code == 400
        assert error_of(response)["type"] == "invalid_request_error"

    def test_ignore_content_type(self, gateway: GatewayProcess) -> None:
        with gateway.http(**{"content-type": "text/plain"}) as client:
            response = client.post("/v1/messages", content=json.dumps(body_of("[[n=1]]")))

        assert response.status_code == 200

    @pytest.mark.parametrize(("depth", "status"), [(300, 200), (1000, 400), (100_000, 400)])
    def test_pass_or_reject_deeply_nested_body(self, gateway: GatewayProcess, depth: int, status: int) -> None:
        content = json.dumps(body_of("[[n=1]]"))[:-1] + ',"deep":' + "[" * depth + "]" * depth + "}"

        with gateway.http() as client:
            response = client.post("/v1/messages", content=content)

        assert response.status_code == status

    def test_pass_body_of_almost_32_mb(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        sent = mark()
        body = body_of(f"{sent} [[n=1]]", padding="x" * (LIMIT_BYTES - 1000))

        with gateway.http() as client:
            response = client.post("/v1/messages", json=body)

        assert response.status_code == 200
        (exchange,) = stand_in.recorded(containing=sent)
        assert exchange.body["padding"] == body["padding"]
        stand_in.clear()

    def test_reject_body_over_32_mb_by_its_length_header(self, gateway: GatewayProcess) -> None:
        head = f"POST /v1/messages HTTP/1.1\nhost: localhost\nx-request-id: mine\ncontent-length: {LIMIT_BYTES + 1}\n\n"

        received = said_over(gateway, head)

        assert received.startswith(b"HTTP/1.1 413 ")
        assert b"x-request-id: mine\r\n" in received
        assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["type"] == "request_too_large"

    def test_reject_chunked_body_as_soon_as_it_exceeds_32_mb(self, gateway: GatewayProcess) -> None:
        key = f"x-api-key: {gateway.api_key}"
        head = f"POST /v1/messages HTTP/1.1\nhost: localhost\n{key}\ntransfer-encoding: chunked\n\n"
        chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"

        received = said_over(gateway, head, *[chunk] * 34)

        assert received.startswith(b"HTTP/1.1 413 ")
        assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["type"] == "request_too_large"

    def test_answer_chunked_body_within_limit(self, gateway: GatewayProcess) -> None:
        content = json.dumps(body_of("[[n=1]]")).encode()

        with gateway.http() as client:
            response = client.post("/v1/messages", content=iter([content[:10], content[10:]]))

        assert response.json()["content"] == [{"type": "text", "text": "tok0 "}]

    def test_reject_non_http_and_answer_next_request(self, gateway: GatewayProcess) -> None:
        received = said_over(gateway, "NONSENSE\n\n")

        assert received.startswith(b"HTTP/1.1 400 ")
        assert post(gateway, "[[n=1]]").status_code == 200
