"""First start: creates an administrator and an API key in an empty database."""

import secrets
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from apiproxy.keys.cache import ensure_env_key, set_new_secret
from apiproxy.models import ApiKey

_ADMIN_NAME = "admin"
_FIRST_KEY_NAME = "first"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """New secrets, to be shown once; None: existed before."""

    admin_name: str | None = None
    admin_password: str | None = None
    api_key: str | None = None
    key_id: int | None = None

    def __bool__(self) -> bool:
        return bool(self.admin_password or self.api_key)


def store_env_key() -> None:
    """Save the key from CLAUDE_PROXY_API_KEY. Call it before the first request."""
    async_to_sync(ensure_env_key)()


def create_first_secrets(*, agents: bool = False) -> FirstSecrets:
    """Create an administrator if there is no user, and a key if there is none.

    agents: the key may use them, as in a demo.

    Call it once the gateway accepts requests: a failed start must not leave rows with secrets that were never shown.
    If the secrets cannot be shown, call `delete_first_secrets`.
    """
    users = get_user_model()
    name = password = secret = key = None
    try:
        with transaction.atomic():
            if not users.objects.exists():
                name, password = _ADMIN_NAME, secrets.token_urlsafe(12)
                users.objects.create_superuser(username=name, password=password)
            if not ApiKey.objects.exists():
                key = ApiKey(name=_FIRST_KEY_NAME, allowed_models=["*"] if agents else [])
                secret = set_new_secret(key)
                key.save(force_insert=True)
    except IntegrityError:  # another gateway on this database was first, and shows them
        return FirstSecrets()
    return FirstSecrets(name, password, secret, key.pk if key else None)


def delete_first_secrets(first: FirstSecrets) -> None:
    """Delete the new rows, because their secrets could not be shown."""
    with transaction.atomic():
        if first.admin_name:
            get_user_model().objects.filter(username=first.admin_name).delete()
        if first.key_id:
            ApiKey.objects.filter(pk=first.key_id).delete()
