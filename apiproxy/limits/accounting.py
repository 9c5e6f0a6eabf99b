"""What runs cost their keys: reserved before a run, settled when it ends. Registered as an observer of runs."""

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

from apiproxy.catalog import catalog, resolve
from apiproxy.conf import gateway_settings
from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Cancelled, Ending, Event, Failed, Finished, Usage
from apiproxy.core.limits import MICRO, NO_STATE, LimitError, LimitState
from apiproxy.core.offload import offload
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Turn
from apiproxy.db.batch_worker import BatchWorker, DeskFullError
from apiproxy.db.guarded_query import DatabaseAwayError
from apiproxy.limits.budget import day_of
from apiproxy.limits.estimate import most_used, untold_usage
from apiproxy.limits.jobs import Abandon, Job, Release, Reserve, Settle
from apiproxy.limits.ledger import BEAT_S, Ledger
from apiproxy.limits.open_runs import OpenRuns
from apiproxy.limits.policy import Need
from apiproxy.limits.pricing import unpriced_fields
from apiproxy.limits.usage import Entry, Sums, UsageKey, storable

logger = logging.getLogger(__name__)

RESERVE_TIMEOUT_S = 3.0
"""How long a request waits for the database to say whether it may run."""
STOP_TIMEOUT_S = 10.0
_CANNOT_SAY = "the limits of this API key cannot be checked"
_MAX_KNOWN_KEYS = 10_000

_NEVER_RAN = frozenset(
    {FailureKind.QUEUE_FULL, FailureKind.QUEUE_TIMEOUT, FailureKind.DRAINING, FailureKind.UPSTREAM_DOWN}
)
"""Refusals of the gateway itself: they cost the key nothing, not even a request of its limit. (A run that is stopped
at the end of a drain has used something.)"""


