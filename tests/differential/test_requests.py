"""The same body through both engines: the upstream gets the same but for the documented differences."""

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.differential.bodies import betas, encoded
from tests.differential.comparison import assert_same_answer
from tests.differential.differences import header_may_differ, on_sdk
from tests.differential.pair import Both, Pair, Side
from tests.support.engine import mark

pytestmark = pytest.mark.long

SHORT = 40
EXAMPLES = int(os.environ.get("TEST_DIFFERENTIAL_EXAMPLES", SHORT))
"""`TEST_DIFFERENTIAL_EXAMPLES=2000` for the long form, which also makes a failing body smaller."""
MARK = "differential-mark-to-replace"


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, *([Phase.shrink] if EXAMPLES > SHORT else [])],
)
@given(made=encoded(MARK), beta_names=betas)
def test_send_same_request_upstream(pair: Pair, made: tuple[dict[str, Any], bytes], beta_names: list[str]) -> None:
    own = mark()
    body, content = made[0], made[1].replace(MARK.encode(), own.encode())

    both = pair.send(content, mark=own, headers={"anthropic-beta": ",".join(beta_names)} if beta_names else {})

    if not both.http.exchanges:  # rejected by the gateway: by both engines in the same words
        assert both.sdk.exchanges == []
        assert _error(both.sdk) == _error(both.http)
        return
    received = json.loads(content)
    expected = {**received, "model": both.http.upstream.body["model"]}
    expected.setdefault("max_tokens", both.http.upstream.body["max_tokens"])
    assert list(json.loads(both.http.upstream.raw).items()) == _in_order(expected, received)
    if expected == received:
        assert both.http.upstream.raw == content
    assert _plain(json.loads(both.sdk.upstream.raw)) == _plain(on_sdk(expected))
    assert_same_headers(both)
    assert both.http.is_stream == bool(body.get("stream")) or both.http.status != 200
    assert_same_answer(both)


def _in_order(expected: dict[str, Any], received: dict[str, Any]) -> list[tuple[str, Any]]:
    """Members as the client ordered them; a filled-in max_tokens comes first."""
    first = [] if "max_tokens" in received else [("max_tokens", expected["max_tokens"])]
    return first + [(name, expected[name]) for name in received]


def _plain(value: Any) -> Any:
    """Comparable: numbers as JavaScript has them."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def assert_same_headers(both: Both) -> None:
    sdk, http = (
        {name: value for name, value in side.upstream.headers.items() if not header_may_differ(name)}
        for side in (both.sdk, both.http)
    )
    assert sdk == http


def _error(side: Side) -> Any:
    return side.status, side.json["error"]
