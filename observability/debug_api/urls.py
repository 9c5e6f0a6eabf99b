"""URLs of the operations API and of the metrics."""

from django.urls import path

from observability.debug_api import views

urlpatterns = [
    path("debug/stats", views.stats_view),
    path("debug/traces", views.traces_view),
    path("debug/traces/<str:trace_id>", views.trace_view),
    path("debug/errors", views.errors_view),
    path("debug/errors/<str:trace_id>", views.error_view),
    path("debug/active", views.active_view),
    path("debug/active/<str:trace_id>/cancel", views.cancel_view),
    path("debug/health", views.health_view),
    path("debug/logs", views.logs_view),
    path("debug/logs/<path:name>", views.log_view),
    path("metrics", views.metrics_view),
]
