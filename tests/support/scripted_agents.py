"""A gateway whose engine `agents` plays scripts, for tests of what operators see of agents.

Runs are started and continued through a socket in the state folder; all else is the product's: runs, events, traces.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from apiproxy.core.agents import AgentSpec
from apiproxy.core.events import Cancelled, Failed, Finished, Step, StepKind, Usage
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Caller, EngineName, Turn, new_id
from apiproxy.engines.base import Answer, Batch, Completed, EngineRequest, Outcome, Stopped, WorkerSnapshot
from apiproxy.gateway import Gateway
from apiproxy.runs.admission import Admission
from apiproxy.runs.engines import Engines, QueuedEngine
from apiproxy.runs.run import Run

SOCKET = "agents.sock"
SETTINGS = "tests.support.scripted_agents_settings"
AGENT = AgentSpec(
    slug="support-bot", version=3, display_name="Support", model="claude-sonnet-4-5", max_calls=12, max_duration_s=600
)
_CALL = Usage(1_200, 150, 800, 0, 0.0064)


class ScriptedAnswer(Answer):
    """An answer that follows its script: `begin ID KIND NAME`, `end ID [ERROR]`, `pause S`, `wait`, `text TEXT`."""

    def __init__(self, request: EngineRequest, script: list[list[Any]]) -> None:
        self._on_step = request.on_step
        self._script = script
        self._steps: dict[str, Step] = {}
        self._calls = 0
        self._stop = asyncio.Event()
        self.go = asyncio.Event()
        self._outcome: Outcome = Stopped(usage=Usage())
        self._begun = False
        self._texts = 0

    async def next_batch(self) -> Batch | None:
        if not self._begun:
            self._begun = True
            start = {"id": "msg_1", "model": AGENT.slug, "role": "assistant", "content": [], "usage": {}}
            return Batch([{"type": "message_start", "message": start}])
        while self._script and not self._stop.is_set():
            batch = await self._play(*self._script.pop(0))
            if batch is not None:
                return batch
        if not self._stop.is_set():
            self._outcome = Completed(stop_reason="end_turn", usage=self._usage())
        return None

    async def _play(self, verb: str, *given: Any) -> Batch | None:
        match verb:
            case "begin":
                self._begin(*given)
            case "end":
                self._end(*given)
            case "pause":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), given[0])
            case "wait":
                await self._first_of_go_and_stop()
            case "text":
                return self._text(given[0])
        return None

    def _begin(self, step_id: str, kind: str, name: str, more: Mapping[str, Any] | None = None) -> None:
        found = StepKind(kind)
        self._calls += found is StepKind.MODEL_CALL
        step = Step(id=step_id, kind=found, name=name, number=self._calls, started_at=time.time(), **(more or {}))
        self._steps[step_id] = step
        self._on_step(step)

    def _end(self, step_id: str, error: str = "", more: Mapping[str, Any] | None = None) -> None:
        step = self._steps[step_id]
        if more and "kind" in more:
            more = {**more, "kind": StepKind(more["kind"])}
        usage = _CALL if step.kind is StepKind.MODEL_CALL and not error else None
        fields: dict[str, Any] = {"failed": bool(error), "error": error, "usage": usage, **(more or {})}
        self._on_step(replace(step, ended_at=time.time(), **fields))

    async def _first_of_go_and_stop(self) -> None:
        tasks = [asyncio.create_task(event.wait()) for event in (self.go, self._stop)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        self.go.clear()

    def _text(self, text: str) -> Batch:
        index, self._texts = self._texts, self._texts + 1
        return Batch(
            [
                {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}},
                {"type": "content_block_stop", "index": index},
            ]
        )

    def _usage(self) -> Usage:
        return replace(_CALL, input_tokens=_CALL.input_tokens * self._calls, cost_usd=0.0064 * self._calls)

    def stop(self) -> None:
        self._stop.set()

    async def release(self) -> None:
        return None

    @property
    def outcome(self) -> Outcome:
        return self._outcome if not isinstance(self._outcome, Stopped) else Stopped(usage=self._usage())

    headers: Mapping[str, str] = {}
    stalls = False
    pid = None
    stderr_tail = ""


class ScriptedEngine:
    """Engine `agents` whose answers follow the scripts of their runs."""

    name: EngineName = "agents"
    ready = True

    def __init__(self) -> None:
        self.scripts: dict[str, list[list[Any]]] = {}
        self.answers: dict[str, ScriptedAnswer] = {}

    async def begin(self, request: EngineRequest) -> Answer:
        request.on_sent()
        answer = ScriptedAnswer(request, self.scripts.pop(request.run_id))
        self.answers[request.run_id] = answer
        return answer

    async def warm(self) -> bool:
        return True

    def snapshot(self) -> list[WorkerSnapshot]:
        return []

    def retire(self, worker_id: str) -> bool:
        return False

    async def close(self) -> None:
        return None


class ScriptedAgents:
    """A background service of the gateway that starts scripted runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._engine = ScriptedEngine()
        self._server: asyncio.Server | None = None
        self._readers: set[asyncio.Task[None]] = set()
        create = Engines._create

        def scripted(engines: Engines, name: EngineName) -> QueuedEngine:
            if name != "agents":
                return create(engines, name)
            return QueuedEngine(self._engine, Admission(max_active=4, max_waiting=4, wait_limit_s=30))

        setattr(Engines, "_create", scripted)  # noqa: B010 - a method replaced for the whole process

    async def start(self) -> None:
        path = self._gateway.settings.state_dir / SOCKET
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for reader in self._readers:
            reader.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = json.loads(await reader.readline())
        if "go" in command:
            self._engine.answers[command["go"]].go.set()
            writer.write(b"{}\n")
        else:
            run = await self._begin(**command)
            writer.write(json.dumps({"id": run.turn.id}).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def _begin(self, *, script: list[list[Any]], store_bodies: bool, prompt: str, key: str) -> Run:
        caller = Caller(key_id=1, key_label=key, client_ip="192.0.2.9", store_bodies=store_bodies)
        body = {"model": AGENT.slug, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}]}
        turn = Turn(
            id=new_id("req_"), dialect="anthropic", body=body, model=AGENT.slug, requested_model=AGENT.slug,
            stream=True, caller=caller, received_at=time.time(), body_bytes=200, engine="agents", agent=AGENT,
        )  # fmt: skip
        self._engine.scripts[turn.id] = script
        run, _ = await self._gateway.runtime.begin(Principal(key_id=1, label=key, scopes=frozenset({"api"})), turn)
        task = asyncio.create_task(_read(run))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)
        return run


async def _read(run: Run) -> None:
    while True:
        events = await run.event_buffer.take(60)
        if events and isinstance(events[-1], Finished | Failed | Cancelled):
            return


class AgentDesk:
    """Starts scripted runs in a gateway's process."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / SOCKET

    def start(
        self,
        script: list[list[Any]],
        *,
        store_bodies: bool = False,
        prompt: str = "When do you open?",
        key: str = "shop",
    ) -> str:
        """Starts a run; its id."""
        return str(self._tell(script=script, store_bodies=store_bodies, prompt=prompt, key=key)["id"])

    def go(self, run_id: str) -> None:
        """Ends the run's present `wait`."""
        self._tell(go=run_id)

    def _tell(self, **command: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self._path))
            connection.sendall(json.dumps(command).encode() + b"\n")
            return dict(json.loads(connection.makefile().readline()))
