"""A failed turn's error: the upstream's own status, type and message, regardless of the CLI's wording."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.engines.sdk.errors import error_in, failure_of, framed_message, with_request_id, without_redactions

SERVER_SIDE = (
    " This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference"
    " gateway (127.0.0.1:41449)."
)

# Texts of real results, and the upstream's message in each. `tests/contract` gets the same ones from the bundled CLI.
FRAMED = [
    ("API Error: 400 messages.0.role: Input should be 'user'", "messages.0.role: Input should be 'user'"),
    ("API Error: 400 max_tokens: 200000 > 64000, which is", "max_tokens: 200000 > 64000, which is"),
    ("API Error: 402 pay first", "pay first"),
    ("API Error: 418 teapot", "teapot"),
    ("API Error: Request rejected (429) · slow down", "slow down"),
    ("Failed to authenticate. API Error: 403 no", "no"),
    ("API Error: 500 Internal server error." + SERVER_SIDE, "Internal server error"),
    ("API Error: 503 unavailable." + SERVER_SIDE, "unavailable"),
    ("API Error: 529 Overloaded." + SERVER_SIDE, "Overloaded"),
    ("API Error: Overloaded", "Overloaded"),
    ("API Error: 400 first line\nsecond line", "first line\nsecond line"),
]
# Here the CLI said something of its own in the message's place.
REPLACED = [
    (400, "Prompt is too long"),
    (400, "Credit balance is too low"),
    (400, "API Error: 400 due to tool use concurrency issues."),
    (401, "Invalid API key · Fix external API key"),
    (404, "There's an issue with the selected model (claude-gateway). It may not exist or you may not have access."),
    (413, "Request too large (max 32MB). Accumulated images and attachments pushed the request over the limit."),
]


def result(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": True, "terminal_reason": "api_error", **fields}


def stderr_line(status: int, kind: str, message: str) -> str:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    said = orjson.dumps(body).decode()
    return f"2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): {status} {status} {said}"


def upstream(status: int, kind: str, message: str) -> ProxyError:
    upstream_error = UpstreamError(status=status, type=kind)
    return ProxyError(FailureKind.UPSTREAM_ERROR, message, upstream=upstream_error)


def as_values(error: ProxyError | None) -> tuple[object, ...]:
    assert error is not None
    return error.kind, error.message, error.upstream


@pytest.mark.parametrize(("text", "message"), FRAMED)
def test_remove_frame_around_upstreams_message(text: str, message: str) -> None:
    assert framed_message(text) == message


@pytest.mark.parametrize(("text", "message"), FRAMED)
def test_prefer_framed_message_over_redacted_stderr(text: str, message: str) -> None:
    exact = upstream(400, "invalid_request_error", "max_tokens: [REDACTED] > 64000")

    error = failure_of(
        result(api_error_status=400, api_error_type="invalid_request_error", result=text), exact, model="m"
    )

    assert as_values(error) == as_values(upstream(400, "invalid_request_error", message))


@pytest.mark.parametrize(("status", "text"), REPLACED)
def test_prefer_upstream_error_to_cli_wording(status: int, text: str) -> None:
    exact = upstream(status, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum")

    assert failure_of(result(api_error_status=status, result=text), exact, model="m") is exact


@pytest.mark.parametrize(("status", "text"), REPLACED)
def test_without_stderr_the_clis_words_are_better_than_none(status: int, text: str) -> None:
    error = failure_of(result(api_error_status=status, result=text), None, model="claude-opus-9")

    assert error.upstream is not None
    assert error.upstream.status == status
    assert error.message == ("model: claude-opus-9" if status == 404 else text)


def test_stderr_of_another_status_is_not_about_this_turn() -> None:
    stale = upstream(429, "rate_limit_error", "slow down")

    error = failure_of(result(api_error_status=400, result="Prompt is too long"), stale, model="m")

    assert as_values(error) == as_values(upstream(400, "invalid_request_error", "Prompt is too long"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "api_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_give_status_without_type_the_documented_one(status: int, kind: str) -> None:
    error = failure_of(result(api_error_status=status, result="API Error: boom"), None, model="m")

    assert as_values(error) == as_values(upstream(status, kind, "boom"))


def test_name_error_without_message_by_its_type() -> None:
    error = failure_of(result(api_error_status=500, api_error_type="api_error", result=""), None, model="m")

    assert error.message == "api_error"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("api_error", 500),
        ("invalid_request_error", 400),
        ("rate_limit_error", 429),
        ("timeout_error", 504),
        ("error_of_tomorrow", 500),
    ],
)
def test_error_event_in_stream_has_type_and_text_only(kind: str, status: int) -> None:
    event = result(api_error_status=None, api_error_type=kind, result="API Error: boom")

    assert as_values(failure_of(event, None, model="m")) == as_values(upstream(status, kind, "boom"))


@pytest.mark.parametrize("fields", [{"terminal_reason": "api_error"}, {"api_error": "connection_error"}])
def test_treat_api_error_without_status_as_lost_connection(fields: dict[str, str]) -> None:
    assert failure_of(result(**fields), None, model="m").kind is FailureKind.CONNECTION_LOST


def test_report_worker_fault_for_result_without_answer() -> None:
    ended = {"type": "result", "subtype": "success", "is_error": False}

    assert failure_of(ended, None, model="m").kind is FailureKind.WORKER_DIED


@given(status=st.integers(min_value=400, max_value=599), kind=st.text(min_size=1), message=st.text(min_size=1))
def test_stderr_gives_back_every_error_that_an_upstream_can_send(status: int, kind: str, message: str) -> None:
    assert as_values(error_in(stderr_line(status, kind, message))) == as_values(upstream(status, kind, message))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[claude-code:unrecognized_model] {}",
        "2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 502 502 <html>nginx</html>",
        '2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 400 {"error": "text"}',
        '2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 400 {"type": "error"}',
        '2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 400 {"type": "error", "error": {',
        "API error (attempt 1/1): 400 {not json}",
    ],
)
def test_other_lines_of_stderr_are_no_errors_of_the_upstream(line: str) -> None:
    assert error_in(line) is None


def test_prefer_the_exact_words_unless_some_are_hidden() -> None:
    """The CLI puts words of its own into a frame that is otherwise the upstream's."""
    text = "API Error: 400 an image in the conversation could not be processed and was removed."
    exact = upstream(400, "invalid_request_error", "Could not process image")

    assert failure_of(result(api_error_status=400, result=text), exact, model="m") is exact


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Both output_format and output_config.format were provided.", FailureKind.INVALID_REQUEST),
        ("{} is not iterable", FailureKind.INVALID_REQUEST),
        ("Could not load credentials from any providers", FailureKind.WORKER_UNAVAILABLE),
    ],
)
def test_tell_a_request_that_was_never_sent_by_its_line(said: str, kind: FailureKind) -> None:
    exact = error_in(f"[ERROR] API error (attempt 1/1): {said}")

    assert exact is not None
    assert exact.kind is kind
    assert failure_of(result(result=f"API Error: {said}"), exact, model="m") is exact


