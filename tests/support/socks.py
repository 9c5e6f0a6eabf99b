"""A SOCKS5 proxy on the test's own loop (RFC 1928, RFC 1929)."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

_NO_AUTH, _PASSWORD, _NONE = 0, 2, 255
_OK, _REFUSED = 0, 5


@dataclass
class SocksProxy:
    """asked: hosts and ports that clients named. hosts: ports of this machine by name; others are refused."""

    port: int = 0
    login: tuple[str, str] | None = None
    hosts: Mapping[str, int] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = _PASSWORD if self.login else _NO_AUTH
        writer.write(bytes([5, wanted if wanted in methods else _NONE]))
        if wanted not in methods:
            return
        if self.login:
            given = [(await reader.readexactly((await reader.readexactly(size))[-1])).decode() for size in (2, 1)]
            writer.write(bytes([1, int(tuple(given) != self.login)]))
            if tuple(given) != self.login:
                return
        host, port = await self._target(reader)
        self.asked.append((host, port))
        if host not in self.hosts:
            writer.write(bytes([5, _REFUSED, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self.hosts[host])
        writer.write(bytes([5, _OK, 0, 1, 0, 0, 0, 0, 0, 0]))
        await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))

    async def _target(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        _, _, _, kind = await reader.readexactly(4)
        match kind:
            case 1:
                host = ".".join(map(str, await reader.readexactly(4)))
            case 3:
                host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            case _:
                host = (await reader.readexactly(16)).hex()
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        return host, port


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()
    target.close()


@contextlib.asynccontextmanager
async def socks_proxy(hosts: Mapping[str, int], *, login: tuple[str, str] | None = None) -> AsyncIterator[SocksProxy]:
    """Serve until the block ends."""
    proxy = SocksProxy(hosts=hosts, login=login)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
