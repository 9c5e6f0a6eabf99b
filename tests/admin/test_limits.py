"""Usage, budgets and rotation in the admin."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apiproxy.conf import Credential
from apiproxy.core.errors import ProxyError
from apiproxy.db.guarded_query import QueryGuard
from apiproxy.keys.authentication import require_dialect
from apiproxy.keys.cache import Keyring, rotate, set_new_secret
from apiproxy.limits.budget import day_of
from apiproxy.models import ApiKey, Model, Session, Usage
from tests.limits.support import Clock, make_key

pytestmark = pytest.mark.django_db

KEYS, USAGE, SESSIONS = "/admin/apiproxy/apikey/", "/admin/apiproxy/usage/", "/admin/apiproxy/session/"


def act(client: Client, page: str, action: str, *rows: int) -> bytes:
    response = client.post(page, {"action": action, "_selected_action": list(rows)}, follow=True)
    assert response.status_code == 200
    return response.getvalue()


def test_usage_is_exported_as_csv_that_no_spreadsheet_runs(admin_client: Client) -> None:
    row = Usage.objects.create(
        key_id=1,
        key_label="=cmd()",
        model="m",
        day=date(2026, 1, 2),
        requests=3,
        input_tokens=5,
        cost_micro_usd=1_250_000,
    )
    lines = act(admin_client, USAGE, "export", row.pk).decode().splitlines()
    assert lines[0].startswith("day,key_id,key_label,model,requests")
    assert lines[0].endswith("cost_usd_estimate")
    assert lines[1] == "2026-01-02,1,'=cmd(),m,3,0,0,0,5,0,0,0,1.250000"


def test_usage_and_sessions_can_be_read_and_not_written(admin_client: Client) -> None:
    usage = Usage.objects.create(key_id=1, key_label="k", model="m", day=date(2026, 1, 2), cost_micro_usd=1_250_000)
    session = Session.objects.create(key_id=1, key_label="k", conversation_id="c-1", model="m")
    assert b"1.250000 USD" in admin_client.get(USAGE).content
    assert b"c-1" in admin_client.get(SESSIONS).content
    for page in (f"{USAGE}add/", f"{USAGE}{usage.pk}/delete/", f"{SESSIONS}add/"):
        assert admin_client.get(page).status_code == 403
    assert admin_client.post(f"{SESSIONS}{session.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Session.objects.exists()


def test_mark_nearly_spent_budget_in_list(admin_client: Client) -> None:
    key = make_key(budget_day_usd=Decimal("1"))
    today = day_of(timezone.now().timestamp())
    Usage.objects.create(key_id=key.pk, key_label="k", model="m", day=today, cost_micro_usd=850_000)
    assert "day 85 %" in admin_client.get(KEYS).content.decode()
    page = admin_client.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert "day: 0.85 of 1.00 USD (85 %)" in page
    assert "key-usage" in page


def test_list_budget_that_is_not_nearly_spent(admin_client: Client) -> None:
    key = make_key(budget_day_usd=Decimal("1"))
    today = day_of(timezone.now().timestamp())
    Usage.objects.create(key_id=key.pk, key_label="k", model="m", day=today, cost_micro_usd=250_000)
    assert "day 25 %" in admin_client.get(KEYS).content.decode()


def test_refuse_key_actions_to_viewers(client: Client, django_user_model: Any) -> None:
    viewer = django_user_model.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(viewer)
    key = make_key()
    page = client.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert key.name in page
    assert "rotate" not in page
    for action in ("revoke", "rotate"):
        client.post(KEYS, {"action": action, "_selected_action": [key.pk]})
    client.post(f"{KEYS}{key.pk}/change/", {"apiproxy_apikey_rotate_this": "", "name": "mine"})
    digest = key.digest
    key.refresh_from_db()
    assert (key.revoked_at, key.digest, key.name == "mine") == (None, digest, False)


def test_rotate_key_on_its_own_page(admin_client: Client) -> None:
    key = make_key()
    digest = key.digest
    given = {"name": key.name, "scopes": ["api"], "priority": 0, "budget_warn_percent": 80}
    saved = admin_client.post(f"{KEYS}{key.pk}/change/", given | {"apiproxy_apikey_rotate_this": ""}, follow=True)
    assert "shown only once" in saved.content.decode()
    key.refresh_from_db()
    assert (key.digest == digest, key.previous_digest) == (False, digest)
    assert "works until" in admin_client.get(f"{KEYS}{key.pk}/change/").content.decode()
    admin_client.post(f"{KEYS}{key.pk}/change/", given)
    new = key.digest
    key.refresh_from_db()
    assert key.digest == new


def test_show_rotated_secret_once_and_log_rotation(admin_client: Client) -> None:
    key = make_key()
    digest = key.digest
    page = act(admin_client, KEYS, "rotate", key.pk).decode()
    key.refresh_from_db()
    assert "sk-proxy-" in page
    assert key.digest != digest
    assert key.previous_digest == digest
    assert key.previous_until is not None
    assert LogEntry.objects.get(object_id=str(key.pk)).change_message == "Rotated."
    assert "sk-proxy-" not in admin_client.get(KEYS).content.decode().replace(f"{key.prefix}…", "")


def test_accept_both_secrets_until_overlap_ends() -> None:
    clock = Clock(timezone.now().timestamp())
    ring = Keyring(QueryGuard(), clock=clock, monotonic=clock)
    key = ApiKey(name="rotating")
    old = set_new_secret(key)
    key.save()
    new = rotate(key, overlap=timedelta(hours=1))

    def find(secret: str) -> int | None:
        async def look() -> int | None:
            found = await ring.find(secret)
            await ring.settle()
            return found.key_id if found else None

        return async_to_sync(look)()

    assert (find(old), find(new)) == (key.pk, key.pk)
    key.refresh_from_db()
    assert key.previous_used_at is not None
    clock.advance(3601)
    assert (find(old), find(new)) == (None, key.pk)


def test_reject_rotation_of_revoked_key(capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key()
    call_command("rotateapikey", key.name, "--overlap-hours=0", no_color=True)
    assert "sk-proxy-" in capsys.readouterr().out
    ApiKey.objects.update(revoked_at=timezone.now())
    with pytest.raises(CommandError, match="no key"):
        call_command("rotateapikey", key.name)


def test_limit_key_to_its_dialects() -> None:
    key = ApiKey(name="narrow", allowed_dialects=["openai"])
    secret = set_new_secret(key)
    key.save()
    principal = async_to_sync(Keyring(QueryGuard()).find)(secret)
    assert principal is not None
    require_dialect(principal, "openai")
    with pytest.raises(ProxyError, match="anthropic API"):
        require_dialect(principal, "anthropic")


MODEL = "/admin/apiproxy/model/claude-opus-5-5/change/"


def model_form(admin_client: Client, **fields: str) -> dict[str, Any]:
    form = admin_client.get(MODEL).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in shown.items() if value is not False} | fields


def test_edit_factors_and_fees_of_a_model(admin_client: Client) -> None:
    page = admin_client.get(MODEL).content.decode()
    assert "fast 2" in page
    assert "web_search_requests 0.01" in page

    form = model_form(admin_client, speed_factors="fast 2.5\nturbo 6", tier_factors="", created_at="", retires_at="")
    answer = admin_client.post(MODEL, form)

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = Model.objects.get(pk="claude-opus-5-5")
    assert row.speed_factors == {"fast": "2.5", "turbo": "6"}
    assert row.tier_factors == {}


def test_choose_engine_of_model(admin_client: Client, settings: Settings) -> None:
    form = model_form(admin_client, engine="http", created_at="", retires_at="")
    settings.GATEWAY = replace(settings.GATEWAY, credential=Credential(kind="bedrock"))
    refused = admin_client.post(MODEL, form)
    assert "CLAUDE_CODE_USE_BEDROCK" in str(refused.context["adminform"].form.errors["engine"])

    settings.GATEWAY = replace(settings.GATEWAY, credential=Credential(kind="api_key"))
    assert admin_client.post(MODEL, form).status_code == 302
    assert Model.objects.get(pk="claude-opus-5-5").engine == "http"


@pytest.mark.parametrize("rates", ["fast", "fast two", "fast -1", "fast NaN", "fast 1e9", "fast 2\nfast 3", "f/a 1"])
def test_refuse_factors_that_are_no_numbers(admin_client: Client, rates: str) -> None:
    answer = admin_client.post(MODEL, model_form(admin_client, speed_factors=rates, created_at="", retires_at=""))

    assert answer.status_code == 200
    assert "speed_factors" in answer.context["adminform"].form.errors
    assert Model.objects.get(pk="claude-opus-5-5").speed_factors == {"fast": "2"}
