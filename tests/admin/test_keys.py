"""Admin pages of keys and models."""

import base64
import re
import zlib
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client

from apiproxy.gateway import gateway
from apiproxy.keys.cache import create_key
from apiproxy.models import ApiKey, Model

pytestmark = pytest.mark.django_db

KEYS = "/admin/apiproxy/apikey/"
MODELS = "/admin/apiproxy/model/"


@pytest.fixture
def admin_client(client: Client) -> Client:
    """Client of an administrator; without a password, because hashing takes seconds."""
    client.force_login(get_user_model().objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def added(client: Client, **fields: object) -> str:
    """The page after a key was added."""
    data = {
        "name": "ci",
        "scopes": ["api"],
        "allowed_models": "",
        "priority": "0",
        "budget_warn_percent": "80",
    } | fields
    response = client.post(f"{KEYS}add/", data, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


def test_show_secret_of_new_key_once(admin_client: Client) -> None:
    (secret,) = set(re.findall(r"sk-proxy-[0-9A-Za-z]{43}", added(admin_client)))
    found = async_to_sync(gateway().keyring.find)(secret)
    assert found is not None
    assert found.label == "ci"
    key = ApiKey.objects.get()
    for path in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/"):
        html = page(admin_client, path)
        assert secret not in html
        assert key.digest not in html
    assert key.prefix in page(admin_client, KEYS)


@pytest.mark.parametrize("path", ["add", "rotate"])
def test_sends_the_secret_of_a_key_in_no_cookie(admin_client: Client, path: str) -> None:
    rotates = path == "rotate"
    key = async_to_sync(create_key)("ci")[0] if rotates else None
    data: dict[str, object] = {"name": "ci", "scopes": ["api"], "priority": "0", "budget_warn_percent": "80"}
    if key is not None:
        data = {"action": "rotate", "_selected_action": [str(key.pk)]}
    response = admin_client.post(KEYS if rotates else f"{KEYS}add/", data)
    assert response.status_code == 302
    assert "messages" not in response.cookies
    shown = page(admin_client, KEYS)
    (secret,) = set(re.findall(r"sk-proxy-[0-9A-Za-z]{43}", shown))
    for cookie in (*response.cookies.values(), *admin_client.cookies.values()):
        assert secret not in _unpacked(cookie.value)
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())


def _unpacked(value: str) -> str:
    """The cookie and its decoded parts: base64, after a leading dot also zlib."""
    texts = [value]
    for part in value.strip(".").split(":"):
        with suppress(ValueError, zlib.error):
            packed = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            texts.append(packed.decode("utf-8", "replace"))
            texts.append(zlib.decompress(packed).decode("utf-8", "replace"))
    return " ".join(texts)


def test_default_new_key_to_api_scope(admin_client: Client) -> None:
    html = page(admin_client, f"{KEYS}add/")
    boxes = dict(re.findall(r'name="scopes"\s+value="(\w+)"([^>]*)', html))
    assert boxes["api"].endswith('" checked')
    assert not boxes["admin"].endswith('" checked')


def test_escape_name_in_message(admin_client: Client) -> None:
    assert "<script>alert" not in added(admin_client, name="<script>alert(1)</script>")


def test_lists_are_written_one_name_a_line(admin_client: Client) -> None:
    added(admin_client, scopes=["api", "admin"], allowed_models="opus\r\n\r\n claude-haiku-* \n")
    key = ApiKey.objects.get()
    assert key.scopes == ["api", "admin"]
    assert key.allowed_models == ["opus", "claude-haiku-*"]
    assert "opus\nclaude-haiku-*" in page(admin_client, f"{KEYS}{key.pk}/change/").replace("\r", "")


@pytest.mark.parametrize("fields", [{"scopes": []}, {"allowed_models": "opus\nopus"}, {"name": "env"}, {"name": ""}])
def test_reject_inconsistent_key(admin_client: Client, fields: dict[str, object]) -> None:
    assert "sk-proxy-" not in added(admin_client, **fields)
    assert not ApiKey.objects.exists()


def test_keep_secret_on_change(admin_client: Client) -> None:
    key, secret = async_to_sync(create_key)("ci")
    data = {"name": "renamed", "scopes": ["admin"], "allowed_models": "", "priority": "5", "digest": "0" * 64}
    data["budget_warn_percent"] = "90"
    response = admin_client.post(f"{KEYS}{key.pk}/change/", data, follow=True)
    assert "sk-proxy-" not in response.content.decode().replace(key.prefix, "")
    found = async_to_sync(gateway().keyring.find)(secret)
    assert found is not None
    assert (found.label, found.scopes, found.priority) == ("renamed", frozenset({"admin"}), 5)


def test_revoke_selected_keys_at_once_and_log_the_user(admin_client: Client) -> None:
    key, secret = async_to_sync(create_key)("ci")
    other, other_secret = async_to_sync(create_key)("other")
    assert async_to_sync(gateway().keyring.find)(secret) is not None
    response = admin_client.post(KEYS, {"action": "revoke", "_selected_action": [key.pk]}, follow=True)
    assert "1 keys revoked" in response.content.decode()
    assert async_to_sync(gateway().keyring.find)(secret) is None
    assert async_to_sync(gateway().keyring.find)(other_secret) is not None
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.get_username()) == (str(key.pk), "admin")
    key.refresh_from_db()
    first = key.revoked_at
    admin_client.post(KEYS, {"action": "revoke", "_selected_action": [key.pk, other.pk]}, follow=True)
    key.refresh_from_db()
    assert key.revoked_at == first


