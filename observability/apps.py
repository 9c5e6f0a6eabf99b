"""The Django app that keeps and shows what happened."""

from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    """Traces, statistics and the dashboard; the API works the same without it."""

    name = "observability"
    verbose_name = "Observability"
    default_auto_field = "django.db.models.BigAutoField"
