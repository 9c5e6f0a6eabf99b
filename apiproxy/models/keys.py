"""API keys."""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.core.limits import MICRO, KeyLimits, Period
from apiproxy.models.names import validate_hosts, validate_names

PREFIX_LENGTH = 14
"""Characters of a secret stored in the clear, to identify the key."""

ENV_KEY_NAME = "env"
"""Name of the key with the secret from CLAUDE_PROXY_API_KEY."""


class Scope(models.TextChoices):
    """Permissions of a key."""

    API = "api", "API: messages, models, its own sessions"
    ADMIN = "admin", "Administration: traces, metrics and sessions of every key"


class Dialect(models.TextChoices):
    """Public APIs, named as in `turns.DialectName`."""

    ANTHROPIC = "anthropic", "Anthropic: /v1/messages"
    OPENAI = "openai", "OpenAI: /v1/chat/completions, /v1/responses"


def validate_scopes(value: object) -> None:
    """Validate a non-empty list of distinct scopes."""
    validate_names(value)
    names: Collection[str] = value if isinstance(value, list) else ()
    unknown = [name for name in names if name not in Scope.values]
    if unknown or not names:
        raise ValidationError(f"Scopes must be some of {', '.join(Scope.values)}.", code="scopes")


def default_scopes() -> list[str]:
    """Scopes of a new key."""
    return [Scope.API.value]


def validate_dialects(value: object) -> None:
    """Validate a list of distinct dialects."""
    validate_names(value)
    names: Collection[str] = value if isinstance(value, list) else ()
    if any(name not in Dialect.values for name in names):
        raise ValidationError(f"Dialects must be some of {', '.join(Dialect.values)}.", code="dialects")


# Named functions, because migrations refer to them.


def default_requests_per_minute() -> int | None:
    """CLAUDE_PROXY_KEY_REQUESTS_PER_MINUTE."""
    return gateway_settings().key_defaults.requests_per_minute


def default_tokens_per_minute() -> int | None:
    """CLAUDE_PROXY_KEY_TOKENS_PER_MINUTE."""
    return gateway_settings().key_defaults.tokens_per_minute


def default_concurrent_runs() -> int | None:
    """CLAUDE_PROXY_KEY_CONCURRENT_RUNS."""
    return gateway_settings().key_defaults.concurrent_runs


def default_budget_day_usd() -> Decimal | None:
    """CLAUDE_PROXY_KEY_BUDGET_DAY_USD."""
    return gateway_settings().key_defaults.budget_day_usd


def default_budget_month_usd() -> Decimal | None:
    """CLAUDE_PROXY_KEY_BUDGET_MONTH_USD."""
    return gateway_settings().key_defaults.budget_month_usd


def default_budget_total_usd() -> Decimal | None:
    """CLAUDE_PROXY_KEY_BUDGET_TOTAL_USD."""
    return gateway_settings().key_defaults.budget_total_usd


def default_budget_warn_percent() -> int:
    """CLAUDE_PROXY_KEY_BUDGET_WARN_PERCENT."""
    return gateway_settings().key_defaults.budget_warn_percent


def _limit(help_text: str, default: Callable[[], int | None]) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(
        null=True, blank=True, default=default, validators=[MinValueValidator(1)], help_text=help_text
    )


def _budget(
    period: str, default: Callable[[], Decimal | None]
) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        default=default,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"USD {period}; empty: no budget.",
    )


class ApiKey(models.Model):
    """API key of a client. Of the secret only SHA-256 digest and prefix are stored."""

    name = models.CharField(
        max_length=100, help_text="User or application of the key; shown in traces and in the dashboard."
    )
    prefix = models.CharField(max_length=PREFIX_LENGTH, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="api_keys"
    )
    scopes = models.JSONField(default=default_scopes, validators=[validate_scopes])
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text="Ids or aliases of models and agents; * matches any characters. Empty: all models, no agents.",
    )
    allowed_dialects = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_dialects],
        help_text="APIs that the key may use. None selected: all.",
    )
    allowed_betas = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text="Values of anthropic-beta; * matches any characters. Empty: all.",
    )
    allowed_server_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text="Types of tools that the upstream runs; * matches any characters. Empty: all.",
    )
    allowed_mcp_hosts = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_hosts],
        help_text="Hosts of mcp_servers, such as mcp.example.com or *.example.com. Empty: all.",
    )
    requests_per_minute = _limit("Within any 60 seconds. Empty: no limit.", default_requests_per_minute)
    tokens_per_minute = _limit(
        "Input and output tokens, without those read from the prompt cache. Empty: no limit.",
        default_tokens_per_minute,
    )
    concurrent_runs = _limit("Concurrent runs, including waiting ones. Empty: no limit.", default_concurrent_runs)
    priority = models.SmallIntegerField(default=0, help_text="Priority in the queue; lower numbers are served first.")
    budget_day_usd = _budget("per day (UTC)", default_budget_day_usd)
    budget_month_usd = _budget("per calendar month (UTC)", default_budget_month_usd)
    budget_total_usd = _budget("in all", default_budget_total_usd)
    budget_warn_percent = models.PositiveSmallIntegerField(
        default=default_budget_warn_percent,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Share of a budget above which answers carry a warning.",
    )
    store_bodies = models.BooleanField(default=False, help_text="Store requests and answers with the traces.")
    cache_prompts = models.BooleanField(
        default=True,
        db_default=True,
        help_text="OpenAI API: a prompt without a cache breakpoint is cached for five minutes; writes cost 1.25 times.",
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Time from which the key is rejected. Empty: never."
    )
    revoked_at = models.DateTimeField(null=True, blank=True)
    previous_prefix = models.CharField(max_length=PREFIX_LENGTH, blank=True, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, editable=False, db_index=True)
    previous_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Until this time the secret before the last rotation also works.",
    )
    previous_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Last use of that secret, to the minute."
    )
    first_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    first_used_from = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Address of the client that used that secret."
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("name", "-created_at")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(revoked_at__isnull=True),
                name="apikey_name_once",
                violation_error_message="Another key that is not revoked has this name.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def limits(self) -> KeyLimits:
        """Limits of this key; budgets in micro-USD."""
        amounts: dict[Period, Decimal | None] = {
            Period.DAY: self.budget_day_usd,
            Period.MONTH: self.budget_month_usd,
            Period.TOTAL: self.budget_total_usd,
        }
        return KeyLimits(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrent_runs=self.concurrent_runs,
            budgets={period: int(amount * MICRO) for period, amount in amounts.items() if amount is not None},
            warn_percent=self.budget_warn_percent,
        )

    def clean(self) -> None:
        """Reject the name of the environment's key for other keys."""
        super().clean()
        if self.name == ENV_KEY_NAME and not ApiKey.objects.filter(pk=self.pk, name=ENV_KEY_NAME).exists():
            raise ValidationError({"name": f"{ENV_KEY_NAME} is the name of the key from CLAUDE_PROXY_API_KEY."})
