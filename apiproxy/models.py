"""What the gateway keeps in the database: the keys it hands out and the models it knows."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

PREFIX_LENGTH = 14
"""Characters of a generated secret that are kept in the clear, so that a key can be told from others."""

ENV_KEY_NAME = "env"
"""The key whose secret is that of CLAUDE_PROXY_API_KEY."""


class Scope(models.TextChoices):
    """What a key may be used for."""

    API = "api", "API: messages, models, its own sessions"
    ADMIN = "admin", "Administration: traces, metrics and sessions of every key"


class Lifecycle(models.TextChoices):
    """A model's stage, in the words of the Models API (`lifecycle`)."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


def validate_scopes(value: object) -> None:
    """Raises ValidationError unless the value is a list of scopes, at least one and each once."""
    validate_names(value)
    names: Collection[str] = value if isinstance(value, list) else ()
    unknown = [name for name in names if name not in Scope.values]
    if unknown or not names:
        raise ValidationError(f"Scopes must be some of {', '.join(Scope.values)}.", code="scopes")


def validate_names(value: object) -> None:
    """Raises ValidationError unless the value is a list of distinct, non-empty strings without blanks around them."""
    if not isinstance(value, list) or not all(
        isinstance(name, str) and name and name == name.strip() for name in value
    ):
        raise ValidationError("Must be a list of names.", code="names")
    if len(set(value)) != len(value):
        raise ValidationError("Each name may be in the list only once.", code="names")


def default_scopes() -> list[str]:
    """What a key may do when nothing else is said."""
    return [Scope.API.value]


def _limit(help_text: str) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)], help_text=help_text)


def _budget(period: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        max_digits=12,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"USD {period}; empty: no budget.",
    )


class ApiKey(models.Model):
    """A key that clients present. The secret itself is nowhere: only its SHA-256 digest and how it begins."""

    name = models.CharField(max_length=100, help_text="Who or what uses it; shown in traces and in the dashboard.")
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
        help_text="Ids or aliases; * stands for any characters. Empty: every model.",
    )
    requests_per_minute = _limit("Empty: no limit.")
    tokens_per_minute = _limit("Input and output tokens together. Empty: no limit.")
    concurrent_runs = _limit("Runs at the same time. Empty: no limit.")
    priority = models.SmallIntegerField(default=0, help_text="In the queue: the lower, the sooner served.")
    budget_day_usd = _budget("per day")
    budget_month_usd = _budget("per month")
    budget_total_usd = _budget("in all")
    store_bodies = models.BooleanField(default=False, help_text="Keep requests and answers with the traces.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Refused from then on. Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True)
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

    def clean(self) -> None:
        """Raises ValidationError where a key takes the name of the environment's: it would be taken for that one."""
        super().clean()
        if self.name == ENV_KEY_NAME and not ApiKey.objects.filter(pk=self.pk, name=ENV_KEY_NAME).exists():
            raise ValidationError({"name": f"{ENV_KEY_NAME} is the name of the key from CLAUDE_PROXY_API_KEY."})


def _price(help_text: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"USD per million {help_text}.",
    )


class Model(models.Model):
    """A model that the gateway lists and has prices for. Others work too: an id that is not here passes through."""

    id = models.CharField(primary_key=True, max_length=200, help_text="As the upstream knows it.")
    display_name = models.CharField(max_length=200)
    family = models.CharField(max_length=50, blank=True, help_text="Such as opus or sonnet; `line` in the Models API.")
    aliases = models.JSONField(
        default=list, blank=True, validators=[validate_names], help_text="Further names that clients may use."
    )
    lifecycle = models.CharField(max_length=10, choices=Lifecycle.choices, default=Lifecycle.ACTIVE)
    enabled = models.BooleanField(default=True, help_text="Off: not listed, and requests for it are refused.")
    created_at = models.DateTimeField(null=True, blank=True, verbose_name="released at", help_text="Empty: unknown.")
    retires_at = models.DateTimeField(null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Also what a request without max_tokens gets."
    )
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Input tokens. Empty: unknown.")
    input_price = _price("input tokens")
    output_price = _price("output tokens")
    cache_write_price = _price("tokens written to the five-minute cache")
    cache_read_price = _price("tokens read from the cache")
    long_prompt_above = models.PositiveIntegerField(
        null=True, blank=True, help_text="Prompt tokens above which the whole request costs more. Empty: never."
    )
    long_prompt_factor = models.DecimalField(
        max_digits=6, decimal_places=3, default=Decimal(1), help_text="By which such a request's prices are multiplied."
    )

    class Meta:
        ordering = (models.F("created_at").desc(nulls_first=True), "id")

    def __str__(self) -> str:
        return self.id

    def clean(self) -> None:
        """Raises ValidationError for an alias that is another model's name: it could mean either."""
        super().clean()
        taken = set[str]()
        for other in Model.objects.exclude(pk=self.pk):
            taken |= {other.pk, *other.aliases}
        clashes: list[Any] = [name for name in [self.pk, *_as_list(self.aliases)] if name in taken]
        if clashes:
            raise ValidationError({"aliases": f"Already the name of another model: {', '.join(clashes)}."})


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
