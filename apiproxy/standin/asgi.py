"""The little of ASGI 3 that the stand-in speaks, and its one extension."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ABORT = "standin.abort"
"""Name of a scope extension, and of the message that closes the TCP connection in the middle of a response.

What was sent before it arrives. ASGI has no such thing: where the server does not offer it the application raises
`ConnectionCutError` instead, and what the client then sees is the server's choice.
"""


class ConnectionCutError(Exception):
    """The application was told to break the connection, and its server knows no way to."""
