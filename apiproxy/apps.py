"""The Django app of the gateway itself."""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ApiProxyConfig(AppConfig):
    """Keys, models, sessions and the public APIs."""

    name = "apiproxy"
    verbose_name = "API proxy"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apiproxy.answers.retention import on_key_deleted, on_key_saved  # noqa: PLC0415 — models are not ready before
        from apiproxy.models import ApiKey  # noqa: PLC0415

        post_save.connect(on_key_saved, sender=ApiKey)
        post_delete.connect(on_key_deleted, sender=ApiKey)
