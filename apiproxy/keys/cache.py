"""API keys: creation, rotation, and cached lookup by secret."""

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
from dataclasses import replace
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
from apiproxy.core.sealing import derive_seal_key
from apiproxy.db.guarded_query import DatabaseUnavailableError, QueryGuard, run_in_own_thread
from apiproxy.models import ENV_KEY_NAME, PREFIX_LENGTH, ApiKey

SECRET_PREFIX = "sk-proxy-"  # noqa: S105 - how generated secrets begin, not one of them
SECRET_LENGTH = 43
"""Random base62 characters after the prefix: 256 bits."""

CACHE_TTL_S = 5.0
"""Lifetime of a cache entry. Changes by other processes take effect after it, own changes at once."""
CACHE_MAX_KEYS = 4096
STALE_MAX_S = 3600.0
"""Maximum age of a cached key that is still valid while the database is unavailable."""
LAST_USED_INTERVAL_S = 60.0
PENDING_WRITES_MAX = 64
SETTLE_TIMEOUT_S = 5.0

_BASE62 = string.digits + string.ascii_letters
_NO_DIGEST = "0" * 64  # compared if no row was found, so that both cases take the same time

logger = logging.getLogger(__name__)


class KeyFields(TypedDict, total=False):
    """Fields of a new key; see `ApiKey`."""

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
    cache_prompts: bool
    expires_at: datetime | None


def digest_of(secret: str) -> str:
    """SHA-256 in hex. Secrets are long and random: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def set_new_secret(key: ApiKey) -> str:
    """Set digest and prefix of a new secret on the key, unsaved; return the secret."""
    secret = SECRET_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))
    _set_secret(key, secret)
    return secret


def _set_secret(key: ApiKey, secret: str) -> None:
    generated = secret.startswith(SECRET_PREFIX) and len(secret) == len(SECRET_PREFIX) + SECRET_LENGTH
    # An operator's own secret may be short: store at most a quarter of it in the clear.
    key.prefix = secret[: PREFIX_LENGTH if generated else min(PREFIX_LENGTH, len(secret) // 4)]
    key.digest = digest_of(secret)


async def create_key(name: str, **fields: Unpack[KeyFields]) -> tuple[ApiKey, str]:
    """Save a new key; return it with its secret, which is not stored.

    Raises django.core.exceptions.ValidationError for invalid fields and for a name in use.
    """
    key = ApiKey(name=name, **fields)
    secret = set_new_secret(key)
    await sync_to_async(key.full_clean)()
    await key.asave(force_insert=True)
    return key, secret


def rotate(key: ApiKey, *, overlap: timedelta) -> str:
    """Save a new secret and return it; the old one stays valid for `overlap`.

    Both secrets share the key's limits and budgets. Only one old secret is kept: an earlier one becomes invalid.
    Raises django.core.exceptions.ValidationError for a revoked key and for the environment's.
    """
    if key.revoked_at is not None or key.name == ENV_KEY_NAME:
        raise ValidationError("A revoked key, and the key from CLAUDE_PROXY_API_KEY, cannot be rotated here.")
    key.previous_prefix, key.previous_digest = key.prefix, key.digest
    key.previous_until, key.previous_used_at = timezone.now() + overlap, None
    secret = set_new_secret(key)
    key.save()
    return secret


async def ensure_env_key() -> ApiKey | None:
    """Save the key `env` with the secret in CLAUDE_PROXY_API_KEY; None if unset.

    All else stays as set by an administrator, including a revocation of this secret. If another key has the secret,
    nothing changes.
    """
    secret = gateway_settings().api_key
    return await sync_to_async(_save_env_key)(secret) if secret else None


def _save_env_key(secret: str) -> ApiKey:
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
    except IntegrityError:  # another starting process was first
        return ApiKey.objects.get(digest=key.digest)
    return key


async def usable_keys() -> int:
    """Number of valid keys; without any, only public paths are served."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return await ApiKey.objects.filter(unexpired, revoked_at=None).acount()


