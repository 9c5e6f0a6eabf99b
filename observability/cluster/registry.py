"""Member registry: one database row per serve process, renewed every two seconds. Synchronous.

Liveness is decided by the database's clock, the only one shared by all; processes of the same machine are checked
directly. Whichever process notices first cleans up after a dead one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from observability.cluster.states import Identity
from observability.models import Errand, Member, Trace
from observability.tracing.store import Store
from observability.vocabulary import Status

HEARTBEAT_S = 2.0
SILENT_AFTER_S = 6.0
"""A process without a heartbeat for this long is hidden."""
DEAD_AFTER_S = 10.0
"""A process without a heartbeat for this long is dead; its requests are marked interrupted."""
_COMMAND_TTL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Result of a heartbeat.

    lost: names of evicted processes. commands: kind and subject of commands sent by peers. disowned: peers had evicted
    this process.
    """

    lost: list[str] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    disowned: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A live peer. state: JSON, empty if the peer publishes it through Redis."""

    process: str
    state: str


class MemberRegistry:
    """Database access to the member table. Used by one thread at a time; raises DatabaseError.

    is_gone: whether the named process ran on this machine and has ended.
    """

    def __init__(self, identity: Identity, store: Store, *, is_gone: Callable[[str], bool]) -> None:
        self._identity = identity
        self._store = store
        self._is_gone = is_gone
        self._joined = False

    def join(self) -> list[str]:
        """Register this process and clean up after dead ones; their names."""
        self._renew("")
        lost = self._mark_dead(allow_eviction=False)
        self._store.mark_orphans()
        return lost

    def heartbeat(self, state: str, *, allow_eviction: bool) -> Heartbeat:
        """Renew this process's row. allow_eviction: also evict silent processes of other machines."""
        disowned = self._renew(state)
        return Heartbeat(self._mark_dead(allow_eviction=allow_eviction), self._take_commands(), disowned)

    def leave(self) -> None:
        """Deregister this process. Call after its last trace has been written."""
        Member.objects.filter(pk=self._identity.process).delete()

    def peers(self) -> list[Peer]:
        """Peers with a heartbeat in the last `SILENT_AFTER_S`."""
        rows = Member.objects.exclude(pk=self._identity.process).filter(seen_at__gte=_ago(SILENT_AFTER_S))
        return [Peer(name, state) for name, state in rows.values_list("pk", "state") if not self._is_gone(name)]

    def send_command(self, process: str, kind: str, subject: str) -> None:
        Errand.objects.filter(created_at__lt=datetime.now(UTC) - _COMMAND_TTL).delete()
        Errand.objects.create(process=process, kind=kind, subject=subject, created_at=datetime.now(UTC))

    def owner_of(self, run_id: str) -> str | None:
        """Live process that runs the request; None if it has ended or has not been recorded yet."""
        owner = Trace.objects.filter(pk=run_id, status=Status.ACTIVE).values_list("process", flat=True).first()
        return owner if owner and Member.objects.filter(pk=owner).exists() else None

    def _renew(self, state: str) -> bool:
        """Update or recreate the row; True if peers had deleted it."""
        if Member.objects.filter(pk=self._identity.process).update(seen_at=Now(), state=state):
            self._joined = True
            return False
        values: dict[str, Any] = {
            "node": self._identity.node,
            "pid": self._identity.pid,
            "seen_at": Now(),
            "state": state,
        }
        Member.objects.update_or_create(name=self._identity.process, defaults=values)
        again, self._joined = self._joined, True
        return again

    def _mark_dead(self, *, allow_eviction: bool) -> list[str]:
        silent = Q(seen_at__lt=_ago(DEAD_AFTER_S))
        rows = Member.objects.exclude(pk=self._identity.process).filter(silent | Q(node=self._identity.node))
        marked = rows.annotate(silent=ExpressionWrapper(silent, output_field=BooleanField()))
        found = list(marked.values_list("pk", "silent"))
        dead = [name for name, is_silent in found if (allow_eviction and is_silent) or self._is_gone(name)]
        return [name for name in dead if self._evict(name)]

    def _evict(self, name: str) -> bool:
        """Delete the member and mark its requests interrupted; False if a peer already did."""
        with transaction.atomic():
            if not Member.objects.filter(pk=name).delete()[0]:
                return False
            Errand.objects.filter(process=name).delete()
            self._store.mark_interrupted(name)
        return True

    def _take_commands(self) -> list[tuple[str, str]]:
        rows = list(Errand.objects.filter(process=self._identity.process).order_by("pk"))
        if rows:
            Errand.objects.filter(pk__in=[row.pk for row in rows]).delete()
        return [(row.kind, row.subject) for row in rows]


def _ago(seconds: float) -> Any:
    """The database's time, minus `seconds`."""
    if connection.vendor == "sqlite":  # same machine, so same clock; its times are text, on which this arithmetic fails
        return datetime.now(UTC) - timedelta(seconds=seconds)
    return Now() - timedelta(seconds=seconds)
