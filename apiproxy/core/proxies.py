"""Proxy for an upstream, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY in either case. Pure.

Programs disagree about NO_PROXY; this accepts every spelling in use.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

SOCKS = "socks5"
_SCHEMES = {"http": "http", "https": "https", "socks": SOCKS, "socks5": SOCKS, "socks5h": SOCKS, "socks4": "socks4"}
"""Schemes of proxies, and what they mean. Names are resolved by a SOCKS proxy, as with `socks5h`."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ProxyAddressError(ValueError):
    """A variable does not hold a proxy's address. name: of the variable."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not a proxy address")
        self.name = name


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """Address of the proxy for a URL; None for a direct connection.

    The lower-case form of a variable counts first, and ALL_PROXY where the URL's scheme has no proxy of its own. An
    address without a scheme is an HTTP proxy's. Raises ProxyAddressError.
    """
    parts = urlsplit(url)
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for form in (name, name.upper()):
            if value := env.get(form, "").strip():
                address = _normalized(value, form)
                return None if bypasses_proxy(url, env) else address
    return None


def is_socks(proxy: str | None) -> bool:
    """True for the address of a SOCKS proxy."""
    return proxy is not None and proxy.startswith("socks")


def is_loopback(host: str) -> bool:
    """True for a name or address of this machine that no other machine can mean."""
    address = _address(host)
    return address.is_loopback if address else host.lower().rstrip(".") in ("localhost", "localhost.localdomain")


def bypasses_proxy(url: str, env: Mapping[str, str]) -> bool:
    """True if NO_PROXY names the URL's host.

    Entries are separated by commas or spaces: `*`, a name (it and all names below), `.name`, `*.name`, an address, an
    IPv6 address with or without brackets, or a network (`10.0.0.0/8`); each but a network may be followed by a port.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    given = env.get("no_proxy") or env.get("NO_PROXY") or ""
    return any(_names(entry, host, port) for entry in given.replace(",", " ").split())


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    name, entry_port = _split_port(entry.lower())
    if entry_port is not None and entry_port != port:
        return False
    address = _address(host)
    if address is None:
        name = name.removeprefix("*").removeprefix(".").rstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name.strip("[]"), strict=False)
    except (ValueError, TypeError):
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        return name, int(port)
    return entry, None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _normalized(value: str, name: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        scheme, is_valid = _SCHEMES.get(parts.scheme), bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ProxyAddressError(name) from None
    if scheme is None or not is_valid or not value.isprintable():
        raise ProxyAddressError(name)
    port = "" if parts.port or scheme in _DEFAULT_PORTS else ":1080"
    return f"{scheme}://{parts.netloc}{port}"
