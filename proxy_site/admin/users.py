"""User and group admin with the Unfold theme and login throttling."""

import logging
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm, UserChangeForm, UserCreationForm

from apiproxy.gateway import gateway
from apiproxy.http.request import client_address
from apiproxy.keys.login_throttle import whole_seconds

logger = logging.getLogger(__name__)

admin.site.empty_value_display = "–"
admin.site.unregister(User)
admin.site.unregister(Group)


class ThrottledLogin(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Admin login, throttled by client address before any hashing."""

    def clean(self) -> Any:
        """Raises ValidationError for a wrong password, and for every login while the address is throttled."""
        wrong_passwords = gateway().wrong_passwords
        address = client_address(self.request)
        if (wait_s := wrong_passwords.wait_s(address)) > 0:
            logger.warning("login.throttled", extra={"clientIp": address})
            raise ValidationError(
                f"Too many failed logins from your address. Try again in {whole_seconds(wait_s)} seconds.",
                code="throttled",
            )
        try:
            return super().clean()
        except ValidationError:
            wrong_passwords.failed(address)
            logger.warning("login.failed", extra={"clientIp": address})
            raise


admin.site.login_form = ThrottledLogin


@admin.register(User)
class ThemedUserAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # unfold has no types
    """User admin with the Unfold theme."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Group admin with the Unfold theme."""
