"""Variables of Kubernetes services and Docker links that resemble the gateway's settings.

A Service `claude-proxy` gives every pod variables that end in `_SERVICE_HOST`, `_PORT` (tcp://10.0.0.1:3456),
`_PORT_3456_TCP_ADDR` and others. Source: https://kubernetes.io/docs/concepts/services-networking/service
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address

_URL = re.compile(r"(?:tcp|udp|sctp)://\[?[0-9A-Fa-f.:]+\]?:[0-9]{1,5}")
_ENDPOINT = re.compile(r"_PORT(?:_[0-9]{1,5}_(?:TCP|UDP|SCTP))?$")
_PART = re.compile(r"_PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)_(PROTO|PORT|ADDR)$")
_SERVICE = re.compile(r"_SERVICE_(HOST|PORT(?:_[A-Z0-9_]+)?)$")
_PROTOCOLS = ("tcp", "udp", "sctp")


def without_service_links(env: Mapping[str, str], *, prefix: str) -> dict[str, str]:
    """The environment without the variables that describe a service.

    They are recognized by their prefix, name and value.
    """
    return {name: value for name, value in env.items() if not (name.startswith(prefix) and _is_link(name, value))}


def _is_link(name: str, value: str) -> bool:
    if part := _PART.search(name):
        return value in _PROTOCOLS if part[1] == "PROTO" else _is_number_or_address(value)
    if _SERVICE.search(name):
        return _is_number_or_address(value)
    return _ENDPOINT.search(name) is not None and _URL.fullmatch(value) is not None


def _is_number_or_address(value: str) -> bool:
    if value.isdecimal():
        return True
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
