"""This process's queue, workers, circuit breaker, usage writes and run events, for observability."""

from collections.abc import Sequence
from dataclasses import dataclass

from apiproxy.engines.base import WorkerSnapshot
from apiproxy.gateway import Gateway
from apiproxy.runs.admission import QueueSnapshot
from apiproxy.runs.circuit_breaker import BreakerSnapshot


@dataclass(frozen=True, slots=True)
class Settlements:
    """Usage not yet written. pending: jobs; failing: the last write failed; dropped: settlements lost for good."""

    pending: int
    failing: bool
    dropped: int


class ProcessRuntime:
    """The runtime of this process. Every method returns at once and belongs on the event loop's thread."""

    def __init__(self, gateway: Gateway) -> None:
        self.observers = gateway.observers
        self._runtime = gateway.runtime
        self._accounting = gateway.accounting

    def queue(self) -> QueueSnapshot:
        return self._runtime.queue_snapshot()

    def upstream(self) -> BreakerSnapshot:
        return self._runtime.upstream()

    def workers(self) -> Sequence[WorkerSnapshot]:
        return self._runtime.workers()

    def cancel(self, run_id: str) -> bool:
        """Ask a queued or running run to end as cancelled by an operator; False if there is no such run."""
        return self._runtime.cancel(run_id)

    def retire(self, worker_id: str) -> bool:
        """End the worker, after its turn if it is busy; False if there is no such worker."""
        return self._runtime.engines.retire(worker_id)

    def lost(self, process: str) -> None:
        """Release the reservations of a process that has died."""
        self._accounting.release_owner(process)

    def settlements(self) -> Settlements:
        usage = self._accounting
        return Settlements(usage.pending, usage.failing, usage.dropped)
