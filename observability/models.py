"""Stored observability data: traces, error dumps, stored bodies, cluster members and rollups."""

from datetime import datetime
from typing import ClassVar

from django.db import models

from observability.vocabulary import EndReason, Phase, Status

ID_CHARS = 64
NAME_CHARS = 200
MESSAGE_CHARS = 1_000
UNPRICED_CHARS = 500


def _choices(words: type[Status] | type[EndReason]) -> list[tuple[str, str]]:
    return [(word.value, word.value.replace("_", " ")) for word in words]


def _count() -> "models.PositiveBigIntegerField[int, int]":
    return models.PositiveBigIntegerField(default=0)


def _time() -> "models.DateTimeField[datetime | None, datetime | None]":
    return models.DateTimeField(null=True, blank=True)


def _name(chars: int = NAME_CHARS) -> "models.CharField[str, str]":
    return models.CharField(max_length=chars, blank=True, default="")


def _added_name(chars: int = NAME_CHARS) -> "models.CharField[str, str]":
    """Name added later: with a default in the database, for processes of the version before."""
    return models.CharField(max_length=chars, blank=True, default="", db_default="")


def _indexed_name() -> "models.CharField[str | None, str | None]":
    """Name that is NULL rather than empty, so that a partial index excludes the row."""
    return models.CharField(max_length=NAME_CHARS, null=True, blank=True)


