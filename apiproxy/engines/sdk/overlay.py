"""Overlay: a client's complete body, merged over the CLI's own request by one control message.

The CLI merges `CLAUDE_CODE_EXTRA_BODY` over the top level of every API request, so the client's body reaches the
upstream unchanged, including unknown fields. An overlay replaces the last one as a whole; fields that it does not set
fall back to the CLI's own values. Headers are set the same way, by `ANTHROPIC_CUSTOM_HEADERS`, which stays in force
until it is set again; so every overlay sets it. Verified against the bundled CLI by `tests/contract`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from apiproxy.core.custom_headers import VARIABLE, parse_custom_headers
from apiproxy.core.json_encoding import dump_pieces_within_string, dumps, within_string
from apiproxy.core.turns import DEFAULT_API_VERSION

IDENTITY_BLOCK = {"type": "text", "text": "You are a Claude agent, built on Anthropic's Claude Agent SDK."}
"""The SDK's own first system block. The gateway does not hide it; the client's blocks follow unchanged."""

_ATTRIBUTION = "x-anthropic-billing-header"
"""Beginning of Claude Code's attribution block, which the upstream recognises only as the first block."""

HEADER_FIELDS = frozenset({"betas", "user_profile_id", "workspace_id"})
"""Fields that the CLI moves from the body into headers. They are not part of the Messages API, and clients must not set
them on the operator's credential."""

REFUSED_BY_CLI = frozenset({"program_use_case_id"})
"""Fields that make the CLI silently ignore an overlay, so that it would send the last request's body again."""

_VERSION_HEADER = "anthropic-version"
_SESSION_PREFIX = "x-claude-code-"
_CLI_SPELLING = {"x-claude-code-session-id": "X-Claude-Code-Session-Id"}
"""Spelling of the CLI's own headers: with another one, its own value wins."""
_NOT_OVERLAID = HEADER_FIELDS | REFUSED_BY_CLI | {"stream", "system"}
"""`stream` is always on, `system` is rebuilt below."""


def overlay_body(body: Mapping[str, Any], *, model: str, betas: Sequence[str]) -> dict[str, Any]:
    """Overlay for a client's body.

    `betas` becomes the request's `anthropic-beta` header, in place of the CLI's own (the environment variable
    ANTHROPIC_BETAS is read once per process, so one client's betas would stay for the next). An empty `metadata`
    replaces the CLI's device id.
    """
    overlay = {name: value for name, value in body.items() if name not in _NOT_OVERLAID}
    overlay["model"] = model
    overlay["system"] = system_with_identity(body.get("system"))
    overlay["betas"] = list(betas) or None  # null removes the header
    overlay.setdefault("metadata", {})
    return overlay


def system_with_identity(system: object) -> list[Any]:
    """System blocks of the upstream's request for a client's `system`."""
    return _with_identity(_system_blocks(system))


def header_lines(operators: str, *, api_version: str, headers: Mapping[str, str]) -> str:
    """Value of `ANTHROPIC_CUSTOM_HEADERS` for one turn.

    Version, session, agent, and the operator's own headers.
    operators: the variable as the operator set it; its headers win, except for the version. headers: the client's, by
    lower-case name; the CLI's own say the rest. Raises ValueError for a value that is not printable ASCII.
    """
    theirs = [(name, value) for name, value in parse_custom_headers(operators) if name.lower() != _VERSION_HEADER]
    taken = {name.lower() for name, _ in theirs}
    clients = [
        (_CLI_SPELLING.get(name, name), headers[name])
        for name in headers
        if name.startswith(_SESSION_PREFIX) and name not in taken
    ]
    turns = [(_VERSION_HEADER, api_version), *clients]
    for name, value in turns:
        if not (name.isascii() and value.isascii() and (name + value).isprintable()):
            raise ValueError(f"the header {name!r} is not printable ASCII")
    return "\n".join(f"{name}: {value}" for name, value in (*theirs, *turns))


def overlay_settings(overlay: Mapping[str, Any], *, headers: str) -> dict[str, Any]:
    """CLI settings that apply this overlay and these header lines to its next requests."""
    return {"env": {VARIABLE: headers, "CLAUDE_CODE_EXTRA_BODY": dumps(overlay).decode()}}


def empty_overlay() -> dict[str, Any]:
    """Overlay between two keys' turns: without client data, and rejected by any upstream."""
    return overlay_body({"messages": [], "max_tokens": 1}, model="", betas=())


def empty_overlay_headers(operators: str) -> str:
    """Header lines between two keys' turns: without client data."""
    return header_lines(operators, api_version=DEFAULT_API_VERSION, headers={})


def empty_overlay_line(control_id: str, *, operators: str) -> bytes:
    """NDJSON line that sets the resting overlay. operators: see `header_lines`."""
    settings = overlay_settings(empty_overlay(), headers=empty_overlay_headers(operators))
    request = {"subtype": "apply_flag_settings", "settings": settings}
    return orjson.dumps({"type": "control_request", "request_id": control_id, "request": request}) + b"\n"


def turn_lines(
    overlay: Mapping[str, Any], *, headers: str, control_id: str, message_uuid: str, content: str = "."
) -> bytes:
    """Two NDJSON lines that start a turn.

    The overlay with its header lines, then a placeholder user message.
    Written together they save a round trip. Stream events count only after a successful reply to `control_id`, because
    a rejected overlay leaves the last request's in force. Raises RecursionError for a body nested too deeply.
    """
    head, tail = _around(headers, control_id, message_uuid, content)
    return b"".join((head, within_string(dumps(overlay)), tail))


def large_turn_lines(overlay: Mapping[str, Any], *, headers: str, control_id: str, message_uuid: str) -> list[bytes]:
    """`turn_lines` in pieces, for a body of megabytes.

    Slower, but without a long call into C and without a copy.
    """
    head, tail = _around(headers, control_id, message_uuid, ".")
    return [head, *dump_pieces_within_string(overlay), tail]


def _around(headers: str, control_id: str, message_uuid: str, content: str) -> tuple[bytes, bytes]:
    """Parts of a turn's lines before and after the overlay."""
    env = {VARIABLE: headers, "CLAUDE_CODE_EXTRA_BODY": ""}  # the body is last: it is put into the last empty string
    control = {
        "type": "control_request",
        "request_id": control_id,
        "request": {"subtype": "apply_flag_settings", "settings": {"env": env}},
    }
    message = {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
        "session_id": "",
        "uuid": message_uuid,
        "client_composed": True,
    }
    head, quotes, tail = orjson.dumps(control).rpartition(b'""')
    return head + quotes[:1], b"".join((quotes[1:], tail, b"\n", orjson.dumps(message), b"\n"))


def _with_identity(blocks: list[Any]) -> list[Any]:
    """The client's system blocks after the identity line.

    The line is not repeated, and follows an attribution block.
    """
    at = 1 if blocks and _text_of(blocks[0]).startswith(_ATTRIBUTION) else 0
    if len(blocks) > at and _text_of(blocks[at]) == IDENTITY_BLOCK["text"]:
        return blocks
    return [*blocks[:at], IDENTITY_BLOCK, *blocks[at:]]


def _text_of(block: object) -> str:
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def _system_blocks(system: object) -> list[Any]:
    if system is None or system == "":
        return []
    if isinstance(system, str):
        return [{"type": "text", "text": system}]
    return list(system) if isinstance(system, list) else [system]
