"""Creation and rotation of keys; secrets are not stored."""

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from apiproxy.gateway import gateway
from apiproxy.keys.cache import create_key, digest_of, ensure_env_key, set_new_secret, usable_keys
from apiproxy.models import ApiKey

BASE62 = set(string.ascii_letters + string.digits)


def set_env_key(settings: Settings, secret: str | None) -> ApiKey | None:
    settings.GATEWAY = replace(settings.GATEWAY, api_key=secret)
    return async_to_sync(ensure_env_key)()


def test_make_secret_of_prefix_and_43_base62_characters() -> None:
    secret = set_new_secret(ApiKey())
    assert secret.startswith("sk-proxy-")
    assert len(secret.removeprefix("sk-proxy-")) == 43
    assert set(secret.removeprefix("sk-proxy-")) <= BASE62


def test_secrets_differ() -> None:
    assert len({set_new_secret(ApiKey()) for _ in range(100)}) == 100


@given(name=st.text(max_size=100), models=st.lists(st.text()))
def test_keep_secret_out_of_key(name: str, models: list[str]) -> None:
    key = ApiKey(name=name, allowed_models=models)
    secret = set_new_secret(key)
    values = " ".join(str(getattr(key, field.attname)) for field in ApiKey._meta.concrete_fields)
    assert secret not in values
    assert secret[len(key.prefix) :] not in values
    assert key.prefix == secret[:14]


@pytest.mark.django_db
def test_keep_secret_out_of_row() -> None:
    key, secret = async_to_sync(create_key)("ci")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM apiproxy_apikey WHERE id = %s", [key.pk])
        row = " ".join(str(value) for value in cursor.fetchone())
    assert key.digest in row
    assert secret not in row
    assert secret[14:] not in row


@pytest.mark.django_db
@pytest.mark.parametrize("secret", ["x", "hunter2", "a fairly long secret of the operator's", "sk-proxy-short"])
def test_at_most_a_quarter_of_an_operators_secret_is_kept(settings: Settings, secret: str) -> None:
    key = set_env_key(settings, secret)
    assert key is not None
    assert secret.startswith(key.prefix)
    assert len(key.prefix) <= len(secret) / 4
    assert key.digest == digest_of(secret)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("", {}),
        ("env", {}),
        ("ci", {"scopes": ["root"]}),
        ("ci", {"scopes": []}),
        ("ci", {"scopes": ["api", "api"]}),
        ("ci", {"allowed_models": ["opus", ""]}),
        ("ci", {"allowed_models": "opus"}),
        ("ci", {"requests_per_minute": 0}),
        ("ci", {"budget_day_usd": -1}),
    ],
)
def test_reject_inconsistent_key(name: str, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        async_to_sync(create_key)(name, **fields)  # type: ignore[arg-type]
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_free_name_of_revoked_key() -> None:
    key, _ = async_to_sync(create_key)("ci")
    with pytest.raises(ValidationError, match="not revoked"):
        async_to_sync(create_key)("ci")
    key.revoked_at = datetime.now(UTC)
    key.save()
    async_to_sync(create_key)("ci")


@pytest.mark.django_db
def test_create_and_keep_key_of_environment(settings: Settings) -> None:
    key = set_env_key(settings, "the operator's own secret")
    assert key is not None
    assert key.name == "env"
    assert set_env_key(settings, "the operator's own secret") == key
    assert ApiKey.objects.count() == 1
    found = async_to_sync(gateway().keyring.find)("the operator's own secret")
    assert found is not None
    assert found.scopes == {"api"}


@pytest.mark.django_db
def test_replace_environment_key_by_new_secret(settings: Settings) -> None:
    key = set_env_key(settings, "the operator's first secret")
    ApiKey.objects.update(priority=7)
    assert set_env_key(settings, "the operator's second secret") == key
    assert async_to_sync(gateway().keyring.find)("the operator's first secret") is None
    found = async_to_sync(gateway().keyring.find)("the operator's second secret")
    assert found is not None
    assert found.priority == 7


@pytest.mark.django_db
def test_without_the_variable_no_key_is_made(settings: Settings) -> None:
    assert set_env_key(settings, None) is None
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_keep_environment_key_revoked(settings: Settings) -> None:
    set_env_key(settings, "the operator's own secret")
    ApiKey.objects.update(revoked_at=datetime.now(UTC))
    set_env_key(settings, "the operator's own secret")
    assert async_to_sync(gateway().keyring.find)("the operator's own secret") is None
    set_env_key(settings, "the operator's new secret")
    assert async_to_sync(gateway().keyring.find)("the operator's new secret") is not None


@pytest.mark.django_db
def test_accept_database_key_in_environment(settings: Settings) -> None:
    key, secret = async_to_sync(create_key)("ci")
    assert set_env_key(settings, secret) == key
    assert ApiKey.objects.get().name == "ci"


@pytest.mark.django_db
def test_count_only_working_keys() -> None:
    count = async_to_sync(usable_keys)
    assert count() == 0
    key, _ = async_to_sync(create_key)("ci")
    async_to_sync(create_key)("other", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert count() == 2
    key.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    key.save()
    assert count() == 1
    key.expires_at, key.revoked_at = None, datetime.now(UTC)
    key.save()
    assert count() == 1
