"""Claude Code in its default configuration: a base URL and a key.

Extras: "20-turn loop", "MCP tool", "/compact", "model discovery", "subagent", "bearer token".
"""

import base64
import json
import signal
import subprocess
from contextlib import AbstractContextManager
from typing import Any

from coding_agents import (
    MCP_SERVER,
    RED_SQUARE,
    Finished,
    call,
    environment,
    fresh,
    run_cli,
    script,
    started,
    wait_for,
)
from features import EMPTY_PDF, GATEWAY, KEY, MODEL, asked, feature, left, mark, run

_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Claude:
    """A home folder of Claude Code. variables: further ones of its environment, None to take one away."""

    def __init__(self, **variables: str | None) -> None:
        folder = fresh("claude")
        self.work = folder / "work"
        self.home = folder / "home"
        own = {
            "ANTHROPIC_BASE_URL": GATEWAY,
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_MODEL": MODEL,
            "IS_SANDBOX": "1",  # it refuses to skip permissions as root otherwise
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            **variables,
        }
        self._env = environment(folder, **{name: value for name, value in own.items() if value is not None})

    def command(self, *arguments: str, form: str = "json") -> list[str]:
        return ["claude", "-p", *arguments, "--output-format", form, "--dangerously-skip-permissions"]

    def __call__(self, *arguments: str, form: str = "json") -> Finished:
        """The outcome of `claude -p`."""
        return run_cli(self.command(*arguments, form=form), env=self._env, cwd=self.work)

    def result(self, *arguments: str) -> dict[str, Any]:
        """The result of a run that succeeds."""
        finished = self(*arguments)
        assert finished.code == 0, finished.all
        assert finished.lines, finished.all
        result = finished.lines[-1]
        assert not result["is_error"], result
        return result

    def answer(self, *arguments: str) -> str:
        return str(self.result(*arguments)["result"]).strip()

    def start(self, prompt: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return started(self.command(prompt), env=self._env, cwd=self.work)


def _shell(command: str) -> str:
    return call("Bash", command=command, description="A step")


@feature("plain")
def plain() -> None:
    result = Claude().result("[[say=good day]]")
    assert result["result"] == "good day", result
    assert result["usage"]["output_tokens"] > 0, result["usage"]


@feature("streaming")
def streaming() -> None:
    finished = Claude()("[[n=9]]", "--verbose", "--include-partial-messages", form="stream-json")
    events = [line["event"] for line in finished.lines if line.get("type") == "stream_event"]
    deltas = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(deltas).startswith("tok0 tok1 "), finished.all
    assert len(deltas) >= 9, finished.all


@feature("tool loop")
def tool_loop() -> None:
    claude = Claude()
    both = _shell("echo first > one.txt") + _shell("echo second > two.txt")
    answer = claude.answer(script(both, "[[say=both are written]]"))
    assert answer == "both are written", answer
    assert [(claude.work / name).read_text() for name in ("one.txt", "two.txt")] == ["first\n", "second\n"]


@feature("structured output")
def structured_output() -> None:
    prompt = script(call("StructuredOutput", name="Ada", age=36), "[[say=done]]")
    result = Claude().result(prompt, "--json-schema", json.dumps(_SCHEMA))
    assert result["structured_output"] == {"name": "Ada", "age": 36}, result


@feature("image and PDF")
def attachments() -> None:
    claude = Claude()
    (claude.work / "red.png").write_bytes(base64.b64decode(RED_SQUARE))
    (claude.work / "page.pdf").write_bytes(base64.b64decode(EMPTY_PDF))
    both = "".join(call("Read", file_path=str(claude.work / name)) for name in ("red.png", "page.pdf"))
    word = mark()
    answer = claude.answer(f"{word} " + script(both, "[[say=both are read]]"))
    assert answer == "both are read", answer
    sent = json.dumps(asked(word)[-1]["messages"])
    assert '"type": "image"' in sent, sent[-2000:]
    assert '"type": "document"' in sent, sent[-2000:]


@feature("errors")
def errors() -> None:
    claude = Claude()
    refused = claude("[[status=400]][[message=no such thing]]")
    assert refused.code != 0, refused.all
    assert "no such thing" in refused.stdout, refused.all
    for fault in ("429", "529", "drop"):
        answer = claude.answer(f"[[flaky={mark()}:2:{fault}]][[say=after all]][[retry_after=1]]")
        assert answer == "after all", answer
    # After an error in mid-stream it asks again without streaming, which the engine `sdk` streams all the same.
    assert claude.answer(f"[[n=9]][[flaky={mark()}:1:miderror]]").startswith("tok0 tok1 ")


@feature("cancel")
def cancel() -> None:
    claude = Claude()
    word = mark()
    with claude.start(f"[[n=3000]][[gap=0.02]] {word}") as process:
        wait_for(word)
        process.send_signal(signal.SIGINT)
        left(word)
    assert claude.answer("[[say=next]]") == "next"


@feature("second user turn")
def second_user_turn() -> None:
    claude = Claude()
    word = mark()
    claude.answer(f"{word} " + script(_shell("echo a word"), "[[say=first answer]]"))
    assert claude.answer("--continue", "[[say=second answer]]") == "second answer"
    history = json.dumps(asked(word)[-1]["messages"])
    assert "first answer" in history, history[-2000:]
    assert "a word" in history, history[-2000:]


@feature("20-turn loop")
def long_loop() -> None:
    word = mark()
    steps = [_shell(f"echo step {number}") for number in range(19)]
    result = Claude().result(f"{word} " + script(*steps, "[[say=all is done]]"))
    assert (result["result"], result["num_turns"]) == ("all is done", 20), result


@feature("MCP tool")
def mcp_tool() -> None:
    command, *arguments = MCP_SERVER
    servers = {"mcpServers": {"calc": {"command": command, "args": arguments}}}
    word = mark()
    prompt = f"{word} " + script(call("mcp__calc__add", a=40, b=2), "[[say=summed]]")
    answer = Claude().answer(prompt, "--mcp-config", json.dumps(servers))
    assert answer == "summed", answer
    assert "the sum is 42" in json.dumps(asked(word)[-1]["messages"])


@feature("/compact")
def compact() -> None:
    claude = Claude()
    word = mark()
    claude.answer(f"[[say=first answer]] {word}")
    claude.result("--continue", "/compact")
    last = mark()
    assert claude.answer("--continue", f"[[say=after compaction]] {last}") == "after compaction"
    history = json.dumps(asked(last)[-1]["messages"])
    assert "continued from a previous conversation" in history, history[-2000:]


@feature("subagent")
def subagent() -> None:
    word = mark()
    agent = call("Agent", description="Says it", prompt=f"[[say=from below]] {word}", subagent_type="general-purpose")
    answer = Claude().answer(script(agent, "[[say=from above]]"))
    assert answer == "from above", answer
    assert any("from below" in json.dumps(body["messages"]) for body in asked(word))


@feature("model discovery")
def model_discovery() -> None:
    claude = Claude(CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1")
    assert claude.answer("[[say=good day]]") == "good day"


@feature("bearer token")
def bearer_token() -> None:
    assert Claude(ANTHROPIC_API_KEY=None, ANTHROPIC_AUTH_TOKEN=KEY).answer("[[say=good day]]") == "good day"


if __name__ == "__main__":
    run()