def test_count_lost_connection_as_sent() -> None:
    assert error_in("[ERROR] API error (attempt 1/1): undefined Connection error.") is None


@pytest.mark.parametrize("order", [("type", "message"), ("message", "type")])
def test_read_a_line_that_was_cut(order: tuple[str, str]) -> None:
    fields = {"type": "request_too_large", "message": 'say \\ "' + "é" * 70_000}
    body = orjson.dumps({"type": "error", "error": {name: fields[name] for name in order}}).decode()

    error = error_in(f"[ERROR] API error (attempt 1/1): 413 413 {body}"[:65_000], cut=True)

    assert error is not None
    assert error.upstream == UpstreamError(status=413, type="request_too_large")
    assert error.message.startswith('say \\ "éé')
    assert len(error.message) < 16_100


def test_keep_status_of_long_page() -> None:
    error = error_in("[ERROR] API error (attempt 1/1): 502 502 <html>" + "x" * 60_000, cut=True)

    assert error is not None
    assert error.upstream == UpstreamError(status=502, type="api_error")
    assert "xxx" not in error.message


WHOLE = (
    b'{"type":"error","error":{"type":"invalid_request_error","message":"m","details":{"error_code":"x","n":[1.5,null]},'
    b'"future":"y"},"request_id":"req_up","more":{}}'
)


