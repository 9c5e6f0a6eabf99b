"""Follows runs and brings their sessions up to date, in a thread of its own: nothing of it delays an answer."""

import asyncio
import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.events import Cancelled, Ending, Event, Failed, Finished, Streamed
from apiproxy.core.message import MessageFold
from apiproxy.core.offload import offload
from apiproxy.core.turns import Turn
from apiproxy.db.batch_worker import BatchQueueFullError, BatchWorker
from apiproxy.db.guarded_query import DatabaseAwayError
from apiproxy.limits.accounting import sums_of
from apiproxy.sessions.jobs import Conversation, Forget, Found, Job, Note, Recall
from apiproxy.sessions.kept import MAX_BYTES, decode_within, from_json
from apiproxy.sessions.store import EVICT_EVERY_S, SessionStore

logger = logging.getLogger(__name__)

MODE_HEADER = "x-conversation-mode"
KEPT_HEADER = "x-conversation-messages"
"""Of an answer: how many kept messages stood before the client's own."""
UNSTORED_HEADER = "x-conversation-unstored"
"""Of an answer: how many of the conversation's answered turns could not be kept; left out where that is none."""

APPEND, CONTINUE = "append", "continue"
RECALL_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
NOTE_PATIENCE_S = 60.0
"""How long a turn of a conversation waits that somebody else has locked; then it counts as one that was not kept."""
STORE_TIMEOUT_S = 3.0
"""How long an answer that is not streamed waits to say whether it was kept."""
_CANNOT_READ = "the conversation cannot be read"
MAX_WAITING_BYTES = 5 * MAX_BYTES
"""Bodies that may wait to be compared; above it a turn is counted, and its messages are not looked at."""
_MAX_REMEMBERED = 10_000
"""Turns whose fate is remembered until somebody asks."""


@dataclass(frozen=True, slots=True)
class History:
    """The messages of a conversation up to its last answer, and how many bytes they are as JSON."""

    messages: list[Any]
    size_bytes: int


