"""URL configuration. `routes.py` decides which handler and middleware serve a path."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, register_converter
from django.views.generic import RedirectView

from apiproxy.account.api import api as account_api
from apiproxy.dialects.anthropic.api import api as anthropic_api
from apiproxy.dialects.openai.api import api as openai_api
from apiproxy.http import health
from proxy_site.admin import users as _users  # noqa: F401 - registers users and groups in the admin
from proxy_site.openapi import openapi
from proxy_site.unbuilt import UnbuiltConverter
from proxy_site.unbuilt_view import answer_unbuilt

register_converter(UnbuiltConverter, "unbuilt")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", health.index),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/hello", health.hello),
    path("openapi.json", openapi),
    path("admin/", admin.site.urls),
    path("dashboard/", include("observability.dashboard.urls")),
    path("dashboard", RedirectView.as_view(pattern_name="dashboard:overview")),
    path("", include("observability.debug_api.urls")),
    path("", account_api.urls),
    path("", openai_api.urls),
    path("", anthropic_api.urls),
    path("<unbuilt:endpoint>", answer_unbuilt),
]

handler400 = "proxy_site.handler.bad_request"
handler403 = "proxy_site.handler.forbidden"
handler404 = "proxy_site.handler.not_found"
handler500 = "proxy_site.handler.server_error"
