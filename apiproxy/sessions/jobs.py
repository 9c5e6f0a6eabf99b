"""What the session store is asked, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiproxy.db.jobs import Later
from apiproxy.limits.usage import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A turn of a conversation has ended.

    messages is None where the body was too much to compare. message: the upstream's whole answer, where it is to be
    kept (`store`) and there is one; form: `Turn.form`. lost: earlier turns that could not be kept, and are not counted
    in the session yet.
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
class Recall:
    """Asks for the kept messages of a conversation; the answer is a `Found`. None larger than room_bytes are read."""

    key_id: int
    conversation_id: str
    room_bytes: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Deletes a kept conversation that is a stored response; the answer is whether there was one."""

    key_id: int
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept of a conversation up to its last answer.

    messages: as `kept.decode` reads them; None where there are none, or more bytes (size_bytes) than there was room
    for. answer: of a stored response, the JSON of `message` (the upstream's) and `form` (the dialect's); empty
    otherwise. others_bytes: what is kept of the key's other conversations. unstored_turns: see `Session`.
    """

    messages: bytes | None = field(default=None, repr=False)
    size_bytes: int = 0
    answer: bytes = field(default=b"", repr=False)
    others_bytes: int = 0
    unstored_turns: int = 0


Job = Note | Recall | Forget
Answer = Found | bool | int | Later
Conversation = tuple[int, str]