def reported(body: bytes, *, prefix: str = "API error (attempt 1/1): 400 400") -> ProxyError:
    error = error_in(f"2026-11-27T22:35:48.582Z [ERROR] {prefix} {body.decode()}")
    assert error is not None
    return error


def body_in(error: ProxyError) -> bytes:
    assert error.upstream is not None
    return error.upstream.body


def test_keep_the_whole_body_of_an_upstream_error() -> None:
    error = failure_of(result(api_error_status=400, result="API Error: 400 m"), reported(WHOLE), model="m")

    assert body_in(error) == WHOLE


def test_keep_the_body_of_an_error_event_in_the_stream() -> None:
    exact = reported(WHOLE, prefix="Error in API request:")

    error = failure_of(result(api_error_type="invalid_request_error", result="API Error: m"), exact, model="m")

    assert as_values(error) == as_values(upstream(400, "invalid_request_error", "m"))
    assert body_in(error) == WHOLE


def test_read_no_error_event_from_the_line_of_a_status() -> None:
    assert error_in(f"[ERROR] Error in API request: 400 {WHOLE.decode()}") is None
    assert error_in('[ERROR] Error in API request: {"type":"error"}') is None


def test_put_the_results_message_into_a_redacted_body() -> None:
    exact = reported(WHOLE.replace(b'"m"', b'"max_tokens: [REDACTED] > 64000"'))

    error = failure_of(result(api_error_status=400, result="API Error: 400 max_tokens: 7 > 64000"), exact, model="m")

    assert body_in(error) == WHOLE.replace(b'"m"', b'"max_tokens: 7 > 64000"')


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ("API Error: 400 the CLI's own words", WHOLE.replace(b'"m"', b'"max_tokens: [REDACTED] > 64000"')),
        ("API Error: 400 m", WHOLE.replace(b'"y"', b'"[REDACTED]"')),
        ("Prompt is too long", WHOLE.replace(b'"m"', b'"token [REDACTED]"')),
    ],
)
def test_drop_a_body_that_stays_redacted(said: str, body: bytes) -> None:
    ended = result(api_error_status=400, api_error_code="x", result=said)

    error = failure_of(ended, reported(body), model="m")

    assert body_in(error) == b""
    assert without_redactions(reported(body)).message == reported(body).message


def test_keep_the_error_code_without_a_body() -> None:
    ended = result(api_error_status=404, api_error_code="thread_not_found", result="API Error: 404 m")

    assert failure_of(ended, None, model="m").details == {"error_code": "thread_not_found"}


def test_keep_no_body_of_a_line_that_was_cut() -> None:
    error = error_in(f"[ERROR] API error (attempt 1/1): 413 413 {WHOLE.decode()[:-5]}", cut=True)

    assert error is not None
    assert body_in(error) == b""


@pytest.mark.parametrize(("request_id", "kept"), [("req_1", True), ("a\r\nb: c", False), (None, False), ("", False)])
def test_name_the_upstreams_request_in_a_header(request_id: str | None, kept: bool) -> None:
    error = with_request_id(upstream(400, "invalid_request_error", "m"), request_id)

    assert error.upstream is not None
    assert error.upstream.headers == ({"x-upstream-request-id": request_id} if kept else {})
