"""The whole gateway with the http engine, through the official client and through plain HTTP."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.raw_upstream import END, START, STREAM_HEAD, Connection, plain, raw_upstream
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MODEL = "claude-opus-4-8"
WHOLE = b'{"id":"msg_1", "type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1}}'


@pytest.fixture(scope="module")
def http_gateway(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the http engine in front of `stand_in`."""
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_MAX_OUTPUT_CHARS": "900000"}
    process = GatewayProcess(tmp_path_factory.mktemp("http-gateway"), upstream=stand_in.base_url, env=env).start()
    yield process
    process.stop()


def ask(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **fields}


def test_stream_through_official_client(http_gateway: GatewayProcess) -> None:
    body = ask("[[n=30]] [[think=hm]] [[in=9]]")
    with http_gateway.client().messages.stream(**body) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == "".join(f"tok{number} " for number in range(30))
    assert message.usage.input_tokens == 9


def test_answer_official_client_as_a_whole(http_gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()

    message = http_gateway.client().messages.create(**ask(f"{sent} [[say=hi]]"))

    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "hi"}]
    assert not stand_in.only(sent).body.get("stream")


@pytest.mark.parametrize("stream", [True, False])
def test_send_received_body_upstream(http_gateway: GatewayProcess, stand_in: StandInProcess, *, stream: bool) -> None:
    sent = mark()
    raw = (
        f' {{ "messages" : [{{"role":"user","content":"{sent} [[n=1]]"}}],\t"metadata":{{"user_id":"a", "n":1E300,'
        f'"big":18446744073709551617,"model":"x","f":1.0}},"model":"{MODEL}","max_tokens": 100 ,'
        f'"stream":{str(stream).lower()} }}\r\n'
    )
    with http_gateway.http(**{"content-type": "application/json"}) as client:
        response = client.post("/v1/messages", content=raw)

    assert response.status_code == 200, response.text
    assert stand_in.only(sent).raw == raw.encode()


def test_fill_in_alias_and_max_tokens(http_gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    raw = f'{{"model": "sonnet", "messages": [{{"role": "user", "content": "{sent} [[n=1]]"}}]}}'
    with http_gateway.http(**{"content-type": "application/json"}) as client:
        assert client.post("/v1/messages", content=raw).status_code == 200

    exchange = stand_in.only(sent)
    body, limit = exchange.raw.decode(), exchange.body["max_tokens"]
    assert exchange.body["model"] != "sonnet"
    assert body == raw.replace('"sonnet"', f'"{exchange.body["model"]}"').replace("{", f'{{"max_tokens":{limit},', 1)


def test_keep_credential_of_client_from_upstream(http_gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    with http_gateway.http() as client:
        headers = {"authorization": f"Bearer {http_gateway.api_key}", "cookie": "a=b", "x-forwarded-for": "10.0.0.1"}
        assert client.post("/v1/messages", json=ask(f"{sent} [[n=1]]"), headers=headers).status_code == 200

    seen = stand_in.only(sent).headers
    assert seen["x-api-key"] == "sk-test"
    assert http_gateway.api_key not in json.dumps(dict(seen))
    assert not {"authorization", "cookie", "x-forwarded-for"} & seen.keys()


ODD_EVENTS = [
    17,
    "text",
    None,
    {"type": 7},
    {"type": ["error"]},
    {"type": "content_block_start", "index": "0", "content_block": []},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": {}, "text": "x"}},
    {"type": "content_block_delta", "index": 10**30, "delta": None},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\ud83d"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": {"a": [1e300]}}},
    {"type": "message_delta", "delta": {"stop_reason": 7}, "usage": {"output_tokens": "many"}},
    {"type": "message_delta", "delta": {"stop_reason": "x" * 100_000}, "usage": {"output_tokens": 10**40}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": -5, "iterations": [{"type": []}, 7]}},
    {"type": "message_delta", "delta": {}, "usage": [{"input_tokens": 1}]},
    {"type": "message_start", "message": {"id": 1, "usage": {"input_tokens": 2.5}}},
    {"type": "\ud83d\x00", "x": "\ud800"},
    {"type": "x" * 10_000},
    {"type": "new", "x": json.loads('{"a":' * 900 + "1" + "}" * 900)},
]


@pytest.mark.parametrize("number", range(len(ODD_EVENTS)))
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_survive_odd_event(http_gateway: GatewayProcess, number: int, path: str) -> None:
    event = json.dumps(ODD_EVENTS[number])
    sent = mark()
    with http_gateway.http() as client:
        headers = {"x-conversation-id": sent}
        body = ask(f"[[n=2]] [[odd={event}]]", stream=True)
        response = client.post(path, json=body, headers=headers)
        trace = eventually(lambda: client.get(f"/debug/requests/{response.headers['request-id']}").is_success or True)

    assert trace
    if path == "/v1/messages":
        assert f"data: {event}\n" in response.text
        assert "message_stop" in response.text
        assert '"type": "error"' not in response.text
    else:
        assert "Internal server error" not in response.text
    assert_no_fault(http_gateway)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 10**18, "output_tokens": -1},
        {"input_tokens": 1e300, "output_tokens": None},
        {"input_tokens": "9", "output_tokens": [1]},
        {"cache_creation": {"a": 10**18}, "server_tool_use": {"x" * 300: 1e308}},
        7,
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_survive_absurd_usage(http_gateway: GatewayProcess, usage: object, *, stream: bool) -> None:
    with http_gateway.http() as client:
        response = client.post("/v1/messages", json=ask(f"[[usage={json.dumps(usage)}]]", stream=stream))

    assert response.status_code == 200, response.text
    assert "Internal server error" not in response.text
    assert_no_fault(http_gateway)