def test_states_are_shown(admin_client: Client) -> None:
    async_to_sync(create_key)("ci")
    assert "in use" in page(admin_client, KEYS)
    ApiKey.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert "expired" in page(admin_client, KEYS)
    ApiKey.objects.update(revoked_at="2020-01-01T00:00:00Z")
    assert "revoked" in page(admin_client, KEYS)


def test_keys_are_filtered_by_their_state(admin_client: Client) -> None:
    past, future = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"
    given = {"fresh": {}, "lasting": {"expires_at": future}, "old": {"expires_at": past}, "gone": {"revoked_at": past}}
    for name, fields in given.items():
        async_to_sync(create_key)(f"{name}-key")
        ApiKey.objects.filter(name=f"{name}-key").update(**fields)
    shown = {
        state: set(re.findall(r"(\w+)-key</a>", page(admin_client, f"{KEYS}?state={state}")))
        for state in ("in use", "expired", "revoked")
    }
    assert shown == {"in use": {"fresh", "lasting"}, "expired": {"old"}, "revoked": {"gone"}}


def test_show_text_without_json_to_viewers(client: Client) -> None:
    key, _ = async_to_sync(create_key)("ci")
    viewer = get_user_model().objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
    client.force_login(viewer)
    text = page(client, f"{KEYS}{key.pk}/change/")
    assert "every one" in text
    assert "[" not in re.sub(r"<[^>]*>", "", text[text.index("Allowed dialects") : text.index("Limits")])


def test_models_can_be_changed_but_for_their_id(admin_client: Client) -> None:
    row = Model.objects.get(pk="claude-opus-5-5")
    data = {
        "id": "claude-other",
        "display_name": "Opus",
        "aliases": "opus\nbest",
        "enabled": "on",
        "lifecycle": "active",
        "max_output_tokens": "1000",
        "input_price": "1.25",
        "long_prompt_factor": "1",
        "description": "The large one",
        "capabilities": '{"batch": {"supported": true}}',
    }
    admin_client.post(f"{MODELS}claude-opus-5-5/change/", data)
    row.refresh_from_db()
    assert row.aliases == ["opus", "best"]
    assert row.max_output_tokens == 1000
    assert (row.description, row.capabilities) == ("The large one", {"batch": {"supported": True}})
    admin_client.post(f"{MODELS}claude-opus-5-5/change/", data | {"capabilities": ""})
    row.refresh_from_db()
    assert row.capabilities is None
    assert not Model.objects.filter(pk="claude-other").exists()
    assert "best" in page(admin_client, MODELS)
    assert "best" in page(admin_client, f"{MODELS}claude-opus-5-5/change/")


def test_strangers_do_not_see_keys(client: Client) -> None:
    for path in (KEYS, f"{KEYS}add/", MODELS):
        assert client.get(path).status_code == 302


def test_saves_allow_lists_of_features(admin_client: Client) -> None:
    lists = {"allowed_betas": "a-*", "allowed_server_tools": "web_search*\n\n", "allowed_mcp_hosts": "*.example.com"}
    added(admin_client, **lists)
    key = ApiKey.objects.get()
    assert (key.allowed_betas, key.allowed_server_tools) == (["a-*"], ["web_search*"])
    assert key.allowed_mcp_hosts == ["*.example.com"]
    assert "not a host name" in added(admin_client, name="other", allowed_mcp_hosts="https://x")
