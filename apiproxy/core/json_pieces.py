"""Parser for large JSON texts, in pieces: `orjson.loads` holds the GIL to its end.

That is 0.1 s and more. The text is scanned once, from bracket to bracket. Elements are parsed together, up to
`_PIECE_BYTES` at a time; a larger container or string is assembled from its pieces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_PIECE_BYTES = 256 * 1024
_MAX_DEPTH = 1_000  # slightly below orjson's limit
_STRUCTURE = re.compile(rb"[\[\]{},]")
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_SPACE = b" \t\n\r"
_CLOSES = {ord("]"): ord("["), ord("}"): ord("{")}
_COMMA, _STRING, _LIST = ord(","), ord('"'), ord("[")


class PiecesError(ValueError):
    """Invalid JSON, or an object key that is too long."""

    def __init__(self, reason: str = "a comma, a value or a bracket is missing") -> None:
        super().__init__(reason)


@dataclass(slots=True)
class _OpenContainer:
    """A container whose end is not reached yet.

    value: its parsed elements. pending: start of the text not parsed yet. comma: position of the last one, else -1.
    assembled: an element assembled from pieces ends at `pending`.
    """

    kind: int
    start: int
    value: Any
    pending: int
    comma: int = -1
    assembled: bool = False


class _Parser:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._stack = [_OpenContainer(_LIST, -1, [], 0)]  # the text is the only element of a list

    def parse(self) -> object:
        for token, at, end in structure(self._raw):
            if token == _STRING:
                self._long_string(at, end)
            elif token == _COMMA:
                self._comma(at)
            elif token in _CLOSES:
                self._close(_CLOSES[token], at)
            elif len(self._stack) > _MAX_DEPTH:
                raise PiecesError("it is nested too deeply")
            else:
                self._stack.append(_OpenContainer(token, at, [] if token == _LIST else {}, at + 1))
        root = self._stack[0]
        if len(self._stack) > 1 or root.comma >= 0:
            raise PiecesError
        self._flush(root, len(self._raw))
        if len(root.value) != 1:
            raise PiecesError
        return root.value[0]

    def _comma(self, at: int) -> None:
        top = self._stack[-1]
        top.comma = at
        if top.assembled or at - top.pending > _PIECE_BYTES:
            self._flush(top, at)
            top.pending = at + 1

    def _close(self, kind: int, at: int) -> None:
        top = self._stack.pop()
        if top.kind != kind or not self._stack:
            raise PiecesError
        if top.pending == top.start + 1 and not top.assembled and at - top.start <= _PIECE_BYTES:
            return  # small: parsed with its parent
        if top.comma >= 0 or top.value or top.assembled or self._raw[top.pending : at].strip(_SPACE):
            self._flush(top, at)
        self._put(top.value, top.start, at + 1)

    def _long_string(self, start: int, end: int) -> None:
        top = self._stack[-1]
        if top.kind != _LIST and top.pending <= start and not self._before(top, start).endswith(b":"):
            raise PiecesError("an object has a key of more than 256 KB")
        self._put(_text(self._raw, start + 1, end - 1), start, end)

    def _put(self, value: object, start: int, end: int) -> None:
        """Add an assembled element to the innermost container."""
        top = self._stack[-1]
        before = self._before(top, start)
        if top.comma >= top.pending:
            self._flush(top, top.comma)
        if top.assembled:
            raise PiecesError
        if top.kind == _LIST:
            if before:
                raise PiecesError
            top.value.append(value)
        else:
            if not before.endswith(b":"):
                raise PiecesError
            key = orjson.loads(before[:-1])
            if not isinstance(key, str):
                raise PiecesError
            top.value[key] = value
        top.pending, top.assembled = end, True

    def _before(self, top: _OpenContainer, start: int) -> bytes:
        """Text between the last comma and an element."""
        return self._raw[max(top.pending, top.comma + 1) : start].strip(_SPACE)

    def _flush(self, top: _OpenContainer, end: int) -> None:
        """Parse the pending text: elements, or nothing after an assembled one."""
        text = self._raw[top.pending : end]
        if top.assembled:
            if text.strip(_SPACE):
                raise PiecesError
            top.assembled = False
            top.pending = end
        elif top.kind == _LIST:
            found = orjson.loads(b"[" + text + b"]")
            if not found:
                raise PiecesError
            top.value += found
        else:
            pairs = orjson.loads(b"{" + text + b"}")
            if not pairs:
                raise PiecesError
            top.value.update(pairs)


def parse(raw: bytes) -> object:
    """Parse a JSON text.

    Raises PiecesError, or orjson.JSONDecodeError with a position within a piece.
    """
    return _Parser(raw).parse()


def structure(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind (first byte), start and end of the structural parts.

    These are brackets and commas outside of strings, and strings over 256 KB.
    """
    quote = -1
    for start, masked in masked_pieces(raw):
        at = start
        for number, part in enumerate(masked.split(b'"')):
            if number and quote >= 0:
                if at - quote > _PIECE_BYTES:
                    yield _STRING, quote, at
                quote = -1
            elif number:
                quote = at - 1
            if quote < 0:
                for match in _STRUCTURE.finditer(part):
                    yield part[match.start()], at + match.start(), at + match.end()
            at += len(part) + 1
    if quote >= 0:
        raise PiecesError


def masked_pieces(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Pieces of the text and their offsets.

    Escaped quotes are masked, so every quote delimits a string.
    """
    start = 0
    while start < len(raw):
        piece = raw[start : start + _PIECE_BYTES]
        if start + len(piece) < len(raw) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = piece[:-1]  # do not split an escape
        # Escaped backslashes first: a backslash that remains escapes the next character.
        yield start, piece.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        start += len(piece)


def _text(raw: bytes, start: int, end: int) -> str:
    """Decode the string between two quotes."""
    parts = []
    while start < end:
        piece = raw[start : min(end, start + _PIECE_BYTES)]
        if start + len(piece) < end:
            piece = piece[: _safe_length(piece)]
        parts.append(orjson.loads(b'"' + piece + b'"'))
        start += len(piece)
    return "".join(parts)


def _safe_length(piece: bytes) -> int:
    """Length of the longest prefix that splits no character, escape or surrogate pair."""
    length = len(piece)
    while length > len(piece) - 4 and piece[length - 1] & 0xC0 == 0x80:
        length -= 1
    if piece[length - 1] >= 0xC0:
        length -= 1
    else:
        length = len(piece)
    masked = piece[:length].replace(b"\\\\", b"__")
    escape = masked.rfind(b"\\", length - 6)
    if escape >= 0 and (masked[escape + 1 : escape + 2] in (b"u", b"")) and length - escape < 6:
        length = escape
    if _HALF_PAIR.fullmatch(masked, length - 6, length):
        length -= 6
    return length
