"""Parsed requests: immutable values created by a dialect's parser."""

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from apiproxy.core.agents import AgentSpec

DialectName = Literal["anthropic", "openai"]
EngineName = Literal["sdk", "http", "agents"]
ENGINES: tuple[EngineName, ...] = ("sdk", "http")
"""Engines that the settings and models may name. `agents` answers for agents only."""

DEFAULT_API_VERSION = "2023-06-01"
"""`anthropic-version` of requests that name none."""

_BASE62 = string.digits + string.ascii_letters
_ID_LENGTH = 24

MAX_TOKENS_LIMIT = 10_000_000
"""Upper bound of `max_tokens`: above any model's limit; sums do not overflow."""


def new_id(prefix: str) -> str:
    """Random id in the API's format.

    A prefix (`req_`, `msg_`, `chatcmpl-`) and 24 base62 characters.
    """
    return prefix + "".join(_BASE62[byte % len(_BASE62)] for byte in secrets.token_bytes(_ID_LENGTH))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Client of a request.

    key_id, key_label: copied from the API key. priority: lower values are served first.
    """

    key_id: int | None
    key_label: str
    client_ip: str = ""
    user_agent: str = ""
    priority: int = 0
    store_bodies: bool = False


@dataclass(slots=True)
class RawBody:
    """A received body, until it is dropped: a turn lives longer than its body is needed."""

    data: bytes = field(repr=False)

    def drop(self) -> None:
        """Free the memory, once no attempt to answer can follow."""
        self.data = b""


@dataclass(frozen=True, slots=True)
class Asked:
    """New part of a conversation: messages, and system blocks that were among them."""

    messages: Sequence[Mapping[str, Any]] = ()
    system: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Parts of this turn that the client's next requests may need; see `answers.recent.RecentAnswers`.

    seal_key: of the client (`Principal`). calls_only: keep the answer only if it has tool calls. form: the dialect's
    data about the answer, as JSON data. rewrite: makes the message as the client sees it. asked: messages and system
    blocks that were new in this request, to continue the conversation without them; None if it cannot be continued so.
    before: ids of the earlier answers that it continued, oldest first.
    """

    seal_key: bytes = field(repr=False)
    calls_only: bool = False
    form: Mapping[str, Any] | None = field(default=None, repr=False)
    rewrite: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    asked: Asked | None = field(default=None, repr=False)
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A request in any dialect.

    id: also the run's, the trace's and the `request-id` header. body: a Messages API body with `max_tokens` set;
    other dialects are translated into it. model: id after alias resolution. requested_model: as sent by the client.
    betas: values of `anthropic-beta`. received_at: Unix time in seconds. body_bytes: size of the received body.
    kept_messages: number of stored messages prepended to the client's, None if not requested. unstored_turns: answered
    turns of the conversation that could not be stored. form: data the dialect needs to render a stored answer again.
    engine: the engine that answers. upstream_model: sent to the upstream in place of `model`; empty for the same.
    raw_body: the received body, while `body` is the same except for a default `max_tokens`; None if the engine does not
    need it. verbatim: the client gets the upstream's bytes where the engine has them. api_version: `anthropic-version`.
    headers: other headers of the client that go to the upstream, by lower-case name. beta_api: sent with `?beta=true`.
    keeping: None if nothing of the answer is kept for later requests. agent: if `model` names one.
    lists_tools: the answer of an agent begins with `mcp_tool_listing` blocks, one for each of its servers.
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
    engine: EngineName = "sdk"
    upstream_model: str = ""
    raw_body: RawBody | None = None
    verbatim: bool = False
    api_version: str = DEFAULT_API_VERSION
    headers: Mapping[str, str] = field(default_factory=dict)
    beta_api: bool = False
    keeping: Keeping | None = None
    agent: AgentSpec | None = None
    lists_tools: bool = False
