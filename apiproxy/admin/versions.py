"""Admin of agents' versions, which are only shown."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from apiproxy.admin.version_diff import as_lines, changed_fields, difference
from apiproxy.models import Agent, AgentVersion


@admin.register(AgentVersion)
class AgentVersionAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Versions of agents: what they consist of, and how they differ from the one before."""

    list_display = ("shown_name", "created_at", "created_by", "changed")
    list_filter = ("slug",)
    search_fields = ("slug", "created_by")
    empty_hint = "Saving an agent makes the first."
    actions: ClassVar[list[str]] = ["restore"]
    fields = ("shown_name", "created_at", "created_by", "diff", "definition")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_restore_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("apiproxy.change_agent"))

    @admin.display(description="version", ordering="number")
    def shown_name(self, version: AgentVersion) -> str:
        return str(version)

    @admin.display(description="changed fields")
    def changed(self, version: AgentVersion) -> str:
        before = _before(version)
        return "first version" if before is None else ", ".join(changed_fields(before, version.definition())) or "–"

    @admin.display(description="changes")
    def diff(self, version: AgentVersion) -> SafeString | str:
        before = _before(version)
        if before is None:
            return "first version"
        lines = difference(before, version.definition())
        return render_to_string("apiproxy/version_diff.html", {"lines": lines})

    @admin.display(description="definition")
    def definition(self, version: AgentVersion) -> SafeString:
        parts = []
        for name, value in version.definition().items():
            lines = as_lines(value)
            parts.append(
                f"{name}: {lines[0]}" if len(lines) == 1 else f"{name}:" + "".join(f"\n  {it}" for it in lines)
            )
        return format_html("<pre>{}</pre>", "\n".join(parts))

    @admin.action(description="Make this the agent's current definition", permissions=["restore"])
    def restore(self, request: HttpRequest, queryset: QuerySet[AgentVersion]) -> None:
        """Save the definition of one version as the agent's newest."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Select one version.", messages.ERROR)
            return
        (version,) = chosen
        with transaction.atomic():
            agent = Agent.objects.select_for_update().filter(pk=version.slug).first()
            if agent is None:
                self.message_user(request, f"There is no agent {version.slug} any more.", messages.ERROR)
                return
            for name, value in version.definition().items():
                setattr(agent, name, value)
            agent.changed_by = request.user.get_username()
            agent.save()
            self.log_change(request, agent, f"Restored the definition of version {version.number}.")
        self.message_user(request, f"{agent} now has the definition of {version}, as {agent}@{agent.version}.")


def _before(version: AgentVersion) -> dict[str, Any] | None:
    """Definition of the version before."""
    earlier = AgentVersion.objects.filter(slug=version.slug, number__lt=version.number).order_by("number").last()
    return None if earlier is None else earlier.definition()
