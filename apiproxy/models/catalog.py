"""Table of upstream models with their prices."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from apiproxy.models.names import validate_capabilities, validate_names, validate_rates


class Lifecycle(models.TextChoices):
    """`lifecycle` of the Models API."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class EngineChoice(models.TextChoices):
    """Engines that a model may name."""

    SDK = "sdk", "sdk"
    HTTP = "http", "http"


def _price(help_text: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=f"USD per million {help_text}.",
    )


def default_geo_factors() -> dict[str, str]:
    """Factors of every model since Opus 4.6.

    Source: https://platform.claude.com/docs/en/about-claude/pricing
    """
    return {"us": "1.1"}


def default_tier_factors() -> dict[str, str]:
    """Batches cost half. Priority has no list price: it is bought as a commitment."""
    return {"batch": "0.5"}


def default_tool_prices() -> dict[str, str]:
    """USD per use for all models. Code execution costs 0.05 USD an hour; the usage reports no duration."""
    return {"web_search_requests": "0.01", "web_fetch_requests": "0", "code_execution_requests": "0.05"}


def _rates(default: Callable[[], dict[str, str]], help_text: str) -> "models.JSONField[Any, Any]":
    return models.JSONField(default=default, blank=True, validators=[validate_rates], help_text=help_text)


class Model(models.Model):
    """A listed model with its prices. Unknown ids are passed to the upstream."""

    id = models.CharField(primary_key=True, max_length=200, help_text="Id of the model at the upstream.")
    display_name = models.CharField(max_length=200)
    description = models.CharField(max_length=500, blank=True, help_text="Shown by clients that list models.")
    family = models.CharField(max_length=50, blank=True, help_text="Such as opus or sonnet; `line` in the Models API.")
    aliases = models.JSONField(
        default=list, blank=True, validators=[validate_names], help_text="Further names that clients may use."
    )
    lifecycle = models.CharField(max_length=10, choices=Lifecycle.choices, default=Lifecycle.ACTIVE)
    enabled = models.BooleanField(default=True, help_text="Off: not listed, and requests for it are rejected.")
    engine = models.CharField(
        max_length=8,
        choices=EngineChoice.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Empty: the engine in CLAUDE_PROXY_ENGINE.",
    )
    created_at = models.DateTimeField(null=True, blank=True, verbose_name="released at", help_text="Empty: unknown.")
    retires_at = models.DateTimeField(null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Also the default for requests without max_tokens."
    )
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Input tokens. Empty: unknown.")
    capabilities = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_capabilities],
        help_text="`capabilities` of the Models API, as JSON. Empty: unknown.",
    )
    input_price = _price("input tokens")
    output_price = _price("output tokens")
    cache_write_price = _price("tokens written to the five-minute cache")
    cache_write_1h_price = _price("tokens written to the one-hour cache")
    cache_read_price = _price("tokens read from the cache")
    long_prompt_above = models.PositiveIntegerField(
        null=True, blank=True, help_text="Prompt tokens above which the whole request costs more. Empty: never."
    )
    long_prompt_factor = models.DecimalField(
        max_digits=6, decimal_places=3, default=Decimal(1), help_text="Factor on the prices of such a request."
    )
    long_prompt_output_factor = models.DecimalField(
        max_digits=6,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="Factor on the output price of such a request. Empty: the same.",
    )
    speed_factors = _rates(dict, "Factor on all token prices by `usage.speed`, such as fast. Unlisted: unpriced.")
    geo_factors = _rates(default_geo_factors, "The same by `usage.inference_geo`, such as us.")
    tier_factors = _rates(default_tier_factors, "The same by `usage.service_tier`, such as batch or priority.")
    tool_prices = _rates(
        default_tool_prices, "USD per use by the names of `usage.server_tool_use`. Unlisted: unpriced."
    )

    class Meta:
        ordering = (models.F("created_at").desc(nulls_first=True), "id")

    def __str__(self) -> str:
        return self.id

    def clean(self) -> None:
        """Reject a name that is the id or an alias of another model, or an agent's."""
        super().clean()
        agents: Any = apps.get_model("apiproxy", "Agent")  # its module imports this one
        slugs = set(agents.objects.values_list("slug", flat=True))
        for field, names in (("id", [self.pk]), ("aliases", _as_list(self.aliases))):
            if agent := next((name for name in names if str(name).partition("@")[0] in slugs), None):
                raise ValidationError({field: f"{agent} is the name of an agent."})
        taken = set[str]()
        for other in Model.objects.exclude(pk=self.pk):
            taken |= {other.pk, *other.aliases}
        clashes: list[Any] = [name for name in [self.pk, *_as_list(self.aliases)] if name in taken]
        if clashes:
            raise ValidationError({"aliases": f"Already the name of another model: {', '.join(clashes)}."})


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
