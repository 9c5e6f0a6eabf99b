"""`manage.py cleanupsessions`: forgets sessions that are too old or too many. The gateway does the same by itself."""

from typing import Any

from django.core.management.base import BaseCommand

from apiproxy.models import Session
from apiproxy.sessions.eviction import evict


class Command(BaseCommand):
    """Deletes what CLAUDE_PROXY_SESSION_TTL_HOURS and CLAUDE_PROXY_SESSION_MAX do not let stay."""

    help = "Deletes sessions that were not used for too long, and those that a key has too many of."

    def handle(self, *args: Any, **options: Any) -> None:
        """Deletes them and says how many."""
        evicted = evict()
        self.stdout.write(f"{evicted} sessions deleted, {Session.objects.count()} left.")
