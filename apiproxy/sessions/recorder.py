"""Follows runs and brings their sessions up to date, in a thread of its own: nothing of it delays an answer."""

import asyncio
import logging
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from apiproxy.bookkeeper import sums_of
from apiproxy.conf import gateway_settings
from apiproxy.desk import Desk, DeskFullError
from apiproxy.errors import FailureKind, ProxyError
from apiproxy.events import Cancelled, Ending, Event, Failed, Finished, Streamed
from apiproxy.lookup import DatabaseAwayError
from apiproxy.sessions.store import EVICT_EVERY_S, Forget, History, Job, Note, Recall, SessionStore
from apiproxy.turns import Turn
from apiproxy.wire.fold import MessageFold

logger = logging.getLogger(__name__)

MODE_HEADER = "x-conversation-mode"
KEPT_HEADER = "x-conversation-messages"
"""Of an answer: how many kept messages stood before the client's own."""

APPEND, CONTINUE = "append", "continue"
RECALL_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
_CANNOT_READ = "the conversation cannot be read"
MAX_BODY_BYTES = 64 * 2**20
"""Bodies that may wait to be compared; above it a turn is counted, and its messages are not looked at."""


class SessionRecorder:
    """An `observers.Observer`, and the way to a conversation's kept messages."""

    def __init__(self) -> None:
        self._desk: Desk[Job] = Desk("sessions", SessionStore(), tick_s=EVICT_EVERY_S)
        self._folds: dict[str, MessageFold] = {}
        self._lock = threading.Lock()
        self._waiting_bytes = 0

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
        that is refused. Raises ProxyError: INVALID_REQUEST for another mode, for no conversation id, and where messages
        are not kept; NOT_FOUND for `continue`; DATABASE_AWAY where the database does not answer.
        """
        if not mode:
            return turn
        if mode not in (APPEND, CONTINUE):
            raise _refused(f"{MODE_HEADER}: only `{APPEND}` and `{CONTINUE}` are known.")
        if turn.conversation_id is None or turn.caller.key_id is None:
            raise _refused(f"{MODE_HEADER}: the request names no conversation (`x-conversation-id`).")
        if not _keeps(turn):
            raise _refused(f"{MODE_HEADER}: this gateway keeps no messages for this API key.")
        history = await self._recall(turn.id, Recall(turn.caller.key_id, turn.conversation_id))
        if history is None:
            if mode == CONTINUE:
                message = f"{MODE_HEADER}: nothing is kept of this conversation, or its time is over."
                raise ProxyError(FailureKind.NOT_FOUND, message, param=MODE_HEADER)
            return replace(turn, kept_messages=0)
        messages = [*history.messages, *turn.body["messages"]]
        return replace(
            turn,
            body={**turn.body, "messages": messages},
            body_bytes=turn.body_bytes + history.size_bytes,
            kept_messages=len(history.messages),
        )

    async def kept(self, key_id: int, conversation_id: str, *, request_id: str) -> History | None:
        """What is kept of a key's conversation, up to its last answer; None for nothing. request_id: for the log.

        Raises DatabaseAwayError where the database does not answer.
        """
        return await self._recall(request_id, Recall(key_id, conversation_id))

    async def forget(self, key_id: int, conversation_id: str, *, request_id: str) -> bool:
        """Deletes a key's stored response; False where there is none. Raises what `kept` does."""
        return bool(await self._ask(request_id, Forget(key_id, conversation_id)))

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Waits until all that ended so far is in the database; False where that took too long."""
        return await asyncio.to_thread(self._desk.flush, timeout_s)

    async def stop(self) -> None:
        """Writes what is left and ends the thread."""
        await asyncio.to_thread(self._desk.stop, STOP_TIMEOUT_S)

    def _note(self, turn: Turn, key_id: int, conversation_id: str, ending: Ending) -> None:
        fold = self._folds.pop(turn.id, None)
        messages = turn.body.get("messages")
        with self._lock:
            room = self._waiting_bytes + turn.body_bytes <= MAX_BODY_BYTES
            self._waiting_bytes += turn.body_bytes if room else 0
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
        )
        try:
            done = self._desk.ask(note, urgent=note.store)
        except DeskFullError:
            self._free(turn.body_bytes if room else 0)
            logger.error("session.dropped", extra={"reqId": turn.id})
        else:
            done.add_done_callback(lambda _: self._free(turn.body_bytes if room else 0))

    def _free(self, size_bytes: int) -> None:
        with self._lock:
            self._waiting_bytes -= size_bytes

    async def _recall(self, request_id: str, job: Recall) -> History | None:
        found: History | None = await self._ask(request_id, job)
        return found

    async def _ask(self, request_id: str, job: Recall | Forget) -> Any:
        if self._desk.failing:
            raise DatabaseAwayError(_CANNOT_READ)
        try:
            answer: Future[Any] = self._desk.ask(job)
            async with asyncio.timeout(RECALL_TIMEOUT_S):
                return await asyncio.wrap_future(answer)
        except (DeskFullError, TimeoutError) as error:
            raise DatabaseAwayError(_CANNOT_READ) from error
        except Exception as error:  # whatever the database raises: without the history the answer would be wrong
            logger.warning("session.unknown", extra={"reqId": request_id}, exc_info=error)
            raise DatabaseAwayError(_CANNOT_READ) from error


def _keeps(turn: Turn) -> bool:
    return turn.caller.store_bodies and gateway_settings().sessions.store


def kept_headers(turn: Turn) -> dict[str, str]:
    """What the answer says of the kept messages; nothing where they were not asked for."""
    return {} if turn.kept_messages is None else {KEPT_HEADER: str(turn.kept_messages)}


def _refused(message: str) -> ProxyError:
    return ProxyError(FailureKind.INVALID_REQUEST, message, param=MODE_HEADER)


recorder = SessionRecorder()
"""The recorder of this process."""
