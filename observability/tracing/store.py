"""Database access of the trace writer: synchronous, one transaction per batch, in the writer's thread."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from observability.models import AgentSteps, Dimension, ErrorDump, Member, Rollup, RollupBucket, StoredBody, Trace
from observability.stats.rollup import HOUR_S, SUMS, BucketKey, RowKey, Sums, merge_rows
from observability.stats.upsert import Upsert
from observability.tracing.columns import body_values, dump_values, moment, trace_values
from observability.tracing.model_labels import ModelNames
from observability.tracing.redact import Redactor
from observability.tracing.step_values import contents_of, steps_of
from observability.tracing.trace_builder import ActiveTrace
from observability.vocabulary import EndReason, Status

_INTERRUPTED_CHUNK = 1_000

_TRACE_COLUMNS = tuple(field.attname for field in Trace._meta.concrete_fields)
# Known from the start: not updated at the end, which saves index updates.
_UNCHANGING = frozenset(
    {
        "id", "node", "process", "key_id", "key_label", "dialect", "engine", "requested_model", "model",
        "conversation_id", "agent",
        "client_ip", "user_agent", "stream", "thinking", "tool_count", "message_count", "prompt_chars", "system_chars",
        "body_bytes", "received_at", "claude_code_session_id", "claude_code_agent_id", "claude_code_parent_agent_id",
    }
)  # fmt: skip
_TRACES = Upsert(
    Trace,
    columns=_TRACE_COLUMNS,
    unique=("id",),
    replace=[name for name in _TRACE_COLUMNS if name not in _UNCHANGING],
)
_DUMPS = Upsert(ErrorDump, columns=("trace_id", "created_at", "data"), unique=("trace_id",), replace=("data",))
_BODIES = Upsert(
    StoredBody,
    columns=("trace_id", "created_at", "request", "answer", "steps"),
    unique=("trace_id",),
    replace=("request", "answer", "steps"),
)
_STEPS = Upsert(
    AgentSteps, columns=("trace_id", "steps", "omitted"), unique=("trace_id",), replace=("steps", "omitted")
)
_ROLLUPS = Upsert(
    Rollup,
    columns=(
        *RowKey._fields, "label", *SUMS, "duration_ms_max", "first_at", "last_at", "last_error_at", "last_error_id",
    ),
    unique=RowKey._fields,
    replace=("label",),
    add=SUMS,
    least=("first_at",),
    greatest=("duration_ms_max", "last_at", "last_error_at"),
    latest={"last_error_id": "last_error_at"},
)  # fmt: skip
_BUCKETS = Upsert(RollupBucket, columns=(*BucketKey._fields, "count"), unique=BucketKey._fields, add=("count",))


@dataclass(frozen=True, slots=True)
class Record:
    """Pending write of a trace that has started or, if `final`, ended. held_bytes: memory reserved for it."""

    draft: ActiveTrace
    final: bool
    held_bytes: int = 0


class Store:
    """Trace storage of one process. process: its unique name in the cluster."""

    def __init__(self, *, node: str, redactor: Redactor, names: ModelNames, process: str = "") -> None:
        self._node = node
        self._process = process
        self._redactor = redactor
        self._names = names

    def write(self, records: Sequence[Record], *, again: bool = False) -> None:
        """Write all records or none. again: an earlier attempt may have been committed. Raises DatabaseError."""
        again = again or any(record.draft.disowned for record in records)
        traces, steps, dumps, bodies, finals = [], [], [], [], []
        for record in records:
            values = self.values_of(record)
            traces.append(values)
            steps += self._steps(record, values)
            if record.final:
                finals.append((record.draft, values))
                dumps += self._dumps(record.draft, values)
                bodies += self._bodies(record.draft, values)
        with transaction.atomic():
            counted = _ended_before([values["id"] for _, values in finals]) if again else frozenset()
            sums = self._sums([(draft, values) for draft, values in finals if values["id"] not in counted])
            _TRACES.run(traces)
            _STEPS.run(steps)
            _DUMPS.run(dumps)
            _BODIES.run(bodies)
            write_sums(sums)

    def values_of(self, record: Record) -> dict[str, Any]:
        return trace_values(
            record.draft, final=record.final, node=self._node, process=self._process, redactor=self._redactor
        )

    def mark_interrupted(self, process: str) -> int:
        """Mark active traces of a dead process interrupted; returns their number. Raises DatabaseError."""
        return self._interrupt(Trace.objects.filter(process=process))

    def mark_orphans(self) -> int:
        """Mark active traces of unregistered processes interrupted. Raises DatabaseError."""
        return self._interrupt(Trace.objects.exclude(process__in=Member.objects.values("pk")))

    def _interrupt(self, traces: QuerySet[Trace]) -> int:
        marked = 0
        while True:
            with transaction.atomic():
                # Locked, else two processes cleaning up at the same time both count the trace.
                active = traces.filter(status=Status.ACTIVE).select_for_update(of=("self",))
                chunk = list(active[:_INTERRUPTED_CHUNK])
                now, sums = time.time(), Sums()
                for trace in chunk:
                    trace.status, trace.end_reason = Status.INTERRUPTED, EndReason.INTERRUPTED
                    sums.add(columns_of(trace), at=now, model=self._names.label(trace.model))
                ids = [trace.pk for trace in chunk]
                Trace.objects.filter(pk__in=ids).update(status=Status.INTERRUPTED, end_reason=EndReason.INTERRUPTED)
                write_sums(sums)
            if not chunk:
                return marked
            marked += len(chunk)

    def load_names(self) -> None:
        """Load the model names known from earlier responses."""
        known = Rollup.objects.filter(resolution_s=HOUR_S, dimension=Dimension.MODEL).values_list("value", flat=True)
        for name in known.distinct():
            self._names.learn(name)

    def _sums(self, finals: Sequence[tuple[ActiveTrace, dict[str, Any]]]) -> Sums:
        sums = Sums()
        for draft, values in finals:
            sums.add(values, at=draft.finished_at or draft.latest, model=draft.model_label)
        return sums

    def _steps(self, record: Record, values: dict[str, Any]) -> list[dict[str, Any]]:
        log = record.draft.steps
        if log is None or not (log.changes or record.final):
            return []
        steps = steps_of(record.draft, self._redactor, final=record.final)
        return [{"trace_id": values["id"], "steps": steps, "omitted": log.omitted}]

    def _dumps(self, draft: ActiveTrace, values: dict[str, Any]) -> list[dict[str, Any]]:
        if draft.status is not Status.ERROR or draft.failure is None:
            return []
        data = dump_values(draft, values, self._redactor)
        return [{"trace_id": values["id"], "created_at": moment(draft.latest), "data": data}]

    def _bodies(self, draft: ActiveTrace, values: dict[str, Any]) -> list[dict[str, Any]]:
        if not draft.turn.caller.store_bodies:
            return []
        kept = body_values(draft, self._redactor) | {"steps": contents_of(draft, self._redactor)}
        return [{"trace_id": values["id"], "created_at": datetime.now(UTC), **kept}]


def write_traces(traces: Sequence[dict[str, Any]]) -> None:
    """Write trace rows without sums, for synthetic data; `steps` are those of an agent."""
    _TRACES.run(traces)
    agents = [trace for trace in traces if trace["agent"]]
    _STEPS.run({"trace_id": trace["id"], "steps": trace["steps"], "omitted": 0} for trace in agents)


def write_sums(sums: Sums) -> None:
    """Add the sums to the rollup tables, in the caller's transaction."""
    _ROLLUPS.run(merge_rows(sums.rows.items()))
    _BUCKETS.run([key._asdict() | {"count": count} for key, count in sorted(sums.buckets.items())])


def columns_of(trace: Trace) -> dict[str, Any]:
    """Columns of a trace row by name."""
    return {name: getattr(trace, name) for name in _TRACE_COLUMNS}


def _ended_before(ids: Sequence[str]) -> frozenset[str]:
    ended = Trace.objects.filter(pk__in=ids).exclude(status=Status.ACTIVE)
    return frozenset(ended.values_list("pk", flat=True))
