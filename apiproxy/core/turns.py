"""What a client asked: values without behaviour, made by a dialect's parser and never changed afterwards."""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DialectName = Literal["anthropic", "openai"]

_BASE62 = string.digits + string.ascii_letters
_ID_LENGTH = 24

MOST_MAX_TOKENS = 10_000_000
"""The largest `max_tokens` that a dialect accepts: far above any model's, and small enough for every sum of it."""


def new_id(prefix: str) -> str:
    """An id that looks like the real API's: prefix (`req_`, `msg_`, `chatcmpl-`) and 24 random base62 characters."""
    return prefix + "".join(_BASE62[byte % len(_BASE62)] for byte in secrets.token_bytes(_ID_LENGTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asked. key_id and key_label are copied from the API key's row; priority: the lower, the sooner served."""

    key_id: int | None
    key_label: str
    client_ip: str = ""
    user_agent: str = ""
    priority: int = 0
    store_bodies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request, whatever dialect it came in.

    id is the run's, the trace's and the `request-id` header. body is a body of the Anthropic Messages API as the
    client sent it (the canonical form; another dialect's parser translates into it) with `max_tokens` filled in.
    model is the id after aliases, requested_model the client's own word. betas are the values of `anthropic-beta`.
    received_at is Unix time in seconds; body_bytes the size of the body as it came. kept_messages: how many of the
    body's messages the gateway itself put before the client's, None where it was not asked to; unstored_turns: how
    many answered turns of the conversation could not be kept. form: what the dialect
    needs to write the answer once more, if that is kept.
    """

    id: str
    dialect: DialectName
    body: Mapping[str, Any]
    model: str
    requested_model: str
    stream: bool
    caller: Caller
    received_at: float
    body_bytes: int
    betas: tuple[str, ...] = ()
    conversation_id: str | None = None
    traceparent: str | None = None
    kept_messages: int | None = None
    unstored_turns: int = 0
    form: Mapping[str, Any] | None = None
