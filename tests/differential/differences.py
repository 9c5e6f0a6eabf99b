"""Every difference between the engines that is allowed, as data; docs/engines.md has the same tables.

What a request becomes with `sdk` is computed here from what the client sent; what is not listed must be equal.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apiproxy.engines.sdk.overlay import IDENTITY_BLOCK

Body = dict[str, Any]

_EXACT = 2**53
_JS_INDEX = re.compile(r"0|[1-9]\d{0,9}")


def on_sdk(body: Mapping[str, Any]) -> Body:
    """The upstream's body with `sdk` for a body that `http` sends."""
    changed = dict(body)
    for _, change in BODY.values():
        change(changed)
    return changed


def _stream(body: Body) -> None:
    body["stream"] = True


def _system(body: Body) -> None:
    given = body.get("system")
    blocks = [{"type": "text", "text": given}] if isinstance(given, str) and given else given or []
    body["system"] = [IDENTITY_BLOCK, *blocks]


def _defaults(body: Body) -> None:
    body.setdefault("tools", [])
    body.setdefault("metadata", {})


def _thinking(body: Body) -> None:
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "disabled":
        body["thinking"] = {"type": "disabled"}


def _user_id(body: Body) -> None:
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    try:
        value = json.loads(user_id) if isinstance(user_id, str) else None
    except ValueError:
        return
    if isinstance(value, dict) and "tk" in value:
        value.pop("tk")
        body["metadata"] = {**body["metadata"], "user_id": json.dumps(value, separators=(",", ":"), ensure_ascii=False)}


def _numbers(body: Body) -> None:
    body.update({name: _as_javascript(value) for name, value in body.items()})


def _as_javascript(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_javascript(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_javascript(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return float(value)
    return value


def _output_config(body: Body) -> None:
    if body.get("output_config") == {}:
        body.pop("output_config")


BODY: Mapping[str, tuple[str, Callable[[Body], None]]] = {
    "`stream`": ("always true; with `http` the client's value", _stream),
    "`system`": ("the SDK's identity line before the client's blocks; a string becomes a text block", _system),
    "`tools`, `metadata`": ("`[]` and `{}` if the client sent none", _defaults),
    "`output_config`": ("omitted if it is empty", _output_config),
    "`thinking`": ("with the type `disabled`: other keys are removed", _thinking),
    "`metadata.user_id`": ("if it is a JSON object, its key `tk` is removed", _user_id),
    "integers above 2^53": ("rounded, as JavaScript's numbers are", _numbers),
}
"""Differences of the upstream's body with `sdk`, and the changes that make them."""

ENVELOPE: Mapping[str, str] = {
    "query": "`?beta=true` always; with `http` if the client sent it",
}
"""The rest of a request."""

HEADERS: Mapping[str, str] = {
    "accept": "the CLI's value; with `http` the client's",
    "accept-encoding": "the CLI's list; `http` has a different one",
    "anthropic-dangerous-direct-browser-access": "the CLI's value; with `http` the client's",
    "connection": "the CLI's value",
    "content-length": "the length of the respective body",
    "user-agent": "the CLI's value; with `http` the client's",
    "x-app": "the CLI's value; with `http` the client's",
    "x-claude-code-session-id": "the worker's id if the client sent none; with `http` the client's value",
    "x-client-request-id": "the CLI's value; with `http` the client's",
    "x-stainless-*": "the CLI's value; with `http` the client's",
}
"""Headers of an upstream request that differ."""


def header_may_differ(name: str) -> bool:
    """True for the names in HEADERS, whose last part may be `*`."""
    return any(re.fullmatch(pattern.replace("*", ".*"), name) for pattern in HEADERS)


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """end: how the answer ends with `sdk` and with `http`: its last event, or its status."""

    sdk: str
    http: str
    end: tuple[str, str]


_PASSED = "passed on unchanged"
_INVALID = "an error: invalid stream"
ANSWERS: Mapping[str, AnswerDifference] = {
    "`ping` events of the upstream": AnswerDifference("not passed on", _PASSED, ("message_stop", "message_stop")),
    "unknown events": AnswerDifference("not passed on", _PASSED, ("message_stop", "message_stop")),
    "block indices that repeat": AnswerDifference("renumbered", _PASSED, ("message_stop", "message_stop")),
    "block indices that do not begin at 0": AnswerDifference("renumbered", _PASSED, ("message_stop", "message_stop")),
    "anything after `message_stop`": AnswerDifference("not passed on", _PASSED, ("message_stop", "message_stop")),
    "an event that is invalid at its place": AnswerDifference(_INVALID, _PASSED, ("error", "message_stop")),
    "an event that is not JSON": AnswerDifference("an error: connection lost", _PASSED, ("error", "message_stop")),
    "events without `event` lines": AnswerDifference("a 502", _PASSED, ("502", "message_stop")),
    "a stream without `message_stop`": AnswerDifference(
        "completed", "an error: connection lost", ("message_stop", "error")
    ),
    "a stream without `message_delta`": AnswerDifference(_INVALID, "an error: connection lost", ("error", "error")),
    "an error without a readable body": AnswerDifference(
        "the upstream's status, with the CLI's message",
        "the upstream's status, with the gateway's message",
        ("any", "any"),
    ),
    "an answer that is not a Messages API answer": AnswerDifference(
        "a 502: connection lost", "a 502: not a Messages API answer", ("502", "502")
    ),
    "impossible token counts": AnswerDifference(
        "corrected in the answer too",
        "passed on; corrected only for the recorded usage",
        ("message_stop", "message_stop"),
    ),
}
"""Differences of the answer that the client of the Anthropic dialect gets."""
