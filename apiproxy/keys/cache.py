"""API keys: how they are made, and whose a secret is, without a query on the hot path."""

import asyncio
import hashlib
import hmac
import logging
import math
import secrets
import string
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from apiproxy.conf import gateway_settings
from apiproxy.core.principal import Principal
from apiproxy.db.guarded_query import DatabaseAwayError, Lookup, apart, lookup
from apiproxy.models import ENV_KEY_NAME, PREFIX_LENGTH, ApiKey

SECRET_PREFIX = "sk-proxy-"  # noqa: S105 - how generated secrets begin, not one of them
SECRET_LENGTH = 43
"""Random base62 characters after the prefix: 256 bits."""

CACHE_TTL_S = 5.0
"""How long another process's change of a key may go unnoticed here; this process's own counts at once."""
CACHE_MAX_KEYS = 4096
STALE_MAX_S = 3600.0
"""How long a key that was found goes on working while the database does not answer."""
LAST_USED_INTERVAL_S = 60.0
PENDING_WRITES_MAX = 64
SETTLE_TIMEOUT_S = 5.0

_BASE62 = string.digits + string.ascii_letters
_NOBODY = "0" * 64  # compared with where no row was found, so that both cases do the same work

logger = logging.getLogger(__name__)


class KeyFields(TypedDict, total=False):
    """What can be said of a new key; see `ApiKey` for the meanings."""

    scopes: list[str]
    allowed_models: list[str]
    allowed_dialects: list[str]
    allowed_betas: list[str]
    allowed_server_tools: list[str]
    allowed_mcp_hosts: list[str]
    owner_id: int | None
    priority: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_runs: int | None
    budget_day_usd: Decimal | None
    budget_month_usd: Decimal | None
    budget_total_usd: Decimal | None
    budget_warn_percent: int
    store_bodies: bool
    expires_at: datetime | None


def digest_of(secret: str) -> str:
    """The SHA-256 of a secret in hex. Secrets are random and long, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def give_secret(key: ApiKey) -> str:
    """Sets a new secret's digest and prefix on the key, unsaved, and returns the secret: the only time it is known."""
    secret = SECRET_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))
    _set_secret(key, secret)
    return secret


