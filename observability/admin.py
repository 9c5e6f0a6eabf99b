"""Read-only admin of traces, error dumps and stored bodies."""

import json
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display as unfold_display

from observability.models import ErrorDump, StoredBody, Trace
from observability.templatetags.observability import shown_duration
from observability.vocabulary import Status

COUNTED_ROWS = 10_000
"""Rows counted for page numbers at most; counting millions would take seconds."""

_STATES = {
    Status.COMPLETED.value: "success",
    Status.ACTIVE.value: "info",
    Status.ERROR.value: "danger",
    Status.REFUSED.value: "warning",
    Status.CANCELLED.value: "",
    Status.INTERRUPTED.value: "warning",
}


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """A paginator that counts `COUNTED_ROWS` rows at most."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows.order_by()[:COUNTED_ROWS].count()


class Record(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Read-only admin of rows that the gateway writes."""

    actions: ClassVar[list[str]] = []
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    empty_hint = ""
    """Explanation shown in an empty list."""

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Set the full count, else Unfold offers to show all rows even without a filter."""
        found = super().get_changelist_instance(request)
        if not found.query and not found.has_active_filters:
            found.full_result_count = found.result_count
        return found  # type: ignore[no-any-return]  # unfold has no types

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # `prunetraces` deletes rows


class Received(admin.SimpleListFilter):
    """Filter by age of the request."""

    title = "received"
    parameter_name = "received"
    _HOURS: ClassVar[dict[str, tuple[str, int]]] = {
        "1h": ("Last hour", 1),
        "24h": ("Last 24 hours", 24),
        "7d": ("Last 7 days", 7 * 24),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(name, title) for name, (title, _) in self._HOURS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self._HOURS.get(self.value() or "")
        return (
            queryset
            if chosen is None
            else queryset.filter(received_at__gte=timezone.now() - timedelta(hours=chosen[1]))
        )


@admin.register(Trace)
class TraceAdmin(Record):
    """Traces; the request's page in the dashboard shows more."""

    list_display = ("short_id", "received", "state", "key_label", "model", "shown_duration", "error")
    empty_hint = "Every API request creates one."
    # Fixed choices only: a filter that collects its values from the table reads all rows.
    list_filter = (Received, "status", "end_reason")
    search_fields = ("id", "conversation_id")
    search_help_text = "Complete id of a request or a session"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Trace], search_term: str
    ) -> tuple[QuerySet[Trace], bool]:
        """Search by exact id, which has an index; Django's search would compare every row."""
        term = search_term.strip()
        return (queryset.filter(Q(pk=term) | Q(conversation_id=term)) if term else queryset), False

    @admin.display(description="request")
    def short_id(self, trace: Trace) -> str:
        return trace.pk

    @admin.display(description="received")
    def received(self, trace: Trace) -> datetime:
        return trace.received_at

    @unfold_display(description="outcome", label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, trace: Trace) -> tuple[str, str]:
        """End reason, coloured by status."""
        reason = trace.end_reason or trace.status
        return trace.status, _words(reason)

    @admin.display(description="duration")
    def shown_duration(self, trace: Trace) -> str:
        return "–" if trace.duration_ms is None else shown_duration(trace.duration_ms)

    @admin.display(description="error")
    def error(self, trace: Trace) -> str:
        return _words(trace.error_type)

    def get_fieldsets(self, request: HttpRequest, obj: Trace | None = None) -> Any:
        names = [field.name for field in Trace._meta.concrete_fields]
        return ((None, {"fields": ("dashboard_link", *names)}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Trace | None = None) -> Any:
        return ("dashboard_link", *(field.name for field in Trace._meta.concrete_fields))

    @admin.display(description="in the dashboard")
    def dashboard_link(self, trace: Trace) -> SafeString:
        return _link(trace.pk)


class Dated(Record):
    """Rows that belong to a trace and hold JSON."""

    list_display: tuple[str, ...] = ("trace_id", "created")
    search_fields = ("trace_id",)
    search_help_text = "Complete id of a request"
    list_filter = ()
    ordering = ("-created_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by exact id, as for traces."""
        term = search_term.strip()
        return (queryset.filter(pk=term) if term else queryset), False

    @admin.display(description="created", ordering="created_at")
    def created(self, row: Any) -> datetime:
        return row.created_at  # type: ignore[no-any-return]  # a row of either model

    @admin.display(description="in the dashboard")
    def dashboard_link(self, row: Any) -> SafeString:
        return _link(row.trace_id)

    def _shown(self, value: Any) -> SafeString:
        return format_html('<pre tabindex="0">{}</pre>', json.dumps(value, ensure_ascii=False, indent=2))


@admin.register(ErrorDump)
class ErrorDumpAdmin(Dated):
    """Error dumps."""

    empty_hint = "Every request that fails in the gateway or at the upstream creates one."
    list_display = ("trace_id", "created", "kind", "phase")
    fields = ("dashboard_link", "trace_id", "created_at", "shown_data")
    readonly_fields = fields

    @admin.display(description="type")
    def kind(self, dump: ErrorDump) -> str:
        return _words((dump.data.get("error") or {}).get("type"))

    @admin.display(description="after phase")
    def phase(self, dump: ErrorDump) -> str:
        return _words((dump.data.get("error") or {}).get("phase"))

    @admin.display(description="dump")
    def shown_data(self, dump: ErrorDump) -> SafeString:
        return self._shown(dump.data)


@admin.register(StoredBody)
class StoredBodyAdmin(Dated):
    """Request and response bodies of keys that store them."""

    empty_hint = "Turn on “Store bodies” for an API key to store its bodies."
    fields = ("dashboard_link", "trace_id", "created_at", "shown_request", "shown_answer")
    readonly_fields = fields

    @admin.display(description="request")
    def shown_request(self, body: StoredBody) -> SafeString:
        return self._shown(body.request)

    @admin.display(description="answer")
    def shown_answer(self, body: StoredBody) -> SafeString:
        return self._shown(body.answer)


def _words(name: str | None) -> str:
    return name.replace("_", " ") if name else "–"


def _link(trace_id: str) -> SafeString:
    """Link to the dashboard. The next field shows the id, so the text does not."""
    return format_html('<a href="{}">Phases, figures and events</a>', reverse("dashboard:request", args=[trace_id]))
