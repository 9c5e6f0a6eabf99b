"""The relay: what it passes on, what it refuses, and how calls end."""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from apiproxy.engines.agents import relay as relay_module
from apiproxy.engines.agents.relay import Relay, RelaySocket
from apiproxy.engines.http.upstream import Upstream
from tests.engines.agents.support import MODEL, Metered, body, metered
from tests.support.raw_upstream import Connection, Play, RawUpstream, plain, raw_upstream
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio

KEY = "sk-operator"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = (
    b'data: {"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
)
END = (
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'


@dataclass
class Relayed:
    """A socket whose run has begun, and a client of it."""

    socket: RelaySocket
    run: Metered
    upstream: RawUpstream
    client: aiohttp.ClientSession

    def post(
        self, given: object = None, *, path: str = "/v1/messages", token: str | None = None, **headers: str
    ) -> Any:
        sent = given if isinstance(given, bytes) else orjson.dumps(body() if given is None else given)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            f"http://gateway.invalid{path}",
            data=sent,
            headers={"x-api-key": token or self.socket.token, "content-type": "application/json", **named},
        )


@contextlib.asynccontextmanager
async def relayed(play: Play, folder: Path, run: Metered | None = None, **settings: Any) -> AsyncIterator[Relayed]:
    async with raw_upstream(play) as server:
        upstream = Upstream(server.base_url, {"ANTHROPIC_API_KEY": KEY}, max_connections=10)
        relay = Relay(upstream, **{"max_body_bytes": 1_000_000, **settings})
        opened = await relay.open(folder / "model.sock", uid=None)
        run = run or metered()
        opened.bind(run.meter)
        connector = aiohttp.UnixConnector(str(opened.path))
        try:
            async with aiohttp.ClientSession(connector=connector) as client:
                yield Relayed(opened, run, server, client)
        finally:
            await opened.close()
            await upstream.close()


def streaming(*parts: bytes) -> Play:
    async def play(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(HEAD)
            await connection.chunk(*parts, b"")

    return play


def answering(response: bytes) -> Play:
    async def play(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(response)

    return play


def hanging(*parts: bytes) -> Play:
    async def play(connection: Connection) -> None:
        await connection.request()
        if parts:
            await connection.send(HEAD)
            await connection.chunk(*parts)
        await connection.left()

    return play


async def test_pass_stream_on_byte_for_byte(tmp_path: Path) -> None:
    odd = b': comment\r\n\r\nevent: ping\ndata: {"type" :"ping"}\n\n'
    async with relayed(streaming(START, odd, END), tmp_path) as it, it.post() as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert await response.read() == START + odd + END

    usage = it.run.meter.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (7, 5, False)


async def test_send_credential_and_never_the_token(tmp_path: Path) -> None:
    async with relayed(streaming(START, END), tmp_path) as it:
        async with it.post(
            authorization="Bearer x", cookie="a=b", anthropic_beta="one,two", x_app="cli", x_forwarded_for="1.2.3.4"
        ) as response:
            await response.read()
        connection = it.upstream.connections[0]

    assert connection.header("x-api-key") == [KEY]
    assert connection.header("anthropic-beta") == ["one,two"]
    assert connection.header("x-app") == ["cli"]
    assert not any(connection.header(name) for name in ("authorization", "cookie", "x-forwarded-for"))
    assert it.socket.token not in connection.heads[0] + connection.bodies[0].decode()
    assert orjson.loads(connection.bodies[0]) == body()


async def test_send_what_was_checked_if_a_field_is_repeated(tmp_path: Path) -> None:
    raw = orjson.dumps(body())
    doubled = b'{"model":"claude-other",' + raw[1:]
    async with relayed(streaming(START, END), tmp_path) as it:
        async with it.post(doubled) as response:
            assert response.status == 200
            await response.read()
        assert b"claude-other" not in it.upstream.connections[0].bodies[0]


async def test_refuse_until_bound(tmp_path: Path) -> None:
    async with relayed(streaming(START, END), tmp_path) as it:
        it.socket.bind(None)
        async with it.post() as response:
            assert response.status == 403
        assert not it.upstream.connections


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/messages?beta=true", 200),
        ("/v1/messages?beta=false", 404),
        ("/v1/messages/", 404),
        ("/v1/messages/batches", 404),
        ("/v1/files", 404),
        ("/v1/models", 404),
        ("/v1/messages/../files", 404),
        ("//v1/messages", 404),
    ],
)
async def test_allow_messages_only(tmp_path: Path, path: str, status: int) -> None:
    async with relayed(streaming(START, END), tmp_path) as it:
        async with it.post(path=path) as response:
            assert response.status == status
        assert len(it.upstream.connections) == (status == 200)