class Trace(models.Model):
    """Record of one request. Times of phases not reached are None; sizes are in characters.

    Keys are copied, not referenced, since traces outlive them. cost_micro_usd: estimate in millionths of a dollar, None
    if unknown. unpriced: parts of the usage that it excludes. usage_estimated: some token counts were estimated by the
    gateway, because the upstream sent none or implausible ones. agent: `slug@version`, empty without one. model_calls:
    of the agent.
    """

    id = models.CharField(primary_key=True, max_length=ID_CHARS)
    node = _name()
    process = _name()
    key_id = models.BigIntegerField(null=True, blank=True)
    key_label = _name()
    dialect = _name(20)
    engine = _added_name(8)
    requested_model = _name()
    model = _name()
    agent = _added_name()
    conversation_id = _indexed_name()
    claude_code_session_id = _indexed_name()
    claude_code_agent_id = _added_name()
    claude_code_parent_agent_id = _added_name()
    client_ip = _name(64)
    user_agent = _name(300)
    stream = models.BooleanField(default=False)
    thinking = models.BooleanField(default=False)
    tool_count = _count()
    message_count = _count()
    prompt_chars = _count()
    system_chars = _count()
    body_bytes = _count()

    received_at = models.DateTimeField()
    queued_at = _time()
    admitted_at = _time()
    worker_ready_at = _time()
    first_event_at = _time()
    first_token_at = _time()
    last_event_at = _time()
    finished_at = _time()

    status = models.CharField(max_length=16, choices=_choices(Status), default=Status.ACTIVE)
    phase = models.CharField(max_length=16, default=Phase.RECEIVED)
    end_reason = models.CharField(max_length=24, choices=_choices(EndReason), blank=True, default="")
    stop_reason = _name(64)
    upstream_request_id = _indexed_name()
    queue_ms = models.PositiveBigIntegerField(null=True, blank=True)
    ttft_ms = models.PositiveBigIntegerField(null=True, blank=True)
    duration_ms = models.PositiveBigIntegerField(null=True, blank=True)
    input_tokens = _count()
    output_tokens = _count()
    cache_read_tokens = _count()
    cache_creation_tokens = _count()
    cost_micro_usd = models.PositiveBigIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False, db_default=False)
    unpriced = _name(UNPRICED_CHARS)
    output_chars = _count()
    tool_calls = _count()
    model_calls = models.PositiveBigIntegerField(default=0, db_default=0)
    event_count = _count()
    event_types = models.JSONField(default=dict, blank=True)
    stalls = _count()
    retries = _count()
    worker_pid = models.PositiveBigIntegerField(null=True, blank=True)

    error_type = _name(40)
    error_message = _name(MESSAGE_CHARS)
    error_phase = _name(16)
    upstream_status = models.PositiveIntegerField(null=True, blank=True)
    upstream_type = _name(64)

    class Meta:
        ordering = ("-received_at", "-id")
        permissions = (("cancel_run", "Can cancel requests and retire workers"),)
        # One per filter that must be fast on its own; queries.py explains how filters are combined.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["received_at", "id"], name="trace_received"),
            models.Index(fields=["status", "received_at", "id"], name="trace_status"),
            models.Index(fields=["end_reason", "received_at", "id"], name="trace_end_reason"),
            models.Index(fields=["model", "received_at", "id"], name="trace_model"),
            models.Index(fields=["key_id", "received_at", "id"], name="trace_key"),
            models.Index(
                fields=["conversation_id", "received_at", "id"],
                name="trace_conversation",
                condition=models.Q(conversation_id__isnull=False),
            ),
            models.Index(
                fields=["claude_code_session_id", "received_at", "id"],
                name="trace_claude_code_session",
                condition=models.Q(claude_code_session_id__isnull=False),
            ),
            models.Index(
                fields=["upstream_request_id", "received_at", "id"],
                name="trace_upstream_request",
                condition=models.Q(upstream_request_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class AgentSteps(models.Model):
    """Steps of an agent's run by start (`step_values.StepJson`). omitted: number not stored."""

    trace = models.OneToOneField(Trace, on_delete=models.CASCADE, primary_key=True, related_name="agent_steps")
    steps = models.JSONField(default=list)
    omitted = _count()

    def __str__(self) -> str:
        return self.trace_id


class ErrorDump(models.Model):
    """Diagnostics of a failed request: phases, options, end of stderr. Already redacted."""

    trace = models.OneToOneField(Trace, on_delete=models.CASCADE, primary_key=True, related_name="dump")
    created_at = models.DateTimeField(db_index=True)
    data = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.trace_id


class StoredBody(models.Model):
    """Request and answer of a turn whose key stores bodies, without credentials.

    steps: arguments and results of an agent's steps by step id.
    """

    trace = models.OneToOneField(Trace, on_delete=models.CASCADE, primary_key=True, related_name="stored_body")
    created_at = models.DateTimeField(db_index=True)
    request = models.JSONField(null=True)
    answer = models.JSONField(null=True)
    steps = models.JSONField(null=True)

    class Meta:
        verbose_name_plural = "stored bodies"

    def __str__(self) -> str:
        return self.trace_id


class Member(models.Model):
    """A serve process that shares this database. seen_at: last heartbeat, by the database's clock.

    state: `MemberState` as JSON; empty if published through Redis.
    """

    name = models.CharField(primary_key=True, max_length=NAME_CHARS)
    node = _name()
    pid = models.PositiveBigIntegerField()
    seen_at = models.DateTimeField()
    state = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.name


class Errand(models.Model):
    """Command from one process to another, when Redis is not available."""

    process = models.CharField(max_length=NAME_CHARS, db_index=True)
    kind = models.CharField(max_length=16)
    subject = models.CharField(max_length=ID_CHARS)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Dimension(models.TextChoices):
    """Grouping of rollups. The value of an error is `type/phase`."""

    ALL = "all"
    MODEL = "model"
    KEY = "key"
    ERROR = "error"
    AGENT = "agent"


class Metric(models.TextChoices):
    """Measurements with a histogram."""

    QUEUE = "queue"
    TTFT = "ttft"
    DURATION = "duration"


class Rollup(models.Model):
    """Sums over requests that ended within `resolution_s` seconds from `start` (Unix time).

    first_at, last_at and last_error_at are Unix times, 0 if none. …_n: number of values in the sum before it.
    """

    resolution_s = models.PositiveIntegerField()
    dimension = models.CharField(max_length=8, choices=Dimension.choices)
    start = models.PositiveBigIntegerField()
    value = models.CharField(max_length=NAME_CHARS, blank=True)
    label = _name()
    requests = _count()
    completed = _count()
    errors = _count()
    cancelled = _count()
    refused = _count()
    interrupted = _count()
    queue_ms = _count()
    queue_n = _count()
    ttft_ms = _count()
    ttft_n = _count()
    duration_ms = _count()
    duration_n = _count()
    duration_ms_max = _count()
    output_ms = _count()
    output_chars = _count()
    input_tokens = _count()
    output_tokens = _count()
    cache_read_tokens = _count()
    cache_creation_tokens = _count()
    cost_micro_usd = _count()
    unpriced = _count()
    stalls = _count()
    retries = _count()
    first_at = models.FloatField(default=0)
    last_at = models.FloatField(default=0)
    last_error_at = models.FloatField(default=0)
    last_error_id = _name(ID_CHARS)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["resolution_s", "dimension", "start", "value"], name="rollup_once"),
        ]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value} {self.start}/{self.resolution_s}"


class RollupBucket(models.Model):
    """Number of requests of a rollup in one histogram bucket (`histogram.py`) of a metric."""

    resolution_s = models.PositiveIntegerField()
    dimension = models.CharField(max_length=8, choices=Dimension.choices)
    start = models.PositiveBigIntegerField()
    value = models.CharField(max_length=NAME_CHARS, blank=True)
    metric = models.CharField(max_length=8, choices=Metric.choices)
    bucket = models.PositiveSmallIntegerField()
    count = _count()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["resolution_s", "dimension", "start", "value", "metric", "bucket"], name="rollup_bucket_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dimension} {self.value} {self.metric} {self.bucket} {self.start}/{self.resolution_s}"
