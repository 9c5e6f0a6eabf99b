"""Redis transport for member states and commands, faster than the database."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

STATE_TTL_MS = 4_000
PUBLISH_INTERVAL_S = 1.0
_COMMAND_TTL_S = 60
_TIMEOUT_S = 2.0
_POLL_S = 5
_RETRY_S = 1.0
_PREFIX = "claude-proxy"

REDIS_ERRORS = (RedisError, OSError, TimeoutError)
"""Errors raised by the calls below; the caller falls back to the database."""


class RedisTransport:
    """State and command channel of this process.

    Keys contain the unique process name, because several clusters may share one Redis.
    """

    def __init__(self, url: str, *, process: str) -> None:
        self._process = process
        options: dict[str, Any] = {"socket_connect_timeout": _TIMEOUT_S, "decode_responses": False}
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S, **options)
        self._blocking = Redis.from_url(url, socket_timeout=_POLL_S + _TIMEOUT_S, **options)

    async def publish_state(self, state: str) -> None:
        """Publish the state of this process; expires after `STATE_TTL_MS`."""
        await self._redis.set(_state_key(self._process), state, px=STATE_TTL_MS)

    async def read_states(self, processes: Sequence[str]) -> list[str | None]:
        """Latest states of the processes; None if expired."""
        if not processes:
            return []
        found = await self._redis.mget([_state_key(name) for name in processes])
        return [text.decode() if isinstance(text, bytes) else text for text in found]

    async def send_command(self, process: str, kind: str, subject: str) -> None:
        key = _commands_key(process)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(key, orjson.dumps([kind, subject]))
            pipe.expire(key, _COMMAND_TTL_S)
            await pipe.execute()

    async def listen(self, execute: Callable[[str, str], object]) -> None:
        """Execute incoming commands until cancelled."""
        while True:
            try:
                found: Any = await self._blocking.blpop([_commands_key(self._process)], timeout=_POLL_S)
            except REDIS_ERRORS as error:
                logger.warning("cluster.redis_away", extra={"error": type(error).__name__})
                await asyncio.sleep(_RETRY_S)
                continue
            if found is not None:
                kind, subject = orjson.loads(found[1])
                execute(kind, subject)

    async def close(self) -> None:
        try:
            await self._redis.delete(_state_key(self._process), _commands_key(self._process))
            await self._redis.aclose()
            await self._blocking.aclose()
        except REDIS_ERRORS as error:
            logger.warning("cluster.redis_away", extra={"error": type(error).__name__})


def _state_key(process: str) -> str:
    return f"{_PREFIX}:state:{process}"


def _commands_key(process: str) -> str:
    return f"{_PREFIX}:errands:{process}"
