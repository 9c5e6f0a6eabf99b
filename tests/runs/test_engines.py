"""Engines of a process: created at their first use, each with its own queue."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from apiproxy.conf import Credential, GatewaySettings
from apiproxy.core.turns import EngineName
from apiproxy.engines.base import Answer, EngineRequest, WorkerSnapshot
from apiproxy.runs import engines as engines_module
from apiproxy.runs.admission import Admission, QueueSnapshot
from apiproxy.runs.engines import AgentsUnavailableError, Engines, QueuedEngine

API_KEY = Credential(kind="api_key", env={"ANTHROPIC_API_KEY": "k"}, base_url="http://127.0.0.1:9")


class FakeEngine:
    """An engine that only says whether it is ready."""

    def __init__(self, name: EngineName, *, warms: bool = True) -> None:
        self.name = name
        self.ready = False
        self._warms = warms

    async def warm(self) -> bool:
        self.ready = self._warms
        return self._warms

    async def begin(self, request: EngineRequest) -> Answer:
        raise NotImplementedError

    def snapshot(self) -> list[WorkerSnapshot]:
        return []

    def retire(self, worker_id: str) -> bool:
        return False

    async def close(self) -> None:
        self.ready = False


def queued(engine: FakeEngine, slots: int) -> QueuedEngine:
    admission = Admission(max_active=slots, max_waiting=1, wait_limit_s=1.0, max_starting=1)
    return QueuedEngine(engine, admission)


def gateway(folder: Path, engine: EngineName, credential: Credential = API_KEY) -> GatewaySettings:
    given: GatewaySettings = settings.GATEWAY
    return replace(given, engine=engine, state_dir=folder, credential=credential)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[EngineName]:
    """Names of the engines created; they are fakes with their number of slots in the settings."""
    names: list[EngineName] = []

    def create(name: EngineName) -> object:
        def fake(given: GatewaySettings) -> QueuedEngine:
            names.append(name)
            return queued(FakeEngine(name), given.slots(name))

        return fake

    monkeypatch.setattr(engines_module, "_sdk", create("sdk"))
    monkeypatch.setattr(engines_module, "_http", create("http"))
    return names


async def test_warm_default_engine_and_those_of_models(tmp_path: Path, made: list[EngineName]) -> None:
    engines = Engines(gateway(tmp_path, "http"))
    assert await engines.warm()
    assert made == ["http"]
    assert engines.ready
    assert await engines.warm({"http", "sdk"})
    assert made == ["http", "sdk"]


async def test_need_no_cli_with_http_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise FileNotFoundError("no CLI")

    monkeypatch.setattr(engines_module, "bundled_cli", missing)
    monkeypatch.setattr(engines_module, "_http", lambda given: queued(FakeEngine("http"), 7))
    engines = Engines(gateway(tmp_path, "http"))
    assert await engines.warm()
    assert engines.ready
    assert engines.workers() == []
    with pytest.raises(FileNotFoundError):
        await Engines(gateway(tmp_path, "sdk")).warm()


async def test_sum_queues_of_engines_in_use(tmp_path: Path, made: list[EngineName]) -> None:
    given = gateway(tmp_path, "sdk")
    engines = Engines(given)
    await engines.warm()
    assert engines.queue_snapshot() == QueueSnapshot(active=0, waiting=0, max=given.max_concurrent)
    await engines.warm({"http"})
    assert engines.queue_snapshot().max == given.max_concurrent + given.http_max_concurrent
    assert {name: queue.max for name, queue in engines.queues().items()} == {"sdk": 5, "http": 1000}


async def test_report_engine_that_does_not_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines_module, "_http", lambda given: queued(FakeEngine("http", warms=False), 7))
    monkeypatch.setattr(engines_module, "_sdk", lambda given: queued(FakeEngine("sdk"), 5))
    engines = Engines(gateway(tmp_path, "sdk"))
    assert not await engines.warm({"http"})
    assert engines.ready  # the default engine is


async def test_refuse_http_engine_with_cloud_credential(tmp_path: Path, made: list[EngineName]) -> None:
    engines = Engines(gateway(tmp_path, "sdk", Credential(kind="vertex")))
    with pytest.raises(RuntimeError, match="CLAUDE_CODE_USE_VERTEX"):
        await engines.warm({"http"})
    assert made == ["sdk"]


async def test_work_without_engine_of_agents(tmp_path: Path, made: list[EngineName]) -> None:
    engines = Engines(gateway(tmp_path, "sdk", Credential(kind="bedrock")))

    assert await engines.warm({"agents"})
    assert made == ["sdk"]
    with pytest.raises(AgentsUnavailableError, match="CLAUDE_CODE_USE_BEDROCK"):
        engines.get("agents")
