"""Recorded first requests of coding agents are answered by both engines; `record.py` records them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

_RECORDED = sorted(Path(__file__).with_name("recorded").glob("*.json"))
_ENDS = ('"type":"message_stop"', '"type":"response.completed"', "data: [DONE]")


@pytest.fixture(scope="module", params=["sdk", "http"])
def either(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    env = {"CLAUDE_PROXY_ENGINE": request.param}
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), upstream=stand_in.base_url, env=env).start()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("file", _RECORDED, ids=lambda file: file.stem)
def test_answer_recorded_start_of_agent(file: Path, either: GatewayProcess, stand_in: StandInProcess) -> None:
    recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    since = stand_in.mark()

    with either.http(**recorded["headers"]) as client:
        answer = client.post(recorded["path"], json=recorded["body"])

    assert answer.status_code == 200, answer.text
    assert '"hello"' in answer.text or '"good' in answer.text
    assert any(end in answer.text for end in _ENDS), answer.text[-500:]
    sent = [exchange.body for exchange in stand_in.recorded(since=since) if exchange.path == "/v1/messages"]
    assert len(sent) == 1
    offered = [tool for tool in recorded["body"]["tools"] if tool.get("type") not in {"web_search", "tool_search"}]
    assert len(sent[0]["tools"]) >= len(offered)
