"""Keys and models in the admin; what keys have used is in `admin_usage.py`."""

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display as unfold_display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from apiproxy import admin_usage
from apiproxy.keys import give_secret, rotate
from apiproxy.limits.budget import day_of
from apiproxy.limits.ledger import current_state
from apiproxy.models import (
    ApiKey,
    Dialect,
    Model,
    Scope,
    default_scopes,
    validate_dialects,
    validate_names,
    validate_scopes,
)

__all__ = ["ApiKeyAdmin", "ModelAdminPage", "admin_usage"]

ROTATION_OVERLAP = timedelta(hours=24)
"""How long the old secret works after a rotation here; `manage.py rotateapikey` takes any time."""

_NEAR = "near"
_STATES = {"in use": "success", "expired": "warning", "revoked": "danger"}


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


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """The fields that an administrator sets; the secret is not one of them."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=default_scopes,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        validators=[validate_scopes],
    )
    allowed_dialects = forms.MultipleChoiceField(
        choices=Dialect.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        required=False,
        validators=[validate_dialects],
        help_text="The APIs that it may use. None: every one.",
    )
    allowed_models = NamesField(
        required=False, validators=[validate_names], help_text="One a line, ids or aliases; * for any characters."
    )


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Keys. The secret is shown in the message after the key is added, and never again."""

    form = ApiKeyForm
    list_display = ("name", "shown_prefix", "shown_scopes", "state", "budget", "owner", "last_used_at", "expires_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "store_bodies")
    search_fields = ("name", "prefix")
    list_select_related = ("owner",)
    autocomplete_fields = ("owner",)
    readonly_fields = (
        *("shown_prefix", "state", "budget", "revoked_at", "created_at", "first_used_at", "first_used_from"),
        *("last_used_at", "previous_prefix", "previous_until", "previous_used_at"),
    )
    actions: ClassVar[list[str]] = ["revoke", "rotate"]
    fieldsets = (
        (
            None,
            {"fields": ("name", "owner", "scopes", "allowed_dialects", "allowed_models", "expires_at", "store_bodies")},
        ),
        ("Limits", {"fields": ("priority", "requests_per_minute", "tokens_per_minute", "concurrent_runs")}),
        ("Budgets", {"fields": ("budget_day_usd", "budget_month_usd", "budget_total_usd", "budget_warn_percent")}),
    )
    history_fieldset = (
        "History",
        {
            "fields": (
                *("shown_prefix", "state", "budget", "created_at", "first_used_at", "first_used_from", "last_used_at"),
                *("revoked_at", "previous_prefix", "previous_until", "previous_used_at"),
            )
        },
    )

    @admin.display(description="secret")
    def shown_prefix(self, key: ApiKey) -> str:
        """How the secret begins."""
        return f"{key.prefix}…" if key.prefix else "–"

    @admin.display(description="scopes")
    def shown_scopes(self, key: ApiKey) -> str:
        """The scopes as words."""
        return ", ".join(key.scopes)

    @unfold_display(label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, key: ApiKey) -> str:
        """Whether the key works."""
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= timezone.now() else "in use"

    @unfold_display(description="budgets", label={_NEAR: "warning"})  # type: ignore[untyped-decorator]  # as above
    def budget(self, key: ApiKey) -> tuple[str, str]:
        """What is spent of its budgets today, marked where that is nearly all."""
        now_s = timezone.now().timestamp()
        state = current_state(key.pk, day=day_of(now_s), now_ms=int(now_s * 1000))
        shown = ", ".join(f"{it.period} {it.used_percent} %" for it in state.budgets)
        return (_NEAR if state.warning else ""), shown or "–"

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[Any, ...]:
        """A key that is being added has no history yet."""
        return self.fieldsets if obj is None else (*self.fieldsets, self.history_fieldset)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Gives a new key its secret, and shows it this once."""
        secret = "" if change else give_secret(obj)
        super().save_model(request, obj, form, change)
        if secret:
            shown = format_html("The secret of {}, shown this once: <code>{}</code>", obj.name, secret)
            messages.warning(request, shown)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuses the keys from now on. One by one, so that every one is noticed at once and logged."""
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{len(keys)} keys revoked.", messages.SUCCESS)

    @admin.action(description="Rotate: give the selected keys new secrets; the old ones work for another day")
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Shows each new secret this once, and logs the rotation."""
        for key in queryset:
            try:
                secret = rotate(key, overlap=ROTATION_OVERLAP)
            except ValidationError as error:
                self.message_user(request, f"{key.name}: {' '.join(error.messages)}", messages.ERROR)
                continue
            self.log_change(request, key, "Rotated.")
            shown = format_html("The new secret of {}, shown this once: <code>{}</code>", key.name, secret)
            messages.warning(request, shown)


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A model, its aliases one a line."""

    aliases = NamesField(required=False, validators=[validate_names], help_text="Further names, one a line.")


@admin.register(Model)
class ModelAdminPage(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Models: what /v1/models lists, and what they cost."""

    form = ModelForm
    list_display = ("id", "display_name", "shown_aliases", "lifecycle", "enabled", "input_price", "output_price")
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
        return ", ".join(model.aliases)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """An id is given once: another id is another model."""
        return () if obj is None else ("id",)
