"""A console and users for the dashboard's tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from django.contrib.auth.models import Permission, User

from observability.dashboard.port import KeyRow, SessionPage, UsageRow


@dataclass(slots=True)
class Console:
    """A `ConsolePort` that is told what to say."""

    demo: bool = False
    key_rows: list[KeyRow] = field(default_factory=list)
    usage_rows: list[UsageRow] = field(default_factory=list)

    async def sessions(self, *, text: str, limit: int, cursor: str) -> SessionPage:
        if cursor:
            raise ValueError(cursor)
        return SessionPage([], None)

    async def keys(self) -> Sequence[KeyRow]:
        return self.key_rows

    async def usage(self, *, since: date) -> Sequence[UsageRow]:
        return [row for row in self.usage_rows if row["day"] >= since]

    async def spent(self) -> dict[int, float]:
        return {key["id"]: 9.0 for key in self.key_rows}


def make_user(
    name: str = "ops", *, staff: bool = True, permissions: Sequence[str] = (), superuser: bool = False
) -> User:
    user = User.objects.create_user(name, is_staff=staff, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user
