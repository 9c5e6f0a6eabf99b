"""Messages of all roles, string and part content, in the upstream's shape."""

from typing import Any

import pytest

from tests.dialects.openai.support import PDF, PNG, call, chat, tool_turn, user


def test_keep_words_and_order_of_plain_conversation() -> None:
    translated = chat(
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                user("hi"),
                {"role": "assistant", "content": "hello"},
                user([{"type": "text", "text": "who are you?"}]),
            ]
        }
    )
    assert translated.body["system"] == [{"type": "text", "text": "be brief"}]
    assert translated.body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "who are you?"},
    ]
    assert translated.ignored == ()


def test_merge_system_messages_and_report_moved_ones() -> None:
    translated = chat(
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "one"}]},
                {"role": "developer", "content": "two"},
                user("hi"),
                {"role": "developer", "content": "three"},
            ]
        }
    )
    assert [block["text"] for block in translated.body["system"]] == ["one", "two", "three"]
    assert translated.ignored == ("messages.3.role (moved to the start of the conversation)",)


def test_instructions_alone_are_sent_as_the_users_turn() -> None:
    translated = chat({"messages": [{"role": "system", "content": "a"}, {"role": "system", "content": "write a poem"}]})
    assert translated.body["system"] == [{"type": "text", "text": "a"}]
    assert translated.body["messages"] == [{"role": "user", "content": "write a poem"}]
    assert translated.ignored == ("messages.1.role (sent as the user's turn)",)


def test_images_come_from_addresses_and_data_urls() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "data:image/jpg;charset=x;base64,aGVs\nbG8%3D"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.webp", "detail": "high"}},
        {"type": "image_url", "image_url": "https://example.org/dog.png"},
    ]
    translated = chat({"messages": [user(parts)]})
    assert [block["source"] for block in translated.body["messages"][0]["content"]] == [
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        {"type": "base64", "media_type": "image/jpeg", "data": "aGVsbG8="},
        {"type": "url", "url": "https://example.org/cat.webp"},
        {"type": "url", "url": "https://example.org/dog.png"},
    ]
    assert translated.ignored == ("image_url.detail",)


@pytest.mark.parametrize(
    ("file", "block"),
    [
        (
            {"file_data": PDF, "filename": "a.pdf"},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="},
                "title": "a.pdf",
            },
        ),
        (
            {"file_data": "JVBERi0xLjQ="},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}},
        ),
        (
            {"file_data": "YSxi", "filename": "t.csv"},
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
                "title": "t.csv",
            },
        ),
        (
            {"file_data": PNG},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ),
        ({"file_id": "file_011"}, {"type": "document", "source": {"type": "file", "file_id": "file_011"}}),
    ],
)
def test_files_become_documents(file: dict[str, str], block: dict[str, object]) -> None:
    assert chat({"messages": [user([{"type": "file", "file": file}])]}).body["messages"][0]["content"] == [block]


def test_drop_blank_text_and_empty_assistant_messages() -> None:
    translated = chat(
        {
            "messages": [
                user([{"type": "text", "text": " \n"}, {"type": "text", "text": "hi"}]),
                {"role": "assistant", "content": ""},
                {"role": "assistant", "content": None},
                user("again"),
            ]
        }
    )
    assert translated.body["messages"] == [{"role": "user", "content": "hi"}, {"role": "user", "content": "again"}]


def test_continue_last_assistant_message_without_trailing_space() -> None:
    translated = chat({"messages": [user("count"), {"role": "assistant", "content": "one, two, \n"}]})
    assert translated.body["messages"][-1] == {"role": "assistant", "content": "one, two,"}


def test_refusals_in_the_history_are_what_the_assistant_said() -> None:
    messages = [
        user("a"),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        user("b"),
        {"role": "assistant", "refusal": "never"},
        user("c"),
    ]
    said = [it["content"] for it in chat({"messages": messages}).body["messages"] if it["role"] == "assistant"]
    assert said == ["no", "never"]


def test_consecutive_tool_messages_become_one_user_message() -> None:
    assert chat({"messages": tool_turn(("call_1", "sunny"), ("call_2", ""))}).body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "call_2", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "call_2"},
            ],
        },
    ]