@pytest.mark.parametrize("token", ["", "wrong", "agent-run-", "é"])
async def test_refuse_wrong_token(tmp_path: Path, token: str) -> None:
    async with relayed(streaming(START, END), tmp_path) as it:
        async with it.post(token=token or " ") as response:
            assert response.status == 401
        assert not it.upstream.connections


async def test_refuse_token_of_another_run(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with (
        relayed(streaming(START, END), tmp_path) as it,
        relayed(streaming(), tmp_path / "other") as other,
        it.post(token=other.socket.token) as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (body(model="claude-other"), 403),
        (b"{", 400),
        (b"[1]", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (body("x" * 1_000_001), 400),
        (body(fallbacks=[]), 400),
    ],
)
async def test_refuse_request(tmp_path: Path, given: object, status: int) -> None:
    async with relayed(streaming(START, END), tmp_path) as it:
        async with it.post(given) as response:
            assert response.status == status
            assert response.headers["x-should-retry"] == "false"
            assert (await response.json())["type"] == "error"
        assert not it.upstream.connections
    assert it.run.meter.calls == 0


async def test_refuse_calls_beyond_the_limit(tmp_path: Path) -> None:
    run = metered(max_calls=3)
    async with relayed(streaming(START, END.replace(b"end_turn", b"tool_use")), tmp_path, run) as it:
        statuses = []
        for _ in range(5):
            async with it.post() as response:
                await response.read()
                statuses.append(response.status)

    assert statuses == [200, 200, 200, 400, 400]
    assert run.meter.calls == 3


async def test_refuse_call_beyond_the_budget(tmp_path: Path) -> None:
    run = metered(budget_usd=Decimal("0.0001"))
    async with relayed(streaming(START, END), tmp_path, run) as it, it.post() as response:
        assert response.status == 402
        assert (await response.json())["error"]["type"] == "billing_error"
    assert run.meter.exhausted == "budget"


async def test_send_lowered_max_tokens(tmp_path: Path) -> None:
    run = metered(budget_usd=Decimal("0.05"))
    async with relayed(streaming(START, END), tmp_path, run) as it:
        async with it.post(body(max_tokens=100_000)) as response:
            await response.read()
        assert 1_024 <= orjson.loads(it.upstream.connections[0].bodies[0])["max_tokens"] < 3_334


async def test_pass_error_on_and_keep_it(tmp_path: Path) -> None:
    play = answering(plain("529 X", OVERLOADED, "retry-after: 3", "set-cookie: a=b"))
    async with relayed(play, tmp_path) as it, it.post() as response:
        assert response.status == 529
        assert response.headers["retry-after"] == "3"
        assert "set-cookie" not in response.headers
        assert await response.read() == OVERLOADED

    error = it.run.meter.upstream_error
    assert error is not None
    assert error.upstream is not None
    assert (error.upstream.status, error.upstream.body) == (529, OVERLOADED)
    assert it.run.meter.calls == 0


async def test_pass_error_event_on_and_keep_it(tmp_path: Path) -> None:
    event = b"event: error\ndata: " + OVERLOADED + b"\n\n"
    async with relayed(streaming(START, event), tmp_path) as it, it.post() as response:
        assert await response.read() == START + event

    error = it.run.meter.upstream_error
    assert error is not None
    assert error.upstream is not None
    assert error.upstream.status == 529
    assert it.run.meter.usage().input_tokens == 7


async def test_cut_stream_that_the_upstream_cuts(tmp_path: Path) -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD)
        await connection.chunk(START)

    async with relayed(play, tmp_path) as it, it.post() as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert it.run.meter.upstream_error is not None
    assert it.run.meter.calls == 1


async def test_answer_502_without_upstream(tmp_path: Path) -> None:
    async with relayed(streaming(), tmp_path) as it:
        it.upstream.connections.clear()
        unreachable = Upstream("http://127.0.0.1:9", {"ANTHROPIC_API_KEY": KEY}, max_connections=1)
        opened = await Relay(unreachable, max_body_bytes=1_000).open(tmp_path / "other.sock", uid=None)
        opened.bind(it.run.meter)
        try:
            connector = aiohttp.UnixConnector(str(opened.path))
            async with aiohttp.ClientSession(connector=connector) as client:
                headers = {"x-api-key": opened.token}
                async with client.post("http://x/v1/messages", data=orjson.dumps(body()), headers=headers) as response:
                    assert response.status == 502
        finally:
            await opened.close()
            await unreachable.close()
    assert it.run.meter.calls == 0


