"""The OpenAI dialects through both engines: equal chunks and items, and equal upstream requests."""

import json
from typing import Any

import pytest

from tests.differential.comparison import assert_same_answer
from tests.differential.differences import on_sdk
from tests.differential.pair import Pair
from tests.differential.test_answers import ERRORS, FRAMINGS, SHAPES, USAGE, framed, prompt_of
from tests.support.engine import mark

pytestmark = pytest.mark.long

MODEL = "claude-haiku-4-5"
PATHS = ("/v1/chat/completions", "/v1/responses")
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
CONTENT = (
    "[[n=3]]", "[[think=hm]] [[n=1]]", '[[tool=f:{"a":1}]]', '[[tool=f:{}]] [[tool=f:{"a":2}]] [[n=1]]',
    "[[cite=x]] [[n=2]]", "[[stop=refusal]] [[n=1]]", "[[stop=max_tokens]] [[n=2]]", "[[say=ﷺ \u2028]]",
)  # fmt: skip


def body_of(path: str, prompt: str, *, stream: bool) -> dict[str, Any]:
    """A request with a tool and, on the chat endpoint, with usage at the end of the stream."""
    if path == PATHS[1]:
        return {"model": MODEL, "input": prompt, "stream": stream, "tools": [{"type": "function", **FUNCTION}]}
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": prompt}]
    options = {"stream_options": {"include_usage": True}} if stream else {}
    tools = [{"type": "function", "function": FUNCTION}]
    return {"model": MODEL, "messages": messages, "stream": stream, "tools": tools, **options}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prompt", CONTENT)
def test_answer_openai_client_equally(pair: Pair, prompt: str, path: str, *, stream: bool) -> None:
    own = mark()

    both = pair.send(body_of(path, f"{own} {prompt} {USAGE}", stream=stream), mark=own, path=path)

    assert both.http.status == 200, both.http.content
    assert_same_answer(both)
    assert json.loads(both.sdk.upstream.raw) == on_sdk(json.loads(both.http.upstream.raw))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("path", PATHS)
def test_pass_openai_client_upstream_error_equally(pair: Pair, path: str, *, stream: bool) -> None:
    for prompt in ERRORS:
        own = mark()
        both = pair.send(body_of(path, f"{own} {prompt}", stream=stream), mark=own, path=path)
        assert_same_answer(both)


STREAMS = {title: b"".join(map(framed, events)) for title, events in SHAPES.items()} | FRAMINGS
STREAMS_THAT_DIFFER = ("C016", "no event lines", "no message_stop", "no message_delta")
"""Checked for both engines in the dialect; what the CLI makes of these differs."""


@pytest.mark.parametrize("path", PATHS)
def test_stream_shapes_to_openai_client_equally(pair: Pair, path: str) -> None:
    differ = []
    for title, content in STREAMS.items():
        own = mark()
        both = pair.send(body_of(path, f"{own} {prompt_of(content)}", stream=True), mark=own, path=path)
        assert both.sdk.status in (200, 502), title
        try:
            assert_same_answer(both)
        except AssertionError:
            differ.append(title)
    assert [title for title in differ if not title.startswith(STREAMS_THAT_DIFFER)] == []