def test_accept_images_from_tool() -> None:
    parts = [{"type": "text", "text": "here"}, {"type": "image_url", "image_url": {"url": PNG}}]
    result = chat({"messages": tool_turn(("call_1", parts))}).body["messages"][-1]["content"][0]
    assert [block["type"] for block in result["content"]] == ["text", "image"]


def test_put_late_tool_result_right_after_its_call() -> None:
    question, calls, first, second = tool_turn(("call_1", "1"), ("call_2", "2"))
    messages = chat({"messages": [question, calls, first, user("quick!"), second]}).body["messages"]
    assert [block["content"] for block in messages[2]["content"]] == ["1", "2"]
    assert messages[3] == {"role": "user", "content": "quick!"}


def test_normalise_foreign_ids_uniquely_and_stably() -> None:
    turn = tool_turn(("functions.f:0", "a"))
    messages = [*turn, *turn]
    translated = chat({"messages": messages}).body["messages"]
    ids = [message["content"][0]["id"] for message in translated[1::3]]
    assert [message["content"][0]["tool_use_id"] for message in translated[2::3]] == ids
    assert len(set(ids)) == 2
    assert all(call_id.startswith("toolu_") for call_id in ids)
    assert chat({"messages": turn}).body["messages"] == translated[:3]


def test_function_calls_of_the_time_before_tools_are_translated() -> None:
    messages = [
        user("weather?"),
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
        },
        {"role": "function", "name": "get_weather", "content": "sunny"},
        {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": ""}},
        {"role": "function", "name": "get_weather", "content": None},
    ]
    translated = chat({"messages": messages}).body["messages"]
    assert [block["input"] for message in translated[1::2] for block in message["content"]] == [{"city": "Rome"}, {}]
    assert [block["tool_use_id"] for message in translated[2::2] for block in message["content"]] == [
        block["id"] for message in translated[1::2] for block in message["content"]
    ]


def test_put_returned_thinking_before_calls() -> None:
    question, calls, result = tool_turn(("call_1", "1"))
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": "sig", "index": 0},
        {"type": "redacted_thinking", "data": "x", "index": 1},
    ]
    message = chat({"messages": [question, {**calls, "thinking_blocks": thoughts}, result]}).body["messages"][1]
    assert message["content"][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
    ]
    assert message["content"][2]["type"] == "tool_use"


def test_map_invented_names_to_upstream_alphabet() -> None:
    assistant = {"role": "assistant", "tool_calls": [call("call_1", "weather.get now")]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    assert chat({"messages": [user("hi"), assistant, result]}).body["messages"][1]["content"][0]["name"] == (
        "weather_get_now"
    )


def test_pass_cache_breakpoints_and_count_the_last_four() -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    parts = [{"type": "text", "text": str(number), **mark} for number in range(5)]
    system = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    translated = chat({"messages": [{"role": "system", "content": system}, user(parts)]})
    assert "cache_control" not in translated.body["system"][0]
    blocks = translated.body["messages"][0]["content"]
    assert ["cache_control" in block for block in blocks] == [False, True, True, True, True]
    assert blocks[1]["cache_control"] == {"type": "ephemeral"}
    assert translated.ignored == ("prompt_cache_breakpoint (only the last 4 are used)",)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {"type": "ephemeral"}),
        ({"ttl": "5m"}, {"type": "ephemeral"}),
        ({"ttl": ["30m"]}, {"type": "ephemeral"}),
        ({"ttl": "30m"}, {"type": "ephemeral", "ttl": "1h"}),
        ({"ttl": "12h"}, {"type": "ephemeral", "ttl": "1h"}),
    ],
)
def test_translate_cache_lifetime_never_dearer_than_asked(asked: dict[str, Any], given: dict[str, Any]) -> None:
    part = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", **asked}}
    assert chat({"messages": [user([part])]}).body["messages"][0]["content"][0]["cache_control"] == given


def test_names_of_speakers_are_said_to_be_ignored() -> None:
    assert chat({"messages": [{"role": "user", "content": "hi", "name": "ann"}]}).ignored == ("messages.name",)
