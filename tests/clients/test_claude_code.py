"""Claude Code, the bundled CLI in its default configuration, as a client of the gateway."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.standin import Script, StandIn
from apiproxy.standin.blocks import text_block, tool_block, words
from apiproxy.standin.prompt import Body
from apiproxy.standin.server import listen, serve
from tests.support.gateway import GatewayProcess
from tests.upstream.recorder import Exchange, Recorder, RecordingApp

TOOL_CALLS = 20
ANSWER = "all steps are done"
SESSION = "11111111-2222-4333-8444-555555555555"
_WITHIN_S = 240.0
_CREDENTIAL = frozenset({"x-api-key", "authorization"})
_PER_CONNECTION = frozenset({"host"})
_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids of prompts
    r"|(?:toolu|msg|req)_[A-Za-z0-9]{24}"
    r"|[0-9a-f]{64}"  # the device, new with each home folder
    r"|Bash=\d+"  # milliseconds of the last tool call
    r"|/tmp/[^\"\\ ]*"
)
"""Parts of a request that differ from one run of the CLI to the next."""

pytestmark = [pytest.mark.asyncio, pytest.mark.long]


def _steps(body: Body) -> Script:
    """Call Bash until it has been called often enough, then answer."""
    messages = body["messages"]
    contents = [message["content"] for message in messages if isinstance(message["content"], list)]
    results = sum(block.get("type") == "tool_result" for content in contents for block in content)
    offered = any(tool.get("name") == "Bash" for tool in body.get("tools", ()))
    if offered and results < TOOL_CALLS:
        return Script(blocks=[tool_block("Bash", {"command": f"echo step {results}"})])
    return Script(blocks=[text_block(words(ANSWER))])


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream that asks for one tool call after another, and its record."""

    url: str
    recorder: Recorder

    def turns(self) -> list[Exchange]:
        return [exchange for exchange in self.recorder.exchanges if exchange.path == "/v1/messages"]


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    recorder = Recorder()
    server = await serve(RecordingApp(StandIn(_steps), recorder, expose=False), listen())
    yield Upstream(server.base_url, recorder)
    await server.close()


async def _run_claude_code(folder: Path, *, base_url: str, key: str) -> dict[str, Any]:
    """The CLI's result of a prompt, run in a home and a working folder of its own."""
    (folder / "home").mkdir(parents=True)
    (folder / "work").mkdir()
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": key,
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
    }
    options = ("--allowedTools", "Bash", "--output-format", "json", "--session-id", SESSION)
    process = await asyncio.create_subprocess_exec(
        *(str(bundled_cli()), "-p", "Take all steps.", *options),
        cwd=folder / "work",
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_WITHIN_S):
            stdout, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    result: dict[str, Any] = json.loads(stdout)
    return result


async def _through_gateway(folder: Path, upstream: Upstream, engine: str) -> dict[str, Any]:
    env = {"CLAUDE_PROXY_ENGINE": engine}
    gateway = await asyncio.to_thread(GatewayProcess(folder, upstream=upstream.url, env=env).start)
    try:
        return await _run_claude_code(folder / "client", base_url=gateway.base_url, key=gateway.api_key)
    finally:
        await asyncio.to_thread(gateway.stop)


def _headers(exchange: Exchange) -> Mapping[str, str]:
    return {
        name: _VARIES.sub("*", value)
        for name, value in exchange.headers.items()
        if name not in _CREDENTIAL | _PER_CONNECTION | {"content-length"}
    }


def _without_variation(exchange: Exchange) -> str:
    return _VARIES.sub("*", exchange.raw.decode())


@pytest.mark.parametrize("engine", ["sdk", "http"])
async def test_run_claude_code_tool_loop_to_its_end(engine: str, upstream: Upstream, tmp_path: Path) -> None:
    result = await _through_gateway(tmp_path, upstream, engine)

    assert (result["result"], result["is_error"], result["num_turns"]) == (ANSWER, False, TOOL_CALLS + 1)
    assert len(upstream.turns()) == TOOL_CALLS + 1


async def test_send_upstream_what_claude_code_sends_directly(upstream: Upstream, tmp_path: Path) -> None:
    await _run_claude_code(tmp_path / "direct", base_url=upstream.url, key="sk-ant-direct")
    direct = upstream.turns()
    upstream.recorder.clear()

    await _through_gateway(tmp_path / "through", upstream, "http")
    through = upstream.turns()

    assert len(direct) == TOOL_CALLS + 1
    for got, expected in zip(map(_headers, through), map(_headers, direct), strict=True):
        assert set(got.items()) ^ set(expected.items()) == set()
    assert [_without_variation(exchange) for exchange in through] == [
        _without_variation(exchange) for exchange in direct
    ]
    assert {exchange.query for exchange in through} == {exchange.query for exchange in direct}
    assert {exchange.headers["x-api-key"] for exchange in through} == {"sk-test"}
