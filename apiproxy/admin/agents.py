"""Admin of agents."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display as unfold_display
from unfold.views import ChangeList

from apiproxy.admin.agent_form import AgentForm
from apiproxy.admin.version_diff import changed_fields
from apiproxy.catalog.agents import AgentParts, problem_of
from apiproxy.catalog.stored import stored_parts
from apiproxy.conf import gateway_settings
from apiproxy.keys.allow_lists import matches_name
from apiproxy.models import Agent, AgentVersion, ApiKey

SHOWN_VERSIONS = 30
SHOWN_KEYS = 30
_STATES = {"in use": "success", "cannot run": "danger", "disabled": "warning"}
# Replaces fields that would be displayed as JSON, or not at all, to users without the change permission.
_SHOWN = {
    "tools": "shown_tools",
    "mcp_servers": "shown_servers",
    "thinking_mode": "shown_thinking",
    "thinking_budget": None,
    "base_version": None,
}


class AgentList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """List of agents with their problems, for which models and servers are read once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        parts = stored_parts()
        for agent in self.result_list:
            agent.problem = agent_problem(agent, parts)


@admin.register(Agent)
class AgentAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Agents. Each change of a definition makes a version."""

    form = AgentForm
    list_display = ("slug", "display_name", "model", "shown_tools", "shown_servers", "version", "state")
    list_filter = ("enabled",)
    search_fields = ("slug", "display_name", "description")
    readonly_fields = ("shown_tools", "shown_servers", "shown_thinking", "shown_state", "shown_keys", "versions")
    fieldsets = (
        (None, {"fields": ("slug", "display_name", "description", "enabled", "base_version")}),
        ("Model", {"fields": ("model", "system", "allow_client_system", "effort", "thinking_mode", "thinking_budget")}),
        ("Tools", {"fields": ("tools", "mcp_servers", "show_tool_calls")}),
        ("Limits of a run", {"fields": ("max_calls", "budget_usd", "max_duration_s")}),
        ("Answer and workers", {"fields": ("output_schema", "min_idle")}),
    )
    history_fieldsets = (("State", {"fields": ("shown_state", "shown_keys", "versions")}),)

    @admin.display(description="built-in tools")
    def shown_tools(self, agent: Agent) -> str:
        return ", ".join(agent.tools) or "–"

    @admin.display(description="MCP servers")
    def shown_servers(self, agent: Agent) -> str:
        return ", ".join(agent.mcp_servers) or "–"

    @admin.display(description="thinking")
    def shown_thinking(self, agent: Agent) -> str:
        thinking = agent.thinking or {}
        return " ".join(str(value) for value in thinking.values()) or "–"

    @unfold_display(label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, agent: Agent) -> str:
        if not agent.enabled:
            return "disabled"
        return "cannot run" if agent.problem else "in use"

    @admin.display(description="state")
    def shown_state(self, agent: Agent) -> str:
        if not agent.enabled:
            return "disabled: requests get a 404"
        problem = agent_problem(agent, stored_parts())
        return f"cannot run: {problem}" if problem else f"in use, version {agent.version}"

    @admin.display(description="keys that may use it")
    def shown_keys(self, agent: Agent) -> str:
        names = [key.name for key in ApiKey.objects.filter(revoked_at=None) if _names_agent(key, agent.slug)]
        more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
        return ", ".join(names[:SHOWN_KEYS]) + more or "none: name it in the allowed models of a key"

    @admin.display(description="versions")
    def versions(self, agent: Agent) -> SafeString:
        rows = list(AgentVersion.objects.filter(slug=agent.slug).order_by("-number")[: SHOWN_VERSIONS + 1])
        shown = [
            {"version": row, "changed": _changes(row, rows[at + 1] if at + 1 < len(rows) else None)}
            for at, row in enumerate(rows[:SHOWN_VERSIONS])
        ]
        context = {"rows": shown, "agent": agent, "more": len(rows) > SHOWN_VERSIONS}
        return render_to_string("apiproxy/agent_versions.html", context)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[AgentList]:
        return AgentList

    def get_readonly_fields(self, request: HttpRequest, obj: Agent | None = None) -> tuple[str, ...]:
        # The slug is the primary key: changing it would add an agent.
        return self.readonly_fields if obj is None else (*self.readonly_fields, "slug")

    def get_fieldsets(self, request: HttpRequest, obj: Agent | None = None) -> tuple[Any, ...]:
        if obj is None:
            return self.fieldsets
        if self.has_change_permission(request, obj):
            return (*self.fieldsets, *self.history_fieldsets)
        shown = tuple(
            (title, {"fields": tuple(name for field in options["fields"] if (name := _SHOWN.get(field, field)))})
            for title, options in self.fieldsets
        )
        return (*shown, *self.history_fieldsets)

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        obj.changed_by = request.user.get_username()
        super().save_model(request, obj, form, change)


def agent_problem(agent: Agent, parts: AgentParts) -> str:
    """Why requests for the agent fail; empty if they do not."""
    if (target := gateway_settings().model_aliases.get(agent.slug)) is not None:
        return f"CLAUDE_PROXY_MODEL_ALIASES makes its slug an alias of {target}."
    if agent.slug in parts.models or any(agent.slug in model.names for model in parts.models.values()):
        return "Its slug is also the name of a model, which requests get."
    problem = problem_of(agent, parts)
    return "" if problem is None else problem.reason


def _names_agent(key: ApiKey, slug: str) -> bool:
    return any(matches_name(pattern, slug) or pattern.startswith(f"{slug}@") for pattern in key.allowed_models)


def _changes(version: AgentVersion, before: AgentVersion | None) -> str:
    if before is None:
        return "first version" if version.number == 1 else ""
    return ", ".join(changed_fields(before.definition(), version.definition()))
