"""Conversation id of a request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.sessions.conversation_id import conversation_id, normal

UUID = "0d2a4e2c-7c0f-4d5e-9a51-1f2b3c4d5e6f"


def asked(text: str = "hi", **metadata: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **({"metadata": metadata} if metadata else {})}


def labelled(block: str) -> str:
    return f"Conversation info (untrusted metadata):\n```json\n{block}\n```\n\nHello"


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        ({"x-conversation-id": "a", "x-session-id": "b"}, asked(user_id="user_1_account_2_session_3"), "a"),
        ({"x-session-id": " b "}, asked(), "b"),
        ({"x-claude-code-session-id": "claude", "session-id": "codex"}, asked(user_id="u"), "claude"),
        ({"session-id": "codex", "x-session-affinity": "open"}, asked(), "codex"),
        ({"x-session-affinity": "open"}, asked(user_id='{"session_id":"in the body"}'), "open"),
        ({}, {**asked(), "prompt_cache_key": "one for all"}, None),
        ({}, asked(user_id=f"user_{'0af' * 21}_account_{UUID}_session_{UUID}"), UUID),
        ({}, asked(user_id=f"user_abc_account__session_{UUID}"), UUID),
        ({}, asked(user_id=f'{{"device_id":"d","account_uuid":"","session_id":"{UUID}"}}'), UUID),
        ({}, asked(user_id="somebody"), None),
        ({}, asked(user_id="{not json"), None),
        ({}, asked(labelled('{"conversation_label": "chat one", "sender_id": "7"}')), "chat one"),
        ({}, asked(labelled('{"sender_id": 42}')), "42"),
        ({}, asked(labelled('{"conversation_label": ""}')), None),
        ({}, asked(labelled("[1]")), None),
        ({}, asked("no block here"), None),
        ({}, None, None),
    ],
)
def test_find_conversation_id(headers: dict[str, str], body: dict[str, Any] | None, found: str | None) -> None:
    assert conversation_id(headers, body) == found


def test_look_for_label_in_users_last_message_only() -> None:
    first = {"role": "user", "content": [{"type": "text", "text": labelled('{"sender_id": "old"}')}]}
    answer = {"role": "assistant", "content": labelled('{"sender_id": "mine"}')}
    assert conversation_id({}, {"messages": [first, answer]}) == "old"
    assert conversation_id({}, {"messages": [first, answer, {"role": "user", "content": "bye"}]}) is None


def test_store_unstorable_id_by_digest_without_collision() -> None:
    long = "x" * 300
    assert normal(long) != normal(long + "x")
    assert all(normal(text).startswith("sha256:") for text in (long, "a\x00b", "a\ud800"))
    assert normal("plain id/1") == "plain id/1"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda kids: (
            st.lists(kids)
            | st.dictionaries(
                st.sampled_from(["role", "content", "type", "text", "user_id", "messages", "metadata"]) | st.text(),
                kids,
            )
        ),
        max_leaves=20,
    )
)
def test_accept_any_body(content: Any) -> None:
    for body in ({"messages": content, "metadata": content}, {"messages": [{"role": "user", "content": content}]}):
        assert conversation_id({}, body) is None or len(conversation_id({}, body) or "") <= 200


@given(st.text())
def test_accept_label_block_of_any_text(text: str) -> None:
    conversation_id({}, asked("Conversation info ```json " + text))
    conversation_id({}, asked(user_id="{" + text))


@pytest.mark.parametrize(("after", "found"), [(999, "a"), (1_000, None)])
def test_look_a_bounded_way_back_for_the_last_user_message(after: int, found: str | None) -> None:
    info = 'Conversation info\n```json\n{"conversation_label": "a"}\n```'
    messages = [{"role": "user", "content": info}, *[{"role": "assistant", "content": "b"}] * after]
    assert conversation_id({}, {"messages": messages}) == found
