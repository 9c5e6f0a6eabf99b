"""The first start: somebody who clones the gateway gets an administrator and a key without having to ask."""

import secrets
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from apiproxy.keys.cache import ensure_env_key, give_secret
from apiproxy.models import ApiKey

_ADMIN_NAME = "admin"
_FIRST_KEY_NAME = "first"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """Secrets made just now, to be shown this once; None: it was there before."""

    admin_name: str | None = None
    admin_password: str | None = None
    api_key: str | None = None
    key_id: int | None = None

    def __bool__(self) -> bool:
        return bool(self.admin_password or self.api_key)


def keep_env_key() -> None:
    """Makes the key of the environment, whose secret the operator knows. To be called before the first request."""
    async_to_sync(ensure_env_key)()


def make_first() -> FirstSecrets:
    """Makes the first administrator where there is no user, and a first key where there is none: both or neither.

    To be called when the gateway takes requests, so that a start that fails leaves nothing with a secret unknown to
    all. What cannot be shown is to be taken back with `take_back`.
    """
    users = get_user_model()
    name = password = secret = key = None
    try:
        with transaction.atomic():
            if not users.objects.exists():
                name, password = _ADMIN_NAME, secrets.token_urlsafe(12)
                users.objects.create_superuser(username=name, password=password)
            if not ApiKey.objects.exists():
                key = ApiKey(name=_FIRST_KEY_NAME)
                secret = give_secret(key)
                key.save(force_insert=True)
    except IntegrityError:  # another gateway that starts on this database was first, and shows them
        return FirstSecrets()
    return FirstSecrets(name, password, secret, key.pk if key else None)


def take_back(first: FirstSecrets) -> None:
    """Deletes what was made, for secrets that could not be shown: the next start makes new ones."""
    with transaction.atomic():
        if first.admin_name:
            get_user_model().objects.filter(username=first.admin_name).delete()
        if first.key_id:
            ApiKey.objects.filter(pk=first.key_id).delete()
