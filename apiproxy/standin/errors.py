"""Error responses of the stand-in, in the Messages API's format."""

from collections.abc import Mapping

from apiproxy.standin.responder import Responder

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The API's documented error types; any other status is an `api_error`."""


async def send_error(
    responder: Responder,
    status: int,
    message: str,
    *,
    error_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a JSON error. error_type: None for the documented one of the status."""
    error = {"type": error_type or ERROR_TYPES.get(status, "api_error"), "message": message}
    await responder.json(status, {"type": "error", "error": error, "request_id": responder.request_id}, headers=headers)
