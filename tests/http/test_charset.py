"""Bodies in other encodings than UTF-8."""

import codecs
import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.http.charset import needs_recoding, utf8_body

BODY = {"model": "m", "text": "Büro 東京 🐙"}
TEXT = orjson.dumps(BODY).decode()
LATIN = '{"text": "Büro"}'


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
def test_read_every_unicode_encoding(encoding: str, content_type: str) -> None:
    raw = TEXT.encode(encoding)
    assert needs_recoding(raw, content_type) is (encoding != "utf-8")
    assert orjson.loads(utf8_body(raw, content_type)) == BODY


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_read_utf16_with_either_mark(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    assert orjson.loads(utf8_body(mark + TEXT.encode(encoding), "")) == BODY


@pytest.mark.parametrize("name", ["iso-8859-1", "ISO-8859-1", "latin1", "windows-1252", "iso-8859-15"])
@pytest.mark.parametrize("form", ["application/json; charset={}", 'text/plain;charset="{}"', "a/b; q=1 ; Charset = {}"])
def test_read_single_byte_encoding_of_content_type(name: str, form: str) -> None:
    assert utf8_body(LATIN.encode("latin-1"), form.format(name)).decode() == LATIN


def test_take_valid_utf8_for_utf8_whatever_is_said() -> None:
    assert utf8_body(TEXT.encode(), "application/json; charset=iso-8859-1") == TEXT.encode()


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-7", "application/json; charset=x"])
def test_leave_unknown_encodings_to_the_parser(content_type: str) -> None:
    raw = LATIN.encode("latin-1")
    assert not needs_recoding(raw, content_type)
    assert utf8_body(raw, content_type) == raw


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (codecs.BOM_UTF16_LE + b"{\x00\x00\xd8{\x00", ""),
        (codecs.BOM_UTF16_LE + b"{", ""),
        (codecs.BOM_UTF8 + b"\xff", ""),
        (b"{\x00\x00\x00\xff\xff\xff\xff", ""),
        (b"{}", "application/json; charset=utf-32le"),
        (b"\x81", "application/json; charset=windows-1252"),
    ],
)
def test_refuse_bytes_of_no_text(raw: bytes, content_type: str) -> None:
    with pytest.raises(ProxyError, match="send UTF-8") as refused:
        utf8_body(raw, content_type)
    assert refused.value.kind is FailureKind.INVALID_REQUEST


@given(st.text(max_size=300), st.sampled_from(["utf-16", "utf-32-be", "utf-8-sig"]), st.integers(1, 9))
def test_keep_every_character(text: str, encoding: str, piece: int) -> None:
    raw = ('{"' + text).encode(encoding, "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apiproxy.http.charset._PIECE_BYTES", piece)
        assert utf8_body(raw, "").decode() == raw.decode(encoding).removeprefix("\ufeff")


@given(st.binary(max_size=200), st.text(max_size=40))
def test_survive_any_body(raw: bytes, content_type: str) -> None:
    with contextlib.suppress(ProxyError):
        utf8_body(raw, f"application/json; charset={content_type}")
