"""Permissions of the dashboard and the operations API."""

from django.contrib.auth.models import AbstractUser, AnonymousUser

LOOK = "observability.view_trace"
CHANGE = "observability.cancel_run"

User = AbstractUser | AnonymousUser


def may_look(user: User) -> bool:
    """Whether the user is active staff who may see traces. Blocks: reads permissions from the database."""
    return bool(user.is_active and user.is_staff and user.has_perm(LOOK))
