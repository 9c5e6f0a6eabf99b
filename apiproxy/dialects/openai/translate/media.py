"""Images and files: OpenAI's URLs and data URLs as Messages API blocks."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from apiproxy.dialects.openai.translate.ignored import invalid_field

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF = "application/pdf"
TITLE_MAX_CHARS = 500

_DATA_HEADER_MAX_CHARS = 200
_PIECE_CHARS = 2**18  # a multiple of 4, as base64 requires
_WHITESPACE = " \n\r\t\v\f"
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/yaml"})
_PDF_BASE64 = "JVBERi"  # base64 of "%PDF-"
_HEAD_CHARS = 16
_IMAGE_STARTS = (
    ("image/jpeg", ((0, b"\xff\xd8\xff"),)),
    ("image/png", ((0, b"\x89PNG\r\n"),)),
    ("image/gif", ((0, b"GIF8"),)),
    ("image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
)
_TYPE_BY_SUFFIX = {
    "pdf": PDF,
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "html": "text/html",
    "xml": "application/xml",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
}


def image_block(url: str, field: str) -> dict[str, Any]:
    """Image block for an http(s) URL or base64 data URL.

    Raises ProxyError naming the field.
    """
    if url[:5].lower() != "data:":
        if url[:8].lower().startswith(("https://", "http://")):
            return {"type": "image", "source": {"type": "url", "url": url}}
        raise invalid_field(field, "must be an http(s) URL or a data URL")
    declared, data = _split_data_url(url, field)
    media_type = _image_type(data) or declared
    if media_type not in IMAGE_TYPES:
        raise invalid_field(field, f"must be an image of type {', '.join(sorted(IMAGE_TYPES))}")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def file_block(data: str, filename: str | None, field: str) -> dict[str, Any]:
    """Document or image block for a data URL or plain base64.

    The file type is from the data URL, else from the content (PDF), else from the suffix of the name.
    """
    if data[:5].lower() == "data:":
        media_type, data = _split_data_url(data, field)
    else:
        media_type, data = _guess_type(data, filename), _clean_base64(data)
    if media_type in IMAGE_TYPES:
        media_type = _image_type(data) or media_type
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type == PDF:
        return _document({"type": "base64", "media_type": PDF, "data": data}, filename)
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        return _document({"type": "text", "media_type": "text/plain", "data": _decode_text(data, field)}, filename)
    raise invalid_field(
        field, "must be a PDF, a text or an image: a data URL that names its type, or base64 with a `filename`"
    )


def uploaded_file_block(file_id: str, filename: str | None, field: str) -> dict[str, Any]:
    """Document block for a file uploaded to the upstream, not to OpenAI."""
    if not file_id.startswith("file_"):
        raise invalid_field(field, "files uploaded to OpenAI are unavailable here: send the content as `file_data`")
    return _document({"type": "file", "file_id": file_id}, filename)


def document_url_block(url: str, filename: str | None, field: str) -> dict[str, Any]:
    """Document block for the http(s) URL of a PDF."""
    if not url[:8].lower().startswith(("https://", "http://")):
        raise invalid_field(field, "must be an http(s) URL")
    return _document({"type": "url", "url": url}, filename)


def _document(source: dict[str, Any], filename: str | None) -> dict[str, Any]:
    title = filename.strip()[:TITLE_MAX_CHARS] if filename else ""
    return {"type": "document", "source": source, **({"title": title} if title else {})}


def _split_data_url(url: str, field: str) -> tuple[str, str]:
    """Media type (lower case) and base64 of a data URL.

    Copies the data only once, as it may be tens of megabytes.
    """
    comma = url.find(",", 5, _DATA_HEADER_MAX_CHARS)
    header = url[5:comma].split(";") if comma > 0 else []
    if not header or header[-1].strip().lower() != "base64":
        raise invalid_field(field, "must be a base64 data URL (data:TYPE;base64,…)")
    media_type = header[0].strip().lower()
    return "image/jpeg" if media_type == "image/jpg" else media_type, _clean_base64(url[comma + 1 :])


def _clean_base64(data: str) -> str:
    """Base64 without the line breaks and percent escapes that some clients send."""
    if "%" in data:
        data = "".join(map(unquote, _pieces(data)))
    for space in _WHITESPACE:  # `split` could create an object per character
        data = data.replace(space, "")
    return data


def _pieces(data: str) -> Iterator[str]:
    """Pieces that split no percent escape; `unquote` creates an object per escape."""
    start = 0
    while start < len(data):
        end = start + _PIECE_CHARS
        if (percent := data.rfind("%", end - 2, end)) >= 0:
            end = percent
        yield data[start:end]
        start = end


def _image_type(data: str) -> str | None:
    """Type of an image by its first bytes; None if they are of no known one.

    The upstream rejects an image whose declared type is another, which clients often make up.
    """
    try:
        head = base64.b64decode(data[:_HEAD_CHARS])
    except binascii.Error:
        return None
    return next((kind for kind, starts in _IMAGE_STARTS if all(head.startswith(it, at) for at, it in starts)), None)


def _guess_type(data: str, filename: str | None) -> str:
    if data.startswith(_PDF_BASE64):
        return PDF
    return _TYPE_BY_SUFFIX.get((filename or "").rpartition(".")[2].lower(), "")


def _decode_text(data: str, field: str) -> str:
    try:
        pieces = [data[at : at + _PIECE_CHARS] for at in range(0, len(data), _PIECE_CHARS)]
        if any(piece.endswith("=") for piece in pieces[:-1]):
            raise binascii.Error
        text = b"".join(base64.b64decode(piece, validate=True) for piece in pieces).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_field(field, "must be base64 of UTF-8 text") from None
    if text.isspace() or not text:
        raise invalid_field(field, "must not be empty")
    return text
