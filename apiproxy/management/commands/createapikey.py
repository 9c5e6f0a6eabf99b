"""`manage.py createapikey`: creates a key and shows its secret once."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apiproxy.keys.cache import KeyFields, create_key
from apiproxy.models import ApiKey, Dialect, Scope

MAX_EXPIRES_DAYS = 36_500

_NONE = "none"
_DEFAULTS = "Default: the setting for new keys"
_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent_runs")
_BUDGETS = ("budget_day_usd", "budget_month_usd", "budget_total_usd")


class Command(BaseCommand):
    """Creates a key and prints its secret, of which the database has only the digest."""

    help = "Creates an API key and prints its secret. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="User or application of the key.")
        parser.add_argument("--admin", action="store_true", help="Also grants the scope admin.")
        parser.add_argument(
            "--models", default="", help="Ids or aliases, separated by commas; * matches any characters."
        )
        parser.add_argument("--expires-days", type=int, metavar="N", help="Number of days after which the key expires.")
        parser.add_argument("--owner", default="", metavar="USERNAME", help="User who owns the key.")
        parser.add_argument(
            "--priority", type=int, default=0, help="Priority in the queue; lower numbers are served first."
        )
        apis = ", ".join(Dialect.values)
        parser.add_argument("--dialects", default="", help=f"Of {apis}, separated by commas; default: all.")
        listed = "separated by commas; * matches any characters; default: all."
        parser.add_argument("--betas", default="", help=f"Values of anthropic-beta, {listed}")
        parser.add_argument("--server-tools", default="", help=f"Types of tools that the upstream runs, {listed}")
        parser.add_argument("--mcp-hosts", default="", help=f"Hosts of mcp_servers (*.example.com), {listed}")
        for name in _LIMITS:
            parser.add_argument(_option(name), type=_number, metavar="N", help=f"{_DEFAULTS}; `none`: no limit.")
        for name in _BUDGETS:
            parser.add_argument(_option(name), type=_usd, metavar="USD", help=f"{_DEFAULTS}; `none`: no budget.")
        parser.add_argument("--store-bodies", action="store_true", help="Store requests and answers with the traces.")
        parser.add_argument(
            "--no-prompt-cache", action="store_true", help="OpenAI API: do not cache prompts without breakpoints."
        )
        parser.add_argument("--json", action="store_true", help="Prints one JSON object, for scripts.")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        """Creates the key. Raises CommandError for invalid values."""
        try:
            key, secret = async_to_sync(create_key)(name, **_fields(options))
        except ValidationError as error:
            problems = [f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()]
            raise CommandError("; ".join(problems).removeprefix("__all__: ")) from error
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(key, secret)))
            return
        self.stdout.write(f"API key {key.name!r}, scopes {', '.join(key.scopes)}. Shown this once:")
        self.stdout.write("")
        self.stdout.write(f"    {self.style.SUCCESS(secret)}")
        self.stdout.write("")
        self.stdout.write("Clients send it as `x-api-key` or as `Authorization: Bearer`.")


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _number(text: str) -> int | str:
    return text if text == _NONE else int(text)


def _usd(text: str) -> Decimal | str:
    try:
        return text if text == _NONE else Decimal(text)
    except InvalidOperation as error:
        raise ArgumentTypeError(f"{text!r} is not an amount") from error


def _fields(options: dict[str, Any]) -> KeyFields:
    days = options["expires_days"]
    if days is not None and not 1 <= days <= MAX_EXPIRES_DAYS:
        raise CommandError(f"--expires-days must be from 1 to {MAX_EXPIRES_DAYS}.")
    # Omitted limits get the default for new keys, which may differ from "no limit".
    given = {name: options[name] for name in (*_LIMITS, *_BUDGETS) if options[name] is not None}
    limits: Any = {name: None if value == _NONE else value for name, value in given.items()}
    fields = KeyFields(
        scopes=[Scope.API.value, Scope.ADMIN.value] if options["admin"] else [Scope.API.value],
        allowed_models=_names(options["models"]),
        allowed_dialects=_names(options["dialects"]),
        allowed_betas=_names(options["betas"]),
        allowed_server_tools=_names(options["server_tools"]),
        allowed_mcp_hosts=_names(options["mcp_hosts"]),
        owner_id=_owner_id(options["owner"]),
        priority=options["priority"],
        store_bodies=options["store_bodies"],
        cache_prompts=not options["no_prompt_cache"],
        expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
    )
    fields.update(limits)
    return fields


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _owner_id(username: str) -> int | None:
    if not username:
        return None
    owner = get_user_model().objects.filter(username=username).first()
    if owner is None:
        raise CommandError(f"There is no user {username!r}.")
    return owner.pk


def _as_json(key: ApiKey, secret: str) -> dict[str, Any]:
    return {
        "id": key.pk,
        "name": key.name,
        "secret": secret,
        "scopes": key.scopes,
        "allowed_models": key.allowed_models,
        "expires_at": key.expires_at.isoformat() if key.expires_at is not None else None,
    }
