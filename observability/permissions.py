"""Permissions of the dashboard and the operations API."""

from dataclasses import dataclass
from typing import Literal

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.http import HttpRequest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.http.request import authenticated
from apiproxy.keys.authentication import presented_secret

LOOK = "observability.view_trace"
CHANGE = "observability.cancel_run"

User = AbstractUser | AnonymousUser


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An authenticated user of the operations API. may_change: also cancel runs and retire workers.

    by: a `login` needs a CSRF token for a request that changes something; a `key` does not.
    """

    name: str
    by: Literal["key", "login"]
    may_change: bool


def can_view_traces(user: User) -> bool:
    """True if the user is active staff who may see traces. Blocks: reads permissions from the database."""
    return bool(user.is_active and user.is_staff and user.has_perm(LOOK))


async def authorise(request: HttpRequest) -> Operator | None:
    """Operator of a key with the scope `admin`, or of a staff login; None otherwise.

    The login needs the permission to view traces.
    A login does not make up for an insufficient key. Raises ProxyError if the caller cannot be authenticated now:
    DATABASE_UNAVAILABLE, and RATE_LIMITED after many wrong keys from the client's address.
    """
    if presented_secret(request.headers):
        try:
            principal = await authenticated(request)
        except ProxyError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                return None
            raise
        return Operator(name=principal.label, by="key", may_change=True) if "admin" in principal.scopes else None
    if not hasattr(request, "auser"):
        return None
    user = await request.auser()
    if not (user.is_active and user.is_staff and await user.ahas_perm(LOOK)):
        return None
    return Operator(name=user.get_username(), by="login", may_change=await user.ahas_perm(CHANGE))
