"""What processes tell each other by Redis, which is quicker than by the database: how they are, and what to do."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

STATE_KEPT_MS = 4_000
TELL_S = 1.0
_ERRAND_KEPT_S = 60
_TIMEOUT_S = 2.0
_LISTEN_S = 5
_RETRY_S = 1.0
_PREFIX = "claude-proxy"

LineError = (RedisError, OSError, TimeoutError)
"""What any call here may raise; the database is the way then."""


class RedisLine:
    """This process's line. Names of processes are unique, and so are the keys: others may use the same Redis."""

    def __init__(self, url: str, *, process: str) -> None:
        self._process = process
        options: dict[str, Any] = {"socket_connect_timeout": _TIMEOUT_S, "decode_responses": False}
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S, **options)
        self._listening = Redis.from_url(url, socket_timeout=_LISTEN_S + _TIMEOUT_S, **options)

    async def tell(self, state: str) -> None:
        """Says how this process is; forgotten soon."""
        await self._redis.set(_state_key(self._process), state, px=STATE_KEPT_MS)

    async def states(self, processes: Sequence[str]) -> list[str | None]:
        """What those last said; None of one that is silent."""
        if not processes:
            return []
        found = await self._redis.mget([_state_key(name) for name in processes])
        return [text.decode() if isinstance(text, bytes) else text for text in found]

    async def send(self, process: str, kind: str, subject: str) -> None:
        """Leaves an errand for another process."""
        key = _errands_key(process)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(key, orjson.dumps([kind, subject]))
            pipe.expire(key, _ERRAND_KEPT_S)
            await pipe.execute()

    async def listen(self, do: Callable[[str, str], object]) -> None:
        """Does what others ask, until it is cancelled."""
        while True:
            try:
                found: Any = await self._listening.blpop([_errands_key(self._process)], timeout=_LISTEN_S)
            except LineError as error:
                logger.warning("cluster.redis_away", extra={"error": type(error).__name__})
                await asyncio.sleep(_RETRY_S)
                continue
            if found is not None:
                kind, subject = orjson.loads(found[1])
                do(kind, subject)

    async def close(self) -> None:
        """Says good-bye."""
        try:
            await self._redis.delete(_state_key(self._process), _errands_key(self._process))
            await self._redis.aclose()
            await self._listening.aclose()
        except LineError as error:
            logger.warning("cluster.redis_away", extra={"error": type(error).__name__})


def _state_key(process: str) -> str:
    return f"{_PREFIX}:state:{process}"


def _errands_key(process: str) -> str:
    return f"{_PREFIX}:errands:{process}"
