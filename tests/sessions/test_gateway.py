"""Conversations over a real port: identified, separated, continued with only their last message."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.limits.gateways import Site, body, make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(stand_in: StandInProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {"CLAUDE_PROXY_STORE_SESSIONS": "1", "CLAUDE_PROXY_WARM_WORKERS": "0"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("sessions"), upstream=stand_in.base_url, env=env).start()
    keys = {"storing": {"store_bodies": True}, "other": {"store_bodies": True}, "plain": {}}
    yield Site([gateway], make_keys(gateway, keys))
    gateway.stop()


def ask(site: Site, key: str, given: dict[str, Any], **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{site.first.base_url}/v1/messages"
    return httpx.post(url, json=given, headers={"x-api-key": site.secrets[key], **names}, timeout=60)


def sessions(site: Site, key: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{site.first.base_url}/sessions", headers={"x-api-key": site.secrets[key]}, timeout=30)
    found: list[dict[str, Any]] = answer.json()["sessions"]
    return found


def test_send_whole_conversation_for_new_messages(site: Site, stand_in: StandInProcess) -> None:
    conversation = secrets.token_hex(8)
    append = {"x_conversation_id": conversation, "x_conversation_mode": "append"}
    for turn in range(3):
        answer = ask(site, "storing", body(f"[[say=answer{turn}]] {conversation} {turn}"), **append)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-conversation-messages"] == str(2 * turn)
    sent = stand_in.only(f"{conversation} 2").body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant"] * 2 + ["user"]
    assert "answer1" in str(sent[3]["content"])
    (session,) = [it for it in eventually(lambda: sessions(site, "storing")) if it["conversationId"] == conversation]
    assert (session["turnCount"], session["resumeCount"], session["messageCount"]) == (3, 2, 5)


def test_keep_same_conversation_id_of_two_keys_apart(site: Site, stand_in: StandInProcess) -> None:
    conversation = secrets.token_hex(8)
    append = {"x_conversation_id": conversation, "x_conversation_mode": "append"}
    assert ask(site, "storing", body(f"mine {conversation}"), **append).status_code == 200
    assert ask(site, "other", body(f"theirs {conversation}"), **append).status_code == 200
    assert len(stand_in.only(f"theirs {conversation}").body["messages"]) == 1
    assert all(it["keyLabel"] == "other" for it in eventually(lambda: sessions(site, "other")))
    url = f"{site.first.base_url}/sessions/{conversation}"
    assert httpx.delete(url, headers={"x-api-key": site.secrets["plain"]}, timeout=30).status_code == 404
    assert httpx.delete(url, headers={"x-api-key": site.secrets["other"]}, timeout=30).json()["deleted"] == 1
    again = httpx.delete(url, headers={"x-api-key": site.secrets["other"]}, timeout=30)
    assert (again.status_code, again.json()["error"]["type"]) == (404, "not_found_error")


def test_refuse_required_history_where_none_is_kept(site: Site) -> None:
    conversation = secrets.token_hex(8)
    go_on = {"x_conversation_id": conversation, "x_conversation_mode": "continue"}
    lost = ask(site, "storing", body("and then?"), **go_on)
    assert (lost.status_code, lost.json()["error"]["type"]) == (404, "not_found_error")
    assert "no messages are stored" in lost.json()["error"]["message"]
    begun = ask(site, "storing", body("first"), x_conversation_id=conversation)
    assert "x-conversation-messages" not in begun.headers
    assert ask(site, "storing", body("and then?"), **go_on).headers["x-conversation-messages"] == "2"


@pytest.mark.parametrize(
    ("key", "headers", "reason"),
    [
        (
            "plain",
            {"x_conversation_id": "c", "x_conversation_mode": "append"},
            "messages of this API key are not stored",
        ),
        ("storing", {"x_conversation_mode": "append"}, "no conversation id"),
        ("storing", {"x_conversation_id": "c", "x_conversation_mode": "prepend"}, "must be `append` or `continue`"),
    ],
)
def test_reject_unappendable(site: Site, key: str, headers: dict[str, str], reason: str) -> None:
    answer = ask(site, key, body("hi"), **headers)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["message"]


def test_recognize_conversation_by_metadata(site: Site) -> None:
    session = "6f0c2a4e-0000-4d5e-9a51-1f2b3c4d5e6f"
    given = body("hi", metadata={"user_id": f"user_0a_account__session_{session}"})
    assert ask(site, "plain", given).status_code == 200
    eventually(lambda: [it for it in sessions(site, "plain") if it["conversationId"] == session])
