"""Allow-lists at a whole gateway: the attack's case, and each kind of list, over a real port."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, body, make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

OPUS = "claude-opus-4-6"
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": OPUS}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_ALLOWED_BETAS": "advisor-tool-*,mcp-client-*", "CLAUDE_PROXY_WARM_WORKERS": "0"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("policy"), upstream=stand_in.base_url, env=env).start()
    narrow = {
        "allowed_models": ["haiku"],
        "allowed_betas": ["advisor-*"],
        "allowed_server_tools": ["advisor*"],
        "allowed_mcp_hosts": ["*.good.example"],
    }
    yield Site([gateway], make_keys(gateway, {"narrow": narrow, "free": {}}))
    gateway.stop()


def ask(site: Site, key: str, path: str, given: dict[str, Any], **headers: str) -> httpx.Response:
    sent = {"x-api-key": site.secrets[key], **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"{site.first.base_url}{path}", json=given, headers=sent, timeout=60)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("fields", "beta", "param"),
    [
        ({"tools": [ADVISOR]}, "advisor-tool-2026-03-01", "tools.0.model"),
        ({"fallbacks": [{"model": "haiku"}, {"model": OPUS}]}, "", "fallbacks.1.model"),
        ({"fallbacks": "default"}, "", "fallbacks"),
        ({"tools": [SEARCH]}, "", "tools.0.type"),
        (
            {"mcp_servers": [{"type": "url", "name": "m", "url": "https://a.good.example@evil.example"}]},
            "",
            "mcp_servers.0.url",
        ),
        ({}, "mcp-client-2025-11-20", "anthropic-beta"),
    ],
)
def test_refuses_what_a_key_was_not_granted(
    site: Site, stand_in: StandInProcess, path: str, fields: dict[str, Any], beta: str, param: str
) -> None:
    mark = secrets.token_hex(8)
    answer = ask(site, "narrow", path, body(mark, model="haiku", **fields), anthropic_beta=beta)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error"), answer.text
    assert answer.json()["error"]["message"].startswith(f"{param}: ")
    assert stand_in.recorded(containing=mark) == []


def test_passes_on_what_a_key_was_granted(site: Site, stand_in: StandInProcess) -> None:
    mark = secrets.token_hex(8)
    tool = {**ADVISOR, "model": "haiku"}
    server = {"type": "url", "name": "m", "url": "https://mcp.good.example/mcp"}
    given = body(mark, model="haiku", tools=[tool], mcp_servers=[server], fallbacks=[{"model": "haiku"}])
    answer = ask(site, "narrow", "/v1/messages", given, anthropic_beta="advisor-tool-2026-03-01")
    assert answer.status_code == 200, answer.text
    sent = stand_in.only(mark).body
    assert sent["mcp_servers"] == [server]
    assert sent["tools"][0]["model"] == sent["fallbacks"][0]["model"] == sent["model"] != "haiku"


def test_holds_every_key_to_the_lists_of_the_gateway(site: Site) -> None:
    answer = ask(site, "free", "/v1/messages", body("hi"), anthropic_beta="files-api-2025-04-14")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert "files-api-2025-04-14" in answer.json()["error"]["message"]


@pytest.mark.parametrize("beta", ["advisor-tool-\x01", "a\x7f", "x" * 15_000, "," * 8_000, ",".join(["b"] * 2_500)])
def test_refuses_betas_that_are_no_list_of_names(site: Site, beta: str) -> None:
    connection = HTTPConnection(site.first.base_url.removeprefix("http://"), timeout=60)  # httpx would not send them
    sent = {"x-api-key": site.secrets["free"], "anthropic-beta": beta, "content-type": "application/json"}
    with closing(connection):
        connection.request("POST", "/v1/messages", json.dumps(body("hi")), sent)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("anthropic-beta: ")
