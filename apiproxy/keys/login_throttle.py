"""Slows guessing down: so many failures from an address, then one now and then. Pure but for its clock.

In memory and bounded; each process counts for itself. An address is never shut out for good, and nobody from anywhere
but the address that fails: an attacker cannot lock an administrator out of every place.
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
"""What one customer has at least: whoever has one address of such a network has them all."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Throttle:
    """At most `burst` failures at once from an address, and one more every `every_s` seconds.

    What has succeeded from an address goes on working there, however many failures come from it: those who sit behind
    the same address as an attacker are not hurt. May be called from any thread.
    """

    def __init__(self, *, burst: int, every_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._every_s = every_s
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, what: str = "") -> float:
        """How long the next try from there has to wait; 0 for not at all. what: a digest of what is tried."""
        source = network_of(address)
        with self._lock:
            bucket = self._filled(source)
            if bucket is None or bucket.left >= 1 or (source, what) in self._proven:
                return 0.0
            return (1 - bucket.left) * self._every_s

    def failed(self, address: str) -> None:
        """Counts a failure."""
        source = network_of(address)
        with self._lock:
            bucket = self._filled(source) or _Bucket(float(self._burst), self._monotonic())
            bucket.left = max(0.0, bucket.left - 1)
            self._buckets[source] = bucket
            self._buckets.move_to_end(source)
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)

    def succeeded(self, address: str, what: str) -> None:
        """Remembers what worked from there."""
        known = (network_of(address), what)
        with self._lock:
            self._proven[known] = None
            self._proven.move_to_end(known)
            if len(self._proven) > MAX_PROVEN:
                self._proven.popitem(last=False)

    def forget(self) -> None:
        """As at the start of the process."""
        with self._lock:
            self._buckets.clear()
            self._proven.clear()

    def _filled(self, source: str) -> _Bucket | None:
        bucket = self._buckets.get(source)
        if bucket is not None:
            now = self._monotonic()
            bucket.left = min(float(self._burst), bucket.left + (now - bucket.at) / self._every_s)
            bucket.at = now
        return bucket


def network_of(address: str) -> str:
    """The address, or the network of an IPv6 address; whatever is no address stands for itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address


def whole_seconds(wait_s: float) -> int:
    """For people and headers: at least one, and never too few."""
    return max(1, math.ceil(wait_s))


wrong_keys = Throttle(burst=50, every_s=2.0)
"""Of this process: API keys that do not exist, or no longer."""
wrong_passwords = Throttle(burst=10, every_s=60.0)
"""Of this process: logins."""
