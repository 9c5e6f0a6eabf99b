"""Limits, sampling, stop sequences, tiers and users, within what each model takes."""

from typing import Any

import pytest

from tests.dialects.openai.support import MAX_OUTPUT_TOKENS, chat


def test_prefer_newer_limit_field_then_older_then_model() -> None:
    assert chat({"max_completion_tokens": 5, "max_tokens": 6}).body["max_tokens"] == 5
    assert chat({"max_tokens": 6}).body["max_tokens"] == 6
    assert chat({}).body["max_tokens"] == MAX_OUTPUT_TOKENS


@pytest.mark.parametrize(
    ("model", "given", "sent", "said"),
    [
        ("claude-sonnet-4-5", {"temperature": 0.3}, {"temperature": 0.3}, ()),
        ("claude-sonnet-4-5", {"temperature": 2}, {"temperature": 1}, ("temperature (clipped to 1)",)),
        ("claude-sonnet-4-5", {"top_p": 0.5, "top_k": 9}, {"top_p": 0.5, "top_k": 9}, ()),
        ("claude-sonnet-4-5", {"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}, ()),
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 1}, {"temperature": 0.5}, ()),
        (
            "claude-sonnet-4-5",
            {"temperature": 0.5, "top_p": 0.5},
            {"temperature": 0.5},
            ("top_p (this model takes temperature or top_p)",),
        ),
        ("claude-3-5-haiku-latest", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}, ()),
        ("claude-opus-5-5", {"temperature": 1, "top_p": 1}, {}, ()),
        (
            "claude-opus-5-5",
            {"temperature": 0},
            {},
            ("temperature (this model takes no sampling parameters)",),
        ),
        (
            "claude-sonnet-4-5",
            {"temperature": 0.5, "top_p": 0.97, "reasoning_effort": "low"},
            {"top_p": 0.97},
            ("temperature (not while thinking)",),
        ),
    ],
)
def test_sampling_is_what_the_model_takes(
    model: str, given: dict[str, Any], sent: dict[str, Any], said: tuple[str, ...]
) -> None:
    translated = chat(given, model=model)
    assert {
        name: translated.body[name] for name in ("temperature", "top_p", "top_k") if name in translated.body
    } == sent
    assert translated.ignored == said


def test_stop_may_be_a_text_or_a_list() -> None:
    assert chat({"stop": "END"}).body["stop_sequences"] == ["END"]
    assert chat({"stop": ["a", "b"]}).body["stop_sequences"] == ["a", "b"]
    assert "stop_sequences" not in chat({"stop": ["", " "]}).body


@pytest.mark.parametrize(
    ("tier", "sent"), [("auto", "auto"), ("default", "standard_only"), ("priority", "auto"), ("scale", "auto")]
)
def test_service_tiers_have_equivalents(tier: str, sent: str) -> None:
    translated = chat({"service_tier": tier})
    assert translated.body["service_tier"] == sent
    assert translated.ignored == ()


@pytest.mark.parametrize(
    ("given", "user_id"),
    [
        ({"user": "u-17"}, "u-17"),
        ({"safety_identifier": "s-17"}, "s-17"),
        ({"metadata": {"user_id": "m-17"}}, "m-17"),
        ({"user": "u-17", "metadata": {"user_id": "m-17"}}, "u-17"),
    ],
)
def test_send_user_as_user_id(given: dict[str, Any], user_id: str) -> None:
    assert chat(given).body["metadata"] == {"user_id": user_id}


@pytest.mark.parametrize("user", ["ann@example.org", "+49 30 901820"])
def test_hash_personal_user_id_stably(user: str) -> None:
    sent = chat({"user": user}).body["metadata"]["user_id"]
    assert sent.startswith("user_")
    assert user not in sent
    assert sent == chat({"user": user}).body["metadata"]["user_id"]


def test_streaming_and_usage_are_asked_for() -> None:
    translated = chat({"stream": True, "stream_options": {"include_usage": True}})
    assert translated.stream
    assert translated.reply.include_usage
    assert not chat({"stream": True}).reply.include_usage
    assert "stream" not in translated.body
