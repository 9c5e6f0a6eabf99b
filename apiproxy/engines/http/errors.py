"""Errors of the upstream as responses, as events of a stream, and as failures of the connection."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from apiproxy.core.errors import FailureKind, ProxyError, UpstreamError
from apiproxy.core.json_encoding import dumps
from apiproxy.engines.http.frames import parse_json
from apiproxy.engines.http.upstream import SocksError
from apiproxy.engines.stream.error_types import ERROR_STATUSES, ERROR_TYPES

_ANY_ERROR = "api_error"
_ANY_STATUS = 500
_BAD_GATEWAY = 502
_REDIRECTS = range(300, 400)
_MAX_MESSAGE_CHARS = 16_000
LOST = (aiohttp.ClientError, OSError, TimeoutError)
"""Failures of a connection."""
_NO_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    SocksError,
)


def error_of_response(status: int, body: bytes, headers: Mapping[str, str]) -> ProxyError:
    """Error of a response with any status but 2xx. The body and the status are kept as they are."""
    if status in _REDIRECTS:
        message = f"The upstream API answered with a redirect ({status}), which the gateway does not follow."
        return ProxyError(
            FailureKind.UPSTREAM_ERROR,
            message,
            upstream=UpstreamError(status=_BAD_GATEWAY, type=_ANY_ERROR, headers=headers),
        )
    value = parse_json(body)
    error = _error_object(value)
    if error is None:
        message = _text_of(value) or f"The upstream API answered with status {status} and without a readable error."
        upstream = UpstreamError(status=status, type=ERROR_TYPES.get(status, _ANY_ERROR), headers=headers)
        return ProxyError(FailureKind.UPSTREAM_ERROR, message[:_MAX_MESSAGE_CHARS], upstream=upstream)
    upstream = UpstreamError(status=status, type=error["type"], body=body, headers=headers)
    return ProxyError(FailureKind.UPSTREAM_ERROR, error["message"][:_MAX_MESSAGE_CHARS], upstream=upstream)


def error_of_event(event: Mapping[str, Any], data: bytes) -> ProxyError:
    """Error of an `error` event. data: the event's data, kept as it is."""
    error = _error_object(event)
    if error is None:
        message = "The upstream API ended the stream with an error that cannot be read."
        return ProxyError(FailureKind.UPSTREAM_ERROR, message, upstream=UpstreamError(_ANY_STATUS, _ANY_ERROR))
    status = ERROR_STATUSES.get(error["type"], _ANY_STATUS)
    upstream = UpstreamError(status=status, type=error["type"], body=data)
    return ProxyError(FailureKind.UPSTREAM_ERROR, error["message"][:_MAX_MESSAGE_CHARS], upstream=upstream)


def lost_connection(error: BaseException) -> tuple[ProxyError, bool]:
    """Failure of the connection, and whether the upstream cannot have received the request."""
    unsent = isinstance(error, _NO_CONNECTION)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        message = "The upstream's TLS certificate was not accepted."
    elif isinstance(error, SocksError):
        message = "No connection to the upstream API could be made through the SOCKS proxy."
    elif unsent:
        message = "No connection to the upstream API could be made."
    else:
        message = "The connection to the upstream API was lost."
    return ProxyError(FailureKind.CONNECTION_LOST, message), unsent


def _text_of(value: Any) -> str:
    """Text of an error that does not have Anthropic's format.

    Its message, else all of it; empty if it is not JSON.
    """
    if value is None:
        return ""
    error = value.get("error") if isinstance(value, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) and message else dumps(value).decode()


def _error_object(value: Any) -> dict[str, Any] | None:
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict) and isinstance(error.get("type"), str) and isinstance(error.get("message"), str):
        return error
    return None
