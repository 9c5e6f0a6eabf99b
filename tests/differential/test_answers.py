"""The same answer of the upstream through both engines: the client gets the same but for the documented differences."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from apiproxy.core.message import MessageFold
from tests.differential.comparison import answer_of, assert_same_answer, without_ids
from tests.differential.differences import ANSWERS
from tests.differential.pair import Both, Event, Pair
from tests.field.cases import STREAMS
from tests.support.engine import mark

pytestmark = pytest.mark.long

MODEL = "claude-haiku-4-5-20251001"
USAGE = '[[usage={"input_tokens":5,"output_tokens":2}]]'
SHAPES = {f"{case['id']} {case['title']}": case["events"] for case in STREAMS if "events" in case}
"""Streams that users of such gateways met."""
GOOD = next(events for title, events in SHAPES.items() if title.startswith("C022"))


def framed(event: Event, *, end: str = "\n", named: bool = True, data: str = "data: ", before: str = "") -> bytes:
    name = f"event: {event['type']}{end}" if named else ""
    return f"{before}{name}{data}{json.dumps(event)}{end}{end}".encode()


STREAM = b"".join(map(framed, GOOD))
FRAMINGS = {
    "lines end with CR LF": b"".join(framed(event, end="\r\n") for event in GOOD),
    "lines end with CR": b"".join(framed(event, end="\r") for event in GOOD),
    "no event lines": b"".join(framed(event, named=False) for event in GOOD),
    "comments, ids, no space": b": hi\n\n" + b"".join(framed(it, data="data:", before=": c\nid: 7\n") for it in GOOD),
    "two data lines": b"".join(framed(event).replace(b', "', b',\ndata: "', 1) for event in GOOD),
    "byte order mark": b"\xef\xbb\xbf" + STREAM,
    "nothing": b"",
    "no message_stop": b"".join(map(framed, GOOD[:-1])),
    "no message_delta": b"".join(map(framed, GOOD[:-2])),
    "more after message_stop": STREAM + framed({"type": "ping"}),
    "twice": STREAM * 2,
}


def send(pair: Pair, prompt: str, *, stream: bool, **fields: Any) -> Both:
    own = mark()
    body = {
        "model": MODEL,
        "max_tokens": 64,
        "stream": stream,
        "messages": [{"role": "user", "content": f"{own} {prompt}"}],
        **fields,
    }
    return pair.send(body, mark=own)


def prompt_of(content: bytes) -> str:
    """A prompt whose answer is these bytes."""
    return f"[[raw={base64.b64encode(content).decode()}]]"


def raw(pair: Pair, content: bytes) -> Both:
    return send(pair, prompt_of(content), stream=True)


def differs(both: Both, difference: str) -> None:
    """Check a difference of ANSWERS, and that it is one."""
    expected = ANSWERS[difference].end
    assert (ending(both.sdk), ending(both.http)) == expected
    assert answer_of(both.sdk) != answer_of(both.http), "no difference any more"


def ending(side: Any) -> str:
    """An answer's ending, in the words of ANSWERS."""
    if not side.is_stream:
        return str(side.status)
    last = side.events[-1]
    return str(last["type"])


SHAPES_THAT_DIFFER = {
    "C007": "block indices that repeat",
    "C008": "block indices that do not begin at 0",
    "C016": "unknown events",
}


@pytest.mark.parametrize("title", SHAPES)
def test_stream_shape_of_the_field_equally(pair: Pair, title: str) -> None:
    content = b"".join(map(framed, SHAPES[title]))

    both = raw(pair, content)

    if difference := SHAPES_THAT_DIFFER.get(title.split()[0]):
        differs(both, difference)
    else:
        assert_same_answer(both)
    if not title.startswith("C020"):
        assert both.http.content == content


