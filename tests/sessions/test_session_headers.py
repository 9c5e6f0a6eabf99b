"""Session headers of coding agents name the conversation, over a real port."""

import secrets

import httpx
import pytest

from tests.limits.gateways import body
from tests.support.gateway import GatewayProcess
from tests.support.waiting import eventually

MODEL = "claude-haiku-4-5"


def conversations(gateway: GatewayProcess) -> list[str]:
    answer = httpx.get(f"{gateway.base_url}/sessions", headers={"x-api-key": gateway.api_key}, timeout=30)
    return [session["conversationId"] for session in answer.json()["sessions"]]


def ask(gateway: GatewayProcess, path: str, **headers: str) -> None:
    given = {"model": MODEL, "input": "hi"} if path == "/v1/responses" else body("hi")
    answer = httpx.post(
        gateway.base_url + path, json=given, headers={"x-api-key": gateway.api_key, **headers}, timeout=60
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("header", ["x-claude-code-session-id", "session-id", "x-session-affinity", "x-session-id"])
def test_record_conversation_named_by_header(gateway: GatewayProcess, header: str, path: str) -> None:
    conversation = f"session-{secrets.token_hex(8)}"
    ask(gateway, path, **{header: conversation})
    eventually(lambda: conversation in conversations(gateway))


def test_record_hostile_header_by_digest(gateway: GatewayProcess) -> None:
    ask(gateway, "/v1/messages", **{"session-id": secrets.token_hex(2_000)})
    ids = eventually(lambda: [it for it in conversations(gateway) if it.startswith("sha256:")])
    assert all(len(it) <= 100 for it in ids)
