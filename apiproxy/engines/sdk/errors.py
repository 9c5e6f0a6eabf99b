"""Errors of a failed turn: recovers the upstream's status, type and message from the CLI's output.

The CLI ends a failed turn with a `result` whose `api_error_status` and `api_error_type` are the upstream's, while its
text is written for a terminal ("Prompt is too long"). The exact error body is on stderr just before that, because the
launch flags ask for error lines:

    2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 400 400 {"type":"error","error":{…},"request_id":"…"}

The CLI redacts secrets in that line (`max_tokens: [REDACTED] > 64000`). If it has redacted something and the result's
text is the upstream's message in a known frame ("API Error: 400 …"), the text is used. A body with redactions left is
not passed on; of its details, the result has the `error_code`.

An `error` event in the stream has no status; its line follows the one above, or comes alone:

    2026-11-27T22:35:48.870Z [ERROR] Error in API request: {"type":"error","error":{…},"request_id":"…"}

Response headers are not reported, except `request-id` (in the synthetic assistant message).

A line without a status and without `undefined` is an exception of the CLI before it sent anything:

    2026-11-27T15:29:31.403Z [ERROR] API error (attempt 1/1): Both output_format and output_config.format were provided.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.json_encoding import dumps
from apiproxy.engines.stream.error_types import ERROR_STATUSES, ERROR_TYPES, NO_EVENTS

_REPORT = re.compile(
    r"API error \(attempt \d+/\d+\): (?P<sent>undefined |\d{3} )?(?:(?P<status>\d{3}) )?(?P<report>.*)", re.DOTALL
)
_STREAM_REPORT = re.compile(r"Error in API request: (?P<report>\{.*)", re.DOTALL)
_CUT_TYPE = re.compile(r'"type":\s*"(?P<type>[a-z][a-z_]{0,59})",\s*"message"')
_CUT_MESSAGE = re.compile(r'"message":\s*"(?P<message>(?:[^"\\]|\\.)*)', re.DOTALL)
_BODY_AT_FAULT = re.compile(r"output_format|is not iterable|is not an object|is not a function|JSON|must be")
_REDACTED = "[REDACTED]"
_MESSAGE_CHARS = 16_000
_CUT_NOTE = " … (shortened by the gateway)"
_FRAMED = re.compile(
    r"""^(?:Failed\ to\ authenticate\.\ )?API\ Error:\ (?:(?:Request\ rejected\ \(\d{3}\)\ ·|\d{3})\ )?
    (?P<message>.*?)
    (?:\.?\ This\ is\ a\ server-side\ issue,\ usually\ temporary\ —\ try\ again\ in\ a\ moment\..*)?$""",
    re.DOTALL | re.VERBOSE,
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NO_CONNECTION = re.compile(r"\((?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)\)")
_CLI_TEXT = re.compile(r"^API Error: \d{3} due to ")
_NOT_FOUND = 404
_ANY_ERROR = 500
_NO_EVENTS = "Stream ended without receiving any events"  # also said of a stream that ends after its first events


def error_in(stderr_line: str, *, cut: bool = False) -> ProxyError | None:
    """Error reported by a line of the CLI's stderr.

    None for a lost connection, or if the line contains too little.
    cut: the line is the start of one that is too long, and no more will be read. INVALID_REQUEST and
    WORKER_UNAVAILABLE: the CLI failed before it sent anything.
    """
    match = _REPORT.search(stderr_line)
    if match is None:
        return None if cut else _error_event_in(stderr_line)
    report = match["report"].strip()
    if match["sent"] is None:
        return _not_sent(report)
    if match["status"] is None:
        return None
    status = int(match["status"])
    kind, message = _body_of(report)
    if message is None:
        if not cut and status != _NOT_FOUND:  # the result will have a better message
            return None
        message = f"The upstream API answered with status {status} and without a readable error."
    body = b"" if cut else _whole_body(report)
    return _upstream_error(status, kind or ERROR_TYPES.get(status, "api_error"), message, body=body)


def is_retried_by_cli(error: ProxyError) -> bool:
    """True if the CLI retries after this error, at once and regardless of its settings: after a 404."""
    return error.upstream is not None and error.upstream.status == _NOT_FOUND


def error_of_retry(message: Mapping[str, Any]) -> ProxyError:
    """Error behind the CLI's `api_retry` message, for when stderr had none."""
    status = message.get("error_status")
    if isinstance(status, int):
        return _upstream_error(status, ERROR_TYPES.get(status, "api_error"), str(message.get("error") or ""))
    return ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.")


def without_redactions(error: ProxyError) -> ProxyError:
    """The error, without its body if the CLI has redacted a part of that."""
    if error.upstream is None or _REDACTED.encode() not in error.upstream.body:
        return error
    return _upstream_error(error.upstream.status, error.upstream.type, error.message)


def with_request_id(error: ProxyError, request_id: object) -> ProxyError:
    """The error with the upstream's request id for the client; unchanged if there is no safe id."""
    upstream = error.upstream
    if upstream is None or not (isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)):
        return error
    headers = {**upstream.headers, "x-upstream-request-id": request_id}
    return ProxyError(error.kind, error.message, upstream=replace(upstream, headers=headers), details=error.details)


