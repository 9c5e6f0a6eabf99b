"""ENGINE.md §3 and §4: what the CLI makes of an upstream that fails, and that it asks once."""

import re
import uuid
from typing import Any

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.engines.sdk.errors import error_in, failure_of
from tests.contract.conftest import StartCli, body
from tests.support.raw_cli import RawCli
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

MESSAGE = "the upstream's very own words"
STATUSES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
SYNTHETIC_END = ["content_block_stop", "message_delta", "message_stop"]


def sentinel() -> str:
    return f"sentinel-{uuid.uuid4().hex}"


def told_failure(cli: RawCli, prompt: str, mark: str) -> ProxyError:
    """The engine's error for a failed turn, from its result and the marked line on stderr."""
    turn = cli.turn(body(prompt))
    line = eventually(lambda: next((it for it in cli.stderr.splitlines() if mark in it), ""))
    return failure_of(turn.result, error_in(line), model="claude-sonnet-4-5")


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_keep_status_type_and_request_id_of_upstream_error(
    warm_cli: RawCli, stand_in: StandInProcess, status: int, kind: str
) -> None:
    mark = sentinel()

    turn = warm_cli.turn(body(f"{mark} [[status={status}]] [[message={MESSAGE}]] [[retry_after=1]]"))

    assert turn.events == []
    assert turn.result["is_error"] is True
    assert turn.result["api_error_status"] == status
    assert turn.error["api_error_status"] == status
    assert turn.error["api_error_type"] == kind
    assert re.fullmatch(r"req_\w{24}", turn.error["request_id"])
    asked = stand_in.recorded(containing=mark)
    assert len(asked) == (2 if status == 404 else 1), "the CLI asks once more, without a stream, after a 404 alone"


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_find_upstreams_own_message(warm_cli: RawCli, status: int, kind: str) -> None:
    message = f"{MESSAGE} {sentinel()}"

    error = told_failure(warm_cli, f"[[status={status}]] [[message={message}]]", message)

    assert error.upstream is not None
    assert (error.upstream.status, error.upstream.type, error.message) == (status, kind, message)


WORDS = [
    "prompt is too long: 208310 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length",
    "Your credit balance is too low to access the Anthropic API.",
    "messages.1.content.0: `thinking` blocks in the latest assistant message cannot be modified.",
    "messages.0.content.1.image.source.base64.data: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
    "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
    "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "The model does not support 1M context windows / long context beta is not yet available for this subscription.",
    "max_tokens: 200000 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5",
]


@pytest.mark.parametrize("words", WORDS)
def test_pass_text_that_cli_would_repair_unchanged(warm_cli: RawCli, stand_in: StandInProcess, words: str) -> None:
    mark = sentinel()
    message = f"{words} {mark}"

    error = told_failure(warm_cli, f"[[status=400]] [[message={message}]]", mark)

    assert error.message == message
    stand_in.only(mark)


def test_redact_number_after_token_word_only_in_stderr(warm_cli: RawCli) -> None:
    """Why stderr's words are not believed where the result has them too."""
    message = f"max_tokens: 200000 > 64000 {sentinel()}"

    turn = warm_cli.turn(body(f"[[status=400]] [[message={message}]]"))

    eventually(lambda: message.replace("200000", "[REDACTED]") in warm_cli.stderr)
    assert turn.result["result"] == f"API Error: 400 {message}"


@pytest.mark.parametrize("fault", ["[[drop]]", "[[cut=3]]"])
def test_report_lost_connection_without_status_or_retry(warm_cli: RawCli, stand_in: StandInProcess, fault: str) -> None:
    mark = sentinel()

    turn = warm_cli.turn(body(f"{mark} {fault}"))

    assert turn.result["is_error"] is True
    assert turn.result["api_error_status"] is None
    assert failure_of(turn.result, None, model="m").kind is FailureKind.CONNECTION_LOST
    stand_in.only(mark)


@pytest.mark.parametrize("fault", ["[[cut=3]]", "[[miderror=3]]"])
def test_end_broken_stream_synthetically_with_error_result(
    warm_cli: RawCli, stand_in: StandInProcess, fault: str
) -> None:
    """Why `message_delta` and `message_stop` are held back until the result is there."""
    mark = sentinel()

    turn = warm_cli.turn(body(f"{mark} [[gap=0.5]] {fault}"))  # what comes just before the cut may be lost with it

    assert turn.text == "tok0 tok1 tok2 "
    assert [event["type"] for event in turn.events][-3:] == SYNTHETIC_END
    assert turn.events[-2]["delta"]["stop_reason"] is None
    assert turn.result["is_error"] is True
    stand_in.only(mark)


def test_name_error_event_of_stream_in_result(warm_cli: RawCli) -> None:
    turn = warm_cli.turn(body(f"[[miderror=1]] [[type=overloaded_error]] [[message={MESSAGE}]]"))

    assert MESSAGE in str(turn.result["result"]) or MESSAGE in warm_cli.stderr


def test_garbage_in_a_stream_is_an_error_and_not_an_answer(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()

    turn = warm_cli.turn(body(f"{mark} [[garbage=2]]"))

    assert turn.result["is_error"] is True
    stand_in.only(mark)


def test_keep_status_of_balancers_html_error(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()

    turn = warm_cli.turn(body(f"{mark} [[status=502]] [[html]]"))

    assert turn.result["api_error_status"] == 502
    stand_in.only(mark)


@pytest.mark.parametrize(
    ("switch", "prompt"),
    [
        ("CLAUDE_CODE_MAX_RETRIES", "[[flaky={mark}:1:529]]"),
        ("CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK", "[[cut=3]]"),
        ("CLAUDE_CODE_DISABLE_REFUSAL_RETRY", "[[n=2]] [[stop=refusal]]"),
    ],
)
def test_without_its_switch_the_cli_asks_again_in_silence(
    start_cli: StartCli, stand_in: StandInProcess, switch: str, prompt: str
) -> None:
    """Why these variables are set. When one of these fails its variable may have become needless."""
    mark = sentinel()
    cli = start_cli(env={switch: None, "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": None})
    cli.overlay(body(f"{mark} {prompt.format(mark=mark)}"))

    cli.say()

    eventually(lambda: len(stand_in.recorded(containing=mark)) > 1, within_s=15)


@pytest.mark.parametrize(
    ("switch", "field"),
    [
        ("CLAUDE_CODE_DISABLE_THINKING", "thinking"),
        ("CLAUDE_CODE_EFFORT_LEVEL", "output_config"),
    ],
)
def test_without_its_switch_the_cli_adds_a_field(
    start_cli: StartCli, stand_in: StandInProcess, switch: str, field: str
) -> None:
    mark = sentinel()

    start_cli(env={switch: None}).turn(body(mark))

    upstream: dict[str, Any] = stand_in.only(mark).body
    assert field in upstream
