"""`manage.py cleanupsessions`: deletes expired and surplus sessions, as the gateway does by itself."""

from typing import Any

from django.core.management.base import BaseCommand

from apiproxy.models import Session
from apiproxy.sessions.eviction import evict


class Command(BaseCommand):
    """Applies CLAUDE_PROXY_SESSION_TTL_HOURS and CLAUDE_PROXY_SESSION_MAX."""

    help = "Deletes expired sessions, and the oldest sessions of keys that have too many."

    def handle(self, *args: Any, **options: Any) -> None:
        evicted = evict()
        self.stdout.write(f"{evicted} sessions deleted, {Session.objects.count()} left.")
