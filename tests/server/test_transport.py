"""Connections that send a response's bytes at once, on real sockets and with a reactor that only takes notes."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from apiproxy.server.transport import DirectServer


@dataclass
class Reactor:
    """Writers that wait for the event loop."""

    writers: list[object] = field(default_factory=list)

    def addReader(self, reader: object) -> None: ...

    def removeReader(self, reader: object) -> None: ...

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers = [other for other in self.writers if other is not writer]


@dataclass
class Connected:
    transport: Any
    peer: socket.socket
    reactor: Reactor

    def received(self) -> bytes:
        try:
            return self.peer.recv(2**20)
        except BlockingIOError:
            return b""


@pytest.fixture
def connected() -> Iterator[Connected]:
    own, peer = socket.socketpair()
    own.setblocking(False)
    peer.setblocking(False)
    reactor = Reactor()
    transport = DirectServer(own, Protocol(), ("127.0.0.1", 1), None, 1, reactor)
    yield Connected(transport, peer, reactor)
    own.close()
    peer.close()


def test_send_held_writes_together_at_once(connected: Connected) -> None:
    transport = connected.transport
    transport.hold()
    transport.write(b"head ")
    transport.writeSequence([b"a", b"b"])
    assert connected.received() == b""

    transport.send()
    assert connected.received() == b"head ab"
    assert connected.reactor.writers == []


def test_send_the_rest_when_the_socket_accepts_it(connected: Connected) -> None:
    transport, data = connected.transport, b"x" * 4_000_000
    transport.hold()
    transport.write(data)
    transport.send()
    assert connected.reactor.writers == [transport]

    received = b""
    while connected.reactor.writers:
        received += connected.received()
        assert transport.doWrite() is None
    while piece := connected.received():
        received += piece
    assert received == data


def test_keep_the_order_behind_waiting_bytes(connected: Connected) -> None:
    transport, first = connected.transport, b"x" * 4_000_000
    for data in (first, b"last"):
        transport.hold()
        transport.write(data)
        transport.send()

    received = b""
    while connected.reactor.writers:
        received += connected.received()
        transport.doWrite()
    while piece := connected.received():
        received += piece
    assert received == first + b"last"


def test_leave_a_lost_connection_to_the_reactor(connected: Connected) -> None:
    connected.peer.close()
    connected.transport.hold()
    connected.transport.write(b"data")
    connected.transport.send()
    assert connected.reactor.writers == [connected.transport]
    assert isinstance(connected.transport.doWrite(), Exception)


def test_leave_the_end_to_the_reactor(connected: Connected) -> None:
    transport = connected.transport
    transport.hold()
    transport.write(b"bye")
    transport.loseConnection()
    transport.send()
    assert connected.reactor.writers == [transport]

    transport.doWrite()
    assert connected.received() == b"bye"


def test_send_nothing_for_empty_write(connected: Connected) -> None:
    connected.transport.hold()
    connected.transport.send()
    assert connected.reactor.writers == []
