"""A loopback address is listened on in both families."""

import socket

import pytest

from apiproxy.server.listener import listening_sockets


def close(sockets: list[socket.socket]) -> None:
    for it in sockets:
        it.close()


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1", "::1"]),
        ("localhost", ["127.0.0.1", "::1"]),
        ("::1", ["::1", "127.0.0.1"]),
        ("[::1]", ["::1", "127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.2"]),
        ("0.0.0.0", ["0.0.0.0"]),
        ("::", ["::"]),
        ("[::]", ["::"]),
    ],
)
def test_listen_on_both_loopback_addresses(host: str, addresses: list[str]) -> None:
    sockets = listening_sockets(host, 0)
    try:
        assert [it.getsockname()[0] for it in sockets] == addresses
        assert len({it.getsockname()[1] for it in sockets}) == 1
    finally:
        close(sockets)


def test_take_ipv4_clients_on_every_address() -> None:
    sockets = listening_sockets("[::]", 0)
    try:
        socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1]), timeout=5).close()
    finally:
        close(sockets)


def test_go_on_without_taken_loopback(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        port = other.getsockname()[1]
        sockets = listening_sockets("127.0.0.1", port)
        close(sockets)
    assert [it.family for it in sockets] == [socket.AF_INET]
    assert "listener.loopback_taken" in caplog.text


def test_refuse_a_port_that_is_taken() -> None:
    taken = listening_sockets("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            listening_sockets("127.0.0.1", taken[0].getsockname()[1])
    finally:
        close(taken)
