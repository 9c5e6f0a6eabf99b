"""Read-only admin of usage and sessions, with CSV export of usage."""

import csv
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db import connections, transaction
from django.db.models import Model as AnyModel
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.text import Truncator
from unfold.admin import ModelAdmin

from apiproxy.core.limits import MICRO, usd
from apiproxy.models import ApiKey, Session, Usage

_CSV_COLUMNS = (
    "day",
    "key_id",
    "key_label",
    "model",
    "requests",
    "failures",
    "unpriced",
    "partly_unpriced",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "cost_micro_usd",
)
SHOWN_DAYS = 30
_SHOWN_CHARS = 36
_CHUNK_ROWS = 1_000
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """File-like object for `csv.writer` that returns each line."""

    def write(self, text: str) -> str:
        return text


def csv_lines(rows: "QuerySet[Usage]") -> Iterator[str]:
    """The rows as CSV with a header line; the cost is an estimate in USD."""
    writer = csv.writer(_Line())
    yield writer.writerow([*_CSV_COLUMNS[:-1], "cost_usd_estimate"])
    with _one_server(rows.db):
        for *values, cost in rows.values_list(*_CSV_COLUMNS).iterator(chunk_size=_CHUNK_ROWS):
            yield writer.writerow([*map(_plain, values), _to_the_micro(cost)])


def _one_server(alias: str) -> AbstractContextManager[object]:
    """Transaction on PostgreSQL, nothing on other databases.

    Without it, PgBouncer may send each fetch of the cursor to another server connection.
    SQLite's would be one that writes.
    """
    return transaction.atomic(using=alias) if connections[alias].vendor == "postgresql" else nullcontext()


def _plain(value: Any) -> Any:
    """Quote user input that a spreadsheet would read as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def recent_days(key: ApiKey) -> list[dict[str, Any]]:
    """Usage of the key on recent days, newest first; all but `day` as text."""
    since = timezone.now().date() - timedelta(days=SHOWN_DAYS - 1)
    rows = Usage.objects.filter(key_id=key.pk, day__gte=since).order_by().values("day")
    summed: Any = rows.annotate(
        asked=Sum("requests"),
        failed=Sum("failures"),
        tokens_in=Sum("input_tokens") + Sum("cache_read_tokens") + Sum("cache_creation_tokens"),
        cache_read=Sum("cache_read_tokens"),
        tokens_out=Sum("output_tokens"),
        micro_usd=Sum("cost_micro_usd"),
        not_priced=Sum("unpriced") + Sum("partly_unpriced"),
    )
    counts = ("asked", "failed", "tokens_in", "tokens_out")
    return [
        {
            "day": row["day"],
            "cost": usd(row["micro_usd"]) + (" +" if row["not_priced"] else ""),
            "cached": f"{row['cache_read'] / row['tokens_in']:.0%}" if row["tokens_in"] else "–",
            **{name: f"{row[name]:,}" for name in counts},
        }
        for row in summed.order_by("-day")
    ]


class _ReadOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows written only by the gateway."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        return False


@admin.register(Usage)
class UsageAdmin(_ReadOnly):
    """Usage by key, model and day."""

    list_display = ("day", "key", "model", "requests", "failures", "tokens_in", "tokens_out", "shown_cost")
    list_filter = ("key_label", "model", "day")
    empty_hint = "Each request with an API key adds to the row of its day."
    search_fields = ("key_label", "model")
    date_hierarchy = "day"
    actions: ClassVar[list[str]] = ["export"]

    def has_delete_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        return False  # budgets read these rows

    @admin.display(description="key", ordering="key_label")
    def key(self, row: Usage) -> str:
        return row.key_label

    @admin.display(description="tokens in")
    def tokens_in(self, row: Usage) -> str:
        return f"{row.input_tokens + row.cache_read_tokens + row.cache_creation_tokens:,}"

    @admin.display(description="tokens out", ordering="output_tokens")
    def tokens_out(self, row: Usage) -> str:
        return f"{row.output_tokens:,}"

    @admin.display(description="cost (estimate)", ordering="cost_micro_usd")
    def shown_cost(self, row: Usage) -> str:
        """In USD; "+" if some requests were not fully priced."""
        return f"{_to_the_micro(row.cost_micro_usd)} USD{' +' if row.unpriced or row.partly_unpriced else ''}"

    @admin.action(description="Export the selected rows as CSV", permissions=["view"])
    def export(self, request: HttpRequest, queryset: "QuerySet[Usage]") -> StreamingHttpResponse:
        response = StreamingHttpResponse(csv_lines(queryset.order_by("day", "key_label", "model")), "text/csv")
        response["Content-Disposition"] = 'attachment; filename="usage.csv"'
        return response


@admin.register(Session)
class SessionAdmin(_ReadOnly):
    """Sessions: conversations identified by an id."""

    list_display = (
        "conversation",
        "key",
        "model",
        "turns",
        "resumes",
        "resets",
        "failures",
        "shown_cost",
        "last_used",
    )
    list_filter = ("key_label", "model", "dialect")
    empty_hint = "Clients that send x-conversation-id with their requests create sessions."
    search_fields = ("conversation_id", "key_label")
    exclude = ("chain", "heads")

    @admin.display(description="conversation", ordering="conversation_id")
    def conversation(self, row: Session) -> str:
        return Truncator(row.conversation_id).chars(_SHOWN_CHARS)

    @admin.display(description="key", ordering="key_label")
    def key(self, row: Session) -> str:
        return row.key_label

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, row: Session) -> datetime:
        return row.last_used_at

    @admin.display(description="cost (estimate)", ordering="cost_micro_usd")
    def shown_cost(self, row: Session) -> str:
        """In USD; "+" if some turns were not fully priced."""
        return f"{_to_the_micro(row.cost_micro_usd)} USD{' +' if row.unpriced or row.partly_unpriced else ''}"


def _to_the_micro(micro_usd: int) -> str:
    """US dollars with a fixed number of decimals, so that columns align."""
    return f"{micro_usd / MICRO:.6f}"
