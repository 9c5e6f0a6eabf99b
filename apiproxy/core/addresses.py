"""Addresses that the gateway may connect to on behalf of MCP servers and webhooks.

Connect to the addresses that `checked_addresses` returns, not to the name: a second look-up may give others.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from apiproxy.core.hosts import host_of, host_pattern, matches_host

LOOKUP_TIMEOUT_S = 5.0
MAX_ADDRESSES = 16
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535

_NOT_PUBLIC: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *(
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/96",
            "100::/64",
            "64:ff9b:1::/48",
            "2001::/23",
            "2001:db8::/32",
            "fc00::/7",
        ),
        *("fe80::/10", "fec0::/10", "ff00::/8", "3fff::/20", "5f00::/16"),
    )
)
"""Source: the IANA registries of special-purpose addresses. `is_global` depends on the version of Python."""
_NAT64 = ip_network("64:ff9b::/96")


class AddressError(Exception):
    """A host that the gateway must not, or cannot, connect to. The text is for the operator."""


def target_of(url: str) -> tuple[str, int] | None:
    """Host and port of an http or https URL; None if it is ambiguous (`hosts.host_of`)."""
    host = host_of(url)
    if host is None:
        return None
    parts = urlsplit(url)
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return (host, port) if port else None


def private_host(text: str) -> str:
    """Normalize `host` or `host:port`; a host may be `*.example.com`. Raises ValueError for anything else."""
    host, port = _split(text)
    normalized = host_pattern(host)
    if normalized in ("*", "none"):
        raise ValueError(text)
    if port is None:
        return normalized
    return f"[{normalized}]:{port}" if ":" in normalized else f"{normalized}:{port}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for an address on the public internet, and not one of this machine or its networks.

    IPv6 forms of an IPv4 address (mapped, 6to4, NAT64) count as that address too.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        embedded = address.ipv4_mapped
        if embedded is not None:
            return is_public(embedded)
        inner = address.sixtofour or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if inner is not None and not is_public(inner):
            return False
    return not address.is_multicast and not any(
        address in network for network in _NOT_PUBLIC if network.version == address.version
    )


def is_listed(host: str, port: int, private_hosts: Sequence[str]) -> bool:
    """True if an entry, as `private_host` returns them, names the host, and the port if it has one."""
    for entry in private_hosts:
        listed, only = _split(entry)
        if (only is None or only == port) and matches_host(listed, host):
            return True
    return False


async def checked_addresses(
    host: str, port: int, *, private_hosts: Sequence[str] = (), timeout_s: float = LOOKUP_TIMEOUT_S
) -> tuple[str, ...]:
    """Addresses of a host, all of them public unless an entry of private_hosts names the host.

    host: from `target_of`. Raises AddressError if one of the addresses is not allowed, or the look-up fails.
    """
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise AddressError(f"The name {host} could not be resolved within {timeout_s:g} s.") from None
    except (OSError, UnicodeError):
        raise AddressError(f"The name {host} could not be resolved.") from None
    addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))[:MAX_ADDRESSES]
    if not addresses:
        raise AddressError(f"The name {host} has no address.")
    if not is_listed(host, port, private_hosts):
        for address in addresses:
            if not is_public(ip_address(address)):
                raise AddressError(
                    f"{host} has the address {address}, which is not public. CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS may "
                    f"list {host} or {host}:{port}."
                )
    return addresses


def _split(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `::1`, `[::1]` or `[::1]:port` into host and port.

    Raises ValueError for an invalid port.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(text)
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if port is None:
        return host, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= _MAX_PORT):
        raise ValueError(text)
    return host, int(port)
