"""Recent answers: written when a run ends, found by the ids that clients send in their next requests."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apiproxy.answers.jobs import Find, Forget, Found, Renew, Write, WriterJob
from apiproxy.answers.kept import NOTHING, KeptAnswer, Recalled, answer_identifier, decode, identifiers_of
from apiproxy.answers.store import TICK_S, AnswerReader, AnswerWriter
from apiproxy.core.errors import ProxyError
from apiproxy.core.events import Cancelled, Event, Failed, Finished, Streamed
from apiproxy.core.json_values import ValueBudget
from apiproxy.core.message import MessageFold
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.sealing import Seal
from apiproxy.core.turns import Turn
from apiproxy.db.batch_worker import BatchQueueFullError, BatchWorker
from apiproxy.db.worker_answer import answered_by

logger = logging.getLogger(__name__)

MAX_IDENTIFIERS = 1_000
"""Identifiers looked up for one request."""
MAX_WAITING = 2_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Memory cap for answers that wait to be written; beyond it an answer is not stored."""
READ_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
_WRITE_WAIT_S = 1.0
"""Maximum wait of a request for an answer that this process is still writing."""
_RETRY_S = (0.05, 0.15, 0.4)
"""Pauses before an answer that a request needs is looked for again: another process may be writing it."""
_CANNOT_READ = "cannot read the answers that the request refers to"
_DELTA_TEXTS = ("text", "partial_json", "thinking", "signature")


@dataclass(slots=True)
class _Collected:
    """Answer of a run so far. chars: length of its texts."""

    fold: MessageFold = field(default_factory=MessageFold)
    chars: int = 0

    def add(self, event: Streamed) -> None:
        self.fold.add(event.events)
        for it in event.events:
            if it["type"] == "content_block_delta":
                self.chars += sum(len(it["delta"].get(name) or "") for name in _DELTA_TEXTS)


