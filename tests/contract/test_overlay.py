"""ENGINE.md §1: the overlay reaches the upstream as it is, and nothing of the last turn stays."""

import base64
import json
import mmap
import uuid
from pathlib import Path
from typing import Any

import pytest

from apiproxy.engines.sdk.launch import bundled_cli
from apiproxy.engines.sdk.overlay import IDENTITY_BLOCK, empty_overlay, overlay_body
from tests.contract.conftest import StartCli, body
from tests.support.raw_cli import RawCli
from tests.support.stand_in import StandInProcess

pytestmark = pytest.mark.long

TEXT_TOOL = {"name": "b_first", "description": "d" * 20_000, "input_schema": {"type": "object", "properties": {}}}
PICTURE = base64.b64encode(bytes(range(256)) * 40).decode()
EPHEMERAL = {"type": "ephemeral"}


def sentinel() -> str:
    return f"sentinel-{uuid.uuid4().hex}"


def received(warm_cli: RawCli, stand_in: StandInProcess, overlay: dict[str, Any], mark: str) -> dict[str, Any]:
    """The one upstream body for an overlay that contains the mark."""
    turn = warm_cli.turn(overlay)
    assert not turn.result["is_error"], turn.result
    upstream: dict[str, Any] = stand_in.only(mark).body
    return upstream


