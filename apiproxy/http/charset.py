"""Recoding of a request body to UTF-8 without a byte order mark."""

import codecs
import re

from apiproxy.core.errors import FailureKind, ProxyError

_PIECE_BYTES = 512 * 1024
_UTF8 = "utf-8"
_NAMES = {
    "utf-8": _UTF8,
    "utf8": _UTF8,
    "us-ascii": _UTF8,
    "ascii": _UTF8,
    "utf-16": "utf-16",
    "utf16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "iso-8859-1": "latin-1",
    "iso8859-1": "latin-1",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
}
"""Python codecs by the names of a `charset` parameter."""
_SINGLE_BYTE = frozenset({"latin-1", "iso-8859-15", "cp1252"})
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHARSET = re.compile(r';[ \t]*charset[ \t]*=[ \t]*"?([A-Za-z0-9_.:-]{1,40})', re.IGNORECASE)


def needs_recoding(raw: bytes, content_type: str) -> bool:
    """True if the body may have another encoding than UTF-8: by its first bytes, or by its content type."""
    return _codec_of(raw, content_type) != _UTF8


def utf8_body(raw: bytes, content_type: str) -> bytes:
    """The body in UTF-8.

    JSON is UTF-8 whatever the `charset` says (RFC 8259), so a body that is valid UTF-8 is taken as that, unless it has
    a byte order mark or the zero bytes of a wider encoding. Raises ProxyError: INVALID_REQUEST.
    """
    codec = _codec_of(raw, content_type)
    if codec == _UTF8:
        return raw
    if codec in _SINGLE_BYTE:
        try:
            return _recoded(raw, _UTF8)
        except UnicodeDecodeError:
            pass
    try:
        return _recoded(raw, codec)
    except UnicodeError:
        raise ProxyError(FailureKind.INVALID_REQUEST, f"The request body is not valid {codec}: send UTF-8") from None


def _codec_of(raw: bytes, content_type: str) -> str:
    for mark, codec in _MARKS:
        if raw.startswith(mark):
            return codec
    match [byte == 0 for byte in raw[:4]]:
        case [False, True, True, True]:
            return "utf-32-le"
        case [True, True, True, False]:
            return "utf-32-be"
        case [False, True, *_]:
            return "utf-16-le"
        case [True, False, *_]:
            return "utf-16-be"
    named = _CHARSET.search(content_type)
    return _NAMES.get(named[1].lower(), _UTF8) if named else _UTF8


def _recoded(raw: bytes, codec: str) -> bytes:
    """In pieces: a single call would hold the GIL to its end."""
    decoder = codecs.getincrementaldecoder(codec)()
    pieces = []
    for start in range(0, len(raw), _PIECE_BYTES):
        end = start + _PIECE_BYTES
        pieces.append(decoder.decode(raw[start:end], final=end >= len(raw)).encode())
    return b"".join(pieces)
