"""Transport of an agent's process, which programs in its jail may imitate."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import CLIConnectionError

from apiproxy.engines.agents import transport as transport_module
from apiproxy.engines.agents.transport import AgentTransport
from apiproxy.engines.sdk.message_buffer import MessageBuffer

REQUEST = {"type": "control_request", "request": {"subtype": "mcp_message"}}


async def started(tmp_path: Path, program: str) -> AgentTransport:
    transport = AgentTransport(
        command=[sys.executable, "-c", f"import json, sys, time\n{program}\ntime.sleep(60)"],
        env={},
        cwd=tmp_path,
        on_exit=lambda: None,
    )
    await transport.connect()
    transport.initialized = True
    return transport


async def read_all(transport: AgentTransport) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        messages = [message async for message in transport.read_messages()]
    await transport.close()
    return messages


async def test_end_process_with_too_many_requests(tmp_path: Path) -> None:
    program = f"""
for number in range(10_000):
    print(json.dumps({{**{REQUEST}, "request_id": str(number)}}), flush=True)
"""
    transport = await started(tmp_path, program)

    assert len(await read_all(transport)) == transport_module._MAX_REQUESTS


async def test_admit_requests_after_replies(tmp_path: Path) -> None:
    program = f"""
for number in range(100):
    print(json.dumps({{**{REQUEST}, "request_id": str(number)}}), flush=True)
    sys.stdin.readline()
sys.exit()
"""
    transport = await started(tmp_path, program)
    seen = 0
    async for message in transport.read_messages():
        seen += 1
        reply = {"subtype": "success", "request_id": message["request_id"], "response": {"request_id": "no"}}
        await transport.write(json.dumps({"type": "control_response", "response": reply}) + "\n")
    await transport.close()

    assert seen == 100


async def test_end_process_with_too_much_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_MAX_OUTPUT_BYTES", 100_000)
    transport = await started(tmp_path, "while True: print(json.dumps({'type': 'x' * 1000}))")

    assert await read_all(transport) == []


async def test_fail_replay_when_process_ends(tmp_path: Path) -> None:
    transport = await started(tmp_path, "sys.stdin.readline(); sys.exit()")
    reading = asyncio.create_task(read_all(transport))
    with pytest.raises(ConnectionError):
        await transport.replay("user", "hello", model="", size_bytes=0)
    await reading


async def test_close_buffer_of_run_when_process_ends(tmp_path: Path) -> None:
    transport = await started(tmp_path, 'print(\'{"type": "result"}\', flush=True); sys.exit()')
    buffer = MessageBuffer(limit_bytes=1000)
    transport.start_run(buffer)
    await read_all(transport)

    assert await buffer.take() == [{"type": "result"}]
    assert await buffer.take() is None


async def test_fail_start_of_process_that_ends(tmp_path: Path) -> None:
    transport = await started(tmp_path, "sys.exit()")
    transport.initialized = False
    with pytest.raises(CLIConnectionError):
        await read_all(transport)
    await transport.close()
