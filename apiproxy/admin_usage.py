"""Usage and sessions in the admin: to be read, and usage to be taken away as CSV."""

import csv
from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model as AnyModel
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from unfold.admin import ModelAdmin

from apiproxy.limits.values import MICRO, usd
from apiproxy.models import Session, Usage

_CSV_COLUMNS = (
    *("day", "key_id", "key_label", "model", "requests", "failures", "unpriced", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_creation_tokens", "cost_micro_usd"),
)
_CHUNK_ROWS = 1_000
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """What `csv` writes to: it gives back what it is given."""

    def write(self, text: str) -> str:
        """The line."""
        return text


def csv_lines(rows: "QuerySet[Usage]") -> Iterator[str]:
    """The rows as CSV, with a line of names first; the cost is an estimate in USD."""
    writer = csv.writer(_Line())
    yield writer.writerow([*_CSV_COLUMNS[:-1], "cost_usd_estimate"])
    for *values, cost in rows.values_list(*_CSV_COLUMNS).iterator(chunk_size=_CHUNK_ROWS):
        yield writer.writerow([*map(_plain, values), f"{cost / MICRO:.6f}"])


def _plain(value: Any) -> Any:
    """A text that a spreadsheet does not take for a formula: names of keys and models come from outside."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


class _ReadOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that the gateway alone writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        """Nobody."""
        return False


@admin.register(Usage)
class UsageAdmin(_ReadOnly):
    """What keys have used, by model and day."""

    list_display = (
        *("day", "key_label", "model", "requests", "failures", "input_tokens", "output_tokens"),
        *("cache_read_tokens", "cache_creation_tokens", "shown_cost"),
    )
    list_filter = ("key_label", "model", "day")
    search_fields = ("key_label", "model")
    date_hierarchy = "day"
    actions: ClassVar[list[str]] = ["export"]

    def has_delete_permission(self, request: HttpRequest, obj: AnyModel | None = None) -> bool:
        """Nobody: budgets read these rows."""
        return False

    @admin.display(description="cost (estimate)", ordering="cost_micro_usd")
    def shown_cost(self, row: Usage) -> str:
        """In USD; a + where some requests had no price."""
        return f"{usd(row.cost_micro_usd)} USD{' +' if row.unpriced else ''}"

    @admin.action(description="Export the selected rows as CSV", permissions=["view"])
    def export(self, request: HttpRequest, queryset: "QuerySet[Usage]") -> StreamingHttpResponse:
        """A file with a line for each row."""
        response = StreamingHttpResponse(csv_lines(queryset.order_by("day", "key_label", "model")), "text/csv")
        response["Content-Disposition"] = 'attachment; filename="usage.csv"'
        return response


@admin.register(Session)
class SessionAdmin(_ReadOnly):
    """Conversations that are known by an id."""

    list_display = (
        *("conversation_id", "key_label", "model", "turns", "resumes", "resets", "failures", "message_count"),
        *("last_change", "shown_cost", "last_used_at"),
    )
    list_filter = ("key_label", "model", "dialect")
    search_fields = ("conversation_id", "key_label")
    exclude = ("chain", "heads")

    @admin.display(description="cost (estimate)", ordering="cost_micro_usd")
    def shown_cost(self, row: Session) -> str:
        """In USD."""
        return f"{usd(row.cost_micro_usd)} USD"
