"""Redaction of credentials and prompt quotes in stored and logged text."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.text import storable
from observability.tracing.prompt_masking import Prompt
from observability.tracing.redact import MASK, MAX_TEXT_CHARS, PATTERNS, Redactor

SECRETS = {
    "anthropic key": "sk-ant-api03-AbCdEf123456789_-xyz",
    "our key": "sk-proxy-0123456789abcdefABCDEF",
    "github token": "ghp_abcdefghijklmnop1234567890",
    "aws key": "AKIAIOSFODNN7EXAMPLE",
    "google token": "ya29.a0AfH6SMBx-abc_def",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "slack token": "xoxb-1234567890-abcdefgh",
}
PLACES = (
    "{}",
    "Authorization: Bearer {}",
    'failed with {{"x-api-key": "{}"}}',
    "export ANTHROPIC_API_KEY={} && run",
    "https://user:{}@db.internal/name",
    "tail\nend={}",
    r'{{"text": "line\n{}\tmore"}}',
)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("place", PLACES)
def test_redact_credentials_anywhere(secret: str, place: str) -> None:
    assert secret not in Redactor().text(place.format(secret))


@pytest.mark.parametrize(
    "place",
    [
        "Authorization: Bearer {}",
        "authorization: basic {}",
        "x-api-key: {}",
        "api_key={}",
        '"password": "{}"',
        "password='{}'",
        "client_secret={}&x=1",
        "access-token: {}",
        "AWS_SECRET_ACCESS_KEY={}",
        "redis://default:{}@cache:6379/0",
    ],
)
def test_redact_value_with_a_telling_name(place: str) -> None:
    assert "plainword" not in Redactor().text(place.format("plainword"))


def test_redact_known_secrets_literally() -> None:
    redactor = Redactor(["correct horse battery", "abc"])

    assert redactor.text("said correct horse battery, abc") == f"said {MASK}, abc"


def test_redact_private_key_even_when_truncated() -> None:
    text = "before -----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc"

    assert Redactor().text(text) == f"before {MASK}"


def test_redact_values_quoted_by_pydantic() -> None:
    text = "1 validation error: [type=string_type, input_value={'my words': 1}, input_type=dict]"

    assert "my words" not in Redactor().text(text)


def test_ordinary_texts_stay_as_they_are() -> None:
    text = "messages.0.content: max_tokens 4096 is above the model's limit; 12 input tokens, task basic-setup"

    assert Redactor(["another secret"]).text(text) == text


def test_values_of_any_shape_are_redacted_and_keep_their_shape() -> None:
    value = {
        "argv": ["--key", "sk-ant-abcdefghijkl"],
        "env": {"ANTHROPIC_API_KEY": "whatever", "max_tokens": 5, "nested": {"token": ["a"]}},
        "ok": True,
        "none": None,
        7: b"bytes sk-ant-abcdefghijkl",
    }

    assert Redactor().value(value) == {
        "argv": ["--key", MASK],
        "env": {"ANTHROPIC_API_KEY": MASK, "max_tokens": 5, "nested": {"token": MASK}},
        "ok": True,
        "none": None,
        "7": f"b'bytes {MASK}'",
    }


def test_values_too_deep_or_too_many_are_cut_off() -> None:
    deep: Any = "sk-ant-abcdefghijkl"
    for _ in range(50):
        deep = {"in": deep}
    redacted = Redactor().value({"deep": deep, "many": list(range(10_000)), "long": "x" * 1_000_000})

    assert len(redacted["many"]) == 200
    assert len(redacted["long"]) == MAX_TEXT_CHARS
    assert "[too deep]" in json.dumps(redacted)


@pytest.mark.parametrize(
    "text",
    ["a-" * 16_000, "token_" * 5_000, "auth-" * 6_000, "input_value=" * 3_000, "eyJ-" * 8_000, "://a:" * 6_000],
    ids=lambda text: text[:8],
)
def test_redact_any_text_quickly(text: str) -> None:
    started = time.process_time()
    Redactor(["abcdefgh"]).text(text)

    assert time.process_time() - started < 1.0


PROMPT = 'The merger with Initech is announced on 2031-05-17.\nTell "nobody" before; our code is ZX-81-QUARTZ.'


@pytest.mark.parametrize(
    "text",
    [
        f"upstream said: invalid content {PROMPT!s}",
        f"stderr {json.dumps({'text': PROMPT})}",
        "cut: erger with Initech is announced on 20",
        "the words: ZX-81-QUARTZ and 2031-05-17",
    ],
)
def test_remove_every_quote_of_prompt(text: str) -> None:
    redacted = Redactor().text(text, prompt=Prompt([PROMPT]))

    for word in ("merger", "Initech", "announced", "2031-05-17", "QUARTZ"):
        assert word not in redacted


def test_find_whole_short_prompt() -> None:
    assert "hunter two" not in Redactor().text("it said hunter two!", prompt=Prompt(["hunter two"]))


def test_leave_text_without_quotes() -> None:
    text = "messages.0.content: Field required"

    assert Redactor().text(text, prompt=Prompt([PROMPT, "x" * 100_000])) == text


@given(st.text(min_size=23, max_size=200), st.integers(0, 200), st.text(max_size=40), st.text(max_size=40))
def test_any_quote_of_23_characters_is_found(prompt: str, start: int, before: str, after: str) -> None:
    start = min(start, len(prompt) - 23)
    quote = prompt[start : start + 23]

    assert quote not in Prompt([prompt]).remove_from(before + quote + after)


def test_prompts_of_megabytes_are_searched_in_bearable_time() -> None:
    prompt = Prompt(["the quick brown fox 42 " * 200_000])
    started = time.process_time()
    redacted = prompt.remove_from("the quick brown fox 42 the quick" * 200)

    assert "quick brown" not in redacted
    assert time.process_time() - started < 10.0


@given(st.text(alphabet=st.characters(), max_size=50), st.integers(1, 60))
def test_store_within_limit_in_every_database(text: str, limit: int) -> None:
    stored = storable(text + "\x00\ud800", limit)

    assert len(stored) <= limit
    assert "\x00" not in stored
    stored.encode()


def test_remove_only_credentials_from_stored_body() -> None:
    body = {
        "messages": [{"role": "user", "content": "my key is sk-ant-abcdefghijkl and my words are mine"}],
        "tools": [{"input_schema": {"properties": {"password": {"type": "string"}}}}],
        "metadata": {"api_key": "abc"},
        "max_tokens": 10**30,
    }

    assert Redactor().body(body) == {
        "messages": [{"role": "user", "content": f"my key is {MASK} and my words are mine"}],
        "tools": [{"input_schema": {"properties": {"password": {"type": "string"}}}}],
        "metadata": {"api_key": MASK},
        "max_tokens": 10**30,
    }


@pytest.mark.parametrize(
    "text", [*SECRETS.values(), *(place.format("plainword") for place in PLACES[1:5]), "access_tokens=plainword"]
)
@given(before=st.text(max_size=5), after=st.text(max_size=5))
def test_suspect_before_redacting(text: str, before: str, after: str) -> None:
    redactor = Redactor()
    whole = before + text + after

    assert redactor.may_contain_secret(whole) or redactor.text(whole) == storable(whole, MAX_TEXT_CHARS)
    for pattern, _ in PATTERNS:
        assert redactor.may_contain_secret(whole) or not pattern.search(whole)


@pytest.mark.parametrize("around", [2**18, 2**18 + 2_048, 2**19])
def test_find_a_quote_where_escaped_pieces_meet(around: int) -> None:
    quote = 'é "seven secret words of a client" é'
    prompt = Prompt(["\n" * (around - 20) + quote + "\n" * 2**18])
    assert "secret words" not in prompt.remove_from("it said " + json.dumps(quote))
