"""From a Messages request to a Turn."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from apiproxy.dialects.anthropic.schemas import MessagesIn
from apiproxy.errors import FailureKind, ProxyError

_HEADERS_IN_DISGUISE = ("betas", "user_profile_id", "workspace_id", "program_use_case_id")
"""Not fields of the Messages API, which refuses them in these words; the engine's CLI would make headers of the first
three, and ignore a whole body with the last."""


def check_body(body: Mapping[str, Any]) -> MessagesIn:
    """The body's fields that the gateway reads. Raises ProxyError(INVALID_REQUEST) naming the first field at fault."""
    for name in _HEADERS_IN_DISGUISE:
        if name in body:
            message = f"{name}: Extra inputs are not permitted"
            raise ProxyError(FailureKind.INVALID_REQUEST, message, param=name)
    try:
        return MessagesIn.model_validate(body)
    except ValidationError as error:
        raise invalid_field(error) from None


def invalid_field(error: ValidationError) -> ProxyError:
    """pydantic's first complaint in the words of the Messages API: `messages.0.content: Field required`."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return ProxyError(FailureKind.INVALID_REQUEST, f"{param}: {message}", param=param)


def completed_body(body: Mapping[str, Any], *, max_output_tokens: int) -> dict[str, Any]:
    """The body with `max_tokens`, which the upstream demands, at the model's own maximum where the client gave none."""
    completed = dict(body)
    if completed.get("max_tokens") is None:
        completed["max_tokens"] = max_output_tokens
    return completed


def beta_names(header: str | None) -> tuple[str, ...]:
    """The names in an `anthropic-beta` header."""
    return tuple(name for part in (header or "").split(",") if (name := part.strip()))
