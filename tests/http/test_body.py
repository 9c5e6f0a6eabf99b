"""A request's body is a JSON object of at most 32 MB, or an error that says what is wrong with it."""

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.http.body import MAX_BODY_BYTES, read_json_object


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": "\\ud83d"}', "not valid JSON"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
async def test_reject_other_than_json_object(raw: bytes, words: str) -> None:
    with pytest.raises(ProxyError, match=words) as refused:
        await read_json_object(raw)

    assert refused.value.kind is FailureKind.INVALID_REQUEST


async def test_keep_body_out_of_rejection() -> None:
    with pytest.raises(ProxyError) as refused:
        await read_json_object(b'{"key": "sk-secret" oops}')

    assert "sk-secret" not in refused.value.message
    assert refused.value.__cause__ is None


async def test_reject_body_over_limit_before_parsing() -> None:
    with pytest.raises(ProxyError) as refused:
        await read_json_object(b" " * (MAX_BODY_BYTES + 1))

    assert refused.value.kind is FailureKind.TOO_LARGE


@pytest.mark.parametrize("size", [10, 2**20], ids=["small", "parsed in a thread"])
async def test_read_object_unchanged(size: int) -> None:
    assert await read_json_object(b'{"text": "%s"}' % (b"x" * size)) == {"text": "x" * size}
