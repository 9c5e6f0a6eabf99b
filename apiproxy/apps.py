"""The Django app of the gateway itself."""

from django.apps import AppConfig


class ApiProxyConfig(AppConfig):
    """Keys, models, sessions and the public APIs."""

    name = "apiproxy"
    verbose_name = "API proxy"
    default_auto_field = "django.db.models.BigAutoField"
