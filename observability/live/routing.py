"""Websocket URLs."""

from django.urls import path

from observability.live.consumers import DashboardConsumer

websocket_urlpatterns = [path("dashboard/live", DashboardConsumer.as_asgi())]