def _set_secret(key: ApiKey, secret: str) -> None:
    generated = secret.startswith(SECRET_PREFIX) and len(secret) == len(SECRET_PREFIX) + SECRET_LENGTH
    # An operator's own secret may be short: never more than a quarter of it is kept in the clear.
    key.prefix = secret[: PREFIX_LENGTH if generated else min(PREFIX_LENGTH, len(secret) // 4)]
    key.digest = digest_of(secret)


async def create_key(name: str, **fields: Unpack[KeyFields]) -> tuple[ApiKey, str]:
    """Saves a new key; returns it with its secret, which cannot be had again.

    Raises django.core.exceptions.ValidationError for a name that a key in use has, and for fields that are not valid.
    """
    key = ApiKey(name=name, **fields)
    secret = give_secret(key)
    await sync_to_async(key.full_clean)()
    await key.asave(force_insert=True)
    return key, secret


def rotate(key: ApiKey, *, overlap: timedelta) -> str:
    """Gives the key a new secret, saves it and returns the secret; the old one works until the overlap is over.

    It is one key still: both secrets draw on the same limits and budgets. The secret before the old one stops working.
    Raises django.core.exceptions.ValidationError for a revoked key and for the environment's.
    """
    if key.revoked_at is not None or key.name == ENV_KEY_NAME:
        raise ValidationError("A revoked key, and the key from CLAUDE_PROXY_API_KEY, cannot be rotated here.")
    key.previous_prefix, key.previous_digest = key.prefix, key.digest
    key.previous_until, key.previous_used_at = timezone.now() + overlap, None
    secret = give_secret(key)
    key.save()
    return secret


async def ensure_env_key() -> ApiKey | None:
    """Makes the secret in CLAUDE_PROXY_API_KEY that of the key named `env`; None where the variable is not set.

    Everything else about that key stays as an administrator left it, a revocation of this very secret too. A secret
    that is another key's already stays that key's.
    """
    secret = gateway_settings().api_key
    return await sync_to_async(_keep_env_key)(secret) if secret else None


def _keep_env_key(secret: str) -> ApiKey:
    known = ApiKey.objects.filter(digest=digest_of(secret)).first()
    if known is not None:
        if known.revoked_at is not None:
            logger.warning("key.env_revoked", extra={"keyId": known.pk})
        return known
    key = ApiKey.objects.filter(name=ENV_KEY_NAME, revoked_at=None).first() or ApiKey(name=ENV_KEY_NAME)
    _set_secret(key, secret)
    try:
        with transaction.atomic():
            key.save()
    except IntegrityError:  # another process that starts at the same time was first
        return ApiKey.objects.get(digest=key.digest)
    return key


async def usable_keys() -> int:
    """How many keys work; without one nothing is served but the open paths."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return await ApiKey.objects.filter(unexpired, revoked_at=None).acount()


class Keyring:
    """Tells whose a secret is. Keys that were found stay in memory for CACHE_TTL_S seconds, or until one changes here;
    without an answer of the database, for STALE_MAX_S.

    clock gives Unix time, for expiry; monotonic measures ages. Used on one event loop; keys may change in any thread.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        database: Lookup = lookup,
    ) -> None:
        self._clock = clock
        self._database = database
        self._monotonic = monotonic
        self._found: OrderedDict[str, tuple[float, Principal]] = OrderedDict()  # digest: (loaded at, whose)
        self._changes = 0
        self._lock = threading.Lock()
        self._last_use: OrderedDict[tuple[int, bool], float] = OrderedDict()  # (key id, which secret): last written
        self._writes: set[asyncio.Task[None]] = set()
        # Weak: the signals do not keep a keyring alive.
        post_save.connect(self._on_change, sender=ApiKey)
        post_delete.connect(self._on_change, sender=ApiKey)

    async def find(self, secret: str) -> Principal | None:
        """Whose the secret is; None for an unknown, revoked or expired one. Raises DatabaseAwayError."""
        digest = digest_of(secret)
        principal = self._remembered(digest, CACHE_TTL_S)
        if principal is None:
            try:
                principal = await self._database.ask(lambda: self._load(digest), what="the key cannot be looked up")
            except DatabaseAwayError:
                principal = self._remembered(digest, STALE_MAX_S)
                if principal is None:
                    raise
        if principal is None or (principal.expires_at is not None and principal.expires_at <= self._clock()):
            return None
        self._note_use(principal)
        return principal

    def forget(self) -> None:
        """Drops what is in memory, so that the next look-up asks the database."""
        with self._lock:
            self._changes += 1
            self._found.clear()

    async def settle(self) -> None:
        """Waits, for a bounded time, until the notes of last use are written; for the end of the process."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=SETTLE_TIMEOUT_S)

    def _remembered(self, digest: str, max_age_s: float) -> Principal | None:
        loaded_at, principal = self._found.get(digest, (-math.inf, None))
        return principal if self._monotonic() - loaded_at < max_age_s else None

    async def _load(self, digest: str) -> Principal | None:
        changes, loaded_at = self._changes, self._monotonic()
        until = datetime.fromtimestamp(self._clock(), tz=UTC)
        either = Q(digest=digest) | Q(previous_digest=digest, previous_until__gt=until)
        row = await ApiKey.objects.filter(either, revoked_at=None).afirst()
        known = (row.digest, row.previous_digest) if row is not None else (_NOBODY, _NOBODY)
        current, previous = (hmac.compare_digest(it, digest) for it in known)
        if row is None or not (current or previous):
            with self._lock:
                self._found.pop(digest, None)
            return None
        principal = principal_of(row, previous_secret=not current)
        with self._lock:
            if changes == self._changes:  # else the row may be from before a change
                self._found[digest] = (loaded_at, principal)
                self._found.move_to_end(digest)
                if len(self._found) > CACHE_MAX_KEYS:
                    self._found.popitem(last=False)
        return principal

    def _note_use(self, principal: Principal) -> None:
        now = self._monotonic()
        which = (principal.key_id, principal.previous_secret)
        recent = now - self._last_use.get(which, -math.inf) < LAST_USED_INTERVAL_S
        if recent or self._database.away or len(self._writes) >= PENDING_WRITES_MAX:
            return
        self._last_use[which] = now
        self._last_use.move_to_end(which)
        if len(self._last_use) > CACHE_MAX_KEYS:
            self._last_use.popitem(last=False)
        write = asyncio.get_running_loop().create_task(apart(lambda: self._write_use(principal)))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write_use(self, principal: Principal) -> None:
        used_at = datetime.fromtimestamp(self._clock(), tz=UTC)
        column = "previous_used_at" if principal.previous_secret else "last_used_at"
        # Several processes write: one a minute is enough.
        due = Q((column, None)) | Q((f"{column}__lte", used_at - timedelta(seconds=LAST_USED_INTERVAL_S)))
        try:
            written = {"last_used_at": used_at, column: used_at}
            await ApiKey.objects.filter(due, pk=principal.key_id).aupdate(**written)
        except DatabaseError:  # a locked database must not cost the client its answer
            logger.warning("key.last_used_not_written", extra={"keyId": principal.key_id}, exc_info=True)

    def _on_change(self, *, using: str, **_signal: Any) -> None:
        self.forget()
        # Until the commit others still read the old row, and may have put it back.
        transaction.on_commit(self.forget, using=using)


keyring = Keyring()
"""The keyring of this process."""


async def find(secret: str) -> Principal | None:
    """`Keyring.find` of this process's keyring."""
    return await keyring.find(secret)


def principal_of(row: ApiKey, *, previous_secret: bool = False) -> Principal:
    """The principal of a key's row. previous_secret: see `Principal`."""
    ends = [row.expires_at, row.previous_until if previous_secret else None]
    return Principal(
        key_id=row.pk,
        label=row.name,
        scopes=frozenset(row.scopes),
        allowed_models=tuple(row.allowed_models),
        allowed_dialects=tuple(row.allowed_dialects),
        allowed_betas=tuple(row.allowed_betas),
        allowed_server_tools=tuple(row.allowed_server_tools),
        allowed_mcp_hosts=tuple(row.allowed_mcp_hosts),
        limits=row.limits,
        priority=row.priority,
        store_bodies=row.store_bodies,
        expires_at=min((end.timestamp() for end in ends if end is not None), default=None),
        previous_secret=previous_secret,
    )