class Keyring:
    """Cache of principals by secret.

    Entries live for CACHE_TTL_S, or until a key changes in this process; while the database is unavailable, for
    STALE_MAX_S.

    clock: Unix time, for expiry. monotonic: for ages. Used on one event loop; keys may change in any thread.
    """

    def __init__(
        self,
        database: QueryGuard,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._database = database
        self._monotonic = monotonic
        self._found: OrderedDict[str, tuple[float, Principal]] = OrderedDict()  # digest: (loaded at, principal)
        self._changes = 0
        self._lock = threading.Lock()
        self._last_use: OrderedDict[tuple[int, bool], float] = OrderedDict()  # (key id, which secret): last written
        self._writes: set[asyncio.Task[None]] = set()
        # Signals hold weak references: they do not keep a keyring alive.
        post_save.connect(self._on_change, sender=ApiKey)
        post_delete.connect(self._on_change, sender=ApiKey)

    async def find(self, secret: str) -> Principal | None:
        """Return the secret's principal; None if unknown, revoked or expired. Raises DatabaseUnavailableError."""
        digest = digest_of(secret)
        principal = self._cached(digest, CACHE_TTL_S)
        if principal is None:
            try:
                principal = await self._database.run(
                    lambda: self._load(digest, secret), what="cannot look up the API key"
                )
            except DatabaseUnavailableError:
                principal = self._cached(digest, STALE_MAX_S)
                if principal is None:
                    raise
        if principal is None or (principal.expires_at is not None and principal.expires_at <= self._clock()):
            return None
        self._note_use(principal)
        return principal

    def forget(self) -> None:
        """Clear the cache."""
        with self._lock:
            self._changes += 1
            self._found.clear()

    async def settle(self) -> None:
        """Wait until pending updates of the last use are written, at most SETTLE_TIMEOUT_S."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=SETTLE_TIMEOUT_S)

    def _cached(self, digest: str, max_age_s: float) -> Principal | None:
        loaded_at, principal = self._found.get(digest, (-math.inf, None))
        return principal if self._monotonic() - loaded_at < max_age_s else None

    async def _load(self, digest: str, secret: str) -> Principal | None:
        changes, loaded_at = self._changes, self._monotonic()
        until = datetime.fromtimestamp(self._clock(), tz=UTC)
        either = Q(digest=digest) | Q(previous_digest=digest, previous_until__gt=until)
        row = await ApiKey.objects.filter(either, revoked_at=None).afirst()
        known = (row.digest, row.previous_digest) if row is not None else (_NO_DIGEST, _NO_DIGEST)
        current, previous = (hmac.compare_digest(it, digest) for it in known)
        if row is None or not (current or previous):
            with self._lock:
                self._found.pop(digest, None)
            return None
        principal = replace(principal_of(row, previous_secret=not current), seal_key=derive_seal_key(secret))
        with self._lock:
            if changes == self._changes:  # else the row may predate a change
                self._found[digest] = (loaded_at, principal)
                self._found.move_to_end(digest)
                if len(self._found) > CACHE_MAX_KEYS:
                    self._found.popitem(last=False)
        return principal

    def _note_use(self, principal: Principal) -> None:
        now = self._monotonic()
        which = (principal.key_id, principal.previous_secret)
        recent = now - self._last_use.get(which, -math.inf) < LAST_USED_INTERVAL_S
        if recent or self._database.unavailable or len(self._writes) >= PENDING_WRITES_MAX:
            return
        self._last_use[which] = now
        self._last_use.move_to_end(which)
        if len(self._last_use) > CACHE_MAX_KEYS:
            self._last_use.popitem(last=False)
        write = asyncio.get_running_loop().create_task(run_in_own_thread(lambda: self._write_use(principal)))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write_use(self, principal: Principal) -> None:
        used_at = datetime.fromtimestamp(self._clock(), tz=UTC)
        column = "previous_used_at" if principal.previous_secret else "last_used_at"
        # Several processes write; one update a minute is enough.
        due = Q((column, None)) | Q((f"{column}__lte", used_at - timedelta(seconds=LAST_USED_INTERVAL_S)))
        try:
            written = {"last_used_at": used_at, column: used_at}
            await ApiKey.objects.filter(due, pk=principal.key_id).aupdate(**written)
        except DatabaseError:  # must not fail the request
            logger.warning("key.last_used_not_written", extra={"keyId": principal.key_id}, exc_info=True)

    def _on_change(self, *, using: str, **_signal: Any) -> None:
        self.forget()
        # Until the commit, other threads read the old row and may cache it again.
        transaction.on_commit(self.forget, using=using)


def principal_of(row: ApiKey, *, previous_secret: bool = False) -> Principal:
    """Principal of a key. previous_secret: see `Principal`."""
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
        cache_prompts=row.cache_prompts,
        expires_at=min((end.timestamp() for end in ends if end is not None), default=None),
        previous_secret=previous_secret,
    )
