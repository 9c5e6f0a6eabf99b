"""The body for the upstream is the client's text, but for the model and a missing max_tokens."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.dialects.anthropic.raw_body import body_for_upstream

MODEL, MAX_TOKENS = "claude-upstream-1", 4_096
SPACE = st.text(" \t\r\n", max_size=2)
NUMBERS = st.sampled_from(["1.0", "1E400", "-0", "1e-7", "9223372036854775808", str(2**64), "1" * 40, "0.10", "-1E+2"])
NAMES = st.sampled_from(["model", "max_tokens", "a", "\u00e9", 'q"', "b\\", "{", "", "stream"])


@st.composite
def strings(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """A JSON string, some of its characters as escapes."""
    plain = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()) and plain[1:2].isalpha():
        return f'"\\u{ord(plain[1]):04x}{plain[2:]}'
    return plain


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = NUMBERS | strings(TEXTS) | st.sampled_from(["null", "true", "false"])


def _object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(NAMES, values), max_size=3, unique_by=lambda it: it[0])
    return members.flatmap(lambda it: _written([(json.dumps(name), value) for name, value in it]))


@st.composite
def _written(draw: st.DrawFn, members: list[tuple[str, str]]) -> str:
    around = [draw(SPACE) for _ in range(4)]
    parts = [f"{around[0]}{name}{around[1]}:{around[2]}{value}{around[3]}" for name, value in members]
    return "{" + (",".join(parts) or around[0]) + "}"


@st.composite
def _list(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    return "[" + ",".join(draw(SPACE) + value + draw(SPACE) for value in draw(st.lists(values, max_size=3))) + "]"


VALUES = st.recursive(SCALARS, lambda kids: _object(kids) | _list(kids), max_leaves=6)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str, str]:
    """Text before the model's value, the value, and the text after it; `max_tokens` is missing, null or a number."""
    model = draw(strings(st.just("sonnet")))
    names = st.sampled_from(["a", "messages", "\u00e9", 'q"', "model_", "tokens"])
    others = draw(st.lists(st.tuples(names, VALUES), max_size=3, unique_by=lambda it: it[0]))
    before = [(draw(strings(st.just(name))), value) for name, value in others]
    if limit := draw(st.sampled_from(["", "null", "7", "7.0"])):
        before.insert(draw(st.integers(0, len(before))), (draw(strings(st.just("max_tokens"))), limit))
    before.insert(draw(st.integers(0, len(before))), (draw(strings(st.just("model"))), "MODEL-HERE"))
    head, tail = draw(_written(before)).split("MODEL-HERE")
    return draw(SPACE) + head, model, tail + draw(SPACE)


def parsed(text: bytes) -> Any:
    return json.loads(text, parse_float=str, parse_int=str)


def sent(raw: bytes) -> bytes | None:
    return body_for_upstream(raw, json.loads(raw), model=MODEL, max_tokens=MAX_TOKENS)


@given(parts=bodies())
def test_change_model_and_missing_max_tokens_only(parts: tuple[str, str, str]) -> None:
    head, model, tail = parts
    raw = (head + model + tail).encode()
    before = parsed(raw)

    body = sent(raw)

    assert body is not None
    added = {} if before.get("max_tokens") else {"max_tokens": str(MAX_TOKENS)}
    assert parsed(body) == {**before, "model": MODEL, **added}
    expected = f'{head}"{MODEL}"{tail}'
    if "max_tokens" not in before:
        expected = expected.replace("{", '{"max_tokens":4096,', 1)
        assert body == expected.encode()
    elif not added:
        assert body == expected.encode()
    else:
        assert body.replace(b"4096", b"null") == expected.encode()


@given(parts=bodies())
def test_keep_all_bytes_of_complete_body(parts: tuple[str, str, str]) -> None:
    head, _, tail = parts
    raw = f'{head}"{MODEL}"{tail}'.encode()

    if json.loads(raw).get("max_tokens") is not None:
        assert sent(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        '{"model":"a","model":"b"}',
        '{"model":"a","mod\\u0065l":"a","max_tokens":1}',
        '{"model":"a","messages":[{"role":"user","content":"a","role":"system"}]}',
        '{"model":"a","x":{"y":{"a":{},"a":[]}}}',
        '{"model":"a","x":[{"":[],"":[1,2]}]}',
        '{"model":"a","max_tokens":1,"max_tokens":null}',
    ],
)
def test_reject_repeated_names(raw: str) -> None:
    assert sent(raw.encode()) is None


@given(value=VALUES, name=NAMES, place=st.sampled_from(["inner", "list"]))
def test_reject_repeated_names_at_any_depth(value: str, name: str, place: str) -> None:
    twice = f"{{{json.dumps(name)}:{value},{json.dumps(name)}:{value}}}"
    inner = twice if place == "inner" else f"[0,{twice}]"

    assert sent(f'{{"model":"a","max_tokens":1,"x":{inner}}}'.encode()) is None


def test_change_model_in_large_body() -> None:
    text = {"content": [{"type": "text", "text": 'a"{,' * 100_000}] * 8}
    raw = orjson.dumps({"messages": [text], "model": "sonnet", "x": {"model": "sonnet"}})

    body = sent(raw)

    assert body == raw.replace(b'"sonnet","x"', b'"%s","x"' % MODEL.encode()).replace(b"{", b'{"max_tokens":4096,', 1)
