"""Property keys that the API rejects: sent in another form, and restored in the calls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.message import UnparsedInput
from apiproxy.dialects.openai.chat.completion import completion
from apiproxy.dialects.openai.chat.stream import ChatStream
from apiproxy.dialects.openai.translate.messages_body import Translation
from apiproxy.dialects.openai.translate.property_keys import KeyRestorer, rename_keys, restored
from tests.dialects.openai.support import answer, call, chat, folded, function, payloads, user
from tests.support.streams import json_values

KEYS = ["$filter", "user[name]", "k" * 70, "", "größe", "a b", "a_b", "ok"]
SENT = r"^[a-zA-Z0-9_.-]{1,64}$"
STRING = {"type": "string"}


def asked(*keys: str, history: Any = ()) -> Translation:
    tool = function("f", {"type": "object", "properties": dict.fromkeys(keys, STRING), "required": list(keys)})
    return chat({"messages": [user("hi"), *history], "tools": [tool]})


def test_send_keys_that_the_api_takes_and_keep_the_others() -> None:
    translated = asked(*KEYS)
    schema = translated.body["tools"][0]["input_schema"]

    assert len(schema["properties"]) == len(KEYS)
    assert all(key.isascii() and 1 <= len(key) <= 64 for key in schema["properties"])
    assert {"ok", "a_b", "_filter", "user_name_"} <= schema["properties"].keys()
    assert schema["required"] == list(schema["properties"])
    assert translated.reply.renamed["f"]["_filter"] == "$filter"
    assert translated.ignored == ()


def test_send_the_same_keys_in_every_turn() -> None:
    assert asked(*KEYS).body["tools"] == asked(*KEYS).body["tools"]


def test_leave_valid_keys_and_nested_ones_alone() -> None:
    nested = {"type": "object", "properties": {"a": {"type": "object", "properties": {"$x": STRING}}}}
    translated = chat({"tools": [function("f", nested)]})
    assert translated.body["tools"][0]["input_schema"] == nested
    assert translated.reply.renamed == {}


def test_rename_keys_of_earlier_calls_of_that_tool_only() -> None:
    calls = [call("c1", "f", '{"$filter": 1}'), call("c2", "g", '{"$filter": 1}')]
    history = [
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "tool_call_id": it["id"], "content": "x"} for it in calls),
    ]
    blocks = asked("$filter", history=history).body["messages"][1]["content"]
    assert [block["input"] for block in blocks] == [{"_filter": 1}, {"$filter": 1}]


@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_restore_keys_in_calls_streamed_and_whole(pieces: int) -> None:
    reply = asked("$filter", "ok").reply
    sent, wanted = (
        {"_filter": "x, {", "ok": {"_filter": [1, "_filter"]}},
        {"$filter": "x, {", "ok": {"_filter": [1, "_filter"]}},
    )
    events = answer({"type": "tool_use", "id": "t", "name": "f", "input": sent}, stop_reason="tool_use", pieces=pieces)
    stream = ChatStream(reply, created=1)

    chunks = payloads(b"".join(stream.encode([event]) for event in events))

    deltas = [it["choices"][0]["delta"] for it in chunks]
    texts = [it["function"]["arguments"] for delta in deltas for it in delta.get("tool_calls", ())]
    assert json.loads("".join(texts)) == wanted
    whole = completion(folded(events), reply, created=1)["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(whole["function"]["arguments"]) == wanted


@given(
    value=st.dictionaries(st.sampled_from(["_", "a", '"', "\\", "ü"]), json_values(), max_size=4),
    cut=st.integers(0, 99),
)
def test_restore_any_arguments_even_if_cut_off(value: dict[str, Any], cut: int) -> None:
    renames = {"f": {"_": '$"'}}
    text = json.dumps(value)

    whole, part = restored_text(text, renames), restored_text(text[:cut], renames)

    assert json.loads(whole) == {'$"' if key == "_" else key: item for key, item in value.items()}
    assert whole.startswith(part[:-1]) or cut >= len(text) or '"_' in text[max(0, cut - 3) : cut]


def restored_text(text: str, renames: dict[str, dict[str, str]]) -> str:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": UnparsedInput({}, text)}
    (found,) = restored({"content": [block]}, renames)["content"]
    return str(found["input"].text)


def test_pass_all_events_without_renamed_keys() -> None:
    events = answer({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})
    assert KeyRestorer({}).feed(events) is events
    assert list(KeyRestorer({"g": {"_": "$"}}).feed(events)) == events


def test_rename_nothing_in_schemas_that_are_none() -> None:
    assert rename_keys([{"name": "f"}, {"name": "g", "input_schema": {"properties": []}}]) == {}
