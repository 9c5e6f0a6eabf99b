"""Usage accounting: reserves a run's maximum cost, settles its actual usage."""

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

from apiproxy.catalog import Catalog
from apiproxy.conf import gateway_settings
from apiproxy.core.agents import AgentSpec
from apiproxy.core.errors import FailureKind
from apiproxy.core.events import Cancelled, Ending, Event, Failed, Finished, Usage
from apiproxy.core.limits import MICRO, NO_STATE, KeyLimits, LimitError, LimitState
from apiproxy.core.offload import offload
from apiproxy.core.pricing import unpriced_fields
from apiproxy.core.principal import Principal
from apiproxy.core.turns import Turn
from apiproxy.db.batch_worker import BatchQueueFullError, BatchWorker
from apiproxy.db.guarded_query import DatabaseUnavailableError
from apiproxy.limits.agent_estimate import max_agent_usage
from apiproxy.limits.budget import day_of
from apiproxy.limits.estimate import estimated_usage, max_usage
from apiproxy.limits.jobs import Job, Release, ReleaseOwner, Reserve, Settle
from apiproxy.limits.ledger import RENEW_S, Ledger
from apiproxy.limits.open_runs import OpenRuns
from apiproxy.limits.policy import Cost
from apiproxy.limits.usage import Sums, UsageEntry, UsageKey, storable

logger = logging.getLogger(__name__)

RESERVE_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
_CANNOT_CHECK = "cannot check the limits of this API key"
_MAX_KNOWN_KEYS = 10_000

_LIMITED_COUNTS = ("input_tokens", "cache_creation_input_tokens", "output_tokens")
"""Of tokens per minute. As at the upstream, tokens read from the prompt cache do not count."""
_NEVER_RAN = frozenset(
    {FailureKind.QUEUE_FULL, FailureKind.QUEUE_TIMEOUT, FailureKind.DRAINING, FailureKind.UPSTREAM_DOWN}
)
"""Rejections by the gateway itself. They count towards no limit, unless the run had used something: one stopped at the
end of a drain may have."""


