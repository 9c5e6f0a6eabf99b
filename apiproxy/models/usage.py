"""Usage of keys, and reservations of their active runs."""

from typing import ClassVar

from django.db import models

NAME_CHARS = 200


def count() -> "models.PositiveBigIntegerField[int, int]":
    """Field for a counter."""
    return models.PositiveBigIntegerField(default=0)


class Usage(models.Model):
    """Totals per key, model and day (UTC, by the time of receipt).

    Incremented, never overwritten. The key is copied, not a foreign key: its usage outlives it. cost_micro_usd is an
    estimate, without requests that have no price (`unpriced`), and with the priced part of those in `partly_unpriced`.
    """

    key_id = models.BigIntegerField()
    key_label = models.CharField(max_length=100)
    model = models.CharField(max_length=NAME_CHARS)
    day = models.DateField()
    requests = count()
    failures = count()
    unpriced = count()
    partly_unpriced = count()
    input_tokens = count()
    output_tokens = count()
    cache_read_tokens = count()
    cache_creation_tokens = count()
    cost_micro_usd = count()

    class Meta:
        ordering = ("-day", "key_label", "model")
        verbose_name_plural = "usage"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key_id", "day", "model"], name="usage_once"),
        ]

    def __str__(self) -> str:
        return f"{self.key_label} {self.model} {self.day}"


class Reservation(models.Model):
    """Reservation of a run of a limited key.

    Kept for one minute after the run's end, for the limits per minute. Times are Unix milliseconds. settled_ms: None
    while the run is active. tokens: reserved, then used ones. micro_usd: reserved cost; once settled, the cost is in
    `Usage`. A reservation ends if its process does not renew the lease.
    """

    run_id = models.CharField(primary_key=True, max_length=64)
    key_id = models.BigIntegerField(db_index=True)
    day = models.DateField()
    at_ms = models.BigIntegerField()
    settled_ms = models.BigIntegerField(null=True)
    lease_ms = models.BigIntegerField()
    tokens = count()
    micro_usd = count()
    owner = models.CharField(max_length=NAME_CHARS, help_text="Node, process id and start of the process.")

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner"], name="reservation_open", condition=models.Q(settled_ms__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.run_id
