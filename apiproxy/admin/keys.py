"""Admin of API keys."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action as unfold_action
from unfold.decorators import display as unfold_display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apiproxy.admin.fields import NamesField
from apiproxy.admin.usage import recent_days
from apiproxy.core.limits import LimitState, usd
from apiproxy.keys.cache import rotate, set_new_secret
from apiproxy.limits.budget import day_of
from apiproxy.limits.ledger import current_state
from apiproxy.models import (
    ApiKey,
    Dialect,
    Scope,
    default_scopes,
    validate_dialects,
    validate_hosts,
    validate_names,
    validate_scopes,
)

ROTATION_OVERLAP = timedelta(hours=24)
"""Validity of the old secret after a rotation here; `manage.py rotateapikey` accepts any time."""

_NEAR, _FINE = "near", "fine"
_STATES = {"in use": "success", "expired": "warning", "revoked": "danger"}
# Replaces fields that would be displayed as JSON to users without the change permission.
_SHOWN = {
    "scopes": "shown_scopes",
    "allowed_dialects": "shown_dialects",
    "allowed_models": "shown_models",
    "allowed_betas": "shown_betas",
    "allowed_server_tools": "shown_server_tools",
    "allowed_mcp_hosts": "shown_mcp_hosts",
}


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Editable fields of a key; not the secret."""

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
        help_text="APIs that the key may use. None selected: all.",
    )
    allowed_models = NamesField(
        required=False,
        validators=[validate_names],
        help_text="Ids or aliases of models or agents, one per line; * matches any text. Empty: every model, no agent.",
    )
    allowed_betas = NamesField(
        required=False, validators=[validate_names], help_text="One per line; * matches any characters. Empty: all."
    )
    allowed_server_tools = NamesField(
        required=False,
        validators=[validate_names],
        help_text="Types such as web_search*, one per line. Empty: all.",
    )
    allowed_mcp_hosts = NamesField(
        required=False,
        validators=[validate_hosts],
        help_text="Hosts of mcp_servers, one per line; *.example.com for subdomains. Empty: all.",
    )

    class Meta:
        labels: ClassVar[dict[str, str]] = {
            "allowed_mcp_hosts": "Allowed MCP hosts",
            "budget_day_usd": "Per day (USD)",
            "budget_month_usd": "Per month (USD)",
            "budget_total_usd": "In all (USD)",
            "budget_warn_percent": "Warn from (percent)",
            "expires_at": "Expires (UTC)",
        }


