"""The Models API: its pages, its two shapes, and what a key sees of it."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from anthropic.types import ModelCapabilities, ModelInfo
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.http import JsonResponse
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model as OpenAIModel

from apiproxy.catalog import CatalogModel
from apiproxy.core.errors import FailureKind, ProxyError
from apiproxy.core.principal import Principal
from apiproxy.dialects.anthropic.models import PageRequest, list_models, page, retrieve_model
from apiproxy.gateway import gateway
from apiproxy.models import Model
from apiproxy.models.names import validate_capabilities

ANTHROPIC = {"anthropic-version": "2023-06-01"}


def principal(*models: str) -> Principal:
    return Principal(key_id=1, label="ci", scopes=frozenset({"api"}), allowed_models=models)


def read(response: JsonResponse) -> dict[str, Any]:
    body = orjson.loads(response.content)
    assert isinstance(body, dict)
    return body


def listing(query: str = "", *, headers: dict[str, str] = ANTHROPIC, models: tuple[str, ...] = ()) -> dict[str, Any]:
    request = RequestFactory().get(f"/v1/models?{query}", headers=headers)
    return read(async_to_sync(list_models)(request, principal(*models)))


def one(model_id: str, *, headers: dict[str, str] = ANTHROPIC, models: tuple[str, ...] = ()) -> dict[str, Any]:
    request = RequestFactory().get(f"/v1/models/{model_id}", headers=headers)
    return read(async_to_sync(retrieve_model)(request, principal(*models), model_id))


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["data"]]


@pytest.mark.django_db
def test_give_listed_model_fields_of_models_api() -> None:
    (item,) = listing(models=("opus",))["data"]
    assert item == {
        "type": "model",
        "id": "claude-opus-5-5",
        "display_name": "Claude Opus 5.5",
        "created_at": "2026-09-22T00:00:00Z",
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "lifecycle": "active",
        "line": "opus",
        "deprecated_at": None,
        "retires_at": None,
        "description": "For complex work and everyday tasks",
        "capabilities": None,
    }
    assert ModelInfo.model_validate(item).created_at == datetime(2026, 9, 22, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model_id", "efforts", "thinking"),
    [
        ("claude-haiku-4-5", set(), {"enabled"}),
        ("claude-opus-4-5", {"low", "medium", "high"}, {"enabled"}),
        ("claude-sonnet-4-6", {"low", "medium", "high", "max"}, {"adaptive", "enabled"}),
        ("claude-opus-4-8", {"low", "medium", "high", "xhigh", "max"}, {"adaptive"}),
    ],
)
def test_tell_the_capabilities_of_a_known_model(model_id: str, efforts: set[str], thinking: set[str]) -> None:
    told = ModelInfo.model_validate(one(model_id)).capabilities

    assert told is not None
    assert ModelCapabilities.model_validate(one(model_id)["capabilities"]) == told
    assert {
        name for name in ("low", "medium", "high", "xhigh", "max") if getattr(told.effort, name).supported
    } == efforts
    assert {name for name in ("adaptive", "enabled") if getattr(told.thinking.types, name).supported} == thinking
    assert told.image_input.supported
    assert told.effort.supported is bool(efforts)


@pytest.mark.django_db
def test_list_administrators_description() -> None:
    Model.objects.filter(pk="claude-opus-5").update(description="", capabilities={"batch": {"supported": False}})
    gateway().catalog.forget()

    item = one("claude-opus-5")

    assert item["description"] is None
    assert item["capabilities"] == {"batch": {"supported": False}}


@pytest.mark.parametrize("value", [[], {}, {"batch": True}, {"batch": {}}, "x", 1], ids=repr)
def test_reject_capabilities_of_another_shape(value: object) -> None:
    with pytest.raises(ValidationError, match="supported"):
        validate_capabilities(value)


@pytest.mark.django_db
def test_list_unknown_release_date_as_epoch() -> None:
    assert one("claude-fable-5-2")["created_at"] == "1970-01-01T00:00:00Z"


@pytest.mark.django_db
def test_join_pages_to_whole_list() -> None:
    whole = listing("limit=1000")
    assert whole["has_more"] is False
    assert (whole["first_id"], whole["last_id"]) == (ids(whole)[0], ids(whole)[-1])
    seen: list[str] = []
    after = ""
    while True:
        answer = listing(f"limit=7{after}")
        seen += ids(answer)
        if not answer["has_more"]:
            break
        assert len(ids(answer)) == 7
        after = f"&after_id={answer['last_id']}"
    assert seen == ids(whole)


@pytest.mark.django_db
def test_end_page_before_model_just_before_it() -> None:
    whole = ids(listing("limit=1000"))
    answer = listing(f"limit=2&before_id={whole[5]}")
    assert ids(answer) == whole[3:5]
    assert answer["has_more"] is True
    assert listing(f"limit=5&before_id={whole[5]}")["has_more"] is False


@pytest.mark.django_db
def test_list_twenty_models_by_default() -> None:
    for number in range(20):
        Model.objects.create(pk=f"claude-lab-{number}", display_name="Lab", max_output_tokens=1)
    answer = listing()
    assert len(answer["data"]) == 20
    assert answer["has_more"] is True
    assert len(listing(headers={})["data"]) > 20


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=²", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=", "limit"),
        ("after_id=claude-unknown", "after_id"),
        ("before_id=claude-unknown", "before_id"),
        ("before_id=claude-opus-5&after_id=claude-opus-5", "before_id"),
        ("lifecycle=ancient", "lifecycle"),
    ],
)
def test_reject_invalid_page_parameter_by_name(query: str, param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        listing(query)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")


@pytest.mark.django_db
def test_retired_models_are_listed_only_when_asked_for() -> None:
    Model.objects.create(pk="claude-2.1", display_name="Claude 2.1", max_output_tokens=1, lifecycle="retired")
    assert "claude-2.1" not in ids(listing("limit=1000"))
    assert ids(listing("lifecycle[]=retired")) == ["claude-2.1"]
    assert ids(listing("lifecycle=deprecated")) == ["claude-sonnet-4-5-20250929"]
    assert listing("lifecycle=deprecated")["data"][0]["retires_at"] == "2026-11-30T00:00:00Z"


@pytest.mark.django_db
def test_list_only_models_of_key() -> None:
    assert set(ids(listing(models=("opus", "claude-sonnet-*")))) == {
        *("claude-opus-5-5", "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5-20250929"),
    }
    with pytest.raises(ProxyError) as caught:
        one("claude-opus-5-5", models=("sonnet",))
    assert caught.value.kind is FailureKind.NOT_FOUND


@pytest.mark.django_db
def test_hide_disabled_model() -> None:
    row = Model.objects.get(pk="claude-opus-5-5")
    row.enabled = False
    row.save()
    assert "claude-opus-5-5" not in ids(listing())
    with pytest.raises(ProxyError) as caught:
        one("opus")
    assert caught.value.kind is FailureKind.NOT_FOUND
    assert caught.value.message == "model: opus"


@pytest.mark.django_db
def test_answer_alias_with_its_model() -> None:
    assert one("sonnet")["id"] == "claude-sonnet-5-5"
    assert one("claude-haiku-4-5")["id"] == "claude-haiku-4-5-20251001"


@pytest.mark.django_db
def test_answer_models_in_shape_for_both_clients() -> None:
    answer = listing(headers={})
    assert answer["object"] == "list"
    for item in [*answer["data"], one("opus", headers={})]:
        theirs = OpenAIModel.model_validate(item)
        ours = ModelInfo.model_validate(item)
        assert theirs.object == "model"
        assert theirs.owned_by == "anthropic"
        assert theirs.created == int(ours.created_at.timestamp())
        assert ours.display_name.startswith("Claude ")


def models(count: int) -> list[CatalogModel]:
    return [
        CatalogModel(
            id=f"m{number}",
            max_output_tokens=1,
            display_name="",
            family="",
            lifecycle="active",
            created_at=None,
            retires_at=None,
            context_window=None,
        )
        for number in range(count)
    ]


@given(count=st.integers(1, 30), limit=st.integers(1, 40), data=st.data())
def test_join_pages_after_and_before_model(count: int, limit: int, data: st.DataObject) -> None:
    whole = models(count)
    at = data.draw(st.integers(0, count - 1))
    later, more_later = page(whole, PageRequest(limit=limit, after_id=f"m{at}"))
    earlier, more_earlier = page(whole, PageRequest(limit=limit, before_id=f"m{at}"))
    start = at - len(earlier)
    assert [*earlier, whole[at], *later] == whole[start : at + 1 + len(later)]
    assert more_earlier == (start > 0)
    assert more_later == (at + 1 + len(later) < count)
    assert max(len(earlier), len(later)) <= limit
