"""Users and groups in the admin, in the theme's clothes."""

import logging
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm, UserChangeForm, UserCreationForm

from apiproxy.conf import gateway_settings
from apiproxy.keys.authentication import client_ip
from apiproxy.keys.login_throttle import whole_seconds, wrong_passwords

logger = logging.getLogger(__name__)

admin.site.empty_value_display = "–"
admin.site.unregister(User)
admin.site.unregister(Group)


class ThrottledLogin(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """The admin's login. After some failures from an address it waits, before it hashes anything."""

    def clean(self) -> Any:
        """Raises ValidationError for a wrong password, and for any while there were too many from this address."""
        peer = self.request.META.get("REMOTE_ADDR") or ""
        address = client_ip(self.request.headers, peer=peer, trusted=gateway_settings().trusted_proxies)
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
    """Users: who may sign in, and what they may do."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Groups: permissions under a name, such as those who may look and not cancel."""
