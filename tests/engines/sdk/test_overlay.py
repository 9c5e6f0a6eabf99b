"""The overlay is the client's body with the few documented differences, and the two lines that carry it are two."""

import copy
import json
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apiproxy.engines.sdk.overlay import (
    HEADER_FIELDS,
    IDENTITY_BLOCK,
    REFUSED_BY_CLI,
    empty_overlay_line,
    header_lines,
    large_turn_lines,
    overlay_body,
    turn_lines,
)
from tests.support.streams import json_values

HEADERS = "anthropic-version: 2023-06-01"
OURS = {"stream", "system", "model", "metadata"} | HEADER_FIELDS | REFUSED_BY_CLI

bodies = st.dictionaries(st.text() | st.sampled_from(["messages", "tools", "thinking"]), json_values(), max_size=5)


def overlay(body: dict[str, Any], *betas: str) -> dict[str, Any]:
    return overlay_body(body, model="claude-opus-4-5", betas=betas)


@given(body=bodies)
@example(body={"user_profile_id": None})
def test_copy_every_other_body_field_into_overlay(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)

    laid = overlay(body)

    assert {name: value for name, value in laid.items() if name not in OURS} == {
        name: value for name, value in body.items() if name not in OURS
    }
    assert body == before


def test_set_resolved_model_and_leave_stream_to_cli() -> None:
    laid = overlay({"model": "opus", "stream": False, "max_tokens": 1})

    assert laid["model"] == "claude-opus-4-5"
    assert "stream" not in laid


@pytest.mark.parametrize("system", [None, "", []], ids=repr)
def test_without_a_system_prompt_the_identity_line_stands_alone(system: object) -> None:
    assert overlay({"system": system})["system"] == [IDENTITY_BLOCK]
    assert overlay({})["system"] == [IDENTITY_BLOCK]


def test_put_system_text_after_identity_line() -> None:
    assert overlay({"system": "Be brief."})["system"] == [IDENTITY_BLOCK, {"type": "text", "text": "Be brief."}]


def test_system_blocks_follow_the_identity_line_untouched() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"type": "tomorrow"}]

    assert overlay({"system": blocks})["system"] == [IDENTITY_BLOCK, *blocks]


ATTRIBUTION = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.891; cc_entrypoint=sdk-cli;"}
CACHED_IDENTITY = {**IDENTITY_BLOCK, "cache_control": {"type": "ephemeral"}}
OTHER = {"type": "text", "text": "CWD: /"}


@pytest.mark.parametrize(
    ("sent", "laid"),
    [
        ([ATTRIBUTION, CACHED_IDENTITY, OTHER], [ATTRIBUTION, CACHED_IDENTITY, OTHER]),
        ([ATTRIBUTION, OTHER], [ATTRIBUTION, IDENTITY_BLOCK, OTHER]),
        ([ATTRIBUTION], [ATTRIBUTION, IDENTITY_BLOCK]),
        ([CACHED_IDENTITY, OTHER], [CACHED_IDENTITY, OTHER]),
        ([OTHER, ATTRIBUTION], [IDENTITY_BLOCK, OTHER, ATTRIBUTION]),
        ([ATTRIBUTION, ATTRIBUTION], [ATTRIBUTION, IDENTITY_BLOCK, ATTRIBUTION]),
        ([{**ATTRIBUTION, "type": "tomorrow"}], [IDENTITY_BLOCK, {**ATTRIBUTION, "type": "tomorrow"}]),
        (["x-anthropic-billing-header"], [IDENTITY_BLOCK, "x-anthropic-billing-header"]),
        ([{"type": "text", "text": None}], [IDENTITY_BLOCK, {"type": "text", "text": None}]),
    ],
)
def test_keep_attribution_first_and_one_identity_line(sent: list[Any], laid: list[Any]) -> None:
    assert overlay({"system": sent})["system"] == laid


def test_betas_are_the_clients_and_null_takes_the_clis_own_away() -> None:
    assert overlay({}, "context-1m-2025-08-07", "files-api-2025-04-14")["betas"] == [
        "context-1m-2025-08-07",
        "files-api-2025-04-14",
    ]
    assert overlay({})["betas"] is None


def test_send_client_metadata_or_none_instead_of_device_id() -> None:
    assert overlay({"metadata": {"user_id": "u"}})["metadata"] == {"user_id": "u"}
    assert overlay({})["metadata"] == {}


