"""First administrator and key: created together, once, and deleted if they cannot be shown."""

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError

from apiproxy.keys.bootstrap import FirstSecrets, create_first_secrets, delete_first_secrets
from apiproxy.models import ApiKey

pytestmark = pytest.mark.django_db


def counts() -> tuple[int, int]:
    return get_user_model().objects.count(), ApiKey.objects.count()


def test_makes_an_administrator_and_a_key_once() -> None:
    first = create_first_secrets()

    assert first
    assert first.admin_password
    assert ApiKey.objects.get().scopes == ["api"]
    assert counts() == (1, 1)
    assert create_first_secrets() == FirstSecrets()


def test_takes_back_secrets_that_were_not_shown() -> None:
    delete_first_secrets(create_first_secrets())

    assert counts() == (0, 0)


def test_takes_back_nothing_that_was_there_before() -> None:
    create_first_secrets()
    delete_first_secrets(create_first_secrets())

    assert counts() == (1, 1)


def test_makes_neither_where_the_key_cannot_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(ApiKey, "save", fail)
    with pytest.raises(OperationalError):
        create_first_secrets()
    assert counts() == (0, 0)
