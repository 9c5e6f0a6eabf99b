"""What keys have used, and what they have reserved for the runs that go on now."""

from typing import ClassVar

from django.db import models

NAME_CHARS = 200


def count() -> "models.PositiveBigIntegerField[int, int]":
    """A number that only grows."""
    return models.PositiveBigIntegerField(default=0)


class Usage(models.Model):
    """The sums of a key, a model and a day (UTC, of when the requests came in). Added to, never overwritten.

    A key is copied, not referred to: what it used outlives it. cost_micro_usd is an estimate in millionths of a dollar,
    without the requests of which nothing has a price (`unpriced`), and with the known part of those that have a price
    for a part only (`partly_unpriced`).
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
    """What a run of a limited key has taken from its limits; kept for a minute after its end, for those per minute.

    Times are Unix milliseconds. settled_ms is None while the run goes on; tokens are reserved ones until then and used
    ones afterwards; micro_usd (millionths of a dollar) are reserved ones: once settled, the cost is in `Usage`. A run
    whose process has not renewed its lease is over, and gives back what it had.
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