class UsageAccounting:
    """Observer of runs on the event loop; a batch worker writes to the database."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._runs = OpenRuns()
        self._ledger = Ledger(runs=self._runs)
        self._worker: BatchWorker[Job] = BatchWorker("ledger", self._ledger, tick_s=RENEW_S)
        self._seen_keys: set[int] = set()

    async def reserve(self, principal: Principal, turn: Turn) -> LimitState:
        """Reserve the turn's maximum usage within its key's limits and return their state.

        Keys without limits cost no query. The reservation ends with the run, or with `release` if none starts.
        Raises LimitError (RATE_LIMITED, BUDGET_SPENT, FORBIDDEN), and DatabaseUnavailableError: without the database
        a budget could be exceeded unnoticed.
        """
        if principal.limits.unlimited:
            return NO_STATE
        tokens, micro_usd, unpriced = await self._most_used(turn, principal.limits)
        if unpriced and principal.limits.budgets:
            if not gateway_settings().allow_unpriced:
                raise _unpriced(unpriced[0])
            micro_usd = micro_usd or 0
        cost = Cost(tokens=tokens, micro_usd=micro_usd, day=day_of(turn.received_at), adjustable=turn.agent is None)
        outcome = await self._ask(Reserve(run_id=turn.id, key_id=principal.key_id, cost=cost))
        if isinstance(outcome, LimitError):
            raise outcome
        self._runs.begin(turn.id)
        return outcome

    def release(self, turn: Turn) -> None:
        """End the reservation of a turn that did not become a run."""
        if turn.id in self._runs:
            self._runs.forget([turn.id])
            self._worker.submit(Release(turn.id), urgent=True)

    def release_owner(self, owner: str) -> None:
        """End the reservations of a dead process, named by `db.process_id.owner`."""
        self._worker.submit(ReleaseOwner(owner), urgent=True)

    def on_event(self, turn: Turn, event: Event) -> None:
        if isinstance(event, Finished | Failed | Cancelled) and turn.caller.key_id is not None:
            self._settle(turn, turn.caller.key_id, event)

    async def start(self) -> None:
        """Start the worker, which first ends the reservations of dead processes."""
        self._worker.start()

    @property
    def pending(self) -> int:
        """Number of jobs not in the database yet."""
        return self._worker.pending

    @property
    def failing(self) -> bool:
        """The database is unavailable."""
        return self._worker.failing

    @property
    def dropped(self) -> int:
        """Number of lost settlements, whose usage is missing from the totals."""
        return self._worker.dropped + self._ledger.dropped

    async def flush(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Wait until all runs that have ended are in the database; False on timeout."""
        return await asyncio.to_thread(self._worker.flush, timeout_s)

    async def stop(self) -> None:
        """Write the remaining jobs and end the thread."""
        await asyncio.to_thread(self._worker.stop, STOP_TIMEOUT_S)

    async def estimate(self, turn: Turn) -> Usage:
        """Input to charge for a turn sent upstream whose usage was not reported (`meter.Estimate`)."""
        return await offload(turn.body_bytes, estimated_usage, turn.body, self._catalog.known(turn.model))

    async def _most_used(self, turn: Turn, limits: KeyLimits) -> tuple[int, int | None, list[str]]:
        """Return tokens, cost, and the fields of the body without a price."""
        if (agent := turn.agent) is not None:
            return await self._most_used_by(agent, turn, limits)
        model = await self._catalog.resolve(turn.model)
        table = self._catalog.prices()

        def measure() -> tuple[int, int | None, list[str]]:
            return *max_usage(turn.body, model, table), unpriced_fields(turn.body, model.prices, table)

        return await offload(turn.body_bytes, measure)

    async def _most_used_by(self, agent: AgentSpec, turn: Turn, limits: KeyLimits) -> tuple[int, int | None, list[str]]:
        model = self._catalog.known(agent.model)
        tokens, micro_usd = await offload(
            turn.body_bytes, max_agent_usage, agent, turn.body, model, limits, self._catalog.prices()
        )
        return tokens, micro_usd, ["model"] if micro_usd is None else []

    async def _ask(self, job: Reserve) -> LimitState | LimitError:
        if self._worker.failing:  # the worker retries its batch; waiting for it would only time out
            raise DatabaseUnavailableError(_CANNOT_CHECK)
        try:
            answer = self._worker.call(job, timeout_s=RESERVE_TIMEOUT_S)
        except BatchQueueFullError:
            raise DatabaseUnavailableError(_CANNOT_CHECK) from None
        try:
            async with asyncio.timeout(RESERVE_TIMEOUT_S):
                outcome: LimitState | LimitError = await asyncio.shield(asyncio.wrap_future(answer))
                return outcome
        except asyncio.CancelledError:  # the client has disconnected
            answer.add_done_callback(lambda done: self._undo(job.run_id, done))
            raise
        except Exception as error:  # any database error: fail closed
            answer.add_done_callback(lambda done: self._undo(job.run_id, done))
            logger.warning("limits.unknown", extra={"reqId": job.run_id, "keyId": job.key_id}, exc_info=error)
            raise DatabaseUnavailableError(_CANNOT_CHECK) from error

    def _undo(self, run_id: str, done: "Future[Any]") -> None:
        if not done.cancelled() and done.exception() is None and isinstance(done.result(), LimitState):
            self._worker.submit(Release(run_id), urgent=True)

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
            entry=UsageEntry(row=row, key_label=turn.caller.key_label, sums=sums_of(ending)),
            tokens=sum(map(used.billed, _LIMITED_COUNTS)),
            reserved=reserved,
            first_used=first_used,
        )
        self._worker.submit(job, urgent=reserved)


def _unpriced(field: str) -> LimitError:
    """Error for a body whose cost is unknown both before and after the run."""
    message = f"{field}: no price in the gateway's model table, and this API key has a budget."
    error = LimitError(FailureKind.FORBIDDEN, message, retryable=False)
    error.param = field
    return error


def sums_of(ending: Ending) -> Sums:
    """A run's usage as totals. The cost is rounded to micro-USD, as in its trace."""
    used = ending.usage
    return Sums(
        requests=1,
        failures=int(isinstance(ending, Failed)),
        unpriced=int(used.cost_usd is None and used != Usage()),
        partly_unpriced=int(used.partly_unpriced),
        input_tokens=used.billed("input_tokens"),
        output_tokens=used.billed("output_tokens"),
        cache_read_tokens=used.billed("cache_read_input_tokens"),
        cache_creation_tokens=used.billed("cache_creation_input_tokens"),
        cost_micro_usd=0 if used.cost_usd is None else round(used.cost_usd * MICRO),
    )