FIELDS: dict[str, dict[str, Any]] = {
    "sampling": {"temperature": 0.3, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END", "\n\nHuman:"]},
    "system blocks": {
        "system": [
            {"type": "text", "text": "first", "cache_control": EPHEMERAL},
            {"type": "text", "text": "second", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]
    },
    "tools": {
        "tools": [
            TEXT_TOOL,
            {"name": "a_second", "input_schema": {"type": "object", "required": ["x"]}, "cache_control": EPHEMERAL},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"type": "bash_20250124", "name": "bash"},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    },
    "thinking with a budget": {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096},
    "adaptive thinking": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    "structured output": {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    "metadata": {"metadata": {"user_id": "user-1"}},
    "service": {"service_tier": "standard_only", "inference_geo": "us", "speed": "fast"},
    "server side": {
        "container": {"id": "c_1", "skills": [{"type": "anthropic", "skill_id": "pptx", "version": "latest"}]},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [{"type": "url", "url": "https://example.com/mcp", "name": "example"}],
    },
    "caching at the top": {"cache_control": EPHEMERAL},
    "a field that does not exist yet": {"field_of_tomorrow": {"a": [1, None, "ü", {"b": 0.1}]}},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
def test_send_field_unchanged(warm_cli: RawCli, stand_in: StandInProcess, fields: dict[str, Any]) -> None:
    mark = sentinel()
    client_body = body(mark, **fields)

    upstream = received(warm_cli, stand_in, overlay_body(client_body, model="claude-opus-4-1", betas=[]), mark)

    expected = {
        **client_body,
        "model": "claude-opus-4-1",
        "stream": True,
        "system": [IDENTITY_BLOCK, *fields.get("system", [])],
        "tools": fields.get("tools", []),
        "metadata": fields.get("metadata", {}),
    }
    assert upstream == expected


def test_drop_exactly_what_the_documentation_names(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    """docs/compatibility.md has this list; what the CLI drops beyond it fails here."""
    mark = sentinel()
    user = {"session_id": "s1", "device_id": "d1", "other": {"tk": 1}}
    client_body = body(
        mark,
        metadata={"user_id": json.dumps({"tk": "X", **user}), "other": "kept"},
        thinking={"type": "disabled", "x": 1},
    )
    betas = ["afk-mode-2025-10-10", "foo-2025-01-01"]

    warm_cli.turn(overlay_body(client_body, model="claude-sonnet-4-5", betas=betas))

    exchange = stand_in.only(mark)
    upstream = exchange.body
    assert json.loads(upstream["metadata"].pop("user_id")) == user
    assert upstream == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "messages": client_body["messages"],
        "stream": True,
        "system": [IDENTITY_BLOCK],
        "tools": [],
        "metadata": {"other": "kept"},
        "thinking": {"type": "disabled"},
    }
    assert exchange.headers["anthropic-beta"] == "foo-2025-01-01"


def test_ignore_an_overlay_with_a_program_use_case_id(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    """The CLI says success and sends the last overlay once more: REFUSED_BY_CLI keeps the name out."""
    first, second = sentinel(), sentinel()
    warm_cli.turn(overlay_body(body(first), model="claude-sonnet-4-5", betas=[]))

    refused = overlay_body(body(second), model="claude-sonnet-4-5", betas=[]) | {"program_use_case_id": "p"}
    warm_cli.turn(refused)

    assert len(stand_in.recorded(containing=first)) == 2
    assert stand_in.recorded(containing=second) == []


def test_send_no_other_clients_body_over_a_resting_overlay(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    """The engine lays it between the turns of two keys: an ignored overlay then costs its client an error, no more."""
    first, second = sentinel(), sentinel()
    warm_cli.turn(overlay_body(body(first), model="claude-sonnet-4-5", betas=[]))

    warm_cli.overlay(empty_overlay())
    ignored = overlay_body(body(second), model="claude-sonnet-4-5", betas=[]) | {"program_use_case_id": "p"}
    turn = warm_cli.turn(ignored)

    assert turn.result["is_error"]
    assert len(stand_in.recorded(containing=first)) == 1
    assert stand_in.recorded(containing=second) == []


def test_send_the_clis_own_betas_where_only_afk_is_asked(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    warm_cli.turn(overlay_body(body(mark), model="claude-sonnet-4-5", betas=["afk-mode-2025-10-10"]))
    assert "claude-code-20250219" in stand_in.only(mark).headers["anthropic-beta"]


@pytest.mark.parametrize("user_id", ['{"tk":', "tk", '["tk"]', '{"session_id":"s1","spaced" : 1}', "ü\n"])
def test_keep_a_user_id_without_that_key_as_it_was(warm_cli: RawCli, stand_in: StandInProcess, user_id: str) -> None:
    mark = sentinel()
    client_body = body(mark, metadata={"user_id": user_id})

    upstream = received(warm_cli, stand_in, overlay_body(client_body, model="claude-sonnet-4-5", betas=[]), mark)

    assert upstream["metadata"] == {"user_id": user_id}


def test_pass_every_block_type_to_upstream_unchanged(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "The grass is green."},
        "title": "Grass",
        "citations": {"enabled": True},
        "cache_control": EPHEMERAL,
    }
    called = [
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "b_first", "input": {}},
        {"type": "tool_use", "id": "toolu_2", "name": "b_first", "input": {"x": [1, {"y": None}]}},
    ]
    answered = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "seen"}, picture]},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "failed", "is_error": True},
        {"type": "text", "text": mark},
    ]
    messages = [
        {"role": "user", "content": [document, picture, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": called},
        {"role": "user", "content": answered},
        {"role": "assistant", "content": "A prefill that ends in {"},
    ]
    client_body = body("", tools=[TEXT_TOOL]) | {"messages": messages}

    upstream = received(warm_cli, stand_in, overlay_body(client_body, model="claude-sonnet-4-5", betas=[]), mark)

    assert upstream["messages"] == messages
    assert upstream["tools"] == [TEXT_TOOL]


def test_forget_field_of_last_overlay(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    secret, mark = sentinel(), sentinel()
    full = body(secret, system=[{"type": "text", "text": secret}], tools=[{**TEXT_TOOL, "description": secret}])
    warm_cli.turn({**full, "metadata": {"user_id": secret}, "top_k": 7, "betas": ["context-1m-2025-08-07"]})

    warm_cli.turn(overlay_body(body(mark), model="claude-sonnet-4-5", betas=[]))

    exchange = stand_in.only(mark)
    assert exchange.body == {**body(mark), "stream": True, "system": [IDENTITY_BLOCK], "tools": [], "metadata": {}}
    assert "anthropic-beta" not in exchange.headers


def test_send_betas_as_whole_header_of_one_turn(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    sent = [["context-1m-2025-08-07", "files-api-2025-04-14"], [], ["mcp-client-2025-04-04"], []]
    marks = [sentinel() for _ in sent]

    for mark, betas in zip(marks, sent, strict=True):
        warm_cli.turn(overlay_body(body(mark), model="claude-sonnet-4-5", betas=betas))

    headers = [stand_in.only(mark).headers.get("anthropic-beta") for mark in marks]
    assert headers == ["context-1m-2025-08-07,files-api-2025-04-14", None, "mcp-client-2025-04-04", None]


@pytest.mark.parametrize(
    "model", ["claude-opus-4-1", "claude-opus-4-20250514", "claude-3-5-haiku-20241022", "claude-opus-4-7", "unheard-of"]
)
def test_set_requested_model_without_additions(warm_cli: RawCli, stand_in: StandInProcess, model: str) -> None:
    mark = sentinel()

    upstream = received(
        warm_cli, stand_in, overlay_body(body(mark, top_p=0.9) | {"model": model}, model=model, betas=[]), mark
    )

    assert upstream["model"] == model
    assert not {"temperature", "output_config", "thinking"} & upstream.keys()


def test_send_whole_system_prompt_of_200_kb(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    system = [{"type": "text", "text": "ä" * 100_000 + str(number), "cache_control": EPHEMERAL} for number in range(2)]

    upstream = received(
        warm_cli, stand_in, overlay_body(body(mark, system=system), model="claude-sonnet-4-5", betas=[]), mark
    )

    assert upstream["system"] == [IDENTITY_BLOCK, *system]


def test_send_whole_image_of_5_mb(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    data = "A" * (7 * 2**20)
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    client_body = body("") | {"messages": [{"role": "user", "content": [picture, {"type": "text", "text": mark}]}]}

    upstream = received(warm_cli, stand_in, overlay_body(client_body, model="claude-sonnet-4-5", betas=[]), mark)

    assert upstream["messages"] == client_body["messages"]


@pytest.mark.parametrize("text", ["@/etc/hostname", "/cost", "!ls", "#remember this", "/compact [[n=1]]"])
def test_print_terminal_controls_as_text(warm_cli: RawCli, stand_in: StandInProcess, text: str) -> None:
    prompt = f"{text} {sentinel()}"

    upstream = received(warm_cli, stand_in, overlay_body(body(prompt), model="claude-sonnet-4-5", betas=[]), prompt)

    assert upstream["messages"] == [{"role": "user", "content": prompt}]


def test_add_only_the_identity_line_to_client_text(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()

    upstream = received(warm_cli, stand_in, overlay_body(body(mark), model="claude-sonnet-4-5", betas=[]), mark)

    assert upstream["system"] == [IDENTITY_BLOCK]
    assert upstream["messages"] == [{"role": "user", "content": mark}]


def test_keep_prompt_and_credential_off_the_command_line(warm_cli: RawCli) -> None:
    arguments = " ".join(warm_cli.arguments)

    assert "sk-test" not in arguments
    assert "claude-sonnet" not in arguments


@pytest.mark.parametrize("findable", [True, False])
def test_start_git_for_overlay_only_where_found(start_cli: StartCli, tmp_path: Path, findable: bool) -> None:
    """Why workers have an empty PATH: the first token would wait for it (docs/decisions/0013)."""
    programs = tmp_path / "programs"
    programs.mkdir()
    started = tmp_path / "started"
    git = programs / "git"
    git.write_text(f'#!/bin/sh\necho "$@" >> {started}\nexit 128\n')
    git.chmod(0o700)
    cli = start_cli(env={"PATH": str(programs)} if findable else {})

    turn = cli.turn(body("[[n=1]]"))

    assert turn.text == "tok0 "
    assert started.exists() == findable


def test_disable_timed_garbage_collection_of_cli() -> None:
    """One that does not know the variable any more says nothing and is slower (docs/decisions/0013)."""
    with bundled_cli().open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        assert program.find(b"BUN_GC_TIMER_DISABLE") >= 0
