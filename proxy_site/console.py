"""What the dashboard shows of the gateway beside its traces: sessions, keys, what they use; and the demo's flag."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import cast

from django.conf import settings
from django.db.models import F, Q, Sum
from django.utils import timezone

from apiproxy.conf import GatewaySettings
from apiproxy.models import ApiKey, Session, Usage
from observability.dashboard.port import KeyRow, SessionPage, SessionRow, UsageRow, console

_MICRO = 1_000_000
_MAX_KEYS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Console:
    """An `observability.dashboard.port.ConsolePort`."""

    @property
    def demo(self) -> bool:
        """Whether the stand-in answers."""
        return bool(settings.GATEWAY.credential.kind == "demo")

    async def sessions(self, *, text: str, limit: int, cursor: str) -> SessionPage:
        """Sessions of every key, the last used first. The cursor is the last one's time and id."""
        rows = Session.objects.defer("chain", "heads").order_by("-last_used_at", "-pk")
        if text:
            rows = rows.filter(Q(conversation_id__startswith=text) | Q(key_label__startswith=text))
        if cursor:
            at, _, pk = cursor.partition("-")
            moment = _EPOCH + timedelta(microseconds=int(at))
            rows = rows.filter(Q(last_used_at__lt=moment) | Q(last_used_at=moment, pk__lt=int(pk)))
        found = [row async for row in rows[: limit + 1]]
        following = None
        if len(found) > limit:
            found = found[:limit]
            following = f"{(found[-1].last_used_at - _EPOCH) // timedelta(microseconds=1)}-{found[-1].pk}"
        return SessionPage([_session(row) for row in found], following)

    async def keys(self) -> Sequence[KeyRow]:
        """The keys by name."""
        return [_key(key) async for key in ApiKey.objects.order_by("name", "pk")[:_MAX_KEYS]]

    async def usage(self, *, since: date) -> Sequence[UsageRow]:
        """The sums over all models."""
        rows = Usage.objects.filter(day__gte=since).order_by().values("key_id", "day", key=F("key_label"))
        summed = rows.annotate(
            requests_=Sum("requests"),
            failures_=Sum("failures"),
            tokens_in=Sum("input_tokens") + Sum("cache_read_tokens") + Sum("cache_creation_tokens"),
            tokens_out=Sum("output_tokens"),
            micro=Sum("cost_micro_usd"),
            unpriced_=Sum("unpriced") + Sum("partly_unpriced"),
        )
        return [
            {
                "key_id": row["key_id"],
                "key": row["key"],
                "day": row["day"],
                "requests": row["requests_"],
                "failures": row["failures_"],
                "tokens_in": row["tokens_in"],
                "tokens_out": row["tokens_out"],
                "cost": row["micro"] / _MICRO,
                "unpriced": row["unpriced_"],
            }
            async for row in summed
        ]

    async def spent(self) -> dict[int, float]:
        """By key id."""
        rows = Usage.objects.order_by().values("key_id").annotate(micro=Sum("cost_micro_usd"))
        return {row["key_id"]: row["micro"] / _MICRO async for row in rows}


class Dashboard:
    """An `apiproxy.server.lifecycle.BackgroundService`: gives the dashboard its console."""

    def __init__(self, _: GatewaySettings) -> None: ...

    async def start(self) -> None:
        """From now on the pages have it."""
        console.install(Console())

    async def stop(self) -> None:
        """Takes it away."""
        console.install(None)


def _session(row: Session) -> SessionRow:
    return {
        "key": row.key_label,
        "key_id": row.key_id,
        "conversation": row.conversation_id,
        "dialect": row.dialect,
        "model": row.model,
        "created": row.created_at.timestamp(),
        "last_used": row.last_used_at.timestamp(),
        "messages": row.message_count,
        "turns": row.turns,
        "resumes": row.resumes,
        "resets": row.resets,
        "failures": row.failures,
        "change": row.last_change,
        "differed_at": row.differed_at,
        "unstored": row.unstored_turns,
        "tokens": row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_creation_tokens,
        "cost": row.cost_micro_usd / _MICRO,
        "unpriced": row.unpriced + row.partly_unpriced,
    }


def _key(key: ApiKey) -> KeyRow:
    expired = key.expires_at is not None and key.expires_at <= timezone.now()
    budgets = {
        name: None if (value := getattr(key, f"budget_{name}_usd")) is None else float(value)
        for name in ("day", "month", "total")
    }
    return cast(
        "KeyRow",
        {
            "id": key.pk,
            "name": key.name,
            "prefix": key.prefix,
            "state": "revoked" if key.revoked_at else "expired" if expired else "in use",
            **{f"budget_{name}": value for name, value in budgets.items()},
        },
    )