async def test_pass_whole_answer_on(tmp_path: Path) -> None:
    answer = b'{"id":"m","model":"c","content":[{"type":"text","text":"x"}],"usage":{"output_tokens":4}}'
    play = answering(plain("200 OK", answer, "content-type: application/json"))
    async with relayed(play, tmp_path) as it, it.post(body(stream=False)) as response:
        assert await response.read() == answer
    assert it.run.meter.usage().output_tokens == 4


async def test_count_tokens_free_of_charge(tmp_path: Path) -> None:
    answer = b'{"input_tokens":3}'
    given = {"model": MODEL, "messages": []}
    async with relayed(answering(plain("200 OK", answer)), tmp_path) as it:
        async with it.post(given, path="/v1/messages/count_tokens") as response:
            assert await response.read() == answer
        async with it.post({**given, "model": "other"}, path="/v1/messages/count_tokens") as response:
            assert response.status == 403
    assert it.run.meter.calls == 0


@pytest.mark.parametrize("parts", [(), (START,)], ids=["before the headers", "in the stream"])
async def test_end_upstream_call_when_the_cli_leaves(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    async with relayed(hanging(*parts), tmp_path) as it:
        asking = asyncio.ensure_future(it.post().__aenter__())
        await eventually_async(lambda: it.run.sent)
        if parts:
            response = await asking
            assert await response.content.readany() == START
            response.close()
        else:
            asking.cancel()
        await asyncio.wait_for(it.upstream.connections[0].closed.wait(), 5)
        await eventually_async(lambda: it.run.meter.usage().input_tokens)
    assert it.run.meter.calls == 1


@pytest.mark.parametrize("parts", [(), (START,)], ids=["before the headers", "in the stream"])
async def test_end_upstream_call_when_closed(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    async with relayed(hanging(*parts), tmp_path) as it:
        asking = asyncio.ensure_future(it.post().__aenter__())
        await eventually_async(lambda: it.run.sent)
        async with asyncio.timeout(2):
            await it.socket.close()
            assert it.run.meter.usage().input_tokens > 0
            await it.upstream.connections[0].closed.wait()
        with contextlib.suppress(aiohttp.ClientError):
            (await asking).close()
    assert not it.socket.path.exists()


async def test_wait_for_a_cli_that_does_not_read(tmp_path: Path) -> None:
    filler = b": " + b"x" * 100_000 + b"\n\n"
    written = 0

    async def play(connection: Connection) -> None:
        nonlocal written
        await connection.request()
        await connection.send(HEAD)
        await connection.chunk(START)
        for _ in range(200):
            await connection.chunk(filler)
            written += 1
        await connection.chunk(END, b"")

    async with relayed(play, tmp_path) as it, it.post() as response:
        await asyncio.sleep(0.5)
        assert written < 100
        assert await response.read() == START + 200 * filler + END


async def test_bound_connections_and_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "_MAX_REQUESTS", 2)
    monkeypatch.setattr(relay_module, "_MAX_CONNECTIONS", 3)
    async with relayed(hanging(START), tmp_path) as it:
        held = [await it.post().__aenter__() for _ in range(2)]
        async with it.post() as response:
            assert response.status == 429
        reader, writer = await asyncio.open_unix_connection(str(it.socket.path))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        for response in held:
            response.close()


async def test_refuse_body_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "_BODY_TIMEOUT_S", 0.1)
    async with relayed(streaming(), tmp_path) as it:
        reader, writer = await asyncio.open_unix_connection(str(it.socket.path))
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {it.socket.token}\r\ncontent-length: 99\r\n\r\n"
        writer.write(head.encode())
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


async def test_listen_at_a_long_path_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    relay = Relay(Upstream("http://127.0.0.1:9", {}, max_connections=1), max_body_bytes=1_000)
    opened = await relay.open(folder / "model.sock", uid=65_001 if os.geteuid() == 0 else None)
    try:
        status = opened.path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == (65_001 if os.geteuid() == 0 else os.geteuid())
    finally:
        await opened.close()
    assert not opened.path.exists()
