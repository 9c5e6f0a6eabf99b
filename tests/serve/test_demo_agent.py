"""The demo's agent, asked by official clients in a served demo."""

import re
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess

pytestmark = pytest.mark.long

MODEL = "demo-agent"
ASKED = "What about refunds?"
SAYS = "Refunds are paid within five days."


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path_factory.mktemp("demo"), upstream=None).start()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="module")
def key(demo: GatewayProcess) -> str:
    """A key whose list of models names agents."""
    return make_keys(demo, {"agents": {"allowed_models": ["*"]}})["agents"]


@pytest.mark.parametrize("stream", [False, True])
def test_answer_messages_with_the_steps_of_the_agent(demo: GatewayProcess, key: str, *, stream: bool) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": ASKED}]}
    with anthropic.Anthropic(base_url=demo.base_url, api_key=key, max_retries=0) as client:
        if stream:
            with client.beta.messages.stream(**asked) as events:
                message, header = events.get_final_message(), events.response.headers["x-proxy-agent"]
        else:
            raw = client.beta.messages.with_raw_response.create(**asked)
            message, header = raw.parse(), raw.headers["x-proxy-agent"]

    content = [block.to_dict() for block in message.content]
    kinds = [block["type"] for block in content]
    assert kinds.count("mcp_tool_use") == kinds.count("mcp_tool_result") == 3
    assert {block["server_name"] for block in content if block["type"] == "mcp_tool_use"} == {"handbook"}
    assert SAYS in str(content[-1]["text"])
    assert (message.model, message.stop_reason) == (MODEL, "end_turn")
    assert re.fullmatch(r"demo-agent@1" if stream else r"demo-agent@1; calls=3; cost=0\.\d+", header)


def test_answer_chat_and_responses_with_its_text(demo: GatewayProcess, key: str) -> None:
    with openai.OpenAI(base_url=f"{demo.base_url}/v1", api_key=key, max_retries=0) as client:
        chat = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": ASKED}])
        response = client.responses.create(model=MODEL, input=ASKED)

    assert SAYS in (chat.choices[0].message.content or "")
    assert SAYS in response.output_text
    assert [item.type for item in response.output].count("mcp_call") == 3


def test_hide_the_agent_from_keys_that_do_not_name_it(demo: GatewayProcess, key: str) -> None:
    with demo.http() as client:
        listed = {model["id"] for model in client.get("/v1/models").json()["data"]}
        named = {model["id"] for model in client.get("/v1/models", headers={"x-api-key": key}).json()["data"]}
        refused = client.post(
            "/v1/messages", json={"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        )

    assert MODEL in named - listed
    assert refused.status_code == 403


def test_show_operators_the_server_that_was_connected(demo: GatewayProcess, key: str) -> None:
    with anthropic.Anthropic(base_url=demo.base_url, api_key=key, max_retries=0) as client:
        client.messages.create(model=MODEL, max_tokens=500, messages=[{"role": "user", "content": ASKED}])
    login = demo.first_login()
    with httpx.Client(base_url=demo.base_url, timeout=20) as browser:
        browser.get("/admin/login/")
        form = {"username": login.name, "password": login.password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/admin/login/", data=form).status_code == 302
        page = browser.get("/dashboard/workers").text

    assert "handbook" in page
    assert "read_page" in page
