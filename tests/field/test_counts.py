"""Token counts that users of such gateways missed: of a compaction, and of the identity line."""

import base64
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from apiproxy.core.turns import ENGINES
from tests.differential.pair import Pair
from tests.field.asks import MODEL
from tests.field.cases import STREAMS
from tests.field.test_streams import content_of
from tests.support.engine import mark
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long
COMPACTED = next(case for case in STREAMS if case["id"] == "C014")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_count_compaction_beside_the_message(pair: Pair, engine: str, stream: bool) -> None:
    prompt = f"{mark()} [[raw={base64.b64encode(content_of(COMPACTED)).decode()}]]"
    body = {"model": MODEL, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    with pair.gateway(engine).http() as client:
        before = settled(client)

        client.post("/v1/messages", json=body, headers={"anthropic-beta": "compact-2026-01-12"}).raise_for_status()

        eventually(lambda: used(client)["requests"] > before["requests"], within_s=10)
        after = settled(client)
    assert after["input_tokens"] - before["input_tokens"] == 203_000
    assert after["output_tokens"] - before["output_tokens"] == 4_500


@pytest.mark.parametrize("system", [None, "Be brief.", [{"type": "text", "text": "Be brief."}]])
@pytest.mark.parametrize("engine", ENGINES)
def test_count_what_the_request_will_use(pair: Pair, engine: str, system: Any) -> None:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": f"hi {mark()}"}]}
    body |= {"system": system} if system else {}
    with pair.gateway(engine).http() as client:
        counted = client.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
        usage = client.post("/v1/messages", json={**body, "max_tokens": 9}).json()["usage"]

    assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]


def settled(client: httpx.Client) -> Mapping[str, Any]:
    """The key's use, once the runs before are written."""
    last = used(client)
    while True:
        time.sleep(0.5)
        last, earlier = used(client), last
        if last == earlier:
            return last


def used(client: httpx.Client) -> Mapping[str, Any]:
    """The key's use so far."""
    total: Mapping[str, Any] = client.get("/v1/usage").raise_for_status().json()["totals"]
    return total


def test_count_tokens_without_the_betas_that_are_dropped(stand_in: StandInProcess, tmp_path: Any) -> None:
    env = {"CLAUDE_PROXY_ENGINE": "http", "CLAUDE_PROXY_DROP_BETAS": "claude-code-*,effort-2025-11-24"}
    gateway = GatewayProcess(tmp_path, upstream=stand_in.base_url, env=env).start()
    try:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            sent = mark()
            body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": sent}]}
            betas = "claude-code-20250219, effort-2025-11-24,context-1m-2025-08-07"
            with gateway.http(**{"anthropic-beta": betas}) as client:
                client.post(path, json=body).raise_for_status()
            assert stand_in.only(sent).headers["anthropic-beta"] == "context-1m-2025-08-07"
        sent = mark()
        with gateway.http(**{"anthropic-beta": "claude-code-20250219"}) as client:
            client.post("/v1/messages", json={**body, "messages": [{"role": "user", "content": sent}]})
        assert "anthropic-beta" not in stand_in.only(sent).headers
    finally:
        gateway.stop()
