"""Jobs and results of the session store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.db.jobs import Later
from apiproxy.limits.usage import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Record a turn that has ended. The result is `Session.unstored_turns`.

    messages: None if too many bodies were pending. message: the upstream's complete answer, if there is one and it is
    to be stored (`store`). form: `Turn.form`. lost: earlier turns that could not be stored and are not yet counted in
    the session.
    """

    key_id: int
    key_label: str
    conversation_id: str
    dialect: str
    model: str
    received_at: float
    sums: Sums
    messages: Sequence[Any] | None = field(repr=False)
    message: Mapping[str, Any] | None = field(default=None, repr=False)
    form: Mapping[str, Any] | None = field(default=None, repr=False)
    store: bool = False
    lost: int = 0


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Read the stored messages, at most room_bytes. The result is a `Found`."""

    key_id: int
    conversation_id: str
    room_bytes: int


@dataclass(frozen=True, slots=True)
class DeleteResponse:
    """Delete a stored response. The result is False if there is none."""

    key_id: int
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """Stored messages of a conversation up to its last answer.

    messages: input of `kept.decode`; None if there are none or their size (size_bytes) exceeds the limit. answer: for
    a stored response, JSON with `message` (the upstream's) and `form` (the dialect's); else empty. others_bytes:
    stored size of the key's other conversations. unstored_turns: see `Session`.
    """

    messages: bytes | None = field(default=None, repr=False)
    size_bytes: int = 0
    answer: bytes = field(default=b"", repr=False)
    others_bytes: int = 0
    unstored_turns: int = 0


Job = Note | ReadHistory | DeleteResponse
Answer = Found | bool | int | Later
Conversation = tuple[int, str]
