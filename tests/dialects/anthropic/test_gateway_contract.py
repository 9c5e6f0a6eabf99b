"""Claude Code's requirements for a gateway, item by item.

Source: https://code.claude.com/docs/en/llm-gateway-protocol. The bundled CLI is the client in one of the tests.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.engines.sdk.overlay import IDENTITY_BLOCK
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

MODEL = "claude-sonnet-5-5"
OLD, NEW = "2023-06-01", "2026-10-21"
SESSION = "x-claude-code-session-id"
AGENTS = {SESSION: "s-1", "x-claude-code-agent-id": "a-1", "x-claude-code-parent-agent-id": "a-0"}
ATTRIBUTION = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.891; cc_entrypoint=sdk-cli;"}
CACHED = {"cache_control": {"type": "ephemeral"}}


def body_of(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": prompt}], **fields}


def post(
    gateway: GatewayProcess, prompt: str, *, path: str = "/v1/messages", fields: Any = None, **headers: str
) -> httpx.Response:
    with gateway.http(**headers) as client:
        return client.post(path, json=body_of(prompt, **(fields or {})))


class TestVersion:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("version", [OLD, NEW])
    def test_pass_on_the_clients_version(
        self, gateway: GatewayProcess, stand_in: StandInProcess, version: str, stream: bool
    ) -> None:
        sent = mark()

        response = post(gateway, sent, fields={"stream": stream}, **{"anthropic-version": version})

        assert stand_in.only(sent).headers["anthropic-version"] == version
        assert response.headers["anthropic-version"] == version

    def test_use_the_old_version_without_one(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        sent = mark()

        assert post(gateway, sent).headers["anthropic-version"] == OLD

        assert stand_in.only(sent).headers["anthropic-version"] == OLD

    @pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
    def test_reject_a_version_that_is_no_date(self, gateway: GatewayProcess, path: str) -> None:
        response = post(gateway, "hi", path=path, **{"anthropic-version": "latest"})

        assert response.status_code == 400
        assert response.json()["error"]["message"].startswith("anthropic-version: ")
        assert response.headers["anthropic-version"] == OLD

    @pytest.mark.parametrize("fault", ["[[status=429]]", "[[drop]]"])
    def test_name_the_version_in_errors_too(self, gateway: GatewayProcess, fault: str) -> None:
        response = post(gateway, fault, **{"anthropic-version": NEW})

        assert response.is_error
        assert response.headers["anthropic-version"] == NEW

    def test_count_tokens_in_the_clients_version(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        sent, betas = mark(), "one-2026-01-01 , two"
        headers = {"anthropic-version": NEW, "anthropic-beta": betas, **AGENTS}

        response = post(gateway, sent, path="/v1/messages/count_tokens", **headers)

        assert response.headers["anthropic-version"] == NEW
        assert {name: stand_in.only(sent).headers[name] for name in headers} == headers

    def test_answer_the_official_client_in_its_version(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        sent = mark()

        raw = gateway.client().messages.with_raw_response.create(
            model="claude-opus-5-5", max_tokens=9, messages=[{"role": "user", "content": sent}]
        )

        assert raw.headers["anthropic-version"] == stand_in.only(sent).headers["anthropic-version"] == NEW

    def test_use_the_old_version_in_the_openai_dialect(self, gateway: GatewayProcess, stand_in: StandInProcess) -> None:
        sent = mark()

        response = post(gateway, sent, path="/v1/chat/completions", **{"anthropic-version": NEW, **AGENTS})

        exchange = stand_in.only(sent)
        assert response.headers["anthropic-version"] == exchange.headers["anthropic-version"] == OLD
        assert {name: exchange.headers[name] for name in AGENTS} == AGENTS


def test_pass_on_betas_with_nothing_added(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent, betas = mark(), "claude-code-20250219,context-1m-2025-08-07,beta-of-tomorrow"

    post(gateway, sent, **{"anthropic-beta": betas})

    assert stand_in.only(sent).headers["anthropic-beta"] == betas


def test_pass_on_session_and_agent_of_one_request(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    first, second = mark(), mark()
    hints = {"x-claude-code-request-class": "main", "x-claude-code-prev-tool-durations": "Bash=12;Read=3"}

    post(gateway, first, **AGENTS, **hints)
    post(gateway, second)

    received, later = stand_in.only(first).headers, stand_in.only(second).headers
    assert {name: received[name] for name in AGENTS | hints} == AGENTS | hints
    assert later[SESSION] != AGENTS[SESSION]
    assert not (AGENTS.keys() | hints.keys()) - {SESSION} & later.keys()


def test_keep_attribution_and_system_blocks_in_order(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent = mark()
    system = [ATTRIBUTION, {**IDENTITY_BLOCK, **CACHED}, {"type": "text", "text": "CWD: /", **CACHED}]

    post(gateway, sent, fields={"system": system})

    assert stand_in.only(sent).body["system"] == system


def test_keep_attribution_before_the_identity_line(gateway: GatewayProcess, stand_in: StandInProcess) -> None:
    sent, other = mark(), {"type": "text", "text": "Be brief.", **CACHED}

    post(gateway, sent, fields={"system": [ATTRIBUTION, other]})

    assert stand_in.only(sent).body["system"] == [ATTRIBUTION, IDENTITY_BLOCK, other]


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_tell_clients_to_go_on_without_a_thread(
    gateway: GatewayProcess, stand_in: StandInProcess, thread: dict[str, str]
) -> None:
    sent = mark()

    with pytest.raises(anthropic.BadRequestError) as failed:
        gateway.client().messages.create(
            model=MODEL,
            max_tokens=50,
            messages=[{"role": "user", "content": sent}],
            extra_body={"thread": thread},
            extra_headers={"anthropic-beta": "message-threads-2026-08-12"},
        )

    assert isinstance(failed.value.body, dict)
    error = failed.value.body["error"]
    assert (error["type"], error["details"]) == (
        "invalid_request_error",
        {"error_code": "thread_unsupported_request"},
    )
    assert stand_in.recorded(containing=sent) == []


def test_give_an_error_body_as_the_upstream_sent_it(gateway: GatewayProcess) -> None:
    response = post(gateway, "[[status=400]] [[message=messages.2: max_tokens: 200000 > 64000]]")

    answer = response.json()
    assert answer["error"] == {"type": "invalid_request_error", "message": "messages.2: max_tokens: 200000 > 64000"}
    assert answer["request_id"] == response.headers["x-upstream-request-id"] != response.headers["request-id"]


def test_list_models_as_claude_code_asks(gateway: GatewayProcess) -> None:
    headers = {"authorization": f"Bearer {gateway.api_key}", "anthropic-version": OLD}
    with httpx.Client(base_url=gateway.base_url, headers=headers) as client:
        response = client.get("/v1/models?limit=1000&of_tomorrow=1")

    assert response.status_code == 200
    assert response.json()["has_more"] is False
    models = {model["id"]: model for model in response.json()["data"]}
    assert all({"id", "display_name", "description", "capabilities"} <= model.keys() for model in models.values())
    assert models["claude-opus-5-5"]["description"]
    assert models["claude-opus-4-8"]["capabilities"]["effort"]["max"] == {"supported": True}


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_greet_without_a_key(gateway: GatewayProcess, method: str) -> None:
    response = httpx.request(method, f"{gateway.base_url}/api/hello")

    assert response.status_code == 200
    assert response.content == (b'{"message": "hello"}' if method == "GET" else b"")


def test_greet_only_those_who_read(gateway: GatewayProcess) -> None:
    response = httpx.post(f"{gateway.base_url}/api/hello", json={})

    assert response.status_code == 405
    assert response.json()["type"] == "error"


@pytest.mark.parametrize("wrong", ["x-api-key", "authorization"])
def test_count_no_guess_beside_a_valid_key(gateway: GatewayProcess, wrong: str) -> None:
    """More wrong keys than an address may send, each beside a valid one; then an unknown key alone is still a 401."""
    headers = {"x-api-key": gateway.api_key, "authorization": f"Bearer {gateway.api_key}"}
    with httpx.Client(base_url=gateway.base_url) as client:
        statuses = {
            client.get("/v1/models", headers=headers | {wrong: f"Bearer wrong-{number}"}).status_code
            for number in range(60)
        }
        alone = client.get("/v1/models", headers={wrong: "Bearer wrong"}).status_code

    assert (statuses, alone) == ({200}, 401)


def test_serve_claude_code_itself(gateway: GatewayProcess, stand_in: StandInProcess, tmp_path: Path) -> None:
    sent = mark()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": gateway.base_url,
        "ANTHROPIC_API_KEY": gateway.api_key,
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "IS_SANDBOX": "1",
    }
    command = [str(bundled_cli()), "-p", f"[[n=3]] {sent}", "--bare", "--model", MODEL]

    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.stdout.startswith("tok0 tok1 tok2"), done.stderr
    exchange = stand_in.only(sent)
    system = [block["text"] for block in exchange.body["system"]]
    assert system[0].startswith(ATTRIBUTION["text"][:26])
    assert system.count(IDENTITY_BLOCK["text"]) == 1
    assert re.fullmatch(r"[0-9a-f-]{36}", exchange.headers[SESSION])
    assert exchange.headers["x-claude-code-request-class"] == "main"
    assert gateway.api_key not in json.dumps(dict(exchange.headers))
