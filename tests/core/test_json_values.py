"""A body has at most so many values; what stands within strings does not count."""

import pytest

from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.json_values import MAX_BODY_VALUES, ValueBudget
from apiproxy.http.body import parse_json_object


@pytest.mark.parametrize("element", [b"{}", b"[]", b"0", b'""', b'{"":{}}'])
def test_body_with_too_many_values_is_refused(element: bytes) -> None:
    raw = b'{"x":[' + b",".join([element] * (MAX_BODY_VALUES + 1)) + b"]}"

    with pytest.raises(ProxyError, match=f"more than {MAX_BODY_VALUES} JSON values") as refused:
        parse_json_object(raw)

    assert refused.value.kind is FailureKind.INVALID_REQUEST


def test_prose_of_any_size_has_few_values() -> None:
    raw = b'{"x":"' + b'one, two, [three], {four} \\\\ \\" five, ' * 500_000 + b'"}'

    assert parse_json_object(raw)["x"].startswith("one, two")


def test_hundred_thousand_messages_are_accepted() -> None:
    """The most that the Messages API takes."""
    raw = b'{"messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 99_990) + b"]}"

    assert len(parse_json_object(raw)["messages"]) == 99_990


def test_texts_within_a_request_share_its_values() -> None:
    values = ValueBudget(100)
    values.loads("[" + "0," * 59 + "0]")

    with pytest.raises(ProxyError, match="more than 100"):
        values.loads("[" + "0," * 59 + "0]")
