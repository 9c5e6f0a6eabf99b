"""Stored messages: round trip of large and odd ones; too many values are rejected unparsed."""

from typing import Any

import orjson
import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_values import MAX_BODY_VALUES, exact_values, values_in
from apiproxy.sessions.kept import as_json, decode, decode_within, encode

SMALL = {"role": "user", "content": "hi"}
MESSAGES: dict[str, Any] = {
    "line breaks": {"role": "user", "content": "a\n\nb\r"},
    "long text": {"role": "user", "content": 'é😀\n"\\' * 400_000},
    "many blocks": {"role": "user", "content": [{"type": "text", "text": f"t{n}"} for n in range(60_000)]},
    "deep": {"role": "user", "content": [orjson.loads("[" * 200 + "]" * 200)]},
    "surrogate": {"role": "assistant", "content": [{"type": "text", "text": "\ud800 b"}]},
    "long number": {"role": "assistant", "content": [{"type": "tool_use", "input": {"n": 2**70}}]},
    "nothing": {"role": "assistant", "content": []},
}


@pytest.mark.parametrize("name", MESSAGES)
def test_give_back_the_message_that_was_kept(name: str) -> None:
    messages = [SMALL, MESSAGES[name], SMALL]
    assert decode(encode(messages)) == messages


@pytest.mark.parametrize("name", [name for name in MESSAGES if name not in ("surrogate", "long number")])
def test_write_the_same_json_in_pieces(name: str) -> None:
    assert as_json(MESSAGES[name]) == orjson.dumps(MESSAGES[name])
    assert values_in(MESSAGES[name]) == exact_values(as_json(MESSAGES[name]))


def test_refuse_kept_and_new_values_together() -> None:
    message = {"role": "user", "content": [0] * (MAX_BODY_VALUES // 2)}
    kept = encode([message])
    new = [{"role": "user", "content": [0] * (MAX_BODY_VALUES // 2 - 10)}]
    assert decode_within(kept, new, len(as_json(new))) == [message]
    with pytest.raises(ProxyError) as refused:
        decode_within(kept, [message], len(as_json([message])))
    assert refused.value.kind is FailureKind.TOO_LARGE


def test_count_no_commas_within_kept_texts() -> None:
    message = {"role": "user", "content": "[a, {b}, c], " * MAX_BODY_VALUES}
    assert decode_within(encode([message, message]), [message], len(as_json(message))) == [message, message]
