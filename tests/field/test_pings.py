"""Heartbeats of the gateway in the streams of the official OpenAI client, which reads every line of a stream."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from apiproxy.core.turns import ENGINES
from tests.field.asks import MODEL
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long
PAUSES = "[[first=0.4]] [[n=3]] [[gap=0.4]]"
TEXT = "tok0 tok1 tok2 "


@pytest.fixture(params=ENGINES)
def client(request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path: Path) -> Iterator[openai.OpenAI]:
    env = {"CLAUDE_PROXY_ENGINE": request.param, "CLAUDE_PROXY_HEARTBEAT_MS": "100"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.api_key, max_retries=0) as made:
        yield made
    gateway.stop()


def test_read_streams_with_pings_by_official_client(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": PAUSES}]) as chat:
        assert chat.get_final_completion().choices[0].message.content == TEXT
    with client.responses.stream(model=MODEL, input=PAUSES) as response:
        assert response.get_final_response().output_text == TEXT
