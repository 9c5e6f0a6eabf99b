"""The first byte of a stream, for load balancers that want one soon."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

FIRST_BYTE_S = 0.4
PATHS = ["/v1/messages", "/v1/chat/completions", "/v1/responses"]


@pytest.fixture(scope="module", params=["sdk", "http"])
def gateway(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    env = {
        "CLAUDE_PROXY_ENGINE": request.param,
        "CLAUDE_PROXY_FIRST_BYTE_MS": str(int(FIRST_BYTE_S * 1000)),
        "CLAUDE_PROXY_HTTP_MAX_CONCURRENT": "1",
        "CLAUDE_PROXY_MAX_CONCURRENT": "1",
        "CLAUDE_PROXY_QUEUE_TIMEOUT_MS": "1000",
        "CLAUDE_PROXY_UPSTREAM_RETRIES": "0",
        "CLAUDE_PROXY_WARM_WORKERS": "1",
    }
    process = GatewayProcess(tmp_path_factory.mktemp(request.param), upstream=stand_in.base_url, env=env).start()
    yield process
    process.stop()


def asked(path: str, text: str, *, stream: bool = True) -> bytes:
    messages = [{"role": "user", "content": text}]
    body = {"input": messages} if "responses" in path else {"messages": messages, "max_tokens": 99}
    return json.dumps({"model": "haiku", "stream": stream, **body}).encode()


def stream(gateway: GatewayProcess, path: str, text: str) -> tuple[int, float, bytes]:
    """Status, seconds to the first byte of the body, and the whole of it."""
    began, first_s, received = time.monotonic(), 0.0, b""
    with gateway.http() as client, client.stream("POST", path, content=asked(path, text)) as answer:
        for piece in answer.iter_raw():
            first_s = first_s or time.monotonic() - began
            received += piece
    return answer.status_code, first_s, received


@pytest.mark.parametrize("path", PATHS)
def test_begin_with_a_ping_before_the_first_event(gateway: GatewayProcess, path: str) -> None:
    status, first_s, received = stream(gateway, path, "[[first=1.5]] [[say=late]]")
    assert status == 200
    assert FIRST_BYTE_S - 0.05 < first_s < 1.3
    assert received.startswith((b"event: ping\n", b":"))
    assert b"late" in received


@pytest.mark.parametrize("path", PATHS)
def test_send_error_event_after_the_first_byte(gateway: GatewayProcess, path: str) -> None:
    status, _, received = stream(gateway, path, "[[first=1.5]] [[status=400]] [[message=too odd]]")
    assert status == 200
    assert b"too odd" in received
    assert b"error" in received
    assert b"message_stop" not in received
    assert b"[DONE]" not in received
    assert b"response.completed" not in received


@pytest.mark.parametrize("path", PATHS)
def test_keep_the_status_of_an_early_error(gateway: GatewayProcess, path: str) -> None:
    status, _, received = stream(gateway, path, "[[status=400]] [[message=too odd]]")
    assert status == 400
    assert b"too odd" in received


def test_keep_the_status_without_a_stream(gateway: GatewayProcess) -> None:
    content = asked("/v1/messages", "[[first=1.5]] [[status=400]]", stream=False)
    with gateway.http() as client:
        assert client.post("/v1/messages", content=content).status_code == 400


def test_end_a_wait_in_the_queue_by_an_event(gateway: GatewayProcess) -> None:
    """The first byte comes before the queue timeout here, of which the start has warned."""
    assert "CLAUDE_PROXY_FIRST_BYTE_MS (400) is not above CLAUDE_PROXY_QUEUE_TIMEOUT_MS (1000)" in gateway.output
    silent = asked("/v1/messages", "[[silent]]")
    with gateway.http() as client, client.stream("POST", "/v1/messages", content=silent):
        status, _, received = stream(gateway, "/v1/messages", "waits")
    assert status == 200
    assert b"overloaded_error" in received


def test_wait_for_the_first_event_at_zero(stand_in: StandInProcess, tmp_path: Path) -> None:
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_FIRST_BYTE_MS": "0", "CLAUDE_PROXY_HEARTBEAT_MS": "100"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        status, first_s, received = stream(gateway, "/v1/messages", "[[first=1.0]] [[say=late]]")
        assert (status, received[:20]) == (200, b"event: message_start")
        assert first_s > 0.9
    finally:
        gateway.stop()
