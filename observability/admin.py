"""Traces, error dumps and stored bodies in the admin: to look at, never to change."""

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
"""Pages are numbered up to so many rows; counting millions for the number of the last page takes seconds."""

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
        """How many rows there are, or the most that are counted."""
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows.order_by()[:COUNTED_ROWS].count()


class Record(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that the gateway writes and nobody edits."""

    actions: ClassVar[list[str]] = []
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    empty_hint = ""
    """What to say of an empty list."""

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Without a filter the title does not offer to show all, which it does for want of a full count."""
        found = super().get_changelist_instance(request)
        if not found.query and not found.has_active_filters:
            found.full_result_count = found.result_count
        return found  # type: ignore[no-any-return]  # unfold has no types

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The gateway adds them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """`prunetraces` deletes them."""
        return False


class Received(admin.SimpleListFilter):
    """How long ago a request came in."""

    title = "received"
    parameter_name = "received"
    _HOURS: ClassVar[dict[str, tuple[str, int]]] = {
        "1h": ("Last hour", 1),
        "24h": ("Last 24 hours", 24),
        "7d": ("Last 7 days", 7 * 24),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """The choices."""
        return [(name, title) for name, (title, _) in self._HOURS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows since then."""
        chosen = self._HOURS.get(self.value() or "")
        return (
            queryset
            if chosen is None
            else queryset.filter(received_at__gte=timezone.now() - timedelta(hours=chosen[1]))
        )


@admin.register(Trace)
class TraceAdmin(Record):
    """Traces; the dashboard's page of the same request shows more."""

    list_display = ("short_id", "received", "state", "key_label", "model", "shown_duration", "error")
    empty_hint = "Every request to the API leaves one."
    # Choices that are known: a filter that asks the table for its values reads all of it.
    list_filter = (Received, "status", "end_reason")
    search_fields = ("id", "conversation_id")
    search_help_text = "A request's id or a session's, in full"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Trace], search_term: str
    ) -> tuple[QuerySet[Trace], bool]:
        """What an index answers; Django's own search would compare every row."""
        term = search_term.strip()
        return (queryset.filter(Q(pk=term) | Q(conversation_id=term)) if term else queryset), False

    @admin.display(description="request")
    def short_id(self, trace: Trace) -> str:
        """The id."""
        return trace.pk

    @admin.display(description="received")
    def received(self, trace: Trace) -> datetime:
        """When."""
        return trace.received_at

    @unfold_display(description="outcome", label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, trace: Trace) -> tuple[str, str]:
        """The status, told by the end reason."""
        reason = trace.end_reason or trace.status
        return trace.status, _words(reason)

    @admin.display(description="duration")
    def shown_duration(self, trace: Trace) -> str:
        """With its unit."""
        return "–" if trace.duration_ms is None else shown_duration(trace.duration_ms)

    @admin.display(description="error")
    def error(self, trace: Trace) -> str:
        """Its type."""
        return _words(trace.error_type)

    def get_fieldsets(self, request: HttpRequest, obj: Trace | None = None) -> Any:
        """A link to the dashboard first."""
        names = [field.name for field in Trace._meta.concrete_fields]
        return ((None, {"fields": ("dashboard_link", *names)}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Trace | None = None) -> Any:
        """All of them."""
        return ("dashboard_link", *(field.name for field in Trace._meta.concrete_fields))

    @admin.display(description="in the dashboard")
    def dashboard_link(self, trace: Trace) -> SafeString:
        """Where its phases are drawn."""
        return _link(trace.pk)


class Dated(Record):
    """Rows of a trace, with JSON in them."""

    list_display: tuple[str, ...] = ("trace_id", "created")
    search_fields = ("trace_id",)
    search_help_text = "A request's id in full"
    list_filter = ()
    ordering = ("-created_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the key, as above."""
        term = search_term.strip()
        return (queryset.filter(pk=term) if term else queryset), False

    @admin.display(description="created", ordering="created_at")
    def created(self, row: Any) -> datetime:
        """When."""
        return row.created_at  # type: ignore[no-any-return]  # a row of either model

    @admin.display(description="in the dashboard")
    def dashboard_link(self, row: Any) -> SafeString:
        """The page of its request."""
        return _link(row.trace_id)

    def _shown(self, value: Any) -> SafeString:
        return format_html('<pre tabindex="0">{}</pre>', json.dumps(value, ensure_ascii=False, indent=2))


@admin.register(ErrorDump)
class ErrorDumpAdmin(Dated):
    """Error dumps."""

    empty_hint = "A request that fails in the gateway or at the upstream leaves one."
    list_display = ("trace_id", "created", "kind", "phase")
    fields = ("dashboard_link", "trace_id", "created_at", "shown_data")
    readonly_fields = fields

    @admin.display(description="type")
    def kind(self, dump: ErrorDump) -> str:
        """The error's type."""
        return _words((dump.data.get("error") or {}).get("type"))

    @admin.display(description="after phase")
    def phase(self, dump: ErrorDump) -> str:
        """Where it happened."""
        return _words((dump.data.get("error") or {}).get("phase"))

    @admin.display(description="dump")
    def shown_data(self, dump: ErrorDump) -> SafeString:
        """As it is kept: redacted."""
        return self._shown(dump.data)


@admin.register(StoredBody)
class StoredBodyAdmin(Dated):
    """Requests and answers of keys that say to keep them."""

    empty_hint = "“Store bodies” of an API key keeps them from then on."
    fields = ("dashboard_link", "trace_id", "created_at", "shown_request", "shown_answer")
    readonly_fields = fields

    @admin.display(description="request")
    def shown_request(self, body: StoredBody) -> SafeString:
        """Without credentials."""
        return self._shown(body.request)

    @admin.display(description="answer")
    def shown_answer(self, body: StoredBody) -> SafeString:
        """As it was sent."""
        return self._shown(body.answer)


def _words(name: str | None) -> str:
    return name.replace("_", " ") if name else "–"


def _link(trace_id: str) -> SafeString:
    """Its text is not the id, which the next line shows."""
    return format_html('<a href="{}">Phases, figures and events</a>', reverse("dashboard:request", args=[trace_id]))
