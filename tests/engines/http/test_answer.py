"""One turn over one HTTP request, against upstreams that behave and upstreams that do not."""

import asyncio
import gc
import gzip
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import replace

import brotli  # type: ignore[import-untyped]  # has none
import httpx
import psutil
import pytest

from apiproxy.core.errors import FailureKind
from apiproxy.engines.base import Broken, Completed, EngineRequest, Stopped
from apiproxy.engines.http import answer as answer_module
from apiproxy.engines.http.engine import HttpEngine
from tests.support.engine import mark
from tests.support.http_engine import finish_http, http_engine, http_request, play_http
from tests.support.raw_upstream import END, START, STREAM_HEAD, Connection, Play, plain, raw_upstream
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.asyncio

STREAM = START + END
MESSAGE = (
    b'{"id":"msg_1","model":"m" , "content":[{"type":"text","text":"h\\u0069 \\ud83d"}],"usage":{"input_tokens":1}}'
)


def streaming(*parts: bytes, headers: bytes = b"") -> Play:
    """Answers every request of a connection with these chunks."""

    async def play(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(STREAM_HEAD + headers + b"\r\n")
            await connection.chunk(*parts, b"")

    return play


def sending(*parts: bytes) -> Play:
    """Answers the first request with these bytes and closes."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(*parts)

    return play


def broken(outcome: object) -> Broken:
    assert isinstance(outcome, Broken), outcome
    return outcome


def descriptors() -> int:
    return psutil.Process().num_fds()


@pytest.mark.parametrize(
    "prompt",
    [
        "[[n=50]]",
        "[[n=9]] [[split=7]]",
        "[[ping=1]] [[n=3]]",
        "[[think=hm]] [[tool=look:{}]]",
        '[[odd={"type": "new"}]]',
    ],
)
async def test_pass_stream_byte_for_byte(stand_in: StandInProcess, prompt: str) -> None:
    request = http_request(prompt)
    async with http_engine(stand_in.base_url) as engine, httpx.AsyncClient() as direct:
        expected = await direct.post(f"{stand_in.base_url}/v1/messages", content=request.raw_body)

        played = await play_http(engine, request)

    assert isinstance(played.outcome, Completed)
    assert played.raw.count(b"data: ") == expected.content.count(b"data: ")
    assert without_id(played.raw) == without_id(expected.content)


def without_id(stream: bytes) -> bytes:
    """The bytes without the ids, which are random."""
    return re.sub(rb'"id":"\w+"', b'"id":""', stream)


async def test_pass_whole_answer_byte_for_byte() -> None:
    async with raw_upstream(sending(plain("200 OK", MESSAGE))) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request(stream=False))

    assert played.raw == MESSAGE
    assert isinstance(played.outcome, Completed)
    assert played.outcome.usage.input_tokens == 1


@pytest.mark.parametrize(
    "odd",
    [
        b'event: new\r\ndata: {"type":"new"}\r\n\r\n',
        b"event: bad\ndata: [1]\n\n",
        b"data: no JSON\n\n",
        b": comment\n\n",
        b'data: {"type":"content_block_delta","index":7,"delta":3}\n\n',
        b'data: {"type":"message_delta","delta":null,"usage":7}\n\n',
        b'data: {"type":["error"]}\n\n',
        b'data: {"type":"message_start"}\n\n',
        b'data:{"type":\ndata: "content_block_start"}\n\n',
    ],
)
async def test_pass_events_that_are_not_valid(odd: bytes) -> None:
    async with raw_upstream(streaming(START, odd, END)) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())

    assert played.raw == START + odd + END
    assert isinstance(played.outcome, Completed)


async def test_pass_bytes_after_message_stop() -> None:
    async with raw_upstream(streaming(STREAM, b": bye\n\n", b"\n")) as up, http_engine(up.base_url) as engine:
        played = await play_http(engine, http_request())

    assert played.raw == STREAM + b": bye\n\n\n"


async def test_end_soon_after_message_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "_END_TIMEOUT_S", 0.1)

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(STREAM)
        await connection.left()

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 1)

    assert isinstance(played.outcome, Completed)
    assert played.raw == STREAM


async def test_count_message_complete_if_stopped_after_its_end() -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(STREAM)
        await connection.left()

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        answer = await engine.begin(http_request())
        assert await answer.next_batch()
        answer.stop()
        played = await finish_http(answer)

    assert isinstance(played.outcome, Completed)


@pytest.mark.parametrize("error", [b'{"type":"error","error":{"type":"overloaded_error","message":"m"},"x":1}'])
@pytest.mark.parametrize("before", [b"", b"data: data: ", b": a\n"])
async def test_take_error_event_out_of_stream(error: bytes, before: bytes) -> None:
    odd = before + error + b"\n\n" if before else b""
    data = START + odd + b"event: error\ndata: " + error + b"\n\n"
    async with raw_upstream(streaming(data)) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())

    failure = broken(played.outcome).error
    assert played.raw == START + odd
    assert failure.upstream is not None
    assert (failure.upstream.status, failure.upstream.body) == (529, error)


@pytest.mark.parametrize(
    "prompt", ["[[cut=2]]", "[[drop]]", "[[page]]", "[[whole]]", "[[miderror=2]]", "[[garbage=2]]"]
)
async def test_report_broken_answer(stand_in: StandInProcess, prompt: str) -> None:
    async with http_engine(stand_in.base_url) as engine:
        played = await play_http(engine, http_request(prompt))

    if prompt == "[[garbage=2]]":
        assert b"message_stop" in played.raw or isinstance(played.outcome, Broken)
    else:
        assert broken(played.outcome).error.kind in (FailureKind.CONNECTION_LOST, FailureKind.UPSTREAM_ERROR)


GZIP = gzip.compress(STREAM)
BROKEN: dict[str, Play] = {
    "garbage": sending(b"\x00\x01\x02 nonsense\r\n\r\n"),
    "bad status": sending(b"HTTP/1.1 abc OK\r\n\r\n"),
    "bad header": sending(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
    "bad chunk": sending(STREAM_HEAD + b"\r\n", b"%x\r\n%s\r\n" % (len(START), START), b"zz\r\nabc\r\n"),
    "cut chunk": sending(STREAM_HEAD + b"\r\n", b"ffff\r\n" + START),
    "short body": sending(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n" + START
    ),
    "no gzip": streaming(STREAM, headers=b"content-encoding: gzip\r\n"),
    "cut gzip": streaming(GZIP[:-20], headers=b"content-encoding: gzip\r\n"),
    "wrong gzip": streaming(GZIP[:40] + b"\xff" * 40, headers=b"content-encoding: gzip\r\n"),
    "no brotli": streaming(STREAM, headers=b"content-encoding: br\r\n"),
    "no zstd": streaming(STREAM, headers=b"content-encoding: zstd\r\n"),
    "header flood": sending(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(100_000)) + b"\r\n"),
    "long header": sending(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n"),
    "upgrade": sending(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + STREAM),
    "no content": sending(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "odd content type": sending(plain("200 OK", STREAM, "content-type: \xff; charset=what")),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", BROKEN)
async def test_report_broken_response_as_lost(name: str, *, stream: bool) -> None:
    async with raw_upstream(BROKEN[name]) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request(stream=stream))

    assert broken(played.outcome).error.kind is FailureKind.CONNECTION_LOST


async def test_ignore_informational_responses() -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(*[b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"] * 50)
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(STREAM, b"")

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())

    assert played.raw == STREAM


@pytest.mark.parametrize("prompt", ["[[silent]]", "[[hang]]", "[[gap=0.05]] [[n=1000]]"])
@pytest.mark.parametrize("stream", [True, False])
async def test_close_upstream_call_when_stopped(stand_in: StandInProcess, prompt: str, *, stream: bool) -> None:
    text = mark()
    async with http_engine(stand_in.base_url) as engine:
        answer = await engine.begin(http_request(f"{text} {prompt}", stream=stream))
        finish = asyncio.create_task(finish_http(answer))
        await eventually_async(lambda: stand_in.recorded(containing=text))
        begun = time.monotonic()
        answer.stop()
        played = await finish
        await asyncio.to_thread(stand_in.ended, text, within_s=0.5)

    assert time.monotonic() - begun < 1
    assert isinstance(played.outcome, Stopped)
    assert stand_in.only(text).closed_by_client


@pytest.mark.parametrize("loops", range(12))
async def test_leave_nothing_behind_wherever_stopped(loops: int) -> None:
    before = descriptors()
    async with (
        raw_upstream(streaming(START, b": x\n\n", END)) as upstream,
        http_engine(upstream.base_url, max_connections=1) as engine,
    ):
        answer = await engine.begin(http_request())
        reading = asyncio.create_task(finish_http(answer))
        for _ in range(loops):
            await asyncio.sleep(0)
        answer.stop()
        assert isinstance((await reading).outcome, Stopped | Completed)
        assert isinstance((await play_http(engine, http_request())).outcome, Completed)
    await eventually_async(lambda: descriptors() <= before)


@pytest.mark.parametrize("loops", range(0, 24, 2))
async def test_release_after_cancelled_read(loops: int) -> None:
    async with (
        raw_upstream(streaming(START, b": x\n\n", END)) as upstream,
        http_engine(upstream.base_url, max_connections=1) as engine,
    ):
        reading = asyncio.create_task(play_http(engine, http_request()))
        for _ in range(loops):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait((reading,))
        assert isinstance((await play_http(engine, http_request())).outcome, Completed)


@pytest.mark.parametrize("read", [0, 1])
async def test_release_without_reading_to_the_end(read: int) -> None:
    async with (
        raw_upstream(streaming(START, END)) as upstream,
        http_engine(upstream.base_url, max_connections=1) as engine,
    ):
        answer = await engine.begin(http_request())
        for _ in range(read):
            await answer.next_batch()
        await answer.release()
        assert isinstance((await play_http(engine, http_request())).outcome, Completed)


async def test_reuse_connection() -> None:
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url) as engine:
        for _ in range(5):
            await play_http(engine, http_request())

    assert len(upstream.connections) == 1


async def test_report_request_lost_on_reused_connection_as_sent() -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(STREAM, b"")
        await connection.request()  # and closes: it may have begun to work on it

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        await play_http(engine, http_request())
        played = await play_http(engine, http_request())

    assert not broken(played.outcome).unsent
    assert len(upstream.connections) == 1


async def test_drop_header_with_control_characters() -> None:
    headers = {"x-claude-code-a": "a\x00b", "x-claude-code-b": "a\r\nx-api-key: b", "x-claude-code-c": "\tc"}
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request(headers=headers))

    assert isinstance(played.outcome, Completed)
    names = [line.partition(":")[0] for line in upstream.connections[0].heads[0].split("\r\n")]
    assert [name for name in names if name.startswith("x-claude")] == ["x-claude-code-c"]


async def test_charge_request_lost_on_new_connection() -> None:
    async with raw_upstream(sending()) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())

    assert not broken(played.outcome).unsent
    assert len(upstream.connections) == 1


async def test_report_refused_connection_as_unsent() -> None:
    sent: list[int] = []
    async with raw_upstream(sending()) as upstream:
        pass
    async with http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request(on_sent=lambda: sent.append(1)))

    assert (broken(played.outcome).unsent, sent) == (True, [])


async def test_do_not_follow_redirect() -> None:
    async with raw_upstream(streaming(STREAM)) as target:
        page = plain("307 Temporary Redirect", b"", f"location: {target.base_url}/v1/messages")
        async with raw_upstream(sending(page)) as upstream, http_engine(upstream.base_url) as engine:
            played = await play_http(engine, http_request())

    failure = broken(played.outcome).error
    assert failure.upstream is not None
    assert failure.upstream.status == 502
    assert target.connections == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress), ("deflate", zlib.compress)]
)
async def test_decode_answer(encoding: str, compress: Callable[[bytes], bytes], *, stream: bool) -> None:
    body = compress(STREAM if stream else MESSAGE)
    kind = "content-type: text/event-stream"
    page = plain("200 OK", body, f"content-encoding: {encoding}", kind)
    async with raw_upstream(sending(page)) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request(stream=stream))

    assert played.raw == (STREAM if stream else MESSAGE)


async def test_keep_cookies_of_upstream_from_other_requests() -> None:
    play = streaming(STREAM, headers=b"set-cookie: session=secret; path=/\r\n")
    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        await play_http(engine, http_request())
        played = await play_http(engine, http_request())

    assert upstream.connections[0].header("cookie") == []
    assert "set-cookie" not in played.headers


async def test_send_credential_of_operator_only() -> None:
    headers = {"x-api-key": "sk-client", "authorization": "Bearer client", "anthropic-beta": "a"}
    env = {"ANTHROPIC_AUTH_TOKEN": "operator", "ANTHROPIC_CUSTOM_HEADERS": "X-Team: red\nbad line\n"}
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url, env) as engine:
        await play_http(engine, http_request(headers=headers, betas=("b",)))

    connection = upstream.connections[0]
    assert connection.header("x-api-key") == ["sk-operator"]
    assert connection.header("authorization") == ["Bearer operator"]
    assert connection.header("x-team") == ["red"]
    assert connection.header("anthropic-beta") == ["a"]
    assert connection.header("content-length") == [str(len(connection.bodies[0]))]
    assert connection.header("transfer-encoding") == []


async def test_send_headers_as_received() -> None:
    given = "caf\u00e9 \u20ac".encode().decode("latin-1")  # as Django decodes them
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url) as engine:
        await play_http(engine, http_request(headers={"x-claude-code-a": given, "x-claude-code-b": "\xff\xfe"}))

    connection = upstream.connections[0]
    assert connection.header("x-claude-code-a") == [given]


def large(request: EngineRequest, size: int) -> EngineRequest:
    raw = request.raw_body or b""
    body = raw[:-1] + b',"x":"' + b"y" * size + b'"}'
    return replace(request, raw_body=body, body_bytes=len(body))


async def test_send_large_body_unchanged() -> None:
    request = large(http_request(), 20_000_000)
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, request)

    assert isinstance(played.outcome, Completed)
    assert upstream.connections[0].bodies == [request.raw_body]


@pytest.mark.parametrize("read_bytes", [0, 100_000])
async def test_report_error_that_comes_before_body_was_read(read_bytes: int) -> None:
    body = b'{"type":"error","error":{"type":"request_too_large","message":"m"}}'

    async def play(connection: Connection) -> None:
        await connection.head()
        await connection.reader.readexactly(read_bytes)
        await connection.send(plain("413 Too Large", body, "connection: close"))

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, large(http_request(), 34_000_000))

    failure = broken(played.outcome).error
    assert failure.upstream is not None, failure
    assert (failure.upstream.status, failure.upstream.body) == (413, body)


async def test_report_error_without_end_of_its_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "_ERROR_TIMEOUT_S", 0.2)

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 429 Too Many\r\ncontent-length: 500\r\nretry-after: 7\r\n\r\n{")
        await connection.left()

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        played = await play_http(engine, http_request())
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 1)

    failure = broken(played.outcome).error
    assert failure.upstream is not None
    assert (failure.upstream.status, failure.upstream.headers) == (429, {"retry-after": "7"})


async def test_stop_while_reading_error() -> None:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 429 Too Many\r\ncontent-length: 500\r\n\r\n{")
        await connection.left()

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        answer = await engine.begin(http_request())
        finish = asyncio.create_task(finish_http(answer))
        await eventually_async(lambda: answer._response is not None)
        answer.stop()
        played = await asyncio.wait_for(finish, 1)

    assert isinstance(played.outcome, Stopped | Broken)


async def test_bound_memory_of_decompressed_answer() -> None:
    frame = b"data: " + b"x" * 60_000 + b"\n\n"
    bomb = brotli.compress(START + frame * 4_000 + END, quality=1)  # 240 MB
    page = plain("200 OK", bomb, "content-encoding: br", "content-type: text/event-stream")
    sizes = []
    async with raw_upstream(sending(page)) as upstream, http_engine(upstream.base_url) as engine:
        answer = await engine.begin(http_request())
        try:
            while (batch := await answer.next_batch()) is not None:
                sizes.append(len(batch.raw))
        finally:
            await answer.release()

    assert sum(sizes) == len(START + END) + 4_000 * len(frame)
    assert max(sizes) < 1_000_000


async def test_stop_reading_while_client_does_not_read() -> None:
    written = 0

    async def play(connection: Connection) -> None:
        nonlocal written
        await connection.request()
        await connection.send(STREAM_HEAD + b"\r\n")
        await connection.chunk(START)
        while True:
            await connection.chunk(b"event: x\ndata: " + b"x" * 10_000 + b"\n\n")
            written += 10_000

    async with raw_upstream(play) as upstream, http_engine(upstream.base_url) as engine:
        answer = await engine.begin(http_request())
        assert await answer.next_batch()
        last = -1
        while last != written:
            last = written
            await asyncio.sleep(0.3)
        assert answer._response is not None
        content = answer._response.content  # its buffer is what costs memory
        assert content.total_bytes < 100_000
        assert written < 10_000_000  # the kernel's buffers
        answer.stop()
        await answer.release()


async def test_hold_no_body_once_response_has_begun() -> None:
    request = large(http_request("[[hang]]"), 1_000_000)
    async with raw_upstream(streaming(STREAM)) as upstream, http_engine(upstream.base_url) as engine:
        answer = await engine.begin(request)
        await answer.next_batch()
        assert not holds(answer, len(request.raw_body or b""))
        await answer.release()


def holds(value: object, size: int, depth: int = 6) -> bool:
    """True if a byte string of at least that size is reachable through attributes and containers."""
    seen, level = {id(value)}, [value]
    for _ in range(depth):
        level = [item for item in gc.get_referents(*level) if id(item) not in seen and not isinstance(item, type)]
        seen |= set(map(id, level))
        if any(isinstance(item, bytes) and len(item) >= size for item in level):
            return True
    return False


async def test_close_engine_with_open_answers(stand_in: StandInProcess) -> None:
    async with http_engine(stand_in.base_url) as engine:
        answer: object = await engine.begin(http_request("[[hang]]"))
        assert isinstance(engine, HttpEngine)
        await answer.next_batch()  # type: ignore[attr-defined]
        await engine.close()
        played = await finish_http(answer)  # type: ignore[arg-type]

    assert broken(played.outcome).error.kind is FailureKind.CONNECTION_LOST


async def test_fold_of_stream_is_whole_answer(stand_in: StandInProcess) -> None:
    async with http_engine(stand_in.base_url) as engine:
        for verbatim in (True, False):
            whole = await play_http(engine, http_request("[[n=3]] [[in=5]]", stream=False, verbatim=verbatim))
            streamed = await play_http(engine, http_request("[[n=3]] [[in=5]]", verbatim=verbatim))
            assert isinstance(whole.outcome, Completed)
            assert isinstance(streamed.outcome, Completed)
            assert whole.outcome == streamed.outcome
            assert bool(whole.raw) is verbatim