def failure_of(result: Mapping[str, Any], exact: ProxyError | None, *, model: str) -> ProxyError:
    """Error behind a `result` without a finished message.

    exact: error from stderr in the same turn, used only if its status agrees with the result's. model: used in the
    message where the CLI's own text would name the model that it was launched with.
    """
    status, kind = result.get("api_error_status"), result.get("api_error_type")
    if status is None and kind:  # an `error` event in the stream has no status
        status = ERROR_STATUSES.get(str(kind), _ANY_ERROR)
    text = str(result.get("result") or "")[: 2 * _MESSAGE_CHARS]
    if isinstance(status, int):
        kind = str(kind or ERROR_TYPES.get(status, "api_error"))
        agrees = exact is not None and exact.upstream is not None and exact.upstream.status == status
        reported = exact if agrees else None
        message = framed_message(text)
        if reported is not None and (message is None or _REDACTED not in reported.message):
            return without_redactions(reported)
        body = b"" if reported is None or message is None else _unredacted_body(reported, message)
        if message is None:
            message = f"model: {model}" if status == _NOT_FOUND else text or kind
        code = result.get("api_error_code")
        details = {"error_code": code} if isinstance(code, str) else None
        return _upstream_error(status, kind, message, body=body, details=details)
    if exact is not None and exact.upstream is None and not result.get("api_error"):
        return exact
    if result.get("api_error") or result.get("terminal_reason") == "api_error":
        return ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.")
    reason = result.get("terminal_reason") or result.get("subtype") or "no reason given"
    return ProxyError(FailureKind.WORKER_DIED, f"The worker ended the turn without an answer ({reason}).")


def without_events(result: Mapping[str, Any]) -> ProxyError | None:
    """Error of an answer in which the CLI found no event: it reads those with an `event` line only."""
    if not str(result.get("result")).endswith(_NO_EVENTS):
        return None
    return ProxyError(FailureKind.CONNECTION_LOST, NO_EVENTS)


def was_unsent(result: Mapping[str, Any]) -> bool:
    """True if the CLI could not connect, so that nothing was sent."""
    return result.get("api_error") == "connection_failed" and bool(_NO_CONNECTION.search(str(result.get("result"))))


def framed_message(text: str) -> str | None:
    """The upstream's message without the CLI's frame; None if the CLI has replaced it with its own text."""
    match = None if _CLI_TEXT.match(text) else _FRAMED.match(text)
    return match["message"].strip() if match else None


def _error_event_in(stderr_line: str) -> ProxyError | None:
    match = _STREAM_REPORT.search(stderr_line)
    if match is None:
        return None
    report = match["report"].strip()
    kind, message = _body_of(report)
    body = _whole_body(report)
    if kind is None or message is None or not body:
        return None
    return _upstream_error(ERROR_STATUSES.get(kind, _ANY_ERROR), kind, message, body=body)


def _upstream_error(
    status: int, kind: str, message: str, *, body: bytes = b"", details: Mapping[str, Any] | None = None
) -> ProxyError:
    upstream = UpstreamError(status=status, type=kind, body=body)
    error = ProxyError(FailureKind.UPSTREAM_ERROR, _bounded(message) or kind, upstream=upstream, details=details)
    return with_request_id(error, orjson.loads(body).get("request_id")) if body else error


def _whole_body(report: str) -> bytes:
    """The error body, possibly with redactions; empty unless it is a complete error object."""
    try:
        content = orjson.loads(report)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return b""
    complete = isinstance(content, dict) and {"type", "message"} <= content.keys()
    return report.encode() if complete else b""


def _unredacted_body(reported: ProxyError, message: str) -> bytes:
    """The reported body with its message from the result; empty if something else is redacted.

    The message must be the reported one where that is legible: the CLI puts its own words into the same frame.
    """
    start, end = reported.message.partition(_REDACTED)[0], reported.message.rpartition(_REDACTED)[2]
    if reported.upstream is None or not reported.upstream.body or len(message) > _MESSAGE_CHARS:
        return b""
    if not (message.startswith(start) and message.endswith(end)):
        return b""
    answer = orjson.loads(reported.upstream.body)
    answer["error"]["message"] = message
    body = dumps(answer)
    return b"" if _REDACTED.encode() in body else body


def _not_sent(report: str) -> ProxyError:
    if _BODY_AT_FAULT.search(report):
        return ProxyError(FailureKind.INVALID_REQUEST, f"The request body cannot be sent: {_bounded(report)}")
    message = f"The worker could not send the request to the upstream API: {_bounded(report)}"
    return ProxyError(FailureKind.WORKER_UNAVAILABLE, message)


def _body_of(report: str) -> tuple[str | None, str | None]:
    """Type and message of the API's error object, which may be cut off; None for missing parts."""
    try:
        error = orjson.loads(report)["error"]
        return str(error["type"]), str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        kind, message = _CUT_TYPE.search(report), _CUT_MESSAGE.search(report)
        if message is None or not report.startswith("{"):
            return None, None
        return kind["type"] if kind else None, _unescaped(message["message"])


def _unescaped(text: str) -> str:
    try:
        return str(orjson.loads(f'"{text}"'))
    except orjson.JSONDecodeError:
        return text


def _bounded(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARS else text[:_MESSAGE_CHARS] + _CUT_NOTE
