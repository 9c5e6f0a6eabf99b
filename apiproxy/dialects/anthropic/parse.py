"""Validation of Messages API requests."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.turns import EngineName
from apiproxy.dialects.anthropic.schemas import MessagesIn
from apiproxy.keys.allow_lists import matches_name

_HEADER_FIELDS = ("betas", "user_profile_id", "workspace_id", "program_use_case_id")
"""Not fields of the Messages API, which rejects them with the same message. The engine's CLI would turn the first three
into headers, and ignore the whole body because of the last."""

MAX_BETA_CHARS = 4_096
MAX_BETAS = 100
"""The official types list about 60 names of 25 characters; Claude Code sends about 15."""
_BETA = re.compile(r"[!-+\--~]+")  # visible ASCII except the comma


def check_body(body: Mapping[str, Any]) -> MessagesIn:
    """Validate the fields that the gateway reads.

    Raises ProxyError (INVALID_REQUEST) naming the invalid field.
    """
    for name in _HEADER_FIELDS:
        if name in body:
            message = f"{name}: Extra inputs are not permitted"
            raise ProxyError(FailureKind.INVALID_REQUEST, message, param=name)
    _check_cli_accepts(body)
    try:
        return MessagesIn.model_validate(body)
    except ValidationError as error:
        raise invalid_field(error) from None


def check_thread(body: Mapping[str, Any], engine: EngineName) -> None:
    """Reject a message thread on the SDK engine, with the code that makes clients send the whole history.

    A `continue` must have no `system` and `tools`, which the CLI always sends. Raises ProxyError (INVALID_REQUEST).
    """
    if engine == "sdk" and body.get("thread") is not None:
        raise ProxyError(
            FailureKind.INVALID_REQUEST,
            "thread: This gateway does not support message threads; send the whole conversation",
            param="thread",
            details={"error_code": "thread_unsupported_request"},
        )


def _check_cli_accepts(body: Mapping[str, Any]) -> None:
    """Reject bodies on which the CLI fails before sending; so does the upstream."""
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise ProxyError(FailureKind.INVALID_REQUEST, "tools: Input should be a valid list", param="tools")
    config = body.get("output_config")
    if (
        _is_truthy_in_javascript(body.get("output_format"))
        and isinstance(config, Mapping)
        and _is_truthy_in_javascript(config.get("format"))
    ):
        message = (
            "output_format: Both output_format and output_config.format were provided. Please use only"
            " output_config.format (output_format is deprecated)."
        )
        raise ProxyError(FailureKind.INVALID_REQUEST, message, param="output_format")


def _is_truthy_in_javascript(value: object) -> bool:
    """Truth value in JavaScript, where empty lists and objects are true."""
    return isinstance(value, list | dict) or bool(value)


def invalid_field(error: ValidationError) -> ProxyError:
    """First pydantic error as `messages.0.content: Field required`."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return ProxyError(FailureKind.INVALID_REQUEST, f"{param}: {message}", param=param)


def with_default_max_tokens(body: Mapping[str, Any], *, max_output_tokens: int) -> dict[str, Any]:
    """Body with the required `max_tokens`; defaults to the model's maximum."""
    completed = dict(body)
    if completed.get("max_tokens") is None:
        completed["max_tokens"] = max_output_tokens
    return completed


def sent_betas(header: str | None) -> tuple[str, ...]:
    """Names in an `anthropic-beta` header that go upstream: without those that the operator drops.

    Raises ProxyError (INVALID_REQUEST) unless it is a list of names.
    """
    dropped = gateway_settings().drop_betas
    return tuple(name for name in beta_names(header) if not any(matches_name(each, name) for each in dropped))


def beta_names(header: str | None) -> tuple[str, ...]:
    """Names in an `anthropic-beta` header.

    Raises ProxyError (INVALID_REQUEST) unless it is a list of names.
    """
    given = header or ""
    if len(given) > MAX_BETA_CHARS:
        raise _invalid_beta(f"at most {MAX_BETA_CHARS} characters are allowed")
    names = tuple(name for part in given.split(",") if (name := part.strip(" \t")))
    if len(names) > MAX_BETAS:
        raise _invalid_beta(f"at most {MAX_BETAS} names are allowed")
    if not all(map(_BETA.fullmatch, names)):
        raise _invalid_beta("a name may hold visible ASCII characters only")
    return names


def _invalid_beta(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, f"anthropic-beta: {message}", param="anthropic-beta")
