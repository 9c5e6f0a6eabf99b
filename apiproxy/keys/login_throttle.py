"""Token bucket per address for failed logins and wrong API keys.

In memory, bounded, per process. Only the failing address is throttled, and never for good: an attacker cannot lock an
administrator out elsewhere.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

MAX_ADDRESSES = 10_000
MAX_PROVEN = 20_000
_IPV6_PREFIX = 64
"""Smallest network of a customer, whose addresses are throttled together."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Throttle:
    """Allows `burst` failures per address, then one every `every_s`. Thread-safe.

    Credentials that have succeeded from an address are never throttled there: users who share an attacker's address
    are not affected.
    """

    def __init__(self, *, burst: int, every_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._every_s = every_s
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, what: str = "") -> float:
        """Seconds until the next attempt from the address; 0: now. what: digest of the credential."""
        source = network_of(address)
        with self._lock:
            bucket = self._filled(source)
            if bucket is None or bucket.left >= 1 or (source, what) in self._proven:
                return 0.0
            return (1 - bucket.left) * self._every_s

    def failed(self, address: str) -> None:
        source = network_of(address)
        with self._lock:
            bucket = self._filled(source) or _Bucket(float(self._burst), self._monotonic())
            bucket.left = max(0.0, bucket.left - 1)
            self._buckets[source] = bucket
            self._buckets.move_to_end(source)
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)

    def succeeded(self, address: str, what: str) -> None:
        """Exempt the credential from throttling at this address."""
        known = (network_of(address), what)
        with self._lock:
            self._proven[known] = None
            self._proven.move_to_end(known)
            if len(self._proven) > MAX_PROVEN:
                self._proven.popitem(last=False)

    def _filled(self, source: str) -> _Bucket | None:
        bucket = self._buckets.get(source)
        if bucket is not None:
            now = self._monotonic()
            bucket.left = min(float(self._burst), bucket.left + (now - bucket.at) / self._every_s)
            bucket.at = now
        return bucket


def network_of(address: str) -> str:
    """The network of an IPv6 address; any other text unchanged."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address


def whole_seconds(wait_s: float) -> int:
    """Round up to whole seconds, at least one."""
    return max(1, math.ceil(wait_s))
