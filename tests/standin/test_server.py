"""The stand-in's own HTTP server, its recorder, and its process."""

import asyncio
from pathlib import Path

import httpx
import orjson
import pytest

from tests.support.processes import LoggedProcess, clean_environment, is_alive
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually_async
from tests.upstream import Recorder, start

REQUEST = orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "[[say=hi]]"}]})


def raw_request(body: bytes, *, headers: bytes = b"") -> bytes:
    return b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (headers, len(body), body)


async def exchange_bytes(port: int, *pieces: bytes) -> bytes:
    """Bytes of the server's answer to these pieces, until one side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = b""
    while answer.count(b'"usage"') < sum(piece.endswith(REQUEST) for piece in pieces) and (
        got := await reader.read(4096)
    ):
        answer += got
    writer.close()
    await writer.wait_closed()
    return answer


async def test_serve_requests_of_connection_in_turn() -> None:
    server = await start(recorder=(recorder := Recorder()))
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        for _ in range(3):
            assert (await http.post("/v1/messages", content=REQUEST)).status_code == 200
    await server.close()

    assert [exchange.number for exchange in recorder.exchanges] == [1, 2, 3]


async def test_answer_requests_in_one_piece_or_many() -> None:
    server = await start()
    request = raw_request(REQUEST)

    together = await exchange_bytes(server.port, request + request)
    apart = await exchange_bytes(server.port, *(request[at : at + 20] for at in range(0, len(request), 20)), request)
    await server.close()

    assert together.count(b"HTTP/1.1 200 OK") == 2
    assert apart.count(b"HTTP/1.1 200 OK") >= 1


async def test_accept_body_of_thirty_megabytes() -> None:
    server = await start(recorder=(recorder := Recorder()))
    body = REQUEST[:-1] + b', "padding": "' + b"x" * 30_000_000 + b'"}'
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as http:
        assert (await http.post("/v1/messages", content=body)).status_code == 200
    await server.close()

    assert recorder.exchanges[0].raw == body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000,
    ],
)
async def test_close_connection_with_400_on_malformed_request(request_bytes: bytes) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_bytes)

    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await server.close()

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_closing_ends_open_connections_and_is_quick() -> None:
    server = await start(recorder=(recorder := Recorder()))
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as http:
        hanging = asyncio.create_task(http.post("/v1/messages", content=REQUEST.replace(b"[[say=hi]]", b"[[silent]]")))
        await eventually_async(lambda: recorder.open)

        await asyncio.wait_for(server.close(), 1)

        with pytest.raises(httpx.RemoteProtocolError):
            await hanging
    assert recorder.open == []
    await server.close()


async def test_raise_for_taken_port() -> None:
    server = await start()

    with pytest.raises(OSError, match="Address already in use"):
        await start(port=server.port)

    await server.close()


def test_forget_oldest_recordings_by_number_and_size() -> None:
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": [(b"a", b"b")]}
    few, small = Recorder(max_exchanges=2), Recorder(max_bytes=10)

    for number in range(3):
        few.begin(scope, b"")
        small.begin(scope, bytes(6 if number < 2 else 50))

    assert [exchange.number for exchange in few.exchanges] == [2, 3]
    assert [exchange.number for exchange in small.exchanges] == [3]
    assert few.exchanges[0].headers == {"a": "b"}
    few.clear()
    assert few.exchanges == []


def test_show_recorded_requests_and_forget_them(stand_in: StandInProcess) -> None:
    mark = stand_in.mark()
    httpx.post(f"{stand_in.base_url}/v1/messages?beta=true", content=REQUEST, headers={"x-mine": "1"})

    (exchange,) = stand_in.recorded(since=mark, containing="say=hi")
    assert exchange.body == orjson.loads(REQUEST)
    assert (exchange.query, exchange.headers["x-mine"], exchange.status) == ("beta=true", "1", 200)
    stand_in.clear()
    assert stand_in.recorded() == []
    assert stand_in.mark() == 0


def test_expose_recordings_only_if_recording(tmp_path: Path) -> None:
    process = LoggedProcess(["-m", "tests.upstream"], log=tmp_path / "log", env=clean_environment())
    address = process.wait_for_line("listening on ", within_s=20)

    status = httpx.get(f"http://{address}/_recorded").status_code

    assert status == 404
    assert process.stop(within_s=5) == 0


def test_end_process_with_its_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = LoggedProcess(["-m", "tests.upstream", "--until-eof"], log=log, env=clean_environment())
    process.wait_for_line("listening on ", within_s=20)

    process.close_stdin()

    assert process.wait(within_s=5) == 0
    assert not is_alive(process.pid)
