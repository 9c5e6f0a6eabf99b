"""Sessions: conversations identified by an id."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from apiproxy.models.usage import NAME_CHARS, count

CONVERSATION_ID_CHARS = 200


class Session(models.Model):
    """A conversation of one key. Two keys that use the same id have two sessions.

    chain: packed digests of the last used branch (`sessions/lineage.py`); heads: the heads of all branches.
    last_change: `lineage.Change` of the last turn; differed_at: index of the first message it changed.
    cost_micro_usd: estimate. stored_bytes: size of the session's history. unstored_turns: answered turns that could
    not be stored as requested; unstored_reason: reason for the last of them.
    """

    key_id = models.BigIntegerField()
    key_label = models.CharField(max_length=100)
    conversation_id = models.CharField(max_length=CONVERSATION_ID_CHARS)
    dialect = models.CharField(max_length=20)
    model = models.CharField(max_length=NAME_CHARS)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(default=timezone.now)
    message_count = models.PositiveIntegerField(default=0)
    turns = count()
    resumes = count()
    resets = count()
    failures = count()
    last_change = models.CharField(max_length=16, blank=True)
    differed_at = models.PositiveIntegerField(null=True)
    chain = models.BinaryField(default=bytes)
    heads = models.JSONField(default=list)
    input_tokens = count()
    output_tokens = count()
    cache_read_tokens = count()
    cache_creation_tokens = count()
    cost_micro_usd = count()
    unpriced = count()
    partly_unpriced = count()
    stored_bytes = count()
    unstored_turns = count()
    unstored_reason = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ("-last_used_at",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key_id", "conversation_id"], name="session_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["last_used_at"], name="session_last_used"),
            models.Index(fields=["key_id", "last_used_at"], name="session_of_key"),
        ]

    def __str__(self) -> str:
        return f"{self.key_label} {self.conversation_id}"


class SessionHistory(models.Model):
    """Messages of a session up to its last answer, if settings and key allow it.

    answer: for a stored response, the upstream's complete message and the dialect's form of it; else empty.
    """

    session = models.OneToOneField(Session, on_delete=models.CASCADE, primary_key=True, related_name="history")
    messages = models.BinaryField()
    answer = models.BinaryField(default=bytes)

    def __str__(self) -> str:
        return str(self.session_id)
