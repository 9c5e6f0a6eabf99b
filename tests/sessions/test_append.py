"""Appended conversations at their limits: rejected before the run or reported, never with a gap."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, body, make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

QUOTA_BYTES = 1_000_000
STORING = {"store_bodies": True}


def gateway_site(folder: Any, stand_in: StandInProcess, **env: str) -> Iterator[Site]:
    settings = {"CLAUDE_PROXY_STORE_SESSIONS": "1", "CLAUDE_PROXY_WARM_WORKERS": "0", **env}
    gateway = GatewayProcess(folder, upstream=stand_in.base_url, env=settings).start()
    yield Site([gateway], make_keys(gateway, {"storing": STORING, "other": STORING}))
    gateway.stop()


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from gateway_site(tmp_path_factory.mktemp("append"), stand_in)


@pytest.fixture(scope="module")
def small(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway with a small quota."""
    env = {"CLAUDE_PROXY_SESSION_BYTES_PER_KEY": str(QUOTA_BYTES)}
    yield from gateway_site(tmp_path_factory.mktemp("quota"), stand_in, **env)


def append(site: Site, conversation: str, prompt: str, *, key: str = "storing", mode: str = "append") -> httpx.Response:
    headers = {"x-api-key": site.secrets[key], "x-conversation-id": conversation, "x-conversation-mode": mode}
    url = f"{site.first.base_url}/v1/messages"
    return httpx.post(url, json=body(prompt), headers={name: it for name, it in headers.items() if it}, timeout=120)


def session(site: Site, conversation: str, *, key: str = "storing") -> dict[str, Any]:
    answer = httpx.get(f"{site.first.base_url}/sessions", headers={"x-api-key": site.secrets[key]}, timeout=30)
    (found,) = [it for it in answer.json()["sessions"] if it["conversationId"] == conversation]
    return dict(found)


def respond(site: Site, key: str = "storing", **fields: Any) -> httpx.Response:
    url, headers = f"{site.first.base_url}/v1/responses", {"x-api-key": site.secrets[key]}
    return httpx.post(url, json={"model": "haiku", "input": "hi", **fields}, headers=headers, timeout=60)


def test_refuses_what_exceeds_the_limit_and_loses_no_turn(site: Site, stand_in: StandInProcess) -> None:
    conversation = secrets.token_hex(8)
    big = f"[[say=ok]] {conversation} " + "z" * (18 << 20)
    told = [append(site, conversation, big) for _ in range(4)]
    assert [answer.status_code for answer in told] == [200, 413, 413, 413]
    assert told[1].json()["error"]["type"] == "request_too_large"
    assert len(stand_in.recorded(containing=conversation)) == 1
    small = [append(site, conversation, f"[[say=ok]] {conversation} {turn}") for turn in range(2)]
    assert [answer.headers["x-conversation-messages"] for answer in (told[0], *small)] == ["0", "2", "4"]
    assert all("x-conversation-unstored" not in answer.headers for answer in (told[0], *small))
    sent = stand_in.recorded(containing=conversation)[-1].body["messages"]
    assert [len(str(message["content"])) > 2**20 for message in sent] == [True, False, False, False, False]
    assert session(site, conversation)["unstoredTurns"] == 0


def test_refuses_what_exceeds_the_quota_of_the_key(small: Site) -> None:
    half = "z" * (QUOTA_BYTES // 2)
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    assert append(small, first, half, key="other").status_code == 200
    refused = append(small, second, half, key="other")
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "request_too_large")
    assert str(QUOTA_BYTES) in refused.json()["error"]["message"]
    url = f"{small.first.base_url}/sessions/{first}"
    assert httpx.delete(url, headers={"x-api-key": small.secrets["other"]}, timeout=30).status_code == 200
    assert append(small, second, half, key="other").status_code == 200


def test_tells_of_a_turn_that_could_not_be_kept(small: Site) -> None:
    conversations = [secrets.token_hex(8) for _ in range(2)]
    prompt = "[[say=ok]] [[first=2]] " + "z" * (QUOTA_BYTES * 6 // 10)  # each fits, both do not
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda it: append(small, it, prompt), conversations))
    assert [answer.status_code for answer in answers] == [200, 200]
    lost = [
        it for it, answer in zip(conversations, answers, strict=True) if "x-conversation-unstored" in answer.headers
    ]
    assert len(lost) == 1
    shown = session(small, lost[0])
    assert (shown["unstoredTurns"], shown["unstoredReason"], shown["storedBytes"]) == (1, "quota", 0)
    following = append(small, lost[0], "and then?")
    assert (following.status_code, following.headers["x-conversation-unstored"]) == (200, "1")
    assert following.headers["x-conversation-messages"] == "0"
    for conversation in conversations:
        url = f"{small.first.base_url}/sessions/{conversation}"
        httpx.delete(url, headers={"x-api-key": small.secrets["storing"]}, timeout=30).raise_for_status()


@pytest.mark.parametrize("mode", ["append", "continue", ""])
def test_keeps_a_response_that_a_conversation_is_named_after(site: Site, mode: str) -> None:
    stored = respond(site, store=True).raise_for_status().json()
    url, headers = f"{site.first.base_url}/v1/responses/{stored['id']}", {"x-api-key": site.secrets["storing"]}
    eventually(lambda: httpx.get(url, headers=headers, timeout=30).status_code == 200)
    answer = append(site, stored["id"], "overwrite it", mode=mode)
    assert answer.status_code == (400 if mode else 200), answer.text
    assert not mode or "previous_response_id" in answer.json()["error"]["message"]
    eventually(lambda: mode or session(site, stored["id"])["turnCount"] == 2)
    again = httpx.get(url, headers=headers, timeout=30)
    assert (again.status_code, again.json()["output"]) == (200, stored["output"])


def test_holds_stored_responses_to_the_quota_and_the_limit(small: Site, site: Site) -> None:
    big = "z" * (QUOTA_BYTES * 2)
    assert respond(small, input=big, store=True).status_code == 413
    answer = respond(small, input=big)
    assert (answer.status_code, answer.json()["store"]) == (200, False)
    assert respond(small, input=big, store=False).status_code == 200
    first = respond(site, input="z" * (18 << 20), store=True)
    assert first.status_code == 200, first.text
    assert "x-conversation-unstored" not in first.headers
    refused = respond(site, input="z" * (18 << 20), previous_response_id=first.json()["id"])
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "request_too_large")
