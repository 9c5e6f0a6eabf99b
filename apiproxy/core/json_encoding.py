"""JSON encoding, in pieces for large values.

Other threads can take the GIL between pieces: `orjson.dumps` of a string of 32 MB holds it for up to 0.1 s.
JSON inside a JSON string, as in the overlay, doubles that and takes four times the memory.
"""

import json
from collections.abc import Callable, Mapping

import orjson

PIECE_BYTES = 1024 * 1024
_LONG_CHARS = 256 * 1024
_MAX_DEPTH = 300
"""Levels that are written one by one: orjson refuses 255, and Python's own limit is 1,000 calls."""


def dumps(value: object) -> bytes:
    """Compact JSON, also for values that orjson rejects.

    Those are over 254 levels, integers over 64 bits and lone surrogates.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def dump_pieces(value: object) -> list[bytes]:
    """`dumps` in pieces of about `PIECE_BYTES`. Raises RecursionError like `dumps`."""
    return _pieces(value, _unchanged)


def dump_pieces_within_string(value: object) -> list[bytes]:
    """`dump_pieces`, escaped for use inside a JSON string.

    The text without the escapes is never held as a whole.
    """
    return _pieces(value, within_string)


def within_string(piece: bytes) -> bytes:
    """Escape part of a compact JSON text for use inside a JSON string."""
    return piece.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _pieces(value: object, escape: Callable[[bytes], bytes]) -> list[bytes]:
    pieces = _Pieces(escape)
    pieces.add_value(value, 0)
    return pieces.finish()


class _Pieces:
    def __init__(self, escape: Callable[[bytes], bytes]) -> None:
        self._escape = escape
        self._done: list[bytes] = []
        self._open = bytearray()  # not a list: orjson allocates 1 KiB for each text, however short

    def add_value(self, value: object, depth: int) -> None:
        if isinstance(value, str) and len(value) > _LONG_CHARS:
            self._add(b'"')
            for start in range(0, len(value), _LONG_CHARS):
                self._add(dumps(value[start : start + _LONG_CHARS])[1:-1])
            self._add(b'"')
        elif isinstance(value, Mapping) and value and depth < _MAX_DEPTH:
            for number, (name, item) in enumerate(value.items()):
                self._add(b"," if number else b"{")
                self.add_value(name, depth)
                self._add(b":")
                self.add_value(item, depth + 1)
            self._add(b"}")
        elif isinstance(value, list) and value and depth < _MAX_DEPTH:
            for number, item in enumerate(value):
                self._add(b"," if number else b"[")
                self.add_value(item, depth + 1)
            self._add(b"]")
        else:
            self._add(dumps(value))

    def finish(self) -> list[bytes]:
        self._close()
        return self._done

    def _add(self, text: bytes) -> None:
        self._open += text
        if len(self._open) >= PIECE_BYTES:
            self._close()

    def _close(self) -> None:
        self._done.append(self._escape(bytes(self._open)))
        self._open.clear()


def _unchanged(piece: bytes) -> bytes:
    return piece
