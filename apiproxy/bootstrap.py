"""The first start: whoever clones the gateway gets an administrator and a key without having to ask."""

import secrets
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model

from apiproxy.keys import create_key, ensure_env_key
from apiproxy.models import ApiKey

_ADMIN_NAME = "admin"
_FIRST_KEY_NAME = "first"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """What was made just now and can be shown this once; None: it was there before."""

    admin_name: str | None = None
    admin_password: str | None = None
    api_key: str | None = None


def bootstrap() -> FirstSecrets:
    """Makes the first administrator where there is no user, the environment's key, and a first key if there is none."""
    users = get_user_model()
    name = password = secret = None
    if not users.objects.exists():
        name, password = _ADMIN_NAME, secrets.token_urlsafe(12)
        users.objects.create_superuser(username=name, password=password)
    async_to_sync(ensure_env_key)()
    if not ApiKey.objects.exists():
        _, secret = async_to_sync(create_key)(_FIRST_KEY_NAME, scopes=["api", "admin"])
    return FirstSecrets(name, password, secret)
