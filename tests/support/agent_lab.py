"""The engine of agents on the test's own loop: the bundled CLI, the real relay, and the stand-in as its upstream."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from apiproxy.core.addresses import checked_addresses
from apiproxy.core.agents import AgentSpec, McpServerSpec
from apiproxy.core.events import Step, StreamEvent, Usage
from apiproxy.core.message import MessageFold
from apiproxy.core.prices import NO_PRICES
from apiproxy.engines.agents.answer import AgentAnswer
from apiproxy.engines.agents.engine import AgentEngine
from apiproxy.engines.agents.launch import AgentLaunch
from apiproxy.engines.agents.pool import AgentLimits
from apiproxy.engines.agents.relay import Relay
from apiproxy.engines.base import EngineRequest, Outcome
from apiproxy.engines.http.upstream import Upstream
from apiproxy.engines.sdk.launch import bundled_cli
from tests.support.engine import MODEL, mark
from tests.upstream import Exchange, start
from tests.upstream.recorder import Recorder

KEY = "sk-operator"
_END_S = 60.0


def agent(*servers: McpServerSpec, **fields: Any) -> AgentSpec:
    settings = {"slug": "bot", "version": 3, "display_name": "Bot", "model": MODEL, "system": "You are a bot."}
    return AgentSpec(**{**settings, "mcp_servers": servers, **fields})


@dataclass
class AgentRun:
    """A run that is over, or in progress."""

    steps: list[Step] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def message(self) -> dict[str, Any]:
        """The message so far."""
        fold = MessageFold()
        fold.add(self.events)
        return fold.message

    @property
    def kinds(self) -> list[str]:
        return [block["type"] for block in self.message["content"]]

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.message["content"] if block["type"] == "text")

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        return [block for block in self.message["content"] if block["type"] == kind]


@dataclass
class AgentLab:
    """An engine and what its upstream has received."""

    engine: AgentEngine
    recorder: Recorder
    folder: Path
    before: frozenset[int] = frozenset()
    """Processes of the test that are not the engine's."""

    def received(self) -> list[Exchange]:
        """Model calls at the upstream, in their order."""
        return [exchange for exchange in self.recorder.exchanges if exchange.path == "/v1/messages"]

    def request(self, spec: AgentSpec, messages: str | list[Any], run: AgentRun, **body: Any) -> EngineRequest:
        turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return EngineRequest(
            run_id=mark(),
            model=spec.model,
            name=spec.slug,
            body={"model": spec.slug, "max_tokens": 1000, "messages": turns, **body},
            agent=spec,
            on_step=run.steps.append,
        )

    async def begin(self, spec: AgentSpec, messages: str | list[Any], **body: Any) -> tuple[AgentAnswer, AgentRun]:
        run = AgentRun()
        return await self.engine.begin(self.request(spec, messages, run, **body)), run

    async def play(self, spec: AgentSpec, messages: str | list[Any], **body: Any) -> AgentRun:
        """A whole run."""
        answer, run = await self.begin(spec, messages, **body)
        return await finish(answer, run)

    def left_behind(self) -> list[str]:
        """Folders and processes that are left of runs."""
        folders = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
        return folders + [f"{it.pid} {it}" for it in _children() if it.pid not in self.before]


async def finish(answer: AgentAnswer, run: AgentRun) -> AgentRun:
    """The rest of a run."""
    try:
        async with asyncio.timeout(_END_S):
            while (batch := await answer.next_batch()) is not None:
                run.events += batch.events
        run.outcome = answer.outcome
        return run
    finally:
        await answer.release()


@contextlib.asynccontextmanager
async def agent_lab(
    folder: Path, *, max_workers: int = 8, jail_problem: str = "", **launch: Any
) -> AsyncIterator[AgentLab]:
    """Everything of it, ended at exit."""
    before = frozenset(child.pid for child in _children())
    recorder = Recorder()
    stand_in = await start(recorder=recorder)
    upstream = Upstream(stand_in.base_url, {"ANTHROPIC_API_KEY": KEY}, max_connections=20)

    async def problem() -> str:
        return jail_problem

    def price(_model: str, usage: Usage) -> Usage:
        return usage

    engine = AgentEngine(
        launch=AgentLaunch(cli=bundled_cli(), folders=folder, **launch),
        relay=Relay(upstream, max_body_bytes=32 * 2**20),
        resolve=functools.partial(checked_addresses, private_hosts=("127.0.0.1",)),
        jail_problem=problem,
        price=price,
        prices=lambda: NO_PRICES,
        limits=AgentLimits(max_workers=max_workers),
    )
    try:
        yield AgentLab(engine, recorder, folder, before)
    finally:
        await engine.close()
        await upstream.close()
        await stand_in.close()


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)
