"""Every path of the gateway. The API's come first; the browser's have the full middleware (`asgi.py`)."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from apiproxy import operations
from apiproxy.account.api import api as account_api
from apiproxy.dialects.anthropic.api import api as anthropic_api
from apiproxy.dialects.openai.api import api as openai_api

urlpatterns: list[URLPattern | URLResolver] = [
    path("", operations.index),
    path("healthz", operations.healthz),
    path("readyz", operations.readyz),
    path("admin/", admin.site.urls),
    path("", include("observability.urls")),
    path("", account_api.urls),
    path("", openai_api.urls),
    path("", anthropic_api.urls),
]

handler400 = "proxy_site.handler.bad_request"
handler403 = "proxy_site.handler.forbidden"
handler404 = "proxy_site.handler.not_found"
handler500 = "proxy_site.handler.server_error"