FRAMINGS_THAT_DIFFER = {
    "no event lines": "events without `event` lines",
    "no message_stop": "a stream without `message_stop`",
    "no message_delta": "a stream without `message_delta`",
    "twice": "anything after `message_stop`",
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_stream_any_framing_equally(pair: Pair, framing: str) -> None:
    both = raw(pair, FRAMINGS[framing])

    if difference := FRAMINGS_THAT_DIFFER.get(framing):
        differs(both, difference)
    else:
        assert_same_answer(both)


CONTENT = (
    "[[n=3]]", "[[n=4]] [[ping=1]]", "[[say=]]", "[[think=hm]] [[n=1]]", "[[redacted=abc]] [[n=1]]", "[[huge=100000]]",
    "[[cite=x]] [[n=2]]", '[[tool=f:{"a":[1,null,"ü"]}]]', '[[tool=f:{}]] [[tool=g:{"n":0.1}]] [[n=1]]',
    '[[block={"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}}]]',
    '[[block={"type":"future","x":[1]}]]', "[[stop=refusal]] [[n=2]]", "[[stop=max_tokens]] [[n=2]]",
    "[[stop=pause_turn]] [[n=1]]", "[[stop=model_context_window_exceeded]] [[n=1]]", "[[stop=stop_sequence]] [[n=1]]",
    "[[split=7]] [[n=3]]", "[[say=ﷺ \U0001f469\u200d\U0001f467 \u2028]]", "[[first=0.2]] [[gap=0.01]] [[n=3]]",
)  # fmt: skip


@pytest.mark.parametrize("prompt", CONTENT)
def test_answer_streamed_and_plain_equally(pair: Pair, prompt: str) -> None:
    streamed, plain = (send(pair, f"{prompt} {USAGE}", stream=stream) for stream in (True, False))

    assert_same_answer(streamed)
    assert_same_answer(plain)
    fold = MessageFold()
    fold.add(streamed.http.events)
    assert without_ids(fold.message) == without_ids(plain.http.json), "the fold of the stream is the plain answer"


DROP = "[[drop]]"
ERRORS = (
    *(f"[[status={status}]]" for status in (400, 401, 402, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529)),
    "[[status=400]] [[type=novel_error]]", "[[status=429]] [[type=rate_limit_error]] [[message=Zu viele Anfragen ü]]",
    "[[status=500]] [[message=two\nlines]]", DROP,
)  # fmt: skip


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("prompt", ERRORS)
def test_pass_upstream_error_equally(pair: Pair, prompt: str, *, stream: bool) -> None:
    both = send(pair, prompt, stream=stream)

    assert_same_answer(both)
    assert len(both.sdk.exchanges) == len(both.http.exchanges) == 1


def test_ask_upstream_once_when_it_drops_reused_connection(pair: Pair) -> None:
    send(pair, "[[n=1]]", stream=True)  # its connection is used again

    both = send(pair, DROP, stream=True)

    assert len(both.sdk.exchanges) == len(both.http.exchanges) == 1


ERRORS_THAT_DIFFER = {
    "[[status=400]] [[bare]]": "an error without a readable body",
    "[[status=503]] [[html]]": "an error without a readable body",
    "[[page]]": "an answer that is not a Messages API answer",
}


@pytest.mark.parametrize("prompt", ERRORS_THAT_DIFFER)
def test_word_unreadable_upstream_error_for_each_engine(pair: Pair, prompt: str) -> None:
    both = send(pair, prompt, stream=True)

    assert (
        both.sdk.status
        == both.http.status
        == int(ANSWERS[ERRORS_THAT_DIFFER[prompt]].end[0].replace("any", str(both.sdk.status)))
    )
    sdk, http = (side.json["error"] for side in (both.sdk, both.http))
    assert sdk["type"] == http["type"]
    assert sdk["message"] != http["message"], "no difference any more"


BROKEN = {
    "[[miderror=2]]": None,
    "[[cut=2]]": None,
    "[[garbage=2]]": "an event that is not JSON",
    '[[odd={"type":"novel"}]]': None,
    '[[odd={"type":"content_block_stop","index":7}]]': "an event that is invalid at its place",
}


@pytest.mark.parametrize("prompt", BROKEN)
def test_end_broken_stream_equally(pair: Pair, prompt: str) -> None:
    both = send(pair, f"[[n=4]] [[gap=0.05]] {USAGE} {prompt}", stream=True)

    if difference := BROKEN[prompt]:
        differs(both, difference)
    else:
        assert_same_answer(both)


@pytest.mark.parametrize("usage", ["null", '{"output_tokens":-5}', '{"input_tokens":1e400}', '{"input_tokens":"9"}'])
def test_correct_impossible_counts_with_sdk_only(pair: Pair, usage: str) -> None:
    both = send(pair, f"[[n=1]] [[usage={usage}]]", stream=True)

    assert both.sdk.status == both.http.status == 200
    texts = [
        [event for event in side.events if event["type"] == "content_block_delta"] for side in (both.sdk, both.http)
    ]
    assert texts[0] == texts[1]


FIELD_ERRORS = {
    error["id"]: error
    for error in map(json.loads, Path(__file__).with_name("errors.jsonl").read_text(encoding="utf-8").splitlines())
}
"""Errors that users of such gateways met, with their headers."""


@pytest.mark.parametrize("name", FIELD_ERRORS)
def test_pass_error_of_the_field_equally(pair: Pair, name: str) -> None:
    error = FIELD_ERRORS[name]
    headers = "".join(f"[[header={name}:{value}]]" for name, value in error["headers"].items())

    both = send(pair, f"[[status={error['status']}]] {headers} [[json={json.dumps(error['body'])}]]", stream=True)

    assert len(both.sdk.exchanges) == len(both.http.exchanges) == 1
    assert both.http.status == error["status"]
    assert {name: both.http.headers.get(name) for name in error["headers"]} == error["headers"]
    assert_same_answer(both)
    if not name.startswith("C031"):  # not in Anthropic's shape
        assert both.http.json == error["body"]
