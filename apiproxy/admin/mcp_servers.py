"""Admin of agents' MCP servers."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action as unfold_action
from unfold.decorators import display as unfold_display

from apiproxy.admin.fields import NamesField, PairsField
from apiproxy.admin.mcp_check import check
from apiproxy.core.encryption import UnreadableError
from apiproxy.models import Agent, McpServer
from apiproxy.models.mcp_secrets import Secrets
from apiproxy.models.mcp_servers import Transport, validate_arguments, validate_tool_patterns

MAX_CHECKS = 10
"""Servers that one action tests."""
_STATES = {"works": "success", "not tested": "info", "down": "danger", "unreadable": "danger", "disabled": "warning"}
_KEEP = "******** keeps a stored value, which is never shown."


class McpServerForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form of a server. Stored secrets are masked."""

    headers = PairsField(
        separator=":", help_text=f"Such as `authorization: Bearer …`, one a line; stored encrypted. {_KEEP}"
    )
    env = PairsField(
        separator="=",
        label="Environment variables",
        help_text=f"`NAME=value`, one a line; stored encrypted. {_KEEP} Commands that an agent runs with Bash can read "
        "them.",
    )
    args = NamesField(
        label="Arguments",
        required=False,
        validators=[validate_arguments],
        help_text="One per line. Not secret: put tokens into environment variables.",
    )
    allowed_tools = NamesField(
        initial=["*"], validators=[validate_tool_patterns], help_text="One per line; * matches any characters."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stored = not self.instance._state.adding
        self._place = self.instance.place if self._stored else ""
        masked = _masked(self.instance)
        self.initial = {**self.initial, "headers": dict(masked.headers), "env": dict(masked.env)}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        if any(name in self.errors for name in ("headers", "env", "url", "transport")):
            return
        moved = self._stored and self.instance.place != self._place
        given = {name: self.cleaned_data.get(name, {}) for name in ("headers", "env")}
        try:
            self.instance.set_secrets(**given, moved=moved)
        except ValidationError as error:
            self.add_error(None, error)


@admin.register(McpServer)
class McpServerAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """MCP servers of agents."""

    form = McpServerForm
    list_display = ("name", "transport", "shown_place", "state", "required", "agents", "checked_at")
    list_filter = ("transport", "enabled")
    search_fields = ("name", "url", "command")
    actions: ClassVar[list[str]] = ["check_selected"]
    actions_submit_line = ("check_this",)
    readonly_fields = ("shown_check", "shown_headers", "shown_env")
    fieldsets = (
        (None, {"fields": ("name", "transport", "enabled", "required")}),
        ("Server over HTTP", {"fields": ("url", "headers")}),
        ("Command in the jail", {"fields": ("command", "args", "env")}),
        ("Tools", {"fields": ("allowed_tools",)}),
    )

    @admin.display(description="address or command")
    def shown_place(self, server: McpServer) -> str:
        return " ".join([server.command, *server.args]) if server.transport == Transport.STDIO else server.url

    @unfold_display(label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, server: McpServer) -> str:
        return server_state(server)

    @admin.display(description="used by")
    def agents(self, server: McpServer) -> str:
        # Not a query on JSON: databases differ in it, and there are few agents.
        return ", ".join(agent.slug for agent in Agent.objects.all() if server.name in agent.mcp_servers) or "–"

    @admin.display(description="last test")
    def shown_check(self, server: McpServer) -> str:
        if server.checked_at is None:
            return "none yet"
        return f"{server.checked_at:%Y-%m-%d %H:%M} UTC: {server.check_problem or 'it works'}"

    @admin.display(description="headers")
    def shown_headers(self, server: McpServer) -> str:
        return ", ".join(_masked(server).headers) or "–"

    @admin.display(description="environment variables")
    def shown_env(self, server: McpServer) -> str:
        return ", ".join(_masked(server).env) or "–"

    def get_readonly_fields(self, request: HttpRequest, obj: McpServer | None = None) -> tuple[str, ...]:
        # The name is the primary key: changing it would add a server.
        return self.readonly_fields if obj is None else (*self.readonly_fields, "name")

    def get_fieldsets(self, request: HttpRequest, obj: McpServer | None = None) -> tuple[Any, ...]:
        if obj is None:
            return self.fieldsets
        fieldsets = (*self.fieldsets, ("State", {"fields": ("shown_check",)}))
        if self.has_change_permission(request, obj):
            return fieldsets
        shown = {"headers": "shown_headers", "env": "shown_env"}
        return tuple(
            (title, {"fields": tuple(shown.get(name, name) for name in options["fields"])})
            for title, options in fieldsets
        )

    @admin.action(description="Test: connect and list the tools", permissions=["change"])
    def check_selected(self, request: HttpRequest, queryset: QuerySet[McpServer]) -> None:
        for server in queryset[:MAX_CHECKS]:
            self._check(request, server)

    @unfold_action(description="Save and test", icon="network_check", permissions=["change"])  # type: ignore[untyped-decorator]  # as above
    def check_this(self, request: HttpRequest, server: McpServer) -> None:
        # After the commit: a transaction that has written must not wait for a server.
        transaction.on_commit(lambda: self._check(request, server))

    def _check(self, request: HttpRequest, server: McpServer) -> None:
        outcome = check(server)
        level = messages.ERROR if outcome.problem else messages.SUCCESS
        self.message_user(request, f"{server.name}: {outcome.text}", level)


def server_state(server: McpServer) -> str:
    """One word about a server; the last test's outcome if nothing else is wrong."""
    if not server.enabled:
        return "disabled"
    try:
        server.read_secrets()
    except UnreadableError:
        return "unreadable"
    if server.checked_at is None:
        return "not tested"
    return "down" if server.check_problem else "works"


def _masked(server: McpServer) -> Secrets:
    try:
        return server.read_secrets().masked()
    except UnreadableError:
        return Secrets()
