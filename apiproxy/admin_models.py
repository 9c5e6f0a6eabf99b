"""Models and their prices in the admin."""

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from apiproxy.models import Model, validate_names


class NamesField(forms.CharField):
    """A list of names as a text with one a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        """The list as lines; what was typed stays as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """The lines as a list, without empty ones."""
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compared as lists."""
        return bool(list(initial or []) != self.to_python(data))


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A model, its aliases one a line."""

    aliases = NamesField(required=False, validators=[validate_names], help_text="Further names, one a line.")

    class Meta:
        labels: ClassVar[dict[str, str]] = {"created_at": "Created at (UTC)", "retires_at": "Retires at (UTC)"}


@admin.register(Model)
class ModelAdminPage(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Models: what /v1/models lists, and what they cost."""

    form = ModelForm
    list_display = ("id", "display_name", "shown_aliases", "lifecycle", "enabled", "input_usd", "output_usd")
    list_filter = ("family", "lifecycle", "enabled")
    search_fields = ("id", "display_name")
    fieldsets = (
        (None, {"fields": ("id", "display_name", "family", "aliases", "enabled", "lifecycle")}),
        ("Limits", {"fields": ("max_output_tokens", "context_window", "created_at", "retires_at")}),
        (
            "USD per million tokens",
            {
                "fields": (
                    *("input_price", "output_price", "cache_write_price", "cache_read_price"),
                    *("long_prompt_above", "long_prompt_factor"),
                )
            },
        ),
    )

    @admin.display(description="aliases")
    def shown_aliases(self, model: Model) -> str:
        """The aliases as words."""
        return ", ".join(model.aliases) or "–"

    @admin.display(description="input, USD/M tokens", ordering="input_price")
    def input_usd(self, model: Model) -> str:
        """The price of a million tokens."""
        return _price(model.input_price)

    @admin.display(description="output, USD/M tokens", ordering="output_price")
    def output_usd(self, model: Model) -> str:
        """The price of a million tokens."""
        return _price(model.output_price)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """An id is given once: another id is another model."""
        return () if obj is None else ("id",)


def _price(price: Decimal | None) -> str:
    """With two digits at least: `$8.00`, `$0.125`."""
    if price is None:
        return "–"
    digits = max(2, len(f"{price.normalize():f}".partition(".")[2]))
    return f"${price:.{digits}f}"
