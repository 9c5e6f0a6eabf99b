"""`manage.py createapikey`."""

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from apiproxy.gateway import gateway
from apiproxy.models import ApiKey

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("createapikey", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_print_secret_that_works() -> None:
    output = run("ci")
    secret = next(word for word in output.split() if word.startswith("sk-proxy-"))
    found = async_to_sync(gateway().keyring.find)(secret)
    assert found is not None
    assert found.label == "ci"
    assert found.scopes == {"api"}
    assert output.count(secret) == 1


def test_scripts_get_one_json_object() -> None:
    answer = json.loads(run("ci", "--admin", "--models", "opus, claude-haiku-*", "--json"))
    assert answer["scopes"] == ["api", "admin"]
    assert answer["allowed_models"] == ["opus", "claude-haiku-*"]
    assert answer["expires_at"] is None
    found = async_to_sync(gateway().keyring.find)(answer["secret"])
    assert found is not None
    assert found.key_id == answer["id"]


def test_everything_that_a_key_has_can_be_said() -> None:
    owner = get_user_model().objects.create_user("mia")
    limits = ("--requests-per-minute=20", "--tokens-per-minute=1000", "--concurrent-runs=3")
    budgets = ("--budget-day-usd=1.5", "--budget-month-usd=20", "--budget-total-usd=100")
    run("ci", "--owner=mia", "--priority=-1", "--expires-days=30", "--store-bodies", *limits, *budgets)
    key = ApiKey.objects.get()
    assert key.owner == owner
    assert (key.priority, key.store_bodies) == (-1, True)
    assert (key.requests_per_minute, key.tokens_per_minute, key.concurrent_runs) == (20, 1000, 3)
    assert [key.budget_day_usd, key.budget_month_usd, key.budget_total_usd] == [
        Decimal(usd) for usd in ("1.5", 20, 100)
    ]
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("env",), "CLAUDE_PROXY_API_KEY"),
        (("ci", "--expires-days=0"), "expires-days"),
        (("ci", "--expires-days=999999999"), "expires-days"),
        (("ci", "--requests-per-minute=0"), "requests_per_minute"),
        (("ci", "--budget-day-usd=-1"), "budget_day_usd"),
        (("ci", "--budget-day-usd=NaN"), "budget_day_usd"),
        (("ci", "--budget-day-usd=much"), "not an amount"),
        (("ci", "--owner=nobody"), "nobody"),
        (("taken",), "not revoked"),
    ],
)
def test_reject_invalid_by_name(arguments: tuple[str, ...], message: str) -> None:
    run("taken")
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert ApiKey.objects.count() == 1


def test_stores_allow_lists_of_features() -> None:
    run("ci", "--betas=a-*, b-1", "--server-tools=web_search*", "--mcp-hosts=*.example.com,none")
    key = ApiKey.objects.get()
    assert key.allowed_betas == ["a-*", "b-1"]
    assert key.allowed_server_tools == ["web_search*"]
    assert key.allowed_mcp_hosts == ["*.example.com", "none"]


def test_refuses_an_mcp_host_that_is_a_url() -> None:
    with pytest.raises(CommandError, match=r"allowed_mcp_hosts: .*not a host name"):
        run("ci", "--mcp-hosts=https://mcp.example.com/mcp")
