"""Prompts without a cache breakpoint get one; those with one are left unchanged."""

import secrets
from typing import Any

import openai
import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.core.json_encoding import dumps
from apiproxy.dialects.openai.chat.parse import read_chat, translate_chat
from apiproxy.dialects.openai.translate.messages_body import Target, Translation
from apiproxy.dialects.openai.translate.prompt_cache import CacheMode, cache_mode
from tests.dialects.openai.conftest import options
from tests.dialects.openai.support import MODEL, chat, function, responses, tool_turn, user
from tests.limits.gateways import make_keys
from tests.support.gateway import GatewayProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

MARK = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}
MARKED_TEXT = {"type": "text", "text": "long", "cache_control": MARK}


def cached(mode: CacheMode = CacheMode.REQUEST, **body: Any) -> Translation:
    whole = {"model": "gpt-4o", "messages": [user("hi")], **body}
    return translate_chat(read_chat(whole), target=Target(model=MODEL, max_output_tokens=64, cache=mode), strict=False)


def marks(body: Any) -> int:
    return dumps(body).count(b'"cache_control"')


def test_mark_the_request_once() -> None:
    translation = cached(prompt_cache_key="k", tools=[function("f")])
    assert translation.body["cache_control"] == MARK
    assert marks(translation.body) == 1
    assert translation.ignored == ()


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        ([user("hi")], lambda messages: messages[-1]["content"][-1]),
        ([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], lambda it: it[-1]["content"][-1]),
        (tool_turn(("1", "x"), ("2", "y")), lambda messages: messages[-1]["content"][-1]),
    ],
)
def test_mark_the_last_block_where_requests_take_none(messages: Any, where: Any) -> None:
    body = cached(CacheMode.BLOCK, messages=messages).body
    assert "cache_control" not in body
    assert where(body["messages"])["cache_control"] == MARK
    assert marks(body) == 1


def test_mark_no_thinking_block() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    answer = {"role": "assistant", "content": "", "thinking_blocks": [thought]}
    body = cached(CacheMode.BLOCK, messages=[user("hi"), answer]).body
    assert body["messages"][1]["content"] == [thought]
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "Continue.", "cache_control": MARK}]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [user([MARKED_TEXT])]},
        {"messages": [{"role": "system", "content": "long", "cache_control": MARK}, user("x")]},
        {"messages": [user([{"type": "text", "text": "a", "prompt_cache_breakpoint": {}}])]},
        {"tools": [{**function("f"), "cache_control": MARK}]},
    ],
)
@pytest.mark.parametrize("mode", [CacheMode.REQUEST, CacheMode.BLOCK])
def test_leave_marked_prompts_alone(body: Any, mode: CacheMode) -> None:
    assert marks(cached(mode, **body).body) == 1
    assert "cache_control" not in cached(mode, **body).body


@pytest.mark.parametrize("mode", [CacheMode.OFF, CacheMode.REQUEST])
def test_take_a_mark_on_the_request_from_the_client(mode: CacheMode) -> None:
    assert cached(mode, cache_control=LONG).body["cache_control"] == LONG
    four = [user([MARKED_TEXT] * 4)]
    translation = cached(mode, messages=four, cache_control=LONG)
    assert marks(translation.body) == 4
    with pytest.raises(ProxyError, match="cache_control: must be an object"):
        cached(mode, cache_control=7)


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"prompt_cache_retention": "24h"}, ("prompt_cache_retention (five minutes, renewed by each use)",)),
        ({"prompt_cache_retention": "in_memory"}, ()),
        ({"prompt_cache_options": {"ttl": "30m"}}, ("prompt_cache_options.ttl (five minutes, renewed by each use)",)),
    ],
)
def test_never_choose_a_dearer_lifetime(body: Any, ignored: tuple[str, ...]) -> None:
    translation = cached(**body)
    assert (translation.body["cache_control"], translation.ignored) == (MARK, ignored)


def test_mark_nothing_in_explicit_mode() -> None:
    assert marks(cached(prompt_cache_options={"mode": "explicit"}).body) == 0


def test_take_marks_on_messages() -> None:
    messages = [
        {"role": "system", "content": "long", "cache_control": MARK},
        {**user("x"), "cache_control": LONG},
        {"role": "assistant", "content": "y", "cache_control": MARK},
        {**user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "cache_control": MARK},
    ]
    body = chat({"messages": messages}).body
    assert body["system"][0]["cache_control"] == MARK
    assert [message["content"][-1]["cache_control"] for message in body["messages"]] == [LONG, MARK, MARK]
    item = {"role": "user", "content": "x", "cache_control": MARK}
    assert responses({"input": [item]}).body["messages"][0]["content"][0]["cache_control"] == MARK


def test_take_marks_on_calls_and_results() -> None:
    question, calls, result = tool_turn(("1", "x"))
    body = chat({"messages": [question, {**calls, "cache_control": MARK}, {**result, "cache_control": MARK}]}).body
    assert body["messages"][1]["content"][-1]["cache_control"] == MARK
    assert body["messages"][2]["content"][0]["content"][-1]["cache_control"] == MARK


@pytest.mark.parametrize(
    ("header", "by_default", "on_blocks", "mode"),
    [
        ("", True, False, CacheMode.REQUEST),
        ("", True, True, CacheMode.BLOCK),
        ("", False, False, CacheMode.OFF),
        (" OFF ", True, False, CacheMode.OFF),
        ("on", False, False, CacheMode.REQUEST),
    ],
)
def test_let_the_header_win_over_the_key(header: str, by_default: bool, on_blocks: bool, mode: CacheMode) -> None:
    assert cache_mode(header, by_default=by_default, on_blocks=on_blocks) is mode


def test_refuse_another_value_of_the_header() -> None:
    with pytest.raises(ProxyError, match="x-proxy-cache: must be"):
        cache_mode("1h", by_default=True, on_blocks=False)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_send_the_mark_unless_told_not_to(gateway: GatewayProcess, stand_in: StandInProcess, api: str) -> None:
    (secret,) = make_keys(gateway, {f"uncached {api}": {"cache_prompts": False}}).values()
    sent: list[Any] = []
    for key, header in ((gateway.api_key, ""), (gateway.api_key, "off"), (secret, ""), (secret, "on")):
        mark = secrets.token_hex(8)
        headers = {"x-proxy-cache": header} if header else {}
        with openai.OpenAI(**options(gateway) | {"api_key": key}) as client:
            if api == "chat":
                asked: Any = [user(f"{mark} [[read=30]][[write=7]][[in=3]]")]
                made = client.chat.completions.create(model=MODEL, messages=asked, extra_headers=headers)
                assert made.usage is not None
                assert made.usage.prompt_tokens == 40
            else:
                client.responses.create(model=MODEL, input=mark, prompt_cache_key="k", extra_headers=headers)
        sent.append(stand_in.only(mark).body.get("cache_control"))
    assert sent == [MARK, None, None, MARK]


def test_show_the_hit_rate_of_the_key(gateway: GatewayProcess) -> None:
    (secret,) = make_keys(gateway, {"hits": {}}).values()
    with openai.OpenAI(**options(gateway) | {"api_key": secret}) as client:
        client.responses.create(model=MODEL, input="[[read=30]][[write=7]][[in=3]]")

        def used() -> Any:
            usage: Any = client.get("/usage", cast_to=object)
            return usage if usage["totals"]["requests"] else None

        usage = eventually(used)
    assert usage["totals"]["cache_hit_rate"] == 0.75, str(usage["totals"])
    assert usage["usage"][0]["cache_hit_rate"] == 0.75
