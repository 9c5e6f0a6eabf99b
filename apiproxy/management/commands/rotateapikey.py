"""`manage.py rotateapikey`: gives a key a new secret; the old one stays valid for an overlap."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from apiproxy.keys.cache import rotate
from apiproxy.models import ApiKey

DEFAULT_OVERLAP_HOURS = 24
MAX_OVERLAP_HOURS = 24 * 366


class Command(BaseCommand):
    """Gives a key a new secret and prints it. Limits, budgets, usage and sessions are kept."""

    help = "Gives an API key a new secret and prints it; the old one works until the end of the overlap."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The key's name.")
        parser.add_argument("--overlap-hours", type=int, default=DEFAULT_OVERLAP_HOURS, metavar="N")

    def handle(self, *args: Any, name: str, overlap_hours: int, **options: Any) -> None:
        """Rotates the key. Raises CommandError for an unknown key or invalid values."""
        if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
            raise CommandError(f"--overlap-hours must be from 0 to {MAX_OVERLAP_HOURS}.")
        key = ApiKey.objects.filter(name=name, revoked_at=None).first()
        if key is None:
            raise CommandError(f"There is no key {name!r} in use.")
        try:
            secret = rotate(key, overlap=timedelta(hours=overlap_hours))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"API key {key.name!r}, its new secret, shown this once:")
        self.stdout.write("")
        self.stdout.write(f"    {self.style.SUCCESS(secret)}")
        self.stdout.write("")
        self.stdout.write(f"The secret {key.previous_prefix}… works until {key.previous_until:%Y-%m-%d %H:%M} UTC.")
