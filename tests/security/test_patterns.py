"""No pattern of ours takes time that grows faster than its text: measured by growth, not by a clock's seconds."""

import re
import time
from collections.abc import Callable

import pytest

from apiproxy.catalog import ResolvedModel
from apiproxy.core.principal import Principal
from apiproxy.engines.sdk.errors import error_in, framed_message
from apiproxy.keys.authentication import may_use
from apiproxy.sessions.conversation_id import conversation_id
from observability.tracing.redact import PATTERNS, Redactor

SMALL, FACTOR = 4_000, 8
MOST = FACTOR * 4
"""Quadratic time would be FACTOR squared, which is twice that."""

_SEEDS = [
    "a", " ", "a-", "token_", "auth-", "input_value=", "eyJ-", "://a:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
    "bearer ", "sk-", "password", "password=", 'secret"', "api_key:'", "\n", "API Error: 400 ",
    "API error (attempt 1/1): ", "{", "Conversation info", "```json {", "user_a_account_", "Failed to authenticate. ",
    "xoxb-aaaaaaaa", "AKIA", "https://u:p@",
]  # fmt: skip


def _ids(text: str) -> None:
    conversation_id({}, {"metadata": {"user_id": text}, "messages": [{"role": "user", "content": text}]})


_READERS: dict[str, Callable[[str], object]] = {
    **{f"pattern {number}": pattern.search for number, (pattern, _) in enumerate(PATTERNS)},
    "the redactor": lambda text: Redactor(["known secret"]).text(text, limit=10**9),
    "stderr": error_in,
    "the CLI's frame": framed_message,
    "conversation ids": _ids,
}


def taken(reader: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        reader(text)
        best = min(best, time.process_time() - begun)
    return best


@pytest.mark.parametrize("name", _READERS)
def test_time_grows_no_faster_than_the_text(name: str) -> None:
    reader = _READERS[name]
    for seed in _SEEDS:
        small = (seed * SMALL)[:SMALL]
        long = (seed * SMALL * FACTOR)[: SMALL * FACTOR]
        floor = 0.002  # below it a clock tells nothing
        assert taken(reader, long) <= MOST * max(floor, taken(reader, small)), seed


def test_match_list_with_many_stars_in_linear_time() -> None:
    stars = Principal(key_id=1, label="x", scopes=frozenset(), allowed_models=("a*" * 12 + "b",))

    def ask(text: str) -> None:
        may_use(stars, ResolvedModel(id=text, max_output_tokens=1, names=frozenset({text})))

    assert taken(ask, "a" * 256) <= MOST * max(0.002, taken(ask, "a" * 32))


def test_find_slow_pattern() -> None:
    """A pattern that is known to be quadratic."""
    slow = re.compile(r"a*b")

    assert taken(slow.search, "a" * 8_000) > MOST * taken(slow.search, "a" * 1_000)
