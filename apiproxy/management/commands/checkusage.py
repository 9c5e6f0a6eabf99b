"""`manage.py checkusage`: compares recorded usage with traces."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.limits.reconcile import NoTracesError, differences


class Command(BaseCommand):
    """Compares requests, tokens and costs by key, day and model, within the retention of traces."""

    help = "Compares the usage of keys with the traces of their runs; fails if they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=int, default=7, metavar="N", help="Number of days, including today (UTC); default: 7."
        )

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        """Raises CommandError where something differs."""
        # Traces of the last day of the retention may be partly deleted.
        most = gateway_settings().trace_retention_days - 1
        if not 1 <= days <= max(1, most):
            raise CommandError(f"--days must be from 1 to {max(1, most)}: older traces are deleted.")
        today = timezone.now().date()
        try:
            found = list(differences(today - timedelta(days=days - 1), today))
        except NoTracesError:
            raise CommandError("This gateway keeps no traces to compare with.") from None
        for it in found:
            where = f"key {it.row.key_id}, {it.row.day}, {it.row.model}, {it.name}"
            self.stdout.write(f"{where}: used {it.used}, traced {it.traced} ({it.used - it.traced:+d})")
        if found:
            raise CommandError(f"{len(found)} sums differ.")
        self.stdout.write(self.style.SUCCESS(f"Usage and traces agree for {days} days."))
