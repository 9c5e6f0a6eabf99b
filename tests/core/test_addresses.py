"""Addresses that the gateway connects to for an MCP server."""

import socket
from ipaddress import ip_address

import pytest

from apiproxy.core.addresses import AddressError, checked_addresses, is_listed, is_public, private_host, target_of


@pytest.mark.parametrize(
    "address",
    [
        *["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
        *["169.254.169.254", "100.64.0.1", "100.127.255.255", "198.18.0.1", "192.0.0.8", "192.0.2.1", "203.0.113.9"],
        *["224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0"],
        *["fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"],
        *["::ffff:169.254.169.254", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"],
        *["64:ff9b:1::808:808", "2001:0:808:808::1"],
    ],
)
def test_take_address_for_private(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "223.255.255.254"],
        *["2606:4700::1", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
    ],
)
def test_take_address_for_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        *[("https://a.example/mcp", ("a.example", 443)), ("http://A.example:8080", ("a.example", 8080))],
        *[("http://[::1]:9/x", ("::1", 9)), ("https://a@b.example/", None), ("http://127.1/", None)],
        *[("ftp://a.example", None), ("http://a.example:0/", None), ("http://a.example:99999/", None)],
    ],
)
def test_read_target_of_url(url: str, target: tuple[str, int] | None) -> None:
    assert target_of(url) == target


def test_list_private_hosts_with_and_without_port() -> None:
    entries = [private_host(text) for text in ("LocalHost", "10.0.0.1:8080", "[::1]:9", "::2", "*.lab.example")]
    assert entries == ["localhost", "10.0.0.1:8080", "[::1]:9", "::2", "*.lab.example"]
    for host, port in (("localhost", 1), ("10.0.0.1", 8080), ("::1", 9), ("::2", 77), ("a.lab.example", 1)):
        assert is_listed(host, port, entries)
    for host, port in (("10.0.0.1", 8081), ("::1", 8), ("lab.example", 1), ("127.0.0.1", 1), ("a.localhost", 1)):
        assert not is_listed(host, port, entries)


@pytest.mark.parametrize(
    "text", ["*", "none", "", "a b", "http://a", "a/b", "a:0", "a:x", "a:70000", "[a]:1", "[::1", ":8"]
)
def test_reject_entry_of_private_hosts(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        private_host(text)


async def test_refuse_private_address_unless_listed() -> None:
    with pytest.raises(AddressError, match="CLAUDE_PROXY_ALLOWED_PRIVATE_HOSTS"):
        await checked_addresses("127.0.0.1", 80)
    with pytest.raises(AddressError, match="not public"):
        await checked_addresses("localhost", 80, private_hosts=["localhost:81", "127.0.0.1"])
    assert await checked_addresses("127.0.0.1", 80, private_hosts=["127.0.0.1:80"]) == ("127.0.0.1",)
    assert "127.0.0.1" in await checked_addresses("localhost", 80, private_hosts=["localhost"])


async def test_refuse_name_with_one_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("8.8.8.8", "169.254.169.254")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)  # no name on the internet has such addresses for a test
    with pytest.raises(AddressError, match=r"169\.254\.169\.254"):
        await checked_addresses("mixed.example", 443)
    assert await checked_addresses("mixed.example", 443, private_hosts=["mixed.example"]) == (
        "8.8.8.8",
        "169.254.169.254",
    )


async def test_report_name_that_does_not_exist() -> None:
    with pytest.raises(AddressError, match="could not be resolved"):
        await checked_addresses("nowhere.invalid", 443)
