"""From the CLI's words to the upstream's: what a failed turn means, without the CLI's decoration.

The CLI ends a failed turn with a `result` whose `api_error_status` and `api_error_type` are the upstream's, while its
text is written for a person at a terminal ("Prompt is too long"). The exact error body is on stderr just before that,
because the launcher asks for error lines there:

    2026-11-22T11:40:05.407Z [ERROR] API error (attempt 1/1): 400 400 {"type":"error","error":{…},"request_id":"…"}

That line has gone through a filter for secrets (`max_tokens: [REDACTED] > 64000`). Where the result's text is the
upstream's message in a known frame ("API Error: 400 …"), it is the better one.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from apiproxy.errors import FailureKind, ProxyError, UpstreamError

_STDERR_ERROR = re.compile(r"API error \(attempt \d+/\d+\): (?:\d{3} )?(?P<status>\d{3}) (?P<body>\{.*\})\s*$")
_FRAMED = re.compile(
    r"""^(?:Failed\ to\ authenticate\.\ )?API\ Error:\ (?:(?:Request\ rejected\ \(\d{3}\)\ ·|\d{3})\ )?
    (?P<message>.*?)
    (?:\.?\ This\ is\ a\ server-side\ issue,\ usually\ temporary\ —\ try\ again\ in\ a\ moment\..*)?$""",
    re.DOTALL | re.VERBOSE,
)
_NO_CONNECTION = re.compile(r"\((?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)\)")
_OWN_WORDS = re.compile(r"^API Error: \d{3} due to ")
_NOT_FOUND = 404
_TYPE_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUS_BY_TYPE = {kind: status for status, kind in _TYPE_BY_STATUS.items()}
_ANY_ERROR = 500


def upstream_error_in(stderr_line: str) -> ProxyError | None:
    """The upstream's error if this line of the CLI's stderr reports one with a JSON body."""
    match = _STDERR_ERROR.search(stderr_line)
    if match is None:
        return None
    try:
        error = orjson.loads(match["body"])["error"]
        return _upstream_error(int(match["status"]), str(error["type"]), str(error["message"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def failure_of(result: Mapping[str, Any], exact: ProxyError | None, *, model: str) -> ProxyError:
    """The failure behind a `result` without a finished message.

    exact is what stderr said during the same turn; it is believed only when its status agrees with the result's. model
    is named where the CLI's own text would name the id that it was launched with.
    """
    status, kind = result.get("api_error_status"), result.get("api_error_type")
    if status is None and kind:  # an `error` event in the stream has no status
        status = _STATUS_BY_TYPE.get(str(kind), _ANY_ERROR)
    if isinstance(status, int):
        kind = str(kind or _TYPE_BY_STATUS.get(status, "api_error"))
        message = framed_message(str(result.get("result") or ""))
        if message is None and exact is not None and exact.upstream is not None and exact.upstream.status == status:
            return exact
        if message is None:
            message = f"model: {model}" if status == _NOT_FOUND else str(result.get("result") or kind)
        return _upstream_error(status, kind, message)
    if result.get("api_error") or result.get("terminal_reason") == "api_error":
        return ProxyError(FailureKind.CONNECTION_LOST, "The connection to the upstream API was lost.")
    reason = result.get("terminal_reason") or result.get("subtype") or "no reason given"
    return ProxyError(FailureKind.WORKER_DIED, f"The worker ended the turn without an answer ({reason}).")


def was_unsent(result: Mapping[str, Any]) -> bool:
    """Whether the CLI found no connection to send the request on."""
    return result.get("api_error") == "connection_failed" and bool(_NO_CONNECTION.search(str(result.get("result"))))


def framed_message(text: str) -> str | None:
    """The upstream's own message inside the CLI's frame; None where the CLI put words of its own in its place."""
    match = None if _OWN_WORDS.match(text) else _FRAMED.match(text)
    return match["message"].strip() if match else None


def _upstream_error(status: int, kind: str, message: str) -> ProxyError:
    return ProxyError(FailureKind.UPSTREAM_ERROR, message or kind, upstream=UpstreamError(status=status, type=kind))