def assert_no_fault(gateway: GatewayProcess) -> None:
    for event in ("observer.failed", "run.crashed", "Traceback"):
        assert event not in gateway.output, gateway.output[-6_000:]


def test_end_streamed_answer_above_output_limit(http_gateway: GatewayProcess) -> None:
    with http_gateway.http() as client:
        response = client.post("/v1/messages", json=ask("[[huge=30000]]", stream=True))
        assert "message_stop" in response.text
        response = client.post("/v1/messages", json=ask("[[n=150000]]", stream=True, max_tokens=1_000_000))

    assert "longer than 900000 characters" in response.text


def test_reject_whole_answer_above_output_limit(http_gateway: GatewayProcess) -> None:
    with http_gateway.http() as client:
        response = client.post("/v1/messages", json=ask("[[huge=1000000]]", max_tokens=100_000))

    assert (response.status_code, "longer than 900000 characters" in response.text) == (502, True)


def test_stop_reading_upstream_for_client_that_does_not_read(
    http_gateway: GatewayProcess, stand_in: StandInProcess
) -> None:
    sent = mark()
    with http_gateway.http() as client:
        body = ask(f"{sent} [[ping=1]] [[n=100000]]", stream=True, max_tokens=100_000)
        with client.stream("POST", "/v1/messages", json=body) as response:
            pieces = response.iter_raw(1)  # closes the response when it is collected
            next(pieces)
            begun, first = time.monotonic(), psutil.Process(http_gateway.pid).memory_info().rss
            eventually(lambda: time.monotonic() - begun > 1.5)
            assert stand_in.only(sent).ended_at is None
            assert psutil.Process(http_gateway.pid).memory_info().rss - first < 5_000_000
    stand_in.ended(sent)


def test_hide_organization_and_name_upstream_request(http_gateway: GatewayProcess) -> None:
    with http_gateway.http() as client:
        response: httpx.Response = client.post("/v1/messages", json=ask("[[n=1]]"))

    assert response.headers["request-id"].startswith("req_")
    assert response.headers["x-upstream-request-id"] != response.headers["request-id"]
    assert "anthropic-organization-id" not in response.headers


ERROR_BODY = b'{"type":"error", "error":{"type":"new_error","message":"m","details":{"a":1}},"x":1.0}'
PASSED = {"retry-after": "7", "anthropic-ratelimit-tokens-remaining": "5", "x-should-retry": "false"}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [True, False])
async def test_pass_headers_and_error_body_of_upstream(tmp_path: Path, *, stream: bool) -> None:
    extra = [f"{name}: {value}" for name, value in PASSED.items()]
    extra += ["request-id: req_up", "anthropic-organization-id: org-1", "set-cookie: a=b", "server: up"]

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(plain("418 Odd", ERROR_BODY, "content-type: application/json", *extra))
        await connection.request()
        if stream:
            head = "\r\n".join(extra).encode() + b"\r\n\r\n"
            await connection.send(STREAM_HEAD + head)
            await connection.chunk(START + END, b"")
        else:
            await connection.send(plain("200 OK", WHOLE, "content-type: application/json", *extra))
        await connection.left()

    async with raw_upstream(play) as upstream:
        gateway = GatewayProcess(tmp_path, upstream=upstream.base_url, env={"CLAUDE_PROXY_ENGINE": "http"})
        await asyncio.to_thread(gateway.start)
        try:
            headers = {"x-api-key": gateway.api_key}
            async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=30) as client:
                failed, answered = [await client.post("/v1/messages", json=ask("a", stream=stream)) for _ in range(2)]
        finally:
            await asyncio.to_thread(gateway.stop)

    assert (failed.status_code, failed.content) == (418, ERROR_BODY)
    assert answered.content == (START + END if stream else WHOLE)
    for response in (failed, answered):
        assert {name: response.headers.get(name) for name in PASSED} == PASSED
        assert response.headers["x-upstream-request-id"] == "req_up"
        assert response.headers["request-id"] != "req_up"
        assert not {"anthropic-organization-id", "set-cookie"} & response.headers.keys()
        assert response.headers.get("server") != "up"
