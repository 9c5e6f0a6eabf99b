"""The processes that share the database, as it knows them: one row each, renewed every two seconds. Synchronous.

Whether a process is alive is judged by the clock of the database, the only one that all have in common; one of the same
machine is looked for there. What nobody ends any more is then ended by whoever notices first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from observability.cluster.states import Here
from observability.models import Errand, Member, Trace
from observability.tracing.store import Store
from observability.vocabulary import Status

BEAT_S = 2.0
SILENT_AFTER_S = 6.0
"""A process that has said nothing for so long is not shown."""
DEAD_AFTER_S = 10.0
"""One that has said nothing for so long is over, and so are its requests."""
_ERRAND_KEPT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Beat:
    """What came of it. lost: processes that were found dead; errands: kind and subject of what others ask of this one.

    disowned: the others took this process for dead.
    """

    lost: list[str] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    disowned: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A living process, and what it says of itself where the database carries that."""

    process: str
    state: str


class Register:
    """All database work of the processes' list. Used by one thread at a time; raises DatabaseError.

    is_gone tells of a process's name whether it was one of this machine that has ended.
    """

    def __init__(self, here: Here, store: Store, *, is_gone: Callable[[str], bool]) -> None:
        self._here = here
        self._store = store
        self._is_gone = is_gone
        self._entered = False

    def enter(self) -> list[str]:
        """Adds this process; gives up what processes that have ended left. Those found dead."""
        self._renew("")
        lost = self._mark_dead(judge=False)
        self._store.mark_orphans()
        return lost

    def beat(self, state: str, *, judge: bool) -> Beat:
        """Renews this process's row. judge: also those of other machines that are silent count as dead."""
        disowned = self._renew(state)
        return Beat(self._mark_dead(judge=judge), self._errands(), disowned)

    def leave(self) -> None:
        """Takes this process away; to be called when its last trace is written."""
        Member.objects.filter(pk=self._here.process).delete()

    def others(self) -> list[Known]:
        """Those that are not silent."""
        rows = Member.objects.exclude(pk=self._here.process).filter(seen_at__gte=_ago(SILENT_AFTER_S))
        return [Known(name, state) for name, state in rows.values_list("pk", "state") if not self._is_gone(name)]

    def send(self, process: str, kind: str, subject: str) -> None:
        """Leaves an errand for another process."""
        Errand.objects.filter(created_at__lt=datetime.now(UTC) - _ERRAND_KEPT).delete()
        Errand.objects.create(process=process, kind=kind, subject=subject, created_at=datetime.now(UTC))

    def owner_of(self, run_id: str) -> str | None:
        """The living process whose request this is; None for one that is over, or not begun yet."""
        owner = Trace.objects.filter(pk=run_id, status=Status.ACTIVE).values_list("process", flat=True).first()
        return owner if owner and Member.objects.filter(pk=owner).exists() else None

    def _renew(self, state: str) -> bool:
        """Whether the row was taken away meanwhile."""
        if Member.objects.filter(pk=self._here.process).update(seen_at=Now(), state=state):
            self._entered = True
            return False
        values: dict[str, Any] = {"node": self._here.node, "pid": self._here.pid, "seen_at": Now(), "state": state}
        Member.objects.update_or_create(name=self._here.process, defaults=values)
        again, self._entered = self._entered, True
        return again

    def _mark_dead(self, *, judge: bool) -> list[str]:
        silent = Q(seen_at__lt=_ago(DEAD_AFTER_S))
        rows = Member.objects.exclude(pk=self._here.process).filter(silent | Q(node=self._here.node))
        marked = rows.annotate(silent=ExpressionWrapper(silent, output_field=BooleanField()))
        found = list(marked.values_list("pk", "silent"))
        dead = [name for name, is_silent in found if (judge and is_silent) or self._is_gone(name)]
        return [name for name in dead if self._give_up(name)]

    def _give_up(self, name: str) -> bool:
        """Ends the process's requests; False where another process was quicker."""
        with transaction.atomic():
            if not Member.objects.filter(pk=name).delete()[0]:
                return False
            Errand.objects.filter(process=name).delete()
            self._store.mark_interrupted(name)
        return True

    def _errands(self) -> list[tuple[str, str]]:
        rows = list(Errand.objects.filter(process=self._here.process).order_by("pk"))
        if rows:
            Errand.objects.filter(pk__in=[row.pk for row in rows]).delete()
        return [(row.kind, row.subject) for row in rows]


def _ago(seconds: float) -> Any:
    """So long before now, by the clock of the database."""
    if connection.vendor == "sqlite":  # which is on this machine, and reckons with texts
        return datetime.now(UTC) - timedelta(seconds=seconds)
    return Now() - timedelta(seconds=seconds)
