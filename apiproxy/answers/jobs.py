"""Jobs and results of the store of recent answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apiproxy.core.turns import Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Store an answer."""

    key_id: int
    model: str
    message: Mapping[str, Any] = field(repr=False)
    keeping: Keeping = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renew:
    """Move the expiry of answers that were used."""

    answer_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete an answer. The result is False if there is none."""

    key_id: int
    name: UUID


WriterJob = Write | Renew | Forget


@dataclass(frozen=True, slots=True)
class Find:
    """Read answers by name, those named first preferred.

    The result is a `Found`. room_bytes: limit for the sum of their sizes.
    """

    key_id: int
    names: tuple[UUID, ...]
    room_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """Answers as stored.

    answers: id of the answer, by name. sealed: by id; those that exceed the room are missing. due: ids of the answers
    whose expiry should be renewed.
    """

    answers: Mapping[UUID, int] = field(default_factory=dict)
    sealed: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    due: tuple[int, ...] = ()
