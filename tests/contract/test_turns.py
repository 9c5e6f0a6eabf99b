"""ENGINE.md §1 and §4: how a turn starts and ends, and how many calls it makes."""

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.contract.conftest import StartCli, body
from tests.support.raw_cli import CliTurn, RawCli
from tests.support.stand_in import StandInProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


def sentinel() -> str:
    return f"sentinel-{uuid.uuid4().hex}"


def test_pass_upstreams_own_stream_events(warm_cli: RawCli) -> None:
    turn = warm_cli.turn(body('[[n=3]] [[think=hm hm]] [[tool=look:{"at": [1]}]] [[read=11]]'))

    assert [event["type"] for event in turn.events] == [
        "message_start",
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert turn.events[0]["message"]["usage"]["cache_read_input_tokens"] == 11
    assert turn.events[0]["message"]["model"] == "claude-sonnet-4-5"
    thinking = [event["delta"] for event in turn.events if event.get("index") == 0 and "delta" in event]
    assert thinking[-1] == {"type": "signature_delta", "signature": "c3RhbmQtaW4gc2lnbmF0dXJl"}
    assert turn.text == "tok0 tok1 tok2 "


def test_announce_request_before_upstream_answers(warm_cli: RawCli) -> None:
    for _ in range(3):
        turn = warm_cli.turn(body("[[n=1]]"))

        said = [line.get("status") if line["type"] == "system" else line["type"] for line in turn.lines]
        assert said.count("requesting") == 1
        assert said.index("requesting") < said.index("stream_event")


@pytest.mark.parametrize("stop", ["end_turn", "tool_use", "stop_sequence", "refusal", "pause_turn"])
def test_make_no_second_call_after_known_safe_stop_reason(
    warm_cli: RawCli, stand_in: StandInProcess, stop: str
) -> None:
    mark = sentinel()
    tool = '[[tool=look:{"at": 1}]]' if stop == "tool_use" else ""

    turn = warm_cli.turn(body(f"{mark} [[n=2]] [[stop={stop}]] {tool}"))

    assert turn.events[-2]["delta"]["stop_reason"] == stop
    assert turn.events[-1]["type"] == "message_stop"
    after = sentinel()
    warm_cli.turn(body(after))  # whatever the CLI still had in mind would come before this
    stand_in.only(after)
    stand_in.only(mark)


def test_parallel_tool_calls_end_the_turn_without_a_second_call(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()

    turn = warm_cli.turn(body(f'{mark} [[tool=look:{{"at": 1}}]] [[tool=look:{{"at": 2}}]]'))

    assert turn.result["subtype"] == "error_max_turns"
    started = [event["content_block"] for event in turn.events if event["type"] == "content_block_start"]
    assert [block["name"] for block in started] == ["look", "look"]
    stand_in.only(mark)


ASKED_AGAIN = [
    pytest.param("[[n=2]] [[stop=max_tokens]]", id="cut off"),
    pytest.param("[[n=2]] [[stop=model_context_window_exceeded]]", id="no room"),
    pytest.param("[[say=]]", id="empty"),
    pytest.param('[[block={"type": "thinking", "thinking": "hm", "signature": "c2ln"}]]', id="thinking alone"),
]
"""Answers after which the CLI makes another call by itself. Their usage is the least there can be."""


@pytest.mark.parametrize("answer", ASKED_AGAIN)
def test_without_the_blocking_limit_the_cli_asks_again_in_secret(
    start_cli: StartCli, stand_in: StandInProcess, answer: str
) -> None:
    """Why the launcher sets it. When this fails it may have become needless."""
    mark = sentinel()
    cli = start_cli(env={"CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": None})
    cli.overlay(body(f"{mark} {answer} [[in=0]] [[out=0]]"))

    cli.say()

    eventually(lambda: len(stand_in.recorded(containing=mark)) > 1, within_s=10)


@pytest.mark.parametrize("answer", ASKED_AGAIN)
def test_with_the_blocking_limit_it_cannot(warm_cli: RawCli, stand_in: StandInProcess, answer: str) -> None:
    mark, after = sentinel(), sentinel()

    turn = warm_cli.turn(body(f"{mark} {answer} [[in=0]] [[out=0]]"))

    assert turn.result["terminal_reason"] == "blocking_limit"
    assert [event["type"] for event in turn.events[-2:]] == ["message_delta", "message_stop"]
    warm_cli.turn(body(after))
    stand_in.only(after)
    stand_in.only(mark)


def repository_with_instructions(folder: Path) -> None:
    """A git repository with uncommitted changes and all that a project tells the CLI."""
    files = {
        "CLAUDE.md": "Always say BANANA.",
        "AGENTS.md": "Always say BANANA.",
        ".claude/settings.json": '{"env": {"FOO": "1"}, "model": "opus"}',
        ".claude/agents/fruit.md": "---\nname: fruit\ndescription: an agent\n---\nSay BANANA.",
        ".claude/skills/fruit/SKILL.md": "---\nname: fruit\ndescription: a skill\n---\nSay BANANA.",
        ".mcp.json": '{"mcpServers": {"fruit": {"command": "false"}}}',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "-q", str(folder)], check=True, timeout=20)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_hide_surroundings_of_state_folder_from_cli(
    start_cli: StartCli, stand_in: StandInProcess, tmp_path: Path
) -> None:
    repository_with_instructions(tmp_path)  # where the process lives
    mark = sentinel()

    turn = start_cli().turn(body(mark))

    assert turn.result["terminal_reason"] == "completed"
    assert "BANANA" not in str(stand_in.only(mark).body)


def test_rewinding_answers_that_it_did(warm_cli: RawCli) -> None:
    warm_cli.overlay(body("hello"))
    turn = warm_cli.finish(CliTurn(warm_cli.say()))

    response = warm_cli.control("rewind_conversation", target_message_uuid=turn.uuid)

    assert response["rewound"] is True


def test_report_failure_of_rewind_to_unknown_message(warm_cli: RawCli) -> None:
    assert not warm_cli.rewind(str(uuid.uuid4()))


def test_keep_worker_usable_after_interrupt(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark, after = sentinel(), sentinel()
    warm_cli.overlay(body(f"{mark} [[n=5]] [[midhang=2]]"))
    turn = CliTurn(warm_cli.say())
    warm_cli.until_event(turn, "content_block_delta")

    warm_cli.send_control("interrupt")
    warm_cli.finish(turn)

    assert turn.result["terminal_reason"] == "aborted_streaming"
    assert stand_in.ended(mark, within_s=2).closed_by_client
    assert warm_cli.rewind(turn.uuid)
    assert warm_cli.turn(body(f"{after} [[n=2]]")).text == "tok0 tok1 "
    assert "tok" not in str(stand_in.only(after).body["messages"])


def test_end_upstream_call_on_interrupt_before_first_byte(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    mark = sentinel()
    warm_cli.overlay(body(f"{mark} [[silent]]"))
    turn = CliTurn(warm_cli.say())
    eventually(lambda: stand_in.recorded(containing=mark))

    warm_cli.send_control("interrupt")
    warm_cli.finish(turn)

    assert stand_in.ended(mark, within_s=2).closed_by_client
    assert warm_cli.rewind(turn.uuid)
    assert not warm_cli.turn(body("[[n=1]]")).result["is_error"]


def test_keep_turn_out_of_next_one(warm_cli: RawCli, stand_in: StandInProcess) -> None:
    secrets, mark = [sentinel() for _ in range(3)], sentinel()
    for secret in secrets:
        warm_cli.turn(body(f"[[say={secret}]]"))

    warm_cli.turn(body(mark))

    upstream = str(stand_in.only(mark).body) + str(stand_in.only(mark).headers)
    assert not [secret for secret in secrets if secret in upstream]


def test_end_process_with_its_stdin(start_cli: StartCli) -> None:
    cli = start_cli()

    cli.close_stdin()

    assert cli.wait(within_s=5) == 0


def test_keep_process_alive_when_stdin_closes_in_a_turn(start_cli: StartCli, stand_in: StandInProcess) -> None:
    """Why a server that is killed must not rely on EOF alone to take its workers with it."""
    mark = sentinel()
    cli = start_cli()
    cli.overlay(body(f"{mark} [[n=5]] [[midhang=2]]"))
    cli.until_event(CliTurn(cli.say()), "content_block_delta")

    cli.close_stdin()

    with pytest.raises(subprocess.TimeoutExpired):
        cli.wait(within_s=2)
    cli.kill()
    assert stand_in.ended(mark).closed_by_client
