"""Agents and their versions."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.models.agent_checks import (
    MAX_SLUG_CHARS,
    VERSION_MARK,
    validate_schema,
    validate_server_names,
    validate_slug,
    validate_thinking,
    validate_tools,
)
from apiproxy.models.catalog import Model
from apiproxy.models.mcp_servers import McpServer

MAX_SYSTEM_CHARS = 200_000
MAX_CALLS = 1_000
MAX_DURATION_S = 86_400
MAX_IDLE = 10
_MIN_BUDGET_USD = Decimal("0.0001")
_MAX_BUDGET_USD = Decimal(100_000)


class Effort(models.TextChoices):
    """`effort` of the Messages API."""

    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"
    XHIGH = "xhigh", "Very high"
    MAX = "max", "Maximum"


class ToolCallChoice(models.TextChoices):
    """Parts of tool calls that clients see (`core.agents.ToolCallDisplay`)."""

    ALL = "all", "Names, inputs and results"
    NAMES = "names", "Names"
    NONE = "none", "Nothing"


class AgentDefinition(models.Model):
    """Fields of a version of an agent."""

    display_name = models.CharField(max_length=200)
    description = models.CharField(max_length=500, blank=True, help_text="Shown by clients that list models.")
    model = models.CharField(max_length=200, help_text="Model that it runs on; keys need no access to it.")
    system = models.TextField(
        "System prompt",
        blank=True,
        validators=[MaxLengthValidator(MAX_SYSTEM_CHARS)],
        help_text="Instructions of the agent. Clients cannot read it, but the model may quote it: put no secrets here.",
    )
    allow_client_system = models.BooleanField(
        "Client's system prompt",
        default=False,
        help_text="It follows the agent's own. Off: a request with a system prompt gets a 400.",
    )
    effort = models.CharField(max_length=8, choices=Effort.choices, blank=True)
    thinking = models.JSONField(null=True, blank=True, validators=[validate_thinking])
    tools = models.JSONField("Built-in tools", default=list, blank=True, validators=[validate_tools])
    mcp_servers = models.JSONField("MCP servers", default=list, blank=True, validators=[validate_server_names])
    show_tool_calls = models.CharField(
        "Tool calls in answers",
        max_length=8,
        choices=ToolCallChoice.choices,
        default=ToolCallChoice.ALL,
        help_text="What clients see of them.",
    )
    max_calls = models.PositiveIntegerField(
        "Model calls",
        default=12,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_CALLS)],
        help_text="Per run. After the last one the answer ends with pause_turn.",
    )
    budget_usd = models.DecimalField(
        "Budget (USD)",
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(_MIN_BUDGET_USD), MaxValueValidator(_MAX_BUDGET_USD)],
        help_text="Per run; a run that would exceed it ends with an error. Empty: only the key's budgets apply.",
    )
    max_duration_s = models.PositiveIntegerField(
        "Duration (seconds)",
        default=300,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DURATION_S)],
        help_text="Per run. After it the answer ends with pause_turn.",
    )
    min_idle = models.PositiveSmallIntegerField(
        "Workers kept ready",
        default=0,
        validators=[MaxValueValidator(MAX_IDLE)],
        help_text="Per process; each uses about 100 MB of memory and saves half a second.",
    )
    output_schema = models.JSONField(
        "Schema of the answer",
        null=True,
        blank=True,
        validators=[validate_schema],
        help_text="JSON schema of an object. Empty: the answer is text.",
    )

    class Meta:
        abstract = True

    @classmethod
    def definition_fields(cls) -> list[str]:
        """Names of the fields."""
        return [field.name for field in AgentDefinition._meta.local_fields]

    def definition(self) -> dict[str, Any]:
        """Values of the fields."""
        return {name: getattr(self, name) for name in self.definition_fields()}


class Agent(AgentDefinition):
    """A model of the gateway's own: prompt, model, tools and limits. Saving a change makes a version.

    version: number of the current one. changed_by: recorded with a version that `save` makes. problem: why it cannot
    run, set by pages that show it.
    """

    slug = models.CharField(
        primary_key=True,
        max_length=MAX_SLUG_CHARS,
        validators=[validate_slug],
        help_text="Its model id, such as support-bot; support-bot@3 pins version 3. Cannot be changed.",
    )
    enabled = models.BooleanField(default=True, help_text="Off: not listed, and requests for it get a 404.")
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    changed_by: str = ""
    problem: str = ""

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug

    def save(self, *args: Any, **options: Any) -> None:
        """Save the agent, and a new version if its definition differs from the latest."""
        using = options.get("using") or type(self).objects.db
        with transaction.atomic(using=using):
            list(type(self).objects.using(using).select_for_update().filter(pk=self.pk))
            latest = AgentVersion.objects.using(using).filter(slug=self.slug).order_by("number").last()
            if latest is None or latest.definition() != self._stored_definition():
                number = 1 if latest is None else latest.number + 1
                made = AgentVersion(
                    slug=self.slug, number=number, created_by=self.changed_by, **self._stored_definition()
                )
                made.save(using=using)
                latest = made
            self.version = latest.number
            super().save(*args, **options)

    def clean(self) -> None:
        """Reject a slug that is the name of a model, and models and servers that do not exist."""
        super().clean()
        problems: dict[str, str] = {}
        if taken := sorted(name for name in _model_names() if agent_slug(name) == self.slug):
            problems["slug"] = f"Already the name of a model: {', '.join(taken[:3])}."
        if self.model and not Model.objects.filter(pk=self.model).exists():
            problems["model"] = f"There is no model {self.model}."
        names = self.mcp_servers if isinstance(self.mcp_servers, list) else []
        known = set(McpServer.objects.values_list("name", flat=True))
        if unknown := [str(name) for name in names if name not in known]:
            problems["mcp_servers"] = f"There is no MCP server {', '.join(unknown)}."
        if problems:
            raise ValidationError(problems)

    def _stored_definition(self) -> dict[str, Any]:
        """Values as the database returns them: amounts with their decimals."""
        values = self.definition()
        if values["budget_usd"] is not None:
            values["budget_usd"] = Decimal(values["budget_usd"]).quantize(_MIN_BUDGET_USD)
        return values


class AgentVersion(AgentDefinition):
    """A version of an agent, which is never changed or deleted.

    slug: the agent's, but no foreign key: versions outlive it, so that a number in a trace has one meaning. created_by:
    name of the user, or the command.
    """

    slug = models.CharField(max_length=MAX_SLUG_CHARS, editable=False)
    number = models.PositiveIntegerField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        ordering = ("slug", "-number")
        default_permissions = ("view",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["slug", "number"], name="agent_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}{VERSION_MARK}{self.number}"

    def save(self, *args: Any, **options: Any) -> None:
        """Add the version. Raises TypeError for one that exists."""
        if not self._state.adding:
            raise TypeError("a version cannot be changed")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError("a version cannot be deleted")


def agent_slug(name: str) -> str:
    """`support-bot` of `support-bot@3`; other names are returned as they are."""
    return name.partition(VERSION_MARK)[0]


def agents_named(names: Iterable[object]) -> list[str]:
    """Return the names that mean an agent."""
    slugs = set(Agent.objects.values_list("slug", flat=True))
    return [name for name in names if isinstance(name, str) and agent_slug(name) in slugs]


def _model_names() -> set[str]:
    names = set(gateway_settings().model_aliases)
    for model in Model.objects.all():
        names |= {model.pk, *model.aliases}
    return names
