"""Form of an agent."""

import json
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from apiproxy.core.agents import BARE_TOOLS
from apiproxy.models import Agent, McpServer, Model
from apiproxy.models.agent_checks import (
    TOOLS,
    validate_schema,
    validate_server_names,
    validate_thinking,
    validate_tools,
)

_TOOL_LABELS = {
    "Bash": "Bash: run commands",
    "Read": "Read files",
    "Edit": "Edit and create files",
    "Write": "Write files",
    "Glob": "Glob: find files by name",
    "Grep": "Grep: search in files",
}
_FULL = " (adds 1 KB to each prompt)"
_MODES = {
    "": "The model's default",
    "adaptive": "Adaptive",
    "disabled": "Off",
    "enabled": "A fixed number of tokens",
}


def tool_choices() -> list[tuple[str, str]]:
    """Built-in tools with their labels."""
    return [(name, _TOOL_LABELS[name] + ("" if name in BARE_TOOLS else _FULL)) for name in TOOLS]


class SchemaField(forms.JSONField):
    """JSON with indentation; an empty text for none."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form of an agent's current definition.

    base_version: the one that the page showed, so that a change of somebody else's meanwhile is not undone.
    """

    model = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget, help_text="It answers the agent's calls. Keys need no access to it."
    )
    system = forms.CharField(
        label="System prompt",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14}),
        help_text="Instructions of the agent. No client gets them, but the model may quote them: put no secrets here.",
    )
    thinking_mode = forms.ChoiceField(
        label="Thinking", choices=_MODES.items(), required=False, widget=UnfoldAdminSelectWidget
    )
    thinking_budget = forms.IntegerField(
        label="Thinking tokens",
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="For a fixed number: at least 1,024.",
    )
    tools = forms.MultipleChoiceField(
        label="Built-in tools",
        choices=tool_choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        validators=[validate_tools],
        help_text="They run in a jail: an empty folder of the run's own, which is deleted after it, without network "
        "and without the gateway's files and secrets. Clients and MCP servers can influence what is run.",
    )
    mcp_servers = forms.MultipleChoiceField(
        label="MCP servers",
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        validators=[validate_server_names],
        help_text="Every key that may use the agent can make it call their allowed tools, with the servers' own "
        "credentials.",
    )
    output_schema = SchemaField(
        label="Schema of the answer",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false"}),
        validators=[validate_schema],
        help_text='JSON schema with "type": "object". Empty: the answer is text.',
    )
    base_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        labels: ClassVar[dict[str, str]] = {"display_name": "Name"}
        help_texts: ClassVar[dict[str, str]] = {"effort": "Empty: the model's default."}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        agent = self.instance
        thinking = agent.thinking if isinstance(agent.thinking, dict) else {}
        self.initial = {
            **self.initial,
            "thinking_mode": thinking.get("type", ""),
            "thinking_budget": thinking.get("budget_tokens"),
            "base_version": agent.version or None,
        }
        self._offer("model", _model_choices(agent.model))
        self._offer("mcp_servers", _server_choices(agent.mcp_servers))
        if (servers := self.fields.get("mcp_servers")) is not None and not McpServer.objects.exists():
            servers.help_text = "There are none yet: add one under “MCP servers”."

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields.get(name)  # absent on a page that only shows
        if isinstance(field, forms.ChoiceField):
            field.choices = choices

    def clean(self) -> dict[str, Any] | None:
        """Combine both fields of thinking; reject a change of an outdated page."""
        cleaned = super().clean()
        mode, budget = self.cleaned_data.get("thinking_mode"), self.cleaned_data.get("thinking_budget")
        thinking = None if not mode else {"type": mode} | ({"budget_tokens": budget} if mode == "enabled" else {})
        if thinking is not None:
            try:
                validate_thinking(thinking)
            except ValidationError:
                self.add_error("thinking_budget", "Enter a number from 1,024 to 1,000,000.")
        self.instance.thinking = thinking
        if not self.instance._state.adding and self.cleaned_data.get("base_version") != self._current_version():
            raise ValidationError(
                "Somebody else has changed the agent meanwhile. Open the page again.", code="outdated"
            )
        return cleaned

    def _current_version(self) -> int | None:
        return Agent.objects.filter(pk=self.instance.pk).values_list("version", flat=True).first()


def _model_choices(current: str) -> list[tuple[str, str]]:
    rows = Model.objects.exclude(lifecycle="retired")
    choices = [(row.pk, f"{row.display_name} – {row.pk}") for row in rows if row.enabled or row.pk == current]
    if current and current not in dict(choices):
        choices.append((current, current))
    return choices


def _server_choices(current: list[str]) -> list[tuple[str, str]]:
    choices = [
        (row.name, row.name + ("" if row.enabled else " (disabled)") + (" (optional)" if not row.required else ""))
        for row in McpServer.objects.all()
    ]
    return choices + [(name, f"{name} (does not exist)") for name in current if name not in dict(choices)]