class StateFilter(admin.SimpleListFilter):
    """Filter by `key_status`."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(state, state.capitalize()) for state in _STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
        match self.value():
            case "in use":
                return queryset.exclude(expired).filter(revoked_at=None)
            case "expired":
                return queryset.filter(expired, revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


def _listed(field: str, label: str) -> Callable[[Any, ApiKey], str]:

    @admin.display(description=label)
    def shown(self: Any, key: ApiKey) -> str:
        return ", ".join(getattr(key, field)) or "every one"

    return shown


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """API keys. The secret is displayed once, in the message after the key is added."""

    form = ApiKeyForm
    list_display = ("name", "shown_prefix", "shown_scopes", "state", "budget", "owner", "last_used", "expires")
    list_filter = (StateFilter, "store_bodies")
    search_fields = ("name", "prefix")
    list_select_related = ("owner",)
    autocomplete_fields = ("owner",)
    readonly_fields = (
        "shown_prefix",
        "shown_state",
        "budgets",
        "usage",
        "revoked_at",
        "created_at",
        "first_used_at",
        "first_used_from",
        "last_used_at",
        "previous_secret",
        "previous_used_at",
    )
    actions: ClassVar[list[str]] = ["revoke", "rotate"]
    actions_submit_line = ("rotate_this",)
    fieldsets = (
        (
            None,
            {"fields": ("name", "owner", "scopes", "allowed_dialects", "allowed_models", "expires_at", "store_bodies")},
        ),
        ("Features", {"fields": ("allowed_betas", "allowed_server_tools", "allowed_mcp_hosts", "cache_prompts")}),
        ("Limits", {"fields": ("priority", "requests_per_minute", "tokens_per_minute", "concurrent_runs")}),
        ("Budgets", {"fields": ("budget_day_usd", "budget_month_usd", "budget_total_usd", "budget_warn_percent")}),
    )
    history_fieldsets = (
        ("Usage", {"fields": ("budgets", "usage")}),
        (
            "History",
            {
                "fields": (
                    "shown_prefix",
                    "shown_state",
                    "created_at",
                    "first_used_at",
                    "first_used_from",
                    "last_used_at",
                    "revoked_at",
                    "previous_secret",
                    "previous_used_at",
                )
            },
        ),
    )

    @admin.display(description="secret")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"{key.prefix}…" if key.prefix else "–"

    @admin.display(description="scopes")
    def shown_scopes(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    shown_dialects = _listed("allowed_dialects", "allowed dialects")
    shown_models = _listed("allowed_models", "allowed models")
    shown_betas = _listed("allowed_betas", "allowed betas")
    shown_server_tools = _listed("allowed_server_tools", "allowed server tools")
    shown_mcp_hosts = _listed("allowed_mcp_hosts", "allowed MCP hosts")

    @unfold_display(label=_STATES)  # type: ignore[untyped-decorator]  # unfold has no types
    def state(self, key: ApiKey) -> str:
        return key_status(key)

    @admin.display(description="state")
    def shown_state(self, key: ApiKey) -> str:
        return key_status(key)

    @unfold_display(description="budgets", label={_NEAR: "warning", _FINE: "info"})  # type: ignore[untyped-decorator]  # as above
    def budget(self, key: ApiKey) -> tuple[str, str] | None:
        state = _limits_now(key)
        shown = ", ".join(f"{it.period} {it.used_percent} %" for it in state.budgets)
        return (_NEAR if state.warning else _FINE, shown) if shown else None

    @admin.display(description="spent of its budgets")
    def budgets(self, key: ApiKey) -> str:
        shown = (
            f"{it.period}: {usd(it.spent)} of {usd(it.limit)} USD ({it.used_percent} %)"
            for it in _limits_now(key).budgets
        )
        return "; ".join(shown) or "no budget"

    @admin.display(description="last days (UTC)")
    def usage(self, key: ApiKey) -> SafeString:
        return render_to_string("apiproxy/key_usage.html", {"days": recent_days(key), "key": key})

    @admin.display(description="last used", ordering="last_used_at", empty_value="never")
    def last_used(self, key: ApiKey) -> datetime | None:
        return key.last_used_at

    @admin.display(description="expires", ordering="expires_at", empty_value="never")
    def expires(self, key: ApiKey) -> datetime | None:
        return key.expires_at

    @admin.display(description="secret before")
    def previous_secret(self, key: ApiKey) -> str:
        if key.previous_until is None:
            return "–"
        ended = key.previous_until <= timezone.now()
        return f"{key.previous_prefix}…, {'worked' if ended else 'works'} until {key.previous_until:%Y-%m-%d %H:%M} UTC"

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[Any, ...]:
        if obj is None:
            return self.fieldsets
        if self.has_change_permission(request, obj):
            return (*self.fieldsets, *self.history_fieldsets)
        shown = tuple(
            (name, {"fields": tuple(_SHOWN.get(field, field) for field in options["fields"])})
            for name, options in self.fieldsets
        )
        return (*shown, *self.history_fieldsets)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        secret = "" if change else set_new_secret(obj)
        super().save_model(request, obj, form, change)
        if secret:
            shown = format_html("The secret of {}, shown only once: <code>{}</code>", obj.name, secret)
            messages.warning(request, shown)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        # One by one: `update` would send no signals to the key cache, and each revocation is logged.
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{len(keys)} keys revoked.", messages.SUCCESS)

    @admin.action(
        description="Rotate the secrets of the selected keys; the old ones work for another day",
        permissions=["change"],
    )
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            self.rotate_this(request, key)

    @unfold_action(description="Save and rotate the secret", icon="autorenew", permissions=["change"])  # type: ignore[untyped-decorator]  # as above
    def rotate_this(self, request: HttpRequest, key: ApiKey) -> None:
        try:
            secret = rotate(key, overlap=ROTATION_OVERLAP)
        except ValidationError as error:
            self.message_user(request, f"{key.name}: {' '.join(error.messages)}", messages.ERROR)
            return
        self.log_change(request, key, "Rotated.")
        text = "The new secret of {}, shown only once: <code>{}</code> The old one works until {} UTC."
        until = f"{key.previous_until:%Y-%m-%d %H:%M}"
        messages.warning(request, format_html(text, key.name, secret, until))


def key_status(key: ApiKey) -> str:
    """Status of a key: in use, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= timezone.now() else "in use"


def _limits_now(key: ApiKey) -> LimitState:
    now_s = timezone.now().timestamp()
    return current_state(key.pk, day=day_of(now_s), now_ms=int(now_s * 1000))
