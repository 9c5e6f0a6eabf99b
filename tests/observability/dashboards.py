"""Users, keys and settings for the dashboard's tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from apiproxy.conf import Credential
from apiproxy.models import ApiKey


def set_demo(settings: Settings, demo: bool) -> None:
    credential = Credential(kind="demo" if demo else "api_key")
    settings.GATEWAY = replace(settings.GATEWAY, credential=credential)


def make_key(name: str = "team", **fields: Any) -> ApiKey:
    return ApiKey.objects.create(name=name, prefix="sk-", digest=f"digest of {name}", **fields)


def make_user(
    name: str = "ops", *, staff: bool = True, permissions: Sequence[str] = (), superuser: bool = False
) -> User:
    user = User.objects.create_user(name, is_staff=staff, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user
