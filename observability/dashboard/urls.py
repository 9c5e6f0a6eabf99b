"""The dashboard's paths, below /dashboard/."""

from django.urls import path

from observability.dashboard import detail, errors, logs, operations, overview, requests, sessions, usage

app_name = "dashboard"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("charts", overview.charts, name="charts"),
    path("login-state", overview.login_state, name="login_state"),
    path("requests", requests.request_list, name="requests"),
    path("requests/<str:trace_id>", detail.request_detail, name="request"),
    path("requests/<str:trace_id>/step", detail.step_content, name="step"),
    path("requests/<str:run_id>/cancel", operations.cancel, name="cancel"),
    path("errors", errors.error_list, name="errors"),
    path("sessions", sessions.session_list, name="sessions"),
    path("workers", operations.workers, name="workers"),
    path("workers/<str:worker_id>/retire", operations.retire, name="retire"),
    path("usage", usage.usage, name="usage"),
    path("logs", logs.log_tail, name="logs"),
    path("demo", operations.fill_demo, name="demo"),
]
