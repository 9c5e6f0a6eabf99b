"""One request as bytes over a socket, its answer, and what may be wrong with that: pure but for `send`."""

import json
import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

from proxy_site.routes import canonical_path

DEADLINE_S = 15.0
"""Silence for so long is a hang: nothing here gives the gateway a reason to wait."""
PATIENCE_S = 0.15

_OPENAI = ("/v1/chat", "/chat", "/v1/responses", "/responses")
_EITHER = ("/v1/models", "/models")
"""Paths of both APIs' clients, whose errors have the fields of both."""
_OPERATIONS = ("/debug", "/sessions", "/metrics")
_NOT_BUILT = ("/v1/messages/batches", "/messages/batches")
_ENDINGS = ("event: message_stop\n", "data: [DONE]\n", "event: response.", "event: error\n", 'data: {"error":')


@dataclass(frozen=True, slots=True)
class Request:
    """Request to send, without the key, `host`, `connection` and `content-length`."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path as it is written."""
        return self.target.partition(b"?")[0].decode("latin-1")

    def encoded(self, key: str) -> bytes:
        """All of it, with the key, on a connection that ends with the answer."""
        own = [(b"host", b"localhost"), (b"x-api-key", key.encode()), (b"connection", b"close")]
        headers = [*own, *self.headers, (b"content-length", b"%d" % len(self.body))]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (self.method, self.target, lines, self.body)


@dataclass(slots=True)
class Answer:
    """Answer received. status 0: the connection was closed without an answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


def send(base_url: str, data: Iterable[bytes], *, method: bytes = b"GET", half_close: bool = False) -> Answer:
    """Sends the bytes and reads one answer. TimeoutError after DEADLINE_S of silence.

    h11.RemoteProtocolError for an answer that is not HTTP. half_close: after PATIENCE_S of silence the client says that
    it sends no more, for requests that may not be whole.
    """
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=DEADLINE_S) as connection:
        try:
            for piece in data:
                connection.sendall(piece)
        except OSError:
            pass  # it has refused already, and closed
        if half_close and not select.select([connection], [], [], PATIENCE_S)[0]:
            connection.shutdown(socket.SHUT_WR)
        return _read(connection, method)


def _read(connection: socket.socket, method: bytes) -> Answer:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="HEAD" if method == b"HEAD" else "GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    answer = Answer()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            try:
                received = connection.recv(65_536)
            except ConnectionResetError:  # it had answered, and closed over bytes that no length had announced
                return Answer()
            if not received and not answer.status:
                return answer
            reader.receive_data(received)
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return answer


def fault_of(path: str, answer: Answer, *, method: str = "GET", verbatim: bool = False) -> str | None:
    """Fault of an API answer in a few words; None for none.

    verbatim: a stream is the upstream's own, which may go on after its end.
    """
    path = canonical_path(path)
    kind = answer.headers.get("content-type", "")
    if answer.status >= 500 and not (answer.status == 501 and path.startswith(_NOT_BUILT)):
        return f"status {answer.status}"
    if not answer.headers.get("request-id", "").startswith("req_"):
        return "no request-id"
    if method == "HEAD":
        return None
    if kind.startswith("text/event-stream"):
        text = answer.body.decode(errors="replace")
        return None if _is_whole(text) or (verbatim and "message_stop" in text) else "a stream without an end"
    if path == "/metrics" and answer.status == 200:
        return None
    if not kind.startswith("application/json"):
        return f"content type {kind!r}"
    return _fault_of_json(path, answer)


def _is_whole(text: str) -> bool:
    last = text.rstrip("\n").rpartition("\n\n")[2] + "\n"
    return text.endswith("\n\n") and last.startswith(_ENDINGS)


def _fault_of_json(path: str, answer: Answer) -> str | None:
    try:
        body = answer.json()
    except ValueError:
        return "a body that is not JSON"
    if answer.status < 400:
        return None
    if not isinstance(body, dict):
        return "an error that is no object"
    error = body.get("error")
    if path.startswith(_OPENAI):
        return None if isinstance(error, dict) and error.keys() == {"message", "type", "param", "code"} else "its shape"
    if path.startswith(_OPERATIONS) and isinstance(error, str):
        return None
    keys = error.keys() if isinstance(error, dict) else set()
    both = path.startswith(_EITHER) and keys == {"type", "message", "param", "code"}
    shaped = body.get("type") == "error" and (both or keys == {"type", "message"})
    if not shaped:
        return "its shape"
    known = (answer.headers["request-id"], answer.headers.get("x-upstream-request-id"))
    return None if body["request_id"] in known else "another request's id"
