"""Unsupported fields are listed in a header, or rejected in strict mode."""

from typing import Any

import pytest

from apiproxy.core.errors import ProxyError
from apiproxy.dialects.openai.translate.ignored import MAX_NAMED
from tests.dialects.openai.support import chat, refusal, user


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"n": 2}, "n (one choice)"),
        ({"seed": 0}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"store": True}, "store"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"verbosity": "low"}, "verbosity"),
        ({"metadata": {"topic": "x"}}, "metadata"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"stop": ["\n", "END"]}, "stop (white space sequences are dropped)"),
        ({"temperature": 1.7}, "temperature (clipped to 1)"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"brand_new_field": 1}, "brand_new_field"),
        ({"x\r\nset-cookie: a": 1}, "(a field with an unusual name)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_name_ignored_field_and_reject_it_in_strict_mode(body: dict[str, Any], said: str) -> None:
    assert chat(body).ignored == (said,)
    assert refusal(body, strict=True).param == (said.split(" (")[0] if said[0] != "(" else "x\r\nset-cookie: a")


@pytest.mark.parametrize(
    "body",
    [
        {"n": 1, "seed": None, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"store": False, "modalities": ["text"], "verbosity": "medium", "metadata": {}, "stop": [], "top_logprobs": 0},
        {"stream": True, "stream_options": {"include_usage": True}, "parallel_tool_calls": True, "tool_choice": "none"},
        {"response_format": {"type": "text"}, "reasoning_effort": None, "service_tier": "auto", "user": ""},
        {"max_tokens": 5, "max_completion_tokens": 6, "temperature": 0.2, "tools": []},
    ],
)
def test_defaults_and_nulls_need_no_word_in_strict_mode_either(body: dict[str, Any]) -> None:
    assert chat(body, strict=True).ignored == ()


def test_name_each_field_once_within_header_limit() -> None:
    names = {"name": "ann"}
    assert chat({"messages": [{**user("a"), **names}, {**user("b"), **names}]}).ignored == ("messages.name",)
    said = chat({f"field_{number}": 1 for number in range(MAX_NAMED + 5)}).ignored
    assert len(said) == MAX_NAMED + 1
    assert said[-1] == "and 5 more"


def test_give_reason_for_rejection_in_strict_mode() -> None:
    with pytest.raises(ProxyError, match="seed: not supported, and the gateway is in strict mode"):
        chat({"seed": 1}, strict=True)
