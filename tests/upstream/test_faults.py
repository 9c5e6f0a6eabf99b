"""Faults injected by directives, at the level of connections and bytes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from apiproxy.standin.asgi import Message
from tests.support.waiting import eventually_async
from tests.upstream import DirectedStandIn, Recorder, start


@dataclass(frozen=True, slots=True)
class Upstream:
    http: httpx.AsyncClient
    recorder: Recorder

    async def post(self, prompt: str, **options: Any) -> httpx.Response:
        return await self.http.post("/v1/messages", json=body(prompt, **options))

    async def received(self, prompt: str, *, timeout_s: float = 10) -> bytes:
        """Bytes received before the stream breaks or the client times out."""
        got = b""
        with suppress(httpx.RemoteProtocolError, httpx.ReadTimeout):
            async with self.http.stream("POST", "/v1/messages", json=body(prompt), timeout=timeout_s) as response:
                async for chunk in response.aiter_raw():
                    got += chunk
        return got


def body(prompt: str, **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "m", "max_tokens": 100, "stream": True, "messages": messages, **options}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    recorder = Recorder()
    server = await start(recorder=recorder)
    async with httpx.AsyncClient(base_url=server.base_url, timeout=10) as http:
        yield Upstream(http, recorder)
    await server.close()


async def test_close_connection_after_exactly_n_deltas(upstream: Upstream) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await upstream.post("[[n=50]] [[cut=9]]")

    assert (await upstream.received("[[n=50]] [[cut=9]]")).count(b"text_delta") == 9
    assert not upstream.recorder.exchanges[-1].closed_by_client


async def test_close_connection_before_headers(upstream: Upstream) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await upstream.post("[[drop]]")


@pytest.mark.parametrize(
    ("prompt", "deltas"),
    [("[[silent]]", 0), ("[[hang]]", 0), ("[[n=9]] [[midhang=4]]", 4), ("[[n=2]] [[first=60]]", 0)],
)
async def test_notice_disconnect_during_silence_at_once(upstream: Upstream, prompt: str, deltas: int) -> None:
    got = await upstream.received(prompt, timeout_s=0.3)

    await eventually_async(lambda: upstream.recorder.exchanges[-1].closed_by_client, within_s=1)
    assert got.count(b"text_delta") == deltas
    assert upstream.recorder.open == []


async def test_notice_disconnect_during_stream_at_once(upstream: Upstream) -> None:
    prompt = body("[[n=100000]] [[gap=0.001]]")
    async with upstream.http.stream("POST", "/v1/messages", json=prompt) as response:
        await anext(response.aiter_raw())

    await eventually_async(lambda: upstream.recorder.exchanges[-1].closed_by_client, within_s=1)


async def test_pause_stream_for_client_that_stops_reading(upstream: Upstream) -> None:
    async with upstream.http.stream("POST", "/v1/messages", json=body("[[n=10]] [[huge=50000000]]")):
        assert upstream.recorder.exchanges[-1].ended_at is None

    await eventually_async(lambda: upstream.recorder.exchanges[-1].closed_by_client, within_s=2)


async def test_count_complete_answer_as_read(upstream: Upstream) -> None:
    assert (await upstream.post("[[n=3]]")).text.endswith('data: {"type":"message_stop"}\n\n')

    exchange = upstream.recorder.exchanges[-1]
    assert (exchange.status, exchange.closed_by_client) == (200, False)
    assert exchange.ended_at is not None


async def test_end_stream_with_error_event(upstream: Upstream) -> None:
    text = (await upstream.post("[[n=9]] [[miderror=2]] [[type=api_error]] [[message=oh]]")).text

    assert text.endswith('event: error\ndata: {"type":"error","error":{"type":"api_error","message":"oh"}}\n\n')
    assert text.count("text_delta") == 2


async def test_garbage_is_no_json_and_the_stream_goes_on(upstream: Upstream) -> None:
    text = (await upstream.post("[[n=9]] [[garbage=2]]")).text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]

    def is_json(line: str) -> bool:
        try:
            return orjson.loads(line) is not None
        except orjson.JSONDecodeError:
            return False

    assert [is_json(line) for line in lines].count(False) == 1
    assert text.count("text_delta") == 9


async def test_pings_come_between_deltas(upstream: Upstream) -> None:
    text = (await upstream.post("[[n=9]] [[ping=3]]")).text

    assert text.count("event: ping\n") == 1 + 3


async def test_split_stream_into_small_pieces(upstream: Upstream) -> None:
    sent: list[Message] = []
    app = DirectedStandIn()

    await app(scope(), messages_in(body("[[n=3]] [[split=7]] [[say=äöü🌍]]")), recording(sent))

    pieces = [message["body"] for message in sent[1:]]
    assert {len(piece) for piece in pieces} <= set(range(8))
    assert "äöü🌍" in b"".join(pieces).decode()


async def test_twenty_thousand_deltas_take_a_few_hundred_sends(upstream: Upstream) -> None:
    sent: list[Message] = []

    await DirectedStandIn()(scope(), messages_in(body("[[n=20000]]")), recording(sent))

    assert len(sent) < 20_000 / 60
    assert b"".join(message.get("body", b"") for message in sent).count(b"text_delta") == 20_000


async def test_fail_given_times_then_answer(upstream: Upstream) -> None:
    prompt = "[[flaky=one:2:529]] [[say=here]]"

    statuses = [(await upstream.post(prompt)).status_code for _ in range(3)]
    other = (await upstream.post("[[flaky=two:1:500]]")).status_code

    assert statuses == [529, 529, 200]
    assert other == 500


async def test_drop_connections_given_times(upstream: Upstream) -> None:
    prompt = "[[flaky=three:1:drop]] [[say=here]]"

    with pytest.raises(httpx.RemoteProtocolError):
        await upstream.post(prompt)

    assert (await upstream.post(prompt)).status_code == 200


async def test_stay_silent_given_times(upstream: Upstream) -> None:
    prompt = "[[flaky=four:1:silent]] [[say=here]]"

    assert await upstream.received(prompt, timeout_s=0.3) == b""

    assert (await upstream.post(prompt)).status_code == 200


async def test_fail_in_mid_stream_given_times(upstream: Upstream) -> None:
    prompt = "[[flaky=five:1:miderror]] [[n=9]]"

    answers = [(await upstream.post(prompt, stream=True)).text for _ in range(2)]

    assert ["event: error" in answer for answer in answers] == [True, False]


async def test_answer_with_web_page_as_error(upstream: Upstream) -> None:
    response = await upstream.post("[[status=502]] [[html]]")

    assert (response.status_code, response.headers["content-type"]) == (502, "text/html")


async def test_answer_error_without_body(upstream: Upstream) -> None:
    response = await upstream.post("[[status=503]] [[bare]]")
    assert (response.status_code, response.content) == (503, b"")


@pytest.mark.parametrize(("prompt", "kind"), [("[[page]]", "text/html"), ("[[whole]]", "application/json")])
async def test_detect_no_event_stream(upstream: Upstream, prompt: str, kind: str) -> None:
    response = await upstream.post(prompt)
    assert (response.status_code, response.headers["content-type"]) == (200, kind)


async def test_headers_can_come_alone(upstream: Upstream) -> None:
    async with upstream.http.stream("POST", "/v1/messages", json=body("[[headers]]"), timeout=0.3) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            await anext(response.aiter_raw())


async def test_any_json_can_come_as_an_event(upstream: Upstream) -> None:
    lines = (await upstream.post('[[n=2]] [[odd={"type": 5}]]')).text.splitlines()
    assert 'data: {"type": 5}' in lines
    assert "event: message_stop" in lines


async def test_drip_split_stream(upstream: Upstream) -> None:
    started = time.monotonic()
    whole = (await upstream.post("[[n=1]] [[split=100]] [[drip=0.02]]")).text
    assert "event: message_stop" in whole
    assert time.monotonic() - started >= 0.02 * (len(whole) // 100)


async def test_pauses_take_their_time(upstream: Upstream) -> None:
    started = time.monotonic()

    await upstream.post("[[n=5]] [[gap=0.02]] [[first=0.1]]")

    assert time.monotonic() - started >= 0.1 + 5 * 0.02


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/messages", 405), ("GET", "/", 404)])
async def test_other_paths_and_methods_get_json_errors(upstream: Upstream, method: str, path: str, status: int) -> None:
    response = await upstream.http.request(method, path)

    assert response.status_code == status
    assert response.json()["type"] == "error"


async def test_reject_invalid_json(upstream: Upstream) -> None:
    response = await upstream.http.post("/v1/messages", content=b"{")

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_end_application_before_it_sends() -> None:
    sent: list[Message] = []

    await DirectedStandIn()(scope(), messages_in(body("[[drop]]")), recording(sent))

    assert sent == []


def scope() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": []}


def messages_in(request: dict[str, Any]) -> Any:
    waiting: list[Message] = [{"type": "http.request", "body": orjson.dumps(request), "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else await _forever()

    return receive


async def _forever() -> Message:
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


def recording(sent: list[Message]) -> Any:
    async def send(message: Message) -> None:
        sent.append(message)

    return send


async def test_given_bytes_take_the_place_of_the_whole_stream(upstream: Upstream) -> None:
    assert await upstream.received("[[raw=ZGF0YTogeA0KAP8=]]") == b"data: x\r\n\0\xff"
