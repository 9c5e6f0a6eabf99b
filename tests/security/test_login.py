"""Guessing passwords and keys, as a client meets it."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.gateway import gateway
from apiproxy.keys.authentication import authenticate
from apiproxy.keys.cache import create_key

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def admin(settings: Settings) -> User:
    settings.ALLOWED_HOSTS = ["testserver"]
    return User.objects.create_superuser("admin", password=PASSWORD)


def log_in(password: str, *, address: str = "198.51.100.1", **headers: str) -> HttpResponse:
    form = {"username": "admin", "password": password}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address, headers=headers)  # type: ignore[return-value]


def ask(headers: dict[str, str], *, address: str) -> Principal:
    made = gateway()
    return async_to_sync(authenticate)(headers, keyring=made.keyring, wrong_keys=made.wrong_keys, address=address)


def test_throttle_only_that_address_after_ten_wrong_passwords(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(10):
        assert b"Please enter the correct" in log_in("wrong").content
    shut = log_in(PASSWORD)
    assert shut.status_code == 200
    assert b"Too many failed logins" in shut.content
    assert log_in(PASSWORD, address="198.51.100.2").status_code == 302
    wrong_passwords = gateway().wrong_passwords
    later = wrong_passwords._monotonic() + 61
    monkeypatch.setattr(wrong_passwords, "_monotonic", lambda: later)
    assert log_in(PASSWORD).status_code == 302


def test_ignore_invented_address(settings: Settings) -> None:
    for number in range(10):
        log_in("wrong", **{"x-forwarded-for": f"203.0.113.{number}"})
    assert b"Too many failed logins" in log_in(PASSWORD, **{"x-forwarded-for": "203.0.113.99"}).content


def test_throttle_wrong_keys_but_not_good_ones() -> None:
    _, good = async_to_sync(create_key)("good")
    _, fresh = async_to_sync(create_key)("fresh")
    assert ask({"x-api-key": good}, address="198.51.100.1").label == "good"
    refusals = []
    for number in range(60):
        with pytest.raises(ProxyError) as caught:
            ask({"x-api-key": f"sk-wrong-{number}"}, address="198.51.100.1")
        refusals.append(caught.value)
    assert [error.kind for error in refusals] == [FailureKind.UNAUTHENTICATED] * 50 + [FailureKind.RATE_LIMITED] * 10
    assert refusals[-1].retry_after_s in (1, 2)
    assert ask({"x-api-key": good}, address="198.51.100.1").label == "good"
    assert ask({"x-api-key": fresh}, address="198.51.100.2").label == "fresh"
    with pytest.raises(ProxyError):  # it would be as good as a guess
        ask({"x-api-key": fresh}, address="198.51.100.1")


def test_requests_without_a_key_do_not_count() -> None:
    for _ in range(60):
        with pytest.raises(ProxyError) as caught:
            ask({}, address="198.51.100.1")
        assert caught.value.kind is FailureKind.UNAUTHENTICATED