class UsageAccounting:
    """An `observers.Observer`. `reserve` and `on_event` on the event loop's thread, the database in others."""

    def __init__(self) -> None:
        self._runs = OpenRuns()
        self._ledger = Ledger(runs=self._runs)
        self._desk: BatchWorker[Job] = BatchWorker("ledger", self._ledger, tick_s=BEAT_S)
        self._seen_keys: set[int] = set()

    async def reserve(self, principal: Principal, turn: Turn) -> LimitState:
        """Takes what the turn may use at most from its key's limits, and says how they stand then.

        A key without limits costs no query. What was taken is given back by the end of the run, or by `release` where
        none was started. Raises ProxyError: LimitError (RATE_LIMITED, BUDGET_SPENT, FORBIDDEN), and DatabaseAwayError:
        without an answer there is no permission, or a budget could be passed unseen.
        """
        if principal.limits.unlimited:
            return NO_STATE
        tokens, micro_usd, unpriced = await self._most_used(turn)
        if unpriced and principal.limits.budgets:
            if not gateway_settings().allow_unpriced:
                raise _unpriced(unpriced[0])
            micro_usd = micro_usd or 0
        need = Need(tokens=tokens, micro_usd=micro_usd, day=day_of(turn.received_at))
        outcome = await self._ask(Reserve(run_id=turn.id, key_id=principal.key_id, need=need))
        if isinstance(outcome, LimitError):
            raise outcome
        self._runs.begin(turn.id)
        return outcome

    def release(self, turn: Turn) -> None:
        """Gives back what was reserved for a turn that did not become a run."""
        if turn.id in self._runs:
            self._runs.forget([turn.id])
            self._desk.put(Release(turn.id), urgent=True)

    def give_back(self, owner: str) -> None:
        """Gives back what a process that has died had reserved (`db.process_id.owner`)."""
        self._desk.put(Abandon(owner), urgent=True)

    def on_event(self, turn: Turn, event: Event) -> None:
        """Settles when the run ends."""
        if isinstance(event, Finished | Failed | Cancelled) and turn.caller.key_id is not None:
            self._settle(turn, turn.caller.key_id, event)

    async def start(self) -> None:
        """Starts the thread, which gives back what dead processes had reserved."""
        self._desk.start()

    @property
    def pending(self) -> int:
        """What is not in the database yet."""
        return self._desk.pending

    @property
    def failing(self) -> bool:
        """Whether the database does not take it."""
        return self._desk.failing

    @property
    def dropped(self) -> int:
        """Settlements that are lost: their usage is in no sum."""
        return self._desk.dropped + self._ledger.dropped

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Waits until all that ended so far is in the database; False where that took too long."""
        return await asyncio.to_thread(self._desk.flush, timeout_s)

    async def stop(self) -> None:
        """Writes what is left and ends the thread."""
        await asyncio.to_thread(self._desk.stop, STOP_TIMEOUT_S)

    async def estimate(self, turn: Turn) -> Usage:
        """The input to charge for a turn that was sent upstream, where the upstream did not tell (`meter.Estimate`)."""
        return await offload(turn.body_bytes, untold_usage, turn.body, catalog.known(turn.model))

    async def _most_used(self, turn: Turn) -> tuple[int, int | None, list[str]]:
        """Tokens, cost, and the fields of the body that have no price."""
        model = await resolve(turn.model)
        table = catalog.prices()

        def look() -> tuple[int, int | None, list[str]]:
            return *most_used(turn.body, model, table), unpriced_fields(turn.body, model.prices, table)

        return await offload(turn.body_bytes, look)

    async def _ask(self, job: Reserve) -> LimitState | LimitError:
        if self._desk.failing:  # what waits there is tried again all the time: nobody else has to wait to learn that
            raise DatabaseAwayError(_CANNOT_SAY)
        try:
            answer = self._desk.ask(job, patience_s=RESERVE_TIMEOUT_S)
        except DeskFullError:
            raise DatabaseAwayError(_CANNOT_SAY) from None
        try:
            async with asyncio.timeout(RESERVE_TIMEOUT_S):
                outcome: LimitState | LimitError = await asyncio.shield(asyncio.wrap_future(answer))
                return outcome
        except asyncio.CancelledError:  # the client has left
            answer.add_done_callback(lambda done: self._undo(job.run_id, done))
            raise
        except Exception as error:  # whatever the database raises: no answer is no permission
            answer.add_done_callback(lambda done: self._undo(job.run_id, done))
            logger.warning("limits.unknown", extra={"reqId": job.run_id, "keyId": job.key_id}, exc_info=error)
            raise DatabaseAwayError(_CANNOT_SAY) from error

    def _undo(self, run_id: str, done: "Future[Any]") -> None:
        if not done.cancelled() and done.exception() is None and isinstance(done.result(), LimitState):
            self._desk.put(Release(run_id), urgent=True)

    def _settle(self, turn: Turn, key_id: int, ending: Ending) -> None:
        reserved = turn.id in self._runs
        used = ending.usage
        if isinstance(ending, Failed) and ending.error.kind in _NEVER_RAN and used == Usage():
            self.release(turn)
            return
        if reserved:
            self._runs.end(turn.id)
        first_used = None
        if key_id not in self._seen_keys and len(self._seen_keys) < _MAX_KNOWN_KEYS:
            self._seen_keys.add(key_id)
            first_used = (turn.received_at, turn.caller.client_ip)
        row = UsageKey(key_id, day_of(turn.received_at), storable(turn.model))
        job = Settle(
            run_id=turn.id,
            entry=Entry(row=row, key_label=turn.caller.key_label, sums=sums_of(ending)),
            # As at the upstream, what comes out of the prompt cache does not count.
            tokens=used.input_tokens + used.cache_creation_input_tokens + used.output_tokens,
            reserved=reserved,
            first_used=first_used,
        )
        self._desk.put(job, urgent=reserved)


def _unpriced(field: str) -> LimitError:
    """The refusal of a body whose cost cannot be known before or after it."""
    message = f"{field}: this API key has a budget, and this has no price in the gateway's table of models."
    error = LimitError(FailureKind.FORBIDDEN, message, retryable=False)
    error.param = field
    return error


def sums_of(ending: Ending) -> Sums:
    """What a run adds to its key's usage. The cost is rounded to millionths of a dollar, as in its trace."""
    used = ending.usage
    return Sums(
        requests=1,
        failures=int(isinstance(ending, Failed)),
        unpriced=int(used.cost_usd is None and used != Usage()),
        partly_unpriced=int(used.partly_unpriced),
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=used.cache_read_input_tokens,
        cache_creation_tokens=used.cache_creation_input_tokens,
        cost_micro_usd=0 if used.cost_usd is None else round(used.cost_usd * MICRO),
    )


usage_accounting = UsageAccounting()
"""The bookkeeper of this process."""