class RecentAnswers:
    """Observer of runs whose turn has `keeping`, and access to their answers. Used on one event loop."""

    def __init__(self) -> None:
        self._writer: BatchWorker[WriterJob] = BatchWorker(
            "answers", AnswerWriter(), tick_s=TICK_S, max_pending=MAX_WAITING
        )
        self._reader: BatchWorker[Find] = BatchWorker("answer reads", AnswerReader(), linger_s=0.0)
        self._collected: dict[str, _Collected] = {}
        self._writing: dict[tuple[int, str], Future[Any]] = {}  # by key and identifier
        self._waiting_bytes = 0
        self.not_stored = 0
        """Answers that were too large, or more than could be written."""

    async def start(self) -> None:
        """Start the writer, which deletes what has expired."""
        self._writer.start()

    def on_event(self, turn: Turn, event: Event) -> None:
        if turn.keeping is None or turn.caller.key_id is None:
            return
        if isinstance(event, Streamed):
            self._collected.setdefault(turn.id, _Collected()).add(event)
        elif isinstance(event, Finished | Failed | Cancelled):
            collected = self._collected.pop(turn.id, None)
            if collected is not None and isinstance(event, Finished):
                self._write(turn, turn.caller.key_id, collected)

    async def find(
        self,
        principal: Principal,
        identifiers: Sequence[str],
        *,
        needed: Collection[str] = (),
        hoped: str | None = None,
        room_bytes: int,
        request_id: str,
    ) -> Recalled:
        """Return the key's answers with these identifiers.

        At most `MAX_IDENTIFIERS` are considered; those named first are preferred.
        needed: identifiers to wait for a moment, as another process may be writing their answer; hoped: one to wait for
        a shorter moment. room_bytes: limit for the sum of the answers' sizes. Raises DatabaseUnavailableError;
        ProxyError (INVALID_REQUEST) for answers with too many JSON values.
        """
        if not identifiers or not principal.seal_key:
            return NOTHING
        await self._wait_for_own_writes(principal.key_id, identifiers)
        seal = Seal(principal.seal_key, principal.key_id)
        names = {seal.name(identifier): identifier for identifier in identifiers[:MAX_IDENTIFIERS]}
        found = await self._read(Find(principal.key_id, tuple(names), room_bytes), request_id)
        for pause_s in _RETRY_S:
            missing = {*needed, hoped} - {names[name] for name in found.answers} - {None}
            if not missing or (missing == {hoped} and pause_s > _RETRY_S[0]):
                break
            await asyncio.sleep(pause_s)
            found = await self._read(Find(principal.key_id, tuple(names), room_bytes), request_id)
        if found.due:
            self._writer.submit(Renew(found.due))
        size_bytes = sum(map(len, found.sealed.values()))
        return await offload(size_bytes, _opened, seal, names, found, size_bytes)

    async def forget(self, principal: Principal, answer_id: str, *, request_id: str) -> bool:
        """Delete an answer of the key; False if there is none. Raises DatabaseUnavailableError."""
        if not principal.seal_key:
            return False
        name = Seal(principal.seal_key, principal.key_id).name(answer_identifier(answer_id))
        return bool(await self._ask(self._writer, Forget(principal.key_id, name), request_id))

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Wait until the answers of all runs that have ended are in the database; False on timeout."""
        return await asyncio.to_thread(self._writer.flush, timeout_s)

    async def stop(self) -> None:
        """Write the remaining answers and end the threads."""
        await asyncio.to_thread(self._writer.stop, STOP_TIMEOUT_S)
        await asyncio.to_thread(self._reader.stop, 0.0)

    def _write(self, turn: Turn, key_id: int, collected: _Collected) -> None:
        keeping = turn.keeping
        assert keeping is not None
        message: Mapping[str, Any] = collected.fold.message
        if message.get("content") and keeping.rewrite is not None:
            message = keeping.rewrite(message)
        if not message.get("content") or (keeping.calls_only and not _has_calls(message)):
            return
        size_bytes = collected.chars + (turn.body_bytes if keeping.asked is not None else 0)
        if self._waiting_bytes + size_bytes > MAX_WAITING_BYTES:
            self._count_not_stored("too many answers wait to be written")
            return
        job = Write(key_id=key_id, model=turn.model, message=message, keeping=keeping)
        try:
            done = self._writer.call(job)
        except BatchQueueFullError:
            self._count_not_stored("queue full")
            return
        self._waiting_bytes += size_bytes
        identifiers = [(key_id, identifier) for identifier in identifiers_of(message)]
        self._writing.update(dict.fromkeys(identifiers, done))
        wrapped = asyncio.wrap_future(done)
        wrapped.add_done_callback(lambda it: self._on_written(done, it, identifiers, size_bytes))

    def _on_written(
        self,
        done: "Future[Any]",
        wrapped: "asyncio.Future[Any]",
        identifiers: Sequence[tuple[int, str]],
        size_bytes: int,
    ) -> None:
        self._waiting_bytes -= size_bytes
        for identifier in identifiers:
            if self._writing.get(identifier) is done:
                del self._writing[identifier]
        if wrapped.cancelled() or wrapped.exception() is not None:
            self._count_not_stored("the database failed")
        elif not wrapped.result():
            self._count_not_stored("too large")

    def _count_not_stored(self, why: str) -> None:
        self.not_stored += 1
        logger.warning("answer.not_stored", extra={"count": self.not_stored, "why": why})

    async def _wait_for_own_writes(self, key_id: int, identifiers: Sequence[str]) -> None:
        writing = {done for it in identifiers if (done := self._writing.get((key_id, it))) is not None}
        if writing:
            await asyncio.wait([asyncio.wrap_future(done) for done in writing], timeout=_WRITE_WAIT_S)

    async def _read(self, job: Find, request_id: str) -> Found:
        found: Found = await self._ask(self._reader, job, request_id)
        return found

    async def _ask(self, worker: "BatchWorker[Any]", job: Find | Forget, request_id: str) -> Any:
        return await answered_by(
            worker, job, within_s=READ_TIMEOUT_S, cannot=_CANNOT_READ, event="answer.unknown", request_id=request_id
        )


def _has_calls(message: Mapping[str, Any]) -> bool:
    return any(block["type"] == "tool_use" for block in message["content"])


def _opened(seal: Seal, names: Mapping[UUID, str], found: Found, size_bytes: int) -> Recalled:
    values = ValueBudget()
    opened = {answer_id: _open(seal, sealed, values) for answer_id, sealed in found.sealed.items()}
    answers: dict[str, KeptAnswer] = {}
    for name, answer_id in found.answers.items():
        answer = opened.get(answer_id)
        # Rows may have been exchanged by whoever can write to the database.
        if answer is not None and names[name] in identifiers_of(answer.message):
            answers[names[name]] = answer
    too_large = {names[name] for name, answer_id in found.answers.items() if answer_id not in found.sealed}
    return Recalled(answers, frozenset(too_large), size_bytes)


def _open(seal: Seal, sealed: bytes, values: ValueBudget) -> KeptAnswer | None:
    """Decrypt and decode an answer; None if the row is not one that this key has written."""
    opened = seal.open(sealed)
    if opened is None:
        logger.warning("answer.unreadable")
        return None
    name, data = opened
    try:
        answer = decode(data, values)
        bound = seal.name(answer_identifier(answer.message["id"]))
    except ProxyError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning("answer.unreadable", exc_info=True)
        return None
    return answer if bound == name else None