class SessionRecorder:
    """An `observers.Observer`, and the way to a conversation's kept messages."""

    def __init__(self) -> None:
        self._worker: BatchWorker[Job] = BatchWorker("sessions", SessionStore(), tick_s=EVICT_EVERY_S)
        self._folds: dict[str, MessageFold] = {}
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._stored: OrderedDict[str, Future[int]] = OrderedDict()  # turn id: unstored turns once it is kept or not
        self._lost: OrderedDict[Conversation, int] = OrderedDict()  # turns that the session itself does not tell of

    def on_event(self, turn: Turn, event: Event) -> None:
        """Notes how a turn of a conversation ended; collects its answer where that is to be kept."""
        if turn.conversation_id is None or turn.caller.key_id is None:
            return
        if isinstance(event, Streamed):
            if _keeps(turn):
                self._folds.setdefault(turn.id, MessageFold()).add(event.events)
        elif isinstance(event, Finished | Failed | Cancelled):
            self._note(turn, turn.caller.key_id, turn.conversation_id, event)

    async def continued(self, turn: Turn, mode: str | None) -> Turn:
        """The turn as it is to be run: in both modes what is kept of its conversation stands before its messages.

        mode is the value of MODE_HEADER: with `append` a conversation of which nothing is kept begins, with `continue`
        that is refused. Raises ProxyError: INVALID_REQUEST for another mode, for no conversation id, where messages
        are not kept, and for a stored response; NOT_FOUND for `continue`; TOO_LARGE where the API's limit or the key's
        quota would be passed; DATABASE_AWAY where the database does not answer.
        """
        if not mode:
            return turn
        if mode not in (APPEND, CONTINUE):
            raise _refused(f"{MODE_HEADER}: only `{APPEND}` and `{CONTINUE}` are known.")
        if turn.conversation_id is None or turn.caller.key_id is None:
            raise _refused(f"{MODE_HEADER}: the request names no conversation (`x-conversation-id`).")
        if not _keeps(turn):
            raise _refused(f"{MODE_HEADER}: this gateway keeps no messages for this API key.")
        conversation = turn.caller.key_id, turn.conversation_id
        found = await self._recall(turn.id, conversation, body_bytes=turn.body_bytes)
        unstored = found.unstored_turns + self._lost.get(conversation, 0)
        _require_quota(found.others_bytes + found.size_bytes + turn.body_bytes)
        if found.answer:
            raise _refused(f"{MODE_HEADER}: this is a stored response; `previous_response_id` goes on from it.")
        if found.messages is None:
            if mode == CONTINUE:
                message = f"{MODE_HEADER}: nothing is kept of this conversation, or its time is over."
                raise ProxyError(FailureKind.NOT_FOUND, message, param=MODE_HEADER)
            return replace(turn, kept_messages=0, unstored_turns=unstored)
        own = turn.body["messages"]
        size_bytes = found.size_bytes + turn.body_bytes
        messages = await offload(size_bytes, decode_within, found.messages, own, turn.body_bytes)
        return replace(
            turn,
            body={**turn.body, "messages": [*messages, *own]},
            body_bytes=size_bytes,
            kept_messages=len(messages),
            unstored_turns=unstored,
        )

    async def kept(
        self, key_id: int, conversation_id: str, *, request_id: str, beside: object = None, body_bytes: int = 0
    ) -> History | None:
        """What is kept of a key's conversation, up to its last answer; None for nothing. request_id: for the log.

        beside: what is to follow it, of a body of so many bytes. Raises ProxyError: TOO_LARGE where both are more than
        the API takes, or have too many values; DATABASE_AWAY where the database does not answer.
        """
        found = await self._recall(request_id, (key_id, conversation_id), body_bytes=body_bytes)
        if found.messages is None:
            return None
        messages = await offload(found.size_bytes + body_bytes, decode_within, found.messages, beside, body_bytes)
        return History(messages, found.size_bytes)

    async def answer(self, key_id: int, conversation_id: str, *, request_id: str) -> dict[str, Any] | None:
        """Of a key's stored response, `message` (the upstream's) and `form` (the dialect's); None where there is none.

        Raises ProxyError (DATABASE_AWAY) where the database does not answer.
        """
        found = await self._recall(request_id, (key_id, conversation_id))
        return await offload(len(found.answer), from_json, found.answer) if found.answer else None

    async def require_room(self, key_id: int, *, body_bytes: int, request_id: str) -> None:
        """Raises ProxyError: TOO_LARGE where the key's quota has no room for so much; DATABASE_AWAY."""
        found = await self._recall(request_id, (key_id, ""))
        _require_quota(found.others_bytes + body_bytes)

    async def headers(self, turn: Turn) -> dict[str, str]:
        """What an answer says of the kept messages, once it has begun; nothing where they were not asked for.

        Where the answer is complete, its own turn counts; this waits until it is kept, for a limited time.
        """
        headers = {} if turn.kept_messages is None else {KEPT_HEADER: str(turn.kept_messages)}
        stored, unstored, pending = self._stored.pop(turn.id, None), turn.unstored_turns, ""
        if stored is not None:
            done, _ = await asyncio.wait((_awaitable(stored),), timeout=STORE_TIMEOUT_S)
            if not done:
                pending = "; pending"
            elif stored.cancelled() or stored.exception() is not None:
                unstored += 1
            else:
                unstored = stored.result()
        return {**headers, UNSTORED_HEADER: f"{unstored}{pending}"} if unstored or pending else headers

    async def forget(self, key_id: int, conversation_id: str, *, request_id: str) -> bool:
        """Deletes a key's stored response; False where there is none. Raises what `kept` does."""
        return bool(await self._ask(request_id, Forget(key_id, conversation_id)))

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Waits until all that ended so far is in the database; False where that took too long."""
        return await asyncio.to_thread(self._worker.flush, timeout_s)

    async def stop(self) -> None:
        """Writes what is left and ends the thread."""
        await asyncio.to_thread(self._worker.stop, STOP_TIMEOUT_S)

    def _note(self, turn: Turn, key_id: int, conversation_id: str, ending: Ending) -> None:
        fold = self._folds.pop(turn.id, None)
        messages = turn.body.get("messages")
        conversation = key_id, conversation_id
        with self._lock:
            room = self._waiting_bytes + turn.body_bytes <= MAX_WAITING_BYTES
            self._waiting_bytes += turn.body_bytes if room else 0
            lost = self._lost.pop(conversation, 0)
        note = Note(
            key_id=key_id,
            key_label=turn.caller.key_label,
            conversation_id=conversation_id,
            dialect=turn.dialect,
            model=turn.model,
            received_at=turn.received_at,
            sums=sums_of(ending),
            messages=messages if room and isinstance(messages, list) else None,
            message=fold.message if fold is not None and isinstance(ending, Finished) else None,
            form=turn.form,
            store=fold is not None,
            lost=lost,
        )
        try:
            done = self._worker.call(note, urgent=note.store, timeout_s=NOTE_PATIENCE_S)
        except BatchQueueFullError as error:
            done = Future()
            done.set_exception(error)
        done.add_done_callback(lambda done: self._noted(turn.id, note, done, turn.body_bytes if room else 0))
        if note.message is not None and _is_asked_to_keep(turn) and not turn.stream:
            self._stored[turn.id] = done
            if len(self._stored) > _MAX_REMEMBERED:  # whose clients left
                self._stored.popitem(last=False)

    def _noted(self, turn_id: str, note: Note, done: "Future[int]", size_bytes: int) -> None:
        """Called in whatever thread; what could not be written is told by the next note of the conversation."""
        with self._lock:
            self._waiting_bytes -= size_bytes
            if not done.cancelled() and done.exception() is None:
                return
            lost = note.lost + (note.store and note.message is not None)
            if lost:
                conversation = note.key_id, note.conversation_id
                self._lost[conversation] = self._lost.get(conversation, 0) + lost
                if len(self._lost) > _MAX_REMEMBERED:
                    self._lost.popitem(last=False)
        logger.error("session.dropped", extra={"reqId": turn_id})

    async def _recall(self, request_id: str, conversation: Conversation, *, body_bytes: int = 0) -> Found:
        """What is kept; raises ProxyError (TOO_LARGE) where it and the body are more than the API takes."""
        room_bytes = max(0, MAX_BYTES - body_bytes)
        found: Found = await self._ask(request_id, Recall(*conversation, room_bytes))
        if found.messages is None and found.size_bytes:
            message = f"The kept messages ({found.size_bytes} bytes) and the request exceed {MAX_BYTES} bytes"
            raise ProxyError(FailureKind.TOO_LARGE, message)
        return found

    async def _ask(self, request_id: str, job: Recall | Forget) -> Any:
        if self._worker.failing:
            raise DatabaseAwayError(_CANNOT_READ)
        try:
            answer: Future[Any] = self._worker.call(job, timeout_s=RECALL_TIMEOUT_S)
            async with asyncio.timeout(RECALL_TIMEOUT_S):
                # Shielded: the desk's thread ends on an answer to a question that was cancelled meanwhile.
                return await asyncio.shield(_awaitable(answer))
        except (BatchQueueFullError, TimeoutError) as error:
            raise DatabaseAwayError(_CANNOT_READ) from error
        except Exception as error:  # whatever the database raises: without the history the answer would be wrong
            logger.warning("session.unknown", extra={"reqId": request_id}, exc_info=error)
            raise DatabaseAwayError(_CANNOT_READ) from error


def _awaitable(answer: "Future[Any]") -> "asyncio.Future[Any]":
    """The answer for this loop; that an error of it comes when nobody waits any more is not worth a warning."""
    wrapped = asyncio.wrap_future(answer)
    wrapped.add_done_callback(_retrieve)
    return wrapped


def _retrieve(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()


def _keeps(turn: Turn) -> bool:
    return turn.caller.store_bodies and gateway_settings().sessions.store


def _is_asked_to_keep(turn: Turn) -> bool:
    """Whether the client itself wants the turn kept; a key that stores bodies keeps other turns too."""
    return turn.kept_messages is not None or turn.form is not None


def _require_quota(stored_bytes: int) -> None:
    quota = gateway_settings().sessions.bytes_per_key
    if stored_bytes > quota:
        message = (
            f"The stored conversations of this API key would take {stored_bytes} of {quota} bytes: "
            "delete some (DELETE /sessions/{id})"
        )
        raise ProxyError(FailureKind.TOO_LARGE, message)


def _refused(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, message, param=MODE_HEADER)


recorder = SessionRecorder()
"""The recorder of this process."""
