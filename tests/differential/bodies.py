"""Messages bodies made from the official client's types: every field, block, tool and choice that it knows."""

import base64
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from anthropic.types.beta import BetaMessageParam, message_create_params
from hypothesis import strategies as st
from pydantic import BaseModel

MODELS = ("claude-haiku-4-5-20251001", "claude-sonnet-4-5", "claude-sonnet-5-5", "claude-opus-4-1", "haiku", "sonnet")
_FIELDS = get_type_hints(message_create_params.MessageCreateParamsNonStreaming, include_extras=True)
_NOT_GENERATED = frozenset(
    {
        *("model", "messages", "max_tokens", "stream"),  # made below
        *("betas", "user_profile_id", "workspace_id"),  # headers: the client does not send them in the body
        "thread",  # cannot go through the CLI
    }
)
_SAMPLED = ("temperature", "top_p", "top_k")
"""Fields that the API takes and the client's types no longer have."""
_DEPTH = 3
ANSWER = '[[n=2]] [[usage={"input_tokens":5,"output_tokens":2}]]'
"""Asks for two deltas, with counts that do not depend on the identity line."""

ODD_TEXTS = (
    "", " ", "\u0000", "\u2028\u2029", "\ufeff", "e\u0301", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\ud83d",
    "\u202eabc", "\x7f\x1f", "\\u0041", "</script>", "data: x\n\nevent: y", "\r\n", "ﷺ", "\uffff", '"', "__proto__",
)  # fmt: skip
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=12))
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-10, 10),
    st.floats(allow_nan=False, allow_infinity=False),
)
names = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["a", "7", "-1", "constructor", "Ä", "x-y"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
betas = st.lists(
    st.sampled_from(["context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "a.b-2099-01-01"]), unique=True
)


@st.composite
def bodies(draw: st.DrawFn, mark: str) -> dict[str, Any]:
    """A body whose last message has the mark and asks for a short answer."""
    body: dict[str, Any] = {"model": draw(st.sampled_from(MODELS))}
    if draw(st.booleans()):
        body["max_tokens"] = draw(st.sampled_from([1, 64, 2048]))
    chosen = draw(st.lists(st.sampled_from(sorted(_FIELDS.keys() - _NOT_GENERATED)), max_size=4, unique=True))
    for name in chosen:
        body[name] = draw(_of(_FIELDS[name], _DEPTH))
    for name in draw(st.lists(st.sampled_from(_SAMPLED), max_size=1)):
        body[name] = draw(st.sampled_from([0, 0.5, 1]))
    for name in draw(st.lists(st.sampled_from(["field_of_tomorrow", "größe", "x"]), max_size=1)):
        body[name] = draw(values)
    history = draw(st.lists(_of(BetaMessageParam, _DEPTH), max_size=2))
    blocks = draw(_of(_BLOCKS, _DEPTH))
    blocks = [block for block in blocks if block.get("type") not in ("text", "tool_result")]  # their text may direct
    body["messages"] = [*history, {"role": "user", "content": [*blocks, {"type": "text", "text": f"{mark} {ANSWER}"}]}]
    if draw(st.booleans()):
        body["stream"] = draw(st.booleans())
    order = draw(st.permutations(list(body)))
    return {name: body[name] for name in order}


@st.composite
def encoded(draw: st.DrawFn, mark: str) -> tuple[dict[str, Any], bytes]:
    """A body, and its JSON in one of the ways that clients write it."""
    body = draw(bodies(mark))
    spaced = draw(st.booleans())
    text = json.dumps(body, separators=(", ", ": ") if spaced else (",", ":"), indent=draw(st.sampled_from([None, 1])))
    return body, text.encode()


_BLOCKS: Any = typing.get_args(get_type_hints(get_args(BetaMessageParam)[0])["content"])[1]


@functools.cache
def _of(hint: Any, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type of the official client."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Required, NotRequired, Annotated):
        return _of(arguments[0], depth)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([_of(each, depth) for each in arguments if _is_made(each)])
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(names, values if arguments[1] is object else _of(arguments[1], depth - 1), max_size=2)
    if origin is not None and issubclass(origin, Iterable):
        return st.lists(_of(arguments[0], depth - 1), max_size=2 if depth > 0 else 0)
    if hasattr(hint, "__required_keys__"):
        return st.deferred(lambda: _objects(hint, depth))
    return _PLAIN[hint]


_PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(0, 2**53),
    float: st.floats(0, 1),
    bool: st.booleans(),
    object: values,
    type(None): st.none(),
}


@functools.cache
def _objects(hint: Any, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    hints = get_type_hints(hint, include_extras=True)
    fields = {name: _of(each, depth - 1) for name, each in hints.items()}
    if "data" in hints:  # of an image or a document
        fields["data"] = st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode())
    required = {name for name, each in hints.items() if hint.__total__ or get_origin(each) is Required}
    optional = {name: strategy for name, strategy in fields.items() if name not in required and depth > 0}
    return st.fixed_dictionaries({name: fields[name] for name in required}, optional=optional)


def _is_made(hint: Any) -> bool:
    """False for what has no form in JSON (files), and for the classes of answers."""
    plain = get_origin(hint) or hint
    return (
        plain in (Literal, Union, types.UnionType, Annotated, *_PLAIN)
        or hasattr(plain, "__required_keys__")
        or (
            isinstance(plain, type)
            and issubclass(plain, Sequence | Mapping | Iterable)
            and not issubclass(plain, BaseModel)
        )
    )
