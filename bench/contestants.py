"""Contestants: the gateway, `query()` per request, and the stand-in asked directly."""

import asyncio
import resource
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psutil
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, StreamEvent, query

from bench.client import Connections
from bench.questions import MODEL, Question
from bench.sse import BadAnswerError, Event, events_of, text_of_events, text_of_message
from tests.support.processes import children_of

ANSWER_TIMEOUT_S = 120.0
"""No answer of this benchmark takes so long, on a machine of whatever speed."""

API_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Took:
    """Times of one answer, in seconds since the request. first_token_s: None if it was not streamed."""

    total_s: float
    first_token_s: float | None = None


class Contestant(Protocol):
    """Somebody who answers questions."""

    async def ask(self, question: Question) -> Took:
        """Asks and checks the answer. Raises BadAnswerError for a wrong one, TimeoutError for none."""
        ...

    def cpu_s(self) -> Mapping[str, float]:
        """The processor time so far by part, in seconds; empty for what is not measured."""
        ...


class HttpContestant:
    """A server that speaks the Messages API. pid: the gateway's process, whose processor time is to be told."""

    def __init__(self, base_url: str, *, api_key: str = "bench", pid: int | None = None) -> None:
        address = urlsplit(base_url)
        assert address.hostname is not None
        assert address.port is not None
        self._connections = Connections(address.hostname, address.port)
        self._headers = {
            "x-api-key": api_key,
            "anthropic-version": API_VERSION,
            "content-type": "application/json",
        }
        self._pid = pid

    async def ask(self, question: Question) -> Took:
        """Asks over HTTP."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reply = await self._connections.post("/v1/messages", question.body(), headers=self._headers)
        if reply.status != 200:
            raise BadAnswerError(f"status {reply.status}: {reply.body[:500]!r}")
        if not question.stream:
            question.check(text_of_message(reply.body))
            return Took(reply.total_s)
        question.check(text_of_events(events_of(reply.body)))
        return Took(reply.total_s, reply.first_delta_s)

    def cpu_s(self) -> Mapping[str, float]:
        """Processor time of the server's own process and of its workers."""
        return {} if self._pid is None else processor_time_s(self._pid)

    def close(self) -> None:
        """Closes its connections."""
        self._connections.close()


class QueryContestant:
    """`claude_agent_sdk.query()` for each request, as other gateways do it, without the HTTP in front of it.

    With the options that cost it least: no tools and no settings of the machine to load, no telemetry.
    """

    def __init__(self, base_url: str, folder: Path) -> None:
        self._cwd = folder / "cwd"
        self._cwd.mkdir(parents=True)
        self._env = {
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "bench",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **{name: str(folder) for name in ("HOME", "CLAUDE_CONFIG_DIR", "TMPDIR")},
        }

    async def ask(self, question: Question) -> Took:
        """Asks by a process of its own, which has ended when this returns."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            took, text = await self._run(question)
        question.check(text)
        return took

    async def ask_unchecked(self, question: Question) -> Took:
        """Asks, and accepts any answer."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            took, _ = await self._run(question)
        return took

    def cpu_s(self) -> Mapping[str, float]:
        """Processor time of this process, which runs the SDK, and of the CLI processes that have ended."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"sdk": time.process_time(), "cli": children.ru_utime + children.ru_stime}

    async def _run(self, question: Question) -> tuple[Took, str]:
        started_at = time.perf_counter()
        first_token_s: float | None = None
        events: list[Event] = []
        text = ""
        messages = query(prompt=question.flat, options=self._options(question))
        assert isinstance(messages, AsyncGenerator)
        async with aclosing(messages):
            async for message in messages:
                if isinstance(message, StreamEvent):
                    events.append(message.event)
                    if first_token_s is None and message.event["type"] == "content_block_delta":
                        first_token_s = time.perf_counter() - started_at
                elif isinstance(message, ResultMessage):
                    if message.is_error:
                        raise BadAnswerError(f"query() failed: {message.result}")
                    text = message.result or ""
        took = Took(time.perf_counter() - started_at, first_token_s)
        return took, text_of_events(events) if question.stream else text

    def _options(self, question: Question) -> ClaudeAgentOptions:
        return ClaudeAgentOptions(
            model=MODEL,
            system_prompt=question.system(),
            max_turns=1,
            tools=[],
            allowed_tools=[],
            setting_sources=[],
            include_partial_messages=question.stream,
            cwd=self._cwd,
            env=self._env,
        )


def processor_time_s(pid: int) -> dict[str, float]:
    """Seconds of processor time of a server and of all the processes it has started, the ended ones included."""
    server = psutil.Process(pid).cpu_times()
    workers = server.children_user + server.children_system
    for process in children_of(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it ended just now, and counts as the server's child from the next reading on
            continue
        workers += times.user + times.system + times.children_user + times.children_system
    return {"server": server.user + server.system, "workers": workers}
