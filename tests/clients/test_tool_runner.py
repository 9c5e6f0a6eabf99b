"""The official Anthropic client's tool runner, which sends message threads by default, through twelve turns."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anthropic import beta_tool

from apiproxy.core.turns import ENGINES
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long
TURNS = 12


@pytest.fixture(scope="module", params=ENGINES)
def engine_gateway(
    request: pytest.FixtureRequest, stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("runner")
    gateway = GatewayProcess(folder, upstream=stand_in.base_url, env={"CLAUDE_PROXY_ENGINE": request.param}).start()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_run_tools_for_twelve_turns(engine_gateway: GatewayProcess, stand_in: StandInProcess, stream: bool) -> None:
    sent, done = mark(), list[int]()

    @beta_tool
    def step(number: int) -> str:
        """Take a step.

        Args:
            number: Which one.
        """
        done.append(number)
        return f"{sent} " + (f'[[tool=step:{{"number":{number + 1}}}]]' if number < TURNS - 1 else "[[say=done]]")

    runner = engine_gateway.client().beta.messages.tool_runner(
        model="claude-opus-5-5",
        max_tokens=100,
        tools=[step],
        messages=[{"role": "user", "content": f'{sent} [[tool=step:{{"number":1}}]]'}],
        stream=stream,
    )
    final = runner.until_done()

    assert done == list(range(1, TURNS))
    assert final.content[0].type == "text"
    assert final.content[0].text == "done"
    asked = stand_in.recorded(containing=sent)
    assert len(asked) == TURNS, "each turn is asked for once"
    threads = [exchange.body.get("thread") for exchange in asked]
    if "continue" in str(threads):
        assert all("system" not in it.body and "tools" not in it.body for it in asked[1:])
        assert all(len(exchange.body["messages"]) == 1 for exchange in asked[1:])
    else:
        assert threads == [None] * TURNS
        assert len(asked[-1].body["messages"]) == 2 * TURNS - 1
