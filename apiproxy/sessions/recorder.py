"""Session recorder: stores conversations in a background thread."""

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
from apiproxy.core.futures import awaitable
from apiproxy.core.message import MessageFold
from apiproxy.core.offload import offload
from apiproxy.core.turns import Turn
from apiproxy.db.batch_worker import BatchQueueFullError, BatchWorker
from apiproxy.db.worker_answer import answered_by
from apiproxy.limits.accounting import sums_of
from apiproxy.sessions.jobs import Conversation, DeleteResponse, Found, Job, Note, ReadHistory
from apiproxy.sessions.kept import MAX_BYTES, decode_within, from_json
from apiproxy.sessions.store import EVICT_EVERY_S, SessionStore

logger = logging.getLogger(__name__)

MODE_HEADER = "x-conversation-mode"
KEPT_HEADER = "x-conversation-messages"
"""Response header: number of stored messages put before the client's own."""
UNSTORED_HEADER = "x-conversation-unstored"
"""Response header: number of the conversation's answered turns that could not be stored; omitted if 0."""

APPEND, CONTINUE = "append", "continue"
RECALL_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
NOTE_TIMEOUT_S = 60.0
"""Time to retry a turn whose session is locked; after that it counts as not stored."""
STORE_TIMEOUT_S = 3.0
"""Time for which an unstreamed response waits for its own turn to be stored."""
_CANNOT_READ = "cannot read the conversation"
MAX_WAITING_BYTES = 5 * MAX_BYTES
"""Memory cap for bodies of pending turns; beyond it a turn is counted without its messages."""
_MAX_REMEMBERED = 10_000
"""Maximum turns whose result is kept for `headers`."""


@dataclass(frozen=True, slots=True)
class History:
    """Messages of a conversation up to its last answer, and their size as JSON."""

    messages: list[Any]
    size_bytes: int


