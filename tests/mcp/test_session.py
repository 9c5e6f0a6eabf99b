"""Sessions with a real MCP server."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from mcp_types import CallToolResult, ImageContent, TextContent

from apiproxy.core.addresses import checked_addresses
from apiproxy.core.agents import McpServerSpec
from apiproxy.mcp.errors import McpError
from apiproxy.mcp.results import MAX_TEXT_CHARS
from apiproxy.mcp.session import McpSession
from tests.support.mcp_server import McpTestServer, mcp_server
from tests.support.waiting import eventually_async

ALLOWED = functools.partial(checked_addresses, private_hosts=("127.0.0.1",))


@pytest.fixture(params=["http", "sse"])
def transport(request: pytest.FixtureRequest) -> Literal["http", "sse"]:
    return "sse" if request.param == "sse" else "http"


@pytest.fixture
async def server() -> AsyncIterator[McpTestServer]:
    async with mcp_server() as running:
        yield running


def spec(server: McpTestServer, transport: Literal["http", "sse"] = "http", **fields: Any) -> McpServerSpec:
    url = server.url if transport == "http" else server.sse_url
    return McpServerSpec(name="lab", transport=transport, url=url, **fields)


def text_of(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


async def test_list_and_call_tools(server: McpTestServer, transport: Literal["http", "sse"]) -> None:
    session = McpSession(spec(server, transport, headers={"authorization": "Bearer s3cret"}), resolve=ALLOWED)
    await session.open()
    try:
        tools = {tool.name: tool for tool in session.offer.tools}
        assert tools.keys() == {"lookup", "pic", "bad", "big", "slow", "add_tool"}
        assert tools["lookup"].read_only
        assert not tools["pic"].read_only
        result = await session.call("lookup", {"n": 21})
        assert (text_of(result), result.is_error) == ("42", False)
        assert server.headers["authorization"] == "Bearer s3cret"
        assert server.headers["accept-encoding"] == "identity"
    finally:
        await session.close()
    await eventually_async(lambda: server.sessions == 0)
    assert not session.alive


@pytest.mark.parametrize("options", [{"json_response": True}, {"stateless": True}])
async def test_talk_to_servers_of_other_kinds(options: dict[str, bool]) -> None:
    async with mcp_server(**options) as server:
        session = McpSession(spec(server), resolve=ALLOWED)
        await session.open()
        assert text_of(await session.call("lookup", {"n": 1})) == "2"
        await session.close()


async def test_offer_allowed_tools_only(server: McpTestServer) -> None:
    session = McpSession(spec(server, allowed_tools=("look*", "p*c")), resolve=ALLOWED)
    await session.open()
    await session.close()

    assert [tool.name for tool in session.offer.tools] == ["lookup", "pic"]


async def test_return_images_and_errors(server: McpTestServer) -> None:
    session = McpSession(spec(server), resolve=ALLOWED)
    await session.open()
    picture, failed, unknown = [await session.call(tool, {}) for tool in ("pic", "bad", "nope")]
    await session.close()

    assert isinstance(picture.content[0], ImageContent)
    assert failed.is_error
    assert unknown.is_error


async def test_cut_off_huge_results(server: McpTestServer, transport: Literal["http", "sse"]) -> None:
    session = McpSession(spec(server, transport), resolve=ALLOWED)
    await session.open()
    result = await session.call("big", {"characters": 500_000})
    await session.close()

    text = text_of(result)
    assert text.startswith("x" * MAX_TEXT_CHARS + "[The result has 500000 characters.")


async def test_survive_result_over_limit_of_events(server: McpTestServer) -> None:
    session = McpSession(spec(server), resolve=ALLOWED)
    await session.open()
    huge = await session.call("big", {"characters": 9 * 1024 * 1024})
    small = await session.call("lookup", {"n": 2})
    await session.close()

    assert huge.is_error
    assert text_of(small) == "4"


async def test_time_slow_calls_out(server: McpTestServer, transport: Literal["http", "sse"]) -> None:
    session = McpSession(spec(server, transport), resolve=ALLOWED, call_timeout_s=0.3)
    await session.open()
    slow = await session.call("slow", {"seconds": 30})
    after = await session.call("lookup", {"n": 2})
    await session.close()

    assert slow.is_error
    assert "did not answer within 0.3 seconds" in text_of(slow)
    assert text_of(after) == "4"
    await eventually_async(lambda: server.cancelled["slow"] == 1, why="the server was not told")


async def test_make_calls_side_by_side(server: McpTestServer) -> None:
    session = McpSession(spec(server), resolve=ALLOWED)
    await session.open()
    results = await asyncio.gather(*(session.call("slow", {"seconds": 0.2}) for _ in range(4)))
    await session.close()

    assert {text_of(result) for result in results} == {"at last"}
    assert server.most_running == 4


async def test_cancel_call_with_its_task(server: McpTestServer) -> None:
    session = McpSession(spec(server), resolve=ALLOWED)
    await session.open()
    calling = asyncio.create_task(session.call("slow", {"seconds": 30}))
    await eventually_async(lambda: server.running == 1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await eventually_async(lambda: server.cancelled["slow"] == 1)
    assert text_of(await session.call("lookup", {"n": 2})) == "4"
    await session.close()


async def test_close_during_call(server: McpTestServer, transport: Literal["http", "sse"]) -> None:
    session = McpSession(spec(server, transport), resolve=ALLOWED)
    await session.open()
    calling = asyncio.create_task(session.call("slow", {"seconds": 30}))
    await eventually_async(lambda: server.running == 1)
    started = time.monotonic()
    await session.close()

    assert (await calling).is_error
    assert time.monotonic() - started < 3


async def test_refuse_private_address(server: McpTestServer) -> None:
    session = McpSession(spec(server), resolve=checked_addresses)
    with pytest.raises(McpError, match="not public"):
        await session.open()

    assert server.headers == {}


async def test_report_server_that_is_down(transport: Literal["http", "sse"]) -> None:
    async with mcp_server() as server:
        pass
    session = McpSession(spec(server, transport), resolve=ALLOWED)
    with pytest.raises(McpError, match=r"cannot be reached|failed"):
        await session.open()
    await session.close()


async def test_fail_calls_while_server_is_down_and_reopen() -> None:
    async with mcp_server() as server:
        session = McpSession(spec(server), resolve=ALLOWED)
        await session.open()
    failed = await session.call("lookup", {"n": 1})
    assert failed.is_error
    assert "cannot be reached" in text_of(failed)
    with pytest.raises(McpError):
        await session.check()
    await session.close()


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)
    writer.close()
    await writer.wait_closed()


async def answering(status: str, headers: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(f"HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n".encode())
    writer.close()
    await writer.wait_closed()


async def test_time_connecting_out(transport: Literal["http", "sse"]) -> None:
    async with await asyncio.start_server(hanging, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        server = McpServerSpec(name="lab", transport=transport, url=f"http://127.0.0.1:{port}/")
        session = McpSession(server, resolve=ALLOWED, connect_timeout_s=0.3)
        with pytest.raises(McpError, match=r"lab did not answer within 0\.3 seconds"):
            await session.open()
        await session.close()


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        ("401 Unauthorized", "", "status 401"),
        ("500 Oops", "", "status 500"),
        ("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", "compressed"),
        ("307 Moved", "location: /elsewhere\r\n", "not followed"),
        ("307 Moved", "location: http://169.254.169.254/\r\n", "not followed"),
    ],
)
async def test_report_refusals_and_redirects(status: str, headers: str, expected: str) -> None:
    handler = functools.partial(answering, status, headers)
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as refusing:
        port = refusing.sockets[0].getsockname()[1]
        server = McpServerSpec(name="lab", transport="http", url=f"http://127.0.0.1:{port}/")
        session = McpSession(server, resolve=ALLOWED)
        with pytest.raises(McpError, match=expected):
            await session.open()


async def test_connect_to_checked_address_with_name(server: McpTestServer) -> None:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        assert host == "mcp.test"
        return "127.0.0.2", "127.0.0.1"  # nothing listens on the first

    port = server.url.split(":")[2].split("/")[0]
    session = McpSession(replace(spec(server), url=f"http://mcp.test:{port}/mcp"), resolve=resolve)
    with pytest.raises(McpError):  # the server checks the name, and knows itself as 127.0.0.1
        await session.open()

    assert server.headers["host"] == f"mcp.test:{port}"