@given(body=bodies)
def test_write_turn_as_two_lines_for_any_body(body: dict[str, Any]) -> None:
    body["text"] = "a\nb\r\n\u2028\x85"

    lines = turn_lines(overlay(body), headers=HEADERS, control_id="c", message_uuid="u").split(b"\n")

    assert len(lines) == 3
    assert lines[2] == b""
    control, message = orjson.loads(lines[0]), orjson.loads(lines[1])
    assert json.loads(control["request"]["settings"]["env"]["CLAUDE_CODE_EXTRA_BODY"]) == overlay(body)
    assert control["request_id"] == "c"
    assert (message["uuid"], message["client_composed"], message["message"]["content"]) == ("u", True, ".")


@pytest.mark.parametrize("value", [2**64 + 1, "\ud83d", {"deep": 1}], ids=["huge number", "lone surrogate", "deep"])
def test_carry_json_that_another_library_refuses(value: Any) -> None:
    if isinstance(value, dict):
        for _ in range(300):
            value = {"deep": value}

    line = turn_lines(overlay({"value": value}), headers=HEADERS, control_id="c", message_uuid="u").split(b"\n")[0]

    settings = json.loads(line)["request"]["settings"]
    assert json.loads(settings["env"]["CLAUDE_CODE_EXTRA_BODY"])["value"] == value


@pytest.mark.parametrize("name", sorted(HEADER_FIELDS | REFUSED_BY_CLI))
def test_reject_body_fields_that_become_upstream_headers(name: str) -> None:
    assert overlay({name: "mine"}).get(name) != "mine"


def test_large_body_has_the_lines_of_a_small_one() -> None:
    odd = ['é😀\\"\n' * 200_000, {"k" * 300_000: [1.5, None, True, [], {}, "", -(2**53)]}, *range(30_000)]
    laid = overlay({"messages": [{"role": "user", "content": odd}], "x": {"deep": [[[odd[0]]]]}})

    pieces = large_turn_lines(laid, headers=HEADERS, control_id="c", message_uuid="u")

    assert b"".join(pieces) == turn_lines(laid, headers=HEADERS, control_id="c", message_uuid="u")


def test_hold_a_large_body_once_as_it_is_written() -> None:
    text = "a" * (8 * 1024 * 1024)
    laid = overlay({"messages": [{"role": "user", "content": text}]})
    tracemalloc.start()
    try:
        pieces = large_turn_lines(laid, headers=HEADERS, control_id="c", message_uuid="u")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(map(len, pieces)) > len(text)
    assert peak_bytes < 1.6 * len(text)


def test_set_version_and_session_of_one_turn() -> None:
    clients = {"x-claude-code-session-id": "s", "user-agent": "theirs", "x-app": "theirs", "anthropic-beta": "b"}

    assert header_lines("", api_version="2026-10-21", headers=clients).split("\n") == [
        "anthropic-version: 2026-10-21",
        "X-Claude-Code-Session-Id: s",
    ]
    assert header_lines("", api_version="2023-06-01", headers={}) == "anthropic-version: 2023-06-01"


def test_keep_operators_headers_except_the_version() -> None:
    operators = "X-Team: red: 1\r\nAnthropic-Version: 2001-01-01\nnonsense\nX-Claude-Code-Agent-Id: ours"

    lines = header_lines(operators, api_version="2026-10-21", headers={"x-claude-code-agent-id": "theirs"})

    assert lines.split("\n") == ["X-Team: red: 1", "X-Claude-Code-Agent-Id: ours", "anthropic-version: 2026-10-21"]
    assert "X-Team: red: 1\n" in empty_overlay_line("c", operators=operators).decode().replace("\\n", "\n")


@pytest.mark.parametrize("value", ["a\nx-api-key: b", "a\r", "\x00", "ü", "a\u2028b"])
def test_refuse_header_values_that_could_add_a_line(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        header_lines("", api_version="2023-06-01", headers={"x-claude-code-session-id": value})
    with pytest.raises(ValueError, match="printable"):
        header_lines("", api_version=value, headers={})


def test_put_headers_and_body_into_the_same_settings() -> None:
    awkward = 'x: ""\nanthropic-version: 2023-06-01'
    line = turn_lines(overlay({"x": ""}), headers=awkward, control_id="c", message_uuid="u").split(b"\n")[0]

    env = json.loads(line)["request"]["settings"]["env"]

    assert env["ANTHROPIC_CUSTOM_HEADERS"] == awkward
    assert json.loads(env["CLAUDE_CODE_EXTRA_BODY"]) == overlay({"x": ""})