class SessionRecorder:
    """Observer of runs, and access to stored conversations."""

    def __init__(self) -> None:
        self._worker: BatchWorker[Job] = BatchWorker("sessions", SessionStore(), tick_s=EVICT_EVERY_S)
        self._folds: dict[str, MessageFold] = {}
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._stored: OrderedDict[str, Future[int]] = OrderedDict()  # by turn id; result: unstored turns of its session
        self._lost: OrderedDict[Conversation, int] = OrderedDict()  # lost turns not yet counted in the session

    def on_event(self, turn: Turn, event: Event) -> None:
        """Collect the answer of a turn if it is to be stored; record the turn when it ends."""
        if turn.conversation_id is None or turn.caller.key_id is None:
            return
        if isinstance(event, Streamed):
            if _keeps(turn):
                self._folds.setdefault(turn.id, MessageFold()).add(event.events)
        elif isinstance(event, Finished | Failed | Cancelled):
            self._note(turn, turn.caller.key_id, turn.conversation_id, event)

    async def continued(self, turn: Turn, mode: str | None) -> Turn:
        """Return the turn with the stored messages of its conversation before its own.

        mode: value of MODE_HEADER. If nothing is stored, `append` starts a conversation and `continue` fails.
        Raises ProxyError: INVALID_REQUEST for an unknown mode, no conversation id, a key whose messages are not stored,
        and a stored response; NOT_FOUND for `continue`; TOO_LARGE above the API's limit or the key's quota;
        DATABASE_UNAVAILABLE if the database is unavailable.
        """
        if not mode:
            return turn
        if mode not in (APPEND, CONTINUE):
            raise _refused(f"{MODE_HEADER}: must be `{APPEND}` or `{CONTINUE}`.")
        if turn.conversation_id is None or turn.caller.key_id is None:
            raise _refused(f"{MODE_HEADER}: the request has no conversation id (`x-conversation-id`).")
        if not _keeps(turn):
            raise _refused(f"{MODE_HEADER}: messages of this API key are not stored.")
        conversation = turn.caller.key_id, turn.conversation_id
        found = await self._recall(turn.id, conversation, body_bytes=turn.body_bytes)
        unstored = found.unstored_turns + self._lost.get(conversation, 0)
        _require_quota(found.others_bytes + found.size_bytes + turn.body_bytes)
        if found.answer:
            raise _refused(f"{MODE_HEADER}: this is a stored response; continue it with `previous_response_id`.")
        if found.messages is None:
            if mode == CONTINUE:
                message = f"{MODE_HEADER}: no messages are stored for this conversation, or they have expired."
                raise ProxyError(FailureKind.NOT_FOUND, message, param=MODE_HEADER)
            return replace(turn, kept_messages=0, unstored_turns=unstored)
        own = turn.body["messages"]
        size_bytes = found.size_bytes + turn.body_bytes
        messages = await offload(size_bytes, decode_within, found.messages, own, turn.body_bytes)
        return replace(
            turn,
            body={**turn.body, "messages": [*messages, *own]},
            raw_body=None,
            body_bytes=size_bytes,
            kept_messages=len(messages),
            unstored_turns=unstored,
        )

    async def kept(
        self, key_id: int, conversation_id: str, *, request_id: str, beside: object = None, body_bytes: int = 0
    ) -> History | None:
        """Return the stored messages of a conversation up to its last answer; None without any.

        request_id: for the log. beside: messages to follow them; body_bytes: size of their body. Raises ProxyError:
        TOO_LARGE if both together exceed the API's limit or have too many values; DATABASE_UNAVAILABLE.
        """
        found = await self._recall(request_id, (key_id, conversation_id), body_bytes=body_bytes)
        if found.messages is None:
            return None
        messages = await offload(found.size_bytes + body_bytes, decode_within, found.messages, beside, body_bytes)
        return History(messages, found.size_bytes)

    async def answer(self, key_id: int, conversation_id: str, *, request_id: str) -> dict[str, Any] | None:
        """Return a stored response; None if it does not exist.

        Its `message` is the upstream's, its `form` the dialect's.
        Raises ProxyError (DATABASE_UNAVAILABLE).
        """
        found = await self._recall(request_id, (key_id, conversation_id))
        return await offload(len(found.answer), from_json, found.answer) if found.answer else None

    async def require_room(self, key_id: int, *, body_bytes: int, request_id: str) -> None:
        """Raise ProxyError: TOO_LARGE if the body exceeds the key's quota; DATABASE_UNAVAILABLE."""
        found = await self._recall(request_id, (key_id, ""))
        _require_quota(found.others_bytes + body_bytes)

    async def headers(self, turn: Turn) -> dict[str, str]:
        """Response headers about stored messages; empty if the request did not use them.

        For an unstreamed response this waits until its own turn is stored, at most STORE_TIMEOUT_S.
        """
        headers = {} if turn.kept_messages is None else {KEPT_HEADER: str(turn.kept_messages)}
        stored, unstored, pending = self._stored.pop(turn.id, None), turn.unstored_turns, ""
        if stored is not None:
            done, _ = await asyncio.wait((awaitable(stored),), timeout=STORE_TIMEOUT_S)
            if not done:
                pending = "; pending"
            elif stored.cancelled() or stored.exception() is not None:
                unstored += 1
            else:
                unstored = stored.result()
        return {**headers, UNSTORED_HEADER: f"{unstored}{pending}"} if unstored or pending else headers

    async def forget(self, key_id: int, conversation_id: str, *, request_id: str) -> bool:
        """Delete a key's stored response; False if there is none. Raises ProxyError (DATABASE_UNAVAILABLE)."""
        return bool(await self._ask(request_id, DeleteResponse(key_id, conversation_id)))

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Wait until all turns that have ended are in the database; False on timeout."""
        return await asyncio.to_thread(self._worker.flush, timeout_s)

    async def stop(self) -> None:
        """Write the remaining turns and end the thread."""
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
            done = self._worker.call(note, urgent=note.store, timeout_s=NOTE_TIMEOUT_S)
        except BatchQueueFullError as error:
            done = Future()
            done.set_exception(error)
        done.add_done_callback(lambda done: self._noted(turn.id, note, done, turn.body_bytes if room else 0))
        if note.message is not None and _is_asked_to_keep(turn) and not turn.stream:
            self._stored[turn.id] = done
            if len(self._stored) > _MAX_REMEMBERED:  # turns whose clients disconnected never read it
                self._stored.popitem(last=False)

    def _noted(self, turn_id: str, note: Note, done: "Future[int]", size_bytes: int) -> None:
        """Called in any thread. A lost turn is reported with the next note of its conversation."""
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
        """Read the stored messages; raises ProxyError (TOO_LARGE) if they and the body exceed the API's limit."""
        room_bytes = max(0, MAX_BYTES - body_bytes)
        found: Found = await self._ask(request_id, ReadHistory(*conversation, room_bytes))
        if found.messages is None and found.size_bytes:
            message = f"The stored messages ({found.size_bytes} bytes) and the request exceed {MAX_BYTES} bytes"
            raise ProxyError(FailureKind.TOO_LARGE, message)
        return found

    async def _ask(self, request_id: str, job: ReadHistory | DeleteResponse) -> Any:
        return await answered_by(
            self._worker,
            job,
            within_s=RECALL_TIMEOUT_S,
            cannot=_CANNOT_READ,
            event="session.unknown",
            request_id=request_id,
        )


def _keeps(turn: Turn) -> bool:
    return turn.caller.store_bodies and gateway_settings().sessions.store


def _is_asked_to_keep(turn: Turn) -> bool:
    """True if the client asked to store the turn; others are stored if the key says so."""
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
