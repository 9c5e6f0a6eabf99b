"""Admin of models and their prices."""

from decimal import Decimal
from typing import ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apiproxy.admin.fields import NamesField, RatesField
from apiproxy.conf import engine_problem, gateway_settings
from apiproxy.core.turns import ENGINES
from apiproxy.models import Model, validate_names
from apiproxy.models.names import validate_rates


def _rates(name: str) -> RatesField:
    explained = getattr(Model._meta.get_field(name), "help_text", "")
    return RatesField(required=False, validators=[validate_rates], help_text=f"{explained} One per line: `name 2`.")


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form of a model."""

    aliases = NamesField(required=False, validators=[validate_names], help_text="Further names, one per line.")
    speed_factors = _rates("speed_factors")
    geo_factors = _rates("geo_factors")
    tier_factors = _rates("tier_factors")
    tool_prices = _rates("tool_prices")

    class Meta:
        labels: ClassVar[dict[str, str]] = {"created_at": "Created at (UTC)", "retires_at": "Retires at (UTC)"}

    def clean_engine(self) -> str:
        """Reject an engine with which the upstream credential does not work."""
        engine = str(self.cleaned_data["engine"])
        for name in ENGINES:
            if engine == name and (problem := engine_problem(gateway_settings().credential, name)):
                raise ValidationError(f"{problem[0].upper()}{problem[1:]}", code="engine")
        return engine


@admin.register(Model)
class ModelAdminPage(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Models in /v1/models, and their prices."""

    form = ModelForm
    list_display = ("id", "display_name", "shown_aliases", "engine", "lifecycle", "enabled", "input_usd", "output_usd")
    list_filter = ("family", "engine", "lifecycle", "enabled")
    search_fields = ("id", "display_name")
    fieldsets = (
        (None, {"fields": ("id", "display_name", "description", "family", "aliases")}),
        ("Use", {"fields": ("engine", "enabled", "lifecycle")}),
        ("Limits", {"fields": ("max_output_tokens", "context_window", "capabilities", "created_at", "retires_at")}),
        (
            "USD per million tokens",
            {
                "fields": (
                    "input_price",
                    "output_price",
                    "cache_write_price",
                    "cache_write_1h_price",
                    "cache_read_price",
                    "long_prompt_above",
                    "long_prompt_factor",
                    "long_prompt_output_factor",
                )
            },
        ),
        (
            "Factors on these prices, and fees",
            {"fields": ("speed_factors", "geo_factors", "tier_factors", "tool_prices")},
        ),
    )

    @admin.display(description="aliases")
    def shown_aliases(self, model: Model) -> str:
        return ", ".join(model.aliases) or "–"

    @admin.display(description="input, USD/M tokens", ordering="input_price")
    def input_usd(self, model: Model) -> str:
        return _price(model.input_price)

    @admin.display(description="output, USD/M tokens", ordering="output_price")
    def output_usd(self, model: Model) -> str:
        return _price(model.output_price)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        # The id is the primary key: changing it would add a model.
        return () if obj is None else ("id",)


def _price(price: Decimal | None) -> str:
    """Format with at least two decimals: `$8.00`, `$0.125`."""
    if price is None:
        return "–"
    digits = max(2, len(f"{price.normalize():f}".partition(".")[2]))
    return f"${price:.{digits}f}"
